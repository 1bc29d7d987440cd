//! What a person or a pipeline may ask of a running rollout, as pure as the tick's decision.

use jiff::Timestamp;

use super::decide::{Clearance, drain, promote};
use super::effect::{Action, Decision, Effects};
use super::plan::Mode;
use super::record::{Audit, Cause, PageKind, Phase, Record};
use crate::analysis::window::Arm;
use crate::units::{Minute, Share};

/// Which weights a frozen rollout goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Those that the other hand wrote.
    Adopt,
    /// Those of the rollout's own step.
    Restore,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Stop going up; keep watching.
    Pause,
    /// Go on; a frozen rollout needs to know with which weights.
    Resume(Option<Resume>),
    /// Go to the next step now, without proof.
    Promote,
    /// Drain now.
    Abort,
    /// Drain now: a CloudWatch alarm went off. Where nothing may be written, only tell.
    Brake,
}

impl Order {
    /// It takes the canary out of the traffic.
    #[must_use]
    pub fn drains(self) -> bool {
        matches!(self, Self::Abort | Self::Brake)
    }

    /// The word for it in events, logs and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume(_) => "resume",
            Self::Promote => "promote",
            Self::Abort => "abort",
            Self::Brake => "brake",
        }
    }
}

/// What the rule and the targets look like while the order is considered.
#[derive(Debug, Clone)]
pub struct Sight<'a> {
    /// The canary's share as the rule says now, or why that could not be read.
    pub share: Result<Share, &'a str>,
    /// A rollout that was started on the same listener rule after this one.
    pub later: Option<&'a str>,
    /// What [`arm_to_check`] asks for.
    pub clearance: Clearance<'a>,
}

/// Why an order can't be followed. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

/// The arm whose targets the order depends on.
#[must_use]
pub fn arm_to_check(record: &Record, order: Order) -> Option<Arm> {
    match order {
        Order::Abort | Order::Brake if record.plan.mode == Mode::Drive => Some(Arm::Stable),
        Order::Promote | Order::Resume(Some(Resume::Restore)) => Some(Arm::Canary),
        _ => None,
    }
}

/// Decides what an order does.
///
/// # Errors
/// If it makes no sense for a rollout in this phase, or would send traffic where none can be served.
pub fn obey(
    record: &Record,
    order: Order,
    sight: &Sight<'_>,
    by: &Audit,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let drains = order.drains();
    let why = match order {
        Order::Brake => format!("{} went off: {}", by.actor, by.reason),
        _ => format!("{} by {}: {}", order.name(), by.actor, by.reason),
    };
    if record.phase == Phase::Promoted && drains && record.plan.mode == Mode::Drive {
        return roll_back(record, order, sight, why, now);
    }
    if record.phase.is_terminal() {
        return refuse(format!(
            "{} has already ended ({}): {}",
            record.id(),
            record.phase.name(),
            record.why
        ));
    }
    if record.phase == Phase::Draining && !drains {
        return refuse(format!("{} is being drained: {}", record.id(), record.why));
    }
    match order {
        Order::Pause => pause(record, &why, now),
        Order::Resume(weights) => resume(record, weights, sight, why, now),
        Order::Promote => skip_ahead(record, sight, why, now),
        Order::Brake if record.plan.mode == Mode::Observe => {
            let next = record.clone().paging_once(PageKind::ObservedHarmful, &why, now);
            keep(why, next)
        }
        Order::Abort | Order::Brake => Ok(abort(record, sight, why, now)),
    }
}

fn keep(why: String, next: Record) -> Result<Decision, Refusal> {
    Ok(Decision { action: Action::Hold, why, effects: Effects::Record(Box::new(next)) })
}

fn pause(record: &Record, why: &str, now: Timestamp) -> Result<Decision, Refusal> {
    match record.phase {
        Phase::Waiting => refuse("the first shift has not been made yet: abort it, or pause it after that"),
        Phase::Running => keep(why.to_owned(), record.clone().into_phase(Phase::Paused, why, now)),
        phase => refuse(format!("{} is {} already", record.id(), phase.name())),
    }
}

