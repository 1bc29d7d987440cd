//! The judge of distributions: latency, and values of the application's own.
//!
//! A sample beyond a threshold is bad, in both arms; so a distribution becomes a few rates, one for each
//! threshold, and the evidence of the check is the mean of theirs. A tolerance that is a length moves the
//! canary's threshold out instead. Health is proven in odds, since slow requests are too common for the form
//! that errors use.

use super::check::{self, BadBeyond, Check, CheckRule, DistributionCheck, STICKY_TOLERATE, Worse};
use super::edge::{Edge, LATENCY_EDGES, VALUE_EDGES};
use super::evidence::{
    BurnInTables, CHECKED, Calibration, Releases, Setting, Stakes, Temper, arm, few_targets_note,
    largest_effect, samples_needed, share_of, table,
};
use super::threshold::{Learner, Threshold};
use super::timeline::{Exclusion, Place};
use super::verdict::{CheckEvidence, PartEvidence};
use super::window::{Arm, Distribution, Row, Tally};
use crate::stats::{
    self, ALTERNATIVE_MULTIPLIERS, CeiledEvidence, LearntRate, OddsGrid, Table, odds_health_information,
};
use crate::units::{Quantile, Times};

/// Minutes of a step after which it is settled whether health can be proven at this traffic.
const TRAFFIC_MINUTES: u32 = 15;

/// Alternatives of harm, then equal odds, then the odds that health must exclude.
const ODDS: usize = ALTERNATIVE_MULTIPLIERS.len() + 2;

/// The odds of one comparison.
#[derive(Debug, Clone, Copy)]
struct Odds {
    /// Up to here no harm.
    tolerated: Times,
    /// From here on not healthy.
    allowed: Times,
}

/// Everything about a threshold that is fixed at the first minute that is judged by it.
#[derive(Debug, Clone)]
struct Bench {
    calibration: Calibration,
    odds: OddsGrid<ODDS>,
    harm: Stakes<8>,
    /// Sticky clients: evidence at the plan's own margin, that drains nothing.
    advice: Option<(OddsGrid<8>, Stakes<8>)>,
    releases: Releases,
}

impl Bench {
    fn new(calibration: Calibration, odds: Odds, sticky: bool) -> Self {
        let cautious = calibration.only_advises(sticky, odds.tolerated);
        let null = if cautious { STICKY_TOLERATE } else { odds.tolerated }.ratio();
        let advice = cautious
            .then(|| OddsGrid::above(calibration.shifted(odds.tolerated.ratio())).expect(CHECKED))
            .map(|grid| (grid, Stakes::default()));
        let multiples = ALTERNATIVE_MULTIPLIERS.map(|multiplier| null * multiplier);
        let mut alternatives = [calibration.shifted(1.0); ODDS];
        for (alternative, multiple) in alternatives.iter_mut().zip(multiples) {
            *alternative = calibration.shifted(multiple);
        }
        alternatives[ODDS - 1] = calibration.shifted(odds.allowed.ratio());
        Self {
            calibration,
            odds: OddsGrid::new(calibration.shifted(null), alternatives),
            harm: Stakes::default(),
            advice,
            releases: Releases::default(),
        }
    }

    /// Weighs a minute; answers its log evidence of health.
    fn weigh(&mut self, table: Table, cap: Option<f64>) -> f64 {
        let temper = Temper { design_effect: self.calibration.design_effect, cap };
        let release = self.releases.next();
        let all = table.ln_likelihood_ratios(&self.odds);
        let [harm @ .., equal, allowed] = all;
        self.harm.step(release, harm, temper);
        if let Some((grid, stakes)) = &mut self.advice {
            stakes.step(release, table.ln_likelihood_ratios(grid), temper);
        }
        (equal - allowed) / temper.design_effect.get()
    }
}

/// One threshold on its way through a window.
#[derive(Debug, Clone)]
struct Level {
    /// `None` for a fixed value.
    quantile: Option<Quantile>,
    edges: Option<[Edge; 2]>,
    samples: u64,
    burn_in: BurnInTables,
    bench: Option<Bench>,
    health: CeiledEvidence,
    step: [Tally; 2],
    /// Stable's bad samples in all minutes that were counted.
    learnt: Tally,
    /// The same when it was settled whether health can be proven on this step.
    settled: Tally,
}

