//! The rules that keep production safe, where no other test would notice that one is broken. tests/mutations.py
//! breaks each of them and looks whether it is noticed.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use canary_gate::config::Clock;
use canary_gate::handler::handle;
use canary_gate::ports::FailureKind;
use canary_gate::rollout::record::Phase;
use canary_gate::sim::run::{default_plan, tick_event};
use canary_gate::sim::{Fault, Operation, Outcome};
use canary_gate::units::{Minute, Share};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::brakes::{alarm, promoted};
use crate::crashes::before_a_promotion;
use crate::world::{ROLLOUT, World, count, percent};

fn fails_once(world: &World, operation: Operation, kind: FailureKind) {
    world.cloud.fail(Fault { operation, outcome: Outcome::Fails(kind), times: 1 });
}

fn order(word: &str) -> Value {
    json!({ "command": word, "rollout": ROLLOUT })
}

/// On the first step, frozen by another hand's 20 %.
fn frozen() -> World {
    let mut world = World::on_first_step(3);
    world.meddle(80, 20);
    assert_eq!(world.tick()["decision"], "freeze");
    world.calls();
    world
}

/// What the tick of a minute says of the rollout, half a minute before the next tick.
fn tick_of(world: &World, minute: Minute) -> Value {
    world.send(&tick_event(minute)).unwrap()["rollouts"][0].clone()
}

#[test]
fn minutes_that_may_still_change_are_not_looked_at() {
    let mut world = World::on_first_step(3);
    let watermark = i64::try_from(world.options.watermark.minutes()).unwrap();
    assert!(watermark > 0);
    let newest = world.minute.plus(-watermark - 1);
    assert_eq!(world.tick()["judgement"]["minute"], newest.to_string());
}

#[test]
fn a_shift_that_was_decided_on_an_old_record_is_not_written() {
    let mut world = World::started();
    fails_once(&world, Operation::Put, FailureKind::Conflict);
    assert_eq!(world.tick()["decision"], "skipped");
    assert_eq!(count(&world.calls(), &[Operation::WriteSplit]), 0);
    assert_eq!(world.share(), Share::ZERO);
    assert_eq!(world.tick()["decision"], "promote");
}

#[test]
fn a_shift_that_could_not_be_written_is_begun_anew_and_never_taken_for_done() {
    let mut world = World::started();
    fails_once(&world, Operation::WriteSplit, FailureKind::Denied);
    let trouble = world.tick()["troubles"].clone();
    assert_eq!(trouble.as_array().map(Vec::len), Some(1), "{trouble}");
    let record = world.record();
    assert_eq!((record.share(), record.step, record.phase), (Share::ZERO, None, Phase::Waiting));
    assert!(record.intent.is_some());
    world.tick();
    assert_eq!((world.share(), world.record().share()), (percent(5.0), percent(5.0)));
}

#[test]
fn a_shift_that_the_rule_does_not_show_after_the_write_is_not_taken_for_done() {
    let mut world = World::quiet();
    // Whole weights cannot express five percent of so small a part.
    let mut rule = world.rule();
    rule.set_weight(&world.targets.stable, 1);
    rule.set_weight("arn:other", 998);
    world.cloud.set_rule(&world.targets.listener_rule, rule);
    world.start(&json!({}));
    let trouble = world.tick()["troubles"][0].clone();
    assert!(trouble.as_str().is_some_and(|text| text.contains("but the rule says")), "{trouble}");
    assert_eq!((world.record().share(), world.record().step), (Share::ZERO, None));
}

