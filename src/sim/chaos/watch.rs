//! Sees every call with what it changed, and holds it against the invariants.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::gates::Gates;
use super::invariants::{Broken, Invariant};
use super::profile;
use super::tally::Tally;
use crate::analysis::judge;
use crate::analysis::verdict::Verdict;
use crate::analysis::window::Window;
use crate::handler::HandlerError;
use crate::ports::{Failure, FailureKind, Message, Running, Split};
use crate::rollout::calendar::DenyWindows;
use crate::rollout::effect::{Release, Write};
use crate::rollout::gate::Owner;
use crate::rollout::plan::{Mode, OnUndecided, Targets};
use crate::rollout::record::{LogEntry, PageKind, Phase, Record};
use crate::sim::{Operation, Outcome, Rule, SimDeployment};
use crate::units::{Minute, Share, Span};

/// So many ticks that nothing disturbs may find a drained canary with traffic before it must be at zero, or
/// somebody must have been told.
const LATE_TICKS: u32 = 3;

/// What an invocation is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    Tick(Minute),
    /// The command's word.
    Command(&'static str),
    Alarm,
    /// A deployment asks.
    Hook,
}

/// How an invocation ended.
pub(super) enum End<'a> {
    Answered(&'a Value),
    Failed(&'a HandlerError),
    Panicked(String),
    Died,
}

/// One invocation, as far as it was seen.
#[derive(Debug)]
struct Seen {
    purpose: Purpose,
    /// Its clock.
    now: Timestamp,
    /// When it truly began.
    began: Timestamp,
    /// All rollouts were frozen when it began.
    frozen: bool,
    /// A call was made to fail, or met a conflict, or it died.
    troubled: bool,
    overlapped: bool,
    put_failed: bool,
    write_failed: bool,
    log_failed: bool,
    metrics_whole: bool,
    /// What the freeze was last seen as; `None` inside: it could not be read.
    freeze: Option<Option<bool>>,
    /// What groups' healthy targets were last seen as.
    health: Vec<(String, Option<u32>)>,
    /// Rules as last read.
    rules: Vec<(String, Rule)>,
    /// Rollouts that had not ended when it read them, and whether they were to be drained.
    live: Vec<(String, bool)>,
    /// Shifts that it has noted and not written yet.
    intents: Vec<(Targets, Share)>,
    /// Changes of phase or share that it stored.
    changes: Vec<(String, Phase, Share)>,
    /// What it logged.
    logged: Vec<(String, Phase, Share)>,
}

/// What there is to know about all that happened so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) tally: Tally,
    pub(super) broken: Vec<Broken>,
    /// The story, if somebody wants to hear it.
    pub(super) story: Option<Vec<String>>,
    pub(super) now: Timestamp,
    frozen: bool,
    /// Records as they are stored.
    records: BTreeMap<String, Record>,
    invocations: Vec<Seen>,
    /// Who sent which page.
    pages: BTreeMap<String, Vec<usize>>,
    /// When another hand last changed each rule.
    hands: BTreeMap<String, Timestamp>,
    /// When the drain of each drained rollout began.
    drained: BTreeMap<String, Timestamp>,
    /// Quiet ticks that found a drained canary with traffic.
    late: BTreeMap<String, u32>,
    /// Those who wait.
    pub(super) gates: Gates,
}

impl Watch {
    /// Watches from `now` on; `story` asks for the story.
    pub(super) fn new(now: Timestamp, story: bool) -> Self {
        Self { now, story: story.then(Vec::new), ..Self::default() }
    }

