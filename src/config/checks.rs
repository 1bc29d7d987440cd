//! The checks of a plan: those by the load balancer's counts under their own names, and under any other name
//! those by metrics of the application's own, whose kind one of their keys says.

use serde_json::{Map, Value};

use super::keys::{CHECKS, CUSTOM_CHECKS, CheckKind};
use super::problem::{nearest, unknown_key_rule};
use super::walk::{Problems, Walk};
use super::{Scope, values};
use crate::analysis::check::{BadBeyond, Check, CheckRule, Rules};

/// As many checks as anybody needs, each with its part of `false_rollback`.
const CHECKS_MAX: usize = 100;
/// The most quantiles, classes and rates of all checks together. The last judgement is kept in the rollout's
/// record, of which DynamoDB takes 400 KB, and tells of each.
const COMPARISONS_MAX: usize = 500;

type Body<'v> = Option<&'v Map<String, Value>>;

/// The checks by name; the default if the key is absent.
pub(super) fn read(walk: &mut Walk<'_, '_>, scope: Scope) -> Vec<Check> {
    let path = walk.path_of("checks");
    let Some(value) = walk.written("checks") else { return Rules::default().checks };
    let Value::Object(map) = value else {
        let rule = format!("must be a mapping of checks, such as {}", listed(&CHECKS, "and"));
        walk.problems().add(&path, value, rule);
        return Vec::new();
    };
    if map.is_empty() {
        let rule = "must name at least one check, or be left out";
        walk.problems().add(&path, value, rule);
    }
    if map.len() > CHECKS_MAX {
        walk.problems().missing(&path, format!("must be at most {CHECKS_MAX} checks, not {}", map.len()));
        return Vec::new();
    }
    let checks: Vec<Check> =
        map.iter().filter_map(|(name, body)| check(walk.problems(), &path, name, body, scope)).collect();
    let comparisons: usize = checks.iter().map(|check| comparisons(&check.rule)).sum();
    if comparisons > COMPARISONS_MAX {
        let rule =
            format!("must compare at most {COMPARISONS_MAX} quantiles, classes and rates, not {comparisons}");
        walk.problems().missing(&path, rule);
    }
    checks
}

fn comparisons(rule: &CheckRule) -> usize {
    match rule {
        CheckRule::Errors(_) | CheckRule::Ratio(_) => 1,
        CheckRule::Classes(rule) => rule.values.len(),
        CheckRule::Latency(rule) | CheckRule::Values(rule) => match &rule.bad_beyond {
            BadBeyond::Quantiles(quantiles) => quantiles.len(),
            _ => 1,
        },
    }
}

fn check(problems: &mut Problems, path: &str, name: &str, body: &Value, scope: Scope) -> Option<Check> {
    let path = format!("{path}.{name}");
    let map = match body {
        Value::Null => None,
        Value::Object(map) => Some(map),
        other => {
            problems.add(&path, other, unlike_a_mapping(name));
            return None;
        }
    };
    let rule = match CHECKS.iter().find(|kind| kind.name == name) {
        Some(kind) => {
            let advice = |key: &str| misplaced(kind, key);
            (kind.read)(&mut Walk::with_advice(&path, kind.keys, map, problems, advice), scope)
        }
        None => {
            let kind = custom_kind(problems, &path, name, map)?;
            if let Err(rule) = values::check_name(name) {
                problems.add(&path, &Value::from(name), rule);
            }
            (kind.read)(&mut Walk::with_advice(&path, kind.keys, map, problems, second_kind), scope)
        }
    };
    Some(Check::new(name, rule))
}

/// What to say of a check that is no mapping.
fn unlike_a_mapping(name: &str) -> String {
    if CHECKS.iter().any(|kind| kind.name == name) {
        return "must be a mapping of keys to values, or {} for all defaults".to_owned();
    }
    match misspelt(name) {
        Some(rule) => rule,
        None => format!("must be a mapping with one of {}", listed(&CUSTOM_CHECKS, "and")),
    }
}

/// The kind that a check's keys say, or with a problem noted, none. Where there are two, the first counts and
/// the walk refuses the other.
fn custom_kind(problems: &mut Problems, path: &str, name: &str, map: Body<'_>) -> Option<&'static CheckKind> {
    let has = |kind: &&CheckKind| map.is_some_and(|map| map.contains_key(kind.name));
    if let Some(kind) = CUSTOM_CHECKS.iter().find(has) {
        return Some(kind);
    }
    let shown = map.map_or(Value::Null, |map| Value::Object(map.clone()));
    if let Some(rule) = misspelt(name) {
        problems.add(path, &shown, rule);
        return None;
    }
    let kinds = CUSTOM_CHECKS.iter().map(|kind| kind.name);
    let mut slips = map.into_iter().flatten().filter_map(|(key, value)| {
        let meant = nearest(key, kinds.clone())?;
        Some((key, value, meant))
    });
    match slips.next() {
        Some((key, value, meant)) => {
            let rule = format!("is not a known key; did you mean {meant}?");
            problems.add(&format!("{path}.{key}"), value, rule);
        }
        None => {
            let rule =
                format!("must have one of {}, which says what it compares", listed(&CUSTOM_CHECKS, "and"));
            problems.add(path, &shown, rule);
        }
    }
    None
}

/// What to say of a check whose name was probably meant to be one of those that need no kind.
fn misspelt(name: &str) -> Option<String> {
    let known: Vec<&str> = CHECKS.iter().map(|kind| kind.name).collect();
    let (rule, meant) = unknown_key_rule(name, &known);
    meant?;
    let kinds = listed(&CUSTOM_CHECKS, "or");
    Some(format!("{} (a check of your own needs {kinds})", rule.replace("key", "check")))
}

/// What to say of a key that would make one of the load balancer's checks one of another kind.
fn misplaced(check: &CheckKind, key: &str) -> Option<String> {
    let says_kind = CUSTOM_CHECKS.iter().any(|kind| kind.name == key);
    says_kind.then(|| format!("is not a key of the {} check: give the check another name", check.name))
}

/// What to say of a second key that says the kind.
fn second_kind(key: &str) -> Option<String> {
    let says_kind = CUSTOM_CHECKS.iter().any(|kind| kind.name == key);
    says_kind.then(|| format!("can't stand here, too: a check has one of {}", listed(&CUSTOM_CHECKS, "and")))
}

/// The kinds by name, with `word` before the last.
fn listed(kinds: &[CheckKind], word: &str) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    match names.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} {word} {last}", first.join(", ")),
        _ => names.concat(),
    }
}
