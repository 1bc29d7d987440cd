//! One look at a whole window, by the tests of the textbook: for gates that ask once.
//!
//! All judged minutes are pooled and each check gets one p-value: the chance of a canary that looks as bad, or
//! worse, if both arms are alike. Every difference counts, however small: `tolerate`, `ignore_below` and
//! `promote_within` are about the size of a difference and play no part here.
//!
//! | check | test |
//! |---|---|
//! | errors, ratio | Fisher's exact test, one-sided |
//! | ratio of events | binomial test of the canary's part of all events, one-sided |
//! | latency, values | Mann-Whitney test over the bins, one-sided |
//! | classes | Fisher's exact test of each class against the rest, two-sided, with Holm's correction |
//!
//! Holm's correction over the checks keeps the chance of any false alarm at the level (Holm 1979). All of that
//! holds for one look, at a moment that was fixed beforehand: looked at every minute until it says "worse", a
//! test at 5 % condemns 12 to 35 % of healthy canaries. The judge of the rollout has no such limit.
//!
//! Pooling has a limit of its own. Where the base rate and the share both change inside the window, the canary
//! has its traffic in other minutes than stable, and good minutes or bad ones look like its own doing (Simpson
//! 1951). That is looked for and told; the judge compares within each minute and need not care.

use std::collections::BTreeMap;

use serde::Serialize;

use super::check::{
    BadBeyond, Check, CheckRule, ClassesCheck, DistributionCheck, ErrorsCheck, OTHER_CLASS, QUANTILES, Rules,
    Worse,
};
use super::edge::Edge;
use super::tally::ErrorTally;
use super::window::{Arm, ArmCounts, Distribution, Row, Tally, Window};
use crate::stats::{self, MANN_WHITNEY_MIN_SAMPLES, MannWhitney, Table, mann_whitney};
use crate::units::{Minute, Quantile, Rate, Share};

/// Chance of calling a canary worse that is as good as stable. One look has no second one to be careful for,
/// so the level of the textbook will do.
pub const ALPHA: Rate = Rate::percent_const(5.0);

/// Stable's own figures have changed with the share if chance alone does that less often than this.
const CHANGED_BELOW: f64 = 0.01;
/// A sum stops when the next term is this part of it.
const NEGLIGIBLE: f64 = 1e-17;

/// What one look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Worse than stable in at least one check.
    Harmful,
    /// Not shown to be worse, which is not shown to be good.
    NotShown,
    /// Not worse as far as one can see, but too little was there to see.
    TooLittle,
}

/// What one look has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OneLook {
    /// The answer.
    pub finding: Finding,
    /// Its level: the chance of a false alarm over all checks.
    pub alpha: Rate,
    /// Minutes that were pooled: with a share above zero and both arms.
    pub minutes: usize,
    /// The first of them.
    pub first: Option<Minute>,
    /// The last of them.
    pub last: Option<Minute>,
    /// What each check of the plan has found.
    pub checks: Vec<CheckLook>,
    /// What one must know to read it.
    pub cautions: Vec<Caution>,
}

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckLook {
    /// Its key in the plan.
    pub name: String,
    /// What came out.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came out of one check.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was tested.
    Tested(Tested),
    /// It could not be.
    Untested(Lack),
}

/// Why a check could not be tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// No judged minute has it in both arms.
    NoData,
    /// The load balancer publishes no response times of stable: the check is left out, as the judge does it.
    LeftOut,
    /// Fewer samples in an arm than the test needs.
    FewSamples {
        /// So many there were in the smaller arm.
        have: u64,
        /// So many it takes.
        need: u64,
    },
    /// No edge of a bin is listed in every minute, so that nothing can be added up.
    NoCommonEdge,
    /// Counts beyond what can be computed exactly.
    TooLarge,
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoData => f.write_str("no judged minute has it in both arms"),
            Self::LeftOut => f.write_str("stable publishes no response times: left out"),
            Self::FewSamples { have, need } => write!(f, "{have} samples in an arm, {need} are needed"),
            Self::NoCommonEdge => f.write_str("no edge of the bins is listed in every minute"),
            Self::TooLarge => f.write_str("the counts are too large"),
        }
    }
}

