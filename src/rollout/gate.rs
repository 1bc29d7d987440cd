//! Callers that wait for a rollout's verdict: parked in its record, answered by a tick.
//!
//! An answer is recorded before it is given, so that nobody is told two things, and stays until it was taken. The
//! callers take the same answer twice without harm.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::plan::{ANSWER_WITHIN, Plan};
use super::record::{Audit, PageKind, Phase, Record};
use super::standing::{Answer, Standing};
use crate::units::Span;

/// A call that fails once is no reason to wake somebody.
const PAGED_AFTER: SignedDuration = SignedDuration::from_mins(3);
/// Who waits at GitHub waits for up to 30 days. One who can't be told for so long (the App was taken away, say) is
/// given up, or no other rollout could have the name.
const GITHUB_GIVEN_UP_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// GitHub fails what waits for 30 days; a day before that it is told why.
const GITHUB_WAITS: Span = Span::from_minutes(29 * 24 * 60);

/// A deployment that still goes on so long after it was told to go back is told again.
const STOPPED_AGAIN: SignedDuration = SignedDuration::from_mins(2);
/// A deployment that is not found for so long is gone; one answer may be wrong.
const GONE_AFTER: SignedDuration = SignedDuration::from_mins(3);
/// A deployment asks some times; so many answers are remembered.
const TOLD_MAX: usize = 16;

/// A rollout's name has 63 letters at most: these for what the deployment belongs to, and these for its own id.
const NAME_BASE: usize = 30;
const NAME_END: usize = 32;

/// Who waits, and what it takes to tell them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Waiting {
    /// A lifecycle hook of a CodeDeploy deployment.
    CodeDeployHook {
        /// `d-...`.
        deployment: String,
        /// What the hook's event carries.
        execution: String,
    },
    /// A pause hook of an ECS service deployment.
    EcsPause {
        /// The service deployment's ARN.
        deployment: String,
        /// The hook's id.
        hook: String,
    },
    /// A protection rule of a GitHub deployment.
    Github {
        /// Where the answer goes.
        callback_url: String,
        /// The environment that is protected.
        environment: String,
        /// The App's installation, whose token is needed.
        installation: u64,
    },
}

impl Waiting {
    /// In words, for logs and pages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::CodeDeployHook { deployment, .. } => format!("CodeDeploy deployment {deployment}"),
            Self::EcsPause { deployment, hook } => format!("ECS hook {hook} of {deployment}"),
            Self::Github { environment, .. } => format!("GitHub environment {environment}"),
        }
    }

    /// How long it waits for an answer. CodeDeploy waits for no longer than the default of `answer_within`, whatever
    /// the plan says. For a rollout of many steps that is too short: at GitHub it counts only if it was set.
    fn patience(&self, plan: &Plan) -> Span {
        match self {
            Self::CodeDeployHook { .. } => plan.answer_within.min(ANSWER_WITHIN),
            Self::Github { .. } if plan.answer_within == ANSWER_WITHIN => GITHUB_WAITS,
            Self::Github { .. } | Self::EcsPause { .. } => plan.answer_within,
        }
    }

    /// What could not be told for so long is not told any more.
    #[must_use]
    pub fn is_given_up(&self, told: &Told, now: Timestamp) -> bool {
        matches!(self, Self::Github { .. }) && now.duration_since(told.at) >= GITHUB_GIVEN_UP_AFTER
    }

    /// It waits in this deployment.
    pub(super) fn is_of(&self, owner: Option<&Owner>) -> bool {
        match (self, owner) {
            (Self::CodeDeployHook { deployment, .. }, Some(Owner::CodeDeploy { deployment: own }))
            | (Self::EcsPause { deployment, .. }, Some(Owner::Ecs { deployment: own })) => deployment == own,
            _ => false,
        }
    }
}

/// What a caller is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Go on; else go back.
    pub pass: bool,
    /// Why, in words.
    pub why: String,
    /// When it was decided.
    pub at: Timestamp,
}

/// One who waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Who.
    pub waiting: Waiting,
    /// Since when.
    pub asked: Timestamp,
    /// An answer must be given by then, whatever is known.
    pub deadline: Timestamp,
    /// What is to be told, once that is decided.
    pub told: Option<Told>,
}

