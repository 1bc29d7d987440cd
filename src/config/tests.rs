use serde_json::{Value, json};

use super::keys::{CHECKS, CUSTOM_CHECKS, CheckKind, Key, PLAN_KEYS, names};
use super::kind::Kind;
use super::*;
use crate::analysis::check::{CheckRule, FALSE_ROLLBACK, Rules};
use crate::rollout::calendar::DenyWindows;
use crate::rollout::plan::{
    Mode, OnBlind, OnUndecided, REMIND_EVERY, ROLLBACK_WINDOW, STEPS_PERCENT, Sticky,
};
use crate::units::{Share, Span};

pub(super) const RULE: &str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/shop/50dc6c495c0c9188/f2f7dc8efc522ab2/9683b2d02a6cabee";
pub(super) const STABLE: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/Checkout-v41/73e2d6bc24d8a067";
pub(super) const CANARY: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/Checkout-v42/943f017f100becff";

/// A plan with the three ARNs and these lines.
pub(super) fn with(lines: &str) -> Result<CheckedPlan, PlanErrors> {
    parse_plan(&format!("listener_rule: {RULE}\nstable: {STABLE}\ncanary: {CANARY}\n{lines}"), Scope::Rollout)
}

pub(super) fn plan(lines: &str) -> Plan {
    with(lines).unwrap_or_else(|errors| panic!("{lines}: {errors}")).plan
}

/// The default rules as they are when somebody writes them out: latency that is not published is then missed.
pub(super) fn asked_for(mut rules: Rules) -> Rules {
    for check in &mut rules.checks {
        if let CheckRule::Latency(latency) = &mut check.rule {
            latency.optional = false;
        }
    }
    rules
}

pub(super) fn problems(lines: &str) -> Vec<(String, String)> {
    let errors = with(lines).err().unwrap_or_else(|| panic!("{lines:?} was taken"));
    errors.0.into_iter().map(|problem| (problem.key, problem.rule)).collect()
}

/// The one problem of these lines, with key and rule.
pub(super) fn problem(lines: &str) -> (String, String) {
    let mut found = problems(lines);
    assert_eq!(found.len(), 1, "{lines}: {found:?}");
    found.remove(0)
}

#[test]
fn three_arns_are_a_plan_and_all_else_has_its_documented_default() {
    let CheckedPlan { plan, warnings } = with("").unwrap();
    assert_eq!(plan.rollout, "checkout-v42");
    assert_eq!(plan.targets.listener_rule, RULE);
    assert_eq!((plan.targets.stable.as_str(), plan.targets.canary.as_str()), (STABLE, CANARY));
    assert_eq!(plan.steps.iter().map(|share| share.percent()).collect::<Vec<_>>(), STEPS_PERCENT);
    assert_eq!((plan.on_undecided, plan.on_blind), (OnUndecided::Hold, OnBlind::Drain));
    assert_eq!((plan.mode, plan.sticky), (Mode::Drive, Sticky::Auto));
    assert_eq!(plan.rules, Rules::default());
    assert_eq!((plan.deny_windows, plan.alarms), (DenyWindows::default(), Vec::new()));
    assert_eq!((plan.rollback_window, plan.remind_every), (ROLLBACK_WINDOW, REMIND_EVERY));
    assert!(warnings.is_empty());
}

#[test]
fn the_plan_of_the_design_is_read_as_it_was_meant() {
    let plan = plan(
        "rollout: checkout-42\nsteps: [5%, 25%, 50%, 100%] # as ever\nbake: 15m\nmin_requests: 1000\n\
         false_rollback: 1%\nfalse_promotion: 5%\nconvict_minutes: 3\ndecide_within: 4h\n\
         on_undecided: promote\nwarm_up: 0m\nburn_in: 0m\nsticky: auto\nmode: observe\nblind_after: 10m\n\
         on_blind: hold\nchecks:\n  errors: {ignore_below: 0.1%, abort_above: 10%, slo: false, \
         promote_within: [1.5x, +0.5%]}\n  latency: {quantiles: [p50, p95, p99], ignore_below: 10ms}\n",
    );
    assert_eq!(plan.rollout, "checkout-42");
    assert_eq!(
        (plan.mode, plan.on_undecided, plan.on_blind),
        (Mode::Observe, OnUndecided::Promote, OnBlind::Hold)
    );
    let expected = asked_for(Rules { blind_after: Span::from_minutes(10), ..Rules::default() });
    assert_eq!(plan.rules, expected);
}

