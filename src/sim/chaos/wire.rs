//! One process: what stands between an invocation and the cloud.
//!
//! Every call waits for its turn, so that whoever polls several invocations by hand says which of them goes
//! on. Then it may fail, before or after its effect, and the process may die, before or after the call. What
//! came of it is shown to the [`Watch`].

use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use super::invariants::Invariant;
use super::profile::{Draw, Profile};
use super::watch::Watch;
use jiff::Timestamp;

use crate::analysis::window::Arm;
use crate::ports::{
    Deployment, Deployments, Failure, FailureKind, Message, MetricRead, MetricRequest, MetricSource, Pager,
    RecordStore, Running, Split, TrafficRouter,
};
use crate::rollout::effect::{Release, Write};
use crate::rollout::gate::{Guard, Owner, Told, Waiting};
use crate::rollout::plan::Targets;
use crate::rollout::record::{Audit, LogEntry, Phase, Record};
use crate::sim::deployments;
use crate::sim::random::Random;
use crate::sim::{Cloud, Fault, Operation, Outcome, Rule};
use crate::units::Share;

/// A rule of the handler that is broken on purpose, to show that the invariant which guards it can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Twice the share is written.
    RaisesMore,
    /// Drains are answered and not carried out.
    IgnoresDrains,
    /// What has ended goes on.
    Revives,
    /// Pages are answered and not sent.
    SwallowsPages,
    /// Pages are sent twice.
    RepeatsPages,
    /// What was begun is never noted as done.
    KeepsIntents,
    /// An old write comes again, without anybody noting it.
    ReplaysWrites,
    /// Other groups get another weight.
    MovesOthers,
    /// Sick groups are said to be healthy.
    HidesTheSick,
    /// The handler panics.
    Panics,
    /// The record is written over.
    Overwrites,
    /// The decision log is answered and not written.
    LosesTheLog,
    /// The decision log has other counts than the judge saw.
    AltersTheLog,
    /// Whoever waits is told the opposite after the answer.
    ChangesItsMind,
    /// Whoever waits is told to go on.
    PassesEverybody,
    /// Those who wait are told nothing.
    TellsNobody,
    /// Deployments are said to be stopped, and are not.
    StopsNobody,
    /// Another system's weights are written.
    WritesForOthers,
    /// Who waits is left out of the record.
    ForgetsGates,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::RaisesMore,
        Self::ReplaysWrites,
        Self::IgnoresDrains,
        Self::Revives,
        Self::SwallowsPages,
        Self::RepeatsPages,
        Self::KeepsIntents,
        Self::MovesOthers,
        Self::HidesTheSick,
        Self::Panics,
        Self::Overwrites,
        Self::LosesTheLog,
        Self::AltersTheLog,
        Self::ChangesItsMind,
        Self::PassesEverybody,
        Self::TellsNobody,
        Self::StopsNobody,
        Self::WritesForOthers,
        Self::ForgetsGates,
    ];

    /// What it is called on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RaisesMore => "raises-more",
            Self::ReplaysWrites => "replays-writes",
            Self::IgnoresDrains => "ignores-drains",
            Self::Revives => "revives",
            Self::SwallowsPages => "swallows-pages",
            Self::RepeatsPages => "repeats-pages",
            Self::KeepsIntents => "keeps-intents",
            Self::MovesOthers => "moves-others",
            Self::HidesTheSick => "hides-the-sick",
            Self::Panics => "panics",
            Self::Overwrites => "overwrites",
            Self::LosesTheLog => "loses-the-log",
            Self::AltersTheLog => "alters-the-log",
            Self::ChangesItsMind => "changes-its-mind",
            Self::PassesEverybody => "passes-everybody",
            Self::TellsNobody => "tells-nobody",
            Self::StopsNobody => "stops-nobody",
            Self::WritesForOthers => "writes-for-others",
            Self::ForgetsGates => "forgets-gates",
        }
    }

    /// Which invariant guards the rule that it breaks.
    #[must_use]
    pub fn breaks(self) -> Invariant {
        match self {
            Self::RaisesMore | Self::ReplaysWrites => Invariant::UpOnlyWithProof,
            Self::IgnoresDrains => Invariant::HarmIsDrained,
            Self::Revives => Invariant::EndedStaysEnded,
            Self::SwallowsPages | Self::RepeatsPages => Invariant::OnePageEach,
            Self::KeepsIntents => Invariant::RecordAndRuleAgree,
            Self::MovesOthers => Invariant::OthersUntouched,
            Self::HidesTheSick => Invariant::NoTrafficForTheSick,
            Self::Panics | Self::Overwrites => Invariant::SaneAnswers,
            Self::LosesTheLog | Self::AltersTheLog => Invariant::DecisionsHaveInputs,
            Self::ChangesItsMind => Invariant::OneAnswerEach,
            Self::PassesEverybody => Invariant::PassOnlyWithProof,
            Self::TellsNobody => Invariant::WaitersAreTold,
            Self::StopsNobody => Invariant::HarmStopsTheOwner,
            Self::WritesForOthers => Invariant::OwnersWeightsStay,
            Self::ForgetsGates => Invariant::GatesAreKept,
        }
    }
}

