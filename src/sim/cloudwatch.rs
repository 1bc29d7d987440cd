//! Counters by the minute, published late.
//!
//! The newest minute is missing, the one before it is there in part, and answers come after requests: a
//! reader who looks too early sees requests without answers and takes them for errors. That is why the
//! handler waits for a watermark. Zero is never published, only absent; `RequestCount` alone has a point for
//! every minute, as a group with registered targets gives it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::analysis::edge::Edge;
use crate::analysis::window::{ArmCounts, Distribution};
use crate::units::Minute;

/// What one group did in one minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were routed to it.
    pub requests: u64,
    /// Answers by class: 2xx to 5xx.
    pub answers: [u64; 4],
    /// Response times: key k counts those from 1.1^k up to 1.1^(k+1) seconds.
    pub latency_bins: BTreeMap<i32, u64>,
}

/// How late the world learns of a minute, in seconds after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publication {
    /// The first load balancer nodes have reported.
    pub partial_after_s: i64,
    /// All have.
    pub whole_after_s: i64,
}

impl Default for Publication {
    /// What users of the service report: a minute is there after one, and stands after less than two.
    fn default() -> Self {
        Self { partial_after_s: 30, whole_after_s: 90 }
    }
}

/// The metrics of all groups.
#[derive(Debug, Clone, Default)]
pub(super) struct CloudWatch {
    pub(super) publication: Publication,
    counts: BTreeMap<(String, Minute), Counts>,
    /// Minutes that come later than usual, by so many seconds, and then whole.
    late: BTreeMap<(String, Minute), i64>,
}

impl CloudWatch {
    /// Adds to a minute of a group. Adding nothing at all still makes the minute exist.
    pub(super) fn add(&mut self, group: &str, minute: Minute, more: &Counts) {
        let counts = self.counts.entry((group.to_owned(), minute)).or_default();
        counts.requests += more.requests;
        for (sum, answers) in counts.answers.iter_mut().zip(more.answers) {
            *sum += answers;
        }
        for (bin, samples) in &more.latency_bins {
            *counts.latency_bins.entry(*bin).or_default() += samples;
        }
    }

    /// Holds back a minute of a group.
    pub(super) fn delay(&mut self, group: &str, minute: Minute, seconds: i64) {
        self.late.insert((group.to_owned(), minute), seconds);
    }

    /// What a reader at `now` gets of a minute.
    pub(super) fn read(
        &self,
        group: &str,
        minute: Minute,
        edges: Option<&[Edge]>,
        now: Timestamp,
    ) -> Option<ArmCounts> {
        let key = (group.to_owned(), minute);
        let counts = self.counts.get(&key)?;
        let extra = self.late.get(&key).copied().unwrap_or(0);
        let age = now.duration_since(minute.plus(1).start());
        let older_than = |seconds: i64| age >= SignedDuration::from_secs(seconds);
        if older_than(self.publication.whole_after_s + extra) {
            let latency = edges.and_then(|edges| distribution(&counts.latency_bins, edges));
            Some(ArmCounts { latency, ..published(counts.requests, counts.answers) })
        } else if extra == 0 && older_than(self.publication.partial_after_s) {
            // Two of three nodes have reported their requests, and one of them its answers.
            Some(published(counts.requests * 2 / 3, counts.answers.map(|answers| answers / 3)))
        } else {
            None
        }
    }

    /// Response times of a minute, bin by bin, as soon as they were counted.
    pub(super) fn latency_bins(&self, group: &str, minute: Minute) -> BTreeMap<i32, u64> {
        let counts = self.counts.get(&(group.to_owned(), minute));
        counts.map(|counts| counts.latency_bins.clone()).unwrap_or_default()
    }
}

/// What `SampleCount` and `TC(:edge)` give; nothing without samples.
fn distribution(bins: &BTreeMap<i32, u64>, edges: &[Edge]) -> Option<Distribution> {
    let count: u64 = bins.values().sum();
    let below = |edge: &Edge| (edge.0, bins.range(..edge.0).map(|(_, samples)| samples).sum());
    (count > 0).then(|| Distribution { count, le: edges.iter().map(below).collect() })
}

/// Only `RequestCount` has zeros.
fn published(requests: u64, answers: [u64; 4]) -> ArmCounts {
    let [http_2xx, http_3xx, http_4xx, http_5xx] = answers.map(|count| (count > 0).then_some(count));
    ArmCounts { requests, http_2xx, http_3xx, http_4xx, http_5xx, ..ArmCounts::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: [Edge; 3] = [Edge(-25), Edge(-24), Edge(-20)];

    fn minute() -> Minute {
        "2026-03-01T10:00:00Z".parse().unwrap()
    }

    fn cloudwatch() -> CloudWatch {
        let mut metrics = CloudWatch::default();
        let latency_bins = BTreeMap::from([(-25, 50), (-23, 49)]);
        metrics.add("g", minute(), &Counts { requests: 99, answers: [96, 0, 0, 3], latency_bins });
        metrics
    }

    fn read(metrics: &CloudWatch, seconds_after: i64) -> Option<ArmCounts> {
        metrics.read(
            "g",
            minute(),
            Some(&EDGES),
            minute().plus(1).start() + SignedDuration::from_secs(seconds_after),
        )
    }

    #[test]
    fn the_newest_minute_is_missing_then_partial_then_whole() {
        let metrics = cloudwatch();
        assert_eq!(read(&metrics, 5), None);
        let partial = read(&metrics, 65).unwrap();
        assert_eq!((partial.requests, partial.answered()), (66, Some(33)));
        let whole = read(&metrics, 125).unwrap();
        assert_eq!((whole.requests, whole.answered()), (99, Some(99)));
    }

    #[test]
    fn zero_is_missing_but_for_requests() {
        let mut metrics = cloudwatch();
        let whole = read(&metrics, 125).unwrap();
        assert_eq!((whole.http_4xx, whole.http_5xx), (None, Some(3)));
        metrics.add("idle", minute(), &Counts::default());
        let idle = metrics.read("idle", minute(), Some(&EDGES), minute().plus(5).start()).unwrap();
        assert_eq!(idle, ArmCounts::default());
        assert_eq!(metrics.read("unknown", minute(), None, minute().plus(5).start()), None);
    }

    #[test]
    fn a_late_minute_comes_later() {
        let mut metrics = cloudwatch();
        metrics.delay("g", minute(), 240);
        assert_eq!(read(&metrics, 200), None);
        assert_eq!(read(&metrics, 331).unwrap().requests, 99);
    }

    #[test]
    fn response_times_are_cumulative_counts_below_the_edges_asked_for() {
        let metrics = cloudwatch();
        let latency = read(&metrics, 125).unwrap().latency.unwrap();
        assert_eq!(latency.count, 99);
        assert_eq!(latency.le, BTreeMap::from([(-25, 0), (-24, 50), (-20, 99)]));
        assert_eq!(read(&metrics, 65).unwrap().latency, None);
    }
}
