//! Hostile input to everything that reads.
//!
//! The inputs are the same at every run. `CANARY_GATE_FUZZ_RUNS` says how many a target gets, and
//! `CANARY_GATE_FUZZ_SEED` takes others. `tests/fuzz/` has the same targets for libFuzzer.

#[allow(unreachable_pub)]
#[path = "../fuzz/inputs.rs"]
mod inputs;
#[allow(unreachable_pub)]
#[path = "../fuzz/seeds.rs"]
mod seeds;
#[allow(unreachable_pub)]
#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

use inputs::Fuzzed;

/// Enough to meet every branch of the readers, and few enough for every run of the tests.
const RUNS: u64 = 1_500;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {text:?}")),
        Err(_) => default,
    }
}

/// Runs a target and answers how many inputs it accepted and refused.
fn fuzz(name: &str) -> [u64; 2] {
    let (runs, seed) = (setting("CANARY_GATE_FUZZ_RUNS", RUNS), setting("CANARY_GATE_FUZZ_SEED", 1));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Fuzzed { accepted, refused, foreign, broken } = inputs::fuzz(name, runs, seed, root);
    let all = accepted + refused + foreign;
    eprintln!("fuzzed {name}: {all} inputs: {accepted} accepted, {refused} refused, {foreign} foreign");
    assert_eq!(broken, None, "{name} fails by this input");
    [accepted, refused]
}

/// Both outcomes are frequent, or the target tests too little.
fn fuzz_both_ways(name: &str) {
    let [accepted, refused] = fuzz(name);
    let least = (accepted + refused) / 50;
    assert!(accepted > least && refused > least, "{name}: {accepted} accepted, {refused} refused");
}

#[test]
fn plans_are_read_or_refused_whatever_they_are() {
    fuzz_both_ways("plan");
}

#[test]
fn recordings_are_read_or_refused_whatever_they_are() {
    fuzz_both_ways("recording");
}

#[test]
fn events_are_read_or_refused_whatever_they_are() {
    fuzz_both_ways("event");
}

#[test]
fn requests_are_read_or_refused_whatever_is_in_them() {
    fuzz("http");
}

#[test]
fn settings_are_read_or_refused_whatever_they_are() {
    fuzz_both_ways("settings");
}

#[test]
fn quantities_are_read_or_refused_whatever_they_are() {
    fuzz_both_ways("units");
}
