//! Deployments that CodeDeploy carries out, and owns the weights of: what asks whether it may go on is told what
//! the rollout that looks on has found.
//!
//! A hook's event carries no time. It comes by the machine's clock, just before minute 0, wherever it stands in a
//! story; the ticks after it have the story's minutes.

use std::cell::Cell;
use std::ops::{Deref, Range};
use std::thread;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::outside::{Call, Record, count, names};
use crate::traffic::{Generated, Traffic};
use crate::world::{Failed, World, with};

const DEPLOYMENT: &str = "d-ABCDEF123";
const OF: &str = "codedeploy:shop/shop-prod";
const ROLLOUT: &str = "shop-prod-d-abcdef123";
const PUT: &str = "codedeploy PutLifecycleEventHookExecutionStatus";
const STOP: &str = "codedeploy StopDeployment";
/// The lifecycle of an ECS deployment, in order.
const STAGES: [&str; 8] = [
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "AllowTestTraffic",
    "AfterAllowTestTraffic",
    "BeforeAllowTraffic",
    "AllowTraffic",
    "AfterAllowTraffic",
];
/// Too little traffic to know anything by.
const SPARSE: Generated = Generated { per_minute: 20, ..Generated::HEALTHY };

/// A world whose weights are another system's, which the test plays. In the end nobody else has written any.
pub(crate) struct Story {
    world: World,
    /// Writes of the load balancer by the test.
    written: Cell<usize>,
}

impl Deref for Story {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if !thread::panicking() {
            let calls = Call::read(&self.endpoint);
            let writes: Vec<_> = names(&calls).into_iter().filter(|name| writes_weights(name)).collect();
            assert_eq!(writes.len(), self.written.get(), "the weights are another system's: {writes:?}");
        }
    }
}

fn writes_weights(name: &str) -> bool {
    name.starts_with("elbv2 ") && !name.starts_with("elbv2 Describe")
}

impl Story {
    pub(crate) fn new() -> Self {
        Self { world: World::new(), written: Cell::new(0) }
    }

    /// The deployments of `of` are judged by a plan.
    pub(crate) fn guard(&self, of: &str, plan: &Value) {
        let told = self.command("guard", json!({ "of": of, "plan": plan, "rollout": null }));
        told.unwrap_or_else(|failed| panic!("guard: {failed:?}"));
    }

    /// A call of the load balancer by the one who owns it.
    pub(crate) fn written(&self, action: &str, parameters: &Value) {
        self.elb(action, parameters);
        self.written.set(self.written.get() + 1);
    }

    /// The owner shifts the traffic.
    pub(crate) fn shift(&self, stable: u32, canary: u32) {
        self.foreign_weights(stable, canary);
        self.written.set(self.written.get() + 1);
    }

    /// Some minutes; the last one's report.
    pub(crate) fn lives(&self, minutes: Range<i64>, traffic: Generated) -> Value {
        minutes.map(|minute| self.live(minute, &traffic)).last().expect("a minute")
    }

    /// What comes of `act`, and the calls meanwhile; the journal keeps them, for the end.
    pub(crate) fn meanwhile<T>(&self, act: impl FnOnce() -> T) -> (T, Vec<Call>) {
        let before = Call::read(&self.endpoint).len();
        let done = act();
        (done, Call::read(&self.endpoint).split_off(before))
    }
}

/// What judges soon.
pub(crate) fn short() -> Value {
    json!({ "bake": "3m", "min_requests": 200, "checks": { "errors": {} } })
}

