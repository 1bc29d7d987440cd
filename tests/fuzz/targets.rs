//! What is fuzzed, and what must hold of every input: nothing panics; what is accepted can be written down, read
//! again and worked with; a refusal says something, and not too much.
//!
//! Used by `tests/suite/fuzz.rs`, which makes its inputs itself, and by the crate in this folder, in which
//! libFuzzer makes them.

use canary_gate::analysis::check::CheckRule;
use canary_gate::analysis::window::{ArmCounts, Distribution, MetricCounts, Row, Tally, Window};
use canary_gate::analysis::{BurnIn, Conditions, judge, one_look};
use canary_gate::config::{Scope, Settings, parse_plan, parse_plan_value};
use canary_gate::event::{Alarm, BODY_MAX, HttpRequest, Invocation, TARGET_MAX, Verb};
use canary_gate::recording;
use canary_gate::rollout::plan::Plan;
use canary_gate::units::{Minute, Quantile, Rate, Share, Span, Times};
use serde_json::{Value, json};

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was understood.
    Accepted,
    /// It was refused, with reasons.
    Refused,
    /// It is none, such as an event that is no JSON: Lambda itself refuses those.
    Foreign,
}

/// A target by its name.
pub type Target = fn(&[u8]) -> Outcome;

/// All targets.
pub const TARGETS: [(&str, Target); 6] = [
    ("plan", plan),
    ("recording", recording),
    ("event", event),
    ("http", http),
    ("settings", settings),
    ("units", units),
];

/// A plan as text, and where the text is JSON, as a value.
pub fn plan(data: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(data) else { return Outcome::Foreign };
    let value = serde_json::from_str::<Value>(text).ok();
    let mut outcome = Outcome::Refused;
    for scope in [Scope::Rollout, Scope::Offline] {
        let read = parse_plan(text, scope);
        let of_value = value.as_ref().map(|value| parse_plan_value(value, scope));
        // YAML refuses duplicate keys, of which JSON takes the last.
        if let (Ok(read), Some(Ok(of_value))) = (&read, &of_value) {
            assert_eq!(read, of_value, "a plan means the same as text and as a value");
        }
        for read in [Some(read), of_value].into_iter().flatten() {
            match read {
                Ok(checked) => {
                    works(&checked.plan);
                    outcome = Outcome::Accepted;
                }
                Err(errors) => refused(&errors.to_string(), errors.0.len()),
            }
        }
    }
    outcome
}

/// A file of recorded minutes.
pub fn recording(data: &[u8]) -> Outcome {
    let read = recording::read(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let parsed = recording::parse(text);
        assert_eq!(
            read.as_ref().ok(),
            parsed.as_ref().ok(),
            "a recording is the same by line and as a whole"
        );
        if let (Err(read), Err(parsed)) = (&read, &parsed) {
            assert_eq!(read.to_string(), parsed.to_string());
        }
    }
    let recording = match read {
        Ok(recording) => recording,
        Err(recording::ReadError::Wrong(errors)) => {
            refused(&errors.to_string(), errors.count);
            return Outcome::Refused;
        }
        Err(recording::ReadError::Source(error)) => panic!("bytes in memory can be read: {error}"),
    };
    let again = recording::parse(&recording::write(&recording));
    assert_eq!(again.as_ref(), Ok(&recording), "what is written is read back");
    let offline =
        "checks: {errors: {}, latency: {}, thumbs_down: {ratio: {}}, prediction: {classes: {values: [a]}}}";
    let plan = parse_plan(offline, Scope::Offline).expect("a plan of every kind").plan;
    judged(&recording.window, &plan);
    Outcome::Accepted
}

/// An event as the function gets it.
pub fn event(data: &[u8]) -> Outcome {
    let Ok(event) = serde_json::from_slice::<Value>(data) else { return Outcome::Foreign };
    let read = Invocation::from_json(&event);
    match read {
        Ok(Invocation::Tick(_)) => {}
        Ok(Invocation::Alarm(alarm)) => fit_for_a_record(&alarm),
        Ok(Invocation::CodeDeployHook(hook)) => {
            assert!(hook.deployment.len() + hook.execution.len() < 20_000)
        }
        Ok(Invocation::EcsPaused(paused)) => assert!(paused.deployment.len() < 10_000),
        Ok(Invocation::EcsHook(hook)) => assert!(hook.deployment.len() + hook.stage.len() < 20_000),
        Ok(Invocation::Http(request)) => fit_for_a_router(&request),
        Ok(Invocation::Command(command)) => {
            assert!(!command.verb.name().is_empty());
            if let Verb::Start { plan, .. } = command.verb {
                works(&plan.plan);
            }
        }
        Err(error) => {
            assert!(["UnreadableEvent", "InvalidCommand", "InvalidPlan"].contains(&error.error_type()));
            refused(&error.to_string(), error.problems().len());
            return Outcome::Refused;
        }
    }
    Outcome::Accepted
}

