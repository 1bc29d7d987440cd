//! What stops a rollout beside the judge: alarms, people, the calendar, and the freeze of all rollouts.

use canary_gate::ports::FailureKind;
use canary_gate::rollout::record::Phase;
use canary_gate::sim::run::default_plan;
use canary_gate::sim::{Fault, Operation, Outcome};
use canary_gate::units::{Minute, Share};
use serde_json::{Value, json};

use crate::world::{ROLLOUT, World, percent};

/// An alarm's event by way of EventBridge.
pub(crate) fn alarm(name: &str, state: &str, description: &str, at: Minute) -> Value {
    json!({
        "version": "0",
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "time": at.to_string(),
        "resources": [format!("arn:aws:cloudwatch:eu-central-1:123456789012:alarm:{name}")],
        "detail": {
            "alarmName": name,
            "state": { "value": state, "reason": "Threshold Crossed", "timestamp": at.to_string() },
            "configuration": { "description": description },
        },
    })
}

/// A rollout in the hour after its good end.
pub(crate) fn promoted(keys: &Value) -> World {
    let mut plan = json!({ "steps": ["50%", "100%"], "bake": "5m" });
    plan.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let mut world = World::on_first_step_with(&plan, 0);
    world.until("promote", 40);
    assert_eq!((world.record().phase, world.share()), (Phase::Promoted, Share::FULL));
    world
}

#[test]
fn an_alarm_that_the_plan_lists_drains_without_asking_the_judge() {
    let mut world = World::on_first_step_with(&json!({ "alarms": ["checkout-5xx"] }), 2);
    let answer = world.send(&alarm("checkout-5xx", "ALARM", "", world.minute)).unwrap();
    assert_eq!(answer["rollouts"][0]["phase"], "drained", "{answer}");
    assert!(!world.calls().contains(&Operation::ReadMetrics));
    assert_eq!(world.share(), Share::ZERO);
    assert_eq!(world.pages(), ["[critical] checkout-v42: canary drained"]);
    let message = world.cloud.messages().pop().unwrap();
    assert!(message.body.contains("alarm checkout-5xx went off: Threshold Crossed"), "{}", message.body);
    // CloudWatch may tell twice.
    let again = world.send(&alarm("checkout-5xx", "ALARM", "", world.minute)).unwrap();
    assert_eq!(again["rollouts"], json!([]));
    world.ticks(6);
    assert_eq!((world.pages().len(), world.record().phase), (1, Phase::Drained));
}

#[test]
fn an_alarm_that_names_the_rollout_in_its_description_drains_it() {
    let world = World::on_first_step(2);
    let description = format!("Orders fail. canary-gate:{ROLLOUT}");
    world.send(&alarm("orders", "ALARM", &description, world.minute)).unwrap();
    assert_eq!((world.share(), world.record().phase), (Share::ZERO, Phase::Drained));
}

#[test]
fn other_alarms_other_states_and_alarms_of_the_past_drain_nothing() {
    let world = World::on_first_step_with(&json!({ "alarms": ["checkout-5xx"] }), 2);
    for event in [
        alarm("search-5xx", "ALARM", "", world.minute),
        alarm("checkout-5xx", "OK", "", world.minute),
        alarm("checkout-5xx", "INSUFFICIENT_DATA", "", world.minute),
        alarm("checkout-5xx", "ALARM", "", world.minute.plus(-30)),
    ] {
        world.send(&event).unwrap();
        assert_eq!((world.share(), world.record().phase), (percent(5.0), Phase::Running), "{event}");
    }
}

#[test]
fn an_alarm_whose_drain_cannot_be_written_leaves_it_to_the_ticks() {
    let mut world = World::on_first_step_with(&json!({ "alarms": ["checkout-5xx"] }), 2);
    let denied = Outcome::Fails(FailureKind::Denied);
    world.cloud.fail(Fault { operation: Operation::WriteSplit, outcome: denied, times: 1 });
    let answer = world.send(&alarm("checkout-5xx", "ALARM", "", world.minute)).unwrap();
    assert_eq!(answer["rollouts"][0]["phase"], "draining");
    world.tick();
    assert_eq!((world.share(), world.record().phase), (Share::ZERO, Phase::Drained));
}

#[test]
fn an_alarm_that_cannot_be_recorded_fails_so_that_it_is_told_again() {
    let mut world = World::on_first_step_with(&json!({ "alarms": ["checkout-5xx"] }), 2);
    let failed = Outcome::Fails(FailureKind::Unavailable);
    world.cloud.fail(Fault { operation: Operation::Put, outcome: failed, times: 2 });
    let event = alarm("checkout-5xx", "ALARM", "", world.minute);
    assert!(world.send(&event).is_err());
    assert_eq!(world.share(), Share::ZERO, "the weights come first");
    world.tick();
    world.send(&event).unwrap();
    assert_eq!((world.share(), world.record().phase), (Share::ZERO, Phase::Drained));
}

