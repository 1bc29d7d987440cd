//! Many rollouts in one tick: all looked at, every harmful canary drained, with as few calls as groups of twenty need
//! and in bounded memory; and the same while AWS throttles.
//!
//! A few rollouts are started by the function and ticked until just before harm shows; the endpoint then copies their
//! rules, groups, metrics and records. `CANARY_GATE_WIRE_ROLLOUTS` says how many there are, for a person; the endpoint,
//! which is one Python process, can't serve thousands in a minute. Then the rest is looked at in the next ticks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gate::TABLE;
use crate::many::add_rule;
use crate::traffic::{Counts, Metric, Point};
use crate::world::World;

/// Rollouts that are read in one go.
const GROUP: usize = 20;
/// The tick that convicts.
const HARM_SHOWS: i64 = 12;
/// What the function may have at its smallest.
const MEMORY_MB: u64 = 128;
/// A tick answers within so long.
const TICK: Duration = Duration::from_secs(50);
/// Copies that are asked for at once.
const COPIES: usize = 500;

/// What becomes of a canary. They are started in this order, so that of those that are alike harmful ones come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Healthy,
    /// There is evidence of harm in the tick before, half of what convicts or more.
    Suspected,
    Harmful,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Healthy, Self::Suspected, Self::Harmful];

    fn name(self) -> &'static str {
        ["healthy", "suspected", "harmful"][self as usize]
    }

    fn groups(self) -> [&'static str; 2] {
        [
            ["healthy-stable", "healthy-canary"],
            ["suspected-stable", "suspected-canary"],
            ["harmful-stable", "harmful-canary"],
        ][self as usize]
    }

    /// Failed of the canary's 3,000 requests of a minute. The suspected one is convicted by the fifth bad minute that is
    /// looked at; the harmful one has its budget of bad requests spent by the first.
    fn failed(self, minute: i64) -> u64 {
        match self {
            Self::Suspected if minute >= 5 => 150,
            Self::Harmful if minute >= 9 => 1_500,
            _ => 6,
        }
    }
}

/// A world with many rollouts, just before the tick that sees harm.
struct Fleet {
    world: World,
    /// The harmful ones, suspected or not, with their rules.
    harmful: BTreeMap<String, String>,
    suspected: BTreeSet<String>,
    all: usize,
}

/// What one tick did.
struct Ticked {
    took: Duration,
    /// Of that the function's own processor time.
    processor: Duration,
    /// Rollouts by what was decided.
    decisions: BTreeMap<String, BTreeSet<String>>,
    /// Calls, and those of them that failed, by their name.
    calls: Value,
    /// Rules whose weights were written.
    written: Vec<String>,
}

fn counts(requests: u64, failed: u64) -> Counts {
    Counts { requests, classes: [requests - failed, 0, 0, failed] }
}

/// Response times of so many requests: half of them a tenth of a second.
fn response_times(group: &'static str, requests: u64) -> Point {
    let bins = json!({ "-24": requests / 2, "-23": requests / 4, "-25": requests / 4 });
    Point { metric: Metric::Latency(group), form: json!({ "bins": bins }) }
}

