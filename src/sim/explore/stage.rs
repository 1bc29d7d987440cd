//! A small world for the search: one rule with a third group, one rollout, traffic without chance, and the
//! starting situations that matter.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::handler::{HandlerError, Options, handle};
use crate::ports::{FailureKind, Platform};
use crate::rollout::plan::Targets;
use crate::rollout::record::Record;
use crate::sim::run::{default_plan, options, tick_event};
use crate::sim::{Cloud, Counts, Fault, Operation, Outcome, Rule};
use crate::units::{Minute, Share};

/// The rollout that everything is about.
pub(super) const ROLLOUT: &str = "checkout-v42";
/// A group in the rule that is none of the rollout's business.
pub(super) const FOREIGN: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/other/1";
/// The second of its minute in which a tick arrives.
pub(super) const TICK_SECOND: i64 = 5;
/// Requests a minute, both arms together: many, so that a step is proven within minutes.
const REQUESTS: f64 = 40_000.0;
/// Errors of a thousand requests of an arm that does well, and of one that does not.
const PER_MILLE: [f64; 2] = [3.0, 300.0];
/// No situation takes longer to come about.
const MINUTES_AT_MOST: u32 = 60;

/// A world at the moment in which the invocations begin.
#[derive(Debug)]
pub struct Stage {
    pub(super) cloud: Cloud,
    /// The minute of the next tick.
    pub(super) minute: Minute,
    pub(super) targets: Targets,
    /// The canary does harm.
    pub(super) harmful: bool,
    /// Another hand has changed the weights.
    pub(super) meddled: bool,
    /// Clients reach the canary whatever its weight.
    pub(super) still_served: bool,
}

/// Polls an invocation that has nothing to wait for.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("no call waits unless calls are made step by step"),
    }
}

/// A command of somebody's.
pub(super) fn command(own: &Value) -> Value {
    let mut event = json!({ "kind": "command", "actor": "ana", "reason": "the search" });
    if let (Some(event), Some(own)) = (event.as_object_mut(), own.as_object()) {
        event.extend(own.clone());
    }
    event
}

/// The plan of every situation, under this name: short, and with nothing but errors to look at.
pub(super) fn plan(rollout: &str, steps: &[&str]) -> Value {
    let mut plan = default_plan();
    plan["rollout"] = json!(rollout);
    plan["steps"] = json!(steps);
    plan["bake"] = json!("2m");
    plan["min_requests"] = json!(1000);
    plan["checks"] = json!({ "errors": {} });
    plan
}

impl Clone for Stage {
    fn clone(&self) -> Self {
        Self { cloud: self.cloud.fork(), targets: self.targets.clone(), ..*self }
    }
}

impl Stage {
    /// Twenty minutes of stable's traffic, and a rollout that was just started.
    fn started(steps: &[&str], more: &Value) -> Self {
        let minute = Minute::of(Timestamp::constant(1_772_359_200, 0));
        let text = |key: &str| default_plan()[key].as_str().unwrap_or_default().to_owned();
        let targets = Targets {
            listener_rule: text("listener_rule"),
            stable: text("stable"),
            canary: text("canary"),
            role_arn: None,
        };
        let cloud = Cloud::new(minute.start());
        let mut rule = Rule::all_on_stable(&targets);
        rule.groups.insert(1, (FOREIGN.to_owned(), 25));
        cloud.set_rule(&targets.listener_rule, rule);
        let stage = Self { cloud, minute, targets, harmful: false, meddled: false, still_served: false };
        for at in -20..0 {
            stage.traffic(&stage.cloud, minute.plus(at));
        }
        let mut plan = plan(ROLLOUT, steps);
        if let (Some(plan), Some(more)) = (plan.as_object_mut(), more.as_object()) {
            plan.extend(more.clone());
        }
        let start = command(&json!({ "command": "start", "plan": plan }));
        let accepted = stage.handle(&start, stage.at(-30));
        assert!(accepted.is_ok(), "the plan of the search is accepted: {accepted:?}");
        stage
    }

