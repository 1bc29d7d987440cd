//! `plan-time`, as a process.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::command_line::{TempFile, err, out, run, run_with, status};

const ERRORS_ONLY: &str = "steps: [5%, 25%]\nchecks: {errors: {}}\n";

fn answer(arguments: &[&str], input: &str) -> Value {
    let arguments = [&["plan-time", "--format", "json"], arguments].concat();
    let output = run_with(&arguments, input);
    assert_eq!(status(&output), 0, "{}", err(&output));
    serde_json::from_str(&out(&output)).expect("one JSON object")
}

fn recording(minutes: u32) -> String {
    let arm = |requests: u64, bad: u64| json!({ "requests": requests, "http_2xx": requests - bad, "http_5xx": bad, "healthy_hosts": 2 });
    let mut text = format!("{}\n", json!({ "recording": 1, "stable": "v41", "canary": "v42" }));
    for at in 0..minutes {
        let minute = format!("2026-03-01T10:{at:02}:00Z");
        let row = json!({ "minute": minute, "share": 5.0, "stable": arm(2_850, 57), "canary": arm(150, 75) });
        writeln!(text, "{row}").unwrap();
    }
    text
}

#[test]
fn the_default_plan_is_told_in_tables_of_a_hundred_columns() {
    for rps in ["0.2", "50", "20000"] {
        let output = run(&["plan-time", "--rps", rps]);
        assert_eq!((status(&output), err(&output).as_str()), (0, ""));
        let told = out(&output);
        for said in
            ["step 5%", "step 25%", "step 50%", "step 100%: the end", "latency p99", "if 2x", "if +2%"]
        {
            assert!(told.contains(said), "{said} is missing in {told}");
        }
        let widest = told.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 100, "{widest} columns:\n{told}");
    }
}

#[test]
fn a_healthy_rollout_at_fifty_requests_a_second_takes_an_hour_or_so() {
    let told = out(&run(&["plan-time", "--rps", "50"]));
    assert!(told.contains("a healthy rollout takes about 51m"), "{told}");
    assert!(told.contains("2 more pass until CloudWatch's minutes are final"), "{told}");
    assert!(told.contains("never (t): tolerate covers"), "{told}");
    assert!(told.contains("regressions inside the margin are never rolled back"), "{told}");
    assert!(told.contains("error rate is assumed to be 0.3%"), "{told}");
}

#[test]
fn a_step_that_stays_undecided_is_marked_and_what_follows_is_told() {
    let told = |plan: &str| out(&run_with(&["plan-time", "--plan", "-", "--rps", "0.5"], plan));
    let held = told(ERRORS_ONLY);
    assert!(held.contains(" !") && held.contains("stays undecided, because of errors"), "{held}");
    assert!(held.contains("gets to 5% and no further") && held.contains("on_undecided: hold"), "{held}");
    assert!(told(&format!("{ERRORS_ONLY}on_undecided: drain\n")).contains("it is drained after 4h"));
    assert!(told(&format!("{ERRORS_ONLY}on_undecided: promote\n")).contains("goes on unproven after 4h"));
    let quantiles = out(&run(&["plan-time", "--rps", "0.5"]));
    assert!(
        quantiles.contains("harm only") && quantiles.contains("at 5% judged for harm only"),
        "{quantiles}"
    );
}

#[test]
fn the_json_has_the_fields_that_were_promised() {
    let answer = answer(&["--rps", "50", "--bad", "+1.8%", "--bad", "1.1x"], "");
    assert_eq!((&answer["requests_per_minute"], &answer["delay_minutes"]), (&json!(3000.0), &json!(2)));
    assert_eq!((&answer["minutes"], &answer["design_effect"]), (&json!(51), &json!(1.0)));
    assert!(answer["warnings"].as_array().unwrap().len() > 1);
    let steps = answer["steps"].as_array().unwrap();
    let step = &steps[0];
    assert_eq!((&step["share"], &step["requests_per_minute"]), (&json!(5.0), &json!(150.0)));
    assert_eq!((&step["least_minutes"], &step["minutes"]), (&json!(17), &json!(17)));
    assert_eq!((&step["slowest"], &step["decided_by"]), (&json!("errors"), &json!("bake")));
    let row = &step["rows"][0];
    assert_eq!((&row["check"], &row["part"], &row["rate"]), (&json!("errors"), &Value::Null, &json!(0.003)));
    assert_eq!((&row["minutes_to_prove"], &row["standing"]), (&json!(10), &json!("decided")));
    let drain = &row["drains"][0];
    assert_eq!(drain["bad"], "+1.8%");
    assert!((3..8).contains(&drain["minutes"].as_u64().unwrap()), "{drain}");
    assert!(drain["excess_bad"].is_f64());
    assert_eq!(row["drains"][1], json!({ "bad": "1.1x", "never": "within_tolerate" }));
    assert_eq!((&steps[3]["judged"], &steps[3]["minutes"]), (&json!(false), &json!(0)));
}

