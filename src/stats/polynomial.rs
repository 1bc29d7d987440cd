//! Normalising sums of the hypergeometric distribution for a whole grid of odds ratios at once.
//!
//! As functions of the odds ratio the sums of one table are one polynomial, whose coefficients all
//! odds ratios share:
//!
//! ```text
//! A(psi) = sum_j w_j psi^j,   w_{j+1} / w_j = (p-j)(q-j) / ((j+1)(u+j+1)),   w_0 = 1
//! j = x1 - max(0, m - n0),   u = |n0 - m|,   p and q: n1 and m less the smallest x1
//! l_k = ln A(psi_0) - ln A(psi_k) + j ln(psi_k / psi_0)
//! ```
//!
//! The coefficients are computed once, by their ratios, and each group of [`GROUP`] odds ratios is
//! evaluated by Horner's rule over the part of the support where it has its weight: some eight
//! standard deviations to either side. Of a wide distribution every h-th term is enough.
//!
//! Where the window ends is an estimate; what it leaves out is bounded afterwards, and there is
//! no answer unless that is [`REST_MAX`] at most. So a wrong estimate costs time, not digits.

use super::error::exact;
use super::lanes;
use super::odds::{ASCENDING_MAX, OddsGrid};
use super::table::{Margins, Table};

/// Odds ratios that share a window.
const GROUP: usize = 4;
/// Groups of one grid at most.
const GROUPS_MAX: usize = ASCENDING_MAX / GROUP;
/// Terms that Horner's rule takes at a time, each in a chain of its own, so that the processor
/// need not wait for the one before.
const CHAINS: usize = 4;
/// Parts of the support whose coefficients are computed side by side.
const STRETCHES: usize = 4;
/// Supports so short are summed whole: finding the window would take longer.
const WHOLE_MAX: f64 = 44.0;
/// The longest window of a group that has it to itself.
const APART_MAX: usize = 2048;
/// How far a group's terms may be apart, in nats, to have coefficients in common.
const TILT_MAX: f64 = 800.0;
/// Odds ratios that go through a whole support together.
const LANES: usize = 12;
/// What a sum may leave out, as a part of it.
const REST_MAX: f64 = 5e-14;
/// Standard deviations to either side that a window covers, and the part of the skewness that
/// shifts it (Cornish and Fisher 1938): `z` and `z^2 / 6`.
const REACH: f64 = 8.0;
const SKEW_REACH: f64 = REACH * REACH / 6.0;
/// Counts that are added to a window's either end.
const MARGIN: f64 = 2.0;
/// Every h-th term is enough where `2 var sin^2(pi/h)` is this large: what that leaves is below
/// e^-32 for each of at most h terms, see `STRIDE_FROM_SD` in the module of the distribution.
const STRIDE_EXPONENT: f64 = 32.0;
/// The smallest variance for strides of 2, 3, ... is [`STRIDE_EXPONENT`] times this,
/// `1 / (2 sin^2(pi/h))`.
const STRIDE_VARIANCES: [f64; 11] =
    [0.5, 0.666_667, 1.0, 1.447_214, 2.0, 2.655_894, 3.414_214, 4.274_319, 5.236_068, 6.299_279, 7.464_102];
/// A coefficient below this has lost digits to underflow, or may have.
const WEIGHT_MIN: f64 = 1e-280;
/// A sum above this is about to overflow, or is no number.
const SUM_MAX: f64 = 1e290;

/// Log likelihood ratios of the grid's alternatives; `None` if the support or the grid is too wide.
pub(super) fn ln_likelihood_ratios<const K: usize>(table: Table, grid: &OddsGrid<K>) -> Option<[f64; K]> {
    if K >= ASCENDING_MAX {
        return None;
    }
    let ascending = grid.ascending();
    let odds = (&ascending.psi, &ascending.ln_psi);
    let shape = Shape::of(table);
    let mut ln_f = [0.0; ASCENDING_MAX];
    if shape.top <= WHOLE_MAX {
        shape.ln_f_over_all(odds, K + 1, &mut ln_f);
    } else {
        let mut windows = [Window::default(); GROUPS_MAX];
        let groups = (K + 1).div_ceil(GROUP);
        let length = shape.windows(&ascending.psi, &mut windows[..groups]);
        let ln_f = &mut ln_f[..groups * GROUP];
        // Short arrays for short supports: clearing a long one takes as long as filling it.
        match length {
            0..=64 => shape.ln_f(odds, &windows, &mut [0.0; 64][..length], ln_f),
            65..=128 => shape.ln_f(odds, &windows, &mut [0.0; 128][..length], ln_f),
            129..=256 => shape.ln_f(odds, &windows, &mut [0.0; 256][..length], ln_f),
            _ => shape.ln_f_apart(table.margins(), odds, &windows, ln_f),
        }?;
    }
    let null = ln_f[ascending.null];
    Some(ascending.alternatives.map(|rank| ln_f[rank] - null))
}