/// A check's test and its result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tested {
    /// Which test.
    pub test: Test,
    /// Chance of a canary that looks as bad, or worse, if both arms are alike.
    pub p_value: f64,
    /// The same after Holm's correction over the checks: worse if it is at most the level.
    pub p_adjusted: f64,
    /// Worse than stable.
    pub worse: bool,
    /// How large the difference is.
    pub effect: Effect,
}

/// Which test was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Fisher's exact test, one-sided.
    Fisher,
    /// The binomial test of the canary's part of all events, one-sided.
    Binomial,
    /// The Mann-Whitney test, one-sided.
    MannWhitney,
    /// Fisher's exact test of each class against the rest, two-sided.
    FisherByClass,
}

impl Test {
    /// Its name in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fisher => "Fisher's exact test",
            Self::Binomial => "binomial test",
            Self::MannWhitney => "Mann-Whitney test",
            Self::FisherByClass => "Fisher's exact test of each class",
        }
    }
}

/// How large a difference is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Of rates.
    Rates(Rates),
    /// Of distributions.
    Distributions {
        /// Chance that a sample of the canary is worse than one of stable, ties counted half; 0.5 if alike.
        chance_worse: f64,
        /// Samples of stable.
        stable_samples: u64,
        /// Samples of the canary.
        canary_samples: u64,
        /// In which bins the quantiles lie.
        quantiles: Vec<QuantileBins>,
    },
    /// Of classes.
    Classes(Vec<ClassLook>),
}

/// Bad of total in both arms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// Of stable.
    pub stable: Tally,
    /// Of the canary.
    pub canary: Tally,
    /// The canary's odds over stable's (of events: its rate over stable's); `None` where stable has none.
    pub times: Option<f64>,
}

/// One class against the rest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassLook {
    /// Which class.
    pub class: String,
    /// Samples of the class, of all.
    #[serde(flatten)]
    pub rates: Rates,
    /// Twice the smaller one-sided p-value, corrected after Holm for the number of classes.
    pub p_adjusted: f64,
}

/// Where a quantile of both arms lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct QuantileBins {
    /// Which quantile.
    pub quantile: Quantile,
    /// Of stable.
    pub stable: Bin,
    /// Of the canary.
    pub canary: Bin,
}

/// A bin of a distribution, by its ends; they are written in the metric's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// `None`: below all edges.
    #[serde(serialize_with = "in_unit")]
    pub from: Option<Edge>,
    /// `None`: above all edges.
    #[serde(serialize_with = "in_unit")]
    pub to: Option<Edge>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn in_unit<S: serde::Serializer>(edge: &Option<Edge>, to: S) -> Result<S::Ok, S::Error> {
    edge.map(Edge::value).serialize(to)
}

impl std::fmt::Display for Bin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.from, self.to) {
            (Some(from), Some(to)) => write!(f, "{from} to {to}"),
            (Some(from), None) => write!(f, "above {from}"),
            (None, Some(to)) => write!(f, "below {to}"),
            (None, None) => f.write_str("anywhere"),
        }
    }
}

/// What one must know to read the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Caution {
    /// Always.
    OneLookOnly,
    /// Stable's figures and the share both changed inside the window.
    ShareAndBaseChanged {
        /// In which check.
        check: String,
    },
    /// An arm has fewer requests than the plan asks for.
    FewRequests {
        /// Which arm.
        arm: Arm,
        /// So many there were.
        have: u64,
        /// So many it takes.
        need: u64,
    },
    /// The test of distributions sees their middle.
    TailUnseen {
        /// In which check.
        check: String,
    },
    /// Clients stick to the arm that served them first. Only the caller knows.
    Sticky,
}

