//! What one tick does, and in which order, on the simulated cloud.

use canary_gate::ports::FailureKind;
use canary_gate::rollout::record::Phase;
use canary_gate::sim::{Fault, Operation, Outcome};
use canary_gate::units::{Share, Span};
use serde_json::json;

use crate::world::{ROLLOUT, World, count, percent};

const ROUTER: [Operation; 3] = [Operation::ReadSplits, Operation::HealthyTargets, Operation::WriteSplit];

fn position(calls: &[Operation], of: Operation) -> usize {
    calls.iter().position(|call| *call == of).unwrap_or_else(|| panic!("no {of:?} in {calls:?}"))
}

fn fails(operation: Operation, times: u32) -> Fault {
    Fault { operation, outcome: Outcome::Fails(FailureKind::Unavailable), times }
}

/// One read of the metrics and at most one call of each kind to the load balancer.
fn is_frugal(calls: &[Operation]) {
    assert_eq!(count(calls, &[Operation::Running]), 1, "{calls:?}");
    assert_eq!(count(calls, &[Operation::ReadMetrics]), 1, "{calls:?}");
    for operation in ROUTER {
        assert!(count(calls, &[operation]) <= 1, "{calls:?}");
    }
}

#[test]
fn a_tick_without_rollouts_reads_the_store_once_and_nothing_else() {
    let mut world = World::quiet();
    world.tick();
    assert_eq!(world.calls(), [Operation::Running]);
}

#[test]
fn ticks_after_a_drain_look_until_the_canarys_requests_have_stopped_and_then_cost_one_read_again() {
    let mut world = World::on_first_step(5);
    world.per_mille = [3.0, 300.0];
    world.until("drain", 10);
    for _ in 0..4 {
        world.calls();
        assert_eq!(world.tick()["decision"], "verify");
        use Operation::{Log, Put, ReadMetrics, ReadSplits, Running};
        assert_eq!(world.calls(), [Running, ReadMetrics, ReadSplits, Put, Log]);
    }
    assert!(world.record().drain.is_none());
    world.tick();
    assert_eq!(world.calls(), [Operation::Running]);
    assert_eq!(world.pages(), ["[critical] checkout-v42: canary drained"]);
}

#[test]
fn hold_promote_and_drain_ticks_are_frugal() {
    let mut world = World::started();
    assert_eq!(world.tick()["decision"], "promote");
    is_frugal(&world.calls());
    for _ in 0..6 {
        assert_eq!(world.tick()["decision"], "hold");
        let calls = world.calls();
        is_frugal(&calls);
        assert_eq!(count(&calls, &ROUTER), 1, "a hold only reads the weights: {calls:?}");
        assert_eq!(count(&calls, &[Operation::Put]), 1, "{calls:?}");
    }
    assert_eq!(world.until("promote", 40)["share"], 25.0);
    is_frugal(&world.calls());
    world.per_mille = [3.0, 300.0];
    world.until("drain", 10);
    is_frugal(&world.calls());
}

#[test]
fn two_rollouts_share_one_read_of_metrics_and_one_of_weights() {
    let mut world = World::on_first_step(2);
    let other = json!({
        "rollout": "basket-v7",
        "listener_rule": world.targets.listener_rule.replace("9683b2d02a6cabee", "aaaabd02a6cabeee"),
    });
    world.cloud.set_rule(
        other["listener_rule"].as_str().unwrap(),
        canary_gate::sim::Rule::all_on_stable(&world.targets),
    );
    world.start(&other);
    world.calls();
    world.tick();
    let calls = world.calls();
    assert_eq!(count(&calls, &[Operation::ReadMetrics]), 1, "{calls:?}");
    assert_eq!(count(&calls, &[Operation::ReadSplits]), 1, "{calls:?}");
    assert_eq!(count(&calls, &[Operation::Put]), 3, "one hold, and intent and end of one shift: {calls:?}");
}

#[test]
fn the_second_delivery_of_a_tick_changes_nothing() {
    let mut world = World::on_first_step(3);
    world.per_mille = [3.0, 300.0];
    for _ in 0..6 {
        world.tick();
        let (record, pages, entries) = (world.record(), world.pages(), world.cloud.log_entries());
        world.calls();
        world.minute = world.minute.plus(-1);
        world.same_tick().unwrap();
        world.minute = world.minute.plus(1);
        assert_eq!(world.calls(), [Operation::Running]);
        assert_eq!(world.record(), record);
        assert_eq!((world.pages(), world.cloud.log_entries()), (pages, entries));
    }
    assert_eq!(world.record().phase, Phase::Drained);
}

