//! One tick: observe, judge, decide and perform for every running rollout.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::neighbours::{Neighbours, is_untouched};
use super::observe::{Sight, Throttled, clear, metric_request, observe};
use super::perform::{NotStored, perform};
use super::queue::{GROUP_ROLLOUTS, Pace, Size, in_order, last_seen};
use super::{STALE_TICK, hooks};
use crate::analysis::Conditions;
use crate::analysis::recent::Recent;
use crate::analysis::verdict::Judgement;
use crate::analysis::window::Window;
use crate::ports::{Deployment, Failure, FailureKind, Platform, Running, Time};
use crate::rollout::decide::{Clearance, Input, arm_to_check, decide, give_way, owner_ended};
use crate::rollout::effect::{Action, Decision};
use crate::rollout::record::{LogEntry, Phase, Record};
use crate::rollout::shard::Shard;
use crate::rollout::standing::{Answer, Standing};
use crate::rollout::verify::{self, Aftermath};
use crate::units::{Minute, Share, Span};

/// Newest minutes that an entry of the decision log holds when nothing changed. More than one, so that
/// minutes which CloudWatch corrected are there in both forms.
const LOGGED_MINUTES: usize = 3;

/// The decision's word where another tick has decided.
const SKIPPED: &str = "skipped";
/// The decision's word where the tick's time was over before.
pub(super) const NOT_REACHED: &str = "not reached";

/// Groups of rollouts that are looked at at the same time: some are read while others are decided, or wait for a call
/// that was throttled.
const GROUPS_AT_ONCE: usize = 8;
/// Before the end of the invocation, for its answer.
const CLOSING: Duration = Duration::from_secs(2);
/// Before that no other group is begun: what a group takes, if nothing is tried again.
const GROUP_TIME: Duration = Duration::from_secs(4);
/// A rollout that was seen whole so many minutes ago is not blind yet if it can't be read now.
const SEEN_LATELY: i64 = 3;
/// So often what was throttled is read again in one tick.
const TRIES: u32 = 4;
/// Of so many rollouts the answer has all judgements; of more, those with which something changed. All are in the log.
const TOLD_WHOLE: usize = 100;
/// A rollout of another shard that was not looked at for longer is told.
const UNWATCHED_AFTER: i64 = 5;
/// So many of them.
const UNWATCHED_TOLD: usize = 20;

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
    /// One report for each running rollout of the shard.
    pub rollouts: Vec<RolloutReport>,
    /// What the store says of records that can't be read: nobody watches these rollouts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
    /// Rollouts of other shards that nobody has looked at for a while, with their shards; the first ones of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unwatched: Vec<String>,
}

/// What a tick goes by.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a, T> {
    /// Its minute.
    pub minute: Minute,
    /// The time that decisions go by.
    pub now: Timestamp,
    /// Minutes younger than this are not looked at.
    pub watermark: Span,
    /// Which rollouts it is for.
    pub shard: Shard,
    /// How long it may take.
    pub time: &'a T,
}

/// Looks at every running rollout of its shard once. A second tick of the same minute finds its work done. Where time
/// does not suffice for all, those are left out that can wait best; they are the first of the next tick.
///
/// # Errors
/// If the running rollouts can't be read. What fails for one rollout is in its report and stops no other.
pub async fn tick<P: Platform, T: Time>(platform: &P, turn: &Turn<'_, T>) -> Result<TickReport, Failure> {
    let Running { records, unreadable } = platform.running().await?;
    let neighbours = Neighbours::of(&records);
    let unwatched = unwatched(&records, turn);
    // The records of others are not needed any more.
    let ours: Vec<Record> = records.into_iter().filter(|record| turn.shard.has(record.id())).collect();
    let (due, done): (Vec<_>, Vec<_>) = ours.iter().partition(|record| is_due(record, turn.minute));
    let mut rollouts: Vec<_> = done.iter().map(|record| skipped(record, turn.minute)).collect();
    rollouts.iter().for_each(|report| log_decision(turn.minute, report));
    if !due.is_empty() {
        let round = Round::new(platform, turn, &due, &neighbours);
        round.walk().await;
        rollouts.extend(round.reports());
    }
    Ok(TickReport { minute: turn.minute, rollouts, unreadable, unwatched })
}

/// Rollouts of other shards that were not looked at for so long that their function can't be at work.
fn unwatched<T>(records: &[Record], turn: &Turn<'_, T>) -> Vec<String> {
    let left_alone = |record: &&Record| {
        let since = turn.minute.since(record.last_tick.unwrap_or(Minute::of(record.started.at)));
        since > UNWATCHED_AFTER && !turn.shard.has(record.id())
    };
    let told = |record: &Record| {
        let shard = Shard::with(record.id(), turn.shard.of());
        let why = format!("not looked at for {UNWATCHED_AFTER} minutes; it is for {shard}");
        tracing::error!(rollout = record.id(), why, "unwatched");
        format!("{}: {why}", record.id())
    };
    records.iter().filter(left_alone).take(UNWATCHED_TOLD).map(told).collect()
}

