//! Each caller as it was read in its own code or documentation: what it sends, what each of our answers is to it,
//! and what it does then. The callers' rules are written down here as functions; their programs are not run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use canary_gate::config::{KnownCaller, Secret};
use canary_gate::handler::{Doors, handle_at};
use canary_gate::ports::FailureKind;
use canary_gate::rollout::record::Phase;
use canary_gate::sim::run::default_plan;
use canary_gate::sim::{Fault, Operation, Outcome};
use canary_gate::units::Share;
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::world::{ROLLOUT, World};

const HOST: &str = "gate.example";
const ASK: &str = "ask-token";
const ACT: &str = "act-token";

/// A request as a caller writes it.
#[derive(Clone, Default)]
struct Sent {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

impl Sent {
    fn new(method: &str, path: &str, token: &str, body: &Value) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: [("authorization".to_owned(), format!("Bearer {token}"))].into(),
            body: body.clone(),
        }
    }

    /// What a function URL makes of it.
    fn event(&self) -> Value {
        let body = match &self.body {
            Value::Null => Value::Null,
            Value::String(text) => json!(text),
            body => json!(body.to_string()),
        };
        json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": self.path,
            "rawQueryString": self.query,
            "headers": self.headers,
            "requestContext": {
                "domainName": HOST,
                "http": { "method": self.method, "path": self.path, "sourceIp": "203.0.113.7" },
            },
            "body": body,
            "isBase64Encoded": false,
        })
    }
}