#[test]
fn a_healthy_canary_climbs_step_by_step_and_each_step_is_baked() {
    let mut world = World::started();
    let mut shifts = Vec::new();
    while world.record().phase != Phase::Promoted {
        let minute = world.minute;
        if world.tick()["decision"] == "promote" {
            shifts.push((minute, world.share().percent()));
        }
        assert!(shifts.len() <= 4, "{shifts:?}");
    }
    let shares: Vec<f64> = shifts.iter().map(|(_, share)| *share).collect();
    assert_eq!(shares, [5.0, 25.0, 50.0, 100.0]);
    for pair in shifts.windows(2) {
        let minutes = pair[1].0.since(pair[0].0);
        assert!(minutes >= 15, "the step to {} was left after {minutes} min", pair[0].1);
    }
    assert_eq!(world.pages(), ["[info] checkout-v42: promoted"]);
}

#[test]
fn the_verdict_of_the_step_before_takes_no_canary_further() {
    // Metrics are three minutes old: right after a shift, all that can be seen is the step before.
    let mut world = World::on_first_step(2);
    world.until("promote", 40);
    assert_eq!(world.share(), percent(25.0));
    for _ in 0..4 {
        assert_eq!(world.tick()["decision"], "hold");
        assert_eq!(world.share(), percent(25.0));
    }
}

#[test]
fn metrics_that_are_not_whole_are_blind_and_drain_only_after_blind_after() {
    // Long enough on the step for a promotion, if the metrics could be believed.
    let mut world = World::on_first_step(16);
    let partial = Fault { operation: Operation::ReadMetrics, outcome: Outcome::Partial, times: 100 };
    world.cloud.fail(partial);
    for _ in 0..5 {
        let answer = world.tick();
        assert_eq!((&answer["decision"], &answer["judgement"]["verdict"]), (&json!("hold"), &json!("blind")));
    }
    assert_eq!(world.share(), percent(5.0));
    assert_eq!(world.tick()["decision"], "drain");
    assert_eq!(world.share(), Share::ZERO);
    assert_eq!(world.pages(), ["[critical] checkout-v42: canary drained"]);
}

#[test]
fn a_failed_read_of_metrics_is_forgotten_when_the_next_one_works() {
    let mut world = World::on_first_step(3);
    for _ in 0..3 {
        world.cloud.fail(fails(Operation::ReadMetrics, 3));
        let verdicts = world.ticks(4).into_iter().map(|answer| answer["judgement"]["verdict"].clone());
        assert_eq!(verdicts.collect::<Vec<_>>(), ["blind", "blind", "blind", "undecided"]);
    }
    assert_eq!(world.share(), percent(5.0));
    assert!(world.pages().is_empty());
}

#[test]
fn weights_of_another_hand_freeze_the_rollout_and_are_left_alone() {
    let mut world = World::on_first_step(3);
    world.meddle(80, 20);
    let rule = world.rule();
    assert_eq!(world.tick()["decision"], "freeze");
    world.ticks(40);
    assert_eq!(world.record().phase, Phase::Frozen);
    assert_eq!(world.rule(), rule);
    assert_eq!(count(&world.calls(), &[Operation::WriteSplit]), 0);
    assert_eq!(world.pages(), ["[warning] checkout-v42: frozen, weights changed by somebody else"]);
}

#[test]
fn a_frozen_canary_that_turns_harmful_is_drained_all_the_same() {
    let mut world = World::on_first_step(3);
    world.meddle(80, 20);
    world.tick();
    world.per_mille = [3.0, 100.0];
    world.until("drain", 15);
    assert_eq!(world.share(), Share::ZERO);
}

#[test]
fn a_canary_that_somebody_set_to_zero_stays_at_zero() {
    let mut world = World::on_first_step(3);
    world.meddle(100, 0);
    world.ticks(40);
    assert_eq!(world.share(), Share::ZERO);
    assert_eq!(count(&world.calls(), &[Operation::WriteSplit]), 0);
}

