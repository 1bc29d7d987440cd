//! Random faults: what must hold does, and what checks it can fail.

use canary_gate::sim::chaos::{Invariant, Sabotage, episode, episode_seed, play};
use serde_json::Value;

use crate::command_line::{err, out, run, status};

/// Rollout-minutes of a run that every build affords; the nightly one has a million.
const MINUTES: u64 = 2_500;
/// Episodes in which a sabotage must have shown.
const EPISODES: usize = 60;

#[test]
fn everything_holds_whatever_goes_wrong() {
    let report = play(20, MINUTES, None, |_| ());
    let told = report.failed.first().map(|failed| episode(failed.episode, None, true).story.join("\n"));
    assert!(report.failed.is_empty(), "{}\n{:?}", told.unwrap_or_default(), report.failed);
    let tally = report.tally;
    assert!(tally.rollout_minutes >= MINUTES && tally.deaths > 50 && tally.overlaps > 50, "{tally:?}");
    assert!(tally.faults.len() > 30, "{:?}", tally.faults);
    for invariant in Invariant::ALL {
        assert!(tally.checked[invariant.index()] > 0, "{invariant:?} was never checked");
    }
}

/// The first episode in which a sabotage is found, and what is found.
fn found(sabotage: Sabotage) -> Option<Invariant> {
    let episodes = (0..EPISODES).map(|number| episode(episode_seed(3, number), Some(sabotage), false));
    episodes.flat_map(|told| told.broken).map(|broken| broken.invariant).find(|it| *it == sabotage.breaks())
}

#[test]
fn each_rule_that_is_broken_on_purpose_is_found_by_the_invariant_that_guards_it() {
    for sabotage in Sabotage::ALL {
        assert_eq!(found(sabotage), Some(sabotage.breaks()), "{} was not found", sabotage.name());
    }
}

#[test]
fn each_invariant_can_fail() {
    for invariant in Invariant::ALL {
        assert!(Sabotage::ALL.iter().any(|sabotage| sabotage.breaks() == invariant), "{invariant:?}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story_with_and_without_telling_it() {
    let seed = episode_seed(5, 1);
    let told = episode(seed, None, true);
    assert_eq!(told, episode(seed, None, true));
    assert_eq!(told.tally, episode(seed, None, false).tally);
    assert_ne!(told.story, episode(episode_seed(5, 2), None, true).story);
}

#[test]
fn a_run_is_told_as_a_table_or_as_json() {
    let output = run(&["chaos", "--minutes", "400", "--seed", "9"]);
    assert_eq!(status(&output), 0, "{}{}", out(&output), err(&output));
    for said in
        ["rollout-minutes", "port calls", "What went wrong", "I1  up only with proof", "Everything held."]
    {
        assert!(out(&output).contains(said), "{said} is missing in {}", out(&output));
    }
    assert_eq!(err(&output), "", "no progress where there is no terminal");
    let output = run(&["chaos", "--minutes", "400", "--seed", "9", "--format", "json"]);
    let json: Value = serde_json::from_str(&out(&output)).unwrap();
    assert!(json["rollout_minutes"].as_u64().unwrap() >= 400);
    assert_eq!(json["invariants"].as_array().unwrap().len(), Invariant::ALL.len());
    assert_eq!(json["failed"], serde_json::json!([]));
}

#[test]
fn what_is_broken_is_told_with_the_way_to_play_it_again() {
    let output = run(&["chaos", "--minutes", "400", "--sabotage", "raises-more"]);
    assert_eq!(status(&output), 1, "{}", err(&output));
    let text = out(&output);
    assert!(text.contains("BROKEN: I1 (up only with proof)"), "{text}");
    let again = text.lines().find_map(|line| line.strip_prefix("Play it again with:  canary-gate "));
    let again: Vec<&str> = again.unwrap().split(' ').collect();
    let output = run(&again);
    assert_eq!(status(&output), 1, "{}", err(&output));
    assert!(out(&output).contains("BROKEN: I1") && out(&output).contains("begins: the tick of"));
}

#[test]
fn an_episode_tells_its_story() {
    let output = run(&["chaos", "--episode", "7"]);
    assert_eq!(status(&output), 0, "{}", out(&output));
    assert!(out(&output).contains("THE FAULTS STOP"), "{}", out(&output));
    assert!(out(&output).contains("Everything held in episode 7."));
    let output = run(&["chaos", "--episode", "7", "--format", "json"]);
    let json: Value = serde_json::from_str(&out(&output)).unwrap();
    assert!(json["story"].as_array().unwrap().len() > 100);
    for wrong in
        [&["chaos", "--minutes", "0"][..], &["chaos", "--episode", "x"], &["chaos", "--sabotage", "none"]]
    {
        assert_eq!(status(&run(wrong)), 64, "{wrong:?}");
    }
}