/// The cloud and everything around it.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) cloud: Cloud,
    state: Mutex<State>,
}

/// What all processes of an episode share beside the cloud.
#[derive(Debug)]
pub(super) struct State {
    pub(super) watch: Watch,
    pub(super) profile: Profile,
    pub(super) fates: Random,
    /// SNS answers nobody.
    pub(super) pager_down: bool,
    pub(super) sabotage: Option<Sabotage>,
}

impl Stage {
    pub(super) fn new(cloud: Cloud, state: State) -> Self {
        Self { cloud, state: Mutex::new(state) }
    }

    /// Stays usable after a panic of the handler: no lock is held while it runs.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One process.
#[derive(Debug)]
pub(super) struct Wire {
    stage: Arc<Stage>,
    /// The invocation's number.
    id: usize,
    turn: AtomicBool,
    dead: AtomicBool,
}

/// What is to become of one call.
struct Fate {
    sabotage: Option<Sabotage>,
    /// The call was made to fail.
    faulty: bool,
    dies_after: bool,
}

impl Wire {
    pub(super) fn new(stage: Arc<Stage>, id: usize) -> Self {
        Self { stage, id, turn: AtomicBool::new(false), dead: AtomicBool::new(false) }
    }

    /// Lets the next call through.
    pub(super) fn give_turn(&self) {
        self.turn.store(true, Ordering::Relaxed);
    }

    /// The process is dead; it is never polled again.
    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    async fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
        pending::<()>().await;
    }

    /// Waits for the turn and says how the call goes.
    async fn begin(&self, operation: Operation) -> Fate {
        poll_fn(|_| if self.turn.swap(false, Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending })
            .await;
        let (fate, dies) = self.draw(operation);
        if dies {
            self.die().await;
        }
        fate
    }

    fn draw(&self, operation: Operation) -> (Fate, bool) {
        let state = &mut *self.stage.state();
        let (random, profile) = (&mut state.fates, &state.profile);
        state.watch.tally.calls += 1;
        if state.sabotage == Some(Sabotage::Panics) && operation == Operation::Put && random.chance(0.05) {
            panic!("sabotage");
        }
        let dies = random.chance(profile.death);
        let (dies_before, dies_after) = (dies && random.chance(0.5), dies);
        if dies_before {
            let at = format!("dies before {}", operation.name());
            state.watch.tell(|| at);
            return (Fate { sabotage: None, faulty: false, dies_after: true }, true);
        }
        let outcome = if operation == Operation::Page && state.pager_down {
            Some(Outcome::Fails(FailureKind::Unavailable))
        } else if operation == Operation::ReadMetrics && random.chance(profile.metrics) {
            Some(random.pick(&[&Outcome::Partial, &Outcome::Repeated]).clone())
        } else if random.chance(profile.call) {
            let kind = random.pick(&FailureKind::ALL);
            Some(if random.chance(0.4) { Outcome::AnswerLost(kind) } else { Outcome::Fails(kind) })
        } else {
            None
        };
        let faulty = matches!(outcome, Some(Outcome::Fails(_) | Outcome::AnswerLost(_)));
        if let Some(outcome) = outcome {
            state.watch.tally.fault(fault_name(&outcome));
            state.watch.call_goes_wrong(self.id, operation, &outcome);
            self.stage.cloud.fail(Fault { operation, outcome, times: 1 });
        }
        (Fate { sabotage: state.sabotage, faulty, dies_after }, false)
    }

