//! The decision of one tick.
//!
//! [`decide`] reads from top to bottom in the order of precedence: what must come down comes down first,
//! then what another hand or a crash left behind is settled, then what cannot be seen is held, and only
//! what has passed all that may go up.

use jiff::{SignedDuration, Timestamp};

use super::effect::{Action, Decision, Effects, Write};
use super::plan::{Mode, OnBlind, OnUndecided};
use super::record::{PageKind, Phase, Record};
use crate::analysis::verdict::{Judgement, Reason, StepProgress, Verdict};
use crate::analysis::window::Arm;
use crate::units::{Minute, Share, Span};

/// For so long after a shift the rule may still be shown as it was before: reads of a load balancer lag
/// behind its writes. Longer, and it was set back by another hand.
const READ_LAG: Span = Span::from_seconds(90);

/// What a tick knows of one rollout.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// The tick's minute.
    pub tick: Minute,
    /// The canary's share as the rule says now, or why that could not be read.
    pub share: Result<Share, &'a str>,
    /// What the judge says of the whole window.
    pub judgement: &'a Judgement,
    /// Healthy targets of the arm that [`arm_to_check`] names, or why they could not be read.
    pub healthy_targets: Option<Result<u32, &'a str>>,
}

/// What the tick wants to do, before anybody looked whether the targets can take it.
#[derive(Debug, Clone, PartialEq)]
enum Move {
    Hold(String),
    /// Hold, and page once on this step.
    HoldAndPage(PageKind, String),
    Drain(String),
    Promote(usize, String),
    Finish(String),
    Freeze(Share, String),
    /// A begun write is found done.
    Confirm(usize, Share),
    /// The share is not ours to write: note what it is.
    Follow(Share, String),
}

/// The arm whose targets must be looked at before the decision that `input` leads to can be carried out:
/// nothing is drained into a stable group, or sent to a canary, that has no healthy target.
#[must_use]
pub fn arm_to_check(record: &Record, input: &Input<'_>, now: Timestamp) -> Option<Arm> {
    match intend(record, input, now) {
        Move::Drain(_) => Some(Arm::Stable),
        Move::Promote(..) => Some(Arm::Canary),
        _ => None,
    }
}

/// Decides what to do about one rollout now.
#[must_use]
pub fn decide(record: &Record, input: &Input<'_>, now: Timestamp) -> Decision {
    let next = observed(record, input, now);
    match intend(record, input, now) {
        Move::Hold(why) => keep(Action::Hold, why, next),
        Move::HoldAndPage(kind, why) => {
            let next = next.paging_once(kind, &why, now);
            keep(Action::Hold, why, next)
        }
        Move::Drain(why) => drain(next, why, input.healthy_targets, now),
        Move::Promote(step, why) => promote(next, step, why, input.healthy_targets, now),
        Move::Finish(why) => {
            let next = next.into_phase(Phase::Promoted, &why, now).paging(PageKind::Promoted, &why, now);
            keep(Action::Finish, why, next)
        }
        Move::Freeze(share, why) => {
            // The page names the share before the change, hence first.
            let next = next.paging(PageKind::Frozen, &why, now).with_share(share, now);
            keep(Action::Freeze, why.clone(), next.into_phase(Phase::Frozen, &why, now))
        }
        Move::Confirm(step, share) => {
            let why = format!("the shift to {share} that an earlier tick began stands");
            let at = record.intent.as_ref().map_or(now, |intent| intent.at);
            keep(Action::Repair, why.clone(), arrived(next.on_step(step, share, at), &why, now))
        }
        Move::Follow(share, why) => {
            let mut next = next.with_share(share, now);
            // Another share is another step for those who read the pages; harm is for the whole rollout.
            next.paged.retain(|kind| *kind == PageKind::ObservedHarmful);
            if next.phase == Phase::Waiting {
                next = next.into_phase(Phase::Running, &why, now);
            }
            next.since = now;
            keep(Action::Hold, why, next)
        }
    }
}

