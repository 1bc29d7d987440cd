//! The kinds of checks through the judge's own door: rows in, a judgement out.

use super::check::*;
use super::edge::Edge;
use super::verdict::{CheckEvidence, Judgement, Reason, Verdict};
use super::window::{ArmCounts, Distribution, MetricCounts, Row, Tally, Window};
use super::{BurnIn, Conditions, judge};
use crate::units::{Minute, Quantile, Rate, Share, Span, Times};

fn start() -> Minute {
    "2026-03-01T10:00:00Z".parse().unwrap()
}

/// A minute at 10 % of 10 requests a second; what the arms published beside requests is added by the caller.
fn row(at: i64, percent: f64, stable: ArmCounts, canary: ArmCounts) -> Row {
    let arm = |requests, more: ArmCounts| ArmCounts { requests, http_2xx: Some(requests), ..more };
    Row {
        minute: start().plus(at),
        share: Share::from_percent(percent).unwrap(),
        stable: Some(arm(5_400, stable)),
        canary: (percent > 0.0).then(|| arm(600, canary)),
    }
}

/// `count` samples, so many parts of a thousand in the bins that begin at these edges.
fn samples(count: u64, bins: &[(i32, u64)]) -> Distribution {
    let below = |edge: i32| {
        let parts: u64 = bins.iter().filter(|(bin, _)| *bin < edge).map(|(_, parts)| parts).sum();
        (edge, count * parts / 1_000)
    };
    Distribution { count, le: (-40..=10).map(below).collect() }
}

/// Most answers in 0.1 s, some in 0.2 s, few in 0.5 s.
const USUAL: [(i32, u64); 3] = [(-25, 900), (-17, 80), (-8, 20)];

fn latency(count: u64, bins: &[(i32, u64)]) -> ArmCounts {
    ArmCounts { latency: Some(samples(count, bins)), ..ArmCounts::default() }
}

fn metric(name: &str, counts: MetricCounts) -> ArmCounts {
    ArmCounts { metrics: [(name.to_owned(), counts)].into(), ..ArmCounts::default() }
}

fn rules(name: &str, rule: CheckRule) -> Rules {
    Rules { bake: Span::from_minutes(2), checks: vec![Check::new(name, rule)], ..Rules::default() }
}

fn slow_rules(change: impl FnOnce(&mut DistributionCheck)) -> Rules {
    let mut check = DistributionCheck::latency();
    change(&mut check);
    rules(LATENCY, CheckRule::Latency(check))
}

fn judged_under(rows: &[Row], rules: &Rules, conditions: &Conditions) -> Judgement {
    judge(&rows.iter().cloned().collect::<Window>(), rules, conditions)
}

fn judged(rows: &[Row], rules: &Rules) -> Judgement {
    judged_under(rows, rules, &Conditions::default())
}

/// An hour of stable alone, then `minutes` in which the canary has this latency.
fn with_baseline(minutes: i64, canary: &[(i32, u64)]) -> Vec<Row> {
    let before = (0..60).map(|at| row(at, 0.0, latency(5_400, &USUAL), ArmCounts::default()));
    let after = (60..60 + minutes).map(|at| row(at, 10.0, latency(5_400, &USUAL), latency(600, canary)));
    before.chain(after).collect()
}

fn only(judgement: &Judgement) -> &CheckEvidence {
    assert_eq!(judgement.checks.len(), 1);
    &judgement.checks[0]
}

fn edges(judgement: &Judgement) -> Vec<i32> {
    judgement.thresholds[LATENCY].iter().map(|threshold| threshold.edge.0).collect()
}

#[test]
fn a_canary_as_fast_as_stable_is_healthy_and_its_thresholds_are_told() {
    let judgement = judged(&with_baseline(30, &USUAL), &slow_rules(|_| ()));
    assert_eq!(judgement.verdict, Verdict::Healthy, "{}", judgement.reason);
    assert_eq!(edges(&judgement), [-24, -16, -7]);
    let names: Vec<&str> = only(&judgement).parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["p50 > 0.1015 s", "p95 > 0.2176 s", "p99 > 0.5132 s"]);
    assert!(only(&judgement).notes[0].contains("p50 of stable lies at 0.1015 s (from 324000 samples)"));
}

