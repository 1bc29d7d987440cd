//! Walks over a written mapping with the table of its keys: refuses what is unknown, reads what is known,
//! fills in what is absent, and goes on after every problem.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as WordError, StrDeserializer};
use serde_json::{Map, Value};

use super::arn::{Arn, ArnKind};
use super::keys::{Key, names};
use super::kind::Kind;
use super::problem::{Problem, SHOWN_PROBLEMS, unknown_key_rule};
use super::{Scope, amounts, values};
use crate::analysis::check::{Margin, Tolerance};
use crate::units::{Rate, Share, Span, Times};

/// What was found wrong so far, and where.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
    paths: BTreeSet<String>,
}

impl Problems {
    /// Adds a problem with a value.
    pub(super) fn add(&mut self, path: &str, value: &Value, rule: impl Into<String>) {
        self.push(path, Problem::new(path, value, rule));
    }

    /// Adds a problem with something that is not there.
    pub(super) fn missing(&mut self, path: &str, rule: impl Into<String>) {
        self.push(path, Problem::of_text(path, "", rule));
    }

    fn push(&mut self, path: &str, problem: Problem) {
        self.paths.insert(path.to_owned());
        self.list.push(problem);
    }

    /// Whether there is a problem at this path or below it.
    fn touches(&self, path: &str) -> bool {
        let below = |found: &String| found[path.len()..].starts_with(['.', '[']);
        self.paths.contains(path)
            || self.paths.range(path.to_owned()..).take_while(|p| p.starts_with(path)).any(below)
    }

    /// The problems in the order in which they were found.
    pub(super) fn into_list(self) -> Vec<Problem> {
        self.list
    }
}

/// One mapping, on its way from text to checked values.
pub(super) struct Walk<'v, 'p> {
    path: String,
    keys: &'static [Key],
    map: Option<&'v Map<String, Value>>,
    /// Required keys that were misspelt; the misspelling is the problem, not that they are missing.
    misspelt: BTreeSet<&'static str>,
    problems: &'p mut Problems,
}

impl<'v, 'p> Walk<'v, 'p> {
    /// Begins with a mapping at `path` (empty for the outermost) and refuses its unknown keys. `None`
    /// stands for a mapping with nothing in it.
    pub(super) fn new(
        path: &str,
        keys: &'static [Key],
        map: Option<&'v Map<String, Value>>,
        problems: &'p mut Problems,
    ) -> Self {
        Self::with_advice(path, keys, map, problems, |_| None)
    }

    /// The same with words of their own for some of the unknown keys.
    pub(super) fn with_advice(
        path: &str,
        keys: &'static [Key],
        map: Option<&'v Map<String, Value>>,
        problems: &'p mut Problems,
        advice: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let mut walk = Self { path: path.to_owned(), keys, map, misspelt: BTreeSet::new(), problems };
        let known = names(keys);
        for (key, value) in map.into_iter().flatten().filter(|(key, _)| !known.contains(&key.as_str())) {
            let (rule, meant) = match advice(key) {
                Some(rule) => (rule, None),
                // Nobody reads on, and what was meant takes time to find.
                None if walk.problems.list.len() >= SHOWN_PROBLEMS => ("is not a known key".to_owned(), None),
                None => unknown_key_rule(key, &known),
            };
            walk.problems.add(&walk.path_of(key), value, rule);
            walk.misspelt.extend(meant.filter(|meant| !map.is_some_and(|map| map.contains_key(*meant))));
        }
        walk
    }

