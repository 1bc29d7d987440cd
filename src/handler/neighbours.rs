//! What a rollout must know of the others: who has its listener rule, and who else sends traffic to its canary.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::rollout::plan::Mode;
use crate::rollout::record::{Phase, Record};
use crate::units::Share;

/// No weight was written for it.
pub(super) fn is_untouched(record: &Record) -> bool {
    record.phase == Phase::Waiting && record.intent.is_none()
}

/// What others must know of one rollout.
#[derive(Debug)]
struct Neighbour {
    id: String,
    canary: String,
    share: Share,
    started_at: Timestamp,
    is_untouched: bool,
    /// It watches the deployment of another system.
    only_watches: bool,
}

/// All running rollouts that are not over, those of other shards included.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    all: Vec<Neighbour>,
    by_rule: HashMap<String, Vec<usize>>,
    /// By each of their two groups.
    by_group: HashMap<String, Vec<usize>>,
}

impl Neighbours {
    pub(super) fn of<'a>(running: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut neighbours = Self::default();
        for record in running.into_iter().filter(|record| !record.phase.is_terminal()) {
            let (at, targets) = (neighbours.all.len(), &record.plan.targets);
            neighbours.by_rule.entry(targets.listener_rule.clone()).or_default().push(at);
            neighbours.by_group.entry(targets.canary.clone()).or_default().push(at);
            if targets.stable != targets.canary {
                neighbours.by_group.entry(targets.stable.clone()).or_default().push(at);
            }
            neighbours.all.push(Neighbour {
                id: record.id().to_owned(),
                canary: targets.canary.clone(),
                share: record.share(),
                started_at: record.started.at,
                is_untouched: is_untouched(record),
                only_watches: record.plan.mode == Mode::Observe,
            });
        }
        neighbours
    }

    fn on<'a>(&'a self, places: Option<&'a Vec<usize>>) -> impl Iterator<Item = &'a Neighbour> {
        places.into_iter().flatten().map(|at| &self.all[*at])
    }

    /// The rollout that has a record's listener rule, if that is another one. Of several that were started at once
    /// it is the one that has shifted already, or else the first. Whoever watches a deployment of another system is
    /// in the way of one that writes, and of nobody else who only watches: deployments follow on each other, the one
    /// that goes back on the one that failed.
    pub(super) fn holder(&self, record: &Record) -> Option<&str> {
        let on_rule = self.on(self.by_rule.get(&record.plan.targets.listener_rule));
        let counts =
            |other: &&Neighbour| other.id == record.id() || !(record.owner.is_some() && other.only_watches);
        let order = |other: &&Neighbour| (other.is_untouched, other.started_at, other.id.clone());
        let holder = on_rule.filter(counts).min_by_key(order)?;
        (holder.id != record.id()).then_some(holder.id.as_str())
    }

    /// A rollout that sends traffic to the canary's group of `record` by another rule.
    pub(super) fn sharer(&self, record: &Record) -> Option<&str> {
        let group = &record.plan.targets.canary;
        let sends = |other: &&Neighbour| {
            // Who does not have the group for its canary has it for stable.
            other.id != record.id() && (other.canary != *group || other.share > Share::ZERO)
        };
        self.on(self.by_group.get(group)).find(sends).map(|other| other.id.as_str())
    }
}
