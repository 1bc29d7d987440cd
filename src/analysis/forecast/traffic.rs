//! What is known of stable before the first shift: how much traffic there is, and how bad it is.

use std::collections::BTreeMap;

use crate::analysis::check::{
    BadBeyond, CLASS_RARE, Check, CheckRule, ClassesCheck, DistributionCheck, ErrorsCheck, OTHER_CLASS,
};
use crate::analysis::edge::Edge;
use crate::analysis::tally::{ErrorTally, UnderWay};
use crate::analysis::window::{Distribution, Row, Tally, Window};
use crate::stats::{Arm, LearntRate};

/// What is known of one check's metric on stable.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// Samples for each request.
    pub samples_per_request: f64,
    /// Bad of all samples; `None` where the check's rule implies it, as for quantiles.
    pub rate: Option<LearntRate>,
    /// Each class with its part of all samples.
    pub classes: Vec<(String, LearntRate)>,
}

impl Base {
    /// A rate that somebody knows, of one sample a request.
    #[must_use]
    pub fn of_rate(rate: LearntRate) -> Self {
        Self { rate: Some(rate), ..Self::default() }
    }
}

impl Default for Base {
    fn default() -> Self {
        Self { samples_per_request: 1.0, rate: None, classes: Vec::new() }
    }
}

/// Traffic, and what is known of each check's metric on stable.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Of both arms.
    pub requests_per_minute: f64,
    /// Healthy targets of the canary, where known.
    pub canary_targets: Option<u64>,
    /// By the check's name. One that is not here has one sample a request.
    pub bases: BTreeMap<String, Base>,
    /// What was assumed or chosen, a sentence each.
    pub notes: Vec<String>,
}

/// A recording tells nothing of traffic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the recording has no request of stable to measure")]
pub struct NoRequests;

impl Traffic {
    /// So much traffic, and nothing known of any metric.
    #[must_use]
    pub fn of(requests_per_minute: f64) -> Self {
        Self { requests_per_minute, canary_targets: None, bases: BTreeMap::new(), notes: Vec::new() }
    }

    /// What recorded minutes tell. Minutes without stable tell nothing.
    ///
    /// # Errors
    /// When stable has no request at all.
    pub fn measured(window: &Window, checks: &[Check]) -> Result<Self, NoRequests> {
        let arms = || window.rows().filter_map(|row| Some((row.stable.as_ref()?, row.canary.as_ref())));
        let minutes = arms().count();
        let stable: u64 = arms().map(|(stable, _)| stable.requests).sum();
        let canary: u64 = arms().filter_map(|(_, canary)| Some(canary?.requests)).sum();
        if stable == 0 {
            return Err(NoRequests);
        }
        let mut traffic = Self::of((stable + canary) as f64 / minutes as f64);
        traffic.canary_targets = arms().filter_map(|(_, canary)| canary?.healthy_hosts).next_back();
        for check in checks {
            match base(check, window, stable, &mut traffic.notes) {
                Some(mut base) => {
                    base.rate = base.rate.filter(|_| needs_rate(check));
                    traffic.bases.insert(check.name.clone(), base);
                }
                None if needs_rate(check) => {} // Somebody must tell it; see `Traffic::lacking`.
                None => traffic.notes.push(format!(
                    "there is nothing of stable for {}: one sample a request is assumed",
                    check.name
                )),
            }
        }
        Ok(traffic)
    }

    /// Checks whose base rate must be known and is not.
    #[must_use]
    pub fn lacking<'c>(&self, checks: &'c [Check]) -> Vec<&'c str> {
        let known = |check: &Check| self.bases.get(&check.name).is_some_and(|base| base.rate.is_some());
        let lacking = checks.iter().filter(|check| needs_rate(check) && !known(check));
        lacking.map(|check| check.name.as_str()).collect()
    }
}

/// Whether a check's bad samples are as rare as the service makes them, so that no rule implies a rate.
#[must_use]
pub fn needs_rate(check: &Check) -> bool {
    match &check.rule {
        CheckRule::Errors(_) | CheckRule::Ratio(_) => true,
        CheckRule::Latency(rule) | CheckRule::Values(rule) => matches!(rule.bad_beyond, BadBeyond::Fixed(_)),
        CheckRule::Classes(_) => false,
    }
}

