//! Flagger's webhooks: one URL for each type of hook.
//!
//! Flagger takes any status up to 202 for yes and any above for no. On 429 and on 5xx but 501 it tries again
//! and drops the reason, so every no is a 403 with the reason as its text, our own troubles included.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::asked::{NoAnswer, find_standing, sentence};
use super::request::{Request, Response};
use crate::ports::Platform;
use crate::rollout::standing::{Answer, Standing};
use crate::units::Share;

/// What Flagger asks at which point of its own rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    ConfirmRollout,
    PreRollout,
    Rollout,
    ConfirmTrafficIncrease,
    ConfirmPromotion,
    PostRollout,
    Rollback,
    Event,
}

const HOOKS: [(&str, Hook); 8] = [
    ("confirm-rollout", Hook::ConfirmRollout),
    ("pre-rollout", Hook::PreRollout),
    ("rollout", Hook::Rollout),
    ("confirm-traffic-increase", Hook::ConfirmTrafficIncrease),
    ("confirm-promotion", Hook::ConfirmPromotion),
    ("post-rollout", Hook::PostRollout),
    ("rollback", Hook::Rollback),
    ("event", Hook::Event),
];

impl Hook {
    /// By Flagger's word for it.
    pub(super) fn named(word: &str) -> Option<Self> {
        HOOKS.iter().find(|(name, _)| *name == word).map(|(_, hook)| *hook)
    }
}

/// What Flagger sends. Keys that it may add are not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Payload {
    name: String,
    phase: String,
    metadata: Option<BTreeMap<String, String>>,
}

impl Payload {
    /// A value of the `metadata` that the user wrote into the Canary.
    pub(super) fn metadata(&self, key: &str) -> Option<&str> {
        let value = self.metadata.as_ref().and_then(|metadata| metadata.get(key));
        value.map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The rollout that is meant.
    pub(super) fn rollout(&self) -> &str {
        self.metadata("rollout").unwrap_or(&self.name)
    }

    /// Where Flagger's Canary stands.
    pub(super) fn phase(&self) -> &str {
        &self.phase
    }

    /// Reads a body.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let payload = serde_json::from_slice::<Self>(body);
        let payload = payload.map_err(|error| format!("the body is no webhook of Flagger's: {error}"))?;
        match payload.rollout().is_empty() {
            false => Ok(payload),
            true => Err("the body names no rollout: set `name`, or `metadata.rollout`".to_owned()),
        }
    }
}

/// Answers a hook.
pub(super) async fn answer<P: Platform>(platform: &P, request: &Request<'_>, now: Timestamp) -> Response {
    let hook = match request.rest.as_slice() {
        [word] => Hook::named(word),
        _ => None,
    };
    let Some(hook) = hook else {
        // To Flagger this is a no like any other; whoever tries the URL by hand reads why.
        let hooks = HOOKS.map(|(name, _)| name).join(", ");
        return Response::text(404, &format!("no such hook: the path must end in one of {hooks}"));
    };
    if request.http.method != "POST" {
        return Response::text(405, "Flagger's hooks are sent with POST").with("allow", "POST".to_owned());
    }
    let payload = match Payload::read(&request.http.body) {
        Ok(payload) => payload,
        Err(why) => return deny(&why),
    };
    if let Some(told) = payload.metadata("type").filter(|word| Hook::named(word) != Some(hook)) {
        return deny(&format!(
            "metadata.type says {told:?} and the URL {:?}: they must say the same hook",
            request.rest[0]
        ));
    }
    let (name, phase) = (payload.rollout(), payload.phase());
    match hook {
        Hook::PostRollout | Hook::Event => Response::text(200, "noted"),
        _ => match find_standing(platform, name, now).await {
            Err(error) => without_answer(hook, &error, payload.metadata("on_error")),
            Ok((record, standing)) => project(hook, &standing, record.phase.is_terminal(), phase),
        },
    }
}

/// An answer in Flagger's terms. `phase` is that of Flagger's Canary; `ended` is the rollout's.
pub(super) fn project(hook: Hook, standing: &Standing, ended: bool, phase: &str) -> Response {
    let line = sentence(standing);
    match (hook, standing.answer) {
        (Hook::PostRollout | Hook::Event, _) => Response::text(200, "noted"),
        // What failed was an earlier revision: this one has not begun.
        (Hook::Rollback, Answer::Fail) if phase == "Waiting" && (ended || standing.share == Share::ZERO) => {
            deny(&format!(
                "no rollback: the canary has no traffic yet, and this is of the last rollout: {line}"
            ))
        }
        (Hook::Rollback, Answer::Fail) => Response::text(200, &format!("roll back: {line}")),
        (Hook::Rollback, _) => deny(&format!("no rollback: {line}")),
        (Hook::ConfirmRollout, _) if ended => {
            deny(&format!("the last rollout has ended: start a new one; {line}"))
        }
        (Hook::ConfirmRollout | Hook::ConfirmTrafficIncrease, _) if standing.is_spent => deny(&format!(
            "the canary had traffic and has none any more, so this rollout is of an earlier version: abort it and \
             start a new one; {line}"
        )),
        (_, Answer::Pass) => Response::text(200, &line),
        (_, Answer::Fail) => deny(&line),
        (Hook::Rollout | Hook::PreRollout, Answer::Hold) => Response::text(200, &line),
        (Hook::ConfirmRollout | Hook::ConfirmTrafficIncrease, Answer::Hold) if standing.may_begin() => {
            Response::text(
                200,
                "the canary has no traffic yet, so there is nothing to judge: it may get some",
            )
        }
        (_, Answer::Hold) => deny(&line),
    }
}

