//! The ports, served from memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::alb::{Flow, Rule};
use super::cloudwatch::{CloudWatch, Counts, Publication};
use super::faults::{Call, Fate, Fault, Journal, Operation, failure};
use crate::analysis::check::DistributionCheck;
use crate::analysis::window::Row;
use crate::ports::{
    Failure, FailureKind, Message, MetricRead, MetricRequest, MetricSource, Pager, RecordStore, Series,
    Split, TrafficRouter,
};
use crate::rollout::effect::Write;
use crate::rollout::plan::Targets;
use crate::rollout::record::{LogEntry, Record};
use crate::units::{Minute, Share};

/// Targets of a group whose health nobody has said anything about.
const TARGETS: u32 = 4;

/// A load balancer, CloudWatch, SNS and a table, in memory, with a clock that somebody else turns.
#[derive(Debug)]
pub struct Cloud {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    rules: BTreeMap<String, Rule>,
    flows: BTreeMap<String, Flow>,
    health: BTreeMap<String, u32>,
    metrics: CloudWatch,
    records: BTreeMap<String, Record>,
    log: Vec<LogEntry>,
    messages: Vec<Message>,
    journal: Journal,
}

impl State {
    fn rule(&self, listener_rule: &str, operation: Operation) -> Result<&Rule, Failure> {
        let found = self.rules.get(listener_rule);
        found.ok_or_else(|| failure(operation, FailureKind::NotFound, format!("no rule {listener_rule}")))
    }

    fn read_minutes(&self, request: &MetricRequest, partial: bool) -> MetricRead {
        let edges = request.series.iter().find_map(|series| match series {
            Series::Latency { edges } => Some(edges.as_slice()),
            _ => None,
        });
        let read = |group: &str, minute| self.metrics.read(group, minute, edges, self.now);
        let minutes = (0..request.until.since(request.from)).map(|at| request.from.plus(at));
        let rows = minutes.map(|minute| Row {
            minute,
            share: Share::ZERO,
            stable: read(&request.targets.stable, minute),
            canary: read(&request.targets.canary, minute),
        });
        let mut rows: Vec<Row> = rows.collect();
        let complete = if partial {
            rows.truncate(rows.len() / 2);
            Err("StatusCode PartialData".to_owned())
        } else {
            Ok(())
        };
        MetricRead { rows, complete }
    }

    fn replace(&mut self, record: &Record) -> Result<Record, Failure> {
        let stored = self.records.get(record.id()).map_or(0, |stored| stored.version);
        if stored != record.version {
            let detail = format!("version {} is stored, {} was to be replaced", stored, record.version);
            return Err(failure(Operation::Put, FailureKind::Conflict, detail));
        }
        let next = Record { version: stored + 1, ..record.clone() };
        self.records.insert(next.id().to_owned(), next.clone());
        Ok(next)
    }

    fn add(&mut self, record: &Record) -> Result<Record, Failure> {
        if self.records.get(record.id()).is_some_and(Record::needs_ticks) {
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
                log: Vec::new(),
                messages: Vec::new(),
                journal: Journal::default(),
            }),
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

    /// A rule as it is now.
    #[must_use]
    pub fn rule(&self, listener_rule: &str) -> Option<Rule> {
        self.state().rules.get(listener_rule).cloned()
    }

    /// Says how many targets of a group are healthy.
    pub fn set_healthy_targets(&self, group: &str, healthy: u32) {
        self.state().health.insert(group.to_owned(), healthy);
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
        self.state().metrics.delay(group, minute, seconds);
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
        let read = |group: &str| state.metrics.read(group, minute, Some(&edges), state.now);
        Row { minute, share, stable: read(&targets.stable), canary: read(&targets.canary) }
    }

    /// One call: noted, failed if it is to fail, else carried out.
    fn call<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut State, Fate) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
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

impl MetricSource for Cloud {
    async fn read_metrics(&self, requests: &[MetricRequest]) -> Vec<Result<MetricRead, Failure>> {
        let read = |state: &mut State, fate: Fate| {
            Ok(requests.iter().map(|request| Ok(state.read_minutes(request, fate.partial))).collect())
        };
        self.call(Operation::ReadMetrics, read).unwrap_or_else(|failed| each(requests, &failed))
    }
}

impl TrafficRouter for Cloud {
    type Snapshot = Rule;

    async fn read_splits(&self, targets: &[Targets]) -> Vec<Result<(Split, Rule), Failure>> {
        let read = |state: &mut State, _: Fate| {
            let one = |targets: &Targets| {
                let rule = state.rule(&targets.listener_rule, Operation::ReadSplits)?;
                Ok((rule.split(targets), rule.clone()))
            };
            Ok(targets.iter().map(one).collect())
        };
        self.call(Operation::ReadSplits, read).unwrap_or_else(|failed| each(targets, &failed))
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
    }

    async fn healthy_targets(&self, group: &str) -> Result<u32, Failure> {
        self.call(Operation::HealthyTargets, |state, _| {
            Ok(state.health.get(group).copied().unwrap_or(TARGETS))
        })
    }
}

impl RecordStore for Cloud {
    async fn running(&self) -> Result<Vec<Record>, Failure> {
        self.call(Operation::Running, |state, _| {
            Ok(state.records.values().filter(|record| record.needs_ticks()).cloned().collect())
        })
    }

    async fn get(&self, rollout: &str) -> Result<Option<Record>, Failure> {
        self.call(Operation::Get, |state, _| Ok(state.records.get(rollout).cloned()))
    }

    async fn list(&self) -> Result<Vec<Record>, Failure> {
        self.call(Operation::List, |state, _| Ok(state.records.values().cloned().collect()))
    }

    async fn create(&self, record: &Record) -> Result<Record, Failure> {
        self.call(Operation::Create, |state, _| state.add(record))
    }

    async fn put(&self, record: &Record) -> Result<Record, Failure> {
        self.call(Operation::Put, |state, _| state.replace(record))
    }

    async fn log(&self, entry: &LogEntry) -> Result<(), Failure> {
        self.call(Operation::Log, |state, _| {
            state.log.push(entry.clone());
            Ok(())
        })
    }

    async fn history(&self, rollout: &str, limit: u32) -> Result<Vec<LogEntry>, Failure> {
        self.call(Operation::History, |state, _| {
            let newest = state.log.iter().rev().filter(|entry| entry.rollout == rollout);
            Ok(newest.take(limit as usize).cloned().collect())
        })
    }
}

impl Pager for Cloud {
    async fn page(&self, message: &Message) -> Result<(), Failure> {
        self.call(Operation::Page, |state, _| {
            state.messages.push(message.clone());
            Ok(())
        })
    }
}
