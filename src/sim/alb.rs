//! A listener rule with weights, and its target groups.

use crate::ports::Split;
use crate::rollout::effect::{Release, Write};
use crate::rollout::plan::Targets;

/// The largest weight that ELB takes.
const WEIGHT_MAX: u32 = 999;
/// Weights of a rule that only has the pair are written as parts of this, which shows tenths of a percent.
const PAIR_WEIGHTS: u32 = 100;
/// Sticky clients come back to the group that served them for about this long, in seconds.
const STICKY_SECONDS: f64 = 600.0;

/// The forward action of a listener rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Group and weight, in the order in which ELB keeps them.
    pub groups: Vec<(String, u32)>,
    /// Group stickiness is on.
    pub sticky: bool,
}

impl Rule {
    /// All traffic on stable, none on the canary.
    #[must_use]
    pub fn all_on_stable(targets: &Targets) -> Self {
        Self { groups: vec![(targets.stable.clone(), 100), (targets.canary.clone(), 0)], sticky: false }
    }

    /// A group's weight; 0 if the rule does not name it.
    #[must_use]
    pub fn weight(&self, group: &str) -> u32 {
        self.groups.iter().find(|(name, _)| name == group).map_or(0, |(_, weight)| *weight)
    }

    /// Sets a group's weight, adding the group if need be.
    pub fn set_weight(&mut self, group: &str, weight: u32) {
        match self.groups.iter_mut().find(|(name, _)| name == group) {
            Some((_, old)) => *old = weight,
            None => self.groups.push((group.to_owned(), weight)),
        }
    }

    /// As a rollout sees it.
    #[must_use]
    pub fn split(&self, targets: &Targets) -> Split {
        let (stable, canary) = (self.weight(&targets.stable), self.weight(&targets.canary));
        let all: u32 = self.groups.iter().map(|(_, weight)| weight).sum();
        Split { stable, canary, others: all - stable - canary, sticky: self.sticky }
    }

    /// Writes a share of the pair. What the pair gets of all traffic stays as it was, as far as whole
    /// weights can express it.
    pub(super) fn write(&mut self, targets: &Targets, write: Write) {
        let split = self.split(targets);
        if split.others == 0 {
            self.write_pair(targets, PAIR_WEIGHTS, write);
        } else {
            // Finer weights for all, so that the pair can be split without moving the others.
            let all = split.others + split.stable + split.canary;
            let scale = (WEIGHT_MAX / all).max(1);
            for (_, weight) in &mut self.groups {
                *weight *= scale;
            }
            self.write_pair(targets, (split.stable + split.canary) * scale, write);
        }
        match write.release {
            Release::Nobody => {}
            Release::Stickiness => self.sticky = false,
            Release::Group => self.groups.retain(|(group, _)| *group != targets.canary),
        }
    }

    fn write_pair(&mut self, targets: &Targets, total: u32, write: Write) {
        let fine = if write.share.percent().fract() == 0.0 { total } else { total.max(WEIGHT_MAX) };
        let canary = (f64::from(fine) * write.share.fraction()).round() as u32;
        self.set_weight(&targets.stable, fine - canary);
        self.set_weight(&targets.canary, canary);
    }
}

/// The share of the traffic that truly reaches each group: the weights, but sticky clients lag behind.
#[derive(Debug, Clone, Default)]
pub(super) struct Flow {
    /// Group and share, 0 to 1.
    shares: Vec<(String, f64)>,
}

impl Flow {
    /// One second later.
    pub(super) fn advance(&mut self, rule: &Rule) {
        let all: u32 = rule.groups.iter().map(|(_, weight)| weight).sum();
        let wanted = |weight: u32| if all == 0 { 0.0 } else { f64::from(weight) / f64::from(all) };
        let pull = if rule.sticky { 1.0 / STICKY_SECONDS } else { 1.0 };
        let next = rule.groups.iter().map(|(group, weight)| {
            let now = self.share(group).unwrap_or_else(|| wanted(*weight));
            (group.clone(), now + (wanted(*weight) - now) * pull)
        });
        self.shares = next.collect();
    }

    /// A group's share; `None` if the rule did not name it.
    pub(super) fn share(&self, group: &str) -> Option<f64> {
        self.shares.iter().find(|(name, _)| name == group).map(|(_, share)| *share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Share;

    fn targets() -> Targets {
        Targets { listener_rule: "rule".into(), stable: "s".into(), canary: "c".into(), role_arn: None }
    }

    fn to(percent: f64, free: bool) -> Write {
        let release = if free { Release::Stickiness } else { Release::Nobody };
        Write { share: Share::from_percent(percent).unwrap(), release }
    }

    #[test]
    fn a_share_is_written_as_weights_that_stand_for_it() {
        let mut rule = Rule::all_on_stable(&targets());
        for percent in [5.0, 12.5, 33.3, 100.0, 0.0, 0.5] {
            rule.write(&targets(), to(percent, false));
            let share = rule.split(&targets()).share();
            assert!(share.same_as(Share::from_percent(percent).unwrap()), "{percent} became {share}");
            assert!(rule.groups.iter().all(|(_, weight)| *weight <= WEIGHT_MAX));
        }
    }

    #[test]
    fn a_third_group_keeps_its_part_of_the_traffic() {
        let mut rule = Rule::all_on_stable(&targets());
        rule.set_weight("s", 60);
        rule.set_weight("other", 40);
        rule.write(&targets(), to(25.0, false));
        let split = rule.split(&targets());
        let others = f64::from(split.others) / f64::from(split.others + split.stable + split.canary);
        assert!((others - 0.4).abs() < 1e-9, "{rule:?}");
        assert!(split.share().same_as(Share::from_percent(25.0).unwrap()), "{rule:?}");
    }

    #[test]
    fn sticky_clients_outlive_the_weight_unless_they_are_freed() {
        let mut rule = Rule::all_on_stable(&targets());
        rule.sticky = true;
        rule.write(&targets(), to(50.0, false));
        let mut flow = Flow::default();
        flow.advance(&rule);
        rule.write(&targets(), to(0.0, false));
        (0..60).for_each(|_| flow.advance(&rule));
        assert!(flow.share("c").unwrap() > 0.4);
        rule.write(&targets(), to(0.0, true));
        flow.advance(&rule);
        assert_eq!(flow.share("c"), Some(0.0));
    }
}
