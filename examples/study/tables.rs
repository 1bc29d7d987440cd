//! What is measured, and the tables that it fills.

use crate::table::Table;
use canary_gate::analysis::check::QUANTILES;
use canary_gate::analysis::edge::Edge;
use canary_gate::sim::synthetic::{Fault, LogNormal, Minutes, RateChange, SpreadChange, Workload};
use canary_gate::sim::trials::{all_of, seed_of};
use canary_gate::stats::{LearntRate, OddsRatio, harm_information};
use canary_gate::units::{Quantile, Share};

use crate::rules::{Errors, LATENCY_NAMES, Latency, NAMES, OURS, errors_rules, latency_rules};

/// Requests a second.
const TRAFFIC: [f64; 3] = [5.0, 50.0, 500.0];
/// The canary's share, in percent.
const SHARE: f64 = 5.0;
/// Looks.
const MINUTES: u32 = 240;
/// The steps of a rollout that is hurried through: from a minute on, so many percent.
const STEPS: [(u32, f64); 3] = [(160, 50.0), (80, 25.0), (0, SHARE)];
/// Minutes of stable alone that teach the latency thresholds.
const BASELINE: i64 = 60;
/// Minutes after a shift that nobody judges.
const BLACKOUT: u32 = 2;
/// The level that the bound is for: our `false_rollback`.
const ALPHA: f64 = 0.01;

/// One setting in which all rules are asked.
struct Case {
    errors: f64,
    times: f64,
    from: u32,
    drift: bool,
}

const HEALTHY: [(&str, Case); 3] = [
    ("constant 0.3 %", Case { errors: 0.003, times: 1.0, from: 0, drift: false }),
    ("constant 1 %", Case { errors: 0.01, times: 1.0, from: 0, drift: false }),
    ("drifting round 1 %, with steps", Case { errors: 0.01, times: 1.0, from: 0, drift: true }),
];
const BROKEN: [(&str, Case); 3] = [
    ("0.3 → 2.1 %", Case { errors: 0.003, times: 7.0, from: 0, drift: false }),
    ("1 → 1.5 %", Case { errors: 0.01, times: 1.5, from: 0, drift: false }),
    ("0.3 → 2.1 % in minute 61", Case { errors: 0.003, times: 7.0, from: 60, drift: false }),
];
const LATENCY: [(&str, SpreadChange); 4] = [
    ("healthy (false alarms)", SpreadChange::NONE),
    ("all answers +50 %", SpreadChange::times(1.5)),
    ("all answers +10 %", SpreadChange::times(1.1)),
    ("2 % of the answers three times slower", SpreadChange { odds: 1.0, times: 3.0, fraction: 0.02 }),
];

/// Measures all tables.
pub(crate) fn measure(runs: u32, seed: u64, told: &mut dyn FnMut(usize, usize)) -> Vec<Table> {
    let note = format!("{runs} simulated canaries a cell, seed {seed}, {MINUTES} looks");
    vec![
        false_alarms(runs, seed, &note, told),
        delays(runs, seed, &note, told),
        latency(runs, seed, &note, told),
    ]
}

/// Jobs of all cells at once: `cells` of `runs` each.
fn all<T: Send>(
    cells: usize,
    runs: u32,
    told: &mut dyn FnMut(usize, usize),
    job: impl Fn(usize, usize) -> T + Sync,
) -> Vec<Vec<T>> {
    let runs = runs as usize;
    let jobs = cells * runs;
    let mut results =
        all_of(jobs, |number| job(number / runs, number % runs), |done| told(done, jobs)).into_iter();
    told(jobs, jobs);
    (0..cells).map(|_| results.by_ref().take(runs).collect()).collect()
}

type Alarms<const N: usize> = [Option<u32>; N];

fn errors_alarms(case: &Case, rps: f64, seed: u64) -> Alarms<{ NAMES.len() }> {
    let workload = Workload {
        requests_per_minute: 60.0 * rps,
        errors: case.errors,
        drift: case.drift,
        noise: 1.0,
        latency: None,
        metrics: Default::default(),
    };
    let fault =
        Fault { from_minute: case.from.into(), errors: RateChange::times(case.times), ..Fault::default() };
    let rules = [errors_rules(false), errors_rules(true)];
    let (mut minutes, mut errors) = (Minutes::new(&workload, &fault, seed), Errors::new(&rules));
    for at in 0..MINUTES {
        let step = STEPS.iter().find(|(from, _)| case.drift && at >= *from);
        let share = share(step.map_or(SHARE, |(_, percent)| *percent));
        errors.see(&minutes.row(at.into(), share), at + 1);
    }
    errors.alarms
}

