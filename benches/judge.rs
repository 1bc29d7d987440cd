//! What one verdict costs: the whole window is judged anew at every tick.
//!
//! `cargo bench --bench judge`. Compare figures of one run with each other, not with another machine's.
//! Against SciPy: `benches/compare.py`.

mod traffic;

use std::hint::black_box;
use std::time::Duration;

use canary_gate::analysis::judge;
use canary_gate::stats::{Arm, OddsGrid, OddsRatio, Release, RestartedMixture, Table};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Parts of a minute's requests that are bad: errors, slow requests at 95 and 50 %.
const RATES: [f64; 3] = [0.003, 0.05, 0.5];
/// How many times the usual requests.
const SCALES: [u64; 3] = [1, 16, 256];

/// So many tables that no branch is learnt by heart.
fn tables(scale: u64, rate: f64) -> Vec<Table> {
    let count = |n: u64, at: u64| {
        let sd = (n as f64 * rate * (1.0 - rate)).sqrt();
        let bad = n as f64 * rate + sd * ((at % 17) as f64 / 8.0 - 1.0);
        Arm::new((bad.max(0.0) as u64).min(n), n).expect("an arm")
    };
    let arms = |at: u64| {
        (count(traffic::CANARY * scale, at * 37 + 11), count(traffic::STABLE * scale, at * 37 + 22))
    };
    (0..64).map(arms).map(|(canary, stable)| Table::new(canary, stable).expect("a table")).collect()
}

/// A grid as the judge has it: eight alternatives to 1.25, equal odds, the odds that health excludes, and for
/// classes all of it upside down, too.
fn grid<const K: usize>() -> OddsGrid<K> {
    let odds = |psi| OddsRatio::new(psi).expect("an odds ratio");
    let above = OddsGrid::above(odds(1.25)).expect("a grid");
    let one_way = above.alternatives().into_iter().chain([odds(1.0), odds(1.5)]);
    let both: Vec<OddsRatio> = one_way.clone().chain(one_way.map(OddsRatio::reciprocal)).collect();
    OddsGrid::new(odds(1.25), std::array::from_fn(|k| both[k]))
}

fn stratum<const K: usize>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(format!("stratum/{K}odds"));
    let grid = grid::<K>();
    for scale in SCALES {
        for rate in RATES {
            let tables = tables(scale, rate);
            let bad = ((traffic::CANARY + traffic::STABLE) * scale) as f64 * rate;
            let mut next = tables.iter().cycle();
            group.bench_function(BenchmarkId::new(format!("x{scale}"), format!("{bad}bad")), |bencher| {
                bencher.iter(|| next.next().map(|table| black_box(*table).ln_likelihood_ratios(&grid)));
            });
        }
    }
    group.finish();
}

fn strata(criterion: &mut Criterion) {
    stratum::<10>(criterion);
    stratum::<20>(criterion);
    let ratios = [-0.1, 0.2, 0.05, -0.3, -0.5, 0.4, 0.0, -1.0];
    let mut mixture = RestartedMixture::<8>::new();
    criterion.bench_function("mixture/step", |bencher| {
        bencher.iter(|| mixture.step(Release::Later, black_box(&ratios), Some(2.3)));
    });
    criterion.bench_function("mixture/ln_e", |bencher| bencher.iter(|| black_box(&mixture).ln_e()));
}

fn verdicts(criterion: &mut Criterion) {
    let (rules, conditions) = (traffic::rules(), traffic::conditions());
    let mut errors = rules.clone();
    errors.checks.truncate(1);
    let usual = traffic::window(240, 1);
    criterion.bench_function("judge/errors/240min", |bencher| {
        bencher.iter(|| judge(&usual, &errors, &conditions));
    });
    let five = traffic::five_comparisons();
    criterion.bench_function("judge/5comparisons/240min", |bencher| {
        bencher.iter(|| judge(&usual, &five, &conditions));
    });
    // Linear in the minutes.
    let mut group = criterion.benchmark_group("judge/5checks/minutes");
    for minutes in [60, 240, 960] {
        let window = traffic::window(minutes, 1);
        group.throughput(Throughput::Elements(minutes.unsigned_abs()));
        group.bench_with_input(BenchmarkId::from_parameter(minutes), &window, |bencher, window| {
            bencher.iter(|| judge(window, &rules, &conditions));
        });
    }
    group.finish();
    // About with the square root of the counts.
    let mut group = criterion.benchmark_group("judge/5checks/240min/counts");
    for scale in SCALES {
        let window = traffic::window(240, scale);
        group.bench_with_input(BenchmarkId::new("x", scale), &window, |bencher, window| {
            bencher.iter(|| judge(window, &rules, &conditions));
        });
    }
    group.finish();
}

/// The corners: one request a minute and ten million, one minute and a day, one check and twenty.
fn shapes(criterion: &mut Criterion) {
    let (five, conditions) = (traffic::rules(), traffic::conditions());
    let mut group = criterion.benchmark_group("judge/5checks/240min/requests");
    for requests in [1, 100, 10_000, 1_000_000, 10_000_000] {
        let canary = (requests / 20).max(1);
        let window = traffic::window_of(240, [requests, canary], 0);
        group.bench_with_input(BenchmarkId::from_parameter(requests), &window, |bencher, window| {
            bencher.iter(|| judge(window, &five, &conditions));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("judge/5checks/length");
    for minutes in [1, 1_440] {
        let window = traffic::window(minutes, 1);
        group.throughput(Throughput::Elements(minutes.unsigned_abs()));
        group.bench_with_input(BenchmarkId::from_parameter(minutes), &window, |bencher, window| {
            bencher.iter(|| judge(window, &five, &conditions));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("judge/240min/checks");
    for checks in [1, 5, 20] {
        let window = traffic::window_of(240, [traffic::STABLE, traffic::CANARY], checks);
        let rules = traffic::many_checks(checks);
        group.throughput(Throughput::Elements(checks as u64));
        group.bench_with_input(BenchmarkId::from_parameter(checks), &window, |bencher, window| {
            bencher.iter(|| judge(window, &rules, &conditions));
        });
    }
    group.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = strata, verdicts, shapes
}
criterion_main!(all);
