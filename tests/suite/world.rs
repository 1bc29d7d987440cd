//! A cloud with one listener rule, and a clock that goes from tick to tick. Traffic is not random here: both
//! arms fail so many of a thousand requests, in every minute.

use std::collections::BTreeMap;

use canary_gate::handler::{Doors, HandlerError, Options, handle_at};
use canary_gate::ports::{Failure, RecordStore};
use canary_gate::rollout::plan::Targets;
use canary_gate::rollout::record::Record;
use canary_gate::sim::run::{default_plan, options, tick_event};
use canary_gate::sim::{Call, Cloud, Counts, Operation, Rule};
use canary_gate::units::{Minute, Share};
use jiff::SignedDuration;
use serde_json::{Value, json};

pub(crate) const ROLLOUT: &str = "checkout-v42";
/// Requests a minute, both arms together.
const REQUESTS: f64 = 3_000.0;

pub(crate) struct World {
    pub(crate) cloud: Cloud,
    pub(crate) targets: Targets,
    pub(crate) options: Options,
    /// Who may call over HTTP; nobody but IAM unless a test says so.
    pub(crate) doors: Doors,
    /// The minute of the next tick.
    pub(crate) minute: Minute,
    /// Errors of a thousand requests: stable's and the canary's.
    pub(crate) per_mille: [f64; 2],
    /// By how many bins (of 10 %) the canary is slower than stable; `None` if no response times are published.
    pub(crate) slower_bins: Option<i32>,
    runtime: tokio::runtime::Runtime,
}

impl World {
    /// An hour of stable's traffic, and no rollout.
    pub(crate) fn quiet() -> Self {
        Self::quiet_with(None)
    }

    fn quiet_with(slower_bins: Option<i32>) -> Self {
        let text = |key: &str| default_plan()[key].as_str().unwrap().to_owned();
        let targets = Targets {
            listener_rule: text("listener_rule"),
            stable: text("stable"),
            canary: text("canary"),
            role_arn: None,
        };
        Self::new(targets, slower_bins)
    }

    /// The same of other targets.
    pub(crate) fn quiet_of(targets: Targets) -> Self {
        Self::new(targets, None)
    }

    fn new(targets: Targets, slower_bins: Option<i32>) -> Self {
        let minute: Minute = "2026-03-01T10:00:00Z".parse().unwrap();
        let world = Self {
            cloud: Cloud::new(minute.start()),
            options: options(),
            doors: Doors::default(),
            minute,
            per_mille: [3.0, 3.0],
            slower_bins,
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            targets,
        };
        world.cloud.set_rule(&world.targets.listener_rule, Rule::all_on_stable(&world.targets));
        for at in -60..0 {
            world.traffic(minute.plus(at));
        }
        world
    }

    /// A rollout that was started and has not been ticked yet.
    pub(crate) fn started() -> Self {
        Self::started_with(&json!({}))
    }

    /// The same, with some keys of the plan set.
    pub(crate) fn started_with(keys: &Value) -> Self {
        let world = Self::quiet();
        world.start(keys);
        world.calls();
        world
    }

    /// The same, with response times; the canary's are stable's.
    pub(crate) fn timed_with(keys: &Value) -> Self {
        let world = Self::quiet_with(Some(0));
        world.start(keys);
        world.calls();
        world
    }

    /// A rollout that stands on its first step and was ticked so many times since.
    pub(crate) fn on_first_step(ticks: u32) -> Self {
        Self::on_first_step_with(&json!({}), ticks)
    }

    pub(crate) fn on_first_step_with(keys: &Value, ticks: u32) -> Self {
        let mut world = Self::started_with(keys);
        world.ticks(ticks + 1);
        assert_eq!(world.share(), world.record().plan.steps[0]);
        world.calls();
        world
    }

    pub(crate) fn start(&self, keys: &Value) {
        let mut plan = default_plan();
        for (key, value) in keys.as_object().unwrap() {
            plan[key] = value.clone();
        }
        self.command(&json!({ "command": "start", "plan": plan })).unwrap();
    }

    /// Sends a command as somebody called `tester`.
    pub(crate) fn command(&self, command: &Value) -> Result<Value, HandlerError> {
        let mut event = json!({ "kind": "command", "actor": "tester", "reason": "a test" });
        for (key, value) in command.as_object().unwrap() {
            event[key] = value.clone();
        }
        self.send(&event)
    }

    /// Sends an event of somebody else's, half a minute before the next tick.
    pub(crate) fn send(&self, event: &Value) -> Result<Value, HandlerError> {
        self.handle(event, self.minute, -30)
    }

    /// The same at some second after the minute of the next tick.
    pub(crate) fn send_at(&self, event: &Value, second: i64) -> Result<Value, HandlerError> {
        self.handle(event, self.minute, second)
    }

