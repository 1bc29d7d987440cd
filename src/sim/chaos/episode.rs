//! One cloud, one or two rules, some hours: a queue of what happens when, and the processes that are under
//! way.

mod shifting;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::shifting::{Shifting, belongs_to};
use super::invariants::Broken;
use super::profile::{self, Draw, Nature, Profile};
use super::tally::Tally;
use super::watch::{End, Purpose, Watch, weights};
use super::wire::{Sabotage, Stage, State, Wire};
use crate::handler::{HandlerError, handle};
use crate::rollout::gate::{Guard, Owner};
use crate::rollout::record::{Audit, Record};
use crate::sim::deployments;
use crate::sim::random::Random;
use crate::sim::run::{options, tick_event};
use crate::sim::{Cloud, Counts, Flaw, Rule};
use crate::units::Minute;

/// When every episode begins.
const BEGIN: Timestamp = Timestamp::constant(1_772_359_200, 0);
/// The longest that a process lives; the function's timeout.
const LIFE: SignedDuration = SignedDuration::from_secs(50);
/// Minutes without faults at the end. An intent or a page of a clock that was minutes ahead is left alone
/// until its time has come.
const SETTLE_MINUTES: i64 = 10;
/// Errors of a version that is well.
const USUAL_ERRORS: f64 = 0.003;

/// How an episode went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// What was counted.
    pub tally: Tally,
    /// What was broken, in order; the episode ends with the first.
    pub broken: Vec<Broken>,
    /// What happened, line by line, if that was asked for.
    pub story: Vec<String>,
}