impl Gate {
    /// One who has waited since then, and has no answer.
    #[must_use]
    pub fn new(waiting: Waiting, plan: &Plan, since: Timestamp, now: Timestamp) -> Self {
        let deadline = since + waiting.patience(plan).signed();
        Self { waiting, asked: now, deadline, told: None }
    }

    /// The pause hooks that an ECS deployment waits in.
    pub fn pauses<'a>(
        deployment: &'a str,
        hooks: &'a [String],
        plan: &'a Plan,
        now: Timestamp,
    ) -> impl Iterator<Item = Self> + 'a {
        hooks.iter().map(move |hook| {
            let waiting = Waiting::EcsPause { deployment: deployment.to_owned(), hook: hook.clone() };
            Self::new(waiting, plan, now, now)
        })
    }
}

/// What came of stopping a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It goes back.
    Done,
    /// It was over, and the harmful version is in place.
    TooLate,
    /// It goes on.
    Failed,
}

/// Who writes the weights that a rollout only observes, and can be told to go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Owner {
    /// A CodeDeploy deployment.
    CodeDeploy {
        /// `d-...`.
        deployment: String,
    },
    /// An ECS service deployment.
    Ecs {
        /// Its ARN.
        deployment: String,
    },
}

impl Owner {
    /// The name of the rollout that observes it: what it belongs to, and the end of its own name, in the letters
    /// that a rollout's name may have.
    #[must_use]
    pub fn rollout(&self, of: &str) -> String {
        let (Self::CodeDeploy { deployment } | Self::Ecs { deployment }) = self;
        let plain = |text: &str| -> String {
            let mapped =
                text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
            mapped.collect()
        };
        let end = deployment.rsplit('/').next().unwrap_or(deployment);
        let (base, end) = (plain(of.rsplit('/').next().unwrap_or(of)), plain(end));
        let (base, end) = (base.trim_matches('-'), end.trim_matches('-'));
        let end = &end[end.len().saturating_sub(NAME_END)..];
        let base = &base[..base.len().min(NAME_BASE)];
        format!("{base}-{end}").trim_matches('-').to_owned()
    }

    /// In words, for logs and pages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::CodeDeploy { deployment } => format!("CodeDeploy deployment {deployment}"),
            Self::Ecs { deployment } => format!("ECS service deployment {deployment}"),
        }
    }
}

/// What is said of the deployments of one application or service: how they are judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// `codedeploy:APPLICATION/GROUP` or `ecs:CLUSTER/SERVICE`.
    pub of: String,
    /// The plan as it was written. What it says of targets holds; what it does not say is found out.
    pub plan: serde_json::Value,
    /// Who said so.
    pub by: Audit,
}

/// What the plan says of those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadline {
    /// Not known to be good in time is not good enough. The default.
    Fail,
    /// Go on unless harm was found.
    Pass,
}

impl Record {
    /// With one more who waits. The same one twice waits once, and who was told is told the same again: the question
    /// may be delivered late, when another answer would be right.
    #[must_use]
    pub fn parking(mut self, gate: Gate) -> Self {
        if let Some(at) = self.told.iter().position(|told| told.waiting == gate.waiting) {
            self.gates.push(self.told.remove(at));
        } else if self.gate(&gate.waiting).is_none() {
            self.gates.push(gate);
        }
        self
    }

    /// Who waits, or has waited, in this rollout.
    #[must_use]
    pub fn gate(&self, waiting: &Waiting) -> Option<&Gate> {
        self.gates.iter().chain(&self.told).find(|gate| gate.waiting == *waiting)
    }

    /// With what a tick was told of the deployment that writes the weights: that it was not found, or that it goes
    /// back by itself.
    #[must_use]
    pub fn seeing_owner(mut self, found: bool, is_going_back: bool, now: Timestamp) -> Self {
        self.owner_gone = (!found).then(|| self.owner_gone.unwrap_or(now));
        if is_going_back {
            self.owner_stopped = Some(now);
        }
        self
    }

    /// The deployment was not found for so long that it is no mistake.
    #[must_use]
    pub fn has_lost_owner(&self, now: Timestamp) -> bool {
        self.owner_gone.is_some_and(|since| now.duration_since(since) >= GONE_AFTER)
    }

