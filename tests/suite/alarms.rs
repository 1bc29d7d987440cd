//! The alarms on the function itself are on what the function publishes.

use canary_gate::handler::telemetry::{self, DIMENSION, METRIC, NAMESPACE};
use serde_json::{Map, Value, json};

/// The template's resources; of a reference the name is left.
fn resources() -> Map<String, Value> {
    let text = include_str!("../../infra/alarms.yaml");
    let template: Value = serde_saphyr::from_str(text).expect("YAML");
    template["Resources"].as_object().expect("resources").clone()
}

#[test]
fn the_dead_mans_alarm_is_on_the_metric_that_a_tick_publishes() {
    let alarm = &resources()["TicksStopped"]["Properties"];
    assert_eq!((&alarm["Namespace"], &alarm["MetricName"]), (&json!(NAMESPACE), &json!(METRIC)));
    assert_eq!(alarm["Dimensions"], json!([{ "Name": DIMENSION, "Value": "FunctionName" }]));
    let tick = json!({ "minute": "2026-03-01T10:00:00Z", "rollouts": [] });
    let line = telemetry::lines(&tick, "gate", "2026-03-01T10:00:07Z".parse().unwrap()).remove(0);
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(directive["Namespace"], alarm["Namespace"]);
    assert_eq!(directive["Metrics"][0]["Name"], alarm["MetricName"]);
    assert_eq!(directive["Dimensions"], json!([[alarm["Dimensions"][0]["Name"]]]), "the very same set");
}

#[test]
fn the_dead_mans_alarm_goes_off_after_five_minutes_without_a_completed_tick() {
    let alarm = &resources()["TicksStopped"]["Properties"];
    let is = |key: &str, value: Value| assert_eq!(alarm[key], value, "{key}");
    is("Statistic", json!("Sum"));
    is("Period", json!(60));
    is("EvaluationPeriods", json!(5));
    is("DatapointsToAlarm", json!(5));
    is("Threshold", json!(1));
    is("ComparisonOperator", json!("LessThanThreshold"));
    is("TreatMissingData", json!("breaching"));
}

#[test]
fn every_alarm_tells_on_call_what_it_means_and_what_to_do() {
    let mut metrics = Vec::new();
    for (id, resource) in resources() {
        assert_eq!(resource["Type"], json!("AWS::CloudWatch::Alarm"), "{id}");
        let alarm = &resource["Properties"];
        for actions in ["AlarmActions", "OKActions"] {
            assert_eq!(alarm[actions], json!(["OnCallTopicArn"]), "{id}");
        }
        let words = alarm["AlarmDescription"].as_str().unwrap_or_default();
        assert!(
            (100..=1024).contains(&words.len()) && words.contains("by hand") || words.contains("yourself"),
            "{id}"
        );
        for text in ["AlarmName", "AlarmDescription"] {
            // The function would take it for an order to roll back.
            assert!(!alarm[text].as_str().unwrap_or_default().contains("canary-gate:"), "{id} {text}");
        }
        metrics.push(alarm["MetricName"].clone());
    }
    metrics.sort_by_key(ToString::to_string);
    let lost =
        ["ApproximateNumberOfMessagesVisible", "Errors", "NumberOfNotificationsFailed", "Throttles", METRIC];
    assert_eq!(metrics, lost.map(|metric| json!(metric)));
}
