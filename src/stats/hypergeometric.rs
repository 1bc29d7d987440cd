//! Fisher's noncentral hypergeometric distribution: bad requests of one arm, given the margins.
//!
//! Given how many requests each arm had and how many were bad in both together, the number of
//! bad ones in the first arm depends on the odds ratio alone: the base rate, whatever it did in
//! that minute, has cancelled. That is why evidence is made of this distribution and not of a
//! difference of rates.
//!
//! ```text
//! f_psi(x) = t(x) / sum_j t(j),   t(j) = C(n1, j) C(n0, m-j) psi^j      (Fisher 1935; Cornfield 1956)
//! t(j+1) / t(j) = psi (n1-j)(m-j) / ((j+1)(n0-m+j+1))
//! ```
//!
//! The binomial coefficients overflow at a few hundred requests and their logarithms lose all
//! digits at 10^9, so neither is ever formed: sums run over ratios of neighbouring terms, outward
//! from an anchor, until the rest is below [`NEGLIGIBLE`] of the sum. The terms are log-concave
//! in `j`, so that the rest is bounded by a geometric series. Where a sum would need thousands of
//! terms, every h-th is enough, see [`STRIDE_FROM_SD`].

use super::error::exact;
use super::factorial::{deviance, stirling_rest};
use super::odds::{OddsGrid, OddsRatio};
use super::polynomial;
use super::table::{Margins, Table};

/// A sum stops when all that is left of it is this part of it at most.
const NEGLIGIBLE: f64 = 1e-17;

/// From this standard deviation on, a sum over the support takes every `h`-th term, `h = sd/2`,
/// and multiplies by `h`.
///
/// That is exact to 1e-30, not an approximation by an integral. By Fourier inversion
/// `h sum_{j = a mod h} f(j) = 1 + sum_{0<k<h} phi(2 pi k/h) e^{..}`, with phi the characteristic
/// function of f. The count is a sum of independent Bernoulli variables (Vatutin and Mikhailov
/// 1982), hence `|phi(u)| <= exp(-2 sd^2 sin^2(u/2))`, below e^-75 for `u = 2 pi/h`, `h = sd/2`.
/// It makes the cost of a sum about forty terms at any count.
const STRIDE_FROM_SD: f64 = 64.0;

/// Up to this distance a ratio of terms is the product of its neighbouring ratios, none of which
/// is below 1e-37, so that the product cannot underflow.
const PRODUCT_MAX: u64 = 8;

impl Margins {
    /// Log probability that the first arm has `x1` bad requests, at odds ratio `psi`.
    ///
    /// ```text
    /// ln f_psi(x1) = ln t(x1) - ln sum_j t(j),   t(j) = C(n1, j) C(n0, m-j) psi^j
    /// ```
    ///
    /// Minus infinity outside the support; 0 where the margins leave no freedom. In nats.
    /// Fisher's noncentral hypergeometric distribution (Fisher 1935; Cornfield 1956).
    #[must_use]
    pub fn ln_pmf(self, x1: u64, psi: OddsRatio) -> f64 {
        let (low, high) = self.support();
        if x1 < low || x1 > high {
            return f64::NEG_INFINITY;
        }
        if low == high {
            return 0.0;
        }
        let terms = Terms::new(self, psi.get());
        let mode = terms.mode();
        terms.ln_ratio(x1, mode) - terms.ln_sum(mode)
    }

    /// `ln (t(low + x) / t(low + anchor))` at `psi = 1`, with `low` the fewest bad requests possible.
    pub(super) fn ln_coefficient_ratio(self, x: u64, anchor: u64) -> f64 {
        let low = self.support().0;
        Terms::new(self, 1.0).ln_ratio(low + x, low + anchor)
    }

    /// Log probability that the first arm has `x1` bad requests or more, at odds ratio `psi`.
    ///
    /// ```text
    /// ln P(X >= x1) = ln sum_{j >= x1} f_psi(j)
    /// ```
    ///
    /// Summed over the tail itself; never one minus the other tail.
    #[must_use]
    pub fn ln_upper_tail(self, x1: u64, psi: OddsRatio) -> f64 {
        let (low, high) = self.support();
        if x1 > high {
            return f64::NEG_INFINITY;
        }
        if x1 <= low {
            return 0.0;
        }
        let terms = Terms::new(self, psi.get());
        let anchor = terms.mode().max(x1);
        let tail = 1.0 + terms.sum_above(anchor) + terms.sum_below(anchor, x1);
        (self.ln_pmf(anchor, psi) + tail.ln()).min(0.0)
    }
}

