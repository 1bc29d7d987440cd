//! Evidence about rates of both arms at once: promotion on errors, and absolute tolerances.
//!
//! An odds ratio is the wrong measure for "half a point more errors is fine", and where requests
//! of one minute differ in risk it overstates how close two arms are. Here the null is a half
//! plane of rate pairs, or the intersection of two, hence convex. Evidence is the likelihood
//! ratio of Poisson counts between an alternative pair `(a1, a0)`, fixed before the minute, and
//! the pair `(q1, q0)` of the null that is nearest to it:
//!
//! ```text
//! (q1, q0) = argmin over the null of n1 D(a1, q1) + n0 D(a0, q0),    D(a, q) = a ln(a/q) - a + q
//! ln e     = x1 ln(a1/q1) + x0 ln(a0/q0) + n1 (q1 - a1) + n0 (q0 - a0)
//! ```
//!
//! This is the reverse information projection (Csiszar and Matus 2003; Gruenwald, de Heide and
//! Koolen 2024, "Safe testing"), and `e` is an e-value. For Poisson counts with rates `(p1, p0)`,
//!
//! ```text
//! ln E[e] = n1 (a1/q1 - 1)(p1 - q1) + n0 (a0/q0 - 1)(p0 - q0)
//! ```
//!
//! which is minus the slope of the projected distance from `(q1, q0)` towards `(p1, p0)`, and a
//! minimum over a convex set has no downward slope: `E[e] <= 1` on the whole null. For requests
//! that fail independently, with whatever rates average to `p`, the expectation is lower still:
//! `E r^x = prod (1 + p_i (r-1)) <= exp(n p (r-1))`.

use super::error::{StatsError, exact, in_range, open_unit};
use super::lanes;
use super::table::{Arm, Table};

/// A rate that was learnt from counts of the past, strictly between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearntRate(f64);

impl LearntRate {
    /// The rate that past counts suggest.
    ///
    /// ```text
    /// p = (bad + 1/2) / (total + 1)
    /// ```
    ///
    /// Bad requests per request. The half request keeps it off 0 and 1 (Krichevsky and Trofimov
    /// 1981). Any rate is valid as long as it was fixed before the minute it is used for.
    #[must_use]
    pub fn from_past(past: Arm) -> Self {
        Self((exact(past.bad()) + 0.5) / (exact(past.total()) + 1.0))
    }

    /// A rate that is known from elsewhere.
    ///
    /// # Errors
    /// When `rate` is not strictly between 0 and 1.
    pub fn new(rate: f64) -> Result<Self, StatsError> {
        open_unit("rate", rate).map(Self)
    }

    /// Bad requests per request.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// Rates of both arms, in bad requests per request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    pub(super) first: f64,
    pub(super) second: f64,
}

/// Requests of both arms; only their proportion matters to a projection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights {
    pub(super) first: f64,
    pub(super) second: f64,
}

/// How much worse than the reference the arm under test may be and still be called healthy.
///
/// The null of "worse than allowed" is `p1 >= ratio * p0` and `p1 >= p0 + difference`: the larger
/// allowance counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowance {
    ratio: f64,
    difference: f64,
}

impl Allowance {
    /// An allowance of `ratio` times the reference rate or `difference` above it. A ratio of 1
    /// or a difference of 0 stands for "not given"; with neither, nothing is ever healthy.
    ///
    /// # Errors
    /// When `ratio` is not in 1..=1000 or `difference` not in 0..=1.
    pub fn new(ratio: f64, difference: f64) -> Result<Self, StatsError> {
        Ok(Self {
            ratio: in_range("allowed ratio", ratio, 1.0, 1000.0)?,
            difference: in_range("allowed difference", difference, 0.0, 1.0)?,
        })
    }

