//! Every kind of page with numbers as they come, in all its forms.

use serde_json::Value;

use super::*;
use crate::analysis::check::{Check, Rules};
use crate::analysis::recent::Recent;
use crate::analysis::verdict::Judgement;
use crate::analysis::window::{ArmCounts, Distribution, Row, Window};
use crate::analysis::{Conditions, judge};
use crate::config::schema_tests::takes;
use crate::rollout::fixture::{self, at, share};
use crate::rollout::gate::Owner;
use crate::rollout::plan::{Plan, Targets};
use crate::rollout::record::{Cause, Phase, Shift};
use crate::units::Minute;

/// The kind after a kind; a new one must be put in its place here, or nothing compiles.
fn after(kind: PageKind) -> Option<PageKind> {
    use PageKind as K;
    Some(match kind {
        K::Drained => K::DrainFailed,
        K::DrainFailed => K::DrainBlocked,
        K::DrainBlocked => K::ShiftFailed,
        K::ShiftFailed => K::Frozen,
        K::Frozen => K::Blind,
        K::Blind => K::Undecided,
        K::Undecided => K::ObservedHarmful,
        K::ObservedHarmful => K::ObservedHealthy,
        K::ObservedHealthy => K::SplitOff,
        K::SplitOff => K::Suspected,
        K::Suspected => K::BurntIn,
        K::BurntIn => K::NoHealthyTarget,
        K::NoHealthyTarget => K::StillServed,
        K::StillServed => K::NotVerified,
        K::NotVerified => K::GroupTakenOut,
        K::GroupTakenOut => K::RaisedAgain,
        K::RaisedAgain => K::NotStarted,
        K::NotStarted => K::GateTimedOut,
        K::GateTimedOut => K::GateNotTold,
        K::GateNotTold => K::NotStopped,
        K::NotStopped => K::DeploymentStopped,
        K::DeploymentStopped => K::Promoted,
        K::Promoted => return None,
    })
}

fn kinds() -> impl Iterator<Item = PageKind> {
    std::iter::successors(Some(PageKind::Drained), |kind| after(*kind))
}

fn counts(requests: u64, errors: u64, slow: u64) -> ArmCounts {
    ArmCounts {
        requests,
        http_2xx: Some(requests - errors),
        http_5xx: Some(errors),
        latency: Some(Distribution { count: requests, le: [(-8, requests - slow)].into() }),
        ..ArmCounts::default()
    }
}

/// An hour of stable, then a canary at 5 % that fails two requests in a hundred from minute 12 on.
fn window(harmful: bool) -> Window {
    let row = |at: i64| {
        let share = share(if at < 0 { 0.0 } else { 5.0 });
        let bad = if harmful && at >= 12 { 12 } else { 1 + u64::from(at % 3 == 0) };
        let canary = (at >= 0).then(|| counts(500, bad, 4));
        let stable = counts(9_500 + u64::try_from(at.rem_euclid(7)).unwrap() * 40, 28, 80);
        Row { minute: Minute::of(fixture::at(at)), share, stable: Some(stable), canary }
    };
    (-60..18).map(row).collect()
}

fn judged(plan: &Plan, harmful: bool) -> (Judgement, Recent) {
    let window = window(harmful);
    let judgement = judge(&window, &plan.rules, &Conditions::default());
    let recent = Recent::of(&window, &plan.rules, Some(&judgement)).unwrap();
    (judgement, recent)
}

fn home() -> Home {
    Home {
        topic_arn: Some("arn:aws:sns:eu-west-1:123456789012:on-call".to_owned()),
        log_group: Some("/aws/lambda/canary-gate".to_owned()),
        runbook: None,
    }
}

fn record(change: impl FnOnce(&mut Plan)) -> Record {
    let mut plan = fixture::plan();
    plan.rollout = "checkout-v42".into();
    change(&mut plan);
    let mut record = Record::new(plan, fixture::audit(), false);
    record.phase = Phase::Running;
    record.shifts.push(Shift { at: at(0), share: share(5.0) });
    record
}

