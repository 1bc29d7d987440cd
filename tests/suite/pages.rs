//! Pages as the handler writes and sends them; what each kind says is tested beside its words.

use canary_gate::handler::page::render;
use canary_gate::ports::{Home, Message};
use canary_gate::rollout::record::{Page, PageKind};
use serde_json::{Value, json};

use crate::command_line::{err, run};
use crate::world::World;

/// The kinds of pages, as the schema has them; a test of the pages keeps it complete.
fn kinds() -> Vec<PageKind> {
    let schema: Value = serde_json::from_str(include_str!("../../infra/page.schema.json")).expect("JSON");
    serde_json::from_value(schema["properties"]["event"]["enum"].clone()).expect("kinds of pages")
}

fn form(message: &Message, protocol: &str) -> Value {
    let (_, form) = message.forms.iter().find(|(name, _)| *name == protocol).expect("a form");
    serde_json::from_str(form).expect("JSON")
}

/// The first page of a canary that turned bad.
fn drained() -> (World, Message) {
    let mut world = World::on_first_step(10);
    world.per_mille = [3.0, 60.0];
    world.until("drain", 30);
    let message = world.cloud.messages()[0].clone();
    (world, message)
}

#[test]
fn a_commands_line_of_a_page_is_one_that_the_command_line_understands() {
    let (world, _) = drained();
    let record = world.record();
    let mut seen = 0;
    for kind in kinds() {
        let page = json!({
            "key": "k", "kind": kind, "severity": "info", "at": "2026-03-01T10:00:00Z", "why": "w", "share": 5.0,
            "judgement": null,
        });
        let page: Page = serde_json::from_value(page).expect("a page as it was stored once");
        let message = render(&record, &page, &Home::default());
        for command in message.body.lines().filter_map(|line| line.strip_prefix("Command    canary-gate ")) {
            let words: Vec<&str> = command.split(' ').collect();
            let said = err(&run(&words));
            assert!(!said.contains("Usage:") && !said.contains("error:"), "{command}: {said}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn a_page_of_a_tick_draws_the_minutes_that_the_tick_saw() {
    let (world, message) = drained();
    let document = form(&message, "sqs");
    let courses = document["recent"]["courses"].as_array().expect("courses");
    let errors = courses.iter().find(|course| course["name"] == "errors").expect("errors");
    let canary = errors["canary"].as_array().expect("values");
    assert_eq!(canary.len(), 30);
    // The newest minutes are as bad as the canary is, and those before the first shift are empty.
    assert!(
        canary.last().and_then(Value::as_f64).is_some_and(|percent| (5.0..7.0).contains(&percent)),
        "{canary:?}"
    );
    assert_eq!(canary[0], Value::Null);
    assert!(message.body.contains('█') && message.body.contains("░"), "{}", message.body);
    // Nothing of it stays in the record once the page is sent.
    assert!(world.record().outbox.is_empty());
}

#[test]
fn a_page_of_an_order_waits_for_no_metrics_and_says_so_by_having_no_chart() {
    let world = World::on_first_step(10);
    world.command(&json!({ "command": "abort", "rollout": crate::world::ROLLOUT })).expect("an answer");
    let message = &world.cloud.messages()[0];
    let document = form(message, "sqs");
    assert_eq!((&document["cause"], &document["recent"]), (&json!("order"), &Value::Null));
    assert!(
        document["judgement"]["checks"].as_array().is_some_and(|checks| !checks.is_empty()),
        "{document}"
    );
    assert!(
        message.body.contains("To do      find out what whoever ordered it has seen"),
        "{}",
        message.body
    );
}

#[test]
fn a_page_that_could_not_be_sent_keeps_its_chart_until_it_is() {
    use canary_gate::ports::FailureKind;
    use canary_gate::sim::{Fault, Operation, Outcome};
    let mut world = World::on_first_step(10);
    world.per_mille = [3.0, 60.0];
    world.cloud.fail(Fault {
        operation: Operation::Page,
        outcome: Outcome::Fails(FailureKind::Throttled),
        times: 1,
    });
    world.until("drain", 30);
    assert_eq!(world.cloud.messages(), []);
    let kept = world.record().outbox[0].recent.clone().expect("a chart");
    world.ticks(2);
    let document = form(&world.cloud.messages()[0], "sqs");
    assert_eq!(document["recent"], serde_json::to_value(kept).expect("JSON"));
}
