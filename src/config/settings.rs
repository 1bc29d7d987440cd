//! What an installation of the function chooses, from its environment.
//!
//! The environment comes in as a lookup, so that reading it is pure and its tests touch no process state.

use std::collections::BTreeMap;
use std::fmt;

use super::arn::{Arn, ArnKind};
use super::callers::{KnownCaller, callers};
use super::github::{GithubApi, GithubApp, app_id, app_key, webhook_secret};
use super::problem::{Problem, must, unknown_key_rule, write_problems};
use crate::units::Span;

const TABLE: &str = "CANARY_GATE_TABLE";
const TOPIC_ARN: &str = "CANARY_GATE_TOPIC_ARN";
const WATERMARK: &str = "CANARY_GATE_WATERMARK";
const CLOCK: &str = "CANARY_GATE_CLOCK";
const LOG: &str = "CANARY_GATE_LOG";
const KEEP_LOG: &str = "CANARY_GATE_KEEP_LOG";
const RUNBOOK: &str = "CANARY_GATE_RUNBOOK";
/// Holds secrets: what is written there is never quoted.
const CALLERS: &str = "CANARY_GATE_CALLERS";
const GITHUB_APP_ID: &str = "CANARY_GATE_GITHUB_APP_ID";
/// Holds a secret.
const GITHUB_PRIVATE_KEY: &str = "CANARY_GATE_GITHUB_PRIVATE_KEY";
/// Holds a secret.
const GITHUB_WEBHOOK_SECRET: &str = "CANARY_GATE_GITHUB_WEBHOOK_SECRET";
const GITHUB_API: &str = "CANARY_GATE_GITHUB_API";
/// The AWS SDK's own variable; set, it says that the world is a rehearsal.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";
const PREFIX: &str = "CANARY_GATE_";

/// Every setting there is.
pub const KNOWN_SETTINGS: [&str; 12] = [
    TABLE,
    TOPIC_ARN,
    WATERMARK,
    CLOCK,
    LOG,
    KEEP_LOG,
    RUNBOOK,
    CALLERS,
    GITHUB_APP_ID,
    GITHUB_PRIVATE_KEY,
    GITHUB_WEBHOOK_SECRET,
    GITHUB_API,
];

/// What a misspelt setting was meant to be may be a secret: of names with these words nothing is quoted.
const SECRET_WORDS: [&str; 4] = ["CALLER", "GITHUB", "SECRET", "PRIVATE"];

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
    /// The URL of docs/runbook.md as its people can read it, for links in pages.
    pub runbook: Option<String>,
    /// Who may call over HTTP without a signature of AWS.
    pub callers: Vec<KnownCaller>,
    /// The GitHub App whose deployments wait for verdicts.
    pub github: Option<GithubApp>,
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
        let (settings, problems) = read_all(vars, &[]);
        if problems.is_empty() { Ok(settings) } else { Err(SettingsErrors(problems)) }
    }

    /// The same for a process outside Lambda, which may do without table and topic (they are empty then), and whose
    /// command line knows some variables of its own.
    ///
    /// # Errors
    /// Every problem, with variable, value and rule.
    pub fn of_process(
        vars: impl IntoIterator<Item = (String, String)>,
        own: &[&'static str],
    ) -> Result<Self, SettingsErrors> {
        let (settings, mut problems) = read_all(vars, own);
        let is_missing = |p: &Problem| p.value.is_empty() && [TABLE, TOPIC_ARN].contains(&p.key.as_str());
        problems.retain(|problem| !is_missing(problem));
        if problems.is_empty() { Ok(settings) } else { Err(SettingsErrors(problems)) }
    }
}

