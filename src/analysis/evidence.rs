//! What the checks' judges are made of: evidence that grows minute by minute.

use super::check::{
    FEW_TARGETS, Rules, STICKY_DESIGN_EFFECT, STICKY_TOLERATE, TOLERATE_FEW_TARGETS, usual_tolerance,
};
use super::window::{Row, Tally};
use crate::stats::{
    self, DESIGN_EFFECT_MAX, DesignEffect, OddsRatio, RateLimit, Release, RestartedMixture, Table,
};
use crate::units::Times;

/// Rules are checked before they get here; what the numeric types refuse cannot come out of a plan.
pub(super) const CHECKED: &str = "the plan's checks keep this in range";

/// Two arms of so many bits each are what the numeric layer takes.
const LARGEST_BITS: u32 = 48;
/// A design effect in a burn-in that independent requests do not have: the arms differ by more than chance.
const NOT_EXCHANGEABLE: f64 = 3.0;
/// Informative minutes of a burn-in without which it has shown nothing ...
const BURN_IN_MINUTES_MIN: usize = 10;
/// ... and bad samples that the canary should have had in them: without any, arms look alike by chance.
const BURN_IN_BAD_MIN: f64 = 20.0;
/// Standard errors that an offset between groups of one version must be away from none, to be believed.
const OFFSET_ERRORS: f64 = 2.0;
/// Two groups of one version that differ by more are not two groups of one version.
const OFFSET_MAX: f64 = 100.0;

/// Evidence of harm on `K` alternatives, with stakes set aside for a later start.
#[derive(Debug, Clone, Default)]
pub(super) struct Stakes<const K: usize> {
    mixture: RestartedMixture<K>,
}

impl<const K: usize> Stakes<K> {
    pub(super) fn step(&mut self, release: Release, ln_lr: [f64; K], temper: Temper) {
        let Temper { design_effect, cap } = temper;
        let step = self.mixture.step_tempered(release, &ln_lr, design_effect, cap);
        step.expect("ratios of checked counts are finite");
    }

    /// The evidence itself: a look every minute is cheaper without logarithms.
    pub(super) fn e(&self) -> f64 {
        self.mixture.e()
    }
}

/// What evidence is tempered with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Temper {
    /// Divides every log likelihood ratio.
    pub(super) design_effect: DesignEffect,
    /// The most that one minute may add.
    pub(super) cap: Option<f64>,
}

impl Temper {
    /// As it is.
    pub(super) const NONE: Self = Self { design_effect: DesignEffect::NONE, cap: None };
}

/// How much of the stakes a minute releases: the first judged minute, the first of a step, any other.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Releases {
    started: bool,
    step_opens: bool,
}

impl Releases {
    pub(super) fn open_step(&mut self) {
        self.step_opens = true;
    }

    pub(super) fn next(&mut self) -> Release {
        let release = match *self {
            Self { started: false, .. } => Release::First,
            Self { step_opens: true, .. } => Release::NewStep,
            _ => Release::Later,
        };
        *self = Self { started: true, step_opens: false };
        release
    }
}

/// What holds for every check of a rollout.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// Chance of a false promotion.
    pub(super) beta: f64,
    /// See [`Rules::minute_cap`].
    pub(super) cap: Option<f64>,
    /// See [`Rules::decide_within`].
    pub(super) decide_within_minutes: f64,
    /// Clients stick to the group that served them first.
    pub(super) sticky: bool,
    /// Canary targets, if that is known beforehand.
    pub(super) canary_targets: Option<u64>,
}

impl Setting {
    pub(super) fn new(rules: &Rules, sticky: bool, canary_targets: Option<u64>) -> Self {
        Self {
            beta: rules.false_promotion.fraction(),
            cap: rules.minute_cap(),
            decide_within_minutes: rules.decide_within.minutes() as f64,
            sticky,
            canary_targets,
        }
    }

    /// The tolerance of a plan that names none, at the first minute that is judged.
    pub(super) fn default_tolerance(&self, row: &Row) -> Times {
        let seen = row.canary.as_ref().and_then(|counts| counts.healthy_hosts);
        usual_tolerance(self.canary_targets.or(seen))
    }
}

/// What the same version in both groups shows of one comparison.
#[derive(Debug, Clone, Default)]
pub(super) struct BurnInTables {
    tables: Vec<Table>,
}

/// How a comparison is calibrated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Calibration {
    /// Divides the evidence.
    pub(super) design_effect: DesignEffect,
    /// Odds, canary to stable, that have nothing to do with the version; 1 if nothing is known.
    pub(super) offset: f64,
    /// It comes from a burn-in.
    pub(super) measured: bool,
}

impl BurnInTables {
    pub(super) fn see(&mut self, table: Table) {
        if !table.margins().is_degenerate() {
            self.tables.push(table);
        }
    }

