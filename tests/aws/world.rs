//! One load balancer, one table, one topic and one function: what a test starts from, and the words in
//! which it tells its story.
//!
//! Time is virtual. The function runs with `CANARY_GATE_CLOCK=event`, so that a tick carries its minute
//! with it; minute 0 of a story is the minute after the world was made.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::endpoint::Endpoint;
use crate::gate::{Gate, TABLE};
use crate::outside::{Call, count, percent_encoded};
use crate::traffic::{Counts, Generated, Metric, Minute, NAMESPACE, Point, Traffic};

/// Minutes younger than this are not looked at.
pub(crate) const WATERMARK_MINUTES: i64 = 2;

/// The rollout of every story that has only one.
pub(crate) const ROLLOUT: &str = "checkout";

/// An invocation that the function failed, in Lambda's words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) kind: String,
    pub(crate) text: String,
}

/// The scene of one test. The function ends before its endpoint is handed on.
pub(crate) struct World {
    pub(crate) gates: Vec<Gate>,
    pub(crate) endpoint: Endpoint,
    pub(crate) scene: Value,
    start: Timestamp,
}

/// The table as the template makes it.
fn table() -> Value {
    let table = serde_json::from_str(include_str!("../../infra/table.json")).expect("JSON");
    with(table, json!({ "TableName": TABLE }))
}

/// An object with the keys of another laid over it; null takes a key away.
pub(crate) fn with(mut base: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else { panic!("an object of changes") };
    for (key, value) in changes {
        if value.is_null() {
            base.as_object_mut().expect("an object").remove(&key);
        } else {
            base[key] = value;
        }
    }
    base
}

impl World {
    /// Stable has all the traffic, the canary stands beside it, and one process serves the function.
    pub(crate) fn new() -> Self {
        Self::seeded(json!({}))
    }

    /// The same with another load balancer: see the endpoint's `seed`.
    pub(crate) fn seeded(changes: Value) -> Self {
        Self::set_up(changes, &[("CANARY_GATE_CLOCK", "event")])
    }

    /// The same with other settings.
    pub(crate) fn set_up(changes: Value, settings: &[(&str, &str)]) -> Self {
        let endpoint = Endpoint::lease();
        let scene = endpoint.post("seed", &with(json!({ "table": table() }), changes));
        let topic = scene["topic_arn"].as_str().expect("a topic").to_owned();
        let settings = [settings, &[("CANARY_GATE_TOPIC_ARN", &topic), ("CANARY_GATE_LOG", "info")]].concat();
        let gate = Gate::start(&endpoint, &settings);
        let now = Timestamp::now().as_second();
        let start = Timestamp::from_second(now - now % 60 + 60).expect("a time");
        Self { gates: vec![gate], endpoint, scene, start }
    }

    /// On the first step with traffic that settles it; minute 12 is about to decide.
    pub(crate) fn on_first_step(traffic: Generated) -> Self {
        Self::on_first_step_of(json!({}), json!({}), traffic)
    }

    /// The same with another load balancer and another plan.
    pub(crate) fn on_first_step_of(seed: Value, plan: Value, traffic: Generated) -> Self {
        let world = Self::seeded(seed);
        world.start(&world.plan(plan));
        world.tick(0);
        for minute in 0..15 {
            world.publish(minute, &traffic.at(minute, 5.0));
        }
        world
    }

    /// Moves minute 0 back, so that `minute` is the one after now. Commands carry no time: they happen by
    /// the machine's clock, and a story that gives one after some ticks puts those ticks before now.
    pub(crate) fn now_is_before(mut self, minute: i64) -> Self {
        self.start -= SignedDuration::from_mins(minute);
        self
    }

    /// One more process for the same function.
    pub(crate) fn add_process(&mut self) {
        let topic = self.scene["topic_arn"].as_str().expect("a topic");
        let settings = [("CANARY_GATE_CLOCK", "event"), ("CANARY_GATE_TOPIC_ARN", topic)];
        self.gates.push(Gate::start(&self.endpoint, &settings));
    }

    /// Another process in the place of all that there are: nothing is remembered but what the table has.
    pub(crate) fn restart(&mut self) {
        self.gates.clear();
        self.add_process();
    }

    /// The ARN of a target group by its name.
    pub(crate) fn group(&self, name: &str) -> &str {
        self.scene["target_groups"][name].as_str().expect("a target group")
    }

    /// The ARN of the rule that rollouts drive.
    pub(crate) fn rule_arn(&self) -> &str {
        self.scene["rule_arn"].as_str().expect("a rule")
    }

