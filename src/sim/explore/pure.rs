//! The pure decision over every input, in every world that can come about, the nearest first.
//!
//! A world is a record and what the rule says. Times in it are ages, and only as exact as the thresholds that
//! they are compared with; versions, reasons in words and evidence are dropped. What is left is finite, and
//! is gone through from the start of a rollout: every verdict, every way to read the rule, the targets and the
//! freeze, every order, another hand, and every way in which the carrying out may end early.

use std::collections::{BTreeMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::stage;
use crate::analysis::verdict::{Blast, Judgement, Reason, StepProgress, Verdict};
use crate::analysis::window::Arm;
use crate::config::{Scope, parse_plan_value};
use crate::rollout::command::{self, Order, Resume, Sight, obey};
use crate::rollout::decide::{Clearance, Input, arm_to_check};
use crate::rollout::effect::{Decision, Effects};
use crate::rollout::plan::{Mode, OnBlind, OnUndecided, Plan};
use crate::rollout::record::{Audit, DrainWatch, PageKind, Phase, Record, Shift, is_leased};
use crate::rollout::verify::{self, Aftermath};
use crate::units::{Minute, Share, Span};

/// The share that another hand writes: no step of any plan.
const FOREIGN: f64 = 37.0;
/// What the plan's own times are set to, so that few ages differ.
const LONG: Span = Span::from_minutes(10);
/// Broken rules that are told.
const TOLD: usize = 10;

/// A time in the plan's deny window, and one outside it. Every record is seen from one of them.
const DENIED: Timestamp = Timestamp::constant(1_772_326_800, 0);
const OPEN: Timestamp = Timestamp::constant(1_772_359_200, 0);

/// The rules of going up and down, in words of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Covered {
    /// Worlds that can come about.
    pub states: u64,
    /// Those of them that were met and, for want of time, not gone on from; none if this is a fixpoint.
    pub left: u64,
    /// Decisions with one way in which their carrying out may end.
    pub edges: u64,
    /// Decisions.
    pub decisions: u64,
    /// Rules that were looked at.
    pub checked: u64,
    /// How often each decision was taken.
    pub actions: BTreeMap<&'static str, u64>,
    /// Rules that were found broken.
    pub broken: Vec<String>,
}

impl Covered {
    /// Adds another search's.
    pub fn add(&mut self, other: Self) {
        self.states += other.states;
        self.left += other.left;
        self.edges += other.edges;
        self.decisions += other.decisions;
        self.checked += other.checked;
        for (action, times) in other.actions {
            *self.actions.entry(action).or_default() += times;
        }
        self.broken.extend(other.broken);
    }
}

