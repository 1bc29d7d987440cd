//! What the function is invoked with: from JSON to one of a few things that it can do.
//!
//! An event is refused whole unless every part of it is understood. A pipeline that asks for `promot`, or
//! gives a reason under a name that nobody reads, must hear of it and not find out at the next incident.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::config::{
    CheckedPlan, Problem, Scope, parse_plan, parse_plan_value, rollout_name, unknown_key_rule, write_problems,
};
use crate::rollout::command::{Order, Resume};

/// The longest actor or reason, in characters: they go into records, logs and pages.
const WORDS_MAX: usize = 200;
/// Entries of a history, unless asked for more.
const HISTORY_DEFAULT: u32 = 20;
/// The most entries of a history: as many as surely fit into an answer.
const HISTORY_MAX: u32 = 200;

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Invocation {
    /// A minute has passed.
    Tick(Tick),
    /// Somebody asks for something.
    Command(Command),
}

/// A minute has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// When it was to be sent; `None` if the event does not say.
    pub scheduled_at: Option<Timestamp>,
}

/// Somebody asks for something.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// What they ask for.
    pub verb: Verb,
}

/// Who asks, and why: on record for everything that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// A person or a pipeline.
    pub actor: String,
    /// In their words.
    pub reason: String,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    /// Begin a rollout.
    Start {
        /// Its plan.
        plan: Box<CheckedPlan>,
        /// Who asks.
        by: By,
    },
    /// Where one rollout stands.
    Status {
        /// Which.
        rollout: String,
    },
    /// Where all rollouts stand.
    List,
    /// What happened to one rollout.
    History {
        /// Which.
        rollout: String,
        /// How many entries, newest first.
        limit: u32,
    },
    /// Change the course of a rollout.
    Order {
        /// Which.
        rollout: String,
        /// How.
        order: Order,
        /// Who asks.
        by: By,
    },
}

impl Verb {
    /// The word for it in events, logs and messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Status { .. } => "status",
            Self::List => "list",
            Self::History { .. } => "history",
            Self::Order { order, .. } => order.name(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Unreadable,
    Command,
    Plan,
}

/// Why an event was refused; nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventError {
    fault: Fault,
    problems: Vec<Problem>,
}

impl EventError {
    /// The stable word for it, for alarms and callers: `UnreadableEvent`, `InvalidCommand` or, if nothing
    /// but the plan is wrong, `InvalidPlan`.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self.fault {
            Fault::Unreadable => "UnreadableEvent",
            Fault::Command => "InvalidCommand",
            Fault::Plan => "InvalidPlan",
        }
    }

    /// All that is wrong; at least one problem.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn unreadable(problem: Problem) -> Self {
        Self { fault: Fault::Unreadable, problems: vec![problem] }
    }
}

impl std::error::Error for EventError {}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.fault {
            Fault::Unreadable => "in the event",
            Fault::Command => "in the command",
            Fault::Plan => "in the plan",
        };
        write_problems(f, place, &self.problems)
    }
}

impl Invocation {
    /// Reads an event.
    ///
    /// # Errors
    /// Every problem, if it is not understood whole.
    pub fn from_json(event: &Value) -> Result<Self, EventError> {
        let Value::Object(map) = event else {
            let rule = "is no event: an event is a JSON object";
            return Err(EventError::unreadable(Problem::new("", event, rule)));
        };
        match map.get("kind") {
            Some(Value::String(kind)) if kind == "tick" => scheduler_tick(map).map(Self::Tick),
            Some(Value::String(kind)) if kind == "command" => command(map).map(Self::Command),
            Some(kind) => {
                Err(EventError::unreadable(Problem::new("kind", kind, "must be \"tick\" or \"command\"")))
            }
            None if is_rule_event(map) => rule_tick(map).map(Self::Tick),
            None => Err(EventError::unreadable(foreign(map))),
        }
    }
}

/// EventBridge Scheduler, with the input that the template gives to the schedule.
fn scheduler_tick(map: &Map<String, Value>) -> Result<Tick, EventError> {
    let known = ["kind", "scheduled_time", "execution_id", "attempt"];
    let mut fields = Fields::new(map, &known);
    let tick = Tick { scheduled_at: fields.time("scheduled_time") };
    fields.done(Fault::Unreadable, Some(tick))
}

