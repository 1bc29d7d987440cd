//! What a tick costs, and that a second one of the same minute changes nothing.

use std::thread;

use serde_json::{Value, json};

use crate::outside::{Call, count, names};
use crate::traffic::{Generated, Traffic};
use crate::world::World;

/// No tick may need more of CloudWatch than one call, or more of the load balancer than three: a read of
/// the rule, the health of the targets, and the write.
fn within_budget(calls: &[Call]) {
    assert_eq!(count(calls, "cloudwatch GetMetricData"), 1, "{:?}", names(calls));
    assert_eq!(count(calls, "cloudwatch"), 1, "{:?}", names(calls));
    assert!(count(calls, "elbv2") <= 3, "{:?}", names(calls));
    assert!(calls.iter().all(|call| call.error.is_none()), "{calls:?}");
}

/// Where the first call of a name stands.
fn place(calls: &[Call], name: &str) -> usize {
    calls.iter().position(|call| call.name == name).unwrap_or_else(|| panic!("no {name}: {:?}", names(calls)))
}

/// On the first step, proven healthy, with a minute of bake time to go. The next tick's minute: it promotes.
fn about_to_be_promoted() -> (World, i64) {
    let world = World::new();
    world.start(&world.plan(json!({ "bake": "6m" })));
    for minute in 0..20 {
        let reason = world.live(minute, &Generated::HEALTHY)["judgement"]["reason"].clone();
        if (&reason["code"], &reason["minutes_left"]) == (&json!("baking"), &json!(1)) {
            return (world, minute + 1);
        }
    }
    panic!("never about to be promoted: {}", world.record().body);
}

/// On the first step, with a canary that fails one request in twenty. The next tick's minute: it drains.
fn about_to_be_drained() -> (World, i64) {
    let world = World::new();
    world.start_default();
    world.tick(0);
    for minute in 0..10 {
        world.publish(minute, &Generated::HARMFUL.at(minute, 5.0));
    }
    (world, 12)
}

#[test]
fn a_tick_without_a_running_rollout_makes_one_call() {
    let world = World::new();
    let (report, calls) = world.calls_of(|| world.tick_all(0));
    assert_eq!(report["rollouts"], json!([]));
    assert_eq!(names(&calls), ["dynamodb Query"]);
}

#[test]
fn a_tick_that_holds_reads_metrics_and_the_rule_once() {
    let world = World::new();
    world.start_default();
    world.live(0, &Generated::HEALTHY);
    let (report, calls) = world.calls_of(|| world.tick(1));
    assert_eq!(report["decision"], json!("hold"));
    within_budget(&calls);
    assert_eq!((count(&calls, "elbv2 DescribeRules"), count(&calls, "elbv2")), (1, 1), "{:?}", names(&calls));
    assert_eq!((count(&calls, "dynamodb Query"), count(&calls, "dynamodb")), (1, 3), "{:?}", names(&calls));
    assert_eq!(count(&calls, "sns"), 0);
}

#[test]
fn a_tick_that_promotes_adds_the_targets_health_and_the_write() {
    let (world, minute) = about_to_be_promoted();
    let (report, calls) = world.calls_of(|| world.tick(minute));
    assert_eq!(report["decision"], json!("promote"), "{report}");
    within_budget(&calls);
    assert_eq!(count(&calls, "elbv2 ModifyRule"), 1);
    assert_eq!(count(&calls, "elbv2 DescribeTargetHealth"), 1);
    assert_eq!((count(&calls, "dynamodb"), count(&calls, "sns")), (5, 0), "{:?}", names(&calls));
    let freeze = &calls[place(&calls, "dynamodb GetItem")];
    assert_eq!(freeze.params["ConsistentRead"], json!(true), "a freeze of a moment ago counts");
    let (put, write) = (place(&calls, "dynamodb PutItem"), place(&calls, "elbv2 ModifyRule"));
    assert!(put < write, "the intent comes first: {:?}", names(&calls));
}

