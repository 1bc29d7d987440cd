//! Random numbers for simulations: a generator of our own, because a library's default generator may change
//! between versions and with it every story that a seed tells.
//!
//! The generator is xoshiro256++ 1.0 (Blackman and Vigna, 2019), seeded through splitmix64 as its authors
//! advise. The samplers are exact for any mean: counts by inversion where the mean is small, and by
//! Hörmann's transformed rejection where it is large (PTRS for Poisson, BTRS for binomial; W. Hörmann, 1993).
//! None of them falls back on a normal approximation, which would get exactly those tails wrong that a
//! significance test looks at.

/// Below this mean, inversion takes fewer steps than rejection; PTRS and BTRS are proven from 10 on.
const INVERSION_MEAN: f64 = 10.0;
/// `ln(2 pi) / 2`.
const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_7;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream of a seed. Streams of one seed with different numbers have nothing in common, so drawing
    /// more from one (latencies, say) leaves the others (errors) as they were.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut mixer = seed ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        Self { state: [(); 4].map(|()| split_mix(&mut mixer)) }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [s0, s1, s2, s3] = self.state;
        let result = s0.wrapping_add(s3).rotate_left(23).wrapping_add(s0);
        let (s2, s3) = (s2 ^ s0, s3 ^ s1);
        self.state = [s0 ^ s3, s1 ^ s2, s2 ^ (s1 << 17), s3.rotate_left(45)];
        result
    }

    /// Uniform on (0, 1), both ends excluded, so that its logarithm exists.
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// How many events there are if `mean` are expected.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        match mean {
            mean if mean.is_nan() || mean <= 0.0 => 0,
            mean if mean < INVERSION_MEAN => self.poisson_by_inversion(mean),
            mean => self.poisson_by_rejection(mean),
        }
    }

    /// How many of `trials` succeed if each does with `probability`.
    pub fn binomial(&mut self, trials: u64, probability: f64) -> u64 {
        if trials == 0 || probability.is_nan() || probability <= 0.0 {
            return 0;
        }
        if probability >= 1.0 {
            return trials;
        }
        if probability > 0.5 {
            return trials - self.binomial(trials, 1.0 - probability);
        }
        if trials as f64 * probability < INVERSION_MEAN {
            self.binomial_by_inversion(trials, probability)
        } else {
            self.binomial_by_rejection(trials, probability)
        }
    }

    /// Walks up the probabilities until they exceed a uniform number.
    fn poisson_by_inversion(&mut self, mean: f64) -> u64 {
        let (mut rest, mut term, mut k) = (self.uniform(), (-mean).exp(), 0_u64);
        while rest > term && term > 0.0 {
            rest -= term;
            k += 1;
            term *= mean / k as f64;
        }
        k
    }

    fn binomial_by_inversion(&mut self, trials: u64, probability: f64) -> u64 {
        let odds = probability / (1.0 - probability);
        let mut term = (trials as f64 * (-probability).ln_1p()).exp();
        let (mut rest, mut k) = (self.uniform(), 0_u64);
        while rest > term && k < trials {
            rest -= term;
            term *= odds * (trials - k) as f64 / (k + 1) as f64;
            k += 1;
        }
        k
    }

    /// Hörmann's PTRS.
    fn poisson_by_rejection(&mut self, mean: f64) -> u64 {
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let surely = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let u = self.uniform() - 0.5;
            let v = self.uniform();
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + mean + 0.43).floor();
            if us >= 0.07 && v <= surely {
                return k as u64;
            }
            if k < 0.0 || (us < 0.013 && v > us) {
                continue;
            }
            let ratio = (v * inverse_alpha / (a / (us * us) + b)).ln();
            if ratio <= k * mean.ln() - mean - ln_factorial(k) {
                return k as u64;
            }
        }
    }

    /// Hörmann's BTRS, for probabilities up to one half.
    fn binomial_by_rejection(&mut self, trials: u64, probability: f64) -> u64 {
        let (n, p) = (trials as f64, probability);
        let spread = (n * p * (1.0 - p)).sqrt();
        let b = 1.15 + 2.53 * spread;
        let a = -0.0873 + 0.0248 * b + 0.01 * p;
        let alpha = (2.83 + 5.1 / b) * spread;
        let surely = 0.92 - 4.2 / b;
        let mode = ((n + 1.0) * p).floor();
        let ln_odds = (p / (1.0 - p)).ln();
        let at_mode = ln_factorial(mode) + ln_factorial(n - mode);
        loop {
            let u = self.uniform() - 0.5;
            let v = self.uniform();
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + n * p + 0.5).floor();
            if k < 0.0 || k > n {
                continue;
            }
            if us >= 0.07 && v <= surely {
                return k as u64;
            }
            let ratio = (v * alpha / (a / (us * us) + b)).ln();
            if ratio <= at_mode - ln_factorial(k) - ln_factorial(n - k) + (k - mode) * ln_odds {
                return k as u64;
            }
        }
    }
}