/// What came back.
struct Got {
    status: u16,
    headers: Value,
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn doors() -> Doors {
    let caller = |name: &str, may_act: bool, token: &str| KnownCaller {
        name: name.to_owned(),
        may_act,
        secret: Secret::TokenHash(Sha256::digest(token.as_bytes()).into()),
    };
    Doors::new(vec![caller("prober", false, ASK), caller("pipeline", true, ACT)])
}

fn send(world: &World, sent: &Sent) -> Got {
    let now = world.minute.start() - SignedDuration::from_secs(30);
    world.cloud.set_now(now);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (event, doors) = (sent.event(), doors());
    let answer = handle_at(&world.cloud, &world.options, &doors, &event, now);
    let answer = runtime.block_on(answer).unwrap();
    Got {
        status: answer["statusCode"].as_u64().unwrap().try_into().unwrap(),
        headers: answer["headers"].clone(),
        body: answer["body"].as_str().unwrap().to_owned(),
    }
}

fn ask(world: &World, method: &str, path: &str, body: &Value) -> Got {
    send(world, &Sent::new(method, path, ASK, body))
}

fn act(world: &World, method: &str, path: &str, body: &Value) -> Got {
    send(world, &Sent::new(method, path, ACT, body))
}

/// A rollout that another hand drives, which stands at 5 %: proven, undecided or harmful.
fn observed(state: &str) -> World {
    let mut world = World::started_with(&json!({ "mode": "observe", "bake": "5m" }));
    world.meddle(95, 5);
    if state == "fail" {
        world.per_mille = [3.0, 300.0];
    }
    world.ticks(if state == "hold" { 3 } else { 45 });
    let verdict = ask(&world, "GET", &format!("/v1/verdict?rollout={ROLLOUT}"), &Value::Null).json();
    assert_eq!(verdict["verdict"], if state == "error" { "pass" } else { state }, "{verdict}");
    world
}

/// The store answers no read any more.
fn break_store(world: &World) {
    for operation in [Operation::Get, Operation::List] {
        let outcome = Outcome::Fails(FailureKind::Unavailable);
        world.cloud.fail(Fault { operation, outcome, times: u32::MAX });
    }
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn recorded() -> Vec<(String, Value)> {
    let files = fs::read_dir(root("tests/callers")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_str::<Value>(&text).unwrap())
    };
    files.into_iter().map(read).filter(|(_, shape)| shape.get("request").is_some()).collect()
}

fn sent(shape: &Value) -> Sent {
    let request = &shape["request"];
    let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
    Sent {
        method: text("method"),
        path: text("path"),
        query: text("query"),
        headers: serde_json::from_value(request["headers"].clone()).unwrap(),
        body: request["body"].clone(),
    }
}

#[test]
fn every_recorded_request_gets_the_status_that_its_caller_understands() {
    let shapes = recorded();
    assert!(shapes.len() >= 19, "{}", shapes.len());
    for state in ["pass", "hold", "fail", "error"] {
        let world = observed(state);
        if state == "error" {
            break_store(&world);
        }
        for (name, shape) in &shapes {
            let got = send(&world, &sent(shape));
            assert_eq!(json!(got.status), shape["expect"][state], "{name}, {state}: {}", got.body);
        }
    }
}

/// What Flagger makes of an answer (pkg/controller/webhook.go, and the policy of its HTTP client).
#[derive(Debug, PartialEq, Eq)]
enum Flagger {
    Yes,
    /// With the reason in its event.
    No,
    /// It tries again, and in the end says "giving up" without the reason.
    Retries,
}

fn flagger(status: u16) -> Flagger {
    match status {
        429 => Flagger::Retries,
        501 => Flagger::No,
        500.. => Flagger::Retries,
        0..=202 => Flagger::Yes,
        _ => Flagger::No,
    }
}

fn hook(world: &World, hook: &str, phase: &str) -> Got {
    let metadata = json!({ "rollout": ROLLOUT, "token": ASK });
    let body = json!({ "name": "podinfo", "namespace": "test", "phase": phase, "metadata": metadata });
    let path = format!("/flagger/v1/{hook}");
    send(world, &Sent { headers: BTreeMap::new(), ..Sent::new("POST", &path, "", &body) })
}

#[test]
fn flagger_never_loses_a_reason_whatever_it_asks_and_whatever_is_wrong() {
    let bodies = [
        json!("no JSON"),
        json!({}),
        json!({ "name": "nothing-of-ours", "metadata": { "token": ASK } }),
        json!({ "name": "Not A Name", "metadata": { "token": ASK } }),
        json!({ "name": ROLLOUT, "metadata": { "type": "rollback", "token": ASK } }),
    ];
    let world = observed("hold");
    for word in ["confirm-rollout", "confirm-promotion", "rollout", "nonsense"] {
        for body in &bodies {
            let got = ask(&world, "POST", &format!("/flagger/v1/{word}"), body);
            assert_eq!(flagger(got.status), Flagger::No, "{word}, {body}: {}", got.body);
            assert!(!got.body.is_empty());
        }
    }
    let mismatch = ask(&world, "POST", "/flagger/v1/confirm-promotion", &bodies[4]);
    assert!(mismatch.body.contains("metadata.type says \"rollback\""), "{}", mismatch.body);
    break_store(&world);
    for word in ["confirm-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion", "rollback"] {
        let got = hook(&world, word, "Progressing");
        assert_eq!(flagger(got.status), Flagger::No, "{word}");
        assert!(got.body.contains("gate error, holding"), "{}", got.body);
    }
}

/// One interval of Flagger's scheduler with the hooks of the example: what it does with the weight.
fn flagger_s_interval(world: &World) -> &'static str {
    if flagger(hook(world, "rollback", "Progressing").status) == Flagger::Yes {
        return "roll back";
    }
    match flagger(hook(world, "confirm-traffic-increase", "Progressing").status) {
        Flagger::Yes => "raise",
        _ => "wait",
    }
}

#[test]
fn a_canary_that_flagger_drives_rises_once_for_each_proof_and_is_rolled_back_when_harmful() {
    let mut world = World::started_with(&json!({ "mode": "observe", "bake": "5m" }));
    assert_eq!(flagger(hook(&world, "confirm-rollout", "Waiting").status), Flagger::No, "nobody watches yet");
    world.ticks(1);
    assert_eq!(flagger(hook(&world, "confirm-rollout", "Waiting").status), Flagger::Yes);
    assert_eq!(flagger(hook(&world, "confirm-promotion", "Progressing").status), Flagger::No);
    let mut weight = 0;
    let mut raised = Vec::new();
    for interval in 0..40 {
        if flagger_s_interval(&world) == "raise" {
            weight += 10;
            world.meddle(100 - weight, weight);
            raised.push(interval);
        }
        // The example's interval.
        world.ticks(3);
        if weight == 30 {
            break;
        }
    }
    assert_eq!((raised.len(), raised[0]), (3, 0), "{raised:?}");
    // Five minutes of bake time and the watermark pass between two rises.
    assert!(raised.windows(2).all(|pair| (pair[1] - pair[0]) * 3 >= 7), "{raised:?}");
    world.per_mille = [3.0, 300.0];
    world.ticks(9);
    assert_eq!(flagger_s_interval(&world), "roll back");
}