/// The record with what this tick saw, before any decision.
fn observed(record: &Record, input: &Input<'_>, now: Timestamp) -> Record {
    // What convicted a canary stays on record until it is drained.
    let judgement = (record.phase != Phase::Draining).then_some(input.judgement);
    let mut next = record.ticked(Some(input.tick), judgement);
    if !unread(input) {
        next = next.with_thresholds(&input.judgement.thresholds);
    }
    next.unread_since = unread(input).then(|| record.unread_since.unwrap_or(now));
    if let (Some(intent), Ok(share)) = (&record.intent, input.share)
        && !share.same_as(intent.share)
    {
        // Begun and not done: it may only be begun again on a verdict of its own.
        let why = format!("the shift to {} was begun and the rule still says {share}", intent.share);
        next.intent = None;
        next = next.shift_failed(&why, now);
    }
    if !unread(input) && input.judgement.verdict != Verdict::Blind {
        next.paged.retain(|kind| *kind != PageKind::Blind);
    }
    next
}

/// Something of this tick could not be read.
fn unread(input: &Input<'_>) -> bool {
    input.share.is_err() || matches!(input.judgement.reason, Reason::ReadIncomplete { .. })
}

fn intend(record: &Record, input: &Input<'_>, now: Timestamp) -> Move {
    if record.phase.is_terminal() {
        return Move::Hold(record.why.clone());
    }
    if record.phase == Phase::Draining {
        return Move::Drain(record.why.clone());
    }
    let drives = record.plan.mode == Mode::Drive;
    if input.judgement.verdict == Verdict::Harmful {
        let why = input.judgement.reason.to_string();
        return if drives { Move::Drain(why) } else { Move::HoldAndPage(PageKind::ObservedHarmful, why) };
    }
    let share = match input.share {
        Ok(share) => share,
        Err(why) => return unseen(record, format!("the rule's weights were not read: {why}"), now),
    };
    if let Some(settled) = settle(record, share, drives, now) {
        return settled;
    }
    if input.judgement.verdict == Verdict::Blind {
        return blind(record, &input.judgement.reason, now);
    }
    match record.phase {
        Phase::Waiting if drives => Move::Promote(0, record.why.clone()),
        Phase::Paused | Phase::Frozen => Move::Hold(record.why.clone()),
        _ => advance(record, input.judgement, now),
    }
}

/// Settles what a crash or another hand left behind; `None` if the rule says what the record says.
fn settle(record: &Record, share: Share, drives: bool, now: Timestamp) -> Option<Move> {
    if let Some(intent) = &record.intent
        && share.same_as(intent.share)
    {
        return Some(Move::Confirm(intent.step, intent.share));
    }
    let expected = record.share();
    if share.same_as(expected) {
        return None;
    }
    if let [.., before, last] = record.shifts.as_slice()
        && share.same_as(before.share)
        && !lasted(Some(last.at), READ_LAG, now)
    {
        return Some(Move::Hold(format!("the shift to {expected} is not visible in the rule yet")));
    }
    let whose =
        if share == Share::ZERO { ": another hand, or a drain of ours that was not recorded" } else { "" };
    let why = format!("the rule sends {share} to the canary; canary-gate had left it at {expected}{whose}");
    Some(if !drives || record.phase == Phase::Frozen {
        Move::Follow(share, why)
    } else {
        Move::Freeze(share, why)
    })
}

/// Nothing can be read: hold, and after `blind_after` say so.
fn unseen(record: &Record, why: String, now: Timestamp) -> Move {
    if lasted(record.unread_since, record.plan.rules.blind_after, now) {
        Move::HoldAndPage(PageKind::Blind, why)
    } else {
        Move::Hold(why)
    }
}

/// The canary can't be observed. The judge itself waits `blind_after` for data that is not there; data
/// that could not be read is given the same time.
fn blind(record: &Record, reason: &Reason, now: Timestamp) -> Move {
    let why = reason.to_string();
    let unread = matches!(reason, Reason::ReadIncomplete { .. });
    if unread && !lasted(record.unread_since, record.plan.rules.blind_after, now) {
        return Move::Hold(why);
    }
    let ours = record.plan.mode == Mode::Drive && record.phase != Phase::Frozen;
    let may_drain = ours && record.share() > Share::ZERO;
    match record.plan.on_blind {
        OnBlind::Drain if may_drain => Move::Drain(why),
        _ => Move::HoldAndPage(PageKind::Blind, why),
    }
}