impl Table {
    /// Log likelihood ratio of each alternative of the grid against its null.
    ///
    /// ```text
    /// l_k = ln f_psi_k(x1) - ln f_psi0(x1)
    /// ```
    ///
    /// In nats; exactly 0 for degenerate margins. `exp(l_k)` has expectation 1 at `psi0` and at
    /// most 1 on the far side of it from `psi_k`, whatever the base rate is.
    #[must_use]
    pub fn ln_likelihood_ratios<const K: usize>(self, grid: &OddsGrid<K>) -> [f64; K] {
        if self.margins().is_degenerate() {
            return [0.0; K];
        }
        polynomial::ln_likelihood_ratios(self, grid).unwrap_or_else(|| self.ratios_one_by_one(grid))
    }

    /// Each log probability on its own: slower, for any counts.
    fn ratios_one_by_one<const K: usize>(self, grid: &OddsGrid<K>) -> [f64; K] {
        let (margins, x1) = (self.margins(), self.first().bad());
        let null = margins.ln_pmf(x1, grid.null());
        grid.alternatives().map(|psi| margins.ln_pmf(x1, psi) - null)
    }
}

/// Whether everything beyond `term` is a negligible part of `sum`, given that successive ratios
/// only fall: the rest is at most `term * step / (1 - step)`.
fn is_negligible(term: f64, step: f64, sum: f64) -> bool {
    step < 1.0 && term <= NEGLIGIBLE * (1.0 - step) * sum
}

/// The terms `t(j)` of one distribution, known by their ratios.
#[derive(Clone, Copy)]
struct Terms {
    margins: Margins,
    n1: f64,
    m: f64,
    /// `n0 - m`: good requests of the second arm when the first has no bad one; may be negative.
    slack: f64,
    psi: f64,
}

impl Terms {
    fn new(margins: Margins, psi: f64) -> Self {
        let (n1, n0, m) = (exact(margins.n1()), exact(margins.n0()), exact(margins.m()));
        Self { margins, n1, m, slack: n0 - m, psi }
    }

    /// `t(j+1) / t(j)`, falling in `j`; 0 at the upper end of the support.
    fn ratio_up(&self, j: f64) -> f64 {
        self.psi * (((self.n1 - j) * (self.m - j)) / ((j + 1.0) * (self.slack + j + 1.0)))
    }

    /// `t(j-1) / t(j)`, rising in `j`; 0 at the lower end of the support.
    fn ratio_down(&self, j: f64) -> f64 {
        (j * (self.slack + j)) / ((self.n1 - j + 1.0) * (self.m - j + 1.0)) / self.psi
    }

    /// Ratios of successive terms from `anchor` upwards; the last one is 0.
    fn steps_up(self, anchor: u64) -> impl Iterator<Item = f64> {
        let mut j = exact(anchor) - 1.0;
        std::iter::repeat_with(move || {
            j += 1.0;
            self.ratio_up(j)
        })
    }

    /// Ratios of successive terms from `anchor` downwards; the last one is 0.
    fn steps_down(self, anchor: u64) -> impl Iterator<Item = f64> {
        let mut j = exact(anchor) + 1.0;
        std::iter::repeat_with(move || {
            j -= 1.0;
            self.ratio_down(j)
        })
    }

