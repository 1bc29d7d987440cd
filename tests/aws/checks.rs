//! Latency and metrics of the application's own: read right in both arms, judged, and never good news when
//! they were not read whole.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::traffic::{Counts, Generated, Metric, Minute, Point, Traffic, luck};
use crate::world::World;

/// The baseline: an hour of stable alone before the start.
const BASELINE_MINUTES: i64 = 60;
/// One request in so many is rated, timed by the application and classified.
const MEASURED: u64 = 5;
/// Median response time: the bin that begins at 1.1^-24 s, a tenth of a second.
const LATENCY_BIN: i32 = -24;
/// Median speed: the bin that begins at 1.1^36, 31 tokens a second.
const SPEED_BIN: i32 = 36;
/// How far a bad canary's distributions are off: half as much again.
const OFF_BINS: i32 = 4;

/// A healthy shop that publishes all there is, with a canary that may be bad in one check and in no other.
struct Shop {
    bad: Option<&'static str>,
}

/// What one arm published in a minute, as the function should have read it.
struct Published {
    requests: u64,
    latency: BTreeMap<i32, u64>,
    thumbs: (u64, u64),
    speed: BTreeMap<i32, u64>,
    predictions: [u64; 2],
}

/// Draws so many numbers from 0 to 1, the same in every run.
fn draws(stream: u64, count: u64) -> impl Iterator<Item = f64> {
    (0..count).map(move |at| luck(stream << 24 | at))
}

/// A histogram around a bin, about 1.6 times as wide as its middle at one standard deviation.
fn histogram(stream: u64, count: u64, middle: i32) -> BTreeMap<i32, u64> {
    let mut bins = BTreeMap::new();
    let rolls = [0, 1, 2].map(|roll| draws(stream * 3 + roll, count));
    let [one, two, three] = rolls;
    for ((one, two), three) in one.zip(two).zip(three) {
        *bins.entry(middle + ((one + two + three - 1.5) * 10.0).round() as i32).or_insert(0) += 1;
    }
    bins
}

impl Shop {
    fn published(&self, minute: i64, group: &str, counts: &Counts) -> Published {
        let arm = u64::from(group == "canary");
        let stream = |kind: u64| ((minute + 1_000).unsigned_abs() * 2 + arm) * 4 + kind;
        let bad = |check: &str| arm == 1 && self.bad == Some(check);
        let measured = counts.requests / MEASURED;
        let hits =
            |kind: u64, rate: f64| draws(stream(kind) * 3, measured).filter(|draw| *draw < rate).count();
        let off = |check: &str, by: i32| if bad(check) { by } else { 0 };
        let down = hits(1, if bad("thumbs_down") { 0.12 } else { 0.04 }) as u64;
        let first = hits(3, if bad("prediction") { 0.5 } else { 0.7 }) as u64;
        Published {
            requests: counts.requests,
            latency: histogram(stream(0), counts.requests, LATENCY_BIN + off("latency", OFF_BINS)),
            thumbs: (down, measured),
            speed: histogram(stream(2), measured, SPEED_BIN - off("speed", OFF_BINS)),
            predictions: [first, measured - first],
        }
    }
}

/// Dimensions of one arm of the application.
fn version(group: &str) -> Value {
    json!({ "Version": if group == "canary" { "v42" } else { "v41" } })
}

impl Published {
    fn points(&self, group: &'static str) -> Vec<Point> {
        let own = |name: &'static str, dimensions: Value, form: Value| Point {
            metric: Metric::Own(name, dimensions),
            form,
        };
        let sum = |count: u64| json!({ "sum": count, "count": count });
        let label = |label: &str| json!({ "Version": version(group)["Version"], "label": label });
        let mut points = vec![
            Point { metric: Metric::Latency(group), form: json!({ "bins": self.latency }) },
            own("Thumbs", version(group), sum(self.thumbs.1)),
            own("ThumbsDown", version(group), sum(self.thumbs.0)),
            own("Speed", version(group), json!({ "bins": self.speed })),
            own("Predictions", label("a"), sum(self.predictions[0])),
            own("Predictions", label("b"), sum(self.predictions[1])),
        ];
        points.retain(|point| point.form["count"] != json!(0) && point.form["bins"] != json!({}));
        points
    }
}

