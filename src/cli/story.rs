//! A simulation, told so that somebody who has never seen canary-gate understands it in twenty seconds.

use super::output::{Output, Style};
use super::table::{Line, Table, WIDTH, at_a_glance, clock};
use super::words::{count, minutes, odds_in_words, wrap};
use crate::handler::tick::RolloutReport;
use crate::rollout::plan::Plan;
use crate::rollout::record::Phase;
use crate::sim::run::{Ending, Page, Setting, Told, WATERMARK};
use crate::units::Minute;

/// Pages put the names of what they say in a column of this width.
const PAGE_FIELD_WIDTH: usize = 11;

/// The story on its way to the reader.
pub(super) struct Story<'a> {
    setting: &'a Setting,
    plan: &'a Plan,
    table: Table,
    pages: Vec<(Minute, Page)>,
}

fn paragraph(out: &mut Output, text: &str) {
    wrap(text, WIDTH - 8).into_iter().for_each(|line| out.line(line));
    out.line("");
}

impl<'a> Story<'a> {
    /// Writes what is simulated, and the table's heading.
    pub(super) fn begin(setting: &'a Setting, plan: &'a Plan, verbose: bool, out: &mut Output) -> Self {
        let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
        let rules = &plan.rules;
        out.styled(Style::Strong, format!("Scenario {}, seed {}", setting.scenario.name, setting.seed));
        paragraph(
            out,
            &format!(
                "{} takes over behind a load balancer with {} requests a second, in steps of {}, at least {} \
                 each. {} Once a minute, canary-gate compares the canary with stable. It drains the canary \
                 when the odds that it is worse than tolerated reach {}, and goes up when the odds that it is \
                 as good as promised reach {}. Counts are of the newest minute that CloudWatch has whole, \
                 three minutes before.",
                plan.rollout,
                setting.requests_per_s,
                steps.join(", "),
                rules.bake,
                setting.scenario.premise,
                odds_in_words(rules.ln_convict()),
                odds_in_words(rules.ln_acquit()),
            ),
        );
        let table = Table::new(out, rules, verbose);
        Self { setting, plan, table, pages: Vec::new() }
    }

    /// Tells a minute.
    pub(super) fn minute(&mut self, told: &Told, out: &mut Output) {
        for happened in &told.happened {
            self.table.unfold(out);
            out.styled(Style::Notice, format!("{} >>>>> {happened}", clock(told.at)));
        }
        let arms = at_a_glance(&told.seen, &self.plan.rules);
        match &told.answer {
            Ok(answer) => {
                self.table.add(out, line(told, answer, arms));
                for trouble in &answer.troubles {
                    self.table.unfold(out);
                    out.styled(Style::Notice, format!("{} trouble: {trouble}", clock(told.at)));
                }
            }
            Err(error) => {
                self.table.unfold(out);
                out.styled(Style::Alarm, format!("{} the tick failed: {error}", clock(told.at)));
            }
        }
        for page in &told.pages {
            self.table.unfold(out);
            out.styled(Style::Strong, format!("{} page sent: {}", clock(told.at), page.subject));
            self.pages.push((told.at, page.clone()));
        }
    }

    /// Tells the pages, the damage and the end.
    pub(super) fn end(mut self, ending: &Ending, out: &mut Output) {
        self.table.unfold(out);
        out.line("");
        for (at, page) in &self.pages {
            show_page(out, *at, page);
        }
        if ending.record.phase != Phase::Promoted {
            blast(ending, out);
        }
        paragraph(out, &self.closing(ending));
    }

    fn closing(&self, ending: &Ending) -> String {
        let record = &ending.record;
        let since = record.shifts.get(1).map_or(ending.last, |shift| Minute::of(shift.at));
        let took = minutes(ending.last.since(since));
        let end = match record.phase {
            Phase::Drained => self.drained(ending),
            Phase::Promoted => format!(
                "{} was promoted to {} within {took}; it was proven healthy on every step before the next.",
                record.id(),
                record.share()
            ),
            Phase::Frozen => format!("{} is frozen at {}: {}.", record.id(), record.share(), record.why),
            Phase::Stopped => format!("{} was stopped: {}.", record.id(), record.why),
            Phase::Draining => format!("{} is still being drained: {}.", record.id(), record.why),
            Phase::Waiting | Phase::Running | Phase::Paused => format!(
                "After {took}, {} is still at {}: {}.",
                record.id(),
                record.share(),
                record.last.as_ref().map_or_else(String::new, |last| last.reason.to_string())
            ),
        };
        let [stable, canary] = ending.p95_ms;
        let p95 = if canary > 1.2 * stable {
            format!(
                " 95 % of stable's answers came within {stable:.0} ms, of the canary's within {canary:.0} ms."
            )
        } else {
            String::new()
        };
        format!("{end}{p95} {}", self.setting.scenario.moral)
    }

