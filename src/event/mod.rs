//! What the function is invoked with: from JSON to one of a few things that it can do.
//!
//! An event is refused whole unless every part of it is understood. A pipeline that asks for `promot`, or
//! gives a reason under a name that nobody reads, must hear of it and not find out at the next incident.

mod alarm;
mod fields;
mod hooks;
mod http;

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::config::{CheckedPlan, Problem, SizeLimits, on_one_line, write_problems};
use crate::rollout::command::Order;
use crate::rollout::shard::Shard;
use fields::Fields;

pub use hooks::{CodeDeployHook, EcsHook, EcsPaused};
pub use http::{BODY_MAX, HEADERS_MAX, HttpRequest, TARGET_MAX};

/// The longest actor or reason, in characters: they go into records, logs and pages.
const WORDS_MAX: usize = 200;
/// What AWS delivers at most is a quarter of a megabyte but for calls that wait for the answer, and no event of
/// ours, the largest plan included, comes near it.
const EVENT_LIMITS: SizeLimits = SizeLimits { bytes: 256 * 1024, values: 50_000, depth: 64 };

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Invocation {
    /// A minute has passed.
    Tick(Tick),
    /// Somebody asks for something.
    Command(Command),
    /// A CloudWatch alarm changed its state.
    Alarm(Alarm),
    /// CodeDeploy asks whether a deployment may go on.
    CodeDeployHook(CodeDeployHook),
    /// ECS asks the same.
    EcsHook(EcsHook),
    /// A deployment of ECS waits without asking anybody.
    EcsPaused(EcsPaused),
    /// A request came by the function's URL.
    Http(HttpRequest),
}

/// A CloudWatch alarm that changed its state, by whichever way it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Its name.
    pub name: String,
    /// Its ARN, where the event has it.
    pub arn: Option<String>,
    /// It has gone off (`ALARM`); else it is fine, or lacks data.
    pub has_gone_off: bool,
    /// Why, in CloudWatch's words.
    pub reason: String,
    /// When it changed.
    pub at: Option<Timestamp>,
    /// Rollouts that its name or its description names (`canary-gate:NAME`).
    pub rollouts: Vec<String>,
}

/// A minute has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// When it was to be sent; `None` if the event does not say.
    pub scheduled_at: Option<Timestamp>,
    /// The rollouts that it is for.
    pub shard: Shard,
}

/// Somebody asks for something.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// What they ask for.
    pub verb: Verb,
    /// When, in a rehearsal whose time runs faster; else it is now.
    pub at: Option<Timestamp>,
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
    /// Let no rollout's share rise until the thaw.
    Freeze {
        /// Who asks.
        by: By,
    },
    /// Let shares rise again.
    Thaw {
        /// Who asks.
        by: By,
    },
    /// Say how the deployments of an application or service are judged.
    Guard {
        /// `codedeploy:APPLICATION/GROUP` or `ecs:CLUSTER/SERVICE`.
        of: String,
        /// The plan as it was written.
        plan: serde_json::Value,
        /// Who asks.
        by: By,
    },
    /// Judge them by the defaults again.
    Unguard {
        /// As of [`Verb::Guard`].
        of: String,
        /// Who asks.
        by: By,
    },
    /// How deployments are judged.
    Guards,
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
    /// Notes that somebody asks for whomever it names: `ci for ana`.
    fn asked_by(&mut self, caller: &str) {
        match self {
            Self::Start { by, .. }
            | Self::Freeze { by }
            | Self::Thaw { by }
            | Self::Guard { by, .. }
            | Self::Unguard { by, .. }
            | Self::Order { by, .. } => {
                by.actor = format!("{} for {}", on_one_line(caller, WORDS_MAX), by.actor);
            }
            Self::Status { .. } | Self::List | Self::History { .. } | Self::Guards => {}
        }
    }

    /// The word for it in events, logs and messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Status { .. } => "status",
            Self::List => "list",
            Self::History { .. } => "history",
            Self::Freeze { .. } => "freeze",
            Self::Thaw { .. } => "thaw",
            Self::Guard { .. } => "guard",
            Self::Unguard { .. } => "unguard",
            Self::Guards => "guards",
            Self::Order { order, .. } => order.name(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Unreadable,
    /// An HTTP request that can't be read, with the status to answer.
    Http(u16),
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
            Fault::Unreadable | Fault::Http(_) => "UnreadableEvent",
            Fault::Command => "InvalidCommand",
            Fault::Plan => "InvalidPlan",
        }
    }

    /// All that is wrong; at least one problem.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The status to answer if the event is an HTTP request: those get an answer, whatever is wrong with them.
    #[must_use]
    pub fn http_status(&self) -> Option<u16> {
        match self.fault {
            Fault::Http(status) => Some(status),
            _ => None,
        }
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
            Fault::Http(_) => "in the request",
            Fault::Command => "in the command",
            Fault::Plan => "in the plan",
        };
        write_problems(f, place, &self.problems)
    }
}