/// A part of the support: `blocks` times [`CHAINS`] terms from `start` on, `stride` apart. May
/// extend beyond the support, where all coefficients are 0.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    start: usize,
    stride: usize,
    blocks: usize,
}

impl Window {
    fn new(start: usize, last: usize, stride: usize) -> Self {
        Self { start, stride, blocks: (last + 1 - start).div_ceil(CHAINS * stride) }
    }

    fn end(self) -> usize {
        self.start + CHAINS * self.stride * self.blocks
    }
}

/// The distribution's margins, seen from the lower end of the support.
#[derive(Debug, Clone, Copy)]
struct Shape {
    p: f64,
    q: f64,
    u: f64,
    /// The observed count.
    count: f64,
    /// The upper end of the support.
    top: f64,
}

impl Shape {
    fn of(table: Table) -> Self {
        let (n1, n0, m) = table.margins_f64();
        let low = (m - n0).max(0.0);
        let (p, q) = (n1 - low, m - low);
        Self { p, q, u: (n0 - m).abs(), count: exact(table.first().bad()) - low, top: p.min(q) }
    }

    /// `w_{j+1} / w_j`; 0 at the upper end of the support.
    #[inline]
    fn ratio(&self, j: f64) -> f64 {
        ((self.p - j) * (self.q - j)) / ((j + 1.0) * (self.u + j + 1.0))
    }

    /// Finds one window a group, and says how many coefficients they need.
    ///
    /// ```text
    /// c: psi (p-c)(q-c) = c (u+c)                    1/var = 1/c + 1/(u+c) + 1/(p-c) + 1/(q-c)
    /// c -+ 8 sd + (64/6) skew,   skew = var^2 (1/c^2 + 1/(u+c)^2 - 1/(p-c)^2 - 1/(q-c)^2)
    /// ```
    ///
    /// Cornfield's (1956) variance is within 1 % of the exact one from 10 on. Its reciprocal is convex
    /// in `c`, so that between a group's two ends it is nowhere smaller than at one of them.
    #[inline]
    fn windows(&self, psi: &[f64; ASCENDING_MAX], windows: &mut [Window]) -> usize {
        let Self { p, q, u, .. } = *self;
        let sum = p + q;
        // The ends of all groups, the lower ones first: in one loop, so that they need not wait for each other.
        let mut reach = [0.0; 2 * GROUPS_MAX];
        let mut variances = [0.0; 2 * GROUPS_MAX];
        let ends = psi.as_chunks::<GROUP>().0.iter().flat_map(|psi| [psi[0], psi[GROUP - 1]]);
        let mut odds = [1.0; 2 * GROUPS_MAX];
        odds.iter_mut().zip(ends).for_each(|(odds, psi)| *odds = psi);
        let outward = [-1.0, 1.0];
        for end in 0..2 * windows.len() {
            let (psi, sign) = (odds[end], outward[end % 2]);
            // Under the root is a sum of positive terms.
            let root = (u * u + psi * (2.0 * u * sum + psi * (p - q) * (p - q) + 4.0 * p * q)).sqrt();
            let centre = 2.0 * psi * p * q / (u + psi * sum + root);
            // Both fractions by c (u+c), which is psi (p-c)(q-c): one division for all of it.
            let (rising, falling) = (u + 2.0 * centre, psi * (sum - 2.0 * centre));
            let inverse = 1.0 / (rising + falling);
            let variance = centre * (u + centre) * inverse;
            let skew = ((rising - falling) + 2.0 * (psi - 1.0) * variance) * inverse;
            // Skewness may extend a window, but not shorten it.
            let skew = if sign * skew > 0.0 { SKEW_REACH * skew } else { 0.0 };
            reach[end] = centre + skew + sign * (REACH * variance.sqrt() + MARGIN);
            variances[end] = variance;
        }
        let mut end = 0;
        for ((window, reach), variances) in
            windows.iter_mut().zip(reach.as_chunks().0).zip(variances.as_chunks().0)
        {
            let ([first, last], [low, high]): (&[f64; 2], &[f64; 2]) = (reach, variances);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // not negative; saturates
            let (first, last) = (first.max(0.0) as usize, last.min(self.top) as usize + 1);
            *window = Window::new(first, last, stride(low.min(*high)));
            end = end.max(window.end());
        }
        (end - windows[0].start).next_multiple_of(STRETCHES)
    }

