//! What must hold, looked at after every call and once more when all is calm again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::stage::{FOREIGN, ROLLOUT, Stage};
use crate::analysis::verdict::Verdict;
use crate::ports::Message;
use crate::rollout::plan::Targets;
use crate::rollout::record::{Phase, Record};
use crate::sim::{Cloud, Operation, Outcome, Rule};
use crate::units::{Minute, Share};

/// A tick reads the zero of a drain that is on no record yet, or never will be, and would not decide it itself.
const FROZEN_BY_DRAIN: &str = "frozen by a drain that was not recorded";
/// Whoever rolled back a rollout that had ended died before noting it, and no tick looks any more.
const ROLLED_BACK_UNNOTED: &str = "a roll-back of an ended rollout that was not recorded";

/// What an invocation was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A minute has passed.
    Tick,
    /// Drain now, by a person's word.
    Abort,
    /// Drain now, by an alarm.
    Alarm,
    /// Stop going up.
    Pause,
    /// Go on.
    Resume,
    /// Go on with the step's own weights.
    Restore,
    /// Go on with the other hand's weights.
    Adopt,
    /// Go up without proof.
    Promote,
    /// No share rises from now on.
    Freeze,
    /// Shares may rise again.
    Thaw,
    /// Begin a rollout.
    Start,
}

impl Kind {
    /// Whether it may bring a share down without harm.
    pub(super) fn drains(self) -> bool {
        matches!(self, Self::Abort | Self::Alarm)
    }

    /// Whether it may raise a share on a person's word.
    fn raises(self) -> bool {
        matches!(self, Self::Promote | Self::Restore)
    }
}

/// A record, as far as it is looked at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Brief {
    pub(super) started: Timestamp,
    version: u64,
    pub(super) phase: Phase,
    pub(super) share: Share,
    pub(super) step: Option<usize>,
    intent: Option<(Timestamp, Share)>,
    /// The next step is the first, or the one that it stands on is proven healthy.
    proven: bool,
    outbox: Vec<String>,
}

impl Brief {
    fn of(record: &Record) -> Self {
        let shifted = record.shifts.last().map(|shift| Minute::of(shift.at));
        let proven = record.last.as_ref().is_some_and(|last| {
            let of_step = |step: &crate::analysis::verdict::StepProgress| {
                step.share.same_as(record.share()) && shifted.is_some_and(|shifted| step.since >= shifted)
            };
            last.verdict == Verdict::Healthy && last.step.as_ref().is_some_and(of_step)
        });
        Self {
            started: record.started.at,
            version: record.version,
            phase: record.phase,
            share: record.share(),
            step: record.step,
            intent: record.intent.as_ref().map(|intent| (intent.at, intent.share)),
            proven: proven || record.step.is_none(),
            outbox: record.outbox.iter().map(|page| page.key.clone()).collect(),
        }
    }
}

/// The cloud between two calls.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Look {
    pub(super) rule: Option<Rule>,
    pub(super) share: Share,
    pub(super) records: BTreeMap<String, Brief>,
    pub(super) frozen: bool,
}

impl Look {
    pub(super) fn at(cloud: &Cloud, targets: &Targets) -> Self {
        let rule = cloud.rule(&targets.listener_rule);
        Self {
            share: rule.as_ref().map_or(Share::ZERO, |rule| rule.split(targets).share()),
            rule,
            records: cloud.with_records(|records| {
                records.iter().map(|(name, record)| (name.clone(), Brief::of(record))).collect()
            }),
            frozen: cloud.is_frozen(),
        }
    }

    /// Whether a record was stored on the way to `after`.
    pub(super) fn stored(&self, after: &Self) -> bool {
        let versions = |look: &Self| -> Vec<_> {
            look.records.values().map(|brief| (brief.started, brief.version)).collect()
        };
        versions(self) != versions(after)
    }
}

/// Tenths of a percent, which can be compared and hashed.
fn tenths(share: Share) -> u32 {
    (share.percent() * 10.0).round() as u32
}

/// What one invocation has done so far.
#[derive(Debug, Clone, Hash)]
struct Life {
    kind: Kind,
    /// The last share that it put on record as an intent.
    intent: Option<u32>,
    /// It wrote zero, or saw the rule at zero.
    zero: bool,
    /// It wrote zero and has not noted that.
    torn: bool,
    /// It looked, and nobody had frozen all rollouts.
    free: bool,
    /// Pages that it sent and did not note as sent.
    unnoted: BTreeSet<String>,
}

/// One call, or two that are made at once.
pub(super) struct Step<'a> {
    pub(super) who: usize,
    pub(super) calls: &'a [Operation],
    pub(super) fault: Option<&'a Outcome>,
    pub(super) before: &'a Look,
    pub(super) after: &'a Look,
    pub(super) messages: &'a [Message],
}