    /// The full path of a key of this mapping.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where problems go; for values with a structure of their own.
    pub(super) fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    /// Whether a key is written, whatever its value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.map.is_some_and(|map| map.contains_key(name))
    }

    /// Whether the table has the key.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.name == name)
    }

    /// A mapping with keys of its own, whose problems go where this one's go. Offline it may be left out or
    /// have no value; otherwise that is a problem, and there is nothing to walk over.
    pub(super) fn mapping(&mut self, name: &str, scope: Scope) -> Option<Walk<'v, '_>> {
        let Kind::Mapping(keys) = *self.kind(name) else { wrong_kind(name) };
        let path = self.path_of(name);
        let map = match self.map.and_then(|map| map.get(name)) {
            Some(Value::Object(map)) => Some(map),
            None | Some(Value::Null) if scope == Scope::Offline => None,
            None | Some(Value::Null) => {
                self.need_kind(name, scope);
                self.written(name);
                return None;
            }
            Some(other) => {
                self.problems.add(&path, other, format!("must be {}", self.kind(name).words()));
                return None;
            }
        };
        Some(Walk::new(&path, keys, map, self.problems))
    }

    /// Notes that a required key is missing, unless the plan is for use offline.
    pub(super) fn need_kind(&mut self, name: &str, scope: Scope) {
        if scope == Scope::Rollout && self.kind(name).is_required() {
            let words = self.kind(name).words();
            self.need(name, &format!("write {words}"));
        }
    }

    /// What was written for a key. An empty value is a problem: it is more likely forgotten than meant.
    pub(super) fn written(&mut self, name: &str) -> Option<&'v Value> {
        match self.map?.get(name)? {
            Value::Null => {
                self.problems.missing(&self.path_of(name), "has no value: write one, or leave the key out");
                None
            }
            value => Some(value),
        }
    }

    fn kind(&self, name: &str) -> &'static Kind {
        let key = self.keys.iter().find(|key| key.name == name);
        &key.expect("only keys of the table are asked for").kind
    }

    /// Reads a key; `None` if it is absent or, with a problem noted, wrong.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.written(name)?;
        match read(value) {
            Ok(read) => Some(read),
            Err(rule) => {
                self.problems.add(&self.path_of(name), value, rule);
                None
            }
        }
    }

    /// Notes that a required key is missing, unless something about it was noted already.
    pub(super) fn need(&mut self, name: &str, rule: &str) {
        if !self.has(name) && !self.misspelt.contains(name) {
            self.problems.missing(&self.path_of(name), format!("is missing: {rule}"));
        }
    }

    /// A rollout's name, if one is written.
    pub(super) fn name(&mut self, name: &str) -> Option<String> {
        self.read(name, values::name)
    }

    /// An ARN, if one is written.
    pub(super) fn arn(&mut self, name: &str) -> Option<(String, Arn)> {
        let Kind::Arn(kind) = *self.kind(name) else { wrong_kind(name) };
        self.read(name, |value| {
            let text = value.as_str().ok_or_else(|| ArnKind::wanted(kind).to_owned())?;
            Ok((text.to_owned(), Arn::parse(text, kind)?))
        })
    }

    /// One share, which must be written.
    pub(super) fn share(&mut self, name: &str) -> Option<Share> {
        self.need(name, "write a share such as 5%");
        self.read(name, values::share)
    }

    /// A factor between steps, which must be written.
    pub(super) fn factor(&mut self, name: &str) -> Option<f64> {
        self.need(name, "write a number such as 2");
        self.read(name, values::factor)
    }

    /// A length of time.
    pub(super) fn span(&mut self, name: &str) -> Span {
        let Kind::Span { default, min, max } = *self.kind(name) else { wrong_kind(name) };
        self.read(name, |value| values::span(value, min, max)).unwrap_or(default)
    }

    /// A rate.
    pub(super) fn rate(&mut self, name: &str) -> Rate {
        let Kind::Rate { default, zero, max } = *self.kind(name) else { wrong_kind(name) };
        self.read(name, |value| values::rate(value, zero, max)).unwrap_or(default)
    }

    /// A rate that can be switched off.
    pub(super) fn rate_or_off(&mut self, name: &str) -> Option<Rate> {
        let Kind::RateOrOff { default } = *self.kind(name) else { wrong_kind(name) };
        self.read(name, values::rate_or_off).unwrap_or(default)
    }

    /// A whole number.
    pub(super) fn count(&mut self, name: &str) -> u64 {
        let Kind::Count { default, min, max } = *self.kind(name) else { wrong_kind(name) };
        self.read(name, |value| values::count(value, min, max)).unwrap_or(default)
    }

    /// A whole number that can be switched off.
    pub(super) fn count_or_off(&mut self, name: &str) -> Option<u64> {
        let Kind::CountOrOff { min, max } = *self.kind(name) else { wrong_kind(name) };
        self.read(name, |value| values::count_or_off(value, min, max)).flatten()
    }

    /// A list of up to so many different items, each read by itself. The answer has those that are right.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        name: &str,
        max: usize,
        rule: &str,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Vec<T> {
        let Some(value) = self.written(name) else { return Vec::new() };
        let path = self.path_of(name);
        let Value::Array(items) = value else {
            let write = value.as_str().filter(|_| read(value).is_ok());
            let hint = write.map_or_else(String::new, |text| format!(": write [{text}]"));
            self.problems.add(&path, value, format!("{rule}{hint}"));
            return Vec::new();
        };
        if items.len() > max {
            self.problems.add(&path, value, format!("must have at most {max} items, not {}", items.len()));
            return Vec::new();
        }
        let mut taken: Vec<T> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match read(item) {
                Ok(read) if taken.contains(&read) => self.problems.add(&path, item, "is there twice"),
                Ok(read) => taken.push(read),
                Err(rule) => self.problems.add(&path, item, rule),
            }
        }
        taken
    }

    /// One of a few words, as the type that has those words.
    pub(super) fn word<T: for<'de> Deserialize<'de>>(&mut self, name: &str) -> T {
        let Kind::Word { default, words } = *self.kind(name) else { wrong_kind(name) };
        let word = self.read(name, |value| values::word(value, words)).unwrap_or(default);
        let word: StrDeserializer<'_, WordError> = word.into_deserializer();
        T::deserialize(word).expect("the table's words are the type's own")
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        let Kind::Flag { default } = *self.kind(name) else { wrong_kind(name) };
        self.read(name, values::flag).unwrap_or(default)
    }

    /// A tolerance.
    pub(super) fn tolerance(&mut self, name: &str) -> Tolerance {
        let Kind::Tolerance { default, .. } = *self.kind(name) else { wrong_kind(name) };
        self.read(name, values::tolerance).unwrap_or(default)
    }

    /// A tolerance, if one is written.
    pub(super) fn tolerance_if_written(&mut self, name: &str) -> Option<Tolerance> {
        self.read(name, values::tolerance)
    }

    /// A ratio.
    pub(super) fn times(&mut self, name: &str) -> Times {
        let Kind::Times { default, .. } = *self.kind(name) else { wrong_kind(name) };
        self.times_if_written(name).unwrap_or(default)
    }

    /// A ratio, if one is written.
    pub(super) fn times_if_written(&mut self, name: &str) -> Option<Times> {
        let Kind::Times { above_one, .. } = *self.kind(name) else { wrong_kind(name) };
        self.read(name, |value| amounts::times(value, above_one))
    }

    /// A margin, if one is written.
    pub(super) fn margin(&mut self, name: &str) -> Option<Margin> {
        let Kind::Margin { unit } = *self.kind(name) else { wrong_kind(name) };
        self.read(name, |value| amounts::margin(value, unit))
    }

    /// A length in seconds, or a number in the metric's unit.
    pub(super) fn amount(&mut self, name: &str) -> Option<f64> {
        let Kind::Amount { unit, default, zero } = *self.kind(name) else { wrong_kind(name) };
        self.read(name, |value| amounts::amount(value, unit, zero)).or(default)
    }

    /// A name in CloudWatch.
    pub(super) fn aws_name(&mut self, name: &str, scope: Scope) -> Option<String> {
        let Kind::AwsName { colon } = *self.kind(name) else { wrong_kind(name) };
        self.need_kind(name, scope);
        self.read(name, |value| values::aws_text(value, values::AWS_NAME_MAX, colon))
    }

    /// A rule between keys, told at `name`. It is left out where one of `keys` is wrong already: a default
    /// in its place would give a second problem for one mistake.
    pub(super) fn require(&mut self, holds: bool, keys: &[&str], name: &str, rule: impl Into<String>) {
        let known = |key: &&str| !self.problems.touches(&self.path_of(key)) && !self.misspelt.contains(*key);
        if holds || !keys.iter().all(known) {
            return;
        }
        let path = self.path_of(name);
        match self.map.and_then(|map| map.get(name)) {
            Some(value) => self.problems.add(&path, value, rule),
            None => {
                let default = self.kind(name).default_json().unwrap_or(Value::Null);
                let shown = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
                self.problems.push(&path, Problem::of_text(&path, &format!("{shown} (the default)"), rule));
            }
        }
    }
}

/// The reader of a key and its entry in the table disagree. Every plan reads every key, so the first test
/// finds it.
fn wrong_kind(name: &str) -> ! {
    unreachable!("{name} is of another kind in the table of keys")
}