impl std::fmt::Display for Caution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OneLookOnly => f.write_str(
                "this is valid for ONE look only, at a moment fixed beforehand; looked at every minute it rolls \
                 back 12-35 % of healthy canaries: use the sequential verdict for that",
            ),
            Self::ShareAndBaseChanged { check } => write!(
                f,
                "{check}: stable's own figures and the canary's share both changed inside the window, so that \
                 the pooled comparison may be wrong either way (Simpson's paradox): compare one step at a time, \
                 or use the sequential verdict"
            ),
            Self::FewRequests { arm, have, need } => {
                write!(f, "{arm} has {have} of the {need} requests that the plan asks for")
            }
            Self::TailUnseen { check } => write!(
                f,
                "{check}: this test sees the middle of a distribution; if only the slowest few percent got \
                 worse, the quantiles show it and the p-value does not"
            ),
            Self::Sticky => f.write_str(
                "clients are sticky, so that requests are not independent: such p-values are too small",
            ),
        }
    }
}

/// Looks once at all judged minutes of a window together.
#[must_use]
pub fn one_look(window: &Window, rules: &Rules, alpha: Rate) -> OneLook {
    let rows: Vec<&Row> = window.rows().filter(|row| is_judged(row)).collect();
    let outcomes = rules.checks.iter().map(|check| look(&rows, check)).collect();
    let outcomes = corrected(outcomes, alpha.fraction());
    let names = rules.checks.iter().map(|check| check.name.clone());
    let checks: Vec<CheckLook> =
        names.zip(outcomes).map(|(name, outcome)| CheckLook { name, outcome }).collect();
    let cautions = cautions(&rows, rules, &checks);
    OneLook {
        finding: finding(&checks, &cautions),
        alpha,
        minutes: rows.len(),
        first: rows.first().map(|row| row.minute),
        last: rows.last().map(|row| row.minute),
        checks,
        cautions,
    }
}

fn is_judged(row: &Row) -> bool {
    row.share > Share::ZERO && Arm::BOTH.iter().all(|arm| row.arm(*arm).is_some())
}

/// Harm needs no more data than it took to show it. Anything else does.
fn finding(checks: &[CheckLook], cautions: &[Caution]) -> Finding {
    let tested = |check: &CheckLook| matches!(check.outcome, Outcome::Tested(_));
    let covered = |check: &CheckLook| tested(check) || check.outcome == Outcome::Untested(Lack::LeftOut);
    let few = cautions.iter().any(|caution| matches!(caution, Caution::FewRequests { .. }));
    if checks.iter().any(|check| matches!(&check.outcome, Outcome::Tested(tested) if tested.worse)) {
        Finding::Harmful
    } else if few || !checks.iter().any(tested) || !checks.iter().all(covered) {
        Finding::TooLittle
    } else {
        Finding::NotShown
    }
}

fn cautions(rows: &[&Row], rules: &Rules, checks: &[CheckLook]) -> Vec<Caution> {
    let mut cautions = vec![Caution::OneLookOnly];
    for arm in Arm::BOTH {
        let have = rows.iter().filter_map(|row| row.arm(arm)).map(|counts| counts.requests).sum();
        if have < rules.min_requests {
            cautions.push(Caution::FewRequests { arm, have, need: rules.min_requests });
        }
    }
    for (check, look) in rules.checks.iter().zip(checks) {
        let Outcome::Tested(tested) = &look.outcome else { continue };
        let name = || check.name.clone();
        if changed_with_share(rows, check) {
            cautions.push(Caution::ShareAndBaseChanged { check: name() });
        }
        if tested.test == Test::MannWhitney && !tested.worse {
            cautions.push(Caution::TailUnseen { check: name() });
        }
    }
    cautions
}

