//! Many rollouts, to count how they end: a plan's walk over synthetic minutes, and all cores at work.
//!
//! Each rollout has a seed of its own, so that what comes out does not depend on how many threads there are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::random::Random;
use super::synthetic::{Fault, Minutes, Workload};
use crate::analysis::check::Rules;
use crate::analysis::verdict::{Reason, Verdict};
use crate::analysis::{Conditions, Judge};
use crate::rollout::plan::{BASELINE, Plan, Sticky};
use crate::units::Share;

/// How often the one who waits is told how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// What all rollouts of one kind have in common.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// What the judge goes by.
    pub rules: &'a Rules,
    /// The shares to walk through.
    pub steps: &'a [Share],
    /// Clients stick to the group that served them first.
    pub sticky: bool,
    /// The service.
    pub workload: &'a Workload,
    /// What is wrong with the canary.
    pub fault: &'a Fault,
    /// Minutes with a share, at most.
    pub minutes: u32,
    /// The first step is kept, however healthy the canary.
    pub held: bool,
}

impl<'a> Trial<'a> {
    /// A plan's rollouts of a service.
    #[must_use]
    pub fn of_plan(plan: &'a Plan, workload: &'a Workload, fault: &'a Fault, minutes: u32) -> Self {
        let sticky = plan.sticky == Sticky::Yes;
        Self { rules: &plan.rules, steps: &plan.steps, sticky, workload, fault, minutes, held: false }
    }
}

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Proven harmful.
    Drained {
        /// In this minute with a share, counted from 1.
        minute: u32,
        /// The reason's code.
        why: &'static str,
        /// The check that it names.
        check: String,
    },
    /// Proven healthy on its last step.
    Promoted,
    /// Neither within the time.
    Undecided,
}

/// One rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Walked {
    /// How it ended.
    pub end: End,
    /// Minutes on each step that was left as proven healthy.
    pub left_after: Vec<u32>,
    /// Steps that were entered.
    pub entered: usize,
    /// Errors that the canary caused.
    pub excess_bad: f64,
}

/// Walks a plan's steps over the minutes of a seed, as the judge allows: from the minute after a healthy
/// verdict on, the canary has the next step's share. The step to 100 % ends the rollout.
#[must_use]
pub fn walk(trial: &Trial<'_>, seed: u64) -> Walked {
    let conditions = Conditions { sticky: trial.sticky, ..Conditions::default() };
    let mut judge = Judge::new(trial.rules, &conditions);
    let mut minutes = Minutes::new(trial.workload, trial.fault, seed);
    let baseline = BASELINE.whole_minutes();
    for at in -baseline..0 {
        judge.see(&minutes.row(at, Share::ZERO));
    }
    let mut left_after = Vec::new();
    let mut since = 0;
    for at in 0..trial.minutes {
        let share = trial.steps[left_after.len()];
        judge.see(&minutes.row(i64::from(at), share));
        let judgement = judge.judgement(None);
        let end = match judgement.verdict {
            Verdict::Harmful => Some(drained(at + 1, &judgement.reason)),
            Verdict::Healthy if !trial.held => {
                left_after.push(at + 1 - since);
                since = at + 1;
                let next = trial.steps.get(left_after.len());
                next.is_none_or(|share| *share == Share::FULL).then_some(End::Promoted)
            }
            _ => None,
        };
        if let Some(end) = end {
            let entered = left_after.len() + usize::from(end != End::Promoted);
            return Walked { end, left_after, entered, excess_bad: minutes.excess_bad };
        }
    }
    let entered = left_after.len() + 1;
    Walked { end: End::Undecided, left_after, entered, excess_bad: minutes.excess_bad }
}

fn drained(minute: u32, reason: &Reason) -> End {
    let check = match reason {
        Reason::AboveAbort { check, .. } | Reason::WorseThanStable { check, .. } => check.clone(),
        _ => String::new(),
    };
    End::Drained { minute, why: reason.code(), check }
}

