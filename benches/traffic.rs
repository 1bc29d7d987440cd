//! Five checks' worth of traffic, the same on every run: what the benchmarks judge.

use std::collections::BTreeMap;

use canary_gate::analysis::Conditions;
use canary_gate::analysis::check::{
    BadBeyond, CLASS_PROMOTE_WITHIN, Check, CheckRule, ClassesCheck, DistributionCheck, ErrorsCheck,
    RatioCheck, Rules,
};
use canary_gate::analysis::edge::Edge;
use canary_gate::analysis::threshold::Threshold;
use canary_gate::analysis::window::{ArmCounts, Distribution, MetricCounts, Row, Tally, Window};
use canary_gate::units::{Minute, Quantile, Share};

/// Requests a minute of the canary and of stable: 50 a second, 5 % of them to the canary.
pub(crate) const CANARY: u64 = 150;
/// See [`CANARY`].
pub(crate) const STABLE: u64 = 2_850;
/// What is asked of a latency: its edges (powers of 1.1 of a second) with their quantiles.
pub(crate) const LATENCY: [(i32, f64); 3] = [(-24, 50.0), (-8, 95.0), (2, 99.0)];
/// The same of the values.
pub(crate) const VALUES: [(i32, f64); 1] = [(40, 50.0)];
/// The classes that the plan names, and their parts; the rest is "other".
pub(crate) const CLASSES: [(&str, f64); 2] = [("answered", 0.7), ("refused", 0.2)];

/// Errors, latency at three quantiles, a ratio, values at one quantile, and three classes.
pub(crate) fn rules() -> Rules {
    let values = DistributionCheck {
        bad_beyond: BadBeyond::Quantiles(quantiles(&VALUES)),
        ..DistributionCheck::values()
    };
    let classes = ClassesCheck {
        source: None,
        values: CLASSES.iter().map(|(name, _)| (*name).to_owned()).collect(),
        tolerate: None,
        promote_within: CLASS_PROMOTE_WITHIN,
    };
    let checks = vec![
        Check::new("errors", CheckRule::Errors(ErrorsCheck::default())),
        Check::new("latency", CheckRule::Latency(DistributionCheck::latency())),
        Check::new("ratio", CheckRule::Ratio(RatioCheck::default())),
        Check::new("values", CheckRule::Values(values)),
        Check::new("classes", CheckRule::Classes(classes)),
    ];
    Rules { checks, ..Rules::default() }
}

/// Five checks that are one comparison each: errors, latency beyond one threshold, two ratios, values at one
/// quantile. Those of [`rules`] are ten.
#[allow(dead_code)] // not every user of this file needs it
pub(crate) fn five_comparisons() -> Rules {
    let mut rules = rules();
    let limit = BadBeyond::Fixed(Edge(LATENCY[1].0).value());
    rules.checks[1].rule =
        CheckRule::Latency(DistributionCheck { bad_beyond: limit, ..DistributionCheck::latency() });
    rules.checks[4] = Check::new("retries", CheckRule::Ratio(RatioCheck::default()));
    rules
}

/// Thresholds as they are settled before the first shift.
pub(crate) fn conditions() -> Conditions {
    let settled = |edges: &[(i32, f64)]| {
        let thresholds = edges.iter().zip(quantiles(edges));
        thresholds
            .map(|((edge, _), quantile)| Threshold { quantile, edge: Edge(*edge), samples: 1_000 })
            .collect()
    };
    let thresholds = [("latency", settled(&LATENCY)), ("values", settled(&VALUES))];
    Conditions {
        thresholds: thresholds.map(|(name, thresholds)| (name.to_owned(), thresholds)).into(),
        ..Conditions::default()
    }
}

fn quantiles(edges: &[(i32, f64)]) -> Vec<Quantile> {
    edges.iter().map(|(_, percent)| Quantile::from_percent(*percent).expect("a quantile")).collect()
}

/// So many checks of a ratio, beside the errors that every plan has.
#[allow(dead_code)] // not every user of this file needs it
pub(crate) fn many_checks(checks: usize) -> Rules {
    let ratio = |at: usize| Check::new(&ratio_name(at), CheckRule::Ratio(RatioCheck::default()));
    let errors = Check::new("errors", CheckRule::Errors(ErrorsCheck::default()));
    Rules { checks: std::iter::once(errors).chain((1..checks).map(ratio)).collect(), ..Rules::default() }
}

fn ratio_name(at: usize) -> String {
    format!("ratio-{at}")
}

/// So many minutes on one step, with `scale` times [`CANARY`] and [`STABLE`] requests in each.
pub(crate) fn window(minutes: i64, scale: u64) -> Window {
    window_of(minutes, [STABLE * scale, CANARY * scale], 0)
}

/// So many minutes with so many requests of stable's and of the canary's in each, and the counts of so many ratios.
pub(crate) fn window_of(minutes: i64, [stable, canary]: [u64; 2], ratios: usize) -> Window {
    let start: Minute = "2026-03-01T10:00:00Z".parse().expect("a minute");
    let mut draw = Draw(1);
    let mut counts = |requests: u64| {
        let mut counts = arm(&mut draw, requests);
        for at in 1..ratios {
            let ratio = Tally { bad: draw.binomial(requests, 0.01), total: requests };
            counts.metrics.insert(ratio_name(at), MetricCounts::Ratio(ratio));
        }
        counts
    };
    (0..minutes)
        .map(|at| Row {
            minute: start.plus(at),
            share: Share::from_percent(5.0).expect("a share"),
            stable: Some(counts(stable)),
            canary: Some(counts(canary)),
        })
        .collect()
}

fn arm(draw: &mut Draw, requests: u64) -> ArmCounts {
    let failed = draw.binomial(requests, 0.003);
    let bad = draw.binomial(requests, 0.01);
    let slow = draw.binomial(requests, 0.5);
    let slower = draw.binomial(slow, 0.1);
    let slowest = draw.binomial(slower, 0.2);
    let large = draw.binomial(requests, 0.5);
    let below =
        |beyond: [u64; 3]| LATENCY.map(|(edge, _)| edge).into_iter().zip(beyond.map(|n| requests - n));
    let mut classes = BTreeMap::new();
    let mut left = requests;
    for (name, part) in CLASSES {
        let count = draw.binomial(requests, part).min(left);
        left -= count;
        classes.insert(name.to_owned(), count);
    }
    classes.insert("something else".to_owned(), left);
    let values = Distribution { count: requests, le: [(VALUES[0].0, requests - large)].into() };
    ArmCounts {
        requests,
        http_2xx: Some(requests - failed),
        http_5xx: Some(failed),
        latency: Some(Distribution { count: requests, le: below([slow, slower, slowest]).collect() }),
        metrics: [
            ("ratio".to_owned(), MetricCounts::Ratio(Tally { bad, total: requests })),
            ("retries".to_owned(), MetricCounts::Ratio(Tally { bad: slowest, total: requests })),
            ("values".to_owned(), MetricCounts::Values(values)),
            ("classes".to_owned(), MetricCounts::Classes { classes }),
        ]
        .into(),
        ..ArmCounts::default()
    }
}

/// Noise of the right size; not the same every minute, so that no branch is learnt by heart.
struct Draw(u64);

impl Draw {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About binomial: a sum of four uniform numbers has a third of their variance.
    fn binomial(&mut self, n: u64, p: f64) -> u64 {
        let sum: f64 = (0..4).map(|_| self.unit() - 0.5).sum();
        let mean = n as f64 * p;
        let count = mean + sum * (3.0 * mean * (1.0 - p)).sqrt();
        (count.round().max(0.0) as u64).min(n)
    }
}