/// A scheduled rule of EventBridge. Its other keys are AWS's to add to, and are not looked at.
fn rule_tick(map: &Map<String, Value>) -> Result<Tick, EventError> {
    let mut fields = Fields { map, problems: Vec::new(), plan_problems: Vec::new() };
    let tick = Tick { scheduled_at: fields.time("time") };
    fields.need("time", "must be an RFC 3339 time");
    fields.done(Fault::Unreadable, Some(tick))
}

fn is_rule_event(map: &Map<String, Value>) -> bool {
    let is = |key: &str, word: &str| map.get(key).and_then(Value::as_str) == Some(word);
    is("source", "aws.events") && is("detail-type", "Scheduled Event")
}

/// An event that is not ours: what it looks like, if that is known.
fn foreign(map: &Map<String, Value>) -> Problem {
    let has = |key: &str| map.contains_key(key);
    let seen = match () {
        () if has("LifecycleEventHookExecutionId") => "a CodeDeploy lifecycle hook",
        () if has("lifecycleStage") => "an ECS lifecycle hook",
        () if has("requestContext") || has("httpMethod") => "an HTTP request",
        () if has("alarmArn") || has("alarmData") => "a CloudWatch alarm",
        () if has("Records") => "a batch of messages",
        () if has("detail-type") => "an EventBridge event other than a schedule's",
        () => {
            let rule = "is missing: must be \"tick\" or \"command\"";
            return Problem::of_text("kind", "", rule);
        }
    };
    Problem::of_text("", "", format!("{seen} is not supported yet by this version"))
}

/// Each command with the keys of its own.
const COMMANDS: [(&str, &[&str]); 8] = [
    ("start", &["plan"]),
    ("status", &["rollout"]),
    ("list", &[]),
    ("pause", &["rollout"]),
    ("resume", &["rollout", "weights"]),
    ("promote", &["rollout"]),
    ("abort", &["rollout"]),
    ("history", &["rollout", "limit"]),
];

/// Keys of every command. Those that change nothing may name an actor and a reason and need not.
const COMMON: [&str; 4] = ["kind", "command", "actor", "reason"];

fn command(map: &Map<String, Value>) -> Result<Command, EventError> {
    let word = map.get("command").unwrap_or(&Value::Null);
    let found = COMMANDS.iter().find(|(name, _)| word.as_str() == Some(name));
    let Some((name, own)) = found else {
        let rule = format!("must be one of {}", COMMANDS.map(|(name, _)| name).join(", "));
        let problems = vec![match word {
            Value::Null => Problem::of_text("command", "", format!("is missing: {rule}")),
            word => Problem::new("command", word, rule),
        }];
        return Err(EventError { fault: Fault::Command, problems });
    };
    let mut fields = Fields::new(map, &[&COMMON, *own].concat());
    let verb = verb(name, &mut fields).map(|verb| Command { verb });
    fields.done(Fault::Command, verb)
}

/// Reads all that a command needs; `None`, with the problems noted, if something is wrong.
fn verb(name: &str, fields: &mut Fields<'_>) -> Option<Verb> {
    let order = match name {
        "list" => return Some(Verb::List),
        "status" => return fields.rollout().map(|rollout| Verb::Status { rollout }),
        "history" => {
            let (rollout, limit) = (fields.rollout(), fields.limit());
            return Some(Verb::History { rollout: rollout?, limit: limit? });
        }
        "start" => {
            let (plan, by) = (fields.plan(), fields.by());
            return Some(Verb::Start { plan: Box::new(plan?), by: by? });
        }
        "pause" => Some(Order::Pause),
        "resume" => fields.resume().map(Order::Resume),
        "promote" => Some(Order::Promote),
        _ => Some(Order::Abort),
    };
    let (rollout, by) = (fields.rollout(), fields.by());
    Some(Verb::Order { rollout: rollout?, order: order?, by: by? })
}