#[test]
fn a_plan_comes_back_from_the_record_as_it_went_in() {
    let plan = plan(
        "steps: {start: 0.3%, factor: 3}\nfalse_rollback: 0.7%\nbad_request_budget: 9\nalarms: [a]\n\
         role_arn: arn:aws:iam::123456789012:role/canary-gate\ndeny_windows: [Sat]\ntime_zone: Asia/Tokyo\nrollback_window: 2h\nremind_every: 0\nchecks: {errors: {tolerate: [1.1x, +0.3%]}}",
    );
    let stored = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), plan);
}

#[test]
fn json_is_read_like_yaml() {
    let object = json!({
        "listener_rule": RULE, "stable": STABLE, "canary": CANARY, "steps": { "start": "10%", "factor": 3 },
        "bake": 0, "sticky": "yes", "checks": { "errors": null },
    });
    let from_value = parse_plan_value(&object, Scope::Rollout).unwrap();
    assert_eq!(from_value, parse_plan(&object.to_string(), Scope::Rollout).unwrap());
    let percents: Vec<f64> = from_value.plan.steps.iter().map(|share| share.percent()).collect();
    assert_eq!(percents, [10.0, 30.0, 90.0, 100.0]);
    assert_eq!((from_value.plan.rules.bake, from_value.plan.sticky), (Span::from_seconds(0), Sticky::Yes));
}

#[test]
fn a_plan_with_ten_mistakes_lists_ten() {
    let text = format!(
        "rolout: checkout\nlistener_rule: {RULE}\nstable: {STABLE}\ncanary: {STABLE}\nsteps: [5%, 4%, 0.05, 200%]\n\
         bake: 15\nmin_requests: 0\nfalse_rollback: 20%\non_undecided: wait\nchecks:\n  errors: {{abort_above: 0.05%}}\n"
    );
    let errors = parse_plan(&text, Scope::Rollout).unwrap_err();
    let keys: Vec<&str> = errors.0.iter().map(|problem| problem.key.as_str()).collect();
    let expected = [
        "rolout",
        "canary",
        "steps[1]",
        "steps[2]",
        "steps[3]",
        "on_undecided",
        "false_rollback",
        "bake",
        "min_requests",
        "checks.errors.abort_above",
    ];
    assert_eq!(keys, expected, "{errors}");
    let shown = errors.to_string();
    assert!(shown.starts_with("10 problems in the plan:\n"), "{shown}");
    assert_eq!(shown.lines().count(), 11, "{shown}");
    for line in [
        "rolout: `checkout` is not a known key; did you mean rollout?",
        "steps[1]: `4%` must be more than the step before it, 5%",
        "bake: `15` must be a length of time with its unit, such as 90s, 15m, 4h or 1h30m: write 15m",
        "min_requests: `0` must be a whole number from 1 to 1000000000",
        "checks.errors.abort_above: `0.05%` must be more than ignore_below (0.1%)",
    ] {
        assert!(shown.contains(line), "{line}\nis not in\n{shown}");
    }
}

#[test]
fn unknown_keys_are_refused_at_every_level_with_the_nearest_known() {
    assert_eq!(
        problem("bake_time: 15m"),
        ("bake_time".to_owned(), "is not a known key; did you mean bake?".to_owned())
    );
    let (key, rule) = problem("steps: {start: 5%, factor: 2, jitter: 3}");
    assert_eq!(
        (key.as_str(), rule.as_str()),
        ("steps.jitter", "is not a known key; known are start, factor")
    );
    let (key, rule) = problem("checks: {errors: {tolerrate: 2x}}");
    assert_eq!(key, "checks.errors.tolerrate");
    assert!(rule.ends_with("did you mean tolerate?"));
    let (_, rule) = problem("checks: {error: {}}");
    assert!(rule.contains("did you mean errors?"), "{rule}");
    let (_, rule) = problem("colour: blue");
    assert!(rule.contains("known are rollout, listener_rule, stable"), "{rule}");
}

