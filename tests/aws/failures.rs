//! Any call may fail, and any call that fails may have worked.

use serde_json::{Value, json};

use crate::outside::count;
use crate::traffic::{Generated, Traffic};
use crate::world::World;

fn share(world: &World) -> f64 {
    world.rule().share(world)
}

#[test]
fn a_write_that_is_throttled_twice_is_tried_again_and_succeeds() {
    let world = World::on_first_step(Generated::HEALTHY);
    world.faults(&json!([{ "op": "ModifyRule", "code": "Throttling", "n": 2 }]));
    let (report, calls) = world.calls_of(|| world.tick(12));
    assert_eq!((&report["decision"], &report["troubles"]), (&json!("promote"), &json!([])));
    assert_eq!((count(&calls, "elbv2 ModifyRule"), share(&world)), (3, 25.0));
}

#[test]
fn a_promotion_that_took_effect_and_was_called_failed_is_confirmed_by_the_next_tick() {
    let world = World::on_first_step(Generated::HEALTHY);
    world.faults(
        &json!([{ "op": "ModifyRule", "code": "InternalFailure", "status": 500, "when": "after", "n": 3 }]),
    );
    // Nor can the rule be read back: only the next tick sees what it says.
    world.faults(
        &json!([{ "op": "DescribeRules", "code": "InternalFailure", "status": 500, "skip": 1, "n": 3 }]),
    );
    let report = world.tick(12);
    assert_eq!(share(&world), 25.0);
    assert_ne!(report["troubles"], json!([]));
    assert!(world.record().body["intent"].is_object(), "{:?}", world.record());
    assert_eq!(world.tick(13)["decision"], json!("repair"));
    let record = world.record();
    assert_eq!((record.body["intent"].is_null(), &record.body["step"]), (true, &json!(1)));
    assert_eq!((record.phase(), share(&world)), ("running", 25.0));
    assert_eq!(world.paged(), [""; 0]);
}

#[test]
fn a_promotion_that_could_not_be_written_needs_a_verdict_of_its_own() {
    let world = World::on_first_step(Generated::HEALTHY);
    world.faults(&json!([{ "op": "ModifyRule", "code": "AccessDenied", "status": 403, "n": -1 }]));
    let report = world.tick(12);
    assert!(report["troubles"][0].as_str().is_some_and(|text| text.contains("denied")), "{report}");
    assert_eq!(share(&world), 5.0);
    world.no_faults();
    assert_eq!(world.tick(13)["decision"], json!("promote"));
    assert_eq!(share(&world), 25.0);
}

/// A write that is called done and changes nothing; the answer says what was asked (`new`) or what stands.
fn ignored(answer: &str) -> Value {
    json!([{ "op": "ModifyRule", "kind": "ignored", "answer": answer }])
}

#[test]
fn a_promotion_that_was_called_done_and_is_seen_not_to_be_needs_a_verdict_of_its_own() {
    let world = World::on_first_step(Generated::HEALTHY);
    world.faults(&ignored("old"));
    let report = world.tick(12);
    let trouble = report["troubles"][0].as_str().unwrap_or_default();
    assert!(trouble.contains("25%") && trouble.contains("5% to the canary"), "{report}");
    assert!(world.record().body["intent"].is_object(), "{:?}", world.record());
    assert_eq!(world.tick(13)["decision"], json!("promote"));
    assert_eq!((share(&world), world.record().phase()), (25.0, "running"));
}

#[test]
fn a_promotion_that_was_called_done_and_is_never_seen_freezes_the_rollout() {
    let world = World::on_first_step(Generated::HEALTHY);
    world.faults(&ignored("new"));
    assert_eq!(world.tick(12)["decision"], json!("promote"));
    assert_eq!(world.tick(13)["decision"], json!("hold"), "reads may lag");
    assert_eq!(world.tick(14)["decision"], json!("freeze"));
    assert_eq!((share(&world), world.paged()), (5.0, vec!["frozen".to_owned()]));
    let body = &world.pages()[0].body;
    assert!(body.contains("25%") && body.contains("5%"), "both shares: {body}");
}

#[test]
fn a_drain_that_was_called_done_and_is_seen_not_to_be_is_tried_again() {
    let world = World::on_first_step(Generated::HARMFUL);
    world.faults(&ignored("old"));
    world.tick(12);
    assert_eq!((world.record().phase(), share(&world)), ("draining", 5.0));
    assert_eq!(world.paged(), ["drain_failed"]);
    world.tick(13);
    assert_eq!((world.record().phase(), share(&world)), ("drained", 0.0));
}

#[test]
fn a_write_whose_answer_was_lost_is_written_again_and_stands() {
    let world = World::on_first_step(Generated::HEALTHY);
    world.faults(&json!([{ "op": "ModifyRule", "kind": "drop", "when": "after" }]));
    let report = world.tick(12);
    assert_eq!((&report["decision"], &report["troubles"]), (&json!("promote"), &json!([])));
    assert_eq!((share(&world), world.record().body["intent"].is_null()), (25.0, true));
}

