//! Lengths, numbers and margins: how far out is bad, and how much further out is still fine. As in
//! [`super::values`], `Err` is the rule that a value breaks.

use serde_json::Value;

use super::values::bare_number;
use crate::analysis::check::Margin;
use crate::units::{Quantile, Rate, Span, Times};

/// What an amount is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// A length of time, with its unit.
    Seconds,
    /// The unit of the metric, which the plan doesn't name.
    Metric,
}

/// The units of a length and how many of each make a second. The longer names come first: all end in `s`.
const LENGTH_UNITS: [(&str, f64); 3] = [("us", 1e6), ("ms", 1e3), ("s", 1.0)];
/// The longest a load balancer waits for an answer is little more.
pub(super) const LENGTH_MAX: Span = Span::from_minutes(60);
/// More than any count of bytes or nanoseconds that a program hands out.
pub(super) const NUMBER_MAX: f64 = 1e18;
/// A length is printed to a billionth of its unit, which hides the last bit of `0.29 * 1000`.
const PRINTED: f64 = 1e9;

/// A length as one would write it.
pub(super) fn length_text(seconds: f64) -> String {
    let (unit, per_second) = match seconds {
        s if s == 0.0 || (1e-3..1.0).contains(&s) => ("ms", 1e3),
        s if s < 1e-3 => ("us", 1e6),
        _ => ("s", 1.0),
    };
    format!("{}{unit}", (seconds * per_second * PRINTED).round() / PRINTED)
}

/// Digits, perhaps with a point among them; no sign and no exponent.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let digits_outside = |c: char| c.is_ascii_digit();
    (plain && text.starts_with(digits_outside) && text.ends_with(digits_outside))
        .then(|| text.parse().ok())?
}

/// Seconds of a text such as `400ms`.
fn seconds(text: &str) -> Option<f64> {
    let (digits, per_second) =
        LENGTH_UNITS.iter().find_map(|(unit, per_second)| Some((text.strip_suffix(unit)?, per_second)))?;
    decimal(digits)
        .map(|number| number / per_second)
        .filter(|seconds| *seconds <= LENGTH_MAX.seconds() as f64)
}

/// A length in seconds or a number in the metric's unit, above zero unless `zero`.
pub(super) fn amount(value: &Value, unit: Unit, zero: bool) -> Result<f64, String> {
    match unit {
        Unit::Seconds => length(value, zero),
        Unit::Metric => number(value, zero),
    }
}

fn length(value: &Value, zero: bool) -> Result<f64, String> {
    let from = if zero { "from 0" } else { "above 0 and up" };
    let rule = format!("must be a length of time {from} to {LENGTH_MAX} in us, ms or s, such as 400ms");
    match bare_number(value) {
        Some(0.0) if zero => Ok(0.0),
        Some(number) if number > 0.0 => Err(format!("{rule}: write {number}ms")),
        _ => value.as_str().and_then(seconds).filter(|s| zero || *s > 0.0).ok_or(rule),
    }
}

fn number(value: &Value, zero: bool) -> Result<f64, String> {
    let from = if zero { "from 0" } else { "above 0 and" };
    let rule = format!("must be a number {from} up to {NUMBER_MAX:e}");
    let fits = |number: &f64| (0.0..=NUMBER_MAX).contains(number) && (zero || *number > 0.0);
    match (value, bare_number(value).filter(fits)) {
        (Value::Number(_), Some(number)) => Ok(number),
        (Value::String(_), Some(_)) => Err(format!("{rule}: write it without quotes")),
        _ => Err(rule),
    }
}

/// A ratio, from 1x or above it.
pub(super) fn times(value: &Value, above_one: bool) -> Result<Times, String> {
    let (from, such) = if above_one { ("above 1x and up to", "1.5x") } else { ("from 1x to", "1.25x") };
    let rule = format!("must be a ratio {from} 100x, such as {such}");
    let fits = |times: &Times| !above_one || times.ratio() > 1.0;
    let written = value.as_str().and_then(|text| text.parse().ok()).filter(fits);
    written.ok_or_else(|| match bare_number(value).and_then(|number| Times::new(number).ok()) {
        Some(meant) if fits(&meant) => format!("{rule}: write {meant}"),
        _ => rule,
    })
}

