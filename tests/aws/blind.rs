//! Data that is missing or was not read whole is never good news.

use serde_json::{Value, json};

use crate::outside::count;
use crate::traffic::{Counts, Generated, Minute, Traffic};
use crate::world::World;

/// Every way in which GetMetricData may answer less than it was asked for.
fn half_answers() -> Vec<(&'static str, Value)> {
    let result =
        |status: &str| json!({ "op": "GetMetricData", "kind": "result", "status_code": status, "n": -1 });
    let error =
        |code: &str, status: u32| json!({ "op": "GetMetricData", "code": code, "status": status, "n": -1 });
    let without = |series: &str| {
        json!({
            "op": "GetMetricData", "kind": "result", "status_code": "PartialData", "where": series,
            "keep": 0, "n": -1,
        })
    };
    let message =
        json!([{ "Code": "ArithmeticError", "Value": "one or more data-points have been dropped" }]);
    vec![
        ("partial data", result("PartialData")),
        ("partial data of all errors", without("HTTPCode_Target_5XX_Count")),
        // These would make the canary look bad: no answers at all, and a stable without errors.
        ("partial data of the canary's successes", without("c_2xx")),
        ("partial data of stable's errors", without("s_5xx")),
        ("an internal error of a result", result("InternalError")),
        ("a forbidden result", result("Forbidden")),
        (
            "a message",
            json!({ "op": "GetMetricData", "kind": "call_messages", "messages": message, "n": -1 }),
        ),
        ("a throttled call", error("ThrottlingException", 400)),
        ("a denied call", error("AccessDeniedException", 403)),
    ]
}

#[test]
fn half_an_answer_of_cloudwatch_is_blind_and_raises_nothing() {
    let world = World::new();
    world.start(&world.plan(json!({ "blind_after": "60m" })));
    world.live(0, &Generated::HEALTHY);
    for minute in 0..30 {
        world.publish(minute, &Generated::HEALTHY.at(minute + 100, 5.0));
    }
    let mut minute = 20;
    for (name, fault) in half_answers() {
        world.faults(&json!([fault]));
        let report = world.tick(minute);
        assert_eq!(report["judgement"]["verdict"], json!("blind"), "{name}: {report}");
        assert_eq!(report["judgement"]["reason"]["code"], json!("read_incomplete"), "{name}: {report}");
        assert_eq!(report["decision"], json!("hold"), "{name}: {report}");
        assert_eq!(world.rule().share(&world), 5.0, "{name}");
        world.no_faults();
        minute += 1;
    }
    assert_eq!(world.paged(), [""; 0]);
    let report = world.tick(minute);
    assert_eq!(report["decision"], json!("promote"), "nothing else stood in the way: {report}");
    assert_eq!(world.rule().share(&world), 25.0);
}

#[test]
fn an_unreadable_canary_is_drained_and_paged_after_five_minutes() {
    let world = World::new();
    world.start_default();
    world.live(0, &Generated::HEALTHY);
    world.faults(&json!([{ "op": "GetMetricData", "kind": "result", "status_code": "Forbidden", "n": -1 }]));
    let (minute, report) = world.live_until_shift(1, &Generated::HEALTHY);
    assert_eq!((minute, &report["decision"]), (6, &json!("drain")), "{report}");
    assert_eq!((world.rule().share(&world), world.record().phase()), (0.0, "drained"));
    let pages = world.pages();
    assert_eq!(pages.len(), 1);
    assert!(pages[0].body.contains("metrics not read whole"), "{}", pages[0].body);
}

#[test]
fn a_canary_that_falls_silent_while_stable_has_traffic_is_drained_and_paged() {
    let world = World::new();
    world.start(&world.plan(json!({ "bake": "30m" })));
    for minute in 0..4 {
        world.live(minute, &Generated::HEALTHY);
    }
    let alone = Counts { requests: 5_000, classes: [5_000, 0, 0, 0] };
    for minute in 4..9 {
        assert_eq!(world.tick(minute)["decision"], json!("hold"));
        world.publish(minute, &Minute { stable: Some(alone), canary: None });
    }
    // Five silent minutes, 4 to 8, are complete at minute 11.
    assert_eq!(world.tick(10)["decision"], json!("hold"));
    let report = world.tick(11);
    assert_eq!(report["judgement"]["reason"]["code"], json!("canary_silent"), "{report}");
    assert_eq!((world.rule().share(&world), world.paged()), (0.0, vec!["drained".to_owned()]));
}

#[test]
fn minutes_that_cloudwatch_corrects_late_are_judged_as_corrected() {
    let world = World::new();
    world.start(&world.plan(json!({ "bake": "30m" })));
    world.live(0, &Generated::HEALTHY);
    for minute in 1..9 {
        world.tick(minute);
        // The successes come in first, the failures later.
        let whole = Generated::HARMFUL.at(minute, 5.0);
        let first =
            |counts: Counts| Counts { requests: counts.classes[0], classes: [counts.classes[0], 0, 0, 0] };
        world.publish(minute, &Minute { stable: whole.stable.map(first), canary: whole.canary.map(first) });
    }
    assert_eq!(world.tick(9)["judgement"]["verdict"], json!("undecided"));
    for minute in 1..9 {
        let whole = Generated::HARMFUL.at(minute, 5.0);
        let rest =
            |counts: Counts| Counts { requests: counts.classes[3], classes: [0, 0, 0, counts.classes[3]] };
        world.publish(minute, &Minute { stable: whole.stable.map(rest), canary: whole.canary.map(rest) });
    }
    assert_eq!(world.tick(10)["decision"], json!("drain"));
}

#[test]
fn minutes_younger_than_the_watermark_are_not_looked_at() {
    let world = World::new();
    world.start_default();
    world.live(0, &Generated::HEALTHY);
    let (_, calls) = world.calls_of(|| world.tick(7));
    let read = calls.iter().find(|call| call.name == "cloudwatch GetMetricData").expect("a read");
    let end = jiff::Timestamp::from_second(read.params["EndTime"].as_f64().expect("seconds") as i64)
        .expect("a time");
    assert_eq!(end.to_string(), world.minute(5));
}

#[test]
fn an_answer_on_many_pages_is_read_to_its_end() {
    let world = World::new();
    world.start(&world.plan(json!({ "bake": "30m" })));
    for minute in 0..8 {
        world.live(minute, &Generated::HEALTHY);
    }
    let whole = world.tick(8);
    world.faults(&json!([{ "op": "GetMetricData", "kind": "pages", "size": 7, "n": -1 }]));
    let (paged, calls) = world.calls_of(|| world.tick(9));
    assert!(count(&calls, "cloudwatch GetMetricData") > 5, "{calls:?}");
    let requests = |report: &Value| report["judgement"]["blast"]["requests"].as_u64();
    assert_eq!(paged["judgement"]["verdict"], json!("undecided"), "{paged}");
    assert!(requests(&whole) > Some(0));
    assert!(requests(&paged) >= requests(&whole), "{paged} after {whole}");
}