#[test]
fn a_slow_tail_is_harmful_though_the_median_stays() {
    let judgement = judged(&with_baseline(20, &[(-25, 880), (-17, 60), (-3, 60)]), &slow_rules(|_| ()));
    assert_eq!(judgement.verdict, Verdict::Harmful);
    assert!(only(&judgement).compared().starts_with("latency p99 > 0.5132 s: canary 6.00 %"));
}

#[test]
fn a_faster_canary_is_healthy() {
    let judgement = judged(&with_baseline(30, &[(-30, 990), (-25, 10)]), &slow_rules(|_| ()));
    assert_eq!(judgement.verdict, Verdict::Healthy, "{}", judgement.reason);
}

#[test]
fn minutes_of_the_comparison_do_not_move_thresholds_that_were_settled_before() {
    let rules = slow_rules(|_| ());
    let mut rows = with_baseline(90, &USUAL);
    let before = edges(&judged(&rows[..65], &rules));
    for row in &mut rows[60..] {
        row.stable.as_mut().unwrap().latency = Some(samples(5_400, &[(-3, 1_000)]));
    }
    assert_eq!(edges(&judged(&rows, &rules)), before);
}

#[test]
fn thresholds_of_the_record_win_over_those_of_the_window() {
    let rules = slow_rules(|_| ());
    let rows = with_baseline(10, &USUAL);
    let mut thresholds = judged(&rows[..50], &rules).thresholds;
    for threshold in thresholds.get_mut(LATENCY).unwrap() {
        threshold.edge = Edge(threshold.edge.0 + 1);
    }
    let conditions = Conditions { thresholds: thresholds.clone(), ..Conditions::default() };
    assert_eq!(judged_under(&rows, &rules, &conditions).thresholds, thresholds);
}

#[test]
fn a_tolerance_of_a_length_moves_the_threshold_of_the_canary_alone() {
    let tenth = slow_rules(|check| check.tolerate = Some(Margin::Relative(Rate::percent_const(10.0))));
    // One bin slower all over is within 10 %, two are not.
    let slower = |bins: i32| USUAL.map(|(edge, parts)| (edge + bins, parts));
    let near = judged(&with_baseline(60, &slower(1)), &tenth);
    assert_eq!(near.verdict, Verdict::Healthy, "{}", near.reason);
    assert!(only(&near).notes.iter().any(|note| note.contains("from 0.1015 s to 0.1117 s")));
    assert_eq!(judged(&with_baseline(60, &slower(2)), &tenth).verdict, Verdict::Harmful);
    let length = slow_rules(|check| check.tolerate = Some(Margin::Absolute(0.2)));
    assert_eq!(judged(&with_baseline(60, &slower(2)), &length).verdict, Verdict::Healthy);
}

#[test]
fn a_fixed_threshold_is_counted_at_the_nearest_edge() {
    let rules = slow_rules(|check| check.bad_beyond = BadBeyond::Fixed(0.4));
    let judgement = judged(&with_baseline(20, &[(-25, 880), (-17, 60), (-3, 60)]), &rules);
    assert_eq!(judgement.verdict, Verdict::Harmful);
    assert_eq!(only(&judgement).parts[0].name, "> 0.3855 s");
    assert!(only(&judgement).notes[0].contains("threshold 0.4 s is counted at 0.3855 s"));
    assert_eq!(judgement.thresholds.len(), 0);
}

#[test]
fn thresholds_below_ignore_below_are_raised_to_it() {
    let rules = slow_rules(|check| check.ignore_below = 0.3);
    let judgement = judged(&with_baseline(20, &[(-20, 900), (-17, 80), (-8, 20)]), &rules);
    assert_eq!(edges(&judgement), [-12, -12, -7]);
    assert_ne!(judgement.verdict, Verdict::Harmful);
}

