//! What one verdict costs: the whole window is judged anew at every tick.
//!
//! `cargo bench --bench judge`. Compare figures of one run with each other, not with another machine's.

use canary_gate::analysis::check::Rules;
use canary_gate::analysis::window::{ArmCounts, Row, Window};
use canary_gate::analysis::{Conditions, judge};
use canary_gate::units::{Minute, Share};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// So many minutes at a rate of requests a second, the canary at 5 %, both arms failing 0.3 %.
fn window(minutes: i64, per_second: u64) -> Window {
    let start: Minute = "2026-03-01T10:00:00Z".parse().expect("a minute");
    let arm = |requests: u64, at: i64| {
        // Not the same every minute, so that no branch is learnt by heart.
        let failed = (requests * 3 + at.unsigned_abs() * 337 % 1_000) / 1_000;
        ArmCounts {
            requests,
            http_2xx: Some(requests - failed),
            http_5xx: Some(failed),
            ..ArmCounts::default()
        }
    };
    (0..minutes)
        .map(|at| Row {
            minute: start.plus(at),
            share: Share::from_percent(5.0).expect("a share"),
            stable: Some(arm(per_second * 57, at)),
            canary: Some(arm(per_second * 3, at)),
        })
        .collect()
}

fn benches(criterion: &mut Criterion) {
    let rules = Rules::default();
    let mut group = criterion.benchmark_group("judge/errors/240min");
    group.throughput(Throughput::Elements(240));
    for per_second in [5, 50, 500, 5_000, 50_000] {
        let window = window(240, per_second);
        group.bench_with_input(BenchmarkId::new("rps", per_second), &window, |bencher, window| {
            bencher.iter(|| judge(window, &rules, &Conditions::default()));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("judge/errors/50rps");
    for minutes in [60, 240, 1_440] {
        let window = window(minutes, 50);
        group.throughput(Throughput::Elements(minutes.unsigned_abs()));
        group.bench_with_input(BenchmarkId::new("minutes", minutes), &window, |bencher, window| {
            bencher.iter(|| judge(window, &rules, &Conditions::default()));
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
