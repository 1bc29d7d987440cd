//! What is plotted of each check, minute by minute.

use super::Point;
use crate::analysis::check::{Check, CheckRule, ErrorsCheck, Rules};
use crate::analysis::edge::Edge;
use crate::analysis::tally::ErrorTally;
use crate::analysis::verdict::CheckEvidence;
use crate::analysis::window::{Arm, ArmCounts, Distribution, Tally};

/// A distribution with fewer edges is no curve: only the judge's own rates are plotted.
const EDGES_MIN: usize = 8;

/// One check, in both arms.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Measured {
    pub(in crate::cli) title: String,
    pub(in crate::cli) unit: &'static str,
    pub(in crate::cli) stable: Vec<Option<f64>>,
    pub(in crate::cli) canary: Vec<Option<f64>>,
}

/// All checks of the rules that the judge has looked at.
pub(in crate::cli) fn measured(rules: &Rules, points: &[Point]) -> Vec<Measured> {
    rules.checks.iter().filter_map(|check| of_check(check, points)).collect()
}

fn of_check(check: &Check, points: &[Point]) -> Option<Measured> {
    let judged = points.iter().any(|point| evidence(point, check).is_some());
    let name = &check.name;
    match &check.rule {
        CheckRule::Errors(rule) => {
            Some(each_minute(format!("{name}: bad of all requests"), "%", points, &|counts| {
                percent(errors(counts, rule))
            }))
        }
        CheckRule::Ratio(_) => Some(each_minute(format!("{name}: bad of total"), "%", points, &|counts| {
            percent(counts.ratio(name)?)
        })),
        CheckRule::Latency(_) if has_edges(points, &|counts| counts.latency.as_ref()) => {
            Some(each_minute(format!("{name}: p95"), " s", points, &|counts| {
                quantile(counts.latency.as_ref()?, 0.95)
            }))
        }
        CheckRule::Values(_) if has_edges(points, &|counts| counts.values(name)) => {
            Some(each_minute(format!("{name}: median"), "", points, &|counts| {
                quantile(counts.values(name)?, 0.5)
            }))
        }
        _ => judged.then(|| so_far(check, points)),
    }
}

fn errors(counts: &ArmCounts, rule: &ErrorsCheck) -> Tally {
    ErrorTally::at_a_glance(counts, rule)
}

fn percent(tally: Tally) -> Option<f64> {
    (tally.total > 0).then(|| tally.rate() * 100.0)
}

fn each_minute(
    title: String,
    unit: &'static str,
    points: &[Point],
    value: &dyn Fn(&ArmCounts) -> Option<f64>,
) -> Measured {
    let [stable, canary] =
        Arm::BOTH.map(|arm| points.iter().map(|point| point.row.arm(arm).and_then(value)).collect());
    Measured { title, unit, stable, canary }
}

fn evidence<'a>(point: &'a Point, check: &Check) -> Option<&'a CheckEvidence> {
    point.judgement.checks.iter().find(|found| found.name == check.name)
}

/// What the judge has added up on the step, of the part that looks worst.
fn so_far(check: &Check, points: &[Point]) -> Measured {
    let rates = |arm: &dyn Fn(&CheckEvidence) -> Tally| {
        points.iter().map(|point| evidence(point, check).and_then(|check| percent(arm(check)))).collect()
    };
    Measured {
        title: format!("{}: bad of total on this step so far", check.name),
        unit: "%",
        stable: rates(&|check| check.stable),
        canary: rates(&|check| check.canary),
    }
}

fn has_edges<'a>(points: &'a [Point], found: &dyn Fn(&'a ArmCounts) -> Option<&'a Distribution>) -> bool {
    let arms = |point: &'a Point| Arm::BOTH.into_iter().filter_map(|arm| point.row.arm(arm));
    points.iter().flat_map(arms).filter_map(found).any(|distribution| distribution.le.len() >= EDGES_MIN)
}

/// The value below which this part of the samples lies, between two edges as if they were spread evenly there by
/// ratio; `None` beyond the last edge.
fn quantile(distribution: &Distribution, part: f64) -> Option<f64> {
    if distribution.count == 0 {
        return None;
    }
    let wanted = part * distribution.count as f64;
    let mut below = 0.0;
    for (edge, count) in &distribution.le {
        let count = *count as f64;
        if count >= wanted && count > 0.0 {
            let inside = ((wanted - below) / (count - below)).clamp(0.0, 1.0);
            return Some(
                Edge(edge - 1).value() * (Edge(*edge).value() / Edge(edge - 1).value()).powf(inside),
            );
        }
        below = count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_between_the_edges_that_it_falls_between() {
        let distribution = Distribution { count: 100, le: [(0, 10), (1, 90), (2, 98)].into() };
        let near = |part, value: f64| assert!((quantile(&distribution, part).unwrap() - value).abs() < 1e-9);
        near(0.9, 1.1);
        near(0.5, 1.1f64.powf(0.5));
        assert_eq!(quantile(&distribution, 0.99), None, "beyond the last edge");
        assert_eq!(quantile(&Distribution::default(), 0.5), None);
    }
}
