//! Many rollouts in one tick, on a network with AWS's rates, in virtual time: all of them in time, and when there is
//! not time for all, those first that can't wait.

use std::collections::BTreeMap;
use std::time::Duration;

use canary_gate::handler::{Doors, handle_within};
use canary_gate::ports::{RecordStore, Time};
use canary_gate::rollout::record::{Phase, Record};
use canary_gate::sim::fleet::{Fleet, Wanted};
use canary_gate::sim::network::{Network, Quota, Rate};
use canary_gate::sim::run::{options, tick_event};
use canary_gate::sim::time::VirtualTime;
use serde_json::{Value, json};

const LATENCY: Duration = Duration::from_millis(20);
const ALLOWED: Duration = Duration::from_secs(50);

fn fleet(healthy: usize, harmful: usize) -> Fleet {
    VirtualTime::new(None).run(Fleet::build(Wanted { healthy, harmful, minutes: 8 })).unwrap()
}

fn rate(a_second: f64, at_once: f64) -> Rate {
    Rate { a_second, at_once }
}

/// Lambda's runtime takes no other future.
fn on_any_thread<F: Future + Send>(future: F) -> F {
    future
}

/// One tick, so many minutes after the fleet's next one, with some rates changed: what it answers, and how long it took.
fn tick(fleet: &Fleet, minutes: i64, shard: Option<[u32; 2]>, rates: &[(Quota, Rate)]) -> (Value, Duration) {
    tick_within(ALLOWED, fleet, minutes, shard, rates)
}

fn tick_within(
    allowed: Duration,
    fleet: &Fleet,
    minutes: i64,
    shard: Option<[u32; 2]>,
    rates: &[(Quota, Rate)],
) -> (Value, Duration) {
    let time = VirtualTime::new(Some(allowed));
    let network = Network::new(&fleet.cloud, &time, LATENCY);
    let network = rates.iter().fold(network, |network, (quota, rate)| network.with(*quota, *rate));
    let mut event = tick_event(fleet.minute.plus(minutes));
    if let Some([number, of]) = shard {
        event["shard"] = json!(number);
        event["of"] = json!(of);
    }
    let now = fleet.now() + jiff::SignedDuration::from_mins(minutes);
    fleet.cloud.set_now(now);
    let doors = Doors::default();
    let options = options();
    let tick = on_any_thread(handle_within(&network, &options, &doors, &time, &event, now));
    let answer = time.run(tick).unwrap();
    (answer, time.spent())
}

fn decisions(answer: &Value) -> BTreeMap<String, Vec<String>> {
    let mut decisions = BTreeMap::<String, Vec<String>>::new();
    for report in answer["rollouts"].as_array().unwrap() {
        let text = |key: &str| report[key].as_str().unwrap().to_owned();
        decisions.entry(text("decision")).or_default().push(text("rollout"));
    }
    decisions
}

fn records(fleet: &Fleet) -> Vec<Record> {
    fleet.cloud.with_records(|records| records.values().cloned().collect())
}

