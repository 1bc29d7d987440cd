//! Where a minute lies in the rollout: on which step, and whether it may be judged.

use super::check::Rules;
use super::window::Row;
use crate::units::{Minute, Share};

/// The minute of a shift and the next are not judged: a weight takes a while to reach every load balancer
/// node, and requests from before the shift are still being answered.
const SHIFT_BLACKOUT_MINUTES: i64 = 2;

/// Why a minute is not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exclusion {
    /// The canary has no share.
    Baseline,
    /// The weights have just changed.
    Shift,
    /// The plan asks for it.
    WarmUp,
    /// An arm is missing.
    Incomplete,
}

/// Where one minute lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Why it is not judged; `None` if it is.
    pub(super) exclusion: Option<Exclusion>,
    /// It is the first of a new step.
    pub(super) opens_step: bool,
}

/// Follows the share from row to row.
#[derive(Debug, Clone, Default)]
pub(super) struct Timeline {
    share: Option<Share>,
    shifted: Option<Minute>,
    step: Option<(Share, Minute)>,
    steps: u32,
}

impl Timeline {
    /// Places the next row.
    pub(super) fn place(&mut self, row: &Row, rules: &Rules) -> Place {
        let moved = self.share.is_none_or(|share| !share.same_as(row.share));
        if moved && self.share.is_some() {
            self.shifted = Some(row.minute);
        }
        self.share = Some(row.share);
        let opens_step = moved && row.share > Share::ZERO;
        if opens_step {
            self.step = Some((row.share, row.minute));
            self.steps += 1;
        } else if row.share == Share::ZERO {
            self.step = None;
        }
        Place { exclusion: self.exclusion(row, rules), opens_step }
    }

    /// The share and first minute of the step that the last row lies on.
    pub(super) fn step(&self) -> Option<(Share, Minute)> {
        self.step
    }

    /// Minutes of warm-up that are left after `minute`.
    pub(super) fn warm_up_left(&self, minute: Minute, rules: &Rules) -> i64 {
        let warm_up = i64::try_from(rules.warm_up.minutes()).unwrap_or(i64::MAX);
        match self.step {
            Some((_, since)) if self.steps == 1 => (warm_up - minute.since(since) - 1).max(0),
            _ => 0,
        }
    }

    fn exclusion(&self, row: &Row, rules: &Rules) -> Option<Exclusion> {
        let Some((_, since)) = self.step else {
            return Some(Exclusion::Baseline);
        };
        if row.stable.is_none() || row.canary.is_none() {
            return Some(Exclusion::Incomplete);
        }
        if self.shifted.is_some_and(|at| row.minute.since(at) < SHIFT_BLACKOUT_MINUTES) {
            return Some(Exclusion::Shift);
        }
        let warm_up = i64::try_from(rules.warm_up.minutes()).unwrap_or(i64::MAX);
        (self.steps == 1 && row.minute.since(since) < warm_up).then_some(Exclusion::WarmUp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::window::ArmCounts;
    use crate::units::Span;

    fn row(at: i64, percent: f64, complete: bool) -> Row {
        let start: Minute = "2026-03-01T10:00:00Z".parse().unwrap();
        let arm = ArmCounts { requests: 10, ..ArmCounts::default() };
        Row {
            minute: start.plus(at),
            share: Share::from_percent(percent).unwrap(),
            stable: Some(arm.clone()),
            canary: complete.then_some(arm),
        }
    }

    fn exclusions(rows: &[Row], rules: &Rules) -> Vec<Option<Exclusion>> {
        let mut timeline = Timeline::default();
        rows.iter().map(|row| timeline.place(row, rules).exclusion).collect()
    }

    #[test]
    fn the_shift_minute_and_the_next_are_not_judged() {
        let rows: Vec<_> = [0.0, 5.0, 5.0, 5.0, 25.0, 25.0, 25.0]
            .iter()
            .enumerate()
            .map(|(at, percent)| row(at as i64, *percent, true))
            .collect();
        let shift = Some(Exclusion::Shift);
        assert_eq!(
            exclusions(&rows, &Rules::default()),
            [Some(Exclusion::Baseline), shift, shift, None, shift, shift, None]
        );
    }

    #[test]
    fn a_recording_that_begins_on_a_step_is_judged_from_its_first_minute() {
        let rows = [row(0, 10.0, true), row(1, 10.0, false), row(2, 10.0, true)];
        assert_eq!(exclusions(&rows, &Rules::default()), [None, Some(Exclusion::Incomplete), None]);
    }

    #[test]
    fn only_the_first_step_warms_up() {
        let rules = Rules { warm_up: Span::from_minutes(2), ..Rules::default() };
        let rows = [
            row(0, 10.0, true),
            row(1, 10.0, true),
            row(2, 10.0, true),
            row(5, 25.0, true),
            row(7, 25.0, true),
        ];
        let warm = Some(Exclusion::WarmUp);
        assert_eq!(exclusions(&rows, &rules), [warm, warm, None, Some(Exclusion::Shift), None]);
    }
}
