//! What must hold, whatever happens: the table that `docs/reliability.md` prints.

/// A promise of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Up only with proof.
    UpOnlyWithProof,
    /// Harm is drained.
    HarmIsDrained,
    /// What has ended stays so.
    EndedStaysEnded,
    /// One page a transition.
    OnePageEach,
    /// Record and rule agree.
    RecordAndRuleAgree,
    /// Not ours, not touched.
    OthersUntouched,
    /// No traffic for the sick.
    NoTrafficForTheSick,
    /// Answers, not panics.
    SaneAnswers,
    /// Decisions have their inputs.
    DecisionsHaveInputs,
    /// One answer each.
    OneAnswerEach,
    /// Nobody passes without proof.
    PassOnlyWithProof,
    /// Who waits is told.
    WaitersAreTold,
    /// Harm stops the owner.
    HarmStopsTheOwner,
    /// The owner's weights stay.
    OwnersWeightsStay,
    /// Gates are kept.
    GatesAreKept,
}

impl Invariant {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::UpOnlyWithProof,
        Self::HarmIsDrained,
        Self::EndedStaysEnded,
        Self::OnePageEach,
        Self::RecordAndRuleAgree,
        Self::OthersUntouched,
        Self::NoTrafficForTheSick,
        Self::SaneAnswers,
        Self::DecisionsHaveInputs,
        Self::OneAnswerEach,
        Self::PassOnlyWithProof,
        Self::WaitersAreTold,
        Self::HarmStopsTheOwner,
        Self::OwnersWeightsStay,
        Self::GatesAreKept,
    ];

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// What it is called: `I1` to `I15`.
    #[must_use]
    pub fn number(self) -> String {
        format!("I{}", self.index() + 1)
    }

    /// Its name in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UpOnlyWithProof => "up only with proof",
            Self::HarmIsDrained => "harm is drained",
            Self::EndedStaysEnded => "what has ended stays so",
            Self::OnePageEach => "one page a transition",
            Self::RecordAndRuleAgree => "record and rule agree",
            Self::OthersUntouched => "not ours, not touched",
            Self::NoTrafficForTheSick => "no traffic for the sick",
            Self::SaneAnswers => "answers, not panics",
            Self::DecisionsHaveInputs => "decisions have their inputs",
            Self::OneAnswerEach => "one answer each",
            Self::PassOnlyWithProof => "nobody passes without proof",
            Self::WaitersAreTold => "who waits is told",
            Self::HarmStopsTheOwner => "harm stops the owner",
            Self::OwnersWeightsStay => "the owner's weights stay",
            Self::GatesAreKept => "gates are kept",
        }
    }

    /// What it says.
    #[must_use]
    pub fn says(self) -> &'static str {
        match self {
            Self::UpOnlyWithProof => {
                "the canary's share rises only by a shift that was noted before it was written, on a healthy \
                 verdict of the step, as the first shift, by a person's order or by on_undecided: promote; \
                 never while all rollouts are frozen, and by no tick in a deny window"
            }
            Self::HarmIsDrained => {
                "a tick that finds a canary harmful, or a drain still to be done, leaves it at zero, if it can \
                 read and write the rule and stable can take the traffic"
            }
            Self::EndedStaysEnded => {
                "no tick changes the phase of a rollout that has ended, and an order only that of a promoted \
                 one within rollback_window; a drained canary stays at zero until another hand or another \
                 rollout raises it"
            }
            Self::OnePageEach => {
                "each transition that pages has one key of its own; a key is sent twice only after a fault, a \
                 death or an overlap; each is sent in the end"
            }
            Self::RecordAndRuleAgree => {
                "some ticks after the faults have stopped, record and rule say the same share, and no shift, \
                 drain or page is left over"
            }
            Self::OthersUntouched => {
                "other groups of the rule keep their part of the traffic, and stickiness is only switched off \
                 by a drain"
            }
            Self::NoTrafficForTheSick => {
                "no share is raised for a canary, and no canary drained into a stable group, that was last \
                 seen without a healthy target"
            }
            Self::SaneAnswers => {
                "no invocation panics; each answers, or fails with a documented error and a cause; a record's \
                 version grows by one and its rollout stays the same"
            }
            Self::DecisionsHaveInputs => {
                "each change of phase or share is in the decision log, unless the log could not be written, \
                 and judging what is there gives the same judgement, bit by bit"
            }
            Self::OneAnswerEach => {
                "whoever waits in a rollout is told what was recorded before, and never two different answers, \
                 over all calls"
            }
            Self::PassOnlyWithProof => {
                "a deployment is told to go on only on a healthy verdict of the share that stands (of all shares, for \
                 CodeDeploy), or of the one \
                 before it reached 100 %, or by on_deadline: pass at the deadline without harm, or before its \
                 traffic, or when it goes back"
            }
            Self::WaitersAreTold => {
                "whoever waits is told some ticks after the deadline at the latest, once calls succeed"
            }
            Self::HarmStopsTheOwner => {
                "a deployment that raises a harmful canary's share is stopped, or its hook failed, by the ticks \
                 that can reach it"
            }
            Self::OwnersWeightsStay => {
                "no weight is written on a rule whose weights are a deployment's, unless a rollout of ours was \
                 there first"
            }
            Self::GatesAreKept => {
                "no record loses one who waits before he was told, or his deployment has ended, and no rollout is \
                 over while somebody waits in it"
            }
        }
    }
}

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// What was seen.
    pub what: String,
}
