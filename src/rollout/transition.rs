//! The ways in which a record may change. Each takes the record as it was and answers the one to store,
//! so that a decision can hold several of them side by side.

use jiff::{SignedDuration, Timestamp};

use super::record::{DrainWatch, Intent, Page, PageKind, Paged, Phase, Record, Severity, Shift};
use crate::analysis::threshold::Thresholds;
use crate::analysis::verdict::{Judgement, Verdict};
use crate::units::{Minute, Share, Span};

/// One throttled call or one lost process is no reason to wake somebody.
const FAILED_SHIFTS_PAGED: u32 = 3;
/// On-call is reminded of what is critical at least this often, unless the plan wants no reminders.
const REMIND_OF_CRITICAL: Span = Span::from_minutes(15);

impl PageKind {
    /// The word for it in keys, logs and filters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::DrainFailed => "drain_failed",
            Self::DrainBlocked => "drain_blocked",
            Self::ShiftFailed => "shift_failed",
            Self::Frozen => "frozen",
            Self::Blind => "blind",
            Self::Undecided => "undecided",
            Self::ObservedHarmful => "observed_harmful",
            Self::ObservedHealthy => "observed_healthy",
            Self::SplitOff => "split_off",
            Self::Suspected => "suspected",
            Self::BurntIn => "burnt_in",
            Self::NoHealthyTarget => "no_healthy_target",
            Self::StillServed => "still_served",
            Self::NotVerified => "not_verified",
            Self::GroupTakenOut => "group_taken_out",
            Self::RaisedAgain => "raised_again",
            Self::NotStarted => "not_started",
            Self::GateTimedOut => "gate_timed_out",
            Self::GateNotTold => "gate_not_told",
            Self::NotStopped => "not_stopped",
            Self::DeploymentStopped => "deployment_stopped",
            Self::Promoted => "promoted",
        }
    }

    /// How urgent it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::Drained
            | Self::DrainFailed
            | Self::DrainBlocked
            | Self::StillServed
            | Self::RaisedAgain
            | Self::GateNotTold
            | Self::NotStopped
            | Self::DeploymentStopped
            | Self::ObservedHarmful => Severity::Critical,
            Self::ShiftFailed
            | Self::Frozen
            | Self::Blind
            | Self::Undecided
            | Self::SplitOff
            | Self::Suspected
            | Self::BurntIn
            | Self::NoHealthyTarget
            | Self::NotVerified
            | Self::GroupTakenOut
            | Self::GateTimedOut
            | Self::NotStarted => Severity::Warning,
            Self::Promoted | Self::ObservedHealthy => Severity::Info,
        }
    }
}

impl Record {
    /// As it is after a tick that found `judgement`.
    pub(super) fn ticked(&self, tick: Option<Minute>, judgement: Option<&Judgement>) -> Self {
        let mut next = self.clone();
        next.last_tick = tick.or(self.last_tick);
        next.last = judgement.cloned().or_else(|| self.last.clone());
        next
    }

    /// With thresholds that are settled. Once the canary has had a share they stay: what is judged by them must
    /// not move them. Before, the newest hour counts.
    pub(super) fn with_thresholds(mut self, settled: &Thresholds) -> Self {
        let compared = self.has_compared();
        for (check, thresholds) in settled {
            let stored = self.thresholds.entry(check.clone()).or_default();
            if stored.is_empty() || !compared {
                stored.clone_from(thresholds);
            }
        }
        self
    }

    /// In another phase, from now on and for this reason. A drain that is tried again is as old as it was.
    pub(super) fn into_phase(mut self, phase: Phase, why: &str, now: Timestamp) -> Self {
        if phase.is_terminal() {
            self.intent = None;
        }
        if phase != Phase::Draining || self.phase != phase {
            self.since = now;
        }
        self.phase = phase;
        why.clone_into(&mut self.why);
        self
    }

    /// After a share was held back for a reason outside the canary. Only what is proven has not used up its time.
    pub(super) fn held_back(mut self, now: Timestamp) -> Self {
        if self.last.as_ref().is_some_and(|last| last.verdict == Verdict::Healthy) {
            self.held_back = Some(now);
        }
        self
    }

