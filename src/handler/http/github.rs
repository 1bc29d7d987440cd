//! GitHub's deployment protection rules: the request of a deployment that waits for us to let it through.
//!
//! GitHub gives no time to answer in the call itself: the request is parked, and the tick posts the answer to
//! the callback URL when there is a verdict. Where nothing could ever be the answer (no such rollout) the
//! deployment is rejected at once, and the reason stands on the run's page: nobody looks into the log of
//! deliveries of a run that just waits.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;

use super::super::hooks;
use super::asked::{NoAnswer, failed, find, text};
use super::request::{Request, Response};
use crate::config::{GithubApi, GithubApp, WebhookSecret, from_hex, is_rollout_name};
use crate::event::HttpRequest;
use crate::ports::{FailureKind, Platform};
use crate::rollout::gate::{Gate, Told, Waiting};

const SIGNATURE: &str = "x-hub-signature-256";
/// GitHub allows 255 characters.
const ENVIRONMENT_MAX: usize = 255;

/// What an installation and its GitHub App have agreed on.
#[derive(Debug, Clone)]
pub(super) struct Agreed {
    /// The webhook's secret.
    secret: WebhookSecret,
    /// Where the API is.
    api: GithubApi,
}

impl Agreed {
    pub(super) fn of(app: &GithubApp) -> Self {
        Self { secret: app.webhook_secret.clone(), api: app.api.clone() }
    }

    /// Whether GitHub has signed a request.
    pub(super) fn has_signed(&self, request: &HttpRequest) -> bool {
        is_signed(self.secret.bytes(), request)
    }
}

/// A deployment that waits for a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
struct GithubGate {
    /// Where and for whom to answer.
    waiting: Waiting,
    /// The rollout whose verdict is the answer; or why there can be none.
    rollout: Result<String, String>,
}

impl GithubGate {
    /// Reads the event `deployment_protection_rule` with action `requested`.
    ///
    /// # Errors
    /// What is missing or not to be trusted. A callback URL elsewhere is refused: whoever could choose it
    /// would be sent an App's token.
    fn read(event: &Value, api: &GithubApi) -> Result<Self, String> {
        let repository = event.get("repository").and_then(|repository| text(repository, "full_name"));
        let repository = repository.ok_or("repository.full_name is missing")?;
        let callback_url = text(event, "deployment_callback_url");
        let callback_url = callback_url.ok_or("deployment_callback_url is missing")?;
        let environment = text(event, "environment").ok_or("environment is missing")?;
        if environment.is_empty() || environment.chars().count() > ENVIRONMENT_MAX {
            return Err(format!("environment must have 1 to {ENVIRONMENT_MAX} characters"));
        }
        if !api.run_of(callback_url).is_some_and(|run| run.is_of(repository)) {
            return Err(format!("deployment_callback_url must be below {api}, of a run of {repository}"));
        }
        let installation = event.get("installation").and_then(|installation| installation["id"].as_u64());
        let waiting = Waiting::Github {
            callback_url: callback_url.to_owned(),
            environment: environment.to_owned(),
            installation: installation
                .ok_or("installation.id is missing: the rule must be a GitHub App's")?,
        };
        Ok(Self { waiting, rollout: rollout(event, environment) })
    }
}

/// `deployment.payload.rollout`, where the payload may be an object or its text; else the environment's name.
fn rollout(event: &Value, environment: &str) -> Result<String, String> {
    let payload = event.get("deployment").map_or(&Value::Null, |deployment| &deployment["payload"]);
    let inner = payload.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let named = text(inner.as_ref().unwrap_or(payload), "rollout");
    let name = named.unwrap_or(environment);
    match is_rollout_name(name) {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "{name:?} is no rollout's name (1 to 63 small letters, digits and hyphens): set rollout in the \
             deployment's payload, or name the environment as the rollout"
        )),
    }
}

/// Whether a request is signed with a secret. The comparison takes as long whatever is wrong.
fn is_signed(secret: &[u8], request: &HttpRequest) -> bool {
    let signature = request.headers.get(SIGNATURE).and_then(|header| header.strip_prefix("sha256="));
    let Some(signature) = signature.and_then(from_hex) else {
        return false;
    };
    // An empty secret would be everybody's.
    let Some(mut mac) =
        Some(secret).filter(|s| !s.is_empty()).and_then(|s| Hmac::<Sha256>::new_from_slice(s).ok())
    else {
        return false;
    };
    mac.update(&request.body);
    mac.verify_slice(&signature).is_ok()
}