    /// Somebody waits and has no answer.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.gates.iter().any(|gate| gate.told.is_none())
    }

    /// With an answer for everybody who can be given one now, and whether there was anybody. `standing` is what those
    /// get who raise shares.
    #[must_use]
    pub fn answering(&self, standing: &Standing, now: Timestamp) -> Option<Self> {
        let mut next = self.clone();
        let mut late = Vec::new();
        for gate in next.gates.iter_mut().filter(|gate| gate.told.is_none()) {
            gate.told = tell(gate, standing, self.plan.on_deadline, now);
            if gate.told.is_some() && standing.answer == Answer::Hold {
                late.push(gate.waiting.name());
            }
        }
        if next.gates == self.gates {
            return None;
        }
        if let Some(told) = next.gates.iter().filter_map(|gate| gate.told.as_ref()).next_back()
            && !late.is_empty()
        {
            let why = format!("{}: {}", late.join(", "), told.why);
            return Some(next.paging(PageKind::GateTimedOut, &why, now));
        }
        Some(next)
    }

    /// Those who can be told now.
    pub fn answered(&self) -> impl Iterator<Item = (&Waiting, &Told)> {
        self.gates.iter().filter_map(|gate| gate.told.as_ref().map(|told| (&gate.waiting, told)))
    }

    /// After those who have an answer were told, or some of them, and others no longer waited. Who could not be told
    /// for some ticks is paged.
    #[must_use]
    pub fn having_told(mut self, told: &[Waiting], gone: &[Waiting], now: Timestamp) -> Self {
        let goes_back =
            |gate: &Gate| told.contains(&gate.waiting) && gate.told.as_ref().is_some_and(|told| !told.pass);
        if self.gates.iter().any(|gate| goes_back(gate) && gate.waiting.is_of(self.owner.as_ref())) {
            self.owner_stopped = Some(now);
        }
        let is_done = |gate: &Gate| {
            gate.told.is_some() && (told.contains(&gate.waiting) || gone.contains(&gate.waiting))
        };
        self = self.remembering(is_done);
        let late = |told: &Told| now.duration_since(told.at) >= PAGED_AFTER;
        let stuck = self.gates.iter().find(|gate| gate.told.as_ref().is_some_and(late));
        match stuck.map(|gate| format!("{} could not be told", gate.waiting.name())) {
            Some(why) => self.paging_once(PageKind::GateNotTold, &why, now),
            None => self,
        }
    }

    /// After the owner of the weights was told to go back, or could not be.
    #[must_use]
    pub fn having_stopped(mut self, owner: &Owner, stop: Stop, now: Timestamp) -> Self {
        let name = owner.name();
        let reason = Standing::of(&self, now).why;
        match stop {
            Stop::Failed => self.paging_once(PageKind::NotStopped, &format!("{name} goes on: {reason}"), now),
            Stop::TooLate => {
                self.owner_stopped = Some(now);
                let why = format!("{name} is over already, the new version has all traffic: {reason}");
                self.paging_once(PageKind::NotStopped, &why, now)
            }
            Stop::Done => {
                self.owner_stopped = Some(now);
                self.paging_once(PageKind::DeploymentStopped, &format!("{name}: {reason}"), now)
            }
        }
    }

    /// With a yes for those who wait in the deployment, in which nothing could be seen yet, or which goes back.
    #[must_use]
    pub fn letting_begin(mut self, why: &str, now: Timestamp) -> Self {
        let owner = self.owner.clone();
        for gate in
            self.gates.iter_mut().filter(|gate| gate.told.is_none() && gate.waiting.is_of(owner.as_ref()))
        {
            gate.told = Some(Told { pass: true, why: why.to_owned(), at: now });
        }
        self
    }

    /// Without those who waited in a deployment that is over, and could not be told. Should they ask again, they are
    /// told the same.
    #[must_use]
    pub fn without_lost_gates(self) -> Self {
        let (owner, ended) = (self.owner.clone(), self.phase.is_terminal());
        self.remembering(|gate| ended && gate.told.is_some() && gate.waiting.is_of(owner.as_ref()))
    }

    /// With some of those who have an answer only remembered.
    fn remembering(mut self, is_done: impl Fn(&Gate) -> bool) -> Self {
        let (done, left): (Vec<_>, Vec<_>) = self.gates.into_iter().partition(is_done);
        self.gates = left;
        // A run of GitHub's asks again under the same address when a person starts it again.
        self.told.extend(done.into_iter().filter(|gate| !matches!(gate.waiting, Waiting::Github { .. })));
        let surplus = self.told.len().saturating_sub(TOLD_MAX);
        self.told.drain(..surplus);
        self
    }

    /// The owner of the weights must be stopped: harm was found while it raises them, and nobody has told it, or it
    /// goes on although it was told.
    #[must_use]
    pub fn must_stop(&self, now: Timestamp) -> Option<&Owner> {
        let lately = |at: Timestamp| now.duration_since(at) < STOPPED_AGAIN;
        let owner = self.owner.as_ref().filter(|_| !self.owner_stopped.is_some_and(lately))?;
        let going = matches!(self.phase, Phase::Waiting | Phase::Running | Phase::Paused | Phase::Frozen);
        // A hook that waits is told first: its caller goes back by itself.
        let open = self.gates.iter().any(|gate| gate.told.is_none());
        (going && !open && Standing::of(self, now).answer == Answer::Fail).then_some(owner)
    }
}

