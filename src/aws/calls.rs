//! How queries are spread over GetMetricData calls: pure.

use std::borrow::Borrow;
use std::ops::Range;

use aws_sdk_cloudwatch::types::MetricDataQuery;

use super::queries::{Query, queries};
use crate::ports::MetricRequest;
use crate::units::Minute;

/// Queries of one GetMetricData call, by AWS's limit.
const MAX_QUERIES: usize = 500;
/// Data points of one GetMetricData call, by AWS's limit.
const MAX_POINTS: usize = 100_800;

/// What one call asks for of one request: all its queries and minutes, unless they exceed a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Index of the request.
    pub(super) request: usize,
    /// Which of the request's queries.
    pub(super) queries: Range<usize>,
    /// The first minute.
    pub(super) from: Minute,
    /// The minute after the last.
    pub(super) until: Minute,
}

/// What one call asks for. All queries of a call have one time range, so that of the pieces together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// No two of them share a query.
    pub(super) pieces: Vec<Piece>,
    /// The earliest `from`.
    pub(super) from: Minute,
    /// The latest `until`.
    pub(super) until: Minute,
}

impl Call {
    fn of(piece: Piece) -> Self {
        Self { from: piece.from, until: piece.until, pieces: vec![piece] }
    }

    fn with(&self, piece: &Piece) -> Self {
        let mut pieces = self.pieces.clone();
        pieces.push(piece.clone());
        Self { pieces, from: self.from.min(piece.from), until: self.until.max(piece.until) }
    }

    fn fits(&self) -> bool {
        let queries: usize = self.pieces.iter().map(|piece| piece.queries.len()).sum();
        queries <= MAX_QUERIES && queries.saturating_mul(minutes(self.from, self.until)) <= MAX_POINTS
    }

    /// The queries as they are sent.
    pub(super) fn queries(&self, requests: &[impl Borrow<MetricRequest>]) -> Vec<MetricDataQuery> {
        let of_piece = |piece: &Piece| {
            let all = queries(piece.request, requests[piece.request].borrow());
            all[piece.queries.clone()].iter().map(Query::sent).collect::<Vec<_>>()
        };
        self.pieces.iter().flat_map(of_piece).collect()
    }
}

/// From one minute to another; none if the other is earlier.
pub(super) fn minutes(from: Minute, until: Minute) -> usize {
    usize::try_from(until.since(from)).unwrap_or(0)
}

/// So many minutes later.
pub(super) fn later(minute: Minute, by: usize) -> Minute {
    minute.plus(i64::try_from(by).unwrap_or(i64::MAX))
}

/// Spreads the requests over as few calls as the limits allow. Neighbours in time go together, since a
/// call reads the whole range from its earliest to its latest minute for each of its queries.
pub(super) fn calls<R: Borrow<MetricRequest>>(requests: &[R]) -> Vec<Call> {
    let mut pieces: Vec<Piece> =
        requests.iter().enumerate().flat_map(|(index, request)| pieces(index, request.borrow())).collect();
    pieces.sort_by_key(|piece| piece.from);
    let mut calls: Vec<Call> = Vec::new();
    for piece in pieces {
        match calls.last().map(|call| call.with(&piece)).filter(Call::fits) {
            Some(wider) => *calls.last_mut().expect("there is a call that was widened") = wider,
            None => calls.push(Call::of(piece)),
        }
    }
    calls
}

fn pieces(request: usize, asked: &MetricRequest) -> Vec<Piece> {
    let all = minutes(asked.from, asked.until);
    let at = |minute: usize| later(asked.from, minute);
    let of_slice = |queries: Range<usize>| {
        let longest = MAX_POINTS / queries.len();
        let piece = move |start: usize| Piece {
            request,
            queries: queries.clone(),
            from: at(start),
            until: at((start + longest).min(all)),
        };
        (0..all).step_by(longest).map(piece)
    };
    slices(&queries(request, asked)).into_iter().flat_map(of_slice).collect()
}

