//! Who may call. A caller is known by a signature of AWS (IAM), by a token whose hash the installation has, or by
//! an HMAC signature of its own. Whoever is not known hears the same, whatever they asked for.
//!
//! Who called how often is remembered by each process for itself; that a signed change came already is known to all
//! (`take_once`), and to this process without asking.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::github::Agreed;
use super::rate::Buckets;
use super::request::{Caller, Response};
use crate::config::{GithubApp, KnownCaller, Secret, from_hex, on_one_line};
use crate::event::HttpRequest;

/// When a request was signed, in seconds since 1970.
pub(super) const TIMESTAMP_HEADER: &str = "x-canary-gate-timestamp";
/// HMAC-SHA256 of timestamp, method, target and body with line feeds between them, in hex.
pub(super) const SIGNATURE_HEADER: &str = "x-canary-gate-signature";
/// A signature is good for so long before and after its timestamp: clocks differ, and requests take time.
const SIGNATURE_LIFE: SignedDuration = SignedDuration::from_mins(5);
/// From the earliest to the latest moment at which one signature is good.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);
/// Signatures kept at most; more than all callers together can send in that time are not accepted.
const REMEMBERED_MAX: usize = 20_000;

/// Requests of one caller: ten a second for long, since Spinnaker asks once a second for each run.
const CALLER_PER_MINUTE: u32 = 600;
/// And so many at once.
const CALLER_BURST: u32 = 120;
/// IAM callers are as many as there are sessions.
const CALLERS_MAX: usize = 1_000;
/// Refused requests of one address: a mistake in a configuration shows, and a flood costs little.
const FAILURES_PER_MINUTE: u32 = 10;
const FAILURES_BURST: u32 = 20;
const ADDRESSES_MAX: usize = 2_000;

/// Callers of Flagger can't set headers: their token is in the body.
const TOKEN_IN_BODY: [&str; 3] = ["/flagger/", "/gate/", "/rollback/"];
/// Whose requests a webhook's are counted as: no caller's name has a space.
const GITHUB: &str = "GitHub webhook";
/// An actor is no longer in any audit.
const NAME_MAX: usize = 200;

/// The doors of one process: who is let in, and what is remembered of those who knocked.
#[derive(Default)]
pub struct Doors {
    callers: Vec<KnownCaller>,
    github: Option<Agreed>,
    memory: Mutex<Memory>,
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = &mut f.debug_struct("Doors");
        fields.field("callers", &self.callers).field("github", &self.github).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Memory {
    requests: Buckets,
    failures: Buckets,
    signatures: HashMap<[u8; 32], Timestamp>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            requests: Buckets::new(CALLER_BURST, CALLER_PER_MINUTE, CALLERS_MAX),
            failures: Buckets::new(FAILURES_BURST, FAILURES_PER_MINUTE, ADDRESSES_MAX),
            signatures: HashMap::new(),
        }
    }
}

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// They are not known.
    Unknown,
    /// Too often; after so many seconds again.
    TooMany(u32),
}

impl Refusal {
    /// The answer: the same for every path.
    pub(super) fn response(self) -> Response {
        match self {
            Self::Unknown => {
                Response::error(401, "unauthorized").with("www-authenticate", "Bearer".to_owned())
            }
            Self::TooMany(seconds) => {
                Response::error(429, "too many requests").with("retry-after", seconds.to_string())
            }
        }
    }
}

/// Somebody who is known, and the signature that counts once: of their own, and of a change. IAM has its own means
/// against a request that comes twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) caller: Caller,
    signature: Option<[u8; 32]>,
}

impl Admitted {
    /// The key that must not come twice, and until when it is good.
    pub(super) fn counts_once(&self, now: Timestamp) -> Option<(String, Timestamp)> {
        let hex = self.signature?.iter().map(|byte| format!("{byte:02x}")).collect();
        Some((hex, now + REMEMBERED))
    }
}

impl Doors {
    /// Doors that open to these callers, and to those whose signature AWS has checked.
    #[must_use]
    pub fn new(callers: Vec<KnownCaller>) -> Self {
        Self { callers, github: None, memory: Mutex::default() }
    }