fn resume(
    record: &Record,
    weights: Option<Resume>,
    sight: &Sight<'_>,
    why: String,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    match (record.phase, weights) {
        (Phase::Paused, None) => keep(why.clone(), record.clone().into_phase(Phase::Running, &why, now)),
        (Phase::Running, None) if is_burning_in(record) => {
            let mut next = record.clone().into_phase(Phase::Running, &why, now);
            next.burnt_in = Some(Minute::of(now).plus(1));
            keep(why, next)
        }
        (Phase::Running, None) if record.burnt_in.is_some() => refuse("the burn-in has ended already"),
        (Phase::Paused, Some(_)) => refuse("only a frozen rollout takes `weights`"),
        (Phase::Frozen, Some(Resume::Adopt)) => adopt(record, sight, why, now),
        (Phase::Frozen, Some(Resume::Restore)) => restore(record, sight, why, now),
        (Phase::Frozen, None) => refuse(
            "the weights were changed by somebody else: say `weights: adopt` to go on with theirs, or \
             `weights: restore` to write the step's own",
        ),
        (phase, _) => refuse(format!("{} is {}, not paused or frozen", record.id(), phase.name())),
    }
}

/// Both groups run the same version until somebody says otherwise.
fn is_burning_in(record: &Record) -> bool {
    record.plan.rules.burn_in.seconds() > 0 && record.share() > Share::ZERO && record.burnt_in.is_none()
}

/// Goes on with the weights that the other hand wrote.
fn adopt(record: &Record, sight: &Sight<'_>, why: String, now: Timestamp) -> Result<Decision, Refusal> {
    let share = match sight.share {
        Ok(share) => share,
        Err(unread) => return refuse(format!("the rule's weights were not read: {unread}")),
    };
    if share == Share::ZERO {
        return refuse(
            "the canary stands at 0 %, and stays there: abort the rollout, or resume with `weights: restore`",
        );
    }
    // The step that the share has reached. A share below the first step counts as the first.
    let below = record.plan.steps.iter().filter(|step| **step <= share || step.same_as(share));
    let step = below.count().saturating_sub(1);
    let next = record.clone().on_step(step, share, now).into_phase(Phase::Running, &why, now);
    if share == Share::FULL {
        let next = next.into_phase(Phase::Promoted, &why, now).paging(PageKind::Promoted, &why, now);
        return Ok(Decision { action: Action::Finish, why, effects: Effects::Record(Box::new(next)) });
    }
    keep(why, next)
}

/// Writes the step's own share again.
fn restore(record: &Record, sight: &Sight<'_>, why: String, now: Timestamp) -> Result<Decision, Refusal> {
    let Some(step) = record.step else {
        return keep(why.clone(), record.clone().into_phase(Phase::Waiting, &why, now));
    };
    // Frozen until the weights stand: a write that fails must not leave it running on another hand's.
    let mut decision = write_step(record.clone(), step, sight, why, now)?;
    if let Effects::RecordThenWrite { done, .. } = &mut decision.effects
        && done.phase == Phase::Frozen
    {
        done.phase = Phase::Running;
    }
    Ok(decision)
}

/// A person's word instead of proof.
fn skip_ahead(record: &Record, sight: &Sight<'_>, why: String, now: Timestamp) -> Result<Decision, Refusal> {
    if record.plan.mode == Mode::Observe {
        return refuse("the plan's mode is observe: canary-gate writes no weights");
    }
    if record.phase == Phase::Frozen {
        return refuse("the weights were changed by somebody else: resume first");
    }
    if is_burning_in(record) {
        return refuse("both groups still run the same version: deploy the new one and resume first");
    }
    if record.intent.is_some() {
        return refuse("a shift is under way: ask again after the next tick");
    }
    let step = record.step.map_or(0, |step| step + 1);
    if step >= record.plan.steps.len() {
        let next = record.clone().into_phase(Phase::Promoted, &why, now);
        let next = next.paging(PageKind::Promoted, &why, now);
        return Ok(Decision { action: Action::Finish, why, effects: Effects::Record(Box::new(next)) });
    }
    match sight.share {
        Ok(share) if !share.same_as(record.share()) => refuse(format!(
            "the rule sends {share} to the canary; canary-gate had left it at {}: the next tick will freeze \
             the rollout",
            record.share()
        )),
        Ok(_) => write_step(record.clone(), step, sight, why, now),
        Err(unread) => refuse(format!("the rule's weights were not read: {unread}")),
    }
}

fn write_step(
    record: Record,
    step: usize,
    sight: &Sight<'_>,
    why: String,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let decision = promote(record, step, why, sight.clearance, now);
    if decision.action == Action::Hold { refuse(decision.why) } else { Ok(decision) }
}