fn share(percent: f64) -> Share {
    Share::from_percent(percent).expect("a percentage")
}

fn false_alarms(runs: u32, seed: u64, note: &str, told: &mut dyn FnMut(usize, usize)) -> Table {
    let cells = all(HEALTHY.len() * TRAFFIC.len(), runs, told, |cell, run| {
        let (case, rps) = (&HEALTHY[cell / TRAFFIC.len()].1, TRAFFIC[cell % TRAFFIC.len()]);
        errors_alarms(case, rps, seed_of(seed, cell, run))
    });
    let row = |rule: usize| {
        let rate = |alarms: &Vec<Alarms<{ NAMES.len() }>>| {
            percent(alarms.iter().filter(|alarms| alarms[rule].is_some()).count(), alarms.len())
        };
        let cells = cells.chunks(TRAFFIC.len()).map(|cells| join(cells.iter().map(rate)) + " %");
        [NAMES[rule].to_owned()].into_iter().chain(cells).collect()
    };
    Table {
        name: "false alarms",
        caption: format!(
            "False alarms: healthy canaries that are thrown out within {MINUTES} minutes. Each cell is for 5 / \
             50 / 500 requests a second, {SHARE} % of them the canary's. ({note}.)"
        ),
        heading: heading("rule", HEALTHY.iter().map(|(name, _)| *name)),
        rows: (0..NAMES.len()).map(row).collect(),
    }
}

fn delays(runs: u32, seed: u64, note: &str, told: &mut dyn FnMut(usize, usize)) -> Table {
    let cells = all(BROKEN.len() * TRAFFIC.len(), runs, told, |cell, run| {
        let (case, rps) = (&BROKEN[cell / TRAFFIC.len()].1, TRAFFIC[cell % TRAFFIC.len()]);
        errors_alarms(case, rps, seed_of(seed, 100 + cell, run))
    });
    let row = |rule: usize| {
        let columns = BROKEN.iter().zip(cells.chunks(TRAFFIC.len()));
        let cells = columns.map(|((_, case), cells)| {
            join(
                cells
                    .iter()
                    .map(|alarms| delay(alarms.iter().map(|alarms| alarms[rule]).collect(), case.from)),
            )
        });
        [NAMES[rule].to_owned()].into_iter().chain(cells).collect::<Vec<_>>()
    };
    let bound = |psi: f64| {
        let name = format!("bound: ln(1/{ALPHA}) / KL, `tolerate: {psi}x`");
        let cells =
            BROKEN.iter().map(|(_, case)| join(TRAFFIC.iter().map(|rps| bound_minutes(case, *rps, psi))));
        [name].into_iter().chain(cells).collect::<Vec<_>>()
    };
    Table {
        name: "delays",
        caption: format!(
            "Minutes until a bad canary is found: median (p90), for 5 / 50 / 500 requests a second, {SHARE} % of \
             them the canary's; `-`: not within {MINUTES} minutes; `early`: most were thrown out before there was a \
             fault. ({note}.)"
        ),
        heading: heading("rule", BROKEN.iter().map(|(name, _)| *name)),
        rows: (0..NAMES.len()).map(row).chain([bound(1.25), bound(1.0)]).collect(),
    }
}

/// What no test at this level can beat on average.
fn bound_minutes(case: &Case, rps: f64, psi: f64) -> String {
    minutes_in_words(bound_of_rates(case.errors * case.times, case.errors, rps, psi))
}

fn bound_of_rates(canary: f64, stable: f64, rps: f64, psi: f64) -> f64 {
    let rate = |rate| LearntRate::new(rate).expect("a rate");
    let tolerated = OddsRatio::new(psi).expect("a ratio");
    let share = SHARE / 100.0;
    let information = harm_information(rate(canary), rate(stable), tolerated, share).expect("a share");
    -ALPHA.ln() / (information * rps * 60.0 * share)
}

fn minutes_in_words(minutes: f64) -> String {
    if minutes < 9.95 { format!("{minutes:.1}") } else { format!("{minutes:.0}") }
}

