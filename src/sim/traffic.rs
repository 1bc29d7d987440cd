//! Requests, and what becomes of them.
//!
//! Arrivals are Poisson; each request goes to an arm with the probability that the rule's weights give it at
//! that second, and fails with its arm's probability, independently. Response times are log-logistic: a heavy
//! tail, as services have, and a distribution function that needs no special functions.

use std::ops::Range;

use serde::Serialize;

use super::cloud::Cloud;
use super::cloudwatch::Counts;
use super::random::Random;
use crate::analysis::window::Arm;
use crate::rollout::plan::Targets;
use crate::units::Minute;

/// The median response time, in seconds.
const LATENCY_MEDIAN_S: f64 = 0.08;
/// The smaller, the heavier the tail: here p95 is 2.1 times the median and p99 3.2 times.
const LATENCY_SHAPE: f64 = 4.0;
/// Clients' own mistakes (4xx). They are no errors of the service.
const CLIENT_ERRORS: f64 = 0.01;
/// Bin edges are powers of this, as in CloudWatch.
const BIN_BASE: f64 = 1.1;

/// How an arm answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Behaviour {
    /// Probability of a 5xx.
    pub errors: f64,
    /// The arm refuses every connection: requests without any answer.
    pub refuses: bool,
    /// Requests don't reach the arm, whatever the weights say; stable takes them.
    pub unreachable: bool,
    /// Response times, as a multiple of the usual.
    pub slower: f64,
}

impl Behaviour {
    /// Probability that a request goes wrong.
    #[must_use]
    pub fn bad(&self) -> f64 {
        if self.refuses { 1.0 } else { self.errors }
    }
}

/// What truly happened, known to the simulator alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Truth {
    /// Requests that the canary got.
    pub canary_requests: u64,
    /// Those that went wrong.
    pub canary_bad: u64,
    /// Those that would have gone wrong on stable, on average.
    pub expected_on_stable: f64,
}

impl Truth {
    /// Requests that went wrong because they went to the canary.
    #[must_use]
    pub fn excess_bad(&self) -> f64 {
        self.canary_bad as f64 - self.expected_on_stable
    }
}

/// The clients.
#[derive(Debug, Clone)]
pub struct Traffic {
    requests_per_s: f64,
    arrivals: Random,
    fates: Random,
    latencies: Random,
    /// What happened so far.
    pub truth: Truth,
}

impl Traffic {
    /// Clients that send so many requests a second.
    #[must_use]
    pub fn new(requests_per_s: f64, seed: u64) -> Self {
        Self {
            requests_per_s,
            arrivals: Random::new(seed, 1),
            fates: Random::new(seed, 2),
            latencies: Random::new(seed, 3),
            truth: Truth::default(),
        }
    }

    /// Sends the requests of some seconds of a minute through a rule. `arms` is stable's and the canary's.
    pub fn pass(
        &mut self,
        cloud: &Cloud,
        targets: &Targets,
        minute: Minute,
        seconds: Range<u32>,
        arms: [Behaviour; 2],
    ) {
        let groups = [&targets.stable, &targets.canary];
        let mut now = [Counts::default(), Counts::default()];
        let mut next = [Counts::default(), Counts::default()];
        for second in seconds {
            let requests = self.split(cloud.flow(targets), arms[1].unreachable);
            self.note(requests[1], arms);
            for arm in 0..2 {
                let answers = self.answer(requests[arm], arms[arm]);
                now[arm].requests += requests[arm];
                if arm == 1 {
                    self.truth.canary_bad += requests[1] - answers[..3].iter().sum::<u64>();
                }
                // In flight when the minute ends: counted as a request now and as an answer later.
                let late = match second {
                    59 => answers.map(|answers| self.in_flight(answers, arms[arm])),
                    _ => [0; 4],
                };
                for (class, late) in late.into_iter().enumerate() {
                    now[arm].answers[class] += answers[class] - late;
                    next[arm].answers[class] += late;
                }
            }
        }
        for arm in 0..2 {
            let answered = now[arm].answers.iter().chain(&next[arm].answers).sum();
            now[arm].latency_bins = self.latency_bins(answered, arms[arm].slower);
            cloud.count(groups[arm], minute, &now[arm]);
            if next[arm] != Counts::default() {
                cloud.count(groups[arm], minute.plus(1), &next[arm]);
            }
        }
    }

