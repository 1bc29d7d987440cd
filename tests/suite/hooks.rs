//! Deployments of CodeDeploy and ECS that ask whether they may go on.

use canary_gate::ports::{Deployment, FailureKind};
use canary_gate::rollout::gate::Waiting;
use canary_gate::rollout::plan::Targets;
use canary_gate::rollout::record::{Phase, Record};
use canary_gate::sim::{Fault, Operation, Outcome, SimDeployment};
use canary_gate::units::Share;
use serde_json::{Value, json};

use crate::world::{World, count};

pub(crate) const DEPLOYMENT: &str = "d-ABCDEF123";
const OF: &str = "codedeploy:shop/shop-prod";
const ROLLOUT: &str = "shop-prod-d-abcdef123";
const SERVICE_DEPLOYMENT: &str = "arn:aws:ecs:eu-central-1:123456789012:service-deployment/web/shop/aBcDeF";

pub(crate) fn hook(execution: &str) -> Value {
    json!({ "DeploymentId": DEPLOYMENT, "LifecycleEventHookExecutionId": execution })
}

pub(crate) fn at_stage(world: &World, stage: &str) {
    let targets = Some(world.targets.clone());
    let state = Deployment { of: OF.to_owned(), stage: Some(stage.to_owned()), ..Deployment::default() };
    let before = world.cloud.deployment_of(DEPLOYMENT).unwrap_or_default();
    world.cloud.set_deployment(DEPLOYMENT, SimDeployment { state, targets, ..before });
}

/// A deployment whose first hook was answered, and that sends a tenth of the traffic to the new version.
pub(crate) fn shifting(plan: &Value) -> World {
    let mut world = World::quiet();
    world.command(&json!({ "command": "guard", "of": OF, "plan": plan })).unwrap();
    at_stage(&world, "BeforeAllowTraffic");
    let answer = world.send(&hook("before")).unwrap();
    assert_eq!((&answer["answer"], &answer["rollout"]), (&json!("pass"), &json!(ROLLOUT)), "{answer}");
    world.ticks(2);
    world.meddle(90, 10);
    at_stage(&world, "AllowTraffic");
    world
}

pub(crate) fn short() -> Value {
    json!({ "bake": "5m", "checks": { "errors": {} } })
}

pub(crate) fn record(world: &World) -> Record {
    world.cloud.record(ROLLOUT).unwrap()
}

/// Who was told what, the first hook left out.
pub(crate) fn told(world: &World) -> Vec<(String, bool)> {
    let deployment = world.cloud.deployment_of(DEPLOYMENT).unwrap();
    let all = deployment.told.iter().filter_map(|(waiting, told)| match waiting {
        Waiting::CodeDeployHook { execution, .. } => Some((execution.clone(), told.pass)),
        _ => None,
    });
    all.filter(|(execution, _)| execution != "before").collect()
}

#[test]
fn a_hook_waits_for_the_verdict_and_is_told_success_when_the_canary_is_healthy() {
    let mut world = shifting(&short());
    world.ticks(3);
    at_stage(&world, "AfterAllowTraffic");
    let answer = world.send(&hook("after")).unwrap();
    assert_eq!(answer["parked"], true, "{answer}");
    // Lambda delivers at least once.
    world.send(&hook("after")).unwrap();
    assert_eq!((record(&world).gates.len(), told(&world)), (1, vec![]));
    world.ticks(30);
    assert_eq!(told(&world), [("after".to_owned(), true)]);
    assert!(record(&world).gates.is_empty());
    assert_eq!(count(&world.calls(), &[Operation::WriteSplit]), 0, "the weights are CodeDeploy's");
}

#[test]
fn health_that_was_proven_while_both_versions_had_traffic_counts_at_a_hundred_percent() {
    let mut world = shifting(&short());
    world.ticks(20);
    world.meddle(0, 100);
    at_stage(&world, "AfterAllowTraffic");
    world.send(&hook("after")).unwrap();
    world.ticks(2);
    assert_eq!(told(&world), [], "the last minutes with both are not in yet");
    world.ticks(2);
    assert_eq!(told(&world), [("after".to_owned(), true)], "{:?}", record(&world));
}

#[test]
fn a_hundred_percent_without_proof_is_not_health() {
    let mut world = shifting(&short());
    world.ticks(1);
    world.meddle(0, 100);
    at_stage(&world, "AfterAllowTraffic");
    world.send(&hook("after")).unwrap();
    world.ticks(30);
    assert_eq!(told(&world), []);
    world.ticks(30);
    assert_eq!(told(&world), [("after".to_owned(), false)]);
    let timed_out = "no verdict in time, a deployment was answered";
    assert!(world.pages().iter().any(|page| page.contains(timed_out)), "{:?}", world.pages());
}

#[test]
fn a_hook_is_told_failure_when_the_canary_is_harmful() {
    let mut world = shifting(&short());
    at_stage(&world, "AfterAllowTraffic");
    world.send(&hook("after")).unwrap();
    world.per_mille = [3.0, 60.0];
    world.ticks(12);
    assert_eq!(told(&world), [("after".to_owned(), false)]);
    assert!(!world.cloud.deployment_of(DEPLOYMENT).unwrap().stopped, "who waits goes back by itself");
}

