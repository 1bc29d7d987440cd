//! Where to look: the console's pages of what a page is about.
//!
//! Region and partition come from the ARNs themselves, so a page from China or GovCloud leads to its own console.

use std::fmt::Write as _;

use crate::ports::Home;
use crate::rollout::gate::Owner;
use crate::rollout::plan::Targets;
use crate::rollout::record::Record;

/// A page of the console, and what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: &'static str,
    pub(super) url: String,
}

/// The console of a region, and the region.
struct Console {
    base: String,
    region: String,
}

impl Console {
    /// Of the region and partition that an ARN names; `None` if it is no ARN, or of a partition without a console
    /// that is known here.
    fn of(arn: &str) -> Option<Self> {
        let mut parts = arn.split(':');
        let domain = match (parts.next()?, parts.next()?) {
            ("arn", "aws") => "console.aws.amazon.com",
            ("arn", "aws-cn") => "console.amazonaws.cn",
            ("arn", "aws-us-gov") => "console.amazonaws-us-gov.com",
            _ => return None,
        };
        let region = parts.nth(1).filter(|region| !region.is_empty())?.to_owned();
        Some(Self { base: format!("https://{region}.{domain}"), region })
    }

    fn load_balancing(&self, what: &str) -> String {
        format!("{}/ec2/home?region={}#{what}", self.base, self.region)
    }
}

/// All that are known: the deployment that owns the weights first, if there is one.
pub(super) fn links(record: &Record, home: &Home) -> Vec<Link> {
    let targets = &record.plan.targets;
    let mut links = Vec::new();
    let mut add = |name, url: Option<String>| links.extend(url.map(|url| Link { name, url }));
    let installation = home.topic_arn.as_deref().and_then(Console::of);
    let rule = Console::of(&targets.listener_rule);
    let here = rule.as_ref().or(installation.as_ref());
    add("Deployment", record.owner.as_ref().and_then(|owner| deployment(owner, here)));
    if let Some(console) = &rule {
        let balancer = load_balancer(targets);
        let balancer = balancer.map(|arn| format!("LoadBalancer:loadBalancerArn={arn};tab=listeners"));
        add("Balancer", balancer.map(|what| console.load_balancing(&what)));
        for (name, arn) in [("Stable", &targets.stable), ("Canary", &targets.canary)] {
            add(name, Some(console.load_balancing(&format!("TargetGroup:targetGroupArn={arn}"))));
        }
    }
    let log = home.log_group.as_deref();
    add(
        "Log",
        log.zip(installation.as_ref().or(here)).map(|(log, console)| log_events(console, log, record.id())),
    );
    links
}

/// The load balancer that a listener's rule, or its default rule, belongs to.
fn load_balancer(targets: &Targets) -> Option<String> {
    let (head, _) = targets.listener_rule.split_once(":listener-rule/")?;
    let name = targets.load_balancer_dimension();
    (name.matches('/').count() == 2).then(|| format!("{head}:loadbalancer/{name}"))
}

fn deployment(owner: &Owner, here: Option<&Console>) -> Option<String> {
    match owner {
        Owner::CodeDeploy { deployment } => here.map(|Console { base, region }| {
            format!("{base}/codesuite/codedeploy/deployments/{deployment}?region={region}")
        }),
        Owner::Ecs { deployment } => {
            let Console { base, region } = Console::of(deployment)?;
            let mut path = deployment.split(":service-deployment/").nth(1)?.split('/');
            let (cluster, service) = (path.next()?, path.next()?);
            Some(format!("{base}/ecs/v2/clusters/{cluster}/services/{service}/deployments?region={region}"))
        }
    }
}

