//! Commands to an installation: the same that the function takes as events, given to the table itself with the
//! caller's own rights. So `abort` works also when the function does not.

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::args::{
    ActArgs, AllArgs, AskArgs, By, HistoryArgs, Installation, NameArgs, ReportFormat, ResumeArgs, StartArgs,
};
use super::input;
use super::output::{Output, Style};
use super::run::Run;
use super::waiting::waiting;
use super::words::{count, odds_in_words};
use super::{Failure, World, no_aws};
use crate::doctor::Examined;
use crate::rollout::plan::Plan;
use crate::rollout::record::{LogEntry, Record};
use crate::units::Span;

/// Whom a command is given to: the capability that the binary has of its adapters.
pub trait Remote {
    /// Carries out a command's event as the function would.
    ///
    /// # Errors
    /// Why it was not carried out.
    fn send(&self, installation: &Where, event: &Value) -> Result<Value, NotDone>;

    /// Ticks as the function would, until it is told to stop; the exit status.
    ///
    /// # Errors
    /// Why it could not begin.
    fn run(&self, installation: &Where, run: &Run) -> Result<u8, NotDone>;

    /// A rollout, as it is now.
    ///
    /// # Errors
    /// Why it was not read.
    fn record(&self, installation: &Where, rollout: &str) -> Result<Record, NotDone>;

    /// The newest decisions about it, newest first.
    ///
    /// # Errors
    /// Why they were not read.
    fn log(&self, installation: &Where, rollout: &str, limit: u32) -> Result<Vec<LogEntry>, NotDone>;

    /// What an installation, and the groups of a plan, look like now. What can't be read is among the answers.
    ///
    /// # Errors
    /// Why nothing could be asked at all.
    fn examine(&self, installation: &Where, plan: &Plan, look: &Look) -> Result<Examined, NotDone>;
}

/// How an installation is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// Minutes younger than this are not looked at by its ticks.
    pub watermark: Span,
    /// The function that carries its ticks out; `None` if there is none.
    pub function: Option<String>,
}

/// An installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Where {
    /// Its table.
    pub table: String,
    /// Its file of records; the table counts for nothing then.
    pub store: Option<PathBuf>,
    /// Its topic of pages. Without one, a page waits for the next tick.
    pub topic_arn: Option<String>,
    /// How long entries of the decision log are kept.
    pub keep_log: Span,
    /// The URL of the runbook, for links in pages.
    pub runbook: Option<String>,
    /// The region, if the environment's is another.
    pub region: Option<String>,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDone {
    /// It makes no sense, or not now.
    Refused(String),
    /// What it is about does not exist.
    NotFound(String),
    /// A service did not do its part; later it may.
    Unavailable(String),
}

