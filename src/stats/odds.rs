//! Odds ratios, and the fixed grid of alternatives that evidence is collected against.

use super::error::{StatsError, in_range};

/// Smallest odds ratio that is accepted.
pub const ODDS_RATIO_MIN: f64 = 1e-6;
/// Largest odds ratio that is accepted.
pub const ODDS_RATIO_MAX: f64 = 1e6;

/// How many times the null odds ratio each alternative is.
///
/// The steps widen with the effect, since a large effect is found whichever alternative is near
/// it; with 32 on top, an error rate that goes from 0.1 % to 3 % still has an alternative close
/// by. Eight alternatives cost at most `ln 8` = 2.1 nats of evidence against knowing the effect.
pub const ALTERNATIVE_MULTIPLIERS: [f64; 8] = [1.25, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0, 32.0];

/// Odds of being bad in the first arm over odds of being bad in the second; dimensionless.
///
/// ```text
/// psi = (p1 / (1 - p1)) / (p0 / (1 - p0))
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct OddsRatio(f64);

impl OddsRatio {
    /// No difference between the arms.
    pub const ONE: Self = Self(1.0);

    /// A checked odds ratio.
    ///
    /// # Errors
    /// When `psi` is not finite or outside [`ODDS_RATIO_MIN`]..=[`ODDS_RATIO_MAX`].
    pub fn new(psi: f64) -> Result<Self, StatsError> {
        in_range("odds ratio", psi, ODDS_RATIO_MIN, ODDS_RATIO_MAX).map(Self)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The odds ratio seen from the other arm, `1 / psi`.
    #[must_use]
    pub fn reciprocal(self) -> Self {
        Self((1.0 / self.0).clamp(ODDS_RATIO_MIN, ODDS_RATIO_MAX))
    }
}

/// A null odds ratio and `K` alternatives to it.
///
/// With all alternatives above the null, every likelihood ratio against it is an e-value for the
/// whole one-sided null `psi <= psi0`, because the likelihood ratio is monotone in the count
/// (Lehmann and Romano, "Testing Statistical Hypotheses", section 3.4); with all of them below,
/// for `psi >= psi0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OddsGrid<const K: usize> {
    null: OddsRatio,
    alternatives: [OddsRatio; K],
    ln_growth: [f64; K],
    ascending: Ascending<K>,
}

/// Most odds ratios of a grid, the null included, that are kept in order.
pub(super) const ASCENDING_MAX: usize = 24;

/// The odds ratios of a grid in ascending order, the null among them: neighbours have most of their
/// terms in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ascending<const K: usize> {
    /// Beyond the last one, the last one again; empty of meaning for more than [`ASCENDING_MAX`].
    pub(super) psi: [f64; ASCENDING_MAX],
    /// Their logarithms.
    pub(super) ln_psi: [f64; ASCENDING_MAX],
    /// Where the null stands.
    pub(super) null: usize,
    /// Where each alternative stands.
    pub(super) alternatives: [usize; K],
}

impl<const K: usize> Ascending<K> {
    fn new(null: f64, alternatives: [f64; K]) -> Self {
        let rank = |psi: f64, before: usize| {
            let smaller = alternatives.iter().filter(|other| **other < psi).count();
            smaller + alternatives[..before].iter().filter(|other| **other == psi).count()
        };
        let null_rank = rank(null, 0);
        let ranks: [usize; K] = std::array::from_fn(|k| {
            let psi = alternatives[k];
            rank(psi, k) + usize::from(null <= psi)
        });
        let highest = alternatives.into_iter().fold(null, f64::max);
        let mut psi = [highest; ASCENDING_MAX];
        for (rank, value) in ranks.into_iter().zip(alternatives).chain([(null_rank, null)]) {
            if let Some(place) = psi.get_mut(rank) {
                *place = value;
            }
        }
        Self { psi, ln_psi: psi.map(f64::ln), null: null_rank, alternatives: ranks }
    }
}

