//! Missing data is never good news: how long the canary, or one metric of it, has not been heard of.

use super::verdict::Reason;
use super::window::Row;
use crate::units::Share;

/// A canary without a request is silent only if it should have had this many: with as many expected, none
/// at all comes by chance once in a million times. Slow services have empty minutes.
const SILENCE_EXPECTS: f64 = 13.8;

/// Minutes in a row, up to the last, in which the canary could not be observed.
#[derive(Debug, Clone, Default)]
pub(super) struct Silence {
    pub(super) minutes: u32,
    /// Some of them have requests of stable: it is the canary that is silent.
    stable_alive: bool,
    /// Canary requests that its share of stable's traffic should have given.
    expected: f64,
    /// The arm published nothing at all in some of them.
    unpublished: bool,
}

impl Silence {
    pub(super) fn see(&mut self, row: &Row) {
        let stable = row.stable.as_ref().map(|counts| counts.requests);
        let canary = row.canary.as_ref().map(|counts| counts.requests);
        let idle = stable == Some(0) && canary == Some(0);
        let heard = canary.is_some_and(|requests| requests > 0) && stable.is_some();
        // At 100 % there is no stable arm to hear of.
        let alone = row.share == Share::FULL && canary.is_some_and(|requests| requests > 0);
        if row.share == Share::ZERO || idle || heard || alone {
            *self = Self::default();
            return;
        }
        self.minutes += 1;
        let requests = stable.unwrap_or(0);
        self.stable_alive |= requests > 0;
        self.unpublished |= stable.is_none();
        self.expected += expected(row.share, requests);
    }

    /// Why the verdict is Blind, if it is.
    pub(super) fn reason(&self, blind_after_minutes: u64) -> Option<Reason> {
        let minutes = self.minutes;
        if u64::from(minutes) < blind_after_minutes.max(1) {
            return None;
        }
        if self.unpublished || !self.stable_alive {
            return Some(Reason::NoData { minutes });
        }
        (self.expected >= SILENCE_EXPECTS).then_some(Reason::CanarySilent { minutes })
    }
}

/// Minutes in a row, up to the last, in which the canary published no sample of one check's metric.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unsampled {
    minutes: u32,
    /// Samples that its share of stable's should have given.
    expected: f64,
}

impl Unsampled {
    /// Looks at the samples of a minute, if the minute is there.
    pub(super) fn see(&mut self, share: Share, stable: u64, canary: u64) {
        if share == Share::ZERO || canary > 0 {
            *self = Self::default();
            return;
        }
        self.minutes += 1;
        self.expected += expected(share, stable);
    }

    /// For how long, if it is too long and no chance.
    pub(super) fn for_minutes(self, blind_after_minutes: u64) -> Option<u32> {
        let long = u64::from(self.minutes) >= blind_after_minutes.max(1);
        (long && self.expected >= SILENCE_EXPECTS).then_some(self.minutes)
    }
}

/// What the canary should have, where stable has so many.
fn expected(share: Share, stable: u64) -> f64 {
    let share = share.fraction().min(0.99);
    stable as f64 * share / (1.0 - share)
}