impl Invocation {
    /// Whether the event is an HTTP request, which wants an answer even if it can't be handled.
    #[must_use]
    pub fn is_http(event: &Value) -> bool {
        event.as_object().is_some_and(|map| !map.contains_key("kind") && http::is_http(map))
    }

    /// Reads an event.
    ///
    /// # Errors
    /// Every problem, if it is not understood whole.
    pub fn from_json(event: &Value) -> Result<Self, EventError> {
        let Value::Object(map) = event else {
            let rule = "is no event: an event is a JSON object";
            return Err(EventError::unreadable(Problem::new("", event, rule)));
        };
        // With limits of its own: whoever sent it wants an answer.
        if Self::is_http(event) {
            return http::read(map).map(Self::Http);
        }
        if let Some(rule) = EVENT_LIMITS.broken_by(event) {
            let rule = format!("the event {rule}: no more is read");
            return Err(EventError::unreadable(Problem::of_text("", "", rule)));
        }
        match map.get("kind") {
            Some(Value::String(kind)) if kind == "tick" => scheduler_tick(map).map(Self::Tick),
            Some(Value::String(kind)) if kind == "command" => command(map).map(Self::Command),
            Some(kind) => {
                Err(EventError::unreadable(Problem::new("kind", kind, "must be \"tick\" or \"command\"")))
            }
            None if is_rule_event(map) => rule_tick(map).map(Self::Tick),
            None if hooks::is_code_deploy(map) => hooks::code_deploy(map).map(Self::CodeDeployHook),
            None if hooks::is_ecs(map) => hooks::ecs(map).map(Self::EcsHook),
            None if hooks::is_ecs_change(map) => hooks::ecs_change(map).map(Self::EcsPaused),
            None if alarm::is_alarm(map) => alarm::read(map).map(Self::Alarm),
            None => Err(EventError::unreadable(foreign(map))),
        }
    }
}

/// EventBridge Scheduler, with the input that the template gives to the schedule.
fn scheduler_tick(map: &Map<String, Value>) -> Result<Tick, EventError> {
    let known = ["kind", "scheduled_time", "execution_id", "attempt", "shard", "of"];
    let mut fields = Fields::new(map, &known);
    let (scheduled_at, shard) = (fields.time("scheduled_time"), fields.shard());
    fields.done(Fault::Unreadable, shard.map(|shard| Tick { scheduled_at, shard }))
}

/// A scheduled rule of EventBridge. Its other keys are AWS's to add to, and are not looked at.
fn rule_tick(map: &Map<String, Value>) -> Result<Tick, EventError> {
    let mut fields = Fields::of_aws(map);
    let tick = Tick { scheduled_at: fields.time("time"), shard: Shard::ALL };
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
        () if has("requestContext") || has("httpMethod") => "an HTTP request other than a function URL's",
        () if has("Records") => "a batch of messages other than SNS's",
        () if has("detail-type") => "an EventBridge event other than a schedule's or an alarm's",
        () => {
            let rule = "is missing: must be \"tick\" or \"command\"";
            return Problem::of_text("kind", "", rule);
        }
    };
    Problem::of_text("", "", format!("{seen} is not supported yet by this version"))
}

