//! `simulate`: each scenario ends as it should, and is told as it should be.

use serde_json::Value;

use crate::command_line::{TempFile, err, out, run, status};

/// A simulation as JSON lines: its minutes, and its summary.
fn simulate(arguments: &[&str]) -> (Vec<Value>, Value) {
    let output = run(&[&["simulate", "--format", "json"], arguments].concat());
    assert_eq!(status(&output), 0, "{}", err(&output));
    let mut lines: Vec<Value> =
        out(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let summary = lines.pop().unwrap()["summary"].clone();
    lines.remove(0);
    (lines, summary)
}

/// Runs a scenario with several seeds, so that no test hangs on the luck of one.
fn each_seed(scenario: &str, check: impl Fn(&[Value], &Value)) {
    for seed in 1..=8 {
        let (minutes, summary) = simulate(&["--scenario", scenario, "--seed", &seed.to_string()]);
        eprintln!("{scenario}, seed {seed}: {summary}");
        check(&minutes, &summary);
    }
}

fn minute_of(text: &Value) -> i64 {
    let at: jiff::Timestamp = text.as_str().expect("a time").parse().expect("a time");
    at.as_second() / 60
}

/// Minutes from the fault to the drain.
fn delay(summary: &Value) -> i64 {
    minute_of(&summary["drained_at"]) - minute_of(&summary["trouble_since"])
}

fn pages(minutes: &[Value]) -> Vec<&Value> {
    minutes.iter().flat_map(|minute| minute["pages"].as_array().unwrap()).collect()
}

fn shares(minutes: &[Value]) -> Vec<f64> {
    let mut shares: Vec<f64> = minutes.iter().filter_map(|minute| minute["share"].as_f64()).collect();
    shares.dedup();
    shares
}

#[test]
fn the_incident_is_drained_within_minutes_and_paged_once() {
    each_seed("errors", |minutes, summary| {
        assert_eq!(summary["phase"], "drained");
        assert!((5..=15).contains(&delay(summary)), "after {} minutes", delay(summary));
        let pages = pages(minutes);
        assert_eq!(pages.len(), 1);
        assert!(pages[0]["subject"].as_str().unwrap().starts_with("[critical] checkout-v42"));
        assert_eq!(shares(minutes), [5.0, 0.0]);
        let excess = summary["truth"]["excess_bad"].as_f64().unwrap();
        assert!((5.0..60.0).contains(&excess), "{excess} users saw an error too many");
    });
}

#[test]
fn a_healthy_canary_is_promoted_step_by_step() {
    each_seed("healthy", |minutes, summary| {
        assert_eq!(summary["phase"], "promoted");
        assert_eq!(shares(minutes), [5.0, 25.0, 50.0, 100.0]);
        assert!(minutes.len() > 45, "three bakes of a quarter of an hour took {} minutes", minutes.len());
    });
}

#[test]
fn an_outage_of_both_arms_drains_nobody() {
    each_seed("outage", |minutes, summary| {
        assert_eq!(summary["drained_at"], Value::Null);
        assert!(minutes.iter().all(|minute| minute["decision"] != "drain"));
        assert!(shares(minutes).is_sorted(), "{:?}", shares(minutes));
    });
}

#[test]
fn errors_on_a_later_step_are_found_as_fast_as_on_the_first() {
    each_seed("late-errors", |minutes, summary| {
        assert_eq!(summary["phase"], "drained");
        assert_eq!(shares(minutes), [5.0, 25.0, 50.0, 0.0]);
        assert!(delay(summary) <= 12, "after {} minutes", delay(summary));
    });
}

#[test]
fn a_canary_that_refuses_connections_is_out_after_two_minutes_of_data() {
    each_seed("down", |_, summary| {
        assert_eq!(summary["phase"], "drained");
        assert!(delay(summary) <= 5, "after {} minutes", delay(summary));
    });
}

#[test]
fn a_silent_canary_is_drained_after_blind_after_and_never_promoted() {
    each_seed("silent", |minutes, summary| {
        assert_eq!(summary["phase"], "drained");
        assert_eq!(shares(minutes), [5.0, 0.0]);
        assert!((5..=10).contains(&delay(summary)), "after {} minutes", delay(summary));
    });
}

#[test]
fn weights_of_another_hand_freeze_the_rollout() {
    each_seed("foreign", |minutes, summary| {
        assert_eq!((&summary["phase"], &summary["share"]), (&Value::from("frozen"), &Value::from(20.0)));
        assert_eq!(pages(minutes).len(), 1);
    });
}

#[test]
fn a_noisy_cloud_delays_a_healthy_canary_and_nothing_else() {
    each_seed("noisy-cloud", |minutes, summary| {
        assert_eq!(summary["phase"], "promoted");
        assert_eq!(pages(minutes).len(), 1);
    });
}

#[test]
fn a_canary_that_gets_slower_is_drained_though_it_fails_nothing() {
    each_seed("latency", |minutes, summary| {
        assert_eq!(summary["phase"], "drained");
        assert_eq!(shares(minutes), [5.0, 0.0]);
        assert!((4..=12).contains(&delay(summary)), "after {} minutes", delay(summary));
        let page = &pages(minutes)[0];
        assert!(page.to_string().contains("latency p"), "{page}");
    });
}

#[test]
fn the_same_seed_tells_the_same_story_and_another_seed_another() {
    for format in ["text", "json"] {
        let tell = |seed| out(&run(&["simulate", "--seed", seed, "--format", format]));
        assert_eq!(tell("7"), tell("7"));
        assert_ne!(tell("7"), tell("8"));
    }
}

#[test]
fn the_story_fits_a_terminal_has_no_colours_in_a_pipe_and_shows_page_and_damage() {
    for scenario in ["errors", "noisy-cloud", "foreign", "healthy"] {
        let text = out(&run(&["simulate", "--scenario", scenario]));
        // An address is never broken.
        let address = |line: &&str| line.contains("arn:") || line.contains("://");
        let long = text.lines().filter(|line| !address(line)).find(|line| line.chars().count() > 100);
        assert_eq!(long, None);
        assert!(!text.contains('\x1b'));
    }
    let text = out(&run(&["simulate"]));
    for said in ["100 to 1", "as on-call gets it", "[critical]", "blast radius", "in truth", "trouble began"]
    {
        assert!(text.contains(said), "{said} is missing in\n{text}");
    }
    // The page, with its chart and links, is more than half of it.
    assert!(text.lines().count() < 85, "{}", text.lines().count());
}

#[test]
fn verbose_shows_every_minute_and_the_rest_folds_them() {
    let lines = |arguments: &[&str]| out(&run(&[&["simulate", "--scenario", "healthy"], arguments].concat()));
    let (folded, verbose) = (lines(&[]), lines(&["--verbose"]));
    assert!(folded.contains("more minutes like this"));
    assert!(!verbose.contains("more minutes like this"));
    assert!(verbose.lines().count() > folded.lines().count() + 20);
}

#[test]
fn a_plan_of_ones_own_is_followed_and_a_limit_is_kept() {
    let plan = TempFile::new("own.yaml", "rollout: mine\nsteps: [10%, 40%]\nbake: 5m\n");
    let (minutes, summary) = simulate(&["--scenario", "healthy", "--plan", plan.name(), "--rps", "200"]);
    assert_eq!(shares(&minutes), [10.0, 40.0]);
    assert_eq!(summary["phase"], "promoted");
    let (minutes, summary) = simulate(&["--scenario", "healthy", "--minutes", "7"]);
    assert_eq!((minutes.len(), &summary["phase"]), (7, &Value::from("running")));
}
