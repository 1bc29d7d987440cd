//! The memory of one rollout: everything that the next tick needs, in one item with a version.
//!
//! Evidence is not in here. It is computed anew from the whole window at every tick, so late or corrected
//! minutes, missed ticks and crashes can't leave a wrong sum behind.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::gate::{Gate, Owner};
use super::plan::{Mode, Plan};
use crate::analysis::recent::Recent;
use crate::analysis::threshold::Thresholds;
use crate::analysis::verdict::Judgement;
use crate::analysis::window::Row;
use crate::analysis::{BurnIn, Conditions};
use crate::units::{Minute, Share, Span};

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Accepted; the next tick makes the first shift.
    Waiting,
    /// On a step, watched, going up when healthy.
    Running,
    /// On a step, watched, not going up: a person asked for it.
    Paused,
    /// Somebody else changed the weights: watched, not going up until `resume`.
    Frozen,
    /// To be drained; the weights could not be written yet. Every tick tries again.
    Draining,
    /// Ended with the canary at zero. Terminal.
    Drained,
    /// Ended with the canary proven on every step. Terminal.
    Promoted,
    /// Ended by a person while it only observed: the weights are as somebody else left them. Terminal.
    Stopped,
}

impl Phase {
    /// Nothing more will happen to it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Drained | Self::Promoted | Self::Stopped)
    }

    /// The word for it in logs and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Frozen => "frozen",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::Promoted => "promoted",
            Self::Stopped => "stopped",
        }
    }
}

/// An invocation lives no longer than this.
pub const LIFE: Span = Span::from_seconds(50);
/// What an invocation noted for itself to do, a shift up or a page, is left to it for so long; after that it
/// is surely dead. Ticks are a minute apart, so the next one may go on.
const LEASE: SignedDuration = SignedDuration::from_secs(55);

/// Whether what was noted at `at` may still be under way.
#[must_use]
pub fn is_leased(at: Timestamp, now: Timestamp) -> bool {
    // A time far ahead was noted by a clock that was wrong.
    now.duration_since(at).abs() < LEASE
}

/// A change of the share that took place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// When.
    pub at: Timestamp,
    /// To which share.
    pub share: Share,
}

/// A share that is to be written, noted before the writing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// When it was noted.
    pub at: Timestamp,
    /// The share to write.
    pub share: Share,
    /// The step that it leads to.
    pub step: usize,
}

/// How urgent a page is; a topic's subscribers filter by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody must look, not at once.
    Warning,
    /// Somebody must look now.
    Critical,
}

/// What a page is about: one for each transition that a person must know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageKind {
    /// The canary was drained.
    Drained,
    /// The canary must be drained and could not be.
    DrainFailed,
    /// The canary must be drained and stable could not take its traffic.
    DrainBlocked,
    /// A shift up was tried again and again without effect.
    ShiftFailed,
    /// Somebody else changed the weights.
    Frozen,
    /// The canary can't be observed.
    Blind,
    /// A step is undecided for longer than the plan allows.
    Undecided,
    /// The canary is harmful, and the plan says to write nothing.
    ObservedHarmful,
    /// The canary is healthy, and the plan says to write nothing.
    ObservedHealthy,
    /// The canary gets another part of the traffic than the weights say.
    SplitOff,
    /// The canary looks harmful, and clients are sticky, so that it may be the clients.
    Suspected,
    /// The burn-in is done; the new version may come.
    BurntIn,
    /// The next step waits for a canary target to become healthy.
    NoHealthyTarget,
    /// The canary was drained and still gets requests.
    StillServed,
    /// The canary was drained, and whether its requests have stopped could not be checked.
    NotVerified,
    /// Weight zero did not free the canary's clients, and its group was taken out of the rule.
    GroupTakenOut,
    /// The canary was drained, and another hand gave it traffic again.
    RaisedAgain,
    /// Another rollout had the listener rule first.
    NotStarted,
    /// A caller had to be answered before there was a verdict.
    GateTimedOut,
    /// A caller that waits for a verdict could not be told it.
    GateNotTold,
    /// The deployment that raises a harmful canary's share could not be stopped.
    NotStopped,
    /// The deployment that raised a harmful canary's share was told to go back.
    DeploymentStopped,
    /// The rollout ended well.
    Promoted,
}

/// A message for on-call, kept in the record until it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Unique for the transition: the same page sent twice carries the same key.
    pub key: String,
    /// What it is about.
    pub kind: PageKind,
    /// How urgent it is.
    pub severity: Severity,
    /// When the transition was decided.
    pub at: Timestamp,
    /// Why, in words.
    pub why: String,
    /// The canary's share before the transition.
    pub share: Share,
    /// What the judge knew.
    pub judgement: Option<Judgement>,
    /// How many reminders of the same condition it follows on; 0 for the first page.
    #[serde(default)]
    pub reminder: u32,
    /// How both arms did in the minutes before; `None` where no tick looked, and in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent: Option<Recent>,
}