    /// A minute of the story, as AWS writes it.
    pub(crate) fn minute(&self, minute: i64) -> String {
        (self.start + SignedDuration::from_mins(minute)).to_string()
    }

    /// A plan that ends soon: three minutes of bake a step. It looks at errors alone, for most stories
    /// publish nothing else; `checks` has the others.
    pub(crate) fn plan(&self, changes: Value) -> Value {
        let plan = json!({
            "rollout": ROLLOUT,
            "listener_rule": self.rule_arn(),
            "stable": self.group("stable"),
            "canary": self.group("canary"),
            "bake": "3m",
            "min_requests": 200,
            "checks": { "errors": {} },
        });
        with(plan, changes)
    }

    /// Sends an event to the function and waits for its answer.
    pub(crate) fn invoke(&self, event: &Value) -> Result<Value, Failed> {
        let outcome = self.endpoint.post("invoke", &json!({ "event": event, "timeout_s": 60 }));
        if outcome["ok"] == json!(true) {
            return Ok(outcome["payload"].clone());
        }
        let text = |key: &str| outcome[key].as_str().unwrap_or_default().to_owned();
        Err(Failed { kind: text("error_type"), text: text("error") })
    }

    /// The event of a tick.
    pub(crate) fn tick_event(&self, minute: i64) -> Value {
        let id = format!("tick-{minute}");
        json!({ "kind": "tick", "scheduled_time": self.minute(minute), "execution_id": id, "attempt": "1" })
    }

    /// A tick; its report.
    pub(crate) fn tick_all(&self, minute: i64) -> Value {
        self.invoke(&self.tick_event(minute)).unwrap_or_else(|failed| panic!("tick {minute}: {failed:?}"))
    }

    /// A tick of the one running rollout; what was done about it, `null` if nothing runs.
    pub(crate) fn tick(&self, minute: i64) -> Value {
        let report = self.tick_all(minute);
        let rollouts = report["rollouts"].as_array().unwrap_or_else(|| panic!("a report: {report}"));
        assert!(rollouts.len() <= 1, "one rollout: {report}");
        rollouts.first().cloned().unwrap_or(Value::Null)
    }

    /// A command by a person who is named and has a reason.
    pub(crate) fn command(&self, command: &str, more: Value) -> Result<Value, Failed> {
        let event = json!({
            "kind": "command", "command": command, "rollout": ROLLOUT, "actor": "ana", "reason": "release 42"
        });
        self.invoke(&with(event, more))
    }

    /// The same at a minute of the story.
    pub(crate) fn command_at(&self, minute: i64, command: &str, more: Value) -> Result<Value, Failed> {
        self.command(command, with(more, json!({ "at": self.minute(minute) })))
    }

    /// Starts a rollout.
    pub(crate) fn start(&self, plan: &Value) -> Value {
        let started = self.command("start", json!({ "plan": plan, "rollout": null }));
        started.unwrap_or_else(|failed| panic!("start: {failed:?}"))
    }

    /// Starts a rollout with the short plan.
    pub(crate) fn start_default(&self) -> Value {
        self.start(&self.plan(json!({})))
    }

    /// Publishes what the load balancer would for one minute.
    pub(crate) fn publish(&self, minute: i64, counts: &Minute) {
        let arms = [("stable", &counts.stable), ("canary", &counts.canary)];
        let points: Vec<Value> = arms
            .into_iter()
            .filter_map(|(group, counts)| Some(self.points(minute, group, counts.as_ref()?)))
            .flatten()
            .collect();
        self.endpoint.post("metrics", &json!(points));
    }

    /// The same for one group of any name.
    pub(crate) fn publish_group(&self, minute: i64, group: &str, counts: &Counts) {
        self.endpoint.post("metrics", &json!(self.points(minute, group, counts)));
    }

    /// Publishes latency, and what the application would.
    pub(crate) fn publish_points(&self, minute: i64, points: &[Point]) {
        let point = |Point { metric, form }: &Point| {
            let (namespace, name, dimensions) = match metric {
                Metric::Latency(group) => {
                    ("AWS/ApplicationELB", "TargetResponseTime", self.dimensions(group))
                }
                Metric::Own(name, dimensions) => (NAMESPACE, *name, dimensions.clone()),
            };
            let of = json!({
                "namespace": namespace, "name": name, "dimensions": dimensions, "minute": self.minute(minute),
            });
            with(of, form.clone())
        };
        self.endpoint.post("metrics", &points.iter().map(point).collect());
    }