#[test]
fn a_tick_that_drains_writes_the_weights_before_the_record_and_the_page() {
    let (world, minute) = about_to_be_drained();
    let (report, calls) = world.calls_of(|| world.tick(minute));
    assert_eq!(report["decision"], json!("drain"), "{report}");
    within_budget(&calls);
    let order = ["elbv2 ModifyRule", "dynamodb PutItem", "sns Publish"].map(|name| place(&calls, name));
    assert!(order.is_sorted(), "{:?}", names(&calls));
}

#[test]
fn a_second_tick_of_the_same_minute_changes_nothing() {
    let (world, minute) = about_to_be_promoted();
    world.tick(minute);
    let before = (world.record(), world.rule(), world.log().len());
    let (report, calls) = world.calls_of(|| world.tick(minute));
    assert_eq!(report["decision"], json!("skipped"));
    assert_eq!(names(&calls), ["dynamodb Query"]);
    let (late, calls) = world.calls_of(|| world.tick(minute - 3));
    assert_eq!(late["decision"], json!("skipped"), "an older minute is late, not new");
    assert_eq!(names(&calls), ["dynamodb Query"]);
    assert_eq!((world.record(), world.rule(), world.log().len()), before);
}

/// The same minute's tick in two processes at once, with metrics that are slow enough for both to have
/// read the record before either writes it. Both reports.
fn two_at_once(world: &World, minute: i64) -> [Value; 2] {
    world.faults(&json!([{ "op": "GetMetricData", "kind": "delay", "delay_s": 0.6, "n": 2 }]));
    thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| world.tick(minute)));
        both.map(|tick| tick.join().expect("a tick"))
    })
}

#[test]
fn two_processes_that_tick_at_once_promote_once() {
    let (mut world, minute) = about_to_be_promoted();
    world.add_process();
    let (reports, calls) = world.calls_of(|| two_at_once(&world, minute));
    let mut decisions = reports.map(|report| report["decision"].as_str().unwrap_or_default().to_owned());
    decisions.sort();
    assert_eq!(decisions, ["promote", "skipped"]);
    assert_eq!(count(&calls, "elbv2 ModifyRule"), 1, "{:?}", names(&calls));
    assert_eq!(world.rule().share(&world), 25.0);
    let promotions = world.log().iter().filter(|entry| entry["decision"] == json!("promote")).count();
    assert_eq!(promotions, 2, "the first shift and this one");
}

#[test]
fn two_processes_that_tick_at_once_drain_with_one_page() {
    let (mut world, minute) = about_to_be_drained();
    world.add_process();
    let (reports, _) = world.calls_of(|| two_at_once(&world, minute));
    let mut decisions = reports.map(|report| report["decision"].as_str().unwrap_or_default().to_owned());
    decisions.sort();
    assert_eq!(decisions, ["drain", "skipped"]);
    assert_eq!((world.rule().share(&world), world.record().phase()), (0.0, "drained"));
    world.watch_ends(minute + 1);
    assert_eq!(world.paged(), ["drained"]);
}

#[test]
fn an_abort_during_a_shift_ends_with_the_canary_at_zero_whoever_writes_last() {
    let mut world = World::new();
    world.start_default();
    world.add_process();
    world.faults(&json!([{ "op": "ModifyRule", "delay_s": 2.0 }]));
    let aborted = std::thread::scope(|threads| {
        let tick = threads.spawn(|| world.tick(0));
        let noted = |world: &World| world.record().body["intent"].is_object();
        while !noted(&world) && !tick.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let aborted = world.command("abort", json!({}));
        let report = tick.join().expect("a tick");
        assert_eq!(report["decision"], json!("skipped"), "{report}");
        aborted
    });
    assert!(aborted.is_ok(), "{aborted:?}");
    assert_eq!((world.rule().share(&world), world.record().phase()), (0.0, "drained"));
    assert_eq!(world.paged(), ["drained"]);
}

#[test]
fn every_decision_is_one_line_of_json_in_the_functions_log() {
    let world = World::new();
    world.start_default();
    world.tick(0);
    let log = world.gates[0].log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let decision = lines.iter().find(|line| line["message"] == json!("decision"));
    let decision = decision.unwrap_or_else(|| panic!("no decision: {log}"));
    assert_eq!((&decision["rollout"], &decision["decision"]), (&json!("checkout"), &json!("promote")));
}
