//! Weights of ALB listener rules.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, Rule, TargetHealthDescription, TargetHealthReasonEnum, TargetHealthStateEnum,
};
use futures_util::future::join_all;

use super::AwsPlatform;
use super::actions::{Way, most_of_others, names_neither, rewritten, split_of, weights_for};
use super::failure::{again, failure, plain};
use super::sts::{by_role, in_order};
use crate::analysis::window::Arm;
use crate::ports::{Failure, FailureKind, Split, TrafficRouter};
use crate::rollout::effect::{Release, Write};
use crate::rollout::plan::Targets;
use crate::units::Share;

const DESCRIBE_RULES: &str = "elbv2 DescribeRules";
const MODIFY_RULE: &str = "elbv2 ModifyRule";
const MODIFY_LISTENER: &str = "elbv2 ModifyListener";
/// Rules of one DescribeRules call: well below a page, so that there is only one.
const RULES_PER_CALL: usize = 20;
/// Waits before each look at a rule that does not say yet what was written.
const REREAD_AFTER: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1)];

/// A rule as it was read, for writing back what is not ours.
#[derive(Debug, Clone)]
pub struct RuleSnapshot {
    actions: Vec<Action>,
    /// A listener's default rule is written through the listener.
    is_default: bool,
    listener: String,
    split: Split,
}

impl TrafficRouter for AwsPlatform {
    type Snapshot = RuleSnapshot;

    async fn read_splits(&self, targets: &[Targets]) -> Vec<Result<(Split, RuleSnapshot), Failure>> {
        let of_roles = by_role(targets.iter());
        let asked = of_roles.iter().map(|of_role| self.splits(of_role.role, of_role.of(targets)));
        let answers = join_all(asked).await;
        in_order(&of_roles, answers)
    }

    async fn write_split(
        &self,
        targets: &Targets,
        snapshot: &RuleSnapshot,
        write: Write,
    ) -> Result<Split, Failure> {
        let clients = self.clients(targets.role_arn.as_deref()).await?;
        clients.balancers.write_split(targets, snapshot, write).await
    }

    async fn healthy_targets(&self, targets: &Targets, arm: Arm) -> Result<u32, Failure> {
        let clients = self.clients(targets.role_arn.as_deref()).await?;
        clients.balancers.healthy_targets(targets.of_arm(arm)).await
    }
}

impl AwsPlatform {
    async fn splits(
        &self,
        role: Option<&str>,
        pairs: Vec<&Targets>,
    ) -> Vec<Result<(Split, RuleSnapshot), Failure>> {
        match self.clients(role).await {
            Ok(clients) => clients.balancers.read_splits(&pairs).await,
            Err(failure) => pairs.iter().map(|_| Err(again(&failure))).collect(),
        }
    }
}

/// The load balancers of one account, by the rights of one role.
#[derive(Debug, Clone)]
pub(super) struct Balancers {
    elb: Client,
}

impl Balancers {
    /// Nothing is sent.
    pub(super) fn new(config: &SdkConfig) -> Self {
        Self::of(Client::new(config))
    }

    /// With a client of one's own.
    pub(super) fn of(elb: Client) -> Self {
        Self { elb }
    }

    async fn read_splits(&self, targets: &[&Targets]) -> Vec<Result<(Split, RuleSnapshot), Failure>> {
        let of_rules = targets.iter().filter(|pair| pair.function().is_none());
        let mut arns: Vec<String> = of_rules.map(|pair| pair.listener_rule.clone()).collect();
        arns.sort();
        arns.dedup();
        let batches = join_all(arns.chunks(RULES_PER_CALL).map(|batch| self.rules(batch))).await;
        let rules: HashMap<String, Result<Rule, Failure>> = batches.into_iter().flatten().collect();
        let read = |pair: &&Targets| match rules.get(&pair.listener_rule) {
            Some(Ok(rule)) => snapshot(rule, pair),
            Some(Err(failure)) => Err(again(failure)),
            None if pair.function().is_some() => {
                let why = "a function's share is known to its deployment";
                Err(plain(DESCRIBE_RULES, FailureKind::Unavailable, why))
            }
            None => Err(missing(&pair.listener_rule)),
        };
        targets.iter().map(read).collect()
    }