#[test]
fn an_abort_and_an_alarm_wait_for_a_stable_group_that_can_take_the_traffic() {
    let events = [
        json!({ "kind": "command", "actor": "ana", "reason": "bad", "command": "abort", "rollout": ROLLOUT }),
        alarm("checkout-5xx", "ALARM", "", World::quiet().minute.plus(9)),
    ];
    for event in events {
        let mut world = World::on_first_step_with(&json!({ "alarms": ["checkout-5xx"] }), 2);
        world.cloud.set_healthy_targets(&world.targets.stable, 0);
        world.send(&event).unwrap();
        assert_eq!((world.share(), world.record().phase), (percent(5.0), Phase::Draining), "{event}");
        assert_eq!(world.pages(), ["[critical] checkout-v42: NOT DRAINED, stable has no healthy target"]);
        world.cloud.set_healthy_targets(&world.targets.stable, 1);
        assert_eq!(world.tick()["decision"], "drain");
        assert_eq!(world.share(), Share::ZERO);
    }
}

#[test]
fn nobodys_word_sends_traffic_to_a_canary_without_healthy_targets() {
    let world = World::on_first_step(3);
    world.cloud.set_healthy_targets(&world.targets.canary, 0);
    let refused = world.command(&order("promote")).unwrap_err();
    assert!(refused.to_string().contains("the canary has no healthy target"), "{refused}");
    let world = frozen();
    world.cloud.set_healthy_targets(&world.targets.canary, 0);
    let restore = json!({ "command": "resume", "rollout": ROLLOUT, "weights": "restore" });
    let refused = world.command(&restore).unwrap_err();
    assert!(refused.to_string().contains("the canary has no healthy target"), "{refused}");
    assert_eq!(count(&world.calls(), &[Operation::WriteSplit]), 0);
}

#[test]
fn a_restore_that_could_not_be_written_leaves_the_rollout_frozen() {
    let mut world = frozen();
    fails_once(&world, Operation::WriteSplit, FailureKind::Denied);
    world.command(&json!({ "command": "resume", "rollout": ROLLOUT, "weights": "restore" })).unwrap();
    assert_eq!(world.record().phase, Phase::Frozen);
    world.ticks(30);
    assert_eq!((world.share(), world.record().phase), (percent(20.0), Phase::Frozen));
}

#[test]
fn a_tick_that_was_overtaken_by_a_younger_one_changes_nothing() {
    let world = World::on_first_step(5);
    let before = world.record();
    for minutes in [2, 3] {
        let report = tick_of(&world, world.minute.plus(-minutes));
        assert_eq!(report["decision"], "skipped");
        assert_eq!(world.calls(), [Operation::Running]);
    }
    assert_eq!(world.record(), before);
}

#[test]
fn a_record_that_was_ticked_by_a_clock_far_ahead_is_ticked_all_the_same() {
    let mut world = World::on_first_step_with(&json!({ "on_blind": "hold" }), 1);
    world.options.clock = Clock::Event;
    tick_of(&world, world.minute.plus(60));
    world.options.clock = Clock::Wall;
    assert!(world.record().last_tick > Some(world.minute));
    let minute = world.minute;
    assert_eq!(world.tick()["decision"], "hold");
    assert_eq!(world.record().last_tick, Some(minute));
}

#[test]
fn a_tick_that_comes_minutes_late_or_early_touches_nothing() {
    let world = World::on_first_step(5);
    for minutes in [-5, 5] {
        let answer = world.send(&tick_event(world.minute.plus(minutes))).unwrap();
        assert_eq!(answer["dropped"], "the tick is stale");
        assert_eq!(world.calls(), []);
    }
}

/// Two invocations, of which a test says which one makes its next call.
fn poll<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn finish<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    loop {
        if let Poll::Ready(output) = poll(&mut future) {
            return output;
        }
    }
}

/// Runs `first` up to its next call of an operation, then all of `second`, then the rest of `first`; answers what
/// came of both.
fn overtaken(world: &World, first: &Value, at: Operation, second: &Value) -> [Result<Value, String>; 2] {
    world.cloud.step_by_step(true);
    let now = world.minute.start() + SignedDuration::from_secs(5);
    world.cloud.set_now(now);
    let mut slow = pin!(handle(&world.cloud, &world.options, first, now));
    while !world.cloud.take_announced().contains(&at) {
        assert!(poll(&mut slow).is_pending(), "no {at:?}");
    }
    let later = now + SignedDuration::from_secs(1);
    let fast = finish(pin!(handle(&world.cloud, &world.options, second, later)));
    let slow = finish(slow);
    world.cloud.step_by_step(false);
    [slow, fast].map(|answer| answer.map_err(|error| error.to_string()))
}