#[test]
fn a_deployment_that_still_shifts_to_a_harmful_canary_is_stopped_once() {
    let mut world = shifting(&short());
    world.per_mille = [3.0, 60.0];
    world.ticks(2);
    world.cloud.fail(Fault {
        operation: Operation::Stop,
        outcome: Outcome::Fails(FailureKind::Throttled),
        times: 1,
    });
    ticks_until_called(&mut world, Operation::Stop);
    assert!(!world.cloud.deployment_of(DEPLOYMENT).unwrap().stopped);
    assert!(!world.pages().iter().any(|page| page.contains("deployment stopped")), "{:?}", world.pages());
    world.ticks(1);
    assert!(world.cloud.deployment_of(DEPLOYMENT).unwrap().stopped);
    assert!(record(&world).owner_stopped.is_some());
    world.ticks(10);
    let calls = count(&world.calls(), &[Operation::Stop]);
    assert_eq!(calls, 1, "after the one that failed");
    let pages = world.pages();
    let stopped = pages.iter().filter(|page| page.contains("harmful, deployment stopped")).count();
    assert_eq!(stopped, 1, "{pages:?}");
}

#[test]
fn an_alarm_of_the_deployment_s_own_can_hear_each_minute_whether_harm_was_found() {
    let mut plan = short();
    plan["verdict_metric"] = json!("shop-prod");
    let mut world = shifting(&plan);
    let signal = |report: &Value| report["signal"].clone();
    let quiet = json!({ "gate": "shop-prod", "harmful": false, "share": 10.0, "blind_minutes": 0 });
    assert_eq!(signal(&world.tick()), quiet);
    world.per_mille = [3.0, 60.0];
    let harmful = |report: &Value| report["signal"]["harmful"] == true;
    assert!(world.ticks(12).iter().any(harmful));
    let mut deployment = world.cloud.deployment_of(DEPLOYMENT).unwrap();
    deployment.state.ended = Some("Stopped".to_owned());
    world.cloud.set_deployment(DEPLOYMENT, deployment);
    assert!(!harmful(&world.tick()), "the alarm must be quiet for the next deployment");
    assert_eq!(shifting(&short()).tick().get("signal"), None);
}

#[test]
fn what_is_told_is_recorded_first_and_told_until_it_was_taken() {
    let mut world = shifting(&short());
    world.ticks(20);
    at_stage(&world, "AfterAllowTraffic");
    world.send(&hook("after")).unwrap();
    let denied = Fault { operation: Operation::Tell, outcome: Outcome::Fails(FailureKind::Denied), times: 4 };
    world.cloud.fail(denied);
    world.tick();
    assert!(record(&world).gates[0].told.as_ref().is_some_and(|told| told.pass));
    // Later harm does not change what was said.
    world.per_mille = [3.0, 60.0];
    world.ticks(10);
    assert_eq!(told(&world), [("after".to_owned(), true)]);
    assert!(world.pages().iter().any(|page| page.contains("could not be answered")), "{:?}", world.pages());
}

#[test]
fn without_a_verdict_it_is_answered_in_time_as_the_plan_says() {
    for (on_deadline, pass) in [("fail", false), ("pass", true)] {
        let mut world = shifting(&json!({ "on_deadline": on_deadline, "min_requests": 1_000_000 }));
        at_stage(&world, "AfterAllowTraffic");
        let answer = world.send(&hook("after")).unwrap();
        world.ticks(54);
        assert_eq!(told(&world), [], "{answer}");
        world.ticks(2);
        assert_eq!(told(&world), [("after".to_owned(), pass)]);
    }
}

#[test]
fn a_deployment_whose_groups_nobody_knows_is_refused_at_once() {
    let world = World::quiet();
    at_stage(&world, "AfterAllowTraffic");
    let mut deployment = world.cloud.deployment_of(DEPLOYMENT).unwrap();
    deployment.targets = None;
    world.cloud.set_deployment(DEPLOYMENT, deployment);
    let answer = world.send(&hook("after")).unwrap();
    assert_eq!(answer["answer"], "fail");
    assert!(answer["why"].as_str().unwrap().contains("name listener_rule, stable and canary"), "{answer}");
    assert_eq!(told(&world), [("after".to_owned(), false)]);
}

#[test]
fn a_deployment_that_cannot_be_read_is_asked_about_again() {
    let world = World::quiet();
    at_stage(&world, "AfterAllowTraffic");
    for operation in [Operation::Deployment, Operation::Guard, Operation::FindTargets, Operation::Create] {
        let outcome = Outcome::Fails(FailureKind::Throttled);
        world.cloud.fail(Fault { operation, outcome, times: 1 });
        assert!(world.send(&hook("after")).is_err(), "{operation:?}: Lambda hands over the event again");
        assert_eq!(told(&world), []);
    }
    assert_eq!(world.send(&hook("after")).unwrap()["parked"], true);
}

#[test]
fn the_rollout_ends_with_the_deployment() {
    let mut world = shifting(&short());
    let mut deployment = world.cloud.deployment_of(DEPLOYMENT).unwrap();
    deployment.state.ended = Some("Succeeded".to_owned());
    world.cloud.set_deployment(DEPLOYMENT, deployment);
    world.tick();
    assert_eq!(record(&world).phase, Phase::Stopped);
    assert!(record(&world).why.contains("Succeeded"), "{}", record(&world).why);
    assert_eq!(world.tick(), Value::Null, "nothing is left to do");
}

fn ecs_hook(stage: &str, weights: [u32; 2], details: &Value) -> Value {
    let revision = |n: u32| format!("arn:aws:ecs:eu-central-1:123456789012:service-revision/web/shop/{n}");
    json!({
        "executionId": "e-1",
        "lifecycleStage": stage,
        "resourceArn": SERVICE_DEPLOYMENT,
        "executionDetails": {
            "serviceArn": "arn:aws:ecs:eu-central-1:123456789012:service/web/shop",
            "targetServiceRevisionArn": revision(2),
            "testTrafficWeights": {},
            "productionTrafficWeights": { revision(1): weights[0], revision(2): weights[1] },
        },
        "hookDetails": details,
    })
}

