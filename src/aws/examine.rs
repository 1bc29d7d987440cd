//! An installation from outside, for a person who wants to know whether it would work: with their own credentials,
//! and without a change to anything.

use std::sync::{Arc, Mutex, PoisonError};

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
use aws_sdk_elasticloadbalancingv2::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_elasticloadbalancingv2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_elasticloadbalancingv2::error::BoxError;
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

use super::answers::{instant, minute};
use super::failure::{failure, plain};
use super::{AwsPlatform, AwsSettings};
use crate::analysis::check::Check;
use crate::analysis::window::Arm;
use crate::doctor::{Examined, LOOKED_AT, Subscribers, TICKS_LOOKED_AT};
use crate::ports::{
    Failure, FailureKind, MetricRead, MetricRequest, MetricSource as _, RecordStore, Series, Split,
    TrafficRouter as _,
};
use crate::rollout::plan::Plan;
use crate::units::{Minute, Span};

const GET_TOPIC_ATTRIBUTES: &str = "sns GetTopicAttributes";

/// Where a function says that it carried its ticks out.
#[derive(Debug, Clone, Copy)]
pub struct TickMetric<'a> {
    /// The metric's namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its dimension.
    pub dimension: &'a str,
    /// The function.
    pub function: &'a str,
}

/// When one looks, and as which installation.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The machine's time.
    pub at: Timestamp,
    /// Minutes younger than this are not looked at by a tick.
    pub watermark: Span,
    /// Where ticks are counted; `None` if there is no function.
    pub ticks: Option<TickMetric<'a>>,
}

/// Looks at an installation, whose records are kept in `records`, and at the groups of a plan, all at the same time.
pub async fn examine(
    config: &SdkConfig,
    settings: AwsSettings,
    records: &impl RecordStore,
    plan: &Plan,
    look: Look<'_>,
) -> Examined {
    let clock = Clock::default();
    let ahead = Arc::clone(&clock.ahead);
    let platform = AwsPlatform::new(config, settings.clone());
    let (role, of_role) = match &plan.targets.role_arn {
        Some(role_arn) => match platform.roles.assume(role_arn).await {
            Ok(clients) => (Some(Ok(())), clients.config),
            Err(failure) => (Some(Err(failure)), None),
        },
        None => (None, None),
    };
    // By the role, if there is one, and with a clock. What is known of the role is known there, too.
    let seen_by = of_role.as_ref().unwrap_or(config);
    let watched = aws_sdk_elasticloadbalancingv2::config::Builder::from(seen_by).interceptor(clock).build();
    let mut there = AwsPlatform::new(seen_by, settings);
    there.elb = aws_sdk_elasticloadbalancingv2::Client::from_conf(watched);
    there.roles = platform.roles.clone();
    let mut plan = plan.clone();
    if of_role.is_some() {
        plan.targets.role_arn = None;
    }
    let plan = &plan;
    let (split, stable_targets, canary_targets, metrics, running, freeze, topic, ticks) = tokio::join!(
        split(&there, plan),
        there.healthy_targets(&plan.targets, Arm::Stable),
        there.healthy_targets(&plan.targets, Arm::Canary),
        metrics(&there, plan, look.at),
        records.running(),
        records.freeze(),
        subscribers(&platform),
        completed(&platform, look),
    );
    let clock_ahead = *ahead.lock().unwrap_or_else(PoisonError::into_inner);
    Examined {
        at: look.at,
        watermark: look.watermark,
        clock_ahead,
        role,
        split,
        stable_targets,
        canary_targets,
        metrics,
        running,
        freeze,
        topic,
        ticks,
    }
}

/// Compares the time that an answer carries with this machine's.
#[derive(Debug, Default)]
struct Clock {
    ahead: Arc<Mutex<Option<SignedDuration>>>,
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "Clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let now = Timestamp::now();
        let date = context.response().headers().get("date");
        let said = date.and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
        if let Some(said) = said {
            *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Some(now.duration_since(said));
        }
        Ok(())
    }
}

async fn split(platform: &AwsPlatform, plan: &Plan) -> Result<Split, Failure> {
    let read = platform.read_splits(std::slice::from_ref(&plan.targets)).await.pop();
    read.expect("one answer for each pair").map(|(split, _)| split)
}

/// Of what is compared with a quantile, whether there are samples is enough.
async fn metrics(platform: &AwsPlatform, plan: &Plan, at: Timestamp) -> Result<MetricRead, Failure> {
    let until = Minute::of(at);
    let of_check = |check: &Check| Series::of(check, Some(&Vec::new()));
    let series = plan.rules.checks.iter().filter_map(of_check).collect();
    let request =
        MetricRequest { targets: plan.targets.clone(), from: until.plus(-LOOKED_AT), until, series };
    let read = platform.read_metrics(std::slice::from_ref(&request)).await.pop();
    read.expect("one answer for each request")
}

async fn subscribers(platform: &AwsPlatform) -> Option<Result<Subscribers, Failure>> {
    let topic = Some(&platform.settings.topic_arn).filter(|topic| !topic.is_empty())?;
    let answer = platform.sns().get_topic_attributes().topic_arn(topic).send().await;
    Some(answer.map_err(|error| failure(GET_TOPIC_ATTRIBUTES, error)).and_then(|answer| {
        let attributes = answer.attributes.unwrap_or_default();
        let number = |name: &str| {
            let found = attributes.get(name).and_then(|text| text.parse().ok());
            found.ok_or_else(|| {
                plain(GET_TOPIC_ATTRIBUTES, FailureKind::Malformed, format!("there is no {name}"))
            })
        };
        let [confirmed, pending] = ["SubscriptionsConfirmed", "SubscriptionsPending"].map(number);
        Ok(Subscribers { confirmed: confirmed?, pending: pending? })
    }))
}

/// The function's own word on its ticks.
async fn completed(platform: &AwsPlatform, look: Look<'_>) -> Option<Result<Vec<(Minute, f64)>, Failure>> {
    let ticks = look.ticks?;
    let until = Minute::of(look.at);
    let dimension = Dimension::builder().name(ticks.dimension).value(ticks.function).build();
    let metric =
        Metric::builder().namespace(ticks.namespace).metric_name(ticks.name).dimensions(dimension).build();
    let query = MetricDataQuery::builder()
        .id("ticks")
        .metric_stat(MetricStat::builder().metric(metric).period(60).stat("Maximum").build())
        .build();
    let answer = platform
        .cloudwatch
        .client()
        .get_metric_data()
        .metric_data_queries(query)
        .start_time(instant(until.plus(-TICKS_LOOKED_AT)))
        .end_time(instant(until))
        .send()
        .await;
    Some(answer.map_err(|error| failure("cloudwatch GetMetricData", error)).map(|answer| {
        let results = answer.metric_data_results();
        let points = results.iter().flat_map(|result| result.timestamps().iter().zip(result.values()));
        points.filter_map(|(time, value)| Some((minute(time)?, *value))).collect()
    }))
}
