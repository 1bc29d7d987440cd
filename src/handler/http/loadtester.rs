//! The gate API of Flagger's load tester, for Canaries and scripts that were written for it.
//!
//! There a gate is a switch that people turn. Here `check` answers by the verdict, and the switches are the
//! commands: open is resume, close is pause, and the rollback gate's open is abort.

use jiff::Timestamp;

use super::super::commands::give_order;
use super::asked::{audit, failed, find, find_standing};
use super::flagger::{Hook, Payload, project};
use super::request::{Request, Response};
use crate::handler::HandlerError;
use crate::ports::Platform;
use crate::rollout::command::Order;
use crate::rollout::record::Phase;

/// Answers one of `/gate/*` and `/rollback/*`.
pub(super) async fn answer<P: Platform>(platform: &P, request: &Request<'_>, now: Timestamp) -> Response {
    let rest = request.rest.iter().map(String::as_str).collect::<Vec<_>>();
    match rest.as_slice() {
        ["gate", "approve"] => return Response::text(200, "OK"),
        ["gate", "halt"] => return Response::text(403, "Forbidden"),
        ["gate" | "rollback", "check" | "open" | "close"] => {}
        _ => return Response::text(404, "no such gate"),
    }
    if request.http.method != "POST" {
        return Response::text(405, "gates are asked with POST").with("allow", "POST".to_owned());
    }
    let payload = match Payload::read(&request.http.body) {
        Ok(payload) => payload,
        Err(why) => return Response::text(400, &why),
    };
    let order = match rest.as_slice() {
        ["gate", "check"] => return check(platform, gate_hook(&payload), &payload, now).await,
        ["rollback", "check"] => return check(platform, Hook::Rollback, &payload, now).await,
        ["gate", "open"] => Some(Order::Resume(None)),
        ["gate", "close"] => Some(Order::Pause),
        ["rollback", "open"] => Some(Order::Abort),
        _ => None,
    };
    if !request.caller.may_act {
        return Response::text(403, "this caller may ask, and not change anything");
    }
    match order {
        Some(order) => turn(platform, request, &payload, order, now).await,
        None => Response::text(202, "nothing is changed: an abort can't be taken back"),
    }
}

/// The URL does not say which hook asks. Where the metadata does not say it either, it may be the one before a
/// promotion, which never goes without proof.
fn gate_hook(payload: &Payload) -> Hook {
    match payload.metadata("type").and_then(Hook::named) {
        Some(hook @ (Hook::ConfirmRollout | Hook::ConfirmTrafficIncrease)) => hook,
        _ => Hook::ConfirmPromotion,
    }
}

async fn check<P: Platform>(platform: &P, hook: Hook, payload: &Payload, now: Timestamp) -> Response {
    match find_standing(platform, payload.rollout(), now).await {
        Err(error) => Response::text(403, error.words()),
        Ok((record, standing)) => project(hook, &standing, record.phase.is_terminal(), payload.phase()),
    }
}

/// Turns a switch. One that stands as it should already is no error, as with the load tester.
async fn turn<P: Platform>(
    platform: &P,
    request: &Request<'_>,
    payload: &Payload,
    order: Order,
    now: Timestamp,
) -> Response {
    let name = payload.rollout();
    let record = match find(platform, name, now).await {
        Ok(record) => record,
        Err(error) => return plain(&error.response()),
    };
    let by = audit(request, payload.metadata("reason"), now);
    match give_order(platform, name, order, by, now).await {
        Ok(done) => Response::text(202, done["done"].as_str().unwrap_or("Accepted")),
        Err(HandlerError::Refused(_)) if stands_so(record.phase, order) => {
            Response::text(202, &format!("{name} is {} already", record.phase.name()))
        }
        Err(error) => plain(&failed(&error)),
    }
}

/// The same as text, for people at a terminal.
fn plain(response: &Response) -> Response {
    let body = serde_json::from_str::<serde_json::Value>(&response.body).unwrap_or_default();
    Response::text(response.status, body["error"].as_str().unwrap_or(&response.body))
}

fn stands_so(phase: Phase, order: Order) -> bool {
    match order {
        Order::Resume(_) => phase == Phase::Running,
        Order::Pause => phase == Phase::Paused,
        Order::Abort => matches!(phase, Phase::Draining | Phase::Drained | Phase::Stopped),
        Order::Promote | Order::Brake => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_of_which_nobody_says_what_it_guards_is_taken_for_the_strictest() {
        let hook = |metadata: &str| {
            let body = format!(r#"{{"name":"podinfo","namespace":"test","metadata":{metadata}}}"#);
            gate_hook(&Payload::read(body.as_bytes()).unwrap())
        };
        assert_eq!(hook("{}"), Hook::ConfirmPromotion);
        assert_eq!(hook(r#"{"type":"rollout"}"#), Hook::ConfirmPromotion);
        assert_eq!(hook(r#"{"type":"confirm-traffic-increase"}"#), Hook::ConfirmTrafficIncrease);
    }

    #[test]
    fn a_switch_that_stands_so_already_is_no_error() {
        assert!(stands_so(Phase::Running, Order::Resume(None)) && stands_so(Phase::Paused, Order::Pause));
        assert!(stands_so(Phase::Drained, Order::Abort) && !stands_so(Phase::Promoted, Order::Abort));
        assert!(!stands_so(Phase::Frozen, Order::Resume(None)), "it needs to know with which weights");
    }
}