#[test]
fn a_quantile_that_this_traffic_cannot_prove_is_judged_for_harm_only() {
    let few = |minutes: i64, canary: &[(i32, u64)]| {
        let mut rows = with_baseline(minutes, canary);
        for row in &mut rows {
            row.stable.as_mut().unwrap().latency = Some(samples(5_400 / 50, &USUAL));
            if let Some(arm) = &mut row.canary {
                arm.latency = Some(samples(600 / 50, canary));
            }
        }
        rows
    };
    let rules = Rules { decide_within: Span::from_minutes(60), ..slow_rules(|_| ()) };
    let judgement = judged(&few(60, &[(-25, 1_000)]), &rules);
    let parts = &only(&judgement).parts;
    assert_eq!((parts[0].log_e_health.is_some(), parts[2].log_e_health), (true, None));
    assert!(only(&judgement).notes.iter().any(|note| note.contains("judged for harm only")));
    let judgement = judged(&few(60, &[(-3, 1_000)]), &rules);
    assert_eq!(judgement.verdict, Verdict::Harmful);
}

#[test]
fn a_metric_that_appears_late_or_hardly_at_all_is_not_waived_for_want_of_traffic() {
    let rule = DistributionCheck {
        bad_beyond: BadBeyond::Quantiles(vec!["p95".parse::<Quantile>().unwrap()]),
        ..DistributionCheck::values()
    };
    let rules = rules("size", CheckRule::Values(rule));
    let sizes = |count| metric("size", MetricCounts::Values(samples(count, &USUAL)));
    let late = |at| match at {
        ..200 => row(at, 10.0, ArmCounts::default(), ArmCounts::default()),
        _ => row(at, 10.0, sizes(540), sizes(60)),
    };
    let judgement = judged(&(0..204).map(late).collect::<Vec<_>>(), &rules);
    assert_eq!(judgement.reason, Reason::NotYetProven { check: "size".into() });
    // Two samples a minute: after an hour nobody knows yet where stable's p95 lies, and nobody waits for it.
    let sparse = |at: i64| row(at, 10.0, sizes(u64::from(at % 3 == 0)), sizes(u64::from(at % 3 == 0)));
    let judgement = judged(&(0..400).map(sparse).collect::<Vec<_>>(), &rules);
    assert_eq!(judgement.verdict, Verdict::Healthy, "{}", judgement.reason);
    assert!(only(&judgement).notes.iter().any(|note| note.contains("not waited for")));
}

#[test]
fn latency_that_nobody_asked_for_and_nobody_publishes_is_left_out() {
    let rows: Vec<Row> =
        (0..30).map(|at| row(at, 10.0, ArmCounts::default(), ArmCounts::default())).collect();
    let unasked = Rules { bake: Span::from_minutes(2), ..Rules::default() };
    let judgement = judged(&rows, &unasked);
    assert_eq!(judgement.verdict, Verdict::Healthy, "{}", judgement.reason);
    assert!(judgement.checks[1].notes[0].contains("publishes no response times"));
    let asked = judged(&rows, &slow_rules(|_| ()));
    assert_eq!(asked.reason, Reason::NotYetProven { check: LATENCY.into() });
}

#[test]
fn fewer_tokens_per_second_are_worse_and_more_are_not() {
    let rule = DistributionCheck {
        worse: Worse::Lower,
        bad_beyond: BadBeyond::Quantiles(vec!["p50".parse::<Quantile>().unwrap()]),
        ..DistributionCheck::values()
    };
    let rules = rules("speed", CheckRule::Values(rule));
    let speed = |count, bins: &[(i32, u64)]| metric("speed", MetricCounts::Values(samples(count, bins)));
    let with = |canary: &[(i32, u64)]| {
        let minute = |at| row(at, 10.0, speed(540, &[(0, 400), (5, 600)]), speed(60, canary));
        judged(&(0..60).map(minute).collect::<Vec<_>>(), &rules)
    };
    assert_eq!(with(&[(-9, 700), (5, 300)]).verdict, Verdict::Harmful);
    assert_eq!(with(&[(5, 300), (9, 700)]).verdict, Verdict::Healthy);
    assert!(only(&with(&[(-9, 700), (5, 300)])).parts[0].name.starts_with("p50 < 1.611"));
}

fn thumbs(at: i64, stable: (u64, u64), canary: (u64, u64)) -> Row {
    let ratio = |(bad, total)| metric("thumbs_down", MetricCounts::Ratio(Tally { bad, total }));
    row(at, 10.0, ratio(stable), ratio(canary))
}

