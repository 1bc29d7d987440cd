//! The checks of distributions: latency by the load balancer, and values of the application's own.

use serde_json::Value;

use super::amounts::{length_text, quantile};
use super::keys::{LOW_QUANTILES, QUANTILES_MAX};
use super::walk::Walk;
use super::{Scope, metric};
use crate::analysis::check::{BadBeyond, CheckRule, DistributionCheck, Margin, QUANTILES, Worse};
use crate::units::Quantile;

/// Reads the mapping of the latency check.
pub(super) fn latency(walk: &mut Walk<'_, '_>, _scope: Scope) -> CheckRule {
    let check = DistributionCheck {
        source: None,
        bad_beyond: bad_beyond(walk, "slower_than", &QUANTILES),
        worse: Worse::Higher,
        tolerate: walk.margin("tolerate"),
        promote_within: walk.times_if_written("promote_within"),
        ignore_below: walk.amount("ignore_below").unwrap_or_default(),
        optional: false,
    };
    require_threshold_above(walk, "slower_than", &check, &length_text(check.ignore_below));
    CheckRule::Latency(check)
}

/// Reads the mapping of a check of values.
pub(super) fn values(walk: &mut Walk<'_, '_>, scope: Scope) -> CheckRule {
    let source = metric::read(walk, "values", scope);
    let worse = walk.word("worse");
    let usual = if worse == Worse::Lower { LOW_QUANTILES.as_slice() } else { &QUANTILES };
    let check = DistributionCheck {
        source,
        bad_beyond: bad_beyond(walk, "threshold", usual),
        worse,
        tolerate: walk.margin("tolerate"),
        promote_within: walk.times_if_written("promote_within"),
        ignore_below: walk.amount("ignore_below").unwrap_or_default(),
        optional: false,
    };
    match check.worse {
        Worse::Higher => {
            require_threshold_above(walk, "threshold", &check, &check.ignore_below.to_string());
        }
        Worse::Lower => require_room_below(walk, &check),
    }
    CheckRule::Values(check)
}

/// What is bad: beyond quantiles of stable, or beyond the value under the key `fixed`.
fn bad_beyond(walk: &mut Walk<'_, '_>, fixed: &str, usual: &[Quantile]) -> BadBeyond {
    let quantiles = quantiles(walk).unwrap_or_else(|| usual.to_vec());
    let threshold = walk.amount(fixed);
    let one = !(walk.has("quantiles") && walk.has(fixed));
    let rule = "can't stand beside quantiles: one of the two says what is bad";
    walk.require(one, &["quantiles", fixed], fixed, rule);
    threshold.map_or(BadBeyond::Quantiles(quantiles), BadBeyond::Fixed)
}

/// A list of quantiles, each one right and each once; `None` if the key is absent.
fn quantiles(walk: &mut Walk<'_, '_>) -> Option<Vec<Quantile>> {
    let path = walk.path_of("quantiles");
    let value = walk.written("quantiles")?;
    let rule = || format!("must be a list of 1 to {QUANTILES_MAX} quantiles, such as [p50, p95, p99]");
    let items = match value {
        Value::Array(items) if (1..=QUANTILES_MAX).contains(&items.len()) => items,
        other => {
            walk.problems().add(&path, other, rule());
            return None;
        }
    };
    let mut quantiles: Vec<Quantile> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match quantile(item) {
            Ok(again) if quantiles.contains(&again) => {
                walk.problems().add(&path, item, "stands in the list already: write each quantile once");
            }
            Ok(quantile) => quantiles.push(quantile),
            Err(rule) => walk.problems().add(&path, item, rule),
        }
    }
    Some(quantiles)
}

/// A threshold below `ignore_below` would be raised to it, which is not what was written.
fn require_threshold_above(walk: &mut Walk<'_, '_>, name: &str, check: &DistributionCheck, least: &str) {
    if let BadBeyond::Fixed(threshold) = check.bad_beyond {
        let rule = format!("must be no less than ignore_below ({least}), which would take its place");
        walk.require(threshold >= check.ignore_below, &[name, "ignore_below"], name, rule);
    }
}

/// Where smaller is worse, nothing is ignored, and a margin must leave something below it.
fn require_room_below(walk: &mut Walk<'_, '_>, check: &DistributionCheck) {
    let rule = "is for metrics of which higher values are worse: leave it out";
    walk.require(check.ignore_below == 0.0, &["ignore_below", "worse"], "ignore_below", rule);
    let room = match (check.tolerate, &check.bad_beyond) {
        (Some(Margin::Relative(margin)), _) => margin.fraction() < 1.0,
        (Some(Margin::Absolute(margin)), BadBeyond::Fixed(threshold)) => margin < *threshold,
        _ => true,
    };
    let rule = "must leave room above zero where lower values are worse: nothing would be bad";
    walk.require(room, &["tolerate", "threshold", "worse"], "tolerate", rule);
}
