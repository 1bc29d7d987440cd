//! A rollout on one page of HTML: canary beside stable for each check, the share, the evidence against both thresholds,
//! and what was decided when. The page needs no network and no script to be read; its script only tells the numbers of
//! the minute that is pointed at.

mod chart;
mod series;

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::words::{count, odds_in_words};
use crate::analysis::check::Rules;
use crate::analysis::verdict::{CheckEvidence, Judgement, Verdict};
use crate::analysis::window::Row;
use crate::units::Minute;
use chart::{Chart, Line};

pub(super) use chart::{Mark, Tone};
pub(super) use series::{Measured, measured};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Rows of the table of minutes; more are in the recording.
const TABLE_ROWS: usize = 2_000;

/// One minute, judged.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// What was counted.
    pub(super) row: Row,
    /// What the judge said.
    pub(super) judgement: Judgement,
    /// The decision's word.
    pub(super) decision: String,
    /// When it was decided: of a recording, in the minute itself; live, some minutes later.
    pub(super) decided: Minute,
}

/// How it ended.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// In one word.
    pub(super) word: String,
    /// When.
    pub(super) at: Option<Minute>,
    /// What it rests on.
    pub(super) judgement: Judgement,
}

/// All that the page tells.
#[derive(Debug, Clone)]
pub(super) struct Report<'a> {
    /// The rollout, or the recording.
    pub(super) title: String,
    /// Where the minutes are from.
    pub(super) source: String,
    /// What it was judged by.
    pub(super) rules: &'a Rules,
    /// All minutes, in their order; at least one.
    pub(super) points: Vec<Point>,
    /// How it ended.
    pub(super) ending: Ending,
    /// The shares followed the decisions; a recording's were there before them.
    pub(super) is_live: bool,
    /// What happened beside decisions, such as orders of people.
    pub(super) orders: Vec<Mark>,
}

