//! `cost`: what an installation and a rollout cost, from counted calls.
//!
//! Nothing is guessed but how long an invocation takes, which only AWS can tell: the handler runs the plan in the
//! simulated cloud, and what it asks for is counted on the way, in the units that AWS charges by.

mod log;
mod prices;

use clap::{Args as Group, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::Failure;
use super::args::{ReportFormat, rps};
use super::input;
use super::output::{Output, Style};
use super::words::count;
use crate::handler::{handle, telemetry};
use crate::rollout::plan::Plan;
use crate::sim::meter::{Meter, Usage};
use crate::sim::run::{LIMIT_MINUTES, Setting, Told, new_cloud, options, run_through, tick_event};
use crate::sim::scenario;
use crate::units::Minute;
use prices::{PriceList, REGIONS};

/// Hours of a month, as AWS reckons.
const MONTH_HOURS: f64 = 730.0;
const HOUR_TICKS: f64 = 60.0;
const GIGABYTE: f64 = 1_073_741_824.0;
/// Months for which the decision log is kept, by default.
const LOG_MONTHS: f64 = 3.0;
/// The alarms that come with the installation.
const ALARMS: &str = include_str!("../../infra/alarms.yaml");
/// Metrics have a dimension, and this stands in for the function's name.
const FUNCTION: &str = "canary-gate";

/// What the function runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Architecture {
    /// Graviton
    Arm64,
    /// Intel and AMD
    #[value(name = "x86_64")]
    X8664,
}

#[derive(Debug, Group)]
pub(super) struct CostArgs {
    /// The plan to reckon; the defaults if not given (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub(super) plan: Option<String>,
    /// Whose prices
    #[arg(long, value_name = "REGION", default_value = REGIONS[0])]
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(REGIONS))]
    pub(super) region: String,
    /// Prices of your own, as `--format json` shows them under `prices`; those that are not in it stay
    #[arg(long, value_name = "FILE")]
    pub(super) prices: Option<String>,
    /// The function's architecture
    #[arg(long, value_enum, default_value = "arm64")]
    pub(super) architecture: Architecture,
    /// The function's memory
    #[arg(long, value_name = "MB", default_value = "128", value_parser = clap::value_parser!(u32).range(128..=10_240))]
    pub(super) memory_mb: u32,
    /// How long a tick takes while a rollout runs
    #[arg(long, value_name = "MS", default_value = "500", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(super) duration_ms: u32,
    /// How long a tick takes while none runs
    #[arg(long, value_name = "MS", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(super) idle_ms: u32,
    /// Hours a month in which a rollout runs, for the sum of a month
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(super) rollout_hours: u32,
    /// Requests a second of the simulated service, both arms together
    #[arg(long, value_name = "N", default_value = "50", value_parser = rps, allow_negative_numbers = true)]
    pub(super) rps: f64,
    /// How to tell it
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: ReportFormat,
}

pub(super) const HELP: &str = "\
The handler carries out the plan in a simulated cloud, and what it asks for is counted in the
units that AWS charges by: metrics of GetMetricData (five statistics of one metric are one), units
of reading and writing the table, bytes of the log, metrics that are published, pages. A healthy
canary is simulated, up to its promotion.

How long an invocation takes can't be counted here. The defaults are assumptions on the safe side;
the function's metric Duration has the truth: --duration-ms, --idle-ms.

The free tier is not taken off. Not in it: the load balancer and its targets, tax, data that
leaves AWS.

Examples:
  canary-gate cost
  canary-gate cost --plan plan.yaml --region eu-west-1 --rollout-hours 40
  canary-gate cost --format json | jq .prices > prices.json   # edit it, then:
  canary-gate cost --prices prices.json

Exit status:
  0   it was told
  64  the command line is wrong
  65  the plan or the prices are wrong
  66  a file can't be read
  74  the output can't be written";

/// So much of one thing that has a price.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Item {
    /// The price's key.
    price: &'static str,
    /// What it is, in words.
    what: &'static str,
    /// How much of it, in the unit of `unit`.
    count: f64,
    unit: &'static str,
    dollars: f64,
}

/// What was counted in a simulation.
#[derive(Debug, Clone, Default, PartialEq)]
struct Counted {
    usage: Usage,
    ticks: u32,
    log_bytes: u64,
    /// Metrics that were published, each once.
    metrics: std::collections::BTreeSet<String>,
}

impl Counted {
    /// What a tick's answer publishes: metrics, by lines of the log.
    fn publish(&mut self, minute: Minute, rollouts: &Value) {
        let answer = json!({ "minute": minute, "rollouts": rollouts });
        for line in telemetry::lines(&answer, FUNCTION, minute.start()) {
            self.log_bytes += log::event_bytes(line.to_string().len());
            let directive = &line["_aws"]["CloudWatchMetrics"][0];
            let dimension = directive["Dimensions"][0][0].as_str().unwrap_or_default();
            let named = directive["Metrics"].as_array().into_iter().flatten().map(|metric| &metric["Name"]);
            self.metrics.extend(named.map(|name| format!("{name} {}", line[dimension])));
        }
    }
}

