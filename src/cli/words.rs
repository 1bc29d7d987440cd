//! Numbers as a person reads them.

/// Evidence above this is written as a power of ten: nobody reads seven digits.
const PLAIN_ODDS_MAX: f64 = 1e5;

/// Log evidence as odds: so many to one.
pub(super) fn odds(ln_e: f64) -> String {
    match ln_e.exp() {
        e if e.is_nan() => "?".to_owned(),
        e if e >= PLAIN_ODDS_MAX => format!("10^{:.0}:1", ln_e / std::f64::consts::LN_10),
        e if e >= 9.95 => format!("{e:.0}:1"),
        e if e >= 0.05 => format!("{e:.1}:1"),
        _ => "<0.1:1".to_owned(),
    }
}

/// The same, in a sentence.
pub(super) fn odds_in_words(ln_e: f64) -> String {
    odds(ln_e).replace(":1", " to 1")
}

/// A count with thousands set apart.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 minute`, `2 minutes`.
pub(super) fn minutes(n: i64) -> String {
    if n == 1 { "1 minute".to_owned() } else { format!("{n} minutes") }
}

/// What can only be used whole.
fn is_address(word: &str) -> bool {
    word.contains("://") || word.starts_with("arn:")
}

/// Breaks a text into lines of at most `width` characters, between words where there are any. An address is never
/// broken: it can be opened or copied, however long its line is.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        let last = lines.last_mut().expect("there is a first line");
        let taken = last.chars().count();
        if taken > 0 && taken + 1 + rest.len() <= width {
            last.push(' ');
            last.push_str(word);
            continue;
        }
        if taken > 0 {
            lines.push(String::new());
        }
        if is_address(word) {
            lines.last_mut().expect("there is a first line").push_str(word);
            continue;
        }
        while !rest.is_empty() {
            let more = rest.split_off(rest.len().min(width));
            lines.last_mut().expect("there is a first line").extend(rest);
            rest = more;
            if !rest.is_empty() {
                lines.push(String::new());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_are_short_at_any_size() {
        let of = |e: f64| odds(e.ln());
        assert_eq!(of(0.01), "<0.1:1");
        assert_eq!(of(0.5), "0.5:1");
        assert_eq!(of(9.96), "10:1");
        assert_eq!(of(99_999.0), "99999:1");
        assert_eq!(odds(30.0 * std::f64::consts::LN_10), "10^30:1");
        assert_eq!(odds(2_000.0), "10^869:1");
        assert_eq!(odds(f64::NEG_INFINITY), "<0.1:1");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("an incomprehensible word", 7), ["an", "incompr", "ehensib", "le word"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("see https://example.com/a now", 7), ["see", "https://example.com/a", "now"]);
    }
}