fn base(check: &Check, window: &Window, requests: u64, notes: &mut Vec<String>) -> Option<Base> {
    let stable = || window.rows().filter_map(|row| row.stable.as_ref());
    let of = |tally: Tally| {
        let rate = LearntRate::from_past(Arm::new(tally.bad.min(tally.total), tally.total).ok()?);
        let samples_per_request = tally.total as f64 / requests as f64;
        (tally.total > 0).then(|| Base { samples_per_request, ..Base::of_rate(rate) })
    };
    match &check.rule {
        CheckRule::Errors(rule) => of(errors(window, rule)),
        CheckRule::Ratio(_) => {
            let mut sum = Tally::default();
            stable().filter_map(|counts| counts.ratio(&check.name)).for_each(|tally| sum.add(tally));
            of(sum)
        }
        CheckRule::Latency(rule) | CheckRule::Values(rule) => {
            let sum = Distribution::sum(stable().filter_map(|counts| check.distribution(counts)))?;
            of(beyond(check, rule, &sum, notes)?)
        }
        CheckRule::Classes(rule) => {
            classes(rule, stable().filter_map(|counts| counts.classes(&check.name)), requests)
        }
    }
}

/// Errors of stable, as the judge counts them.
fn errors(window: &Window, rule: &ErrorsCheck) -> Tally {
    let rows: Vec<&Row> = window.rows().collect();
    let (mut sum, mut tally, mut under_way) = (Tally::default(), ErrorTally::default(), UnderWay::default());
    for (at, row) in rows.iter().enumerate() {
        let Some(counts) = &row.stable else { continue };
        let next = rows.get(at + 1).filter(|next| next.minute.since(row.minute) == 1);
        sum.add(tally.next(counts, next.and_then(|next| next.stable.as_ref()), under_way, rule));
        under_way.learn(counts);
    }
    sum
}

/// Samples beyond the check's fixed value, at the nearest edge that is listed; of quantiles all samples, of
/// which the rule itself says how many are bad.
fn beyond(
    check: &Check,
    rule: &DistributionCheck,
    values: &Distribution,
    notes: &mut Vec<String>,
) -> Option<Tally> {
    let BadBeyond::Fixed(value) = rule.bad_beyond else {
        return (values.count > 0).then_some(Tally { bad: 0, total: values.count });
    };
    let edge = values.nearest_edge(value)?;
    if edge != Edge::nearest(value) {
        notes.push(format!("{}: the nearest edge to {value} in the recording is {edge}", check.name));
    }
    Some(rule.worse.beyond(edge, values))
}

