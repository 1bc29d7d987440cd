//! The decision of one tick.
//!
//! [`decide`] reads from top to bottom in the order of precedence: what must come down comes down first,
//! then what another hand or a crash left behind is settled, then what cannot be seen is held, and only
//! what has passed all that may go up.

use jiff::Timestamp;

use super::effect::{Action, Decision, Effects, Release, Write};
use super::plan::{Mode, OnBlind, OnUndecided};
use super::record::{Audit, Cause, PageKind, Phase, Record, is_leased};
use super::standing::proven;
use crate::analysis::verdict::{Judgement, Reason, StepProgress, Verdict};
use crate::analysis::window::Arm;
use crate::units::{Minute, Share, Span};

/// For so long after a shift the rule may still be shown as it was before: reads of a load balancer lag
/// behind its writes. Longer, and it was set back by another hand.
pub(super) const READ_LAG: Span = Span::from_seconds(90);

/// What a tick knows of one rollout.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// The tick's minute.
    pub tick: Minute,
    /// The canary's share as the rule says now, or why that could not be read.
    pub share: Result<Share, &'a str>,
    /// What the judge says of the whole window.
    pub judgement: &'a Judgement,
    /// What [`arm_to_check`] asks for.
    pub clearance: Clearance<'a>,
}

/// What must be known before weights are written. `None` where nobody looked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clearance<'a> {
    /// Healthy targets of the arm that is to take the traffic, or why they could not be read.
    pub healthy_targets: Option<Result<u32, &'a str>>,
    /// The rule does not exist, or names neither group: it sends the canary nothing.
    pub rule_is_gone: bool,
    /// For the way up: who froze all rollouts, if somebody did, or why that could not be read.
    pub freeze: Option<Result<Option<&'a Audit>, &'a str>>,
}

/// What the tick wants to do, before anybody looked whether the targets can take it.
#[derive(Debug, Clone, PartialEq)]
enum Move {
    Hold(String),
    /// Hold, and page once on this step.
    HoldAndPage(PageKind, String),
    /// Hold although the canary may go up: the reason lies elsewhere.
    HoldBack(String),
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
        Move::HoldBack(why) => keep(Action::Hold, why, next.held_back(now)),
        Move::Drain(why) => drain(next, why, cause(record, input.judgement), input.clearance, now),
        Move::Promote(step, why) => promote(next, step, why, input.clearance, now),
        Move::Finish(why) => {
            let next = next.into_phase(Phase::Promoted, &why, now).paging(PageKind::Promoted, &why, now);
            keep(Action::Finish, why, next)
        }
        Move::Freeze(share, why) => {
            // The page names the share before the change, hence first.
            let next = next.forgetting(PageKind::Frozen).paging_once(PageKind::Frozen, &why, now);
            let next = next.with_share(share, now);
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
            next.paged.retain(|paged| paged.kind == PageKind::ObservedHarmful);
            if next.phase == Phase::Waiting {
                next = next.into_phase(Phase::Running, &why, now);
            }
            let goes_on = record.is_judged_as_a_whole() && share > Share::ZERO;
            if share < Share::FULL && !goes_on {
                next.proven = None;
            }
            next.since = now;
            keep(Action::Hold, why, next)
        }
    }
}

/// Ends a rollout that was started on a listener rule while another one, `holder`, was being started there.
/// Two of them would take each other for another hand.
#[must_use]
pub fn give_way(record: &Record, holder: &str, tick: Minute, now: Timestamp) -> Decision {
    let why = format!("{holder} was started on the same listener rule and came first");
    let next = record.ticked(Some(tick), None).paging(PageKind::NotStarted, &why, now);
    keep(Action::Finish, why.clone(), next.into_phase(Phase::Stopped, &why, now))
}

