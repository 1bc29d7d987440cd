//! What people and pipelines ask for by name. Every change is audited: who, why and when are in the
//! record's reason and in the decision log.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::HandlerError;
use super::observe::healthy_targets;
use super::perform::{NotStored, perform};
use crate::analysis::window::Arm;
use crate::config::CheckedPlan;
use crate::event::{Command, Verb};
use crate::ports::{Failure, FailureKind, Platform};
use crate::rollout::command::{Order, Sight, arm_to_check, obey};
use crate::rollout::plan::{Plan, Sticky};
use crate::rollout::record::{Audit, LogEntry, Record};
use crate::units::Share;

/// Carries out a command.
pub(super) async fn command<P: Platform>(
    platform: &P,
    command: &Command,
    now: Timestamp,
) -> Result<Value, HandlerError> {
    let audit = |by: &crate::event::By| Audit { actor: by.actor.clone(), reason: by.reason.clone(), at: now };
    match &command.verb {
        Verb::Start { plan, by } => start(platform, plan, audit(by)).await,
        Verb::Status { rollout } => Ok(status(&find(platform, rollout).await?)),
        Verb::List => {
            let records = platform.list().await?;
            Ok(json!({ "rollouts": records.iter().map(status).collect::<Vec<_>>() }))
        }
        Verb::History { rollout, limit } => {
            find(platform, rollout).await?;
            let entries = platform.history(rollout, *limit).await?;
            Ok(json!({ "rollout": rollout, "entries": entries }))
        }
        Verb::Order { rollout, order, by } => {
            let record = find(platform, rollout).await?;
            give_order(platform, &record, *order, audit(by), now).await
        }
    }
}

async fn find<P: Platform>(platform: &P, rollout: &str) -> Result<Record, HandlerError> {
    let found = platform.get(rollout).await?;
    found.ok_or_else(|| HandlerError::NotFound(format!("no rollout is named {rollout:?}")))
}

/// What a person wants to know of a rollout at a glance.
fn status(record: &Record) -> Value {
    json!({
        "rollout": record.id(),
        "phase": record.phase,
        "share": record.share(),
        "step": record.step.map(|step| step + 1),
        "steps": record.plan.steps,
        "since": record.since,
        "why": record.why,
        "verdict": record.last.as_ref().map(|last| last.verdict),
        "reason": record.last.as_ref().map(|last| last.reason.to_string()),
        "judgement": record.last,
        "minutes_to_verdict": record.last.as_ref().and_then(|last| last.minutes_to_verdict),
        "started": record.started,
        "last_tick": record.last_tick,
        "pages_pending": record.outbox.len(),
        "failed_shifts": record.failed_shifts,
        "mode": record.plan.mode,
        "targets": record.plan.targets,
        "version": record.version,
    })
}

/// Accepts a plan. The first shift is the next tick's: every weight is written by the same path.
async fn start<P: Platform>(platform: &P, checked: &CheckedPlan, by: Audit) -> Result<Value, HandlerError> {
    let plan = &checked.plan;
    unclaimed(platform, plan).await?;
    let mut splits = platform.read_splits(std::slice::from_ref(&plan.targets)).await;
    let (split, _) = splits.pop().ok_or_else(|| HandlerError::Refused("no rule was read".to_owned()))??;
    if split.stable == 0 {
        return Err(HandlerError::Refused(format!(
            "stable has no weight in {}: start with all traffic on stable",
            plan.targets.listener_rule
        )));
    }
    if split.share() > Share::ZERO && plan.mode == crate::rollout::plan::Mode::Drive {
        return Err(HandlerError::Refused(format!(
            "the canary already gets {} of the traffic: set its weight to 0 first, so that the baseline is \
             stable's alone",
            split.share()
        )));
    }
    let sticky = match plan.sticky {
        Sticky::Auto => split.sticky,
        Sticky::Yes => true,
        Sticky::No => false,
    };
    let record = platform.create(&Record::new(plan.clone(), by.clone(), sticky)).await.map_err(
        |failure| match failure.kind {
            FailureKind::Conflict => {
                HandlerError::Refused(format!("a rollout named {:?} is still running", plan.rollout))
            }
            _ => HandlerError::Failed(failure),
        },
    )?;
    let troubles = audit_log(platform, &record, "start", by).await;
    let mut warnings = checked.warnings.clone();
    if matches!(healthy_targets(platform, &record, Arm::Canary).await, Ok(0)) {
        warnings.push(
            "the canary has no healthy target now, and the first shift waits for one; a group that no rule \
             names is not checked: name it in the rule with weight 0"
                .to_owned(),
        );
    }
    let mut answer = status(&record);
    answer["warnings"] = json!(warnings);
    answer["troubles"] = json!(troubles);
    answer["next"] = json!("the next tick, within a minute, makes the first shift");
    Ok(answer)
}

