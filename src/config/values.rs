//! From one written value to one checked quantity. `Err` is the rule that the value breaks, and where it
//! can be guessed, what to write instead.

use serde_json::Value;

use super::problem::must;
use crate::analysis::check::Tolerance;
use crate::units::{Rate, Share, Span, Times};

/// The least share that weights are asked to express.
pub(super) const LEAST_SHARE_PERCENT: f64 = 0.1;
/// The least and the most that one step may be larger than the one before.
const FACTOR: std::ops::RangeInclusive<f64> = 1.1..=100.0;

/// The longest name of a namespace, a metric or a dimension in CloudWatch.
pub(super) const AWS_NAME_MAX: usize = 255;
/// The longest value of a dimension.
pub(super) const AWS_VALUE_MAX: usize = 1_024;

/// A bare number, also in quotes: the usual slip where a unit is wanted.
pub(super) fn bare_number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|n| n.is_finite() && *n >= 0.0)
}

/// The text of a value that should carry a unit, or the rule with a hint what to write.
fn with_unit<T>(
    value: &Value,
    rule: &str,
    hint: impl Fn(f64) -> Option<String>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, String> {
    let found = match value {
        Value::String(text) => read(text),
        _ => Err(must(rule)),
    };
    found.map_err(|rule| match bare_number(value).and_then(&hint) {
        Some(write) => format!("{rule}: write {write}"),
        None => rule,
    })
}

/// `15` means 15 minutes to most people; `0.05` means 5 % to some.
fn percent_hint(number: f64) -> Option<String> {
    match number {
        n if n > 0.0 && n < 1.0 => {
            Some(format!("{}%, or {n}% if that is what is meant", (n * 1e8).round() / 1e6))
        }
        n if n <= 100.0 => Some(format!("{}%", (n * 1e6).round() / 1e6)),
        _ => None,
    }
}

fn text<'a>(value: &'a Value, rule: &str) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| rule.to_owned())
}

/// A rollout's name.
pub(crate) fn name(value: &Value) -> Result<String, String> {
    let rule = "must be a name of 1 to 63 characters out of a-z, 0-9 and -, not beginning with -";
    if value.is_number() || value.is_boolean() {
        return Err(format!("{rule}: put it into quotes"));
    }
    let name = text(value, rule)?;
    if is_name(name) {
        return Ok(name.to_owned());
    }
    let folded: String = name.to_ascii_lowercase().replace(['_', ' ', '.', '/'], "-");
    if is_name(&folded) { Err(format!("{rule}: write {folded}")) } else { Err(rule.to_owned()) }
}

/// Whether a text can be a rollout's name.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('-')
}

/// A share that weights can express.
pub(super) fn share(value: &Value) -> Result<Share, String> {
    let rule = "is a percentage from 0.1 to 100, such as 5%";
    let parse = |text: &str| text.parse::<Share>().map_err(|_| must(rule));
    // So small a number can't have been meant as a percentage.
    let hint = |n: f64| if n < LEAST_SHARE_PERCENT { percent_hint(n * 100.0) } else { percent_hint(n) };
    let share = with_unit(value, rule, hint, parse)?;
    if share.percent() < LEAST_SHARE_PERCENT {
        return Err("must be at least 0.1%: weights express no less".to_owned());
    }
    let tenths = share.percent() * 10.0;
    if (tenths - tenths.round()).abs() > 1e-9 {
        return Err("must have at most one decimal: weights express tenths of a percent".to_owned());
    }
    Ok(share)
}

/// By how much each step is larger.
pub(super) fn factor(value: &Value) -> Result<f64, String> {
    let number = match value {
        Value::String(text) => text.strip_suffix('x').and_then(|n| n.parse().ok()),
        other => other.as_f64(),
    };
    number
        .filter(|n| FACTOR.contains(n))
        .ok_or_else(|| "must be a number from 1.1 to 100, such as 2 for doubling".to_owned())
}

/// A length of time within bounds.
pub(super) fn span(value: &Value, min: Span, max: Span) -> Result<Span, String> {
    let rule = "is a length of time with its unit, such as 90s, 15m, 4h or 1h30m";
    if value.as_f64() == Some(0.0) && min == Span::from_seconds(0) {
        return Ok(min);
    }
    let hint =
        |number: f64| (number > 0.0 && number.fract() == 0.0 && number < 1e6).then(|| format!("{number}m"));
    let parse = |text: &str| text.parse::<Span>().map_err(|error| must(&error.to_string()));
    let span = with_unit(value, rule, hint, parse)?;
    if (min..=max).contains(&span) { Ok(span) } else { Err(format!("must be from {min} to {max}")) }
}

/// A rate up to `max`, above zero unless `zero`.
pub(super) fn rate(value: &Value, zero: bool, max: Rate) -> Result<Rate, String> {
    let from = if zero { "from 0%" } else { "above 0% and up" };
    let rule = format!("must be a percentage {from} to {max}, such as 1%");
    let rate = with_unit(value, &rule, percent_hint, |text| text.parse::<Rate>().map_err(|_| rule.clone()))?;
    if rate > max || (!zero && rate.fraction() == 0.0) { Err(rule) } else { Ok(rate) }
}

