//! `doctor`: would an installation work for a plan?

use serde_json::json;

use super::args::{DoctorArgs, ReportFormat};
use super::output::{Output, Style};
use super::remote::{Look, remote};
use super::waiting::waiting;
use super::words::wrap;
use super::{Failure, World, input};
use crate::config::{CheckedPlan, Scope};
use crate::doctor::{Finding, State, findings};

/// The first column.
const NAME: usize = 12;
/// What is wrapped beside it.
const TEXT: usize = 78;

/// Looks, and tells what is wrong and what to do.
pub(super) fn doctor(args: &DoctorArgs, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    let remote = remote(world)?;
    let at = (&args.ask.at).into();
    let checked = match (&args.plan, &args.rollout) {
        (Some(plan), _) => input::plan(plan, Scope::Rollout)?,
        (None, Some(rollout)) => {
            let record = waiting("asking AWS", || remote.record(&at, rollout))?;
            CheckedPlan { plan: record.plan, warnings: Vec::new() }
        }
        (None, None) => return Err(Failure::Usage("doctor wants a plan, or --rollout".to_owned())),
    };
    let function = args.function.clone().or_else(|| Some(args.ask.at.table.clone()));
    let function = function.filter(|_| !args.no_function && args.ask.at.store.is_none());
    let look = Look { at: world.now, watermark: args.watermark, function };
    let examined = waiting("looking", || remote.examine(&at, &checked.plan, &look))?;
    let mut found = findings(&checked.plan, &examined);
    let of_plan = |warning: &String| Finding {
        of: "plan",
        state: State::Notice,
        found: warning.clone(),
        fix: String::new(),
    };
    found.extend(checked.warnings.iter().map(of_plan));
    let faults = found.iter().filter(|finding| finding.state == State::Fault).count();
    match args.ask.format {
        ReportFormat::Json => {
            out.line(json!({ "rollout": checked.plan.rollout, "faults": faults, "findings": found }));
        }
        ReportFormat::Text => tell(&found, faults, out),
    }
    Ok(u8::from(faults > 0))
}

fn tell(found: &[Finding], faults: usize, out: &mut Output) {
    for finding in found {
        let (word, style) = match finding.state {
            State::Fine => ("ok", Style::Plain),
            State::Notice => ("notice", Style::Notice),
            State::Fault => ("FAULT", Style::Alarm),
        };
        for (at, line) in wrap(&finding.found, TEXT).iter().enumerate() {
            let head = if at == 0 { [word, finding.of] } else { ["", ""] };
            out.styled(style, format!("{:<8}{:<NAME$}{line}", head[0], head[1]));
        }
        for line in wrap(&finding.fix, TEXT).iter().filter(|line| !line.is_empty()) {
            out.line(format!("{:8}{:NAME$}{line}", "", ""));
        }
    }
    out.line("");
    match faults {
        0 => out.styled(
            Style::Good,
            "No fault was found. Whether the function may write the rule shows at its first shift.",
        ),
        1 => out.styled(Style::Alarm, "1 fault"),
        faults => out.styled(Style::Alarm, format!("{faults} faults")),
    }
}
