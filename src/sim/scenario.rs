//! What goes wrong, and when: a table. To add a scenario, add a row.

use super::faults::{Operation, Outcome};
use super::traffic::Behaviour;
use crate::analysis::window::Arm;
use crate::ports::FailureKind;
use crate::units::Minute;

/// What both arms do when nothing is wrong.
pub const USUAL: Behaviour = Behaviour { errors: 0.003, refuses: false, unreachable: false, slower: 1.0 };

/// A point in a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// So many minutes after the first tick.
    Minute(u32),
    /// So many minutes after the shift to a step; the first step is 1.
    OnStep(usize, u32),
}

/// What changes.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Arms answer so much of their requests with 5xx.
    Errors(&'static [Arm], f64),
    /// The canary refuses connections.
    Refuses,
    /// No request reaches the canary.
    Unreachable,
    /// The canary takes so many times as long.
    Slower(f64),
    /// Somebody else writes weights: stable's and the canary's.
    Weights(u32, u32),
    /// The next so many calls go wrong.
    Calls(Operation, u32, Outcome),
    /// The canary's metrics of this minute come so many seconds later than usual.
    LateMetrics(i64),
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When it begins.
    pub when: When,
    /// How long it lasts; to the end if nothing is said. Means nothing for what happens at once.
    pub minutes: Option<u32>,
    /// What it is.
    pub what: What,
    /// The same in words, for the story.
    pub words: &'static str,
}

const fn event(when: When, minutes: Option<u32>, what: What, words: &'static str) -> Event {
    Event { when, minutes, what, words }
}

/// A story to simulate.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// One line for a list.
    pub title: &'static str,
    /// What happens, for the header.
    pub premise: &'static str,
    /// What a reader should take away; empty if the ending says it.
    pub moral: &'static str,
    /// Minutes to simulate, if it would go on for ever.
    pub minutes: Option<u32>,
    /// What happens.
    pub events: &'static [Event],
}

const BOTH: &[Arm] = &[Arm::Stable, Arm::Canary];
const CANARY: &[Arm] = &[Arm::Canary];

/// All scenarios; the first is the default.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "errors",
        title: "a few minutes into the first step the canary's errors go from 0.3 % to 2.1 %",
        premise: "Five minutes into the first step, the canary's error rate goes from 0.3 % to 2.1 %.",
        moral: "",
        minutes: None,
        events: &[event(
            When::OnStep(1, 5),
            None,
            What::Errors(CANARY, 0.021),
            "the canary starts to fail 2.1 % of its requests; stable stays at 0.3 %",
        )],
    },
    Scenario {
        name: "healthy",
        title: "nothing is wrong",
        premise: "Nothing is wrong: both arms fail 0.3 % of their requests.",
        moral: "",
        minutes: None,
        events: &[],
    },
    Scenario {
        name: "late-errors",
        title: "the canary breaks on the third step, long after it looked healthy",
        premise: "The canary is healthy until six minutes into the third step; then it fails 2.1 % of its requests.",
        moral: "The good hour before did not shield it: the test sets evidence aside for a late start.",
        minutes: None,
        events: &[event(
            When::OnStep(3, 6),
            None,
            What::Errors(CANARY, 0.021),
            "the canary starts to fail 2.1 % of its requests; stable stays at 0.3 %",
        )],
    },
    Scenario {
        name: "down",
        title: "the canary refuses connections: requests without any status code",
        premise: "Four minutes into the first step, the canary refuses every connection. CloudWatch then has \
                  requests without any status code: no 5xx, no latency.",
        moral: "Requests without an answer count as errors, and the immediate trigger (10 % errors) needs only \
                one minute of them.",
        minutes: None,
        events: &[event(
            When::OnStep(1, 4),
            None,
            What::Refuses,
            "the canary refuses every connection from now on",
        )],
    },
    Scenario {
        name: "silent",
        title: "the canary gets no requests, whatever its weight says",
        premise: "Four minutes into the first step, requests stop reaching the canary, whatever its weight says.",
        moral: "No data is never good news: a canary that can't be observed is drained after blind_after.",
        minutes: None,
        events: &[event(
            When::OnStep(1, 4),
            None,
            What::Unreachable,
            "requests no longer reach the canary; stable gets them all",
        )],
    },
    Scenario {
        name: "outage",
        title: "both arms fail 5 % of their requests for ten minutes: not the canary's fault",
        premise: "Five minutes into the first step, a database that both versions need fails: both arms fail \
                  5 % of their requests for ten minutes.",
        moral: "The canary is compared with stable in the same minute, so trouble that both share is no \
                reason to drain it. It does make the proof of health take longer.",
        minutes: None,
        events: &[event(
            When::OnStep(1, 5),
            Some(10),
            What::Errors(BOTH, 0.05),
            "both arms fail 5 % of their requests for ten minutes",
        )],
    },
    Scenario {
        name: "latency",
        title: "the canary gets 1.5 times slower",
        premise: "Five minutes into the first step, the canary gets 1.5 times slower. Its answers stay right.",
        moral: "Response times are compared with stable's at its own median, p95 and p99, which were learnt \
                before the first shift. A mean or a median alone misses most slowdowns.",
        minutes: None,
        events: &[event(
            When::OnStep(1, 5),
            None,
            What::Slower(1.5),
            "the canary takes 1.5 times as long from now on",
        )],
    },
    Scenario {
        name: "foreign",
        title: "somebody else changes the weights by hand",
        premise: "Six minutes into the first step, somebody sets the weights to 80 : 20 by hand.",
        moral: "Weights that somebody else wrote are not overwritten: the rollout is frozen until `resume` says \
                which weights to go on with, and a harmful canary would still be drained.",
        minutes: Some(20),
        events: &[event(
            When::OnStep(1, 6),
            None,
            What::Weights(80, 20),
            "somebody sets the weights to stable 80, canary 20 by hand",
        )],
    },
    Scenario {
        name: "noisy-cloud",
        title: "a healthy canary, while AWS throttles, times out and is late",
        premise: "Nothing is wrong with the canary, but calls are throttled, time out or lose their answers, \
                  and a metric is late.",
        moral: "What could not be done in one tick was done by the next; nothing was promoted on a guess, \
                and no page was lost.",
        minutes: None,
        events: &[
            event(
                When::Minute(0),
                None,
                What::Calls(Operation::Put, 1, Outcome::Fails(FailureKind::TimedOut)),
                "the next write to the store times out",
            ),
            event(
                When::OnStep(1, 4),
                None,
                What::Calls(Operation::ReadMetrics, 2, Outcome::Fails(FailureKind::Throttled)),
                "CloudWatch throttles for two minutes",
            ),
            event(
                When::OnStep(1, 7),
                None,
                What::Calls(Operation::ReadSplits, 1, Outcome::Fails(FailureKind::TimedOut)),
                "the load balancer does not answer in time",
            ),
            event(
                When::OnStep(1, 8),
                None,
                What::LateMetrics(240),
                "the canary's metrics of this minute come late",
            ),
            event(
                When::OnStep(1, 14),
                None,
                What::Calls(Operation::WriteSplit, 1, Outcome::AnswerLost(FailureKind::TimedOut)),
                "the answer to the next change of weights will be lost",
            ),
            event(
                When::OnStep(2, 6),
                None,
                What::Calls(Operation::ReadMetrics, 1, Outcome::Partial),
                "CloudWatch answers with a part of the data",
            ),
            event(
                When::OnStep(3, 4),
                None,
                What::Calls(Operation::Page, 2, Outcome::Fails(FailureKind::Unavailable)),
                "SNS will fail twice",
            ),
        ],
    },
];

