//! The ports, served from memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use jiff::Timestamp;

use super::alb::{Flow, Rule};
use super::cloudwatch::{CloudWatch, Counts, Publication};
use super::deployments::{self, SimDeployment};
use super::faults::{Call, Fate, Fault, Flaw, Journal, Operation, failure};
use crate::analysis::check::DistributionCheck;
use crate::analysis::window::{Arm, Row};
use crate::ports::{
    Deployment, Deployments, Failure, FailureKind, Message, MetricRead, MetricRequest, MetricSource, Pager,
    RecordStore, Running, Series, Split, TrafficRouter,
};
use crate::rollout::effect::Write;
use crate::rollout::gate::{Guard, Owner, Told, Waiting};
use crate::rollout::plan::Targets;
use crate::rollout::record::{Audit, LogEntry, Record};
use crate::units::{Minute, Share};

/// Targets of a group whose health nobody has said anything about.
const TARGETS: u32 = 4;

/// A load balancer, CloudWatch, SNS and a table, in memory, with a clock that somebody else turns.
#[derive(Debug)]
pub struct Cloud {
    state: Mutex<State>,
    /// Calls wait until they are polled a second time.
    stepping: AtomicBool,
}

#[derive(Debug, Clone)]
struct State {
    now: Timestamp,
    rules: BTreeMap<String, Rule>,
    flows: BTreeMap<String, Flow>,
    health: BTreeMap<String, u32>,
    metrics: CloudWatch,
    records: BTreeMap<String, Record>,
    freeze: Option<Audit>,
    /// The index of running rollouts answers as of before they were started.
    index_is_late: bool,
    /// What the store says of records that can't be read.
    unreadable: Vec<String>,
    guards: BTreeMap<String, Guard>,
    taken: BTreeSet<String>,
    deployments: BTreeMap<String, SimDeployment>,
    log: Vec<LogEntry>,
    messages: Vec<Message>,
    journal: Journal,
    /// Calls that wait for their second poll.
    announced: Vec<Operation>,
}

impl State {
    fn rule(&self, listener_rule: &str, operation: Operation) -> Result<&Rule, Failure> {
        let found = self.rules.get(listener_rule);
        found.ok_or_else(|| failure(operation, FailureKind::NotFound, format!("no rule {listener_rule}")))
    }

    fn deployment(&mut self, owner: &Owner, operation: Operation) -> Result<&mut SimDeployment, Failure> {
        let found = self.deployments.get_mut(deployments::id(owner));
        found.ok_or_else(|| failure(operation, FailureKind::NotFound, format!("no {}", owner.name())))
    }

    fn read_minutes(&self, request: &MetricRequest, fate: Fate) -> MetricRead {
        let edges = request.series.iter().find_map(|series| match series {
            Series::Latency { edges } => Some(edges.as_slice()),
            _ => None,
        });
        let minutes = request.from..request.until;
        let read = |group: &str| self.metrics.read(group, minutes.clone(), edges, self.now);
        let (stable, canary) = (read(&request.targets.stable), read(&request.targets.canary));
        let rows = (0..).zip(stable).zip(canary).map(|((at, stable), canary)| Row {
            minute: request.from.plus(at),
            share: Share::ZERO,
            stable,
            canary,
        });
        let mut rows: Vec<Row> = rows.collect();
        if fate.repeated {
            rows.extend_from_within(rows.len() / 2..);
        }
        let complete = if fate.partial {
            rows.truncate(rows.len() / 2);
            Err("StatusCode PartialData".to_owned())
        } else {
            Ok(())
        };
        MetricRead { rows, complete }
    }

    /// The start, too, is compared: another rollout of the same name counts its versions from one again.
    fn replace(&mut self, record: &Record) -> Result<Record, Failure> {
        let of_this = |stored: &&Record| stored.started.at == record.started.at;
        let stored = self.records.get(record.id()).filter(of_this).map(|stored| stored.version);
        if stored != Some(record.version) {
            let detail = format!("version {stored:?} is stored, {} was to be replaced", record.version);
            return Err(failure(Operation::Put, FailureKind::Conflict, detail));
        }
        let next = Record { version: record.version + 1, ..record.clone() };
        self.records.insert(next.id().to_owned(), next.clone());
        Ok(next)
    }

