//! Minutes of both arms, drawn straight from distributions: thousands of rollouts in the time that the cloud
//! in memory takes for one.
//!
//! No request is followed here. Requests of a minute are Poisson and split by the weights; errors are
//! binomial, response times log-normal and counted below CloudWatch's edges, classes multinomial. So the truth
//! is exactly what was asked for, which is what error rates of a test are measured with. What a load balancer
//! does to its minutes (late answers, missing data) is [`traffic`](super::traffic)'s.

use std::collections::{BTreeMap, VecDeque};
use std::f64::consts::{SQRT_2, TAU};

use serde::Serialize;
use statrs::function::erf::erfc;

use super::random::Random;
use crate::analysis::edge::{Edge, LATENCY_EDGES};
use crate::analysis::window::{ArmCounts, Distribution, MetricCounts, Row, Tally};
use crate::units::{Minute, Share};

/// The first edge that latency is counted below, 10 ms. Other distributions have it as far below their median.
pub const FIRST_EDGE: i32 = *LATENCY_EDGES.start();
/// The last one, a minute.
pub const LAST_EDGE: i32 = *LATENCY_EDGES.end();
/// The median response time: that of the simulated cloud.
pub const LATENCY_MEDIAN_S: f64 = 0.08;
/// The spread of the response time's logarithm: p95 is 3.2 times the median, p99 5.1 times.
pub const LATENCY_SIGMA: f64 = 0.7;
/// With drift, base rates go up and down by so many times ...
const DRIFT_RATES: f64 = 3.0;
/// ... within four hours, so that a rollout meets both;
const DRIFT_RATES_MINUTES: f64 = 240.0;
/// the traffic by so many times ...
const DRIFT_TRAFFIC: f64 = 1.5;
/// ... within a day;
const DRIFT_TRAFFIC_MINUTES: f64 = 1_440.0;
/// and times and values by so many times ...
const DRIFT_SPREAD: f64 = 1.2;
/// ... within three hours.
const DRIFT_SPREAD_MINUTES: f64 = 180.0;
/// Stable's and the canary's, of latency and some metrics; with drift, each is new every minute.
const SHAPES_KEPT: usize = 8;
/// When minute 0 is. Which one makes no difference.
const START: &str = "2026-03-01T10:00:00Z";

/// A distribution whose logarithm is normal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LogNormal {
    /// Half of the values are below.
    pub median: f64,
    /// Standard deviation of the logarithm.
    pub sigma: f64,
}

impl LogNormal {
    /// Response times of the simulated service.
    pub const LATENCY: Self = Self { median: LATENCY_MEDIAN_S, sigma: LATENCY_SIGMA };

    /// The part of the values below `value`.
    #[must_use]
    pub fn below(self, value: f64) -> f64 {
        0.5 * erfc((self.median / value).ln() / (self.sigma * SQRT_2))
    }

    /// The value that a fraction `q` lies below, by bisection on its logarithm.
    #[must_use]
    pub fn quantile(self, q: f64) -> f64 {
        let (mut low, mut high) = (-40.0 * self.sigma, 40.0 * self.sigma);
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            let below = self.below(self.median * f64::exp(middle)) < q;
            *(if below { &mut low } else { &mut high }) = middle;
        }
        self.median * f64::exp(low)
    }
}

/// How a metric of the application's own behaves; every request gives it one sample.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// Bad of total.
    Ratio {
        /// So many are bad.
        rate: f64,
        /// Bad events are Poisson, so that one request may have several.
        events: bool,
    },
    /// Values.
    Values(LogNormal),
    /// Classes with their probabilities, which sum to 1.
    Classes(Vec<(String, f64)>),
}

