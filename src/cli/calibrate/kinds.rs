//! The kinds of rollouts that are counted: good canaries, canaries at the edge of what the plan allows, and
//! bad ones.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::args::CalibrateArgs;
use super::faults::Asked;
use crate::analysis::check::{
    BadBeyond, Check, CheckRule, DistributionCheck, ErrorsCheck, Margin, RatioCheck, TOLERATE, Tolerance,
    Worse,
};
use crate::analysis::edge::BASE;
use crate::rollout::plan::Plan;
use crate::sim::synthetic::{Fault, Law, LogNormal, MetricChange, RateChange, SpreadChange, Workload};
use crate::units::{Rate, Times};

/// A metric of the application's own, in units that are not known: its median ...
const VALUES_MEDIAN: f64 = 1.0;
/// ... unless the plan names a length in the metric's unit; then that is a tenth of the median.
const VALUES_MEDIAN_LENGTHS: f64 = 10.0;
/// Where the plan names a limit in the metric's unit, this part of the values is bad.
const VALUES_BAD: f64 = 0.05;
/// The first minute of a fault that comes late: after an hour of good behaviour.
const LATE: i64 = 60;

/// What is counted in a kind of rollouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Counts {
    /// Drains, of which there must be few.
    FalseRollbacks,
    /// Steps that are left, of which there must be few.
    FalsePromotions,
    /// Drains of a healthy canary whose counts are noisier than chance.
    Noise,
    /// Drains, of which there should be many.
    Found,
}

/// Rollouts of one kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kind {
    pub(super) counts: Counts,
    pub(super) name: String,
    pub(super) workload: Workload,
    pub(super) fault: Fault,
    pub(super) held: bool,
}

/// The service that a plan's checks look at.
pub(super) fn workload(plan: &Plan, args: &CalibrateArgs) -> Workload {
    let checks = &plan.rules.checks;
    let laws = checks.iter().filter_map(|check| Some((check.name.clone(), law(check, args.errors)?)));
    let latency = checks.iter().any(|check| matches!(check.rule, CheckRule::Latency(_)));
    Workload {
        requests_per_minute: 60.0 * args.rps,
        errors: args.errors.fraction(),
        drift: args.drift,
        noise: 1.0,
        latency: latency.then_some(LogNormal::LATENCY),
        metrics: laws.collect(),
    }
}

fn law(check: &Check, errors: Rate) -> Option<Law> {
    match &check.rule {
        CheckRule::Errors(_) | CheckRule::Latency(_) => None,
        CheckRule::Ratio(rule) => Some(Law::Ratio { rate: errors.fraction(), events: rule.events }),
        CheckRule::Values(rule) => Some(Law::Values(values(rule))),
        CheckRule::Classes(rule) => {
            let part = 1.0 / rule.values.len().max(1) as f64;
            Some(Law::Classes(rule.values.iter().map(|name| (name.clone(), part)).collect()))
        }
    }
}

fn values(rule: &DistributionCheck) -> LogNormal {
    let unit = LogNormal { median: 1.0, sigma: LogNormal::LATENCY.sigma };
    let median = match (&rule.bad_beyond, rule.tolerate) {
        (BadBeyond::Fixed(limit), _) => {
            let bad = if rule.worse == Worse::Higher { 1.0 - VALUES_BAD } else { VALUES_BAD };
            limit / unit.quantile(bad)
        }
        (_, Some(Margin::Absolute(length))) => VALUES_MEDIAN_LENGTHS * length,
        _ => VALUES_MEDIAN.max(rule.ignore_below),
    };
    LogNormal { median, ..unit }
}