    /// Shows the watch what came of the call; the process may die of it.
    async fn end(&self, fate: &Fate, operation: Operation, show: impl FnOnce(&mut Watch)) {
        {
            let state = &mut *self.stage.state();
            show(&mut state.watch);
            if fate.dies_after {
                state.watch.tell(|| format!("dies after {}", operation.name()));
            }
        }
        if fate.dies_after {
            self.die().await;
        }
    }

    /// A put as the handler makes it, or as a sabotage does.
    async fn store(&self, record: &Record, fate: &Fate) -> Result<Record, Failure> {
        let cloud = &self.stage.cloud;
        let answer = cloud.put(record).await;
        let stored = cloud.look_at(record.id(), |stored| {
            let before = self.stage.state().watch.version(record.id());
            stored.filter(|stored| stored.version != before).cloned()
        });
        let failed = answer.as_ref().err().map(|failure| failure.kind);
        self.end(fate, Operation::Put, |watch| watch.put(self.id, record, stored, failed)).await;
        answer
    }
}

fn fault_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Partial => "metrics come in part",
        Outcome::Repeated => "minutes come twice",
        Outcome::Fails(FailureKind::Throttled) => "call throttled",
        Outcome::Fails(FailureKind::Denied) => "call denied",
        Outcome::Fails(FailureKind::NotFound) => "call answered not found",
        Outcome::Fails(FailureKind::Conflict) => "call in conflict",
        Outcome::Fails(FailureKind::Malformed) => "call malformed",
        Outcome::Fails(FailureKind::TimedOut) => "call timed out",
        Outcome::Fails(FailureKind::Unavailable) => "call unavailable",
        Outcome::AnswerLost(FailureKind::Throttled) => "answer lost, throttled",
        Outcome::AnswerLost(FailureKind::Denied) => "answer lost, denied",
        Outcome::AnswerLost(FailureKind::NotFound) => "answer lost, not found",
        Outcome::AnswerLost(FailureKind::Conflict) => "answer lost, conflict",
        Outcome::AnswerLost(FailureKind::Malformed) => "answer lost, malformed",
        Outcome::AnswerLost(FailureKind::TimedOut) => "answer lost, timed out",
        Outcome::AnswerLost(FailureKind::Unavailable) => "answer lost, unavailable",
    }
}

impl MetricSource for Wire {
    async fn read_metrics(&self, requests: &[MetricRequest]) -> Vec<Result<MetricRead, Failure>> {
        let fate = self.begin(Operation::ReadMetrics).await;
        let answer = self.stage.cloud.read_metrics(requests).await;
        let whole = answer.iter().all(|read| read.as_ref().is_ok_and(|read| read.complete.is_ok()));
        self.end(&fate, Operation::ReadMetrics, |watch| watch.read_metrics(self.id, whole)).await;
        answer
    }
}

impl TrafficRouter for Wire {
    type Snapshot = Rule;

    async fn read_splits(&self, targets: &[Targets]) -> Vec<Result<(Split, Rule), Failure>> {
        let fate = self.begin(Operation::ReadSplits).await;
        let answer = self.stage.cloud.read_splits(targets).await;
        self.end(&fate, Operation::ReadSplits, |watch| watch.read_splits(self.id, targets, &answer)).await;
        answer
    }

