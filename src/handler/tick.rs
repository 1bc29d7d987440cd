//! One tick: observe, judge, decide and perform for every running rollout.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::observe::{Sight, clear, observe};
use super::perform::{NotStored, perform};
use super::{STALE_TICK, hooks};
use crate::analysis::Conditions;
use crate::analysis::recent::Recent;
use crate::analysis::verdict::Judgement;
use crate::analysis::window::Window;
use crate::ports::{Deployment, Failure, FailureKind, Platform, Running};
use crate::rollout::decide::{Clearance, Input, arm_to_check, decide, give_way, owner_ended};
use crate::rollout::effect::{Action, Decision};
use crate::rollout::plan::Mode;
use crate::rollout::record::{LogEntry, Phase, Record};
use crate::rollout::standing::{Answer, Standing};
use crate::rollout::verify::{self, Aftermath};
use crate::units::{Minute, Share, Span};

/// Newest minutes that an entry of the decision log holds when nothing changed. More than one, so that
/// minutes which CloudWatch corrected are there in both forms.
const LOGGED_MINUTES: usize = 3;

/// The decision's word where another tick has decided.
const SKIPPED: &str = "skipped";

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
    /// What is published for alarms of others, if the plan says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
}

/// A rollout's verdict for an alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// The plan's `verdict_metric`.
    pub gate: String,
    /// Harm was found.
    pub harmful: bool,
    /// The canary's share, in percent.
    pub share: f64,
    /// Evidence of harm, in powers of ten to one; `None` before there is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence_of_harm: Option<f64>,
    /// Evidence of health on the step, of the check that has least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence_of_health: Option<f64>,
    /// Minutes in a row without usable data.
    pub blind_minutes: u32,
}

impl Signal {
    fn of(record: &Record, now: Timestamp) -> Option<Self> {
        let gate = record.plan.verdict_metric.clone()?;
        // A rollout that just ended was not found harmful.
        let harmful = record.phase != Phase::Stopped && Standing::of(record, now).answer == Answer::Fail;
        let last = record.last.as_ref();
        let on_step = last.filter(|last| last.step.is_some());
        let decades = |ln_e: f64| ln_e.is_finite().then_some(ln_e / std::f64::consts::LN_10);
        let least = |last: &Judgement| {
            let health = last.checks.iter().map(|check| check.log_e_health);
            health.fold(f64::INFINITY, f64::min)
        };
        Some(Self {
            gate,
            harmful,
            share: record.share().percent(),
            evidence_of_harm: on_step.and_then(|last| decades(last.log_e_harm)),
            evidence_of_health: on_step.and_then(|last| decades(least(last))),
            blind_minutes: last.map_or(0, |last| last.blind_minutes),
        })
    }
}

/// What a tick did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TickReport {
    /// The tick's minute.
    pub minute: Minute,
    /// One report for each running rollout.
    pub rollouts: Vec<RolloutReport>,
    /// What the store says of records that can't be read: nobody watches these rollouts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
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
    let Running { records: running, unreadable } = platform.running().await?;
    let (due, done): (Vec<_>, Vec<_>) = running.iter().partition(|record| is_due(record, minute));
    let mut rollouts: Vec<_> = done.iter().map(|record| skipped(record, minute)).collect();
    if !due.is_empty() {
        let sights = observe(platform, &due, now, watermark).await;
        let all = due.iter().zip(sights).map(|(record, sight)| {
            let (holder, sharer) = (holder(record, &running), sharer(record, &running));
            async move {
                match holder {
                    _ if record.phase.is_terminal() => {
                        after(platform, record, sight, [holder, sharer], minute, now).await
                    }
                    Some(holder) if is_untouched(record) => {
                        yielded(platform, record, sight, holder, minute, now).await
                    }
                    _ => owned(platform, record, sight, minute, now).await,
                }
            }
        });
        rollouts.extend(futures_util::future::join_all(all).await);
    }
    Ok(TickReport { minute, rollouts, unreadable })
}

/// This minute was not decided yet. A record that was last ticked in a minute that is far ahead was ticked by a
/// clock that was wrong: ticks that late are dropped before they come here.
fn is_due(record: &Record, minute: Minute) -> bool {
    let ahead = STALE_TICK.as_mins();
    record.last_tick.is_none_or(|last| last < minute || last > minute.plus(ahead))
}

