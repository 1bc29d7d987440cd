//! `chaos`: random faults, and what must hold whatever happens.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use serde_json::{Value, json};

use super::Failure;
use super::args::{ChaosArgs, ReportFormat};
use super::output::{Output, Style};
use super::table::WIDTH;
use super::words::{count, wrap};
use crate::sim::chaos::{Broken, Failed, Invariant, Report, Sabotage, Tally, Told, episode, play};

/// Broken episodes that are told in full.
const TOLD_EPISODES: usize = 3;
/// The last lines of a story that lead to what was broken.
const LAST_LINES: usize = 60;
const NAME_WIDTH: usize = 36;

/// Plays many episodes, or one.
pub(super) fn chaos(args: &ChaosArgs, out: &mut Output) -> Result<u8, Failure> {
    let wanted = |sabotage: &Sabotage| Some(sabotage.name()) == args.sabotage.as_deref();
    let sabotage = Sabotage::ALL.into_iter().find(wanted);
    match args.episode {
        Some(seed) => Ok(one(seed, sabotage, args.format == ReportFormat::Json, out)),
        None => Ok(many(args, sabotage, out)),
    }
}

/// One episode with its story.
fn one(seed: u64, sabotage: Option<Sabotage>, as_json: bool, out: &mut Output) -> u8 {
    let Told { tally, broken, story } = episode(seed, sabotage, true);
    if as_json {
        let mut value = tally_json(&tally);
        value["episode"] = json!(seed);
        value["broken"] = broken_json(&broken);
        value["story"] = json!(story);
        out.line(value);
    } else {
        tell_story(&story, out);
        tell_broken(&broken, out);
        if broken.is_empty() {
            out.styled(Style::Good, format!("Everything held in episode {seed}."));
        }
    }
    u8::from(!broken.is_empty())
}

fn many(args: &ChaosArgs, sabotage: Option<Sabotage>, out: &mut Output) -> u8 {
    let mut progress = Progress::new(args.minutes);
    let report = play(args.seed, args.minutes, sabotage, |done| progress.tell(done));
    progress.end();
    if args.format == ReportFormat::Json {
        let mut value = tally_json(&report.tally);
        let failed =
            |failed: &Failed| json!({ "episode": failed.episode, "broken": broken_json(&failed.broken) });
        value["seed"] = json!(args.seed);
        value["failed"] = report.failed.iter().map(failed).collect();
        out.line(value);
    } else {
        tell(&report, args.seed, sabotage, out);
    }
    u8::from(!report.failed.is_empty())
}

fn broken_json(broken: &[Broken]) -> Value {
    let one = |broken: &Broken| {
        json!({
            "invariant": broken.invariant.number(),
            "name": broken.invariant.name(),
            "what": broken.what,
        })
    };
    broken.iter().map(one).collect()
}

fn tally_json(tally: &Tally) -> Value {
    let invariant = |invariant: &Invariant| {
        json!({
            "number": invariant.number(),
            "name": invariant.name(),
            "says": invariant.says(),
            "checked": tally.checked[invariant.index()],
            "broken": tally.broken[invariant.index()],
        })
    };
    json!({
        "episodes": tally.episodes,
        "rollout_minutes": tally.rollout_minutes,
        "rollouts": tally.rollouts,
        "ended": tally.ended,
        "invocations": tally.invocations,
        "overlaps": tally.overlaps,
        "deaths": tally.deaths,
        "calls": tally.calls,
        "shifts": tally.shifts,
        "drains": tally.drains,
        "deployments": tally.deployments,
        "answers": tally.answers,
        "stops": tally.stops,
        "pages": tally.pages,
        "repeated_pages": tally.repeated_pages,
        "faults": tally.faults,
        "invariants": Invariant::ALL.iter().map(invariant).collect::<Vec<_>>(),
    })
}

