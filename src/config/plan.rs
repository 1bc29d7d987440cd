//! The whole plan: from a tree of values to what the rest of the program goes by.

use serde_json::Value;

use super::arn::{Arn, ArnKind};
use super::keys::{PLAN_KEYS, REMIND_EVERY_MAX, REMIND_EVERY_MIN};
use super::problem::{PlanErrors, Problem};
use super::text::PLAN_LIMITS;
use super::walk::{Problems, Walk};
use super::{CheckedPlan, Scope, checks, steps, watch};
use crate::analysis::check::{Check, CheckRule, Rules};
use crate::rollout::plan::{Mode, Plan, Targets};
use crate::units::Share;

/// Where traffic is split when there is none: no such account exists.
const NOWHERE: [&str; 3] = [
    "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener-rule/app/offline/0000000000000000/\
     0000000000000000/0000000000000000",
    "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/stable/0000000000000000",
    "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/canary/0000000000000000",
];

/// The name of a rollout that has none and needs none.
const OFFLINE_NAME: &str = "offline";

/// Reads a plan that was parsed already: one that came inside a JSON command.
///
/// # Errors
/// Every problem of the plan, with key, value and rule.
pub fn parse_plan_value(value: &Value, scope: Scope) -> Result<CheckedPlan, PlanErrors> {
    if let Some(rule) = PLAN_LIMITS.broken_by(value) {
        return Err(PlanErrors(vec![Problem::of_text("", "", format!("the plan {rule}: no more is read"))]));
    }
    let mut problems = Problems::default();
    let plan = match value {
        Value::Object(map) => read(Walk::new("", &PLAN_KEYS, Some(map), &mut problems), scope),
        Value::Null => {
            problems.missing("", "the plan is empty: it needs listener_rule, stable and canary");
            None
        }
        other => {
            problems.add("", other, "is no plan: a plan is a mapping of keys to values");
            None
        }
    };
    let problems = problems.into_list();
    match plan {
        Some(plan) if problems.is_empty() => {
            let warnings = warnings(&plan);
            Ok(CheckedPlan { plan, warnings })
        }
        _ => Err(PlanErrors(problems)),
    }
}

/// The plan by which a deployment of another system is observed: as it was written, with targets that were found
/// where it names none, and never writing weights. Without targets it is only checked.
///
/// # Errors
/// Every problem, with key, value and rule.
pub fn guard_plan(
    written: &Value,
    targets: Option<&Targets>,
    rollout: &str,
) -> Result<CheckedPlan, PlanErrors> {
    let Value::Object(map) = written else { return parse_plan_value(written, Scope::Rollout) };
    let mut map = map.clone();
    // A deployment is carried out where canary-gate is, and is asked with its own rights.
    let role = map.remove("role_arn");
    let mut named = |key: &str, value: &str| {
        map.entry(key).or_insert_with(|| Value::String(value.to_owned()));
    };
    named("mode", "observe");
    named("rollout", rollout);
    let stand_in = Targets {
        listener_rule: STAND_IN.replace("%", "listener-rule/app/any/1/2/3"),
        stable: STAND_IN.replace("%", "targetgroup/stable/1"),
        canary: STAND_IN.replace("%", "targetgroup/canary/2"),
        role_arn: None,
    };
    let all_absent = ["listener_rule", "stable", "canary"]
        .iter()
        .all(|key| !written.as_object().is_some_and(|w| w.contains_key(*key)));
    let function = targets.filter(|targets| all_absent && targets.function().is_some());
    if all_absent {
        // What is no load balancer's has no ARNs that could be checked.
        let targets = targets.filter(|_| function.is_none()).unwrap_or(&stand_in);
        named("listener_rule", &targets.listener_rule);
        named("stable", &targets.stable);
        named("canary", &targets.canary);
    }
    let (read, mut problems) = match parse_plan_value(&Value::Object(map), Scope::Rollout) {
        Ok(read) => (Some(read), Vec::new()),
        Err(PlanErrors(problems)) => (None, problems),
    };
    if read.as_ref().is_some_and(|read| read.plan.mode == Mode::Drive) {
        let rule = "must be observe: the deployment writes the weights itself";
        problems.push(Problem::of_text("mode", "drive", rule));
    }
    if let Some(role) = role {
        let rule = "can't be given for a deployment of CodeDeploy or ECS, which is watched with canary-gate's own \
                    rights: leave it out, and install canary-gate in the deployment's account";
        problems.push(Problem::new("role_arn", &role, rule));
    }
    let mut checked = match read {
        Some(read) if problems.is_empty() => read,
        _ => return Err(PlanErrors(problems)),
    };
    rollout.clone_into(&mut checked.plan.rollout);
    if let Some(function) = function {
        checked.plan.targets = function.clone();
    }
    Ok(checked)
}

const STAND_IN: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:%";

