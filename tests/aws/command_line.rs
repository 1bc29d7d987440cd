//! The commands of the command line that talk to an installation: over the wire, beside the function.

use serde_json::{Value, json};

use crate::outside::{count, names};
use crate::person::{failed, operator, out, run, told};
use crate::traffic::{Generated, Traffic as _};
use crate::world::{ROLLOUT, World};

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Started from a file by a person, on its first step, with these minutes of healthy traffic behind it.
fn on_first_step(minutes: i64) -> World {
    let world = World::new().now_is_before(minutes);
    let plan = world.plan(json!({ "bake": "5m" })).to_string();
    told(&operator(&world, &["start", "-", "--reason", "release 42"], &plan));
    for minute in 0..minutes {
        world.live(minute, &Generated::HEALTHY);
    }
    assert_eq!(world.rule().share(&world), 5.0);
    world
}

#[test]
fn a_start_from_a_file_is_the_functions_to_carry_on() {
    let world = on_first_step(3);
    let entry = world.log().into_iter().find(|entry| entry["decision"] == json!("start")).expect("audited");
    assert_eq!(
        (&entry["by"]["actor"], &entry["by"]["reason"]),
        (&json!("ana"), &json!("release 42")),
        "who is the environment's USER"
    );
    let again = operator(&world, &["start", "-", "--reason", "again"], &world.plan(json!({})).to_string());
    failed(&again, 77, &["already gets 5% of the traffic"]);
}

#[test]
fn a_plan_with_mistakes_is_65_and_nothing_is_asked() {
    let world = World::new();
    let plan = world.plan(json!({ "bake": "soon", "stepps": [5] })).to_string();
    let (output, calls) = world.calls_of(|| operator(&world, &["start", "-", "--reason", "r"], &plan));
    assert_eq!((output.status.code(), calls.len()), (Some(65), 0));
    let said = crate::person::err(&output);
    assert!(said.contains("bake") && said.contains("stepps"), "all problems at once: {said}");
}

