//! Errors of one arm, minute by minute.

use super::check::ErrorsCheck;
use super::window::{ArmCounts, Tally};

/// Tallies the errors of one arm in the order of its minutes.
///
/// A request that was never answered is in no status class, so it shows only as a request too many. A
/// request and its answer may be counted in neighbouring minutes, so a minute may also have answers too
/// many. Those are carried forward and set off against later requests without an answer: what is booked in
/// all is at most the largest number of requests that were in flight at the end of a minute, beyond those
/// that truly got no answer.
///
/// ```text
/// remainder_t = requests_t - answered_t + carry_{t-1}
/// unanswered_t = max(0, remainder_t),   carry_t = min(0, remainder_t)
/// ```
#[derive(Debug, Clone, Default)]
pub struct ErrorTally {
    /// Zero or below.
    carry: i64,
}

/// The errors of one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MinuteErrors {
    /// All that count.
    pub all: Tally,
    /// Without the unanswered requests: the minute of a shift has some of those in flight.
    pub answered: Tally,
}

impl ErrorTally {
    /// Tallies the next minute.
    #[must_use]
    pub fn next(&mut self, counts: &ArmCounts, rule: &ErrorsCheck) -> MinuteErrors {
        let total = counts.requests;
        let bad = match (counts.answered(), counts.errors) {
            (None, Some(errors)) => errors,
            _ => {
                let refused = if rule.count_4xx { counts.http_4xx.unwrap_or(0) } else { 0 };
                counts.http_5xx.unwrap_or(0).saturating_add(refused)
            }
        };
        let unanswered = match counts.answered() {
            Some(answered) if rule.count_unanswered => self.book(total, answered),
            _ => 0,
        };
        let tally = |bad: u64| Tally { bad: bad.min(total), total };
        MinuteErrors { all: tally(bad.saturating_add(unanswered)), answered: tally(bad) }
    }

    fn book(&mut self, requests: u64, answered: u64) -> u64 {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let remainder = signed(requests).saturating_sub(signed(answered)).saturating_add(self.carry);
        self.carry = remainder.min(0);
        u64::try_from(remainder).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(requests: u64, ok: u64, failed: u64) -> ArmCounts {
        ArmCounts { requests, http_2xx: Some(ok), http_5xx: Some(failed), ..ArmCounts::default() }
    }

    fn bad(minutes: &[ArmCounts], rule: &ErrorsCheck) -> Vec<u64> {
        let mut tally = ErrorTally::default();
        minutes.iter().map(|counts| tally.next(counts, rule).all.bad).collect()
    }

    #[test]
    fn a_canary_that_refuses_every_connection_has_only_errors() {
        let refused = ArmCounts { requests: 8, ..ArmCounts::default() };
        assert_eq!(bad(&[refused.clone(), refused], &ErrorsCheck::default()), [8, 8]);
    }

    #[test]
    fn answers_that_land_in_the_next_minute_are_not_errors_twice() {
        // Three requests in flight at the end of every minute: booked once, when they first appear.
        let minutes = [minute(100, 97, 0), minute(100, 100, 0), minute(100, 103, 0), minute(100, 97, 0)];
        assert_eq!(bad(&minutes, &ErrorsCheck::default()), [3, 0, 0, 0]);
    }

    #[test]
    fn failed_and_unanswered_requests_add_up_and_never_pass_the_requests() {
        let minutes = [minute(10, 5, 2), minute(3, 0, 7)];
        assert_eq!(bad(&minutes, &ErrorsCheck::default()), [5, 3]);
    }

    #[test]
    fn refusals_count_only_if_asked_and_unanswered_only_unless_switched_off() {
        let counts = ArmCounts { http_4xx: Some(4), ..minute(10, 3, 1) };
        let rule = ErrorsCheck { count_unanswered: false, ..ErrorsCheck::default() };
        assert_eq!(bad(std::slice::from_ref(&counts), &rule), [1]);
        assert_eq!(bad(&[counts], &ErrorsCheck { count_4xx: true, ..rule }), [5]);
    }

    #[test]
    fn errors_given_directly_are_taken_as_they_are() {
        let counts = ArmCounts { requests: 10, errors: Some(4), ..ArmCounts::default() };
        assert_eq!(bad(&[counts], &ErrorsCheck::default()), [4]);
    }
}