/// A deployment in one of its stages, with some of what CodeDeploy says of it changed.
fn register(story: &Story, stage: &str, info: Value) {
    let at = STAGES.iter().position(|name| *name == stage).expect("a stage");
    let status = |place: usize| match place.cmp(&at) {
        std::cmp::Ordering::Less => "Succeeded",
        std::cmp::Ordering::Equal => "InProgress",
        std::cmp::Ordering::Greater => "Pending",
    };
    let events: Vec<Value> = (0..)
        .zip(STAGES)
        .map(|(place, name)| json!({ "lifecycleEventName": name, "status": status(place) }))
        .collect();
    let set = |label: &str, group: &str| json!({ "taskSetLabel": label, "targetGroup": { "name": group } });
    let mut sets = vec![set("Blue", "stable")];
    if at > 1 {
        sets.push(set("Green", "canary"));
    }
    let pair = json!({
        "targetGroups": [{ "name": "canary" }, { "name": "stable" }],
        "prodTrafficRoute": { "listenerArns": [story.scene["listener_arn"]] },
    });
    let all = json!({
        "applicationName": "shop",
        "deploymentGroupName": "shop-prod",
        "computePlatform": "ECS",
        "loadBalancerInfo": { "targetGroupPairInfoList": [pair] },
    });
    let target = json!({ "targetId": "web:shop", "lifecycleEvents": events, "taskSetsInfo": sets });
    let (info, hooks) = (with(all, info), ["before", "after"]);
    let targets = json!([{ "ecsTarget": target }]);
    let deployment = json!({ "id": DEPLOYMENT, "hooks": hooks, "info": info, "targets": targets });
    story.endpoint.post("deployments", &json!([deployment]));
}

fn at_stage(story: &Story, stage: &str) {
    register(story, stage, json!({}));
}

/// Invokes the function as CodeDeploy does.
fn ask(story: &Story, execution: &str) -> Result<Value, Failed> {
    story.invoke(&json!({ "DeploymentId": DEPLOYMENT, "LifecycleEventHookExecutionId": execution }))
}

/// What the deployment's hooks were told, in order.
fn told(story: &Story) -> Vec<(String, String)> {
    let hooks = story.endpoint.get("hooks");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let all = hooks["answers"].as_array().expect("a list").iter();
    all.map(|answer| {
        assert_eq!(answer["deployment_id"], json!(DEPLOYMENT));
        (text(&answer["hook_id"]), text(&answer["status"]))
    })
    .collect()
}

fn answer(execution: &str, status: &str) -> (String, String) {
    (execution.to_owned(), status.to_owned())
}

fn stops(story: &Story) -> Value {
    let stops = story.endpoint.get("hooks")["stops"].clone();
    stops.as_array().expect("a list").iter().map(|stop| with(stop.clone(), json!({ "at": null }))).collect()
}

fn record(story: &Story) -> Record {
    story.record_of(ROLLOUT).expect("a record")
}

/// A deployment by the guard's plan whose first hook was answered, and that gives a tenth of the traffic to the
/// new version.
fn shifting(plan: &Value) -> Story {
    let story = Story::new();
    story.guard(OF, plan);
    at_stage(&story, "BeforeAllowTraffic");
    let begun = ask(&story, "before").expect("an answer");
    assert_eq!((&begun["answer"], &begun["rollout"]), (&json!("pass"), &json!(ROLLOUT)), "{begun}");
    assert_eq!(told(&story), [answer("before", "Succeeded")]);
    at_stage(&story, "AllowTraffic");
    story.shift(90, 10);
    story
}

/// All traffic is on the new version, and the last hook asks.
fn asked_last(story: &Story) -> Value {
    story.shift(0, 100);
    at_stage(story, "AfterAllowTraffic");
    let parked = ask(story, "after").expect("an answer");
    assert_eq!((&parked["parked"], &parked["rollout"]), (&json!(true), &json!(ROLLOUT)), "{parked}");
    parked
}

