//! One line a minute: the table that `simulate` and `replay` share.

use super::output::{Output, Style};
use super::words::{count, odds, wrap};
use crate::analysis::check::{ErrorsCheck, Rules};
use crate::analysis::tally::ErrorTally;
use crate::analysis::verdict::{Judgement, Reason, Verdict};
use crate::analysis::window::{Arm, Row};
use crate::units::{Minute, Share};

/// No line is longer.
pub(super) const WIDTH: usize = 100;
/// Where the decision and its reason begin.
const REASON_COLUMN: usize = 53;
/// The longest word of a decision, and a space.
const DECISION_WIDTH: usize = 8;
/// So many equal minutes are folded; fewer are shown.
const FOLD_FROM: usize = 3;
/// Above these odds of harm, every minute is worth a line.
const QUIET_ODDS: f64 = 8.0;

/// One minute.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// What stands in the first column.
    pub(super) at: Minute,
    /// The canary's share.
    pub(super) share: Share,
    /// Requests and errors of both arms, stable first.
    pub(super) arms: [Option<(u64, u64)>; 2],
    /// What the judge said.
    pub(super) judgement: Option<Judgement>,
    /// The decision's word.
    pub(super) decision: String,
    /// Why.
    pub(super) why: String,
    /// The line must be shown, whatever it looks like.
    pub(super) notable: bool,
}

impl Line {
    /// What makes two quiet minutes equal.
    fn kind(&self) -> (String, &'static str, u64) {
        let reason = match self.judgement.as_ref().map(|judgement| &judgement.reason) {
            // A healthy canary goes to and fro between these until its bake is over.
            Some(Reason::NotYetProven { .. } | Reason::TooFewRequests { .. } | Reason::Baking { .. }) => {
                "waits"
            }
            Some(reason) => reason.code(),
            None => "",
        };
        (self.decision.clone(), reason, self.share.percent().to_bits())
    }

    /// Nothing happens in it. After the end of a rollout, nothing ever does.
    fn is_quiet(&self) -> bool {
        let harm = self.judgement.as_ref().map_or(f64::INFINITY, |judgement| judgement.log_e_harm);
        self.decision == "none" || (!self.notable && harm < QUIET_ODDS.ln())
    }

    fn style(&self) -> Style {
        let verdict = self.judgement.as_ref().map(|judgement| judgement.verdict);
        match (self.decision.as_str(), verdict) {
            ("drain" | "failed", _) => Style::Alarm,
            ("promote" | "finish", _) => Style::Good,
            ("freeze" | "repair", _) | (_, Some(Verdict::Blind)) => Style::Notice,
            ("none", _) => Style::Faint,
            _ if matches!(self.judgement.as_ref().map(|j| &j.reason), Some(Reason::HarmSuspected { .. })) => {
                Style::Notice
            }
            _ => Style::Plain,
        }
    }

    fn columns(&self) -> String {
        let arm = |arm: Option<(u64, u64)>| match arm {
            Some((requests, errors)) => format!("{:>6} {:>4}", count(requests), count(errors)),
            None => format!("{:>6} {:>4}", "-", "-"),
        };
        let judged = self.judgement.as_ref().filter(|judgement| judgement.step.is_some());
        let harm = judged.map_or_else(|| "-".to_owned(), |judgement| odds(judgement.log_e_harm));
        let health = |judgement: &Judgement| {
            let least = judgement.checks.iter().map(|check| check.log_e_health);
            odds(least.fold(f64::INFINITY, f64::min))
        };
        let health = judged.map_or_else(|| "-".to_owned(), health);
        let share = self.share.to_string();
        let [stable, canary] = self.arms.map(arm);
        format!("{} {share:>5}  {stable}  {canary} {harm:>7} {health:>6}", clock(self.at))
    }
}

/// Hours and minutes.
pub(super) fn clock(minute: Minute) -> String {
    minute.to_string().get(11..16).unwrap_or_default().to_owned()
}

/// The table on its way to the reader.
pub(super) struct Table {
    verbose: bool,
    /// Equal quiet minutes that were not shown yet.
    held: Vec<Line>,
    shown: Option<Line>,
}

impl Table {
    /// Writes the heading.
    pub(super) fn new(out: &mut Output, rules: &Rules, verbose: bool) -> Self {
        let (harm, health) = (odds(rules.ln_convict()), odds(rules.ln_acquit()));
        let arm = format!("{:>6} {:>4}", "reqs", "bad");
        out.styled(Style::Strong, format!("{:11}  {:>11}  {:>11} {:>14}", "", "stable", "canary", "odds of"));
        out.styled(
            Style::Strong,
            format!("time  share  {arm}  {arm} {:>7} {:>6}  decision and reason", "harm", "health"),
        );
        out.styled(Style::Faint, format!("{:37} {harm:>7} {health:>6}  are needed", ""));
        Self { verbose, held: Vec::new(), shown: None }
    }

    /// Adds a minute.
    pub(super) fn add(&mut self, out: &mut Output, line: Line) {
        let like_before = |shown: &Line| line.is_quiet() && shown.is_quiet() && shown.kind() == line.kind();
        if !self.verbose && self.shown.as_ref().is_some_and(like_before) {
            self.held.push(line);
            return;
        }
        self.unfold(out);
        show(out, &line);
        self.shown = Some(line);
    }

    /// Shows what was held back: few lines as they are, many as their number.
    pub(super) fn unfold(&mut self, out: &mut Output) {
        let held = std::mem::take(&mut self.held);
        if held.len() >= FOLD_FROM {
            out.styled(Style::Faint, format!("  ...  {} more minutes like this", held.len()));
        } else {
            held.iter().for_each(|line| show(out, line));
        }
        self.shown = None;
    }
}

fn show(out: &mut Output, line: &Line) {
    let mut parts = wrap(&line.why, WIDTH - REASON_COLUMN - DECISION_WIDTH - 2).into_iter();
    let first = parts.next().unwrap_or_default();
    out.styled(line.style(), format!("{}  {:<DECISION_WIDTH$}{first}", line.columns(), line.decision));
    for part in parts {
        out.styled(line.style(), format!("{:indent$}{part}", "", indent = REASON_COLUMN + DECISION_WIDTH));
    }
}

/// Requests and errors of both arms in a minute, at a glance.
pub(super) fn at_a_glance(row: &Row, rules: &Rules) -> [Option<(u64, u64)>; 2] {
    let standard = ErrorsCheck::default();
    let rule = rules.errors().unwrap_or(&standard);
    Arm::BOTH.map(|arm| {
        let tally = row.arm(arm).map(|counts| ErrorTally::at_a_glance(counts, rule));
        tally.map(|tally| (tally.total, tally.bad))
    })
}
