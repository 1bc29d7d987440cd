//! What keeps a share from rising, or takes it back, beside the judge: the freeze of all rollouts, the calendar,
//! the rollback window, the budget of bad requests. And who hears of it, and how often.

use std::thread;

use serde_json::{Value, json};

use crate::many::of;
use crate::traffic::{Generated, Traffic};
use crate::world::World;

fn why<'a>(report: &'a Value, words: &str) -> &'a str {
    let why = report["why"].as_str().unwrap_or_default();
    assert!(why.contains(words), "{words}: {report}");
    why
}

/// Freezes or thaws all rollouts.
fn all(world: &World, command: &str) -> Value {
    world
        .command(command, json!({ "rollout": null }))
        .unwrap_or_else(|failed| panic!("{command}: {failed:?}"))
}

/// On the first step with traffic for an hour.
fn on_first_step(traffic: Generated) -> World {
    let world = World::on_first_step(traffic);
    for minute in 15..30 {
        world.publish(minute, &traffic.at(minute, 5.0));
    }
    world
}

#[test]
fn a_freeze_stops_every_rise_until_the_thaw() {
    let world = on_first_step(Generated::HEALTHY);
    let frozen = all(&world, "freeze");
    assert_eq!(frozen["frozen_by"]["actor"], json!("ana"), "{frozen}");
    let (report, calls) = world.calls_of(|| world.tick(12));
    assert_eq!((&report["decision"], world.rule().share(&world)), (&json!("hold"), 5.0));
    why(&report, "frozen by ana");
    let read = calls.iter().find(|call| call.name == "dynamodb GetItem").expect("the freeze is read");
    assert_eq!(read.params["ConsistentRead"], json!(true));
    let refused = world.command_at(13, "promote", json!({})).expect_err("refused");
    assert!(refused.kind == "CommandRefused" && refused.text.contains("frozen by ana"), "{refused:?}");
    let status = world.command("status", json!({})).expect("a status");
    assert_eq!(status["frozen_by"]["reason"], json!("release 42"));
    all(&world, "thaw");
    assert_eq!((world.tick(14)["decision"].clone(), world.rule().share(&world)), (json!("promote"), 25.0));
}

#[test]
fn a_freeze_stops_no_drain() {
    let world = World::on_first_step(Generated::HARMFUL);
    all(&world, "freeze");
    assert_eq!((world.tick(12)["decision"].clone(), world.rule().share(&world)), (json!("drain"), 0.0));
    let world = World::on_first_step(Generated::HEALTHY);
    all(&world, "freeze");
    world.command_at(3, "abort", json!({})).expect("aborted");
    assert_eq!(world.rule().share(&world), 0.0);
}

#[test]
fn a_rollout_that_is_started_in_a_freeze_waits_for_the_thaw() {
    let world = World::new();
    all(&world, "freeze");
    let started = world.start_default();
    assert!(started["warnings"].to_string().contains("frozen by ana"), "{started}");
    assert_eq!(world.tick(0)["decision"], json!("hold"));
    assert_eq!((world.rule().share(&world), world.record().phase()), (0.0, "waiting"));
    all(&world, "thaw");
    assert_eq!(world.tick(1)["decision"], json!("promote"));
}

#[test]
fn a_freeze_that_cannot_be_read_counts_as_one() {
    let world = on_first_step(Generated::HEALTHY);
    world.faults(&json!([{ "op": "GetItem", "code": "AccessDeniedException", "n": -1 }]));
    let report = world.tick(12);
    assert_eq!((&report["decision"], world.rule().share(&world)), (&json!("hold"), 5.0));
    why(&report, "denied");
    world.no_faults();
    assert_eq!(world.tick(13)["decision"], json!("promote"));
}

/// All traffic on the canary since minute 12.
fn promoted(plan: Value) -> World {
    let plan = crate::world::with(json!({ "steps": ["5%", "100%"] }), plan);
    let world = World::on_first_step_of(json!({}), plan, Generated::HEALTHY);
    assert_eq!(world.tick(12)["decision"], json!("promote"));
    assert_eq!((world.record().phase(), world.rule().weights(&world)), ("promoted", (0, 100)));
    world
}

