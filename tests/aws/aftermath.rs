//! After a drain: a weight of zero is not yet a canary that nobody is served by.

use std::time::Duration;

use serde_json::{Value, json};

use crate::endpoint::wait_for;
use crate::outside::{Call, count};
use crate::traffic::{Counts, Generated, Minute};
use crate::world::{ROLLOUT, World};

/// Drained in minute 12 with 3,000 requests a minute until minute 14, whatever sticks to the canary.
fn drained() -> World {
    let world = World::on_first_step(Generated::HARMFUL);
    world.tick(12);
    assert_eq!((world.record().phase(), world.rule().share(&world)), ("drained", 0.0));
    world
}

/// The canary still answers so many requests a minute.
fn served(world: &World, minutes: std::ops::Range<i64>, requests: u64) {
    for minute in minutes {
        let canary = Some(Counts { requests, classes: [requests, 0, 0, 0] });
        world.publish(minute, &Minute { stable: None, canary });
    }
}

/// The ticks of some minutes, and every call of them.
fn ticks(world: &World, minutes: std::ops::Range<i64>) -> (Vec<Value>, Vec<Call>) {
    world.calls_of(|| minutes.map(|minute| world.tick(minute)).collect())
}

#[test]
fn a_drain_is_done_when_the_canarys_requests_have_stopped() {
    let world = drained();
    served(&world, 15..17, 40);
    let (reports, calls) = ticks(&world, 13..18);
    assert!(reports.iter().all(|report| report["decision"] == json!("verify")), "{reports:?}");
    assert_eq!((world.record().phase(), world.record().state.as_str()), ("drained", "running"));
    world.watch_ends(18);
    assert_eq!((count(&calls, "elbv2 ModifyRule"), world.paged()), (0, vec!["drained".to_owned()]));
    let status = world.command("status", json!({})).expect("a status");
    assert_eq!((&status["phase"], &status["verifying_drain"]), (&json!("drained"), &json!(false)));
}

#[test]
fn a_canary_that_is_still_served_at_weight_zero_is_taken_out_of_the_rule() {
    let world = drained();
    served(&world, 15..19, 2_500);
    let (reports, calls) = ticks(&world, 13..19);
    let writes: Vec<&Call> = calls.iter().filter(|call| call.name == "elbv2 ModifyRule").collect();
    assert_eq!(writes.len(), 1, "{reports:?}");
    let rule = world.rule();
    assert_eq!(rule.weights(&world), (100, 0));
    assert!(!rule.xml.contains(world.group("canary")), "{}", rule.xml);
    assert_eq!(world.paged(), ["drained", "group_taken_out"]);
    let page = &world.pages()[1];
    assert_eq!(page.severity, "warning");
    assert!(page.body.contains("put the group into the rule again"), "{}", page.body);
    world.watch_ends(19);
    assert_eq!(world.paged().len(), 2, "it was enough");
}

#[test]
fn a_canary_that_is_served_although_it_is_in_no_rule_is_paged_once() {
    let world = drained();
    served(&world, 15..40, 2_500);
    let (reports, calls) = ticks(&world, 13..28);
    assert_eq!(count(&calls, "elbv2 ModifyRule"), 1, "{reports:?}");
    assert_eq!(world.paged(), ["drained", "group_taken_out", "still_served"]);
    let page = &world.pages()[2];
    assert_eq!(page.severity, "critical");
    assert!(
        page.body.contains("2500 requests a minute") && page.body.contains("other rules"),
        "{}",
        page.body
    );
    assert!(world.tick(28).is_null());
    assert_eq!((world.record().phase(), world.record().state.as_str()), ("drained", "ended"));
}

#[test]
fn a_drain_whose_effect_cannot_be_read_is_paged_as_unchecked() {
    let world = drained();
    world.faults(&json!([{ "op": "GetMetricData", "code": "AccessDenied", "status": 403, "n": -1 }]));
    let (_, calls) = ticks(&world, 13..28);
    assert_eq!(
        (count(&calls, "elbv2 ModifyRule"), world.paged()),
        (0, vec!["drained".to_owned(), "not_verified".to_owned()])
    );
    let page = &world.pages()[1];
    assert_eq!(page.severity, "warning");
    assert!(page.body.contains("could not be checked") && page.body.contains("denied"), "{}", page.body);
    assert!(world.tick(28).is_null());
}

#[test]
fn a_drain_that_was_called_done_and_was_not_is_written_again() {
    let world = World::on_first_step(Generated::HARMFUL);
    world.faults(&json!([{ "op": "ModifyRule", "kind": "ignored", "answer": "new" }]));
    world.tick(12);
    assert_eq!((world.record().phase(), world.rule().share(&world)), ("drained", 5.0));
    let report = world.tick(13);
    assert!(report["why"].as_str().is_some_and(|why| why.contains("zero is written again")), "{report}");
    assert_eq!(world.rule().share(&world), 0.0);
    world.watch_ends(14);
    assert_eq!(world.paged(), ["drained"]);
}

