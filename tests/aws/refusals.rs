//! What is refused touches nothing, and says all that is wrong with it.

use serde_json::{Value, json};

use crate::gate::run_to_its_end;
use crate::outside::names;
use crate::world::World;

#[test]
fn an_unreadable_event_is_refused_and_touches_nothing() {
    let world = World::new();
    let events = [
        json!(42),
        json!("tick"),
        json!([]),
        json!(null),
        json!({}),
        json!({ "kind": "tock" }),
        json!({ "kind": "tick", "scheduled_time": "yesterday" }),
        json!({ "kind": "tick", "scheduled_time": world.minute(0), "surprise": 1 }),
        json!({ "source": "aws.s3", "detail-type": "Object Created", "detail": {} }),
        json!({ "Records": [] }),
    ];
    for event in events {
        let (answer, calls) = world.calls_of(|| world.invoke(&event));
        let failed = answer.expect_err("refused");
        assert_eq!(failed.kind, "UnreadableEvent", "{event}: {}", failed.text);
        assert_eq!(names(&calls), [""; 0], "{event}");
    }
}

#[test]
fn a_plan_with_ten_mistakes_is_refused_with_all_ten() {
    let world = World::new();
    let plan = world.plan(json!({
        "rollout": "Check Out",
        "listener_rule": world.scene["listener_arn"],
        "canary": world.group("stable"),
        "steps": ["50%", "5%"],
        "bake": "15",
        "min_requests": -1,
        "false_rollback": "0%",
        "on_blind": "pray",
        "decide_witin": "4h",
        "checks": { "errors": { "tolerate": "1.25%" } },
    }));
    let event = json!({ "plan": plan, "rollout": null });
    let (answer, calls) = world.calls_of(|| world.command("start", event));
    let failed = answer.expect_err("refused");
    assert_eq!(failed.kind, "InvalidPlan");
    assert!(failed.text.starts_with("10 problems in the plan:"), "{}", failed.text);
    let keys = [
        "rollout:",
        "listener_rule:",
        "canary:",
        "steps",
        "bake:",
        "min_requests:",
        "false_rollback:",
        "on_blind:",
        "decide_within?",
        "checks.errors.tolerate:",
    ];
    for key in keys {
        assert!(failed.text.contains(key), "{key} is not named: {}", failed.text);
    }
    assert_eq!(names(&calls), [""; 0]);
}

#[test]
fn unknown_commands_and_nameless_orders_are_refused() {
    let world = World::new();
    let cases: [(&str, Value, &str); 4] = [
        ("promot", json!({}), "promote"),
        ("abort", json!({ "actor": null }), "actor"),
        ("abort", json!({ "reason": "  " }), "reason"),
        ("status", json!({ "rolout": "checkout" }), "did you mean rollout"),
    ];
    for (command, change, words) in cases {
        let (answer, calls) = world.calls_of(|| world.command(command, change));
        let failed = answer.expect_err("refused");
        assert_eq!(failed.kind, "InvalidCommand", "{command}: {}", failed.text);
        assert!(failed.text.contains(words), "{command}: {}", failed.text);
        assert_eq!(names(&calls), [""; 0], "{command}");
    }
    assert_eq!(world.command("status", json!({})).unwrap_err().kind, "NoSuchRollout");
}

#[test]
fn a_function_with_missing_settings_ends_and_names_them_all() {
    let (content, said) = run_to_its_end(&[("CANARY_GATE_CLOCK", "event"), ("CANARY_GATE_WATERMARK", "1h")]);
    assert!(!content);
    let needed = ["CANARY_GATE_TABLE", "CANARY_GATE_TOPIC_ARN", "CANARY_GATE_CLOCK", "CANARY_GATE_WATERMARK"];
    for name in needed {
        assert!(said.contains(name), "{name} is not named: {said}");
    }
    let topic = ("CANARY_GATE_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:alerts");
    let (content, said) = run_to_its_end(&[("CANARY_GATE_TABEL", "canary-gate"), topic]);
    assert!(!content && said.contains("did you mean CANARY_GATE_TABLE"), "{said}");
}

#[test]
fn a_tick_that_comes_an_hour_late_is_dropped() {
    let world = World::set_up(json!({}), &[("CANARY_GATE_CLOCK", "wall")]);
    world.start_default();
    let (report, calls) = world.calls_of(|| world.tick_all(-60));
    assert!(report["dropped"].is_string(), "{report}");
    assert_eq!(names(&calls), [""; 0]);
}

#[test]
fn the_scheduled_event_of_an_eventbridge_rule_is_a_tick() {
    let world = World::new();
    world.start_default();
    let event = json!({
        "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
        "source": "aws.events", "account": "123456789012", "time": world.minute(0), "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:123456789012:rule/tick"], "detail": {},
    });
    let report = world.invoke(&event).expect("a tick");
    assert_eq!(report["rollouts"][0]["decision"], json!("promote"));
    assert_eq!(world.rule().share(&world), 5.0);
}