/// Drains a rollout that has ended well, while its window is open and stable is still there.
fn roll_back(
    record: &Record,
    order: Order,
    sight: &Sight<'_>,
    why: String,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let window = record.plan.rollback_window;
    if !record.can_be_rolled_back(now) {
        return refuse(format!(
            "{} has ended well at {}, and its rollback_window ({window}) is over: shift the weights by hand",
            record.id(),
            record.since
        ));
    }
    if let Some(later) = sight.later {
        return refuse(format!(
            "{later} was started on this listener rule since: abort that one, or shift the weights by hand"
        ));
    }
    match sight.share {
        Ok(share) if share.same_as(record.share()) => {}
        Ok(share) => {
            return refuse(format!(
                "the rule sends {share} to the canary; canary-gate had left it at {}: somebody else has it now, \
                 shift the weights by hand",
                record.share()
            ));
        }
        Err(unread) => return refuse(format!("the rule's weights were not read: {unread}")),
    }
    match sight.clearance.healthy_targets {
        Some(Ok(targets)) if targets > 0 => {}
        Some(Ok(_)) if order == Order::Brake => {
            // Nobody waits for an alarm's answer.
            let why = format!("{why}; NOT rolled back: stable has no healthy target to take the traffic");
            let next = record.clone().paging_once(PageKind::DrainBlocked, &why, now);
            return keep(why, next);
        }
        Some(Ok(_)) => {
            return refuse(
                "stable has no healthy target to take the traffic: get some healthy, then ask again",
            );
        }
        Some(Err(unread)) => return refuse(format!("stable's target health was not read: {unread}")),
        None => return refuse("nobody looked at stable's target health"),
    }
    Ok(ordered_drain(record, why, sight, now))
}

/// A drain that is announced: no tick would decide it again.
fn ordered_drain(record: &Record, why: String, sight: &Sight<'_>, now: Timestamp) -> Decision {
    let mut draining = record.clone().into_phase(Phase::Draining, &why, now);
    let cause = record.cause.filter(|_| record.phase == Phase::Draining).unwrap_or(Cause::Order);
    let mut decision = drain(record.clone(), why, cause, sight.clearance, now);
    draining.cause = Some(cause);
    if let Effects::WriteThenRecord { announced, .. } = &mut decision.effects {
        *announced = Some(Box::new(draining));
    }
    decision
}