/// All kinds, in the order in which they are told.
pub(super) fn kinds(plan: &Plan, workload: &Workload, asked: &[Asked], args: &CalibrateArgs) -> Vec<Kind> {
    let kind = |counts, name: &str, fault: Fault| Kind {
        counts,
        name: name.to_owned(),
        workload: workload.clone(),
        fault,
        held: false,
    };
    let mut kinds = vec![kind(Counts::FalseRollbacks, "like stable", Fault::default())];
    let mut margin = Fault::default();
    for check in &plan.rules.checks {
        at_tolerance(&mut margin, check, workload);
    }
    kinds.push(kind(Counts::FalseRollbacks, "at the edge of tolerate", margin));
    for check in &plan.rules.checks {
        let mut edge = Fault::default();
        at_promote_within(&mut edge, check, workload);
        kinds.push(kind(Counts::FalsePromotions, &check.name, edge));
    }
    if asked.is_empty() {
        for (name, fault) in plan.rules.checks.iter().flat_map(usual_faults) {
            kinds.push(kind(Counts::Found, &name, fault.clone()));
            if i64::from(args.minutes) > LATE {
                let late = Fault { from_minute: LATE, ..fault };
                kinds.push(Kind { held: true, ..kind(Counts::Found, &name, late) });
            }
        }
    }
    let asked = asked
        .iter()
        .map(|asked| Kind { held: asked.held, ..kind(Counts::Found, &asked.name, asked.fault.clone()) });
    kinds.extend(asked);
    kinds.extend(args.noise.iter().map(|noise| {
        let noisy = Workload { noise: *noise, ..workload.clone() };
        Kind { workload: noisy, ..kind(Counts::Noise, &format!("{noise} times"), Fault::default()) }
    }));
    // During a burn-in both groups run one version.
    let burn_in = plan.rules.burn_in.whole_minutes();
    for kind in &mut kinds {
        kind.fault.from_minute = kind.fault.from_minute.max(burn_in);
    }
    kinds
}

/// What is usually wrong, small to large.
fn usual_faults(check: &Check) -> Vec<(String, Fault)> {
    let name = &check.name;
    let metric = |change| Fault { metrics: BTreeMap::from([(name.clone(), change)]), ..Fault::default() };
    let errors = |times| Fault { errors: RateChange::times(times), ..Fault::default() };
    let latency = |times| Fault { latency: SpreadChange::times(times), ..Fault::default() };
    match &check.rule {
        CheckRule::Errors(_) => {
            [2.0, 3.0, 7.0].map(|times| (format!("{name} {times}x"), errors(times))).into()
        }
        CheckRule::Latency(_) => [1.2, 1.5].map(|times| (format!("{name} {times}x"), latency(times))).into(),
        CheckRule::Ratio(_) => {
            vec![(format!("{name} 3x"), metric(MetricChange::Rate(RateChange::times(3.0))))]
        }
        CheckRule::Values(rule) => {
            let times = if rule.worse == Worse::Higher { 1.5 } else { 0.67 };
            vec![(format!("{name} {times}x"), metric(MetricChange::Spread(SpreadChange::times(times))))]
        }
        CheckRule::Classes(_) => vec![(format!("{name} 2x"), metric(MetricChange::FirstClass(2.0)))],
    }
}

/// As bad as a check tolerates: what must not be drained.
fn at_tolerance(fault: &mut Fault, check: &Check, workload: &Workload) {
    match &check.rule {
        CheckRule::Errors(rule) => fault.errors = errors_at_tolerance(rule),
        CheckRule::Latency(rule) => fault.latency = spread_at_tolerance(rule, LogNormal::LATENCY),
        CheckRule::Ratio(rule) => {
            let change = ratio_at_tolerance(rule);
            fault.metrics.insert(check.name.clone(), MetricChange::Rate(change));
        }
        CheckRule::Values(rule) => {
            let law = law_of(workload, &check.name);
            fault.metrics.insert(check.name.clone(), MetricChange::Spread(spread_at_tolerance(rule, law)));
        }
        CheckRule::Classes(rule) => {
            let times = rule.tolerate.unwrap_or(TOLERATE).ratio();
            fault.metrics.insert(check.name.clone(), MetricChange::FirstClass(times));
        }
    }
}

/// As bad as a check may just not be promoted with.
fn at_promote_within(fault: &mut Fault, check: &Check, workload: &Workload) {
    let metric = match &check.rule {
        CheckRule::Errors(rule) => {
            fault.errors = allowance(rule.promote_within);
            return;
        }
        CheckRule::Latency(rule) => {
            fault.latency = spread_at_promote_within(rule, LogNormal::LATENCY);
            return;
        }
        CheckRule::Ratio(rule) => MetricChange::Rate(allowance(rule.promote_within)),
        CheckRule::Values(rule) => {
            MetricChange::Spread(spread_at_promote_within(rule, law_of(workload, &check.name)))
        }
        CheckRule::Classes(rule) => MetricChange::FirstClass(rule.promote_within.ratio()),
    };
    fault.metrics.insert(check.name.clone(), metric);
}

