//! Deployments that other systems carry out ask here whether they may go on. The answer is the verdict of a rollout
//! that only observes: it is started by the deployment's first question, and ends with the deployment.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::http::has_ended_long_ago;
use super::{HandlerError, gates};
use crate::config::{CheckedPlan, guard_plan};
use crate::event::{CodeDeployHook, EcsHook, EcsPaused, Invocation};
use crate::ports::{Deployment, Failure, FailureKind, Platform, RecordStore};
use crate::rollout::gate::{Gate, Owner, Told, Waiting};
use crate::rollout::plan::{Sticky, Targets};
use crate::rollout::record::{Audit, Record};
use crate::rollout::standing::{Answer, Standing};
use crate::units::Share;

/// How often parking looks again when other invocations were faster.
const PARK_TRIES: usize = 5;
/// Seconds after which ECS is to ask again: by then another tick has looked.
const CALL_BACK_S: u32 = 60;
/// So often in a row ECS is put off because we can't answer; then it is told to go back.
const ECS_TRIES: u64 = 10;
/// Bake time of a CodeDeploy deployment whose guard says none.
const SHIFT_BAKE: &str = "3m";
/// Our own part of what ECS keeps for us between two questions.
const OURS: &str = "canary_gate";

/// Lifecycle events that come before the new version gets anybody's traffic but a tester's: CodeDeploy's and ECS's.
const BEFORE_TRAFFIC: [&str; 9] = [
    "BeforeInstall",
    "AfterInstall",
    "AfterAllowTestTraffic",
    "BeforeAllowTraffic",
    "RECONCILE_SERVICE",
    "PRE_SCALE_UP",
    "POST_SCALE_UP",
    "TEST_TRAFFIC_SHIFT",
    "POST_TEST_TRAFFIC_SHIFT",
];
/// Those of them in which nothing of the new version need be there.
const EARLY: [&str; 3] = ["BeforeInstall", "RECONCILE_SERVICE", "PRE_SCALE_UP"];
/// The stage at which ECS is about to write the weights that it tells.
const SHIFT: &str = "PRODUCTION_TRAFFIC_SHIFT";

/// Parks a CodeDeploy hook; a tick answers it. An error means that Lambda should hand over the event again. What another
/// try can't mend is told at once: an hour's silence would end the same.
pub(super) async fn code_deploy<P: Platform>(
    platform: &P,
    hook: &CodeDeployHook,
    now: Timestamp,
) -> Result<Value, HandlerError> {
    let owner = Owner::CodeDeploy { deployment: hook.deployment.clone() };
    let waiting =
        Waiting::CodeDeployHook { deployment: hook.deployment.clone(), execution: hook.execution.clone() };
    let told = match parked(platform, &owner, &waiting, now).await {
        Ok(Asked::Parked(answer)) => return Ok(answer),
        Ok(Asked::Outright(why)) => Told { pass: true, why, at: now },
        Err(Unobservable::Never(why) | Unobservable::NotYet(why)) => Told { pass: false, why, at: now },
        Err(Unobservable::Failed(HandlerError::Failed(failure)))
            if matches!(failure.kind, FailureKind::Denied | FailureKind::Malformed) =>
        {
            // It may have been asked before, and have an answer.
            let running = platform.running().await?;
            if running.records.iter().any(|record| record.gate(&waiting).is_some()) {
                return Err(failure.into());
            }
            Told { pass: false, why: failure.to_string(), at: now }
        }
        Err(Unobservable::Failed(error)) => return Err(error),
    };
    platform.tell(&waiting, &told).await?;
    let answer = if told.pass { "pass" } else { "fail" };
    tracing::warn!(deployment = hook.deployment, answer, why = told.why, "hook answered without a verdict");
    Ok(json!({ "deployment": hook.deployment, "answer": answer, "why": told.why }))
}

/// What becomes of a question.
enum Asked {
    /// Who asks is parked, and may have an answer already: what the function answers.
    Parked(Value),
    /// There is nothing to watch, and it may go on.
    Outright(String),
}

