//! Joins libFuzzer to the targets that the test suite has, too.

#[path = "../seeds.rs"]
pub mod seeds;
#[path = "../targets.rs"]
pub mod targets;

pub use libfuzzer_sys;

use std::path::Path;

/// The entry of a binary of this name: writes the seeds into its corpus, then runs.
#[macro_export]
macro_rules! fuzz {
    ($target:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(
            init: $crate::write_seeds(stringify!($target)),
            |data: &[u8]| {
                $crate::targets::$target(data);
            }
        );
    };
}

/// Seeds are made from files that stand elsewhere in the repository, and not kept a second time.
pub fn write_seeds(target: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).expect("two folders below the repository");
    let corpus = here.join("corpus").join(target);
    std::fs::create_dir_all(&corpus).expect("the corpus can be made");
    for (number, seed) in seeds::of(target, root).iter().enumerate() {
        std::fs::write(corpus.join(format!("seed-{number:02}")), seed).expect("a seed can be written");
    }
}
