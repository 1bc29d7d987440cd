//! What a rollout rests on may be deleted, or belong to somebody who lets nobody in. It harms no other rollout.

use serde_json::{Value, json};

use crate::many::{add_rule, of};
use crate::outside::count;
use crate::traffic::{Generated, Traffic};
use crate::world::World;

fn says(report: &Value, words: &str) {
    assert!(report["why"].as_str().is_some_and(|why| why.contains(words)), "{words}: {report}");
}

#[test]
fn a_rule_that_was_deleted_is_held_paged_once_and_never_written() {
    let world = World::on_first_step(Generated::HEALTHY);
    world.elb("DeleteRule", &json!({ "RuleArn": world.rule_arn() }));
    let (reports, calls) = world.calls_of(|| (12..22).map(|minute| world.tick(minute)).collect::<Vec<_>>());
    for report in &reports {
        assert_eq!(report["decision"], json!("hold"), "{report}");
        says(report, "RuleNotFound");
    }
    assert_eq!(count(&calls, "elbv2 ModifyRule"), 0);
    assert_eq!((world.record().phase(), world.paged()), ("running", vec!["blind".to_owned()]));
    assert!(world.pages()[0].body.contains("RuleNotFound"), "{:?}", world.pages());
}

#[test]
fn an_abort_ends_a_rollout_whose_rule_was_deleted() {
    let world = World::on_first_step(Generated::HEALTHY);
    world.elb("DeleteRule", &json!({ "RuleArn": world.rule_arn() }));
    let (aborted, calls) = world.calls_of(|| world.command_at(12, "abort", json!({})).expect("an answer"));
    assert_eq!((&aborted["phase"], count(&calls, "elbv2 ModifyRule")), (&json!("drained"), 0), "{aborted}");
    assert!(aborted["why"].as_str().is_some_and(|why| why.contains("sends it nothing")), "{aborted}");
    world.tick(13);
    assert_eq!(world.record().state, "running", "once may be a mistake");
    world.tick(14);
    assert_eq!(world.record().state, "ended");
    assert!(world.tick(15).is_null());
    assert_eq!(world.paged(), ["drained"]);
}

#[test]
fn a_canary_group_that_was_deleted_is_another_hand_and_cannot_be_restored() {
    let world = World::on_first_step(Generated::HEALTHY);
    world.foreign_groups(&[("stable", 1)]);
    world.delete_group("canary");
    let (reports, calls) = world.calls_of(|| (12..15).map(|minute| world.tick(minute)).collect::<Vec<_>>());
    assert_eq!(reports[0]["decision"], json!("freeze"), "{}", reports[0]);
    assert_eq!((world.record().phase(), world.paged()), ("frozen", vec!["frozen".to_owned()]));
    let refused = world.command("resume", json!({ "weights": "restore" })).expect_err("refused");
    assert!(refused.kind == "CommandRefused" && refused.text.contains("TargetGroupNotFound"), "{refused:?}");
    assert_eq!(count(&calls, "elbv2 ModifyRule"), 0);
    let aborted = world.command("abort", json!({})).expect("an abort always works");
    assert_eq!((&aborted["phase"], world.rule().weights(&world)), (&json!("drained"), (100, 0)));
}

#[test]
fn a_canary_group_that_was_deleted_before_the_first_shift_gets_no_traffic() {
    let world = World::seeded(json!({ "weights": { "stable": 100 } }));
    world.start_default();
    world.delete_group("canary");
    let (report, calls) = world.calls_of(|| world.tick(0));
    assert_eq!(report["decision"], json!("hold"));
    says(&report, "TargetGroupNotFound");
    assert_eq!(count(&calls, "elbv2 ModifyRule"), 0);
    assert_eq!(world.record().phase(), "waiting");
}

#[test]
fn a_stable_group_that_was_taken_out_of_the_rule_comes_back_with_a_drain() {
    let world = World::on_first_step(Generated::HARMFUL);
    world.foreign_groups(&[("canary", 1)]);
    let report = world.tick(12);
    assert_eq!((&report["decision"], &report["troubles"]), (&json!("drain"), &json!([])), "{report}");
    assert_eq!(world.rule().weights(&world), (100, 0));

    let world = World::on_first_step(Generated::HEALTHY);
    world.foreign_groups(&[("canary", 1)]);
    let report = world.tick(12);
    assert_eq!(report["decision"], json!("freeze"), "{report}");
    says(&report, "100%");
    assert_eq!((world.rule().weights(&world), world.paged()), ((0, 1), vec!["frozen".to_owned()]));
}