/// Watched and free to go on.
fn advance(record: &Record, judgement: &Judgement, now: Timestamp) -> Move {
    let why = judgement.reason.to_string();
    if judgement.verdict == Verdict::Healthy {
        return if is_of_this_step(record, judgement) {
            up(record, why)
        } else {
            Move::Hold(format!("no whole minute at {} yet", record.share()))
        };
    }
    if let Reason::BurningIn { minutes_left } = judgement.reason {
        return if minutes_left.is_some() {
            Move::Hold(why)
        } else {
            Move::HoldAndPage(PageKind::BurntIn, why)
        };
    }
    if record.share() == Share::ZERO || !lasted(Some(record.since), record.plan.rules.decide_within, now) {
        return match judgement.reason {
            Reason::SplitOff { .. } => Move::HoldAndPage(PageKind::SplitOff, why),
            Reason::SuspectedOfSticky { .. } => Move::HoldAndPage(PageKind::Suspected, why),
            _ => Move::Hold(why),
        };
    }
    let why = format!("still undecided after {}: {why}", record.plan.rules.decide_within);
    if record.plan.mode == Mode::Observe {
        return Move::HoldAndPage(PageKind::Undecided, why);
    }
    match record.plan.on_undecided {
        OnUndecided::Drain => Move::Drain(why),
        OnUndecided::Promote if !forbidden(record, judgement) => up(record, why),
        OnUndecided::Hold | OnUndecided::Promote => Move::HoldAndPage(PageKind::Undecided, why),
    }
}

/// Whether the judgement is of the step that the rollout stands on. The newest whole minute is some minutes
/// old: for the first ticks after a shift it still lies on the step before, whose health proves nothing here.
fn is_of_this_step(record: &Record, judgement: &Judgement) -> bool {
    let shifted = record.shifts.last().map(|shift| Minute::of(shift.at));
    judgement.step.as_ref().is_some_and(|step| {
        step.share.same_as(record.share()) && shifted.is_some_and(|shifted| step.since >= shifted)
    })
}

/// What forbids going up without proof even where the plan allows it: signs of harm, or requests too few to
/// show any.
fn forbidden(record: &Record, judgement: &Judgement) -> bool {
    let need = record.plan.rules.min_requests;
    let enough = |step: &StepProgress| step.canary_requests >= need && step.stable_requests >= need;
    let signs = matches!(
        judgement.reason,
        Reason::HarmSuspected { .. }
            | Reason::SuspectedOfSticky { .. }
            | Reason::CheckSilent { .. }
            | Reason::SplitOff { .. }
    );
    signs || !is_of_this_step(record, judgement) || !judgement.step.as_ref().is_some_and(enough)
}

/// The next step up, or the end.
fn up(record: &Record, why: String) -> Move {
    if record.plan.mode == Mode::Observe {
        return Move::HoldAndPage(PageKind::ObservedHealthy, why);
    }
    let next = record.step.map_or(0, |step| step + 1);
    if next < record.plan.steps.len() { Move::Promote(next, why) } else { Move::Finish(why) }
}

fn keep(action: Action, why: String, next: Record) -> Decision {
    Decision { action, why, effects: Effects::Record(Box::new(next)) }
}

/// Down to zero, unless stable cannot take the traffic.
pub(super) fn drain(
    next: Record,
    why: String,
    healthy_targets: Option<Result<u32, &str>>,
    now: Timestamp,
) -> Decision {
    if healthy_targets == Some(Ok(0)) {
        let stuck = format!("{why}; NOT drained: stable has no healthy target to take the traffic");
        let next = next.into_phase(Phase::Draining, &why, now);
        return keep(Action::Hold, stuck.clone(), next.paging_once(PageKind::DrainBlocked, &stuck, now));
    }
    let failure = format!("{why}; the weights could NOT be written, every tick tries again");
    let failed =
        next.clone().into_phase(Phase::Draining, &why, now).paging_once(PageKind::DrainFailed, &failure, now);
    let done = next.paging(PageKind::Drained, &why, now).with_share(Share::ZERO, now).into_phase(
        Phase::Drained,
        &why,
        now,
    );
    Decision {
        action: Action::Drain,
        why,
        effects: Effects::WriteThenRecord {
            write: Write { share: Share::ZERO, unstick: true },
            done: Box::new(done),
            failed: Box::new(failed),
        },
    }
}