    fn handle(&self, event: &Value, minute: Minute, second: i64) -> Result<Value, HandlerError> {
        let now = minute.start() + SignedDuration::from_secs(second);
        self.cloud.set_now(now);
        self.runtime.block_on(handle_at(&self.cloud, &self.options, &self.doors, event, now))
    }

    /// Stores a record as an invocation does that begins a rollout.
    pub(crate) fn create(&self, record: &Record) -> Result<Record, Failure> {
        self.runtime.block_on(self.cloud.create(record))
    }

    /// Both arms' requests of a minute, split as the rule says now.
    fn traffic(&self, minute: Minute) {
        let canary = (REQUESTS * self.share().fraction()).round();
        let groups = [&self.targets.stable, &self.targets.canary];
        for ((group, requests), per_mille) in
            groups.into_iter().zip([REQUESTS - canary, canary]).zip(self.per_mille)
        {
            // Exact over the minutes: what is left of a thousandth is made up for later.
            let so_far = minute.since("2026-03-01T00:00:00Z".parse().unwrap()) as f64;
            let up_to = |minutes: f64| (minutes * requests * per_mille / 1000.0).floor();
            let failed = (up_to(so_far + 1.0) - up_to(so_far)) as u64;
            let requests = requests as u64;
            let answers = [requests - failed, 0, 0, failed];
            let slower =
                if group == &self.targets.canary { self.slower_bins } else { self.slower_bins.map(|_| 0) };
            let latency_bins = slower.map(|bins| response_times(requests, bins)).unwrap_or_default();
            self.cloud.count(group, minute, &Counts { requests, answers, latency_bins });
        }
    }

    /// The tick of this minute, traffic after it, and on to the next minute.
    pub(crate) fn tick(&mut self) -> Value {
        self.try_tick().unwrap()
    }

    pub(crate) fn try_tick(&mut self) -> Result<Value, HandlerError> {
        let answer = self.same_tick();
        self.traffic(self.minute);
        self.minute = self.minute.plus(1);
        answer.map(|answer| answer["rollouts"][0].clone())
    }

    /// The tick of this minute without going on: what a schedule that delivers twice does.
    pub(crate) fn same_tick(&self) -> Result<Value, HandlerError> {
        self.handle(&tick_event(self.minute), self.minute, 5)
    }

    pub(crate) fn ticks(&mut self, times: u32) -> Vec<Value> {
        (0..times).map(|_| self.tick()).collect()
    }

    /// Ticks until the decision is this word; the answer of that tick.
    pub(crate) fn until(&mut self, decision: &str, at_most: u32) -> Value {
        let mut last = Value::Null;
        for _ in 0..at_most {
            self.calls();
            last = self.tick();
            if last["decision"] == decision {
                return last;
            }
        }
        panic!("no {decision} within {at_most} ticks; the last answer was {last}");
    }

    pub(crate) fn record(&self) -> Record {
        self.cloud.record(ROLLOUT).expect("the rollout was started")
    }

    pub(crate) fn rule(&self) -> Rule {
        self.cloud.rule(&self.targets.listener_rule).unwrap()
    }

    /// What the rule sends to the canary.
    pub(crate) fn share(&self) -> Share {
        self.rule().split(&self.targets).share()
    }

    /// Somebody else's hand on the rule.
    pub(crate) fn meddle(&self, stable: u32, canary: u32) {
        let mut rule = self.rule();
        rule.set_weight(&self.targets.stable, stable);
        rule.set_weight(&self.targets.canary, canary);
        self.cloud.set_rule(&self.targets.listener_rule, rule);
    }

    /// The calls since this was last asked.
    pub(crate) fn calls(&self) -> Vec<Operation> {
        self.cloud.take_calls().iter().map(|call: &Call| call.operation).collect()
    }

    /// Subjects of the pages so far.
    pub(crate) fn pages(&self) -> Vec<String> {
        self.cloud.messages().into_iter().map(|message| message.subject).collect()
    }
}

/// Most answers in 0.1 s, some in 0.2 s, few in 0.5 s; so many bins slower.
fn response_times(requests: u64, slower: i32) -> BTreeMap<i32, u64> {
    let (some, few) = (requests * 8 / 100, requests * 2 / 100);
    BTreeMap::from([(-25 + slower, requests - some - few), (-17 + slower, some), (-8 + slower, few)])
}

pub(crate) fn percent(percent: f64) -> Share {
    Share::from_percent(percent).unwrap()
}

pub(crate) fn count(calls: &[Operation], of: &[Operation]) -> usize {
    calls.iter().filter(|call| of.contains(call)).count()
}
