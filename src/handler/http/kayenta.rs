//! As much of Kayenta's API as Argo's `kayenta` provider and Spinnaker's canary stage call.
//!
//! A rollout is a canary config, and a canary execution is a wait for its verdict: the score is 100 for pass, 0
//! for fail, and 75, between any sane marginal and pass, where time ran out undecided.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::asked::{find, find_standing_of, has_ended_long_ago, sentence, text, unread};
use super::request::{Request, Response};
use super::run_id::{RunId, Until};
use crate::ports::Platform;
use crate::rollout::plan::Targets;
use crate::rollout::record::Record;
use crate::rollout::standing::{Answer, Standing};

/// The account that callers are told of: they insist on naming one, and whichever they name is fine.
const ACCOUNT: &str = "canary-gate";
const SCORE_PASS: u32 = 100;
const SCORE_UNDECIDED: u32 = 75;
const SCORE_FAIL: u32 = 0;

/// Answers one of Kayenta's calls.
pub(super) async fn answer<P: Platform>(platform: &P, request: &Request<'_>, now: Timestamp) -> Response {
    let rest = request.rest.iter().map(String::as_str).collect::<Vec<_>>();
    let (methods, answer) = match (request.http.method.as_str(), rest.as_slice()) {
        ("GET", ["credentials"]) => return credentials(),
        ("GET", ["canaryConfig"]) => return configs(platform, request, now).await,
        ("POST", ["canary", config]) => return begin(platform, request, config, now).await,
        ("GET", ["canary", run]) => return look(platform, request, run, now).await,
        // It waits, and waiting leaves nothing behind that would have to be stopped.
        ("PUT", ["pipelines", run, "cancel"]) if RunId::decode(run).is_some() => {
            return Response::json(202, &json!({}));
        }
        (_, ["credentials" | "canaryConfig"]) => ("GET", 405),
        (_, ["canary", _]) => ("GET, POST", 405),
        (_, ["pipelines", _, "cancel"]) if request.http.method != "PUT" => ("PUT", 405),
        // Argo asks for the empty name if no config has the one that it was told.
        _ => ("", 404),
    };
    match answer {
        405 => Response::error(405, "no such method here").with("allow", methods.to_owned()),
        _ => Response::error(404, "no such canary config or execution"),
    }
}

fn credentials() -> Response {
    let types = ["METRICS_STORE", "CONFIGURATION_STORE", "OBJECT_STORE"];
    Response::json(200, &json!([{ "name": ACCOUNT, "type": ACCOUNT, "supportedTypes": types }]))
}

/// Every rollout that can be asked about is a config of its own name.
async fn configs<P: Platform>(platform: &P, request: &Request<'_>, now: Timestamp) -> Response {
    let records = match platform.list().await {
        Ok(records) => records,
        Err(failure) => return unread(&failure).response(),
    };
    let application = request.http.query.get("application");
    let config = |record: &Record| {
        json!({
            "id": record.id(),
            "name": record.id(),
            "updatedTimestamp": record.since.as_millisecond(),
            "updatedTimestampIso": record.since.to_string(),
            "applications": [application.map_or(record.id(), String::as_str)],
        })
    };
    let asked = records.iter().filter(|record| !has_ended_long_ago(record, now));
    Response::json(200, &Value::Array(asked.map(config).collect()))
}

/// Begins a wait.
async fn begin<P: Platform>(platform: &P, request: &Request<'_>, config: &str, now: Timestamp) -> Response {
    let body = match request.json() {
        Ok(body) => body,
        Err(response) => return response,
    };
    let record = match find(platform, config, now).await {
        Ok(record) => record,
        Err(error) => return error.response(),
    };
    match deadline(&body, &record.plan.targets) {
        Ok(deadline) => {
            let id = RunId::of(&record, Until::Verdict, deadline).encode();
            Response::json(200, &json!({ "canaryExecutionId": id }))
        }
        Err(why) => Response::error(400, &why),
    }
}

/// When the caller wants to hear something: the latest end of its scopes. `Err` if a scope is of other groups.
fn deadline(body: &Value, targets: &Targets) -> Result<Option<Timestamp>, String> {
    let scopes = body.get("scopes").and_then(Value::as_object);
    let scopes = scopes.ok_or("`scopes` is missing: at least one, with controlScope and experimentScope")?;
    let mut latest = None;
    for (name, scope) in scopes {
        for (side, group) in [("controlScope", &targets.stable), ("experimentScope", &targets.canary)] {
            let scope = &scope[side];
            let place = || format!("scopes.{name}.{side}");
            same_group(text(scope, "scope"), group).map_err(|why| format!("{}.scope: {why}", place()))?;
            let Some(end) = text(scope, "end").filter(|end| !end.is_empty()) else { continue };
            let end = end.parse::<Timestamp>();
            let end = end.map_err(|_| format!("{}.end is no RFC 3339 time", place()))?;
            latest = latest.max(Some(end));
        }
    }
    Ok(latest)
}

/// A scope that looks like a target group must be the rollout's; anything else (`default`, a service's name) says
/// nothing about groups.
fn same_group(scope: Option<&str>, group: &str) -> Result<(), String> {
    let expected = Targets::target_group_dimension(group);
    match scope.filter(|scope| scope.contains("targetgroup/")) {
        Some(scope) if Targets::target_group_dimension(scope) != expected => {
            Err(format!("is {scope}, and the rollout's group is {expected}"))
        }
        _ => Ok(()),
    }
}

