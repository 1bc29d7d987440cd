//! How long a rollout will take, and what will never be decided: known before the first request.
//!
//! Evidence grows with every sample by an amount that the base rate, the margin and the share settle, so the
//! expected time to a verdict is what it takes divided by that. Times are expected values of data minutes;
//! real ones scatter around them, the more the fewer bad requests there are.

mod comparison;
mod comparisons;
mod traffic;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::check::{FEW_TARGETS, Rules, SHIFT_BLACKOUT, STICKY_DESIGN_EFFECT};
use crate::stats::{DesignEffect, LearntRate};
use crate::units::{Rate, Share, Span, Times};
use comparison::{CHECKED, Comparison, Place, with_odds};

pub use comparison::{Never, Outcome, Promise, minutes_to_prove};
pub use traffic::{Base, NoRequests, Traffic, needs_rate};

/// How bad a canary is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BadSize {
    /// So many times the odds of a bad sample.
    Times(Times),
    /// So many points more.
    Points(Rate),
}

impl BadSize {
    /// The classical sizes: a regression that a person would notice, and those that one would not.
    pub const STANDARD: [Self; 3] = [
        Self::Times(Times::constant(2.0)),
        Self::Times(Times::constant(3.0)),
        Self::Points(Rate::percent_const(2.0)),
    ];

    /// The canary's rate where stable has this one; `None` above 100 %.
    fn of(self, rate: LearntRate) -> Option<LearntRate> {
        match self {
            Self::Times(times) => with_odds(rate, times.ratio()),
            Self::Points(points) => LearntRate::new(rate.get() + points.fraction()).ok(),
        }
    }
}

impl fmt::Display for BadSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => times.fmt(f),
            Self::Points(points) => write!(f, "+{points}"),
        }
    }
}

impl FromStr for BadSize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let rule = || "is a ratio of odds above 1x, such as 2x, or points above +0%, such as +1%".to_owned();
        match text.strip_prefix('+') {
            Some(points) => {
                let points = points.parse::<Rate>().ok().filter(|points| points.fraction() > 0.0);
                points.map(Self::Points).ok_or_else(rule)
            }
            None => {
                let times = text.parse::<Times>().ok().filter(|times| times.ratio() > 1.0);
                times.map(Self::Times).ok_or_else(rule)
            }
        }
    }
}

impl Serialize for BadSize {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The plan's rules.
    pub rules: &'a Rules,
    /// The shares to walk through.
    pub steps: &'a [Share],
    /// Clients stick to the group that served them first.
    pub sticky: bool,
    /// How much traffic there is, and how bad stable is.
    pub traffic: &'a Traffic,
    /// How bad a canary to drain.
    pub bad: &'a [BadSize],
    /// Data are final so much later than the minute that they are of.
    pub delay: Span,
}

/// Whether a comparison will ever say that the canary is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Within `decide_within`.
    Decided,
    /// Not within `decide_within`: the step stays undecided.
    Undecided,
    /// Not within `decide_within`, so that it is judged for harm only and the step goes on without it.
    HarmOnly,
    /// It is judged for harm only at any traffic: a class of few samples.
    HarmOnlyByRule,
}

/// When a canary that is bad by one size is drained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drain {
    /// The size.
    pub bad: BadSize,
    /// The drain, or why there is none.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What one comparison takes on one step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The check's key in the plan.
    pub check: String,
    /// What is compared, such as `p99` or a class; `null` if it is the whole check.
    pub part: Option<String>,
    /// Stable's rate of bad samples, 0 to 1.
    pub rate: f64,
    /// Of the canary.
    pub samples_per_minute: f64,
    /// Expected minutes of data until a canary as good as stable is proven healthy; `null` if never.
    pub minutes_to_prove: Option<u64>,
    /// What that means for the step.
    pub standing: Standing,
    /// For each bad size.
    pub drains: Vec<Drain>,
}

impl Row {
    /// The check and its part, as a person says it.
    #[must_use]
    pub fn name(&self) -> String {
        self.part.as_ref().map_or_else(|| self.check.clone(), |part| format!("{} {part}", self.check))
    }
}

/// What one step takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The canary's share.
    pub share: Share,
    /// Of the canary.
    pub requests_per_minute: f64,
    /// Whether there is a stable arm to compare with; if not, the step is over at once.
    pub judged: bool,
    /// Minutes that the step takes at least: bake, warm-up and `min_requests`, with the data's delay.
    pub least_minutes: u64,
    /// Expected minutes of a canary as good as stable until the next step; `null` if not in `decide_within`.
    pub minutes: Option<u64>,
    /// The comparison that takes longest to prove health, of those that are waited for.
    pub slowest: Option<String>,
    /// What decides when the step ends, or that it does not: `bake`, `min_requests`, or the slowest comparison.
    pub decided_by: Option<String>,
    /// One for each comparison.
    pub rows: Vec<Row>,
}

/// What a rollout takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Of both arms.
    pub requests_per_minute: f64,
    /// Minutes until data are final; part of all minutes of steps, and of no minutes of rows.
    pub delay_minutes: u64,
    /// Evidence is divided by this.
    pub design_effect: f64,
    /// In the plan's order.
    pub steps: Vec<Step>,
    /// Expected minutes of a whole rollout that is healthy; `null` if some step stays undecided.
    pub minutes: Option<u64>,
    /// What will never be decided, and what was assumed; a sentence each.
    pub warnings: Vec<String>,
}

