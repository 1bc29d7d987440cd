//! A network between the handler and the cloud: every call takes its time, and AWS's published rates are enforced.
//!
//! Calls are cut as the adapter to AWS cuts them, and one that is throttled is tried again as the SDK does it. Time is
//! the caller's, so that the same network stands in real time and in a test's paused time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::Cloud;
use super::alb::Rule;
use super::faults::{Operation, failure};
use super::meter::{SMALL, WRITE_UNIT, json_bytes, record_bytes};
use crate::analysis::window::Arm;
use crate::ports::{
    Deployment, Deployments, Failure, FailureKind, Message, MetricRead, MetricRequest, MetricSource, Pager,
    RecordStore, Running, Split, Time, TrafficRouter,
};
use crate::rollout::effect::Write;
use crate::rollout::gate::{Guard, Owner, Told, Waiting};
use crate::rollout::plan::Targets;
use crate::rollout::record::{Audit, LogEntry, Record};
use crate::units::Minute;

/// Queries of one GetMetricData call.
const CALL_QUERIES: usize = 500;
/// Data points of one GetMetricData call.
const CALL_POINTS: usize = 100_800;
/// Rules of one DescribeRules call, as the adapter asks.
const CALL_RULES: usize = 20;
/// Bytes of one page of a Query.
const QUERY_PAGE: usize = 1024 * 1024;
/// Bytes that half a unit of reading pays for: an index is read as it is.
const INDEX_READ_UNIT: usize = 8_192;
/// How often a call is tried, as the adapter is set.
const ATTEMPTS: u32 = 3;
/// The SDK waits up to this long before the second attempt, and up to twice as long before the third.
const BACKOFF: Duration = Duration::from_secs(1);

/// A rate that AWS enforces, of one account in one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quota {
    /// GetMetricData calls.
    MetricCalls,
    /// Data points that GetMetricData calls ask for.
    MetricPoints,
    /// Describe calls of the load balancer's.
    Describe,
    /// Changing calls of the load balancer's.
    Modify,
    /// Units of reading the index of running rollouts, which is one partition.
    IndexReads,
    /// Units of writing it.
    IndexWrites,
    /// Units of writing the table.
    TableWrites,
    /// Pages.
    Publish,
}

impl Quota {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::MetricCalls,
        Self::MetricPoints,
        Self::Describe,
        Self::Modify,
        Self::IndexReads,
        Self::IndexWrites,
        Self::TableWrites,
        Self::Publish,
    ];

    /// So many a second, and at most so many at once. AWS says neither how large the buckets of CloudWatch and SNS
    /// are nor what changing calls of the load balancer's may do: a second's worth, and what describing ones may.
    /// DynamoDB lends up to five minutes of what was not used, and does not promise it: none is lent here.
    #[must_use]
    pub fn published(self) -> Rate {
        let (a_second, at_once) = match self {
            Self::MetricCalls => (50.0, 50.0),
            Self::MetricPoints => (180_000.0, 180_000.0),
            Self::Describe | Self::Modify => (10.0, 40.0),
            Self::IndexReads => (3_000.0, 3_000.0),
            Self::IndexWrites => (1_000.0, 1_000.0),
            Self::TableWrites => (4_000.0, 4_000.0),
            Self::Publish => (300.0, 300.0),
        };
        Rate { a_second, at_once }
    }
}

/// How much of something is let through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// In the long run.
    pub a_second: f64,
    /// After a rest.
    pub at_once: f64,
}

/// A bucket of tokens.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: Rate,
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn fill(&mut self, now: Duration) {
        let since = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + since * self.rate.a_second).min(self.rate.at_once);
        self.at = now;
    }
}

/// How often something was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Calls, those included that were tried again.
    pub calls: u64,
    /// Those that were throttled.
    pub throttled: u64,
    /// Those that were given up, throttled each time.
    pub given_up: u64,
}

/// Stands between the handler and the cloud.
#[derive(Debug)]
pub struct Network<'a, T> {
    cloud: &'a Cloud,
    time: &'a T,
    latency: Duration,
    buckets: Mutex<BTreeMap<Quota, Bucket>>,
    asked: Mutex<BTreeMap<&'static str, Asked>>,
    /// Draws how long to wait before another attempt.
    seed: Mutex<u64>,
}

