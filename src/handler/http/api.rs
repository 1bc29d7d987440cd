//! The API of our own: `/v1`. Verdicts for those who wait, and the commands that people and pipelines give.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::HandlerError;
use super::super::commands::command;
use super::asked::{NoAnswer, find_standing};
use super::request::{Request, Response};
use super::unavailable;
use crate::config::{Problem, SHOWN_PROBLEMS};
use crate::event::{Command, EventError, Verb, http_command};
use crate::ports::{FailureKind, Platform};

/// What all of this is, for machines.
pub(super) const OPENAPI: &str = include_str!("../../../infra/openapi.json");

/// Answers what lies below `/v1`.
pub(super) async fn answer<P: Platform>(platform: &P, request: &Request<'_>, now: Timestamp) -> Response {
    let rest: Vec<&str> = request.rest.iter().map(String::as_str).collect();
    if request.http.method == "POST" && !request.caller.may_act {
        return Response::error(403, "this caller may ask and not act");
    }
    let answered = match (request.http.method.as_str(), rest.as_slice()) {
        ("GET", ["openapi.json"]) => Ok(document()),
        ("GET", ["verdict"]) => verdict(platform, request, now).await,
        ("GET", ["rollouts"]) => ask(platform, "list", &[], now).await,
        ("GET", ["rollouts", name]) => ask(platform, "status", &[("rollout", json!(name))], now).await,
        ("GET", ["rollouts", name, "history"]) => {
            let limit = request.http.query.get("limit").map(|text| ("limit", number(text)));
            let said: Vec<_> = [("rollout", json!(name))].into_iter().chain(limit).collect();
            ask(platform, "history", &said, now).await
        }
        ("POST", ["rollouts"]) => start(platform, request, now).await,
        ("POST", ["rollouts", name, word]) => {
            act(platform, request, word, &[("rollout", json!(name))], now).await
        }
        ("POST", [word]) => act(platform, request, word, &[], now).await,
        _ => Ok(Response::error(404, "not found")),
    };
    answered.unwrap_or_else(|error| failed(&error))
}

fn document() -> Response {
    let mut response = Response::json(200, &Value::Null);
    OPENAPI.clone_into(&mut response.body);
    response
}

/// A number if it is one; else what was written, for the reader to refuse.
fn number(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| json!(text), Value::from)
}

/// A question that is a command, too.
async fn ask<P: Platform>(
    platform: &P,
    word: &str,
    said: &[(&str, Value)],
    now: Timestamp,
) -> Result<Response, HandlerError> {
    let question = http_command(word, said, &json!({}), "")?;
    Ok(Response::json(200, &command(platform, &question, now).await?))
}

/// A command that changes something.
async fn act<P: Platform>(
    platform: &P,
    request: &Request<'_>,
    word: &str,
    said: &[(&str, Value)],
    now: Timestamp,
) -> Result<Response, HandlerError> {
    let order = match read(request, word, said) {
        Ok(order) => order,
        Err(Unread::NoJson(response)) => return Ok(response),
        Err(Unread::Wrong(error)) => return Err(error.into()),
    };
    Ok(Response::json(200, &given(platform, request, &order, now).await?))
}

async fn start<P: Platform>(
    platform: &P,
    request: &Request<'_>,
    now: Timestamp,
) -> Result<Response, HandlerError> {
    let order = match read(request, "start", &[]) {
        Ok(order) => order,
        Err(Unread::NoJson(response)) => return Ok(response),
        Err(Unread::Wrong(error)) => return Err(error.into()),
    };
    let answer = given(platform, request, &order, now).await?;
    let name = answer["rollout"].as_str().unwrap_or_default();
    let location = format!("/v1/rollouts/{name}");
    Ok(Response::json(201, &answer).with("location", location))
}

enum Unread {
    NoJson(Response),
    Wrong(EventError),
}

fn read(request: &Request<'_>, word: &str, said: &[(&str, Value)]) -> Result<Command, Unread> {
    let body = request.json().map_err(Unread::NoJson)?;
    http_command(word, said, &body, &request.caller.name).map_err(Unread::Wrong)
}

async fn given<P: Platform>(
    platform: &P,
    request: &Request<'_>,
    order: &Command,
    now: Timestamp,
) -> Result<Value, HandlerError> {
    let answer = command(platform, order, now).await;
    let (word, caller) = (order.verb.name(), request.caller.name.as_str());
    tracing::info!(command = word, caller, ok = answer.is_ok(), "command over HTTP");
    answer
}

/// The three-state answer, from what the last tick stored.
async fn verdict<P: Platform>(
    platform: &P,
    request: &Request<'_>,
    now: Timestamp,
) -> Result<Response, HandlerError> {
    let wanted = request.http.query.get("rollout").map(|name| ("rollout", json!(name)));
    let said: Vec<_> = wanted.into_iter().collect();
    let Verb::Status { rollout } = http_command("status", &said, &json!({}), "")?.verb else {
        return Ok(Response::error(404, "not found"));
    };
    let standing = match find_standing(platform, &rollout, now).await {
        Ok((_, standing)) => standing,
        Err(NoAnswer::NoSuch(words)) => return Err(HandlerError::NotFound(words)),
        Err(NoAnswer::Cannot(words)) => return Ok(unavailable(&words)),
    };
    let requests = standing.requests.map(|[stable, canary]| json!({ "stable": stable, "canary": canary }));
    let body = json!({
        "rollout": rollout,
        "verdict": standing.answer.name(),
        "code": standing.code,
        "reason": standing.why,
        "until": standing.until,
        "requests": requests,
        "need": standing.need,
        "share": standing.share,
        "evidence": request.url(&format!("/v1/rollouts/{rollout}")),
    });
    Ok(Response::json(200, &body))
}

/// An error in the words of HTTP, with all problems if there are several.
fn failed(error: &HandlerError) -> Response {
    let status = match error {
        HandlerError::Event(_) => 400,
        HandlerError::NotFound(_) => 404,
        HandlerError::Refused(_) | HandlerError::Overtaken(_) => 409,
        // A rule or a group that the plan names and AWS does not know: later is no better.
        HandlerError::Failed(failure) if failure.kind == FailureKind::NotFound => 409,
        HandlerError::Failed(_) => {
            tracing::error!(%error, "request failed");
            return unavailable(&error.to_string());
        }
    };
    let mut body = json!({ "error": error.to_string(), "type": error.error_type() });
    if let HandlerError::Event(error) = error {
        let problem =
            |problem: &Problem| json!({ "key": problem.key, "value": problem.value, "rule": problem.rule });
        let shown: Vec<Value> = error.problems().iter().take(SHOWN_PROBLEMS).map(problem).collect();
        body["problems"] = json!(shown);
    }
    Response::json(status, &body)
}
