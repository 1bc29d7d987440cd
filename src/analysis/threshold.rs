//! Thresholds of distributions: where stable's quantiles lie, learnt before the comparison.
//!
//! A threshold must not depend on the minute that is judged by it, or the test is not valid. So it comes from
//! the hour before the first shift, and stays; or, without such an hour, from the minutes before the judged one.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::check::Worse;
use super::edge::Edge;
use super::window::Distribution;
use crate::units::Quantile;

/// One threshold, and what it was learnt from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The quantile of stable that it stands for.
    pub quantile: Quantile,
    /// The edge next to that quantile, on its bad side.
    pub edge: Edge,
    /// Samples of stable that it was learnt from.
    pub samples: u64,
}

/// Thresholds by check. A check that is here has all of them.
pub type Thresholds = BTreeMap<String, Vec<Threshold>>;

/// Minutes before the first shift that thresholds are learnt from.
const BASELINE_MINUTES: usize = 60;
/// With fewer samples before the first shift, the rollout's own minutes teach, too.
const BASELINE_SAMPLES: u64 = 500;
/// Minutes of the rollout after which thresholds that are learnt on the way stay.
const LEARNING_MINUTES: u32 = 60;
/// The fewest samples that a threshold is learnt from on the way ...
const LEARNING_SAMPLES: f64 = 100.0;
/// ... and the fewest of them beyond it.
const LEARNING_SAMPLES_BEYOND: f64 = 3.0;

/// The edge of a sum of minutes that is next to a quantile, on its bad side and not below `at_least`: so no more
/// samples lie beyond it than the quantile says.
fn next_to(sum: &Distribution, quantile: Quantile, worse: Worse, at_least: Edge) -> Option<Threshold> {
    let rank = quantile.fraction() * sum.count as f64;
    let mut edges = sum.le.range(at_least.0..);
    let (edge, _) = match worse {
        Worse::Higher => edges.find(|(_, below)| **below as f64 >= rank)?,
        Worse::Lower => edges.rfind(|(_, below)| **below as f64 <= rank)?,
    };
    Some(Threshold { quantile, edge: Edge(*edge), samples: sum.count })
}

/// Learns the thresholds of one check.
#[derive(Debug, Clone)]
pub(super) struct Learner {
    quantiles: Vec<Quantile>,
    worse: Worse,
    at_least: Edge,
    settled: Option<Vec<Threshold>>,
    baseline: VecDeque<Distribution>,
    sum: Option<Distribution>,
    /// Minutes of the rollout that taught; `None` before the first shift.
    minutes: Option<u32>,
}

impl Learner {
    /// `settled` are thresholds that were learnt before, if they are for just these quantiles.
    pub(super) fn new(
        quantiles: &[Quantile],
        worse: Worse,
        at_least: Edge,
        settled: Option<&Vec<Threshold>>,
    ) -> Self {
        let same =
            |settled: &&Vec<Threshold>| settled.iter().map(|t| t.quantile).eq(quantiles.iter().copied());
        Self {
            quantiles: quantiles.to_vec(),
            worse,
            at_least,
            settled: settled.filter(same).cloned(),
            baseline: VecDeque::new(),
            sum: None,
            minutes: None,
        }
    }

    /// Learns from a minute of stable; `shifted` if the canary has had a share.
    pub(super) fn learn(&mut self, minute: &Distribution, shifted: bool) {
        if self.settled.is_some() {
            return;
        }
        if !shifted && self.minutes.is_none() {
            self.baseline.push_back(minute.clone());
            if self.baseline.len() > BASELINE_MINUTES {
                self.baseline.pop_front();
            }
        } else if self.minutes.is_none_or(|minutes| minutes < LEARNING_MINUTES) {
            self.minutes = Some(self.minutes.unwrap_or(0) + 1);
            match &mut self.sum {
                Some(sum) => sum.add(minute),
                None => self.sum = Some(minute.clone()),
            }
        }
    }

    /// The first shift: what was learnt so far stays if it suffices.
    pub(super) fn first_shift(&mut self) {
        if self.settled.is_none() && self.minutes.is_none() {
            self.sum = Distribution::sum(&self.baseline);
            self.settled = self.of(self.sum.as_ref());
            self.minutes = Some(0);
            self.baseline.clear();
        }
    }

    /// The thresholds of the minutes before the first shift, if those suffice.
    fn of(&self, baseline: Option<&Distribution>) -> Option<Vec<Threshold>> {
        let sum = baseline.filter(|sum| sum.count >= BASELINE_SAMPLES)?;
        let next = |quantile: &Quantile| next_to(sum, *quantile, self.worse, self.at_least);
        self.quantiles.iter().map(next).collect()
    }

    /// The thresholds that stay, if they are known already.
    pub(super) fn settled(&self) -> Option<Vec<Threshold>> {
        self.settled.clone().or_else(|| self.of(Distribution::sum(&self.baseline).as_ref()))
    }