#[test]
fn a_drain_after_which_nothing_is_published_is_paged_as_unchecked() {
    let world = World::new();
    world.start_default();
    world.tick(0);
    world.command_at(1, "abort", json!({})).expect("aborted");
    let (_, calls) = ticks(&world, 2..16);
    assert_eq!((count(&calls, "elbv2 ModifyRule"), world.paged()), (0, vec!["drained".to_owned()]));
    world.tick(16);
    assert_eq!(world.paged(), ["drained", "not_verified"]);
    assert!(world.tick(17).is_null());
}

/// Drained in minute 13 by an abort, and then at 25%: the shift of an invocation that was given up lay in the
/// network for so long.
fn raised_by_a_dead_invocation() -> World {
    let world = World::on_first_step(Generated::HEALTHY);
    world.faults(&json!([{ "op": "ModifyRule", "delay_s": 30.0 }]));
    let event = world.tick_event(12);
    let outcome = world.endpoint.post("invoke", &json!({ "event": event, "deadline_ms": 1_800 }));
    assert_eq!(outcome["error_type"], json!("TimedOut"), "{outcome}");
    world.command_at(13, "abort", json!({})).expect("aborted");
    assert_eq!((world.record().phase(), world.rule().share(&world)), ("drained", 0.0));
    world.no_faults();
    wait_for("the late write", Duration::from_secs(10), || {
        (world.rule().share(&world) == 25.0).then_some(())
    });
    world
}

#[test]
fn a_shift_up_of_a_dead_invocation_that_lands_after_the_drain_is_taken_back() {
    let world = raised_by_a_dead_invocation();
    let report = world.tick(14);
    assert!(report["why"].as_str().is_some_and(|why| why.contains("zero is written again")), "{report}");
    assert_eq!((world.record().phase(), world.rule().share(&world)), ("drained", 0.0));
    assert_eq!(world.paged(), ["drained"]);
}

#[test]
fn zero_is_not_written_again_while_stable_has_no_target() {
    let world = raised_by_a_dead_invocation();
    world.targets_are("stable", Some("unhealthy"));
    let (_, calls) = ticks(&world, 14..16);
    assert_eq!(count(&calls, "elbv2 ModifyRule"), 0);
    assert_eq!(world.paged(), ["drained", "drain_blocked"]);
    world.targets_are("stable", None);
    world.tick(16);
    assert_eq!((world.record().phase(), world.rule().share(&world)), ("drained", 0.0));
}

#[test]
fn a_drained_canary_that_another_hand_raises_is_left_to_it_and_paged_once() {
    let world = drained();
    world.foreign_weights(60, 40);
    let (reports, calls) = ticks(&world, 13..16);
    assert_eq!((&reports[0]["decision"], &reports[1]), (&json!("verify"), &Value::Null));
    assert_eq!((count(&calls, "elbv2 ModifyRule"), world.rule().weights(&world)), (0, (60, 40)));
    assert_eq!(world.paged(), ["drained", "raised_again"]);
    let body = &world.pages()[1].body;
    assert!(body.contains("40%") && body.contains("another hand"), "{body}");
    assert_eq!(world.record().phase(), "drained", "it stays rolled back");
}

#[test]
fn the_next_rollout_takes_the_rule_over_and_ends_the_watch() {
    let world = drained();
    served(&world, 15..40, 2_500);
    let plan = world.plan(json!({ "rollout": "checkout-2" }));
    world.command_at(13, "start", json!({ "plan": plan, "rollout": null })).expect("started");
    let report = world.tick_all(14);
    let of = |rollout: &str| crate::many::of(&report, rollout)["decision"].clone();
    assert_eq!((of(ROLLOUT), of("checkout-2")), (json!("verify"), json!("promote")), "{report}");
    assert_eq!(world.record().state, "ended");
    assert_eq!((world.rule().share(&world), world.paged()), (5.0, vec!["drained".to_owned()]));
}

#[test]
fn a_rollout_of_the_same_name_begins_anew_and_is_not_taken_for_the_drained_one() {
    let world = drained();
    let start = json!({ "plan": world.plan(json!({})), "rollout": null });
    world.command_at(13, "start", start).expect("started");
    assert_eq!(world.tick(14)["decision"], json!("promote"));
    assert_eq!((world.record().phase(), world.rule().share(&world)), ("running", 5.0));
    assert!(world.record().body["drain"].is_null());
}
