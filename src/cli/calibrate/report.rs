//! What came of the rollouts, as tables and as JSON.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::args::CalibrateArgs;
use super::super::output::{Output, Style};
use super::super::table::WIDTH;
use super::super::words::{count, wrap};
use super::kinds::{Counts, Kind};
use super::numbers::{Counted, Times, median, percent};
use crate::rollout::plan::Plan;
use crate::sim::synthetic::Workload;
use crate::sim::trials::{End, Walked};
use crate::units::{Rate, Share};

/// Where the second column begins.
const NAME_WIDTH: usize = 48;
/// An average of less than this is none: it is a latency fault's or the other way round.
const NO_EXCESS: f64 = 0.05;

/// One promise, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Promise {
    /// Which canary.
    canary: String,
    counts: Counts,
    #[serde(flatten)]
    measured: Counted,
    /// `None`: nothing is promised.
    promised: Option<f64>,
}

impl Promise {
    /// It may have been kept: the rates that are still possible reach down to what was promised.
    fn kept(&self) -> bool {
        self.promised.is_none_or(|promised| self.measured.low <= promised)
    }
}

/// How long the healthy canary stayed on a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct StepTimes {
    share: Share,
    entered: usize,
    left: usize,
    minutes: Times,
}

/// How a fault was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Detection {
    fault: String,
    /// The fault's first minute, from 1.
    from: i64,
    found: Counted,
    /// Drained before the fault came; left out of all other numbers.
    drained_before: usize,
    /// Promoted to the end, fault and all; `None` if it was held on its first step.
    promoted: Option<usize>,
    /// Of data, from the fault's first minute on.
    minutes: Times,
    excess_errors: Option<f64>,
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    rollout: String,
    seed: u64,
    runs: u64,
    minutes: u32,
    requests_per_s: f64,
    error_rate: Rate,
    workload: Workload,
    promises: Vec<Promise>,
    steps: Vec<StepTimes>,
    faults: Vec<Detection>,
}