    async fn write_split(&self, targets: &Targets, snapshot: &Rule, write: Write) -> Result<Split, Failure> {
        let fate = self.begin(Operation::WriteSplit).await;
        let cloud = &self.stage.cloud;
        let (mut asked, mut from) = (write, snapshot.clone());
        match fate.sabotage {
            Some(Sabotage::RaisesMore) if write.share > Share::ZERO => {
                let more = (write.share.percent() * 2.0).min(100.0);
                asked.share = Share::from_percent(more).unwrap_or(Share::FULL);
            }
            Some(Sabotage::IgnoresDrains) if write.share == Share::ZERO => {
                self.end(&fate, Operation::WriteSplit, |_| ()).await;
                return Ok(Split { stable: 100, canary: 0, others: 0, sticky: false });
            }
            Some(Sabotage::MovesOthers) => {
                let ours = [&targets.stable, &targets.canary];
                for (group, weight) in &mut from.groups {
                    if !ours.contains(&&*group) {
                        *weight *= 2;
                    }
                }
            }
            _ => {}
        }
        let before = cloud.rule(&targets.listener_rule);
        let answer = cloud.write_split(targets, &from, asked).await;
        let after = cloud.rule(&targets.listener_rule);
        let failed = answer.as_ref().err().map(|failure| failure.kind);
        // The rule itself can't tell whether a write that changes nothing took effect; nor does it matter.
        self.end(&fate, Operation::WriteSplit, |watch| {
            watch.wrote(self.id, targets, [before, after], write, failed);
        })
        .await;
        answer
    }

    async fn healthy_targets(&self, targets: &Targets, arm: Arm) -> Result<u32, Failure> {
        let fate = self.begin(Operation::HealthyTargets).await;
        let answer = self.stage.cloud.healthy_targets(targets, arm).await;
        let (group, healthy) = (targets.of_arm(arm), answer.as_ref().ok().copied());
        self.end(&fate, Operation::HealthyTargets, |watch| watch.read_health(self.id, group, healthy)).await;
        match fate.sabotage {
            Some(Sabotage::HidesTheSick) => answer.map(|healthy| healthy.max(1)),
            _ => answer,
        }
    }
}

impl RecordStore for Wire {
    async fn running(&self) -> Result<Running, Failure> {
        let fate = self.begin(Operation::Running).await;
        let cloud = &self.stage.cloud;
        if fate.sabotage.is_some() && !fate.faulty {
            self.sabotage_between(&fate).await;
        }
        let answer = cloud.running().await;
        self.end(&fate, Operation::Running, |watch| watch.read_running(self.id, answer.as_ref().ok())).await;
        answer
    }

    async fn get(&self, rollout: &str) -> Result<Option<Record>, Failure> {
        let fate = self.begin(Operation::Get).await;
        let answer = self.stage.cloud.get(rollout).await;
        self.end(&fate, Operation::Get, |watch| watch.asked(self.id, Operation::Get, answer.is_ok())).await;
        answer
    }

    async fn list(&self) -> Result<Vec<Record>, Failure> {
        let fate = self.begin(Operation::List).await;
        let answer = self.stage.cloud.list().await;
        self.end(&fate, Operation::List, |watch| watch.asked(self.id, Operation::List, answer.is_ok())).await;
        answer
    }

    async fn create(&self, record: &Record) -> Result<Record, Failure> {
        let fate = self.begin(Operation::Create).await;
        let cloud = &self.stage.cloud;
        let before = cloud.record(record.id());
        let answer = cloud.create(record).await;
        let stored = cloud.record(record.id()).filter(|stored| before.as_ref() != Some(stored));
        let failed = answer.as_ref().err().map(|failure| failure.kind);
        self.end(&fate, Operation::Create, |watch| watch.create(self.id, stored, failed)).await;
        answer
    }

