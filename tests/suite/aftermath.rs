//! After a drain, and after a good end: what alarms, other hands and lost answers do then.

use canary_gate::ports::FailureKind;
use canary_gate::rollout::record::Phase;
use canary_gate::sim::{Counts, Fault, Operation, Outcome, Rule};
use canary_gate::units::{Minute, Share};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::world::{ROLLOUT, World, percent};

fn alarm(name: &str, at: Minute) -> Value {
    json!({
        "source": "aws.cloudwatch", "detail-type": "CloudWatch Alarm State Change", "time": at.to_string(),
        "detail": { "alarmName": name, "state": { "value": "ALARM", "reason": "Threshold Crossed", "timestamp": at.to_string() } },
    })
}
fn fail(world: &World, operation: Operation, kind: FailureKind, times: u32) {
    world.cloud.fail(Fault { operation, outcome: Outcome::Fails(kind), times });
}
fn promoted(keys: &Value) -> World {
    let mut plan = json!({ "steps": ["50%", "100%"], "bake": "5m" });
    plan.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let mut world = World::on_first_step_with(&plan, 0);
    world.until("promote", 40);
    assert_eq!(world.record().phase, Phase::Promoted);
    world
}

/// A tick, with 150 requests more for the canary's group in its minute.
fn busy(world: &mut World) {
    let counts = Counts { requests: 150, answers: [150, 0, 0, 0], latency_bins: BTreeMap::new() };
    world.cloud.count(&world.targets.canary, world.minute, &counts);
    world.tick();
}

#[test]
fn two_alarms_take_back_the_newest_rollout_and_not_the_one_before_it() {
    let mut world = promoted(&json!({ "alarms": ["5xx", "p99"] }));
    let mut plan = canary_gate::sim::run::default_plan();
    plan["rollout"] = json!("checkout-v43");
    plan["stable"] = json!(world.targets.canary);
    plan["canary"] = json!(world.targets.canary.replace("targetgroup/", "targetgroup/next-"));
    plan["alarms"] = json!(["5xx", "p99"]);
    world.command(&json!({ "command": "start", "plan": plan })).unwrap();
    world.tick();
    for name in ["5xx", "5xx", "p99"] {
        world.send(&alarm(name, world.minute)).unwrap();
        assert_eq!(world.cloud.record("checkout-v43").unwrap().phase, Phase::Drained);
        assert_eq!(world.record().phase, Phase::Promoted, "{name}: the trusted version stays");
    }
    let abort = world.command(&json!({ "command": "abort", "rollout": ROLLOUT }));
    assert!(abort.unwrap_err().to_string().contains("checkout-v43 was started on this listener rule since"));
}

#[test]
fn a_roll_back_to_a_group_that_was_deleted_is_refused() {
    let mut world = promoted(&json!({ "alarms": ["5xx"] }));
    fail(&world, Operation::HealthyTargets, FailureKind::NotFound, 1000);
    let answer = world.send(&alarm("5xx", world.minute)).unwrap();
    assert!(answer["rollouts"][0]["ignored"].as_str().unwrap().contains("target health was not read"));
    world.ticks(3);
    let abort = world.command(&json!({ "command": "abort", "rollout": ROLLOUT }));
    assert!(abort.unwrap_err().to_string().contains("target health was not read"));
    assert_eq!((world.record().phase, world.share()), (Phase::Promoted, Share::FULL));
}

#[test]
fn a_roll_back_on_a_rule_that_was_deleted_changes_nothing() {
    let world = promoted(&json!({ "alarms": ["5xx"] }));
    let pages = world.pages().len();
    world.cloud.remove_rule(&world.targets.listener_rule.clone());
    assert!(world.send(&alarm("5xx", world.minute)).is_err(), "CloudWatch should tell again");
    assert_eq!((world.record().phase, world.pages().len()), (Phase::Promoted, pages));
}

#[test]
fn a_drain_ends_when_the_rule_no_longer_names_the_pair() {
    for order in [true, false] {
        let mut world = World::on_first_step(4);
        if order {
            fail(&world, Operation::ReadSplits, FailureKind::NotFound, 10_000);
            world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
        } else {
            world.per_mille = [3.0, 300.0];
            fail(&world, Operation::WriteSplit, FailureKind::Denied, 10_000);
            world.until("drain", 10);
            assert_eq!(world.record().phase, Phase::Draining);
            fail(&world, Operation::ReadSplits, FailureKind::NotFound, 10_000);
            world.tick();
        }
        assert_eq!(world.record().phase, Phase::Drained);
        world.ticks(4);
        assert!(!world.record().needs_ticks());
        assert_eq!(world.pages().last().unwrap(), "[critical] checkout-v42: canary drained");
    }
}

#[test]
fn no_data_after_a_drain_is_no_proof_that_the_requests_stopped() {
    let mut world = World::on_first_step(6);
    world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
    for at in -3..30 {
        for group in [&world.targets.stable, &world.targets.canary] {
            world.cloud.delay(group, world.minute.plus(at), 100_000);
        }
    }
    world.ticks(8);
    assert!(world.record().drain.is_some());
    world.ticks(8);
    assert_eq!(
        world.pages().last().unwrap(),
        "[warning] checkout-v42: drained, but not known whether requests stopped"
    );
}

#[test]
fn a_hand_that_raises_the_share_after_a_drain_is_not_fought() {
    let mut world = World::on_first_step(6);
    world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
    for _ in 0..3 {
        world.meddle(0, 100);
        world.tick();
    }
    assert_eq!(world.share(), Share::FULL);
    assert_eq!(world.pages().len(), 2);
    assert_eq!(world.pages()[1], "[critical] checkout-v42: canary got traffic again after its drain");
}

