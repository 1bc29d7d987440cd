//! The JSON Schema and the reference of a plan, made from the table of keys.

use serde_json::{Map, Value, json};

use super::amounts::{NUMBER_MAX, Unit};
use super::arn::ArnKind;
use super::keys::{
    ALARMS_MAX, CHECKS, CUSTOM_CHECKS, CheckKind, Key, LABELS_MAX, PLAN_KEYS, QUANTILES_MAX, STEPS_KEYS,
};
use super::kind::Kind;
use crate::rollout::calendar::WINDOWS_MAX;

const SPAN: &str = "^(0|(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?)$";
const SHARE: &str = r"^(100(\.0)?|[0-9]{1,2}(\.[0-9])?)%$";
const RATE: &str = r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$";
const TIMES: &str = r"^(100(\.0+)?|[1-9][0-9]?(\.[0-9]+)?)x$";
const POINTS: &str = r"^\+(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$";
const LENGTH: &str = r"^[0-9]+(\.[0-9]+)?(us|ms|s)$";
const DISTANCE: &str = r"^\+[0-9]+(\.[0-9]+)?$";
const QUANTILE: &str = r"^p[0-9]{1,2}(\.[0-9]+)?$";
const AWS_NAME: &str = "^(?!:)(?=.*[^ ])[ -~]{1,255}$";
const AWS_NAME_COLON: &str = "^(?=.*[^ ])[ -~]{1,255}$";
const AWS_VALUE: &str = "^(?=.*[^ ])[ -~]{1,1024}$";
const ZONE: &str = "^[A-Za-z][A-Za-z0-9_+/-]*$";
/// Days, dates and times in the right places; whether there are such is [`super::parse_plan`]'s to say.
const WINDOW: &str = concat!(
    "^(([A-Za-z]{3,9}[.]?|[0-9]{4}-[0-9]{2}-[0-9]{2})( [0-9]{1,2}:[0-9]{2})?|[0-9]{1,2}:[0-9]{2}) [Tt][Oo] ",
    "(([A-Za-z]{3,9}[.]?|[0-9]{4}-[0-9]{2}-[0-9]{2})( [0-9]{1,2}:[0-9]{2})?|[0-9]{1,2}:[0-9]{2})$",
);
const WHOLE_DAY: &str = "^([A-Za-z]{3,9}[.]?|[0-9]{4}-[0-9]{2}-[0-9]{2})$";
const ALARM_NAME: &str = "^(?!arn:)(?=.*[^ ]).{1,255}$";
const NAME: &str = "^[a-z0-9][a-z0-9-]{0,62}$";

/// The JSON Schema (2020-12) of a plan, for editors. It knows the form of each key; the rules between keys
/// are [`super::parse_plan`]'s alone.
#[must_use]
pub fn plan_schema() -> Value {
    let mut schema = mapping(&PLAN_KEYS);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("canary-gate plan");
    schema["description"] = json!("One rollout: where the traffic is split, in which steps, by which rules.");
    schema
}

fn mapping(keys: &[Key]) -> Value {
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.kind.is_required()).map(|key| key.name).collect();
    let mut mapping = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        mapping["required"] = json!(required);
    }
    mapping
}

fn property(key: &Key) -> Value {
    let mut property = form(&key.kind);
    property["description"] = json!(key.meaning);
    if let Some(default) = key.kind.default_json() {
        property["default"] = default;
    }
    let examples = examples(&key.kind);
    if !examples.is_empty() {
        property["examples"] = json!(examples);
    }
    property
}

