//! One comparison of two arms: how long until it shows that they are alike, or that they are not.

use serde::Serialize;
use statrs::function::erf::erfc;

use super::BadSize;
use crate::analysis::check::{ABORT_ALPHA, Rules};
use crate::stats::{
    ALTERNATIVE_MULTIPLIERS, Allowance, DesignEffect, LIMIT_MULTIPLIERS, LearntRate, ODDS_RATIO_MAX,
    OddsRatio, RELEASE_FIRST, harm_information, harm_target, health_information, health_target,
    minutes_needed, odds_health_information, requests_needed,
};
use crate::units::{Rate, Share};

/// Rules are checked before they get here; what the numeric types refuse cannot come out of a plan.
pub(super) const CHECKED: &str = "the plan's checks keep this in range";
/// Against a fixed limit, the reference is known as if it had endless traffic.
const SHARE_OF_ENDLESS: f64 = 1e-9;
/// Twice the odds are within a tolerance of twice the odds, whatever the last bit says.
const ROUNDING: f64 = 1e-9;
/// Nobody waits longer, in minutes: ten years.
const NEVER_MINUTES: f64 = 10.0 * 365.25 * 24.0 * 60.0;

/// What a proven-healthy canary surely is not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Promise {
    /// Worse in its rate than allowed: errors and ratios.
    Rates(Allowance),
    /// Worse in its odds: latency and values.
    Odds(OddsRatio),
    /// Different in its odds, in either direction: classes.
    OddsBothWays(OddsRatio),
}

impl Promise {
    /// Nats of evidence of health that a canary as good as stable gives with each sample.
    fn information(&self, rate: LearntRate, share: f64) -> f64 {
        let odds = |rate, psi| odds_health_information(rate, psi, share).unwrap_or(0.0);
        match self {
            Self::Rates(allowance) => health_information(rate, allowance, share).unwrap_or(0.0),
            Self::Odds(psi) => odds(rate, *psi),
            Self::OddsBothWays(psi) => {
                // Too rare a class by a factor is too common a rest by the same.
                let rest = LearntRate::new(1.0 - rate.get()).expect(CHECKED);
                odds(rate, *psi).min(odds(rest, *psi))
            }
        }
    }
}

/// Minutes of data until a canary as good as stable is proven healthy by this comparison.
///
/// ```text
/// minutes = D ln(1/beta) / (nats a sample * samples a minute)
/// ```
///
/// An expected value: every second canary takes longer. `None` where no number of samples is enough, and
/// where an arm has no traffic.
#[must_use]
pub fn minutes_to_prove(
    promise: &Promise,
    rate: LearntRate,
    share: Share,
    samples_per_minute: f64,
    false_promotion: Rate,
    effect: DesignEffect,
) -> Option<f64> {
    let target = health_target(false_promotion.fraction()).expect(CHECKED);
    let samples = requests_needed(target, promise.information(rate, share.fraction()), effect)?;
    minutes_needed(samples, samples_per_minute)
}

/// Whole minutes, since data come in such; `None` if nobody lives to see it.
pub(super) fn whole(minutes: f64) -> Option<u64> {
    (minutes <= NEVER_MINUTES).then(|| minutes.ceil().max(1.0) as u64)
}

/// Why a canary that is bad by some size is never drained for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Never {
    /// `tolerate` covers the difference.
    WithinTolerate,
    /// Its rate is not above `ignore_below`.
    BelowIgnore,
    /// Beyond the margin, but so little that no alternative of the test is near, or in ten years at best.
    TooNearTheMargin,
    /// There is no such rate: above 100 %.
    NoSuchRate,
}

/// When a canary that is bad by some size is drained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// It is.
    Drained {
        /// Expected minutes of data, at least `convict_minutes` unless `abort_above` is faster.
        minutes: u64,
        /// Expected bad samples beyond stable's rate, until the drain: with the delay of the data.
        excess_bad: f64,
    },
    /// It is not.
    Never {
        /// Why.
        never: Never,
    },
}

/// One comparison of a check: a quantile, a class, or the whole check.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Comparison {
    pub(super) check: String,
    pub(super) part: Option<String>,
    /// Stable's rate of bad samples.
    pub(super) rate: LearntRate,
    pub(super) samples_per_request: f64,
    /// `None` if it is for harm only, whatever the traffic.
    pub(super) promise: Option<Promise>,
    /// If it can't be proven in time, the step goes on without it.
    pub(super) optional: bool,
    /// Odds ratio that is no reason to drain.
    pub(super) tolerated: OddsRatio,
    pub(super) ignore_below: Option<LearntRate>,
    pub(super) abort_above: Option<(LearntRate, bool)>,
    /// Its part of the rollout's evidence.
    pub(super) weight: f64,
}

