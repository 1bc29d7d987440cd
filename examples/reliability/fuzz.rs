//! Hostile input, by the targets and inputs of tests/fuzz.

#[allow(dead_code, unreachable_pub, clippy::unwrap_used)]
#[path = "../../tests/fuzz/inputs.rs"]
mod inputs;
#[allow(dead_code, unreachable_pub)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;
#[allow(dead_code, unreachable_pub)]
#[path = "../../tests/fuzz/targets.rs"]
mod targets;

use std::panic;
use std::path::Path;

use canary_gate::cli::count;

use crate::table::Table;

/// What the readers made of it.
pub(crate) struct Tried {
    rows: Vec<Vec<String>>,
    pub(crate) broken: Vec<String>,
}

/// Gives every reader so many inputs.
pub(crate) fn run_all(seed: u64, runs: u64, tell: &mut dyn FnMut(&str)) -> Tried {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tried = Tried { rows: Vec::new(), broken: Vec::new() };
    // What fails is told at the end, with its input.
    let told = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    for (name, _) in targets::TARGETS {
        tell(&format!("hostile input: {name}"));
        let fuzzed = inputs::fuzz(name, runs, seed, root);
        let counts = [fuzzed.accepted, fuzzed.refused, fuzzed.foreign].map(count);
        let broken = count(u64::from(fuzzed.broken.is_some()));
        tried.rows.push([&[name.to_owned()][..], &counts, &[broken]].concat());
        tried.broken.extend(fuzzed.broken.map(|input| format!("{name} fails by this input: {input}")));
    }
    panic::set_hook(told);
    tried
}

impl Tried {
    pub(crate) fn table(self) -> Table {
        let heading = ["reader", "accepted", "refused", "foreign", "broken"].map(str::to_owned).to_vec();
        let caption = "Inputs made out of samples by changing bytes and trees (tests/fuzz): nothing panics, what is \
                       accepted can be stored, read again and judged with, and a refusal has reasons of bounded \
                       length. \"Foreign\" is what Lambda itself refuses."
            .to_owned();
        Table { name: "fuzz", caption, heading, rows: self.rows }
    }
}
