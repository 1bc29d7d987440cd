//! An invocation ends before it is taken for dead, and a tick that was carried out leaves proof of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::traffic::Generated;
use crate::world::World;

/// A tick that Lambda would end after so long.
fn tick_within(world: &World, minute: i64, deadline_ms: u64) -> Value {
    let event = world.tick_event(minute);
    world.endpoint.post("invoke", &json!({ "event": event, "timeout_s": 30, "deadline_ms": deadline_ms }))
}

/// It was given up, and said so in time.
fn given_up(world: &World, minute: i64) {
    let began = Instant::now();
    let outcome = tick_within(world, minute, 1_600);
    assert_eq!(outcome["error_type"], json!("TimedOut"), "{outcome}");
    let text = outcome["error"].as_str().unwrap_or_default();
    assert!(text.contains("given up after 0.") && text.contains("the next tick goes on"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// Every line of the function's output that is a metric.
fn metrics(world: &World) -> Vec<Value> {
    let log = world.gates[0].log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["_aws"].is_object()).collect()
}

fn completed(world: &World) -> Vec<Value> {
    metrics(world).into_iter().map(|line| line["TicksCompleted"].clone()).collect()
}

#[test]
fn a_service_that_hangs_costs_one_tick_and_the_next_goes_on() {
    let world = World::on_first_step(Generated::HEALTHY);
    for operation in ["GetMetricData", "Query", "DescribeRules"] {
        world.faults(&json!([{ "op": operation, "delay_s": 20.0 }]));
        given_up(&world, 12);
        world.no_faults();
    }
    assert_eq!(world.tick(12)["decision"], json!("promote"), "it is the same minute's work");
    assert_eq!((world.rule().share(&world), world.paged()), (25.0, Vec::<String>::new()));
}

#[test]
fn a_write_that_hangs_is_found_done_by_the_next_tick() {
    let world = World::on_first_step(Generated::HEALTHY);
    world.faults(&json!([{ "op": "ModifyRule", "delay_s": 20.0, "when": "after" }]));
    given_up(&world, 12);
    world.no_faults();
    assert!(world.record().body["intent"].is_object());
    assert_eq!(world.tick(13)["decision"], json!("repair"));
    assert_eq!((world.rule().share(&world), world.record().phase()), (25.0, "running"));
}

#[test]
fn a_tick_that_is_carried_out_is_one_line_of_a_metric() {
    let world = World::new();
    world.start_default();
    assert_eq!(metrics(&world), [Value::Null; 0], "a command is no proof of a watch");
    world.tick(0);
    let metrics = metrics(&world);
    let [line] = &metrics[..] else { panic!("one line: {metrics:?}") };
    let directive = json!({
        "Namespace": "canary-gate", "Dimensions": [["FunctionName"]],
        "Metrics": [{ "Name": "TicksCompleted", "Unit": "Count" }],
    });
    assert_eq!(line["_aws"]["CloudWatchMetrics"], json!([directive]));
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let at_ms = line["_aws"]["Timestamp"].as_i64().expect("milliseconds");
    assert!((now_ms - 60_000..=now_ms).contains(&at_ms), "{at_ms} of {now_ms}");
    assert_eq!((&line["FunctionName"], &line["TicksCompleted"]), (&json!("function"), &json!(1.0)));
    // An idle tick counts, too: nobody was left unwatched.
    world.command("abort", json!({})).expect("aborted");
    world.watch_ends(1);
    assert!(completed(&world).len() >= 3 && completed(&world).iter().all(|one| *one == json!(1.0)));
}

#[test]
fn a_tick_that_stored_no_decision_was_dropped_or_failed_proves_nothing() {
    let world = World::on_first_step(Generated::HARMFUL);
    let before = completed(&world).len();
    let failing = |op: &str| json!([{ "op": op, "code": "InternalServerError", "status": 500, "n": -1 }]);
    world.faults(&failing("PutItem"));
    assert_eq!(world.tick(12)["decision"], json!("failed"));
    assert_eq!(completed(&world)[before..], [json!(0.0)]);
    world.no_faults();
    world.faults(&failing("Query"));
    world.invoke(&world.tick_event(13)).expect_err("nothing was read");
    assert_eq!(completed(&world).len(), before + 1, "a failed tick has no line");

    let world = World::set_up(json!({}), &[("CANARY_GATE_CLOCK", "wall")]);
    world.tick_all(-60);
    assert_eq!(completed(&world), [json!(0.0)], "dropped as stale");
}