#[test]
fn a_ratio_of_the_applications_own_is_judged_like_errors() {
    let rules = rules("thumbs_down", CheckRule::Ratio(RatioCheck::default()));
    let with = |bad| judged(&(0..40).map(|at| thumbs(at, (27, 540), (bad, 60))).collect::<Vec<_>>(), &rules);
    assert_eq!(with(3).verdict, Verdict::Healthy);
    let harmful = with(9);
    assert_eq!(harmful.verdict, Verdict::Harmful);
    assert!(matches!(&harmful.reason, Reason::WorseThanStable { check, .. } if check == "thumbs_down"));
}

#[test]
fn events_of_which_a_request_has_several_may_be_more_than_requests_and_count_for_less() {
    let events = rules("thumbs_down", CheckRule::Ratio(RatioCheck { events: true, ..RatioCheck::default() }));
    let single = rules("thumbs_down", CheckRule::Ratio(RatioCheck::default()));
    let many: Vec<Row> = (0..40).map(|at| thumbs(at, (1_080, 540), (300, 60))).collect();
    assert_eq!(judged(&many, &events).verdict, Verdict::Harmful);
    let impossible = judged(&many, &single);
    assert!(only(&impossible).notes[0].contains("more bad than total"));
    let mut late: Vec<Row> = (0..12).map(|at| thumbs(at, (27, 540), (3, 60))).collect();
    late.extend((12..40).map(|at| thumbs(at, (27, 540), (120, 60))));
    assert_eq!(judged(&late, &single).verdict, Verdict::Harmful);
    let common: Vec<Row> = (0..3).map(|at| thumbs(at, (270, 540), (42, 60))).collect();
    let harm = |rules: &Rules| only(&judged(&common, rules)).log_e_harm;
    assert!(harm(&events) < harm(&single));
}

#[test]
fn a_canary_that_stops_publishing_a_metric_is_not_promoted_on_what_it_published_before() {
    let rules = rules("thumbs_down", CheckRule::Ratio(RatioCheck::default()));
    let mut rows: Vec<Row> = (0..40).map(|at| thumbs(at, (27, 540), (3, 60))).collect();
    assert_eq!(judged(&rows, &rules).verdict, Verdict::Healthy);
    rows[38..].iter_mut().for_each(|row| row.canary.as_mut().unwrap().metrics.clear());
    assert_eq!(judged(&rows, &rules).verdict, Verdict::Healthy, "two minutes say nothing");
    rows[34..].iter_mut().for_each(|row| row.canary.as_mut().unwrap().metrics.clear());
    let silent = judged(&rows, &rules);
    assert_eq!(silent.reason, Reason::CheckSilent { check: "thumbs_down".into(), minutes: 6 });
    assert_eq!(silent.verdict, Verdict::Undecided);
}

#[test]
fn an_slo_drains_what_the_comparison_tolerates_but_not_while_stable_is_as_bad() {
    let errors = |stable: u64, canary: u64, slo: bool| {
        let slo = slo.then(|| Rate::percent_const(1.5));
        let check = ErrorsCheck {
            slo,
            tolerate: Some(Tolerance::times(Times::constant(50.0))),
            ..ErrorsCheck::default()
        };
        let minute = |at| {
            let mut row = row(at, 10.0, ArmCounts::default(), ArmCounts::default());
            row.stable.as_mut().unwrap().http_5xx = Some(stable);
            row.stable.as_mut().unwrap().http_2xx = Some(5_400 - stable);
            row.canary.as_mut().unwrap().http_5xx = Some(canary);
            row.canary.as_mut().unwrap().http_2xx = Some(600 - canary);
            row
        };
        let rows: Vec<Row> = (0..30).map(minute).collect();
        judged(&rows, &rules(ERRORS, CheckRule::Errors(check)))
    };
    assert!(matches!(errors(54, 18, true).reason, Reason::AboveSlo { .. }));
    assert_ne!(errors(54, 18, false).verdict, Verdict::Harmful);
    assert_ne!(errors(162, 18, true).verdict, Verdict::Harmful);
}

