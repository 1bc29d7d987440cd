//! Checked quantities. A bare number says neither its unit nor its range; these say both, and a value
//! that exists has been checked.
//!
//! Each type reads and writes the text that a person puts into a plan (`5%`, `1.25x`, `15m`), so a plan
//! that is stored in a record looks like the plan that was written.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Why a text is not the quantity that was asked for. `Display` is the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct UnitError {
    rule: String,
}

impl UnitError {
    fn new(rule: impl Into<String>) -> Self {
        Self { rule: rule.into() }
    }
}

/// Reads a finite decimal number. `str::parse` alone would take `inf`, `nan` and `1e999`.
fn number(text: &str, rule: &str) -> Result<f64, UnitError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    match text.parse::<f64>() {
        Ok(value) if plain && value.is_finite() => Ok(value),
        _ => Err(UnitError::new(rule)),
    }
}

/// Serde as the text form, for types that have `Display` and `FromStr`.
macro_rules! text_serde {
    ($name:ty) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// One minute of the clock, in UTC; the unit of every count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(i64);

impl Minute {
    /// The minute that `at` lies in.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self(at.as_second().div_euclid(60))
    }

    /// Its first instant.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp::from_second(self.0 * 60).unwrap_or(if self.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }

    /// `minutes` later (earlier if negative).
    #[must_use]
    pub fn plus(self, minutes: i64) -> Self {
        Self(self.0.saturating_add(minutes))
    }

    /// Minutes from `earlier` to this one.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.start().fmt(f)
    }
}

impl FromStr for Minute {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let rule = "is an RFC 3339 time on a whole minute, such as 2026-03-01T10:00:00Z";
        let at: Timestamp = text.parse().map_err(|_| UnitError::new(rule))?;
        let minute = Self::of(at);
        if minute.start() == at { Ok(minute) } else { Err(UnitError::new(rule)) }
    }
}

text_serde!(Minute);

/// Percent of the traffic that goes to the canary: 0 to 100.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

impl Share {
    /// The canary is drained.
    pub const ZERO: Self = Self(0.0);
    /// The canary has it all.
    pub const FULL: Self = Self(100.0);

    /// # Errors
    /// If `percent` is not a finite number from 0 to 100.
    pub fn from_percent(percent: f64) -> Result<Self, UnitError> {
        if (0.0..=100.0).contains(&percent) {
            // `+ 0.0` makes a negative zero positive.
            Ok(Self(percent + 0.0))
        } else {
            Err(UnitError::new("is a percentage from 0 to 100"))
        }
    }

    /// The share that two weights stand for; zero if both are.
    #[must_use]
    pub fn of_weights(canary: u32, stable: u32) -> Self {
        let total = f64::from(canary) + f64::from(stable);
        if total == 0.0 { Self::ZERO } else { Self(f64::from(canary) / total * 100.0) }
    }

    /// 0 to 100.
    #[must_use]
    pub fn percent(self) -> f64 {
        self.0
    }

    /// 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        self.0 / 100.0
    }

    /// Equal as far as weights can express it (half of a thousandth of the traffic).
    #[must_use]
    pub fn same_as(self, other: Self) -> bool {
        (self.0 - other.0).abs() < 0.05
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        share.0
    }
}

impl TryFrom<f64> for Share {
    type Error = UnitError;
    fn try_from(percent: f64) -> Result<Self, UnitError> {
        Self::from_percent(percent)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", (self.0 * 1000.0).round() / 1000.0)
    }
}

impl FromStr for Share {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let rule = "is a percentage from 0 to 100, such as 5%";
        let percent = text.strip_suffix('%').ok_or_else(|| UnitError::new(rule))?;
        Self::from_percent(number(percent.trim(), rule)?).map_err(|_| UnitError::new(rule))
    }
}

/// A proportion of events, or a probability: 0 to 1, written as a percentage.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// # Errors
    /// If `fraction` is not a finite number from 0 to 1.
    pub fn from_fraction(fraction: f64) -> Result<Self, UnitError> {
        if (0.0..=1.0).contains(&fraction) {
            Ok(Self(fraction + 0.0))
        } else {
            Err(UnitError::new("is a percentage from 0 to 100"))
        }
    }

    /// A rate known to be in range when the program is compiled.
    ///
    /// # Panics
    /// When evaluated with a percentage outside 0 to 100; in a constant, that is a compile error.
    #[must_use]
    pub const fn percent_const(percent: f64) -> Self {
        assert!(percent >= 0.0 && percent <= 100.0, "a rate is 0 to 100 %");
        Self(percent / 100.0)
    }

    /// 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", twelve_decimals(self.0 * 100.0))
    }
}

