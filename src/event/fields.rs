//! The keys of our own events: known ones are read, unknown ones refused, and every problem is told.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{By, EventError, Fault, WORDS_MAX};
use crate::config::{
    CheckedPlan, Problem, SHOWN_PROBLEMS, Scope, guard_plan, parse_plan, parse_plan_value, rollout_name,
    unknown_key_rule,
};
use crate::rollout::command::Resume;
use crate::rollout::shard::{SHARDS_MAX, Shard};

/// Entries of a history, unless asked for more.
const HISTORY_DEFAULT: u32 = 20;
/// The most entries of a history: as many as surely fit into an answer.
const HISTORY_MAX: u32 = 200;

/// The keys of an event, read one after the other whatever is wrong with some of them.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    problems: Vec<Problem>,
    plan_problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(map: &'a Map<String, Value>, known: &[&str]) -> Self {
        let unknown = map.iter().filter(|(key, _)| !known.contains(&key.as_str()));
        let problem = |(number, (key, value)): (usize, (&String, &Value))| {
            // Of the others nobody reads, and what was meant takes time to find.
            let rule = match number < SHOWN_PROBLEMS {
                true => unknown_key_rule(key, known).0,
                false => "is not a known key".to_owned(),
            };
            Problem::new(key, value, rule)
        };
        Self { map, problems: unknown.enumerate().map(problem).collect(), plan_problems: Vec::new() }
    }

    /// The keys of an event of AWS's: those that are not known are AWS's to add, and are not looked at.
    pub(super) fn of_aws(map: &'a Map<String, Value>) -> Self {
        Self { map, problems: Vec::new(), plan_problems: Vec::new() }
    }

    pub(super) fn done<T>(mut self, fault: Fault, read: Option<T>) -> Result<T, EventError> {
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

    pub(super) fn need(&mut self, key: &str, rule: &str) {
        if self.get(key).is_none() {
            self.problems.push(Problem::of_text(key, "", format!("is missing: {rule}")));
        }
    }

    fn read<T>(&mut self, key: &str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        let value = self.get(key)?;
        read(value).map_err(|rule| self.problems.push(Problem::new(key, value, rule))).ok()
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, key: &str, longest: usize) -> Option<String> {
        let rule = format!("must be a text of 1 to {longest} characters");
        self.need(key, &rule);
        self.read(key, |value| {
            let text = value.as_str().filter(|text| (1..=longest).contains(&text.chars().count()));
            text.map(str::to_owned).ok_or(rule)
        })
    }

    pub(super) fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub(super) fn time(&mut self, key: &str) -> Option<Timestamp> {
        let rule = "must be an RFC 3339 time such as 2026-03-01T10:00:00Z";
        self.read(key, |value| {
            value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| rule.to_owned())
        })
    }

    pub(super) fn rollout(&mut self) -> Option<String> {
        self.need("rollout", "must be the name of a rollout");
        self.read("rollout", rollout_name)
    }

    pub(super) fn by(&mut self) -> Option<By> {
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

    /// `shard` and `of` go together; without them it is all rollouts.
    pub(super) fn shard(&mut self) -> Option<Shard> {
        if self.get("shard").is_none() && self.get("of").is_none() {
            return Some(Shard::ALL);
        }
        let rule = format!("must be a whole number from 1 to {SHARDS_MAX}, the number of shards");
        self.need("of", &rule);
        let whole = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let of = self.read("of", |value| {
            whole(value).filter(|of| (1..=SHARDS_MAX).contains(of)).ok_or_else(|| rule.clone())
        });
        let rule = match of {
            Some(of) => format!("must be a whole number from 1 to `of`, which is {of}"),
            None => "must be a whole number from 1 to `of`".to_owned(),
        };
        self.need("shard", &rule);
        self.read("shard", |value| {
            whole(value).and_then(|number| Shard::new(number, of.unwrap_or(SHARDS_MAX))).ok_or(rule)
        })
        .filter(|_| of.is_some())
    }

    pub(super) fn limit(&mut self) -> Option<u32> {
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
    pub(super) fn resume(&mut self) -> Option<Option<Resume>> {
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

    /// To what deployments belong: `codedeploy:APPLICATION/GROUP` or `ecs:CLUSTER/SERVICE`.
    pub(super) fn deployments_of(&mut self) -> Option<String> {
        let rule = "must be codedeploy:APPLICATION/DEPLOYMENT-GROUP or ecs:CLUSTER/SERVICE";
        self.need("of", rule);
        self.read("of", |value| {
            let text = value.as_str().filter(|text| text.len() <= 400);
            let (_, rest) = text
                .and_then(|text| text.split_once(':'))
                .filter(|(kind, _)| ["codedeploy", "ecs"].contains(kind))
                .ok_or_else(|| rule.to_owned())?;
            let two = rest.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
            if two { Ok(text.unwrap_or_default().to_owned()) } else { Err(rule.to_owned()) }
        })
    }

    /// The plan by which deployments are judged; its targets may be left out.
    pub(super) fn guard_plan(&mut self) -> Option<Value> {
        let value = self.get("plan").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        match guard_plan(&value, None, "deployment") {
            Ok(_) => Some(value),
            Err(errors) => {
                self.plan_problems.extend(errors.0.into_iter().map(inside_plan));
                None
            }
        }
    }

    pub(super) fn plan(&mut self) -> Option<CheckedPlan> {
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
