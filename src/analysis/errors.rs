//! The judge of the `errors` check.
//!
//! Harm: the canary's odds of an error against stable's, minute by minute, given each minute's totals, so
//! that neither the base rate nor the weights matter; and a rate above `ignore_below`; both must hold.
//! Health: both arms' rates against the nearest pair of rates that the plan does not allow.

use super::check::{ABORT_ALPHA, ErrorsCheck, Rules, STICKY_DESIGN_EFFECT, Tolerance};
use super::tally::{ErrorTally, UnderWay};
use super::timeline::{Exclusion, Place};
use super::verdict::CheckEvidence;
use super::window::{self, Row, Tally};
use crate::stats::{
    ALTERNATIVE_MULTIPLIERS, Allowance, Arm, CeiledEvidence, DesignEffect, ExcessGrid, LearntRate, OddsGrid,
    OddsRatio, RateLimit, Release, RestartedMixture, Table, health_information, requests_needed,
};

/// Rules are checked before they get here; what the numeric types refuse cannot come out of a plan.
const CHECKED: &str = "the plan's checks keep this in range";

/// Evidence that grows minute by minute, with stakes set aside for a later start.
#[derive(Debug, Clone, Default)]
struct Stakes<const K: usize> {
    mixture: RestartedMixture<K>,
}

impl<const K: usize> Stakes<K> {
    fn step(&mut self, release: Release, ln_lr: [f64; K], design_effect: f64, cap: Option<f64>) {
        let tempered = ln_lr.map(|l| l / design_effect);
        self.mixture.step(release, &tempered, cap).expect("likelihood ratios of checked counts are finite");
    }

    fn ln_e(&self) -> f64 {
        self.mixture.ln_e()
    }
}

/// The evidence against "no worse than tolerated": each null that the plan grants has its own, and the
/// weakest counts, which is evidence against all of them together.
#[derive(Debug, Clone)]
struct Harm {
    times: Option<(OddsGrid<8>, Stakes<8>)>,
    points: Option<(ExcessGrid<8>, Stakes<8>)>,
    floor: (RateLimit<5>, Stakes<5>),
}

impl Harm {
    fn new(rule: &ErrorsCheck) -> Self {
        let Tolerance { times, points } = rule.tolerate;
        let times = times.map(|times| (grid(times.ratio()), Stakes::default()));
        let points = points.map(|points| {
            let excess = ExcessGrid::new(points.fraction(), ALTERNATIVE_MULTIPLIERS).expect(CHECKED);
            (excess, Stakes::default())
        });
        Self { times, points, floor: (limit(rule.ignore_below.fraction()), Stakes::default()) }
    }

    fn step(&mut self, table: Table, rate: LearntRate, release: Release, d: f64, cap: Option<f64>) {
        if let Some((grid, stakes)) = &mut self.times {
            stakes.step(release, table.ln_likelihood_ratios(grid), d, cap);
        }
        if let Some((excess, stakes)) = &mut self.points {
            stakes.step(release, excess.ln_e(table, rate), d, cap);
        }
        self.floor.1.step(release, self.floor.0.ln_likelihood_ratios(table.first()), d, cap);
    }

    fn ln_e(&self) -> f64 {
        let times = self.times.as_ref().map(|(_, stakes)| stakes.ln_e());
        let points = self.points.as_ref().map(|(_, stakes)| stakes.ln_e());
        [times, points].into_iter().flatten().fold(self.floor.1.ln_e(), f64::min)
    }
}

/// The immediate trigger: no cap and no design effect, from the very first minute.
#[derive(Debug, Clone)]
struct Abort {
    limit: (RateLimit<5>, Stakes<5>),
    /// Worse than stable at all, if the plan asks for that.
    relative: Option<(OddsGrid<8>, Stakes<8>)>,
    started: bool,
}

impl Abort {
    fn new(above: f64, only_if_worse: bool) -> Self {
        Self {
            limit: (limit(above), Stakes::default()),
            relative: only_if_worse.then(|| (grid(1.0), Stakes::default())),
            started: false,
        }
    }

    fn step(&mut self, table: Table, opens_step: bool) {
        let release = release(self.started, opens_step);
        self.started = true;
        let ln_lr = self.limit.0.ln_likelihood_ratios(table.first());
        self.limit.1.step(release, ln_lr, 1.0, None);
        if let Some((grid, stakes)) = &mut self.relative {
            stakes.step(release, table.ln_likelihood_ratios(grid), 1.0, None);
        }
    }

    fn ln_e(&self) -> f64 {
        let relative = self.relative.as_ref().map_or(f64::INFINITY, |(_, stakes)| stakes.ln_e());
        self.limit.1.ln_e().min(relative)
    }
}

fn grid(psi0: f64) -> OddsGrid<8> {
    OddsGrid::above(OddsRatio::new(psi0).expect(CHECKED)).expect(CHECKED)
}

fn limit(rate: f64) -> RateLimit<5> {
    RateLimit::at_most(rate).expect(CHECKED)
}

fn release(started: bool, opens_step: bool) -> Release {
    match (started, opens_step) {
        (false, _) => Release::First,
        (true, true) => Release::NewStep,
        (true, false) => Release::Later,
    }
}

fn arm(tally: Tally) -> Arm {
    Arm::new(tally.bad, tally.total).expect("a tally has no more bad than total")
}