fn tell(gate: &Gate, standing: &Standing, on_deadline: OnDeadline, now: Timestamp) -> Option<Told> {
    let told = |pass, why| Some(Told { pass, why, at: now });
    match standing.answer {
        Answer::Pass => told(true, standing.in_numbers()),
        Answer::Fail => told(false, standing.in_numbers()),
        Answer::Hold if now < gate.deadline => None,
        Answer::Hold => {
            let why = format!("no verdict by {}: {}", gate.deadline, standing.in_numbers());
            told(on_deadline == OnDeadline::Pass && !standing.unwatched, why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;
    use crate::units::Minute;

    fn waits(minutes: i64) -> Gate {
        let waiting = Waiting::CodeDeployHook { deployment: "d-1".into(), execution: "after".into() };
        Gate { waiting, asked: at(0), deadline: at(minutes), told: None }
    }

    #[test]
    fn nobody_passes_at_the_deadline_where_nobody_watches() {
        for (ticked, pass) in [(19, true), (2, false)] {
            let mut record =
                Record::on(0).planned(|plan| plan.on_deadline = OnDeadline::Pass).parking(waits(20));
            record.last_tick = Some(Minute::of(at(ticked)));
            assert_eq!(record.answering(&Standing::of(&record, at(19)), at(19)), None);
            let told =
                record.answering(&Standing::of(&record, at(20)), at(20)).unwrap().gates[0].told.clone();
            assert_eq!(told.map(|told| told.pass), Some(pass));
        }
    }

    #[test]
    fn a_rollout_is_not_over_while_somebody_waits_in_it() {
        let mut record = Record::on(0).in_phase(Phase::Stopped);
        assert!(record.is_over() && !record.needs_ticks());
        record = record.parking(waits(20));
        assert!(!record.is_over() && record.needs_ticks());
        let told = record.answering(&Standing::of(&record, at(1)), at(1)).unwrap();
        assert!(told.gates[0].told.as_ref().is_some_and(|told| !told.pass));
        assert!(!told.is_over());
        let waiting = told.gates[0].waiting.clone();
        assert!(told.having_told(&[waiting], &[], at(1)).is_over());
    }

    #[test]
    fn few_answers_are_remembered_and_none_of_github() {
        let mut record = Record::on(0).in_phase(Phase::Stopped);
        for number in 0..30 {
            let mut gate = waits(20);
            gate.waiting = match number % 2 {
                0 => Waiting::CodeDeployHook { deployment: "d-1".into(), execution: number.to_string() },
                _ => Waiting::Github {
                    callback_url: number.to_string(),
                    environment: "prod".into(),
                    installation: 1,
                },
            };
            let waiting = gate.waiting.clone();
            record = record.parking(gate);
            let standing = Standing::of(&record, at(1));
            record = record.answering(&standing, at(1)).unwrap().having_told(&[waiting], &[], at(1));
        }
        assert_eq!(record.told.len(), 15);
        record.told.extend((0..9).map(|_| waits(20)));
        let record = record.parking(waits(30));
        let told = record.answering(&Standing::of(&record, at(2)), at(2)).unwrap();
        let waiting = told.gates[0].waiting.clone();
        assert_eq!(told.having_told(&[waiting], &[], at(2)).told.len(), TOLD_MAX);
    }
}
