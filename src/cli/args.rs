//! What can be said on the command line.

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

use crate::analysis::forecast::BadSize;
use crate::analysis::one_look::ALPHA;
use crate::config::settings;
use crate::sim::chaos::Sabotage;
use crate::sim::run::LIMIT_MINUTES;
use crate::sim::scenario::SCENARIOS;
use crate::units::{Rate, Share, Span};

/// More would only be slower; the judge needs no more to be sure.
const RPS_MAX: f64 = 1e6;
/// A day: every tick judges the whole rollout again, so time grows with its square.
const MINUTES_MAX: u32 = 24 * 60;
/// Half an hour has rare errors of busy services; a day has the busiest hour, and its data points are within
/// what CloudWatch answers at once.
const MEASURED_MINUTES: std::ops::RangeInclusive<i64> = 30..=24 * 60;
/// Some days of work for one machine.
const CHAOS_MINUTES_MAX: u64 = 10_000_000_000;
/// A test that is wrong more often than a coin is none.
const ALPHA_MAX: f64 = 0.5;
/// So many rollouts of a kind pin a rate of 1 % down to a hundredth of that.
const RUNS_MAX: u64 = 1_000_000;
/// Counts this many times noisier than binomial are no counts of requests any more.
const NOISE_MAX: f64 = 1_000.0;

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
    /// Compare a whole recording at once, by classical tests: valid for one look
    #[command(after_help = COMPARE_HELP)]
    Compare(CompareArgs),
    /// Count how often a plan is wrong, and how fast it is right, in thousands of simulated rollouts
    #[command(after_help = CALIBRATE_HELP)]
    Calibrate(CalibrateArgs),
    /// Check a plan and tell every problem in it
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
    /// Tell how long a plan takes at a given traffic, and what will never be decided
    #[command(after_help = PLAN_TIME_HELP)]
    PlanTime(PlanTimeArgs),
    /// Let everything go wrong at once, and check that what must hold does
    #[command(after_help = chaos_help())]
    Chaos(ChaosArgs),
    /// Print the JSON Schema of a plan, for editors, or its reference
    #[command(after_help = SCHEMA_HELP)]
    Schema(SchemaArgs),
    /// Reckon what an installation and a rollout cost, from counted calls
    #[command(after_help = super::cost::HELP)]
    Cost(super::cost::CostArgs),
    /// Print a script by which a shell completes this command line
    #[command(after_help = super::completions::HELP)]
    Completions(super::completions::CompletionsArgs),
    /// Start a rollout
    #[command(after_help = REMOTE_HELP)]
    Start(StartArgs),
    /// Show where a rollout stands
    #[command(after_help = REMOTE_HELP)]
    Status(NameArgs),
    /// Show all rollouts
    #[command(after_help = REMOTE_HELP)]
    List(AskArgs),
    /// Show what was decided about a rollout, newest first
    #[command(after_help = REMOTE_HELP)]
    History(HistoryArgs),
    /// Stop a rollout's way up; it is watched on
    #[command(after_help = REMOTE_HELP)]
    Pause(ActArgs),
    /// Let a paused or frozen rollout go on, or say that the new version has come after a burn-in
    #[command(after_help = REMOTE_HELP)]
    Resume(ResumeArgs),
    /// Take the next step without waiting for the proof
    #[command(after_help = REMOTE_HELP)]
    Promote(ActArgs),
    /// Drain the canary at once
    #[command(after_help = REMOTE_HELP)]
    Abort(ActArgs),
    /// Show a rollout live, on the whole screen
    #[command(after_help = WATCH_HELP)]
    Watch(WatchArgs),
    /// Look whether an installation would work for a plan, and say what to mend
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArgs),
    /// Write the minutes of two groups into a file, for `replay`
    #[command(after_help = RECORD_HELP)]
    Record(RecordArgs),
    /// Make a page of a rollout, running or ended: what was seen, and what was decided when
    #[command(after_help = REPORT_HELP)]
    Report(LiveReportArgs),
    /// Let no share of any rollout rise
    #[command(after_help = REMOTE_HELP)]
    Freeze(AllArgs),
    /// Let shares rise again
    #[command(after_help = REMOTE_HELP)]
    Thaw(AllArgs),
    /// Watch all rollouts, every minute, without Lambda
    #[command(after_help = super::run::HELP)]
    Run(super::run::RunArgs),
}

