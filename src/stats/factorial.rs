//! Logarithms of factorials, as differences that keep their digits.
//!
//! `ln(10^9!)` is about 2e10, so a difference of two of them has lost ten digits before it
//! means anything. Loader (2000, "Fast and accurate computation of binomial probabilities")
//! splits Stirling's formula into a part that cancels on paper and two parts that are small:
//!
//! ```text
//! ln k!        = k ln k - k + s(k)
//! ln x! - ln a! = (x - a) ln a + D(x, a) + s(x) - s(a)
//! D(x, a)      = x ln(x/a) - x + a  >=  0
//! ```

use std::f64::consts::TAU;

use super::error::exact;

/// `s(k) = ln k! - k ln k + k` for k = 0..16, to the last digit (made by
/// `tests/oracle/make_stats_tables.py`). `s(0) = 0`, since `0 ln 0 = 0`.
const STIRLING_EXACT: [f64; 16] = [
    0.0,
    1.0,
    1.306_852_819_440_054_6,
    1.495_922_603_223_725_8,
    1.632_876_385_868_383_2,
    1.740_302_180_611_544_2,
    1.828_694_396_641_771,
    1.903_790_317_678_221_2,
    1.969_070_569_306_562_9,
    2.026_806_284_055_495_2,
    2.078_561_643_135_058_6,
    2.125_459_845_091_81,
    2.168_334_698_205_882,
    2.207_822_206_123_445,
    2.244_418_568_125_061,
    2.278_518_367_307_740_7,
];

/// Coefficients of `1/k, 1/k^3, 1/k^5, ...` in Stirling's series.
const STIRLING_SERIES: [f64; 5] = [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0];

/// The part of Stirling's formula that `k ln k - k` leaves over.
///
/// ```text
/// s(k) = ln(2 pi k)/2 + 1/(12 k) - 1/(360 k^3) + 1/(1260 k^5) - 1/(1680 k^7) + ...
/// ```
///
/// `k` is a whole number. The first term left out is below 2e-16 from k = 16 on.
pub(super) fn stirling_rest(k: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0..16
    if k < 16.0 {
        return STIRLING_EXACT[k as usize];
    }
    let inv = 1.0 / k;
    let series = polynomial(&STIRLING_SERIES, inv * inv);
    0.5 * (TAU * k).ln() + inv * series
}

/// Poisson deviance (half of it, strictly), or relative entropy of two Poisson means.
///
/// ```text
/// D(x, a) = x ln(x/a) - x + a,   D(0, a) = a,   D(x, 0) = infinity
/// ```
///
/// Near `x = a` the three terms cancel; there Loader's series in `v = (x-a)/(x+a)` is used,
/// which keeps full relative precision as far as `x - a` has it.
pub(super) fn deviance(x: f64, a: f64) -> f64 {
    if x == 0.0 {
        return a;
    }
    let diff = x - a;
    if diff.abs() >= 0.1 * (x + a) {
        return x * (x / a).ln() - diff;
    }
    let v = diff / (x + a);
    let v2 = v * v;
    let mut power = 2.0 * x * v;
    let mut sum = diff * v;
    let mut odd = 1.0;
    // v^2 < 0.01: ten terms reach the last digit from anywhere in the branch.
    for _ in 0..10 {
        power *= v2;
        odd += 2.0;
        let next = sum + power / odd;
        if next.to_bits() == sum.to_bits() {
            break;
        }
        sum = next;
    }
    sum
}

/// Log of the binomial probability, by Loader's saddle point.
///
/// ```text
/// ln b(x; n, p) = s(n) - s(x) - s(n-x) - D(x, n p) - D(n-x, n q),   q = 1 - p
/// ```
///
/// `q` is passed beside `p` so that neither is ever computed as one minus the other.
pub(super) fn ln_binomial(x: u64, n: u64, p: f64, q: f64) -> f64 {
    let (good, x, n) = (exact(n - x), exact(x), exact(n));
    stirling_rest(n) - stirling_rest(x) - stirling_rest(good) - deviance(x, n * p) - deviance(good, n * q)
}

/// A polynomial at `x`, lowest power first (Horner's rule).
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::oracle::{self, assert_close};

    /// Relative tolerance on a logarithm.
    const LN_REL: f64 = 4e-15;

    #[test]
    fn stirling_rest_agrees_with_50_digits_on_both_sides_of_its_table() {
        let tables = oracle::tables();
        for case in tables["stirling"].as_array().unwrap() {
            let k = case["k"].as_f64().unwrap();
            assert_close(stirling_rest(k), oracle::number(&case["s"]), LN_REL, 0.0, case);
        }
    }

    #[test]
    fn deviance_agrees_with_50_digits_where_its_terms_cancel() {
        let tables = oracle::tables();
        for case in tables["deviance"].as_array().unwrap() {
            let got = deviance(case["x"].as_f64().unwrap(), case["a"].as_f64().unwrap());
            assert_close(got, oracle::number(&case["d"]), LN_REL, 0.0, case);
        }
    }

    #[test]
    fn binomial_probabilities_agree_with_50_digits() {
        let tables = oracle::tables();
        for case in tables["binomial"].as_array().unwrap() {
            let (p, q) = (case["p"].as_f64().unwrap(), case["q"].as_f64().unwrap());
            let (x, n) = (case["x"].as_u64().unwrap(), case["n"].as_u64().unwrap());
            let want = oracle::number(&case["ln_f"]);
            assert_close(ln_binomial(x, n, p, q), want, 1e-13, 1e-15, case);
        }
    }

    #[test]
    fn an_impossible_count_has_probability_zero_and_a_certain_one_one() {
        assert_eq!(ln_binomial(3, 10, 0.0, 1.0), f64::NEG_INFINITY);
        assert_eq!(ln_binomial(0, 10, 0.0, 1.0), 0.0);
        assert_eq!(ln_binomial(10, 10, 1.0, 0.0), 0.0);
    }
}