#[test]
fn the_verdict_of_the_last_release_is_none_on_the_next() {
    let mut world = World::on_first_step_with(&json!({ "steps": ["50%", "100%"], "bake": "5m" }), 0);
    world.until("promote", 40);
    assert_eq!(hook(&world, "confirm-promotion", "Progressing").status, 200);
    let next = hook(&world, "confirm-rollout", "Waiting");
    assert!(next.status == 403 && next.body.contains("start a new one"), "{}", next.body);
    world.ticks(62);
    for word in ["confirm-traffic-increase", "confirm-promotion", "rollout", "rollback"] {
        let got = hook(&world, word, "Progressing");
        assert!(got.status == 403 && got.body.contains("start a new one"), "{word}: {}", got.body);
    }
    let kayenta = ask(&world, "GET", "/kayenta/canaryConfig", &Value::Null).json();
    assert_eq!(kayenta, json!([]));
    let verdict = ask(&world, "GET", &format!("/v1/verdict?rollout={ROLLOUT}"), &Value::Null);
    assert!(verdict.status == 404 && verdict.body.contains("start a new one"), "{}", verdict.body);
}

#[test]
fn a_rollout_that_watched_one_release_neither_lets_the_next_one_through_nor_rolls_it_back() {
    for (per_mille, rollback) in [(3.0, 403), (60.0, 200)] {
        let mut world = World::started_with(&json!({ "mode": "observe", "bake": "5m" }));
        world.ticks(2);
        world.meddle(90, 10);
        world.per_mille[1] = per_mille;
        world.ticks(20);
        assert_eq!(hook(&world, "rollback", "Progressing").status, rollback);
        // Flagger has ended it, and begins again with the next revision.
        world.meddle(100, 0);
        world.ticks(3);
        for word in ["confirm-rollout", "confirm-traffic-increase"] {
            let got = hook(&world, word, "Waiting");
            assert_eq!(got.status, 403, "{word}: {}", got.body);
        }
        assert_eq!(hook(&world, "rollback", "Waiting").status, 403);
    }
}

#[test]
fn a_rollout_that_nobody_ticks_answers_nobody() {
    let mut world = observed("pass");
    world.minute = world.minute.plus(10);
    assert_eq!(hook(&world, "confirm-promotion", "Progressing").status, 403);
    let verdict = format!("/v1/verdict?rollout={ROLLOUT}");
    assert_eq!(ask(&world, "GET", &verdict, &Value::Null).status, 503);
    let began = ask(&world, "POST", "/spinnaker/v1/start", &json!({ "rollout": ROLLOUT })).json();
    let run = format!("/spinnaker/v1/run/{}", began["id"].as_str().unwrap());
    assert_eq!(ask(&world, "GET", &run, &Value::Null).status, 503);
}

#[test]
fn the_load_tester_s_switches_are_commands_for_those_who_may_act() {
    let mut world = World::on_first_step(2);
    let body = json!({ "name": ROLLOUT, "namespace": "test", "metadata": { "reason": "lunch" } });
    for path in ["/gate/open", "/gate/close", "/rollback/open", "/rollback/close"] {
        assert_eq!(ask(&world, "POST", path, &body).status, 403, "{path}");
        assert_eq!(act(&world, "POST", path, &json!("{")).status, 400, "{path}");
    }
    assert_eq!(world.record().phase, Phase::Running);
    for (path, phase) in [
        ("/gate/close", Phase::Paused),
        ("/gate/close", Phase::Paused),
        ("/gate/open", Phase::Running),
        ("/gate/open", Phase::Running),
        ("/rollback/close", Phase::Running),
        ("/rollback/open", Phase::Drained),
        ("/rollback/open", Phase::Drained),
    ] {
        let got = act(&world, "POST", path, &body);
        assert_eq!((got.status, world.record().phase), (202, phase), "{path}: {}", got.body);
    }
    assert_eq!(world.share(), Share::ZERO);
    assert!(world.record().why.contains("abort by pipeline: lunch"), "{}", world.record().why);
    world.tick();
    assert_eq!(ask(&world, "POST", "/rollback/check", &body).status, 200);
    assert_eq!(act(&world, "POST", "/gate/open", &body).status, 409);
}

