//! No traffic goes where no target can take it.

use serde_json::{Value, json};

use crate::outside::count;
use crate::traffic::Generated;
use crate::world::World;

/// Every state in which a target gets no traffic of its own accord.
const STATES: [&str; 6] = ["initial", "unhealthy", "unhealthy.draining", "unused", "draining", "unavailable"];

/// One tick after another while no target of the group can take traffic, for each reason; the next minute.
/// None writes a weight, and all of them page once.
fn holds(world: &World, group: &str, from: i64, page: &str) -> i64 {
    let states = STATES.into_iter().map(Some).chain([None]);
    let mut minute = from;
    let before = world.rule();
    for state in states {
        match state {
            Some(state) => world.targets_are(group, Some(state)),
            None => world.no_targets(group),
        }
        let (report, calls): (Value, _) = world.calls_of(|| world.tick(minute));
        assert_eq!(report["decision"], json!("hold"), "{state:?}: {report}");
        assert_eq!(
            (count(&calls, "elbv2 ModifyRule"), world.paged()),
            (0, vec![page.to_owned()]),
            "{state:?}"
        );
        minute += 1;
    }
    assert_eq!(world.rule(), before);
    world.targets_are(group, None);
    minute
}

#[test]
fn the_first_shift_waits_for_a_target_of_the_canary() {
    let world = World::new();
    world.start_default();
    let minute = holds(&world, "canary", 0, "no_healthy_target");
    assert_eq!(world.record().phase(), "waiting");
    assert_eq!(world.tick(minute)["decision"], json!("promote"));
    assert_eq!(world.rule().share(&world), 5.0);
}

#[test]
fn a_promotion_waits_for_a_target_of_the_canary() {
    let world = World::on_first_step(Generated::HEALTHY);
    for minute in 15..25 {
        world.publish(minute, &crate::traffic::Traffic::at(&Generated::HEALTHY, minute, 5.0));
    }
    let minute = holds(&world, "canary", 12, "no_healthy_target");
    assert_eq!(world.tick(minute)["decision"], json!("promote"));
    assert_eq!(world.rule().share(&world), 25.0);
}

#[test]
fn a_drain_waits_for_a_target_of_stable() {
    let world = World::on_first_step(Generated::HARMFUL);
    let minute = holds(&world, "stable", 12, "drain_blocked");
    assert_eq!(world.record().phase(), "draining");
    assert!(world.pages()[0].body.contains("do NOT take the canary out"), "{:?}", world.pages());
    assert_eq!(world.tick(minute)["decision"], json!("drain"));
    assert_eq!((world.rule().share(&world), world.record().phase()), (0.0, "drained"));
}

#[test]
fn one_healthy_target_among_others_is_enough() {
    let world = World::new();
    world.start_default();
    let target = |id: u32, state: &str| json!({ "id": format!("10.0.1.{id}"), "state": state });
    let targets = json!([target(1, "unhealthy"), target(2, "draining"), target(3, "healthy")]);
    world.endpoint.post("health", &json!({ world.group("canary"): targets }));
    assert_eq!(world.tick(0)["decision"], json!("promote"));
}

#[test]
fn health_that_cannot_be_read_raises_nothing_and_stops_no_drain() {
    let denied = json!([{ "op": "DescribeTargetHealth", "code": "AccessDenied", "status": 403, "n": -1 }]);
    let world = World::new();
    world.start_default();
    world.faults(&denied);
    let report = world.tick(0);
    assert_eq!((&report["decision"], world.rule().share(&world)), (&json!("hold"), 0.0));
    assert!(report["why"].as_str().is_some_and(|why| why.contains("health was not read")), "{report}");
    let world = World::on_first_step(Generated::HARMFUL);
    world.faults(&denied);
    assert_eq!((world.tick(12)["decision"].clone(), world.rule().share(&world)), (json!("drain"), 0.0));
}
