//! How CloudWatch's answers become rows, and what of them was not read whole: pure.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{MessageData, MetricDataResult, StatusCode};

use super::calls::{Piece, later, minutes};
use super::queries::{Field, Owner, Place, queries, spread};
use crate::analysis::edge::Edge;
use crate::analysis::window::{Arm, ArmCounts, Distribution, MetricCounts, Row, Tally};
use crate::ports::{MetricRead, MetricRequest, Series};
use crate::units::{Minute, Share};

/// Troubles named in one text. All of a call tend to have the same cause.
const TROUBLES_NAMED: usize = 3;
/// A value so close below an edge, relative to it, may lie on it and be counted above it.
const ON_EDGE: f64 = 1e-9;

/// What CloudWatch said of one series, over all pages.
#[derive(Debug, Default)]
struct Found {
    points: BTreeMap<Minute, f64>,
    status: Option<StatusCode>,
    troubles: BTreeSet<String>,
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
    pub(super) fn page(&mut self, result: &MetricDataResult) {
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

pub(super) fn minute(time: &DateTime) -> Option<Minute> {
    jiff::Timestamp::from_second(time.secs()).ok().map(Minute::of)
}

/// The first instant of a minute, as the SDK writes it.
pub(super) fn instant(minute: Minute) -> DateTime {
    DateTime::from_secs(minute.start().as_second())
}

/// Puts the pieces of one request together again.
pub(super) fn read(index: usize, request: &MetricRequest, pieces: &[(&Piece, &Answer)]) -> MetricRead {
    let whole_calls = pieces.iter().flat_map(|(_, answer)| answer.troubles.iter().cloned());
    let mut troubles: Vec<String> = whole_calls.collect();
    let mut rows = empty_rows(request);
    // In their order: a query without a point leaves no room for those that rest on it.
    for (at, query) in queries(index, request).iter().enumerate() {
        for (piece, answer) in pieces.iter().filter(|(piece, _)| piece.queries.contains(&at)) {
            let Some(found) = answer.series.get(&query.id) else {
                troubles.push(format!("{} is missing from the answer", query.name()));
                continue;
            };
            troubles.extend(found.flaws().map(|flaw| format!("{}: {flaw}", query.name())));
            for (minute, value) in found.points.range(piece.from..piece.until) {
                let row = rows.get_mut(minutes(request.from, *minute));
                let put = row.map(|row| put(query.place, slot(row, query.arm), *value));
                if let Some(Err(flaw)) = put {
                    troubles.push(format!("{} at {minute}: {flaw}", query.name()));
                }
            }
        }
    }
    for series in &request.series {
        troubles.extend(settle(series, &mut rows));
    }
    if request.targets.function().is_some() {
        rows.iter_mut().for_each(answered);
    }
    MetricRead { rows, complete: complete(&troubles) }
}

/// A row for every minute asked for.
fn empty_rows(request: &MetricRequest) -> Vec<Row> {
    let empty =
        |at: usize| Row { minute: later(request.from, at), share: Share::ZERO, stable: None, canary: None };
    (0..minutes(request.from, request.until)).map(empty).collect()
}

/// A function has no status classes: a call that is no error went well, and none is under way.
fn answered(row: &mut Row) {
    for arm in Arm::BOTH {
        if let Some(counts) = slot(row, arm) {
            counts.http_2xx = Some(counts.requests.saturating_sub(counts.http_5xx.unwrap_or(0)));
        }
    }
}

fn slot(row: &mut Row, arm: Arm) -> &mut Option<ArmCounts> {
    match arm {
        Arm::Stable => &mut row.stable,
        Arm::Canary => &mut row.canary,
    }
}

/// Puts a value in its place, if there is room; `Err` with what is wrong with it.
fn put(place: Place<'_>, slot: &mut Option<ArmCounts>, value: f64) -> Result<(), String> {
    if let Place::Least(check, top) = place {
        return has_distribution(slot.as_mut(), check, top, value);
    }
    let count = whole(value).ok_or_else(|| format!("{value} is no count"))?;
    if place == Place::Field(Field::Requests) {
        slot.get_or_insert_default();
    }
    let Some(counts) = slot else { return Ok(()) };
    match place {
        Place::Field(field) => field.set(counts, count),
        Place::Samples(None) => counts.latency.get_or_insert_default().count = count,
        Place::Samples(Some(check)) => {
            let values = Distribution { count, le: BTreeMap::new() };
            counts.metrics.insert(check.to_owned(), MetricCounts::Values(values));
        }
        Place::Below(owner, edge) => {
            if let Some(distribution) = distribution(counts, owner) {
                distribution.le.insert(edge.0, count);
            }
        }
        Place::Total(check) => {
            let tally = Tally { bad: 0, total: count };
            counts.metrics.insert(check.to_owned(), MetricCounts::Ratio(tally));
        }
        Place::Bad(check) => {
            if let Some(MetricCounts::Ratio(tally)) = counts.metrics.get_mut(check) {
                tally.bad = count;
            }
        }
        Place::Class(check, class) => {
            let empty = || MetricCounts::Classes { classes: BTreeMap::new() };
            let classes = counts.metrics.entry(check.to_owned()).or_insert_with(empty);
            if let MetricCounts::Classes { classes } = classes {
                classes.insert(class.to_owned(), count);
            }
        }
        Place::Least(..) => {}
    }
    Ok(())
}

fn distribution<'a>(counts: &'a mut ArmCounts, owner: Owner<'_>) -> Option<&'a mut Distribution> {
    let Some(check) = owner else { return counts.latency.as_mut() };
    match counts.metrics.get_mut(check) {
        Some(MetricCounts::Values(values)) => Some(values),
        _ => None,
    }
}

/// Samples without any count below an edge may all lie above, or have been published in a form that
/// CloudWatch keeps no distribution of; the least of them tells.
fn has_distribution(
    counts: Option<&mut ArmCounts>,
    check: &str,
    top: Edge,
    least: f64,
) -> Result<(), String> {
    let Some(counts) = counts else { return Ok(()) };
    let uncounted = distribution(counts, Some(check)).is_some_and(|found| found.le.is_empty());
    if uncounted && least < top.value() * (1.0 - ON_EDGE) {
        counts.metrics.remove(check);
        return Err(format!(
            "{least}, and no count below any edge: statistic sets and negative values have none"
        ));
    }
    Ok(())
}

/// Gives the distributions of a series all their edges: one that was not named has no samples below it.
/// Those that contradict themselves are taken away and told.
fn settle(series: &Series, rows: &mut [Row]) -> Vec<String> {
    let Some((owner, metric, edges)) = spread(series) else { return Vec::new() };
    let mut troubles = Vec::new();
    for row in rows {
        for arm in Arm::BOTH {
            let minute = row.minute;
            let Some(counts) = slot(row, arm) else { continue };
            let Some(found) = distribution(counts, owner) else { continue };
            for edge in edges {
                found.le.entry(edge.0).or_insert(0);
            }
            if let Err(flaw) = in_order(found) {
                troubles.push(format!("{metric} of {arm} at {minute}: {flaw}"));
                match owner {
                    None => counts.latency = None,
                    Some(check) => drop(counts.metrics.remove(check)),
                }
            }
        }
    }
    troubles
}

/// Below a higher edge are no fewer samples, and nowhere more than there are.
fn in_order(found: &Distribution) -> Result<(), String> {
    let all = (i32::MAX, found.count);
    let counts: Vec<(i32, u64)> = found.le.iter().map(|(edge, count)| (*edge, *count)).chain([all]).collect();
    match counts.windows(2).find(|pair| pair[0].1 > pair[1].1) {
        None => Ok(()),
        Some(&[(low, more), (i32::MAX, count)]) => {
            Err(format!("{more} samples below {} where there are {count}", Edge(low)))
        }
        Some(pair) => {
            let [(low, more), (high, fewer)] = [pair[0], pair[1]];
            Err(format!("{more} samples below {}, {fewer} below {}", Edge(low), Edge(high)))
        }
    }
}

/// A minute with more is a counter of something else than events; recordings end here, too.
const COUNT_MAX: f64 = 1e12;

/// A sum of ones, told as a floating-point number.
fn whole(value: f64) -> Option<u64> {
    (value.is_finite() && (0.0..=COUNT_MAX).contains(&value)).then(|| value.round() as u64)
}

/// The troubles as one text; `Ok` if there is none.
fn complete(troubles: &[String]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let named: Vec<&str> =
        troubles.iter().map(String::as_str).filter(|trouble| seen.insert(*trouble)).collect();
    match named.len() {
        0 => Ok(()),
        n if n <= TROUBLES_NAMED => Err(named.join("; ")),
        n => Err(format!("{}; and {} more", named[..TROUBLES_NAMED].join("; "), n - TROUBLES_NAMED)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::calls::calls;
    use super::super::fixture::{asked, at, classes, latency, ratio, request, values};
    use super::*;

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
    fn silence(request: &MetricRequest) -> Answer {
        let mut answer = Answer::default();
        for query in queries(0, request) {
            answer.page(&result(&query.id, StatusCode::Complete, &[]));
        }
        answer
    }

    /// The same with points of some series.
    fn answer(request: &MetricRequest, series: &[(&str, &[(i64, f64)])]) -> Answer {
        let mut answer = silence(request);
        for (id, points) in series {
            assert!(answer.series.contains_key(*id), "{id} was not asked for");
            answer.page(&result(id, StatusCode::Complete, points));
        }
        answer
    }

    /// What is read of request 0 if every call of it is answered alike.
    fn read_of(request: &MetricRequest, answer: &Answer) -> MetricRead {
        let calls = calls(std::slice::from_ref(request));
        let pieces: Vec<_> =
            calls.iter().flat_map(|call| &call.pieces).map(|piece| (piece, answer)).collect();
        read(0, request, &pieces)
    }

    fn said(request: &MetricRequest, answer: &Answer) -> String {
        read_of(request, answer).complete.unwrap_err()
    }

    fn counted(count: u64, le: &[(i32, u64)]) -> Distribution {
        Distribution { count, le: le.iter().copied().collect() }
    }

    #[test]
    fn a_minute_has_counts_only_where_request_count_has_a_point() {
        let request = request(0, 3);
        let answer = answer(
            &request,
            &[
                ("r0_s_req", &[(0, 8.0), (1, 0.0), (7, 3.0)]),
                ("r0_s_2xx", &[(0, 6.0), (2, 5.0)]),
                ("r0_s_5xx", &[(0, 1.4)]),
            ],
        );
        let MetricRead { rows, complete } = read_of(&request, &answer);
        assert_eq!(complete, Ok(()));
        assert_eq!(rows.iter().map(|row| row.minute).collect::<Vec<_>>(), [at(0), at(1), at(2)]);
        let counts = ArmCounts { requests: 8, http_2xx: Some(6), http_5xx: Some(1), ..ArmCounts::default() };
        assert_eq!(rows[0].stable, Some(counts));
        assert_eq!(rows[1].stable, Some(ArmCounts::default()));
        assert_eq!(rows[2].stable, None);
        assert!(rows.iter().all(|row| row.canary.is_none()));
    }

    #[test]
    fn a_call_of_a_function_that_is_no_error_went_well() {
        let targets = crate::rollout::plan::Targets::of_function("pay", "live", "7", "8");
        let request = MetricRequest { targets, ..request(0, 2) };
        let answer =
            answer(&request, &[("r0_s_req", &[(0, 8.0), (1, 5.0)]), ("r0_s_5xx", &[(0, 2.0), (1, 0.0)])]);
        let rows = read_of(&request, &answer).rows;
        let counts = |requests, ok, errors| {
            let (http_2xx, http_5xx) = (Some(ok), Some(errors));
            Some(ArmCounts { requests, http_2xx, http_5xx, ..ArmCounts::default() })
        };
        assert_eq!([&rows[0].stable, &rows[1].stable], [&counts(8, 6, 2), &counts(5, 5, 0)]);
        assert!(rows.iter().all(|row| row.canary.is_none()));
    }

    #[test]
    fn rows_are_cut_to_the_request() {
        let request = request(0, 2);
        let answer = answer(&request, &[("r0_c_req", &[(-1, 1.0), (0, 2.0), (1, 3.0), (2, 4.0)])]);
        let rows = read_of(&request, &answer).rows;
        let requests: Vec<_> = rows.iter().map(|row| row.canary.as_ref().unwrap().requests).collect();
        assert_eq!(requests, [2, 3]);
    }

    #[test]
    fn pages_add_up_and_the_last_word_counts() {
        let request = request(0, 3);
        let mut answer = silence(&request);
        answer.page(&result("r0_s_req", StatusCode::PartialData, &[(0, 1.0), (1, 2.0)]));
        answer.page(&result("r0_s_req", StatusCode::Complete, &[(1, 9.0), (2, 3.0)]));
        let MetricRead { rows, complete } = read_of(&request, &answer);
        assert_eq!(complete, Ok(()));
        let requests: Vec<_> = rows.iter().map(|row| row.stable.as_ref().unwrap().requests).collect();
        assert_eq!(requests, [1, 9, 3]);
    }

    #[test]
    fn latency_is_counted_below_every_edge_in_minutes_with_samples() {
        let request = asked(0, 4, [latency(-26..-23)]);
        let answer = answer(
            &request,
            &[
                ("r0_s_req", &[(0, 9.0), (1, 9.0), (2, 9.0)]),
                ("r0_s_x0_n", &[(0, 9.0), (1, 3.0), (3, 5.0)]),
                ("r0_s_x0_m26", &[(0, 1.0)]),
                ("r0_s_x0_m25", &[(0, 4.000_000_4), (2, 2.0)]),
                ("r0_s_x0_m24", &[(0, 8.999_999_6), (3, 5.0)]),
                ("r0_c_req", &[(0, 2.0)]),
                ("r0_c_x0_n", &[(0, 2.0)]),
                ("r0_c_x0_m24", &[(0, 2.0)]),
            ],
        );
        let MetricRead { rows, complete } = read_of(&request, &answer);
        assert_eq!(complete, Ok(()));
        let latency = |row: usize, arm| rows[row].arm(arm).and_then(|counts| counts.latency.clone());
        assert_eq!(latency(0, Arm::Stable), Some(counted(9, &[(-26, 1), (-25, 4), (-24, 9)])));
        let slow = counted(3, &[(-26, 0), (-25, 0), (-24, 0)]);
        assert_eq!(latency(1, Arm::Stable), Some(slow), "a count that is missing is zero");
        assert_eq!(latency(2, Arm::Stable), None, "nothing was answered");
        assert_eq!(rows[3].stable, None, "no requests were counted");
        assert_eq!(latency(0, Arm::Canary), Some(counted(2, &[(-26, 0), (-25, 0), (-24, 2)])));
    }

    #[test]
    fn counts_that_contradict_each_other_are_not_taken() {
        let request = asked(0, 1, [latency(-26..-24), values("speed", 3..5)]);
        let with = |stem: &str, n: f64, low: f64, high: f64| {
            let ids = match stem {
                "r0_c_x0" => ["r0_c_x0_n", "r0_c_x0_m26", "r0_c_x0_m25"],
                _ => ["r0_c_x1_n", "r0_c_x1_p3", "r0_c_x1_p4"],
            };
            let points = [[(0, n)], [(0, low)], [(0, high)]];
            let requests: &[(i64, f64)] = &[(0, 9.0)];
            let mut series = vec![("r0_c_req", requests)];
            series.extend(ids.into_iter().zip(&points).map(|(id, points)| (id, points.as_slice())));
            read_of(&request, &answer(&request, &series))
        };
        for (stem, metric) in [("r0_c_x0", "TargetResponseTime"), ("r0_c_x1", "Speed")] {
            for (n, low, high) in [(9.0, 5.0, 4.0), (9.0, 5.0, 10.0), (0.0, 0.0, 1.0)] {
                let MetricRead { rows, complete } = with(stem, n, low, high);
                let said = complete.unwrap_err();
                assert!(said.starts_with(&format!("{metric} of canary at {}: ", at(0))), "{said}");
                let counts = rows[0].canary.as_ref().unwrap();
                assert!(counts.latency.is_none() && counts.metrics.is_empty(), "{counts:?}");
            }
            assert_eq!(with(stem, 9.0, 9.0, 9.0).complete, Ok(()));
        }
    }

    #[test]
    fn values_go_under_their_check() {
        let request = asked(0, 2, [values("speed", 3..5)]);
        let answer = answer(
            &request,
            &[
                ("r0_s_req", &[(0, 9.0), (1, 9.0)]),
                ("r0_s_x0_n", &[(0, 50.0)]),
                ("r0_s_x0_p4", &[(0, 20.0)]),
                ("r0_s_x0_min", &[(0, 1.2)]),
            ],
        );
        let MetricRead { rows, complete } = read_of(&request, &answer);
        assert_eq!(complete, Ok(()));
        let metrics = |row: usize| &rows[row].stable.as_ref().unwrap().metrics;
        assert_eq!(metrics(0)["speed"], MetricCounts::Values(counted(50, &[(3, 0), (4, 20)])));
        assert!(metrics(1).is_empty());
    }

    #[test]
    fn values_without_a_distribution_are_told_from_values_above_all_edges() {
        let request = asked(0, 1, [values("speed", 3..5)]);
        let least = |value: f64| {
            let points = [(0, value)];
            let series: [(&str, &[(i64, f64)]); 3] =
                [("r0_s_req", &[(0, 9.0)]), ("r0_s_x0_n", &[(0, 50.0)]), ("r0_s_x0_min", &points)];
            read_of(&request, &answer(&request, &series))
        };
        let above = least(Edge(4).value() * (1.0 - 1e-12));
        assert_eq!(above.complete, Ok(()));
        let metrics = &above.rows[0].stable.as_ref().unwrap().metrics;
        assert_eq!(metrics["speed"], MetricCounts::Values(counted(50, &[(3, 0), (4, 0)])));
        for value in [1.46, 0.0, -2.0] {
            let MetricRead { rows, complete } = least(value);
            let said = complete.unwrap_err();
            assert!(said.starts_with("Speed Minimum of stable at ") && said.contains("negative"), "{said}");
            assert!(rows[0].stable.as_ref().unwrap().metrics.is_empty());
        }
    }

    #[test]
    fn a_ratio_is_there_where_its_total_is() {
        let request = asked(0, 4, [ratio("thumbs_down")]);
        let answer = answer(
            &request,
            &[
                ("r0_c_req", &[(0, 9.0), (1, 9.0), (2, 9.0)]),
                ("r0_c_x0_total", &[(0, 60.0), (1, 50.0), (3, 7.0)]),
                ("r0_c_x0_bad", &[(0, 70.0), (2, 5.0), (3, 1.0)]),
            ],
        );
        let MetricRead { rows, complete } = read_of(&request, &answer);
        assert_eq!(complete, Ok(()));
        let tally = |row: usize| rows[row].canary.as_ref()?.metrics.get("thumbs_down").cloned();
        assert_eq!(tally(0), Some(MetricCounts::Ratio(Tally { bad: 70, total: 60 })), "events may be more");
        assert_eq!(tally(1), Some(MetricCounts::Ratio(Tally { bad: 0, total: 50 })));
        assert_eq!((tally(2), tally(3)), (None, None));
        assert!(rows.iter().all(|row| row.stable.is_none()));
    }

    #[test]
    fn classes_that_were_not_counted_are_left_out() {
        let request = asked(0, 2, [classes("prediction", &["cat", "dog", "eel"])]);
        let answer = answer(
            &request,
            &[
                ("r0_s_req", &[(0, 9.0), (1, 9.0)]),
                ("r0_s_x0_class0", &[(0, 4.0)]),
                ("r0_s_x0_class2", &[(0, 1.0)]),
            ],
        );
        let MetricRead { rows, complete } = read_of(&request, &answer);
        assert_eq!(complete, Ok(()));
        let metrics = |row: usize| &rows[row].stable.as_ref().unwrap().metrics;
        let classes = [("cat".to_owned(), 4), ("eel".to_owned(), 1)].into();
        assert_eq!(metrics(0)["prediction"], MetricCounts::Classes { classes });
        assert!(metrics(1).is_empty());
    }

    #[test]
    fn a_request_that_was_cut_comes_back_as_one() {
        let request = asked(0, 60, [latency(-100..100), values("speed", 0..150)]);
        let calls = calls(std::slice::from_ref(&request));
        assert_eq!(calls.len(), 2);
        let points: &[(i64, f64)] = &[(59, 9.0)];
        let answer = answer(&request, &[("r0_c_req", points), ("r0_c_x0_n", points), ("r0_c_x1_n", points)]);
        let MetricRead { rows, complete } = read_of(&request, &answer);
        assert_eq!((rows.len(), complete), (60, Ok(())));
        let counts = rows[59].canary.as_ref().unwrap();
        assert_eq!((counts.requests, counts.latency.as_ref().unwrap().le.len()), (9, 200));
        let MetricCounts::Values(speed) = &counts.metrics["speed"] else { panic!("{counts:?}") };
        assert_eq!((speed.count, speed.le.len()), (9, 150));
    }

    #[test]
    fn whatever_is_not_whole_is_said() {
        let request = request(0, 3);
        for status in [StatusCode::PartialData, StatusCode::InternalError, StatusCode::Forbidden] {
            let mut answer = silence(&request);
            answer.page(&result("r0_c_5xx", status.clone(), &[]));
            let expected = format!("HTTPCode_Target_5XX_Count Sum of canary: status {status}");
            assert_eq!(said(&request, &answer), expected);
        }
        let mut answer = silence(&request);
        answer.page(&MetricDataResult::builder().id("r0_s_req").build());
        assert_eq!(said(&request, &answer), "RequestCount Sum of stable: no status");
        let mut answer = silence(&request);
        let message = MessageData::builder().code("ArithmeticError").value("odd").build();
        let odd = MetricDataResult::builder().id("r0_s_req").status_code(StatusCode::Complete);
        answer.page(&odd.messages(message.clone()).build());
        assert_eq!(said(&request, &answer), "RequestCount Sum of stable: ArithmeticError: odd");
        let mut answer = silence(&request);
        answer.messages(&[message]);
        assert_eq!(said(&request, &answer), "ArithmeticError: odd");
        assert!(said(&request, &Answer::default()).ends_with("and 7 more"));
    }

    #[test]
    fn a_series_that_is_not_whole_is_named_by_metric_statistic_and_arm() {
        let series =
            [latency(-26..-24), values("speed", 3..5), ratio("thumbs_down"), classes("kind", &["cat"])];
        let request = asked(0, 3, series);
        for (id, name) in [
            ("r0_c_x0_n", "TargetResponseTime SampleCount of canary"),
            ("r0_s_x0_m25", "TargetResponseTime TC(:0.0922959982) of stable"),
            ("r0_c_x1_p4", "Speed TC(:1.4641000000) of canary"),
            ("r0_c_x1_min", "Speed Minimum of canary"),
            ("r0_s_x2_bad", "ThumbsDown Sum of stable"),
            ("r0_s_x2_total", "Thumbs SampleCount of stable"),
            ("r0_c_x3_class0", "Predictions cat Sum of canary"),
        ] {
            let mut answer = silence(&request);
            answer.page(&result(id, StatusCode::PartialData, &[]));
            assert_eq!(said(&request, &answer), format!("{name}: status PartialData"));
            answer.series.remove(id);
            assert_eq!(said(&request, &answer), format!("{name} is missing from the answer"));
        }
    }

    #[test]
    fn what_is_no_count_is_not_taken() {
        let request = asked(0, 1, [ratio("thumbs_down")]);
        for value in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            let points = [(0, value)];
            let answer = answer(&request, &[("r0_s_req", &points), ("r0_c_x0_total", &points)]);
            let MetricRead { rows, complete } = read_of(&request, &answer);
            assert_eq!((&rows[0].stable, &rows[0].canary), (&None, &None), "{value}");
            let said = complete.unwrap_err();
            let (requests, total) = said.split_once("; ").unwrap();
            assert!(requests.starts_with("RequestCount Sum of stable at "), "{said}");
            assert!(
                total.starts_with("Thumbs SampleCount of canary at ") && total.ends_with("is no count"),
                "{said}"
            );
        }
    }
}