/// Answers a webhook whose signature was checked.
pub(super) async fn answer<P: Platform>(
    platform: &P,
    request: &Request<'_>,
    agreed: &Agreed,
    now: Timestamp,
) -> Response {
    let gate = match received(request, &agreed.api) {
        Ok(gate) => gate,
        Err(response) => return response,
    };
    let found = match &gate.rollout {
        Ok(name) => find(platform, name, now).await,
        Err(why) => Err(NoAnswer::NoSuch(why.clone())),
    };
    let record = match found {
        Ok(record) => record,
        Err(NoAnswer::NoSuch(why)) => return reject(platform, &gate.waiting, why, now).await,
        // GitHub does not send it again by itself: its log of deliveries has it, and a button for that.
        Err(cannot @ NoAnswer::Cannot(_)) => return cannot.response(),
    };
    let parked = Gate::new(gate.waiting, &record.plan, now, now);
    let deadline = parked.deadline;
    match hooks::park(platform, record, parked).await {
        Ok(record) => {
            tracing::info!(rollout = record.id(), %deadline, "GitHub deployment parked");
            Response::text(202, &format!("parked: waits for the verdict on {}", record.id()))
        }
        Err(error) => failed(&error),
    }
}

/// Tells a deployment at once that it can't be let through: nobody will ever know more.
async fn reject<P: Platform>(platform: &P, waiting: &Waiting, why: String, now: Timestamp) -> Response {
    tracing::warn!(waiting = waiting.name(), why, "GitHub deployment rejected");
    let told = Told { pass: false, why, at: now };
    match platform.tell(waiting, &told).await {
        Ok(()) => Response::text(200, &format!("rejected: {}", told.why)),
        Err(failure) if failure.kind == FailureKind::NotFound => Response::text(200, "nobody waits any more"),
        Err(failure) => {
            tracing::error!(waiting = waiting.name(), %failure, "GitHub not told");
            Response::error(
                503,
                &format!("to be rejected ({}), and not told: {}", told.why, failure.kind.name()),
            )
        }
    }
}