/// Each command with the keys of its own.
const COMMANDS: [(&str, &[&str]); 13] = [
    ("start", &["plan"]),
    ("status", &["rollout"]),
    ("list", &[]),
    ("pause", &["rollout"]),
    ("resume", &["rollout", "weights"]),
    ("promote", &["rollout"]),
    ("abort", &["rollout"]),
    ("history", &["rollout", "limit"]),
    ("freeze", &[]),
    ("thaw", &[]),
    ("guard", &["of", "plan"]),
    ("unguard", &["of"]),
    ("guards", &[]),
];

/// Keys of every command. Those that change nothing may name an actor and a reason and need not.
const COMMON: [&str; 5] = ["kind", "command", "actor", "reason", "at"];

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
    let at = fields.time("at");
    let verb = verb(name, &mut fields).map(|verb| Command { verb, at });
    fields.done(Fault::Command, verb)
}

/// Keys that no body of an HTTP request may have: the path says the rest, and rehearsals don't go over HTTP.
const NOT_IN_BODIES: [&str; 5] = ["kind", "command", "rollout", "limit", "at"];

/// A command that came over HTTP: `said` is what path and query say, and `body` has the rest. Who asks is
/// `caller`, for whomever the body names.
///
/// # Errors
/// Every problem, as for a command by event.
pub(crate) fn http_command(
    word: &str,
    said: &[(&str, Value)],
    body: &Value,
    caller: &str,
) -> Result<Command, EventError> {
    let wrong = |problems: Vec<Problem>| EventError { fault: Fault::Command, problems };
    if let Some(rule) = EVENT_LIMITS.broken_by(body) {
        return Err(wrong(vec![Problem::of_text("", "", format!("the body {rule}: no more is read"))]));
    }
    let Value::Object(map) = body else {
        return Err(wrong(vec![Problem::new("", body, "is no body of a command: it is a JSON object")]));
    };
    let mut event = map.clone();
    event.retain(|_, value| !value.is_null());
    let taken = NOT_IN_BODIES.iter().filter_map(|key| event.remove(*key).map(|value| (*key, value)));
    let taken = taken.map(|(key, value)| Problem::new(key, &value, "is not for the body"));
    let mut problems: Vec<Problem> = taken.collect();
    let on_behalf = event.contains_key("actor");
    if !on_behalf {
        event.insert("actor".to_owned(), on_one_line(caller, WORDS_MAX).into());
    }
    event.insert("command".to_owned(), word.into());
    event.extend(said.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    match command(&event) {
        Ok(mut read) if problems.is_empty() => {
            if on_behalf {
                read.verb.asked_by(caller);
            }
            Ok(read)
        }
        Ok(_) => Err(wrong(problems)),
        Err(error) if problems.is_empty() => Err(error),
        Err(error) => {
            problems.extend(error.problems);
            Err(wrong(problems))
        }
    }
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
        "guards" => return Some(Verb::Guards),
        "guard" => {
            let (of, plan, by) = (fields.deployments_of(), fields.guard_plan(), fields.by());
            return Some(Verb::Guard { of: of?, plan: plan?, by: by? });
        }
        "unguard" => {
            let (of, by) = (fields.deployments_of(), fields.by());
            return Some(Verb::Unguard { of: of?, by: by? });
        }
        "freeze" => return fields.by().map(|by| Verb::Freeze { by }),
        "thaw" => return fields.by().map(|by| Verb::Thaw { by }),
        "pause" => Some(Order::Pause),
        "resume" => fields.resume().map(Order::Resume),
        "promote" => Some(Order::Promote),
        _ => Some(Order::Abort),
    };
    let (rollout, by) = (fields.rollout(), fields.by());
    Some(Verb::Order { rollout: rollout?, order: order?, by: by? })
}

#[cfg(test)]
mod tests;
