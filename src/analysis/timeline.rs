//! Where a minute lies in the rollout: on which step, and whether it may be judged.

use super::check::{Rules, SHIFT_BLACKOUT};
use super::judge::BurnIn;
use super::window::Row;
use crate::units::{Minute, Share};

/// Why a minute is not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exclusion {
    /// The canary has no share.
    Baseline,
    /// The weights have just changed.
    Shift,
    /// Both groups run the same version.
    BurnIn,
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
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    burn_in: BurnIn,
    share: Option<Share>,
    shifted: Option<Minute>,
    step: Option<(Share, Minute)>,
    steps: u32,
    /// The first minute in which the canary had a share.
    first: Option<Minute>,
    /// The new version has come, after a burn-in.
    arrived: bool,
    /// See [`Conditions::whole_shift`](super::Conditions).
    whole_shift: bool,
}

impl Timeline {
    pub(super) fn new(burn_in: BurnIn) -> Self {
        Self {
            burn_in,
            share: None,
            shifted: None,
            step: None,
            steps: 0,
            first: None,
            arrived: false,
            whole_shift: false,
        }
    }

    /// Takes the whole shift for one step, or not.
    pub(super) fn with_whole_shift(self, whole_shift: bool) -> Self {
        Self { whole_shift, ..self }
    }

    /// Places the next row.
    pub(super) fn place(&mut self, row: &Row, rules: &Rules) -> Place {
        let part = |share: Share| share > Share::ZERO && share < Share::FULL;
        let goes_on = self.whole_shift && part(row.share) && self.share.is_some_and(part);
        let moved = self.share.is_none_or(|share| !share.same_as(row.share)) && !goes_on;
        if goes_on {
            self.step = self.step.map(|(_, since)| (row.share, since));
        }
        if moved && self.share.is_some() {
            self.shifted = Some(row.minute);
        }
        self.share = Some(row.share);
        let opens_step = row.share > Share::ZERO && (moved | self.arrives(row.minute, rules));
        if opens_step {
            self.step = Some((row.share, row.minute));
            self.steps += u32::from(moved);
            self.first.get_or_insert(row.minute);
        } else if row.share == Share::ZERO {
            self.step = None;
        }
        Place { exclusion: self.exclusion(row, rules), opens_step }
    }

    /// Whether the new version is there for the first time: what the old one proved counts no more.
    fn arrives(&mut self, minute: Minute, rules: &Rules) -> bool {
        let arrives = !self.arrived && self.arrival(rules).is_some_and(|at| minute >= at);
        self.arrived |= arrives;
        arrives
    }

    /// Whether the canary may run the new version in this minute: always, but for a burn-in.
    pub(super) fn is_past_burn_in(&self, minute: Minute, rules: &Rules) -> bool {
        self.burn_in_end(rules).is_none_or(|end| minute >= end)
    }

    /// The share and first minute of the step that the last row lies on.
    pub(super) fn step(&self) -> Option<(Share, Minute)> {
        self.step
    }

    /// Minutes of warm-up that are left after `minute`.
    pub(super) fn warm_up_left(&self, minute: Minute, rules: &Rules) -> i64 {
        match self.warm_up_from(rules) {
            Some(from) => (rules.warm_up.whole_minutes() - minute.since(from) - 1).max(0),
            None => 0,
        }
    }

    /// Minutes of burn-in that are left after `minute`, not below zero; `None` if there is no burn-in or it is over.
    pub(super) fn burn_in_left(&self, minute: Minute, rules: &Rules) -> Option<i64> {
        let first = self.first.filter(|_| rules.burn_in.minutes() > 0)?;
        let left = rules.burn_in.whole_minutes() - minute.since(first) - 1;
        match self.burn_in {
            BurnIn::AsPlanned => (left > 0).then_some(left),
            BurnIn::Open => Some(left.max(0)),
            // Minutes come late: the word that the new version is there is older than they are.
            BurnIn::Ended(at) => (minute < at).then_some((at.since(minute)).max(1)),
        }
    }

    /// The minute after the last in which both groups surely run the same version.
    fn burn_in_end(&self, rules: &Rules) -> Option<Minute> {
        let planned = self.first.filter(|_| rules.burn_in.minutes() > 0)?.plus(rules.burn_in.whole_minutes());
        Some(match self.burn_in {
            BurnIn::AsPlanned | BurnIn::Open => planned,
            BurnIn::Ended(at) => planned.min(at),
        })
    }

    /// The minute in which the new version comes, after a burn-in.
    fn arrival(&self, rules: &Rules) -> Option<Minute> {
        match self.burn_in {
            _ if rules.burn_in.minutes() == 0 => None,
            BurnIn::AsPlanned => self.burn_in_end(rules),
            BurnIn::Open => None,
            BurnIn::Ended(at) => Some(at),
        }
    }

    /// The minute in which the new version begins to warm up.
    fn warm_up_from(&self, rules: &Rules) -> Option<Minute> {
        if rules.burn_in.minutes() > 0 { self.arrival(rules) } else { self.first.filter(|_| self.steps == 1) }
    }

    fn exclusion(&self, row: &Row, rules: &Rules) -> Option<Exclusion> {
        if self.step.is_none() {
            return Some(Exclusion::Baseline);
        }
        if row.stable.is_none() || row.canary.is_none() {
            return Some(Exclusion::Incomplete);
        }
        if !self.is_past_burn_in(row.minute, rules) {
            return Some(Exclusion::BurnIn);
        }
        // A deployment settles as a shift does.
        let deployed = self.arrival(rules).filter(|_| matches!(self.burn_in, BurnIn::Ended(_)));
        let settles = |at: Minute| (0..SHIFT_BLACKOUT.whole_minutes()).contains(&row.minute.since(at));
        if self.shifted.is_some_and(settles) || deployed.is_some_and(settles) {
            return Some(Exclusion::Shift);
        }
        let warms_up = |from: Minute| (0..rules.warm_up.whole_minutes()).contains(&row.minute.since(from));
        self.warm_up_from(rules).is_some_and(warms_up).then_some(Exclusion::WarmUp)
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
        let mut timeline = Timeline::new(BurnIn::AsPlanned);
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
    fn a_shift_that_is_judged_as_a_whole_is_one_step_until_its_end() {
        let mut timeline = Timeline::new(BurnIn::AsPlanned).with_whole_shift(true);
        let rows = [0.0, 10.0, 20.0, 30.0, 40.0, 100.0];
        let places: Vec<_> = rows
            .iter()
            .enumerate()
            .map(|(at, percent)| {
                let place = timeline.place(&row(at as i64, *percent, *percent < 100.0), &Rules::default());
                (place.opens_step, place.exclusion, timeline.step().map(|(share, _)| share.percent()))
            })
            .collect();
        let shift = Some(Exclusion::Shift);
        assert_eq!(
            places,
            [
                (false, Some(Exclusion::Baseline), None),
                (true, shift, Some(10.0)),
                (false, shift, Some(20.0)),
                (false, None, Some(30.0)),
                (false, None, Some(40.0)),
                (true, Some(Exclusion::Incomplete), Some(100.0)),
            ]
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
