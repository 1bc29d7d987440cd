//! The one table of a plan's keys. Reading, defaults, bounds, the JSON Schema and the reference in the
//! README all come from it, so none of them can say what another does not.

use super::amounts::Unit;
use super::arn::ArnKind;
use super::kind::Kind;
use super::walk::Walk;
use super::{Scope, classes_check, distributions, rate_checks};
use crate::analysis::check::{self, CheckRule, Tolerance};
use crate::rollout::plan;
use crate::units::{Quantile, Rate, Span};

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

/// One kind of check: a new one is an entry in [`CHECKS`] or [`CUSTOM_CHECKS`] and the function that reads
/// it.
pub(super) struct CheckKind {
    /// Its key under `checks`; of a kind for checks with names of their own, the key that makes a check one
    /// of this kind.
    pub(super) name: &'static str,
    /// What it compares.
    pub(super) meaning: &'static str,
    /// What it takes.
    pub(super) keys: &'static [Key],
    /// Reads it.
    pub(super) read: fn(&mut Walk<'_, '_>, Scope) -> CheckRule,
}

/// The checks by what the load balancer counts. Their names say what they are.
pub(super) static CHECKS: [CheckKind; 2] = [
    CheckKind {
        name: "errors",
        meaning: "Answers of class 5xx and requests that were never answered, canary against stable.",
        keys: &ERRORS_KEYS,
        read: rate_checks::errors,
    },
    CheckKind {
        name: "latency",
        meaning: "Times to answer, canary against stable.",
        keys: &LATENCY_KEYS,
        read: distributions::latency,
    },
];

/// The checks by metrics of the application's own, under any other name.
pub(super) static CUSTOM_CHECKS: [CheckKind; 3] = [
    CheckKind {
        name: "ratio",
        meaning: "Bad events out of all, by two counters of the application's own.",
        keys: &RATIO_KEYS,
        read: rate_checks::ratio,
    },
    CheckKind {
        name: "values",
        meaning: "The distribution of a metric of the application's own.",
        keys: &VALUES_KEYS,
        read: distributions::values,
    },
    CheckKind {
        name: "classes",
        meaning: "How events spread over classes, such as a model's answers; different is bad in either \
                  direction.",
        keys: &CLASSES_KEYS,
        read: classes_check::classes,
    },
];

/// As many quantiles as anybody needs; each takes its part of `false_rollback`.
pub(super) const QUANTILES_MAX: usize = 10;
/// The quantiles where smaller is worse: the unlucky ones lie at the low end.
pub(super) const LOW_QUANTILES: [Quantile; 2] = [Quantile::percent_const(5.0), Quantile::percent_const(50.0)];
/// As many classes as one query of CloudWatch can carry with room to spare; each takes its part of
/// `false_rollback`.
pub(super) const LABELS_MAX: usize = 100;

/// A week of bake time leaves a second week for a late decision.
const BAKE_MAX: Span = Span::from_minutes(7 * 24 * 60);
/// CloudWatch keeps minutes for 15 days; a day of them is left for the baseline.
const DECIDE_WITHIN_MAX: Span = Span::from_minutes(14 * 24 * 60);
/// As many alarms as anybody watches one service with.
pub(super) const ALARMS_MAX: usize = 100;
/// Later than that, stable's targets are long gone.
/// What waits longest is an ECS hook, for two weeks.
const ANSWER_WITHIN_MAX: Span = Span::from_minutes(14 * 24 * 60);
const MINUTE: Span = Span::from_minutes(1);
const ROLLBACK_WINDOW_MAX: Span = Span::from_minutes(7 * 24 * 60);
/// More often is no reminder but a nuisance; more seldom is forgotten.
pub(super) const REMIND_EVERY_MIN: Span = Span::from_minutes(5);
pub(super) const REMIND_EVERY_MAX: Span = Span::from_minutes(7 * 24 * 60);
const ZERO: Span = Span::from_minutes(0);
const ALL: Rate = Rate::percent_const(100.0);