    /// Log e-value that the arm under test is within the allowance, against the null that it is
    /// worse than allowed; the alternative is that both arms have the learnt rate `p`.
    ///
    /// ```text
    /// ln e = x1 ln(p/q1) + x0 ln(p/q0) + n1 (q1 - p) + n0 (q0 - p)
    /// ```
    ///
    /// In nats. 0 without requests in the first arm. Without requests in the second, the first
    /// arm alone can still show that it is below `difference`.
    #[must_use]
    pub fn ln_e(&self, table: Table, rate: LearntRate) -> f64 {
        let equal = Rates { first: rate.0, second: rate.0 };
        ln_e(table, equal, |weights| self.project(rate.0, weights))
    }

    /// The pair of rates in the null that is nearest to `(rate, rate)`: nearest under the ratio
    /// if that one satisfies the difference, nearest under the difference if that one satisfies
    /// the ratio, else the corner where both are exhausted.
    ///
    /// ```text
    /// ratio:   q0 = p (n1 + n0) / (n0 + ratio n1),  q1 = ratio q0
    /// corner:  q0 = difference / (ratio - 1),       q1 = ratio q0
    /// ```
    pub(super) fn project(&self, rate: f64, weights: Weights) -> Rates {
        let whole = weights.first + weights.second;
        let by_ratio = rate * whole / (weights.second + self.ratio * weights.first);
        if (self.ratio - 1.0) * by_ratio >= self.difference {
            return self.times_ratio(by_ratio);
        }
        let equal = Rates { first: rate, second: rate };
        let by_difference = nearest_at_difference(equal, weights, self.difference);
        if (self.ratio - 1.0) * by_difference.second <= self.difference {
            return by_difference;
        }
        self.times_ratio(self.difference / (self.ratio - 1.0))
    }

    fn times_ratio(&self, second: f64) -> Rates {
        Rates { first: self.ratio * second, second }
    }
}

/// The null `p1 <= p0 + difference` with `K` alternatives above it: the tolerance of harm as an
/// absolute difference of rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExcessGrid<const K: usize> {
    difference: f64,
    multipliers: [f64; K],
}

impl<const K: usize> ExcessGrid<K> {
    /// A tolerated difference, and the alternatives as multiples of the tolerated odds.
    ///
    /// # Errors
    /// When `difference` is not in 0..=1 or a multiplier is not above 1.
    pub fn new(difference: f64, multipliers: [f64; K]) -> Result<Self, StatsError> {
        in_range("tolerated difference", difference, 0.0, 1.0)?;
        for multiplier in multipliers {
            in_range("multiplier of the odds", multiplier, 1.0 + f64::EPSILON, 1e6)?;
        }
        Ok(Self { difference, multipliers })
    }

    /// Log e-value of each alternative against `p1 <= p0 + difference`.
    ///
    /// ```text
    /// a0 = p,   odds(a1_k) = g_k odds(p + d)
    /// l_k = x1 ln(a1_k/q1) + x0 ln(p/q0) + n1 (q1 - a1_k) + n0 (q0 - p)
    /// ```
    ///
    /// In nats, `(q1, q0)` the projection of `(a1_k, p)` on `q1 = q0 + d`. 0 when an arm has no
    /// request, or when `p + d >= 1`, where no rate is intolerable.
    #[must_use]
    pub fn ln_e(&self, table: Table, rate: LearntRate) -> [f64; K] {
        let tolerated = rate.0 + self.difference;
        if table.first().total() == 0 || table.second().total() == 0 || tolerated >= 1.0 {
            return [0.0; K];
        }
        let (n1, n0, _) = table.margins_f64();
        let (x1, x0) = (exact(table.first().bad()), exact(table.second().bad()));
        let weights = Weights { first: n1, second: n0 };
        let mut ln_e = self.multipliers;
        for g in &mut ln_e {
            let a = Rates { first: *g * tolerated / (1.0 + (*g - 1.0) * tolerated), second: rate.0 };
            let q = nearest_at_difference(a, weights, self.difference);
            let likelihood = x1 * lanes::ln(a.first / q.first) + x0 * lanes::ln(a.second / q.second);
            *g = likelihood + n1 * (q.first - a.first) + n0 * (q.second - a.second);
        }
        ln_e
    }
}

