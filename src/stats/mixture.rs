//! The restarted mixture e-process: evidence that may be looked at after every minute.
//!
//! A product of likelihood ratios against a null is a nonnegative supermartingale under it, so it
//! ever reaches `1/alpha` with probability `alpha` at most, at any number of looks (Ville 1939;
//! Wald 1945). One product alone has a flaw: an hour of good behaviour drives it down to e^-100,
//! and an arm that then breaks must first earn all of that back. Hence the capital of 1 is not
//! staked at once. Some of it is kept as cash and released bit by bit, each bit starting a new
//! product; the sum of all is still an e-process (Shin, Ramdas and Rinaldo 2023, "E-detectors").
//!
//! ```text
//! cash_0 = 1,  F_k,0 = 0
//! r_t    = released fraction * cash_{t-1},   cash_t = cash_{t-1} - r_t
//! F_k,t  = (F_k,{t-1} + r_t / K) * exp(min(l_k,t, cap))
//! E_t    = cash_t + sum_k F_k,t
//! ```
//!
//! Nothing of it needs logs. Cash loses 1/240 a minute, so that it cannot vanish within a rollout,
//! and a stake that is tiny beside the cash does not matter. Three bounds keep every number normal
//! for ever. The upper ones only claim less than was won:
//!
//! - a stake stops at [`STAKE_MAX`], beyond any threshold;
//! - one minute multiplies a stake by e^690 at most, and by e^-500 at least. The latter adds e^-500
//!   to the expectation of a factor that may be 1;
//! - cash stops at [`CASH_MIN`], after a month of minutes. What is staked from then on adds up to
//!   less than 1e-70 of the capital in a million years.
//!
//! The lower ones weaken the bound on the false alarm rate by less than rounding does.

use super::design_effect::DesignEffect;
use super::error::{StatsError, in_range, open_unit};
use super::lanes;

/// What a stake can hold at most, about e^690: sums stay finite.
pub const STAKE_MAX: f64 = 5e299;
/// What is kept in cash at least.
pub const CASH_MIN: f64 = 1e-80;
/// The least that one minute may add to the log of a stake, in nats. From [`CASH_MIN`] on, a stake
/// is then still a normal number, with which processors are fast.
const LN_FACTOR_MIN: f64 = -500.0;

/// Which part of the remaining cash is staked at the first judged minute.
///
/// Half: an arm that is bad from the start is then found one doubling later than without any
/// restarts.
pub const RELEASE_FIRST: f64 = 1.0 / 2.0;
/// Which part of the remaining cash is staked at the first minute of a later step, where a new
/// fault is most likely to show.
pub const RELEASE_NEW_STEP: f64 = 1.0 / 4.0;
/// Which part of the remaining cash is staked at any other minute: evenly over about four hours.
pub const RELEASE_LATER: f64 = 1.0 / 240.0;

/// What kind of minute is judged, which decides how much cash it releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The first judged minute.
    First,
    /// The first judged minute after a change that makes a fault more likely.
    NewStep,
    /// Any other minute.
    Later,
}

impl Release {
    /// The part of the remaining cash that is staked; dimensionless.
    #[must_use]
    pub const fn fraction(self) -> f64 {
        match self {
            Self::First => RELEASE_FIRST,
            Self::NewStep => RELEASE_NEW_STEP,
            Self::Later => RELEASE_LATER,
        }
    }
}

/// The most that one minute may add to the log evidence, so that a single burst cannot convict.
///
/// ```text
/// cap = ln(1/alpha) / (minutes - 1),   no cap for 1 minute
/// ```
///
/// In nats. Clipping a likelihood ratio from above keeps it an e-value. From fresh capital it
/// takes `minutes` minutes to reach `1/alpha`, since what is staked is less than 1.
///
/// # Errors
/// When `alpha` is not strictly between 0 and 1 or `minutes` is 0.
pub fn cap_for_minutes(alpha: f64, minutes: u32) -> Result<Option<f64>, StatsError> {
    let alpha = open_unit("alpha", alpha)?;
    in_range("minutes to convict", f64::from(minutes), 1.0, f64::from(u32::MAX))?;
    Ok((minutes > 1).then(|| -alpha.ln() / f64::from(minutes - 1)))
}

