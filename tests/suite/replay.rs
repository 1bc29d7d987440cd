//! `replay`, on small recordings that are written here.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::command_line::{TempFile, err, out, run, run_with, status};

const HEADER: &str = r#"{"recording":1,"source":"a test","stable":"v41","canary":"v42"}"#;
const PLAN: &str = "steps: [10%]\nmin_requests: 200\n";

fn arm(requests: u64, bad: u64) -> Value {
    json!({ "requests": requests, "http_2xx": requests - bad, "http_5xx": bad })
}

fn minute(at: u32, canary: &Value) -> Value {
    let stable = arm(900, 3);
    json!({
        "minute": format!("2026-03-01T{:02}:{:02}:00Z", 10 + at / 60, at % 60),
        "share": 10.0,
        "stable": stable,
        "canary": canary,
    })
}

fn recording(minutes: impl IntoIterator<Item = Value>) -> String {
    let mut text = format!("{HEADER}\n");
    for minute in minutes {
        writeln!(text, "{minute}").unwrap();
    }
    text
}

fn healthy(minutes: u32) -> Vec<Value> {
    (0..minutes).map(|at| minute(at, &arm(100, 0))).collect()
}

/// Healthy for so long, then one of six requests fails.
fn bad_from(from: u32, minutes: u32) -> Vec<Value> {
    (0..minutes).map(|at| minute(at, &arm(100, if at < from { 0 } else { 16 }))).collect()
}

/// Exit status, lines and summary of a replay as JSON lines.
fn replay(plan: &str, recording: &str) -> (i32, Vec<Value>, Value) {
    let plan = TempFile::new(&format!("{:?}.yaml", std::thread::current().id()), plan);
    let arguments = ["replay", "--plan", plan.name(), "--recording", "-", "--format", "jsonl"];
    let output = run_with(&arguments, recording);
    let mut lines: Vec<Value> =
        out(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(!lines.is_empty(), "{}", err(&output));
    let summary = lines.pop().unwrap()["summary"].clone();
    (status(&output), lines, summary)
}

fn decisions(lines: &[Value]) -> Vec<&str> {
    let mut words: Vec<&str> = lines.iter().map(|line| line["decision"].as_str().unwrap()).collect();
    words.dedup();
    words
}

#[test]
fn the_recording_of_the_examples_ends_drained() {
    let at = |name: &str| format!("{}/examples/recordings/{name}", env!("CARGO_MANIFEST_DIR"));
    let (plan, recording) = (at("plan.yaml"), at("bad-release.jsonl"));
    let output = run(&["replay", "--plan", &plan, "--recording", &recording]);
    assert_eq!(status(&output), 1, "{}", err(&output));
    assert!(out(&output).contains("errors: surely worse than stable"), "{}", out(&output));
    assert!(out(&output).lines().all(|line| line.chars().count() <= 100), "{}", out(&output));
}

#[test]
fn a_healthy_recording_is_promotable() {
    let (status, lines, summary) = replay(PLAN, &recording(healthy(30)));
    assert_eq!((status, lines.len()), (0, 30));
    assert_eq!(summary["outcome"], "promotable");
    assert_eq!(decisions(&lines), ["hold", "promote"]);
    let first = lines.iter().find(|line| line["decision"] == "promote").unwrap();
    assert_eq!(summary["minute"], first["minute"]);
    assert_eq!((&first["verdict"], &summary["check"]), (&json!("healthy"), &Value::Null));
}

#[test]
fn a_line_has_the_fields_that_were_promised() {
    let (_, lines, summary) = replay(PLAN, &recording(bad_from(5, 12)));
    let line = &lines[3];
    assert_eq!((&line["minute"], &line["share"]), (&json!("2026-03-01T10:03:00Z"), &json!(10.0)));
    assert_eq!((&line["verdict"], &line["decision"]), (&json!("undecided"), &json!("hold")));
    assert!(line["reason"].is_string() && line["log_e_harm"].is_f64());
    let errors = &line["checks"]["errors"];
    assert!(errors["log_e_harm"].is_f64() && errors["log_e_health"].is_f64());
    assert_eq!(
        (&errors["canary"], &errors["stable"]),
        (&json!({"bad": 0, "total": 400}), &json!({"bad": 12, "total": 3600}))
    );
    let keys: Vec<&String> = summary.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["canary_requests", "check", "code", "excess_bad", "minute", "outcome", "reason"]);
}

#[test]
fn a_bad_recording_is_drained_once_and_decides_nothing_after() {
    let (status, lines, summary) = replay(PLAN, &recording(bad_from(5, 30)));
    assert_eq!((status, lines.len()), (1, 30));
    assert_eq!(decisions(&lines), ["hold", "drain", "none"]);
    let drained = lines.iter().position(|line| line["decision"] == "drain").unwrap();
    assert!((5..10).contains(&drained), "drained in minute {drained}");
    assert_eq!((&summary["outcome"], &summary["check"]), (&json!("drained"), &json!("errors")));
    assert_eq!(summary["minute"], lines[drained]["minute"]);
    assert_eq!(summary["canary_requests"], json!(100 * (drained + 1)));
    let excess = summary["excess_bad"].as_f64().unwrap();
    let bad = 16.0 * (drained as f64 - 4.0);
    assert!((excess - (bad - (drained as f64 + 1.0) / 3.0)).abs() < 0.01, "{excess}");
}

