//! Many rollouts at once, each somewhere on its way, as an installation has them on a busy day.
//!
//! A few rollouts are started a minute apart and ticked through; the fleet are copies of them under names and listener
//! rules of their own. Copies of one share its target groups, so that the memory of the simulated cloud is not what
//! is measured.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::alb::Rule;
use super::cloud::Cloud;
use super::cloudwatch::Counts;
use super::run::{default_plan, options, tick_event};
use crate::handler::{HandlerError, handle};
use crate::ports::RecordStore;
use crate::rollout::plan::{BASELINE, Targets};
use crate::rollout::record::Record;
use crate::units::Minute;

/// Requests a minute, both arms together.
const REQUESTS: f64 = 3_000.0;
/// Requests of a thousand that fail; of a harmful canary's in its last minutes.
const FAILING: [f64; 2] = [3.0, 300.0];
/// For so many minutes before the next tick a harmful canary has been harmful. CloudWatch's two newest are not looked
/// at: the next tick is the first to see it.
const HARMFUL_SINCE: i64 = 3;
/// The second of its minute in which a tick arrives.
const TICK_SECOND: i64 = 5;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Rollouts whose canary is as good as stable.
    pub healthy: usize,
    /// Rollouts whose canary is not, which the next tick is the first to see.
    pub harmful: usize,
    /// The oldest was started so many minutes ago.
    pub minutes: u32,
}

/// A cloud with many rollouts, and the minute of its next tick.
#[derive(Debug)]
pub struct Fleet {
    /// Where they run.
    pub cloud: Cloud,
    /// The minute of the next tick.
    pub minute: Minute,
}

/// One of those that the fleet are copies of.
struct Model {
    targets: Targets,
    starts: Minute,
    harmful_from: Option<Minute>,
}

impl Model {
    fn new(number: u32, starts: Minute, harmful_from: Option<Minute>) -> Self {
        let of = |key: &str| default_plan()[key].as_str().unwrap_or_default().to_owned();
        let group = |key: &str| format!("{}{number:04}", of(key));
        let targets = Targets {
            listener_rule: format!("{}{number:04}", of("listener_rule")),
            stable: group("stable"),
            canary: group("canary"),
            role_arn: None,
        };
        Self { targets, starts, harmful_from }
    }

    fn name(&self) -> &str {
        self.targets.listener_rule.rsplit('/').next().unwrap_or_default()
    }

    fn plan(&self) -> Value {
        json!({
            "rollout": self.name(),
            "listener_rule": self.targets.listener_rule,
            "stable": self.targets.stable,
            "canary": self.targets.canary,
        })
    }

    /// A minute of both arms.
    fn traffic(&self, minute: Minute, cloud: &Cloud) -> [(String, Counts); 2] {
        let rule = cloud.rule(&self.targets.listener_rule);
        let share = rule.map_or(0.0, |rule| rule.split(&self.targets).share().fraction());
        let canary = (REQUESTS * share).round();
        let harmful = self.harmful_from.is_some_and(|from| minute >= from);
        let arm = |group: &str, requests: f64, per_mille: f64| {
            // Exact over the minutes: what is left of a thousandth is made up for later.
            let so_far = minute.start().as_second() as f64 / 60.0 % 1_440.0;
            let up_to = |minutes: f64| (minutes * requests * per_mille / 1000.0).floor();
            let failed = (up_to(so_far + 1.0) - up_to(so_far)) as u64;
            let requests = requests as u64;
            let (some, few) = (requests * 8 / 100, requests * 2 / 100);
            let latency_bins = BTreeMap::from([(-25, requests - some - few), (-17, some), (-8, few)]);
            let answers = [requests - failed, 0, 0, failed];
            (group.to_owned(), Counts { requests, answers, latency_bins })
        };
        [
            arm(&self.targets.stable, REQUESTS - canary, FAILING[0]),
            arm(&self.targets.canary, canary, FAILING[usize::from(harmful)]),
        ]
    }
}

impl Fleet {
    /// Starts the models, ticks them through, and copies them.
    ///
    /// # Errors
    /// If the handler refuses a plan or a tick.
    pub async fn build(wanted: Wanted) -> Result<Self, HandlerError> {
        let models = Self::models(wanted);
        let begin: Minute = Minute::of(jiff::Timestamp::constant(1_772_359_200, 0));
        let minute = begin.plus(i64::from(wanted.minutes));
        let (stage, fleet) = (Cloud::new(begin.start()), Cloud::new(minute.start()));
        for model in &models {
            stage.set_rule(&model.targets.listener_rule, Rule::all_on_stable(&model.targets));
        }
        let baseline = i64::try_from(BASELINE.minutes()).unwrap_or(i64::MAX);
        for at in -baseline..i64::from(wanted.minutes) {
            let now = begin.plus(at);
            let tick_at = now.start() + SignedDuration::from_secs(TICK_SECOND);
            stage.set_now(tick_at);
            for model in models.iter().filter(|model| model.starts == now) {
                let start = json!({
                    "kind": "command", "command": "start", "plan": model.plan(), "actor": "ci", "reason": "scale",
                });
                handle(&stage, &options(), &start, now.start()).await?;
            }
            if at >= 0 {
                handle(&stage, &options(), &tick_event(now), tick_at).await?;
            }
            for (group, counts) in models.iter().flat_map(|model| model.traffic(now, &stage)) {
                stage.count(&group, now, &counts);
                fleet.count(&group, now, &counts);
            }
        }
        let running = stage.running().await?.records;
        let is_harmful = |record: &&Record| {
            models.iter().any(|model| model.harmful_from.is_some() && model.name() == record.id())
        };
        let (harmful, healthy): (Vec<_>, Vec<_>) = running.iter().partition(is_harmful);
        let healthy = healthy.iter().cycle().take(wanted.healthy).map(|model| ("healthy", *model));
        let harmful = harmful.iter().cycle().take(wanted.harmful).map(|model| ("harmful", *model));
        for (at, (word, model)) in healthy.chain(harmful).enumerate() {
            let mut record = model.clone();
            record.plan.rollout = format!("{word}-{at:06}");
            record.plan.targets.listener_rule = format!("{}{at:06}", model.plan.targets.listener_rule);
            let rule = stage.rule(&model.plan.targets.listener_rule);
            let rule = rule.unwrap_or_else(|| Rule::all_on_stable(&record.plan.targets));
            fleet.set_rule(&record.plan.targets.listener_rule, rule);
            fleet.create(&record).await?;
        }
        fleet.set_now(minute.start() + SignedDuration::from_secs(TICK_SECOND));
        drop(fleet.take_calls());
        Ok(Self { cloud: fleet, minute })
    }

    /// One start a minute, and the harmful ones in the middle of them.
    fn models(wanted: Wanted) -> Vec<Model> {
        let begin = Minute::of(jiff::Timestamp::constant(1_772_359_200, 0));
        let minutes = i64::from(wanted.minutes);
        let healthy = (0..wanted.minutes).map(|at| Model::new(at, begin.plus(i64::from(at)), None));
        let turns = begin.plus(minutes - HARMFUL_SINCE);
        let harmful = Model::new(wanted.minutes, begin.plus(minutes / 2), Some(turns));
        healthy.chain([harmful]).collect()
    }

    /// When the next tick arrives.
    #[must_use]
    pub fn now(&self) -> jiff::Timestamp {
        self.minute.start() + SignedDuration::from_secs(TICK_SECOND)
    }

    /// The event of the next tick.
    #[must_use]
    pub fn event(&self) -> Value {
        tick_event(self.minute)
    }
}