fn tell(report: &Report, seed: u64, sabotage: Option<Sabotage>, out: &mut Output) {
    let tally = &report.tally;
    out.styled(Style::Strong, format!("Chaos of seed {seed}"));
    for (name, number) in [
        ("episodes", tally.episodes),
        ("rollout-minutes", tally.rollout_minutes),
        ("rollouts", tally.rollouts),
        ("invocations", tally.invocations),
        ("  that overlapped another", tally.overlaps),
        ("  that died", tally.deaths),
        ("port calls", tally.calls),
        ("shifts up", tally.shifts),
        ("drains", tally.drains),
        ("deployments of other systems", tally.deployments),
        ("  answers to them", tally.answers),
        ("  that were stopped", tally.stops),
        ("pages", tally.pages),
        ("  sent again with the same key", tally.repeated_pages),
    ] {
        row(name, number, out);
    }
    out.line("");
    out.styled(Style::Strong, "What went wrong");
    for (name, number) in &tally.faults {
        row(name, *number, out);
    }
    row("all", tally.all_faults(), out);
    out.line("");
    out.styled(Style::Strong, format!("{:<NAME_WIDTH$}{:>14}{:>10}", "What must hold", "checked", "broken"));
    for invariant in Invariant::ALL {
        let [checked, broken] = [tally.checked, tally.broken].map(|counts| counts[invariant.index()]);
        let style = if broken > 0 { Style::Alarm } else { Style::Plain };
        let name = format!("{}  {}", invariant.number(), invariant.name());
        out.styled(style, format!("{name:<NAME_WIDTH$}{:>14}{:>10}", count(checked), count(broken)));
    }
    out.line("");
    for failed in report.failed.iter().take(TOLD_EPISODES) {
        let story = episode(failed.episode, sabotage, true).story;
        tell_story(&story[story.len().saturating_sub(LAST_LINES)..], out);
        tell_broken(&failed.broken, out);
        let also = sabotage.map_or_else(String::new, |sabotage| format!(" --sabotage {}", sabotage.name()));
        out.line(format!("Play it again with:  canary-gate chaos --episode {}{also}", failed.episode));
        out.line("");
    }
    match report.failed.len() {
        0 => out.styled(Style::Good, "Everything held."),
        some => out
            .styled(Style::Alarm, format!("Something was broken in {some} of {} episodes.", tally.episodes)),
    }
}

fn row(name: &str, number: u64, out: &mut Output) {
    out.line(format!("{name:<NAME_WIDTH$}{:>14}", count(number)));
}

fn tell_story(story: &[String], out: &mut Output) {
    story.iter().for_each(|line| out.line(line));
}

fn tell_broken(broken: &[Broken], out: &mut Output) {
    for Broken { invariant, what } in broken {
        let text = format!("BROKEN: {} ({}): {what}", invariant.number(), invariant.name());
        wrap(&text, WIDTH).into_iter().for_each(|line| out.styled(Style::Alarm, line));
        wrap(invariant.says(), WIDTH - 2)
            .into_iter()
            .for_each(|line| out.styled(Style::Faint, format!("  {line}")));
    }
}

/// How far it is, on standard error, for a person who waits at a terminal.
struct Progress {
    wanted: u64,
    begun: Instant,
    seen: bool,
}

impl Progress {
    fn new(wanted: u64) -> Self {
        Self { wanted, begun: Instant::now(), seen: io::stderr().is_terminal() }
    }

    fn tell(&mut self, done: u64) {
        if self.seen && done > 0 {
            let rate = done as f64 / self.begun.elapsed().as_secs_f64();
            let left_s = self.wanted.saturating_sub(done) as f64 / rate;
            let line =
                format!("{} of {} rollout-minutes, {left_s:.0} s left", count(done), count(self.wanted));
            // If it can't be written, nobody is looking.
            let _ = write!(io::stderr().lock(), "\r{line}\x1b[K");
        }
    }

    fn end(self) {
        if self.seen {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