impl FromStr for Rate {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let rule = "is a percentage from 0 to 100, such as 0.1%";
        let percent = text.strip_suffix('%').ok_or_else(|| UnitError::new(rule))?;
        let percent = twelve_decimals(number(percent.trim(), rule)?);
        Self::from_fraction(percent / 100.0).map_err(|_| UnitError::new(rule))
    }
}

/// They hide the last bit of `0.001 * 100` and keep every rate that a person writes. No more are read than are
/// written: what is kept in a record must be read back as it was, and not as zero.
fn twelve_decimals(percent: f64) -> f64 {
    (percent * 1e12).round() / 1e12
}

text_serde!(Rate);

/// How many times as much: an odds ratio or a rate ratio, at least 1, written `1.25x`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Times(f64);

impl Times {
    /// The largest ratio that makes sense as a tolerance; beyond it the check is off in all but name.
    pub const MAX: f64 = 100.0;

    /// # Errors
    /// If `ratio` is not a finite number from 1 to [`Times::MAX`].
    pub fn new(ratio: f64) -> Result<Self, UnitError> {
        if (1.0..=Self::MAX).contains(&ratio) {
            Ok(Self(ratio))
        } else {
            Err(UnitError::new("is a ratio from 1x to 100x"))
        }
    }

    /// A ratio known to be in range when the program is compiled.
    ///
    /// # Panics
    /// When evaluated with a ratio out of range; in a constant, that is a compile error.
    #[must_use]
    pub const fn constant(ratio: f64) -> Self {
        assert!(ratio >= 1.0 && ratio <= Self::MAX, "a ratio is 1 to 100");
        Self(ratio)
    }

    /// The ratio.
    #[must_use]
    pub fn ratio(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x", self.0)
    }
}

impl FromStr for Times {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let rule = "is a ratio from 1x to 100x, such as 1.25x";
        let ratio = text.strip_suffix('x').ok_or_else(|| UnitError::new(rule))?;
        Self::new(number(ratio.trim(), rule)?).map_err(|_| UnitError::new(rule))
    }
}

text_serde!(Times);

/// A quantile, above 0 and below 100 percent, written `p99` or `p99.9`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Quantile(f64);

impl Quantile {
    /// # Errors
    /// If `percent` is not a finite number above 0 and below 100.
    pub fn from_percent(percent: f64) -> Result<Self, UnitError> {
        if percent > 0.0 && percent < 100.0 {
            Ok(Self(percent))
        } else {
            Err(UnitError::new("is a quantile above p0 and below p100"))
        }
    }

    /// A quantile known to be in range when the program is compiled.
    ///
    /// # Panics
    /// When evaluated out of range; in a constant, that is a compile error.
    #[must_use]
    pub const fn percent_const(percent: f64) -> Self {
        assert!(percent > 0.0 && percent < 100.0, "a quantile is above 0 and below 100 %");
        Self(percent)
    }

    /// The part of all samples below it, 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        self.0 / 100.0
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

impl FromStr for Quantile {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let rule = "is a quantile such as p50, p99 or p99.9";
        let percent = text.strip_prefix('p').ok_or_else(|| UnitError::new(rule))?;
        Self::from_percent(number(percent, rule)?).map_err(|_| UnitError::new(rule))
    }
}

text_serde!(Quantile);

/// A length of time in whole seconds, written with its unit: `90s`, `15m`, `4h`, `1d`, `1h30m`.
/// A bare number is refused, but for `0`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    seconds: u64,
}