fn page(record: &Record, kind: PageKind, why: &str, harmful: bool) -> Page {
    let (judgement, recent) = judged(&record.plan, harmful);
    Page {
        key: format!("{}/{}/7/{}", record.id(), at(0), kind.name()),
        kind,
        severity: kind.severity(),
        at: at(20),
        why: why.to_owned(),
        share: share(5.0),
        judgement: Some(judgement),
        reminder: 0,
        recent: Some(recent),
    }
}

/// Each kind in a story that it comes from, and the odd ones: drained for want of data, on order, undecided; mode
/// observe; deployments of other systems; without numbers.
fn stories() -> Vec<(Record, Page)> {
    let mut stories = Vec::new();
    for kind in kinds() {
        let harmful = !matches!(kind, PageKind::Promoted | PageKind::ObservedHealthy | PageKind::BurntIn);
        let observed = matches!(kind, PageKind::ObservedHarmful | PageKind::ObservedHealthy);
        let mode = if observed { Mode::Observe } else { Mode::Drive };
        let mut record = record(|plan| plan.mode = mode);
        record.cause = (kind == PageKind::Drained).then_some(Cause::Harm);
        let page = page(&record, kind, "errors: surely worse than stable by more than tolerated", harmful);
        stories.push((record, page));
    }
    for cause in [Cause::Blind, Cause::Undecided, Cause::Order] {
        let mut record = record(|_| ());
        record.cause = Some(cause);
        let mut page = page(&record, PageKind::Drained, cause.name(), false);
        // Who orders a drain does not wait for metrics.
        page.recent = page.recent.filter(|_| cause != Cause::Order);
        stories.push((record, page));
    }
    let arn = "arn:aws:ecs:eu-west-1:123456789012:service-deployment/prod/checkout/abc";
    let owners = [
        (Owner::CodeDeploy { deployment: "d-A1B2C3D4E".into() }, None),
        (Owner::Ecs { deployment: arn.into() }, None),
        (
            Owner::CodeDeploy { deployment: "d-A1B2C3D4E".into() },
            Some(Targets::of_function("pay", "live", "41", "42")),
        ),
    ];
    for (owner, targets) in owners {
        for kind in [
            PageKind::ObservedHarmful,
            PageKind::ObservedHealthy,
            PageKind::DeploymentStopped,
            PageKind::GateNotTold,
        ] {
            let mut record = record(|plan| {
                plan.mode = Mode::Observe;
                plan.targets = targets.clone().unwrap_or_else(|| plan.targets.clone());
            });
            record.owner = Some(owner.clone());
            let page = page(&record, kind, "errors: surely worse", kind != PageKind::ObservedHealthy);
            stories.push((record, page));
        }
    }
    let bare = record(|_| ());
    let mut nothing = page(&bare, PageKind::NotStarted, "search-v7 has the listener rule", false);
    (nothing.judgement, nothing.recent) = (None, None);
    stories.push((bare, nothing));
    stories
}

fn form(message: &Message, protocol: &str) -> String {
    let found = message.forms.iter().find(|(name, _)| *name == protocol);
    found.unwrap_or_else(|| panic!("no form for {protocol}")).1.clone()
}

fn json_form(message: &Message, protocol: &str) -> Value {
    serde_json::from_str(&form(message, protocol)).unwrap()
}

