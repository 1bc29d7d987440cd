//! Forecasts of whole plans.

use super::*;
use crate::analysis::check::{
    BadBeyond, Check, CheckRule, ClassesCheck, DistributionCheck, ErrorsCheck, Margin, RatioCheck, Tolerance,
    Worse,
};
use crate::units::Quantile;

const STEPS: [f64; 4] = [5.0, 25.0, 50.0, 100.0];

fn rate(p: f64) -> LearntRate {
    LearntRate::new(p).unwrap()
}

fn traffic(rps: f64) -> Traffic {
    let mut traffic = Traffic::of(60.0 * rps);
    traffic.bases.insert("errors".into(), Base::of_rate(rate(0.003)));
    traffic
}

struct Asked {
    rules: Rules,
    steps: Vec<Share>,
    sticky: bool,
    traffic: Traffic,
}

impl Asked {
    fn at(rps: f64) -> Self {
        let steps = STEPS.map(|percent| Share::from_percent(percent).unwrap()).to_vec();
        Self { rules: Rules::default(), steps, sticky: false, traffic: traffic(rps) }
    }

    fn of(rps: f64, checks: Vec<Check>) -> Self {
        Self { rules: Rules { checks, ..Rules::default() }, ..Self::at(rps) }
    }

    fn answer(&self) -> Forecast {
        forecast(&Question {
            rules: &self.rules,
            steps: &self.steps,
            sticky: self.sticky,
            traffic: &self.traffic,
            bad: &BadSize::STANDARD,
            delay: Span::from_minutes(2),
        })
    }
}

fn latency(change: impl FnOnce(&mut DistributionCheck)) -> Check {
    let mut rule = DistributionCheck::latency();
    change(&mut rule);
    Check::new("latency", CheckRule::Latency(rule))
}

fn errors() -> Check {
    Check::new("errors", CheckRule::Errors(ErrorsCheck::default()))
}

fn names(step: &Step) -> Vec<String> {
    step.rows.iter().map(Row::name).collect()
}

#[test]
fn the_default_plan_at_fifty_requests_a_second_bakes_and_ends() {
    let forecast = Asked::at(50.0).answer();
    let first = &forecast.steps[0];
    assert_eq!(names(first), ["errors", "latency p50", "latency p95", "latency p99"]);
    assert_eq!(first.requests_per_minute, 150.0);
    assert!(first.rows.iter().all(|row| row.standing == Standing::Decided));
    let proven: Vec<u64> = first.rows.iter().map(|row| row.minutes_to_prove.unwrap()).collect();
    assert!((9..=11).contains(&proven[0]) && proven[2] == 5 && (7..=8).contains(&proven[3]), "{proven:?}");
    assert_eq!(first.slowest.as_deref(), Some("errors"));
    assert_eq!((first.minutes, first.decided_by.as_deref()), (Some(17), Some("bake")));
    assert_eq!(forecast.minutes, Some(3 * 17));
}

#[test]
fn the_step_to_everything_is_over_at_once_and_said_to_be_unjudged() {
    let forecast = Asked::at(50.0).answer();
    let last = forecast.steps.last().unwrap();
    assert_eq!((last.judged, last.minutes, last.rows.len()), (false, Some(0), 0));
    assert!(forecast.warnings.iter().any(|text| text.contains("no stable traffic is left")));
    let short = Asked { steps: vec![Share::from_percent(5.0).unwrap()], ..Asked::at(50.0) };
    assert!(!short.answer().warnings.iter().any(|text| text.contains("no stable traffic")));
}

#[test]
fn with_little_traffic_quantiles_are_for_harm_only_and_errors_stay_undecided() {
    let forecast = Asked::at(0.5).answer();
    let first = &forecast.steps[0];
    let standing = |name: &str| first.rows.iter().find(|row| row.name() == name).unwrap().standing;
    assert_eq!(standing("errors"), Standing::Undecided);
    assert_eq!(standing("latency p99"), Standing::HarmOnly);
    assert_eq!(standing("latency p50"), Standing::Decided);
    assert_eq!((first.minutes, forecast.minutes), (None, None));
    let told = forecast.warnings.join("\n");
    assert!(told.contains("at 5% health can't be proven within 4h: errors\n"), "{told}");
    assert!(told.contains("at 5% judged for harm only") && told.contains("latency p99"), "{told}");
}