    /// A drain of sticky clients is tried in up to three ways, since ALB refuses to switch group stickiness
    /// off while a group of the rule has target stickiness on: stickiness off; the canary's group taken out
    /// of the rule; weight zero alone. A drain must not fail because its second half is refused.
    async fn write_split(
        &self,
        targets: &Targets,
        snapshot: &RuleSnapshot,
        write: Write,
    ) -> Result<Split, Failure> {
        // What to try before a write that keeps stickiness as it is.
        let freeing: &[Way] = match write.release {
            Release::Stickiness if snapshot.split.sticky => &[Way::Unstick, Way::Remove],
            Release::Nobody | Release::Stickiness => &[],
            // What is asked for once weight zero has not been enough is no success without it.
            Release::Group => {
                return self.write_in(targets, snapshot, write.share, Way::Remove).await.map(removed);
            }
        };
        for way in freeing {
            match self.write_in(targets, snapshot, write.share, *way).await {
                Err(refused) if matches!(refused.kind, FailureKind::Malformed | FailureKind::Denied) => {
                    let rule = &targets.listener_rule;
                    tracing::warn!(%rule, ?way, error = %refused, "sticky clients not freed in this way");
                }
                done if *way == Way::Remove => return done.map(removed),
                done => return done,
            }
        }
        self.write_in(targets, snapshot, write.share, Way::Keep).await
    }

    async fn healthy_targets(&self, group: &str) -> Result<u32, Failure> {
        let health = self
            .elb
            .describe_target_health()
            .target_group_arn(group)
            .send()
            .await
            .map_err(|error| failure("elbv2 DescribeTargetHealth", error))?;
        let healthy = health.target_health_descriptions().iter().filter(|target| takes_traffic(target));
        Ok(u32::try_from(healthy.count()).unwrap_or(u32::MAX))
    }

    /// Reads rules in one call. If that is refused for one of them, each is read alone, so that a deleted
    /// rule, or one of another account, doesn't blind the others.
    async fn rules(&self, arns: &[String]) -> Vec<(String, Result<Rule, Failure>)> {
        let refused = match self.describe_rules(arns).await {
            Ok(rules) => return arns.iter().map(|arn| (arn.clone(), find(&rules, arn))).collect(),
            Err(refused) => refused,
        };
        let by_one =
            matches!(refused.kind, FailureKind::NotFound | FailureKind::Malformed | FailureKind::Denied);
        if !by_one || arns.len() == 1 {
            return arns.iter().map(|arn| (arn.clone(), Err(again(&refused)))).collect();
        }
        let alone = |arn: &String| {
            let arn = arn.clone();
            async move {
                let rules = self.describe_rules(std::slice::from_ref(&arn)).await;
                let rule = rules.and_then(|rules| find(&rules, &arn));
                (arn, rule)
            }
        };
        join_all(arns.iter().map(alone)).await
    }

    async fn describe_rules(&self, arns: &[String]) -> Result<Vec<Rule>, Failure> {
        let answer = self
            .elb
            .describe_rules()
            .set_rule_arns(Some(arns.to_vec()))
            .send()
            .await
            .map_err(|error| failure(DESCRIBE_RULES, error))?;
        Ok(answer.rules.unwrap_or_default())
    }