/// The check on its way through a window.
#[derive(Debug, Clone)]
pub(super) struct ErrorsJudge<'a> {
    name: &'a str,
    rule: &'a ErrorsCheck,
    weight: f64,
    design_effect: DesignEffect,
    cap: Option<f64>,
    false_promotion: f64,
    allowance: Allowance,
    harm: Harm,
    health: CeiledEvidence,
    abort: Option<Abort>,
    /// One for each arm, stable first.
    errors: [ErrorTally; 2],
    /// What stable has shown of its answer times so far.
    under_way: UnderWay,
    /// What stable has shown so far, excluded minutes and the baseline included.
    learnt: Tally,
    step: [Tally; 2],
    started: bool,
    /// The step's first judged minute is still to come.
    step_opens: bool,
    abort_opens: bool,
}

impl<'a> ErrorsJudge<'a> {
    pub(super) fn new(name: &'a str, rule: &'a ErrorsCheck, rules: &Rules, sticky: bool) -> Self {
        let beta = rules.false_promotion.fraction();
        let Tolerance { times, points } = rule.promote_within;
        let allowance = Allowance::new(
            times.map_or(1.0, crate::units::Times::ratio),
            points.map_or(0.0, crate::units::Rate::fraction),
        );
        Self {
            name,
            rule,
            weight: 1.0 / rules.checks.len() as f64,
            design_effect: DesignEffect::new(if sticky { STICKY_DESIGN_EFFECT } else { 1.0 }).expect(CHECKED),
            cap: rules.minute_cap(),
            false_promotion: beta,
            allowance: allowance.expect(CHECKED),
            harm: Harm::new(rule),
            health: CeiledEvidence::new(beta).expect(CHECKED),
            abort: rule.abort_above.map(|above| Abort::new(above.fraction(), rule.only_if_worse_than_stable)),
            errors: Default::default(),
            under_way: UnderWay::default(),
            learnt: Tally::default(),
            step: Default::default(),
            started: false,
            step_opens: false,
            abort_opens: false,
        }
    }

    /// Looks at a minute, given the one after it if that is there.
    pub(super) fn see(&mut self, row: &Row, following: Option<&Row>, place: Place) {
        let mut tally = |at: usize, arm: window::Arm| {
            let after = following.and_then(|row| row.arm(arm));
            row.arm(arm).map(|counts| self.errors[at].next(counts, after, self.under_way, self.rule))
        };
        let (stable, canary) = (tally(0, window::Arm::Stable), tally(1, window::Arm::Canary));
        if place.opens_step {
            self.open_step();
        }
        if let (Some(stable), Some(canary)) = (stable, canary) {
            if place.exclusion != Some(Exclusion::Baseline) {
                self.look_for_abort(stable, canary);
            }
            if place.exclusion.is_none() {
                self.weigh(stable, canary);
            }
        }
        if let (Some(stable), Some(counts)) = (stable, &row.stable) {
            self.learnt.add(stable);
            self.under_way.learn(counts);
        }
    }

    fn open_step(&mut self) {
        self.step = Default::default();
        self.health = CeiledEvidence::new(self.false_promotion).expect(CHECKED);
        self.step_opens = true;
        self.abort_opens = true;
    }

    fn look_for_abort(&mut self, stable: Tally, canary: Tally) {
        if let Some(abort) = &mut self.abort {
            let table = Table::new(arm(canary), arm(stable)).expect(CHECKED);
            abort.step(table, self.abort_opens);
            self.abort_opens = false;
        }
    }

    fn weigh(&mut self, stable: Tally, canary: Tally) {
        let table = Table::new(arm(canary), arm(stable)).expect(CHECKED);
        let rate = LearntRate::from_past(arm(self.learnt));
        let release = release(self.started, self.step_opens);
        (self.started, self.step_opens) = (true, false);
        self.harm.step(table, rate, release, self.design_effect.get(), self.cap);
        let ln_e = self.allowance.ln_e(table, rate) / self.design_effect.get();
        self.health.step(ln_e).expect("log e-values of checked counts are finite");
        self.step[0].add(stable);
        self.step[1].add(canary);
    }

    pub(super) fn name(&self) -> &str {
        self.name
    }

    /// Its part of the rollout's evidence.
    pub(super) fn weight(&self) -> f64 {
        self.weight
    }

    pub(super) fn log_e_harm(&self) -> f64 {
        self.harm.ln_e()
    }

    pub(super) fn log_e_health(&self) -> f64 {
        self.health.ln_e()
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.health.is_at_ceiling()
    }

    /// The immediate trigger has gone off.
    pub(super) fn aborts(&self) -> bool {
        let needed = -ABORT_ALPHA.fraction().ln();
        self.abort.as_ref().is_some_and(|abort| abort.ln_e() >= needed)
    }

    pub(super) fn evidence(&self) -> CheckEvidence {
        CheckEvidence {
            name: self.name.to_owned(),
            log_e_harm: self.log_e_harm(),
            log_e_health: self.log_e_health(),
            log_e_abort: self.abort.as_ref().map(Abort::ln_e),
            stable: self.step[0],
            canary: self.step[1],
            design_effect: self.design_effect.get(),
            requests_needed: self.requests_needed(),
        }
    }

    /// Canary requests still needed to prove health, if the canary is as good as stable: what is missing
    /// of the evidence, divided by what one request is expected to add.
    fn requests_needed(&self) -> Option<f64> {
        let [stable, canary] = self.step;
        if canary.total == 0 || self.is_healthy() {
            return self.is_healthy().then_some(0.0);
        }
        let rate = LearntRate::from_past(arm(self.learnt));
        let share = canary.total as f64 / (canary.total + stable.total) as f64;
        let information = health_information(rate, &self.allowance, share).ok()?;
        requests_needed(self.health.missing(), information, self.design_effect)
    }
}
