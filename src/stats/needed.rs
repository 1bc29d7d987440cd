//! How many more requests a verdict takes.
//!
//! The log evidence grows by its relative entropy with every request of the arm under test, so
//! the number still needed is what is missing divided by that (Wald 1945, section 3.5). It is a
//! lower bound for the average of any test at that level and a forecast for this one: measured
//! times to a true alarm were 1.5 to 1.6 times it.
//!
//! ```text
//! requests = D * target / information        minutes = requests / (requests a minute)
//! ```

use super::design_effect::DesignEffect;
use super::error::{StatsError, in_range, open_unit};
use super::factorial::deviance;
use super::mixture::RELEASE_FIRST;
use super::odds::{ALTERNATIVE_MULTIPLIERS, OddsRatio};
use super::projection::{Allowance, LearntRate, Rates, Weights};

/// Bisections that pin a log odds in -800..800 to the last digit.
const BISECTIONS: usize = 64;
/// Beyond these log odds a rate is 0 or 1 in `f64`.
const LN_ODDS_MAX: f64 = 800.0;

/// Nats that a check with weight `weight` must reach to convict alone at level `alpha`, from
/// fresh capital, with the alternative that fits best out of the standard eight.
///
/// ```text
/// ln(1/alpha) + ln(1/weight) + ln 16
/// ```
///
/// Sixteen: half of the capital is staked at first, on eight alternatives.
///
/// # Errors
/// When `alpha` is not strictly between 0 and 1, or `weight` not above 0 and at most 1.
#[allow(clippy::cast_precision_loss)] // eight
pub fn harm_target(alpha: f64, weight: f64) -> Result<f64, StatsError> {
    let alpha = open_unit("alpha", alpha)?;
    let weight = in_range("weight", weight, f64::MIN_POSITIVE, 1.0)?;
    let stakes = ALTERNATIVE_MULTIPLIERS.len() as f64 / RELEASE_FIRST;
    Ok(stakes.ln() - alpha.ln() - weight.ln())
}

/// Nats that evidence of health must reach at level `beta`, from nothing.
///
/// ```text
/// ln(1/beta)
/// ```
///
/// # Errors
/// When `beta` is not strictly between 0 and 1.
pub fn health_target(beta: f64) -> Result<f64, StatsError> {
    Ok(-open_unit("beta", beta)?.ln())
}

/// Nats of evidence of harm a request of the arm under test, if the true rates are `first` and
/// `second` and odds ratios up to `tolerated` are the null.
///
/// ```text
/// kl(p1, q1) + (n0/n1) kl(p0, q0),   kl(p, q) = p ln(p/q) + (1-p) ln((1-p)/(1-q))
/// odds(q1) = tolerated odds(q0),     n1 q1 + n0 q0 = n1 p1 + n0 p0
/// ```
///
/// `share` is the first arm's part of all requests. With a small share this is `kl(p1, q1)` at
/// `odds(q1) = tolerated odds(p0)`. 0 inside the margin: such a difference is never convicted.
///
/// # Errors
/// When `share` is not strictly between 0 and 1.
pub fn harm_information(
    first: LearntRate,
    second: LearntRate,
    tolerated: OddsRatio,
    share: f64,
) -> Result<f64, StatsError> {
    let weights = weights_of(share)?;
    let psi = odds(first.get()) / odds(second.get());
    if psi <= tolerated.get() {
        return Ok(0.0);
    }
    let rates = Rates { first: first.get(), second: second.get() };
    Ok(odds_information(rates, tolerated, weights))
}

/// Nats of evidence of health a request of the arm under test, when both arms have the rate
/// `rate` and an odds ratio of `allowed` or more is the null.
///
/// The same relative entropy as [`harm_information`], at equal rates.
///
/// # Errors
/// When `share` is not strictly between 0 and 1, or `allowed` is not above 1.
pub fn odds_health_information(rate: LearntRate, allowed: OddsRatio, share: f64) -> Result<f64, StatsError> {
    in_range("allowed odds ratio", allowed.get(), 1.0 + f64::EPSILON, f64::MAX)?;
    let rates = Rates { first: rate.get(), second: rate.get() };
    Ok(odds_information(rates, allowed, weights_of(share)?))
}

/// Nats of evidence of health a request of the arm under test, when both arms have the rate
/// `rate` and worse than the allowance is the null.
///
/// ```text
/// D(p, q1) + (n0/n1) D(p, q0),   D(p, q) = q - p - p ln(q/p)
/// ```
///
/// `(q1, q0)` is the projection of `(p, p)` on the null. With a small share of traffic, `q0 = p`
/// and only the first term is left.
///
/// # Errors
/// When `share` is not strictly between 0 and 1.
pub fn health_information(rate: LearntRate, allowance: &Allowance, share: f64) -> Result<f64, StatsError> {
    let weights = weights_of(share)?;
    let q = allowance.project(rate.get(), weights);
    Ok(deviance(rate.get(), q.first) + weights.second * deviance(rate.get(), q.second))
}

/// Requests of the arm under test that are needed for `nats` of evidence.
///
/// ```text
/// requests = D nats / information
/// ```
///
/// `None` when a request carries no information: no number of them is enough. 0 when nothing is
/// missing any more.
#[must_use]
pub fn requests_needed(nats: f64, information: f64, effect: DesignEffect) -> Option<f64> {
    if nats <= 0.0 {
        return Some(0.0);
    }
    let requests = effect.get() * nats / information;
    (information > 0.0 && requests.is_finite()).then_some(requests)
}

