//! The function's URL: who is let in, and what they are told. docs/security.md lists these tests by name.

use std::collections::BTreeSet;

use canary_gate::config::Settings;
use canary_gate::handler::Doors;
use canary_gate::ports::FailureKind;
use canary_gate::rollout::record::Phase;
use canary_gate::sim::run::default_plan;
use canary_gate::sim::{Fault, Operation, Outcome};
use canary_gate::units::Share;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::brakes::promoted;
use crate::world::{ROLLOUT, World, percent};

const ASKS: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
const ACTS: &str = "a0b1c2d3e4f5061728394a5b6c7d8e9fa0b1c2d3e4f5061728394a5b6c7d8e9f";
const KEY: [u8; 32] = [0x5a; 32];
const IAM: &str = "arn:aws:sts::123456789012:assumed-role/deployer/session";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn doors() -> Doors {
    let hash = |token: &str| hex(&Sha256::digest(token.as_bytes()));
    let callers = format!(
        "flagger:ask:sha256={},ci:act:sha256={},deploy:act:hmac={}",
        hash(ASKS),
        hash(ACTS),
        hex(&KEY)
    );
    let vars = [
        ("CANARY_GATE_TABLE", "canary-gate"),
        ("CANARY_GATE_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:on-call"),
        ("CANARY_GATE_CALLERS", callers.as_str()),
    ];
    let vars = vars.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Doors::new(Settings::from_vars(vars).unwrap().callers)
}

fn open(mut world: World) -> World {
    world.doors = doors();
    world
}

