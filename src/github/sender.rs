//! One HTTP request and its answer, in time and in bounds.

use std::sync::OnceLock;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use super::failure;
use crate::ports::{Failure, FailureKind};

/// For one call, the connection included. Three of them are a deployment's answer at most, and GitHub's own webhook,
/// in which the first answer may be given, waits for ten seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Of an answer; a token's has some hundred bytes, a list of pending deployments some thousands.
const ANSWER_MAX: usize = 256 * 1024;
/// The version of the API that this was written for.
const API_VERSION: &str = "2022-11-28";

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Sends requests. The certificates are read at the first one: most invocations have nothing to say to GitHub.
pub(super) struct Sender {
    https_only: bool,
    client: OnceLock<HttpClient>,
}

/// A request.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    /// What it is authorised with.
    pub(super) bearer: &'a str,
    pub(super) body: Option<&'a Value>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// GitHub says that it was asked too often.
    pub(super) is_rate_limited: bool,
    /// What GitHub's support asks for first.
    pub(super) request_id: Option<String>,
}

impl Sender {
    pub(super) fn new(https_only: bool) -> Self {
        Self { https_only, client: OnceLock::new() }
    }

    /// Sends a request and reads the answer. Redirects are not followed: a token goes nowhere else.
    pub(super) async fn send(&self, operation: &'static str, call: &Call<'_>) -> Result<Answer, Failure> {
        let unsendable = |why: &str| failure(operation, FailureKind::Malformed, why);
        let client = self.client().map_err(|why| failure(operation, FailureKind::Unavailable, &why))?;
        let request = request(call).map_err(|why| unsendable(&why))?;
        let answered = async {
            let response = client.request(request).await.map_err(|error| Failure {
                source: None,
                ..failure(operation, FailureKind::Unavailable, &chain(&error))
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| {
                let kind = match error.is::<LengthLimitError>() {
                    true => FailureKind::Malformed,
                    false => FailureKind::Unavailable,
                };
                failure(operation, kind, &chain(error.as_ref()))
            })?;
            let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
            Ok(Answer {
                status: head.status,
                body: body.to_bytes(),
                is_rate_limited: head.headers.contains_key(RETRY_AFTER)
                    || text("x-ratelimit-remaining") == Some("0"),
                request_id: text("x-github-request-id").map(|id| id.chars().take(60).collect()),
            })
        };
        match tokio::time::timeout(CALL_TIMEOUT, answered).await {
            Ok(answered) => answered,
            Err(_) => {
                let why = format!("no answer within {} s", CALL_TIMEOUT.as_secs());
                Err(failure(operation, FailureKind::TimedOut, &why))
            }
        }
    }

    fn client(&self) -> Result<&HttpClient, String> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let builder = HttpsConnectorBuilder::new();
        let connector = match self.https_only {
            true => {
                let tls = builder.with_provider_and_native_roots(provider);
                let tls = tls.map_err(|error| format!("no certificates to trust: {error}"))?;
                tls.https_only().enable_http1().build()
            }
            // In the clear to this very machine; by TLS it trusts nobody.
            false => {
                let tls = ClientConfig::builder_with_provider(provider.into());
                let tls = tls.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
                let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
                builder.with_tls_config(tls).https_or_http().enable_http1().build()
            }
        };
        // A connection that was kept while Lambda froze the process is none any more.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(self.client.get_or_init(|| client))
    }
}

fn request(call: &Call<'_>) -> Result<Request<Full<Bytes>>, String> {
    let mut bearer =
        HeaderValue::try_from(format!("Bearer {}", call.bearer)).map_err(|_| "no token for a header")?;
    bearer.set_sensitive(true);
    let body = call.body.map(|body| Bytes::from(body.to_string()));
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(call.url)
        .header(ACCEPT, "application/vnd.github+json")
        .header("x-github-api-version", API_VERSION)
        // GitHub refuses requests without one.
        .header(USER_AGENT, concat!("canary-gate/", env!("CARGO_PKG_VERSION")))
        .header(AUTHORIZATION, bearer);
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    request.body(Full::new(body.unwrap_or_default())).map_err(|error| error.to_string())
}

/// An error and its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