/// The seed of one of many rollouts.
#[must_use]
pub fn seed_of(seed: u64, kind: usize, number: usize) -> u64 {
    Random::new(Random::new(seed, kind as u64).bits(), number as u64).bits()
}

/// Does all of `jobs` on all cores and answers in their order. `told` hears how many are done now and then.
///
/// # Panics
/// When a job does.
pub fn all_of<T: Send>(jobs: usize, job: impl Fn(usize) -> T + Sync, mut told: impl FnMut(usize)) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(jobs.max(1));
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let worker = || {
        let mut results = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= jobs {
                return results;
            }
            results.push((number, job(number)));
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut results = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            told(done.load(Ordering::Relaxed));
            thread::sleep(TOLD_EVERY.min(Duration::from_millis(5 + done.load(Ordering::Relaxed) as u64)));
        }
        workers.into_iter().flat_map(|worker| worker.join().expect("no job panics")).collect::<Vec<_>>()
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::check::{Check, CheckRule, ErrorsCheck};
    use crate::sim::synthetic::RateChange;
    use std::collections::BTreeMap;

    fn workload() -> Workload {
        Workload {
            requests_per_minute: 3_000.0,
            errors: 0.003,
            drift: false,
            noise: 1.0,
            latency: None,
            metrics: BTreeMap::new(),
        }
    }

    fn rules() -> Rules {
        let errors = Check::new("errors", CheckRule::Errors(ErrorsCheck::default()));
        Rules { checks: vec![errors], ..Rules::default() }
    }

    fn steps(percent: &[f64]) -> Vec<Share> {
        percent.iter().map(|percent| Share::from_percent(*percent).unwrap()).collect()
    }

    fn walks(fault: &Fault, held: bool) -> Vec<Walked> {
        let (rules, steps, workload) = (rules(), steps(&[5.0, 25.0, 100.0]), workload());
        let trial = Trial {
            rules: &rules,
            steps: &steps,
            sticky: false,
            workload: &workload,
            fault,
            minutes: 90,
            held,
        };
        all_of(20, |number| walk(&trial, seed_of(1, 0, number)), |_| ())
    }

    #[test]
    fn a_healthy_canary_walks_all_steps_and_ends_at_a_hundred_percent() {
        let walks = walks(&Fault::default(), false);
        for walked in walks.iter().filter(|walked| walked.end == End::Promoted) {
            assert_eq!((walked.left_after.len(), walked.entered), (2, 2));
            assert!(walked.left_after.iter().all(|minutes| *minutes >= 15), "{walked:?}");
        }
        let promoted = walks.iter().filter(|walked| walked.end == End::Promoted).count();
        assert!(promoted >= 17, "{promoted} of 20");
    }

    #[test]
    fn a_bad_canary_is_drained_and_named() {
        let fault = Fault { from_minute: 30, errors: RateChange::times(10.0), ..Fault::default() };
        for walked in walks(&fault, true) {
            let End::Drained { minute, why, check } = &walked.end else { panic!("{walked:?}") };
            assert_eq!((*why, check.as_str()), ("worse_than_stable", "errors"));
            assert!((32..50).contains(minute), "{walked:?}");
            let expected = f64::from(minute - 30) * 150.0 * 0.027;
            assert!((walked.excess_bad - expected).abs() < 0.5 * expected, "{walked:?}");
        }
    }

    #[test]
    fn answers_come_in_the_order_of_the_jobs_and_progress_is_told() {
        let mut most = 0;
        let squares = all_of(1_000, |number| number * number, |done| most = most.max(done));
        assert!(squares.iter().enumerate().all(|(number, square)| *square == number * number));
        assert!(most <= 1_000);
        assert_eq!(all_of(0, |number| number, |_| ()), Vec::<usize>::new());
    }

    #[test]
    fn seeds_of_kinds_and_numbers_differ() {
        let seeds = [seed_of(1, 0, 0), seed_of(1, 0, 1), seed_of(1, 1, 0), seed_of(2, 0, 0)];
        assert!((0..4).all(|a| (0..a).all(|b| seeds[a] != seeds[b])));
    }
}
