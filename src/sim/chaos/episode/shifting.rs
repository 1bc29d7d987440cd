//! Deployments of CodeDeploy and ECS: they raise the weights themselves and ask by hooks, once, twice or never.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::gates::BEFORE;
use super::super::profile::{self, Draw};
use super::super::watch::{End, Purpose};
use super::{Episode, Event, Hand};
use crate::ports::Deployment;
use crate::rollout::gate::{Owner, Waiting};
use crate::rollout::plan::Targets;
use crate::sim::SimDeployment;

/// A hook that nobody answers fails its deployment.
const HOOK_TIMEOUT: SignedDuration = SignedDuration::from_mins(60);
/// So often Lambda hands over an event again whose invocation failed.
const RETRIES: u32 = 2;

/// One deployment.
#[derive(Debug)]
pub(super) struct Shifting {
    owner: Owner,
    service: usize,
    /// The canary's weights, of 100.
    weights: &'static [u32],
    /// So many of them stand.
    done: usize,
    /// It waits for an answer: to which question, and since when.
    asks: Option<(Question, Timestamp)>,
    /// What ECS keeps for the hook.
    details: Value,
    retries: u32,
    over: bool,
}

/// What it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Question {
    /// A hook that a tick answers, by its name.
    Parked(String),
    /// A hook that is answered at once: the stage.
    AtOnce(&'static str),
}

impl Shifting {
    fn id(&self) -> &str {
        match &self.owner {
            Owner::CodeDeploy { deployment } | Owner::Ecs { deployment } => deployment,
        }
    }

    fn is_ecs(&self) -> bool {
        matches!(self.owner, Owner::Ecs { .. })
    }
}

/// The name of the hook in which somebody waits.
fn hook_of(waiting: &Waiting) -> Option<&String> {
    match waiting {
        Waiting::CodeDeployHook { execution, .. } => Some(execution),
        Waiting::EcsPause { hook, .. } => Some(hook),
        Waiting::Github { .. } => None,
    }
}

/// What the deployments of a service belong to.
pub(super) fn belongs_to(ecs: bool, service: usize) -> String {
    if ecs { format!("ecs:chaos/s{service}") } else { format!("codedeploy:chaos/s{service}") }
}

impl Episode {
    /// Another system begins to shift a rule's traffic.
    pub(super) fn begin_deployment(&mut self, service: usize) {
        let ecs = self.random.chance(0.5);
        self.begin_one(service, ecs, false);
    }

