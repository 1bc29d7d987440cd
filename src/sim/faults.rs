//! The journal of calls, and the calls that are to fail.

use super::cloudwatch::Counts;
use crate::ports::{Failure, FailureKind};

/// What may be asked of the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// CloudWatch: the minutes of all rollouts.
    ReadMetrics,
    /// ELB: the weights of all rules.
    ReadSplits,
    /// ELB: new weights for one rule.
    WriteSplit,
    /// ELB: the health of one group.
    HealthyTargets,
    /// Store: all running rollouts.
    Running,
    /// Store: one rollout.
    Get,
    /// Store: all rollouts.
    List,
    /// Store: a new record.
    Create,
    /// Store: a changed record.
    Put,
    /// Store: whether all rollouts are frozen.
    Freeze,
    /// Store: freezes or thaws all rollouts.
    SetFreeze,
    /// Store: an entry of the decision log.
    Log,
    /// Store: the newest entries.
    History,
    /// SNS: a page.
    Page,
    /// Store: how deployments of one application or service are judged.
    Guard,
    /// Store: how deployments are judged.
    Guards,
    /// Store: says how deployments are judged.
    SetGuard,
    /// Taking a key that counts once.
    TakeOnce,
    /// CodeDeploy or ECS: a deployment.
    Deployment,
    /// CodeDeploy or ECS, and ELB: where a deployment's traffic is split.
    FindTargets,
    /// CodeDeploy or ECS: the answer to one who waits.
    Tell,
    /// CodeDeploy or ECS: stops a deployment.
    Stop,
}

impl Operation {
    /// Its name in failures, as the AWS adapter would name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadMetrics => "cloudwatch GetMetricData",
            Self::ReadSplits => "elbv2 DescribeRules",
            Self::WriteSplit => "elbv2 ModifyRule",
            Self::HealthyTargets => "elbv2 DescribeTargetHealth",
            Self::Running | Self::List | Self::History | Self::Guards => "dynamodb Query",
            Self::Get | Self::Freeze | Self::Guard => "dynamodb GetItem",
            Self::Create | Self::Put | Self::Log | Self::SetFreeze | Self::SetGuard | Self::TakeOnce => {
                "dynamodb PutItem"
            }
            Self::Page => "sns Publish",
            Self::Deployment => "codedeploy GetDeployment",
            Self::FindTargets => "codedeploy GetDeploymentTarget",
            Self::Tell => "codedeploy PutLifecycleEventHookExecutionStatus",
            Self::Stop => "codedeploy StopDeployment",
        }
    }
}

/// One call that was made, whatever came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// It took effect. A call may take effect and still fail for its caller.
    pub took_effect: bool,
}

/// How a call goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It fails and changes nothing.
    Fails(FailureKind),
    /// It takes effect, and then its answer is lost.
    AnswerLost(FailureKind),
    /// It succeeds with a part of the data (metrics only; other operations ignore it).
    Partial,
    /// It succeeds, and the newer half of the minutes comes twice, as from a page that was read again
    /// (metrics only).
    Repeated,
}

/// How what CloudWatch says of one minute of one group goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// It comes so many seconds later than usual, and then whole.
    Late(i64),
    /// It never comes.
    Missing,
    /// It comes when it should, with these counts, and is put right so many seconds after that.
    Corrected {
        /// What is said first.
        first: Counts,
        /// How long.
        after_s: i64,
    },
}

/// Calls that are to go wrong: the next `times` of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which calls.
    pub operation: Operation,
    /// How.
    pub outcome: Outcome,
    /// How many of them.
    pub times: u32,
}

/// What is to become of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) takes_effect: bool,
    pub(super) failure: Option<FailureKind>,
    pub(super) partial: bool,
    pub(super) repeated: bool,
}

impl Fate {
    /// Fails the call if it is to fail before it takes effect.
    pub(super) fn before(self, operation: Operation) -> Result<(), Failure> {
        if self.takes_effect { Ok(()) } else { self.after(operation) }
    }

