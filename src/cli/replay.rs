//! `replay`: recorded minutes, judged as if they came now.
//!
//! The loop is open: what the judge decides changes nothing in what was recorded. So the minutes after a
//! drain are shown, and decide nothing.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::Failure;
use super::args::{ReplayArgs, ReplayFormat};
use super::input;
use super::output::{Output, Style};
use super::report::{Ending, Point, Report};
use super::table::{Line, Table, WIDTH, at_a_glance, clock};
use super::words::{count, odds_in_words, wrap};
use crate::analysis::check::Rules;
use crate::analysis::verdict::{CheckEvidence, Judgement, Reason, Verdict};
use crate::analysis::window::{Row, Window};
use crate::analysis::{Conditions, Judge};
use crate::recording::Recording;
use crate::rollout::plan::{Plan, Sticky};
use crate::units::{Minute, Share};

/// A gap is filled with so many empty minutes at most; nothing changes after that many.
const GAP_MINUTES: i64 = 24 * 60;

/// How a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Drained,
    Promotable,
    Undecided,
    Blind,
}

impl Outcome {
    fn status(self) -> u8 {
        match self {
            Self::Promotable => 0,
            Self::Drained => 1,
            Self::Undecided | Self::Blind => 2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Promotable => "promotable",
            Self::Undecided => "undecided",
            Self::Blind => "blind",
        }
    }
}

/// One minute, judged.
struct Judged {
    row: Row,
    judgement: Judgement,
    decision: &'static str,
}

/// Goes through a recording and remembers what its outcome rests on.
struct Replay<'a> {
    judge: Judge<'a>,
    previous: Option<(Minute, Share)>,
    drained: Option<Judgement>,
    /// The first healthy verdict on the step that stands, and the step's first minute.
    healthy: Option<(Minute, Judgement)>,
    /// The first blind verdict of those that last.
    blind: Option<Judgement>,
    last: Option<Judgement>,
}

impl<'a> Replay<'a> {
    fn new(plan: &'a Plan) -> Self {
        let conditions = Conditions { sticky: plan.sticky == Sticky::Yes, ..Conditions::default() };
        let judge = Judge::new(&plan.rules, &conditions);
        Self { judge, previous: None, drained: None, healthy: None, blind: None, last: None }
    }

    /// Judges a minute, and before it the minutes that the recording lacks: a missing minute is missing data.
    fn see(&mut self, row: &Row, tell: &mut dyn FnMut(&Judged)) {
        if let Some((before, share)) = self.previous {
            let missing = (row.minute.since(before) - 1).min(GAP_MINUTES);
            for at in 1..=missing {
                let empty = Row { minute: before.plus(at), share, stable: None, canary: None };
                tell(&self.judge_one(empty));
            }
        }
        self.previous = Some((row.minute, row.share));
        tell(&self.judge_one(row.clone()));
    }

    fn judge_one(&mut self, row: Row) -> Judged {
        self.judge.see(&row);
        let judgement = self.judge.judgement(None);
        let step = judgement.step.as_ref().map(|step| step.since);
        if self.healthy.as_ref().is_some_and(|(since, _)| Some(*since) != step) {
            self.healthy = None;
        }
        let decision = match judgement.verdict {
            _ if self.drained.is_some() => "none",
            Verdict::Harmful => {
                self.drained = Some(judgement.clone());
                "drain"
            }
            Verdict::Healthy => {
                if let (None, Some(since)) = (&self.healthy, step) {
                    self.healthy = Some((since, judgement.clone()));
                }
                "promote"
            }
            Verdict::Undecided | Verdict::Blind => "hold",
        };
        match judgement.verdict {
            Verdict::Blind => self.blind = self.blind.take().or_else(|| Some(judgement.clone())),
            _ => self.blind = None,
        }
        self.last = Some(judgement.clone());
        Judged { row, judgement, decision }
    }

    /// The outcome and the judgement that it rests on; `None` if the recording has no minute.
    fn outcome(self) -> Option<(Outcome, Judgement)> {
        if let Some(judgement) = self.drained {
            return Some((Outcome::Drained, judgement));
        }
        let last = self.last?;
        Some(match (self.blind, self.healthy) {
            (Some(judgement), _) => (Outcome::Blind, judgement),
            (None, Some((_, judgement))) => (Outcome::Promotable, judgement),
            (None, None) => (Outcome::Undecided, last),
        })
    }
}

/// Judges a recording by a plan's rules.
pub(super) fn replay(args: &ReplayArgs, out: &mut Output) -> Result<u8, Failure> {
    let (plan, recording) = input::plan_and_recording(&args.plan, &args.recording)?;
    let name = input::said(&args.recording);
    let outcome = match args.format {
        ReplayFormat::Text => {
            if !recording.source.is_empty() {
                for line in wrap(&format!("{name}: {}", recording.source), WIDTH) {
                    out.styled(Style::Faint, line);
                }
            }
            in_words(&plan, &recording.window, args.verbose, out)
        }
        ReplayFormat::Jsonl => in_json(&plan, &recording.window, out),
        ReplayFormat::Html => in_html(&plan, name, &recording, out),
    };
    Ok(outcome.expect("there is a minute").status())
}

fn run<'a>(plan: &'a Plan, window: &Window, tell: &mut dyn FnMut(&Judged)) -> Option<(Outcome, Judgement)> {
    let mut replay = Replay::<'a>::new(plan);
    window.rows().for_each(|row| replay.see(row, tell));
    replay.outcome()
}

