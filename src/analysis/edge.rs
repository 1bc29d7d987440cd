//! The edges of CloudWatch's bins.
//!
//! CloudWatch keeps a distribution in bins whose edges are the powers of 1.1. A count of the samples below an
//! edge is exact and a whole number; a count below any other value is interpolated inside its bin. So
//! thresholds lie on edges, and an edge is known by its power.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// An edge: 1.1 to the power of a whole number, in the metric's own unit (seconds for latency).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Edge(pub i32);

/// Edges that response times are looked for among, before anything is known: 10 ms to a minute.
pub const LATENCY_EDGES: RangeInclusive<i32> = -48..=43;
/// The same for values whose size nobody has told: 0.00007 to a million.
pub const VALUE_EDGES: RangeInclusive<i32> = -100..=145;

/// Each edge is so many times the one before.
pub const BASE: f64 = 1.1;
/// A value so close below or above an edge (in powers) was meant to be the edge.
const ROUNDING: f64 = 1e-9;
/// Powers beyond this are neither latency nor any other sensible value: 1.1^2000 is 1e82.
const POWER_MAX: f64 = 2_000.0;

impl Edge {
    /// Where it lies, in the metric's unit.
    #[must_use]
    pub fn value(self) -> f64 {
        BASE.powi(self.0)
    }

    /// The first edge that is not below `value`.
    #[must_use]
    pub fn at_least(value: f64) -> Self {
        Self((power(value) - ROUNDING).ceil() as i32)
    }

    /// The edge nearest to `value`, by ratio.
    #[must_use]
    pub fn nearest(value: f64) -> Self {
        Self(power(value).round() as i32)
    }

    /// So many edges further up.
    #[must_use]
    pub fn up(self, edges: i32) -> Self {
        Self(self.0.saturating_add(edges))
    }
}

/// The power of 1.1 that `value` is; the ends of the range where it is zero, infinite or no number.
pub(super) fn power(value: f64) -> f64 {
    let power = value.ln() / BASE.ln();
    if power.is_nan() { -POWER_MAX } else { power.clamp(-POWER_MAX, POWER_MAX) }
}

/// Edges that cover a distance between two positive values in either order: the fewest.
#[must_use]
pub fn edges_between(one: f64, other: f64) -> i32 {
    ((power(other) - power(one)).abs() - ROUNDING).ceil().max(0.0) as i32
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value();
        let decimals = (3 - value.log10().floor() as i32).clamp(0, 12) as usize;
        write!(f, "{value:.decimals$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_at_least_itself_and_nearest_to_itself() {
        for k in -300..300 {
            let value = Edge(k).value();
            assert_eq!((Edge::at_least(value), Edge::nearest(value)), (Edge(k), Edge(k)));
            assert_eq!(Edge::at_least(value * 1.001), Edge(k + 1));
        }
    }

    #[test]
    fn values_that_no_edge_is_near_go_to_the_ends() {
        assert_eq!(Edge::at_least(0.0), Edge(-2_000));
        assert_eq!(Edge::nearest(f64::INFINITY), Edge(2_000));
        assert_eq!(Edge::nearest(f64::NAN), Edge(-2_000));
    }

    #[test]
    fn ten_percent_is_one_edge_and_fifty_milliseconds_on_four_hundred_are_two() {
        assert_eq!(edges_between(1.0, 1.1), 1);
        assert_eq!(edges_between(1.0, 0.9), 2);
        assert_eq!(edges_between(0.4, 0.45), 2);
        assert_eq!(edges_between(0.4, 0.4), 0);
    }

    #[test]
    fn edges_are_told_to_four_digits() {
        assert_eq!(Edge(-8).to_string(), "0.4665");
        assert_eq!(Edge(0).to_string(), "1.000");
        assert_eq!(Edge(38).to_string(), "37.40");
        assert_eq!(Edge(100).to_string(), "13781");
    }
}
