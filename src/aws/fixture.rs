//! Requests for the tests of this module.

use std::ops::Range;

use crate::analysis::check::{ClassesSource, Metric, RatioSource, Statistic};
use crate::analysis::edge::Edge;
use crate::ports::{MetricRequest, Series};
use crate::rollout::plan::Targets;
use crate::units::Minute;

pub(super) fn at(minute: i64) -> Minute {
    "2026-03-01T10:00:00Z".parse::<Minute>().unwrap().plus(minute)
}

/// Without series.
pub(super) fn request(from: i64, until: i64) -> MetricRequest {
    asked(from, until, [])
}

pub(super) fn asked(from: i64, until: i64, series: impl Into<Vec<Series>>) -> MetricRequest {
    let arn = |rest: &str| format!("arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:{rest}");
    let targets = Targets {
        listener_rule: arn("listener-rule/app/web/50dc6c495c0c9188/f2f7dc8efc522ab2/9683b2d02a6cabee"),
        stable: arn("targetgroup/web-stable/73e2d6bc24d8a067"),
        canary: arn("targetgroup/web-canary/83e2d6bc24d8a068"),
        role_arn: None,
    };
    MetricRequest { targets, from: at(from), until: at(until), series: series.into() }
}

pub(super) fn latency(powers: Range<i32>) -> Series {
    Series::Latency { edges: powers.map(Edge).collect() }
}

pub(super) fn values(check: &str, powers: Range<i32>) -> Series {
    Series::Values { check: check.to_owned(), source: metric("Speed"), edges: powers.map(Edge).collect() }
}

pub(super) fn ratio(check: &str) -> Series {
    let total = Metric { statistic: Statistic::SampleCount, ..metric("Thumbs") };
    Series::Ratio { check: check.to_owned(), source: RatioSource { bad: metric("ThumbsDown"), total } }
}

pub(super) fn classes(check: &str, values: &[&str]) -> Series {
    let source = ClassesSource { metric: metric("Predictions"), dimension: "label".to_owned() };
    let values = values.iter().map(|class| (*class).to_owned()).collect();
    Series::Classes { check: check.to_owned(), source, values }
}

fn metric(name: &str) -> Metric {
    let dimension = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    Metric {
        namespace: "Shop".to_owned(),
        metric: name.to_owned(),
        dimensions: dimension("Service", "web"),
        stable: dimension("Version", "v41"),
        canary: dimension("Version", "v42"),
        statistic: Statistic::Sum,
    }
}