fn in_json(plan: &Plan, window: &Window, out: &mut Output) -> Option<Outcome> {
    let (outcome, judgement) = run(plan, window, &mut |judged| out.line(minute_json(judged)))?;
    out.line(json!({ "summary": {
        "outcome": outcome,
        "minute": judgement.minute,
        "reason": judgement.reason.to_string(),
        "code": judgement.reason.code(),
        "check": check_of(&judgement.reason),
        "canary_requests": judgement.blast.requests,
        "excess_bad": judgement.blast.excess_bad,
    }}));
    Some(outcome)
}

fn in_html(plan: &Plan, name: &str, recording: &Recording, out: &mut Output) -> Option<Outcome> {
    let mut points = Vec::new();
    let (outcome, judgement) = run(plan, &recording.window, &mut |judged| {
        let Judged { row, judgement, decision } = judged;
        points.push(Point {
            row: row.clone(),
            judgement: judgement.clone(),
            decision: (*decision).to_owned(),
            decided: row.minute,
        });
    })?;
    let title = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".jsonl").to_owned();
    let ending = Ending { word: outcome.name().to_owned(), at: judgement.minute, judgement };
    let source = recording.source.clone();
    let report =
        Report { title, source, rules: &plan.rules, points, ending, is_live: false, orders: Vec::new() };
    out.line(report.html());
    Some(outcome)
}

fn minute_json(judged: &Judged) -> Value {
    let checks: BTreeMap<&str, Value> =
        judged.judgement.checks.iter().map(|check| (check.name.as_str(), check_json(check))).collect();
    json!({
        "minute": judged.row.minute,
        "share": judged.row.share,
        "verdict": judged.judgement.verdict,
        "reason": judged.judgement.reason.to_string(),
        "code": judged.judgement.reason.code(),
        "decision": judged.decision,
        "log_e_harm": judged.judgement.log_e_harm,
        "minutes_to_verdict": judged.judgement.minutes_to_verdict,
        "checks": checks,
    })
}

fn check_json(check: &CheckEvidence) -> Value {
    json!({
        "log_e_harm": check.log_e_harm,
        "log_e_health": check.log_e_health,
        "log_e_abort": check.log_e_abort,
        "canary": check.canary,
        "stable": check.stable,
        "weight": check.weight,
        "design_effect": check.design_effect,
        "requests_needed": check.requests_needed,
        "parts": check.parts,
        "notes": check.notes,
    })
}

/// The check that a reason names.
fn check_of(reason: &Reason) -> Option<&str> {
    match reason {
        Reason::AboveAbort { check, .. }
        | Reason::WorseThanStable { check, .. }
        | Reason::AboveSlo { check, .. }
        | Reason::SuspectedOfSticky { check }
        | Reason::CheckSilent { check, .. }
        | Reason::HarmSuspected { check }
        | Reason::NotYetProven { check } => Some(check),
        _ => None,
    }
}

fn in_words(plan: &Plan, window: &Window, verbose: bool, out: &mut Output) -> Option<Outcome> {
    let rules: &Rules = &plan.rules;
    let mut table = Table::new(out, rules, verbose);
    let (outcome, judgement) = run(plan, window, &mut |judged| {
        let arms = at_a_glance(&judged.row, rules);
        table.add(out, line(judged, arms));
    })?;
    table.unfold(out);
    let at = judgement.minute.map_or_else(String::new, |minute| format!(" at {}", clock(minute)));
    let style = match outcome {
        Outcome::Drained => Style::Alarm,
        Outcome::Promotable => Style::Good,
        Outcome::Undecided | Outcome::Blind => Style::Notice,
    };
    out.line("");
    out.styled(style, format!("{}{at}: {}", outcome.name(), judgement.reason));
    out.line(format!(
        "until then {} canary requests in {} min, {:+.1} errors beyond stable's rate",
        count(judgement.blast.requests),
        judgement.blast.minutes,
        judgement.blast.excess_bad
    ));
    out.line("");
    for line in evidence_lines(&judgement) {
        out.line(line);
    }
    Some(outcome)
}

/// What each check rests on, for people.
fn evidence_lines(judgement: &Judgement) -> Vec<String> {
    let mut lines = Vec::new();
    for check in &judgement.checks {
        let harm = odds_in_words(check.log_e_harm);
        let health = odds_in_words(check.log_e_health);
        lines.push(format!("{}; evidence of harm {harm}, of health {health}", check.compared()));
        for part in check.parts.iter().filter(|_| check.parts.len() > 1) {
            let health = part.log_e_health.map_or("not asked".to_owned(), odds_in_words);
            lines.push(format!(
                "    {}: harm {}, health {health}",
                part.name,
                odds_in_words(part.log_e_harm)
            ));
        }
        lines.extend(check.notes.iter().map(|note| format!("    {note}")));
    }
    let wrapped = |line: &String| {
        let indent = if line.starts_with(' ') { "    " } else { "" };
        wrap(line, WIDTH - 4)
            .into_iter()
            .enumerate()
            .map(
                move |(at, line)| {
                    if at == 0 { format!("{indent}{line}") } else { format!("{indent}  {line}") }
                },
            )
            .collect::<Vec<_>>()
    };
    lines.iter().flat_map(wrapped).collect()
}

fn line(judged: &Judged, arms: [Option<(u64, u64)>; 2]) -> Line {
    Line {
        at: judged.row.minute,
        share: judged.row.share,
        arms,
        why: judged.judgement.reason.to_string(),
        judgement: Some(judged.judgement.clone()),
        decision: judged.decision.to_owned(),
        notable: judged.decision == "drain",
    }
}