    fn add(&mut self, record: &Record) -> Result<Record, Failure> {
        let in_the_way = |stored: &Record| !stored.is_over() || record.owner.is_some();
        if self.records.get(record.id()).is_some_and(in_the_way) {
            let detail = format!("{} has not ended", record.id());
            return Err(failure(Operation::Create, FailureKind::Conflict, detail));
        }
        let next = Record { version: 1, ..record.clone() };
        self.records.insert(next.id().to_owned(), next.clone());
        Ok(next)
    }
}

impl Cloud {
    /// A cloud without any rule or record.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            state: Mutex::new(State {
                now,
                rules: BTreeMap::new(),
                flows: BTreeMap::new(),
                health: BTreeMap::new(),
                metrics: CloudWatch::default(),
                records: BTreeMap::new(),
                freeze: None,
                index_is_late: false,
                unreadable: Vec::new(),
                guards: BTreeMap::new(),
                taken: BTreeSet::new(),
                deployments: BTreeMap::new(),
                log: Vec::new(),
                messages: Vec::new(),
                journal: Journal::default(),
                announced: Vec::new(),
            }),
            stepping: AtomicBool::new(false),
        }
    }

    /// The state stays usable after a panic in a test: it is only ever changed in one piece.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns the clock.
    pub fn set_now(&self, now: Timestamp) {
        self.state().now = now;
    }

    /// Creates or replaces a rule; also what somebody else's hand does.
    pub fn set_rule(&self, listener_rule: &str, rule: Rule) {
        self.state().rules.insert(listener_rule.to_owned(), rule);
    }

    /// Deletes a rule; also what somebody else's hand does.
    pub fn remove_rule(&self, listener_rule: &str) {
        self.state().rules.remove(listener_rule);
    }

    /// A rule as it is now.
    #[must_use]
    pub fn rule(&self, listener_rule: &str) -> Option<Rule> {
        self.state().rules.get(listener_rule).cloned()
    }

    /// The index of running rollouts is a moment late, and shows none of them.
    pub fn hide_from_index(&self, late: bool) {
        self.state().index_is_late = late;
    }

    /// One of the running rollouts has a record that can't be read.
    pub fn spoil(&self, what: &str) {
        self.state().unreadable.push(what.to_owned());
    }

    /// Says how many targets of a group are healthy.
    pub fn set_healthy_targets(&self, group: &str, healthy: u32) {
        self.state().health.insert(group.to_owned(), healthy);
    }

    /// How many targets of a group are healthy.
    #[must_use]
    pub fn health(&self, group: &str) -> u32 {
        self.state().health.get(group).copied().unwrap_or(TARGETS)
    }

    /// Creates or replaces a deployment of another system.
    pub fn set_deployment(&self, id: &str, deployment: SimDeployment) {
        self.state().deployments.insert(id.to_owned(), deployment);
    }

    /// Says how deployments are judged, without a call.
    pub(super) fn keep_guard(&self, guard: Guard) {
        self.state().guards.insert(guard.of.clone(), guard);
    }

    /// A deployment of another system, without a call.
    #[must_use]
    pub fn deployment_of(&self, id: &str) -> Option<SimDeployment> {
        self.state().deployments.get(id).cloned()
    }

    /// Sets how late metrics are.
    pub fn set_publication(&self, publication: Publication) {
        self.state().metrics.publication = publication;
    }

    /// Adds to a minute of a group.
    pub fn count(&self, group: &str, minute: Minute, counts: &Counts) {
        self.state().metrics.add(group, minute, counts);
    }

    /// Holds back a minute of a group for longer than usual.
    pub fn delay(&self, group: &str, minute: Minute, seconds: i64) {
        self.flaw(group, minute, Flaw::Late(seconds));
    }

    /// Lets a minute of a group go wrong.
    pub fn flaw(&self, group: &str, minute: Minute, flaw: Flaw) {
        self.state().metrics.flaw(group, minute, flaw);
    }

    /// A group's response times in one minute, bin by bin, as soon as they were counted.
    #[must_use]
    pub fn latency_bins(&self, group: &str, minute: Minute) -> BTreeMap<i32, u64> {
        self.state().metrics.latency_bins(group, minute)
    }

    /// Lets one second of traffic pass through a rule and answers the parts of it that reached the two
    /// groups, stable first. What is left went to other groups.
    #[must_use]
    pub fn flow(&self, targets: &Targets) -> [f64; 2] {
        let mut state = self.state();
        let Some(rule) = state.rules.get(&targets.listener_rule).cloned() else {
            return [0.0; 2];
        };
        let flow = state.flows.entry(targets.listener_rule.clone()).or_default();
        flow.advance(&rule);
        [&targets.stable, &targets.canary].map(|group| flow.share(group).unwrap_or(0.0))
    }

    /// Makes calls to come fail.
    pub fn fail(&self, fault: Fault) {
        self.state().journal.faults.push(fault);
    }

    /// Lets so many more calls through, and then none: the process has died. `None` brings it back.
    pub fn die_after(&self, calls: Option<u32>) {
        self.state().journal.calls_to_live = calls;
    }

    /// All calls since the last time this was asked.
    #[must_use]
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().journal.calls)
    }

    /// The newest call took effect, whatever its caller was told.
    #[must_use]
    pub fn last_call_took_effect(&self) -> bool {
        self.state().journal.calls.last().is_some_and(|call| call.took_effect)
    }

    /// Somebody has frozen all rollouts.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.state().freeze.is_some()
    }

    /// All pages that were published.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.state().messages.clone()
    }

    /// A record, without a call.
    #[must_use]
    pub fn record(&self, rollout: &str) -> Option<Record> {
        self.state().records.get(rollout).cloned()
    }

    /// Looks at a record without a call and without a copy.
    pub fn look_at<T>(&self, rollout: &str, look: impl FnOnce(Option<&Record>) -> T) -> T {
        look(self.state().records.get(rollout))
    }

    /// Looks at all records, by name, without a call.
    pub fn with_records<T>(&self, look: impl FnOnce(&BTreeMap<String, Record>) -> T) -> T {
        look(&self.state().records)
    }

    /// The pages that were published after so many others.
    #[must_use]
    pub fn messages_after(&self, others: usize) -> Vec<Message> {
        self.state().messages.iter().skip(others).cloned().collect()
    }

    /// The decision log, oldest first, without a call.
    #[must_use]
    pub fn log_entries(&self) -> Vec<LogEntry> {
        self.state().log.clone()
    }

    /// What CloudWatch would answer for one minute now, without a call.
    #[must_use]
    pub fn row(&self, targets: &Targets, minute: Minute, share: Share) -> Row {
        let state = self.state();
        let edges = crate::analysis::edges(&DistributionCheck::latency(), None);
        let minutes = minute..minute.plus(1);
        let read =
            |group: &str| state.metrics.read(group, minutes.clone(), Some(&edges), state.now).pop().flatten();
        Row { minute, share, stable: read(&targets.stable), canary: read(&targets.canary) }
    }

    /// Another cloud that is just as this one is now.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            state: Mutex::new(self.state().clone()),
            stepping: AtomicBool::new(self.stepping.load(Ordering::Relaxed)),
        }
    }

    /// Lets every call wait once before it is made, so that whoever polls several invocations by hand says
    /// which of them makes its next call. One that is dropped while it waits has died between two calls.
    pub fn step_by_step(&self, on: bool) {
        self.stepping.store(on, Ordering::Relaxed);
    }

    /// The calls that began to wait since this was last asked.
    #[must_use]
    pub fn take_announced(&self) -> Vec<Operation> {
        std::mem::take(&mut self.state().announced)
    }

    /// Waits for the second poll, if calls are made step by step.
    async fn pause(&self, operation: Operation) {
        if !self.stepping.load(Ordering::Relaxed) {
            return;
        }
        self.state().announced.push(operation);
        let mut waited = false;
        let second_poll = |_: &mut Context<'_>| match std::mem::replace(&mut waited, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        };
        std::future::poll_fn(second_poll).await;
    }

    /// One call: noted, failed if it is to fail, else carried out.
    async fn call<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut State, Fate) -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        self.pause(operation).await;
        let mut state = self.state();
        let fate = state.journal.call(operation);
        fate.before(operation)?;
        let done = work(&mut state, fate)?;
        fate.after(operation)?;
        Ok(done)
    }
}

