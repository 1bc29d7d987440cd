//! The judge of bad of total: errors of the load balancer, and ratios of the application's own.
//!
//! Harm: the canary's odds against stable's, minute by minute, given each minute's totals, so that neither
//! the base rate nor the weights matter; and a rate above `ignore_below`; both must hold. An SLO is a second
//! way to be harmful: its evidence is averaged with the first, which keeps the promise over both.
//! Health: both arms' rates against the nearest pair of rates that the plan does not allow.

use super::check::{ABORT_ALPHA, ErrorsCheck, RatioCheck, Tolerance};
use super::evidence::{
    BurnInTables, CHECKED, Calibration, Releases, Setting, Stakes, Temper, arm, few_targets_note, limit,
    samples_needed, share_of, table,
};
use super::timeline::{Exclusion, Place};
use super::verdict::CheckEvidence;
use super::window::{Row, Tally};
use crate::stats::{
    self, ALTERNATIVE_MULTIPLIERS, Allowance, CeiledEvidence, EventCounts, ExcessGrid, LearntRate, OddsGrid,
    OddsRatio, RateLimit, Release, Table,
};
use crate::units::{Rate, Times};

/// What is asked of a rate.
#[derive(Debug, Clone)]
pub(super) struct RateRule {
    tolerate: Option<Tolerance>,
    ignore_below: Rate,
    abort_above: Option<Rate>,
    slo: Option<Rate>,
    only_if_worse_than_stable: bool,
    promote_within: Tolerance,
    /// One request may have several.
    events: bool,
}

impl From<&ErrorsCheck> for RateRule {
    fn from(rule: &ErrorsCheck) -> Self {
        Self {
            tolerate: rule.tolerate,
            ignore_below: rule.ignore_below,
            abort_above: rule.abort_above,
            slo: rule.slo,
            only_if_worse_than_stable: rule.only_if_worse_than_stable,
            promote_within: rule.promote_within,
            events: false,
        }
    }
}

impl From<&RatioCheck> for RateRule {
    fn from(rule: &RatioCheck) -> Self {
        Self {
            tolerate: rule.tolerate,
            ignore_below: rule.ignore_below,
            abort_above: None,
            slo: rule.slo,
            only_if_worse_than_stable: rule.only_if_worse_than_stable,
            promote_within: rule.promote_within,
            events: rule.events,
        }
    }
}

/// One minute of both arms.
#[derive(Debug, Clone, Copy)]
struct Pair {
    stable: Tally,
    canary: Tally,
    table: Table,
    events: bool,
}

impl Pair {
    fn new(stable: Tally, canary: Tally, events: bool) -> Self {
        Self { stable, canary, table: table(stable, canary), events }
    }

    fn ln_likelihood_ratios<const K: usize>(&self, grid: &OddsGrid<K>) -> [f64; K] {
        if !self.events {
            return self.table.ln_likelihood_ratios(grid);
        }
        let Self { stable, canary, .. } = self;
        let counts = EventCounts::new(canary.bad, canary.total, stable.bad, stable.total).expect(CHECKED);
        counts.ln_likelihood_ratios(grid)
    }
}

/// The evidence against "no worse than tolerated": each null that the plan grants has its own, and the
/// weakest counts, which is evidence against all of them together.
#[derive(Debug, Clone)]
struct Worse {
    times: Option<(OddsGrid<8>, Stakes<8>)>,
    points: Option<(ExcessGrid<8>, Stakes<8>)>,
    floor: Option<(RateLimit<5>, Stakes<5>)>,
}

impl Worse {
    fn new(tolerate: Tolerance, ignore_below: Rate, calibration: Calibration) -> Self {
        let Tolerance { times, points } = tolerate;
        let times = times.map(|times| {
            (OddsGrid::above(calibration.shifted(times.ratio())).expect(CHECKED), Stakes::default())
        });
        let points = points.map(|points| {
            let excess = ExcessGrid::new(points.fraction(), ALTERNATIVE_MULTIPLIERS).expect(CHECKED);
            (excess, Stakes::default())
        });
        let floor =
            (ignore_below.fraction() > 0.0).then(|| (limit(ignore_below.fraction()), Stakes::default()));
        Self { times, points, floor }
    }

    fn step(&mut self, pair: &Pair, rate: LearntRate, release: Release, temper: Temper) {
        if let Some((grid, stakes)) = &mut self.times {
            stakes.step(release, pair.ln_likelihood_ratios(grid), temper);
        }
        if let Some((excess, stakes)) = &mut self.points {
            stakes.step(release, excess.ln_e(pair.table, rate), temper);
        }
        if let Some((limit, stakes)) = &mut self.floor {
            stakes.step(release, limit.ln_likelihood_ratios(pair.table.first()), temper);
        }
    }

    fn e(&self) -> f64 {
        let times = self.times.as_ref().map(|(_, stakes)| stakes.e());
        let points = self.points.as_ref().map(|(_, stakes)| stakes.e());
        let floor = self.floor.as_ref().map(|(_, stakes)| stakes.e());
        [times, points, floor].into_iter().flatten().fold(f64::INFINITY, f64::min)
    }
}

