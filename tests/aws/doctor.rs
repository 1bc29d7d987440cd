//! `canary-gate doctor` finds what is planted.

use serde_json::{Value, json};

use crate::gate::TABLE;
use crate::outside::{Call, percent_encoded};
use crate::person::{operator, out};
use crate::traffic::{Counts, Minute};
use crate::world::{World, with};

const STABLE: Counts = Counts { requests: 1_900, classes: [1_900, 0, 0, 0] };

/// Stable has traffic, the function's ticks are carried out, on-call is subscribed.
fn well(seed: Value) -> World {
    let world = World::seeded(seed);
    for minute in -40..1 {
        world.publish(minute, &Minute { stable: Some(STABLE), canary: None });
    }
    ticks(&world, 1);
    world
}

/// The function's word on its last ticks.
fn ticks(world: &World, value: u32) {
    let point = |minute: i64| {
        json!({
            "namespace": "canary-gate", "name": "TicksCompleted", "dimensions": { "FunctionName": TABLE },
            "minute": world.minute(minute), "value": value, "replace": true,
        })
    };
    world.endpoint.post("metrics", &json!((-20..1).map(point).collect::<Vec<_>>()));
}

/// The exit status, and the findings by their state: `[["fault", "rule"], ...]` and the whole.
fn examined(world: &World, plan: &Value, arguments: &[&str]) -> (Option<i32>, Vec<[String; 2]>, Value) {
    let arguments = [&["doctor", "-", "--format", "json"], arguments].concat();
    let output = operator(world, &arguments, &plan.to_string());
    let answer: Value = serde_json::from_str(&out(&output))
        .unwrap_or_else(|error| panic!("{error}: {}", crate::person::err(&output)));
    let text = |finding: &Value, key: &str| finding[key].as_str().expect("a text").to_owned();
    let found = answer["findings"].as_array().expect("findings").iter();
    let found = found.map(|finding| [text(finding, "state"), text(finding, "of")]).collect();
    (output.status.code(), found, answer)
}