/// The keys of an event, read one after the other whatever is wrong with some of them.
struct Fields<'a> {
    map: &'a Map<String, Value>,
    problems: Vec<Problem>,
    plan_problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    fn new(map: &'a Map<String, Value>, known: &[&str]) -> Self {
        let unknown = map.iter().filter(|(key, _)| !known.contains(&key.as_str()));
        let problem =
            |(key, value): (&String, &Value)| Problem::new(key, value, unknown_key_rule(key, known).0);
        Self { map, problems: unknown.map(problem).collect(), plan_problems: Vec::new() }
    }

    fn done<T>(mut self, fault: Fault, read: Option<T>) -> Result<T, EventError> {
        let fault = if self.problems.is_empty() { Fault::Plan } else { fault };
        self.problems.append(&mut self.plan_problems);
        match read {
            Some(read) if self.problems.is_empty() => Ok(read),
            _ => Err(EventError { fault, problems: self.problems }),
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn need(&mut self, key: &str, rule: &str) {
        if self.get(key).is_none() {
            self.problems.push(Problem::of_text(key, "", format!("is missing: {rule}")));
        }
    }

    fn read<T>(&mut self, key: &str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        let value = self.get(key)?;
        read(value).map_err(|rule| self.problems.push(Problem::new(key, value, rule))).ok()
    }

    fn time(&mut self, key: &str) -> Option<Timestamp> {
        let rule = "must be an RFC 3339 time such as 2026-03-01T10:00:00Z";
        self.read(key, |value| {
            value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| rule.to_owned())
        })
    }

    fn rollout(&mut self) -> Option<String> {
        self.need("rollout", "must be the name of a rollout");
        self.read("rollout", rollout_name)
    }

    fn by(&mut self) -> Option<By> {
        let rule = format!("must be 1 to {WORDS_MAX} characters without line breaks");
        let mut words = |key: &str| {
            self.need(key, &rule);
            self.read(key, |value| {
                let text = value.as_str().filter(|text| !text.trim().is_empty());
                let fits =
                    |text: &&str| text.chars().count() <= WORDS_MAX && !text.chars().any(char::is_control);
                text.filter(fits).map(str::to_owned).ok_or_else(|| rule.clone())
            })
        };
        let (actor, reason) = (words("actor"), words("reason"));
        Some(By { actor: actor?, reason: reason? })
    }

    fn limit(&mut self) -> Option<u32> {
        if self.get("limit").is_none() {
            return Some(HISTORY_DEFAULT);
        }
        self.read("limit", |value| {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            let rule = || format!("must be a whole number from 1 to {HISTORY_MAX}");
            number.filter(|n| (1..=HISTORY_MAX).contains(n)).ok_or_else(rule)
        })
    }

    /// The outer `None` is a problem, the inner one the absence of a choice.
    #[allow(clippy::option_option)]
    fn resume(&mut self) -> Option<Option<Resume>> {
        if self.get("weights").is_none() {
            return Some(None);
        }
        self.read("weights", |value| match value.as_str() {
            Some("adopt") => Ok(Some(Resume::Adopt)),
            Some("restore") => Ok(Some(Resume::Restore)),
            _ => Err("must be \"adopt\" (the weights as they are now) or \"restore\" (the rollout's own)"
                .to_owned()),
        })
    }

    fn plan(&mut self) -> Option<CheckedPlan> {
        self.need("plan", "must be a plan, as an object or as YAML or JSON text");
        let parsed = match self.get("plan")? {
            Value::String(text) => parse_plan(text, Scope::Rollout),
            value => parse_plan_value(value, Scope::Rollout),
        };
        parsed.map_err(|errors| self.plan_problems.extend(errors.0.into_iter().map(inside_plan))).ok()
    }
}

