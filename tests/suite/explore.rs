//! All orders of the calls of overlapping invocations, with deaths between any two of them, and the pure
//! decision over every input: a part here, all of it in a release build (`everything`, ignored else). And a
//! search that finds nothing must be able to find something.

use std::sync::{Mutex, OnceLock};

use canary_gate::analysis::window::Arm;
use canary_gate::ports::{
    Deployment, Deployments, Failure, Message, MetricRead, MetricRequest, MetricSource, Pager, RecordStore,
    Running, Split, TrafficRouter,
};
use canary_gate::rollout::decide::{Input, decide};
use canary_gate::rollout::effect::Write;
use canary_gate::rollout::gate::{Guard, Owner, Told, Waiting};
use canary_gate::rollout::plan::Targets;
use canary_gate::rollout::record::{Audit, LogEntry, Record};
use canary_gate::sim::explore::explore_all;
use canary_gate::sim::explore::overlap::{Case, Search, search};
use canary_gate::sim::explore::pure::{cover_with, plans};
use canary_gate::sim::{Cloud, Rule};
use canary_gate::units::Share;

fn case(name: &str) -> &'static Case {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    let cases = CASES.get_or_init(Case::all);
    cases.iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case {name:?}"))
}

fn holds(names: &[&str]) {
    for name in names {
        let found = search(case(name));
        assert!(found.broken.is_empty(), "{}", found.broken.join("\n"));
        assert!(found.states > 20 && found.deaths > 5, "{name}: {found:?}");
    }
}

#[test]
fn two_ticks_at_once_do_no_more_than_one_whoever_dies_when() {
    holds(&[
        "before the first shift: two ticks of one minute",
        "before a promotion: ticks of two minutes",
        "before a drain: two ticks of one minute",
        "harm and a young intent, not written: two ticks of one minute",
    ]);
}

#[test]
fn an_abort_in_the_midst_of_a_shift_drains_in_every_order() {
    holds(&["before a promotion: tick and abort"]);
}

#[test]
fn an_alarm_that_could_not_roll_back_fails_so_that_it_is_told_again() {
    holds(&["promoted: Alarm alone, one call fails", "promoted: Abort alone, one call fails"]);
}

#[test]
fn a_tick_survives_a_failure_and_a_death_at_any_of_its_calls() {
    holds(&[
        "before a promotion: Tick alone, one call fails",
        "before a drain: Tick alone, one call fails",
        "before the last shift: Tick alone, one call fails",
    ]);
}

#[test]
fn the_pure_decision_keeps_its_rules_in_every_world_near_the_start() {
    for (name, plan) in plans() {
        let covered = cover_with(&plan, &decide, 300);
        assert!(covered.broken.is_empty(), "{name}: {}", covered.broken.join("\n"));
        assert!(covered.edges > 4_000, "{name}: {covered:?}");
    }
}

#[test]
#[ignore = "minutes in a debug build: cargo test --release --test suite explore -- --ignored"]
fn everything() {
    let begun = std::time::Instant::now();
    let summary = explore_all(4_000, &mut |line| eprintln!("{:?} {line}", begun.elapsed()));
    eprintln!("{summary}");
    assert_eq!(summary.broken().count(), 0, "{summary}");
}

/// How a platform breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// An intent is said to be stored, and is not.
    ForgetsIntents,
    /// Zero is written only when the record has been stored.
    RecordsDrainsFirst,
    /// A page is said to be sent, and is not.
    DropsPages,
    /// The last shift up is written again when all is done.
    WritesAgain,
}

struct Broken {
    cloud: Cloud,
    how: How,
    kept: Mutex<Option<(Targets, Rule, Write)>>,
}

impl AsRef<Cloud> for Broken {
    fn as_ref(&self) -> &Cloud {
        &self.cloud
    }
}

impl Broken {
    async fn write_kept(&self) {
        let kept = self.kept.lock().unwrap().take();
        if let Some((targets, rule, write)) = kept {
            self.cloud.write_split(&targets, &rule, write).await.unwrap();
        }
    }
}

impl MetricSource for Broken {
    async fn read_metrics(&self, requests: &[MetricRequest]) -> Vec<Result<MetricRead, Failure>> {
        self.cloud.read_metrics(requests).await
    }
}

impl TrafficRouter for Broken {
    type Snapshot = Rule;

    async fn read_splits(&self, targets: &[Targets]) -> Vec<Result<(Split, Rule), Failure>> {
        self.cloud.read_splits(targets).await
    }

    async fn write_split(&self, targets: &Targets, rule: &Rule, write: Write) -> Result<Split, Failure> {
        let down = write.share == Share::ZERO;
        let keep = (targets.clone(), rule.clone(), write);
        if down && self.how == How::RecordsDrainsFirst {
            *self.kept.lock().unwrap() = Some(keep);
            return Ok(Split { stable: 100, canary: 0, others: 0, sticky: false });
        }
        if !down && self.how == How::WritesAgain {
            *self.kept.lock().unwrap() = Some(keep);
        }
        self.cloud.write_split(targets, rule, write).await
    }