/// Where two arms are compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) rules: &'a Rules,
    pub(super) share: Share,
    /// Of the canary.
    pub(super) requests_per_minute: f64,
    pub(super) effect: DesignEffect,
    pub(super) delay_minutes: u64,
}

impl Comparison {
    /// See [`minutes_to_prove`]; the outer `None` if there is nothing to prove.
    pub(super) fn minutes_to_prove(&self, at: Place<'_>) -> Option<Option<u64>> {
        let samples = at.requests_per_minute * self.samples_per_request;
        let beta = at.rules.false_promotion;
        let promise = self.promise.as_ref()?;
        Some(minutes_to_prove(promise, self.rate, at.share, samples, beta, at.effect).and_then(whole))
    }

    /// When a canary that is bad by this size is drained.
    pub(super) fn drain(&self, bad: BadSize, at: Place<'_>) -> Outcome {
        let Some(first) = bad.of(self.rate) else { return Outcome::Never { never: Never::NoSuchRate } };
        let aborted = self.minutes_to_abort(first, at).and_then(whole);
        let convicted = self.minutes_to_convict(first, at);
        let fastest = [aborted, convicted.ok()].into_iter().flatten().min();
        let Some(minutes) = fastest else {
            return Outcome::Never { never: convicted.err().unwrap_or(Never::TooNearTheMargin) };
        };
        let per_minute = at.requests_per_minute * self.samples_per_request * (first.get() - self.rate.get());
        Outcome::Drained { minutes, excess_bad: per_minute * (minutes + at.delay_minutes) as f64 }
    }

    /// Whole minutes until the evidence of harm convicts, if this comparison is all the evidence there is.
    fn minutes_to_convict(&self, first: LearntRate, at: Place<'_>) -> Result<u64, Never> {
        let rules = at.rules;
        let relative = self.growth(first, self.rate, self.tolerated, at.share.fraction(), at);
        let mut growth = relative.ok_or(Never::WithinTolerate)?;
        if let Some(floor) = self.ignore_below {
            let absolute = self.growth(first, floor, OddsRatio::ONE, SHARE_OF_ENDLESS, at);
            growth = growth.min(absolute.ok_or(Never::BelowIgnore)?);
        }
        let target = harm_target(rules.false_rollback.fraction(), self.weight).expect(CHECKED);
        let minutes = (growth > 0.0).then(|| target / growth).and_then(whole);
        minutes.map(|n| n.max(u64::from(rules.convict_minutes))).ok_or(Never::TooNearTheMargin)
    }

    /// Nats of evidence of harm that a minute adds, by the alternative that grows fastest; `None` inside the
    /// margin, and 0 or less if the truth is nearer to the margin than to any alternative.
    ///
    /// A minute's nats L scatter, and what exceeds the cap is lost. With mean m and deviation s,
    ///
    /// ```text
    /// m = n1 information (1 - kl(p1, a) / kl(p1, q)) / D,   odds(q) = psi0 odds(p0),   odds(a) = g odds(q)
    /// s^2 = ln(g)^2 / (1/(n1 p1 (1-p1)) + 1/(n0 p0 (1-p0))) / D
    /// E[min(L, cap)] = cap - s (phi(z) + z Phi(z)),   z = (cap - m)/s
    /// ```
    ///
    /// if L is about normal. Where few bad requests are expected a minute, the cap costs more than all else.
    fn growth(
        &self,
        first: LearntRate,
        second: LearntRate,
        tolerated: OddsRatio,
        share: f64,
        at: Place<'_>,
    ) -> Option<f64> {
        let (p1, p0) = (first.get(), second.get());
        if odds(p1) <= odds(p0) * tolerated.get() * (1.0 + ROUNDING) {
            return None;
        }
        let samples = at.requests_per_minute * self.samples_per_request;
        let effect = at.effect.get();
        let whole = samples * harm_information(first, second, tolerated, share).expect(CHECKED) / effect;
        let variance = |n: f64, p: f64| n * p * (1.0 - p);
        let others = variance(samples * (1.0 - share) / share, p0);
        let count = 1.0 / (1.0 / variance(samples, p1) + 1.0 / others);
        let apart = |times: f64| {
            let odds = times * tolerated.get() * odds(p0);
            kl(p1, odds / (1.0 + odds)).max(0.0)
        };
        let grows = |times: f64| {
            let mean = whole * (1.0 - apart(times) / apart(1.0));
            let deviation = times.ln() * (count / effect).sqrt();
            at.rules.minute_cap().map_or(mean, |cap| capped_mean(mean, deviation, cap))
        };
        Some(ALTERNATIVE_MULTIPLIERS.map(grows).into_iter().fold(f64::NEG_INFINITY, f64::max))
    }