impl From<NotDone> for Failure {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Refused(why) => Self::Refused(why),
            NotDone::NotFound(why) => Self::NoInput(why),
            NotDone::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

/// The capability, in a build that has it.
pub(super) fn remote(world: World<'_>) -> Result<&dyn Remote, Failure> {
    world.remote.ok_or_else(no_aws)
}

impl From<&Installation> for Where {
    fn from(installation: &Installation) -> Self {
        Self {
            table: installation.table.clone(),
            store: installation.store.clone(),
            topic_arn: installation.topic_arn.clone(),
            keep_log: installation.keep_log,
            // Templates pass empty settings on.
            runbook: installation.runbook.clone().filter(|url| !url.is_empty()),
            region: installation.region.clone(),
        }
    }
}

fn send(installation: &Installation, world: World<'_>, event: &Value) -> Result<Value, Failure> {
    let remote = remote(world)?;
    Ok(waiting("asking AWS", || remote.send(&installation.into(), event))?)
}

/// A command's event.
pub(super) fn event(word: &str, keys: &[(&str, Value)]) -> Value {
    let mut event = json!({ "kind": "command", "command": word });
    for (key, value) in keys {
        event[*key] = value.clone();
    }
    event
}

/// An order of somebody, about a rollout or about all.
fn order_of(word: &str, rollout: Option<&str>, by: &By) -> Value {
    let mut order = event(word, &[("actor", json!(by.actor)), ("reason", json!(by.reason))]);
    if let Some(rollout) = rollout {
        order["rollout"] = json!(rollout);
    }
    order
}

/// Sends an event, and tells of the one rollout that the answer is about.
fn about_one(ask: &AskArgs, world: World<'_>, event: &Value, out: &mut Output) -> Result<u8, Failure> {
    let answer = send(&ask.at, world, event)?;
    tell(&answer, ask.format, world.now, out);
    Ok(0)
}

/// Starts a rollout.
pub(super) fn start(args: &StartArgs, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    let mut event = order_of("start", None, &args.by);
    event["plan"] = input::plan_value(&args.plan)?;
    about_one(&args.ask, world, &event, out)
}

/// Shows one rollout.
pub(super) fn status(args: &NameArgs, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    about_one(&args.ask, world, &event("status", &[("rollout", json!(args.rollout))]), out)
}

/// Shows all rollouts.
pub(super) fn list(args: &AskArgs, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    let answer = send(&args.at, world, &event("list", &[]))?;
    if args.format == ReportFormat::Json {
        out.line(&answer);
        return Ok(0);
    }
    let none = Vec::new();
    let rollouts = answer["rollouts"].as_array().unwrap_or(&none);
    out.styled(
        Style::Strong,
        format!("{:<40} {:<9} {:>6}  {:<10} {}", "rollout", "phase", "share", "verdict", "since"),
    );
    for rollout in rollouts {
        out.styled(
            style(rollout),
            format!(
                "{:<40} {:<9} {:>6}  {:<10} {}",
                text(rollout, "rollout"),
                text(rollout, "phase"),
                share(rollout),
                text(rollout, "verdict"),
                text(rollout, "since").get(..16).unwrap_or_default().replace('T', " "),
            ),
        );
    }
    tell_frozen(&answer, out);
    Ok(0)
}

/// Shows what was decided, newest first.
pub(super) fn history(args: &HistoryArgs, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    let keys = [("rollout", json!(args.of.rollout)), ("limit", json!(args.limit))];
    let answer = send(&args.of.ask.at, world, &event("history", &keys))?;
    if args.of.ask.format == ReportFormat::Json {
        out.line(&answer);
        return Ok(0);
    }
    for entry in answer["entries"].as_array().into_iter().flatten() {
        let by = entry["by"]["actor"].as_str().map_or_else(String::new, |actor| format!(" by {actor}"));
        out.styled(
            style(entry),
            format!(
                "{}  {:<8} {:<9} {:>6}  {}{by}",
                text(entry, "at").get(..16).unwrap_or_default().replace('T', " "),
                text(entry, "decision"),
                text(entry, "phase"),
                share(entry),
                text(entry, "why"),
            ),
        );
    }
    Ok(0)
}

/// Gives an order to a rollout.
pub(super) fn order(word: &str, args: &ActArgs, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    about_one(&args.of.ask, world, &order_of(word, Some(&args.of.rollout), &args.by), out)
}

/// Lets a rollout go on.
pub(super) fn resume(args: &ResumeArgs, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    let act = &args.act;
    let mut event = order_of("resume", Some(&act.of.rollout), &act.by);
    if let Some(weights) = args.weights {
        event["weights"] = json!(weights.name());
    }
    about_one(&act.of.ask, world, &event, out)
}

/// Freezes all rollouts, or thaws them.
pub(super) fn freeze(word: &str, args: &AllArgs, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    let answer = send(&args.ask.at, world, &order_of(word, None, &args.by))?;
    match args.ask.format {
        ReportFormat::Json => out.line(&answer),
        ReportFormat::Text => {
            out.line(text(&answer, "next"));
            tell_frozen(&answer, out);
        }
    }
    Ok(0)
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}

fn share(value: &Value) -> String {
    value["share"].as_f64().map_or_else(|| text(value, "share").to_owned(), |share| format!("{share}%"))
}

fn style(rollout: &Value) -> Style {
    match (text(rollout, "phase"), text(rollout, "verdict")) {
        ("drained" | "draining", _) | (_, "harmful") => Style::Alarm,
        ("promoted", _) => Style::Good,
        ("frozen" | "paused", _) | (_, "blind") => Style::Notice,
        ("stopped", _) => Style::Faint,
        _ => Style::Plain,
    }
}

/// That all rollouts are frozen, if they are.
pub(super) fn frozen(answer: &Value) -> Option<String> {
    let by = answer["frozen_by"].as_object()?;
    let of = |key: &str| by.get(key).and_then(Value::as_str).unwrap_or("-");
    Some(format!("ALL ROLLOUTS ARE FROZEN by {}: {}", of("actor"), of("reason")))
}

fn tell_frozen(answer: &Value, out: &mut Output) {
    if let Some(told) = frozen(answer) {
        out.styled(Style::Notice, told);
    }
}

/// One rollout for people.
fn tell(answer: &Value, format: ReportFormat, now: Timestamp, out: &mut Output) {
    if format == ReportFormat::Json {
        out.line(answer);
        return;
    }
    out.styled(
        style(answer),
        format!("{}: {} at {} of the traffic", text(answer, "rollout"), text(answer, "phase"), share(answer)),
    );
    for line in lines(answer, now) {
        out.line(line);
    }
    for check in answer["judgement"]["checks"].as_array().into_iter().flatten() {
        for line in check_lines(check) {
            out.line(line);
        }
    }
    for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out.styled(Style::Notice, format!("warning   {warning}"));
    }
    for trouble in answer["troubles"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out.styled(Style::Alarm, format!("trouble   {trouble}"));
    }
    tell_frozen(answer, out);
}

