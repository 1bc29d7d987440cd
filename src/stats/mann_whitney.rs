//! The Mann-Whitney test of two distributions that are known by bins: one look, for reports.
//!
//! Says whether values of the first arm tend to be larger. It is blind to most real faults, which
//! move the slowest few percent and not the middle, and a p-value is only good once; the
//! judgement uses counts above fixed thresholds instead.

use statrs::function::erf::erfc;

use super::error::{StatsError, exact, sum_of_counts};

/// Samples an arm below which the normal approximation is not to be trusted to two digits.
pub const MANN_WHITNEY_MIN_SAMPLES: u64 = 20;

/// What the test found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannWhitney {
    /// Chance that a value of the first arm is larger than one of the second, ties counted half;
    /// 0.5 when neither tends to be larger.
    pub superiority: f64,
    /// Standardised statistic with continuity correction, positive when the first is larger.
    pub z: f64,
    /// Chance of as large a statistic, or larger, if the distributions are alike.
    pub p_value: f64,
}

/// One-sided Mann-Whitney test that the first distribution is the larger one, with all values of
/// a bin tied.
///
/// ```text
/// U   = sum_b first_b (second_{<b} + second_b / 2)
/// Var = n1 n0 / 12 * ((N+1) - sum_b (t_b^3 - t_b) / (N (N-1))),   t_b = first_b + second_b
/// z   = (U - n1 n0 / 2 - 1/2) / sqrt(Var),   p = erfc(z / sqrt 2) / 2
/// ```
///
/// Counts by bin, in ascending order of value. A normal approximation: from
/// [`MANN_WHITNEY_MIN_SAMPLES`] in either arm it is good to about two digits, below that it is
/// rough. Where all values are tied, or an arm is empty, nothing is shown: `z = 0`, `p = 1`.
/// Mann and Whitney (1947); ties after Lehmann (1975), "Nonparametrics", section 1.4.
///
/// # Errors
/// When the lists differ in length or counts exceed [`COUNT_MAX`](super::COUNT_MAX).
pub fn mann_whitney(first: &[u64], second: &[u64]) -> Result<MannWhitney, StatsError> {
    if first.len() != second.len() {
        return Err(StatsError::LengthMismatch {
            what: "bins of both arms",
            left: first.len(),
            right: second.len(),
        });
    }
    let (n1, n0) = (total(first)?, total(second)?);
    let n = exact(sum_of_counts("samples of both arms", n1, n0)?);
    let pairs = exact(n1) * exact(n0);
    if pairs == 0.0 {
        return Ok(MannWhitney::nothing());
    }
    let (mut u, mut below, mut ties) = (0.0, 0.0, 0.0);
    for (&a, &b) in first.iter().zip(second) {
        u += exact(a) * (below + exact(b) / 2.0);
        below += exact(b);
        let share = exact(a + b) / n;
        ties += share * (exact(a + b) - 1.0) * (exact(a + b) + 1.0) / (n - 1.0);
    }
    let variance = pairs / 12.0 * (n + 1.0 - ties);
    if variance <= pairs * f64::EPSILON * n {
        return Ok(MannWhitney::nothing());
    }
    let z = (u - pairs / 2.0 - 0.5) / variance.sqrt();
    Ok(MannWhitney { superiority: u / pairs, z, p_value: 0.5 * erfc(z * std::f64::consts::FRAC_1_SQRT_2) })
}

impl MannWhitney {
    const fn nothing() -> Self {
        Self { superiority: 0.5, z: 0.0, p_value: 1.0 }
    }
}

fn total(counts: &[u64]) -> Result<u64, StatsError> {
    counts.iter().try_fold(0, |sum, count| sum_of_counts("samples", sum, *count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::oracle::{self, assert_close};

    fn counts(value: &serde_json::Value) -> Vec<u64> {
        value.as_array().unwrap().iter().map(oracle::count).collect()
    }

    #[test]
    fn binned_counts_agree_with_scipy_on_the_values_themselves() {
        let tables = oracle::tables();
        for case in tables["mann_whitney"].as_array().unwrap() {
            let got = mann_whitney(&counts(&case["first"]), &counts(&case["second"])).unwrap();
            let pairs = oracle::number(&case["pairs"]);
            assert_close(got.superiority * pairs, oracle::number(&case["u"]), 1e-12, 0.0, case);
            assert_close(got.p_value, oracle::number(&case["p"]), 1e-9, 0.0, case);
        }
    }

    #[test]
    fn all_values_tied_or_an_empty_arm_show_nothing() {
        for (first, second) in [(&[0, 7][..], &[0, 9][..]), (&[0, 0], &[3, 4]), (&[], &[])] {
            assert_eq!(mann_whitney(first, second), Ok(MannWhitney::nothing()));
        }
    }

    #[test]
    fn a_far_tail_keeps_its_digits() {
        let test = mann_whitney(&[0, 400], &[400, 0]).unwrap();
        assert!(test.p_value > 0.0 && test.p_value < 1e-100);
        assert_eq!(test.superiority, 1.0);
    }

    #[test]
    fn bins_that_do_not_match_or_overflow_are_refused() {
        assert!(mann_whitney(&[1, 2], &[1]).is_err());
        assert!(mann_whitney(&[u64::MAX, 2], &[1, 1]).is_err());
        assert!(mann_whitney(&[1 << 50], &[1]).is_err());
    }
}
