//! What is compared and how much worse is too much: the rules that a plan sets for the judge.
//!
//! Every default is a constant here, with its unit and the reason for its value.

use serde::{Deserialize, Serialize};

use crate::units::{Rate, Span, Times};

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
/// At least this long on each step, so that slow faults (leaks, caches, batch jobs) can show.
pub const BAKE: Span = Span::from_minutes(15);
/// Requests that each arm must have seen on a step before it is left.
pub const MIN_REQUESTS: u64 = 1_000;
/// Minutes without data after which the canary counts as unobserved.
pub const BLIND_AFTER: Span = Span::from_minutes(5);
/// Minutes of the first step that are not judged; none unless asked for.
pub const WARM_UP: Span = Span::from_minutes(0);
/// Counts of sticky clients are this many times noisier than binomial (2 to 9 times in real logs).
pub const STICKY_DESIGN_EFFECT: f64 = 10.0;

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
    /// How much worse than stable is no reason to drain.
    pub tolerate: Tolerance,
    /// Rates up to this are no reason to drain.
    pub ignore_below: Rate,
    /// The immediate trigger; `None` switches it off.
    pub abort_above: Option<Rate>,
    /// The immediate trigger also needs the canary to be worse than stable, so that a fix is not blocked
    /// while stable burns.
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
            tolerate: Tolerance::times(TOLERATE),
            ignore_below: IGNORE_BELOW,
            abort_above: Some(ABORT_ABOVE),
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

/// One metric's rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CheckRule {
    /// See [`ErrorsCheck`].
    Errors(ErrorsCheck),
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
    /// What is compared; at least one.
    pub checks: Vec<Check>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            false_rollback: FALSE_ROLLBACK,
            false_promotion: FALSE_PROMOTION,
            convict_minutes: CONVICT_MINUTES,
            bake: BAKE,
            min_requests: MIN_REQUESTS,
            warm_up: WARM_UP,
            blind_after: BLIND_AFTER,
            checks: vec![Check {
                name: "errors".to_owned(),
                rule: CheckRule::Errors(ErrorsCheck::default()),
            }],
        }
    }
}

impl Rules {
    /// The rule of the plan's errors check, if it has one.
    #[must_use]
    pub fn errors(&self) -> Option<&ErrorsCheck> {
        self.checks
            .iter()
            .map(|check| match &check.rule {
                CheckRule::Errors(rule) => rule,
            })
            .next()
    }

    /// ln(1/alpha): the log evidence that convicts.
    #[must_use]
    pub fn ln_convict(&self) -> f64 {
        -self.false_rollback.fraction().ln()
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
