//! The judge of classes: how samples spread over them, such as a model's answers.
//!
//! Each class against the rest, in both directions, since more of a class is no better than less. The evidence
//! of the check is the mean over classes and directions.

use super::check::{CLASS_COMMON, CLASS_RARE, ClassesCheck, OTHER_CLASS, STICKY_TOLERATE};
use super::evidence::{
    BurnInTables, CHECKED, Calibration, Releases, Setting, Stakes, Temper, arm, few_targets_note,
    largest_effect, samples_needed, share_of, table,
};
use super::timeline::{Exclusion, Place};
use super::verdict::{CheckEvidence, PartEvidence};
use super::window::{Arm, ArmCounts, Row, Tally};
use crate::stats::{
    self, ALTERNATIVE_MULTIPLIERS, CeiledEvidence, LearntRate, OddsGrid, OddsRatio, Table,
    odds_health_information,
};
use crate::units::Times;
use std::collections::BTreeSet;

/// Alternatives in one direction.
const ONE_WAY: usize = ALTERNATIVE_MULTIPLIERS.len();
/// More of the class; the null of less, less; equal, and the two odds that health must exclude.
const ODDS: usize = 2 * ONE_WAY + 4;
/// Classes named in a note.
const NAMED: usize = 5;

/// Evidence that a class is more or less frequent than tolerated.
#[derive(Debug, Clone)]
struct BothWays {
    odds: OddsGrid<ODDS>,
    harm: [Stakes<ONE_WAY>; 2],
}

impl BothWays {
    fn new(tolerated: Times, allowed: Times, calibration: Calibration) -> Self {
        let odds = |ratio: f64| OddsRatio::new(ratio).expect(CHECKED);
        let both = |times: Times| [calibration.against(), calibration.in_favour()].map(|c| c * times.ratio());
        let ([up, down], [above, below]) = (both(tolerated), both(allowed));
        let mut alternatives = [odds(1.0); ODDS];
        for (k, multiplier) in ALTERNATIVE_MULTIPLIERS.iter().enumerate() {
            alternatives[k] = odds(up * multiplier);
            alternatives[ONE_WAY + 1 + k] = odds(down * multiplier).reciprocal();
        }
        alternatives[ONE_WAY] = odds(down).reciprocal();
        alternatives[ODDS - 2] = odds(above);
        alternatives[ODDS - 1] = odds(below).reciprocal();
        Self { odds: OddsGrid::new(odds(up), alternatives), harm: Default::default() }
    }

    /// Weighs a minute; answers its log evidence of health in both directions.
    fn weigh(&mut self, table: Table, release: stats::Release, temper: Temper) -> [f64; 2] {
        let all = table.ln_likelihood_ratios(&self.odds);
        let (more, rest) = all.split_at(ONE_WAY);
        let less = &rest[1..=ONE_WAY];
        let [equal, above, below] = [ODDS - 3, ODDS - 2, ODDS - 1].map(|at| all[at]);
        let relative = |to: f64, of: &[f64]| std::array::from_fn(|k| of[k] - to);
        self.harm[0].step(release, relative(0.0, more), temper);
        self.harm[1].step(release, relative(rest[0], less), temper);
        [equal - above, equal - below].map(|ln_e| ln_e / temper.design_effect.get())
    }

    fn e(&self) -> f64 {
        stats::mean(self.harm.iter().map(Stakes::e))
    }
}

/// Everything about a class that is fixed at the first minute that is judged.
#[derive(Debug, Clone)]
struct Bench {
    calibration: Calibration,
    drain: BothWays,
    /// Sticky clients: evidence at the plan's own margin, that drains nothing.
    advice: Option<BothWays>,
    allowed: f64,
    releases: Releases,
}

/// One class on its way through a window.
#[derive(Debug, Clone)]
struct Class<'a> {
    name: &'a str,
    burn_in: BurnInTables,
    bench: Option<Bench>,
    health: [CeiledEvidence; 2],
    step: [Tally; 2],
    /// How common the class is in each arm, stable first, in all minutes so far.
    seen: [Tally; 2],
    /// Samples of each arm in the minute that is looked at. They stay here so that a minute takes no memory.
    minute: [u64; 2],
}

impl<'a> Class<'a> {
    fn new(name: &'a str, beta: f64) -> Self {
        Self {
            name,
            burn_in: BurnInTables::default(),
            bench: None,
            health: [(); 2].map(|()| CeiledEvidence::new(beta).expect(CHECKED)),
            step: Default::default(),
            seen: Default::default(),
            minute: [0; 2],
        }
    }

    fn open_step(&mut self, beta: f64) {
        self.step = Default::default();
        self.health = [(); 2].map(|()| CeiledEvidence::new(beta).expect(CHECKED));
        if let Some(bench) = &mut self.bench {
            bench.releases.open_step();
        }
    }