#[test]
fn a_hook_is_parked_with_reads_alone_and_a_later_tick_says_that_the_canary_is_healthy() {
    let story = shifting(&short());
    story.lives(0..8, Generated::HEALTHY);
    let (_, calls) = story.meanwhile(|| asked_last(&story));
    let changes = |name: &&str| {
        !["Get", "List", "Describe", "Modify"]
            .iter()
            .any(|verb| name.split(' ').nth(1).unwrap().starts_with(verb))
    };
    let changes: Vec<_> = names(&calls).into_iter().filter(changes).collect();
    assert_eq!(changes, ["dynamodb PutItem"], "but for the record");
    assert_eq!(told(&story), [answer("before", "Succeeded")]);
    // CloudWatch is some minutes late: the last ones with both versions are waited for.
    story.lives(8..10, Generated::HEALTHY);
    assert_eq!(told(&story).len(), 1);
    let (report, calls) = story.meanwhile(|| story.live(10, &Generated::HEALTHY));
    assert_eq!(told(&story), [answer("before", "Succeeded"), answer("after", "Succeeded")], "{report}");
    let puts: Vec<_> = calls.iter().filter(|call| call.name == PUT).map(|call| &call.params).collect();
    let put = json!({
        "deploymentId": DEPLOYMENT, "lifecycleEventHookExecutionId": "after", "status": "Succeeded",
    });
    assert_eq!(puts, [&put]);
    assert_eq!((&record(&story).body["gates"], &report["troubles"]), (&json!([]), &json!([])));
    // CodeDeploy goes on, and is done.
    story.endpoint.post("deployments", &json!([{ "id": DEPLOYMENT, "status": "Succeeded" }]));
    let (report, calls) = story.meanwhile(|| story.tick(11));
    assert_eq!((&report["phase"], count(&calls, PUT)), (&json!("stopped"), 0), "{report}");
    assert_eq!(record(&story).state, "ended");
    assert!(story.tick(12).is_null());
}

/// Healthy, and shifted to a hundred percent at minute 8 while it turns bad from a minute on; the hook waits.
fn turned_bad(from: i64, bad: f64) -> (Story, Generated) {
    let story = shifting(&short());
    let turns_bad = Generated { canary_bad_from: Some((from, bad)), ..Generated::HEALTHY };
    story.lives(0..8, turns_bad);
    assert_eq!(record(&story).body["proven"], json!(10.0));
    asked_last(&story);
    story.live(8, &turns_bad);
    assert_eq!(told(&story).len(), 1, "what was proven was not all");
    (story, turns_bad)
}

#[test]
fn harm_in_the_last_minutes_before_a_hundred_percent_is_told_to_the_hook_that_waits() {
    let (story, traffic) = turned_bad(6, 0.3);
    let (last, calls) = story.meanwhile(|| {
        (9..14).find(|minute| {
            story.live(*minute, &traffic);
            told(&story).len() > 1
        })
    });
    assert_eq!(told(&story)[1..], [answer("after", "Failed")], "{}", record(&story).body);
    assert_eq!((count(&calls, PUT), count(&calls, STOP)), (1, 0), "who is told to fail goes back by itself");
    story.endpoint.post("deployments", &json!([{ "id": DEPLOYMENT, "status": "Failed" }]));
    let report = story.live(last.expect("a minute") + 1, &traffic);
    assert_eq!((&report["phase"], stops(&story)), (&json!("stopped"), json!([])), "{report}");
}

#[test]
fn a_deployment_that_goes_on_although_its_hook_was_told_to_fail_is_stopped() {
    let (story, traffic) = turned_bad(6, 0.3);
    story.lives(9..16, traffic);
    assert_eq!(told(&story)[1..], [answer("after", "Failed")]);
    assert_eq!(stops(&story), json!([{ "deployment_id": DEPLOYMENT, "auto_rollback": true }]));
}

#[test]
fn doubts_in_the_last_minutes_before_a_hundred_percent_take_the_proof_back() {
    let (story, traffic) = turned_bad(6, 0.05);
    story.lives(9..14, traffic);
    assert_eq!((told(&story).len(), &record(&story).body["proven"]), (1, &Value::Null));
    for minute in 14..60 {
        story.publish(minute, &traffic.at(minute, 100.0));
    }
    let report = story.tick(57);
    assert_eq!(told(&story)[1..], [answer("after", "Failed")], "{report}");
    assert!(story.paged().contains(&"gate_timed_out".to_owned()), "{:?}", story.paged());
}