/// This minute was not decided yet. A record that was last ticked in a minute that is far ahead was ticked by a
/// clock that was wrong: ticks that late are dropped before they come here.
fn is_due(record: &Record, minute: Minute) -> bool {
    let ahead = STALE_TICK.as_mins();
    record.last_tick.is_none_or(|last| last < minute || last > minute.plus(ahead))
}

/// One tick's way through its rollouts, group by group and several groups at once.
struct Round<'a, P, T> {
    platform: &'a P,
    turn: &'a Turn<'a, T>,
    due: &'a [&'a Record],
    neighbours: &'a Neighbours,
    left: Mutex<Left<'a>>,
    pace: Mutex<Pace>,
    /// By the place in `due`.
    reports: Mutex<Vec<Option<RolloutReport>>>,
}

/// A rollout that is to be looked at.
#[derive(Clone, Copy)]
struct Task<'a> {
    /// In `due`.
    place: usize,
    record: &'a Record,
    /// How often it was throttled.
    tried: u32,
}

/// The rollouts that are still to be looked at, in order.
struct Left<'a> {
    tasks: VecDeque<Task<'a>>,
    begun: bool,
    /// There is no time for other reads of the metrics.
    unread: bool,
}

/// Rollouts that are looked at in one go.
struct Group<'a> {
    tasks: Vec<Task<'a>>,
    /// How long to wait before that.
    wait: Duration,
    /// Without their metrics, since there is no room for them.
    unread: bool,
}

impl<'a, P: Platform, T: Time> Round<'a, P, T> {
    fn new(
        platform: &'a P,
        turn: &'a Turn<'a, T>,
        due: &'a [&'a Record],
        neighbours: &'a Neighbours,
    ) -> Self {
        let places: HashMap<&str, usize> = due.iter().enumerate().map(|(at, r)| (r.id(), at)).collect();
        let tasks = in_order(due.to_vec()).into_iter();
        let tasks = tasks.map(|record| Task { place: places[record.id()], record, tried: 0 });
        Self {
            platform,
            turn,
            due,
            neighbours,
            left: Mutex::new(Left { tasks: tasks.collect(), begun: false, unread: false }),
            pace: Mutex::new(Pace::of_one_in(turn.shard.of())),
            reports: Mutex::new(due.iter().map(|_| None).collect()),
        }
    }

    /// Looks at all of them, or at as many as there is time for. What is under way when time is over is dropped, as if
    /// the process had died, which the next tick knows how to mend. If nothing at all was done there is nothing to
    /// answer: then the invocation is given up, as any that hangs.
    async fn walk(&self) {
        let workers = pin!(join_all((0..GROUPS_AT_ONCE).map(|_| self.work())));
        let Some(allowed) = self.turn.time.allowed() else {
            workers.await;
            return;
        };
        let left = (allowed - closing(allowed)).saturating_sub(self.turn.time.spent());
        let over = pin!(self.turn.time.wait(left));
        if let Either::Right(((), workers)) = select(workers, over).await
            && lock(&self.reports).iter().all(Option::is_none)
        {
            workers.await;
        }
    }

    async fn work(&self) {
        while let Some(group) = self.next() {
            if !group.wait.is_zero() {
                self.turn.time.wait(group.wait).await;
            }
            self.look_at(group).await;
        }
    }

    /// The next group; `None` if all are under way, or if it is too late to begin with another one.
    fn next(&self) -> Option<Group<'a>> {
        let mut left = lock(&self.left);
        let now = self.turn.time.spent();
        let last_begin = self.turn.time.allowed().map(last_begin);
        let is_late = |at: Duration| last_begin.is_some_and(|last| at > last);
        if !left.unread {
            let request = |record: &Record| metric_request(record, self.turn.now, self.turn.watermark);
            let (mut size, mut many) = (Size::default(), 0);
            for task in &left.tasks {
                let with = size.with(&request(task.record));
                if many > 0 && !with.fits() {
                    break;
                }
                (size, many) = (with, many + 1);
            }
            if many == 0 {
                return None;
            }
            let wait = lock(&self.pace).take(size, now);
            // The most urgent ones get their chance, however little time there is.
            if !left.begun || !is_late(now + wait) {
                left.begun = true;
                return Some(Group { tasks: in_place(left.tasks.drain(..many)), wait, unread: false });
            }
            left.unread = true;
            // Those that were seen lately can wait for the next tick. The others are blind, and must know it.
            left.tasks.retain(|task| needs_no_metrics(task.record) || !self.was_seen_lately(task.record));
        }
        let many = left.tasks.len().min(GROUP_ROLLOUTS);
        if many == 0 || is_late(now) {
            return None;
        }
        Some(Group { tasks: in_place(left.tasks.drain(..many)), wait: Duration::ZERO, unread: true })
    }

    async fn look_at(&self, Group { tasks, unread, .. }: Group<'a>) {
        let seen: Vec<&Record> = tasks.iter().map(|task| task.record).collect();
        let sights = observe(self.platform, &seen, self.turn.now, self.turn.watermark, !unread).await;
        let metrics = sights.iter().any(|sight| sight.throttled.metrics);
        let rules = sights.iter().any(|sight| sight.throttled.rules);
        lock(&self.pace).learn(metrics, rules, self.turn.time.spent());
        let mut to_do = Vec::with_capacity(tasks.len());
        for (task, sight) in tasks.into_iter().zip(sights) {
            let Throttled { metrics, rules } = sight.throttled;
            let lacks = rules || (metrics && !needs_no_metrics(task.record));
            let again = lacks && !unread && self.may_wait(task);
            if again && !lock(&self.left).unread {
                lock(&self.left).tasks.push_front(Task { tried: task.tried + 1, ..task });
            } else if !again {
                to_do.push(self.decided(task.place, task.record, sight));
            }
        }
        join_all(to_do).await;
    }

    /// What was throttled is read again in the same tick, if there is a clock to wait by, and unless it must be told
    /// that it is blind: its plan says for how long it may be that.
    fn may_wait(&self, task: Task<'_>) -> bool {
        self.turn.time.allowed().is_some() && task.tried < TRIES && self.was_seen_lately(task.record)
    }

    fn was_seen_lately(&self, record: &Record) -> bool {
        self.turn.minute.since(last_seen(record)) <= SEEN_LATELY
    }

    async fn decided(&self, place: usize, record: &Record, sight: Sight<P::Snapshot>) {
        let (platform, minute, now) = (self.platform, self.turn.minute, self.turn.now);
        let (holder, sharer) = (self.neighbours.holder(record), self.neighbours.sharer(record));
        let mut report = match holder {
            _ if record.phase.is_terminal() => {
                after(platform, record, sight, [holder, sharer], minute, now).await
            }
            Some(holder) if is_untouched(record) => {
                yielded(platform, record, sight, holder, minute, now).await
            }
            _ => owned(platform, record, sight, minute, now).await,
        };
        log_decision(minute, &report);
        if self.due.len() > TOLD_WHOLE && is_quiet(&report.decision) {
            report.judgement = None;
        }
        lock(&self.reports)[place] = Some(report);
    }

    /// What came of each of them.
    fn reports(&self) -> Vec<RolloutReport> {
        let reports = std::mem::take(&mut *lock(&self.reports));
        let mut not_reached = 0_usize;
        let all = self.due.iter().zip(reports).map(|(record, report)| {
            report.unwrap_or_else(|| {
                not_reached += 1;
                RolloutReport {
                    decision: NOT_REACHED.to_owned(),
                    why: "the tick's time was over; the next tick looks at it first".to_owned(),
                    ..skipped(record, self.turn.minute)
                }
            })
        });
        let all = all.collect();
        if not_reached > 0 {
            tracing::error!(not_reached, rollouts = self.due.len(), "the tick's time was over");
        }
        all
    }
}

