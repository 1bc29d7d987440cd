//! Deployments that ECS carries out itself: its Lambda hooks are answered at once and asked again, its pause hooks by a
//! tick, and a deployment that shifts to a harmful version is stopped. When a hook asks is as in `hooks`.

use serde_json::{Map, Value, json};

use crate::hooks::{Story, short};
use crate::outside::{Record, count, names};
use crate::traffic::Generated;
use crate::world::with;

const SERVICE: &str = "arn:aws:ecs:us-east-1:123456789012:service/web/shop";
const DEPLOYMENT: &str = "arn:aws:ecs:us-east-1:123456789012:service-deployment/web/shop/aBcDeF";
const OF: &str = "ecs:web/shop";
const ROLLOUT: &str = "shop-abcdef";
const CONTINUE: &str = "ecs ContinueServiceDeployment";
const STOP: &str = "ecs StopServiceDeployment";

fn revision(number: u32) -> String {
    format!("arn:aws:ecs:us-east-1:123456789012:service-revision/web/shop/{number}")
}

/// The service's deployment from revision 1 (stable) to 2 (canary), with some of it changed.
fn register(story: &Story, changes: Value) {
    let deployment = json!({
        "serviceDeploymentArn": DEPLOYMENT,
        "serviceArn": SERVICE,
        "status": "IN_PROGRESS",
        "lifecycleStage": "POST_SCALE_UP",
        "sourceServiceRevisions": [{ "arn": revision(1) }],
        "targetServiceRevision": { "arn": revision(2) },
    });
    let of = |number, group| {
        let rule = story.rule_arn();
        let balancer = json!({ "targetGroupArn": story.group(group), "productionListenerRule": rule });
        json!({
            "serviceRevisionArn": revision(number), "serviceArn": SERVICE,
            "resolvedConfiguration": { "loadBalancers": [balancer] },
        })
    };
    let revisions = json!([of(1, "stable"), of(2, "canary")]);
    let all = json!({ "deployments": [with(deployment, changes)], "revisions": revisions });
    story.endpoint.post("service_deployments", &all);
}

/// In a stage, with what ECS says of it.
fn at_stage(story: &Story, stage: &str) {
    register(story, json!({ "lifecycleStage": stage }));
}

/// The event of a hook; weights of revision 1 and 2, where ECS tells them.
fn event(stage: &str, weights: Option<[u32; 2]>, details: &Value) -> Value {
    let weights: Map<String, Value> = weights
        .map(|weights| (1..).zip(weights).map(|(number, weight)| (revision(number), json!(weight))).collect())
        .unwrap_or_default();
    json!({
        "executionId": "b1c2",
        "lifecycleStage": stage,
        "resourceArn": DEPLOYMENT,
        "executionDetails": {
            "serviceArn": SERVICE,
            "targetServiceRevisionArn": revision(2),
            "testTrafficWeights": {},
            "productionTrafficWeights": weights,
        },
        "hookDetails": details,
    })
}

/// What the function answers ECS.
fn ask(story: &Story, stage: &str, weights: Option<[u32; 2]>, details: &Value) -> Value {
    story.invoke(&event(stage, weights, details)).expect("an answer")
}

/// The answer's status and the word why.
fn status(answer: &Value) -> (&str, &str) {
    let why = answer["hookDetails"]["canary_gate"]["why"].as_str().unwrap_or_default();
    (answer["hookStatus"].as_str().expect("a status"), why)
}

fn record(story: &Story) -> Record {
    story.record_of(ROLLOUT).expect("a record")
}

fn state(story: &Story) -> Value {
    story.endpoint.get("service_deployments")
}

fn stops(story: &Story) -> Vec<Value> {
    state(story)["stops"].as_array().expect("a list").iter().map(|stop| stop["stop_type"].clone()).collect()
}

/// A deployment by the guard's plan that was observed from its first hook on, and gives a tenth of the traffic to the
/// new version.
fn shifting() -> Story {
    let story = Story::new();
    story.guard(OF, &short());
    register(&story, json!({}));
    let answer = ask(&story, "POST_SCALE_UP", None, &Value::Null);
    let (status, why) = status(&answer);
    assert_eq!((status, why), ("SUCCEEDED", "POST_SCALE_UP comes before the traffic: observed from now on"));
    story.shift(90, 10);
    at_stage(&story, "PRODUCTION_TRAFFIC_SHIFT");
    story
}