/// Exactly this fault is found, and what to do about it is said.
fn finds(world: &World, plan: &Value, arguments: &[&str], of: &str, said: &str) {
    let (status, found, answer) = examined(world, plan, arguments);
    let faults: Vec<&str> =
        found.iter().filter(|[state, _]| state == "fault").map(|[_, of]| of.as_str()).collect();
    assert_eq!((status, &faults[..]), (Some(1), &[of][..]), "{answer:#}");
    let fault =
        answer["findings"].as_array().expect("findings").iter().find(|finding| finding["state"] == "fault");
    let fault = fault.expect("it was counted");
    let text = format!("{} {}", fault["found"], fault["fix"]);
    assert!(text.contains(said), "{said} is missing in {text}");
    assert!(fault["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "what to do: {fault}");
}

#[test]
fn a_well_installation_has_no_fault_and_nothing_is_changed() {
    let world = well(json!({}));
    let plan = world.plan(json!({}));
    let ((status, found, answer), calls) = world.calls_of(|| examined(&world, &plan, &[]));
    assert_eq!(status, Some(0), "{answer:#}");
    assert!(found.iter().all(|[state, _]| state == "fine"), "{answer:#}");
    let reads = |call: &Call| ["Get", "Query", "Describe"].iter().any(|read| call.name.contains(read));
    assert!(calls.iter().all(reads), "{calls:?}");
    let text = out(&operator(&world, &["doctor", "-"], &plan.to_string()));
    assert!(text.contains("ok      rule") && text.contains("No fault was found"), "{text}");
}

#[test]
fn what_is_wrong_with_rule_and_groups_is_found() {
    let gone = |world: &World| {
        let arn = world.rule_arn();
        json!(format!("{}0123456789abcdef", &arn[..arn.len() - 16]))
    };
    let world = well(json!({}));
    finds(&world, &world.plan(json!({ "listener_rule": gone(&world) })), &[], "rule", "listener_rule");

    let weighted = |weights: Value| well(json!({ "weights": weights }));
    let world = weighted(json!({ "stable": 90, "canary": 10 }));
    finds(&world, &world.plan(json!({})), &[], "weights", "canary's weight to 0");
    let world = weighted(json!({ "stable": 0, "canary": 100 }));
    finds(&world, &world.plan(json!({})), &[], "weights", "give stable all the traffic");

    let sticky = json!({ "stickiness": { "enabled": true, "duration_s": 60 } });
    let world = well(sticky);
    finds(&world, &world.plan(json!({ "sticky": "no" })), &[], "stickiness", "sticky: auto");
    let (status, found, _) = examined(&world, &world.plan(json!({})), &[]);
    assert_eq!(status, Some(0));
    assert!(found.contains(&["notice".to_owned(), "stickiness".to_owned()]), "{found:?}");

    for of in ["stable", "canary"] {
        let world = well(json!({}));
        let unwell = json!([{ "id": "i-1", "state": "unhealthy" }]);
        world.endpoint.post("health", &json!({ world.group(of): unwell }));
        finds(&world, &world.plan(json!({})), &[], of, "no healthy target");
    }
}

#[test]
fn what_is_wrong_with_metrics_is_found() {
    let world = well(json!({}));
    let denied = json!({ "op": "GetMetricData", "code": "AccessDenied", "status": 403, "n": 1, "match": "RequestCount" });
    world.faults(&json!([denied]));
    finds(&world, &world.plan(json!({})), &[], "metrics", "allow cloudwatch:GetMetricData");

    let world = World::new();
    ticks(&world, 1);
    finds(&world, &world.plan(json!({})), &[], "metrics", "no request in 30 min");
    for minute in -30..-8 {
        world.publish(minute, &Minute { stable: Some(STABLE), canary: None });
    }
    finds(&world, &world.plan(json!({})), &[], "metrics", "CANARY_GATE_WATERMARK");

    let world = well(json!({}));
    let much = json!({ "min_requests": 1_000_000, "decide_within": "30m" });
    finds(&world, &world.plan(much), &[], "traffic", "raise the first step");
}

#[test]
fn what_is_wrong_with_the_installation_is_found() {
    let world = well(json!({}));
    let plan = world.plan(json!({}));
    // By the name of the table the function is known, too.
    finds(&world, &plan, &["--table", "another", "--function", TABLE], "table", "--table");
    finds(&world, &plan, &["--function", "another"], "ticks", "schedule is enabled");
    ticks(&world, 0);
    finds(&world, &plan, &[], "ticks", "carried out");
    ticks(&world, 1);
    let nobody = world.scene["topic_arn"].as_str().expect("a topic").replace("pages", "nobody") + "-of";
    finds(&world, &plan, &["--topic-arn", &nobody], "pages", "pages to this one are lost");
    let form = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
    let quiet = world.endpoint.aws("sns", &[form], "Action=CreateTopic&Name=quiet&Version=2010-03-31");
    let quiet =
        quiet.split("<TopicArn>").nth(1).and_then(|rest| rest.split('<').next()).expect("an ARN").to_owned();
    finds(&world, &plan, &["--topic-arn", &quiet], "pages", "subscribe on-call");
    let subscribe = format!(
        "Action=Subscribe&TopicArn={}&Protocol=email&Endpoint=oncall%40example.com&Version=2010-03-31",
        percent_encoded(&quiet)
    );
    world.endpoint.aws("sns", &[form], &subscribe);
    finds(&world, &plan, &["--topic-arn", &quiet], "pages", "1 have not confirmed");
    world.endpoint.post("clock", &json!({ "ahead_s": 600 }));
    finds(&world, &plan, &[], "clock", "s behind AWS's");
    world.endpoint.post("clock", &json!({ "ahead_s": 0 }));
    world.start(&with(plan.clone(), json!({ "rollout": "other" })));
    finds(&world, &plan, &[], "rollouts", "other runs on this rule");
}

#[test]
fn a_running_rollouts_own_weights_are_no_fault_and_a_foreign_hand_on_them_is() {
    let world = well(json!({})).now_is_before(1);
    ticks(&world, 1);
    let plan = world.plan(json!({}));
    world.start(&plan);
    world.tick(0);
    assert_eq!(world.rule().share(&world), 5.0);
    let (status, _, answer) = examined(&world, &plan, &[]);
    assert_eq!(status, Some(0), "{answer:#}");
    // By its name, without the plan's file.
    let named = operator(&world, &["doctor", "--rollout", "checkout"], "");
    assert_eq!(named.status.code(), Some(0), "{}", out(&named));
    world.foreign_weights(70, 30);
    finds(&world, &plan, &[], "weights", "leave them alone");
}

#[test]
fn a_denied_call_is_found_one_by_one() {
    let world = well(json!({}));
    let plan = world.plan(json!({}));
    for (operation, of) in [
        ("DescribeRules", "rule"),
        ("Query", "table"),
        ("GetItem", "freeze"),
        ("GetTopicAttributes", "pages"),
    ] {
        world.faults(&json!([{ "op": operation, "code": "AccessDenied", "status": 403, "n": -1 }]));
        finds(&world, &plan, &[], of, "denied");
        world.no_faults();
    }
}