/// The function that decides about a running rollout; another one shows that the search finds its faults.
pub type Decide = dyn Fn(&Record, &Input<'_>, Timestamp) -> Decision;

/// A record and the cloud round it.
#[derive(Debug, Clone)]
struct World {
    record: Record,
    rule: Share,
    /// What a read that lags behind still shows.
    stale: Option<Share>,
    /// Only canary-gate has written the rule, and every drain of its is on record.
    clean: bool,
}

/// A world without what makes no difference.
type Key = (u8, Vec<u16>, Vec<(u8, u16)>, Vec<u8>, bool);

/// The plans that are gone through, by name.
#[must_use]
pub fn plans() -> Vec<(&'static str, Plan)> {
    let base = |steps: &[&str]| {
        let mut plan = stage::plan("search", steps);
        plan["deny_windows"] = serde_json::json!(["00:00 to 06:00"]);
        let checked = parse_plan_value(&plan, Scope::Rollout).expect("the plan of the search is accepted");
        let mut plan = checked.plan;
        plan.rules.decide_within = LONG;
        plan.rules.blind_after = LONG;
        plan.remind_every = LONG;
        plan.rollback_window = LONG;
        plan
    };
    let two = || base(&["50%", "100%"]);
    vec![
        ("two steps", two()),
        ("short of the end", base(&["50%"])),
        ("no drain", Plan { on_blind: OnBlind::Hold, on_undecided: OnUndecided::Promote, ..two() }),
        ("drains all", Plan { on_undecided: OnUndecided::Drain, ..two() }),
        ("observes", Plan { mode: Mode::Observe, ..two() }),
    ]
}

fn share(percent: f64) -> Share {
    Share::from_percent(percent).expect("a percentage")
}

fn tenths(share: Share) -> u16 {
    (share.percent() * 10.0).round() as u16
}

/// The oldest of these ages that has been reached.
fn clip(age: SignedDuration, ages: &[i64]) -> i64 {
    let seconds = age.as_secs();
    ages.iter().copied().filter(|at| *at <= seconds).max().unwrap_or(0)
}

/// Ages that matter: the lease, the lag of reads, late writes after a drain, the plan's times, the drain's watch.
const LEASE: [i64; 2] = [0, 60];
const LAG: [i64; 3] = [0, 60, 120];
const PLANNED: [i64; 2] = [0, 600];
const AFTER: [i64; 4] = [0, 120, 300, 900];

/// Pages of these may wait to be sent.
const LEFT: [PageKind; 2] = [PageKind::Drained, PageKind::Promoted];

impl World {
    fn begin(plan: &Plan) -> Self {
        let audit = Audit { actor: "ana".into(), reason: "the search".into(), at: OPEN };
        let record = Record::new(plan.clone(), audit, false);
        Self { record, rule: Share::ZERO, stale: None, clean: true }
    }

    /// The same world, with all times as seen from `now` instead of `then`, and without what makes no difference.
    fn seen_from(mut self, then: Timestamp, now: Timestamp) -> Self {
        let old = |at: Timestamp, ages: &[i64]| {
            now - SignedDuration::from_secs(clip(then.duration_since(at), ages))
        };
        let record = &mut self.record;
        record.version = 0;
        record.why.clear();
        // So long ago that it makes no difference, and the same in every state.
        record.started.at = now - SignedDuration::from_hours(24);
        let since: &[i64] = match record.phase {
            Phase::Drained => &AFTER,
            _ => &PLANNED,
        };
        record.since = old(record.since, since);
        let surplus = record.shifts.len().saturating_sub(2);
        record.shifts.drain(..surplus);
        for shift in &mut record.shifts {
            shift.at = old(shift.at, &LAG);
        }
        if let [before, last] = record.shifts.as_mut_slice() {
            before.at = before.at.min(last.at) - SignedDuration::from_mins(10);
            if now.duration_since(last.at).as_secs() >= LAG[2] {
                record.shifts.remove(0);
            }
        }
        if let Some(intent) = &mut record.intent {
            intent.at = old(intent.at, &LEASE);
        }
        record.failed_shifts = 0;
        record.unread_since = record.unread_since.map(|at| old(at, &PLANNED));
        // After the plan's time it makes no difference any more.
        let held = record.held_back.map(|at| old(at, &PLANNED));
        record.held_back = held.filter(|at| *at == now);
        record.last_tick = None;
        record.canary_targets = None;
        record.thresholds.clear();
        // Conditions come and go alike; what was told of a phase makes a difference in it alone.
        let told: &[PageKind] = match record.phase {
            Phase::Draining => &[PageKind::DrainFailed, PageKind::DrainBlocked],
            Phase::Frozen => &[PageKind::Frozen],
            _ => &[],
        };
        record.paged.retain(|paged| told.contains(&paged.kind));
        for paged in &mut record.paged {
            paged.at = now;
            paged.reminders = 0;
        }
        record.paged.sort_by_key(|paged| paged.kind.name());
        if let Some(drain) = &mut record.drain {
            drain.at = record.since;
        }
        if record.phase.is_terminal() {
            (record.unread_since, record.held_back, record.step) = (None, None, None);
        }
        let verdict = record.last.as_ref().filter(|_| record.drain.is_some()).map(|last| last.verdict);
        let blind = Reason::NoData { minutes: 3 };
        record.last = (verdict == Some(Verdict::Blind)).then(|| judgement(Verdict::Blind, blind, None));
        record.outbox.retain(|page| LEFT.contains(&page.kind));
        for page in &mut record.outbox {
            page.at = old(page.at, &LEASE);
            page.judgement = None;
            page.why.clear();
            // Another version wrote it; keys name the version.
            page.key = format!("{} before", page.kind.name());
        }
        self
    }

    fn key(&self, now: Timestamp) -> Key {
        let record = &self.record;
        let age = |at: Timestamp| now.duration_since(at).as_secs().clamp(0, 60_000) as u16;
        let some = |at: Option<Timestamp>| at.map_or(u16::MAX, age);
        let mut numbers = vec![
            tenths(self.rule),
            self.stale.map_or(u16::MAX, tenths),
            age(record.since),
            record.step.map_or(u16::MAX, |step| step as u16),
            some(record.intent.as_ref().map(|intent| intent.at)),
            record.intent.as_ref().map_or(u16::MAX, |intent| tenths(intent.share)),
            record.failed_shifts as u16,
            some(record.unread_since),
            some(record.held_back),
            some(record.drain.as_ref().map(|drain| drain.at)),
            u16::from(record.drain.as_ref().is_some_and(|drain| drain.removed)),
            record.drain.as_ref().and_then(|drain| drain.late).map_or(u16::MAX, tenths),
            u16::from(record.last.is_some()),
        ];
        for Shift { at, share } in &record.shifts {
            numbers.extend([age(*at), tenths(*share)]);
        }
        let paged =
            record.paged.iter().map(|paged| (paged.kind as u8, age(paged.at) + paged.reminders as u16));
        let outbox = record.outbox.iter().map(|page| page.kind as u8).collect();
        (record.phase as u8, numbers, paged.collect(), outbox, self.clean)
    }
}

fn judgement(verdict: Verdict, reason: Reason, step: Option<StepProgress>) -> Judgement {
    Judgement {
        minute: None,
        verdict,
        reason,
        log_e_harm: 0.0,
        checks: Vec::new(),
        thresholds: BTreeMap::new(),
        step,
        blind_minutes: 0,
        blast: Blast::default(),
        minutes_to_verdict: None,
    }
}

/// A decision without the records in it.
fn brief(decision: &Decision) -> String {
    let phases = match &decision.effects {
        Effects::Record(next) => format!("{:?}", next.phase),
        Effects::WriteThenRecord { done, failed, .. } => {
            format!("zero, {:?} or {:?}", done.phase, failed.phase)
        }
        Effects::RecordThenWrite { write, done, .. } => format!("{}, {:?}", write.share, done.phase),
    };
    format!("{} ({}): {phases}", decision.action.name(), decision.why)
}

/// What the judge may say of a record's window.
fn judgements(record: &Record) -> Vec<Judgement> {
    let check = || "errors".to_owned();
    let shifted = record.shifts.last().map_or(Minute::of(OPEN), |shift| Minute::of(shift.at));
    let step = |since| {
        let requests = 1_000_000;
        Some(StepProgress {
            share: record.share(),
            since,
            minutes: 9,
            judged: 9,
            stable_requests: requests,
            canary_requests: requests,
        })
    };
    let minute = shifted;
    let of_step = |verdict, reason| judgement(verdict, reason, step(shifted));
    vec![
        of_step(Verdict::Healthy, Reason::Proven),
        // Of the step before, or of the same share at another time.
        judgement(Verdict::Healthy, Reason::Proven, step(shifted.plus(-1))),
        of_step(Verdict::Harmful, Reason::WorseThanStable { check: check(), minute }),
        of_step(Verdict::Undecided, Reason::NotYetProven { check: check() }),
        of_step(Verdict::Undecided, Reason::HarmSuspected { check: check() }),
        of_step(Verdict::Undecided, Reason::SuspectedOfSticky { check: check() }),
        of_step(Verdict::Undecided, Reason::BurningIn { minutes_left: None }),
        of_step(Verdict::Blind, Reason::NoData { minutes: 3 }),
        judgement(Verdict::Blind, Reason::ReadIncomplete { detail: "Forbidden".into() }, None),
    ]
}

/// How far the carrying out of a decision comes, and whether the pages go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Nothing takes effect.
    Before,
    /// A shift's intent, or the announcement of a drain, is on record and nothing more.
    Noted,
    /// The weights are written, and nothing after that.
    Written,
    /// The weights are not written, and the record says so.
    NotWritten,
    /// All of it, but pages stay.
    Unsent,
    /// All of it.
    Whole,
}