#[test]
fn a_misspelt_required_key_is_one_problem_and_not_two() {
    let text = format!("listenerRule: {RULE}\nstable: {STABLE}\ncanary: {CANARY}\n");
    let errors = parse_plan(&text, Scope::Rollout).unwrap_err();
    assert_eq!(errors.0.len(), 1, "{errors}");
    assert!(errors.0[0].rule.contains("did you mean listener_rule?"));
}

#[test]
fn offline_a_plan_needs_no_arns_but_checks_those_it_has() {
    let offline = |text: &str| parse_plan(text, Scope::Offline);
    let plan = offline("bake: 5m").unwrap().plan;
    assert_eq!(plan.rollout, "offline");
    assert!(plan.targets.stable.contains(":000000000000:"));
    // The stand-ins pass the checks that real ARNs must pass.
    let targets = json!({ "listener_rule": plan.targets.listener_rule, "stable": plan.targets.stable, "canary": plan.targets.canary });
    assert!(parse_plan_value(&targets, Scope::Rollout).is_ok());
    assert_eq!(offline(&format!("canary: {CANARY}")).unwrap().plan.rollout, "checkout-v42");
    assert_eq!(offline("canary: blue").unwrap_err().0.len(), 1);
    let errors = parse_plan("bake: 5m", Scope::Rollout).unwrap_err();
    assert_eq!(errors.0.iter().filter(|problem| problem.rule.starts_with("is missing")).count(), 3);
}

#[test]
fn arns_must_lie_in_one_place_and_name_two_groups() {
    let elsewhere = STABLE.replace("eu-west-1", "us-east-1");
    let text = format!("listener_rule: {RULE}\nstable: {elsewhere}\ncanary: {CANARY}");
    let errors = parse_plan(&text, Scope::Rollout).unwrap_err();
    assert_eq!((errors.0.len(), errors.0[0].key.as_str()), (1, "stable"));
    assert!(errors.0[0].rule.contains("(aws eu-west-1 123456789012), not aws us-east-1"), "{errors}");
    let listener = RULE.replace("listener-rule/", "listener/").rsplit_once('/').unwrap().0.to_owned();
    let text = format!("listener_rule: {listener}\nstable: {STABLE}\ncanary: {STABLE}");
    let errors = parse_plan(&text, Scope::Rollout).unwrap_err().to_string();
    assert!(errors.contains("this is a listener; name the one of its rules"), "{errors}");
    assert!(errors.contains("another target group than stable"), "{errors}");
}

#[test]
fn a_role_is_of_the_account_that_the_targets_are_in() {
    let role = "arn:aws:iam::123456789012:role/canary-gate";
    assert_eq!(plan(&format!("role_arn: {role}")).targets.role_arn.as_deref(), Some(role));
    assert_eq!(plan("").targets.role_arn, None);
    for elsewhere in [role.replace("1234567", "7654321"), role.replace("arn:aws:", "arn:aws-cn:")] {
        let (key, rule) = problem(&format!("role_arn: {elsewhere}"));
        assert_eq!(key, "role_arn");
        assert!(rule.contains("partition and account of listener_rule (aws 123456789012)"), "{rule}");
    }
    assert_eq!(problem("role_arn: canary-gate").0, "role_arn");
    assert!(problem("role_arn:").1.contains("has no value"));
}

