//! Time that passes at once: whoever waits is woken in order, and nothing takes as long as it says.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::ports::Time;

/// Virtual time of one invocation, and the runtime that turns it.
#[derive(Debug, Default)]
pub struct VirtualTime {
    allowed: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: Duration,
    /// Who waits, by when they are to be woken and in which order they came.
    waiting: BTreeMap<(Duration, u64), Waker>,
    came: u64,
}

impl VirtualTime {
    /// Of an invocation that may take so long.
    #[must_use]
    pub fn new(allowed: Option<Duration>) -> Self {
        Self { allowed, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a future whose only waits are on this time.
    ///
    /// # Panics
    /// If it waits for something else: that would never come.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
                return done;
            }
            let mut state = self.state();
            let ((at, _), waker) = state.waiting.pop_first().expect("it waits for this time");
            state.now = state.now.max(at);
            drop(state);
            waker.wake();
        }
    }
}

impl Time for VirtualTime {
    fn spent(&self) -> Duration {
        self.state().now
    }

    fn allowed(&self) -> Option<Duration> {
        self.allowed
    }

    async fn wait(&self, how_long: Duration) {
        let until = self.spent() + how_long;
        let mut place = None;
        let over = |context: &mut Context<'_>| {
            let mut state = self.state();
            if state.now >= until {
                return Poll::Ready(());
            }
            // Once, however often it is polled.
            let came = *place.get_or_insert_with(|| {
                state.came += 1;
                state.came
            });
            state.waiting.insert((until, came), context.waker().clone());
            Poll::Pending
        };
        std::future::poll_fn(over).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::{join_all, select};

    use super::*;

    #[test]
    fn those_who_wait_are_woken_in_the_order_of_time() {
        let time = VirtualTime::new(None);
        let woken = Mutex::new(Vec::new());
        // More than a handful: those are polled when they are woken, and not else.
        let all = (0..100_u64).map(|at| {
            let (time, woken) = (&time, &woken);
            async move {
                time.wait(Duration::from_millis((at * 37) % 100)).await;
                time.wait(Duration::from_millis(50)).await;
                woken.lock().unwrap().push(time.spent().as_millis());
            }
        });
        time.run(join_all(all));
        let woken = woken.into_inner().unwrap();
        assert_eq!(woken, (50..150).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_given_up_holds_nobody_up() {
        let time = VirtualTime::new(None);
        let short = pin!(time.wait(Duration::from_secs(1)));
        let long = pin!(time.wait(Duration::from_secs(100)));
        time.run(select(short, long));
        assert_eq!(time.spent(), Duration::from_secs(1));
    }
}
