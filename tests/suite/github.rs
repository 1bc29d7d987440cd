//! GitHub's deployment protection rule, from the webhook to the answer. What is posted to GitHub, and what it may
//! answer, is tried in the client's own tests.

use std::fs;

use canary_gate::config::Settings;
use canary_gate::handler::Doors;
use canary_gate::ports::FailureKind;
use canary_gate::rollout::gate::{Told, Waiting};
use canary_gate::sim::{Fault, Operation, Outcome};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::brakes::promoted;
use crate::world::{ROLLOUT, World};

/// The secret of GitHub's own documentation; `events/http-github.json` is signed with it, too.
const SECRET: &str = "It's a Secret to Everybody";
const CALLBACK: &str =
    "https://api.github.com/repos/octo/shop/actions/runs/5413456789/deployment_protection_rule";

fn doors() -> Doors {
    let vars = [
        ("CANARY_GATE_TABLE", "canary-gate"),
        ("CANARY_GATE_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:on-call"),
        ("CANARY_GATE_GITHUB_APP_ID", "1234567"),
        // The function does not sign here: it is enough that it looks like a key.
        (
            "CANARY_GATE_GITHUB_PRIVATE_KEY",
            "-----BEGIN RSA PRIVATE KEY-----MIIC-----END RSA PRIVATE KEY-----",
        ),
        ("CANARY_GATE_GITHUB_WEBHOOK_SECRET", SECRET),
    ];
    let settings = Settings::from_vars(vars.map(|(key, value)| (key.to_owned(), value.to_owned())));
    Doors::new(Vec::new()).with_github(settings.unwrap().github.as_ref())
}

