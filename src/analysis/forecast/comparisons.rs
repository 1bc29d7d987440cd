//! Which comparisons a plan's checks come to, with which margins and weights.

use super::comparison::{CHECKED, Comparison, Promise, tolerated_odds};
use super::traffic::Base;
use super::{Question, Rate, Times};
use crate::analysis::check::{
    BadBeyond, CLASS_COMMON, Check, CheckRule, ClassesCheck, DistributionCheck, Margin, STICKY_TOLERATE,
    Tolerance, Worse, usual_tolerance,
};
use crate::stats::{Allowance, LearntRate, OddsRatio};
use crate::units::Quantile;

/// A rate where nobody has told one: none that a forecast should ever show.
const UNKNOWN_RATE: f64 = 0.5;

/// All comparisons of a plan, in its order.
pub(super) fn of(question: &Question<'_>) -> Vec<Comparison> {
    let nothing = Base::default();
    let comparisons = |check: &Check| {
        let base = question.traffic.bases.get(&check.name).unwrap_or(&nothing);
        of_check(question, check, base)
    };
    question.rules.checks.iter().flat_map(comparisons).collect()
}

fn of_check(question: &Question<'_>, check: &Check, base: &Base) -> Vec<Comparison> {
    let rate = base.rate.unwrap_or(LearntRate::new(UNKNOWN_RATE).expect(CHECKED));
    let plain = Comparison {
        check: check.name.clone(),
        part: None,
        rate,
        samples_per_request: base.samples_per_request,
        promise: None,
        optional: false,
        tolerated: OddsRatio::ONE,
        ignore_below: None,
        abort_above: None,
        weight: question.rules.weight(check),
    };
    let by_rates = |tolerate: Option<Tolerance>, ignore_below: Rate, within: Tolerance| {
        let tolerate = tolerate.unwrap_or(Tolerance::times(usual(question)));
        let (times, points) = parts(tolerate);
        let (ratio, difference) = parts(within);
        Comparison {
            tolerated: tolerated_odds(times, points, rate),
            promise: Some(Promise::Rates(Allowance::new(ratio, difference).expect(CHECKED))),
            ignore_below: LearntRate::new(ignore_below.fraction()).ok(),
            ..plain.clone()
        }
    };
    match &check.rule {
        CheckRule::Errors(rule) => {
            let limit = rule.abort_above.and_then(|above| LearntRate::new(above.fraction()).ok());
            let abort_above = limit.map(|limit| (limit, rule.only_if_worse_than_stable));
            let comparison = by_rates(rule.tolerate, rule.ignore_below, rule.promote_within);
            vec![Comparison { abort_above, ..comparison }]
        }
        CheckRule::Ratio(rule) => vec![by_rates(rule.tolerate, rule.ignore_below, rule.promote_within)],
        CheckRule::Latency(rule) | CheckRule::Values(rule) => of_distribution(question, rule, &plain),
        CheckRule::Classes(rule) => of_classes(question, rule, base, &plain),
    }
}

/// A ratio and a difference, 1 and 0 where not given.
fn parts(tolerance: Tolerance) -> (f64, f64) {
    (tolerance.times.map_or(1.0, Times::ratio), tolerance.points.map_or(0.0, Rate::fraction))
}

/// The tolerance of a plan that has none.
fn usual(question: &Question<'_>) -> Times {
    usual_tolerance(question.traffic.canary_targets)
}

/// The tolerance of latency or classes: larger where clients are sticky and no burn-in has shown how much.
fn of_sticky(question: &Question<'_>, tolerated: Times) -> OddsRatio {
    let advisory = question.sticky && question.rules.burn_in.minutes() == 0;
    let least = if advisory { STICKY_TOLERATE.ratio() } else { 1.0 };
    odds(tolerated.ratio().max(least))
}

fn odds(ratio: f64) -> OddsRatio {
    OddsRatio::new(ratio).expect(CHECKED)
}

fn of_distribution(question: &Question<'_>, rule: &DistributionCheck, plain: &Comparison) -> Vec<Comparison> {
    let comparison = |quantile| Comparison {
        tolerated: of_sticky(question, rule.tolerated(usual(question))),
        promise: Some(Promise::Odds(odds(rule.allowed(quantile).ratio()))),
        ..plain.clone()
    };
    let quantiles = match &rule.bad_beyond {
        BadBeyond::Fixed(_) => return vec![comparison(None)],
        BadBeyond::Quantiles(quantiles) => quantiles,
    };
    let of = |quantile: &Quantile| {
        let bad = match rule.worse {
            Worse::Higher => 1.0 - quantile.fraction(),
            Worse::Lower => quantile.fraction(),
        };
        Comparison {
            part: Some(quantile.to_string()),
            rate: LearntRate::new(bad).expect(CHECKED),
            optional: true,
            weight: plain.weight / quantiles.len() as f64,
            ..comparison(Some(*quantile))
        }
    };
    quantiles.iter().map(of).collect()
}

/// Each class against the rest; in both directions, so that each has half the weight.
fn of_classes(
    question: &Question<'_>,
    rule: &ClassesCheck,
    base: &Base,
    plain: &Comparison,
) -> Vec<Comparison> {
    let equal = || LearntRate::new(1.0 / rule.values.len().max(2) as f64).expect(CHECKED);
    let assumed: Vec<_> = rule.values.iter().map(|name| (name.clone(), equal())).collect();
    let classes = if base.classes.is_empty() { &assumed } else { &base.classes };
    let of = |(name, part): &(String, LearntRate)| Comparison {
        part: Some(name.clone()),
        rate: *part,
        promise: (part.get() >= CLASS_COMMON.fraction())
            .then(|| Promise::OddsBothWays(odds(rule.promote_within.ratio()))),
        tolerated: of_sticky(question, rule.tolerate.unwrap_or(usual(question))),
        weight: plain.weight / (2 * classes.len()) as f64,
        ..plain.clone()
    };
    classes.iter().map(of).collect()
}

/// What each check tolerates, in words.
pub(super) fn margins(question: &Question<'_>) -> Vec<String> {
    let said = |check: &Check| {
        let usual = Tolerance::times(usual(question));
        let floored = |tolerate: Option<Tolerance>, floor: Rate| {
            format!("{} of stable's, or any rate up to {floor}", tolerate.unwrap_or(usual))
        };
        let sticky = |times: Times| format!("{}x of stable's", of_sticky(question, times).get());
        let margin = match &check.rule {
            CheckRule::Errors(rule) => floored(rule.tolerate, rule.ignore_below),
            CheckRule::Ratio(rule) => floored(rule.tolerate, rule.ignore_below),
            CheckRule::Classes(rule) => sticky(rule.tolerate.unwrap_or(self::usual(question))),
            CheckRule::Latency(rule) | CheckRule::Values(rule) => match rule.tolerate {
                Some(Margin::Relative(part)) => format!("thresholds {part} further out"),
                Some(Margin::Absolute(length)) => format!("thresholds {length} further out"),
                Some(Margin::Times(times)) => sticky(times),
                None => sticky(self::usual(question)),
            },
        };
        format!("{} up to {margin}", check.name)
    };
    question.rules.checks.iter().map(said).collect()
}
