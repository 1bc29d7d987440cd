//! `check` and `schema`.

use serde_json::json;

use super::Failure;
use super::args::{CheckArgs, ReportFormat, SchemaArgs, SchemaFormat};
use super::input;
use super::output::{Output, Style};
use crate::config::{CheckedPlan, PlanErrors, Problem, Scope, plan_reference, plan_schema};

/// Says that a plan can be started, or everything that is wrong with it.
pub(super) fn check(args: &CheckArgs, out: &mut Output) -> Result<u8, Failure> {
    if args.format == ReportFormat::Json {
        return check_json(args, out);
    }
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

/// The same for machines: a plan with problems is an answer, too.
fn check_json(args: &CheckArgs, out: &mut Output) -> Result<u8, Failure> {
    match input::checked_plan(&args.plan, Scope::Rollout)? {
        Ok(CheckedPlan { plan, warnings }) => {
            out.line(json!({
                "rollout": plan.rollout,
                "steps": plan.steps,
                "warnings": warnings,
                "problems": [],
            }));
            Ok(0)
        }
        Err(PlanErrors(problems)) => {
            let told = |problem: &Problem| json!({ "key": problem.key, "value": problem.value, "rule": problem.rule });
            out.line(json!({ "problems": problems.iter().map(told).collect::<Vec<_>>() }));
            Ok(Failure::DATA)
        }
    }
}

/// Prints what a plan may say: its JSON Schema, or the reference.
pub(super) fn schema(args: &SchemaArgs, out: &mut Output) -> Result<u8, Failure> {
    match args.format {
        SchemaFormat::Json => out.line(format_args!("{:#}", plan_schema())),
        SchemaFormat::Markdown => out.line(plan_reference().trim_end()),
    }
    Ok(0)
}