#[test]
fn a_third_group_keeps_its_weight_through_promotion_and_drain() {
    let mut world = World::quiet();
    let mut rule = world.rule();
    rule.set_weight(&world.targets.stable, 60);
    rule.set_weight("arn:other", 40);
    world.cloud.set_rule(&world.targets.listener_rule, rule);
    world.start(&json!({}));
    let part = |world: &World| {
        let all: u32 = world.rule().groups.iter().map(|(_, weight)| weight).sum();
        f64::from(world.rule().weight("arn:other")) / f64::from(all)
    };
    world.ticks(4);
    assert!(world.share().same_as(percent(5.0)) && (part(&world) - 0.4).abs() < 1e-9);
    world.per_mille = [3.0, 300.0];
    world.until("drain", 10);
    assert!(world.share() == Share::ZERO && (part(&world) - 0.4).abs() < 1e-9);
}

#[test]
fn a_promotion_is_recorded_before_it_is_written_and_a_drain_after() {
    let mut world = World::started();
    world.tick();
    let calls = world.calls();
    let (intent, write) = (position(&calls, Operation::Put), position(&calls, Operation::WriteSplit));
    assert!(intent < write, "{calls:?}");
    assert_eq!(count(&calls[write..], &[Operation::Put]), 1, "and confirmed: {calls:?}");
    world.ticks(5);
    world.per_mille = [3.0, 300.0];
    world.until("drain", 10);
    let calls = world.calls();
    let (write, put) = (position(&calls, Operation::WriteSplit), position(&calls, Operation::Put));
    assert!(write < put && put < position(&calls, Operation::Page), "{calls:?}");
}

#[test]
fn an_intent_that_is_not_stored_writes_no_weight() {
    let mut world = World::started();
    world.cloud.fail(fails(Operation::Put, 1));
    assert_eq!(world.tick()["decision"], "failed");
    assert_eq!(count(&world.calls(), &[Operation::WriteSplit]), 0);
    assert_eq!(world.share(), Share::ZERO);
    assert_eq!(world.tick()["decision"], "promote");
}

#[test]
fn a_drain_frees_sticky_clients() {
    let mut world = World::quiet();
    let mut rule = world.rule();
    rule.sticky = true;
    world.cloud.set_rule(&world.targets.listener_rule, rule);
    world.start(&json!({}));
    world.ticks(4);
    assert!(world.record().sticky && world.rule().sticky);
    world.per_mille = [3.0, 500.0];
    world.until("drain", 10);
    assert!(!world.rule().sticky);
}

#[test]
fn a_page_is_sent_once_and_kept_until_it_is_sent_also_after_the_end() {
    let mut world = World::on_first_step(4);
    world.per_mille = [3.0, 300.0];
    world.cloud.fail(fails(Operation::Page, 3));
    let drain = world.until("drain", 10);
    assert_eq!(drain["troubles"].as_array().unwrap().len(), 1);
    assert_eq!(world.record().phase, Phase::Drained);
    assert_eq!((world.pages().len(), world.record().outbox.len()), (0, 1));
    world.ticks(2);
    assert_eq!((world.pages().len(), world.record().outbox.len()), (0, 1));
    world.tick();
    assert_eq!((world.pages().len(), world.record().outbox.len()), (1, 0));
    world.ticks(5);
    assert_eq!(world.pages(), ["[critical] checkout-v42: canary drained"]);
    assert_eq!(world.share(), Share::ZERO);
}

#[test]
fn a_drain_waits_for_a_stable_group_that_can_take_the_traffic() {
    let mut world = World::on_first_step(4);
    world.cloud.set_healthy_targets(&world.targets.stable, 0);
    world.per_mille = [3.0, 300.0];
    world.ticks(10);
    assert_eq!((world.share(), world.record().phase), (percent(5.0), Phase::Draining));
    assert_eq!(world.pages(), ["[critical] checkout-v42: NOT DRAINED, stable has no healthy target"]);
    world.cloud.set_healthy_targets(&world.targets.stable, 2);
    assert_eq!(world.tick()["decision"], "drain");
    assert_eq!(world.share(), Share::ZERO);
    assert_eq!(world.pages().len(), 2);
}

