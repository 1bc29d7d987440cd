//! Which metrics are asked for, in which calls, and how the answers become rows: pure.
//!
//! A new metric is one more line in [`queries`] and one more [`Field`]; ids, grouping, completeness and
//! cutting do not change.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MessageData, Metric, MetricDataQuery, MetricStat, StatusCode};

use crate::analysis::window::{Arm, ArmCounts, Row};
use crate::ports::MetricRequest;
use crate::rollout::plan::Targets;
use crate::units::{Minute, Share};

const NAMESPACE: &str = "AWS/ApplicationELB";
/// Seconds. ALB publishes by the minute.
const PERIOD: i32 = 60;
/// Queries of one GetMetricData call, by AWS's limit.
pub(super) const MAX_QUERIES: usize = 500;
/// Data points of one GetMetricData call, by AWS's limit.
pub(super) const MAX_POINTS: usize = 100_800;
/// Troubles named in one text. All of a call tend to have the same cause.
const TROUBLES_NAMED: usize = 3;

/// Where a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// The one metric that is published when it is zero: only a minute that has it has counts at all.
    Requests,
    Http2xx,
    Http3xx,
    Http4xx,
    Http5xx,
}

impl Field {
    const ALL: [Self; 5] = [Self::Requests, Self::Http2xx, Self::Http3xx, Self::Http4xx, Self::Http5xx];

    /// Last part of the query's id.
    fn id(self) -> &'static str {
        match self {
            Self::Requests => "req",
            Self::Http2xx => "2xx",
            Self::Http3xx => "3xx",
            Self::Http4xx => "4xx",
            Self::Http5xx => "5xx",
        }
    }

    fn metric(self) -> &'static str {
        match self {
            Self::Requests => "RequestCount",
            Self::Http2xx => "HTTPCode_Target_2XX_Count",
            Self::Http3xx => "HTTPCode_Target_3XX_Count",
            Self::Http4xx => "HTTPCode_Target_4XX_Count",
            Self::Http5xx => "HTTPCode_Target_5XX_Count",
        }
    }

    fn statistic(self) -> &'static str {
        "Sum"
    }

    fn set(self, counts: &mut ArmCounts, value: u64) {
        match self {
            Self::Requests => counts.requests = value,
            Self::Http2xx => counts.http_2xx = Some(value),
            Self::Http3xx => counts.http_3xx = Some(value),
            Self::Http4xx => counts.http_4xx = Some(value),
            Self::Http5xx => counts.http_5xx = Some(value),
        }
    }
}

/// One series of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Series {
    id: String,
    arm: Arm,
    field: Field,
}

/// All series of the `index`-th request. Ids look like `r0_s_req`.
fn queries(index: usize) -> Vec<Series> {
    let series = |arm: Arm, field: Field| {
        let letter = match arm {
            Arm::Stable => 's',
            Arm::Canary => 'c',
        };
        Series { id: format!("r{index}_{letter}_{}", field.id()), arm, field }
    };
    Arm::BOTH.into_iter().flat_map(|arm| Field::ALL.map(|field| series(arm, field))).collect()
}

/// Minutes of one request that are asked for in one call: all of them, unless the rollout is so long that
/// they exceed the call's data points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Index of the request.
    pub(super) request: usize,
    /// The first minute.
    pub(super) from: Minute,
    /// The minute after the last.
    pub(super) until: Minute,
}

/// What one call asks for. All queries of a call have one time range, so that of the pieces together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// Pieces of different requests.
    pub(super) pieces: Vec<Piece>,
    /// The earliest `from`.
    pub(super) from: Minute,
    /// The latest `until`.
    pub(super) until: Minute,
}

impl Call {
    fn with(&self, piece: Piece) -> Self {
        let mut pieces = self.pieces.clone();
        pieces.push(piece);
        Self { pieces, from: self.from.min(piece.from), until: self.until.max(piece.until) }
    }

    fn fits(&self) -> bool {
        let queries: usize = self.pieces.iter().map(|piece| queries(piece.request).len()).sum();
        queries <= MAX_QUERIES && queries.saturating_mul(minutes(self.from, self.until)) <= MAX_POINTS
    }