#[test]
fn a_hook_of_which_nothing_is_known_in_time_is_told_what_the_plan_says() {
    for (on_deadline, status) in [(None, "Failed"), (Some("pass"), "Succeeded")] {
        let story = shifting(&with(short(), json!({ "on_deadline": on_deadline })));
        story.lives(0..3, SPARSE);
        at_stage(&story, "AfterAllowTraffic");
        let parked = ask(&story, "after").expect("an answer");
        let deadline: Timestamp = parked["deadline"].as_str().expect("a time").parse().expect("a time");
        let seconds = deadline.as_second() - Timestamp::now().as_second();
        assert!((54 * 60..=55 * 60).contains(&seconds), "{seconds}");
        for minute in 3..60 {
            story.publish(minute, &SPARSE.at(minute, 10.0));
        }
        let late = (40..58).find(|minute| story.minute(*minute).parse::<Timestamp>().unwrap() >= deadline);
        let late = late.expect("a minute after the deadline");
        story.tick(late - 1);
        assert_eq!(told(&story)[1..], []);
        let report = story.tick(late);
        assert_eq!(told(&story)[1..], [answer("after", status)], "{report}");
        assert_eq!(story.paged(), ["gate_timed_out"]);
        assert!(story.pages()[0].body.contains("no verdict by"), "{}", story.pages()[0].body);
        story.tick(late + 1);
        assert_eq!((told(&story).len(), stops(&story)), (2, json!([])));
    }
}

#[test]
fn an_event_that_is_delivered_twice_waits_once() {
    let story = shifting(&short());
    at_stage(&story, "AfterAllowTraffic");
    let first = ask(&story, "after").expect("an answer");
    let (second, calls) = story.meanwhile(|| ask(&story, "after").expect("an answer"));
    assert_eq!(
        (&first["parked"], &second["parked"], count(&calls, "dynamodb PutItem")),
        (&json!(true), &json!(true), 0)
    );
    assert_eq!(record(&story).body["gates"].as_array().map(Vec::len), Some(1));
    story.lives(0..9, Generated::HEALTHY);
    assert_eq!(told(&story)[1..], [answer("after", "Succeeded")]);
    // And a third time, late: what was answered stays so.
    ask(&story, "after").expect("an answer");
    let report = story.live(9, &Generated::HARMFUL);
    assert_eq!((&report["troubles"], told(&story).len()), (&json!([]), 2), "{report}");
    assert_eq!(record(&story).body["gates"], json!([]));
}

#[test]
fn a_hook_that_another_hand_has_answered_is_done_with() {
    let story = shifting(&short());
    story.lives(0..8, Generated::HEALTHY);
    asked_last(&story);
    let target = "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus";
    let headers = [("X-Amz-Target", target), ("Content-Type", "application/x-amz-json-1.1")];
    let theirs = json!({
        "deploymentId": DEPLOYMENT, "lifecycleEventHookExecutionId": "after", "status": "Failed",
    });
    story.endpoint.aws("codedeploy", &headers, &theirs.to_string());
    let (report, calls) = story.meanwhile(|| story.lives(8..12, Generated::HEALTHY));
    let puts: Vec<_> =
        calls.iter().filter(|call| call.name == PUT).map(|call| call.error.as_deref()).collect();
    assert_eq!(puts, [Some("LifecycleEventAlreadyCompletedException")]);
    assert_eq!((&report["troubles"], &record(&story).body["gates"]), (&json!([]), &json!([])), "{report}");
    assert_eq!(told(&story)[1..], [answer("after", "Failed")], "theirs stands");
    assert!(story.paged().iter().all(|page| page == "observed_healthy"), "{:?}", story.paged());
}