    /// The count with the largest term: where the falling ratio first is 1 or less.
    fn mode(&self) -> u64 {
        let (mut low, mut high) = self.margins.support();
        while low < high {
            let middle = low + (high - low) / 2;
            if self.ratio_up(exact(middle)) > 1.0 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// `ln sum_j t(j)/t(mode)` over the whole support.
    fn ln_sum(&self, mode: u64) -> f64 {
        let sd = self.sd_near(mode);
        if sd < STRIDE_FROM_SD {
            let low = self.margins.support().0;
            return (self.sum_above(mode) + self.sum_below(mode, low)).ln_1p();
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 32 <= sd/2 < 2^49
        let stride = (sd / 2.0) as u64;
        self.ln_strided_sum(mode, stride)
    }

    /// Standard deviation by the curvature at the mode (Cornfield 1956); 0 at an end of the
    /// support.
    ///
    /// ```text
    /// 1/sd^2 = 1/j + 1/(n1-j) + 1/(m-j) + 1/(n0-m+j)
    /// ```
    fn sd_near(&self, mode: u64) -> f64 {
        let cells = self.cells(mode);
        cells.into_iter().map(f64::recip).sum::<f64>().recip().sqrt()
    }

    /// The four cells of the table when the first arm has `x` bad requests.
    fn cells(&self, x: u64) -> [f64; 4] {
        let x = exact(x);
        [x, self.slack + x, self.n1 - x, self.m - x]
    }

    /// `sum_{j > anchor} t(j)/t(anchor)`; the anchor is at the mode or above it.
    fn sum_above(&self, anchor: u64) -> f64 {
        sum_outward(self.steps_up(anchor))
    }

    /// `sum_{last <= j < anchor} t(j)/t(anchor)`; terms below the mode that are negligible are
    /// left out.
    fn sum_below(&self, anchor: u64, last: u64) -> f64 {
        let steps = usize::try_from(anchor - last).unwrap_or(usize::MAX);
        sum_outward(self.steps_down(anchor).take(steps))
    }

    /// `ln (h sum_i t(mode + i h)/t(mode))`, see [`STRIDE_FROM_SD`].
    fn ln_strided_sum(&self, mode: u64, stride: u64) -> f64 {
        let (low, high) = self.margins.support();
        let centre = Centre::new(self, mode);
        let up = strided_terms(&centre, mode, |x| Some(x + stride).filter(|x| *x <= high));
        let down = strided_terms(&centre, mode, |x| x.checked_sub(stride).filter(|x| *x >= low));
        (exact(stride) * (1.0 + up + down)).ln()
    }

    /// `ln (t(x) / t(anchor))`.
    fn ln_ratio(&self, x: u64, anchor: u64) -> f64 {
        if x.abs_diff(anchor) <= PRODUCT_MAX {
            return self.product(x, anchor).ln();
        }
        // The formula needs four cells that are not empty; one step in from an end they are not.
        let (low, high) = self.margins.support();
        let inner = anchor.clamp(low + 1, high - 1);
        Centre::new(self, inner).ln_ratio(x) + self.product(inner, anchor).ln()
    }

    /// `t(x) / t(anchor)` as the product of the ratios between them, at most [`PRODUCT_MAX`].
    fn product(&self, x: u64, anchor: u64) -> f64 {
        if x >= anchor {
            (anchor..x).map(|j| self.ratio_up(exact(j))).product()
        } else {
            (x + 1..=anchor).map(|j| self.ratio_down(exact(j))).product()
        }
    }
}

/// Sum of the terms that the successive ratios lead to, the anchor's own term (1) left out.
fn sum_outward(ratios: impl Iterator<Item = f64>) -> f64 {
    let mut term = 1.0;
    let mut sum = 0.0;
    for step in ratios {
        term *= step;
        sum += term;
        if is_negligible(term, step, 1.0 + sum) {
            break;
        }
    }
    sum
}

/// Sum of the terms at the counts that `next` leads to from `start`, relative to the centre's.
fn strided_terms(centre: &Centre, start: u64, next: impl Fn(u64) -> Option<u64>) -> f64 {
    let mut x = start;
    let mut before = 1.0;
    let mut sum = 0.0;
    while let Some(further) = next(x) {
        let term = centre.ln_ratio(further).exp();
        sum += term;
        if is_negligible(term, term / before, 1.0 + sum) {
            break;
        }
        (x, before) = (further, term);
    }
    sum
}

/// A count with four non-empty cells, and what it takes to compare any other count with it.
struct Centre {
    terms: Terms,
    count: f64,
    cells: [f64; 4],
    stirling: f64,
    slope: f64,
}

impl Centre {
    fn new(terms: &Terms, count: u64) -> Self {
        let cells = terms.cells(count);
        Self {
            terms: *terms,
            count: exact(count),
            cells,
            stirling: cells.into_iter().map(stirling_rest).sum(),
            slope: (terms.psi * ((cells[2] * cells[3]) / (cells[0] * cells[1]))).ln(),
        }
    }

    /// `ln (t(x) / t(centre))` by Stirling's formula with the large parts cancelled.
    ///
    /// ```text
    /// (x - c) ln(psi (n1-c)(m-c) / (c (n0-m+c))) - sum over the cells of D(k_x, k_c) + s(k_x) - s(k_c)
    /// ```
    fn ln_ratio(&self, x: u64) -> f64 {
        let cells = self.terms.cells(x);
        let far: f64 = cells.into_iter().zip(self.cells).map(|(cell, centre)| deviance(cell, centre)).sum();
        let stirling: f64 = cells.into_iter().map(stirling_rest).sum();
        (exact(x) - self.count) * self.slope - far - (stirling - self.stirling)
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Arm;
    use super::*;
    use crate::stats::oracle::{self, assert_close};
    use proptest::prelude::*;

    /// Relative tolerance on `ln f`, at counts up to 10^9 an arm.
    const LN_F_REL: f64 = 1e-12;
    /// Tolerance on a log likelihood ratio, relative to the larger of the two logs in it.
    const LN_LR_REL: f64 = 1e-12;

    fn odds(psi: f64) -> OddsRatio {
        OddsRatio::new(psi).unwrap()
    }

    fn table(x1: u64, n1: u64, x0: u64, n0: u64) -> Table {
        Table::new(Arm::new(x1, n1).unwrap(), Arm::new(x0, n0).unwrap()).unwrap()
    }

    fn standard(psi0: f64) -> OddsGrid<8> {
        OddsGrid::above(odds(psi0)).unwrap()
    }

    fn tables_of(margins: Margins) -> impl Iterator<Item = Table> {
        let (low, high) = margins.support();
        (low..=high).map(move |x| table(x, margins.n1(), margins.m() - x, margins.n0()))
    }

    #[test]
    fn log_probabilities_agree_with_50_digits_up_to_a_billion_requests() {
        let tables = oracle::tables();
        for case in tables["hypergeometric"].as_array().unwrap() {
            let [n1, n0, m, x1] = ["n1", "n0", "m", "x1"].map(|name| oracle::count(&case[name]));
            let margins = Margins::new(n1, n0, m).unwrap();
            let got = margins.ln_pmf(x1, odds(case["psi"].as_f64().unwrap()));
            assert_close(got, oracle::number(&case["ln_f"]), LN_F_REL, 0.0, case);
        }
    }

    #[test]
    fn likelihood_ratios_of_the_whole_grid_agree_with_50_digits() {
        let tables = oracle::tables();
        for case in tables["likelihood_ratios"].as_array().unwrap() {
            let [x1, n1, x0, n0] = ["x1", "n1", "x0", "n0"].map(|name| oracle::count(&case[name]));
            let mut grid = standard(case["psi0"].as_f64().unwrap());
            if case["reciprocal"].as_bool().unwrap() {
                grid = grid.reciprocal();
            }
            let got = table(x1, n1, x0, n0).ln_likelihood_ratios(&grid);
            let scale = oracle::number(&case["largest_ln_f"]).abs();
            for (got, want) in got.into_iter().zip(oracle::numbers(&case["ln_lr"])) {
                assert_close(got, want, LN_LR_REL, LN_LR_REL * (1.0 + scale), case);
            }
        }
    }

    #[test]
    fn upper_tails_agree_with_50_digits() {
        let tables = oracle::tables();
        for case in tables["upper_tail"].as_array().unwrap() {
            let [n1, n0, m, x1] = ["n1", "n0", "m", "x1"].map(|name| oracle::count(&case[name]));
            let margins = Margins::new(n1, n0, m).unwrap();
            let got = margins.ln_upper_tail(x1, odds(case["psi"].as_f64().unwrap()));
            assert_close(got, oracle::number(&case["ln_p"]), LN_F_REL, 1e-15, case);
        }
    }

    #[test]
    fn margins_without_freedom_contribute_exactly_nothing() {
        for t in [table(0, 0, 3, 9), table(3, 9, 0, 0), table(0, 5, 0, 7), table(5, 5, 7, 7)] {
            assert_eq!(t.ln_likelihood_ratios(&standard(1.25)), [0.0; 8]);
            assert_eq!(t.margins().ln_pmf(t.first().bad(), odds(3.0)), 0.0);
        }
    }

    #[test]
    fn counts_outside_the_support_are_impossible() {
        let margins = Margins::new(5, 3, 6).unwrap();
        assert_eq!(margins.ln_pmf(2, odds(1.0)), f64::NEG_INFINITY);
        assert_eq!(margins.ln_pmf(6, odds(1.0)), f64::NEG_INFINITY);
        assert_eq!(margins.ln_upper_tail(6, odds(1.0)), f64::NEG_INFINITY);
        assert_eq!(margins.ln_upper_tail(3, odds(1.0)), 0.0);
    }

    #[test]
    fn summing_every_hth_term_gives_the_full_sum() {
        for (n1, n0, m, psi) in [
            (40_000, 60_000, 50_000, 1.0),
            (300_000, 9_000_000, 200_000, 3.0),
            (1_000_000, 1_000_000, 100_000, 0.2),
        ] {
            let terms = Terms::new(Margins::new(n1, n0, m).unwrap(), psi);
            let mode = terms.mode();
            let sd = terms.sd_near(mode);
            assert!(sd > STRIDE_FROM_SD, "{sd}");
            let full = (1.0 + terms.sum_above(mode) + terms.sum_below(mode, 0)).ln();
            for stride in [2, (sd / 3.0) as u64, (sd / 2.0) as u64] {
                let strided = terms.ln_strided_sum(mode, stride);
                assert!((strided - full).abs() < 1e-13, "{stride}: {strided} {full}");
            }
            // And the comparison would notice a stride that is too long.
            let coarse = terms.ln_strided_sum(mode, 3 * (sd as u64));
            assert!((coarse - full).abs() > 1e-3, "{coarse} {full}");
        }
    }

    #[test]
    fn shared_and_separate_sums_agree() {
        let tables = [
            table(3, 150, 12, 2850),
            table(80, 150, 1420, 2850),
            table(150, 150, 1350, 2850),
            table(0, 150, 100, 2850),
            table(40, 400, 260, 9600),
            table(1_200, 2_400, 22_800, 45_600),
            table(100, 2_400, 2_300, 45_600),
            table(2_400, 2_400, 9_000, 45_600),
            table(0, 2_000, 9_000, 18_000),
            table(300, 30_000, 900, 570_000),
        ];
        let wide = [0.01, 0.03, 0.2, 0.5, 0.8, 1.0, 1.1, 2.0, 7.0, 30.0, 40.0, 100.0].map(odds);
        for t in tables {
            for grid in [standard(1.25), standard(1.25).reciprocal()] {
                let shared = polynomial::ln_likelihood_ratios(t, &grid).unwrap();
                assert_all_close(&shared, &t.ratios_one_by_one(&grid), &t);
            }
            let grid = OddsGrid::new(odds(1.25), wide);
            assert_all_close(&t.ln_likelihood_ratios(&grid), &t.ratios_one_by_one(&grid), &t);
        }
    }

    fn assert_all_close(got: &[f64], want: &[f64], t: &Table) {
        for (a, b) in got.iter().zip(want) {
            assert!((a - b).abs() < 1e-11 * (1.0 + b.abs()), "{t:?}: {a} {b}");
        }
    }

    #[test]
    fn supports_that_are_too_wide_are_summed_one_by_one() {
        let far = table(0, 2_000_000, 9_000_000, 18_000_000);
        assert!(polynomial::ln_likelihood_ratios(far, &standard(1.0)).is_none());
        let ratios = far.ln_likelihood_ratios(&standard(1.0));
        assert!(ratios.iter().all(|l| l.is_finite() && *l < -100.0));
        assert!(ratios.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn extreme_odds_and_lopsided_margins_stay_finite() {
        for psi in [1e-6, 1.0, 1e6] {
            for (n1, n0, m) in [(1, 1 << 49, 1 << 48), (1 << 49, 1, 7), (1 << 48, 1 << 48, 1 << 48)] {
                let margins = Margins::new(n1, n0, m).unwrap();
                let (low, high) = margins.support();
                for x in [low, low + (high - low) / 2, high] {
                    let ln_f = margins.ln_pmf(x, odds(psi));
                    assert!(ln_f.is_finite() && ln_f <= 0.0, "{margins:?} {x} {psi}: {ln_f}");
                }
            }
        }
    }

    fn small_margins() -> impl Strategy<Value = Margins> {
        (0..40u64, 0..40u64)
            .prop_flat_map(|(n1, n0)| (Just(n1), Just(n0), 0..=n1 + n0))
            .prop_map(|(n1, n0, m)| Margins::new(n1, n0, m).unwrap())
    }

    proptest! {
        #[test]
        fn probabilities_over_the_support_sum_to_one(margins in small_margins(), psi in 0.01..100.0f64) {
            let (low, high) = margins.support();
            let sum: f64 = (low..=high).map(|x| margins.ln_pmf(x, odds(psi)).exp()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-13);
        }

        #[test]
        fn the_expected_ratio_is_one_at_the_null_and_at_most_one_inside_it(
            margins in small_margins(), psi0 in 0.5..3.0f64, inside in 0.05..1.0f64,
        ) {
            let grid = standard(psi0);
            let mut at_null = [0.0; 8];
            let mut within = [0.0; 8];
            for t in tables_of(margins) {
                let x1 = t.first().bad();
                let ratios = t.ln_likelihood_ratios(&grid);
                for k in 0..8 {
                    at_null[k] += (ratios[k] + margins.ln_pmf(x1, odds(psi0))).exp();
                    within[k] += (ratios[k] + margins.ln_pmf(x1, odds(psi0 * inside))).exp();
                }
            }
            for k in 0..8 {
                prop_assert!((at_null[k] - 1.0).abs() < 1e-12);
                prop_assert!(within[k] <= 1.0 + 1e-12);
            }
        }

        #[test]
        fn shared_sums_agree_with_separate_ones_for_any_table(
            (n1, n0) in (1..3_000u64, 1..3_000u64), bad in (0.0..1.0f64, 0.0..1.0f64),
            rare in 0.0..1.0f64, spread in prop::array::uniform9(-5.0..5.0f64),
        ) {
            let part = |n: u64, rate: f64| (n as f64 * rate * rare * rare) as u64;
            let t = table(part(n1, bad.0), n1, part(n0, bad.1), n0);
            let grid = OddsGrid::new(odds(1.25), spread.map(|ln_psi: f64| odds(ln_psi.exp())));
            let scale = t.margins().ln_pmf(t.first().bad(), odds(1.25)).abs();
            let separate = t.ratios_one_by_one(&grid);
            for (a, b) in t.ln_likelihood_ratios(&grid).into_iter().zip(separate) {
                prop_assert!((a - b).abs() < 1e-12 * (1.0 + scale + b.abs()), "{:?}: {} {}", t, a, b);
            }
        }

        #[test]
        fn exchanging_the_arms_is_the_reciprocal_odds_ratio(
            margins in small_margins(), psi0 in 0.5..3.0f64,
        ) {
            let grid = standard(psi0);
            for t in tables_of(margins) {
                let there = t.ln_likelihood_ratios(&grid);
                let back = t.swapped().ln_likelihood_ratios(&grid.reciprocal());
                for (a, b) in there.into_iter().zip(back) {
                    prop_assert!((a - b).abs() < 1e-12 * (1.0 + a.abs()));
                }
            }
        }

        #[test]
        fn a_higher_count_never_lowers_the_evidence(margins in small_margins()) {
            let grid = standard(1.25);
            let mut before = [f64::NEG_INFINITY; 8];
            for t in tables_of(margins) {
                let now = t.ln_likelihood_ratios(&grid);
                for k in 0..8 {
                    prop_assert!(now[k] >= before[k]);
                }
                before = now;
            }
        }

        #[test]
        fn upper_tails_are_the_sums_of_their_probabilities(
            margins in small_margins(), psi in 0.05..20.0f64,
        ) {
            let (low, high) = margins.support();
            for x1 in low..=high {
                let tail: f64 = (x1..=high).map(|x| margins.ln_pmf(x, odds(psi)).exp()).sum();
                let got = margins.ln_upper_tail(x1, odds(psi)).exp();
                prop_assert!((got - tail).abs() <= 1e-12 * tail);
            }
        }
    }
}