#[test]
fn a_deployment_of_another_system_has_no_role_and_all_problems_are_told_at_once() {
    let role = "arn:aws:iam::123456789012:role/canary-gate";
    let told = |written: serde_json::Value| {
        let errors = super::guard_plan(&written, None, "deployment").unwrap_err();
        errors.0.into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    assert_eq!(told(json!({ "role_arn": role })), ["role_arn"]);
    assert_eq!(told(json!({ "role_arn": role, "mode": "drive" })), ["mode", "role_arn"]);
    assert_eq!(told(json!({ "role_arn": role, "bake": 7 })), ["bake", "role_arn"]);
    assert!(super::guard_plan(&json!({}), None, "deployment").is_ok());
}

#[test]
fn numbers_without_a_unit_are_refused_with_what_to_write() {
    for (lines, write) in [
        ("bake: 15", "write 15m"),
        ("bake: '15'", "write 15m"),
        ("false_rollback: 1", "write 1%"),
        ("false_rollback: 0.05", "write 5%, or 0.05% if that is what is meant"),
        ("steps: [5, 25%]", "write 5%"),
        ("steps: [0.05, 25%]", ": write 5%"),
        ("checks: {errors: {tolerate: 1.25}}", "write 1.25x"),
        ("checks: {errors: {tolerate: '1.25'}}", "write 1.25x"),
        ("checks: {errors: {tolerate: 0.5%}}", "write +0.5%"),
        ("checks: {errors: {tolerate: 0.5}}", "write +0.5%"),
        (r#"checks: {errors: {tolerate: "\t+ 1%"}}"#, "or a list of one of each; a ratio is from 1x to 100x"),
        ("min_requests: '1000'", "write it without quotes"),
        ("rollout: 42", "put it into quotes"),
        ("rollout: Checkout_V42", "write checkout-v42"),
    ] {
        let (_, rule) = problem(lines);
        assert!(rule.ends_with(write), "{lines}: {rule}");
    }
}

#[test]
fn quantities_are_taken_at_their_bounds_and_refused_beyond() {
    for (key, fine, wrong) in [
        ("false_rollback", vec!["10%", "0.001%"], vec!["0%", "10.1%", "-1%", "true", "[1%]"]),
        ("false_promotion", vec!["50%"], vec!["0%", "50.1%"]),
        ("convict_minutes", vec!["1", "60"], vec!["0", "61", "2.5", "-1", "3m"]),
        ("bake", vec!["0", "0m", "4h"], vec!["7d1s", "15", "1.5h", "soon", "-5m", "{}"]),
        ("decide_within", vec!["15m", "14d"], vec!["14d1s"]),
        ("blind_after", vec!["2m", "1h"], vec!["119s", "61m", "0"]),
        ("min_requests", vec!["1", "1000000000"], vec!["0", "1000000001", "1e3", "many"]),
        ("warm_up", vec!["0", "239m"], vec!["4h"]),
        ("burn_in", vec!["0", "60m", "239m"], vec!["4h", "60", "-5m"]),
        ("rollback_window", vec!["0", "7d"], vec!["7d1s", "60"]),
        ("remind_every", vec!["0", "5m", "7d"], vec!["4m", "1s", "7d1s", "60"]),
        (
            "bad_request_budget",
            vec!["1", "200", "1000000000", "false", "off"],
            vec!["0", "2.5", "-1", "'200'", "true", "1%"],
        ),
        ("sticky", vec!["auto", "yes", "no", "true", "false", "'yes'"], vec!["maybe", "1"]),
        ("mode", vec!["drive", "observe"], vec!["Observe", "no"]),
        ("on_blind", vec!["drain", "hold"], vec!["promote"]),
        (
            "rollout",
            vec!["a", "0", "v-1"].into_iter().map(|v| if v == "0" { "'0'" } else { v }).collect(),
            vec!["-a", "''", "a_b", "[]"],
        ),
    ] {
        for value in fine {
            plan(&format!("{key}: {value}"));
        }
        for value in wrong {
            assert_eq!(problem(&format!("{key}: {value}")).0, key, "{value}");
        }
    }
    plan(&format!("rollout: {}", "a".repeat(63)));
    problem(&format!("rollout: {}", "a".repeat(64)));
    plan("bake: 7d\ndecide_within: 7d");
}

#[test]
fn times_must_leave_room_for_each_other() {
    let (key, rule) = problem("bake: 5h");
    assert_eq!(
        (key.as_str(), rule.as_str()),
        ("decide_within", "must be at least bake (5h): a step can't be left before it")
    );
    let shown = with("bake: 5h").unwrap_err().to_string();
    assert!(shown.contains("decide_within: `4h (the default)`"), "{shown}");
    assert_eq!(problem("warm_up: 1h\ndecide_within: 1h").0, "warm_up");
    assert_eq!(problem("burn_in: 1h\ndecide_within: 1h").0, "burn_in");
    assert_eq!(plan("burn_in: 1h").rules.burn_in, Span::from_minutes(60));
    // A time that is wrong itself is not compared.
    assert_eq!(problem("bake: 500").0, "bake");
    assert_eq!(problem("warm_up: 5h\ndecide_withn: 8h").0, "decide_withn");
}

#[test]
fn steps_rise_in_tenths_of_a_percent_up_to_a_hundred() {
    for (steps, key) in [
        ("[]", "steps"),
        ("5%", "steps"),
        ("[5%, 5%]", "steps[1]"),
        ("[0%, 5%]", "steps[0]"),
        ("[0.05%]", "steps[0]"),
        ("[1.25%]", "steps[0]"),
        ("[50%, 101%]", "steps[1]"),
        ("[50%, null]", "steps[1]"),
        ("{start: 5%}", "steps.factor"),
        ("{start: 5%, factor: 1}", "steps.factor"),
        ("{start: 0.1%, factor: 1.1}", "steps"),
    ] {
        assert_eq!(problem(&format!("steps: {steps}")).0, key, "{steps}");
    }
    assert_eq!(plan("steps: [0.1%, 12.5%, 33.3%, 100%]").steps.len(), 4);
    let shares = |n: u32| (1..=n).map(|k| format!("{k}%")).collect::<Vec<_>>().join(", ");
    assert_eq!(plan(&format!("steps: [{}]", shares(20))).steps.len(), 20);
    assert!(problem(&format!("steps: [{}]", shares(21))).1.contains("at most 20"));
    assert_eq!(problems("steps: [x, 7%, 6%, y]").len(), 3);
}

#[test]
fn ending_short_of_all_traffic_is_a_warning() {
    let checked = with("steps: [5%, 50%]").unwrap();
    assert_eq!(checked.warnings.len(), 1);
    assert!(checked.warnings[0].contains("ends at 50%"));
    assert_eq!(checked.plan.steps.last().copied(), Some(Share::from_percent(50.0).unwrap()));
}

#[test]
fn an_empty_value_is_refused_as_forgotten() {
    assert_eq!(
        problem("bake:"),
        ("bake".to_owned(), "has no value: write one, or leave the key out".to_owned())
    );
    assert_eq!(problem("checks:").0, "checks");
    assert_eq!(parse_plan("stable:\n", Scope::Offline).unwrap_err().0.len(), 1);
    let one_missing = format!("listener_rule:\nstable: {STABLE}\ncanary: {CANARY}");
    assert_eq!(parse_plan(&one_missing, Scope::Rollout).unwrap_err().0.len(), 1);
}

#[test]
fn texts_that_are_no_plan_are_refused_with_their_place() {
    for text in [
        "bake: 5m\nbake: 6m",
        "a: [1\nb: 2",
        "\"bake",
        "a: *nowhere",
        "bake: 5m\n---\nbake: 5m",
        "{\"a\":1,\"a\":2}",
    ] {
        let errors = parse_plan(text, Scope::Offline).unwrap_err();
        assert_eq!(errors.0.len(), 1, "{text}");
        assert!(errors.0[0].key.starts_with("line "), "{text}: {errors}");
    }
    let forged = parse_plan("\"a\\nb\": 1\n\"a\\nb\": 2", Scope::Offline).unwrap_err();
    assert_eq!(forged.to_string().lines().count(), 2, "{forged}");
    for text in ["", "  \n", "# nothing\n", "just words", "[1, 2]", "17"] {
        assert_eq!(parse_plan(text, Scope::Offline).unwrap_err().0.len(), 1, "{text}");
    }
    assert!(
        parse_plan(&" ".repeat(PLAN_BYTES_MAX + 1), Scope::Offline)
            .unwrap_err()
            .to_string()
            .contains("65537 bytes")
    );
}

#[test]
fn alias_bombs_and_deep_nests_are_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let row = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{row}]\n"));
    }
    assert!(parse_plan(&bomb, Scope::Offline).unwrap_err().0[0].key.starts_with("line "));
    for nest in
        ["[".repeat(30_000), format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)), "{a: ".repeat(10_000)]
    {
        assert!(parse_plan(&nest, Scope::Offline).is_err());
    }
}

