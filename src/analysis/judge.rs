//! The judge: minute by minute over the whole window, then one answer.
//!
//! A look every minute breaks ordinary tests. The evidence here is a product of likelihood ratios (an
//! e-process), which stays below 1/alpha with probability 1 - alpha however often it is looked at, so the
//! first minute that crosses the line convicts, also if no tick looked just then.

use serde::{Deserialize, Serialize};

use super::check::{ErrorsCheck, Rules};
use super::checks::CheckJudge;
use super::evidence::Setting;
use super::silence::Silence;
use super::split::SplitWatch;
use super::tally::{ErrorTally, UnderWay};
use super::threshold::Thresholds;
use super::timeline::{Exclusion, Place, Timeline};
use super::verdict::{Blast, CheckEvidence, Judgement, Reason, StepProgress, Verdict};
use super::window::{Arm, Row, Window};
use crate::stats;
use crate::units::{Minute, Share};

/// What the judge must know beside the window and the rules.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Clients stick to the group that served them first.
    pub sticky: bool,
    /// Why the window is not whole, if it is not.
    pub unread: Option<String>,
    /// Thresholds that were settled before the first shift; others are learnt on the way.
    pub thresholds: Thresholds,
    /// When both groups stop to run the same version, if the plan asks for a burn-in.
    pub burn_in: BurnIn,
    /// Targets of the canary group at the start; `None`: as the window says, if it does.
    pub canary_targets: Option<u64>,
    /// Another system raises the share, in steps too short to prove anything on each: all of the shift is judged as
    /// one step.
    #[serde(default)]
    pub whole_shift: bool,
}

/// When a burn-in ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BurnIn {
    /// After as many minutes of the first step as the plan says.
    #[default]
    AsPlanned,
    /// Not yet.
    Open,
    /// When this minute began.
    Ended(Minute),
}

/// Judges a whole window.
#[must_use]
pub fn judge(window: &Window, rules: &Rules, conditions: &Conditions) -> Judgement {
    let mut ledger = Ledger::new(rules, conditions);
    let mut convicted = None;
    let mut rows = window.rows().peekable();
    while let Some(row) = rows.next() {
        let following = rows.peek().copied().filter(|next| next.minute.since(row.minute) == 1);
        ledger.see(row, following);
        convicted = convicted.or_else(|| ledger.conviction(row.minute));
    }
    ledger.judgement(convicted.as_ref(), conditions.unread.as_deref())
}

/// The judge on its way through a window.
///
/// Whether a request was answered is known a minute later, so the newest minute is weighed twice: for each
/// answer, by its status classes alone, and for good when the next one is there.
#[derive(Debug, Clone)]
pub struct Judge<'a> {
    /// All minutes but the newest, for good.
    settled: Ledger<'a>,
    /// The newest minute.
    newest: Option<Row>,
    /// By a minute that is settled.
    convicted: Option<Reason>,
}

impl<'a> Judge<'a> {
    /// A judge who has seen nothing yet.
    #[must_use]
    pub fn new(rules: &'a Rules, conditions: &Conditions) -> Self {
        Self { settled: Ledger::new(rules, conditions), newest: None, convicted: None }
    }

    /// Looks at the next minute. Minutes come in order, each once.
    pub fn see(&mut self, row: &Row) {
        if let Some(before) = self.newest.replace(row.clone()) {
            let following = (row.minute.since(before.minute) == 1).then_some(row);
            self.settled.see(&before, following);
            self.convicted = self.convicted.take().or_else(|| self.settled.conviction(before.minute));
        }
    }

    /// The answer after the last minute seen, given why the window is not whole, if it is not.
    #[must_use]
    pub fn judgement(&self, unread: Option<&str>) -> Judgement {
        let Some(newest) = &self.newest else {
            return self.settled.judgement(None, unread);
        };
        let mut ledger = self.settled.clone();
        ledger.see(newest, None);
        let convicted = self.convicted.clone().or_else(|| ledger.conviction(newest.minute));
        ledger.judgement(convicted.as_ref(), unread)
    }
}

/// What the judge has found in the minutes so far.
#[derive(Debug, Clone)]
struct Ledger<'a> {
    rules: &'a Rules,
    sticky: bool,
    whole_shift: bool,
    checks: Vec<CheckJudge<'a>>,
    split: SplitWatch,
    timeline: Timeline,
    progress: Option<StepProgress>,
    last: Option<Minute>,
    silence: Silence,
    exposure: Exposure,
}

impl<'a> Ledger<'a> {
    fn new(rules: &'a Rules, conditions: &Conditions) -> Self {
        let setting = Setting::new(rules, conditions.sticky, conditions.canary_targets);
        let checks =
            rules.checks.iter().map(|check| CheckJudge::new(check, rules, &setting, &conditions.thresholds));
        Self {
            rules,
            sticky: conditions.sticky,
            whole_shift: conditions.whole_shift,
            checks: checks.collect(),
            split: SplitWatch::default(),
            timeline: Timeline::new(conditions.burn_in).with_whole_shift(conditions.whole_shift),
            progress: None,
            last: None,
            silence: Silence::default(),
            exposure: Exposure::default(),
        }
    }

