//! Bad requests of one arm against a fixed limit.
//!
//! Bernoulli likelihood ratios against `p <= p_max`, at alternatives whose odds are fixed
//! multiples of the limit's (Wald 1945, section 5.1). In terms of the multiple `g` both rates
//! cancel, so that nothing is lost near 0 or 1:
//!
//! ```text
//! p_k / (1 - p_k) = g_k p_max / (1 - p_max)
//! l_k = x ln(p_k/p_max) + (n-x) ln((1-p_k)/(1-p_max)) = x ln g_k - n ln(1 + (g_k - 1) p_max)
//! ```

use super::error::{StatsError, exact, in_range};
use super::table::Arm;

/// Odds of the alternatives as multiples of the limit's odds.
///
/// They end at 5, where a limit's breach is no longer a question of detection: each bad request
/// then counts `ln 5` nats. Mixed with equal weights.
pub const LIMIT_MULTIPLIERS: [f64; 5] = [1.25, 1.5, 2.0, 3.0, 5.0];

/// A limit on the rate of bad requests, and `K` alternatives above it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit<const K: usize> {
    ln_odds_growth: [f64; K],
    cost: [f64; K],
}

impl RateLimit<5> {
    /// The null `p <= p_max` with the standard alternatives, [`LIMIT_MULTIPLIERS`].
    ///
    /// `p_max = 1` is a limit that nothing can break: the evidence is never positive. At
    /// `p_max = 0`, where a single bad request would be proof, the limit of the formula for small
    /// `p_max` is kept: `ln g_k` nats for each, which is valid and errs on the cautious side.
    ///
    /// # Errors
    /// When `p_max` is not in 0..=1.
    pub fn at_most(p_max: f64) -> Result<Self, StatsError> {
        Self::with_multipliers(p_max, LIMIT_MULTIPLIERS)
    }
}

impl<const K: usize> RateLimit<K> {
    /// The null `p <= p_max` with alternatives of the given multiples of its odds.
    ///
    /// # Errors
    /// When `p_max` is not in 0..=1, or a multiplier is not above 1.
    pub fn with_multipliers(p_max: f64, multipliers: [f64; K]) -> Result<Self, StatsError> {
        in_range("limit of a rate", p_max, 0.0, 1.0)?;
        for multiplier in multipliers {
            in_range("multiplier of the odds", multiplier, 1.0 + f64::EPSILON, 1e6)?;
        }
        Ok(Self {
            ln_odds_growth: multipliers.map(f64::ln),
            cost: multipliers.map(|g| ((g - 1.0) * p_max).ln_1p()),
        })
    }

    /// Log likelihood ratio of each alternative against the limit.
    ///
    /// ```text
    /// l_k = x ln g_k - n ln(1 + (g_k - 1) p_max)
    /// ```
    ///
    /// In nats; exactly 0 without requests. `exp(l_k)` has expectation 1 at `p = p_max` and at
    /// most 1 below it, also when the requests of the minute have different rates that are all
    /// within the limit.
    #[must_use]
    pub fn ln_likelihood_ratios(&self, arm: Arm) -> [f64; K] {
        let (bad, total) = (exact(arm.bad()), exact(arm.total()));
        std::array::from_fn(|k| bad * self.ln_odds_growth[k] - total * self.cost[k])
    }
}

#[cfg(test)]
mod tests {
    use super::super::factorial::ln_binomial;
    use super::*;
    use crate::stats::combine::mean;
    use crate::stats::oracle::{self, assert_close};

    fn ratios(p_max: f64, bad: u64, total: u64) -> [f64; 5] {
        RateLimit::at_most(p_max).unwrap().ln_likelihood_ratios(Arm::new(bad, total).unwrap())
    }

    #[test]
    fn ratios_agree_with_50_digits_at_limits_next_to_zero_and_one() {
        let tables = oracle::tables();
        for case in tables["one_sample"].as_array().unwrap() {
            let (bad, total) = (oracle::count(&case["bad"]), oracle::count(&case["total"]));
            let got = ratios(case["p_max"].as_f64().unwrap(), bad, total);
            for (got, want) in got.into_iter().zip(oracle::numbers(&case["ln_lr"])) {
                let floor = 1e-15 * (1.0 + exact(total));
                assert_close(got, want, 1e-13, floor, case);
            }
        }
    }

    #[test]
    fn the_expected_ratio_is_one_at_the_limit_and_less_below_it() {
        for p_max in [0.001, 0.1, 0.9] {
            for p in [0.5 * p_max, p_max] {
                let mut expected = [0.0; 5];
                for x in 0..=20 {
                    let weight = ln_binomial(x, 20, p, 1.0 - p);
                    for (sum, l) in expected.iter_mut().zip(ratios(p_max, x, 20)) {
                        *sum += (weight + l).exp();
                    }
                }
                for e in expected {
                    assert!(e <= 1.0 + 1e-12, "{p_max} {p}: {e}");
                    assert!(p < p_max || e >= 1.0 - 1e-12, "{p_max} {p}: {e}");
                }
            }
        }
    }

    #[test]
    fn a_limit_of_one_is_never_broken() {
        assert!(ratios(1.0, 50, 50).into_iter().all(|l| l.abs() < 1e-13));
        assert!(ratios(1.0, 49, 50).into_iter().all(|l| l < 0.0));
    }

    #[test]
    fn a_limit_of_zero_counts_each_bad_request_and_no_good_one() {
        assert_eq!(ratios(0.0, 0, 1_000_000), [0.0; 5]);
        assert!((ratios(0.0, 3, 1_000)[4] - 3.0 * 5f64.ln()).abs() < 1e-14);
    }

    #[test]
    fn at_ten_percent_five_of_five_are_too_few_and_twenty_of_twenty_are_not() {
        // One minute, half of the capital staked, level 0.1 %.
        let evidence = |bad, total| 0.5 + 0.5 * mean(ratios(0.1, bad, total).into_iter().map(f64::exp));
        assert!(evidence(5, 5) < 1000.0);
        assert!(evidence(20, 20) >= 1000.0);
        assert!(evidence(45, 150) >= 1000.0);
        assert!(evidence(15, 150) < 1.0);
    }

    #[test]
    fn limits_and_multipliers_out_of_range_are_refused() {
        for p_max in [-0.1, 1.1, f64::NAN] {
            assert!(RateLimit::at_most(p_max).is_err());
        }
        assert!(RateLimit::with_multipliers(0.1, [1.0]).is_err());
    }
}