/// How an analysis of Argo's ends a measurement, or goes on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measured {
    Successful,
    Failed,
    Inconclusive,
    Error,
    Running,
}

/// The web metric with `jsonPath: {$}` and the two conditions of the example
/// (metricproviders/webmetric/webmetric.go, utils/evaluate/evaluate.go).
fn argo_web(got: &Got) -> Measured {
    if !(200..300).contains(&got.status) {
        return Measured::Error;
    }
    // A body that is no JSON is the result as a text; it has no field `verdict`, and the condition fails to run.
    let Ok(result) = serde_json::from_str::<Value>(&got.body) else { return Measured::Error };
    let Some(verdict) = result["verdict"].as_str() else { return Measured::Error };
    match (verdict == "pass", verdict == "fail") {
        (_, true) => Measured::Failed,
        (true, false) => Measured::Successful,
        (false, false) => Measured::Inconclusive,
    }
}

#[test]
fn argo_s_web_metric_sees_three_answers_and_an_error() {
    let path = format!("/v1/verdict?rollout={ROLLOUT}");
    for (state, expected) in [
        ("pass", Measured::Successful),
        ("hold", Measured::Inconclusive),
        ("fail", Measured::Failed),
        ("error", Measured::Error),
    ] {
        let world = observed(state);
        if state == "error" {
            break_store(&world);
        }
        let got = ask(&world, "GET", &path, &Value::Null);
        assert_eq!(argo_web(&got), expected, "{}", got.body);
        // Argo keeps the body as the measurement's value.
        assert!(got.body.len() < 2_000, "{}", got.body.len());
    }
    let unknown = ask(&observed("hold"), "GET", "/v1/verdict?rollout=nothing", &Value::Null);
    assert_eq!(argo_web(&unknown), Measured::Error);
}

/// A canary config as Argo decodes it: a time that is no whole number fails the whole list.
#[derive(serde::Deserialize)]
#[allow(dead_code)]
#[serde(rename_all = "camelCase")]
struct CanaryConfig {
    id: String,
    name: String,
    updated_timestamp: i64,
    updated_timestamp_iso: String,
    applications: Vec<String>,
}

fn scopes(control: &str, experiment: &str, end: &str) -> Value {
    let scope =
        |scope: &str| json!({ "scope": scope, "region": "eu-west-1", "step": 60, "start": "", "end": end });
    json!({
        "scopes": { "default": { "controlScope": scope(control), "experimentScope": scope(experiment) } },
        "thresholds": { "pass": 95, "marginal": 50 },
    })
}

/// The first half of Argo's kayenta provider (metricproviders/kayenta/kayenta.go, `Run`): the execution's id.
fn argo_runs(world: &World, config: &str, body: &Value) -> Result<String, u16> {
    let query = "application=shop&configurationAccountName=canary-gate";
    let got = ask(world, "GET", &format!("/kayenta/canaryConfig?{query}"), &Value::Null);
    if got.status != 200 {
        return Err(got.status);
    }
    let configs: Vec<CanaryConfig> = serde_json::from_str(&got.body).map_err(|_| 0_u16)?;
    // It goes on with an empty id where no config has the name.
    let id = configs.into_iter().find(|c| c.name == config).map_or_else(String::new, |config| config.id);
    let query = "application=shop&metricsAccountName=a&configurationAccountName=a&storageAccountName=a";
    let got = ask(world, "POST", &format!("/kayenta/canary/{id}?{query}"), body);
    if got.status != 200 {
        return Err(got.status);
    }
    let id = got.json()["canaryExecutionId"].as_str().unwrap_or_default().to_owned();
    if id.is_empty() { Err(0) } else { Ok(id) }
}

