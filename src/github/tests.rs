//! The client against a server that plays GitHub: every request is looked at, and every answer is tried.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;
use std::thread::JoinHandle;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::RsaKeyPair;

use super::*;
use crate::config::{AppKey, Settings};
use crate::ports::FailureKind::{Denied, Malformed, NotFound, Throttled, TimedOut, Unavailable};

/// Generating one takes a while.
static KEY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'static> = pair.as_der().unwrap();
    der.as_ref().to_vec()
});
/// What stands in a `PrivateKeyInfo` before the key itself: version, algorithm and the heads of the strings.
const PKCS8_HEAD: usize = 26;
const TOKEN: &str = "ghs_16C7e42F292c6912E7710c838347Ae178B4a";
const PATH: &str = "/repos/octo/shop/actions/runs/5413/deployment_protection_rule";
const TOKEN_GIVEN: &str =
    r#"{"token":"ghs_16C7e42F292c6912E7710c838347Ae178B4a","expires_at":"2026-03-01T11:42:00Z"}"#;

/// One key, made for these tests, in the two ways it may be written.
pub(super) fn keys() -> (RsaKeyPair, [AppKey; 2]) {
    let pkcs8 = KEY.clone();
    let pair = RsaKeyPair::from_pkcs8(&pkcs8).unwrap();
    (pair, [AppKey::Pkcs1(pkcs8[PKCS8_HEAD..].to_vec()), AppKey::Pkcs8(pkcs8)])
}

