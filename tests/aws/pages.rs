//! What subscribers of the topic get: each protocol its own form of one page, and less of it rather than nothing.

use serde_json::{Value, json};

use crate::outside::{Call, count};
use crate::traffic::Generated;
use crate::world::{ROLLOUT, World};

/// The keys that the document for machines must have.
fn required_keys() -> Vec<String> {
    let schema: Value = serde_json::from_str(include_str!("../../infra/page.schema.json")).expect("JSON");
    let required = schema["required"].as_array().expect("a list");
    assert!(required.len() > 20, "{required:?}");
    required.iter().map(|key| key.as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_queue_gets_the_document_for_machines_and_mail_the_text() {
    let world = World::on_first_step(Generated::HARMFUL);
    world.tick(12);
    let pages = world.pages();
    assert_eq!(pages.len(), 1);
    let page = &pages[0];
    let document: Value = serde_json::from_str(&page.message).expect("the queue gets JSON");
    for key in required_keys() {
        assert!(document.get(&key).is_some(), "{key}: {document}");
    }
    assert_eq!(
        (&document["event"], &document["rollout"], &document["cause"]),
        (&json!("drained"), &json!(ROLLOUT), &json!("harm"))
    );
    // The numbers are the record's own.
    let found = &world.record().body["last"]["checks"][0];
    let told = &document["judgement"]["checks"][0];
    assert_eq!(
        (&told["canary"]["bad"], &told["canary"]["total"]),
        (&found["canary"]["bad"], &found["canary"]["total"])
    );
    assert!(told["canary"]["percent"].as_f64() > told["stable"]["percent"].as_f64(), "{told}");
    assert!(document["recent"]["courses"].as_array().is_some_and(|courses| courses.len() == 2), "{document}");
    // Mail, and whoever else has no form of its own, gets the text.
    for words in [
        "To do ",
        "Runbook    docs/runbook.md#drained",
        "█",
        "logsV2:log-groups/log-group/$252Faws$252Flambda$252Ffunction",
    ] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    let form =
        |protocol: &str| page.forms[protocol].as_str().unwrap_or_else(|| panic!("no form for {protocol}"));
    assert_eq!([form("lambda"), form("firehose")], [&page.message, &page.message]);
    assert!(form("sms").len() <= 140 && form("sms").contains("canary drained"), "{}", form("sms"));
    for protocol in ["https", "http"] {
        let chat: Value = serde_json::from_str(form(protocol)).expect("JSON");
        assert_eq!((&chat["version"], &chat["source"]), (&json!("1.0"), &json!("custom")));
        assert_eq!(chat["metadata"]["additionalContext"]["key"], document["key"]);
    }
}

#[test]
fn subscribers_can_filter_by_what_a_page_is_about() {
    let world = World::on_first_step(Generated::HARMFUL);
    world.tick(12);
    let attributes = &world.pages()[0].attributes;
    for (name, value) in [
        ("severity", "critical"),
        ("event", "drained"),
        ("rollout", ROLLOUT),
        ("cause", "harm"),
        ("mode", "drive"),
        ("reminder", "false"),
    ] {
        assert_eq!(attributes[name], json!({ "Type": "String", "Value": value }), "{name}");
    }
}

#[test]
fn a_page_that_is_refused_for_its_forms_goes_out_as_plain_text() {
    let world = World::on_first_step(Generated::HARMFUL);
    world.faults(
        &json!([{ "op": "Publish", "code": "InvalidParameter", "match": "\"MessageStructure\"", "n": -1 }]),
    );
    let (report, calls): (Value, Vec<Call>) = world.calls_of(|| world.tick(12));
    assert_eq!((&report["troubles"], count(&calls, "sns Publish")), (&json!([]), 2));
    let pages = world.pages();
    assert_eq!((pages.len(), pages[0].event.as_str(), &pages[0].forms), (1, "drained", &Value::Null));
    assert!(
        pages[0].subject.contains("canary drained") && pages[0].body.contains("To do "),
        "{:?}",
        pages[0]
    );
    assert_eq!(pages[0].message, pages[0].body);
}

#[test]
fn a_page_that_is_refused_for_its_subject_goes_out_without_it() {
    let world = World::on_first_step(Generated::HARMFUL);
    world.faults(&json!([{ "op": "Publish", "code": "InvalidParameter", "match": "\"Subject\"", "n": -1 }]));
    let (report, calls): (Value, Vec<Call>) = world.calls_of(|| world.tick(12));
    assert_eq!((&report["troubles"], count(&calls, "sns Publish")), (&json!([]), 3));
    let pages = world.pages();
    assert_eq!((pages.len(), pages[0].event.as_str()), (1, "drained"));
    assert!(pages[0].subject.is_empty() && pages[0].body.contains("checkout"), "{:?}", pages[0]);
}

#[test]
fn a_page_that_is_refused_in_every_way_is_tried_again_by_the_next_tick() {
    let world = World::on_first_step(Generated::HARMFUL);
    world.faults(&json!([{ "op": "Publish", "code": "InvalidParameter", "n": 3 }]));
    let report = world.tick(12);
    assert!(report["troubles"].to_string().contains("sns Publish"), "{report}");
    assert_eq!(world.paged(), [""; 0]);
    world.tick(13);
    assert_eq!(world.paged(), ["drained"]);
}