/// A request to the function's URL with this body, and this path and query.
pub fn http(data: &[u8]) -> Outcome {
    let body = String::from_utf8_lossy(data);
    let request = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": body.lines().next().unwrap_or("/"),
        "rawQueryString": body.lines().last().unwrap_or_default(),
        "headers": { "content-type": "application/json", "x-input": body },
        "requestContext": { "http": { "method": "POST", "path": "/", "sourceIp": "192.0.2.1" } },
        "body": body,
        "isBase64Encoded": data.len().is_multiple_of(2),
    });
    let outcome = request_of(&request);
    // A body that is an event of its own must not become one by what stands around it.
    if let Ok(Value::Object(mut map)) = serde_json::from_str::<Value>(&body) {
        map.remove("kind");
        map.insert("requestContext".to_owned(), request["requestContext"].clone());
        request_of(&Value::Object(map));
    }
    outcome
}

/// An event that is an HTTP request by its envelope is one, or is refused with a status.
fn request_of(event: &Value) -> Outcome {
    assert!(Invocation::is_http(event));
    match Invocation::from_json(event) {
        Ok(Invocation::Http(request)) => {
            fit_for_a_router(&request);
            Outcome::Accepted
        }
        Ok(other) => panic!("a request was taken for {other:?}"),
        Err(error) => {
            assert_eq!(error.error_type(), "UnreadableEvent");
            assert!(error.http_status().is_some_and(|status| (400..500).contains(&status)));
            refused(&error.to_string(), error.problems().len());
            Outcome::Refused
        }
    }
}

/// What a router, a log and an audit may rely on.
fn fit_for_a_router(request: &HttpRequest) {
    assert!(request.path.starts_with('/') && !request.path.chars().any(char::is_control));
    assert!(request.method.bytes().all(|b| b.is_ascii_uppercase()) && !request.method.is_empty());
    assert!(request.body.len() <= BODY_MAX && request.target.len() <= TARGET_MAX + 1);
    assert!(request.headers.keys().all(|name| !name.bytes().any(|b| b.is_ascii_uppercase())));
}

/// The environment, a variable a line.
pub fn settings(data: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(data);
    let vars = || text.lines().filter_map(|line| line.split_once('='));
    let owned = vars().map(|(key, value)| (key.to_owned(), value.to_owned()));
    match Settings::from_vars(owned) {
        Ok(settings) => {
            assert!((3..=255).contains(&settings.table.len()) && settings.topic_arn.starts_with("arn:"));
            assert!((60..=300).contains(&settings.watermark.seconds()));
            assert!((1..=3650).contains(&(settings.keep_log.minutes() / 1440)));
            // The last value of a variable counts.
            let last = |key: &str| vars().rfind(|(name, _)| *name == key).map(|(_, text)| text.to_owned());
            assert_eq!(Settings::from_env(last).as_ref(), Ok(&settings));
            Outcome::Accepted
        }
        Err(errors) => {
            refused(&errors.to_string(), errors.0.len());

            Outcome::Refused
        }
    }
}

/// Quantities as people write them.
pub fn units(data: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(data) else { return Outcome::Foreign };
    let mut outcome = Outcome::Refused;
    let mut seen = |accepted: bool| {
        if accepted {
            outcome = Outcome::Accepted;
        }
    };
    seen(same_again::<Span>(text));
    seen(same_again::<Rate>(text));
    seen(same_again::<Times>(text));
    seen(same_again::<Quantile>(text));
    seen(same_again::<Minute>(text));
    // A share prints what weights can express, and no more.
    if let Ok(share) = text.parse::<Share>() {
        assert!(share.to_string().parse::<Share>().is_ok_and(|again| again.same_as(share)));
        seen(true);
    }
    outcome
}