/// Up to a step, unless no canary target can take the traffic.
pub(super) fn promote(
    mut next: Record,
    step: usize,
    why: String,
    healthy_targets: Option<Result<u32, &str>>,
    now: Timestamp,
) -> Decision {
    let share = next.plan.steps[step];
    let waits = |missing: &str| format!("the shift to {share} waits: {missing}");
    match healthy_targets {
        Some(Ok(0)) => {
            let why = waits("the canary has no healthy target");
            let next = next.paging_once(PageKind::NoHealthyTarget, &why, now);
            return keep(Action::Hold, why, next);
        }
        Some(Ok(targets)) => {
            next.canary_targets.get_or_insert(targets);
        }
        Some(Err(unread)) => {
            let why = waits(&format!("the canary's target health was not read: {unread}"));
            return keep(Action::Hold, why.clone(), next.shift_failed(&why, now));
        }
        None => return keep(Action::Hold, waits("the canary's target health was not read"), next),
    }
    let intent = next.clone().intending(step, share, now);
    let done = arrived(intent.clone().on_step(step, share, now), &why, now);
    Decision {
        action: Action::Promote,
        why,
        effects: Effects::RecordThenWrite {
            intent: Box::new(intent),
            write: Write { share, unstick: false },
            done: Box::new(done),
        },
    }
}

/// On the step that the record names: the rollout ends where all traffic goes to the canary, and runs on
/// anywhere below. A pause outlives the shift that a crash interrupted.
fn arrived(next: Record, why: &str, now: Timestamp) -> Record {
    if next.share() == Share::FULL {
        return next.into_phase(Phase::Promoted, why, now).paging(PageKind::Promoted, why, now);
    }
    let phase = if next.phase == Phase::Waiting { Phase::Running } else { next.phase };
    next.into_phase(phase, why, now)
}