/// Which installation.
#[derive(Debug, Group)]
pub(super) struct Installation {
    /// The installation's table
    #[arg(long, value_name = "NAME", env = "CANARY_GATE_TABLE", default_value = "canary-gate")]
    pub(super) table: String,
    /// Its file of records, instead of a table
    #[arg(long, value_name = "FILE", env = "CANARY_GATE_STORE", conflicts_with = "table")]
    pub(super) store: Option<std::path::PathBuf>,
    /// Its topic for pages: without one, what an order pages waits for the next tick
    #[arg(long, value_name = "ARN", env = "CANARY_GATE_TOPIC_ARN")]
    pub(super) topic_arn: Option<String>,
    /// How long entries of the decision log are kept: the installation's setting
    #[arg(long, value_name = "TIME", env = "CANARY_GATE_KEEP_LOG", default_value = "90d", hide = true)]
    #[arg(value_parser = settings::keep_log)]
    pub(super) keep_log: Span,
    /// The URL of the runbook, for links in pages: the installation's setting
    #[arg(long, value_name = "URL", env = "CANARY_GATE_RUNBOOK", hide = true)]
    pub(super) runbook: Option<String>,
    /// Its region, if not the environment's
    #[arg(long, value_name = "NAME")]
    pub(super) region: Option<String>,
}

/// Who asks for a change.
#[derive(Debug, Group)]
pub(super) struct By {
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// Who, for the audit
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true, default_value = "unknown")]
    pub(super) actor: String,
}

#[derive(Debug, Group)]
pub(super) struct AskArgs {
    #[command(flatten)]
    pub(super) at: Installation,
    /// How to tell it
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: ReportFormat,
}

#[derive(Debug, Group)]
pub(super) struct NameArgs {
    /// The rollout
    pub(super) rollout: String,
    #[command(flatten)]
    pub(super) ask: AskArgs,
}

#[derive(Debug, Group)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    pub(super) of: NameArgs,
    /// Entries at most
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) limit: u32,
}

#[derive(Debug, Group)]
pub(super) struct StartArgs {
    /// The plan (`-`: standard input)
    pub(super) plan: String,
    #[command(flatten)]
    pub(super) by: By,
    #[command(flatten)]
    pub(super) ask: AskArgs,
}

#[derive(Debug, Group)]
pub(super) struct ActArgs {
    #[command(flatten)]
    pub(super) of: NameArgs,
    #[command(flatten)]
    pub(super) by: By,
}

/// What is to become of weights that another hand has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Weights {
    /// Go on from them
    Adopt,
    /// Write back what the rollout had
    Restore,
}

impl Weights {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Adopt => "adopt",
            Self::Restore => "restore",
        }
    }
}

#[derive(Debug, Group)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    pub(super) act: ActArgs,
    /// Of a frozen rollout: whose weights count
    #[arg(long, value_enum)]
    pub(super) weights: Option<Weights>,
}

#[derive(Debug, Group)]
pub(super) struct AllArgs {
    #[command(flatten)]
    pub(super) by: By,
    #[command(flatten)]
    pub(super) ask: AskArgs,
}

#[derive(Debug, Group)]
pub(super) struct WatchArgs {
    /// The rollout
    pub(super) rollout: String,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval)]
    pub(super) every: Span,
    #[command(flatten)]
    pub(super) at: Installation,
    /// On the screen, or as one JSON object a change until the rollout has ended
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: ReportFormat,
}

#[derive(Debug, Group)]
pub(super) struct DoctorArgs {
    /// The plan that is to be started (`-`: standard input)
    #[arg(required_unless_present = "rollout", conflicts_with = "rollout")]
    pub(super) plan: Option<String>,
    /// In place of a plan: a rollout that was started, by its name
    #[arg(long, value_name = "NAME")]
    pub(super) rollout: Option<String>,
    /// The function that carries out the ticks [default: named as the table]
    #[arg(long, value_name = "NAME", conflicts_with = "no_function")]
    pub(super) function: Option<String>,
    /// There is no function: ticks come from `canary-gate run`
    #[arg(long)]
    pub(super) no_function: bool,
    /// The function's CANARY_GATE_WATERMARK
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = settings::watermark)]
    pub(super) watermark: Span,
    #[command(flatten)]
    pub(super) ask: AskArgs,
}