fn ecs_world(state: Deployment) -> World {
    let world = World::quiet();
    let targets = Some(world.targets.clone());
    let state = Deployment { of: "ecs:web/shop".to_owned(), ..state };
    world.cloud.set_deployment(SERVICE_DEPLOYMENT, SimDeployment { state, targets, ..Default::default() });
    world
}

#[test]
fn an_ecs_deployment_is_put_off_until_the_verdict() {
    let mut world = ecs_world(Deployment::default());
    let details = json!({ "plan": short() });
    let before = |world: &World, stage| world.send(&ecs_hook(stage, [100, 0], &details)).unwrap();
    assert_eq!(before(&world, "POST_SCALE_UP")["hookStatus"], "SUCCEEDED");
    let first = before(&world, "PRE_PRODUCTION_TRAFFIC_SHIFT");
    assert_eq!(first["hookStatus"], "SUCCEEDED", "{first}");
    world.meddle(90, 10);
    world.ticks(3);
    let asked = ecs_hook("PRE_PRODUCTION_TRAFFIC_SHIFT", [90, 10], &details);
    let waits = world.send(&asked).unwrap();
    assert_eq!(
        (&waits["hookStatus"], &waits["callBackDelay"]),
        (&json!("IN_PROGRESS"), &json!(60)),
        "{waits}"
    );
    assert_eq!(waits["hookDetails"]["plan"], short(), "ECS gives back what it was given");
    world.ticks(30);
    let again = ecs_hook("PRE_PRODUCTION_TRAFFIC_SHIFT", [90, 10], &waits["hookDetails"]);
    assert_eq!(world.send(&again).unwrap()["hookStatus"], "SUCCEEDED");
    world.per_mille = [3.0, 60.0];
    let denied = Outcome::Fails(FailureKind::Denied);
    world.cloud.fail(Fault { operation: Operation::Stop, outcome: denied, times: 1 });
    let fails = |world: &mut World| {
        world.tick();
        world.send(&asked).unwrap()["hookStatus"] == "FAILED"
    };
    assert!((0..12).any(|_| fails(&mut world)));
    world.tick();
    assert_eq!(world.send(&asked).unwrap()["hookStatus"], "SUCCEEDED", "it goes back already");
    // ECS goes back by the same hooks: the new revision loses its traffic.
    let back = ecs_hook("PRODUCTION_TRAFFIC_SHIFT", [100, 0], &details);
    assert_eq!(world.send(&back).unwrap()["hookStatus"], "SUCCEEDED");
    assert!(world.cloud.deployment_of(SERVICE_DEPLOYMENT).unwrap().stopped, "the brake between two hooks");
    assert_eq!(count(&world.calls(), &[Operation::WriteSplit]), 0, "the weights are ECS's");
}

#[test]
fn a_first_deployment_and_one_that_goes_back_are_let_through() {
    for state in [
        Deployment { is_first: true, ..Deployment::default() },
        Deployment { is_going_back: true, ..Deployment::default() },
    ] {
        let world = ecs_world(state);
        let answer = world.send(&ecs_hook("PRODUCTION_TRAFFIC_SHIFT", [50, 50], &Value::Null)).unwrap();
        assert_eq!(answer["hookStatus"], "SUCCEEDED", "{answer}");
        assert_eq!(count(&world.calls(), &[Operation::Create]), 0);
    }
}

#[test]
fn what_fails_on_our_side_puts_ecs_off_some_times_and_then_goes_back() {
    let world = ecs_world(Deployment::default());
    world.cloud.fail(Fault {
        operation: Operation::Deployment,
        outcome: Outcome::Fails(FailureKind::Denied),
        times: 20,
    });
    let mut details = json!({ "plan": short() });
    for _ in 0..9 {
        let answer = world.send(&ecs_hook("PRE_PRODUCTION_TRAFFIC_SHIFT", [90, 10], &details)).unwrap();
        assert_eq!(answer["hookStatus"], "IN_PROGRESS", "{answer}");
        details = answer["hookDetails"].clone();
    }
    let answer = world.send(&ecs_hook("PRE_PRODUCTION_TRAFFIC_SHIFT", [90, 10], &details)).unwrap();
    assert_eq!(answer["hookStatus"], "FAILED", "{answer}");
}

/// The deployment waits at a pause hook of this lifecycle event.
fn pause_at(world: &World, stage: &str, hook: &str) {
    let mut deployment = world.cloud.deployment_of(SERVICE_DEPLOYMENT).unwrap();
    deployment.state.stage = Some(stage.to_owned());
    deployment.state.pauses = vec![hook.to_owned()];
    world.cloud.set_deployment(SERVICE_DEPLOYMENT, deployment);
}

/// Which pause hooks were answered, and how.
fn continued(world: &World) -> Vec<(String, bool)> {
    let deployment = world.cloud.deployment_of(SERVICE_DEPLOYMENT).unwrap();
    let all = deployment.told.iter().filter_map(|(waiting, told)| match waiting {
        Waiting::EcsPause { hook, .. } => Some((hook.clone(), told.pass)),
        _ => None,
    });
    all.collect()
}

#[test]
fn a_pause_hook_is_answered_by_the_tick() {
    for (per_mille, pass) in [(3.0, true), (60.0, false)] {
        let mut world = ecs_world(Deployment::default());
        let details = json!({ "plan": short() });
        world.send(&ecs_hook("POST_SCALE_UP", [100, 0], &details)).unwrap();
        world.meddle(90, 10);
        world.per_mille[1] = per_mille;
        pause_at(&world, "PRE_PRODUCTION_TRAFFIC_SHIFT", "hook-1");
        world.ticks(2);
        assert_eq!(continued(&world), []);
        world.ticks(28);
        assert_eq!(continued(&world), [("hook-1".to_owned(), pass)]);
    }
}