/// What an editor offers where the form alone would leave one guessing.
fn examples(kind: &Kind) -> Vec<Value> {
    match kind {
        Kind::Name => vec![json!("checkout-v42")],
        Kind::Steps => vec![json!(["5%", "25%", "50%", "100%"]), json!({ "start": "5%", "factor": 2 })],
        Kind::Share => vec![json!("5%")],
        Kind::Span { min, max, .. } => {
            let usual = [("2m", 120), ("15m", 900), ("1h30m", 5_400), ("2d", 172_800)];
            let fits = |seconds: u64| (min.seconds()..=max.seconds()).contains(&seconds);
            usual.into_iter().filter(|(_, seconds)| fits(*seconds)).map(|(text, _)| json!(text)).collect()
        }
        Kind::Rate { .. } => vec![json!("1%"), json!("0.1%")],
        Kind::RateOrOff { .. } => vec![json!("1.5%"), json!(false)],
        Kind::CountOrOff { .. } => vec![json!(200), json!(false)],
        Kind::DenyWindows => vec![json!(["Fri 16:00 to Mon 08:00", "2026-12-24 to 2026-12-27"])],
        Kind::TimeZone => vec![json!("Europe/Berlin")],
        Kind::Alarms => vec![json!(["checkout-5xx"])],
        Kind::Tolerance { .. } => vec![json!("1.25x"), json!("+0.5%"), json!(["1.5x", "+0.5%"])],
        Kind::Times { .. } => vec![json!("1.5x")],
        Kind::Margin { unit: Unit::Seconds } => vec![json!("1.25x"), json!("10%"), json!("50ms")],
        Kind::Margin { unit: Unit::Metric } => vec![json!("1.25x"), json!("10%"), json!("+5")],
        Kind::Amount { unit: Unit::Seconds, .. } => vec![json!("400ms"), json!("1.5s")],
        Kind::Quantiles { .. } => vec![json!(["p50", "p95", "p99"])],
        Kind::Dimensions { .. } => vec![json!({ "Version": "v42" })],
        Kind::Labels => vec![json!(["yes", "no", "unsure"])],
        Kind::Arn(ArnKind::Role) => vec![json!("arn:aws:iam::123456789012:role/canary-gate")],
        Kind::Arn(_)
        | Kind::Factor
        | Kind::Count { .. }
        | Kind::Word { .. }
        | Kind::Flag { .. }
        | Kind::Amount { .. }
        | Kind::AwsName { .. }
        | Kind::Mapping(_)
        | Kind::Checks => Vec::new(),
    }
}

fn pattern(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

/// The schema of what a kind of key takes.
fn form(kind: &Kind) -> Value {
    match kind {
        Kind::Name => pattern(NAME),
        Kind::Arn(kind) => pattern(ArnKind::pattern(*kind)),
        Kind::Share => pattern(SHARE),
        Kind::Steps => json!({ "anyOf": [
            { "type": "array", "minItems": 1, "maxItems": 20, "items": pattern(SHARE) },
            mapping(&STEPS_KEYS),
        ] }),
        Kind::Factor => json!({ "type": "number", "minimum": 1.1, "maximum": 100 }),
        Kind::Span { min, .. } if min.seconds() == 0 => json!({ "anyOf": [pattern(SPAN), { "const": 0 }] }),
        Kind::Span { .. } => pattern(SPAN),
        Kind::Rate { .. } => pattern(RATE),
        Kind::RateOrOff { .. } => json!({ "anyOf": [pattern(RATE), { "const": false }] }),
        Kind::Count { min, max, .. } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::CountOrOff { min, max } => {
            json!({ "anyOf": [{ "type": "integer", "minimum": min, "maximum": max }, { "const": false }] })
        }
        Kind::DenyWindows => list(0, WINDOWS_MAX, &any_of(&[WINDOW, WHOLE_DAY])),
        Kind::TimeZone => pattern(ZONE),
        Kind::Alarms => list(0, ALARMS_MAX, &any_of(&[ALARM_NAME, ArnKind::Alarm.pattern()])),
        Kind::Word { words, .. } => json!({ "enum": spellings(words) }),
        Kind::Flag { .. } => json!({ "type": "boolean" }),
        Kind::Times { .. } => pattern(TIMES),
        Kind::Margin { unit: Unit::Seconds } => any_of(&[TIMES, RATE, LENGTH]),
        Kind::Margin { unit: Unit::Metric } => any_of(&[TIMES, RATE, DISTANCE]),
        Kind::Amount { unit: Unit::Seconds, zero: true, .. } => {
            json!({ "anyOf": [pattern(LENGTH), { "const": 0 }] })
        }
        Kind::Amount { unit: Unit::Seconds, .. } => pattern(LENGTH),
        Kind::Amount { unit: Unit::Metric, zero, .. } => {
            let least = if *zero { "minimum" } else { "exclusiveMinimum" };
            json!({ "type": "number", least: 0, "maximum": NUMBER_MAX })
        }
        Kind::Quantiles { .. } => list(1, QUANTILES_MAX, &pattern(QUANTILE)),
        Kind::Labels => {
            let label = json!({ "allOf": [pattern(AWS_VALUE), { "not": { "const": "other" } }] });
            list(1, LABELS_MAX, &label)
        }
        Kind::AwsName { colon } => pattern(if *colon { AWS_NAME_COLON } else { AWS_NAME }),
        Kind::Dimensions { required } => dimensions(*required),
        Kind::Mapping(keys) => mapping(keys),
        Kind::Tolerance { .. } => {
            let one = json!([pattern(TIMES), pattern(POINTS)]);
            let list = json!({ "type": "array", "minItems": 1, "maxItems": 2, "items": { "anyOf": one } });
            json!({ "anyOf": [pattern(TIMES), pattern(POINTS), list] })
        }
        Kind::Checks => checks(),
    }
}

fn any_of(patterns: &[&str]) -> Value {
    json!({ "anyOf": patterns.iter().map(|one| pattern(one)).collect::<Vec<_>>() })
}

/// So many different items.
fn list(min: usize, max: usize, items: &Value) -> Value {
    json!({ "type": "array", "minItems": min, "maxItems": max, "uniqueItems": true, "items": items })
}

fn dimensions(required: bool) -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "minProperties": usize::from(required),
        "patternProperties": { AWS_NAME: pattern(AWS_VALUE) },
    })
}