#[test]
fn a_drain_that_took_effect_and_was_called_failed_ends_drained() {
    let world = World::on_first_step(Generated::HARMFUL);
    world.faults(
        &json!([{ "op": "ModifyRule", "code": "InternalFailure", "status": 500, "when": "after", "n": 3 }]),
    );
    world.tick(12);
    assert_eq!((world.record().phase(), share(&world)), ("drained", 0.0));
    assert_eq!(world.paged(), ["drained"], "nobody is told that the drain failed");
    world.watch_ends(13);
}

#[test]
fn a_drain_that_is_denied_pages_once_and_is_tried_by_every_tick() {
    let world = World::on_first_step(Generated::HARMFUL);
    world.faults(&json!([{ "op": "ModifyRule", "code": "AccessDenied", "status": 403, "n": -1 }]));
    for minute in 12..15 {
        world.tick(minute);
        assert_eq!((world.record().phase(), share(&world)), ("draining", 5.0));
        assert_eq!(world.paged(), ["drain_failed"]);
    }
    let page = &world.pages()[0];
    assert_eq!(page.severity, "critical");
    assert!(page.subject.contains("DRAIN FAILED") && page.body.contains("by hand"), "{page:?}");
    world.no_faults();
    world.tick(15);
    assert_eq!((world.record().phase(), share(&world)), ("drained", 0.0));
    assert_eq!(world.paged(), ["drain_failed", "drained"]);
}

#[test]
fn a_page_that_cannot_be_sent_delays_no_drain_and_comes_with_the_next_tick_once() {
    let world = World::on_first_step(Generated::HARMFUL);
    world.faults(
        &json!([{ "op": "Publish", "service": "sns", "code": "InternalError", "status": 500, "n": -1 }]),
    );
    let report = world.tick(12);
    assert_eq!((&report["decision"], share(&world)), (&json!("drain"), 0.0));
    assert_ne!(report["troubles"], json!([]));
    assert_eq!(world.paged(), [""; 0]);
    assert_eq!(world.record().state, "running", "it has a page to send");
    world.no_faults();
    let (_, calls) = world.calls_of(|| world.tick(13));
    assert_eq!(count(&calls, "elbv2 ModifyRule"), 0);
    assert_eq!(world.paged(), ["drained"]);
    world.watch_ends(14);
    assert_eq!(world.paged().len(), 1);
}

#[test]
fn a_record_that_cannot_be_stored_delays_no_drain() {
    let world = World::on_first_step(Generated::HARMFUL);
    let down = |op: &str| json!({ "op": op, "service": "dynamodb", "code": "InternalServerError", "status": 500, "n": -1 });
    world.faults(&json!([down("PutItem"), down("UpdateItem"), down("TransactWriteItems")]));
    let report = world.tick(12);
    assert_eq!((&report["decision"], share(&world)), (&json!("failed"), 0.0), "{report}");
    world.no_faults();
    world.tick(13);
    assert_eq!((world.record().phase(), share(&world)), ("drained", 0.0));
    assert_eq!(world.paged(), ["drained"]);
}

#[test]
fn a_tick_that_cannot_read_its_rollouts_fails_and_says_so() {
    let world = World::on_first_step(Generated::HEALTHY);
    world
        .faults(&json!([{ "op": "Query", "service": "dynamodb", "code": "AccessDeniedException", "n": -1 }]));
    let failed = world.invoke(&world.tick_event(12)).unwrap_err();
    assert_eq!(failed.kind, "CallFailed");
    assert!(failed.text.contains("dynamodb Query: denied"), "{}", failed.text);
}

#[test]
fn the_default_rule_of_a_listener_is_driven_through_the_listener() {
    let world = World::new();
    let arn = world.scene["default_rule_arn"].as_str().expect("a rule");
    world.start(&world.plan(json!({ "listener_rule": arn, "steps": ["5%", "100%"] })));
    let share = || world.rule_of(arn).share(&world);
    let (_, calls) = world.calls_of(|| world.tick(0));
    assert_eq!((count(&calls, "elbv2 ModifyListener"), count(&calls, "elbv2 ModifyRule")), (1, 0));
    assert_eq!(share(), 5.0);
    for minute in 0..10 {
        world.publish(minute, &Generated::HARMFUL.at(minute, 5.0));
    }
    let (report, calls): (Value, _) = world.calls_of(|| world.tick(12));
    assert_eq!((&report["decision"], share()), (&json!("drain"), 0.0), "{report}");
    assert_eq!(count(&calls, "elbv2 ModifyListener"), 1);
    assert!(world.rule_of(arn).weight(world.group("stable")) > 0);
    assert_eq!(world.record().phase(), "drained");
}