impl Ends {
    fn of(effects: &Effects) -> &'static [Self] {
        match effects {
            Effects::Record(next) if next.outbox.is_empty() => &[Self::Before, Self::Whole],
            Effects::Record(_) => &[Self::Before, Self::Unsent, Self::Whole],
            Effects::WriteThenRecord { .. } => {
                &[Self::Before, Self::Noted, Self::Written, Self::NotWritten, Self::Unsent, Self::Whole]
            }
            Effects::RecordThenWrite { .. } => {
                &[Self::Before, Self::Noted, Self::Written, Self::Unsent, Self::Whole]
            }
        }
    }
}

impl World {
    /// What is left when the carrying out of a decision ends in this way.
    fn after(&self, decision: &Decision, ends: Ends) -> Self {
        let mut next = self.clone();
        next.stale = None;
        let write = |next: &mut Self, to: Share| {
            next.stale = (!next.rule.same_as(to)).then_some(next.rule);
            next.rule = to;
        };
        match (&decision.effects, ends) {
            (_, Ends::Before) | (Effects::Record(_), Ends::Noted | Ends::Written | Ends::NotWritten) => {}
            (Effects::Record(record), _) => next.record = (**record).clone(),
            (Effects::WriteThenRecord { announced, .. }, Ends::Noted) => {
                next.record = announced.as_deref().unwrap_or(&self.record).clone();
            }
            (Effects::WriteThenRecord { announced: Some(announced), write: to, .. }, Ends::Written) => {
                next.record = (**announced).clone();
                write(&mut next, to.share);
            }
            (Effects::WriteThenRecord { write: to, .. }, Ends::Written) => {
                write(&mut next, to.share);
                // Unless the next tick decides the same, it takes the zero for another hand's.
                next.clean = false;
            }
            (Effects::WriteThenRecord { failed, .. }, Ends::NotWritten) => next.record = (**failed).clone(),
            (Effects::WriteThenRecord { write: to, done, .. }, _) => {
                write(&mut next, to.share);
                next.record = (**done).clone();
            }
            (Effects::RecordThenWrite { intent, .. }, Ends::Noted | Ends::NotWritten) => {
                next.record = (**intent).clone();
            }
            (Effects::RecordThenWrite { intent, write: to, .. }, Ends::Written) => {
                next.record = (**intent).clone();
                write(&mut next, to.share);
            }
            (Effects::RecordThenWrite { write: to, done, .. }, _) => {
                next.record = (**done).clone();
                write(&mut next, to.share);
            }
        }
        // One page at most waits: more make no difference.
        if ends == Ends::Whole || next.record.outbox.len() > 1 {
            next.record.outbox.clear();
        }
        next
    }
}