/// What the server says, in turn; `None` says nothing for long.
type Says = Option<(u16, &'static str, String)>;

fn says(status: u16, body: &str) -> Says {
    Some((status, "x-github-request-id: 0A1B:2C3D\r\n", body.to_owned()))
}

/// A request as the server got it.
#[derive(Debug)]
struct Got {
    line: String,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

fn take(stream: &TcpStream) -> Got {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let first = line();
    let headers = std::iter::repeat_with(&mut line).take_while(|line| !line.is_empty());
    let split =
        |line: String| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).unwrap();
    let headers: Vec<_> = headers.map(split).collect();
    let mut got = Got { line: first, headers, body: Value::Null };
    let mut body = vec![0; got.header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    got.body = serde_json::from_slice(&body).unwrap_or_default();
    got
}

fn serve(answers: Vec<Says>) -> (GithubApi, JoinHandle<Vec<Got>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = GithubApi::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let server = std::thread::spawn(move || {
        let mut got = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            got.push(take(&stream));
            let Some((status, headers, body)) = answer else {
                std::thread::sleep(Duration::from_secs(4));
                continue;
            };
            let length = body.len();
            let text = format!("HTTP/1.1 {status} S\r\n{headers}content-length: {length}\r\n\r\n{body}");
            // Who has seen enough hangs up.
            let _ = stream.write_all(text.as_bytes());
        }
        got
    });
    (api, server)
}

fn client(api: &GithubApi) -> Github {
    let (_, [key, _]) = keys();
    let webhook_secret = crate::config::webhook_secret("It's a Secret to Everybody").unwrap();
    Github::new(&GithubApp { id: "1234567".to_owned(), key, webhook_secret, api: api.clone() }).unwrap()
}

fn told(pass: bool) -> Told {
    let why =
        "errors: proven\nhealthy (canary at 5 %; requests on this step: 8000 of stable, 412 of the canary)";
    Told { pass, why: why.to_owned(), at: "2026-03-01T10:42:30Z".parse().unwrap() }
}

/// Tells one who waits for a run of `PATH`, at a server that gives these answers, and what the server got.
fn tell(answers: Vec<Says>, pass: bool) -> (Result<(), Failure>, Vec<Got>) {
    let (api, server) = serve(answers);
    let callback_url = format!("{api}{}", &PATH[1..]);
    let waits = Waits { callback_url: &callback_url, environment: "checkout", installation: 77 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result =
        runtime.block_on(client(&api).tell(waits, &told(pass), "2026-03-01T10:43:00Z".parse().unwrap()));
    (result, server.join().unwrap())
}

fn kind(answers: Vec<Says>) -> FailureKind {
    let (result, got) = tell(answers, true);
    let failure = result.unwrap_err();
    let jwt = got[0].header("authorization").trim_start_matches("Bearer ").to_owned();
    let said = format!("{failure} {failure:?}");
    assert!(!said.contains(TOKEN) && !said.contains(&jwt), "{said}");
    failure.kind
}

#[test]
fn a_deployment_is_let_through_or_rejected_with_a_token_for_its_repository() {
    for (pass, state, word) in [(true, "approved", "pass"), (false, "rejected", "fail")] {
        let (result, got) = tell(vec![says(201, TOKEN_GIVEN), says(204, "")], pass);
        result.unwrap();
        assert_eq!(got[0].line, "POST /app/installations/77/access_tokens HTTP/1.1");
        assert_eq!(got[0].body, json!({ "repositories": ["shop"] }));
        let jwt = got[0].header("authorization");
        assert!(jwt.starts_with("Bearer ey") && jwt.split('.').count() == 3, "{jwt}");
        assert_eq!(got[1].line, format!("POST {PATH} HTTP/1.1"));
        assert_eq!(got[1].header("authorization"), format!("Bearer {TOKEN}"));
        let comment = format!(
            "canary-gate: {word} at 2026-03-01 10:42 UTC: errors: proven healthy (canary at 5 %; requests on this \
             step: 8000 of stable, 412 of the canary)"
        );
        let expected = json!({ "environment_name": "checkout", "state": state, "comment": comment });
        assert_eq!(got[1].body, expected);
        for request in &got {
            assert_eq!(request.header("accept"), "application/vnd.github+json");
            assert_eq!(request.header("x-github-api-version"), "2022-11-28");
            assert_eq!(request.header("content-type"), "application/json");
            assert!(request.header("user-agent").starts_with("canary-gate/"));
        }
    }
}

#[test]
fn an_app_that_is_not_given_a_token_is_denied_and_whoever_is_busy_is_asked_again() {
    let no = r#"{"message":"Integration not found"}"#;
    for (status, expected) in [
        (401, Denied),
        (403, Denied),
        (404, Denied),
        (422, Denied),
        (429, Throttled),
        (408, TimedOut),
        (500, Unavailable),
        (503, Unavailable),
        (301, Malformed),
        (200, Malformed),
    ] {
        assert_eq!(kind(vec![says(status, no)]), expected, "{status}");
    }
    for header in ["retry-after: 60\r\n", "x-ratelimit-remaining: 0\r\n"] {
        assert_eq!(kind(vec![Some((403, header, no.to_owned()))]), Throttled, "{header}");
    }
    let (failure, _) = tell(vec![says(404, no)], true);
    assert_eq!(
        failure.unwrap_err().to_string(),
        "github CreateInstallationAccessToken: denied: HTTP 404: Integration not found (request id 0A1B:2C3D)"
    );
}

#[test]
fn a_token_that_is_none_is_not_sent_on() {
    for body in [
        "",
        "[]",
        "{}",
        r#"{"token":""}"#,
        r#"{"token":7}"#,
        r#"{"token":"a b"}"#,
        "{\"token\":\"a\\r\\nb\"}",
    ] {
        assert_eq!(kind(vec![says(201, body)]), Malformed, "{body}");
    }
    let long = format!(r#"{{"token":"{}"}}"#, "x".repeat(1_001));
    assert_eq!(kind(vec![says(201, &long)]), Malformed);
}

#[test]
fn a_run_that_is_gone_waits_no_more() {
    for (status, expected) in [
        (404, NotFound),
        (410, NotFound),
        (401, Denied),
        (403, Denied),
        (409, Malformed),
        (429, Throttled),
        (500, Unavailable),
        (307, Malformed),
    ] {
        let said = kind(vec![says(201, TOKEN_GIVEN), says(status, r#"{"message":"no"}"#)]);
        assert_eq!(said, expected, "{status}");
    }
}

#[test]
fn an_answer_that_github_refuses_is_wrong_only_if_the_environment_still_waits() {
    let refused = || vec![says(201, TOKEN_GIVEN), says(422, r#"{"message":"Validation Failed"}"#)];
    let after = |pending: Says| kind([refused(), vec![pending]].concat());
    assert_eq!(after(says(200, "[]")), NotFound);
    assert_eq!(after(says(200, r#"[{"environment":{"name":"staging"}}]"#)), NotFound);
    assert_eq!(after(says(404, "")), NotFound);
    assert_eq!(
        after(says(200, r#"[{"environment":{"name":"staging"}},{"environment":{"name":"Checkout"}}]"#)),
        Malformed
    );
    assert_eq!(after(says(200, "{}")), Malformed);
    assert_eq!(after(says(403, "")), Denied);
    assert_eq!(after(says(500, "")), Unavailable);
    let (_, got) = tell([refused(), vec![says(200, "[]")]].concat(), true);
    assert_eq!(got[2].line, "GET /repos/octo/shop/actions/runs/5413/pending_deployments HTTP/1.1");
    assert_eq!(got[2].header("authorization"), format!("Bearer {TOKEN}"));
}

#[test]
fn nothing_is_waited_for_or_read_without_end() {
    assert_eq!(kind(vec![None]), TimedOut);
    assert_eq!(kind(vec![says(201, TOKEN_GIVEN), None]), TimedOut);
    assert_eq!(kind(vec![says(201, &"x".repeat(300_000))]), Malformed);
    assert_eq!(kind(vec![Some((500, "", String::new()))]), Unavailable);
    let (api, server) = serve(Vec::new());
    server.join().unwrap();
    let callback_url = format!("{api}{}", &PATH[1..]);
    let waits = Waits { callback_url: &callback_url, environment: "checkout", installation: 77 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let nobody = runtime.block_on(client(&api).tell(waits, &told(true), Timestamp::now()));
    assert_eq!(nobody.unwrap_err().kind, Unavailable);
}

#[test]
fn a_token_goes_to_the_api_alone_and_never_in_the_clear() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tell = |api: &GithubApi, url: &str| {
        let waits = Waits { callback_url: url, environment: "checkout", installation: 77 };
        runtime.block_on(client(api).tell(waits, &told(true), Timestamp::now())).unwrap_err()
    };
    let elsewhere = tell(&GithubApi::default(), &format!("https://evil.example{PATH}"));
    assert!(elsewhere.kind == Malformed && elsewhere.detail.contains("not below https://api.github.com/"));
    // Nothing that is configured leads here: the last door is shut all the same.
    let (api, _server) = serve(Vec::new());
    let sender = Sender::new(true);
    let url = format!("{api}x");
    let call = Call { method: Method::GET, url: &url, bearer: TOKEN, body: None };
    let failure = runtime.block_on(sender.send(PENDING, &call)).unwrap_err();
    // A machine without certificates says so first.
    let said = ["unsupported scheme", "no certificates"].iter().any(|why| failure.detail.contains(why));
    assert!(failure.kind == Unavailable && said, "{failure}");
}

#[test]
fn a_long_reason_is_cut() {
    let told = Told { why: "why ".repeat(1_000), ..told(false) };
    let comment = comment(&told);
    assert!(comment.chars().count() < 600 && comment.ends_with("..."), "{comment}");
}

#[test]
fn settings_with_a_key_of_github_s_make_a_client_and_nothing_prints_it() {
    use base64::Engine as _;
    let (_, [AppKey::Pkcs1(der), _]) = keys() else { panic!("another order") };
    let body = base64::prelude::BASE64_STANDARD.encode(der);
    let pem = format!("-----BEGIN RSA PRIVATE KEY-----\\n{body}\\n-----END RSA PRIVATE KEY-----\\n");
    let vars = [
        ("CANARY_GATE_TABLE", "canary-gate"),
        ("CANARY_GATE_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:on-call"),
        ("CANARY_GATE_GITHUB_APP_ID", "1234567"),
        ("CANARY_GATE_GITHUB_PRIVATE_KEY", pem.as_str()),
        ("CANARY_GATE_GITHUB_WEBHOOK_SECRET", "It's a Secret to Everybody"),
    ];
    let settings = Settings::from_vars(vars.map(|(key, value)| (key.to_owned(), value.to_owned()))).unwrap();
    let github = Github::new(settings.github.as_ref().unwrap()).unwrap();
    let printed = format!("{github:?} {settings:?}");
    assert!(!printed.contains(&body[..40]) && printed.contains("1234567"), "{printed}");
    assert!(pem.len() < 1_800, "of the 4 KB that an environment has");
}
