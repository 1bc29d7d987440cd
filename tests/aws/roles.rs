//! Rollouts in other accounts: each is looked after by its role, and no one's role is another's trouble.

use serde_json::{Value, json};

use crate::many::of;
use crate::outside::{Call, count, names};
use crate::person::{err, failed, operator, out, told};
use crate::traffic::{Counts, Generated, Minute, Traffic as _};
use crate::world::{ROLLOUT, World, with};

const ACCOUNT: &str = "111122223333";
const ROLE: &str = "arn:aws:iam::111122223333:role/canary-gate";
const OTHER_ROLE: &str = "arn:aws:iam::111122223333:role/teams/canary-gate-2";

/// A load balancer in another account than the function, its table and its topic.
fn elsewhere() -> World {
    World::seeded(json!({ "account": ACCOUNT, "target_groups": ["stable", "canary", "blue", "green"] }))
}

fn is_there(call: &&Call) -> bool {
    call.name.starts_with("elbv2 ") || call.name.starts_with("cloudwatch ")
}

/// The roles that load balancers and metrics were asked by, each once, in alphabetical order; empty for none.
fn roles(calls: &[Call]) -> Vec<&str> {
    let mut roles: Vec<&str> =
        calls.iter().filter(is_there).map(|call| call.role.as_deref().unwrap_or_default()).collect();
    roles.sort_unstable();
    roles.dedup();
    roles
}

fn denied(role: &str) -> Value {
    json!([{ "op": "AssumeRole", "service": "sts", "code": "AccessDenied", "status": 403, "n": -1, "match": role }])
}

#[test]
fn a_rollout_of_another_account_is_looked_after_by_its_role_which_is_assumed_once() {
    let world = elsewhere();
    for minute in 0..15 {
        world.publish(minute, &Generated::HEALTHY.at(minute, 5.0));
    }
    let (_, calls) = world.calls_of(|| {
        world.start(&world.plan(json!({ "role_arn": ROLE })));
        world.tick(0);
        (2..13).find(|minute| world.tick(*minute)["decision"] == json!("promote")).expect("a second shift")
    });
    assert_eq!(count(&calls, "sts AssumeRole"), 1, "{:?}", names(&calls));
    let asked = calls.iter().find(|call| call.name == "sts AssumeRole").expect("it was counted");
    assert_eq!(asked.params["RoleArn"], json!(ROLE));
    assert_eq!(asked.params["RoleSessionName"], json!("canary-gate-canary-gate"), "and its table");
    for name in ["DescribeRules", "DescribeTargetHealth", "ModifyRule"] {
        assert!(count(&calls, &format!("elbv2 {name}")) > 0, "{name}: {:?}", names(&calls));
    }
    assert!(count(&calls, "cloudwatch GetMetricData") > 2, "{:?}", names(&calls));
    assert_eq!(roles(&calls), [ROLE]);
    let own = calls.iter().filter(|call| !is_there(call));
    assert!(own.into_iter().all(|call| call.role.is_none()), "table and topic are the function's: {calls:?}");
    assert_eq!(world.rule().share(&world), 25.0);
    assert_eq!(world.record().body["plan"]["targets"]["role_arn"], json!(ROLE));
}

#[test]
fn without_its_role_a_rollout_of_another_account_can_not_even_be_seen() {
    let world = elsewhere();
    let plan = world.plan(json!({}));
    let (started, calls) =
        world.calls_of(|| world.command("start", json!({ "plan": plan, "rollout": null })));
    assert!(started.expect_err("no such rule here").text.contains("RuleNotFound"));
    assert_eq!((count(&calls, "sts"), roles(&calls)), (0, vec![""]), "{:?}", names(&calls));
}