/// The same failure for each of several answers; failures themselves can't be copied.
fn each<T, I>(asked: &[I], failed: &Failure) -> Vec<Result<T, Failure>> {
    let again = || Failure {
        operation: failed.operation,
        kind: failed.kind,
        detail: failed.detail.clone(),
        source: None,
    };
    asked.iter().map(|_| Err(again())).collect()
}

impl AsRef<Self> for Cloud {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl MetricSource for Cloud {
    async fn read_metrics(&self, requests: &[MetricRequest]) -> Vec<Result<MetricRead, Failure>> {
        let read = |state: &mut State, fate: Fate| {
            Ok(requests.iter().map(|request| Ok(state.read_minutes(request, fate))).collect())
        };
        self.call(Operation::ReadMetrics, read).await.unwrap_or_else(|failed| each(requests, &failed))
    }
}

impl TrafficRouter for Cloud {
    type Snapshot = Rule;

    async fn read_splits(&self, targets: &[Targets]) -> Vec<Result<(Split, Rule), Failure>> {
        let read = |state: &mut State, _: Fate| {
            let one = |targets: &Targets| {
                if targets.function().is_some() {
                    let why = "a function's share is known to its deployment".to_owned();
                    return Err(failure(Operation::ReadSplits, FailureKind::Unavailable, why));
                }
                let rule = state.rule(&targets.listener_rule, Operation::ReadSplits)?;
                Ok((rule.split(targets), rule.clone()))
            };
            Ok(targets.iter().map(one).collect())
        };
        self.call(Operation::ReadSplits, read).await.unwrap_or_else(|failed| each(targets, &failed))
    }

