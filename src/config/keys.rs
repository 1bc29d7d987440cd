//! The one table of a plan's keys. Reading, defaults, bounds, the JSON Schema and the reference in the
//! README all come from it, so none of them can say what another does not.

use serde_json::{Value, json};

use super::arn::ArnKind;
use super::errors_check;
use super::walk::Walk;
use crate::analysis::check::{self, CheckRule, Tolerance};
use crate::rollout::plan;
use crate::units::{Rate, Share, Span, Times};

/// One key of a mapping.
#[derive(Debug)]
pub(super) struct Key {
    /// As it is written.
    pub(super) name: &'static str,
    /// What it takes.
    pub(super) kind: Kind,
    /// What it does, and why one would change it.
    pub(super) meaning: &'static str,
}

/// What a key takes, with its default and its bounds.
#[derive(Debug)]
pub(super) enum Kind {
    /// A rollout's name.
    Name,
    /// The name of a thing in AWS.
    Arn(ArnKind),
    /// The shares to walk through, or how to make them.
    Steps,
    /// One share.
    Share,
    /// By how much each step is larger than the one before.
    Factor,
    /// A length of time.
    Span {
        /// Used where the key is absent.
        default: Span,
        /// The least.
        min: Span,
        /// The most.
        max: Span,
    },
    /// A rate; zero is refused unless `zero`.
    Rate {
        /// Used where the key is absent.
        default: Rate,
        /// Zero is fine.
        zero: bool,
        /// The most.
        max: Rate,
    },
    /// A rate above zero, or `false`.
    RateOrOff {
        /// Used where the key is absent.
        default: Rate,
    },
    /// A whole number.
    Count {
        /// Used where the key is absent.
        default: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// One of a few words. Where `yes` and `no` are among them, `true` and `false` mean the same: YAML
    /// turns the one into the other.
    Word {
        /// Used where the key is absent.
        default: &'static str,
        /// All of them.
        words: &'static [&'static str],
    },
    /// Yes or no.
    Flag {
        /// Used where the key is absent.
        default: bool,
    },
    /// A ratio, a difference, or the larger of both.
    Tolerance {
        /// Used where the key is absent.
        default: Tolerance,
    },
    /// A mapping of the checks to make.
    Checks,
}

/// One kind of check: a new one is an entry in [`CHECKS`] and the function that reads it.
pub(super) struct CheckKind {
    /// Its key under `checks`.
    pub(super) name: &'static str,
    /// What it compares.
    pub(super) meaning: &'static str,
    /// What it takes.
    pub(super) keys: &'static [Key],
    /// Reads it.
    pub(super) read: fn(&mut Walk<'_, '_>) -> CheckRule,
}

/// All checks.
pub(super) static CHECKS: [CheckKind; 1] = [CheckKind {
    name: "errors",
    meaning: "Answers of class 5xx and requests that were never answered, canary against stable.",
    keys: &ERRORS_KEYS,
    read: errors_check::read,
}];

/// A week of bake time leaves a second week for a late decision.
const BAKE_MAX: Span = Span::from_minutes(7 * 24 * 60);
/// CloudWatch keeps minutes for 15 days; a day of them is left for the baseline.
const DECIDE_WITHIN_MAX: Span = Span::from_minutes(14 * 24 * 60);
const ZERO: Span = Span::from_minutes(0);
const ALL: Rate = Rate::percent_const(100.0);