#[test]
fn a_plan_without_errors_is_not_held_up_by_its_quantiles() {
    let mut asked = Asked::of(1.0, vec![latency(|_| {})]);
    asked.rules.min_requests = 0;
    let first = &asked.answer().steps[0];
    assert_eq!(first.rows[2].standing, Standing::HarmOnly);
    assert_eq!(first.slowest.as_deref(), Some("latency p50"));
    assert!(first.minutes.is_some());
}

#[test]
fn min_requests_of_the_smaller_arm_can_decide_a_step() {
    let mut asked = Asked::of(50.0, vec![errors()]);
    asked.rules.min_requests = 30_000;
    asked.steps = [5.0, 95.0].map(|percent| Share::from_percent(percent).unwrap()).to_vec();
    for step in asked.answer().steps {
        assert_eq!(step.decided_by.as_deref(), Some("min_requests"));
        assert_eq!((step.least_minutes, step.minutes), (204, Some(204)));
    }
    asked.rules.min_requests = 40_000;
    let forecast = asked.answer();
    assert_eq!(forecast.minutes, None);
    assert!(forecast.warnings[0].contains("min_requests can't be reached within 4h"));
}

#[test]
fn only_the_first_step_warms_up() {
    let mut asked = Asked::of(50.0, vec![errors()]);
    asked.rules.warm_up = Span::from_minutes(30);
    let steps = asked.answer().steps;
    assert_eq!((steps[0].minutes, steps[1].minutes), (Some(30 + 17), Some(17)));
}

#[test]
fn sticky_clients_take_ten_times_as_long_and_widen_the_margin_of_latency() {
    let plain = Asked::at(500.0).answer();
    let sticky = Asked { sticky: true, ..Asked::at(500.0) }.answer();
    assert_eq!((plain.design_effect, sticky.design_effect), (1.0, 10.0));
    let proven = |forecast: &Forecast| forecast.steps[0].rows[0].minutes_to_prove.unwrap();
    assert!(proven(&sticky) > 5 * proven(&plain));
    // 3x the odds is what sticky clients alone may do.
    let of_latency = |forecast: &Forecast| forecast.steps[0].rows[2].drains[1].outcome;
    assert_eq!(of_latency(&sticky), Outcome::Never { never: Never::WithinTolerate });
    assert!(matches!(of_latency(&plain), Outcome::Drained { .. }));
}

#[test]
fn more_traffic_never_takes_longer() {
    let mut before: Option<Forecast> = None;
    for rps in [0.5, 1.0, 3.0, 10.0, 50.0, 500.0, 5_000.0] {
        let now = Asked::at(rps).answer();
        for (now, before) in before.iter().flat_map(|before| now.steps.iter().zip(&before.steps)) {
            assert!(now.least_minutes <= before.least_minutes);
            for (now, before) in now.rows.iter().zip(&before.rows) {
                assert!(now.minutes_to_prove <= before.minutes_to_prove, "{now:?} {before:?}");
            }
        }
        before = Some(now);
    }
    assert!(before.unwrap().minutes.is_some());
}

#[test]
fn evidence_is_shared_between_checks_quantiles_and_classes() {
    let classes = ClassesCheck {
        source: None,
        values: ["yes", "no", "maybe"].map(str::to_owned).into(),
        tolerate: None,
        promote_within: Times::constant(1.5),
    };
    let ratio = Check::new("thumbs", CheckRule::Ratio(RatioCheck::default()));
    let checks = vec![errors(), latency(|_| {}), Check::new("label", CheckRule::Classes(classes)), ratio];
    let mut asked = Asked::of(50.0, checks);
    let weights = |asked: &Asked| {
        let question = Question {
            rules: &asked.rules,
            steps: &asked.steps,
            sticky: false,
            traffic: &asked.traffic,
            bad: &[],
            delay: Span::from_minutes(2),
        };
        comparisons::of(&question).iter().map(|comparison| comparison.weight).collect::<Vec<_>>()
    };
    let sixth = 1.0 / 6.0;
    let close = |got: Vec<f64>, want: &[f64]| {
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?} {want:?}");
    };
    let [quantile, class] = [sixth / 3.0, sixth / 6.0];
    close(weights(&asked), &[0.5, quantile, quantile, quantile, class, class, class, sixth]);
    asked.rules.checks = vec![errors()];
    close(weights(&asked), &[1.0]);
    asked.rules.checks = vec![latency(|_| {})];
    close(weights(&asked), &[1.0 / 3.0; 3]);
}

