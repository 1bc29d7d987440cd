//! Errors of one arm, minute by minute.

use super::check::ErrorsCheck;
use super::window::{ArmCounts, Tally};

/// How many requests are under way when a minute ends, learnt from stable.
///
/// A request that arrives in one minute and is answered in the next is a request too many in the first and an
/// answer too many in the second. With L requests under way at the ends of minutes, Poisson and independent
/// when answers take less than a minute, what is too many in a minute has a variance of 2 L; requests that
/// are never answered shift its mean and leave the variance.
///
/// ```text
/// fraction = Var(requests_t - answers_t) / (2 mean(requests_t))     (answer time in minutes, Little's law)
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct UnderWay {
    minutes: f64,
    requests: f64,
    sum: f64,
    squares: f64,
}

/// Minutes that it takes to learn how long answers take.
const LEARNING_MINUTES: f64 = 5.0;
/// Until then: answers take a second.
const UNDER_WAY_AT_FIRST: f64 = 1.0 / 60.0;
/// Standard deviations of the requests under way that are still no reason to call some unanswered.
const UNDER_WAY_DEVIATIONS: f64 = 3.0;

impl UnderWay {
    /// Learns from a minute of stable.
    pub fn learn(&mut self, counts: &ArmCounts) {
        if let Some(answered) = counts.answered() {
            let open = counts.requests as f64 - answered as f64;
            self.minutes += 1.0;
            self.requests += counts.requests as f64;
            self.sum += open;
            self.squares += open * open;
        }
    }

    /// So many of a minute's requests may be under way at its end, and rarely more.
    fn at_most(self, requests: u64) -> u64 {
        let mean = self.sum / self.minutes;
        let variance = (self.squares / self.minutes - mean * mean).max(0.0);
        let fraction = if self.minutes < LEARNING_MINUTES || self.requests == 0.0 {
            UNDER_WAY_AT_FIRST
        } else {
            (variance / 2.0 / (self.requests / self.minutes)).min(1.0)
        };
        let expected = fraction * requests as f64;
        (expected + UNDER_WAY_DEVIATIONS * expected.sqrt()).ceil() as u64
    }
}