/// The keys of a plan.
pub(super) static PLAN_KEYS: [Key; 29] = [
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
        name: "role_arn",
        kind: Kind::Arn(ArnKind::Role),
        meaning: "The IAM role by which rule, groups and metrics are read and the weights written, where they are in \
                  another account than canary-gate: a role of that account. If absent, canary-gate's own rights.",
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
        name: "bad_request_budget",
        kind: Kind::CountOrOff { min: 1, max: 1_000_000_000 },
        meaning: "More errors than these beyond what stable would have given, over the whole rollout, drain \
                  the canary, proven or not, also in warm_up. false_rollback promises nothing about it: \
                  chance alone drains if the budget is small beside the noise (calibrate counts how often).",
    },
    Key {
        name: "decide_within",
        kind: Kind::Span { default: check::DECIDE_WITHIN, min: ZERO, max: DECIDE_WITHIN_MAX },
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
        name: "burn_in",
        kind: Kind::Span { default: check::BURN_IN, min: ZERO, max: DECIDE_WITHIN_MAX },
        meaning: "The first minutes of the first step, in which both groups run the same version: they \
                  show how noisy the counts are and how much the groups differ by themselves. Less than \
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
        name: "deny_windows",
        kind: Kind::DenyWindows,
        meaning: "When no share is raised, in local time: Fri 16:00 to Mon 08:00, 22:00 to 06:00, Sat, \
                  2026-12-24 to 2026-12-27 (whole days, both included). Drains work, and so does a \
                  person's promote.",
    },
    Key {
        name: "time_zone",
        kind: Kind::TimeZone,
        meaning: "The time zone of deny_windows, by its name in the IANA database.",
    },
    Key {
        name: "alarms",
        kind: Kind::Alarms,
        meaning: "CloudWatch alarms, by name or ARN, that drain the canary when they go off.",
    },
    Key {
        name: "rollback_window",
        kind: Kind::Span { default: plan::ROLLBACK_WINDOW, min: ZERO, max: ROLLBACK_WINDOW_MAX },
        meaning: "For so long after the end at its last step, abort or an alarm of alarms still drains the \
                  canary.",
    },
    Key {
        name: "remind_every",
        kind: Kind::Span { default: plan::REMIND_EVERY, min: ZERO, max: REMIND_EVERY_MAX },
        meaning: "How often on-call is reminded of a condition that lasts, at least 5m apart; 0 for never.",
    },
    Key {
        name: "answer_within",
        kind: Kind::Span { default: plan::ANSWER_WITHIN, min: MINUTE, max: ANSWER_WITHIN_MAX },
        meaning: "A deployment that waits for the verdict is answered after so long, whatever is known; one of GitHub's \
                  after 29d unless another length than the default is set here.",
    },
    Key {
        name: "on_deadline",
        kind: Kind::Word { default: "fail", words: &["fail", "pass"] },
        meaning: "The answer to a deployment for which there was no verdict in time: fail stops it and goes back; \
                  pass lets it go on, unless harm was found or nobody watched.",
    },
    Key {
        name: "verdict_metric",
        kind: Kind::Name,
        meaning: "Each tick publishes the metric Harmful (1 once harm was found, else 0) in the namespace canary-gate \
                  under this name as the dimension Gate, for an alarm that a deployment watches. Nothing if absent.",
    },
    Key {
        name: "checks",
        kind: Kind::Checks,
        meaning: "What is compared, by name: errors, latency, and checks of your own under names of your \
                  own. Exactly those that are written are made; errors and latency if absent.",
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

/// What a rate may still be worse by when it counts as proven healthy.
const RATES_PROMOTE_WITHIN: Tolerance =
    Tolerance { times: Some(check::PROMOTE_WITHIN_TIMES), points: Some(check::PROMOTE_WITHIN_POINTS) };

// Keys that several tables have.

/// CloudWatch's namespace of a metric.
const NAMESPACE: Key =
    Key { name: "namespace", kind: Kind::AwsName { colon: false }, meaning: "CloudWatch's namespace." };
/// The name of a metric.
const METRIC: Key =
    Key { name: "metric", kind: Kind::AwsName { colon: true }, meaning: "The metric's name." };
/// Of both groups.
const SHARED_DIMENSIONS: Key = Key {
    name: "dimensions",
    kind: Kind::Dimensions { required: false },
    meaning: "The dimensions that both groups share.",
};
/// Of stable.
const STABLE_DIMENSIONS: Key = Key {
    name: "stable",
    kind: Kind::Dimensions { required: true },
    meaning: "The dimensions of stable alone.",
};
/// Of the canary.
const CANARY_DIMENSIONS: Key = Key {
    name: "canary",
    kind: Kind::Dimensions { required: true },
    meaning: "The dimensions of the canary alone: those of stable, and at least one with another value.",
};
/// How a metric counts.
const STATISTIC: Key = Key {
    name: "statistic",
    kind: Kind::Word { default: "sum", words: &["sum", "sample_count"] },
    meaning: "What a minute counts: the sum of the samples, or their number where each is one event.",
};
/// What no rate is drained for.
const TOLERATE_RATE: Key = Key {
    name: "tolerate",
    kind: Kind::Tolerance { default: Tolerance::times(check::TOLERATE), usual: true },
    meaning: "How much worse than stable is no reason to drain: times the odds, points, or the \
              larger of both. If absent: 1.25x, and 1.5x where the canary has fewer than four \
              targets.",
};
/// What every rate is promoted within.
const PROMOTE_WITHIN_RATE: Key = Key {
    name: "promote_within",
    kind: Kind::Tolerance { default: RATES_PROMOTE_WITHIN, usual: false },
    meaning: "A canary is proven healthy when it is surely not worse than stable by this much; of a \
              ratio and points, the larger counts.",
};

/// The keys of the errors check.
static ERRORS_KEYS: [Key; 8] = [
    TOLERATE_RATE,
    Key {
        name: "ignore_below",
        kind: Kind::Rate { default: check::IGNORE_BELOW, zero: true, max: ALL },
        meaning: "Error rates up to this are no reason to drain, whatever stable does.",
    },
    Key {
        name: "abort_above",
        kind: Kind::RateOrOff { default: Some(check::ABORT_ABOVE) },
        meaning: "The immediate trigger: an error rate that is out of the question; false switches it \
                  off.",
    },
    Key {
        name: "slo",
        kind: Kind::RateOrOff { default: None },
        meaning: "An absolute limit: a canary that is surely above is drained; false is no limit. Less than \
                  abort_above.",
    },
    Key {
        name: "only_if_worse_than_stable",
        kind: Kind::Flag { default: true },
        meaning: "The immediate trigger and slo also need the canary to be worse than stable, so that a fix \
                  is not blocked while stable burns.",
    },
    PROMOTE_WITHIN_RATE,
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

/// The keys of the latency check.
static LATENCY_KEYS: [Key; 5] = [
    Key {
        name: "quantiles",
        kind: Kind::Quantiles { usual: false },
        meaning: "A request is slow that takes longer than these quantiles of stable; or write slower_than.",
    },
    Key {
        name: "slower_than",
        kind: Kind::Amount { unit: Unit::Seconds, default: None, zero: false },
        meaning: "A request is slow that takes longer than this; instead of quantiles. No less than \
                  ignore_below.",
    },
    Key {
        name: "tolerate",
        kind: Kind::Margin { unit: Unit::Seconds },
        meaning: "How much worse than stable is no reason to drain: times the odds of a slow request, or so \
                  much further out in % or as a length. If absent: 1.25x, and 1.5x where the canary \
                  has fewer than four targets.",
    },
    Key {
        name: "promote_within",
        kind: Kind::Times { default: check::PROMOTE_WITHIN_BODY, usual: true, above_one: true },
        meaning: "A canary is proven healthy when it surely has less than so many times the odds. If absent: \
                  1.5x below p97, 2x from there on, and 1.25x where tolerate is a length or a percentage.",
    },
    Key {
        name: "ignore_below",
        kind: Kind::Amount { unit: Unit::Seconds, default: Some(check::LATENCY_IGNORE_BELOW_S), zero: true },
        meaning: "No request is slow that takes no longer than this, whatever stable does.",
    },
];

/// The keys of a check of bad events out of all.
static RATIO_KEYS: [Key; 7] = [
    Key {
        name: "ratio",
        kind: Kind::Mapping(&RATIO_SOURCE_KEYS),
        meaning: "Makes it a check of bad events out of all, and says where the counters are.",
    },
    TOLERATE_RATE,
    Key {
        name: "ignore_below",
        kind: Kind::Rate { default: check::IGNORE_BELOW, zero: true, max: ALL },
        meaning: "Rates up to this are no reason to drain, whatever stable does.",
    },
    Key {
        name: "slo",
        kind: Kind::RateOrOff { default: None },
        meaning: "An absolute limit: a canary that is surely above is drained; false is no limit.",
    },
    Key {
        name: "only_if_worse_than_stable",
        kind: Kind::Flag { default: true },
        meaning: "slo also needs the canary to be worse than stable, so that a fix \
                  is not blocked while stable burns.",
    },
    PROMOTE_WITHIN_RATE,
    Key {
        name: "events",
        kind: Kind::Flag { default: false },
        meaning: "One request may have several bad events (exceptions, retries, log lines), so that there \
                  may be more bad than total.",
    },
];

/// The counters of a ratio.
static RATIO_SOURCE_KEYS: [Key; 2] = [
    Key { name: "bad", kind: Kind::Mapping(&COUNTER_KEYS), meaning: "Counts the bad events." },
    Key { name: "total", kind: Kind::Mapping(&COUNTER_KEYS), meaning: "Counts all events." },
];

/// The keys of a check of values.
static VALUES_KEYS: [Key; 7] = [
    Key {
        name: "values",
        kind: Kind::Mapping(&METRIC_KEYS),
        meaning: "Makes it a check of a distribution, and says which metric has the values.",
    },
    Key {
        name: "worse",
        kind: Kind::Word { default: "higher", words: &["higher", "lower"] },
        meaning: "Which values are bad: higher ones, as of latency, or lower ones, as of tokens per second.",
    },
    Key {
        name: "quantiles",
        kind: Kind::Quantiles { usual: true },
        meaning: "A value is bad that lies beyond these quantiles of stable; or write threshold. If absent \
                  and lower is worse: [p5, p50].",
    },
    Key {
        name: "threshold",
        kind: Kind::Amount { unit: Unit::Metric, default: None, zero: false },
        meaning: "A value is bad that lies beyond this, in the metric's unit; instead of quantiles. No less \
                  than ignore_below.",
    },
    Key {
        name: "tolerate",
        kind: Kind::Margin { unit: Unit::Metric },
        meaning: "How much worse than stable is no reason to drain: times the odds of a bad value, or so \
                  much further out in % or in the metric's unit. If absent: 1.25x, and 1.5x where the canary \
                  has fewer than four targets.",
    },
    Key {
        name: "promote_within",
        kind: Kind::Times { default: check::PROMOTE_WITHIN_BODY, usual: true, above_one: true },
        meaning: "A canary is proven healthy when it surely has less than so many times the odds. If absent: \
                  1.5x below p97, 2x from there on, and 1.25x where tolerate is a distance or a percentage.",
    },
    Key {
        name: "ignore_below",
        kind: Kind::Amount { unit: Unit::Metric, default: Some(0.0), zero: true },
        meaning: "No value is bad that is no more than this, whatever stable does; where higher is worse.",
    },
];

/// The keys of a check of classes.
static CLASSES_KEYS: [Key; 3] = [
    Key {
        name: "classes",
        kind: Kind::Mapping(&CLASSES_SOURCE_KEYS),
        meaning: "Makes it a check of classes, and says which metric counts them.",
    },
    Key {
        name: "tolerate",
        kind: Kind::Times { default: check::TOLERATE, usual: true, above_one: false },
        meaning: "How many times the odds of a class, more or less, are no reason to drain. If absent: \
                  1.25x, and 1.5x where the canary has fewer than four targets.",
    },
    Key {
        name: "promote_within",
        kind: Kind::Times { default: check::PROMOTE_WITHIN_TIMES, usual: false, above_one: true },
        meaning: "A canary is proven healthy when the odds of each class surely differ by less than so many \
                  times.",
    },
];

/// The keys of a metric whose samples are compared.
static METRIC_KEYS: [Key; 5] = [NAMESPACE, METRIC, SHARED_DIMENSIONS, STABLE_DIMENSIONS, CANARY_DIMENSIONS];

/// The keys of a metric that counts.
static COUNTER_KEYS: [Key; 6] =
    [NAMESPACE, METRIC, SHARED_DIMENSIONS, STABLE_DIMENSIONS, CANARY_DIMENSIONS, STATISTIC];

/// The keys of a metric that counts classes.
static CLASSES_SOURCE_KEYS: [Key; 8] = [
    NAMESPACE,
    METRIC,
    SHARED_DIMENSIONS,
    STABLE_DIMENSIONS,
    CANARY_DIMENSIONS,
    STATISTIC,
    Key {
        name: "dimension",
        kind: Kind::AwsName { colon: false },
        meaning: "The dimension whose value is the class.",
    },
    Key {
        name: "values",
        kind: Kind::Labels,
        meaning: "The classes; all others count as one more, which is called other.",
    },
];

/// The names of a table's keys, in its order.
pub(super) fn names(keys: &[Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}