/// The keys of a plan.
pub(super) static PLAN_KEYS: [Key; 18] = [
    Key {
        name: "rollout",
        kind: Kind::Name,
        meaning: "The rollout's name, unique among all; the canary target group's name if absent.",
    },
    Key {
        name: "listener_rule",
        kind: Kind::Arn(ArnKind::ListenerRule),
        meaning: "The listener rule whose weights split the traffic.",
    },
    Key {
        name: "stable",
        kind: Kind::Arn(ArnKind::TargetGroup),
        meaning: "The target group of the trusted version.",
    },
    Key {
        name: "canary",
        kind: Kind::Arn(ArnKind::TargetGroup),
        meaning: "The target group of the new version.",
    },
    Key {
        name: "steps",
        kind: Kind::Steps,
        meaning: "The canary's shares of the traffic, rising; or {start, factor}, which multiplies up \
                  to 100%.",
    },
    Key {
        name: "bake",
        kind: Kind::Span { default: check::BAKE, min: ZERO, max: BAKE_MAX },
        meaning: "At least this long on each step, so that slow faults (leaks, caches, batch jobs) can \
                  show.",
    },
    Key {
        name: "min_requests",
        kind: Kind::Count { default: check::MIN_REQUESTS, min: 1, max: 1_000_000_000 },
        meaning: "Requests that each group must have seen on a step before it is left.",
    },
    Key {
        name: "false_rollback",
        kind: Kind::Rate { default: check::FALSE_ROLLBACK, zero: false, max: Rate::percent_const(10.0) },
        meaning: "Chance of draining a canary that is no worse than tolerated, over the whole rollout, \
                  all checks and all looks together.",
    },
    Key {
        name: "false_promotion",
        kind: Kind::Rate { default: check::FALSE_PROMOTION, zero: false, max: Rate::percent_const(50.0) },
        meaning: "Chance, at each step, of promoting a canary at the edge of what promote_within allows.",
    },
    Key {
        name: "convict_minutes",
        kind: Kind::Count { default: check::CONVICT_MINUTES as u64, min: 1, max: 60 },
        meaning: "No fewer bad minutes than this drain the canary (abort_above needs one).",
    },
    Key {
        name: "decide_within",
        kind: Kind::Span { default: plan::DECIDE_WITHIN, min: ZERO, max: DECIDE_WITHIN_MAX },
        meaning: "The longest a step may stay undecided; then on_undecided applies. No less than bake.",
    },
    Key {
        name: "on_undecided",
        kind: Kind::Word { default: "hold", words: &["drain", "hold", "promote"] },
        meaning: "What to do with a step that is undecided after decide_within: drain and page, hold \
                  and page once, or promote without proof as long as nothing points to harm.",
    },
    Key {
        name: "on_blind",
        kind: Kind::Word { default: "drain", words: &["drain", "hold"] },
        meaning: "What to do when the canary could not be observed for blind_after; both page.",
    },
    Key {
        name: "blind_after",
        kind: Kind::Span {
            default: check::BLIND_AFTER,
            min: Span::from_minutes(2),
            max: Span::from_minutes(60),
        },
        meaning: "Minutes without data after which the canary counts as unobserved.",
    },
    Key {
        name: "warm_up",
        kind: Kind::Span { default: check::WARM_UP, min: ZERO, max: DECIDE_WITHIN_MAX },
        meaning: "The first minutes of the first step are not judged, but for abort_above. Less than \
                  decide_within.",
    },
    Key {
        name: "sticky",
        kind: Kind::Word { default: "auto", words: &["auto", "yes", "no"] },
        meaning: "Whether clients stick to the group that served them first, which makes counts \
                  noisier; auto reads it from the rule.",
    },
    Key {
        name: "mode",
        kind: Kind::Word { default: "drive", words: &["drive", "observe"] },
        meaning: "drive writes weights; observe judges, records and pages, and writes none.",
    },
    Key {
        name: "checks",
        kind: Kind::Checks,
        meaning: "What is compared, by name; the errors check alone if absent.",
    },
];

/// The keys of `steps` where it is a mapping.
pub(super) static STEPS_KEYS: [Key; 2] = [
    Key { name: "start", kind: Kind::Share, meaning: "The first share." },
    Key {
        name: "factor",
        kind: Kind::Factor,
        meaning: "Each step is so many times the one before, up to 100%.",
    },
];

