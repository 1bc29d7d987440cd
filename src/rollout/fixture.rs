//! Records and judgements for tests, as short as a sentence.

use jiff::{SignedDuration, Timestamp};

use super::calendar::DenyWindows;
use super::decide::{Clearance, Input, decide};
use super::effect::{Decision, Effects};
use super::gate::OnDeadline;
use super::plan::{
    ANSWER_WITHIN, Mode, OnBlind, OnUndecided, Plan, REMIND_EVERY, ROLLBACK_WINDOW, STEPS_PERCENT, Sticky,
    Targets,
};
use super::record::{Audit, Phase, Record, Shift};
use crate::analysis::check::Rules;
use crate::analysis::verdict::{Blast, Judgement, Reason, StepProgress, Verdict};
use crate::units::{Minute, Share};

pub(crate) fn share(percent: f64) -> Share {
    Share::from_percent(percent).unwrap()
}

/// So many minutes after the start.
pub(crate) fn at(minutes: i64) -> Timestamp {
    let start: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    start + SignedDuration::from_mins(minutes)
}

pub(crate) fn audit() -> Audit {
    Audit { actor: "ana".into(), reason: "release".into(), at: at(0) }
}

/// Every choice by its default, where the tests of the adapters need one, too.
pub(crate) fn plan() -> Plan {
    let arn = |tail: &str| format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:{tail}");
    Plan {
        rollout: "checkout".into(),
        targets: Targets {
            listener_rule: arn("listener-rule/app/web/1/2/3"),
            stable: arn("targetgroup/v1/1"),
            canary: arn("targetgroup/v2/2"),
            role_arn: None,
        },
        steps: STEPS_PERCENT.map(share).to_vec(),
        on_undecided: OnUndecided::Hold,
        on_blind: OnBlind::Drain,
        mode: Mode::Drive,
        sticky: Sticky::Auto,
        deny_windows: DenyWindows::default(),
        alarms: Vec::new(),
        rollback_window: ROLLBACK_WINDOW,
        remind_every: REMIND_EVERY,
        answer_within: ANSWER_WITHIN,
        on_deadline: OnDeadline::Fail,
        verdict_metric: None,
        rules: Rules::default(),
    }
}

impl Record {
    /// Just started.
    pub(crate) fn test() -> Self {
        Self::new(plan(), audit(), false)
    }

    /// On a step since minute 1.
    pub(crate) fn on(step: usize) -> Self {
        let mut record = Self::test();
        record.phase = Phase::Running;
        record.step = Some(step);
        record.since = at(1);
        record.shifts.push(Shift { at: at(1), share: record.plan.steps[step] });
        record
    }

    pub(crate) fn in_phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    pub(crate) fn planned(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        change(&mut self.plan);
        self
    }
}

pub(crate) fn judged(verdict: Verdict, reason: Reason) -> Judgement {
    Judgement {
        minute: None,
        verdict,
        reason,
        log_e_harm: 0.0,
        checks: Vec::new(),
        thresholds: crate::analysis::threshold::Thresholds::new(),
        step: None,
        blind_minutes: 0,
        blast: Blast::default(),
        minutes_to_verdict: None,
    }
}

pub(crate) fn healthy() -> Judgement {
    judged(Verdict::Healthy, Reason::Proven)
}

pub(crate) fn harmful() -> Judgement {
    let minute = Minute::of(at(9));
    judged(Verdict::Harmful, Reason::WorseThanStable { check: "errors".into(), minute })
}

pub(crate) fn undecided() -> Judgement {
    judged(Verdict::Undecided, Reason::NotYetProven { check: "errors".into() })
}

pub(crate) fn metrics_unread() -> Judgement {
    judged(Verdict::Blind, Reason::ReadIncomplete { detail: "Forbidden".into() })
}

/// Proven healthy on a step.
pub(crate) fn of_step(share: Share, since: Minute) -> Judgement {
    let step = StepProgress {
        share,
        since,
        minutes: 20,
        judged: 18,
        stable_requests: 90_000,
        canary_requests: 9_000,
    };
    Judgement { step: Some(step), ..healthy() }
}

/// So many healthy targets, and nothing in the way.
pub(crate) fn cleared(targets: u32) -> Clearance<'static> {
    Clearance { healthy_targets: Some(Ok(targets)), rule_is_gone: false, freeze: Some(Ok(None)) }
}

/// Decides at minute `minute`, with three healthy targets and the rule as given.
pub(crate) fn decided(record: &Record, seen: f64, judgement: &Judgement, minute: i64) -> Decision {
    with_health(record, Ok(share(seen)), judgement, minute, Ok(3))
}

/// With a judgement of the step that the record stands on.
pub(crate) fn with_health(
    record: &Record,
    seen: Result<Share, &str>,
    judgement: &Judgement,
    minute: i64,
    healthy: Result<u32, &str>,
) -> Decision {
    let shifted = record.shifts.last().unwrap().at;
    let step = of_step(record.share(), Minute::of(shifted)).step;
    let judgement = Judgement { step, ..judgement.clone() };
    decided_as_is(record, seen, &judgement, minute, healthy)
}

pub(crate) fn decided_as_is(
    record: &Record,
    seen: Result<Share, &str>,
    judgement: &Judgement,
    minute: i64,
    healthy: Result<u32, &str>,
) -> Decision {
    let tick = Minute::of(at(minute));
    let clearance = Clearance { healthy_targets: Some(healthy), ..cleared(0) };
    let input = Input { tick, share: seen, judgement, clearance };
    decide(record, &input, at(minute))
}

impl Decision {
    /// The record if all goes well.
    pub(crate) fn done(&self) -> &Record {
        match &self.effects {
            Effects::Record(next) => next,
            Effects::WriteThenRecord { done, .. } | Effects::RecordThenWrite { done, .. } => done,
        }
    }

    /// The share that would be written.
    pub(crate) fn writes(&self) -> Option<Share> {
        match &self.effects {
            Effects::Record(_) => None,
            Effects::WriteThenRecord { write, .. } | Effects::RecordThenWrite { write, .. } => {
                Some(write.share)
            }
        }
    }

    pub(crate) fn pages(&self) -> Vec<&'static str> {
        self.done().outbox.iter().map(|page| page.kind.name()).collect()
    }
}