fn by_ana(word: &str) -> Value {
    json!({ "kind": "command", "actor": "ana", "reason": "r", "command": word, "rollout": ROLLOUT })
}

#[test]
fn a_shift_up_that_an_abort_overtook_is_taken_back() {
    let mut world = World::started();
    let [slow, fast] = overtaken(&world, &tick_event(world.minute), Operation::WriteSplit, &by_ana("abort"));
    assert_eq!(slow.unwrap()["rollouts"][0]["decision"], "skipped");
    assert_eq!(fast.unwrap()["phase"], "drained");
    assert_eq!(world.share(), Share::ZERO, "the shift came after the drain");
    world.ticks(6);
    assert_eq!((world.share(), world.record().phase), (Share::ZERO, Phase::Drained));
    assert_eq!(world.pages(), ["[critical] checkout-v42: canary drained"]);
}

#[test]
fn a_shift_up_that_a_pause_overtook_stands() {
    let mut world = before_a_promotion();
    let [slow, fast] = overtaken(&world, &tick_event(world.minute), Operation::WriteSplit, &by_ana("pause"));
    assert_eq!(slow.unwrap()["rollouts"][0]["decision"], "skipped");
    assert_eq!(fast.unwrap()["phase"], "paused");
    assert_eq!(world.share(), percent(25.0));
    world.ticks(2);
    let record = world.record();
    assert_eq!((record.share(), record.step, record.phase), (percent(25.0), Some(1), Phase::Paused));
    assert_eq!((world.share(), record.intent), (percent(25.0), None));
}

#[test]
fn an_abort_that_others_overtake_looks_again() {
    let world = World::on_first_step(3);
    let [slow, fast] = overtaken(&world, &by_ana("abort"), Operation::Put, &by_ana("pause"));
    assert_eq!(fast.unwrap()["phase"], "paused");
    assert_eq!(slow.unwrap()["phase"], "drained");
    assert_eq!((world.share(), world.record().phase), (Share::ZERO, Phase::Drained));
    assert_eq!(world.pages(), ["[critical] checkout-v42: canary drained"]);
}

#[test]
fn a_page_that_another_invocation_may_be_sending_is_left_to_it_and_then_sent() {
    let mut world = World::on_first_step(3);
    world.meddle(80, 20);
    fails_once(&world, Operation::Page, FailureKind::Unavailable);
    world.tick();
    assert_eq!((world.pages().len(), world.record().outbox.len()), (0, 1));
    // Within a minute of the tick that wrote the first page.
    world.command(&order("abort")).unwrap();
    assert_eq!(world.pages(), ["[critical] checkout-v42: canary drained"]);
    assert_eq!(world.record().outbox.len(), 1);
    world.ticks(6);
    assert_eq!(world.pages()[1..], ["[warning] checkout-v42: frozen, weights changed by somebody else"]);
    assert_eq!(world.record().outbox.len(), 0);
}

#[test]
fn a_page_that_was_sent_while_somebody_else_stored_the_record_is_not_sent_again() {
    let mut world = World::on_first_step(3);
    let tick = tick_event(world.minute);
    let [slow, fast] = overtaken(&world, &by_ana("abort"), Operation::Page, &tick);
    assert_eq!(slow.unwrap()["phase"], "drained");
    assert_eq!(fast.unwrap()["rollouts"][0]["decision"], "verify");
    assert_eq!(world.record().outbox.len(), 0);
    world.minute = world.minute.plus(1);
    world.ticks(3);
    assert_eq!(world.pages(), ["[critical] checkout-v42: canary drained"]);
}