/// The keys of the errors check.
static ERRORS_KEYS: [Key; 7] = [
    Key {
        name: "tolerate",
        kind: Kind::Tolerance { default: Tolerance::times(check::TOLERATE) },
        meaning: "How much worse than stable is no reason to drain: times the odds, points, or the \
                  larger of both.",
    },
    Key {
        name: "ignore_below",
        kind: Kind::Rate { default: check::IGNORE_BELOW, zero: true, max: ALL },
        meaning: "Error rates up to this are no reason to drain, whatever stable does.",
    },
    Key {
        name: "abort_above",
        kind: Kind::RateOrOff { default: check::ABORT_ABOVE },
        meaning: "The immediate trigger: an error rate that is out of the question; false switches it \
                  off.",
    },
    Key {
        name: "only_if_worse_than_stable",
        kind: Kind::Flag { default: true },
        meaning: "The immediate trigger also needs the canary to be worse than stable, so that a fix is \
                  not blocked while stable burns.",
    },
    Key {
        name: "promote_within",
        kind: Kind::Tolerance {
            default: Tolerance {
                times: Some(check::PROMOTE_WITHIN_TIMES),
                points: Some(check::PROMOTE_WITHIN_POINTS),
            },
        },
        meaning: "A canary is proven healthy when it is surely not worse than stable by this much; of a \
                  ratio and points, the larger counts.",
    },
    Key {
        name: "count_4xx",
        kind: Kind::Flag { default: false },
        meaning: "Answers of class 4xx are errors, too.",
    },
    Key {
        name: "count_unanswered",
        kind: Kind::Flag { default: true },
        meaning: "Requests that were never answered are errors. Switch off for services that upgrade \
                  connections: those have no class.",
    },
];

/// The names of a table's keys, in its order.
pub(super) fn names(keys: &[Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}

/// The default steps.
pub(super) fn default_steps() -> Vec<Share> {
    let shares = plan::STEPS_PERCENT.iter().map(|percent| Share::from_percent(*percent));
    shares.map(|share| share.expect("the default steps are shares")).collect()
}

/// A tolerance in the form in which it is written.
fn tolerance_json(tolerance: Tolerance) -> Value {
    let times = tolerance.times.map(|times: Times| json!(times.to_string()));
    let points = tolerance.points.map(|points| json!(format!("+{points}")));
    match (times, points) {
        (Some(times), Some(points)) => json!([times, points]),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => Value::Null,
    }
}

impl Kind {
    /// A key of this kind has no default and can't be left out (but see [`super::Scope::Offline`]).
    pub(super) fn is_required(&self) -> bool {
        matches!(self, Self::Arn(_) | Self::Share | Self::Factor)
    }

    /// The default, as one would write it; `None` where there is none or it is not a constant.
    pub(super) fn default_json(&self) -> Option<Value> {
        match self {
            Self::Name | Self::Arn(_) | Self::Share | Self::Factor => None,
            Self::Steps => Some(default_steps().iter().map(ToString::to_string).collect()),
            Self::Span { default, .. } => Some(json!(default.to_string())),
            Self::Rate { default, .. } | Self::RateOrOff { default } => Some(json!(default.to_string())),
            Self::Count { default, .. } => Some(json!(default)),
            Self::Word { default, .. } => Some(json!(default)),
            Self::Flag { default } => Some(json!(default)),
            Self::Tolerance { default } => Some(tolerance_json(*default)),
            Self::Checks => Some(json!({ "errors": {} })),
        }
    }

    /// What it takes, for people.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Name => "a name: a-z, 0-9 and -, up to 63 characters".to_owned(),
            Self::Arn(ArnKind::ListenerRule) => "the ARN of a listener rule".to_owned(),
            Self::Arn(ArnKind::TargetGroup) => "the ARN of a target group".to_owned(),
            Self::Arn(ArnKind::Topic) => "the ARN of an SNS topic".to_owned(),
            Self::Steps => "a list of shares such as 5%, or {start: 5%, factor: 2}".to_owned(),
            Self::Share => "a share such as 5%".to_owned(),
            Self::Factor => "a number from 1.1 to 100".to_owned(),
            Self::Span { min, max, .. } => format!("a length of time, {min} to {max}"),
            Self::Rate { zero: true, max, .. } => format!("a percentage, 0% to {max}"),
            Self::Rate { zero: false, max, .. } => format!("a percentage, above 0% to {max}"),
            Self::RateOrOff { .. } => "a percentage above 0%, or false".to_owned(),
            Self::Count { min, max, .. } => format!("a whole number, {min} to {max}"),
            Self::Word { words, .. } => words.join(", "),
            Self::Flag { .. } => "true or false".to_owned(),
            Self::Tolerance { .. } => {
                "a ratio such as 1.25x, points such as +0.5%, or a list of both".to_owned()
            }
            Self::Checks => "a mapping of checks".to_owned(),
        }
    }
}