#[test]
fn rollouts_of_one_role_share_calls_and_those_of_two_never_do() {
    let mut world = elsewhere();
    let second = crate::many::add_rule(&world, 20, "blue", "green");
    let own = world.endpoint.post("seed", &json!({ "topic": false, "name": "own" }));
    let start = |world: &World, rollout: &str, changes: Value| {
        world.start(&world.plan(with(json!({ "rollout": rollout }), changes)));
    };
    let blue = json!({
        "listener_rule": second, "stable": world.group("blue"), "canary": world.group("green"), "role_arn": ROLE,
    });
    let here = json!({
        "listener_rule": own["rule_arn"], "stable": own["target_groups"]["stable"],
        "canary": own["target_groups"]["canary"],
    });
    start(&world, "one", json!({ "role_arn": ROLE }));
    start(&world, "two", blue.clone());
    start(&world, "here", here);
    world.restart();
    let (report, calls) = world.calls_of(|| world.tick_all(0));
    assert_eq!(report["rollouts"].as_array().map(Vec::len), Some(3), "{report}");
    assert_eq!(count(&calls, "sts AssumeRole"), 1, "{:?}", names(&calls));
    let of_role = |name: &str, role: &str| {
        let asked =
            calls.iter().filter(|call| call.name == name && call.role.as_deref().unwrap_or("") == role);
        asked.count()
    };
    for name in ["cloudwatch GetMetricData", "elbv2 DescribeRules"] {
        assert_eq!((of_role(name, ROLE), of_role(name, "")), (1, 1), "{name}: {:?}", names(&calls));
    }
    for rollout in ["one", "two", "here"] {
        assert_eq!(of(&report, rollout)["decision"], json!("promote"), "{report}");
    }
    // Another role is another reader, although the account is the same.
    world
        .invoke(&json!({
            "kind": "command", "command": "abort", "rollout": "two", "actor": "ana", "reason": "again",
        }))
        .expect("it is ended");
    let (_, calls) = world.calls_of(|| {
        start(&world, "three", with(blue, json!({ "role_arn": OTHER_ROLE })));
        world.tick_all(1)
    });
    assert_eq!(count(&calls, "sts AssumeRole"), 1, "only the new one: {:?}", names(&calls));
    assert_eq!(roles(&calls), ["", ROLE, OTHER_ROLE]);
}

#[test]
fn a_role_that_cannot_be_assumed_fails_its_own_rollouts_alone_and_says_what_to_do() {
    let mut world = elsewhere();
    let second = crate::many::add_rule(&world, 20, "blue", "green");
    world.start(&world.plan(json!({ "role_arn": ROLE })));
    world.start(&world.plan(json!({
        "rollout": "other", "listener_rule": second, "stable": world.group("blue"), "canary": world.group("green"),
        "role_arn": OTHER_ROLE,
    })));
    world.restart();
    world.faults(&denied("teams"));
    let (report, calls) = world.calls_of(|| world.tick_all(0));
    assert_eq!(of(&report, ROLLOUT)["decision"], json!("promote"), "{report}");
    let other = of(&report, "other");
    assert_ne!(other["decision"], json!("promote"), "{report}");
    let trouble = other.to_string();
    for said in ["sts AssumeRole: denied", OTHER_ROLE, "must exist and trust who asks", "sts:AssumeRole"] {
        assert!(trouble.contains(said), "{said}: {trouble}");
    }
    let tried = calls.iter().filter(|call| call.params["RoleArn"] == json!(OTHER_ROLE)).count();
    assert_eq!(tried, 1, "not once for each call: {:?}", names(&calls));
    assert_eq!(roles(&calls), [ROLE], "nothing is asked by other rights instead");
}

#[test]
fn a_throttled_role_is_assumed_all_the_same() {
    let mut world = elsewhere();
    world.start(&world.plan(json!({ "role_arn": ROLE })));
    world.restart();
    world.faults(&json!([{ "op": "AssumeRole", "code": "Throttling", "n": 2 }]));
    let (report, calls) = world.calls_of(|| world.tick(0));
    assert_eq!((&report["decision"], &report["troubles"]), (&json!("promote"), &json!([])));
    assert_eq!(count(&calls, "sts AssumeRole"), 3, "{:?}", names(&calls));
    assert_eq!(roles(&calls), [ROLE]);
}

#[test]
fn a_harmful_canary_of_another_account_is_drained_by_its_role() {
    let world = World::on_first_step_of(
        json!({ "account": ACCOUNT }),
        json!({ "role_arn": ROLE }),
        Generated::HARMFUL,
    );
    let (report, calls) = world.calls_of(|| world.tick(12));
    assert_eq!((&report["decision"], world.rule().share(&world)), (&json!("drain"), 0.0), "{report}");
    assert_eq!((count(&calls, "sts"), roles(&calls)), (0, vec![ROLE]), "{:?}", names(&calls));
    assert_eq!(world.paged(), ["drained"]);
}