#[test]
fn every_page_has_all_that_a_person_needs() {
    for (record, page) in stories() {
        let Message { subject, body, .. } = render(&record, &page, &home());
        let kind = page.kind.name();
        assert!(subject.len() <= SUBJECT_MAX && subject.starts_with('['), "{subject}");
        assert!(subject.contains("checkout-v42"), "{subject}");
        let value = |name: &str| {
            let line = body.lines().find_map(|line| line.strip_prefix(&format!("{name:<11}")));
            line.unwrap_or_else(|| panic!("{kind} has no {name}:\n{body}"))
        };
        assert_eq!(value("What"), page.why);
        for name in ["Done", "To do", "Check", "Started"] {
            assert!(!value(name).is_empty(), "{kind}: {name}");
        }
        assert_eq!(value("Runbook"), format!("docs/runbook.md#{kind}"));
        assert_eq!(value("When"), "2026-03-01 10:20:00 UTC");
        assert_eq!(value("Key"), page.key);
        if page.judgement.is_some() {
            for (name, words) in
                [("Check", "canary "), ("Evidence", "for harm"), ("Exposure", "canary requests")]
            {
                assert!(value(name).contains(words), "{kind}: {name} {}", value(name));
            }
            assert!(value("Check").contains("stable "), "{kind}: {}", value("Check"));
        }
        if page.recent.is_some() {
            let drawn = |arm: &str| body.lines().any(|line| line.starts_with(&format!("  {arm:<7}")));
            assert!(drawn("canary") && drawn("stable"), "{kind}: {body}");
        }
        assert!(value("Log").starts_with("https://eu-west-1.console.aws.amazon.com/cloudwatch/"), "{kind}");
        match &record.owner {
            Some(_) => assert!(value("Deployment").starts_with("https://eu-west-1.console"), "{kind}"),
            None => assert!(value("Balancer").starts_with("https://eu-west-1.console"), "{kind}"),
        }
        if record.plan.targets.function().is_some() {
            let named = [value("Alias"), value("Stable"), value("Canary")];
            assert_eq!(named, ["function:pay:live", "function:pay:41", "function:pay:42"]);
        }
        // A drawn line is as wide as a phone, name and all.
        let wide = body.lines().filter(|line| line.starts_with("  ")).map(|line| line.chars().count()).max();
        assert!(wide.is_none_or(|wide| wide <= 40), "{kind}: {wide:?}");
        assert!(body.len() < 8_000, "{kind}: {} bytes", body.len());
    }
}

#[test]
fn every_page_that_somebody_must_act_on_names_a_command() {
    for (record, page) in stories() {
        let commands = words::commands(&record, page.kind);
        let none_wanted = page.kind == PageKind::Promoted && record.plan.rollback_window.seconds() == 0;
        assert_eq!(commands.is_empty(), none_wanted, "{}", page.kind.name());
        assert!(commands.iter().all(|command| command.contains(record.id())), "{commands:?}");
    }
}

#[test]
fn a_drain_says_why_it_was_done() {
    let to_do = |wanted: Cause| {
        let found = stories().into_iter().find(|(record, _)| record.cause == Some(wanted));
        let (record, page) = found.unwrap();
        let message = render(&record, &page, &home());
        let attribute = message.attributes.iter().find(|(name, _)| *name == "cause").unwrap();
        assert_eq!(
            (attribute.1.as_str(), &json_form(&message, "sqs")["cause"]),
            (wanted.name(), &wanted.name().into())
        );
        message.body
    };
    assert!(to_do(Cause::Harm).contains("look at the canary's logs"));
    assert!(to_do(Cause::Blind).contains("nobody could see"));
    assert!(to_do(Cause::Order).contains("whoever ordered it"));
    assert!(to_do(Cause::Undecided).contains("nothing is proven"));
}

#[test]
fn the_document_for_machines_is_as_its_schema_says() {
    let schema: Value = serde_json::from_str(include_str!("../../../infra/page.schema.json")).unwrap();
    let mut events = Vec::new();
    for (record, page) in stories() {
        let message = render(&record, &page, &home());
        let document = json_form(&message, "sqs");
        assert!(takes(&schema, &document), "{document:#}");
        assert_eq!(
            [form(&message, "lambda"), form(&message, "firehose")],
            [document.to_string(), document.to_string()]
        );
        assert_eq!(document["runbook"], format!("docs/runbook.md#{}", page.kind.name()));
        if let Some(judgement) = &page.judgement {
            let told = &document["judgement"];
            assert_eq!(told["log_e_harm"].as_f64(), Some(judgement.log_e_harm));
            assert_eq!(told["checks"].as_array().unwrap().len(), judgement.checks.len());
            let errors = judgement.checks.iter().find(|check| check.name == "errors").unwrap();
            let checks = told["checks"].as_array().unwrap();
            let found = checks.iter().find(|check| check["name"] == "errors").unwrap();
            assert_eq!(found["canary"]["bad"].as_u64(), Some(errors.canary.bad));
        }
        // What the schema does not name, or wants and does not get, it refuses.
        for key in document.as_object().unwrap().keys() {
            let mut less = document.clone();
            less.as_object_mut().unwrap().remove(key);
            assert!(!takes(&schema, &less), "{key} may be missing");
        }
        let mut more = document.clone();
        more["unheard_of"] = 1.into();
        assert!(!takes(&schema, &more));
        events.push(document["event"].as_str().unwrap().to_owned());
    }
    let mut known: Vec<String> = schema["properties"]["event"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e.as_str().unwrap().into())
        .collect();
    known.sort();
    events.sort();
    events.dedup();
    assert_eq!(known, events, "each event has its name in the schema, and no other is there");
}