#[test]
fn pause_hooks_are_enough_to_be_asked() {
    let mut world = ecs_world(Deployment::default());
    let changed = |event: &str| {
        json!({
            "source": "aws.ecs", "detail-type": "ECS Hook State Change", "resources": [SERVICE_DEPLOYMENT],
            "detail": { "eventName": event, "hookId": "hook-1" },
        })
    };
    let answer = world.send(&changed("HOOK_SUCCEEDED")).unwrap();
    assert_eq!(answer["ignored"], "nothing of it waits", "{answer}");
    world.command(&json!({ "command": "guard", "of": "ecs:web/shop", "plan": short() })).unwrap();
    pause_at(&world, "POST_SCALE_UP", "hook-1");
    let answer = world.send(&changed("HOOK_AWAITING_ACTION")).unwrap();
    assert_eq!(answer["parked"], true, "{answer}");
    world.tick();
    assert_eq!(continued(&world), [("hook-1".to_owned(), true)], "before the traffic nothing can be known");
    // Before the first shift, and before the second.
    pause_at(&world, "PRE_PRODUCTION_TRAFFIC_SHIFT", "hook-2");
    world.ticks(1);
    world.meddle(90, 10);
    pause_at(&world, "PRE_PRODUCTION_TRAFFIC_SHIFT", "hook-3");
    world.ticks(3);
    assert_eq!(continued(&world).len(), 2, "{:?}", continued(&world));
    world.ticks(27);
    assert_eq!(continued(&world)[2], ("hook-3".to_owned(), true));
    assert_eq!(count(&world.calls(), &[Operation::WriteSplit]), 0, "the weights are ECS's");
}

/// A deployment of a Lambda function, whose alias gives the new version so much.
fn function_at(world: &World, stage: &str, percent: u32) {
    world.meddle(100 - percent, percent);
    let before = world.cloud.deployment_of(DEPLOYMENT).unwrap_or_default();
    let state = Deployment {
        of: "codedeploy:pay/pay-prod".to_owned(),
        stage: Some(stage.to_owned()),
        share: Some(Share::from_percent(f64::from(percent)).unwrap()),
        ..Deployment::default()
    };
    let targets = Some(world.targets.clone());
    world.cloud.set_deployment(DEPLOYMENT, SimDeployment { state, targets, ..before });
}

#[test]
fn a_function_s_deployment_is_judged_by_the_calls_of_its_versions() {
    for (per_mille, pass) in [(3.0, true), (60.0, false)] {
        let mut world = World::quiet_of(Targets::of_function("pay", "live", "7", "8"));
        let guard = json!({ "command": "guard", "of": "codedeploy:pay/pay-prod", "plan": short() });
        world.command(&guard).unwrap();
        function_at(&world, "BeforeAllowTraffic", 0);
        let answer = world.send(&hook("before")).unwrap();
        assert_eq!(answer["answer"], "pass", "{answer}");
        let rollout = answer["rollout"].as_str().unwrap().to_owned();
        world.ticks(2);
        function_at(&world, "AllowTraffic", 10);
        world.per_mille[1] = per_mille;
        world.ticks(20);
        let record = world.cloud.record(&rollout).unwrap();
        assert_eq!(record.share().to_string(), "10%", "as CodeDeploy says");
        assert_eq!(world.cloud.deployment_of(DEPLOYMENT).unwrap().stopped, !pass);
        function_at(&world, "AfterAllowTraffic", 100);
        world.send(&hook("after")).unwrap();
        world.ticks(4);
        assert_eq!(told(&world), [("after".to_owned(), pass)], "{record:?}");
        assert_eq!(count(&world.calls(), &[Operation::WriteSplit, Operation::HealthyTargets]), 0);
    }
}

#[test]
fn a_hook_of_a_deployment_that_goes_back_is_told_to_go_on_at_once() {
    let world = World::quiet();
    at_stage(&world, "AfterAllowTraffic");
    let mut deployment = world.cloud.deployment_of(DEPLOYMENT).unwrap();
    deployment.state.is_going_back = true;
    world.cloud.set_deployment(DEPLOYMENT, deployment);
    world.send(&hook("after")).unwrap();
    assert_eq!(told(&world), [("after".to_owned(), true)]);
    assert_eq!(count(&world.calls(), &[Operation::Create]), 0);
}

#[test]
fn a_guard_is_checked_listed_and_taken_away() {
    let world = World::quiet();
    let wrong =
        json!({ "command": "guard", "of": OF, "plan": { "mode": "drive", "checks": { "errors": {} } } });
    let refused = world.command(&wrong).unwrap_err().to_string();
    assert!(refused.contains("must be observe"), "{refused}");
    let wrong = json!({ "command": "guard", "of": "shop", "plan": { "bakes": "5m" } });
    let refused = world.command(&wrong).unwrap_err().to_string();
    assert!(refused.contains("codedeploy:APPLICATION") && refused.contains("did you mean bake"), "{refused}");
    world.command(&json!({ "command": "guard", "of": OF, "plan": short() })).unwrap();
    let listed = world.command(&json!({ "command": "guards" })).unwrap();
    assert_eq!((&listed["guards"][0]["of"], &listed["guards"][0]["plan"]), (&json!(OF), &short()));
    world.command(&json!({ "command": "unguard", "of": OF })).unwrap();
    assert_eq!(world.command(&json!({ "command": "guards" })).unwrap()["guards"], json!([]));
}

/// Ticks until one of them makes a call of this kind.
fn ticks_until_called(world: &mut World, operation: Operation) {
    world.calls();
    for _ in 0..20 {
        world.tick();
        if count(&world.calls(), &[operation]) > 0 {
            return;
        }
    }
    panic!("no {operation:?}");
}