/// The evidence against "below an absolute limit", and, if the plan asks for that, against "no worse than
/// stable", too; the weaker counts.
#[derive(Debug, Clone)]
struct Above {
    limit: (RateLimit<5>, Stakes<5>),
    relative: Option<(OddsGrid<8>, Stakes<8>)>,
    releases: Releases,
}

impl Above {
    fn new(rate: Rate, only_if_worse: bool) -> Self {
        let grid = || OddsGrid::above(OddsRatio::new(1.0).expect(CHECKED)).expect(CHECKED);
        Self {
            limit: (limit(rate.fraction()), Stakes::default()),
            relative: only_if_worse.then(|| (grid(), Stakes::default())),
            releases: Releases::default(),
        }
    }

    fn step(&mut self, pair: &Pair, temper: Temper) {
        let release = self.releases.next();
        self.limit.1.step(release, self.limit.0.ln_likelihood_ratios(pair.table.first()), temper);
        if let Some((grid, stakes)) = &mut self.relative {
            stakes.step(release, pair.ln_likelihood_ratios(grid), temper);
        }
    }

    fn e(&self) -> f64 {
        let relative = self.relative.as_ref().map_or(f64::INFINITY, |(_, stakes)| stakes.e());
        self.limit.1.e().min(relative)
    }
}

/// How health is proven.
#[derive(Debug, Clone)]
enum Within {
    /// By rates.
    Rates(Allowance),
    /// By the ratio of event rates.
    Events(Box<OddsGrid<1>>),
}

impl Within {
    fn new(rule: &RateRule, calibration: Calibration) -> Self {
        let Tolerance { times, points } = rule.promote_within;
        if rule.events {
            let allowed = times.unwrap_or(super::check::PROMOTE_WITHIN_TIMES).ratio();
            let one = calibration.shifted(1.0);
            return Self::Events(Box::new(OddsGrid::new(calibration.shifted(allowed), [one])));
        }
        let ratio = times.map_or(1.0, Times::ratio) * calibration.against();
        let allowance = Allowance::new(ratio.min(1_000.0), points.map_or(0.0, Rate::fraction));
        Self::Rates(allowance.expect(CHECKED))
    }

    fn ln_e(&self, pair: &Pair, rate: LearntRate) -> f64 {
        match self {
            Self::Rates(allowance) => allowance.ln_e(pair.table, rate),
            Self::Events(grid) => pair.ln_likelihood_ratios(grid)[0],
        }
    }

    /// Nats a canary request.
    fn information(&self, rate: LearntRate, share: f64) -> Option<f64> {
        match self {
            Self::Rates(allowance) => stats::health_information(rate, allowance, share).ok(),
            Self::Events(grid) => stats::odds_health_information(rate, grid.null(), share).ok(),
        }
    }
}

/// Everything that is fixed at the first minute that is judged.
#[derive(Debug, Clone)]
struct Bench {
    calibration: Calibration,
    tolerate: Tolerance,
    worse: Worse,
    slo: Option<Above>,
    within: Within,
    releases: Releases,
}

/// A rate on its way through a window.
#[derive(Debug, Clone)]
pub(super) struct RateJudge {
    rule: RateRule,
    setting: Setting,
    burn_in: BurnInTables,
    bench: Option<Bench>,
    health: CeiledEvidence,
    abort: Option<Above>,
    /// What stable has shown so far, excluded minutes and the baseline included.
    learnt: Tally,
    step: [Tally; 2],
    /// A minute with more bad than total, which a ratio cannot have.
    impossible: bool,
}

impl RateJudge {
    pub(super) fn new(rule: RateRule, setting: &Setting) -> Self {
        Self {
            health: CeiledEvidence::new(setting.beta).expect(CHECKED),
            abort: rule.abort_above.map(|above| Above::new(above, rule.only_if_worse_than_stable)),
            rule,
            setting: setting.clone(),
            burn_in: BurnInTables::default(),
            bench: None,
            learnt: Tally::default(),
            step: Default::default(),
            impossible: false,
        }
    }

    /// Looks at a minute.
    pub(super) fn see(&mut self, row: &Row, place: Place, stable: Option<Tally>, canary: Option<Tally>) {
        if place.opens_step {
            self.open_step();
        }
        let [stable, canary] = [stable, canary].map(|tally| self.possible(tally));
        if let Some(canary) = canary.filter(|_| place.exclusion != Some(Exclusion::Baseline)) {
            self.look_for_abort(stable, canary);
        }
        if let (Some(stable), Some(canary)) = (stable, canary) {
            let pair = Pair::new(stable, canary, self.rule.events);
            match place.exclusion {
                None => self.weigh(row, &pair),
                Some(Exclusion::BurnIn) => self.burn_in.see(pair.table),
                Some(_) => {}
            }
        }
        if let Some(stable) = stable {
            self.learnt.add(stable);
        }
    }