#[test]
fn an_abort_that_dies_half_way_is_finished_by_the_next_tick() {
    for (calls, died_at) in [(5, "promoted"), (4, "running")] {
        let mut world = if died_at == "promoted" { promoted(&json!({})) } else { World::on_first_step(2) };
        // Get, ReadSplits, (Running,) HealthyTargets, Put: announced, and not written.
        world.cloud.die_after(Some(calls));
        let _ = world.command(&json!({ "command": "abort", "rollout": ROLLOUT }));
        world.cloud.die_after(None);
        assert_eq!(world.record().phase, Phase::Draining, "{died_at}");
        world.tick();
        assert_eq!((world.share(), world.record().phase), (Share::ZERO, Phase::Drained), "{died_at}");
        assert_eq!(world.pages().last().unwrap(), "[critical] checkout-v42: canary drained");
    }
}

#[test]
fn an_alarm_in_observe_mode_tells_and_writes_nothing() {
    let mut world = World::started_with(&json!({ "mode": "observe", "alarms": ["checkout-5xx"] }));
    world.meddle(95, 5);
    world.ticks(2);
    world.send(&alarm("checkout-5xx", "ALARM", "", world.minute)).unwrap();
    assert_eq!((world.share(), world.record().phase), (percent(5.0), Phase::Running));
    assert!(
        world.pages().iter().any(|page| page.contains("observe mode, NOT drained")),
        "{:?}",
        world.pages()
    );
}

#[test]
fn an_abort_takes_back_a_hundred_percent_within_the_rollback_window() {
    let mut world = promoted(&json!({}));
    world.ticks(3);
    let answer = world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
    assert_eq!(answer["phase"], "drained");
    assert_eq!(world.share(), Share::ZERO);
    world.ticks(6);
    assert_eq!(world.pages().last().unwrap(), "[critical] checkout-v42: canary drained");
    assert!(!world.record().needs_ticks());
}

#[test]
fn a_rollback_after_a_hundred_percent_is_refused_when_it_is_late_or_stable_is_gone() {
    let mut world = promoted(&json!({ "rollback_window": "10m" }));
    let abort = json!({ "command": "abort", "rollout": ROLLOUT });
    world.cloud.set_healthy_targets(&world.targets.stable, 0);
    assert!(world.command(&abort).unwrap_err().to_string().contains("no healthy target"));
    world.cloud.set_healthy_targets(&world.targets.stable, 3);
    world.ticks(11);
    assert!(world.command(&abort).unwrap_err().to_string().contains("is over"));
    assert_eq!((world.share(), world.record().phase), (Share::FULL, Phase::Promoted));
}

#[test]
fn a_freeze_lets_nothing_rise_and_everything_be_drained() {
    let mut world = World::on_first_step(0);
    world.command(&json!({ "command": "freeze" })).unwrap();
    let frozen: Vec<Value> = world.ticks(30);
    assert_eq!(world.share(), percent(5.0));
    let why = frozen.last().unwrap()["why"].as_str().unwrap();
    assert!(why.contains("all rollouts are frozen by tester: a test"), "{why}");
    let promote = world.command(&json!({ "command": "promote", "rollout": ROLLOUT }));
    assert!(promote.unwrap_err().to_string().contains("frozen by tester"));
    let status = world.command(&json!({ "command": "status", "rollout": ROLLOUT })).unwrap();
    assert_eq!(status["frozen_by"]["actor"], "tester");
    world.command(&json!({ "command": "thaw" })).unwrap();
    world.until("promote", 5);
    world.command(&json!({ "command": "freeze" })).unwrap();
    world.per_mille = [3.0, 300.0];
    world.until("drain", 10);
    assert_eq!(world.share(), Share::ZERO);
}

#[test]
fn whether_all_rollouts_are_frozen_is_only_read_before_a_rise_and_must_be_known() {
    let mut world = World::on_first_step(0);
    let unknown = Outcome::Fails(FailureKind::Throttled);
    world.cloud.fail(Fault { operation: Operation::Freeze, outcome: unknown, times: 1 });
    let mut asked = 0;
    for _ in 0..40 {
        world.calls();
        let tick = world.tick();
        let reads = world.calls().iter().filter(|call| **call == Operation::Freeze).count();
        asked += reads;
        if tick["decision"] == "promote" {
            assert_eq!(reads, 1);
            break;
        }
        assert!(reads == 0 || tick["why"].as_str().unwrap().contains("was not read"), "{tick}");
    }
    assert_eq!(asked, 2);
}

