//! Counts of events of which one request may have several, such as exceptions or log lines.
//!
//! The hypergeometric form would be too sure of itself here: it takes the bad requests of both
//! arms as drawn without replacement, so that many events in few requests look like more
//! evidence than they are. Two Poisson counts, given their sum, are binomial instead.
//!
//! ```text
//! x1 | m ~ Bin(m, theta),   theta = psi n1 / (n0 + psi n1)
//! ```
//!
//! Przyborowski and Wilenski (1940); as a sequential test, Lindon and Malek (2022).

use super::error::{StatsError, exact, sum_of_counts};
use super::lanes;
use super::odds::OddsGrid;

/// Events of two arms and the requests that they were counted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventCounts {
    x1: u64,
    n1: u64,
    x0: u64,
    n0: u64,
}

impl EventCounts {
    /// `x1` events in `n1` requests of the first arm, `x0` in `n0` of the second. There may be
    /// more events than requests.
    ///
    /// # Errors
    /// When the events or the requests of both arms exceed [`COUNT_MAX`](super::COUNT_MAX).
    pub fn new(x1: u64, n1: u64, x0: u64, n0: u64) -> Result<Self, StatsError> {
        sum_of_counts("events of both arms", x1, x0)?;
        sum_of_counts("requests of both arms", n1, n0)?;
        Ok(Self { x1, n1, x0, n0 })
    }

    /// Log likelihood ratio of each alternative of the grid against its null; here `psi` is the
    /// ratio of the arms' event rates.
    ///
    /// ```text
    /// l_k = x1 ln(psi_k/psi0) - m ln((n0 + psi_k n1) / (n0 + psi0 n1)),   m = x1 + x0
    /// ```
    ///
    /// In nats; exactly 0 without events or with requests in one arm only.
    #[must_use]
    pub fn ln_likelihood_ratios<const K: usize>(self, grid: &OddsGrid<K>) -> [f64; K] {
        let events = self.x1 + self.x0;
        if self.n1 == 0 || self.n0 == 0 || events == 0 {
            return [0.0; K];
        }
        let (n1, n0) = (exact(self.n1), exact(self.n0));
        let null = grid.null().get();
        let (bad, events) = (exact(self.x1), exact(events));
        let expected = 1.0 / (n0 + null * n1);
        let mut ratios = grid.ln_growth();
        for (ratio, psi) in ratios.iter_mut().zip(grid.alternatives()) {
            let growth_of_sum = (n0 + psi.get() * n1) * expected;
            *ratio = bad * *ratio - events * lanes::ln(growth_of_sum);
        }
        ratios
    }
}

#[cfg(test)]
mod tests {
    use super::super::factorial::ln_binomial;
    use super::*;
    use crate::stats::OddsRatio;
    use crate::stats::oracle::{self, assert_close};

    fn standard(psi0: f64) -> OddsGrid<8> {
        OddsGrid::above(OddsRatio::new(psi0).unwrap()).unwrap()
    }

    #[test]
    fn ratios_agree_with_50_digits() {
        let tables = oracle::tables();
        for case in tables["event_counts"].as_array().unwrap() {
            let [x1, n1, x0, n0] = ["x1", "n1", "x0", "n0"].map(|name| oracle::count(&case[name]));
            let counts = EventCounts::new(x1, n1, x0, n0).unwrap();
            let got = counts.ln_likelihood_ratios(&standard(case["psi0"].as_f64().unwrap()));
            for (got, want) in got.into_iter().zip(oracle::numbers(&case["ln_lr"])) {
                assert_close(got, want, 1e-12, 1e-14 * (1.0 + exact(x1 + x0)), case);
            }
        }
    }

    #[test]
    fn the_expected_ratio_is_one_at_the_null_and_less_inside_it() {
        let (m, n1, n0) = (12, 7, 30);
        let grid = standard(1.25);
        for psi in [0.3, 1.0, 1.25] {
            let theta = psi * 7.0 / (30.0 + psi * 7.0);
            let mut expected = [0.0; 8];
            for x1 in 0..=m {
                let counts = EventCounts::new(x1, n1, m - x1, n0).unwrap();
                let p = ln_binomial(x1, m, theta, 1.0 - theta);
                for (sum, l) in expected.iter_mut().zip(counts.ln_likelihood_ratios(&grid)) {
                    *sum += (p + l).exp();
                }
            }
            for e in expected {
                assert!(e <= 1.0 + 1e-13, "{psi}: {e}");
                assert!(psi < 1.25 || e >= 1.0 - 1e-13, "{psi}: {e}");
            }
        }
    }

    #[test]
    fn one_arm_alone_or_no_events_say_nothing() {
        for (x1, n1, x0, n0) in [(5, 9, 0, 0), (0, 0, 4, 9), (0, 9, 0, 9)] {
            let counts = EventCounts::new(x1, n1, x0, n0).unwrap();
            assert_eq!(counts.ln_likelihood_ratios(&standard(1.0)), [0.0; 8]);
        }
    }

    #[test]
    fn more_events_than_requests_are_fine() {
        let counts = EventCounts::new(50, 10, 20, 100).unwrap();
        assert!(counts.ln_likelihood_ratios(&standard(1.0))[4] > 10.0);
    }
}