impl Level {
    fn new(quantile: Option<Quantile>, beta: f64) -> Self {
        Self {
            quantile,
            edges: None,
            samples: 0,
            burn_in: BurnInTables::default(),
            bench: None,
            health: CeiledEvidence::new(beta).expect(CHECKED),
            step: Default::default(),
            learnt: Tally::default(),
            settled: Tally::default(),
        }
    }

    fn open_step(&mut self, beta: f64) {
        self.step = Default::default();
        self.health = CeiledEvidence::new(beta).expect(CHECKED);
        if let Some(bench) = &mut self.bench {
            bench.releases.open_step();
        }
    }

    /// What counts, or what would count from now on.
    fn calibration(&self, sticky: bool) -> Calibration {
        self.bench.as_ref().map_or_else(|| self.burn_in.calibration(sticky), |bench| bench.calibration)
    }

    fn e_harm(&self) -> f64 {
        self.bench.as_ref().map_or(1.0, |bench| bench.harm.e())
    }

    /// Nats of evidence of health a canary sample, where stable has shown so much.
    fn information(&self, learnt: Tally, odds: Odds, share: f64) -> Option<f64> {
        let offset = self.bench.as_ref().map_or(1.0, |bench| bench.calibration.against());
        let allowed = stats::OddsRatio::new(odds.allowed.ratio() * offset).ok()?;
        odds_health_information(LearntRate::from_past(arm(learnt)), allowed, share).ok()
    }

    fn samples_needed(&self, odds: Odds) -> Option<f64> {
        if self.health.is_at_ceiling() {
            return Some(0.0);
        }
        let design_effect = self.bench.as_ref()?.calibration.design_effect;
        samples_needed(
            self.health.missing(),
            self.information(self.learnt, odds, share_of(self.step)?),
            design_effect,
        )
    }
}

/// How many samples the canary has in a minute, as of the step's first minutes.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    /// Judged minutes of the step, up to as many as tell.
    minutes: u32,
    samples: u64,
    share: f64,
}

/// A distribution on its way through a window.
#[derive(Debug, Clone)]
pub(super) struct DistributionJudge<'a> {
    check: &'a Check,
    rule: &'a DistributionCheck,
    setting: Setting,
    learner: Learner,
    levels: Vec<Level>,
    default_tolerance: Times,
    traffic: Traffic,
    /// Stable has published samples.
    published: bool,
    /// A minute whose edges are not those that are needed.
    edges_missing: bool,
}

impl<'a> DistributionJudge<'a> {
    pub(super) fn new(
        check: &'a Check,
        rule: &'a DistributionCheck,
        setting: &Setting,
        settled: Option<&Vec<Threshold>>,
    ) -> Self {
        let quantiles: Vec<Quantile> = match &rule.bad_beyond {
            BadBeyond::Quantiles(quantiles) => quantiles.clone(),
            BadBeyond::Fixed(_) => Vec::new(),
        };
        let mut levels: Vec<Level> =
            quantiles.iter().map(|quantile| Level::new(Some(*quantile), setting.beta)).collect();
        if levels.is_empty() {
            levels.push(Level::new(None, setting.beta));
        }
        Self {
            check,
            rule,
            setting: setting.clone(),
            learner: Learner::new(&quantiles, rule.worse, Edge::at_least(rule.ignore_below), settled),
            levels,
            default_tolerance: check::TOLERATE,
            traffic: Traffic::default(),
            published: false,
            edges_missing: false,
        }
    }

    /// Looks at a minute; answers how many samples each arm has, stable first.
    pub(super) fn see(&mut self, row: &Row, place: Place) -> [u64; 2] {
        if place.opens_step {
            self.learner.first_shift();
            self.traffic = Traffic { share: row.share.fraction(), ..Traffic::default() };
            self.levels.iter_mut().for_each(|level| level.open_step(self.setting.beta));
        }
        let of = |arm| row.arm(arm).and_then(|counts| self.check.distribution(counts));
        let (stable, canary) = (of(Arm::Stable), of(Arm::Canary));
        self.published |= stable.is_some_and(|stable| stable.count > 0);
        if let (Some(stable), Some(canary)) = (stable, canary) {
            match place.exclusion {
                None => self.weigh(row, stable, canary),
                Some(Exclusion::BurnIn) => self.burn_in(stable, canary),
                Some(_) => {}
            }
        }
        if let Some(stable) = stable {
            self.learner.learn(stable, place.exclusion != Some(Exclusion::Baseline));
        }
        [stable, canary].map(|arm| arm.map_or(0, |minute| minute.count))
    }

