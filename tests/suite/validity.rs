//! Whether the evidence is what it says it is: counted out on small tables, over every table that there can be.
//!
//! What stands beside the formulas already, in `src/stats`, is not done again:
//!
//! | claim | test |
//! |---|---|
//! | a ratio's mean is 1 at the null and less inside, on tables drawn at random | `hypergeometric::the_expected_ratio_is_one_at_the_null_and_at_most_one_inside_it` |
//! | arms swapped and odds turned around give the same ratios | `hypergeometric::exchanging_the_arms_is_the_reciprocal_odds_ratio` |
//! | a higher count at the same margins is more evidence | `hypergeometric::a_higher_count_never_lowers_the_evidence` |
//! | the chance of ever crossing 1/alpha is within alpha | `mixture::the_chance_of_ever_crossing_is_within_the_level_for_every_stream_of_six_minutes` |
//! | a cap never adds evidence | `mixture::a_cap_never_adds_evidence` |
//! | the mean of a limit's ratios | `one_sample::the_expected_ratio_is_one_at_the_limit_and_less_below_it` |
//! | the mean of the evidence of health, in Poisson and in binomial counts | `projection::the_expectation_of_health_evidence_is_one_at_the_projection_and_less_further_in`, `..._for_independent_requests_is_at_most_one_on_the_boundary` |
//! | the mean of the evidence of an excess | `projection::the_expectation_of_excess_evidence_is_at_most_one_on_the_boundary_and_inside` |
//! | the mean of the share's evidence | `sample_ratio::the_expectation_is_at_most_one_at_every_share_of_the_interval` |
//!
//! Here: every table up to a bound instead of some, the reciprocal grid, the cap, the odds form of health, the
//! means along a stream, what one more bad request does, and the same of the judge as a whole.

use std::sync::LazyLock;

use canary_gate::analysis::check::{Check, CheckRule, ErrorsCheck, Rules, TOLERATE};
use canary_gate::analysis::verdict::{Judgement, Verdict};
use canary_gate::analysis::window::{ArmCounts, Row, Window};
use canary_gate::analysis::{Conditions, judge};
use canary_gate::sim::random::Random;
use canary_gate::stats::{
    ALTERNATIVE_MULTIPLIERS, Allowance, Arm, EventCounts, ExcessGrid, LearntRate, Margins, OddsGrid,
    OddsRatio, RateLimit, Release, RestartedMixture, Table,
};
use canary_gate::units::{Minute, Share};
use proptest::prelude::*;

/// Rounding of a sum over a whole table.
const SLACK: f64 = 1e-9;
/// Requests of an arm go up to this where every table is counted out.
const REQUESTS_MAX: u64 = 9;
/// Odds ratios of the nulls: no tolerance, the default, and a large one.
const NULLS: [f64; 3] = [1.0, 1.25, 3.0];

fn odds(psi: f64) -> OddsRatio {
    OddsRatio::new(psi).unwrap()
}

fn above(psi0: f64) -> OddsGrid<8> {
    OddsGrid::above(odds(psi0)).unwrap()
}

fn table(x1: u64, n1: u64, x0: u64, n0: u64) -> Table {
    Table::new(Arm::new(x1, n1).unwrap(), Arm::new(x0, n0).unwrap()).unwrap()
}

/// Every set of margins up to the bound, those that leave no freedom included.
fn all_margins() -> impl Iterator<Item = Margins> {
    let pairs = (0..=REQUESTS_MAX).flat_map(|n1| (0..=REQUESTS_MAX).map(move |n0| (n1, n0)));
    pairs.flat_map(|(n1, n0)| (0..=n1 + n0).map(move |m| Margins::new(n1, n0, m).unwrap()))
}

/// Every table with these margins, and its probability.
fn tables(margins: Margins, psi: OddsRatio) -> impl Iterator<Item = (Table, f64)> {
    let (low, high) = margins.support();
    (low..=high)
        .map(move |x| (table(x, margins.n1(), margins.m() - x, margins.n0()), margins.ln_pmf(x, psi).exp()))
}

