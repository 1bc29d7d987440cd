//! What plans can write under `checks`.

use std::collections::BTreeMap;

use super::tests::{asked_for, plan, problem, problems};
use super::*;
use crate::analysis::check::{
    BadBeyond, Check, CheckRule, ClassesCheck, ClassesSource, DistributionCheck, ErrorsCheck, Margin, Metric,
    RatioCheck, RatioSource, Rules, Statistic, Tolerance, Worse,
};
use crate::units::{Quantile, Times};

/// A metric without the key that only some have.
const METRIC: &str = "namespace: Shop, metric: Faults, dimensions: {Service: checkout}, \
                      stable: {Version: v41}, canary: {Version: v42}";

/// The rule of the only check, which is called `mine` unless it is the load balancer's.
fn rule(check: &str) -> CheckRule {
    let mut checks = plan(&format!("checks: {{{check}}}")).rules.checks;
    assert_eq!(checks.len(), 1, "{check}");
    checks.remove(0).rule
}

fn offline(check: &str) -> Result<CheckRule, PlanErrors> {
    let checked = parse_plan(&format!("checks: {{{check}}}"), Scope::Offline)?;
    Ok(checked.plan.rules.checks[0].rule.clone())
}

/// The key of the one problem of a check, below `checks`.
fn wrong(check: &str) -> String {
    let (key, _) = problem(&format!("checks: {{{check}}}"));
    key.strip_prefix("checks.").unwrap_or_else(|| panic!("{check}: {key}")).to_owned()
}

fn ratio(keys: &str) -> String {
    format!("mine: {{ratio: {{bad: {{{METRIC}}}, total: {{{METRIC}, statistic: sample_count}}}}, {keys}}}")
}

fn values(keys: &str) -> String {
    format!("mine: {{values: {{{METRIC}}}, {keys}}}")
}

