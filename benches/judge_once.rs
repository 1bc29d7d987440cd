//! The judge's side of `benches/compare.py`: prints the counts it judged, its evidence and its time as JSON.
//!
//! `judge_once [scale] [runs]`

mod traffic;

use std::hint::black_box;
use std::time::Instant;

use canary_gate::analysis::judge;
use canary_gate::analysis::window::Row;
use serde_json::json;

const MINUTES: i64 = 240;

#[allow(clippy::print_stdout)] // its purpose
fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a whole number"));
    let scale = arguments.next().unwrap_or(1);
    let runs = arguments.next().unwrap_or(200);
    let (window, rules, conditions) =
        (traffic::window(MINUTES, scale), traffic::rules(), traffic::conditions());
    let mut seconds: Vec<f64> = (0..runs.max(1))
        .map(|_| {
            let begun = Instant::now();
            black_box(judge(black_box(&window), &rules, &conditions));
            begun.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let judgement = judge(&window, &rules, &conditions);
    let evidence: serde_json::Map<_, _> = judgement
        .checks
        .iter()
        .map(|check| (check.name.clone(), json!({ "harm": check.log_e_harm, "health": check.log_e_health })))
        .collect();
    let rows: Vec<&Row> = window.rows().collect();
    let output = json!({
        "rows": rows,
        "latency_edges": traffic::LATENCY.map(|(edge, _)| edge),
        "values_edges": traffic::VALUES.map(|(edge, _)| edge),
        "classes": traffic::CLASSES.map(|(name, _)| name),
        "evidence": evidence,
        "median_seconds": seconds[seconds.len() / 2],
        "fastest_seconds": seconds[0],
    });
    println!("{output}");
}