/// The units of a [`Span`], largest first.
const SPAN_UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self { seconds }
    }

    /// So many minutes.
    #[must_use]
    pub const fn from_minutes(minutes: u64) -> Self {
        Self::from_seconds(minutes * 60)
    }

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.seconds
    }

    /// In minutes, a started one counted whole.
    #[must_use]
    pub const fn minutes(self) -> u64 {
        self.seconds.div_ceil(60)
    }

    /// As a difference of times.
    #[must_use]
    pub fn signed(self) -> SignedDuration {
        SignedDuration::from_secs(i64::try_from(self.seconds).unwrap_or(i64::MAX))
    }

    /// As the standard library's duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Its whole minutes, to count with [`Minute::plus`].
    #[must_use]
    pub fn whole_minutes(self) -> i64 {
        i64::try_from(self.minutes()).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds == 0 {
            return f.write_str("0m");
        }
        let mut rest = self.seconds;
        for (unit, seconds) in SPAN_UNITS {
            if rest >= seconds {
                write!(f, "{}{unit}", rest / seconds)?;
                rest %= seconds;
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::new("is a length of time with its unit, such as 90s, 15m, 4h or 1h30m");
        if text == "0" {
            return Ok(Self::from_seconds(0));
        }
        let (mut total, mut digits, mut larger) = (0_u64, String::new(), u64::MAX);
        for c in text.chars() {
            if c.is_ascii_digit() {
                digits.push(c);
                continue;
            }
            let unit = SPAN_UNITS.iter().find(|(unit, _)| *unit == c);
            let (_, seconds) = *unit.filter(|(_, s)| *s < larger).ok_or_else(error)?;
            let count: u64 = digits.parse().map_err(|_| error())?;
            let part = count.checked_mul(seconds).ok_or_else(error)?;
            total = total.checked_add(part).ok_or_else(error)?;
            larger = seconds;
            digits.clear();
        }
        if text.is_empty() || !digits.is_empty() {
            return Err(error());
        }
        Ok(Self::from_seconds(total))
    }
}

text_serde!(Span);

#[cfg(test)]
mod tests {
    use super::*;

    fn rejects<T: FromStr>(texts: &[&str]) {
        for text in texts {
            assert!(text.parse::<T>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn every_quantity_reads_back_what_it_prints() {
        for text in ["0%", "0.1%", "5%", "12.5%", "33.333%", "100%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        for text in ["0%", "0.1%", "0.001%", "7%", "14%", "29%", "57%", "100%"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["p50", "p99", "p99.9", "p0.1"] {
            assert_eq!(text.parse::<Quantile>().unwrap().to_string(), text);
        }
        for text in ["1x", "1.25x", "100x"] {
            assert_eq!(text.parse::<Times>().unwrap().to_string(), text);
        }
        for text in ["0m", "90s", "15m", "1h30m", "4h", "1d", "1d2h3m4s"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        for text in ["0.30000000000000004%", "0.123456789012345%", "1e-15%", "99.99999999999999%"] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate, "{text}");
        }
        assert_eq!("90s".parse::<Span>().unwrap().to_string(), "1m30s");
        assert_eq!("90s".parse::<Span>().unwrap().minutes(), 2);
    }

    #[test]
    fn quantities_out_of_range_or_without_a_unit_are_refused() {
        rejects::<Share>(&["5", "", "%", "-1%", "101%", "nan%", "inf%", "1e999%", "five%"]);
        rejects::<Rate>(&["0.01", "-0.1%", "100.1%", "NaN%", "infinity%"]);
        rejects::<Times>(&["1.25", "0.9x", "101x", "x", "-2x", "infx"]);
        rejects::<Quantile>(&["99", "p", "p0", "p100", "p-1", "pnan", "95%"]);
        rejects::<Span>(&[
            "15",
            "",
            "m",
            "15 m",
            "-5m",
            "5m5h",
            "5m5m",
            "1.5h",
            "99999999999999999999s",
            "300000000000000d",
        ]);
        rejects::<Minute>(&["2026-03-01", "2026-03-01T10:00:30Z", "10:00", ""]);
    }

    #[test]
    fn a_minute_is_the_floor_of_its_instant_also_before_1970() {
        let at: Timestamp = "1969-12-31T23:59:30Z".parse().unwrap();
        assert_eq!(Minute::of(at).to_string(), "1969-12-31T23:59:00Z");
        let minute: Minute = "2026-03-01T10:00:00Z".parse().unwrap();
        assert_eq!(minute.plus(61).since(minute), 61);
        assert_eq!(minute.plus(61).to_string(), "2026-03-01T11:01:00Z");
    }

    #[test]
    fn shares_of_weights_compare_by_what_weights_can_express() {
        assert!(Share::of_weights(5, 95).same_as(Share::from_percent(5.0).unwrap()));
        assert!(!Share::of_weights(51, 949).same_as(Share::from_percent(5.0).unwrap()));
        assert_eq!(Share::of_weights(0, 0), Share::ZERO);
        assert_eq!(Share::of_weights(1, 0), Share::FULL);
    }
}
