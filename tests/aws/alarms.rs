//! CloudWatch alarms as brakes: in every way in which AWS delivers them.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::endpoint::wait_for;
use crate::outside::{count, names};
use crate::traffic::Generated;
use crate::world::World;

/// The events of the folder that README and local runs use, by way of delivery.
const WAYS: [(&str, &str); 3] = [
    ("an EventBridge rule", include_str!("../../events/alarm-eventbridge.json")),
    ("the alarm's own action", include_str!("../../events/alarm-lambda-action.json")),
    ("an SNS topic", include_str!("../../events/alarm-sns.json")),
];
const ARN: &str = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:payments-failing";

/// An alarm of this world, going off in a minute of the story; what it names instead of a rollout.
fn went_off(world: &World, text: &str, minute: i64, names: &str) -> Value {
    let text = text.replace("2026-03-01T10:42:15.490+0000", &world.minute(minute));
    serde_json::from_str(&text.replace("canary-gate:checkout-v42", names)).expect("JSON")
}

/// The first way, naming the rollout in its description.
pub(crate) fn event(world: &World, minute: i64) -> Value {
    went_off(world, WAYS[0].1, minute, "canary-gate:checkout")
}

/// On the first step with a canary that nobody finds fault with.
fn on_first_step(plan: Value) -> World {
    World::on_first_step_of(json!({}), plan, Generated::HEALTHY)
}

#[test]
fn an_alarm_that_names_the_rollout_drains_it_whichever_way_it_comes() {
    for (way, text) in WAYS {
        let world = on_first_step(json!({}));
        let event = went_off(&world, text, 10, "canary-gate:checkout");
        let (answer, calls) = world.calls_of(|| world.invoke(&event).expect(way));
        assert_eq!(answer["rollouts"][0]["phase"], json!("drained"), "{way}: {answer}");
        assert_eq!((world.rule().share(&world), world.record().phase()), (0.0, "drained"), "{way}");
        assert_eq!(count(&calls, "cloudwatch"), 0, "no judge is asked: {:?}", names(&calls));
        let pages = world.pages();
        assert_eq!((pages.len(), pages[0].event.as_str()), (1, "drained"), "{way}");
        for words in ["payments-failing", "Threshold Crossed"] {
            assert!(pages[0].body.contains(words), "{way}: {}", pages[0].body);
        }
        let log = world.log();
        let by = &log[log.len() - 1]["by"]["actor"];
        assert!(by.as_str().is_some_and(|by| by.contains("payments-failing")), "{way}: {by}");
    }
}

#[test]
fn an_alarm_that_the_plan_lists_by_name_or_arn_drains_too() {
    for (listed, (way, text)) in ["payments-failing", ARN].into_iter().flat_map(|l| WAYS.map(|way| (l, way)))
    {
        let world = on_first_step(json!({ "alarms": ["orders-stuck", listed] }));
        world.invoke(&went_off(&world, text, 10, "nobody")).expect(way);
        assert_eq!((world.rule().share(&world), world.record().phase()), (0.0, "drained"), "{listed}, {way}");
    }
}

#[test]
fn alarms_of_others_of_the_past_and_those_that_are_over_drain_nothing() {
    let world = on_first_step(json!({ "alarms": ["orders-stuck"] }));
    let over = |text: &str| text.replace("\"ALARM\"", "\"OK\"").replace("\\\"ALARM\\\"", "\\\"OK\\\"");
    for (way, text) in WAYS {
        let events = [
            ("unknown", went_off(&world, text, 10, "nobody")),
            ("another rollout's", went_off(&world, text, 10, "canary-gate:checkout-v2")),
            ("over", went_off(&world, &over(text), 10, "canary-gate:checkout")),
            ("before the start", went_off(&world, text, -30, "canary-gate:checkout")),
        ];
        for (what, event) in events {
            let (answer, calls) = world.calls_of(|| world.invoke(&event).expect(way));
            assert_eq!(count(&calls, "elbv2 ModifyRule"), 0, "{what}, {way}: {answer}");
        }
    }
    assert_eq!((world.rule().share(&world), world.record().phase()), (5.0, "running"));
    assert_eq!(world.paged(), [""; 0]);
}

#[test]
fn an_alarm_that_is_delivered_again_changes_nothing() {
    let world = on_first_step(json!({}));
    let event = event(&world, 10);
    world.invoke(&event).expect("an answer");
    let before = (world.record(), world.rule());
    let (answer, calls) = world.calls_of(|| world.invoke(&event).expect("an answer"));
    assert_eq!((&answer["rollouts"], count(&calls, "elbv2")), (&json!([]), 0), "{answer}");
    assert_eq!((world.record(), world.rule(), world.paged().len()), (before.0, before.1, 1));
}