    /// Minutes until the immediate trigger; `None` if the rate is not above it.
    fn minutes_to_abort(&self, first: LearntRate, at: Place<'_>) -> Option<f64> {
        let (limit, only_if_worse) = self.abort_above?;
        let samples = at.requests_per_minute * self.samples_per_request;
        let minutes = |information: f64, alternatives: usize| {
            let target = (alternatives as f64 / RELEASE_FIRST / ABORT_ALPHA.fraction()).ln();
            minutes_needed(requests_needed(target, information, DesignEffect::NONE)?, samples)
        };
        let above = harm_information(first, limit, OddsRatio::ONE, SHARE_OF_ENDLESS).expect(CHECKED);
        let absolute = minutes(above, LIMIT_MULTIPLIERS.len())?;
        if !only_if_worse {
            return Some(absolute);
        }
        let share = at.share.fraction();
        let worse = harm_information(first, self.rate, OddsRatio::ONE, share).expect(CHECKED);
        Some(absolute.max(minutes(worse, ALTERNATIVE_MULTIPLIERS.len())?))
    }
}

/// Relative entropy of two Bernoulli rates, in nats.
fn kl(p: f64, q: f64) -> f64 {
    p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln()
}

/// The mean of what is left of a normal variable if everything above `cap` is cut off.
fn capped_mean(mean: f64, deviation: f64, cap: f64) -> f64 {
    let z = (cap - mean) / deviation;
    let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let below = 0.5 * erfc(-z / std::f64::consts::SQRT_2);
    cap - deviation * (density + z * below)
}

fn odds(rate: f64) -> f64 {
    rate / (1.0 - rate)
}

/// The odds ratio that a tolerance comes to at this base rate: the larger of a ratio and a difference.
/// Where it reaches certainty, everything is tolerated.
pub(super) fn tolerated_odds(times: f64, points: f64, rate: LearntRate) -> OddsRatio {
    let certain = rate.get() + points >= 1.0;
    let by_points = if certain { ODDS_RATIO_MAX } else { odds(rate.get() + points) / odds(rate.get()) };
    OddsRatio::new(times.max(by_points).min(ODDS_RATIO_MAX)).expect(CHECKED)
}