#[test]
fn an_answer_that_is_refused_is_given_again_by_the_next_tick_whatever_is_known_by_then() {
    for code in ["ThrottlingException", "AccessDeniedException"] {
        let story = shifting(&short());
        story.lives(0..8, Generated::HEALTHY);
        asked_last(&story);
        story.faults(&json!([{ "op": "PutLifecycleEventHookExecutionStatus", "code": code, "n": -1 }]));
        let report = story.lives(8..11, Generated::HEALTHY);
        let trouble = report["troubles"][0].as_str().unwrap_or_default();
        assert!(trouble.contains("not told") && trouble.contains(code), "{report}");
        assert_eq!(record(&story).body["gates"][0]["told"]["pass"], json!(true), "it is on record first");
        story.lives(11..14, Generated::HEALTHY);
        assert_eq!(
            story.paged().iter().filter(|page| *page == "gate_not_told").count(),
            1,
            "{:?}",
            story.paged()
        );
        assert_eq!(told(&story).len(), 1);
        story.no_faults();
        story.live(14, &Generated::HARMFUL);
        assert_eq!(told(&story)[1..], [answer("after", "Succeeded")]);
    }
}

#[test]
fn an_answer_that_was_taken_and_called_lost_is_no_trouble() {
    let story = shifting(&short());
    story.lives(0..8, Generated::HEALTHY);
    asked_last(&story);
    let op = "PutLifecycleEventHookExecutionStatus";
    story.faults(&json!([{ "op": op, "kind": "drop", "when": "after" }]));
    let (report, calls) = story.meanwhile(|| story.lives(8..11, Generated::HEALTHY));
    assert_eq!((count(&calls, PUT), &report["troubles"]), (2, &json!([])), "{report}");
    assert_eq!((told(&story).len(), record(&story).body["gates"].clone()), (2, json!([])));
}

#[test]
fn a_hook_before_the_traffic_is_answered_at_once() {
    for stage in ["BeforeInstall", "AfterInstall", "AfterAllowTestTraffic", "BeforeAllowTraffic"] {
        let story = Story::new();
        at_stage(&story, stage);
        let answered = ask(&story, "before").expect("an answer");
        assert_eq!(answered["answer"], json!("pass"), "{stage}: {answered}");
        assert_eq!(told(&story), [answer("before", "Succeeded")], "{stage}");
        let targets = &record(&story).body["plan"]["targets"];
        let [stable, canary] = ["stable", "canary"].map(|name| story.group(name));
        assert_eq!(
            targets,
            &json!({ "listener_rule": story.rule_arn(), "stable": stable, "canary": canary }),
            "{stage}"
        );
    }
}

#[test]
fn the_groups_are_found_where_the_listeners_own_rule_has_them() {
    let story = Story::new();
    let forward = |groups| crate::outside::forward_to(&story, 1, groups);
    story.written("DeleteRule", &json!({ "RuleArn": story.rule_arn() }));
    let listener = story.scene["listener_arn"].clone();
    let shift = |groups| {
        let actions = json!([forward(groups)]);
        story.written("ModifyListener", &json!({ "ListenerArn": listener, "DefaultActions": actions }));
    };
    at_stage(&story, "BeforeAllowTraffic");
    ask(&story, "before").expect("an answer");
    assert_eq!(record(&story).body["plan"]["targets"]["listener_rule"], story.scene["default_rule_arn"]);
    shift(&[("stable", 90), ("canary", 10)]);
    at_stage(&story, "AfterAllowTraffic");
    ask(&story, "after").expect("an answer");
    for minute in 0..9 {
        story.publish(minute, &Generated::HARMFUL.at(minute, 10.0));
        story.tick(minute);
    }
    assert_eq!(told(&story)[1..], [answer("after", "Failed")], "{}", record(&story).body);
}

#[test]
fn a_guards_plan_names_the_groups_of_a_deployment_that_does_not() {
    let story = Story::new();
    let unknown = |stage| register(&story, stage, json!({ "loadBalancerInfo": null }));
    unknown("AfterAllowTraffic");
    let refused = ask(&story, "before").expect("an answer");
    let why = refused["why"].as_str().unwrap_or_default();
    assert_eq!(refused["answer"], json!("fail"), "{refused}");
    assert!(why.contains("name listener_rule, stable and canary") && why.contains(OF), "{why}");
    assert_eq!(told(&story), [answer("before", "Failed")]);
    let plan = with(
        short(),
        json!({
            "listener_rule": story.rule_arn(), "stable": story.group("stable"), "canary": story.group("canary"),
        }),
    );
    story.guard(OF, &plan);
    story.shift(90, 10);
    assert_eq!(ask(&story, "after").expect("an answer")["parked"], json!(true));
    story.lives(0..9, Generated::HEALTHY);
    assert_eq!(told(&story)[1..], [answer("after", "Succeeded")]);
}