/// Mean of what the ratios are made into, for each alternative.
fn means(margins: Margins, psi: OddsRatio, grid: &OddsGrid<8>, cap: f64) -> [f64; 8] {
    let mut means = [0.0; 8];
    for (table, chance) in tables(margins, psi) {
        for (mean, l) in means.iter_mut().zip(table.ln_likelihood_ratios(grid)) {
            *mean += chance * l.min(cap).exp();
        }
    }
    means
}

#[test]
fn on_every_small_table_each_alternative_has_a_mean_of_one_at_the_null_and_less_inside_it() {
    for margins in all_margins() {
        for null in NULLS {
            let grid = above(null);
            // As they stand, and seen from the other arm: the null is then all that is above it.
            for (grid, inside) in [(grid, [0.2, 0.9]), (grid.reciprocal(), [1.0 / 0.2, 1.0 / 0.9])] {
                let at = |psi: OddsRatio, cap: f64| means(margins, psi, &grid, cap);
                let at_null = at(grid.null(), f64::INFINITY);
                assert!(at_null.iter().all(|mean| (mean - 1.0).abs() < SLACK), "{margins:?}: {at_null:?}");
                for part in inside {
                    let within = at(odds(grid.null().get() * part), f64::INFINITY);
                    assert!(within.iter().all(|mean| *mean <= 1.0 + SLACK), "{margins:?} {part}: {within:?}");
                }
                let capped = at(grid.null(), 0.7);
                assert!(capped.iter().all(|mean| *mean <= 1.0 + SLACK), "{margins:?}: {capped:?}");
            }
        }
    }
}

/// Binomial probabilities by their recursion.
fn binomial(trials: u64, chance: f64) -> Vec<f64> {
    let mut terms = vec![(1.0 - chance).powi(trials as i32)];
    for x in 0..trials {
        let ratio = (trials - x) as f64 / (x + 1) as f64 * chance / (1.0 - chance);
        terms.push(terms[x as usize] * ratio);
    }
    terms
}

#[test]
fn on_every_small_count_of_events_each_alternative_has_a_mean_of_one_at_the_null_and_less_inside_it() {
    let mean = |[n1, n0, m]: [u64; 3], psi: f64, grid: &OddsGrid<8>, cap: f64| {
        let theta = psi * n1 as f64 / (n0 as f64 + psi * n1 as f64);
        let mut means = [0.0; 8];
        for (x1, chance) in (0..=m).zip(binomial(m, theta)) {
            let counts = EventCounts::new(x1, n1, m - x1, n0).unwrap();
            for (mean, l) in means.iter_mut().zip(counts.ln_likelihood_ratios(grid)) {
                *mean += chance * l.min(cap).exp();
            }
        }
        means
    };
    for (n1, n0) in (1..=5).flat_map(|n1| [1, 3, 40].map(|n0| (n1, n0))) {
        // More events than requests, too.
        for m in 0..=16 {
            for grid in NULLS.map(above).into_iter().chain(NULLS.map(|null| above(null).reciprocal())) {
                let null = grid.null().get();
                let towards = if grid.alternatives()[0].get() > null { 0.5 } else { 2.0 };
                for (psi, cap) in [(null, f64::INFINITY), (null * towards, f64::INFINITY), (null, 0.7)] {
                    for mean in mean([n1, n0, m], psi, &grid, cap) {
                        assert!(mean <= 1.0 + SLACK, "{n1} {n0} {m} {psi} {cap}: {mean}");
                        assert!(psi != null || cap < 1.0 || mean >= 1.0 - SLACK, "{n1} {n0} {m}: {mean}");
                    }
                }
            }
        }
    }
}