/// Log likelihood ratio of Poisson counts between an alternative and its projection.
fn ln_e(table: Table, alternative: Rates, project: impl FnOnce(Weights) -> Rates) -> f64 {
    let (n1, n0, _) = table.margins_f64();
    if n1 == 0.0 {
        return 0.0;
    }
    let null = project(Weights { first: n1, second: n0 });
    arm_ln_e(table.first(), alternative.first, null.first)
        + arm_ln_e(table.second(), alternative.second, null.second)
}

/// One arm's part of the log likelihood ratio; 0 without requests, whatever the rates are.
fn arm_ln_e(arm: Arm, alternative: f64, null: f64) -> f64 {
    if arm.total() == 0 {
        return 0.0;
    }
    exact(arm.bad()) * (alternative / null).ln() + exact(arm.total()) * (null - alternative)
}

/// The pair with `q1 = q0 + d` that is nearest to `(a1, a0)`.
///
/// ```text
/// n1 (1 - a1/(q0+d)) + n0 (1 - a0/q0) = 0
/// q0^2 + (d - mean) q0 - s d a0 = 0,   mean = (n1 a1 + n0 a0)/(n1 + n0),   s = n0/(n1 + n0)
/// ```
///
/// Of the two roots the one that is not negative, in the form that does not cancel.
#[inline]
fn nearest_at_difference(a: Rates, weights: Weights, d: f64) -> Rates {
    let whole = weights.first + weights.second;
    let share = weights.second / whole;
    let mean = (weights.first / whole) * a.first + share * a.second;
    let linear = d - mean;
    let product = share * d * a.second;
    let root = (linear * linear + 4.0 * product).sqrt();
    // Both, so that there is no branch in the way of doing several pairs at once.
    let (small, large) = (2.0 * product / (linear.abs() + root), 0.5 * (root + linear.abs()));
    let second = if linear <= 0.0 { large } else { small };
    Rates { first: second + d, second }
}

#[cfg(test)]
mod tests {
    use super::super::factorial::{deviance, ln_binomial, stirling_rest};
    use super::*;
    use crate::stats::ALTERNATIVE_MULTIPLIERS;
    use crate::stats::oracle::{self, assert_close};
    use proptest::prelude::*;

    const LN_E_REL: f64 = 1e-11;

    fn table(x1: u64, n1: u64, x0: u64, n0: u64) -> Table {
        Table::new(Arm::new(x1, n1).unwrap(), Arm::new(x0, n0).unwrap()).unwrap()
    }

    fn poisson(x: u64, mean: f64) -> f64 {
        (-stirling_rest(exact(x)) - deviance(exact(x), mean)).exp()
    }

    fn binomial(x: u64, n: u64, p: f64) -> f64 {
        ln_binomial(x, n, p, 1.0 - p).exp()
    }

    /// Exact expectation of `exp(ln e)` over the counts of both arms.
    fn expectation(
        (n1, n0): (u64, u64),
        chance: impl Fn(u64, u64, f64) -> f64,
        (p1, p0): (f64, f64),
        ln_e: impl Fn(Table) -> f64,
    ) -> f64 {
        let mut sum = 0.0;
        for x1 in 0..=n1 {
            for x0 in 0..=n0 {
                let weight = chance(x1, n1, p1) * chance(x0, n0, p0);
                sum += weight * ln_e(table(x1, n1, x0, n0)).exp();
            }
        }
        sum
    }

    #[test]
    fn projections_agree_with_a_numerical_minimum_at_50_digits() {
        let tables = oracle::tables();
        for case in tables["projection"].as_array().unwrap() {
            let [ratio, difference, rate, n1, n0] =
                ["ratio", "difference", "rate", "n1", "n0"].map(|name| oracle::number(&case[name]));
            let q =
                Allowance::new(ratio, difference).unwrap().project(rate, Weights { first: n1, second: n0 });
            assert_close(q.first, oracle::number(&case["q1"]), 1e-13, 0.0, case);
            assert_close(q.second, oracle::number(&case["q0"]), 1e-13, 1e-300, case);
        }
    }