/// A problem of the plan, with its place seen from the event.
fn inside_plan(problem: Problem) -> Problem {
    let key = match problem.key.as_str() {
        "" => "plan".to_owned(),
        key if key.starts_with("line ") => format!("plan, {key}"),
        key => format!("plan.{key}"),
    };
    Problem { key, ..problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Every file in `events/`, with what it is.
    const EVENTS: [(&str, &str, &str); 13] = [
        ("abort.json", "abort", include_str!("../events/abort.json")),
        ("history.json", "history", include_str!("../events/history.json")),
        ("list.json", "list", include_str!("../events/list.json")),
        ("pause.json", "pause", include_str!("../events/pause.json")),
        ("promote.json", "promote", include_str!("../events/promote.json")),
        ("resume-adopt.json", "resume", include_str!("../events/resume-adopt.json")),
        ("resume-restore.json", "resume", include_str!("../events/resume-restore.json")),
        ("resume.json", "resume", include_str!("../events/resume.json")),
        ("start-with-yaml-plan.json", "start", include_str!("../events/start-with-yaml-plan.json")),
        ("start.json", "start", include_str!("../events/start.json")),
        ("status.json", "status", include_str!("../events/status.json")),
        ("tick-eventbridge-rule.json", "tick", include_str!("../events/tick-eventbridge-rule.json")),
        ("tick-scheduler.json", "tick", include_str!("../events/tick-scheduler.json")),
    ];

    fn read(event: &Value) -> Result<Invocation, EventError> {
        Invocation::from_json(event)
    }

    fn sample(name: &str) -> Value {
        let (_, _, text) = EVENTS.iter().find(|(file, ..)| *file == name).unwrap();
        serde_json::from_str(text).unwrap()
    }

    fn keys(error: &EventError) -> Vec<&str> {
        error.problems().iter().map(|problem| problem.key.as_str()).collect()
    }

    #[test]
    fn every_sample_event_is_understood() {
        for (file, word, _) in EVENTS {
            let found = read(&sample(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let name = match &found {
                Invocation::Tick(tick) => {
                    assert!(tick.scheduled_at.is_some(), "{file}");
                    "tick"
                }
                Invocation::Command(command) => command.verb.name(),
            };
            assert_eq!(name, word, "{file}");
        }
    }

    #[test]
    fn every_file_of_the_events_folder_is_a_sample() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/events");
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut files: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        files.sort();
        assert_eq!(files, EVENTS.map(|(file, ..)| file.to_owned()));
    }

    #[test]
    fn a_plan_means_the_same_as_an_object_and_as_text() {
        assert_eq!(read(&sample("start.json")).unwrap(), read(&sample("start-with-yaml-plan.json")).unwrap());
    }

    #[test]
    fn resuming_says_with_which_weights_if_it_is_asked() {
        for (file, expected) in [
            ("resume.json", None),
            ("resume-adopt.json", Some(Resume::Adopt)),
            ("resume-restore.json", Some(Resume::Restore)),
        ] {
            let Invocation::Command(Command { verb: Verb::Order { order, .. } }) =
                read(&sample(file)).unwrap()
            else {
                panic!("{file} is no order");
            };
            assert_eq!(order, Order::Resume(expected));
        }
    }

    #[test]
    fn a_tick_may_come_without_its_time_but_not_with_a_wrong_one() {
        let tick = read(&json!({ "kind": "tick" })).unwrap();
        assert_eq!(tick, Invocation::Tick(Tick { scheduled_at: None }));
        for wrong in [json!("<aws.scheduler.scheduled-time>"), json!(17), json!("2026-03-01 10:00")] {
            let error = read(&json!({ "kind": "tick", "scheduled_time": wrong })).unwrap_err();
            assert_eq!(error.error_type(), "UnreadableEvent");
            assert_eq!(keys(&error), ["scheduled_time"]);
        }
        let error = read(&json!({ "source": "aws.events", "detail-type": "Scheduled Event" })).unwrap_err();
        assert_eq!(keys(&error), ["time"]);
    }

    #[test]
    fn every_problem_of_a_command_is_told_at_once() {
        let event = json!({
            "kind": "command", "command": "resume", "rollout": "Checkout", "weights": "both",
            "reason": "x".repeat(201), "raeson": "typo",
        });
        let error = read(&event).unwrap_err();
        assert_eq!(error.error_type(), "InvalidCommand");
        assert_eq!(keys(&error), ["raeson", "weights", "rollout", "actor", "reason"]);
        let text = error.to_string();
        assert!(text.starts_with("5 problems in the command:"), "{text}");
        assert!(text.contains("did you mean reason?") && text.contains("write checkout"), "{text}");
    }

    #[test]
    fn all_problems_of_a_plan_are_in_the_error_with_their_place() {
        let plan = json!({ "steps": ["5%", "4%"], "bake": 15, "canary": "x" });
        let mut event = json!({
            "kind": "command", "command": "start", "plan": plan, "actor": "ci", "reason": "release 42",
        });
        let error = read(&event).unwrap_err();
        assert_eq!(error.error_type(), "InvalidPlan");
        assert_eq!(
            keys(&error),
            ["plan.listener_rule", "plan.stable", "plan.canary", "plan.steps[1]", "plan.bake"]
        );
        event["actor"] = Value::Null;
        let error = read(&event).unwrap_err();
        assert_eq!((error.error_type(), error.problems().len()), ("InvalidCommand", 6));
        event["plan"] = json!("steps: [5%\nbake");
        event["actor"] = json!("ci");
        let error = read(&event).unwrap_err();
        assert!(error.problems()[0].key.starts_with("plan, line "), "{error}");
    }

    #[test]
    fn commands_that_change_something_need_an_actor_and_a_reason_and_others_do_not() {
        for (command, needs) in [
            ("pause", true),
            ("resume", true),
            ("promote", true),
            ("abort", true),
            ("status", false),
            ("history", false),
        ] {
            let bare = json!({ "kind": "command", "command": command, "rollout": "checkout" });
            assert_eq!(read(&bare).is_err(), needs, "{command}");
            let mut full = bare;
            full["actor"] = json!("ci");
            full["reason"] = json!("release 42");
            assert!(read(&full).is_ok(), "{command}");
            full["reason"] = json!("two\nlines");
            assert_eq!(read(&full).is_err(), needs, "{command}");
        }
        assert!(read(&json!({ "kind": "command", "command": "list" })).is_ok());
    }

    #[test]
    fn a_history_has_between_one_and_two_hundred_entries() {
        for (limit, fine) in [
            (json!(1), true),
            (json!(200), true),
            (json!(0), false),
            (json!(201), false),
            (json!(2.5), false),
        ] {
            let event = json!({ "kind": "command", "command": "history", "rollout": "a", "limit": limit });
            assert_eq!(read(&event).is_ok(), fine, "{limit}");
        }
    }

    #[test]
    fn what_is_no_event_of_ours_is_named_where_it_is_known() {
        for (event, word) in [
            (json!({ "DeploymentId": "d-1", "LifecycleEventHookExecutionId": "e" }), "CodeDeploy"),
            (json!({ "executionId": "e", "lifecycleStage": "POST_SCALE_UP" }), "ECS"),
            (json!({ "version": "2.0", "rawPath": "/", "requestContext": {} }), "HTTP"),
            (json!({ "source": "aws.cloudwatch", "alarmArn": "arn:aws:cloudwatch:..." }), "CloudWatch alarm"),
            (json!({ "Records": [] }), "batch of messages"),
            (json!({ "source": "aws.ecs", "detail-type": "ECS Hook State Change" }), "EventBridge"),
        ] {
            let error = read(&event).unwrap_err();
            assert_eq!(error.error_type(), "UnreadableEvent");
            assert!(error.to_string().contains("not supported yet by this version"), "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
        for event in [
            json!({}),
            json!(null),
            json!([]),
            json!("tick"),
            json!({ "kind": "tock" }),
            json!({ "kind": 1 }),
        ] {
            assert_eq!(read(&event).unwrap_err().error_type(), "UnreadableEvent", "{event}");
        }
        for event in [json!({ "kind": "command" }), json!({ "kind": "command", "command": "promot" })] {
            assert_eq!(read(&event).unwrap_err().error_type(), "InvalidCommand", "{event}");
        }
    }

    #[test]
    fn events_with_flipped_bytes_are_read_or_refused_and_never_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        for (_, _, text) in EVENTS {
            for _ in 0..300 {
                let mut bytes = text.as_bytes().to_vec();
                for _ in 0..=random(3) {
                    let at = random(bytes.len());
                    bytes[at] = b" {}[]\",:0-nt9"[random(13)];
                }
                if let Ok(event) = serde_json::from_slice::<Value>(&bytes) {
                    let _ = read(&event).map_err(|error| error.to_string());
                }
            }
        }
    }
}