/// The same where the quantile that shows a slowdown best is known beforehand.
fn latency_bound(change: SpreadChange, rps: f64) -> String {
    let law = LogNormal::LATENCY;
    let at = |quantile: Quantile| {
        let edge = Edge::at_least(law.quantile(quantile.fraction())).value();
        let slow = |times: f64| 1.0 - law.below(edge / times);
        let canary = slow(1.0) + change.fraction * (slow(change.times) - slow(1.0));
        bound_of_rates(canary, slow(1.0), rps, 1.0)
    };
    minutes_in_words(QUANTILES.into_iter().map(at).fold(f64::INFINITY, f64::min))
}

fn latency(runs: u32, seed: u64, note: &str, told: &mut dyn FnMut(usize, usize)) -> Table {
    let traffic = &TRAFFIC[..2];
    let cells = all(LATENCY.len() * traffic.len(), runs, told, |cell, run| {
        let (change, rps) = (LATENCY[cell / traffic.len()].1, traffic[cell % traffic.len()]);
        latency_alarms(change, rps, seed_of(seed, 200 + cell, run))
    });
    let rows = LATENCY.iter().zip(cells.chunks(traffic.len())).map(|((name, change), cells)| {
        let healthy = *change == SpreadChange::NONE;
        let cell = |rule: usize| {
            let cells = cells.iter().map(|alarms| {
                let alarms: Vec<_> = alarms.iter().map(|alarms| alarms[rule]).collect();
                if healthy {
                    percent(alarms.iter().flatten().count(), alarms.len())
                } else {
                    delay(alarms, 0)
                }
            });
            join(cells) + if healthy { " %" } else { "" }
        };
        let bound = match healthy {
            true => "-".to_owned(),
            false => join(traffic.iter().map(|rps| latency_bound(*change, *rps))),
        };
        [(*name).to_owned()].into_iter().chain((0..LATENCY_NAMES.len()).map(cell)).chain([bound]).collect()
    });
    Table {
        name: "latency",
        caption: format!(
            "Latency (log-normal, median 80 ms, p99 410 ms): judged minutes until it is found, median (p90), for 5 / \
             50 requests a second, {SHARE} % of them the canary's; `-`: not within {MINUTES} minutes. ({note}.)"
        ),
        heading: heading(
            "fault",
            LATENCY_NAMES.into_iter().chain(["bound, `tolerate: 1x`, at the best quantile"]),
        ),
        rows: rows.collect(),
    }
}

fn latency_alarms(change: SpreadChange, rps: f64, seed: u64) -> Alarms<{ LATENCY_NAMES.len() }> {
    let workload = Workload {
        requests_per_minute: 60.0 * rps,
        errors: 0.003,
        drift: false,
        noise: 1.0,
        latency: Some(LogNormal::LATENCY),
        metrics: Default::default(),
    };
    let fault = Fault { latency: change, ..Fault::default() };
    let rules: [_; OURS] = [latency_rules(false), latency_rules(true)];
    let (mut minutes, mut latency) = (Minutes::new(&workload, &fault, seed), Latency::new(&rules));
    for at in -BASELINE..i64::from(MINUTES + BLACKOUT) {
        let row = minutes.row(at, if at < 0 { Share::ZERO } else { share(SHARE) });
        latency.see(&row, u32::try_from(at + 1).unwrap_or(0).saturating_sub(BLACKOUT).max(1));
    }
    latency.alarms
}

/// Median and p90 of the minutes from the fault on; what never rang took longer than all.
fn delay(alarms: Vec<Option<u32>>, from: u32) -> String {
    let all = alarms.len();
    let mut met: Vec<u32> = alarms
        .into_iter()
        .filter(|alarm| alarm.is_none_or(|minute| minute > from))
        .map(|alarm| alarm.map_or(u32::MAX, |minute| minute - from))
        .collect();
    if met.len() * 2 < all {
        return "early".to_owned();
    }
    met.sort_unstable();
    let longest = MINUTES - from;
    let at = |tenths: usize| {
        let minutes = met[(met.len() * tenths).div_ceil(10) - 1];
        if minutes > longest { "-".to_owned() } else { minutes.to_string() }
    };
    match (at(5), at(9)) {
        (median, _) if median == "-" => median,
        (median, p90) => format!("{median} ({p90})"),
    }
}

/// A percentage without its sign.
fn percent(hits: usize, of: usize) -> String {
    let percent = 100.0 * hits as f64 / of as f64;
    if percent == 0.0 || percent >= 9.95 { format!("{percent:.0}") } else { format!("{percent:.1}") }
}

fn join(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(" / ")
}

fn heading<'a>(first: &'a str, others: impl Iterator<Item = &'a str>) -> Vec<String> {
    [first].into_iter().chain(others).map(str::to_owned).collect()
}
