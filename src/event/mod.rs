//! What the function is invoked with: from JSON to one of a few things that it can do.
//!
//! An event is refused whole unless every part of it is understood. A pipeline that asks for `promot`, or
//! gives a reason under a name that nobody reads, must hear of it and not find out at the next incident.

mod alarm;
mod fields;

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::config::{CheckedPlan, Problem, SizeLimits, write_problems};
use crate::rollout::command::Order;
use fields::Fields;

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
            Self::Freeze { .. } => "freeze",
            Self::Thaw { .. } => "thaw",
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
            None if alarm::is_alarm(map) => alarm::read(map).map(Self::Alarm),
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
    let mut fields = Fields::of_aws(map);
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
const COMMANDS: [(&str, &[&str]); 10] = [
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
