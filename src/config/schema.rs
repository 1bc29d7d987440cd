//! The JSON Schema and the reference of a plan, made from the table of keys.

use serde_json::{Map, Value, json};

use super::arn::ArnKind;
use super::keys::{CHECKS, Key, Kind, PLAN_KEYS, STEPS_KEYS};

const SPAN: &str = "^(0|(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?)$";
const SHARE: &str = r"^(100(\.0)?|[0-9]{1,2}(\.[0-9])?)%$";
const RATE: &str = r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$";
const TIMES: &str = r"^(100(\.0+)?|[1-9][0-9]?(\.[0-9]+)?)x$";
const POINTS: &str = r"^\+(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$";
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
    property
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
        Kind::Word { words, .. } => json!({ "enum": spellings(words) }),
        Kind::Flag { .. } => json!({ "type": "boolean" }),
        Kind::Tolerance { .. } => {
            let one = json!([pattern(TIMES), pattern(POINTS)]);
            let list = json!({ "type": "array", "minItems": 1, "maxItems": 2, "items": { "anyOf": one } });
            json!({ "anyOf": [pattern(TIMES), pattern(POINTS), list] })
        }
        Kind::Checks => checks(),
    }
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
    let property = |kind: &super::keys::CheckKind| {
        let mut check = mapping(kind.keys);
        check["type"] = json!(["object", "null"]);
        check["description"] = json!(kind.meaning);
        (kind.name.to_owned(), check)
    };
    let properties: Map<String, Value> = CHECKS.iter().map(property).collect();
    json!({ "type": "object", "additionalProperties": false, "minProperties": 1, "properties": properties })
}

/// One line of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceRow {
    /// Dotted path of the key.
    pub key: String,
    /// What it takes.
    pub takes: String,
    /// The default as one would write it; `required` where there is none.
    pub default: String,
    /// What it does.
    pub meaning: &'static str,
}

/// Every key of a plan, in the order of the table.
#[must_use]
pub fn plan_reference_rows() -> Vec<ReferenceRow> {
    let mut rows: Vec<ReferenceRow> = Vec::new();
    for key in &PLAN_KEYS {
        rows.push(row("", key));
        match key.kind {
            Kind::Steps => rows.extend(STEPS_KEYS.iter().map(|key| row("steps.", key))),
            Kind::Checks => {
                for check in &CHECKS {
                    let prefix = format!("checks.{}", check.name);
                    rows.push(ReferenceRow {
                        key: prefix.clone(),
                        takes: "a mapping; may be empty".to_owned(),
                        default: "{}".to_owned(),
                        meaning: check.meaning,
                    });
                    rows.extend(check.keys.iter().map(|key| row(&format!("{prefix}."), key)));
                }
            }
            _ => {}
        }
    }
    rows
}

fn row(prefix: &str, key: &Key) -> ReferenceRow {
    let default = match (&key.kind, key.kind.default_json()) {
        (Kind::Name, _) => "the canary group's name".to_owned(),
        (_, Some(default)) => bare(&default),
        (_, None) => "required".to_owned(),
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
