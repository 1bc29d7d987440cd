//! What is compared and how much worse is too much: the rules that a plan sets for the judge.
//!
//! Every default is a constant here, with its unit and the reason for its value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::edge::{Edge, edges_between};
use super::window::{ArmCounts, Distribution, Tally};
use crate::units::{Quantile, Rate, Span, Times};

/// The name of the check of errors.
pub const ERRORS: &str = "errors";
/// The name of the check of response times.
pub const LATENCY: &str = "latency";

/// Chance of draining a canary that is no worse than tolerated, over the whole rollout, all checks and
/// all looks together. One in a hundred rollouts is rare enough to be believed when the page comes.
pub const FALSE_ROLLBACK: Rate = Rate::percent_const(1.0);
/// Chance, at each step, of promoting a canary that sits at the edge of what `promote_within` allows.
pub const FALSE_PROMOTION: Rate = Rate::percent_const(5.0);
/// No fewer bad minutes than this drain the canary. With 2, a quarter of the bursts that hit one arm
/// alone drained a healthy canary in simulation; with 3, one in twenty, for one minute more delay.
pub const CONVICT_MINUTES: u32 = 3;
/// Odds of an error, canary to stable, that are still no reason to drain.
pub const TOLERATE: Times = Times::constant(1.25);
/// The same where the canary has fewer than [`FEW_TARGETS`] targets: what is compared then are the hosts, too.
pub const TOLERATE_FEW_TARGETS: Times = Times::constant(1.5);
/// With so many targets one bad host is no longer most of the canary.
pub const FEW_TARGETS: u64 = 4;
/// The tolerance of a plan that names none, where the canary has so many targets.
#[must_use]
pub fn usual_tolerance(canary_targets: Option<u64>) -> Times {
    match canary_targets {
        Some(targets) if targets < FEW_TARGETS => TOLERATE_FEW_TARGETS,
        _ => TOLERATE,
    }
}

/// Error rates up to this are never a reason to drain, whatever stable does.
pub const IGNORE_BELOW: Rate = Rate::percent_const(0.1);
/// The immediate trigger: an error rate that is out of the question.
pub const ABORT_ABOVE: Rate = Rate::percent_const(10.0);
/// Chance of a false immediate trigger, for a canary whose error rate is just at `abort_above`.
pub const ABORT_ALPHA: Rate = Rate::percent_const(0.1);
/// A canary is proven healthy when it is surely less than this many times as bad as stable ...
pub const PROMOTE_WITHIN_TIMES: Times = Times::constant(1.5);
/// ... or surely less than this much worse; the larger allowance counts.
pub const PROMOTE_WITHIN_POINTS: Rate = Rate::percent_const(0.5);
/// Of latency: a canary is proven healthy when it surely has less than this many times the odds of a slow
/// request, for quantiles below [`TAIL`] ...
pub const PROMOTE_WITHIN_BODY: Times = Times::constant(1.5);
/// ... and for those from there on, whose slow requests are too few for more.
pub const PROMOTE_WITHIN_TAIL: Times = Times::constant(2.0);
/// Where a distribution's tail begins.
pub const TAIL: Quantile = Quantile::percent_const(97.0);
/// The same where the tolerance is a length: the margin lies in the thresholds already.
pub const PROMOTE_WITHIN_SHIFTED: Times = Times::constant(1.25);
/// Latency below this is never slow, in seconds: a clock tick between two hosts is no regression.
pub const LATENCY_IGNORE_BELOW_S: f64 = 0.010;
/// The quantiles of latency: most users, some users, the unlucky ones. A median alone misses most faults.
pub const QUANTILES: [Quantile; 3] =
    [Quantile::percent_const(50.0), Quantile::percent_const(95.0), Quantile::percent_const(99.0)];
