//! Watches those who wait for a verdict, and the deployments of other systems that own the weights.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::invariants::Invariant;
use super::watch::Watch;
use crate::analysis::verdict::Verdict;
use crate::ports::FailureKind;
use crate::rollout::gate::{Gate, OnDeadline, Owner, Told, Waiting};
use crate::rollout::plan::{Mode, Targets};
use crate::rollout::record::Record;
use crate::sim::SimDeployment;
use crate::units::{Minute, Share};

/// So many ticks that nothing disturbs may pass before one whose time has come is told, or a deployment stopped.
const LATE_TICKS: u32 = 3;
/// The same, in time.
const GRACE: SignedDuration = SignedDuration::from_mins(4);
/// How the hooks are called that come before the new version has anybody's traffic.
pub(super) const BEFORE: &str = "before";

/// What was seen of them.
#[derive(Debug, Default)]
pub(super) struct Gates {
    /// What each was told, by all calls that took effect.
    told: BTreeMap<String, Vec<bool>>,
    /// For whom a call said that nobody waits.
    gone: BTreeSet<String>,
    /// Who is on record as waiting, in which rollout, and until when.
    open: BTreeMap<String, (String, Timestamp)>,
    /// Quiet ticks that found somebody waiting whose time was over.
    late: BTreeMap<String, u32>,
    /// Quiet ticks that found a deployment raising a harmful canary's share.
    going: BTreeMap<String, u32>,
    /// Rollouts that were proven healthy since their share last changed, but to 100 %.
    proven: BTreeSet<String>,
    /// Until when a rollout's last verdict on record was healthy.
    healthy_until: BTreeMap<String, Timestamp>,
    /// When a record was first stored.
    created: BTreeMap<String, Timestamp>,
    /// Deployments of ECS that were told to go back: whoever waits in the way back may pass.
    backs: BTreeSet<String>,
}

/// Under which name somebody who waits is kept.
fn key(waiting: &Waiting) -> String {
    match waiting {
        Waiting::CodeDeployHook { execution, .. } => execution.clone(),
        Waiting::EcsPause { hook, .. } => hook.clone(),
        Waiting::Github { callback_url, .. } => callback_url.clone(),
    }
}

/// The last judgement says healthy, and of the share that stands. The increments of CodeDeploy are one step.
fn is_healthy(record: &Record) -> bool {
    if matches!(record.owner, Some(Owner::CodeDeploy { .. })) {
        let last = record.last.as_ref().filter(|last| last.verdict == Verdict::Healthy);
        return last.and_then(|last| last.step.as_ref()).is_some_and(|step| step.share > Share::ZERO);
    }
    let shifted = record.shifts.last().map(|shift| Minute::of(shift.at));
    record.last.as_ref().is_some_and(|last| {
        let step = last.step.as_ref().filter(|step| step.share.same_as(record.share()));
        last.verdict == Verdict::Healthy
            && step.is_some_and(|step| shifted.is_some_and(|shifted| step.since >= shifted))
    })
}

/// All traffic is the canary's, and the last judgement says healthy of the share before that, whose last minutes have
/// just come in.
fn was_healthy_before_full(record: &Record) -> bool {
    let [.., before, full] = record.shifts.as_slice() else { return false };
    record.last.as_ref().is_some_and(|last| {
        let of_it = last.step.as_ref().is_some_and(|step| step.share.same_as(before.share));
        full.share == Share::FULL && last.verdict == Verdict::Healthy && of_it
    })
}

impl Watch {
    /// A record was stored for the first time.
    pub(super) fn note_created(&mut self, name: &str) {
        self.gates.created.insert(name.to_owned(), self.now);
    }

    /// A record replaced another one: what it says of those who wait.
    pub(super) fn check_gates(&mut self, id: usize, old: &Record, new: &Record) {
        if new.owner.is_some() {
            self.note_proof(old, new);
        }
        for gate in &new.gates {
            let before = old.gate(&gate.waiting);
            let name = key(&gate.waiting);
            if !self.gates.told.contains_key(&name) {
                let due = gate.told.as_ref().map_or(gate.deadline, |told| told.at);
                self.gates.open.insert(name, (new.id().to_owned(), due));
            }
            let Some(told) = gate.told.as_ref().filter(|told| told.pass) else { continue };
            if before.is_some_and(|before| before.told.is_some()) {
                continue;
            }
            let allowed = self.may_pass(id, new, gate);
            self.check(Invariant::PassOnlyWithProof, allowed.is_ok(), || {
                let why = allowed.err().unwrap_or_default();
                format!("{} is to pass ({}): {why}", gate.waiting.name(), told.why)
            });
        }
        let ended = new.phase.is_terminal() && new.owner.is_some();
        let left = |gate: &&Gate| gate.told.is_none() && new.gate(&gate.waiting).is_none();
        for gate in old.gates.iter().filter(left) {
            let name = key(&gate.waiting);
            let told = self.gates.told.contains_key(&name) || self.gates.gone.contains(&name);
            self.check(Invariant::GatesAreKept, told || ended, || {
                format!("{} is no longer on record in {}, and was not told", gate.waiting.name(), new.id())
            });
        }
    }

