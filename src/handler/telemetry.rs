//! What the function publishes: whether its ticks are carried out, and verdicts for alarms of others.
//!
//! In CloudWatch's embedded metric format: a line of JSON in the function's log becomes a metric without a call and
//! without a permission. For the proof of life, Lambda's own `Invocations` and `Errors` don't serve, since hooks and
//! commands count there, too, and a tick that was dropped or could not store a decision is no error.

use jiff::Timestamp;
use serde_json::{Value, json};

/// The metric's namespace.
pub const NAMESPACE: &str = "canary-gate";
/// 1 for a tick that was carried out, 0 for one that was not.
pub const METRIC: &str = "TicksCompleted";
/// The metric's only dimension: two installations in one account must not stand in for each other.
pub const DIMENSION: &str = "FunctionName";

/// 1 once harm was found in a rollout whose plan has a `verdict_metric`, else 0.
pub const VERDICT: &str = "Harmful";
/// Its only dimension: the plan's `verdict_metric`.
pub const GATE: &str = "Gate";

/// The lines to print for an invocation's answer; none if it was no tick. `now` is the machine's time.
#[must_use]
pub fn lines(answer: &Value, function: &str, now: Timestamp) -> Vec<String> {
    let Some(completed) = is_completed(answer) else { return Vec::new() };
    // CloudWatch takes no empty value.
    let function = if function.is_empty() { "unknown" } else { function };
    let life = line(METRIC, completed, [DIMENSION, function], now);
    let signals = answer["rollouts"].as_array().into_iter().flatten().filter_map(|rollout| {
        let signal = rollout.get("signal")?;
        let harmful = signal.get("harmful")?.as_bool()?;
        Some(line(VERDICT, harmful, [GATE, signal.get("gate")?.as_str()?], now))
    });
    std::iter::once(life).chain(signals).collect()
}

/// One metric with one dimension, which is a name and a value.
fn line(metric: &str, value: bool, [dimension, of]: [&str; 2], now: Timestamp) -> String {
    let described = json!({ "Name": metric, "Unit": "Count" });
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [[dimension]], "Metrics": [described] });
    json!({
        "_aws": { "Timestamp": now.as_millisecond(), "CloudWatchMetrics": [directive] },
        metric: u8::from(value),
        dimension: of,
    })
    .to_string()
}

/// Whether a tick did its work: it was not dropped, every record could be read, and the decision about every rollout was stored, by this tick
/// or by another one that was faster. `None` for what is not a tick's answer.
fn is_completed(answer: &Value) -> Option<bool> {
    answer.get("minute")?;
    let rollouts = answer.get("rollouts")?.as_array()?;
    let failed = |rollout: &Value| rollout["decision"] == "failed";
    let all_there = answer.get("dropped").is_none() && answer.get("unreadable").is_none();
    Some(all_there && !rollouts.iter().any(failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T10:00:07.5Z".parse().unwrap()
    }

    fn tick(decisions: &[&str]) -> Value {
        let rollouts: Vec<Value> =
            decisions.iter().map(|decision| json!({ "rollout": "shop", "decision": decision })).collect();
        json!({ "minute": "2026-03-01T10:00:00Z", "rollouts": rollouts })
    }

    fn metric(answer: &Value) -> Option<Value> {
        let lines = lines(answer, "gate", now());
        lines.first().map(|line| serde_json::from_str::<Value>(line).unwrap()[METRIC].clone())
    }

    #[test]
    fn a_line_keeps_the_rules_of_the_embedded_metric_format() {
        let mut tick = tick(&["hold"]);
        tick["rollouts"][0]["signal"] = json!({ "gate": "pay-prod", "harmful": true });
        let lines = lines(&tick, "gate", now());
        assert_eq!(lines.len(), 2);
        for line in lines {
            keeps_the_rules(&line);
        }
    }

    #[test]
    fn a_verdict_is_published_for_whoever_asked_for_it() {
        let mut tick = tick(&["hold", "hold", "skipped"]);
        tick["rollouts"][0]["signal"] = json!({ "gate": "pay-prod", "harmful": true });
        tick["rollouts"][1]["signal"] = json!({ "gate": "shop-prod", "harmful": false });
        let lines = lines(&tick, "gate", now());
        let told: Vec<Value> = lines.iter().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        let told: Vec<_> = told.iter().map(|line| (&line[GATE], &line[VERDICT])).collect();
        assert_eq!(told, [(&json!("pay-prod"), &json!(1)), (&json!("shop-prod"), &json!(0))]);
    }

    fn keeps_the_rules(text: &str) {
        assert!(!text.contains('\n'), "one log event: {text}");
        let line: Value = serde_json::from_str(text).unwrap();
        assert_eq!(line["_aws"]["Timestamp"], json!(1_772_359_207_500_u64), "milliseconds, a whole number");
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        assert_eq!(directives.len(), 1);
        let directive = directives[0].as_object().unwrap();
        let allowed = ["Namespace", "Dimensions", "Metrics"];
        assert!(directive.keys().all(|key| allowed.contains(&key.as_str())), "{directive:?}");
        let namespace = directive["Namespace"].as_str().unwrap();
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_/#:".contains(c);
        assert!(!namespace.starts_with("AWS/") && namespace.chars().all(plain), "{namespace}");
        // Dimensions are a list of sets; all that they and the metrics name stands at the root.
        for set in directive["Dimensions"].as_array().unwrap() {
            for name in set.as_array().unwrap() {
                let value = line[name.as_str().unwrap()].as_str().unwrap();
                assert!((1..=1024).contains(&value.len()), "{name}: {value}");
            }
        }
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{metric}");
            assert_eq!(metric["Unit"], json!("Count"));
        }
    }

    #[test]
    fn a_tick_counts_once_if_every_decision_was_stored() {
        for decisions in [&[][..], &["hold"], &["drain", "promote", "verify"], &["skipped"]] {
            assert_eq!(metric(&tick(decisions)), Some(json!(1)), "{decisions:?}");
        }
    }

    #[test]
    fn a_tick_counts_for_nothing_if_it_was_dropped_or_a_decision_was_not_stored() {
        assert_eq!(metric(&tick(&["hold", "failed"])), Some(json!(0)));
        let mut dropped = tick(&[]);
        dropped["dropped"] = json!("the tick is stale");
        assert_eq!(metric(&dropped), Some(json!(0)));
        let mut unreadable = tick(&["hold"]);
        unreadable["unreadable"] = json!(["record of search is unreadable"]);
        assert_eq!(metric(&unreadable), Some(json!(0)));
    }

    #[test]
    fn what_is_no_tick_has_no_metric() {
        let answers = [
            json!({ "rollout": "shop", "phase": "running", "last_tick": "2026-03-01T10:00:00Z" }),
            json!({ "rollouts": [], "frozen_by": null }),
            json!({ "alarm": "errors", "rollouts": [{ "rollout": "shop" }] }),
            json!({ "rollout": "shop", "entries": [] }),
            json!(null),
        ];
        for answer in answers {
            assert_eq!(metric(&answer), None, "{answer}");
        }
    }

    #[test]
    fn a_function_without_a_name_still_has_a_dimension() {
        let line: Value = serde_json::from_str(&lines(&tick(&[]), "", now())[0]).unwrap();
        assert_eq!(line[DIMENSION], json!("unknown"));
    }
}