/// Answers how long a rollout will take.
#[must_use]
pub fn forecast(question: &Question<'_>) -> Forecast {
    let comparisons = comparisons::of(question);
    let effect = if question.sticky { STICKY_DESIGN_EFFECT } else { 1.0 };
    let effect = DesignEffect::new(effect).expect(CHECKED);
    let step = |(at, share): (usize, &Share)| step(question, &comparisons, *share, at == 0, effect);
    let steps: Vec<Step> = question.steps.iter().enumerate().map(step).collect();
    Forecast {
        requests_per_minute: question.traffic.requests_per_minute,
        delay_minutes: question.delay.minutes(),
        design_effect: effect.get(),
        minutes: steps.iter().map(|step| step.minutes).sum(),
        warnings: warnings(question, &steps),
        steps,
    }
}

fn step(
    question: &Question<'_>,
    comparisons: &[Comparison],
    share: Share,
    is_first: bool,
    effect: DesignEffect,
) -> Step {
    let requests_per_minute = question.traffic.requests_per_minute * share.fraction();
    let judged = share < Share::FULL;
    let mut step = Step {
        share,
        requests_per_minute,
        judged,
        least_minutes: 0,
        minutes: Some(0),
        slowest: None,
        decided_by: None,
        rows: Vec::new(),
    };
    if !judged {
        return step;
    }
    let rules = question.rules;
    let delay_minutes = question.delay.minutes();
    let at = Place { rules, share, requests_per_minute, effect, delay_minutes };
    let settling = SHIFT_BLACKOUT.minutes().max(if is_first { rules.warm_up.minutes() } else { 0 });
    // A burn-in comes before all that `decide_within` counts.
    let burn_in = if is_first { rules.burn_in.minutes() } else { 0 };
    let decide_within = rules.decide_within.minutes();
    let total = |minutes: u64| minutes.saturating_add(settling).saturating_add(delay_minutes);
    let in_time = |minutes: Option<u64>| minutes.is_some_and(|n| total(n) <= decide_within);
    step.rows = comparisons.iter().map(|comparison| row(comparison, question.bad, at, in_time)).collect();

    let awaited =
        step.rows.iter().filter(|row| matches!(row.standing, Standing::Decided | Standing::Undecided));
    let slowest = awaited.max_by_key(|row| row.minutes_to_prove.unwrap_or(u64::MAX));
    step.slowest = slowest.map(Row::name);
    let proven = slowest.map_or(Some(0), |row| row.minutes_to_prove);
    let fewest = question.traffic.requests_per_minute * share.fraction().min(1.0 - share.fraction());
    let requests = comparison::whole(rules.min_requests as f64 / fewest);
    let warm_up = if is_first { rules.warm_up.minutes() } else { 0 };
    let bake = (rules.bake.minutes() + warm_up + delay_minutes).max(total(0));
    let least = requests.map_or(u64::MAX, |n| bake.max(total(n)));
    step.least_minutes = least.saturating_add(burn_in);
    let minutes = proven.map_or(u64::MAX, |n| least.max(total(n)));
    step.decided_by = match minutes {
        n if n == bake => Some("bake".to_owned()),
        n if n == least => Some("min_requests".to_owned()),
        _ => step.slowest.clone(),
    };
    step.minutes = (minutes <= decide_within).then(|| minutes + burn_in);
    step
}

fn row(
    comparison: &Comparison,
    bad: &[BadSize],
    at: Place<'_>,
    in_time: impl Fn(Option<u64>) -> bool,
) -> Row {
    let proven = comparison.minutes_to_prove(at);
    let standing = match proven {
        None => Standing::HarmOnlyByRule,
        Some(minutes) if in_time(minutes) => Standing::Decided,
        Some(_) if comparison.optional => Standing::HarmOnly,
        Some(_) => Standing::Undecided,
    };
    let drain = |bad: &BadSize| Drain { bad: *bad, outcome: comparison.drain(*bad, at) };
    Row {
        check: comparison.check.clone(),
        part: comparison.part.clone(),
        rate: comparison.rate.get(),
        samples_per_minute: at.requests_per_minute * comparison.samples_per_request,
        minutes_to_prove: proven.flatten(),
        standing,
        drains: bad.iter().map(drain).collect(),
    }
}

fn warnings(question: &Question<'_>, steps: &[Step]) -> Vec<String> {
    let (rules, traffic) = (question.rules, question.traffic);
    let mut warnings = Vec::new();
    for step in steps.iter().filter(|step| step.judged) {
        let named = |standing| {
            let rows = step.rows.iter().filter(|row| row.standing == standing);
            rows.map(Row::name).collect::<Vec<_>>().join(", ")
        };
        let (share, within) = (step.share, rules.decide_within);
        let undecided = named(Standing::Undecided);
        if !undecided.is_empty() {
            warnings.push(format!("at {share} health can't be proven within {within}: {undecided}"));
        } else if step.minutes.is_none() {
            warnings.push(format!("at {share} bake or min_requests can't be reached within {within}"));
        }
        let harm_only = named(Standing::HarmOnly);
        if !harm_only.is_empty() {
            let because = format!("too few slow requests to prove health within {within}");
            warnings.push(format!("at {share} judged for harm only, {because}: {harm_only}"));
        }
    }
    if steps.iter().any(|step| !step.judged) {
        warnings.push(
            "the step to 100% ends the rollout: no stable traffic is left to compare with, nothing is judged \
             there"
                .to_owned(),
        );
    }
    warnings.push(format!(
        "regressions inside the margin are never rolled back: {}",
        comparisons::margins(question).join("; ")
    ));
    if question.sticky {
        let effect = STICKY_DESIGN_EFFECT;
        warnings.push(format!("clients are sticky: everything takes {effect} times as many requests"));
    }
    if traffic.canary_targets.is_some_and(|targets| targets < FEW_TARGETS) {
        warnings.push(format!(
            "with fewer than {FEW_TARGETS} canary targets a bad host can't be told from a bad version"
        ));
    }
    warnings.extend(traffic.notes.iter().cloned());
    warnings
}

#[cfg(test)]
mod tests;
