//! The answers to GitHub's deployment protection rules: the App proves itself, is given a token for an hour, and
//! posts the answer with it. No SDK of anybody's; the HTTP and TLS crates are the ones that the AWS SDK brings along.

mod jwt;
mod sender;
#[cfg(test)]
mod tests;

use std::fmt;

use hyper::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::config::{GithubApi, GithubApp, GithubRun};
use crate::ports::{Failure, FailureKind};
use crate::rollout::gate::Told;
use jwt::Signer;
use sender::{Answer, Call, Sender};

pub use jwt::KeyRejected;

const CREATE_TOKEN: &str = "github CreateInstallationAccessToken";
const REVIEW: &str = "github ReviewDeploymentProtectionRule";
const PENDING: &str = "github ListPendingDeployments";
/// Characters of a comment: a line on the run's page. GitHub takes 1,024.
const COMMENT_MAX: usize = 500;
/// A token has some forty to some hundred characters; it goes into a header.
const TOKEN_MAX: usize = 1_000;
/// As much as we quote of what GitHub says.
const SAID_MAX: usize = 200;

/// A GitHub App, to those whose deployments wait.
pub struct Github {
    id: String,
    api: GithubApi,
    signer: Signer,
    sender: Sender,
}

impl fmt::Debug for Github {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Github").field("id", &self.id).field("api", &self.api).finish_non_exhaustive()
    }
}

/// One deployment that waits.
#[derive(Debug, Clone, Copy)]
pub struct Waits<'a> {
    /// Where the answer goes.
    pub callback_url: &'a str,
    /// The environment that is protected.
    pub environment: &'a str,
    /// The App's installation.
    pub installation: u64,
}

impl Github {
    /// A client. Nothing is sent.
    ///
    /// # Errors
    /// If the key is none that can sign.
    pub fn new(app: &GithubApp) -> Result<Self, KeyRejected> {
        let signer = Signer::new(&app.key)?;
        Ok(Self { id: app.id.clone(), api: app.api.clone(), signer, sender: Sender::new(app.api.is_https()) })
    }

    /// Lets a deployment go on, or rejects it, and says why on the run's page. `now` is the machine's time:
    /// GitHub takes no signature of another one.
    ///
    /// # Errors
    /// `NotFound` if nobody waits any more: the run is gone, or somebody else has decided.
    pub async fn tell(&self, waits: Waits<'_>, told: &Told, now: Timestamp) -> Result<(), Failure> {
        // It was looked at when it came; the address of the API may be another one since then.
        let Some(run) = self.api.run_of(waits.callback_url) else {
            let why = format!("the callback URL is not below {}", self.api);
            return Err(failure(REVIEW, FailureKind::Malformed, &why));
        };
        let token = self.token(waits.installation, run, now).await?;
        let body = json!({
            "environment_name": waits.environment,
            "state": if told.pass { "approved" } else { "rejected" },
            "comment": comment(told),
        });
        let review =
            Call { method: Method::POST, url: waits.callback_url, bearer: &token, body: Some(&body) };
        let answer = self.sender.send(REVIEW, &review).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            // The token is good for the repository: it is the run that is not there.
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(refusal(REVIEW, FailureKind::NotFound, &answer)),
            StatusCode::UNPROCESSABLE_ENTITY if !self.is_pending(waits, run, &token).await? => {
                Err(refusal(REVIEW, FailureKind::NotFound, &answer))
            }
            _ => Err(refusal(REVIEW, kind_of(&answer), &answer)),
        }
    }

    /// A token of the App's installation, for the one repository.
    async fn token(&self, installation: u64, run: GithubRun<'_>, now: Timestamp) -> Result<String, Failure> {
        let jwt = self.signer.jwt(&self.id, now);
        let jwt = jwt.map_err(|why| failure(CREATE_TOKEN, FailureKind::Malformed, why))?;
        let url = format!("{}app/installations/{installation}/access_tokens", self.api);
        let body = json!({ "repositories": [run.name] });
        let create = Call { method: Method::POST, url: &url, bearer: &jwt, body: Some(&body) };
        let answer = self.sender.send(CREATE_TOKEN, &create).await?;
        if answer.status != StatusCode::CREATED {
            // No such App, no such installation, or not of this repository: somebody must put that right.
            let of_the_app = [StatusCode::NOT_FOUND, StatusCode::GONE, StatusCode::UNPROCESSABLE_ENTITY];
            let kind =
                if of_the_app.contains(&answer.status) { FailureKind::Denied } else { kind_of(&answer) };
            return Err(refusal(CREATE_TOKEN, kind, &answer));
        }
        let given: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let usable = |token: &&str| {
            (1..=TOKEN_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
        };
        let token = given["token"].as_str().filter(usable);
        token
            .map(str::to_owned)
            .ok_or_else(|| failure(CREATE_TOKEN, FailureKind::Malformed, "there is no token in it"))
    }

    /// Whether the environment still waits: a refused answer is one too many, or one that was wrong.
    async fn is_pending(&self, waits: Waits<'_>, run: GithubRun<'_>, token: &str) -> Result<bool, Failure> {
        let GithubRun { owner, name, id } = run;
        let url = format!("{}repos/{owner}/{name}/actions/runs/{id}/pending_deployments", self.api);
        let list = Call { method: Method::GET, url: &url, bearer: token, body: None };
        let answer = self.sender.send(PENDING, &list).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(false),
            _ => return Err(refusal(PENDING, kind_of(&answer), &answer)),
        }
        let all: Option<Vec<Value>> = serde_json::from_slice(&answer.body).ok();
        let all = all.ok_or_else(|| failure(PENDING, FailureKind::Malformed, "it is no list"))?;
        let is_ours = |one: &Value| {
            let name = one["environment"]["name"].as_str().unwrap_or_default();
            name.to_lowercase() == waits.environment.to_lowercase()
        };
        Ok(all.iter().any(is_ours))
    }
}

/// What stands on the run's page.
fn comment(told: &Told) -> String {
    let word = if told.pass { "pass" } else { "fail" };
    let why = on_one_line(&told.why, COMMENT_MAX);
    format!("canary-gate: {word} at {}: {why}", told.at.strftime("%Y-%m-%d %H:%M UTC"))
}

/// The kind that a status stands for, where no call has its own reading of it.
fn kind_of(answer: &Answer) -> FailureKind {
    match answer.status.as_u16() {
        // GitHub says by this status, too, that it was asked too often.
        403 if answer.is_rate_limited => FailureKind::Throttled,
        401 | 403 => FailureKind::Denied,
        408 => FailureKind::TimedOut,
        429 => FailureKind::Throttled,
        500.. => FailureKind::Unavailable,
        _ => FailureKind::Malformed,
    }
}

/// What GitHub has against a call.
fn refusal(operation: &'static str, kind: FailureKind, answer: &Answer) -> Failure {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said = said["message"].as_str().unwrap_or("no message");
    let id = answer.request_id.as_deref().map(|id| format!(" (request id {id})")).unwrap_or_default();
    let detail = format!("HTTP {}: {}{id}", answer.status.as_u16(), on_one_line(said, SAID_MAX));
    Failure { operation, kind, detail, source: None }
}

fn failure(operation: &'static str, kind: FailureKind, detail: &str) -> Failure {
    Failure { operation, kind, detail: on_one_line(detail, SAID_MAX), source: None }
}

fn on_one_line(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    crate::config::on_one_line(&line, most)
}