#[derive(Debug, Group)]
pub(super) struct RecordArgs {
    /// The rollout, running or ended
    #[arg(required_unless_present = "plan", conflicts_with = "plan")]
    pub(super) rollout: Option<String>,
    /// In place of a rollout: a plan that names the groups (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub(super) plan: Option<String>,
    /// The canary's share in all of these minutes, with --plan
    #[arg(long, value_name = "PERCENT", requires = "plan", required_unless_present = "rollout")]
    pub(super) share: Option<Share>,
    /// So many minutes, with --plan
    #[arg(long, value_name = "N", default_value = "180", value_parser = clap::value_parser!(u32).range(MEASURED_MINUTES))]
    pub(super) minutes: u32,
    /// Minutes younger than this may still change and are left out
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = settings::watermark)]
    pub(super) watermark: Span,
    #[command(flatten)]
    pub(super) at: Installation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LiveReportFormat {
    /// One page to look at, for a file
    Html,
    /// One JSON object: the record and the decision log
    Json,
}

#[derive(Debug, Group)]
pub(super) struct LiveReportArgs {
    /// The rollout, running or ended
    pub(super) rollout: String,
    #[command(flatten)]
    pub(super) at: Installation,
    /// How to tell it
    #[arg(long, value_enum, default_value = "html")]
    pub(super) format: LiveReportFormat,
}

const REMOTE_HELP: &str = "\
The command is carried out here, with your AWS credentials, on the installation's table and load
balancer: it works also when the function does not. It needs a build that can talk to AWS
(--features aws).

Exit status:
  0   done, or told
  64  the command line is wrong
  65  the plan is wrong
  66  there is no such rollout, or the plan can't be read
  69  AWS did not do its part: try again
  74  the output can't be written
  77  refused: it makes no sense now, or somebody was faster";

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
    /// One page to look at, for a file
    Html,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// Tables for people
    Text,
    /// One JSON object
    Json,
}

#[derive(Debug, Group)]
pub(super) struct CalibrateArgs {
    /// The plan to try out; the defaults if not given (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub(super) plan: Option<String>,
    /// Requests a second, both arms together
    #[arg(long, value_name = "N", default_value = "50", value_parser = rps, allow_negative_numbers = true)]
    pub(super) rps: f64,
    /// Stable's error rate; ratios of the application's own have the same
    #[arg(long, value_name = "RATE", default_value = "0.3%", value_parser = errors)]
    pub(super) errors: Rate,
    /// Traffic, error rates and response times go up and down slowly, for both arms alike
    #[arg(long)]
    pub(super) drift: bool,
    /// Rollouts of each kind
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=RUNS_MAX))]
    pub(super) runs: u64,
    /// Minutes that a rollout may take
    #[arg(long, value_name = "N", default_value = "240", value_parser = clap::value_parser!(u32).range(1..=i64::from(MINUTES_MAX)))]
    pub(super) minutes: u32,
    /// The same seed gives the same numbers
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) seed: u64,
    /// A fault to look for, in place of the usual ones; may be given more than once, see below
    #[arg(long, value_name = "FAULT")]
    pub(super) fault: Vec<String>,
    /// Also a healthy canary with counts so many times noisier than chance; may be given more than once
    #[arg(long, value_name = "TIMES", value_parser = noise, allow_negative_numbers = true)]
    pub(super) noise: Vec<f64>,
    /// How to tell it
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: ReportFormat,
}

#[derive(Debug, Group)]
pub(super) struct CompareArgs {
    /// The plan whose checks to make (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub(super) plan: String,
    /// The recorded minutes (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub(super) recording: String,
    /// Chance of calling a canary worse that is as good as stable, over all checks
    #[arg(long, value_name = "PERCENT", default_value_t = ALPHA, value_parser = alpha)]
    #[arg(allow_hyphen_values = true)]
    pub(super) alpha: Rate,
    /// How to tell it
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: ReportFormat,
}