/// Ends a rollout whose weights were another system's, once that is done with its deployment. Nobody waits there any
/// more; who waits elsewhere, or in a deployment that is only not found, is told.
#[must_use]
pub fn owner_ended(record: &Record, how: &str, tick: Minute, now: Timestamp) -> Decision {
    let mut next = record.ticked(Some(tick), None);
    if record.owner_gone.is_none() {
        next.gates.retain(|gate| gate.told.is_some() || !gate.waiting.is_of(record.owner.as_ref()));
    }
    keep(Action::Finish, how.to_owned(), next.into_phase(Phase::Stopped, how, now))
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
        && !is_leased(intent.at, now)
    {
        // Begun and not done: it may only be begun again on a verdict of its own.
        let why = format!("the shift to {} was begun and the rule still says {share}", intent.share);
        next.intent = None;
        next = next.shift_failed(&why, now);
    }
    if !unread(input) && input.judgement.verdict != Verdict::Blind {
        next = next.forgetting(PageKind::Blind);
    }
    if record.plan.mode == Mode::Observe && !unread(input) {
        let stands = input.share.is_ok_and(|share| share.same_as(record.share()));
        next.proven = proven(record, input.judgement, stands);
    }
    // Harm comes before all else, and where another hand has the weights they are still to be known.
    if let (Mode::Observe, Verdict::Harmful, Ok(share)) =
        (record.plan.mode, input.judgement.verdict, input.share)
        && !record.phase.is_terminal()
        && !share.same_as(record.share())
    {
        next = next.with_share(share, now);
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
    let Some(settled) = settle(record, share, drives, now) else {
        return watch(record, input.judgement, drives, now);
    };
    if share == Share::ZERO && matches!(settled, Move::Freeze(..)) {
        // A drain whose record was lost ends as one, if it would be decided again.
        let again = watch(record, input.judgement, drives, now);
        if matches!(again, Move::Drain(_)) {
            return again;
        }
        if unread(input) {
            return Move::Hold(
                "the rule sends the canary nothing; whether that is ours shows with the metrics".to_owned(),
            );
        }
    }
    settled
}

/// What is seen of a rollout whose weights are in order.
fn watch(record: &Record, judgement: &Judgement, drives: bool, now: Timestamp) -> Move {
    if judgement.verdict == Verdict::Blind {
        return blind(record, &judgement.reason, now);
    }
    match record.phase {
        Phase::Waiting if drives => rise(record, 0, record.why.clone(), now),
        Phase::Paused => Move::Hold(record.why.clone()),
        Phase::Frozen => Move::HoldAndPage(PageKind::Frozen, record.why.clone()),
        _ => advance(record, judgement, now),
    }
}

/// Settles what a crash or another hand left behind; `None` if the rule says what the record says.
fn settle(record: &Record, share: Share, drives: bool, now: Timestamp) -> Option<Move> {
    if let Some(intent) = &record.intent
        && share.same_as(intent.share)
    {
        return Some(Move::Confirm(intent.step, intent.share));
    }
    if let Some(intent) = &record.intent
        && is_leased(intent.at, now)
    {
        return Some(Move::Hold(format!("the shift to {} is under way in another invocation", intent.share)));
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
            up(record, why, now)
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
    // A step that was proven and could not be left has not used up its time.
    let since = record.held_back.map_or(record.since, |held| held.max(record.since));
    if record.share() == Share::ZERO || !lasted(Some(since), record.plan.rules.decide_within, now) {
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
        OnUndecided::Promote if !forbidden(record, judgement) => up(record, why, now),
        OnUndecided::Hold | OnUndecided::Promote => Move::HoldAndPage(PageKind::Undecided, why),
    }
}

/// Whether the judgement is of the step that the rollout stands on. The newest whole minute is some minutes
/// old: for the first ticks after a shift it still lies on the step before, whose health proves nothing here.
pub(super) fn is_of_this_step(record: &Record, judgement: &Judgement) -> bool {
    if record.is_judged_as_a_whole() {
        return judgement.step.as_ref().is_some_and(|step| step.share > Share::ZERO);
    }
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
fn up(record: &Record, why: String, now: Timestamp) -> Move {
    if record.plan.mode == Mode::Observe {
        return Move::HoldAndPage(PageKind::ObservedHealthy, why);
    }
    let next = record.step.map_or(0, |step| step + 1);
    if next < record.plan.steps.len() { rise(record, next, why, now) } else { Move::Finish(why) }
}

/// A step up, unless the calendar forbids it.
fn rise(record: &Record, step: usize, why: String, now: Timestamp) -> Move {
    match record.plan.deny_windows.denies(now) {
        Some(window) => {
            let share = record.plan.steps[step];
            Move::HoldBack(format!("the shift to {share} waits: the plan denies it in {window}"))
        }
        None => Move::Promote(step, why),
    }
}

fn keep(action: Action, why: String, next: Record) -> Decision {
    Decision { action, why, effects: Effects::Record(Box::new(next)) }
}

/// Why a tick drains. What was begun keeps its cause.
fn cause(record: &Record, judgement: &Judgement) -> Cause {
    match (record.phase, judgement.verdict) {
        (Phase::Draining, _) => record.cause.unwrap_or(Cause::Order),
        (_, Verdict::Harmful) => Cause::Harm,
        (_, Verdict::Blind) => Cause::Blind,
        (_, Verdict::Healthy | Verdict::Undecided) => Cause::Undecided,
    }
}

/// Down to zero, unless stable cannot take the traffic.
pub(super) fn drain(
    mut next: Record,
    why: String,
    cause: Cause,
    clearance: Clearance<'_>,
    now: Timestamp,
) -> Decision {
    next.cause = Some(cause);
    if clearance.rule_is_gone {
        let why = format!("{why}; the listener rule sends it nothing any more");
        return keep(Action::Drain, why.clone(), next.drained(&why, now));
    }
    if clearance.healthy_targets == Some(Ok(0)) {
        let stuck = format!("{why}; NOT drained: stable has no healthy target to take the traffic");
        let next = next.into_phase(Phase::Draining, &why, now);
        return keep(Action::Hold, stuck.clone(), next.paging_once(PageKind::DrainBlocked, &stuck, now));
    }
    let failure = format!("{why}; the weights could NOT be written, every tick tries again");
    let failed =
        next.clone().into_phase(Phase::Draining, &why, now).paging_once(PageKind::DrainFailed, &failure, now);
    let done = next.drained(&why, now);
    Decision {
        action: Action::Drain,
        why,
        effects: Effects::WriteThenRecord {
            announced: None,
            write: Write::DRAIN,
            done: Box::new(done),
            failed: Box::new(failed),
        },
    }
}

/// Up to a step, unless all rollouts are frozen or no canary target can take the traffic.
pub(super) fn promote(
    mut next: Record,
    step: usize,
    why: String,
    clearance: Clearance<'_>,
    now: Timestamp,
) -> Decision {
    let share = next.plan.steps[step];
    let waits = |missing: &str| format!("the shift to {share} waits: {missing}");
    match clearance.freeze {
        Some(Ok(None)) => {}
        Some(Ok(Some(by))) => {
            let why = waits(&by.froze_all());
            return keep(Action::Hold, why, next.held_back(now));
        }
        Some(Err(unread)) => {
            let why = waits(&format!("whether all rollouts are frozen was not read: {unread}"));
            return keep(Action::Hold, why.clone(), next.shift_failed(&why, now));
        }
        None => return keep(Action::Hold, waits("nobody looked whether all rollouts are frozen"), next),
    }
    match clearance.healthy_targets {
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
            write: Write { share, release: Release::Nobody },
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
    since.is_some_and(|since| now.duration_since(since) >= span.signed())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;
    use crate::analysis::edge::Edge;
    use crate::analysis::threshold::Threshold;
    use crate::rollout::calendar::DenyWindows;
    use crate::rollout::record::Intent;
    use crate::units::Span;
    use jiff::SignedDuration;

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
    fn a_shift_that_may_still_be_under_way_is_left_to_its_invocation() {
        let mut record = Record::on(0);
        record.intent = Some(Intent { at: at(20), share: share(25.0), step: 1 });
        let soon = at(20) + SignedDuration::from_secs(54);
        let judgement = of_step(share(5.0), Minute::of(at(1)));
        let clearance = cleared(3);
        let decided = |share: Share, judgement: &Judgement, now: Timestamp| {
            decide(&record, &Input { tick: Minute::of(now), share: Ok(share), judgement, clearance }, now)
        };
        let waiting = decided(share(5.0), &judgement, soon);
        assert_eq!((waiting.action, waiting.writes()), (Action::Hold, None));
        assert_eq!((waiting.done().intent.clone(), waiting.done().failed_shifts), (record.intent.clone(), 0));
        // Even another hand's weights: the write may come over them any moment.
        assert_eq!(decided(share(40.0), &judgement, soon).action, Action::Hold);
        let confirmed = decided(share(25.0), &judgement, soon);
        assert_eq!((confirmed.action, confirmed.done().step), (Action::Repair, Some(1)));
        assert_eq!(decided(share(5.0), &harmful(), soon).writes(), Some(Share::ZERO));
        let given_up = decided(share(5.0), &undecided(), at(21));
        assert_eq!((given_up.done().intent.clone(), given_up.done().failed_shifts), (None, 1));
    }

    #[test]
    fn a_drain_that_was_written_and_not_recorded_is_decided_again() {
        let blind = judged(Verdict::Blind, Reason::NoData { minutes: 6 });
        let drained = decided(&Record::on(0), 0.0, &blind, 20);
        assert_eq!((drained.action, drained.done().phase), (Action::Drain, Phase::Drained));
        let patient = Record::on(0).planned(|plan| plan.on_undecided = OnUndecided::Drain);
        assert_eq!(decided(&patient, 0.0, &undecided(), 300).action, Action::Drain);
        // By another hand: nothing of ours would have drained it.
        assert_eq!(decided(&Record::on(0), 0.0, &undecided(), 20).action, Action::Freeze);
        let watching = Record::on(0).planned(|plan| plan.on_blind = OnBlind::Hold);
        assert_eq!(decided(&watching, 0.0, &blind, 20).action, Action::Freeze);
        assert_eq!(decided(&Record::on(0), 0.0, &metrics_unread(), 20).action, Action::Hold);
    }

    #[test]
    fn no_share_rises_while_all_rollouts_are_frozen_or_nobody_knows() {
        let judgement = of_step(share(5.0), Minute::of(at(1)));
        let by = audit();
        for freeze in [Some(Ok(Some(&by))), Some(Err("throttled")), None] {
            let clearance = Clearance { freeze, ..cleared(3) };
            let tick = Minute::of(at(20));
            let input = Input { tick, share: Ok(share(5.0)), judgement: &judgement, clearance };
            let decision = decide(&Record::on(0), &input, at(20));
            assert_eq!((decision.action, decision.writes()), (Action::Hold, None), "{freeze:?}");
        }
    }

    /// All day long, from a quarter of an hour before the tests' start.
    fn denied(record: &Record) -> Record {
        let window = "Sun 09:45 to Sun 23:00".parse().unwrap();
        record.clone().planned(|plan| {
            plan.deny_windows = DenyWindows::new(jiff::tz::TimeZone::UTC, vec![window]);
            plan.on_undecided = OnUndecided::Promote;
        })
    }

    #[test]
    fn no_tick_raises_a_share_in_a_denied_window_and_the_step_does_not_use_up_its_time() {
        let cases = [
            (Record::test(), 0.0, undecided(), 20),
            (Record::on(0), 5.0, healthy(), 20),
            (Record::on(0), 5.0, undecided(), 241),
        ];
        for (record, seen, judgement, minute) in cases {
            let held = decided(&denied(&record), seen, &judgement, minute);
            assert_eq!((held.action, held.writes()), (Action::Hold, None), "{}", held.why);
            assert!(held.why.contains("the plan denies it in Sun 09:45"), "{}", held.why);
            let proven = judgement.verdict == Verdict::Healthy;
            assert_eq!(held.done().held_back, proven.then(|| at(minute)));
            assert!(held.pages().is_empty());
            let after = decided(held.done(), seen, &healthy(), 13 * 60);
            assert_eq!(after.action, Action::Promote, "{}", after.why);
        }
    }

    #[test]
    fn harm_drains_although_shares_may_not_rise_now() {
        let by = audit();
        let clearance = Clearance { freeze: Some(Ok(Some(&by))), ..cleared(3) };
        let judgement = harmful();
        let tick = Minute::of(at(20));
        let input = Input { tick, share: Ok(share(5.0)), judgement: &judgement, clearance };
        let decision = decide(&denied(&Record::on(0)), &input, at(20));
        assert_eq!((decision.writes(), decision.done().phase), (Some(Share::ZERO), Phase::Drained));
    }

    #[test]
    fn an_intent_from_a_clock_far_ahead_is_given_up_like_any_other() {
        let mut record = Record::on(0);
        record.intent = Some(Intent { at: at(500), share: share(25.0), step: 1 });
        let given_up = decided(&record, 5.0, &undecided(), 21);
        assert_eq!((given_up.done().intent.clone(), given_up.done().failed_shifts), (None, 1));
    }

    #[test]
    fn a_proven_step_that_is_held_back_has_not_used_up_its_time() {
        let mut record = Record::on(0).planned(|plan| plan.on_undecided = OnUndecided::Drain);
        record.held_back = Some(at(300));
        assert_eq!(decided(&record, 5.0, &undecided(), 400).action, Action::Hold);
        assert_eq!(decided(&record, 5.0, &undecided(), 540).action, Action::Drain);
    }

    #[test]
    fn an_unproven_step_that_is_held_back_goes_up_when_the_window_ends() {
        let mut record = Record::on(0).planned(|plan| {
            plan.on_undecided = OnUndecided::Promote;
            plan.rules.decide_within = Span::from_minutes(24 * 60);
            let windows = serde_json::json!({ "windows": ["09:00 to 12:00"] });
            plan.deny_windows = serde_json::from_value(windows).unwrap();
        });
        let mut held = 0;
        for minute in 1.. {
            let decision = decided(&record, 5.0, &undecided(), minute);
            if decision.action == Action::Promote {
                break;
            }
            held += i64::from(decision.why.contains("the plan denies it"));
            record = decision.done().clone();
            assert!(minute < 2 * 24 * 60, "still held back: {:?}", record.held_back);
        }
        assert_eq!(held, 119, "from 10:01, when its day is over, until noon");
    }

    #[test]
    fn a_condition_that_lasts_is_reminded_of_and_no_page_waits_twice() {
        let mut record = Record::on(0).in_phase(Phase::Draining);
        let failed = |record: &Record, minute: i64| match decided(record, 5.0, &harmful(), minute).effects {
            Effects::WriteThenRecord { failed, .. } => *failed,
            other => panic!("{other:?}"),
        };
        record = failed(&record, 20);
        assert_eq!(record.outbox.len(), 1);
        assert_eq!(failed(&record, 60).outbox.len(), 1, "the first one is not even sent");
        record.outbox.clear();
        assert!(failed(&record, 34).outbox.is_empty());
        record = failed(&record, 35);
        let page = &record.outbox[0];
        assert_eq!((page.kind, page.reminder), (PageKind::DrainFailed, 1));
        assert!(page.key.ends_with("/drain_failed/1"), "{}", page.key);
        record.outbox.clear();
        assert_eq!(failed(&record, 50).outbox[0].reminder, 2);
        record.plan.remind_every = Span::from_minutes(0);
        assert!(failed(&record, 500).outbox.is_empty());
    }

    #[test]
    fn of_two_rollouts_on_one_rule_the_one_that_came_second_ends() {
        let ended = give_way(&Record::test(), "v41", Minute::of(at(1)), at(1));
        assert_eq!((ended.done().phase, ended.writes()), (Phase::Stopped, None));
        assert_eq!(ended.pages(), ["not_started"]);
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
    fn the_arm_that_is_to_take_the_traffic_is_looked_at() {
        let arm = |judgement: &Judgement| {
            let judgement =
                Judgement { step: of_step(share(5.0), Minute::of(at(1))).step, ..judgement.clone() };
            let (tick, clearance) = (Minute::of(at(20)), Clearance::default());
            let input = Input { tick, share: Ok(share(5.0)), judgement: &judgement, clearance };
            arm_to_check(&Record::on(0), &input, at(20))
        };
        assert_eq!(arm(&harmful()), Some(Arm::Stable));
        assert_eq!(arm(&healthy()), Some(Arm::Canary));
        assert_eq!(arm(&undecided()), None);
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
    fn nothing_is_drained_for_want_of_data_where_nothing_is_ours_to_drain() {
        let silent = judged(Verdict::Blind, Reason::NoData { minutes: 6 });
        let watching = Record::on(0).planned(|plan| plan.mode = Mode::Observe);
        let frozen = Record::on(0).in_phase(Phase::Frozen);
        for (record, seen) in [(watching, 5.0), (frozen, 5.0), (Record::test(), 0.0)] {
            let decision = decided(&record, seen, &silent, 20);
            assert_eq!((decision.action, decision.writes()), (Action::Hold, None), "{:?}", record.phase);
            assert_eq!(decision.pages(), ["blind"]);
        }
        // Somebody else's weights are not ours to drain either, as long as no harm is proven.
        assert_eq!(decided(&Record::on(0), 40.0, &silent, 20).action, Action::Freeze);
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
        for judgement in [healthy(), undecided(), harmful()] {
            let waiting = Record::test().planned(|plan| plan.mode = Mode::Observe);
            assert_eq!(decided(&waiting, 0.0, &judgement, 1).writes(), None, "{judgement:?}");
        }
        let decision = decided(&record, 5.0, &harmful(), 30);
        assert_eq!(decision.pages(), ["observed_harmful"]);
        assert_eq!(decided(decision.done(), 5.0, &harmful(), 31).pages().len(), 1);
        // Harm is told once for the whole rollout, all else once for each share.
        let followed = decided(decision.done(), 40.0, &undecided(), 31);
        assert_eq!(decided(followed.done(), 40.0, &harmful(), 32).pages().len(), 1);
        let late = decided(&record, 5.0, &undecided(), 30);
        let followed = decided(late.done(), 40.0, &undecided(), 31);
        assert_eq!(decided(followed.done(), 40.0, &undecided(), 60).pages(), ["undecided", "undecided"]);
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