#[test]
fn a_drain_does_not_end_on_a_rule_that_could_not_be_read() {
    let mut world = World::on_first_step(3);
    fails_once(&world, Operation::ReadSplits, FailureKind::Throttled);
    world.command(&order("abort")).unwrap();
    assert_eq!((world.share(), world.record().phase), (percent(5.0), Phase::Draining));
    world.tick();
    assert_eq!((world.share(), world.record().phase), (Share::ZERO, Phase::Drained));
}

#[test]
fn the_page_of_a_promotion_is_sent_although_the_rollout_has_ended() {
    let mut world = World::on_first_step_with(&json!({ "steps": ["50%", "100%"], "bake": "5m" }), 0);
    fails_once(&world, Operation::Page, FailureKind::Unavailable);
    world.until("promote", 40);
    assert_eq!((world.record().phase, world.pages().len()), (Phase::Promoted, 0));
    world.ticks(3);
    assert_eq!(world.pages(), ["[info] checkout-v42: promoted"]);
    assert!(!world.record().needs_ticks());
}

#[test]
fn a_command_is_in_the_decision_log_with_who_asked_and_why() {
    let world = World::on_first_step(1);
    for word in ["pause", "resume", "promote", "abort"] {
        world.command(&order(word)).unwrap();
        let entry = world.cloud.log_entries().pop().unwrap();
        let by = entry.by.expect("somebody asked");
        assert_eq!(
            (entry.decision.as_str(), by.actor.as_str(), by.reason.as_str()),
            (word, "tester", "a test")
        );
    }
}

#[test]
fn a_decision_that_could_not_be_logged_is_told() {
    let mut world = World::on_first_step(1);
    fails_once(&world, Operation::Log, FailureKind::Throttled);
    let trouble = world.tick()["troubles"][0].clone();
    assert!(trouble.as_str().is_some_and(|text| text.contains("decision not logged")), "{trouble}");
}

#[test]
fn no_rollout_is_started_beside_another_one_on_its_rule() {
    let world = World::on_first_step(1);
    let mut plan = default_plan();
    plan["rollout"] = json!("second");
    world.meddle(100, 0);
    let refused = world.command(&json!({ "command": "start", "plan": plan })).unwrap_err();
    assert!(refused.to_string().contains("already running on this listener rule"), "{refused}");
}

#[test]
fn a_promotion_is_not_taken_back_while_another_rollout_has_its_rule() {
    let mut world = promoted(&json!({}));
    world.tick();
    world.meddle(100, 0);
    let mut plan = default_plan();
    plan["rollout"] = json!("second");
    world.command(&json!({ "command": "start", "plan": plan })).unwrap();
    world.calls();
    let refused = world.command(&order("abort")).unwrap_err();
    assert!(refused.to_string().contains("second was started on this listener rule since"), "{refused}");
    assert_eq!(count(&world.calls(), &[Operation::WriteSplit]), 0);
}

#[test]
fn an_alarm_takes_back_a_promotion_within_the_rollback_window() {
    let mut world = promoted(&json!({ "alarms": ["checkout-5xx"], "rollback_window": "10m" }));
    world.ticks(3);
    world.send(&alarm("checkout-5xx", "ALARM", "", world.minute)).unwrap();
    assert_eq!((world.share(), world.record().phase), (Share::ZERO, Phase::Drained));
    let mut late = promoted(&json!({ "alarms": ["checkout-5xx"], "rollback_window": "10m" }));
    late.ticks(12);
    let answer = late.send(&alarm("checkout-5xx", "ALARM", "", late.minute)).unwrap();
    assert_eq!(answer["rollouts"], json!([]));
    assert_eq!((late.share(), late.record().phase), (Share::FULL, Phase::Promoted));
}

#[test]
fn an_alarm_drains_a_rollout_that_the_index_does_not_show_yet() {
    let world = World::on_first_step(1);
    world.cloud.hide_from_index(true);
    let description = format!("Orders fail. canary-gate:{ROLLOUT}");
    world.send(&alarm("orders", "ALARM", &description, world.minute)).unwrap();
    assert_eq!((world.share(), world.record().phase), (Share::ZERO, Phase::Drained));
}
