//! Files, or standard input where the name is `-`.

use std::io::{self, Read};

use serde_json::Value;

use super::Failure;
use crate::config::{CheckedPlan, Scope, parse_plan};
use crate::recording::{self, Recording};
use crate::rollout::plan::Plan;
use crate::sim::run::{default_plan, with_targets};

/// The name as a person would say it.
pub(super) fn said(name: &str) -> &str {
    if name == "-" { "standard input" } else { name }
}

/// Reads a whole file as text.
pub(super) fn text(name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = if name == "-" {
        io::stdin().lock().read_to_end(&mut bytes).map(|_| ())
    } else {
        std::fs::read(name).map(|read| bytes = read)
    };
    let unreadable = |error: io::Error| Failure::NoInput(format!("{} can't be read: {error}", said(name)));
    read.map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::Data(format!("{} is not UTF-8 text (byte {at})", said(name)))
    })
}

/// Reads and checks a plan.
pub(super) fn plan(name: &str, scope: Scope) -> Result<CheckedPlan, Failure> {
    checked(name, &text(name)?, scope)
}

/// Reads a plan for recorded minutes, and those; there is at least one.
pub(super) fn plan_and_recording(plan_name: &str, name: &str) -> Result<(Plan, Recording), Failure> {
    if plan_name == "-" && name == "-" {
        return Err(Failure::Usage("only one of --plan and --recording can be standard input".to_owned()));
    }
    let plan = plan(plan_name, Scope::Offline)?.plan;
    let wrong = |what: &dyn std::fmt::Display| Failure::Data(format!("{}: {what}", said(name)));
    let recording = recording::parse(&text(name)?).map_err(|errors| wrong(&errors))?;
    if recording.window.is_empty() {
        return Err(wrong(&"the recording has a header and no minute"));
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