/// The gate that a webhook asks for, or the answer to anything else.
fn received(request: &Request<'_>, api: &GithubApi) -> Result<GithubGate, Response> {
    let event = request.http.headers.get("x-github-event").map_or("", String::as_str);
    if event == "ping" {
        return Err(Response::text(200, "pong"));
    }
    if event != "deployment_protection_rule" {
        return Err(Response::text(202, "ignored: only deployment_protection_rule is answered"));
    }
    let body = request.json()?;
    if text(&body, "action") != Some("requested") {
        return Err(Response::text(202, "ignored: only the action `requested` is answered"));
    }
    GithubGate::read(&body, api).map_err(|why| Response::error(400, &why))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "action": "requested",
            "environment": "production",
            "deployment_callback_url":
                "https://api.github.com/repos/octo/shop/actions/runs/5413/deployment_protection_rule",
            "deployment": { "payload": {} },
            "repository": { "full_name": "octo/shop" },
            "installation": { "id": 77 },
        })
    }

    fn read(event: &Value) -> Result<GithubGate, String> {
        GithubGate::read(event, &GithubApi::default())
    }

    fn with(pointer: &str, value: Value) -> Result<GithubGate, String> {
        let mut event = event();
        *event.pointer_mut(pointer).unwrap() = value;
        read(&event)
    }

    #[test]
    fn a_gate_is_what_it_takes_to_answer() {
        let gate = read(&event()).unwrap();
        let waiting = Waiting::Github {
            callback_url: event()["deployment_callback_url"].as_str().unwrap().to_owned(),
            environment: "production".to_owned(),
            installation: 77,
        };
        assert_eq!(gate, GithubGate { waiting, rollout: Ok("production".to_owned()) });
        for payload in [json!({ "rollout": "shop-v7" }), json!(r#"{"rollout":"shop-v7"}"#)] {
            assert_eq!(with("/deployment/payload", payload).unwrap().rollout.unwrap(), "shop-v7");
        }
        for payload in [json!("deploy it"), json!(null), json!([])] {
            assert_eq!(with("/deployment/payload", payload).unwrap().rollout.unwrap(), "production");
        }
        let why = with("/environment", json!("Production EU")).unwrap().rollout.unwrap_err();
        assert!(why.contains("no rollout's name"), "{why}");
    }

    #[test]
    fn what_can_not_be_answered_is_refused() {
        for url in [
            "https://evil.example/repos/octo/shop/actions/runs/5413/deployment_protection_rule",
            "https://api.github.com/repos/octo/other/actions/runs/5413/deployment_protection_rule",
            "https://169.254.169.254/latest/meta-data",
        ] {
            assert!(with("/deployment_callback_url", json!(url)).is_err(), "{url}");
        }
        for repository in ["octo/../shop", "octo", "octo/", "../shop", "octo/shop?x", "octo/sh%2fop"] {
            let api = GithubApi::default();
            let url = format!("{api}repos/{repository}/actions/runs/5413/deployment_protection_rule");
            let mut event = event();
            event["repository"]["full_name"] = json!(repository);
            event["deployment_callback_url"] = json!(url);
            assert!(read(&event).is_err(), "{repository}");
        }
        assert!(with("/environment", json!("")).is_err());
        assert!(with("/environment", json!("x".repeat(256))).is_err());
        assert!(with("/installation", json!(null)).is_err());
        assert!(read(&json!({})).is_err());
    }

    #[test]
    fn a_github_of_one_s_own_has_its_api_elsewhere() {
        let api = GithubApi::parse("https://github.shop.example/api/v3/").unwrap();
        let mut event = event();
        let url = format!("{api}repos/octo/shop/actions/runs/5413/deployment_protection_rule");
        event["deployment_callback_url"] = json!(url);
        assert!(GithubGate::read(&event, &api).is_ok());
        assert!(read(&event).is_err());
    }

    #[test]
    fn a_signature_is_github_s_of_just_this_body() {
        // The example of GitHub's own documentation.
        let header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let request = |header: &str, body: &str| HttpRequest {
            headers: [(SIGNATURE.to_owned(), header.to_owned())].into(),
            body: body.as_bytes().to_vec(),
            ..HttpRequest::default()
        };
        let secret = b"It's a Secret to Everybody";
        assert!(is_signed(secret, &request(header, "Hello, World!")));
        assert!(!is_signed(secret, &request(header, "Hello, World?")));
        assert!(!is_signed(b"another", &request(header, "Hello, World!")));
        for bad in ["", "sha256=", "sha1=757107", &header[7..], &header[..header.len() - 1], "sha256=zz"] {
            assert!(!is_signed(secret, &request(bad, "Hello, World!")), "{bad}");
        }
        assert!(!is_signed(secret, &HttpRequest::default()));
        let mut mac = Hmac::<Sha256>::new_from_slice(b"").unwrap();
        mac.update(b"Hello, World!");
        let hex: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
        let everybody_s = request(&format!("sha256={hex}"), "Hello, World!");
        assert!(!is_signed(b"", &everybody_s), "an empty secret is nobody's");
    }

    /// Made to GitHub's own schema of the event (`@octokit/openapi-webhooks`).
    #[test]
    fn the_whole_event_of_github_s_schema_is_read() {
        let text = include_str!("../../../tests/callers/github-deployment-protection-rule.json");
        let gate = read(&serde_json::from_str(text).unwrap()).unwrap();
        let Waiting::Github { callback_url, installation, .. } = gate.waiting else { panic!("not GitHub's") };
        assert!(callback_url.contains("/octo/shop/actions/runs/5413456789/"), "{callback_url}");
        assert_eq!((installation > 0, gate.rollout.as_deref()), (true, Ok("checkout")));
    }

    #[test]
    fn only_a_request_for_a_deployment_is_parked() {
        let ask = |kind: &str, body: &Value| {
            let http = HttpRequest {
                method: "POST".to_owned(),
                headers: [("x-github-event".to_owned(), kind.to_owned())].into(),
                body: body.to_string().into_bytes(),
                ..HttpRequest::default()
            };
            let caller = super::super::request::Caller { name: "github".to_owned(), may_act: false };
            let request = Request { http: &http, rest: Vec::new(), caller };
            received(&request, &GithubApi::default()).map_err(|response| response.status)
        };
        let kind = "deployment_protection_rule";
        assert!(ask(kind, &event()).is_ok());
        assert_eq!(ask("ping", &json!({ "zen": "Design for failure." })), Err(200));
        assert_eq!(ask("push", &event()), Err(202));
        assert_eq!(ask(kind, &json!({ "action": "edited" })), Err(202));
        assert_eq!(ask(kind, &json!({ "action": "requested" })), Err(400));
    }
}