impl<'a, T: Time> Network<'a, T> {
    /// A network whose every call takes `latency`, with full buckets.
    #[must_use]
    pub fn new(cloud: &'a Cloud, time: &'a T, latency: Duration) -> Self {
        let full = |rate: Rate| Bucket { rate, tokens: rate.at_once, at: Duration::ZERO };
        Self {
            cloud,
            time,
            latency,
            buckets: Mutex::new(Quota::ALL.map(|quota| (quota, full(quota.published()))).into()),
            asked: Mutex::default(),
            seed: Mutex::new(1),
        }
    }

    /// With another rate than the published one: what others in the account leave of it.
    #[must_use]
    pub fn with(self, quota: Quota, rate: Rate) -> Self {
        let bucket = Bucket { rate, tokens: rate.at_once, at: Duration::ZERO };
        lock(&self.buckets).insert(quota, bucket);
        self
    }

    /// What was asked so far, by operation.
    #[must_use]
    pub fn asked(&self) -> BTreeMap<&'static str, Asked> {
        lock(&self.asked).clone()
    }

    /// Takes what a call needs, or nothing if it can't have all of it.
    fn admits(&self, needs: &[(Quota, f64)]) -> bool {
        let mut buckets = lock(&self.buckets);
        let now = self.time.spent();
        let mut has = |quota: &Quota, need: f64| {
            let bucket = buckets.get_mut(quota).expect("every quota has a bucket");
            bucket.fill(now);
            // What is larger than the bucket waits until that is full; a bucket without room lets nothing through.
            bucket.rate.at_once > 0.0 && bucket.tokens >= need.min(bucket.rate.at_once)
        };
        if !needs.iter().all(|(quota, need)| has(quota, *need)) {
            return false;
        }
        for (quota, need) in needs {
            buckets.get_mut(quota).expect("every quota has a bucket").tokens -= need;
        }
        true
    }

    /// Sends one call, as often as the SDK does.
    async fn send(&self, operation: Operation, needs: &[(Quota, f64)]) -> Result<(), Failure> {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.time.wait((BACKOFF * (1 << (attempt - 1))).mul_f64(self.draw())).await;
            }
            self.time.wait(self.latency).await;
            let admitted = self.admits(needs);
            self.note(operation, |asked| {
                asked.calls += 1;
                asked.throttled += u64::from(!admitted);
            });
            if admitted {
                return Ok(());
            }
        }
        self.note(operation, |asked| asked.given_up += 1);
        Err(throttled(operation))
    }

    fn note(&self, operation: Operation, note: impl FnOnce(&mut Asked)) {
        note(lock(&self.asked).entry(operation.name()).or_default());
    }

    /// From 0 to 1.
    fn draw(&self) -> f64 {
        let mut seed = lock(&self.seed);
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 11) as f64 / (1_u64 << 53) as f64
    }

    async fn write(&self, operation: Operation, bytes: usize) -> Result<(), Failure> {
        self.send(operation, &[(Quota::TableWrites, write_units(bytes))]).await
    }

    /// The index holds records whole.
    async fn write_record(&self, operation: Operation, record: &Record) -> Result<(), Failure> {
        let units = write_units(record_bytes(record));
        self.send(operation, &[(Quota::TableWrites, units), (Quota::IndexWrites, units)]).await
    }

    /// One page after the other.
    async fn read_index(&self, operation: Operation, records: &[Record]) -> Result<(), Failure> {
        let mut left: usize = records.iter().map(record_bytes).sum();
        loop {
            let page = left.min(QUERY_PAGE);
            self.send(operation, &[(Quota::IndexReads, page.div_ceil(INDEX_READ_UNIT) as f64)]).await?;
            left -= page;
            if left == 0 {
                return Ok(());
            }
        }
    }
}

fn lock<V>(mutex: &Mutex<V>) -> std::sync::MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn throttled(operation: Operation) -> Failure {
    failure(operation, FailureKind::Throttled, "Rate exceeded")
}