#[test]
fn a_drain_outweighs_what_was_promotable_before() {
    let (status, lines, summary) = replay(PLAN, &recording(bad_from(20, 40)));
    assert_eq!((status, &summary["outcome"]), (1, &json!("drained")));
    assert_eq!(decisions(&lines)[..3], ["hold", "promote", "hold"]);
}

#[test]
fn a_canary_that_falls_silent_is_blind_and_not_promotable() {
    let silent = (0..40).map(|at| minute(at, &if at < 20 { arm(100, 0) } else { Value::Null }));
    let (status, _, summary) = replay(PLAN, &recording(silent));
    assert_eq!((status, &summary["outcome"]), (2, &json!("blind")));
    assert_eq!(summary["minute"], "2026-03-01T10:24:00Z");
}

#[test]
fn minutes_that_are_missing_are_missing_data() {
    let with_gap = healthy(60).into_iter().enumerate().filter(|(at, _)| !(10..59).contains(at));
    let (_, lines, _) = replay(PLAN, &recording(with_gap.map(|(_, minute)| minute)));
    assert_eq!(lines.len(), 60, "a minute without a line is judged as one without data");
    assert_eq!((&lines[9]["verdict"], &lines[13]["verdict"]), (&json!("undecided"), &json!("undecided")));
    assert!(lines[14..59].iter().all(|line| line["verdict"] == "blind" && line["decision"] == "hold"));
}

#[test]
fn a_minute_that_lies_weeks_ahead_ends_the_replay_not_the_machine() {
    let mut minutes = healthy(5);
    let mut far = minute(5, &arm(100, 0));
    far["minute"] = json!("2026-04-20T10:00:00Z");
    minutes.push(far);
    let (status, _, _) = replay(PLAN, &recording(minutes));
    assert_eq!(status, 2);
}

#[test]
fn too_short_a_recording_is_undecided() {
    let (status, _, summary) = replay(PLAN, &recording(healthy(6)));
    assert_eq!((status, &summary["outcome"]), (2, &json!("undecided")));
}

#[test]
fn what_was_proven_on_an_earlier_step_does_not_make_the_last_one_promotable() {
    let mut minutes = healthy(40);
    for minute in &mut minutes[35..] {
        minute["share"] = json!(50.0);
    }
    let (status, lines, summary) = replay(PLAN, &recording(minutes));
    assert_eq!((status, &summary["outcome"]), (2, &json!("undecided")));
    assert!(decisions(&lines).contains(&"promote"));
}

#[test]
fn late_and_repeated_lines_change_nothing() {
    let minutes = bad_from(5, 30);
    let mut shuffled = minutes.clone();
    shuffled.reverse();
    // An early version of a minute, corrected further down.
    shuffled.insert(0, minute(3, &arm(100, 90)));
    assert_eq!(replay(PLAN, &recording(shuffled)), replay(PLAN, &recording(minutes)));
}

#[test]
fn every_mistake_in_a_recording_is_told_with_its_line() {
    let mut minutes = healthy(4);
    minutes[1]["canary"]["http_5XX"] = json!(3);
    minutes[3]["share"] = json!(120);
    let mut text = recording(minutes);
    text += "not json\n";
    let plan = TempFile::new("mistakes.yaml", PLAN);
    let output = run_with(&["replay", "--plan", plan.name(), "--recording", "-"], &text);
    assert_eq!((status(&output), out(&output).as_str()), (65, ""));
    for said in ["line 3", "http_5XX", "http_5xx", "line 5", "line 6"] {
        assert!(err(&output).contains(said), "{said} is missing in {}", err(&output));
    }
}

#[test]
fn a_recording_without_minutes_is_an_input_error() {
    let plan = TempFile::new("empty.yaml", PLAN);
    for text in ["", HEADER] {
        let output = run_with(&["replay", "--plan", plan.name(), "--recording", "-"], text);
        assert_eq!(status(&output), 65, "{}", err(&output));
    }
}

#[test]
fn files_that_are_missing_or_wrong_have_their_own_statuses() {
    let plan = TempFile::new("statuses.yaml", PLAN);
    let file = TempFile::new("statuses.jsonl", &recording(healthy(30)));
    assert_eq!(status(&run(&["replay", "--plan", plan.name(), "--recording", file.name()])), 0);
    assert_eq!(status(&run(&["replay", "--plan", plan.name(), "--recording", "/nowhere"])), 66);
    let plan = TempFile::new("wrong.yaml", "steps: [10%]\nbakes: 15m\n");
    assert_eq!(status(&run(&["replay", "--plan", plan.name(), "--recording", file.name()])), 65);
}

#[test]
fn the_table_for_people_tells_the_same_end() {
    let plan = TempFile::new("table.yaml", PLAN);
    let output =
        run_with(&["replay", "--plan", plan.name(), "--recording", "-"], &recording(bad_from(5, 30)));
    let text = out(&output);
    assert_eq!(status(&output), 1);
    assert!(text.contains("\ndrained at 10:0"), "{text}");
    assert!(text.contains("more minutes like this"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
}