    /// So many seconds after the minute of the next tick began.
    pub(super) fn at(&self, second: i64) -> Timestamp {
        self.minute.start() + SignedDuration::from_secs(second)
    }

    fn handle(&self, event: &Value, now: Timestamp) -> Result<Value, HandlerError> {
        self.cloud.set_now(now);
        at_once(handle(&self.cloud, &options(), event, now))
    }

    pub(super) fn share(&self, cloud: &Cloud) -> Share {
        let rule = cloud.rule(&self.targets.listener_rule);
        rule.map_or(Share::ZERO, |rule| rule.split(&self.targets).share())
    }

    pub(super) fn record(&self) -> Record {
        self.cloud.record(ROLLOUT).expect("every situation has its rollout")
    }

    /// Both arms' requests of a minute, split as the rule says now.
    pub(super) fn traffic(&self, cloud: &Cloud, minute: Minute) {
        let share = self.share(cloud).fraction();
        let canary = (REQUESTS * if self.still_served { share.max(0.25) } else { share }).round();
        let per_mille = [PER_MILLE[0], PER_MILLE[usize::from(self.harmful)]];
        let groups = [&self.targets.stable, &self.targets.canary];
        for ((group, requests), per_mille) in
            groups.into_iter().zip([REQUESTS - canary, canary]).zip(per_mille)
        {
            let failed = (requests * per_mille / 1000.0).round() as u64;
            let requests = requests as u64;
            let answers = [requests - failed, 0, 0, failed];
            cloud.count(group, minute, &Counts { requests, answers, ..Counts::default() });
        }
    }

    fn next_minute(&mut self) {
        self.traffic(&self.cloud, self.minute);
        self.minute = self.minute.plus(1);
    }

    /// The tick of this minute, and on to the next; the word of its decision.
    fn tick(&mut self) -> String {
        let answer = self.handle(&tick_event(self.minute), self.at(TICK_SECOND));
        self.next_minute();
        let word =
            answer.ok().and_then(|answer| answer["rollouts"][0]["decision"].as_str().map(str::to_owned));
        word.unwrap_or_default()
    }

    /// Ticks up to the one that would come to this decision.
    fn before(mut self, decision: &str) -> Self {
        for _ in 0..MINUTES_AT_MOST {
            let now = self.clone();
            if self.tick() == decision {
                return now;
            }
        }
        unreachable!("no {decision} within {MINUTES_AT_MOST} minutes: {:?}", self.record().last)
    }

    fn ticked(mut self, times: u32) -> Self {
        for _ in 0..times {
            self.tick();
        }
        self
    }

    fn ordered(self, own: &Value) -> Self {
        let answer = self.handle(&command(own), self.at(-20));
        assert!(answer.is_ok(), "{own} is accepted: {answer:?}");
        self
    }

    /// The tick of this minute, begun at this second, makes its calls up to and with the `times`-th of one
    /// operation, and then dies.
    fn dying(mut self, second: i64, last: Operation, times: u32) -> Self {
        let event = tick_event(self.minute);
        let now = self.at(second);
        self.cloud.set_now(now);
        self.cloud.step_by_step(true);
        {
            let options: Options = options();
            let mut work = pin!(handle(&self.cloud, &options, &event, now));
            let mut context = Context::from_waker(Waker::noop());
            let mut left = times;
            while left > 0 && work.as_mut().poll(&mut context).is_pending() {
                left -= u32::from(self.cloud.take_announced().contains(&last));
            }
            // The call itself; what comes after it only begins to wait.
            assert!(
                left == 0 && work.as_mut().poll(&mut context).is_pending(),
                "{last:?} comes {times} times"
            );
        }
        drop(self.cloud.take_announced());
        self.cloud.step_by_step(false);
        self.next_minute();
        self
    }

    fn failing(mut self, operation: Operation, ticks: u32) -> Self {
        for _ in 0..ticks {
            let outcome = Outcome::Fails(FailureKind::Denied);
            self.cloud.fail(Fault { operation, outcome, times: 1 });
            self.tick();
        }
        self
    }

