//! What the handler needs of the world, in the words of the domain. One small trait for each capability;
//! [`Platform`] sums them. The adapters are `aws` and `sim`.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;

use crate::analysis::check::{Check, CheckRule, ClassesSource, Metric, RatioSource};
use crate::analysis::edge::Edge;
use crate::analysis::edges;
use crate::analysis::threshold::Threshold;
use crate::analysis::window::{Arm, Row};
use crate::rollout::effect::Write;
use crate::rollout::gate::{Guard, Owner, Told, Waiting};
use crate::rollout::plan::Targets;
use crate::rollout::record::{Audit, LogEntry, Record};
use crate::units::{Minute, Share};

/// What kind of failure it was, for those who decide what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Too many calls; later is fine.
    Throttled,
    /// Not allowed.
    Denied,
    /// The thing does not exist.
    NotFound,
    /// Somebody else was faster.
    Conflict,
    /// The request or the answer made no sense.
    Malformed,
    /// No answer in time.
    TimedOut,
    /// The service failed.
    Unavailable,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Throttled,
        Self::Denied,
        Self::NotFound,
        Self::Conflict,
        Self::Malformed,
        Self::TimedOut,
        Self::Unavailable,
    ];

    /// The word for it in logs and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Malformed => "malformed",
            Self::TimedOut => "timed out",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A call that failed. `Display` names the operation, the kind and the detail; the cause is the source.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {}: {detail}", kind.name())]
pub struct Failure {
    /// Service and operation, such as `elbv2 ModifyRule`.
    pub operation: &'static str,
    /// What kind of failure.
    pub kind: FailureKind,
    /// What the other side said, in one line.
    pub detail: String,
    /// The cause, as the adapter got it.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Which minutes of which groups are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRequest {
    /// The groups.
    pub targets: Targets,
    /// The first minute.
    pub from: Minute,
    /// The minute after the last.
    pub until: Minute,
    /// What to read beside requests and status classes.
    pub series: Vec<Series>,
}

/// Statistics of one metric that CloudWatch charges as one, if they are asked for in one call.
const STATISTICS_CHARGED_AS_ONE: usize = 5;

impl MetricRequest {
    /// How many statistics are read of each metric, in the order in which the adapter asks for them.
    #[must_use]
    pub fn statistics(&self) -> Vec<usize> {
        // Of a target group requests and four status classes; of a function calls and errors.
        let counts = if self.targets.function().is_some() { 2 } else { 5 };
        let mut all = vec![1; 2 * counts];
        for series in &self.series {
            let of_arm = match series {
                Series::Latency { edges } => vec![1 + edges.len()],
                Series::Values { edges, .. } => vec![1 + edges.len() + usize::from(!edges.is_empty())],
                Series::Ratio { .. } => vec![1, 1],
                Series::Classes { values, .. } => vec![1; values.len()],
            };
            all.extend(of_arm.repeat(2));
        }
        all
    }

    /// Metrics as CloudWatch charges them.
    #[must_use]
    pub fn charged_metrics(&self) -> usize {
        self.statistics().into_iter().map(|of_metric| of_metric.div_ceil(STATISTICS_CHARGED_AS_ONE)).sum()
    }
}

/// What a check needs to have read, in both arms. Its counts are taken in minutes in which the arm had
/// requests, and go where [`ArmCounts`](crate::analysis::window::ArmCounts) has them.
#[derive(Debug, Clone, PartialEq)]
pub enum Series {
    /// The load balancer's response times, counted below each of these edges. A minute in which nothing
    /// was answered has none.
    Latency {
        /// In rising order, each once.
        edges: Vec<Edge>,
    },
    /// Bad of total by the application's own counters. A minute without a total has neither.
    Ratio {
        /// The check's name; the counts go under it.
        check: String,
        /// Where the counters are.
        source: RatioSource,
    },
    /// Values of the application's own, counted below each of these edges. A minute without values has none.
    Values {
        /// The check's name.
        check: String,
        /// Where the values are.
        source: Metric,
        /// In rising order, each once.
        edges: Vec<Edge>,
    },
    /// Samples by class. A class without samples is left out.
    Classes {
        /// The check's name.
        check: String,
        /// Where the counters are.
        source: ClassesSource,
        /// The classes.
        values: Vec<String>,
    },
}

