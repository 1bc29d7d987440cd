//! ModifyRule replaces a rule's whole list of actions: what is not ours goes back as it was, in every write.

use serde_json::{Value, json};

use crate::outside::{Call, forward_to};
use crate::traffic::{Generated, Traffic};
use crate::world::{World, with};

fn cognito() -> Value {
    json!({
        "UserPoolArn": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_shop",
        "UserPoolClientId": "client", "UserPoolDomain": "shop", "SessionCookieName": "staff",
        "Scope": "openid", "SessionTimeout": 900, "OnUnauthenticatedRequest": "allow",
    })
}

fn oidc() -> Value {
    json!({
        "Issuer": "https://idp.example", "AuthorizationEndpoint": "https://idp.example/a",
        "TokenEndpoint": "https://idp.example/t", "UserInfoEndpoint": "https://idp.example/u",
        "ClientId": "id", "SessionCookieName": "login", "Scope": "openid email", "SessionTimeout": 3600,
        "OnUnauthenticatedRequest": "deny",
    })
}

/// The oidc action as somebody made it; nobody ever reads the secret out again.
fn with_secret() -> Value {
    with(oidc(), json!({ "ClientSecret": "s3cr3t" }))
}

/// A rule with two logins, clients that stick, a third group with a quarter of the traffic and an idle one.
fn crowded() -> Value {
    json!({
        "target_groups": ["stable", "canary", "legacy", "idle"],
        "weights": { "canary": 0, "idle": 0, "legacy": 20, "stable": 60 },
        "stickiness": { "enabled": true, "duration_s": 7200 },
        "extra_actions": [
            { "Type": "authenticate-cognito", "AuthenticateCognitoConfig": cognito() },
            { "Type": "authenticate-oidc", "AuthenticateOidcConfig": with_secret() },
        ],
    })
}

/// The actions that such a rule must be written with.
fn actions(world: &World, stable: u32, canary: u32, sticky: bool) -> Value {
    let groups = [("canary", canary), ("idle", 0), ("legacy", 20), ("stable", stable)];
    let mut forward = forward_to(world, 3, &groups);
    let stickiness = json!({ "Enabled": sticky, "DurationSeconds": 7200 });
    forward["ForwardConfig"]["TargetGroupStickinessConfig"] = stickiness;
    let oidc = with(oidc(), json!({ "UseExistingClientSecret": true }));
    json!([
        { "Type": "authenticate-cognito", "Order": 1, "AuthenticateCognitoConfig": cognito() },
        { "Type": "authenticate-oidc", "Order": 2, "AuthenticateOidcConfig": oidc },
        forward,
    ])
}

/// What was written while `act` ran: one call, with nothing but the rule and these actions in it.
fn writes(world: &World, stable: u32, canary: u32, sticky: bool, act: impl FnOnce()) {
    let blank = |text: String| text.replace("<Enabled>true</Enabled>", "<Enabled>false</Enabled>");
    let before = world.rule().but_our_weights(world);
    let ((), calls) = world.calls_of(act);
    let written: Vec<&Call> = calls.iter().filter(|call| call.name == "elbv2 ModifyRule").collect();
    let [call] = written[..] else { panic!("one write: {written:?}") };
    let expected = json!({ "RuleArn": world.rule_arn(), "Actions": actions(world, stable, canary, sticky) });
    assert_eq!(call.params, expected);
    let after = world.rule().but_our_weights(world);
    assert_eq!(after, if sticky { before } else { blank(before) });
}

fn decides(world: &World, minute: i64, decision: &str) {
    let report = world.tick(minute);
    assert_eq!((&report["decision"], &report["troubles"]), (&json!(decision), &json!([])), "{report}");
}

#[test]
fn a_promotion_writes_back_whatever_is_not_ours() {
    let world = World::seeded(crowded());
    world.start(&world.plan(json!({ "sticky": "no" })));
    writes(&world, 57, 3, true, || decides(&world, 0, "promote"));
    for minute in 0..15 {
        world.publish(minute, &Generated::HEALTHY.at(minute, 5.0));
    }
    writes(&world, 45, 15, true, || decides(&world, 12, "promote"));
}

#[test]
fn a_drain_writes_back_whatever_is_not_ours_but_stickiness() {
    let world = World::on_first_step_of(crowded(), json!({ "sticky": "no" }), Generated::HARMFUL);
    writes(&world, 60, 0, false, || decides(&world, 12, "drain"));
}

#[test]
fn an_abort_writes_back_whatever_is_not_ours_but_stickiness() {
    let world = World::on_first_step_of(crowded(), json!({ "sticky": "no" }), Generated::HEALTHY);
    writes(&world, 60, 0, false, || drop(world.command("abort", json!({})).expect("aborted")));
}

#[test]
fn a_third_group_keeps_its_part_of_the_traffic_where_weights_must_grow() {
    let seed = json!({
        "target_groups": ["stable", "canary", "legacy"], "weights": { "canary": 0, "legacy": 1, "stable": 3 },
    });
    let world = World::seeded(seed);
    world.start_default();
    decides(&world, 0, "promote");
    let rule = world.rule();
    assert_eq!((rule.share(&world), rule.weight(world.group("legacy"))), (5.0, 20));
    assert_eq!(rule.weights(&world), (57, 3), "60 to 20, as 3 to 1");
    world.command("abort", json!({})).expect("aborted");
    let rule = world.rule();
    assert_eq!((rule.weights(&world), rule.weight(world.group("legacy"))), ((60, 0), 20));
}

#[test]
fn the_default_rule_keeps_its_login_and_its_listener_is_otherwise_left_alone() {
    let world = World::seeded(json!({ "target_groups": ["stable", "canary", "legacy"] }));
    let groups =
        |stable, canary| forward_to(&world, 2, &[("legacy", 20), ("stable", stable), ("canary", canary)]);
    let listener = &world.scene["listener_arn"];
    let login =
        |config: Value| json!({ "Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": config });
    let actions = json!([login(with_secret()), groups(80, 0)]);
    world.elb("ModifyListener", &json!({ "ListenerArn": listener, "DefaultActions": actions }));
    world.start(&world.plan(json!({ "listener_rule": world.scene["default_rule_arn"] })));
    let written = |act: &dyn Fn()| {
        let ((), calls) = world.calls_of(act);
        let write = calls.into_iter().find(|call| call.name == "elbv2 ModifyListener").expect("a write");
        with(write.params, json!({}))
    };
    let expected = |stable, canary| {
        let mut forward = groups(stable, canary);
        forward["ForwardConfig"]["TargetGroupStickinessConfig"] = json!({ "Enabled": false });
        let oidc = with(oidc(), json!({ "UseExistingClientSecret": true }));
        json!({ "ListenerArn": listener, "DefaultActions": [login(oidc), forward] })
    };
    assert_eq!(written(&|| decides(&world, 0, "promote")), expected(76, 4));
    let abort = || drop(world.command("abort", json!({})).expect("aborted"));
    assert_eq!(written(&abort), expected(80, 0));
}
