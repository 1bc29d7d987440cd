//! How much noisier than independent requests the counts are.
//!
//! Where requests of one client or host go together, two halves of the same healthy service
//! differ by more than the hypergeometric distribution allows. The factor by which the variance
//! is too large is the design effect (Kish 1965; in generalised linear models the dispersion,
//! `McCullagh` and Nelder 1989, section 4.5). Dividing every log likelihood ratio by it keeps the
//! evidence honest; since the power of an e-value to an exponent of at most 1 is an e-value
//! (Jensen), it costs power and never validity.

use super::error::{StatsError, exact, in_range};
use super::odds::OddsRatio;
use super::table::Table;

/// Largest design effect that is accepted.
pub const DESIGN_EFFECT_MAX: f64 = 1e6;

/// A squared deviation counts as this many design effects at most, so that one freak minute does
/// not blunt the test for good (winsorising; Huber 1964).
const WINSOR_FACTOR: f64 = 12.0;

/// Rounds of the fixed-point iteration; each can raise the estimate twelvefold at most and the
/// last ones move it by less than rounding.
const ROUNDS: usize = 50;

/// Variance of a count over its variance with independent requests, at least 1; dimensionless.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct DesignEffect(f64);

impl DesignEffect {
    /// Independent requests.
    pub const NONE: Self = Self(1.0);

    /// A design effect that is known or assumed.
    ///
    /// # Errors
    /// When `value` is not finite, below 1 or above [`DESIGN_EFFECT_MAX`].
    pub fn new(value: f64) -> Result<Self, StatsError> {
        in_range("design effect", value, 1.0, DESIGN_EFFECT_MAX).map(Self)
    }

    /// The design effect of healthy traffic, from tables of two arms that are known to be alike,
    /// one table a minute.
    ///
    /// ```text
    /// z_t^2 = (x1 - n1 m/N)^2 / (n1 n0 m (N-m) / (N^2 (N-1)))
    /// D <- max(1, mean_t min(z_t^2, 12 D)),   fifty times from D = 1
    /// ```
    ///
    /// `centre` is an odds ratio that the arms are known to have in common: x1 is then expected where the
    /// table's odds ratio would be that, with the variance of Cornfield (1956).
    ///
    /// Tables whose margins leave no freedom are dropped. `None` when no table is left, which is
    /// no reason to believe in 1.
    #[must_use]
    pub fn estimate(alike: &[Table], centre: OddsRatio) -> Option<Self> {
        let squares = squared_deviations(alike, centre)?;
        let mut effect = 1.0;
        for _ in 0..ROUNDS {
            effect = winsorised_mean(&squares, WINSOR_FACTOR * effect).max(1.0);
        }
        Some(Self(effect.min(DESIGN_EFFECT_MAX)))
    }

