//! Which metrics are asked for, and where their values go: pure.
//!
//! A new count of the load balancer is one more [`Field`]; a new kind of series is one more arm in
//! [`of_series`] and one more [`Place`]. Cutting into calls (`calls`), completeness and rows (`answers`) do
//! not change.
//!
//! Ids look like `r0_s_req`: request, arm, and the field. Those of a series have its place in the request's
//! list: `r0_c_x1_total`. The edge 1.1^-25 of a distribution is `m25`, 1.1^3 is `p3`.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{Dimension, Metric as AwsMetric, MetricDataQuery, MetricStat};

use crate::analysis::check::{Metric, Statistic};
use crate::analysis::edge::Edge;
use crate::analysis::window::{Arm, ArmCounts};
use crate::ports::{MetricRequest, Series};
use crate::rollout::plan::{FunctionAlias, Targets};

const NAMESPACE: &str = "AWS/ApplicationELB";
/// Where Lambda publishes. An alias that splits its calls has them by `ExecutedVersion`.
const OF_FUNCTIONS: &str = "AWS/Lambda";
/// Of a function, in milliseconds; published for every call.
const DURATION: &str = "Duration";
/// A thousand is 1.1^72.5. Counts are exact on a power alone, so an edge of a function's lies 4.4 % lower than it says,
/// in both arms.
const MILLISECONDS: i32 = 72;
/// In seconds; published for minutes in which a target answered.
const LATENCY: &str = "TargetResponseTime";
const SUM: &str = "Sum";
const SAMPLE_COUNT: &str = "SampleCount";
const MINIMUM: &str = "Minimum";
/// Seconds. ALB publishes by the minute.
const PERIOD: i32 = 60;
/// CloudWatch takes no more decimals in a statistic. They tell an edge of 1 ms to one part in ten million of
/// its bin.
const EDGE_DECIMALS: usize = 10;
/// The least positive value that can be told in so many decimals. Edges below it mean "above zero".
const EDGE_LEAST: f64 = 1e-10;

/// A count of the load balancer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
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

    /// What a function has of it. A call of a function ends well or in an error, and is counted with its end.
    fn of_function(self) -> Option<&'static str> {
        match self {
            Self::Requests => Some("Invocations"),
            Self::Http5xx => Some("Errors"),
            Self::Http2xx | Self::Http3xx | Self::Http4xx => None,
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

    pub(super) fn set(self, counts: &mut ArmCounts, value: u64) {
        match self {
            Self::Requests => counts.requests = value,
            Self::Http2xx => counts.http_2xx = Some(value),
            Self::Http3xx => counts.http_3xx = Some(value),
            Self::Http4xx => counts.http_4xx = Some(value),
            Self::Http5xx => counts.http_5xx = Some(value),
        }
    }
}

/// Whose distribution: a check's by its name, or the load balancer's latency.
pub(super) type Owner<'a> = Option<&'a str>;

