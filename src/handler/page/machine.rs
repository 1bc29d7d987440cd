//! For machines: one JSON document, described by `infra/page.schema.json`.

use serde_json::{Map, Value, json};

use super::{Facts, NAME_MAX, WORDS_MAX, clipped, words};
use crate::analysis::check::ABORT_ALPHA;
use crate::analysis::verdict::{CheckEvidence, Judgement, PartEvidence};
use crate::analysis::window::Tally;

/// Grows when a key changes its meaning or goes away; new keys may come at any time.
const VERSION: u32 = 1;
/// Parts of a check at most: those with the most evidence of harm.
const PARTS_MAX: usize = 3;

pub(super) fn document(facts: &Facts<'_>) -> Value {
    let (record, page) = (facts.record, facts.page);
    let targets = &record.plan.targets;
    let links: Map<String, Value> =
        facts.links.iter().map(|link| (link.name.to_lowercase(), json!(link.url))).collect();
    json!({
        "version": VERSION,
        "key": page.key,
        "rollout": record.id(),
        "event": page.kind.name(),
        "severity": page.severity.name(),
        "reminder": page.reminder,
        "at": page.at,
        "title": words::headline(page),
        "why": facts.why(),
        "cause": facts.cause(),
        "done": facts.done(),
        "to_do": facts.to_do(),
        "commands": words::commands(record, page.kind),
        "runbook": facts.runbook(),
        "mode": facts.mode(),
        "phase": record.phase.name(),
        "share_percent": page.share.percent(),
        "owner": record.owner.as_ref().map(crate::rollout::gate::Owner::name),
        "judgement": page.judgement.as_ref().map(|judgement| judged(facts, judgement)),
        "recent": page.recent,
        "targets": {
            "listener_rule": targets.listener_rule, "stable": targets.stable, "canary": targets.canary,
        },
        "links": links,
        "started": {
            "actor": clipped(&record.started.actor, NAME_MAX),
            "reason": clipped(&record.started.reason, WORDS_MAX),
            "at": record.started.at,
        },
    })
}

/// JSON has no infinity.
fn number(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn judged(facts: &Facts<'_>, judgement: &Judgement) -> Value {
    let (checks, more) = facts.checks();
    json!({
        "minute": judgement.minute,
        "verdict": judgement.verdict.name(),
        "reason": judgement.reason.code(),
        "log_e_harm": number(judgement.log_e_harm),
        "log_e_convicts": number(facts.record.plan.rules.ln_convict()),
        "log_e_abort_drains": number(-ABORT_ALPHA.fraction().ln()),
        "checks": checks.into_iter().map(check).collect::<Vec<Value>>(),
        "checks_left_out": more,
        "exposure": {
            "minutes": judgement.blast.minutes,
            "requests": judgement.blast.requests,
            "excess_errors": number(judgement.blast.excess_bad),
        },
        "step": judgement.step.as_ref().map(|step| json!({
            "share_percent": step.share.percent(),
            "since": step.since,
            "minutes": step.minutes,
            "judged": step.judged,
            "stable_requests": step.stable_requests,
            "canary_requests": step.canary_requests,
        })),
        "blind_minutes": judgement.blind_minutes,
        "minutes_to_verdict": judgement.minutes_to_verdict,
    })
}

fn check(check: &CheckEvidence) -> Value {
    let mut parts: Vec<&PartEvidence> = check.parts.iter().collect();
    parts.sort_by(|a, b| b.log_e_harm.total_cmp(&a.log_e_harm));
    let parts = parts.into_iter().take(PARTS_MAX).map(|part| {
        json!({
            "name": clipped(&part.name, NAME_MAX),
            "log_e_harm": number(part.log_e_harm),
            "log_e_health": part.log_e_health.and_then(number),
            "stable": tally(part.stable),
            "canary": tally(part.canary),
        })
    });
    json!({
        "name": clipped(&check.name, NAME_MAX),
        "log_e_harm": number(check.log_e_harm),
        "log_e_health": number(check.log_e_health),
        "log_e_abort": check.log_e_abort.and_then(number),
        "stable": tally(check.stable),
        "canary": tally(check.canary),
        "requests_needed": check.requests_needed.and_then(number),
        "parts": parts.collect::<Vec<Value>>(),
    })
}

fn tally(tally: Tally) -> Value {
    json!({ "bad": tally.bad, "total": tally.total, "percent": number(tally.rate() * 100.0) })
}