/// The rollout that has a record's listener rule, if that is another one. Of several that were started at once
/// it is the one that has shifted already, or else the first. Whoever watches a deployment of another system is in the
/// way of one that writes, and of nobody else who only watches: deployments follow on each other, the one that goes
/// back on the one that failed.
fn holder<'a>(record: &Record, running: &'a [Record]) -> Option<&'a str> {
    let order = |record: &Record| (is_untouched(record), record.started.at, record.id().to_owned());
    let rule = &record.plan.targets.listener_rule;
    let both_watch = |other: &Record| record.owner.is_some() && other.plan.mode == Mode::Observe;
    let on_rule = running.iter().filter(|other| {
        other.plan.targets.listener_rule == *rule && (other.id() == record.id() || !both_watch(other))
    });
    let holder = on_rule.filter(|other| !other.phase.is_terminal()).min_by_key(|other| order(other))?;
    (holder.id() != record.id()).then(|| holder.id())
}

/// A rollout that sends traffic to the canary's group of `record` by another rule.
fn sharer<'a>(record: &Record, running: &'a [Record]) -> Option<&'a str> {
    let group = &record.plan.targets.canary;
    let sends = |other: &&Record| {
        let targets = &other.plan.targets;
        let to_canary = targets.canary == *group && other.share() > Share::ZERO;
        other.id() != record.id() && !other.phase.is_terminal() && (to_canary || targets.stable == *group)
    };
    running.iter().find(sends).map(Record::id)
}

/// No weight was written for it.
fn is_untouched(record: &Record) -> bool {
    record.phase == Phase::Waiting && record.intent.is_none()
}

/// Looks first at the deployment that writes the weights, if it is another system's.
async fn owned<P: Platform>(
    platform: &P,
    record: &Record,
    sight: Sight<P::Snapshot>,
    tick: Minute,
    now: Timestamp,
) -> RolloutReport {
    let Some(owner) = &record.owner else { return one(platform, record, sight, None, tick, now).await };
    let (deployment, record) = match platform.deployment(owner).await {
        Ok(deployment) => {
            let record = record.clone().seeing_owner(true, deployment.is_going_back, now);
            (deployment, record)
        }
        Err(failure) if failure.kind == FailureKind::NotFound => {
            let record = record.clone().seeing_owner(false, false, now);
            let ended = record.has_lost_owner(now).then(|| "not found any more".to_owned());
            (Deployment { ended, ..Deployment::default() }, record)
        }
        Err(failure) => {
            let mut report = one(platform, record, sight, None, tick, now).await;
            report.troubles.push(format!("{} not read: {failure}", owner.name()));
            return report;
        }
    };
    if let Some(how) = &deployment.ended {
        let decision = owner_ended(&record, &format!("{}: {how}", owner.name()), tick, now);
        return carry_out(platform, &record, &sight, decision, None, now).await;
    }
    let read = sight.split.as_ref().ok().map(|(split, _)| split.share());
    let share = deployment.share.or(read);
    let record = hooks::with_pauses(platform, record, &deployment, share, now).await;
    one(platform, &record, sight, deployment.share, tick, now).await
}

/// Decides and performs for one rollout. `told` is the share as the deployment's system has it.
async fn one<P: Platform>(
    platform: &P,
    record: &Record,
    sight: Sight<P::Snapshot>,
    told: Option<Share>,
    tick: Minute,
    now: Timestamp,
) -> RolloutReport {
    let (conditions, judgement) = sight.judged(record);
    let unread = sight.split.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let read = sight.split.as_ref().map(|(split, _)| split.share()).map_err(|_| unread.as_str());
    let share = told.map_or(read, Ok);
    let mut input = Input { tick, share, judgement: &judgement, clearance: Clearance::default() };
    let cleared =
        clear(platform, record, arm_to_check(record, &input, now), sight.split.as_ref().err()).await;
    input.clearance = cleared.clearance();
    let decision = decide(record, &input, now);
    tell_new_notes(record, &judgement);
    let judged = Some((conditions, judgement));
    carry_out(platform, record, &sight, decision, judged, now).await
}