/// What was counted, as a row's name.
fn promise_name(promise: &Promise) -> String {
    match promise.counts {
        Counts::FalsePromotions => format!("promoted: {}, edge of promote_within", promise.canary),
        Counts::Noise => format!("drained: like stable, noise {}", promise.canary),
        _ => format!("drained: {}", promise.canary),
    }
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        workload: &Workload,
        kinds: &[Kind],
        walks: &[Vec<Walked>],
        args: &CalibrateArgs,
    ) -> Self {
        let all = || kinds.iter().zip(walks);
        let found = all().filter(|(kind, _)| kind.counts == Counts::Found);
        Self {
            rollout: plan.rollout.clone(),
            seed: args.seed,
            runs: args.runs,
            minutes: args.minutes,
            requests_per_s: args.rps,
            error_rate: args.errors,
            workload: workload.clone(),
            promises: all().filter_map(|(kind, walks)| promise(plan, kind, walks)).collect(),
            steps: walks.first().map(|walks| step_times(plan, walks)).unwrap_or_default(),
            faults: found.map(|(kind, walks)| detection(kind, walks)).collect(),
        }
    }

    /// No promise was surely broken.
    pub(super) fn kept(&self) -> bool {
        self.promises.iter().all(Promise::kept)
    }

    pub(super) fn json(&self) -> Value {
        let mut value = json!(self);
        value["kept"] = json!(self.kept());
        value
    }

    pub(super) fn tell(&self, out: &mut Output) {
        let drift = if self.workload.drift { ", drifting" } else { "" };
        out.line(format!(
            "{}: {} rollouts of each kind at {} requests a second and {} errors{drift}; seed {}",
            self.rollout,
            count(self.runs),
            self.requests_per_s,
            self.error_rate,
            self.seed
        ));
        out.line("");
        self.tell_promises(out);
        self.tell_steps(out);
        self.tell_faults(out);
        let (style, end) = if self.kept() {
            (Style::Good, "Every promise was kept, as far as so many rollouts can tell.")
        } else {
            (
                Style::Alarm,
                "A promise was broken by more than chance: don't trust this plan with this traffic.",
            )
        };
        out.styled(style, end);
    }

    fn tell_promises(&self, out: &mut Output) {
        let names: Vec<String> = self.promises.iter().map(promise_name).collect();
        let longest = names.iter().map(|name| name.chars().count() + 2).max();
        let width = longest.unwrap_or(0).max(NAME_WIDTH);
        let heading = format!("{:>9}  {:>15}  {:>8}", "measured", "95 % interval", "promised");
        out.styled(Style::Strong, format!("{:width$}{heading}", "What must not happen"));
        for (promise, name) in self.promises.iter().zip(names) {
            let measured = promise.measured;
            let interval = format!("{} to {}", percent(measured.low), percent(measured.high));
            let (promised, end) = match promise.promised {
                None => ("nothing".to_owned(), ""),
                Some(promised) if promise.kept() => (percent(promised), "  kept"),
                Some(promised) => (percent(promised), "  BROKEN"),
            };
            let style = if promise.kept() { Style::Plain } else { Style::Alarm };
            let rate = percent(measured.rate());
            out.styled(style, format!("{name:<width$}{rate:>9}  {interval:>15}  {promised:>8}{end}"));
        }
        note(out, "Drained: of all rollouts. Promoted: of all steps that were entered.");
    }

    fn tell_steps(&self, out: &mut Output) {
        let heading = format!("{:>9}  {:>15}  {:>8}", "promoted", "median minutes", "p90");
        out.styled(Style::Strong, format!("{:NAME_WIDTH$}{heading}", "A canary like stable"));
        for step in &self.steps {
            let left = percent(Counted::new(step.left, step.entered).rate());
            let [median, p90] = self.in_words(step.minutes);
            let name = format!("on the step of {}", step.share);
            out.line(format!("{name:<NAME_WIDTH$}{left:>9}  {median:>15}  {p90:>8}"));
        }
        note(out, "Minutes on the step until it is proven healthy; bake time is included.");
    }

    fn tell_faults(&self, out: &mut Output) {
        let heading = format!(
            "{:>9}  {:>15}  {:>8}  {:>8}  {:>12}",
            "found", "median minutes", "p90", "promoted", "extra errors"
        );
        out.styled(Style::Strong, format!("{:NAME_WIDTH$}{heading}", "A bad canary"));
        for fault in &self.faults {
            let [median, p90] = self.in_words(fault.minutes);
            let from = match fault.from {
                1 => "from the start".to_owned(),
                minute => format!("from minute {minute}"),
            };
            let name = format!("{}, {from}", fault.fault);
            let found = percent(fault.found.rate());
            let promoted =
                fault.promoted.map_or_else(dash, |n| percent(Counted::new(n, fault.found.of).rate()));
            let excess = fault.excess_errors.map_or_else(dash, |excess| format!("{excess:.0}"));
            out.line(format!(
                "{name:<NAME_WIDTH$}{found:>9}  {median:>15}  {p90:>8}  {promoted:>8}  {excess:>12}"
            ));
        }
        note(
            out,
            "Minutes of data from the fault's first minute to the drain (CloudWatch is two minutes late besides); \
             the first two minutes of a step are not judged. Promoted: to the end, fault and all; what is no worse \
             than promote_within may be. Extra errors: in half of the rollouts no more than this.",
        );
    }

    /// Median and p90; what never came took longer than anybody waited.
    fn in_words(&self, times: Times) -> [String; 2] {
        [times.median, times.p90].map(|minutes| match minutes {
            Some(minutes) => minutes.to_string(),
            None => format!("over {}", self.minutes),
        })
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn note(out: &mut Output, text: &str) {
    for line in wrap(text, WIDTH - 2) {
        out.styled(Style::Faint, format!("  {line}"));
    }
    out.line("");
}

fn promise(plan: &Plan, kind: &Kind, walks: &[Walked]) -> Option<Promise> {
    let drained = || walks.iter().filter(|walked| matches!(walked.end, End::Drained { .. })).count();
    let (measured, promised) = match kind.counts {
        Counts::FalseRollbacks => {
            (Counted::new(drained(), walks.len()), Some(plan.rules.false_rollback.fraction()))
        }
        Counts::Noise => (Counted::new(drained(), walks.len()), None),
        Counts::FalsePromotions => {
            let left = walks.iter().map(|walked| walked.left_after.len()).sum();
            let entered = walks.iter().map(|walked| walked.entered).sum();
            (Counted::new(left, entered), Some(plan.rules.false_promotion.fraction()))
        }
        Counts::Found => return None,
    };
    Some(Promise { canary: kind.name.clone(), counts: kind.counts, measured, promised })
}

fn step_times(plan: &Plan, walks: &[Walked]) -> Vec<StepTimes> {
    let judged = plan.steps.iter().enumerate().filter(|(at, share)| *at == 0 || **share < Share::FULL);
    let times = judged.map(|(at, share)| {
        let entered = walks.iter().filter(|walked| walked.entered > at).count();
        let left: Vec<u32> = walks.iter().filter_map(|walked| walked.left_after.get(at).copied()).collect();
        StepTimes { share: *share, entered, left: left.len(), minutes: Times::new(left, entered) }
    });
    times.collect()
}

fn detection(kind: &Kind, walks: &[Walked]) -> Detection {
    let before = i64::from(u32::MAX).min(kind.fault.from_minute);
    let delay = |walked: &Walked| match walked.end {
        End::Drained { minute, .. } => Some(i64::from(minute) - before),
        _ => None,
    };
    let met: Vec<&Walked> =
        walks.iter().filter(|walked| delay(walked).is_none_or(|delay| delay > 0)).collect();
    let delays: Vec<u32> =
        met.iter().filter_map(|walked| delay(walked)).filter_map(|delay| u32::try_from(delay).ok()).collect();
    let excess = median(met.iter().map(|walked| walked.excess_bad).collect());
    Detection {
        fault: kind.name.clone(),
        from: kind.fault.from_minute + 1,
        found: Counted::new(delays.len(), met.len()),
        drained_before: walks.len() - met.len(),
        promoted: (!kind.held).then(|| met.iter().filter(|walked| walked.end == End::Promoted).count()),
        minutes: Times::new(delays, met.len()),
        excess_errors: excess.filter(|excess| excess.abs() > NO_EXCESS),
    }
}