/// A service as it is without a fault, and its clients.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Workload {
    /// Requests a minute of both arms together, on average.
    pub requests_per_minute: f64,
    /// The part of the requests that fail.
    pub errors: f64,
    /// Traffic, rates and times go up and down slowly, for both arms alike.
    pub drift: bool,
    /// Variance of counts against binomial, in each arm and minute on its own; 1 for independent requests.
    pub noise: f64,
    /// Response times; without, none are published.
    pub latency: Option<LogNormal>,
    /// The application's own metrics, by the check that uses them.
    pub metrics: BTreeMap<String, Law>,
}

/// How a rate differs from stable's: the largest of what is asked for, but not above a limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RateChange {
    /// So many times the odds.
    pub odds: f64,
    /// So many times the rate.
    pub times: f64,
    /// So much more.
    pub plus: f64,
    /// At least this.
    pub at_least: f64,
    /// At most this, or stable's rate if that is more.
    pub at_most: f64,
}

impl RateChange {
    /// No difference.
    pub const NONE: Self = Self { odds: 1.0, times: 1.0, plus: 0.0, at_least: 0.0, at_most: 1.0 };

    /// So many times the rate.
    #[must_use]
    pub const fn times(times: f64) -> Self {
        Self { times, ..Self::NONE }
    }

    /// What becomes of a rate.
    #[must_use]
    pub fn of(self, rate: f64) -> f64 {
        let by_odds = with_odds(rate, self.odds);
        // Fewer errors are a change, too, where nothing else is asked for.
        let scaled = if self.times < 1.0 { self.times * rate } else { by_odds.max(self.times * rate) };
        let changed = scaled.max(if self.plus > 0.0 { rate + self.plus } else { 0.0 });
        changed.max(self.at_least).min(self.at_most.max(rate)).clamp(0.0, 1.0)
    }
}

impl Default for RateChange {
    fn default() -> Self {
        Self::NONE
    }
}

/// How a distribution differs from stable's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SpreadChange {
    /// So many times the odds of lying above any value.
    pub odds: f64,
    /// So many times the value ...
    pub times: f64,
    /// ... of this part of the samples.
    pub fraction: f64,
}

impl SpreadChange {
    /// No difference.
    pub const NONE: Self = Self { odds: 1.0, times: 1.0, fraction: 1.0 };

    /// So many times the value of all samples.
    #[must_use]
    pub const fn times(times: f64) -> Self {
        Self { times, ..Self::NONE }
    }

    /// The part of the samples below `value`.
    fn below(self, law: LogNormal, value: f64) -> f64 {
        let moved = if self.times == 1.0 { law.below(value) } else { law.below(value / self.times) };
        let mixed = self.fraction * moved + (1.0 - self.fraction) * law.below(value);
        mixed / (mixed + self.odds * (1.0 - mixed))
    }
}

impl Default for SpreadChange {
    fn default() -> Self {
        Self::NONE
    }
}

/// How a metric of the application's own differs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricChange {
    /// Of a ratio.
    Rate(RateChange),
    /// Of values.
    Spread(SpreadChange),
    /// So many times the odds of the first class; the others keep their proportions.
    FirstClass(f64),
}

/// What is wrong with the canary, and with it alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Fault {
    /// From this minute on; minute 0 is the first with a share.
    pub from_minute: i64,
    /// Its errors.
    pub errors: RateChange,
    /// Its response times.
    pub latency: SpreadChange,
    /// Its other metrics, by check; what does not fit the metric's kind changes nothing.
    pub metrics: BTreeMap<String, MetricChange>,
}

/// What a distribution has below each edge, kept from minute to minute: that is most of the work.
#[derive(Debug, Clone, Default)]
struct Shapes {
    kept: VecDeque<((LogNormal, SpreadChange, i32), Vec<f64>)>,
}

impl Shapes {
    /// The parts below each edge, from the first on.
    fn below(&mut self, law: LogNormal, change: SpreadChange, first: i32) -> &[f64] {
        let wanted = (law, change, first);
        let known = self.kept.iter().position(|(kept, _)| *kept == wanted);
        let at = known.unwrap_or_else(|| {
            let edges = first..=first + LAST_EDGE - FIRST_EDGE;
            let below = edges.map(|edge| change.below(law, Edge(edge).value())).collect();
            self.kept.push_front((wanted, below));
            self.kept.truncate(SHAPES_KEPT);
            0
        });
        &self.kept[at].1
    }
}

