//! E-values put together, in logs.
//!
//! A weighted mean of e-values is an e-value under any dependence (Vovk and Wang 2021); the
//! smallest of several is one for the union of their nulls. A product would need independence
//! and a maximum is no e-value at all, so there is neither.

use super::error::{StatsError, in_range};

/// Rounding that a sum of weights may show above 1.
const WEIGHT_SLACK: f64 = 1e-12;

/// Log of a sum of exponentials, without overflow or underflow.
///
/// ```text
/// ln sum_i exp(v_i) = v_max + ln sum_i exp(v_i - v_max)
/// ```
///
/// Minus infinity for no terms, or when all of them are; NaN if any term is.
#[must_use]
pub fn ln_sum_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() && !values.iter().any(|v| v.is_nan()) {
        return largest;
    }
    let sum: f64 = values.iter().map(|v| (v - largest).exp()).sum();
    largest + sum.ln()
}

/// Log of the weighted mean of e-values that are given as logs.
///
/// ```text
/// ln E = ln sum_i w_i E_i,   w_i >= 0,   sum_i w_i <= 1
/// ```
///
/// Weights that sum to less than 1 only lose evidence, so they are not scaled up. A log of minus
/// infinity (an e-value of 0) is fine.
///
/// # Errors
/// When there is nothing to average, the lists differ in length, a weight is outside 0..=1 or all
/// together exceed 1, or a log is NaN or plus infinity.
pub fn ln_weighted_mean(weights: &[f64], ln_e: &[f64]) -> Result<f64, StatsError> {
    if weights.len() != ln_e.len() {
        return Err(StatsError::LengthMismatch {
            what: "weights and e-values",
            left: weights.len(),
            right: ln_e.len(),
        });
    }
    for &weight in weights {
        in_range("weight", weight, 0.0, 1.0)?;
    }
    in_range("sum of weights", weights.iter().sum(), 0.0, 1.0 + WEIGHT_SLACK)?;
    check_logs(ln_e)?;
    let parts: Vec<f64> = weights.iter().zip(ln_e).map(|(weight, ln_e)| weight.ln() + ln_e).collect();
    Ok(ln_sum_exp(&parts))
}

/// Log of the plain mean of e-values that are given as logs.
///
/// ```text
/// ln E = ln ((1/n) sum_i E_i)
/// ```
///
/// # Errors
/// When there is nothing to average, or a log is NaN or plus infinity.
#[allow(clippy::cast_precision_loss)] // a list in memory is shorter than 2^53
pub fn ln_mean(ln_e: &[f64]) -> Result<f64, StatsError> {
    check_logs(ln_e)?;
    Ok(ln_sum_exp(ln_e) - (ln_e.len() as f64).ln())
}

/// Log of the smallest of the e-values: evidence against all of their nulls at once, that is,
/// an e-value for the union of the nulls.
///
/// ```text
/// ln E = min_i ln E_i
/// ```
///
/// # Errors
/// When there is nothing to compare, or a log is NaN or plus infinity.
pub fn ln_min(ln_e: &[f64]) -> Result<f64, StatsError> {
    check_logs(ln_e)?;
    Ok(ln_e.iter().copied().fold(f64::INFINITY, f64::min))
}

/// Refuses what `f64::min` and `f64::max` would pass over in silence.
fn check_logs(ln_e: &[f64]) -> Result<(), StatsError> {
    if ln_e.is_empty() {
        return Err(StatsError::Empty { what: "e-values" });
    }
    match ln_e.iter().find(|v| v.is_nan() || **v == f64::INFINITY) {
        Some(&value) => Err(StatsError::NotFinite { what: "log of an e-value", value }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LN_ABS: f64 = 1e-12;

    #[test]
    fn sums_of_huge_and_tiny_exponentials_stay_finite() {
        let big = ln_sum_exp(&[1e6, 1e6]);
        assert!((big - 1e6 - 2f64.ln()).abs() < 1e-9);
        let small = ln_sum_exp(&[-5000.0, -5000.0]);
        assert!((small + 5000.0 - 2f64.ln()).abs() < LN_ABS);
        assert_eq!(ln_sum_exp(&[f64::NEG_INFINITY, 3.0]), 3.0);
    }

    #[test]
    fn a_sum_of_nothing_is_zero_and_a_nan_is_not_hidden() {
        assert_eq!(ln_sum_exp(&[]), f64::NEG_INFINITY);
        assert_eq!(ln_sum_exp(&[f64::NEG_INFINITY; 2]), f64::NEG_INFINITY);
        assert!(ln_sum_exp(&[f64::NAN, 1.0]).is_nan());
        assert!(ln_sum_exp(&[f64::NAN, f64::INFINITY]).is_nan());
        assert!(ln_sum_exp(&[f64::NAN]).is_nan());
    }

    #[test]
    fn the_mean_weighs_half_for_errors_and_a_quarter_each_for_two_more() {
        let got = ln_weighted_mean(&[0.5, 0.25, 0.25], &[8f64.ln(), 4f64.ln(), 0.0]).unwrap();
        assert!((got - 5.25f64.ln()).abs() < LN_ABS);
    }

    #[test]
    fn weights_above_one_in_sum_are_refused() {
        assert!(ln_weighted_mean(&[0.6, 0.6], &[0.0, 0.0]).is_err());
        assert!(ln_weighted_mean(&[-0.1, 1.0], &[0.0, 0.0]).is_err());
        assert!(ln_weighted_mean(&[1.0], &[0.0, 0.0]).is_err());
        assert!(ln_weighted_mean(&[], &[]).is_err());
        assert!(ln_weighted_mean(&[0.1; 10], &[0.0; 10]).is_ok());
    }

    #[test]
    fn an_e_value_of_zero_pulls_the_minimum_down_and_leaves_the_mean_defined() {
        assert_eq!(ln_min(&[2.0, f64::NEG_INFINITY]), Ok(f64::NEG_INFINITY));
        let mean = ln_mean(&[2.0, f64::NEG_INFINITY]).unwrap();
        assert!((mean - (2.0 - 2f64.ln())).abs() < LN_ABS);
    }

    #[test]
    fn a_nan_among_the_logs_is_refused_rather_than_skipped() {
        assert!(ln_min(&[1.0, f64::NAN]).is_err());
        assert!(ln_mean(&[f64::NAN, 1.0]).is_err());
        assert!(ln_weighted_mean(&[0.5, 0.5], &[1.0, f64::INFINITY]).is_err());
    }

    proptest! {
        #[test]
        fn the_order_of_the_terms_does_not_matter(
            mut values in prop::collection::vec(-1e3..1e3f64, 1..20)
        ) {
            let forward = ln_sum_exp(&values);
            values.reverse();
            prop_assert!((forward - ln_sum_exp(&values)).abs() < LN_ABS * (1.0 + forward.abs()));
        }

        #[test]
        fn a_mean_lies_between_the_smallest_and_the_largest(
            values in prop::collection::vec(-1e3..1e3f64, 1..20)
        ) {
            let mean = ln_mean(&values).unwrap();
            let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(mean >= ln_min(&values).unwrap() - 1e-9 && mean <= largest + 1e-9);
        }
    }
}