#[test]
fn a_deployment_that_nobody_knows_fails_the_invocation_and_leaves_nothing_behind() {
    let story = Story::new();
    let (failed, calls) = story.meanwhile(|| ask(&story, "after").expect_err("an error"));
    assert_eq!(failed.kind, "CallFailed");
    assert!(failed.text.contains("DeploymentDoesNotExistException"), "{}", failed.text);
    assert_eq!(names(&calls), ["codedeploy GetDeployment"]);
}

#[test]
fn a_call_that_fails_while_a_hook_is_parked_fails_the_invocation_and_lambda_hands_the_event_over_again() {
    let story = Story::new();
    at_stage(&story, "AfterAllowTraffic");
    for op in ["GetDeploymentTarget", "DescribeTargetGroups", "PutItem"] {
        story.faults(&json!([{ "op": op, "code": "ThrottlingException", "n": -1 }]));
        let failed = ask(&story, "after").expect_err(op);
        assert!(failed.kind == "CallFailed" && failed.text.contains("throttled"), "{op}: {failed:?}");
        story.no_faults();
    }
    assert_eq!(
        (ask(&story, "after").expect("an answer")["parked"].clone(), told(&story)),
        (json!(true), vec![])
    );
}

#[test]
fn a_call_that_is_not_allowed_while_a_hook_is_parked_fails_the_deployment_at_once() {
    let story = Story::new();
    at_stage(&story, "AfterAllowTraffic");
    story.faults(&json!([{ "op": "GetDeploymentTarget", "code": "AccessDeniedException" }]));
    let refused = ask(&story, "after").expect("an answer");
    assert_eq!(refused["answer"], json!("fail"), "{refused}");
    assert!(refused["why"].as_str().unwrap_or_default().contains("AccessDeniedException"), "{refused}");
    assert_eq!(told(&story), [answer("after", "Failed")]);
}

#[test]
fn a_deployment_that_shifts_to_a_harmful_canary_is_stopped_once_and_let_go_back() {
    let story = shifting(&short());
    story.faults(&json!([{ "op": "StopDeployment", "code": "AccessDeniedException" }]));
    let (_, calls) = story.meanwhile(|| {
        (0..10).find(|minute| {
            story.live(*minute, &Generated::HARMFUL);
            stops(&story) != json!([])
        })
    });
    assert_eq!(stops(&story), json!([{ "deployment_id": DEPLOYMENT, "auto_rollback": true }]));
    assert_eq!(count(&calls, STOP), 2, "one that was refused, and one");
    let pages = story.paged();
    for page in ["observed_harmful", "not_stopped", "deployment_stopped"] {
        assert_eq!(pages.iter().filter(|paged| *paged == page).count(), 1, "{page}: {pages:?}");
    }
    let (report, calls) = story.meanwhile(|| story.live(10, &Generated::HARMFUL));
    assert_eq!((&report["phase"], count(&calls, STOP)), (&json!("stopped"), 0), "{report}");
    assert!(report["why"].as_str().unwrap_or_default().contains("Stopped"), "{report}");
    assert_eq!((told(&story).len(), record(&story).state.as_str()), (1, "ended"));
}

#[test]
fn a_deployment_that_undoes_another_one_is_let_through() {
    let story = Story::new();
    story.guard(OF, &short());
    let undoes = json!({ "rollbackTriggeringDeploymentId": "d-BAD" });
    register(&story, "AfterAllowTraffic", json!({ "rollbackInfo": undoes, "creator": "codeDeployRollback" }));
    let answered = ask(&story, "after").expect("an answer");
    assert_eq!(answered["answer"], json!("pass"), "{answered}");
    assert_eq!((told(&story), story.record_of(ROLLOUT)), (vec![answer("after", "Succeeded")], None));
}

