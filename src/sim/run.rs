//! Drives the handler through a scenario, one tick a minute, in virtual time.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::alb::Rule;
use super::cloud::Cloud;
use super::faults::Fault;
use super::scenario::{Scenario, Stage, What};
use super::traffic::{Traffic, Truth};
use crate::analysis::window::{Arm, Row};
use crate::config::Clock;
use crate::handler::tick::RolloutReport;
use crate::handler::{HandlerError, Options, handle};
use crate::ports::{Message, Platform};
use crate::rollout::plan::{BASELINE, Plan, Targets};
use crate::rollout::record::Record;
use crate::units::{Minute, Share, Span};

/// The second of its minute in which a tick arrives.
const TICK_SECOND: u32 = 5;
/// Minutes younger than this are not looked at; the installation's default.
pub const WATERMARK: Span = Span::from_seconds(120);
/// Virtual time that a simulation takes at most, unless asked otherwise.
pub const LIMIT_MINUTES: u32 = 360;
/// When every story begins.
const BEGIN: Timestamp = Timestamp::constant(1_772_359_200, 0);

const REGION: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012";

/// The plan that is simulated if none is given: the defaults, and targets that do not exist.
#[must_use]
pub fn default_plan() -> Value {
    json!({
        "rollout": "checkout-v42",
        "listener_rule": format!("{REGION}:listener-rule/app/shop/50dc6c495c0c9188/f2f7dc8efc522ab2/9683b2d02a6cabee"),
        "stable": format!("{REGION}:targetgroup/checkout-v41/73e2d6bc24d8a067"),
        "canary": format!("{REGION}:targetgroup/checkout-v42/943f017f100becff"),
    })
}

/// A plan as the user wrote it, with simulated targets where it names none.
#[must_use]
pub fn with_targets(mut plan: Value) -> Value {
    if let (Some(plan), Value::Object(defaults)) = (plan.as_object_mut(), default_plan()) {
        for (key, value) in defaults {
            plan.entry(key).or_insert(value);
        }
    }
    plan
}

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The scenario.
    pub scenario: &'static Scenario,
    /// Requests a second, all groups together.
    pub requests_per_s: f64,
    /// The same seed tells the same story.
    pub seed: u64,
    /// The plan as a `start` command carries it.
    pub plan: Value,
    /// Virtual minutes at most.
    pub minutes: u32,
}

/// One tick.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// When it was.
    pub at: Minute,
    /// What began in this minute; only the simulator knows.
    pub happened: Vec<&'static str>,
    /// The newest minute that the tick could see whole, as CloudWatch published it.
    pub seen: Row,
    /// What the handler answered, or why it could not.
    pub answer: Result<RolloutReport, String>,
    /// Pages that went out.
    pub pages: Vec<Page>,
}

/// A page as on-call gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page {
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub body: String,
}

impl From<Message> for Page {
    fn from(message: Message) -> Self {
        Self { subject: message.subject, body: message.body }
    }
}

/// How it ended.
#[derive(Debug, Clone)]
pub struct Ending {
    /// The record as it is stored.
    pub record: Record,
    /// The last minute that was simulated.
    pub last: Minute,
    /// What truly happened.
    pub truth: Truth,
    /// When the first thing of the scenario happened.
    pub trouble_since: Option<Minute>,
    /// When the canary's share last fell to zero.
    pub drained_at: Option<Timestamp>,
    /// The p95 of both arms' response times since the first shift, in ms; stable first.
    pub p95_ms: [f64; 2],
    /// The cloud, for those who want to look closer.
    pub cloud: Arc<Cloud>,
}

/// Why a simulation could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The start command was refused.
    #[error("the rollout was not accepted: {0}")]
    NotStarted(HandlerError),
}

struct Run<'a, P> {
    setting: &'a Setting,
    /// What the handler is given: the cloud, or something between it and the cloud.
    platform: &'a P,
    targets: Targets,
    rollout: String,
    cloud: Arc<Cloud>,
    traffic: Traffic,
    stage: Stage,
    pages_told: usize,
    trouble_since: Option<Minute>,
}

/// Simulates a scenario and tells each tick.
///
/// # Errors
/// If the handler does not accept the plan.
pub async fn run(setting: &Setting, plan: &Plan, tell: &mut dyn FnMut(&Told)) -> Result<Ending, RunError> {
    let cloud = new_cloud();
    run_through(&*cloud, &cloud, setting, plan, tell).await
}

/// The cloud of a story, before it begins.
#[must_use]
pub fn new_cloud() -> Arc<Cloud> {
    Arc::new(Cloud::new(BEGIN))
}

/// The same as [`run`], where the handler reaches the cloud through something else.
///
/// # Errors
/// If the handler does not accept the plan.
pub async fn run_through<P: Platform>(
    platform: &P,
    cloud: &Arc<Cloud>,
    setting: &Setting,
    plan: &Plan,
    tell: &mut dyn FnMut(&Told),
) -> Result<Ending, RunError> {
    let start = Minute::of(BEGIN);
    let mut run = Run {
        setting,
        platform,
        targets: plan.targets.clone(),
        rollout: plan.rollout.clone(),
        cloud: Arc::clone(cloud),
        traffic: Traffic::new(setting.requests_per_s, setting.seed),
        stage: Stage { start, steps: Vec::new() },
        pages_told: 0,
        trouble_since: None,
    };
    run.begin().await?;
    let mut last = start;
    for at in 0..setting.minutes {
        last = start.plus(i64::from(at));
        let told = run.minute(last).await;
        tell(&told);
        if !run.record().is_none_or(|record| record.needs_ticks()) {
            break;
        }
    }
    Ok(run.end(last))
}

