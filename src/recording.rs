//! The file of what the judge saw: JSON Lines, a header and then one minute a line.
//!
//! Lines are walked by hand and not by serde's derive, because a recording with twelve mistakes should
//! name twelve lines and keys, and because counts that contradict each other must not reach the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufRead, Read};

use serde_json::{Map, Value, json};

use crate::analysis::window::{ArmCounts, Distribution, MetricCounts, Row, Tally, Window};
use crate::units::{Minute, Share};

/// The version of the format that is read and written.
pub const VERSION: u64 = 1;
/// The longest recording that is read: two months of minutes, with distributions.
pub const BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest line: ten distributions of a thousand bins in both arms fit into a third of it.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// The most minutes from the first to the last, both counted: two months. Every minute in between costs those
/// who judge it as much as one that is there.
pub const SPAN_MAX: i64 = 62 * 24 * 60;
/// The longest name in the header, in characters.
const NAME_CHARS: usize = 1_000;
/// As many problems as are kept; the rest are counted.
pub const SHOWN_PROBLEMS: usize = 20;
/// The largest count, so that sums over the longest recording can't overflow.
const COUNT_MAX: u64 = 1_000_000_000_000;
/// 1.1^1000 is 10^41, beyond every quantity that is measured.
const EDGE_MAX: i32 = 1_000;
/// As much of a key as a message quotes.
const KEY_CHARS: usize = 80;

const HEADER_KEYS: [&str; 4] = ["recording", "source", "stable", "canary"];
const ROW_KEYS: [&str; 4] = ["minute", "share", "stable", "canary"];
const ARM_KEYS: [&str; 9] = [
    "requests",
    "http_2xx",
    "http_3xx",
    "http_4xx",
    "http_5xx",
    "errors",
    "healthy_hosts",
    "latency",
    "metrics",
];
const METRIC_KEYS: [&str; 5] = ["bad", "total", "classes", "count", "le"];

/// What the judge saw, with the names of what was compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Where it comes from, in free words.
    pub source: String,
    /// What the stable arm was.
    pub stable_name: String,
    /// What the canary arm was.
    pub canary_name: String,
    /// The minutes.
    pub window: Window,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingProblem {
    /// Line number, from 1; 0 if it is about the whole text.
    pub line: usize,
    /// Dotted path of the key, such as `canary.latency.le`; empty if it is about the whole line.
    pub key: String,
    /// The rule that is broken.
    pub rule: String,
}

impl fmt::Display for RecordingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.rule)
    }
}

/// All that is wrong with a recording; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingErrors {
    /// The first [`SHOWN_PROBLEMS`] of them, in the order of the lines.
    pub problems: Vec<RecordingProblem>,
    /// How many there are.
    pub count: usize,
}

impl std::error::Error for RecordingErrors {}