/// The second half (`Resume`), every 15 seconds.
fn argo_resumes(world: &World, id: &str) -> Measured {
    let got = ask(world, "GET", &format!("/kayenta/canary/{id}"), &Value::Null);
    let Ok(patch) = serde_json::from_str::<Value>(&got.body) else { return Measured::Error };
    if got.status != 200 {
        return Measured::Error;
    }
    match patch["complete"].as_bool() {
        None => return Measured::Error,
        Some(false) => return Measured::Running,
        Some(true) => {}
    }
    let Some(score) = patch["result"]["judgeResult"]["score"]["score"].as_f64() else {
        return Measured::Error;
    };
    match score.trunc() {
        score if score >= 95.0 => Measured::Successful,
        score if score >= 50.0 => Measured::Inconclusive,
        _ => Measured::Failed,
    }
}

#[test]
fn argo_s_kayenta_provider_waits_and_scores() {
    let far = "2026-03-02T00:00:00Z";
    for (state, end, expected) in [
        ("pass", far, Measured::Successful),
        ("hold", far, Measured::Running),
        ("hold", "", Measured::Running),
        ("hold", "2026-03-01T09:00:00Z", Measured::Inconclusive),
        ("fail", far, Measured::Failed),
    ] {
        let world = observed(state);
        let id = argo_runs(&world, ROLLOUT, &scopes("stable", "canary", end)).unwrap();
        assert_eq!(argo_resumes(&world, &id), expected, "{state} until {end}");
        break_store(&world);
        assert_eq!(argo_resumes(&world, &id), Measured::Error);
    }
}

#[test]
fn a_canary_execution_is_of_the_rollout_and_the_groups_that_it_began_with() {
    let mut world = World::started();
    let group = |arn: &str| arn[arn.find("targetgroup/").unwrap()..].to_owned();
    let (stable, canary) = (group(&world.targets.stable), group(&world.targets.canary));
    let id = argo_runs(&world, ROLLOUT, &scopes(&stable, &canary, "")).unwrap();
    assert_eq!(argo_runs(&world, ROLLOUT, &scopes(&canary, &stable, "")), Err(400));
    assert_eq!(argo_runs(&world, "unknown", &scopes("a", "b", "")), Err(404));
    world.command(&json!({ "command": "abort", "rollout": ROLLOUT })).unwrap();
    assert_eq!(argo_resumes(&world, &id), Measured::Failed);
    world.ticks(3);
    world.start(&json!({}));
    assert_eq!(argo_resumes(&world, &id), Measured::Error, "another rollout has the name");
    let next = argo_runs(&world, ROLLOUT, &scopes("a", "b", "")).unwrap();
    assert_eq!(argo_resumes(&world, &next), Measured::Running);
}

/// Spinnaker's canary stage as its client decodes an execution, and what the monitor makes of it
/// (orca-kayenta: KayentaService.kt, MonitorKayentaCanaryTask.kt), with a marginal threshold of 50.
fn spinnaker_monitors(got: &Got) -> &'static str {
    if got.status != 200 {
        return if got.status >= 500 { "asks again" } else { "ends the stage" };
    }
    let execution = got.json();
    execution["application"].as_str().expect("may not be null");
    for time in ["buildTimeIso", "startTimeIso", "endTimeIso"] {
        if let Some(time) = execution[time].as_str() {
            time.parse::<jiff::Timestamp>().expect("an Instant");
        }
    }
    let status = execution["status"].as_str().expect("may not be null").to_uppercase();
    match status.as_str() {
        "SUCCEEDED" => {
            let score = &execution["result"]["judgeResult"]["score"];
            for word in ["classification", "classificationReason"] {
                score[word].as_str().expect("may not be null");
            }
            for result in execution["result"]["judgeResult"]["results"].as_array().unwrap() {
                result["controlMetadata"]["stats"]["count"].as_u64().expect("a whole number");
            }
            if score["score"].as_i64().expect("an Int") <= 50 { "TERMINAL" } else { "SUCCEEDED" }
        }
        "RUNNING" | "NOT_STARTED" => "RUNNING",
        "TERMINAL" | "CANCELED" | "STOPPED" => "TERMINAL",
        other => panic!("{other} is no ExecutionStatus"),
    }
}