    /// Stable's edge, and the canary's as far further out as the tolerance says.
    fn moved(&self, edge: Edge, stable: &Distribution, canary: &Distribution) -> Option<[Edge; 2]> {
        let (stable_edge, _) = stable.le.range(edge.0..).next()?;
        let stable_edge = Edge(*stable_edge);
        let out = self.rule.edges_out(stable_edge.value());
        let canary_edge = match self.rule.worse {
            Worse::Higher => canary.le.range(stable_edge.up(out).0..).next()?.0,
            Worse::Lower => canary.le.range(..=stable_edge.up(-out).0).next_back()?.0,
        };
        Some([stable_edge, Edge(*canary_edge)])
    }

    fn odds(&self, level: &Level) -> Odds {
        Odds {
            tolerated: self.rule.tolerated(self.default_tolerance),
            allowed: self.rule.allowed(level.quantile),
        }
    }

    /// Counts a minute at one threshold; `None` if that is not known yet or the minute lacks the edge.
    fn tallies(&mut self, index: usize, stable: &Distribution, canary: &Distribution) -> Option<[Tally; 2]> {
        let (wanted, samples) = match self.rule.bad_beyond {
            BadBeyond::Quantiles(_) => {
                let threshold = self.learner.threshold(index)?;
                (threshold.edge, threshold.samples)
            }
            BadBeyond::Fixed(value) => (stable.nearest_edge(value)?, 0),
        };
        let edges = self.moved(wanted, stable, canary);
        self.edges_missing |= edges.is_none();
        let edges = edges?;
        let worse = self.rule.worse;
        let tallies = [worse.beyond(edges[0], stable), worse.beyond(edges[1], canary)];
        let level = &mut self.levels[index];
        (level.edges, level.samples) = (Some(edges), samples);
        level.learnt.add(tallies[0]);
        Some(tallies)
    }

    fn burn_in(&mut self, stable: &Distribution, canary: &Distribution) {
        for index in 0..self.levels.len() {
            if let Some([stable, canary]) = self.tallies(index, stable, canary) {
                self.levels[index].burn_in.see(table(stable, canary));
            }
        }
    }

    fn weigh(&mut self, row: &Row, stable: &Distribution, canary: &Distribution) {
        if self.levels.iter().all(|level| level.bench.is_none()) {
            self.default_tolerance = self.setting.default_tolerance(row);
        }
        for index in 0..self.levels.len() {
            if let Some(tallies) = self.tallies(index, stable, canary) {
                self.weigh_level(index, tallies);
            }
        }
        if self.traffic.minutes < TRAFFIC_MINUTES {
            self.traffic.minutes += 1;
            self.traffic.samples += canary.count;
            self.levels.iter_mut().for_each(|level| level.settled = level.learnt);
        }
    }

    fn weigh_level(&mut self, index: usize, [stable, canary]: [Tally; 2]) {
        let odds = self.odds(&self.levels[index]);
        let (sticky, cap) = (self.setting.sticky, self.setting.cap);
        let level = &mut self.levels[index];
        let bench =
            level.bench.get_or_insert_with(|| Bench::new(level.burn_in.calibration(sticky), odds, sticky));
        let ln_e = bench.weigh(table(stable, canary), cap);
        level.health.step(ln_e).expect("log e-values of checked counts are finite");
        level.step[0].add(stable);
        level.step[1].add(canary);
    }

    /// Minutes to prove health at the traffic of the step's beginning, if they are more than the plan gives.
    fn too_long(&self, level: &Level) -> Option<f64> {
        let Traffic { minutes, samples, share } = self.traffic;
        if share >= 1.0 || minutes < TRAFFIC_MINUTES {
            return None;
        }
        let Some(bench) = &level.bench else {
            // An hour of stable's samples did not tell where it lies.
            let unknown = level.quantile.is_some() && !self.learner.is_learning();
            return unknown.then_some(f64::INFINITY);
        };
        let canary_per_minute = samples as f64 / f64::from(minutes);
        let information = level.information(level.settled, self.odds(level), share);
        let samples = samples_needed(-self.setting.beta.ln(), information, bench.calibration.design_effect);
        let minutes = samples.map_or(f64::INFINITY, |samples| samples / canary_per_minute);
        (minutes > self.setting.decide_within_minutes).then_some(minutes)
    }