impl Fleet {
    /// So many rollouts of the default checks, `harmful` of them harmful and `suspected` of these suspected.
    fn of(all: usize, harmful: usize, suspected: usize) -> Self {
        let groups: Vec<&str> = Kind::ALL.into_iter().flat_map(Kind::groups).collect();
        let world = World::seeded(json!({ "target_groups": groups, "weights": { groups[0]: 1 } }));
        let many = [all - harmful, suspected, harmful - suspected];
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| many[*kind as usize] > 0).collect();
        let rules: Vec<String> = kinds.iter().map(|kind| begin(&world, *kind)).collect();
        (0..HARM_SHOWS).for_each(|minute| drop(world.tick_all(minute)));
        let mut fleet = Self { world, harmful: BTreeMap::new(), suspected: BTreeSet::new(), all };
        for (kind, rule) in kinds.into_iter().zip(&rules) {
            fleet.multiply(kind, rule, many[kind as usize]);
        }
        fleet
    }

    fn multiply(&mut self, kind: Kind, rule: &str, many: usize) {
        let world = &self.world;
        let groups = kind.groups().map(|group| world.group(group));
        let names: Vec<String> = (1..many).map(|at| format!("{}-{at}", kind.name())).collect();
        let mut rules = BTreeMap::from([(kind.name().to_owned(), rule.to_owned())]);
        for names in names.chunks(COPIES) {
            let copies = json!({
                "rollout": kind.name(), "rule_arn": rule, "target_groups": groups, "table": TABLE, "names": names,
            });
            let made = world.endpoint.post("copies", &copies);
            let made = made.as_object().expect("the copies").iter();
            rules.extend(made.map(|(name, of)| (name.clone(), text(&of["rule_arn"]))));
        }
        if kind == Kind::Suspected {
            let harm = world.record_of(kind.name()).expect("a record").body["last"]["log_e_harm"].as_f64();
            assert!(harm.is_some_and(|harm| harm > 2.4), "it is suspected: {harm:?}");
            self.suspected.extend(rules.keys().cloned());
        }
        if kind != Kind::Healthy {
            self.harmful.append(&mut rules);
        }
    }

    fn tick(&self, minute: i64) -> Ticked {
        self.world.endpoint.delete("journal");
        let gate = &self.world.gates[0];
        let (began, used) = (Instant::now(), gate.processor_time().unwrap_or_default());
        let report = self.world.tick_all(minute);
        let (took, processor) = (began.elapsed(), gate.processor_time().unwrap_or_default() - used);
        let mut decisions = BTreeMap::<String, BTreeSet<String>>::new();
        for report in report["rollouts"].as_array().expect("reports") {
            decisions.entry(text(&report["decision"])).or_default().insert(text(&report["rollout"]));
        }
        let writes = self.world.endpoint.get("journal?operation=ModifyRule");
        let written = writes.as_array().expect("calls").iter();
        let written = written.map(|call| text(&call["params"]["RuleArn"])).collect();
        let ticked = Ticked { took, processor, decisions, calls: self.world.endpoint.get("calls"), written };
        self.say(minute, &ticked);
        ticked
    }

    /// A line with the figures, for whoever reads along.
    fn say(&self, minute: i64, ticked: &Ticked) {
        let decided: BTreeMap<_, _> =
            ticked.decisions.iter().map(|(decision, rollouts)| (decision, rollouts.len())).collect();
        let calls: BTreeMap<_, _> = ticked.calls.as_object().expect("calls").iter().collect();
        let calls: Vec<String> = calls
            .iter()
            .map(|(name, of)| format!("{name} {} (failed {})", of["calls"], of["failed"]))
            .collect();
        let _ = writeln!(
            std::io::stderr(),
            "[scale] {} rollouts, tick {minute}: {:.1} s ({:.1} s of the function's), {decided:?}, peak {:?} MB, {}",
            self.all,
            ticked.took.as_secs_f64(),
            ticked.processor.as_secs_f64(),
            self.world.gates[0].peak_memory_mb(),
            calls.join(", "),
        );
    }

    /// Every harmful canary was drained and paged, and nobody else's weights were written.
    fn assert_all_drained(&self, written: &[String]) {
        let written: BTreeSet<&String> = written.iter().collect();
        assert_eq!(written, self.harmful.values().collect());
        let at_most = self.harmful.iter().take(GROUP);
        for (name, rule) in at_most {
            let record = self.world.record_of(name).expect("a record");
            assert_eq!(record.phase(), "drained", "{name}: {}", record.body);
            assert_eq!(
                self.world.rule_of(rule).weight(&text(&record.body["plan"]["targets"]["canary"])),
                0,
                "{name}"
            );
        }
        assert_eq!(self.world.paged(), vec!["drained"; self.harmful.len()]);
        let peak = self.world.gates[0].peak_memory_mb();
        assert!(peak.is_none_or(|peak| peak < MEMORY_MB), "{peak:?} MB");
    }
}

impl Ticked {
    fn of(&self, decision: &str) -> BTreeSet<String> {
        self.decisions.get(decision).cloned().unwrap_or_default()
    }