    /// Measured where a burn-in has shown enough, assumed else.
    pub(super) fn calibration(&self, sticky: bool) -> Calibration {
        let assumed = if sticky { design_effect(STICKY_DESIGN_EFFECT) } else { DesignEffect::NONE };
        let expected_bad: f64 = self.tables.iter().map(|table| table.expected_bad()).sum();
        if self.tables.len() < BURN_IN_MINUTES_MIN || expected_bad < BURN_IN_BAD_MIN {
            return Calibration { design_effect: assumed, offset: 1.0, measured: false };
        }
        let common = stats::mantel_haenszel(&self.tables);
        let centre = common.map_or(OddsRatio::ONE, |common| common.ratio);
        let estimate = if sticky { DesignEffect::estimate_with_bursts } else { DesignEffect::estimate };
        let mut measured = estimate(&self.tables, centre).unwrap_or(assumed);
        if sticky {
            // The mean of so many squared deviations is uncertain itself, and bursts of a client make it more so.
            let errors = 2.0 * (2.0 / self.tables.len() as f64).sqrt();
            measured = design_effect(measured.get() * (1.0 + errors));
        }
        let offset = common.map_or(1.0, |common| common.surely(OFFSET_ERRORS, measured));
        let offset = offset.clamp(1.0 / OFFSET_MAX, OFFSET_MAX);
        Calibration { design_effect: measured, offset, measured: true }
    }
}

fn design_effect(value: f64) -> DesignEffect {
    DesignEffect::new(value.min(DESIGN_EFFECT_MAX)).expect(CHECKED)
}

impl Calibration {
    /// What a person must know of it.
    pub(super) fn note(self, sticky: bool) -> Option<String> {
        let Self { design_effect, offset, measured } = self;
        let design_effect = design_effect.get();
        if !measured {
            return sticky.then(|| {
                format!(
                    "clients are sticky: evidence is divided by {design_effect} (no burn-in has measured it)"
                )
            });
        }
        let mut note = format!(
            "burn-in: {design_effect:.1} times noisier than independent requests, and odds of {offset:.2}x \
                     between groups of one version"
        );
        if design_effect > NOT_EXCHANGEABLE && !sticky {
            note.push_str("; the arms are not exchangeable: clients or hosts differ");
        }
        Some(note)
    }

    /// Sticky clients whose noise nobody has measured: at this tolerance, evidence of latency and classes is
    /// advice, and only [`STICKY_TOLERATE`] drains.
    pub(super) fn only_advises(self, sticky: bool, tolerated: Times) -> bool {
        sticky && !self.measured && tolerated < STICKY_TOLERATE
    }

    /// How many times more bad the canary's group is whatever its version. An offset in its favour is not
    /// charged to it: it may be luck.
    pub(super) fn against(self) -> f64 {
        self.offset.max(1.0)
    }

    /// The same in the other direction.
    pub(super) fn in_favour(self) -> f64 {
        self.offset.recip().max(1.0)
    }

    /// An odds ratio that the version alone may have, as it shows between these arms.
    pub(super) fn shifted(self, times: f64) -> OddsRatio {
        OddsRatio::new((times * self.against()).min(stats::ODDS_RATIO_MAX)).expect(CHECKED)
    }
}

/// The largest of the parts' design effects, 1 if none is calibrated yet.
pub(super) fn largest_effect(parts: impl Iterator<Item = Calibration>) -> f64 {
    parts.map(|calibration| calibration.design_effect.get()).fold(1.0, f64::max)
}

/// A tolerance that is larger since there are few targets.
pub(super) fn few_targets_note(named: bool, tolerates: Times) -> Option<String> {
    (!named && tolerates == TOLERATE_FEW_TARGETS).then(|| {
        format!(
            "fewer than {FEW_TARGETS} canary targets: tolerates {tolerates}, since one bad host would look like a \
             bad version"
        )
    })
}

/// A limit for one arm alone.
pub(super) fn limit(rate: f64) -> RateLimit<5> {
    RateLimit::at_most(rate).expect(CHECKED)
}

/// One arm's counts for the numeric layer.
pub(super) fn arm(tally: Tally) -> stats::Arm {
    // A sum that is larger than any reader lets a minute be: its rate is what counts.
    let halvings = (u64::BITS - tally.total.leading_zeros()).saturating_sub(LARGEST_BITS);
    let total = tally.total >> halvings;
    stats::Arm::new((tally.bad >> halvings).min(total), total).expect("no more bad than total, both in range")
}

/// A minute as a table, canary first.
pub(super) fn table(stable: Tally, canary: Tally) -> Table {
    Table::new(arm(canary), arm(stable)).expect(CHECKED)
}

/// Canary samples still needed to prove health: what is missing of the evidence, divided by what one sample is
/// expected to add.
pub(super) fn samples_needed(
    missing: f64,
    information: Option<f64>,
    design_effect: DesignEffect,
) -> Option<f64> {
    stats::requests_needed(missing, information?, design_effect)
}

/// The canary's part of all samples of a step; `None` without one of the arms.
pub(super) fn share_of(step: [Tally; 2]) -> Option<f64> {
    let [stable, canary] = step.map(|tally| tally.total as f64);
    (stable > 0.0 && canary > 0.0).then(|| canary / (canary + stable))
}