#[test]
fn an_alarm_whose_drain_is_denied_leaves_it_to_the_next_tick() {
    let world = on_first_step(json!({}));
    world.faults(&json!([{ "op": "ModifyRule", "code": "AccessDenied", "status": 403, "n": -1 }]));
    let answer = world.invoke(&event(&world, 10)).expect("an answer");
    assert_eq!(answer["rollouts"][0]["phase"], json!("draining"), "{answer}");
    assert_eq!((world.rule().share(&world), world.paged()), (5.0, vec!["drain_failed".to_owned()]));
    world.no_faults();
    world.tick(12);
    assert_eq!((world.rule().share(&world), world.record().phase()), (0.0, "drained"));
}

#[test]
fn an_alarm_whose_drain_cannot_be_stored_fails_so_that_lambda_delivers_it_again() {
    let world = on_first_step(json!({}));
    world.faults(&json!([{ "op": "PutItem", "code": "InternalServerError", "status": 500, "n": -1 }]));
    let failed = world.invoke(&event(&world, 10)).expect_err("an error");
    assert_eq!((failed.kind.as_str(), world.rule().share(&world)), ("CallFailed", 0.0), "weights come first");
    world.no_faults();
    world.invoke(&event(&world, 10)).expect("an answer");
    assert_eq!((world.record().phase(), world.paged()), ("drained", vec!["drained".to_owned()]));
}

/// An alarm that hangs in a call, and minute 5's tick in another process meanwhile; what the tick decided, and
/// what came of the alarm.
fn overlapping(hangs_in: &str) -> (World, Value, Value) {
    let mut world = on_first_step(json!({ "bake": "40m" }));
    world.add_process();
    world.faults(&json!([{ "op": hangs_in, "delay_s": 20.0 }]));
    let (alarm, tick) = thread::scope(|threads| {
        let (world, event) = (&world, event(&world, 5));
        let alarm = threads.spawn(move || world.invoke(&event));
        wait_for("the call", Duration::from_secs(20), || {
            (world.endpoint.get("faults")[0]["hits"] == json!(1)).then_some(())
        });
        let tick = world.tick(5);
        world.no_faults();
        (alarm.join().expect("an answer").expect("obeyed"), tick)
    });
    assert_eq!((world.record().phase(), world.rule().share(&world)), ("drained", 0.0), "{alarm}");
    assert_eq!(world.paged(), ["drained"]);
    (world, tick["decision"].clone(), alarm["rollouts"].clone())
}

#[test]
fn an_alarm_that_a_tick_is_faster_than_looks_again_and_drains() {
    let (_, tick, alarm) = overlapping("DescribeRules");
    assert_eq!((tick, &alarm[0]["phase"]), (json!("hold"), &json!("drained")), "{alarm}");
}

#[test]
fn a_tick_that_finds_an_alarms_drain_under_way_carries_it_out_and_both_page_once() {
    let (world, tick, _) = overlapping("ModifyRule");
    assert_eq!(tick, json!("drain"), "and not another hand that froze it");
    assert_eq!(world.tick(6)["decision"], json!("verify"));
    assert_eq!(world.paged(), ["drained"]);
}

#[test]
fn an_alarm_drains_a_frozen_and_a_paused_rollout() {
    let world = on_first_step(json!({}));
    world.command_at(3, "pause", json!({})).expect("paused");
    world.invoke(&event(&world, 10)).expect("an answer");
    assert_eq!((world.record().phase(), world.rule().share(&world)), ("drained", 0.0));
    let world = on_first_step(json!({}));
    world.foreign_weights(60, 40);
    world.tick(5);
    assert_eq!(world.record().phase(), "frozen");
    world.invoke(&event(&world, 10)).expect("an answer");
    assert_eq!((world.record().phase(), world.rule().share(&world)), ("drained", 0.0));
}

#[test]
fn an_alarm_tells_what_it_would_have_done_where_canary_gate_only_observes() {
    let world = World::seeded(json!({ "weights": { "stable": 95, "canary": 5 } }));
    world.start(&world.plan(json!({ "mode": "observe" })));
    world.tick(0);
    let (_, calls) = world.calls_of(|| world.invoke(&event(&world, 1)).expect("an answer"));
    assert_eq!((count(&calls, "elbv2 ModifyRule"), world.rule().share(&world)), (0, 5.0));
    assert_eq!(world.paged(), ["observed_harmful"]);
}
