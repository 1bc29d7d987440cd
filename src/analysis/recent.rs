//! How both arms did in the newest minutes, small enough to go with a page.
//!
//! To be looked at, not to be judged by: a minute's rate stands here as it was published.

use serde::{Deserialize, Serialize};

use super::check::{BadBeyond, Check, CheckRule, DistributionCheck, Rules};
use super::edge::Edge;
use super::tally::ErrorTally;
use super::verdict::{CheckEvidence, Judgement};
use super::window::{Arm, ArmCounts, Distribution, Row, Tally, Window};
use crate::units::Minute;

/// Minutes at most.
pub const RECENT_MINUTES: usize = 30;
/// Checks at most: those with the most evidence of harm.
const RECENT_CHECKS: usize = 4;
/// Characters of a name at most; the plan's own are shorter but for labels.
const NAME_CHARS: usize = 60;

/// What is counted in a [`Course`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Requests of the minute.
    Requests,
    /// Bad of all, in percent.
    Percent,
}

/// One number of both arms, minute by minute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// What it is: `requests`, or a check with the part of it that looks worst.
    pub name: String,
    /// In what it is counted.
    pub counted: Counted,
    /// Stable's, oldest first; `None` where nothing was published.
    pub stable: Vec<Option<f64>>,
    /// The canary's, of the same minutes.
    pub canary: Vec<Option<f64>>,
}

impl Course {
    /// The values of one arm.
    #[must_use]
    pub fn arm(&self, arm: Arm) -> &[Option<f64>] {
        match arm {
            Arm::Stable => &self.stable,
            Arm::Canary => &self.canary,
        }
    }
}

/// The newest minutes of both arms: requests first, then the checks with the most evidence of harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// The first minute.
    pub from: Minute,
    /// What was counted.
    pub courses: Vec<Course>,
}

impl Recent {
    /// The newest minutes of a window; `None` of an empty one.
    #[must_use]
    pub fn of(window: &Window, rules: &Rules, judgement: Option<&Judgement>) -> Option<Self> {
        let last = window.last_minute()?;
        let all = i64::try_from(RECENT_MINUTES).unwrap_or(i64::MAX);
        let from = window.rows().next()?.minute.max(last.plus(1 - all));
        let mut rows: Vec<Option<&Row>> = vec![None; usize::try_from(last.since(from) + 1).ok()?];
        for row in window.rows().rev().take_while(|row| row.minute >= from) {
            if let Some(place) = usize::try_from(row.minute.since(from)).ok().and_then(|at| rows.get_mut(at))
            {
                *place = Some(row);
            }
        }
        let evidence = |check: &Check| {
            judgement.and_then(|judgement| judgement.checks.iter().find(|found| found.name == check.name))
        };
        let harm = |check: &Check| evidence(check).map_or(f64::NEG_INFINITY, |found| found.log_e_harm);
        let mut checks: Vec<&Check> = rules.checks.iter().collect();
        checks.sort_by(|a, b| harm(b).total_cmp(&harm(a)));
        let requests = course("requests", Counted::Requests, &rows, &|counts| Some(counts.requests as f64));
        let of_checks = checks.iter().filter_map(|check| of_check(check, evidence(check), judgement, &rows));
        let courses = std::iter::once(requests).chain(of_checks.take(RECENT_CHECKS)).collect();
        Some(Self { from, courses })
    }
}

/// A check's course; `None` if no arm has published anything, or it is not known yet what is bad.
fn of_check(
    check: &Check,
    evidence: Option<&CheckEvidence>,
    judgement: Option<&Judgement>,
    rows: &[Option<&Row>],
) -> Option<Course> {
    let name = check.name.as_str();
    let percent = |tally: Tally| (tally.total > 0).then(|| tally.rate() * 100.0);
    let rate = |name: &str, tally: &dyn Fn(&ArmCounts) -> Option<Tally>| {
        course(name, Counted::Percent, rows, &|counts| percent(tally(counts)?))
    };
    let worst = evidence.and_then(CheckEvidence::worst_part);
    let found = match &check.rule {
        CheckRule::Errors(rule) => rate(name, &|counts| Some(ErrorTally::at_a_glance(counts, rule))),
        CheckRule::Ratio(_) => rate(name, &|counts| counts.ratio(name)),
        CheckRule::Latency(rule) | CheckRule::Values(rule) => {
            let settled = judgement.and_then(|judgement| judgement.thresholds.get(name));
            let quantile = worst.and_then(|part| part.name.split(' ').next());
            let threshold = settled.and_then(|all| {
                let named = all.iter().find(|one| Some(one.quantile.to_string().as_str()) == quantile);
                named.or(all.last())
            });
            let edge = match rule.bad_beyond {
                BadBeyond::Quantiles(_) => threshold?.edge,
                BadBeyond::Fixed(value) => Edge::nearest(value),
            };
            let unit = if rule.source.is_none() { " s" } else { "" };
            let title = format!("{name} {} {edge}{unit}", rule.worse.sign());
            rate(&title, &|counts| beyond(rule, edge, samples(check, counts)?))
        }
        CheckRule::Classes(_) => {
            let class = worst?.name.clone();
            rate(&format!("{name}: {class}"), &|counts| {
                let classes = counts.classes(name)?;
                let bad = classes.get(&class).copied().unwrap_or(0);
                Some(Tally { bad, total: classes.values().sum() })
            })
        }
    };
    let told = Arm::BOTH.into_iter().any(|arm| found.arm(arm).iter().any(Option::is_some));
    told.then_some(found)
}

fn samples<'a>(check: &Check, counts: &'a ArmCounts) -> Option<&'a Distribution> {
    if matches!(check.rule, CheckRule::Latency(_)) {
        counts.latency.as_ref()
    } else {
        counts.values(&check.name)
    }
}