/// A rate above zero, or nothing.
pub(super) fn rate_or_off(value: &Value) -> Result<Option<Rate>, String> {
    match value {
        Value::Bool(false) => Ok(None),
        Value::String(word) if matches!(word.as_str(), "off" | "false" | "no") => Ok(None),
        Value::Bool(true) => Err("must be a percentage such as 10%, or false to switch it off".to_owned()),
        other => {
            let rate = rate(other, false, Rate::percent_const(100.0));
            rate.map(Some).map_err(|rule| format!("{rule}; or false to switch it off"))
        }
    }
}

/// A whole number within bounds.
pub(super) fn count(value: &Value, min: u64, max: u64) -> Result<u64, String> {
    let rule = format!("must be a whole number from {min} to {max}");
    match value {
        Value::Number(number) => number.as_u64().filter(|n| (min..=max).contains(n)).ok_or(rule),
        Value::String(text) if text.parse::<u64>().is_ok_and(|n| (min..=max).contains(&n)) => {
            Err(format!("{rule}: write it without quotes"))
        }
        _ => Err(rule),
    }
}

/// A whole number within bounds, or nothing.
pub(super) fn count_or_off(value: &Value, min: u64, max: u64) -> Result<Option<u64>, String> {
    match value {
        Value::Bool(false) => Ok(None),
        Value::String(word) if matches!(word.as_str(), "off" | "false" | "no") => Ok(None),
        other => count(other, min, max).map(Some).map_err(|rule| match other {
            Value::String(_) => rule,
            _ => format!("{rule}, or false for none"),
        }),
    }
}

/// One of a few words.
pub(super) fn word(value: &Value, words: &'static [&'static str]) -> Result<&'static str, String> {
    let written = match value {
        Value::Bool(true) => "yes",
        Value::Bool(false) => "no",
        Value::String(text) if text == "true" => "yes",
        Value::String(text) if text == "false" => "no",
        other => other.as_str().unwrap_or_default(),
    };
    let found = words.iter().find(|word| **word == written);
    found.copied().ok_or_else(|| format!("must be one of {}", words.join(", ")))
}

/// Yes or no.
pub(super) fn flag(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| match value {
        Value::String(_) => "must be true or false, without quotes".to_owned(),
        _ => "must be true or false".to_owned(),
    })
}

/// A text as CloudWatch takes it.
pub(super) fn aws_text(value: &Value, max: usize, colon: bool) -> Result<String, String> {
    let not_colon = if colon { "" } else { ", not beginning with a colon" };
    let rule = format!("must be a text of 1 to {max} ASCII characters, not all of them blank{not_colon}");
    if value.is_number() || value.is_boolean() {
        return Err(format!("{rule}: put it into quotes"));
    }
    let text = text(value, &rule)?;
    let plain = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    let fits = plain && text.len() <= max && !text.trim().is_empty() && (colon || !text.starts_with(':'));
    if fits { Ok(text.to_owned()) } else { Err(rule) }
}

/// The name of a check that is the plan's own.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let rule = "must be a name of 1 to 63 characters out of a-z, 0-9, _ and -, beginning with a letter";
    if is_check_name(name) {
        return Ok(());
    }
    let folded: String = name.to_ascii_lowercase().replace([' ', '.', '/'], "-");
    if is_check_name(&folded) { Err(format!("{rule}: write {folded}")) } else { Err(rule.to_owned()) }
}

fn is_check_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    (1..=63).contains(&name.len())
        && name.bytes().all(plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// A ratio, points, or one of each in a list.
pub(super) fn tolerance(value: &Value) -> Result<Tolerance, String> {
    let rule = "must be a ratio such as 1.25x, points such as +0.5%, or a list of one of each";
    let Value::Array(items) = value else {
        return allowance(value).map_err(|hint| format!("{rule}{hint}"));
    };
    let mut both = Tolerance { times: None, points: None };
    for item in items {
        let one = allowance(item).map_err(|hint| format!("{rule}{hint}"))?;
        if (one.times.is_some() && both.times.is_some()) || (one.points.is_some() && both.points.is_some()) {
            return Err(format!("{rule}: there are two of one kind"));
        }
        both.times = both.times.or(one.times);
        both.points = both.points.or(one.points);
    }
    if items.is_empty() { Err(rule.to_owned()) } else { Ok(both) }
}

/// One ratio or one difference; `Err` is what to append to the rule.
fn allowance(value: &Value) -> Result<Tolerance, String> {
    if let Some(number) = bare_number(value) {
        return Err(match number {
            n if n < 1.0 => format!(": write +{n}%"),
            n if n <= Times::MAX => format!(": write {n}x"),
            _ => String::new(),
        });
    }
    let Some(text) = value.as_str() else { return Err(String::new()) };
    if let Some(points) = text.strip_prefix('+') {
        let digits_first = points.starts_with(|c: char| c.is_ascii_digit());
        let points = points.parse::<Rate>().ok().filter(|_| digits_first).ok_or_else(String::new)?;
        return Ok(Tolerance { times: None, points: Some(points) });
    }
    if let Ok(points) = text.parse::<Rate>() {
        return Err(format!(": write +{points}"));
    }
    let times = text.parse::<Times>().map_err(|_| "; a ratio is from 1x to 100x".to_owned())?;
    Ok(Tolerance { times: Some(times), points: None })
}
