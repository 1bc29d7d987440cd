//! Real time within one invocation: the function's, and that of a tick of `canary-gate run`.

use std::time::{Duration, Instant};

use crate::ports::Time;

/// Begins when it is made.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    begun: Instant,
    allowed: Duration,
}

impl Clock {
    /// From now on, for so long.
    #[must_use]
    pub fn start(allowed: Duration) -> Self {
        Self { begun: Instant::now(), allowed }
    }
}

impl Time for Clock {
    fn spent(&self) -> Duration {
        self.begun.elapsed()
    }

    fn allowed(&self) -> Option<Duration> {
        Some(self.allowed)
    }

    async fn wait(&self, how_long: Duration) {
        tokio::time::sleep(how_long).await;
    }
}
