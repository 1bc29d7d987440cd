//! Whether the traffic is split as the weights say.
//!
//! A canary that gets another part of the requests than it should is compared on other ground than it was
//! chosen for: weights that are not applied, clients that stick, targets that fail their health checks. That
//! is a reason to hold and to tell, never one to promote or to drain.

use super::check::{SPLIT_ALPHA, SPLIT_DEVIATION, STICKY_DESIGN_EFFECT};
use super::timeline::Place;
use super::verdict::Reason;
use super::window::Row;
use crate::stats::ShareInterval;
use crate::units::Share;

/// Follows the split of one step.
#[derive(Debug, Clone, Default)]
pub(super) struct SplitWatch {
    share: Share,
    /// Requests of the canary and of stable in judged minutes.
    requests: [u64; 2],
}

impl SplitWatch {
    pub(super) fn see(&mut self, row: &Row, place: Place) {
        if place.opens_step {
            *self = Self { share: row.share, requests: [0; 2] };
        }
        if place.exclusion.is_none() {
            let requests =
                [&row.canary, &row.stable].map(|arm| arm.as_ref().map_or(0, |counts| counts.requests));
            self.requests[0] += requests[0];
            self.requests[1] += requests[1];
        }
    }

    /// Why the split is surely wrong, if it is.
    pub(super) fn reason(&self, sticky: bool) -> Option<Reason> {
        let interval = ShareInterval::around(self.share.fraction(), SPLIT_DEVIATION).ok()?;
        let [canary, stable] = self.requests;
        let ln_e = interval.ln_e(canary, stable).ok()?;
        let design_effect = if sticky { STICKY_DESIGN_EFFECT } else { 1.0 };
        let observed = Share::from_percent(100.0 * canary as f64 / (canary + stable).max(1) as f64).ok()?;
        (ln_e / design_effect >= -SPLIT_ALPHA.fraction().ln())
            .then_some(Reason::SplitOff { expected: self.share, observed })
    }
}