    async fn write_in(
        &self,
        targets: &Targets,
        snapshot: &RuleSnapshot,
        share: Share,
        way: Way,
    ) -> Result<Split, Failure> {
        let malformed = |text: String| plain(MODIFY_RULE, FailureKind::Malformed, text);
        let most = most_of_others(&snapshot.actions, targets);
        let weights = weights_for(share, &snapshot.split, most).map_err(malformed)?;
        let actions = rewritten(&snapshot.actions, targets, weights, way);
        let asked = split_of(&actions, targets).map_err(malformed)?;
        let answered = if snapshot.is_default {
            self.modify_listener(&snapshot.listener, actions).await
        } else {
            self.modify_rule(&targets.listener_rule, actions).await
        };
        let answered = match answered {
            Ok(answered) => answered,
            Err(failure) => return self.done_all_the_same(targets, asked, failure).await,
        };
        let seen = answered.and_then(|actions| split_of(&actions, targets).ok());
        match seen {
            Some(split) if split == asked => Ok(split),
            seen => self.reread(targets, &asked, seen).await,
        }
    }

    async fn modify_rule(&self, rule: &str, actions: Vec<Action>) -> Result<Option<Vec<Action>>, Failure> {
        let answer = self
            .elb
            .modify_rule()
            .rule_arn(rule)
            .set_actions(Some(actions))
            .send()
            .await
            .map_err(|error| failure(MODIFY_RULE, error))?;
        let rules = answer.rules.unwrap_or_default();
        Ok(rules.into_iter().find(|seen| seen.rule_arn() == Some(rule)).and_then(|seen| seen.actions))
    }

    async fn modify_listener(
        &self,
        listener: &str,
        actions: Vec<Action>,
    ) -> Result<Option<Vec<Action>>, Failure> {
        let answer = self
            .elb
            .modify_listener()
            .listener_arn(listener)
            .set_default_actions(Some(actions))
            .send()
            .await
            .map_err(|error| failure(MODIFY_LISTENER, error))?;
        let listeners = answer.listeners.unwrap_or_default();
        let ours = listeners.into_iter().find(|seen| seen.listener_arn() == Some(listener));
        Ok(ours.and_then(|seen| seen.default_actions))
    }

    /// A write that was called failed may have taken effect, and a page that says it did not would send
    /// somebody out of bed for nothing: looks at the rule once.
    async fn done_all_the_same(
        &self,
        targets: &Targets,
        asked: Split,
        failed: Failure,
    ) -> Result<Split, Failure> {
        if !matches!(failed.kind, FailureKind::Unavailable | FailureKind::TimedOut | FailureKind::Throttled) {
            return Err(failed);
        }
        let rules = self.describe_rules(std::slice::from_ref(&targets.listener_rule)).await;
        let rule = rules.and_then(|rules| find(&rules, &targets.listener_rule));
        match rule.and_then(|rule| snapshot(&rule, targets)) {
            Ok((split, _)) if split == asked => Ok(split),
            _ => Err(failed),
        }
    }

    /// The write was taken, but its answer does not say what was asked: looks at the rule until it does, and
    /// answers what it says in the end. Whether that will do is for the caller to judge.
    async fn reread(&self, targets: &Targets, asked: &Split, seen: Option<Split>) -> Result<Split, Failure> {
        let mut last = seen.ok_or_else(|| missing(&targets.listener_rule));
        for wait in REREAD_AFTER {
            tokio::time::sleep(wait).await;
            let rules = self.describe_rules(std::slice::from_ref(&targets.listener_rule)).await;
            let rule = rules.and_then(|rules| find(&rules, &targets.listener_rule));
            match rule.and_then(|rule| snapshot(&rule, targets)) {
                Ok((split, _)) if split == *asked => return Ok(split),
                Ok((split, _)) => last = Ok(split),
                Err(failure) if last.is_err() => last = Err(failure),
                Err(failure) => tracing::warn!(error = %failure, "weights not read back"),
            }
        }
        last
    }
}

/// Nobody sticks to a group that the rule does not name, whatever it says of stickiness.
fn removed(mut split: Split) -> Split {
    split.sticky = false;
    split
}