    /// Whether thresholds may still move.
    pub(super) fn is_learning(&self) -> bool {
        self.settled.is_none() && self.minutes.is_none_or(|minutes| minutes < LEARNING_MINUTES)
    }

    /// The threshold of the `index`-th quantile, from minutes before this one.
    pub(super) fn threshold(&self, index: usize) -> Option<Threshold> {
        if let Some(settled) = &self.settled {
            return settled.get(index).copied();
        }
        let quantile = *self.quantiles.get(index)?;
        let sum = self.sum.as_ref()?;
        let samples = sum.count as f64;
        let beyond = (1.0 - quantile.fraction()).min(quantile.fraction()) * samples;
        (samples >= LEARNING_SAMPLES && beyond >= LEARNING_SAMPLES_BEYOND)
            .then(|| next_to(sum, quantile, self.worse, self.at_least))
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred samples, one in each of the bins from edge 0 on.
    fn hundred() -> Distribution {
        Distribution { count: 100, le: (0..=100).map(|edge| (edge, edge as u64)).collect() }
    }

    fn quantiles() -> Vec<Quantile> {
        vec!["p50".parse().unwrap(), "p99".parse().unwrap()]
    }

    fn edges(learner: &Learner) -> Vec<Option<i32>> {
        (0..2).map(|index| learner.threshold(index).map(|threshold| threshold.edge.0)).collect()
    }

    #[test]
    fn an_hour_before_the_first_shift_settles_them_for_good() {
        let mut learner = Learner::new(&quantiles(), Worse::Higher, Edge(-48), None);
        (0..5).for_each(|_| learner.learn(&hundred(), false));
        assert_eq!(learner.settled().unwrap().len(), 2);
        learner.first_shift();
        assert_eq!(edges(&learner), [Some(50), Some(99)]);
        let slow = Distribution { count: 100, le: (0..=100).map(|edge| (edge, 0)).collect() };
        (0..99).for_each(|_| learner.learn(&slow, true));
        assert_eq!(edges(&learner), [Some(50), Some(99)]);
        assert!(!learner.is_learning());
    }

    #[test]
    fn without_it_they_are_learnt_on_the_way_from_the_minutes_before() {
        let mut learner = Learner::new(&quantiles(), Worse::Higher, Edge(-48), None);
        (0..4).for_each(|_| learner.learn(&hundred(), false));
        learner.first_shift();
        // 400 samples are too few to stay, and enough for now: four of them lie beyond p99.
        assert_eq!(learner.settled(), None);
        assert_eq!(edges(&learner), [Some(50), Some(99)]);
        let mut fresh = Learner::new(&quantiles(), Worse::Higher, Edge(-48), None);
        fresh.first_shift();
        assert_eq!(edges(&fresh), [None, None]);
        fresh.learn(&hundred(), true);
        assert_eq!(edges(&fresh), [Some(50), None]);
        (0..2).for_each(|_| fresh.learn(&hundred(), true));
        assert_eq!(edges(&fresh), [Some(50), Some(99)]);
    }

    #[test]
    fn after_an_hour_of_the_rollout_they_stay() {
        let mut learner = Learner::new(&quantiles(), Worse::Higher, Edge(-48), None);
        learner.first_shift();
        (0..60).for_each(|_| learner.learn(&hundred(), true));
        assert!(!learner.is_learning());
        let slow = Distribution { count: 100_000, le: (0..=100).map(|edge| (edge, 0)).collect() };
        learner.learn(&slow, true);
        assert_eq!(edges(&learner), [Some(50), Some(99)]);
    }

    #[test]
    fn only_edges_that_every_minute_lists_count_and_small_ones_are_raised() {
        let mut learner = Learner::new(&quantiles(), Worse::Higher, Edge(60), None);
        (0..4).for_each(|_| learner.learn(&hundred(), false));
        let mut sparse = hundred();
        sparse.le.retain(|edge, _| edge % 10 == 0);
        learner.learn(&sparse, false);
        learner.first_shift();
        assert_eq!(edges(&learner), [Some(60), Some(100)]);
    }

    #[test]
    fn thresholds_from_the_record_are_taken_as_they_are() {
        let old = vec![
            Threshold { quantile: "p50".parse().unwrap(), edge: Edge(3), samples: 9 },
            Threshold { quantile: "p99".parse().unwrap(), edge: Edge(7), samples: 9 },
        ];
        let learner = Learner::new(&quantiles(), Worse::Higher, Edge(-48), Some(&old));
        assert_eq!(edges(&learner), [Some(3), Some(7)]);
        let other = Learner::new(&quantiles()[..1], Worse::Higher, Edge(-48), Some(&old));
        assert_eq!(edges(&other), [None, None]);
    }
}