fn answers(at: i64, stable: [u64; 3], canary: [u64; 3]) -> Row {
    let names = ["positive", "neutral", "negative"];
    let classes = |counts: [u64; 3]| {
        let classes = names.iter().map(|name| (*name).to_owned()).zip(counts).collect();
        metric("prediction", MetricCounts::Classes { classes })
    };
    row(at, 10.0, classes(stable), classes(canary))
}

fn classes(values: &[&str]) -> Rules {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    let rule = ClassesCheck { source: None, values, tolerate: None, promote_within: CLASS_PROMOTE_WITHIN };
    rules("prediction", CheckRule::Classes(rule))
}

#[test]
fn a_class_that_becomes_rarer_is_as_harmful_as_one_that_becomes_more_frequent() {
    let rules = classes(&["positive", "neutral", "negative"]);
    let with = |canary| {
        judged(&(0..40).map(|at| answers(at, [3_000, 1_500, 900], canary)).collect::<Vec<_>>(), &rules)
    };
    assert_eq!(with([334, 166, 100]).verdict, Verdict::Healthy);
    assert_eq!(with([430, 70, 100]).verdict, Verdict::Harmful);
    assert_eq!(with([234, 166, 200]).verdict, Verdict::Harmful);
}

#[test]
fn classes_that_the_plan_does_not_name_or_that_are_rare_count_as_other() {
    let rows: Vec<Row> = (0..20).map(|at| answers(at, [5_389, 9, 2], [598, 1, 1])).collect();
    let judgement = judged(&rows, &classes(&["positive", "neutral"]));
    let notes = only(&judgement).notes.join("; ");
    assert!(notes.contains("does not name count as other: negative"), "{notes}");
    assert!(notes.contains("rarer than 0.5% and counted as other: neutral"), "{notes}");
    let other = only(&judgement).parts.iter().find(|part| part.name == "other").unwrap();
    // The first minute does not know yet what is rare.
    assert_eq!((other.stable.bad, other.log_e_health), (211, None));
}

#[test]
fn a_split_that_is_not_the_weights_holds_and_does_not_drain() {
    let rules = rules(ERRORS, CheckRule::Errors(ErrorsCheck::default()));
    let mut rows: Vec<Row> =
        (0..20).map(|at| row(at, 10.0, ArmCounts::default(), ArmCounts::default())).collect();
    assert_eq!(judged(&rows, &rules).verdict, Verdict::Healthy);
    for row in &mut rows {
        let canary = row.canary.as_mut().unwrap();
        (canary.requests, canary.http_2xx) = (300, Some(300));
    }
    let judgement = judged(&rows, &rules);
    assert_eq!(judgement.verdict, Verdict::Undecided);
    assert!(matches!(judgement.reason, Reason::SplitOff { .. }), "{}", judgement.reason);
    assert!(judgement.reason.to_string().contains("got 5.263% of the requests where the weights say 10%"));
}

#[test]
fn sticky_clients_make_latency_advisory_unless_it_is_far_worse() {
    let rules = slow_rules(|_| ());
    let sticky = Conditions { sticky: true, ..Conditions::default() };
    let worse = with_baseline(200, &[(-25, 820), (-17, 140), (-8, 40)]);
    assert_eq!(judged(&worse, &rules).verdict, Verdict::Harmful);
    let judgement = judged_under(&worse, &rules, &sticky);
    assert_eq!(judgement.reason, Reason::SuspectedOfSticky { check: LATENCY.into() });
    assert_eq!(only(&judgement).design_effect, STICKY_DESIGN_EFFECT);
    let far_worse = with_baseline(200, &[(-25, 300), (-17, 300), (-3, 400)]);
    assert_eq!(judged_under(&far_worse, &rules, &sticky).verdict, Verdict::Harmful);
}

/// `minutes` of one version in both groups, the canary's hosts slower; then as many of the new version.
fn burnt_in(minutes: i64, burn_in: &[(i32, u64)], canary: &[(i32, u64)]) -> Vec<Row> {
    let mut rows = with_baseline(2 * minutes, canary);
    for row in &mut rows[60..60 + minutes as usize] {
        row.canary.as_mut().unwrap().latency = Some(samples(600, burn_in));
    }
    rows
}

