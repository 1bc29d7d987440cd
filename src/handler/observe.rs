//! Gathers what a tick knows of a group of rollouts: one read of the metrics and one of the rules for all of them.

use jiff::Timestamp;

use crate::analysis::check::Check;
use crate::analysis::verdict::Judgement;
use crate::analysis::window::{Arm, Window};
use crate::analysis::{Conditions, judge};
use crate::ports::{
    Failure, FailureKind, MetricRead, MetricRequest, Platform, RecordStore, Series, Split, TrafficRouter,
};
use crate::rollout::decide::Clearance;
use crate::rollout::plan::BASELINE;
use crate::rollout::record::{Audit, Record};
use crate::rollout::verify::{MINUTES_AFTER, MINUTES_BEFORE};
use crate::units::{Minute, Span};

/// What was seen of one rollout.
pub(super) struct Sight<S> {
    /// How the rule splits its traffic, and the rule itself for writing back.
    pub(super) split: Result<(Split, S), Failure>,
    /// The minutes of both arms.
    pub(super) window: Window,
    /// What of them could not be read whole.
    pub(super) unread: Option<String>,
    /// Too much was asked at once: a little later it can be read.
    pub(super) throttled: Throttled,
}

/// What was throttled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Throttled {
    /// The read of the metrics.
    pub(super) metrics: bool,
    /// The read of the rules.
    pub(super) rules: bool,
}

impl<S> Sight<S> {
    /// What the judge makes of it, and what it was told beside the window.
    pub(super) fn judged(&self, record: &Record) -> (Conditions, Judgement) {
        let conditions = Conditions { unread: self.unread.clone(), ..record.conditions() };
        let judgement = judge(&self.window, &record.plan.rules, &conditions);
        (conditions, judgement)
    }

    /// The canary's requests, minute by minute. A minute without a point of the canary's had none, if there is one of
    /// stable's: else nothing is known of it.
    pub(super) fn canary_requests(&self) -> Result<Vec<(Minute, u64)>, &str> {
        match &self.unread {
            Some(unread) => Err(unread),
            None => Ok(self
                .window
                .rows()
                .filter(|row| row.canary.is_some() || row.stable.is_some())
                .map(|row| (row.minute, row.canary.as_ref().map_or(0, |counts| counts.requests)))
                .collect()),
        }
    }
}

/// The minutes that a tick needs of a rollout, up to the last one that CloudWatch no longer changes. A
/// judgement rests on all since an hour before the start; after a drain, those round it are enough.
pub(super) fn metric_request(record: &Record, now: Timestamp, watermark: Span) -> MetricRequest {
    let mut until = Minute::of(now).plus(-watermark.whole_minutes());
    let (from, series) = if record.phase.is_terminal() {
        let drained = Minute::of(record.since);
        // Without a watch only pages are left to be sent.
        until = if record.drain.is_some() { until.min(drained.plus(MINUTES_AFTER)) } else { drained };
        (drained.plus(-MINUTES_BEFORE), Vec::new())
    } else {
        let settled = record.conditions().thresholds;
        let of_check = |check: &Check| Series::of(check, settled.get(&check.name));
        let series = record.plan.rules.checks.iter().filter_map(of_check).collect();
        (Minute::of(record.started.at).plus(-BASELINE.whole_minutes()), series)
    };
    MetricRequest { targets: record.plan.targets.clone(), from, until: until.max(from), series }
}

/// Reads metrics and rules, at the same time. Without metrics if there is no room for them: that is as if they had
/// been throttled.
pub(super) async fn observe<P: Platform>(
    platform: &P,
    records: &[&Record],
    now: Timestamp,
    watermark: Span,
    with_metrics: bool,
) -> Vec<Sight<P::Snapshot>> {
    let requests: Vec<_> = records.iter().map(|r| metric_request(r, now, watermark)).collect();
    let targets: Vec<_> = records.iter().map(|r| r.plan.targets.clone()).collect();
    let reads = async {
        match with_metrics {
            true => platform.read_metrics(&requests).await,
            false => requests.iter().map(|_| Err(no_room())).collect(),
        }
    };
    let (reads, splits) = futures_util::future::join(reads, platform.read_splits(&targets)).await;
    let sights = records.iter().zip(reads).zip(splits);
    sights.map(|((record, read), split)| sight(record, read, split)).collect()
}

fn no_room() -> Failure {
    Failure {
        operation: "reading metrics",
        kind: FailureKind::Throttled,
        detail: "the account's quota did not suffice for this rollout".to_owned(),
        source: None,
    }
}

fn sight<S>(
    record: &Record,
    read: Result<MetricRead, Failure>,
    split: Result<(Split, S), Failure>,
) -> Sight<S> {
    let is_throttled = |failure: &Failure| failure.kind == FailureKind::Throttled;
    let throttled = Throttled {
        metrics: read.as_ref().err().is_some_and(is_throttled),
        rules: split.as_ref().err().is_some_and(is_throttled),
    };
    let (rows, complete) = match read {
        Ok(read) => (read.rows, read.complete),
        Err(failure) => (Vec::new(), Err(failure.to_string())),
    };
    let with_share = rows.into_iter().map(|mut row| {
        row.share = record.share_at(row.minute);
        row
    });
    Sight { split, throttled, window: with_share.collect(), unread: complete.err() }
}

/// What was found out before weights are written.
#[derive(Debug, Default)]
pub(super) struct Cleared {
    healthy_targets: Option<Result<u32, String>>,
    /// Why targets were not read, as the call failed.
    pub(super) failure: Option<Failure>,
    rule_is_gone: bool,
    freeze: Option<Result<Option<Audit>, String>>,
}

impl Cleared {
    /// In the words of the decision.
    pub(super) fn clearance(&self) -> Clearance<'_> {
        let targets = self.healthy_targets.as_ref();
        let freeze = self.freeze.as_ref();
        Clearance {
            rule_is_gone: self.rule_is_gone,
            healthy_targets: targets.map(|read| read.as_ref().copied().map_err(String::as_str)),
            freeze: freeze.map(|read| read.as_ref().map(Option::as_ref).map_err(String::as_str)),
        }
    }
}

/// Looks at the arm that is to take the traffic, and on the way up whether all rollouts are frozen.
pub(super) async fn clear<P: Platform>(
    platform: &P,
    record: &Record,
    arm: Option<Arm>,
    unread: Option<&Failure>,
) -> Cleared {
    let rule_is_gone = unread.is_some_and(|failure| failure.kind == FailureKind::NotFound);
    let known = Cleared { rule_is_gone, ..Cleared::default() };
    let Some(arm) = arm else { return known };
    let targets = healthy_targets(platform, record, arm);
    let (targets, freeze) = if arm == Arm::Stable {
        (targets.await, None)
    } else {
        let (targets, freeze) = futures_util::future::join(targets, RecordStore::freeze(platform)).await;
        (targets, Some(freeze.map_err(|f| f.to_string())))
    };
    let read = targets.as_ref().copied().map_err(ToString::to_string);
    Cleared { healthy_targets: Some(read), failure: targets.err(), freeze, ..known }
}

/// Healthy targets of one arm.
pub(super) async fn healthy_targets<P: TrafficRouter>(
    router: &P,
    record: &Record,
    arm: Arm,
) -> Result<u32, Failure> {
    router.healthy_targets(&record.plan.targets, arm).await
}