    /// Weighs a minute, in both directions.
    fn weigh(&mut self, table: Table, tolerate: Times, within: Times, setting: &Setting) {
        let bench = self.bench.get_or_insert_with(|| bench(&self.burn_in, tolerate, within, setting.sticky));
        let temper = Temper { design_effect: bench.calibration.design_effect, cap: setting.cap };
        let release = bench.releases.next();
        if let Some(advice) = &mut bench.advice {
            advice.weigh(table, release, temper);
        }
        let ln_e = bench.drain.weigh(table, release, temper);
        for (health, ln_e) in self.health.iter_mut().zip(ln_e) {
            health.step(ln_e).expect("log e-values of checked counts are finite");
        }
    }

    /// What counts, or what would count from now on.
    fn calibration(&self, sticky: bool) -> Calibration {
        self.bench.as_ref().map_or_else(|| self.burn_in.calibration(sticky), |bench| bench.calibration)
    }

    fn e_harm(&self) -> f64 {
        self.bench.as_ref().map_or(1.0, |bench| bench.drain.e())
    }

    fn log_e_health(&self) -> f64 {
        self.health[0].ln_e().min(self.health[1].ln_e())
    }

    /// Its larger part of the samples of one arm.
    fn part(&self) -> f64 {
        self.seen[0].rate().max(self.seen[1].rate())
    }

    /// Something was counted for it, perhaps only rare classes.
    fn is_there(&self) -> bool {
        self.part() > 0.0 || self.step.iter().any(|tally| tally.bad > 0)
    }

    /// Rare in both arms, as far as the minutes before tell.
    fn is_rare(&self) -> bool {
        self.seen[0].total > 0 && self.part() < CLASS_RARE.fraction()
    }

    fn is_healthy(&self) -> bool {
        self.health.iter().all(CeiledEvidence::is_at_ceiling)
    }

    fn samples_needed(&self) -> Option<f64> {
        if self.is_healthy() {
            return Some(0.0);
        }
        let bench = self.bench.as_ref()?;
        let rate = LearntRate::from_past(arm(self.seen[0]));
        let allowed = OddsRatio::new(bench.allowed).ok()?;
        let information = odds_health_information(rate, allowed, share_of(self.step)?).ok();
        let missing = self.health[0].missing().max(self.health[1].missing());
        samples_needed(missing, information, bench.calibration.design_effect)
    }
}

/// Classes on their way through a window.
#[derive(Debug, Clone)]
pub(super) struct ClassesJudge<'a> {
    name: &'a str,
    rule: &'a ClassesCheck,
    setting: Setting,
    classes: Vec<Class<'a>>,
    tolerate: Option<Times>,
    unknown: BTreeSet<String>,
}

impl<'a> ClassesJudge<'a> {
    pub(super) fn new(name: &'a str, rule: &'a ClassesCheck, setting: &Setting) -> Self {
        let names = rule.values.iter().map(String::as_str).chain([OTHER_CLASS]);
        Self {
            name,
            rule,
            setting: setting.clone(),
            classes: names.map(|name| Class::new(name, setting.beta)).collect(),
            tolerate: None,
            unknown: BTreeSet::new(),
        }
    }

    /// Looks at a minute; answers how many samples each arm has, stable first.
    pub(super) fn see(&mut self, row: &Row, place: Place) -> [u64; 2] {
        if place.opens_step {
            self.classes.iter_mut().for_each(|class| class.open_step(self.setting.beta));
        }
        let mut count = |at: usize, arm| row.arm(arm).and_then(|counts| self.count(at, counts));
        let totals = [count(0, Arm::Stable), count(1, Arm::Canary)];
        if let [Some(stable), Some(canary)] = totals {
            self.compare(row, place, [stable, canary]);
        }
        self.learn(totals);
        totals.map(Option::unwrap_or_default)
    }

    /// Counts a minute of one arm by the plan's classes; answers all samples of the arm.
    fn count(&mut self, arm: usize, counts: &ArmCounts) -> Option<u64> {
        let classes = counts.classes(self.name)?;
        self.classes.iter_mut().for_each(|class| class.minute[arm] = 0);
        for (class, count) in classes {
            let at = self.rule.values.iter().position(|value| value == class);
            if at.is_none() && !self.unknown.contains(class) {
                self.unknown.insert(class.clone());
            }
            // The last one is "other".
            self.classes[at.unwrap_or(self.rule.values.len())].minute[arm] += count;
        }
        Some(classes.values().sum())
    }

    /// Learns from a minute how common classes are; it is judged by the minutes before.
    fn learn(&mut self, totals: [Option<u64>; 2]) {
        for (arm, total) in totals.into_iter().enumerate() {
            let Some(total) = total else { continue };
            for class in &mut self.classes {
                class.seen[arm].add(Tally { bad: class.minute[arm], total });
            }
        }
    }