/// Where a value goes. Queries come in an order in which the first to come makes room for the others: where
/// it has no point, theirs are not taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place<'a> {
    /// The load balancer's counts; `Requests` makes room for everything else of the arm.
    Field(Field),
    /// Samples of a distribution in all; makes room for those below its edges.
    Samples(Owner<'a>),
    /// Samples below an edge.
    Below(Owner<'a>, Edge),
    /// The least value of a check's metric: tells a minute without samples below the topmost edge from one
    /// that was published without a distribution.
    Least(&'a str, Edge),
    /// A ratio's total, of this check; makes room for the bad.
    Total(&'a str),
    /// A ratio's bad.
    Bad(&'a str),
    /// Samples of a check's class.
    Class(&'a str, &'a str),
}

/// A metric in all its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    namespace: String,
    name: String,
    dimensions: BTreeMap<String, String>,
}

impl Source {
    /// A metric of one arm's version of a function.
    fn of_version(function: FunctionAlias<'_>, targets: &Targets, arm: Arm, name: &str) -> Self {
        let FunctionAlias { function, alias } = function;
        let dimensions = [
            ("FunctionName", function.to_owned()),
            ("Resource", format!("{function}:{alias}")),
            ("ExecutedVersion", Targets::version(targets.of_arm(arm)).to_owned()),
        ];
        Self {
            namespace: OF_FUNCTIONS.to_owned(),
            name: name.to_owned(),
            dimensions: dimensions.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }

    /// Times to answer, as one arm publishes them.
    fn of_latency(targets: &Targets, arm: Arm) -> Self {
        match targets.function() {
            Some(function) => Self::of_version(function, targets, arm, DURATION),
            None => Self::of_group(targets, arm, LATENCY),
        }
    }

    /// A metric of one arm's target group.
    fn of_group(targets: &Targets, arm: Arm, name: &str) -> Self {
        let group = targets.of_arm(arm);
        let dimensions = [
            ("LoadBalancer", targets.load_balancer_dimension()),
            ("TargetGroup", Targets::target_group_dimension(group).to_owned()),
        ];
        Self {
            namespace: NAMESPACE.to_owned(),
            name: name.to_owned(),
            dimensions: dimensions.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }

    /// A metric of the application's own, as one arm publishes it.
    fn of_application(metric: &Metric, arm: Arm) -> Self {
        let own = match arm {
            Arm::Stable => &metric.stable,
            Arm::Canary => &metric.canary,
        };
        let dimensions = metric.dimensions.iter().chain(own);
        Self {
            namespace: metric.namespace.clone(),
            name: metric.metric.clone(),
            dimensions: dimensions.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }

    fn with(mut self, dimension: &str, value: &str) -> Self {
        self.dimensions.insert(dimension.to_owned(), value.to_owned());
        self
    }
}

/// One statistic of one metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query<'a> {
    /// Unique among all requests.
    pub(super) id: String,
    pub(super) arm: Arm,
    pub(super) place: Place<'a>,
    pub(super) source: Source,
    statistic: String,
}

impl<'a> Query<'a> {
    fn new(id: &str, arm: Arm, place: Place<'a>, source: Source, statistic: &str) -> Self {
        Self { id: id.to_owned(), arm, place, source, statistic: statistic.to_owned() }
    }

    fn prefixed(self, prefix: &str) -> Self {
        Self { id: format!("{prefix}_{}", self.id), ..self }
    }

    /// For troubles: metric, statistic and arm.
    pub(super) fn name(&self) -> String {
        let class = match self.place {
            Place::Class(_, class) => format!(" {class}"),
            _ => String::new(),
        };
        format!("{}{class} {} of {}", self.source.name, self.statistic, self.arm)
    }

    /// As it is sent.
    pub(super) fn sent(&self) -> MetricDataQuery {
        let dimension =
            |(name, value): (&String, &String)| Dimension::builder().name(name).value(value).build();
        let metric = AwsMetric::builder()
            .namespace(&self.source.namespace)
            .metric_name(&self.source.name)
            .set_dimensions(Some(self.source.dimensions.iter().map(dimension).collect()))
            .build();
        let stat = MetricStat::builder().metric(metric).period(PERIOD).stat(&self.statistic).build();
        MetricDataQuery::builder().id(&self.id).metric_stat(stat).build()
    }
}

/// All queries of the `index`-th request. Those of one metric are neighbours: up to five of its statistics
/// in one call are charged as one.
pub(super) fn queries(index: usize, request: &MetricRequest) -> Vec<Query<'_>> {
    let targets = &request.targets;
    let letter = |arm| match arm {
        Arm::Stable => 's',
        Arm::Canary => 'c',
    };
    let mut all = Vec::new();
    for arm in Arm::BOTH {
        let of_arm = Field::ALL.into_iter().filter_map(|field| of_field(field, targets, arm));
        all.extend(of_arm.map(|query| query.prefixed(&format!("r{index}_{}", letter(arm)))));
    }
    for (at, series) in request.series.iter().enumerate() {
        for arm in Arm::BOTH {
            let prefix = format!("r{index}_{}_x{at}", letter(arm));
            all.extend(of_series(series, targets, arm).into_iter().map(|query| query.prefixed(&prefix)));
        }
    }
    all
}

fn of_field(field: Field, targets: &Targets, arm: Arm) -> Option<Query<'static>> {
    let source = match targets.function() {
        Some(function) => Source::of_version(function, targets, arm, field.of_function()?),
        None => Source::of_group(targets, arm, field.metric()),
    };
    Some(Query::new(field.id(), arm, Place::Field(field), source, SUM))
}

fn of_series<'a>(series: &'a Series, targets: &Targets, arm: Arm) -> Vec<Query<'a>> {
    match series {
        Series::Latency { edges } => {
            let unit = if targets.function().is_some() { MILLISECONDS } else { 0 };
            distribution(None, &Source::of_latency(targets, arm), edges, unit, arm)
        }
        Series::Values { check, source, edges } => {
            let source = Source::of_application(source, arm);
            let mut queries = distribution(Some(check), &source, edges, 0, arm);
            if let Some(top) = edges.last() {
                queries.push(Query::new("min", arm, Place::Least(check, *top), source, MINIMUM));
            }
            queries
        }
        Series::Ratio { check, source } => {
            let query = |id, place, metric: &Metric| {
                Query::new(id, arm, place, Source::of_application(metric, arm), statistic(metric))
            };
            let total = query("total", Place::Total(check), &source.total);
            vec![total, query("bad", Place::Bad(check), &source.bad)]
        }
        Series::Classes { check, source, values } => {
            let (metric, statistic) =
                (Source::of_application(&source.metric, arm), statistic(&source.metric));
            let query = |(at, class): (usize, &'a String)| {
                let source = metric.clone().with(&source.dimension, class);
                Query::new(&format!("class{at}"), arm, Place::Class(check, class), source, statistic)
            };
            values.iter().enumerate().map(query).collect()
        }
    }
}

/// Samples in all, then those below each edge, so many powers higher where the samples are in a smaller unit.
fn distribution<'a>(
    owner: Owner<'a>,
    source: &Source,
    edges: &[Edge],
    unit: i32,
    arm: Arm,
) -> Vec<Query<'a>> {
    let samples = Query::new("n", arm, Place::Samples(owner), source.clone(), SAMPLE_COUNT);
    let below = |edge: &Edge| {
        let place = Place::Below(owner, *edge);
        let statistic = samples_below(Edge(edge.0.saturating_add(unit)));
        Query::new(&edge_id(*edge), arm, place, source.clone(), &statistic)
    };
    let mut queries = vec![samples];
    queries.extend(edges.iter().map(below));
    queries
}