    /// Adds a line to the story.
    pub(super) fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.story.is_some() {
            let line = format!("{} {}", clock(self.now), line());
            self.story.get_or_insert_default().push(line);
        }
    }

    pub(super) fn tell_of(&mut self, id: usize, line: impl FnOnce() -> String) {
        self.tell(|| format!("  #{id:<4} {}", line()));
    }

    /// Notes a check, and what was broken if it was.
    pub(super) fn check(&mut self, invariant: Invariant, holds: bool, what: impl FnOnce() -> String) {
        self.tally.checked[invariant.index()] += 1;
        if !holds {
            let what = what();
            self.tell(|| format!("BROKEN {} ({}): {what}", invariant.number(), invariant.name()));
            self.tally.broken[invariant.index()] += 1;
            self.broken.push(Broken { invariant, what });
        }
    }

    /// An invocation begins; its number.
    pub(super) fn begin(&mut self, purpose: Purpose, now: Timestamp, under_way: &[usize]) -> usize {
        let id = self.invocations.len();
        self.tally.invocations += 1;
        if !under_way.is_empty() {
            self.tally.overlaps += 1;
        }
        for other in under_way {
            self.invocations[*other].overlapped = true;
        }
        let off = now.duration_since(self.now).as_secs();
        self.tell_of(id, || {
            let clock = if off == 0 { String::new() } else { format!(", its clock is {off} s off") };
            format!("begins: {purpose}{clock}")
        });
        self.invocations.push(Seen {
            purpose,
            now,
            began: self.now,
            frozen: self.frozen,
            troubled: false,
            overlapped: !under_way.is_empty(),
            put_failed: false,
            write_failed: false,
            log_failed: false,
            metrics_whole: false,
            freeze: None,
            health: Vec::new(),
            rules: Vec::new(),
            live: Vec::new(),
            intents: Vec::new(),
            changes: Vec::new(),
            logged: Vec::new(),
        });
        id
    }

    pub(super) fn call_goes_wrong(&mut self, id: usize, operation: Operation, outcome: &Outcome) {
        self.invocations[id].troubled = true;
        self.tell_of(id, || format!("{} goes wrong: {outcome:?}", operation.name()));
    }

    /// A call of an invocation failed, or went well.
    pub(super) fn troubled(&mut self, id: usize, failed: bool) {
        self.invocations[id].troubled |= failed;
    }

    /// An invocation's clock when it began.
    pub(super) fn clock_of(&self, id: usize) -> Timestamp {
        self.invocations[id].now
    }

    /// When an invocation truly began.
    pub(super) fn began(&self, id: usize) -> Timestamp {
        self.invocations[id].began
    }

    /// Nothing has disturbed an invocation.
    pub(super) fn is_quiet(&self, id: usize) -> bool {
        let seen = &self.invocations[id];
        !seen.troubled && !seen.overlapped
    }

    /// Another hand has changed a rule.
    pub(super) fn hand(&mut self, rule: &str) {
        self.hands.insert(rule.to_owned(), self.now);
    }

    /// The version that is stored, as far as was seen; 0 for none.
    pub(super) fn version(&self, rollout: &str) -> u64 {
        self.records.get(rollout).map_or(0, |record| record.version)
    }

    /// Rollouts that ticks have work with.
    pub(super) fn running(&self) -> usize {
        self.records.values().filter(|record| record.needs_ticks()).count()
    }

    /// Records as they are stored.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    pub(super) fn asked(&mut self, id: usize, operation: Operation, answered: bool) {
        self.tell_of(id, || format!("{} {}", operation.name(), ok(answered)));
    }

    pub(super) fn read_metrics(&mut self, id: usize, whole: bool) {
        self.invocations[id].metrics_whole = whole;
        self.tell_of(id, || format!("reads metrics, {}", if whole { "whole" } else { "NOT whole" }));
    }

    pub(super) fn read_splits(
        &mut self,
        id: usize,
        targets: &[Targets],
        answers: &[Result<(Split, Rule), Failure>],
    ) {
        for (targets, answer) in targets.iter().zip(answers) {
            self.tell_of(id, || match answer {
                Ok((_, rule)) => format!("reads the rule: {}", weights(rule)),
                Err(failure) => format!("can't read the rule: {}", failure.kind.name()),
            });
            let rules = &mut self.invocations[id].rules;
            rules.retain(|(rule, _)| *rule != targets.listener_rule);
            match answer {
                Ok((_, rule)) => rules.push((targets.listener_rule.clone(), rule.clone())),
                // Made to fail, or deleted by another hand.
                Err(_) => self.invocations[id].troubled = true,
            }
        }
    }

    pub(super) fn read_health(&mut self, id: usize, group: &str, healthy: Option<u32>) {
        self.tell_of(id, || format!("healthy targets of {}: {healthy:?}", short(group)));
        let health = &mut self.invocations[id].health;
        health.retain(|(known, _)| known != group);
        health.push((group.to_owned(), healthy));
    }

    pub(super) fn read_freeze(&mut self, id: usize, frozen: Option<bool>) {
        self.invocations[id].freeze = Some(frozen);
        self.tell_of(id, || format!("reads the freeze: {frozen:?}"));
    }

    pub(super) fn set_freeze(&mut self, id: usize, frozen: bool, answered: bool) {
        self.frozen = frozen;
        self.tell_of(id, || {
            format!("all rollouts are {} {}", if frozen { "frozen" } else { "thawed" }, ok(answered))
        });
    }

    pub(super) fn read_running(&mut self, id: usize, running: Option<&Running>) {
        let records = running.map(|running| running.records.as_slice());
        let live = records.unwrap_or_default().iter().filter(|record| !record.phase.is_terminal());
        let live = live.map(|record| (record.id().to_owned(), record.phase == Phase::Draining));
        self.invocations[id].live = live.collect();
        self.tell_of(id, || match records {
            None => "can't read the running rollouts".to_owned(),
            Some(records) => {
                let one = |record: &Record| {
                    let intent = record
                        .intent
                        .as_ref()
                        .map_or_else(String::new, |intent| format!(", intends {}", intent.share));
                    let pages = if record.outbox.is_empty() {
                        String::new()
                    } else {
                        format!(", {} pages wait", record.outbox.len())
                    };
                    format!(
                        "{} v{} {} at {}{intent}{pages}",
                        record.id(),
                        record.version,
                        record.phase.name(),
                        record.share()
                    )
                };
                format!("running: [{}]", records.iter().map(one).collect::<Vec<_>>().join("; "))
            }
        });
    }

    /// A record was created, or was to be.
    pub(super) fn create(&mut self, id: usize, stored: Option<Record>, failed: Option<FailureKind>) {
        self.note_failure(id, failed);
        self.tell_of(id, || format!("creates a record {}", outcome(stored.is_some(), failed)));
        let Some(new) = stored else { return };
        self.tally.rollouts += 1;
        if let Some(old) = self.records.get(new.id()) {
            let (ended, name, old) = (old.is_over(), new.id().to_owned(), old.clone());
            self.check_replaced(&old);
            self.check(Invariant::EndedStaysEnded, ended, || {
                format!("{name} was started anew before its end")
            });
        }
        self.drained.remove(new.id());
        self.late.remove(new.id());
        self.note_created(new.id());
        self.records.insert(new.id().to_owned(), new);
    }

    fn note_failure(&mut self, id: usize, failed: Option<FailureKind>) {
        if failed.is_some() {
            self.invocations[id].troubled = true;
            self.invocations[id].put_failed = true;
        }
    }

    /// A record was put, or was to be.
    pub(super) fn put(
        &mut self,
        id: usize,
        asked: &Record,
        stored: Option<Record>,
        failed: Option<FailureKind>,
    ) {
        self.note_failure(id, failed);
        self.tell_of(id, || {
            let intent = asked
                .intent
                .as_ref()
                .map_or_else(String::new, |intent| format!(" intending {}", intent.share));
            let keys: Vec<_> = asked.outbox.iter().map(|page| page.kind.name()).collect();
            format!(
                "puts {} v{} {} at {}{intent}, outbox {keys:?} {}",
                asked.id(),
                asked.version,
                asked.phase.name(),
                asked.share(),
                outcome(stored.is_some(), failed)
            )
        });
        let Some(new) = stored else { return };
        let Some(old) = self.records.remove(new.id()) else {
            self.check(Invariant::SaneAnswers, false, || {
                format!("{} was put before it was created", new.id())
            });
            return;
        };
        self.check(
            Invariant::SaneAnswers,
            new.version == old.version + 1
                && new.started == old.started
                && new.plan.targets == old.plan.targets,
            || {
                format!(
                    "{} v{} started {} became v{} started {}",
                    new.id(),
                    old.version,
                    old.started.reason,
                    new.version,
                    new.started.reason
                )
            },
        );
        self.check_end(id, &old, &new);
        self.check_pages(&old, &new);
        self.check_gates(id, &old, &new);
        if let Some(intent) = &new.intent
            && old.intent.as_ref() != Some(intent)
        {
            let allowed = self.may_intend(id, &old, &new);
            self.check(Invariant::UpOnlyWithProof, allowed.is_ok(), || {
                format!("{} intends {}: {}", new.id(), intent.share, allowed.err().unwrap_or_default())
            });
            self.invocations[id].intents.push((new.plan.targets.clone(), intent.share));
        }
        if old.phase != new.phase || !old.share().same_as(new.share()) {
            self.invocations[id].changes.push((new.id().to_owned(), new.phase, new.share()));
        }
        if new.phase == Phase::Drained && old.phase != Phase::Drained {
            self.drained.insert(new.id().to_owned(), self.invocations[id].began);
        }
        self.records.insert(new.id().to_owned(), new);
    }

    fn check_end(&mut self, id: usize, old: &Record, new: &Record) {
        if !old.phase.is_terminal() {
            return;
        }
        let seen = &self.invocations[id];
        let drains = matches!(new.phase, Phase::Draining | Phase::Drained);
        let ordered = matches!(seen.purpose, Purpose::Command("abort") | Purpose::Alarm);
        let in_time = seen.now.duration_since(old.since) <= length(old.plan.rollback_window);
        let undone = old.phase == Phase::Promoted && drains && ordered && in_time;
        self.check(Invariant::EndedStaysEnded, new.phase == old.phase || undone, || {
            format!("{} had ended as {} and became {}", old.id(), old.phase.name(), new.phase.name())
        });
    }

    fn check_pages(&mut self, old: &Record, new: &Record) {
        for page in &new.outbox {
            if old.outbox.iter().any(|known| known.key == page.key) {
                continue;
            }
            let fresh = self.pages.insert(page.key.clone(), Vec::new()).is_none();
            self.check(Invariant::OnePageEach, fresh, || format!("the key {} was used before", page.key));
        }
        for page in &old.outbox {
            if !new.outbox.iter().any(|kept| kept.key == page.key) {
                let sent = self.pages.get(&page.key).is_some_and(|by| !by.is_empty());
                self.check(Invariant::OnePageEach, sent, || format!("{} was taken out unsent", page.key));
            }
        }
        let kind = match new.phase {
            Phase::Drained => PageKind::Drained,
            Phase::Promoted => PageKind::Promoted,
            Phase::Frozen => PageKind::Frozen,
            _ => return,
        };
        if old.phase != new.phase {
            let is_new = |key: &str| !old.outbox.iter().any(|page| page.key == key);
            let pages = new.outbox.iter().filter(|page| page.kind == kind && is_new(&page.key)).count();
            self.check(Invariant::OnePageEach, pages == 1, || {
                format!("{} became {} with {pages} pages of it", new.id(), new.phase.name())
            });
        }
    }

    /// Whether a shift up may be noted.
    fn may_intend(&self, id: usize, old: &Record, new: &Record) -> Result<(), String> {
        let seen = &self.invocations[id];
        let Some(intent) = &new.intent else { return Ok(()) };
        if new.plan.steps.get(intent.step) != Some(&intent.share) {
            return Err(format!("that is not step {}", intent.step + 1));
        }
        if new.plan.mode == Mode::Observe {
            return Err("the mode is observe".to_owned());
        }
        let next = old.step.map_or(0, |step| step + 1);
        match &seen.purpose {
            Purpose::Command("promote") if intent.step == next => return Ok(()),
            Purpose::Command("resume") if Some(intent.step) == old.step => return Ok(()),
            Purpose::Tick(_) if intent.step == next => {}
            purpose => return Err(format!("{purpose} may not go from step {next} to {}", intent.step + 1)),
        }
        if !matches!(old.phase, Phase::Waiting | Phase::Running) {
            return Err(format!("a rollout that is {} does not go up", old.phase.name()));
        }
        if new.plan.deny_windows != DenyWindows::default() && profile::is_denied(seen.now) {
            return Err("in a deny window".to_owned());
        }
        if old.step.is_none() {
            return if seen.metrics_whole {
                Ok(())
            } else {
                Err("the metrics were not read whole".to_owned())
            };
        }
        let Some(last) = &new.last else { return Err("there is no judgement".to_owned()) };
        let rules = &new.plan.rules;
        let shifted = old.shifts.last().map(|shift| Minute::of(shift.at));
        let Some(step) = last.step.as_ref().filter(|step| step.share.same_as(old.share())) else {
            return Err("it was judged on another step".to_owned());
        };
        if shifted.is_none_or(|shifted| step.since < shifted) {
            return Err("the judgement is from before the shift".to_owned());
        }
        let enough = step.canary_requests.min(step.stable_requests) >= rules.min_requests;
        let undecided = old.plan.on_undecided == OnUndecided::Promote
            && last.verdict == Verdict::Undecided
            && seen.now.duration_since(old.since) >= length(rules.decide_within);
        match last.verdict {
            _ if !seen.metrics_whole => Err("the metrics were not read whole".to_owned()),
            _ if !enough => Err("there were too few requests".to_owned()),
            Verdict::Healthy if u64::from(step.minutes) < rules.bake.minutes() => {
                Err(format!("it has baked for {} minutes", step.minutes))
            }
            Verdict::Healthy => Ok(()),
            _ if undecided => Ok(()),
            verdict => Err(format!("the verdict is {}", verdict.name())),
        }
    }

    /// A rule was written, or was to be.
    pub(super) fn wrote(
        &mut self,
        id: usize,
        targets: &Targets,
        rules: [Option<Rule>; 2],
        write: Write,
        failed: Option<FailureKind>,
    ) {
        self.invocations[id].write_failed |= failed.is_some();
        let [Some(before), Some(after)] = rules else {
            self.tell_of(id, || format!("writes {}: there is no rule", write.share));
            return;
        };
        self.tell_of(id, || {
            format!(
                "writes {}: {} -> {} {}",
                write.share,
                weights(&before),
                weights(&after),
                ok(failed.is_none())
            )
        });
        let [was, is] = [&before, &after].map(|rule| rule.split(targets).share());
        let drains = is == Share::ZERO && was > Share::ZERO;
        let raises = is > was && !is.same_as(was);
        self.tally.shifts += u64::from(raises);
        self.tally.drains += u64::from(drains);
        self.check_rise(id, targets, [was, is], raises);
        if before != after {
            self.check_owner(id, targets, is);
        }
        let seen = &self.invocations[id];
        let last_seen = |group: &str| {
            seen.health.iter().find(|(known, _)| known == group).and_then(|(_, health)| *health)
        };
        if raises {
            let health = last_seen(&targets.canary);
            self.check(Invariant::NoTrafficForTheSick, health.is_some_and(|n| n > 0), || {
                format!("raised to {is} with {health:?} healthy targets of the canary")
            });
        } else if drains {
            let health = last_seen(&targets.stable);
            self.check(Invariant::NoTrafficForTheSick, health != Some(0), || {
                format!("drained from {was} with no healthy target of stable")
            });
        }
        self.check_others(id, targets, &after, write, before != after);
    }

    fn check_rise(&mut self, id: usize, targets: &Targets, [was, is]: [Share; 2], raises: bool) {
        let seen = &mut self.invocations[id];
        if !raises {
            self.tally.checked[Invariant::UpOnlyWithProof.index()] += 1;
            return;
        }
        let noted = seen.intents.iter().position(|(of, share)| of == targets && share.same_as(is));
        if let Some(at) = noted {
            seen.intents.remove(at);
        }
        // Whoever froze them while the shift was on its way came too late for this one.
        let frozen = (self.frozen && seen.frozen) || seen.freeze != Some(Some(false));
        self.check(Invariant::UpOnlyWithProof, noted.is_some(), || {
            format!("the share rose from {was} to {is} and nobody had noted that")
        });
        self.check(Invariant::UpOnlyWithProof, !frozen, || {
            format!("the share rose from {was} to {is} while all rollouts were frozen, or nobody had looked")
        });
    }

    fn check_others(&mut self, id: usize, targets: &Targets, after: &Rule, write: Write, changed: bool) {
        let seen = &self.invocations[id];
        let read = seen.rules.iter().find(|(rule, _)| *rule == targets.listener_rule);
        let Some((_, read)) = read.filter(|_| changed) else { return };
        let part = |rule: &Rule, group: &str| {
            let all: u32 = rule.groups.iter().map(|(_, weight)| weight).sum();
            f64::from(rule.weight(group)) / f64::from(all.max(1))
        };
        let others =
            read.groups.iter().filter(|(group, _)| *group != targets.stable && *group != targets.canary);
        let moved = others.filter(|(group, _)| (part(read, group) - part(after, group)).abs() > 0.01).count();
        let freed = write.release == Release::Stickiness && !after.sticky;
        let sticky = after.sticky == read.sticky || freed;
        let (read, after) = (weights(read), weights(after));
        self.check(Invariant::OthersUntouched, moved == 0 && sticky, || format!("{read} became {after}"));
        let of = |mode: Mode| {
            self.records.values().any(|record| record.plan.targets == *targets && record.plan.mode == mode)
        };
        let watched_only = of(Mode::Observe) && !of(Mode::Drive);
        self.check(Invariant::OthersUntouched, !watched_only, || "written in mode observe".to_owned());
    }

    /// A page was sent, or was to be.
    pub(super) fn paged(&mut self, id: usize, message: &Message, arrived: bool, answered: bool) {
        let key = message.body.lines().rev().find_map(|line| line.strip_prefix("Key"));
        let key = key.map_or("", str::trim).to_owned();
        self.tell_of(id, || format!("pages {key} {}", ok(answered)));
        self.invocations[id].troubled |= !answered;
        if !arrived {
            return;
        }
        self.tally.pages += 1;
        let Some(sent_by) = self.pages.get_mut(&key) else {
            self.check(Invariant::OnePageEach, false, || format!("{key} was sent without being on record"));
            return;
        };
        let before = sent_by.clone();
        sent_by.push(id);
        if before.is_empty() {
            self.tally.checked[Invariant::OnePageEach.index()] += 1;
            return;
        }
        self.tally.repeated_pages += 1;
        let explains = |by: &usize| self.invocations[*by].troubled || self.invocations[*by].overlapped;
        let explained = before.iter().any(explains) || before.contains(&id) && explains(&id);
        self.check(Invariant::OnePageEach, explained, || format!("{key} was sent again without a reason"));
    }

    /// An entry was written to the decision log, or was to be.
    pub(super) fn logged(&mut self, id: usize, entry: &LogEntry, answered: bool) {
        self.tell_of(id, || {
            format!(
                "logs {} {}: {} {} {}: {}",
                entry.rollout,
                entry.decision,
                entry.phase.name(),
                entry.share,
                ok(answered),
                entry.why
            )
        });
        if !answered {
            self.invocations[id].log_failed = true;
            self.invocations[id].troubled = true;
            return;
        }
        self.invocations[id].logged.push((entry.rollout.clone(), entry.phase, entry.share));
        let (Some(said), Some(conditions)) = (&entry.judgement, &entry.conditions) else { return };
        // Of a quiet minute, and of one whose decision could not be stored, only the newest rows are kept.
        let Some(record) = self
            .records
            .get(&entry.rollout)
            .filter(|_| !["hold", "failed"].contains(&entry.decision.as_str()))
        else {
            return;
        };
        if record.started.at > entry.at {
            return;
        }
        let window: Window = entry.rows.iter().cloned().collect();
        let again = judge(&window, &record.plan.rules, conditions);
        let name = entry.rollout.clone();
        self.check(Invariant::DecisionsHaveInputs, again == *said, || {
            format!(
                "{name} was judged {} and is {} when it is judged again",
                said.verdict.name(),
                again.verdict.name()
            )
        });
    }

    /// An invocation has ended, one way or another. `rule` and `deployment` answer how those are now.
    pub(super) fn end(
        &mut self,
        id: usize,
        end: &End<'_>,
        rule: impl Fn(&str) -> Option<Rule>,
        deployment: impl Fn(&Owner) -> Option<SimDeployment>,
    ) {
        self.tell_of(id, || match end {
            End::Answered(_) => "has ended".to_owned(),
            End::Failed(error) => format!("has failed: {error}"),
            End::Panicked(what) => format!("has panicked: {what}"),
            End::Died => "has died".to_owned(),
        });
        let seen = &self.invocations[id];
        let sane = match end {
            End::Died | End::Answered(_) => Ok(()),
            End::Panicked(what) => Err(format!("panic: {what}")),
            End::Failed(error) => match error.error_type() {
                "CallFailed" if seen.troubled => Ok(()),
                // By another invocation, or by itself: its own write took effect and the answer was lost.
                "Overtaken" if seen.troubled || seen.overlapped => Ok(()),
                "CommandRefused" | "NoSuchRollout" if !matches!(seen.purpose, Purpose::Tick(_)) => Ok(()),
                word => Err(format!("{} failed with {word} without a cause: {error}", seen.purpose)),
            },
        };
        self.check(Invariant::SaneAnswers, sane.is_ok(), || sane.err().unwrap_or_default());
        match end {
            End::Died => {
                self.tally.deaths += 1;
                self.invocations[id].troubled = true;
            }
            End::Answered(answer) => {
                if matches!(self.invocations[id].purpose, Purpose::Tick(_)) {
                    self.check_drains(id, answer, &rule);
                    self.check_drained(id, answer, &rule);
                    self.check_waiting(id, answer, &deployment);
                }
                self.check_log(id);
            }
            _ => {}
        }
        let seen = &mut self.invocations[id];
        (seen.health, seen.rules, seen.live) = (Vec::new(), Vec::new(), Vec::new());
        (seen.intents, seen.changes, seen.logged) = (Vec::new(), Vec::new(), Vec::new());
    }

    /// Another hand was at a rule while an invocation was under way.
    fn meddled(&self, id: usize, rule: &str) -> bool {
        self.hands.get(rule).is_some_and(|at| *at >= self.invocations[id].began)
    }

    fn check_drains(&mut self, id: usize, answer: &Value, rule: &impl Fn(&str) -> Option<Rule>) {
        let mut found = Vec::new();
        for report in answer["rollouts"].as_array().into_iter().flatten() {
            let seen = &self.invocations[id];
            let name = report["rollout"].as_str().unwrap_or_default();
            let live = seen.live.iter().find(|(live, _)| live == name);
            let (Some((_, draining)), Some(record)) = (live, self.records.get(name)) else { continue };
            let harmful = report["judgement"]["verdict"] == "harmful";
            let targets = &record.plan.targets;
            let read = seen.rules.iter().any(|(read, _)| *read == targets.listener_rule);
            let stable = seen.health.iter().find(|(group, _)| *group == targets.stable);
            let blocked = stable.is_some_and(|(_, healthy)| *healthy == Some(0));
            let able = read && !seen.write_failed && !blocked && !seen.overlapped;
            let due = (harmful || *draining) && report["decision"] != "skipped";
            if !due || !able || record.plan.mode != Mode::Drive || self.meddled(id, &targets.listener_rule) {
                continue;
            }
            let share = rule(&targets.listener_rule).map_or(Share::ZERO, |rule| rule.split(targets).share());
            found.push((name.to_owned(), share));
        }
        for (name, share) in found {
            self.check(Invariant::HarmIsDrained, share == Share::ZERO, || {
                format!("{name} is to be drained and still gets {share} after the tick")
            });
        }
    }

    /// A drained canary may only have traffic for which we are not to blame.
    fn check_drained(&mut self, id: usize, answer: &Value, rule: &impl Fn(&str) -> Option<Rule>) {
        let seen = &self.invocations[id];
        if seen.troubled || seen.overlapped || answer["dropped"].is_string() {
            return;
        }
        let mut late = Vec::new();
        for (name, since) in &self.drained {
            let Some(share) = self.raised_by_us(name, *since, rule) else {
                self.late.remove(name);
                continue;
            };
            let ticks = self.late.entry(name.clone()).or_default();
            *ticks += 1;
            late.push((name.clone(), share, *ticks));
        }
        for (name, share, ticks) in late {
            self.check(Invariant::EndedStaysEnded, ticks <= LATE_TICKS, || {
                format!("{name} was drained and has had {share} for {ticks} ticks, and nobody was told")
            });
        }
        self.tally.checked[Invariant::EndedStaysEnded.index()] += self.drained.len() as u64;
    }

    /// The share that a drained rollout has by our doing, if nobody was told.
    fn raised_by_us(
        &self,
        name: &str,
        since: Timestamp,
        rule: &impl Fn(&str) -> Option<Rule>,
    ) -> Option<Share> {
        let record = self.records.get(name).filter(|record| record.phase == Phase::Drained)?;
        let targets = &record.plan.targets;
        let share = rule(&targets.listener_rule)?.split(targets).share();
        let hand = self.hands.get(&targets.listener_rule).is_some_and(|at| *at >= since);
        let raises = |other: &Record| {
            let later = other.started.at >= record.started.at || other.since >= since;
            other.id() != name
                && other.plan.targets.listener_rule == targets.listener_rule
                && (!other.phase.is_terminal() || later)
        };
        let told = self.pages.keys().any(|key| key.starts_with(name) && key.contains("/raised_again"));
        let ours = share > Share::ZERO && !hand && !told && !self.records.values().any(raises);
        ours.then_some(share)
    }

    fn check_log(&mut self, id: usize) {
        let seen = &mut self.invocations[id];
        if seen.put_failed || seen.log_failed {
            return;
        }
        let changes = std::mem::take(&mut seen.changes);
        for (name, phase, share) in &changes {
            // What one invocation changed twice is logged as it was in the end.
            let last = changes.iter().rfind(|(other, ..)| other == name);
            if last != Some(&(name.clone(), *phase, *share)) {
                continue;
            }
            let logged = &self.invocations[id].logged;
            let there = logged.iter().any(|(of, to, at)| of == name && to == phase && at.same_as(*share));
            self.check(Invariant::DecisionsHaveInputs, there, || {
                format!("{name} became {} at {share} and no entry of the log says so", phase.name())
            });
        }
    }

    /// All faults have stopped some ticks ago.
    pub(super) fn settle(&mut self, rule: impl Fn(&str) -> Option<Rule>) {
        let records: Vec<Record> = self.records.values().cloned().collect();
        for record in &records {
            let (name, targets) = (record.id(), &record.plan.targets);
            let left = (record.intent.is_some(), record.outbox.len());
            self.check(Invariant::RecordAndRuleAgree, left == (false, 0), || {
                format!("{name} has a shift under way ({}) or pages left ({})", left.0, left.1)
            });
            let Some(rule) = rule(&targets.listener_rule).filter(|_| record.plan.mode == Mode::Drive) else {
                continue;
            };
            let share = rule.split(targets).share();
            let agrees = match record.phase {
                Phase::Draining => false,
                phase if phase.is_terminal() => true,
                _ => record.share().same_as(share),
            };
            self.check(Invariant::RecordAndRuleAgree, agrees, || {
                format!("{name} is {} at {} and the rule says {share}", record.phase.name(), record.share())
            });
            let rival = records.iter().find(|other| {
                other.id() != name
                    && !other.phase.is_terminal()
                    && !record.phase.is_terminal()
                    && other.plan.mode == Mode::Drive
                    && other.plan.targets.listener_rule == targets.listener_rule
            });
            self.check(Invariant::RecordAndRuleAgree, rival.is_none(), || {
                format!("{name} has a rival on its rule")
            });
        }
        self.settle_gates();
        for (name, since) in self.drained.clone() {
            let raised = self.raised_by_us(&name, since, &rule);
            self.check(Invariant::EndedStaysEnded, raised.is_none(), || {
                format!("{name} was drained and has {raised:?} in the end, and nobody was told")
            });
        }
        let unsent: Vec<String> =
            self.pages.iter().filter(|(_, by)| by.is_empty()).map(|(key, _)| key.clone()).collect();
        self.check(Invariant::OnePageEach, unsent.is_empty(), || format!("never sent: {unsent:?}"));
        for record in &records {
            *self.tally.ended.entry(record.phase.name()).or_default() += 1;
        }
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tick(minute) => write!(f, "the tick of {}", clock(minute.start())),
            Self::Command(word) => f.write_str(word),
            Self::Alarm => f.write_str("an alarm"),
            Self::Hook => f.write_str("a deployment's hook"),
        }
    }
}

fn length(span: Span) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(span.seconds()).unwrap_or(i64::MAX))
}

/// Hours, minutes, seconds and tenths.
fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S%.1f").to_string()
}

fn short(group: &str) -> &str {
    group.rsplit('/').next().map_or(group, |id| &id[id.len().saturating_sub(2)..])
}

pub(super) fn weights(rule: &Rule) -> String {
    let parts: Vec<String> =
        rule.groups.iter().map(|(group, weight)| format!("{}={weight}", short(group))).collect();
    format!("[{}]{}", parts.join(" "), if rule.sticky { " sticky" } else { "" })
}

fn ok(answered: bool) -> &'static str {
    if answered { "" } else { "(failed)" }
}

fn outcome(took_effect: bool, failed: Option<FailureKind>) -> String {
    match (took_effect, failed) {
        (_, None) => String::new(),
        (true, Some(kind)) => format!("(took effect, answered {})", kind.name()),
        (false, Some(kind)) => format!("({})", kind.name()),
    }
}
