//! `check` and `schema`.

use crate::command_line::{err, out, run, run_with, status};

const REGION: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012";

fn targets() -> String {
    format!(
        "listener_rule: {REGION}:listener-rule/app/shop/50dc6c495c0c9188/f2f7dc8efc522ab2/9683b2d02a6cabee\n\
         stable: {REGION}:targetgroup/checkout-v41/73e2d6bc24d8a067\n\
         canary: {REGION}:targetgroup/checkout-v42/943f017f100becff\n"
    )
}

#[test]
fn a_good_plan_is_ok() {
    let output = run_with(&["check", "-"], &format!("rollout: checkout-v42\n{}", targets()));
    assert_eq!(status(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("OK: checkout-v42, steps 5%, 25%, 50%, 100%"), "{}", out(&output));
}

#[test]
fn a_plan_that_ends_short_of_everything_is_ok_with_a_warning() {
    let output = run_with(&["check", "-"], &format!("steps: [5%, 20%]\n{}", targets()));
    assert_eq!(status(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("warning: "), "{}", out(&output));
}

#[test]
fn every_problem_of_a_plan_is_told_at_once() {
    let output = run_with(&["check", "-"], "stepz: [5%]\nbake: 15\nconvict_minutes: none\n");
    assert_eq!((status(&output), out(&output).as_str()), (65, ""));
    for said in ["steps?", "bake", "convict_minutes", "listener_rule", "stable", "canary"] {
        assert!(err(&output).contains(said), "{said} is missing in {}", err(&output));
    }
}

#[test]
fn machines_get_problems_and_warnings_as_json() {
    let good = run_with(&["check", "-", "--format", "json"], &format!("steps: [5%, 20%]\n{}", targets()));
    let told: serde_json::Value = serde_json::from_str(&out(&good)).unwrap();
    assert_eq!((status(&good), told["problems"].as_array().map(Vec::len)), (0, Some(0)));
    assert_eq!(told["warnings"].as_array().map(Vec::len), Some(1), "{told}");
    let bad = run_with(&["check", "-", "--format", "json"], &format!("bake: 15\n{}", targets()));
    let told: serde_json::Value = serde_json::from_str(&out(&bad)).unwrap();
    assert_eq!((status(&bad), err(&bad).as_str()), (65, ""));
    assert_eq!((&told["problems"][0]["key"], &told["problems"][0]["value"]), (&"bake".into(), &"15".into()));
}

#[test]
fn the_schema_is_a_json_schema() {
    let output = run(&["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"));
    assert!(schema["properties"]["listener_rule"].is_object());
}

#[test]
fn a_plan_with_a_check_of_every_kind_is_ok() {
    let metric = "{namespace: Shop, metric: Faults, stable: {Version: v41}, canary: {Version: v42}}";
    let checks = format!(
        "burn_in: 60m\nchecks:\n  errors: {{slo: 1.5%}}\n  \
         latency: {{slower_than: 400ms, tolerate: 50ms}}\n  \
         faults: {{ratio: {{bad: {metric}, total: {metric}}}}}\n  \
         speed: {{values: {metric}, worse: lower}}\n  tone: {{classes: {}}}\n",
        metric.replacen('{', "{dimension: Label, values: [good, bad], ", 1)
    );
    let output = run_with(&["check", "-"], &(checks + &targets()));
    assert_eq!(status(&output), 0, "{}", err(&output));
}

#[test]
fn every_problem_of_every_check_is_told_with_what_was_probably_meant() {
    let checks = "checks:\n  latancy: {}\n  errors: {slo: 20%}\n  tone: {clases: {}}\n  mood: {values: {}}\n";
    let output = run_with(&["check", "-"], &(checks.to_owned() + &targets()));
    assert_eq!(status(&output), 65);
    for said in [
        "checks.latancy: `{}` is not a known check; did you mean latency?",
        "checks.errors.slo: `20%` must be less than abort_above (10%)",
        "checks.tone.clases: `{}` is not a known key; did you mean classes?",
        "checks.mood.values.namespace: is missing",
        "checks.mood.values.canary: is missing",
    ] {
        assert!(err(&output).contains(said), "{said} is missing in {}", err(&output));
    }
}

#[test]
fn a_plan_without_end_is_read_to_the_limit_and_refused() {
    let output = run_with(&["check", "-"], &"#".repeat(66_000));
    assert_eq!(status(&output), 65);
    let expected = "canary-gate: standard input: the plan has more than 65536 bytes; no more are read\n";
    assert_eq!(err(&output), expected);
}