fn classes(source: &str, keys: &str) -> String {
    format!("mine: {{classes: {{{METRIC}, dimension: Label, values: [positive, negative]{source}}}, {keys}}}")
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn metric(statistic: Statistic) -> Metric {
    Metric {
        namespace: "Shop".to_owned(),
        metric: "Faults".to_owned(),
        dimensions: map(&[("Service", "checkout")]),
        stable: map(&[("Version", "v41")]),
        canary: map(&[("Version", "v42")]),
        statistic,
    }
}

fn quantiles(texts: &[&str]) -> BadBeyond {
    BadBeyond::Quantiles(texts.iter().map(|text| text.parse::<Quantile>().unwrap()).collect())
}

fn times(text: &str) -> Times {
    text.parse().unwrap()
}

#[test]
fn without_the_key_errors_and_latency_are_checked_and_with_it_exactly_what_is_written() {
    assert_eq!(plan("").rules.checks, Rules::default().checks);
    assert_eq!(plan("checks: {errors: {}, latency: {}}").rules, asked_for(Rules::default()));
    for lines in ["checks: {errors: {}}", "checks:\n  errors:\n", "checks: {errors: null}"] {
        let expected = vec![Check::new("errors", CheckRule::Errors(ErrorsCheck::default()))];
        assert_eq!(plan(lines).rules.checks, expected, "{lines}");
    }
    assert_eq!(rule("latency: {}"), CheckRule::Latency(DistributionCheck::latency()));
    let names: Vec<String> = plan(&format!("checks: {{{}, latency: {{}}}}", ratio("")))
        .rules
        .checks
        .into_iter()
        .map(|c| c.name)
        .collect();
    assert_eq!(names, ["latency", "mine"]);
}

#[test]
fn the_errors_check_takes_all_its_keys() {
    let expected = ErrorsCheck {
        tolerate: Some(Tolerance { times: Some(times("2x")), points: Some("1%".parse().unwrap()) }),
        slo: Some("1.5%".parse().unwrap()),
        ignore_below: "0%".parse().unwrap(),
        abort_above: None,
        only_if_worse_than_stable: false,
        promote_within: Tolerance { times: None, points: Some("2%".parse().unwrap()) },
        count_4xx: true,
        count_unanswered: false,
    };
    let written = "errors: {tolerate: [+1%, 2x], slo: 1.5%, ignore_below: 0%, abort_above: off, \
                   only_if_worse_than_stable: no, promote_within: +2%, count_4xx: true, \
                   count_unanswered: false}";
    assert_eq!(rule(written), CheckRule::Errors(expected));
    for (body, key) in [
        ("tolerate: []", "tolerate"),
        ("tolerate: [1.5x, 2x]", "tolerate"),
        ("tolerate: [1.5x, +1%, +2%]", "tolerate"),
        ("tolerate: 0.9x", "tolerate"),
        ("tolerate: +-1%", "tolerate"),
        ("ignore_below: 101%", "ignore_below"),
        ("abort_above: true", "abort_above"),
        ("abort_above: 0%", "abort_above"),
        ("abort_above: 5%, ignore_below: 5%", "abort_above"),
        ("ignore_below: 10%", "abort_above"),
        ("promote_within: 1x", "promote_within"),
        ("promote_within: +0%", "promote_within"),
        ("count_4xx: 1", "count_4xx"),
        ("count_4xx: 'true'", "count_4xx"),
        ("tolerate: ", "tolerate"),
        ("slo: 0%", "slo"),
        ("slo: true", "slo"),
        ("slo: 10%", "slo"),
        ("slo: 6%, abort_above: 5%", "slo"),
    ] {
        assert_eq!(wrong(&format!("errors: {{{body}}}")), format!("errors.{key}"), "{body}");
    }
    rule("errors: {slo: 9.9%}");
    rule("errors: {slo: 0.05%}");
    rule("errors: {slo: 50%, abort_above: false}");
}

#[test]
fn what_is_no_mapping_of_checks_is_refused() {
    for checks in ["{}", "[]", "errors", "{errors: [1]}", "{errors: 5%}", "{latency: 400ms}", "{mine: 5}"] {
        assert!(problem(&format!("checks: {checks}")).0.starts_with("checks"), "{checks}");
    }
}

#[test]
fn latency_takes_quantiles_or_a_length() {
    let expected = DistributionCheck {
        bad_beyond: quantiles(&["p99.9", "p50"]),
        tolerate: Some(Margin::Relative("10%".parse().unwrap())),
        promote_within: Some(times("1.1x")),
        ignore_below: 0.0,
        ..DistributionCheck::latency()
    };
    let written = "latency: {quantiles: [p99.9, p50], tolerate: 10%, promote_within: 1.1x, ignore_below: 0}";
    assert_eq!(rule(written), CheckRule::Latency(expected));
    let expected = DistributionCheck {
        bad_beyond: BadBeyond::Fixed(0.4),
        tolerate: Some(Margin::Absolute(0.05)),
        ignore_below: 0.0025,
        ..DistributionCheck::latency()
    };
    let written = "latency: {slower_than: 400ms, tolerate: 50ms, ignore_below: 2.5ms}";
    assert_eq!(rule(written), CheckRule::Latency(expected));
    let expected =
        DistributionCheck { tolerate: Some(Margin::Times(times("2x"))), ..DistributionCheck::latency() };
    assert_eq!(rule("latency: {tolerate: 2x}"), CheckRule::Latency(expected));
}

#[test]
fn the_keys_of_latency_are_taken_at_their_bounds_and_refused_beyond() {
    let many = |n: u32| (1..=n).map(|k| format!("p{k}")).collect::<Vec<_>>().join(", ");
    for body in [
        format!("quantiles: [{}]", many(10)),
        "quantiles: [p0.1, p99.999]".to_owned(),
        "slower_than: 3600s".to_owned(),
        "slower_than: 10ms".to_owned(),
        "slower_than: 1us, ignore_below: 0".to_owned(),
        "tolerate: 1x".to_owned(),
        "tolerate: 100%".to_owned(),
        "tolerate: 0.001%".to_owned(),
        "promote_within: 100x".to_owned(),
    ] {
        rule(&format!("latency: {{{body}}}"));
    }
    for (body, key) in [
        (format!("quantiles: [{}]", many(11)), "quantiles"),
        ("quantiles: []".to_owned(), "quantiles"),
        ("quantiles: p50".to_owned(), "quantiles"),
        ("quantiles: [p0]".to_owned(), "quantiles[0]"),
        ("quantiles: [p50, p100]".to_owned(), "quantiles[1]"),
        ("quantiles: [p50, p99, p50.0]".to_owned(), "quantiles[2]"),
        ("quantiles: [99]".to_owned(), "quantiles[0]"),
        ("quantiles: [p50], slower_than: 400ms".to_owned(), "slower_than"),
        ("slower_than: 0ms".to_owned(), "slower_than"),
        ("slower_than: 3601s".to_owned(), "slower_than"),
        ("slower_than: 400".to_owned(), "slower_than"),
        ("slower_than: 9ms".to_owned(), "slower_than"),
        ("slower_than: ".to_owned(), "slower_than"),
        ("tolerate: 0.9x".to_owned(), "tolerate"),
        ("tolerate: 0%".to_owned(), "tolerate"),
        ("tolerate: 101%".to_owned(), "tolerate"),
        ("tolerate: 0ms".to_owned(), "tolerate"),
        ("tolerate: [1.25x, 10%]".to_owned(), "tolerate"),
        ("promote_within: 1x".to_owned(), "promote_within"),
        ("promote_within: +1%".to_owned(), "promote_within"),
        ("ignore_below: -1ms".to_owned(), "ignore_below"),
        ("threshold: 30".to_owned(), "threshold"),
    ] {
        assert_eq!(wrong(&format!("latency: {{{body}}}")), format!("latency.{key}"), "{body}");
    }
    let (_, said) = problem("checks: {latency: {slower_than: 9ms}}");
    assert_eq!(said, "must be no less than ignore_below (10ms), which would take its place");
}

#[test]
fn a_ratio_takes_all_its_keys() {
    let source = RatioSource { bad: metric(Statistic::Sum), total: metric(Statistic::SampleCount) };
    let bare = RatioCheck { source: Some(source.clone()), ..RatioCheck::default() };
    assert_eq!(rule(&ratio("")), CheckRule::Ratio(bare.clone()));
    let expected = RatioCheck {
        tolerate: Some(Tolerance::times(times("3x"))),
        ignore_below: "1%".parse().unwrap(),
        slo: Some("5%".parse().unwrap()),
        only_if_worse_than_stable: false,
        promote_within: Tolerance::times(times("2x")),
        events: false,
        ..bare
    };
    let keys = "tolerate: 3x, ignore_below: 1%, slo: 5%, only_if_worse_than_stable: false, \
                promote_within: 2x, events: false";
    assert_eq!(rule(&ratio(keys)), CheckRule::Ratio(expected));
    for (keys, key) in [
        ("promote_within: 1x", "promote_within"),
        ("slo: 0%", "slo"),
        ("abort_above: 5%", "abort_above"),
        ("events: 1", "events"),
        ("tolerate: 5", "tolerate"),
    ] {
        assert_eq!(wrong(&ratio(keys)), format!("mine.{key}"), "{keys}");
    }
}

#[test]
fn values_take_quantiles_or_a_threshold_and_know_which_side_is_bad() {
    let bare = DistributionCheck { source: Some(metric(Statistic::Sum)), ..DistributionCheck::values() };
    assert_eq!(rule(&values("")), CheckRule::Values(bare.clone()));
    let low =
        DistributionCheck { worse: Worse::Lower, bad_beyond: quantiles(&["p5", "p50"]), ..bare.clone() };
    assert_eq!(rule(&values("worse: lower")), CheckRule::Values(low.clone()));
    let fixed = DistributionCheck {
        bad_beyond: BadBeyond::Fixed(30.0),
        tolerate: Some(Margin::Absolute(5.0)),
        promote_within: Some(times("2x")),
        ..low
    };
    let keys = "worse: lower, threshold: 30, tolerate: '+5', promote_within: 2x";
    assert_eq!(rule(&values(keys)), CheckRule::Values(fixed));
    let high = DistributionCheck {
        bad_beyond: quantiles(&["p90"]),
        tolerate: Some(Margin::Relative("100%".parse().unwrap())),
        ignore_below: 0.5,
        ..bare
    };
    let keys = "worse: higher, quantiles: [p90], tolerate: 100%, ignore_below: 0.5";
    assert_eq!(rule(&values(keys)), CheckRule::Values(high));
}

#[test]
fn keys_of_values_that_can_not_be_meant_are_refused() {
    for (keys, key) in [
        ("threshold: 0", "threshold"),
        ("threshold: -1", "threshold"),
        ("threshold: '30'", "threshold"),
        ("threshold: 30ms", "threshold"),
        ("threshold: 30, quantiles: [p50]", "threshold"),
        ("threshold: 30, ignore_below: 31", "threshold"),
        ("slower_than: 400ms", "slower_than"),
        ("worse: smaller", "worse"),
        ("tolerate: +5", "tolerate"),
        ("tolerate: 50ms", "tolerate"),
        ("worse: lower, ignore_below: 1", "ignore_below"),
        ("worse: lower, tolerate: 100%", "tolerate"),
        ("worse: lower, threshold: 30, tolerate: '+30'", "tolerate"),
        ("ignore_below: -1", "ignore_below"),
        ("promote_within: 1x", "promote_within"),
        ("slo: 5%", "slo"),
    ] {
        assert_eq!(wrong(&values(keys)), format!("mine.{key}"), "{keys}");
    }
    // YAML reads `+5` as a number, which could as well be meant as a ratio.
    let (_, said) = problem(&format!("checks: {{{}}}", values("tolerate: +5")));
    assert!(said.ends_with("write 5x or '+5' (with the quotes)"), "{said}");
    let statistic = values("").replace("canary: {Version: v42}", "canary: {Version: v42}, statistic: sum");
    assert_eq!(wrong(&statistic), "mine.values.statistic");
}

#[test]
fn classes_take_their_names_and_two_ratios() {
    let labels = ["positive", "negative"].map(str::to_owned).to_vec();
    let source = ClassesSource { metric: metric(Statistic::Sum), dimension: "Label".to_owned() };
    let bare =
        ClassesCheck { source: Some(source), values: labels, tolerate: None, promote_within: times("1.5x") };
    assert_eq!(rule(&classes("", "")), CheckRule::Classes(bare.clone()));
    let source = ClassesSource { metric: metric(Statistic::SampleCount), dimension: "Label".to_owned() };
    let expected = ClassesCheck {
        source: Some(source),
        tolerate: Some(times("1x")),
        promote_within: times("2x"),
        ..bare
    };
    let written = classes(", statistic: sample_count", "tolerate: 1x, promote_within: 2x");
    assert_eq!(rule(&written), CheckRule::Classes(expected));
    for (keys, key) in [
        ("tolerate: 10%", "tolerate"),
        ("tolerate: [2x]", "tolerate"),
        ("promote_within: 1x", "promote_within"),
        ("quantiles: [p50]", "quantiles"),
    ] {
        assert_eq!(wrong(&classes("", keys)), format!("mine.{key}"), "{keys}");
    }
}

#[test]
fn classes_are_one_to_a_hundred_different_texts() {
    let with = |list: &str| classes("", "").replace("[positive, negative]", list);
    let many = |n: u32| format!("[{}]", (1..=n).map(|k| format!("c{k}")).collect::<Vec<_>>().join(", "));
    rule(&with(&many(100)));
    rule(&with("[Other, 'no', '0', ':-)']"));
    for (list, key) in [
        (many(101).as_str(), "values"),
        ("[]", "values"),
        ("positive", "values"),
        ("[a, other]", "values[1]"),
        ("[a, b, a]", "values[2]"),
        ("['']", "values[0]"),
        ("[yes]", "values[0]"),
        ("[a, 0]", "values[1]"),
        ("[é]", "values[0]"),
    ] {
        assert_eq!(wrong(&with(list)), format!("mine.classes.{key}"), "{list}");
    }
    for taken in ["Service", "Version"] {
        let check = classes("", "").replace("Label", taken);
        assert_eq!(wrong(&check), "mine.classes.dimension", "{taken}");
    }
}

#[test]
fn the_arms_of_a_metric_are_two_series() {
    for (from, to, key) in [
        ("v42", "v41", "canary"),
        ("canary: {Version: v42}", "canary: {Release: v42}", "canary"),
        ("canary: {Version: v42}", "canary: {Version: v42, Zone: a}", "canary"),
        ("canary: {Version: v42}", "canary: {}", "canary"),
        ("stable: {Version: v41}", "stable: {}", "stable"),
        ("Service: checkout", "Version: v40", "dimensions"),
        ("Version: v42", "Version: 42", "canary.Version"),
        ("Version: v42", "Version: ", "canary.Version"),
        ("Version: v42", "Version: [v42]", "canary.Version"),
        ("canary: {Version: v42}", "canary: v42", "canary"),
        ("canary: {Version: v42}", "canary:", "canary"),
        (", canary: {Version: v42}", "", "canary"),
        ("namespace: Shop, ", "", "namespace"),
        ("namespace: Shop", "namespase: Shop", "namespase"),
        ("namespace: Shop", "namespace: ':Shop'", "namespace"),
        ("metric: Faults", "metric: ' '", "metric"),
        ("metric: Faults", "metric: 5", "metric"),
        ("Service: checkout", "':Service': checkout", "dimensions.:Service"),
        ("Service: checkout", "Sérvice: checkout", "dimensions.Sérvice"),
    ] {
        let check = values("").replace(from, to);
        assert_eq!(wrong(&check), format!("mine.values.{key}"), "{to}");
    }
    rule(
        &values("")
            .replace("Version: v42", "Version: v42, Zone: a")
            .replace("Version: v41", "Version: v42, Zone: b"),
    );
    rule(&values("").replace("namespace: Shop", "namespace: AWS/SageMaker"));
    rule(&values("").replace("dimensions: {Service: checkout}, ", ""));
}

#[test]
fn names_in_cloudwatch_are_taken_at_their_bounds_and_refused_beyond() {
    let many = |n: u32| (1..=n).map(|k| format!("D{k}: v")).collect::<Vec<_>>().join(", ");
    let dimensions = |n: u32| values("").replace("Service: checkout", &many(n));
    rule(&dimensions(29));
    assert_eq!(wrong(&dimensions(30)), "mine.values.dimensions");
    let with_class = classes("", "").replace("Service: checkout", &many(29));
    assert_eq!(wrong(&with_class), "mine.classes.dimensions", "the class is a dimension, too");
    for (from, max) in [("Shop", 255), ("Faults", 255), ("checkout", 1_024), ("v42", 1_024)] {
        rule(&values("").replace(from, &"x".repeat(max)));
        let key = wrong(&values("").replace(from, &"x".repeat(max + 1)));
        assert!(key.starts_with("mine.values."), "{key}");
    }
}

#[test]
fn every_problem_of_every_check_is_told_at_once() {
    let lines = format!(
        "checks:\n  errors: {{slo: 0%, tolerrate: 2x}}\n  latency: {{quantiles: [p50, 99], tolerate: 50}}\n  \
         faults: {{ratio: {{bad: {{}}, total: {{{METRIC}, statistic: mean}}}}, events: 1}}\n  \
         Speed: {{values: {{{METRIC}}}, worse: slower}}\n  tone: {{classes: null}}\n  odd: {{tolerate: 2x}}\n"
    );
    let found = problems(&lines);
    let keys: Vec<&str> = found.iter().map(|(key, _)| key.strip_prefix("checks.").unwrap()).collect();
    let expected = [
        "Speed",
        "Speed.worse",
        "errors.tolerrate",
        "errors.slo",
        "faults.ratio.bad.namespace",
        "faults.ratio.bad.metric",
        "faults.ratio.bad.stable",
        "faults.ratio.bad.canary",
        "faults.ratio.total.statistic",
        "faults.events",
        "latency.quantiles[1]",
        "latency.tolerate",
        "odd",
        "tone.classes",
    ];
    assert_eq!(keys, expected, "{found:?}");
}

#[test]
fn a_check_without_a_kind_is_told_what_it_may_have_been() {
    for (check, key, said) in [
        ("latancy: {}", "latancy", "is not a known check; did you mean latency?"),
        ("Errors: {tolerate: 2x}", "Errors", "is not a known check; did you mean errors?"),
        ("error: 5%", "error", "is not a known check; did you mean errors?"),
        ("faults: {tolerate: 2x}", "faults", "must have one of ratio, values and classes"),
        ("faults: {}", "faults", "must have one of ratio, values and classes"),
        ("faults: ", "faults", "must have one of ratio, values and classes"),
        ("faults: {ratoi: {}}", "faults.ratoi", "did you mean ratio?"),
        ("faults: 5", "faults", "must be a mapping with one of ratio, values and classes"),
        (
            "errors: {ratio: {}}",
            "errors.ratio",
            "is not a key of the errors check: give the check another name",
        ),
        ("latency: {values: {}}", "latency.values", "is not a key of the latency check"),
    ] {
        let (found, rule) = problem(&format!("checks: {{{check}}}"));
        assert_eq!(found, format!("checks.{key}"), "{check}: {rule}");
        assert!(rule.contains(said), "{check}: {rule}");
    }
    // With a kind, a name near one of those is a name like any other.
    assert!(matches!(rule(&values("").replace("mine", "latancy")), CheckRule::Values(_)));
    let both = ratio(&format!("values: {{{METRIC}}}"));
    let (key, said) = problem(&format!("checks: {{{both}}}"));
    assert_eq!(
        (key.as_str(), said.contains("one of ratio, values and classes")),
        ("checks.mine.values", true)
    );
}

#[test]
fn names_of_checks_begin_with_a_letter_and_are_short() {
    let named = |name: &str| values("").replace("mine", name);
    for name in ["a", "tokens-per_second2", &"a".repeat(63)] {
        rule(&named(name));
    }
    for name in ["Mine", "2nd", "_a", "-a", "a b", "é", "''", &"a".repeat(64)] {
        let (key, said) = problem(&format!("checks: {{{}}}", named(name)));
        assert!(key.starts_with("checks.") && said.contains("beginning with a letter"), "{name}: {said}");
    }
    let (_, said) = problem(&format!("checks: {{{}}}", named("Tone.Of Voice")));
    assert!(said.ends_with("write tone-of-voice"), "{said}");
}

#[test]
fn offline_the_metrics_may_be_left_out_but_what_is_written_is_checked() {
    let bare = CheckRule::Ratio(RatioCheck::default());
    for source in ["{}", "", "null", "{bad: {}}", "{bad: , total: {namespace: Shop}}"] {
        assert_eq!(offline(&format!("mine: {{ratio: {source}}}")).unwrap(), bare, "{source}");
    }
    let whole = "{bad: {METRIC}, total: {METRIC}}".replace("METRIC", METRIC);
    let CheckRule::Ratio(read) = offline(&format!("mine: {{ratio: {whole}}}")).unwrap() else { panic!() };
    assert!(read.source.is_some());
    assert_eq!(offline("mine: {values: }").unwrap(), CheckRule::Values(DistributionCheck::values()));
    let CheckRule::Classes(read) = offline("mine: {classes: {values: [a, b]}}").unwrap() else { panic!() };
    assert_eq!((read.source, read.values), (None, vec!["a".to_owned(), "b".to_owned()]));
    for (check, key) in [
        ("ratio: {bad: {namespace: 5}}", "ratio.bad.namespace"),
        ("ratio: {bat: {}}", "ratio.bat"),
        ("ratio: 5", "ratio"),
        ("ratio: {bad: 5}", "ratio.bad"),
        ("values: {stable: {A: b}, canary: {A: b}}", "values.canary"),
        ("values: {stable: {}}", "values.stable"),
        ("values: {metric: }", "values.metric"),
        ("classes: {}", "classes.values"),
        ("classes: {values: [a], dimension: 5}", "classes.dimension"),
        ("values: , worse: ", "worse"),
    ] {
        let errors = offline(&format!("mine: {{{check}}}")).unwrap_err();
        assert_eq!(errors.0.len(), 1, "{check}: {errors}");
        assert_eq!(errors.0[0].key, format!("checks.mine.{key}"), "{check}");
    }
    // To be carried out, a check must say where its counters are.
    for check in ["ratio: {}", "ratio: ", "values: ", "values: {}", "classes: {values: [a]}"] {
        assert!(!problems(&format!("checks: {{mine: {{{check}}}}}")).is_empty(), "{check}");
    }
}

#[test]
fn checks_come_back_from_the_record_as_they_went_in() {
    let checks = [
        "errors: {slo: 1.5%}".to_owned(),
        "latency: {slower_than: 400ms, tolerate: 50ms}".to_owned(),
        ratio("events: true").replace("mine", "faults"),
        values("worse: lower, tolerate: 10%").replace("mine", "speed"),
        classes("", "tolerate: 2x").replace("mine", "tone"),
    ];
    let plan = plan(&format!("burn_in: 1h\nchecks: {{{}}}", checks.join(", ")));
    assert_eq!(plan.rules.checks.len(), 5);
    let stored = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), plan);
}