/// The rollout's lines of the last three hours in the function's log.
fn log_events(Console { base, region }: &Console, group: &str, rollout: &str) -> String {
    let filter = format!("{{ $.rollout = \"{rollout}\" }}");
    let events = format!("?start=-10800000&filterPattern={}", percent_encoded(&filter));
    // The console reads this part of its address as encoded once more, with `$` for `%`.
    let twice = |text: &str| percent_encoded(&percent_encoded(text)).replace('%', "$");
    let once = percent_encoded(&events).replace('%', "$");
    format!(
        "{base}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{}/log-events{once}",
        twice(group)
    )
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fixture;

    fn record(partition: &str, region: &str) -> Record {
        let mut plan = fixture::plan();
        let targets = &mut plan.targets;
        for arn in [&mut targets.listener_rule, &mut targets.stable, &mut targets.canary] {
            *arn = arn.replace("arn:aws:", &format!("arn:{partition}:")).replace("eu-west-1", region);
        }
        Record::new(plan, fixture::audit(), false)
    }

    fn url(links: &[Link], name: &str) -> String {
        links.iter().find(|link| link.name == name).unwrap_or_else(|| panic!("{name}: {links:?}")).url.clone()
    }

    #[test]
    fn each_partition_has_its_own_console() {
        for (partition, region, domain) in [
            ("aws", "eu-west-1", "console.aws.amazon.com"),
            ("aws-cn", "cn-north-1", "console.amazonaws.cn"),
            ("aws-us-gov", "us-gov-west-1", "console.amazonaws-us-gov.com"),
        ] {
            let links = links(&record(partition, region), &Home::default());
            assert_eq!(
                url(&links, "Balancer"),
                format!(
                    "https://{region}.{domain}/ec2/home?region={region}#LoadBalancer:loadBalancerArn=\
                     arn:{partition}:elasticloadbalancing:{region}:123456789012:loadbalancer/app/web/1;tab=listeners"
                )
            );
            assert_eq!(
                url(&links, "Canary"),
                format!(
                    "https://{region}.{domain}/ec2/home?region={region}#TargetGroup:targetGroupArn=\
                     arn:{partition}:elasticloadbalancing:{region}:123456789012:targetgroup/v2/2"
                )
            );
        }
        assert_eq!(links(&record("aws-iso", "us-iso-east-1"), &Home::default()), []);
    }

    #[test]
    fn the_log_is_that_of_the_function_and_shows_the_rollouts_lines() {
        let topic_arn = Some("arn:aws:sns:eu-west-1:123456789012:on-call".to_owned());
        let home =
            Home { topic_arn, log_group: Some("/aws/lambda/canary-gate".to_owned()), ..Home::default() };
        assert_eq!(
            url(&links(&record("aws", "eu-west-1"), &home), "Log"),
            "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/\
             $252Faws$252Flambda$252Fcanary-gate/log-events$3Fstart$3D-10800000$26filterPattern$3D\
             $257B$2520$2524.rollout$2520$253D$2520$2522checkout$2522$2520$257D"
        );
    }

    #[test]
    fn a_deployment_of_another_system_has_its_own_page() {
        let mut record = record("aws", "eu-west-1");
        record.owner = Some(Owner::CodeDeploy { deployment: "d-A1B2C3D4E".to_owned() });
        assert_eq!(
            url(&links(&record, &Home::default()), "Deployment"),
            "https://eu-west-1.console.aws.amazon.com/codesuite/codedeploy/deployments/d-A1B2C3D4E?region=eu-west-1"
        );
        let arn = "arn:aws:ecs:eu-west-1:123456789012:service-deployment/prod/checkout/abc";
        record.owner = Some(Owner::Ecs { deployment: arn.to_owned() });
        assert_eq!(
            url(&links(&record, &Home::default()), "Deployment"),
            "https://eu-west-1.console.aws.amazon.com/ecs/v2/clusters/prod/services/checkout/deployments?region=eu-west-1"
        );
        // The alias of a function has no load balancer, and no region but the installation's.
        record.plan.targets = crate::rollout::plan::Targets::of_function("pay", "live", "1", "2");
        record.owner = Some(Owner::CodeDeploy { deployment: "d-A1B2C3D4E".to_owned() });
        assert_eq!(links(&record, &Home::default()), []);
        let home = Home {
            topic_arn: Some("arn:aws:sns:us-east-1:123456789012:on-call".to_owned()),
            ..Home::default()
        };
        assert!(url(&links(&record, &home), "Deployment").starts_with("https://us-east-1."));
    }
}
