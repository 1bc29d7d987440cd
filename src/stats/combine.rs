//! E-values put together.
//!
//! A weighted mean of e-values is an e-value under any dependence (Vovk and Wang 2021); the
//! smallest of several is one for the union of their nulls. A product would need independence
//! and a maximum is no e-value at all, so there is neither.

/// The weighted mean of e-values, given with their weights.
///
/// ```text
/// E = sum_i w_i E_i,   w_i >= 0,   sum_i w_i <= 1
/// ```
///
/// Weights that sum to less than 1 only lose evidence, so they are not scaled up.
#[must_use]
pub fn weighted_mean(parts: impl Iterator<Item = (f64, f64)>) -> f64 {
    parts.map(|(weight, e)| weight * e).sum()
}

/// The plain mean of e-values; 1, which is no evidence, of none.
///
/// ```text
/// E = (1/n) sum_i E_i
/// ```
#[must_use]
#[allow(clippy::cast_precision_loss)] // a list in memory is shorter than 2^53
pub fn mean(parts: impl ExactSizeIterator<Item = f64>) -> f64 {
    match parts.len() {
        0 => 1.0,
        count => parts.sum::<f64>() / count as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_mean_weighs_half_for_errors_and_a_quarter_each_for_two_more() {
        let got = weighted_mean([(0.5, 8.0), (0.25, 4.0), (0.25, 1.0)].into_iter());
        assert_eq!(got, 5.25);
    }

    #[test]
    fn an_e_value_of_zero_leaves_the_mean_defined_and_none_is_no_evidence() {
        assert_eq!(mean([2.0, 0.0].into_iter()), 1.0);
        assert_eq!(mean([].into_iter()), 1.0);
    }

    #[test]
    fn a_nan_is_not_hidden() {
        assert!(mean([f64::NAN, 1.0].into_iter()).is_nan());
        assert!(weighted_mean([(0.5, 1.0), (0.5, f64::NAN)].into_iter()).is_nan());
    }

    proptest! {
        #[test]
        fn a_mean_lies_between_the_smallest_and_the_largest_in_any_order(
            mut values in prop::collection::vec(0.0..1e3f64, 1..20)
        ) {
            let forward = mean(values.iter().copied());
            let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
            let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(forward >= smallest - 1e-9 && forward <= largest + 1e-9);
            values.reverse();
            prop_assert!((forward - mean(values.into_iter())).abs() < 1e-12 * (1.0 + forward));
        }
    }
}
