//! The command line: everything that a person does without AWS, and the words it is told in.
//!
//! Nothing is decided here. `simulate` and `replay` run the same judge and the same handler as Lambda does
//! and put into tables what those said.

mod args;
mod input;
mod output;
mod plans;
mod replay;
mod simulate;
mod story;
mod table;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use output::Output;

/// Why a command could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Failure {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A file was read and is wrong.
    #[error("{0}")]
    Data(String),
    /// A file can't be read.
    #[error("{0}")]
    NoInput(String),
    /// The answer can't be written.
    #[error("the output can't be written: {0}")]
    Output(String),
}

impl Failure {
    /// The exit status, as sysexits.h has it, so that 0 to 2 are left for verdicts.
    fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Data(_) => 65,
            Self::NoInput(_) => 66,
            Self::Output(_) => 74,
        }
    }
}

/// Carries out a command line and answers the exit status.
pub fn main(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(line) {
        Ok(args) => args,
        Err(told) => {
            // Help and version come this way, too. If they can't be written, nobody is listening.
            let _ = told.print();
            return ExitCode::from(if told.use_stderr() { 64 } else { 0 });
        }
    };
    let mut out = Output::stdout();
    let done = carry_out(&args.command, &mut out).and_then(|status| out.finish().map(|()| status));
    match done {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            output::complain(&failure.to_string());
            ExitCode::from(failure.status())
        }
    }
}

fn carry_out(command: &Command, out: &mut Output) -> Result<u8, Failure> {
    match command {
        Command::Simulate(args) => simulate::simulate(args, out),
        Command::Replay(args) => replay::replay(args, out),
        Command::Check(args) => plans::check(args, out),
        Command::Schema => plans::schema(out),
    }
}