#[test]
fn every_step_of_a_deployment_waits_for_the_verdict_of_the_step_before() {
    const ASKS: &str = "PRE_PRODUCTION_TRAFFIC_SHIFT";
    let story = Story::new();
    register(&story, json!({}));
    let details = json!({ "plan": short(), "team": "shop" });
    let first = ask(&story, ASKS, Some([100, 0]), &details);
    assert_eq!(status(&first), ("SUCCEEDED", "no production traffic yet: observed from now on"));
    let targets = &record(&story).body["plan"]["targets"];
    assert_eq!(
        (&targets["stable"], &targets["canary"]),
        (&json!(story.group("stable")), &json!(story.group("canary")))
    );
    let mut minute = 0;
    for share in [10, 50] {
        story.shift(100 - share, share);
        let mut details = details.clone();
        let waited = (0..20).find(|_| {
            story.live(minute, &Generated::HEALTHY);
            minute += 1;
            let (answer, calls) = story.meanwhile(|| ask(&story, ASKS, None, &details));
            assert!(names(&calls).iter().all(|name| !name.contains("Put") && !name.contains("Stop")));
            details = answer["hookDetails"].clone();
            assert_eq!((&details["plan"], &details["team"]), (&short(), &json!("shop")), "handed back");
            match status(&answer).0 {
                "SUCCEEDED" => {
                    assert_eq!(answer["callBackDelay"], Value::Null);
                    true
                }
                other => {
                    assert_eq!((other, &answer["callBackDelay"]), ("IN_PROGRESS", &json!(60)));
                    assert_eq!(details["canary_gate"]["rollout"], json!(ROLLOUT));
                    false
                }
            }
        });
        assert!(waited.is_some_and(|minutes| minutes >= 5), "{share} %: {waited:?} {}", record(&story).body);
    }
    assert!(stops(&story).is_empty());
    register(&story, json!({ "status": "SUCCESSFUL", "lifecycleStage": "CLEAN_UP" }));
    assert_eq!(story.tick(minute)["phase"], json!("stopped"));
    assert_eq!(record(&story).state, "ended");
}

#[test]
fn an_event_without_its_wrapping_is_understood_too() {
    let story = shifting();
    let mut plain = event("PRE_PRODUCTION_TRAFFIC_SHIFT", Some([90, 10]), &json!({}));
    let Value::Object(inner) = plain["executionDetails"].take() else { panic!("an object") };
    plain.as_object_mut().expect("an object").remove("executionDetails");
    plain.as_object_mut().expect("an object").extend(inner);
    story.live(0, &Generated::HEALTHY);
    let answer = story.invoke(&plain).expect("an answer");
    assert_eq!(status(&answer).0, "IN_PROGRESS", "{answer}");
}

#[test]
fn a_deployment_that_shifts_to_a_harmful_version_is_stopped_in_every_stage_and_its_hooks_let_it_go_back() {
    for stage in ["PRODUCTION_TRAFFIC_SHIFT", "BAKE_TIME"] {
        let story = shifting();
        at_stage(&story, stage);
        let (_, calls) = story.meanwhile(|| story.lives(0..9, Generated::HARMFUL));
        assert_eq!((stops(&story), count(&calls, STOP)), (vec![json!("ROLLBACK")], 1), "{stage}");
        let pages = story.paged();
        assert!(pages.contains(&"deployment_stopped".to_owned()), "{pages:?}");
        // ECS asks the same hooks on its way back.
        assert_eq!(state(&story)["deployments"][0]["status"], json!("ROLLBACK_REQUESTED"));
        let answer = ask(&story, "PRODUCTION_TRAFFIC_SHIFT", Some([100, 0]), &json!({}));
        assert_eq!(status(&answer), ("SUCCEEDED", "the deployment goes back: nothing stands in its way"));
        story.shift(100, 0);
        register(&story, json!({ "status": "ROLLBACK_SUCCESSFUL" }));
        assert_eq!(story.tick(9)["phase"], json!("stopped"));
    }
}

