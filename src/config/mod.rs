//! From text to a checked [`Plan`]: the only way in.
//!
//! A plan is read into a tree of values first and then walked with the table of known keys, so that every
//! problem is found and told at once, with the key, the value and the rule. Reading it straight into the
//! types would be shorter and would stop at the first mistake.

mod amounts;
mod arn;
mod callers;
mod checks;
mod classes_check;
mod distributions;
mod github;
mod keys;
mod kind;
mod metric;
mod plan;
mod problem;
mod rate_checks;
mod reference;
mod schema;
pub(crate) mod settings;
mod size;
mod steps;
mod text;
mod values;
mod walk;
mod watch;

pub use callers::{KnownCaller, Secret};
pub use github::{AppKey, GithubApi, GithubApp, GithubRun, WebhookSecret};
pub use plan::{guard_plan, parse_plan_value};
pub use problem::{PlanErrors, Problem};
pub use reference::plan_reference;
pub use schema::{ReferenceRow, plan_reference_rows, plan_schema};
pub use settings::{Clock, KNOWN_SETTINGS, Settings, SettingsErrors};
pub use text::{PLAN_BYTES_MAX, parse_plan};

pub(crate) use callers::from_hex;
#[cfg(all(test, feature = "github"))]
pub(crate) use github::webhook_secret;
pub(crate) use problem::{SHOWN_PROBLEMS, on_one_line, unknown_key_rule, write_problems};
pub(crate) use size::SizeLimits;
pub(crate) use values::{is_name as is_rollout_name, name as rollout_name};

use crate::rollout::plan::Plan;

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To be carried out: it must say where the traffic is split.
    Rollout,
    /// For replay and simulation: the ARNs may be left out, and harmless stand-ins take their place. So may
    /// the metrics of checks, since recordings know them by the check's name.
    Offline,
}

/// A plan that keeps all rules, with what its author may not have meant.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedPlan {
    /// The plan.
    pub plan: Plan,
    /// One sentence each.
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod check_tests;
#[cfg(test)]
pub(crate) mod schema_tests;
#[cfg(test)]
mod tests;