fn open(mut world: World) -> World {
    world.doors = doors();
    world
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What GitHub delivers to the function's URL.
fn delivery(kind: &str, body: &Value, secret: &str) -> Value {
    let body = body.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/github/v1/webhook",
        "rawQueryString": "",
        "headers": {
            "content-type": "application/json",
            "user-agent": "GitHub-Hookshot/044aadd",
            "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
            "x-github-event": kind,
            "x-hub-signature-256": format!("sha256={}", hex(&mac.finalize().into_bytes())),
        },
        "requestContext": {
            "domainName": "gate.example",
            "http": { "method": "POST", "path": "/github/v1/webhook", "sourceIp": "140.82.115.1" },
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

/// GitHub's whole event, for the environment `name`.
fn requested(name: &str) -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/callers/github-deployment-protection-rule.json");
    let mut event: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    event["environment"] = json!(name);
    event
}

fn send(world: &World, event: &Value) -> (u64, String) {
    let answer = world.send(event).unwrap();
    (answer["statusCode"].as_u64().unwrap(), answer["body"].as_str().unwrap().to_owned())
}

/// A deployment of the environment asks.
fn ask(world: &World, name: &str) -> (u64, String) {
    send(world, &delivery("deployment_protection_rule", &requested(name), SECRET))
}

/// What GitHub was told of the deployment.
fn told(world: &World) -> Option<Told> {
    let all = world.cloud.deployment_of(CALLBACK)?.told;
    assert!(all.len() <= 1, "{all:?}");
    let (waiting, told) = all.into_iter().next()?;
    assert!(matches!(waiting, Waiting::Github { installation: 1.., .. }), "{waiting:?}");
    Some(told)
}

/// A rollout that another hand drives, which stands at 5 % and bakes for hours.
fn baking(keys: &Value) -> World {
    let mut plan = json!({ "mode": "observe", "bake": "3h", "decide_within": "6h" });
    for (key, value) in keys.as_object().unwrap() {
        plan[key] = value.clone();
    }
    let mut world = open(World::started_with(&plan));
    world.meddle(95, 5);
    world.ticks(3);
    world
}

fn fails(world: &World, operation: Operation, kind: FailureKind, times: u32) {
    world.cloud.fail(Fault { operation, outcome: Outcome::Fails(kind), times });
}

#[test]
fn a_deployment_waits_and_is_let_through_when_the_canary_is_proven() {
    let mut world = baking(&json!({ "bake": "10m" }));
    let (status, body) = ask(&world, ROLLOUT);
    assert_eq!((status, body.as_str()), (202, "parked: waits for the verdict on checkout-v42"));
    world.ticks(3);
    assert_eq!(told(&world), None, "nothing while holding");
    world.ticks(40);
    let told = told(&world).unwrap();
    assert!(told.pass && told.why.contains("of the canary)"), "{}", told.why);
    assert!(world.record().gates.is_empty());
}

#[test]
fn a_deployment_is_rejected_when_the_canary_is_harmful() {
    let mut world = baking(&json!({}));
    ask(&world, ROLLOUT);
    world.per_mille = [3.0, 60.0];
    world.ticks(12);
    let told = told(&world).unwrap();
    assert!(!told.pass && told.why.contains("errors: surely"), "{}", told.why);
}

#[test]
fn a_verdict_that_is_known_already_is_told_by_the_next_tick() {
    for (per_mille, pass) in [([3.0, 3.0], true), ([3.0, 300.0], false)] {
        let mut world = baking(&json!({ "bake": "5m" }));
        world.per_mille = per_mille;
        world.ticks(45);
        assert_eq!(ask(&world, ROLLOUT).0, 202);
        assert_eq!(told(&world), None);
        world.tick();
        assert_eq!(told(&world).unwrap().pass, pass);
    }
}

#[test]
fn the_good_end_of_a_rollout_counts_for_an_hour() {
    let mut world = open(promoted(&json!({})));
    assert_eq!(ask(&world, ROLLOUT).0, 202);
    world.ticks(2);
    assert!(told(&world).unwrap().pass);
    let mut world = open(promoted(&json!({})));
    world.ticks(62);
    let (status, body) = ask(&world, ROLLOUT);
    let told = told(&world).unwrap();
    assert!(status == 200 && !told.pass && told.why.contains("start a new one"), "{body}");
}

#[test]
fn a_deployment_that_is_delivered_again_waits_once() {
    let mut world = baking(&json!({ "bake": "10m" }));
    for _ in 0..3 {
        assert_eq!(ask(&world, ROLLOUT).0, 202);
    }
    assert_eq!(world.record().gates.len(), 1);
    world.ticks(43);
    let first = told(&world).unwrap();
    // Sent again after the answer it is told once more, the same of the same run: GitHub knows it already.
    assert_eq!(ask(&world, ROLLOUT).0, 202);
    fails(&world, Operation::Tell, FailureKind::NotFound, 1);
    world.tick();
    assert_eq!((told(&world), world.record().gates.len()), (Some(first), 0));
}

#[test]
fn a_deployment_that_no_rollout_could_answer_is_rejected_at_once_and_says_why() {
    for (name, why) in
        [("production", "under the name production"), ("Production EU", "is no rollout's name")]
    {
        let world = baking(&json!({}));
        let (status, body) = ask(&world, name);
        let told = told(&world).unwrap();
        assert!(status == 200 && body.starts_with("rejected: ") && body.contains(why), "{body}");
        assert!(!told.pass && told.why.contains(why), "{}", told.why);
    }
    for (kind, status) in
        [(FailureKind::Denied, 503), (FailureKind::TimedOut, 503), (FailureKind::NotFound, 200)]
    {
        let world = baking(&json!({}));
        fails(&world, Operation::Tell, kind, 1);
        let answer = ask(&world, "production");
        assert_eq!((answer.0, told(&world)), (status, None), "{}", answer.1);
    }
}

#[test]
fn a_deployment_is_not_answered_by_a_failure_of_ours() {
    for operation in [Operation::Get, Operation::Put] {
        let world = baking(&json!({}));
        fails(&world, operation, FailureKind::Unavailable, 9);
        let (status, body) = ask(&world, ROLLOUT);
        assert_eq!((status, told(&world)), (503, None), "{body}");
        assert!(world.record().gates.is_empty());
    }
}

#[test]
fn whoever_is_not_github_is_nobody() {
    let world = baking(&json!({}));
    let kind = "deployment_protection_rule";
    let event = requested(ROLLOUT);
    let signed = |header: Value| {
        let mut sent = delivery(kind, &event, SECRET);
        sent["headers"]["x-hub-signature-256"] = header;
        sent
    };
    let genuine = delivery(kind, &event, SECRET)["headers"]["x-hub-signature-256"].clone();
    let mut other_body = signed(genuine.clone());
    other_body["body"] = json!(requested("production").to_string());
    let mut unsigned = signed(json!(""));
    unsigned["headers"].as_object_mut().unwrap().remove("x-hub-signature-256");
    let cut = genuine.as_str().unwrap()[..60].to_owned();
    for sent in [
        unsigned,
        other_body,
        signed(json!("")),
        signed(json!(cut)),
        signed(json!(genuine.as_str().unwrap().replace("sha256=", "sha1="))),
        delivery(kind, &event, "another secret of sixteen"),
        delivery(kind, &event, ""),
        delivery("ping", &json!({}), "another secret of sixteen"),
    ] {
        assert_eq!(send(&world, &sent).0, 401, "{}", sent["headers"]);
    }
    assert!(world.record().gates.is_empty() && told(&world).is_none());
    assert_eq!(send(&world, &delivery("ping", &json!({ "zen": "Design for failure." }), SECRET)).0, 200);
}

#[test]
fn an_installation_without_a_secret_knows_no_github() {
    let mut world = baking(&json!({}));
    world.doors = Doors::default();
    for secret in [SECRET, ""] {
        let sent = delivery("deployment_protection_rule", &requested(ROLLOUT), secret);
        assert_eq!(send(&world, &sent).0, 401);
    }
    assert!(world.record().gates.is_empty());
}

/// Everybody's webhooks come from GitHub's addresses, those of a stranger, too.
#[test]
fn a_stranger_at_github_s_address_locks_github_out_of_nothing() {
    let world = baking(&json!({}));
    let stranger = delivery("ping", &json!({}), "another secret of sixteen");
    assert!((0..20).all(|_| send(&world, &stranger).0 == 401));
    assert_eq!(send(&world, &stranger).0, 429);
    assert_eq!(ask(&world, ROLLOUT).0, 202);
}

#[test]
fn github_is_let_in_so_often_and_no_more() {
    let world = baking(&json!({}));
    let ping = delivery("ping", &json!({}), SECRET);
    assert!((0..120).all(|_| send(&world, &ping).0 == 200));
    assert_eq!(send(&world, &ping).0, 429);
}

#[test]
fn a_token_goes_to_no_address_that_an_event_chooses() {
    let world = baking(&json!({}));
    for url in [
        "https://evil.example/repos/octo/shop/actions/runs/5413456789/deployment_protection_rule",
        "https://api.github.com/repos/octo/other/actions/runs/5413456789/deployment_protection_rule",
        "http://169.254.169.254/latest/meta-data",
    ] {
        let mut event = requested(ROLLOUT);
        event["deployment_callback_url"] = json!(url);
        let (status, body) = send(&world, &delivery("deployment_protection_rule", &event, SECRET));
        assert!(status == 400 && body.contains("must be below https://api.github.com/"), "{body}");
    }
    assert!(world.record().gates.is_empty());
}

#[test]
fn github_waits_for_weeks_unless_the_plan_says_how_long() {
    let mut world = baking(&json!({}));
    ask(&world, ROLLOUT);
    world.ticks(70);
    assert_eq!((told(&world), world.record().gates.len()), (None, 1));
    for (on_deadline, pass) in [("fail", false), ("pass", true)] {
        let mut world = baking(&json!({ "answer_within": "30m", "on_deadline": on_deadline }));
        ask(&world, ROLLOUT);
        world.ticks(29);
        assert_eq!(told(&world), None);
        world.ticks(3);
        let told = told(&world).unwrap();
        assert!(told.pass == pass && told.why.starts_with("no verdict by 2026-03-01T10:3"), "{}", told.why);
    }
}

/// Another rollout of that name could not begin while somebody waits for the last one.
#[test]
fn who_can_not_be_told_for_an_hour_is_paged_and_given_up() {
    let mut world = baking(&json!({ "bake": "5m" }));
    world.ticks(45);
    ask(&world, ROLLOUT);
    fails(&world, Operation::Tell, FailureKind::Denied, 1_000);
    world.ticks(59);
    assert_eq!(world.record().gates.len(), 1);
    assert!(world.pages().iter().any(|page| page.contains("could not be answered")), "{:?}", world.pages());
    world.ticks(3);
    assert_eq!((told(&world), world.record().gates.len()), (None, 0));
}

#[test]
fn the_sample_delivery_is_github_s() {
    let world = baking(&json!({}));
    let mut sample: Value = serde_json::from_str(include_str!("../../events/http-github.json")).unwrap();
    let (status, body) = send(&world, &sample);
    assert!(status == 200 && body.contains("under the name checkout"), "no rollout is named so here: {body}");
    sample["body"] = json!(sample["body"].as_str().unwrap().replace("checkout", "checkout-v42"));
    assert_eq!(send(&world, &sample).0, 401);
}