/// The rate with so many times the odds.
pub(super) fn with_odds(rate: LearntRate, times: f64) -> Option<LearntRate> {
    let odds = times * odds(rate.get());
    LearntRate::new(odds / (1.0 + odds)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Times;

    const FIVE: f64 = 0.05;

    fn rate(p: f64) -> LearntRate {
        LearntRate::new(p).unwrap()
    }

    fn psi(value: f64) -> OddsRatio {
        OddsRatio::new(value).unwrap()
    }

    fn prove(promise: &Promise, p: f64, rps: f64) -> f64 {
        let share = Share::from_percent(5.0).unwrap();
        let beta = Rate::percent_const(5.0);
        minutes_to_prove(promise, rate(p), share, FIVE * 60.0 * rps, beta, DesignEffect::NONE).unwrap()
    }

    /// Minutes at 5, 50 and 500 requests a second that were measured, 5 % of them the canary's.
    fn assert_measured(promise: &Promise, p: f64, measured: [f64; 3]) {
        for (rps, measured) in [5.0, 50.0, 500.0].into_iter().zip(measured) {
            let told = prove(promise, p, rps);
            let told = whole(told).unwrap() as f64;
            assert!(
                (told - measured).abs() <= (0.3 * measured).max(1.0),
                "{p} at {rps} rps: {told}, measured were {measured}"
            );
        }
    }

    #[test]
    fn minutes_to_prove_health_on_errors_are_as_measured() {
        let allowance = Promise::Rates(Allowance::new(1.5, 0.01).unwrap());
        assert_measured(&allowance, 0.003, [30.0, 4.0, 1.0]);
        assert_measured(&allowance, 0.015, [70.0, 8.0, 1.0]);
        assert_measured(&allowance, 0.1, [20.0, 3.0, 1.0]);
        let standard = Promise::Rates(Allowance::new(1.5, 0.005).unwrap());
        assert!((prove(&standard, 0.003, 50.0) - 10.0).abs() < 2.0);
    }

    #[test]
    fn minutes_to_prove_health_on_latency_are_as_measured() {
        assert_measured(&Promise::Odds(psi(1.5)), 0.05, [41.0, 5.0, 1.0]);
        assert_measured(&Promise::Odds(psi(2.0)), 0.01, [56.0, 7.0, 1.0]);
        assert_measured(&Promise::Odds(psi(1.5)), 0.01, [177.0, 20.0, 3.0]);
    }

    #[test]
    fn a_class_must_be_proven_in_both_directions() {
        let both = Promise::OddsBothWays(psi(1.5));
        for p in [0.05, 0.3, 0.5, 0.9] {
            let up = prove(&Promise::Odds(psi(1.5)), p, 50.0);
            assert!(prove(&both, p, 50.0) >= up);
            assert!((prove(&both, p, 50.0) - prove(&both, 1.0 - p, 50.0)).abs() < 1e-6);
        }
    }

    #[test]
    fn with_one_arm_only_or_no_margin_nothing_is_ever_proven() {
        let allowance = Promise::Rates(Allowance::new(1.5, 0.005).unwrap());
        let beta = Rate::percent_const(5.0);
        let at = |promise, share, samples| {
            minutes_to_prove(promise, rate(0.01), share, samples, beta, DesignEffect::NONE)
        };
        assert_eq!(at(&allowance, Share::FULL, 3000.0), None);
        assert_eq!(at(&allowance, Share::ZERO, 0.0), None);
        let none = Promise::Rates(Allowance::new(1.0, 0.0).unwrap());
        assert_eq!(at(&none, Share::from_percent(50.0).unwrap(), 3000.0).and_then(whole), None);
    }

    fn errors(p: f64, tolerated: f64) -> Comparison {
        Comparison {
            check: "errors".into(),
            part: None,
            rate: rate(p),
            samples_per_request: 1.0,
            promise: None,
            optional: false,
            tolerated: psi(tolerated),
            ignore_below: Some(rate(0.001)),
            abort_above: Some((rate(0.1), true)),
            weight: 1.0,
        }
    }

    fn at_5_percent(rules: &Rules) -> Place<'_> {
        Place {
            rules,
            share: Share::from_percent(5.0).unwrap(),
            requests_per_minute: 150.0,
            effect: DesignEffect::NONE,
            delay_minutes: 2,
        }
    }

    fn minutes(comparison: &Comparison, bad: &str, at: Place<'_>) -> u64 {
        match comparison.drain(bad.parse().unwrap(), at) {
            Outcome::Drained { minutes, .. } => minutes,
            never => panic!("{never:?}"),
        }
    }

    #[test]
    fn the_bound_of_the_incident_is_a_minute_and_a_third() {
        let information = harm_information(rate(0.021), rate(0.003), OddsRatio::ONE, FIVE).unwrap();
        let bound = 100.0_f64.ln() / information / 150.0;
        assert!((1.3..1.5).contains(&bound), "{bound}");
    }

    #[test]
    fn minutes_to_drain_are_as_measured() {
        let rules = Rules::default();
        let at = at_5_percent(&rules);
        // 0.3 to 2.1 %: 5 minutes with the defaults, 3 with neither margin nor cap.
        assert!((5..=6).contains(&minutes(&errors(0.003, 1.25), "+1.8%", at)));
        let uncapped = Rules { convict_minutes: 1, ..Rules::default() };
        assert_eq!(minutes(&errors(0.003, 1.0), "+1.8%", at_5_percent(&uncapped)), 3);
        // 1 to 1.5 %: 183 minutes, and 41 without a margin.
        let close = |m: u64, measured: f64| (m as f64 - measured).abs() < 0.3 * measured;
        assert!(close(minutes(&errors(0.01, 1.25), "+0.5%", at), 183.0));
        assert!(close(minutes(&errors(0.01, 1.0), "+0.5%", at), 41.0));
    }

    #[test]
    fn no_canary_is_convicted_in_fewer_minutes_than_the_plan_asks_for() {
        let rules = Rules { convict_minutes: 7, ..Rules::default() };
        let flood = Place { requests_per_minute: 1e7, ..at_5_percent(&rules) };
        assert!(minutes(&errors(0.003, 1.25), "+2%", flood) >= 7);
        let at_once = Rules { convict_minutes: 1, ..Rules::default() };
        let flood = Place { requests_per_minute: 1e7, ..at_5_percent(&at_once) };
        assert_eq!(minutes(&errors(0.003, 1.25), "+2%", flood), 1);
    }

    #[test]
    fn the_immediate_trigger_needs_no_three_minutes() {
        let rules = Rules::default();
        let at = at_5_percent(&rules);
        assert_eq!(minutes(&errors(0.003, 1.25), "+30%", at), 1);
        let without = Comparison { abort_above: None, ..errors(0.003, 1.25) };
        assert!(minutes(&without, "+30%", at) >= 3);
    }

    #[test]
    fn what_the_plan_tolerates_is_never_drained_and_the_reason_is_told() {
        let rules = Rules::default();
        let at = at_5_percent(&rules);
        let why = |comparison: &Comparison, bad: &str| match comparison.drain(bad.parse().unwrap(), at) {
            Outcome::Never { never } => never,
            drained => panic!("{drained:?}"),
        };
        assert_eq!(why(&errors(0.003, 1.25), "1.2x"), Never::WithinTolerate);
        assert_eq!(why(&errors(0.003, 1.25), "1.3x"), Never::TooNearTheMargin);
        assert_eq!(why(&errors(0.0003, 1.25), "3x"), Never::BelowIgnore);
        assert_eq!(why(&errors(0.5, 1.25), "+60%"), Never::NoSuchRate);
    }

    #[test]
    fn bad_requests_are_counted_until_the_delayed_data_are_there() {
        let rules = Rules::default();
        let at = at_5_percent(&rules);
        let Outcome::Drained { minutes, excess_bad } =
            errors(0.003, 1.25).drain("+1.8%".parse().unwrap(), at)
        else {
            panic!("not drained")
        };
        assert!((excess_bad - 150.0 * 0.018 * (minutes + 2) as f64).abs() < 1e-9);
    }

    #[test]
    fn more_traffic_a_larger_fault_and_less_noise_never_take_longer() {
        let rules = Rules::default();
        let errors = errors(0.01, 1.25);
        let sizes = ["1.5x", "2x", "3x", "10x"];
        let table = |factor: f64, effect: f64| {
            let effect = DesignEffect::new(effect).unwrap();
            let at = Place { requests_per_minute: 15.0 * factor, effect, ..at_5_percent(&rules) };
            sizes.map(|bad| minutes(&errors, bad, at))
        };
        let mut before = table(1.0, 1.0);
        assert!(table(1.0, 10.0).iter().zip(before).all(|(sticky, plain)| *sticky > plain));
        for factor in [2.0, 5.0, 20.0, 100.0, 10_000.0] {
            let now = table(factor, 1.0);
            assert!(now.is_sorted_by(|smaller, larger| larger <= smaller), "{now:?}");
            assert!(now.iter().zip(before).all(|(now, before)| *now <= before), "{now:?} {before:?}");
            before = now;
        }
    }

    #[test]
    fn what_is_cut_off_at_the_cap_agrees_with_a_sum() {
        for (mean, deviation, cap) in [(2.9, 3.1, 2.3), (0.3, 1.0, 2.3), (40.0, 9.0, 2.3), (0.01, 0.1, 2.3)] {
            let steps = 40_000;
            let sum: f64 = (0..steps)
                .map(|at| {
                    let z = -10.0 + 20.0 * (f64::from(at) + 0.5) / f64::from(steps);
                    let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
                    (mean + deviation * z).min(cap) * density * 20.0 / f64::from(steps)
                })
                .sum();
            assert!((capped_mean(mean, deviation, cap) - sum).abs() < 1e-6, "{mean} {deviation}");
        }
    }

    #[test]
    fn a_tolerance_is_the_larger_of_both_and_may_be_everything() {
        let of = |times: Times, points: f64, p: f64| tolerated_odds(times.ratio(), points, rate(p));
        let times = Times::constant(1.25);
        assert_eq!(of(times, 0.0, 0.01).get(), 1.25);
        assert!((of(times, 0.01, 0.01).get() - (0.02 / 0.98) / (0.01 / 0.99)).abs() < 1e-12);
        assert_eq!(of(times, 0.6, 0.5).get(), ODDS_RATIO_MAX);
    }
}