/// Something that will happen.
#[derive(Debug)]
enum Event {
    /// An invocation arrives: what for, with what, and by how many seconds its clock is off.
    Arrives(Purpose, Value, i64),
    /// A process goes on to its next call.
    GoesOn(usize),
    /// Clients send half a minute's requests.
    Traffic(Minute),
    /// Another hand does something to a rule.
    Hand(usize, Hand),
    /// So many targets of a group are healthy.
    Health(String, u32),
    Pager(bool),
    /// The pipeline looks whether to start a rollout.
    Pipeline(usize),
    /// A deployment of another system looks where it stands.
    Looks(usize),
    /// It is time for its next question.
    AsksNext(usize),
    /// Its question arrives.
    Asks(usize, Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hand {
    Weights(u32, u32),
    Third(u32),
    Delete,
    Sticky(bool),
    /// All traffic on one of the two groups.
    Reset(usize),
}

#[derive(Debug)]
struct Due {
    at: Timestamp,
    number: u64,
    event: Event,
}

impl Ord for Due {
    /// The earliest is the greatest, as the heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

type Answer = Result<Value, HandlerError>;

/// A process that is under way.
struct Process {
    id: usize,
    wire: Arc<Wire>,
    future: Pin<Box<dyn Future<Output = Answer> + Send>>,
    dies_at: Timestamp,
    /// The deployment that asks, and what.
    asks: Option<(usize, Value)>,
}

/// One listener rule with its two groups, and what is going on there.
struct Service {
    rule: String,
    groups: [String; 2],
    requests_per_minute: f64,
    nature: Nature,
    /// The group with the new version.
    canary: usize,
    /// When the new version came.
    since: Minute,
    /// Requests a minute that reach the canary's group whatever the weights say: another rule, stuck clients.
    leak: f64,
}

struct Episode {
    stage: Arc<Stage>,
    random: Random,
    traffic: Random,
    profile: Profile,
    services: Vec<Service>,
    due: BinaryHeap<Due>,
    number: u64,
    processes: Vec<Process>,
    shifting: Vec<Shifting>,
    now: Timestamp,
    settling: bool,
}

/// Plays the episode of a seed. `story` asks for the story.
#[must_use]
pub fn episode(seed: u64, sabotage: Option<Sabotage>, story: bool) -> Told {
    let mut random = Random::new(seed, 1);
    let profile = Profile::draw(&mut random);
    let minutes = random.between(60, 180);
    let mut episode = Episode::new(seed, random, profile, sabotage, story);
    episode.stage.state().watch.tell(|| format!("episode {seed}, {minutes} minutes: {profile:?}"));
    for at in 0..minutes {
        episode.plan_minute(Minute::of(BEGIN).plus(at), true);
        if episode.run_until(Minute::of(BEGIN).plus(at + 1).start()) {
            return episode.told();
        }
    }
    episode.settle(Minute::of(BEGIN).plus(minutes));
    episode.told()
}

impl Episode {
    fn new(seed: u64, mut random: Random, profile: Profile, sabotage: Option<Sabotage>, story: bool) -> Self {
        let cloud = Cloud::new(BEGIN);
        let count = 1 + random.below(2);
        let services: Vec<Service> = (0..count).map(|number| service(&mut random, number)).collect();
        for service in &services {
            cloud.set_rule(&service.rule, all_on(service, 0, random.chance(0.1)));
        }
        let watch = Watch::new(BEGIN, story);
        let state = State { watch, profile, fates: Random::new(seed, 2), pager_down: false, sabotage };
        let mut episode = Self {
            stage: Arc::new(Stage::new(cloud, state)),
            random,
            traffic: Random::new(seed, 3),
            profile,
            services,
            due: BinaryHeap::new(),
            number: 0,
            processes: Vec::new(),
            shifting: Vec::new(),
            now: BEGIN,
            settling: false,
        };
        for number in 0..count {
            for ecs in [false, true] {
                episode.guard(&belongs_to(ecs, number));
            }
            let second = episode.random.between(0, 300);
            episode.add(BEGIN + SignedDuration::from_secs(second), Event::Pipeline(number));
        }
        episode
    }

    /// Says how the deployments of a service are judged, or nothing.
    fn guard(&mut self, of: &str) {
        if self.random.chance(0.2) {
            return;
        }
        let by = Audit { actor: "chaos".to_owned(), reason: "guard".to_owned(), at: BEGIN };
        let plan = profile::guard(&mut self.random);
        self.tell(|| format!("{of} is judged by {plan}"));
        self.stage.cloud.keep_guard(Guard { of: of.to_owned(), plan, by });
    }

    fn add(&mut self, at: Timestamp, event: Event) {
        self.number += 1;
        self.due.push(Due { at: at.max(self.now), number: self.number, event });
    }

    fn fault(&self, kind: &'static str) {
        self.stage.state().watch.tally.fault(kind);
    }

    fn tell(&self, line: impl FnOnce() -> String) {
        self.stage.state().watch.tell(line);
    }

    /// Lays out what will happen in a minute.
    fn plan_minute(&mut self, minute: Minute, rough: bool) {
        let start = minute.start();
        let second = |seconds: i64| start + SignedDuration::from_secs(seconds);
        let running = self.stage.state().watch.running();
        self.stage.state().watch.tally.rollout_minutes += running as u64;
        self.add(second(25), Event::Traffic(minute));
        self.add(second(55), Event::Traffic(minute));
        if !rough {
            self.add(second(5), Event::Arrives(Purpose::Tick(minute), tick_event(minute), 0));
            return;
        }
        let profile = self.profile;
        self.plan_ticks(minute);
        for number in 0..self.services.len() {
            if self.random.chance(profile.hand) {
                let at = second(self.random.between(0, 59));
                self.plan_hand(number, at);
            }
            self.plan_minutes(number, minute);
            self.plan_health(number, start);
        }
        if self.random.chance(profile.pager) {
            self.fault("SNS down");
            let at = second(self.random.between(0, 59));
            self.add(at, Event::Pager(true));
            let until = at + SignedDuration::from_secs(self.random.between(30, 900));
            self.add(until, Event::Pager(false));
        }
        if self.random.chance(profile.order) {
            let at = second(self.random.between(0, 59));
            self.plan_order(at);
        }
        if self.random.chance(profile.order_at_tick) {
            // Right into the middle of a tick: these are the ones that hurt.
            let at = second(5) + SignedDuration::from_millis(self.random.between(-300, 1_500));
            self.plan_order(at);
        }
        if self.random.chance(profile.order_at_tick * 0.2) {
            let at = second(self.random.between(3, 8));
            self.plan_another_try(at);
        }
        if self.random.chance(profile.freeze) {
            let at = second(self.random.between(0, 59));
            self.plan_freeze(at);
        }
        if self.random.chance(profile.alarm) {
            let at = second(self.random.between(0, 59));
            self.plan_alarm(at);
        }
    }

    fn plan_ticks(&mut self, minute: Minute) {
        let mut at = minute.start() + SignedDuration::from_millis(self.random.between(3_000, 8_000));
        let (mut times, mut off) = (1, 0);
        if self.random.chance(self.profile.ticks) {
            match self.random.below(4) {
                0 => {
                    self.fault("tick dropped");
                    times = 0;
                }
                1 => {
                    self.fault("tick late");
                    at += SignedDuration::from_secs(self.random.between(10, 220));
                }
                _ => {
                    self.fault("tick doubled");
                    times = 2;
                }
            }
        }
        if self.random.chance(self.profile.clock) {
            self.fault("clock off");
            off = self.random.pick(&[-200, -120, -60, -20, 20, 60, 120, 200]);
        }
        let mut event = tick_event(minute);
        if self.random.chance(self.profile.clock * 0.3) {
            self.fault("tick without its minute");
            event = json!({ "kind": "tick" });
        }
        for _ in 0..times {
            self.add(at, Event::Arrives(Purpose::Tick(minute), event.clone(), off));
            at += SignedDuration::from_millis(self.random.pick(&[0, 40, 150, 400, 1_000, 10_000, 40_000]));
        }
    }

    fn plan_hand(&mut self, number: usize, at: Timestamp) {
        let back = at + SignedDuration::from_secs(self.random.between(20, 400));
        let other = self.random.between(1, 99) as u32;
        let (kind, hand) = match self.random.below(8) {
            0 => ("canary set to zero by another hand", Hand::Weights(100, 0)),
            1 => ("both weights set to zero", Hand::Weights(0, 0)),
            2 | 3 => ("weights changed by another hand", Hand::Weights(100 - other, other)),
            4 => ("third group", Hand::Third(other)),
            5 => ("third group taken out", Hand::Third(0)),
            6 => ("stickiness switched", Hand::Sticky(self.random.chance(0.5))),
            _ => ("rule deleted", Hand::Delete),
        };
        self.fault(kind);
        self.add(at, Event::Hand(number, hand));
        if hand == Hand::Delete || (hand == Hand::Weights(0, 0) && self.random.chance(0.7)) {
            self.add(back, Event::Hand(number, Hand::Reset(0)));
        }
    }

    /// What CloudWatch says of this minute may go wrong.
    fn plan_minutes(&mut self, number: usize, minute: Minute) {
        for group in self.services[number].groups.clone() {
            if !self.random.chance(self.profile.minutes) {
                continue;
            }
            let (kind, flaw) = match self.random.below(3) {
                0 => ("minute late", Flaw::Late(self.random.between(30, 500))),
                1 => ("minute missing", Flaw::Missing),
                _ => {
                    let requests = self.random.between(0, 400) as u64;
                    let bad = (requests as f64 * self.random.pick(&[0.0, 0.05, 0.5])) as u64;
                    let first =
                        Counts { requests, answers: [requests - bad, 0, 0, bad], ..Counts::default() };
                    ("minute corrected", Flaw::Corrected { first, after_s: self.random.between(30, 600) })
                }
            };
            self.fault(kind);
            self.stage.cloud.flaw(&group, minute, flaw);
        }
    }

    fn plan_health(&mut self, number: usize, start: Timestamp) {
        if self.random.chance(self.profile.health) {
            self.fault("targets unhealthy");
            let group = self.services[number].groups[self.random.below(2)].clone();
            let at = start + SignedDuration::from_secs(self.random.between(0, 59));
            let until = at + SignedDuration::from_secs(self.random.between(30, 600));
            self.add(at, Event::Health(group.clone(), 0));
            self.add(until, Event::Health(group, 4));
        }
    }

    fn plan_order(&mut self, at: Timestamp) {
        let names: Vec<String> =
            self.stage.state().watch.records().map(|record| record.id().to_owned()).collect();
        if names.is_empty() {
            return;
        }
        self.fault("order");
        let rollout = &names[self.random.below(names.len())];
        let orders: &[(&'static str, Option<&str>)] = &[
            ("pause", None),
            ("resume", None),
            ("resume", Some("adopt")),
            ("resume", Some("restore")),
            ("promote", None),
            ("promote", None),
            ("abort", None),
        ];
        let (word, weights) = self.random.pick(orders);
        let mut event = json!({ "rollout": rollout });
        if let Some(weights) = weights {
            event["weights"] = json!(weights);
        }
        self.command(at, word, event);
    }

    /// A pipeline that aborts a rollout and starts it anew under the same name, as fast as it can.
    fn plan_another_try(&mut self, at: Timestamp) {
        let young = |record: &&Record| !record.phase.is_terminal() && record.version < 6;
        let plan = self.stage.state().watch.records().find(young).map(|record| record.plan.clone());
        let Some(plan) = plan else { return };
        let service = self.services.iter().position(|service| service.rule == plan.targets.listener_rule);
        let Some(number) = service.filter(|number| {
            self.services[*number].groups[self.services[*number].canary] == plan.targets.canary
        }) else {
            return;
        };
        self.fault("aborted and started anew");
        self.command(at, "abort", json!({ "rollout": plan.rollout }));
        let later = self.random.pick(&[400, 700, 1_000, 2_000, 10_000]);
        self.start_as(number, &plan.rollout, at + SignedDuration::from_millis(later));
    }

    fn command(&mut self, at: Timestamp, word: &'static str, mut event: Value) {
        event["kind"] = json!("command");
        event["command"] = json!(word);
        event["actor"] = json!("chaos");
        event["reason"] = json!(format!("{word} {}", self.number));
        let off = if self.random.chance(self.profile.clock) { self.random.between(-90, 90) } else { 0 };
        self.add(at, Event::Arrives(Purpose::Command(word), event, off));
    }

    fn plan_freeze(&mut self, at: Timestamp) {
        self.fault("all rollouts frozen");
        let until = at + SignedDuration::from_secs(self.random.between(60, 1_200));
        self.command(at, "freeze", json!({}));
        self.command(until, "thaw", json!({}));
    }

    fn plan_alarm(&mut self, at: Timestamp) {
        self.fault("alarm");
        let value = self.random.pick(&["ALARM", "ALARM", "OK", "INSUFFICIENT_DATA"]);
        self.add(at, Event::Arrives(Purpose::Alarm, profile::alarm(value, at), 0));
    }

    /// Lets everything happen that is due before `until`; true if a promise was broken.
    fn run_until(&mut self, until: Timestamp) -> bool {
        while self.due.peek().is_some_and(|due| due.at < until) {
            let Some(due) = self.due.pop() else { break };
            self.now = due.at;
            self.stage.state().watch.now = due.at;
            self.happen(due.event);
            if !self.stage.state().watch.broken.is_empty() {
                return true;
            }
        }
        false
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrives(purpose, event, off) => self.arrive(purpose, event, off),
            Event::GoesOn(id) => self.go_on(id),
            Event::Traffic(minute) => self.pass(minute),
            Event::Hand(number, hand) => self.meddle(number, hand),
            Event::Health(group, healthy) => {
                self.tell(|| format!("{healthy} targets of {group} are healthy"));
                self.stage.cloud.set_healthy_targets(&group, healthy);
            }
            Event::Pager(down) => {
                self.tell(|| format!("SNS is {}", if down { "down" } else { "up" }));
                self.stage.state().pager_down = down;
            }
            Event::Pipeline(number) => self.pipeline(number),
            Event::Looks(number) => self.look(number),
            Event::AsksNext(number) => self.ask_next(number),
            Event::Asks(number, event) => self.asked(number, event),
        }
    }

    fn arrive(&mut self, purpose: Purpose, event: Value, off: i64) {
        self.arrive_for(None, purpose, event, off);
    }

    fn arrive_for(&mut self, asks: Option<(usize, Value)>, purpose: Purpose, event: Value, off: i64) {
        let now = self.now + SignedDuration::from_secs(off);
        let under_way: Vec<usize> = self.processes.iter().map(|process| process.id).collect();
        let id = self.stage.state().watch.begin(purpose, now, &under_way);
        let wire = Arc::new(Wire::new(Arc::clone(&self.stage), id));
        let its_wire = Arc::clone(&wire);
        let future = Box::pin(async move { handle(&*its_wire, &options(), &event, now).await });
        self.processes.push(Process { id, wire, future, dies_at: self.now + LIFE, asks });
        self.next_call(id);
    }

    /// When a process makes its next call.
    fn next_call(&mut self, id: usize) {
        let mut takes = SignedDuration::from_millis(self.random.between(5, 120));
        if self.random.chance(self.profile.stall) && !self.settling {
            self.fault("call takes seconds");
            takes = SignedDuration::from_millis(self.random.between(300, 30_000));
        }
        self.add(self.now + takes, Event::GoesOn(id));
    }

    fn go_on(&mut self, id: usize) {
        let Some(at) = self.processes.iter().position(|process| process.id == id) else { return };
        self.stage.cloud.set_now(self.now);
        let process = &mut self.processes[at];
        if self.now >= process.dies_at {
            self.finish(at, &End::Died);
            return;
        }
        process.wire.give_turn();
        let mut context = Context::from_waker(Waker::noop());
        let future = &mut process.future;
        // A process that has panicked is never polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
        match polled {
            Ok(Poll::Pending) if process.wire.is_dead() => self.finish(at, &End::Died),
            Ok(Poll::Pending) => self.next_call(id),
            Ok(Poll::Ready(Ok(answer))) => self.finish(at, &End::Answered(&answer)),
            Ok(Poll::Ready(Err(error))) => self.finish(at, &End::Failed(&error)),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                self.finish(at, &End::Panicked(text.unwrap_or_default()));
            }
        }
    }

    fn finish(&mut self, at: usize, end: &End<'_>) {
        let process = self.processes.swap_remove(at);
        let cloud = &self.stage.cloud;
        let deployment = |owner: &Owner| cloud.deployment_of(deployments::id(owner));
        self.stage.state().watch.end(process.id, end, |rule| cloud.rule(rule), deployment);
        if let Some((number, event)) = process.asks {
            self.answered(process.id, number, &event, end);
        }
    }

    /// Half a minute's requests, as the weights say now.
    fn pass(&mut self, minute: Minute) {
        for service in &self.services {
            let Some(rule) = self.stage.cloud.rule(&service.rule) else { continue };
            let all: u32 = rule.groups.iter().map(|(_, weight)| weight).sum();
            let mut left = self.traffic.poisson(service.requests_per_minute / 2.0);
            let mut rest = all;
            for (number, group) in service.groups.iter().enumerate() {
                let weight = rule.weight(group);
                let mut requests = match rest {
                    0 => 0,
                    rest => self.traffic.binomial(left, f64::from(weight) / f64::from(rest)),
                };
                (left, rest) = (left - requests, rest - weight);
                if number == service.canary {
                    requests += self.traffic.poisson(service.leak / 2.0);
                }
                let sick = self.stage.cloud.health(group) == 0;
                let age = minute.since(service.since);
                let errors = match service.nature {
                    _ if number != service.canary => USUAL_ERRORS,
                    Nature::Harmful(errors, from) if age >= from => errors,
                    Nature::Refuses(from) if age >= from => 1.0,
                    _ => USUAL_ERRORS,
                };
                let counts = answers(&mut self.traffic, requests, errors, sick);
                self.stage.cloud.count(group, minute, &counts);
            }
        }
    }

    fn meddle(&mut self, number: usize, hand: Hand) {
        let service = &self.services[number];
        let cloud = &self.stage.cloud;
        let before = cloud.rule(&service.rule);
        let sticky = before.as_ref().is_some_and(|rule| rule.sticky);
        match (before, hand) {
            (_, Hand::Delete) => cloud.remove_rule(&service.rule),
            (_, Hand::Reset(group)) => cloud.set_rule(&service.rule, all_on(service, group, sticky)),
            (Some(mut rule), hand) => {
                match hand {
                    Hand::Weights(stable, canary) => {
                        rule.set_weight(&service.groups[1 - service.canary], stable);
                        rule.set_weight(&service.groups[service.canary], canary);
                    }
                    Hand::Third(0) => rule.groups.retain(|(group, _)| service.groups.contains(group)),
                    Hand::Third(weight) => rule.set_weight("third", weight),
                    Hand::Sticky(on) => rule.sticky = on,
                    Hand::Delete | Hand::Reset(_) => {}
                }
                cloud.set_rule(&service.rule, rule);
            }
            (None, _) => {}
        }
        let after = cloud.rule(&service.rule);
        let watch = &mut self.stage.state().watch;
        watch.hand(&service.rule);
        watch.tell(|| format!("ANOTHER HAND: {}", after.as_ref().map_or("no rule".to_owned(), weights)));
    }

    /// Starts a rollout if none is running on the rule; now and then also if one is.
    fn pipeline(&mut self, number: usize) {
        if self.settling {
            return;
        }
        // Now and then at once, so that an invocation of the rollout before it may still be under way.
        let longest = self.random.pick(&[20, 600, 600]);
        let again = self.now + SignedDuration::from_secs(self.random.between(2, longest));
        self.add(again, Event::Pipeline(number));
        let busy = {
            let state = self.stage.state();
            let here = |record: &&Record| record.plan.targets.listener_rule == self.services[number].rule;
            let running = state.watch.records().filter(here).any(|record| !record.is_over());
            running || self.is_deployed(number)
        };
        if busy && !self.random.chance(0.05) {
            return;
        }
        if !busy {
            self.deploy(number);
        }
        if !self.is_deployed(number) && self.random.chance(0.3) {
            return self.begin_deployment(number);
        }
        let at = self.now + SignedDuration::from_millis(1_000);
        self.start(number, at);
        if self.random.chance(self.profile.two_starts) {
            self.fault("two starts at once");
            let later = self.random.pick(&[0, 20, 60, 200, 500]);
            self.start(number, at + SignedDuration::from_millis(later));
        }
    }

    /// A new version comes into the group that serves less; the other one serves all.
    fn deploy(&mut self, number: usize) {
        let rule = self.stage.cloud.rule(&self.services[number].rule);
        let service = &self.services[number];
        let weight = |group: usize| rule.as_ref().map_or(0, |rule| rule.weight(&service.groups[group]));
        let canary = usize::from(weight(1) <= weight(0));
        let reset = rule.is_none() || weight(canary) > 0 || weight(1 - canary) == 0;
        let (nature, since) = (Nature::draw(&mut self.random), Minute::of(self.now));
        let requests_per_minute = profile::traffic(&mut self.random);
        let leak = if self.random.chance(0.1) { self.random.pick(&[3.0, 30.0, 300.0]) } else { 0.0 };
        let service = &mut self.services[number];
        (service.canary, service.nature, service.since) = (canary, nature, since);
        (service.requests_per_minute, service.leak) = (requests_per_minute, leak);
        self.tell(|| {
            format!("a new version: {nature:?}, {requests_per_minute} requests a minute, leak {leak}")
        });
        if reset {
            self.meddle(number, Hand::Reset(1 - canary));
        }
    }

    fn start(&mut self, number: usize, at: Timestamp) {
        // The same name now and then, and another one else.
        let name = format!("r{number}-{}", self.random.below(3));
        self.start_as(number, &name, at);
    }

    fn start_as(&mut self, number: usize, name: &str, at: Timestamp) {
        let service = &self.services[number];
        let [stable, canary] =
            [1 - service.canary, service.canary].map(|group| service.groups[group].as_str());
        let targets = [service.rule.as_str(), stable, canary];
        let plan = profile::plan(&mut self.random, name, targets);
        self.tell(|| format!("to be started: {plan}"));
        self.command(at, "start", json!({ "plan": plan }));
    }

    /// The faults stop, and some ticks later all must be well.
    fn settle(&mut self, from: Minute) {
        self.settling = true;
        {
            let state = &mut *self.stage.state();
            state.profile = Profile::CALM;
            state.pager_down = false;
            state.watch.tell(|| "THE FAULTS STOP".to_owned());
        }
        self.profile = Profile::CALM;
        self.due.retain(|due| matches!(due.event, Event::GoesOn(_)));
        for number in 0..self.services.len() {
            for group in &self.services[number].groups {
                self.stage.cloud.set_healthy_targets(group, 4);
            }
            // A rule that gives neither group anything takes no share.
            let service = &self.services[number];
            let rule = self.stage.cloud.rule(&service.rule);
            let serves = |rule: &Rule| service.groups.iter().any(|group| rule.weight(group) > 0);
            if !rule.as_ref().is_some_and(serves) {
                self.meddle(number, Hand::Reset(1 - service.canary));
            }
        }
        if self.stage.cloud.is_frozen() {
            self.command(from.start(), "thaw", json!({}));
        }
        for at in 0..SETTLE_MINUTES {
            self.plan_minute(from.plus(at), false);
            if self.run_until(from.plus(at + 1).start()) {
                return;
            }
        }
        let cloud = &self.stage.cloud;
        self.stage.state().watch.settle(|rule| cloud.rule(rule));
    }

    fn told(self) -> Told {
        let watch = std::mem::take(&mut self.stage.state().watch);
        let tally = Tally { episodes: 1, ..watch.tally };
        Told { tally, broken: watch.broken, story: watch.story.unwrap_or_default() }
    }
}

fn service(random: &mut Random, number: usize) -> Service {
    let arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:";
    Service {
        rule: format!(
            "{arn}listener-rule/app/chaos/50dc6c495c0c9188/f2f7dc8efc522ab2/9683b2d02a6cab{number:02x}"
        ),
        groups: [0, 1].map(|group| format!("{arn}targetgroup/v{group}/943f017f100bec{number}{group}")),
        requests_per_minute: profile::traffic(random),
        nature: Nature::Healthy,
        canary: 1,
        since: Minute::of(BEGIN),
        leak: 0.0,
    }
}

fn all_on(service: &Service, group: usize, sticky: bool) -> Rule {
    let weight = |number: usize| if number == group { 100 } else { 0 };
    let groups = service.groups.iter().enumerate().map(|(number, arn)| (arn.clone(), weight(number)));
    Rule { groups: groups.collect(), sticky }
}

fn answers(random: &mut Random, requests: u64, errors: f64, sick: bool) -> Counts {
    // A connection that is refused has no answer at all.
    let refused = if sick || errors >= 1.0 { requests } else { 0 };
    let bad = random.binomial(requests - refused, errors);
    let answers = [requests - refused - bad, 0, 0, bad];
    Counts { requests, answers, ..Counts::default() }
}