#[test]
fn a_person_shifts_and_measures_by_the_role_too_and_is_told_if_they_may_not() {
    let world = elsewhere();
    let counts = Counts { requests: 1_900, classes: [1_900, 0, 0, 0] };
    for minute in -40..1 {
        world.publish(minute, &Minute { stable: Some(counts), canary: None });
    }
    let plan = world.plan(json!({ "role_arn": ROLE }));
    world.start(&plan);
    world.tick(0);
    let (aborted, calls) =
        world.calls_of(|| operator(&world, &["abort", ROLLOUT, "--reason", "rehearsal"], ""));
    told(&aborted);
    assert_eq!((world.rule().share(&world), count(&calls, "sts AssumeRole")), (0.0, 1));
    assert_eq!(roles(&calls), [ROLE]);

    let measured = ["plan-time", "--plan", "-", "--cloudwatch"];
    let (output, calls) = world.calls_of(|| operator(&world, &measured, &plan.to_string()));
    told(&output);
    assert_eq!((roles(&calls), count(&calls, "sts AssumeRole")), (vec![ROLE], 1));

    world.faults(&denied("canary-gate"));
    let output = operator(&world, &measured, &plan.to_string());
    failed(&output, 69, &[ROLE, "sts AssumeRole: denied", "must exist and trust who asks"]);
}

#[test]
fn doctor_looks_by_the_role_or_says_that_it_could_not() {
    let world = elsewhere();
    let counts = Counts { requests: 1_900, classes: [1_900, 0, 0, 0] };
    for minute in -40..1 {
        world.publish(minute, &Minute { stable: Some(counts), canary: None });
    }
    let plan = world.plan(json!({ "role_arn": ROLE })).to_string();
    let look = || operator(&world, &["doctor", "-", "--format", "json", "--no-function"], &plan);
    let found = |text: &str| {
        let answer: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let findings = answer["findings"].as_array().expect("findings").clone();
        findings
            .into_iter()
            .map(|one| [one["of"].clone(), one["state"].clone(), one["fix"].clone()])
            .collect()
    };
    let (output, calls) = world.calls_of(look);
    let findings: Vec<[Value; 3]> = found(&out(&output));
    assert_eq!(output.status.code(), Some(0), "{findings:?} {}", err(&output));
    assert_eq!(findings[0][..2], [json!("role"), json!("fine")]);
    assert_eq!((roles(&calls), count(&calls, "sts AssumeRole")), (vec![ROLE], 1), "{:?}", names(&calls));

    world.faults(&denied("canary-gate"));
    let (output, calls) = world.calls_of(look);
    let findings: Vec<[Value; 3]> = found(&out(&output));
    let faults: Vec<_> = findings.iter().filter(|finding| finding[1] == json!("fault")).collect();
    assert_eq!((output.status.code(), faults.len()), (Some(1), 1), "{findings:?}");
    assert_eq!(faults[0][0], json!("role"));
    assert!(faults[0][2].as_str().is_some_and(|fix| fix.contains("sts:AssumeRole")), "{findings:?}");
    assert_eq!(count(&calls, "sts AssumeRole"), 1, "{:?}", names(&calls));
    assert!(
        findings.iter().any(|finding| finding[0] == json!("table")),
        "the rest is looked at: {findings:?}"
    );
}

#[test]
fn a_plan_whose_role_is_of_another_account_is_refused() {
    let world = elsewhere();
    let plan = world.plan(json!({ "role_arn": ROLE.replace(ACCOUNT, "999999999999") }));
    let refused =
        world.command("start", json!({ "plan": plan, "rollout": null })).expect_err("it is refused");
    assert!(refused.text.contains("role_arn") && refused.text.contains(ACCOUNT), "{refused:?}");
    let (_, calls) = world.calls_of(|| world.tick_all(0));
    assert_eq!(count(&calls, "sts"), 0);
}
