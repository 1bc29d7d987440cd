//! One look at a whole window: its numbers against SciPy's, what it pools, what it warns of, and the command
//! `compare`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use canary_gate::analysis::check::{
    Check, CheckRule, ClassesCheck, DistributionCheck, ErrorsCheck, RatioCheck, Rules, Worse,
};
use canary_gate::analysis::one_look::{
    ALPHA, Caution, Effect, Finding, Lack, OneLook, Outcome, Test, Tested, holm, one_look,
};
use canary_gate::analysis::window::{Arm, ArmCounts, Distribution, MetricCounts, Row, Tally, Window};
use canary_gate::sim::random::Random;
use canary_gate::stats::{self, MANN_WHITNEY_MIN_SAMPLES, mann_whitney};
use canary_gate::units::{Minute, Rate, Share, Times};
use serde_json::{Value, json};

use crate::command_line::{TempFile, err, out, run, run_with, status};

/// SciPy's Mann-Whitney goes through a normal tail of another library.
const NORMAL_REL: f64 = 1e-9;
const EXACT_REL: f64 = 1e-11;

fn oracle(table: &str) -> Vec<Value> {
    let tables: Value = serde_json::from_str(include_str!("../oracle/stats.json")).unwrap();
    tables[table].as_array().unwrap().clone()
}