impl Report<'_> {
    /// The page.
    pub(super) fn html(&self) -> String {
        let first =
            self.points.first().map_or_else(|| Minute::of(jiff::Timestamp::UNIX_EPOCH), |p| p.row.minute);
        let last = self.points.last().map_or(first, |point| point.row.minute);
        let happened = self.orders.iter().map(|mark| mark.minute);
        let last = happened.chain(self.points.iter().map(|point| point.decided)).fold(last, Minute::max);
        let marks = self.marks();
        let mut body = self.head(first, last);
        let mut plotted = Vec::new();
        for chart in self.charts() {
            body += &chart.svg([first, last], &marks);
            plotted.push(chart.data());
        }
        body += &self.evidence();
        body += &self.minutes();
        let data = json!({
            "from": first,
            "until": last,
            "minutes": self.points.iter().map(|point| point.row.minute).collect::<Vec<_>>(),
            "told": self.points.iter().map(told).collect::<Vec<_>>(),
            "charts": plotted,
        });
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>{title}: {word}</title>\
             <style>{STYLE}</style></head>\n<body><main>{body}</main>\n\
             <script type=\"application/json\" id=\"data\">{data}</script><script>{SCRIPT}</script></body></html>\n",
            title = escape(&self.title),
            word = escape(&self.ending.word),
            data = in_script(&data),
        )
    }

    fn head(&self, first: Minute, last: Minute) -> String {
        let judgement = &self.ending.judgement;
        let tone = match (self.ending.word.as_str(), judgement.verdict) {
            ("drained" | "draining", _) | (_, Verdict::Harmful) => "bad",
            ("promoted" | "promotable", _) | (_, Verdict::Healthy) => "good",
            (_, Verdict::Undecided | Verdict::Blind) => "open",
        };
        let at = self.ending.at.map_or_else(String::new, |minute| format!(" at {}", instant(minute)));
        let blast = judgement.blast;
        let mut text = format!(
            "<header><h1>{}</h1><p class=\"verdict {tone}\"><strong>{}</strong>{at}</p><p>{}</p>",
            escape(&self.title),
            escape(&self.ending.word),
            escape(&judgement.reason.to_string()),
        );
        let peak = self
            .points
            .iter()
            .map(|point| point.row.share)
            .fold(crate::units::Share::ZERO, |a, b| if a < b { b } else { a });
        let figures = [
            ("from", instant(first)),
            ("until", instant(last.plus(1))),
            ("highest share", peak.to_string()),
            ("canary requests", count(blast.requests)),
            ("errors beyond stable's rate", format!("{:+.0}", blast.excess_bad)),
            ("minutes with traffic", blast.minutes.to_string()),
        ];
        text += "<dl>";
        for (name, value) in figures {
            let _ = write!(text, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
        }
        text += "</dl>";
        if !self.source.is_empty() {
            let _ = write!(text, "<p class=\"faint\">{}</p>", escape(&self.source));
        }
        text + "</header>\n"
    }

    /// Where the share changed or something was decided.
    fn marks(&self) -> Vec<Mark> {
        let mut marks = self.orders.clone();
        let mut share = None;
        let mut decision = "";
        for point in &self.points {
            let minute = point.row.minute;
            if share.is_some_and(|before| before != point.row.share) {
                marks.push(Mark { minute, text: point.row.share.to_string(), tone: Tone::Share });
            }
            share = Some(point.row.share);
            let new = point.decision != decision;
            decision = &point.decision;
            let tone = match decision {
                "drain" => Tone::Bad,
                // Where the shares follow, they tell the same.
                "promote" if self.is_live => continue,
                "promote" | "finish" => Tone::Good,
                "freeze" => Tone::Open,
                _ => continue,
            };
            if new {
                marks.push(Mark { minute: point.decided, text: decision.to_owned(), tone });
            }
        }
        marks.sort_by_key(|mark| mark.minute);
        marks
    }

    fn charts(&self) -> Vec<Chart> {
        let minutes: Vec<Minute> = self.points.iter().map(|point| point.row.minute).collect();
        let line = |name: &str, tone, values: Vec<Option<f64>>| Line {
            name: name.to_owned(),
            tone,
            points: minutes.iter().copied().zip(values).collect(),
        };
        let of = |value: &dyn Fn(&Point) -> Option<f64>| self.points.iter().map(value).collect::<Vec<_>>();
        let requests = |arm: &dyn Fn(&Row) -> Option<u64>| of(&|point| arm(&point.row).map(|n| n as f64));
        let mut charts = vec![
            Chart {
                title: "Share of the canary".to_owned(),
                unit: "%",
                limit: None,
                lines: vec![line("share", Tone::Share, of(&|point| Some(point.row.share.percent())))],
            },
            Chart {
                title: "Requests a minute".to_owned(),
                unit: "",
                limit: None,
                lines: vec![
                    line("stable", Tone::Stable, requests(&|row| row.stable.as_ref().map(|c| c.requests))),
                    line("canary", Tone::Canary, requests(&|row| row.canary.as_ref().map(|c| c.requests))),
                ],
            },
        ];
        for Measured { title, unit, stable, canary } in measured(self.rules, &self.points) {
            let lines = vec![line("stable", Tone::Stable, stable), line("canary", Tone::Canary, canary)];
            charts.push(Chart { title, unit, limit: None, lines });
        }
        // What is far beyond its threshold is drawn at the edge: the way there is what tells.
        let top = 3.0 * self.rules.ln_convict() / std::f64::consts::LN_10;
        let decades = |ln_e: f64| (ln_e / std::f64::consts::LN_10).clamp(-2.0, top);
        let stepped = |point: &Point| point.judgement.step.is_some();
        let harm = of(&|point| stepped(point).then(|| decades(point.judgement.log_e_harm)));
        let evidence = |title: &str, needed: f64, what: &str, lines: Vec<Line>| Chart {
            title: format!("{title}, powers of ten to one"),
            unit: "",
            limit: Some((decades(needed), format!("{} {what}", odds_in_words(needed)))),
            lines,
        };
        let lines = vec![line("all checks", Tone::Bad, harm)];
        charts.push(evidence("Evidence of harm", self.rules.ln_convict(), "drains", lines));
        let names: Vec<&str> = self.ending.judgement.checks.iter().map(|check| check.name.as_str()).collect();
        let health = |name: &str| {
            let found = |point: &Point| {
                let check = point.judgement.checks.iter().find(|check| check.name == name);
                check.filter(|_| stepped(point)).map(|check| decades(check.log_e_health))
            };
            of(&found)
        };
        let tones = [Tone::Good, Tone::Share, Tone::Stable, Tone::Canary, Tone::Open];
        let lines = names.iter().zip(tones.into_iter().cycle());
        let lines = lines.map(|(name, tone)| line(name, tone, health(name))).collect();
        charts.push(evidence("Evidence of health on the step", self.rules.ln_acquit(), "proves it", lines));
        charts
    }

    /// The numbers at the moment of the decision.
    fn evidence(&self) -> String {
        let judgement = &self.ending.judgement;
        let when = judgement.minute.map_or_else(String::new, |minute| format!(" at {}", instant(minute)));
        let mut text = format!(
            "<section><h2>What it rests on{when}</h2><div class=\"wide\"><table><thead><tr><th>check<th>stable<th>canary<th>evidence of harm<th>of health</tr></thead><tbody>"
        );
        for check in &judgement.checks {
            let _ = write!(text, "{}", row_of(check));
        }
        let _ = write!(
            text,
            "</tbody></table></div><p class=\"faint\">{} for harm drains; {} for health proves it. Bad of total are those of this step's judged minutes.</p>",
            odds_in_words(self.rules.ln_convict()),
            odds_in_words(self.rules.ln_acquit())
        );
        let notes: Vec<String> = judgement
            .checks
            .iter()
            .flat_map(|check| check.notes.iter().map(|note| format!("{}: {note}", check.name)))
            .collect();
        if !notes.is_empty() {
            text += "<ul>";
            for note in notes {
                let _ = write!(text, "<li>{}</li>", escape(&note));
            }
            text += "</ul>";
        }
        text + "</section>\n"
    }

    fn minutes(&self) -> String {
        let mut text = "<section><details><summary>Every minute</summary><div class=\"wide\"><table><thead><tr><th>minute<th>share<th>stable<th>canary<th>harm<th>decision<th>why</tr></thead><tbody>".to_owned();
        for point in self.points.iter().take(TABLE_ROWS) {
            let requests = |counts: Option<&crate::analysis::window::ArmCounts>| {
                counts.map_or_else(|| "-".to_owned(), |counts| count(counts.requests))
            };
            let _ = write!(
                text,
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td class=\"why\">{}</tr>",
                instant(point.row.minute),
                point.row.share,
                requests(point.row.stable.as_ref()),
                requests(point.row.canary.as_ref()),
                odds_in_words(point.judgement.log_e_harm),
                escape(&point.decision),
                escape(&point.judgement.reason.to_string())
            );
        }
        text += "</tbody></table></div></details></section>\n";
        text
    }
}