    fn note_proof(&mut self, old: &Record, new: &Record) {
        let name = new.id();
        if new.share() < Share::FULL && !new.share().same_as(old.share()) {
            self.gates.proven.remove(name);
        }
        if is_healthy(new) || was_healthy_before_full(new) {
            self.gates.proven.insert(name.to_owned());
        }
        if is_healthy(old) {
            self.gates.healthy_until.insert(name.to_owned(), self.now);
        }
    }

    /// Whether one who waits may be told to go on.
    fn may_pass(&self, id: usize, record: &Record, gate: &Gate) -> Result<(), String> {
        if key(&gate.waiting).contains(BEFORE) || is_healthy(record) {
            return Ok(());
        }
        let verdict = record.last.as_ref().map(|last| last.verdict);
        if verdict == Some(Verdict::Harmful) {
            return Err("the canary is harmful".to_owned());
        }
        if record.share() == Share::FULL && self.gates.proven.contains(record.id()) {
            return Ok(());
        }
        if let Waiting::EcsPause { deployment, .. } = &gate.waiting
            && (!record.has_compared() || self.gates.backs.contains(deployment))
        {
            return Ok(());
        }
        let late = self.clock_of(id) >= gate.deadline && !record.phase.is_terminal();
        if late && record.plan.on_deadline == OnDeadline::Pass {
            return Ok(());
        }
        Err(format!("the verdict is {:?} at {}", verdict.map(Verdict::name), record.share()))
    }

    /// Somebody was told, or was to be.
    pub(super) fn told(
        &mut self,
        id: usize,
        waiting: &Waiting,
        told: &Told,
        deployment: Option<&SimDeployment>,
        (came, arrived): (Result<(), FailureKind>, bool),
    ) {
        let name = key(waiting);
        self.tell_of(id, || {
            let failed = came.err().map_or_else(String::new, |kind| format!("({})", kind.name()));
            format!("tells {name} to {} {failed}: {}", if told.pass { "go on" } else { "go back" }, told.why)
        });
        self.troubled(id, came.is_err());
        if came == Err(FailureKind::NotFound) {
            self.gates.gone.insert(name.clone());
            self.gates.open.remove(&name);
        }
        if !arrived {
            return;
        }
        self.tally.answers += 1;
        if let Waiting::EcsPause { deployment, .. } = waiting
            && !told.pass
        {
            self.gates.backs.insert(deployment.clone());
        }
        let on_record =
            self.records().find_map(|record| record.gate(waiting)).and_then(|gate| gate.told.clone());
        match on_record {
            // A call was refused to one that asked at the same time: it says no without a record, and what came first
            // counts.
            Some(recorded) if !told.pass && recorded.why != told.why && !self.is_quiet(id) => {}
            Some(recorded) => {
                let before = self.gates.told.entry(name.clone()).or_default();
                before.push(told.pass);
                let same = before.iter().all(|pass| *pass == told.pass);
                let again = before.clone();
                self.check(Invariant::OneAnswerEach, same && recorded == *told, || {
                    format!("{name} was told {again:?}, and {recorded:?} is on record")
                });
            }
            // No rollout observes it, and so nobody can know that it is good.
            None => {
                let back = deployment.is_some_and(|deployment| deployment.state.is_going_back);
                self.check(Invariant::PassOnlyWithProof, !told.pass || back, || {
                    format!("{name} was told to go on, and no record says so")
                });
            }
        }
        self.gates.open.remove(&name);
    }

    /// A deployment was stopped, or was to be.
    pub(super) fn stopped(&mut self, id: usize, owner: &Owner, came: Result<(), FailureKind>, stopped: bool) {
        self.tell_of(id, || format!("stops {} {:?}", owner.name(), came.err().map(FailureKind::name)));
        self.troubled(id, came.is_err());
        self.tally.stops += u64::from(stopped);
        if let Owner::Ecs { deployment } = owner
            && stopped
        {
            self.gates.backs.insert(deployment.clone());
        }
    }

    /// ECS was answered at once.
    pub(super) fn answered_ecs(
        &mut self,
        id: usize,
        owner: &Owner,
        before: bool,
        back: bool,
        answer: &Value,
    ) {
        let passed = answer["hookStatus"] == "SUCCEEDED";
        let record = self.records().find(|record| record.owner.as_ref() == Some(owner));
        let proven = record.is_some_and(|record| {
            // It was when the question was asked; a tick that overlaps may have stored another verdict since.
            let lately =
                self.gates.healthy_until.get(record.id()).is_some_and(|until| *until >= self.began(id));
            let full = record.share() == Share::FULL && self.gates.proven.contains(record.id());
            is_healthy(record) || lately || full
        });
        let nothing = record.is_some_and(|record| {
            let harmful = record.last.as_ref().is_some_and(|last| last.verdict == Verdict::Harmful);
            !record.has_compared() && !harmful
        });
        let what = || format!("{} was answered {answer}", owner.name());
        self.check(Invariant::PassOnlyWithProof, !passed || before || back || nothing || proven, what);
    }

