//! Counts what is asked of the cloud, in the units that AWS charges by.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use super::Cloud;
use super::alb::Rule;
use crate::analysis::window::Arm;
use crate::ports::{
    Deployment, Deployments, Failure, Message, MetricRead, MetricRequest, MetricSource, Pager, RecordStore,
    Running, Split, TrafficRouter,
};
use crate::rollout::effect::Write;
use crate::rollout::gate::{Guard, Owner, Told, Waiting};
use crate::rollout::plan::Targets;
use crate::rollout::record::{Audit, LogEntry, Record};

/// Bytes of one unit of writing.
pub(super) const WRITE_UNIT: usize = 1_024;
/// Bytes of one unit of consistent reading.
const READ_UNIT: usize = 4_096;
/// Keys, names and small attributes of a record's item beside its body.
const RECORD_BESIDE: usize = 260;
/// The same of an entry of the decision log.
const LOG_BESIDE: usize = 130;
/// Other items are of one unit.
pub(super) const SMALL: usize = 500;

/// What was asked of the cloud.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Metrics as `GetMetricData` charges them.
    pub metrics: u64,
    /// Units of reading the table: one for 4 KB, half a one where the newest state is not needed.
    pub read_units: f64,
    /// Units of writing the table and its index: one for each KB.
    pub write_units: u64,
    /// Bytes that the decision log has got.
    pub logged_bytes: u64,
    /// Pages.
    pub pages: u64,
}

/// Stands between the handler and the cloud.
#[derive(Debug)]
pub struct Meter<'a> {
    cloud: &'a Cloud,
    usage: Mutex<Usage>,
}

impl<'a> Meter<'a> {
    /// Nothing was asked yet.
    #[must_use]
    pub fn new(cloud: &'a Cloud) -> Self {
        Self { cloud, usage: Mutex::new(Usage::default()) }
    }

    /// What was asked so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, add: impl FnOnce(&mut Usage)) {
        add(&mut self.usage.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A read that must see what was just written.
    fn reads_newest(&self, bytes: usize) {
        self.count(|usage| usage.read_units += units(bytes, READ_UNIT));
    }

    /// The index is read as it is, which costs half.
    fn reads_index(&self, bytes: usize) {
        self.count(|usage| usage.read_units += units(bytes, READ_UNIT) / 2.0);
    }

    fn writes(&self, bytes: usize) {
        self.count(|usage| usage.write_units += bytes.max(1).div_ceil(WRITE_UNIT) as u64);
    }

    /// The index holds records whole, so each is written twice.
    fn writes_record(&self, record: &Record) {
        let bytes = record_bytes(record);
        self.writes(bytes);
        self.writes(bytes);
    }
}

/// Units of so many bytes; what is not there is charged as the smallest item.
#[expect(clippy::cast_precision_loss, reason = "no table is so large")]
fn units(bytes: usize, unit: usize) -> f64 {
    bytes.max(1).div_ceil(unit) as f64
}

pub(super) fn json_bytes(body: &impl Serialize) -> usize {
    serde_json::to_vec(body).map_or(0, |json| json.len())
}

pub(super) fn record_bytes(record: &Record) -> usize {
    json_bytes(record) + RECORD_BESIDE
}

fn all_bytes(records: &[Record]) -> usize {
    records.iter().map(record_bytes).sum()
}

impl MetricSource for Meter<'_> {
    async fn read_metrics(&self, requests: &[MetricRequest]) -> Vec<Result<MetricRead, Failure>> {
        let metrics: usize = requests.iter().map(MetricRequest::charged_metrics).sum();
        self.count(|usage| usage.metrics += metrics as u64);
        self.cloud.read_metrics(requests).await
    }
}

impl TrafficRouter for Meter<'_> {
    type Snapshot = Rule;

    async fn read_splits(&self, targets: &[Targets]) -> Vec<Result<(Split, Rule), Failure>> {
        self.cloud.read_splits(targets).await
    }

    async fn write_split(&self, targets: &Targets, snapshot: &Rule, write: Write) -> Result<Split, Failure> {
        self.cloud.write_split(targets, snapshot, write).await
    }

    async fn healthy_targets(&self, targets: &Targets, arm: Arm) -> Result<u32, Failure> {
        self.cloud.healthy_targets(targets, arm).await
    }
}