/// Parks a hook, unless there is nothing to watch.
async fn parked<P: Platform>(
    platform: &P,
    owner: &Owner,
    waiting: &Waiting,
    now: Timestamp,
) -> Result<Asked, Unobservable> {
    let deployment = platform.deployment(owner).await?;
    if let Some(why) = nothing_to_judge(&deployment) {
        return Ok(Asked::Outright(why.to_owned()));
    }
    let record = match observed(platform, owner, &deployment, now).await {
        Err(Unobservable::NotYet(why)) if is_early(&deployment) => {
            let why =
                format!("nothing of the new version is there yet, a later hook begins the watch: {why}");
            return Ok(Asked::Outright(why));
        }
        record => record?,
    };
    // CodeDeploy's hour began with the lifecycle event.
    let since = deployment.stage_since.map_or(now, |since| since.min(now));
    let mut gate = Gate::new(waiting.clone(), &record.plan, since, now);
    if let Begin::Yes(why) = begins(platform, &record, &deployment, None, now).await? {
        gate.told = Some(Told { pass: true, why, at: now });
    }
    let deadline = gate.deadline;
    let record = park(platform, record, gate).await?;
    Ok(Asked::Parked(match record.gate(waiting).and_then(|gate| gate.told.clone()) {
        // Told at once, as it was recorded now or before; what fails is left to the tick.
        Some(told) => {
            let mut troubles = Vec::new();
            let record = gates::tend(platform, record, now, &mut troubles).await;
            let answer = if told.pass { "pass" } else { "fail" };
            json!({ "rollout": record.id(), "answer": answer, "why": told.why, "troubles": troubles })
        }
        None => json!({ "rollout": record.id(), "parked": true, "deadline": deadline }),
    }))
}

/// Answers an ECS hook at once: with the verdict, or by asking ECS to come again.
pub(super) async fn ecs<P: Platform>(platform: &P, hook: &EcsHook, now: Timestamp) -> Value {
    match ecs_answer(platform, hook, now).await {
        Ok(answer) => answer,
        Err(error) => put_off(hook, &error.to_string()),
    }
}

/// The answer to an ECS hook that was given up: a failed function would make ECS go back at once. `None` for other
/// events.
pub(super) fn too_slow(event: &Value) -> Option<Value> {
    match Invocation::from_json(event) {
        Ok(Invocation::EcsHook(hook)) => Some(put_off(&hook, "it took too long")),
        _ => None,
    }
}

/// ECS is to come again, some times; then it is to go back.
fn put_off(hook: &EcsHook, why: &str) -> Value {
    let tries = 1 + hook.details.get(OURS).and_then(|ours| ours["tries"].as_u64()).unwrap_or(0);
    tracing::error!(deployment = hook.deployment, tries, why, "ECS hook not answered");
    if tries >= ECS_TRIES {
        return answer("FAILED", &hook.details, why, None);
    }
    let mut answer = answer("IN_PROGRESS", &hook.details, why, None);
    answer["hookDetails"][OURS]["tries"] = json!(tries);
    answer
}

async fn ecs_answer<P: Platform>(
    platform: &P,
    hook: &EcsHook,
    now: Timestamp,
) -> Result<Value, HandlerError> {
    let tell = |word: &str, why: &str, record: Option<&Record>| {
        Ok(answer(word, &hook.details, why, record.map(Record::id)))
    };
    let owner = Owner::Ecs { deployment: hook.deployment.clone() };
    let deployment = platform.deployment(&owner).await?;
    let deployment = Deployment { stage: Some(hook.stage.clone()), ..deployment };
    if let Some(why) = nothing_to_judge(&deployment) {
        return tell("SUCCEEDED", why, None);
    }
    let record = match told_rollout(platform, hook, &owner, &deployment, now).await {
        Ok(record) => record,
        Err(Unobservable::Failed(error)) => return Err(error),
        Err(Unobservable::NotYet(why)) if is_early(&deployment) => return tell("SUCCEEDED", &why, None),
        Err(Unobservable::Never(why) | Unobservable::NotYet(why)) => return tell("FAILED", &why, None),
    };
    let stands = record.share();
    // Other stages are told the weights that stand, which another hand may have changed since; and weights are rounded.
    let loses = |asked: Share| asked.percent() * 2.0 < stands.percent();
    let lowers = hook.stage == SHIFT && hook.share.is_some_and(loses);
    if lowers {
        return tell("SUCCEEDED", "the new revision loses traffic: nothing stands in its way", Some(&record));
    }
    let standing = gates::standing(platform, &record, now).await?;
    if standing.answer == Answer::Fail {
        return tell("FAILED", &standing.why, Some(&record));
    }
    let share = share_now(platform, &record).await?;
    match begins(platform, &record, &deployment, share, now).await? {
        Begin::Yes(why) => return tell("SUCCEEDED", &why, Some(&record)),
        Begin::Held(why) => return tell("IN_PROGRESS", &why, Some(&record)),
        Begin::No => {}
    }
    if standing.answer == Answer::Hold {
        return tell("IN_PROGRESS", &standing.why, Some(&record));
    }
    // The last tick may not have seen the last shift.
    match share.filter(|share| !share.same_as(stands)) {
        Some(share) => {
            let why = format!("the new revision has {share} now, and what was proven is of {stands}");
            tell("IN_PROGRESS", &why, Some(&record))
        }
        None => tell("SUCCEEDED", &standing.why, Some(&record)),
    }
}