/// A search over one plan.
struct Search<'a> {
    decide: &'a Decide,
    known: HashSet<Key>,
    open: VecDeque<World>,
    covered: Covered,
}

/// Goes through the worlds of a plan, about so many and the nearest first, with a function that decides about
/// running rollouts.
#[must_use]
pub fn cover_with(plan: &Plan, decide: &Decide, worlds: u64) -> Covered {
    let mut search =
        Search { decide, known: HashSet::new(), open: VecDeque::new(), covered: Covered::default() };
    search.meet(World::begin(plan), OPEN);
    while let Some(world) = search.open.pop_front() {
        search.recovers(&world);
        search.hands(&world);
        for (wait, denied) in [(20, false), (60, false), (60, true), (600, false)] {
            let now = if denied { DENIED } else { OPEN };
            let mut later = world.clone().seen_from(OPEN, now - SignedDuration::from_secs(wait));
            // A read lags behind by less than an invocation lives.
            if wait >= 60 {
                later.stale = None;
            }
            search.tick(&later, now, denied);
            if !denied && wait != 20 {
                search.orders(&later, now);
            }
        }
        if search.covered.broken.len() >= TOLD || search.covered.states >= worlds {
            break;
        }
    }
    search.covered.left = search.open.len() as u64;
    search.covered
}