impl fmt::Display for RecordingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.count == 1 { "" } else { "s" };
        write!(f, "{} problem{plural} in the recording:", self.count)?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        match self.count - self.problems.len() {
            0 => Ok(()),
            more => write!(f, "\n  ... and {more} more"),
        }
    }
}

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its lines could not be read.
    #[error(transparent)]
    Source(#[from] io::Error),
    /// They are wrong.
    #[error(transparent)]
    Wrong(#[from] RecordingErrors),
}

/// Reads a recording. Lines may be out of order, and a repeated minute replaces the earlier one.
///
/// # Errors
/// Every problem, with line and key. Of a text that is no recording, or one of another version, only that.
pub fn parse(text: &str) -> Result<Recording, RecordingErrors> {
    let mut parser = Parser::default();
    if text.len() > BYTES_MAX {
        let rule = format!("the recording has {} bytes; at most {BYTES_MAX} are read", text.len());
        parser.reader.problem("", rule);
        return parser.finish();
    }
    for line in text.lines() {
        if !parser.line(line.as_bytes()) {
            break;
        }
    }
    parser.finish()
}

/// The same, line by line: no more is held than one line and the minutes that were read from the others.
///
/// # Errors
/// What [`parse`] says, or why the lines can't be read. A line that is too long ends the reading.
pub fn read(mut from: impl BufRead) -> Result<Recording, ReadError> {
    let mut parser = Parser::default();
    let (mut line, mut bytes) = (Vec::new(), 0);
    loop {
        line.clear();
        // One byte more than a line may have tells that it has more.
        bytes += from.by_ref().take(LINE_BYTES_MAX as u64 + 2).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        if bytes > BYTES_MAX {
            parser.reader.line = 0;
            let rule = format!("the recording has more than {BYTES_MAX} bytes; no more are read");
            parser.reader.problem("", rule);
            break;
        }
        let text = line.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        if !parser.line(text.unwrap_or(&line)) {
            break;
        }
    }
    Ok(parser.finish()?)
}

/// Takes a recording's lines, one after the other.
#[derive(Debug, Default)]
struct Parser {
    reader: Reader,
    /// Lines so far.
    lines: usize,
    /// There as soon as there is a header.
    recording: Option<Recording>,
}

impl Parser {
    /// Answers whether there is any use in going on.
    fn line(&mut self, line: &[u8]) -> bool {
        self.lines += 1;
        self.reader.line = self.lines;
        if line.len() > LINE_BYTES_MAX {
            self.reader.problem("", format!("has more than {LINE_BYTES_MAX} bytes; no more are read"));
            return false;
        }
        let line = match self.lines {
            1 => line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line),
            _ => line,
        };
        let line = match std::str::from_utf8(line) {
            Ok(line) => line,
            Err(error) => {
                self.reader.problem("", format!("is not UTF-8 text (byte {})", error.valid_up_to() + 1));
                return self.recording.is_some();
            }
        };
        if line.trim().is_empty() {
            return true;
        }
        match &mut self.recording {
            Some(recording) => {
                if let Some(row) = self.reader.row(line) {
                    recording.window.insert(row);
                }
                true
            }
            none => {
                *none = self.reader.header(line);
                none.is_some()
            }
        }
    }

    fn finish(mut self) -> Result<Recording, RecordingErrors> {
        if self.recording.is_none() && self.reader.count == 0 {
            self.reader.line = 0;
            self.reader.problem("", "the recording is empty: its first line must be a header");
        }
        match self.recording {
            Some(recording) if self.reader.count == 0 => Ok(recording),
            _ => Err(self.reader.into_errors()),
        }
    }
}