fn number(value: &Value) -> f64 {
    value.as_str().map_or_else(|| value.as_f64().unwrap(), |text| text.parse().unwrap())
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn counts(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(count).collect()
}

fn assert_close(got: f64, want: f64, relative: f64, case: &Value) {
    assert!((got - want).abs() <= relative * want, "got {got:e}, want {want:e}: {case}");
}

fn row(at: i64, percent: f64, stable: ArmCounts, canary: ArmCounts) -> Row {
    let start: Minute = "2026-03-01T10:00:00Z".parse().unwrap();
    let share = Share::from_percent(percent).unwrap();
    Row { minute: start.plus(at), share, stable: Some(stable), canary: Some(canary) }
}

fn arm(requests: u64, failed: u64) -> ArmCounts {
    ArmCounts { requests, http_2xx: Some(requests - failed), http_5xx: Some(failed), ..ArmCounts::default() }
}

fn with_metric(metric: MetricCounts) -> ArmCounts {
    ArmCounts { metrics: BTreeMap::from([("metric".to_owned(), metric)]), ..arm(1_000, 0) }
}

fn values(bins: &[u64]) -> Distribution {
    let mut below = 0;
    let mut cumulative = |(edge, bin): (usize, &u64)| {
        below += bin;
        (i32::try_from(edge).unwrap(), below)
    };
    let le = bins.iter().enumerate().take(bins.len() - 1).map(&mut cumulative).collect();
    Distribution { count: bins.iter().sum(), le }
}

fn classes(of: &[(&str, u64)]) -> ArmCounts {
    let classes = of.iter().map(|(class, n)| ((*class).to_owned(), *n)).collect();
    with_metric(MetricCounts::Classes { classes })
}

fn rules(rule: CheckRule) -> Rules {
    let name = if matches!(rule, CheckRule::Latency(_)) { "latency" } else { "metric" };
    Rules { checks: vec![Check::new(name, rule)], ..Rules::default() }
}

fn errors() -> Rules {
    rules(CheckRule::Errors(ErrorsCheck::default()))
}

fn class_check(values: &[&str]) -> Rules {
    rules(CheckRule::Classes(ClassesCheck {
        source: None,
        values: values.iter().map(|class| (*class).to_owned()).collect(),
        tolerate: None,
        promote_within: Times::constant(1.5),
    }))
}

fn look(rows: impl IntoIterator<Item = Row>, rules: &Rules) -> OneLook {
    one_look(&rows.into_iter().collect::<Window>(), rules, ALPHA)
}

fn only(look: &OneLook) -> &Tested {
    let Outcome::Tested(tested) = &look.checks[0].outcome else { panic!("{look:?}") };
    tested
}

fn cells(case: &Value) -> [u64; 4] {
    ["x1", "n1", "x0", "n0"].map(|name| count(&case[name]))
}

#[test]
fn pooled_errors_agree_with_fishers_exact_test_of_scipy_also_where_the_arms_are_lopsided() {
    let cases = oracle("fisher");
    let lopsided = |case: &&Value| cells(case) == [20, 2_000, 100, 38_000];
    assert!(cases.iter().any(|case| lopsided(&case)), "20, 1,980, 100, 37,900 is there");
    for case in &cases {
        let [x1, n1, x0, n0] = cells(case);
        // In two minutes, one of them nearly empty.
        let first = row(0, 5.0, arm(1.min(n0 - x0), 0), arm(1.min(x1), 1.min(x1)));
        let second = row(1, 5.0, arm(n0 - 1.min(n0 - x0), x0), arm(n1 - 1.min(x1), x1 - 1.min(x1)));
        let look = look([first, second], &errors());
        let tested = only(&look);
        assert_eq!(tested.test, Test::Fisher);
        assert_close(tested.p_value, number(&case["greater"]), EXACT_REL, case);
    }
}

#[test]
fn a_class_against_the_rest_is_tested_on_both_sides_by_twice_the_smaller_one() {
    for case in oracle("fisher") {
        let [x1, n1, x0, n0] = cells(&case);
        let stable = classes(&[("a", x0), ("b", n0 - x0)]);
        let look =
            look([row(0, 5.0, stable, classes(&[("a", x1), ("b", n1 - x1)]))], &class_check(&["a", "b"]));
        // Two classes mirror each other, and Holm counts both.
        let want = (2.0 * number(&case["two_sided"])).min(1.0);
        assert_close(only(&look).p_value, want, EXACT_REL, &case);
    }
}

#[test]
fn a_ratio_of_events_agrees_with_the_binomial_test_of_scipy() {
    let rules = rules(CheckRule::Ratio(RatioCheck { events: true, ..RatioCheck::default() }));
    for case in oracle("event_tail") {
        let [x1, n1, x0, n0] = cells(&case);
        let ratio = |bad, total| with_metric(MetricCounts::Ratio(Tally { bad, total }));
        let look = look([row(0, 5.0, ratio(x0, n0), ratio(x1, n1))], &rules);
        assert_eq!(only(&look).test, Test::Binomial);
        assert_close(only(&look).p_value, number(&case["greater"]), EXACT_REL, &case);
    }
}

#[test]
fn binned_values_agree_with_the_mann_whitney_test_of_scipy_in_either_direction() {
    for case in oracle("mann_whitney") {
        let mut bins = [counts(&case["second"]), counts(&case["first"])];
        for worse in [Worse::Higher, Worse::Lower] {
            let rule = DistributionCheck { worse, ..DistributionCheck::values() };
            let [stable, canary] =
                [&bins[0], &bins[1]].map(|bins| with_metric(MetricCounts::Values(values(bins))));
            let look = look([row(0, 5.0, stable, canary)], &rules(CheckRule::Values(rule)));
            let tested = only(&look);
            assert_close(tested.p_value, number(&case["p"]), NORMAL_REL, &case);
            let Effect::Distributions { chance_worse, .. } = tested.effect else { panic!("{tested:?}") };
            assert_close(chance_worse, number(&case["u"]) / number(&case["pairs"]), EXACT_REL, &case);
            bins.iter_mut().for_each(|bins| bins.reverse());
        }
    }
}

#[test]
fn the_normal_approximation_is_good_to_two_digits_from_twenty_samples_on_and_not_asked_below() {
    for case in oracle("mann_whitney_exact") {
        let [first, second] = ["first", "second"].map(|name| counts(&case[name]));
        let test = mann_whitney(&first, &second).unwrap();
        let asymptotic = number(&case["asymptotic"]);
        assert!((test.p_value - asymptotic).abs() <= 1e-12 + NORMAL_REL * asymptotic, "{test:?}: {case}");
        let samples = first.iter().sum::<u64>().min(second.iter().sum());
        let [stable, canary] = [&second, &first].map(|bins| with_metric(MetricCounts::Values(values(bins))));
        let look =
            look([row(0, 5.0, stable, canary)], &rules(CheckRule::Values(DistributionCheck::values())));
        if samples < MANN_WHITNEY_MIN_SAMPLES {
            let lack = Lack::FewSamples { have: samples, need: MANN_WHITNEY_MIN_SAMPLES };
            assert_eq!(look.checks[0].outcome, Outcome::Untested(lack));
        } else {
            assert!((only(&look).p_value - number(&case["p"])).abs() < 0.005, "{test:?}: {case}");
        }
    }
}

#[test]
fn holms_correction_is_the_one_of_its_closed_test() {
    for case in oracle("holm") {
        let p: Vec<f64> = case["p"].as_array().unwrap().iter().map(number).collect();
        let adjusted = case["adjusted"].as_array().unwrap();
        for (got, want) in holm(&p).into_iter().zip(adjusted) {
            assert_close(got, number(want), 1e-15, &case);
        }
    }
    assert_eq!(holm(&[]), Vec::<f64>::new());
}

#[test]
fn one_check_more_makes_each_of_them_more_careful() {
    let one = errors();
    let ratio = CheckRule::Ratio(RatioCheck::default());
    let two = Rules { checks: vec![one.checks[0].clone(), Check::new("ratio", ratio)], ..Rules::default() };
    let with = |counts: ArmCounts, bad, total| {
        let ratio = MetricCounts::Ratio(Tally { bad, total });
        ArmCounts { metrics: BTreeMap::from([("ratio".to_owned(), ratio)]), ..counts }
    };
    let rows = [row(0, 50.0, with(arm(2_000, 20), 100, 500), with(arm(2_000, 34), 100, 500))];
    let alone = look(rows.clone(), &one);
    let both = look(rows, &two);
    assert_eq!((alone.finding, both.finding), (Finding::Harmful, Finding::NotShown));
    assert_eq!(only(&both).p_adjusted, 2.0 * only(&alone).p_value);
}

#[test]
fn requests_that_a_later_minute_answers_are_no_errors_and_those_never_answered_are() {
    let open = |requests, answered| ArmCounts { requests, http_2xx: Some(answered), ..ArmCounts::default() };
    let late = [
        row(0, 50.0, open(1_000, 1_000), open(1_000, 400)),
        row(1, 50.0, open(1_000, 1_000), open(1_000, 1_600)),
    ];
    let tally = |look: &OneLook| match &only(look).effect {
        Effect::Rates(rates) => rates.canary,
        other => panic!("{other:?}"),
    };
    assert_eq!(tally(&look(late.clone(), &errors())), Tally { bad: 0, total: 2_000 });
    let lost = [late[0].clone(), row(1, 50.0, open(1_000, 1_000), open(1_000, 1_000))];
    let found = look(lost.clone(), &errors());
    assert_eq!((tally(&found), found.finding), (Tally { bad: 600, total: 2_000 }, Finding::Harmful));
    let not_counted = ErrorsCheck { count_unanswered: false, ..ErrorsCheck::default() };
    assert_eq!(look(lost, &rules(CheckRule::Errors(not_counted))).finding, Finding::NotShown);
}

#[test]
fn only_minutes_with_a_share_and_both_arms_are_pooled() {
    let mut rows: Vec<Row> = (0..10).map(|at| row(at, 50.0, arm(200, 1), arm(200, 1))).collect();
    rows[0] = row(0, 0.0, arm(200, 0), arm(200, 200));
    rows[1].stable = None;
    rows[2].canary = None;
    let look = look(rows, &errors());
    assert_eq!((look.minutes, look.finding), (7, Finding::NotShown));
    let Effect::Rates(rates) = only(&look).effect else { panic!("{look:?}") };
    assert_eq!((rates.stable.total, rates.canary), (1_400, Tally { bad: 7, total: 1_400 }));
    assert_eq!(rates.times, Some(1.0));
}

#[test]
fn quantiles_are_told_by_the_bins_that_they_lie_in() {
    let of = |bins: &[u64]| ArmCounts { latency: Some(values(bins)), ..arm(1_000, 0) };
    let rows = [row(0, 50.0, of(&[500, 400, 100, 0]), of(&[100, 300, 500, 100]))];
    let look = look(rows, &rules(CheckRule::Latency(DistributionCheck::latency())));
    assert_eq!(look.finding, Finding::Harmful);
    let Effect::Distributions { quantiles, .. } = &only(&look).effect else { panic!("{look:?}") };
    let told: Vec<String> =
        quantiles.iter().map(|at| format!("{} {}, {}", at.quantile, at.stable, at.canary)).collect();
    let want = [
        "p50 below 1.000, 1.100 to 1.210",
        "p95 1.100 to 1.210, above 1.210",
        "p99 1.100 to 1.210, above 1.210",
    ];
    assert_eq!(told, want);
}

#[test]
fn minutes_with_other_edges_are_added_up_at_the_edges_they_share() {
    let of = |le: &[(i32, u64)]| {
        let latency = Distribution { count: 1_000, le: le.iter().copied().collect() };
        ArmCounts { latency: Some(latency), ..arm(1_000, 0) }
    };
    let rules = rules(CheckRule::Latency(DistributionCheck::latency()));
    let good = || of(&[(0, 500), (3, 900), (5, 1_000)]);
    let rows =
        [row(0, 50.0, good(), good()), row(1, 50.0, of(&[(3, 900), (7, 950)]), of(&[(3, 100), (7, 950)]))];
    let found = look(rows, &rules);
    let Effect::Distributions { quantiles, .. } = &only(&found).effect else { panic!("{found:?}") };
    assert_eq!((found.finding, quantiles[0].canary.to_string().as_str()), (Finding::Harmful, "below 1.331"));
    let none = look([row(0, 50.0, of(&[(1, 5)]), of(&[(2, 5)]))], &rules);
    assert_eq!(none.checks[0].outcome, Outcome::Untested(Lack::NoCommonEdge));
}

#[test]
fn classes_that_the_plan_does_not_name_count_as_one_more() {
    let rows = [row(
        0,
        50.0,
        classes(&[("yes", 500), ("no", 490), ("odd", 4), ("odder", 6)]),
        classes(&[("yes", 500), ("no", 440), ("odd", 20), ("odder", 40)]),
    )];
    let look = look(rows, &class_check(&["yes", "no"]));
    let Effect::Classes(classes) = &only(&look).effect else { panic!("{look:?}") };
    let names: Vec<&str> = classes.iter().map(|class| class.class.as_str()).collect();
    assert_eq!((look.finding, names), (Finding::Harmful, vec!["no", "other", "yes"]));
    assert_eq!(classes[1].rates.canary, Tally { bad: 60, total: 1_000 });
    assert!(classes[1].p_adjusted < 1e-6 && classes[2].p_adjusted == 1.0, "{classes:?}");
    assert_eq!(only(&look).p_value, classes[1].p_adjusted);
}

#[test]
fn too_little_data_is_no_good_news_and_no_excuse_for_harm() {
    let few = |failed| look([row(0, 50.0, arm(5_000, 10), arm(500, failed))], &errors());
    assert_eq!((few(1).finding, few(100).finding), (Finding::TooLittle, Finding::Harmful));
    assert!(few(1).cautions.contains(&Caution::FewRequests { arm: Arm::Canary, have: 500, need: 1_000 }));
    assert_eq!(look([], &errors()).finding, Finding::TooLittle);
    let ratio =
        look([row(0, 50.0, arm(5_000, 5), arm(5_000, 5))], &rules(CheckRule::Ratio(RatioCheck::default())));
    assert_eq!(ratio.checks[0].outcome, Outcome::Untested(Lack::NoData));
    assert_eq!(ratio.finding, Finding::TooLittle, "a check without data is not passed");
    let standard = look([row(0, 50.0, arm(5_000, 5), arm(5_000, 5))], &Rules::default());
    assert_eq!(standard.checks[1].outcome, Outcome::Untested(Lack::LeftOut));
    assert_eq!(standard.finding, Finding::NotShown, "a balancer that publishes no times is no lack");
}

/// Stable and canary fail alike in every minute, before and after the shift.
fn two_steps(percents: [f64; 2], per_mille: [u64; 2]) -> OneLook {
    let rows = (0..60).map(|at| {
        let late = usize::from(at >= 30);
        let canary = (percents[late] * 100.0) as u64;
        let of = |requests: u64| arm(requests, requests * per_mille[late] / 1_000);
        row(at, percents[late], of(10_000 - canary), of(canary))
    });
    look(rows, &errors())
}

#[test]
fn pooling_over_steps_with_another_base_rate_is_warned_of() {
    let warned = |look: &OneLook| {
        look.cautions.iter().any(|caution| matches!(caution, Caution::ShareAndBaseChanged { .. }))
    };
    let both = two_steps([5.0, 50.0], [10, 30]);
    assert_eq!(both.finding, Finding::Harmful, "Simpson: alike in every minute, worse in the sum");
    assert!(warned(&both));
    for (percents, per_mille) in [([5.0, 50.0], [10, 10]), ([5.0, 5.0], [10, 30])] {
        let look = two_steps(percents, per_mille);
        assert_eq!((look.finding, warned(&look)), (Finding::NotShown, false), "{percents:?} {per_mille:?}");
    }
}

#[test]
fn every_answer_says_that_it_is_valid_for_one_look_only() {
    let look = look([row(0, 50.0, arm(5_000, 5), arm(5_000, 5))], &errors());
    assert_eq!(look.cautions, [Caution::OneLookOnly]);
    assert!(Caution::OneLookOnly.to_string().contains("ONE look only"));
}

#[test]
fn one_look_keeps_its_level_and_a_look_every_minute_breaks_it_as_the_warning_says() {
    const RUNS: usize = 400;
    let mut random = Random::new(20_260_301, 0);
    let (mut once, mut ever) = (0, 0);
    for _ in 0..RUNS {
        let mut sums = [Tally::default(); 2];
        let mut p_value = 1.0;
        let mut condemned = false;
        for _ in 0..240 {
            for (sum, requests) in sums.iter_mut().zip([200, 200]) {
                sum.add(Tally { bad: random.binomial(requests, 0.02), total: requests });
            }
            let [canary, stable] = sums.map(|sum| stats::Arm::new(sum.bad, sum.total).unwrap());
            p_value = stats::Table::new(canary, stable).unwrap().fisher_p_value();
            condemned |= p_value <= ALPHA.fraction();
        }
        once += usize::from(p_value <= ALPHA.fraction());
        ever += usize::from(condemned);
    }
    // At 5 %: 20 of 400, and more than 33 once in a thousand times.
    assert!(once <= 33, "{once} of {RUNS} by one look");
    assert!((RUNS * 12 / 100..=RUNS * 35 / 100).contains(&ever), "{ever} of {RUNS} by 240 looks");
}

const HEADER: &str = r#"{"recording":1,"source":"a test","stable":"v41","canary":"v42"}"#;
const PLAN: &str = "steps: [10%]\nmin_requests: 200\n";

fn recording(minutes: u32, failed: u64) -> String {
    let mut text = format!("{HEADER}\n");
    for at in 0..minutes {
        let of = |requests: u64, failed: u64, slow: u64| {
            let latency = json!({ "count": requests, "le": { "-20": requests - slow - requests / 10, "-8": requests - slow } });
            json!({ "requests": requests, "http_2xx": requests - failed, "http_5xx": failed, "latency": latency })
        };
        let minute = format!("2026-03-01T10:{at:02}:00Z");
        let row = json!({ "minute": minute, "share": 10.0, "stable": of(900, 3, 90), "canary": of(100, failed, 10) });
        writeln!(text, "{row}").unwrap();
    }
    text
}

fn compare(name: &str, minutes: u32, failed: u64, more: &[&str]) -> (i32, String) {
    let plan = TempFile::new(&format!("compare-{name}.yaml"), PLAN);
    let mut arguments = vec!["compare", "--plan", plan.name(), "--recording", "-"];
    arguments.extend(more);
    let output = run_with(&arguments, &recording(minutes, failed));
    assert_eq!(err(&output), "", "{arguments:?}");
    (status(&output), out(&output))
}

#[test]
fn compare_answers_with_its_exit_status_and_always_warns() {
    for (name, minutes, failed, want, said) in [
        ("good", 30, 0, 0, "not shown to be worse than stable"),
        ("bad", 30, 4, 1, "worse than stable: errors"),
        ("short", 1, 0, 2, "too little data to tell"),
    ] {
        let (status, text) = compare(name, minutes, failed, &[]);
        assert_eq!(status, want, "{text}");
        assert!(text.contains(&format!("\n{said}\n")), "{text}");
        assert!(text.contains("ONE look only") && text.contains("12-35 %"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    }
}

#[test]
fn compare_tells_the_same_as_one_json_object() {
    let (status, text) = compare("json", 30, 4, &["--format", "json", "--alpha", "1%"]);
    assert_eq!((status, text.lines().count()), (1, 1));
    let look: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&look["finding"], &look["alpha"]), (&json!("harmful"), &json!("1%")));
    assert_eq!((&look["minutes"], &look["last"]), (&json!(30), &json!("2026-03-01T10:29:00Z")));
    let [errors, latency] = [0, 1].map(|at| look["checks"][at]["tested"].clone());
    assert_eq!((&errors["test"], &errors["worse"]), (&json!("fisher"), &json!(true)));
    assert_eq!(errors["effect"]["rates"]["canary"], json!({ "bad": 120, "total": 3_000 }));
    assert_eq!((&latency["test"], &latency["worse"]), (&json!("mann_whitney"), &json!(false)));
    let p95 = &latency["effect"]["distributions"]["quantiles"][1];
    assert_eq!((&p95["quantile"], &p95["stable"]["to"]), (&json!("p95"), &Value::Null));
    assert_eq!(look["cautions"][0], json!({ "code": "one_look_only" }));
}

#[test]
fn a_stricter_level_condemns_less() {
    let errors = |alpha: &str| {
        one_look(
            &[row(0, 50.0, arm(2_000, 20), arm(2_000, 34))].into_iter().collect(),
            &errors(),
            alpha.parse::<Rate>().unwrap(),
        )
    };
    assert_eq!([errors("5%").finding, errors("1%").finding], [Finding::Harmful, Finding::NotShown]);
}

#[test]
fn compare_refuses_what_the_other_commands_refuse() {
    let plan = TempFile::new("compare-usage.yaml", PLAN);
    let file = TempFile::new("compare-usage.jsonl", &recording(3, 0));
    for (alpha, said) in [("0%", "above 0%"), ("51%", "above 0%"), ("5", "above 0%"), ("-1%", "above 0%")] {
        let output = run(&["compare", "--plan", plan.name(), "--recording", file.name(), "--alpha", alpha]);
        assert_eq!(status(&output), 64, "{alpha}");
        assert!(err(&output).contains(said), "{}", err(&output));
    }
    assert_eq!(status(&run(&["compare", "--plan", "-", "--recording", "-"])), 64);
    assert_eq!(status(&run(&["compare", "--plan", plan.name(), "--recording", "/nowhere"])), 66);
    for text in ["", HEADER, "{}"] {
        let output = run_with(&["compare", "--plan", plan.name(), "--recording", "-"], text);
        assert_eq!((status(&output), out(&output).as_str()), (65, ""));
    }
    let wrong = TempFile::new("compare-wrong.yaml", "bakes: 15m\n");
    assert_eq!(status(&run(&["compare", "--plan", wrong.name(), "--recording", file.name()])), 65);
    let help = run(&["compare", "--help"]);
    assert!(out(&help).contains("Example") && out(&help).contains("ONE look"), "{}", out(&help));
}