/// The tick of a minute, as the schedule sends it.
#[must_use]
pub fn tick_event(minute: Minute) -> Value {
    json!({ "kind": "tick", "scheduled_time": minute.to_string() })
}

/// The handler's options in a simulation: those of an installation that changed nothing.
#[must_use]
pub fn options() -> Options {
    Options { watermark: WATERMARK, clock: Clock::Wall }
}

impl<P: Platform> Run<'_, P> {
    /// An hour of stable's traffic, and the start command.
    async fn begin(&mut self) -> Result<(), RunError> {
        self.cloud.set_rule(&self.targets.listener_rule, Rule::all_on_stable(&self.targets));
        let baseline = BASELINE.whole_minutes();
        for at in -baseline..0 {
            self.pass(self.stage.start.plus(at), 0..60);
        }
        let now = BEGIN - SignedDuration::from_secs(30);
        self.cloud.set_now(now);
        let start = json!({
            "kind": "command",
            "command": "start",
            "plan": self.setting.plan,
            "actor": "simulate",
            "reason": format!("scenario {}", self.setting.scenario.name),
        });
        let answer = handle(self.platform, &options(), &start, now).await;
        answer.map(|_| ()).map_err(RunError::NotStarted)
    }

    fn record(&self) -> Option<Record> {
        self.cloud.record(&self.rollout)
    }

    fn pass(&mut self, minute: Minute, seconds: std::ops::Range<u32>) {
        let arms = self.setting.scenario.behaviours(&self.stage, minute);
        self.traffic.pass(&self.cloud, &self.targets, minute, seconds, arms);
    }

    /// One minute: what the scenario does, traffic, the tick, and the rest of the traffic.
    async fn minute(&mut self, minute: Minute) -> Told {
        let happened = self.happen(minute);
        self.pass(minute, 0..TICK_SECOND);
        let now = minute.start() + SignedDuration::from_secs(i64::from(TICK_SECOND));
        self.cloud.set_now(now);
        let answer = handle(self.platform, &options(), &tick_event(minute), now).await;
        let answer = answer.map_err(|error| error.to_string()).and_then(|value| self.read(&value));
        self.note_steps(minute);
        let told = Told { at: minute, happened, seen: self.seen(minute), answer, pages: self.new_pages() };
        self.pass(minute, TICK_SECOND..60);
        told
    }

    fn happen(&mut self, minute: Minute) -> Vec<&'static str> {
        let mut words = Vec::new();
        for event in self.setting.scenario.beginning(&self.stage, minute) {
            match &event.what {
                What::Weights(stable, canary) => {
                    let mut rule = Rule::all_on_stable(&self.targets);
                    rule.set_weight(&self.targets.stable, *stable);
                    rule.set_weight(&self.targets.canary, *canary);
                    self.cloud.set_rule(&self.targets.listener_rule, rule);
                }
                What::Calls(operation, times, outcome) => {
                    self.cloud.fail(Fault { operation: *operation, outcome: outcome.clone(), times: *times })
                }
                What::LateMetrics(seconds) => self.cloud.delay(&self.targets.canary, minute, *seconds),
                What::Errors(..) | What::Refuses | What::Unreachable | What::Slower(_) => {}
            }
            words.push(event.words);
        }
        if !words.is_empty() {
            self.trouble_since.get_or_insert(minute);
        }
        words
    }

    /// Our rollout's part of a tick's answer.
    fn read(&self, answer: &Value) -> Result<RolloutReport, String> {
        let reports = answer["rollouts"].as_array().into_iter().flatten();
        let ours = reports.into_iter().find(|report| report["rollout"] == self.rollout.as_str());
        let ours = ours.ok_or_else(|| "the tick did not mention the rollout".to_owned())?;
        RolloutReport::deserialize(ours).map_err(|error| format!("the tick's answer can't be read: {error}"))
    }

    /// Notes when each step was reached, as the rule says it.
    fn note_steps(&mut self, minute: Minute) {
        let reached = self.record().and_then(|record| record.step).map_or(0, |step| step + 1);
        if reached > self.stage.steps.len() {
            self.stage.steps.push(minute);
        }
    }

    /// The newest minute behind the watermark, with the share that stood in it.
    fn seen(&self, minute: Minute) -> Row {
        let newest = minute.plus(-1 - WATERMARK.whole_minutes());
        let share = self.record().map_or(Share::ZERO, |record| record.share_at(newest));
        self.cloud.row(&self.targets, newest, share)
    }

    fn new_pages(&mut self) -> Vec<Page> {
        let messages = self.cloud.messages();
        let new = messages.into_iter().skip(self.pages_told).map(Page::from).collect::<Vec<_>>();
        self.pages_told += new.len();
        new
    }

    fn end(self, last: Minute) -> Ending {
        let record = self.record().expect("a rollout that was started has a record");
        // The first shift of a record is the share before anything was done.
        let drain = record.shifts.iter().skip(1).rfind(|shift| shift.share == Share::ZERO);
        let first = self.stage.steps.first().copied().unwrap_or(last);
        let p95 = |arm| {
            let minutes = 0..last.since(first) + 1;
            Traffic::quantile(&self.cloud, &self.targets, arm, minutes, first, 0.95) * 1000.0
        };
        Ending {
            last,
            truth: self.traffic.truth,
            trouble_since: self.trouble_since,
            drained_at: drain.map(|shift| shift.at),
            p95_ms: Arm::BOTH.map(p95),
            record,
            cloud: self.cloud,
        }
    }
}
