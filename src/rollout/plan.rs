//! What a user asks for, checked: where the traffic is split, in which steps, and by which rules.

use serde::{Deserialize, Serialize};

use super::calendar::DenyWindows;
use super::gate::OnDeadline;
use crate::analysis::check::Rules;
use crate::analysis::window::Arm;
use crate::units::{Share, Span};

/// The default steps, in percent: small enough to hurt few, few enough to end within an hour or two.
pub const STEPS_PERCENT: [f64; 4] = [5.0, 25.0, 50.0, 100.0];
/// Minutes of stable before the first shift that teach the base rates.
pub const BASELINE: Span = Span::from_minutes(60);

/// For so long after the end at its last step a rollout can be aborted: long enough for the first complaints,
/// short enough that stable is usually still there.
pub const ROLLBACK_WINDOW: Span = Span::from_minutes(60);
/// A condition that lasts is paged again after so long.
pub const REMIND_EVERY: Span = Span::from_minutes(60);

/// A caller that waits is answered after so long, whatever is known: CodeDeploy gives up after an hour.
pub const ANSWER_WITHIN: Span = Span::from_minutes(55);

/// Where the traffic is split. The ARNs are checked: right service, right resource, one region and account.
///
/// Of a Lambda function, whose deployments are only observed, they are no ARNs: `function:NAME:ALIAS` stands for the
/// rule, and `function:NAME:VERSION` for each group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// The listener rule whose weights are written (`...:listener-rule/app/...`).
    pub listener_rule: String,
    /// The target group of the trusted version.
    pub stable: String,
    /// The target group of the new version.
    pub canary: String,
    /// The IAM role by which all three, their metrics and their traffic are looked after, where they are another
    /// account's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
}

/// The alias of a Lambda function, between two versions of which a deployment splits the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionAlias<'a> {
    /// The function's name.
    pub function: &'a str,
    /// The alias.
    pub alias: &'a str,
}

/// How the targets of a function begin.
const FUNCTION: &str = "function:";

impl Targets {
    /// The two versions of a Lambda function that an alias calls.
    #[must_use]
    pub fn of_function(function: &str, alias: &str, stable: &str, canary: &str) -> Self {
        let named = |part: &str| format!("{FUNCTION}{function}:{part}");
        Self { listener_rule: named(alias), stable: named(stable), canary: named(canary), role_arn: None }
    }

    /// The function's alias, if it is no load balancer's rule that splits the traffic.
    #[must_use]
    pub fn function(&self) -> Option<FunctionAlias<'_>> {
        let (function, alias) = self.listener_rule.strip_prefix(FUNCTION)?.split_once(':')?;
        Some(FunctionAlias { function, alias })
    }

    /// The target group of an arm; of a function, its version.
    #[must_use]
    pub fn of_arm(&self, arm: Arm) -> &str {
        match arm {
            Arm::Stable => &self.stable,
            Arm::Canary => &self.canary,
        }
    }

    /// The version of a function's arm.
    #[must_use]
    pub fn version(arm: &str) -> &str {
        arm.rsplit(':').next().unwrap_or(arm)
    }

    /// CloudWatch's `LoadBalancer` dimension: `app/NAME/ID`.
    #[must_use]
    pub fn load_balancer_dimension(&self) -> String {
        let path = self.listener_rule.split_once("listener-rule/").map_or("", |(_, rest)| rest);
        path.split('/').take(3).collect::<Vec<_>>().join("/")
    }

    /// CloudWatch's `TargetGroup` dimension of a group's ARN: `targetgroup/NAME/ID`.
    #[must_use]
    pub fn target_group_dimension(arn: &str) -> &str {
        arn.find("targetgroup/").map_or(arn, |at| &arn[at..])
    }

    /// The listener that the rule belongs to.
    #[must_use]
    pub fn listener(&self) -> String {
        let listener = self.listener_rule.replacen("listener-rule/", "listener/", 1);
        listener.rsplit_once('/').map_or(listener.clone(), |(arn, _)| arn.to_owned())
    }
}

/// What to do when a step is still undecided after `decide_within`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUndecided {
    /// Give up: drain and page.
    Drain,
    /// Stay on the step, keep watching, page once. The default: too little traffic is no fault of the
    /// canary, and a person can decide.
    Hold,
    /// Go on without proof, as long as nothing points to harm. The one exception to "never up without
    /// proof", and only by the plan's word.
    Promote,
}

/// What to do when the canary could not be observed for `blind_after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBlind {
    /// Drain and page. The default: an unobserved canary is an unguarded one.
    Drain,
    /// Stay on the step and page.
    Hold,
}

/// Whether weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Judge and act.
    Drive,
    /// Judge, record and page; write no weight.
    Observe,
}

/// Whether clients stick to the group that served them first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    /// As the rule says.
    Auto,
    /// They do, whatever the rule says (a cookie of the application's own, say).
    Yes,
    /// They do not.
    No,
}

/// A checked plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The rollout's name, unique among all.
    pub rollout: String,
    /// Where the traffic is split.
    pub targets: Targets,
    /// The shares to walk through, rising. The last is 100 % unless the rollout is to end short of it.
    pub steps: Vec<Share>,
    /// See [`OnUndecided`].
    pub on_undecided: OnUndecided,
    /// See [`OnBlind`].
    pub on_blind: OnBlind,
    /// See [`Mode`].
    pub mode: Mode,
    /// See [`Sticky`].
    pub sticky: Sticky,
    /// When the share is not raised.
    #[serde(default)]
    pub deny_windows: DenyWindows,
    /// CloudWatch alarms, by name or ARN, that drain the canary when they go off.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// For so long after its end at the last step the rollout can still be aborted.
    #[serde(default = "rollback_window")]
    pub rollback_window: Span,
    /// How often on-call is reminded of a condition that lasts; zero for never.
    #[serde(default = "remind_every")]
    pub remind_every: Span,
    /// A caller that waits for the verdict is answered after so long.
    #[serde(default = "answer_within")]
    pub answer_within: Span,
    /// With what it is answered then.
    #[serde(default = "on_deadline")]
    pub on_deadline: OnDeadline,
    /// Under this name each tick publishes whether harm was found.
    #[serde(default)]
    pub verdict_metric: Option<String>,
    /// What the judge goes by.
    pub rules: Rules,
}

fn answer_within() -> Span {
    ANSWER_WITHIN
}

fn on_deadline() -> OnDeadline {
    OnDeadline::Fail
}

fn rollback_window() -> Span {
    ROLLBACK_WINDOW
}

fn remind_every() -> Span {
    REMIND_EVERY
}