/// What each call said to the hook called `after`.
fn heard(world: &World) -> Vec<bool> {
    let after = |waiting: &Waiting| matches!(waiting, Waiting::CodeDeployHook { execution, .. } if execution == "after");
    let deployment = world.cloud.deployment_of(DEPLOYMENT).unwrap();
    deployment.heard.iter().filter(|(waiting, _)| after(waiting)).map(|(_, pass)| *pass).collect()
}

#[test]
fn a_question_that_comes_late_is_given_the_answer_that_was_given() {
    let mut world = shifting(&short());
    world.ticks(20);
    at_stage(&world, "AfterAllowTraffic");
    world.send(&hook("after")).unwrap();
    world.tick();
    assert_eq!(heard(&world), [true]);
    world.per_mille = [3.0, 60.0];
    let answer = world.send(&hook("after")).unwrap();
    assert_eq!(answer["answer"], "pass", "{answer}");
    assert_eq!(heard(&world), [true, true]);
    // The hook before the traffic comes once more, when it is no longer before it.
    world.send(&hook("before")).unwrap();
    world.ticks(10);
    assert_eq!(heard(&world), [true, true]);
    assert!(world.cloud.deployment_of(DEPLOYMENT).unwrap().heard.iter().all(|(_, pass)| *pass));
}

#[test]
fn a_deployment_that_is_not_found_once_is_still_watched_and_after_some_minutes_is_over() {
    for (times, over) in [(2, false), (8, true)] {
        let mut world = shifting(&json!({ "min_requests": 1_000_000 }));
        at_stage(&world, "AfterAllowTraffic");
        world.send(&hook("after")).unwrap();
        let outcome = Outcome::Fails(FailureKind::NotFound);
        world.cloud.fail(Fault { operation: Operation::Deployment, outcome, times });
        world.ticks(8);
        assert_eq!(record(&world).phase.is_terminal(), over, "{}", record(&world).why);
        // Whoever waits there, after all, is told.
        let expected: &[_] = if over { &[false] } else { &[] };
        assert_eq!(heard(&world), expected);
    }
}

#[test]
fn a_deployment_that_goes_on_although_it_was_stopped_is_stopped_again() {
    let mut world = shifting(&short());
    world.per_mille = [3.0, 60.0];
    let stopped = |world: &World| world.cloud.deployment_of(DEPLOYMENT).unwrap().stopped;
    let mut ticks = 0..12;
    while !stopped(&world) {
        ticks.next().unwrap();
        world.tick();
    }
    let going = |world: &World| {
        let mut deployment = world.cloud.deployment_of(DEPLOYMENT).unwrap();
        (deployment.stopped, deployment.state.ended) = (false, None);
        world.cloud.set_deployment(DEPLOYMENT, deployment);
    };
    going(&world);
    world.tick();
    assert!(!stopped(&world), "it takes its time");
    world.ticks(2);
    assert!(stopped(&world));
    let pages = world.pages();
    assert_eq!(pages.iter().filter(|page| page.contains("deployment stopped")).count(), 1, "{pages:?}");
}

#[test]
fn a_deployment_whose_hook_is_no_longer_there_is_stopped_itself() {
    let mut world = shifting(&short());
    at_stage(&world, "AfterAllowTraffic");
    world.send(&hook("after")).unwrap();
    world.per_mille = [3.0, 60.0];
    let gone = Outcome::Fails(FailureKind::NotFound);
    world.cloud.fail(Fault { operation: Operation::Tell, outcome: gone, times: 1 });
    ticks_until_called(&mut world, Operation::Tell);
    assert_eq!(heard(&world), [] as [bool; 0]);
    assert!(world.cloud.deployment_of(DEPLOYMENT).unwrap().stopped);
}

#[test]
fn a_code_deployment_that_undoes_another_one_is_let_through() {
    let mut world = shifting(&short());
    let targets = Some(world.targets.clone());
    let state = Deployment { of: OF.to_owned(), is_going_back: true, ..Deployment::default() };
    world.cloud.set_deployment("d-BACK", SimDeployment { state, targets, ..Default::default() });
    let hook = json!({ "DeploymentId": "d-BACK", "LifecycleEventHookExecutionId": "back" });
    let answer = world.send(&hook).unwrap();
    assert_eq!(answer["answer"], "pass", "{answer}");
    let told = world.cloud.deployment_of("d-BACK").unwrap().told;
    assert!(told.len() == 1 && told[0].1.pass, "{told:?}");
    world.tick();
}

#[test]
fn the_next_deployment_does_not_make_way_for_the_one_before_it() {
    let mut world = shifting(&short());
    let next = "d-NEXT";
    let stage = Some("BeforeAllowTraffic".to_owned());
    let state = Deployment { of: OF.to_owned(), stage, ..Deployment::default() };
    let targets = Some(world.targets.clone());
    world.cloud.set_deployment(next, SimDeployment { state, targets, ..Default::default() });
    world.send(&json!({ "DeploymentId": next, "LifecycleEventHookExecutionId": "next" })).unwrap();
    let mut before = world.cloud.deployment_of(DEPLOYMENT).unwrap();
    before.state.ended = Some("Failed".to_owned());
    world.cloud.set_deployment(DEPLOYMENT, before);
    world.tick();
    assert_eq!(record(&world).phase, Phase::Stopped);
    let next = world.cloud.record("shop-prod-d-next").unwrap();
    assert!(!next.phase.is_terminal(), "{}", next.why);
}