#[test]
fn status_list_and_history_tell_people_and_machines_the_same() {
    let world = on_first_step(4);
    let before = world.record();
    let ((), calls) = world.calls_of(|| {
        let text = told(&operator(&world, &["status", ROLLOUT], ""));
        for part in
            ["checkout: running at 5% of the traffic", "by ana: release 42", "1 of 4", "check     errors"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let status = json_of(&told(&operator(&world, &["status", ROLLOUT, "--format", "json"], "")));
        assert_eq!((&status["phase"], &status["share"]), (&json!("running"), &json!(5.0)));
        let list = told(&operator(&world, &["list"], ""));
        assert!(
            list.lines().nth(1).is_some_and(|line| line.contains("checkout") && line.contains("5%")),
            "{list}"
        );
        let history = told(&operator(&world, &["history", ROLLOUT, "--limit", "2"], ""));
        assert_eq!(history.lines().count(), 2, "{history}");
        let entries = operator(&world, &["history", ROLLOUT, "--limit", "2", "--format", "json"], "");
        assert_eq!(json_of(&told(&entries))["entries"].as_array().map(Vec::len), Some(2));
    });
    let reads = ["dynamodb Query", "dynamodb GetItem", "dynamodb Scan"];
    assert!(names(&calls).iter().all(|name| reads.contains(name)), "{:?}", names(&calls));
    assert_eq!(world.record(), before);
}

#[test]
fn orders_take_effect_without_the_function() {
    let mut world = on_first_step(3);
    world.gates.clear();
    let order = |arguments: &[&str]| {
        told(&operator(&world, &[arguments, &["--reason", "a test", "--format", "json"]].concat(), ""))
    };
    assert_eq!(json_of(&order(&["pause", ROLLOUT]))["phase"], json!("paused"));
    assert_eq!(json_of(&order(&["resume", ROLLOUT]))["phase"], json!("running"));
    assert_eq!(json_of(&order(&["promote", ROLLOUT]))["share"], json!(25.0));
    assert_eq!(world.rule().share(&world), 25.0);
    order(&["freeze"]);
    let frozen = told(&operator(&world, &["status", ROLLOUT], ""));
    assert!(frozen.contains("ALL ROLLOUTS ARE FROZEN by ana: a test"), "{frozen}");
    order(&["thaw"]);
    assert_eq!(json_of(&order(&["abort", ROLLOUT]))["phase"], json!("drained"));
    assert_eq!(world.rule().share(&world), 0.0);
    assert_eq!(world.paged(), ["drained"], "the topic that was named gets the page at once");
    let again = operator(&world, &["abort", ROLLOUT, "--reason", "twice"], "");
    failed(&again, 77, &["ended"]);
}

#[test]
fn what_does_not_exist_is_66_and_what_aws_denies_is_69() {
    let world = World::new();
    failed(&operator(&world, &["status", "nobody"], ""), 66, &["no rollout is named \"nobody\""]);
    failed(&operator(&world, &["report", "nobody"], ""), 66, &["no rollout is named"]);
    world.faults(&json!([{ "op": "GetItem", "code": "AccessDeniedException", "status": 400, "n": -1 }]));
    failed(&operator(&world, &["status", ROLLOUT], ""), 69, &["dynamodb GetItem: denied"]);
    let nobody =
        run(&["status", ROLLOUT, "--region", "us-east-1"], &[("AWS_ENDPOINT_URL", world.endpoint.url())], "");
    failed(&nobody, 69, &["no AWS credentials", "AWS_PROFILE"]);
    failed(
        &run(&["list"], &[("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "s")], ""),
        69,
        &["no region"],
    );
}

#[test]
fn watch_prints_every_change_until_the_end_and_wants_a_terminal_else() {
    let world = on_first_step(3);
    failed(&operator(&world, &["watch", ROLLOUT], ""), 64, &["needs a terminal", "--format json"]);
    world.command("abort", json!({})).unwrap();
    world.watch_ends(3);
    let output = operator(&world, &["watch", ROLLOUT, "--format", "json"], "");
    assert_eq!(output.status.code(), Some(1), "drained");
    assert_eq!(json_of(&out(&output))["phase"], json!("drained"), "one line");
}

#[test]
fn a_recording_of_a_rollout_is_what_its_ticks_saw() {
    let world = World::new().now_is_before(14);
    world.start_default();
    for minute in 0..12 {
        world.live(minute, &Generated::HARMFUL);
    }
    assert_eq!(world.record().phase(), "drained");
    let output = operator(&world, &["record", ROLLOUT], "");
    let recording = told(&output);
    let header = json_of(recording.lines().next().expect("a header"));
    assert_eq!((&header["stable"], &header["canary"]), (&json!("stable"), &json!("canary")));
    let rows: Vec<Value> = recording.lines().skip(1).map(json_of).collect();
    let with_canary: Vec<&Value> = rows.iter().filter(|row| !row["canary"].is_null()).collect();
    assert!(!with_canary.is_empty() && with_canary.iter().all(|row| row["share"].is_number()), "{recording}");
    let shared = |row: &&&Value| row["share"] == json!(5.0);
    assert!(with_canary.iter().filter(shared).count() >= 3, "{recording}");

    // Judged again, it ends as it did.
    let dir = crate::setup::scratch();
    let (plan, file) = (dir.join("recorded-plan.json"), dir.join("recorded.jsonl"));
    std::fs::write(&plan, world.plan(json!({})).to_string()).expect("a file");
    std::fs::write(&file, &recording).expect("a file");
    let (plan, file) = (plan.to_str().expect("plain"), file.to_str().expect("plain"));
    let replayed = run(&["replay", "--plan", plan, "--recording", file, "--format", "jsonl"], &[], "");
    assert_eq!(replayed.status.code(), Some(1), "drained: {}", crate::person::err(&replayed));
}

#[test]
fn minutes_of_groups_without_a_rollout_can_be_recorded() {
    let world = World::new();
    for minute in -40..0 {
        world.publish(minute, &Generated::HEALTHY.at(minute, 5.0));
    }
    let plan = world.plan(json!({})).to_string();
    let (output, calls) = world
        .calls_of(|| operator(&world, &["record", "--plan", "-", "--share", "5%", "--minutes", "30"], &plan));
    let recording = told(&output);
    assert_eq!(recording.lines().count(), 31, "{recording}");
    assert!(recording.lines().skip(1).all(|line| json_of(line)["share"] == json!(5.0)));
    assert_eq!(calls.len(), count(&calls, "cloudwatch GetMetricData"), "nothing else is asked");
    let empty = World::new();
    let plan = empty.plan(json!({})).to_string();
    failed(
        &operator(&empty, &["record", "--plan", "-", "--share", "0%", "--minutes", "30"], &plan),
        65,
        &["no minute of either group"],
    );
}

#[test]
fn a_report_shows_what_was_decided_and_who_ordered_what() {
    let world = World::new().now_is_before(6);
    let plan = json!({ "plan": world.plan(json!({ "bake": "5m" })), "rollout": null });
    world.command_at(-1, "start", plan).unwrap();
    for minute in 0..6 {
        world.live(minute, &Generated::HEALTHY);
    }
    told(&operator(&world, &["pause", ROLLOUT, "--reason", "lunch"], ""));
    told(&operator(&world, &["resume", ROLLOUT, "--reason", "back"], ""));
    for minute in 6..9 {
        world.live(minute, &Generated::HARMFUL);
    }
    let page = told(&operator(&world, &["report", ROLLOUT], ""));
    for part in
        ["<!DOCTYPE html>", "errors: bad of all requests", "pause by ana", "release 42", "Evidence of harm"]
    {
        assert!(page.contains(part), "{part} is missing");
    }
    let whole = json_of(&told(&operator(&world, &["report", ROLLOUT, "--format", "json"], "")));
    assert_eq!(whole["record"]["plan"]["rollout"], json!(ROLLOUT));
    assert_eq!(whole["log"].as_array().map(Vec::len), Some(world.log().len()));
}

#[test]
fn a_rollout_without_a_judgement_has_no_report_yet() {
    let world = World::new();
    world.start_default();
    failed(&operator(&world, &["report", ROLLOUT], ""), 65, &["not judged yet"]);
}
