//! Whether requests arrive in the proportion that was asked for.
//!
//! A share that is off says that weights were not applied, that clients stick to an arm, or that
//! hosts drop out: the arms may then differ in who they serve, not only in version (Fabijan et
//! al. 2019, "Diagnosing sample ratio mismatch"). As it is looked at every minute, the usual
//! chi-square test is replaced by an e-process: a mixture over all shares against the share of
//! the tolerated interval that fits best so far.
//!
//! ```text
//! E = integral_0^1 b(n1; N, s) ds / max_{low <= s <= high} b(n1; N, s) = 1 / ((N + 1) b(n1; N, s^))
//! s^ = n1/N moved into [low, high]
//! ```
//!
//! The numerator is the Bayes-Laplace mixture (Robbins 1970); a maximum in the denominator can
//! only be larger than the true share's probability, so E is at most the likelihood ratio of a
//! fixed mixture against the truth, which is a martingale ("universal inference", Wasserman,
//! Ramdas and Balakrishnan 2020; for sample ratios Lindon and Malek 2022). Two-sided, and a
//! function of the totals alone: nothing needs to be carried along.

use super::error::{StatsError, exact, in_range, open_unit, sum_of_counts};
use super::factorial::ln_binomial;

/// The shares of traffic that count as "as asked for".
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShareInterval {
    low: f64,
    high: f64,
}

impl ShareInterval {
    /// All shares within `deviation` of `share`, relative to the smaller of the two arms.
    ///
    /// ```text
    /// share -+ deviation * min(share, 1 - share)
    /// ```
    ///
    /// Relative to the smaller arm, so that 95 % against 5 % is watched as closely as 5 % against
    /// 95 %. `share` is the first arm's part of all requests; 0 and 1 leave nothing to compare.
    ///
    /// # Errors
    /// When `share` is not strictly between 0 and 1 or `deviation` is not in 0..=0.99.
    pub fn around(share: f64, deviation: f64) -> Result<Self, StatsError> {
        let share = open_unit("share", share)?;
        let slack = in_range("relative deviation", deviation, 0.0, 0.99)? * share.min(1.0 - share);
        Ok(Self { low: share - slack, high: share + slack })
    }

    /// Log e-process against "the share is in the interval", from all requests of both arms
    /// since the share was last changed.
    ///
    /// ```text
    /// ln E = -ln(N + 1) - ln b(n1; N, s^)
    /// ```
    ///
    /// In nats; 0 without requests.
    ///
    /// # Errors
    /// When the requests of both arms exceed [`COUNT_MAX`](super::COUNT_MAX).
    pub fn ln_e(&self, n1: u64, n0: u64) -> Result<f64, StatsError> {
        let whole = sum_of_counts("requests of both arms", n1, n0)?;
        if whole == 0 {
            return Ok(0.0);
        }
        let share = (exact(n1) / exact(whole)).clamp(self.low, self.high);
        Ok(-exact(whole).ln_1p() - ln_binomial(n1, whole, share, 1.0 - share))
    }

    /// Smallest and largest share that count as asked for.
    #[must_use]
    pub const fn bounds(&self) -> (f64, f64) {
        (self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::oracle::{self, assert_close};

    #[test]
    fn evidence_agrees_with_50_digits() {
        let tables = oracle::tables();
        for case in tables["sample_ratio"].as_array().unwrap() {
            let [share, deviation] = ["share", "deviation"].map(|name| oracle::number(&case[name]));
            let interval = ShareInterval::around(share, deviation).unwrap();
            let [n1, n0] = ["n1", "n0"].map(|name| oracle::count(&case[name]));
            let got = interval.ln_e(n1, n0).unwrap();
            assert_close(got, oracle::number(&case["ln_e"]), 1e-11, 1e-12, case);
        }
    }

    #[test]
    fn the_expectation_is_at_most_one_at_every_share_of_the_interval() {
        let interval = ShareInterval::around(0.25, 0.2).unwrap();
        for share in [0.2, 0.23, 0.25, 0.3] {
            let e: f64 = (0..=40)
                .map(|n1| ln_binomial(n1, 40, share, 1.0 - share) + interval.ln_e(n1, 40 - n1).unwrap())
                .map(f64::exp)
                .sum();
            assert!(e <= 1.0 + 1e-12, "{share}: {e}");
        }
    }

    /// Chance of ever reaching `bar` within `left` more requests, one look a request.
    fn chance(interval: &ShareInterval, (n1, n0): (u64, u64), left: u64, share: f64, bar: f64) -> f64 {
        if interval.ln_e(n1, n0).unwrap() >= bar {
            return 1.0;
        }
        if left == 0 {
            return 0.0;
        }
        share * chance(interval, (n1 + 1, n0), left - 1, share, bar)
            + (1.0 - share) * chance(interval, (n1, n0 + 1), left - 1, share, bar)
    }

    #[test]
    fn the_chance_of_ever_crossing_is_within_the_level_at_the_ends_of_the_interval() {
        let interval = ShareInterval::around(0.5, 0.2).unwrap();
        for share in [0.4, 0.6] {
            for level in [0.5, 0.2, 0.1] {
                let crossed = chance(&interval, (0, 0), 14, share, -f64::ln(level));
                assert!(crossed <= level, "{share} {level}: {crossed}");
            }
        }
    }

    #[test]
    fn weights_that_were_not_applied_are_seen_within_a_minute_and_the_right_share_never() {
        let interval = ShareInterval::around(0.05, 0.2).unwrap();
        assert!(interval.ln_e(300, 2_700).unwrap() > 1000f64.ln());
        assert!(interval.ln_e(0, 3_000).unwrap() > 1000f64.ln());
        assert!(interval.ln_e(150, 2_850).unwrap() < 0.0);
        assert!(interval.ln_e(150_000, 2_850_000).unwrap() < 0.0);
    }

    #[test]
    fn a_starved_large_arm_is_seen_as_well_as_a_starved_small_one() {
        let small = ShareInterval::around(0.05, 0.2).unwrap();
        let large = ShareInterval::around(0.95, 0.2).unwrap();
        let (a, b) = (small.ln_e(9, 991).unwrap(), large.ln_e(991, 9).unwrap());
        assert!((a - b).abs() < 1e-9 && a > 0.0);
    }

    #[test]
    fn no_requests_say_nothing_and_shares_without_a_second_arm_are_refused() {
        let interval = ShareInterval::around(0.5, 0.2).unwrap();
        assert_eq!(interval.ln_e(0, 0), Ok(0.0));
        assert!(interval.ln_e(u64::MAX, 1).is_err());
        for share in [0.0, 1.0, f64::NAN] {
            assert!(ShareInterval::around(share, 0.2).is_err());
        }
        assert!(ShareInterval::around(0.5, 1.0).is_err());
    }
}