/// Whether stable differs from itself between shares: each share against all others, corrected for their
/// number.
fn changed_with_share(rows: &[&Row], check: &Check) -> bool {
    let rows = with_check(rows, check);
    let edges = common_edges(&rows, check);
    let mut shares: Vec<Share> = Vec::new();
    for row in &rows {
        if !shares.iter().any(|share| share.same_as(row.share)) {
            shares.push(row.share);
        }
    }
    let changed = |share: &Share| {
        let (here, elsewhere): (Vec<&Row>, Vec<&Row>) =
            rows.iter().partition(|row| row.share.same_as(*share));
        let [here, elsewhere] = [here, elsewhere].map(|rows| pool(&rows, Arm::Stable, check, &edges));
        p_different(&here, &elsewhere).is_some_and(|p| p * shares.len() as f64 <= CHANGED_BELOW)
    };
    shares.len() > 1 && shares.iter().any(changed)
}

/// Puts Holm's correction over the checks that were tested.
fn corrected(mut outcomes: Vec<Outcome>, alpha: f64) -> Vec<Outcome> {
    let mut tested: Vec<&mut Tested> = outcomes
        .iter_mut()
        .filter_map(|outcome| match outcome {
            Outcome::Tested(tested) => Some(tested),
            Outcome::Untested(_) => None,
        })
        .collect();
    let adjusted = holm(&tested.iter().map(|tested| tested.p_value).collect::<Vec<f64>>());
    for (tested, p) in tested.iter_mut().zip(adjusted) {
        tested.p_adjusted = p;
        tested.worse = p <= alpha;
    }
    outcomes
}

/// Holm's correction for several tests, whatever they have in common.
///
/// ```text
/// adjusted_(i) = max over j <= i of min(1, (K - j + 1) p_(j)),   p_(1) <= ... <= p_(K)
/// ```
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, at) in order.into_iter().enumerate() {
        largest = largest.max((p_values.len() - rank) as f64 * p_values[at]).min(1.0);
        adjusted[at] = largest;
    }
    adjusted
}

/// Tests one check; its correction over the checks is still to come.
fn look(rows: &[&Row], check: &Check) -> Outcome {
    let with = with_check(rows, check);
    if with.is_empty() {
        let silent = !rows.iter().any(|row| has(row.arm(Arm::Stable), check));
        let left_out = silent && !rows.is_empty() && matches!(check.rule, CheckRule::Latency(_));
        return Outcome::Untested(if left_out { Lack::LeftOut } else { Lack::NoData });
    }
    let edges = common_edges(&with, check);
    let [stable, canary] = Arm::BOTH.map(|arm| pool(&with, arm, check, &edges));
    match tested(&stable, &canary, check, &edges) {
        Ok((test, p_value, effect)) => {
            Outcome::Tested(Tested { test, p_value, p_adjusted: p_value, worse: false, effect })
        }
        Err(lack) => Outcome::Untested(lack),
    }
}

fn tested(stable: &Pool, canary: &Pool, check: &Check, edges: &[i32]) -> Result<(Test, f64, Effect), Lack> {
    let p_value = |p: Option<f64>| p.ok_or(Lack::TooLarge);
    match (stable, canary) {
        (Pool::Requests(stable), Pool::Requests(canary)) => {
            let effect = Effect::Rates(rates(*stable, *canary));
            Ok((Test::Fisher, p_value(fisher(*canary, *stable))?, effect))
        }
        (Pool::Events(stable), Pool::Events(canary)) => {
            let times = stable.bad > 0 && canary.total > 0;
            let times = times.then(|| canary.rate() / stable.rate());
            let effect = Effect::Rates(Rates { stable: *stable, canary: *canary, times });
            Ok((Test::Binomial, binomial(*canary, *stable), effect))
        }
        (Pool::Bins(stable), Pool::Bins(canary)) => distributions(stable, canary, check, edges),
        (Pool::Classes(stable), Pool::Classes(canary)) => {
            let classes = by_class(canary, stable).ok_or(Lack::TooLarge)?;
            let p = classes.iter().map(|class| class.p_adjusted).fold(1.0, f64::min);
            Ok((Test::FisherByClass, p, Effect::Classes(classes)))
        }
        _ => Err(Lack::NoData),
    }
}