#[test]
fn a_denied_window_holds_a_proven_step_and_a_person_may_still_promote() {
    // The tests' day is a Sunday.
    let keys = json!({ "deny_windows": ["Sun 10:05 to Sun 11:00"] });
    let mut world = World::on_first_step_with(&keys, 40);
    assert_eq!(world.share(), percent(5.0));
    let why = world.tick()["why"].as_str().unwrap().to_owned();
    assert!(why.contains("the plan denies it in Sun 10:05 to Sun 11:00"), "{why}");
    world.command(&json!({ "command": "promote", "rollout": ROLLOUT })).unwrap();
    assert_eq!(world.share(), percent(25.0));
    world.ticks(17);
    assert_eq!(world.share(), percent(25.0), "until eleven o'clock");
    world.until("promote", 20);
    assert!(world.minute.to_string().contains("T11:"), "{}", world.minute);
}

#[test]
fn of_two_rollouts_started_at_once_on_one_rule_only_the_first_begins() {
    let mut world = World::started();
    // The second start did not see the first one: the index it asks is a moment late.
    world.cloud.hide_from_index(true);
    let mut plan = canary_gate::sim::run::default_plan();
    plan["rollout"] = json!("second");
    world.command(&json!({ "command": "start", "plan": plan })).unwrap();
    world.cloud.hide_from_index(false);
    world.tick();
    assert_eq!(world.share(), percent(5.0));
    let second = world.cloud.record("second").unwrap();
    assert_eq!((second.phase, second.needs_ticks()), (Phase::Stopped, false));
    assert!(second.why.contains("checkout-v42 was started on the same listener rule"), "{}", second.why);
    assert_eq!(world.pages(), ["[warning] second: not started, rule is taken"]);
}

#[test]
fn a_rollout_may_be_started_again_while_its_last_drain_is_watched() {
    let mut world = World::on_first_step(1);
    world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
    world.tick();
    assert!(world.record().drain.is_some());
    world.start(&json!({}));
    world.ticks(2);
    assert_eq!((world.share(), world.record().phase), (percent(5.0), Phase::Running));
}

#[test]
fn a_rollout_whose_rule_was_deleted_can_be_ended() {
    let mut world = World::on_first_step(1);
    world.cloud.remove_rule(&world.targets.listener_rule.clone());
    let answer = world.same_tick().unwrap();
    assert_eq!(answer["rollouts"][0]["decision"], "hold");
    world.minute = world.minute.plus(1);
    let answer = world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
    assert_eq!(answer["phase"], "drained");
    (0..3).for_each(|_| {
        let _ = world.same_tick();
        world.minute = world.minute.plus(1);
    });
    assert!(!world.record().needs_ticks());
}

#[test]
fn a_record_that_cannot_be_read_stops_no_other_and_counts_as_a_tick_not_completed() {
    let mut world = World::on_first_step(1);
    world.cloud.spoil("record of search is unreadable: it has no body");
    let answer = world.same_tick().unwrap();
    assert_eq!(answer["rollouts"][0]["decision"], "hold");
    assert_eq!(answer["unreadable"][0], "record of search is unreadable: it has no body");
    let line =
        canary_gate::handler::telemetry::lines(&answer, "gate", world.minute.start()).remove(0).to_string();
    assert!(line.contains("\"TicksCompleted\":0"), "{line}");
    world.minute = world.minute.plus(1);
}

#[test]
fn a_canary_that_has_traffic_already_is_not_started_but_may_be_watched() {
    let world = World::quiet();
    world.meddle(95, 5);
    let start = |keys: Value| {
        let mut plan = default_plan();
        for (key, value) in keys.as_object().unwrap() {
            plan[key] = value.clone();
        }
        world.command(&json!({ "command": "start", "plan": plan }))
    };
    let refused = start(json!({})).unwrap_err().to_string();
    assert!(refused.contains("set its weight to 0 first"), "{refused}");
    assert!(world.cloud.record(ROLLOUT).is_none());
    assert!(start(json!({ "mode": "observe" })).is_ok());
}

#[test]
fn a_start_that_the_table_refuses_for_a_moment_does_not_claim_that_the_name_is_taken() {
    let world = World::quiet();
    let outcome = Outcome::Fails(FailureKind::Throttled);
    world.cloud.fail(Fault { operation: Operation::Create, outcome, times: 1 });
    let start = || world.command(&json!({ "command": "start", "plan": default_plan() }));
    assert_eq!(start().unwrap_err().error_type(), "CallFailed");
    assert!(start().is_ok());
}