    /// Another system's weights are not written.
    pub(super) fn check_owner(&mut self, id: usize, targets: &Targets, share: Share) {
        let began = self.began(id);
        let on_rule = |record: &&Record| {
            record.plan.targets.listener_rule == targets.listener_rule && !record.phase.is_terminal()
        };
        // A rollout of ours that was there before keeps the rule: the deployment goes back.
        let ours = self.records().filter(on_rule).filter(|record| record.plan.mode == Mode::Drive);
        let first = ours.map(|record| record.started.at).min();
        let owned = self.records().filter(on_rule).find(|record| {
            let newer = first.is_some_and(|first| first <= record.started.at);
            let known = self.gates.created.get(record.id()).is_some_and(|created| *created < began);
            record.owner.is_some() && known && !newer
        });
        let owner = owned.map(|record| record.id().to_owned());
        self.check(Invariant::OwnersWeightsStay, owner.is_none(), || {
            format!("{share} was written on the rule of {}", owner.unwrap_or_default())
        });
    }

    /// A tick that nothing disturbed has ended: whoever could be told was, and whoever must be stopped.
    pub(super) fn check_waiting(
        &mut self,
        id: usize,
        answer: &Value,
        deployment: &impl Fn(&Owner) -> Option<SimDeployment>,
    ) {
        if !self.is_quiet(id) || answer["dropped"].is_string() {
            return;
        }
        let now = self.clock_of(id).min(self.now);
        let reports: Vec<(String, bool)> = answer["rollouts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|report| report["decision"] != "skipped" && report["decision"] != "failed")
            .map(|report| {
                let name = report["rollout"].as_str().unwrap_or_default().to_owned();
                (name, report["judgement"]["verdict"] == "harmful")
            })
            .collect();
        self.forget_ended(deployment);
        for (name, harmful) in &reports {
            self.check_told(name, now);
            if *harmful {
                self.check_stopped(name, deployment);
            }
        }
    }

    /// In a deployment that is over nobody waits.
    fn forget_ended(&mut self, deployment: &impl Fn(&Owner) -> Option<SimDeployment>) {
        let over: Vec<String> = self
            .records()
            .filter(|record| {
                let found = record.owner.as_ref().and_then(deployment);
                found.is_none_or(|deployment| deployment.state.ended.is_some())
            })
            .map(|record| record.id().to_owned())
            .collect();
        self.gates.open.retain(|_, (rollout, _)| !over.contains(rollout));
    }

    fn check_told(&mut self, rollout: &str, now: Timestamp) {
        let open = self.gates.open.iter();
        let due = open.filter(|(_, (of, deadline))| of == rollout && *deadline <= now);
        for name in due.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            let ticks = self.gates.late.entry(name.clone()).or_default();
            *ticks += 1;
            let ticks = *ticks;
            self.check(Invariant::WaitersAreTold, ticks <= LATE_TICKS, || {
                format!("{name} waits for {ticks} ticks after its deadline")
            });
        }
    }

    fn check_stopped(&mut self, rollout: &str, deployment: &impl Fn(&Owner) -> Option<SimDeployment>) {
        let record = self.records().find(|record| record.id() == rollout && !record.phase.is_terminal());
        let Some(owner) = record.and_then(|record| record.owner.clone()) else { return };
        let told = |deployment: &SimDeployment| deployment.told.iter().any(|(_, told)| !told.pass);
        let goes_on = deployment(&owner).is_some_and(|found| {
            found.state.ended.is_none() && !found.state.is_going_back && !found.stopped && !told(&found)
        });
        if !goes_on {
            self.gates.going.remove(rollout);
        }
        let ticks = self.gates.going.entry(rollout.to_owned()).or_default();
        *ticks += u32::from(goes_on);
        let ticks = *ticks;
        self.check(Invariant::HarmStopsTheOwner, ticks <= LATE_TICKS, || {
            format!("{} goes on {ticks} ticks after {rollout} was found harmful", owner.name())
        });
    }

    /// All faults have stopped some ticks ago: nobody waits whose time is over, and nobody was forgotten.
    pub(super) fn settle_gates(&mut self) {
        let records: Vec<Record> = self.records().cloned().collect();
        for record in &records {
            let now = self.now;
            let late = |gate: &&Gate| gate.told.is_some() || gate.deadline + GRACE <= now;
            let left = record.gates.iter().find(late).map(|gate| gate.waiting.name());
            self.check(Invariant::WaitersAreTold, left.is_none(), || {
                format!("{} still waits in {}", left.unwrap_or_default(), record.id())
            });
            let over = record.is_over() && !record.gates.is_empty();
            self.check(Invariant::GatesAreKept, !over, || format!("{} is over with open gates", record.id()));
        }
    }

    /// Another record takes a name: nobody may wait in the old one.
    pub(super) fn check_replaced(&mut self, old: &Record) {
        let (name, waits) = (old.id().to_owned(), old.gates.len());
        self.check(Invariant::GatesAreKept, waits == 0, || {
            format!("{name} was started anew while {waits} waited in it")
        });
        self.gates.proven.remove(&name);
    }
}