/// Looks after a rollout that was drained.
async fn after<P: Platform>(
    platform: &P,
    record: &Record,
    sight: Sight<P::Snapshot>,
    [holder, sharer]: [Option<&str>; 2],
    tick: Minute,
    now: Timestamp,
) -> RolloutReport {
    let unread = sight.split.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let share = sight.split.as_ref().map(|(split, _)| split.share()).map_err(|_| unread.as_str());
    let requests = sight.canary_requests();
    let requests = requests.as_ref().map(Vec::as_slice).map_err(|unread| *unread);
    let mut aftermath = Aftermath { tick, share, requests, holder, sharer, clearance: Clearance::default() };
    let cleared =
        clear(platform, record, verify::arm_to_check(record, &aftermath, now), sight.split.as_ref().err())
            .await;
    aftermath.clearance = cleared.clearance();
    let decision = verify::verify(record, &aftermath, now);
    carry_out(platform, record, &sight, decision, None, now).await
}

/// Ends a rollout whose listener rule another one has.
async fn yielded<P: Platform>(
    platform: &P,
    record: &Record,
    sight: Sight<P::Snapshot>,
    holder: &str,
    tick: Minute,
    now: Timestamp,
) -> RolloutReport {
    carry_out(platform, record, &sight, give_way(record, holder, tick, now), None, now).await
}

/// Performs a decision, and reports and logs what came of it.
async fn carry_out<P: Platform>(
    platform: &P,
    record: &Record,
    sight: &Sight<P::Snapshot>,
    decision: Decision,
    judged: Option<(Conditions, Judgement)>,
    now: Timestamp,
) -> RolloutReport {
    let found = judged.as_ref().map(|(_, judgement)| judgement).or(record.last.as_ref());
    let recent = || Recent::of(&sight.window, &record.plan.rules, found);
    let decision = decision.charted(recent, now);
    let (action, why) = (decision.action, decision.why.clone());
    let snapshot = sight.split.as_ref().ok().map(|(_, snapshot)| snapshot);
    let outcome = perform(platform, record, snapshot, decision, now).await;
    let (conditions, judgement) = judged.unzip();
    let report = report(record, outcome, action, why, judgement, now);
    log(platform, record, report, &sight.window, conditions, now).await
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
        decision: SKIPPED.to_owned(),
        why: format!("{minute} was decided already"),
        phase: record.phase,
        share: record.share(),
        judgement: None,
        troubles: Vec::new(),
        signal: None,
    }
}

fn report(
    before: &Record,
    outcome: Result<super::perform::Performed, NotStored>,
    action: Action,
    why: String,
    judgement: Option<Judgement>,
    now: Timestamp,
) -> RolloutReport {
    let (decision, record, troubles) = match outcome {
        Ok(done) => (action.name(), done.record, done.troubles),
        Err(NotStored::Overtaken) => (SKIPPED, before.clone(), vec![NotStored::Overtaken.to_string()]),
        Err(NotStored::Store(failure)) => ("failed", before.clone(), vec![failure.to_string()]),
    };
    RolloutReport {
        rollout: record.id().to_owned(),
        decision: decision.to_owned(),
        why,
        phase: record.phase,
        share: record.share(),
        signal: Signal::of(&record, now),
        judgement,
        troubles,
    }
}

/// Writes the decision and what it rests on to the decision log. That a log entry is lost is a trouble to
/// report; it changes nothing else.
async fn log<P: Platform>(
    platform: &P,
    before: &Record,
    mut report: RolloutReport,
    window: &Window,
    conditions: Option<Conditions>,
    now: Timestamp,
) -> RolloutReport {
    if report.decision == SKIPPED {
        return report;
    }
    let quiet = [Action::Hold, Action::Verify].map(Action::name).contains(&report.decision.as_str());
    let changed = !quiet || before.phase != report.phase;
    let newest = if changed { window.len() } else { LOGGED_MINUTES };
    let skip = window.len().saturating_sub(newest);
    let entry = LogEntry {
        rollout: report.rollout.clone(),
        at: now,
        decision: report.decision.clone(),
        why: report.why.clone(),
        phase: report.phase,
        share: report.share,
        by: None,
        judgement: report.judgement.clone(),
        conditions,
        rows: window.rows().skip(skip).cloned().collect(),
    };
    if let Err(failure) = platform.log(&entry).await {
        report.troubles.push(format!("decision not logged: {failure}"));
    }
    report
}