impl Traffic for Shop {
    fn at(&self, minute: i64, share: f64) -> Minute {
        Generated::HEALTHY.at(minute, share)
    }

    fn points(&self, minute: i64, share: f64) -> Vec<Point> {
        let Minute { stable, canary } = self.at(minute, share);
        let groups = [("stable", stable), ("canary", canary)];
        let of_group = |(group, counts): (&'static str, Option<Counts>)| {
            Some(self.published(minute, group, &counts?).points(group))
        };
        groups.into_iter().filter_map(of_group).flatten().collect()
    }
}

/// Every kind of check.
fn checks() -> Value {
    let metric = |name: &str| {
        json!({
            "namespace": "Shop", "metric": name,
            "stable": version("stable"), "canary": version("canary"),
        })
    };
    let classes = json!({
        "namespace": "Shop", "metric": "Predictions", "dimension": "label", "values": ["a", "b"],
        "stable": version("stable"), "canary": version("canary"),
    });
    json!({
        "errors": {},
        "latency": { "quantiles": ["p50", "p95", "p99"] },
        "thumbs_down": { "ratio": { "bad": metric("ThumbsDown"), "total": metric("Thumbs") } },
        "speed": { "values": metric("Speed"), "worse": "lower", "quantiles": ["p50"] },
        "prediction": { "classes": classes },
    })
}

/// A shop with its baseline behind it and its rollout begun. The minute of the first shift.
fn begun(traffic: &Shop, plan: Value) -> (World, i64) {
    let world = World::new();
    for minute in -BASELINE_MINUTES..0 {
        world.publish_all(minute, 0.0, traffic);
    }
    world.start(&world.plan(crate::world::with(json!({ "checks": checks() }), plan)));
    let (first, report) = world.live_until_shift(0, traffic);
    assert_eq!(world.rule().share(&world), 5.0, "{report}");
    (world, first)
}

/// A canary that is bad in one check is drained, and that check is named.
fn drained_by(check: &'static str) {
    let traffic = Shop { bad: Some(check) };
    let (world, first) = begun(&traffic, json!({ "bake": "40m" }));
    let (_, report) = world.live_until_shift(first + 1, &traffic);
    assert_eq!(report["decision"], json!("drain"), "{report}");
    assert_eq!(report["judgement"]["reason"]["code"], json!("worse_than_stable"), "{report}");
    assert_eq!(report["judgement"]["reason"]["check"], json!(check), "{report}");
    assert_eq!((world.rule().share(&world), world.record().phase()), (0.0, "drained"));
    let pages = world.pages();
    assert_eq!(pages.len(), 1);
    assert!(pages[0].body.contains(check), "{}", pages[0].body);
}

#[test]
fn a_slower_canary_is_drained() {
    drained_by("latency");
}

#[test]
fn a_canary_whose_users_complain_is_drained() {
    drained_by("thumbs_down");
}

#[test]
fn a_canary_with_lower_values_is_drained_where_lower_is_worse() {
    drained_by("speed");
}

#[test]
fn a_canary_that_answers_in_other_proportions_is_drained() {
    drained_by("prediction");
}

#[test]
fn a_canary_that_is_as_good_in_every_check_leaves_the_first_step() {
    let traffic = Shop { bad: None };
    let (world, first) = begun(&traffic, json!({}));
    let (_, report) = world.live_until_shift(first + 1, &traffic);
    assert_eq!((&report["decision"], world.rule().share(&world)), (&json!("promote"), 25.0), "{report}");
}