#[test]
fn harm_that_cannot_be_stopped_fails_the_next_hook() {
    let story = shifting();
    story.faults(&json!([{ "op": "StopServiceDeployment", "code": "AccessDeniedException", "n": -1 }]));
    let report = story.lives(0..9, Generated::HARMFUL);
    assert!(report["troubles"].to_string().contains("not stopped"), "{report}");
    assert!(story.paged().contains(&"not_stopped".to_owned()), "{:?}", story.paged());
    let answer = ask(&story, "PRE_PRODUCTION_TRAFFIC_SHIFT", Some([50, 50]), &json!({ "team": "shop" }));
    assert_eq!(status(&answer).0, "FAILED", "{answer}");
    assert!(status(&answer).1.contains("errors"), "{answer}");
    // ECS takes the weights back, and does not say so yet.
    let back = ask(&story, "PRODUCTION_TRAFFIC_SHIFT", Some([100, 0]), &json!({}));
    assert_eq!(status(&back), ("SUCCEEDED", "the new revision loses traffic: nothing stands in its way"));
}

#[test]
fn a_first_deployment_is_let_through_with_a_note() {
    let story = Story::new();
    register(&story, json!({ "sourceServiceRevisions": [] }));
    for stage in ["POST_SCALE_UP", "PRE_PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT"] {
        let answer = ask(&story, stage, None, &json!({ "team": "shop" }));
        assert_eq!(
            status(&answer),
            ("SUCCEEDED", "the first deployment: there is no other version to compare it with")
        );
        assert_eq!(answer["hookDetails"]["team"], json!("shop"));
    }
    assert_eq!(story.record_of(ROLLOUT), None);
}

#[test]
fn a_deployment_that_nobody_knows_is_put_off_some_times_and_then_goes_back() {
    let story = Story::new();
    let mut details = json!({ "team": "shop" });
    for tries in 1..10 {
        let answer = ask(&story, "PRE_PRODUCTION_TRAFFIC_SHIFT", None, &details);
        assert_eq!(status(&answer).0, "IN_PROGRESS", "{tries}: {answer}");
        details = answer["hookDetails"].clone();
    }
    let answer = ask(&story, "PRE_PRODUCTION_TRAFFIC_SHIFT", None, &details);
    assert_eq!(status(&answer).0, "FAILED", "{answer}");
    assert!(status(&answer).1.contains("no service deployment"), "{answer}");
}

#[test]
fn a_deployment_without_two_groups_behind_a_rule_is_refused_at_once() {
    let story = Story::new();
    register(&story, json!({}));
    let bare = json!({ "serviceRevisionArn": revision(2), "resolvedConfiguration": { "loadBalancers": [] } });
    story.endpoint.post("service_deployments", &json!({ "revisions": [bare] }));
    let answer = ask(&story, "POST_SCALE_UP", None, &json!({}));
    assert_eq!(status(&answer).0, "FAILED", "{answer}");
    assert!(status(&answer).1.contains("name listener_rule, stable and canary"), "{answer}");
}

#[test]
fn the_rule_is_found_where_ecs_names_the_listener() {
    let story = Story::new();
    register(&story, json!({}));
    let of = |number, group| {
        let listener = &story.scene["listener_arn"];
        let balancer = json!({ "targetGroupArn": story.group(group), "productionListenerRule": listener });
        json!({
            "serviceRevisionArn": revision(number), "resolvedConfiguration": { "loadBalancers": [balancer] },
        })
    };
    story.endpoint.post("service_deployments", &json!({ "revisions": [of(1, "stable"), of(2, "canary")] }));
    ask(&story, "POST_SCALE_UP", None, &json!({}));
    assert_eq!(record(&story).body["plan"]["targets"]["listener_rule"], json!(story.rule_arn()));
}

/// A pause hook waits, in a deployment that is observed.
fn pausing() -> Story {
    let story = shifting();
    let pause = json!({
        "hookId": "hook-1", "targetType": "PAUSE", "status": "AWAITING_ACTION", "timeoutAction": "ROLLBACK",
    });
    let lambda = json!({ "hookId": "hook-2", "targetType": "AWS_LAMBDA", "status": "SUCCEEDED" });
    let stage = "POST_PRODUCTION_TRAFFIC_SHIFT";
    register(&story, json!({ "lifecycleStage": stage, "lifecycleHookDetails": [lambda, pause] }));
    story
}

fn answers(story: &Story) -> Vec<Value> {
    let answers = state(story)["answers"].clone();
    let all = answers.as_array().expect("a list").iter();
    all.map(|answer| with(answer.clone(), json!({ "at": null }))).collect()
}

