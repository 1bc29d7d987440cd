//! What a rollout says to those who wait for it: three answers, whatever became of it.

use jiff::{SignedDuration, Timestamp};

use super::decide::is_of_this_step;
use super::record::{Audit, Phase, Record};
use crate::analysis::verdict::{Judgement, Reason, Verdict};
use crate::units::{Minute, Share, Span};

/// A running rollout that was not ticked for so long is not watched by anybody.
pub const UNWATCHED: Span = Span::from_minutes(5);
/// What was proven counts for those who raise the share if a tick has looked so lately: one that is missing may have
/// seen that they have raised it already.
const FRESH: SignedDuration = SignedDuration::from_secs(150);

/// The answer of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Pass,
    /// Not yet known: wait.
    Hold,
    /// Stop, and go back.
    Fail,
}

impl Answer {
    /// The word for it on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Hold => "hold",
            Self::Fail => "fail",
        }
    }
}

/// Where a rollout stands for those who wait for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The answer.
    pub answer: Answer,
    /// The stable word for why.
    pub code: &'static str,
    /// Why, in words.
    pub why: String,
    /// About when a verdict is to be expected.
    pub until: Option<Timestamp>,
    /// Requests of stable and canary on this step.
    pub requests: Option<[u64; 2]>,
    /// So many requests the canary still needs.
    pub need: Option<u64>,
    /// The canary's share.
    pub share: Share,
    /// Nobody has looked at it for [`UNWATCHED`]: the answer rests on nothing.
    pub unwatched: bool,
    /// The canary had traffic and has none any more: the answer is of an earlier version.
    pub is_spent: bool,
}

impl Standing {
    /// Of a rollout as it was stored.
    #[must_use]
    pub fn of(record: &Record, now: Timestamp) -> Self {
        let last = record.last.as_ref();
        let seen = record.last_tick.map_or(record.started.at, |tick| tick.start());
        let ended = record.phase.is_terminal();
        let unwatched = !ended && now.duration_since(seen) > UNWATCHED.signed();
        let (answer, code, why) = raising(record, now, answer(record, unwatched));
        let open = answer == Answer::Hold && !unwatched;
        let minutes = last.filter(|_| open).and_then(|last| last.minutes_to_verdict);
        Self {
            answer,
            code,
            why,
            until: minutes.and_then(|m| now.checked_add(Span::from_minutes(m.into()).signed()).ok()),
            requests: last.and_then(requests),
            need: last.filter(|_| open).and_then(need),
            share: record.share(),
            unwatched,
            is_spent: record.is_spent(),
        }
    }

    /// The same while somebody has frozen all rollouts: nobody gets a yes to raising a share.
    #[must_use]
    pub fn frozen_by(self, freeze: Option<&Audit>) -> Self {
        match freeze {
            Some(by) if self.lets_rise() => {
                Self { answer: Answer::Hold, code: "all_frozen", why: by.froze_all(), ..self }
            }
            _ => self,
        }
    }

    /// Whoever gets this answer may raise the share.
    #[must_use]
    pub fn lets_rise(&self) -> bool {
        (self.answer == Answer::Pass && self.share < Share::FULL) || self.may_begin()
    }

    /// The canary has had no traffic, somebody watches, and nobody has said no: it may get the first of it.
    #[must_use]
    pub fn may_begin(&self) -> bool {
        let no_requests = self.requests.is_none_or(|[_, canary]| canary == 0);
        let held = ["not_ticked", "paused", "frozen", "unwatched", "denied", "all_frozen"];
        self.answer == Answer::Hold
            && self.share == Share::ZERO
            && no_requests
            && !self.is_spent
            && !held.contains(&self.code)
    }

    /// Why, with the counts that it rests on.
    #[must_use]
    pub fn in_numbers(&self) -> String {
        match self.requests {
            Some([stable, canary]) => format!(
                "{} (canary at {}; requests on this step: {stable} of stable, {canary} of the canary)",
                self.why, self.share
            ),
            None => self.why.clone(),
        }
    }
}