#[test]
fn a_drain_into_a_stable_group_that_was_deleted_is_told_as_failed_and_tried_again() {
    // The listener's own rule names the first group, and what a rule names can't be deleted.
    let seed = json!({ "target_groups": ["canary", "stable"], "weights": { "stable": 100, "canary": 0 } });
    let world = World::on_first_step_of(seed, json!({}), Generated::HARMFUL);
    world.foreign_groups(&[("canary", 1)]);
    world.delete_group("stable");
    for minute in 12..14 {
        let report = world.tick(minute);
        assert!(report["troubles"].to_string().contains("TargetGroupNotFound"), "{report}");
        assert_eq!((world.record().phase(), world.paged()), ("draining", vec!["drain_failed".to_owned()]));
    }
    assert_eq!(world.rule().weights(&world), (0, 1), "the canary is all that there is");
}

/// Two rollouts on the first step, `mine` and `theirs`, each with a rule and two groups of its own; minute 12
/// is about to decide. The rule of each.
fn two(mine: Generated, theirs: Generated) -> (World, [String; 2]) {
    let rollouts = [("mine", mine), ("theirs", theirs)];
    let names_of = |id: &str| [format!("{id}-stable"), format!("{id}-canary")];
    let groups: Vec<String> = rollouts.iter().flat_map(|(id, _)| names_of(id)).collect();
    let world = World::seeded(json!({ "target_groups": groups, "weights": { &groups[0]: 1 } }));
    let mut priority = 20;
    let rules = rollouts.map(|(id, _)| {
        let [stable, canary] = names_of(id);
        priority += 1;
        let rule = add_rule(&world, priority, &stable, &canary);
        let targets = json!({
            "rollout": id, "listener_rule": rule, "stable": world.group(&stable), "canary": world.group(&canary),
            "bake": "3m", "min_requests": 200, "checks": { "errors": {} },
        });
        world.start(&targets);
        rule
    });
    world.tick_all(0);
    for minute in 0..15 {
        for (id, traffic) in &rollouts {
            let counts = traffic.at(minute, 5.0);
            for (group, counts) in names_of(id).iter().zip([counts.stable, counts.canary]) {
                world.publish_group(minute, group, &counts.expect("traffic on both"));
            }
        }
    }
    (world, rules)
}

/// As the load balancer of another account, or a rule that the policy forgot, answers.
fn denied(operation: &str, rule: &str) -> Value {
    json!({ "op": operation, "code": "AccessDenied", "status": 403, "match": rule, "n": -1 })
}

#[test]
fn a_rule_that_may_not_be_read_blinds_no_other_rollout() {
    let (world, [mine, theirs]) = two(Generated::HEALTHY, Generated::HEALTHY);
    world.faults(&json!([denied("DescribeRules", &theirs)]));
    let report = world.tick_all(12);
    assert_eq!(of(&report, "mine")["decision"], json!("promote"), "{report}");
    assert_eq!(of(&report, "theirs")["decision"], json!("hold"), "{report}");
    says(of(&report, "theirs"), "denied");
    let rule = world.rule_of(&mine);
    assert_eq!(rule.weight(world.group("mine-canary")) * 3, rule.weight(world.group("mine-stable")));
}

#[test]
fn a_rule_that_may_not_be_written_stalls_no_other_rollout() {
    let (world, [mine, theirs]) = two(Generated::HARMFUL, Generated::HARMFUL);
    world.faults(&json!([denied("ModifyRule", &theirs)]));
    let report = world.tick_all(12);
    assert_eq!(of(&report, "mine")["phase"], json!("drained"), "{report}");
    assert_eq!(of(&report, "theirs")["phase"], json!("draining"), "{report}");
    let mut paged = world.paged();
    paged.sort();
    assert_eq!(paged, ["drain_failed", "drained"]);
    let weight = |rule: &str, group: &str| world.rule_of(rule).weight(world.group(group));
    assert_eq!((weight(&mine, "mine-canary"), weight(&theirs, "theirs-canary")), (0, 5));
    world.no_faults();
    world.tick_all(13);
    assert_eq!(weight(&theirs, "theirs-canary"), 0);
}

#[test]
fn a_rollout_on_a_rule_that_may_not_be_read_is_not_started() {
    let world = World::new();
    world.faults(&json!([denied("DescribeRules", world.rule_arn())]));
    let start = json!({ "plan": world.plan(json!({})), "rollout": null });
    let failed = world.command("start", start).expect_err("refused");
    assert!(failed.kind == "CallFailed" && failed.text.contains("DescribeRules: denied"), "{failed:?}");
    assert_eq!(world.record_of("checkout"), None);
}