/// Writes a recording, in the order of the minutes. What [`parse`] reads from it is what was written.
#[must_use]
pub fn write(recording: &Recording) -> String {
    let header = json!({
        "recording": VERSION,
        "source": recording.source,
        "stable": recording.stable_name,
        "canary": recording.canary_name,
    });
    let mut text = format!("{header}\n");
    for row in recording.window.rows() {
        let line = serde_json::to_string(row).expect("a row has text keys and finite numbers only");
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The form in which a metric was seen first: every later minute must have it, too.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Ratio,
    Classes,
    Edges(BTreeSet<i32>),
}

#[derive(Debug, Default)]
struct Reader {
    line: usize,
    problems: Vec<RecordingProblem>,
    count: usize,
    forms: BTreeMap<String, (Form, usize)>,
    /// The first and the last minute so far, by the clock.
    ends: Option<(Minute, Minute)>,
}

impl Reader {
    fn problem(&mut self, key: &str, rule: impl Into<String>) {
        self.count += 1;
        if self.problems.len() < SHOWN_PROBLEMS {
            self.problems.push(RecordingProblem { line: self.line, key: shortened(key), rule: rule.into() });
        }
    }

    fn into_errors(self) -> RecordingErrors {
        RecordingErrors { problems: self.problems, count: self.count }
    }

    /// The mapping that a line is, with its unknown keys noted.
    fn object(&mut self, line: &str) -> Option<Map<String, Value>> {
        match serde_json::from_str(line) {
            Ok(Value::Object(map)) => Some(map),
            Ok(_) => {
                self.problem("", "must be a JSON object");
                None
            }
            Err(error) => {
                self.problem("", format!("is no JSON (column {})", error.column()));
                None
            }
        }
    }

    /// `None` if there is no use in reading on.
    fn header(&mut self, line: &str) -> Option<Recording> {
        let map = self.object(line)?;
        let version = map.get("recording");
        if version.and_then(Value::as_u64) != Some(VERSION) {
            let rule = match version {
                None => format!("is missing: the first line must be a header with \"recording\":{VERSION}"),
                Some(other) => format!("is a version that is not known, {}; {VERSION} is", brief(other)),
            };
            self.problem("recording", rule);
            return None;
        }
        self.refuse_unknown("", &map, &HEADER_KEYS);
        let mut text = |key: &str| match map.get(key) {
            Some(Value::String(text)) if text.chars().count() <= NAME_CHARS => text.clone(),
            None if key == "source" => String::new(),
            _ => {
                self.problem(key, format!("must be a text of at most {NAME_CHARS} characters"));
                String::new()
            }
        };
        Some(Recording {
            source: text("source"),
            stable_name: text("stable"),
            canary_name: text("canary"),
            window: Window::default(),
        })
    }

    fn row(&mut self, line: &str) -> Option<Row> {
        let map = self.object(line)?;
        if map.contains_key("recording") {
            self.problem("", "is a second header: a recording has one, in its first line");
            return None;
        }
        self.refuse_unknown("", &map, &ROW_KEYS);
        let minute = map.get("minute").and_then(Value::as_str).and_then(|text| text.parse::<Minute>().ok());
        if minute.is_none() {
            self.problem(
                "minute",
                "must be an RFC 3339 time on a whole minute, such as 2026-03-01T10:00:00Z",
            );
        }
        let minute = minute.filter(|minute| self.is_near(*minute));
        let share = map.get("share").and_then(Value::as_f64).and_then(|n| Share::from_percent(n).ok());
        if share.is_none() {
            self.problem("share", "must be a number from 0 to 100");
        }
        let stable = self.arm("stable", map.get("stable"));
        let canary = self.arm("canary", map.get("canary"));
        Some(Row { minute: minute?, share: share?, stable, canary })
    }

    /// Whether a minute can belong to the same recording as those before it; if not, that is noted.
    fn is_near(&mut self, minute: Minute) -> bool {
        let (first, last) = self.ends.unwrap_or((minute, minute));
        let ends = (first.min(minute), last.max(minute));
        if ends.1.since(ends.0) >= SPAN_MAX {
            let rule =
                format!("must be within {SPAN_MAX} minutes (two months) of all others, {first} to {last}");
            self.problem("minute", rule);
            return false;
        }
        self.ends = Some(ends);
        true
    }

    fn arm(&mut self, path: &str, value: Option<&Value>) -> Option<ArmCounts> {
        let map = self.mapping(path, value?, &ARM_KEYS)?;
        if !map.contains_key("requests") {
            self.problem(
                &format!("{path}.requests"),
                "is missing: an arm that published nothing is left out",
            );
        }
        let mut count = |key: &str| self.count(&format!("{path}.{key}"), map.get(key));
        let counts = ArmCounts {
            requests: count("requests").unwrap_or_default(),
            http_2xx: count("http_2xx"),
            http_3xx: count("http_3xx"),
            http_4xx: count("http_4xx"),
            http_5xx: count("http_5xx"),
            errors: count("errors"),
            healthy_hosts: count("healthy_hosts"),
            latency: self.latency(path, map.get("latency")),
            metrics: self.metrics(&format!("{path}.metrics"), map.get("metrics")),
        };
        if counts.errors.is_some_and(|errors| errors > counts.requests) {
            self.problem(&format!("{path}.errors"), "must not be more than requests");
        }
        Some(counts)
    }

    fn latency(&mut self, path: &str, value: Option<&Value>) -> Option<Distribution> {
        let path = format!("{path}.latency");
        let map = self.mapping(&path, value?, &["count", "le"])?;
        let distribution = self.distribution(&path, map)?;
        self.same_form(&path, "latency", Form::Edges(distribution.le.keys().copied().collect()));
        Some(distribution)
    }

    fn metrics(&mut self, path: &str, value: Option<&Value>) -> BTreeMap<String, MetricCounts> {
        let map = match value {
            None | Some(Value::Null) => return BTreeMap::new(),
            Some(Value::Object(map)) => map,
            Some(_) => {
                self.problem(path, "must be a JSON object");
                return BTreeMap::new();
            }
        };
        let read = |(name, value): (&String, &Value)| {
            Some((name.clone(), self.metric(&format!("{path}.{name}"), name, value)?))
        };
        map.iter().filter_map(read).collect()
    }

    /// A metric of the application's own: its keys tell which of the three forms it has.
    fn metric(&mut self, path: &str, name: &str, value: &Value) -> Option<MetricCounts> {
        let map = self.mapping(path, value, &METRIC_KEYS)?;
        let form = ["total", "classes", "le"].map(|key| map.contains_key(key));
        let counts = match form {
            [true, false, false] => self.known(path, map, &["bad", "total"]).ratio(path, map),
            [false, true, false] => self.known(path, map, &["classes"]).classes(path, map),
            [false, false, true] => {
                self.known(path, map, &["count", "le"]).distribution(path, map).map(MetricCounts::Values)
            }
            _ => {
                self.problem(path, "must have either bad and total, or classes, or count and le");
                None
            }
        }?;
        let form = match &counts {
            MetricCounts::Ratio(_) => Form::Ratio,
            MetricCounts::Classes { .. } => Form::Classes,
            MetricCounts::Values(values) => Form::Edges(values.le.keys().copied().collect()),
        };
        // The name can't be taken for the latency's, whatever it is.
        self.same_form(path, &format!("metrics.{name}"), form);
        Some(counts)
    }

    /// Refuses keys of the other forms of a metric.
    fn known(&mut self, path: &str, map: &Map<String, Value>, known: &[&str]) -> &mut Self {
        for key in
            map.keys().filter(|key| METRIC_KEYS.contains(&key.as_str()) && !known.contains(&key.as_str()))
        {
            self.problem(&format!("{path}.{key}"), format!("does not go with {}", known.join(" and ")));
        }
        self
    }

    fn ratio(&mut self, path: &str, map: &Map<String, Value>) -> Option<MetricCounts> {
        let bad = self.needed(&format!("{path}.bad"), map.get("bad"));
        let total = self.needed(&format!("{path}.total"), map.get("total"));
        let (bad, total) = (bad?, total?);
        if bad > total {
            self.problem(&format!("{path}.bad"), format!("must not be more than total ({total})"));
        }
        Some(MetricCounts::Ratio(Tally { bad, total }))
    }

    fn classes(&mut self, path: &str, map: &Map<String, Value>) -> Option<MetricCounts> {
        let path = format!("{path}.classes");
        let Some(Value::Object(map)) = map.get("classes") else {
            self.problem(&path, "must be a JSON object of counts by class");
            return None;
        };
        let read = |(class, value): (&String, &Value)| {
            Some((class.clone(), self.needed(&format!("{path}.{class}"), Some(value))?))
        };
        Some(MetricCounts::Classes { classes: map.iter().filter_map(read).collect() })
    }

    /// `count` and the cumulative counts below the edges, which can't fall and can't exceed it.
    fn distribution(&mut self, path: &str, map: &Map<String, Value>) -> Option<Distribution> {
        let count = self.needed(&format!("{path}.count"), map.get("count"));
        let path = format!("{path}.le");
        let Some(Value::Object(edges)) = map.get("le") else {
            self.problem(&path, "must be a JSON object of cumulative counts by edge");
            return None;
        };
        let mut le = BTreeMap::new();
        for (key, value) in edges {
            let edge = key.parse::<i32>().ok().filter(|k| k.abs() <= EDGE_MAX && k.to_string() == *key);
            if edge.is_none() {
                let rule =
                    format!("must be a whole number from -{EDGE_MAX} to {EDGE_MAX}: k stands for 1.1^k");
                self.problem(&format!("{path}.{key}"), rule);
            }
            let below = self.needed(&format!("{path}.{key}"), Some(value));
            if let (Some(edge), Some(below)) = (edge, below) {
                le.insert(edge, below);
            }
        }
        let count = count?;
        self.refuse_falling(&path, &le, count);
        Some(Distribution { count, le })
    }

    fn refuse_falling(&mut self, path: &str, le: &BTreeMap<i32, u64>, count: u64) {
        let mut before = 0;
        for (edge, below) in le {
            if *below < before {
                let rule =
                    format!("must not be less than at the edge before it ({before}): counts are cumulative");
                self.problem(&format!("{path}.{edge}"), rule);
            }
            if *below > count {
                self.problem(&format!("{path}.{edge}"), format!("must not be more than count ({count})"));
            }
            before = *below;
        }
    }

    /// Minutes with other edges can't be added up: an edge that is not listed is unknown, not zero.
    fn same_form(&mut self, path: &str, metric: &str, form: Form) {
        let Some((first, line)) = self.forms.get(metric) else {
            self.forms.insert(metric.to_owned(), (form, self.line));
            return;
        };
        if *first != form {
            let what = match (first, &form) {
                (Form::Edges(_), Form::Edges(_)) => "list the same edges",
                _ => "have the same form",
            };
            let rule = format!("must {what} on every line and in both arms; line {line} was first");
            self.problem(path, rule);
        }
    }

    /// A mapping with known keys; `None` if the value is null or, with a problem noted, no mapping.
    fn mapping<'v>(
        &mut self,
        path: &str,
        value: &'v Value,
        known: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        match value {
            Value::Null => None,
            Value::Object(map) => {
                self.refuse_unknown(path, map, known);
                Some(map)
            }
            _ => {
                self.problem(path, "must be a JSON object");
                None
            }
        }
    }

    fn refuse_unknown(&mut self, path: &str, map: &Map<String, Value>, known: &[&str]) {
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            self.problem(&path, format!("is not a known key; the nearest is {}", nearest(key, known)));
        }
    }

    /// A count that must be there.
    fn needed(&mut self, path: &str, value: Option<&Value>) -> Option<u64> {
        if matches!(value, None | Some(Value::Null)) {
            self.problem(path, "is missing: must be a whole number");
        }
        self.count(path, value)
    }

    /// A count; null is as good as absent. CloudWatch's numbers are floating point, so `407.0` is 407.
    fn count(&mut self, path: &str, value: Option<&Value>) -> Option<u64> {
        let value = value.filter(|value| !value.is_null())?;
        let whole = |n: &f64| n.fract() == 0.0 && (0.0..=COUNT_MAX as f64).contains(n);
        let count = value.as_u64().or_else(|| value.as_f64().filter(whole).map(|n| n as u64));
        let count = count.filter(|count| *count <= COUNT_MAX);
        if count.is_none() {
            self.problem(path, format!("must be a whole number from 0 to {COUNT_MAX}, not {}", brief(value)));
        }
        count
    }
}

