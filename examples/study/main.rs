//! Measures the test against the rules that people use today, and writes the tables of docs/statistics.md.
//!
//! `cargo run --release --example study` writes them; with `--check` it only says whether the document has
//! them, in their present shape. `--runs 100` is quick and rough.

mod rules;
mod table;
mod tables;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use table::Table;

#[derive(Debug, Parser)]
#[command(about = "Measures the test and writes the tables of docs/statistics.md")]
struct Args {
    /// Simulated canaries for each cell
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// The same seed gives the same tables
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Say whether the document's tables have today's rows and columns; write nothing
    #[arg(long)]
    check: bool,
    /// The document
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/statistics.md"))]
    document: PathBuf,
}

/// As many runs show which rows and columns there are.
const RUNS_FOR_SHAPE: u32 = 1;

fn main() -> ExitCode {
    let args = Args::parse();
    match study(&args) {
        Ok(told) => {
            let _ = writeln!(io::stdout(), "{told}");
            ExitCode::SUCCESS
        }
        Err(told) => {
            let _ = writeln!(io::stderr(), "study: {told}");
            ExitCode::FAILURE
        }
    }
}

fn study(args: &Args) -> Result<String, String> {
    let name = args.document.display();
    let before = std::fs::read_to_string(&args.document).map_err(|error| format!("{name}: {error}"))?;
    let runs = if args.check { RUNS_FOR_SHAPE } else { args.runs };
    let tables = tables::measure(runs, args.seed, &mut progress);
    if args.check {
        let stale: Vec<_> = tables.iter().filter(|table| !table.has_shape_of(&before)).collect();
        let names: Vec<&str> = stale.iter().map(|table| table.name).collect();
        return match names.as_slice() {
            [] => Ok(format!("{name}: all {} tables have today's shape", tables.len())),
            _ => Err(format!("{name}: write anew, without --check: {}", names.join(", "))),
        };
    }
    let written = tables.iter().try_fold(before, |text, table: &Table| table.put_into(&text))?;
    std::fs::write(&args.document, written).map_err(|error| format!("{name}: {error}"))?;
    Ok(format!("{name}: {} tables written, {runs} runs a cell", tables.len()))
}

fn progress(done: usize, jobs: usize) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let end = if done == jobs { "\r\x1b[K" } else { "" };
        let _ = write!(stderr, "\r{done} of {jobs} canaries{end}");
    }
}
