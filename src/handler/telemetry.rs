//! What the function publishes: whether its ticks are carried out, and verdicts for alarms of others.
//!
//! In CloudWatch's embedded metric format: a line of JSON in the function's log becomes a metric without a call and
//! without a permission. For the proof of life, Lambda's own `Invocations` and `Errors` don't serve, since hooks and
//! commands count there, too, and a tick that was dropped or could not store a decision is no error.

use std::io::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::tick::NOT_REACHED;

/// The metric's namespace.
pub const NAMESPACE: &str = "canary-gate";
/// 1 for a tick that was carried out, 0 for one that was not.
pub const METRIC: &str = "TicksCompleted";
/// The metric's only dimension: two installations in one account must not stand in for each other.
pub const DIMENSION: &str = "FunctionName";

/// 1 once harm was found in a rollout whose plan has a `verdict_metric`, else 0.
pub const VERDICT: &str = "Harmful";
/// What is published beside it, and the key of the tick's answer. All of them have one dimension.
const SIGNALS: [(&str, &str); 4] = [
    ("Share", "share"),
    ("EvidenceOfHarm", "evidence_of_harm"),
    ("EvidenceOfHealth", "evidence_of_health"),
    ("BlindMinutes", "blind_minutes"),
];
/// The only dimension of a rollout's metrics: the plan's `verdict_metric`.
pub const GATE: &str = "Gate";

/// The lines to print for an invocation's answer; none if it was no tick. `now` is the machine's time.
#[must_use]
pub fn lines(answer: &Value, function: &str, now: Timestamp) -> Vec<Value> {
    let Some(completed) = is_completed(answer) else { return Vec::new() };
    // CloudWatch takes no empty value.
    let function = if function.is_empty() { "unknown" } else { function };
    let life = line(&[(METRIC, f64::from(u8::from(completed)))], [DIMENSION, function], now);
    let signals = answer["rollouts"].as_array().into_iter().flatten().filter_map(|rollout| {
        let signal = rollout.get("signal")?;
        let harmful = f64::from(u8::from(signal.get("harmful")?.as_bool()?));
        let told = |(metric, key)| Some((metric, signal.get(key)?.as_f64()?));
        let metrics: Vec<(&str, f64)> =
            std::iter::once((VERDICT, harmful)).chain(SIGNALS.into_iter().filter_map(told)).collect();
        Some(line(&metrics, [GATE, signal.get("gate")?.as_str()?], now))
    });
    std::iter::once(life).chain(signals).collect()
}

/// A line with the ids of the invocation that prints it, as every other line of the log has them.
#[must_use]
pub fn of_invocation(mut line: Value, request_id: &str, trace_id: Option<&str>) -> Value {
    line["request_id"] = json!(request_id);
    if let Some(trace_id) = trace_id {
        line["trace_id"] = json!(trace_id);
    }
    line
}

/// Prints a line. Lambda makes a log event of it; CloudWatch reads metrics out of those that are bare JSON.
pub fn publish(line: &Value) {
    let mut out = std::io::stdout().lock();
    // In one write, since the log's own lines go the same way.
    if let Err(error) = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()) {
        tracing::error!(%error, "metric not published");
    }
}

/// All metrics: name, unit and dimension.
pub fn metrics() -> impl Iterator<Item = [&'static str; 3]> {
    let of_gates = std::iter::once(VERDICT).chain(SIGNALS.into_iter().map(|(metric, _)| metric));
    let all = std::iter::once((METRIC, DIMENSION)).chain(of_gates.map(|metric| (metric, GATE)));
    all.map(|(metric, dimension)| [metric, unit(metric), dimension])
}

/// Metrics with one dimension, which is a name and a value.
fn line(metrics: &[(&str, f64)], [dimension, of]: [&str; 2], now: Timestamp) -> Value {
    let described: Vec<Value> =
        metrics.iter().map(|(name, _)| json!({ "Name": name, "Unit": unit(name) })).collect();
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [[dimension]], "Metrics": described });
    let mut line = json!({
        "_aws": { "Timestamp": now.as_millisecond(), "CloudWatchMetrics": [directive] },
        dimension: of,
    });
    for (name, value) in metrics {
        line[*name] = json!(value);
    }
    line
}