    /// As [`ln_f`](Self::ln_f), summed over the whole support for the first `needed` odds ratios.
    #[inline]
    fn ln_f_over_all(
        &self,
        (psi, ln_psi): (&[f64; ASCENDING_MAX], &[f64; ASCENDING_MAX]),
        needed: usize,
        ln_f: &mut [f64; ASCENDING_MAX],
    ) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most WHOLE_MAX
        let length = (self.top as usize + 1).next_multiple_of(STRETCHES);
        let mut weights = [0.0; (WHOLE_MAX as usize + 1).next_multiple_of(STRETCHES)];
        self.fill(&mut weights[..length], 0, 1.0);
        let lanes = psi.as_chunks::<LANES>().0.iter().zip(ln_psi.as_chunks::<LANES>().0);
        let groups = needed.div_ceil(LANES);
        for (ln_f, (psi, ln_psi)) in ln_f.as_chunks_mut::<LANES>().0.iter_mut().zip(lanes).take(groups) {
            let mut sums = [0.0; LANES];
            for weight in weights[..length].iter().rev() {
                for lane in 0..LANES {
                    sums[lane] = sums[lane] * psi[lane] + weight;
                }
            }
            for lane in 0..LANES {
                ln_f[lane] = self.count * ln_psi[lane] - lanes::ln(sums[lane]);
            }
        }
    }

    /// Log probabilities of the observed count in ascending order of the odds ratio, all of them less
    /// the log of the count's own coefficient.
    ///
    /// ```text
    /// j ln psi - ln A(psi)
    /// ```
    #[inline]
    fn ln_f(
        &self,
        (psi, ln_psi): (&[f64; ASCENDING_MAX], &[f64; ASCENDING_MAX]),
        windows: &[Window; GROUPS_MAX],
        weights: &mut [f64],
        ln_f: &mut [f64],
    ) -> Option<()> {
        let origin = windows[0].start;
        self.fill(weights, origin, 1.0);
        let needed = ln_f.len() / GROUP;
        let mut rests = [Rest::default(); GROUPS_MAX];
        let mut powers = [0.0; ASCENDING_MAX];
        let groups = psi.as_chunks::<GROUP>().0.iter().zip(ln_psi.as_chunks::<GROUP>().0);
        let places = ln_f.as_chunks_mut::<GROUP>().0.iter_mut().zip(powers.as_chunks_mut::<GROUP>().0);
        for (((sums, powers), rest), (window, (psi, ln_psi))) in
            places.zip(&mut rests).zip(windows.iter().zip(groups))
        {
            let part = &weights[window.start - origin..window.end() - origin];
            *sums = evaluate(part, window.stride, psi);
            *rest = self.rest(*window, part, [psi[0], psi[GROUP - 1]], ln_psi[GROUP - 1], sums);
            *sums = sums.map(|sum| sum * count(window.stride));
            *powers = [self.count - count(window.start); GROUP];
        }
        // All logarithms and exponentials in one loop each, for the same reason as the windows.
        for ((sum, power), ln_psi) in ln_f.iter_mut().zip(powers).zip(ln_psi) {
            *sum = power * ln_psi - lanes::ln(*sum);
        }
        let complete = rests[..needed].iter().fold(true, |complete, rest| complete & rest.is_negligible());
        complete.then_some(())
    }

    /// As [`ln_f`](Self::ln_f), for windows too far apart to share coefficients: each group has its
    /// own or, if even that is too wide, each odds ratio.
    fn ln_f_apart(
        &self,
        margins: Margins,
        (psi, ln_psi): (&[f64; ASCENDING_MAX], &[f64; ASCENDING_MAX]),
        windows: &[Window; GROUPS_MAX],
        ln_f: &mut [f64],
    ) -> Option<()> {
        let mut weights = [0.0; APART_MAX];
        let groups = psi.as_chunks::<GROUP>().0.iter().zip(ln_psi.as_chunks::<GROUP>().0);
        for ((ln_f, window), (psi, ln_psi)) in
            ln_f.as_chunks_mut::<GROUP>().0.iter_mut().zip(windows).zip(groups)
        {
            let spread = (ln_psi[GROUP - 1] - ln_psi[0]) * count(window.end() - window.start);
            if spread < TILT_MAX {
                *ln_f = self.ln_f_of_group(margins, *window, (psi, ln_psi), &mut weights)?;
                continue;
            }
            for lane in 0..GROUP {
                if lane > 0 && psi[lane] == psi[lane - 1] {
                    ln_f[lane] = ln_f[lane - 1];
                    continue;
                }
                let mut own = [Window::default()];
                self.windows(&[psi[lane]; ASCENDING_MAX], &mut own);
                let odds = (&[psi[lane]; GROUP], &[ln_psi[lane]; GROUP]);
                ln_f[lane] = self.ln_f_of_group(margins, own[0], odds, &mut weights)?[0];
            }
        }
        Some(())
    }

    /// The same for one group, whose coefficients are tilted to the middle of its odds ratios so that
    /// none leaves the range of `f64`.
    fn ln_f_of_group(
        &self,
        margins: Margins,
        window: Window,
        (psi, ln_psi): (&[f64; GROUP], &[f64; GROUP]),
        weights: &mut [f64; APART_MAX],
    ) -> Option<[f64; GROUP]> {
        let weights = weights.get_mut(..window.end() - window.start)?;
        let ends = [psi[0], psi[GROUP - 1]];
        let tilt = (ends[0] * ends[1]).sqrt();
        self.fill(weights, window.start, tilt);
        let sums = evaluate(weights, window.stride, &psi.map(|psi| psi / tilt));
        let ln_highest = 0.5 * (ln_psi[GROUP - 1] - ln_psi[0]);
        if !self.rest(window, weights, ends, ln_highest, &sums).is_negligible() {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a whole number
        let ln_first = margins.ln_coefficient_ratio(window.start as u64, self.count as u64);
        let power = self.count - count(window.start);
        Some(std::array::from_fn(|lane| {
            power * ln_psi[lane] - ln_first - lanes::ln(sums[lane] * count(window.stride))
        }))
    }

    /// The coefficients from `origin` on, relative to the first: four stretches side by side, each
    /// relative to its own first, which are then put together. With a tilt, `w_j tilt^j`.
    #[inline]
    fn fill(&self, weights: &mut [f64], origin: usize, tilt: f64) {
        let length = weights.len() / STRETCHES;
        let mut stretches = weights.chunks_exact_mut(length.max(1));
        let [first, second, third, fourth] = std::array::from_fn(|_| stretches.next().unwrap_or_default());
        let mut weight = [1.0; STRETCHES];
        let mut j: [f64; STRETCHES] = std::array::from_fn(|stretch| count(origin + stretch * length));
        for (((a, b), c), d) in first.iter_mut().zip(&mut *second).zip(&mut *third).zip(&mut *fourth) {
            [*a, *b, *c, *d] = weight;
            for stretch in 0..STRETCHES {
                weight[stretch] *= tilt * self.ratio(j[stretch]);
                j[stretch] += 1.0;
            }
        }
        let mut scale = 1.0;
        for (stretch, step) in [second, third, fourth].into_iter().zip(weight) {
            scale *= step;
            stretch.iter_mut().for_each(|weight| *weight *= scale);
        }
    }

    /// What is beyond a window's ends.
    #[inline]
    fn rest(
        &self,
        window: Window,
        weights: &[f64],
        [lowest, highest]: [f64; 2],
        ln_highest: f64,
        sums: &[f64; GROUP],
    ) -> Rest {
        let span = count(window.end() - window.stride - window.start);
        let (first, last) = (count(window.start), count(window.start) + span);
        Rest {
            first: weights[0],
            last: weights[weights.len() - window.stride],
            ln_power: span * ln_highest,
            step_down: 1.0 / (lowest * self.ratio(first - 1.0)),
            step_up: highest * self.ratio(last),
            lowest: sums[0] * count(window.stride),
            highest: sums[GROUP - 1] * count(window.stride),
            is_at_bottom: window.start == 0,
            is_at_top: last >= self.top,
        }
    }
}

