//! The process may die between any two calls, and any answer may be lost. The next ticks repair it.

use std::collections::BTreeMap;

use canary_gate::ports::FailureKind;
use canary_gate::rollout::record::Phase;
use canary_gate::sim::{Fault, Operation, Outcome};
use serde_json::json;

use crate::hooks::{self, DEPLOYMENT};
use crate::world::World;

/// Just before its first shift.
fn before_the_first_shift() -> World {
    World::started()
}

/// Just before a promotion to the second step.
pub(crate) fn before_a_promotion() -> World {
    // The tick that promotes is the same in every run, since nothing here is random.
    let mut scout = World::on_first_step(0);
    let before = scout.minute;
    scout.until("promote", 40);
    let ticks = scout.minute.since(before) - 1;
    World::on_first_step(u32::try_from(ticks).unwrap())
}

/// Just before a drain.
fn before_a_drain() -> World {
    let broken = || {
        let mut world = World::on_first_step(4);
        world.per_mille = [3.0, 300.0];
        world
    };
    let mut scout = broken();
    let before = scout.minute;
    scout.until("drain", 10);
    let mut world = broken();
    world.ticks(u32::try_from(scout.minute.since(before) - 1).unwrap());
    world.calls();
    world
}

/// Just before the last shift, which ends the rollout.
fn before_the_end() -> World {
    let keys = json!({ "steps": ["50%", "100%"], "bake": "5m" });
    let mut scout = World::on_first_step_with(&keys, 0);
    let before = scout.minute;
    scout.until("promote", 40);
    let ticks = scout.minute.since(before) - 1;
    World::on_first_step_with(&keys, u32::try_from(ticks).unwrap())
}

/// How many pages there are of each key. A page that goes out twice carries the same key.
fn pages_by_key(world: &World) -> BTreeMap<String, usize> {
    let mut keys = BTreeMap::new();
    for message in world.cloud.messages() {
        let key = message.body.lines().find(|line| line.starts_with("Key")).unwrap().to_owned();
        *keys.entry(key).or_default() += 1;
    }
    keys
}

/// Ends like an undisturbed run: the same phase and share, rule and record in agreement, every page sent, and
/// none for two transitions.
fn is_repaired(mut world: World, calm: &World, what: &str) {
    world.ticks(3);
    let (record, expected) = (world.record(), calm.record());
    assert_eq!(record.phase, expected.phase, "{what}: {}", record.why);
    assert_eq!(record.step, expected.step, "{what}");
    assert!(world.share().same_as(calm.share()), "{what}: the rule says {}", world.share());
    assert!(record.share().same_as(world.share()), "{what}: the record says {}", record.share());
    assert!(record.intent.is_none() && record.outbox.is_empty(), "{what}: {record:?}");
    let kinds = |world: &World| {
        let attribute = |message: &canary_gate::ports::Message| message.attributes[1].1.clone();
        world.cloud.messages().iter().map(attribute).collect::<std::collections::BTreeSet<_>>()
    };
    assert!(kinds(&world).is_superset(&kinds(calm)), "{what}: pages {:?}", world.pages());
    let drained = pages_by_key(&world).keys().filter(|key| key.ends_with("/drained")).count();
    assert!(drained <= 1, "{what}: {:?}", pages_by_key(&world));
    assert!(!world.pages().iter().any(|page| page.contains("frozen")), "{what}: {:?}", world.pages());
}

/// Lets a tick die after each of its calls.
fn survives_every_death(before: impl Fn() -> World) {
    let mut calm = before();
    calm.tick();
    let calls = calm.calls();
    calm.ticks(3);
    for survived in 0..=calls.len() {
        let mut world = before();
        world.cloud.die_after(Some(u32::try_from(survived).unwrap()));
        let _ = world.try_tick();
        world.cloud.die_after(None);
        is_repaired(world, &calm, &format!("died after {:?}", &calls[..survived]));
    }
}

/// Lets each operation of a tick fail, with and without its effect.
fn survives_every_failure(before: impl Fn() -> World) {
    let mut calm = before();
    calm.tick();
    let calls = calm.calls();
    calm.ticks(3);
    for operation in calls {
        for kind in [FailureKind::TimedOut, FailureKind::Throttled, FailureKind::Conflict] {
            for outcome in [Outcome::Fails(kind), Outcome::AnswerLost(kind)] {
                let mut world = before();
                world.cloud.fail(Fault { operation, outcome: outcome.clone(), times: 1 });
                let _ = world.try_tick();
                is_repaired(world, &calm, &format!("{operation:?} {outcome:?}"));
            }
        }
    }
}

#[test]
fn a_first_shift_survives_the_death_of_the_process_after_any_call() {
    survives_every_death(before_the_first_shift);
}

#[test]
fn a_promotion_survives_the_death_of_the_process_after_any_call() {
    survives_every_death(before_a_promotion);
}

#[test]
fn a_drain_survives_the_death_of_the_process_after_any_call() {
    survives_every_death(before_a_drain);
}

#[test]
fn the_end_survives_the_death_of_the_process_after_any_call() {
    survives_every_death(before_the_end);
}

#[test]
fn a_promotion_survives_any_single_failure() {
    survives_every_failure(before_a_promotion);
}

#[test]
fn a_drain_survives_any_single_failure() {
    survives_every_failure(before_a_drain);
}

