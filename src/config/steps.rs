//! The shares that a rollout walks through, from a list or from a start and a factor.

use serde_json::Value;

use super::keys::STEPS_KEYS;
use super::kind::default_steps;
use super::values;
use super::walk::{Problems, Walk};
use crate::units::Share;

/// As many steps as anybody needs, and few enough for a message and a record.
const STEPS_MAX: usize = 20;

const RULE: &str = "must be a list of shares such as [5%, 25%, 50%, 100%], or {start: 5%, factor: 2}";

/// Reads `steps`. With a problem noted, the answer is no more than a stand-in.
pub(super) fn read(walk: &mut Walk<'_, '_>) -> Vec<Share> {
    let path = walk.path_of("steps");
    let Some(value) = walk.written("steps") else { return default_steps() };
    match value {
        Value::Array(items) => listed(walk.problems(), &path, value, items),
        Value::Object(map) => {
            let mut inner = Walk::new(&path, &STEPS_KEYS, Some(map), walk.problems());
            let (start, factor) = (inner.share("start"), inner.factor("factor"));
            let (Some(start), Some(factor)) = (start, factor) else { return default_steps() };
            grown(start, factor).unwrap_or_else(|rule| {
                walk.problems().add(&path, value, rule);
                default_steps()
            })
        }
        other => {
            walk.problems().add(&path, other, RULE);
            default_steps()
        }
    }
}

/// A list of shares: each one right, each above the one before.
fn listed(problems: &mut Problems, path: &str, value: &Value, items: &[Value]) -> Vec<Share> {
    if items.is_empty() {
        problems.add(path, value, RULE);
        return default_steps();
    }
    if items.len() > STEPS_MAX {
        problems.add(path, value, format!("must have at most {STEPS_MAX} steps, not {}", items.len()));
        return default_steps();
    }
    let mut shares: Vec<Share> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match (values::share(item), shares.last()) {
            (Ok(share), Some(last)) if share <= *last => {
                problems.add(&path, item, format!("must be more than the step before it, {last}"));
            }
            (Ok(share), _) => shares.push(share),
            (Err(rule), _) => problems.add(&path, item, rule),
        }
    }
    shares
}

/// `start`, then `factor` times as much each, to tenths of a percent, up to 100 %.
fn grown(start: Share, factor: f64) -> Result<Vec<Share>, String> {
    let (mut exact, mut shares) = (start.percent(), vec![start]);
    while shares.last().is_some_and(|last| *last < Share::FULL) {
        exact *= factor;
        let tenths = (exact * 10.0).round().min(1000.0);
        let share = Share::from_percent(tenths / 10.0).map_err(|error| error.to_string())?;
        if shares.last().is_some_and(|last| share <= *last) {
            return Err("must grow by at least 0.1% at each step: take a larger start or factor".to_owned());
        }
        shares.push(share);
        if shares.len() > STEPS_MAX {
            return Err(format!("must reach 100% in at most {STEPS_MAX} steps: take a larger factor"));
        }
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(start: &str, factor: f64) -> Result<Vec<String>, String> {
        let shares = grown(start.parse().unwrap(), factor)?;
        Ok(shares.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn doubling_ends_at_exactly_a_hundred() {
        assert_eq!(texts("5%", 2.0).unwrap(), ["5%", "10%", "20%", "40%", "80%", "100%"]);
        assert_eq!(texts("25%", 4.0).unwrap(), ["25%", "100%"]);
        assert_eq!(texts("100%", 2.0).unwrap(), ["100%"]);
        assert_eq!(texts("0.1%", 2.0).unwrap().len(), 11);
        assert_eq!(texts("3.3%", 3.0).unwrap(), ["3.3%", "9.9%", "29.7%", "89.1%", "100%"]);
    }

    #[test]
    fn growth_that_never_gets_there_is_refused() {
        assert!(texts("0.1%", 1.1).unwrap_err().contains("larger start"));
        assert!(texts("5%", 1.1).unwrap_err().contains("at most 20 steps"));
    }
}
