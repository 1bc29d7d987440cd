//! docs/telemetry.md against the code, both ways: every line that is logged, every field, every metric; and what the
//! dashboard and the alarms make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use canary_gate::handler::telemetry;
use serde_json::Value;

use crate::layering::sources;

const DOCUMENT: &str = include_str!("../../docs/telemetry.md");
/// Fields that every line has, or every line of an invocation.
const OF_EVERY_LINE: [&str; 6] = ["timestamp", "level", "message", "target", "request_id", "trace_id"];

/// One `tracing` call: level, message and fields.
type Line = (String, String, Vec<String>);

/// What stands between a call's parentheses, split at its commas; text and inner parentheses stay whole.
fn arguments(text: &str) -> Vec<String> {
    let (mut parts, mut depth, mut quoted, mut escaped) = (vec![String::new()], 0_u32, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => (),
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => (),
        }
        parts.last_mut().expect("there is one").push(c);
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The name of a field: `name = value`, `%name`, `?name` or `name`.
fn field(argument: &str) -> String {
    let name = argument.split(" = ").next().expect("a name").trim_start_matches(['%', '?']);
    name.rsplit('.').next().expect("a name").to_owned()
}

/// All calls in the library and the binaries, tests left out.
fn logged() -> BTreeSet<Line> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut lines = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("source is text");
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (at, _) in text.match_indices("tracing::") {
            let rest = &text[at + "tracing::".len()..];
            let Some((level, rest)) = rest.split_once("!(") else { continue };
            if !["error", "warn", "info", "debug"].contains(&level) {
                continue;
            }
            let mut arguments = arguments(rest);
            let message = arguments.pop().expect("a call has arguments");
            let message = message.trim_matches('"').to_owned();
            assert!(
                !message.contains('{'),
                "{}: a message without its values is one to look for: {message}",
                file.display()
            );
            let mut fields: Vec<String> = arguments.iter().map(|argument| field(argument)).collect();
            fields.sort();
            lines.insert((level.to_owned(), message, fields));
        }
    }
    assert!(lines.len() > 30, "only {} lines found", lines.len());
    lines
}

/// The rows of the table below a heading, without its head.
fn table(heading: &str) -> Vec<Vec<String>> {
    let section =
        DOCUMENT.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.map(cells).collect()
}

/// Names in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_line_of_the_log_is_documented_and_no_other() {
    let told: BTreeSet<Line> = table("Lines")
        .iter()
        .map(|row| {
            let mut fields = quoted(&row[2]);
            fields.sort();
            (row[1].clone(), quoted(&row[0]).concat(), fields)
        })
        .collect();
    let row = |(level, message, fields): &Line| {
        let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
        format!("| `{message}` | {level} | {} | |", fields.join(", "))
    };
    let logged = logged();
    let missing: Vec<String> = logged.difference(&told).map(row).collect();
    assert!(missing.is_empty(), "logged, and not in docs/telemetry.md:\n{}", missing.join("\n"));
    let gone: Vec<String> = told.difference(&logged).map(row).collect();
    assert!(gone.is_empty(), "in docs/telemetry.md, and logged nowhere:\n{}", gone.join("\n"));
}

fn documented_fields() -> BTreeSet<String> {
    table("Fields").iter().flat_map(|row| quoted(&row[0])).collect()
}

#[test]
fn every_field_says_what_it_is() {
    let of_lines = logged().into_iter().flat_map(|(_, _, fields)| fields);
    let used: BTreeSet<String> = of_lines.chain(OF_EVERY_LINE.map(str::to_owned)).collect();
    assert_eq!(documented_fields(), used);
    assert!(table("Fields").iter().all(|row| row.len() == 2 && row[1].len() > 5), "each has a meaning");
}

/// Attributes of a page, and what the page about pages says of them.
#[test]
fn every_attribute_that_a_page_can_be_filtered_by_is_documented() {
    let pages = include_str!("../../docs/pages.md");
    let mut told: Vec<String> = pages
        .split("\n## Who gets what\n")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("a section")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| quoted(line)[0].clone())
        .collect();
    told.sort();
    let mut world = crate::world::World::on_first_step(2);
    world.per_mille = [3.0, 60.0];
    world.until("drain", 30);
    let message = &world.cloud.messages()[0];
    let mut sent: Vec<&str> = message.attributes.iter().map(|(name, _)| *name).collect();
    sent.sort_unstable();
    assert_eq!(told, sent);
    let named =
        |form: &str| pages.split("\n## ").next().is_some_and(|first| first.contains(&format!("`{form}`")));
    assert!(message.forms.iter().all(|(protocol, _)| named(protocol)), "{:?}", message.forms);
}

