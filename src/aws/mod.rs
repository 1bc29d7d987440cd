//! The [`Platform`](crate::ports::Platform) on AWS: one file a service, and the only place that names the
//! SDK.
//!
//! Each file keeps what it decides (which queries, which actions, which items) in pure functions, so that
//! those are tested without a network; what is left is sending and receiving. Region, credentials and
//! partition come from the environment, and ARNs from the plan: nothing here names either.

mod actions;
mod answers;
mod calls;
mod cloudwatch;
mod codedeploy;
mod deployments;
mod dynamodb;
mod ecs;
mod elb;
mod examine;
mod failure;
#[cfg(test)]
mod fixture;
mod https;
mod items;
pub mod logging;
mod measure;
mod queries;
mod sns;
mod sts;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};

use crate::github::Github;
use crate::ports::Failure;
use crate::units::Span;
use cloudwatch::CloudWatch;
use elb::Balancers;
use sts::{Clients, Roles};

pub use elb::RuleSnapshot;
pub use examine::{Look, TickMetric, examine};
pub use items::{STATE_INDEX, TTL_ATTRIBUTE, table_definition};
pub use measure::{NotRead, read_once};

/// How often a call is tried, the first time included. A tick that fails is repeated a minute later, so
/// more patience than that would only make it late.
pub const MAX_ATTEMPTS: u32 = 3;
/// To open a connection. Within a region that takes milliseconds; 2 s leave room for a lost packet or two.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For one attempt. Ten times what the slowest of these calls (GetMetricData of many queries) takes as a
/// rule; a hung attempt must leave time for another.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// For one call with all its attempts. Five calls, one after the other, lead up to a drained canary (which
/// rollouts, their records, metrics and rules, target health, the weights), and all of them must have had
/// their chance within the minute that a tick has.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(12);

/// What an installation names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsSettings {
    /// The DynamoDB table; see [`table_definition`].
    pub table: String,
    /// The SNS topic for pages.
    pub topic_arn: String,
    /// How long the decision log is kept.
    pub keep_log: Span,
}

/// AWS as the handler's platform. What few invocations need is made when it is needed.
#[derive(Debug, Clone)]
pub struct AwsPlatform {
    cloudwatch: CloudWatch,
    codedeploy: OnceLock<aws_sdk_codedeploy::Client>,
    ecs: OnceLock<aws_sdk_ecs::Client>,
    elb: aws_sdk_elasticloadbalancingv2::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    sns: OnceLock<aws_sdk_sns::Client>,
    roles: Roles,
    github: Option<Arc<Github>>,
    config: SdkConfig,
    settings: AwsSettings,
    log_group: Option<String>,
    runbook: Option<String>,
}

impl AwsPlatform {
    /// Clients of all services. Nothing is sent.
    #[must_use]
    pub fn new(config: &SdkConfig, settings: AwsSettings) -> Self {
        Self {
            cloudwatch: CloudWatch::new(config),
            codedeploy: OnceLock::new(),
            ecs: OnceLock::new(),
            elb: aws_sdk_elasticloadbalancingv2::Client::new(config),
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            sns: OnceLock::new(),
            roles: Roles::new(config, &settings.table),
            github: None,
            config: config.clone(),
            settings,
            log_group: None,
            runbook: None,
        }
    }

    /// With the URL of the runbook, for links in pages.
    #[must_use]
    pub fn with_runbook(self, runbook: Option<String>) -> Self {
        Self { runbook, ..self }
    }

    /// With the log group that its lines go to, which pages link to.
    #[must_use]
    pub fn with_log_group(self, log_group: Option<String>) -> Self {
        Self { log_group, ..self }
    }

    /// With a GitHub App, whose deployments are told.
    #[must_use]
    pub fn with_github(self, github: Option<Arc<Github>>) -> Self {
        Self { github, ..self }
    }
}

impl AwsPlatform {
    fn codedeploy(&self) -> &aws_sdk_codedeploy::Client {
        self.codedeploy.get_or_init(|| aws_sdk_codedeploy::Client::new(&self.config))
    }

    fn ecs(&self) -> &aws_sdk_ecs::Client {
        self.ecs.get_or_init(|| aws_sdk_ecs::Client::new(&self.config))
    }

    fn sns(&self) -> &aws_sdk_sns::Client {
        self.sns.get_or_init(|| aws_sdk_sns::Client::new(&self.config))
    }

    /// What acts for rollouts of a role, or by the function's own rights.
    async fn clients(&self, role_arn: Option<&str>) -> Result<Clients, Failure> {
        match role_arn {
            Some(role_arn) => self.roles.assume(role_arn).await,
            None => Ok(Clients {
                config: None,
                cloudwatch: self.cloudwatch.clone(),
                balancers: Balancers::of(self.elb.clone()),
            }),
        }
    }
}

/// Region, credentials and, for tests, `AWS_ENDPOINT_URL` from the environment; patience from the
/// constants of this module.
pub async fn sdk_config() -> SdkConfig {
    loader().load().await
}

/// The same for a person at a terminal, in a region of their choice, if there are credentials at all.
///
/// # Errors
/// That there are none, and what to do.
pub async fn sdk_config_of(region: Option<String>) -> Result<SdkConfig, String> {
    let loader = match region {
        Some(region) => loader().region(aws_config::Region::new(region)),
        None => loader(),
    };
    let config = loader.load().await;
    if config.region().is_none() {
        return Err("there is no region; set AWS_REGION, or give --region".to_owned());
    }
    measure::credentials(&config).await.map_err(|why| NotRead::NoCredentials(why).to_string())?;
    Ok(config)
}

fn loader() -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    // The behaviour version is named, so that an update of the SDK changes no default behind our back.
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
        .timeout_config(timeouts)
        .http_client(https::client())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_adapters_sum_up_to_a_platform() {
        fn is_platform<T: crate::ports::Platform>() {}
        is_platform::<AwsPlatform>();
    }

    #[test]
    fn a_call_has_time_for_a_second_attempt_and_a_tick_for_all_its_calls() {
        assert!(ATTEMPT_TIMEOUT * 2 < OPERATION_TIMEOUT);
        assert!(CONNECT_TIMEOUT < ATTEMPT_TIMEOUT);
        assert!(OPERATION_TIMEOUT * 5 <= Duration::from_secs(60));
    }
}