    async fn write_split(&self, targets: &Targets, snapshot: &Rule, write: Write) -> Result<Split, Failure> {
        self.call(Operation::WriteSplit, |state, _| {
            state.rule(&targets.listener_rule, Operation::WriteSplit)?;
            // ModifyRule replaces the whole action list: what the snapshot does not have is gone.
            let mut rule = snapshot.clone();
            rule.write(targets, write);
            let split = rule.split(targets);
            state.rules.insert(targets.listener_rule.clone(), rule);
            Ok(split)
        })
        .await
    }

    async fn healthy_targets(&self, targets: &Targets, arm: Arm) -> Result<u32, Failure> {
        self.call(Operation::HealthyTargets, |state, _| {
            Ok(state.health.get(targets.of_arm(arm)).copied().unwrap_or(TARGETS))
        })
        .await
    }
}

impl RecordStore for Cloud {
    async fn running(&self) -> Result<Running, Failure> {
        self.call(Operation::Running, |state, _| {
            let seen = state.records.values().filter(|record| record.needs_ticks() && !state.index_is_late);
            Ok(Running { records: seen.cloned().collect(), unreadable: state.unreadable.clone() })
        })
        .await
    }

    async fn get(&self, rollout: &str) -> Result<Option<Record>, Failure> {
        self.call(Operation::Get, |state, _| Ok(state.records.get(rollout).cloned())).await
    }

    async fn list(&self) -> Result<Vec<Record>, Failure> {
        self.call(Operation::List, |state, _| Ok(state.records.values().cloned().collect())).await
    }

