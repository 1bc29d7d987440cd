//! Service deployments of ECS.

use aws_sdk_ecs::types::{
    DeploymentLifecycleHookAction as Action, DeploymentLifecycleHookStatus as HookStatus, ServiceDeployment,
    ServiceDeploymentStatus as Status, ServiceRevision, StopServiceDeploymentStopType,
};

use super::AwsPlatform;
use super::failure::{failure, plain};
use crate::ports::{Deployment, Failure, FailureKind};
use crate::rollout::gate::Told;
use crate::rollout::plan::Targets;

const DESCRIBE: &str = "ecs DescribeServiceDeployments";
const REVISIONS: &str = "ecs DescribeServiceRevisions";
const CONTINUE: &str = "ecs ContinueServiceDeployment";
const STOP: &str = "ecs StopServiceDeployment";

impl AwsPlatform {
    /// A service deployment.
    pub(super) async fn service_deployment(&self, arn: &str) -> Result<Deployment, Failure> {
        Ok(state(&self.described(arn).await?))
    }

    /// The groups of the old revision and the new one, and the rule between them, as ECS has resolved them.
    pub(super) async fn service_deployment_targets(&self, arn: &str) -> Result<Targets, Failure> {
        let deployment = self.described(arn).await?;
        let of = |summary: &aws_sdk_ecs::types::ServiceRevisionSummary| summary.arn().map(str::to_owned);
        let old = deployment.source_service_revisions().iter().find_map(of);
        let new = deployment.target_service_revision().and_then(of);
        let (Some(old), Some(new)) = (old, new) else {
            return Err(plain(DESCRIBE, FailureKind::NotFound, "the deployment has no two revisions"));
        };
        let revisions =
            self.ecs().describe_service_revisions().service_revision_arns(&old).service_revision_arns(&new);
        let answer = revisions.send().await.map_err(|error| failure(REVISIONS, error))?;
        let found = |arn: &str| {
            answer.service_revisions().iter().find(|revision| revision.service_revision_arn() == Some(arn))
        };
        let found = targets(found(&old), found(&new)).ok_or_else(|| {
            plain(REVISIONS, FailureKind::NotFound, "the revisions name no two target groups and a rule")
        })?;
        // ECS names the listener where its default rule is meant.
        if !found.listener_rule.contains(":listener/") {
            return Ok(found);
        }
        let listeners = [found.listener_rule];
        let listener_rule = self.rule_of(&listeners, [&found.stable, &found.canary]).await?;
        Ok(Targets { listener_rule, ..found })
    }

    /// Answers a pause hook.
    pub(super) async fn answer_pause(&self, arn: &str, hook: &str, told: &Told) -> Result<(), Failure> {
        let action = if told.pass { Action::Continue } else { Action::Rollback };
        let answer =
            self.ecs().continue_service_deployment().service_deployment_arn(arn).hook_id(hook).action(action);
        let Err(error) = answer.send().await else { return Ok(()) };
        // The two words that ECS has for a request that makes no sense.
        let senseless = error
            .as_service_error()
            .is_some_and(|service| service.is_invalid_parameter_exception() || service.is_client_exception());
        let failed = failure(CONTINUE, error);
        if !senseless {
            return Err(failed);
        }
        // A hook that no longer waits was answered, or its time is over.
        match self.service_deployment(arn).await {
            Ok(deployment) if !deployment.pauses.iter().any(|waits| waits == hook) => Ok(()),
            _ => Err(failed),
        }
    }

    /// Stops a service deployment and lets it go back.
    pub(super) async fn stop_service_deployment(&self, arn: &str) -> Result<(), Failure> {
        let kind = StopServiceDeploymentStopType::Rollback;
        let stop = self.ecs().stop_service_deployment().service_deployment_arn(arn).stop_type(kind);
        let Err(error) = stop.send().await else { return Ok(()) };
        let kind = error.as_service_error().and_then(|service| match service {
            service if service.is_conflict_exception() => Some(FailureKind::Conflict),
            service if service.is_service_deployment_not_found_exception() => Some(FailureKind::NotFound),
            _ => None,
        });
        let failed = failure(STOP, error);
        Err(Failure { kind: kind.unwrap_or(failed.kind), ..failed })
    }