/// Drains, whatever the phase. Where nothing may be written it only ends the watch; where the canary never
/// had traffic, and no shift of ours is under way, there is nothing to write.
fn abort(record: &Record, sight: &Sight<'_>, why: String, now: Timestamp) -> Decision {
    if record.plan.mode == Mode::Observe {
        let share = sight.share.unwrap_or_else(|_| record.share());
        let why = format!("{why}; the watch ended with {share} of the traffic on the canary");
        let next = record.clone().with_share(share, now).into_phase(Phase::Stopped, &why, now);
        return Decision { action: Action::Finish, why, effects: Effects::Record(Box::new(next)) };
    }
    if record.phase == Phase::Waiting && record.intent.is_none() && sight.share == Ok(Share::ZERO) {
        let next = record.clone().paging(PageKind::Drained, &why, now).into_phase(Phase::Drained, &why, now);
        return Decision { action: Action::Drain, why, effects: Effects::Record(Box::new(next)) };
    }
    ordered_drain(record, why, sight, now)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;
    use crate::units::Span;

    fn sight(seen: f64, targets: u32) -> Sight<'static> {
        Sight { share: Ok(share(seen)), later: None, clearance: cleared(targets) }
    }

    fn asked(record: &Record, order: Order, seen: f64) -> Result<Decision, Refusal> {
        let sight = sight(seen, 3);
        obey(record, order, &sight, &audit(), at(30))
    }

    #[test]
    fn a_pause_and_its_resume_are_audited() {
        let paused = asked(&Record::on(0), Order::Pause, 5.0).unwrap();
        assert_eq!(paused.done().phase, Phase::Paused);
        assert_eq!(paused.done().why, "pause by ana: release");
        assert!(asked(paused.done(), Order::Pause, 5.0).is_err());
        let resumed = asked(paused.done(), Order::Resume(None), 5.0).unwrap();
        assert_eq!((resumed.done().phase, resumed.writes()), (Phase::Running, None));
        assert!(asked(&Record::test(), Order::Pause, 0.0).is_err());
    }

    #[test]
    fn a_frozen_rollout_must_be_told_which_weights_to_go_on_with() {
        let mut frozen = Record::on(0).in_phase(Phase::Frozen);
        frozen.shifts.push(crate::rollout::record::Shift { at: at(20), share: share(30.0) });
        assert!(asked(&frozen, Order::Resume(None), 30.0).is_err());
        let adopted = asked(&frozen, Order::Resume(Some(Resume::Adopt)), 30.0).unwrap();
        assert_eq!((adopted.done().step, adopted.done().share()), (Some(1), share(30.0)));
        assert_eq!((adopted.done().phase, adopted.writes()), (Phase::Running, None));
        let restored = asked(&frozen, Order::Resume(Some(Resume::Restore)), 30.0).unwrap();
        assert_eq!(restored.writes(), Some(share(5.0)));
        assert_eq!(restored.done().phase, Phase::Running);
    }

    #[test]
    fn adopted_weights_lie_on_the_step_that_they_have_reached() {
        let frozen = Record::on(0).in_phase(Phase::Frozen);
        for (seen, step) in [(1.0, 0), (5.0, 0), (24.0, 0), (25.0, 1), (49.0, 1), (60.0, 2)] {
            let adopted = asked(&frozen, Order::Resume(Some(Resume::Adopt)), seen).unwrap();
            assert_eq!((adopted.done().step, adopted.done().share()), (Some(step), share(seen)));
        }
    }

    #[test]
    fn resume_ends_a_burn_in_once_and_is_refused_without_one() {
        let burning = Record::on(0).planned(|plan| plan.rules.burn_in = Span::from_minutes(30));
        let resumed = asked(&burning, Order::Resume(None), 5.0).unwrap();
        let done = resumed.done();
        assert_eq!((done.phase, done.since, resumed.writes()), (Phase::Running, at(30), None));
        assert_eq!(done.burnt_in, Some(Minute::of(at(31))));
        assert!(asked(done, Order::Resume(None), 5.0).unwrap_err().0.contains("ended already"));
        assert!(asked(&Record::on(0), Order::Resume(None), 5.0).is_err());
        assert!(asked(&burning, Order::Promote, 5.0).unwrap_err().0.contains("resume first"));
        // Before the first shift nothing burns in yet.
        let waiting = Record::test().planned(|plan| plan.rules.burn_in = Span::from_minutes(30));
        assert_eq!(asked(&waiting, Order::Promote, 0.0).unwrap().writes(), Some(share(5.0)));
    }

    #[test]
    fn zero_is_never_adopted_and_everything_ends_the_rollout() {
        let frozen = Record::on(0).in_phase(Phase::Frozen);
        assert!(asked(&frozen, Order::Resume(Some(Resume::Adopt)), 0.0).is_err());
        let all = asked(&frozen, Order::Resume(Some(Resume::Adopt)), 100.0).unwrap();
        assert_eq!(all.done().phase, Phase::Promoted);
    }

    #[test]
    fn promote_takes_one_step_and_needs_a_canary_that_can_serve_it() {
        let decision = asked(&Record::on(0), Order::Promote, 5.0).unwrap();
        assert_eq!(decision.writes(), Some(share(25.0)));
        assert!(asked(&Record::on(0), Order::Promote, 40.0).is_err(), "foreign weights");
        assert!(asked(&Record::on(0).in_phase(Phase::Frozen), Order::Promote, 5.0).is_err());
        let sight = sight(5.0, 0);
        assert!(obey(&Record::on(0), Order::Promote, &sight, &audit(), at(30)).is_err());
    }

    #[test]
    fn the_arm_that_is_to_take_the_traffic_is_looked_at() {
        let orders = [
            (Order::Abort, Some(Arm::Stable)),
            (Order::Brake, Some(Arm::Stable)),
            (Order::Promote, Some(Arm::Canary)),
            (Order::Resume(Some(Resume::Restore)), Some(Arm::Canary)),
            (Order::Resume(Some(Resume::Adopt)), None),
            (Order::Resume(None), None),
            (Order::Pause, None),
        ];
        for (order, arm) in orders {
            assert_eq!(arm_to_check(&Record::on(0), order), arm, "{order:?}");
        }
        let watching = Record::on(0).planned(|plan| plan.mode = Mode::Observe);
        assert_eq!(arm_to_check(&watching, Order::Abort), None);
    }

    #[test]
    fn nobody_begins_a_shift_while_another_one_is_under_way() {
        let mut record = Record::on(0);
        record.intent = Some(crate::rollout::record::Intent { at: at(29), share: share(25.0), step: 1 });
        let refusal = asked(&record, Order::Promote, 5.0).unwrap_err();
        assert!(refusal.0.contains("under way"), "{refusal}");
    }

    #[test]
    fn nobodys_word_revives_a_rollout_that_has_ended_or_is_being_drained() {
        let up = [
            Order::Pause,
            Order::Resume(None),
            Order::Resume(Some(Resume::Adopt)),
            Order::Resume(Some(Resume::Restore)),
            Order::Promote,
        ];
        for phase in [Phase::Drained, Phase::Promoted, Phase::Stopped, Phase::Draining] {
            for order in up {
                let refusal = asked(&Record::on(0).in_phase(phase), order, 5.0).unwrap_err();
                let words = ["already ended", "is being drained"].map(|words| refusal.0.contains(words));
                assert_eq!(words, [phase != Phase::Draining, phase == Phase::Draining], "{refusal}");
            }
        }
    }

    #[test]
    fn abort_drains_in_every_phase_but_the_terminal_ones() {
        for phase in [Phase::Running, Phase::Paused, Phase::Frozen, Phase::Draining] {
            let decision = asked(&Record::on(0).in_phase(phase), Order::Abort, 5.0).unwrap();
            assert_eq!((decision.writes(), decision.done().phase), (Some(Share::ZERO), Phase::Drained));
            assert_eq!(decision.pages(), ["drained"]);
        }
        let waiting = asked(&Record::test(), Order::Abort, 0.0).unwrap();
        assert_eq!((waiting.writes(), waiting.done().phase), (None, Phase::Drained));
        for phase in [Phase::Drained, Phase::Stopped] {
            let refusal = asked(&Record::on(0).in_phase(phase), Order::Abort, 5.0).unwrap_err();
            assert!(refusal.0.contains("already ended"), "{refusal}");
        }
    }

    #[test]
    fn an_abort_takes_back_a_promotion_while_its_window_is_open() {
        let promoted = || {
            let mut record = Record::on(3).in_phase(Phase::Promoted);
            record.since = at(10);
            record
        };
        let decision = asked(&promoted(), Order::Abort, 100.0).unwrap();
        assert_eq!((decision.writes(), decision.done().phase), (Some(Share::ZERO), Phase::Drained));
        assert_eq!(decision.pages(), ["drained"]);
        assert!(decision.done().drain.is_some());
        let short = promoted().planned(|plan| plan.rollback_window = Span::from_minutes(20));
        assert!(asked(&short, Order::Abort, 100.0).unwrap_err().0.contains("rollback_window (20m) is over"));
        let gone = obey(&promoted(), Order::Abort, &sight(100.0, 0), &audit(), at(30));
        assert!(gone.unwrap_err().0.contains("stable has no healthy target"));
        let taken = Sight { later: Some("v43"), ..sight(100.0, 3) };
        assert!(obey(&promoted(), Order::Abort, &taken, &audit(), at(30)).unwrap_err().0.contains("v43"));
        let watching = promoted().planned(|plan| plan.mode = Mode::Observe);
        assert!(asked(&watching, Order::Abort, 100.0).is_err());
        assert!(asked(&promoted(), Order::Pause, 100.0).is_err());
    }

    #[test]
    fn an_alarm_drains_like_an_abort_and_only_tells_where_nothing_may_be_written() {
        let braked = asked(&Record::on(0), Order::Brake, 5.0).unwrap();
        assert_eq!((braked.writes(), braked.done().phase), (Some(Share::ZERO), Phase::Drained));
        assert_eq!(braked.done().why, "ana went off: release");
        let watching = Record::on(0).planned(|plan| plan.mode = Mode::Observe);
        let told = asked(&watching, Order::Brake, 5.0).unwrap();
        assert_eq!((told.writes(), told.done().phase), (None, Phase::Running));
        assert_eq!(told.pages(), ["observed_harmful"]);
    }

    #[test]
    fn a_rollout_whose_rule_is_gone_can_be_ended() {
        let clearance = Clearance { rule_is_gone: true, ..cleared(3) };
        let gone = Sight { share: Err("not found"), clearance, ..sight(5.0, 3) };
        for phase in [Phase::Running, Phase::Draining, Phase::Frozen] {
            let record = Record::on(0).in_phase(phase);
            let ended = obey(&record, Order::Abort, &gone, &audit(), at(30)).unwrap();
            assert_eq!((ended.writes(), ended.done().phase), (None, Phase::Drained));
        }
    }

    #[test]
    fn nobodys_word_raises_a_share_while_all_rollouts_are_frozen() {
        let by = audit();
        let clearance = Clearance { freeze: Some(Ok(Some(&by))), ..cleared(3) };
        let frozen = Sight { clearance, ..sight(5.0, 3) };
        let refusal = obey(&Record::on(0), Order::Promote, &frozen, &by, at(30)).unwrap_err();
        assert!(refusal.0.contains("all rollouts are frozen by ana: release"), "{refusal}");
        let foreign = Record::on(0).in_phase(Phase::Frozen);
        assert!(obey(&foreign, Order::Resume(Some(Resume::Restore)), &frozen, &by, at(30)).is_err());
        assert!(obey(&Record::on(0), Order::Abort, &frozen, &by, at(30)).is_ok());
    }

    #[test]
    fn whoever_aborts_what_is_drained_for_harm_does_not_change_why() {
        let mut harmful = Record::on(0).in_phase(Phase::Draining);
        harmful.cause = Some(Cause::Harm);
        assert_eq!(asked(&harmful, Order::Abort, 5.0).unwrap().done().cause, Some(Cause::Harm));
        let mut before = Record::on(0);
        before.cause = Some(Cause::Harm);
        assert_eq!(asked(&before, Order::Abort, 5.0).unwrap().done().cause, Some(Cause::Order));
    }

    #[test]
    fn resume_says_whether_a_burn_in_has_ended_or_there_was_none() {
        let mut ended = Record::on(0).planned(|plan| plan.rules.burn_in = Span::from_minutes(30));
        ended.burnt_in = Some(Minute::of(at(20)));
        assert!(asked(&ended, Order::Resume(None), 5.0).unwrap_err().0.contains("ended already"));
        let refusal = asked(&Record::on(0), Order::Resume(None), 5.0).unwrap_err();
        assert!(refusal.0.contains("is running, not paused or frozen"), "{refusal}");
    }

    #[test]
    fn what_somebody_else_has_now_is_not_rolled_back_and_an_alarm_that_cannot_is_told() {
        let promoted = || {
            let mut record = Record::on(3).in_phase(Phase::Promoted);
            record.since = at(20);
            record
        };
        let refusal = asked(&promoted(), Order::Abort, 50.0).unwrap_err();
        assert!(refusal.0.contains("somebody else has it now"), "{refusal}");
        let unhealthy = sight(100.0, 0);
        let refusal = obey(&promoted(), Order::Abort, &unhealthy, &audit(), at(30)).unwrap_err();
        assert!(refusal.0.contains("no healthy target"), "{refusal}");
        let told = obey(&promoted(), Order::Brake, &unhealthy, &audit(), at(30)).unwrap();
        assert_eq!((told.writes(), told.pages()), (None, vec!["drain_blocked"]));
    }

    #[test]
    fn observe_mode_writes_nothing_on_anybodys_word() {
        let record = Record::on(0).planned(|plan| plan.mode = Mode::Observe);
        assert!(asked(&record, Order::Promote, 5.0).is_err());
        let ended = asked(&record, Order::Abort, 5.0).unwrap();
        assert_eq!((ended.writes(), ended.done().share()), (None, share(5.0)));
        assert_eq!((ended.done().phase, ended.pages()), (Phase::Stopped, vec![]));
    }

    #[test]
    fn an_abort_writes_zero_while_a_shift_is_under_way_even_if_the_rule_shows_zero() {
        let mut record = Record::test();
        record.intent = Some(crate::rollout::record::Intent { at: at(1), share: share(5.0), step: 0 });
        assert_eq!(asked(&record, Order::Abort, 0.0).unwrap().writes(), Some(Share::ZERO));
        assert_eq!(asked(&Record::on(0), Order::Abort, 0.0).unwrap().writes(), Some(Share::ZERO));
    }
}
