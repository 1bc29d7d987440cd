//! How often somebody may do something: buckets that fill steadily, one for each name, and no more of them than
//! memory is meant for.

use std::collections::HashMap;

use jiff::Timestamp;

/// One bucket for each name.
#[derive(Debug)]
pub(super) struct Buckets {
    /// What a full one holds.
    burst: f64,
    per_second: f64,
    /// So many names at most; of more, the one that did nothing for longest is forgotten.
    most: usize,
    buckets: HashMap<String, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Timestamp,
}

impl Buckets {
    pub(super) fn new(burst: u32, per_minute: u32, most: usize) -> Self {
        let per_second = f64::from(per_minute) / 60.0;
        Self { burst: f64::from(burst), per_second, most, buckets: HashMap::new() }
    }

    /// Takes one out of a bucket.
    ///
    /// # Errors
    /// If it is empty: the seconds until it is not.
    pub(super) fn take(&mut self, name: &str, now: Timestamp) -> Result<(), u32> {
        let mut bucket = self.filled(name, now);
        let taken = self.wait(bucket);
        if taken.is_ok() {
            bucket.left -= 1.0;
        }
        self.make_room(name, now);
        self.buckets.insert(name.to_owned(), bucket);
        taken
    }

    fn filled(&self, name: &str, now: Timestamp) -> Bucket {
        let left = self.buckets.get(name).map_or(self.burst, |bucket| {
            let since = now.duration_since(bucket.at).as_secs_f64().max(0.0);
            self.burst.min(bucket.left + since * self.per_second)
        });
        Bucket { left, at: now }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn wait(&self, bucket: Bucket) -> Result<(), u32> {
        if bucket.left >= 1.0 {
            return Ok(());
        }
        Err(((1.0 - bucket.left) / self.per_second).ceil().max(1.0) as u32)
    }

    fn make_room(&mut self, name: &str, now: Timestamp) {
        if self.buckets.len() < self.most || self.buckets.contains_key(name) {
            return;
        }
        let (burst, per_second) = (self.burst, self.per_second);
        self.buckets.retain(|_, bucket| {
            bucket.left + now.duration_since(bucket.at).as_secs_f64().max(0.0) * per_second < burst
        });
        if self.buckets.len() >= self.most {
            let oldest = self.buckets.iter().min_by_key(|(_, bucket)| bucket.at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.buckets.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000 + second)
    }

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_so_many_a_minute() {
        let mut buckets = Buckets::new(3, 30, 10);
        assert_eq!(
            [0, 0, 0, 0].map(|second| buckets.take("a", at(second))),
            [Ok(()), Ok(()), Ok(()), Err(2)]
        );
        assert_eq!(buckets.take("b", at(0)), Ok(()), "each has its own");
        assert_eq!((buckets.take("a", at(1)), buckets.take("a", at(2))), (Err(1), Ok(())));
        assert_eq!(buckets.take("a", at(2)), Err(2));
        assert_eq!(
            [60, 60, 60, 60].map(|second| buckets.take("a", at(second)).is_ok()),
            [true, true, true, false]
        );
    }

    #[test]
    fn a_clock_that_goes_back_fills_nothing() {
        let mut buckets = Buckets::new(1, 60, 10);
        assert_eq!((buckets.take("a", at(10)), buckets.take("a", at(0))), (Ok(()), Err(1)));
    }

    #[test]
    fn no_more_names_are_kept_than_there_is_room_for() {
        let mut buckets = Buckets::new(2, 1, 3);
        for second in 0..100 {
            let _ = buckets.take(&format!("name-{second}"), at(second));
            assert!(buckets.buckets.len() <= 3);
        }
        assert!(buckets.buckets.contains_key("name-99") && buckets.buckets.contains_key("name-97"));
    }
}