fn write_units(bytes: usize) -> f64 {
    bytes.max(1).div_ceil(WRITE_UNIT) as f64
}

/// One GetMetricData call.
#[derive(Debug, Clone, Default, PartialEq)]
struct MetricCall {
    /// Indices of the requests that it serves.
    serves: Vec<usize>,
    queries: usize,
    range: Option<(Minute, Minute)>,
}

impl MetricCall {
    fn with(&self, request: usize, queries: usize, from: Minute, until: Minute) -> Self {
        let range = self.range.map_or((from, until), |(first, last)| (first.min(from), last.max(until)));
        let serves = self.serves.iter().copied().chain([request]).collect();
        Self { serves, queries: self.queries + queries, range: Some(range) }
    }

    fn points(&self) -> usize {
        let minutes = self.range.map_or(0, |(from, until)| until.since(from));
        self.queries * usize::try_from(minutes).unwrap_or(0)
    }

    fn fits(&self) -> bool {
        self.queries <= CALL_QUERIES && self.points() <= CALL_POINTS
    }
}

/// Spreads requests over calls as the adapter does: neighbours in time go together, and what exceeds a call is cut.
fn metric_calls(requests: &[MetricRequest]) -> Vec<MetricCall> {
    let mut by_time: Vec<_> = requests.iter().enumerate().collect();
    by_time.sort_by_key(|(_, request)| request.from);
    let mut calls: Vec<MetricCall> = Vec::new();
    for (index, request) in by_time {
        let mut left: usize = request.statistics().iter().sum();
        while left > 0 {
            let queries = left.min(CALL_QUERIES);
            left -= queries;
            let longest = i64::try_from(CALL_POINTS / queries).unwrap_or(i64::MAX);
            let mut from = request.from;
            while from < request.until {
                let until = from.plus(longest).min(request.until);
                match calls.last().map(|call| call.with(index, queries, from, until)).filter(MetricCall::fits)
                {
                    Some(wider) => *calls.last_mut().expect("there is a call that was widened") = wider,
                    None => calls.push(MetricCall::default().with(index, queries, from, until)),
                }
                from = until;
            }
        }
    }
    calls
}

impl<T: Time> MetricSource for Network<'_, T> {
    async fn read_metrics(&self, requests: &[MetricRequest]) -> Vec<Result<MetricRead, Failure>> {
        let calls = metric_calls(requests);
        let sent = join_all(calls.iter().map(|call| async move {
            let needs = [(Quota::MetricCalls, 1.0), (Quota::MetricPoints, call.points() as f64)];
            self.send(Operation::ReadMetrics, &needs).await
        }));
        let sent = sent.await;
        let mut reads = self.cloud.read_metrics(requests).await;
        for (call, _) in calls.iter().zip(&sent).filter(|(_, sent)| sent.is_err()) {
            for request in &call.serves {
                reads[*request] = Err(throttled(Operation::ReadMetrics));
            }
        }
        reads
    }
}

impl<T: Time> TrafficRouter for Network<'_, T> {
    type Snapshot = Rule;

    async fn read_splits(&self, targets: &[Targets]) -> Vec<Result<(Split, Rule), Failure>> {
        let mut rules: Vec<&str> = targets.iter().map(|pair| pair.listener_rule.as_str()).collect();
        rules.sort_unstable();
        rules.dedup();
        let one = [(Quota::Describe, 1.0)];
        let sent = join_all(rules.chunks(CALL_RULES).map(|_| self.send(Operation::ReadSplits, &one))).await;
        let mut splits = self.cloud.read_splits(targets).await;
        for (lost, _) in rules.chunks(CALL_RULES).zip(&sent).filter(|(_, sent)| sent.is_err()) {
            for (pair, split) in targets.iter().zip(&mut splits) {
                if lost.contains(&pair.listener_rule.as_str()) {
                    *split = Err(throttled(Operation::ReadSplits));
                }
            }
        }
        splits
    }

    async fn write_split(&self, targets: &Targets, snapshot: &Rule, write: Write) -> Result<Split, Failure> {
        self.send(Operation::WriteSplit, &[(Quota::Modify, 1.0)]).await?;
        self.cloud.write_split(targets, snapshot, write).await
    }

    async fn healthy_targets(&self, targets: &Targets, arm: Arm) -> Result<u32, Failure> {
        self.send(Operation::HealthyTargets, &[(Quota::Describe, 1.0)]).await?;
        self.cloud.healthy_targets(targets, arm).await
    }
}