    /// The queries as they are sent.
    pub(super) fn queries(&self, requests: &[MetricRequest]) -> Vec<MetricDataQuery> {
        let of_piece = |piece: &Piece| {
            let targets = &requests[piece.request].targets;
            queries(piece.request).into_iter().map(|series| query(targets, series)).collect::<Vec<_>>()
        };
        self.pieces.iter().flat_map(of_piece).collect()
    }
}

fn minutes(from: Minute, until: Minute) -> usize {
    usize::try_from(until.since(from)).unwrap_or(0)
}

/// Spreads the requests over as few calls as the limits allow. Neighbours in time go together, since a
/// call reads the whole range from its earliest to its latest minute for each of its queries.
pub(super) fn calls(requests: &[MetricRequest]) -> Vec<Call> {
    let mut pieces: Vec<Piece> =
        requests.iter().enumerate().flat_map(|(index, request)| pieces(index, request)).collect();
    pieces.sort_by_key(|piece| piece.from);
    let mut calls: Vec<Call> = Vec::new();
    for piece in pieces {
        match calls.last().map(|call| call.with(piece)).filter(Call::fits) {
            Some(wider) => *calls.last_mut().expect("there is a call that was widened") = wider,
            None => calls.push(Call { pieces: vec![piece], from: piece.from, until: piece.until }),
        }
    }
    calls
}

fn pieces(request: usize, asked: &MetricRequest) -> Vec<Piece> {
    let longest = MAX_POINTS / queries(request).len();
    let all = minutes(asked.from, asked.until);
    let at = |minute: usize| asked.from.plus(i64::try_from(minute).unwrap_or(i64::MAX));
    let piece = |start: usize| Piece { request, from: at(start), until: at((start + longest).min(all)) };
    (0..all).step_by(longest).map(piece).collect()
}

fn query(targets: &Targets, series: Series) -> MetricDataQuery {
    let group = match series.arm {
        Arm::Stable => &targets.stable,
        Arm::Canary => &targets.canary,
    };
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let metric = Metric::builder()
        .namespace(NAMESPACE)
        .metric_name(series.field.metric())
        .dimensions(dimension("LoadBalancer", &targets.load_balancer_dimension()))
        .dimensions(dimension("TargetGroup", Targets::target_group_dimension(group)))
        .build();
    let stat = MetricStat::builder().metric(metric).period(PERIOD).stat(series.field.statistic()).build();
    MetricDataQuery::builder().id(series.id).metric_stat(stat).build()
}

/// What CloudWatch said of one series, over all pages.
#[derive(Debug, Default)]
pub(super) struct Found {
    points: BTreeMap<Minute, f64>,
    status: Option<StatusCode>,
    troubles: BTreeSet<String>,
}

/// What one call answered, over all pages.
#[derive(Debug, Default)]
pub(super) struct Answer {
    series: BTreeMap<String, Found>,
    /// About the call as a whole: no request of it was read whole.
    troubles: BTreeSet<String>,
}

impl Answer {
    /// Notes a trouble of the whole call.
    pub(super) fn trouble(&mut self, text: impl Into<String>) {
        self.troubles.insert(text.into());
    }

    /// Adds the messages of a page.
    pub(super) fn messages(&mut self, messages: &[MessageData]) {
        self.troubles.extend(messages.iter().map(told));
    }

    /// Adds one page of one series. A minute that comes twice is what it was said to be last; so is the
    /// status, since `PartialData` is the normal word for a page that others follow.
    pub(super) fn page(&mut self, result: &aws_sdk_cloudwatch::types::MetricDataResult) {
        let found = self.series.entry(result.id().unwrap_or_default().to_owned()).or_default();
        found.status = result.status_code().cloned();
        found.troubles.extend(result.messages().iter().map(told));
        let (times, values) = (result.timestamps(), result.values());
        if times.len() != values.len() {
            found.troubles.insert(format!("{} times for {} values", times.len(), values.len()));
        }
        for (time, value) in times.iter().zip(values) {
            if let Some(minute) = minute(time) {
                found.points.insert(minute, *value);
            } else {
                found.troubles.insert(format!("no such time: {}", time.secs()));
            }
        }
    }
}