    /// Latency that the load balancer does not publish is left out if the plan does not ask for it.
    fn is_left_out(&self) -> bool {
        self.rule.optional && !self.published
    }

    pub(super) fn e_harm(&self) -> f64 {
        stats::mean(self.levels.iter().map(Level::e_harm))
    }

    /// Evidence at the plan's own margin where only a larger one drains.
    pub(super) fn e_advice(&self) -> Option<f64> {
        let advice = |level: &Level| Some(level.bench.as_ref()?.advice.as_ref()?.1.e());
        let parts: Option<Vec<f64>> = self.levels.iter().map(advice).collect();
        Some(stats::mean(parts?.into_iter()))
    }

    /// Each threshold, and whether the step waits for its health.
    fn awaited(&self) -> Vec<(&Level, Option<f64>)> {
        self.levels.iter().map(|level| (level, self.too_long(level))).collect()
    }

    pub(super) fn log_e_health(&self) -> f64 {
        least_health(&self.awaited())
    }

    pub(super) fn is_healthy(&self) -> bool {
        // What cannot be proven in time must at least not look worse than it may be.
        let fine = |(level, too_long): (&Level, Option<f64>)| match too_long {
            None => level.health.is_at_ceiling(),
            Some(_) => level.health.ln_e() >= 0.0,
        };
        self.is_left_out() || self.awaited().into_iter().all(fine)
    }

    /// Thresholds for the record.
    pub(super) fn settled(&self) -> Option<Vec<Threshold>> {
        matches!(self.rule.bad_beyond, BadBeyond::Quantiles(_)).then(|| self.learner.settled()).flatten()
    }

    pub(super) fn evidence(&self, weight: f64) -> CheckEvidence {
        let worst = self.levels.iter().max_by(|a, b| a.e_harm().total_cmp(&b.e_harm()));
        let worst = worst.expect("there is a threshold");
        let awaited = self.awaited();
        let parts: Vec<PartEvidence> = awaited.iter().map(|(level, long)| self.part(level, *long)).collect();
        let needed = parts.iter().filter(|part| part.log_e_health.is_some());
        let needed: Option<Vec<f64>> = needed.map(|part| part.requests_needed).collect();
        CheckEvidence {
            name: self.check.name.clone(),
            log_e_harm: self.e_harm().ln(),
            log_e_health: least_health(&awaited),
            log_e_abort: None,
            stable: worst.step[0],
            canary: worst.step[1],
            weight,
            parts,
            notes: self.notes(&awaited),
            design_effect: largest_effect(
                self.levels.iter().map(|level| level.calibration(self.setting.sticky)),
            ),
            requests_needed: needed.map(|needed| needed.into_iter().fold(0.0, f64::max)),
        }
    }

    fn part(&self, level: &Level, too_long: Option<f64>) -> PartEvidence {
        let log_e_health = too_long.is_none().then(|| level.health.ln_e());
        PartEvidence {
            name: self.level_name(level),
            log_e_harm: level.e_harm().ln(),
            log_e_health,
            stable: level.step[0],
            canary: level.step[1],
            requests_needed: log_e_health.and_then(|_| level.samples_needed(self.odds(level))),
        }
    }

