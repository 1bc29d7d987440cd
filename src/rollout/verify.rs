//! After a drain: does the canary stay at zero, and do its requests stop?
//!
//! Weight zero does not move clients that stick to the canary, a shift up of an invocation that was thought dead
//! may land after the drain, and other rules may name the group. A drain is done when nobody is served by the
//! canary any more, and on-call hears of it if that does not come about.

use jiff::{SignedDuration, Timestamp};

use super::decide::{Clearance, READ_LAG};
use super::effect::{Action, Decision, Effects, Release, Write};
use super::record::{Cause, DrainWatch, PageKind, Record};
use crate::analysis::window::Arm;
use crate::units::{Minute, Share};

/// For so long a drained canary is watched.
const WATCH: SignedDuration = SignedDuration::from_mins(15);
/// Minutes before the drain that show how many requests the canary had.
pub const MINUTES_BEFORE: i64 = 5;
/// Minutes after the drain that are looked at: those of the watch, and some for ticks that are late.
pub const MINUTES_AFTER: i64 = 20;
/// Whole minutes with requests after which weight zero has not been enough.
const MINUTES_TO_REMOVE: usize = 3;
/// What may be left of the canary's requests: somebody's probes, or a test listener.
const LEFT_OVER: f64 = 0.1;
/// So many requests a minute are nobody's traffic.
const FEW_REQUESTS: u64 = 10;

/// What a tick sees of a rollout that was drained.
#[derive(Debug, Clone)]
pub struct Aftermath<'a> {
    /// The tick's minute.
    pub tick: Minute,
    /// The canary's share as the rule says now, or why that could not be read.
    pub share: Result<Share, &'a str>,
    /// The canary's requests in the whole minutes from [`MINUTES_BEFORE`] the drain on, oldest first, or why they
    /// could not be read. A minute of which nothing is known is left out.
    pub requests: Result<&'a [(Minute, u64)], &'a str>,
    /// Another rollout that has the listener rule now.
    pub holder: Option<&'a str>,
    /// Another rollout that sends traffic to the canary's group, by another rule.
    pub sharer: Option<&'a str>,
    /// What [`arm_to_check`] asks for.
    pub clearance: Clearance<'a>,
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq)]
enum Finding {
    Wait(String),
    /// Zero must be written again, in this way.
    Write(Release, String),
    /// Nothing is left to be done.
    Settled(String),
    /// Nothing more can be done, and somebody must know.
    Tell(PageKind, String),
}

/// The arm whose targets must be looked at before [`verify`].
#[must_use]
pub fn arm_to_check(record: &Record, aftermath: &Aftermath<'_>, now: Timestamp) -> Option<Arm> {
    matches!(find(record, aftermath, now), Finding::Write(..)).then_some(Arm::Stable)
}

/// Looks after a drained canary. The phase stays what it is, whatever is found.
#[must_use]
pub fn verify(record: &Record, aftermath: &Aftermath<'_>, now: Timestamp) -> Decision {
    let mut next = record.ticked(Some(aftermath.tick), None);
    let (why, next) = match find(record, aftermath, now) {
        Finding::Wait(why) => (why, next),
        Finding::Settled(why) => {
            next.drain = None;
            (why, next)
        }
        Finding::Tell(kind, why) => {
            next.drain = None;
            let next = next.paging(kind, &why, now);
            (why, next)
        }
        Finding::Write(release, why) => {
            // What could not be taken back is taken back later, however long that takes.
            if let (Some(drain), Ok(share)) = (&mut next.drain, aftermath.share)
                && share > Share::ZERO
            {
                drain.late = Some(share);
            }
            return write(next, release, why, aftermath.clearance, now);
        }
    };
    Decision { action: Action::Verify, why, effects: Effects::Record(Box::new(next)) }
}

fn write(next: Record, release: Release, why: String, clearance: Clearance<'_>, now: Timestamp) -> Decision {
    if clearance.healthy_targets == Some(Ok(0)) {
        let stuck = format!("{why}; NOT written: stable has no healthy target to take the traffic");
        let next = next.paging_once(PageKind::DrainBlocked, &stuck, now);
        return Decision { action: Action::Verify, why: stuck, effects: Effects::Record(Box::new(next)) };
    }
    let failure = format!("{why}; the weights could NOT be written, every tick tries again");
    let failed = next.clone().paging_once(PageKind::DrainFailed, &failure, now);
    let removed = release == Release::Group || next.drain.as_ref().is_some_and(|drain| drain.removed);
    let late = next.drain.as_ref().and_then(|drain| drain.late);
    let mut done = Record { drain: Some(DrainWatch { at: now, removed, late }), ..next };
    if release == Release::Group {
        done = done.paging(PageKind::GroupTakenOut, &why, now);
    }
    Decision {
        action: Action::Verify,
        why,
        effects: Effects::WriteThenRecord {
            announced: None,
            write: Write { share: Share::ZERO, release },
            done: Box::new(done),
            failed: Box::new(failed),
        },
    }
}

