//! What people and pipelines ask for by name. Every change is audited: who, why and when are in the
//! record's reason and in the decision log.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::HandlerError;
use super::observe::{clear, healthy_targets};
use super::perform::{NotStored, Performed, perform};
use crate::analysis::window::Arm;
use crate::config::CheckedPlan;
use crate::event::{Command, Verb};
use crate::ports::{Failure, FailureKind, Platform};
use crate::rollout::command::{Order, Sight, arm_to_check, obey};
use crate::rollout::gate::Guard;
use crate::rollout::plan::{Plan, Sticky};
use crate::rollout::record::{Audit, LogEntry, Record};
use crate::units::Share;

/// How often a drain looks again when other invocations were faster.
const DRAIN_TRIES: usize = 5;

/// Carries out a command.
pub(super) async fn command<P: Platform>(
    platform: &P,
    command: &Command,
    now: Timestamp,
) -> Result<Value, HandlerError> {
    let audit = |by: &crate::event::By| Audit { actor: by.actor.clone(), reason: by.reason.clone(), at: now };
    match &command.verb {
        Verb::Start { plan, by } => start(platform, plan, audit(by), now).await,
        Verb::Status { rollout } => {
            let mut answer = status(&find(platform, rollout).await?);
            answer["frozen_by"] = json!(platform.freeze().await?);
            Ok(answer)
        }
        Verb::List => {
            let records = platform.list().await?;
            let rollouts = records.iter().map(status).collect::<Vec<_>>();
            Ok(json!({ "rollouts": rollouts, "frozen_by": platform.freeze().await? }))
        }
        Verb::History { rollout, limit } => {
            find(platform, rollout).await?;
            let entries = platform.history(rollout, *limit).await?;
            Ok(json!({ "rollout": rollout, "entries": entries }))
        }
        Verb::Guard { of, plan, by } => {
            let guard = Guard { of: of.clone(), plan: plan.clone(), by: audit(by) };
            platform.set_guard(of, Some(&guard)).await?;
            tracing::warn!(of, actor = by.actor, reason = by.reason, "deployments guarded");
            Ok(json!({ "guard": guard }))
        }
        Verb::Unguard { of, by } => {
            let before = platform.guard(of).await?;
            platform.set_guard(of, None).await?;
            tracing::warn!(of, actor = by.actor, reason = by.reason, "guard taken away");
            Ok(json!({ "of": of, "was": before }))
        }
        Verb::Guards => Ok(json!({ "guards": platform.guards().await? })),
        Verb::Freeze { by } => freeze(platform, audit(by)).await,
        Verb::Thaw { by } => thaw(platform, audit(by)).await,
        Verb::Order { rollout, order, by } => give_order(platform, rollout, *order, audit(by), now).await,
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
        "verifying_drain": record.drain.is_some(),
        "failed_shifts": record.failed_shifts,
        "mode": record.plan.mode,
        "targets": record.plan.targets,
        "version": record.version,
    })
}

/// Lets no share rise any more, in no rollout. Who froze first stays on record.
async fn freeze<P: Platform>(platform: &P, by: Audit) -> Result<Value, HandlerError> {
    let before = platform.freeze().await?;
    if before.is_none() {
        platform.set_freeze(Some(&by)).await?;
        tracing::warn!(actor = by.actor, reason = by.reason, "all rollouts frozen");
    }
    let next = "no share rises until `thaw` (but for a shift that is just being written); harmful canaries are \
                still drained";
    Ok(json!({ "frozen_by": before.as_ref().unwrap_or(&by), "was_frozen": before.is_some(), "next": next }))
}

/// Lets shares rise again.
async fn thaw<P: Platform>(platform: &P, by: Audit) -> Result<Value, HandlerError> {
    let before = platform.freeze().await?;
    platform.set_freeze(None).await?;
    tracing::warn!(actor = by.actor, reason = by.reason, "all rollouts thawed");
    Ok(json!({ "frozen_by": null, "was_frozen": before.is_some(), "next": "the next tick goes on" }))
}

/// Accepts a plan. The first shift is the next tick's: every weight is written by the same path.
async fn start<P: Platform>(
    platform: &P,
    checked: &CheckedPlan,
    by: Audit,
    now: Timestamp,
) -> Result<Value, HandlerError> {
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
    let record = match platform.create(&Record::new(plan.clone(), by.clone(), sticky)).await {
        Ok(record) => record,
        Err(failure) if failure.kind == FailureKind::Conflict => {
            return Err(name_is_taken(platform, plan).await);
        }
        Err(failure) => return Err(HandlerError::Failed(failure)),
    };
    let troubles = audit_log(platform, &record, "start", by).await;
    let mut warnings = checked.warnings.clone();
    if matches!(healthy_targets(platform, &record, Arm::Canary).await, Ok(0)) {
        warnings.push(
            "the canary has no healthy target now, and the first shift waits for one; a group that no rule \
             names is not checked: name it in the rule with weight 0"
                .to_owned(),
        );
    }
    match platform.freeze().await {
        Ok(None) => {}
        Ok(Some(by)) => warnings.push(format!("{}; the first shift waits for `thaw`", by.froze_all())),
        Err(failure) => warnings.push(format!("whether all rollouts are frozen was not read: {failure}")),
    }
    if let Some(window) = plan.deny_windows.denies(now) {
        warnings.push(format!("the first shift waits: the plan denies it now, in {window}"));
    }
    let mut answer = status(&record);
    answer["warnings"] = json!(warnings);
    answer["troubles"] = json!(troubles);
    answer["next"] = json!("the next tick, within a minute, makes the first shift");
    Ok(answer)
}