    fn unit(&self) -> &'static str {
        if matches!(self.check.rule, CheckRule::Latency(_)) { " s" } else { "" }
    }

    fn level_name(&self, level: &Level) -> String {
        let beyond = self.rule.worse.sign();
        let quantile = level.quantile.map_or_else(String::new, |quantile| format!("{quantile} "));
        match level.edges {
            Some([edge, _]) => format!("{quantile}{beyond} {edge}{}", self.unit()),
            None => level.quantile.map_or_else(|| "threshold".to_owned(), |quantile| quantile.to_string()),
        }
    }

    fn notes(&self, awaited: &[(&Level, Option<f64>)]) -> Vec<String> {
        if self.is_left_out() {
            return vec!["stable publishes no response times: not judged".to_owned()];
        }
        let mut notes = Vec::new();
        if !self.published {
            notes.push("stable has published no samples yet".to_owned());
        }
        if self.edges_missing {
            notes.push("minutes that do not list the edges of the thresholds are left out".to_owned());
        }
        let settled = self.learner.settled().is_some();
        for (level, too_long) in awaited {
            notes.extend(self.level_notes(level, *too_long, settled));
        }
        notes.extend(self.levels[0].calibration(self.setting.sticky).note(self.setting.sticky));
        notes.extend(few_targets_note(self.rule.tolerate.is_some(), self.default_tolerance));
        notes
    }

    fn level_notes(&self, level: &Level, too_long: Option<f64>, settled: bool) -> Vec<String> {
        let Some([edge, canary]) = level.edges else {
            let quantile = level.quantile.filter(|_| !settled);
            let note = |quantile: Quantile| match too_long {
                Some(_) => {
                    format!("{quantile}: stable has too few samples to tell where it lies; not waited for")
                }
                None => format!("{quantile}: too few samples of stable yet to know where it lies"),
            };
            return quantile.map(note).into_iter().collect();
        };
        let unit = self.unit();
        let mut notes = Vec::new();
        if let Some(quantile) = level.quantile {
            let samples = level.samples;
            let from = if self.learner.is_learning() {
                "still being learnt".to_owned()
            } else {
                format!("from {samples} samples")
            };
            notes.push(format!("{quantile} of stable lies at {edge}{unit} ({from})"));
        } else if let BadBeyond::Fixed(value) = self.rule.bad_beyond {
            notes.push(format!(
                "threshold {value}{unit} is counted at {edge}{unit}, the nearest edge of a bin"
            ));
        }
        if canary != edge {
            notes.push(format!(
                "the tolerance moves the canary's threshold from {edge}{unit} to {canary}{unit}"
            ));
        }
        if let Some(minutes) = too_long {
            notes.push(unprovable(&self.level_name(level), minutes, self.setting.decide_within_minutes));
        }
        notes
    }
}

fn unprovable(name: &str, minutes: f64, within: f64) -> String {
    let long = if minutes.is_finite() {
        format!("about {:.0} h", (minutes / 60.0).ceil())
    } else {
        "forever".to_owned()
    };
    let within = within / 60.0;
    format!(
        "{name}: judged for harm only, since to prove health takes {long} at this traffic, more than {within:.1} h"
    )
}

/// The least evidence of health of what is waited for; of all, if nothing is.
fn least_health(levels: &[(&Level, Option<f64>)]) -> f64 {
    let least = |waits: bool| {
        let some = levels.iter().filter(|(_, too_long)| too_long.is_none() | !waits);
        some.map(|(level, _)| level.health.ln_e()).reduce(f64::min)
    };
    least(true).or_else(|| least(false)).expect("there is a threshold")
}

/// The edges at which a check's distribution must be counted: those of its thresholds, if they are settled,
/// and all that may become thresholds else. In rising order, each once.
#[must_use]
pub fn edges(rule: &DistributionCheck, settled: Option<&Vec<Threshold>>) -> Vec<Edge> {
    let known: Vec<Edge> = match (&rule.bad_beyond, settled) {
        (BadBeyond::Fixed(value), _) => vec![Edge::nearest(*value)],
        (BadBeyond::Quantiles(_), Some(settled)) => settled.iter().map(|threshold| threshold.edge).collect(),
        (BadBeyond::Quantiles(_), None) => {
            let all = if rule.source.is_none() { LATENCY_EDGES } else { VALUE_EDGES };
            let least = Edge::at_least(rule.ignore_below);
            return all.map(Edge).filter(|edge| *edge >= least).collect();
        }
    };
    let moved = |edge: Edge| match rule.worse {
        Worse::Higher => edge.up(rule.edges_out(edge.value())),
        Worse::Lower => edge.up(-rule.edges_out(edge.value())),
    };
    let both: std::collections::BTreeSet<Edge> =
        known.iter().flat_map(|edge| [*edge, moved(*edge)]).collect();
    both.into_iter().collect()
}