/// Means of a mixture's evidence after each minute of a stream, over everything that can happen in it.
fn means_along(stream: &[Margins], psi: OddsRatio, grid: &OddsGrid<8>, cap: Option<f64>) -> Vec<f64> {
    let mut means = Vec::new();
    let mut worlds = vec![(RestartedMixture::<8>::new(), 1.0)];
    for (at, margins) in stream.iter().enumerate() {
        let release = [Release::First, Release::Later, Release::NewStep][at.min(2)];
        let mut next = Vec::new();
        for (mixture, before) in worlds {
            for (table, chance) in tables(*margins, psi) {
                let mut mixture = mixture;
                mixture.step(release, &table.ln_likelihood_ratios(grid), cap).unwrap();
                next.push((mixture, before * chance));
            }
        }
        means.push(next.iter().map(|(mixture, chance)| chance * mixture.ln_e().exp()).sum());
        worlds = next;
    }
    means
}

#[test]
fn the_mean_of_restarted_evidence_is_at_most_one_after_every_minute() {
    let stream = |sizes: [[u64; 3]; 3]| sizes.map(|[n1, n0, m]| Margins::new(n1, n0, m).unwrap());
    let streams = [
        stream([[4, 9, 3], [2, 7, 2], [5, 5, 4]]),
        stream([[1, 30, 2], [6, 6, 11], [3, 20, 5]]),
        // The base rate jumps, and an arm is empty for a minute.
        stream([[8, 8, 1], [8, 8, 15], [0, 8, 3]]),
    ];
    for margins in streams {
        for null in NULLS {
            for grid in [above(null), above(null).reciprocal()] {
                for cap in [None, Some(0.5), Some(2.3)] {
                    let at_null = means_along(&margins, grid.null(), &grid, cap);
                    assert!(at_null.iter().all(|mean| *mean <= 1.0 + SLACK), "{at_null:?}");
                    let is_one = |mean: &f64| (mean - 1.0).abs() < SLACK;
                    assert!(cap.is_some() || at_null.iter().all(is_one), "{at_null:?}");
                }
                let inside = if grid.alternatives()[0] > grid.null() { 0.6 } else { 1.0 / 0.6 };
                let within = means_along(&margins, odds(grid.null().get() * inside), &grid, None);
                assert!(within.iter().all(|mean| *mean <= 1.0 + SLACK), "{within:?}");
            }
        }
    }
}

#[test]
fn the_means_along_a_stream_would_notice_evidence_that_is_too_strong() {
    let margins = [Margins::new(4, 9, 3).unwrap(); 3];
    let means = means_along(&margins, odds(1.5), &above(1.25), None);
    assert!(means.iter().all(|mean| *mean > 1.01), "{means:?}");
}

#[test]
fn the_odds_form_of_health_has_a_mean_of_one_at_the_margin_and_less_beyond_it() {
    for margins in all_margins() {
        for allowed in [1.25, 1.5, 2.0] {
            // The null is "the margin or worse", the alternative that both arms are alike.
            let grid = OddsGrid::new(odds(allowed), [OddsRatio::ONE]);
            for beyond in [1.0, 1.3, 20.0] {
                let psi = odds(allowed * beyond);
                let parts = tables(margins, psi)
                    .map(|(table, chance)| chance * table.ln_likelihood_ratios(&grid)[0].exp());
                let mean: f64 = parts.sum();
                assert!(mean <= 1.0 + SLACK, "{margins:?} {allowed} {beyond}: {mean}");
                assert!(beyond > 1.0 || mean >= 1.0 - SLACK, "{margins:?} {allowed}: {mean}");
            }
        }
    }
}