    /// Publishes all that there is of one minute.
    pub(crate) fn publish_all(&self, minute: i64, share: f64, traffic: &dyn Traffic) {
        self.publish(minute, &traffic.at(minute, share));
        self.publish_points(minute, &traffic.points(minute, share));
    }

    /// The dimensions of a group, as the load balancer publishes them.
    fn dimensions(&self, group: &str) -> Value {
        let after = |arn: &str, word: &str| arn.split_once(word).expect("an ARN").1.to_owned();
        json!({
            "LoadBalancer": after(self.scene["load_balancer_arn"].as_str().expect("an ARN"), "loadbalancer/"),
            "TargetGroup": format!("targetgroup/{}", after(self.group(group), "targetgroup/")),
        })
    }

    /// The points of one group: requests whenever there is one, and each class that is not zero.
    fn points(&self, minute: i64, group: &str, counts: &Counts) -> Vec<Value> {
        let dimensions = self.dimensions(group);
        let classes = (2..).zip(counts.classes);
        let named = classes.map(|(class, count)| (format!("HTTPCode_Target_{class}XX_Count"), count));
        std::iter::once(("RequestCount".to_owned(), counts.requests))
            .chain(named)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| {
                json!({
                    "namespace": "AWS/ApplicationELB", "name": name, "dimensions": dimensions,
                    "minute": self.minute(minute), "sum": count, "count": count,
                })
            })
            .collect()
    }

    /// One minute of the world: the tick, then the traffic that the weights of that minute let through.
    pub(crate) fn live(&self, minute: i64, traffic: &dyn Traffic) -> Value {
        self.live_and_see(minute, traffic).0
    }

    /// The same, with the canary's share of that minute.
    fn live_and_see(&self, minute: i64, traffic: &dyn Traffic) -> (Value, f64) {
        let report = self.tick(minute);
        let share = self.rule().share(self);
        self.publish_all(minute, share, traffic);
        (report, share)
    }

    /// Minutes of the world until the share is another. The minute of that and its report.
    pub(crate) fn live_until_shift(&self, from: i64, traffic: &dyn Traffic) -> (i64, Value) {
        let before = self.rule().share(self);
        let shifted = (from..from + 60).find_map(|minute| {
            let (report, share) = self.live_and_see(minute, traffic);
            (share != before).then_some((minute, report))
        });
        shifted.unwrap_or_else(|| panic!("an hour without a shift from {before} %: {}", self.record().body))
    }

    /// Ticks from a minute on that look after a drained canary without doing anything, until it is done with.
    /// Stable has all the traffic meanwhile: a minute of which nothing is published proves nothing.
    pub(crate) fn watch_ends(&self, from: i64) {
        let (last, calls) = self.calls_of(|| {
            (from..from + 20).find(|minute| {
                let report = self.live(*minute, &Generated::HEALTHY);
                assert_eq!(report["decision"], json!("verify"), "{report}");
                self.record().state == "ended"
            })
        });
        let last = last.unwrap_or_else(|| panic!("watched for ever: {}", self.record().body));
        assert_eq!(count(&calls, "elbv2 ModifyRule"), 0);
        assert!(self.tick(last + 1).is_null());
    }

    /// What comes of `act`, and the calls of AWS that were made meanwhile.
    pub(crate) fn calls_of<T>(&self, act: impl FnOnce() -> T) -> (T, Vec<Call>) {
        self.endpoint.delete("journal");
        let done = act();
        (done, Call::read(&self.endpoint))
    }

    /// Orders faults.
    pub(crate) fn faults(&self, faults: &Value) {
        self.endpoint.post("faults", faults);
    }

    /// All is well again.
    pub(crate) fn no_faults(&self) {
        self.endpoint.delete("faults");
    }

    /// Says how the targets of a group are; `None` hands them back: all healthy.
    pub(crate) fn targets_are(&self, group: &str, state: Option<&str>) {
        let targets = state.map(|state| json!([{ "id": "10.0.0.10", "state": state }]));
        self.endpoint.post("health", &json!({ self.group(group): targets }));
    }

    /// Takes the last target of a group away.
    pub(crate) fn no_targets(&self, group: &str) {
        self.endpoint.post("health", &json!({ self.group(group): [] }));
    }

    /// The queue's name in a control call.
    pub(crate) fn queue(&self) -> String {
        percent_encoded(self.scene["queue_url"].as_str().expect("a queue"))
    }
}
