//! Spinnaker's webhook stage with its monitor: a call that begins a run, and one that says how it stands.
//!
//! Of a call's answers, Spinnaker tries 429 and 5xx again but fails fast on 504; any other 4xx ends the stage.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::commands::{command, give_order};
use super::asked::{NoAnswer, audit, failed, find, find_standing_of, find_started, sentence, text};
use super::request::{Request, Response};
use super::run_id::{RunId, Until};
use crate::config::{CheckedPlan, Scope, parse_plan, parse_plan_value};
use crate::event::{By, Command, Verb};
use crate::handler::HandlerError;
use crate::ports::Platform;
use crate::rollout::command::Order;
use crate::rollout::plan::Mode;
use crate::rollout::record::{Phase, Record};
use crate::rollout::standing::{Answer, Standing};

/// Keys of a call that begins a run.
const KEYS: [&str; 4] = ["rollout", "plan", "until", "reason"];

/// Answers one of the stage's calls.
pub(super) async fn answer<P: Platform>(platform: &P, request: &Request<'_>, now: Timestamp) -> Response {
    let rest = request.rest.iter().map(String::as_str).collect::<Vec<_>>();
    match (request.http.method.as_str(), rest.as_slice()) {
        ("POST", ["start"]) => begin(platform, request, now).await,
        ("GET", ["run", run]) => look(platform, run, now).await,
        ("DELETE" | "POST", ["run", run]) | ("POST", ["run", run, "cancel"]) => {
            cancel(platform, request, run, now).await
        }
        (_, ["start"] | ["run", _, "cancel"]) => {
            Response::error(405, "no such method here").with("allow", "POST".to_owned())
        }
        (_, ["run", _]) => {
            Response::error(405, "no such method here").with("allow", "GET, POST, DELETE".to_owned())
        }
        _ => Response::error(404, "no such path: start, run/{id} or run/{id}/cancel"),
    }
}

/// What is to be run.
enum Wanted {
    /// A rollout that somebody else has started.
    Watch(String),
    /// One that is started now, unless it runs already.
    Start(Box<CheckedPlan>),
}

/// Begins a run. The same call sent again finds the run that the first one began.
async fn begin<P: Platform>(platform: &P, request: &Request<'_>, now: Timestamp) -> Response {
    let body = match request.json() {
        Ok(Value::Object(body)) => body,
        Ok(_) => return Response::error(400, "the body must be an object with `rollout` or `plan`"),
        Err(response) => return response,
    };
    let (wanted, until) = match wanted(&body) {
        Ok(wanted) => wanted,
        Err(why) => return Response::error(400, &why),
    };
    match wanted {
        Wanted::Watch(rollout) => match find(platform, &rollout, now).await {
            Ok(record) => begun(request, &record, until),
            Err(error) => error.response(),
        },
        Wanted::Start(_) if !request.caller.may_act => {
            Response::error(403, "this caller may ask, and not start a rollout")
        }
        Wanted::Start(plan) => {
            let reason = body.get("reason").and_then(Value::as_str);
            match start(platform, request, *plan, reason, now).await {
                Ok(record) => begun(request, &record, until),
                Err(response) => response,
            }
        }
    }
}

fn wanted(body: &Map<String, Value>) -> Result<(Wanted, Until), String> {
    if let Some(key) = body.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("{key} is not a known key: there are {}", KEYS.join(", ")));
    }
    let (wanted, default) = match (body.get("rollout"), body.get("plan")) {
        (Some(Value::String(rollout)), None) => (Wanted::Watch(rollout.clone()), Until::Verdict),
        (None, Some(plan)) => {
            let parsed = match plan {
                Value::String(plan) => parse_plan(plan, Scope::Rollout),
                plan => parse_plan_value(plan, Scope::Rollout),
            };
            let plan = parsed.map_err(|errors| errors.to_string())?;
            // One that only watches has no end of its own.
            let until = if plan.plan.mode == Mode::Observe { Until::Verdict } else { Until::End };
            (Wanted::Start(Box::new(plan)), until)
        }
        _ => return Err("set either `rollout`, the name of one that runs, or `plan`".to_owned()),
    };
    let until = match body.get("until").map(Value::as_str) {
        None => default,
        Some(Some("verdict")) => Until::Verdict,
        Some(Some("end")) => Until::End,
        Some(_) => {
            return Err(
                "until must be \"verdict\", of the step that stands, or \"end\", of the rollout".to_owned()
            );
        }
    };
    Ok((wanted, until))
}