#[test]
fn spinnaker_s_canary_stage_goes_on_waits_and_ends_by_the_verdict() {
    let body = scopes("stable", "canary", "2026-03-02T00:00:00Z");
    for (state, expected) in [("pass", "SUCCEEDED"), ("hold", "RUNNING"), ("fail", "TERMINAL")] {
        let world = observed(state);
        assert!(ask(&world, "GET", "/credentials", &Value::Null).json()[0]["name"].is_string());
        let id = ask(&world, "POST", &format!("/canary/{ROLLOUT}?application=shop"), &body).json();
        let id = id["canaryExecutionId"].as_str().unwrap().to_owned();
        let path = format!("/canary/{id}?storageAccountName=canary-gate");
        assert_eq!(spinnaker_monitors(&ask(&world, "GET", &path, &Value::Null)), expected);
        let record = world.record();
        let canceled = ask(&world, "PUT", &format!("/pipelines/{id}/cancel"), &json!("")).status;
        assert_eq!((canceled, world.record()), (202, record), "the rollout goes on");
        break_store(&world);
        assert_eq!(spinnaker_monitors(&ask(&world, "GET", &path, &Value::Null)), "asks again");
    }
}

#[test]
fn the_evidence_counts_the_requests_of_both_arms() {
    let world = observed("pass");
    let id = argo_runs(&world, ROLLOUT, &scopes("a", "b", "")).unwrap();
    let execution = ask(&world, "GET", &format!("/canary/{id}"), &Value::Null).json();
    let results = &execution["result"]["judgeResult"]["results"];
    assert_eq!(results[0]["name"], "errors");
    let count = |arm: &str| results[0][arm]["stats"]["count"].as_u64().unwrap();
    assert!(count("controlMetadata") > count("experimentMetadata") && count("experimentMetadata") > 0);
}

/// What Spinnaker's webhook stage makes of the call that begins a run (CreateWebhookTask.java).
fn spinnaker_creates(status: u16) -> &'static str {
    match status {
        200..=399 => "monitors",
        504 => "fails fast",
        429 | 500.. => "asks again",
        _ => "ends the stage",
    }
}

/// What its monitor makes of an answer (MonitorWebhookTask.java) with the lists of the example.
fn spinnaker_polls(got: &Got) -> String {
    match got.status {
        200..=299 => {
            let body = got.json();
            body["progress"].as_str().expect("a progress that is no text ends the stage");
            match body["status"].as_str().expect("a missing path ends the stage") {
                status @ ("SUCCEEDED" | "TERMINAL" | "CANCELED") => status.to_owned(),
                _ => "RUNNING".to_owned(),
            }
        }
        other => spinnaker_creates(other).to_owned(),
    }
}

fn begin(world: &World, body: &Value) -> String {
    let got = act(world, "POST", "/spinnaker/v1/start", body);
    assert_eq!((got.status, spinnaker_creates(got.status)), (202, "monitors"), "{}", got.body);
    let body = got.json();
    // Each way to find the monitor's URL leads to the same.
    assert_eq!(got.headers["location"], body["status_url"]);
    let url = body["status_url"].as_str().unwrap();
    url.strip_prefix(&format!("https://{HOST}")).unwrap().to_owned()
}

