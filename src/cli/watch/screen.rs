//! What is on the screen, as lines: pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use super::super::live_report::points;
use super::super::output::Style;
use super::super::remote::{frozen, text};
use super::super::report::{Measured, measured};
use super::super::words::{count, odds_in_words};
use crate::analysis::verdict::Judgement;
use crate::rollout::record::{LogEntry, Record};

/// Cells of a bar.
const BAR: usize = 30;
/// Minutes of a sparkline.
const MINUTES: usize = 40;
/// The first column.
const NAME: usize = 11;
/// A tick that is this much late is told in so many words.
const TICK_LATE_S: i64 = 180;
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What was read last.
#[derive(Debug)]
pub(super) struct Seen {
    /// For the plan.
    pub(super) record: Record,
    /// The answer of `status`.
    pub(super) status: Value,
    /// The newest entries, newest first.
    pub(super) log: Vec<LogEntry>,
    /// When.
    pub(super) at: Timestamp,
    /// Why nothing newer was read.
    pub(super) trouble: Option<String>,
}

type Lines = Vec<(Style, String)>;

/// The screen, at most `rows` lines of at most `columns` characters.
pub(super) fn lines(seen: &Seen, now: Timestamp, columns: usize, rows: usize) -> Lines {
    let mut lines = head(seen, now, columns);
    let judgement = serde_json::from_value::<Judgement>(seen.status["judgement"].clone()).ok();
    if let Some(judgement) = &judgement {
        lines.push((Style::Plain, String::new()));
        lines.extend(evidence(seen, judgement));
    }
    let curves = curves(seen);
    let foot = foot(seen, now);
    // What was decided is never crowded out by curves.
    if lines.len() + curves.len() + 5 + foot.len() <= rows {
        lines.extend(curves);
    }
    lines.push((Style::Plain, String::new()));
    let room = rows.saturating_sub(lines.len() + foot.len());
    lines.extend(log(seen).into_iter().take(room));
    lines.truncate(rows.saturating_sub(foot.len()));
    while lines.len() + foot.len() < rows {
        lines.push((Style::Plain, String::new()));
    }
    lines.extend(foot);
    lines.truncate(rows);
    lines.into_iter().map(|(style, line)| (style, cut(&line, columns))).collect()
}

fn cut(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    let mut text: String = line.chars().take(columns.saturating_sub(1)).collect();
    text.push('…');
    text
}

fn head(seen: &Seen, now: Timestamp, columns: usize) -> Lines {
    let status = &seen.status;
    let share = status["share"].as_f64().unwrap_or(0.0);
    let step = status["step"]
        .as_u64()
        .map_or_else(String::new, |step| format!(", step {step} of {}", seen.record.plan.steps.len()));
    let left = format!("{}: {} at {share}%{step}", text(status, "rollout"), text(status, "phase"));
    let clock = now.strftime("%H:%M:%S UTC").to_string();
    let room = columns.saturating_sub(left.chars().count() + clock.len()).max(2);
    let verdict = text(status, "verdict");
    let style = match (text(status, "phase"), verdict) {
        ("draining" | "drained", _) | (_, "harmful") => Style::Alarm,
        ("promoted", _) | (_, "healthy") => Style::Good,
        ("frozen" | "paused", _) | (_, "blind") => Style::Notice,
        _ => Style::Strong,
    };
    let mut lines = vec![(style, format!("{left}{}{clock}", " ".repeat(room)))];
    let expected = status["minutes_to_verdict"].as_u64().filter(|minutes| *minutes > 0);
    let expected = expected.map_or_else(String::new, |minutes| format!("; a verdict in about {minutes} min"));
    let told = match status["reason"].as_str() {
        Some(reason) => format!("{verdict}: {reason}{expected}"),
        None => "nothing was judged yet".to_owned(),
    };
    lines.push((style, told));
    if status["why"] != status["reason"] {
        lines.push((Style::Faint, text(status, "why").to_owned()));
    }
    lines.extend(frozen(status).map(|told| (Style::Notice, told)));
    lines.push((Style::Plain, String::new()));
    let steps: Vec<String> = seen.record.plan.steps.iter().map(ToString::to_string).collect();
    let bar = bar(share / 100.0);
    lines.push((Style::Plain, format!("{:<NAME$}{bar} {share}%   steps {}", "share", steps.join(" "))));
    lines
}

