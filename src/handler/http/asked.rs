//! What the callers' files have in common: the rollout that is asked about, and how its answer reads.

use jiff::Timestamp;
use serde_json::Value;

use super::request::{Request, Response};
use super::run_id::RunId;
use crate::config::is_rollout_name;
use crate::handler::{HandlerError, gates};
use crate::ports::{Failure, Platform};
use crate::rollout::record::{Audit, Record};
use crate::rollout::standing::{Answer, Standing};
use crate::units::Span;

/// A rollout that has ended answers for so long to those who know it by name alone. After that it is taken for
/// one of an earlier release: its good end must not let the next version through, nor its bad end stop it.
pub(super) const ENDED_ANSWERS: Span = Span::from_minutes(60);
/// The longest reason that is taken over from a caller, in characters.
const REASON_MAX: usize = 200;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// Nothing of that name runs, or has ended a short while ago.
    NoSuch(String),
    /// There may be one; it could not be read, or nobody watches it.
    Cannot(String),
}

impl NoAnswer {
    /// In words.
    pub(super) fn words(&self) -> &str {
        match self {
            Self::NoSuch(words) | Self::Cannot(words) => words,
        }
    }

    /// For callers that go by the status: 404, or 503, which all of them try again.
    pub(super) fn response(&self) -> Response {
        match self {
            Self::NoSuch(words) => Response::error(404, words),
            Self::Cannot(words) => Response::error(503, words),
        }
    }
}

/// A rollout's record, by its name. One store read.
pub(super) async fn find<P: Platform>(platform: &P, name: &str, now: Timestamp) -> Result<Record, NoAnswer> {
    let record = read(platform, name).await?;
    match has_ended_long_ago(&record, now) {
        false => Ok(record),
        true => Err(NoAnswer::NoSuch(format!(
            "the last rollout named {name} has ended at {} ({}): start a new one",
            record.since,
            record.phase.name()
        ))),
    }
}

/// A rollout's record, by its name and the time of its start: a later one of the same name is another.
pub(super) async fn find_started<P: Platform>(
    platform: &P,
    name: &str,
    started: Timestamp,
) -> Result<Record, NoAnswer> {
    let record = read(platform, name).await?;
    match record.started.at == started {
        true => Ok(record),
        false => Err(NoAnswer::NoSuch(format!("another rollout has the name {name} now"))),
    }
}

async fn read<P: Platform>(platform: &P, name: &str) -> Result<Record, NoAnswer> {
    if !is_rollout_name(name) {
        let rule = "a rollout's name has 1 to 63 small letters, digits and hyphens";
        return Err(NoAnswer::NoSuch(format!("no such rollout: {rule}")));
    }
    let found = platform.get(name).await.map_err(|failure| unread(&failure))?;
    found.ok_or_else(|| NoAnswer::NoSuch(format!("no such rollout: start it, under the name {name}")))
}

/// What is said of a store read that failed: no details of the installation.
pub(super) fn unread(failure: &Failure) -> NoAnswer {
    NoAnswer::Cannot(format!("the rollout could not be read: {}", failure.kind.name()))
}

/// Whether a rollout is one of an earlier release.
pub(in crate::handler) fn has_ended_long_ago(record: &Record, now: Timestamp) -> bool {
    record.phase.is_terminal() && now.duration_since(record.since) > ENDED_ANSWERS.signed()
}

/// Where a rollout stands. One that nobody watches has no answer, unless it was found harmful before.
async fn stand<P: Platform>(platform: &P, record: &Record, now: Timestamp) -> Result<Standing, NoAnswer> {
    let standing = gates::standing(platform, record, now).await.map_err(|failure| unread(&failure))?;
    match standing.unwatched && standing.answer != Answer::Fail {
        false => Ok(standing),
        true => Err(NoAnswer::Cannot(standing.why)),
    }
}

/// The rollout of a name, and where it stands.
pub(super) async fn find_standing<P: Platform>(
    platform: &P,
    name: &str,
    now: Timestamp,
) -> Result<(Record, Standing), NoAnswer> {
    let record = find(platform, name, now).await?;
    let standing = stand(platform, &record, now).await?;
    Ok((record, standing))
}

/// The rollout that a run began with, and where it stands.
pub(super) async fn find_standing_of<P: Platform>(
    platform: &P,
    run: &RunId,
    now: Timestamp,
) -> Result<(Record, Standing), NoAnswer> {
    let record = find_started(platform, &run.rollout, run.started).await?;
    let standing = stand(platform, &record, now).await?;
    Ok((record, standing))
}

/// The answer in one line, for people.
pub(super) fn sentence(standing: &Standing) -> String {
    let mut line = format!("{}: {}", standing.answer.name(), standing.why);
    if let Some([_, canary]) = standing.requests
        && let Some(need) = standing.need
    {
        line.push_str(&format!("; the canary has {canary} requests and needs about {need} more"));
    }
    if let Some(until) = standing.until {
        line.push_str(&format!("; a verdict is expected about {}", until.strftime("%H:%M UTC")));
    }
    line
}

/// Who asks for a change, in an audit. The reason is the caller's if it gives one that fits.
pub(super) fn audit(request: &Request<'_>, reason: Option<&str>, now: Timestamp) -> Audit {
    let fits = |text: &&str| {
        !text.trim().is_empty() && text.chars().count() <= REASON_MAX && !text.chars().any(char::is_control)
    };
    let asked = || format!("{} {}", request.http.method, request.rest.join("/"));
    let reason = reason.filter(fits).map_or_else(asked, str::to_owned);
    Audit { actor: request.caller.name.clone(), reason, at: now }
}

/// What a command that failed is to those who go by the status. Overtaken commands may be sent again.
pub(super) fn failed(error: &HandlerError) -> Response {
    let status = match error {
        HandlerError::Event(_) => 400,
        HandlerError::NotFound(_) => 404,
        HandlerError::Refused(_) => 409,
        HandlerError::Overtaken(_) => 503,
        HandlerError::Failed(failure) => return unread(failure).response(),
    };
    Response::error(status, &error.to_string())
}

/// A text in an object.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// Standings for tests.
#[cfg(test)]
pub(super) mod fixture {
    use super::*;
    use crate::units::Share;

    /// An answer at 5 %.
    pub(in super::super) fn standing(answer: Answer) -> Standing {
        let (code, why) = match answer {
            Answer::Pass => ("proven", "proven healthy"),
            Answer::Hold => ("not_yet_proven", "errors: health not proven yet"),
            Answer::Fail => ("worse_than_stable", "errors: surely worse than stable"),
        };
        Standing {
            answer,
            code,
            why: why.to_owned(),
            until: None,
            requests: Some([8_000, 412]),
            need: (answer == Answer::Hold).then_some(738),
            share: Share::from_percent(5.0).unwrap(),
            unwatched: false,
            is_spent: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::standing;
    use super::*;

    #[test]
    fn the_sentence_says_what_is_missing_and_until_when() {
        let mut hold = standing(Answer::Hold);
        hold.until = Some("2026-03-01T10:31:00Z".parse().unwrap());
        assert_eq!(
            sentence(&hold),
            "hold: errors: health not proven yet; the canary has 412 requests and needs about 738 more; a verdict \
             is expected about 10:31 UTC"
        );
        assert_eq!(sentence(&standing(Answer::Pass)), "pass: proven healthy");
    }
}