#[test]
fn a_check_that_was_not_read_whole_is_blind_and_raises_nothing() {
    let traffic = Shop { bad: None };
    let (world, first) = begun(&traffic, json!({ "bake": "20m", "blind_after": "60m" }));
    for minute in first + 1..first + 22 {
        world.live(minute, &traffic);
    }
    let parts = ["TargetResponseTime", "TC(:", "SampleCount", "Thumbs", "ThumbsDown", "Speed", "Predictions"];
    for (minute, part) in (first + 22..).zip(parts) {
        world.publish_all(minute, 5.0, &traffic);
        world.faults(&json!([{
            "op": "GetMetricData", "kind": "result", "status_code": "PartialData", "where": part, "keep": 0,
            "n": -1,
        }]));
        let report = world.tick(minute);
        let reason = &report["judgement"]["reason"];
        assert_eq!(report["judgement"]["verdict"], json!("blind"), "{part}: {report}");
        assert_eq!(reason["code"], json!("read_incomplete"), "{part}: {report}");
        assert!(reason["detail"].as_str().is_some_and(|detail| detail.contains(part)), "{part}: {report}");
        assert_eq!((&report["decision"], world.rule().share(&world)), (&json!("hold"), 5.0), "{part}");
        world.no_faults();
    }
    let (_, report) = world.live_until_shift(first + 22 + parts.len() as i64, &traffic);
    assert_eq!(report["decision"], json!("promote"), "nothing else stood in the way: {report}");
}

/// The rows of the newest entry in the decision log, by minute.
fn rows_read(world: &World, from: i64, until: i64) -> Vec<(i64, Value)> {
    let log = world.log();
    let rows = log.last().and_then(|entry| entry["rows"].as_array()).expect("rows in the log");
    let minute_of = |row: &Value| (from..until).find(|minute| row["minute"] == json!(world.minute(*minute)));
    rows.iter().filter_map(|row| Some((minute_of(row)?, row.clone()))).collect()
}

/// Counts below edges are those of the histogram that was published, and there is at least one.
fn exact(read: &Value, histogram: &BTreeMap<i32, u64>) {
    assert_eq!(read["count"], json!(histogram.values().sum::<u64>()), "{read}");
    let le = read["le"].as_object().unwrap_or_else(|| panic!("no counts: {read}"));
    assert!(!le.is_empty());
    for (edge, count) in le {
        let below: u64 =
            histogram.range(..edge.parse::<i32>().expect("an edge")).map(|(_, count)| count).sum();
        assert_eq!(count, &json!(below), "below 1.1^{edge}: {read}");
    }
}

/// Minutes after the first shift of a healthy shop, each with what was read and what was published.
fn read_and_published(look: impl Fn(&Value, &Published)) {
    let traffic = Shop { bad: None };
    let (world, first) = begun(&traffic, json!({ "bake": "40m" }));
    let until = first + 10;
    for minute in first + 1..until {
        world.live(minute, &traffic);
        // Others publish the same metrics of other versions, services and labels.
        let others = [
            json!({ "Version": "v40" }),
            json!({ "Version": "v42", "Service": "search" }),
            json!({ "Version": "v42", "label": "c" }),
            json!({}),
        ];
        let point = |name, dimensions: &Value| Point {
            metric: Metric::Own(name, dimensions.clone()),
            form: json!({ "values": [1.0, 400.0], "counts": [77, 77] }),
        };
        let names = ["Thumbs", "ThumbsDown", "Speed", "Predictions"];
        let points: Vec<Point> =
            names.iter().flat_map(|name| others.iter().map(move |other| point(name, other))).collect();
        world.publish_points(minute, &points);
    }
    world.tick(until);
    let rows = rows_read(&world, first + 1, until);
    assert!(!rows.is_empty(), "the newest entry has the newest minutes");
    for (minute, row) in rows {
        let Minute { stable, canary } = traffic.at(minute, 5.0);
        for (group, counts) in [("stable", stable), ("canary", canary)] {
            let published = traffic.published(minute, group, &counts.expect("requests"));
            assert_eq!(row[group]["requests"], json!(published.requests), "{minute} {group}: {row}");
            look(&row[group], &published);
        }
    }
}

#[test]
fn latency_is_read_exactly_at_edges_in_both_arms() {
    read_and_published(|read, published| exact(&read["latency"], &published.latency));
}

#[test]
fn metrics_of_the_application_are_read_by_the_dimensions_of_each_arm() {
    read_and_published(|read, published| {
        let metrics = &read["metrics"];
        let (bad, total) = published.thumbs;
        assert_eq!(metrics["thumbs_down"], json!({ "bad": bad, "total": total }));
        let [a, b] = published.predictions;
        assert_eq!(metrics["prediction"], json!({ "classes": { "a": a, "b": b } }));
        exact(&metrics["speed"], &published.speed);
    });
}