/// YAML reads `yes` and `no` as true and false.
fn spellings(words: &[&str]) -> Vec<Value> {
    let mut all: Vec<Value> = words.iter().map(|word| json!(word)).collect();
    if words.contains(&"yes") {
        all.extend([json!(true), json!(false)]);
    }
    all
}

fn checks() -> Value {
    let check = |kind: &CheckKind| {
        let mut check = mapping(kind.keys);
        check["description"] = json!(kind.meaning);
        check
    };
    let by_name = |kind: &CheckKind| {
        let mut check = check(kind);
        check["type"] = json!(["object", "null"]);
        (kind.name.to_owned(), check)
    };
    let properties: Map<String, Value> = CHECKS.iter().map(by_name).collect();
    let custom: Vec<Value> = CUSTOM_CHECKS.iter().map(check).collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "minProperties": 1,
        "properties": properties,
        "patternProperties": { custom_name(): { "anyOf": custom } },
    })
}

/// The names that a plan can give to checks of its own: all but those that have a meaning.
fn custom_name() -> String {
    let taken: Vec<String> = CHECKS.iter().map(|kind| format!("{}$", kind.name)).collect();
    format!("^(?!{})[a-z][a-z0-9_-]{{0,62}}$", taken.join("|"))
}

/// One line of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceRow {
    /// Dotted path of the key.
    pub key: String,
    /// What it takes.
    pub takes: String,
    /// The default as one would write it; `required` where a value must be written, else perhaps `none`.
    pub default: String,
    /// What it does.
    pub meaning: &'static str,
}

/// Every key of a plan, in the order of the table. The keys of checks with names of their own stand under
/// `checks.<name>`, which has a row for each kind with the keys of that kind below it.
#[must_use]
pub fn plan_reference_rows() -> Vec<ReferenceRow> {
    let mut rows = Vec::new();
    for key in &PLAN_KEYS {
        add_rows(&mut rows, "", key);
        if matches!(key.kind, Kind::Checks) {
            for check in &CHECKS {
                let takes = "a mapping; may be empty".to_owned();
                add_check(&mut rows, check, &format!("checks.{}", check.name), takes, "{}");
            }
            for check in &CUSTOM_CHECKS {
                let takes = format!("a mapping with {}", check.name);
                add_check(&mut rows, check, "checks.<name>", takes, "none");
            }
        }
    }
    rows
}

fn add_check(rows: &mut Vec<ReferenceRow>, check: &CheckKind, path: &str, takes: String, default: &str) {
    let (key, default) = (path.to_owned(), default.to_owned());
    rows.push(ReferenceRow { key, takes, default, meaning: check.meaning });
    check.keys.iter().for_each(|key| add_rows(rows, &format!("{path}."), key));
}

/// The row of a key and, where it is a mapping, those of the keys in it.
fn add_rows(rows: &mut Vec<ReferenceRow>, prefix: &str, key: &Key) {
    rows.push(row(prefix, key));
    let prefix = format!("{prefix}{}.", key.name);
    key.kind.keys().iter().for_each(|key| add_rows(rows, &prefix, key));
}

fn row(prefix: &str, key: &Key) -> ReferenceRow {
    let default = match (&key.kind, key.kind.default_json()) {
        // The one name that is not left out where it is not written.
        (Kind::Name, _) if key.name == "rollout" => "the canary group's name".to_owned(),
        (kind, Some(default)) if kind.is_usual() => format!("{}, as a rule", bare(&default)),
        (_, Some(default)) => bare(&default),
        (kind, None) if kind.is_required() => "required".to_owned(),
        _ => "none".to_owned(),
    };
    ReferenceRow {
        key: format!("{prefix}{}", key.name),
        takes: key.kind.words(),
        default,
        meaning: key.meaning,
    }
}

/// A default in YAML's flow style, which needs no quotes here.
fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(bare).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}: {}", bare(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}