fn row_of(check: &CheckEvidence) -> String {
    let arm = |tally: crate::analysis::window::Tally| {
        if tally.total == 0 {
            return "no data".to_owned();
        }
        format!(
            "{:.3} %<br><span class=\"faint\">{} of {}</span>",
            tally.rate() * 100.0,
            count(tally.bad),
            count(tally.total)
        )
    };
    let mut text = format!(
        "<tr><th>{}<td>{}<td>{}<td>{}<td>{}</tr>",
        escape(&check.name),
        arm(check.stable),
        arm(check.canary),
        odds_in_words(check.log_e_harm),
        odds_in_words(check.log_e_health)
    );
    for part in check.parts.iter().filter(|_| check.parts.len() > 1) {
        let health = part.log_e_health.map_or_else(|| "not asked".to_owned(), odds_in_words);
        let _ = write!(
            text,
            "<tr class=\"part\"><th>{}<td><td><td>{}<td>{health}</tr>",
            escape(&part.name),
            odds_in_words(part.log_e_harm)
        );
    }
    text
}

fn told(point: &Point) -> Value {
    json!([point.decision, point.judgement.reason.to_string()])
}

/// `2026-03-01 10:00`, in UTC.
fn instant(minute: Minute) -> String {
    let text = minute.to_string();
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

/// Text that is no markup.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            c => safe.push(c),
        }
    }
    safe
}

/// JSON that ends no script.
fn in_script(data: &Value) -> String {
    data.to_string().replace('<', "\\u003c")
}
