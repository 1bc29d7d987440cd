//! `watch`: a rollout on the whole screen, for as long as one looks.

mod screen;

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, poll, read};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{cursor, queue};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::args::{ReportFormat, WatchArgs};
use super::output::{Output, Style, complain, harmless, may_colour};
use super::remote::{NotDone, Remote, Where, event, remote};
use super::waiting::waiting;
use super::{Failure, World};
use crate::rollout::record::LogEntry;
use screen::{Seen, lines};

/// Log entries that are asked for: what fits on a screen, and half an hour of minutes.
const ENTRIES: u32 = 40;
/// Failed reads in a row after which nobody waits any more.
const PATIENCE: u32 = 60;

/// Watches until somebody leaves, or the rollout has ended.
pub(super) fn watch(args: &WatchArgs, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    let watched = Watched { remote: remote(world)?, place: (&args.at).into(), rollout: &args.rollout };
    let every = Duration::from_secs(args.every.seconds());
    match args.format {
        ReportFormat::Json => watched.told(every, out),
        ReportFormat::Text if !io::stdout().is_terminal() => {
            let why = "watch needs a terminal; --format json prints every change, and `status` tells once";
            Err(Failure::Usage(why.to_owned()))
        }
        ReportFormat::Text => watched.shown(every),
    }
}

struct Watched<'a> {
    remote: &'a dyn Remote,
    place: Where,
    rollout: &'a str,
}

impl Watched<'_> {
    fn status(&self) -> Result<Value, NotDone> {
        self.remote.send(&self.place, &event("status", &[("rollout", json!(self.rollout))]))
    }

    fn log(&self) -> Result<Vec<LogEntry>, NotDone> {
        self.remote.log(&self.place, self.rollout, ENTRIES)
    }

    /// Prints each change.
    fn told(&self, every: Duration, out: &mut Output) -> Result<u8, Failure> {
        let mut before = Value::Null;
        let mut failed = 0;
        loop {
            let status = match self.status() {
                // A pipeline waits with this: what passes is no reason to give up.
                Err(NotDone::Unavailable(why)) if failed < PATIENCE && !before.is_null() => {
                    failed += 1;
                    complain(&format!("not read, trying again: {why}"));
                    std::thread::sleep(every);
                    continue;
                }
                status => status?,
            };
            failed = 0;
            if status != before {
                out.line(&status);
                out.flush();
                before = status;
            }
            if let Some(exit) = ended(&before) {
                return Ok(exit);
            }
            std::thread::sleep(every);
        }
    }

    /// Draws the screen anew whenever something was read.
    fn shown(&self, every: Duration) -> Result<u8, Failure> {
        // Before the screen is taken: what goes wrong now is told where it stays.
        let record = waiting("asking AWS", || self.remote.record(&self.place, self.rollout))?;
        let mut seen =
            Seen { record, status: self.status()?, log: self.log()?, at: Timestamp::now(), trouble: None };
        let mut screen = Screen::open().map_err(not_written)?;
        loop {
            screen.draw(&seen).map_err(not_written)?;
            let due = Instant::now() + every;
            while let Some(left) = due.checked_duration_since(Instant::now()) {
                if !poll(left).map_err(not_written)? {
                    break;
                }
                match read().map_err(not_written)? {
                    Event::Key(key) if key.kind == KeyEventKind::Press => {
                        let control = key.modifiers.contains(KeyModifiers::CONTROL);
                        match key.code {
                            KeyCode::Char('q') | KeyCode::Esc => return Ok(ended(&seen.status).unwrap_or(0)),
                            KeyCode::Char('c') if control => return Ok(ended(&seen.status).unwrap_or(0)),
                            _ => {}
                        }
                    }
                    Event::Resize(..) => screen.draw(&seen).map_err(not_written)?,
                    _ => {}
                }
            }
            match (self.status(), self.log()) {
                (Ok(status), Ok(log)) => {
                    seen = Seen { status, log, at: Timestamp::now(), trouble: None, record: seen.record };
                }
                (Err(trouble), _) | (_, Err(trouble)) => {
                    seen.trouble = Some(Failure::from(trouble).to_string());
                }
            }
        }
    }
}

/// The exit status of a rollout that has ended, and whose drain was verified.
fn ended(status: &Value) -> Option<u8> {
    if status["verifying_drain"] == json!(true) {
        return None;
    }
    match status["phase"].as_str()? {
        "promoted" => Some(0),
        "drained" => Some(1),
        "stopped" => Some(2),
        _ => None,
    }
}

#[allow(clippy::needless_pass_by_value)]
fn not_written(error: io::Error) -> Failure {
    Failure::Output(error.to_string())
}

/// The terminal, taken and given back.
struct Screen {
    colours: bool,
}

impl Screen {
    fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        // From here on it is given back, whatever happens.
        let screen = Self { colours: may_colour() };
        queue!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        io::stdout().flush()?;
        Ok(screen)
    }

    fn draw(&mut self, seen: &Seen) -> io::Result<()> {
        let (columns, rows) = size()?;
        let mut out = io::stdout().lock();
        queue!(out, cursor::MoveTo(0, 0))?;
        let shown = lines(seen, Timestamp::now(), usize::from(columns), usize::from(rows));
        for (at, (style, line)) in shown.iter().enumerate() {
            queue!(out, cursor::MoveTo(0, u16::try_from(at).unwrap_or(u16::MAX)))?;
            match style {
                _ if !self.colours => {}
                Style::Plain => {}
                Style::Alarm => queue!(out, SetAttribute(Attribute::Bold), SetForegroundColor(Color::Red))?,
                Style::Good => queue!(out, SetForegroundColor(Color::Green))?,
                Style::Notice => queue!(out, SetForegroundColor(Color::Yellow))?,
                Style::Faint => queue!(out, SetAttribute(Attribute::Dim))?,
                Style::Strong => queue!(out, SetAttribute(Attribute::Bold))?,
            }
            queue!(out, Print(harmless(line)), SetAttribute(Attribute::Reset), ResetColor)?;
            queue!(out, Clear(ClearType::UntilNewLine))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // If it can't be given back, there is none.
        let _ = queue!(io::stdout(), cursor::Show, LeaveAlternateScreen);
        let _ = io::stdout().flush();
        let _ = disable_raw_mode();
    }
}