    #[test]
    fn health_evidence_agrees_with_50_digits() {
        let tables = oracle::tables();
        for case in tables["health"].as_array().unwrap() {
            let [ratio, difference, rate] =
                ["ratio", "difference", "rate"].map(|name| oracle::number(&case[name]));
            let [x1, n1, x0, n0] = ["x1", "n1", "x0", "n0"].map(|name| oracle::count(&case[name]));
            let allowance = Allowance::new(ratio, difference).unwrap();
            let got = allowance.ln_e(table(x1, n1, x0, n0), LearntRate::new(rate).unwrap());
            assert_close(got, oracle::number(&case["ln_e"]), LN_E_REL, 1e-12, case);
        }
    }

    #[test]
    fn excess_evidence_agrees_with_50_digits() {
        let tables = oracle::tables();
        for case in tables["excess"].as_array().unwrap() {
            let grid = ExcessGrid::new(oracle::number(&case["difference"]), ALTERNATIVE_MULTIPLIERS);
            let rate = LearntRate::new(oracle::number(&case["rate"])).unwrap();
            let [x1, n1, x0, n0] = ["x1", "n1", "x0", "n0"].map(|name| oracle::count(&case[name]));
            let got = grid.unwrap().ln_e(table(x1, n1, x0, n0), rate);
            for (got, want) in got.into_iter().zip(oracle::numbers(&case["ln_e"])) {
                assert_close(got, want, LN_E_REL, 1e-12, case);
            }
        }
    }