#[test]
fn the_end_survives_any_single_failure() {
    survives_every_failure(before_the_end);
}

#[test]
fn a_drain_that_cannot_be_written_is_tried_every_tick_and_paged_once() {
    let mut world = before_a_drain();
    let fault =
        Fault { operation: Operation::WriteSplit, outcome: Outcome::Fails(FailureKind::Denied), times: 5 };
    world.cloud.fail(fault);
    world.ticks(5);
    assert_eq!(world.record().phase, Phase::Draining);
    assert_eq!(world.pages(), ["[critical] checkout-v42: DRAIN FAILED, canary still has traffic"]);
    world.tick();
    assert_eq!(world.record().phase, Phase::Drained);
    assert_eq!(world.pages().len(), 2);
}

/// A deployment that has just begun to wait for the end of its hook.
fn before_a_hook() -> World {
    let mut world = hooks::shifting(&hooks::short());
    world.ticks(20);
    hooks::at_stage(&world, "AfterAllowTraffic");
    world.calls();
    world
}

/// Just before the tick that tells whoever waits.
fn before_an_answer() -> World {
    let world = before_a_hook();
    world.send(&hooks::hook("after")).unwrap();
    world.calls();
    world
}

/// Just before the tick that stops a deployment.
fn before_a_stop() -> World {
    let stopped = |world: &World| world.cloud.deployment_of(DEPLOYMENT).unwrap().stopped;
    let begun = || {
        let mut world = hooks::shifting(&hooks::short());
        world.per_mille = [3.0, 60.0];
        world
    };
    let mut scout = begun();
    let ticks = (0..20).take_while(|_| {
        scout.tick();
        !stopped(&scout)
    });
    let ticks = u32::try_from(ticks.count()).unwrap();
    let mut world = begun();
    world.ticks(ticks);
    assert!(!stopped(&world));
    world.calls();
    world
}

/// Everybody was told the same by every call, nobody waits any more, and every page was sent.
fn nobody_was_told_two_things(world: &World, expected: &[(String, bool)], what: &str) {
    assert_eq!(hooks::told(world), expected, "{what}");
    let deployment = world.cloud.deployment_of(DEPLOYMENT).unwrap();
    for (waiting, pass) in &deployment.heard {
        let first = deployment.told.iter().find(|(other, _)| other == waiting).unwrap();
        assert_eq!(first.1.pass, *pass, "{what}: {} was told two things", waiting.name());
    }
    let record = hooks::record(world);
    assert!(record.gates.is_empty() && record.outbox.is_empty(), "{what}: {record:?}");
}

/// Lets an invocation die after each of its calls, and each of its calls fail; `again` is what comes next.
fn survives_everything(
    before: impl Fn() -> World,
    invocation: impl Fn(&mut World),
    again: impl Fn(&mut World, &str),
) {
    let mut calm = before();
    invocation(&mut calm);
    let calls = calm.calls();
    assert!(calls.len() > 3, "{calls:?}");
    for survived in 0..=calls.len() {
        let mut world = before();
        world.cloud.die_after(Some(u32::try_from(survived).unwrap()));
        invocation(&mut world);
        world.cloud.die_after(None);
        again(&mut world, &format!("died after {:?}", &calls[..survived]));
    }
    for operation in calls {
        for kind in [FailureKind::TimedOut, FailureKind::Conflict, FailureKind::NotFound] {
            for outcome in [Outcome::Fails(kind), Outcome::AnswerLost(kind)] {
                let mut world = before();
                world.cloud.fail(Fault { operation, outcome: outcome.clone(), times: 1 });
                invocation(&mut world);
                again(&mut world, &format!("{operation:?} {outcome:?}"));
            }
        }
    }
}

#[test]
fn a_hook_is_parked_once_whatever_call_is_the_last_one_or_fails() {
    let ask = |world: &mut World| drop(world.send(&hooks::hook("after")));
    survives_everything(before_a_hook, ask, |world, what| {
        // Lambda hands over the event again.
        world.send(&hooks::hook("after")).unwrap();
        assert_eq!(hooks::record(world).gates.len(), 1, "{what}");
        world.ticks(3);
        nobody_was_told_two_things(world, &[("after".to_owned(), true)], what);
    });
}

#[test]
fn a_hook_is_told_one_thing_whatever_call_is_the_last_one_or_fails() {
    let tick = |world: &mut World| drop(world.try_tick());
    survives_everything(before_an_answer, tick, |world, what| {
        world.ticks(2);
        // It may be delivered once more, and the canary be worse by then.
        world.per_mille = [3.0, 60.0];
        world.send(&hooks::hook("after")).unwrap();
        world.ticks(12);
        nobody_was_told_two_things(world, &[("after".to_owned(), true)], what);
    });
}

#[test]
fn a_deployment_is_stopped_whatever_call_is_the_last_one_or_fails() {
    let tick = |world: &mut World| drop(world.try_tick());
    survives_everything(before_a_stop, tick, |world, what| {
        // The deployment that is found to be over says nothing of why: the brake was told to be on.
        world.ticks(4);
        assert!(world.cloud.deployment_of(DEPLOYMENT).unwrap().stopped, "{what}");
        assert!(hooks::record(world).phase.is_terminal(), "{what}");
        nobody_was_told_two_things(world, &[], what);
        assert!(world.pages().iter().any(|page| page.contains("harmful")), "{what}: {:?}", world.pages());
    });
}
