//! The one place that writes.
//!
//! A reader that goes away (`| head`) is no failure: what is left is not written, the work goes on to its end,
//! and the exit status stays true.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};

use super::Failure;

/// How a text stands out on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// Bad news.
    Alarm,
    /// Good news.
    Good,
    /// What needs a second look.
    Notice,
    /// Of less importance.
    Faint,
    /// Headings.
    Strong,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Alarm => "\x1b[1;31m",
            Self::Good => "\x1b[32m",
            Self::Notice => "\x1b[33m",
            Self::Faint => "\x1b[2m",
            Self::Strong => "\x1b[1m",
        }
    }
}

/// Where answers go.
pub(super) struct Output {
    to: Box<dyn Write>,
    colours: bool,
    /// The first failure; nothing is written after it.
    failed: Option<io::Error>,
}

impl Output {
    /// Standard output, locked.
    pub(super) fn stdout() -> Self {
        let stdout = io::stdout().lock();
        let colours = stdout.is_terminal() && may_colour();
        Self { to: Box::new(BufWriter::new(stdout)), colours, failed: None }
    }

    /// Writes a line.
    pub(super) fn line(&mut self, text: impl Display) {
        self.styled(Style::Plain, text);
    }

    /// Writes a line that stands out.
    pub(super) fn styled(&mut self, style: Style, text: impl Display) {
        if self.failed.is_some() {
            return;
        }
        let text = text.to_string();
        let text = harmless(&text);
        let written = if self.colours && style != Style::Plain {
            writeln!(self.to, "{}{text}\x1b[0m", style.code())
        } else {
            writeln!(self.to, "{text}")
        };
        self.failed = written.err();
    }

    /// Lets the reader see what was written so far.
    pub(super) fn flush(&mut self) {
        if self.failed.is_none() {
            self.failed = self.to.flush().err();
        }
    }

    /// Writes what is left, and says if something could not be written.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.flush();
        match self.failed.take() {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Output(error.to_string())),
            _ => Ok(()),
        }
    }
}

/// Nobody has said that there should be none.
pub(super) fn may_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Tells a failure on standard error. If even that can't be written, the exit status has to do.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "canary-gate: {}", harmless(text));
}

/// Names come from files, and a terminal obeys control characters: none but line breaks get through.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && c != '\n';
    if text.contains(obeyed) { Cow::Owned(text.replace(obeyed, " ")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_passed_on() {
        assert_eq!(harmless("one\ntwo"), "one\ntwo");
        assert_eq!(harmless("a\x1b[2Jb\rc\u{9b}d"), "a [2Jb c d");
    }
}