#[test]
fn spinnaker_s_webhook_stage_starts_a_plan_once_and_waits_for_its_end() {
    let mut world = World::quiet();
    let mut plan = default_plan();
    plan["steps"] = json!(["50%", "100%"]);
    plan["bake"] = json!("5m");
    let start = json!({ "plan": plan, "reason": "release v42" });
    assert_eq!(ask(&world, "POST", "/spinnaker/v1/start", &start).status, 403);
    assert!(world.cloud.record(ROLLOUT).is_none());
    let run = begin(&world, &start);
    assert_eq!(begin(&world, &start), run, "sent again after an answer that was lost");
    assert!(world.record().started.actor == "pipeline" && world.record().started.reason == "release v42");
    let mut other = plan.clone();
    other["bake"] = json!("9m");
    let refused = act(&world, "POST", "/spinnaker/v1/start", &json!({ "plan": other }));
    assert_eq!((refused.status, spinnaker_creates(refused.status)), (409, "ends the stage"));
    for _ in 0..60 {
        world.tick();
        if world.record().phase == Phase::Promoted {
            break;
        }
        assert_eq!(spinnaker_polls(&ask(&world, "GET", &run, &Value::Null)), "RUNNING");
    }
    assert_eq!(spinnaker_polls(&ask(&world, "GET", &run, &Value::Null)), "SUCCEEDED");
    let canceled = act(&world, "DELETE", &run, &Value::Null);
    assert_eq!((canceled.json()["status"].clone(), world.share()), (json!("SUCCEEDED"), Share::FULL));
}

#[test]
fn spinnaker_s_webhook_stage_asks_about_a_rollout_that_somebody_else_started() {
    for (state, expected) in [("pass", "SUCCEEDED"), ("hold", "RUNNING"), ("fail", "TERMINAL")] {
        let world = observed(state);
        let run = begin(&world, &json!({ "rollout": ROLLOUT }));
        assert_eq!(spinnaker_polls(&ask(&world, "GET", &run, &Value::Null)), expected);
        break_store(&world);
        let got = ask(&world, "GET", &run, &Value::Null);
        assert_eq!((got.status, spinnaker_polls(&got).as_str()), (503, "asks again"));
    }
    let unknown = act(&World::quiet(), "POST", "/spinnaker/v1/start", &json!({ "rollout": ROLLOUT }));
    assert_eq!((unknown.status, spinnaker_creates(unknown.status)), (404, "ends the stage"));
}

#[test]
fn a_run_that_is_cancelled_drains_the_canary_if_the_caller_may_act() {
    for method in ["DELETE", "POST"] {
        let mut world = World::on_first_step(2);
        let run = begin(&world, &json!({ "rollout": ROLLOUT, "until": "end" }));
        assert_eq!(ask(&world, method, &run, &Value::Null).status, 403);
        assert_eq!(world.record().phase, Phase::Running);
        let got = act(&world, method, &run, &json!({}));
        assert_eq!((got.status, world.share()), (200, Share::ZERO), "{}", got.body);
        assert_eq!(spinnaker_polls(&ask(&world, "GET", &run, &Value::Null)), "TERMINAL");
        world.ticks(3);
        world.start(&json!({}));
        let lost = ask(&world, "GET", &run, &Value::Null);
        assert_eq!(spinnaker_polls(&lost), "CANCELED", "another rollout has the name");
        act(&world, method, &run, &json!({}));
        assert_eq!(world.record().phase, Phase::Waiting, "and is not cancelled by the first one's run");
    }
}

#[test]
fn github_is_nobody_before_a_secret_is_agreed_on() {
    let event = fs::read_to_string(root("tests/callers/github-deployment-protection-rule.json")).unwrap();
    let event: Value = serde_json::from_str(&event).unwrap();
    let got = ask(&observed("pass"), "POST", "/github/v1/webhook", &event);
    assert_eq!(got.status, 401);
}

/// A file of examples/, each of its documents.
fn example(path: &str) -> (String, Vec<Value>) {
    let text = fs::read_to_string(root("examples").join(path)).unwrap();
    let documents = match path.ends_with(".json") {
        true => vec![serde_json::from_str(&text).unwrap()],
        false => serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{path}: {error}")),
    };
    (text, documents)
}

/// The paths of all URLs at the example's host.
fn paths(text: &str) -> Vec<String> {
    let host = "abcdefgh.lambda-url.eu-west-1.on.aws";
    let rests = text.match_indices(host).map(|(at, _)| &text[at + host.len()..]);
    let path = |rest: &str| rest.chars().take_while(|c| !" \"?\n".contains(*c)).collect::<String>();
    rests.map(path).filter(|path| !path.is_empty()).collect()
}