fn law_of(workload: &Workload, name: &str) -> LogNormal {
    match workload.metrics.get(name) {
        Some(Law::Values(law)) => *law,
        _ => LogNormal::LATENCY,
    }
}

/// Odds and points, whichever allows more, and no more than limits that stand on their own.
fn errors_at_tolerance(rule: &ErrorsCheck) -> RateChange {
    let limits = [rule.slo, rule.abort_above].into_iter().flatten().map(Rate::fraction);
    RateChange {
        at_least: rule.ignore_below.fraction(),
        at_most: limits.fold(1.0, f64::min),
        ..odds_or_points(rule.tolerate)
    }
}

fn ratio_at_tolerance(rule: &RatioCheck) -> RateChange {
    let change = odds_or_points(rule.tolerate);
    // Of events, of which one request may have several, it is the rate that may be so many times as high.
    let (odds, times) = if rule.events { (1.0, change.odds) } else { (change.odds, 1.0) };
    let at_most = rule.slo.map_or(1.0, Rate::fraction);
    RateChange { odds, times, at_least: rule.ignore_below.fraction(), at_most, ..change }
}

fn odds_or_points(tolerate: Option<Tolerance>) -> RateChange {
    let tolerate = tolerate.unwrap_or(Tolerance::times(TOLERATE));
    RateChange {
        odds: tolerate.times.map_or(1.0, Times::ratio),
        plus: tolerate.points.map_or(0.0, Rate::fraction),
        ..RateChange::NONE
    }
}

fn allowance(within: Tolerance) -> RateChange {
    RateChange {
        times: within.times.map_or(1.0, Times::ratio),
        plus: within.points.map_or(0.0, Rate::fraction),
        ..RateChange::NONE
    }
}

/// Values that are worse by so many edges, and bad by so many times the odds beyond that.
fn worse_by(worse: Worse, edges: i32, odds: f64) -> SpreadChange {
    let times = BASE.powi(edges);
    match worse {
        Worse::Higher => SpreadChange { odds, times, fraction: 1.0 },
        Worse::Lower => SpreadChange { odds: odds.recip(), times: times.recip(), fraction: 1.0 },
    }
}

fn spread_at_tolerance(rule: &DistributionCheck, law: LogNormal) -> SpreadChange {
    let (edges, odds) = margin(rule, law);
    worse_by(rule.worse, edges, odds)
}

fn spread_at_promote_within(rule: &DistributionCheck, law: LogNormal) -> SpreadChange {
    let (edges, _) = margin(rule, law);
    // What every threshold allows.
    let least = match &rule.bad_beyond {
        BadBeyond::Quantiles(quantiles) => quantiles.iter().copied().reduce(|a, b| if b < a { b } else { a }),
        BadBeyond::Fixed(_) => None,
    };
    worse_by(rule.worse, edges, rule.allowed(least).ratio())
}

