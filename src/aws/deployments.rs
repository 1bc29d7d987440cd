//! Deployments of CodeDeploy and ECS: which service, and the load balancer's part of them.

use aws_sdk_elasticloadbalancingv2::types::Rule;
use jiff::Timestamp;

use super::AwsPlatform;
use super::failure::{failure, plain};
use crate::github::Waits;
use crate::ports::{Deployment, Deployments, Failure, FailureKind};
use crate::rollout::gate::{Owner, Told, Waiting};
use crate::rollout::plan::Targets;

const DESCRIBE_GROUPS: &str = "elbv2 DescribeTargetGroups";
const DESCRIBE_RULES: &str = "elbv2 DescribeRules";

impl Deployments for AwsPlatform {
    async fn deployment(&self, owner: &Owner) -> Result<Deployment, Failure> {
        match owner {
            Owner::CodeDeploy { deployment } => self.code_deployment(deployment).await,
            Owner::Ecs { deployment } => self.service_deployment(deployment).await,
        }
    }

    async fn find_targets(&self, owner: &Owner) -> Result<Targets, Failure> {
        match owner {
            Owner::CodeDeploy { deployment } => self.code_deployment_targets(deployment).await,
            Owner::Ecs { deployment } => self.service_deployment_targets(deployment).await,
        }
    }

    async fn tell(&self, waiting: &Waiting, told: &Told) -> Result<(), Failure> {
        match waiting {
            Waiting::CodeDeployHook { deployment, execution } => {
                self.answer_hook(deployment, execution, told).await
            }
            Waiting::EcsPause { deployment, hook } => self.answer_pause(deployment, hook, told).await,
            Waiting::Github { callback_url, environment, installation } => {
                let Some(github) = &self.github else {
                    let why = "no GitHub App is configured any more (CANARY_GATE_GITHUB_APP_ID)";
                    return Err(plain("github", FailureKind::Denied, why));
                };
                let waits = Waits { callback_url, environment, installation: *installation };
                // As the SDK's, a signature here is of the moment at which it is sent.
                github.tell(waits, told, Timestamp::now()).await
            }
        }
    }

    async fn stop(&self, owner: &Owner) -> Result<(), Failure> {
        match owner {
            Owner::CodeDeploy { deployment } => self.stop_code_deployment(deployment).await,
            Owner::Ecs { deployment } => self.stop_service_deployment(deployment).await,
        }
    }
}

impl AwsPlatform {
    /// The ARNs of two groups.
    pub(super) async fn groups_by_name(&self, names: [&str; 2]) -> Result<[String; 2], Failure> {
        let describe = self.elb.describe_target_groups().set_names(Some(names.map(str::to_owned).to_vec()));
        let answer = describe.send().await.map_err(|error| failure(DESCRIBE_GROUPS, error))?;
        let arn = |name: &str| {
            let group = answer.target_groups().iter().find(|group| group.target_group_name() == Some(name));
            let arn = group.and_then(|group| group.target_group_arn()).map(str::to_owned);
            arn.ok_or_else(|| {
                plain(DESCRIBE_GROUPS, FailureKind::NotFound, format!("no target group {name}"))
            })
        };
        Ok([arn(names[0])?, arn(names[1])?])
    }

    /// The rule, among those of some listeners, that sends traffic to both of two groups, or else to one of them.
    pub(super) async fn rule_of(&self, listeners: &[String], groups: [&str; 2]) -> Result<String, Failure> {
        let mut best: Option<(usize, String)> = None;
        for listener in listeners {
            let mut pages = self.elb.describe_rules().listener_arn(listener).into_paginator().items().send();
            while let Some(rule) = pages.next().await {
                let rule = rule.map_err(|error| failure(DESCRIBE_RULES, error))?;
                let named = groups.iter().filter(|group| sends_to(&rule, group)).count();
                let (Some(arn), true) = (rule.rule_arn(), named > 0) else { continue };
                if best.as_ref().is_none_or(|(most, _)| named > *most) {
                    best = Some((named, arn.to_owned()));
                }
            }
        }
        let none = || {
            plain(
                DESCRIBE_RULES,
                FailureKind::NotFound,
                "no rule of its listeners sends traffic to its groups",
            )
        };
        best.map(|(_, arn)| arn).ok_or_else(none)
    }
}

fn sends_to(rule: &Rule, group: &str) -> bool {
    rule.actions().iter().any(|action| {
        let weighted = action.forward_config().map(|forward| forward.target_groups()).unwrap_or_default();
        action.target_group_arn() == Some(group)
            || weighted.iter().any(|weighted| weighted.target_group_arn() == Some(group))
    })
}
