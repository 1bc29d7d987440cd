//! Our test and the rules of today, each asked once a minute whether the canary must go.

use canary_gate::analysis::check::{
    Check, CheckRule, DistributionCheck, ErrorsCheck, Margin, Rules, Tolerance,
};
use canary_gate::analysis::verdict::Verdict;
use canary_gate::analysis::window::{ArmCounts, Row};
use canary_gate::analysis::{Conditions, Judge};
use canary_gate::stats::{Arm, Table, mann_whitney};
use canary_gate::units::{Share, Times};

/// Rules of thumb wait for so many requests of the canary.
const FEW: u64 = 200;
/// "The canary's rate is above 1.5 %."
const SLO: f64 = 0.015;
/// "The canary's rate is above 1.5 times stable's."
const RATIO: f64 = 1.5;
/// "The canary's rate is above stable's by 2 points."
const POINTS: f64 = 0.02;
/// The usual level of a significance test.
const LEVEL: f64 = 0.05;
/// Looks that a careful person divides that level by.
const LOOKS: f64 = 240.0;
/// One-sided 5 % of a normal distribution.
const Z: f64 = 1.644_853_626_951_472_7;
/// Minutes before which per-minute rates are too few to be ranked.
const RANKED_MINUTES: usize = 5;

/// Who looks at the errors, in the order of the tables.
pub(crate) const NAMES: [&str; 9] = [
    "canary-gate, defaults",
    "canary-gate, `tolerate: 1x`, `convict_minutes: 1`",
    "canary's rate > 1.5 % after 200 requests",
    "canary's rate > 1.5 x stable's",
    "canary's rate > stable's + 2 points",
    "Fisher's exact test at 5 %, every minute",
    "z-test of proportions at 5 %, every minute",
    "Fisher's exact test at 5 % / 240, every minute",
    "Mann-Whitney test of per-minute rates at 5 %",
];
/// How many of them are ours.
pub(crate) const OURS: usize = 2;

/// The plan's rules for one check, with the defaults or as sharp as they go.
fn rules(check: Check, sharp: bool) -> Rules {
    let convict_minutes = if sharp { 1 } else { Rules::default().convict_minutes };
    Rules { checks: vec![check], convict_minutes, ..Rules::default() }
}

pub(crate) fn errors_rules(sharp: bool) -> Rules {
    let tolerate = sharp.then(|| Tolerance::times(Times::constant(1.0)));
    let rule = ErrorsCheck { tolerate, ..ErrorsCheck::default() };
    rules(Check::new("errors", CheckRule::Errors(rule)), sharp)
}

pub(crate) fn latency_rules(sharp: bool) -> Rules {
    let tolerate = sharp.then(|| Margin::Times(Times::constant(1.0)));
    let rule = DistributionCheck { tolerate, ..DistributionCheck::latency() };
    rules(Check::new("latency", CheckRule::Latency(rule)), sharp)
}

/// All rules that look at errors; each alarm is the first minute, from 1.
pub(crate) struct Errors<'a> {
    judges: [Judge<'a>; OURS],
    canary: (u64, u64),
    stable: (u64, u64),
    rates: [Vec<f64>; 2],
    pub(crate) alarms: [Option<u32>; NAMES.len()],
}

impl<'a> Errors<'a> {
    pub(crate) fn new(rules: &'a [Rules; OURS]) -> Self {
        Self {
            judges: [0, 1].map(|at| Judge::new(&rules[at], &Conditions::default())),
            canary: (0, 0),
            stable: (0, 0),
            rates: Default::default(),
            alarms: [None; NAMES.len()],
        }
    }

    pub(crate) fn see(&mut self, row: &Row, minute: u32) {
        let (stable, canary) = (counts(row.stable.as_ref()), counts(row.canary.as_ref()));
        self.stable = (self.stable.0 + stable.0, self.stable.1 + stable.1);
        self.canary = (self.canary.0 + canary.0, self.canary.1 + canary.1);
        for (rates, (bad, total)) in self.rates.iter_mut().zip([canary, stable]) {
            rates.extend((total > 0).then(|| bad as f64 / total as f64));
        }
        for (at, judge) in self.judges.iter_mut().enumerate() {
            if self.alarms[at].is_none() {
                judge.see(row);
            }
        }
        for at in 0..NAMES.len() {
            if self.alarms[at].is_none() && self.rings(at) {
                self.alarms[at] = Some(minute);
            }
        }
    }