#[test]
fn a_pause_hook_before_the_traffic_is_passed_by_the_next_tick() {
    let mut world = ecs_world(Deployment::default());
    world.send(&ecs_hook("PRE_SCALE_UP", [100, 0], &json!({ "plan": short() }))).unwrap();
    for (hook, stage) in [("hook-1", "POST_SCALE_UP"), ("hook-2", "PRE_PRODUCTION_TRAFFIC_SHIFT")] {
        let mut deployment = world.cloud.deployment_of(SERVICE_DEPLOYMENT).unwrap();
        deployment.state.pauses = vec![hook.to_owned()];
        deployment.state.stage = Some(stage.to_owned());
        world.cloud.set_deployment(SERVICE_DEPLOYMENT, deployment);
        world.tick();
        let told = world.cloud.deployment_of(SERVICE_DEPLOYMENT).unwrap().told;
        let told: Vec<_> = told.iter().filter(|(waiting, _)| waiting.name().contains(hook)).collect();
        assert!(told.len() == 1 && told[0].1.pass, "{told:?}");
    }
}

#[test]
fn weights_that_another_hand_raised_let_no_ecs_deployment_pass() {
    let mut world = ecs_world(Deployment::default());
    let details = json!({ "plan": short() });
    world.send(&ecs_hook("POST_SCALE_UP", [100, 0], &details)).unwrap();
    world.meddle(60, 40);
    world.ticks(3);
    // ECS takes it for 10 %, and wants to go on from there.
    let answer = world.send(&ecs_hook("PRE_PRODUCTION_TRAFFIC_SHIFT", [90, 10], &details)).unwrap();
    assert_eq!(answer["hookStatus"], "IN_PROGRESS", "{answer}");
    let answer = world.send(&ecs_hook("PRODUCTION_TRAFFIC_SHIFT", [90, 10], &details)).unwrap();
    assert_eq!(answer["hookStatus"], "SUCCEEDED", "{answer}");
}

#[test]
fn a_hook_that_waits_is_told_nothing_else_because_a_call_fails() {
    for kind in [FailureKind::Denied, FailureKind::Malformed] {
        for operation in [Operation::Deployment, Operation::Guard, Operation::Get] {
            let mut world = shifting(&short());
            world.ticks(20);
            at_stage(&world, "AfterAllowTraffic");
            world.send(&hook("after")).unwrap();
            // It comes once more, and this time a call fails.
            world.cloud.fail(Fault { operation, outcome: Outcome::Fails(kind), times: 1 });
            let _ = world.send(&hook("after"));
            assert_eq!(heard(&world), [] as [bool; 0], "{operation:?} {kind:?}");
            world.ticks(2);
            assert_eq!(heard(&world), [true], "{operation:?} {kind:?}");
        }
    }
}

#[test]
fn increments_too_short_for_a_proof_on_each_are_judged_as_one_shift() {
    for (per_mille, pass) in [(3.0, true), (60.0, false)] {
        // Nothing but the defaults; a tenth more in every minute.
        let mut world = shifting(&json!({ "checks": { "errors": {} } }));
        world.per_mille[1] = per_mille;
        world.tick();
        for percent in 2..=9 {
            world.meddle(100 - percent * 10, percent * 10);
            world.tick();
        }
        world.meddle(0, 100);
        if pass {
            at_stage(&world, "AfterAllowTraffic");
            world.send(&hook("after")).unwrap();
            world.ticks(5);
            assert_eq!(told(&world), [("after".to_owned(), true)], "{:?}", record(&world));
        } else {
            world.ticks(2);
            assert!(world.cloud.deployment_of(DEPLOYMENT).unwrap().stopped, "{:?}", record(&world));
        }
    }
}

#[test]
fn groups_that_were_named_once_are_turned_as_the_deployment_has_them() {
    let mut world = World::quiet();
    let Targets { listener_rule, stable, canary, .. } = world.targets.clone();
    let mut plan = short();
    plan["listener_rule"] = json!(listener_rule);
    // As the deployment before this one had them.
    plan["stable"] = json!(canary);
    plan["canary"] = json!(stable);
    world.command(&json!({ "command": "guard", "of": OF, "plan": plan })).unwrap();
    at_stage(&world, "BeforeAllowTraffic");
    world.send(&hook("before")).unwrap();
    world.tick();
    assert_eq!(record(&world).plan.targets, world.targets);
}

#[test]
fn where_nothing_of_the_new_version_is_there_yet_the_watch_begins_later() {
    let world = World::quiet();
    at_stage(&world, "BeforeInstall");
    let mut deployment = world.cloud.deployment_of(DEPLOYMENT).unwrap();
    deployment.targets = None;
    world.cloud.set_deployment(DEPLOYMENT, deployment.clone());
    let answer = world.send(&hook("install")).unwrap();
    assert_eq!(answer["answer"], "pass", "{answer}");
    assert_eq!(told(&world), [("install".to_owned(), true)]);
    assert_eq!(count(&world.calls(), &[Operation::Create]), 0);
}

#[test]
fn what_another_try_cannot_mend_is_told_at_once() {
    let world = World::quiet();
    at_stage(&world, "AfterAllowTraffic");
    let outcome = Outcome::Fails(FailureKind::Denied);
    world.cloud.fail(Fault { operation: Operation::FindTargets, outcome, times: 1 });
    let answer = world.send(&hook("after")).unwrap();
    assert_eq!(answer["answer"], "fail", "{answer}");
    assert!(answer["why"].as_str().unwrap().contains("denied"), "{answer}");
    assert_eq!(told(&world), [("after".to_owned(), false)]);
}