/// Starts a rollout, or finds it running.
async fn start<P: Platform>(
    platform: &P,
    request: &Request<'_>,
    plan: CheckedPlan,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<Record, Response> {
    let asked = plan.plan.clone();
    if let Some(record) = running(platform, &asked).await? {
        return Ok(record);
    }
    let by = audit(request, reason, now);
    let by = By { actor: by.actor, reason: by.reason };
    let verb = Verb::Start { plan: Box::new(plan), by };
    let started = command(platform, &Command { verb, at: None }, now).await;
    match (running(platform, &asked).await?, started) {
        // Where the start was refused, another call of the same stage was faster.
        (Some(record), Ok(_) | Err(HandlerError::Refused(_))) => Ok(record),
        (_, Err(error)) => Err(failed(&error)),
        (None, Ok(_)) => Err(Response::error(503, "the rollout was started and could not be read again")),
    }
}

/// The rollout of just this plan, if it runs.
async fn running<P: Platform>(
    platform: &P,
    plan: &crate::rollout::plan::Plan,
) -> Result<Option<Record>, Response> {
    let stored = platform.get(&plan.rollout).await;
    let stored = stored.map_err(|failure| super::asked::unread(&failure).response())?;
    Ok(stored.filter(|record| !record.phase.is_terminal() && record.plan == *plan))
}

fn begun(request: &Request<'_>, record: &Record, until: Until) -> Response {
    let id = RunId::of(record, until, None).encode();
    let path = format!("/spinnaker/v1/run/{id}");
    let url = request.url(&path);
    Response::json(202, &json!({ "id": id, "status_url": url })).with("location", url)
}

/// A run's record, whatever became of it.
async fn found<P: Platform>(platform: &P, run: &RunId) -> Result<Record, NoAnswer> {
    find_started(platform, &run.rollout, run.started).await
}

async fn look<P: Platform>(platform: &P, run: &str, now: Timestamp) -> Response {
    let Some(run) = RunId::decode(run) else {
        return Response::error(404, "no such run");
    };
    match find_standing_of(platform, &run, now).await {
        Ok((record, standing)) => Response::json(200, &project(&standing, &record.phase, run.until)),
        Err(error) => lost(&error),
    }
}

/// The status is one of four words; the stage's lists map them.
fn project(standing: &Standing, phase: &Phase, until: Until) -> Value {
    let status = match (standing.answer, phase) {
        (_, Phase::Stopped) => "CANCELED",
        (Answer::Fail, _) => "TERMINAL",
        (Answer::Pass, Phase::Promoted) => "SUCCEEDED",
        (Answer::Pass, _) if until == Until::Verdict => "SUCCEEDED",
        (Answer::Pass | Answer::Hold, _) => "RUNNING",
    };
    json!({ "status": status, "progress": sentence(standing) })
}

/// A rollout whose name another one has by now was ended by somebody: a status says it better than a 404.
fn lost(error: &NoAnswer) -> Response {
    match error {
        NoAnswer::NoSuch(words) => Response::json(200, &json!({ "status": "CANCELED", "progress": words })),
        NoAnswer::Cannot(_) => error.response(),
    }
}

/// Ends a run by aborting its rollout. What has ended stays as it is: a promotion is not taken back by this.
async fn cancel<P: Platform>(platform: &P, request: &Request<'_>, run: &str, now: Timestamp) -> Response {
    let Some(run) = RunId::decode(run) else {
        return Response::error(404, "no such run");
    };
    if !request.caller.may_act {
        return Response::error(403, "this caller may ask, and not abort a rollout");
    }
    let record = match found(platform, &run).await {
        Ok(record) => record,
        Err(error) => return lost(&error),
    };
    if !record.phase.is_terminal() {
        let reason = request.json().ok();
        let reason = reason.as_ref().and_then(|body| text(body, "reason"));
        let by = audit(request, reason, now);
        if let Err(error) = give_order(platform, &run.rollout, Order::Abort, by, now).await {
            return failed(&error);
        }
    }
    match found(platform, &run).await {
        Ok(record) => Response::json(200, &project(&Standing::of(&record, now), &record.phase, run.until)),
        Err(error) => lost(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::asked::fixture::standing;
    use super::*;

    fn status(answer: Answer, phase: Phase, until: Until) -> String {
        project(&standing(answer), &phase, until)["status"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_verdict_on_a_step_ends_a_run_that_asked_for_one_and_not_a_run_that_waits_for_the_end() {
        let on_step =
            |answer| [Until::Verdict, Until::End].map(|until| status(answer, Phase::Running, until));
        assert_eq!(on_step(Answer::Pass), ["SUCCEEDED", "RUNNING"]);
        assert_eq!(on_step(Answer::Hold), ["RUNNING", "RUNNING"]);
        assert_eq!(on_step(Answer::Fail), ["TERMINAL", "TERMINAL"]);
        assert_eq!(status(Answer::Pass, Phase::Promoted, Until::End), "SUCCEEDED");
        assert_eq!(status(Answer::Fail, Phase::Drained, Until::End), "TERMINAL");
        assert_eq!(status(Answer::Fail, Phase::Stopped, Until::Verdict), "CANCELED");
    }

    #[test]
    fn a_run_is_of_a_rollout_or_of_a_plan_and_nothing_else() {
        let read = |body: Value| wanted(body.as_object().unwrap()).map(|(_, until)| until);
        assert_eq!(read(json!({ "rollout": "checkout-v42" })), Ok(Until::Verdict));
        assert_eq!(read(json!({ "rollout": "checkout-v42", "until": "end" })), Ok(Until::End));
        for body in [
            json!({}),
            json!({ "rollout": 5 }),
            json!({ "rollout": "a", "plan": {} }),
            json!({ "rollout": "a", "until": "soon" }),
            json!({ "rollout": "a", "application": "shop" }),
            json!({ "plan": { "rollout": "a" } }),
        ] {
            assert!(read(body.clone()).is_err(), "{body}");
        }
    }
}