/// So many times the odds of a rate.
fn with_odds(rate: f64, times: f64) -> f64 {
    if times == 1.0 { rate } else { times * rate / (times * rate + 1.0 - rate) }
}

/// The minutes of one rollout. The same seed draws the same minutes, given the same shares.
#[derive(Debug, Clone)]
pub struct Minutes<'a> {
    workload: &'a Workload,
    fault: &'a Fault,
    start: Minute,
    phases: [f64; 3],
    requests: Random,
    fates: Random,
    latencies: Random,
    metrics: Random,
    shapes: Shapes,
    /// Errors that the canary had, on average, beyond those that stable would have had in its place.
    pub excess_bad: f64,
}

impl<'a> Minutes<'a> {
    /// The minutes of a seed.
    #[must_use]
    pub fn new(workload: &'a Workload, fault: &'a Fault, seed: u64) -> Self {
        let mut phases = Random::new(seed, 0);
        Self {
            workload,
            fault,
            start: START.parse().expect("a whole minute"),
            phases: [(); 3].map(|()| phases.uniform()),
            requests: Random::new(seed, 1),
            fates: Random::new(seed, 2),
            latencies: Random::new(seed, 3),
            metrics: Random::new(seed, 4),
            shapes: Shapes::default(),
            excess_bad: 0.0,
        }
    }

    /// Minute number `at`, with the canary at a share. Without one, it publishes nothing.
    pub fn row(&mut self, at: i64, share: Share) -> Row {
        let traffic = self.swing(0, at, DRIFT_TRAFFIC, DRIFT_TRAFFIC_MINUTES);
        let all = self.requests.poisson(self.workload.requests_per_minute * traffic);
        let to_canary = self.requests.binomial(all, share.fraction());
        Row {
            minute: self.start.plus(at),
            share,
            stable: Some(self.arm(at, all - to_canary, None)),
            canary: (share > Share::ZERO).then(|| {
                let fault = Some(self.fault).filter(|fault| at >= fault.from_minute);
                self.arm(at, to_canary, fault)
            }),
        }
    }

    /// How many times its mean something is now.
    fn swing(&self, which: usize, at: i64, times: f64, period: f64) -> f64 {
        if !self.workload.drift {
            return 1.0;
        }
        times.powf((TAU * (at as f64 / period + self.phases[which])).sin())
    }

    fn arm(&mut self, at: i64, requests: u64, fault: Option<&Fault>) -> ArmCounts {
        let noise = self.workload.noise;
        let rates = self.swing(1, at, DRIFT_RATES, DRIFT_RATES_MINUTES);
        let spread = self.swing(2, at, DRIFT_SPREAD, DRIFT_SPREAD_MINUTES);
        let base = (self.workload.errors * rates).min(1.0);
        let rate = fault.map_or(base, |fault| fault.errors.of(base));
        self.excess_bad += requests as f64 * (rate - base);
        let failed = count(&mut self.fates, requests, rate, concentration(requests, noise));
        let latency = self.workload.latency.map(|law| {
            let law = LogNormal { median: law.median * spread, ..law };
            let change = fault.map_or(SpreadChange::NONE, |fault| fault.latency);
            let below = self.shapes.below(law, change, FIRST_EDGE);
            distribution(&mut self.latencies, requests, below, (FIRST_EDGE, noise))
        });
        let metrics = self.workload.metrics.iter().map(|(name, law)| {
            let change = fault.and_then(|fault| fault.metrics.get(name));
            let random = (&mut self.metrics, &mut self.shapes);
            (name.clone(), metric(random, requests, law, change, [rates, spread, noise]))
        });
        ArmCounts {
            requests,
            http_2xx: Some(requests - failed),
            http_5xx: Some(failed),
            latency,
            metrics: metrics.collect(),
            ..ArmCounts::default()
        }
    }
}