fn find(record: &Record, aftermath: &Aftermath<'_>, now: Timestamp) -> Finding {
    let Some(drain) = &record.drain else {
        return Finding::Settled(record.why.clone());
    };
    if let Some(holder) = aftermath.holder {
        return Finding::Settled(format!("{holder} has the listener rule now"));
    }
    // A clock that was set back must not prolong the watch for ever.
    let age = now.duration_since(record.since).abs();
    let share = match aftermath.share {
        Ok(share) => share,
        Err(_) if aftermath.clearance.rule_is_gone && age >= READ_LAG.signed() => {
            return Finding::Settled("the listener rule sends the canary nothing any more".to_owned());
        }
        Err(unread) if age < WATCH => {
            return Finding::Wait(format!("drained; the rule's weights were not read: {unread}"));
        }
        Err(unread) => return unchecked(record, &format!("the rule's weights were not read: {unread}")),
    };
    if share > Share::ZERO {
        return raised(record, drain, share, age);
    }
    served(record, drain, aftermath, age)
}

/// The weight is not zero: whose is it?
fn raised(record: &Record, drain: &DrainWatch, share: Share, age: SignedDuration) -> Finding {
    let again = |what: String| Finding::Write(Release::Stickiness, format!("{what}: zero is written again"));
    if drain.late.is_some_and(|late| late.same_as(share)) && age < WATCH {
        return again(format!("a shift to {share} came after the drain"));
    }
    if let [.., before, _] = record.shifts.as_slice()
        && before.share.same_as(share)
        && age < READ_LAG.signed()
    {
        return again(format!("the rule still says {share}"));
    }
    let why = format!("the rule sends {share} to the canary, which was drained: another hand");
    Finding::Tell(PageKind::RaisedAgain, why)
}

/// The weight is zero: are there still requests?
fn served(record: &Record, drain: &DrainWatch, aftermath: &Aftermath<'_>, age: SignedDuration) -> Finding {
    let requests = match aftermath.requests {
        Ok(requests) => requests,
        Err(unread) if age < WATCH => {
            return Finding::Wait(format!("drained; the canary's requests were not read: {unread}"));
        }
        Err(unread) => return unchecked(record, &format!("its requests were not read: {unread}")),
    };
    let drained = Minute::of(record.since);
    let before = requests.iter().filter(|(minute, _)| *minute < drained).map(|(_, count)| *count);
    let few = FEW_REQUESTS.max((before.max().unwrap_or(0) as f64 * LEFT_OVER) as u64);
    // The minute of the write is not whole.
    let since = Minute::of(drain.at).plus(1);
    let after = || requests.iter().filter(|(minute, _)| *minute >= since);
    match after().next_back() {
        None if age < WATCH => Finding::Wait("drained; waiting for a whole minute after it".to_owned()),
        None => unchecked(record, "no whole minute after it was read"),
        Some((minute, count)) if *count <= few => {
            Finding::Settled(format!("drained: the canary had {count} requests in the minute of {minute}"))
        }
        Some((_, count)) if aftermath.sharer.is_some() => Finding::Settled(format!(
            "drained; the canary still gets {count} requests a minute, and {} sends some to its group, too",
            aftermath.sharer.unwrap_or_default()
        )),
        Some((_, count)) if age >= WATCH => Finding::Tell(
            PageKind::StillServed,
            format!("the canary still gets {count} requests a minute although its weight is zero"),
        ),
        Some((_, count)) if !drain.removed && after().count() >= MINUTES_TO_REMOVE => Finding::Write(
            Release::Group,
            format!("the canary still gets {count} requests a minute at weight zero: its group is taken out"),
        ),
        Some((_, count)) => {
            Finding::Wait(format!("drained; the canary still gets {count} requests a minute"))
        }
    }
}

