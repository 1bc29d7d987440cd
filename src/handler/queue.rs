//! In which order a tick looks at its rollouts, how many of them at once, and how fast it asks.

use std::time::Duration;

use crate::analysis::verdict::{Reason, Verdict};
use crate::ports::MetricRequest;
use crate::rollout::record::{Phase, Record};
use crate::units::Minute;

/// Rollouts that are read in one go: as many rules as one call reads. Memory is bounded by this and by the points.
pub(super) const GROUP_ROLLOUTS: usize = 20;
/// Data points that are read in one go, one rollout excepted: as many as one GetMetricData call may have.
const GROUP_POINTS: usize = 100_800;
/// Of so many groups, all but one are of rollouts that can't wait, while there are any: those that can must not wait
/// for ever, or nobody would see when they no longer can.
const URGENT_OF: usize = 4;
/// Queries of one GetMetricData call.
const CALL_QUERIES: usize = 500;

/// How much a tick may ask, of the account and region it is in. AWS's published rates, less a tenth for others.
const POINTS: Rate = Rate { a_second: 162_000.0, at_once: 100_800.0 };
/// GetMetricData calls a second, in the points that go through in the time of one.
const POINTS_OF_CALL: f64 = 3_600.0;
/// DescribeRules calls: ten a second and forty at once, less what looking at targets takes.
const RULES: Rate = Rate { a_second: 8.0, at_once: 25.0 };

/// In which order rollouts are looked at, where there is no time for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// Its canary is to be drained, or somebody is to be told.
    Draining,
    /// There is evidence of harm.
    Suspected,
    /// None of these.
    Usual,
}

fn urgency(record: &Record) -> Urgency {
    if record.phase == Phase::Draining || !record.outbox.is_empty() {
        return Urgency::Draining;
    }
    let suspects = record.last.as_ref().is_some_and(|last| {
        let said = matches!(last.reason, Reason::HarmSuspected { .. } | Reason::SuspectedOfSticky { .. });
        // As the judge suspects, whatever he names first.
        said || last.verdict == Verdict::Harmful || last.log_e_harm >= record.plan.rules.ln_convict() / 2.0
    });
    if suspects && !record.phase.is_terminal() { Urgency::Suspected } else { Urgency::Usual }
}

fn last_ticked(record: &Record) -> Minute {
    record.last_tick.unwrap_or(Minute::of(record.started.at))
}

/// The last minute in which a rollout was seen whole, as far as its record says.
pub(super) fn last_seen(record: &Record) -> Minute {
    let ticked = last_ticked(record);
    record.unread_since.map_or(ticked, |since| ticked.min(Minute::of(since)))
}

/// The most urgent first, and of those who are alike whoever was not seen whole for longest: to be ticked without the
/// metrics is no turn, or the same ones would be without them in every tick. Neighbours in time are next to each other,
/// for a call reads the same minutes of all that it asks for.
pub(super) fn in_order(mut records: Vec<&Record>) -> Vec<&Record> {
    let key = |record: &Record| (last_seen(record), record.started.at, record.plan.rollout.clone());
    records.sort_by_cached_key(|record| (urgency(record), key(record)));
    let rest = records.split_off(records.partition_point(|record| urgency(record) < Urgency::Usual));
    let mut rest = rest.into_iter().peekable();
    let mut all = Vec::with_capacity(records.len() + rest.len());
    for urgent in records.chunks(GROUP_ROLLOUTS * (URGENT_OF - 1)) {
        all.extend_from_slice(urgent);
        if urgent.len() == GROUP_ROLLOUTS * (URGENT_OF - 1) {
            all.extend(rest.by_ref().take(GROUP_ROLLOUTS));
        }
    }
    all.extend(rest);
    all
}

/// What reading some rollouts in one go takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Size {
    rollouts: usize,
    queries: usize,
    range: Option<(Minute, Minute)>,
}

impl Size {
    pub(super) fn with(self, request: &MetricRequest) -> Self {
        let range = self.range.map_or((request.from, request.until), |(from, until)| {
            (from.min(request.from), until.max(request.until))
        });
        Self {
            rollouts: self.rollouts + 1,
            queries: self.queries + request.statistics().iter().sum::<usize>(),
            range: Some(range),
        }
    }