#[test]
fn hundreds_of_rollouts_are_looked_at_within_the_published_rates() {
    let fleet = fleet(396, 4);
    let (answer, took) = tick(&fleet, 0, None, &[]);
    let decisions = decisions(&answer);
    assert_eq!(decisions["drain"].len(), 4, "{decisions:?}");
    assert!(decisions["drain"].iter().all(|rollout| rollout.starts_with("harmful")), "{decisions:?}");
    assert!(!["failed", "not reached", "skipped"].iter().any(|word| decisions.contains_key(*word)));
    assert!(records(&fleet).iter().all(|record| record.unread_since.is_none()));
    // What 400 rollouts ask for takes so long at 180,000 points a second.
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn a_tick_ends_before_its_time_and_the_next_one_begins_with_those_that_it_left_out() {
    let fleet = fleet(300, 0);
    // A fiftieth of what is published: most of the quota is used by others.
    let slow = [(Quota::MetricPoints, rate(3_600.0, 30_000.0))];
    let mut before_that: Option<Vec<String>> = None;
    for minute in 0..3 {
        let before: BTreeMap<String, _> =
            records(&fleet).iter().map(|record| (record.id().to_owned(), record.last_tick)).collect();
        let (answer, took) = tick(&fleet, minute, None, &slow);
        assert!(took < ALLOWED - Duration::from_secs(2), "what was begun was not dropped: {took:?}");
        let left_out = decisions(&answer).remove("not reached").unwrap();
        assert!(left_out.len() < 300, "nothing was done");
        for record in records(&fleet) {
            let was_left_out = left_out.contains(&record.plan.rollout);
            assert_eq!(before[record.id()] == record.last_tick, was_left_out, "{}", record.id());
        }
        // Nobody is looked at twice before everybody was once.
        if let Some(left_before) = before_that {
            let twice_left = left_out.iter().any(|rollout| left_before.contains(rollout));
            let looked_twice =
                before.keys().any(|rollout| !left_before.contains(rollout) && !left_out.contains(rollout));
            assert!(!(twice_left && looked_twice), "minute {minute}: {left_before:?} {left_out:?}");
        }
        before_that = Some(left_out);
    }
}

#[test]
fn a_rollout_with_evidence_of_harm_is_looked_at_first_however_many_healthy_ones_there_are() {
    let fleet = fleet(600, 3);
    for record in records(&fleet).iter().filter(|record| record.id().starts_with("harmful")) {
        let mut suspected = record.clone();
        suspected.last.as_mut().expect("a judgement").log_e_harm = record.plan.rules.ln_convict() * 0.6;
        VirtualTime::new(None).run(fleet.cloud.put(&suspected)).unwrap();
    }
    let slow = [(Quota::MetricPoints, rate(1_800.0, 60_000.0))];
    let (answer, _) = tick(&fleet, 0, None, &slow);
    let decisions = decisions(&answer);
    assert!(decisions["not reached"].len() > 450, "{decisions:?}");
    assert_eq!(decisions["drain"].len(), 3, "{decisions:?}");
    let drained = records(&fleet).iter().filter(|record| record.phase == Phase::Drained).count();
    assert_eq!(drained, 3);
}

#[test]
fn what_was_throttled_is_read_again_in_the_same_tick() {
    let fleet = fleet(100, 1);
    // Nothing at all for the first seconds, as when others have just used it up.
    let late = [(Quota::MetricCalls, rate(0.3, 0.9))];
    let (answer, _) = tick(&fleet, 0, None, &late);
    let decisions = decisions(&answer);
    assert!(!decisions.contains_key("failed"), "{decisions:?}");
    assert!(decisions.contains_key("drain"), "{decisions:?}");
    assert!(records(&fleet).iter().all(|record| record.unread_since.is_none()));
}

#[test]
fn a_drain_that_is_under_way_waits_for_no_metrics() {
    let fleet = fleet(60, 0);
    let share = |record: &Record| record.share().percent();
    let mut draining = records(&fleet).into_iter().find(|record| share(record) > 0.0).unwrap();
    draining.phase = Phase::Draining;
    VirtualTime::new(None).run(fleet.cloud.put(&draining)).unwrap();
    let none = [(Quota::MetricCalls, rate(0.0, 0.0))];
    let (answer, _) = tick_within(Duration::from_secs(5), &fleet, 0, None, &none);
    let decisions = decisions(&answer);
    assert_eq!(decisions["drain"], [draining.id()], "{decisions:?}");
}

#[test]
fn a_canary_that_can_not_be_read_for_minutes_is_blind_and_not_just_late() {
    let fleet = fleet(40, 0);
    let none = [(Quota::MetricPoints, rate(0.001, 1.0)), (Quota::MetricCalls, rate(0.001, 0.5))];
    for minute in 0..12 {
        tick(&fleet, minute, None, &none);
    }
    let records = records(&fleet);
    let unseen =
        records.iter().filter(|record| record.share().percent() > 0.0 && record.unread_since.is_none());
    assert_eq!(unseen.count(), 0, "a canary with traffic is not seen, and nobody knows");
    assert!(records.iter().any(|record| record.phase == Phase::Drained), "blind_after is over");
}

#[test]
fn those_that_there_is_no_time_to_read_are_told_that_they_are_blind() {
    let fleet = fleet(400, 0);
    let none = [(Quota::MetricCalls, rate(0.0, 0.0))];
    let seen = || records(&fleet).iter().filter(|record| record.unread_since.is_none()).count();
    for minute in 0..4 {
        assert!(seen() > 0, "minute {minute}: who was seen lately only waits");
        tick_within(Duration::from_secs(10), &fleet, minute, None, &none);
    }
    assert_eq!(seen(), 0, "nobody was seen in the last three minutes");
}

#[test]
fn every_rollout_is_looked_at_by_exactly_one_shard() {
    let fleet = fleet(90, 0);
    let mut seen = BTreeMap::<String, u32>::new();
    for number in 1..=3 {
        let (answer, _) = tick(&fleet, 0, Some([number, 3]), &[]);
        let reports = answer["rollouts"].as_array().unwrap();
        assert!(!reports.is_empty());
        for report in reports {
            *seen.entry(report["rollout"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert_eq!(seen.len(), 90);
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
    assert!(records(&fleet).iter().all(|record| record.last_tick == Some(fleet.minute)));
}

#[test]
fn a_shard_that_has_no_function_is_told_by_the_others() {
    let fleet = fleet(20, 0);
    for minute in 0..=6 {
        let (answer, _) = tick(&fleet, minute, Some([1, 2]), &[]);
        let unwatched = answer["unwatched"].as_array();
        assert_eq!(unwatched.is_some(), minute > 4, "minute {minute}: {answer}");
        for what in unwatched.into_iter().flatten() {
            assert!(what.as_str().unwrap().ends_with("it is for shard 2 of 2"), "{what}");
        }
    }
    let (answer, _) = tick(&fleet, 7, None, &[]);
    assert!(answer.get("unwatched").is_none(), "one function for all has none beside it");
}

#[test]
fn rollouts_of_another_shard_still_hold_their_listener_rule() {
    let fleet = fleet(2, 0);
    // Two on one rule, by different names; the younger one must give way, in whichever shard it is.
    let [first, second] = &records(&fleet)[..] else { panic!("two rollouts") };
    let mut other = Record::new(second.plan.clone(), second.started.clone(), false);
    other.plan.targets.listener_rule.clone_from(&first.plan.targets.listener_rule);
    for name in ["late-1", "late-2", "late-3", "late-4", "late-5", "late-6"] {
        other.plan.rollout = name.to_owned();
        VirtualTime::new(None).run(fleet.cloud.create(&other)).unwrap();
    }
    for number in 1..=3 {
        tick(&fleet, 0, Some([number, 3]), &[]);
    }
    for record in records(&fleet).iter().filter(|record| record.id().starts_with("late")) {
        assert_eq!(record.phase, Phase::Stopped, "{}: {}", record.id(), record.why);
    }
}

#[test]
fn time_that_is_not_measured_is_never_over() {
    let fleet = fleet(60, 0);
    let doors = Doors::default();
    let time = VirtualTime::new(None);
    let network = Network::new(&fleet.cloud, &time, Duration::from_secs(3));
    let (options, event) = (options(), fleet.event());
    let tick = handle_within(&network, &options, &doors, &time, &event, fleet.now());
    let answer = time.run(tick).unwrap();
    assert!(!decisions(&answer).contains_key("not reached"));
}