#[test]
fn events_want_ratios_since_they_have_no_upper_limit() {
    rule(&ratio("events: true, tolerate: 2x, promote_within: 3x"));
    assert_eq!(wrong(&ratio("events: true, tolerate: +1%")), "mine.tolerate");
    assert_eq!(wrong(&ratio("events: true, promote_within: +1%")), "mine.promote_within");
    assert_eq!(wrong(&ratio("events: true, slo: 2%")), "mine.slo");
}

#[test]
fn as_much_is_compared_as_a_record_can_tell_of() {
    let read = |checks: usize, labels: usize| {
        let labels: Vec<String> = (0..labels).map(|n| format!("l{n}")).collect();
        let body = serde_json::json!({ "classes": { "values": labels } });
        let checks: serde_json::Map<_, _> = (0..checks).map(|n| (format!("c{n}"), body.clone())).collect();
        let read = parse_plan_value(&serde_json::json!({ "checks": checks }), Scope::Offline);
        read.map(|_| ()).map_err(|errors| errors.to_string())
    };
    for (checks, labels) in [(5, 100), (100, 5)] {
        assert_eq!(read(checks, labels), Ok(()));
    }
    let many = read(10, 51).unwrap_err();
    assert!(
        many.contains("checks: must compare at most 500 quantiles, classes and rates, not 510"),
        "{many}"
    );
    let many = read(101, 1).unwrap_err();
    assert!(many.contains("checks: must be at most 100 checks, not 101"), "{many}");
}

#[test]
fn a_burn_in_needs_a_ratio_to_correct() {
    plan("burn_in: 30m\nchecks: {errors: {tolerate: [1.25x, +1%]}}");
    let (key, said) = problem("burn_in: 30m\nchecks: {errors: {tolerate: +1%}}");
    assert_eq!(key, "burn_in");
    assert!(said.contains("checks.errors.tolerate"), "{said}");
}