/// A restarted mixture e-process over `K` equally weighted alternatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RestartedMixture<const K: usize> {
    cash: f64,
    staked: [f64; K],
}

impl<const K: usize> Default for RestartedMixture<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const K: usize> RestartedMixture<K> {
    /// All capital in cash: `E = 1`.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(K > 0, "a mixture needs an alternative") };
        Self { cash: 1.0, staked: [0.0; K] }
    }

    /// Judges one minute: releases cash, then multiplies every stake by its likelihood ratio.
    ///
    /// ```text
    /// F_k <- (F_k + fraction * cash / K) exp(min(l_k, cap)),   cash <- (1 - fraction) cash
    /// ```
    ///
    /// `ln_lr` is one log likelihood ratio an alternative, in nats, summed over the strata of
    /// the minute and divided by the design effect. Minus infinity means that the alternative is
    /// impossible; it loses its stake, but for e^-500 of it.
    ///
    /// # Errors
    /// When a ratio is NaN or plus infinity, or the cap is negative or not finite. The state is
    /// then unchanged.
    pub fn step(&mut self, release: Release, ln_lr: &[f64; K], cap: Option<f64>) -> Result<(), StatsError> {
        if let Some(&value) = ln_lr.iter().find(|l| l.is_nan() || **l == f64::INFINITY) {
            return Err(StatsError::NotFinite { what: "log likelihood ratio", value });
        }
        let cap = match cap {
            Some(cap) => in_range("cap", cap, 0.0, f64::MAX)?,
            None => f64::INFINITY,
        };
        let released = release.fraction() * self.cash;
        let stake = released / Self::alternatives();
        for (staked, l) in self.staked.iter_mut().zip(ln_lr) {
            let l = if *l < cap { *l } else { cap };
            let l = if l > LN_FACTOR_MIN { l } else { LN_FACTOR_MIN };
            let grown = (*staked + stake) * lanes::exp(l);
            *staked = if grown < STAKE_MAX { grown } else { STAKE_MAX };
        }
        self.cash = (self.cash - released).max(CASH_MIN);
        Ok(())
    }

    /// [`step`](Self::step) with log likelihood ratios that are yet to be divided by the design
    /// effect.
    ///
    /// # Errors
    /// As of [`step`](Self::step).
    pub fn step_tempered(
        &mut self,
        release: Release,
        ln_lr: &[f64; K],
        effect: DesignEffect,
        cap: Option<f64>,
    ) -> Result<(), StatsError> {
        self.step(release, &effect.temper(*ln_lr), cap)
    }

    /// The e-process itself; at most `K` times [`STAKE_MAX`].
    ///
    /// ```text
    /// E = cash + sum_k F_k
    /// ```
    #[must_use]
    pub fn e(&self) -> f64 {
        self.cash + self.staked.iter().sum::<f64>()
    }

    /// Log of the e-process.
    ///
    /// ```text
    /// ln E = ln (cash + sum_k F_k)
    /// ```
    ///
    /// In nats. Reject at level `alpha` when it reaches `ln(1/alpha)`, at any minute.
    #[must_use]
    pub fn ln_e(&self) -> f64 {
        lanes::ln(self.e())
    }

    /// Log of what each alternative holds by now, in the order of the alternatives; the largest
    /// one names the size of effect that the evidence points to.
    #[must_use]
    pub fn ln_staked(&self) -> [f64; K] {
        self.staked.map(f64::ln)
    }

    /// Log of the capital that is not staked yet.
    #[must_use]
    pub fn ln_cash(&self) -> f64 {
        self.cash.ln()
    }

    #[allow(clippy::cast_precision_loss)] // a handful
    const fn alternatives() -> f64 {
        K as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::oracle::{self, assert_close, ln_sum_exp};
    use crate::stats::{Arm, Margins, OddsGrid, OddsRatio, Table};
    use proptest::prelude::*;
    use serde_json::Value;

    const LN_REL: f64 = 1e-12;

    fn release(value: &Value) -> Release {
        match value.as_str().unwrap() {
            "first" => Release::First,
            "new step" => Release::NewStep,
            "later" => Release::Later,
            other => panic!("unknown release {other}"),
        }
    }

    #[test]
    fn streams_agree_with_50_digits_after_every_minute() {
        let tables = oracle::tables();
        for stream in tables["mixture"].as_array().unwrap() {
            let mut process = RestartedMixture::<8>::new();
            let cap = stream["cap"].as_f64();
            for minute in stream["minutes"].as_array().unwrap() {
                let ratios: [f64; 8] = oracle::numbers(&minute["ln_lr"]).try_into().unwrap();
                process.step(release(&minute["release"]), &ratios, cap).unwrap();
                let want = oracle::number(&minute["ln_e"]);
                assert_close(process.ln_e(), want, LN_REL, LN_REL, minute);
            }
        }
    }

    #[test]
    fn without_restarts_the_evidence_is_the_mean_of_the_products() {
        // Cash that is nearly gone releases nearly nothing: forty first minutes empty it.
        let mut process = RestartedMixture::<2>::new();
        for _ in 0..40 {
            process.step(Release::First, &[0.0, 0.0], None).unwrap();
        }
        let stream = [[0.3, -0.2], [1.0, 2.0], [-0.5, 0.25]];
        for minute in &stream {
            process.step(Release::Later, minute, None).unwrap();
        }
        let product = |k: usize| stream.iter().map(|minute| minute[k]).sum::<f64>();
        let want = (0.5 * product(0).exp() + 0.5 * product(1).exp()).ln();
        assert!((process.ln_e() - want).abs() < 1e-10);
    }

    /// The same process in logs throughout, without any of the three bounds.
    struct InLogs {
        cash: f64,
        staked: [f64; 4],
    }

    impl InLogs {
        fn step(&mut self, release: Release, ln_lr: &[f64; 4]) {
            let released = self.cash + (release.fraction() / 4.0).ln();
            self.cash += (-release.fraction()).ln_1p();
            for (staked, l) in self.staked.iter_mut().zip(ln_lr) {
                *staked = ln_sum_exp(&[*staked, released]) + l;
            }
        }

        fn ln_e(&self) -> f64 {
            ln_sum_exp(&[self.cash, ln_sum_exp(&self.staked)])
        }
    }

    #[test]
    fn two_hundred_thousand_minutes_are_as_in_logs_wherever_it_matters() {
        let mut process = RestartedMixture::<4>::new();
        let mut in_logs = InLogs { cash: 0.0, staked: [f64::NEG_INFINITY; 4] };
        let mut draw = 1u64;
        let (mut compared, mut highest) = (0, 0.0f64);
        for t in 0..200_000u32 {
            // Long healthy stretches, and a fault of half an hour every four hours, now and then mended.
            let drift = if t % 240 < 30 { 0.4 } else { -0.1 };
            let ln_lr = [1.0, 2.0, 4.0, 8.0].map(|size| {
                draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let noise = f64::from((draw >> 32) as u32) / f64::from(u32::MAX) - 0.5;
                size * (drift + 0.2 * noise)
            });
            let release = if t == 0 { Release::First } else { Release::Later };
            process.step(release, &ln_lr, None).unwrap();
            in_logs.step(release, &ln_lr);
            let (got, want) = (process.ln_e(), in_logs.ln_e());
            assert!(got.is_finite() && process.staked.iter().all(|f| f.is_normal()));
            // Until the cash stops; then the new stakes are larger than they should be.
            if in_logs.cash > CASH_MIN.ln() {
                assert!((got - want).abs() < 1e-9, "{t}: {got} {want}");
                compared += 1;
            }
            assert!(got > want - 1e-9, "{t}: {got} {want}");
            highest = highest.max(want);
        }
        assert!(in_logs.cash < -800.0 && process.ln_cash() >= CASH_MIN.ln());
        assert!(compared > 40_000 && highest > 20.0, "{compared} {highest}");
    }

    #[test]
    fn extreme_and_endless_streams_stay_finite() {
        let mut process = RestartedMixture::<8>::new();
        for _ in 0..300_000 {
            process.step(Release::Later, &[-900.0; 8], None).unwrap();
            assert!(process.staked.iter().all(|f| f.is_normal()));
        }
        assert!((process.ln_cash() - CASH_MIN.ln()).abs() < 1e-12);
        assert!((process.ln_e() - process.ln_cash()).abs() < 1e-12);
        for _ in 0..2_000 {
            process.step(Release::Later, &[600.0; 8], None).unwrap();
        }
        assert!((process.ln_e() - (8.0 * STAKE_MAX).ln()).abs() < 1e-12);
    }

    #[test]
    fn a_stake_that_stopped_at_the_top_can_still_be_lost() {
        let mut process = RestartedMixture::<2>::new();
        for _ in 0..2 {
            process.step(Release::First, &[f64::MAX; 2], None).unwrap();
        }
        assert_eq!(process.staked, [STAKE_MAX; 2]);
        for _ in 0..3 {
            process.step(Release::Later, &[-400.0; 2], None).unwrap();
        }
        assert!(process.ln_e() < 0.0);
    }

    #[test]
    fn tempering_inside_the_step_is_tempering_before_it() {
        let effect = DesignEffect::new(3.0).unwrap();
        let mut inside = RestartedMixture::<2>::new();
        let mut before = inside;
        inside.step_tempered(Release::First, &[2.0, -1.0], effect, Some(0.5)).unwrap();
        before.step(Release::First, &[2.0 / 3.0, -1.0 / 3.0], Some(0.5)).unwrap();
        assert_eq!(inside, before);
    }

    #[test]
    fn an_impossible_alternative_loses_its_stake_and_the_cash_survives() {
        let mut process = RestartedMixture::<2>::new();
        process.step(Release::First, &[f64::NEG_INFINITY; 2], None).unwrap();
        assert!((process.ln_e() - 0.5f64.ln()).abs() < 1e-15);
        process.step(Release::NewStep, &[0.0, 0.0], None).unwrap();
        assert!((process.ln_e() - 0.5f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn a_minute_without_information_changes_no_evidence() {
        let mut process = RestartedMixture::<8>::new();
        for release in [Release::First, Release::Later, Release::NewStep] {
            process.step(release, &[0.0; 8], Some(1.0)).unwrap();
            assert!(process.ln_e().abs() < 1e-15);
        }
    }

    #[test]
    fn the_cap_makes_a_conviction_take_the_minutes_it_was_made_for() {
        for minutes in 2..6 {
            let cap = cap_for_minutes(0.01, minutes).unwrap();
            let mut process = RestartedMixture::<8>::new();
            let mut release = Release::First;
            for minute in 1..=minutes {
                assert!(process.ln_e() < 100f64.ln());
                process.step(release, &[1e9; 8], cap).unwrap();
                release = Release::Later;
                assert_eq!(process.ln_e() >= 100f64.ln(), minute == minutes);
            }
        }
    }

    #[test]
    fn one_minute_to_convict_means_no_cap_and_none_is_refused() {
        assert_eq!(cap_for_minutes(0.01, 1), Ok(None));
        assert_eq!(cap_for_minutes(0.01, 2), Ok(Some(-0.01f64.ln())));
        assert!(cap_for_minutes(0.01, 0).is_err());
        assert!(cap_for_minutes(1.0, 3).is_err());
        assert!(cap_for_minutes(f64::NAN, 3).is_err());
    }

    #[test]
    fn a_bad_number_changes_nothing() {
        let mut process = RestartedMixture::<2>::new();
        process.step(Release::First, &[0.5, 1.0], None).unwrap();
        let before = process;
        assert!(process.step(Release::Later, &[f64::NAN, 0.0], None).is_err());
        assert!(process.step(Release::Later, &[f64::INFINITY, 0.0], None).is_err());
        assert!(process.step(Release::Later, &[0.0; 2], Some(f64::NAN)).is_err());
        assert!(process.step(Release::Later, &[0.0; 2], Some(-1.0)).is_err());
        assert_eq!(process, before);
    }

    #[test]
    fn a_fault_after_an_hour_is_found_sooner_with_restarts() {
        let after = |restart: bool| {
            let mut process = RestartedMixture::<1>::new();
            if !restart {
                for _ in 0..40 {
                    process.step(Release::First, &[0.0], None).unwrap();
                }
            }
            process.step(Release::First, &[-0.2], None).unwrap();
            for _ in 0..60 {
                process.step(Release::Later, &[-0.2], None).unwrap();
            }
            let mut minutes = 0;
            while process.ln_e() < 100f64.ln() {
                process.step(Release::Later, &[2.0], None).unwrap();
                minutes += 1;
            }
            minutes
        };
        assert!(after(true) < after(false));
    }

    /// Walks every stream of `minutes` tables and sums the probability of those in which the
    /// process ever reaches `1/level`.
    fn chance_of_crossing(
        process: RestartedMixture<8>,
        minutes: u32,
        psi: OddsRatio,
        bar: f64,
        cap: Option<f64>,
    ) -> f64 {
        if process.ln_e() >= bar {
            return 1.0;
        }
        if minutes == 0 {
            return 0.0;
        }
        let (n1, n0, m) = [(2, 3, 2), (1, 4, 1), (3, 3, 3)][minutes as usize % 3];
        let margins = Margins::new(n1, n0, m).unwrap();
        let release = match minutes {
            6 => Release::First,
            3 => Release::NewStep,
            _ => Release::Later,
        };
        let grid = OddsGrid::above(OddsRatio::ONE).unwrap();
        let (low, high) = margins.support();
        let mut chance = 0.0;
        for x in low..=high {
            let first = Arm::new(x, n1).unwrap();
            let table = Table::new(first, Arm::new(m - x, n0).unwrap()).unwrap();
            let mut next = process;
            next.step(release, &table.ln_likelihood_ratios(&grid), cap).unwrap();
            let rest = chance_of_crossing(next, minutes - 1, psi, bar, cap);
            chance += margins.ln_pmf(x, psi).exp() * rest;
        }
        chance
    }

    #[test]
    fn the_chance_of_ever_crossing_is_within_the_level_for_every_stream_of_six_minutes() {
        for level in [0.5, 0.25, 0.1, 0.05] {
            for (psi, cap) in [(1.0, None), (0.7, None), (1.0, Some(0.8))] {
                let psi = OddsRatio::new(psi).unwrap();
                let bar = -f64::ln(level);
                let chance = chance_of_crossing(RestartedMixture::new(), 6, psi, bar, cap);
                assert!(chance <= level, "{level}: {chance}");
            }
        }
    }

    #[test]
    fn the_crossing_test_has_teeth() {
        let psi = OddsRatio::new(8.0).unwrap();
        let chance = chance_of_crossing(RestartedMixture::new(), 6, psi, 4f64.ln(), None);
        assert!(chance > 0.25, "{chance}");
    }

    proptest! {
        #[test]
        fn a_cap_never_adds_evidence(
            stream in prop::collection::vec(prop::array::uniform4(-5.0..5.0f64), 1..30),
            cap in 0.0..3.0f64,
        ) {
            let mut free = RestartedMixture::<4>::new();
            let mut capped = free;
            for minute in &stream {
                free.step(Release::Later, minute, None).unwrap();
                capped.step(Release::Later, minute, Some(cap)).unwrap();
                prop_assert!(capped.ln_e() <= free.ln_e() + 1e-12);
            }
        }

        #[test]
        fn the_order_of_the_alternatives_does_not_matter(
            stream in prop::collection::vec(prop::array::uniform4(-50.0..50.0f64), 1..30),
        ) {
            let mut forward = RestartedMixture::<4>::new();
            let mut backward = forward;
            for minute in &stream {
                let mut reversed = *minute;
                reversed.reverse();
                forward.step(Release::Later, minute, None).unwrap();
                backward.step(Release::Later, &reversed, None).unwrap();
            }
            let scale = 1.0 + forward.ln_e().abs();
            prop_assert!((forward.ln_e() - backward.ln_e()).abs() < LN_REL * scale);
        }
    }
}
