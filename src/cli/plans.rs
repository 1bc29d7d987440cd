//! `check` and `schema`.

use super::Failure;
use super::args::CheckArgs;
use super::input;
use super::output::{Output, Style};
use crate::config::{Scope, plan_schema};

/// Says that a plan can be started, or everything that is wrong with it.
pub(super) fn check(args: &CheckArgs, out: &mut Output) -> Result<u8, Failure> {
    let checked = input::plan(&args.plan, Scope::Rollout)?;
    let plan = &checked.plan;
    let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    let name = input::said(&args.plan);
    out.styled(Style::Good, format!("{name}: OK: {}, steps {}", plan.rollout, steps.join(", ")));
    for warning in &checked.warnings {
        out.styled(Style::Notice, format!("warning: {warning}"));
    }
    Ok(0)
}

/// Prints the JSON Schema of a plan.
pub(super) fn schema(out: &mut Output) -> Result<u8, Failure> {
    out.line(format_args!("{:#}", plan_schema()));
    Ok(0)
}
