//! What on-call reads at three in the morning: what happened, with numbers, and what to do.

use std::fmt::Write as _;

use crate::analysis::verdict::{CheckEvidence, Judgement};
use crate::ports::Message;
use crate::rollout::record::{Page, PageKind, Record};

/// SNS refuses subjects of 100 characters and more.
const SUBJECT_MAX: usize = 99;

/// Puts a page into words.
#[must_use]
pub fn render(record: &Record, page: &Page) -> Message {
    Message {
        subject: subject(record, page),
        body: body(record, page),
        attributes: vec![
            ("severity", page.severity.name().to_owned()),
            ("event", page.kind.name().to_owned()),
            ("rollout", record.id().to_owned()),
        ],
    }
}

fn headline(page: &Page) -> &'static str {
    match page.kind {
        PageKind::Drained => "canary drained",
        PageKind::DrainFailed => "DRAIN FAILED, canary still has traffic",
        PageKind::Frozen => "frozen, weights changed by somebody else",
        PageKind::Blind => "canary cannot be observed",
        PageKind::Undecided => "still undecided",
        PageKind::ObservedHarmful => "canary is harmful (observe mode, NOT drained)",
        PageKind::ObservedHealthy => "canary is healthy (observe mode)",
        PageKind::NoHealthyTarget => "waiting, canary has no healthy target",
        PageKind::Promoted => "promoted",
    }
}

/// Printable ASCII on one line, as SNS demands: a subject that it refuses would lose the page.
fn subject(record: &Record, page: &Page) -> String {
    let text = format!("[{}] {}: {}", page.severity.name(), record.id(), headline(page));
    let plain = text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
    plain.take(SUBJECT_MAX).collect()
}

fn body(record: &Record, page: &Page) -> String {
    let mut text = String::new();
    let line = |text: &mut String, name: &str, value: &str| {
        let _ = writeln!(text, "{name:<11}{value}");
    };
    let _ = writeln!(text, "{}: {}\n", record.id(), headline(page));
    line(&mut text, "What", &page.why);
    line(&mut text, "When", &page.at.to_string());
    let when = if page.kind == PageKind::Promoted { "now" } else { "before this" };
    line(&mut text, "Share", &format!("{} of the traffic {when}", page.share));
    if let Some(judgement) = &page.judgement {
        evidence(&mut text, record, judgement);
    }
    line(&mut text, "Done", done(page.kind));
    line(&mut text, "To do", &to_do(record, page.kind));
    line(&mut text, "Rule", &record.plan.targets.listener_rule);
    line(&mut text, "Stable", &record.plan.targets.stable);
    line(&mut text, "Canary", &record.plan.targets.canary);
    line(&mut text, "Started", &format!("by {}: {}", record.started.actor, record.started.reason));
    line(&mut text, "Key", &page.key);
    text
}

fn evidence(text: &mut String, record: &Record, judgement: &Judgement) {
    for check in &judgement.checks {
        let _ = writeln!(text, "{:<11}{}", "Check", compared(check));
    }
    let need = record.plan.rules.ln_convict();
    let _ = writeln!(
        text,
        "{:<11}{} for harm; {} convicts (false rollbacks at most {})",
        "Evidence",
        odds(judgement.log_e_harm),
        odds(need),
        record.plan.rules.false_rollback
    );
    let blast = judgement.blast;
    let _ = writeln!(
        text,
        "{:<11}{} min, {} canary requests, about {:.0} more bad ones than stable would have given",
        "Exposure",
        blast.minutes,
        blast.requests,
        blast.excess_bad.max(0.0)
    );
}

/// Both arms of a check on this step, side by side.
fn compared(check: &CheckEvidence) -> String {
    let arm =
        |t: crate::analysis::window::Tally| format!("{:.2} % ({} of {})", t.rate() * 100.0, t.bad, t.total);
    format!("{}: canary {}, stable {}", check.name, arm(check.canary), arm(check.stable))
}

/// Log evidence as a person reads it: so many to one.
fn odds(ln_e: f64) -> String {
    match ln_e.exp() {
        e if e >= 1e6 => format!("10^{:.0} to 1", ln_e / std::f64::consts::LN_10),
        e if e >= 10.0 => format!("{e:.0} to 1"),
        e => format!("{e:.1} to 1"),
    }
}

fn done(kind: PageKind) -> &'static str {
    match kind {
        PageKind::Drained => {
            "the rollout has ended; the canary gets no new traffic and stays so until a new rollout starts"
        }
        PageKind::DrainFailed => "nothing yet: every tick tries again",
        PageKind::Frozen => {
            "canary-gate no longer raises the share; a canary that is proven harmful is still drained"
        }
        PageKind::Blind => "the share is not raised",
        PageKind::Undecided => "the share is not raised; the canary is still watched",
        PageKind::ObservedHarmful | PageKind::ObservedHealthy => "nothing: the plan's mode is observe",
        PageKind::NoHealthyTarget => "no traffic was sent to it; every tick looks again",
        PageKind::Promoted => "the rollout has ended",
    }
}

fn to_do(record: &Record, kind: PageKind) -> String {
    let id = record.id();
    match kind {
        PageKind::Drained => format!("look at the canary's logs from before the drain; then fix and start a new rollout (history of {id} has every minute)"),
        PageKind::DrainFailed => "take the canary out of the rule by hand now; check stable's targets and the function's right to modify the rule".to_owned(),
        PageKind::Frozen => format!("find who changed the rule; then resume {id} with weights adopt or restore, or abort it"),
        PageKind::Blind => format!("check that both target groups publish metrics and that the function may read them; abort {id} if in doubt"),
        PageKind::Undecided => format!("promote, abort or wait: too few requests, or a difference close to the tolerance (status of {id} has the numbers)"),
        PageKind::ObservedHarmful => format!("take the canary out of the traffic yourself; then abort {id} to end the watch"),
        PageKind::ObservedHealthy => format!("raise the share yourself if you want; abort {id} to end the watch"),
        PageKind::NoHealthyTarget => "check the canary's tasks and their health checks".to_owned(),
        PageKind::Promoted => "nothing".to_owned(),
    }
}