fn same_again<T>(text: &str) -> bool
where
    T: std::str::FromStr + std::fmt::Display + std::fmt::Debug + PartialEq,
    T::Err: std::fmt::Display,
{
    match text.parse::<T>() {
        Ok(quantity) => {
            let said = quantity.to_string();
            let again = said.parse::<T>().unwrap_or_else(|error| panic!("{said}: {error}"));
            assert_eq!(again, quantity, "{said}");
            true
        }
        Err(error) => {
            assert!(error.to_string().starts_with("is "));
            false
        }
    }
}

/// A refusal has a problem, says it, and can be logged: it is bounded, and forges no lines.
fn refused(text: &str, problems: usize) {
    assert!(problems > 0 && !text.trim().is_empty());
    assert!(text.len() < 60_000, "a refusal of {} bytes", text.len());
    assert!(text.lines().count() <= 52, "{text}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}

fn fit_for_a_record(alarm: &Alarm) {
    let plain = |text: &str, most| {
        let length = text.chars().count();
        (1..=most).contains(&length) && !text.contains(|c: char| c.is_control())
    };
    assert!(plain(&alarm.name, 255) && plain(&alarm.reason, 200));
    assert!(alarm.arn.as_ref().is_none_or(|arn| plain(arn, 1_024)));
    assert!(alarm.rollouts.len() <= 20 && alarm.rollouts.iter().all(|name| plain(name, 63)));
}

/// A checked plan can be kept in a record, and be judged by.
fn works(plan: &Plan) {
    let written = serde_json::to_string(plan).expect("a plan can be written");
    let read = serde_json::from_str::<Plan>(&written);
    assert_eq!(read.as_ref().ok(), Some(plan), "a plan is read back as it was written: {written}");
    assert!(plan.steps.windows(2).all(|pair| pair[0] < pair[1]) && !plan.steps.is_empty());
    // The DST days of 2026 in many zones, and the ends of time.
    for at in
        ["2026-03-29T01:30:00Z", "2026-10-25T00:30:00Z", "-009999-01-02T01:59:59Z", "9999-12-30T22:00:00Z"]
    {
        let at = at.parse().expect("a time");
        let denied = plan.deny_windows.denies(at).is_some();
        assert!(plan.deny_windows.until(at).is_none_or(|until| denied && until >= at), "{written} at {at}");
    }
    // What is judged for each check is the same however many there are.
    if plan.rules.checks.len() <= 20 {
        judged(&window(plan), plan);
    }
}

fn judged(window: &Window, plan: &Plan) {
    let conditions = Conditions { burn_in: BurnIn::AsPlanned, ..Conditions::default() };
    let judgement = judge(window, &plan.rules, &conditions);
    assert!(!judgement.reason.to_string().is_empty());
    serde_json::to_string(&judgement).expect("a judgement can be written");
    let look = one_look(window, &plan.rules, Rate::percent_const(5.0));
    serde_json::to_string(&look).expect("a look can be written");
}

/// A few minutes of everything that the plan's checks read.
fn window(plan: &Plan) -> Window {
    let start: Minute = "2026-03-01T10:00:00Z".parse().expect("a minute");
    let share = plan.steps[0];
    let row = |at: i64| Row {
        minute: start.plus(at),
        share: if at == 0 { Share::ZERO } else { share },
        stable: Some(counts(plan, 900)),
        canary: (at > 0).then(|| counts(plan, 100)),
    };
    (0..6).map(row).collect()
}

fn counts(plan: &Plan, requests: u64) -> ArmCounts {
    let spread = || Distribution {
        count: requests,
        le: (-30..=30).step_by(10).zip(1..).map(|(edge, n)| (edge, requests * n / 8)).collect(),
    };
    let metric = |rule: &CheckRule| match rule {
        CheckRule::Errors(_) | CheckRule::Latency(_) => None,
        CheckRule::Ratio(_) => Some(MetricCounts::Ratio(Tally { bad: requests / 50, total: requests })),
        CheckRule::Values(_) => Some(MetricCounts::Values(spread())),
        CheckRule::Classes(rule) => {
            let classes = rule.values.iter().map(|class| (class.clone(), requests / 10)).collect();
            Some(MetricCounts::Classes { classes })
        }
    };
    let metrics =
        plan.rules.checks.iter().filter_map(|check| Some((check.name.clone(), metric(&check.rule)?)));
    ArmCounts {
        requests,
        http_2xx: Some(requests - requests / 50),
        http_5xx: Some(requests / 50),
        latency: Some(spread()),
        metrics: metrics.collect(),
        ..ArmCounts::default()
    }
}