    /// One second's requests of each arm.
    fn split(&mut self, [stable, canary]: [f64; 2], canary_unreachable: bool) -> [u64; 2] {
        let all = self.arrivals.poisson(self.requests_per_s);
        let to_canary = self.arrivals.binomial(all, canary);
        let to_stable = self.arrivals.binomial(all - to_canary, stable / (1.0 - canary));
        if canary_unreachable { [to_stable + to_canary, 0] } else { [to_stable, to_canary] }
    }

    fn note(&mut self, canary_requests: u64, arms: [Behaviour; 2]) {
        self.truth.canary_requests += canary_requests;
        self.truth.expected_on_stable += canary_requests as f64 * arms[0].bad();
    }

    /// Answers by class.
    fn answer(&mut self, requests: u64, arm: Behaviour) -> [u64; 4] {
        if arm.refuses {
            return [0; 4];
        }
        let failed = self.fates.binomial(requests, arm.errors);
        let refused = self.fates.binomial(requests - failed, CLIENT_ERRORS);
        [requests - failed - refused, 0, refused, failed]
    }

    fn in_flight(&mut self, answers: u64, arm: Behaviour) -> u64 {
        self.fates.binomial(answers, (LATENCY_MEDIAN_S * arm.slower).min(1.0))
    }

    /// Response times of so many answers, bin by bin: each bin takes its part of what is left.
    fn latency_bins(&mut self, answers: u64, slower: f64) -> std::collections::BTreeMap<i32, u64> {
        let below = |edge: i32| {
            let ratio = BIN_BASE.powi(edge) / (LATENCY_MEDIAN_S * slower);
            1.0 / (1.0 + ratio.powf(-LATENCY_SHAPE))
        };
        let mut bins = std::collections::BTreeMap::new();
        let mut left = answers;
        let mut bin = (LATENCY_MEDIAN_S.ln() / BIN_BASE.ln()).floor() as i32 - 24;
        let mut passed = 0.0;
        while left > 0 {
            let upper = below(bin + 1);
            let samples = self.latencies.binomial(left, (upper - passed) / (1.0 - passed));
            if samples > 0 {
                bins.insert(bin, samples);
            }
            left -= samples;
            passed = upper;
            bin += 1;
        }
        bins
    }