    #[test]
    fn the_expectation_of_health_evidence_is_one_at_the_projection_and_less_further_in() {
        // 60 requests with means below 12: the tail of a Poisson count beyond 60 is below 1e-20.
        let arms = (60, 60);
        for (ratio, difference) in [(1.5, 0.0), (1.0, 0.05), (1.5, 0.05), (2.0, 0.08)] {
            let allowance = Allowance::new(ratio, difference).unwrap();
            for rate in [0.02, 0.06, 0.1] {
                let learnt = LearntRate::new(rate).unwrap();
                let weights = Weights { first: 60.0, second: 60.0 };
                let q = allowance.project(rate, weights);
                let ln_e = |t: Table| allowance.ln_e(t, learnt);
                let at = |p| expectation(arms, |x, n, p| poisson(x, exact(n) * p), p, ln_e);
                assert!((at((q.first, q.second)) - 1.0).abs() < 1e-9, "{ratio} {difference} {rate}");
                for p0 in [0.001, 0.5 * rate, rate, 0.1] {
                    let boundary = (ratio * p0).max(p0 + difference);
                    for p1 in [boundary, 1.2 * boundary] {
                        let e = at((p1, p0));
                        assert!(e <= 1.0 + 1e-9, "{ratio} {difference} {rate} {p0} {p1}: {e}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_expectation_for_independent_requests_is_at_most_one_on_the_boundary() {
        for (ratio, difference) in [(1.5, 0.0), (1.0, 0.05), (1.5, 0.2)] {
            let allowance = Allowance::new(ratio, difference).unwrap();
            for rate in [0.001, 0.1, 0.5] {
                let learnt = LearntRate::new(rate).unwrap();
                for p0 in [0.001, 0.1, 0.3, 0.6] {
                    let p1 = (ratio * p0).max(p0 + difference).min(1.0);
                    let e = expectation((6, 25), binomial, (p1, p0), |t| allowance.ln_e(t, learnt));
                    assert!(e <= 1.0 + 1e-12, "{ratio} {difference} {rate} {p0}: {e}");
                }
            }
        }
    }

    #[test]
    fn the_expectation_of_excess_evidence_is_at_most_one_on_the_boundary_and_inside() {
        for difference in [0.0, 0.01, 0.1] {
            let grid = ExcessGrid::new(difference, ALTERNATIVE_MULTIPLIERS).unwrap();
            for rate in [0.005, 0.2] {
                let learnt = LearntRate::new(rate).unwrap();
                for p0 in [0.001, 0.2, 0.7] {
                    for p1 in [p0 + difference, 0.5 * p0] {
                        for k in 0..8 {
                            let ln_e = |t: Table| grid.ln_e(t, learnt)[k];
                            let e = expectation((5, 20), binomial, (p1, p0), ln_e);
                            assert!(e <= 1.0 + 1e-12, "{difference} {rate} {p0} {p1} {k}: {e}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn arms_without_requests_give_no_nan() {
        let rate = LearntRate::new(0.001).unwrap();
        let allowance = Allowance::new(1.5, 0.005).unwrap();
        assert_eq!(allowance.ln_e(table(0, 0, 3, 900), rate), 0.0);
        let alone = allowance.ln_e(table(0, 1000, 0, 0), rate);
        assert!((alone - 1000.0 * (0.005 - 0.001)).abs() < 1e-12);
        let excess = ExcessGrid::new(0.005, ALTERNATIVE_MULTIPLIERS).unwrap();
        assert_eq!(excess.ln_e(table(9, 1000, 0, 0), rate), [0.0; 8]);
        assert_eq!(excess.ln_e(table(0, 0, 9, 1000), rate), [0.0; 8]);
    }

    #[test]
    fn with_no_stable_traffic_and_a_rate_above_the_difference_nothing_is_shown() {
        let allowance = Allowance::new(1.5, 0.005).unwrap();
        for rate in [0.005, 0.0051, 0.012, 0.0149, 0.0151, 0.3] {
            let ln_e = allowance.ln_e(table(3, 1000, 0, 0), LearntRate::new(rate).unwrap());
            assert!(ln_e.abs() < 1e-12, "{rate}: {ln_e}");
        }
    }

    #[test]
    fn no_allowance_at_all_is_never_healthy() {
        let none = Allowance::new(1.0, 0.0).unwrap();
        let ln_e = none.ln_e(table(0, 5000, 50, 5000), LearntRate::new(0.01).unwrap());
        assert!(ln_e.abs() < 1e-12);
    }

    #[test]
    fn a_difference_that_reaches_certainty_tolerates_everything() {
        let grid = ExcessGrid::new(0.5, [2.0]).unwrap();
        assert_eq!(grid.ln_e(table(9, 9, 0, 9), LearntRate::new(0.6).unwrap()), [0.0]);
    }

    #[test]
    fn a_rate_is_learnt_with_half_a_request_added() {
        let learn = |bad, total| LearntRate::from_past(Arm::new(bad, total).unwrap()).get();
        assert_eq!(learn(0, 0), 0.5);
        assert_eq!(learn(3, 99), 0.035);
        assert_eq!(learn(99, 99), 0.995);
    }

    #[test]
    fn allowances_below_nothing_are_refused() {
        for (ratio, difference) in [(0.9, 0.0), (f64::NAN, 0.0), (1.5, -0.1), (1.5, 1.1)] {
            assert!(Allowance::new(ratio, difference).is_err());
        }
        assert!(ExcessGrid::new(-0.1, [2.0]).is_err());
        assert!(ExcessGrid::new(0.1, [1.0]).is_err());
        assert!(LearntRate::new(0.0).is_err());
    }

    proptest! {
        #[test]
        fn the_projection_is_in_the_null_and_no_neighbour_in_the_null_is_nearer(
            ratio in 1.0..3.0f64, difference in 0.0..0.2f64, rate in 1e-6..0.9f64,
            n1 in 1.0..1e4f64, n0 in 1.0..1e5f64, (along, off) in (-0.2..0.2f64, 0.0..0.2f64),
        ) {
            let q = Allowance::new(ratio, difference)
                .unwrap()
                .project(rate, Weights { first: n1, second: n0 });
            prop_assert!(q.first >= ratio * q.second * (1.0 - 1e-12));
            prop_assert!(q.first >= (q.second + difference) * (1.0 - 1e-12));
            let far = |q1: f64, q0: f64| n1 * deviance(rate, q1) + n0 * deviance(rate, q0);
            let q0 = q.second * (1.0 + along);
            let q1 = (ratio * q0).max(q0 + difference) * (1.0 + off);
            let best = far(q.first, q.second);
            prop_assert!(far(q1, q0) >= best - 1e-9 * (1.0 + best));
        }
    }
}