/// The scenario of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// Where the rollout is, as far as a scenario needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The minute of the first tick.
    pub start: Minute,
    /// The minute of the shift to each step so far.
    pub steps: Vec<Minute>,
}

impl Event {
    /// The minute in which it begins, once that is known.
    #[must_use]
    pub fn begins(&self, stage: &Stage) -> Option<Minute> {
        match self.when {
            When::Minute(minutes) => Some(stage.start.plus(i64::from(minutes))),
            When::OnStep(step, minutes) => {
                stage.steps.get(step.wrapping_sub(1)).map(|shift| shift.plus(i64::from(minutes)))
            }
        }
    }

    fn lasts(&self, stage: &Stage, minute: Minute) -> bool {
        self.begins(stage).is_some_and(|begin| {
            minute >= begin && self.minutes.is_none_or(|minutes| minute.since(begin) < i64::from(minutes))
        })
    }
}

impl Scenario {
    /// What begins in a minute.
    pub fn beginning(&self, stage: &Stage, minute: Minute) -> impl Iterator<Item = &'static Event> {
        self.events.iter().filter(move |event| event.begins(stage) == Some(minute))
    }

    /// How both arms behave in a minute, stable first.
    #[must_use]
    pub fn behaviours(&self, stage: &Stage, minute: Minute) -> [Behaviour; 2] {
        let mut arms = [USUAL; 2];
        for event in self.events.iter().filter(|event| event.lasts(stage, minute)) {
            match event.what {
                What::Errors(of, rate) => {
                    for arm in of {
                        arms[usize::from(*arm == Arm::Canary)].errors = rate;
                    }
                }
                What::Refuses => arms[1].refuses = true,
                What::Unreachable => arms[1].unreachable = true,
                What::Slower(times) => arms[1].slower = times,
                What::Weights(..) | What::Calls(..) | What::LateMetrics(_) => {}
            }
        }
        arms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> Stage {
        let start: Minute = "2026-03-01T10:00:00Z".parse().unwrap();
        Stage { start, steps: vec![start] }
    }

    #[test]
    fn names_are_unique_and_the_default_is_the_incident() {
        let names: std::collections::BTreeSet<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
        assert_eq!(SCENARIOS[0].name, "errors");
        assert!(find("healthy").is_some() && find("nonsense").is_none());
    }

    #[test]
    fn an_outage_begins_and_ends() {
        let outage = find("outage").unwrap();
        let errors = |at| outage.behaviours(&stage(), stage().start.plus(at)).map(|arm| arm.errors);
        assert_eq!(errors(4), [0.003, 0.003]);
        assert_eq!(errors(5), [0.05, 0.05]);
        assert_eq!(errors(14), [0.05, 0.05]);
        assert_eq!(errors(15), [0.003, 0.003]);
    }

    #[test]
    fn what_belongs_to_a_step_waits_for_the_step() {
        let late = find("late-errors").unwrap();
        let minute = stage().start.plus(200);
        assert_eq!(late.behaviours(&stage(), minute)[1].errors, 0.003);
        let steps = vec![stage().start, stage().start.plus(18), minute.plus(-6)];
        assert_eq!(late.behaviours(&Stage { steps, ..stage() }, minute)[1].errors, 0.021);
    }
}