/// Why a rollout can't have its name.
async fn name_is_taken<P: Platform>(platform: &P, plan: &Plan) -> HandlerError {
    let pages = match platform.get(&plan.rollout).await {
        Ok(Some(record)) if record.phase.is_terminal() => record.outbox.len(),
        _ => 0,
    };
    HandlerError::Refused(match pages {
        0 => format!("a rollout named {:?} is still running", plan.rollout),
        pages => format!(
            "the last rollout named {:?} has ended, but {pages} of its pages could not be sent yet: look why SNS \
             refuses them, or choose another name",
            plan.rollout
        ),
    })
}

/// Two rollouts on one rule would fight over its weights.
async fn unclaimed<P: Platform>(platform: &P, plan: &Plan) -> Result<(), HandlerError> {
    let running = platform.running().await?.records;
    match holder(&running, plan) {
        Some(other) => Err(HandlerError::Refused(format!(
            "{} is already running on this listener rule: let it end, or abort it",
            other.id()
        ))),
        None => Ok(()),
    }
}

/// Carries out an order. A drain does not give up because another invocation was faster: it looks again.
pub(super) async fn give_order<P: Platform>(
    platform: &P,
    rollout: &str,
    order: Order,
    by: Audit,
    now: Timestamp,
) -> Result<Value, HandlerError> {
    let tries = if order.drains() { DRAIN_TRIES } else { 1 };
    for _ in 0..tries {
        let record = find(platform, rollout).await?;
        let (why, outcome) = try_order(platform, &record, order, &by, now).await?;
        match outcome {
            Ok(done) => {
                let mut troubles = done.troubles;
                troubles.extend(audit_log(platform, &done.record, order.name(), by).await);
                let mut answer = status(&done.record);
                answer["done"] = json!(why);
                answer["troubles"] = json!(troubles);
                return Ok(answer);
            }
            Err(NotStored::Overtaken) => {}
            Err(NotStored::Store(failure)) => return Err(HandlerError::Failed(failure)),
        }
    }
    Err(HandlerError::Overtaken(format!(
        "other invocations changed {rollout} at the same time: look at its status and ask again"
    )))
}

/// One look at a rollout, and what the order does about it.
async fn try_order<P: Platform>(
    platform: &P,
    record: &Record,
    order: Order,
    by: &Audit,
    now: Timestamp,
) -> Result<(String, Result<Performed, NotStored>), HandlerError> {
    let split = platform.read_splits(std::slice::from_ref(&record.plan.targets)).await.pop();
    let (seen, unread) = match split {
        Some(Ok(seen)) => (Some(seen), None),
        Some(Err(failure)) => (None, Some(failure)),
        None => (None, None),
    };
    let words = unread.as_ref().map_or_else(|| "no rule was read".to_owned(), ToString::to_string);
    let rolls_back = order.drains() && record.can_be_rolled_back(now);
    // With a roll-back nothing is under way that a tick would finish: whoever asks must ask again.
    let others = match unread {
        Some(failure) if rolls_back => return Err(HandlerError::Failed(failure)),
        None if rolls_back => platform.list().await?,
        _ => Vec::new(),
    };
    let mut cleared = clear(platform, record, arm_to_check(record, order), unread.as_ref()).await;
    let may_pass = |failure: &mut Failure| rolls_back && failure.kind != FailureKind::NotFound;
    if let Some(failure) = cleared.failure.take_if(may_pass) {
        return Err(HandlerError::Failed(failure));
    }
    let sight = Sight {
        share: seen.as_ref().map(|(split, _)| split.share()).ok_or(words.as_str()),
        later: later(&others, record).map(Record::id),
        clearance: cleared.clearance(),
    };
    let decision = obey(record, order, &sight, by, now).map_err(|r| HandlerError::Refused(r.0))?;
    let why = decision.why.clone();
    let snapshot = seen.as_ref().map(|(_, snapshot)| snapshot);
    Ok((why, perform(platform, record, snapshot, decision, now).await))
}

/// A rollout that was started on the listener rule of `record` after it: the weights are that one's business.
pub(super) fn later<'a>(others: &'a [Record], record: &Record) -> Option<&'a Record> {
    let rule = &record.plan.targets.listener_rule;
    let after = |other: &&Record| {
        other.plan.targets.listener_rule == *rule
            && other.id() != record.id()
            && other.started.at > record.started.at
    };
    others.iter().find(after)
}

/// Another rollout on the listener rule of a plan that has not ended.
fn holder<'a>(running: &'a [Record], plan: &Plan) -> Option<&'a Record> {
    let rule = &plan.targets.listener_rule;
    let on_rule = |other: &&Record| other.plan.targets.listener_rule == *rule && other.id() != plan.rollout;
    running.iter().filter(|other| !other.phase.is_terminal()).find(on_rule)
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
