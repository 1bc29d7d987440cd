//! A CloudWatch alarm, by the three ways in which it comes: its own action on a Lambda function, an SNS topic
//! that the function subscribes to, and an EventBridge rule. All three say the same in other words.
//!
//! The events are AWS's to add to, so what is not needed is not looked at. What would leave open which alarm
//! it is, or whether it has gone off, is refused. A time that can't be read does not stop an alarm: it is then
//! taken for a new one, since a rollout lost for nothing costs less than a rollback that does not come.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Alarm, EventError, Fault, WORDS_MAX};
use crate::config::{Problem, is_rollout_name, on_one_line};

/// CloudWatch's own limit for a name.
const NAME_MAX: usize = 255;
/// More than the longest ARN that can name an alarm.
const ARN_MAX: usize = 1_024;
/// What rollouts are named by in an alarm's name or description.
const MARK: &str = "canary-gate:";
/// As many rollouts as one alarm can name: the first ones.
const ROLLOUTS_MAX: usize = 20;
/// What stands on record where the event gives no reason.
const NO_REASON: &str = "no reason was given";

/// Whether the event is an alarm by its envelope, whatever is wrong with what is inside.
pub(super) fn is_alarm(map: &Map<String, Value>) -> bool {
    is_action(map) || is_sns(map) || is_rule(map)
}

fn is_action(map: &Map<String, Value>) -> bool {
    map.contains_key("alarmData") || map.contains_key("alarmArn")
}

fn is_rule(map: &Map<String, Value>) -> bool {
    let is = |key: &str, word: &str| map.get(key).and_then(Value::as_str) == Some(word);
    is("source", "aws.cloudwatch") && is("detail-type", "CloudWatch Alarm State Change")
}

fn is_sns(map: &Map<String, Value>) -> bool {
    let records = map.get("Records").and_then(Value::as_array);
    records.and_then(|records| records.first()).is_some_and(|first| first["EventSource"] == "aws:sns")
}

/// Reads an alarm.
///
/// # Errors
/// Every problem, if it can't be told which alarm it is or what it says.
pub(super) fn read(map: &Map<String, Value>) -> Result<Alarm, EventError> {
    let mut reader = Reader::default();
    let envelope = Place { path: String::new(), map };
    let alarm = if is_action(map) {
        reader.action(&envelope)
    } else if is_sns(map) {
        reader.sns(&envelope)
    } else {
        reader.rule(&envelope)
    };
    match alarm {
        Some(alarm) if reader.problems.is_empty() => Ok(alarm),
        _ => Err(EventError { fault: Fault::Unreadable, problems: reader.problems }),
    }
}

/// A mapping, and where it stands.
#[derive(Debug, Clone)]
struct Place<'v> {
    path: String,
    map: &'v Map<String, Value>,
}

impl<'v> Place<'v> {
    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn get(&self, key: &str) -> Option<&'v Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }
}

/// The words of an alarm, as its event has them.
struct Words<'v> {
    name: Option<&'v str>,
    state: Option<&'v str>,
    reason: Option<&'v str>,
    description: Option<&'v str>,
    arn: Option<&'v str>,
    /// The first that is there and can be read counts.
    times: [Option<&'v str>; 2],
}