    /// The same without a limit for single minutes: where clients come in bursts, those few minutes are the
    /// noise, and not freaks.
    ///
    /// ```text
    /// D = max(1, mean_t z_t^2)
    /// ```
    #[must_use]
    pub fn estimate_with_bursts(alike: &[Table], centre: OddsRatio) -> Option<Self> {
        let effect = winsorised_mean(&squared_deviations(alike, centre)?, f64::INFINITY).max(1.0);
        Some(Self(effect.min(DESIGN_EFFECT_MAX)))
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The larger of this and `floor`.
    #[must_use]
    pub fn at_least(self, floor: Self) -> Self {
        Self(self.0.max(floor.0))
    }

    /// Log likelihood ratios divided by the design effect.
    ///
    /// ```text
    /// l_k / D
    /// ```
    #[must_use]
    pub fn temper<const K: usize>(self, ln_lr: [f64; K]) -> [f64; K] {
        ln_lr.map(|l| l / self.0)
    }
}

/// One for each table whose margins leave some freedom; `None` if there is none.
fn squared_deviations(alike: &[Table], centre: OddsRatio) -> Option<Vec<f64>> {
    let free = alike.iter().filter(|table| !table.margins().is_degenerate());
    let squares: Vec<f64> = free.map(|table| squared_deviation(*table, centre)).collect();
    (!squares.is_empty()).then_some(squares)
}

fn squared_deviation(table: Table, centre: OddsRatio) -> f64 {
    let (mean, variance) = table.moments_at(centre);
    let deviation = exact(table.first().bad()) - mean;
    deviation * deviation / variance
}

#[allow(clippy::cast_precision_loss)] // a list in memory is shorter than 2^53
fn winsorised_mean(squares: &[f64], limit: f64) -> f64 {
    squares.iter().map(|z2| z2.min(limit)).sum::<f64>() / squares.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Arm;
    use crate::stats::oracle::{self, assert_close};

    fn table(x1: u64, n1: u64, x0: u64, n0: u64) -> Table {
        Table::new(Arm::new(x1, n1).unwrap(), Arm::new(x0, n0).unwrap()).unwrap()
    }

    #[test]
    fn estimates_agree_with_numpy() {
        let tables = oracle::tables();
        for case in tables["design_effect"].as_array().unwrap() {
            let alike: Vec<Table> = case["tables"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| {
                    let [x1, n1, x0, n0] = [0, 1, 2, 3].map(|i| oracle::count(&row[i]));
                    table(x1, n1, x0, n0)
                })
                .collect();
            let got = DesignEffect::estimate(&alike, OddsRatio::ONE).unwrap().get();
            assert_close(got, oracle::number(&case["design_effect"]), 1e-12, 0.0, &case["name"]);
        }
    }

    #[test]
    fn minutes_without_information_are_dropped() {
        let silent = [table(0, 10, 0, 10), table(10, 10, 9, 9), table(0, 0, 3, 9)];
        assert_eq!(DesignEffect::estimate(&silent, OddsRatio::ONE), None);
        assert_eq!(DesignEffect::estimate(&[], OddsRatio::ONE), None);
        let mut minutes = silent.to_vec();
        minutes.push(table(30, 100, 10, 100));
        assert_eq!(
            DesignEffect::estimate(&minutes, OddsRatio::ONE),
            DesignEffect::estimate(&minutes[3..], OddsRatio::ONE)
        );
    }

    #[test]
    fn arms_more_alike_than_chance_still_count_as_independent() {
        let alike = vec![table(10, 100, 10, 100); 60];
        assert_eq!(DesignEffect::estimate(&alike, OddsRatio::ONE), Some(DesignEffect::NONE));
    }

    #[test]
    fn one_freak_minute_is_limited() {
        let mut minutes = vec![table(10, 100, 10, 100); 59];
        minutes.push(table(100, 100, 0, 100));
        let effect = DesignEffect::estimate(&minutes, OddsRatio::ONE).unwrap();
        assert_eq!(effect, DesignEffect::NONE);
        // With bursts it is not: 199 is the square of that one minute's deviation.
        let effect = DesignEffect::estimate_with_bursts(&minutes, OddsRatio::ONE).unwrap();
        assert!((effect.get() - 199.0 / 60.0).abs() < 1e-9, "{effect:?}");
    }

    #[test]
    fn tempering_divides_and_a_floor_only_raises() {
        let two = DesignEffect::new(2.0).unwrap();
        assert_eq!(two.temper([3.0, -1.0]), [1.5, -0.5]);
        assert_eq!(two.at_least(DesignEffect::NONE), two);
        assert_eq!(two.at_least(DesignEffect::new(10.0).unwrap()).get(), 10.0);
    }

    #[test]
    fn an_offset_that_is_known_is_no_noise() {
        // 2,000 and 1,000 requests; odds of 2.0 between them, as near as whole numbers come.
        let offset = vec![table(334, 2_000, 91, 1_000); 40];
        let apart = DesignEffect::estimate(&offset, OddsRatio::ONE).unwrap().get();
        assert!(apart > 20.0, "{apart}");
        let around = DesignEffect::estimate(&offset, OddsRatio::new(2.0).unwrap()).unwrap();
        assert_eq!(around, DesignEffect::NONE);
    }

    #[test]
    fn moments_at_an_odds_ratio_agree_with_scipy() {
        // nchypergeom_fisher(3000, 400, 1000, 2.0).mean() is 190.05, .var() is 84.65.
        let (mean, variance) = table(100, 1_000, 300, 2_000).moments_at(OddsRatio::new(2.0).unwrap());
        assert!((mean - 190.045_932_907).abs() < 0.05, "{mean}");
        assert!((variance / 84.648_178_167 - 1.0).abs() < 0.01, "{variance}");
    }

    #[test]
    fn design_effects_below_one_are_refused() {
        for value in [0.99, f64::NAN, f64::INFINITY, -3.0] {
            assert!(DesignEffect::new(value).is_err());
        }
    }
}
