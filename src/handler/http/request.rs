//! What every caller's file gets and gives.

use serde_json::Value;

use crate::event::HttpRequest;

/// Who asks, after the door was passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// For audits: an IAM ARN, or the name of a token.
    pub(crate) name: String,
    /// May change something; else it may only ask.
    pub(crate) may_act: bool,
}

/// A request that was let in.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// As it came.
    pub(crate) http: &'a HttpRequest,
    /// The path's parts after the caller's prefix, decoded: `/flagger/v1/rollback` is `["rollback"]`.
    pub(crate) rest: Vec<String>,
    /// Who asks.
    pub(crate) caller: Caller,
}

impl Request<'_> {
    /// A path at the host that was asked, if that names one that is plain.
    pub(crate) fn url(&self, path: &str) -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
        let host = self.http.host.as_str();
        if host.is_empty() || !host.bytes().all(plain) {
            return path.to_owned();
        }
        let proto = self.http.headers.get("x-forwarded-proto").map(String::as_str);
        let scheme = if proto == Some("http") { "http" } else { "https" };
        format!("{scheme}://{host}{path}")
    }

    /// The body as JSON; the answer to give if it is none.
    pub(crate) fn json(&self) -> Result<Value, Response> {
        serde_json::from_slice(&self.http.body)
            .map_err(|error| Response::error(400, &format!("the body is no JSON: {error}")))
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Beside the content type.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Response {
    /// JSON.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self { status, headers: Vec::new(), content_type: "application/json", body: body.to_string() }
    }

    /// Plain text, for callers that show the body to people.
    pub(crate) fn text(status: u16, body: &str) -> Self {
        let content_type = "text/plain; charset=utf-8";
        Self { status, headers: Vec::new(), content_type, body: body.to_owned() }
    }

    /// `{"error": ...}`.
    pub(crate) fn error(status: u16, error: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": error }))
    }

    /// With another header.
    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}