/// A request of somebody who is not known.
fn request(method: &str, target: &str, body: &str) -> Value {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": { "host": "gate.example", "x-forwarded-proto": "https" },
        "requestContext": {
            "domainName": "gate.example",
            "http": { "method": method, "path": path, "sourceIp": "192.0.2.1" },
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

fn by(token: &str, method: &str, target: &str, body: &str) -> Value {
    let mut request = request(method, target, body);
    request["headers"]["authorization"] = json!(format!("Bearer {token}"));
    request
}

/// Signed at some second after the minute of the next tick.
fn signed(world: &World, second: i64, method: &str, target: &str, body: &str) -> Value {
    let timestamp = (world.minute.start().as_second() + second).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).unwrap();
    mac.update(format!("{timestamp}\n{method}\n{target}\n{body}").as_bytes());
    let mut request = request(method, target, body);
    request["headers"]["x-canary-gate-timestamp"] = json!(timestamp);
    request["headers"]["x-canary-gate-signature"] =
        json!(format!("sha256={}", hex(&mac.finalize().into_bytes())));
    request
}

/// An answer, taken apart.
struct Answer {
    status: u64,
    headers: Value,
    body: Value,
}

/// Sends a request; every answer has the headers that every answer must have.
fn send(world: &World, request: &Value) -> Answer {
    send_at(world, request, -30)
}

fn send_at(world: &World, request: &Value, second: i64) -> Answer {
    let answer = world.send_at(request, second).unwrap();
    let headers = answer["headers"].clone();
    assert_eq!(
        (&headers["cache-control"], &headers["x-content-type-options"]),
        (&json!("no-store"), &json!("nosniff"))
    );
    let text = answer["body"].as_str().unwrap();
    let body = match headers["content-type"].as_str().unwrap() {
        "application/json" if !text.is_empty() => serde_json::from_str(text).unwrap(),
        _ => json!(text),
    };
    Answer { status: answer["statusCode"].as_u64().unwrap(), headers, body }
}

fn get(world: &World, target: &str) -> Answer {
    send(world, &by(ASKS, "GET", target, ""))
}

fn post(world: &World, target: &str, body: &Value) -> Answer {
    send(world, &by(ACTS, "POST", target, &body.to_string()))
}

fn verdict_of(world: &World) -> Answer {
    get(world, &format!("/v1/verdict?rollout={ROLLOUT}"))
}

fn path(rest: &str) -> String {
    format!("/v1/rollouts/{ROLLOUT}{rest}")
}

#[test]
fn health_is_open_to_everybody_and_says_nothing() {
    let world = open(World::on_first_step(2));
    let health = send(&world, &request("GET", "/healthz", ""));
    assert_eq!((health.status, health.body), (200, json!("ok")));
    assert_eq!(send(&world, &request("HEAD", "/healthz", "")).body, json!(""));
    assert_eq!(send(&world, &request("POST", "/healthz", "")).status, 401);
    assert!(world.calls().is_empty(), "no call of AWS is made");
}

#[test]
fn a_verdict_goes_from_hold_to_pass_and_tells_what_it_rests_on() {
    let mut world = open(World::started());
    let first = verdict_of(&world);
    assert_eq!(
        (first.status, &first.body["verdict"], &first.body["code"]),
        (200, &json!("hold"), &json!("not_ticked"))
    );
    world.ticks(10);
    let held = verdict_of(&world).body;
    assert_eq!((&held["verdict"], &held["share"]), (&json!("hold"), &json!(5.0)));
    assert_eq!(held["evidence"], json!(format!("https://gate.example/v1/rollouts/{ROLLOUT}")));
    assert!(held["requests"]["stable"].as_u64() > held["requests"]["canary"].as_u64(), "{held}");
    assert!(held["requests"]["canary"].as_u64() > Some(0) && held["reason"].is_string(), "{held}");
    let passed = verdict_of(&open(promoted(&json!({})))).body;
    assert_eq!((&passed["verdict"], &passed["code"]), (&json!("pass"), &json!("promoted")));
    assert!(passed["until"].is_null() && passed["need"].is_null(), "{passed}");
}

#[test]
fn a_verdict_of_a_bad_canary_is_fail() {
    let mut world = open(World::on_first_step(2));
    world.per_mille[1] = 300.0;
    world.until("drain", 30);
    let failed = verdict_of(&world).body;
    assert_eq!(failed["verdict"], json!("fail"), "{failed}");
}

#[test]
fn a_verdict_makes_one_read_of_the_store_and_no_other_call() {
    let world = open(World::on_first_step(3));
    verdict_of(&world);
    assert_eq!(world.calls(), [Operation::Get]);
}

#[test]
fn a_rollout_that_nobody_watches_has_no_verdict() {
    let mut world = open(World::on_first_step(3));
    let at = |world: &World, second| {
        send_at(world, &by(ASKS, "GET", &format!("/v1/verdict?rollout={ROLLOUT}"), ""), second)
    };
    assert_eq!(at(&world, 200).status, 200);
    let unwatched = at(&world, 301);
    assert_eq!((unwatched.status, &unwatched.headers["retry-after"]), (503, &json!("60")));
    world.tick();
    assert_eq!(at(&world, 0).status, 200);
}

#[test]
fn a_store_that_fails_is_no_verdict() {
    let world = open(World::on_first_step(2));
    for kind in [FailureKind::Throttled, FailureKind::Denied, FailureKind::Unavailable] {
        world.cloud.fail(Fault { operation: Operation::Get, outcome: Outcome::Fails(kind), times: 1 });
        let failed = verdict_of(&world);
        assert_eq!((failed.status, &failed.headers["retry-after"]), (503, &json!("60")));
        assert!(failed.body.get("verdict").is_none());
    }
    assert_eq!(verdict_of(&world).status, 200);
}

#[test]
fn what_is_asked_is_answered_as_the_commands_answer_it() {
    let world = open(World::on_first_step(4));
    let command = |command: &Value| world.command(command).unwrap();
    assert_eq!(get(&world, "/v1/rollouts").body, command(&json!({ "command": "list" })));
    let status = json!({ "command": "status", "rollout": ROLLOUT });
    assert_eq!(get(&world, &path("")).body, command(&status));
    assert!(get(&world, &path("")).body["judgement"]["checks"].is_array(), "the evidence is in it");
    let history = json!({ "command": "history", "rollout": ROLLOUT, "limit": 3 });
    assert_eq!(get(&world, &path("/history?limit=3")).body, command(&history));
    assert_eq!(get(&world, &path("/history")).body["entries"].as_array().map(Vec::len), Some(6));
}

#[test]
fn what_is_not_there_is_not_found_and_what_is_misspelt_is_told() {
    let world = open(World::on_first_step(1));
    for target in ["/v1/verdict?rollout=other", "/v1/rollouts/other", "/v1/rollouts/other/history"] {
        let missing = get(&world, target);
        assert_eq!((missing.status, &missing.body["type"]), (404, &json!("NoSuchRollout")), "{target}");
    }
    for target in [
        "/v1/verdict",
        "/v1/verdict?rollout=Other",
        "/v1/rollouts/a%20b",
        &path("/history?limit=0"),
        &path("/history?limit=all"),
    ] {
        let wrong = get(&world, target);
        assert_eq!((wrong.status, &wrong.body["type"]), (400, &json!("InvalidCommand")), "{target}");
        assert!(wrong.body["problems"][0]["rule"].is_string(), "{}", wrong.body);
    }
}

#[test]
fn a_rollout_is_started_over_http_and_audited_with_its_caller() {
    let world = open(World::quiet());
    let body = json!({ "plan": default_plan(), "reason": "release 42", "actor": "ana" });
    let started = post(&world, "/v1/rollouts", &body);
    assert_eq!((started.status, &started.headers["location"]), (201, &json!(path(""))), "{}", started.body);
    assert_eq!(started.body["phase"], json!("waiting"));
    let record = world.record();
    assert_eq!((record.started.actor.as_str(), record.started.reason.as_str()), ("ci for ana", "release 42"));
    let again = post(&world, "/v1/rollouts", &body);
    assert_eq!((again.status, &again.body["type"]), (409, &json!("CommandRefused")));
}

#[test]
fn all_problems_of_a_plan_are_told_over_http() {
    let world = open(World::quiet());
    let plan = json!({ "steps": ["5%", "4%"], "bake": 15, "canary": "x" });
    let wrong = post(&world, "/v1/rollouts", &json!({ "plan": plan, "reason": "r" }));
    assert_eq!((wrong.status, &wrong.body["type"]), (400, &json!("InvalidPlan")));
    assert_eq!(wrong.body["problems"].as_array().map(Vec::len), Some(5), "{}", wrong.body);
    assert!(world.cloud.record(ROLLOUT).is_none());
}

#[test]
fn a_plan_whose_rule_is_not_there_is_not_worth_trying_again() {
    let world = open(World::quiet());
    let mut plan = default_plan();
    plan["listener_rule"] = json!(format!("{}0", plan["listener_rule"].as_str().unwrap()));
    let refused = post(&world, "/v1/rollouts", &json!({ "plan": plan, "reason": "r" }));
    assert_eq!((refused.status, &refused.body["type"]), (409, &json!("CallFailed")), "{}", refused.body);
}

#[test]
fn every_command_is_carried_out_and_audited_with_its_caller() {
    let world = open(World::on_first_step(4));
    let log = |decision: &str| {
        let history = get(&world, &path("/history?limit=50")).body;
        let entries = history["entries"].as_array().unwrap().clone();
        entries.into_iter().find(|entry| entry["decision"] == json!(decision)).unwrap()["by"].clone()
    };
    for (word, phase) in
        [("pause", "paused"), ("resume", "running"), ("promote", "running"), ("abort", "drained")]
    {
        let done = post(&world, &path(&format!("/{word}")), &json!({ "reason": "release 42" }));
        assert_eq!((done.status, &done.body["phase"]), (200, &json!(phase)), "{word}: {}", done.body);
        let by = log(word);
        assert_eq!((&by["actor"], &by["reason"]), (&json!("ci"), &json!("release 42")), "{word}");
    }
    assert_eq!((world.share(), world.record().phase), (Share::ZERO, Phase::Drained));
    let ended = post(&world, &path("/abort"), &json!({ "reason": "again" }));
    assert_eq!((ended.status, &ended.body["type"]), (409, &json!("CommandRefused")));
    let other = post(&world, "/v1/rollouts/other/abort", &json!({ "reason": "again" }));
    assert_eq!(other.status, 404);
}

#[test]
fn a_resume_says_with_which_weights() {
    let mut world = open(World::on_first_step(3));
    world.meddle(80, 20);
    world.tick();
    assert_eq!(world.record().phase, Phase::Frozen);
    let resumed = post(&world, &path("/resume"), &json!({ "reason": "r", "weights": "restore" }));
    assert_eq!(resumed.status, 200, "{}", resumed.body);
    world.tick();
    assert_eq!((world.share(), world.record().phase), (percent(5.0), Phase::Running));
}

#[test]
fn all_rollouts_are_frozen_and_thawed_over_http() {
    let world = open(World::on_first_step(1));
    let frozen = post(&world, "/v1/freeze", &json!({ "reason": "incident 7", "actor": "ana" }));
    assert_eq!((frozen.status, &frozen.body["frozen_by"]["actor"]), (200, &json!("ci for ana")));
    assert_eq!(get(&world, "/v1/rollouts").body["frozen_by"]["reason"], json!("incident 7"));
    let thawed = post(&world, "/v1/thaw", &json!({ "reason": "over" }));
    assert_eq!((thawed.status, &thawed.body["was_frozen"]), (200, &json!(true)));
}

#[test]
fn bodies_of_commands_that_make_no_sense_change_nothing() {
    let world = open(World::on_first_step(3));
    let before = (world.record(), world.share());
    for body in [
        "",
        "{",
        "[]",
        "null",
        "7",
        "\"reason\"",
        "{}",
        r#"{"reason":""}"#,
        r#"{"reason":"two\nlines"}"#,
        r#"{"reason":7}"#,
        r#"{"reason":"r","rollout":"other"}"#,
        r#"{"reason":"r","at":"2026-03-01T10:00:00Z"}"#,
        r#"{"reason":"r","kind":"tick"}"#,
        r#"{"reason":"r","command":"pause"}"#,
        r#"{"reson":"r"}"#,
        r#"{"reason":"r","weights":"adopt"}"#,
        r#"{"reason":"r","actor":["ana"]}"#,
        "\u{0}",
    ] {
        let wrong = send(&world, &by(ACTS, "POST", &path("/abort"), body));
        assert_eq!(wrong.status, 400, "{body}: {}", wrong.body);
        assert!(wrong.body["error"].is_string());
    }
    assert_eq!((world.record(), world.share()), before);
}

#[test]
fn a_command_whose_call_fails_is_to_be_tried_again() {
    let world = open(World::on_first_step(3));
    let failed = Outcome::Fails(FailureKind::Throttled);
    world.cloud.fail(Fault { operation: Operation::Get, outcome: failed, times: 1 });
    let answer = post(&world, &path("/pause"), &json!({ "reason": "r" }));
    assert_eq!((answer.status, &answer.headers["retry-after"]), (503, &json!("60")), "{}", answer.body);
}

#[test]
fn a_signature_of_aws_may_ask_and_act() {
    let world = open(World::on_first_step(2));
    let mut pause = request("POST", &path("/pause"), r#"{"reason":"r"}"#);
    pause["requestContext"]["authorizer"] = json!({ "iam": { "userArn": IAM, "accountId": "123456789012" } });
    assert_eq!(send(&world, &pause).status, 200);
    assert_eq!(world.record().phase, Phase::Paused);
    assert!(world.record().why.contains(IAM), "{}", world.record().why);
}

#[test]
fn a_signed_command_is_taken_once() {
    let world = open(World::on_first_step(4));
    let promote = signed(&world, -30, "POST", &path("/promote"), r#"{"reason":"r"}"#);
    assert_eq!(send(&world, &promote).status, 200);
    assert_eq!(world.share(), percent(25.0));
    for second in [-30, 0, 269] {
        assert_eq!(send_at(&world, &promote, second).status, 401, "{second}");
    }
    assert_eq!(world.share(), percent(25.0));
    // Another process of the function, which has not seen it.
    let world = open(world);
    assert_eq!(send(&world, &promote).status, 401);
    assert_eq!(world.share(), percent(25.0));
    let outcome = Outcome::Fails(FailureKind::TimedOut);
    world.cloud.fail(Fault { operation: Operation::TakeOnce, outcome, times: 1 });
    let pause = signed(&world, -30, "POST", &path("/pause"), r#"{"reason":"r"}"#);
    assert_eq!(send(&world, &pause).status, 503, "what can't be checked is not done");
    assert_eq!(world.record().phase, Phase::Running);
    let asks = signed(&world, -30, "GET", "/v1/rollouts", "");
    assert!((0..3).all(|_| send(&world, &asks).status == 200));
}

/// Requests that must be refused at the door, each with its name.
fn strangers(world: &World) -> Vec<(&'static str, Value)> {
    let target = path("/abort");
    let body = r#"{"reason":"r"}"#;
    let with = |mut request: Value, header: &str, value: &str| {
        request["headers"][header] = json!(value);
        request
    };
    let plain = || request("POST", &target, body);
    let good = || signed(world, -30, "POST", &target, body);
    let moved = |key: &str, value: &str| {
        let mut request = good();
        request[key] = json!(value);
        request
    };
    let mut unsigned_time = good();
    unsigned_time["headers"].as_object_mut().unwrap().remove("x-canary-gate-timestamp");
    let mut other_method = good();
    other_method["requestContext"]["http"]["method"] = json!("PUT");
    let forged = with(plain(), "x-test-iam", IAM);
    let mut forged_context = plain();
    forged_context["requestContext"]["authorizer"] = json!({ "lambda": { "iam": { "userArn": IAM } } });
    let body_token = format!(r#"{{"reason":"r","metadata":{{"token":"{ACTS}"}}}}"#);
    vec![
        ("unsigned", plain()),
        ("an empty token", with(plain(), "authorization", "Bearer ")),
        ("a wrong token", with(plain(), "authorization", &format!("Bearer {}", &ACTS[1..]))),
        (
            "the hash as a token",
            with(plain(), "authorization", &format!("Bearer {}", hex(&Sha256::digest(ACTS)))),
        ),
        ("the key as a token", with(plain(), "authorization", &format!("Bearer {}", hex(&KEY)))),
        ("a token without its scheme", with(plain(), "authorization", ACTS)),
        ("a token in the query", request("POST", &format!("{target}?token={ACTS}"), body)),
        ("a token in the body of a path that has none there", request("POST", &target, &body_token)),
        ("a forged header of the endpoint's", forged),
        ("a forged ARN in another authorizer", forged_context),
        ("a signature of zeros", with(good(), "x-canary-gate-signature", &"0".repeat(64))),
        ("a signature that is none", with(good(), "x-canary-gate-signature", "sha256=yes")),
        ("a signature without a time", unsigned_time),
        ("a signature with another time", with(good(), "x-canary-gate-timestamp", "1772359171")),
        ("a stale signature", signed(world, -331, "POST", &target, body)),
        ("a signature of the future", signed(world, 271, "POST", &target, body)),
        ("a signature of another body", moved("body", r#"{"reason":"s"}"#)),
        ("a signature of another path", moved("rawPath", &path("/promote"))),
        ("a signature of another query", moved("rawQueryString", "x=1")),
        ("a signature of another method", other_method),
        (
            "a bad signature beside a good token",
            with(with(good(), "x-canary-gate-signature", "00"), "authorization", &format!("Bearer {ACTS}")),
        ),
    ]
}

#[test]
fn whoever_is_not_known_is_refused_in_the_same_words_and_changes_nothing() {
    let mut refusals = BTreeSet::new();
    let world = World::on_first_step(3);
    for (name, request) in strangers(&world) {
        let mut world = open(World::on_first_step(3));
        // Whatever was tried before has no part in it.
        world.doors = doors();
        let before = (world.record(), world.share());
        let refused = send(&world, &request);
        assert_eq!((refused.status, (world.record(), world.share())), (401, before), "{name}");
        assert!(world.calls().is_empty(), "{name}: no call of AWS is made");
        refusals.insert(format!("{} {}", refused.headers, refused.body));
    }
    assert_eq!(refusals.len(), 1, "{refusals:?}");
}

#[test]
fn whoever_is_not_known_learns_nothing_of_what_exists() {
    let world = World::on_first_step(1);
    let mut answers = BTreeSet::new();
    for (method, target) in [
        ("GET", path("")),
        ("GET", "/v1/rollouts/other".to_owned()),
        ("GET", "/nothing/here".to_owned()),
        ("PUT", "/v1/freeze".to_owned()),
        ("NOSUCH", "/v1/rollouts".to_owned()),
        ("POST", "/flagger/v1/rollback".to_owned()),
        ("GET", "/v1/openapi.json".to_owned()),
        ("POST", "/healthz".to_owned()),
        ("GET", "/github/v1/webhook".to_owned()),
        ("GET", "/".to_owned()),
    ] {
        let refused = send(&world, &request(method, &target, "{"));
        assert_eq!(refused.status, 401, "{method} {target}");
        answers.insert(format!("{} {}", refused.headers, refused.body));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

/// Every one of them as a proxy, a framework or another version of the payload would understand it.
#[test]
fn tricks_with_headers_paths_and_bodies_open_no_door() {
    let target = path("/abort");
    let body = r#"{"reason":"r"}"#;
    let with = |header: &str, value: &str| {
        let mut request = request("POST", &target, body);
        request["headers"][header] = json!(value);
        request
    };
    let mut tricks = vec![
        // Lambda joins headers that come twice with a comma.
        ("two tokens in one header", with("authorization", &format!("Bearer wrong,Bearer {ACTS}"))),
        ("a token behind a good one", with("authorization", &format!("Bearer {ACTS},Bearer wrong"))),
        ("the scheme twice", with("authorization", &format!("Bearer Bearer {ACTS}"))),
        ("a token in another header", with("x-authorization", &format!("Bearer {ACTS}"))),
        ("a token in a cookie", with("cookie", &format!("authorization=Bearer {ACTS}"))),
        ("a proxy's word for the caller", with("x-amzn-iam-user-arn", IAM)),
        ("another path in a header", with("x-original-url", "/healthz")),
        ("another method in a header", with("x-http-method-override", "GET")),
    ];
    let mut cookies = request("POST", &target, body);
    cookies["cookies"] = json!([format!("authorization=Bearer {ACTS}")]);
    tricks.push(("a token among the cookies", cookies));
    let mut older = request("POST", &target, body);
    older["multiValueHeaders"] = json!({ "authorization": [format!("Bearer {ACTS}")] });
    tricks.push(("a header of another payload format", older));
    for spelt in
        ["/healthz/..%2fv1/freeze", "/healthz%00", "//healthz", "/HEALTHZ", "/healthz/", "/healthz;a"]
    {
        tricks.push(("the open path spelt in another way", request("GET", spelt, "")));
    }
    let token = format!(r#"{{"reason":"r","metadata":{{"token":"{ACTS}"}}}}"#);
    for spelt in ["/gate/../v1/freeze", "/gate/..%2fv1/freeze", "/flagger/%2e%2e/v1/freeze"] {
        // A token in the body counts there; the path leads nowhere all the same.
        tricks.push(("a path below one with tokens in the body", request("POST", spelt, &token)));
    }
    for (name, request) in tricks {
        let mut world = open(World::on_first_step(3));
        world.doors = doors();
        let before = (world.record(), world.share());
        let status = send(&world, &request).status;
        assert!([400, 401, 404].contains(&status), "{name}: {status}");
        assert_eq!((world.record(), world.share()), before, "{name}");
        assert_eq!(get(&world, "/v1/rollouts").body["frozen_by"], Value::Null, "{name}");
    }
}

#[test]
fn an_address_is_the_one_that_lambda_saw() {
    let world = open(World::on_first_step(1));
    let from = |number: u32| {
        let mut stranger = request("GET", "/v1/rollouts", "");
        stranger["headers"]["x-forwarded-for"] = json!(format!("198.51.100.{number}"));
        send(&world, &stranger).status
    };
    assert!((0..20).all(|number| from(number) == 401));
    assert_eq!(from(99), 429, "another address in a header is no other address");
}

#[test]
fn a_body_in_base64_is_the_body_that_was_signed_and_counted() {
    let world = open(World::on_first_step(2));
    let target = path("/pause");
    let body = r#"{"reason":"r"}"#;
    let in_base64 = |text: &str| {
        let mut request = signed(&world, -30, "POST", &target, body);
        request["body"] = json!(text);
        request["isBase64Encoded"] = json!(true);
        request
    };
    for wrong in ["eyJyZWFzb24iOiJyIn0", "eyJyZWFzb24iOiJyIn1=", "eyJy ZWFzb24iOiJyIn0=", body] {
        assert_eq!(send(&world, &in_base64(wrong)).status, 400, "{wrong}");
    }
    assert_eq!(send(&world, &in_base64("eyJyZWFzb24iOiJzIn0=")).status, 401, "another body");
    assert_eq!(send(&world, &in_base64(&"A".repeat(400_000))).status, 413);
    assert_eq!(send(&world, &in_base64("eyJyZWFzb24iOiJyIn0=")).status, 200);
}

/// Of everything that docs/security.md says was tried.
#[test]
fn every_test_that_the_security_document_names_exists() {
    let files = [
        ("suite/http", include_str!("http.rs")),
        ("suite/callers", include_str!("callers.rs")),
        ("suite/github", include_str!("github.rs")),
        ("aws/http", include_str!("../aws/http.rs")),
        ("auth", include_str!("../../src/handler/http/auth.rs")),
        ("rate", include_str!("../../src/handler/http/rate.rs")),
        ("router", include_str!("../../src/handler/http/mod.rs")),
        ("github", include_str!("../../src/handler/http/github.rs")),
        ("event/http", include_str!("../../src/event/http.rs")),
        ("event", include_str!("../../src/event/tests.rs")),
        ("config/callers", include_str!("../../src/config/callers.rs")),
    ];
    let document = include_str!("../../docs/security.md");
    let mut named = 0;
    for (file, test) in document.split('`').filter_map(|quoted| quoted.split_once("::")) {
        let (_, text) =
            files.iter().find(|(name, _)| *name == file).unwrap_or_else(|| panic!("no file {file}"));
        assert!(text.contains(&format!("fn {test}()")), "{file} has no test {test}");
        named += 1;
    }
    assert!(named > 30, "{named}");
}

#[test]
fn whoever_may_only_ask_cannot_act() {
    let world = open(World::on_first_step(2));
    let before = (world.record(), world.share());
    let body = json!({ "plan": default_plan(), "reason": "r" }).to_string();
    let targets = ["promote", "pause", "resume", "abort"].map(|word| path(&format!("/{word}")));
    let more = ["/v1/rollouts", "/v1/freeze", "/v1/thaw", "/v1/rollouts/other/abort"].map(str::to_owned);
    for target in targets.iter().chain(&more) {
        let refused = send(&world, &by(ASKS, "POST", target, &body));
        assert_eq!(refused.status, 403, "{target}");
    }
    assert_eq!((world.record(), world.share()), before);
    assert_eq!(get(&world, "/v1/rollouts").body["frozen_by"], Value::Null);
}

#[test]
fn whoever_may_only_ask_cannot_act_by_tricks() {
    let world = open(World::on_first_step(2));
    let before = (world.record(), world.share());
    let body = r#"{"reason":"r"}"#;
    let with = |method: &str, header: &str, value: &str| {
        let mut request = by(ASKS, method, &path("/abort"), body);
        request["headers"][header] = json!(value);
        send(&world, &request).status
    };
    assert_eq!(with("GET", "x-http-method-override", "POST"), 405);
    assert_eq!(with("HEAD", "x-method", "POST"), 405);
    assert_eq!(with("post", "x-caller", "ci"), 403);
    assert_eq!(with("POST", "x-canary-gate-caller", "ci"), 403);
    let claims =
        r#"{"reason":"r","may":"act","caller":"ci","metadata":{"token":"a0b1c2d3e4f5061728394a5b6c7d8e9f"}}"#;
    assert_eq!(send(&world, &by(ASKS, "POST", &path("/abort"), claims)).status, 403);
    assert_eq!((world.record(), world.share()), before);
}

#[test]
fn unknown_paths_and_wrong_methods_are_told_to_those_who_are_known() {
    let world = open(World::on_first_step(1));
    for target in [
        "/",
        "/v1",
        "/v1/",
        "/v2/verdict",
        "/v1/rollouts/a/b/c",
        "/v1/rollouts/a/delete",
        "/v1/rollouts//history",
    ] {
        for method in ["GET", "POST"] {
            let missing = send(&world, &by(ACTS, method, target, "{}"));
            assert_eq!((missing.status, &missing.body), (404, &json!({ "error": "not found" })), "{target}");
        }
    }
    let wrong = send(&world, &by(ACTS, "DELETE", &path(""), ""));
    assert_eq!((wrong.status, &wrong.headers["allow"]), (405, &json!("GET, HEAD")));
    let wrong = send(&world, &by(ACTS, "GET", &path("/abort"), ""));
    assert_eq!((wrong.status, &wrong.headers["allow"]), (405, &json!("POST")));
    let head = send(&world, &by(ASKS, "HEAD", "/v1/rollouts", ""));
    assert_eq!((head.status, head.body), (200, json!("")));
}

#[test]
fn every_path_of_the_document_knows_its_methods() {
    let world = open(World::on_first_step(1));
    let document = get(&world, "/v1/openapi.json").body;
    assert_eq!(document, serde_json::from_str::<Value>(include_str!("../../infra/openapi.json")).unwrap());
    for (path, item) in document["paths"].as_object().unwrap() {
        let target = path.replace("{name}", ROLLOUT).replace("{id}", "x").replace("{hook}", "rollback");
        let wrong = send(&world, &by(ACTS, "TRACE", &target, ""));
        assert_eq!(wrong.status, 405, "{path}");
        let allowed = wrong.headers["allow"].as_str().unwrap().split(", ").map(str::to_lowercase);
        let allowed: BTreeSet<String> = allowed.filter(|method| method != "head").collect();
        assert_eq!(allowed, item.as_object().unwrap().keys().cloned().collect(), "{path}");
    }
}

#[test]
fn every_status_of_the_api_is_described() {
    let world = open(World::on_first_step(1));
    let document = get(&world, "/v1/openapi.json").body;
    let described = |path: &str, method: &str, status: u64| {
        !document["paths"][path][method]["responses"][status.to_string()].is_null()
    };
    for (method, template, target, body) in [
        ("get", "/v1/verdict", format!("/v1/verdict?rollout={ROLLOUT}"), ""),
        ("get", "/v1/verdict", "/v1/verdict?rollout=other".to_owned(), ""),
        ("get", "/v1/verdict", "/v1/verdict".to_owned(), ""),
        ("get", "/v1/rollouts/{name}/history", path("/history?limit=x"), ""),
        ("post", "/v1/rollouts", "/v1/rollouts".to_owned(), "{}"),
        ("post", "/v1/rollouts/{name}/resume", path("/resume"), r#"{"reason":"r","weights":"adopt"}"#),
        ("post", "/v1/rollouts/{name}/abort", path("/abort"), r#"{"reason":"r"}"#),
        ("post", "/v1/rollouts/{name}/abort", path("/abort"), r#"{"reason":"r"}"#),
        ("post", "/v1/freeze", "/v1/freeze".to_owned(), r#"{"reason":"r"}"#),
    ] {
        let answer = send(&world, &by(ACTS, &method.to_uppercase(), &target, body));
        assert!(described(template, method, answer.status), "{method} {target}: {}", answer.status);
    }
}

#[test]
fn what_is_too_large_or_malformed_gets_an_answer_and_quotes_nothing() {
    let world = open(World::on_first_step(1));
    let long = "s3cret".repeat(50_000);
    for (key, value, status) in [
        ("body", json!(long), 413),
        ("rawPath", json!(format!("/{long}")), 414),
        ("rawQueryString", json!(long), 414),
        ("headers", json!({ "x": long }), 431),
        ("headers", json!(["s3cret"]), 400),
        ("rawPath", json!("/s3cret%ff"), 400),
        ("rawPath", json!("s3cret"), 400),
        ("version", json!("s3cret"), 400),
        ("body", json!({ "s3cret": 1 }), 400),
        ("isBase64Encoded", json!(true), 400),
        ("requestContext", json!({ "http": "s3cret" }), 400),
        ("requestContext", json!({ "http": { "method": "s3cret s3cret" } }), 400),
    ] {
        let mut event = by(ACTS, "POST", &path("/abort"), "{s3cret}");
        event[key] = value;
        let refused = send(&world, &event);
        assert_eq!(refused.status, status, "{key}: {}", refused.body);
        assert!(!refused.body.to_string().contains("s3cret"), "{}", refused.body);
    }
    assert!(world.calls().is_empty());
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let world = open(World::on_first_step(1));
    let health = by(ASKS, "GET", "/v1/openapi.json", "");
    assert!((0..120).all(|_| send(&world, &health).status == 200));
    let refused = send(&world, &health);
    assert_eq!((refused.status, &refused.headers["retry-after"]), (429, &json!("1")));
    assert_eq!(
        post(&world, &path("/pause"), &json!({ "reason": "r" })).status,
        200,
        "others are not held up"
    );
    assert_eq!(send_at(&world, &health, -29).status, 200);
}

#[test]
fn an_address_that_is_refused_often_is_held_up_and_locks_nobody_out() {
    let world = open(World::on_first_step(1));
    let stranger = request("GET", "/v1/rollouts", "");
    assert!((0..20).all(|_| send(&world, &stranger).status == 401));
    let refused = send(&world, &stranger);
    assert_eq!((refused.status, &refused.headers["retry-after"]), (429, &json!("6")));
    assert_eq!(get(&world, "/v1/rollouts").status, 200, "whoever is known is let in from there, too");
    assert_eq!(send_at(&world, &stranger, -24).status, 401);
}

#[test]
fn an_installation_without_callers_is_open_to_iam_alone() {
    let world = World::on_first_step(1);
    assert_eq!(send(&world, &by(ACTS, "GET", "/v1/rollouts", "")).status, 401);
    assert_eq!(send(&world, &signed(&world, -30, "GET", "/v1/rollouts", "")).status, 401);
    let mut list = request("GET", "/v1/rollouts", "");
    list["requestContext"]["authorizer"] = json!({ "iam": { "userArn": IAM } });
    assert_eq!(send(&world, &list).status, 200);
}

/// The requests of `events/`, at the door and behind it, at their time: nobody has watched the rollout for a while then.
#[test]
fn the_sample_requests_are_let_in_and_answered() {
    for (text, status, changed) in [
        (include_str!("../../events/http-health.json"), 200, ""),
        (include_str!("../../events/http-verdict.json"), 503, ""),
        (include_str!("../../events/http-history.json"), 200, ""),
        (include_str!("../../events/http-pause-iam.json"), 200, "assumed-role/deployer/release-42: look"),
        (include_str!("../../events/http-abort-signed.json"), 200, "deploy for ana: checkout fails"),
        (include_str!("../../events/http-freeze-base64.json"), 403, ""),
        (include_str!("../../events/http-flagger.json"), 403, ""),
        (include_str!("../../events/http-loadtester.json"), 403, ""),
        (include_str!("../../events/http-spinnaker.json"), 202, ""),
    ] {
        let world = open(World::on_first_step(3));
        let event: Value = serde_json::from_str(text).unwrap();
        let epoch = event["requestContext"]["timeEpoch"].as_i64().unwrap() / 1_000;
        let answer = send_at(&world, &event, epoch - world.minute.start().as_second());
        assert_eq!(answer.status, status, "{text}: {}", answer.body);
        assert!(world.record().why.contains(changed), "{}", world.record().why);
    }
}