#[test]
fn every_metric_is_documented_with_its_unit_and_dimension() {
    let told: BTreeSet<Vec<String>> =
        table("Metrics").iter().map(|row| row[..3].iter().flat_map(|cell| quoted(cell)).collect()).collect();
    let published: BTreeSet<Vec<String>> =
        telemetry::metrics().map(|metric| metric.map(str::to_owned).to_vec()).collect();
    assert_eq!(told, published);
}

/// The dashboard's widgets.
fn widgets() -> Vec<Value> {
    let text = include_str!("../../infra/dashboard.yaml");
    let body = text
        .split("DashboardBody: !Sub |\n")
        .nth(1)
        .expect("a body")
        .split("\nOutputs:")
        .next()
        .expect("its end");
    // Most parameters stand in text; these are numbers.
    let body = ["HarmThreshold", "HealthThreshold"]
        .iter()
        .fold(body.to_owned(), |body, name| body.replace(&format!("${{{name}}}"), "1"));
    let body: Value = serde_json::from_str(&body).expect("JSON but for the parameters");
    body["widgets"].as_array().expect("widgets").clone()
}

/// Our metrics that the widgets plot, with their dimension; `.` and `...` stand for what the row before has.
fn plotted() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for widget in widgets() {
        let mut before: Vec<String> = Vec::new();
        for row in widget["properties"]["metrics"].as_array().into_iter().flatten() {
            let mut names: Vec<String> = Vec::new();
            for (at, cell) in row.as_array().expect("a metric").iter().filter_map(Value::as_str).enumerate() {
                match cell {
                    "..." => names.extend(before.iter().take(before.len().saturating_sub(1)).cloned()),
                    "." => names.push(before[at].clone()),
                    name => names.push(name.to_owned()),
                }
            }
            if let [namespace, metric, dimension, ..] = names.as_slice()
                && namespace == telemetry::NAMESPACE
            {
                found.insert(metric.clone(), dimension.clone());
            }
            before = names;
        }
    }
    found
}

#[test]
fn the_dashboard_plots_every_metric_and_no_other() {
    let published =
        telemetry::metrics().map(|[metric, _, dimension]| (metric.to_owned(), dimension.to_owned()));
    assert_eq!(plotted(), published.collect());
}

#[test]
fn the_dashboards_query_of_the_log_looks_for_what_is_logged() {
    let queries: Vec<String> = widgets()
        .iter()
        .filter_map(|widget| widget["properties"]["query"].as_str().map(str::to_owned))
        .collect();
    assert!(!queries.is_empty());
    for query in queries {
        let after =
            |word: &str| query.split(word).nth(1).expect(word).split('|').next().expect("a part").to_owned();
        let message = after("message = '").split('\'').next().expect("a message").to_owned();
        let lines = logged();
        let line = lines.iter().find(|(_, logged, _)| *logged == message);
        let (_, _, fields) = line.unwrap_or_else(|| panic!("nothing is logged as {message}"));
        for field in after("| fields ").split(',').map(str::trim).filter(|field| !field.starts_with('@')) {
            assert!(fields.iter().any(|known| known == field), "{message} has no {field}: {fields:?}");
        }
    }
}

#[test]
fn the_alarms_watch_metrics_that_are_published() {
    let text = include_str!("../../infra/alarms.yaml");
    let ours: Vec<&str> = text
        .split("Namespace: canary-gate")
        .skip(1)
        .filter_map(|rest| rest.split("MetricName: ").nth(1)?.split_whitespace().next())
        .collect();
    assert!(!ours.is_empty(), "no alarm on a metric of ours");
    let known: Vec<&str> = telemetry::metrics().map(|[metric, ..]| metric).collect();
    assert!(ours.iter().all(|metric| known.contains(metric)), "{ours:?}");
}
