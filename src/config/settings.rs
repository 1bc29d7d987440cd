//! What an installation of the function chooses, from its environment.
//!
//! The environment comes in as a lookup, so that reading it is pure and its tests touch no process state.

use std::collections::BTreeMap;
use std::fmt;

use super::arn::{Arn, ArnKind};
use super::problem::{Problem, must, unknown_key_rule, write_problems};
use crate::units::Span;

const TABLE: &str = "CANARY_GATE_TABLE";
const TOPIC_ARN: &str = "CANARY_GATE_TOPIC_ARN";
const WATERMARK: &str = "CANARY_GATE_WATERMARK";
const CLOCK: &str = "CANARY_GATE_CLOCK";
const LOG: &str = "CANARY_GATE_LOG";
const KEEP_LOG: &str = "CANARY_GATE_KEEP_LOG";
/// The AWS SDK's own variable; set, it says that the world is a rehearsal.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";
const PREFIX: &str = "CANARY_GATE_";

/// Every setting there is.
pub const KNOWN_SETTINGS: [&str; 6] = [TABLE, TOPIC_ARN, WATERMARK, CLOCK, LOG, KEEP_LOG];

/// Two minutes: CloudWatch's load balancer metrics are complete by then (see the README).
const WATERMARK_DEFAULT: Span = Span::from_minutes(2);
/// Sooner than this a minute is not whole; later than that a bad canary hurts for too long.
const WATERMARK_BOUNDS: [Span; 2] = [Span::from_minutes(1), Span::from_minutes(5)];
/// A quarter: long enough for most post-mortems.
const KEEP_LOG_DEFAULT: Span = Span::from_minutes(90 * 24 * 60);
const KEEP_LOG_BOUNDS: [Span; 2] = [Span::from_minutes(24 * 60), Span::from_minutes(3650 * 24 * 60)];
const LOG_DEFAULT: &str = "info";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Where the time of a tick comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// From the machine.
    Wall,
    /// From the schedule's event: for rehearsals in which time runs faster.
    Event,
}

/// What an installation chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The DynamoDB table of records and decision log.
    pub table: String,
    /// The SNS topic that on-call listens to.
    pub topic_arn: String,
    /// Minutes younger than this may still change in CloudWatch and are not looked at.
    pub watermark: Span,
    /// See [`Clock`].
    pub clock: Clock,
    /// The log's level filter.
    pub log: String,
    /// How long an entry of the decision log is kept.
    pub keep_log: Span,
}

/// All that is wrong with the settings; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsErrors(pub Vec<Problem>);

impl std::error::Error for SettingsErrors {}

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_problems(f, "in the environment", &self.0)
    }
}

impl Settings {
    /// Reads the settings through a lookup. An empty value counts as absent: templates pass those on.
    ///
    /// # Errors
    /// Every problem, with variable, value and rule.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsErrors> {
        let (settings, problems) = read(&lookup);
        if problems.is_empty() { Ok(settings) } else { Err(SettingsErrors(problems)) }
    }

    /// Reads the settings from all variables, so that a misspelt one is refused, too.
    ///
    /// # Errors
    /// Every problem, with variable, value and rule.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, SettingsErrors> {
        let ours = |(key, _): &(String, String)| key.starts_with(PREFIX) || key == ENDPOINT;
        let vars: BTreeMap<String, String> = vars.into_iter().filter(ours).collect();
        let unknown = |key: &&String| *key != ENDPOINT && !KNOWN_SETTINGS.contains(&key.as_str());
        let (settings, found) = read(&|key| vars.get(key).cloned());
        let mut meant = Vec::new();
        let mut problems: Vec<Problem> = Vec::new();
        for key in vars.keys().filter(unknown) {
            let (rule, near) = unknown_key_rule(key, &KNOWN_SETTINGS);
            meant.extend(near);
            problems.push(Problem::of_text(key, &vars[key], rule.replace("key", "setting")));
        }
        // A misspelt setting is one mistake, not a misspelt one and a missing one.
        problems
            .extend(found.into_iter().filter(|p| !p.value.is_empty() || !meant.contains(&p.key.as_str())));
        if problems.is_empty() { Ok(settings) } else { Err(SettingsErrors(problems)) }
    }
}

/// Reads every setting, whatever is wrong with some of them.
fn read(lookup: &dyn Fn(&str) -> Option<String>) -> (Settings, Vec<Problem>) {
    let mut reader = Reader { lookup, problems: Vec::new() };
    let rehearsal = reader.get(ENDPOINT).is_some();
    let settings = Settings {
        table: reader.required(TABLE, table),
        topic_arn: reader.required(TOPIC_ARN, topic),
        watermark: reader.optional(WATERMARK, WATERMARK_DEFAULT, |text| span(text, WATERMARK_BOUNDS)),
        clock: reader.optional(CLOCK, Clock::Wall, |text| clock(text, rehearsal)),
        log: reader.optional(LOG, LOG_DEFAULT.to_owned(), level_filter),
        keep_log: reader.optional(KEEP_LOG, KEEP_LOG_DEFAULT, |text| span(text, KEEP_LOG_BOUNDS)),
    };
    (settings, reader.problems)
}

struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn get(&self, key: &str) -> Option<String> {
        (self.lookup)(key).filter(|value| !value.is_empty())
    }

    fn optional<T>(&mut self, key: &str, default: T, read: impl Fn(&str) -> Result<T, String>) -> T {
        let Some(text) = self.get(key) else { return default };
        read(&text).unwrap_or_else(|rule| {
            self.problems.push(Problem::of_text(key, &text, rule));
            default
        })
    }

    fn required(&mut self, key: &str, read: fn(&str) -> Result<String, String>) -> String {
        if self.get(key).is_none() {
            let rule = read("").err().unwrap_or_default();
            self.problems.push(Problem::of_text(key, "", format!("is missing: {rule}")));
        }
        self.optional(key, String::new(), read)
    }
}

fn table(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if (3..=255).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("must be the name of a DynamoDB table: 3 to 255 of A-Z, a-z, 0-9, _, - and .".to_owned())
    }
}

fn topic(text: &str) -> Result<String, String> {
    Arn::parse(text, ArnKind::Topic).map(|_| text.to_owned())
}

fn span(text: &str, [min, max]: [Span; 2]) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: crate::units::UnitError| must(&error.to_string()))?;
    if (min..=max).contains(&span) { Ok(span) } else { Err(format!("must be from {min} to {max}")) }
}

/// The event's time could promote a canary on minutes that never were; no real account may be driven so.
fn clock(text: &str, rehearsal: bool) -> Result<Clock, String> {
    match text {
        "wall" => Ok(Clock::Wall),
        "event" if rehearsal => Ok(Clock::Event),
        "event" => Err(format!("is for rehearsals: it needs {ENDPOINT} to point at a local endpoint")),
        _ => Err("must be wall or event".to_owned()),
    }
}

/// A level, or `target=level` directives with commas between them.
fn level_filter(text: &str) -> Result<String, String> {
    let directive = |part: &str| {
        let (target, level) = part.rsplit_once('=').unwrap_or(("canary_gate", part));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        let known = LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
        known && !target.is_empty() && target.chars().all(plain)
    };
    if text.split(',').all(|part| directive(part.trim())) {
        return Ok(text.to_owned());
    }
    Err(format!("must be a level out of {}, or directives such as info,canary_gate=debug", LEVELS.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:on-call";

    fn read_vars(vars: &[(&str, &str)]) -> Result<Settings, SettingsErrors> {
        Settings::from_vars(vars.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn only_table_and_topic_are_required() {
        let settings =
            read_vars(&[(TABLE, "canary-gate"), (TOPIC_ARN, TOPIC), (LOG, ""), ("PATH", "/bin")]).unwrap();
        let expected = Settings {
            table: "canary-gate".to_owned(),
            topic_arn: TOPIC.to_owned(),
            watermark: Span::from_seconds(120),
            clock: Clock::Wall,
            log: "info".to_owned(),
            keep_log: Span::from_minutes(90 * 24 * 60),
        };
        assert_eq!(settings, expected);
        let lookup = |key: &str| {
            [(TABLE, "canary-gate"), (TOPIC_ARN, TOPIC)]
                .iter()
                .find(|(k, _)| *k == key)
                .map(|(_, v)| (*v).to_owned())
        };
        assert_eq!(Settings::from_env(lookup).unwrap(), expected);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let errors = read_vars(&[
            (TOPIC_ARN, "on-call"),
            (WATERMARK, "10m"),
            (CLOCK, "event"),
            (LOG, "loud"),
            (KEEP_LOG, "90"),
            ("CANARY_GATE_KEEP_LOGS", "90d"),
        ]);
        let errors = errors.unwrap_err();
        let keys: Vec<&str> = errors.0.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["CANARY_GATE_KEEP_LOGS", TABLE, TOPIC_ARN, WATERMARK, CLOCK, LOG, KEEP_LOG]);
        let text = errors.to_string();
        assert!(text.starts_with("7 problems in the environment:\n"));
        assert!(text.contains("did you mean CANARY_GATE_KEEP_LOG?"));
    }

    #[test]
    fn a_misspelt_setting_is_one_problem() {
        let errors = read_vars(&[("CANARY_GATE_TABEL", "canary-gate"), (TOPIC_ARN, TOPIC)]).unwrap_err();
        assert_eq!(errors.0.len(), 1, "{errors}");
    }

    #[test]
    fn the_events_clock_needs_a_local_endpoint() {
        let base = [(TABLE, "canary-gate"), (TOPIC_ARN, TOPIC), (CLOCK, "event")];
        assert!(read_vars(&base).is_err());
        let rehearsal = [base.as_slice(), &[(ENDPOINT, "http://127.0.0.1:4566")]].concat();
        assert_eq!(read_vars(&rehearsal).unwrap().clock, Clock::Event);
    }

    #[test]
    fn watermarks_are_taken_up_to_their_bounds_and_no_further() {
        for (text, fine) in [("60s", true), ("300s", true), ("59s", false), ("301s", false), ("2", false)] {
            let read = read_vars(&[(TABLE, "canary-gate"), (TOPIC_ARN, TOPIC), (WATERMARK, text)]);
            assert_eq!(read.is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn level_filters_are_words_or_directives() {
        for text in ["info", "DEBUG", "warn,canary_gate=debug", "info, aws_smithy::http=off"] {
            assert!(level_filter(text).is_ok(), "{text}");
        }
        for text in ["", "verbose", "canary_gate=", "=info", "info;debug"] {
            assert!(level_filter(text).is_err(), "{text}");
        }
    }
}