    /// Open, too, to what GitHub signs for an App.
    #[must_use]
    pub fn with_github(self, app: Option<&GithubApp>) -> Self {
        Self { github: app.map(Agreed::of), ..self }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Counts and times: whatever a panic left behind is good enough.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a caller in who is known and does not ask too often.
    pub(super) fn admit(&self, request: &HttpRequest, now: Timestamp) -> Result<Admitted, Refusal> {
        let known = match self.identify(request, now) {
            Ok(known) => known,
            Err(why) => return Err(self.refuse(request, why, now)),
        };
        let mut memory = self.memory();
        if let Err(seconds) = memory.requests.take(&known.caller.name, now) {
            tracing::warn!(caller = known.caller.name, "request refused: too many");
            return Err(Refusal::TooMany(seconds));
        }
        let changes = !matches!(request.method.as_str(), "GET" | "HEAD");
        let signature = known.signature.filter(|_| changes);
        let fresh = signature.map_or(Ok(()), |signature| memory.remember(signature, now));
        drop(memory);
        fresh.map_err(|why| self.refuse(request, why, now))?;
        Ok(Admitted { signature, ..known })
    }

    /// Lets GitHub in, by the signature of its webhook, if an App is configured; and what was agreed on with it.
    pub(super) fn admit_github(
        &self,
        request: &HttpRequest,
        now: Timestamp,
    ) -> Result<(&Agreed, Caller), Refusal> {
        let agreed = self.github.as_ref().filter(|agreed| agreed.has_signed(request));
        let agreed = agreed.ok_or_else(|| self.refuse(request, "not GitHub's signature", now))?;
        // It may act in nothing: what it asks for is told to its own deployment alone.
        let caller = Caller { name: GITHUB.to_owned(), may_act: false };
        self.memory().requests.take(GITHUB, now).map_err(Refusal::TooMany)?;
        Ok((agreed, caller))
    }

    /// Notes that somebody was not known. Who is known is never locked out, whatever others at their address do.
    pub(super) fn refuse(&self, request: &HttpRequest, why: &str, now: Timestamp) -> Refusal {
        let path = on_one_line(&request.path, NAME_MAX);
        tracing::warn!(why, source_ip = request.source_ip, method = request.method, path, "request refused");
        match self.memory().failures.take(&request.source_ip, now) {
            Ok(()) => Refusal::Unknown,
            Err(seconds) => Refusal::TooMany(seconds),
        }
    }

    /// Who it is; else what is wrong with the proof, in words that are for the log alone.
    fn identify(&self, request: &HttpRequest, now: Timestamp) -> Result<Admitted, &'static str> {
        if let Some(arn) = &request.iam {
            let caller = Caller { name: on_one_line(arn, NAME_MAX), may_act: true };
            return Ok(Admitted { caller, signature: None });
        }
        if let Some(signature) = request.headers.get(SIGNATURE_HEADER) {
            return self.by_signature(request, signature, now);
        }
        let token = match request.headers.get("authorization") {
            Some(authorization) => Some(token_of(authorization).ok_or("not a bearer token")?),
            None if TOKEN_IN_BODY.iter().any(|prefix| request.path.starts_with(prefix)) => {
                token_in_body(&request.body)
            }
            None => None,
        };
        let token = token.ok_or("no token and no signature")?;
        self.by_token(&token).ok_or("unknown token")
    }

    /// All hashes are compared, each in the same time.
    fn by_token(&self, token: &str) -> Option<Admitted> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for known in &self.callers {
            if let Secret::TokenHash(expected) = &known.secret
                && bool::from(expected.ct_eq(&hash))
            {
                found = Some(known);
            }
        }
        found.map(|known| Admitted { caller: caller(known), signature: None })
    }

    fn by_signature(
        &self,
        request: &HttpRequest,
        signature: &str,
        now: Timestamp,
    ) -> Result<Admitted, &'static str> {
        let timestamp = request.headers.get(TIMESTAMP_HEADER).ok_or("signed without a timestamp")?;
        let seconds = timestamp.parse().ok().filter(|_| timestamp.bytes().all(|b| b.is_ascii_digit()));
        let signed_at = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let signed_at = signed_at.ok_or("signed with a timestamp that is none")?;
        let hex = signature.strip_prefix("sha256=").unwrap_or(signature);
        let signature = from_hex(hex).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let signature = signature.ok_or("a signature that is none")?;
        let mut found = None;
        for known in &self.callers {
            if let Secret::SigningKey(key) = &known.secret
                && is_signed(request, timestamp, key, &signature)
            {
                found = Some(known);
            }
        }
        let known = found.ok_or("signed with no key that is known")?;
        if now.duration_since(signed_at).abs() > SIGNATURE_LIFE {
            return Err("signed at another time");
        }
        Ok(Admitted { caller: caller(known), signature: Some(signature) })
    }
}

