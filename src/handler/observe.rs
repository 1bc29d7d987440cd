//! Gathers what a tick knows of its rollouts: one read of the metrics and one of the rules for all of them.

use jiff::Timestamp;

use crate::analysis::check::Check;
use crate::analysis::verdict::Judgement;
use crate::analysis::window::{Arm, Window};
use crate::analysis::{Conditions, judge};
use crate::ports::{Failure, MetricRead, MetricRequest, Platform, Series, Split, TrafficRouter};
use crate::rollout::plan::BASELINE;
use crate::rollout::record::Record;
use crate::units::{Minute, Span};

/// What was seen of one rollout.
pub(super) struct Sight<S> {
    /// How the rule splits its traffic, and the rule itself for writing back.
    pub(super) split: Result<(Split, S), Failure>,
    /// The minutes of both arms.
    pub(super) window: Window,
    /// What the judge was told beside them.
    pub(super) conditions: Conditions,
    /// What the judge makes of them.
    pub(super) judgement: Judgement,
}

/// The minutes that a rollout's judgement rests on: from an hour before its start to the last minute that
/// CloudWatch no longer changes.
pub(super) fn metric_request(record: &Record, now: Timestamp, watermark: Span) -> MetricRequest {
    let minutes = |span: Span| i64::try_from(span.minutes()).unwrap_or(i64::MAX);
    let from = Minute::of(record.started.at).plus(-minutes(BASELINE));
    let until = Minute::of(now).plus(-minutes(watermark));
    let settled = record.conditions().thresholds;
    let of_check = |check: &Check| Series::of(check, settled.get(&check.name));
    let series = record.plan.rules.checks.iter().filter_map(of_check).collect();
    MetricRequest { targets: record.plan.targets.clone(), from, until: until.max(from), series }
}

/// Reads metrics and rules, at the same time, and judges.
pub(super) async fn observe<P: Platform>(
    platform: &P,
    records: &[Record],
    now: Timestamp,
    watermark: Span,
) -> Vec<Sight<P::Snapshot>> {
    let requests: Vec<_> = records.iter().map(|r| metric_request(r, now, watermark)).collect();
    let targets: Vec<_> = records.iter().map(|r| r.plan.targets.clone()).collect();
    let (reads, splits) =
        futures_util::future::join(platform.read_metrics(&requests), platform.read_splits(&targets)).await;
    let sights = records.iter().zip(reads).zip(splits);
    sights.map(|((record, read), split)| sight(record, read, split)).collect()
}

fn sight<S>(
    record: &Record,
    read: Result<MetricRead, Failure>,
    split: Result<(Split, S), Failure>,
) -> Sight<S> {
    let (rows, complete) = match read {
        Ok(read) => (read.rows, read.complete),
        Err(failure) => (Vec::new(), Err(failure.to_string())),
    };
    let with_share = rows.into_iter().map(|mut row| {
        row.share = record.share_at(row.minute);
        row
    });
    let window: Window = with_share.collect();
    let conditions = Conditions { unread: complete.err(), ..record.conditions() };
    let judgement = judge(&window, &record.plan.rules, &conditions);
    Sight { split, window, conditions, judgement }
}

/// Healthy targets of one arm.
pub(super) async fn healthy_targets<P: TrafficRouter>(
    router: &P,
    record: &Record,
    arm: Arm,
) -> Result<u32, Failure> {
    let targets = &record.plan.targets;
    let group = match arm {
        Arm::Stable => &targets.stable,
        Arm::Canary => &targets.canary,
    };
    router.healthy_targets(group).await
}