#[test]
fn a_freeze_and_a_deny_window_let_no_deployment_raise_its_share() {
    // Before the first shift.
    let mut world = World::quiet();
    world.command(&json!({ "command": "guard", "of": OF, "plan": short() })).unwrap();
    world.command(&json!({ "command": "freeze" })).unwrap();
    at_stage(&world, "BeforeAllowTraffic");
    let answer = world.send(&hook("before")).unwrap();
    assert_eq!(answer["parked"], true, "{answer}");
    world.ticks(3);
    let heard = |world: &World| world.cloud.deployment_of(DEPLOYMENT).unwrap().told.len();
    assert_eq!(heard(&world), 0);
    world.command(&json!({ "command": "thaw" })).unwrap();
    world.tick();
    assert_eq!(heard(&world), 1, "{:?}", record(&world));
    // Between two shifts.
    let mut world = ecs_world(Deployment::default());
    let details = json!({ "plan": short() });
    world.send(&ecs_hook("POST_SCALE_UP", [100, 0], &details)).unwrap();
    world.meddle(90, 10);
    world.ticks(30);
    let asked = ecs_hook("PRE_PRODUCTION_TRAFFIC_SHIFT", [90, 10], &details);
    world.command(&json!({ "command": "freeze" })).unwrap();
    let answer = world.send(&asked).unwrap();
    assert_eq!(answer["hookStatus"], "IN_PROGRESS", "{answer}");
    assert!(answer["hookDetails"]["canary_gate"]["why"].as_str().unwrap().contains("frozen"), "{answer}");
    pause_at(&world, "PRE_PRODUCTION_TRAFFIC_SHIFT", "hook-1");
    world.ticks(3);
    assert_eq!(continued(&world), []);
    world.command(&json!({ "command": "thaw" })).unwrap();
    assert_eq!(world.send(&asked).unwrap()["hookStatus"], "SUCCEEDED");
    world.tick();
    assert_eq!(continued(&world), [("hook-1".to_owned(), true)]);
    // A window of the plan's own: the day of this test's clock is a Sunday.
    let world = ecs_world(Deployment::default());
    let mut plan = short();
    plan["deny_windows"] = json!(["Sun"]);
    let asked = ecs_hook("POST_SCALE_UP", [100, 0], &json!({ "plan": plan }));
    let answer = world.send(&asked).unwrap();
    assert_eq!(answer["hookStatus"], "IN_PROGRESS", "{answer}");
}

#[test]
fn what_was_proven_before_a_shift_that_no_tick_has_seen_lets_ecs_wait() {
    let mut world = ecs_world(Deployment::default());
    let details = json!({ "plan": short() });
    world.send(&ecs_hook("POST_SCALE_UP", [100, 0], &details)).unwrap();
    world.meddle(90, 10);
    world.ticks(30);
    let asked = |weights| ecs_hook("PRE_PRODUCTION_TRAFFIC_SHIFT", weights, &details);
    assert_eq!(world.send(&asked([90, 10])).unwrap()["hookStatus"], "SUCCEEDED");
    world.meddle(80, 20);
    let answer = world.send(&asked([80, 20])).unwrap();
    assert_eq!(answer["hookStatus"], "IN_PROGRESS", "{answer}");
}

#[test]
fn an_ended_rollout_that_a_hook_names_lets_no_later_deployment_through() {
    let mut world = World::on_first_step_with(&json!({ "steps": ["50%", "100%"], "bake": "5m" }), 0);
    world.until("promote", 40);
    let targets = Some(world.targets.clone());
    let state = Deployment { of: "ecs:web/shop".to_owned(), ..Deployment::default() };
    world.cloud.set_deployment(SERVICE_DEPLOYMENT, SimDeployment { state, targets, ..Default::default() });
    let asked =
        ecs_hook("PRE_PRODUCTION_TRAFFIC_SHIFT", [0, 100], &json!({ "rollout": crate::world::ROLLOUT }));
    assert_eq!(world.send(&asked).unwrap()["hookStatus"], "SUCCEEDED");
    world.ticks(62);
    let answer = world.send(&asked).unwrap();
    assert_eq!(answer["hookStatus"], "IN_PROGRESS", "{answer}");
    assert!(answer["hookDetails"]["canary_gate"]["why"].as_str().unwrap().contains("start a new one"));
    let both = ecs_hook("POST_SCALE_UP", [100, 0], &json!({ "rollout": "a", "plan": {} }));
    assert_eq!(world.send(&both).unwrap()["hookStatus"], "FAILED");
}

#[test]
fn an_ecs_hook_that_is_given_up_is_put_off_and_never_fails_for_it() {
    let mut event = ecs_hook("PRE_PRODUCTION_TRAFFIC_SHIFT", [90, 10], &json!({ "plan": short() }));
    for tries in 1..10 {
        let answer = canary_gate::handler::too_slow(&event).unwrap();
        assert_eq!(answer["hookStatus"], "IN_PROGRESS", "{tries}: {answer}");
        assert_eq!(answer["hookDetails"]["plan"], short());
        event["hookDetails"] = answer["hookDetails"].clone();
    }
    assert_eq!(canary_gate::handler::too_slow(&event).unwrap()["hookStatus"], "FAILED");
    assert_eq!(canary_gate::handler::too_slow(&hook("after")), None, "Lambda hands it over again");
}

#[test]
fn hook_details_may_be_json_as_text() {
    let world = ecs_world(Deployment::default());
    let mut event = ecs_hook("POST_SCALE_UP", [100, 0], &Value::Null);
    event["hookDetails"] = json!(json!({ "plan": { "bake": "7m" } }).to_string());
    let answer = world.send(&event).unwrap();
    let rollout = answer["hookDetails"]["canary_gate"]["rollout"].as_str().unwrap();
    assert_eq!(world.cloud.record(rollout).unwrap().plan.rules.bake.minutes(), 7, "{answer}");
}

