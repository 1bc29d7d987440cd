//! The function's URL, over the wire: what a caller sends goes through the endpoint's front to the function, and
//! what the function says comes back as HTTP.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::http::Request;

use crate::gate::run_to_its_end;
use crate::outside::names;
use crate::traffic::Generated;
use crate::world::{ROLLOUT, World};

const ASKS: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
const KEY: [u8; 32] = [0x5a; 32];
const IAM: &str = "arn:aws:sts::123456789012:assumed-role/deployer/release-42";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn callers() -> String {
    format!("flagger:ask:sha256={},deploy:act:hmac={}", hex(&Sha256::digest(ASKS)), hex(&KEY))
}

/// On the first step after these minutes, as in `commands`, with two callers.
fn on_first_step(minutes: i64) -> World {
    let callers = callers();
    let settings = [("CANARY_GATE_CLOCK", "event"), ("CANARY_GATE_CALLERS", callers.as_str())];
    let world = World::set_up(json!({}), &settings).now_is_before(minutes);
    world.start(&world.plan(json!({ "bake": "5m" })));
    for minute in 0..minutes {
        world.live(minute, &Generated::HEALTHY);
    }
    assert_eq!(world.rule().share(&world), 5.0);
    world
}

/// An answer of the function's URL.
struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text"))
    }
}

/// Sends a request to the function's URL.
fn send(world: &World, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let config = Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true);
    let agent = config.proxy(None).build().new_agent();
    let url = format!("{}/_url/function{target}", world.endpoint.url());
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request =
        request.header("content-type", "application/json").body(body.to_owned()).expect("a request");
    let mut response = agent.run(request).expect("the endpoint answers");
    let text = response.body_mut().read_to_string().expect("an answer");
    let body = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
    Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }
}

fn ask(world: &World, target: &str) -> Answer {
    send(world, "GET", target, &[("authorization", &format!("Bearer {ASKS}"))], "")
}

fn verdict(world: &World) -> Answer {
    ask(world, &format!("/v1/verdict?rollout={ROLLOUT}"))
}

fn order(world: &World, word: &str) -> Answer {
    let body = r#"{"reason":"release 42","actor":"ana"}"#;
    send(world, "POST", &format!("/v1/rollouts/{ROLLOUT}/{word}"), &[("x-test-iam", IAM)], body)
}

/// The headers of a signature made some seconds ago.
fn signature(seconds_ago: i64, method: &str, target: &str, body: &str) -> [(&'static str, String); 2] {
    let timestamp = (Timestamp::now().as_second() - seconds_ago).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).expect("a key");
    mac.update(format!("{timestamp}\n{method}\n{target}\n{body}").as_bytes());
    let signature = format!("sha256={}", hex(&mac.finalize().into_bytes()));
    [("x-canary-gate-timestamp", timestamp), ("x-canary-gate-signature", signature)]
}

#[test]
fn a_verdict_is_told_over_http_from_one_read_of_the_table() {
    let world = on_first_step(4);
    let (held, calls) = world.calls_of(|| verdict(&world));
    assert_eq!((held.status, &held.body["verdict"]), (200, &json!("hold")), "{}", held.body);
    assert_eq!((held.header("cache-control"), held.header("content-type")), ("no-store", "application/json"));
    assert_eq!(held.body["evidence"], json!(format!("{}/v1/rollouts/{ROLLOUT}", world.endpoint.url())));
    assert_eq!(names(&calls), ["dynamodb GetItem"]);
    world.live_until_shift(4, &Generated::HARMFUL);
    let failed = verdict(&world);
    assert_eq!((failed.status, &failed.body["verdict"]), (200, &json!("fail")), "{}", failed.body);
}

#[test]
fn commands_over_http_are_carried_out_and_audited_with_their_caller() {
    let world = on_first_step(4);
    let paused = order(&world, "pause");
    assert_eq!((paused.status, &paused.body["phase"]), (200, &json!("paused")), "{}", paused.body);
    let aborted = order(&world, "abort");
    assert_eq!((aborted.status, world.rule().share(&world)), (200, 0.0), "{}", aborted.body);
    let log = world.log();
    for word in ["pause", "abort"] {
        let entry = log.iter().rfind(|entry| entry["decision"] == json!(word)).expect("an entry");
        assert_eq!(entry["by"]["actor"], json!(format!("{IAM} for ana")), "{entry}");
        assert_eq!(entry["by"]["reason"], json!("release 42"));
    }
    let again = order(&world, "abort");
    assert_eq!((again.status, &again.body["type"]), (409, &json!("CommandRefused")));
}

#[test]
fn a_rollout_is_started_over_http() {
    let world = World::new();
    let body = json!({ "plan": world.plan(json!({})), "reason": "release 42" }).to_string();
    let started = send(&world, "POST", "/v1/rollouts", &[("x-test-iam", IAM)], &body);
    assert_eq!(started.status, 201, "{}", started.body);
    assert_eq!(started.header("location"), format!("/v1/rollouts/{ROLLOUT}"));
    assert_eq!(world.tick(0)["decision"], json!("promote"));
    assert_eq!(world.rule().share(&world), 5.0);
}

