//! Evidence with a ceiling: a running sum that forgets how far above the bar it once was.
//!
//! Without the ceiling a long healthy stretch piles up credit, and an arm that breaks
//! afterwards is still over the bar for as long as the credit lasts. With it, one bad minute
//! shows at once. It costs no validity: the sum with a ceiling never exceeds the plain one.

use super::error::{StatsError, open_unit};

/// A sum of log e-values that never exceeds `ln(1/level)`.
///
/// ```text
/// W_t = min(W_{t-1} + l_t, ln(1/level)),   W_0 = 0
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CeiledEvidence {
    ceiling: f64,
    sum: f64,
}

impl CeiledEvidence {
    /// No evidence yet, and a ceiling at `ln(1/level)` nats.
    ///
    /// # Errors
    /// When `level` is not strictly between 0 and 1.
    pub fn new(level: f64) -> Result<Self, StatsError> {
        Ok(Self { ceiling: -open_unit("level", level)?.ln(), sum: 0.0 })
    }

    /// Adds one minute's log e-value, in nats. Minus infinity is accepted and never made up for.
    ///
    /// # Errors
    /// When the value is NaN or plus infinity. The state is then unchanged.
    pub fn step(&mut self, ln_e: f64) -> Result<(), StatsError> {
        if ln_e.is_nan() || ln_e == f64::INFINITY {
            return Err(StatsError::NotFinite { what: "log e-value", value: ln_e });
        }
        self.sum = (self.sum + ln_e).min(self.ceiling);
        Ok(())
    }

    /// The sum so far, in nats.
    #[must_use]
    pub const fn ln_e(&self) -> f64 {
        self.sum
    }

    /// What is missing to the ceiling, in nats; 0 at the ceiling.
    #[must_use]
    pub fn missing(&self) -> f64 {
        self.ceiling - self.sum
    }

    /// Whether the bar is reached now.
    #[must_use]
    pub fn is_at_ceiling(&self) -> bool {
        self.sum >= self.ceiling
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_stops_at_the_ceiling_and_one_bad_minute_shows() {
        let mut evidence = CeiledEvidence::new(0.05).unwrap();
        for _ in 0..100 {
            evidence.step(1.0).unwrap();
        }
        assert!(evidence.is_at_ceiling());
        assert_eq!(evidence.missing(), 0.0);
        evidence.step(-0.5).unwrap();
        assert!(!evidence.is_at_ceiling());
        assert!((evidence.missing() - 0.5).abs() < 1e-15);
    }

    #[test]
    fn exactly_the_ceiling_is_enough() {
        let mut evidence = CeiledEvidence::new(0.05).unwrap();
        evidence.step(-0.05f64.ln()).unwrap();
        assert!(evidence.is_at_ceiling());
    }

    #[test]
    fn a_bad_number_changes_nothing() {
        let mut evidence = CeiledEvidence::new(0.05).unwrap();
        evidence.step(1.0).unwrap();
        assert!(evidence.step(f64::NAN).is_err());
        assert!(evidence.step(f64::INFINITY).is_err());
        assert_eq!(evidence.ln_e(), 1.0);
        assert!(CeiledEvidence::new(0.0).is_err());
        assert!(CeiledEvidence::new(1.0).is_err());
    }
}
