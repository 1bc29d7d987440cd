//! Counts of rollouts as rates with intervals, and times as quantiles.

use serde::Serialize;
use statrs::function::beta::beta_reg;

/// Chance that an interval misses the truth, on each side.
const MISSED_ON_A_SIDE: f64 = 0.025;
/// Halvings that pin a rate to the last digit that matters.
const BISECTIONS: usize = 60;

/// So many of so many, with the rates that this leaves possible.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Counted {
    pub(super) hits: usize,
    pub(super) of: usize,
    /// Lower end of the 95 % interval.
    pub(super) low: f64,
    /// Upper end.
    pub(super) high: f64,
}

impl Counted {
    /// The interval of Clopper and Pearson (1934): the rates at which so many hits, or more, and so many, or
    /// fewer, would not be rare.
    pub(super) fn new(hits: usize, of: usize) -> Self {
        let (x, n) = (hits as f64, of as f64);
        let low = if hits == 0 { 0.0 } else { rate_where(|p| beta_reg(x, n - x + 1.0, p)) };
        let high = if hits >= of { 1.0 } else { 1.0 - rate_where(|p| beta_reg(n - x, x + 1.0, p)) };
        Self { hits, of, low, high }
    }

    pub(super) fn rate(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.hits as f64 / self.of as f64 }
    }
}

/// Where a chance that rises with the rate reaches [`MISSED_ON_A_SIDE`].
fn rate_where(chance: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (low + high);
        *(if chance(middle) < MISSED_ON_A_SIDE { &mut low } else { &mut high }) = middle;
    }
    0.5 * (low + high)
}

/// How long something took: half of the times, and nine in ten; `None` where it took longer than anybody
/// waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Times {
    pub(super) median: Option<u32>,
    pub(super) p90: Option<u32>,
}

impl Times {
    /// Of `of` times, those that came to an end.
    pub(super) fn new(mut ended: Vec<u32>, of: usize) -> Self {
        ended.sort_unstable();
        let at = |tenths: usize| ended.get((of * tenths).div_ceil(10).max(1) - 1).copied();
        Self { median: at(5), p90: at(9) }
    }
}

/// The middle one; `None` of nothing.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// A rate as a percentage, with as many decimals as it needs to be told from zero.
pub(super) fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    match percent {
        0.0 => "0%".to_owned(),
        small if small < 0.095 => format!("{small:.2}%"),
        some if some < 9.95 => format!("{some:.1}%"),
        many => format!("{many:.0}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Checked by summing binomial probabilities: 2.5 % lie beyond either end.
        let cases = [
            (0, 1_000, 0.0, 0.003_682_083_896),
            (5, 1_000, 0.001_625_286_545, 0.011_629_142_396),
            (10, 10, 0.691_502_892_164, 1.0),
            (3, 20, 0.032_070_938_742, 0.378_926_808_418),
        ];
        for (hits, of, low, high) in cases {
            let counted = Counted::new(hits, of);
            assert!((counted.low - low).abs() < 1e-5 && (counted.high - high).abs() < 1e-5, "{counted:?}");
        }
        assert_eq!(Counted::new(0, 0).high, 1.0);
    }

    #[test]
    fn what_never_ended_counts_as_longer_than_all() {
        assert_eq!(Times::new(vec![3, 1, 2], 3), Times { median: Some(2), p90: Some(3) });
        assert_eq!(Times::new(vec![3, 1, 2], 10), Times { median: None, p90: None });
        assert_eq!(Times::new(vec![3, 1, 2], 6), Times { median: Some(3), p90: None });
        assert_eq!(Times::new(vec![], 0), Times { median: None, p90: None });
    }

    #[test]
    fn small_rates_keep_a_decimal() {
        let told = [0.0, 0.0004, 0.003, 0.05, 0.123, 1.0].map(percent);
        assert_eq!(told, ["0%", "0.04%", "0.3%", "5.0%", "12%", "100%"]);
        assert_eq!((median(vec![2.0, 1.0, 9.0]), median(vec![])), (Some(2.0), None));
    }
}