    fn begin_one(&mut self, service: usize, ecs: bool, back: bool) {
        let number = self.shifting.len();
        let deployment = if ecs {
            format!("arn:aws:ecs:eu-central-1:123456789012:service-deployment/chaos/s{service}/{number}")
        } else {
            format!("d-{number}")
        };
        let its = &self.services[service];
        let [stable, canary] = [1 - its.canary, its.canary].map(|group| its.groups[group].clone());
        let targets = Targets { listener_rule: its.rule.clone(), stable, canary, role_arn: None };
        let targets = (!self.random.chance(0.05)).then_some(targets);
        let state = Deployment {
            of: belongs_to(ecs, service),
            is_going_back: back,
            is_first: ecs && self.random.chance(0.05),
            ..Deployment::default()
        };
        self.stage.cloud.set_deployment(&deployment, SimDeployment { state, targets, ..Default::default() });
        let weights: &[&'static [u32]] = &[&[10, 100], &[5, 25, 50, 100], &[50], &[100], &[20, 60]];
        let details = if ecs && self.random.chance(0.7) {
            json!({ "plan": profile::guard(&mut self.random) })
        } else {
            json!({})
        };
        let owner = if ecs { Owner::Ecs { deployment } } else { Owner::CodeDeploy { deployment } };
        let weights = if back { &[] } else { self.random.pick(weights) };
        self.tell(|| format!("ANOTHER SYSTEM: {} begins on rule {service}, {weights:?}", owner.name()));
        self.stage.state().watch.tally.deployments += 1;
        self.shifting.push(Shifting {
            owner,
            service,
            weights,
            done: 0,
            asks: None,
            details,
            retries: 0,
            over: false,
        });
        self.ask(number, true);
    }

    /// Another system has a rule's weights.
    pub(super) fn is_deployed(&self, service: usize) -> bool {
        self.shifting.iter().any(|shifting| shifting.service == service && !shifting.over)
    }

    fn change(&mut self, number: usize, change: impl FnOnce(&mut Deployment)) {
        let id = self.shifting[number].id();
        let mut found = self.stage.cloud.deployment_of(id).unwrap_or_default();
        change(&mut found.state);
        self.stage.cloud.set_deployment(id, found);
    }

    /// Asks whether it may go on; before its traffic, or later.
    fn ask(&mut self, number: usize, before: bool) {
        let shifting = &self.shifting[number];
        let (id, done) = (shifting.id().to_owned(), shifting.done);
        if shifting.is_ecs() {
            let last = done == shifting.weights.len();
            let stage = match (before, last) {
                (true, _) => "POST_SCALE_UP",
                (false, false) => "PRE_PRODUCTION_TRAFFIC_SHIFT",
                (false, true) => "POST_PRODUCTION_TRAFFIC_SHIFT",
            };
            self.change(number, |state| state.stage = Some(stage.to_owned()));
            // A pause hook is only seen by a rollout that another hook has begun.
            if !before && self.random.chance(0.3) {
                let hook = format!("{id}-pause-{done}");
                self.change(number, |state| state.pauses = vec![hook.clone()]);
                self.shifting[number].asks = Some((Question::Parked(hook), self.now));
            } else {
                self.shifting[number].asks = Some((Question::AtOnce(stage), self.now));
                self.ask_at_once(number, stage);
            }
        } else {
            let stage = if before { "BeforeAllowTraffic" } else { "AfterAllowTraffic" };
            let execution = format!("{id}-{}", if before { BEFORE } else { "after" });
            self.change(number, |state| state.stage = Some(stage.to_owned()));
            self.shifting[number].asks = Some((Question::Parked(execution.clone()), self.now));
            let event = json!({ "DeploymentId": id, "LifecycleEventHookExecutionId": execution });
            let mut at = self.now + SignedDuration::from_millis(self.random.between(50, 3_000));
            for copy in 0..self.random.pick(&[0, 1, 1, 1, 1, 2, 3]) {
                if copy > 0 {
                    self.fault("hook delivered again");
                }
                self.hook(at, number, event.clone());
                at += SignedDuration::from_millis(self.random.pick(&[0, 100, 1_000, 60_000, 600_000]));
            }
        }
        self.look_later(number);
    }

    fn hook(&mut self, at: Timestamp, number: usize, event: Value) {
        self.add(at, Event::Asks(number, event));
    }

    fn ask_at_once(&mut self, number: usize, stage: &'static str) {
        let shifting = &self.shifting[number];
        let share = shifting.done.checked_sub(1).map_or(0, |at| shifting.weights[at]);
        // ECS says the weights that stand; on its way back those that are to come.
        let share = if stage == "PRODUCTION_TRAFFIC_SHIFT" { 0 } else { share };
        let event = json!({
            "executionId": format!("e-{number}"),
            "lifecycleStage": stage,
            "resourceArn": shifting.id(),
            "executionDetails": {
                "targetServiceRevisionArn": "new",
                "productionTrafficWeights": { "old": 100 - share, "new": share },
            },
            "hookDetails": shifting.details,
        });
        let at = self.now + SignedDuration::from_millis(self.random.between(50, 1_000));
        self.hook(at, number, event);
    }

    fn look_later(&mut self, number: usize) {
        let seconds = self.random.pick(&[5, 20, 40, 60, 90, 200]);
        self.add(self.now + SignedDuration::from_secs(seconds), Event::Looks(number));
    }

    /// A deployment looks where it stands, and does what is next.
    pub(super) fn look(&mut self, number: usize) {
        if self.shifting[number].over || self.settling {
            return;
        }
        let Some(found) = self.stage.cloud.deployment_of(self.shifting[number].id()) else { return };
        if found.stopped {
            return self.go_back(number, "Stopped");
        }
        match self.shifting[number].asks.clone() {
            None => self.go_on_shifting(number),
            Some((Question::Parked(name), since)) => {
                let answer = found.told.iter().find(|(waiting, _)| hook_of(waiting) == Some(&name));
                match answer.map(|(_, told)| told.pass) {
                    Some(true) => {
                        self.shifting[number].asks = None;
                        self.go_on_shifting(number);
                    }
                    Some(false) => self.go_back(number, "Failed"),
                    None if self.now.duration_since(since) > HOOK_TIMEOUT => self.go_back(number, "Failed"),
                    None => self.look_later(number),
                }
            }
            Some((Question::AtOnce(_), _)) => self.look_later(number),
        }
    }

    /// The next weight, or the last question, or the end.
    fn go_on_shifting(&mut self, number: usize) {
        let shifting = &mut self.shifting[number];
        let (service, done) = (shifting.service, shifting.done);
        if let Some(weight) = shifting.weights.get(done).copied() {
            shifting.done += 1;
            let (asks, last) = (shifting.is_ecs(), shifting.done == shifting.weights.len());
            self.change(number, |state| state.stage = Some("AllowTraffic".to_owned()));
            self.meddle(service, Hand::Weights(100 - weight, weight));
            if asks || last {
                return self.ask_later(number);
            }
            return self.look_later(number);
        }
        self.tell(|| format!("ANOTHER SYSTEM: deployment {number} ends well"));
        self.change(number, |state| state.ended = Some("Succeeded".to_owned()));
        self.shifting[number].over = true;
    }

    /// Some minutes after a shift it asks for the next one.
    fn ask_later(&mut self, number: usize) {
        let seconds = self.random.between(30, 900);
        self.add(self.now + SignedDuration::from_secs(seconds), Event::AsksNext(number));
    }

    pub(super) fn ask_next(&mut self, number: usize) {
        let stopped = self.stage.cloud.deployment_of(self.shifting[number].id()).is_some_and(|it| it.stopped);
        if self.shifting[number].over || self.settling {
            return;
        }
        if stopped { self.go_back(number, "Stopped") } else { self.ask(number, false) }
    }

    fn go_back(&mut self, number: usize, how: &'static str) {
        let (service, ecs) = (self.shifting[number].service, self.shifting[number].is_ecs());
        self.tell(|| format!("ANOTHER SYSTEM: deployment {number} goes back: {how}"));
        let stable = 1 - self.services[service].canary;
        self.meddle(service, Hand::Reset(stable));
        self.change(number, |state| state.ended = Some(how.to_owned()));
        self.shifting[number].over = true;
        if !ecs && !self.shifting[number].weights.is_empty() && self.random.chance(0.5) {
            self.begin_one(service, false, true);
        }
    }

    /// How the invocation ended that a deployment's question was.
    pub(super) fn answered(&mut self, id: usize, number: usize, event: &Value, end: &End<'_>) {
        let shifting = &self.shifting[number];
        if shifting.over || self.settling {
            return;
        }
        if !shifting.is_ecs() {
            let failed = !matches!(end, End::Answered(_));
            if failed && shifting.retries < RETRIES {
                self.shifting[number].retries += 1;
                let at = self.now + SignedDuration::from_secs(60);
                self.hook(at, number, event.clone());
            }
            return;
        }
        let Some((Question::AtOnce(stage), _)) = shifting.asks.clone() else { return };
        let End::Answered(answer) = end else { return self.go_back(number, "Failed") };
        let found = self.stage.cloud.deployment_of(shifting.id()).unwrap_or_default();
        let back = found.state.is_going_back || found.state.is_first;
        let owner = shifting.owner.clone();
        self.stage.state().watch.answered_ecs(id, &owner, stage == "POST_SCALE_UP", back, answer);
        self.shifting[number].details = answer["hookDetails"].clone();
        match answer["hookStatus"].as_str() {
            _ if found.stopped => self.go_back(number, "Stopped"),
            Some("SUCCEEDED") => {
                self.shifting[number].asks = None;
                self.go_on_shifting(number);
            }
            Some("IN_PROGRESS") => {
                let later = answer["callBackDelay"].as_i64().unwrap_or(30);
                let at = self.now + SignedDuration::from_secs(later);
                let mut again = event.clone();
                again["hookDetails"] = answer["hookDetails"].clone();
                self.hook(at, number, again);
            }
            _ => self.go_back(number, "Failed"),
        }
    }

    /// The event of a deployment's question arrives.
    pub(super) fn asked(&mut self, number: usize, event: Value) {
        self.arrive_for(Some((number, event.clone())), Purpose::Hook, event, 0);
    }
}
