//! An HTTP request as a Lambda function URL hands it on: payload format 2.0.
//!
//! What can't be read is refused with the status that HTTP has for it, and in words that quote nothing: whoever
//! sent it has not shown yet who they are.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use super::{EventError, Fault};
use crate::config::Problem;

/// Bytes of a body at most: as many as of any other event of ours.
pub const BODY_MAX: usize = 256 * 1024;
/// Bytes of path and query together: several times the longest that any caller has use for.
pub const TARGET_MAX: usize = 4 * 1024;
/// Bytes of all headers together; AWS itself hands on no more than about 10 KB.
pub const HEADERS_MAX: usize = 32 * 1024;

/// An HTTP request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// In capitals.
    pub method: String,
    /// Decoded, without the query.
    pub path: String,
    /// Path and query as they were sent, with the `?` if there is a query: what callers sign.
    pub target: String,
    /// Decoded; of a name that comes twice, the first.
    pub query: BTreeMap<String, String>,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    /// As it was sent.
    pub body: Vec<u8>,
    /// The ARN of who signed it, where AWS has checked the signature.
    pub iam: Option<String>,
    /// Whence it came.
    pub source_ip: String,
    /// The host that it was sent to.
    pub host: String,
}

/// Whether the event is an HTTP request by its envelope, whatever is wrong with what is inside.
pub(super) fn is_http(map: &Map<String, Value>) -> bool {
    map.get("requestContext").is_some_and(|context| context.get("http").is_some())
}

/// Reads a request.
///
/// # Errors
/// The first thing that is wrong, with a status.
pub(super) fn read(map: &Map<String, Value>) -> Result<HttpRequest, EventError> {
    if map.get("version").and_then(Value::as_str) != Some("2.0") {
        return Err(refusal(400, "version", "must be \"2.0\": the payload of a function URL"));
    }
    let context = &map["requestContext"];
    let of = |key: &str| context["http"].get(key).and_then(Value::as_str);
    let method = of("method").filter(|method| is_method(method));
    let method = method.ok_or_else(|| refusal(400, "requestContext.http.method", "must be a method"))?;
    let raw_path = text(map, "rawPath")?.or_else(|| of("path")).unwrap_or("/");
    let raw_query = text(map, "rawQueryString")?.unwrap_or_default();
    if raw_path.len() + raw_query.len() > TARGET_MAX {
        return Err(refusal(414, "rawPath", format!("has more than {TARGET_MAX} bytes with the query")));
    }
    let path = decoded(raw_path, false).filter(|path| path.starts_with('/') && is_plain(path));
    let path = path.ok_or_else(|| refusal(400, "rawPath", "must be a path in UTF-8 that begins with /"))?;
    let query = query(raw_query);
    let query = query.ok_or_else(|| refusal(400, "rawQueryString", "must be a query in UTF-8"))?;
    let headers = headers(map)?;
    let host = context.get("domainName").and_then(Value::as_str);
    let host = host.or_else(|| headers.get("host").map(String::as_str)).unwrap_or_default().to_owned();
    let iam = context["authorizer"]["iam"]["userArn"].as_str().filter(|arn| !arn.is_empty() && is_plain(arn));
    let question = if raw_query.is_empty() { "" } else { "?" };
    Ok(HttpRequest {
        method: method.to_ascii_uppercase(),
        path,
        target: format!("{raw_path}{question}{raw_query}"),
        query,
        headers,
        body: body(map)?,
        iam: iam.map(str::to_owned),
        source_ip: of("sourceIp").unwrap_or_default().to_owned(),
        host,
    })
}

fn refusal(status: u16, key: &str, rule: impl Into<String>) -> EventError {
    EventError { fault: Fault::Http(status), problems: vec![Problem::of_text(key, "", rule)] }
}

fn is_method(method: &str) -> bool {
    (1..=16).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_alphabetic())
}

fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// A text that may be absent.
fn text<'v>(map: &'v Map<String, Value>, key: &str) -> Result<Option<&'v str>, EventError> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(refusal(400, key, "must be a text")),
    }
}