fn metric(
    (random, shapes): (&mut Random, &mut Shapes),
    samples: u64,
    law: &Law,
    change: Option<&MetricChange>,
    [rates, spread, noise]: [f64; 3],
) -> MetricCounts {
    match law {
        Law::Ratio { rate, events } => {
            let change =
                if let Some(MetricChange::Rate(change)) = change { *change } else { RateChange::NONE };
            let rate = change.of((rate * rates).min(1.0));
            let bad = if *events {
                events_of(random, samples as f64 * rate, noise)
            } else {
                count(random, samples, rate, concentration(samples, noise))
            };
            MetricCounts::Ratio(Tally { bad, total: samples })
        }
        Law::Values(law) => {
            let change =
                if let Some(MetricChange::Spread(change)) = change { *change } else { SpreadChange::NONE };
            let first = Edge::nearest(law.median).0 + FIRST_EDGE / 2;
            let law = LogNormal { median: law.median * spread, ..*law };
            let below = shapes.below(law, change, first);
            MetricCounts::Values(distribution(random, samples, below, (first, noise)))
        }
        Law::Classes(classes) => {
            let times = if let Some(MetricChange::FirstClass(times)) = change { *times } else { 1.0 };
            MetricCounts::Classes { classes: split(random, samples, classes, times, noise) }
        }
    }
}

/// Samples by class: each class takes its part of what is left.
fn split(
    random: &mut Random,
    samples: u64,
    classes: &[(String, f64)],
    times: f64,
    noise: f64,
) -> BTreeMap<String, u64> {
    let first = classes.first().map_or(0.0, |(_, probability)| *probability);
    let others = (1.0 - with_odds(first, times)) / (1.0 - first).max(f64::MIN_POSITIVE);
    let (mut left, mut rest) = (samples, 1.0);
    let strength = concentration(samples, noise);
    let mut counts = BTreeMap::new();
    for (at, (name, probability)) in classes.iter().enumerate() {
        let probability = if at == 0 { with_odds(first, times) } else { probability * others };
        let part = if at + 1 == classes.len() { 1.0 } else { (probability / rest).min(1.0) };
        let taken = count(random, left, part, strength.map(|strength| strength * rest));
        counts.insert(name.clone(), taken);
        left -= taken;
        rest = (rest - probability).max(f64::MIN_POSITIVE);
    }
    counts
}

/// Samples below each edge, from `first` on, given the parts below them.
fn distribution(
    random: &mut Random,
    samples: u64,
    parts: &[f64],
    (first, noise): (i32, f64),
) -> Distribution {
    let strength = concentration(samples, noise);
    let (mut below, mut passed) = (0, 0.0);
    let le = (first..).zip(parts).map(|(edge, upper)| {
        let rest = 1.0 - passed;
        if below < samples && *upper > passed {
            let part = ((upper - passed) / rest).min(1.0);
            below += count(random, samples - below, part, strength.map(|strength| strength * rest));
            passed = *upper;
        }
        (edge, below)
    });
    Distribution { le: le.collect(), count: samples }
}

/// How firmly a minute's own rate sticks to the mean, so that counts are `noise` times as variable as binomial
/// ones; `None` for binomial ones.
///
/// ```text
/// noise = 1 + (n - 1) / (strength + 1)
/// ```
///
/// A count of less than `noise` can't be that variable; then all samples share one fate.
fn concentration(samples: u64, noise: f64) -> Option<f64> {
    (noise > 1.0).then(|| ((samples as f64 - noise) / (noise - 1.0)).max(0.0))
}

/// A binomial count; with a concentration, a beta-binomial one.
fn count(random: &mut Random, samples: u64, rate: f64, strength: Option<f64>) -> u64 {
    let Some(strength) = strength.filter(|_| rate > 0.0 && rate < 1.0) else {
        return random.binomial(samples, rate);
    };
    let (bad, good) = (gamma(random, strength * rate), gamma(random, strength * (1.0 - rate)));
    let own = if bad + good > 0.0 { bad / (bad + good) } else { f64::from(random.uniform() < rate) };
    random.binomial(samples, own)
}

