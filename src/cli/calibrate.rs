//! `calibrate`: thousands of rollouts of a plan, to count how often its promises are kept.
//!
//! The rollouts are made of synthetic minutes, whose truth is known, and walked by the very judge of the
//! function. What is counted is what the plan is trusted with: good canaries that are drained, bad ones that
//! are promoted, and how long it takes to tell them apart.

mod faults;
mod kinds;
mod numbers;
mod progress;
mod report;

use super::Failure;
use super::args::{CalibrateArgs, ReportFormat};
use super::input;
use super::output::{Output, complain};
use crate::config::{CheckedPlan, Scope};
use crate::rollout::plan::Plan;
use crate::sim::synthetic::Workload;
use crate::sim::trials::{Trial, Walked, all_of, seed_of, walk};
use kinds::Kind;
use progress::Progress;
use report::Report;

/// Runs the rollouts and tells what came of them.
pub(super) fn calibrate(args: &CalibrateArgs, out: &mut Output) -> Result<u8, Failure> {
    let CheckedPlan { plan, warnings } = match &args.plan {
        Some(name) => input::plan(name, Scope::Offline)?,
        None => input::plan_to_start(None)?.0,
    };
    for warning in warnings.iter().filter(|_| args.plan.is_some()) {
        complain(&format!("warning: {warning}"));
    }
    let workload = kinds::workload(&plan, args);
    let asked = args.fault.iter().map(|text| faults::parse(text, &plan));
    let asked = asked.collect::<Result<Vec<_>, _>>().map_err(Failure::Usage)?;
    let late = asked.iter().find(|asked| asked.fault.from_minute >= i64::from(args.minutes));
    if let Some(late) = late {
        let rule = format!("--fault {}: starts after the last of {} minutes", late.name, args.minutes);
        return Err(Failure::Usage(rule));
    }
    let kinds = kinds::kinds(&plan, &workload, &asked, args);
    let walks = run(&plan, &kinds, args);
    let report = Report::new(&plan, &workload, &kinds, &walks, args);
    match args.format {
        ReportFormat::Text => report.tell(out),
        ReportFormat::Json => out.line(report.json()),
    }
    Ok(u8::from(!report.kept()))
}

/// All rollouts of all kinds, those of each kind in their order.
fn run(plan: &Plan, kinds: &[Kind], args: &CalibrateArgs) -> Vec<Vec<Walked>> {
    let runs = usize::try_from(args.runs).unwrap_or(usize::MAX);
    let job = |number: usize| {
        let kind = &kinds[number / runs];
        let workload: &Workload = &kind.workload;
        let trial = Trial { held: kind.held, ..Trial::of_plan(plan, workload, &kind.fault, args.minutes) };
        walk(&trial, seed_of(args.seed, number / runs, number % runs))
    };
    let mut progress = Progress::new(runs * kinds.len());
    let mut walks = all_of(runs * kinds.len(), job, |done| progress.tell(done)).into_iter();
    progress.end();
    kinds.iter().map(|_| walks.by_ref().take(runs).collect()).collect()
}
