//! The judge of distributions: latency, and values of the application's own.
//!
//! A sample beyond a threshold is bad, in both arms; so a distribution becomes a few rates, one for each
//! threshold, and the evidence of the check is the mean of theirs. A tolerance that is a length moves the
//! canary's threshold out instead. Health is proven in odds, since slow requests are too common for the form
//! that errors use.

use super::check::{
    self, BadBeyond, DistributionCheck, Margin, PROMOTE_WITHIN_BODY, PROMOTE_WITHIN_SHIFTED,
    PROMOTE_WITHIN_TAIL, STICKY_TOLERATE, TAIL, Worse,
};
use super::edge::{Edge, edges_between};
use super::evidence::{
    BurnInTables, CHECKED, Calibration, Releases, Setting, Stakes, Temper, arm, mean, samples_needed,
    share_of, table,
};
use super::threshold::{Learner, Threshold};
use super::timeline::{Exclusion, Place};
use super::verdict::{CheckEvidence, PartEvidence};
use super::window::{Arm, ArmCounts, Distribution, MetricCounts, Row, Tally};
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
    tolerated: f64,
    /// From here on not healthy.
    allowed: f64,
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
        let cautious = sticky && !calibration.measured && odds.tolerated < STICKY_TOLERATE.ratio();
        let null = if cautious { STICKY_TOLERATE.ratio() } else { odds.tolerated };
        let advice = cautious
            .then(|| OddsGrid::above(calibration.shifted(odds.tolerated)).expect(CHECKED))
            .map(|grid| (grid, Stakes::default()));
        let multiples = ALTERNATIVE_MULTIPLIERS.map(|multiplier| null * multiplier);
        let mut alternatives = [calibration.shifted(1.0); ODDS];
        for (alternative, multiple) in alternatives.iter_mut().zip(multiples) {
            *alternative = calibration.shifted(multiple);
        }
        alternatives[ODDS - 1] = calibration.shifted(odds.allowed);
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
        (equal - allowed) / temper.design_effect
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

    fn e_harm(&self) -> f64 {
        self.bench.as_ref().map_or(1.0, |bench| bench.harm.e())
    }

    /// Nats of evidence of health a canary sample, where stable has shown so much.
    fn information(&self, learnt: Tally, odds: Odds, share: f64) -> Option<f64> {
        let offset = self.bench.as_ref().map_or(1.0, |bench| bench.calibration.against());
        let allowed = stats::OddsRatio::new(odds.allowed * offset).ok()?;
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
    name: &'a str,
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
        name: &'a str,
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
            name,
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

    pub(super) fn distribution<'r>(&self, counts: &'r ArmCounts) -> Option<&'r Distribution> {
        if self.rule.source.is_none() && self.name == check::LATENCY {
            return counts.latency.as_ref();
        }
        match counts.metrics.get(self.name)? {
            MetricCounts::Values(distribution) => Some(distribution),
            _ => None,
        }
    }

    /// Looks at a minute.
    pub(super) fn see(&mut self, row: &Row, place: Place) {
        if place.opens_step {
            self.learner.first_shift();
            self.traffic = Traffic { share: row.share.fraction(), ..Traffic::default() };
            self.levels.iter_mut().for_each(|level| level.open_step(self.setting.beta));
        }
        let of = |arm| row.arm(arm).and_then(|counts| self.distribution(counts));
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
    }

    /// The edges that count in this minute, stable's first.
    fn edges(&mut self, index: usize, stable: &Distribution, canary: &Distribution) -> Option<[Edge; 2]> {
        let wanted = match self.rule.bad_beyond {
            BadBeyond::Quantiles(_) => self.learner.threshold(index)?.edge,
            BadBeyond::Fixed(value) => nearest_listed(value, stable)?,
        };
        let found = self.moved(wanted, stable, canary);
        self.edges_missing |= found.is_none();
        found
    }

    /// Stable's edge, and the canary's as far further out as the tolerance says.
    fn moved(&self, edge: Edge, stable: &Distribution, canary: &Distribution) -> Option<[Edge; 2]> {
        let (stable_edge, _) = stable.le.range(edge.0..).next()?;
        let stable_edge = Edge(*stable_edge);
        let out = self.edges_out(stable_edge);
        let canary_edge = match self.rule.worse {
            Worse::Higher => canary.le.range(stable_edge.up(out).0..).next()?.0,
            Worse::Lower => canary.le.range(..=stable_edge.up(-out).0).next_back()?.0,
        };
        Some([stable_edge, Edge(*canary_edge)])
    }

    /// By how many edges the canary's threshold lies further out.
    fn edges_out(&self, edge: Edge) -> i32 {
        edges_out(self.rule, edge)
    }

    fn bad(&self, edge: Edge, minute: &Distribution) -> Tally {
        let below = minute.le.get(&edge.0).copied().unwrap_or(0).min(minute.count);
        let bad = match self.rule.worse {
            Worse::Higher => minute.count - below,
            Worse::Lower => below,
        };
        Tally { bad, total: minute.count }
    }

    fn odds(&self, level: &Level) -> Odds {
        let (tolerated, standard) = match self.rule.tolerate {
            Some(Margin::Relative(_) | Margin::Absolute(_)) => (1.0, PROMOTE_WITHIN_SHIFTED),
            Some(Margin::Times(times)) => (times.ratio(), Self::standard(level)),
            None => (self.default_tolerance.ratio(), Self::standard(level)),
        };
        Odds { tolerated, allowed: self.rule.promote_within.unwrap_or(standard).ratio() }
    }

    fn standard(level: &Level) -> Times {
        if level.quantile.is_some_and(|quantile| quantile >= TAIL) {
            PROMOTE_WITHIN_TAIL
        } else {
            PROMOTE_WITHIN_BODY
        }
    }

    /// Counts a minute at one threshold; `None` if that is not known yet or the minute lacks the edge.
    fn tallies(&mut self, index: usize, stable: &Distribution, canary: &Distribution) -> Option<[Tally; 2]> {
        let edges = self.edges(index, stable, canary)?;
        let tallies = [self.bad(edges[0], stable), self.bad(edges[1], canary)];
        let samples = self.learner.threshold(index).map_or(0, |threshold| threshold.samples);
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

    fn asks_for_health(&self, level: &Level) -> bool {
        self.too_long(level).is_none()
    }

    /// Latency that the load balancer does not publish is left out if the plan does not ask for it.
    fn is_left_out(&self) -> bool {
        self.rule.optional && !self.published
    }

    pub(super) fn e_harm(&self) -> f64 {
        mean(self.levels.iter().map(Level::e_harm))
    }

    /// Evidence at the plan's own margin where only a larger one drains.
    pub(super) fn e_advice(&self) -> Option<f64> {
        let advice = |level: &Level| Some(level.bench.as_ref()?.advice.as_ref()?.1.e());
        let parts: Option<Vec<f64>> = self.levels.iter().map(advice).collect();
        Some(mean(parts?.into_iter()))
    }

    pub(super) fn log_e_health(&self) -> f64 {
        let asked = self.levels.iter().filter(|level| self.asks_for_health(level));
        let least = asked.map(|level| level.health.ln_e()).reduce(f64::min);
        least.unwrap_or_else(|| {
            self.levels.iter().map(|level| level.health.ln_e()).fold(f64::INFINITY, f64::min)
        })
    }

    pub(super) fn is_healthy(&self) -> bool {
        // What cannot be proven in time must at least not look worse than it may be.
        let fine = |level: &Level| match self.asks_for_health(level) {
            true => level.health.is_at_ceiling(),
            false => level.health.ln_e() >= 0.0,
        };
        self.is_left_out() || self.levels.iter().all(fine)
    }

    /// Thresholds for the record.
    pub(super) fn settled(&self) -> Option<Vec<Threshold>> {
        matches!(self.rule.bad_beyond, BadBeyond::Quantiles(_)).then(|| self.learner.settled()).flatten()
    }

    pub(super) fn evidence(&self, weight: f64) -> CheckEvidence {
        let worst = self.levels.iter().max_by(|a, b| a.e_harm().total_cmp(&b.e_harm()));
        let worst = worst.expect("there is a threshold");
        let needed = self.levels.iter().filter(|level| self.asks_for_health(level));
        let needed: Option<Vec<f64>> = needed.map(|level| level.samples_needed(self.odds(level))).collect();
        let effect = |level: &Level| level.bench.as_ref().map(|bench| bench.calibration.design_effect);
        CheckEvidence {
            name: self.name.to_owned(),
            log_e_harm: self.e_harm().ln(),
            log_e_health: self.log_e_health(),
            log_e_abort: None,
            stable: worst.step[0],
            canary: worst.step[1],
            weight,
            parts: self.levels.iter().map(|level| self.part(level)).collect(),
            notes: self.notes(),
            design_effect: self.levels.iter().filter_map(effect).fold(1.0, f64::max),
            requests_needed: needed.map(|needed| needed.into_iter().fold(0.0, f64::max)),
        }
    }

    fn part(&self, level: &Level) -> PartEvidence {
        let log_e_health = self.asks_for_health(level).then(|| level.health.ln_e());
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
        if self.name == check::LATENCY { " s" } else { "" }
    }

    fn level_name(&self, level: &Level) -> String {
        let beyond = match self.rule.worse {
            Worse::Higher => '>',
            Worse::Lower => '<',
        };
        let quantile = level.quantile.map_or_else(String::new, |quantile| format!("{quantile} "));
        match level.edges {
            Some([edge, _]) => format!("{quantile}{beyond} {edge}{}", self.unit()),
            None => level.quantile.map_or_else(|| "threshold".to_owned(), |quantile| quantile.to_string()),
        }
    }

    fn notes(&self) -> Vec<String> {
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
        for level in &self.levels {
            notes.extend(self.level_notes(level));
        }
        let calibration = self.levels.iter().filter_map(|level| level.bench.as_ref()).next();
        notes.extend(calibration.and_then(|bench| bench.calibration.note(self.setting.sticky)));
        if self.default_tolerance == check::TOLERATE_FEW_TARGETS && self.rule.tolerate.is_none() {
            let few = check::FEW_TARGETS;
            notes.push(format!(
                "fewer than {few} canary targets: tolerates {} the odds",
                self.default_tolerance
            ));
        }
        notes
    }

    fn level_notes(&self, level: &Level) -> Vec<String> {
        let Some([edge, canary]) = level.edges else {
            let quantile = level.quantile.filter(|_| self.learner.settled().is_none());
            let note = |quantile: Quantile| match self.too_long(level) {
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
        if let Some(minutes) = self.too_long(level) {
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

/// The edge nearest to a fixed threshold among those that are listed.
fn nearest_listed(value: f64, minute: &Distribution) -> Option<Edge> {
    let distance = |edge: &&i32| (Edge(**edge).value().ln() - value.ln()).abs();
    let nearest = minute.le.keys().min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
    Some(Edge(*nearest))
}

/// By how many edges a tolerance moves the canary's threshold out from stable's.
fn edges_out(rule: &DistributionCheck, edge: Edge) -> i32 {
    let value = edge.value();
    let sign = match rule.worse {
        Worse::Higher => 1.0,
        Worse::Lower => -1.0,
    };
    let moved = match rule.tolerate {
        Some(Margin::Relative(rate)) => value * (1.0 + sign * rate.fraction()),
        Some(Margin::Absolute(distance)) => value + sign * distance,
        _ => value,
    };
    edges_between(value, moved)
}

/// Edges that thresholds are looked for among, before anything is known: 10 ms to a minute for latency.
const LATENCY_EDGES: std::ops::RangeInclusive<i32> = -48..=43;
/// The same for values whose size nobody has told: 0.00007 to a million.
const VALUE_EDGES: std::ops::RangeInclusive<i32> = -100..=145;

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
        Worse::Higher => edge.up(edges_out(rule, edge)),
        Worse::Lower => edge.up(-edges_out(rule, edge)),
    };
    let both: std::collections::BTreeSet<Edge> =
        known.iter().flat_map(|edge| [*edge, moved(*edge)]).collect();
    both.into_iter().collect()
}