#[derive(Debug, Group)]
pub(super) struct CheckArgs {
    /// The plan (`-`: standard input)
    #[arg(value_name = "PLAN")]
    pub(super) plan: String,
    /// How to tell it
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: ReportFormat,
}

/// How to tell what a plan may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaFormat {
    /// JSON Schema, for editors
    Json,
    /// A reference, for people
    Markdown,
}

#[derive(Debug, Group)]
pub(super) struct SchemaArgs {
    /// How to tell it
    #[arg(long, value_enum, default_value = "json")]
    pub(super) format: SchemaFormat,
}

const SCHEMA_HELP: &str = "\
Examples:
  canary-gate schema > plan.schema.json
  canary-gate schema --format markdown > plan.md";

#[derive(Debug, Group)]
pub(super) struct PlanTimeArgs {
    /// The plan to ask about; the defaults if not given (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub(super) plan: Option<String>,
    /// Requests a second, both arms together
    #[arg(long, value_name = "N", value_parser = rps, allow_negative_numbers = true)]
    #[arg(required_unless_present_any = ["recording", "cloudwatch"])]
    #[arg(conflicts_with_all = ["recording", "cloudwatch"])]
    pub(super) rps: Option<f64>,
    /// Stable's error rate [default: 0.3%]
    #[arg(long, value_name = "RATE", value_parser = base_rate)]
    #[arg(conflicts_with_all = ["recording", "cloudwatch"])]
    pub(super) errors: Option<Rate>,
    /// Stable's rate of another check: of a ratio, or of requests that are slower than a fixed limit
    #[arg(long = "rate", value_name = "NAME=RATE", value_parser = named_rate)]
    pub(super) rates: Vec<(String, Rate)>,
    /// Recorded minutes whose stable arm tells traffic and rates (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub(super) recording: Option<String>,
    /// Measure traffic and stable's rates now, in the CloudWatch of the plan's groups
    #[arg(long, requires = "plan", conflicts_with = "recording")]
    pub(super) cloudwatch: bool,
    /// So many minutes of CloudWatch, up to two minutes ago [default: 180]
    #[arg(long, value_name = "N", requires = "cloudwatch", value_parser = clap::value_parser!(u32).range(MEASURED_MINUTES))]
    pub(super) minutes: Option<u32>,
    /// How bad a canary to drain: so many times the odds (2x), or points (+1%) [default: 2x 3x +2%]
    #[arg(long = "bad", value_name = "SIZE")]
    pub(super) bad: Vec<BadSize>,
    /// How to tell it
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: ReportFormat,
}

#[derive(Debug, Group)]
pub(super) struct ChaosArgs {
    /// The same seed plays the same episodes
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) seed: u64,
    /// Rollout-minutes to play: minutes, times the rollouts that run in them
    #[arg(long, value_name = "N", default_value = "20000")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=CHAOS_MINUTES_MAX))]
    pub(super) minutes: u64,
    /// Play one episode again and tell its story
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seed", "minutes"])]
    pub(super) episode: Option<u64>,
    /// Break a rule of the handler on purpose, to see that it is found; see the list below
    #[arg(long, value_name = "NAME", hide_possible_values = true)]
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(Sabotage::ALL.map(Sabotage::name)))]
    pub(super) sabotage: Option<String>,
    /// How to tell it
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: ReportFormat,
}

fn base_rate(text: &str) -> Result<Rate, String> {
    let rate = text.parse::<Rate>().ok().filter(|rate| rate.fraction() > 0.0 && rate.fraction() < 1.0);
    rate.ok_or_else(|| "is a percentage above 0 and below 100, such as 0.3%".to_owned())
}

fn named_rate(text: &str) -> Result<(String, Rate), String> {
    let (name, rate) = text.split_once('=').ok_or("is NAME=RATE, such as thumbs_down=2%")?;
    base_rate(rate).map(|rate| (name.to_owned(), rate))
}

pub(super) fn rps(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rps) if rps > 0.0 && rps <= RPS_MAX => Ok(rps),
        _ => Err("is a number of requests a second, above 0 and up to 1000000".to_owned()),
    }
}