/// The known key that an unknown one is most like. `config` has a stricter sibling; this module stands
/// below it and can't use it.
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> &'a str {
    let unknown = shortened(unknown);
    let distance = |key: &&&str| strsim::damerau_levenshtein(&unknown, key);
    known.iter().min_by_key(distance).copied().unwrap_or_default()
}

fn brief(value: &Value) -> String {
    shortened(&value.to_string())
}

/// On one line, and not longer than a message can bear.
fn shortened(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(KEY_CHARS).map(plain).collect();
    if text.chars().nth(KEY_CHARS).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"recording":1,"source":"a test","stable":"v41","canary":"v42"}"#;
    const ROW: &str = r#"{"minute":"2026-03-01T10:00:00Z","share":10.0,"stable":{"requests":407,"http_2xx":401,"http_3xx":0,"http_4xx":3,"http_5xx":3,"healthy_hosts":6,"latency":{"count":407,"le":{"-25":12,"-24":160,"-23":301}},"metrics":{"thumbs_down":{"bad":4,"total":60},"prediction":{"classes":{"positive":250,"negative":157}},"tokens_per_second":{"count":407,"le":{"38":200,"40":390}}}},"canary":{"requests":45,"http_2xx":44,"errors":1}}"#;

    fn lines(lines: &[&str]) -> String {
        [&[HEADER], lines].concat().join("\n")
    }

    /// The problems of one line after a good one, as `key: rule`.
    fn problems(row: &str) -> Vec<String> {
        let errors = parse(&lines(&[ROW, row])).err().unwrap_or_else(|| panic!("{row} was taken"));
        assert!(errors.problems.iter().all(|problem| problem.line == 3), "{errors}");
        errors.problems.iter().map(|problem| format!("{}: {}", problem.key, problem.rule)).collect()
    }

    fn stable(body: &str) -> String {
        format!(r#"{{"minute":"2026-03-01T10:01:00Z","share":5,"stable":{body}}}"#)
    }

    #[test]
    fn every_field_is_read() {
        let recording = parse(&lines(&[ROW])).unwrap();
        assert_eq!((recording.source.as_str(), recording.stable_name.as_str()), ("a test", "v41"));
        assert_eq!(recording.canary_name, "v42");
        let row = recording.window.rows().next().unwrap();
        assert_eq!((row.minute.to_string().as_str(), row.share.percent()), ("2026-03-01T10:00:00Z", 10.0));
        let values = |count, le: &[(i32, u64)]| Distribution { count, le: le.iter().copied().collect() };
        let classes = [("negative", 157), ("positive", 250)].map(|(name, n)| (name.to_owned(), n)).into();
        let stable = ArmCounts {
            requests: 407,
            http_2xx: Some(401),
            http_3xx: Some(0),
            http_4xx: Some(3),
            http_5xx: Some(3),
            errors: None,
            healthy_hosts: Some(6),
            latency: Some(values(407, &[(-25, 12), (-24, 160), (-23, 301)])),
            metrics: BTreeMap::from([
                ("thumbs_down".to_owned(), MetricCounts::Ratio(Tally { bad: 4, total: 60 })),
                ("prediction".to_owned(), MetricCounts::Classes { classes }),
                ("tokens_per_second".to_owned(), MetricCounts::Values(values(407, &[(38, 200), (40, 390)]))),
            ]),
        };
        assert_eq!(row.stable.as_ref(), Some(&stable));
        let canary = ArmCounts { requests: 45, http_2xx: Some(44), errors: Some(1), ..ArmCounts::default() };
        assert_eq!(row.canary.as_ref(), Some(&canary));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let silent = r#"{"minute":"2026-03-01T10:01:00Z","share":33.333333333333336}"#;
        let whole =
            r#"{"minute":"2026-03-01T10:02:00Z","share":0.1,"stable":null,"canary":{"requests":7.0}}"#;
        let recording = parse(&lines(&[whole, ROW, silent])).unwrap();
        assert_eq!(recording.window.len(), 3);
        let odd = Recording { source: "two\nlines \"quoted\" \u{2028}".to_owned(), ..recording };
        assert_eq!(parse(&write(&odd)).unwrap(), odd);
        let empty = Recording { window: Window::default(), ..odd };
        assert_eq!(parse(&write(&empty)).unwrap(), empty);
    }

    #[test]
    fn lines_may_be_late_and_a_repeated_minute_replaces() {
        let later = r#"{"minute":"2026-03-01T10:05:00Z","share":10}"#;
        let corrected = r#"{"minute":"2026-03-01T10:00:00Z","share":25}"#;
        let recording = parse(&lines(&[later, ROW, "", corrected, "\r"])).unwrap();
        let shares: Vec<f64> = recording.window.rows().map(|row| row.share.percent()).collect();
        assert_eq!(shares, [25.0, 10.0]);
        assert_eq!(
            parse(&format!("\u{feff}{}", lines(&[ROW]).replace('\n', "\r\n"))).unwrap().window.len(),
            1
        );
    }

    #[test]
    fn a_header_of_this_version_comes_first() {
        for (text, word) in [
            ("", "is empty"),
            ("\n \n", "is empty"),
            (ROW, "recording: is missing"),
            (r#"{"recording":2,"stable":"a","canary":"b"}"#, "not known, 2; 1 is"),
            (r#"{"recording":"1"}"#, "not known"),
            ("[]", "must be a JSON object"),
            ("{", "is no JSON (column 1)"),
        ] {
            let errors = parse(text).unwrap_err();
            assert_eq!(errors.count, 1, "{text}: {errors}");
            assert!(errors.to_string().contains(word), "{text}: {errors}");
        }
        let errors = parse(r#"{"recording":1,"stabel":"a","canary":7}"#).unwrap_err();
        assert_eq!(errors.count, 3, "{errors}");
        assert!(parse(r#"{"recording":1,"stable":"a","canary":"b"}"#).unwrap().source.is_empty());
        assert!(problems(HEADER)[0].contains("second header"));
    }

    #[test]
    fn unknown_keys_are_named_with_line_and_nearest_known_key() {
        let errors = parse(&lines(&[
            ROW,
            &stable(
                r#"{"requests":1,"http_5x":1,"latency":{"count":0,"le":{"-25":0,"-24":0,"-23":0},"p95":1}}"#,
            ),
        ]));
        let text = errors.unwrap_err().to_string();
        assert!(
            text.contains("line 3: stable.http_5x: is not a known key; the nearest is http_5xx"),
            "{text}"
        );
        assert!(text.contains("line 3: stable.latency.p95: is not a known key; the nearest is le"), "{text}");
        assert!(problems(r#"{"minuet":"2026-03-01T10:01:00Z","share":1}"#)[0].contains("nearest is minute"));
    }

    #[test]
    fn every_problem_is_told_and_no_more_than_twenty_shown() {
        let found = problems(&stable(
            r#"{"requests":-1,"http_2xx":1.5,"http_4xx":"3","errors":true,"latency":{"count":3,"le":{"-25":2,"-24":1,"-23":4}},"metrics":{"thumbs_down":{"bad":5,"total":4}}}"#,
        ));
        assert_eq!(found.len(), 7, "{found:#?}");
        let bad = r#"{"minute":"10:00","share":101}"#;
        let errors = parse(&lines(&[bad; 30])).unwrap_err();
        assert_eq!((errors.count, errors.problems.len()), (60, SHOWN_PROBLEMS));
        let text = errors.to_string();
        assert!(text.starts_with("60 problems in the recording:\n  line 2: minute: "), "{text}");
        assert!(text.ends_with("... and 40 more"), "{text}");
    }

    #[test]
    fn counts_are_whole_and_not_negative() {
        for (value, fine) in [
            ("0", true),
            ("407.0", true),
            ("1e3", true),
            ("1000000000000", true),
            ("1000000000001", false),
            ("-0.5", false),
            ("0.1", false),
            ("1e300", false),
            ("18446744073709551616", false),
            ("\"7\"", false),
            ("[]", false),
        ] {
            let read = parse(&lines(&[&stable(&format!(r#"{{"requests":{value}}}"#))]));
            assert_eq!(read.is_ok(), fine, "{value}");
        }
        assert!(problems(&stable("{}"))[0].starts_with("stable.requests: is missing"));
        assert!(problems(&stable(r#"{"requests":3,"errors":4}"#))[0].contains("not be more than requests"));
        assert!(problems(&stable("7"))[0].contains("must be a JSON object"));
    }

    #[test]
    fn shares_are_from_zero_to_a_hundred() {
        for (share, fine) in
            [("0", true), ("100", true), ("-0.1", false), ("100.1", false), ("\"5%\"", false)]
        {
            let row = format!(r#"{{"minute":"2026-03-01T10:01:00Z","share":{share}}}"#);
            assert_eq!(parse(&lines(&[&row])).is_ok(), fine, "{share}");
        }
    }

    #[test]
    fn distributions_are_cumulative_and_keep_their_edges() {
        let latency = |body: &str| stable(&format!(r#"{{"requests":9,"latency":{body}}}"#));
        assert!(parse(&lines(&[ROW, &latency(r#"{"count":9,"le":{"-25":0,"-24":9,"-23":9}}"#)])).is_ok());
        for (body, word) in [
            (r#"{"count":9,"le":{"-25":5,"-24":4,"-23":9}}"#, "stable.latency.le.-24: must not be less"),
            (
                r#"{"count":8,"le":{"-25":5,"-24":5,"-23":9}}"#,
                "stable.latency.le.-23: must not be more than count (8)",
            ),
            (r#"{"count":9,"le":{"-25":5,"-24":5}}"#, "same edges on every line and in both arms; line 2"),
            (
                r#"{"count":9,"le":{"-25":5,"-24":5,"-23.0":9}}"#,
                "stable.latency.le.-23.0: must be a whole number",
            ),
            (r#"{"count":9,"le":{"-25":5,"-24":5,"-23":9,"1001":9}}"#, "from -1000 to 1000"),
            (r#"{"le":{"-25":5,"-24":5,"-23":9}}"#, "stable.latency.count: is missing"),
            (r#"{"count":9}"#, "stable.latency.le: must be"),
            (r#"{"count":9,"le":[1]}"#, "stable.latency.le: must be"),
        ] {
            let found = problems(&latency(body));
            assert!(found[0].contains(word), "{body}: {found:?}");
        }
        // The arms of one line must agree, too.
        let row = r#"{"minute":"2026-03-01T10:00:00Z","share":1,"stable":{"requests":1,"latency":{"count":1,"le":{"1":1}}},"canary":{"requests":1,"latency":{"count":1,"le":{"2":1}}}}"#;
        assert!(
            parse(&lines(&[row]))
                .unwrap_err()
                .to_string()
                .contains("canary.latency: must list the same edges")
        );
    }

    #[test]
    fn metrics_have_one_form_and_keep_it() {
        let metric =
            |name: &str, body: &str| stable(&format!(r#"{{"requests":9,"metrics":{{"{name}":{body}}}}}"#));
        for (name, body, word) in [
            ("new", r#"{"bad":1}"#, "must have either"),
            ("new", r#"{"total":1,"classes":{}}"#, "must have either"),
            ("new", r#"{"bad":1,"classes":{}}"#, "stable.metrics.new.bad: does not go with classes"),
            ("new", r#"{"total":1}"#, "stable.metrics.new.bad: is missing"),
            ("new", r#"{"classes":{"a":-1}}"#, "stable.metrics.new.classes.a: must be a whole number"),
            ("new", r#"{"classes":[]}"#, "must be a JSON object of counts"),
            ("thumbs_down", r#"{"classes":{"a":1}}"#, "must have the same form"),
            ("prediction", r#"{"bad":0,"total":0}"#, "must have the same form"),
            ("tokens_per_second", r#"{"count":0,"le":{"38":0}}"#, "must list the same edges"),
            ("thumbs_down", r#"{"bad":0,"totl":0}"#, "the nearest is total"),
        ] {
            let found = problems(&metric(name, body));
            assert!(found[0].contains(word), "{body}: {found:?}");
        }
        // A class that is new is news, not a mistake.
        assert!(parse(&lines(&[ROW, &metric("prediction", r#"{"classes":{"neutral":1}}"#)])).is_ok());
        assert!(problems(&stable(r#"{"requests":9,"metrics":[]}"#))[0].contains("must be a JSON object"));
    }

    #[test]
    fn texts_beyond_the_limit_are_refused_unread() {
        let errors = parse(&" ".repeat(BYTES_MAX + 1)).unwrap_err();
        assert!(errors.to_string().contains("at most 67108864 are read"), "{errors}");
        let long = lines(&[ROW, &"x".repeat(LINE_BYTES_MAX + 1), "also wrong"]);
        let expected = "1 problem in the recording:\n  line 3: has more than 1048576 bytes; no more are read";
        assert_eq!(parse(&long).unwrap_err().to_string(), expected);
        assert_eq!(read(long.as_bytes()).unwrap_err().to_string(), expected);
        let longest = format!("{ROW}{}", " ".repeat(LINE_BYTES_MAX - ROW.len()));
        assert!(read(lines(&[&longest, &longest]).as_bytes()).is_ok());
    }

    #[test]
    fn endless_input_is_read_to_the_limit_and_no_further() {
        let endless = io::BufReader::new(io::repeat(b' '));
        let error = read(endless).unwrap_err().to_string();
        assert!(error.contains("line 1: has more than 1048576 bytes"), "{error}");
        let blank = " ".repeat(LINE_BYTES_MAX);
        let many = [ROW, blank.as_str()].repeat(65);
        let error = read(lines(&many).as_bytes()).unwrap_err().to_string();
        assert_eq!(
            error,
            "1 problem in the recording:\n  the recording has more than 67108864 bytes; no more are read"
        );
    }

    #[test]
    fn minutes_lie_within_two_months_of_one_another() {
        let row = |minute: &str| format!(r#"{{"minute":"{minute}","share":1}}"#);
        let (first, last) = (row("2026-01-01T00:00:00Z"), row("2026-03-03T23:59:00Z"));
        assert_eq!(parse(&lines(&[&last, &first])).unwrap().window.len(), 2);
        let errors =
            parse(&lines(&[&first, &row("2026-03-04T00:00:00Z"), &row("-009999-01-02T01:00:00Z"), &last]));
        let places: Vec<usize> = errors.unwrap_err().problems.iter().map(|problem| problem.line).collect();
        assert_eq!(places, [3, 4]);
    }

    #[test]
    fn lines_that_are_not_text_are_named() {
        let mut bytes = lines(&[ROW, ROW]).into_bytes();
        *bytes.last_mut().unwrap() = 0xff;
        let error = read(bytes.as_slice()).unwrap_err().to_string();
        assert!(error.contains(&format!("line 3: is not UTF-8 text (byte {})", ROW.len())), "{error}");
        assert!(
            read([0xff].as_slice()).unwrap_err().to_string().contains("line 1: is not UTF-8 text (byte 1)")
        );
    }

    #[test]
    fn read_line_by_line_a_recording_is_the_same() {
        let silent = r#"{"minute":"2026-03-01T10:01:00Z","share":33}"#;
        let text = format!("\u{feff}{}\r\n\n", lines(&[ROW, silent]).replace('\n', "\r\n"));
        assert_eq!(read(text.as_bytes()).unwrap(), parse(&text).unwrap());
    }

    #[test]
    fn mutated_recordings_are_read_or_refused_and_never_panic() {
        let seed = lines(&[ROW, ROW, r#"{"minute":"2026-03-01T10:01:00Z","share":10}"#]);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let mut read = 0;
        for _ in 0..3_000 {
            let mut bytes = seed.as_bytes().to_vec();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                bytes[at] = b" {}[]\",:0-nt9e.\n\x00\xff"[random(18)];
            }
            match parse(&String::from_utf8_lossy(&bytes)) {
                Ok(recording) => {
                    assert_eq!(parse(&write(&recording)).unwrap(), recording);
                    read += 1;
                }
                Err(errors) => assert!(errors.count >= errors.problems.len() && !errors.problems.is_empty()),
            }
        }
        assert!(read > 100, "only {read} mutants were recordings: the loop tests too little");
    }
}