#[test]
fn a_deployment_that_has_ended_is_not_observed() {
    let story = Story::new();
    story.endpoint.post("deployments", &json!([{ "id": DEPLOYMENT, "status": "Failed" }]));
    let answered = ask(&story, "after").expect("an answer");
    assert!(answered["why"].as_str().unwrap_or_default().contains("has ended: Failed"), "{answered}");
    assert_eq!((told(&story), story.record_of(ROLLOUT)), (vec![], None));
}

#[test]
fn a_deployment_that_is_gone_ends_its_rollout() {
    let story = shifting(&short());
    story.live(0, &Generated::HEALTHY);
    story.faults(&json!([{ "op": "GetDeployment", "code": "DeploymentDoesNotExistException", "n": -1 }]));
    let ended = (1..8)
        .map(|minute| story.live(minute, &Generated::HEALTHY))
        .find(|report| report["phase"] == "stopped");
    assert_eq!(ended.map(|report| report["decision"].clone()), Some(json!("finish")));
    assert_eq!(record(&story).state, "ended");
}

#[test]
fn a_deployment_that_cannot_be_read_is_judged_all_the_same() {
    let story = shifting(&short());
    story.lives(0..8, Generated::HEALTHY);
    asked_last(&story);
    story.faults(&json!([{ "op": "GetDeployment", "code": "AccessDeniedException", "n": -1 }]));
    let report = story.lives(8..11, Generated::HEALTHY);
    assert!(report["troubles"].to_string().contains("not read"), "{report}");
    assert_eq!(told(&story)[1..], [answer("after", "Succeeded")]);
}

#[test]
fn the_next_deployment_may_begin_before_the_last_one_was_seen_to_end() {
    let story = shifting(&short());
    story.lives(0..3, Generated::HEALTHY);
    story.shift(0, 100);
    story.endpoint.post("deployments", &json!([{ "id": DEPLOYMENT, "status": "Succeeded" }]));
    let next = "d-NEXT";
    let mut deployment = json!({ "id": next, "info": {
        "applicationName": "shop", "deploymentGroupName": "shop-prod",
        "loadBalancerInfo": { "targetGroupPairInfoList": [{
            "targetGroups": [{ "name": "canary" }, { "name": "stable" }],
            "prodTrafficRoute": { "listenerArns": [story.scene["listener_arn"]] },
        }] },
    } });
    let set = |label: &str, group: &str| json!({ "taskSetLabel": label, "targetGroup": { "name": group } });
    let events = json!([{ "lifecycleEventName": "BeforeAllowTraffic", "status": "InProgress" }]);
    let target =
        json!({ "lifecycleEvents": events, "taskSetsInfo": [set("Blue", "canary"), set("Green", "stable")] });
    deployment["targets"] = json!([{ "ecsTarget": target }]);
    story.endpoint.post("deployments", &json!([deployment]));
    let event = json!({ "DeploymentId": next, "LifecycleEventHookExecutionId": "next" });
    assert_eq!(story.invoke(&event).expect("an answer")["answer"], json!("pass"));
    story.tick_all(3);
    let phase = |rollout: &str| story.record_of(rollout).expect("a record").phase().to_owned();
    assert_eq!((phase(ROLLOUT), phase("shop-prod-d-next")), ("stopped".to_owned(), "waiting".to_owned()));
}

/// A deployment of version 42 of the function `pay` behind the alias `live`, in one of its stages.
fn register_function(story: &Story, stage: &str, percent: f64, [old, new]: [&str; 2]) {
    let events = json!([{ "lifecycleEventName": stage, "status": "InProgress" }]);
    let function = json!({
        "functionName": "pay", "functionAlias": "live", "currentVersion": old, "targetVersion": new,
        "targetVersionWeight": percent,
    });
    let info =
        json!({ "applicationName": "shop", "deploymentGroupName": "shop-prod", "computePlatform": "Lambda" });
    let target = json!({ "lifecycleEvents": events, "lambdaFunctionInfo": function });
    let targets = json!([{ "lambdaTarget": target }]);
    let deployment =
        json!({ "id": DEPLOYMENT, "hooks": ["before", "after"], "info": info, "targets": targets });
    story.endpoint.post("deployments", &json!([deployment]));
}