#[test]
fn an_abort_soon_after_a_hundred_percent_rolls_back() {
    let world = promoted(json!({}));
    let aborted = world.command_at(60, "abort", json!({})).expect("an abort");
    assert_eq!((&aborted["phase"], world.rule().weights(&world)), (&json!("drained"), (100, 0)));
    assert_eq!(world.paged(), ["promoted", "drained"]);
    world.watch_ends(61);
    assert_eq!(world.record().phase(), "drained");
}

#[test]
fn an_abort_after_the_rollback_window_is_refused() {
    let world = promoted(json!({ "rollback_window": "10m" }));
    let refused = world.command_at(22, "abort", json!({})).expect_err("refused");
    assert!(
        refused.kind == "CommandRefused" && refused.text.contains("rollback_window (10m)"),
        "{refused:?}"
    );
    assert_eq!((world.record().phase(), world.rule().weights(&world)), ("promoted", (0, 100)));
    world.command_at(21, "abort", json!({})).expect("a minute earlier it was open");
    assert_eq!(world.rule().weights(&world), (100, 0));
}

#[test]
fn an_abort_after_a_hundred_percent_is_refused_while_stable_cannot_take_the_traffic() {
    let world = promoted(json!({}));
    world.no_targets("stable");
    let refused = world.command_at(15, "abort", json!({})).expect_err("refused");
    assert!(refused.kind == "CommandRefused" && refused.text.contains("no healthy target"), "{refused:?}");
    assert_eq!((world.record().phase(), world.rule().weights(&world)), ("promoted", (0, 100)));
}

#[test]
fn a_rollback_after_a_hundred_percent_that_is_denied_is_tried_by_every_tick() {
    let world = promoted(json!({}));
    world.faults(&json!([{ "op": "ModifyRule", "code": "AccessDenied", "status": 403, "n": -1 }]));
    let aborted = world.command_at(20, "abort", json!({})).expect("an abort");
    assert_eq!(aborted["phase"], json!("draining"), "{aborted}");
    world.no_faults();
    world.tick(21);
    assert_eq!((world.record().phase(), world.rule().weights(&world)), ("drained", (100, 0)));
    assert_eq!(world.paged(), ["promoted", "drain_failed", "drained"]);
}

/// From one minute of the story to another, by the clock of UTC.
fn window(world: &World, from: i64, until: i64) -> String {
    let clock = |minute: i64| world.minute(minute)[11..16].to_owned();
    format!("{} to {}", clock(from), clock(until))
}

#[test]
fn no_share_rises_in_a_deny_window_and_the_first_after_it_does() {
    let world = World::new();
    let plan = world.plan(json!({ "deny_windows": [window(&world, -30, 2), window(&world, 10, 15)] }));
    world.start(&plan);
    for minute in 0..2 {
        let report = world.tick(minute);
        assert_eq!((&report["decision"], world.rule().share(&world)), (&json!("hold"), 0.0), "{report}");
    }
    assert_eq!(world.tick(2)["decision"], json!("promote"));
    for minute in 2..20 {
        world.publish(minute, &Generated::HEALTHY.at(minute, 5.0));
    }
    for minute in 10..15 {
        let report = world.tick(minute);
        assert_eq!((&report["decision"], world.rule().share(&world)), (&json!("hold"), 5.0), "{report}");
    }
    assert_eq!(world.tick(15)["decision"], json!("promote"));
    assert_eq!((world.rule().share(&world), world.paged()), (25.0, Vec::<String>::new()));
}

