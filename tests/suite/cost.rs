//! `cost`: counted calls, with prices.

use serde_json::{Value, json};

use crate::command_line::{TempFile, err, out, run, status};

fn told(arguments: &[&str]) -> Value {
    let output = run(&[&["cost", "--format", "json"], arguments].concat());
    assert_eq!(status(&output), 0, "{}", err(&output));
    serde_json::from_str(&out(&output)).unwrap()
}

fn item(bill: &Value, part: &str, price: &str) -> f64 {
    let items = bill[part]["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["price"] == price).unwrap_or_else(|| panic!("no {price}"));
    item["count"].as_f64().unwrap()
}

fn sum(bill: &Value, part: &str) -> f64 {
    bill[part]["dollars"].as_f64().unwrap()
}

#[test]
fn a_rollout_of_errors_and_latency_asks_for_twelve_metrics_a_minute() {
    let bill = told(&[]);
    let metrics = item(&bill, "rollout_hour", "metrics_read");
    // Fifty in the first tick, in which thresholds are learnt.
    assert!((720.0..800.0).contains(&metrics), "{metrics}");
    let items = |part: &str| {
        bill[part]["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["dollars"].as_f64().unwrap())
            .sum::<f64>()
    };
    for part in ["idle_month", "rollout_hour"] {
        assert!((items(part) - sum(&bill, part)).abs() < 1e-9, "{part}");
    }
    let month = sum(&bill, "idle_month") + 100.0 * sum(&bill, "rollout_hour");
    assert!((bill["month"]["dollars"].as_f64().unwrap() - month).abs() < 1e-9);
    assert_eq!(bill["simulated"]["ended"], "promoted");
    assert!((item(&bill, "idle_month", "alarms") - 5.0).abs() < 1e-9);
    assert!((item(&bill, "idle_month", "dynamodb_reads") - 21_900.0).abs() < 1e-6);
}

#[test]
fn what_a_plan_has_is_what_it_costs() {
    let errors = TempFile::new("cost-errors.yaml", "checks: {errors: {}}\nsteps: [50%, 100%]\n");
    let bill = told(&["--plan", errors.name()]);
    let metrics = item(&bill, "rollout_hour", "metrics_read");
    assert!((metrics - 600.0).abs() < 1e-6, "ten a minute: {metrics}");
    let own = "checks:\n  errors: {}\n  down:\n    ratio:\n      bad: {namespace: S, metric: B, stable: {V: a}, canary: {V: b}}\n      total: {namespace: S, metric: T, stable: {V: a}, canary: {V: b}}\n";
    let own = TempFile::new("cost-own.yaml", own);
    let bill = told(&["--plan", own.name()]);
    let metrics = item(&bill, "rollout_hour", "metrics_read");
    assert!((metrics - 840.0).abs() < 1e-6, "fourteen a minute: {metrics}");
    let named = TempFile::new("cost-named.yaml", "verdict_metric: shop\n");
    let published = item(&told(&["--plan", named.name()]), "rollout_hour", "metrics_published") * 730.0;
    assert!((published - 5.0).abs() < 1e-6, "{published}");
}

#[test]
fn time_and_memory_cost_in_proportion() {
    let compute = |arguments: &[&str], price: &str| item(&told(arguments), "idle_month", price);
    let usual = compute(&[], "lambda_arm64");
    assert!((usual - 43_800.0 * 0.1 * 0.125).abs() < 1e-6, "{usual}");
    let more =
        compute(&["--memory-mb", "256", "--idle-ms", "300", "--architecture", "x86_64"], "lambda_x86_64");
    assert!((more / usual - 6.0).abs() < 1e-9, "{more}");
}

#[test]
fn prices_of_a_file_are_taken_and_wrong_ones_all_told() {
    let usual = told(&[]);
    let mut prices = usual["prices"].clone();
    prices["metrics_read"] = json!(prices["metrics_read"].as_f64().unwrap() * 2.0);
    prices["region"] = json!("mars-1");
    let file = TempFile::new("prices.json", &prices.to_string());
    let bill = told(&["--prices", file.name()]);
    assert_eq!(bill["prices"]["region"], "mars-1");
    let more = sum(&bill, "rollout_hour") - sum(&usual, "rollout_hour");
    let read = item(&usual, "rollout_hour", "metrics_read") * 0.01 / 1_000.0;
    assert!((more - read).abs() < 1e-9, "{more} {read}");
    let wrong = TempFile::new("wrong-prices.json", r#"{"metrics_read": -1, "coffee": 2}"#);
    let output = run(&["cost", "--prices", wrong.name()]);
    assert_eq!(status(&output), 65);
    assert!(
        err(&output).contains("metrics_read is -1") && err(&output).contains("coffee"),
        "{}",
        err(&output)
    );
    assert_eq!(status(&run(&["cost", "--prices", "/nowhere.json"])), 66);
    assert_eq!(status(&run(&["cost", "--region", "mars-1"])), 64);
}