/// Evidence of harm in all its forms, and evidence of health in both of its own.
fn all_evidence(table: Table, rate: f64) -> (Vec<f64>, [f64; 2]) {
    let rate = LearntRate::new(rate).unwrap();
    let (first, second) = (table.first(), table.second());
    let events = EventCounts::new(first.bad(), first.total(), second.bad(), second.total()).unwrap();
    let excess = ExcessGrid::new(0.01, ALTERNATIVE_MULTIPLIERS).unwrap();
    let mut harm = table.ln_likelihood_ratios(&above(1.25)).to_vec();
    harm.extend(events.ln_likelihood_ratios(&above(1.25)));
    harm.extend(excess.ln_e(table, rate));
    harm.extend(RateLimit::at_most(0.001).unwrap().ln_likelihood_ratios(first));
    let health = OddsGrid::new(odds(1.5), [OddsRatio::ONE]);
    let allowance = Allowance::new(1.5, 0.005).unwrap();
    (harm, [allowance.ln_e(table, rate), table.ln_likelihood_ratios(&health)[0]])
}

/// Small counts and large ones: an arm's requests, and how many of a thousand are bad.
fn an_arm() -> impl Strategy<Value = (u64, u64)> {
    (prop_oneof![1..20u64, 100..5_000u64], 0..1_000u64).prop_map(|(n, per_mille)| (n * per_mille / 1_000, n))
}

fn a_small_arm() -> impl Strategy<Value = (u64, u64)> {
    (1..200u64, 0..200u64).prop_map(|(n, per_mille)| (n * per_mille / 1_000, n))
}

/// A mixture without restarts: there is next to no cash left, e^-2079, to be released later.
static ALL_STAKED: LazyLock<RestartedMixture<8>> = LazyLock::new(|| {
    let mut mixture = RestartedMixture::new();
    (0..3_000).for_each(|_| mixture.step(Release::First, &[0.0; 8], None).unwrap());
    mixture
});

proptest! {
    #[test]
    fn a_request_that_turns_bad_never_lowers_evidence_of_harm_nor_raises_that_of_health(
        (x1, n1) in an_arm(), (x0, n0) in an_arm(), rate in 0.0005..0.3f64,
    ) {
        prop_assume!(x1 < n1);
        let (harm, health) = all_evidence(table(x1, n1, x0, n0), rate);
        let (harm_after, health_after) = all_evidence(table(x1 + 1, n1, x0, n0), rate);
        let rounding = |l: f64| 1e-9 * (1.0 + l.abs());
        for (before, after) in harm.into_iter().zip(harm_after) {
            prop_assert!(after >= before - rounding(before), "{before} {after}");
        }
        for (before, after) in health.into_iter().zip(health_after) {
            prop_assert!(after <= before + rounding(before), "{before} {after}");
        }
    }

    #[test]
    fn a_bad_request_on_top_never_lowers_the_odds_of_harm_nor_raises_those_of_health(
        (x1, n1) in an_arm(), (x0, n0) in an_arm(),
    ) {
        let health = OddsGrid::new(odds(1.5), [OddsRatio::ONE]);
        let (before, after) = (table(x1, n1, x0, n0), table(x1 + 1, n1 + 1, x0, n0));
        let ratios = |table: Table| table.ln_likelihood_ratios(&above(1.25));
        for (before, after) in ratios(before).into_iter().zip(ratios(after)) {
            prop_assert!(after >= before - 1e-9 * (1.0 + before.abs()), "{before} {after}");
        }
        let [before, after] = [before, after].map(|table| table.ln_likelihood_ratios(&health)[0]);
        prop_assert!(after <= before + 1e-9 * (1.0 + before.abs()), "{before} {after}");
    }

    #[test]
    fn events_of_swapped_arms_give_the_same_ratios_with_the_odds_turned_around(
        (x1, n1) in an_arm(), (x0, n0) in an_arm(), psi0 in 0.5..3.0f64,
    ) {
        let there = EventCounts::new(x1, n1, x0, n0).unwrap().ln_likelihood_ratios(&above(psi0));
        let back = EventCounts::new(x0, n0, x1, n1).unwrap();
        for (a, b) in there.into_iter().zip(back.ln_likelihood_ratios(&above(psi0).reciprocal())) {
            prop_assert!((a - b).abs() < 1e-9 * (1.0 + (x1 + x0) as f64), "{a} {b}");
        }
    }

    #[test]
    fn without_restarts_the_order_of_the_minutes_does_not_matter(
        arms in prop::collection::vec((a_small_arm(), a_small_arm()), 1..12), turn in 0..12usize,
    ) {
        let grid = above(1.25);
        let minutes: Vec<[f64; 8]> = arms
            .iter()
            .map(|((x1, n1), (x0, n0))| table(*x1, *n1, *x0, *n0).ln_likelihood_ratios(&grid))
            .collect();
        let mut shuffled = minutes.clone();
        shuffled.reverse();
        let turn = turn % shuffled.len();
        shuffled.rotate_left(turn);
        let evidence = |minutes: &[[f64; 8]]| {
            let mut mixture = *ALL_STAKED;
            minutes.iter().for_each(|minute| mixture.step(Release::Later, minute, None).unwrap());
            mixture.ln_staked()
        };
        // Further down, even that little cash would show.
        let lowest = |k: usize| minutes.iter().map(|minute| minute[k].min(0.0)).sum::<f64>();
        prop_assume!((0..8).map(lowest).fold(0.0, f64::min) > -100.0);
        let sums: [f64; 8] = std::array::from_fn(|k| minutes.iter().map(|minute| minute[k]).sum());
        for (k, (a, b)) in evidence(&minutes).into_iter().zip(evidence(&shuffled)).enumerate() {
            prop_assert!((a - b).abs() < 1e-9 * (1.0 + a.abs()), "{a} {b}");
            prop_assert!((a - (sums[k] - 8f64.ln())).abs() < 1e-9 * (1.0 + a.abs()), "{a} {}", sums[k]);
        }
    }
}

