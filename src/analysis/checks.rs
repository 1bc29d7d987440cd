//! One judge for each kind of check, behind one face.

use super::check::{Check, CheckRule, ErrorsCheck, Rules};
use super::classes::ClassesJudge;
use super::distribution::DistributionJudge;
use super::evidence::Setting;
use super::rate::{RateJudge, RateRule};
use super::silence::Unsampled;
use super::tally::{ErrorTally, UnderWay};
use super::threshold::{Threshold, Thresholds};
use super::timeline::Place;
use super::verdict::CheckEvidence;
use super::window::{Arm, Row};

/// A check on its way through a window.
#[derive(Debug, Clone)]
pub(super) struct CheckJudge<'a> {
    name: &'a str,
    weight: f64,
    unsampled: Unsampled,
    kind: Kind<'a>,
}

#[derive(Debug, Clone)]
enum Kind<'a> {
    Errors(Box<Errors<'a>>),
    Ratio(Box<RateJudge>),
    Distribution(Box<DistributionJudge<'a>>),
    Classes(Box<ClassesJudge<'a>>),
}

/// Errors are told from status classes and from requests without an answer.
#[derive(Debug, Clone)]
struct Errors<'a> {
    rule: &'a ErrorsCheck,
    rate: RateJudge,
    /// One for each arm, stable first.
    tallies: [ErrorTally; 2],
    /// What stable has shown of its answer times so far.
    under_way: UnderWay,
}

impl Errors<'_> {
    fn see(&mut self, row: &Row, following: Option<&Row>, place: Place) {
        let mut tally = |at: usize, arm: Arm| {
            let after = following.and_then(|row| row.arm(arm));
            row.arm(arm).map(|counts| self.tallies[at].next(counts, after, self.under_way, self.rule))
        };
        let (stable, canary) = (tally(0, Arm::Stable), tally(1, Arm::Canary));
        self.rate.see(row, place, stable, canary);
        if let Some(counts) = &row.stable {
            self.under_way.learn(counts);
        }
    }
}

impl<'a> CheckJudge<'a> {
    pub(super) fn new(check: &'a Check, rules: &Rules, setting: &Setting, thresholds: &Thresholds) -> Self {
        let name = check.name.as_str();
        let kind = match &check.rule {
            CheckRule::Errors(rule) => Kind::Errors(Box::new(Errors {
                rule,
                rate: RateJudge::new(RateRule::from(rule), setting),
                tallies: Default::default(),
                under_way: UnderWay::default(),
            })),
            CheckRule::Ratio(rule) => Kind::Ratio(Box::new(RateJudge::new(RateRule::from(rule), setting))),
            CheckRule::Latency(rule) | CheckRule::Values(rule) => {
                let settled = thresholds.get(name);
                Kind::Distribution(Box::new(DistributionJudge::new(check, rule, setting, settled)))
            }
            CheckRule::Classes(rule) => Kind::Classes(Box::new(ClassesJudge::new(name, rule, setting))),
        };
        Self { name, weight: rules.weight(check), unsampled: Unsampled::default(), kind }
    }

    /// Looks at a minute, given the one after it if that is there.
    pub(super) fn see(&mut self, row: &Row, following: Option<&Row>, place: Place) {
        let ratio = |arm: Arm| row.arm(arm).and_then(|counts| counts.ratio(self.name));
        let [stable, canary] = match &mut self.kind {
            Kind::Errors(errors) => {
                errors.see(row, following, place);
                // How long errors are silent is told by the whole row.
                return;
            }
            Kind::Ratio(rate) => {
                let tallies = Arm::BOTH.map(ratio);
                rate.see(row, place, tallies[0], tallies[1]);
                tallies.map(|tally| tally.map_or(0, |tally| tally.total))
            }
            Kind::Distribution(distribution) => distribution.see(row, place),
            Kind::Classes(classes) => classes.see(row, place),
        };
        if row.stable.is_some() && row.canary.is_some() {
            self.unsampled.see(row.share, stable, canary);
        }
    }

    /// Minutes since the canary published a sample, if they are too many.
    pub(super) fn silent_for(&self, blind_after_minutes: u64) -> Option<u32> {
        self.unsampled.for_minutes(blind_after_minutes)
    }

    pub(super) fn name(&self) -> &str {
        self.name
    }

    /// Its evidence of harm.
    pub(super) fn e_harm(&self) -> f64 {
        match &self.kind {
            Kind::Errors(errors) => errors.rate.e_harm(),
            Kind::Ratio(rate) => rate.e_harm(),
            Kind::Distribution(distribution) => distribution.e_harm(),
            Kind::Classes(classes) => classes.e_harm(),
        }
    }

    /// Its part of the rollout's evidence.
    pub(super) fn weight(&self) -> f64 {
        self.weight
    }

    /// What it adds to the rollout's evidence.
    pub(super) fn e_weighted(&self) -> f64 {
        self.weight * self.e_harm()
    }

    /// The same at the plan's own margin, where clients are sticky and only a larger one drains.
    pub(super) fn e_advice_weighted(&self) -> Option<f64> {
        let advice = match &self.kind {
            Kind::Errors(_) | Kind::Ratio(_) => None,
            Kind::Distribution(distribution) => distribution.e_advice(),
            Kind::Classes(classes) => classes.e_advice(),
        };
        advice.map(|e| self.weight * e)
    }

    pub(super) fn log_e_health(&self) -> f64 {
        match &self.kind {
            Kind::Errors(errors) => errors.rate.log_e_health(),
            Kind::Ratio(rate) => rate.log_e_health(),
            Kind::Distribution(distribution) => distribution.log_e_health(),
            Kind::Classes(classes) => classes.log_e_health(),
        }
    }

    pub(super) fn is_healthy(&self) -> bool {
        match &self.kind {
            Kind::Errors(errors) => errors.rate.is_healthy(),
            Kind::Ratio(rate) => rate.is_healthy(),
            Kind::Distribution(distribution) => distribution.is_healthy(),
            Kind::Classes(classes) => classes.is_healthy(),
        }
    }

    fn rate(&self) -> Option<&RateJudge> {
        match &self.kind {
            Kind::Errors(errors) => Some(&errors.rate),
            Kind::Ratio(rate) => Some(rate),
            Kind::Distribution(_) | Kind::Classes(_) => None,
        }
    }

    /// The immediate trigger has gone off.
    pub(super) fn aborts(&self) -> bool {
        self.rate().is_some_and(RateJudge::aborts)
    }

    /// What convicts it is its absolute limit.
    pub(super) fn is_above_slo(&self) -> bool {
        self.rate().is_some_and(RateJudge::is_above_slo)
    }

    /// Thresholds for the record, if it has any.
    pub(super) fn settled(&self) -> Option<Vec<Threshold>> {
        match &self.kind {
            Kind::Distribution(distribution) => distribution.settled(),
            _ => None,
        }
    }

    pub(super) fn evidence(&self) -> CheckEvidence {
        match &self.kind {
            Kind::Errors(errors) => errors.rate.evidence(self.name, self.weight),
            Kind::Ratio(rate) => rate.evidence(self.name, self.weight),
            Kind::Distribution(distribution) => distribution.evidence(self.weight),
            Kind::Classes(classes) => classes.evidence(self.weight),
        }
    }
}
