//! What the judge says, and why.

use serde::{Deserialize, Serialize};

use super::threshold::Thresholds;
use super::window::{Arm, Tally};
use crate::units::{Minute, Share};

/// The answer, in three honest states and one that says that nobody looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Proven no worse than the plan allows, on this step, over its whole bake time.
    Healthy,
    /// Proven worse than the plan tolerates.
    Harmful,
    /// Not yet known.
    Undecided,
    /// Not observable: data is missing or was not read whole. Never good news.
    Blind,
}

impl Verdict {
    /// The word for it in logs and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Harmful => "harmful",
            Self::Undecided => "undecided",
            Self::Blind => "blind",
        }
    }
}

/// Why the verdict is what it is. Where several hold at once, the first in this order is named; the
/// verdict is the same for all reasons of its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    /// Error rate surely above the immediate trigger.
    AboveAbort {
        /// Which check.
        check: String,
        /// The minute that settled it.
        minute: Minute,
    },
    /// Surely worse than tolerated.
    WorseThanStable {
        /// The check with the most evidence.
        check: String,
        /// The minute that settled it.
        minute: Minute,
    },
    /// Surely above an absolute limit.
    AboveSlo {
        /// Which check.
        check: String,
        /// The minute that settled it.
        minute: Minute,
    },
    /// The canary has done more damage than the plan puts up with, surely worse than stable or not.
    BudgetSpent {
        /// Errors beyond what stable would have given, rounded up.
        excess: u64,
        /// So many the plan puts up with.
        budget: u64,
        /// The minute that settled it.
        minute: Minute,
    },
    /// The metrics could not be read whole.
    ReadIncomplete {
        /// What the source said.
        detail: String,
    },
    /// No minute has been published yet, or none for too long.
    NoData {
        /// How many minutes in a row.
        minutes: u32,
    },
    /// Stable has traffic and the canary has none.
    CanarySilent {
        /// How many minutes in a row.
        minutes: u32,
    },
    /// The canary publishes no samples of a check's metric, and stable does.
    CheckSilent {
        /// Which check.
        check: String,
        /// How many minutes in a row.
        minutes: u32,
    },
    /// Nothing to judge before the first shift.
    NoTraffic,
    /// Both groups still run the same version.
    BurningIn {
        /// Minutes left; `None` until somebody says that the new version is there.
        minutes_left: Option<u32>,
    },
    /// The canary warms up.
    WarmingUp {
        /// Minutes left.
        minutes_left: u32,
    },
    /// The evidence points to harm, but not surely.
    HarmSuspected {
        /// The check with the most evidence.
        check: String,
    },
    /// Surely worse than stable, but clients are sticky, so that it may be the clients: a person must look.
    SuspectedOfSticky {
        /// Which check.
        check: String,
    },
    /// The canary gets another part of the traffic than the weights say.
    SplitOff {
        /// Percent by the weights.
        expected: Share,
        /// Percent of the requests on this step.
        observed: Share,
    },
    /// Health is not proven yet.
    NotYetProven {
        /// The check that lacks most.
        check: String,
    },
    /// Too few requests on this step.
    TooFewRequests {
        /// The arm that lacks them.
        arm: Arm,
        /// So many there were.
        have: u64,
        /// So many it takes.
        need: u64,
    },
    /// Proven healthy, but not for long enough.
    Baking {
        /// Minutes left.
        minutes_left: u32,
    },
    /// Proven healthy, and long enough.
    Proven,
}

impl Reason {
    /// The stable word for it; runbooks are keyed by it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AboveAbort { .. } => "above_abort",
            Self::WorseThanStable { .. } => "worse_than_stable",
            Self::AboveSlo { .. } => "above_slo",
            Self::BudgetSpent { .. } => "budget_spent",
            Self::ReadIncomplete { .. } => "read_incomplete",
            Self::NoData { .. } => "no_data",
            Self::CanarySilent { .. } => "canary_silent",
            Self::CheckSilent { .. } => "check_silent",
            Self::NoTraffic => "no_traffic",
            Self::BurningIn { .. } => "burning_in",
            Self::WarmingUp { .. } => "warming_up",
            Self::HarmSuspected { .. } => "harm_suspected",
            Self::SuspectedOfSticky { .. } => "suspected_of_sticky",
            Self::SplitOff { .. } => "split_off",
            Self::NotYetProven { .. } => "not_yet_proven",
            Self::TooFewRequests { .. } => "too_few_requests",
            Self::Baking { .. } => "baking",
            Self::Proven => "proven",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AboveAbort { check, .. } => {
                write!(f, "{check}: surely above the immediate trigger")
            }
            Self::WorseThanStable { check, .. } => {
                write!(f, "{check}: surely worse than stable by more than tolerated")
            }
            Self::AboveSlo { check, .. } => write!(f, "{check}: surely above the SLO"),
            Self::BudgetSpent { excess, budget, .. } => write!(
                f,
                "the canary has given {excess} more errors than stable would have, more than \
                 bad_request_budget ({budget})"
            ),
            Self::ReadIncomplete { detail } => write!(f, "metrics not read whole: {detail}"),
            Self::NoData { minutes } => write!(f, "no complete minute for {minutes} min"),
            Self::CanarySilent { minutes } => {
                write!(f, "no canary request for {minutes} min while stable has traffic")
            }
            Self::CheckSilent { check, minutes } => {
                write!(f, "{check}: no sample of the canary for {minutes} min while stable has some")
            }
            Self::NoTraffic => f.write_str("no whole minute with canary traffic yet"),
            Self::BurningIn { minutes_left: Some(left) } => {
                write!(f, "burn-in with the same version in both groups, {left} min left")
            }
            Self::BurningIn { minutes_left: None } => {
                f.write_str("burn-in done: deploy the new version to the canary group, then resume")
            }
            Self::WarmingUp { minutes_left } => {
                write!(f, "warming up, {minutes_left} min left")
            }
            Self::HarmSuspected { check } => {
                write!(f, "{check}: looks worse than stable, not yet surely")
            }
            Self::SuspectedOfSticky { check } => write!(
                f,
                "{check}: surely worse than stable, but clients are sticky and may be the reason; look at it"
            ),
            Self::SplitOff { expected, observed } => write!(
                f,
                "the canary got {observed} of the requests where the weights say {expected}: weights not \
                 applied, sticky clients, or failing health checks"
            ),
            Self::NotYetProven { check } => write!(f, "{check}: health not proven yet"),
            Self::TooFewRequests { arm, have, need } => {
                write!(f, "{arm} has {have} of {need} requests on this step")
            }
            Self::Baking { minutes_left } => {
                write!(f, "proven healthy, {minutes_left} min of bake time left")
            }
            Self::Proven => f.write_str("proven healthy"),
        }
    }
}