/// Two rollouts on one rule would fight over its weights.
async fn unclaimed<P: Platform>(platform: &P, plan: &Plan) -> Result<(), HandlerError> {
    let running = platform.running().await?;
    let rule = &plan.targets.listener_rule;
    match running.iter().find(|other| other.plan.targets.listener_rule == *rule && !other.phase.is_terminal())
    {
        Some(other) if other.id() != plan.rollout => Err(HandlerError::Refused(format!(
            "{} is already running on this listener rule: let it end, or abort it",
            other.id()
        ))),
        _ => Ok(()),
    }
}

async fn give_order<P: Platform>(
    platform: &P,
    record: &Record,
    order: Order,
    by: Audit,
    now: Timestamp,
) -> Result<Value, HandlerError> {
    let split = platform.read_splits(std::slice::from_ref(&record.plan.targets)).await.pop();
    let unread = match &split {
        Some(Ok(_)) => String::new(),
        Some(Err(failure)) => failure.to_string(),
        None => "no rule was read".to_owned(),
    };
    let seen = split.and_then(Result::ok);
    let health: Option<Result<u32, String>> = match arm_to_check(record, order) {
        Some(arm) => Some(healthy_targets(platform, record, arm).await.map_err(|f: Failure| f.to_string())),
        None => None,
    };
    let sight = Sight {
        share: seen.as_ref().map(|(split, _)| split.share()).ok_or(unread.as_str()),
        healthy_targets: health.as_ref().map(|h| h.as_ref().map(|n| *n).map_err(String::as_str)),
    };
    let decision = obey(record, order, &sight, &by, now).map_err(|r| HandlerError::Refused(r.0))?;
    let why = decision.why.clone();
    let snapshot = seen.as_ref().map(|(_, snapshot)| snapshot);
    let done = perform(platform, record, snapshot, decision).await.map_err(|failed| match failed {
        NotStored::Overtaken => HandlerError::Refused(
            "another invocation changed the rollout at the same time: look at its status and ask again"
                .to_owned(),
        ),
        NotStored::Store(failure) => HandlerError::Failed(failure),
    })?;
    let mut troubles = done.troubles;
    troubles.extend(audit_log(platform, &done.record, order.name(), by).await);
    let mut answer = status(&done.record);
    answer["done"] = json!(why);
    answer["troubles"] = json!(troubles);
    Ok(answer)
}

/// Writes a command to the decision log; a lost entry is a trouble to report, and changes nothing else.
async fn audit_log<P: Platform>(platform: &P, record: &Record, word: &str, by: Audit) -> Vec<String> {
    let entry = LogEntry {
        rollout: record.id().to_owned(),
        at: by.at,
        decision: word.to_owned(),
        why: record.why.clone(),
        phase: record.phase,
        share: record.share(),
        by: Some(by),
        judgement: None,
        conditions: None,
        rows: Vec::new(),
    };
    match platform.log(&entry).await {
        Ok(()) => Vec::new(),
        Err(failure) => vec![format!("command not logged: {failure}")],
    }
}