/// A condition that was paged, so that it is paged once, and then reminded of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredPaged")]
pub struct Paged {
    /// What the page was about.
    pub kind: PageKind,
    /// When the last page of it was written.
    pub at: Timestamp,
    /// Reminders so far.
    pub reminders: u32,
}

/// As it is stored; older records have the kind alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredPaged {
    Kind(PageKind),
    Whole { kind: PageKind, at: Timestamp, reminders: u32 },
}

impl From<StoredPaged> for Paged {
    fn from(stored: StoredPaged) -> Self {
        match stored {
            StoredPaged::Kind(kind) => Self { kind, at: Timestamp::UNIX_EPOCH, reminders: 0 },
            StoredPaged::Whole { kind, at, reminders } => Self { kind, at, reminders },
        }
    }
}

/// The watch that follows a drain: whether the canary's requests stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrainWatch {
    /// When zero was last written.
    pub at: Timestamp,
    /// The canary's group was taken out of the rule, since weight zero had not been enough.
    pub removed: bool,
    /// A shift that another invocation may still have been writing when the drain was decided.
    #[serde(default)]
    pub late: Option<Share>,
}

/// Why a canary is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It is harmful.
    Harm,
    /// It could not be observed.
    Blind,
    /// It stayed undecided.
    Undecided,
    /// A person or an alarm wanted it.
    Order,
}

impl Cause {
    /// The word for it in messages and filters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Harm => "harm",
            Self::Blind => "blind",
            Self::Undecided => "undecided",
            Self::Order => "order",
        }
    }
}

/// Who asked for something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// A person or a pipeline.
    pub actor: String,
    /// In their words.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl Audit {
    /// That all rollouts are frozen, and by whom, where this is who froze them.
    #[must_use]
    pub fn froze_all(&self) -> String {
        format!("all rollouts are frozen by {}: {}", self.actor, self.reason)
    }
}

/// The memory of one rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Grows by one with every write; a write names the version that it replaces.
    pub version: u64,
    /// What was asked for.
    pub plan: Plan,
    /// Who asked for it.
    pub started: Audit,
    /// Where it stands.
    pub phase: Phase,
    /// The last thing that changed the phase or the step.
    pub since: Timestamp,
    /// Why it stands there.
    pub why: String,
    /// Index into the plan's steps; `None` before the first shift.
    pub step: Option<usize>,
    /// Shares that stood, oldest first; the last is the one that should stand now.
    pub shifts: Vec<Shift>,
    /// A write that was begun.
    pub intent: Option<Intent>,
    /// Clients stick to their group (declared, or read from the rule at the start).
    pub sticky: bool,
    /// Shifts up in a row that did not come about.
    pub failed_shifts: u32,
    /// Since when the metrics could not be read whole.
    pub unread_since: Option<Timestamp>,
    /// The minute of the last tick that was carried out.
    pub last_tick: Option<Minute>,
    /// Pages not sent yet, oldest first.
    pub outbox: Vec<Page>,
    /// Conditions paged on this step, so that each is paged once.
    pub paged: Vec<Paged>,
    /// Why it is drained, once it is to be.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// Set from a drain until its effect was seen.
    #[serde(default)]
    pub drain: Option<DrainWatch>,
    /// When a proven share was last not raised for a reason that lies outside the canary.
    #[serde(default)]
    pub held_back: Option<Timestamp>,
    /// Thresholds of distributions, settled before the first shift.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// Healthy targets of the canary group at the first shift.
    #[serde(default)]
    pub canary_targets: Option<u32>,
    /// When the burn-in ended: the new version is in the canary group from this minute on.
    #[serde(default)]
    pub burnt_in: Option<Minute>,
    /// Callers that wait for the verdict.
    #[serde(default)]
    pub gates: Vec<Gate>,
    /// The deployment that writes the weights, where this rollout only observes.
    #[serde(default)]
    pub owner: Option<Owner>,
    /// When the owner was told to go back.
    #[serde(default)]
    pub owner_stopped: Option<Timestamp>,
    /// Since when the owner is not found.
    #[serde(default)]
    pub owner_gone: Option<Timestamp>,
    /// Callers that were told, newest last: whoever asks again is told nothing else.
    #[serde(default)]
    pub told: Vec<Gate>,
    /// The share at which the canary was last proven healthy; a later step takes it back.
    #[serde(default)]
    pub proven: Option<Share>,
    /// What the last tick found.
    pub last: Option<Judgement>,
}