/// Rows in which both arms have what the check compares: a minute that one arm lacks is no comparison.
fn with_check<'a>(rows: &[&'a Row], check: &Check) -> Vec<&'a Row> {
    let whole = |row: &&Row| Arm::BOTH.iter().all(|arm| has(row.arm(*arm), check));
    rows.iter().copied().filter(whole).collect()
}

fn has(counts: Option<&ArmCounts>, check: &Check) -> bool {
    let Some(counts) = counts else { return false };
    match &check.rule {
        CheckRule::Errors(_) => true,
        CheckRule::Latency(_) | CheckRule::Values(_) => check.distribution(counts).is_some(),
        CheckRule::Ratio(_) => counts.ratio(&check.name).is_some(),
        CheckRule::Classes(_) => counts.classes(&check.name).is_some(),
    }
}

/// One arm's counts of all minutes.
#[derive(Debug, Clone, PartialEq)]
enum Pool {
    /// Bad requests of all.
    Requests(Tally),
    /// Events by requests, of which one may have several.
    Events(Tally),
    /// Samples by bin, the best values first.
    Bins(Vec<u64>),
    /// Samples by class.
    Classes(BTreeMap<String, u64>),
}

fn pool(rows: &[&Row], arm: Arm, check: &Check, edges: &[i32]) -> Pool {
    let counts = rows.iter().filter_map(|row| row.arm(arm));
    match &check.rule {
        CheckRule::Errors(rule) => Pool::Requests(errors(counts, rule)),
        CheckRule::Ratio(rule) => {
            let mut sum = Tally::default();
            counts.filter_map(|counts| counts.ratio(&check.name)).for_each(|tally| sum.add(tally));
            if rule.events { Pool::Events(sum) } else { Pool::Requests(sum) }
        }
        CheckRule::Latency(rule) | CheckRule::Values(rule) => {
            Pool::Bins(bins(counts.filter_map(|counts| check.distribution(counts)), rule.worse, edges))
        }
        CheckRule::Classes(rule) => Pool::Classes(classes(counts, check, rule)),
    }
}

/// The errors of a whole window. Requests under way at the end of a minute are answered in a later one, so
/// only what is lacking over all minutes was never answered. Sources that know no status classes are counted
/// apart.
fn errors<'a>(counts: impl Iterator<Item = &'a ArmCounts>, rule: &ErrorsCheck) -> Tally {
    let (mut known, mut sum) = (ArmCounts::default(), Tally::default());
    for counts in counts {
        if counts.answered().is_none() {
            sum.add(ErrorTally::at_a_glance(counts, rule));
            continue;
        }
        known.requests += counts.requests;
        for (sum, count) in [
            (&mut known.http_2xx, counts.http_2xx),
            (&mut known.http_3xx, counts.http_3xx),
            (&mut known.http_4xx, counts.http_4xx),
            (&mut known.http_5xx, counts.http_5xx),
        ] {
            *sum = Some(sum.unwrap_or(0) + count.unwrap_or(0));
        }
    }
    sum.add(ErrorTally::at_a_glance(&known, rule));
    sum
}

/// Edges that every minute of both arms lists: an edge that is not listed is unknown, not zero.
fn common_edges(rows: &[&Row], check: &Check) -> Vec<i32> {
    let mut all = rows
        .iter()
        .flat_map(|row| Arm::BOTH.map(|arm| row.arm(arm)))
        .filter_map(|counts| check.distribution(counts?))
        .filter(|minute| minute.count > 0);
    let mut common: Vec<i32> = all.next().map_or_else(Vec::new, |first| first.le.keys().copied().collect());
    all.for_each(|minute| common.retain(|edge| minute.le.contains_key(edge)));
    common
}