    /// With nothing paged of a kind, so that the next time it is news again.
    pub(super) fn forgetting(mut self, kind: PageKind) -> Self {
        self.paged.retain(|paged| paged.kind != kind);
        self
    }

    /// With a share that stands from now on.
    pub(super) fn with_share(mut self, share: Share, now: Timestamp) -> Self {
        self.intent = None;
        if !self.share().same_as(share) {
            self.shifts.push(Shift { at: now, share });
        }
        self
    }

    /// On a step whose share stands from now on.
    pub(super) fn on_step(mut self, step: usize, share: Share, now: Timestamp) -> Self {
        self.step = Some(step);
        self.failed_shifts = 0;
        self.held_back = None;
        self.paged.clear();
        self.with_share(share, now)
    }

    /// With the intent to go to a step.
    pub(super) fn intending(mut self, step: usize, share: Share, now: Timestamp) -> Self {
        self.intent = Some(Intent { at: now, share, step });
        self
    }

    /// With a page in the outbox.
    pub(super) fn paging(mut self, kind: PageKind, why: &str, now: Timestamp) -> Self {
        self.outbox.push(Page {
            key: format!("{}/{}/{}/{}", self.id(), self.started.at, self.version, kind.name()),
            kind,
            severity: kind.severity(),
            at: now,
            why: why.to_owned(),
            share: self.share(),
            judgement: self.last.clone(),
            reminder: 0,
            recent: None,
        });
        self
    }

    /// Pages that were just written, and tell nothing of the minutes before yet.
    pub(super) fn uncharted(&mut self, now: Timestamp) -> impl Iterator<Item = &mut Page> {
        self.outbox.iter_mut().filter(move |page| page.at == now && page.recent.is_none())
    }

    /// After a shift up that did not come about; it will be tried again, and after some times somebody is told.
    pub(super) fn shift_failed(mut self, why: &str, now: Timestamp) -> Self {
        self.failed_shifts = self.failed_shifts.saturating_add(1);
        if self.failed_shifts < FAILED_SHIFTS_PAGED {
            self
        } else {
            self.paging_once(PageKind::ShiftFailed, why, now)
        }
    }

    /// With a page in the outbox, if this step has not paged for that already or a reminder is due. While a
    /// page of the kind waits to be sent, nobody has forgotten it.
    pub(super) fn paging_once(mut self, kind: PageKind, why: &str, now: Timestamp) -> Self {
        let every = self.remind_every(kind);
        let waits = self.outbox.iter().any(|page| page.kind == kind);
        let Some(paged) = self.paged.iter_mut().find(|paged| paged.kind == kind) else {
            self.paged.push(Paged { kind, at: now, reminders: 0 });
            return self.paging(kind, why, now);
        };
        if waits || every.is_none_or(|every| now.duration_since(paged.at) < every) {
            return self;
        }
        *paged = Paged { kind, at: now, reminders: paged.reminders.saturating_add(1) };
        let reminder = paged.reminders;
        let mut next = self.paging(kind, why, now);
        if let Some(page) = next.outbox.last_mut() {
            page.reminder = reminder;
            page.key = format!("{}/{reminder}", page.key);
        }
        next
    }

    /// How often a condition that lasts is paged again; `None` for never.
    fn remind_every(&self, kind: PageKind) -> Option<SignedDuration> {
        let every = self.plan.remind_every;
        let span = match kind.severity() {
            Severity::Info => return None,
            Severity::Warning => every,
            Severity::Critical => every.min(REMIND_OF_CRITICAL),
        };
        (span.seconds() > 0).then(|| span.signed())
    }

    /// As it is once zero was written: the watch over the canary's requests begins.
    pub(super) fn drained(self, why: &str, now: Timestamp) -> Self {
        let late = self.intent.as_ref().map(|intent| intent.share);
        let mut next = self.paging(PageKind::Drained, why, now).with_share(Share::ZERO, now);
        next.drain = Some(DrainWatch { at: now, removed: false, late });
        next.into_phase(Phase::Drained, why, now)
    }
}