    fn see(&mut self, row: &Row, following: Option<&Row>) {
        let place = self.timeline.place(row, self.rules);
        self.last = Some(row.minute);
        self.advance_step(row, place);
        self.silence.see(row);
        self.split.see(row, place);
        let counts = self.timeline.is_past_burn_in(row.minute, self.rules);
        self.exposure.see(row, following, self.rules, counts);
        for check in &mut self.checks {
            check.see(row, following, place);
        }
    }

    fn advance_step(&mut self, row: &Row, place: Place) {
        let Some((share, since)) = self.timeline.step() else {
            self.progress = None;
            return;
        };
        if place.opens_step {
            self.progress = None;
        }
        let progress = self.progress.get_or_insert(StepProgress {
            share,
            since,
            minutes: 0,
            judged: 0,
            stable_requests: 0,
            canary_requests: 0,
        });
        if !matches!(place.exclusion, Some(Exclusion::Incomplete | Exclusion::BurnIn | Exclusion::WarmUp)) {
            progress.minutes += 1;
        }
        if place.exclusion.is_none() {
            let requests = |arm| row.arm(arm).map_or(0, |counts| counts.requests);
            progress.judged += 1;
            progress.stable_requests += requests(Arm::Stable);
            progress.canary_requests += requests(Arm::Canary);
        }
    }

    /// Whether the evidence suffices at this minute, or the damage. Evidence is named first: who has it need
    /// not ask whether it was chance.
    fn conviction(&self, minute: Minute) -> Option<Reason> {
        self.proof(minute).or_else(|| self.exposure.overspent(self.rules.bad_request_budget?, minute))
    }

    /// Whether the evidence suffices. The immediate trigger is named first: it is the plainer reason, and
    /// either one drains.
    fn proof(&self, minute: Minute) -> Option<Reason> {
        if let Some(check) = self.checks.iter().find(|check| check.aborts()) {
            return Some(Reason::AboveAbort { check: check.name().to_owned(), minute });
        }
        if self.e_harm() < self.rules.convicting() {
            return None;
        }
        let worst = self.worst()?;
        let check = worst.name().to_owned();
        Some(match worst.is_above_slo() {
            true => Reason::AboveSlo { check, minute },
            false => Reason::WorseThanStable { check, minute },
        })
    }

    /// The evidence of harm over all checks: their weighted mean, which is evidence of the same strength whatever
    /// the checks have in common.
    fn e_harm(&self) -> f64 {
        stats::weighted_mean(self.checks.iter().map(|check| (check.weight(), check.e_harm())))
    }

