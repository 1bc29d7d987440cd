//! What is wrong with a text, said so that it can be put right: where, what was written, which rule it
//! breaks. Problems are collected and told all at once, because a person who fixes one at a time gives up.

use std::fmt;

use serde_json::Value;

/// As much of a value as a message quotes.
const SHOWN_CHARS: usize = 60;
/// As much of a rule as a message tells. No rule is that long by itself; one that quotes what was written may be.
const RULE_CHARS: usize = 1_000;
/// As many problems as a message lists. More than that come from a file that is no plan at all.
pub(crate) const SHOWN_PROBLEMS: usize = 50;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: a dotted path such as `checks.errors.tolerate` or `steps[2]`, or a line and column.
    pub key: String,
    /// What was written there, shortened; empty if nothing was.
    pub value: String,
    /// What should be there instead.
    pub rule: String,
}

impl Problem {
    /// A problem with the value at `key`.
    #[must_use]
    pub fn new(key: &str, value: &Value, rule: impl Into<String>) -> Self {
        Self::of_text(key, &written(value), rule)
    }

    /// A problem with a text that came from elsewhere than a tree of values.
    #[must_use]
    pub fn of_text(key: &str, value: &str, rule: impl Into<String>) -> Self {
        Self { key: shortened(key), value: shortened(value), rule: on_one_line(&rule.into(), RULE_CHARS) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.key.is_empty(), self.value.is_empty()) {
            (true, true) => f.write_str(&self.rule),
            (true, false) => write!(f, "`{}` {}", self.value, self.rule),
            (false, true) => write!(f, "{}: {}", self.key, self.rule),
            (false, false) => write!(f, "{}: `{}` {}", self.key, self.value, self.rule),
        }
    }
}

/// All that is wrong with a plan; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanErrors(pub Vec<Problem>);

impl std::error::Error for PlanErrors {}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_problems(f, "in the plan", &self.0)
    }
}

/// The headline with the count, then one line for each problem.
pub(crate) fn write_problems(f: &mut fmt::Formatter<'_>, place: &str, problems: &[Problem]) -> fmt::Result {
    let plural = if problems.len() == 1 { "" } else { "s" };
    write!(f, "{} problem{plural} {place}:", problems.len())?;
    for problem in problems.iter().take(SHOWN_PROBLEMS) {
        write!(f, "\n  {problem}")?;
    }
    match problems.len().saturating_sub(SHOWN_PROBLEMS) {
        0 => Ok(()),
        more => write!(f, "\n  ... and {more} more"),
    }
}

/// A value as its author wrote it, near enough: texts bare, all else as JSON.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn shortened(text: &str) -> String {
    on_one_line(text, SHOWN_CHARS)
}

/// On one line and not longer than `most` characters. Control characters would let a text forge log lines.
pub(crate) fn on_one_line(text: &str, most: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let line: String = text.chars().take(most).map(plain).collect();
    if text.chars().nth(most).is_none() {
        return line;
    }
    let kept: String = line.chars().take(most - 3).collect();
    kept + "..."
}

/// The known key that `unknown` was probably meant to be, if one is near enough.
pub(crate) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(unknown);
    let near = |key: &'a str| {
        let key_folded = fold(key);
        let distance = strsim::damerau_levenshtein(&folded, &key_folded);
        let (short, long) =
            if folded.len() < key_folded.len() { (&folded, &key_folded) } else { (&key_folded, &folded) };
        // `bake_time` for `bake`, `blind` for `blind_after`.
        let begins = short.len() >= 4 && long.starts_with(short.as_str());
        (begins || distance <= 1 + key.len() / 4).then_some((distance, key))
    };
    if folded.len() > SHOWN_CHARS {
        return None;
    }
    known.into_iter().filter_map(near).min_by_key(|(distance, _)| *distance).map(|(_, key)| key)
}

/// `listenerRule`, `Listener-Rule` and `listener_rule` are the same slip.
fn fold(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// What to say about a key that nobody knows.
pub(crate) fn unknown_key_rule<'a>(unknown: &str, known: &[&'a str]) -> (String, Option<&'a str>) {
    let meant = nearest(unknown, known.iter().copied());
    let rule = match meant {
        Some(key) => format!("is not a known key; did you mean {key}?"),
        None => format!("is not a known key; known are {}", known.join(", ")),
    };
    (rule, meant)
}

/// Turns the rule of a quantity (`is a percentage ...`) into an order (`must be a percentage ...`).
pub(crate) fn must(rule: &str) -> String {
    rule.strip_prefix("is ").map_or_else(|| rule.to_owned(), |rest| format!("must be {rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_problem_prints_key_value_and_rule_on_one_line() {
        let problem = Problem::new("steps[2]", &json!("5\n%"), "must be a share");
        assert_eq!(problem.to_string(), "steps[2]: `5 %` must be a share");
        let missing = Problem::of_text("stable", "", "is missing");
        assert_eq!(missing.to_string(), "stable: is missing");
    }

    #[test]
    fn long_values_are_shortened_and_many_problems_are_counted() {
        let problem = Problem::new("rollout", &json!("é".repeat(500)), "must be short");
        assert_eq!(problem.value.chars().count(), SHOWN_CHARS);
        assert!(problem.value.ends_with("..."));
        let text = PlanErrors(vec![problem; 60]).to_string();
        assert!(text.starts_with("60 problems in the plan:\n  rollout: "));
        assert!(text.ends_with("... and 10 more"));
        assert_eq!(text.lines().count(), 52);
    }

    #[test]
    fn a_rule_that_quotes_what_was_written_stays_on_its_line() {
        let problem = Problem::new("a", &json!(1), format!("must be \u{1b}[2J\n{}", "x".repeat(5_000)));
        assert!(problem.rule.starts_with("must be  [2J x") && problem.rule.chars().count() == RULE_CHARS);
    }

    #[test]
    fn slips_of_spelling_case_and_separator_find_the_known_key() {
        let known = ["listener_rule", "bake", "blind_after", "decide_within"];
        assert_eq!(nearest("listenerRule", known), Some("listener_rule"));
        assert_eq!(nearest("Bake", known), Some("bake"));
        assert_eq!(nearest("blind-aftr", known), Some("blind_after"));
        assert_eq!(nearest("bake_time", known), Some("bake"));
        assert_eq!(nearest("blind", known), Some("blind_after"));
        assert_eq!(nearest("thresholds", known), None);
        assert_eq!(nearest(&"b".repeat(100_000), known), None);
    }
}
