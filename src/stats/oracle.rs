//! Reads the reference tables that `tests/oracle/make_stats_tables.py` wrote.

use serde_json::Value;

/// All tables, by name.
pub(super) fn tables() -> Value {
    serde_json::from_str(include_str!("../../tests/oracle/stats.json"))
        .expect("the committed tables are JSON")
}

/// A number that was written as text to keep its digits, or as a plain number.
pub(super) fn number(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().expect("a decimal number"),
        other => other.as_f64().expect("a number"),
    }
}

/// The numbers of a list.
pub(super) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(number).collect()
}

/// Log of a sum of exponentials, without overflow or underflow.
pub(super) fn ln_sum_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        return largest;
    }
    largest + values.iter().map(|v| (v - largest).exp()).sum::<f64>().ln()
}

/// A count.
pub(super) fn count(value: &Value) -> u64 {
    value.as_u64().expect("a whole number")
}

/// Fails unless `got` is within `relative * |want| + absolute` of `want`.
pub(super) fn assert_close(got: f64, want: f64, relative: f64, absolute: f64, case: &Value) {
    let error = (got - want).abs();
    assert!(
        got == want || error <= relative * want.abs() + absolute,
        "got {got:e}, want {want:e}, error {error:e}, relative {:e}: {case}",
        error / want.abs()
    );
}
