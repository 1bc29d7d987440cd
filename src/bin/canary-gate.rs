//! The command line. Everything is in the library; this only passes the arguments on.

use std::process::ExitCode;

fn main() -> ExitCode {
    canary_gate::cli::main(std::env::args_os())
}
