//! What was done and counted.

use std::collections::BTreeMap;

use super::invariants::Invariant;

/// Numbers of one episode, or of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Episodes.
    pub episodes: u64,
    /// Minutes, times the rollouts that ran in them.
    pub rollout_minutes: u64,
    /// Rollouts that were started.
    pub rollouts: u64,
    /// Rollouts by the phase in which they ended, or stood at the end of their episode.
    pub ended: BTreeMap<&'static str, u64>,
    /// Invocations.
    pub invocations: u64,
    /// Invocations that began while another was under way.
    pub overlaps: u64,
    /// Processes that died between two calls.
    pub deaths: u64,
    /// Calls of the ports.
    pub calls: u64,
    /// What was made to go wrong, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Pages that were delivered.
    pub pages: u64,
    /// Pages that were delivered with a key that had been delivered before.
    pub repeated_pages: u64,
    /// Shifts up that were written.
    pub shifts: u64,
    /// Drains that were written.
    pub drains: u64,
    /// Deployments of other systems.
    pub deployments: u64,
    /// Answers that deployments were told.
    pub answers: u64,
    /// Deployments that were stopped.
    pub stops: u64,
    /// How often each invariant was checked.
    pub checked: [u64; Invariant::ALL.len()],
    /// How often each was broken.
    pub broken: [u64; Invariant::ALL.len()],
}

impl Tally {
    /// One more fault of a kind.
    pub(super) fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// Adds another episode's.
    pub fn add(&mut self, other: &Self) {
        self.episodes += other.episodes;
        self.rollout_minutes += other.rollout_minutes;
        self.rollouts += other.rollouts;
        self.invocations += other.invocations;
        self.overlaps += other.overlaps;
        self.deaths += other.deaths;
        self.calls += other.calls;
        self.pages += other.pages;
        self.repeated_pages += other.repeated_pages;
        self.shifts += other.shifts;
        self.drains += other.drains;
        self.deployments += other.deployments;
        self.answers += other.answers;
        self.stops += other.stops;
        for (sums, more) in [(&mut self.ended, &other.ended), (&mut self.faults, &other.faults)] {
            for (name, count) in more {
                *sums.entry(name).or_default() += count;
            }
        }
        for (sums, more) in [(&mut self.checked, &other.checked), (&mut self.broken, &other.broken)] {
            for (sum, count) in sums.iter_mut().zip(more) {
                *sum += count;
            }
        }
    }

    /// Everything that was made to go wrong.
    #[must_use]
    pub fn all_faults(&self) -> u64 {
        self.faults.values().sum()
    }
}