/// Reads all keys, whatever is wrong with some of them. The answer counts only if no problem was noted.
fn read(mut walk: Walk<'_, '_>, scope: Scope) -> Option<Plan> {
    let (targets, canary_name) = targets(&mut walk, scope);
    let rollout = walk.name("rollout").or(canary_name);
    let plan = Plan {
        rollout: rollout.unwrap_or_else(|| OFFLINE_NAME.to_owned()),
        targets,
        steps: steps::read(&mut walk),
        on_undecided: walk.word("on_undecided"),
        on_blind: walk.word("on_blind"),
        mode: walk.word("mode"),
        sticky: walk.word("sticky"),
        deny_windows: watch::deny_windows(&mut walk),
        alarms: watch::alarms(&mut walk),
        rollback_window: walk.span("rollback_window"),
        remind_every: walk.span("remind_every"),
        answer_within: walk.span("answer_within"),
        on_deadline: walk.word("on_deadline"),
        verdict_metric: walk.name("verdict_metric"),
        rules: Rules {
            decide_within: walk.span("decide_within"),
            burn_in: walk.span("burn_in"),
            bad_request_budget: walk.count_or_off("bad_request_budget"),
            false_rollback: walk.rate("false_rollback"),
            false_promotion: walk.rate("false_promotion"),
            convict_minutes: u32::try_from(walk.count("convict_minutes")).ok()?,
            bake: walk.span("bake"),
            min_requests: walk.count("min_requests"),
            warm_up: walk.span("warm_up"),
            blind_after: walk.span("blind_after"),
            checks: checks::read(&mut walk, scope),
        },
    };
    require_order_of_times(&mut walk, &plan);
    Some(plan)
}

/// A step must be able to bake, and to be judged, before its time is over.
fn require_order_of_times(walk: &mut Walk<'_, '_>, plan: &Plan) {
    let (decide_within, rules) = (plan.rules.decide_within, &plan.rules);
    let rule = format!("must be at least bake ({}): a step can't be left before it", rules.bake);
    walk.require(decide_within >= rules.bake, &["decide_within", "bake"], "decide_within", rule);
    let rule = format!("must be less than decide_within ({decide_within}): nothing would be judged");
    walk.require(rules.warm_up < decide_within, &["decide_within", "warm_up"], "warm_up", rule);
    let rule = format!("must be less than decide_within ({decide_within}): nothing would be compared");
    walk.require(rules.burn_in < decide_within, &["decide_within", "burn_in"], "burn_in", rule);
    let reminds = plan.remind_every.seconds() == 0 || plan.remind_every >= REMIND_EVERY_MIN;
    let rule = format!("must be 0 for never, or from {REMIND_EVERY_MIN} to {REMIND_EVERY_MAX}");
    walk.require(reminds, &["remind_every"], "remind_every", rule);
    let by_points = rules.checks.iter().find(|check| tolerates_points_alone(check));
    if let Some(check) = by_points.filter(|_| rules.burn_in.seconds() > 0) {
        let rule = format!(
            "learns by which odds the groups differ, which a tolerance of points alone can't be corrected by: give \
             checks.{}.tolerate a ratio, too, such as [1.25x, +1%]",
            check.name
        );
        walk.require(false, &["burn_in"], "burn_in", rule);
    }
}

fn tolerates_points_alone(check: &Check) -> bool {
    let tolerate = match &check.rule {
        CheckRule::Errors(rule) => rule.tolerate,
        CheckRule::Ratio(rule) => rule.tolerate,
        CheckRule::Latency(_) | CheckRule::Values(_) | CheckRule::Classes(_) => None,
    };
    tolerate.is_some_and(|tolerate| tolerate.times.is_none())
}

/// The three ARNs, and the name that the canary's gives to the rollout.
fn targets(walk: &mut Walk<'_, '_>, scope: Scope) -> (Targets, Option<String>) {
    let keys = ["listener_rule", "stable", "canary"];
    if scope == Scope::Rollout {
        walk.need(keys[0], ArnKind::ListenerRule.wanted());
        walk.need(keys[1], ArnKind::TargetGroup.wanted());
        walk.need(keys[2], ArnKind::TargetGroup.wanted());
    }
    let arns = keys.map(|key| walk.arn(key));
    let place = |index: usize| arns[index].as_ref().map(|(_, arn)| arn);
    let first = (0..keys.len()).find(|index| place(*index).is_some()).unwrap_or_default();
    for index in first + 1..keys.len() {
        let (Some(reference), Some(arn)) = (place(first), place(index)) else { continue };
        let rule = format!(
            "must be in the partition, region and account of {} ({}), not {}",
            keys[first],
            reference.place_name(),
            arn.place_name()
        );
        walk.require(same_place(reference, arn), &[], keys[index], rule);
    }
    let role = role(walk, keys[first], place(first));
    let same = matches!((&arns[1], &arns[2]), (Some((stable, _)), Some((canary, _))) if stable == canary);
    walk.require(!same, &["canary"], "canary", "must be another target group than stable");
    let name = arns[2].as_ref().map(|(_, arn)| arn.name.to_ascii_lowercase());
    let mut texts =
        arns.into_iter().zip(NOWHERE).map(|(arn, nowhere)| arn.map_or(nowhere.to_owned(), |(t, _)| t));
    let mut next = || texts.next().unwrap_or_default();
    (Targets { listener_rule: next(), stable: next(), canary: next(), role_arn: role }, name)
}

/// The role that all three are looked after by, which must be of their account: nobody else's role is let in.
fn role(walk: &mut Walk<'_, '_>, first: &str, reference: Option<&Arn>) -> Option<String> {
    let (text, role) = walk.arn("role_arn")?;
    if let Some(reference) = reference {
        let [partition, _, account] = &reference.place;
        let rule = format!("must be a role of the partition and account of {first} ({partition} {account})");
        let same = role.place[0] == *partition && role.place[2] == *account;
        walk.require(same, &[], "role_arn", rule);
    }
    Some(text)
}

fn same_place(one: &Arn, other: &Arn) -> bool {
    one.place == other.place
}

/// What is allowed, but perhaps not meant.
fn warnings(plan: &Plan) -> Vec<String> {
    let last = plan.steps.last().filter(|last| **last < Share::FULL);
    let short = last.map(|last| {
        format!(
            "steps: the rollout ends at {last}; stable keeps the rest of the traffic until somebody moves it"
        )
    });
    short.into_iter().collect()
}