fn bar(part: f64) -> String {
    let part = part.clamp(0.0, 1.0);
    // What is there is seen, and what is not full is not shown as full.
    let full = ((part * BAR as f64).ceil() as usize).min(if part < 1.0 { BAR - 1 } else { BAR });
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR - full))
}

fn evidence(seen: &Seen, judgement: &Judgement) -> Lines {
    let rules = &seen.record.plan.rules;
    let mut lines = Vec::new();
    let toward = |ln_e: f64, needed: f64| bar((ln_e / needed).max(0.0));
    let harm = judgement.log_e_harm;
    let style = if harm >= rules.ln_convict() { Style::Alarm } else { Style::Plain };
    lines.push((
        style,
        format!(
            "{:<NAME$}{} {}; {} drains",
            "harm",
            toward(harm, rules.ln_convict()),
            odds_in_words(harm),
            odds_in_words(rules.ln_convict())
        ),
    ));
    for check in &judgement.checks {
        let proven = check.log_e_health >= rules.ln_acquit();
        lines.push((
            if proven { Style::Good } else { Style::Plain },
            format!(
                "{:<NAME$}{} {}; {} proves health",
                check.name,
                toward(check.log_e_health, rules.ln_acquit()),
                odds_in_words(check.log_e_health),
                odds_in_words(rules.ln_acquit())
            ),
        ));
        let arm = |name: &str, tally: crate::analysis::window::Tally| {
            format!("{name} {:.2}% ({} of {})", tally.rate() * 100.0, count(tally.bad), count(tally.total))
        };
        lines.push((
            Style::Plain,
            format!("{:<NAME$}{}   {}", "", arm("stable", check.stable), arm("canary", check.canary)),
        ));
    }
    lines
}

/// Both arms, minute by minute, on one scale for each check.
fn curves(seen: &Seen) -> Lines {
    let mut points = points(&seen.record, &seen.log);
    points.drain(..points.len().saturating_sub(MINUTES));
    let mut lines = Vec::new();
    for Measured { title, unit, stable, canary } in measured(&seen.record.plan.rules, &points) {
        let most = stable.iter().chain(&canary).flatten().fold(0.0_f64, |most, value| most.max(*value));
        if most <= 0.0 {
            continue;
        }
        lines.push((Style::Plain, String::new()));
        lines.push((Style::Faint, format!("{title}, {} min, 0 to {}{unit}", points.len(), short(most))));
        for (name, values) in [("stable", stable), ("canary", canary)] {
            let newest = values.iter().rev().flatten().next();
            let newest = newest.map_or_else(String::new, |value| format!("{}{unit}", short(*value)));
            lines.push((Style::Plain, format!("  {name:<9}{} {newest}", sparkline(&values, most))));
        }
    }
    lines
}

fn short(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 1.0 => format!("{v:.1}"),
        v => format!("{v:.3}"),
    }
}

/// A column for each value; what is missing is a gap.
fn sparkline(values: &[Option<f64>], most: f64) -> String {
    let mut line = String::new();
    for value in values {
        line.push(value.map_or(' ', |value| {
            let at = (value / most * (BLOCKS.len() - 1) as f64).round().clamp(0.0, (BLOCKS.len() - 1) as f64);
            BLOCKS[at as usize]
        }));
    }
    line
}

fn log(seen: &Seen) -> Lines {
    let mut lines = Vec::new();
    for entry in &seen.log {
        let style = match entry.decision.as_str() {
            "drain" | "abort" => Style::Alarm,
            "promote" | "finish" => Style::Good,
            "freeze" | "pause" => Style::Notice,
            "hold" => Style::Faint,
            _ => Style::Plain,
        };
        let mut line =
            format!("{}  {:<9}{:>5}  ", entry.at.strftime("%H:%M"), entry.decision, entry.share.to_string());
        if let Some(by) = &entry.by {
            let _ = write!(line, "{}: ", by.actor);
        }
        lines.push((style, line + &entry.why));
    }
    lines
}

