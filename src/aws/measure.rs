//! One read of the metrics for a person at a terminal: with their credentials, in the plan's region, and with
//! failures that say what to do.

use aws_config::{Region, SdkConfig};
use aws_sdk_cloudwatch::config::ProvideCredentials;

use super::cloudwatch::CloudWatch;
use super::failure::{chain, one_line};
use super::loader;
use super::sts::{ASSUME_ROLE, Roles};
use crate::ports::{Failure, FailureKind, MetricRead, MetricRequest};

/// Characters of what the SDK says of credentials.
const DETAIL_LIMIT: usize = 300;

/// Why nothing was read, in one line.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    /// Nobody who could ask.
    #[error(
        "there are no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: {0}"
    )]
    NoCredentials(String),
    /// The call failed.
    #[error("{}{}", .0, remedy(.0))]
    Failed(Failure),
}

fn remedy(failure: &Failure) -> &'static str {
    match failure.kind {
        // It says itself what to do.
        FailureKind::Denied if failure.operation == ASSUME_ROLE => "",
        FailureKind::Denied => "; the credentials must be valid and allow cloudwatch:GetMetricData",
        FailureKind::Throttled => "; try again in a minute",
        FailureKind::TimedOut | FailureKind::Unavailable => "; look at the network and try again",
        FailureKind::NotFound | FailureKind::Conflict | FailureKind::Malformed => "",
    }
}

/// Reads one request, in the region of its target groups: their metrics are nowhere else. Credentials and, for
/// tests, `AWS_ENDPOINT_URL` come from the environment.
///
/// # Errors
/// When there are no credentials, or CloudWatch gave no answer.
pub async fn read_once(request: &MetricRequest) -> Result<MetricRead, NotRead> {
    let config = loader().region(region(&request.targets.stable)).load().await;
    credentials(&config).await.map_err(NotRead::NoCredentials)?;
    let cloudwatch = match &request.targets.role_arn {
        Some(role_arn) => Roles::new(&config, "").assume(role_arn).await.map_err(NotRead::Failed)?.cloudwatch,
        None => CloudWatch::new(&config),
    };
    let mut reads = cloudwatch.read_metrics(&[request]).await;
    reads.pop().expect("one answer for each request").map_err(NotRead::Failed)
}

/// The region that an ARN names.
fn region(arn: &str) -> Option<Region> {
    arn.split(':').nth(3).map(|name| Region::new(name.to_owned()))
}

/// Asked for before any call, whose own failure would tell of signatures.
pub(super) async fn credentials(config: &SdkConfig) -> Result<(), String> {
    let Some(provider) = config.credentials_provider() else {
        return Err("none are configured".to_owned());
    };
    let found = provider.provide_credentials().await;
    found.map(drop).map_err(|error| one_line(&chain(&error), DETAIL_LIMIT))
}

#[cfg(test)]
mod tests {
    use super::super::failure::plain;
    use super::super::fixture::request;
    use super::*;

    #[test]
    fn the_region_is_that_of_the_groups() {
        let stable = request(0, 1).targets.stable;
        assert_eq!(region(&stable).unwrap().as_ref(), "cn-north-1");
    }

    #[test]
    fn a_failure_says_what_to_do_in_one_line() {
        let failed = |kind| NotRead::Failed(plain("cloudwatch GetMetricData", kind, "Code: why")).to_string();
        assert_eq!(
            failed(FailureKind::Denied),
            "cloudwatch GetMetricData: denied: Code: why; the credentials must be valid and allow \
             cloudwatch:GetMetricData"
        );
        assert!(failed(FailureKind::Throttled).ends_with("; try again in a minute"));
        assert!(failed(FailureKind::Malformed).ends_with("malformed: Code: why"));
    }
}
