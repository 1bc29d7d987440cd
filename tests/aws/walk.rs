//! A rollout's whole way: a healthy canary up to 100 %, a bad one down to zero.

use serde_json::{Value, json};

use crate::outside::count;
use crate::traffic::{Generated, Recorded, Traffic};
use crate::world::{WATERMARK_MINUTES, World};

const BAKE_MINUTES: i64 = 5;
/// The minute from which the bad canary fails.
const BAD_FROM: i64 = 30;

/// A rule as a careful team has it: clients log in first, a third group waits at weight 0, and groups are
/// sticky.
fn careful_rule() -> Value {
    json!({
        "target_groups": ["stable", "canary", "maintenance"],
        "weights": { "stable": 100, "canary": 0, "maintenance": 0 },
        "stickiness": { "enabled": true, "duration_s": 3600 },
        "extra_actions": [{
            "Type": "authenticate-oidc",
            "AuthenticateOidcConfig": {
                "Issuer": "https://idp.example", "AuthorizationEndpoint": "https://idp.example/a",
                "TokenEndpoint": "https://idp.example/t", "UserInfoEndpoint": "https://idp.example/u",
                "ClientId": "id", "ClientSecret": "s3cr3t", "Scope": "openid email",
                "SessionTimeout": 3600, "SessionCookieName": "login",
                "AuthenticationRequestExtraParams": { "display": "page" },
                "OnUnauthenticatedRequest": "authenticate",
            },
        }],
    })
}

/// Every entry of the decision log that names a higher share than the one before it.
fn rises(log: &[Value]) -> Vec<&Value> {
    let share = |entry: &Value| entry["share"].as_f64().expect("a share");
    log.windows(2).filter(|pair| share(&pair[1]) > share(&pair[0])).map(|pair| &pair[1]).collect()
}

/// From 0 to 100 % through all default steps.
fn walks_up(traffic: &dyn Traffic) {
    let world = World::seeded(careful_rule());
    let before = world.rule().but_our_weights(&world);
    world.start(&world.plan(json!({ "bake": format!("{BAKE_MINUTES}m"), "sticky": "no" })));
    let mut shifts: Vec<(i64, f64)> = Vec::new();
    let mut minute = 0;
    while world.rule().share(&world) < 100.0 {
        let (shifted, report) = world.live_until_shift(minute, traffic);
        assert_eq!(report["troubles"], json!([]), "{report}");
        shifts.push((shifted, world.rule().share(&world)));
        minute = shifted + 1;
    }
    let shares: Vec<f64> = shifts.iter().map(|(_, share)| *share).collect();
    assert_eq!(shares, [5.0, 25.0, 50.0, 100.0]);
    for pair in shifts.windows(2) {
        let minutes = pair[1].0 - pair[0].0;
        assert!(minutes >= BAKE_MINUTES + WATERMARK_MINUTES, "left {} % after {minutes} min", pair[0].1);
    }
    assert_eq!(world.rule().but_our_weights(&world), before, "more than our weights was changed");
    assert_eq!(world.rule().sticky, (true, Some(3600)));

    let record = world.record();
    assert_eq!((record.phase(), record.state.as_str()), ("promoted", "ended"));
    // The first shift makes the canary known; every other needs its proof.
    let log = world.log();
    let rises = rises(&log);
    assert_eq!(rises.len(), 4);
    for entry in &rises[1..] {
        assert_eq!(entry["judgement"]["verdict"], json!("healthy"), "{entry}");
    }
    assert_eq!(world.paged(), ["promoted"]);
    assert!(world.tick(minute).is_null());
    assert_eq!(world.paged(), ["promoted"]);
}

#[test]
fn a_healthy_canary_walks_up_to_a_hundred_percent_step_by_step() {
    walks_up(&Generated::HEALTHY);
}

#[test]
fn a_recorded_healthy_service_walks_up_to_a_hundred_percent_step_by_step() {
    let names = ["aa-req-tt-05.jsonl", "aa-req-tt-25.jsonl", "aa-req-tt-50.jsonl"];
    if let Some(recorded) = Recorded::read(&names) {
        walks_up(&recorded);
    }
}

/// Good at first, bad later: drained in time, and for good.
fn turns_bad(traffic: &dyn Traffic, within_minutes: i64) {
    let world = World::seeded(careful_rule());
    world.start(&world.plan(json!({ "steps": ["10%", "100%"], "bake": "40m", "sticky": "no" })));
    let (first, _) = world.live_until_shift(0, traffic);
    let (drained, report) = world.live_until_shift(first + 1, traffic);
    let earliest = BAD_FROM + WATERMARK_MINUTES + 1;
    assert!(
        (earliest..earliest + within_minutes).contains(&drained),
        "drained at minute {drained}: {report}"
    );
    let rule = world.rule();
    assert!(rule.weight(world.group("stable")) > 0);
    assert_eq!(rule.weight(world.group("canary")), 0);
    assert!(!rule.sticky.0, "sticky clients would stay on the canary");

    let record = world.record();
    assert_eq!((record.phase(), record.state.as_str()), ("drained", "running"));
    let pages = world.pages();
    assert_eq!(pages.len(), 1);
    assert_eq!((pages[0].event.as_str(), pages[0].severity.as_str()), ("drained", "critical"));
    for words in ["canary ", "stable ", " of ", "Exposure", "To do", world.group("canary")] {
        assert!(pages[0].body.contains(words), "{words}: {}", pages[0].body);
    }
    let ((), calls) = world.calls_of(|| {
        for minute in drained + 1..drained + 6 {
            world.live(minute, traffic);
        }
    });
    assert_eq!(count(&calls, "elbv2 ModifyRule"), 0);
    let record = world.record();
    assert_eq!(
        (record.phase(), record.state.as_str()),
        ("drained", "ended"),
        "nobody is served by it any more"
    );
    assert_eq!((world.rule(), world.paged().len()), (rule, 1));
}

#[test]
fn a_canary_that_turns_bad_is_drained_within_minutes_and_stays_drained() {
    let bad = Generated { canary_bad_from: Some((BAD_FROM, 0.03)), ..Generated::HEALTHY };
    turns_bad(&bad, 6);
}

#[test]
fn a_recorded_service_that_turns_bad_is_drained_and_stays_drained() {
    if let Some(recorded) = Recorded::read(&["bad-err-tt-10-plus2-at30.jsonl"]) {
        turns_bad(&recorded, 25);
    }
}
