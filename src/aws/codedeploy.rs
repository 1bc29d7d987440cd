//! Deployments of CodeDeploy.

use aws_sdk_codedeploy::operation::RequestId as _;
use aws_sdk_codedeploy::types::{
    DeploymentInfo, DeploymentStatus, DeploymentTarget as Target, EcsTarget, LambdaFunctionInfo,
    LambdaTarget, LifecycleEvent, LifecycleEventStatus as Answer, TargetGroupPairInfo, TargetLabel,
};

use jiff::Timestamp;

use super::AwsPlatform;
use super::failure::{failure, plain};
use crate::ports::{Deployment, Failure, FailureKind};
use crate::rollout::gate::Told;
use crate::rollout::plan::Targets;
use crate::units::Share;

const GET: &str = "codedeploy GetDeployment";
const LIST_TARGETS: &str = "codedeploy ListDeploymentTargets";
const GET_TARGET: &str = "codedeploy GetDeploymentTarget";
const PUT_STATUS: &str = "codedeploy PutLifecycleEventHookExecutionStatus";
const STOP: &str = "codedeploy StopDeployment";

impl AwsPlatform {
    /// A deployment, and the lifecycle event that it is in.
    pub(super) async fn code_deployment(&self, id: &str) -> Result<Deployment, Failure> {
        let info = self.code_deployment_info(id).await?;
        let of = format!(
            "codedeploy:{}/{}",
            info.application_name().unwrap_or_default(),
            info.deployment_group_name().unwrap_or_default()
        );
        let mut deployment = Deployment { of, ..ended(&info) };
        if deployment.ended.is_none() {
            let target = self.target(id).await?;
            let ecs = target.as_ref().and_then(|target| target.ecs_target.as_ref());
            let lambda = target.as_ref().and_then(|target| target.lambda_target.as_ref());
            let events = ecs.map(EcsTarget::lifecycle_events).or(lambda.map(LambdaTarget::lifecycle_events));
            if let Some((stage, since)) = events.and_then(stage) {
                deployment.stage = Some(stage);
                deployment.stage_since = since;
            }
            if let Some(function) = lambda.and_then(LambdaTarget::lambda_function_info) {
                deployment.share = Share::from_percent(function.target_version_weight()).ok();
                deployment.is_first = function.current_version().is_some()
                    && function.current_version() == function.target_version();
            }
        }
        Ok(deployment)
    }

    /// The listener rule that has the two groups between which an ECS deployment shifts the traffic, or the alias that
    /// calls two versions of a function.
    pub(super) async fn code_deployment_targets(&self, id: &str) -> Result<Targets, Failure> {
        let info = self.code_deployment_info(id).await?;
        let target = self.target(id).await?;
        let function = target.as_ref().and_then(|target| target.lambda_target()?.lambda_function_info());
        if let Some(targets) = function.and_then(of_function) {
            return Ok(targets);
        }
        let pairs =
            info.load_balancer_info().map(|info| info.target_group_pair_info_list()).unwrap_or_default();
        let groups = target.as_ref().and_then(|target| groups_of(target.ecs_target()?, pairs));
        let [stable, canary] = groups.ok_or_else(|| {
            let platform = info.compute_platform().map_or("unknown", |platform| platform.as_str());
            not_found(format!("deployment {id} (platform {platform}) names no two target groups"))
        })?;
        let routes = pairs.iter().filter_map(|pair| pair.prod_traffic_route());
        let listeners: Vec<String> = routes.flat_map(|route| route.listener_arns()).cloned().collect();
        let [stable, canary] = self.groups_by_name([&stable, &canary]).await?;
        let listener_rule = self.rule_of(&listeners, [&stable, &canary]).await?;
        Ok(Targets { listener_rule, stable, canary, role_arn: None })
    }

    /// Answers a lifecycle hook. What was answered before stays answered.
    pub(super) async fn answer_hook(&self, id: &str, execution: &str, told: &Told) -> Result<(), Failure> {
        let status = if told.pass { Answer::Succeeded } else { Answer::Failed };
        let put = self
            .codedeploy()
            .put_lifecycle_event_hook_execution_status()
            .deployment_id(id)
            .lifecycle_event_hook_execution_id(execution)
            .status(status);
        let Err(error) = put.send().await else { return Ok(()) };
        let request = error.request_id().unwrap_or_default().to_owned();
        match error.as_service_error() {
            Some(service) if service.is_lifecycle_event_already_completed_exception() => {
                tracing::info!(deployment = id, request, "the hook was answered already");
                Ok(())
            }
            // Without its deployment, or its hook, nobody waits.
            Some(service)
                if service.is_deployment_does_not_exist_exception()
                    || service.is_invalid_lifecycle_event_hook_execution_id_exception()
                    || service.is_unsupported_action_for_deployment_type_exception() =>
            {
                Err(Failure { kind: FailureKind::NotFound, ..failure(PUT_STATUS, error) })
            }
            _ => Err(failure(PUT_STATUS, error)),
        }
    }