impl Series {
    /// What a check needs to have read, with its thresholds if they are settled; `None` if status classes
    /// are all.
    #[must_use]
    pub fn of(check: &Check, settled: Option<&Vec<Threshold>>) -> Option<Self> {
        let name = check.name.clone();
        match &check.rule {
            CheckRule::Errors(_) => None,
            CheckRule::Latency(rule) => Some(Self::Latency { edges: edges(rule, settled) }),
            CheckRule::Ratio(rule) => Some(Self::Ratio { check: name, source: rule.source.clone()? }),
            CheckRule::Values(rule) => {
                Some(Self::Values { check: name, source: rule.source.clone()?, edges: edges(rule, settled) })
            }
            CheckRule::Classes(rule) => {
                Some(Self::Classes { check: name, source: rule.source.clone()?, values: rule.values.clone() })
            }
        }
    }
}

/// The minutes of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRead {
    /// One row for every minute asked for, in order; an arm that published nothing is `None`. The share
    /// is zero: it is the caller who knows it.
    pub rows: Vec<Row>,
    /// `Err` with what the source said, if anything of this was not read whole or contradicts itself.
    pub complete: Result<(), String>,
}

/// Reads metrics.
pub trait MetricSource {
    /// One answer for each request, in order, in as few calls as possible.
    fn read_metrics(
        &self,
        requests: &[MetricRequest],
    ) -> impl Future<Output = Vec<Result<MetricRead, Failure>>> + Send;
}

/// How a rule splits its traffic between the two groups of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Weight of the stable group; 0 if the rule does not name it.
    pub stable: u32,
    /// Weight of the canary group; 0 if the rule does not name it.
    pub canary: u32,
    /// Weights of other groups in the same action, summed.
    pub others: u32,
    /// Group stickiness is on.
    pub sticky: bool,
}

impl Split {
    /// The canary's share of the pair's traffic.
    #[must_use]
    pub fn share(&self) -> Share {
        Share::of_weights(self.canary, self.stable)
    }
}

/// Reads and writes weights.
pub trait TrafficRouter {
    /// All that the adapter saw of a rule, kept for writing back what is not ours.
    type Snapshot: Send + Sync;

    /// One answer for each target pair, in order.
    fn read_splits(
        &self,
        targets: &[Targets],
    ) -> impl Future<Output = Vec<Result<(Split, Self::Snapshot), Failure>>> + Send;

    /// Writes a share; everything else stays as the snapshot has it. Answers what the rule says afterwards.
    fn write_split(
        &self,
        targets: &Targets,
        snapshot: &Self::Snapshot,
        write: Write,
    ) -> impl Future<Output = Result<Split, Failure>> + Send;

    /// Targets of an arm's group that can take traffic.
    fn healthy_targets(
        &self,
        targets: &Targets,
        arm: Arm,
    ) -> impl Future<Output = Result<u32, Failure>> + Send;
}

/// The rollouts that ticks have work with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Running {
    /// Their records.
    pub records: Vec<Record>,
    /// What was said of those that can't be read: nobody watches them.
    pub unreadable: Vec<String>,
}

/// Keeps records and the decision log.
pub trait RecordStore {
    /// All rollouts that ticks have work with, in one read. Those that can't be read stop no other.
    fn running(&self) -> impl Future<Output = Result<Running, Failure>> + Send;

    /// One rollout, running or ended.
    fn get(&self, rollout: &str) -> impl Future<Output = Result<Option<Record>, Failure>> + Send;

    /// All rollouts, running and ended.
    fn list(&self) -> impl Future<Output = Result<Vec<Record>, Failure>> + Send;

    /// Stores a new record with version 1. `Conflict` if one of that name exists and is not over. The watch of another
    /// system's deployment replaces none: it has that name once, and remembers who was told what.
    fn create(&self, record: &Record) -> impl Future<Output = Result<Record, Failure>> + Send;

    /// Replaces the record of `record.version`, which becomes one higher in the answer. `Conflict` if it
    /// is not the stored one.
    fn put(&self, record: &Record) -> impl Future<Output = Result<Record, Failure>> + Send;

    /// Who froze all rollouts and why; `None` if nobody did. Consistent: what was set before is seen.
    fn freeze(&self) -> impl Future<Output = Result<Option<Audit>, Failure>> + Send;