impl Search<'_> {
    fn ensure(&mut self, holds: bool, broken: impl FnOnce() -> String) {
        self.covered.checked += 1;
        if !holds && self.covered.broken.len() < TOLD {
            self.covered.broken.push(broken());
        }
    }

    /// Notes a world as it is at `now`, to be gone on from if it is new.
    fn meet(&mut self, world: World, now: Timestamp) {
        let world = world.seen_from(now, OPEN);
        if self.known.insert(world.key(OPEN)) {
            self.covered.states += 1;
            self.open.push_back(world);
        }
    }

    /// Another hand writes the rule.
    fn hands(&mut self, world: &World) {
        if world.record.phase.is_terminal() && world.record.drain.is_none() {
            return;
        }
        for percent in [0.0, FOREIGN, 50.0] {
            let mut next = world.clone();
            next.rule = share(percent);
            next.stale = None;
            next.clean = false;
            self.meet(next, OPEN);
        }
    }

    fn reads(world: &World) -> Vec<Result<Share, &'static str>> {
        let mut reads = vec![Ok(world.rule), Err("throttled")];
        reads.extend(world.stale.map(Ok));
        reads
    }

    /// Every clearance for this arm.
    fn clearances(arm: Option<Arm>, by: &Audit) -> Vec<Clearance<'_>> {
        let targets = [Ok(3), Ok(0), Err("throttled")].map(Some);
        let with = |freeze| move |healthy_targets| Clearance { healthy_targets, rule_is_gone: false, freeze };
        match arm {
            None => vec![Clearance::default()],
            Some(Arm::Stable) => targets.map(with(None)).to_vec(),
            Some(Arm::Canary) => {
                let freezes = [Ok(None), Ok(Some(by)), Err("throttled")].map(Some);
                freezes.into_iter().flat_map(|freeze| targets.map(with(freeze))).collect()
            }
        }
    }

    fn tick(&mut self, world: &World, now: Timestamp, denied: bool) {
        if world.record.phase.is_terminal() {
            return self.verifies(world, now);
        }
        let by = Audit { actor: "bo".into(), reason: "holidays".into(), at: now };
        for judgement in judgements(&world.record) {
            for share in Self::reads(world) {
                let tick = Minute::of(now);
                let mut input = Input { tick, share, judgement: &judgement, clearance: Clearance::default() };
                for clearance in Self::clearances(arm_to_check(&world.record, &input, now), &by) {
                    input.clearance = clearance;
                    let decision = (self.decide)(&world.record, &input, now);
                    self.ticked(world, &input, &decision, now, denied);
                    self.carry_out(world, &decision, now);
                }
            }
        }
    }

    fn carry_out(&mut self, world: &World, decision: &Decision, now: Timestamp) {
        self.covered.decisions += 1;
        *self.covered.actions.entry(decision.action.name()).or_default() += 1;
        self.shaped(world, decision, now);
        for ends in Ends::of(&decision.effects) {
            self.covered.edges += 1;
            let next = world.after(decision, *ends);
            self.ensure(!(next.clean && next.record.phase == Phase::Frozen), || {
                format!("frozen without another hand: {:?} after {}", world.key(OPEN), brief(decision))
            });
            self.meet(next, now);
        }
    }

    /// What every decision is like.
    fn shaped(&mut self, world: &World, decision: &Decision, now: Timestamp) {
        let was = &world.record;
        let told = |what: &str| format!("{what}: {:?} {:?} {}", was.phase, world.key(now), brief(decision));
        let (outcomes, writes): (Vec<&Record>, _) = match &decision.effects {
            Effects::Record(next) => (vec![next], None),
            Effects::WriteThenRecord { announced, write, done, failed } => {
                let draining = announced.as_ref().is_none_or(|next| next.phase == Phase::Draining);
                self.ensure(draining, || told("a drain is announced as something else"));
                self.ensure(write.share == Share::ZERO, || {
                    told("weights are written before the record, and not zero")
                });
                self.ensure(done.share() == Share::ZERO, || {
                    told("after a drain the record says another share")
                });
                (vec![done, failed], Some(write.share))
            }
            Effects::RecordThenWrite { intent, write, done } => {
                let noted =
                    intent.intent.as_ref().is_some_and(|i| i.share.same_as(write.share) && i.at == now);
                self.ensure(noted, || told("a share is raised without an intent on record"));
                let arrives = done.share().same_as(write.share) && done.intent.is_none();
                self.ensure(arrives, || told("after a shift the record says another share"));
                self.ensure(intent.phase == was.phase, || told("an intent changes the phase"));
                (vec![intent, done], Some(write.share))
            }
        };
        let drives = was.plan.mode == Mode::Drive;
        self.ensure(drives || writes.is_none(), || told("a plan that only observes writes weights"));
        for next in outcomes {
            let new: Vec<PageKind> =
                next.outbox.iter().skip(was.outbox.len()).map(|page| page.kind).collect();
            let kept = next.outbox.iter().zip(&was.outbox).all(|(a, b)| a.key == b.key);
            self.ensure(kept && next.outbox.len() >= was.outbox.len(), || told("a page is lost"));
            let mut keys: Vec<&str> = next.outbox.iter().map(|page| page.key.as_str()).collect();
            keys.sort_unstable();
            keys.dedup();
            self.ensure(keys.len() == next.outbox.len(), || told("two pages have one key"));
            self.ensure(next.version == was.version, || told("the version is not the store's to raise"));
            if next.phase == was.phase {
                continue;
            }
            let paged = |kinds: &[PageKind]| kinds.iter().any(|kind| new.contains(kind));
            let known = |kinds: &[PageKind]| was.paged.iter().any(|paged| kinds.contains(&paged.kind));
            let stuck = [PageKind::DrainFailed, PageKind::DrainBlocked];
            let told_of = match next.phase {
                Phase::Drained => paged(&[PageKind::Drained]),
                Phase::Promoted => paged(&[PageKind::Promoted]),
                Phase::Frozen => paged(&[PageKind::Frozen]),
                Phase::Draining => paged(&stuck) || known(&stuck),
                _ => true,
            };
            self.ensure(told_of, || told("nobody is told of a new phase"));
            let watched = next.phase != Phase::Drained || next.drain.is_some() || writes.is_none();
            self.ensure(watched, || told("a drain is not verified"));
        }
    }

    /// What a tick's decision must be like.
    fn ticked(
        &mut self,
        world: &World,
        input: &Input<'_>,
        decision: &Decision,
        now: Timestamp,
        denied: bool,
    ) {
        let was = &world.record;
        let drives = was.plan.mode == Mode::Drive;
        let (verdict, reason) = (input.judgement.verdict, &input.judgement.reason);
        let told = |what: &str| {
            format!(
                "{what}: {:?} {verdict:?} {:?} {:?} {}",
                was.phase,
                input.share,
                world.key(now),
                brief(decision)
            )
        };
        if let Effects::RecordThenWrite { write, .. } = &decision.effects {
            let of_step = input.judgement.step.as_ref().is_some_and(|step| {
                step.share.same_as(was.share())
                    && was.shifts.last().is_some_and(|shift| step.since >= Minute::of(shift.at))
            });
            let proven = verdict == Verdict::Healthy && of_step;
            let old = now.duration_since(was.since) >= SignedDuration::from_mins(10);
            let fine = matches!(reason, Reason::NotYetProven { .. });
            let unproven = was.plan.on_undecided == OnUndecided::Promote && old && fine && of_step;
            let first = was.phase == Phase::Waiting && write.share == was.plan.steps[0];
            let seen = verdict != Verdict::Blind && verdict != Verdict::Harmful;
            self.ensure(seen && (first || proven || unproven), || told("the share is raised without proof"));
            self.ensure(!denied, || told("the share is raised in a deny window"));
            let free = matches!(input.clearance.freeze, Some(Ok(None)));
            self.ensure(free, || told("the share is raised while frozen, or nobody looked"));
            let healthy = matches!(input.clearance.healthy_targets, Some(Ok(1..)));
            self.ensure(healthy, || told("traffic is sent where no target is healthy"));
            let agreed = input.share.is_ok_and(|share| share.same_as(was.share()));
            self.ensure(agreed, || told("the share is raised on weights that are not ours, or not read"));
            let goes = matches!(was.phase, Phase::Waiting | Phase::Running);
            self.ensure(goes, || told("the share is raised in a phase that does not go up"));
            let leased = was.intent.as_ref().is_some_and(|intent| is_leased(intent.at, now));
            self.ensure(!leased, || told("the share is raised while another invocation may do that"));
            let next = was.plan.steps.get(was.step.map_or(0, |step| step + 1));
            self.ensure(next.is_some_and(|next| next.same_as(write.share)), || told("a step is left out"));
        }
        if let Effects::WriteThenRecord { .. } = &decision.effects {
            let blind = verdict == Verdict::Blind && was.plan.on_blind == OnBlind::Drain;
            let undecided = verdict == Verdict::Undecided && was.plan.on_undecided == OnUndecided::Drain;
            let reason = verdict == Verdict::Harmful || was.phase == Phase::Draining || blind || undecided;
            self.ensure(reason, || told("drained without a reason"));
            let stable = input.clearance.healthy_targets != Some(Ok(0));
            self.ensure(stable, || told("drained into no healthy target"));
        }
        if verdict == Verdict::Harmful && drives {
            let drains = matches!(&decision.effects, Effects::WriteThenRecord { .. });
            let blocked = input.clearance.healthy_targets == Some(Ok(0));
            self.ensure(drains || blocked, || told("harm is not drained"));
            if let Effects::Record(next) = &decision.effects {
                self.ensure(next.phase == Phase::Draining, || told("a drain that is blocked is forgotten"));
            }
        }
    }

    fn verifies(&mut self, world: &World, now: Timestamp) {
        let was = &world.record;
        if was.drain.is_none() {
            return;
        }
        let drained = Minute::of(was.since);
        let minutes = |before: u64, after: &[u64]| {
            let all = [before].iter().chain(after).copied().collect::<Vec<u64>>();
            let since = was.drain.as_ref().map_or(drained, |drain: &DrainWatch| Minute::of(drain.at));
            (0..)
                .map(|at| if at == 0 { drained.plus(-1) } else { since.plus(at) })
                .zip(all)
                .collect::<Vec<_>>()
        };
        let series =
            [minutes(999, &[]), minutes(999, &[3]), minutes(999, &[900]), minutes(999, &[900, 900, 900])];
        for share in Self::reads(world) {
            for requests in series.iter().map(|series| Ok(series.as_slice())).chain([Err("throttled")]) {
                for holder in [None, Some("another")] {
                    let tick = Minute::of(now);
                    let mut aftermath = Aftermath {
                        tick,
                        share,
                        requests,
                        holder,
                        sharer: None,
                        clearance: Clearance::default(),
                    };
                    let by = was.started.clone();
                    for clearance in Self::clearances(verify::arm_to_check(was, &aftermath, now), &by) {
                        aftermath.clearance = clearance;
                        let decision = verify::verify(was, &aftermath, now);
                        let told = |what: &str| format!("{what}: {aftermath:?} {}", brief(&decision));
                        let same = match &decision.effects {
                            Effects::Record(next) => next.phase == was.phase,
                            Effects::WriteThenRecord { done, failed, .. } => {
                                done.phase == was.phase && failed.phase == was.phase
                            }
                            Effects::RecordThenWrite { .. } => false,
                        };
                        self.ensure(same, || told("an end does not stay"));
                        let writes = matches!(decision.effects, Effects::WriteThenRecord { .. });
                        let free = holder.is_none() && clearance.healthy_targets != Some(Ok(0));
                        self.ensure(!writes || free, || {
                            told("weights are written that are not ours to write")
                        });
                        // What stood before the drain may be a read that lags behind.
                        let before = was.shifts.iter().rev().nth(1).map(|shift| shift.share);
                        let foreign = share.is_ok_and(|seen| {
                            seen.same_as(self::share(FOREIGN)) && before.is_none_or(|at| !at.same_as(seen))
                        });
                        self.ensure(!(writes && foreign), || told("another hand's weights are written over"));
                        self.carry_out(world, &decision, now);
                    }
                }
            }
        }
    }

    fn orders(&mut self, world: &World, now: Timestamp) {
        let was = &world.record;
        let by = Audit { actor: "ana".into(), reason: "the search".into(), at: now };
        let orders = [
            Order::Abort,
            Order::Brake,
            Order::Pause,
            Order::Promote,
            Order::Resume(None),
            Order::Resume(Some(Resume::Adopt)),
            Order::Resume(Some(Resume::Restore)),
        ];
        for order in orders {
            for share in Self::reads(world) {
                for holder in [None, Some("another")] {
                    if holder.is_some() && !was.phase.is_terminal() {
                        continue;
                    }
                    for clearance in Self::clearances(command::arm_to_check(was, order), &by) {
                        let sight = Sight { share, later: holder, clearance };
                        let Ok(decision) = obey(was, order, &sight, &by, now) else { continue };
                        self.obeyed(world, order, &sight, &decision, now);
                        self.carry_out(world, &decision, now);
                    }
                }
            }
        }
    }

    fn obeyed(
        &mut self,
        world: &World,
        order: Order,
        sight: &Sight<'_>,
        decision: &Decision,
        now: Timestamp,
    ) {
        let was = &world.record;
        let told = |what: &str| {
            format!("{what}: {order:?} {:?} {:?} {}", was.phase, world.key(now), brief(decision))
        };
        let healthy = sight.clearance.healthy_targets;
        if was.phase.is_terminal() {
            let young = now.duration_since(was.since) < SignedDuration::from_mins(10);
            let may = was.phase == Phase::Promoted && order.drains() && young && sight.later.is_none();
            let stays = matches!(&decision.effects, Effects::Record(next) if next.phase == was.phase);
            self.ensure(may && (stays || healthy != Some(Ok(0))), || told("an end does not stay"));
        }
        match &decision.effects {
            Effects::RecordThenWrite { .. } => {
                let raises = matches!(order, Order::Promote | Order::Resume(Some(Resume::Restore)));
                self.ensure(raises, || told("an order raises the share that does not say so"));
                let free = matches!(sight.clearance.freeze, Some(Ok(None)));
                self.ensure(free, || told("an order raises the share while frozen"));
                self.ensure(matches!(healthy, Some(Ok(1..))), || {
                    told("traffic is sent where no target is healthy")
                });
            }
            Effects::WriteThenRecord { .. } => {
                self.ensure(order.drains(), || told("an order drains that does not say so"));
                self.ensure(healthy != Some(Ok(0)), || told("drained into no healthy target"));
            }
            Effects::Record(next) => {
                let drains = order.drains() && was.plan.mode == Mode::Drive;
                let unmoved = was.phase == Phase::Waiting && was.intent.is_none();
                let done = matches!(next.phase, Phase::Draining | Phase::Drained);
                // An end stays until it can be rolled back, and on-call hears of it.
                let blocked = |paged: &crate::rollout::record::Paged| paged.kind == PageKind::DrainBlocked;
                let told_of = was.phase == Phase::Promoted && next.paged.iter().any(blocked);
                let stuck = healthy == Some(Ok(0)) && (done || told_of);
                self.ensure(!drains || stuck || (done && unmoved), || told("an abort drains nothing"));
            }
        }
    }

    /// From every world one tick that sees harm, and can write, ends at zero.
    fn recovers(&mut self, world: &World) {
        let was = &world.record;
        if was.phase.is_terminal() || was.plan.mode == Mode::Observe {
            return;
        }
        let minute = Minute::of(OPEN);
        let reason = Reason::WorseThanStable { check: "errors".into(), minute };
        let judgement = judgement(Verdict::Harmful, reason, None);
        let clearance = Clearance { healthy_targets: Some(Ok(3)), ..Clearance::default() };
        let input = Input { tick: minute, share: Ok(world.rule), judgement: &judgement, clearance };
        let decision = (self.decide)(was, &input, OPEN);
        let next = world.after(&decision, Ends::Whole);
        let drained = next.rule == Share::ZERO && next.record.phase == Phase::Drained;
        self.ensure(drained, || {
            format!("harm is not drained at once: {:?} {}", world.key(OPEN), brief(&decision))
        });
    }
}
