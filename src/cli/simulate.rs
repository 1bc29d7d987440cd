//! `simulate`: a rollout in a cloud in memory.

use serde_json::json;

use super::Failure;
use super::args::{SimulateArgs, StoryFormat};
use super::input;
use super::output::{Output, complain};
use super::story::Story;
use crate::rollout::plan::Plan;
use crate::sim::run::{Ending, LIMIT_MINUTES, Setting, Told, run};
use crate::sim::scenario;

/// Tells a scenario from start to end.
pub(super) fn simulate(args: &SimulateArgs, out: &mut Output) -> Result<u8, Failure> {
    let scenario = scenario::find(&args.scenario)
        .ok_or_else(|| Failure::Usage(format!("no scenario is called {}", args.scenario)))?;
    let (checked, plan) = input::plan_to_start(args.plan.as_deref())?;
    for warning in checked.warnings.iter().filter(|_| args.plan.is_some()) {
        complain(&format!("warning: {warning}"));
    }
    let setting = Setting {
        scenario,
        requests_per_s: args.rps,
        seed: args.seed,
        plan,
        minutes: args.minutes.or(scenario.minutes).unwrap_or(LIMIT_MINUTES),
    };
    match args.format {
        StoryFormat::Text => tell(&setting, &checked.plan, args.verbose, out),
        StoryFormat::Json => list(&setting, &checked.plan, out),
    }?;
    Ok(0)
}

/// Runs the simulation on this thread: nothing in it ever waits.
fn drive(setting: &Setting, plan: &Plan, tell: &mut dyn FnMut(&Told)) -> Result<Ending, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| Failure::Output(error.to_string()))?;
    runtime.block_on(run(setting, plan, tell)).map_err(|error| Failure::Data(error.to_string()))
}

fn tell(setting: &Setting, plan: &Plan, verbose: bool, out: &mut Output) -> Result<(), Failure> {
    let mut story = Story::begin(setting, plan, verbose, out);
    let ending = drive(setting, plan, &mut |told| {
        story.minute(told, out);
        out.flush();
    })?;
    story.end(&ending, out);
    Ok(())
}

/// The same for programs: one object a minute, then the summary.
fn list(setting: &Setting, plan: &Plan, out: &mut Output) -> Result<(), Failure> {
    out.line(json!({ "simulation": {
        "scenario": setting.scenario.name,
        "premise": setting.scenario.premise,
        "requests_per_s": setting.requests_per_s,
        "seed": setting.seed,
        "plan": plan,
    }}));
    let ending = drive(setting, plan, &mut |told| {
        out.line(minute_json(told));
        out.flush();
    })?;
    let blast = ending.record.last.as_ref().map(|last| last.blast);
    out.line(json!({ "summary": {
        "phase": ending.record.phase,
        "why": ending.record.why,
        "share": ending.record.share(),
        "last_minute": ending.last,
        "trouble_since": ending.trouble_since,
        "drained_at": ending.drained_at,
        "measured": blast,
        "truth": {
            "canary_requests": ending.truth.canary_requests,
            "canary_bad": ending.truth.canary_bad,
            "excess_bad": ending.truth.excess_bad(),
        },
        "p95_ms": { "stable": ending.p95_ms[0], "canary": ending.p95_ms[1] },
    }}));
    Ok(())
}

fn minute_json(told: &Told) -> serde_json::Value {
    let mut line = json!({
        "minute": told.at,
        "happened": told.happened,
        "seen": told.seen,
        "pages": told.pages,
    });
    match &told.answer {
        Ok(answer) => {
            line["decision"] = json!(answer.decision);
            line["why"] = json!(answer.why);
            line["phase"] = json!(answer.phase);
            line["share"] = json!(answer.share);
            line["judgement"] = json!(answer.judgement);
            line["troubles"] = json!(answer.troubles);
        }
        Err(error) => line["failed"] = json!(error),
    }
    line
}