/// Reads on after every problem.
#[derive(Debug, Default)]
struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    fn action(&mut self, envelope: &Place<'_>) -> Option<Alarm> {
        let arn = self.arn(envelope, "alarmArn");
        let time = self.text(envelope, "time");
        let data = self.inside(envelope, "alarmData")?;
        self.state_change(&data, arn, time)
    }

    fn rule(&mut self, envelope: &Place<'_>) -> Option<Alarm> {
        let arn = match envelope.get("resources") {
            None => None,
            Some(Value::Array(items)) => {
                items.iter().find_map(|item| item.as_str().filter(|arn| is_arn(arn)))
            }
            Some(other) => {
                self.add("resources", other, "must be a list of ARNs");
                None
            }
        };
        let time = self.text(envelope, "time");
        let detail = self.inside(envelope, "detail")?;
        self.state_change(&detail, arn, time)
    }

    /// What the alarm's action and EventBridge have in common.
    fn state_change(&mut self, data: &Place<'_>, arn: Option<&str>, time: Option<&str>) -> Option<Alarm> {
        let name = self.name(data, "alarmName");
        let configuration = data.get("configuration").and_then(|_| self.inside(data, "configuration"));
        let description = configuration.and_then(|inside| self.text(&inside, "description"));
        let state = self.inside(data, "state")?;
        let times = [self.text(&state, "timestamp"), time];
        let reason = self.text(&state, "reason");
        alarm(&Words { name, state: self.state(&state, "value"), reason, description, arn, times })
    }

    /// One message; SNS never sends more to a function at once.
    fn sns(&mut self, envelope: &Place<'_>) -> Option<Alarm> {
        let records = envelope.get("Records")?.as_array()?;
        let [Value::Object(map)] = records.as_slice() else {
            let rule = format!("must hold one message, as SNS delivers them, not {}", records.len());
            self.problems.push(Problem::of_text("Records", "", rule));
            return None;
        };
        let record = Place { path: "Records[0]".to_owned(), map };
        let sns = self.inside(&record, "Sns")?;
        let sent = self.text(&sns, "Timestamp");
        let message = self.needed(&sns, "Message", "must be the text of the message")?;
        let path = sns.path_of("Message");
        let rule = "is no alarm: what CloudWatch sends is a JSON object with AlarmName and NewStateValue";
        let Ok(Value::Object(map)) = serde_json::from_str(message) else {
            self.problems.push(Problem::of_text(&path, message, rule));
            return None;
        };
        if !map.contains_key("AlarmName") && !map.contains_key("NewStateValue") {
            self.problems.push(Problem::of_text(&path, message, rule));
            return None;
        }
        let message = Place { path, map: &map };
        alarm(&Words {
            name: self.name(&message, "AlarmName"),
            state: self.state(&message, "NewStateValue"),
            reason: self.text(&message, "NewStateReason"),
            description: self.text(&message, "AlarmDescription"),
            arn: self.arn(&message, "AlarmArn"),
            times: [self.text(&message, "StateChangeTime"), sent],
        })
    }

    fn add(&mut self, path: &str, value: &Value, rule: impl Into<String>) {
        self.problems.push(Problem::new(path, value, rule));
    }

    /// A mapping that must be there.
    fn inside<'v>(&mut self, place: &Place<'v>, key: &str) -> Option<Place<'v>> {
        let path = place.path_of(key);
        match place.get(key) {
            Some(Value::Object(map)) => Some(Place { path, map }),
            Some(other) => {
                self.add(&path, other, "must be a JSON object");
                None
            }
            None => {
                self.problems.push(Problem::of_text(&path, "", "is missing: must be a JSON object"));
                None
            }
        }
    }

    /// A text that may be absent.
    fn text<'v>(&mut self, place: &Place<'v>, key: &str) -> Option<&'v str> {
        match place.get(key)? {
            Value::String(text) => Some(text),
            other => {
                self.add(&place.path_of(key), other, "must be a text");
                None
            }
        }
    }

    /// A text that must be there.
    fn needed<'v>(&mut self, place: &Place<'v>, key: &str, rule: &str) -> Option<&'v str> {
        if place.get(key).is_none() {
            self.problems.push(Problem::of_text(&place.path_of(key), "", format!("is missing: {rule}")));
        }
        self.text(place, key)
    }

    fn name<'v>(&mut self, place: &Place<'v>, key: &str) -> Option<&'v str> {
        let rule = format!("must be an alarm's name: 1 to {NAME_MAX} characters without control characters");
        let name = self.needed(place, key, &rule)?;
        if is_plain(name, NAME_MAX) {
            return Some(name);
        }
        self.problems.push(Problem::new(&place.path_of(key), &Value::from(name), rule));
        None
    }

    fn arn<'v>(&mut self, place: &Place<'v>, key: &str) -> Option<&'v str> {
        let arn = self.text(place, key)?;
        if is_arn(arn) {
            return Some(arn);
        }
        self.add(&place.path_of(key), &Value::from(arn), "must be the ARN of an alarm");
        None
    }

    fn state<'v>(&mut self, place: &Place<'v>, key: &str) -> Option<&'v str> {
        let rule = "must be ALARM, OK or INSUFFICIENT_DATA";
        let state = self.needed(place, key, rule)?;
        if matches!(state, "ALARM" | "OK" | "INSUFFICIENT_DATA") {
            return Some(state);
        }
        self.add(&place.path_of(key), &Value::from(state), rule);
        None
    }
}

fn alarm(words: &Words<'_>) -> Option<Alarm> {
    let name = words.name?;
    let reason = words.reason.map_or(String::new(), |reason| on_one_line(reason.trim(), WORDS_MAX));
    Some(Alarm {
        name: name.to_owned(),
        arn: words.arn.map(str::to_owned),
        has_gone_off: words.state? == "ALARM",
        reason: if reason.trim().is_empty() { NO_REASON.to_owned() } else { reason },
        at: words.times.into_iter().flatten().find_map(|time| time.parse::<Timestamp>().ok()),
        rollouts: rollouts([name, words.description.unwrap_or_default()]),
    })
}

fn is_arn(text: &str) -> bool {
    text.starts_with("arn:") && text.contains(":alarm:") && is_plain(text, ARN_MAX)
}

fn is_plain(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// The rollouts that are named `canary-gate:NAME`, each once. A sentence's full stop is not part of a name, and
/// what is no name names nothing.
fn rollouts(texts: [&str; 2]) -> Vec<String> {
    let apart = |c: char| c.is_whitespace() || c.is_control() || ",;|/\\()[]{}<>\"'`".contains(c);
    let mut found: Vec<String> = Vec::new();
    for word in texts.iter().flat_map(|text| text.split(apart)) {
        let Some(name) = word.strip_prefix(MARK) else { continue };
        let name = name.trim_end_matches(['.', ':', '!', '?', '*', '_']);
        if found.len() < ROLLOUTS_MAX && is_rollout_name(name) && !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
    found
}
