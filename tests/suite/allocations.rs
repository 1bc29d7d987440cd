//! How often the judge asks for memory: never in the inner loop, and for a long window as often as for a short one.
//! A tick judges up to a thousand windows, each of them from its first minute.

use std::hint::black_box;

use allocation_counter::measure;
use canary_gate::analysis::{Conditions, judge};
use canary_gate::stats::{Arm, OddsGrid, OddsRatio, Release, RestartedMixture, Table};

#[path = "../../benches/traffic.rs"]
#[allow(dead_code)] // the benchmarks use the rest
mod traffic;

/// Judgements differ in their words and in what they forecast, by a few strings.
const WORDS: u64 = 10;

#[test]
fn a_minutes_likelihood_ratios_and_a_step_of_the_mixture_take_no_memory() {
    let grid = OddsGrid::<8>::above(OddsRatio::new(1.25).unwrap()).unwrap();
    let mut mixture = RestartedMixture::<8>::new();
    for scale in [1, 100, 100_000] {
        for bad in [0, 1, 15, 150] {
            let canary = Arm::new(bad * scale, 150 * scale).unwrap();
            let stable = Arm::new(40 * scale, 2_850 * scale).unwrap();
            let taken = measure(|| {
                let table = Table::new(canary, stable).unwrap();
                let ratios = table.ln_likelihood_ratios(&grid);
                mixture.step(Release::Later, black_box(&ratios), Some(2.3)).unwrap();
                black_box(mixture.ln_e());
            });
            assert_eq!(taken.count_total, 0, "{bad} of 150, times {scale}");
        }
    }
}

#[test]
fn a_longer_window_takes_no_more_memory_than_a_short_one() {
    let rules = traffic::rules();
    let taken = |minutes: i64, conditions: &Conditions| {
        let window = traffic::window(minutes, 1);
        measure(|| {
            black_box(judge(&window, &rules, conditions));
        })
    };
    let settled = traffic::conditions();
    // Thresholds that are learnt on the way, for an hour.
    let learnt = Conditions { thresholds: Default::default(), ..settled.clone() };
    let sticky = Conditions { sticky: true, ..settled.clone() };
    for (name, conditions) in [("settled", settled), ("learnt", learnt), ("sticky", sticky)] {
        let [short, long] = [240, 480].map(|minutes| taken(minutes, &conditions));
        assert!(
            long.count_total <= short.count_total + WORDS,
            "{name}: {} for 240 minutes and {} for 480",
            short.count_total,
            long.count_total
        );
        assert!(long.bytes_max <= short.bytes_max + 4_096, "{name}: {short:?} {long:?}");
    }
}