/// What one check has found so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckEvidence {
    /// Its key in the plan.
    pub name: String,
    /// Natural log of the evidence that the canary is worse than tolerated, over the rollout.
    pub log_e_harm: f64,
    /// Natural log of the evidence that it is as good as promised, on this step; ends at ln(1/beta).
    pub log_e_health: f64,
    /// Natural log of the evidence that the immediate trigger is exceeded.
    pub log_e_abort: Option<f64>,
    /// Judged minutes of this step; of a check with several parts, the one that looks worst.
    pub stable: Tally,
    /// Judged minutes of this step; of a check with several parts, the one that looks worst.
    pub canary: Tally,
    /// Its part of the rollout's evidence; those of all checks sum to 1.
    pub weight: f64,
    /// What it is made of, where that is more than one comparison: a quantile or a class each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartEvidence>,
    /// What one must know to read it: thresholds, margins, what is left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Divides the evidence: counts are this many times noisier than binomial.
    pub design_effect: f64,
    /// Canary requests still needed to prove health, if it is as good as stable.
    pub requests_needed: Option<f64>,
}

impl CheckEvidence {
    /// Of several parts the one that looks worst.
    #[must_use]
    pub fn worst_part(&self) -> Option<&PartEvidence> {
        self.parts.iter().max_by(|a, b| a.log_e_harm.total_cmp(&b.log_e_harm))
    }

    /// Both arms on this step, side by side, for people; of several parts, the one that looks worst.
    #[must_use]
    pub fn compared(&self) -> String {
        let arm = |t: Tally| format!("{:.2} % ({} of {})", t.rate() * 100.0, t.bad, t.total);
        let part = self.worst_part().map_or_else(String::new, |part| format!(" {}", part.name));
        format!("{}{part}: canary {}, stable {}", self.name, arm(self.canary), arm(self.stable))
    }
}

/// What one comparison of a check has found so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartEvidence {
    /// What is compared, such as `p99 > 0.4665` or a class.
    pub name: String,
    /// As of the whole check.
    pub log_e_harm: f64,
    /// As of the whole check; `None` if it is judged for harm only.
    pub log_e_health: Option<f64>,
    /// Judged minutes of this step.
    pub stable: Tally,
    /// Judged minutes of this step.
    pub canary: Tally,
    /// Canary samples still needed to prove health.
    pub requests_needed: Option<f64>,
}

/// Where the step stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepProgress {
    /// The canary's share.
    pub share: Share,
    /// The step's first minute.
    pub since: Minute,
    /// Minutes since then that were published whole, judged or not; without burn-in and warm-up.
    pub minutes: u32,
    /// Minutes that were judged.
    pub judged: u32,
    /// Requests of stable in judged minutes.
    pub stable_requests: u64,
    /// Requests of the canary in judged minutes.
    pub canary_requests: u64,
}

/// How much harm the canary may have done: its whole exposure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Blast {
    /// Minutes with a share above zero.
    pub minutes: u32,
    /// Requests that the canary got.
    pub requests: u64,
    /// Bad requests beyond what stable's rate in the same minutes would have given; below zero if fewer.
    pub excess_bad: f64,
}

/// The judge's answer after its last minute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The last minute that was looked at.
    pub minute: Option<Minute>,
    /// The answer.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Natural log of the evidence of harm over all checks.
    pub log_e_harm: f64,
    /// Each check's part.
    pub checks: Vec<CheckEvidence>,
    /// Thresholds that are settled and stay, for the record; those that are still being learnt are not here.
    #[serde(default, skip_serializing_if = "Thresholds::is_empty")]
    pub thresholds: Thresholds,
    /// Where the step stands; `None` before the first shift.
    pub step: Option<StepProgress>,
    /// Minutes in a row, up to the last, without usable data.
    pub blind_minutes: u32,
    /// The canary's exposure so far.
    pub blast: Blast,
    /// About how many minutes until health is proven, if the canary is as good as stable.
    pub minutes_to_verdict: Option<u32>,
}