/// What was proven lets nobody raise the share when the plan denies it, or when nobody has looked just now.
fn raising(
    record: &Record,
    now: Timestamp,
    (answer, code, why): (Answer, &'static str, String),
) -> (Answer, &'static str, String) {
    let open = !record.phase.is_terminal() && record.share() < Share::FULL;
    let first = answer == Answer::Hold && record.share() == Share::ZERO;
    if !open || !(answer == Answer::Pass || first) {
        return (answer, code, why);
    }
    if let Some(window) = record.plan.deny_windows.denies(now) {
        return (Answer::Hold, "denied", format!("the plan denies a rise now, in {window}; {why}"));
    }
    let seen = record.last_tick.map_or(record.started.at, |tick| tick.start());
    if answer == Answer::Pass && now.duration_since(seen) > FRESH {
        let why = format!("the last tick was at {seen}: what stands now was not seen; {why}");
        return (Answer::Hold, "stale", why);
    }
    (answer, code, why)
}

fn answer(record: &Record, unwatched: bool) -> (Answer, &'static str, String) {
    let why = || record.why.clone();
    match record.phase {
        Phase::Drained => return (Answer::Fail, "drained", why()),
        Phase::Draining => return (Answer::Fail, "draining", why()),
        Phase::Promoted => return (Answer::Pass, "promoted", why()),
        // Nobody said that it is good.
        Phase::Stopped => return (Answer::Fail, "stopped", why()),
        Phase::Waiting | Phase::Running | Phase::Paused | Phase::Frozen => {}
    }
    let Some(last) = &record.last else {
        return (Answer::Hold, "not_ticked", "the first tick has not come yet".to_owned());
    };
    let reason = last.reason.to_string();
    if last.verdict == Verdict::Harmful {
        return (Answer::Fail, last.reason.code(), reason);
    }
    if unwatched {
        let why = format!("no tick for more than {UNWATCHED}: nobody watches this rollout");
        return (Answer::Hold, "unwatched", why);
    }
    match record.phase {
        Phase::Paused => return (Answer::Hold, "paused", why()),
        Phase::Frozen => return (Answer::Hold, "frozen", why()),
        _ => {}
    }
    if let (Some(proven), Share::FULL) = (record.proven, record.share()) {
        if !is_seen_to_its_end(record, last) {
            let why = format!("proven healthy at {proven}, whose last minutes are not in yet");
            return (Answer::Hold, "last_minutes", why);
        }
        let why = format!("proven healthy at {proven}; at 100 % there is no stable left to compare with");
        return (Answer::Pass, "proven_before", why);
    }
    match last.verdict {
        // For some minutes after a shift the newest whole minute is still of the step before.
        Verdict::Healthy if !is_of_this_step(record, last) => {
            let why =
                format!("no whole minute at {} yet: what was proven is of the step before", record.share());
            (Answer::Hold, "not_of_this_step", why)
        }
        Verdict::Healthy => (Answer::Pass, last.reason.code(), reason),
        _ => (Answer::Hold, last.reason.code(), reason),
    }
}

/// The share at which the canary is proven healthy, as far as a tick knows that only looks on. The last step of
/// another hand leaves stable nothing to compare with: then the step before it counts, whose last minutes come in some
/// ticks later, and may be the ones in which it went wrong.
pub(super) fn proven(record: &Record, judgement: &Judgement, stands: bool) -> Option<Share> {
    if judgement.verdict == Verdict::Healthy && stands && is_of_this_step(record, judgement) {
        return judgement.step.as_ref().map(|step| step.share);
    }
    let Some(share) = share_before_full(record, judgement) else { return record.proven };
    match judgement.reason {
        Reason::Proven => Some(share),
        Reason::HarmSuspected { .. } | Reason::NotYetProven { .. } | Reason::SuspectedOfSticky { .. } => None,
        _ => record.proven,
    }
}

/// The share that was the last before all traffic was the canary's, if the judgement is still of its step.
fn share_before_full(record: &Record, judgement: &Judgement) -> Option<Share> {
    let [.., before, full] = record.shifts.as_slice() else { return None };
    let step = judgement.step.as_ref()?;
    let whole = record.is_judged_as_a_whole() && step.share < Share::FULL;
    let of_it = whole || (step.share.same_as(before.share) && step.since >= Minute::of(before.at));
    (of_it && full.share == Share::FULL).then_some(before.share)
}

/// All minutes before the last shift were looked at. Those after it may be empty.
fn is_seen_to_its_end(record: &Record, last: &Judgement) -> bool {
    let newest = record.shifts.last().map(|shift| Minute::of(shift.at).plus(-1));
    let seen = last.minute.map(|minute| minute.plus(-i64::from(last.blind_minutes)));
    !matches!(last.reason, Reason::ReadIncomplete { .. }) && seen >= newest
}

fn requests(last: &Judgement) -> Option<[u64; 2]> {
    last.step.as_ref().map(|step| [step.stable_requests, step.canary_requests])
}

/// The canary's requests that are still missing, by the check that lacks most.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn need(last: &Judgement) -> Option<u64> {
    if let Reason::TooFewRequests { have, need, .. } = last.reason {
        return Some(need.saturating_sub(have));
    }
    let needed = last.checks.iter().filter_map(|check| check.requests_needed);
    needed.max_by(f64::total_cmp).map(|needed| needed.max(0.0).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::super::plan::Mode;
    use super::super::record::Shift;
    use super::*;

    #[test]
    fn what_was_proven_on_the_step_before_lets_nobody_go_on_to_the_next() {
        let mut record = Record::on(0);
        record.last_tick = Some(Minute::of(at(20)));
        record.last = Some(of_step(record.share(), Minute::of(at(1))));
        assert_eq!(Standing::of(&record, at(20)).answer, Answer::Pass);
        record.shifts.push(Shift { at: at(20), share: share(25.0) });
        let standing = Standing::of(&record, at(21));
        assert_eq!((standing.answer, standing.code), (Answer::Hold, "not_of_this_step"));
    }

    /// Looked on at a step of 25 %, and at all traffic on the canary since minute 20; minute by minute what is
    /// judged, of which step, and what is answered.
    fn at_full(judgements: &[(i64, Judgement, f64)]) -> Vec<(Answer, &'static str)> {
        let mut record = Record::on(1).planned(|plan| plan.mode = Mode::Observe);
        record.proven = Some(share(25.0));
        record.shifts.push(Shift { at: at(20), share: Share::FULL });
        let answered = judgements.iter().map(|(minute, judgement, of)| {
            let since = Minute::of(at(if *of < 100.0 { 1 } else { 20 }));
            let seen = Minute::of(at(minute - 3));
            let judgement =
                Judgement { minute: Some(seen), step: of_step(share(*of), since).step, ..judgement.clone() };
            let decided = decided_as_is(&record, Ok(Share::FULL), &judgement, *minute, Ok(3));
            record = decided.done().clone();
            let standing = Standing::of(&record, at(*minute));
            (standing.answer, standing.code)
        });
        answered.collect()
    }

    #[test]
    fn at_a_hundred_percent_the_last_minutes_of_the_step_before_count_too() {
        let well =
            [(20, healthy(), 25.0), (21, healthy(), 25.0), (22, healthy(), 25.0), (23, undecided(), 100.0)];
        let wait = (Answer::Hold, "last_minutes");
        let pass = (Answer::Pass, "proven_before");
        assert_eq!(at_full(&well), [wait, wait, pass, pass]);
        let doubt = judged(Verdict::Undecided, Reason::HarmSuspected { check: "errors".into() });
        let turned = [(21, healthy(), 25.0), (22, doubt.clone(), 25.0), (23, undecided(), 100.0)];
        assert_eq!(
            at_full(&turned)[1..],
            [(Answer::Hold, "harm_suspected"), (Answer::Hold, "not_yet_proven")]
        );
        // What was in doubt for a while may still be proven by the last minutes.
        assert_eq!(at_full(&[(21, doubt, 25.0), (22, healthy(), 25.0)])[1], pass);
        assert_eq!(at_full(&[(22, metrics_unread(), 25.0), (23, healthy(), 25.0)])[0].0, Answer::Hold);
    }

    #[test]
    fn a_proof_of_an_earlier_step_is_none_at_a_hundred_percent() {
        let mut record = Record::on(1).planned(|plan| plan.mode = Mode::Observe);
        record.shifts.push(Shift { at: at(20), share: Share::FULL });
        let judgement = Judgement { step: of_step(share(5.0), Minute::of(at(0))).step, ..healthy() };
        assert_eq!(proven(&record, &judgement, true), None);
        let judgement = Judgement { step: of_step(share(25.0), Minute::of(at(1))).step, ..healthy() };
        assert_eq!(proven(&record, &judgement, true), Some(share(25.0)));
    }
}
