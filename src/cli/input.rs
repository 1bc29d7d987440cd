//! Files, or standard input where the name is `-`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use serde_json::Value;

use super::Failure;
use crate::config::{CheckedPlan, PLAN_BYTES_MAX, PlanErrors, Scope, parse_plan};
use crate::recording::{self, ReadError, Recording};
use crate::rollout::plan::Plan;
use crate::sim::run::{default_plan, with_targets};

/// The name as a person would say it.
pub(super) fn said(name: &str) -> &str {
    if name == "-" { "standard input" } else { name }
}

/// Opens a file to be read from its beginning.
fn open(name: &str) -> io::Result<Box<dyn BufRead>> {
    if name == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(BufReader::new(File::open(name)?)))
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::NoInput(format!("{} can't be read: {error}", said(name)))
}

/// Reads a plan as text, and no more of it than tells that it is too long.
fn text(name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    open(name)
        .and_then(|from| from.take(PLAN_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(name, &error))?;
    if bytes.len() > PLAN_BYTES_MAX {
        let rule = format!("the plan has more than {PLAN_BYTES_MAX} bytes; no more are read");
        return Err(Failure::Data(format!("{}: {rule}", said(name))));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::Data(format!("{} is not UTF-8 text (byte {at})", said(name)))
    })
}

/// Reads recorded minutes.
pub(super) fn recording(name: &str) -> Result<Recording, Failure> {
    let from = open(name).map_err(|error| unreadable(name, &error))?;
    recording::read(from).map_err(|error| match error {
        ReadError::Source(error) => unreadable(name, &error),
        ReadError::Wrong(errors) => Failure::Data(format!("{}: {errors}", said(name))),
    })
}

/// Reads and checks a plan.
pub(super) fn plan(name: &str, scope: Scope) -> Result<CheckedPlan, Failure> {
    checked(name, &text(name)?, scope)
}

/// Reads YAML or JSON of any content.
pub(super) fn value(name: &str) -> Result<Value, Failure> {
    let value = serde_saphyr::from_str::<Value>(&text(name)?);
    value.map_err(|error| Failure::Data(format!("{}: {error}", said(name))))
}

/// Reads and checks a plan for whoever wants the problems themselves.
pub(super) fn checked_plan(name: &str, scope: Scope) -> Result<Result<CheckedPlan, PlanErrors>, Failure> {
    Ok(parse_plan(&text(name)?, scope))
}

/// Reads a plan as it is to be sent. It is checked as it was written: only that knows where in the text a mistake is.
pub(super) fn plan_value(name: &str) -> Result<Value, Failure> {
    let text = text(name)?;
    checked(name, &text, Scope::Rollout)?;
    let value = serde_saphyr::from_str::<Value>(&text);
    value.map_err(|error| Failure::Data(format!("{}: {error}", said(name))))
}

/// Reads a plan for recorded minutes, and those; there is at least one.
pub(super) fn plan_and_recording(plan_name: &str, name: &str) -> Result<(Plan, Recording), Failure> {
    if plan_name == "-" && name == "-" {
        return Err(Failure::Usage("only one of --plan and --recording can be standard input".to_owned()));
    }
    let plan = plan(plan_name, Scope::Offline)?.plan;
    let recording = recording(name)?;
    if recording.window.is_empty() {
        return Err(Failure::Data(format!("{}: the recording has a header and no minute", said(name))));
    }
    Ok((plan, recording))
}

fn checked(name: &str, text: &str, scope: Scope) -> Result<CheckedPlan, Failure> {
    parse_plan(text, scope).map_err(|errors| Failure::Data(format!("{}: {errors}", said(name))))
}

/// A plan to simulate: checked, and as a `start` command carries it.
pub(super) fn plan_to_start(name: Option<&str>) -> Result<(CheckedPlan, Value), Failure> {
    let value = match name {
        None => default_plan(),
        Some(name) => {
            let text = text(name)?;
            // Checked as it was written first: only that knows where in the text a mistake is.
            checked(name, &text, Scope::Offline)?;
            let value = serde_saphyr::from_str::<Value>(&text);
            with_targets(value.map_err(|error| Failure::Data(format!("{}: {error}", said(name))))?)
        }
    };
    Ok((checked(name.unwrap_or("the plan"), &value.to_string(), Scope::Rollout)?, value))
}