/// Each class with its part; what the plan does not name, or what is too rare, is one class more.
fn classes<'c>(
    rule: &ClassesCheck,
    minutes: impl Iterator<Item = &'c BTreeMap<String, u64>>,
    requests: u64,
) -> Option<Base> {
    let mut counts = BTreeMap::<&str, u64>::new();
    for (class, n) in minutes.flatten() {
        let known = rule.values.is_empty() || rule.values.contains(class);
        *counts.entry(if known { class } else { OTHER_CLASS }).or_default() += n;
    }
    let total: u64 = counts.values().sum();
    let rare = |n: u64| (n as f64) < CLASS_RARE.fraction() * total as f64;
    let other = counts.iter().filter(|(class, n)| **class == OTHER_CLASS || rare(**n)).map(|(_, n)| n).sum();
    counts.retain(|class, n| *class != OTHER_CLASS && !rare(*n));
    if other > 0 {
        counts.insert(OTHER_CLASS, other);
    }
    let part =
        |(class, n): (&str, u64)| Some((class.to_owned(), LearntRate::from_past(Arm::new(n, total).ok()?)));
    (total > 0).then(|| Base {
        samples_per_request: total as f64 / requests as f64,
        rate: None,
        classes: counts.into_iter().filter_map(part).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::check::{RatioCheck, Rules};
    use crate::analysis::window::{ArmCounts, MetricCounts};
    use crate::units::{Minute, Share, Times};

    fn window(minutes: i64) -> Window {
        let start: Minute = "2026-03-01T10:00:00Z".parse().unwrap();
        let arm = |requests: u64, failed: u64| ArmCounts {
            requests,
            http_2xx: Some(requests - failed),
            http_5xx: Some(failed),
            latency: Some(Distribution {
                count: requests,
                le: [(-10, requests / 2), (-8, requests - 9)].into(),
            }),
            metrics: BTreeMap::from([
                ("thumbs".to_owned(), MetricCounts::Ratio(Tally { bad: 6, total: requests / 10 })),
                (
                    "label".to_owned(),
                    MetricCounts::Classes {
                        classes: [("cat", 499), ("dog", 499), ("eel", 2)]
                            .map(|(name, n)| (name.to_owned(), n))
                            .into(),
                    },
                ),
            ]),
            healthy_hosts: Some(3),
            ..ArmCounts::default()
        };
        let row = |at| Row {
            minute: start.plus(at),
            share: Share::from_percent(5.0).unwrap(),
            stable: Some(arm(900, 9)),
            canary: Some(arm(100, 50)),
        };
        (0..minutes).map(row).collect()
    }

    fn check(name: &str, rule: CheckRule) -> Check {
        Check::new(name, rule)
    }

    fn slower_than(seconds: f64) -> CheckRule {
        CheckRule::Latency(DistributionCheck {
            bad_beyond: BadBeyond::Fixed(seconds),
            ..DistributionCheck::latency()
        })
    }

    #[test]
    fn a_recording_tells_traffic_of_both_arms_and_rates_of_stable() {
        let checks = [
            check("errors", CheckRule::Errors(ErrorsCheck::default())),
            check("latency", slower_than(0.45)),
            check("thumbs", CheckRule::Ratio(RatioCheck::default())),
        ];
        let traffic = Traffic::measured(&window(10), &checks).unwrap();
        assert_eq!((traffic.requests_per_minute, traffic.canary_targets), (1000.0, Some(3)));
        let close = |name: &str, rate: f64, samples: f64| {
            let base = &traffic.bases[name];
            assert!((base.rate.unwrap().get() - rate).abs() < 1e-3, "{name}: {base:?}");
            assert_eq!(base.samples_per_request, samples, "{name}");
        };
        close("errors", 0.01, 1.0);
        close("latency", 0.01, 1.0);
        close("thumbs", 6.0 / 90.0, 0.1);
        assert_eq!(traffic.lacking(&checks), Vec::<&str>::new());
        assert_eq!(traffic.notes, Vec::<String>::new());
    }

    #[test]
    fn a_fixed_value_is_looked_up_at_the_nearest_edge_that_the_recording_lists() {
        let checks = [check("latency", slower_than(0.6))];
        let traffic = Traffic::measured(&window(10), &checks).unwrap();
        assert!((traffic.bases["latency"].rate.unwrap().get() - 0.01).abs() < 1e-3);
        assert!(traffic.notes[0].contains("nearest edge to 0.6 in the recording is 0.4665"), "{traffic:?}");
    }

    #[test]
    fn rare_and_unknown_classes_are_other() {
        let rule = |values: &[&str]| ClassesCheck {
            source: None,
            values: values.iter().map(|name| (*name).to_owned()).collect(),
            tolerate: None,
            promote_within: Times::constant(1.5),
        };
        let names = |values: &[&str]| {
            let checks = [check("label", CheckRule::Classes(rule(values)))];
            let traffic = Traffic::measured(&window(10), &checks).unwrap();
            let classes = &traffic.bases["label"].classes;
            let parts: f64 = classes.iter().map(|(_, part)| part.get()).sum();
            assert!((parts - 1.0).abs() < 0.01, "{classes:?}");
            classes.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&["cat", "dog", "eel"]), ["cat", "dog", "other"]);
        assert_eq!(names(&["cat"]), ["cat", "other"]);
    }

    #[test]
    fn what_a_recording_lacks_is_said_or_asked_for() {
        let checks = [
            check("refunds", CheckRule::Ratio(RatioCheck::default())),
            check("speed", CheckRule::Values(DistributionCheck::values())),
        ];
        let traffic = Traffic::measured(&window(3), &checks).unwrap();
        assert_eq!(traffic.lacking(&checks), ["refunds"]);
        assert!(traffic.notes[0].contains("nothing of stable for speed"), "{:?}", traffic.notes);
        assert_eq!(Traffic::measured(&Window::default(), &Rules::default().checks), Err(NoRequests));
    }
}