    fn drained(&self, ending: &Ending) -> String {
        let record = &ending.record;
        let at = ending.drained_at.map_or(ending.last, Minute::of);
        let Some(since) = ending.trouble_since else {
            return format!("{} was drained at {}: {}.", record.id(), clock(at), record.why);
        };
        let delay = WATERMARK.whole_minutes();
        let data = (at.since(since) - delay).max(0);
        format!(
            "The trouble began at {}; the canary was drained at {}, {} later: {} of data, and {} until \
             CloudWatch has a minute whole. On-call got {}. The rollout has ended: a drained canary stays \
             drained until somebody starts a new one.",
            clock(since),
            clock(at),
            minutes(at.since(since)),
            minutes(data),
            minutes(delay),
            match self.pages.len() {
                1 => "one page".to_owned(),
                n => format!("{n} pages"),
            }
        )
    }
}

fn line(told: &Told, answer: &RolloutReport, arms: [Option<(u64, u64)>; 2]) -> Line {
    Line {
        at: told.at,
        share: answer.share,
        arms,
        judgement: answer.judgement.clone(),
        decision: answer.decision.clone(),
        why: answer.why.clone(),
        notable: answer.decision != "hold",
    }
}

fn show_page(out: &mut Output, at: Minute, page: &Page) {
    out.styled(Style::Strong, format!("The page of {}, as on-call gets it:", clock(at)));
    out.styled(Style::Alarm, format!("  | {}", page.subject));
    for line in [""].into_iter().chain(page.body.lines()) {
        let indent = if is_field(line) { PAGE_FIELD_WIDTH } else { 0 };
        for (at, part) in wrap_after(line, indent).into_iter().enumerate() {
            let indent = if at == 0 { 0 } else { indent };
            out.line(format!("  | {:indent$}{part}", "").trim_end());
        }
    }
    out.line("");
}

/// A line of a page that begins with the name of what it says.
fn is_field(line: &str) -> bool {
    line.split_at_checked(PAGE_FIELD_WIDTH)
        .is_some_and(|(name, _)| name.ends_with(' ') && !name.contains(':'))
}

/// Wraps a line of a page; the parts after the first are to be indented.
fn wrap_after(line: &str, indent: usize) -> Vec<String> {
    let (name, text) = line.split_at_checked(indent).unwrap_or(("", line));
    let mut parts = wrap(text, WIDTH - 4 - indent);
    if let Some(first) = parts.first_mut() {
        first.insert_str(0, name);
    }
    parts
}

/// What the canary did to its users: as canary-gate knew it when it decided, and as it was.
fn blast(ending: &Ending, out: &mut Output) {
    let measured = ending.record.last.as_ref().map(|last| last.blast).unwrap_or_default();
    let truth = ending.truth;
    let mut row = |name: &str, measured: String, truth: String| {
        out.line(format!("  {name:<34}{measured:>12}{truth:>12}"));
    };
    row("The canary's blast radius", "as measured".to_owned(), "in truth".to_owned());
    row("minutes with traffic", measured.minutes.to_string(), exposed_minutes(ending).to_string());
    row("requests", count(measured.requests), count(truth.canary_requests));
    row(
        "errors beyond stable's rate",
        format!("{:+.1}", measured.excess_bad),
        format!("{:+.1}", truth.excess_bad()),
    );
    out.line("");
}

fn exposed_minutes(ending: &Ending) -> i64 {
    let Some(first) = ending.record.shifts.get(1) else { return 0 };
    let until = ending.drained_at.map_or(ending.last, Minute::of);
    until.since(Minute::of(first.at)) + 1
}