    /// The immediate trigger looks at every minute; if it asks for the canary alone, also at one without stable.
    fn look_for_abort(&mut self, stable: Option<Tally>, canary: Tally) {
        let alone = (!self.rule.only_if_worse_than_stable).then(Tally::default);
        if let (Some(abort), Some(stable)) = (&mut self.abort, stable.or(alone)) {
            abort.step(&Pair::new(stable, canary, self.rule.events), Temper::NONE);
        }
    }

    /// A ratio of more than one counts as one: bad data must not look better than bad news.
    fn possible(&mut self, tally: Option<Tally>) -> Option<Tally> {
        let tally = tally?;
        if self.rule.events || tally.bad <= tally.total {
            return Some(tally);
        }
        self.impossible = true;
        Some(Tally { bad: tally.total, ..tally })
    }

    fn open_step(&mut self) {
        self.step = Default::default();
        self.health = CeiledEvidence::new(self.setting.beta).expect(CHECKED);
        if let Some(bench) = &mut self.bench {
            bench.releases.open_step();
            if let Some(slo) = &mut bench.slo {
                slo.releases.open_step();
            }
        }
        if let Some(abort) = &mut self.abort {
            abort.releases.open_step();
        }
    }

    fn open_bench(&self, row: &Row) -> Bench {
        let calibration = self.burn_in.calibration(self.setting.sticky);
        let rule = &self.rule;
        let tolerate = rule.tolerate.unwrap_or_else(|| Tolerance::times(self.setting.default_tolerance(row)));
        Bench {
            calibration,
            tolerate,
            worse: Worse::new(tolerate, rule.ignore_below, calibration),
            slo: rule.slo.map(|slo| Above::new(slo, rule.only_if_worse_than_stable)),
            within: Within::new(rule, calibration),
            releases: Releases::default(),
        }
    }

    fn weigh(&mut self, row: &Row, pair: &Pair) {
        let rate = LearntRate::from_past(arm(self.learnt));
        if self.bench.is_none() {
            self.bench = Some(self.open_bench(row));
        }
        let bench = self.bench.as_mut().expect("it was just opened");
        let temper = Temper { design_effect: bench.calibration.design_effect, cap: self.setting.cap };
        bench.worse.step(pair, rate, bench.releases.next(), temper);
        if let Some(slo) = &mut bench.slo {
            slo.step(pair, temper);
        }
        let ln_e = bench.within.ln_e(pair, rate) / temper.design_effect.get();
        self.health.step(ln_e).expect("log e-values of checked counts are finite");
        self.step[0].add(pair.stable);
        self.step[1].add(pair.canary);
    }

    pub(super) fn e_harm(&self) -> f64 {
        let Some(bench) = &self.bench else {
            return 1.0;
        };
        let worse = bench.worse.e();
        bench.slo.as_ref().map_or(worse, |slo| stats::mean([worse, slo.e()].into_iter()))
    }

    /// The SLO, rather than the comparison with stable, is what the evidence rests on.
    pub(super) fn is_above_slo(&self) -> bool {
        let bench = self.bench.as_ref();
        bench.is_some_and(|bench| bench.slo.as_ref().is_some_and(|slo| slo.e() > bench.worse.e()))
    }

    pub(super) fn log_e_health(&self) -> f64 {
        self.health.ln_e()
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.health.is_at_ceiling()
    }

    /// The immediate trigger has gone off.
    pub(super) fn aborts(&self) -> bool {
        self.abort.as_ref().is_some_and(|abort| abort.e() >= ABORT_ALPHA.fraction().recip())
    }

    pub(super) fn evidence(&self, name: &str, weight: f64) -> CheckEvidence {
        CheckEvidence {
            name: name.to_owned(),
            log_e_harm: self.e_harm().ln(),
            log_e_health: self.log_e_health(),
            log_e_abort: self.abort.as_ref().map(|abort| abort.e().ln()),
            stable: self.step[0],
            canary: self.step[1],
            weight,
            parts: Vec::new(),
            notes: self.notes(),
            design_effect: self.calibration().design_effect.get(),
            requests_needed: self.requests_needed(),
        }
    }

    fn calibration(&self) -> Calibration {
        self.bench
            .as_ref()
            .map_or_else(|| self.burn_in.calibration(self.setting.sticky), |bench| bench.calibration)
    }

    fn notes(&self) -> Vec<String> {
        let named = self.rule.tolerate.is_some();
        let tolerates = self.bench.as_ref().and_then(|bench| bench.tolerate.times);
        let few = tolerates.and_then(|times| few_targets_note(named, times));
        let impossible = self.impossible.then(|| {
            "minutes with more bad than total are counted as all bad: is this a counter of events?".to_owned()
        });
        [self.calibration().note(self.setting.sticky), few, impossible].into_iter().flatten().collect()
    }

    /// Canary requests still needed to prove health, if the canary is as good as stable.
    fn requests_needed(&self) -> Option<f64> {
        if self.is_healthy() {
            return Some(0.0);
        }
        let bench = self.bench.as_ref()?;
        let rate = LearntRate::from_past(arm(self.learnt));
        let information = bench.within.information(rate, share_of(self.step)?);
        samples_needed(self.health.missing(), information, bench.calibration.design_effect)
    }
}