    async fn healthy_targets(&self, targets: &Targets, arm: Arm) -> Result<u32, Failure> {
        self.cloud.healthy_targets(targets, arm).await
    }
}

impl RecordStore for Broken {
    async fn running(&self) -> Result<Running, Failure> {
        self.cloud.running().await
    }

    async fn get(&self, rollout: &str) -> Result<Option<Record>, Failure> {
        self.cloud.get(rollout).await
    }

    async fn list(&self) -> Result<Vec<Record>, Failure> {
        self.cloud.list().await
    }

    async fn create(&self, record: &Record) -> Result<Record, Failure> {
        self.cloud.create(record).await
    }

    async fn put(&self, record: &Record) -> Result<Record, Failure> {
        if record.intent.is_some() && self.how == How::ForgetsIntents {
            return Ok(record.clone());
        }
        let stored = self.cloud.put(record).await;
        if self.how == How::RecordsDrainsFirst {
            self.write_kept().await;
        }
        stored
    }

    async fn freeze(&self) -> Result<Option<Audit>, Failure> {
        RecordStore::freeze(&self.cloud).await
    }

    async fn set_freeze(&self, freeze: Option<&Audit>) -> Result<(), Failure> {
        self.cloud.set_freeze(freeze).await
    }

    async fn guard(&self, of: &str) -> Result<Option<Guard>, Failure> {
        self.cloud.guard(of).await
    }

    async fn guards(&self) -> Result<Vec<Guard>, Failure> {
        self.cloud.guards().await
    }

    async fn set_guard(&self, of: &str, guard: Option<&Guard>) -> Result<(), Failure> {
        self.cloud.set_guard(of, guard).await
    }

    async fn take_once(&self, key: &str, until: jiff::Timestamp) -> Result<bool, Failure> {
        self.cloud.take_once(key, until).await
    }

    async fn log(&self, entry: &LogEntry) -> Result<(), Failure> {
        if self.how == How::WritesAgain {
            self.write_kept().await;
        }
        self.cloud.log(entry).await
    }

    async fn history(&self, rollout: &str, limit: u32) -> Result<Vec<LogEntry>, Failure> {
        self.cloud.history(rollout, limit).await
    }
}

impl Deployments for Broken {
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

impl Pager for Broken {
    async fn page(&self, message: &Message) -> Result<(), Failure> {
        if self.how == How::DropsPages {
            return Ok(());
        }
        self.cloud.page(message).await
    }
}

fn finds(how: How, name: &str, what: &str) {
    let broken = |cloud| Broken { cloud, how, kept: Mutex::new(None) };
    let found = Search::new(case(name), &broken).run();
    assert!(found.broken.iter().any(|broken| broken.contains(what)), "{how:?}: {:?}", found.broken);
}

#[test]
fn the_search_finds_a_share_that_is_raised_without_an_intent() {
    let name = "before a promotion: two ticks of one minute";
    finds(How::ForgetsIntents, name, "had no such intent on record");
}

#[test]
fn the_search_finds_a_drain_that_is_recorded_before_it_is_written() {
    let name = "before a drain: two ticks of one minute";
    finds(How::RecordsDrainsFirst, name, "noted a drain before zero was written");
}

#[test]
fn the_search_finds_a_page_that_is_dropped() {
    finds(How::DropsPages, "before a drain: two ticks of one minute", "a page was never sent");
}

#[test]
fn the_search_finds_a_write_that_is_repeated_later() {
    finds(How::WritesAgain, "before a promotion: tick and abort", "and Abort had no such intent on record");
}

#[test]
fn the_pure_search_finds_a_decision_that_does_not_ask_for_the_freeze() {
    let careless = |record: &Record, input: &Input<'_>, now| {
        let mut input = input.clone();
        input.clearance.freeze = input.clearance.freeze.map(|_| Ok(None));
        decide(record, &input, now)
    };
    let covered = cover_with(&plans()[0].1, &careless, 50);
    assert!(
        covered.broken.iter().any(|broken| broken.contains("raised while frozen")),
        "{:?}",
        covered.broken
    );
}

#[test]
fn the_pure_search_finds_harm_that_is_passed_over_while_the_rule_is_unread() {
    let careless = |record: &Record, input: &Input<'_>, now| {
        let mut decision = decide(record, input, now);
        if input.share.is_err() {
            decision.effects = canary_gate::rollout::effect::Effects::Record(Box::new(record.clone()));
        }
        decision
    };
    let covered = cover_with(&plans()[0].1, &careless, 50);
    assert!(
        covered.broken.iter().any(|broken| broken.contains("harm is not drained")),
        "{:?}",
        covered.broken
    );
}