/// Whoever was told that the canary could not be observed knows already.
fn unchecked(record: &Record, why: &str) -> Finding {
    let why = format!("whether the drained canary still gets requests could not be checked: {why}");
    match record.cause {
        Some(Cause::Blind) => Finding::Settled(why),
        _ => Finding::Tell(PageKind::NotVerified, why),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;
    use crate::rollout::record::{Intent, Phase};

    /// Drained at minute 10 from the first step.
    fn drained() -> Record {
        let mut record = Record::on(0).drained("harm", at(10));
        record.outbox.clear();
        record
    }

    /// 300 requests a minute before the drain, and these after it.
    fn minutes(after: &[u64]) -> Vec<(Minute, u64)> {
        let counts = [300, 300, 300, 300, 300, 150].iter().chain(after);
        counts.zip(5..).map(|(count, minute)| (Minute::of(at(minute)), *count)).collect()
    }

    fn looked(record: &Record, seen: f64, after: &[u64], minute: i64) -> Decision {
        seen_by(record, Ok(share(seen)), Ok(after), minute, 3)
    }

    fn seen_by(
        record: &Record,
        share: Result<Share, &str>,
        after: Result<&[u64], &str>,
        minute: i64,
        targets: u32,
    ) -> Decision {
        let minutes = after.map(minutes);
        let clearance = cleared(targets);
        let requests = minutes.as_ref().map(Vec::as_slice).map_err(|unread| *unread);
        let tick = Minute::of(at(minute));
        verify(
            record,
            &Aftermath { tick, share, requests, holder: None, sharer: None, clearance },
            at(minute),
        )
    }

    #[test]
    fn the_watch_ends_when_the_requests_have_stopped() {
        let waiting = looked(&drained(), 0.0, &[], 11);
        assert!(waiting.done().drain.is_some() && waiting.done().needs_ticks());
        let settled = looked(&drained(), 0.0, &[30], 14);
        assert!(!settled.done().needs_ticks(), "a tenth of 300 may be left");
        assert_eq!((settled.action, settled.writes(), settled.pages()), (Action::Verify, None, vec![]));
        assert!(looked(&drained(), 0.0, &[31], 14).done().needs_ticks());
        let fell_later = looked(&drained(), 0.0, &[200, 90, 4], 16);
        assert!(!fell_later.done().needs_ticks());
    }

    #[test]
    fn the_minute_in_which_zero_was_written_proves_nothing() {
        // Zero was written a second after the minute began: few requests came before it, and as many may come after.
        let mut seen = minutes(&[]);
        seen.last_mut().unwrap().1 = 5;
        let clearance = cleared(3);
        let looked = |requests: &[(Minute, u64)]| {
            let tick = Minute::of(at(12));
            let aftermath = Aftermath {
                tick,
                share: Ok(Share::ZERO),
                requests: Ok(requests),
                holder: None,
                sharer: None,
                clearance,
            };
            verify(&drained(), &aftermath, at(12)).done().needs_ticks()
        };
        assert!(looked(&seen));
        seen.push((Minute::of(at(11)), 5));
        assert!(!looked(&seen));
    }

    #[test]
    fn weight_zero_that_is_not_enough_takes_the_group_out_once_and_then_somebody_is_told() {
        assert_eq!(looked(&drained(), 0.0, &[300, 290], 15).writes(), None);
        let removing = looked(&drained(), 0.0, &[300, 290, 280], 16);
        let Effects::WriteThenRecord { write, done, failed, .. } = removing.effects else {
            panic!("a write")
        };
        assert_eq!(write, Write { share: Share::ZERO, release: Release::Group });
        assert_eq!(done.drain, Some(DrainWatch { at: at(16), removed: true, late: None }));
        assert_eq!((failed.phase, failed.outbox[0].kind), (Phase::Drained, PageKind::DrainFailed));
        assert_eq!(done.outbox[0].kind, PageKind::GroupTakenOut);
        // Minutes from before the group was taken out say nothing about that.
        let after = [300, 290, 280, 270, 260, 250, 240, 230];
        assert_eq!(looked(&done, 0.0, &after[..6], 19).writes(), None);
        let told = looked(&done, 0.0, &after, 25);
        assert_eq!((told.writes(), told.pages()), (None, vec!["group_taken_out", "still_served"]));
        assert!(told.why.contains("230 requests a minute"), "{}", told.why);
        assert_eq!((told.done().phase, told.done().drain.clone()), (Phase::Drained, None));
    }

    #[test]
    fn a_late_write_of_ours_is_taken_back_and_another_hand_is_told() {
        let mut record = Record::on(0);
        record.intent = Some(Intent { at: at(10), share: share(25.0), step: 1 });
        let mut record = record.drained("harm", at(10));
        record.outbox.clear();
        let ours = looked(&record, 25.0, &[], 12);
        assert_eq!((ours.writes(), ours.done().phase), (Some(Share::ZERO), Phase::Drained));
        assert!(ours.pages().is_empty() && ours.done().drain.is_some());
        for (record, seen, minute) in [(&record, 30.0, 12), (&record, 25.0, 25), (&drained(), 25.0, 11)] {
            let theirs = looked(record, seen, &[], minute);
            assert_eq!((theirs.writes(), theirs.pages()), (None, vec!["raised_again"]));
            assert!(theirs.done().drain.is_none());
        }
        let blocked = seen_by(&record, Ok(share(25.0)), Ok(&[]), 12, 0);
        assert_eq!((blocked.writes(), blocked.pages()), (None, vec!["drain_blocked"]));
        assert!(blocked.done().drain.is_some());
    }

    #[test]
    fn stables_targets_are_looked_at_before_zero_is_written_again_and_only_then() {
        let seen = |percent: f64, after: &[u64], minute: i64| {
            let minutes = minutes(after);
            let aftermath = Aftermath {
                tick: Minute::of(at(minute)),
                share: Ok(share(percent)),
                requests: Ok(&minutes),
                holder: None,
                sharer: None,
                clearance: Clearance::default(),
            };
            arm_to_check(&drained(), &aftermath, at(minute))
        };
        assert_eq!(seen(5.0, &[], 11), Some(Arm::Stable), "the rule is shown as it was");
        assert_eq!(seen(0.0, &[300, 290, 280], 16), Some(Arm::Stable), "the group is taken out");
        assert_eq!(seen(0.0, &[300], 13), None);
        assert_eq!(seen(40.0, &[], 13), None);
    }

    #[test]
    fn a_watch_in_which_no_whole_minute_came_ends_with_a_page() {
        assert!(looked(&drained(), 0.0, &[], 24).done().needs_ticks());
        let told = looked(&drained(), 0.0, &[], 25);
        assert_eq!((told.pages(), told.done().needs_ticks()), (vec!["not_verified"], true));
        assert_eq!(told.done().drain, None, "only the page is left");
    }

    #[test]
    fn a_rule_that_is_shown_as_it_was_is_drained_again_and_no_other_hand() {
        assert_eq!(looked(&drained(), 5.0, &[], 11).writes(), Some(Share::ZERO));
        assert_eq!(looked(&drained(), 5.0, &[], 12).pages(), ["raised_again"]);
    }

    #[test]
    fn a_share_that_could_not_be_taken_back_is_taken_back_later() {
        let first = looked(&drained(), 5.0, &[], 11);
        let Effects::WriteThenRecord { failed, .. } = first.effects else { panic!("a write") };
        assert_eq!(looked(&failed, 5.0, &[], 13).writes(), Some(Share::ZERO), "no other hand");
        let blocked = seen_by(&drained(), Ok(share(5.0)), Ok(&[]), 11, 0);
        assert_eq!(looked(blocked.done(), 5.0, &[], 20).writes(), Some(Share::ZERO));
        assert_eq!(looked(blocked.done(), 30.0, &[], 20).pages(), ["drain_blocked", "raised_again"]);
    }

    #[test]
    fn a_rule_that_is_gone_and_a_group_that_others_use_end_the_watch_quietly() {
        let clearance = Clearance { rule_is_gone: true, ..Clearance::default() };
        let aftermath = Aftermath {
            tick: Minute::of(at(12)),
            share: Err("not found"),
            requests: Err("unread"),
            holder: None,
            sharer: None,
            clearance,
        };
        assert!(verify(&drained(), &aftermath, at(11)).done().needs_ticks(), "once may be a mistake");
        let gone = verify(&drained(), &aftermath, at(12));
        assert!(gone.pages().is_empty() && !gone.done().needs_ticks());
        let busy = minutes(&[300, 300, 300]);
        let clearance = Clearance::default();
        let shared = Aftermath {
            share: Ok(Share::ZERO),
            requests: Ok(&busy),
            sharer: Some("v2"),
            clearance,
            ..aftermath
        };
        let settled = verify(&drained(), &shared, at(16));
        assert_eq!((settled.writes(), settled.pages()), (None, vec![]));
        assert!(!settled.done().needs_ticks());
    }

    #[test]
    fn what_cannot_be_read_is_waited_for_and_then_told_unless_it_was_the_reason() {
        for (share, after) in [(Err("denied"), Ok(&[300_u64][..])), (Ok(Share::ZERO), Err("denied"))] {
            let waiting = seen_by(&drained(), share, after, 24, 3);
            assert!(waiting.done().needs_ticks() && waiting.pages().is_empty());
            let told = seen_by(&drained(), share, after, 25, 3);
            assert_eq!(told.pages(), ["not_verified"]);
            let mut blind = drained();
            blind.cause = Some(Cause::Blind);
            let settled = seen_by(&blind, share, after, 25, 3);
            assert!(settled.pages().is_empty() && !settled.done().needs_ticks());
        }
    }

    #[test]
    fn a_new_rollout_on_the_rule_ends_the_watch() {
        let aftermath = Aftermath {
            tick: Minute::of(at(12)),
            share: Ok(share(5.0)),
            requests: Err("unread"),
            holder: Some("v43"),
            sharer: None,
            clearance: Clearance::default(),
        };
        let decision = verify(&drained(), &aftermath, at(12));
        assert_eq!((decision.writes(), decision.pages()), (None, vec![]));
        assert!(!decision.done().needs_ticks());
    }
}
