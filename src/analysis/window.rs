//! What was counted: one row a minute, two arms a row.
//!
//! These are the very objects of a recording, so what the judge saw can be written down, read back and
//! judged again. A window is replaced row by row, never patched: CloudWatch corrects its minutes, and
//! the verdict is a function of the window alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::edge::{self, Edge};

use crate::units::{Minute, Share};

/// The two groups that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The trusted version.
    Stable,
    /// The new version.
    Canary,
}

impl Arm {
    /// Both, stable first.
    pub const BOTH: [Self; 2] = [Self::Stable, Self::Canary];

    /// The word for it in logs and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
        }
    }
}

impl std::fmt::Display for Arm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Bad of total, in one minute of one arm or summed over several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Events that count against the arm; more than `total` only where one request may have several.
    pub bad: u64,
    /// All events.
    pub total: u64,
}

impl Tally {
    /// Adds another minute.
    pub fn add(&mut self, other: Self) {
        self.bad += other.bad;
        self.total += other.total;
    }

    /// Bad of total, 0 to 1; 0 if there was nothing.
    #[must_use]
    pub fn rate(self) -> f64 {
        if self.total == 0 { 0.0 } else { self.bad as f64 / self.total as f64 }
    }
}

/// A distribution as cumulative counts below CloudWatch's bin edges.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// Samples in all.
    pub count: u64,
    /// Key k stands for the edge 1.1^k (seconds for latency, the metric's own unit elsewhere); the value
    /// is the number of samples below that edge.
    #[serde(deserialize_with = "edges")]
    pub le: BTreeMap<i32, u64>,
}

impl Distribution {
    /// Adds another minute, at the edges that both list: an edge that is not listed is unknown, not zero.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        if !self.le.keys().eq(other.le.keys()) {
            self.le.retain(|edge, _| other.le.contains_key(edge));
        }
        for (edge, sum) in &mut self.le {
            *sum += other.le.get(edge).copied().unwrap_or(0);
        }
    }

    /// The sum of several minutes; `None` of none.
    #[must_use]
    pub fn sum<'a>(minutes: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut minutes = minutes.into_iter();
        let mut sum = minutes.next()?.clone();
        minutes.for_each(|minute| sum.add(minute));
        Some(sum)
    }

    /// The listed edge that is nearest to `value`, by ratio.
    #[must_use]
    pub fn nearest_edge(&self, value: f64) -> Option<Edge> {
        let power = edge::power(value);
        let distance = |edge: &i32| (f64::from(*edge) - power).abs();
        let nearest = self.le.keys().min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
        Some(Edge(*nearest))
    }
}

/// JSON has text for keys, and an untagged enum hands them on as text: read them as numbers here.
fn edges<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<i32, u64>, D::Error> {
    let text = BTreeMap::<String, u64>::deserialize(from)?;
    let number = |(key, count): (String, u64)| Ok((key.parse().map_err(serde::de::Error::custom)?, count));
    text.into_iter().map(number).collect()
}

/// A metric of the application's own, in whichever of its shapes it was published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetricCounts {
    /// Bad of total.
    Ratio(Tally),
    /// Samples by class.
    Classes {
        /// Samples of each class.
        classes: BTreeMap<String, u64>,
    },
    /// A distribution of values.
    Values(Distribution),
}

/// What one arm published for one minute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmCounts {
    /// Requests that were routed to the arm.
    pub requests: u64,
    /// Answers made by the targets, by class. Absent is zero, since `requests` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_2xx: Option<u64>,
    /// See `http_2xx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_3xx: Option<u64>,
    /// See `http_2xx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_4xx: Option<u64>,
    /// See `http_2xx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_5xx: Option<u64>,
    /// Errors given directly, by sources that know no status classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<u64>,
    /// Healthy targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_hosts: Option<u64>,
    /// Response time in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Distribution>,
    /// The application's own metrics, by the check that uses them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, MetricCounts>,
}

impl ArmCounts {
    /// Bad of total by the application's own counters, under this name.
    #[must_use]
    pub fn ratio(&self, name: &str) -> Option<Tally> {
        match self.metrics.get(name)? {
            MetricCounts::Ratio(tally) => Some(*tally),
            _ => None,
        }
    }