    fn points(self) -> usize {
        let minutes = self.range.map_or(0, |(from, until)| until.since(from));
        self.queries.saturating_mul(usize::try_from(minutes).unwrap_or(0))
    }

    /// Whether it is read in one go.
    pub(super) fn fits(self) -> bool {
        self.rollouts <= GROUP_ROLLOUTS && self.points() <= GROUP_POINTS
    }
}

/// However often it was throttled, so much of the rate is tried.
const LEAST_OPEN: f64 = 0.01;

/// How much of something may be asked for.
#[derive(Debug, Clone, Copy)]
struct Rate {
    a_second: f64,
    at_once: f64,
}

/// Lets so much through, and less after it was too much.
#[derive(Debug, Clone, Copy)]
struct Tap {
    full: Rate,
    /// The part of it that is let through.
    open: f64,
    /// When it would have been empty, in seconds since the tick began.
    empty_at: f64,
}

impl Tap {
    fn new(rate: Rate) -> Self {
        Self { full: rate, open: 1.0, empty_at: f64::NEG_INFINITY }
    }

    /// How long until so much more may be asked for, at `now`.
    fn take(&mut self, amount: f64, now: f64) -> f64 {
        let full_at = now - self.full.at_once / self.full.a_second;
        self.empty_at = self.empty_at.max(full_at) + amount / (self.full.a_second * self.open);
        (self.empty_at - now).max(0.0)
    }

    fn was_throttled(&mut self, now: f64) {
        self.open = (self.open / 2.0).max(LEAST_OPEN);
        self.empty_at = self.empty_at.max(now + 1.0);
    }

    fn went_through(&mut self) {
        self.open = (self.open * 1.1).min(1.0);
    }
}

/// How fast a tick asks.
#[derive(Debug)]
pub(super) struct Pace {
    points: Tap,
    rules: Tap,
}

impl Pace {
    /// Of one of so many functions, which have the quotas of one account.
    pub(super) fn of_one_in(functions: u32) -> Self {
        let part = |rate: Rate| {
            let functions = f64::from(functions.max(1));
            Tap::new(Rate { a_second: rate.a_second / functions, at_once: rate.at_once / functions })
        };
        Self { points: part(POINTS), rules: part(RULES) }
    }

    /// How long to wait before so much is read.
    pub(super) fn take(&mut self, size: Size, now: Duration) -> Duration {
        let now = now.as_secs_f64();
        let calls = size.queries.div_ceil(CALL_QUERIES) as f64;
        let points = self.points.take((size.points() as f64).max(calls * POINTS_OF_CALL), now);
        Duration::from_secs_f64(points.max(self.rules.take(1.0, now)))
    }