    async fn put(&self, record: &Record) -> Result<Record, Failure> {
        let fate = self.begin(Operation::Put).await;
        if fate.sabotage == Some(Sabotage::KeepsIntents) {
            let before =
                self.stage.cloud.look_at(record.id(), |stored| stored.and_then(|s| s.intent.clone()));
            if record.intent.is_none() && before.is_some() {
                let kept = Record { intent: before, ..record.clone() };
                return self.store(&kept, &fate).await;
            }
        }
        let mut record = record.clone();
        match fate.sabotage {
            Some(Sabotage::ForgetsGates) if record.version > 3 => {
                record.gates.retain(|gate| gate.told.is_some());
            }
            Some(Sabotage::PassesEverybody) => {
                for told in record.gates.iter_mut().filter_map(|gate| gate.told.as_mut()) {
                    told.pass = true;
                }
            }
            _ => {}
        }
        self.store(&record, &fate).await
    }

    async fn freeze(&self) -> Result<Option<Audit>, Failure> {
        let fate = self.begin(Operation::Freeze).await;
        let answer = self.stage.cloud.freeze().await;
        let frozen = answer.as_ref().ok().map(Option::is_some);
        self.end(&fate, Operation::Freeze, |watch| watch.read_freeze(self.id, frozen)).await;
        answer
    }

    async fn set_freeze(&self, freeze: Option<&Audit>) -> Result<(), Failure> {
        let fate = self.begin(Operation::SetFreeze).await;
        let answer = self.stage.cloud.set_freeze(freeze).await;
        let frozen = self.stage.cloud.is_frozen();
        self.end(&fate, Operation::SetFreeze, |watch| watch.set_freeze(self.id, frozen, answer.is_ok()))
            .await;
        answer
    }

    async fn guard(&self, of: &str) -> Result<Option<Guard>, Failure> {
        self.plain(Operation::Guard, self.stage.cloud.guard(of)).await
    }

    async fn guards(&self) -> Result<Vec<Guard>, Failure> {
        self.plain(Operation::Guards, self.stage.cloud.guards()).await
    }

    async fn set_guard(&self, of: &str, guard: Option<&Guard>) -> Result<(), Failure> {
        self.plain(Operation::SetGuard, self.stage.cloud.set_guard(of, guard)).await
    }

    async fn take_once(&self, key: &str, until: Timestamp) -> Result<bool, Failure> {
        self.plain(Operation::TakeOnce, self.stage.cloud.take_once(key, until)).await
    }

    async fn log(&self, entry: &LogEntry) -> Result<(), Failure> {
        let fate = self.begin(Operation::Log).await;
        if fate.sabotage == Some(Sabotage::LosesTheLog) {
            self.end(&fate, Operation::Log, |_| ()).await;
            return Ok(());
        }
        let mut entry = entry.clone();
        if fate.sabotage == Some(Sabotage::AltersTheLog)
            && let Some(counts) = entry.rows.iter_mut().find_map(|row| row.stable.as_mut())
        {
            counts.requests += 1;
        }
        let answer = self.stage.cloud.log(&entry).await;
        self.end(&fate, Operation::Log, |watch| watch.logged(self.id, &entry, answer.is_ok())).await;
        answer
    }

    async fn history(&self, rollout: &str, limit: u32) -> Result<Vec<LogEntry>, Failure> {
        let fate = self.begin(Operation::History).await;
        let answer = self.stage.cloud.history(rollout, limit).await;
        self.end(&fate, Operation::History, |watch| {
            watch.asked(self.id, Operation::History, answer.is_ok());
        })
        .await;
        answer
    }
}

impl Wire {
    /// A call about which the watch asks no more than whether it went well.
    async fn plain<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let fate = self.begin(operation).await;
        let answer = call.await;
        self.end(&fate, operation, |watch| watch.asked(self.id, operation, answer.is_ok())).await;
        answer
    }
}

impl Deployments for Wire {
    async fn deployment(&self, owner: &Owner) -> Result<Deployment, Failure> {
        self.plain(Operation::Deployment, self.stage.cloud.deployment(owner)).await
    }

    async fn find_targets(&self, owner: &Owner) -> Result<Targets, Failure> {
        self.plain(Operation::FindTargets, self.stage.cloud.find_targets(owner)).await
    }