    /// Stops a deployment, and lets it go back.
    pub(super) async fn stop_code_deployment(&self, id: &str) -> Result<(), Failure> {
        let stop = self.codedeploy().stop_deployment().deployment_id(id).auto_rollback_enabled(true);
        let Err(error) = stop.send().await else { return Ok(()) };
        let kind = error.as_service_error().and_then(|service| match service {
            service if service.is_deployment_already_completed_exception() => Some(FailureKind::Conflict),
            service if service.is_deployment_does_not_exist_exception() => Some(FailureKind::NotFound),
            _ => None,
        });
        let failed = failure(STOP, error);
        Err(Failure { kind: kind.unwrap_or(failed.kind), ..failed })
    }

    async fn code_deployment_info(&self, id: &str) -> Result<DeploymentInfo, Failure> {
        let got = self.codedeploy().get_deployment().deployment_id(id).send().await;
        let got = got.map_err(|error| {
            let gone = error.as_service_error().is_some_and(|e| e.is_deployment_does_not_exist_exception());
            let failed = failure(GET, error);
            if gone { Failure { kind: FailureKind::NotFound, ..failed } } else { failed }
        })?;
        got.deployment_info.ok_or_else(|| plain(GET, FailureKind::Malformed, "the answer has no deployment"))
    }

    /// The one target of a deployment to ECS or Lambda, as both have it.
    async fn target(&self, id: &str) -> Result<Option<Target>, Failure> {
        let listed = self.codedeploy().list_deployment_targets().deployment_id(id).send().await;
        let listed = listed.map_err(|error| failure(LIST_TARGETS, error))?;
        let Some(target) = listed.target_ids().first() else { return Ok(None) };
        let got = self.codedeploy().get_deployment_target().deployment_id(id).target_id(target).send().await;
        Ok(got.map_err(|error| failure(GET_TARGET, error))?.deployment_target)
    }
}

fn not_found(detail: String) -> Failure {
    plain(GET_TARGET, FailureKind::NotFound, detail)
}

/// How a deployment stands.
fn ended(info: &DeploymentInfo) -> Deployment {
    let status = info.status();
    let over = matches!(
        status,
        Some(DeploymentStatus::Succeeded | DeploymentStatus::Failed | DeploymentStatus::Stopped)
    );
    let how = status.filter(|_| over).map(|status| status.as_str().to_owned());
    let is_undone = matches!(status, Some(DeploymentStatus::Failed | DeploymentStatus::Stopped));
    // A deployment that undoes another one puts the old version back.
    let is_going_back =
        info.rollback_info().is_some_and(|info| info.rollback_triggering_deployment_id().is_some());
    Deployment { ended: how, is_going_back, is_undone, ..Deployment::default() }
}

/// The lifecycle event that is under way, and since when.
fn stage(events: &[LifecycleEvent]) -> Option<(String, Option<Timestamp>)> {
    let going = events.iter().find(|event| event.status() == Some(&Answer::InProgress))?;
    let since = going.start_time().and_then(|since| Timestamp::from_second(since.secs()).ok());
    Some((going.lifecycle_event_name()?.to_owned(), since))
}

/// The old version and the new one; `None` if there are not two.
fn versions(function: &LambdaFunctionInfo) -> Option<[&str; 2]> {
    let (old, new) = (function.current_version()?, function.target_version()?);
    (old != new).then_some([old, new])
}

fn of_function(function: &LambdaFunctionInfo) -> Option<Targets> {
    let [stable, canary] = versions(function)?;
    Some(Targets::of_function(function.function_name()?, function.function_alias()?, stable, canary))
}

/// Names of the old version's group and the new one's. Before the new version is installed it is the other one of
/// the pair.
fn groups_of(target: &EcsTarget, pairs: &[TargetGroupPairInfo]) -> Option<[String; 2]> {
    let group = |label: &TargetLabel| {
        let mut sets = target.task_sets_info().iter();
        let set = sets.rfind(|set| set.task_set_label() == Some(label))?;
        set.target_group()?.name()
    };
    let blue = group(&TargetLabel::Blue)?;
    let other = || {
        let names = |pair: &'_ TargetGroupPairInfo| -> Vec<String> {
            pair.target_groups().iter().filter_map(|group| group.name()).map(str::to_owned).collect()
        };
        let pair = pairs.iter().map(names).find(|names| names.iter().any(|name| name == blue))?;
        pair.into_iter().find(|name| name != blue)
    };
    let green = group(&TargetLabel::Green).map(str::to_owned).or_else(other)?;
    Some([blue.to_owned(), green])
}