/// A Poisson count; with noise, a negative binomial one.
fn events_of(random: &mut Random, mean: f64, noise: f64) -> u64 {
    let own = if noise > 1.0 { gamma(random, mean / (noise - 1.0)) * (noise - 1.0) } else { mean };
    random.poisson(own)
}

/// A gamma variable of scale 1. Marsaglia and Tsang (2000); shapes below 1 by their remark 6.
fn gamma(random: &mut Random, shape: f64) -> f64 {
    if shape <= 0.0 {
        return 0.0;
    }
    if shape < 1.0 {
        return gamma(random, shape + 1.0) * random.uniform().powf(1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    loop {
        let normal = (-2.0 * random.uniform().ln()).sqrt() * (TAU * random.uniform()).cos();
        let cubic = (1.0 + normal / (9.0 * d).sqrt()).powi(3);
        if cubic > 0.0 && random.uniform().ln() < 0.5 * normal * normal + d * (1.0 - cubic + f64::ln(cubic)) {
            return d * cubic;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: i64 = 1_000;

    fn workload() -> Workload {
        let classes = [("cat", 0.5), ("dog", 0.3), ("fox", 0.2)].map(|(name, p)| (name.to_owned(), p));
        Workload {
            requests_per_minute: 3_000.0,
            errors: 0.02,
            drift: false,
            noise: 1.0,
            latency: Some(LogNormal::LATENCY),
            metrics: BTreeMap::from([
                ("refunds".to_owned(), Law::Ratio { rate: 0.05, events: false }),
                ("retries".to_owned(), Law::Ratio { rate: 0.4, events: true }),
                ("speed".to_owned(), Law::Values(LogNormal { median: 30.0, sigma: 0.5 })),
                ("animal".to_owned(), Law::Classes(classes.to_vec())),
            ]),
        }
    }

    fn tenth() -> Share {
        Share::from_percent(10.0).unwrap()
    }

    fn canaries(workload: &Workload, fault: &Fault, minutes: i64) -> Vec<ArmCounts> {
        let mut drawn = Minutes::new(workload, fault, 3);
        (0..minutes).map(|at| drawn.row(at, tenth()).canary.unwrap()).collect()
    }

    /// The pooled rate of something lies within five standard errors, if each minute's count is `noise` times
    /// as variable as a binomial one.
    fn has_rate(name: &str, arms: &[ArmCounts], wanted: f64, noise: f64, bad: impl Fn(&ArmCounts) -> u64) {
        let total = arms.iter().map(|arm| arm.requests).sum::<u64>() as f64;
        let rate = arms.iter().map(bad).sum::<u64>() as f64 / total;
        let error = (rate - wanted) / (noise * wanted * (1.0 - wanted) / total).sqrt();
        assert!(error.abs() < 5.0, "{name}: {rate} is {error} standard errors from {wanted}");
    }

    /// The counts' variance within their minutes, against binomial.
    fn variability(arms: &[ArmCounts], rate: f64, bad: impl Fn(&ArmCounts) -> u64) -> f64 {
        let squares = arms.iter().filter(|arm| arm.requests > 0).map(|arm| {
            let n = arm.requests as f64;
            (bad(arm) as f64 - n * rate).powi(2) / (n * rate * (1.0 - rate))
        });
        squares.sum::<f64>() / arms.len() as f64
    }

    fn failed(arm: &ArmCounts) -> u64 {
        arm.http_5xx.unwrap()
    }

    fn slower_than(edge: i32) -> impl Fn(&ArmCounts) -> u64 {
        move |arm| arm.latency.as_ref().map(|latency| latency.count - latency.le[&edge]).unwrap()
    }

    fn ratio(arm: &ArmCounts, name: &str) -> u64 {
        let MetricCounts::Ratio(tally) = &arm.metrics[name] else { panic!("{arm:?}") };
        tally.bad
    }

    fn class(arm: &ArmCounts, name: &str) -> u64 {
        let MetricCounts::Classes { classes } = &arm.metrics["animal"] else { panic!("{arm:?}") };
        classes[name]
    }

    #[test]
    fn requests_follow_the_share_and_counts_their_distributions() {
        let workload = workload();
        let arms = canaries(&workload, &Fault::default(), MINUTES);
        let requests = arms.iter().map(|arm| arm.requests).sum::<u64>() as f64;
        let expected = 300.0 * MINUTES as f64;
        assert!((requests - expected).abs() < 5.0 * expected.sqrt(), "{requests}");
        has_rate("errors", &arms, 0.02, 1.0, failed);
        has_rate("refunds", &arms, 0.05, 1.0, |arm| ratio(arm, "refunds"));
        let retries = arms.iter().map(|arm| ratio(arm, "retries")).sum::<u64>() as f64;
        assert!((retries - 0.4 * requests).abs() < 5.0 * (0.4 * requests).sqrt());
        for (name, p) in [("cat", 0.5), ("dog", 0.3), ("fox", 0.2)] {
            has_rate(name, &arms, p, 1.0, |arm| class(arm, name));
        }
        for edge in [-40, -27, -26, -14, -8, 0] {
            let above = 1.0 - LogNormal::LATENCY.below(Edge(edge).value());
            has_rate("latency", &arms, above, 1.0, slower_than(edge));
        }
        let within = variability(&arms, 0.02, failed);
        assert!((within - 1.0).abs() < 5.0 * (2.0 / MINUTES as f64).sqrt() * 1.2, "{within}");
    }

    #[test]
    fn every_edge_is_listed_and_cumulative() {
        let workload = workload();
        for arm in canaries(&workload, &Fault::default(), 20) {
            let latency = arm.latency.unwrap();
            assert!(latency.le.keys().copied().eq(FIRST_EDGE..=LAST_EDGE));
            assert!(latency.le.values().is_sorted());
            assert_eq!(latency.count, arm.requests);
            let MetricCounts::Values(speed) = &arm.metrics["speed"] else { panic!("values") };
            assert_eq!((speed.le.len(), speed.count), (92, arm.requests));
        }
    }

    #[test]
    fn a_fault_changes_the_canary_from_its_minute_on_and_by_as_much_as_it_says() {
        let workload = workload();
        let slower = SpreadChange { odds: 1.0, times: 3.0, fraction: 0.02 };
        let fault = Fault {
            from_minute: 100,
            errors: RateChange::times(3.0),
            latency: slower,
            metrics: BTreeMap::from([
                ("refunds".to_owned(), MetricChange::Rate(RateChange { odds: 2.0, ..RateChange::NONE })),
                ("animal".to_owned(), MetricChange::FirstClass(1.25)),
            ]),
        };
        let arms = canaries(&workload, &fault, MINUTES);
        has_rate("before", &arms[..100], 0.02, 1.0, failed);
        has_rate("errors", &arms[100..], 0.06, 1.0, failed);
        has_rate("refunds", &arms[100..], 0.1 / 1.05, 1.0, |arm| ratio(arm, "refunds"));
        has_rate("cat", &arms[100..], 1.25 / 2.25, 1.0, |arm| class(arm, "cat"));
        has_rate("fox", &arms[100..], 0.4 / 2.25, 1.0, |arm| class(arm, "fox"));
        let law = LogNormal::LATENCY;
        let above = |edge: i32, times: f64| 1.0 - law.below(Edge(edge).value() / times);
        let mixed = 0.98 * above(0, 1.0) + 0.02 * above(0, 3.0);
        has_rate("slow", &arms[100..], mixed, 1.0, slower_than(0));
        let mut drawn = Minutes::new(&workload, &fault, 3);
        let stable: Vec<_> = (0..MINUTES).map(|at| drawn.row(at, tenth()).stable.unwrap()).collect();
        has_rate("stable", &stable, 0.02, 1.0, failed);
        let expected = 0.04 * 300.0 * (MINUTES - 100) as f64;
        assert!((drawn.excess_bad - expected).abs() < 0.01 * expected, "{}", drawn.excess_bad);
    }

    #[test]
    fn noise_makes_counts_as_many_times_more_variable() {
        for noise in [3.0, 10.0] {
            let workload = Workload { noise, ..workload() };
            let arms = canaries(&workload, &Fault::default(), MINUTES);
            has_rate("errors", &arms, 0.02, noise, failed);
            let median = 1.0 - LogNormal::LATENCY.below(Edge(-26).value());
            has_rate("latency", &arms, median, noise, slower_than(-26));
            for got in [
                variability(&arms, 0.02, failed),
                variability(&arms, median, slower_than(-26)),
                variability(&arms, 0.3, |arm| class(arm, "dog")),
            ] {
                // Counts of few lumps have heavy tails: their fourth moment is up to 3 + 6 noise / (n p).
                assert!((got / noise - 1.0).abs() < 5.0 * (14.0 / MINUTES as f64).sqrt(), "{got} {noise}");
            }
        }
    }

    #[test]
    fn drift_moves_both_arms_alike_and_keeps_the_mean_of_the_logarithm() {
        let workload = Workload { drift: true, errors: 0.05, ..workload() };
        let fault = Fault::default();
        let mut drawn = Minutes::new(&workload, &fault, 5);
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for at in 0..240 {
            let row = drawn.row(at, Share::from_percent(50.0).unwrap());
            let rate = |arm: Option<ArmCounts>| arm.map(|arm| failed(&arm) as f64 / arm.requests as f64);
            let (stable, canary) = (rate(row.stable).unwrap(), rate(row.canary).unwrap());
            assert!((stable - canary).abs() < 6.0 * (2.0 * stable / 900.0).sqrt(), "{stable} {canary}");
            (least, most) = (least.min(stable), most.max(stable));
        }
        assert!(least < 0.025 && most > 0.12, "{least} {most}");
    }

    #[test]
    fn the_same_seed_draws_the_same_minutes_and_another_draws_others() {
        let (workload, fault) = (Workload { drift: true, noise: 2.0, ..workload() }, Fault::default());
        let draw = |seed| {
            let mut drawn = Minutes::new(&workload, &fault, seed);
            (0..30).map(|at| drawn.row(at, tenth())).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_canary_without_a_share_publishes_nothing() {
        let (workload, fault) = (workload(), Fault::default());
        assert_eq!(Minutes::new(&workload, &fault, 1).row(-5, Share::ZERO).canary, None);
    }

    #[test]
    fn a_rate_changes_to_the_largest_that_is_asked_for_and_stays_below_the_limit() {
        let change = RateChange { times: 1.5, plus: 0.005, ..RateChange::NONE };
        assert!((change.of(0.003) - 0.008).abs() < 1e-12);
        assert!((change.of(0.1) - 0.15).abs() < 1e-12);
        let limited = RateChange { at_most: 0.12, ..change };
        assert!((limited.of(0.1) - 0.12).abs() < 1e-12);
        assert!((limited.of(0.3) - 0.3).abs() < 1e-12, "stable's own rate is no fault");
        assert_eq!(RateChange::NONE.of(0.02), 0.02);
        assert!((RateChange::times(0.5).of(0.02) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn quantiles_are_where_the_distribution_says() {
        for q in [0.01, 0.5, 0.95, 0.999] {
            let law = LogNormal::LATENCY;
            assert!((law.below(law.quantile(q)) - q).abs() < 1e-9);
        }
        assert!((LogNormal::LATENCY.quantile(0.95) / 0.08 - 3.16).abs() < 0.01);
    }
}
