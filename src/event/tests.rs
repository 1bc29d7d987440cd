//! What is read, and what is refused with which words.

use super::*;
use crate::rollout::command::Resume;
use serde_json::json;

/// Every file in `events/`, with what it is.
const EVENTS: [(&str, &str, &str); 42] = [
    ("abort.json", "abort", include_str!("../../events/abort.json")),
    ("alarm-eventbridge.json", "alarm", include_str!("../../events/alarm-eventbridge.json")),
    (
        "alarm-insufficient-data-eventbridge.json",
        "alarm",
        include_str!("../../events/alarm-insufficient-data-eventbridge.json"),
    ),
    (
        "alarm-lambda-action-composite.json",
        "alarm",
        include_str!("../../events/alarm-lambda-action-composite.json"),
    ),
    ("alarm-lambda-action.json", "alarm", include_str!("../../events/alarm-lambda-action.json")),
    ("alarm-ok-eventbridge.json", "alarm", include_str!("../../events/alarm-ok-eventbridge.json")),
    ("alarm-sns-composite.json", "alarm", include_str!("../../events/alarm-sns-composite.json")),
    ("alarm-sns.json", "alarm", include_str!("../../events/alarm-sns.json")),
    ("codedeploy-hook.json", "codedeploy hook", include_str!("../../events/codedeploy-hook.json")),
    ("ecs-hook-asked-again.json", "ecs hook", include_str!("../../events/ecs-hook-asked-again.json")),
    ("ecs-hook-unwrapped.json", "ecs hook", include_str!("../../events/ecs-hook-unwrapped.json")),
    ("ecs-hook.json", "ecs hook", include_str!("../../events/ecs-hook.json")),
    ("ecs-pause-eventbridge.json", "ecs pause", include_str!("../../events/ecs-pause-eventbridge.json")),
    ("freeze.json", "freeze", include_str!("../../events/freeze.json")),
    ("guard.json", "guard", include_str!("../../events/guard.json")),
    ("guards.json", "guards", include_str!("../../events/guards.json")),
    ("history.json", "history", include_str!("../../events/history.json")),
    ("http-abort-signed.json", "http", include_str!("../../events/http-abort-signed.json")),
    ("http-flagger.json", "http", include_str!("../../events/http-flagger.json")),
    ("http-freeze-base64.json", "http", include_str!("../../events/http-freeze-base64.json")),
    ("http-github.json", "http", include_str!("../../events/http-github.json")),
    ("http-health.json", "http", include_str!("../../events/http-health.json")),
    ("http-history.json", "http", include_str!("../../events/http-history.json")),
    ("http-kayenta-basic.json", "http", include_str!("../../events/http-kayenta-basic.json")),
    ("http-loadtester.json", "http", include_str!("../../events/http-loadtester.json")),
    ("http-pause-iam.json", "http", include_str!("../../events/http-pause-iam.json")),
    ("http-spinnaker.json", "http", include_str!("../../events/http-spinnaker.json")),
    ("http-verdict.json", "http", include_str!("../../events/http-verdict.json")),
    ("list.json", "list", include_str!("../../events/list.json")),
    ("pause.json", "pause", include_str!("../../events/pause.json")),
    ("promote.json", "promote", include_str!("../../events/promote.json")),
    ("resume-adopt.json", "resume", include_str!("../../events/resume-adopt.json")),
    ("resume-restore.json", "resume", include_str!("../../events/resume-restore.json")),
    ("resume.json", "resume", include_str!("../../events/resume.json")),
    ("start-with-yaml-plan.json", "start", include_str!("../../events/start-with-yaml-plan.json")),
    ("start.json", "start", include_str!("../../events/start.json")),
    ("status.json", "status", include_str!("../../events/status.json")),
    ("thaw.json", "thaw", include_str!("../../events/thaw.json")),
    ("tick-eventbridge-rule.json", "tick", include_str!("../../events/tick-eventbridge-rule.json")),
    ("tick-scheduler.json", "tick", include_str!("../../events/tick-scheduler.json")),
    ("tick-shard.json", "tick", include_str!("../../events/tick-shard.json")),
    ("unguard.json", "unguard", include_str!("../../events/unguard.json")),
];