fn foot(seen: &Seen, now: Timestamp) -> Lines {
    let mut lines = Vec::new();
    if let Some(trouble) = &seen.trouble {
        let age = now.duration_since(seen.at).as_secs();
        lines.push((Style::Alarm, format!("not read for {age} s: {trouble}")));
    }
    let ended = matches!(text(&seen.status, "phase"), "promoted" | "drained" | "stopped");
    let ticked = seen.status["last_tick"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let (style, tick) = match ticked.map(|at| now.duration_since(at).as_secs()) {
        _ if ended => (Style::Faint, "it has ended".to_owned()),
        None => (Style::Faint, "no tick yet".to_owned()),
        Some(age) if age > TICK_LATE_S => {
            (Style::Alarm, format!("NO TICK FOR {} MIN: nobody watches it", age / 60))
        }
        Some(age) => (Style::Faint, format!("last tick {} min ago", age / 60)),
    };
    let pages = seen.status["pages_pending"].as_u64().filter(|pages| *pages > 0);
    let pages = pages.map_or_else(String::new, |pages| format!("; {pages} pages wait to be sent"));
    lines.push((style, format!("{tick}{pages}; q leaves")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Scope, parse_plan};
    use crate::rollout::record::Audit;
    use crate::sim::run::default_plan;
    use serde_json::json;

    fn at() -> Timestamp {
        "2026-03-01T10:10:30Z".parse().unwrap()
    }

    fn seen(status: Value) -> Seen {
        let plan = parse_plan(&default_plan().to_string(), Scope::Rollout).unwrap().plan;
        let by = Audit { actor: "ana".to_owned(), reason: "release".to_owned(), at: at() };
        Seen { record: Record::new(plan, by, false), status, log: Vec::new(), at: at(), trouble: None }
    }

    fn whole(seen: &Seen, columns: usize, rows: usize) -> String {
        let shown = lines(seen, at(), columns, rows);
        assert_eq!(shown.len(), rows);
        assert!(shown.iter().all(|(_, line)| line.chars().count() <= columns));
        shown.into_iter().map(|(_, line)| line + "\n").collect()
    }

    #[test]
    fn every_size_is_filled_and_none_exceeded() {
        let running = json!({
            "rollout": "shop", "phase": "running", "share": 25.0, "step": 2, "verdict": "undecided",
            "reason": "errors: health not proven yet", "minutes_to_verdict": 7, "why": "on step 2",
            "last_tick": "2026-03-01T10:09:00Z",
        });
        for (columns, rows) in [(20, 4), (80, 24), (200, 60)] {
            whole(&seen(running.clone()), columns, rows);
        }
        let text = whole(&seen(running), 100, 24);
        for part in [
            "shop: running at 25%, step 2 of 4",
            "a verdict in about 7 min",
            "last tick 1 min ago",
            "10:10:30 UTC",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_tick_that_stays_out_is_told_loudly() {
        let mut late = seen(
            json!({ "rollout": "shop", "phase": "running", "share": 5.0, "last_tick": "2026-03-01T10:00:00Z" }),
        );
        late.trouble = Some("dynamodb Query: throttled".to_owned());
        let text = whole(&late, 100, 24);
        assert!(text.contains("NO TICK FOR 10 MIN") && text.contains("throttled"), "{text}");
        late.status["phase"] = json!("promoted");
        assert!(whole(&late, 100, 24).contains("it has ended"));
    }

    #[test]
    fn a_bar_is_full_only_at_the_end() {
        assert_eq!(bar(0.0), format!("[{}]", "-".repeat(BAR)));
        assert!(bar(0.999).ends_with("-]") && bar(0.001).starts_with("[#"));
        assert_eq!(bar(7.0), format!("[{}]", "#".repeat(BAR)));
    }

    #[test]
    fn a_gap_in_a_sparkline_stays_a_gap() {
        assert_eq!(sparkline(&[Some(0.0), None, Some(1.0), Some(2.0)], 2.0), "▁ ▅█");
    }
}