/// Samples by bin: below the first edge, between edges, above the last; turned around where small values are
/// the bad ones.
fn bins<'a>(minutes: impl Iterator<Item = &'a Distribution>, worse: Worse, edges: &[i32]) -> Vec<u64> {
    let mut below = vec![0; edges.len() + 1];
    for minute in minutes {
        for (sum, edge) in below.iter_mut().zip(edges) {
            *sum += minute.le.get(edge).copied().unwrap_or(0).min(minute.count);
        }
        below[edges.len()] += minute.count;
    }
    let mut bins = below.clone();
    (1..bins.len()).for_each(|at| bins[at] = below[at].saturating_sub(below[at - 1]));
    if worse == Worse::Lower {
        bins.reverse();
    }
    bins
}

fn classes<'a>(
    counts: impl Iterator<Item = &'a ArmCounts>,
    check: &Check,
    rule: &ClassesCheck,
) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (class, count) in counts.filter_map(|counts| counts.classes(&check.name)).flatten() {
        let name = if rule.values.contains(class) { class } else { OTHER_CLASS };
        *sums.entry(name.to_owned()).or_insert(0) += count;
    }
    sums
}

/// Chance of a first arm as bad as this one, or worse, if both are alike (of classes: as different). `None`
/// where the counts are too large.
fn p_worse(first: &Pool, second: &Pool) -> Option<f64> {
    match (first, second) {
        (Pool::Requests(first), Pool::Requests(second)) => fisher(*first, *second),
        (Pool::Events(first), Pool::Events(second)) => Some(binomial(*first, *second)),
        (Pool::Bins(first), Pool::Bins(second)) => Some(mann_whitney(first, second).ok()?.p_value),
        (Pool::Classes(first), Pool::Classes(second)) => {
            Some(by_class(first, second)?.iter().map(|class| class.p_adjusted).fold(1.0, f64::min))
        }
        _ => None,
    }
}

/// The same in either direction.
fn p_different(one: &Pool, other: &Pool) -> Option<f64> {
    let smaller = p_worse(one, other)?.min(p_worse(other, one)?);
    Some(if matches!(one, Pool::Classes(_)) { smaller } else { (2.0 * smaller).min(1.0) })
}

fn rates(stable: Tally, canary: Tally) -> Rates {
    let good = |tally: Tally| tally.total.saturating_sub(tally.bad) as f64;
    let above = canary.bad as f64 * good(stable);
    let below = stable.bad as f64 * good(canary);
    Rates { stable, canary, times: (below > 0.0).then(|| above / below) }
}

fn table(first: Tally, second: Tally) -> Option<Table> {
    let arm = |tally: Tally| stats::Arm::new(tally.bad.min(tally.total), tally.total);
    Table::new(arm(first).ok()?, arm(second).ok()?).ok()
}

fn fisher(first: Tally, second: Tally) -> Option<f64> {
    Some(table(first, second)?.fisher_p_value())
}

/// Chance that the first arm has as many of all events, or more, if each event falls to an arm by its requests.
///
/// ```text
/// p = P(X >= x1),   X ~ Bin(x1 + x0, n1 / (n1 + n0))
/// ```
///
/// Przyborowski and Wilenski (1940). The terms are summed outwards from the likeliest one, by their ratios:
/// the tail and the whole, so that nothing needs to be known of their size.
fn binomial(first: Tally, second: Tally) -> f64 {
    let (n1, n0, events) = (first.total as f64, second.total as f64, first.bad.saturating_add(second.bad));
    if n1 == 0.0 || n0 == 0.0 || first.bad == 0 {
        return 1.0;
    }
    let odds = n1 / n0;
    let mode = (((events as f64 + 1.0) * (n1 / (n1 + n0))) as u64).min(events);
    let (mut whole, mut tail) = (0.0, 0.0);
    let mut term = 1.0;
    for at in mode..=events {
        whole += term;
        tail += if at >= first.bad { term } else { 0.0 };
        if term <= NEGLIGIBLE * tail {
            break;
        }
        term *= odds * (events - at) as f64 / (at + 1) as f64;
    }
    term = 1.0;
    for at in (0..mode).rev() {
        term *= (at + 1) as f64 / (odds * (events - at) as f64);
        whole += term;
        tail += if at >= first.bad { term } else { 0.0 };
        if term <= NEGLIGIBLE * whole {
            break;
        }
    }
    (tail / whole).min(1.0)
}

