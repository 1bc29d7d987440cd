//! Random faults, one after the other and all at once, and what must hold whatever happens.
//!
//! An *episode* is one cloud with one or two listener rules for some hours of virtual time: rollouts of good
//! and bad versions are started one after the other, while calls fail, processes die and overlap, metrics are
//! late, clocks are off and other hands write weights. The handler is the one that Lambda runs. Every call is
//! shown to a watch with the state before and after it, which holds it against the [`Invariant`]s; at the end
//! the faults stop, and some ticks later all must be well.
//!
//! Everything is drawn from the episode's seed, so the same seed tells the same story.

mod episode;
mod gates;
mod invariants;
mod profile;
mod tally;
mod watch;
mod wire;

pub use episode::{Told, episode};
pub use invariants::{Broken, Invariant};
pub use tally::Tally;
pub use wire::Sabotage;

use super::random::Random;
use super::trials::all_of;

/// Episodes that are played before anybody looks whether it is enough.
const BATCH: usize = 32;

/// An episode in which a promise was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its seed.
    pub episode: u64,
    /// What was broken.
    pub broken: Vec<Broken>,
}

/// What came of many episodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was counted.
    pub tally: Tally,
    /// Episodes in which a promise was broken, in their order.
    pub failed: Vec<Failed>,
}

/// The seed of one of many episodes.
#[must_use]
pub fn episode_seed(seed: u64, number: usize) -> u64 {
    // Short enough to be typed.
    Random::new(seed, number as u64).bits() >> 16
}

/// Plays episodes, on all cores, until so many rollout-minutes have passed. `told` hears how many have now
/// and then. The same seed plays the same episodes, however many cores there are.
pub fn play(
    seed: u64,
    rollout_minutes: u64,
    sabotage: Option<Sabotage>,
    mut told: impl FnMut(u64),
) -> Report {
    let mut report = Report::default();
    for batch in 0.. {
        let first = batch * BATCH;
        let seed_of = |number: usize| episode_seed(seed, first + number);
        let done = report.tally.rollout_minutes;
        let played = all_of(BATCH, |number| episode(seed_of(number), sabotage, false), |_| told(done));
        for (number, played) in played.into_iter().enumerate() {
            if report.tally.rollout_minutes >= rollout_minutes {
                break;
            }
            report.tally.add(&played.tally);
            if !played.broken.is_empty() {
                report.failed.push(Failed { episode: seed_of(number), broken: played.broken });
            }
        }
        if report.tally.rollout_minutes >= rollout_minutes {
            break;
        }
    }
    report
}
