//! How long an invocation may live.
//!
//! A tick takes what an earlier one left behind for dead after a while: only if every invocation ends before that
//! do two never write at once. Lambda's own time-out would do it, too, but kills the process and says nothing.

use std::time::Duration;

use jiff::Timestamp;

use crate::rollout::record::LIFE;

/// The stable word for it, beside those of [`HandlerError`](super::HandlerError).
pub const ERROR_TYPE: &str = "TimedOut";
/// Before Lambda's deadline, for telling of it.
const NOTICE: Duration = Duration::from_secs(1);

/// How long an invocation may take from `now` on, when Lambda ends it at `deadline_ms` (since 1970; 0 if it did
/// not say).
#[must_use]
pub fn allowed(deadline_ms: u64, now: Timestamp) -> Duration {
    let life = Duration::from_secs(LIFE.seconds());
    if deadline_ms == 0 {
        return life;
    }
    let now_ms = u64::try_from(now.as_millisecond()).unwrap_or(0);
    let left = Duration::from_millis(deadline_ms.saturating_sub(now_ms));
    life.min(left.saturating_sub(NOTICE))
}

/// What to say of an invocation that took longer.
#[must_use]
pub fn given_up(after: Duration) -> String {
    format!("the invocation was given up after {:.1} s; the next tick goes on", after.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_772_359_207_500;

    fn with_left(left_ms: i64) -> Duration {
        let deadline = u64::try_from(NOW_MS + left_ms).unwrap();
        allowed(deadline, Timestamp::from_millisecond(NOW_MS).unwrap())
    }

    #[test]
    fn an_invocation_ends_before_its_lease_and_before_lambda_ends_it() {
        let ms = Duration::from_millis;
        for (left_ms, allowed_ms) in [(900_000, 50_000), (51_000, 50_000), (30_000, 29_000), (1_500, 500)] {
            assert_eq!(with_left(left_ms), ms(allowed_ms), "{left_ms} ms left");
        }
        for left_ms in [1_000, 0, -5_000] {
            assert_eq!(with_left(left_ms), ms(0), "{left_ms} ms left");
        }
        assert_eq!(allowed(0, Timestamp::UNIX_EPOCH), ms(50_000), "no deadline was told");
    }

    #[test]
    fn what_was_given_up_is_told_in_seconds() {
        let said = given_up(Duration::from_secs(50));
        assert_eq!(said, "the invocation was given up after 50.0 s; the next tick goes on");
    }
}
