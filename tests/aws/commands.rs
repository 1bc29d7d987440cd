//! What people and pipelines ask for, and what is on record of it.

use serde_json::{Value, json};

use crate::outside::{count, names};
use crate::traffic::{Generated, Traffic};
use crate::world::{ROLLOUT, World};

/// On the first step after these minutes; the next tick is `minutes`, and commands come just before it.
fn on_first_step(minutes: i64) -> World {
    let world = World::new().now_is_before(minutes);
    world.start(&world.plan(json!({ "bake": "5m" })));
    for minute in 0..minutes {
        world.live(minute, &Generated::HEALTHY);
    }
    assert_eq!(world.rule().share(&world), 5.0);
    world
}

/// The entry that a command left in the decision log, which must say who gave it and why.
fn audited(world: &World, command: &str) -> Value {
    let log = world.log();
    let entry = log.iter().rfind(|entry| entry["decision"] == json!(command));
    let entry = entry.unwrap_or_else(|| panic!("no entry for {command}: {log:?}"));
    assert_eq!((&entry["by"]["actor"], &entry["by"]["reason"]), (&json!("ana"), &json!("release 42")));
    entry.clone()
}

#[test]
fn a_start_is_audited_and_leaves_the_weights_to_the_next_tick() {
    let world = World::new();
    let (started, calls) = world.calls_of(|| world.start_default());
    assert_eq!((&started["phase"], &started["share"]), (&json!("waiting"), &json!(0.0)));
    assert_eq!(count(&calls, "elbv2 ModifyRule"), 0);
    audited(&world, "start");
    assert_eq!(world.tick(0)["decision"], json!("promote"));
    assert_eq!(world.rule().share(&world), 5.0);
}

#[test]
fn a_rollout_cannot_be_started_twice_nor_beside_another_on_its_rule() {
    let world = World::new();
    world.start_default();
    let before = world.record();
    for name in [ROLLOUT, "another"] {
        let again = json!({ "plan": world.plan(json!({ "rollout": name })), "rollout": null });
        let refused = world.command("start", again).unwrap_err();
        assert_eq!(refused.kind, "CommandRefused");
        assert!(refused.text.contains("running"), "{}", refused.text);
    }
    assert_eq!(world.record(), before);
    assert_eq!(world.record_of("another"), None);
}

#[test]
fn an_ended_rollout_may_be_started_again_under_its_name_even_while_its_canary_is_looked_after() {
    let world = on_first_step(2);
    world.command("abort", json!({})).unwrap();
    assert_eq!((world.record().phase(), world.record().state.as_str()), ("drained", "running"));
    let started = world.start_default();
    assert_eq!(started["phase"], json!("waiting"));
    assert_eq!(world.record().state, "running");
    assert_eq!(world.tick(2)["decision"], json!("promote"));
}

#[test]
fn a_start_is_refused_while_the_canary_has_traffic_already() {
    let world = World::seeded(json!({ "weights": { "stable": 90, "canary": 10 } }));
    let start = json!({ "plan": world.plan(json!({})), "rollout": null });
    let refused = world.command("start", start).unwrap_err();
    assert!(refused.kind == "CommandRefused" && refused.text.contains("10%"), "{refused:?}");
    assert_eq!(world.record_of(ROLLOUT), None);
}

#[test]
fn status_list_and_history_tell_where_things_stand_and_write_nothing() {
    let world = on_first_step(4);
    let before = world.record();
    let ((status, list, history), calls) = world.calls_of(|| {
        let ask = |command, change| world.command(command, change).expect("an answer");
        (
            ask("status", json!({})),
            ask("list", json!({ "rollout": null })),
            ask("history", json!({ "limit": 3 })),
        )
    });
    assert_eq!(
        (&status["phase"], &status["share"], &status["step"]),
        (&json!("running"), &json!(5.0), &json!(1))
    );
    assert_eq!(status["verdict"], json!("undecided"));
    assert_eq!(list["rollouts"][0]["rollout"], json!(ROLLOUT));
    let entries = history["entries"].as_array().expect("entries");
    assert_eq!((entries.len(), &entries[0]), (3, &world.log()[world.log().len() - 1]), "newest first");
    let reads = ["dynamodb Query", "dynamodb GetItem", "dynamodb Scan"];
    assert!(names(&calls).iter().all(|name| reads.contains(name)), "{:?}", names(&calls));
    assert_eq!(world.record(), before);
}