    /// The check with the most evidence of harm.
    fn worst(&self) -> Option<&CheckJudge<'a>> {
        self.checks.iter().max_by(|a, b| a.e_weighted().total_cmp(&b.e_weighted()))
    }

    fn judgement(&self, convicted: Option<&Reason>, unread: Option<&str>) -> Judgement {
        let (verdict, reason) = self.answer(convicted, unread);
        let per_minute = self.canary_requests_per_minute();
        let checks: Vec<CheckEvidence> = self.checks.iter().map(CheckJudge::evidence).collect();
        Judgement {
            minute: self.last,
            verdict,
            reason,
            log_e_harm: self.e_harm().ln(),
            minutes_to_verdict: self.minutes_to_verdict(&checks, per_minute, verdict),
            checks,
            thresholds: self.thresholds(),
            step: self.progress.clone(),
            blind_minutes: self.silence.minutes,
            blast: self.exposure.blast,
        }
    }

    /// A window that was not read whole speaks neither for the canary nor against it: a missing series of
    /// successes looks like requests without an answer, a missing series of stable's errors like a canary
    /// that is worse.
    fn answer(&self, convicted: Option<&Reason>, unread: Option<&str>) -> (Verdict, Reason) {
        if let Some(detail) = unread {
            return (Verdict::Blind, Reason::ReadIncomplete { detail: detail.to_owned() });
        }
        if let Some(reason) = convicted {
            return (Verdict::Harmful, reason.clone());
        }
        let (Some(progress), Some(minute)) = (&self.progress, self.last) else {
            return (Verdict::Undecided, Reason::NoTraffic);
        };
        let blind_after = self.rules.blind_after.minutes();
        if let Some(reason) = self.silence.reason(blind_after) {
            return (Verdict::Blind, reason);
        }
        let missing = self.missing(progress, minute);
        missing.map_or((Verdict::Healthy, Reason::Proven), |reason| (Verdict::Undecided, reason))
    }

    /// The first thing that health still lacks.
    fn missing(&self, progress: &StepProgress, minute: Minute) -> Option<Reason> {
        let left = |minutes: i64| u32::try_from(minutes.max(0)).unwrap_or(u32::MAX);
        if let Some(burn_in) = self.timeline.burn_in_left(minute, self.rules) {
            return Some(Reason::BurningIn { minutes_left: (burn_in > 0).then(|| left(burn_in)) });
        }
        let warm_up = self.timeline.warm_up_left(minute, self.rules);
        if warm_up > 0 {
            return Some(Reason::WarmingUp { minutes_left: left(warm_up) });
        }
        let suspicious = self.rules.convicting().sqrt();
        if let Some(check) = self.checks.iter().find(|check| check.e_harm() >= suspicious) {
            return Some(Reason::HarmSuspected { check: check.name().to_owned() });
        }
        if let Some(check) = self.advised() {
            return Some(Reason::SuspectedOfSticky { check: check.name().to_owned() });
        }
        // In the increments of another system's shift the share of a minute is not known so well.
        if let Some(reason) = self.split.reason(self.sticky).filter(|_| !self.whole_shift) {
            return Some(reason);
        }
        let blind_after = self.rules.blind_after.minutes();
        let silent = self.checks.iter().find_map(|check| Some((check, check.silent_for(blind_after)?)));
        if let Some((check, minutes)) = silent {
            return Some(Reason::CheckSilent { check: check.name().to_owned(), minutes });
        }
        let unproven = self.checks.iter().filter(|check| !check.is_healthy());
        if let Some(check) = unproven.min_by(|a, b| a.log_e_health().total_cmp(&b.log_e_health())) {
            return Some(Reason::NotYetProven { check: check.name().to_owned() });
        }
        let requests = [(Arm::Canary, progress.canary_requests), (Arm::Stable, progress.stable_requests)];
        let need = self.rules.min_requests;
        if let Some((arm, have)) = requests.into_iter().find(|(_, have)| *have < need) {
            return Some(Reason::TooFewRequests { arm, have, need });
        }
        let bake = self.rules.bake.whole_minutes();
        let baking = bake - i64::from(progress.minutes);
        if baking > 0 {
            return Some(Reason::Baking { minutes_left: left(baking) });
        }
        // A gap at the very end: the last minute must be one that was judged.
        (self.silence.minutes > 0).then_some(Reason::NoData { minutes: self.silence.minutes })
    }

    /// A check that would drain if clients were not sticky.
    fn advised(&self) -> Option<&CheckJudge<'a>> {
        let convicts = |e: f64| e >= self.rules.convicting();
        self.checks.iter().find(|check| check.e_advice_weighted().is_some_and(convicts))
    }

    fn thresholds(&self) -> Thresholds {
        let of_check = |check: &CheckJudge<'_>| Some((check.name().to_owned(), check.settled()?));
        self.checks.iter().filter_map(of_check).collect()
    }

    fn canary_requests_per_minute(&self) -> f64 {
        match &self.progress {
            Some(progress) if progress.judged > 0 => {
                progress.canary_requests as f64 / f64::from(progress.judged)
            }
            _ => 0.0,
        }
    }

    /// About how long a canary as good as stable still needs on this step.
    fn minutes_to_verdict(&self, checks: &[CheckEvidence], per_minute: f64, verdict: Verdict) -> Option<u32> {
        let progress = self.progress.as_ref()?;
        if verdict != Verdict::Undecided || per_minute <= 0.0 {
            return None;
        }
        let fewest = progress.canary_requests.min(progress.stable_requests);
        let lacking = self.rules.min_requests.saturating_sub(fewest) as f64;
        let judged = f64::from(progress.judged);
        // Each check has samples of its own, which need not be requests.
        let of_check = |check: &CheckEvidence| {
            let samples = check.canary.total as f64 / judged;
            check.requests_needed.filter(|_| samples > 0.0).map(|needed| needed / samples)
        };
        let evidence = checks.iter().filter_map(of_check).fold(0.0, f64::max);
        let bake = self.rules.bake.minutes() as f64 - f64::from(progress.minutes);
        let minutes = (lacking / per_minute).max(evidence).max(bake).ceil();
        (minutes.is_finite() && minutes < f64::from(u32::MAX)).then_some(minutes.max(1.0) as u32)
    }
}

/// Sums up what the canary has done so far, in every minute with a share, judged or not.
#[derive(Debug, Clone, Default)]
struct Exposure {
    blast: Blast,
    under_way: UnderWay,
    stable: ErrorTally,
    canary: ErrorTally,
    /// The part of the excess that counts against the budget: of the new version, where stable is there to say
    /// what it would have given.
    spent: f64,
}