    /// Freezes all rollouts, or thaws them.
    fn set_freeze(&self, freeze: Option<&Audit>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// What is said of the deployments that belong to `of` (`codedeploy:APPLICATION/GROUP`, `ecs:CLUSTER/SERVICE`).
    fn guard(&self, of: &str) -> impl Future<Output = Result<Option<Guard>, Failure>> + Send;

    /// Everything that is said of deployments.
    fn guards(&self) -> impl Future<Output = Result<Vec<Guard>, Failure>> + Send;

    /// Says something of deployments, or nothing any more.
    fn set_guard(&self, of: &str, guard: Option<&Guard>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Takes a key that counts once, until a time after which nobody can use it; `false` if it was taken before.
    fn take_once(&self, key: &str, until: Timestamp) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// Adds to the decision log.
    fn log(&self, entry: &LogEntry) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The newest entries, newest first.
    fn history(
        &self,
        rollout: &str,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<LogEntry>, Failure>> + Send;
}

/// A page as it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// One line, printable ASCII, under 100 characters.
    pub subject: String,
    /// Plain text, for everybody who has no form of their own.
    pub body: String,
    /// Forms for subscribers of one protocol of SNS (`sms`, `sqs`, `https`, ...), by its name.
    pub forms: Vec<(&'static str, String)>,
    /// For filters: name and value.
    pub attributes: Vec<(&'static str, String)>,
}

/// Where an installation is, for links to it in its pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Home {
    /// Its topic; region and partition are in it.
    pub topic_arn: Option<String>,
    /// Where its log goes.
    pub log_group: Option<String>,
    /// The URL under which its people read the runbook.
    pub runbook: Option<String>,
}

/// Tells on-call.
pub trait Pager {
    /// Where the installation is, as far as the adapter knows.
    fn home(&self) -> Home {
        Home::default()
    }

    /// Sends a page, at least once.
    fn page(&self, message: &Message) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A deployment of another system, as it is now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Deployment {
    /// To what it belongs: `codedeploy:APPLICATION/GROUP` or `ecs:CLUSTER/SERVICE`.
    pub of: String,
    /// How it ended, if it has.
    pub ended: Option<String>,
    /// It is being undone.
    pub is_going_back: bool,
    /// It has ended without the new version.
    pub is_undone: bool,
    /// There was nothing before it that it could be compared with.
    pub is_first: bool,
    /// The lifecycle event that it waits in, in its system's word.
    pub stage: Option<String>,
    /// Since when.
    pub stage_since: Option<Timestamp>,
    /// What the new version gets of the traffic, where its system is the only one to know.
    pub share: Option<Share>,
    /// Pause hooks that wait for an answer.
    pub pauses: Vec<String>,
}

/// Deployments that other systems carry out.
pub trait Deployments {
    /// One of them, as it is now.
    fn deployment(&self, owner: &Owner) -> impl Future<Output = Result<Deployment, Failure>> + Send;

    /// Where its traffic is split. `NotFound` if no listener rule has its groups.
    fn find_targets(&self, owner: &Owner) -> impl Future<Output = Result<Targets, Failure>> + Send;

    /// Tells who waits. Telling it again is no failure; `NotFound` if nobody waits any more.
    fn tell(&self, waiting: &Waiting, told: &Told) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Stops a deployment and lets it go back. `NotFound` or `Conflict` if there is nothing to stop any more.
    fn stop(&self, owner: &Owner) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Time within one invocation. The handler has no clock and no runtime of its own.
pub trait Time: Sync {
    /// Since the invocation began.
    fn spent(&self) -> Duration;

    /// How long it may take; `None` if nobody measures that.
    fn allowed(&self) -> Option<Duration>;

    /// Waits. Where nobody measures time it does not.
    fn wait(&self, how_long: Duration) -> impl Future<Output = ()> + Send;
}

/// Time that stands still: nothing is ever late, and nobody waits. For simulations with a clock of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Untimed;

impl Time for Untimed {
    fn spent(&self) -> Duration {
        Duration::ZERO
    }

    fn allowed(&self) -> Option<Duration> {
        None
    }

    async fn wait(&self, _: Duration) {}
}

/// Everything that a tick needs.
pub trait Platform: MetricSource + TrafficRouter + RecordStore + Pager + Deployments + Sync {}

impl<T: MetricSource + TrafficRouter + RecordStore + Pager + Deployments + Sync> Platform for T {}