fn snapshot(rule: &Rule, targets: &Targets) -> Result<(Split, RuleSnapshot), Failure> {
    // A rule that names neither group sends them nothing, as one that does not exist.
    let kind =
        if names_neither(rule.actions(), targets) { FailureKind::NotFound } else { FailureKind::Malformed };
    let split = split_of(rule.actions(), targets).map_err(|text| plain(DESCRIBE_RULES, kind, text))?;
    let snapshot = RuleSnapshot {
        actions: rule.actions().to_vec(),
        is_default: rule.is_default() == Some(true),
        listener: targets.listener(),
        split: split.clone(),
    };
    Ok((split, snapshot))
}

fn find(rules: &[Rule], arn: &str) -> Result<Rule, Failure> {
    rules.iter().find(|rule| rule.rule_arn() == Some(arn)).cloned().ok_or_else(|| missing(arn))
}

fn missing(arn: &str) -> Failure {
    plain(DESCRIBE_RULES, FailureKind::NotFound, format!("{arn} is missing from the answer"))
}

/// Healthy, or without health checks at all, as groups of Lambda functions are by default.
fn takes_traffic(target: &TargetHealthDescription) -> bool {
    let health = target.target_health();
    let reason = health.and_then(|health| health.reason());
    match health.and_then(|health| health.state()) {
        Some(TargetHealthStateEnum::Healthy) => true,
        Some(TargetHealthStateEnum::Unavailable) => {
            reason == Some(&TargetHealthReasonEnum::HealthCheckDisabled)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_elasticloadbalancingv2::types::{ActionTypeEnum, TargetHealth};

    #[test]
    fn only_targets_that_get_traffic_count() {
        let target = |state: TargetHealthStateEnum, reason: Option<TargetHealthReasonEnum>| {
            let health = TargetHealth::builder().state(state).set_reason(reason).build();
            TargetHealthDescription::builder().target_health(health).build()
        };
        use TargetHealthReasonEnum::{HealthCheckDisabled, InternalError, NotInUse};
        use TargetHealthStateEnum::{Draining, Healthy, Initial, Unavailable, Unhealthy, Unused};
        assert!(takes_traffic(&target(Healthy, None)));
        assert!(takes_traffic(&target(Unavailable, Some(HealthCheckDisabled))));
        assert!(!takes_traffic(&target(Unavailable, Some(InternalError))));
        assert!(!takes_traffic(&target(Unused, Some(NotInUse))));
        for state in [Draining, Initial, Unhealthy] {
            assert!(!takes_traffic(&target(state, None)));
        }
        assert!(!takes_traffic(&TargetHealthDescription::builder().build()));
    }

    #[test]
    fn a_snapshot_knows_whether_the_rule_is_the_listeners_own() {
        let rule_arn = "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/5/f/9";
        let targets = Targets {
            listener_rule: rule_arn.to_owned(),
            stable: "stable".to_owned(),
            canary: "canary".to_owned(),
            role_arn: None,
        };
        let action = || Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn("stable").build();
        let rule = Rule::builder().rule_arn(rule_arn).is_default(true).actions(action()).build();
        let (split, snapshot) = snapshot(&rule, &targets).unwrap();
        assert_eq!((split.stable, split.canary), (1, 0));
        assert!(snapshot.is_default);
        assert_eq!(snapshot.listener, "arn:aws:elasticloadbalancing:eu-west-1:1:listener/app/web/5/f");
        let bare = Rule::builder().rule_arn(rule_arn).build();
        assert_eq!(super::snapshot(&bare, &targets).unwrap_err().kind, FailureKind::NotFound);
        let twice = Rule::builder().rule_arn(rule_arn).set_actions(Some(vec![action(), action()])).build();
        assert_eq!(super::snapshot(&twice, &targets).unwrap_err().kind, FailureKind::Malformed);
        assert_eq!(find(&[bare], "another").unwrap_err().kind, FailureKind::NotFound);
    }
}