#[test]
fn every_url_of_an_example_is_one_of_ours() {
    let world = World::quiet();
    let mut seen = 0;
    for file in [
        "codedeploy/appspec.yaml",
        "ecs/service.json",
        "ecs/service-pause.json",
        "flagger/canary.yaml",
        "argo/analysistemplate.yaml",
        "spinnaker/stage.json",
        "github/workflow.yml",
    ] {
        let (text, documents) = example(file);
        assert!(documents.iter().all(Value::is_object), "{file}");
        for path in paths(&text) {
            // The provider's address is a prefix.
            let path = if path == "/kayenta" { "/kayenta/canaryConfig".to_owned() } else { path };
            let known = ask(&world, "PATCH", &path, &Value::Null).status == 405
                || (path == "/github/v1/webhook" && ask(&world, "POST", &path, &Value::Null).status == 401);
            assert!(known, "{file}: {path}");
            seen += 1;
        }
    }
    assert_eq!(seen, 8);
    assert_eq!(ask(&world, "PATCH", "/flagger/v2/rollback", &Value::Null).status, 404);
    let (workflow, _) = example("github/workflow.yml");
    assert!(workflow.contains("\"$GATE/v1/rollouts\""));
}

#[test]
fn the_examples_set_what_the_callers_rules_rest_on() {
    let (_, canary) = example("flagger/canary.yaml");
    let hooks = canary[0]["spec"]["analysis"]["webhooks"].as_array().unwrap().clone();
    let types: Vec<&str> = hooks.iter().map(|hook| hook["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["confirm-rollout", "confirm-traffic-increase", "confirm-promotion", "rollback"]);
    for hook in &hooks {
        assert!(hook["url"].as_str().unwrap().ends_with(hook["type"].as_str().unwrap()), "{hook}");
        assert_eq!(hook["metadata"]["type"], hook["type"]);
    }
    let (_, argo) = example("argo/analysistemplate.yaml");
    let web = &argo[0]["spec"]["metrics"][0];
    assert_eq!(web["successCondition"], r#"result.verdict == "pass""#);
    assert_eq!(web["failureCondition"], r#"result.verdict == "fail""#);
    assert_eq!(web["provider"]["web"]["jsonPath"], "{$}");
    let kayenta = &argo[1]["spec"]["metrics"][0]["provider"]["kayenta"];
    assert_eq!(kayenta["threshold"], json!({ "pass": 95, "marginal": 50 }));
    let (_, stage) = example("spinnaker/stage.json");
    let words = ["successStatuses", "terminalStatuses", "canceledStatuses"].map(|key| stage[0][key].clone());
    assert_eq!(words, ["SUCCEEDED", "TERMINAL", "CANCELED"]);
    assert_eq!(
        (&stage[0]["statusJsonPath"], &stage[0]["progressJsonPath"]),
        (&json!("$.status"), &json!("$.progress"))
    );
    assert!(stage[0]["payload"]["until"] == "end" && stage[0]["statusUrlResolution"] == "locationHeader");
    for file in ["ecs/service.json", "ecs/service-pause.json"] {
        let (_, service) = example(file);
        let hook = &service[0]["deploymentConfiguration"]["lifecycleHooks"][0];
        assert_eq!(hook["lifecycleStages"], json!(["PRE_PRODUCTION_TRAFFIC_SHIFT"]), "{file}");
        assert_eq!(hook["timeoutConfiguration"]["action"], "ROLLBACK", "{file}");
    }
    let (_, appspec) = example("codedeploy/appspec.yaml");
    for (document, allowed) in appspec.iter().filter(|document| document["Resources"].is_array()).zip([
        &[
            "BeforeInstall",
            "AfterInstall",
            "AfterAllowTestTraffic",
            "BeforeAllowTraffic",
            "AfterAllowTraffic",
        ][..],
        &["BeforeAllowTraffic", "AfterAllowTraffic"][..],
    ]) {
        for hook in document["Hooks"].as_array().unwrap() {
            let (name, function) = hook.as_object().unwrap().iter().next().unwrap();
            assert!(allowed.contains(&name.as_str()), "{name}");
            assert!(function.as_str().unwrap().starts_with("CodeDeployHook_"));
        }
    }
    assert_eq!(appspec.len(), 2);
}