#[test]
fn sticky_clients_take_longer_and_auto_is_said_to_count_as_no() {
    let plan = |sticky: &str| format!("{ERRORS_ONLY}sticky: {sticky}\n");
    let prove = |sticky: &str| {
        answer(&["--plan", "-", "--rps", "50"], &plan(sticky))["steps"][0]["rows"][0]["minutes_to_prove"]
            .as_u64()
            .unwrap()
    };
    assert!(prove("yes") >= 9 * prove("no"));
    let told = out(&run_with(&["plan-time", "--plan", "-", "--rps", "50"], &plan("auto")));
    assert!(told.contains("here it counts as no"), "{told}");
}

#[test]
fn a_recording_tells_traffic_errors_and_targets() {
    let plan = TempFile::new("plan-time.yaml", ERRORS_ONLY);
    let answer = answer(&["--plan", plan.name(), "--recording", "-"], &recording(20));
    assert_eq!(answer["requests_per_minute"], 3000.0);
    let rate = answer["steps"][0]["rows"][0]["rate"].as_f64().unwrap();
    assert!((rate - 0.02).abs() < 1e-4, "{rate}");
    assert!(answer["warnings"].to_string().contains("fewer than 4 canary targets"), "{answer}");
}

#[test]
fn a_recording_without_latency_is_said_to_lack_it() {
    let told = answer(&["--recording", "-"], &recording(20))["warnings"].to_string();
    assert!(told.contains("nothing of stable for latency"), "{told}");
}

#[test]
fn questions_that_make_no_sense_are_64_and_say_why() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "--rps"),
        (&["--rps", "0"], "above 0"),
        (&["--rps", "50", "--recording", "-"], "cannot be used with"),
        (&["--recording", "-", "--errors", "1%"], "cannot be used with"),
        (&["--plan", "-", "--recording", "-"], "only one"),
        (&["--cloudwatch"], "--plan"),
        (&["--cloudwatch", "--plan", "-", "--rps", "50"], "cannot be used with"),
        (&["--cloudwatch", "--plan", "-", "--recording", "-"], "cannot be used with"),
        (&["--cloudwatch", "--plan", "-", "--errors", "1%"], "cannot be used with"),
        (&["--cloudwatch", "--plan", "-", "--minutes", "29"], "30..=1440"),
        (&["--cloudwatch", "--plan", "-", "--minutes", "1441"], "30..=1440"),
        (&["--rps", "50", "--minutes", "60"], "--cloudwatch"),
        (&["--rps", "50", "--errors", "0%"], "above 0 and below 100"),
        (&["--rps", "50", "--bad", "1x"], "above 1x"),
        (&["--rps", "50", "--bad", "2"], "such as 2x"),
        (&["--rps", "50", "--rate", "thumbs"], "NAME=RATE"),
        (&["--rps", "50", "--rate", "errors=2%"], "no check that takes a rate"),
        (
            &["--rps", "50", "--bad", "2x", "--bad", "3x", "--bad", "4x", "--bad", "5x", "--bad", "6x"],
            "at most",
        ),
    ];
    for (arguments, said) in cases {
        let output = run(&[&["plan-time"], *arguments].concat());
        assert_eq!(status(&output), 64, "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(said), "{arguments:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{arguments:?}");
    }
}

#[test]
fn a_plan_to_measure_must_say_where_its_traffic_is_split() {
    let output = run_with(&["plan-time", "--cloudwatch", "--plan", "-"], ERRORS_ONLY);
    assert_eq!(status(&output), 65, "{}", err(&output));
    assert!(err(&output).contains("listener_rule"), "{}", err(&output));
}

#[test]
#[cfg_attr(feature = "aws", ignore = "this build can talk to AWS")]
fn a_build_that_cannot_talk_to_aws_says_how_to_make_one() {
    let plan = canary_gate::sim::run::default_plan().to_string();
    let output = run_with(&["plan-time", "--cloudwatch", "--plan", "-"], &plan);
    assert_eq!((status(&output), out(&output).as_str()), (64, ""), "{}", err(&output));
    assert!(err(&output).contains("cargo build --release --features aws"), "{}", err(&output));
}

#[test]
fn wrong_and_missing_files_are_65_and_66() {
    let output = run_with(&["plan-time", "--rps", "50", "--plan", "-"], "stepz: [5%]\n");
    assert_eq!(status(&output), 65, "{}", err(&output));
    assert!(err(&output).contains("steps?"), "{}", err(&output));
    let output = run_with(&["plan-time", "--recording", "-"], "{}\n");
    assert_eq!(status(&output), 65, "{}", err(&output));
    let output = run_with(&["plan-time", "--recording", "-"], &recording(0));
    assert_eq!(status(&output), 65, "{}", err(&output));
    assert!(err(&output).contains("no request of stable"), "{}", err(&output));
    let output = run(&["plan-time", "--rps", "50", "--plan", "/nowhere/plan.yaml"]);
    assert_eq!(status(&output), 66, "{}", err(&output));
}