    /// Quantile of a distribution that was drawn for some minutes of an arm, as a bin edge in seconds.
    #[must_use]
    pub fn quantile(
        cloud: &Cloud,
        targets: &Targets,
        arm: Arm,
        minutes: Range<i64>,
        from: Minute,
        q: f64,
    ) -> f64 {
        let group = match arm {
            Arm::Stable => &targets.stable,
            Arm::Canary => &targets.canary,
        };
        let mut bins = std::collections::BTreeMap::new();
        for (bin, samples) in minutes.flat_map(|at| cloud.latency_bins(group, from.plus(at))) {
            *bins.entry(bin).or_insert(0) += samples;
        }
        let wanted = (bins.values().sum::<u64>() as f64 * q).ceil() as u64;
        let mut sum = 0;
        let bin = bins.into_iter().find(|(_, samples)| {
            sum += samples;
            sum >= wanted
        });
        bin.map_or(0.0, |(bin, _)| BIN_BASE.powi(bin + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::alb::Rule;
    use super::*;
    use crate::rollout::effect::{Release, Write};
    use crate::units::Share;

    const FINE: Behaviour = Behaviour { errors: 0.01, refuses: false, unreachable: false, slower: 1.0 };

    fn targets() -> Targets {
        Targets { listener_rule: "rule".into(), stable: "s".into(), canary: "c".into(), role_arn: None }
    }

    fn start() -> Minute {
        "2026-03-01T10:00:00Z".parse().unwrap()
    }

    /// Ten minutes at a tenth of the traffic.
    fn pass(arms: [Behaviour; 2]) -> (Cloud, Traffic) {
        let cloud = Cloud::new(start().plus(60).start());
        let mut rule = Rule::all_on_stable(&targets());
        rule.write(&targets(), Write { share: Share::from_percent(10.0).unwrap(), release: Release::Nobody });
        cloud.set_rule("rule", rule);
        let mut traffic = Traffic::new(100.0, 5);
        for minute in 0..10 {
            traffic.pass(&cloud, &targets(), start().plus(minute), 0..60, arms);
        }
        (cloud, traffic)
    }

    fn sums(cloud: &Cloud) -> [(f64, f64, f64); 2] {
        let rows: Vec<_> = (0..11).map(|at| cloud.row(&targets(), start().plus(at), Share::ZERO)).collect();
        [Arm::Stable, Arm::Canary].map(|arm| {
            let counts: Vec<_> = rows.iter().filter_map(|row| row.arm(arm)).collect();
            let sum = |f: &dyn Fn(&crate::analysis::window::ArmCounts) -> u64| {
                counts.iter().map(|counts| f(counts)).sum::<u64>() as f64
            };
            (
                sum(&|counts| counts.requests),
                sum(&|counts| counts.http_5xx.unwrap_or(0)),
                sum(&|counts| counts.answered().unwrap_or(0)),
            )
        })
    }

    #[test]
    fn requests_follow_the_weights_and_errors_the_arms() {
        let (cloud, traffic) = pass([FINE, Behaviour { errors: 0.1, ..FINE }]);
        let [stable, canary] = sums(&cloud);
        assert!((stable.0 - 54_000.0).abs() < 1_200.0, "{stable:?}");
        assert!((canary.0 - 6_000.0).abs() < 400.0, "{canary:?}");
        assert!((stable.1 / stable.0 - 0.01).abs() < 0.002, "{stable:?}");
        assert!((canary.1 / canary.0 - 0.1).abs() < 0.02, "{canary:?}");
        // Every request is answered in the end, if only in the next minute.
        assert_eq!((stable.0, canary.0), (stable.2, canary.2));
        assert_eq!(traffic.truth.canary_requests as f64, canary.0);
        assert_eq!(traffic.truth.canary_bad as f64, canary.1);
        assert!((traffic.truth.excess_bad() - 540.0).abs() < 120.0, "{:?}", traffic.truth);
    }

    #[test]
    fn a_refused_connection_is_a_request_without_a_class() {
        let (cloud, traffic) = pass([FINE, Behaviour { refuses: true, ..FINE }]);
        let [_, canary] = sums(&cloud);
        assert!(canary.0 > 5_000.0);
        assert_eq!((canary.1, canary.2), (0.0, 0.0));
        assert_eq!(traffic.truth.canary_bad, traffic.truth.canary_requests);
    }

    #[test]
    fn an_unreachable_canary_leaves_its_requests_to_stable() {
        let (cloud, _) = pass([FINE, Behaviour { unreachable: true, ..FINE }]);
        let [stable, canary] = sums(&cloud);
        assert_eq!(canary.0, 0.0);
        assert!((stable.0 - 60_000.0).abs() < 1_300.0, "{stable:?}");
    }

    #[test]
    fn response_times_have_the_quantiles_that_were_asked_for() {
        let (cloud, _) = pass([FINE, Behaviour { slower: 1.5, ..FINE }]);
        let quantile = |arm, q| Traffic::quantile(&cloud, &targets(), arm, 0..10, start(), q);
        // The answer is an edge, and the sample has luck of its own: one bin for each.
        let near = |value: f64, wanted: f64| value / wanted < 1.22 && wanted / value < 1.22;
        assert!(near(quantile(Arm::Stable, 0.5), 0.08));
        assert!(near(quantile(Arm::Stable, 0.95), 0.08 * 19_f64.powf(0.25)));
        assert!(near(quantile(Arm::Canary, 0.99), 0.12 * 99_f64.powf(0.25)));
    }

    #[test]
    fn the_same_seed_sends_the_same_requests() {
        let (one, other) = (pass([FINE, FINE]), pass([FINE, FINE]));
        assert_eq!(one.1.truth, other.1.truth);
        assert_eq!(sums(&one.0), sums(&other.0));
    }
}