#[test]
fn a_drain_does_not_wait_for_target_health_that_cannot_be_read() {
    let mut world = World::on_first_step(4);
    world.per_mille = [3.0, 300.0];
    world.cloud.fail(fails(Operation::HealthyTargets, 100));
    world.until("drain", 10);
    assert_eq!(world.share(), Share::ZERO);
}

#[test]
fn no_traffic_is_sent_to_a_canary_without_healthy_targets() {
    let mut world = World::started();
    world.cloud.set_healthy_targets(&world.targets.canary, 0);
    world.ticks(3);
    assert_eq!(world.share(), Share::ZERO);
    assert_eq!(world.pages().len(), 1);
    world.cloud.set_healthy_targets(&world.targets.canary, 1);
    world.tick();
    assert_eq!(world.share(), percent(5.0));
}

#[test]
fn a_minute_that_is_read_before_it_is_whole_is_not_taken_for_errors() {
    for seconds in [120, 60] {
        let mut world = World::started();
        world.options.watermark = Span::from_seconds(seconds);
        let judgement = world.ticks(12).pop().unwrap()["judgement"].clone();
        let stable = &judgement["checks"][0]["stable"];
        let rate = stable["bad"].as_f64().unwrap() / stable["total"].as_f64().unwrap();
        assert!(rate < 0.004, "{seconds} s: {judgement}");
    }
}

#[test]
fn every_tick_and_command_is_in_the_decision_log() {
    let mut world = World::started();
    world.ticks(5);
    world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
    let words: Vec<String> = world.cloud.log_entries().into_iter().map(|entry| entry.decision).collect();
    assert_eq!(words, ["start", "promote", "hold", "hold", "hold", "hold", "abort"]);
    assert_eq!(world.share(), Share::ZERO);
}

#[test]
fn the_decision_log_has_what_it_takes_to_judge_again() {
    let mut world = World::on_first_step(4);
    world.per_mille = [3.0, 60.0];
    world.until("drain", 20);
    let entry = world.cloud.log_entries().pop().unwrap();
    let window = entry.rows.into_iter().collect();
    let rules = world.record().plan.rules;
    let conditions = entry.conditions.expect("the conditions are in the log");
    assert!(conditions.canary_targets.is_some());
    let again = canary_gate::analysis::judge(&window, &rules, &conditions);
    assert_eq!(Some(again), entry.judgement);
}

#[test]
fn a_slower_canary_is_drained_by_thresholds_that_were_learnt_before_the_first_shift() {
    let mut world = World::timed_with(&json!({}));
    world.ticks(6);
    let edges = |world: &World| -> Vec<i32> {
        world.record().thresholds["latency"].iter().map(|threshold| threshold.edge.0).collect()
    };
    assert_eq!(edges(&world), [-24, -16, -7]);
    world.slower_bins = Some(3);
    let report = world.until("drain", 15);
    assert_eq!(report["judgement"]["reason"]["check"], "latency");
    assert_eq!(edges(&world), [-24, -16, -7]);
    let entry = world.cloud.log_entries().pop().unwrap();
    let conditions = entry.conditions.unwrap();
    assert_eq!(conditions.thresholds, world.record().thresholds);
    let window = entry.rows.into_iter().collect();
    let again = canary_gate::analysis::judge(&window, &world.record().plan.rules, &conditions);
    assert_eq!(Some(again), entry.judgement);
}

#[test]
fn a_burn_in_waits_for_the_word_that_the_new_version_is_there_and_then_judges_it() {
    let mut world = World::timed_with(&json!({ "burn_in": "20m", "bake": "5m" }));
    let reports = world.ticks(40);
    assert!(reports[1..].iter().all(|report| report["decision"] == "hold"), "{reports:?}");
    assert_eq!(world.pages(), ["[warning] checkout-v42: burn-in done, deploy the new version"]);
    let page = &world.cloud.messages()[0].body;
    assert!(page.contains("Note       latency: burn-in: 1.0 times noisier"), "{page}");
    world.command(&json!({ "command": "resume", "rollout": ROLLOUT })).unwrap();
    let promoted = world.until("promote", 30);
    assert_eq!(world.share(), percent(25.0), "{promoted}");
    world.slower_bins = Some(3);
    world.until("drain", 20);
}