#[test]
fn chat_gets_a_custom_notification_and_https_its_numbers() {
    for (record, page) in stories() {
        let message = render(&record, &page, &home());
        let sent = json_form(&message, "https");
        assert_eq!(form(&message, "http"), form(&message, "https"));
        assert_eq!((&sent["version"], &sent["source"]), (&"1.0".into(), &"custom".into()));
        assert!(
            sent.as_object()
                .unwrap()
                .keys()
                .all(|key| ["version", "source", "id", "content", "metadata"].contains(&key.as_str()))
        );
        let content = sent["content"].as_object().unwrap();
        assert_eq!(content["textType"], "client-markdown");
        let known = ["textType", "title", "description", "nextSteps", "keywords"];
        assert!(content.keys().all(|key| known.contains(&key.as_str())), "{content:?}");
        let description = content["description"].as_str().unwrap();
        assert!((1..=DESCRIPTION_LIMIT).contains(&description.chars().count()), "{}", description.len());
        assert_eq!(description.matches("```").count() % 2, 0, "{description}");
        assert!(!description.contains('<'), "{description}");
        for list in ["nextSteps", "keywords"] {
            let items = content[list].as_array().unwrap();
            assert!(!items.is_empty() && items.iter().all(Value::is_string), "{items:?}");
        }
        let metadata = sent["metadata"].as_object().unwrap();
        let known = [
            "threadId",
            "summary",
            "eventType",
            "relatedResources",
            "additionalContext",
            "enableCustomActions",
        ];
        assert!(metadata.keys().all(|key| known.contains(&key.as_str())), "{metadata:?}");
        let context = metadata["additionalContext"].as_object().unwrap();
        assert!(context.values().all(Value::is_string), "{context:?}");
        assert_eq!(context.contains_key("check_1_canary_percent"), page.judgement.is_some());
        // What is told twice is told alike.
        assert_eq!(context["key"], json_form(&message, "sqs")["key"]);
    }
}

/// What a section of Slack's shows.
const DESCRIPTION_LIMIT: usize = 3_000;

#[test]
fn a_phone_gets_one_short_message() {
    for (record, page) in stories() {
        let sms = form(&render(&record, &page, &home()), "sms");
        assert!(sms.len() <= 140 && sms.is_ascii() && sms.starts_with('['), "{sms}");
        assert!(sms.contains("checkout-v42"), "{sms}");
    }
    let (record, page) = stories().swap_remove(0);
    let sms = form(&render(&record, &page, &home()), "sms");
    assert!(sms.starts_with("[critical] checkout-v42: canary drained. errors: canary "), "{sms}");
    assert!(sms.ends_with(" %"), "{sms}");
}