#[test]
fn a_burn_in_learns_by_how_much_two_groups_of_one_version_differ() {
    let rules = Rules { burn_in: Span::from_minutes(30), ..slow_rules(|_| ()) };
    let slower = [(-25, 860), (-17, 110), (-8, 30)];
    assert_eq!(judged(&burnt_in(30, &USUAL, &slower), &rules).verdict, Verdict::Harmful);
    let judgement = judged(&burnt_in(30, &slower, &slower), &rules);
    assert_ne!(judgement.verdict, Verdict::Harmful, "{}", judgement.reason);
    assert!(only(&judgement).notes.iter().any(|note| note.starts_with("burn-in: ")));
    // Worse than its own burn-in is harm again.
    let much_slower = [(-25, 700), (-17, 230), (-8, 70)];
    assert_eq!(judged(&burnt_in(30, &slower, &much_slower), &rules).verdict, Verdict::Harmful);
}

#[test]
fn nothing_is_judged_in_a_burn_in_and_it_lasts_until_somebody_ends_it() {
    let rules = Rules { burn_in: Span::from_minutes(30), ..slow_rules(|_| ()) };
    let rows = burnt_in(30, &[(-3, 1_000)], &USUAL);
    let until = |minutes: usize, burn_in| {
        judged_under(&rows[..60 + minutes], &rules, &Conditions { burn_in, ..Conditions::default() })
    };
    let early = until(10, BurnIn::Open);
    assert_eq!(early.reason, Reason::BurningIn { minutes_left: Some(20) });
    assert_eq!((early.step.unwrap().minutes, early.log_e_harm), (0, 0.0));
    assert_eq!(until(40, BurnIn::Open).reason, Reason::BurningIn { minutes_left: None });
    let ended = until(40, BurnIn::Ended(start().plus(95)));
    assert_eq!(ended.step.unwrap().judged, 3);
}

#[test]
fn a_burn_in_that_nobody_ended_proves_nothing_whatever_the_weights_do_meanwhile() {
    let rules = Rules { burn_in: Span::from_minutes(30), ..slow_rules(|_| ()) };
    let mut rows = with_baseline(60, &USUAL);
    rows[70] = row(70, 0.0, latency(5_400, &USUAL), ArmCounts::default());
    let open = Conditions { burn_in: BurnIn::Open, ..Conditions::default() };
    let judgement = judged_under(&rows, &rules, &open);
    assert_eq!(judgement.reason, Reason::BurningIn { minutes_left: None });
    // Once it is over, harm counts although nobody has said that the new version is there.
    let slow: Vec<Row> = with_baseline(120, &[(-3, 1_000)]);
    let came_early: Vec<Row> = rows[..95].iter().chain(&slow[95..]).cloned().collect();
    assert_eq!(judged_under(&came_early, &rules, &open).verdict, Verdict::Harmful);
    // What the old version proved does not count for the new one.
    let ended = Conditions { burn_in: BurnIn::Ended(start().plus(110)), ..open };
    let judgement = judged_under(&with_baseline(53, &USUAL), &rules, &ended);
    assert_eq!(judgement.step.unwrap().judged, 1);
    assert!(judgement.checks[0].log_e_health < 1.0);
}

#[test]
fn a_burn_in_too_sparse_to_show_noise_leaves_sticky_clients_their_factor() {
    let rules =
        Rules { burn_in: Span::from_minutes(30), ..rules(ERRORS, CheckRule::Errors(ErrorsCheck::default())) };
    let minute = |at| {
        let mut row = row(at, 10.0, ArmCounts::default(), ArmCounts::default());
        row.stable.as_mut().unwrap().http_5xx = Some(u64::from(at % 2 == 0));
        row
    };
    let rows: Vec<Row> = (0..60).map(minute).collect();
    let sticky = Conditions { sticky: true, ..Conditions::default() };
    assert_eq!(only(&judged_under(&rows, &rules, &sticky)).design_effect, STICKY_DESIGN_EFFECT);
}

