//! The two-by-two table of one stratum: requests and bad requests of two arms.

use super::error::{StatsError, exact, sum_of_counts};
use super::odds::OddsRatio;

/// Requests and bad requests of one arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arm {
    bad: u64,
    total: u64,
}

impl Arm {
    /// An arm with `bad` of `total` requests bad.
    ///
    /// # Errors
    /// When `bad` exceeds `total`, or `total` exceeds [`COUNT_MAX`](super::COUNT_MAX).
    pub fn new(bad: u64, total: u64) -> Result<Self, StatsError> {
        if bad > total {
            return Err(StatsError::PartExceedsWhole { what: "bad of total", part: bad, whole: total });
        }
        sum_of_counts("total", total, 0)?;
        Ok(Self { bad, total })
    }

    /// Bad requests.
    #[must_use]
    pub const fn bad(self) -> u64 {
        self.bad
    }

    /// Requests, good and bad.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.total
    }
}

/// The margins of a two-by-two table: all that a conditional test takes as given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Margins {
    n1: u64,
    n0: u64,
    m: u64,
}

impl Margins {
    /// Margins with `n1` requests in the first arm, `n0` in the second and `m` bad in both.
    ///
    /// # Errors
    /// When `m` exceeds `n1 + n0`, or that sum exceeds [`COUNT_MAX`](super::COUNT_MAX).
    pub fn new(n1: u64, n0: u64, m: u64) -> Result<Self, StatsError> {
        let whole = sum_of_counts("requests of both arms", n1, n0)?;
        if m > whole {
            return Err(StatsError::PartExceedsWhole { what: "bad of both arms", part: m, whole });
        }
        Ok(Self { n1, n0, m })
    }

    /// Requests of the first arm.
    #[must_use]
    pub const fn n1(self) -> u64 {
        self.n1
    }

    /// Requests of the second arm.
    #[must_use]
    pub const fn n0(self) -> u64 {
        self.n0
    }

    /// Bad requests of both arms.
    #[must_use]
    pub const fn m(self) -> u64 {
        self.m
    }

    /// Fewest and most bad requests that the first arm can have.
    ///
    /// ```text
    /// max(0, m - n0) <= x1 <= min(m, n1)
    /// ```
    #[must_use]
    pub fn support(self) -> (u64, u64) {
        (self.m.saturating_sub(self.n0), self.m.min(self.n1))
    }

    /// Whether the margins leave the first arm's count no freedom, so that it says nothing:
    /// an arm without requests, no bad request, or nothing but bad requests.
    #[must_use]
    pub fn is_degenerate(self) -> bool {
        let (low, high) = self.support();
        low == high
    }
}

/// A two-by-two table: the first arm (the one under test) against the second (the reference).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    first: Arm,
    second: Arm,
}

impl Table {
    /// The table of two arms.
    ///
    /// # Errors
    /// When the requests of both arms together exceed [`COUNT_MAX`](super::COUNT_MAX).
    pub fn new(first: Arm, second: Arm) -> Result<Self, StatsError> {
        sum_of_counts("requests of both arms", first.total, second.total)?;
        Ok(Self { first, second })
    }

    /// The arm under test.
    #[must_use]
    pub const fn first(self) -> Arm {
        self.first
    }

    /// The arm of reference.
    #[must_use]
    pub const fn second(self) -> Arm {
        self.second
    }

    /// What a conditional test takes as given.
    #[must_use]
    pub const fn margins(self) -> Margins {
        Margins { n1: self.first.total, n0: self.second.total, m: self.first.bad + self.second.bad }
    }

    /// The same table with the arms exchanged.
    #[must_use]
    pub const fn swapped(self) -> Self {
        Self { first: self.second, second: self.first }
    }

