//! Sticky clients stay on a group of weight zero, so a drain has to free them; ALB does not always let it.

use serde_json::{Value, json};

use crate::outside::Call;
use crate::traffic::Generated;
use crate::world::World;

/// About to be drained, behind a rule whose clients stick to their group for an hour.
fn sticky() -> World {
    let seed = json!({ "stickiness": { "enabled": true, "duration_s": 3600 } });
    World::on_first_step_of(seed, json!({ "sticky": "no" }), Generated::HARMFUL)
}

/// Clients stick to a target of the group, too: now ALB insists on group stickiness.
fn with_target_stickiness(world: &World, group: &str) {
    let attributes = json!([{ "Key": "stickiness.enabled", "Value": "true" }]);
    let parameters = json!({ "TargetGroupArn": world.group(group), "Attributes": attributes });
    world.elb("ModifyTargetGroupAttributes", &parameters);
}

/// Minute 12's tick, which must drain; its report, and what came of each write of the rule.
fn drained(world: &World) -> (Value, Vec<Option<String>>) {
    let (report, calls) = world.calls_of(|| world.tick(12));
    assert_eq!((&report["decision"], world.rule().share(world)), (&json!("drain"), 0.0), "{report}");
    assert_eq!((world.record().phase(), world.paged()), ("drained", vec!["drained".to_owned()]));
    let writes = calls.into_iter().filter(|call| call.name == "elbv2 ModifyRule");
    (report, writes.map(|Call { error, .. }| error).collect())
}

fn refused() -> Option<String> {
    Some("InvalidLoadBalancerAction".to_owned())
}

#[test]
fn a_drain_switches_group_stickiness_off_with_the_weights() {
    let world = sticky();
    let (report, writes) = drained(&world);
    assert_eq!((writes, &report["troubles"]), (vec![None], &json!([])));
    assert_eq!((world.rule().weights(&world), world.rule().sticky), ((100, 0), (false, Some(3600))));
    assert!(world.rule().xml.contains(world.group("canary")), "its health checks go on");
}

#[test]
fn where_targets_are_sticky_a_drain_takes_the_canarys_group_out_of_the_rule() {
    for group in ["stable", "canary"] {
        let world = sticky();
        with_target_stickiness(&world, group);
        let (report, writes) = drained(&world);
        assert_eq!((writes, &report["troubles"]), (vec![refused(), None], &json!([])), "{group}");
        let rule = world.rule();
        assert!(!rule.xml.contains(world.group("canary")), "{}", rule.xml);
        assert_eq!((rule.weights(&world), rule.sticky), ((100, 0), (true, Some(3600))));
    }
}

#[test]
fn a_drain_that_may_free_no_sticky_client_still_sets_the_weight_to_zero_and_says_so() {
    let world = sticky();
    with_target_stickiness(&world, "canary");
    let code = refused();
    world.faults(&json!([{ "op": "ModifyRule", "code": code, "skip": 1 }]));
    let (report, writes) = drained(&world);
    assert_eq!(writes, [refused(), refused(), None]);
    assert_eq!((world.rule().weights(&world), world.rule().sticky), ((100, 0), (true, Some(3600))));
    let trouble = report["troubles"][0].as_str().unwrap_or_default();
    assert!(trouble.contains("clients that stick to the canary may still reach it"), "{report}");
}