    /// Values of the application's own, under this name.
    #[must_use]
    pub fn values(&self, name: &str) -> Option<&Distribution> {
        match self.metrics.get(name)? {
            MetricCounts::Values(values) => Some(values),
            _ => None,
        }
    }

    /// Samples by class, under this name.
    #[must_use]
    pub fn classes(&self, name: &str) -> Option<&BTreeMap<String, u64>> {
        match self.metrics.get(name)? {
            MetricCounts::Classes { classes } => Some(classes),
            _ => None,
        }
    }

    /// Requests that a target answered, whatever the answer; `None` if the source knows no classes.
    ///
    /// A row with no class at all and no `errors` is a minute in which nothing was answered: CloudWatch
    /// publishes a class only when it is not zero.
    #[must_use]
    pub fn answered(&self) -> Option<u64> {
        let classes = [self.http_2xx, self.http_3xx, self.http_4xx, self.http_5xx];
        if self.errors.is_some() && classes.iter().all(Option::is_none) {
            return None;
        }
        Some(classes.iter().flatten().sum())
    }
}

/// One minute of both arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Which minute.
    pub minute: Minute,
    /// Percent of the traffic that the rule sent to the canary when the minute ended.
    pub share: Share,
    /// What stable published; `None` if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<ArmCounts>,
    /// What the canary published; `None` if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<ArmCounts>,
}

impl Row {
    /// The counts of one arm.
    #[must_use]
    pub fn arm(&self, arm: Arm) -> Option<&ArmCounts> {
        match arm {
            Arm::Stable => self.stable.as_ref(),
            Arm::Canary => self.canary.as_ref(),
        }
    }
}

/// Rows by minute. A row for a known minute replaces it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Window {
    rows: BTreeMap<Minute, Row>,
}

impl Window {
    /// Adds a row, or corrects the one of the same minute.
    pub fn insert(&mut self, row: Row) {
        self.rows.insert(row.minute, row);
    }

    /// In the order of the clock.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.rows.values()
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The newest minute.
    #[must_use]
    pub fn last_minute(&self) -> Option<Minute> {
        self.rows.last_key_value().map(|(minute, _)| *minute)
    }
}

impl FromIterator<Row> for Window {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        let mut window = Self::default();
        rows.into_iter().for_each(|row| window.insert(row));
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_minute_replaces_the_earlier_row() {
        let minute: Minute = "2026-03-01T10:00:00Z".parse().unwrap();
        let row = |requests| Row {
            minute,
            share: Share::ZERO,
            stable: Some(ArmCounts { requests, ..ArmCounts::default() }),
            canary: None,
        };
        let window: Window = [row(1), row(2)].into_iter().collect();
        assert_eq!(window.len(), 1);
        assert_eq!(window.rows().next().unwrap().stable.as_ref().unwrap().requests, 2);
    }

    #[test]
    fn answered_is_unknown_only_where_errors_are_given_directly() {
        let silent = ArmCounts { requests: 8, ..ArmCounts::default() };
        assert_eq!(silent.answered(), Some(0));
        let direct = ArmCounts { requests: 8, errors: Some(2), ..ArmCounts::default() };
        assert_eq!(direct.answered(), None);
        let both = ArmCounts { http_2xx: Some(5), ..direct };
        assert_eq!(both.answered(), Some(5));
    }

    #[test]
    fn a_row_with_every_kind_of_metric_reads_back_from_json() {
        let text = r#"{"minute":"2026-03-01T10:00:00Z","share":10.0,"stable":{"requests":7,
            "latency":{"count":7,"le":{"-25":1,"3":7}},
            "metrics":{"thumbs_down":{"bad":4,"total":60},"kind":{"classes":{"a":2}},
                       "speed":{"count":4,"le":{"-1":2,"40":4}}}}}"#;
        let row: Row = serde_json::from_str(text).unwrap();
        let metrics = &row.stable.as_ref().unwrap().metrics;
        assert!(matches!(metrics["speed"], MetricCounts::Values(_)));
        assert!(matches!(metrics["thumbs_down"], MetricCounts::Ratio(_)));
        let again: Row = serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap();
        assert_eq!(again, row);
    }
}