fn lines(answer: &Value, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() && value != "-" {
            lines.push(format!("{name:<10}{value}"));
        }
    };
    line("done", text(answer, "done"));
    line("verdict", text(answer, "verdict"));
    line("reason", text(answer, "reason"));
    if answer["why"] != answer["reason"] {
        line("why", text(answer, "why"));
    }
    let minutes = answer["minutes_to_verdict"].as_u64();
    line(
        "expected",
        &minutes.map_or_else(String::new, |minutes| format!("a verdict in about {minutes} min")),
    );
    line(
        "step",
        &answer["step"].as_u64().map_or_else(String::new, |step| {
            let all = answer["steps"].as_array().map_or(0, Vec::len);
            format!("{step} of {all}")
        }),
    );
    line("mode", text(answer, "mode"));
    line(
        "started",
        &format!("by {}: {}", text(&answer["started"], "actor"), text(&answer["started"], "reason")),
    );
    let ticked = text(answer, "last_tick").parse::<Timestamp>().ok();
    let age = ticked.map(|at| now.duration_since(at).as_secs() / 60);
    line("ticked", &age.map_or_else(|| "not yet".to_owned(), |age| format!("{age} min ago")));
    let pages = answer["pages_pending"].as_u64().unwrap_or(0);
    line("pages", &if pages > 0 { format!("{pages} wait to be sent") } else { String::new() });
    line("next", text(answer, "next"));
    lines
}

fn check_lines(check: &Value) -> [String; 2] {
    let arm = |arm: &str| {
        let [bad, total] = ["bad", "total"].map(|key| check[arm][key].as_u64().unwrap_or(0));
        let rate = if total == 0 { 0.0 } else { 100.0 * bad as f64 / total as f64 };
        format!("{arm} {rate:.2}% ({} of {})", count(bad), count(total))
    };
    let odds = |key: &str| check[key].as_f64().map_or_else(|| "-".to_owned(), odds_in_words);
    [
        format!("check     {:<12}{}   {}", text(check, "name"), arm("stable"), arm("canary")),
        format!("{:22}harm {}, health {}", "", odds("log_e_harm"), odds("log_e_health")),
    ]
}