/// What Lambda publishes of a minute in which the new version has a tenth of the calls.
fn publish_calls(story: &Story, minute: i64, traffic: Generated) {
    let both = traffic.at(minute, 10.0);
    let points = [("41", both.stable), ("42", both.canary)].into_iter().flat_map(|(version, counts)| {
        let counts = counts.expect("calls");
        let dimensions = json!({ "FunctionName": "pay", "Resource": "pay:live", "ExecutedVersion": version });
        [("Invocations", counts.requests), ("Errors", counts.classes[3])].map(|(name, count)| {
            json!({
                "namespace": "AWS/Lambda", "name": name, "dimensions": dimensions,
                "minute": story.minute(minute), "sum": count, "count": counts.requests,
            })
        })
    });
    story.endpoint.post("metrics", &points.collect());
}

/// A function's deployment that gives a tenth of the calls to the new version, some minutes long.
fn of_function(plan: &Value, traffic: Generated) -> Story {
    let story = Story::new();
    story.guard(OF, plan);
    let versions = ["41", "42"];
    register_function(&story, "BeforeAllowTraffic", 0.0, versions);
    assert_eq!(ask(&story, "before").expect("an answer")["answer"], json!("pass"));
    register_function(&story, "AllowTraffic", 10.0, versions);
    for minute in 0..9 {
        story.tick(minute);
        publish_calls(&story, minute, traffic);
    }
    story
}

#[test]
fn a_functions_new_version_is_judged_by_its_calls() {
    let story = of_function(&short(), Generated::HEALTHY);
    assert_eq!((record(&story).body["proven"].clone(), stops(&story)), (json!(10.0), json!([])));
    register_function(&story, "AfterAllowTraffic", 100.0, ["41", "42"]);
    assert_eq!(ask(&story, "after").expect("an answer")["parked"], json!(true));
    let (_, calls) = story.meanwhile(|| (9..13).for_each(|minute| drop(story.tick(minute))));
    assert_eq!(told(&story)[1..], [answer("after", "Succeeded")], "{}", record(&story).body);
    assert_eq!(count(&calls, "elbv2"), 0, "there is no load balancer: {:?}", names(&calls));
}

#[test]
fn a_function_that_shifts_to_a_harmful_version_is_stopped_and_its_verdict_published() {
    let plan = with(short(), json!({ "verdict_metric": "pay-prod" }));
    let story = of_function(&plan, Generated::HARMFUL);
    assert_eq!(stops(&story), json!([{ "deployment_id": DEPLOYMENT, "auto_rollback": true }]));
    let log = story.gates[0].log();
    let published = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let harmful: Vec<Value> =
        published.filter(|line| line["Gate"] == "pay-prod").map(|line| line["Harmful"].clone()).collect();
    assert_eq!((harmful.first(), harmful.contains(&json!(1.0))), (Some(&json!(0.0)), true), "{harmful:?}");
    let page = &story.pages()[0];
    assert!(page.body.contains("pay:live") && page.body.contains("pay:42"), "{}", page.body);
}

#[test]
fn a_function_that_has_the_same_version_before_and_after_is_let_through() {
    let story = Story::new();
    for (stage, hook) in [("BeforeAllowTraffic", "before"), ("AfterAllowTraffic", "after")] {
        register_function(&story, stage, 100.0, ["1", "1"]);
        let answered = ask(&story, hook).expect("an answer");
        assert_eq!(answered["answer"], json!("pass"), "{answered}");
    }
    assert_eq!(told(&story), [answer("before", "Succeeded"), answer("after", "Succeeded")]);
    assert_eq!(story.record_of(ROLLOUT), None);
}