/// Reads every setting out of all variables; what is neither a setting nor one of `own` is a problem.
fn read_all(
    vars: impl IntoIterator<Item = (String, String)>,
    own: &[&'static str],
) -> (Settings, Vec<Problem>) {
    let ours = |(key, _): &(String, String)| key.starts_with(PREFIX) || key == ENDPOINT;
    let vars: BTreeMap<String, String> = vars.into_iter().filter(ours).collect();
    let known = [KNOWN_SETTINGS.as_slice(), own].concat();
    let unknown = |key: &&String| *key != ENDPOINT && !known.contains(&key.as_str());
    let (settings, found) = read(&|key| vars.get(key).cloned());
    let mut meant = Vec::new();
    let mut problems: Vec<Problem> = Vec::new();
    for key in vars.keys().filter(unknown) {
        let (rule, near) = unknown_key_rule(key, &known);
        meant.extend(near);
        let secret = [Some(key.as_str()), near].into_iter().flatten().any(may_be_secret);
        let value = if secret { "" } else { vars[key].as_str() };
        problems.push(Problem::of_text(key, value, rule.replace("key", "setting")));
    }
    // A misspelt setting is one mistake, not a misspelt one and a missing one.
    problems.extend(found.into_iter().filter(|p| !p.value.is_empty() || !meant.contains(&p.key.as_str())));
    (settings, problems)
}

fn may_be_secret(key: &str) -> bool {
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// Reads every setting, whatever is wrong with some of them.
fn read(lookup: &dyn Fn(&str) -> Option<String>) -> (Settings, Vec<Problem>) {
    let mut reader = Reader { lookup, problems: Vec::new() };
    let rehearsal = reader.get(ENDPOINT).is_some();
    let settings = Settings {
        table: reader.required(TABLE, table),
        topic_arn: reader.required(TOPIC_ARN, topic),
        watermark: reader.optional(WATERMARK, WATERMARK_DEFAULT, watermark),
        clock: reader.optional(CLOCK, Clock::Wall, |text| clock(text, rehearsal)),
        log: reader.optional(LOG, LOG_DEFAULT.to_owned(), level_filter),
        keep_log: reader.optional(KEEP_LOG, KEEP_LOG_DEFAULT, keep_log),
        runbook: reader.optional(RUNBOOK, None, |text| runbook(text).map(Some)),
        callers: reader.callers(),
        github: reader.github(),
    };
    (settings, reader.problems)
}

/// As much of a URL as fits into a page for a phone's screen.
const RUNBOOK_CHARS: usize = 200;

fn runbook(text: &str) -> Result<String, String> {
    let plain = text.chars().all(|c| c.is_ascii_graphic() && !"<>\"'#".contains(c));
    if plain && text.starts_with("https://") && text.len() <= RUNBOOK_CHARS {
        return Ok(text.to_owned());
    }
    Err(format!("is the https:// URL of the runbook, up to {RUNBOOK_CHARS} characters, without a #"))
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

    fn callers(&mut self) -> Vec<KnownCaller> {
        let Some(text) = self.get(CALLERS) else { return Vec::new() };
        callers(&text).unwrap_or_else(|rules| {
            self.problems.extend(rules.into_iter().map(|rule| Problem::of_text(CALLERS, "", rule)));
            Vec::new()
        })
    }

    /// All of an App, or none.
    fn github(&mut self) -> Option<GithubApp> {
        let needed = [GITHUB_APP_ID, GITHUB_PRIVATE_KEY, GITHUB_WEBHOOK_SECRET];
        if needed.iter().chain(&[GITHUB_API]).all(|key| self.get(key).is_none()) {
            return None;
        }
        let api = self.optional(GITHUB_API, GithubApi::default(), GithubApi::parse);
        let id = self.of_github(GITHUB_APP_ID, app_id);
        let key = self.of_github(GITHUB_PRIVATE_KEY, app_key);
        let webhook_secret = self.of_github(GITHUB_WEBHOOK_SECRET, webhook_secret);
        Some(GithubApp { id: id?, key: key?, webhook_secret: webhook_secret?, api })
    }

    /// What an App needs, never quoted.
    fn of_github<T>(&mut self, key: &str, read: fn(&str) -> Result<T, String>) -> Option<T> {
        let missing =
            || "is missing: a GitHub App needs its id, its private key and its webhook's secret".to_owned();
        let read = self.get(key).ok_or_else(missing).and_then(|text| read(&text));
        read.map_err(|rule| self.problems.push(Problem::of_text(key, "", rule))).ok()
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

/// Minutes younger than this are not looked at.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn watermark(text: &str) -> Result<Span, String> {
    span(text, WATERMARK_BOUNDS)
}

/// How long the decision log is kept.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn keep_log(text: &str) -> Result<Span, String> {
    span(text, KEEP_LOG_BOUNDS)
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
            runbook: None,
            callers: Vec::new(),
            github: None,
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
            (CALLERS, "ci:act"),
        ]);
        let errors = errors.unwrap_err();
        let keys: Vec<&str> = errors.0.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(
            keys,
            ["CANARY_GATE_KEEP_LOGS", TABLE, TOPIC_ARN, WATERMARK, CLOCK, LOG, KEEP_LOG, CALLERS]
        );
        let text = errors.to_string();
        assert!(text.starts_with("8 problems in the environment:\n"));
        assert!(text.contains("did you mean CANARY_GATE_KEEP_LOG?"));
    }

    #[test]
    fn a_misspelt_setting_is_one_problem() {
        let errors = read_vars(&[("CANARY_GATE_TABEL", "canary-gate"), (TOPIC_ARN, TOPIC)]).unwrap_err();
        assert_eq!(errors.0.len(), 1, "{errors}");
    }

    #[test]
    fn a_process_may_do_without_table_and_topic_but_not_with_wrong_ones() {
        let read = |vars: &[(&str, &str)]| {
            let vars = vars.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            Settings::of_process(vars, &["CANARY_GATE_STORE"])
        };
        let settings = read(&[("CANARY_GATE_STORE", "/tmp/gate.db"), (WATERMARK, "3m")]).unwrap();
        assert_eq!((settings.table.as_str(), settings.watermark), ("", Span::from_minutes(3)));
        let wrong = [
            ("CANARY_GATE_STOER", "x"),
            (TABLE, "!"),
            (TOPIC_ARN, "on-call"),
            (KEEP_LOG, "1s"),
            (CLOCK, "event"),
        ];
        let errors = read(&wrong).unwrap_err();
        let keys: Vec<&str> = errors.0.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["CANARY_GATE_STOER", TABLE, TOPIC_ARN, CLOCK, KEEP_LOG]);
        assert!(errors.to_string().contains("did you mean CANARY_GATE_STORE?"), "{errors}");
    }

    #[test]
    fn callers_are_read_and_their_secrets_never_printed() {
        let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let entry = format!("flagger:ask:sha256={hash}");
        let base = [(TABLE, "canary-gate"), (TOPIC_ARN, TOPIC)];
        let settings = read_vars(&[base.as_slice(), &[(CALLERS, entry.as_str())]].concat()).unwrap();
        assert_eq!(settings.callers[0].name, "flagger");
        assert!(!format!("{settings:?}").contains("9f86") && !format!("{settings:?}").contains("159"));
        let wrong = entry.replace("ask", "9f86");
        for key in [CALLERS, "CANARY_GATE_CALLER", "CANARY_GATE_CALERS", "CANARY_GATE_HTTP_CALLERS_LIST"] {
            let errors = read_vars(&[base.as_slice(), &[(key, wrong.as_str())]].concat()).unwrap_err();
            let told = format!("{errors} {errors:?}");
            assert!(told.contains(key) && !told.contains("9f86"), "{told}");
        }
    }

    #[test]
    fn a_github_app_is_configured_as_a_whole_or_not_at_all() {
        let base = [(TABLE, "canary-gate"), (TOPIC_ARN, TOPIC)];
        let key = "-----BEGIN RSA PRIVATE KEY-----\\nMIICS3cr\\n-----END RSA PRIVATE KEY-----\\n";
        let whole = [
            (GITHUB_APP_ID, "1234567"),
            (GITHUB_PRIVATE_KEY, key),
            (GITHUB_WEBHOOK_SECRET, "It's a Secret to Everybody"),
        ];
        let settings = read_vars(&[&base[..], &whole[..]].concat()).unwrap();
        let app = settings.github.as_ref().unwrap();
        assert_eq!((app.id.as_str(), app.api.as_str()), ("1234567", "https://api.github.com/"));
        let told = format!("{settings:?}");
        assert!(!told.contains("Everybody") && !told.contains("S3cr") && !told.contains("MII"), "{told}");
        for left_out in 0..3 {
            let mut some = whole.to_vec();
            let (missing, _) = some.remove(left_out);
            let errors = read_vars(&[&base[..], &some].concat()).unwrap_err();
            let keys: Vec<&str> = errors.0.iter().map(|problem| problem.key.as_str()).collect();
            assert_eq!(keys, [missing]);
        }
        let api = (GITHUB_API, "https://github.example/api/v3");
        assert_eq!(read_vars(&[&base[..], &[api]].concat()).unwrap_err().0.len(), 3);
        let settings = read_vars(&[&base[..], &whole[..], &[api]].concat()).unwrap();
        assert_eq!(settings.github.unwrap().api.as_str(), "https://github.example/api/v3/");
    }

    #[test]
    fn what_is_wrong_with_a_github_app_is_told_without_its_secrets() {
        let base = [(TABLE, "canary-gate"), (TOPIC_ARN, TOPIC)];
        let wrong = [
            (GITHUB_APP_ID, "S3cret app"),
            (GITHUB_PRIVATE_KEY, "-----BEGIN PRIVATE KEY-----\nS3cret"),
            (GITHUB_WEBHOOK_SECRET, "S3cret"),
            (GITHUB_API, "http://api.github.com/"),
        ];
        let errors = read_vars(&[&base[..], &wrong[..]].concat()).unwrap_err();
        let told = format!("{errors} {errors:?}");
        assert!(errors.0.len() == 4 && !told.contains("S3cret") && told.contains("must be https"), "{told}");
        for key in [
            "CANARY_GATE_GITHUB_KEY",
            "CANARY_GATE_GITHB_PRIVATE_KEY",
            "CANARY_GATE_WEBHOOK_SECRET",
            "CANARY_GATE_GIT_HUB_WEBHOK_SECRT",
        ] {
            let errors = read_vars(&[&base[..], &[(key, "S3cret")]].concat()).unwrap_err();
            let told = format!("{errors} {errors:?}");
            assert!(told.contains(key) && !told.contains("S3cret"), "{told}");
        }
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