/// Cuts the queries of a request into as many as one call takes. A metric's queries stay together if they
/// can: what is read of it is then of one instant, and charged as one.
fn slices(queries: &[Query<'_>]) -> Vec<Range<usize>> {
    let metrics = queries.chunk_by(|one, other| one.source == other.source);
    let mut slices: Vec<Range<usize>> = Vec::new();
    for metric in metrics.flat_map(|metric| metric.chunks(MAX_QUERIES)) {
        let start = slices.last().map_or(0, |slice| slice.end);
        let end = start + metric.len();
        match slices.last_mut().filter(|slice| end - slice.start <= MAX_QUERIES) {
            Some(slice) => slice.end = end,
            None => slices.push(start..end),
        }
    }
    slices
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::fixture::{asked, at, latency, request, values};
    use super::*;

    fn lengths(calls: &[Call]) -> Vec<usize> {
        calls.iter().map(|call| call.pieces.iter().map(|piece| piece.queries.len()).sum()).collect()
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
        assert!(calls::<MetricRequest>(&[]).is_empty());
    }

    #[test]
    fn the_queries_of_series_count_too() {
        // 10 and 2 * 96 queries, so two requests in a call.
        let many: Vec<_> = (0..5).map(|_| asked(0, 60, [latency(-60..35)])).collect();
        assert_eq!(lengths(&calls(&many)), [404, 404, 202]);
        // 18 queries: 5,600 minutes fill a call.
        let long = asked(0, 5_601, [latency(-26..-23)]);
        let calls = calls(std::slice::from_ref(&long));
        assert_eq!(calls.len(), 2);
        assert_eq!((calls[0].until, calls[1].from, calls[1].until), (at(5_600), at(5_600), at(5_601)));
        assert_eq!(calls[0].queries(&[long]).len(), 18);
    }

    #[test]
    fn a_request_of_too_many_queries_is_cut_between_metrics() {
        // 10, twice 201, twice 152: stable's values no longer fit beside the latencies.
        let wide = asked(0, 60, [latency(-100..100), values("speed", 0..150)]);
        let found = calls(std::slice::from_ref(&wide));
        assert_eq!(lengths(&found), [412, 304]);
        let last = found[0].queries(std::slice::from_ref(&wide)).pop().unwrap();
        assert_eq!(last.id(), Some("r0_c_x0_p99"));
        let stable = &found[1].queries(&[wide])[0];
        assert_eq!(stable.id(), Some("r0_s_x1_n"));
        // A metric that is too much for one call is cut itself.
        let wider = asked(0, 60, [latency(-400..400)]);
        assert_eq!(lengths(&calls(&[wider])), [10, 500, 301, 500, 301]);
    }

    #[test]
    fn no_call_exceeds_a_limit_and_no_minute_is_asked_for_twice_or_not_at_all() {
        let nth = |i: i64| {
            let speed = || values("speed", 0..i32::try_from(i).unwrap() * 4);
            let (most_minutes, series) = match i % 3 {
                0 => (25_000, vec![]),
                1 => (25_000, vec![latency(-26..-20)]),
                _ => (1_000, vec![latency(-90..90), speed()]),
            };
            asked(i * 37, i * 37 + (i * i * 13) % most_minutes, series)
        };
        let requests: Vec<_> = (0..120).map(nth).collect();
        let mut seen: Vec<Vec<i64>> =
            requests.iter().enumerate().map(|(i, request)| vec![0; queries(i, request).len()]).collect();
        for call in &calls(&requests) {
            assert!(call.fits());
            let queries = call.queries(&requests);
            let ids: BTreeSet<_> = queries.iter().map(MetricDataQuery::id).collect();
            assert_eq!(ids.len(), queries.len(), "ids are unique in a call");
            for piece in &call.pieces {
                assert!(call.from <= piece.from && piece.until <= call.until);
                let minutes = piece.until.since(piece.from);
                seen[piece.request][piece.queries.clone()].iter_mut().for_each(|all| *all += minutes);
            }
        }
        for (request, seen) in requests.iter().zip(seen) {
            let wanted = request.until.since(request.from);
            assert!(seen.iter().all(|minutes| *minutes == wanted), "{seen:?} of {wanted}");
        }
    }
}