#[test]
fn mutated_plans_are_read_or_refused_and_never_panic() {
    let seed = format!(
        "rollout: a\nlistener_rule: {RULE}\nstable: {STABLE}\ncanary: {CANARY}\nsteps: {{start: 5%, factor: 2}}\n\
         bake: 15m\nfalse_rollback: 1%\ndeny_windows: [Fri 16:00 to Mon 08:00, Sat]\n\
         alarms: [a]\nchecks:\n  errors: {{tolerate: [1.25x, +1%], abort_above: 10%}}\n  \
         latency: {{slower_than: 400ms, tolerate: 50ms}}\n  tone: {{classes: {{namespace: A, metric: B, \
         stable: {{V: a}}, canary: {{V: b}}, dimension: C, values: [x, z]}}}}\n"
    );
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let alphabet = b" \n\t:{}[],&*!|>'\"%@`#-+.0195xmeaNi\x00\x7f\xc3\xff";
    let mut read = 0;
    for _ in 0..4_000 {
        let mut bytes = seed.as_bytes().to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = alphabet[random(alphabet.len())],
                1 => bytes.insert(at, alphabet[random(alphabet.len())]),
                _ => drop(bytes.remove(at)),
            }
        }
        match parse_plan(&String::from_utf8_lossy(&bytes), Scope::Rollout) {
            Ok(_) => read += 1,
            Err(errors) => assert!(!errors.0.is_empty() && !errors.to_string().is_empty()),
        }
    }
    assert!(read > 100, "only {read} mutants were plans: the loop tests too little");
}