/// The largest plan there can be, whose every word is as long and as bad as it gets.
fn worst() -> (Record, Page) {
    let nasty = "\u{0}\"\\<!channel>\u{1F4A5}\n".repeat(4_000);
    let mut record = record(|plan| {
        let one = plan.rules.checks[0].clone();
        let names = (0..100).map(|at| Check { name: format!("{at}{}", "\"".repeat(200)), ..one.clone() });
        plan.rules = Rules { checks: names.collect(), ..plan.rules.clone() };
    });
    (record.started.actor, record.started.reason) = (nasty.clone(), nasty.clone());
    let (mut judgement, recent) = judged(&fixture::plan(), true);
    let mut check = judgement.checks[0].clone();
    check.notes = vec![nasty.clone(); 10];
    check.log_e_harm = f64::NAN;
    check.log_e_health = f64::INFINITY;
    let part = judgement.checks.iter().flat_map(|check| &check.parts).next().unwrap().clone();
    check.parts = vec![crate::analysis::verdict::PartEvidence { name: "\u{7}".repeat(500), ..part }; 100];
    judgement.checks = record
        .plan
        .rules
        .checks
        .iter()
        .map(|c| {
            let mut check = check.clone();
            check.name.clone_from(&c.name);
            check
        })
        .collect();
    judgement.log_e_harm = f64::INFINITY;
    judgement.blast.excess_bad = f64::NEG_INFINITY;
    let mut page = page(&record, PageKind::BurntIn, &nasty, true);
    (page.judgement, page.recent, page.reminder) = (Some(judgement), Some(recent), u32::MAX);
    (record, page)
}

#[test]
fn the_worst_page_still_fits_and_stays_well_formed() {
    let (record, page) = worst();
    let message = render(&record, &page, &home());
    let forms = message.forms.iter().map(|(name, form)| ((*name).to_owned(), Value::from(form.as_str())));
    let mut all: serde_json::Map<String, Value> = forms.collect();
    all.insert("default".to_owned(), message.body.clone().into());
    let size = Value::Object(all).to_string().len();
    assert!((50_000..250_000).contains(&size), "{size} bytes");
    assert!(
        message.subject.is_ascii() && message.subject.len() <= SUBJECT_MAX && !message.subject.contains('\n')
    );
    let document = json_form(&message, "sqs");
    let schema: Value = serde_json::from_str(include_str!("../../../infra/page.schema.json")).unwrap();
    assert!(takes(&schema, &document), "{document:#}");
    assert_eq!(
        (&document["judgement"]["log_e_harm"], &document["judgement"]["checks_left_out"]),
        (&Value::Null, &88.into())
    );
    let description = json_form(&message, "https")["content"]["description"].as_str().unwrap().to_owned();
    assert!(description.chars().count() <= DESCRIPTION_LIMIT && !description.contains("<!channel>"));
}

#[test]
fn a_page_that_was_stored_before_there_were_charts_is_read_and_sent() {
    let (record, page) = stories().swap_remove(0);
    let mut stored = serde_json::to_value(&page).unwrap();
    stored.as_object_mut().unwrap().remove("recent");
    let old: Page = serde_json::from_value(stored).unwrap();
    assert_eq!(old.recent, None);
    let message = render(&record, &old, &home());
    assert!(message.body.contains("To do") && !message.body.contains('█'), "{}", message.body);
    assert_eq!(json_form(&message, "sqs")["recent"], Value::Null);
}

#[test]
fn a_stored_page_reads_back_with_its_chart() {
    let (_, page) = stories().swap_remove(0);
    let stored = serde_json::to_string(&page.recent).unwrap();
    assert!(stored.len() < 3_000, "{} bytes", stored.len());
    let again: Option<Recent> = serde_json::from_str(&stored).unwrap();
    assert_eq!(again, page.recent);
}

/// To look at them: `cargo test --lib -- --ignored --nocapture pages_to_look_at`.
#[test]
#[ignore = "prints all pages for a person to look at"]
#[allow(clippy::print_stdout)]
fn pages_to_look_at() {
    for (record, page) in stories() {
        let message = render(&record, &page, &home());
        println!("\n=== {}\n\n{}\nSMS {}\n", message.subject, message.body, form(&message, "sms"));
    }
    let (record, page) = stories().swap_remove(0);
    let message = render(&record, &page, &home());
    println!("{:#}\n{:#}", json_form(&message, "sqs"), json_form(&message, "https"));
}