    /// What came of a read of the metrics and of the rules: whether it was throttled.
    pub(super) fn learn(&mut self, metrics: bool, rules: bool, now: Duration) {
        for (tap, throttled) in [(&mut self.points, metrics), (&mut self.rules, rules)] {
            if throttled { tap.was_throttled(now.as_secs_f64()) } else { tap.went_through() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Series;
    use crate::rollout::fixture::{at, healthy};
    use crate::rollout::plan::Targets;

    /// Last ticked in this minute; with so much evidence of harm, in parts of what convicts.
    fn record(name: &str, ticked: i64, harm: f64) -> Record {
        let mut record = Record::on(0).planned(|plan| name.clone_into(&mut plan.rollout));
        record.last_tick = Some(Minute::of(at(ticked)));
        let mut last = healthy();
        last.log_e_harm = record.plan.rules.ln_convict() * harm;
        record.last = Some(last);
        record
    }

    fn names(records: &[Record]) -> Vec<&str> {
        in_order(records.iter().collect()).into_iter().map(Record::id).collect()
    }

    #[test]
    fn who_is_drained_comes_first_then_who_is_suspected_then_who_waited_longest() {
        let mut draining = record("draining", 9, 0.0);
        draining.phase = Phase::Draining;
        let mut over = record("over", 0, 2.0);
        over.phase = Phase::Promoted;
        let records = [
            record("usual", 9, 0.0),
            record("waited", 3, 0.4),
            over,
            record("suspected", 9, 0.6),
            record("suspected-and-waited", 4, 0.6),
            draining,
        ];
        let order = ["draining", "suspected-and-waited", "suspected", "over", "waited", "usual"];
        assert_eq!(names(&records), order);
    }

    #[test]
    fn however_many_are_suspected_every_fourth_group_is_of_others() {
        let suspected = (0..200).map(|at| record(&format!("suspected-{at}"), 9, 0.6));
        let others = (0..50).map(|at| record(&format!("other-{at}"), 9, 0.0));
        let records: Vec<Record> = others.chain(suspected).collect();
        let order = names(&records);
        assert_eq!(order.len(), 250);
        let others =
            |range: std::ops::Range<usize>| order[range].iter().filter(|name| name.starts_with('o')).count();
        assert_eq!([others(0..60), others(60..80), others(80..140), others(140..160)], [0, 20, 0, 20]);
        let mut all: Vec<_> = order.clone();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 250, "each once");
    }

    fn request(minutes: i64, series: Vec<Series>) -> MetricRequest {
        let targets = Targets {
            listener_rule: String::new(),
            stable: String::new(),
            canary: String::new(),
            role_arn: None,
        };
        let from = Minute::of(at(0));
        MetricRequest { targets, from, until: from.plus(minutes), series }
    }

    #[test]
    fn a_group_has_as_many_as_a_call_reads_and_a_long_one_is_alone() {
        let many = |minutes: i64| {
            let mut size = Size::default();
            (0_u32..).find(|_| {
                size = size.with(&request(minutes, Vec::new()));
                !size.fits()
            })
        };
        assert_eq!(many(60), Some(20));
        assert_eq!(many(1_500), Some(6));
        assert_eq!(many(10_081), Some(0), "and is read all the same");
    }

    #[test]
    fn in_the_long_run_no_more_is_asked_for_than_the_rate() {
        let size = (0..20).fold(Size::default(), |size, _| size.with(&request(120, Vec::new())));
        let mut pace = Pace::of_one_in(1);
        let (mut now, mut points) = (Duration::ZERO, 0);
        while now < Duration::from_secs(10) {
            now += pace.take(size, now);
            points += size.points();
        }
        let allowed = 10.0 * POINTS.a_second + POINTS.at_once;
        assert!((0.9 * allowed..1.1 * allowed).contains(&(points as f64)), "{points} of {allowed}");
        // Half of a pair asks for half of it.
        let (mut half, mut later) = (Pace::of_one_in(2), Duration::ZERO);
        (0..points / size.points()).for_each(|_| later += half.take(size, later));
        assert!((19.0..23.0).contains(&later.as_secs_f64()), "{later:?}");
    }

    #[test]
    fn what_is_throttled_is_asked_for_more_slowly_and_then_faster_again() {
        let size = Size::default().with(&request(500, Vec::new()));
        let second = |at: u64| Duration::from_secs(at);
        let mut pace = Pace::of_one_in(1);
        let first = pace.take(size, second(0));
        pace.learn(true, false, second(0));
        let slower = pace.take(size, second(0));
        assert!(slower > first + second(1), "{first:?} {slower:?}");
        (0..100).for_each(|_| pace.learn(false, false, second(1)));
        assert_eq!(pace.take(size, second(60)), first);
        (0..100).for_each(|_| pace.learn(true, false, second(60)));
        assert!(pace.take(size, second(61)) < second(10), "it is never given up");
    }

    #[test]
    fn who_was_ticked_without_being_seen_comes_before_who_was_seen() {
        let mut unseen = record("younger-and-unseen", 9, 0.0);
        unseen.started.at = at(2);
        unseen.unread_since = Some(at(5));
        assert_eq!(names(&[record("seen", 9, 0.0), unseen]), ["younger-and-unseen", "seen"]);
    }

    #[test]
    fn a_rollout_was_seen_last_when_it_was_last_read_whole() {
        let mut record = record("shop", 9, 0.0);
        assert_eq!(last_seen(&record), Minute::of(at(9)));
        record.unread_since = Some(at(5));
        assert_eq!(last_seen(&record), Minute::of(at(5)));
        (record.unread_since, record.last_tick) = (None, None);
        assert_eq!(last_seen(&record), Minute::of(record.started.at));
    }
}
