//! The ways in which a record may change. Each takes the record as it was and answers the one to store,
//! so that a decision can hold several of them side by side.

use jiff::Timestamp;

use super::record::{Intent, Page, PageKind, Phase, Record, Severity, Shift};
use crate::analysis::threshold::Thresholds;
use crate::analysis::verdict::Judgement;
use crate::units::{Minute, Share};

/// One throttled call or one lost process is no reason to wake somebody.
const FAILED_SHIFTS_PAGED: u32 = 3;

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
            Self::Promoted => "promoted",
        }
    }

    /// How urgent it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::Drained | Self::DrainFailed | Self::DrainBlocked | Self::ObservedHarmful => {
                Severity::Critical
            }
            Self::ShiftFailed
            | Self::Frozen
            | Self::Blind
            | Self::Undecided
            | Self::SplitOff
            | Self::Suspected
            | Self::BurntIn
            | Self::NoHealthyTarget => Severity::Warning,
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

    /// In another phase, from now on and for this reason.
    pub(super) fn into_phase(mut self, phase: Phase, why: &str, now: Timestamp) -> Self {
        self.phase = phase;
        why.clone_into(&mut self.why);
        self.since = now;
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
        });
        self
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

    /// With a page in the outbox, unless this step has paged for that already.
    pub(super) fn paging_once(mut self, kind: PageKind, why: &str, now: Timestamp) -> Self {
        if self.paged.contains(&kind) {
            return self;
        }
        self.paged.push(kind);
        self.paging(kind, why, now)
    }
}