/// All keys of the schema below `schema`, with their paths.
fn schema_keys(schema: &Value, path: &str, found: &mut Vec<String>) {
    assert_eq!(schema["additionalProperties"], json!(false), "{path}");
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        if inner.get("properties").is_some() {
            schema_keys(inner, &format!("{path}."), found);
        }
        found.push(path);
    }
    for inner in schema["patternProperties"].as_object().into_iter().flat_map(serde_json::Map::values) {
        for kind in inner["anyOf"].as_array().into_iter().flatten() {
            schema_keys(kind, &format!("{path}<name>."), found);
            found.push(format!("{path}<name>"));
        }
    }
}

#[test]
fn schema_and_reference_name_every_key_with_its_meaning_and_default() {
    let schema = plan_schema();
    assert_eq!(schema["$schema"], json!("https://json-schema.org/draft/2020-12/schema"));
    assert_eq!(schema["required"], json!(["listener_rule", "stable", "canary"]));
    assert_eq!(schema["properties"]["false_rollback"]["default"], json!(FALSE_ROLLBACK.to_string()));
    assert_eq!(
        schema["properties"]["checks"]["properties"]["errors"]["properties"]["promote_within"]["default"],
        json!(["1.5x", "+0.5%"])
    );
    let mut from_schema = Vec::new();
    schema_keys(&schema, "", &mut from_schema);
    let rows = plan_reference_rows();
    let mut from_rows: Vec<String> =
        rows.iter().map(|row| row.key.clone()).filter(|key| !key.starts_with("steps.")).collect();
    from_schema.sort();
    from_rows.sort();
    assert_eq!(from_schema, from_rows);
    for row in &rows {
        assert!(!row.meaning.is_empty() && !row.default.is_empty() && !row.takes.is_empty(), "{row:?}");
    }
    let steps = rows.iter().find(|row| row.key == "steps").unwrap();
    assert_eq!(steps.default, "[5%, 25%, 50%, 100%]");
    for (key, default) in [
        ("checks", "{errors: {}, latency: {}}"),
        ("checks.errors.tolerate", "1.25x, as a rule"),
        ("checks.errors.slo", "false"),
        ("checks.latency.slower_than", "none"),
        ("checks.latency.ignore_below", "10ms"),
        ("checks.<name>.ratio.bad.namespace", "required"),
        ("checks.<name>.values.dimensions", "{}"),
    ] {
        let row = rows.iter().find(|row| row.key == key).unwrap_or_else(|| panic!("{key} has no row"));
        assert_eq!(row.default, default, "{key}");
    }
}

/// The keys of a table that have the same default in all plans, with it.
fn defaults(keys: &'static [Key]) -> serde_json::Map<String, Value> {
    let fixed = keys.iter().filter(|key| !key.kind.is_usual());
    fixed.filter_map(|key| Some((key.name.to_owned(), key.kind.default_json()?))).collect()
}