impl Record {
    /// A record for a plan that was just accepted.
    #[must_use]
    pub fn new(plan: Plan, started: Audit, sticky: bool) -> Self {
        let at = started.at;
        Self {
            version: 0,
            plan,
            why: format!("started by {}: {}", started.actor, started.reason),
            started,
            phase: Phase::Waiting,
            since: at,
            step: None,
            shifts: vec![Shift { at, share: Share::ZERO }],
            intent: None,
            sticky,
            failed_shifts: 0,
            unread_since: None,
            last_tick: None,
            outbox: Vec::new(),
            paged: Vec::new(),
            cause: None,
            drain: None,
            held_back: None,
            thresholds: Thresholds::new(),
            canary_targets: None,
            burnt_in: None,
            gates: Vec::new(),
            owner: None,
            owner_stopped: None,
            owner_gone: None,
            told: Vec::new(),
            proven: None,
            last: None,
        }
    }

    /// The rollout's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.plan.rollout
    }

    /// Whether ticks still have work with it: it is not over, or a drain's effect was not seen yet.
    #[must_use]
    pub fn needs_ticks(&self) -> bool {
        !self.is_over() || self.drain.is_some()
    }

    /// It has ended well, and so recently that its end may be taken back.
    #[must_use]
    pub fn can_be_rolled_back(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.since);
        self.phase == Phase::Promoted
            && self.plan.mode == Mode::Drive
            && age < self.plan.rollback_window.signed()
    }

    /// It has ended, all pages of it are sent and everybody who waited was told: another rollout may have its name.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase.is_terminal() && self.outbox.is_empty() && self.gates.is_empty()
    }

    /// The canary has had a share, so that there is something to compare.
    #[must_use]
    pub fn has_compared(&self) -> bool {
        self.shifts.iter().any(|shift| shift.share > Share::ZERO)
    }

    /// What the judge must know beside rules and window. Thresholds count once there is something to compare:
    /// until then they are learnt anew from the newest hour.
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        let settled = self.thresholds.clone();
        Conditions {
            sticky: self.sticky,
            unread: None,
            thresholds: if self.has_compared() { settled } else { Thresholds::new() },
            burn_in: self.burnt_in.map_or(BurnIn::Open, BurnIn::Ended),
            canary_targets: self.canary_targets.map(u64::from),
            whole_shift: self.is_judged_as_a_whole(),
        }
    }

    /// `CodeDeploy` shifts in increments, between which it asks nobody: what counts is the whole of it.
    #[must_use]
    pub fn is_judged_as_a_whole(&self) -> bool {
        matches!(self.owner, Some(Owner::CodeDeploy { .. }))
    }

    /// The canary had traffic and has none any more, without a drain of ours: what is known is of an earlier version.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.plan.mode == Mode::Observe && self.has_compared() && self.share() == Share::ZERO
    }

    /// The share that should stand now.
    #[must_use]
    pub fn share(&self) -> Share {
        self.shifts.last().map_or(Share::ZERO, |shift| shift.share)
    }

    /// The share that stood when `minute` ended.
    #[must_use]
    pub fn share_at(&self, minute: Minute) -> Share {
        let end = minute.plus(1).start();
        let before = self.shifts.iter().rev().find(|shift| shift.at < end);
        before.map_or(Share::ZERO, |shift| shift.share)
    }
}

/// What happened, for those who ask later: one entry a tick and rollout, and one a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The rollout.
    pub rollout: String,
    /// When it was decided.
    pub at: Timestamp,
    /// The decision's word: `hold`, `promote`, `drain`, ... or the command's.
    pub decision: String,
    /// Why, in words.
    pub why: String,
    /// The phase after it.
    pub phase: Phase,
    /// The share after it.
    pub share: Share,
    /// Who asked, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Audit>,
    /// What the judge said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
    /// What the judge had to know beside the plan's rules and the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Conditions>,
    /// What the judge saw: the whole window where something changed, the newest minutes else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Row>,
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    #[test]
    fn what_was_noted_is_left_to_its_invocation_for_less_than_a_tick() {
        let after = |seconds: i64| is_leased(at(0), at(0) + SignedDuration::from_secs(seconds));
        assert_eq!([0, 54, 55, 60].map(after), [true, true, false, false]);
        assert!(LIFE.signed() < LEASE, "an invocation may outlive its lease");
    }

    #[test]
    fn a_minute_has_the_share_that_stood_when_it_ended() {
        let mut record = Record::on(0);
        record.shifts.push(Shift { at: at(3), share: share(25.0) });
        record.shifts.push(Shift { at: at(4) + SignedDuration::from_secs(30), share: share(50.0) });
        // A shift at the first instant of a minute is none of the minute before.
        let shares = [0, 1, 2, 3, 4, 5].map(|minute| record.share_at(Minute::of(at(minute))));
        assert_eq!(shares, [0.0, 5.0, 5.0, 25.0, 50.0, 50.0].map(share));
    }
}
