//! For people: e-mail, and the short form for phones.
//!
//! What to do comes before the numbers, since that is what the reader was woken for. Lines are not wrapped: a mail
//! program knows how wide its window is.

use std::fmt::{Display, Write as _};

use super::{COMPARED_MAX, Facts, WORDS_MAX, clipped, plain, words};
use crate::analysis::check::ABORT_ALPHA;
use crate::analysis::verdict::Judgement;
use crate::rollout::record::PageKind;

/// One message of 140 bytes; longer ones come in parts, and cost as many.
const SMS_MAX: usize = 140;
/// Notes of a burn-in at most.
const NOTES_MAX: usize = 20;

/// A text whose lines begin with the name of what they say.
struct Lines(String);

impl Lines {
    fn field(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name:<11}{value}");
    }

    fn plain(&mut self, line: &str) {
        let _ = writeln!(self.0, "{line}");
    }
}

pub(super) fn body(facts: &Facts<'_>) -> String {
    let (record, page) = (facts.record, facts.page);
    let mut lines = Lines(String::new());
    lines.plain(&format!("{}: {}\n", record.id(), words::headline(page)));
    lines.field("What", facts.why());
    lines.field("Done", facts.done());
    lines.field("To do", facts.to_do());
    for command in words::commands(record, page.kind) {
        lines.field("Command", command);
    }
    lines.field("Runbook", facts.runbook());
    lines.plain("");
    lines.field("When", page.at.strftime("%Y-%m-%d %H:%M:%S UTC"));
    let when = if page.kind == PageKind::Promoted { "now" } else { "before this" };
    lines.field("Share", format!("{} of the traffic {when}", page.share));
    match &page.judgement {
        Some(judgement) => numbers(&mut lines, facts, judgement),
        None => lines.field("Check", "none: nothing was compared yet"),
    }
    for chart in facts.charts() {
        lines.plain("");
        lines.plain(&chart.title);
        for line in &chart.lines {
            lines.plain(&format!("  {line}"));
        }
    }
    lines.plain("");
    // In full: whoever must act by hand needs them for a command.
    let targets = &record.plan.targets;
    let split = if targets.function().is_some() { "Alias" } else { "Rule" };
    for (name, target) in
        [(split, &targets.listener_rule), ("Stable", &targets.stable), ("Canary", &targets.canary)]
    {
        lines.field(name, target);
    }
    for link in facts.first_links() {
        lines.field(link.name, &link.url);
    }
    let started = format!("by {}: {}", record.started.actor, record.started.reason);
    lines.field("Started", clipped(&started, WORDS_MAX));
    lines.field("Key", &page.key);
    lines.0
}

fn numbers(lines: &mut Lines, facts: &Facts<'_>, judgement: &Judgement) {
    let (checks, more) = facts.checks();
    for check in &checks {
        lines.field("Check", clipped(&check.compared(), COMPARED_MAX));
    }
    if more > 0 {
        lines.field("Check", format!("and {more} more with less evidence of harm"));
    }
    lines.field("Evidence", evidence(facts, judgement));
    let triggers = judgement.checks.iter().filter_map(|check| check.log_e_abort);
    let trigger = triggers.fold(f64::NEG_INFINITY, f64::max);
    let abort = -ABORT_ALPHA.fraction().ln();
    if trigger >= abort {
        let drains = odds(abort);
        lines.field(
            "Trigger",
            format!("{} that the rate is above abort_above; {drains} drains", odds(trigger)),
        );
    }
    lines.field("Exposure", exposure(judgement));
    if facts.page.kind == PageKind::BurntIn {
        // Who deploys after a burn-in must know what it has shown.
        let notes = checks.iter().flat_map(|check| check.notes.iter().map(move |note| (&check.name, note)));
        for (name, note) in notes.take(NOTES_MAX) {
            lines.field("Note", clipped(&format!("{name}: {note}"), WORDS_MAX));
        }
    }
}

/// How sure it is that the canary is worse than tolerated.
pub(super) fn evidence(facts: &Facts<'_>, judgement: &Judgement) -> String {
    let rules = &facts.record.plan.rules;
    let need = odds(rules.ln_convict());
    if judgement.log_e_harm > 0.0 {
        let harm = odds(judgement.log_e_harm);
        format!("{harm} for harm; {need} convicts (false rollbacks at most {})", rules.false_rollback)
    } else {
        format!("none for harm; {need} would convict")
    }
}

/// What the canary has done to its users.
pub(super) fn exposure(judgement: &Judgement) -> String {
    let blast = judgement.blast;
    let until = judgement.minute.map_or_else(String::new, |minute| {
        format!(" until {}", minute.plus(1).start().strftime("%H:%M UTC"))
    });
    let errors = match blast.excess_bad.round() {
        more if more >= 1.0 => format!("about {more:.0} more errors than stable would have given"),
        _ => "no more errors than stable would have given".to_owned(),
    };
    format!("{} min{until}, {} canary requests, {errors}", blast.minutes, blast.requests)
}

/// Log evidence as a person reads it: so many to one.
fn odds(ln_e: f64) -> String {
    match ln_e.exp() {
        e if e >= 1e6 => format!("10^{:.0} to 1", ln_e / std::f64::consts::LN_10),
        e if e >= 10.0 => format!("{e:.0} to 1"),
        e => format!("{e:.1} to 1"),
    }
}

/// What happened and the worst number, for a phone's screen.
pub(super) fn sms(facts: &Facts<'_>) -> String {
    let (checks, _) = facts.checks();
    let detail = checks.first().map_or_else(
        || facts.why(),
        |check| {
            let percent = |tally: crate::analysis::window::Tally| format!("{:.2} %", tally.rate() * 100.0);
            format!("{}: canary {}, stable {}", check.name, percent(check.canary), percent(check.stable))
        },
    );
    plain(&format!("{}. {detail}", facts.subject()), SMS_MAX)
}