#[test]
fn a_signed_command_is_taken_once_and_not_for_long() {
    let world = on_first_step(3);
    let (target, body) = (format!("/v1/rollouts/{ROLLOUT}/pause"), r#"{"reason":"release 42"}"#);
    let signed = |seconds_ago: i64, body: &str| {
        let headers = signature(seconds_ago, "POST", &target, r#"{"reason":"release 42"}"#);
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        send(&world, "POST", &target, &headers, body).status
    };
    assert_eq!(signed(400, body), 401, "stale");
    assert_eq!(signed(-400, body), 401, "of the future");
    assert_eq!(signed(0, r#"{"reason":"release 43"}"#), 401, "another body");
    assert_eq!(world.record().phase(), "running");
    let headers = signature(1, "POST", &target, body);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(send(&world, "POST", &target, &headers, body).status, 200);
    assert_eq!(send(&world, "POST", &target, &headers, body).status, 401, "replayed");
    assert_eq!(world.record().phase(), "paused");
}

#[test]
fn whoever_is_not_known_is_refused_without_a_call() {
    let world = on_first_step(2);
    let target = format!("/v1/rollouts/{ROLLOUT}/abort");
    let (refused, calls) = world.calls_of(|| {
        let mut refused = Vec::new();
        for (target, headers) in [
            (target.as_str(), vec![]),
            (target.as_str(), vec![("authorization", "Bearer wrong")]),
            (target.as_str(), vec![("x-canary-gate-signature", "00"), ("x-canary-gate-timestamp", "0")]),
            ("/nothing/here", vec![]),
        ] {
            let answer = send(&world, "POST", target, &headers, r#"{"reason":"r"}"#);
            refused.push((answer.status, answer.body.to_string()));
        }
        refused
    });
    assert!(
        refused.iter().all(|answer| *answer == (401, r#"{"error":"unauthorized"}"#.to_owned())),
        "{refused:?}"
    );
    assert!(calls.is_empty(), "{:?}", names(&calls));
    let asks = [("authorization", format!("Bearer {ASKS}"))];
    let asks: Vec<(&str, &str)> = asks.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(send(&world, "POST", &target, &asks, r#"{"reason":"r"}"#).status, 403);
    assert_eq!(world.rule().share(&world), 5.0);
    let log = world.gates[0].log();
    assert!(log.contains("request refused") && !log.contains(ASKS), "{log}");
}

#[test]
fn a_table_that_cannot_be_read_is_no_verdict_and_no_failed_invocation() {
    let world = on_first_step(2);
    world.faults(&json!([{ "op": "GetItem", "code": "InternalServerError", "status": 500, "n": -1 }]));
    let unknown = verdict(&world);
    assert_eq!((unknown.status, unknown.header("retry-after")), (503, "60"), "{}", unknown.body);
    world.no_faults();
    assert_eq!(verdict(&world).status, 200);
    assert_eq!(world.endpoint.get("runtime")["functions"]["function"]["errors"], json!(0));
}

#[test]
fn requests_of_every_kind_get_an_answer_and_none_fails_the_function() {
    let world = on_first_step(1);
    let token = format!("Bearer {ASKS}");
    let known = [("authorization", token.as_str())];
    for (method, target, body, status) in [
        ("GET", "/healthz", "", 200),
        ("HEAD", "/v1/rollouts", "", 200),
        ("GET", "/v1/openapi.json", "", 200),
        ("GET", "/v1/nothing", "", 404),
        ("GET", "/v1/rollouts/%ff", "", 400),
        ("GET", "/v1/rollouts/other", "", 404),
        ("GET", "/v1/verdict", "", 400),
        ("PATCH", "/v1/rollouts", "{", 405),
        ("POST", "/v1/freeze", "{", 403),
    ] {
        let answer = send(&world, method, target, &known, body);
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.body);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let large = format!(r#"{{"reason":"{}"}}"#, "x".repeat(300_000));
    assert_eq!(send(&world, "POST", "/v1/freeze", &known, &large).status, 413);
    assert_eq!(world.endpoint.get("runtime")["functions"]["function"]["errors"], json!(0));
}

#[test]
fn callers_that_are_written_wrong_are_told_without_their_secrets() {
    let callers = format!("flagger:look:sha256={}", hex(&Sha256::digest(ASKS)));
    let settings = [
        ("CANARY_GATE_TABLE", "canary-gate"),
        ("CANARY_GATE_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:on-call"),
        ("CANARY_GATE_CALLERS", callers.as_str()),
    ];
    let (content, said) = run_to_its_end(&settings);
    assert!(!content && said.contains("CANARY_GATE_CALLERS: entry 1: may must be ask"), "{said}");
    assert!(!said.contains(&hex(&Sha256::digest(ASKS))[..8]), "{said}");
}
