//! The schema takes what the parser takes, and refuses what is wrong in form. It is tried on samples by as
//! much of JSON Schema, and of regular expressions, as the schema uses.

use serde_json::{Map, Value, json};

use super::tests::{CANARY, RULE, STABLE};
use super::*;

/// A part of a pattern, and how often it stands there.
struct Part {
    item: Item,
    min: usize,
    max: usize,
}

enum Item {
    Char(char),
    Any,
    Set { negated: bool, ranges: Vec<(char, char)> },
    Group(Vec<Vec<Part>>),
    Ahead { wanted: bool, choices: Vec<Vec<Part>> },
    Start,
    End,
}

/// Reads a pattern.
struct Reader<'p> {
    rest: std::iter::Peekable<std::str::Chars<'p>>,
}

impl Reader<'_> {
    fn eat(&mut self, c: char) -> bool {
        self.rest.next_if_eq(&c).is_some()
    }

    fn choices(&mut self) -> Vec<Vec<Part>> {
        let mut choices = vec![Vec::new()];
        while let Some(c) = self.rest.next_if(|c| *c != ')') {
            if c == '|' {
                choices.push(Vec::new());
                continue;
            }
            let item = self.item(c);
            let (min, max) = self.times();
            choices.last_mut().unwrap().push(Part { item, min, max });
        }
        choices
    }

    fn item(&mut self, c: char) -> Item {
        match c {
            '^' => Item::Start,
            '$' => Item::End,
            '.' => Item::Any,
            '\\' => Item::Char(self.rest.next().filter(char::is_ascii_punctuation).unwrap()),
            '[' => self.set(),
            '(' => {
                let wanted = self.eat('?').then(|| self.rest.next().unwrap() == '=');
                let choices = self.choices();
                assert!(self.eat(')'));
                match wanted {
                    Some(wanted) => Item::Ahead { wanted, choices },
                    None => Item::Group(choices),
                }
            }
            plain => Item::Char(plain),
        }
    }

    fn set(&mut self) -> Item {
        let (negated, mut ranges) = (self.eat('^'), Vec::new());
        while let Some(from) = self.rest.next_if(|c| *c != ']') {
            let to = if self.eat('-') { self.rest.next_if(|c| *c != ']') } else { Some(from) };
            ranges.push((from, to.unwrap_or(from)));
            if to.is_none() {
                ranges.push(('-', '-'));
            }
        }
        assert!(self.eat(']'));
        Item::Set { negated, ranges }
    }

    fn times(&mut self) -> (usize, usize) {
        match self.rest.next_if(|c| "?*+{".contains(*c)) {
            None => (1, 1),
            Some('?') => (0, 1),
            Some('*') => (0, usize::MAX),
            Some('+') => (1, usize::MAX),
            Some(_) => {
                let digits: String = std::iter::from_fn(|| self.rest.next_if(|c| *c != '}')).collect();
                assert!(self.eat('}'));
                let (min, max) = digits.split_once(',').unwrap_or((&digits, &digits));
                (min.parse().unwrap(), max.parse().unwrap())
            }
        }
    }
}

type Then<'a> = &'a dyn Fn(usize) -> bool;

fn any(choices: &[Vec<Part>], text: &[char], at: usize, then: Then<'_>) -> bool {
    choices.iter().any(|parts| all(parts, text, at, then))
}

fn all(parts: &[Part], text: &[char], at: usize, then: Then<'_>) -> bool {
    match parts.split_first() {
        Some((part, rest)) => repeated(part, 0, text, at, &|at| all(rest, text, at, then)),
        None => then(at),
    }
}

fn repeated(part: &Part, count: usize, text: &[char], at: usize, then: Then<'_>) -> bool {
    let again = |next: usize| (next > at || count < part.min) && repeated(part, count + 1, text, next, then);
    (count < part.max && one(&part.item, text, at, &again)) || (count >= part.min && then(at))
}