/// What it takes to bound the terms beyond the ends of a window: the coefficients at its ends, the next
/// term's ratio to the last one, and the sums of the lowest and the highest odds ratio.
#[derive(Debug, Clone, Copy, Default)]
struct Rest {
    first: f64,
    last: f64,
    ln_power: f64,
    step_down: f64,
    step_up: f64,
    lowest: f64,
    highest: f64,
    is_at_bottom: bool,
    is_at_top: bool,
}

impl Rest {
    /// Whether the sums are right: no coefficient was lost to underflow, none to overflow, and what
    /// is beyond the window's ends is negligible.
    ///
    /// Successive terms have falling ratios, hence the rest is less than a geometric series. Above,
    /// it is the largest part of the highest odds ratio's sum, below of the lowest one's. Written
    /// without shortcuts: a branch that cannot be foreseen takes longer than all of this.
    #[inline]
    fn is_negligible(&self) -> bool {
        let small = |next: f64, step: f64, sum: f64| (step < 1.0) & (next <= REST_MAX * (1.0 - step) * sum);
        let below = self.is_at_bottom | small(self.first * self.step_down, self.step_down, self.lowest);
        let term = self.last * lanes::exp(self.ln_power);
        let above = small(term * self.step_up, self.step_up, self.highest)
            & (self.last >= WEIGHT_MIN)
            & (self.ln_power < lanes::LN_LIMIT);
        let normal = (self.first >= WEIGHT_MIN) & (self.lowest < SUM_MAX) & (self.highest < SUM_MAX);
        below & (above | self.is_at_top) & normal
    }
}