/// How a wait stands.
async fn look<P: Platform>(platform: &P, request: &Request<'_>, run: &str, now: Timestamp) -> Response {
    let Some(run) = RunId::decode(run) else {
        return Response::error(404, "no such canary execution");
    };
    match find_standing_of(platform, &run, now).await {
        Ok((record, standing)) => {
            let application =
                request.http.query.get("application").map_or(run.rollout.as_str(), String::as_str);
            Response::json(200, &execution(&record, &standing, run.deadline, application, now))
        }
        Err(error) => error.response(),
    }
}

/// The score and its classification; `None` while the caller is to wait.
fn score(answer: Answer, deadline: Option<Timestamp>, now: Timestamp) -> Option<(u32, &'static str)> {
    match answer {
        Answer::Pass => Some((SCORE_PASS, "Pass")),
        Answer::Fail => Some((SCORE_FAIL, "Fail")),
        Answer::Hold if deadline.is_some_and(|deadline| now >= deadline) => {
            Some((SCORE_UNDECIDED, "Marginal"))
        }
        Answer::Hold => None,
    }
}

fn execution(
    record: &Record,
    standing: &Standing,
    deadline: Option<Timestamp>,
    application: &str,
    now: Timestamp,
) -> Value {
    let started = record.started.at.to_string();
    let mut execution = json!({
        "application": application,
        "complete": false,
        "status": "running",
        "buildTimeIso": started,
        "startTimeIso": started,
        "progress": sentence(standing),
    });
    if let Some((score, classification)) = score(standing.answer, deadline, now) {
        execution["complete"] = json!(true);
        execution["status"] = json!("succeeded");
        execution["endTimeIso"] = json!(now.to_string());
        execution["result"] = json!({
            "application": application,
            "canaryDuration": format!("PT{}S", now.duration_since(record.started.at).as_secs().max(0)),
            "judgeResult": {
                "judgeName": ACCOUNT,
                "score": {
                    "score": score,
                    "classification": classification,
                    "classificationReason": sentence(standing),
                },
                "results": results(record),
            },
        });
    }
    execution
}

/// One for each check, with the events of both arms that it rests on.
fn results(record: &Record) -> Vec<Value> {
    let checks = record.last.as_ref().map_or(&[][..], |last| last.checks.as_slice());
    let stats = |count: u64| json!({ "stats": { "count": count } });
    let result = |check: &crate::analysis::verdict::CheckEvidence| {
        json!({
            "name": check.name,
            "controlMetadata": stats(check.stable.total),
            "experimentMetadata": stats(check.canary.total),
        })
    };
    checks.iter().map(result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Targets {
        let arn = |tail: &str| format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:{tail}");
        Targets {
            listener_rule: arn("listener-rule/app/web/1/2/3"),
            stable: arn("targetgroup/blue/ab12"),
            canary: arn("targetgroup/green/cd34"),
            role_arn: None,
        }
    }

    fn body(control: &str, experiment: &str) -> Value {
        let scope = |scope: &str, end: &str| json!({ "scope": scope, "step": 60, "end": end });
        json!({ "scopes": { "default": {
            "controlScope": scope(control, "2026-03-01T10:30:00Z"),
            "experimentScope": scope(experiment, "2026-03-01T10:40:00Z"),
        } } })
    }

    #[test]
    fn scopes_that_look_like_target_groups_must_be_the_rollout_s_each_on_its_side() {
        let end = Ok(Some("2026-03-01T10:40:00Z".parse().unwrap()));
        let read = |control: &str, experiment: &str| deadline(&body(control, experiment), &targets());
        assert_eq!(read("targetgroup/blue/ab12", "targetgroup/green/cd34"), end);
        assert_eq!(read(&targets().stable, &targets().canary), end);
        assert_eq!(read("checkout-baseline", "checkout-canary"), end);
        let swapped = read("targetgroup/green/cd34", "targetgroup/blue/ab12").unwrap_err();
        assert_eq!(
            swapped,
            "scopes.default.controlScope.scope: is targetgroup/green/cd34, and the rollout's group is \
             targetgroup/blue/ab12"
        );
        assert!(read("targetgroup/blue/ab12", "targetgroup/other/ef56").is_err());
    }

    #[test]
    fn a_request_without_an_end_waits_as_long_as_the_rollout_takes() {
        let scopes = json!({ "scopes": { "default": { "controlScope": {}, "experimentScope": {} } } });
        assert_eq!(deadline(&scopes, &targets()), Ok(None));
        let bad = json!({ "scopes": { "default": { "controlScope": { "end": "soon" } } } });
        assert!(deadline(&bad, &targets()).unwrap_err().contains("scopes.default.controlScope.end"));
        assert!(deadline(&json!({}), &targets()).unwrap_err().contains("`scopes` is missing"));
    }

    #[test]
    fn the_score_is_out_when_it_is_decided_or_the_time_is_over() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        assert_eq!(score(Answer::Pass, None, at(0)), Some((100, "Pass")));
        assert_eq!(score(Answer::Fail, Some(at(9)), at(0)), Some((0, "Fail")));
        assert_eq!(score(Answer::Hold, None, at(1_000_000)), None);
        assert_eq!(score(Answer::Hold, Some(at(9)), at(8)), None);
        assert_eq!(score(Answer::Hold, Some(at(9)), at(9)), Some((75, "Marginal")));
    }
}
