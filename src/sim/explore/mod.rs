//! Everything that can happen, gone through: overlapping invocations with deaths between any two of their
//! calls ([`overlap`]), and the pure decision over every input ([`pure`]).

pub mod overlap;
pub mod pure;
mod stage;
mod watch;

use std::fmt;

pub use stage::{Stage, Staged};
pub use watch::Kind;

use crate::rollout::decide::decide;

/// What was gone through, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Pairs of invocations, each in one situation, and invocations alone with a failing call.
    pub cases: u64,
    /// Their schedules.
    pub overlaps: overlap::Found,
    /// Plans of the pure search.
    pub plans: u64,
    /// The pure decision.
    pub decisions: pure::Covered,
}

impl Summary {
    /// Every rule that was found broken, with what led to it.
    pub fn broken(&self) -> impl Iterator<Item = &String> {
        self.overlaps.broken.iter().chain(&self.decisions.broken)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (o, d) = (&self.overlaps, &self.decisions);
        writeln!(
            f,
            "overlaps:  {} cases, {} schedules ({} more led to known states), {} states, {} calls",
            self.cases, o.schedules, o.pruned, o.states, o.calls
        )?;
        writeln!(
            f,
            "           {} deaths, {} failed calls, {} calm ticks, {} rules checked, {} pages sent twice",
            o.deaths, o.failures, o.calm_ticks, o.checked, o.repeated_pages
        )?;
        for (limit, times) in &o.limits {
            writeln!(f, "           {times} times: {limit}")?;
        }
        writeln!(
            f,
            "decisions: {} plans, {} states ({} not gone on from), {} edges, {} decisions, {} rules checked",
            self.plans, d.states, d.left, d.edges, d.decisions, d.checked
        )?;
        writeln!(f, "broken:    {}", self.broken().count())?;
        self.broken().try_for_each(|broken| writeln!(f, "  {broken}"))
    }
}

/// Goes through all overlaps, and of the pure decision the nearest so many worlds of each plan, and tells how far it
/// is.
pub fn explore_all(worlds: u64, tell: &mut dyn FnMut(&str)) -> Summary {
    let mut summary = Summary::default();
    for case in overlap::Case::all() {
        let found = overlap::search(&case);
        tell(&format!("{}: {} schedules, {} states", case.name, found.schedules, found.states));
        summary.cases += 1;
        summary.overlaps.add(found);
    }
    for (name, plan) in pure::plans() {
        let covered = pure::cover_with(&plan, &decide, worlds);
        tell(&format!("decisions, {name}: {} states, {} edges", covered.states, covered.edges));
        summary.plans += 1;
        summary.decisions.add(covered);
    }
    summary
}