    async fn tell(&self, waiting: &Waiting, told: &Told) -> Result<(), Failure> {
        let fate = self.begin(Operation::Tell).await;
        if fate.sabotage == Some(Sabotage::TellsNobody) {
            self.end(&fate, Operation::Tell, |_| ()).await;
            return Ok(());
        }
        let cloud = &self.stage.cloud;
        let answer = cloud.tell(waiting, told).await;
        let arrived = cloud.last_call_took_effect();
        let deployment = cloud.deployment_of(deployments::id_of(waiting));
        let came = answer.as_ref().map_err(|failure| failure.kind).copied();
        if fate.sabotage == Some(Sabotage::ChangesItsMind) && arrived {
            let other = Told { pass: !told.pass, ..told.clone() };
            self.stage.state().watch.told(self.id, waiting, &other, deployment.as_ref(), (came, arrived));
        }
        self.end(&fate, Operation::Tell, |watch| {
            watch.told(self.id, waiting, told, deployment.as_ref(), (came, arrived));
        })
        .await;
        answer
    }

    async fn stop(&self, owner: &Owner) -> Result<(), Failure> {
        let fate = self.begin(Operation::Stop).await;
        if fate.sabotage == Some(Sabotage::StopsNobody) {
            self.end(&fate, Operation::Stop, |_| ()).await;
            return Ok(());
        }
        let cloud = &self.stage.cloud;
        let answer = cloud.stop(owner).await;
        let stopped = cloud.last_call_took_effect();
        let came = answer.as_ref().map_err(|failure| failure.kind).copied();
        self.end(&fate, Operation::Stop, |watch| watch.stopped(self.id, owner, came, stopped)).await;
        answer
    }
}

impl Pager for Wire {
    async fn page(&self, message: &Message) -> Result<(), Failure> {
        let fate = self.begin(Operation::Page).await;
        if fate.sabotage == Some(Sabotage::SwallowsPages) {
            self.end(&fate, Operation::Page, |_| ()).await;
            return Ok(());
        }
        let cloud = &self.stage.cloud;
        if fate.sabotage == Some(Sabotage::RepeatsPages) && cloud.page(message).await.is_ok() {
            self.stage.state().watch.paged(self.id, message, true, true);
        }
        let answer = cloud.page(message).await;
        let arrived = cloud.last_call_took_effect();
        self.end(&fate, Operation::Page, |watch| watch.paged(self.id, message, arrived, answer.is_ok()))
            .await;
        answer
    }
}

/// Sabotage that comes between two ticks.
impl Wire {
    async fn sabotage_between(&self, fate: &Fate) {
        let cloud = &self.stage.cloud;
        let records = cloud.list().await.unwrap_or_default();
        for record in &records {
            let targets = &record.plan.targets;
            match fate.sabotage {
                Some(Sabotage::Revives) if record.phase == Phase::Drained => {
                    let _ = self.store(&Record { phase: Phase::Running, ..record.clone() }, fate).await;
                }
                Some(Sabotage::Overwrites) if record.phase == Phase::Running => {
                    let mut other = record.clone();
                    other.started.reason.push('!');
                    let _ = self.store(&other, fate).await;
                }
                Some(Sabotage::WritesForOthers)
                    if record.owner.is_some() && record.phase == Phase::Running =>
                {
                    let before = cloud.rule(&targets.listener_rule);
                    if let Some(rule) = &before
                        && cloud.write_split(targets, rule, Write::DRAIN).await.is_ok()
                    {
                        let after = cloud.rule(&targets.listener_rule);
                        self.stage.state().watch.wrote(self.id, targets, [before, after], Write::DRAIN, None);
                    }
                }
                Some(Sabotage::ReplaysWrites) if record.phase == Phase::Running => {
                    let before = cloud.rule(&targets.listener_rule);
                    let write = Write { share: Share::FULL, release: Release::Nobody };
                    if let Some(rule) = &before
                        && cloud.write_split(targets, rule, write).await.is_ok()
                    {
                        let after = cloud.rule(&targets.listener_rule);
                        self.stage.state().watch.wrote(self.id, targets, [before, after], write, None);
                    }
                }
                _ => {}
            }
        }
    }
}