    /// Fails the call if it is to fail at all.
    pub(super) fn after(self, operation: Operation) -> Result<(), Failure> {
        self.failure.map_or(Ok(()), |kind| Err(failure(operation, kind, "made to fail by the simulation")))
    }
}

pub(super) fn failure(operation: Operation, kind: FailureKind, detail: impl Into<String>) -> Failure {
    Failure { operation: operation.name(), kind, detail: detail.into(), source: None }
}

/// The faults that wait for their calls, and the calls so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal {
    pub(super) calls: Vec<Call>,
    pub(super) faults: Vec<Fault>,
    /// So many more calls take effect; after that the process counts as dead and none does.
    pub(super) calls_to_live: Option<u32>,
}

impl Journal {
    /// Notes a call and says what becomes of it.
    pub(super) fn call(&mut self, operation: Operation) -> Fate {
        let fate = self.fate(operation);
        self.calls.push(Call { operation, took_effect: fate.takes_effect });
        fate
    }

    fn fate(&mut self, operation: Operation) -> Fate {
        let fate = |takes_effect, failure| Fate { takes_effect, failure, partial: false, repeated: false };
        if let Some(left) = &mut self.calls_to_live {
            if *left == 0 {
                return fate(false, Some(FailureKind::TimedOut));
            }
            *left -= 1;
        }
        let Some(at) = self.faults.iter().position(|fault| fault.operation == operation) else {
            return fate(true, None);
        };
        let outcome = self.faults[at].outcome.clone();
        self.faults[at].times = self.faults[at].times.saturating_sub(1);
        if self.faults[at].times == 0 {
            self.faults.remove(at);
        }
        match outcome {
            Outcome::Fails(kind) => fate(false, Some(kind)),
            Outcome::AnswerLost(kind) => fate(true, Some(kind)),
            Outcome::Partial => Fate { partial: true, ..fate(true, None) },
            Outcome::Repeated => Fate { repeated: true, ..fate(true, None) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(outcome: Outcome, times: u32) -> Journal {
        let fault = Fault { operation: Operation::Put, outcome, times };
        Journal { faults: vec![fault], ..Journal::default() }
    }

    #[test]
    fn a_call_fails_before_or_after_its_effect_in_every_kind() {
        for kind in FailureKind::ALL {
            for (outcome, takes_effect) in [(Outcome::Fails(kind), false), (Outcome::AnswerLost(kind), true)]
            {
                let fate = with(outcome, 1).call(Operation::Put);
                assert_eq!((fate.takes_effect, fate.failure), (takes_effect, Some(kind)));
                assert_eq!(fate.before(Operation::Put).is_err(), !takes_effect);
                assert_eq!(fate.after(Operation::Put).unwrap_err().kind, kind);
            }
        }
    }

    #[test]
    fn a_fault_meets_its_own_operation_and_wears_off() {
        let mut journal = with(Outcome::Fails(FailureKind::Throttled), 2);
        let mut fails = |operation| journal.call(operation).failure.is_some();
        assert!(!fails(Operation::Get));
        assert!(fails(Operation::Put) && fails(Operation::Put));
        assert!(!fails(Operation::Put));
    }

    #[test]
    fn the_dead_call_nothing() {
        let mut journal = Journal { calls_to_live: Some(1), ..Journal::default() };
        assert!(journal.call(Operation::Put).takes_effect);
        assert!(!journal.call(Operation::Page).takes_effect);
        let effects: Vec<bool> = journal.calls.iter().map(|call| call.took_effect).collect();
        assert_eq!(effects, [true, false]);
    }

    #[test]
    fn metrics_come_in_part_or_twice() {
        let fate = with(Outcome::Partial, 1).call(Operation::Put);
        assert!(fate.partial && !fate.repeated && fate.failure.is_none());
        let fate = with(Outcome::Repeated, 1).call(Operation::Put);
        assert!(fate.repeated && !fate.partial && fate.takes_effect);
    }
}