/// Whatever the metrics say, its canary goes down.
fn needs_no_metrics(record: &Record) -> bool {
    record.phase == Phase::Draining
}

/// In the order of the store: within a group nobody waits for another one.
fn in_place<'a>(tasks: impl Iterator<Item = Task<'a>>) -> Vec<Task<'a>> {
    let mut tasks: Vec<_> = tasks.collect();
    tasks.sort_by_key(|task| task.place);
    tasks
}

/// What is left of an invocation for its answer.
fn closing(allowed: Duration) -> Duration {
    CLOSING.min(allowed / 10)
}

/// When the last group is begun.
fn last_begin(allowed: Duration) -> Duration {
    allowed - closing(allowed) - GROUP_TIME.min(allowed / 5)
}

/// Nobody panics while holding one.
fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Nothing changed.
fn is_quiet(decision: &str) -> bool {
    [Action::Hold, Action::Verify].map(Action::name).contains(&decision)
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
    let changed = !is_quiet(&report.decision) || before.phase != report.phase;
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

/// One line a decision.
fn log_decision(minute: Minute, report: &RolloutReport) {
    let judgement = report.judgement.as_ref();
    let troubles = report.troubles.join("; ");
    tracing::info!(
        minute = %minute,
        rollout = report.rollout,
        decision = report.decision,
        phase = report.phase.name(),
        share = report.share.percent(),
        verdict = judgement.map(|j| j.verdict.name()),
        reason = judgement.map(|j| j.reason.code()),
        log_e_harm = judgement.map(|j| j.log_e_harm),
        blind_minutes = judgement.map(|j| j.blind_minutes),
        why = report.why,
        "decision"
    );
    if !troubles.is_empty() {
        tracing::error!(rollout = report.rollout, troubles, "not all could be done");
    }
}
