//! How far it is, for a person who waits at a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

/// Blocks in the bar.
const BLOCKS: usize = 40;
/// Before so many seconds have passed nobody wonders, and no estimate is any good.
const PATIENCE_S: f64 = 1.0;
/// Nobody reads faster.
const EVERY_S: f64 = 0.2;

/// A bar on standard error; nothing if that is no terminal.
pub(super) struct Progress {
    jobs: usize,
    begun: Instant,
    told_s: f64,
    seen: bool,
    shown: bool,
}

impl Progress {
    pub(super) fn new(jobs: usize) -> Self {
        Self { jobs, begun: Instant::now(), told_s: 0.0, seen: io::stderr().is_terminal(), shown: false }
    }

    /// So many are done.
    pub(super) fn tell(&mut self, done: usize) {
        let passed = self.begun.elapsed().as_secs_f64();
        if self.seen && passed > PATIENCE_S && passed - self.told_s > EVERY_S && done > 0 {
            self.told_s = passed;
            // If it can't be written, nobody is looking.
            let _ = write!(io::stderr().lock(), "\r{}", bar(done, self.jobs, passed));
            self.shown = true;
        }
    }

    /// Wipes the bar away.
    pub(super) fn end(self) {
        if self.shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn bar(done: usize, jobs: usize, passed_s: f64) -> String {
    let full = BLOCKS * done / jobs.max(1);
    let left_s = passed_s * (jobs - done) as f64 / done.max(1) as f64;
    let blocks = format!("{}{}", "#".repeat(full), "-".repeat(BLOCKS - full));
    format!("[{blocks}] {done} of {jobs} rollouts, {left_s:.0} s left ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_with_the_work_and_estimates_the_rest() {
        let half = bar(500, 1_000, 10.0);
        assert!(half.starts_with("[####################--------------------] 500 of 1000"), "{half}");
        assert!(half.contains("10 s left"));
        assert!(bar(1_000, 1_000, 9.0).contains("[########################################]"));
    }
}