fn counts(requests: u64, failed: u64) -> ArmCounts {
    ArmCounts { requests, http_2xx: Some(requests - failed), http_5xx: Some(failed), ..ArmCounts::default() }
}

fn row(at: i64, percent: f64, (stable_bad, stable): (u64, u64), (canary_bad, canary): (u64, u64)) -> Row {
    let start: Minute = "2026-03-01T10:00:00Z".parse().unwrap();
    Row {
        minute: start.plus(at),
        share: Share::from_percent(percent).unwrap(),
        stable: Some(counts(stable, stable_bad)),
        canary: Some(counts(canary, canary_bad)),
    }
}

fn errors_only() -> Rules {
    Rules {
        checks: vec![Check::new("errors", CheckRule::Errors(ErrorsCheck::default()))],
        ..Rules::default()
    }
}

fn judged(rows: impl IntoIterator<Item = Row>) -> Judgement {
    judge(&rows.into_iter().collect::<Window>(), &errors_only(), &Conditions::default())
}

/// A baseline, then two steps.
fn a_rollout() -> impl Strategy<Value = Vec<Row>> {
    let arm = || (50..400u64, 0..60u64).prop_map(|(n, per_mille)| (n * per_mille / 1_000, n));
    prop::collection::vec((arm(), arm()), 8..24).prop_map(|minutes| {
        let percent = |at: usize| if at < 3 { 0.0 } else { [5.0, 25.0][usize::from(at >= 14)] };
        let rows = minutes.into_iter().enumerate();
        rows.map(|(at, (stable, canary))| row(at as i64, percent(at), stable, canary)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_judge_answers_the_same_in_whatever_order_rows_and_corrections_arrive(
        rows in a_rollout(), seed in any::<u64>(), corrected in prop::collection::vec(any::<bool>(), 24),
    ) {
        let mut arrivals = Vec::new();
        // Some minutes come twice: first as CloudWatch had them at that time.
        for (row, corrected) in rows.iter().zip(corrected) {
            if corrected {
                let early = |counts: &Option<ArmCounts>| {
                    counts.as_ref().map(|counts| ArmCounts { requests: counts.requests / 2, ..ArmCounts::default() })
                };
                let (stable, canary) = (early(&row.stable), early(&row.canary));
                arrivals.push(Row { stable, canary, ..row.clone() });
            }
        }
        let mut random = Random::new(seed, 0);
        let mut shuffled = rows.clone();
        for last in (1..shuffled.len()).rev() {
            shuffled.swap(last, (random.uniform() * (last + 1) as f64) as usize);
        }
        arrivals.extend(shuffled);
        prop_assert_eq!(judged(arrivals), judged(rows));
    }

    #[test]
    fn one_more_failed_canary_request_never_speaks_for_the_canary(
        rows in a_rollout(), at in 0..24usize, more in 1..5u64,
    ) {
        let mut worse = rows.clone();
        let at = at % rows.len();
        let canary = rows[at].canary.clone().unwrap();
        let failed = (canary.http_5xx.unwrap() + more).min(canary.requests);
        worse[at].canary = Some(counts(canary.requests, failed));
        let (before, after) = (judged(rows), judged(worse));
        prop_assert!(after.log_e_harm >= before.log_e_harm - 1e-9);
        prop_assert!(after.checks[0].log_e_health <= before.checks[0].log_e_health + 1e-9);
        prop_assert!(after.checks[0].log_e_abort >= before.checks[0].log_e_abort.map(|e| e - 1e-9));
        let bad_news = |judgement: &Judgement| judgement.verdict == Verdict::Harmful;
        prop_assert!(bad_news(&after) || !bad_news(&before), "{:?} {:?}", before.reason, after.reason);
    }
}

/// Runs of which at most one in a thousand would have more, if each is condemned with this chance.
fn at_most(runs: u64, chance: f64) -> usize {
    let mut sum = 0.0;
    let terms = binomial(runs, chance);
    terms
        .iter()
        .take_while(|term| {
            sum += **term;
            sum < 0.999
        })
        .count()
}

/// How many rollouts are condemned whose canary has so many times stable's odds of an error. Small counts,
/// a base rate that wanders between 0.5 % and 8 %, and a second step halfway.
fn condemned(runs: u64, minutes: i64, times: f64) -> usize {
    let mut random = Random::new(7, 0);
    let mut run = || {
        let mut logit = -3.9_f64;
        judged((0..minutes).map(|at| {
            logit = (logit + random.uniform() - 0.5).clamp(-5.3, -2.4);
            let rate = |odds: f64| odds / (1.0 + odds);
            let late = at >= minutes / 2;
            let (stable, canary) = if late { (30.0, 30.0) } else { (54.0, 6.0) };
            let mut arm = |mean: f64, odds: f64| {
                let requests = random.poisson(mean);
                (random.binomial(requests, rate(odds)), requests)
            };
            let (stable, canary) = (arm(stable, logit.exp()), arm(canary, times * logit.exp()));
            row(at, if late { 50.0 } else { 10.0 }, stable, canary)
        }))
        .verdict
    };
    (0..runs).filter(|_| run() == Verdict::Harmful).count()
}

#[test]
fn canaries_as_bad_as_tolerated_are_condemned_no_more_often_than_promised_over_240_looks() {
    const RUNS: u64 = 300;
    let promised = Rules::default().false_rollback.fraction();
    let most = at_most(RUNS, promised);
    assert!((6..12).contains(&most), "one in a hundred of {RUNS} is 3, hardly ever {most}");
    let edge = condemned(RUNS, 240, TOLERATE.ratio());
    assert!(edge <= most, "{edge} of {RUNS} at the edge of what is tolerated, more than {most}");
    let alike = condemned(60, 240, 1.0);
    assert!(alike <= at_most(60, promised), "{alike} of 60 with no difference");
}

#[test]
fn canaries_that_are_much_worse_are_condemned_nearly_always() {
    let found = condemned(30, 240, 6.0);
    assert!(found >= 27, "{found} of 30");
}