fn unit(metric: &str) -> &'static str {
    match metric {
        "Share" => "Percent",
        "EvidenceOfHarm" | "EvidenceOfHealth" => "None",
        _ => "Count",
    }
}

/// Whether a tick did its work: it was not dropped, every record could be read, the decision about every rollout was
/// stored, by this tick or by another one that was faster, and no other shard's rollouts are left alone. `None` for
/// what is not a tick's answer.
fn is_completed(answer: &Value) -> Option<bool> {
    answer.get("minute")?;
    let rollouts = answer.get("rollouts")?.as_array()?;
    let failed = |rollout: &Value| ["failed", NOT_REACHED].iter().any(|word| rollout["decision"] == *word);
    let all_there = ["dropped", "unreadable", "unwatched"].iter().all(|key| answer.get(key).is_none());
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
        lines.first().map(|line| line[METRIC].clone())
    }

    #[test]
    fn a_line_keeps_the_rules_of_the_embedded_metric_format() {
        let mut tick = tick(&["hold"]);
        tick["rollouts"][0]["signal"] = json!({ "gate": "pay-prod", "harmful": true });
        let lines = lines(&tick, "gate", now());
        assert_eq!(lines.len(), 2);
        for line in lines {
            keeps_the_rules(&line.to_string());
            let told = of_invocation(line, "r-1", Some("1-a-b"));
            keeps_the_rules(&told.to_string());
            assert_eq!((&told["request_id"], &told["trace_id"]), (&json!("r-1"), &json!("1-a-b")));
        }
    }

    #[test]
    fn a_verdict_is_published_for_whoever_asked_for_it() {
        let mut tick = tick(&["hold", "hold", "skipped"]);
        tick["rollouts"][0]["signal"] = json!({ "gate": "pay-prod", "harmful": true });
        tick["rollouts"][1]["signal"] = json!({ "gate": "shop-prod", "harmful": false });
        let lines = lines(&tick, "gate", now());
        let told: Vec<_> = lines.iter().skip(1).map(|line| (&line[GATE], &line[VERDICT])).collect();
        assert_eq!(told, [(&json!("pay-prod"), &json!(1.0)), (&json!("shop-prod"), &json!(0.0))]);
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
            assert!(["Count", "Percent", "None"].contains(&metric["Unit"].as_str().unwrap()), "{metric}");
        }
    }

    #[test]
    fn a_tick_counts_once_if_every_decision_was_stored() {
        for decisions in [&[][..], &["hold"], &["drain", "promote", "verify"], &["skipped"]] {
            assert_eq!(metric(&tick(decisions)), Some(json!(1.0)), "{decisions:?}");
        }
    }

    #[test]
    fn a_tick_counts_for_nothing_if_it_was_dropped_or_a_decision_was_not_stored() {
        assert_eq!(metric(&tick(&["hold", "failed"])), Some(json!(0.0)));
        assert_eq!(metric(&tick(&["hold", "not reached"])), Some(json!(0.0)));
        let mut unwatched = tick(&["hold"]);
        unwatched["unwatched"] = json!(["shop: not looked at for 7 minutes, which is for shard 2 of 2"]);
        assert_eq!(metric(&unwatched), Some(json!(0.0)));
        let mut dropped = tick(&[]);
        dropped["dropped"] = json!("the tick is stale");
        assert_eq!(metric(&dropped), Some(json!(0.0)));
        let mut unreadable = tick(&["hold"]);
        unreadable["unreadable"] = json!(["record of search is unreadable"]);
        assert_eq!(metric(&unreadable), Some(json!(0.0)));
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
        assert_eq!(lines(&tick(&[]), "", now())[0][DIMENSION], json!("unknown"));
    }
}