/// At least this long on each step, so that slow faults (leaks, caches, batch jobs) can show.
pub const BAKE: Span = Span::from_minutes(15);
/// Requests that each arm must have seen on a step before it is left.
pub const MIN_REQUESTS: u64 = 1_000;
/// Minutes without data after which the canary counts as unobserved.
pub const BLIND_AFTER: Span = Span::from_minutes(5);
/// Minutes of the first step that are not judged; none unless asked for.
pub const WARM_UP: Span = Span::from_minutes(0);
/// The longest a step may stay undecided.
pub const DECIDE_WITHIN: Span = Span::from_minutes(240);
/// Minutes of the first step with one version in both groups; none unless asked for.
pub const BURN_IN: Span = Span::from_minutes(0);
/// Counts of sticky clients are this many times noisier than binomial (2 to 9 times in real logs).
pub const STICKY_DESIGN_EFFECT: f64 = 10.0;

/// The observed split may be this much off the weights, relative to the smaller arm: weights of a few targets
/// are coarse.
pub const SPLIT_DEVIATION: f64 = 0.2;
/// Chance of calling a split wrong that is not, at each step.
pub const SPLIT_ALPHA: Rate = Rate::percent_const(0.1);
/// Of classes: those below this part of all samples are counted together as "other".
pub const CLASS_RARE: Rate = Rate::percent_const(0.5);
/// Of classes: health is asked of those above this part of all samples.
pub const CLASS_COMMON: Rate = Rate::percent_const(5.0);
/// The class of everything that the plan does not name or that is rare.
pub const OTHER_CLASS: &str = "other";
/// Odds of a class, canary to stable, in either direction, that a proven-healthy canary surely is within.
pub const CLASS_PROMOTE_WITHIN: Times = Times::constant(1.5);
/// The minute of a shift and the next are not judged: a weight takes a while to reach every load balancer
/// node, and requests from before the shift are still being answered.
pub const SHIFT_BLACKOUT: Span = Span::from_minutes(2);
/// How much worse latency and classes of sticky clients must be before they drain, unless a burn-in has shown
/// how much two groups of one version differ.
pub const STICKY_TOLERATE: Times = Times::constant(3.0);

/// How much worse is still fine: so many times, or so many points, or the larger of the two.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// A ratio of odds (harm) or of rates (health).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
    /// A difference of rates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<Rate>,
}

impl Tolerance {
    /// A ratio alone.
    #[must_use]
    pub const fn times(times: Times) -> Self {
        Self { times: Some(times), points: None }
    }
}

impl std::fmt::Display for Tolerance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.times, self.points) {
            (Some(times), Some(points)) => write!(f, "{times} or +{points}"),
            (Some(times), None) => times.fmt(f),
            (None, Some(points)) => write!(f, "+{points}"),
            (None, None) => f.write_str("nothing"),
        }
    }
}

/// Errors: 5xx answers and requests that were never answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorsCheck {
    /// How much worse than stable is no reason to drain; `None`: [`TOLERATE`], or [`TOLERATE_FEW_TARGETS`].
    #[serde(default)]
    pub tolerate: Option<Tolerance>,
    /// Rates up to this are no reason to drain.
    pub ignore_below: Rate,
    /// The immediate trigger; `None` switches it off.
    pub abort_above: Option<Rate>,
    /// A rate above which the canary is drained, however stable does in numbers.
    #[serde(default)]
    pub slo: Option<Rate>,
    /// The immediate trigger and the SLO also need the canary to be worse than stable, so that a fix is not
    /// blocked while stable burns.
    pub only_if_worse_than_stable: bool,
    /// How much worse than stable a proven-healthy canary surely is not.
    pub promote_within: Tolerance,
    /// 4xx answers are errors, too.
    pub count_4xx: bool,
    /// Unanswered requests are errors. Off for services that upgrade connections: those have no class.
    pub count_unanswered: bool,
}

impl Default for ErrorsCheck {
    fn default() -> Self {
        Self {
            tolerate: None,
            ignore_below: IGNORE_BELOW,
            abort_above: Some(ABORT_ABOVE),
            slo: None,
            only_if_worse_than_stable: true,
            promote_within: Tolerance {
                times: Some(PROMOTE_WITHIN_TIMES),
                points: Some(PROMOTE_WITHIN_POINTS),
            },
            count_4xx: false,
            count_unanswered: true,
        }
    }
}