#[test]
fn a_deny_window_stops_neither_a_drain_nor_a_person() {
    let world = World::new();
    world.start(&world.plan(json!({ "deny_windows": [window(&world, 1, 90)] })));
    world.tick(0);
    for minute in 0..15 {
        world.publish(minute, &Generated::HARMFUL.at(minute, 5.0));
    }
    let promoted = world.command_at(3, "promote", json!({})).expect("a person may");
    assert_eq!((&promoted["share"], world.rule().share(&world)), (&json!(25.0), 25.0));
    assert_eq!((world.tick(12)["decision"].clone(), world.rule().share(&world)), (json!("drain"), 0.0));
}

#[test]
fn a_canary_that_has_spent_its_budget_of_bad_requests_is_drained_unproven() {
    // Within what is tolerated, and so never proven harmful.
    let slightly_worse = Generated { canary_bad_from: Some((i64::MIN, 0.0028)), ..Generated::HEALTHY };
    let plan = json!({ "bake": "40m", "bad_request_budget": 10 });
    let world = World::on_first_step_of(json!({}), plan, slightly_worse);
    for minute in 15..40 {
        world.publish(minute, &slightly_worse.at(minute, 5.0));
    }
    let report = (5..40).map(|minute| world.tick(minute)).find(|report| report["decision"] != json!("hold"));
    let report = report.expect("spent");
    assert_eq!((&report["decision"], world.rule().share(&world)), (&json!("drain"), 0.0), "{report}");
    assert_eq!(report["judgement"]["reason"]["code"], json!("budget_spent"), "{report}");
    assert!(world.pages()[0].body.contains("budget"), "{}", world.pages()[0].body);
}

#[test]
fn a_drain_that_fails_for_long_is_paged_again_and_again() {
    let world = World::on_first_step_of(json!({}), json!({ "remind_every": "5m" }), Generated::HARMFUL);
    world.faults(&json!([{ "op": "ModifyRule", "code": "AccessDenied", "status": 403, "n": -1 }]));
    for minute in 12..24 {
        world.tick(minute);
    }
    assert_eq!(world.paged(), ["drain_failed"; 3]);
    let pages = world.pages();
    for (page, reminder) in pages[1..].iter().zip(["[critical, reminder 1]", "[critical, reminder 2]"]) {
        assert!(page.subject.contains(reminder), "{}", page.subject);
        assert_eq!(page.severity, "critical");
    }
    world.no_faults();
    world.tick(24);
    assert_eq!(world.paged()[3..], ["drained"]);
}

#[test]
fn nobody_is_reminded_of_what_has_passed() {
    let world = World::on_first_step_of(json!({}), json!({ "remind_every": "5m" }), Generated::HARMFUL);
    world.targets_are("stable", Some("unhealthy"));
    world.tick(12);
    world.targets_are("stable", None);
    for minute in 13..25 {
        world.tick(minute);
    }
    assert_eq!(world.paged(), ["drain_blocked", "drained"]);
}

#[test]
fn of_two_rollouts_that_are_started_at_once_on_one_rule_the_second_gives_way() {
    let mut world = World::new();
    world.add_process();
    world.faults(&json!([{ "op": "DescribeRules", "delay_s": 0.8, "n": 2 }]));
    let start = |name: &str, minute: i64| {
        let plan = world.plan(json!({ "rollout": name }));
        world.command_at(minute, "start", json!({ "plan": plan, "rollout": null }))
    };
    thread::scope(|threads| {
        let both = [("first", -2), ("second", -1)].map(|(name, at)| threads.spawn(move || start(name, at)));
        both.map(|one| one.join().expect("an answer").expect("both were let in"))
    });
    let report = world.tick_all(0);
    assert_eq!(of(&report, "first")["decision"], json!("promote"), "{report}");
    assert_eq!(of(&report, "second")["phase"], json!("stopped"), "{report}");
    assert_eq!((world.rule().share(&world), world.paged()), (5.0, vec!["not_started".to_owned()]));
    assert!(world.pages()[0].body.contains("first"), "{}", world.pages()[0].body);
    let report = world.tick_all(1);
    assert_eq!(report["rollouts"].as_array().map(Vec::len), Some(1), "{report}");
}