#[test]
fn a_paused_rollout_does_not_rise_until_it_is_resumed() {
    let world = on_first_step(5);
    assert_eq!(world.command("pause", json!({})).unwrap()["phase"], json!("paused"));
    audited(&world, "pause");
    for minute in 5..12 {
        assert_eq!(world.live(minute, &Generated::HEALTHY)["decision"], json!("hold"));
    }
    assert_eq!((world.rule().share(&world), world.record().phase()), (5.0, "paused"));
    assert_eq!(world.command("resume", json!({})).unwrap()["phase"], json!("running"));
    audited(&world, "resume");
    assert_eq!(world.tick(12)["decision"], json!("promote"));
    assert_eq!(world.rule().share(&world), 25.0);
}

#[test]
fn harm_drains_a_paused_rollout() {
    let world = on_first_step(3);
    world.command("pause", json!({})).unwrap();
    let (_, report) = world.live_until_shift(3, &Generated::HARMFUL);
    assert_eq!((&report["decision"], world.rule().share(&world)), (&json!("drain"), 0.0));
    assert_eq!((world.record().phase(), world.paged()), ("drained", vec!["drained".to_owned()]));
}

#[test]
fn a_person_may_promote_without_proof_and_it_is_on_record() {
    let world = on_first_step(2);
    let promoted = world.command("promote", json!({})).unwrap();
    assert_eq!((&promoted["share"], world.rule().share(&world)), (&json!(25.0), 25.0));
    assert_eq!(audited(&world, "promote")["share"], json!(25.0));
    assert_eq!(world.tick(2)["decision"], json!("hold"), "the step is watched as any other");
    let (_, report) = world.live_until_shift(3, &Generated::HARMFUL);
    assert_eq!((&report["decision"], world.rule().share(&world)), (&json!("drain"), 0.0));
}

#[test]
fn an_abort_drains_at_once_and_pages() {
    let world = on_first_step(3);
    let aborted = world.command("abort", json!({})).unwrap();
    assert_eq!((&aborted["phase"], world.rule().share(&world)), (&json!("drained"), 0.0));
    assert_eq!(audited(&world, "abort")["phase"], json!("drained"));
    let pages = world.pages();
    assert_eq!(pages.len(), 1);
    assert!(pages[0].body.contains("abort by ana: release 42"), "{}", pages[0].body);
    world.watch_ends(3);
    let refused = world.command("abort", json!({})).unwrap_err();
    assert!(refused.kind == "CommandRefused" && refused.text.contains("ended"), "{refused:?}");
    assert_eq!(world.paged().len(), 1);
}

#[test]
fn a_rollout_that_only_observes_writes_no_weight() {
    let world = World::seeded(json!({ "weights": { "stable": 95, "canary": 5 } }));
    world.start(&world.plan(json!({ "mode": "observe" })));
    let (last, calls) = world.calls_of(|| {
        for minute in 0..10 {
            world.tick(minute);
            world.publish(minute, &Generated::HARMFUL.at(minute, 5.0));
        }
        world.tick(10)
    });
    assert_eq!(
        (&last["judgement"]["verdict"], &last["decision"]),
        (&json!("harmful"), &json!("hold")),
        "{last}"
    );
    assert_eq!((count(&calls, "elbv2 ModifyRule"), world.rule().weights(&world)), (0, (95, 5)));
    assert_eq!(world.paged(), ["observed_harmful"]);
}