fn one(item: &Item, text: &[char], at: usize, then: Then<'_>) -> bool {
    let here = |fits: &dyn Fn(char) -> bool| text.get(at).is_some_and(|c| fits(*c)) && then(at + 1);
    match item {
        Item::Char(wanted) => here(&|c| c == *wanted),
        Item::Any => here(&|_| true),
        Item::Set { negated, ranges } => {
            here(&|c| ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated)
        }
        Item::Group(choices) => any(choices, text, at, then),
        Item::Ahead { wanted, choices } => any(choices, text, at, &|_| true) == *wanted && then(at),
        Item::Start => at == 0 && then(at),
        Item::End => at == text.len() && then(at),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    assert!(pattern.starts_with('^') && pattern.ends_with('$'), "{pattern}");
    let mut reader = Reader { rest: pattern.chars().peekable() };
    let choices = reader.choices();
    assert!(reader.rest.next().is_none(), "{pattern}");
    let text: Vec<char> = text.chars().collect();
    any(&choices, &text, 0, &|_| true)
}

#[test]
fn the_pattern_matcher_of_these_tests_matches() {
    for (pattern, fine, wrong) in [
        ("^a{2}(b|cd)*$", vec!["aa", "aab", "aacdb"], vec!["a", "aaa", "aac", "aabx"]),
        (r"^\+[0-9]+(\.[0-9]+)?$", vec!["+1", "+1.25"], vec!["1", "+", "+1.", "+1x"]),
        ("^(?!:)(?=.*[^ ])[ -~]{1,3}$", vec!["a", " a", "a:"], vec!["", "  ", ":a", "abcd", "é"]),
        ("^(?!no$|never$)[a-z-]+$", vec!["n", "nope", "a-"], vec!["no", "never", "A"]),
    ] {
        fine.into_iter().for_each(|text| assert!(matches(pattern, text), "{pattern} {text}"));
        wrong.into_iter().for_each(|text| assert!(!matches(pattern, text), "{pattern} {text}"));
    }
}

/// Whether the schema takes the value.
pub(crate) fn takes(schema: &Value, value: &Value) -> bool {
    schema.as_object().unwrap().iter().all(|(keyword, rule)| keeps(schema, keyword, rule, value))
}

fn keeps(schema: &Value, keyword: &str, rule: &Value, value: &Value) -> bool {
    let all_of = |rules: &Value| -> Vec<bool> {
        rules.as_array().unwrap().iter().map(|schema| takes(schema, value)).collect()
    };
    let count = || usize::try_from(rule.as_u64().unwrap()).unwrap();
    let list = value.as_array();
    match keyword {
        "$schema" | "title" | "description" | "default" | "examples" => true,
        "type" => rule.as_array().unwrap_or(&vec![rule.clone()]).iter().any(|name| is(name, value)),
        "enum" => rule.as_array().unwrap().contains(value),
        "const" => rule == value,
        "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
        "anyOf" => all_of(rule).contains(&true),
        "allOf" => !all_of(rule).contains(&false),
        "not" => !takes(rule, value),
        "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
        "exclusiveMinimum" => value.as_f64().is_none_or(|number| number > rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
        "minItems" => list.is_none_or(|items| items.len() >= count()),
        "maxItems" => list.is_none_or(|items| items.len() <= count()),
        "uniqueItems" => {
            list.is_none_or(|items| items.iter().enumerate().all(|(at, item)| !items[..at].contains(item)))
        }
        "items" => list.is_none_or(|items| items.iter().all(|item| takes(rule, item))),
        _ => value.as_object().is_none_or(|map| keeps_as_mapping(schema, keyword, rule, map)),
    }
}

fn keeps_as_mapping(schema: &Value, keyword: &str, rule: &Value, map: &Map<String, Value>) -> bool {
    let patterns = || schema["patternProperties"].as_object().into_iter().flatten();
    let known = |name: &str| {
        schema["properties"].get(name).is_some() || patterns().any(|(pattern, _)| matches(pattern, name))
    };
    match keyword {
        "properties" => {
            map.iter().all(|(name, value)| rule.get(name).is_none_or(|inner| takes(inner, value)))
        }
        "patternProperties" => patterns().all(|(pattern, inner)| {
            map.iter().all(|(name, value)| !matches(pattern, name) || takes(inner, value))
        }),
        "additionalProperties" => map.keys().all(|name| known(name)),
        "required" => rule.as_array().unwrap().iter().all(|name| map.contains_key(name.as_str().unwrap())),
        "minProperties" => map.len() as u64 >= rule.as_u64().unwrap(),
        other => panic!("these tests do not know the keyword {other}"),
    }
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("these tests do not know the type {other}"),
    }
}

const METRIC: &str = "{namespace: Shop, metric: Faults, dimensions: {Service: checkout}, \
                      stable: {Version: v41}, canary: {Version: v42}}";

/// A plan with the ARNs and these lines, in which `METRIC` and `CLASSES` stand for a metric's keys.
fn sample(lines: &str) -> Value {
    let lines = lines
        .replace("CLASSES", &METRIC.replacen("namespace", "dimension: Label, values: [a, b], namespace", 1))
        .replace("METRIC", METRIC);
    let text = format!("listener_rule: {RULE}\nstable: {STABLE}\ncanary: {CANARY}\n{lines}");
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn the_schema_takes_what_the_parser_takes() {
    let schema = plan_schema();
    for lines in [
        "",
        "rollout: checkout-42\nsteps: [5%, 12.5%, 100%]\nbake: 0\nburn_in: 1h30m\nsticky: yes\nmode: observe",
        "steps: {start: 5%, factor: 2}\nmin_requests: 1\nfalse_rollback: 0.001%",
        "deny_windows: []\ntime_zone: America/Argentina/Ushuaia\nbad_request_budget: 5\nremind_every: 0",
        "deny_windows: [Fri 16:00 to Mon 08:00, 22:00 to 6:00, 2026-12-24 to 2026-12-27, Saturday, 2026-12-31]",
        "deny_windows: [2026-12-24 12:00 to 08:00, sat TO sun, Thurs. 22:00 to 24:00]\nbad_request_budget: false",
        "alarms: [a, 'é b:c', 'arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a b']\ntime_zone: Etc/GMT+2",
        "role_arn: arn:aws:iam::123456789012:role/teams/web@eu/canary-gate",
        "checks: {errors: }",
        "checks: {errors: {tolerate: [+1%, 2x], slo: 1.5%, abort_above: false, promote_within: +2%}}",
        "checks: {errors: {slo: false}, latency: }",
        "checks: {latency: {quantiles: [p50, p99.9], tolerate: 10%, promote_within: 1.5x, ignore_below: 0}}",
        "checks: {latency: {slower_than: 400ms, tolerate: 50ms, ignore_below: 2.5ms}}",
        "checks: {latency: {slower_than: 1.5s, tolerate: 1.25x}}",
        "checks: {mine: {ratio: {bad: METRIC, total: METRIC}}}",
        "checks: {m-1_a: {ratio: {bad: METRIC, total: METRIC}, slo: 5%, tolerate: [2x, +1%]}}",
        "checks: {m-1_a: {ratio: {bad: METRIC, total: METRIC}, events: true, tolerate: 2x}}",
        "checks: {mine: {values: METRIC}, latency: {}}",
        "checks: {mine: {values: METRIC, worse: lower, threshold: 30, tolerate: '+5', promote_within: 2x}}",
        "checks: {mine: {values: METRIC, quantiles: [p90], ignore_below: 0.5, tolerate: 100%}}",
        "checks: {mine: {classes: CLASSES, tolerate: 1x, promote_within: 1.1x}}",
        "checks: {errorsome: {classes: CLASSES}, a: {values: METRIC}}",
    ] {
        let plan = sample(lines);
        let parsed = parse_plan_value(&plan, Scope::Rollout);
        assert!(parsed.is_ok(), "{lines}: {}", parsed.unwrap_err());
        assert!(takes(&schema, &plan), "{lines}");
    }
}

#[test]
fn the_schema_refuses_what_is_wrong_in_form() {
    let schema = plan_schema();
    for lines in [
        "rolout: a",
        "burn_in: 60",
        "bad_request_budget: 0",
        "bad_request_budget: true",
        "deny_windows: Sat",
        "deny_windows: [22:00]",
        "deny_windows: [Fri 16:00]",
        "deny_windows: [Fri 4pm to Mon 8am]",
        "deny_windows: [Sat, Sat]",
        "deny_windows: [5]",
        "time_zone: +02:00",
        "alarms: a",
        "alarms: ['']",
        "alarms: ['arn:aws:sns:eu-west-1:123456789012:alarm:a']",
        "alarms: [a, a]",
        "role_arn: canary-gate",
        "role_arn: arn:aws:iam:eu-west-1:123456789012:role/canary-gate",
        "role_arn: arn:aws:iam::123456789012:user/canary-gate",
        "burn_in: soon",
        "steps: []",
        "checks: {}",
        "checks: ",
        "checks: {errors: {slo: true}}",
        "checks: {errors: {slo: 2}}",
        "checks: {errors: {ratio: {}}}",
        "checks: {latency: {quantiles: []}}",
        "checks: {latency: {quantiles: [p50, p50]}}",
        "checks: {latency: {quantiles: [p100]}}",
        "checks: {latency: {slower_than: 400}}",
        "checks: {latency: {slower_than: 1h}}",
        "checks: {latency: {slower_than: 0}}",
        "checks: {latency: {tolerate: '+5'}}",
        "checks: {latency: {tolerate: [1.25x]}}",
        "checks: {latency: {promote_within: +5%}}",
        "checks: {latancy: {}}",
        "checks: {mine: }",
        "checks: {mine: {tolerate: 2x}}",
        "checks: {Mine: {values: METRIC}}",
        "checks: {mine: {ratio: {bad: METRIC}}}",
        "checks: {mine: {ratio: }}",
        "checks: {mine: {ratio: {bad: METRIC, total: METRIC}, values: METRIC}}",
        "checks: {mine: {ratio: {bad: METRIC, total: METRIC}, quantiles: [p50]}}",
        "checks: {mine: {values: METRIC, tolerate: +5}}",
        "checks: {mine: {values: METRIC, tolerate: 50ms}}",
        "checks: {mine: {values: METRIC, threshold: 0}}",
        "checks: {mine: {values: METRIC, worse: slower}}",
        "checks: {mine: {values: {namespace: A, metric: B, stable: {}, canary: {A: b}}}}",
        "checks: {mine: {values: {namespace: A, metric: B, stable: {A: 41}, canary: {A: b}}}}",
        "checks: {mine: {values: {namespace: ':A', metric: B, stable: {A: a}, canary: {A: b}}}}",
        "checks: {mine: {values: {metric: B, stable: {A: a}, canary: {A: b}}}}",
        "checks: {mine: {values: {namespace: A, metric: B, stable: {A: a}, canary: {A: b}, statistic: sum}}}",
        "checks: {mine: {classes: METRIC}}",
        "checks: {mine: {classes: CLASSES, tolerate: 10%}}",
    ] {
        let plan = sample(lines);
        assert!(parse_plan_value(&plan, Scope::Rollout).is_err(), "{lines} was taken");
        assert!(!takes(&schema, &plan), "the schema takes {lines}");
    }
    let other = sample("checks: {mine: {classes: CLASSES}}").to_string().replace("\"a\"", "\"other\"");
    assert!(!takes(&schema, &serde_json::from_str(&other).unwrap()));
}

#[test]
fn every_default_in_the_schema_is_one_that_it_takes() {
    fn walk(schema: &Value, tried: &mut usize) {
        if let Some(default) = schema.get("default") {
            *tried += 1;
            assert!(takes(schema, default), "{default} in {schema}");
        }
        match schema {
            Value::Object(map) => {
                map.iter().filter(|(key, _)| *key != "default").for_each(|(_, v)| walk(v, tried))
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, tried)),
            _ => {}
        }
    }
    let mut tried = 0;
    walk(&plan_schema(), &mut tried);
    assert!(tried > 30, "{tried}");
    assert_eq!(plan_schema()["properties"]["checks"]["default"], json!({ "errors": {}, "latency": {} }));
}

/// All examples below a schema, each with the schema that it is an example of.
fn examples_in<'a>(schema: &'a Value, found: &mut Vec<(&'a Value, &'a Value)>) {
    match schema {
        Value::Object(map) => {
            let examples = map.get("examples").and_then(Value::as_array).into_iter().flatten();
            found.extend(examples.map(|example| (schema, example)));
            map.values().for_each(|inner| examples_in(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| examples_in(inner, found)),
        _ => {}
    }
}

#[test]
fn every_example_is_taken() {
    let schema = plan_schema();
    let mut found = Vec::new();
    examples_in(&schema, &mut found);
    assert!(found.len() > 40, "only {} examples", found.len());
    for (schema, example) in found {
        assert!(takes(schema, example), "{example} is no example of {schema:#}");
    }
}