    /// Hypergeometric mean of the first arm's bad requests when the labels are exchangeable.
    ///
    /// ```text
    /// E x1 = n1 m / N,   N = n1 + n0
    /// ```
    pub(super) fn mean(self) -> f64 {
        let (n1, n0, m) = self.margins_f64();
        n1 * m / (n1 + n0)
    }

    /// Hypergeometric variance of the same count.
    ///
    /// ```text
    /// Var x1 = n1 n0 m (N - m) / (N^2 (N - 1))
    /// ```
    pub(super) fn variance(self) -> f64 {
        let (n1, n0, m) = self.margins_f64();
        let n = n1 + n0;
        (n1 / n) * (n0 / n) * m * ((n - m) / (n - 1.0))
    }

    /// Bad requests that the first arm is expected to have if the odds are alike.
    #[must_use]
    pub fn expected_bad(self) -> f64 {
        if self.margins().is_degenerate() { 0.0 } else { self.mean() }
    }

    /// Mean and variance of the first arm's bad requests at an odds ratio, asymptotically.
    ///
    /// ```text
    /// mu (n0 - m + mu) = psi (n1 - mu) (m - mu)
    /// Var x1 = N / (N - 1) / (1/mu + 1/(n1 - mu) + 1/(m - mu) + 1/(n0 - m + mu))
    /// ```
    ///
    /// Cornfield (1956); exact at an odds ratio of 1.
    pub(super) fn moments_at(self, psi: OddsRatio) -> (f64, f64) {
        let (n1, n0, m) = self.margins_f64();
        if psi == OddsRatio::ONE {
            return (self.mean(), self.variance());
        }
        let (n, a) = (n1 + n0, psi.get() - 1.0);
        // a mu^2 - b mu + psi n1 m = 0; the root inside the support, in the form that loses no digits.
        let b = n0 - m + psi.get() * (n1 + m);
        let product = psi.get() * n1 * m;
        let mu = 2.0 * product / (b + (b * b - 4.0 * a * product).max(0.0).sqrt());
        let cells = [mu, n1 - mu, m - mu, n0 - m + mu];
        let inverse: f64 = cells.iter().map(|cell| 1.0 / cell.max(f64::MIN_POSITIVE)).sum();
        (mu, n / (n - 1.0) / inverse)
    }

    /// `n1`, `n0` and `m`, exactly.
    pub(super) fn margins_f64(self) -> (f64, f64, f64) {
        let Margins { n1, n0, m } = self.margins();
        (exact(n1), exact(n0), exact(m))
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::COUNT_MAX;
    use super::*;

    #[test]
    fn more_bad_requests_than_requests_are_refused() {
        assert_eq!(
            Arm::new(6, 5).unwrap_err().to_string(),
            "bad of total: a part of 6 exceeds the whole of 5"
        );
        assert!(Margins::new(2, 3, 6).is_err());
        assert!(Margins::new(2, 3, 5).is_ok());
    }

    #[test]
    fn counts_beyond_the_exact_integers_are_refused_and_do_not_wrap() {
        assert!(Arm::new(0, COUNT_MAX + 1).is_err());
        assert!(Margins::new(u64::MAX, u64::MAX, 0).is_err());
        let half = Arm::new(0, COUNT_MAX / 2 + 1).unwrap();
        assert!(Table::new(half, half).is_err());
    }

    #[test]
    fn the_support_respects_both_margins() {
        assert_eq!(Margins::new(5, 3, 6).unwrap().support(), (3, 5));
        assert_eq!(Margins::new(5, 9, 2).unwrap().support(), (0, 2));
    }

    #[test]
    fn an_empty_arm_no_bad_request_and_only_bad_requests_are_degenerate() {
        for (n1, n0, m) in [(0, 9, 4), (9, 0, 4), (5, 5, 0), (5, 5, 10), (0, 0, 0)] {
            assert!(Margins::new(n1, n0, m).unwrap().is_degenerate());
        }
        assert!(!Margins::new(1, 1, 1).unwrap().is_degenerate());
    }
}