/// A metric of the application's own in CloudWatch. The two arms differ in dimensions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// CloudWatch's namespace.
    pub namespace: String,
    /// Its name.
    pub metric: String,
    /// Dimensions of both arms.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dimensions: BTreeMap<String, String>,
    /// Dimensions of stable alone.
    pub stable: BTreeMap<String, String>,
    /// Dimensions of the canary alone.
    pub canary: BTreeMap<String, String>,
    /// How a minute's data points are counted.
    #[serde(default)]
    pub statistic: Statistic,
}

/// How a minute's data points are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Their sum: for counters.
    #[default]
    Sum,
    /// Their number: for metrics whose every sample is one event.
    SampleCount,
}

/// Where a ratio's counters are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatioSource {
    /// Counts events that count against the arm.
    pub bad: Metric,
    /// Counts all events.
    pub total: Metric,
}

/// Bad of total by the application's own counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RatioCheck {
    /// Where the counters are; recordings have them by the check's name.
    pub source: Option<RatioSource>,
    /// As [`ErrorsCheck::tolerate`].
    #[serde(default)]
    pub tolerate: Option<Tolerance>,
    /// As [`ErrorsCheck::ignore_below`].
    pub ignore_below: Rate,
    /// As [`ErrorsCheck::slo`].
    #[serde(default)]
    pub slo: Option<Rate>,
    /// As [`ErrorsCheck::only_if_worse_than_stable`].
    pub only_if_worse_than_stable: bool,
    /// As [`ErrorsCheck::promote_within`].
    pub promote_within: Tolerance,
    /// One request may have several bad events (exceptions, retries, log lines), so that there may be more bad
    /// than total.
    #[serde(default)]
    pub events: bool,
}

impl Default for RatioCheck {
    fn default() -> Self {
        let errors = ErrorsCheck::default();
        Self {
            source: None,
            tolerate: None,
            ignore_below: errors.ignore_below,
            slo: None,
            only_if_worse_than_stable: true,
            promote_within: errors.promote_within,
            events: false,
        }
    }
}

/// Where a sample of a distribution counts as bad.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadBeyond {
    /// Beyond these quantiles of stable, learnt before the comparison.
    Quantiles(Vec<Quantile>),
    /// Beyond this value, in the metric's unit.
    Fixed(f64),
}

/// How much worse a distribution may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Margin {
    /// So many times the odds of a bad sample.
    Times(Times),
    /// The canary's threshold lies this much further out, relative to stable's.
    Relative(Rate),
    /// The canary's threshold lies this much further out, in the metric's unit.
    Absolute(f64),
}

/// Which values are bad.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Worse {
    /// Large ones, as of latency.
    #[default]
    Higher,
    /// Small ones, as of tokens per second.
    Lower,
}

/// A distribution: latency, or values of the application's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DistributionCheck {
    /// Where the values are; `None` for latency, which comes from the load balancer.
    pub source: Option<Metric>,
    /// What is bad.
    pub bad_beyond: BadBeyond,
    /// Which direction is bad.
    #[serde(default)]
    pub worse: Worse,
    /// How much worse than stable is no reason to drain; `None`: as for [`ErrorsCheck::tolerate`].
    #[serde(default)]
    pub tolerate: Option<Margin>,
    /// Odds ratio that a proven-healthy canary surely is below; `None`: [`PROMOTE_WITHIN_BODY`],
    /// [`PROMOTE_WITHIN_TAIL`] or [`PROMOTE_WITHIN_SHIFTED`].
    #[serde(default)]
    pub promote_within: Option<Times>,
    /// Thresholds below this are raised to it, in the metric's unit; 0 where smaller is worse.
    pub ignore_below: f64,
    /// Where stable publishes no samples at all, the check is left out: nobody asked for it by name.
    #[serde(default)]
    pub optional: bool,
}

impl Worse {
    /// The sign of what is bad: beyond a threshold in this direction.
    #[must_use]
    pub fn sign(self) -> char {
        match self {
            Self::Higher => '>',
            Self::Lower => '<',
        }
    }