#[test]
fn a_pause_hook_is_answered_by_the_tick_that_knows() {
    for (traffic, action) in [(Generated::HEALTHY, "CONTINUE"), (Generated::HARMFUL, "ROLLBACK")] {
        let story = pausing();
        story.lives(0..3, traffic);
        assert_eq!(answers(&story), [] as [Value; 0]);
        assert_eq!(record(&story).body["gates"].as_array().map(Vec::len), Some(1));
        let (_, calls) = story.meanwhile(|| story.lives(3..10, traffic));
        assert_eq!(answers(&story), [json!({ "arn": DEPLOYMENT, "hook_id": "hook-1", "action": action })]);
        assert_eq!((count(&calls, CONTINUE), count(&calls, STOP)), (1, 0), "told once, and that is enough");
        assert_eq!(record(&story).body["gates"], json!([]));
    }
}

#[test]
fn a_deployment_with_pause_hooks_alone_is_observed_from_the_first_that_waits() {
    let story = Story::new();
    story.guard(OF, &short());
    let pause = |hook: &str, stage: &str| {
        let pauses = json!([{ "hookId": hook, "targetType": "PAUSE", "status": "AWAITING_ACTION" }]);
        register(&story, json!({ "lifecycleStage": stage, "lifecycleHookDetails": pauses }));
        let event = json!({
            "version": "0", "source": "aws.ecs", "detail-type": "ECS Hook State Change",
            "resources": [SERVICE], "detail": { "eventName": "HOOK_AWAITING_ACTION", "hookId": hook,
            "serviceDeploymentArn": DEPLOYMENT },
        });
        story.invoke(&event).expect("an answer")
    };
    assert_eq!(pause("hook-0", "POST_SCALE_UP")["parked"], json!(true));
    story.live(0, &Generated::HEALTHY);
    let go_on = |hook: &str| json!({ "arn": DEPLOYMENT, "hook_id": hook, "action": "CONTINUE" });
    assert_eq!(answers(&story), [go_on("hook-0")], "it comes before the traffic");
    story.shift(90, 10);
    assert_eq!(pause("hook-1", "POST_PRODUCTION_TRAFFIC_SHIFT")["rollout"], json!(ROLLOUT));
    story.lives(1..4, Generated::HEALTHY);
    assert_eq!(answers(&story).len(), 1);
    story.lives(4..10, Generated::HEALTHY);
    assert_eq!(answers(&story)[1..], [go_on("hook-1")]);
}

#[test]
fn a_pause_hook_of_which_nothing_is_known_in_time_is_told_to_go_back() {
    let story = pausing();
    let sparse = Generated { per_minute: 20, ..Generated::HEALTHY };
    story.lives(0..4, sparse);
    for minute in 4..60 {
        story.publish_all(minute, 10.0, &sparse);
    }
    // It was seen by the tick of minute 0.
    story.tick(54);
    assert_eq!(answers(&story), [] as [Value; 0]);
    story.tick(55);
    assert_eq!(answers(&story), [json!({ "arn": DEPLOYMENT, "hook_id": "hook-1", "action": "ROLLBACK" })]);
    assert_eq!(story.paged(), ["gate_timed_out"]);
}

#[test]
fn a_pause_hook_that_a_person_has_answered_is_done_with_and_one_that_is_refused_is_told_again() {
    let story = pausing();
    story.lives(0..4, Generated::HEALTHY);
    story.faults(&json!([{ "op": "ContinueServiceDeployment", "code": "AccessDeniedException", "n": -1 }]));
    let report = story.lives(4..8, Generated::HEALTHY);
    assert!(report["troubles"].to_string().contains("not told"), "{report}");
    assert_eq!(record(&story).body["gates"][0]["told"]["pass"], json!(true));
    story.no_faults();
    // Meanwhile somebody pressed the button.
    let target = "AmazonEC2ContainerServiceV20141113.ContinueServiceDeployment";
    let headers = [("X-Amz-Target", target), ("Content-Type", "application/x-amz-json-1.1")];
    let theirs = json!({ "serviceDeploymentArn": DEPLOYMENT, "hookId": "hook-1", "action": "CONTINUE" });
    story.endpoint.aws("ecs", &headers, &theirs.to_string());
    let (report, calls) = story.meanwhile(|| story.live(8, &Generated::HEALTHY));
    let refused: Vec<_> =
        calls.iter().filter(|call| call.name == CONTINUE).map(|call| call.error.as_deref()).collect();
    assert_eq!(refused, [Some("InvalidParameterException")]);
    assert_eq!((&report["troubles"], &record(&story).body["gates"]), (&json!([]), &json!([])), "{report}");
}