/// Edges and odds that a distribution may be worse by.
fn margin(rule: &DistributionCheck, law: LogNormal) -> (i32, f64) {
    let odds = rule.tolerated(TOLERATE).ratio();
    match rule.tolerate {
        None | Some(Margin::Times(_)) => (0, odds),
        Some(Margin::Relative(_)) => (rule.edges_out(1.0), odds),
        Some(Margin::Absolute(_)) => {
            let thresholds = match &rule.bad_beyond {
                BadBeyond::Fixed(limit) => vec![*limit],
                BadBeyond::Quantiles(quantiles) => {
                    quantiles.iter().map(|q| law.quantile(q.fraction())).collect()
                }
            };
            // What no threshold convicts of is the least of what they allow.
            (thresholds.into_iter().map(|threshold| rule.edges_out(threshold)).min().unwrap_or(0), odds)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::check::{ClassesCheck, PROMOTE_WITHIN_BODY, Rules};
    use crate::cli::args::{Args, Command};
    use crate::cli::input;
    use clap::Parser;

    #[test]
    fn the_edge_of_tolerate_is_the_largest_allowance_below_the_limits() {
        let rule = ErrorsCheck {
            tolerate: Some(Tolerance { times: Some(TOLERATE), points: Some(Rate::percent_const(0.5)) }),
            slo: Some(Rate::percent_const(1.5)),
            ..ErrorsCheck::default()
        };
        let change = errors_at_tolerance(&rule);
        assert!((change.of(0.003) - 0.008).abs() < 1e-12);
        assert!((change.of(0.014) - 0.015).abs() < 1e-12);
        assert!((errors_at_tolerance(&ErrorsCheck::default()).of(0.000_1) - 0.001).abs() < 1e-12);
    }

    #[test]
    fn a_length_is_as_many_edges_as_cover_it_and_smaller_values_are_worse_downwards() {
        let length = |tolerate, worse| DistributionCheck { tolerate, worse, ..DistributionCheck::latency() };
        let ten = Some(Margin::Relative(Rate::percent_const(10.0)));
        let change = spread_at_tolerance(&length(ten, Worse::Higher), LogNormal::LATENCY);
        assert!((change.times - 1.1).abs() < 1e-12 && change.odds == 1.0);
        let change = spread_at_tolerance(&length(ten, Worse::Lower), LogNormal::LATENCY);
        assert!((change.times - 1.1_f64.powi(-2)).abs() < 1e-12);
        let change = spread_at_promote_within(&length(None, Worse::Lower), LogNormal::LATENCY);
        assert!((change.odds - 1.0 / 1.5).abs() < 1e-12 && change.times == 1.0);
        let near = Some(Margin::Absolute(0.05));
        // On p50 (80 ms) 50 ms are six edges, on p99 (0.41 s) two.
        assert_eq!(margin(&length(near, Worse::Higher), LogNormal::LATENCY), (2, 1.0));
    }

    #[test]
    fn values_lie_where_the_plan_looks() {
        let limit = DistributionCheck { bad_beyond: BadBeyond::Fixed(400.0), ..DistributionCheck::values() };
        assert!((values(&limit).below(400.0) - 0.95).abs() < 1e-9);
        let lower = DistributionCheck { worse: Worse::Lower, ..limit };
        assert!((values(&lower).below(400.0) - 0.05).abs() < 1e-9);
    }

    fn arguments() -> CalibrateArgs {
        let line = ["canary-gate", "calibrate", "--noise", "3", "--minutes", "100"];
        match Args::try_parse_from(line).unwrap().command {
            Command::Calibrate(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plan_with_every_kind_of_check_is_tried_at_every_edge() {
        let args = arguments();
        let mut plan = input::plan_to_start(None).unwrap().0.plan;
        let labels = ["cat", "dog"].map(str::to_owned).to_vec();
        plan.rules.checks.extend([
            Check::new("refunds", CheckRule::Ratio(RatioCheck { events: true, ..RatioCheck::default() })),
            Check::new("speed", CheckRule::Values(DistributionCheck::values())),
            Check::new(
                "label",
                CheckRule::Classes(ClassesCheck {
                    source: None,
                    values: labels,
                    tolerate: None,
                    promote_within: PROMOTE_WITHIN_BODY,
                }),
            ),
        ]);
        let workload = workload(&plan, &args);
        assert!(workload.metrics.keys().eq(["label", "refunds", "speed"]));
        let kinds = kinds(&plan, &workload, &[], &args);
        let of = |counts| kinds.iter().filter(|kind| kind.counts == counts).collect::<Vec<_>>();
        let margin = &of(Counts::FalseRollbacks)[1].fault;
        assert_eq!(margin.errors.odds, 1.25);
        assert_eq!(margin.metrics["label"], MetricChange::FirstClass(1.25));
        let MetricChange::Rate(events) = margin.metrics["refunds"] else { panic!("{margin:?}") };
        assert_eq!((events.odds, events.times), (1.0, 1.25));
        let edges = of(Counts::FalsePromotions);
        assert_eq!(edges.len(), plan.rules.checks.len());
        assert!(edges.iter().all(|kind| kind.fault != Fault::default()), "{edges:?}");
        assert_eq!(of(Counts::Noise).len(), 1);
        let faults = of(Counts::Found);
        assert_eq!(faults.iter().filter(|kind| kind.held).count() * 2, faults.len());
    }

    #[test]
    fn every_check_has_faults_to_look_for() {
        for check in Rules::default().checks {
            let faults = usual_faults(&check);
            assert!(faults.iter().all(|(name, _)| name.starts_with(&check.name)));
            assert!(faults.iter().all(|(_, fault)| *fault != Fault::default()));
        }
    }
}