    /// Samples of a minute beyond an edge that it lists.
    #[must_use]
    pub fn beyond(self, edge: Edge, minute: &Distribution) -> Tally {
        let below = minute.le.get(&edge.0).copied().unwrap_or(0).min(minute.count);
        let bad = match self {
            Self::Higher => minute.count - below,
            Self::Lower => below,
        };
        Tally { bad, total: minute.count }
    }
}

impl DistributionCheck {
    /// The tolerance is a length: it lies in the thresholds, and there is none in the odds.
    #[must_use]
    pub fn is_shifted(&self) -> bool {
        matches!(self.tolerate, Some(Margin::Relative(_) | Margin::Absolute(_)))
    }

    /// Odds of a bad sample, canary to stable, that are no reason to drain; `usual` where the plan names none.
    #[must_use]
    pub fn tolerated(&self, usual: Times) -> Times {
        match self.tolerate {
            None => usual,
            Some(Margin::Times(times)) => times,
            Some(Margin::Relative(_) | Margin::Absolute(_)) => Times::constant(1.0),
        }
    }

    /// Odds of a bad sample that a proven-healthy canary is surely below; `None` stands for a fixed threshold.
    #[must_use]
    pub fn allowed(&self, quantile: Option<Quantile>) -> Times {
        match self.promote_within {
            Some(times) => times,
            None if self.is_shifted() => PROMOTE_WITHIN_SHIFTED,
            None if quantile.is_some_and(|quantile| quantile >= TAIL) => PROMOTE_WITHIN_TAIL,
            None => PROMOTE_WITHIN_BODY,
        }
    }

    /// By how many edges a tolerance that is a length moves the canary's threshold out from `value`.
    #[must_use]
    pub fn edges_out(&self, value: f64) -> i32 {
        let sign = match self.worse {
            Worse::Higher => 1.0,
            Worse::Lower => -1.0,
        };
        let moved = match self.tolerate {
            Some(Margin::Relative(rate)) => value * (1.0 + sign * rate.fraction()),
            Some(Margin::Absolute(distance)) => value + sign * distance,
            _ => value,
        };
        edges_between(value, moved)
    }

    /// Latency with the defaults.
    #[must_use]
    pub fn latency() -> Self {
        Self {
            source: None,
            bad_beyond: BadBeyond::Quantiles(QUANTILES.to_vec()),
            worse: Worse::Higher,
            tolerate: None,
            promote_within: None,
            ignore_below: LATENCY_IGNORE_BELOW_S,
            optional: false,
        }
    }

    /// Values of the application's own, with the defaults.
    #[must_use]
    pub fn values() -> Self {
        Self { ignore_below: 0.0, ..Self::latency() }
    }
}

/// Where the counters of classes are: one metric, one dimension of which names the class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassesSource {
    /// The metric.
    #[serde(flatten)]
    pub metric: Metric,
    /// The dimension whose value is the class.
    pub dimension: String,
}

/// How samples spread over classes, such as a model's answers; different is bad in either direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassesCheck {
    /// Where the counters are; recordings have them by the check's name.
    pub source: Option<ClassesSource>,
    /// The classes; others count as one more, "other".
    pub values: Vec<String>,
    /// Odds ratio, in either direction, that is no reason to drain; `None`: as for
    /// [`ErrorsCheck::tolerate`].
    #[serde(default)]
    pub tolerate: Option<Times>,
    /// Odds ratio, in either direction, that a proven-healthy canary surely is within.
    pub promote_within: Times,
}

/// One metric's rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CheckRule {
    /// See [`ErrorsCheck`].
    Errors(ErrorsCheck),
    /// See [`DistributionCheck::latency`].
    Latency(DistributionCheck),
    /// See [`RatioCheck`].
    Ratio(RatioCheck),
    /// See [`DistributionCheck::values`].
    Values(DistributionCheck),
    /// See [`ClassesCheck`].
    Classes(ClassesCheck),
}

/// A named check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its key in the plan.
    pub name: String,
    /// Its rule.
    #[serde(flatten)]
    pub rule: CheckRule,
}