fn interval(text: &str) -> Result<Span, String> {
    match text.parse::<Span>() {
        Ok(span) if (2..=300).contains(&span.seconds()) => Ok(span),
        _ => Err("is a time from 2s to 5m, such as 5s: what is shown changes once a minute".to_owned()),
    }
}

fn alpha(text: &str) -> Result<Rate, String> {
    match text.parse::<Rate>() {
        Ok(rate) if rate.fraction() > 0.0 && rate.fraction() <= ALPHA_MAX => Ok(rate),
        _ => Err("is a percentage above 0% and up to 50%, such as 5%".to_owned()),
    }
}

fn errors(text: &str) -> Result<Rate, String> {
    match text.parse::<Rate>() {
        Ok(rate) if rate.fraction() > 0.0 && rate.fraction() < 1.0 => Ok(rate),
        _ => Err("is a percentage above 0% and below 100%, such as 0.3%".to_owned()),
    }
}

fn noise(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(times) if (1.0..=NOISE_MAX).contains(&times) => Ok(times),
        _ => Err(format!("is a number from 1 (as noisy as chance) to {NOISE_MAX}")),
    }
}

const CALIBRATE_HELP: &str = "\
Rollouts walk the plan's steps as the judge allows, each within --minutes, after an hour of stable
alone. Promises are held against the plan's false_rollback and false_promotion, with the 95 %
interval that so many runs leave (Clopper and Pearson). Noise beyond chance is shown and is no
part of the promises.

A fault is what the canary does differently, from the start or from a minute (@61) on; with a
minute, the rollout stays on its first step:
  errors=3x                three times the error rate
  errors=+1%@61            a point more, from minute 61 on
  latency=1.5x             all answers take longer
  latency=3x:2%            every fiftieth answer does
  errors=2x,latency=1.2x   both at once
  NAME=2x                  a check of the application's own; of classes, the first one's odds

Examples:
  canary-gate calibrate
  canary-gate calibrate --plan plan.yaml --rps 5 --errors 1% --drift
  canary-gate calibrate --fault errors=2x --fault latency=3x:2%@61 --noise 3 --format json

Exit status:
  0   what the plan promises was kept, as far as so many runs can tell
  1   a promise was surely broken
  64  the command line is wrong
  65  the plan is wrong
  66  the plan can't be read
  74  the output can't be written";

const WATCH_HELP: &str = "\
q (or Escape, or Control-C) leaves; the rollout goes on without you. Where there is no terminal,
--format json prints the state whenever it changes, until the rollout has ended: a pipeline can
wait with it.

Exit status:
  0   promoted, or left before the end
  1   drained
  2   ended in another way: stopped
  64  the command line is wrong, or there is no terminal
  66  there is no such rollout
  69  AWS did not do its part: try again
  74  the output can't be written
  77  refused";

const DOCTOR_HELP: &str = "\
Looks at the clock, the rule and its weights, stickiness, the targets' health, the metrics and
their delay, the traffic, the table and what runs in it, who gets the pages, and whether ticks are
carried out. It changes nothing. It looks with your rights: those of the function are in its role,
and one that it lacks shows in its log.

Examples:
  canary-gate doctor --rollout checkout-v42
  canary-gate doctor plan.yaml --topic-arn arn:aws:sns:eu-west-1:123456789012:canary-gate-pages

Exit status:
  0   no fault, maybe notices
  1   at least one fault: a rollout would not start, not be judged, or nobody would hear of it
  64  the command line is wrong
  65  the plan is wrong
  66  the plan can't be read
  69  there are no credentials, or no region
  74  the output can't be written";

const RECORD_HELP: &str = "\
Of a rollout, all minutes that its ticks looked at, from an hour before its start. CloudWatch
keeps minutes for 15 days.

Examples:
  canary-gate record checkout-v42 > checkout-v42.jsonl
  canary-gate record --plan plan.yaml --share 5% --minutes 1440 > day.jsonl

Exit status:
  0   the recording was written
  64  the command line is wrong
  65  the plan is wrong, or CloudWatch has none of these minutes
  66  there is no such rollout, or the plan can't be read
  69  AWS did not do its part: try again
  74  the output can't be written
  77  refused";

const REPORT_HELP: &str = "\
The page is one file without any other: it needs no network, and can be sent as it is. It is made
of the decision log: what is on it is what was known when it was decided.