/// The memory of what has to hold.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    targets: Targets,
    meddled: bool,
    /// A drain has a reason: harm, or somebody's word.
    may_drain: bool,
    lives: Vec<Life>,
    /// Keys of pages that were on record.
    promised: BTreeSet<String>,
    sent: BTreeMap<String, u32>,
    /// Keys of pages that may go out again, since it could not be noted that they were sent.
    excused: BTreeSet<String>,
    /// Zero was written on a word that is on no record: the next tick takes it for another hand's.
    torn: bool,
    /// Pages that went out again for such a reason.
    pub(super) repeated: u64,
    /// Known limits that were met, and how often.
    pub(super) limits: BTreeMap<&'static str, u64>,
    pub(super) checked: u64,
    pub(super) broken: Vec<String>,
}

impl Watch {
    pub(super) fn new(stage: &Stage, cloud: &Cloud, kinds: &[Kind]) -> Self {
        let mut watch = Self {
            targets: stage.targets.clone(),
            meddled: stage.meddled,
            may_drain: stage.harmful || kinds.iter().any(|kind| kind.drains()),
            lives: Vec::new(),
            promised: BTreeSet::new(),
            sent: BTreeMap::new(),
            excused: BTreeSet::new(),
            torn: false,
            repeated: 0,
            limits: BTreeMap::new(),
            checked: 0,
            broken: Vec::new(),
        };
        for kind in kinds {
            watch.begin(*kind);
        }
        for record in Look::at(cloud, &stage.targets).records.values() {
            watch.promised.extend(record.outbox.iter().cloned());
            // Whoever wrote it has died, or failed to send it or to note that.
            watch.excused.extend(record.outbox.iter().cloned());
        }
        // So it may begin: zero was written by somebody who died before noting it.
        let lost = |brief: &Brief| !brief.phase.is_terminal() && brief.share > Share::ZERO;
        let look = Look::at(cloud, &stage.targets);
        watch.torn = !stage.meddled && look.share == Share::ZERO && look.records.values().any(lost);
        for message in cloud.messages() {
            let key = key(&message);
            watch.promised.insert(key.clone());
            *watch.sent.entry(key).or_default() += 1;
        }
        watch
    }

    /// What decides whether a rule will be found broken later, for telling states apart.
    pub(super) fn state(&self) -> impl std::hash::Hash {
        (self.lives.clone(), self.promised.clone(), self.sent.clone(), self.excused.clone(), self.torn)
    }

    /// Another invocation begins; its number.
    pub(super) fn begin(&mut self, kind: Kind) -> usize {
        let unnoted = BTreeSet::new();
        self.lives.push(Life { kind, intent: None, zero: false, torn: false, free: false, unnoted });
        self.lives.len() - 1
    }

