//! The process may die between any two calls: whatever it left behind, the next tick repairs it.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::endpoint::wait_for;
use crate::traffic::Generated;
use crate::world::World;

/// Kills the function when a call of minute 12's tick has taken effect and before it hears of it, and puts
/// another process in its place.
fn dies_after(world: &mut World, operation: &str, calls_before: u32) {
    let event = world.tick_event(12);
    dies_of(world, &event, operation, calls_before);
}

/// The same for any event.
fn dies_of(world: &mut World, event: &Value, operation: &str, calls_before: u32) {
    let hang =
        json!({ "op": operation, "skip": calls_before, "kind": "delay", "when": "after", "delay_s": 60 });
    world.faults(&json!([hang]));
    let (endpoint, gates) = (&world.endpoint, &mut world.gates);
    let outcome = thread::scope(|scope| {
        let invoked = scope.spawn(|| endpoint.post("invoke", &json!({ "event": event })));
        wait_for("the call", Duration::from_secs(20), || {
            (endpoint.get("faults")[0]["hits"] == json!(1)).then_some(())
        });
        gates.clear();
        invoked.join().expect("an outcome")
    });
    assert_eq!(outcome["error_type"], json!("Runtime.ExitError"));
    world.no_faults();
    world.add_process();
}

fn ends_promoted_by_one_step(world: &World, report: &Value) {
    assert_eq!((world.rule().share(world), world.record().phase()), (25.0, "running"), "{report}");
    let record = world.record().body;
    assert_eq!((&record["step"], record["intent"].is_null()), (&json!(1), true), "{report}");
    assert_eq!(world.paged(), [""; 0]);
}

#[test]
fn a_promotion_survives_a_death_after_its_intent_was_noted() {
    let mut world = World::on_first_step(Generated::HEALTHY);
    dies_after(&mut world, "PutItem", 0);
    assert_eq!(world.rule().share(&world), 5.0);
    let report = world.tick(13);
    assert_eq!(report["decision"], json!("promote"), "on a verdict of its own: {report}");
    ends_promoted_by_one_step(&world, &report);
}

#[test]
fn a_promotion_survives_a_death_after_the_weights_were_written() {
    let mut world = World::on_first_step(Generated::HEALTHY);
    dies_after(&mut world, "ModifyRule", 0);
    assert_eq!(world.rule().share(&world), 25.0);
    let report = world.tick(13);
    assert_eq!(report["decision"], json!("repair"), "{report}");
    ends_promoted_by_one_step(&world, &report);
}

#[test]
fn a_promotion_survives_a_death_after_it_was_confirmed() {
    let mut world = World::on_first_step(Generated::HEALTHY);
    dies_after(&mut world, "PutItem", 1);
    let report = world.tick(13);
    assert_eq!(report["decision"], json!("hold"), "{report}");
    ends_promoted_by_one_step(&world, &report);
}

/// Down, ended, and told.
fn ends_drained(world: &World) {
    world.tick(13);
    world.watch_ends(14);
    let record = world.record();
    assert_eq!((world.rule().share(world), record.phase(), record.state.as_str()), (0.0, "drained", "ended"));
}

#[test]
fn a_drain_survives_a_death_after_the_weights_were_written() {
    let mut world = World::on_first_step(Generated::HARMFUL);
    dies_after(&mut world, "ModifyRule", 0);
    assert_eq!(world.rule().share(&world), 0.0);
    ends_drained(&world);
    assert_eq!(world.paged(), ["drained"]);
}

#[test]
fn a_drain_survives_a_death_after_it_was_recorded() {
    let mut world = World::on_first_step(Generated::HARMFUL);
    dies_after(&mut world, "PutItem", 0);
    assert_eq!(world.paged(), [""; 0]);
    ends_drained(&world);
    assert_eq!(world.paged(), ["drained"]);
}

#[test]
fn a_page_whose_sending_was_not_noted_goes_out_again_with_the_same_key() {
    let mut world = World::on_first_step(Generated::HARMFUL);
    dies_after(&mut world, "Publish", 0);
    ends_drained(&world);
    let pages = world.pages();
    let keys: Vec<_> =
        pages.iter().map(|page| page.body.lines().find(|line| line.starts_with("Key"))).collect();
    assert_eq!((keys.len(), keys[0], keys[0].is_some()), (2, keys[1], true), "{pages:?}");
}

#[test]
fn an_alarm_that_died_after_the_weights_were_written_is_obeyed_when_lambda_delivers_it_again() {
    let mut world = World::on_first_step(Generated::HEALTHY);
    let event = crate::alarms::event(&world, 12);
    dies_of(&mut world, &event, "ModifyRule", 0);
    assert_eq!((world.rule().share(&world), world.record().phase()), (0.0, "draining"));
    world.invoke(&event).expect("an answer");
    assert_eq!((world.record().phase(), world.paged()), ("drained", vec!["drained".to_owned()]));
}

#[test]
fn a_tick_that_overtakes_a_slow_one_leaves_its_page_to_it() {
    let mut world = World::on_first_step(Generated::HARMFUL);
    world.add_process();
    let mut event = world.tick_event(12);
    event["scheduled_time"] = json!(world.minute(12).replace(":00Z", ":40Z"));
    world.faults(&json!([{ "op": "Publish", "delay_s": 20.0 }]));
    let world = &world;
    thread::scope(|threads| {
        let slow = threads.spawn(|| world.invoke(&event).expect("a report"));
        wait_for("the page", Duration::from_secs(20), || {
            (world.endpoint.get("faults")[0]["hits"] == json!(1)).then_some(())
        });
        assert_eq!(world.tick(13)["decision"], json!("verify"));
        world.no_faults();
        slow.join().expect("a report")
    });
    for minute in 14..20 {
        world.tick(minute);
    }
    assert_eq!((world.record().phase(), world.paged()), ("drained", vec!["drained".to_owned()]));
}