/// An hour without a rollout.
fn count_idle() -> Result<Counted, Failure> {
    let cloud = new_cloud();
    let meter = Meter::new(&cloud);
    let mut counted = Counted::default();
    let first = Minute::of("2026-03-01T10:00:00Z".parse().map_err(|_| wrong("the clock"))?);
    let ((), log_bytes) = log::measured(|| {
        drive(async {
            for at in 0..60 {
                let minute = first.plus(at);
                let answer = handle(&meter, &options(), &tick_event(minute), minute.start()).await;
                let answer = answer.map_err(|error| Failure::Data(error.to_string()))?;
                counted.publish(minute, &answer["rollouts"]);
                counted.ticks += 1;
            }
            Ok(())
        })
    })?;
    counted.log_bytes += log_bytes + u64::from(counted.ticks) * log::PLATFORM_BYTES;
    counted.usage = meter.usage();
    Ok(counted)
}

/// A rollout from its start to its end.
fn count_rollout(setting: &Setting, plan: &Plan) -> Result<(Counted, String), Failure> {
    let cloud = new_cloud();
    let meter = Meter::new(&cloud);
    let mut counted = Counted::default();
    let mut tell = |told: &Told| {
        counted.ticks += 1;
        let reports: Vec<_> = told.answer.iter().collect();
        counted.publish(told.at, &json!(reports));
    };
    let run = run_through(&meter, &cloud, setting, plan, &mut tell);
    let (ending, log_bytes) =
        log::measured(|| drive(async { run.await.map_err(|error| Failure::Data(error.to_string())) }))?;
    counted.log_bytes += log_bytes + u64::from(counted.ticks) * log::PLATFORM_BYTES;
    counted.usage = meter.usage();
    Ok((counted, ending.record.phase.name().to_owned()))
}

/// Nothing in a simulation ever waits.
fn drive<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.map_err(|error| Failure::Output(error.to_string()))?.block_on(work)
}

fn wrong(what: &str) -> Failure {
    Failure::Data(format!("{what} is wrong"))
}

/// Tells what it costs.
pub(super) fn cost(args: &CostArgs, out: &mut Output) -> Result<u8, Failure> {
    let mut prices = PriceList::of(&args.region);
    if let Some(name) = &args.prices {
        prices.replace(name, &input::value(name)?)?;
    }
    let (checked, plan) = input::plan_to_start(args.plan.as_deref())?;
    let healthy = scenario::find("healthy").ok_or_else(|| wrong("the scenario"))?;
    let setting =
        Setting { scenario: healthy, requests_per_s: args.rps, seed: 1, plan, minutes: LIMIT_MINUTES };
    let idle = count_idle()?;
    let (rollout, ended) = count_rollout(&setting, &checked.plan)?;
    let bill = Bill {
        month: month(args, &idle, &prices),
        hour: hour(args, &idle, &rollout, &prices),
        minutes: rollout.ticks,
        ended,
    };
    match args.format {
        ReportFormat::Json => out.line(bill.json(args, &checked.plan, &prices)),
        ReportFormat::Text => bill.text(args, &checked.plan, &prices, out),
    }
    Ok(0)
}

fn gb_seconds(args: &CostArgs, ticks: f64, ms: f64) -> f64 {
    ticks * ms / 1_000.0 * f64::from(args.memory_mb) / 1_024.0
}

fn alarms() -> usize {
    ALARMS.matches("Type: AWS::CloudWatch::Alarm").count()
}

/// A month in which no rollout runs.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn month(args: &CostArgs, idle: &Counted, prices: &PriceList) -> Vec<Item> {
    let ticks = MONTH_HOURS * HOUR_TICKS;
    let a_tick = |counted: f64| counted / f64::from(idle.ticks) * ticks;
    let logs = a_tick(idle.log_bytes as f64) / GIGABYTE;
    prices.bill(&[
        ("lambda_requests", ticks),
        (compute(args), gb_seconds(args, ticks, f64::from(args.idle_ms))),
        ("scheduler_invocations", ticks),
        ("dynamodb_reads", a_tick(idle.usage.read_units)),
        ("dynamodb_writes", a_tick(idle.usage.write_units as f64)),
        ("metrics_read", a_tick(idle.usage.metrics as f64)),
        ("metrics_published", idle.metrics.len() as f64),
        ("alarms", alarms() as f64),
        ("logs_taken", logs),
        ("logs_stored", logs),
    ])
}

/// What an hour of a rollout adds to that.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn hour(args: &CostArgs, idle: &Counted, rollout: &Counted, prices: &PriceList) -> Vec<Item> {
    let hours = f64::from(rollout.ticks) / HOUR_TICKS;
    let more = |of: fn(&Counted) -> f64| of(rollout) / hours - of(idle);
    let longer = f64::from(args.duration_ms) - f64::from(args.idle_ms);
    let logs = more(|counted| counted.log_bytes as f64) / GIGABYTE;
    let stored = rollout.usage.logged_bytes as f64 / hours / GIGABYTE * LOG_MONTHS;
    let published = rollout.metrics.difference(&idle.metrics).count();
    prices.bill(&[
        (compute(args), gb_seconds(args, HOUR_TICKS, longer)),
        ("dynamodb_reads", more(|counted| counted.usage.read_units)),
        ("dynamodb_writes", more(|counted| counted.usage.write_units as f64)),
        ("dynamodb_storage", stored),
        ("dynamodb_backup", stored),
        ("metrics_read", more(|counted| counted.usage.metrics as f64)),
        ("metrics_published", published as f64 / MONTH_HOURS),
        ("logs_taken", logs),
        ("logs_stored", logs),
        ("pages", more(|counted| counted.usage.pages as f64)),
        ("emails", more(|counted| counted.usage.pages as f64)),
    ])
}

