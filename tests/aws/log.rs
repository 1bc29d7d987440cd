//! The function's log: lines of JSON, each with the ids of its invocation, and nothing that is not documented.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::traffic::Generated;
use crate::world::World;

/// The lines that were written since the log had so many, as JSON.
fn lines_since(world: &World, before: usize) -> Vec<Value> {
    let log = world.gates[0].log();
    let lines = log.lines().skip(before);
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn length(world: &World) -> usize {
    world.gates[0].log().lines().count()
}

/// What an invocation writes.
fn lines_of(world: &World, act: impl FnOnce()) -> Vec<Value> {
    let before = length(world);
    act();
    lines_since(world, before)
}

/// Names in backquotes in the first column of the table below a heading of docs/telemetry.md.
fn documented(heading: &str) -> BTreeSet<String> {
    let document = include_str!("../../docs/telemetry.md");
    let section = document.split(&format!("\n## {heading}\n")).nth(1).expect("a section");
    let rows =
        section.split("\n## ").next().expect("its text").lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|row| row.split('`').nth(1)).map(str::to_owned).collect()
}

/// Request and trace that all of the lines belong to.
fn ids(lines: &[Value]) -> (String, String) {
    let all: BTreeSet<(String, String)> = lines
        .iter()
        .map(|line| {
            let id = |key: &str| line[key].as_str().unwrap_or_else(|| panic!("no {key}: {line}")).to_owned();
            (id("request_id"), id("trace_id"))
        })
        .collect();
    assert_eq!(all.len(), 1, "lines of one invocation: {lines:?}");
    all.into_iter().next().expect("there is one")
}

#[test]
fn every_line_of_an_invocation_has_its_request_and_its_trace() {
    let world = World::on_first_step_of(json!({}), json!({ "verdict_metric": "shop" }), Generated::HARMFUL);
    world.faults(&json!([{ "op": "Publish", "code": "InvalidParameter", "match": "\"Subject\"", "n": -1 }]));
    let drained = lines_of(&world, || assert_eq!(world.tick(12)["decision"], json!("drain")));
    // A decision, the tick, two pages refused, and two lines of metrics.
    assert!(drained.len() >= 6, "{drained:?}");
    let (request, trace) = ids(&drained);
    // The runtime's harness makes the trace of the request's number.
    let number: u64 = request[request.len() - 12..].parse().expect("a number");
    assert!(trace.starts_with("1-") && trace.ends_with(&format!("-{number:024x}")), "{request}: {trace}");
    let failed = lines_of(&world, || {
        world.invoke(&json!({ "kind": "unheard-of" })).expect_err("refused");
    });
    assert_eq!(failed[0]["message"], json!("invocation failed"), "{failed:?}");
    assert_ne!(ids(&failed).0, request, "another invocation");
}

#[test]
fn a_decision_is_one_line_with_all_that_is_documented_of_it() {
    let world = World::on_first_step_of(json!({}), json!({ "verdict_metric": "shop" }), Generated::HARMFUL);
    let lines = lines_of(&world, || {
        world.tick(12);
    });
    let decisions: Vec<&Value> = lines.iter().filter(|line| line["message"] == "decision").collect();
    assert_eq!(decisions.len(), 1, "{lines:?}");
    let decision = decisions[0];
    for (field, value) in [
        ("level", json!("INFO")),
        ("minute", json!(world.minute(12))),
        ("rollout", json!("checkout")),
        ("decision", json!("drain")),
        ("phase", json!("drained")),
        ("share", json!(0.0)),
        ("verdict", json!("harmful")),
        ("blind_minutes", json!(0)),
    ] {
        assert_eq!(decision[field], value, "{field}: {decision}");
    }
    assert!(decision["log_e_harm"].as_f64().is_some_and(|found| found > 4.6), "{decision}");
    let (fields, metrics) = (documented("Fields"), documented("Metrics"));
    for line in &lines {
        let unknown = |key: &&String| match line.get("_aws") {
            None => !fields.contains(*key),
            Some(_) => {
                !metrics.contains(*key)
                    && !["_aws", "FunctionName", "Gate", "request_id", "trace_id"].contains(&key.as_str())
            }
        };
        let unknown: Vec<&String> = line.as_object().expect("an object").keys().filter(unknown).collect();
        assert!(unknown.is_empty(), "not in docs/telemetry.md: {unknown:?} of {line}");
    }
    let published = lines.iter().filter(|line| line.get("_aws").is_some()).count();
    assert_eq!(published, 2, "the tick's and the rollout's");
}
