//! The command line: everything that a person does without AWS, and the words it is told in.
//!
//! Nothing is decided here. `simulate`, `replay` and `calibrate` run the same judge (the first, the same handler,
//! too) as Lambda does and put into tables what it said.

mod args;
mod calibrate;
mod chaos;
mod compare;
mod completions;
mod cost;
mod doctor;
mod input;
mod live_report;
mod measure;
mod output;
mod plan_time;
mod plans;
mod record;
mod remote;
mod replay;
mod report;
mod run;
mod simulate;
mod story;
mod table;
mod waiting;
mod watch;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use jiff::Timestamp;

use args::{Args, Command};
use output::Output;

pub use measure::Measure;
pub use remote::{Look, NotDone, Remote, Where};
pub use run::{Run, keep_watch};
pub use words::count;

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
    /// A service did not answer, or not whole.
    #[error("{0}")]
    Unavailable(String),
    /// An installation does not do that, or not now.
    #[error("{0}")]
    Refused(String),
    /// The answer can't be written.
    #[error("the output can't be written: {0}")]
    Output(String),
}

impl Failure {
    /// The exit status of what was read and is wrong.
    const DATA: u8 = 65;

    /// The exit status, as sysexits.h has it, so that 0 to 2 are left for verdicts.
    fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Data(_) => Self::DATA,
            Self::NoInput(_) => 66,
            Self::Unavailable(_) => 69,
            Self::Refused(_) => 77,
            Self::Output(_) => 74,
        }
    }
}

/// What only a build with the adapters can do.
fn no_aws() -> Failure {
    let build = "cargo build --release --features aws";
    Failure::Usage(format!("this build can't talk to AWS; one that can: {build}"))
}

/// What the binary hands to the commands.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// When it was started.
    pub now: Timestamp,
    /// CloudWatch, in a build that can talk to AWS.
    pub cloudwatch: Option<&'a dyn Measure>,
    /// Installations, in a build that can talk to AWS.
    pub remote: Option<&'a dyn Remote>,
}

/// Carries out a command line and answers the exit status.
pub fn main(line: impl IntoIterator<Item = OsString>, world: World<'_>) -> ExitCode {
    let args = match Args::try_parse_from(line) {
        Ok(args) => args,
        Err(told) => {
            // Help and version come this way, too. If they can't be written, nobody is listening.
            let _ = told.print();
            return ExitCode::from(if told.use_stderr() { 64 } else { 0 });
        }
    };
    let mut out = Output::stdout();
    let done = carry_out(&args.command, world, &mut out).and_then(|status| out.finish().map(|()| status));
    match done {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            output::complain(&failure.to_string());
            ExitCode::from(failure.status())
        }
    }
}

fn carry_out(command: &Command, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    match command {
        Command::Simulate(args) => simulate::simulate(args, out),
        Command::Replay(args) => replay::replay(args, out),
        Command::Compare(args) => compare::compare(args, out),
        Command::Calibrate(args) => calibrate::calibrate(args, out),
        Command::Check(args) => plans::check(args, out),
        Command::PlanTime(args) => plan_time::plan_time(args, world, out),
        Command::Chaos(args) => chaos::chaos(args, out),
        Command::Schema(args) => plans::schema(args, out),
        Command::Cost(args) => cost::cost(args, out),
        Command::Completions(args) => completions::completions(args, out),
        Command::Start(args) => remote::start(args, world, out),
        Command::Status(args) => remote::status(args, world, out),
        Command::List(args) => remote::list(args, world, out),
        Command::History(args) => remote::history(args, world, out),
        Command::Pause(args) => remote::order("pause", args, world, out),
        Command::Resume(args) => remote::resume(args, world, out),
        Command::Promote(args) => remote::order("promote", args, world, out),
        Command::Abort(args) => remote::order("abort", args, world, out),
        Command::Watch(args) => watch::watch(args, world, out),
        Command::Doctor(args) => doctor::doctor(args, world, out),
        Command::Record(args) => record::record(args, world, out),
        Command::Report(args) => live_report::report(args, world, out),
        Command::Freeze(args) => remote::freeze("freeze", args, world, out),
        Command::Thaw(args) => remote::freeze("thaw", args, world, out),
        Command::Run(args) => run::run(args, world, out),
    }
}