/// A ratio, a percentage or a distance: a length, or in the metric's unit a number after a plus.
pub(super) fn margin(value: &Value, unit: Unit) -> Result<Margin, String> {
    let rule = match unit {
        Unit::Seconds => "must be a ratio such as 1.25x, a percentage such as 10%, or a length such as 50ms",
        Unit::Metric => "must be a ratio such as 1.25x, a percentage such as 10%, or a distance such as '+5'",
    };
    let read = match value.as_str() {
        Some(text) => written_margin(text, unit),
        None => Err(String::new()),
    };
    read.map_err(|hint| match bare_number(value) {
        Some(number) if number > 0.0 && number <= NUMBER_MAX => {
            format!("{rule}: write {}", margin_hint(number, unit))
        }
        _ => format!("{rule}{hint}"),
    })
}

/// What a bare number may have been meant as. YAML reads `+5` as the number 5, so the plus needs quotes.
fn margin_hint(number: f64, unit: Unit) -> String {
    let distance = match unit {
        Unit::Seconds => format!("{number}ms"),
        Unit::Metric => format!("'+{number}' (with the quotes)"),
    };
    match Times::new(number) {
        Ok(times) => format!("{times} or {distance}"),
        Err(_) => distance,
    }
}

/// `Err` is what to append to the rule.
fn written_margin(text: &str, unit: Unit) -> Result<Margin, String> {
    let unsigned = text.strip_prefix('+');
    if text.ends_with('x') {
        return text.parse().map(Margin::Times).map_err(|_| "; a ratio is from 1x to 100x".to_owned());
    }
    if text.ends_with('%') {
        let rate = text.parse().ok().filter(|rate: &Rate| unsigned.is_none() && rate.fraction() > 0.0);
        return rate.map(Margin::Relative).ok_or_else(|| match unsigned {
            Some(percentage) => format!(": write {percentage}"),
            None => "; a percentage is above 0% and up to 100%".to_owned(),
        });
    }
    let above_zero = |distance: &f64| *distance > 0.0;
    match (unit, unsigned) {
        (Unit::Seconds, None) => {
            let length = seconds(text).filter(above_zero).map(Margin::Absolute);
            length.ok_or_else(|| format!("; a length is above 0, up to {LENGTH_MAX}, in us, ms or s"))
        }
        (Unit::Seconds, Some(length)) => Err(format!(": write {length}")),
        (Unit::Metric, Some(number)) => {
            let distance = decimal(number).filter(above_zero).filter(|n| *n <= NUMBER_MAX);
            distance.map(Margin::Absolute).ok_or_else(|| "; a distance is above 0".to_owned())
        }
        (Unit::Metric, None) => Err(String::new()),
    }
}