    /// Each class against the rest, rare ones counted as "other".
    fn compare(&mut self, row: &Row, place: Place, totals: [u64; 2]) {
        let weighed = place.exclusion.is_none().then(|| self.tolerated(row));
        let last = self.classes.len() - 1;
        let rare = self.classes[..last].iter().filter(|class| class.is_rare());
        let rare =
            rare.fold([0; 2], |[stable, canary], class| [stable + class.minute[0], canary + class.minute[1]]);
        for (at, class) in self.classes.iter_mut().enumerate() {
            let is_rare = at < last && class.is_rare();
            let [stable, canary] = [0, 1].map(|arm| {
                let bad = match at {
                    _ if is_rare => 0,
                    _ if at == last => class.minute[arm] + rare[arm],
                    _ => class.minute[arm],
                };
                Tally { bad, total: totals[arm] }
            });
            match (weighed, place.exclusion) {
                (Some(tolerate), _) => {
                    class.step[0].add(stable);
                    class.step[1].add(canary);
                    class.weigh(table(stable, canary), tolerate, self.rule.promote_within, &self.setting);
                }
                (None, Some(Exclusion::BurnIn)) => class.burn_in.see(table(stable, canary)),
                (None, _) => {}
            }
        }
    }

    /// What is tolerated from the first minute on that is judged.
    fn tolerated(&mut self, row: &Row) -> Times {
        let tolerate = self.rule.tolerate.unwrap_or_else(|| self.setting.default_tolerance(row));
        *self.tolerate.get_or_insert(tolerate)
    }

    pub(super) fn e_harm(&self) -> f64 {
        stats::mean(self.classes.iter().map(Class::e_harm))
    }

    /// Evidence at the plan's own margin where only a larger one drains.
    pub(super) fn e_advice(&self) -> Option<f64> {
        let advice = |class: &Class<'_>| Some(class.bench.as_ref()?.advice.as_ref()?.e());
        let parts: Option<Vec<f64>> = self.classes.iter().map(advice).collect();
        Some(stats::mean(parts?.into_iter()))
    }

    /// The classes that health is asked of: the common ones, or the most common one if none is.
    fn common(&self) -> impl Iterator<Item = &Class<'a>> {
        let most = self.classes.iter().map(Class::part).fold(0.0, f64::max);
        let least = most.min(CLASS_COMMON.fraction());
        self.classes.iter().filter(move |class| class.part() >= least && class.part() > 0.0)
    }

    fn asks_for_health(&self, class: &Class<'_>) -> bool {
        self.common().any(|common| common.name == class.name)
    }

    pub(super) fn log_e_health(&self) -> f64 {
        self.common().map(Class::log_e_health).reduce(f64::min).unwrap_or(0.0)
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.common().next().is_some() && self.common().all(Class::is_healthy)
    }

    pub(super) fn evidence(&self, weight: f64) -> CheckEvidence {
        let worst = self.classes.iter().max_by(|a, b| a.e_harm().total_cmp(&b.e_harm()));
        let worst = worst.expect("there is a class");
        let needed: Option<Vec<f64>> = self.common().map(Class::samples_needed).collect();
        let part = |class: &Class<'_>| PartEvidence {
            name: class.name.to_owned(),
            log_e_harm: class.e_harm().ln(),
            log_e_health: self.asks_for_health(class).then(|| class.log_e_health()),
            stable: class.step[0],
            canary: class.step[1],
            requests_needed: self.asks_for_health(class).then(|| class.samples_needed()).flatten(),
        };
        CheckEvidence {
            name: self.name.to_owned(),
            log_e_harm: self.e_harm().ln(),
            log_e_health: self.log_e_health(),
            log_e_abort: None,
            stable: worst.step[0],
            canary: worst.step[1],
            weight,
            parts: self.classes.iter().filter(|class| class.is_there()).map(part).collect(),
            notes: self.notes(),
            design_effect: largest_effect(
                self.classes.iter().map(|class| class.calibration(self.setting.sticky)),
            ),
            requests_needed: needed
                .filter(|needed| !needed.is_empty())
                .map(|needed| needed.into_iter().fold(0.0, f64::max)),
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.unknown.is_empty() {
            let named: Vec<&str> = self.unknown.iter().take(NAMED).map(String::as_str).collect();
            let more = self.unknown.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            notes.push(format!(
                "classes that the plan does not name count as {OTHER_CLASS}: {}{more}",
                named.join(", ")
            ));
        }
        let rare = self.classes.iter().filter(|class| class.name != OTHER_CLASS && class.is_rare());
        let rare: Vec<&str> = rare.map(|class| class.name).collect();
        if !rare.is_empty() {
            notes.push(format!("rarer than {CLASS_RARE} and counted as {OTHER_CLASS}: {}", rare.join(", ")));
        }
        notes.extend(self.classes[0].calibration(self.setting.sticky).note(self.setting.sticky));
        let named = self.rule.tolerate.is_some();
        notes.extend(self.tolerate.and_then(|times| few_targets_note(named, times)));
        notes
    }
}

fn bench(burn_in: &BurnInTables, tolerate: Times, within: Times, sticky: bool) -> Bench {
    let calibration = burn_in.calibration(sticky);
    let cautious = calibration.only_advises(sticky, tolerate);
    let margin = if cautious { STICKY_TOLERATE } else { tolerate };
    let both = |times: Times| BothWays::new(times, within, calibration);
    Bench {
        calibration,
        drain: both(margin),
        advice: cautious.then(|| both(tolerate)),
        allowed: within.ratio() * calibration.against(),
        releases: Releases::default(),
    }
}