fn read(event: &Value) -> Result<Invocation, EventError> {
    Invocation::from_json(event)
}

fn sample(name: &str) -> Value {
    let (_, _, text) = EVENTS.iter().find(|(file, ..)| *file == name).unwrap();
    serde_json::from_str(text).unwrap()
}

fn keys(error: &EventError) -> Vec<&str> {
    error.problems().iter().map(|problem| problem.key.as_str()).collect()
}

#[test]
fn every_sample_event_is_understood() {
    for (file, word, _) in EVENTS {
        let found = read(&sample(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let name = match &found {
            Invocation::Tick(tick) => {
                assert!(tick.scheduled_at.is_some(), "{file}");
                "tick"
            }
            Invocation::Command(command) => command.verb.name(),
            Invocation::Alarm(_) => "alarm",
            Invocation::CodeDeployHook(_) => "codedeploy hook",
            Invocation::EcsHook(_) => "ecs hook",
            Invocation::EcsPaused(_) => "ecs pause",
            Invocation::Http(request) => {
                assert!(request.path.starts_with('/') && request.host.contains("lambda-url"), "{file}");
                "http"
            }
        };
        assert_eq!(name, word, "{file}");
    }
}

#[test]
fn every_file_of_the_events_folder_is_a_sample() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/events");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, EVENTS.map(|(file, ..)| file.to_owned()));
}

#[test]
fn a_plan_means_the_same_as_an_object_and_as_text() {
    assert_eq!(read(&sample("start.json")).unwrap(), read(&sample("start-with-yaml-plan.json")).unwrap());
}

#[test]
fn resuming_says_with_which_weights_if_it_is_asked() {
    for (file, expected) in [
        ("resume.json", None),
        ("resume-adopt.json", Some(Resume::Adopt)),
        ("resume-restore.json", Some(Resume::Restore)),
    ] {
        let Invocation::Command(Command { verb: Verb::Order { order, .. }, .. }) =
            read(&sample(file)).unwrap()
        else {
            panic!("{file} is no order");
        };
        assert_eq!(order, Order::Resume(expected));
    }
}

#[test]
fn a_tick_may_come_without_its_time_but_not_with_a_wrong_one() {
    let tick = read(&json!({ "kind": "tick" })).unwrap();
    assert_eq!(tick, Invocation::Tick(Tick { scheduled_at: None, shard: Shard::ALL }));
    for wrong in [json!("<aws.scheduler.scheduled-time>"), json!(17), json!("2026-03-01 10:00")] {
        let error = read(&json!({ "kind": "tick", "scheduled_time": wrong })).unwrap_err();
        assert_eq!(error.error_type(), "UnreadableEvent");
        assert_eq!(keys(&error), ["scheduled_time"]);
    }
    let error = read(&json!({ "source": "aws.events", "detail-type": "Scheduled Event" })).unwrap_err();
    assert_eq!(keys(&error), ["time"]);
}

#[test]
fn a_tick_may_be_for_a_part_of_all_rollouts_and_for_none_that_there_is_not() {
    let Invocation::Tick(tick) = read(&sample("tick-shard.json")).unwrap() else { panic!("no tick") };
    assert_eq!(Some(tick.shard), Shard::new(2, 4));
    for (wrong, told) in [
        (json!({ "shard": 0, "of": 4 }), vec!["shard"]),
        (json!({ "shard": 5, "of": 4 }), vec!["shard"]),
        (json!({ "shard": 1.5, "of": 4 }), vec!["shard"]),
        (json!({ "shard": "1", "of": "4" }), vec!["of", "shard"]),
        (json!({ "shard": -1, "of": 0 }), vec!["of", "shard"]),
        (json!({ "shard": 1, "of": 101 }), vec!["of"]),
        (json!({ "shard": 1 }), vec!["of"]),
        (json!({ "of": 4 }), vec!["shard"]),
        (json!({ "shards": 1 }), vec!["shards"]),
    ] {
        let mut event = wrong.clone();
        event["kind"] = json!("tick");
        let error = read(&event).unwrap_err();
        assert_eq!(error.error_type(), "UnreadableEvent", "{wrong}");
        assert_eq!(keys(&error), told, "{wrong}: {error}");
    }
}

#[test]
fn every_problem_of_a_command_is_told_at_once() {
    let event = json!({
        "kind": "command", "command": "resume", "rollout": "Checkout", "weights": "both",
        "reason": "x".repeat(201), "raeson": "typo",
    });
    let error = read(&event).unwrap_err();
    assert_eq!(error.error_type(), "InvalidCommand");
    assert_eq!(keys(&error), ["raeson", "weights", "rollout", "actor", "reason"]);
    let text = error.to_string();
    assert!(text.starts_with("5 problems in the command:"), "{text}");
    assert!(text.contains("did you mean reason?") && text.contains("write checkout"), "{text}");
}

#[test]
fn all_problems_of_a_plan_are_in_the_error_with_their_place() {
    let plan = json!({ "steps": ["5%", "4%"], "bake": 15, "canary": "x" });
    let mut event = json!({
        "kind": "command", "command": "start", "plan": plan, "actor": "ci", "reason": "release 42",
    });
    let error = read(&event).unwrap_err();
    assert_eq!(error.error_type(), "InvalidPlan");
    assert_eq!(
        keys(&error),
        ["plan.listener_rule", "plan.stable", "plan.canary", "plan.steps[1]", "plan.bake"]
    );
    event["actor"] = Value::Null;
    let error = read(&event).unwrap_err();
    assert_eq!((error.error_type(), error.problems().len()), ("InvalidCommand", 6));
    event["plan"] = json!("steps: [5%\nbake");
    event["actor"] = json!("ci");
    let error = read(&event).unwrap_err();
    assert!(error.problems()[0].key.starts_with("plan, line "), "{error}");
}

#[test]
fn commands_that_change_something_need_an_actor_and_a_reason_and_others_do_not() {
    for (command, needs) in [
        ("pause", true),
        ("resume", true),
        ("promote", true),
        ("abort", true),
        ("status", false),
        ("history", false),
    ] {
        let bare = json!({ "kind": "command", "command": command, "rollout": "checkout" });
        assert_eq!(read(&bare).is_err(), needs, "{command}");
        let mut full = bare;
        full["actor"] = json!("ci");
        full["reason"] = json!("release 42");
        assert!(read(&full).is_ok(), "{command}");
        full["reason"] = json!("two\nlines");
        assert_eq!(read(&full).is_err(), needs, "{command}");
    }
    assert!(read(&json!({ "kind": "command", "command": "list" })).is_ok());
    for command in ["freeze", "thaw"] {
        let bare = json!({ "kind": "command", "command": command });
        assert_eq!(keys(&read(&bare).unwrap_err()), ["actor", "reason"]);
        let one =
            json!({ "kind": "command", "command": command, "actor": "a", "reason": "r", "rollout": "x" });
        assert_eq!(keys(&read(&one).unwrap_err()), ["rollout"], "{command} is for all rollouts");
    }
}

#[test]
fn a_command_over_http_has_the_paths_words_and_the_callers_name() {
    let said = [("rollout", json!("checkout"))];
    let read = |body: &Value| http_command("pause", &said, body, "ci");
    let by = |body: &Value| match read(body).unwrap() {
        Command { verb: Verb::Order { by, .. }, at: None } => by.actor,
        other => panic!("{other:?}"),
    };
    assert_eq!(by(&json!({ "reason": "r" })), "ci");
    assert_eq!(by(&json!({ "reason": "r", "actor": null })), "ci");
    assert_eq!(by(&json!({ "reason": "r", "actor": "ana" })), "ci for ana");
    let body = json!({ "rollout": "other", "at": "2026-03-01T10:00:00Z", "actor": 1, "reson": "r" });
    let error = read(&body).unwrap_err();
    assert_eq!(error.error_type(), "InvalidCommand");
    assert_eq!(keys(&error), ["rollout", "at", "reson", "actor", "reason"]);
    for body in [json!([]), json!("x"), json!(null), json!({ "reason": "r", "kind": "tick" })] {
        assert_eq!(read(&body).unwrap_err().error_type(), "InvalidCommand", "{body}");
    }
    let long = json!({ "reason": "r", "actor": "a".repeat(300) });
    assert_eq!(keys(&read(&long).unwrap_err()), ["actor"]);
    assert!(read(&json!({ "reason": "r", "x": "y".repeat(300_000) })).is_err());
    let error = http_command("start", &[], &json!({ "plan": {}, "reason": "r" }), "ci").unwrap_err();
    assert_eq!(error.error_type(), "InvalidPlan");
}

#[test]
fn a_history_has_between_one_and_two_hundred_entries() {
    for (limit, fine) in
        [(json!(1), true), (json!(200), true), (json!(0), false), (json!(201), false), (json!(2.5), false)]
    {
        let event = json!({ "kind": "command", "command": "history", "rollout": "a", "limit": limit });
        assert_eq!(read(&event).is_ok(), fine, "{limit}");
    }
}

#[test]
fn hooks_tell_what_they_lack() {
    for (event, lacks) in [
        (json!({ "LifecycleEventHookExecutionId": "e" }), "DeploymentId"),
        (json!({ "DeploymentId": 1, "LifecycleEventHookExecutionId": "e" }), "DeploymentId"),
        (json!({ "executionId": "e", "lifecycleStage": "POST_SCALE_UP" }), "resourceArn"),
        (json!({ "lifecycleStage": "POST_SCALE_UP", "resourceArn": "a", "hookDetails": 1 }), "hookDetails"),
        (json!({ "source": "aws.ecs", "detail-type": "ECS Hook State Change", "detail": {} }), "resources"),
    ] {
        let error = read(&event).unwrap_err();
        assert_eq!((error.error_type(), keys(&error)), ("UnreadableEvent", vec![lacks]), "{error}");
    }
}

#[test]
fn a_hook_of_ecs_says_its_share_and_details_wrapped_or_not() {
    let hook = |file: &str| match read(&sample(file)).unwrap() {
        Invocation::EcsHook(hook) => hook,
        other => panic!("{file}: {other:?}"),
    };
    let wrapped = hook("ecs-hook.json");
    assert_eq!(wrapped.share.map(|share| share.to_string()).as_deref(), Some("5%"));
    assert_eq!(wrapped.details["plan"], json!({ "bake": "10m" }));
    let again = hook("ecs-hook-asked-again.json");
    assert_eq!((again.share, again.details.len()), (None, 2), "most stages tell no weights");
    let plain = hook("ecs-hook-unwrapped.json");
    assert_eq!((plain.share, plain.details.len()), (Some(crate::units::Share::ZERO), 0));
    assert_eq!(plain.deployment, wrapped.deployment);
}

#[test]
fn a_pause_of_ecs_is_read_wherever_it_names_the_deployment() {
    let arn = "arn:aws:ecs:eu-central-1:123456789012:service-deployment/web/shop/aBcD";
    let service = "arn:aws:ecs:eu-central-1:123456789012:service/web/shop";
    for (resources, detail) in [
        (json!([service, arn]), json!({})),
        (json!([service]), json!({ "eventName": "HOOK_AWAITING_ACTION", "serviceDeploymentArn": arn })),
    ] {
        let event = json!({ "source": "aws.ecs", "detail-type": "ECS Hook State Change", "resources": resources,
            "detail": detail });
        let paused = EcsPaused { deployment: arn.to_owned() };
        assert_eq!(read(&event).unwrap(), Invocation::EcsPaused(paused));
    }
}

#[test]
fn what_is_no_event_of_ours_is_named_where_it_is_known() {
    for (event, word) in [
        (json!({ "version": "1.0", "httpMethod": "GET", "requestContext": {} }), "HTTP"),
        (json!({ "Records": [] }), "batch of messages"),
        (json!({ "Records": [{ "eventSource": "aws:sqs" }] }), "batch of messages"),
        (json!({ "source": "aws.ecs", "detail-type": "ECS Task State Change" }), "EventBridge"),
    ] {
        let error = read(&event).unwrap_err();
        assert_eq!(error.error_type(), "UnreadableEvent");
        assert!(error.to_string().contains("not supported yet by this version"), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    for event in
        [json!({}), json!(null), json!([]), json!("tick"), json!({ "kind": "tock" }), json!({ "kind": 1 })]
    {
        assert_eq!(read(&event).unwrap_err().error_type(), "UnreadableEvent", "{event}");
    }
    for event in [json!({ "kind": "command" }), json!({ "kind": "command", "command": "promot" })] {
        assert_eq!(read(&event).unwrap_err().error_type(), "InvalidCommand", "{event}");
    }
}

fn alarm(event: &Value) -> Alarm {
    match read(event) {
        Ok(Invocation::Alarm(alarm)) => alarm,
        other => panic!("no alarm: {other:?}"),
    }
}

/// A message of SNS.
fn sns(message: &str) -> Value {
    let mut event = sample("alarm-sns.json");
    event["Records"][0]["Sns"]["Message"] = json!(message);
    event
}

#[test]
fn an_alarm_is_the_same_by_whichever_way_it_comes() {
    let expected = Alarm {
        name: "payments-failing".to_owned(),
        arn: Some("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:payments-failing".to_owned()),
        has_gone_off: true,
        reason: "Threshold Crossed: 1 out of the last 1 datapoints [0.041 (01/03/26 10:41:00)] was greater than the \
                 threshold (0.01) (minimum 1 datapoint for OK -> ALARM transition)."
            .to_owned(),
        at: Some("2026-03-01T10:42:15.490Z".parse().unwrap()),
        rollouts: vec!["checkout-v42".to_owned()],
    };
    for file in ["alarm-lambda-action.json", "alarm-sns.json", "alarm-eventbridge.json"] {
        assert_eq!(alarm(&sample(file)), expected, "{file}");
    }
    let composite = alarm(&sample("alarm-sns-composite.json"));
    assert_eq!(alarm(&sample("alarm-lambda-action-composite.json")), composite);
    assert_eq!((composite.name.as_str(), composite.has_gone_off), ("shop-is-ill", true));
    assert!(composite.rollouts.is_empty());
}

#[test]
fn an_alarm_that_is_fine_or_lacks_data_has_not_gone_off() {
    assert!(!alarm(&sample("alarm-ok-eventbridge.json")).has_gone_off);
    assert!(!alarm(&sample("alarm-insufficient-data-eventbridge.json")).has_gone_off);
}

#[test]
fn rollouts_are_named_by_words_of_an_alarms_name_or_description() {
    let mut event = sample("alarm-eventbridge.json");
    let mut named = |name: &str, description: &str| {
        event["detail"]["alarmName"] = json!(name);
        event["detail"]["configuration"]["description"] = json!(description);
        alarm(&event).rollouts.join(" ")
    };
    for (name, description, rollouts) in [
        ("a", "", ""),
        ("canary-gate:a", "canary-gate:b canary-gate:a", "a b"),
        (
            "shop/canary-gate:a",
            "(canary-gate:b), \"canary-gate:c\"; see canary-gate:d.\ncanary-gate:e!",
            "a b c d e",
        ),
        ("a", "canary-gate: b, canary-gate:B, canary-gate:-b, xcanary-gate:b, canary-gate:b.c", ""),
        ("a", "canary-gate:", ""),
        ("a", "canary-gate:v-4-2-", "v-4-2-"),
    ] {
        assert_eq!(named(name, description), rollouts, "{name} {description}");
    }
    let many: String = (0..30).map(|n| format!("canary-gate:r{n} ")).collect();
    assert_eq!(named("a", &many).split(' ').count(), 20);
    assert_eq!(named("a", &format!("canary-gate:{}", "x".repeat(64))), "");
    event["detail"]["configuration"] = Value::Null;
    assert_eq!(alarm(&event).rollouts, ["x"; 0]);
}

#[test]
fn an_alarms_reason_is_fit_for_a_record_whatever_it_says() {
    let mut event = sample("alarm-lambda-action.json");
    for (reason, expected) in [
        (json!("two\nlines\u{1b}[2J"), "two lines [2J".to_owned()),
        (json!("é".repeat(300)), "é".repeat(197) + "..."),
        (json!(" \n "), "no reason was given".to_owned()),
        (Value::Null, "no reason was given".to_owned()),
    ] {
        event["alarmData"]["state"]["reason"] = reason;
        assert_eq!(alarm(&event).reason, expected);
    }
}

#[test]
fn an_alarm_whose_time_cannot_be_read_is_taken_all_the_same() {
    let mut event = sample("alarm-eventbridge.json");
    event["detail"]["state"]["timestamp"] = json!("yesterday");
    assert_eq!(alarm(&event).at, Some("2026-03-01T10:42:15Z".parse().unwrap()));
    event["time"] = Value::Null;
    assert_eq!(alarm(&event).at, None);
}

#[test]
fn every_problem_of_an_alarm_is_told_at_once() {
    let mut event = sample("alarm-lambda-action.json");
    event["alarmArn"] = json!(7);
    event["time"] = json!(["now"]);
    event["alarmData"]["alarmName"] = json!("a\nb");
    event["alarmData"]["configuration"]["description"] = json!({});
    event["alarmData"]["state"] = json!({ "value": "RINGING", "reason": 1, "timestamp": 2 });
    let error = read(&event).unwrap_err();
    assert_eq!(error.error_type(), "UnreadableEvent");
    assert_eq!(
        keys(&error),
        [
            "alarmArn",
            "time",
            "alarmData.alarmName",
            "alarmData.configuration.description",
            "alarmData.state.timestamp",
            "alarmData.state.reason",
            "alarmData.state.value",
        ]
    );
    for (event, expected) in [
        (json!({ "alarmArn": "arn:aws:cloudwatch:eu-west-1:1:alarm:a" }), "alarmData"),
        (json!({ "alarmData": {} }), "alarmData.alarmName alarmData.state"),
        (json!({ "alarmData": { "alarmName": "", "state": [] } }), "alarmData.alarmName alarmData.state"),
        (
            json!({ "source": "aws.cloudwatch", "detail-type": "CloudWatch Alarm State Change", "resources": 1 }),
            "resources detail",
        ),
        (json!({ "Records": [{ "EventSource": "aws:sns" }] }), "Records[0].Sns"),
        (json!({ "Records": [{ "EventSource": "aws:sns", "Sns": {} }] }), "Records[0].Sns.Message"),
        (sns(r#"{"AlarmName":"a"}"#), "Records[0].Sns.Message.NewStateValue"),
        (
            sns(r#"{"NewStateValue":"Alarm"}"#),
            "Records[0].Sns.Message.AlarmName Records[0].Sns.Message.NewStateValue",
        ),
    ] {
        assert_eq!(keys(&read(&event).unwrap_err()).join(" "), expected, "{event}");
    }
}

#[test]
fn a_message_that_is_no_alarm_is_refused_in_plain_words() {
    let nested = sample("alarm-eventbridge.json").to_string();
    for message in ["hello", "", "[]", "7", "{}", "{\"AlarmName\"", nested.as_str(), &"[".repeat(100_000)] {
        let error = read(&sns(message)).unwrap_err();
        assert_eq!((error.error_type(), keys(&error)), ("UnreadableEvent", vec!["Records[0].Sns.Message"]));
        assert!(error.to_string().contains("is no alarm"), "{error}");
    }
    let mut event = sample("alarm-sns.json");
    let record = event["Records"][0].clone();
    event["Records"] = json!([record, record]);
    assert!(read(&event).unwrap_err().to_string().contains("must hold one message"));
}

#[test]
fn events_beyond_the_limits_are_refused_unread() {
    let mut deep = json!(1);
    (0..100).for_each(|_| deep = json!([deep]));
    for (extra, word) in [
        (json!("x".repeat(300_000)), "262144 bytes"),
        (json!(vec![0; 60_000]), "50000 values"),
        (deep, "64 mappings and lists"),
    ] {
        let mut event = sample("alarm-eventbridge.json");
        event["detail"]["more"] = extra.clone();
        assert!(read(&event).unwrap_err().to_string().contains(word));
        let plan =
            json!({ "kind": "command", "command": "start", "plan": extra, "actor": "a", "reason": "r" });
        assert!(read(&plan).is_err());
    }
}

#[test]
fn events_with_flipped_bytes_are_read_or_refused_and_never_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for (_, _, text) in EVENTS {
        for _ in 0..300 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                bytes[at] = b" {}[]\",:0-nt9"[random(13)];
            }
            if let Ok(event) = serde_json::from_slice::<Value>(&bytes) {
                let _ = read(&event).map_err(|error| error.to_string());
            }
        }
    }
}