#[cfg(test)]
mod tests {
    use aws_sdk_codedeploy::types::{EcsTaskSet, LifecycleEvent, RollbackInfo, TargetGroupInfo};

    use super::*;

    fn named(name: &str) -> TargetGroupInfo {
        TargetGroupInfo::builder().name(name).build()
    }

    fn with(sets: &[(TargetLabel, &str)]) -> EcsTarget {
        let set = |(label, group): &(TargetLabel, &str)| {
            EcsTaskSet::builder().task_set_label(label.clone()).target_group(named(group)).build()
        };
        EcsTarget::builder().set_task_sets_info(Some(sets.iter().map(set).collect())).build()
    }

    #[test]
    fn the_groups_are_those_of_the_task_sets_or_the_other_one_of_the_pair() {
        let pair = |names: [&str; 2]| {
            TargetGroupPairInfo::builder().set_target_groups(Some(names.map(named).to_vec())).build()
        };
        let pairs = [pair(["x", "y"]), pair(["b", "a"])];
        let both = with(&[(TargetLabel::Blue, "a"), (TargetLabel::Green, "c")]);
        assert_eq!(groups_of(&both, &pairs), Some(["a".to_owned(), "c".to_owned()]));
        let old = with(&[(TargetLabel::Blue, "a")]);
        assert_eq!(groups_of(&old, &pairs), Some(["a".to_owned(), "b".to_owned()]));
        assert_eq!(groups_of(&old, &pairs[..1]), None);
        assert_eq!(groups_of(&old, &[pair(["a", "a"])]), None);
        assert_eq!(groups_of(&with(&[(TargetLabel::Green, "c")]), &pairs), None);
    }

    #[test]
    fn a_function_has_two_versions_or_nothing_to_compare() {
        let info = |old: Option<&str>, new: &str| {
            let info = LambdaFunctionInfo::builder().function_name("pay").function_alias("live");
            info.set_current_version(old.map(str::to_owned)).target_version(new).build()
        };
        let of = |old, new| of_function(&info(old, new));
        assert_eq!(of(Some("41"), "42"), Some(Targets::of_function("pay", "live", "41", "42")));
        assert_eq!([of(None, "42"), of(Some("42"), "42")], [None, None]);
    }

    #[test]
    fn a_deployment_is_over_or_undoes_another_as_codedeploy_says() {
        let of = |status: DeploymentStatus| ended(&DeploymentInfo::builder().status(status).build());
        use DeploymentStatus::{Baking, Created, Failed, InProgress, Queued, Ready, Stopped, Succeeded};
        for going in [Created, Queued, InProgress, Baking, Ready] {
            assert_eq!(of(going).ended, None);
        }
        assert_eq!(
            [Succeeded, Failed, Stopped].map(|status| of(status).ended.unwrap_or_default()),
            ["Succeeded", "Failed", "Stopped"]
        );
        // The one that failed knows of the other too, by its own name.
        let undone = RollbackInfo::builder().rollback_deployment_id("d-2").build();
        let undoes = RollbackInfo::builder().rollback_triggering_deployment_id("d-1").build();
        let info = |rollback| ended(&DeploymentInfo::builder().rollback_info(rollback).build());
        assert_eq!([info(undone).is_going_back, info(undoes).is_going_back], [false, true]);
    }

    #[test]
    fn the_stage_is_the_lifecycle_event_that_is_under_way() {
        let event = |name: &str, status: Answer| {
            LifecycleEvent::builder().lifecycle_event_name(name).status(status).build()
        };
        let events = [
            event("BeforeInstall", Answer::Succeeded),
            event("Install", Answer::InProgress),
            event("AfterInstall", Answer::Pending),
        ];
        assert_eq!(stage(&events), Some(("Install".to_owned(), None)));
        assert_eq!(stage(&events[..1]), None);
        let started = aws_sdk_codedeploy::primitives::DateTime::from_secs(1_772_359_200);
        let since = LifecycleEvent::builder().lifecycle_event_name("AllowTraffic").start_time(started);
        let under_way = stage(&[since.status(Answer::InProgress).build()]);
        assert_eq!(under_way.and_then(|(_, since)| since), "2026-03-01T10:00:00Z".parse().ok());
    }
}