fn edge_id(edge: Edge) -> String {
    let sign = if edge.0 < 0 { 'm' } else { 'p' };
    format!("{sign}{}", edge.0.unsigned_abs())
}

/// The statistic that counts the samples below an edge. On an edge it is exact.
fn samples_below(edge: Edge) -> String {
    format!("TC(:{:.EDGE_DECIMALS$})", edge.value().max(EDGE_LEAST))
}

fn statistic(metric: &Metric) -> &'static str {
    match metric.statistic {
        Statistic::Sum => SUM,
        Statistic::SampleCount => SAMPLE_COUNT,
    }
}

/// What a series says of a distribution: whose, the metric's name, and the edges below which was counted.
pub(super) fn spread(series: &Series) -> Option<(Owner<'_>, &str, &[Edge])> {
    match series {
        Series::Latency { edges } => Some((None, LATENCY, edges)),
        Series::Values { check, source, edges } => Some((Some(check), &source.metric, edges)),
        Series::Ratio { .. } | Series::Classes { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{asked, classes, latency, ratio, request, values};
    use super::*;

    /// Namespace, name, dimensions and statistic as they are sent.
    fn sent(request: &MetricRequest, id: &str) -> (String, String, Vec<(String, String)>, String) {
        let queries = queries(0, request);
        let query = queries.iter().find(|query| query.id == id).unwrap_or_else(|| panic!("no {id}")).sent();
        assert_eq!(query.id(), Some(id));
        let stat = query.metric_stat().unwrap();
        assert_eq!(stat.period(), Some(60));
        let metric = stat.metric().unwrap();
        let text = |text: Option<&str>| text.unwrap().to_owned();
        let dimensions =
            metric.dimensions().iter().map(|dimension| (text(dimension.name()), text(dimension.value())));
        (text(metric.namespace()), text(metric.metric_name()), dimensions.collect(), text(stat.stat()))
    }

    fn pairs(dimensions: &[(&str, &str)]) -> Vec<(String, String)> {
        dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn ids(request: &MetricRequest) -> Vec<String> {
        queries(0, request).into_iter().map(|query| query.id).collect()
    }

    #[test]
    fn a_function_is_read_by_its_alias_and_version() {
        let targets = Targets::of_function("pay", "live", "7", "8");
        let request = MetricRequest { targets, ..asked(0, 1, [latency(0..1)]) };
        let dimensions = |version| {
            pairs(&[("ExecutedVersion", version), ("FunctionName", "pay"), ("Resource", "pay:live")])
        };
        let all = ids(&request);
        assert_eq!(
            all,
            [
                "r0_s_req",
                "r0_s_5xx",
                "r0_c_req",
                "r0_c_5xx",
                "r0_s_x0_n",
                "r0_s_x0_p0",
                "r0_c_x0_n",
                "r0_c_x0_p0"
            ]
        );
        for (id, name, version, statistic) in [
            ("r0_s_req", "Invocations", "7", "Sum"),
            ("r0_c_5xx", "Errors", "8", "Sum"),
            ("r0_c_x0_n", "Duration", "8", "SampleCount"),
            // Not quite a second, in milliseconds: 1.1^72.
            ("r0_s_x0_p0", "Duration", "7", "TC(:955.5938177273)"),
        ] {
            let expected =
                ("AWS/Lambda".to_owned(), name.to_owned(), dimensions(version), statistic.to_owned());
            assert_eq!(sent(&request, id), expected);
        }
    }

    #[test]
    fn a_query_of_the_load_balancer_names_both_dimensions_and_nothing_else() {
        let request = asked(0, 60, [latency(-25..-24)]);
        let group =
            |group: &str| pairs(&[("LoadBalancer", "app/web/50dc6c495c0c9188"), ("TargetGroup", group)]);
        for (id, name, statistic) in [
            ("r0_s_req", "RequestCount", "Sum"),
            ("r0_s_x0_n", "TargetResponseTime", "SampleCount"),
            ("r0_s_x0_m25", "TargetResponseTime", "TC(:0.0922959982)"),
        ] {
            let dimensions = group("targetgroup/web-stable/73e2d6bc24d8a067");
            let expected =
                ("AWS/ApplicationELB".to_owned(), name.to_owned(), dimensions, statistic.to_owned());
            assert_eq!(sent(&request, id), expected);
        }
        let canary = sent(&request, "r0_c_x0_m25");
        assert_eq!(canary.2, group("targetgroup/web-canary/83e2d6bc24d8a068"));
    }

    #[test]
    fn a_query_of_the_application_names_the_dimensions_of_its_arm() {
        let request = asked(0, 60, [values("speed", 3..4), ratio("down"), classes("kind", &["cat", "dog"])]);
        let shop = |name: &str, dimensions: &[(&str, &str)], statistic: &str| {
            ("Shop".to_owned(), name.to_owned(), pairs(dimensions), statistic.to_owned())
        };
        for (letter, version) in [("s", "v41"), ("c", "v42")] {
            let of = |rest: &str| sent(&request, &format!("r0_{letter}_{rest}"));
            let own = [("Service", "web"), ("Version", version)];
            assert_eq!(of("x0_n"), shop("Speed", &own, "SampleCount"));
            assert_eq!(of("x0_p3"), shop("Speed", &own, "TC(:1.3310000000)"));
            assert_eq!(of("x0_min"), shop("Speed", &own, "Minimum"));
            assert_eq!(of("x1_bad"), shop("ThumbsDown", &own, "Sum"));
            assert_eq!(of("x1_total"), shop("Thumbs", &own, "SampleCount"));
            let class = [own[0], own[1], ("label", "dog")];
            assert_eq!(of("x2_class1"), shop("Predictions", &class, "Sum"));
        }
    }

    #[test]
    fn what_others_rest_on_comes_first_and_a_metrics_statistics_are_neighbours() {
        let plain = ids(&request(0, 60));
        assert_eq!((plain.len(), plain[0].as_str(), plain[9].as_str()), (10, "r0_s_req", "r0_c_5xx"));
        let all = ids(&asked(0, 60, [latency(-1..1), ratio("down"), values("speed", 3..4)]));
        assert_eq!(all[..10], plain);
        let rest = [
            "r0_s_x0_n",
            "r0_s_x0_m1",
            "r0_s_x0_p0",
            "r0_c_x0_n",
            "r0_c_x0_m1",
            "r0_c_x0_p0",
            "r0_s_x1_total",
            "r0_s_x1_bad",
            "r0_c_x1_total",
            "r0_c_x1_bad",
            "r0_s_x2_n",
            "r0_s_x2_p3",
            "r0_s_x2_min",
            "r0_c_x2_n",
            "r0_c_x2_p3",
            "r0_c_x2_min",
        ];
        assert_eq!(all[10..], rest);
    }

    #[test]
    fn as_many_statistics_are_asked_for_as_are_counted_for_the_bill() {
        let series = || {
            [
                latency(-60..35),
                latency(0..3),
                values("speed", 3..6),
                ratio("down"),
                classes("kind", &["a", "b"]),
            ]
        };
        let of_function = Targets::of_function("pay", "live", "7", "8");
        let requests = [
            request(0, 60),
            asked(0, 60, series()),
            MetricRequest { targets: of_function, ..asked(0, 1, series()) },
        ];
        for request in requests {
            let asked = queries(0, &request);
            let of_metric = asked.chunk_by(|one, other| one.source == other.source).map(<[_]>::len);
            assert_eq!(of_metric.collect::<Vec<_>>(), request.statistics());
        }
        assert_eq!(asked(0, 60, [latency(0..3)]).charged_metrics(), 12);
        assert_eq!(asked(0, 60, [latency(-60..35)]).charged_metrics(), 50);
    }

    #[test]
    fn ids_are_of_the_form_that_cloudwatch_takes() {
        let series = [latency(-300..300), values("a b", -2..2), ratio("C"), classes("d", &["Ä", "x y"])];
        for id in ids(&asked(0, 60, series)) {
            let form = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            assert!(id.starts_with('r') && id.chars().all(form) && id.len() < 255, "{id}");
        }
    }

    #[test]
    fn an_edge_is_told_in_ten_decimals_and_never_as_zero() {
        assert_eq!(samples_below(Edge(0)), "TC(:1.0000000000)");
        assert_eq!(samples_below(Edge(38)), "TC(:37.4043434448)");
        assert_eq!(samples_below(Edge(-48)), "TC(:0.0103074470)");
        assert_eq!(samples_below(Edge(-2_000)), "TC(:0.0000000001)");
    }
}