/// The longest stride that the variance allows.
#[inline]
fn stride(variance: f64) -> usize {
    1 + STRIDE_VARIANCES.iter().filter(|bound| **bound * STRIDE_EXPONENT <= variance).count()
}

/// `sum_i w_{i h} psi^{i h}` for each odds ratio; the number of coefficients is a multiple of
/// `CHAINS * stride`.
#[inline]
fn evaluate(weights: &[f64], stride: usize, psi: &[f64; GROUP]) -> [f64; GROUP] {
    let base = power(*psi, stride);
    let base2 = times(base, base);
    let leap = times(base2, base2);
    let mut chains = [[0.0; GROUP]; CHAINS];
    let mut add = |block: [f64; CHAINS]| {
        for (sums, weight) in chains.iter_mut().zip(block) {
            *sums = std::array::from_fn(|lane| sums[lane] * leap[lane] + weight);
        }
    };
    if stride == 1 {
        weights.as_chunks().0.iter().rev().for_each(|block| add(*block));
    } else {
        let blocks = weights.chunks_exact(CHAINS * stride).rev();
        blocks.for_each(|block| add([0, 1, 2, 3].map(|chain| block[chain * stride])));
    }
    std::array::from_fn(|lane| {
        let odd = chains[1][lane] + base2[lane] * chains[3][lane];
        chains[0][lane] + base2[lane] * chains[2][lane] + base[lane] * odd
    })
}

#[inline]
fn times<const N: usize>(a: [f64; N], b: [f64; N]) -> [f64; N] {
    std::array::from_fn(|lane| a[lane] * b[lane])
}

#[inline]
fn power(psi: [f64; GROUP], exponent: usize) -> [f64; GROUP] {
    let mut product = psi;
    for _ in 1..exponent {
        product = times(product, psi);
    }
    product
}

/// Lengths of arrays in memory are exact in `f64`.
#[allow(clippy::cast_precision_loss)]
#[inline]
fn count(length: usize) -> f64 {
    length as f64
}
