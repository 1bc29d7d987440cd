//! Exponentials and logarithms of a few numbers at once.
//!
//! A verdict takes some hundred thousand of them. The library's functions work number by number;
//! these are plain arithmetic without a branch or a table, so that the compiler turns a loop over an
//! array into vector instructions. Within two units of the last place of the exact values.

use std::f64::consts::LOG2_E;

/// Arguments of [`exp`] are moved into -LIMIT..=LIMIT: e^690 is 1e299, so that neither the
/// result nor its reciprocal leaves the range of normal numbers.
pub(super) const LN_LIMIT: f64 = 690.0;

/// ln 2 in two parts; products of the first with whole numbers up to 2^20 are exact.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// Adding 1.5 * 2^52 leaves a number's nearest integer in the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
const MANTISSA_BITS: u32 = 52;
const EXPONENT_BIAS: u64 = 1023;

/// `1/k!` for k = 2..=13: the rest of the series is below 1e-17 for arguments up to ln(2)/2.
const EXP_SERIES: [f64; 12] = [
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5_040.0,
    1.0 / 40_320.0,
    1.0 / 362_880.0,
    1.0 / 3_628_800.0,
    1.0 / 39_916_800.0,
    1.0 / 479_001_600.0,
    1.0 / 6_227_020_800.0,
];

/// `(ln(1+s) - ln(1-s) - 2s) / s` as a polynomial in `s^2`, lowest power first: the coefficients of
/// fdlibm's `log` (Sun Microsystems 1993), off by less than 2^-58.
const LN_SERIES: [f64; 7] = [
    6.666_666_666_666_735e-1,
    3.999_999_999_940_942e-1,
    2.857_142_874_366_239e-1,
    2.222_219_843_214_978_4e-1,
    1.818_357_216_161_805e-1,
    1.531_383_769_920_937_3e-1,
    1.479_819_860_511_658_6e-1,
];

/// The bits of `sqrt(1/2)`: mantissas are taken between it and `sqrt(2)`.
const SQRT_HALF_BITS: u64 = 0x3fe6_a09e_667f_3bcd;

/// `e^x`, with `x` first moved into -[`LN_LIMIT`]..=[`LN_LIMIT`].
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    // In this form `max` and `min` become one instruction each.
    let x = if x > -LN_LIMIT { x } else { -LN_LIMIT };
    let x = if x < LN_LIMIT { x } else { LN_LIMIT };
    let shifted = x * LOG2_E + ROUNDER;
    let power = shifted - ROUNDER;
    let r = (x - power * LN2_HIGH) - power * LN2_LOW;
    let r2 = r * r;
    // Even and odd powers apart: half as long a chain.
    let c = &EXP_SERIES;
    let even = c[0] + r2 * (c[2] + r2 * (c[4] + r2 * (c[6] + r2 * (c[8] + r2 * c[10]))));
    let odd = c[1] + r2 * (c[3] + r2 * (c[5] + r2 * (c[7] + r2 * (c[9] + r2 * c[11]))));
    let scale = shifted.to_bits().wrapping_add(EXPONENT_BIAS) << MANTISSA_BITS;
    (1.0 + (r + r2 * (even + r * odd))) * f64::from_bits(scale)
}

/// `ln x` of a positive, finite and normal number.
#[inline(always)]
pub(super) fn ln(x: f64) -> f64 {
    const ONE: u64 = EXPONENT_BIAS << MANTISSA_BITS;
    /// 2^52, whose low bits can be set to any whole number below it.
    const WHOLE: u64 = (EXPONENT_BIAS + 52) << MANTISSA_BITS;
    #[allow(clippy::cast_precision_loss)] // a power of two and a small number
    const WHOLE_AND_BIAS: f64 = (1u64 << 52) as f64 + EXPONENT_BIAS as f64;
    let bits = x.to_bits().wrapping_add(ONE - SQRT_HALF_BITS);
    let exponent = bits >> MANTISSA_BITS;
    let mantissa = (bits & ((1 << MANTISSA_BITS) - 1)) + SQRT_HALF_BITS;
    let power = f64::from_bits(WHOLE | exponent) - WHOLE_AND_BIAS;
    let f = f64::from_bits(mantissa) - 1.0;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let c = &LN_SERIES;
    let even = s4 * (c[1] + s4 * (c[3] + s4 * c[5]));
    let odd = s2 * (c[0] + s4 * (c[2] + s4 * (c[4] + s4 * c[6])));
    let half = 0.5 * f * f;
    power * LN2_HIGH - ((half - (s * (half + (even + odd)) + power * LN2_LOW)) - f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two units of the last place.
    const REL: f64 = 4.5e-16;

    #[test]
    fn whole_powers_and_the_ends_of_the_range_are_right() {
        assert_eq!([0.0, -0.0].map(exp), [1.0, 1.0]);
        assert_eq!(ln(1.0), 0.0);
        assert_eq!([1e9, f64::INFINITY, 690.0].map(exp), [exp(690.0); 3]);
        assert_eq!([-1e9, f64::NEG_INFINITY, -690.0].map(exp), [exp(-690.0); 3]);
        for x in [f64::MIN_POSITIVE, 0.5, 1.0 - f64::EPSILON, 1.0 + f64::EPSILON, 2.0, f64::MAX] {
            assert!((ln(x) - x.ln()).abs() <= REL * x.ln().abs(), "{x}");
        }
    }

    proptest! {
        #[test]
        fn both_agree_with_the_library(x in -690.0..690.0f64, near in -0.5..0.5f64) {
            for x in [x, near, near * 1e-6] {
                prop_assert!((exp(x) - x.exp()).abs() <= REL * x.exp(), "{}", x);
            }
            for y in [x.exp(), 1.0 + near, 1.0 + near * 1e-6] {
                prop_assert!((ln(y) - y.ln()).abs() <= REL * y.ln().abs(), "{}", y);
            }
        }
    }
}
