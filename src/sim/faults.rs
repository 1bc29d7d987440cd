//! The journal of calls, and the calls that are to fail.

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
    /// Store: an entry of the decision log.
    Log,
    /// Store: the newest entries.
    History,
    /// SNS: a page.
    Page,
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
            Self::Running | Self::List | Self::History => "dynamodb Query",
            Self::Get => "dynamodb GetItem",
            Self::Create | Self::Put | Self::Log => "dynamodb PutItem",
            Self::Page => "sns Publish",
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
        let fate = |takes_effect, failure| Fate { takes_effect, failure, partial: false };
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
        }
    }
}