/// Why a deployment may go on whatever the metrics say.
fn nothing_to_judge(deployment: &Deployment) -> Option<&'static str> {
    match deployment {
        Deployment { is_going_back: true, .. } => Some("the deployment goes back: nothing stands in its way"),
        Deployment { is_first: true, .. } => {
            Some("the first deployment: there is no other version to compare it with")
        }
        _ => None,
    }
}

/// Why a deployment may go on in this lifecycle event, where nothing could have been seen of it.
fn before_traffic(stage: &str) -> Option<String> {
    BEFORE_TRAFFIC.contains(&stage).then(|| format!("{stage} comes before the traffic: observed from now on"))
}

/// The same before the first shift, whose lifecycle event is that of all others.
fn without_traffic(stage: &str, share: Share) -> Option<String> {
    let first = share == Share::ZERO && stage.starts_with("PRE_");
    first.then(|| "no production traffic yet: observed from now on".to_owned())
}

/// What the rule gives the new revision now, which the last tick may not have seen. What the event says of weights
/// may be those that are to come.
async fn share_now<P: Platform>(platform: &P, record: &Record) -> Result<Option<Share>, HandlerError> {
    let splits = platform.read_splits(std::slice::from_ref(&record.plan.targets)).await;
    let split = splits.into_iter().next().transpose()?;
    Ok(split.map(|(split, _)| split.share()))
}

/// Nothing of the new version is there yet that could be found.
fn is_early(deployment: &Deployment) -> bool {
    EARLY.contains(&deployment.stage.as_deref().unwrap_or_default())
}

/// Whether a deployment that waits may begin, or go back, without a verdict.
enum Begin {
    /// It may, and why.
    Yes(String),
    /// It may not now, since no share may rise.
    Held(String),
    /// It takes a verdict.
    No,
}

/// `share` is what the new version gets now, if that was read.
async fn begins<P: Platform>(
    platform: &P,
    record: &Record,
    deployment: &Deployment,
    share: Option<Share>,
    now: Timestamp,
) -> Result<Begin, Failure> {
    if let Some(why) = nothing_to_judge(deployment) {
        return Ok(Begin::Yes(why.to_owned()));
    }
    let stage = deployment.stage.as_deref().unwrap_or_default();
    // One that had traffic and has none any more was taken out of it, by whomever.
    let held = Standing::of(record, now).answer == Answer::Hold && !record.has_compared();
    let first = || without_traffic(stage, share.filter(|_| held)?);
    let Some(why) = before_traffic(stage).or_else(first) else { return Ok(Begin::No) };
    if let Some(window) = record.plan.deny_windows.denies(now) {
        return Ok(Begin::Held(format!("the plan denies a rise now, in {window}")));
    }
    Ok(match RecordStore::freeze(platform).await? {
        Some(by) => Begin::Held(by.froze_all()),
        None => Begin::Yes(why),
    })
}

/// The record with the pause hooks that its deployment waits in. Whoever waits in it and needs no verdict has an answer.
/// `share` is what the new version gets now, if that could be read.
pub(super) async fn with_pauses<P: Platform>(
    platform: &P,
    record: Record,
    deployment: &Deployment,
    share: Option<Share>,
    now: Timestamp,
) -> Record {
    let plan = record.plan.clone();
    let record = match record.owner.clone() {
        Some(Owner::Ecs { deployment: arn }) => {
            Gate::pauses(&arn, &deployment.pauses, &plan, now).fold(record, Record::parking)
        }
        _ => record,
    };
    if !record.is_asked() {
        return record;
    }
    match begins(platform, &record, deployment, share, now).await {
        Ok(Begin::Yes(why)) => record.letting_begin(&why, now),
        Ok(Begin::Held(_) | Begin::No) | Err(_) => record,
    }
}

