//! One tick of many running rollouts: how long it takes, what it asks, what is throttled, and how much memory it needs.
//!
//! `cargo run --release --example scale` measures 1, 100, 1,000 and 5,000 rollouts, each in a process of its own, and
//! prints the table of docs/scale.md. `--check` runs 1,000 and fails if the tick takes 20 s or 128 MB, or leaves a
//! rollout out. Calls take 20 ms, in real time; rates beyond AWS's published ones are throttled.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use canary_gate::handler::{Doors, handle_within};
use canary_gate::ports::Time;
use canary_gate::sim::fleet::{Fleet, Wanted};
use canary_gate::sim::network::Network;
use canary_gate::sim::run::options;
use serde_json::Value;

/// What is measured.
const SIZES: [usize; 4] = [1, 100, 1_000, 5_000];
/// How long a call takes.
const LATENCY: Duration = Duration::from_millis(20);
/// As long as an invocation may take.
const ALLOWED: Duration = Duration::from_secs(50);
/// The oldest rollout's age in minutes: a default plan takes an hour.
const MINUTES: u32 = 63;
/// One rollout in so many is harmful.
const HARMFUL: usize = 100;
/// What `--check` allows.
const CHECKED: usize = 1_000;
const AT_MOST: Duration = Duration::from_secs(20);
const AT_MOST_MB: f64 = 128.0;

struct RealTime(Instant);

impl Time for RealTime {
    fn spent(&self) -> Duration {
        self.0.elapsed()
    }

    fn allowed(&self) -> Option<Duration> {
        Some(ALLOWED)
    }

    async fn wait(&self, how_long: Duration) {
        tokio::time::sleep(how_long).await;
    }
}

struct Measured {
    took: Duration,
    decisions: BTreeMap<String, usize>,
    peak_mb: f64,
    before_mb: f64,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => table(),
        ["--check"] => check(),
        ["--rollouts", number] => match number.parse() {
            Ok(rollouts) => {
                measure(rollouts);
                ExitCode::SUCCESS
            }
            Err(_) => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    say("usage: scale [--check | --rollouts N]");
    ExitCode::FAILURE
}

#[allow(clippy::print_stdout)]
fn say(line: &str) {
    println!("{line}");
}

/// Each size in a process of its own: memory that was used once is not given back.
fn table() -> ExitCode {
    let this = std::env::current_exe().expect("the path of this program");
    for size in SIZES {
        let done = Command::new(&this).args(["--rollouts", &size.to_string()]).status();
        if !done.is_ok_and(|status| status.success()) {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn check() -> ExitCode {
    let measured = measure(CHECKED);
    let mut wrong = Vec::new();
    if measured.took >= AT_MOST {
        wrong.push(format!(
            "the tick took {:.1} s, {} s are allowed",
            measured.took.as_secs_f64(),
            AT_MOST.as_secs()
        ));
    }
    if measured.peak_mb >= AT_MOST_MB {
        wrong.push(format!("the process took {:.0} MB, {AT_MOST_MB:.0} are allowed", measured.peak_mb));
    }
    for left_out in ["failed", "not reached", "skipped"] {
        if let Some(rollouts) = measured.decisions.get(left_out) {
            wrong.push(format!("{rollouts} rollouts: {left_out}"));
        }
    }
    if measured.decisions.get("drain") != Some(&(CHECKED / HARMFUL)) {
        wrong.push(format!("{} harmful canaries are to be drained", CHECKED / HARMFUL));
    }
    wrong.iter().for_each(|line| say(line));
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(rollouts: usize) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let harmful = rollouts / HARMFUL;
    let wanted = Wanted { healthy: rollouts - harmful, harmful, minutes: MINUTES };
    let fleet = runtime.block_on(Fleet::build(wanted)).expect("a fleet");
    let before_mb = memory_mb("VmRSS:");
    let time = RealTime(Instant::now());
    let network = Network::new(&fleet.cloud, &time, LATENCY);
    let (doors, event) = (Doors::default(), fleet.event());
    let answer = runtime.block_on(handle_within(&network, &options(), &doors, &time, &event, fleet.now()));
    let measured = Measured {
        took: time.spent(),
        decisions: decisions(&answer.expect("the tick's answer")),
        peak_mb: memory_mb("VmHWM:"),
        before_mb,
    };
    tell(rollouts, &measured, &network);
    measured
}

fn decisions(answer: &Value) -> BTreeMap<String, usize> {
    let mut decisions = BTreeMap::new();
    for report in answer["rollouts"].as_array().expect("reports") {
        *decisions.entry(report["decision"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    decisions
}

fn tell<T: Time>(rollouts: usize, measured: &Measured, network: &Network<'_, T>) {
    let decided: Vec<String> =
        measured.decisions.iter().map(|(word, times)| format!("{times} {word}")).collect();
    say(&format!(
        "{rollouts} rollouts: {:.2} s, {:.0} MB at most ({:.0} MB before the tick), {}",
        measured.took.as_secs_f64(),
        measured.peak_mb,
        measured.before_mb,
        decided.join(", ")
    ));
    for (operation, asked) in network.asked() {
        say(&format!(
            "    {operation:32} {:6} calls, {:6} throttled, {:5} given up",
            asked.calls, asked.throttled, asked.given_up
        ));
    }
}

/// What the kernel says of this process, in MB.
fn memory_mb(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}
