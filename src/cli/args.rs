//! What can be said on the command line.

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

use crate::sim::run::LIMIT_MINUTES;
use crate::sim::scenario::SCENARIOS;

/// More would only be slower; the judge needs no more to be sure.
const RPS_MAX: f64 = 1e6;
/// A day: every tick judges the whole rollout again, so time grows with its square.
const MINUTES_MAX: u32 = 24 * 60;

/// Judges a canary against the stable version, minute by minute, and drains it when it is worse.
#[derive(Debug, Parser)]
#[command(name = "canary-gate", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Start with:  canary-gate simulate")]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show a rollout in a simulated cloud: what canary-gate sees, decides and pages
    #[command(after_help = simulate_help())]
    Simulate(SimulateArgs),
    /// Judge recorded minutes again, as if they came now
    #[command(after_help = REPLAY_HELP)]
    Replay(ReplayArgs),
    /// Check a plan and tell every problem in it
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
    /// Print the JSON Schema of a plan, for editors
    #[command(after_help = "Example:\n  canary-gate schema > plan.schema.json")]
    Schema,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StoryFormat {
    /// A table for people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReplayFormat {
    /// A table for people
    Text,
    /// One JSON object a minute, and a summary
    Jsonl,
}

#[derive(Debug, Group)]
pub(super) struct SimulateArgs {
    /// What happens; see the list below
    #[arg(long, value_name = "NAME", default_value = SCENARIOS[0].name, hide_possible_values = true)]
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SCENARIOS.iter().map(|s| s.name)))]
    pub(super) scenario: String,
    /// Requests a second, both arms together
    #[arg(long, value_name = "N", default_value = "50", value_parser = rps, allow_negative_numbers = true)]
    pub(super) rps: f64,
    /// The same seed tells the same story
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) seed: u64,
    /// The plan to follow; the defaults if not given (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub(super) plan: Option<String>,
    /// Virtual minutes at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MINUTES_MAX)))]
    pub(super) minutes: Option<u32>,
    /// How to tell it
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: StoryFormat,
    /// Show every minute, also where nothing happens
    #[arg(long)]
    pub(super) verbose: bool,
}

#[derive(Debug, Group)]
pub(super) struct ReplayArgs {
    /// The plan whose rules to judge by (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub(super) plan: String,
    /// The recorded minutes (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub(super) recording: String,
    /// How to tell it
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: ReplayFormat,
    /// Show every minute, also where nothing happens
    #[arg(long)]
    pub(super) verbose: bool,
}

#[derive(Debug, Group)]
pub(super) struct CheckArgs {
    /// The plan (`-`: standard input)
    #[arg(value_name = "PLAN")]
    pub(super) plan: String,
}

fn rps(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rps) if rps > 0.0 && rps <= RPS_MAX => Ok(rps),
        _ => Err("is a number of requests a second, above 0 and up to 1000000".to_owned()),
    }
}

const REPLAY_HELP: &str = "\
Minutes are judged one by one, as they stand in the recording: a promotion or drain changes nothing
in what was recorded. After the first drain the decision is `none`, since the rollout would have ended.

Examples:
  canary-gate replay --plan plan.yaml --recording minutes.jsonl
  canary-gate replay --plan plan.yaml --recording - --format jsonl < minutes.jsonl | tail -1

Exit status:
  0   promotable: proven healthy on the recording's last step
  1   drained: proven harmful
  2   undecided, or blind at the end
  64  the command line is wrong
  65  the plan or the recording is wrong
  66  a file can't be read
  74  the output can't be written";

const CHECK_HELP: &str = "\
Examples:
  canary-gate check plan.yaml
  canary-gate check - < plan.yaml

Exit status:
  0   the plan can be started, maybe with warnings
  64  the command line is wrong
  65  the plan has problems; each is told
  66  the file can't be read";

fn simulate_help() -> String {
    let mut help = String::from("Scenarios:\n");
    for scenario in SCENARIOS {
        help += &format!("  {:<12} {}\n", scenario.name, scenario.title);
    }
    help += &format!(
        "\nWithout --minutes it ends with the rollout, at the latest after {LIMIT_MINUTES} virtual minutes.\n\
         Colours are used on a terminal only, and not if NO_COLOR is set.\n\n\
         Examples:\n  \
         canary-gate simulate\n  \
         canary-gate simulate --scenario outage --seed 7\n  \
         canary-gate simulate --rps 500 --plan plan.yaml --format json | jq .decision\n\n\
         Exit status:\n  \
         0   the story was told, whatever its end\n  \
         64  the command line is wrong\n  \
         65  the plan is wrong\n  \
         66  the plan can't be read\n  \
         74  the output can't be written"
    );
    help
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn impossible_rates_are_refused() {
        for text in ["0", "-1", "nan", "inf", "1e7", "many", ""] {
            assert!(rps(text).is_err(), "{text:?} was taken");
        }
        assert_eq!(rps("0.5"), Ok(0.5));
    }
}