fn headers(map: &Map<String, Value>) -> Result<BTreeMap<String, String>, EventError> {
    let mut headers = BTreeMap::new();
    let sent = match map.get("headers") {
        None | Some(Value::Null) => return Ok(headers),
        Some(Value::Object(sent)) => sent,
        Some(_) => return Err(refusal(400, "headers", "must be a JSON object")),
    };
    let mut left = HEADERS_MAX;
    for (name, value) in sent {
        let value = value.as_str().ok_or_else(|| refusal(400, "headers", "must be texts"))?;
        let more = || refusal(431, "headers", format!("have more than {HEADERS_MAX} bytes"));
        left = left.checked_sub(name.len() + value.len()).ok_or_else(more)?;
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    Ok(headers)
}

fn body(map: &Map<String, Value>) -> Result<Vec<u8>, EventError> {
    let too_large = || refusal(413, "body", format!("has more than {BODY_MAX} bytes"));
    let is_base64 = match map.get("isBase64Encoded") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(is_base64)) => *is_base64,
        Some(_) => return Err(refusal(400, "isBase64Encoded", "must be true or false")),
    };
    let Some(sent) = text(map, "body")? else { return Ok(Vec::new()) };
    // Before it is decoded: four characters are three bytes.
    if is_base64 && sent.len() / 4 * 3 > BODY_MAX + 3 {
        return Err(too_large());
    }
    let body = match is_base64 {
        false => sent.as_bytes().to_vec(),
        true => {
            let decoded = BASE64_STANDARD.decode(sent);
            decoded.map_err(|_| refusal(400, "body", "must be base64, as isBase64Encoded says"))?
        }
    };
    if body.len() > BODY_MAX { Err(too_large()) } else { Ok(body) }
}

fn query(raw: &str) -> Option<BTreeMap<String, String>> {
    let mut query = BTreeMap::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        query.entry(decoded(name, true)?).or_insert(decoded(value, true)?);
    }
    Some(query)
}