impl Exposure {
    /// By the plan's rule for errors, or the default one if it has none.
    fn see(&mut self, row: &Row, following: Option<&Row>, rules: &Rules, counts: bool) {
        let standard = ErrorsCheck::default();
        let rule = rules.errors().unwrap_or(&standard);
        let after = |arm| following.and_then(|row| row.arm(arm));
        let under_way = self.under_way;
        let stable = row.stable.as_ref().map(|c| self.stable.next(c, after(Arm::Stable), under_way, rule));
        let canary = row.canary.as_ref().map(|c| self.canary.next(c, after(Arm::Canary), under_way, rule));
        if let Some(stable) = &row.stable {
            self.under_way.learn(stable);
        }
        if row.share == Share::ZERO {
            return;
        }
        self.blast.minutes += 1;
        if let Some(canary) = canary {
            let expected = stable.map_or(0.0, |stable| stable.rate()) * canary.total as f64;
            let excess = canary.bad as f64 - expected;
            self.blast.requests += canary.total;
            self.blast.excess_bad += excess;
            if counts && stable.is_some_and(|stable| stable.total > 0) {
                self.spent += excess;
            }
        }
    }

    /// Whether the damage is more than the plan puts up with.
    fn overspent(&self, budget: u64, minute: Minute) -> Option<Reason> {
        let over = self.spent > budget as f64;
        over.then(|| Reason::BudgetSpent { excess: self.spent.ceil() as u64, budget, minute })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::check::{CheckRule, ErrorsCheck, TOLERATE, Tolerance};
    use crate::analysis::window::ArmCounts;
    use crate::units::{Rate, Span, Times};

    fn start() -> Minute {
        "2026-03-01T10:00:00Z".parse().unwrap()
    }

    fn counts(requests: u64, failed: u64) -> ArmCounts {
        ArmCounts {
            requests,
            http_2xx: Some(requests - failed),
            http_5xx: Some(failed),
            ..ArmCounts::default()
        }
    }

    /// 50 requests a second at 5 %: stable fails 9 of 2,850 a minute, the canary `failed` of 150.
    fn row(at: i64, failed: u64) -> Row {
        Row {
            minute: start().plus(at),
            share: Share::from_percent(5.0).unwrap(),
            stable: Some(counts(2_850, 9)),
            canary: Some(counts(150, failed)),
        }
    }

    fn judged(rows: &[Row], rules: &Rules) -> Judgement {
        judge(&rows.iter().cloned().collect(), rules, &Conditions::default())
    }

    fn errors_rule(rule: ErrorsCheck) -> Rules {
        let mut rules = Rules::default();
        rules.checks[0].rule = CheckRule::Errors(rule);
        rules
    }

    #[test]
    fn a_canary_as_good_as_stable_is_healthy_when_bake_and_requests_are_reached() {
        let rows: Vec<_> = (0..40).map(|at| row(at, u64::from(at % 2 == 0))).collect();
        let verdicts: Vec<_> = (1..=40).map(|n| judged(&rows[..n], &Rules::default()).verdict).collect();
        let first = verdicts.iter().position(|v| *v == Verdict::Healthy).unwrap();
        assert!(first + 1 >= 15, "healthy after {} minutes, before the bake was over", first + 1);
        assert!(first < 20, "healthy only after {} minutes", first + 1);
        assert!(!verdicts.contains(&Verdict::Harmful));
    }

    #[test]
    fn both_arms_need_their_minimum_of_requests_on_every_step() {
        let need = 5_000;
        let rules = Rules { min_requests: need, ..Rules::default() };
        let rows: Vec<_> = (0..40).map(|at| row(at, 0)).collect();
        let too_few = Reason::TooFewRequests { arm: Arm::Canary, have: 33 * 150, need };
        assert_eq!(judged(&rows[..33], &rules).reason, too_few);
        assert_eq!(judged(&rows[..34], &rules).verdict, Verdict::Healthy);
        let most = |at| Row {
            share: Share::from_percent(95.0).unwrap(),
            stable: Some(counts(150, 0)),
            canary: Some(counts(2_850, 0)),
            ..row(at, 0)
        };
        let rows: Vec<_> = (0..33).map(most).collect();
        let too_few = Reason::TooFewRequests { arm: Arm::Stable, have: 33 * 150, need };
        assert_eq!(judged(&rows, &rules).reason, too_few);
    }

    #[test]
    fn a_canary_whose_newest_minute_nobody_saw_is_not_healthy() {
        let mut rows: Vec<_> = (0..30).map(|at| row(at, 0)).collect();
        assert_eq!(judged(&rows, &Rules::default()).verdict, Verdict::Healthy);
        rows.push(Row { stable: None, canary: None, ..row(30, 0) });
        let judgement = judged(&rows, &Rules::default());
        assert_eq!(
            (judgement.verdict, judgement.reason),
            (Verdict::Undecided, Reason::NoData { minutes: 1 })
        );
    }

    #[test]
    fn the_incident_is_convicted_within_minutes_and_not_by_one_burst() {
        // 2.1 % against 0.3 %.
        let rows: Vec<_> = (0..12).map(|at| row(at, 3)).collect();
        let judgement = judged(&rows, &Rules::default());
        assert_eq!(judgement.verdict, Verdict::Harmful);
        let Reason::WorseThanStable { check, minute } = judgement.reason else { panic!("{judgement:?}") };
        assert_eq!(check, "errors");
        assert!((2..8).contains(&minute.since(start())), "{minute}");
        let burst: Vec<_> = (0..3).map(|at| row(at, if at == 1 { 12 } else { 0 })).collect();
        assert_ne!(judged(&burst, &Rules::default()).verdict, Verdict::Harmful);
    }

    #[test]
    fn a_verdict_once_reached_in_the_window_is_not_lost_when_no_tick_looked_then() {
        let mut rows: Vec<_> = (0..12).map(|at| row(at, 3)).collect();
        rows.extend((12..200).map(|at| row(at, 0)));
        assert_eq!(judged(&rows, &Rules::default()).verdict, Verdict::Harmful);
    }

    #[test]
    fn the_immediate_trigger_takes_one_minute_but_more_than_bad_luck() {
        let rules = Rules { warm_up: Span::from_minutes(5), ..Rules::default() };
        let judgement = judged(&[row(0, 45)], &rules);
        assert!(matches!(judgement.reason, Reason::AboveAbort { .. }), "{judgement:?}");
        let few = |bad| Row { canary: Some(counts(bad, bad)), ..row(0, 0) };
        assert_eq!(judged(&[few(2)], &rules).verdict, Verdict::Undecided);
        assert_eq!(judged(&[few(5)], &rules).verdict, Verdict::Undecided);
        assert_eq!(judged(&[few(20)], &rules).verdict, Verdict::Harmful);
    }

    #[test]
    fn the_immediate_trigger_does_not_block_a_fix_while_stable_burns() {
        let burning =
            |at| Row { stable: Some(counts(2_850, 900)), canary: Some(counts(150, 45)), ..row(at, 0) };
        let rows: Vec<_> = (0..5).map(burning).collect();
        assert_eq!(judged(&rows, &Rules::default()).verdict, Verdict::Undecided);
        let strict = errors_rule(ErrorsCheck { only_if_worse_than_stable: false, ..ErrorsCheck::default() });
        assert_eq!(judged(&rows, &strict).verdict, Verdict::Harmful);
    }

    #[test]
    fn an_outage_of_both_arms_convicts_nobody() {
        let both = |at| Row { stable: Some(counts(2_850, 150)), canary: Some(counts(150, 8)), ..row(at, 0) };
        let rows: Vec<_> = (0..60).map(|at| if at < 10 { row(at, 0) } else { both(at) }).collect();
        assert_ne!(judged(&rows, &Rules::default()).verdict, Verdict::Harmful);
    }

    #[test]
    fn rates_that_the_plan_ignores_never_convict() {
        let rare = |at| Row { stable: Some(counts(28_500, 0)), canary: Some(counts(1_500, 1)), ..row(at, 0) };
        let rows: Vec<_> = (0..240).map(rare).collect();
        assert_ne!(judged(&rows, &Rules::default()).verdict, Verdict::Harmful);
        let strict = errors_rule(ErrorsCheck {
            ignore_below: Rate::percent_const(0.0),
            tolerate: Some(Tolerance::times(Times::constant(1.0))),
            ..ErrorsCheck::default()
        });
        assert_eq!(judged(&rows, &strict).verdict, Verdict::Harmful);
    }

    #[test]
    fn tolerated_points_add_to_the_tolerated_ratio() {
        let rows: Vec<_> = (0..60).map(|at| row(at, 3)).collect();
        let lenient = errors_rule(ErrorsCheck {
            tolerate: Some(Tolerance { times: Some(TOLERATE), points: Some(Rate::percent_const(3.0)) }),
            ..ErrorsCheck::default()
        });
        assert_ne!(judged(&rows, &lenient).verdict, Verdict::Harmful);
        let points = errors_rule(ErrorsCheck {
            tolerate: Some(Tolerance { times: None, points: Some(Rate::percent_const(0.5)) }),
            ..ErrorsCheck::default()
        });
        assert_eq!(judged(&rows, &points).verdict, Verdict::Harmful);
    }

    #[test]
    fn warm_up_is_not_judged_and_is_reported() {
        let rules = Rules { warm_up: Span::from_minutes(10), ..Rules::default() };
        let rows: Vec<_> = (0..10).map(|at| row(at, 3)).collect();
        let early = judged(&rows[..4], &rules);
        assert_eq!(early.reason, Reason::WarmingUp { minutes_left: 6 });
        assert!(judged(&rows, &rules).log_e_harm.abs() < 1e-9);
    }

    #[test]
    fn a_canary_that_falls_silent_is_blind_and_never_healthy() {
        let mut rows: Vec<_> = (0..30).map(|at| row(at, 0)).collect();
        assert_eq!(judged(&rows, &Rules::default()).verdict, Verdict::Healthy);
        rows.extend((30..34).map(|at| Row { canary: Some(counts(0, 0)), ..row(at, 0) }));
        assert_eq!(judged(&rows, &Rules::default()).verdict, Verdict::Undecided);
        rows.push(Row { canary: None, ..row(34, 0) });
        let judgement = judged(&rows, &Rules::default());
        assert_eq!(judgement.reason, Reason::CanarySilent { minutes: 5 });
        assert_eq!(judgement.verdict, Verdict::Blind);
    }

    #[test]
    fn a_slow_service_has_empty_minutes_without_being_blind() {
        let slow = |at, requests| Row {
            stable: Some(counts(20, 0)),
            canary: Some(counts(requests, 0)),
            ..row(at, 0)
        };
        let rows: Vec<_> = (0..8).map(|at| slow(at, u64::from(at == 0))).collect();
        assert_eq!(judged(&rows, &Rules::default()).verdict, Verdict::Undecided);
        let idle: Vec<_> = (0..8)
            .map(|at| Row { stable: Some(counts(0, 0)), canary: Some(counts(0, 0)), ..row(at, 0) })
            .collect();
        assert_eq!(judged(&idle, &Rules::default()).verdict, Verdict::Undecided);
    }

    #[test]
    fn no_data_at_all_is_blind_after_blind_after() {
        let gone = |at| Row { stable: None, canary: None, ..row(at, 0) };
        let rows: Vec<_> = (0..5).map(gone).collect();
        assert_eq!(judged(&rows[..4], &Rules::default()).verdict, Verdict::Undecided);
        assert_eq!(judged(&rows, &Rules::default()).reason, Reason::NoData { minutes: 5 });
    }

    #[test]
    fn a_window_that_was_not_read_whole_is_blind_however_good_it_looks() {
        let window: Window = (0..40).map(|at| row(at, 0)).collect();
        let conditions = Conditions { unread: Some("PartialData".into()), ..Conditions::default() };
        let judgement = judge(&window, &Rules::default(), &conditions);
        assert_eq!(judgement.verdict, Verdict::Blind);
        let bad: Window = (0..40).map(|at| row(at, 30)).collect();
        assert_eq!(judge(&bad, &Rules::default(), &conditions).verdict, Verdict::Blind, "nor however bad");
    }

    #[test]
    fn minutes_that_nobody_saw_do_not_count_as_bake_time() {
        let mut rows: Vec<_> = (0..10).map(|at| row(at, 0)).collect();
        rows.extend((10..59).map(|at| Row { stable: None, canary: None, ..row(at, 0) }));
        rows.push(row(59, 0));
        assert_eq!(judged(&rows, &Rules::default()).reason, Reason::Baking { minutes_left: 4 });
    }

    #[test]
    fn a_minute_that_is_published_in_part_sets_off_no_immediate_trigger() {
        let partial = ArmCounts { requests: 150, http_2xx: Some(100), ..ArmCounts::default() };
        let mut rows: Vec<_> = (0..10).map(|at| row(at, 0)).collect();
        rows.push(Row { canary: Some(partial.clone()), ..row(10, 0) });
        assert_ne!(judged(&rows, &Rules::default()).verdict, Verdict::Harmful);
        // Still in part a minute later, and in the next: those requests were never answered.
        rows.push(row(11, 0));
        let judgement = judged(&rows, &Rules::default());
        assert!(matches!(judgement.reason, Reason::AboveAbort { .. }), "{judgement:?}");
        // Whole a minute later: CloudWatch was late.
        rows[10] = row(10, 0);
        assert_ne!(judged(&rows, &Rules::default()).verdict, Verdict::Harmful);
    }

    /// Minutes of a service whose every request is answered, after 0.5 to 1.5 times `seconds`: an hour of
    /// stable alone, then two hours with the canary at 5 %.
    fn slow_service(seconds: f64, per_minute: f64, mut seed: u64) -> Vec<Row> {
        let mut uniform = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut counts = vec![[[0_u64; 2]; 2]; 182];
        let mut at = 0.0_f64;
        while at < 180.0 {
            at += -(1.0 - uniform()).ln() / per_minute;
            let canary = usize::from(at >= 60.0 && uniform() < 0.05);
            let answered = at + seconds / 60.0 * (0.5 + uniform());
            counts[at as usize][canary][0] += 1;
            counts[(answered as usize).min(181)][canary][1] += 1;
        }
        let arm = |[requests, answers]: [u64; 2]| ArmCounts {
            requests,
            http_2xx: Some(answers),
            ..ArmCounts::default()
        };
        (0..180)
            .map(|at| Row {
                share: Share::from_percent(if at < 60 { 0.0 } else { 5.0 }).unwrap(),
                stable: Some(arm(counts[at][0])),
                canary: (at >= 60).then(|| arm(counts[at][1])),
                ..row(at as i64, 0)
            })
            .collect()
    }

    #[test]
    fn a_slow_service_that_answers_every_request_is_not_drained() {
        for (seconds, per_second) in
            [(0.1, 50.0), (2.0, 20.0), (5.0, 20.0), (10.0, 5.0), (20.0, 20.0), (30.0, 20.0)]
        {
            for seed in 1..=8 {
                let rows = slow_service(seconds, 60.0 * per_second, seed);
                let judgement = judged(&rows, &Rules::default());
                assert_ne!(judgement.verdict, Verdict::Harmful, "{seconds} s, seed {seed}: {judgement:?}");
            }
        }
    }

    #[test]
    fn requests_that_get_no_answer_are_found_within_minutes_also_in_a_slow_service() {
        for seconds in [0.1, 5.0] {
            let mut rows = slow_service(seconds, 3_000.0, 3);
            for row in &mut rows[100..] {
                let canary = row.canary.as_mut().unwrap();
                canary.http_2xx = canary.http_2xx.map(|answers| answers - answers / 10);
            }
            let found =
                (100..180).find(|n| judged(&rows[..*n], &Rules::default()).verdict == Verdict::Harmful);
            assert!(found.is_some_and(|n| n <= 108), "{seconds} s: found {found:?}");
        }
    }

    #[test]
    fn health_starts_anew_on_every_step_and_harm_does_not() {
        let mut rows: Vec<_> = (0..30).map(|at| row(at, 0)).collect();
        rows.extend((30..33).map(|at| Row { share: Share::from_percent(25.0).unwrap(), ..row(at, 0) }));
        let judgement = judged(&rows, &Rules::default());
        assert_eq!(judgement.verdict, Verdict::Undecided);
        assert_eq!(judgement.step.unwrap().judged, 1, "the shift minute and the next are left out");
        assert!(judgement.checks[0].log_e_health < Rules::default().ln_acquit());
        assert!(judgement.log_e_harm < 0.0, "an hour of good behaviour is remembered");
    }

    #[test]
    fn sticky_clients_make_the_evidence_weaker() {
        let window: Window = (0..12).map(|at| row(at, 3)).collect();
        let sticky = Conditions { sticky: true, ..Conditions::default() };
        let judgement = judge(&window, &Rules::default(), &sticky);
        assert_eq!(judgement.verdict, Verdict::Undecided);
        assert!((judgement.checks[0].design_effect - 10.0).abs() < f64::EPSILON);
    }

    #[test]
    fn late_minutes_in_any_order_give_the_same_judgement_bit_by_bit() {
        let rows: Vec<_> = (0..20).map(|at| row(at, (at % 4) as u64)).collect();
        let straight = judged(&rows, &Rules::default());
        let mut shuffled = rows;
        shuffled.reverse();
        shuffled.rotate_left(7);
        assert_eq!(judged(&shuffled, &Rules::default()), straight);
    }

    #[test]
    fn the_exposure_counts_every_minute_with_a_share() {
        let rows: Vec<_> = (0..10).map(|at| row(at, 3)).collect();
        let blast = judged(&rows, &Rules::default()).blast;
        assert_eq!((blast.minutes, blast.requests), (10, 1_500));
        let expected = 30.0 - 1_500.0 * 9.0 / 2_850.0;
        assert!((blast.excess_bad - expected).abs() < 1e-9);
    }

    fn budget(requests: u64) -> Rules {
        Rules { bad_request_budget: Some(requests), ..Rules::default() }
    }

    /// The canary of [`row`], and stable without an error: each failure is one too many.
    fn flawless(at: i64, failed: u64) -> Row {
        Row { stable: Some(counts(2_850, 0)), ..row(at, failed) }
    }

    #[test]
    fn a_canary_whose_damage_is_above_the_budget_is_harmful_although_nothing_is_proven() {
        // One request in 150 more than stable's 0.3 % or so: ten times too little data for a proof.
        let rows: Vec<_> = (0..8).map(|at| row(at, 1)).collect();
        assert_ne!(judged(&rows, &Rules::default()).verdict, Verdict::Harmful);
        let judgement = judged(&rows, &budget(3));
        let minute = start().plus(5);
        assert_eq!(judgement.reason, Reason::BudgetSpent { excess: 4, budget: 3, minute });
        assert_eq!(judgement.verdict, Verdict::Harmful);
        assert_eq!(
            judgement.reason.to_string(),
            "the canary has given 4 more errors than stable would have, more than bad_request_budget (3)"
        );
    }

    #[test]
    fn an_unlucky_canary_within_its_budget_is_left_alone_and_at_the_budget_is_not_over_it() {
        let rows: Vec<_> = (0..10).map(|at| flawless(at, u64::from(at < 5))).collect();
        let without = judged(&rows, &Rules::default());
        assert_ne!(without.verdict, Verdict::Harmful);
        assert_eq!(judged(&rows, &budget(5)), without);
        let over = judged(&rows, &budget(4));
        assert_eq!(over.reason, Reason::BudgetSpent { excess: 5, budget: 4, minute: start().plus(4) });
        assert_eq!((over.checks, over.blast, over.step), (without.checks, without.blast, without.step));
    }

    #[test]
    fn a_budget_once_spent_is_not_won_back_by_good_minutes() {
        let mut rows: Vec<_> = (0..6).map(|at| flawless(at, 1)).collect();
        let burning = |at| Row { stable: Some(counts(2_850, 90)), ..row(at, 0) };
        rows.extend((6..20).map(burning));
        let judgement = judged(&rows, &budget(5));
        assert!(judgement.blast.excess_bad < 0.0, "{:?}", judgement.blast);
        assert!(matches!(judgement.reason, Reason::BudgetSpent { .. }), "{}", judgement.reason);
    }

    #[test]
    fn the_budget_counts_in_warm_up_and_not_while_both_groups_run_one_version() {
        let rows: Vec<_> = (0..10).map(|at| flawless(at, 1)).collect();
        let warming = Rules { warm_up: Span::from_minutes(60), ..budget(4) };
        assert_eq!(judged(&rows, &warming).verdict, Verdict::Harmful);
        let burning_in = Rules { burn_in: Span::from_minutes(6), ..budget(4) };
        assert_eq!(judged(&rows, &burning_in).verdict, Verdict::Undecided);
        let longer: Vec<_> = (0..11).map(|at| flawless(at, 1)).collect();
        let minute = start().plus(10);
        let spent = Reason::BudgetSpent { excess: 5, budget: 4, minute };
        assert_eq!(judged(&longer, &burning_in).reason, spent);
    }

    #[test]
    fn errors_that_stable_has_too_or_that_nobody_can_compare_do_not_spend_the_budget() {
        let both = |at| Row { stable: Some(counts(2_850, 950)), canary: Some(counts(150, 50)), ..row(at, 0) };
        let rows: Vec<_> = (0..30).map(both).collect();
        assert_ne!(judged(&rows, &budget(1)).verdict, Verdict::Harmful);
        let alone = |at, stable| Row { stable, ..row(at, 3) };
        let rows = [alone(0, None), alone(1, Some(counts(0, 0))), alone(2, None)];
        assert_ne!(judged(&rows, &budget(1)).verdict, Verdict::Harmful);
        let bad: Window = (0..40).map(|at| flawless(at, 3)).collect();
        let conditions = Conditions { unread: Some("PartialData".into()), ..Conditions::default() };
        assert_eq!(judge(&bad, &budget(1), &conditions).verdict, Verdict::Blind);
    }

    #[test]
    fn proof_of_harm_is_named_before_a_spent_budget() {
        let judgement = judged(&[row(0, 45)], &budget(1));
        assert!(matches!(judgement.reason, Reason::AboveAbort { .. }), "{judgement:?}");
        let rows: Vec<_> = (0..12).map(|at| row(at, 3)).collect();
        let convicted = judged(&rows, &Rules::default()).reason;
        assert!(matches!(convicted, Reason::WorseThanStable { .. }));
        assert_eq!(judged(&rows, &budget(1_000)).reason, convicted);
    }

    #[test]
    fn the_judge_on_his_way_finds_the_budget_spent_where_the_whole_window_does() {
        let rows: Vec<_> = (0..30).map(|at| row(at, u64::from(at % 3 != 0))).collect();
        let rules = budget(5);
        let mut under_way = Judge::new(&rules, &Conditions::default());
        for n in 0..rows.len() {
            under_way.see(&rows[n]);
            assert_eq!(under_way.judgement(None), judged(&rows[..=n], &rules), "{n}");
        }
        assert!(matches!(under_way.judgement(None).reason, Reason::BudgetSpent { .. }));
    }

    #[test]
    fn the_time_to_a_verdict_is_estimated_while_it_is_open() {
        let rows: Vec<_> = (0..3).map(|at| row(at, 0)).collect();
        let left = judged(&rows, &Rules::default()).minutes_to_verdict.unwrap();
        assert!((12..20).contains(&left), "{left} minutes");
    }

    #[test]
    fn counts_from_nothing_to_a_billion_a_minute_give_finite_evidence() {
        for total in [0, 1, 2, 1_000, 1_000_000, 1_000_000_000] {
            for bad in [0, 1, total / 1_000, total / 2, total] {
                let bad = bad.min(total);
                let both = |at| Row {
                    stable: Some(counts(total, bad)),
                    canary: Some(counts(total, bad)),
                    ..row(at, 0)
                };
                let worse = |at| Row { canary: Some(counts(total, total)), ..both(at) };
                let rows: Vec<_> = (0..4).map(both).chain((4..8).map(worse)).collect();
                let judgement = judged(&rows, &Rules::default());
                let check = &judgement.checks[0];
                let logs = [judgement.log_e_harm, check.log_e_harm, check.log_e_health];
                assert!(logs.iter().all(|log| log.is_finite()), "{total} {bad}: {judgement:?}");
                let equal = judged(&rows[..4], &Rules { convict_minutes: 1, ..Rules::default() });
                assert!(equal.log_e_harm < 1.0, "{total} {bad}: {equal:?}");
            }
        }
    }
}