/// Minutes until that many requests have arrived.
///
/// ```text
/// minutes = requests / rate
/// ```
///
/// `None` without traffic.
#[must_use]
pub fn minutes_needed(requests: f64, requests_per_minute: f64) -> Option<f64> {
    let minutes = requests / requests_per_minute;
    (requests_per_minute > 0.0 && minutes.is_finite()).then_some(minutes)
}

/// Requests of both arms for each one of the first.
fn weights_of(share: f64) -> Result<Weights, StatsError> {
    let share = open_unit("share", share)?;
    Ok(Weights { first: 1.0, second: (1.0 - share) / share })
}

fn odds(rate: f64) -> f64 {
    rate / (1.0 - rate)
}

/// Relative entropy between the true rates and those with odds ratio `psi` and the same expected
/// number of bad requests, a request of the first arm.
fn odds_information(p: Rates, psi: OddsRatio, weights: Weights) -> f64 {
    let bad = p.first + weights.second * p.second;
    let (mut low, mut high) = (-LN_ODDS_MAX, LN_ODDS_MAX);
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (low + high);
        let expected = logistic(middle + psi.get().ln()) + weights.second * logistic(middle);
        if expected < bad {
            low = middle;
        } else {
            high = middle;
        }
    }
    let (first, second) = (low + psi.get().ln(), low);
    bernoulli_entropy(p.first, first) + weights.second * bernoulli_entropy(p.second, second)
}

/// The rate of given log odds.
fn logistic(ln_odds: f64) -> f64 {
    1.0 / (1.0 + (-ln_odds).exp())
}

/// Relative entropy of a Bernoulli rate `p` to the rate with the given log odds; as two deviances,
/// neither of which is negative.
fn bernoulli_entropy(p: f64, ln_odds: f64) -> f64 {
    deviance(p, logistic(ln_odds)) + deviance(1.0 - p, logistic(-ln_odds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::oracle::{self, assert_close};

    fn rate(p: f64) -> LearntRate {
        LearntRate::new(p).unwrap()
    }

    fn psi(value: f64) -> OddsRatio {
        OddsRatio::new(value).unwrap()
    }

    /// Requests in the limit of a small share of traffic.
    fn for_health(p: f64, ratio: f64, difference: f64) -> f64 {
        let allowance = Allowance::new(ratio, difference).unwrap();
        let information = health_information(rate(p), &allowance, 1e-9).unwrap();
        requests_needed(health_target(0.05).unwrap(), information, DesignEffect::NONE).unwrap()
    }

    #[test]
    fn information_agrees_with_50_digits() {
        let tables = oracle::tables();
        for case in tables["needed"].as_array().unwrap() {
            let share = oracle::number(&case["share"]);
            let [p1, p0, value] = ["p1", "p0", "psi"].map(|name| oracle::number(&case[name]));
            let got = harm_information(rate(p1), rate(p0), psi(value), share).unwrap();
            assert_close(got, oracle::number(&case["harm"]), 1e-9, 1e-16, case);
            let got = odds_health_information(rate(p0), psi(value), share).unwrap();
            assert_close(got, oracle::number(&case["odds_health"]), 1e-9, 1e-16, case);
        }
    }

    #[test]
    fn with_a_small_share_health_follows_the_closed_form() {
        for (p, q) in [(0.003, 0.013), (0.015, 0.025), (0.1, 0.15)] {
            let want = 0.05f64.ln().abs() / (q - p - p * f64::ln(q / p));
            let got = for_health(p, 1.5, 0.01);
            assert!((got - want).abs() < 1e-6 * want, "{p}: {got} {want}");
        }
    }

    #[test]
    fn with_a_small_share_harm_follows_the_closed_form() {
        let (p0, p1) = (0.003, 0.021);
        let q1 = 1.25 * odds(p0) / (1.0 + 1.25 * odds(p0));
        let want = p1 * f64::ln(p1 / q1) + (1.0 - p1) * f64::ln((1.0 - p1) / (1.0 - q1));
        let got = harm_information(rate(p1), rate(p0), psi(1.25), 1e-9).unwrap();
        assert!((got - want).abs() < 1e-6 * want);
    }

    #[test]
    fn an_effect_inside_the_margin_is_never_convicted() {
        let information = harm_information(rate(0.0035), rate(0.003), psi(1.25), 0.05).unwrap();
        assert_eq!(information, 0.0);
        assert_eq!(requests_needed(4.6, information, DesignEffect::NONE), None);
    }

    #[test]
    fn no_traffic_means_no_date_and_nothing_missing_means_now() {
        assert_eq!(minutes_needed(100.0, 0.0), None);
        assert_eq!(minutes_needed(300.0, 150.0), Some(2.0));
        assert_eq!(requests_needed(-1.0, 0.0, DesignEffect::NONE), Some(0.0));
        assert_eq!(minutes_needed(f64::NAN, 1.0), None);
    }

    #[test]
    fn the_design_effect_multiplies_the_requests() {
        let ten = DesignEffect::new(10.0).unwrap();
        assert_eq!(requests_needed(3.0, 0.5, ten), Some(60.0));
    }

    #[test]
    fn targets_name_level_weight_and_the_sixteen_stakes() {
        let got = harm_target(0.01, 0.5).unwrap();
        assert!((got - f64::ln(100.0 * 2.0 * 16.0)).abs() < 1e-12);
        assert!(harm_target(0.0, 0.5).is_err());
        assert!(harm_target(0.01, 0.0).is_err());
        assert!(health_target(1.0).is_err());
        assert!(harm_information(rate(0.1), rate(0.2), psi(1.0), 1.0).is_err());
    }
}