impl<T: Time> RecordStore for Network<'_, T> {
    async fn running(&self) -> Result<Running, Failure> {
        let running = self.cloud.running().await?;
        self.read_index(Operation::Running, &running.records).await?;
        Ok(running)
    }

    async fn get(&self, rollout: &str) -> Result<Option<Record>, Failure> {
        self.send(Operation::Get, &[]).await?;
        self.cloud.get(rollout).await
    }

    async fn list(&self) -> Result<Vec<Record>, Failure> {
        let records = self.cloud.list().await?;
        self.read_index(Operation::List, &records).await?;
        Ok(records)
    }

    async fn create(&self, record: &Record) -> Result<Record, Failure> {
        self.write_record(Operation::Create, record).await?;
        self.cloud.create(record).await
    }

    async fn put(&self, record: &Record) -> Result<Record, Failure> {
        self.write_record(Operation::Put, record).await?;
        self.cloud.put(record).await
    }

    async fn freeze(&self) -> Result<Option<Audit>, Failure> {
        self.send(Operation::Freeze, &[]).await?;
        RecordStore::freeze(self.cloud).await
    }

    async fn set_freeze(&self, freeze: Option<&Audit>) -> Result<(), Failure> {
        self.write(Operation::SetFreeze, SMALL).await?;
        self.cloud.set_freeze(freeze).await
    }

    async fn guard(&self, of: &str) -> Result<Option<Guard>, Failure> {
        self.send(Operation::Guard, &[]).await?;
        self.cloud.guard(of).await
    }

    async fn guards(&self) -> Result<Vec<Guard>, Failure> {
        self.send(Operation::Guards, &[]).await?;
        self.cloud.guards().await
    }

    async fn set_guard(&self, of: &str, guard: Option<&Guard>) -> Result<(), Failure> {
        self.write(Operation::SetGuard, json_bytes(&guard)).await?;
        self.cloud.set_guard(of, guard).await
    }

    async fn take_once(&self, key: &str, until: Timestamp) -> Result<bool, Failure> {
        self.write(Operation::TakeOnce, SMALL).await?;
        self.cloud.take_once(key, until).await
    }

    async fn log(&self, entry: &LogEntry) -> Result<(), Failure> {
        self.write(Operation::Log, json_bytes(entry)).await?;
        self.cloud.log(entry).await
    }

    async fn history(&self, rollout: &str, limit: u32) -> Result<Vec<LogEntry>, Failure> {
        self.send(Operation::History, &[]).await?;
        self.cloud.history(rollout, limit).await
    }
}

impl<T: Time> Deployments for Network<'_, T> {
    async fn deployment(&self, owner: &Owner) -> Result<Deployment, Failure> {
        self.send(Operation::Deployment, &[]).await?;
        self.cloud.deployment(owner).await
    }

    async fn find_targets(&self, owner: &Owner) -> Result<Targets, Failure> {
        self.send(Operation::FindTargets, &[]).await?;
        self.cloud.find_targets(owner).await
    }

    async fn tell(&self, waiting: &Waiting, told: &Told) -> Result<(), Failure> {
        self.send(Operation::Tell, &[]).await?;
        self.cloud.tell(waiting, told).await
    }

    async fn stop(&self, owner: &Owner) -> Result<(), Failure> {
        self.send(Operation::Stop, &[]).await?;
        self.cloud.stop(owner).await
    }
}

impl<T: Time> Pager for Network<'_, T> {
    async fn page(&self, message: &Message) -> Result<(), Failure> {
        self.send(Operation::Page, &[(Quota::Publish, 1.0)]).await?;
        self.cloud.page(message).await
    }
}
