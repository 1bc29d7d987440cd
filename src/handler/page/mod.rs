//! What on-call reads at three in the morning: what happened, with numbers, and what to do.
//!
//! One page is told in several forms, since SNS can hand each kind of subscriber its own: text for people, a short
//! one for phones, one document for machines and one for chat. All say the same, and all have an upper size.

mod chart;
mod chat;
mod links;
mod machine;
#[cfg(test)]
mod tests;
mod text;
mod words;

use crate::analysis::verdict::CheckEvidence;
use crate::ports::{Home, Message};
use crate::rollout::plan::Mode;
use crate::rollout::record::{Page, PageKind, Record};

/// SNS refuses subjects of 100 characters and more.
const SUBJECT_MAX: usize = 99;
/// Where the runbook is, if nobody said under which URL; each kind of page has a heading of its name in it.
const RUNBOOK: &str = "docs/runbook.md";
/// Words of others (an error, a reason) are cut after so many characters.
const WORDS_MAX: usize = 1_500;
/// Names of checks and classes, too.
const NAME_MAX: usize = 100;
/// A check's numbers in a line.
const COMPARED_MAX: usize = 300;
/// Checks that are told of one by one: those with the most evidence of harm.
const CHECKS_MAX: usize = 12;

/// Puts a page into words.
#[must_use]
pub fn render(record: &Record, page: &Page, home: &Home) -> Message {
    let runbook = home.runbook.as_deref().unwrap_or(RUNBOOK);
    let facts = Facts { record, page, links: links::links(record, home), runbook };
    let machine = machine::document(&facts).to_string();
    let chat = chat::notification(&facts).to_string();
    Message {
        subject: facts.subject(),
        body: text::body(&facts),
        forms: vec![
            ("sms", text::sms(&facts)),
            ("sqs", machine.clone()),
            ("lambda", machine.clone()),
            ("firehose", machine),
            ("http", chat.clone()),
            ("https", chat),
        ],
        attributes: vec![
            ("severity", page.severity.name().to_owned()),
            ("event", page.kind.name().to_owned()),
            ("rollout", record.id().to_owned()),
            ("cause", facts.cause().unwrap_or_default().to_owned()),
            ("mode", facts.mode().to_owned()),
            ("reminder", (page.reminder > 0).to_string()),
        ],
    }
}

/// What all forms of a page tell.
struct Facts<'a> {
    record: &'a Record,
    page: &'a Page,
    links: Vec<links::Link>,
    runbook: &'a str,
}

impl Facts<'_> {
    /// Printable ASCII on one line, as SNS demands: a subject that it refuses would lose the page.
    fn subject(&self) -> String {
        plain(&self.title(), SUBJECT_MAX)
    }

    /// What happened, in one line.
    fn title(&self) -> String {
        let reminder = match self.page.reminder {
            0 => String::new(),
            nth => format!(", reminder {nth}"),
        };
        format!(
            "[{}{reminder}] {}: {}",
            self.page.severity.name(),
            self.record.id(),
            words::headline(self.page)
        )
    }

    /// Why, in words.
    fn why(&self) -> String {
        clipped(&self.page.why, WORDS_MAX)
    }

    fn done(&self) -> String {
        words::done(self.record, self.page.kind)
    }

    fn to_do(&self) -> String {
        words::to_do(self.record, self.page)
    }

    fn runbook(&self) -> String {
        format!("{}#{}", self.runbook, self.page.kind.name())
    }

    /// Why the canary is drained, if it is.
    fn cause(&self) -> Option<&'static str> {
        self.record.cause.map(crate::rollout::record::Cause::name)
    }

    fn mode(&self) -> &'static str {
        match self.record.plan.mode {
            Mode::Drive => "drive",
            Mode::Observe => "observe",
        }
    }

    /// The checks with the most evidence of harm, in that order, and how many more there are.
    fn checks(&self) -> (Vec<&CheckEvidence>, usize) {
        let all = self.page.judgement.as_ref().map_or(&[][..], |judgement| &judgement.checks);
        let mut checks: Vec<&CheckEvidence> = all.iter().collect();
        checks.sort_by(|a, b| b.log_e_harm.total_cmp(&a.log_e_harm));
        checks.truncate(CHECKS_MAX);
        let more = all.len() - checks.len();
        (checks, more)
    }

    /// Links that a person wants first; the console leads on from there, and the document for machines has all.
    fn first_links(&self) -> impl Iterator<Item = &links::Link> {
        self.links.iter().filter(|link| !["Stable", "Canary"].contains(&link.name))
    }

    /// Charts of the checks, or of the requests where the page is about those.
    fn charts(&self) -> Vec<chart::Chart> {
        let about_requests = matches!(
            self.page.kind,
            PageKind::StillServed
                | PageKind::NotVerified
                | PageKind::GroupTakenOut
                | PageKind::RaisedAgain
                | PageKind::SplitOff
                | PageKind::Blind
                | PageKind::NoHealthyTarget
                | PageKind::Frozen
        );
        self.page.recent.as_ref().map_or_else(Vec::new, |recent| chart::charts(recent, about_requests))
    }
}

/// One line of at most so many characters; what was cut is marked.
fn clipped(text: &str, max: usize) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if text.chars().count() <= max {
        return line.collect();
    }
    line.take(max.saturating_sub(3)).chain("...".chars()).collect()
}

/// Printable ASCII on one line.
fn plain(text: &str, max: usize) -> String {
    let ascii = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    clipped(text, max).chars().map(ascii).collect()
}