/// Without percent encoding; `None` if that is no UTF-8. A `%` that begins no code stands for itself.
fn decoded(text: &str, plus_is_space: bool) -> Option<String> {
    let digit =
        |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = (byte == b'%').then(|| Some(digit(bytes.get(at + 1))? << 4 | digit(bytes.get(at + 2))?));
        match code.flatten() {
            Some(code) => {
                plain.push(code);
                at += 3;
            }
            None => {
                plain.push(if byte == b'+' && plus_is_space { b' ' } else { byte });
                at += 1;
            }
        }
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::super::Invocation;
    use super::*;
    use serde_json::json;

    fn event() -> Value {
        json!({
            "version": "2.0",
            "rawPath": "/v1/verdict",
            "rawQueryString": "rollout=checkout-v42&x=a%20b+c&rollout=other",
            "headers": { "Host": "gate.example", "authorization": "Bearer t" },
            "requestContext": {
                "domainName": "abc.lambda-url.eu-west-1.on.aws",
                "http": { "method": "get", "path": "/v1/verdict", "sourceIp": "192.0.2.7" },
            },
            "isBase64Encoded": false,
        })
    }

    fn read(event: &Value) -> Result<HttpRequest, EventError> {
        match Invocation::from_json(event)? {
            Invocation::Http(request) => Ok(request),
            other => panic!("no request: {other:?}"),
        }
    }

    #[test]
    fn a_request_is_read_with_all_that_a_caller_sent() {
        let request = read(&event()).unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/v1/verdict"));
        assert_eq!(request.target, "/v1/verdict?rollout=checkout-v42&x=a%20b+c&rollout=other");
        assert_eq!(
            (request.query["rollout"].as_str(), request.query["x"].as_str()),
            ("checkout-v42", "a b c")
        );
        assert_eq!(request.headers["host"], "gate.example");
        assert_eq!(request.host, "abc.lambda-url.eu-west-1.on.aws");
        assert_eq!((request.source_ip.as_str(), request.iam, request.body), ("192.0.2.7", None, vec![]));
    }

    #[test]
    fn a_body_is_the_same_as_text_and_as_base64() {
        let mut event = event();
        event["body"] = json!("{\"a\":1}");
        let plain = read(&event).unwrap();
        event["body"] = json!("eyJhIjoxfQ==");
        event["isBase64Encoded"] = json!(true);
        assert_eq!(read(&event).unwrap().body, plain.body);
    }

    #[test]
    fn only_the_authorizer_of_aws_says_who_signed() {
        let mut event = event();
        event["requestContext"]["authorizer"] = json!({ "iam": { "userArn": "arn:aws:iam::1:user/ana" } });
        assert_eq!(read(&event).unwrap().iam.as_deref(), Some("arn:aws:iam::1:user/ana"));
        for other in [
            json!({ "iam": { "userArn": "" } }),
            json!({ "lambda": { "userArn": "x" } }),
            json!({ "iam": null }),
        ] {
            event["requestContext"]["authorizer"] = other;
            assert_eq!(read(&event).unwrap().iam, None);
        }
        event["headers"]["x-test-iam"] = json!("arn:aws:iam::1:user/ana");
        assert_eq!(read(&event).unwrap().iam, None);
    }

    #[test]
    fn what_is_too_large_is_refused_with_its_own_status() {
        let set = |key: &str, value: Value| {
            let mut event = event();
            event[key] = value;
            read(&event).map_err(|error| error.http_status())
        };
        assert!(set("body", json!("x".repeat(BODY_MAX))).is_ok());
        assert_eq!(set("body", json!("x".repeat(BODY_MAX + 1))), Err(Some(413)));
        assert_eq!(set("rawPath", json!("/".repeat(TARGET_MAX + 1))), Err(Some(414)));
        assert_eq!(set("headers", json!({ "x": "y".repeat(HEADERS_MAX) })), Err(Some(431)));
        let mut event = event();
        event["isBase64Encoded"] = json!(true);
        for (bytes, status) in [(BODY_MAX, None), (BODY_MAX + 1, Some(413)), (3 * BODY_MAX, Some(413))] {
            event["body"] = json!(BASE64_STANDARD.encode(vec![b'x'; bytes]));
            assert_eq!(read(&event).err().and_then(|error| error.http_status()), status, "{bytes}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_not_quoted() {
        for (key, value) in [
            ("version", json!("1.0")),
            ("version", Value::Null),
            ("rawPath", json!(["s3cret"])),
            ("rawPath", json!("s3cret")),
            ("rawPath", json!("/s3cret%ff")),
            ("rawPath", json!("/s3cret%0a")),
            ("rawQueryString", json!(7)),
            ("rawQueryString", json!("s3cret=%ff")),
            ("headers", json!(["s3cret"])),
            ("headers", json!({ "x": ["s3cret"] })),
            ("body", json!({ "s3cret": 1 })),
            ("isBase64Encoded", json!("s3cret")),
        ] {
            let mut event = event();
            event[key] = value;
            let error = read(&event).unwrap_err();
            assert_eq!((error.http_status(), error.error_type()), (Some(400), "UnreadableEvent"), "{event}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        for http in [json!({}), json!(null), json!({ "method": "GET /" }), json!({ "method": 1 }), json!([])]
        {
            let mut event = event();
            event["requestContext"]["http"] = http;
            assert_eq!(read(&event).unwrap_err().http_status(), Some(400), "{event}");
        }
        let mut event = event();
        (event["body"], event["isBase64Encoded"]) = (json!("no base64"), json!(true));
        assert_eq!(read(&event).unwrap_err().http_status(), Some(400));
    }

    #[test]
    fn other_events_have_no_status() {
        for event in [json!({}), json!({ "requestContext": {} }), json!({ "httpMethod": "GET" })] {
            assert_eq!(Invocation::from_json(&event).unwrap_err().http_status(), None);
        }
    }

    #[test]
    fn a_percent_sign_that_begins_no_code_stands_for_itself() {
        for (text, plain) in [("a%2Fb", "a/b"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%C3%A9+", "é+")] {
            assert_eq!(decoded(text, false).as_deref(), Some(plain));
        }
    }
}