impl RecordStore for Meter<'_> {
    async fn running(&self) -> Result<Running, Failure> {
        let running = self.cloud.running().await?;
        self.reads_index(all_bytes(&running.records));
        Ok(running)
    }

    async fn get(&self, rollout: &str) -> Result<Option<Record>, Failure> {
        let record = self.cloud.get(rollout).await?;
        self.reads_newest(record.as_ref().map_or(0, record_bytes));
        Ok(record)
    }

    async fn list(&self) -> Result<Vec<Record>, Failure> {
        let records = self.cloud.list().await?;
        self.reads_index(all_bytes(&records));
        Ok(records)
    }

    async fn create(&self, record: &Record) -> Result<Record, Failure> {
        self.writes_record(record);
        self.cloud.create(record).await
    }

    async fn put(&self, record: &Record) -> Result<Record, Failure> {
        self.writes_record(record);
        self.cloud.put(record).await
    }

    async fn freeze(&self) -> Result<Option<Audit>, Failure> {
        self.reads_newest(SMALL);
        RecordStore::freeze(self.cloud).await
    }

    async fn set_freeze(&self, freeze: Option<&Audit>) -> Result<(), Failure> {
        self.writes(SMALL);
        self.cloud.set_freeze(freeze).await
    }

    async fn guard(&self, of: &str) -> Result<Option<Guard>, Failure> {
        self.reads_newest(SMALL);
        self.cloud.guard(of).await
    }

    async fn guards(&self) -> Result<Vec<Guard>, Failure> {
        let guards = self.cloud.guards().await?;
        self.reads_newest(guards.iter().map(json_bytes).sum());
        Ok(guards)
    }

    async fn set_guard(&self, of: &str, guard: Option<&Guard>) -> Result<(), Failure> {
        self.writes(json_bytes(&guard));
        self.cloud.set_guard(of, guard).await
    }

    async fn take_once(&self, key: &str, until: Timestamp) -> Result<bool, Failure> {
        self.writes(SMALL);
        self.cloud.take_once(key, until).await
    }

    async fn log(&self, entry: &LogEntry) -> Result<(), Failure> {
        let bytes = json_bytes(entry) + LOG_BESIDE;
        self.writes(bytes);
        self.count(|usage| usage.logged_bytes += bytes as u64);
        self.cloud.log(entry).await
    }

    async fn history(&self, rollout: &str, limit: u32) -> Result<Vec<LogEntry>, Failure> {
        let entries = self.cloud.history(rollout, limit).await?;
        self.reads_newest(entries.iter().map(|entry| json_bytes(entry) + LOG_BESIDE).sum());
        Ok(entries)
    }
}

impl Deployments for Meter<'_> {
    async fn deployment(&self, owner: &Owner) -> Result<Deployment, Failure> {
        self.cloud.deployment(owner).await
    }

    async fn find_targets(&self, owner: &Owner) -> Result<Targets, Failure> {
        self.cloud.find_targets(owner).await
    }

    async fn tell(&self, waiting: &Waiting, told: &Told) -> Result<(), Failure> {
        self.cloud.tell(waiting, told).await
    }

    async fn stop(&self, owner: &Owner) -> Result<(), Failure> {
        self.cloud.stop(owner).await
    }
}

impl Pager for Meter<'_> {
    async fn page(&self, message: &Message) -> Result<(), Failure> {
        self.count(|usage| usage.pages += 1);
        self.cloud.page(message).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::record::Phase;
    use crate::units::Share;

    fn entry(why: usize) -> LogEntry {
        LogEntry {
            rollout: "shop".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            decision: "hold".to_owned(),
            why: "x".repeat(why),
            phase: Phase::Running,
            share: Share::ZERO,
            by: None,
            judgement: None,
            conditions: None,
            rows: Vec::new(),
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_write_costs_a_unit_for_each_begun_kilobyte_and_an_empty_index_half_a_read() {
        let cloud = Cloud::new(Timestamp::UNIX_EPOCH);
        let meter = Meter::new(&cloud);
        meter.log(&entry(1)).await.unwrap();
        assert_eq!(meter.usage().write_units, 1);
        meter.log(&entry(3 * 1_024)).await.unwrap();
        assert_eq!(meter.usage().write_units, 5);
        assert_eq!(
            meter.usage().logged_bytes,
            meter.cloud.log_entries().iter().map(|e| json_bytes(e) as u64 + 130).sum::<u64>()
        );
        meter.running().await.unwrap();
        assert!((meter.usage().read_units - 0.5).abs() < 1e-9);
        assert!(meter.get("shop").await.unwrap().is_none());
        assert!((meter.usage().read_units - 1.5).abs() < 1e-9);
    }
}