    async fn described(&self, arn: &str) -> Result<ServiceDeployment, Failure> {
        let describe = self.ecs().describe_service_deployments().service_deployment_arns(arn);
        let answer = describe.send().await.map_err(|error| failure(DESCRIBE, error))?;
        let found = answer.service_deployments.unwrap_or_default().into_iter().next();
        found.ok_or_else(|| plain(DESCRIBE, FailureKind::NotFound, format!("no service deployment {arn}")))
    }
}

/// How a service deployment stands.
fn state(deployment: &ServiceDeployment) -> Deployment {
    let status = deployment.status();
    let over = matches!(
        status,
        Some(Status::Successful | Status::Stopped | Status::RollbackSuccessful | Status::RollbackFailed)
    );
    let going_back = matches!(
        status,
        Some(Status::RollbackRequested | Status::RollbackInProgress | Status::StopRequested)
    );
    let awaits = |hook: &&aws_sdk_ecs::types::DeploymentLifecycleHookDetail| {
        hook.status() == Some(&HookStatus::AwaitingAction)
    };
    let hooks = deployment.lifecycle_hook_details().iter().filter(awaits);
    Deployment {
        of: belongs_to(deployment.service_arn().unwrap_or_default()),
        ended: status.filter(|_| over).map(|status| status.as_str().to_owned()),
        is_going_back: going_back,
        is_undone: matches!(
            status,
            Some(Status::Stopped | Status::RollbackSuccessful | Status::RollbackFailed)
        ),
        is_first: deployment.source_service_revisions().is_empty(),
        stage: deployment.lifecycle_stage().map(|stage| stage.as_str().to_owned()),
        pauses: hooks.filter_map(|hook| hook.hook_id()).map(str::to_owned).collect(),
        stage_since: None,
        // The rule is the truth of it.
        share: None,
    }
}

/// `ecs:CLUSTER/SERVICE` of `arn:...:service/CLUSTER/SERVICE`.
fn belongs_to(service_arn: &str) -> String {
    let path = service_arn.split_once(":service/").map_or(service_arn, |(_, path)| path);
    format!("ecs:{path}")
}

fn targets(old: Option<&ServiceRevision>, new: Option<&ServiceRevision>) -> Option<Targets> {
    let balancer = |revision: &ServiceRevision| {
        let resolved = revision.resolved_configuration()?;
        let balancer = resolved.load_balancers().first()?;
        Some((balancer.target_group_arn()?.to_owned(), balancer.production_listener_rule()?.to_owned()))
    };
    let ((stable, _), (canary, listener_rule)) = (balancer(old?)?, balancer(new?)?);
    (stable != canary).then_some(Targets { listener_rule, stable, canary, role_arn: None })
}

#[cfg(test)]
mod tests {
    use aws_sdk_ecs::types::{ResolvedConfiguration, ServiceRevisionLoadBalancer, ServiceRevisionSummary};

    use super::*;

    fn revision(group: &str) -> ServiceRevision {
        let balancer = ServiceRevisionLoadBalancer::builder()
            .target_group_arn(group)
            .production_listener_rule("rule")
            .build();
        let resolved = ResolvedConfiguration::builder().load_balancers(balancer).build();
        ServiceRevision::builder().resolved_configuration(resolved).build()
    }

    #[test]
    fn the_groups_are_those_of_the_old_and_the_new_revision() {
        let found = targets(Some(&revision("blue")), Some(&revision("green"))).unwrap();
        assert_eq!([found.listener_rule, found.stable, found.canary], ["rule", "blue", "green"]);
        assert_eq!(targets(Some(&revision("blue")), Some(&revision("blue"))), None);
        assert_eq!(targets(None, Some(&revision("green"))), None);
    }

    #[test]
    fn a_deployment_without_a_source_is_the_first_and_one_that_is_stopped_goes_back() {
        let arn = "arn:aws:ecs:eu-west-1:123456789012:service/web/shop";
        let going = ServiceDeployment::builder().service_arn(arn).status(Status::InProgress);
        let first = state(&going.clone().build());
        assert_eq!((first.of.as_str(), first.is_first, first.ended), ("ecs:web/shop", true, None));
        let source = ServiceRevisionSummary::builder().arn("revision").build();
        let later = state(&going.clone().source_service_revisions(source).build());
        assert!(!later.is_first && !later.is_going_back);
        assert!(state(&going.clone().status(Status::RollbackInProgress).build()).is_going_back);
        assert_eq!(state(&going.status(Status::Successful).build()).ended.as_deref(), Some("SUCCESSFUL"));
    }
}
