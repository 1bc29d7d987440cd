//! `completions`: scripts by which a shell completes the command line.

use clap::{Args as Group, CommandFactory};
use clap_complete::Shell;

use super::Failure;
use super::args::Args;
use super::output::Output;

#[derive(Debug, Group)]
pub(super) struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    pub(super) shell: Shell,
}

pub(super) const HELP: &str = "\
Where to put it:
  bash        canary-gate completions bash > ~/.local/share/bash-completion/completions/canary-gate
  zsh         canary-gate completions zsh > ~/.zfunc/_canary-gate        (with ~/.zfunc in $fpath)
  fish        canary-gate completions fish > ~/.config/fish/completions/canary-gate.fish
  powershell  canary-gate completions powershell >> $PROFILE
  elvish      canary-gate completions elvish >> ~/.config/elvish/rc.elv

Example:
  source <(canary-gate completions bash)";

/// clap_complete's script for bash spells a name with a hyphen in two ways, and then completes nothing behind a
/// command (clap-rs/clap#6421): what it says, and what it means. Once that is mended there is nothing to replace.
const MISSPELT: [&str; 2] = ["canary__subcmd__gate", "canary__gate"];

/// Prints a shell's script.
pub(super) fn completions(args: &CompletionsArgs, out: &mut Output) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "canary-gate", &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::Output(error.to_string()))?;
    let [said, meant] = MISSPELT;
    for line in script.lines() {
        out.line(line.replace(said, meant));
    }
    Ok(0)
}