#[test]
fn a_rule_that_is_deleted_after_a_drain_pages_nobody() {
    let mut world = World::on_first_step(6);
    world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
    world.cloud.remove_rule(&world.targets.listener_rule.clone());
    for _ in 0..20 {
        let _ = world.same_tick();
        world.minute = world.minute.plus(1);
    }
    assert_eq!(world.pages().len(), 1, "{:?}", world.pages());
}

#[test]
fn a_group_that_another_rollout_uses_is_neither_taken_out_nor_paged() {
    let mut world = World::on_first_step(6);
    let other = world.targets.listener_rule.clone() + "9";
    world.cloud.set_rule(&other, Rule::all_on_stable(&world.targets));
    let mut plan = canary_gate::sim::run::default_plan();
    plan["rollout"] = json!("other");
    plan["listener_rule"] = json!(other);
    world.command(&json!({ "command": "start", "plan": plan })).unwrap();
    (0..6).for_each(|_| busy(&mut world));
    world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
    (0..18).for_each(|_| busy(&mut world));
    assert!(!world.pages().iter().any(|page| page.contains("still gets requests")), "{:?}", world.pages());
    assert!(world.rule().groups.iter().any(|(group, _)| *group == world.targets.canary));
}

#[test]
fn an_ordered_drain_that_cannot_be_checked_is_told() {
    let mut world = World::on_first_step_with(&json!({ "alarms": ["5xx"] }), 6);
    fail(&world, Operation::ReadMetrics, FailureKind::Unavailable, 1000);
    world.tick();
    world.send(&alarm("5xx", world.minute)).unwrap();
    world.ticks(20);
    assert_eq!(world.pages().len(), 2, "{:?}", world.pages());
    let body = &world.cloud.messages()[0].body;
    assert!(body.contains("alarm 5xx went off") && body.contains("whoever ordered it"), "{body}");
}

#[test]
fn a_running_rollout_is_braked_although_the_ended_ones_cannot_be_read() {
    let world = World::on_first_step_with(&json!({ "alarms": ["5xx"] }), 6);
    fail(&world, Operation::List, FailureKind::Throttled, 1);
    assert!(world.send(&alarm("5xx", world.minute)).is_err(), "CloudWatch should tell again");
    assert_eq!((world.share(), world.record().phase), (Share::ZERO, Phase::Drained));
}

#[test]
fn an_alarm_does_not_ask_after_rollouts_whose_window_is_long_over() {
    let mut world = promoted(&json!({ "alarms": ["5xx"] }));
    world.minute = world.minute.plus(60 * 24 * 30);
    world.calls();
    world.send(&alarm("5xx", world.minute)).unwrap();
    assert_eq!(world.calls(), [Operation::Running, Operation::List]);
}

#[test]
fn an_alarm_that_cannot_roll_back_is_told() {
    let mut world = promoted(&json!({ "alarms": ["5xx"] }));
    world.cloud.set_healthy_targets(&world.targets.stable, 0);
    world.send(&alarm("5xx", world.minute)).unwrap();
    world.tick();
    assert_eq!(
        world.pages().last().unwrap(),
        "[critical] checkout-v42: NOT DRAINED, stable has no healthy target"
    );
    assert_eq!((world.record().phase, world.share()), (Phase::Promoted, Share::FULL));
}

#[test]
fn an_alarm_after_the_end_leaves_another_hands_weights_alone() {
    let world = promoted(&json!({ "alarms": ["5xx"] }));
    world.meddle(90, 10);
    let answer = world.send(&alarm("5xx", world.minute)).unwrap();
    assert!(answer["rollouts"][0]["ignored"].as_str().unwrap().contains("somebody else has it now"));
    assert_eq!(world.share(), percent(10.0));
}

#[test]
fn a_group_that_is_taken_out_is_told() {
    let mut world = World::on_first_step(6);
    world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
    for _ in 0..9 {
        busy(&mut world);
    }
    world.ticks(9);
    assert!(world.record().drain.is_none());
    assert_eq!(world.rule().groups.len(), 1);
    assert_eq!(world.pages()[1], "[warning] checkout-v42: canary's group taken out of the rule");
}

#[test]
fn a_name_that_is_held_by_unsent_pages_is_refused_in_these_words() {
    let mut world = World::on_first_step(6);
    fail(&world, Operation::Page, FailureKind::Denied, 10_000);
    world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
    world.ticks(20);
    let plan = canary_gate::sim::run::default_plan();
    let again = world.command(&json!({ "command": "start", "plan": plan }));
    assert!(again.unwrap_err().to_string().contains("pages could not be sent"));
}

#[test]
fn a_roll_back_whose_first_record_is_lost_is_recorded_all_the_same() {
    let mut world = promoted(&json!({}));
    world.ticks(2);
    fail(&world, Operation::Put, FailureKind::Unavailable, 1);
    world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
    assert_eq!((world.record().phase, world.share()), (Phase::Drained, Share::ZERO));
}

#[test]
fn a_rule_that_is_shown_late_is_no_other_hand() {
    // Adopted at 30 %, then aborted; ten seconds later the rule is still shown as it was.
    let mut world = World::on_first_step(3);
    world.meddle(70, 30);
    world.until("freeze", 3);
    world.command(&json!({ "command": "resume", "rollout": ROLLOUT, "weights": "adopt" })).unwrap();
    let before = world.rule();
    world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
    let written = world.rule();
    world.cloud.set_rule(&world.targets.listener_rule, before);
    world.tick();
    world.cloud.set_rule(&world.targets.listener_rule, written);
    assert!(!world.pages().iter().any(|page| page.contains("traffic again")), "{:?}", world.pages());
    assert!(world.record().drain.is_some());
}
