//! Counters by the minute, published late.
//!
//! The newest minute is missing, the one before it is there in part, and answers come after requests: a
//! reader who looks too early sees requests without answers and takes them for errors. That is why the
//! handler waits for a watermark. Zero is never published, only absent; `RequestCount` alone has a point for
//! every minute, as a group with registered targets gives it.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::{SignedDuration, Timestamp};

use super::faults::Flaw;
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
    groups: BTreeMap<String, Group>,
}

/// The metrics of one group.
#[derive(Debug, Clone, Default)]
struct Group {
    counts: BTreeMap<Minute, Counts>,
    /// Minutes that go wrong.
    flaws: BTreeMap<Minute, Flaw>,
}

impl Group {
    /// What a reader at `now` gets of a minute.
    fn read(
        &self,
        minute: Minute,
        edges: Option<&[Edge]>,
        publication: Publication,
        now: Timestamp,
    ) -> Option<ArmCounts> {
        let mut counts = self.counts.get(&minute)?;
        let flaw = if self.flaws.is_empty() { None } else { self.flaws.get(&minute) };
        let age = now.duration_since(minute.plus(1).start());
        let older_than = |seconds: i64| age >= SignedDuration::from_secs(seconds);
        let late = match flaw {
            Some(Flaw::Missing) => return None,
            Some(Flaw::Late(seconds)) => *seconds,
            Some(Flaw::Corrected { first, after_s }) => {
                if !older_than(publication.whole_after_s + after_s) {
                    counts = first;
                }
                0
            }
            None => 0,
        };
        if older_than(publication.whole_after_s + late) {
            let latency = edges.and_then(|edges| distribution(&counts.latency_bins, edges));
            Some(ArmCounts { latency, ..published(counts.requests, counts.answers) })
        } else if late == 0 && older_than(publication.partial_after_s) {
            // Two of three nodes have reported their requests, and one of them its answers.
            Some(published(counts.requests * 2 / 3, counts.answers.map(|answers| answers / 3)))
        } else {
            None
        }
    }
}

impl CloudWatch {
    fn group(&mut self, group: &str) -> &mut Group {
        if !self.groups.contains_key(group) {
            self.groups.insert(group.to_owned(), Group::default());
        }
        self.groups.get_mut(group).expect("it was just inserted")
    }

    /// Adds to a minute of a group. Adding nothing at all still makes the minute exist.
    pub(super) fn add(&mut self, group: &str, minute: Minute, more: &Counts) {
        let counts = self.group(group).counts.entry(minute).or_default();
        counts.requests += more.requests;
        for (sum, answers) in counts.answers.iter_mut().zip(more.answers) {
            *sum += answers;
        }
        for (bin, samples) in &more.latency_bins {
            *counts.latency_bins.entry(*bin).or_default() += samples;
        }
    }

    /// Lets a minute of a group go wrong.
    pub(super) fn flaw(&mut self, group: &str, minute: Minute, flaw: Flaw) {
        self.group(group).flaws.insert(minute, flaw);
    }

    /// What a reader at `now` gets of each of some minutes in a row.
    pub(super) fn read(
        &self,
        group: &str,
        minutes: Range<Minute>,
        edges: Option<&[Edge]>,
        now: Timestamp,
    ) -> Vec<Option<ArmCounts>> {
        let group = self.groups.get(group);
        let read = |at| group.and_then(|group| group.read(at, edges, self.publication, now));
        (0..minutes.end.since(minutes.start)).map(|at| read(minutes.start.plus(at))).collect()
    }

    /// Response times of a minute, bin by bin, as soon as they were counted.
    pub(super) fn latency_bins(&self, group: &str, minute: Minute) -> BTreeMap<i32, u64> {
        let counts = self.groups.get(group).and_then(|group| group.counts.get(&minute));
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
        let now = minute().plus(1).start() + SignedDuration::from_secs(seconds_after);
        read_at(metrics, "g", now)
    }

    fn read_at(metrics: &CloudWatch, group: &str, now: Timestamp) -> Option<ArmCounts> {
        metrics.read(group, minute()..minute().plus(1), Some(&EDGES), now).pop().unwrap()
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
        let idle = read_at(&metrics, "idle", minute().plus(5).start()).unwrap();
        assert_eq!(idle, ArmCounts::default());
        assert_eq!(read_at(&metrics, "unknown", minute().plus(5).start()), None);
    }

    #[test]
    fn a_late_minute_comes_later() {
        let mut metrics = cloudwatch();
        metrics.flaw("g", minute(), Flaw::Late(240));
        assert_eq!(read(&metrics, 200), None);
        assert_eq!(read(&metrics, 331).unwrap().requests, 99);
    }

    #[test]
    fn a_missing_minute_never_comes_and_its_neighbours_do() {
        let mut metrics = cloudwatch();
        metrics.add("g", minute().plus(1), &Counts { requests: 5, ..Counts::default() });
        metrics.flaw("g", minute(), Flaw::Missing);
        let rows = metrics.read("g", minute()..minute().plus(3), None, minute().plus(90).start());
        let requests: Vec<_> = rows.iter().map(|row| row.as_ref().map(|row| row.requests)).collect();
        assert_eq!(requests, [None, Some(5), None]);
    }

    #[test]
    fn a_corrected_minute_is_first_wrong_and_then_right() {
        let mut metrics = cloudwatch();
        let first = Counts { requests: 40, answers: [10, 0, 0, 30], ..Counts::default() };
        metrics.flaw("g", minute(), Flaw::Corrected { first, after_s: 300 });
        assert_eq!(read(&metrics, 125).map(|row| (row.requests, row.http_5xx)), Some((40, Some(30))));
        assert_eq!(read(&metrics, 389).unwrap().requests, 40);
        assert_eq!(read(&metrics, 390).map(|row| (row.requests, row.http_5xx)), Some((99, Some(3))));
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