    fn meddled(mut self) -> Self {
        let mut rule = self.cloud.rule(&self.targets.listener_rule).expect("every situation has its rule");
        rule.set_weight(&self.targets.stable, 60);
        rule.set_weight(&self.targets.canary, 40);
        self.cloud.set_rule(&self.targets.listener_rule, rule);
        self.meddled = true;
        self
    }

    fn harmful(mut self) -> Self {
        self.harmful = true;
        self
    }

    /// Every situation from which the invocations begin, by name.
    #[must_use]
    pub fn situations() -> Vec<(&'static str, Self)> {
        let whole = || Self::started(&["25%", "50%", "100%"], &json!({}));
        let promotion = || whole().ticked(1).before("promote");
        let harm = || whole().ticked(1).harmful().before("drain");
        let end = || Self::started(&["50%", "100%"], &json!({})).ticked(1).before("promote");
        let late = 40;
        vec![
            ("before the first shift", whole()),
            ("on a step", whole().ticked(3)),
            ("before a promotion", promotion()),
            ("before a drain", harm()),
            ("before the last shift", end()),
            ("before the finish", Self::started(&["50%"], &json!({})).ticked(1).before("finish")),
            ("a young intent, not written", promotion().dying(late, Operation::Put, 1)),
            ("a young intent, written", promotion().dying(late, Operation::WriteSplit, 1)),
            ("an old intent, not written", promotion().dying(TICK_SECOND, Operation::Put, 1)),
            ("an old intent, written", promotion().dying(TICK_SECOND, Operation::WriteSplit, 1)),
            ("an old intent to the end, written", end().dying(TICK_SECOND, Operation::WriteSplit, 1)),
            ("a young intent of the first shift, not written", whole().dying(late, Operation::Put, 1)),
            ("harm and a young intent, not written", {
                let mut stage = promotion().dying(late, Operation::Put, 1).harmful();
                (0..2).for_each(|_| stage.worsen());
                stage
            }),
            ("harm and a young intent, written", {
                let mut stage = promotion().dying(late, Operation::WriteSplit, 1).harmful();
                (0..2).for_each(|_| stage.worsen());
                stage
            }),
            ("draining", harm().failing(Operation::WriteSplit, 2)),
            ("drained, not recorded", harm().dying(TICK_SECOND, Operation::WriteSplit, 1)),
            ("drained, page not sent", harm().failing(Operation::Page, 1)),
            ("drained, page sent and not noted", harm().dying(TICK_SECOND, Operation::Page, 1)),
            ("drained", harm().ticked(1)),
            ("drained, still served", {
                let mut stage = harm();
                stage.still_served = true;
                stage.ticked(1)
            }),
            ("promoted, page not sent", end().failing(Operation::Page, 1)),
            ("promoted", end().ticked(1)),
            (
                "paused",
                whole().ticked(2).ordered(&json!({ "command": "pause", "rollout": ROLLOUT })).ticked(1),
            ),
            ("meddled with", whole().ticked(3).meddled()),
            ("frozen", whole().ticked(3).meddled().ticked(1)),
            ("frozen and harmful", whole().ticked(3).meddled().ticked(1).harmful().before("drain")),
        ]
    }

    /// The record after so many ticks that nothing disturbs.
    pub(super) fn after_calm_ticks(&self, ticks: u32) -> Record {
        self.clone().ticked(ticks).record()
    }

    /// The minutes that the next tick sees get the canary's errors.
    fn worsen(&mut self) {
        for at in 2..5 {
            let counts = Counts { requests: 4_000, answers: [0, 0, 0, 4_000], ..Counts::default() };
            self.cloud.count(&self.targets.canary, self.minute.plus(-at), &counts);
        }
    }
}

/// Whatever has a cloud below it.
pub trait Staged: Platform + AsRef<Cloud> {}

impl<T: Platform + AsRef<Cloud>> Staged for T {}