fn compute(args: &CostArgs) -> &'static str {
    match args.architecture {
        Architecture::Arm64 => "lambda_arm64",
        Architecture::X8664 => "lambda_x86_64",
    }
}

/// What it comes to.
struct Bill {
    month: Vec<Item>,
    hour: Vec<Item>,
    minutes: u32,
    ended: String,
}

fn sum(items: &[Item]) -> f64 {
    items.iter().map(|item| item.dollars).sum()
}

impl Bill {
    fn rollout(&self) -> f64 {
        sum(&self.hour) * f64::from(self.minutes) / HOUR_TICKS
    }

    fn whole_month(&self, hours: u32) -> f64 {
        sum(&self.month) + sum(&self.hour) * f64::from(hours)
    }

    fn json(&self, args: &CostArgs, plan: &Plan, prices: &PriceList) -> Value {
        json!({
            "rollout": plan.rollout,
            "idle_month": { "dollars": sum(&self.month), "items": self.month },
            "rollout_hour": { "dollars": sum(&self.hour), "items": self.hour },
            "simulated": { "minutes": self.minutes, "ended": self.ended, "dollars": self.rollout() },
            "month": { "rollout_hours": args.rollout_hours, "dollars": self.whole_month(args.rollout_hours) },
            "assumed": {
                "memory_mb": args.memory_mb,
                "duration_ms": args.duration_ms,
                "idle_ms": args.idle_ms,
                "requests_per_s": args.rps,
            },
            "prices": prices.json(),
        })
    }

    fn text(&self, args: &CostArgs, plan: &Plan, prices: &PriceList, out: &mut Output) {
        let PriceList { region, as_of, .. } = prices;
        out.styled(
            Style::Strong,
            format!("{}, in {region} at the prices of {as_of}, without free tier", plan.rollout),
        );
        let heading = |out: &mut Output, text: &str| {
            out.line("");
            out.styled(Style::Strong, format!("{text:<44} {:>12}  {:<14} {:>10}", "counted", "", "dollars"));
        };
        let table = |out: &mut Output, items: &[Item]| {
            for item in items.iter().filter(|item| item.count > 0.0) {
                let Item { what, unit, dollars, .. } = item;
                out.line(format!(
                    "  {what:<42} {:>12}  {unit:<14} {:>10}",
                    amount(item.count),
                    money(*dollars)
                ));
            }
            out.styled(Style::Strong, format!("  {:<42} {:>12}  {:<14} {:>10.5}", "sum", "", "", sum(items)));
        };
        heading(out, "A month without a rollout");
        table(out, &self.month);
        heading(out, "An hour of a rollout, on top of that");
        table(out, &self.hour);
        out.line("");
        out.line(format!(
            "The simulated rollout was {} after {} minutes, at ${:.3}. A month with {} hours of rollouts: ${:.2}.",
            self.ended,
            self.minutes,
            self.rollout(),
            count(args.rollout_hours.into()),
            self.whole_month(args.rollout_hours)
        ));
        let told = "Assumed and not counted: an invocation takes";
        let lasts = format!(
            "{} ms, and {} ms without a rollout, at {} MB.",
            args.duration_ms, args.idle_ms, args.memory_mb
        );
        out.styled(Style::Faint, format!("{told} {lasts}"));
    }
}

/// Little is not nothing.
fn money(dollars: f64) -> String {
    if dollars > 0.0 && dollars < 0.000_01 { "<0.00001".to_owned() } else { format!("{dollars:.5}") }
}

/// A number with the digits that matter.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is between 100 and what a month counts"
)]
fn amount(number: f64) -> String {
    if number >= 100.0 {
        count(number.round() as u64)
    } else if number >= 0.1 {
        format!("{number:.1}")
    } else {
        format!("{number:.5}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_tick_asks_the_index_and_nothing_else() {
        let idle = count_idle().unwrap();
        assert_eq!(idle.ticks, 60);
        let asked = Usage { read_units: 30.0, ..Usage::default() };
        assert_eq!(idle.usage, asked);
        assert_eq!(idle.metrics.len(), 1, "{:?}", idle.metrics);
        // Two lines and Lambda's own three.
        assert!((400..1_500).contains(&(idle.log_bytes / 60)), "{}", idle.log_bytes / 60);
    }

    #[test]
    fn numbers_are_as_long_as_they_matter() {
        assert_eq!([43_800.0, 99.94, 0.5, 0.012].map(amount), ["43,800", "99.9", "0.5", "0.01200"]);
    }
}