/// Steele, Lea and Flood's generator, which turns any seed into well mixed state.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// ln k! by Stirling's series. Small arguments are shifted up first, which leaves an error below 1e-13.
fn ln_factorial(k: f64) -> f64 {
    let (mut x, mut below) = (k + 1.0, 1.0);
    while x < 16.0 {
        below *= x;
        x += 1.0;
    }
    let square = x * x;
    let series =
        (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square) / x;
    (x - 0.5) * x.ln() - x + HALF_LN_TWO_PI + series - f64::ln(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance of a sampler, which must lie within five standard errors of what they should be.
    /// The kurtosis of the wanted distribution gives the standard error of the variance.
    fn has_moments(name: &str, mean: f64, variance: f64, excess: f64, mut draw: impl FnMut() -> u64) {
        const DRAWS: u32 = 40_000;
        let n = f64::from(DRAWS);
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..DRAWS {
            let deviation = draw() as f64 - mean;
            sum += deviation;
            squares += deviation * deviation;
        }
        let mean_error = sum / n / (variance / n).sqrt();
        let variance_error = (squares / n - variance) / (variance * ((2.0 + excess) / n).sqrt());
        assert!(mean_error.abs() < 5.0, "{name}: the mean is off by {mean_error} standard errors");
        assert!(
            variance_error.abs() < 5.0,
            "{name}: the variance is off by {variance_error} standard errors"
        );
    }

    #[test]
    fn the_generator_gives_the_published_sequence() {
        // xoshiro256++ from state 1, 2, 3, 4: the first values of the authors' C code.
        let mut random = Random { state: [1, 2, 3, 4] };
        let first: Vec<u64> = (0..4).map(|_| random.bits()).collect();
        assert_eq!(first, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
        // splitmix64 from 1234567, as published with it.
        let mut state = 1_234_567;
        assert_eq!(split_mix(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(split_mix(&mut state), 3_203_168_211_198_807_973);
    }

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let draw = |seed, stream| Random::new(seed, stream).bits();
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        assert_ne!(draw(7, 1), draw(8, 1));
    }

    #[test]
    fn factorials_are_those_of_the_integers() {
        let mut product = 0.0;
        for k in 1..=170_u32 {
            product += f64::from(k).ln();
            let error = (ln_factorial(f64::from(k)) - product).abs();
            assert!(error < 1e-11 * product.max(1.0), "{k}! is off by {error}");
        }
        assert!(ln_factorial(0.0).abs() < 1e-13);
    }

    #[test]
    fn poisson_counts_have_the_right_moments_for_small_and_large_means() {
        for mean in [0.01, 0.5, 3.0, 9.99, 10.0, 10.5, 50.0, 1_000.0, 1e6] {
            let mut random = Random::new(11, 0);
            has_moments(&format!("poisson({mean})"), mean, mean, 1.0 / mean, || random.poisson(mean));
        }
    }

    #[test]
    fn binomial_counts_have_the_right_moments_for_small_and_large_means() {
        let cases = [
            (1, 0.3),
            (50, 0.05),
            (50, 0.003),
            (50, 0.5),
            (50, 0.97),
            (200, 0.05),
            (199, 0.0502),
            (3_000, 0.021),
            (1_000_000, 0.3),
            (1_000_000, 0.000_1),
            (5_000_000_000, 0.5),
        ];
        for (n, p) in cases {
            let mut random = Random::new(12, 0);
            let (mean, q) = (n as f64 * p, 1.0 - p);
            let variance = mean * q;
            let excess = (1.0 - 6.0 * p * q) / variance;
            has_moments(&format!("binomial({n}, {p})"), mean, variance, excess, || random.binomial(n, p));
        }
    }

    /// Pearson's statistic against the exact probabilities, over all values that are expected ten times.
    fn fits(name: &str, probability: impl Fn(u64) -> f64, mut draw: impl FnMut() -> u64) {
        const DRAWS: u64 = 100_000;
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..DRAWS {
            *seen.entry(draw()).or_insert(0_u64) += 1;
        }
        let (mut statistic, mut cells) = (0.0, 0.0);
        for k in 0..400 {
            let expected = probability(k) * DRAWS as f64;
            if expected >= 10.0 {
                let observed = seen.get(&k).copied().unwrap_or(0) as f64;
                statistic += (observed - expected).powi(2) / expected;
                cells += 1.0;
            }
        }
        let excess = (statistic - cells) / (2.0 * cells).sqrt();
        assert!(excess < 5.0, "{name}: chi-square {statistic} over {cells} cells");
    }

    #[test]
    fn both_methods_follow_the_exact_probabilities_value_by_value() {
        for mean in [4.0, 12.0, 120.0] {
            let mut random = Random::new(13, 0);
            let exact = |k: u64| (k as f64 * f64::ln(mean) - mean - ln_factorial(k as f64)).exp();
            fits(&format!("poisson({mean})"), exact, || random.poisson(mean));
        }
        for (n, p) in [(50, 0.05), (300, 0.05), (300, 0.4)] {
            let mut random = Random::new(14, 0);
            let exact = |k: u64| {
                if k > n {
                    return 0.0;
                }
                let (n, k) = (n as f64, k as f64);
                let ways = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
                (ways + k * f64::ln(p) + (n - k) * f64::ln(1.0 - p)).exp()
            };
            fits(&format!("binomial({n}, {p})"), exact, || random.binomial(n, p));
        }
    }

    #[test]
    fn the_edges_are_certain() {
        let mut random = Random::new(1, 1);
        assert_eq!(random.poisson(0.0), 0);
        assert_eq!(random.poisson(f64::NAN), 0);
        assert_eq!(random.binomial(0, 0.5), 0);
        assert_eq!(random.binomial(9, 0.0), 0);
        assert_eq!(random.binomial(9, 1.0), 9);
    }
}