fn told(message: &MessageData) -> String {
    let parts = [message.code(), message.value()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

fn minute(time: &DateTime) -> Option<Minute> {
    jiff::Timestamp::from_second(time.secs()).ok().map(Minute::of)
}

/// The first instant of a minute, as the SDK writes it.
pub(super) fn instant(minute: Minute) -> DateTime {
    DateTime::from_secs(minute.start().as_second())
}

/// The rows of one piece, and what of it was not read whole.
pub(super) fn rows(piece: Piece, answer: &Answer) -> (Vec<Row>, Vec<String>) {
    let mut troubles: Vec<String> = answer.troubles.iter().cloned().collect();
    let empty = |at: usize| Row {
        minute: piece.from.plus(i64::try_from(at).unwrap_or(i64::MAX)),
        share: Share::ZERO,
        stable: None,
        canary: None,
    };
    let mut rows: Vec<Row> = (0..minutes(piece.from, piece.until)).map(empty).collect();
    // RequestCount comes first: where it has no point, the other counts are incomplete and not taken.
    for series in queries(piece.request) {
        let name = format!("{} of {}", series.field.metric(), series.arm);
        let Some(found) = answer.series.get(&series.id) else {
            troubles.push(format!("{name} is missing from the answer"));
            continue;
        };
        troubles.extend(found.flaws().map(|flaw| format!("{name}: {flaw}")));
        for (minute, value) in found.points.range(piece.from..piece.until) {
            let Some(count) = whole(*value) else {
                troubles.push(format!("{name}: {value} at {minute} is no count"));
                continue;
            };
            let row = rows.get_mut(self::minutes(piece.from, *minute));
            let arm = row.map(|row| match series.arm {
                Arm::Stable => &mut row.stable,
                Arm::Canary => &mut row.canary,
            });
            match arm {
                Some(slot) if series.field == Field::Requests => {
                    series.field.set(slot.get_or_insert_default(), count);
                }
                Some(Some(counts)) => series.field.set(counts, count),
                Some(None) | None => {}
            }
        }
    }
    (rows, troubles)
}

impl Found {
    /// Why this series is not whole; nothing if it is.
    fn flaws(&self) -> impl Iterator<Item = String> {
        let status = match &self.status {
            Some(StatusCode::Complete) => None,
            Some(other) => Some(format!("status {other}")),
            None => Some("no status".to_owned()),
        };
        status.into_iter().chain(self.troubles.iter().cloned())
    }
}

/// A sum of ones, told as a floating-point number.
fn whole(value: f64) -> Option<u64> {
    // 2^53: every count up to here is exact as f64, and the cast can't saturate.
    (value.is_finite() && (0.0..=9_007_199_254_740_992.0).contains(&value)).then(|| value.round() as u64)
}

/// The troubles as one text; `Ok` if there is none.
pub(super) fn complete(troubles: &[String]) -> Result<(), String> {
    let mut named: Vec<&str> = Vec::new();
    for trouble in troubles {
        if !named.contains(&trouble.as_str()) {
            named.push(trouble);
        }
    }
    match named.len() {
        0 => Ok(()),
        n if n <= TROUBLES_NAMED => Err(named.join("; ")),
        n => Err(format!("{}; and {} more", named[..TROUBLES_NAMED].join("; "), n - TROUBLES_NAMED)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudwatch::types::MetricDataResult;

    fn at(minute: i64) -> Minute {
        "2026-03-01T10:00:00Z".parse::<Minute>().unwrap().plus(minute)
    }

    fn request(from: i64, until: i64) -> MetricRequest {
        let arn = |rest: &str| format!("arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:{rest}");
        let targets = Targets {
            listener_rule: arn("listener-rule/app/web/50dc6c495c0c9188/f2f7dc8efc522ab2/9683b2d02a6cabee"),
            stable: arn("targetgroup/web-stable/73e2d6bc24d8a067"),
            canary: arn("targetgroup/web-canary/83e2d6bc24d8a068"),
        };
        MetricRequest { targets, from: at(from), until: at(until) }
    }

    fn result(id: &str, status: StatusCode, points: &[(i64, f64)]) -> MetricDataResult {
        let times = points.iter().map(|(minute, _)| instant(at(*minute))).collect();
        MetricDataResult::builder()
            .id(id)
            .status_code(status)
            .set_timestamps(Some(times))
            .set_values(Some(points.iter().map(|(_, value)| *value).collect()))
            .build()
    }

    /// An answer for request 0 in which every series is complete and empty.
    fn silence() -> Answer {
        let mut answer = Answer::default();
        for series in queries(0) {
            answer.page(&result(&series.id, StatusCode::Complete, &[]));
        }
        answer
    }

    fn piece(from: i64, until: i64) -> Piece {
        Piece { request: 0, from: at(from), until: at(until) }
    }

    #[test]
    fn a_query_names_both_dimensions_and_nothing_else() {
        let requests = [request(0, 60)];
        let calls = calls(&requests);
        assert_eq!(calls.len(), 1);
        let queries = calls[0].queries(&requests);
        assert_eq!(queries.len(), 10);
        let first = &queries[0];
        assert_eq!(first.id(), Some("r0_s_req"));
        let stat = first.metric_stat().unwrap();
        assert_eq!((stat.period(), stat.stat()), (Some(60), Some("Sum")));
        let metric = stat.metric().unwrap();
        assert_eq!(metric.namespace(), Some("AWS/ApplicationELB"));
        assert_eq!(metric.metric_name(), Some("RequestCount"));
        let dimensions: Vec<_> =
            metric.dimensions().iter().map(|d| (d.name().unwrap(), d.value().unwrap())).collect();
        assert_eq!(
            dimensions,
            [
                ("LoadBalancer", "app/web/50dc6c495c0c9188"),
                ("TargetGroup", "targetgroup/web-stable/73e2d6bc24d8a067")
            ]
        );
        assert_eq!(queries[9].id(), Some("r0_c_5xx"));
    }

    #[test]
    fn requests_share_a_call_until_a_limit_is_reached() {
        let many: Vec<_> = (0..50).map(|_| request(0, 60)).collect();
        assert_eq!(calls(&many).len(), 1);
        let more: Vec<_> = (0..51).map(|_| request(0, 60)).collect();
        assert_eq!(calls(&more).len(), 2);
        // Two days each: 20 queries of 2,880 minutes fit, 40 do not.
        let long: Vec<_> = (0..4).map(|_| request(0, 2_880)).collect();
        assert_eq!(calls(&long).iter().map(|call| call.pieces.len()).collect::<Vec<_>>(), [3, 1]);
        // Far apart in time, the common range would be too long.
        assert_eq!(calls(&[request(0, 60), request(20_000, 20_060)]).len(), 2);
        assert!(calls(&[request(5, 5)]).is_empty());
        assert!(calls(&[]).is_empty());
    }

    #[test]
    fn no_call_exceeds_a_limit_and_no_minute_is_asked_for_twice_or_not_at_all() {
        let requests: Vec<_> = (0..120).map(|i| request(i * 37, i * 37 + (i * i * 13) % 25_000)).collect();
        let calls = calls(&requests);
        let mut asked = vec![0; requests.len()];
        for call in &calls {
            assert!(call.fits());
            let ids: BTreeSet<_> = call.pieces.iter().map(|piece| piece.request).collect();
            assert_eq!(ids.len(), call.pieces.len(), "ids are unique in a call");
            for piece in &call.pieces {
                assert!(call.from <= piece.from && piece.until <= call.until);
                asked[piece.request] += piece.until.since(piece.from);
            }
        }
        let wanted: Vec<_> = requests.iter().map(|request| request.until.since(request.from)).collect();
        assert_eq!(asked, wanted);
    }

    #[test]
    fn a_minute_has_counts_only_where_request_count_has_a_point() {
        let mut answer = silence();
        answer.page(&result("r0_s_req", StatusCode::Complete, &[(0, 8.0), (1, 0.0), (7, 3.0)]));
        answer.page(&result("r0_s_2xx", StatusCode::Complete, &[(0, 6.0), (2, 5.0)]));
        answer.page(&result("r0_s_5xx", StatusCode::Complete, &[(0, 1.4)]));
        let (rows, troubles) = rows(piece(0, 3), &answer);
        assert_eq!(complete(&troubles), Ok(()));
        assert_eq!(rows.iter().map(|row| row.minute).collect::<Vec<_>>(), [at(0), at(1), at(2)]);
        let counts = ArmCounts { requests: 8, http_2xx: Some(6), http_5xx: Some(1), ..ArmCounts::default() };
        assert_eq!(rows[0].stable, Some(counts));
        assert_eq!(rows[1].stable, Some(ArmCounts::default()));
        assert_eq!(rows[2].stable, None);
        assert!(rows.iter().all(|row| row.canary.is_none()));
    }

    #[test]
    fn rows_are_cut_to_the_request() {
        let mut answer = silence();
        answer.page(&result("r0_c_req", StatusCode::Complete, &[(-1, 1.0), (0, 2.0), (1, 3.0), (2, 4.0)]));
        let (rows, _) = rows(piece(0, 2), &answer);
        let requests: Vec<_> = rows.iter().map(|row| row.canary.as_ref().unwrap().requests).collect();
        assert_eq!(requests, [2, 3]);
    }

    #[test]
    fn pages_add_up_and_the_last_word_counts() {
        let mut answer = silence();
        answer.page(&result("r0_s_req", StatusCode::PartialData, &[(0, 1.0), (1, 2.0)]));
        answer.page(&result("r0_s_req", StatusCode::Complete, &[(1, 9.0), (2, 3.0)]));
        let (rows, troubles) = rows(piece(0, 3), &answer);
        assert!(troubles.is_empty(), "{troubles:?}");
        let requests: Vec<_> = rows.iter().map(|row| row.stable.as_ref().unwrap().requests).collect();
        assert_eq!(requests, [1, 9, 3]);
    }

    #[test]
    fn whatever_is_not_whole_is_said() {
        let said = |answer: &Answer| complete(&rows(piece(0, 3), answer).1).unwrap_err();
        for status in [StatusCode::PartialData, StatusCode::InternalError, StatusCode::Forbidden] {
            let mut answer = silence();
            answer.page(&result("r0_c_5xx", status.clone(), &[]));
            assert_eq!(said(&answer), format!("HTTPCode_Target_5XX_Count of canary: status {status}"));
        }
        let mut answer = silence();
        answer.page(&MetricDataResult::builder().id("r0_s_req").build());
        assert_eq!(said(&answer), "RequestCount of stable: no status");
        let mut answer = silence();
        let message = MessageData::builder().code("ArithmeticError").value("odd").build();
        let odd = MetricDataResult::builder().id("r0_s_req").status_code(StatusCode::Complete);
        answer.page(&odd.messages(message.clone()).build());
        assert_eq!(said(&answer), "RequestCount of stable: ArithmeticError: odd");
        let mut answer = silence();
        answer.messages(&[message]);
        assert_eq!(said(&answer), "ArithmeticError: odd");
        let mut answer = silence();
        answer.series.remove("r0_c_3xx");
        assert_eq!(said(&answer), "HTTPCode_Target_3XX_Count of canary is missing from the answer");
        assert!(said(&Answer::default()).ends_with("and 7 more"));
    }

    #[test]
    fn what_is_no_count_is_not_taken() {
        for value in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            let mut answer = silence();
            answer.page(&result("r0_s_req", StatusCode::Complete, &[(0, value)]));
            let (rows, troubles) = rows(piece(0, 1), &answer);
            assert_eq!(rows[0].stable, None, "{value}");
            assert_eq!(troubles.len(), 1, "{value}");
        }
    }
}