impl Check {
    /// The distribution that it compares, if it compares one and the arm has published it.
    #[must_use]
    pub fn distribution<'a>(&self, counts: &'a ArmCounts) -> Option<&'a Distribution> {
        match &self.rule {
            CheckRule::Latency(_) => counts.latency.as_ref(),
            CheckRule::Values(_) => counts.values(&self.name),
            _ => None,
        }
    }

    /// A check by its name.
    #[must_use]
    pub fn new(name: &str, rule: CheckRule) -> Self {
        Self { name: name.to_owned(), rule }
    }
}

/// All that the judge needs to know of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// See [`FALSE_ROLLBACK`].
    pub false_rollback: Rate,
    /// See [`FALSE_PROMOTION`].
    pub false_promotion: Rate,
    /// See [`CONVICT_MINUTES`].
    pub convict_minutes: u32,
    /// See [`BAKE`].
    pub bake: Span,
    /// See [`MIN_REQUESTS`].
    pub min_requests: u64,
    /// See [`WARM_UP`].
    pub warm_up: Span,
    /// See [`BLIND_AFTER`].
    pub blind_after: Span,
    /// See [`DECIDE_WITHIN`].
    pub decide_within: Span,
    /// See [`BURN_IN`].
    #[serde(default)]
    pub burn_in: Span,
    /// More errors than these beyond what stable would have given, over the whole rollout, drain the canary,
    /// whatever their significance; `None` for no such limit. Chance counts, too: `false_rollback` promises
    /// nothing about it. A burn-in does not count, and neither do minutes in which stable has no request.
    #[serde(default)]
    pub bad_request_budget: Option<u64>,
    /// What is compared; at least one.
    pub checks: Vec<Check>,
}

impl Default for Rules {
    fn default() -> Self {
        let latency = DistributionCheck { optional: true, ..DistributionCheck::latency() };
        Self {
            false_rollback: FALSE_ROLLBACK,
            false_promotion: FALSE_PROMOTION,
            convict_minutes: CONVICT_MINUTES,
            bake: BAKE,
            min_requests: MIN_REQUESTS,
            warm_up: WARM_UP,
            blind_after: BLIND_AFTER,
            decide_within: DECIDE_WITHIN,
            burn_in: BURN_IN,
            bad_request_budget: None,
            checks: vec![
                Check::new(ERRORS, CheckRule::Errors(ErrorsCheck::default())),
                Check::new(LATENCY, CheckRule::Latency(latency)),
            ],
        }
    }
}

impl Rules {
    /// A check's part of the rollout's evidence: half for errors and the rest in equal parts.
    #[must_use]
    pub fn weight(&self, check: &Check) -> f64 {
        let all = self.checks.len() as f64;
        match (self.errors(), &check.rule) {
            (Some(_), CheckRule::Errors(_)) if self.checks.len() == 1 => 1.0,
            (Some(_), CheckRule::Errors(_)) => 0.5,
            (Some(_), _) => 0.5 / (all - 1.0),
            (None, _) => 1.0 / all,
        }
    }

    /// The rule of the plan's errors check, if it has one.
    #[must_use]
    pub fn errors(&self) -> Option<&ErrorsCheck> {
        self.checks.iter().find_map(|check| match &check.rule {
            CheckRule::Errors(rule) => Some(rule),
            _ => None,
        })
    }

    /// ln(1/alpha): the log evidence that convicts.
    #[must_use]
    pub fn ln_convict(&self) -> f64 {
        -self.false_rollback.fraction().ln()
    }

    /// 1/alpha: the evidence that convicts.
    #[must_use]
    pub fn convicting(&self) -> f64 {
        self.false_rollback.fraction().recip()
    }

    /// ln(1/beta): the log evidence that acquits, at each step.
    #[must_use]
    pub fn ln_acquit(&self) -> f64 {
        -self.false_promotion.fraction().ln()
    }

    /// The most that one minute may add to the evidence of harm; `None` if one minute may convict.
    #[must_use]
    pub fn minute_cap(&self) -> Option<f64> {
        crate::stats::cap_for_minutes(self.false_rollback.fraction(), self.convict_minutes).ok().flatten()
    }
}
