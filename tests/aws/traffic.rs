//! What the load balancer counts in a minute: generated, or recorded on a real service.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::setup::root;

/// What one group answered in one minute, by class: 2xx, 3xx, 4xx, 5xx. The rest was never answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) classes: [u64; 4],
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        let classes = std::array::from_fn(|class| self.classes[class] + other.classes[class]);
        Self { requests: self.requests + other.requests, classes }
    }
}

/// One minute of both groups; a group without a request publishes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Minute {
    pub(crate) stable: Option<Counts>,
    pub(crate) canary: Option<Counts>,
}

/// One minute of a metric beside the counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) metric: Metric,
    /// One of the endpoint's value forms, such as `{"bins":{"-24":40}}` or `{"sum":7,"count":7}`.
    pub(crate) form: Value,
}

/// Whose metric it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Metric {
    /// The load balancer's response times of a group, by its name.
    Latency(&'static str),
    /// The application's own, in [`NAMESPACE`], with these dimensions.
    Own(&'static str, Value),
}

/// Where metrics of the application's own are.
pub(crate) const NAMESPACE: &str = "Shop";

/// Where the counts come from.
pub(crate) trait Traffic {
    /// The counts of a minute in which the canary has `share` percent.
    fn at(&self, minute: i64, share: f64) -> Minute;

    /// What else is published of that minute: latency, and metrics of the application's own.
    fn points(&self, _minute: i64, _share: f64) -> Vec<Point> {
        Vec::new()
    }
}

/// Requests at an even pace, each with its own luck, the same luck in every run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generated {
    /// Requests of both groups a minute.
    pub(crate) per_minute: u64,
    /// Error rate of both.
    pub(crate) bad: f64,
    /// Error rate of the canary from a minute on.
    pub(crate) canary_bad_from: Option<(i64, f64)>,
}

impl Generated {
    /// Enough traffic to be proven healthy within the shortest bake time.
    pub(crate) const HEALTHY: Self = Self { per_minute: 60_000, bad: 0.002, canary_bad_from: None };
    /// A canary that fails one request in twenty.
    pub(crate) const HARMFUL: Self = Self { canary_bad_from: Some((i64::MIN, 0.05)), ..Self::HEALTHY };

    fn group(requests: f64, bad: f64, seed: u64) -> Option<Counts> {
        let requests = requests.round() as u64;
        let failed = (0..requests).filter(|request| luck(seed << 32 | request) < bad).count() as u64;
        (requests > 0).then_some(Counts { requests, classes: [requests - failed, 0, 0, failed] })
    }
}

/// A number from 0 to 1 that looks like chance (SplitMix64).
pub(crate) fn luck(seed: u64) -> f64 {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

impl Traffic for Generated {
    fn at(&self, minute: i64, share: f64) -> Minute {
        let all = self.per_minute as f64;
        let canary_bad =
            self.canary_bad_from.filter(|(from, _)| minute >= *from).map_or(self.bad, |(_, bad)| bad);
        let seed = minute.unsigned_abs() * 2 + 1;
        Minute {
            stable: Self::group(all * (1.0 - share / 100.0), self.bad, seed),
            canary: Self::group(all * share / 100.0, canary_bad, seed + 1),
        }
    }
}

/// Recordings of one service at several shares of the canary.
pub(crate) struct Recorded {
    by_share: Vec<(f64, Vec<Minute>)>,
}

/// Where recordings lie: `CANARY_GATE_RECORDINGS`, or beside the package.
fn folder() -> PathBuf {
    std::env::var_os("CANARY_GATE_RECORDINGS").map_or_else(|| root().join("../shared/data"), PathBuf::from)
}

impl Recorded {
    /// Reads recordings; `None`, and a line that says so, where there are none.
    pub(crate) fn read(names: &[&str]) -> Option<Self> {
        let mut by_share = Vec::new();
        for name in names {
            let Ok(text) = fs::read_to_string(folder().join(name)) else {
                use std::io::Write as _;
                let _ =
                    writeln!(std::io::stderr(), "[skipped] no recording {name}: set CANARY_GATE_RECORDINGS");
                return None;
            };
            let lines: Vec<Value> =
                text.lines().skip(1).map(|line| serde_json::from_str(line).expect("a recording")).collect();
            let share = lines[0]["share"].as_f64().expect("a share");
            by_share.push((share, lines.iter().map(minute).collect()));
        }
        Some(Self { by_share })
    }
}

fn minute(line: &Value) -> Minute {
    Minute { stable: counts(&line["stable"]), canary: counts(&line["canary"]) }
}

fn counts(arm: &Value) -> Option<Counts> {
    let count = |key: &str| arm[key].as_u64().unwrap_or(0);
    let classes = ["http_2xx", "http_3xx", "http_4xx", "http_5xx"].map(count);
    arm.is_object().then(|| Counts { requests: count("requests"), classes })
}

impl Traffic for Recorded {
    fn at(&self, minute: i64, share: f64) -> Minute {
        let found = self.by_share.iter().find(|(recorded, _)| *recorded == share);
        let rows = found.unwrap_or(&self.by_share[0]);
        let at = usize::try_from(minute.rem_euclid(rows.1.len() as i64)).expect("an index");
        let row = rows.1[at];
        let all = || Some(row.stable.unwrap_or_default().plus(row.canary.unwrap_or_default()));
        match share {
            0.0 => Minute { stable: all(), canary: None },
            100.0 => Minute { stable: None, canary: all() },
            _ if found.is_some() => row,
            _ => panic!("nothing was recorded at {share} %"),
        }
    }
}