#[test]
fn margins_are_those_of_the_check() {
    let p95 = Quantile::percent_const(95.0);
    let of = |check: Check| Asked::of(50.0, vec![check]).answer().steps[0].rows[0].clone();
    let quantile = |tolerate, promote_within| {
        of(latency(|rule| {
            rule.bad_beyond = BadBeyond::Quantiles(vec![p95]);
            rule.tolerate = tolerate;
            rule.promote_within = promote_within;
        }))
    };
    let standard = quantile(None, None);
    assert!((standard.rate - 0.05).abs() < 1e-12);
    let shifted = quantile(Some(Margin::Absolute(0.05)), None);
    assert!(shifted.minutes_to_prove > standard.minutes_to_prove);
    let lax = quantile(Some(Margin::Times(Times::constant(2.0))), Some(Times::constant(3.0)));
    assert!(lax.minutes_to_prove < standard.minutes_to_prove);
    assert_eq!(lax.drains[0].outcome, Outcome::Never { never: Never::WithinTolerate });
    let lower = of(latency(|rule| {
        rule.bad_beyond = BadBeyond::Quantiles(vec![Quantile::percent_const(10.0)]);
        rule.worse = Worse::Lower;
    }));
    assert!((lower.rate - 0.1).abs() < 1e-12);
    let points = Tolerance { times: None, points: Some(Rate::percent_const(3.0)) };
    let ratio = of(Check::new(
        "errors",
        CheckRule::Ratio(RatioCheck { tolerate: Some(points), ..RatioCheck::default() }),
    ));
    assert_eq!(ratio.drains[2].outcome, Outcome::Never { never: Never::WithinTolerate });
}

#[test]
fn few_canary_targets_widen_the_margin_and_are_named() {
    let mut asked = Asked::of(50.0, vec![errors()]);
    asked.traffic.canary_targets = Some(2);
    let forecast = asked.answer();
    let told = forecast.warnings.join("\n");
    assert!(told.contains("1.5x of stable's, or any rate up to 0.1%"), "{told}");
    assert!(told.contains("fewer than 4 canary targets"), "{told}");
}

#[test]
fn rare_classes_are_for_harm_only_by_rule() {
    let rule = ClassesCheck {
        source: None,
        values: vec!["cat".into(), "eel".into()],
        tolerate: None,
        promote_within: Times::constant(1.5),
    };
    let mut asked = Asked::of(50.0, vec![Check::new("label", CheckRule::Classes(rule))]);
    let assumed = asked.answer().steps[0].rows.iter().map(|row| row.rate).collect::<Vec<_>>();
    assert_eq!(assumed, [0.5, 0.5]);
    let classes = vec![("cat".to_owned(), rate(0.98)), ("eel".to_owned(), rate(0.02))];
    asked.traffic.bases.insert("label".into(), Base { classes, ..Base::default() });
    let first = asked.answer().steps[0].clone();
    assert_eq!(names(&first), ["label cat", "label eel"]);
    assert_eq!(first.rows[1].standing, Standing::HarmOnlyByRule);
    assert_eq!(first.slowest.as_deref(), Some("label cat"));
}

#[test]
fn fewer_samples_than_requests_take_longer() {
    let mut asked = Asked::of(50.0, vec![Check::new("thumbs", CheckRule::Ratio(RatioCheck::default()))]);
    let mut proven = |samples_per_request| {
        let base = Base { samples_per_request, ..Base::of_rate(rate(0.05)) };
        asked.traffic.bases.insert("thumbs".into(), base);
        asked.answer().steps[0].rows[0].minutes_to_prove.unwrap()
    };
    assert!(proven(0.1) >= 9 * proven(1.0));
}

#[test]
fn sizes_are_read_and_written_and_nonsense_is_refused() {
    for text in ["2x", "1.5x", "+1%", "+0.25%"] {
        assert_eq!(text.parse::<BadSize>().unwrap().to_string(), text);
    }
    for text in ["", "2", "1x", "0.5x", "+0%", "1%", "+1", "+101%", "-1%", "x", "+"] {
        assert!(text.parse::<BadSize>().is_err(), "{text:?} was taken");
    }
}