impl Memory {
    /// Keeps a signature for as long as it is good.
    fn remember(&mut self, signature: [u8; 32], now: Timestamp) -> Result<(), &'static str> {
        if self.signatures.len() >= REMEMBERED_MAX {
            self.signatures.retain(|_, at| now.duration_since(*at) <= REMEMBERED);
        }
        let came = self.signatures.get(&signature);
        if came.is_some_and(|at| now.duration_since(*at) <= REMEMBERED) {
            return Err("signed and sent before");
        }
        if self.signatures.len() >= REMEMBERED_MAX {
            return Err("more signatures than can be remembered");
        }
        self.signatures.insert(signature, now);
        Ok(())
    }
}

fn caller(known: &KnownCaller) -> Caller {
    Caller { name: known.name.clone(), may_act: known.may_act }
}

/// Compares in a time that says nothing about where the signatures differ.
fn is_signed(request: &HttpRequest, timestamp: &str, key: &[u8], signature: &[u8; 32]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
    for part in [timestamp, &request.method, &request.target] {
        mac.update(part.as_bytes());
        mac.update(b"\n");
    }
    mac.update(&request.body);
    mac.verify_slice(signature).is_ok()
}

/// `Bearer TOKEN`, or `Basic` with the token as password: a URL can carry that, where a caller can set no header.
fn token_of(authorization: &str) -> Option<String> {
    let (scheme, rest) = authorization.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

fn token_in_body(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body["metadata"]["token"].as_str().map(str::to_owned)
}

/// Signs as a caller does.
#[cfg(test)]
pub(super) fn sign(request: &mut HttpRequest, key: &[u8], at: Timestamp) {
    let timestamp = at.as_second().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    let head = format!("{timestamp}\n{}\n{}\n", request.method, request.target);
    mac.update(head.as_bytes());
    mac.update(&request.body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    request.headers.insert(TIMESTAMP_HEADER.to_owned(), timestamp);
    request.headers.insert(SIGNATURE_HEADER.to_owned(), format!("sha256={hex}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn doors() -> Doors {
        let known = |name: &str, may_act, secret| KnownCaller { name: name.to_owned(), may_act, secret };
        let hash = |token: &str| Secret::TokenHash(Sha256::digest(token.as_bytes()).into());
        Doors::new(vec![
            known("flagger", false, hash("t-flagger")),
            known("ci", true, hash("t-ci")),
            known("deploy", true, Secret::SigningKey(KEY.to_vec())),
        ])
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_772_359_200).unwrap()
    }

    fn later(seconds: i64) -> Timestamp {
        now() + SignedDuration::from_secs(seconds)
    }

    fn request(method: &str, target: &str, body: &str) -> HttpRequest {
        let path = target.split('?').next().unwrap_or_default();
        HttpRequest {
            method: method.to_owned(),
            path: path.to_owned(),
            target: target.to_owned(),
            body: body.as_bytes().to_vec(),
            source_ip: "192.0.2.1".to_owned(),
            ..HttpRequest::default()
        }
    }

    fn with(mut request: HttpRequest, name: &str, value: &str) -> HttpRequest {
        request.headers.insert(name.to_owned(), value.to_owned());
        request
    }

    fn get() -> HttpRequest {
        request("GET", "/v1/rollouts", "")
    }

    fn signed(body: &str) -> HttpRequest {
        let mut request = request("POST", "/v1/freeze", body);
        sign(&mut request, &KEY, now());
        request
    }

    fn name(admitted: Result<Admitted, Refusal>) -> Result<String, Refusal> {
        let name =
            |Caller { name, may_act }: Caller| format!("{name} {}", if may_act { "acts" } else { "asks" });
        admitted.map(|admitted| name(admitted.caller))
    }

    #[test]
    fn callers_are_known_by_tokens_signatures_and_iam() {
        let doors = doors();
        let admit = |request: &HttpRequest| name(doors.admit(request, now()));
        assert_eq!(admit(&with(get(), "authorization", "Bearer t-flagger")).unwrap(), "flagger asks");
        assert_eq!(admit(&with(get(), "authorization", "bearer  t-ci ")).unwrap(), "ci acts");
        // "anybody:t-ci"
        assert_eq!(admit(&with(get(), "authorization", "Basic YW55Ym9keTp0LWNp")).unwrap(), "ci acts");
        assert_eq!(admit(&signed("{}")).unwrap(), "deploy acts");
        let arn = "arn:aws:sts::123456789012:assumed-role/ops/ana".to_owned();
        let iam = HttpRequest { iam: Some(arn.clone()), ..get() };
        assert_eq!(admit(&iam).unwrap(), format!("{arn} acts"));
    }

    #[test]
    fn a_token_in_the_body_counts_for_callers_that_can_set_no_header() {
        let doors = doors();
        let body = r#"{"name":"a","namespace":"b","metadata":{"token":"t-flagger"}}"#;
        for path in ["/flagger/v1/rollback", "/gate/check", "/rollback/open"] {
            assert!(doors.admit(&request("POST", path, body), now()).is_ok(), "{path}");
        }
        for (path, body) in [
            ("/v1/freeze", body),
            ("/flagger/v1/rollback", "{"),
            ("/flagger/v1/rollback", r#"{"metadata":{"token":["t-flagger"]}}"#),
            ("/flagger/v1/rollback", r#"{"token":"t-flagger"}"#),
        ] {
            assert_eq!(
                doors.admit(&request("POST", path, body), now()),
                Err(Refusal::Unknown),
                "{path} {body}"
            );
        }
    }

    #[test]
    fn what_proves_nothing_is_refused() {
        let doors = doors();
        let hash: String = Sha256::digest(b"t-ci").iter().map(|byte| format!("{byte:02x}")).collect();
        for authorization in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer t-c",
            "Bearer t-ci2",
            "t-ci",
            "Basic t-ci",
            "Basic dC1jaQ==",
            "Digest t-ci",
            &format!("Bearer {hash}"),
            "AWS4-HMAC-SHA256 Credential=x",
        ] {
            let refused = doors.admit(&with(get(), "authorization", authorization), now());
            assert_eq!(refused, Err(Refusal::Unknown), "{authorization}");
        }
        assert_eq!(doors.admit(&get(), later(600)), Err(Refusal::Unknown));
    }

    #[test]
    fn nobody_is_known_to_doors_without_callers() {
        let doors = Doors::default();
        assert_eq!(doors.admit(&with(get(), "authorization", "Bearer t-ci"), now()), Err(Refusal::Unknown));
        assert_eq!(doors.admit(&signed("{}"), now()), Err(Refusal::Unknown));
    }

    #[test]
    fn a_signature_is_for_one_request() {
        let doors = doors();
        let refused = |request: &HttpRequest| {
            assert_eq!(doors.admit(request, now()), Err(Refusal::Unknown), "{request:?}");
        };
        let good = signed("{\"reason\":\"x\"}");
        refused(&HttpRequest { method: "PUT".to_owned(), ..good.clone() });
        refused(&HttpRequest { target: "/v1/thaw".to_owned(), ..good.clone() });
        refused(&HttpRequest { target: "/v1/freeze?x=1".to_owned(), ..good.clone() });
        refused(&HttpRequest { body: b"{\"reason\":\"y\"}".to_vec(), ..good.clone() });
        refused(&with(good.clone(), TIMESTAMP_HEADER, &later(1).as_second().to_string()));
        for signature in ["", "sha256=", "sha256=00", &"0".repeat(64), "sha1=00", &"é".repeat(32)] {
            refused(&with(good.clone(), SIGNATURE_HEADER, signature));
        }
        for timestamp in ["", "now", "+1772359200", "1772359200.5", "99999999999999999999", "-1"] {
            refused(&with(good.clone(), TIMESTAMP_HEADER, timestamp));
        }
        let mut without = good.clone();
        without.headers.remove(TIMESTAMP_HEADER);
        assert_eq!(doors.admit(&without, later(3_600)), Err(Refusal::Unknown));
        // A token beside a bad signature does not help.
        let both = with(with(good.clone(), SIGNATURE_HEADER, "00"), "authorization", "Bearer t-ci");
        assert_eq!(doors.admit(&both, later(7_200)), Err(Refusal::Unknown));
        assert!(doors.admit(&good, now()).is_ok());
    }

    #[test]
    fn a_signature_is_good_for_five_minutes_before_and_after_its_time() {
        for (seconds, fine) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
            assert_eq!(doors().admit(&signed("{}"), later(seconds)).is_ok(), fine, "{seconds}");
        }
    }

    #[test]
    fn a_signed_request_that_changes_something_is_taken_once() {
        let doors = doors();
        assert!(doors.admit(&signed("{}"), later(-300)).is_ok());
        for seconds in [-300, 0, 299, 300] {
            assert_eq!(doors.admit(&signed("{}"), later(seconds)), Err(Refusal::Unknown), "{seconds}");
        }
        let mut upper = signed("{}");
        let signature = upper.headers[SIGNATURE_HEADER].to_uppercase().replace("SHA256=", "");
        upper.headers.insert(SIGNATURE_HEADER.to_owned(), signature);
        assert_eq!(doors.admit(&upper, now()), Err(Refusal::Unknown));
        assert!(doors.admit(&signed("{\"a\":1}"), now()).is_ok(), "another one is another one");
        let mut asks = get();
        sign(&mut asks, &KEY, now());
        assert!((0..3).all(|_| doors.admit(&asks, now()).is_ok()), "asking twice is no harm");
    }

    #[test]
    fn no_more_signatures_are_accepted_than_can_be_remembered() {
        let mut memory = Memory::default();
        for number in 0..REMEMBERED_MAX {
            let mut signature = [0; 32];
            signature[..8].copy_from_slice(&number.to_be_bytes());
            memory.remember(signature, now()).unwrap();
        }
        assert!(memory.remember([9; 32], now()).is_err());
        assert!(memory.remember([9; 32], later(601)).is_ok());
        assert_eq!(memory.signatures.len(), 1);
    }

    #[test]
    fn a_caller_who_asks_too_often_is_told_when_to_come_back() {
        let doors = doors();
        let ci = with(get(), "authorization", "Bearer t-ci");
        assert!((0..CALLER_BURST).all(|_| doors.admit(&ci, now()).is_ok()));
        assert_eq!(doors.admit(&ci, now()), Err(Refusal::TooMany(1)));
        assert!(doors.admit(&with(get(), "authorization", "Bearer t-flagger"), now()).is_ok());
        assert!(doors.admit(&ci, later(1)).is_ok());
    }

    #[test]
    fn an_address_that_is_refused_often_is_told_to_wait_and_locks_nobody_out() {
        let doors = doors();
        for _ in 0..FAILURES_BURST {
            assert_eq!(doors.admit(&get(), now()), Err(Refusal::Unknown));
        }
        assert_eq!(doors.admit(&get(), now()), Err(Refusal::TooMany(6)));
        assert_eq!(doors.admit_github(&get(), now()).map(|_| ()), Err(Refusal::TooMany(6)));
        let elsewhere = HttpRequest { source_ip: "192.0.2.2".to_owned(), ..get() };
        assert_eq!(doors.admit(&elsewhere, now()), Err(Refusal::Unknown));
        assert!(doors.admit(&with(get(), "authorization", "Bearer t-ci"), now()).is_ok());
        assert_eq!(doors.admit(&get(), later(6)), Err(Refusal::Unknown));
    }

    #[test]
    fn doors_print_no_secret() {
        let printed = format!("{:?}", doors());
        assert!(printed.contains("deploy") && !printed.contains("7, 7"), "{printed}");
    }
}