/// Begins to observe a deployment that waits at a pause hook; the next tick answers.
pub(super) async fn ecs_paused<P: Platform>(
    platform: &P,
    paused: &EcsPaused,
    now: Timestamp,
) -> Result<Value, HandlerError> {
    let owner = Owner::Ecs { deployment: paused.deployment.clone() };
    let deployment = platform.deployment(&owner).await?;
    if deployment.pauses.is_empty() {
        return Ok(json!({ "deployment": paused.deployment, "ignored": "nothing of it waits" }));
    }
    let waiting =
        |hook: &String| Waiting::EcsPause { deployment: paused.deployment.clone(), hook: hook.clone() };
    let outright = match nothing_to_judge(&deployment) {
        Some(why) => Told { pass: true, why: why.to_owned(), at: now },
        None => match observed(platform, &owner, &deployment, now).await {
            Ok(mut record) => {
                let (plan, mut deadline) = (record.plan.clone(), now);
                for gate in Gate::pauses(&paused.deployment, &deployment.pauses, &plan, now) {
                    deadline = gate.deadline;
                    record = park(platform, record, gate).await?;
                }
                return Ok(json!({ "rollout": record.id(), "parked": true, "deadline": deadline }));
            }
            Err(Unobservable::Failed(error)) => return Err(error),
            Err(Unobservable::NotYet(why)) if is_early(&deployment) => Told { pass: true, why, at: now },
            Err(Unobservable::Never(why) | Unobservable::NotYet(why)) => Told { pass: false, why, at: now },
        },
    };
    for hook in &deployment.pauses {
        platform.tell(&waiting(hook), &outright).await?;
    }
    let answer = if outright.pass { "pass" } else { "fail" };
    tracing::info!(deployment = paused.deployment, answer, why = outright.why, "pause answered");
    Ok(json!({ "deployment": paused.deployment, "answer": answer, "why": outright.why }))
}

/// ECS's answer. What the configuration says to us is handed back with it, or the next question would lack it.
fn answer(status: &str, details: &Map<String, Value>, why: &str, rollout: Option<&str>) -> Value {
    let mut details = details.clone();
    details.insert(OURS.to_owned(), json!({ "why": why, "rollout": rollout }));
    let mut answer = json!({ "hookStatus": status, "hookDetails": details });
    if status == "IN_PROGRESS" {
        answer["callBackDelay"] = json!(CALL_BACK_S);
    }
    answer
}

/// Why a deployment can't be observed.
enum Unobservable {
    /// A call failed: another time it may go well.
    Failed(HandlerError),
    /// It will not be different another time.
    Never(String),
    /// Its groups can't be found; later in the deployment they may be.
    NotYet(String),
}

