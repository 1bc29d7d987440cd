//! Several rollouts at once: one read for all of them, and no one's trouble is another's.

use serde_json::{Value, json};

use crate::outside::{count, names, percent_encoded};
use crate::traffic::{Generated, Traffic};
use crate::world::World;

/// One more rule of the listener, with all traffic on the first of two groups. Its ARN.
pub(crate) fn add_rule(world: &World, priority: u32, stable: &str, canary: &str) -> String {
    let listener = percent_encoded(world.scene["listener_arn"].as_str().expect("a listener"));
    let mut form = format!(
        "Action=CreateRule&Version=2015-12-01&ListenerArn={listener}&Priority={priority}\
         &Conditions.member.1.Field=path-pattern&Conditions.member.1.Values.member.1=%2F{priority}\
         &Actions.member.1.Type=forward&Actions.member.1.Order=1"
    );
    for (place, (group, weight)) in [(stable, 100), (canary, 0)].iter().enumerate() {
        let tuple = format!("Actions.member.1.ForwardConfig.TargetGroups.member.{}", place + 1);
        form += &format!(
            "&{tuple}.TargetGroupArn={}&{tuple}.Weight={weight}",
            percent_encoded(world.group(group))
        );
    }
    let answer = world.query(&form);
    let (_, rest) = answer.split_once("<RuleArn>").expect("a rule");
    rest.split_once('<').expect("its end").0.to_owned()
}

/// What a tick did about one of its rollouts.
pub(crate) fn of<'a>(report: &'a Value, rollout: &str) -> &'a Value {
    let reports = report["rollouts"].as_array().expect("reports");
    let found = reports.iter().find(|report| report["rollout"] == json!(rollout));
    found.unwrap_or_else(|| panic!("nothing of {rollout}: {report}"))
}

#[test]
fn each_of_many_rollouts_goes_its_own_way_in_one_tick() {
    let names_of = |id: &str| [format!("{id}-stable"), format!("{id}-canary")];
    let ids = ["good", "bad", "lost"];
    let groups: Vec<String> = ids.into_iter().flat_map(names_of).collect();
    let world = World::seeded(json!({ "target_groups": groups, "weights": { &groups[0]: 1 } }));
    let mut rules = Vec::new();
    for (priority, id) in (20..).zip(ids) {
        let [stable, canary] = names_of(id);
        let rule = add_rule(&world, priority, &stable, &canary);
        world.start(&json!({
            "rollout": id, "listener_rule": rule, "stable": world.group(&stable),
            "canary": world.group(&canary), "bake": "3m", "min_requests": 200, "checks": { "errors": {} },
        }));
        rules.push(rule);
    }
    world.tick_all(0);
    for minute in 0..12 {
        for id in ids {
            let traffic = if id == "bad" { Generated::HARMFUL } else { Generated::HEALTHY };
            let counts = traffic.at(minute, 5.0);
            for (group, counts) in names_of(id).iter().zip([counts.stable, counts.canary]) {
                world.publish_group(minute, group, &counts.expect("traffic on both"));
            }
        }
    }
    world.query(&format!("Action=DeleteRule&Version=2015-12-01&RuleArn={}", percent_encoded(&rules[2])));

    let (report, calls) = world.calls_of(|| world.tick_all(12));
    assert_eq!(of(&report, "good")["decision"], json!("promote"), "{report}");
    assert_eq!(of(&report, "bad")["decision"], json!("drain"), "{report}");
    assert_eq!(of(&report, "lost")["decision"], json!("hold"), "{report}");
    assert!(of(&report, "lost")["why"].as_str().is_some_and(|why| why.contains("not read")), "{report}");
    assert_eq!(count(&calls, "cloudwatch GetMetricData"), 1, "{:?}", names(&calls));
    assert_eq!(count(&calls, "dynamodb Query"), 1, "{:?}", names(&calls));
    let weight = |rule: usize, group: &str| world.rule_of(&rules[rule]).weight(world.group(group));
    assert!(weight(0, "good-canary") * 3 == weight(0, "good-stable"), "25 %");
    assert_eq!(weight(1, "bad-canary"), 0);
    assert_eq!(world.paged(), ["drained"]);
}