    fn rings(&self, at: usize) -> bool {
        let ((x1, n1), (x0, n0)) = (self.canary, self.stable);
        let (p1, p0) = (x1 as f64 / n1.max(1) as f64, x0 as f64 / n0.max(1) as f64);
        let enough = n1 >= FEW;
        match at {
            0 | 1 => self.judges[at].judgement(None).verdict == Verdict::Harmful,
            2 => enough && p1 > SLO,
            3 => enough && p1 > RATIO * p0,
            4 => enough && p1 > p0 + POINTS,
            5 => self.fisher() < LEVEL,
            6 => z(self.canary, self.stable) > Z,
            7 => self.fisher() < LEVEL / LOOKS,
            _ => self.ranked(),
        }
    }

    fn fisher(&self) -> f64 {
        let arm = |(bad, total)| Arm::new(bad, total).expect("bad is part of total");
        Table::new(arm(self.canary), arm(self.stable)).expect("counts are small").fisher_p_value()
    }

    /// As Kayenta judges: each minute's rate is one sample.
    fn ranked(&self) -> bool {
        let [canary, stable] = &self.rates;
        if canary.len() < RANKED_MINUTES || stable.len() < RANKED_MINUTES {
            return false;
        }
        let mut bins: Vec<f64> = canary.iter().chain(stable).copied().collect();
        bins.sort_unstable_by(f64::total_cmp);
        bins.dedup();
        let binned = |rates: &[f64]| {
            let mut counts = vec![0; bins.len()];
            for rate in rates {
                counts[bins.partition_point(|bin| bin < rate)] += 1;
            }
            counts
        };
        mann_whitney(&binned(canary), &binned(stable)).is_ok_and(|test| test.p_value < LEVEL)
    }
}

fn counts(arm: Option<&ArmCounts>) -> (u64, u64) {
    arm.map_or((0, 0), |counts| (counts.http_5xx.unwrap_or(0), counts.requests))
}

fn z((x1, n1): (u64, u64), (x0, n0): (u64, u64)) -> f64 {
    let [x1, n1, x0, n0] = [x1, n1, x0, n0].map(|count| count as f64);
    let pooled = (x1 + x0) / (n1 + n0);
    let variance = pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n0);
    if variance > 0.0 { (x1 / n1 - x0 / n0) / variance.sqrt() } else { 0.0 }
}

/// Who looks at latency, in the order of the table.
pub(crate) const LATENCY_NAMES: [&str; 3] = [NAMES[0], NAMES[1], "Mann-Whitney test of all answers at 5 %"];

/// All that look at latency.
pub(crate) struct Latency<'a> {
    judges: [Judge<'a>; OURS],
    bins: [Vec<u64>; 2],
    pub(crate) alarms: [Option<u32>; LATENCY_NAMES.len()],
}

impl<'a> Latency<'a> {
    pub(crate) fn new(rules: &'a [Rules; OURS]) -> Self {
        Self {
            judges: [0, 1].map(|at| Judge::new(&rules[at], &Conditions::default())),
            bins: Default::default(),
            alarms: [None; LATENCY_NAMES.len()],
        }
    }

    pub(crate) fn see(&mut self, row: &Row, minute: u32) {
        let share = row.share > Share::ZERO;
        for (bins, arm) in self.bins.iter_mut().zip([&row.canary, &row.stable]) {
            let latency = arm.as_ref().and_then(|counts| counts.latency.as_ref());
            let Some(latency) = latency.filter(|_| share) else { continue };
            bins.resize(latency.le.len() + 1, 0);
            let mut below = 0;
            let edges = latency.le.values().chain([&latency.count]);
            for (bin, sum) in bins.iter_mut().zip(edges) {
                *bin += sum - below;
                below = *sum;
            }
        }
        for (at, judge) in self.judges.iter_mut().enumerate() {
            if self.alarms[at].is_none() {
                judge.see(row);
                let harmful = share && judge.judgement(None).verdict == Verdict::Harmful;
                self.alarms[at] = harmful.then_some(minute);
            }
        }
        let [canary, stable] = &self.bins;
        if share && self.alarms[OURS].is_none() {
            let worse = mann_whitney(canary, stable).is_ok_and(|test| test.p_value < LEVEL);
            self.alarms[OURS] = worse.then_some(minute);
        }
    }
}