Examples:
  canary-gate report checkout-v42 > report.html
  canary-gate report checkout-v42 --format json | jq .log[0]

Exit status:
  0   the page was written
  64  the command line is wrong
  65  nothing was judged yet
  66  there is no such rollout
  69  AWS did not do its part: try again
  74  the output can't be written
  77  refused";

const REPLAY_HELP: &str = "\
Minutes are judged one by one, as they stand in the recording: a promotion or drain changes
nothing in what was recorded. After the first drain the decision is `none`, since the rollout
would have ended.

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

const COMPARE_HELP: &str = "\
All minutes with a share above zero and both arms are pooled, and each check gets one p-value. Any
difference counts, however small: `tolerate` and `promote_within` play no part.

This is valid for ONE look, at a moment fixed beforehand. Looked at every minute it rolls back
12-35 % of healthy canaries: `replay` gives the sequential verdict, which may be looked at as
often as one likes.

Examples:
  canary-gate compare --plan plan.yaml --recording minutes.jsonl
  canary-gate compare --plan plan.yaml --recording - --alpha 1% --format json < minutes.jsonl

Exit status:
  0   not shown worse
  1   worse than stable
  2   too little data: fewer requests than min_requests, or a check without data
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

const PLAN_TIME_HELP: &str = "\
Times are expected values: about half of all rollouts take longer. Evidence of latency needs no
base rate, since so many requests are slower than a quantile as its name says.

--cloudwatch reads the minutes of both groups for the traffic, and the stable group's for the
rates. It needs a plan with its ARNs (the region is theirs), credentials that allow
cloudwatch:GetMetricData, and a build that can talk to AWS: cargo build --release --features aws

Examples:
  canary-gate plan-time --rps 50
  canary-gate plan-time --plan plan.yaml --rps 5 --errors 1% --bad 1.5x --bad +1%
  canary-gate plan-time --plan plan.yaml --rps 50 --rate thumbs_down=2%
  canary-gate plan-time --plan plan.yaml --recording minutes.jsonl --format json | jq .minutes
  canary-gate plan-time --plan plan.yaml --cloudwatch --minutes 1440

Exit status:
  0   the answer was given, whatever it is
  64  the command line is wrong, or a check's rate is missing
  65  the plan or the recording is wrong, or stable had no request to measure
  66  a file can't be read
  69  CloudWatch can't be read, or was not read whole
  74  the output can't be written";

fn chaos_help() -> String {
    let mut help = String::from(
        "Episodes of some hours each: rollouts of good and bad versions on one or two listener rules,\n\
         while calls fail before or after their effect, processes die and overlap, metrics are late or\n\
         wrong, clocks are off, ticks come twice or not at all, and other hands write weights. The\n\
         handler is the function's own. What must hold is checked after every call, and again when the\n\
         faults have stopped.\n\n\
         Sabotage, with what must find it:\n",
    );
    for sabotage in Sabotage::ALL {
        let invariant = sabotage.breaks();
        help += &format!("  {:<16} {} ({})\n", sabotage.name(), invariant.number(), invariant.name());
    }
    help += "\nExamples:\n  \
             canary-gate chaos\n  \
             canary-gate chaos --minutes 1000000 --seed 7\n  \
             canary-gate chaos --episode 123456789\n  \
             canary-gate chaos --sabotage raises-more\n\n\
             Exit status:\n  \
             0   everything held\n  \
             1   something was broken: what, and how to play it again, is told\n  \
             64  the command line is wrong\n  \
             74  the output can't be written";
    help
}

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
        for text in ["0%", "100%", "1", "", "-1%"] {
            assert!(base_rate(text).is_err(), "{text:?} was taken");
        }
        assert!(named_rate("thumbs_down=2%").is_ok());
        assert!(named_rate("thumbs_down").is_err() && named_rate("thumbs_down=2").is_err());
        for text in ["0%", "100%", "0.3", "-1%", ""] {
            assert!(errors(text).is_err(), "{text:?} was taken");
        }
        for text in ["0.5", "nan", "1e9", ""] {
            assert!(noise(text).is_err(), "{text:?} was taken");
        }
    }
}
