//! Metrics from CloudWatch: GetMetricData for all rollouts of a role at once.
//!
//! A 200 answer may hold half of the data. What was not read whole is said in [`MetricRead::complete`], so
//! that nobody takes a missing minute for a quiet one.

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::types::ScanBy;
use futures_util::future::join_all;

use super::AwsPlatform;
use super::answers::{Answer, instant, read};
use super::calls::{Call, calls};
use super::failure::{again, failure};
use super::sts::{by_role, in_order};
use crate::ports::{Failure, MetricRead, MetricRequest, MetricSource};

/// Pages of one call. A full answer has a handful; more means that the paging goes round in circles.
const MAX_PAGES: usize = 100;

/// The service's client.
#[derive(Debug, Clone)]
pub(super) struct CloudWatch(Client);

impl MetricSource for AwsPlatform {
    async fn read_metrics(&self, requests: &[MetricRequest]) -> Vec<Result<MetricRead, Failure>> {
        let of_roles = by_role(requests.iter().map(|request| &request.targets));
        let asked = of_roles.iter().map(|of_role| self.metrics(of_role.role, of_role.of(requests)));
        let answers = join_all(asked).await;
        in_order(&of_roles, answers)
    }
}

impl AwsPlatform {
    async fn metrics(
        &self,
        role: Option<&str>,
        requests: Vec<&MetricRequest>,
    ) -> Vec<Result<MetricRead, Failure>> {
        match self.clients(role).await {
            Ok(clients) => clients.cloudwatch.read_metrics(&requests).await,
            Err(failure) => requests.iter().map(|_| Err(again(&failure))).collect(),
        }
    }
}

impl CloudWatch {
    /// One answer for each request, in order.
    pub(super) async fn read_metrics(&self, requests: &[&MetricRequest]) -> Vec<Result<MetricRead, Failure>> {
        let calls = calls(requests);
        let answers = join_all(calls.iter().map(|call| self.get_metric_data(call, requests))).await;
        let read = |(index, request): (usize, &&MetricRequest)| assemble(index, request, &calls, &answers);
        requests.iter().enumerate().map(read).collect()
    }

    /// Nothing is sent.
    pub(super) fn new(config: &SdkConfig) -> Self {
        Self(Client::new(config))
    }

    /// For what is no rollout's metric.
    pub(super) fn client(&self) -> &Client {
        &self.0
    }

    async fn get_metric_data(&self, call: &Call, requests: &[&MetricRequest]) -> Result<Answer, Failure> {
        let queries = call.queries(requests);
        let (mut answer, mut token) = (Answer::default(), None);
        for _ in 0..MAX_PAGES {
            let page = self
                .0
                .get_metric_data()
                .set_metric_data_queries(Some(queries.clone()))
                .start_time(instant(call.from))
                .end_time(instant(call.until))
                .scan_by(ScanBy::TimestampAscending)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| failure("cloudwatch GetMetricData", error))?;
            answer.messages(page.messages());
            page.metric_data_results().iter().for_each(|result| answer.page(result));
            token = page.next_token;
            if token.as_deref().unwrap_or_default().is_empty() {
                return Ok(answer);
            }
        }
        answer.trouble(format!("GetMetricData has more than {MAX_PAGES} pages"));
        Ok(answer)
    }
}

/// What was read of one request; one failed call is enough to fail it.
fn assemble(
    index: usize,
    request: &MetricRequest,
    calls: &[Call],
    answers: &[Result<Answer, Failure>],
) -> Result<MetricRead, Failure> {
    let mut pieces = Vec::new();
    for (call, answer) in calls.iter().zip(answers) {
        for piece in call.pieces.iter().filter(|piece| piece.request == index) {
            pieces.push((piece, answer.as_ref().map_err(again)?));
        }
    }
    Ok(read(index, request, &pieces))
}

#[cfg(test)]
mod tests {
    use super::super::failure::plain;
    use super::*;
    use crate::ports::FailureKind;
    use crate::rollout::plan::Targets;

    #[test]
    fn a_failed_call_fails_its_own_requests_only() {
        let targets = Targets {
            listener_rule: String::new(),
            stable: String::new(),
            canary: String::new(),
            role_arn: None,
        };
        let from: crate::units::Minute = "2026-03-01T10:00:00Z".parse().unwrap();
        let request = |start: i64, minutes: i64| MetricRequest {
            targets: targets.clone(),
            from: from.plus(start),
            until: from.plus(start + minutes),
            series: Vec::new(),
        };
        let requests = [request(0, 10_080), request(10_080, 5), request(10_080, 0)];
        let calls = calls(&requests);
        assert_eq!(calls.len(), 2);
        let failed = Err(plain("cloudwatch GetMetricData", FailureKind::Throttled, "Throttling"));
        let answers = [failed, Ok(Answer::default())];
        let reads: Vec<_> = (0..3).map(|index| assemble(index, &requests[index], &calls, &answers)).collect();
        assert_eq!(reads[0].as_ref().unwrap_err().kind, FailureKind::Throttled);
        let second = reads[1].as_ref().unwrap();
        assert_eq!(second.rows.len(), 5);
        assert!(second.complete.is_err());
        assert_eq!(reads[2].as_ref().unwrap(), &MetricRead { rows: Vec::new(), complete: Ok(()) });
    }
}
