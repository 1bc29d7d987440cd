//! `calibrate`: few rollouts, so that what is tested is the command and not the statistics.

use serde_json::Value;

use crate::command_line::{TempFile, err, out, run, run_with, status};

/// Errors alone, one short step: quick.
const QUICK: &str = "steps: [20%, 100%]\nbake: 2m\nmin_requests: 100\nchecks: {errors: {}}\n";

fn calibrate(plan: &str, arguments: &[&str]) -> std::process::Output {
    let quick = ["calibrate", "--plan", "-", "--runs", "6", "--minutes", "80"];
    run_with(&[&quick, arguments].concat(), plan)
}

fn report(plan: &str, arguments: &[&str]) -> Value {
    let output = calibrate(plan, &[&["--format", "json"], arguments].concat());
    assert_eq!(status(&output), 0, "{}{}", out(&output), err(&output));
    serde_json::from_str(&out(&output)).expect("JSON")
}

#[test]
fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
    let tell = |seed| out(&calibrate(QUICK, &["--seed", seed, "--drift"]));
    assert_eq!(tell("7"), tell("7"));
    assert_ne!(tell("7"), tell("8").replace("seed 8", "seed 7"));
}

#[test]
fn promises_steps_and_faults_are_told_in_tables() {
    let output = calibrate(QUICK, &["--noise", "3"]);
    assert_eq!(status(&output), 0, "{}{}", out(&output), err(&output));
    let told = out(&output);
    for said in [
        "6 rollouts of each kind at 50 requests a second and 0.3% errors; seed 1",
        "drained: like stable  ",
        "drained: at the edge of tolerate",
        "promoted: errors, edge of promote_within",
        "noise 3 times",
        "on the step of 20%",
        "errors 7x, from the start",
        "errors 7x, from minute 61",
        "Every promise was kept",
    ] {
        assert!(told.contains(said), "{said} is missing in {told}");
    }
    assert!(told.lines().all(|line| line.chars().count() <= 108), "{told}");
    assert_eq!(err(&output), "", "no bar where there is no terminal");
}

#[test]
fn a_fault_that_is_asked_for_is_found_and_takes_the_place_of_the_usual_ones() {
    let report = report(QUICK, &["--fault", "errors=20x@11", "--errors", "1%"]);
    let faults = report["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 1);
    assert_eq!((&faults[0]["fault"], &faults[0]["from"]), (&"errors 20x".into(), &11.into()));
    assert_eq!(faults[0]["found"]["hits"], faults[0]["found"]["of"]);
    let median = faults[0]["minutes"]["median"].as_u64().unwrap();
    assert!((1..=10).contains(&median), "{median} minutes");
    assert!(faults[0]["excess_errors"].as_f64().unwrap() > 10.0);
    assert_eq!(report["kept"], true);
    assert_eq!(report["promises"][0]["promised"], 0.01);
}

#[test]
fn a_plan_that_cannot_keep_its_promise_with_this_traffic_is_1() {
    let plan = "checks: {errors: {abort_above: 1%, only_if_worse_than_stable: false}}\n";
    let output = calibrate(plan, &["--errors", "5%", "--fault", "errors=2x"]);
    assert_eq!(status(&output), 1, "{}", err(&output));
    assert!(out(&output).contains("BROKEN"), "{}", out(&output));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_exit_status() {
    let cases: &[(&[&str], &str)] = &[
        (&["--runs", "0"], "--runs"),
        (&["--minutes", "0"], "--minutes"),
        (&["--errors", "0.3"], "above 0%"),
        (&["--noise", "-1"], "from 1"),
        (&["--fault", "errors"], "is written"),
        (&["--fault", "refunds=2x"], "no check"),
        (&["--minutes", "9", "--fault", "errors=2x@10"], "after the last"),
    ];
    for (arguments, said) in cases {
        let output = run(&[&["calibrate"], *arguments].concat());
        assert_eq!(status(&output), 64, "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(said), "{arguments:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{arguments:?}");
    }
    assert_eq!(status(&run(&["calibrate", "--plan", "/nowhere/plan.yaml"])), 66);
    let wrong = TempFile::new("calibrate-plan", "steps: [200%]\n");
    assert_eq!(status(&run(&["calibrate", "--plan", wrong.name()])), 65);
    let help = out(&run(&["calibrate", "--help"]));
    assert!(help.contains("Example") && help.contains("1   a promise was surely broken"), "{help}");
}
