//! What a constructor of this module says when it refuses a number.

use thiserror::Error;

/// A number that no test can be computed from, with its name.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum StatsError {
    /// Infinite, or not a number at all.
    #[error("{what} must be a finite number, not {value}")]
    NotFinite {
        /// Which number.
        what: &'static str,
        /// What was given.
        value: f64,
    },
    /// Finite, but outside the range in which the formula holds.
    #[error("{what} must lie between {low} and {high}, not {value}")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// What was given.
        value: f64,
        /// Smallest accepted value.
        low: f64,
        /// Largest accepted value.
        high: f64,
    },
    /// A part that is larger than its whole, such as more bad requests than requests.
    #[error("{what}: a part of {part} exceeds the whole of {whole}")]
    PartExceedsWhole {
        /// Which pair of counts.
        what: &'static str,
        /// The part.
        part: u64,
        /// The whole.
        whole: u64,
    },
    /// A count above [`COUNT_MAX`], where integers stop being exact in `f64`.
    #[error("{what} of {count} is above the largest exact count, {COUNT_MAX}")]
    CountTooLarge {
        /// Which count.
        what: &'static str,
        /// What was given.
        count: u64,
    },
    /// Two lists that must be of one length and are not.
    #[error("{what} must have the same length, not {left} and {right}")]
    LengthMismatch {
        /// Which lists.
        what: &'static str,
        /// Length of the first.
        left: usize,
        /// Length of the second.
        right: usize,
    },
}

/// Largest count, or sum of counts, that is accepted: 2^50, well inside the integers that
/// `f64` holds exactly, so that sums and differences of counts are never rounded.
pub const COUNT_MAX: u64 = 1 << 50;

/// Passes `value` through when it is finite and in `low..=high`.
pub(super) fn in_range(what: &'static str, value: f64, low: f64, high: f64) -> Result<f64, StatsError> {
    if !value.is_finite() {
        return Err(StatsError::NotFinite { what, value });
    }
    if value < low || value > high {
        return Err(StatsError::OutOfRange { what, value, low, high });
    }
    Ok(value)
}

/// Passes `value` through when it is a probability strictly between 0 and 1.
pub(super) fn open_unit(what: &'static str, value: f64) -> Result<f64, StatsError> {
    in_range(what, value, f64::MIN_POSITIVE, 1.0 - f64::EPSILON / 2.0)
}

/// The sum of two counts, refused above [`COUNT_MAX`].
pub(super) fn sum_of_counts(what: &'static str, a: u64, b: u64) -> Result<u64, StatsError> {
    let count = a.saturating_add(b);
    if count > COUNT_MAX {
        return Err(StatsError::CountTooLarge { what, count });
    }
    Ok(count)
}

/// An exact conversion: every count that got past a constructor is at most [`COUNT_MAX`].
#[allow(clippy::cast_precision_loss)] // exact up to 2^53
pub(super) fn exact(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_number_and_the_rule() {
        let nan = in_range("tolerate", f64::NAN, 0.0, 1.0).unwrap_err();
        assert_eq!(nan.to_string(), "tolerate must be a finite number, not NaN");
        let big = in_range("tolerate", 2.0, 0.0, 1.0).unwrap_err();
        assert_eq!(big.to_string(), "tolerate must lie between 0 and 1, not 2");
        let count = sum_of_counts("requests", u64::MAX, 1).unwrap_err();
        assert!(count.to_string().starts_with("requests of 18446744073709551615"));
    }

    #[test]
    fn probabilities_of_exactly_zero_or_one_are_not_in_the_open_unit() {
        assert!(open_unit("alpha", 0.0).is_err());
        assert!(open_unit("alpha", 1.0).is_err());
        assert_eq!(open_unit("alpha", 0.01), Ok(0.01));
    }
}
