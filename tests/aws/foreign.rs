//! Somebody else's hand on the weights: a person in the console, Terraform, CodeDeploy.

use serde_json::json;

use crate::outside::count;
use crate::traffic::Generated;
use crate::world::World;

/// On the first step for five minutes, which is not long enough to be promoted; then another hand writes
/// weights. The next tick is minute 5.
fn interfered(stable: u32, canary: u32) -> World {
    let world = World::new().now_is_before(9);
    world.start_default();
    for minute in 0..5 {
        world.live(minute, &Generated::HEALTHY);
    }
    assert_eq!(world.rule().share(&world), 5.0);
    world.foreign_weights(stable, canary);
    world
}

#[test]
fn weights_of_another_hand_freeze_the_rollout_and_page_once() {
    let world = interfered(60, 40);
    let (reports, calls) =
        world.calls_of(|| (5..15).map(|minute| world.live(minute, &Generated::HEALTHY)).collect::<Vec<_>>());
    assert_eq!(reports[0]["decision"], json!("freeze"));
    assert_eq!(count(&calls, "elbv2 ModifyRule"), 0);
    assert_eq!(world.rule().weights(&world), (60, 40));
    assert_eq!(world.record().phase(), "frozen");
    assert_eq!(world.paged(), ["frozen"]);
    let why = &world.pages()[0].body;
    assert!(why.contains("40%") && why.contains("5%"), "both shares: {why}");
}

#[test]
fn a_frozen_rollout_goes_on_with_the_other_hands_weights_when_told_to_adopt_them() {
    let world = interfered(60, 40);
    for minute in 5..9 {
        world.live(minute, &Generated::HEALTHY);
    }
    let unclear = world.command("resume", json!({})).unwrap_err();
    assert_eq!(unclear.kind, "CommandRefused");
    assert!(unclear.text.contains("adopt") && unclear.text.contains("restore"), "{}", unclear.text);
    let (resumed, calls) = world.calls_of(|| world.command("resume", json!({ "weights": "adopt" })));
    assert_eq!(resumed.unwrap()["phase"], json!("running"));
    assert_eq!(count(&calls, "elbv2 ModifyRule"), 0);
    let (_, report) = world.live_until_shift(9, &Generated::HEALTHY);
    assert_eq!((world.rule().share(&world), &report["decision"]), (50.0, &json!("promote")));
}

#[test]
fn a_frozen_rollout_takes_its_own_weights_back_when_told_to_restore_them() {
    let world = interfered(60, 40);
    for minute in 5..9 {
        world.live(minute, &Generated::HEALTHY);
    }
    let resumed = world.command("resume", json!({ "weights": "restore" })).unwrap();
    assert_eq!((&resumed["phase"], world.rule().share(&world)), (&json!("running"), 5.0));
    let (minute, _) = world.live_until_shift(9, &Generated::HEALTHY);
    assert_eq!(world.rule().share(&world), 25.0);
    // It was told so in minute 8.
    assert!(minute >= 8 + 3 + 2, "the bake time begins anew, and the watermark holds: left at {minute}");
    assert_eq!(world.paged(), ["frozen"]);
}

#[test]
fn a_canary_that_somebody_set_to_zero_stays_at_zero() {
    let world = interfered(100, 0);
    let (reports, calls) =
        world.calls_of(|| (5..12).map(|minute| world.live(minute, &Generated::HEALTHY)).collect::<Vec<_>>());
    assert_eq!(reports[0]["decision"], json!("freeze"));
    assert_eq!(count(&calls, "elbv2 ModifyRule"), 0);
    assert_eq!(world.rule().weights(&world), (100, 0));
    assert_eq!(world.paged(), ["frozen"]);
    let refused = world.command("resume", json!({ "weights": "adopt" })).unwrap_err();
    assert_eq!(refused.kind, "CommandRefused");
    assert_eq!(world.rule().weights(&world), (100, 0));
}

#[test]
fn harm_drains_a_frozen_rollout_too() {
    let world = interfered(60, 40);
    let (_, report) = world.live_until_shift(5, &Generated::HARMFUL);
    assert_eq!(report["decision"], json!("drain"));
    assert_eq!(world.rule().share(&world), 0.0);
    assert_eq!(world.paged(), ["frozen", "drained"]);
}

#[test]
fn a_read_that_lags_behind_our_own_shift_freezes_nothing() {
    let world = World::new();
    world.start_default();
    world.faults(&json!([{ "op": "ModifyRule", "kind": "lag", "reads": 1 }]));
    assert_eq!(world.tick(0)["decision"], json!("promote"));
    let report = world.tick(1);
    assert_eq!(report["decision"], json!("hold"), "{report}");
    assert!(report["why"].as_str().is_some_and(|why| why.contains("not visible")), "{report}");
    assert_eq!((world.record().phase(), world.rule().share(&world)), ("running", 5.0));
    assert_eq!(world.paged(), [""; 0]);
}

#[test]
fn weights_that_somebody_set_to_zero_in_both_groups_come_back_with_an_abort() {
    let world = interfered(0, 0);
    let (reports, calls) =
        world.calls_of(|| (5..8).map(|minute| world.live(minute, &Generated::HEALTHY)).collect::<Vec<_>>());
    assert_eq!(reports[0]["decision"], json!("freeze"), "{}", reports[0]);
    assert_eq!((count(&calls, "elbv2 ModifyRule"), world.rule().weights(&world)), (0, (0, 0)));
    assert_eq!(world.paged(), ["frozen"]);
    world.command("abort", json!({})).expect("an abort");
    assert_eq!((world.record().phase(), world.rule().weights(&world)), ("drained", (100, 0)));
}

#[test]
fn a_canary_that_somebody_raised_to_a_hundred_percent_is_not_taken_for_promoted() {
    let world = interfered(0, 100);
    let reports: Vec<_> = (5..8).map(|minute| world.live(minute, &Generated::HEALTHY)).collect();
    assert_eq!(reports[0]["decision"], json!("freeze"), "{}", reports[0]);
    assert_eq!((world.rule().weights(&world), world.record().phase()), ((0, 100), "frozen"));
    assert_eq!(world.paged(), ["frozen"]);
    assert!(world.pages()[0].body.contains("100%"), "{}", world.pages()[0].body);
    world.command("abort", json!({})).expect("an abort");
    assert_eq!((world.record().phase(), world.rule().weights(&world)), ("drained", (100, 0)));
}