    fn calls(&self, name: &str) -> usize {
        usize::try_from(self.calls[name]["calls"].as_u64().unwrap_or(0)).expect("a number")
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Starts the rollout that the others of its kind are copies of, and publishes its traffic. Its rule.
fn begin(world: &World, kind: Kind) -> String {
    let [stable, canary] = kind.groups();
    let rule = add_rule(world, 20 + kind as u32, stable, canary);
    let plan = json!({
        "rollout": kind.name(), "listener_rule": rule, "stable": world.group(stable),
        "canary": world.group(canary), "bake": "45m", "bad_request_budget": 1_000,
    });
    world.start(&plan);
    for minute in -60..HARM_SHOWS + 5 {
        world.publish_group(minute, stable, &counts(57_000, 114));
        let mut points = vec![response_times(stable, 57_000)];
        if minute > 0 {
            world.publish_group(minute, canary, &counts(3_000, kind.failed(minute)));
            points.push(response_times(canary, 3_000));
        }
        world.publish_points(minute, &points);
    }
    rule
}

/// So many of a hundred are harmful, one at least.
fn harmful_of(all: usize) -> usize {
    (all / 100).max(1)
}

#[test]
fn every_harmful_canary_of_many_is_drained_in_one_tick_or_in_the_first_that_has_time_for_it() {
    let asked = std::env::var("CANARY_GATE_WIRE_ROLLOUTS").ok();
    let all = asked.as_ref().map_or(100, |many| many.parse().expect("CANARY_GATE_WIRE_ROLLOUTS: a number"));
    let fleet = Fleet::of(all, harmful_of(all), harmful_of(all) / 2);
    let first = fleet.tick(HARM_SHOWS);
    assert!(first.took < TICK, "{:?}", first.took);
    assert!(first.of("failed").is_empty(), "{:?}", first.of("failed"));
    assert!(first.of("drain").is_superset(&fleet.suspected), "those with evidence of harm come first");
    let (mut left, mut written) = (first.of("not reached"), first.written.clone());
    if left.is_empty() {
        let groups = all.div_ceil(GROUP);
        assert!(first.calls("cloudwatch GetMetricData") <= groups, "{}", first.calls);
        assert!(first.calls("elbv2 DescribeRules") <= groups, "{}", first.calls);
    }
    assert!(asked.is_some() || left.is_empty(), "a hundred are looked at in one tick: {left:?}");
    for minute in HARM_SHOWS + 1.. {
        if left.is_empty() {
            break;
        }
        assert!(minute < HARM_SHOWS + 5, "never looked at: {left:?}");
        let next = fleet.tick(minute);
        let left_again = next.of("not reached");
        let twice = left.intersection(&left_again).count();
        assert!(
            twice == 0 || left_again.len() + left.len() - twice >= all,
            "those that were left out come first"
        );
        left = left.intersection(&left_again).cloned().collect();
        written.extend(next.written);
    }
    fleet.assert_all_drained(&written);
}

#[test]
fn no_harmful_canary_is_starved_by_a_hundred_rollouts_while_aws_throttles() {
    let fleet = Fleet::of(100, 4, 2);
    // The first calls are refused one and all, and then every second.
    let burst = |op: &str, code: &str| json!({ "op": op, "code": code, "n": 12 });
    let second = |op: &str, code: &str, skip: u64| json!({ "op": op, "code": code, "skip": skip });
    let (metrics, rules) = (("GetMetricData", "ThrottlingException"), ("DescribeRules", "Throttling"));
    let mut faults = vec![burst(metrics.0, metrics.1), burst(rules.0, rules.1)];
    faults.extend((1..=100).flat_map(|skip| [metrics, rules].map(|(op, code)| second(op, code, skip))));
    fleet.world.faults(&json!(faults));
    let first = fleet.tick(HARM_SHOWS);
    assert!(first.calls["cloudwatch GetMetricData"]["failed"].as_u64() >= Some(12), "{}", first.calls);
    assert!(first.of("drain").is_superset(&fleet.suspected), "{:?}", first.decisions);
    let next = fleet.tick(HARM_SHOWS + 1);
    fleet.world.no_faults();
    fleet.assert_all_drained(&[first.written, next.written].concat());
}