/// Whether something that began at `since` has lasted for `span`.
fn lasted(since: Option<Timestamp>, span: Span, now: Timestamp) -> bool {
    let span = SignedDuration::from_secs(i64::try_from(span.seconds()).unwrap_or(i64::MAX));
    since.is_some_and(|since| now.duration_since(since) >= span)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;
    use crate::analysis::edge::Edge;
    use crate::analysis::threshold::Threshold;
    use crate::rollout::record::Intent;
    use crate::units::Span;

    #[test]
    fn the_first_tick_shifts_to_the_first_step() {
        let decision = decided(&Record::test(), 0.0, &undecided(), 1);
        assert_eq!(decision.action, Action::Promote);
        assert_eq!(decision.writes(), Some(share(5.0)));
        assert_eq!((decision.done().phase, decision.done().step), (Phase::Running, Some(0)));
        assert!(matches!(decision.effects, Effects::RecordThenWrite { .. }));
    }

    #[test]
    fn the_first_shift_waits_while_metrics_cannot_be_read() {
        assert_eq!(decided(&Record::test(), 0.0, &metrics_unread(), 1).writes(), None);
    }

    #[test]
    fn only_a_healthy_verdict_raises_the_share() {
        for judgement in
            [undecided(), metrics_unread(), judged(Verdict::Blind, Reason::NoData { minutes: 3 })]
        {
            let decision = decided(&Record::on(0), 5.0, &judgement, 20);
            assert!(decision.writes().is_none_or(|written| written == Share::ZERO), "{judgement:?}");
        }
        let decision = decided(&Record::on(0), 5.0, &healthy(), 20);
        assert_eq!((decision.action, decision.writes()), (Action::Promote, Some(share(25.0))));
        assert!(decision.pages().is_empty());
    }

    #[test]
    fn the_health_of_the_step_before_proves_nothing_on_this_one() {
        let record = Record::on(1);
        let of_before = of_step(share(5.0), Minute::of(at(-30)));
        let too_early = of_step(share(25.0), Minute::of(at(-30)));
        for judgement in [of_before, too_early, judged(Verdict::Healthy, Reason::Proven)] {
            let decision = decided_as_is(&record, Ok(share(25.0)), &judgement, 3, Ok(3));
            assert_eq!((decision.action, decision.writes()), (Action::Hold, None), "{judgement:?}");
        }
        let of_this = of_step(share(25.0), Minute::of(at(1)));
        let decision = decided_as_is(&record, Ok(share(25.0)), &of_this, 20, Ok(3));
        assert_eq!(decision.writes(), Some(share(50.0)));
    }

    #[test]
    fn the_step_to_a_hundred_percent_ends_the_rollout() {
        let decision = decided(&Record::on(2), 50.0, &healthy(), 20);
        assert_eq!(decision.writes(), Some(Share::FULL));
        assert_eq!(decision.done().phase, Phase::Promoted);
        assert_eq!(decision.pages(), ["promoted"]);
    }

    #[test]
    fn a_plan_that_ends_short_of_a_hundred_percent_finishes_there() {
        let record = Record::on(0).planned(|plan| plan.steps.truncate(1));
        let decision = decided(&record, 5.0, &healthy(), 20);
        assert_eq!((decision.action, decision.writes()), (Action::Finish, None));
        assert_eq!(decision.done().phase, Phase::Promoted);
    }

    #[test]
    fn harm_drains_from_every_phase_and_whatever_the_rule_says() {
        for phase in [Phase::Running, Phase::Paused, Phase::Frozen, Phase::Draining] {
            for seen in [Ok(share(5.0)), Ok(share(50.0)), Err("throttled")] {
                let record = Record::on(0).in_phase(phase);
                let decision = with_health(&record, seen, &harmful(), 20, Ok(3));
                assert_eq!(decision.writes(), Some(Share::ZERO), "{phase:?} {seen:?}");
                assert!(matches!(decision.effects, Effects::WriteThenRecord { .. }));
                assert_eq!(decision.done().phase, Phase::Drained);
                assert_eq!(decision.pages(), ["drained"]);
            }
        }
    }

    #[test]
    fn a_drain_that_cannot_be_written_is_paged_once_and_tried_again() {
        let decision = decided(&Record::on(0), 5.0, &harmful(), 20);
        let Effects::WriteThenRecord { failed, .. } = decision.effects else { panic!("a drain") };
        assert_eq!(failed.phase, Phase::Draining);
        assert_eq!(failed.outbox.len(), 1);
        let again = decided(&failed, 5.0, &undecided(), 21);
        assert_eq!(again.writes(), Some(Share::ZERO));
        let Effects::WriteThenRecord { failed, .. } = again.effects else { panic!("a drain") };
        assert_eq!(failed.outbox.len(), 1, "paged again");
        assert_eq!(failed.last.unwrap().verdict, Verdict::Harmful, "what convicted it is kept");
    }

    #[test]
    fn nothing_is_drained_into_a_stable_group_without_healthy_targets() {
        let decision = with_health(&Record::on(0), Ok(share(5.0)), &harmful(), 20, Ok(0));
        assert_eq!(decision.writes(), None);
        assert_eq!(decision.done().phase, Phase::Draining);
        assert_eq!(decision.pages(), ["drain_blocked"]);
    }

    #[test]
    fn unreadable_health_does_not_stop_a_drain_but_stops_a_promotion() {
        let down = with_health(&Record::on(0), Ok(share(5.0)), &harmful(), 20, Err("throttled"));
        assert_eq!(down.writes(), Some(Share::ZERO));
        let up = with_health(&Record::on(0), Ok(share(5.0)), &healthy(), 20, Err("throttled"));
        assert_eq!(up.writes(), None);
    }

    #[test]
    fn a_canary_without_healthy_targets_gets_no_more_traffic_and_pages_once() {
        let decision = with_health(&Record::on(0), Ok(share(5.0)), &healthy(), 20, Ok(0));
        assert_eq!((decision.action, decision.writes()), (Action::Hold, None));
        assert_eq!(decision.pages(), ["no_healthy_target"]);
        let again = with_health(decision.done(), Ok(share(5.0)), &healthy(), 21, Ok(0));
        assert_eq!(again.pages().len(), 1);
    }

    #[test]
    fn weights_of_another_hand_freeze_the_rollout_and_stay() {
        let decision = decided(&Record::on(0), 40.0, &healthy(), 20);
        assert_eq!((decision.action, decision.writes()), (Action::Freeze, None));
        assert_eq!(decision.pages(), ["frozen"]);
        assert_eq!(decision.done().share(), share(40.0));
        let next = decided(decision.done(), 60.0, &healthy(), 21);
        assert_eq!((next.action, next.writes()), (Action::Hold, None));
        assert_eq!(next.done().share(), share(60.0));
    }

    #[test]
    fn a_rule_that_still_shows_the_share_before_the_shift_is_given_time() {
        let record = Record::on(1);
        let soon = decided(&record, 0.0, &healthy(), 2);
        assert_eq!((soon.action, soon.writes()), (Action::Hold, None));
        assert_eq!(soon.done().phase, Phase::Running);
        assert_eq!(decided(&record, 0.0, &healthy(), 3).action, Action::Freeze);
        assert_eq!(decided(&record, 40.0, &healthy(), 2).action, Action::Freeze);
    }

    #[test]
    fn a_canary_that_someone_set_to_zero_stays_at_zero() {
        let decision = decided(&Record::on(1), 0.0, &healthy(), 20);
        assert_eq!((decision.action, decision.writes()), (Action::Freeze, None));
        assert_eq!(decided(decision.done(), 0.0, &healthy(), 60).writes(), None);
    }

    #[test]
    fn a_begun_shift_that_took_effect_is_confirmed_without_a_write() {
        let mut record = Record::on(0);
        record.intent = Some(Intent { at: at(20), share: share(25.0), step: 1 });
        let decision = decided(&record, 25.0, &undecided(), 21);
        assert_eq!((decision.action, decision.writes()), (Action::Repair, None));
        assert_eq!((decision.done().step, decision.done().share()), (Some(1), share(25.0)));
        assert_eq!(decision.done().intent, None);
        assert_eq!(decision.done().shifts.last().unwrap().at, at(20));
    }

    #[test]
    fn a_begun_shift_that_did_not_take_effect_needs_a_healthy_verdict_again() {
        let mut record = Record::on(0);
        record.intent = Some(Intent { at: at(20), share: share(25.0), step: 1 });
        let held = decided(&record, 5.0, &undecided(), 21);
        assert_eq!((held.action, held.writes()), (Action::Hold, None));
        assert_eq!(held.done().intent, None);
        assert_eq!(decided(&record, 5.0, &healthy(), 21).writes(), Some(share(25.0)));
    }

    #[test]
    fn a_begun_last_shift_that_took_effect_ends_the_rollout() {
        let mut record = Record::on(2);
        record.intent = Some(Intent { at: at(20), share: Share::FULL, step: 3 });
        let decision = decided(&record, 100.0, &undecided(), 21);
        assert_eq!(decision.done().phase, Phase::Promoted);
        assert_eq!(decision.pages(), ["promoted"]);
    }

    #[test]
    fn unread_metrics_hold_and_drain_only_after_blind_after() {
        let first = decided(&Record::on(0), 5.0, &metrics_unread(), 20);
        assert_eq!((first.writes(), first.pages()), (None, vec![]));
        let later = decided(first.done(), 5.0, &metrics_unread(), 24);
        assert_eq!(later.writes(), None);
        let drained = decided(later.done(), 5.0, &metrics_unread(), 25);
        assert_eq!(drained.writes(), Some(Share::ZERO));
        let seen = decided(later.done(), 5.0, &undecided(), 25);
        assert_eq!(seen.done().unread_since, None);
    }

    #[test]
    fn a_blind_rollout_may_hold_by_plan_and_pages_once() {
        let record = Record::on(0).planned(|plan| plan.on_blind = OnBlind::Hold);
        let silent = judged(Verdict::Blind, Reason::CanarySilent { minutes: 5 });
        let decision = decided(&record, 5.0, &silent, 20);
        assert_eq!((decision.writes(), decision.pages()), (None, vec!["blind"]));
        assert_eq!(decided(decision.done(), 5.0, &silent, 21).pages().len(), 1);
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_paged_after_blind_after() {
        let first = with_health(&Record::on(0), Err("RuleNotFound"), &healthy(), 20, Ok(3));
        assert_eq!((first.writes(), first.pages()), (None, vec![]));
        let later = with_health(first.done(), Err("RuleNotFound"), &healthy(), 25, Ok(3));
        assert_eq!((later.writes(), later.pages()), (None, vec!["blind"]));
    }

    #[test]
    fn a_shift_that_never_comes_about_is_paged_after_some_tries_and_once() {
        let mut record = Record::on(0);
        for minute in 20..28 {
            let decision = decided(&record, 5.0, &healthy(), minute);
            let Effects::RecordThenWrite { intent, .. } = decision.effects else { panic!("a promotion") };
            record = *intent;
            let pages = record.outbox.iter().filter(|page| page.kind == PageKind::ShiftFailed).count();
            assert_eq!(pages, usize::from(minute >= 23), "{minute}");
        }
    }

    #[test]
    fn a_rollout_that_sees_again_may_page_again_when_it_is_blind_again() {
        let record = Record::on(0).planned(|plan| plan.on_blind = OnBlind::Hold);
        let silent = judged(Verdict::Blind, Reason::CanarySilent { minutes: 5 });
        let blind = decided(&record, 5.0, &silent, 20);
        let seen = decided(blind.done(), 5.0, &undecided(), 21);
        assert_eq!(decided(seen.done(), 5.0, &silent, 40).pages(), ["blind", "blind"]);
    }

    #[test]
    fn paused_and_frozen_rollouts_hold_however_healthy() {
        for phase in [Phase::Paused, Phase::Frozen] {
            let decision = decided(&Record::on(0).in_phase(phase), 5.0, &healthy(), 20);
            assert_eq!((decision.action, decision.writes()), (Action::Hold, None));
            assert_eq!(decision.done().phase, phase);
        }
    }

    #[test]
    fn an_undecided_step_ends_as_the_plan_says() {
        let late = 1 + 240;
        let by = |choice| {
            let record = Record::on(0).planned(|plan| plan.on_undecided = choice);
            assert_eq!(decided(&record, 5.0, &undecided(), late - 1).pages(), [""; 0]);
            decided(&record, 5.0, &undecided(), late)
        };
        assert_eq!(by(OnUndecided::Drain).writes(), Some(Share::ZERO));
        assert_eq!(by(OnUndecided::Promote).writes(), Some(share(25.0)));
        assert_eq!(
            (by(OnUndecided::Hold).writes(), by(OnUndecided::Hold).pages()),
            (None, vec!["undecided"])
        );
        let few = of_step(share(5.0), Minute::of(at(1)))
            .step
            .map(|step| StepProgress { canary_requests: 3, ..step });
        let few = Judgement { step: few, ..undecided() };
        let record = Record::on(0).planned(|plan| plan.on_undecided = OnUndecided::Promote);
        assert_eq!(
            decided_as_is(&record, Ok(share(5.0)), &few, late, Ok(3)).writes(),
            None,
            "three requests"
        );
        let suspect = judged(Verdict::Undecided, Reason::HarmSuspected { check: "errors".into() });
        let record = Record::on(0).planned(|plan| plan.on_undecided = OnUndecided::Promote);
        assert_eq!(decided(&record, 5.0, &suspect, late).writes(), None);
    }

    #[test]
    fn ended_rollouts_stay_ended() {
        for phase in [Phase::Drained, Phase::Promoted] {
            for judgement in [healthy(), harmful(), metrics_unread()] {
                let decision = decided(&Record::on(0).in_phase(phase), 5.0, &judgement, 900);
                assert_eq!((decision.writes(), decision.done().phase), (None, phase));
            }
        }
    }

    #[test]
    fn observe_mode_writes_nothing_follows_the_weights_and_pages_once() {
        let record = Record::on(0).planned(|plan| {
            plan.mode = Mode::Observe;
            plan.rules.decide_within = Span::from_minutes(10);
        });
        for (seen, judgement) in [(5.0, harmful()), (5.0, healthy()), (40.0, undecided()), (5.0, undecided())]
        {
            let decision = decided(&record, seen, &judgement, 30);
            assert_eq!(decision.writes(), None, "{judgement:?}");
            assert_ne!(decision.done().phase, Phase::Frozen);
            assert_eq!(decision.done().share(), share(seen));
        }
        let decision = decided(&record, 5.0, &harmful(), 30);
        assert_eq!(decision.pages(), ["observed_harmful"]);
        assert_eq!(decided(decision.done(), 5.0, &harmful(), 31).pages().len(), 1);
        let healthy_first = decided(&record, 5.0, &healthy(), 30);
        let then = decided(healthy_first.done(), 5.0, &harmful(), 31);
        assert_eq!(then.pages(), ["observed_healthy", "observed_harmful"]);
    }

    #[test]
    fn a_burn_in_holds_pages_once_when_it_is_done_and_outlasts_decide_within() {
        let burning = |left| judged(Verdict::Undecided, Reason::BurningIn { minutes_left: left });
        let record = Record::on(0).planned(|plan| {
            plan.rules.decide_within = Span::from_minutes(10);
            plan.on_undecided = OnUndecided::Drain;
        });
        let early = decided(&record, 5.0, &burning(Some(3)), 8);
        assert_eq!((early.action, early.pages().len()), (Action::Hold, 0));
        let done = decided(&record, 5.0, &burning(None), 300);
        assert_eq!((done.action, done.pages()), (Action::Hold, vec!["burnt_in"]));
        assert_eq!(decided(done.done(), 5.0, &burning(None), 301).pages().len(), 1);
    }

    #[test]
    fn a_wrong_split_and_sticky_suspicions_hold_page_once_and_forbid_going_up_without_proof() {
        let split = Reason::SplitOff { expected: share(5.0), observed: share(2.0) };
        let sticky = Reason::SuspectedOfSticky { check: "latency".into() };
        for (reason, page) in [(split, "split_off"), (sticky, "suspected")] {
            let judgement = judged(Verdict::Undecided, reason);
            let record = Record::on(0).planned(|plan| {
                plan.rules.decide_within = Span::from_minutes(10);
                plan.on_undecided = OnUndecided::Promote;
            });
            let first = decided(&record, 5.0, &judgement, 8);
            assert_eq!((first.action, first.pages()), (Action::Hold, vec![page]));
            let second = decided(first.done(), 5.0, &judgement, 9);
            assert_eq!(second.pages().len(), 1);
            let late = decided(first.done(), 5.0, &judgement, 60);
            assert_eq!((late.action, late.pages()), (Action::Hold, vec![page, "undecided"]));
        }
    }

    #[test]
    fn thresholds_are_stored_when_they_are_settled_and_stay() {
        let threshold = |edge| Threshold { quantile: "p95".parse().unwrap(), edge: Edge(edge), samples: 900 };
        let with = |edge| {
            let mut judgement = undecided();
            judgement.thresholds.insert("latency".into(), vec![threshold(edge)]);
            judgement
        };
        let first = decided(&Record::test(), 0.0, &with(-20), 1);
        assert_eq!(first.writes(), Some(share(5.0)));
        assert_eq!(first.done().thresholds["latency"], [threshold(-20)]);
        assert_eq!(first.done().canary_targets, Some(3));
        let later = decided(first.done(), 5.0, &with(-10), 2);
        assert_eq!(later.done().thresholds["latency"], [threshold(-20)]);
        let unread = Judgement { thresholds: with(-20).thresholds, ..metrics_unread() };
        assert!(decided(&Record::test(), 0.0, &unread, 1).done().thresholds.is_empty());
        // While nothing is compared yet, the newest hour counts.
        let waits = with_health(&Record::test(), Ok(share(0.0)), &with(-20), 1, Ok(0));
        assert_eq!(waits.done().phase, Phase::Waiting);
        assert_eq!(decided(waits.done(), 0.0, &with(-10), 9).done().thresholds["latency"], [threshold(-10)]);
    }

    #[test]
    fn a_page_is_about_the_share_before_the_transition_and_has_a_key_of_its_own() {
        let decision = decided(&Record::on(1), 25.0, &harmful(), 20);
        let page = &decision.done().outbox[0];
        assert_eq!(page.share, share(25.0));
        assert_eq!(page.key, "checkout/2026-03-01T10:00:00Z/0/drained");
    }
}