#[test]
fn every_default_of_the_table_is_what_a_plan_gets_when_it_is_written_out() {
    let mut written = defaults(&PLAN_KEYS);
    let checks = CHECKS.iter().map(|kind| (kind.name.to_owned(), Value::Object(defaults(kind.keys))));
    written.insert("checks".to_owned(), Value::Object(checks.collect()));
    let from_written = parse_plan_value(&Value::Object(written), Scope::Offline).unwrap();
    let mut bare = parse_plan("{}", Scope::Offline).unwrap();
    bare.plan.rules = asked_for(bare.plan.rules);
    assert_eq!(from_written, bare);
    let metric = json!({ "values": ["a"] });
    let source = |kind: &CheckKind| if kind.name == "classes" { metric.clone() } else { json!({}) };
    for kind in &CUSTOM_CHECKS {
        let mut written = defaults(kind.keys);
        written.insert(kind.name.to_owned(), source(kind));
        let bare = json!({ kind.name: source(kind) });
        let of =
            |check: Value| parse_plan_value(&json!({ "checks": { "mine": check } }), Scope::Offline).unwrap();
        assert_eq!(of(Value::Object(written)), of(bare), "{}", kind.name);
    }
}

#[test]
fn usual_defaults_are_fine_when_they_are_written_out() {
    for (check, kind) in [("errors", &CHECKS[0]), ("latency", &CHECKS[1])] {
        for key in kind.keys.iter().filter(|key| key.kind.is_usual()) {
            let written = json!({ "checks": { check: { key.name: key.kind.default_json().unwrap() } } });
            assert!(parse_plan_value(&written, Scope::Offline).is_ok(), "{written}");
        }
    }
}

/// All keys that a plan can have, at any level.
fn all_keys(keys: &'static [Key]) -> Vec<&'static Key> {
    keys.iter().flat_map(|key| [vec![key], all_keys(key.kind.keys())].concat()).collect()
}

#[test]
fn no_table_has_a_key_twice_and_every_word_is_a_word_of_its_type() {
    for key in &PLAN_KEYS {
        if let Kind::Word { words, .. } = key.kind {
            for word in words {
                plan(&format!("{}: '{word}'", key.name));
            }
        }
    }
    for keys in CHECKS.iter().chain(&CUSTOM_CHECKS).map(|kind| kind.keys).chain([PLAN_KEYS.as_slice()]) {
        let mappings = all_keys(keys).into_iter().map(|key| key.kind.keys()).chain([keys]);
        for keys in mappings {
            let mut known = names(keys);
            known.sort_unstable();
            known.dedup();
            assert_eq!(known.len(), keys.len(), "{known:?}");
        }
    }
}

#[test]
fn the_published_schema_is_the_one_that_the_table_of_keys_makes() {
    let published = include_str!("../../infra/plan.schema.json");
    let published: Value = serde_json::from_str(published).unwrap();
    assert_eq!(published, plan_schema(), "run: cargo run -- schema > infra/plan.schema.json");
}

#[test]
fn of_many_unknown_keys_only_those_that_are_told_are_explained() {
    let text: String = (0..500).map(|n| format!("bakee{n}: 1\n")).collect();
    let errors = parse_plan(&text, Scope::Offline).unwrap_err();
    assert_eq!(errors.0.len(), 500);
    assert!(errors.0[49].rule.contains("did you mean bake?"), "{}", errors.0[49]);
    assert_eq!(errors.0[50].rule, "is not a known key");
}

#[test]
fn the_plan_of_the_readme_is_a_plan_and_names_every_default() {
    let readme = include_str!("../../README.md");
    let text = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let shown = parse_plan(text, Scope::Rollout).unwrap();
    let required = format!("listener_rule: {}\n", shown.plan.targets.listener_rule)
        + &format!("stable: {}\ncanary: {}\n", shown.plan.targets.stable, shown.plan.targets.canary);
    let mut bare =
        parse_plan(&format!("rollout: {}\n{required}", shown.plan.rollout), Scope::Rollout).unwrap();
    bare.plan.rules = asked_for(bare.plan.rules);
    assert_eq!(shown.plan, bare.plan, "the README shows other values than the defaults");
    for key in &PLAN_KEYS {
        assert!(text.contains(&format!("{}:", key.name)), "{} is not in the README's plan", key.name);
    }
    for check in &CHECKS {
        assert!(text.contains(&format!("  {}:", check.name)), "{} is not in the README's plan", check.name);
    }
}