    pub(super) fn ensure(&mut self, holds: bool, broken: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.broken.push(broken());
        }
    }

    /// An invocation has died.
    pub(super) fn died(&mut self, who: usize) {
        self.torn |= self.lives[who].torn;
        let unnoted = std::mem::take(&mut self.lives[who].unnoted);
        self.excused.extend(unnoted);
    }

    pub(super) fn step(&mut self, step: &Step<'_>) {
        self.weights(step);
        self.records(step);
        self.pages(step);
    }

    fn weights(&mut self, step: &Step<'_>) {
        let (before, after, kind) = (step.before, step.after, self.lives[step.who].kind);
        let did = |call| step.calls.contains(&call);
        let life = &mut self.lives[step.who];
        life.free |= did(Operation::Freeze) && !after.frozen && step.fault.is_none();
        let looked = did(Operation::ReadSplits) || did(Operation::WriteSplit);
        life.zero |= looked && after.share == Share::ZERO;
        life.torn |= did(Operation::WriteSplit) && life.zero && life.kind.drains();
        let life = life.clone();
        let (from, to) = (before.share, after.share);
        if tenths(to) > tenths(from) {
            self.ensure(did(Operation::WriteSplit), || format!("the share rose to {to} and nobody wrote it"));
            let own = life.intent == Some(tenths(to));
            self.ensure(own, || format!("the share rose to {to} and {kind:?} had no such intent on record"));
            self.ensure(life.free, || {
                format!("the share rose to {to} and {kind:?} did not look for a freeze")
            });
        }
        if tenths(to) < tenths(from) {
            let down = |brief: &Brief| matches!(brief.phase, Phase::Draining | Phase::Drained);
            let restored = kind == Kind::Restore && life.intent == Some(tenths(to));
            let reason = self.may_drain || restored || before.records.values().any(down);
            self.ensure(reason, || format!("{kind:?} brought the share down from {from} without a reason"));
        }
        if before.rule != after.rule {
            let part = |look: &Look| {
                let rule = look.rule.as_ref()?;
                let all: u32 = rule.groups.iter().map(|(_, weight)| weight).sum();
                Some(f64::from(rule.weight(FOREIGN)) / f64::from(all))
            };
            let same = matches!((part(before), part(after)), (Some(a), Some(b)) if (a - b).abs() < 0.005);
            self.ensure(same, || format!("the foreign group's part changed: {:?}", after.rule));
            let others = |look: &Look| {
                let groups =
                    look.rule.iter().flat_map(|rule| rule.groups.iter().map(|(name, _)| name.clone()));
                groups.filter(|name| *name != self.targets.canary).collect::<Vec<_>>()
            };
            let same = others(before) == others(after);
            self.ensure(same, || format!("the groups of the rule changed: {:?}", after.rule));
        }
    }

    fn records(&mut self, step: &Step<'_>) {
        for (name, now) in &step.after.records {
            let was = step.before.records.get(name).filter(|was| was.started == now.started);
            let Some(was) = was.filter(|was| was.version != now.version) else { continue };
            let life = &mut self.lives[step.who];
            let kind = life.kind;
            if let Some((_, intent)) = now.intent.filter(|_| now.intent != was.intent) {
                life.intent = Some(tenths(intent));
                let proven = kind.raises() || (kind == Kind::Tick && now.proven);
                self.ensure(proven, || format!("{kind:?} began a shift to {intent} that nothing proves"));
            }
            if was.phase == now.phase {
                continue;
            }
            let (from, to) = (was.phase, now.phase);
            let down = matches!(to, Phase::Drained | Phase::Draining);
            let rolled_back = from == Phase::Promoted && down && kind.drains();
            let still = from == Phase::Promoted && to == Phase::Draining;
            self.ensure(!from.is_terminal() || rolled_back, || format!("{kind:?} took {from:?} to {to:?}"));
            let zero = self.lives[step.who].zero || still;
            self.ensure(to != Phase::Drained || zero, || {
                format!("{kind:?} noted a drain before zero was written")
            });
            let frozen = to == Phase::Frozen && !self.meddled;
            let by_drain = self.torn || self.lives.iter().any(|life| life.torn);
            if frozen && by_drain {
                *self.limits.entry(FROZEN_BY_DRAIN).or_default() += 1;
            }
            let hand = !frozen || by_drain;
            self.ensure(hand, || format!("{kind:?} froze the rollout and there was no other hand"));
        }
    }

    fn pages(&mut self, step: &Step<'_>) {
        for message in step.messages {
            let key = key(message);
            let promised = self.promised.contains(&key);
            self.ensure(promised, || format!("a page was sent that was not on record: {key}"));
            let sent = self.sent.entry(key.clone()).or_default();
            *sent += 1;
            if *sent > 1 {
                self.repeated += 1;
                let excused = self.excused.contains(&key);
                self.ensure(excused, || format!("a page was sent again without need: {key}"));
            }
            self.lives[step.who].unnoted.insert(key);
        }
        for record in step.after.records.values() {
            self.promised.extend(record.outbox.iter().cloned());
        }
        let stored = step.before.stored(step.after);
        let lost = step.calls.contains(&Operation::Put) && !stored;
        if lost || step.fault.is_some() {
            self.died(step.who);
        } else if step.calls.contains(&Operation::Put) {
            self.lives[step.who].unnoted.clear();
            self.lives[step.who].torn = false;
        }
    }

    /// When all is calm again.
    pub(super) fn end(&mut self, after: &Look) {
        for key in self.promised.clone() {
            let sent = self.sent.contains_key(&key);
            self.ensure(sent, || format!("a page was never sent: {key}"));
        }
        for (name, record) in &after.records {
            self.ensure(record.outbox.is_empty(), || format!("{name}: pages are left: {:?}", record.outbox));
            self.ensure(record.intent.is_none(), || format!("{name}: an intent is left: {record:?}"));
        }
        for ending in ["drained", "promoted"] {
            let mut of_run: BTreeMap<String, u32> = BTreeMap::new();
            for key in self.sent.keys().filter(|key| key.ends_with(&format!("/{ending}"))) {
                let run: Vec<&str> = key.split('/').take(2).collect();
                *of_run.entry(run.join("/")).or_default() += 1;
            }
            let once = of_run.values().all(|times| *times == 1);
            let keys = format!("{:?}", self.sent.keys());
            self.ensure(once, || format!("one end has several keys: {keys}"));
        }
        // Whoever began last answers for the rule.
        let newest =
            after.records.values().max_by_key(|record| (!record.phase.is_terminal(), record.started));
        if let Some(record) = newest {
            let (rule, share) = (after.share, record.share);
            let unnoted = self.torn && record.phase == Phase::Promoted;
            if unnoted && !rule.same_as(share) {
                *self.limits.entry(ROLLED_BACK_UNNOTED).or_default() += 1;
                return;
            }
            self.ensure(rule.same_as(share), || {
                format!("the rule says {rule}, the record {share}: {record:?}")
            });
        }
        if let Some(record) = after.records.get(ROLLOUT) {
            let page = match record.phase {
                Phase::Drained => Some("/drained"),
                Phase::Promoted => Some("/promoted"),
                _ => None,
            };
            let run = format!("{ROLLOUT}/{}/", record.started);
            let told = |ending: &str| self.sent.keys().any(|k| k.starts_with(&run) && k.ends_with(ending));
            let told = page.is_none_or(told);
            self.ensure(told, || format!("nobody was told: {record:?}"));
        }
    }
}

/// The page's key, from its text.
fn key(message: &Message) -> String {
    let line = message.body.lines().find_map(|line| line.strip_prefix("Key"));
    line.unwrap_or_default().trim().to_owned()
}