fn distributions(
    stable: &[u64],
    canary: &[u64],
    check: &Check,
    edges: &[i32],
) -> Result<(Test, f64, Effect), Lack> {
    let (CheckRule::Latency(rule) | CheckRule::Values(rule)) = &check.rule else { return Err(Lack::NoData) };
    let [stable_samples, canary_samples] = [stable, canary].map(|bins| bins.iter().sum::<u64>());
    let have = stable_samples.min(canary_samples);
    if have < MANN_WHITNEY_MIN_SAMPLES {
        return Err(Lack::FewSamples { have, need: MANN_WHITNEY_MIN_SAMPLES });
    }
    if edges.is_empty() {
        return Err(Lack::NoCommonEdge);
    }
    let MannWhitney { superiority, p_value, .. } =
        mann_whitney(canary, stable).map_err(|_| Lack::TooLarge)?;
    let quantiles = quantiles(stable, canary, rule, edges);
    let effect =
        Effect::Distributions { chance_worse: superiority, stable_samples, canary_samples, quantiles };
    Ok((Test::MannWhitney, p_value, effect))
}

fn quantiles(stable: &[u64], canary: &[u64], rule: &DistributionCheck, edges: &[i32]) -> Vec<QuantileBins> {
    let wanted: &[Quantile] = match &rule.bad_beyond {
        BadBeyond::Quantiles(quantiles) => quantiles,
        BadBeyond::Fixed(_) => &QUANTILES,
    };
    let bin = |bins: &[u64], quantile| match rule.worse {
        Worse::Higher => bin_of(bins.iter(), quantile, edges),
        Worse::Lower => bin_of(bins.iter().rev(), quantile, edges),
    };
    wanted
        .iter()
        .map(|quantile| QuantileBins {
            quantile: *quantile,
            stable: bin(stable, *quantile),
            canary: bin(canary, *quantile),
        })
        .collect()
}

/// The bin that a quantile lies in, given the bins in ascending order of value.
fn bin_of<'a>(bins: impl Iterator<Item = &'a u64> + Clone, quantile: Quantile, edges: &[i32]) -> Bin {
    let wanted = quantile.fraction() * bins.clone().sum::<u64>() as f64;
    let mut below = 0;
    let at = bins.take_while(|bin| {
        below += **bin;
        (below as f64) < wanted
    });
    let at = at.count().min(edges.len());
    Bin { from: at.checked_sub(1).map(|at| Edge(edges[at])), to: edges.get(at).map(|edge| Edge(*edge)) }
}

/// Each class against the rest; `None` where the counts are too large.
fn by_class(canary: &BTreeMap<String, u64>, stable: &BTreeMap<String, u64>) -> Option<Vec<ClassLook>> {
    let totals = [canary, stable].map(|arm| arm.values().sum::<u64>());
    let mut names: Vec<&String> = canary.keys().chain(stable.keys()).collect();
    names.sort();
    names.dedup();
    let mut looks = Vec::new();
    let mut p_values = Vec::new();
    for class in names {
        let [canary, stable] = [(canary, totals[0]), (stable, totals[1])]
            .map(|(arm, total)| Tally { bad: arm.get(class).copied().unwrap_or(0), total });
        let smaller = fisher(canary, stable)?.min(fisher(stable, canary)?);
        p_values.push((2.0 * smaller).min(1.0));
        looks.push(ClassLook { class: class.clone(), rates: rates(stable, canary), p_adjusted: 1.0 });
    }
    for (look, p) in looks.iter_mut().zip(holm(&p_values)) {
        look.p_adjusted = p;
    }
    Some(looks)
}