impl OddsGrid<8> {
    /// The standard grid for `psi <= null`: [`ALTERNATIVE_MULTIPLIERS`] times the null.
    ///
    /// # Errors
    /// When the largest alternative exceeds [`ODDS_RATIO_MAX`].
    pub fn above(null: OddsRatio) -> Result<Self, StatsError> {
        Self::multiples(null, ALTERNATIVE_MULTIPLIERS)
    }
}

impl<const K: usize> OddsGrid<K> {
    /// Alternatives that are the given multiples of the null.
    ///
    /// # Errors
    /// When an alternative is not a valid [`OddsRatio`].
    pub fn multiples(null: OddsRatio, multipliers: [f64; K]) -> Result<Self, StatsError> {
        let mut alternatives = [null; K];
        for (alternative, multiplier) in alternatives.iter_mut().zip(multipliers) {
            *alternative = OddsRatio::new(null.get() * multiplier)?;
        }
        Ok(Self::new(null, alternatives))
    }

    /// The given alternatives against the given null.
    #[must_use]
    pub fn new(null: OddsRatio, alternatives: [OddsRatio; K]) -> Self {
        let values = alternatives.map(OddsRatio::get);
        Self {
            null,
            alternatives,
            ln_growth: values.map(|psi| (psi / null.get()).ln()),
            ascending: Ascending::new(null.get(), values),
        }
    }

    /// The same grid seen from the other arm: every odds ratio replaced by its reciprocal.
    ///
    /// A grid against `psi <= psi0` becomes one against `psi >= 1/psi0`; the mean of the two
    /// e-values is a two-sided one.
    #[must_use]
    pub fn reciprocal(&self) -> Self {
        Self::new(self.null.reciprocal(), self.alternatives.map(OddsRatio::reciprocal))
    }

    /// The null odds ratio.
    #[must_use]
    pub const fn null(&self) -> OddsRatio {
        self.null
    }

    /// The alternatives, in the order in which they were given.
    #[must_use]
    pub const fn alternatives(&self) -> [OddsRatio; K] {
        self.alternatives
    }

    /// `ln(psi_k / psi0)` for each alternative.
    pub(super) const fn ln_growth(&self) -> [f64; K] {
        self.ln_growth
    }

    /// All of them in order, the null included.
    pub(super) const fn ascending(&self) -> &Ascending<K> {
        &self.ascending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_ratios_that_are_no_numbers_or_absurd_are_refused() {
        for psi in [f64::NAN, f64::INFINITY, 0.0, -1.0, 1e-7, 1e7] {
            assert!(OddsRatio::new(psi).is_err(), "{psi}");
        }
        assert_eq!(OddsRatio::new(1.25).map(OddsRatio::get), Ok(1.25));
    }

    #[test]
    fn the_standard_grid_multiplies_the_null() {
        let grid = OddsGrid::above(OddsRatio::new(1.25).unwrap()).unwrap();
        assert_eq!(grid.alternatives()[0].get(), 1.5625);
        assert_eq!(grid.alternatives()[7].get(), 40.0);
    }

    #[test]
    fn the_reciprocal_of_the_reciprocal_is_the_grid() {
        let grid = OddsGrid::above(OddsRatio::new(2.0).unwrap()).unwrap();
        let mirrored = grid.reciprocal();
        assert_eq!(mirrored.null().get(), 0.5);
        assert_eq!(mirrored.alternatives()[7].get(), 1.0 / 64.0);
        assert_eq!(mirrored.reciprocal(), grid);
    }

    #[test]
    fn odds_ratios_are_kept_in_order_with_the_null_among_them() {
        let odds = |psi| OddsRatio::new(psi).unwrap();
        let grid = OddsGrid::new(odds(1.25), [3.0, 0.5, 1.25, 3.0].map(odds));
        let ascending = grid.ascending();
        assert_eq!(ascending.psi[..7], [0.5, 1.25, 1.25, 3.0, 3.0, 3.0, 3.0]);
        assert_eq!((ascending.null, ascending.alternatives), (1, [3, 0, 2, 4]));
    }

    #[test]
    fn a_null_too_large_for_its_alternatives_is_refused() {
        assert!(OddsGrid::above(OddsRatio::new(1e5).unwrap()).is_err());
    }
}
