//! `canary-gate plan-time --cloudwatch`: measures over the wire what a recording of the same minutes tells.

use std::fmt::Write as _;
use std::process::Output;

use serde_json::{Value, json};

use crate::outside::Call;
use crate::person::{self, failed, told};
use crate::traffic::{Counts, Metric, Minute, Point};
use crate::world::World;

/// As few as can be asked for.
const MINUTES: i64 = 30;
/// Every minute alike, so that it does not matter which minute of the machine's clock a test runs in.
const STABLE: Counts = Counts { requests: 1_900, classes: [1_862, 0, 0, 38] };
/// Much worse than stable: its errors are none of stable's.
const CANARY: Counts = Counts { requests: 100, classes: [50, 0, 0, 50] };
/// Requests below and above 1.1^-8, half a second.
const FAST_AND_SLOW: [u64; 2] = [1_805, 95];

/// Half an hour of steady traffic; before it a worse one, which nobody asks for.
fn measured_world() -> World {
    let world = World::new();
    for minute in -MINUTES - 20..0 {
        let is_old = minute < -MINUTES - 5;
        let outage = Counts { requests: 9_000, classes: [0, 0, 0, 9_000] };
        let stable = if is_old { outage } else { STABLE };
        world.publish(minute, &Minute { stable: Some(stable), canary: Some(CANARY) });
        let bins = json!({ "bins": { "-20": FAST_AND_SLOW[0], "-5": FAST_AND_SLOW[1] } });
        world.publish_points(minute, &[Point { metric: Metric::Latency("stable"), form: bins }]);
    }
    world
}

/// The same minutes as a file.
fn recording() -> String {
    let arm = |counts: Counts, latency: Value| {
        let [ok, _, _, failed] = counts.classes;
        json!({ "requests": counts.requests, "http_2xx": ok, "http_5xx": failed, "latency": latency })
    };
    let latency = || json!({ "count": STABLE.requests, "le": { "-8": FAST_AND_SLOW[0] } });
    let mut text = format!("{}\n", json!({ "recording": 1, "stable": "v41", "canary": "v42" }));
    for at in 0..MINUTES {
        let (stable, canary) = (arm(STABLE, latency()), arm(CANARY, Value::Null));
        let minute = format!("2026-03-01T10:{at:02}:00Z");
        let row = json!({ "minute": minute, "share": 5.0, "stable": stable, "canary": canary });
        writeln!(text, "{row}").expect("a text");
    }
    text
}

fn plan(world: &World) -> String {
    let checks = json!({ "errors": {}, "latency": { "slower_than": "466ms" } });
    world.plan(json!({ "checks": checks, "sticky": "no" })).to_string()
}

/// Runs `plan-time` with nothing but this in its environment.
fn run(arguments: &[&str], environment: &[(&str, &str)], plan: &str) -> Output {
    person::run(&[&["plan-time", "--plan", "-"], arguments].concat(), environment, plan)
}

/// As a person with credentials and another region of their own.
fn measure(world: &World, arguments: &[&str]) -> Output {
    let environment = [
        ("AWS_ENDPOINT_URL", world.endpoint.url()),
        ("AWS_REGION", "eu-north-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDPERSON"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    run(&[&["--cloudwatch", "--minutes", "30"], arguments].concat(), &environment, &plan(world))
}

#[test]
fn the_table_is_that_of_a_recording_of_the_same_minutes() {
    let world = measured_world();
    let name = std::env::temp_dir().join(format!("canary-gate-wire-{}.jsonl", std::process::id()));
    std::fs::write(&name, recording()).expect("a file can be written");
    let recorded = run(&["--recording", name.to_str().expect("a plain path")], &[], &plan(&world));
    std::fs::remove_file(&name).expect("it is there");
    let measured = told(&measure(&world, &[]));
    assert_eq!(measured, told(&recorded));
    assert!(measured.contains("2,000 requests a minute"), "{measured}");
}

#[test]
fn traffic_is_of_both_groups_and_rates_are_of_stable_alone() {
    let world = measured_world();
    let (output, calls) = world.calls_of(|| measure(&world, &["--format", "json"]));
    let answer: Value = serde_json::from_str(&told(&output)).expect("one JSON object");
    assert_eq!(answer["requests_per_minute"], json!(2_000.0));
    for (row, rate) in [(0, 0.02), (1, 0.05)] {
        let found = answer["steps"][0]["rows"][row]["rate"].as_f64().expect("a rate");
        assert!((found - rate).abs() < 1e-4, "{found} for {rate}");
    }
    let [Call { name, params, error: None, role: None }] = &calls[..] else { panic!("one call: {calls:?}") };
    let seconds = |key: &str| params[key].as_f64().expect("seconds");
    assert_eq!(name, "cloudwatch GetMetricData");
    assert_eq!(seconds("EndTime") - seconds("StartTime"), 1_800.0);
}

#[test]
fn a_quiet_minute_counts_as_one_without_requests() {
    let world = World::new();
    for minute in (-MINUTES - 10..2).step_by(2) {
        world.publish(minute, &Minute { stable: Some(STABLE), canary: Some(CANARY) });
    }
    let output = measure(&world, &["--format", "json", "--rate", "latency=5%"]);
    let answer: Value = serde_json::from_str(&told(&output)).expect("one JSON object");
    assert_eq!(answer["requests_per_minute"], json!(1_000.0), "half of the minutes are quiet");
}

#[test]
fn a_denied_read_is_69_and_says_what_is_lacking() {
    let world = measured_world();
    let denied = json!({ "op": "GetMetricData", "code": "AccessDenied", "status": 403, "n": -1 });
    world.faults(&json!([denied]));
    let said = ["CloudWatch can't be read", "GetMetricData: denied", "must be valid and allow"];
    failed(&measure(&world, &[]), 69, &said);
}

#[test]
fn half_an_answer_is_69_and_names_what_was_not_read() {
    let world = measured_world();
    let half = json!({
        "op": "GetMetricData", "kind": "result", "where": "HTTPCode_Target_5XX_Count",
        "status_code": "PartialData", "n": -1,
    });
    world.faults(&json!([half]));
    failed(&measure(&world, &[]), 69, &["not read whole", "HTTPCode_Target_5XX_Count Sum of stable"]);
}

#[test]
fn a_stable_group_without_requests_is_65_and_named() {
    let world = World::new();
    failed(&measure(&world, &[]), 65, &["had no request from", world.group("stable")]);
}

#[test]
fn without_credentials_it_is_69_and_says_how_to_give_them() {
    let world = World::new();
    let (output, calls) = world.calls_of(|| {
        let environment = [("AWS_ENDPOINT_URL", world.endpoint.url())];
        run(&["--cloudwatch"], &environment, &plan(&world))
    });
    failed(&output, 69, &["no AWS credentials", "AWS_PROFILE"]);
    assert!(calls.is_empty(), "{calls:?}");
}