#[test]
fn a_deployment_that_was_over_before_it_was_stopped_is_told_as_what_it_is() {
    let mut world = shifting(&short());
    world.per_mille = [3.0, 60.0];
    let mut deployment = world.cloud.deployment_of(DEPLOYMENT).unwrap();
    // It ends between the tick's look at it and the stop.
    deployment.ends_at_stop = Some("Succeeded".to_owned());
    world.cloud.set_deployment(DEPLOYMENT, deployment);
    world.ticks(12);
    let pages = world.pages();
    assert!(pages.iter().any(|page| page.contains("could NOT be stopped")), "{pages:?}");
    assert!(!pages.iter().any(|page| page.contains("deployment stopped")), "{pages:?}");
}

#[test]
fn a_deployment_on_the_rule_of_a_rollout_that_writes_is_told_to_go_back() {
    let mut world = World::quiet();
    world.start(&json!({}));
    world.ticks(2);
    world.command(&json!({ "command": "guard", "of": OF, "plan": short() })).unwrap();
    at_stage(&world, "BeforeAllowTraffic");
    world.send(&hook("before")).unwrap();
    world.tick();
    at_stage(&world, "AfterAllowTraffic");
    world.send(&hook("after")).unwrap();
    world.ticks(2);
    assert_eq!(told(&world), [("after".to_owned(), false)], "{}", record(&world).why);
}

#[test]
fn a_question_that_was_long_under_way_begins_no_second_watch() {
    let mut world = shifting(&short());
    let watched = record(&world);
    let mut deployment = world.cloud.deployment_of(DEPLOYMENT).unwrap();
    deployment.state.ended = Some("Succeeded".to_owned());
    world.cloud.set_deployment(DEPLOYMENT, deployment);
    world.ticks(2);
    assert!(record(&world).is_over());
    // Another invocation that has looked for the record before there was one, and stores its own only now.
    let outcome = world.create(&Record { version: 0, ..watched });
    assert!(outcome.is_err_and(|failure| failure.kind == FailureKind::Conflict));
    assert_eq!(record(&world).phase, Phase::Stopped);
}

#[test]
fn whoever_only_watches_a_deployment_is_in_nobody_s_way() {
    let mut world = World::quiet();
    world.start(&json!({ "mode": "observe" }));
    world.command(&json!({ "command": "guard", "of": OF, "plan": short() })).unwrap();
    at_stage(&world, "BeforeAllowTraffic");
    world.send(&hook("before")).unwrap();
    world.ticks(2);
    assert_ne!(record(&world).phase, Phase::Stopped, "{}", record(&world).why);
}

#[test]
fn a_pause_in_a_deployment_whose_watch_was_ended_is_answered() {
    let mut world = ecs_world(Deployment::default());
    let details = json!({ "plan": short() });
    let answer = world.send(&ecs_hook("POST_SCALE_UP", [100, 0], &details)).unwrap();
    let rollout = answer["hookDetails"]["canary_gate"]["rollout"].as_str().unwrap().to_owned();
    world.meddle(90, 10);
    world.ticks(2);
    world.command(&json!({ "command": "abort", "rollout": rollout })).unwrap();
    world.ticks(2);
    pause_at(&world, "PRE_PRODUCTION_TRAFFIC_SHIFT", "hook-1");
    let changed = json!({ "source": "aws.ecs", "detail-type": "ECS Hook State Change",
        "resources": [SERVICE_DEPLOYMENT], "detail": {} });
    world.send(&changed).unwrap();
    world.ticks(2);
    assert_eq!(continued(&world), [("hook-1".to_owned(), false)], "nobody said that it is good");
}

#[test]
fn a_shift_that_no_tick_has_seen_yet_is_not_before_the_traffic() {
    let world = ecs_world(Deployment::default());
    let details = json!({ "plan": short() });
    let before = || world.send(&ecs_hook("PRE_PRODUCTION_TRAFFIC_SHIFT", [100, 0], &details)).unwrap();
    assert_eq!(before()["hookStatus"], "SUCCEEDED");
    world.meddle(90, 10);
    assert_eq!(before()["hookStatus"], "IN_PROGRESS");
}

#[test]
fn a_new_version_that_was_taken_out_of_the_traffic_is_not_before_it() {
    let mut world = ecs_world(Deployment::default());
    let details = json!({ "plan": short() });
    world.send(&ecs_hook("POST_SCALE_UP", [100, 0], &details)).unwrap();
    world.meddle(90, 10);
    world.ticks(3);
    // Another hand has drained it, or a rollout of ours on the same rule.
    world.meddle(100, 0);
    for _ in 0..2 {
        let answer = world.send(&ecs_hook("PRE_PRODUCTION_TRAFFIC_SHIFT", [90, 10], &details)).unwrap();
        assert_eq!(answer["hookStatus"], "IN_PROGRESS", "{answer}");
        world.tick();
    }
}

#[test]
fn pages_about_a_deployment_tell_nobody_to_do_its_work() {
    let mut world = shifting(&short());
    world.per_mille = [3.0, 60.0];
    world.ticks(12);
    let messages = world.cloud.messages();
    let body = |word: &str| {
        let found = messages.iter().find(|message| message.subject.contains(word));
        found.unwrap_or_else(|| panic!("no page says {word}: {:?}", world.pages())).body.clone()
    };
    let (harmful, stopped) = (body("canary is harmful (observe mode"), body("harmful, deployment stopped"));
    assert!(
        harmful.contains("the deployment is told to go back") && !harmful.contains("yourself"),
        "{harmful}"
    );
    assert!(stopped.contains("canary requests") && stopped.contains("gone back"), "{stopped}");
}