/// Samples beyond an edge; `None` where the minute does not list it, which is not zero.
fn beyond(rule: &DistributionCheck, edge: Edge, samples: &Distribution) -> Option<Tally> {
    samples.le.contains_key(&edge.0).then(|| rule.worse.beyond(edge, samples))
}

fn course(
    name: &str,
    counted: Counted,
    rows: &[Option<&Row>],
    value: &dyn Fn(&ArmCounts) -> Option<f64>,
) -> Course {
    let of = |arm: Arm| -> Vec<Option<f64>> {
        rows.iter().map(|row| row.and_then(|row| row.arm(arm)).and_then(value).map(rounded)).collect()
    };
    let name = name.chars().take(NAME_CHARS).collect();
    Course { name, counted, stable: of(Arm::Stable), canary: of(Arm::Canary) }
}

/// To three digits: more can't be seen, and cost space in every page.
fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::threshold::Threshold;
    use crate::analysis::{Conditions, judge};
    use crate::units::{Quantile, Share};

    fn minute(at: i64) -> Minute {
        "2026-03-01T10:00:00Z".parse::<Minute>().unwrap().plus(at)
    }

    fn counts(requests: u64, errors: u64) -> ArmCounts {
        let latency = Distribution { count: requests, le: [(-8, requests - 2 * errors)].into() };
        let (ok, bad) = (Some(requests - errors), Some(errors));
        ArmCounts { requests, http_2xx: ok, http_5xx: bad, latency: Some(latency), ..ArmCounts::default() }
    }

    fn window(minutes: std::ops::Range<i64>) -> Window {
        let row = |at: i64| Row {
            minute: minute(at),
            share: Share::from_percent(if at < 5 { 0.0 } else { 5.0 }).unwrap(),
            stable: Some(counts(950, 3)),
            canary: (at >= 5).then(|| counts(50, 1)),
        };
        minutes.map(row).collect()
    }

    fn judged(window: &Window) -> (Rules, Judgement) {
        let rules = Rules::default();
        let judgement = judge(window, &rules, &Conditions::default());
        (rules, judgement)
    }

    #[test]
    fn a_course_is_what_both_arms_published_minute_by_minute() {
        let window = window(0..10);
        let (rules, judgement) = judged(&window);
        let recent = Recent::of(&window, &rules, Some(&judgement)).unwrap();
        assert_eq!(recent.from, minute(0));
        let course = |name: &str| recent.courses.iter().find(|course| course.name == name).unwrap();
        assert_eq!(course("requests").stable, vec![Some(950.0); 10]);
        let errors = course("errors");
        assert_eq!((errors.counted, errors.stable[0]), (Counted::Percent, Some(0.316)));
        assert_eq!([errors.canary[4], errors.canary[5]], [None, Some(2.0)], "nothing was published before");
    }

    #[test]
    fn latency_is_counted_beyond_the_threshold_that_looks_worst() {
        let window = window(0..10);
        let (rules, mut judgement) = judged(&window);
        let quantile: Quantile = "p99".parse().unwrap();
        let settled = Threshold { quantile, edge: Edge(-8), samples: 900 };
        judgement.thresholds = [("latency".to_owned(), vec![settled])].into();
        let recent = Recent::of(&window, &rules, Some(&judgement)).unwrap();
        let slow = recent.courses.iter().find(|course| course.name.starts_with("latency")).unwrap();
        assert_eq!((slow.name.as_str(), slow.canary[9]), ("latency > 0.4665 s", Some(4.0)));
        // An edge that no minute lists is not known to have nothing beyond it.
        judgement.thresholds = [("latency".to_owned(), vec![Threshold { edge: Edge(3), ..settled }])].into();
        let recent = Recent::of(&window, &rules, Some(&judgement)).unwrap();
        assert!(!recent.courses.iter().any(|course| course.name.starts_with("latency")), "{recent:?}");
    }

    #[test]
    fn no_more_than_the_newest_half_hour_is_kept_and_gaps_stay_gaps() {
        let mut window: Window =
            window(0..50).rows().filter(|row| row.minute != minute(45)).cloned().collect();
        window.insert(Row { stable: None, ..window.rows().last().unwrap().clone() });
        let (rules, judgement) = judged(&window);
        let recent = Recent::of(&window, &rules, Some(&judgement)).unwrap();
        assert_eq!((recent.from, recent.courses[0].canary.len()), (minute(20), RECENT_MINUTES));
        assert_eq!((recent.courses[0].stable[25], recent.courses[0].stable[29]), (None, None));
        assert_eq!(recent.courses[0].stable[24], Some(950.0));
        assert_eq!(Recent::of(&Window::default(), &rules, Some(&judgement)), None);
    }

    #[test]
    fn the_courses_of_a_plan_of_many_checks_stay_small() {
        let window = window(0..50);
        let (rules, mut judgement) = judged(&window);
        let errors = rules.checks.iter().find(|check| check.name == "errors").unwrap();
        let many = (0..100).map(|at| Check { name: format!("errors-{at}"), ..errors.clone() });
        let rules = Rules { checks: many.collect(), ..rules.clone() };
        let worst = judgement.checks[0].clone();
        judgement.checks = vec![CheckEvidence { name: "errors-77".to_owned(), log_e_harm: 9.0, ..worst }];
        let recent = Recent::of(&window, &rules, Some(&judgement)).unwrap();
        assert_eq!(recent.courses.len(), 1 + RECENT_CHECKS);
        assert_eq!(recent.courses[1].name, "errors-77", "the most evidence comes first");
        assert!(serde_json::to_string(&recent).unwrap().len() < 5_000);
    }
}