#[test]
fn what_cannot_be_proven_in_time_must_at_least_not_look_worse() {
    let p99 =
        slow_rules(|check| check.bad_beyond = BadBeyond::Quantiles(vec!["p99".parse::<Quantile>().unwrap()]));
    let rules = Rules { decide_within: Span::from_minutes(10), bake: Span::from_minutes(15), ..p99 };
    let with = |canary: &[(i32, u64)]| {
        let mut rows = with_baseline(18, canary);
        rows.iter_mut().for_each(|row| {
            let stable = [(-25, 900), (-17, 85), (-8, 10), (-3, 5)];
            row.stable.as_mut().unwrap().latency = Some(samples(1_000, &stable));
            row.canary.iter_mut().for_each(|arm| arm.latency = Some(samples(100, canary)));
        });
        judged(&rows, &rules)
    };
    let fine = with(&[(-25, 900), (-17, 100)]);
    assert_eq!(only(&fine).parts[0].log_e_health, None);
    assert_eq!(fine.reason, Reason::Proven);
    let doubtful = with(&[(-25, 900), (-17, 90), (-3, 10)]);
    assert_eq!(doubtful.reason, Reason::NotYetProven { check: LATENCY.into() });
}

#[test]
fn a_class_that_only_the_canary_has_is_not_hidden_among_the_rare_ones() {
    let minute = |at| answers(at, [5_399, 1, 0], [558, 42, 0]);
    let judgement =
        judged(&(0..40).map(minute).collect::<Vec<_>>(), &classes(&["positive", "neutral", "negative"]));
    assert_eq!(judgement.verdict, Verdict::Harmful);
}

#[test]
fn without_a_common_class_health_is_asked_of_the_most_common_one() {
    let names: Vec<String> = (0..30).map(|at| format!("class{at}")).collect();
    let values: Vec<&str> = names.iter().map(String::as_str).collect();
    let spread = |each: u64| {
        let classes = names.iter().map(|name| (name.clone(), each)).collect();
        metric("prediction", MetricCounts::Classes { classes })
    };
    let minute = |at| row(at, 10.0, spread(180), spread(20));
    let judgement = judged(&(0..200).map(minute).collect::<Vec<_>>(), &classes(&values));
    assert_eq!(judgement.verdict, Verdict::Healthy, "{}", judgement.reason);
}

#[test]
fn counts_as_large_as_readers_let_them_be_are_judged() {
    let most = 1_000_000_000_000;
    let rules = rules("thumbs_down", CheckRule::Ratio(RatioCheck::default()));
    let rows: Vec<Row> =
        (0..1_200).map(|at| thumbs(at, (most / 100, most), (most / 1_000, most / 10))).collect();
    assert_eq!(judged(&rows, &rules).verdict, Verdict::Healthy);
}

#[test]
fn fewer_than_four_targets_tolerate_more_unless_the_plan_says_how_much() {
    let slightly = [(-25, 870), (-17, 105), (-8, 25)];
    let rows = with_baseline(120, &slightly);
    let with = |targets, rules: &Rules| {
        judged_under(&rows, rules, &Conditions { canary_targets: Some(targets), ..Conditions::default() })
    };
    let usual = slow_rules(|_| ());
    let (few, many) = (with(2, &usual), with(8, &usual));
    assert!(only(&few).log_e_harm < only(&many).log_e_harm);
    assert!(only(&few).notes.iter().any(|note| note.contains("fewer than 4 canary targets")));
    let fixed = slow_rules(|check| check.tolerate = Some(Margin::Times(TOLERATE)));
    assert_eq!(only(&with(2, &fixed)).log_e_harm, only(&with(8, &fixed)).log_e_harm);
}

#[test]
fn errors_have_half_of_the_evidence_and_the_other_checks_share_the_rest() {
    let with = |names: &[&str]| {
        let check = |name: &&str| match *name {
            ERRORS => Check::new(ERRORS, CheckRule::Errors(ErrorsCheck::default())),
            name => Check::new(name, CheckRule::Ratio(RatioCheck::default())),
        };
        let rules = Rules { checks: names.iter().map(check).collect(), ..Rules::default() };
        rules.checks.iter().map(|check| rules.weight(check)).collect::<Vec<f64>>()
    };
    assert_eq!(with(&[ERRORS]), [1.0]);
    assert_eq!(with(&[ERRORS, "a"]), [0.5, 0.5]);
    assert_eq!(with(&["a", ERRORS, "b"]), [0.25, 0.5, 0.25]);
    assert_eq!(with(&["a", "b"]), [0.5, 0.5]);
}