/// Tallies the errors of one arm in the order of its minutes.
///
/// A request that was never answered is in no status class, so it shows only as a request too many; and so
/// does one that is still under way when its minute ends. So requests without an answer are summed up, those
/// that the next minute has answers too many for are left out, and what is more than [`UnderWay`] explains,
/// and more than ever before, is booked.
///
/// ```text
/// lacking_t    = sum_{1..t} (requests - answers) + min(0, requests_{t+1} - answers_{t+1}) - under way
/// unanswered_t = max(0, lacking_t - max(0, lacking_1, ..., lacking_{t-1}))
/// ```
#[derive(Debug, Clone, Default)]
pub struct ErrorTally {
    /// Requests without an answer so far; below zero where answers came whose requests were not seen.
    open: i64,
    /// As many of them were booked.
    booked: i64,
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl ErrorTally {
    /// Tallies the next minute, given the one after it. Without that one, or with a gap before it, only
    /// answers count: whether the rest will be answered is not known.
    #[must_use]
    pub fn next(
        &mut self,
        counts: &ArmCounts,
        following: Option<&ArmCounts>,
        under_way: UnderWay,
        rule: &ErrorsCheck,
    ) -> Tally {
        let failed = Self::failed(counts, rule);
        let later = following.and_then(|counts| Some((counts.requests, counts.answered()?)));
        let unanswered = match (counts.answered(), later) {
            (Some(answered), Some((requests, later))) if rule.count_unanswered => {
                let surplus = signed(requests).saturating_sub(signed(later)).min(0);
                self.book(counts.requests, answered, surplus, under_way)
            }
            _ => {
                *self = Self::default();
                0
            }
        };
        Tally { bad: failed.saturating_add(unanswered).min(counts.requests), total: counts.requests }
    }

    /// The errors of a minute as far as it tells itself, requests under way included: to be looked at, not to
    /// be judged by.
    #[must_use]
    pub fn at_a_glance(counts: &ArmCounts, rule: &ErrorsCheck) -> Tally {
        let open = match counts.answered() {
            Some(answered) if rule.count_unanswered => counts.requests.saturating_sub(answered),
            _ => 0,
        };
        let bad = Self::failed(counts, rule).saturating_add(open).min(counts.requests);
        Tally { bad, total: counts.requests }
    }

    fn failed(counts: &ArmCounts, rule: &ErrorsCheck) -> u64 {
        match (counts.answered(), counts.errors) {
            (None, Some(errors)) => errors,
            _ => {
                let refused = if rule.count_4xx { counts.http_4xx.unwrap_or(0) } else { 0 };
                counts.http_5xx.unwrap_or(0).saturating_add(refused)
            }
        }
    }

    fn book(&mut self, requests: u64, answered: u64, surplus: i64, under_way: UnderWay) -> u64 {
        self.open = self.open.saturating_add(signed(requests)).saturating_sub(signed(answered));
        let lacking = self.open.saturating_add(surplus).saturating_sub(signed(under_way.at_most(requests)));
        let more = lacking.saturating_sub(self.booked).max(0);
        self.booked = self.booked.saturating_add(more);
        u64::try_from(more).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(requests: u64, ok: u64, failed: u64) -> ArmCounts {
        ArmCounts { requests, http_2xx: Some(ok), http_5xx: Some(failed), ..ArmCounts::default() }
    }

    fn bad(minutes: &[ArmCounts], rule: &ErrorsCheck) -> Vec<u64> {
        let (mut tally, under_way) = (ErrorTally::default(), UnderWay::default());
        let following = |at: usize| minutes.get(at + 1);
        (0..minutes.len()).map(|at| tally.next(&minutes[at], following(at), under_way, rule).bad).collect()
    }

    #[test]
    fn a_canary_that_refuses_every_connection_has_only_errors_once_the_next_minute_is_there() {
        let refused = ArmCounts { requests: 80, ..ArmCounts::default() };
        let minutes = [refused.clone(), refused.clone(), refused];
        // A few may be under way: 80 / 60 and three deviations.
        assert_eq!(bad(&minutes, &ErrorsCheck::default()), [75, 80, 0]);
    }

    #[test]
    fn requests_that_the_next_minute_answers_are_no_errors() {
        let minutes = [minute(100, 60, 0), minute(100, 140, 0), minute(100, 100, 0)];
        assert_eq!(bad(&minutes, &ErrorsCheck::default()), [0; 3]);
    }

    #[test]
    fn requests_that_are_never_answered_are_booked_each_once() {
        let minutes: Vec<_> = (0..11).map(|_| minute(100, 90, 0)).collect();
        let bad = bad(&minutes, &ErrorsCheck::default());
        assert_eq!(bad[..3], [4, 10, 10]);
        assert_eq!(bad.iter().sum::<u64>(), 94);
    }

    #[test]
    fn stable_teaches_how_many_requests_are_under_way() {
        let mut under_way = UnderWay::default();
        // 1,000 requests a minute, 100 under way at its end, give or take 10.
        for open in [0, 14, -14, 14, -14, 14, -14, 0, 14, -14] {
            under_way.learn(&minute(1_000, (1_000_i64 - open) as u64, 0));
        }
        assert!((80..=180).contains(&under_way.at_most(1_000)), "{}", under_way.at_most(1_000));
        assert!((5..=20).contains(&under_way.at_most(50)), "{}", under_way.at_most(50));
        let mut lost = UnderWay::default();
        (0..10).for_each(|_| lost.learn(&minute(1_000, 900, 0)));
        assert_eq!(lost.at_most(1_000), 0, "requests that get no answer are not under way");
    }

    #[test]
    fn a_gap_in_the_minutes_books_nothing() {
        let (mut tally, under_way) = (ErrorTally::default(), UnderWay::default());
        let rule = ErrorsCheck::default();
        assert_eq!(tally.next(&minute(100, 50, 0), None, under_way, &rule).bad, 0);
        assert_eq!(tally.next(&minute(10, 10, 0), Some(&minute(10, 10, 0)), under_way, &rule).bad, 0);
    }

    #[test]
    fn errors_never_pass_the_requests() {
        let minutes = [minute(10, 5, 2), minute(3, 0, 7), minute(1, 0, 0)];
        assert!(
            bad(&minutes, &ErrorsCheck::default()).iter().zip(&minutes).all(|(bad, m)| *bad <= m.requests)
        );
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
