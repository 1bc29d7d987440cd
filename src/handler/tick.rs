//! One tick: observe, judge, decide and perform for every running rollout.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::observe::{Sight, healthy_targets, observe};
use super::perform::{NotStored, perform};
use crate::analysis::verdict::Judgement;
use crate::analysis::window::Row;
use crate::ports::{Failure, Platform};
use crate::rollout::decide::{Input, arm_to_check, decide};
use crate::rollout::effect::Action;
use crate::rollout::record::{LogEntry, Phase, Record};
use crate::units::{Minute, Share, Span};

/// Newest minutes that an entry of the decision log holds when nothing changed. More than one, so that
/// minutes which CloudWatch corrected are there in both forms.
const LOGGED_MINUTES: usize = 3;

/// What a tick did about one rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutReport {
    /// Its name.
    pub rollout: String,
    /// The decision's word; `skipped` if this minute was decided already, `failed` if nothing was stored.
    pub decision: String,
    /// Why, in words.
    pub why: String,
    /// The phase after it.
    pub phase: Phase,
    /// The canary's share after it.
    pub share: Share,
    /// What the judge said.
    pub judgement: Option<Judgement>,
    /// What could not be done now.
    pub troubles: Vec<String>,
}

/// What a tick did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TickReport {
    /// The tick's minute.
    pub minute: Minute,
    /// One report for each running rollout.
    pub rollouts: Vec<RolloutReport>,
}

/// Looks at every running rollout once. A second tick of the same minute finds its work done.
///
/// # Errors
/// If the running rollouts can't be read. What fails for one rollout is in its report and stops no other.
pub async fn tick<P: Platform>(
    platform: &P,
    minute: Minute,
    now: Timestamp,
    watermark: Span,
) -> Result<TickReport, Failure> {
    let running = platform.running().await?;
    let fresh = |record: &Record| record.last_tick.is_none_or(|last| last < minute);
    let (due, done): (Vec<_>, Vec<_>) = running.into_iter().partition(fresh);
    let mut rollouts: Vec<_> = done.iter().map(|record| skipped(record, minute)).collect();
    if !due.is_empty() {
        let sights = observe(platform, &due, now, watermark).await;
        let all = due.iter().zip(sights).map(|(record, sight)| one(platform, record, sight, minute, now));
        rollouts.extend(futures_util::future::join_all(all).await);
    }
    Ok(TickReport { minute, rollouts })
}

/// Decides and performs for one rollout.
async fn one<P: Platform>(
    platform: &P,
    record: &Record,
    sight: Sight<P::Snapshot>,
    tick: Minute,
    now: Timestamp,
) -> RolloutReport {
    let share = sight.split.as_ref().map(|(split, _)| split.share());
    let unread = share.as_ref().err().map(ToString::to_string);
    let mut input = Input {
        tick,
        share: share.map_err(|_| unread.as_deref().unwrap_or_default()),
        judgement: &sight.judgement,
        healthy_targets: None,
    };
    let health = match arm_to_check(record, &input, now) {
        Some(arm) => Some(healthy_targets(platform, record, arm).await.map_err(|f| f.to_string())),
        None => None,
    };
    input.healthy_targets = health.as_ref().map(|h| h.as_ref().map(|n| *n).map_err(String::as_str));
    let decision = decide(record, &input, now);
    let (action, why) = (decision.action, decision.why.clone());
    let snapshot = sight.split.as_ref().ok().map(|(_, snapshot)| snapshot);
    let outcome = perform(platform, record, snapshot, decision).await;
    let report = report(record, outcome, action, why, &sight.judgement);
    tell_new_notes(record, &sight.judgement);
    log(platform, record, &report, &sight, action, now).await
}

/// What one must know to read the evidence is told when it is new: a threshold that was settled, a quantile that
/// this traffic cannot prove.
fn tell_new_notes(before: &Record, judgement: &Judgement) {
    let told = |check: &str, note: &String| {
        let last = before.last.iter().flat_map(|last| &last.checks).find(|last| last.name == check);
        last.is_some_and(|last| last.notes.contains(note))
    };
    for check in &judgement.checks {
        for note in check.notes.iter().filter(|note| !told(&check.name, note)) {
            tracing::warn!(rollout = before.id(), check = check.name, note, "note");
        }
    }
}

fn skipped(record: &Record, minute: Minute) -> RolloutReport {
    RolloutReport {
        rollout: record.id().to_owned(),
        decision: "skipped".to_owned(),
        why: format!("{minute} was decided already"),
        phase: record.phase,
        share: record.share(),
        judgement: None,
        troubles: Vec::new(),
    }
}

fn report(
    before: &Record,
    outcome: Result<super::perform::Performed, NotStored>,
    action: Action,
    why: String,
    judgement: &Judgement,
) -> RolloutReport {
    let (decision, record, troubles) = match outcome {
        Ok(done) => (action.name(), done.record, done.troubles),
        Err(NotStored::Overtaken) => ("skipped", before.clone(), vec![NotStored::Overtaken.to_string()]),
        Err(NotStored::Store(failure)) => ("failed", before.clone(), vec![failure.to_string()]),
    };
    RolloutReport {
        rollout: record.id().to_owned(),
        decision: decision.to_owned(),
        why,
        phase: record.phase,
        share: record.share(),
        judgement: Some(judgement.clone()),
        troubles,
    }
}

/// Writes the decision and what it rests on to the decision log. That a log entry is lost is a trouble to
/// report; it changes nothing else.
async fn log<P: Platform>(
    platform: &P,
    before: &Record,
    report: &RolloutReport,
    sight: &Sight<P::Snapshot>,
    action: Action,
    now: Timestamp,
) -> RolloutReport {
    let mut report = report.clone();
    if report.decision == "skipped" {
        return report;
    }
    let changed = action != Action::Hold || before.phase != report.phase;
    let newest = if changed { sight.window.len() } else { LOGGED_MINUTES };
    let skip = sight.window.len().saturating_sub(newest);
    let rows: Vec<Row> = sight.window.rows().skip(skip).cloned().collect();
    let entry = LogEntry {
        rollout: report.rollout.clone(),
        at: now,
        decision: report.decision.clone(),
        why: report.why.clone(),
        phase: report.phase,
        share: report.share,
        by: None,
        judgement: report.judgement.clone(),
        conditions: Some(sight.conditions.clone()),
        rows,
    };
    if let Err(failure) = platform.log(&entry).await {
        report.troubles.push(format!("decision not logged: {failure}"));
    }
    report
}