    async fn create(&self, record: &Record) -> Result<Record, Failure> {
        self.call(Operation::Create, |state, _| state.add(record)).await
    }

    async fn put(&self, record: &Record) -> Result<Record, Failure> {
        self.call(Operation::Put, |state, _| state.replace(record)).await
    }

    async fn freeze(&self) -> Result<Option<Audit>, Failure> {
        self.call(Operation::Freeze, |state, _| Ok(state.freeze.clone())).await
    }

    async fn set_freeze(&self, freeze: Option<&Audit>) -> Result<(), Failure> {
        self.call(Operation::SetFreeze, |state, _| {
            state.freeze = freeze.cloned();
            Ok(())
        })
        .await
    }

    async fn guard(&self, of: &str) -> Result<Option<Guard>, Failure> {
        self.call(Operation::Guard, |state, _| Ok(state.guards.get(of).cloned())).await
    }

    async fn guards(&self) -> Result<Vec<Guard>, Failure> {
        self.call(Operation::Guards, |state, _| Ok(state.guards.values().cloned().collect())).await
    }

    async fn set_guard(&self, of: &str, guard: Option<&Guard>) -> Result<(), Failure> {
        self.call(Operation::SetGuard, |state, _| {
            match guard {
                Some(guard) => state.guards.insert(of.to_owned(), guard.clone()),
                None => state.guards.remove(of),
            };
            Ok(())
        })
        .await
    }

    async fn take_once(&self, key: &str, _until: Timestamp) -> Result<bool, Failure> {
        self.call(Operation::TakeOnce, |state, _| Ok(state.taken.insert(key.to_owned()))).await
    }

    async fn log(&self, entry: &LogEntry) -> Result<(), Failure> {
        self.call(Operation::Log, |state, _| {
            state.log.push(entry.clone());
            Ok(())
        })
        .await
    }

    async fn history(&self, rollout: &str, limit: u32) -> Result<Vec<LogEntry>, Failure> {
        self.call(Operation::History, |state, _| {
            let newest = state.log.iter().rev().filter(|entry| entry.rollout == rollout);
            Ok(newest.take(limit as usize).cloned().collect())
        })
        .await
    }
}

impl Deployments for Cloud {
    async fn deployment(&self, owner: &Owner) -> Result<Deployment, Failure> {
        let operation = Operation::Deployment;
        self.call(operation, |state, _| state.deployment(owner, operation).map(|found| found.state.clone()))
            .await
    }

    async fn find_targets(&self, owner: &Owner) -> Result<Targets, Failure> {
        let operation = Operation::FindTargets;
        self.call(operation, |state, _| {
            let targets = state.deployment(owner, operation)?.targets.clone();
            let none = || failure(operation, FailureKind::NotFound, "no rule has its groups".to_owned());
            targets.ok_or_else(none)
        })
        .await
    }

    async fn tell(&self, waiting: &Waiting, told: &Told) -> Result<(), Failure> {
        self.call(Operation::Tell, |state, _| {
            let id = deployments::id_of(waiting).to_owned();
            state.deployments.entry(id).or_default().take(waiting, told);
            Ok(())
        })
        .await
    }

    async fn stop(&self, owner: &Owner) -> Result<(), Failure> {
        self.call(Operation::Stop, |state, _| {
            let deployment = state.deployment(owner, Operation::Stop)?;
            if let Some(how) = deployment.ends_at_stop.take() {
                deployment.state.ended = Some(how);
            }
            if deployment.state.ended.is_some() {
                return Err(failure(Operation::Stop, FailureKind::NotFound, "it is over".to_owned()));
            }
            deployment.stop(owner);
            Ok(())
        })
        .await
    }
}

impl Pager for Cloud {
    async fn page(&self, message: &Message) -> Result<(), Failure> {
        self.call(Operation::Page, |state, _| {
            state.messages.push(message.clone());
            Ok(())
        })
        .await
    }
}