/// What a hook gets if there is no answer: no. With `metadata.on_error: allow` the two that only count failures
/// get a yes if the trouble is ours, since one of theirs counts for good.
fn without_answer(hook: Hook, error: &NoAnswer, on_error: Option<&str>) -> Response {
    let counts = matches!(hook, Hook::Rollout | Hook::PreRollout);
    match error {
        NoAnswer::NoSuch(words) => deny(words),
        NoAnswer::Cannot(words) if counts && on_error == Some("allow") => {
            Response::text(200, &format!("gate error, not counted: {words}"))
        }
        NoAnswer::Cannot(words) => deny(&format!("gate error, holding: {words}")),
    }
}

fn deny(why: &str) -> Response {
    Response::text(403, why)
}

#[cfg(test)]
mod tests {
    use super::super::asked::fixture::standing;
    use super::*;

    const ANSWERS: [Answer; 3] = [Answer::Pass, Answer::Hold, Answer::Fail];

    fn statuses(hook: &str) -> [u16; 3] {
        let hook = Hook::named(hook).unwrap();
        ANSWERS.map(|answer| project(hook, &standing(answer), false, "Progressing").status)
    }

    #[test]
    fn each_hook_gets_its_column_of_the_projection() {
        for (hook, expected) in [
            ("confirm-rollout", [200, 403, 403]),
            ("confirm-traffic-increase", [200, 403, 403]),
            ("confirm-promotion", [200, 403, 403]),
            ("pre-rollout", [200, 200, 403]),
            ("rollout", [200, 200, 403]),
            ("rollback", [403, 403, 200]),
            ("post-rollout", [200, 200, 200]),
            ("event", [200, 200, 200]),
        ] {
            assert_eq!(statuses(hook), expected, "{hook}");
        }
    }

    #[test]
    fn the_first_traffic_needs_no_proof_and_a_promotion_always_does() {
        let mut begin = standing(Answer::Hold);
        (begin.share, begin.requests, begin.code) = (Share::ZERO, None, "no_traffic");
        let status = |hook, standing: &Standing| project(hook, standing, false, "Progressing").status;
        assert_eq!(status(Hook::ConfirmTrafficIncrease, &begin), 200);
        assert_eq!(status(Hook::ConfirmRollout, &begin), 200);
        assert_eq!(status(Hook::ConfirmPromotion, &begin), 403);
        for code in ["not_ticked", "paused", "frozen"] {
            begin.code = code;
            assert_eq!(status(Hook::ConfirmTrafficIncrease, &begin), 403, "{code}");
        }
        begin.code = "no_traffic";
        begin.requests = Some([100, 1]);
        assert_eq!(status(Hook::ConfirmTrafficIncrease, &begin), 403, "another hand gave it traffic");
    }

    #[test]
    fn what_became_of_the_last_rollout_does_not_roll_back_one_that_waits_to_begin() {
        let fail = standing(Answer::Fail);
        assert_eq!(project(Hook::Rollback, &fail, true, "Waiting").status, 403);
        assert_eq!(project(Hook::Rollback, &fail, true, "Progressing").status, 200);
        assert_eq!(project(Hook::Rollback, &fail, false, "Waiting").status, 200);
        let pass = project(Hook::ConfirmRollout, &standing(Answer::Pass), true, "Waiting");
        assert!(pass.status == 403 && pass.body.contains("start a new one"), "{}", pass.body);
    }

    #[test]
    fn no_error_of_ours_is_a_yes_to_a_rollback_or_a_status_that_is_tried_again() {
        let cannot = NoAnswer::Cannot("the rollout could not be read: throttled".to_owned());
        let unknown = NoAnswer::NoSuch("no such rollout: start it".to_owned());
        for (word, hook) in HOOKS {
            for error in [&cannot, &unknown] {
                assert_eq!(without_answer(hook, error, None).status, 403, "{word}");
            }
            let allowed = without_answer(hook, &cannot, Some("allow")).status;
            assert_eq!(allowed == 200, ["rollout", "pre-rollout"].contains(&word), "{word}");
            assert_eq!(without_answer(hook, &unknown, Some("allow")).status, 403, "{word}");
        }
    }

    #[test]
    fn the_rollout_is_the_one_of_the_metadata_or_has_the_canary_s_name() {
        let read = |body: &str| Payload::read(body.as_bytes()).map(|payload| payload.rollout().to_owned());
        assert_eq!(read(r#"{"name":"podinfo","namespace":"test","phase":"Waiting"}"#).unwrap(), "podinfo");
        let told = r#"{"name":"podinfo","metadata":{"rollout":"podinfo-v7","type":"rollback"}}"#;
        assert_eq!(read(told).unwrap(), "podinfo-v7");
        assert_eq!(read(r#"{"name":"podinfo","metadata":null}"#).unwrap(), "podinfo");
        assert!(read("{}").unwrap_err().contains("names no rollout"));
        assert!(read("weight=5").unwrap_err().contains("no webhook"));
    }
}
