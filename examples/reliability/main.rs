//! Tries what can go wrong, and writes the tables of docs/reliability.md.
//!
//! `cargo run --release --example reliability` writes them; with `--check` it tries the same, and then says whether
//! the document has the tables in their present shape. Either way it fails if a promise was broken.

mod fuzz;
#[path = "../study/table.rs"]
mod table;
mod tables;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use tables::Tried;

#[derive(Debug, Parser)]
#[command(about = "Tries what can go wrong and writes the tables of docs/reliability.md")]
struct Args {
    /// Rollout-minutes of random faults
    #[arg(long, default_value = "1000000")]
    minutes: u64,
    /// States of the pure decision for each plan, the nearest first; there are more than a million
    #[arg(long, default_value = "4000")]
    worlds: u64,
    /// Hostile inputs for each reader
    #[arg(long, default_value = "200000")]
    inputs: u64,
    /// The same seed tells the same stories
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Say whether the document's tables have today's rows and columns; write nothing
    #[arg(long)]
    check: bool,
    /// The document
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reliability.md"))]
    document: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match reliability(&args) {
        Ok(told) => {
            let _ = writeln!(io::stdout(), "{told}");
            ExitCode::SUCCESS
        }
        Err(told) => {
            let _ = writeln!(io::stderr(), "reliability: {told}");
            ExitCode::FAILURE
        }
    }
}

fn reliability(args: &Args) -> Result<String, String> {
    let name = args.document.display();
    let before = std::fs::read_to_string(&args.document).map_err(|error| format!("{name}: {error}"))?;
    let Tried { tables, broken } = tables::try_all(args);
    if !broken.is_empty() {
        return Err(format!("{} broken:\n{}", broken.len(), broken.join("\n")));
    }
    if args.check {
        let stale = tables.iter().filter(|table| !table.has_shape_of(&before)).map(|table| table.name);
        let names: Vec<&str> = stale.collect();
        return match names.as_slice() {
            [] => Ok(format!("nothing broken\n{name}: all {} tables have today's shape", tables.len())),
            _ => Err(format!("{name}: write anew, without --check: {}", names.join(", "))),
        };
    }
    let written = tables.iter().try_fold(before, |text, table| table.put_into(&text))?;
    std::fs::write(&args.document, written).map_err(|error| format!("{name}: {error}"))?;
    Ok(format!("nothing broken\n{name}: {} tables written", tables.len()))
}
