//! What is to be done, as data; the order of doing it is in the type.

use jiff::Timestamp;

use super::record::{Page, Record, Severity};
use crate::analysis::recent::Recent;
use crate::units::Share;

/// The decision's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Stay.
    Hold,
    /// Go to the next step.
    Promote,
    /// Take the canary out of the traffic.
    Drain,
    /// Stop going up: somebody else changed the weights.
    Freeze,
    /// End well.
    Finish,
    /// A write begun by an earlier tick is found done, or is given up.
    Repair,
    /// Look whether a drained canary's requests stop.
    Verify,
}

impl Action {
    /// The word for it in logs and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Promote => "promote",
            Self::Drain => "drain",
            Self::Freeze => "freeze",
            Self::Finish => "finish",
            Self::Repair => "repair",
            Self::Verify => "verify",
        }
    }
}

/// Weights to write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Write {
    /// The canary's share after it.
    pub share: Share,
    /// What is done about clients that stick to the canary.
    pub release: Release,
}

impl Write {
    /// Down to zero, sticky clients included.
    pub const DRAIN: Self = Self { share: Share::ZERO, release: Release::Stickiness };
}

/// What a write does about clients that stick to their group: weight zero alone leaves them where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Nothing: stickiness stays as it was read.
    Nobody,
    /// The rule's group stickiness is switched off. Where that is refused, the canary's group is taken out.
    Stickiness,
    /// The canary's group is taken out of the rule.
    Group,
}

/// What to do, in which order. Pages lie in the records' outboxes and are sent after all of this.
#[derive(Debug, Clone, PartialEq)]
pub enum Effects {
    /// Only the record changes.
    Record(Box<Record>),
    /// Down: the weights come first, whatever happens to the record.
    WriteThenRecord {
        /// A drain that no tick would decide again by itself, since somebody ordered it, is announced in the
        /// record, so that a tick finishes what a death interrupts. The weights don't depend on it.
        announced: Option<Box<Record>>,
        /// The drain.
        write: Write,
        /// The record if the weights were written.
        done: Box<Record>,
        /// The record if they were not.
        failed: Box<Record>,
    },
    /// Up: the intent is on record before the weights are touched.
    RecordThenWrite {
        /// The record with its intent.
        intent: Box<Record>,
        /// The promotion.
        write: Write,
        /// The record when the weights stand.
        done: Box<Record>,
    },
}

/// A decision, with its reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The word.
    pub action: Action,
    /// Why, in words.
    pub why: String,
    /// What to do.
    pub effects: Effects,
}

impl Decision {
    /// With the newest minutes of both arms in every page that it writes.
    #[must_use]
    pub fn charted(mut self, recent: impl FnOnce() -> Option<Recent>, now: Timestamp) -> Self {
        let records: Vec<&mut Box<Record>> = match &mut self.effects {
            Effects::Record(next) => vec![next],
            Effects::WriteThenRecord { announced, done, failed, .. } => {
                announced.iter_mut().chain([done, failed]).collect()
            }
            Effects::RecordThenWrite { intent, done, .. } => vec![intent, done],
        };
        let pages: Vec<&mut Page> = records.into_iter().flat_map(|record| record.uncharted(now)).collect();
        // Most ticks page nothing, and need no look at the window for it.
        if let Some(recent) = (!pages.is_empty()).then(recent).flatten() {
            for page in pages {
                page.recent = Some(recent.clone());
            }
        }
        self
    }
}

impl Severity {
    /// The word for it in logs, messages and filters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}