/// One quantile.
pub(super) fn quantile(value: &Value) -> Result<Quantile, String> {
    let rule = "must be a quantile above p0 and below p100, such as p50, p99 or p99.9";
    if let Some(quantile) = value.as_str().and_then(|text| text.parse().ok()) {
        return Ok(quantile);
    }
    let percentage = value.as_str().and_then(|text| text.strip_suffix('%')).and_then(decimal);
    let meant = percentage.or_else(|| bare_number(value).map(|n| if n < 1.0 { n * 100.0 } else { n }));
    match meant.and_then(|percent| Quantile::from_percent((percent * 1e9).round() / 1e9).ok()) {
        Some(meant) => Err(format!("{rule}: write {meant}")),
        None => Err(rule.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lengths_are_read_to_the_nearest_number_and_printed_as_written() {
        for (text, seconds) in [
            ("400ms", 0.4),
            ("10ms", 0.01),
            ("0.29s", 0.29),
            ("2.5ms", 0.0025),
            ("250us", 0.000_25),
            ("1s", 1.0),
            ("3600s", 3600.0),
            ("0ms", 0.0),
        ] {
            assert_eq!(amount(&json!(text), Unit::Seconds, true), Ok(seconds), "{text}");
        }
        for text in ["400ms", "10ms", "2.5ms", "250us", "1s", "1.5s", "290ms", "0ms"] {
            assert_eq!(length_text(seconds(text).unwrap()), text);
        }
    }

    #[test]
    fn lengths_without_a_unit_or_out_of_range_are_refused() {
        for text in
            ["", "ms", "s", "1m", "1h", "-5ms", "+5ms", "5 ms", "1e3ms", ".5s", "5.s", "1.2.3s", "3601s"]
        {
            assert!(amount(&json!(text), Unit::Seconds, true).is_err(), "{text}");
        }
        assert_eq!(amount(&json!(0), Unit::Seconds, true), Ok(0.0));
        for value in [json!("0ms"), json!(0), json!("0"), json!(null), json!([1]), json!(-1)] {
            assert!(amount(&value, Unit::Seconds, false).is_err(), "{value}");
        }
        assert!(amount(&json!(400), Unit::Seconds, false).unwrap_err().ends_with("write 400ms"));
    }

    #[test]
    fn a_margin_is_a_ratio_a_percentage_or_a_distance() {
        let of = |text: &str, unit| margin(&json!(text), unit);
        assert_eq!(of("1.25x", Unit::Seconds), Ok(Margin::Times(Times::constant(1.25))));
        assert_eq!(of("10%", Unit::Metric), Ok(Margin::Relative(Rate::percent_const(10.0))));
        assert_eq!(of("100%", Unit::Metric), Ok(Margin::Relative(Rate::percent_const(100.0))));
        assert_eq!(of("50ms", Unit::Seconds), Ok(Margin::Absolute(0.05)));
        assert_eq!(of("+5", Unit::Metric), Ok(Margin::Absolute(5.0)));
        assert_eq!(of("+0.5", Unit::Metric), Ok(Margin::Absolute(0.5)));
        for text in ["0.9x", "101x", "0%", "101%", "+10%", "0ms", "3601s", "+50ms", "+5", "5", "", "x"] {
            assert!(of(text, Unit::Seconds).is_err(), "{text}");
        }
        for text in ["+0", "+", "+-5", "-5", "5", "50ms", "+1e99", "+5ms"] {
            assert!(of(text, Unit::Metric).is_err(), "{text}");
        }
    }

    #[test]
    fn slips_of_margins_and_quantiles_are_told_what_to_write() {
        for (value, unit, write) in [
            (json!(1.25), Unit::Seconds, "write 1.25x or 1.25ms"),
            (json!("200"), Unit::Seconds, "write 200ms"),
            (json!("+50ms"), Unit::Seconds, "write 50ms"),
            (json!(5), Unit::Metric, "write 5x or '+5' (with the quotes)"),
            (json!(0.5), Unit::Metric, "write '+0.5' (with the quotes)"),
            (json!("+10%"), Unit::Metric, "write 10%"),
        ] {
            let said = margin(&value, unit).unwrap_err();
            assert!(said.ends_with(write), "{value}: {said}");
        }
        for (value, write) in
            [(json!(99), "p99"), (json!("95"), "p95"), (json!(0.95), "p95"), (json!("99.9%"), "p99.9")]
        {
            let said = quantile(&value).unwrap_err();
            assert!(said.ends_with(&format!("write {write}")), "{value}: {said}");
        }
    }

    #[test]
    fn ratios_for_promotion_are_above_one() {
        assert!(times(&json!("1x"), false).is_ok() && times(&json!("1x"), true).is_err());
        assert!(times(&json!("1.01x"), true).is_ok() && times(&json!("100x"), true).is_ok());
        assert!(times(&json!("101x"), false).is_err() && times(&json!("10%"), false).is_err());
        assert!(times(&json!(2), true).unwrap_err().ends_with("write 2x"));
        assert!(times(&json!(1), true).unwrap_err().ends_with("such as 1.5x"));
    }

    #[test]
    fn numbers_are_bare_and_within_bounds() {
        for value in [json!(30), json!(0.5), json!(1e18)] {
            assert!(amount(&value, Unit::Metric, false).is_ok(), "{value}");
        }
        for value in [json!(0), json!(-1), json!(1e19), json!("30"), json!("30ms"), json!(true)] {
            assert!(amount(&value, Unit::Metric, false).is_err(), "{value}");
        }
        assert_eq!(amount(&json!(0), Unit::Metric, true), Ok(0.0));
    }
}