impl<E: Into<HandlerError>> From<E> for Unobservable {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The rollout that an ECS hook is about: the one that its details name, or else the deployment's own.
async fn told_rollout<P: Platform>(
    platform: &P,
    hook: &EcsHook,
    owner: &Owner,
    deployment: &Deployment,
    now: Timestamp,
) -> Result<Record, Unobservable> {
    match (hook.details.get("rollout").and_then(Value::as_str), hook.details.get("plan")) {
        (Some(_), Some(_)) => {
            Err(Unobservable::Never("hookDetails: set either rollout or plan, not both".to_owned()))
        }
        (Some(name), None) => match platform.get(name).await? {
            None => Err(Unobservable::Never(format!("hookDetails: no rollout is named {name:?}"))),
            // Of an earlier deployment: it must let no later one through, and stop none.
            Some(record) if has_ended_long_ago(&record, now) => {
                let why =
                    format!("hookDetails: the rollout {name} ended at {}: start a new one", record.since);
                Err(Unobservable::Failed(HandlerError::NotFound(why)))
            }
            Some(record) => Ok(record),
        },
        (None, Some(plan)) => begin(platform, owner, deployment, plan, now).await,
        _ => observed(platform, owner, deployment, now).await,
    }
}

/// The rollout that observes a deployment, begun if this is its first question.
async fn observed<P: Platform>(
    platform: &P,
    owner: &Owner,
    deployment: &Deployment,
    now: Timestamp,
) -> Result<Record, Unobservable> {
    let plan = platform.guard(&deployment.of).await?.map_or_else(|| json!({}), |guard| guard.plan);
    begin(platform, owner, deployment, &plan, now).await
}

/// Begins to observe a deployment by a plan, if that was not done already.
async fn begin<P: Platform>(
    platform: &P,
    owner: &Owner,
    deployment: &Deployment,
    plan: &Value,
    now: Timestamp,
) -> Result<Record, Unobservable> {
    let name = owner.rollout(&deployment.of);
    if let Some(record) = platform.get(&name).await?
        && record.owner.as_ref() == Some(owner)
    {
        return Ok(record);
    }
    if let Some(how) = &deployment.ended {
        return Err(Unobservable::Never(format!("{} has ended: {how}", owner.name())));
    }
    let named = plan.get("listener_rule").is_some();
    let found = match platform.find_targets(owner).await {
        Ok(targets) => Some(targets),
        Err(failure) if failure.kind == FailureKind::NotFound && named => None,
        Err(failure) if failure.kind == FailureKind::NotFound => {
            let of = &deployment.of;
            let why = format!("{failure}; name listener_rule, stable and canary in a guard's plan ({of})");
            return Err(Unobservable::NotYet(why));
        }
        Err(failure) => return Err(failure.into()),
    };
    let plan = with_bake(plan, owner);
    let mut checked = guard_plan(&plan, found.as_ref().filter(|_| !named), &name)
        .map_err(|errors| Unobservable::Never(format!("the plan for {}: {errors}", deployment.of)))?;
    if let Some(found) = found.filter(|_| named) {
        facing(&mut checked.plan.targets, &found);
    }
    let by = Audit { actor: owner.name(), reason: format!("deployment of {}", deployment.of), at: now };
    let sticky = match checked.plan.sticky {
        Sticky::Auto => is_sticky(platform, &checked).await,
        fixed => fixed == Sticky::Yes,
    };
    let record = Record { owner: Some(owner.clone()), ..Record::new(checked.plan, by, sticky) };
    match platform.create(&record).await {
        Ok(record) => Ok(record),
        // Two questions at once: the other one has begun it.
        Err(failure) if failure.kind == FailureKind::Conflict => {
            let found = platform.get(&name).await?.filter(|record| record.owner.as_ref() == Some(owner));
            found.ok_or_else(|| Unobservable::Failed(failure.into()))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// The increments of CodeDeploy's shifts are short, and all of them are judged as one: minutes must do.
fn with_bake(plan: &Value, owner: &Owner) -> Value {
    let mut plan = plan.clone();
    if let (Value::Object(map), Owner::CodeDeploy { .. }) = (&mut plan, owner) {
        map.entry("bake").or_insert_with(|| json!(SHIFT_BAKE));
    }
    plan
}

/// Blue and green change places with every deployment: a pair that was named once is turned as this one has it.
fn facing(named: &mut Targets, found: &Targets) {
    if named.stable == found.canary && named.canary == found.stable {
        std::mem::swap(&mut named.stable, &mut named.canary);
    }
}

/// What the rule says of stickiness; a rule that can't be read has none.
async fn is_sticky<P: Platform>(platform: &P, checked: &CheckedPlan) -> bool {
    let splits = platform.read_splits(std::slice::from_ref(&checked.plan.targets)).await;
    splits.into_iter().next().is_some_and(|split| split.is_ok_and(|(split, _)| split.sticky))
}

/// Puts one who waits into a rollout's record.
pub(super) async fn park<P: Platform>(
    platform: &P,
    mut record: Record,
    gate: Gate,
) -> Result<Record, HandlerError> {
    for _ in 0..PARK_TRIES {
        let next = record.clone().parking(gate.clone());
        if next == record {
            return Ok(record);
        }
        match platform.put(&next).await {
            Ok(stored) => return Ok(stored),
            Err(failure) if failure.kind == FailureKind::Conflict => {
                let newer = platform.get(record.id()).await?;
                let gone = || HandlerError::NotFound(format!("{} is gone", gate.waiting.name()));
                record = newer.ok_or_else(gone)?;
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    Err(HandlerError::Overtaken(format!("other invocations changed {} at the same time", record.id())))
}
