//! Whether an installation would work for a plan: what was looked at, and what is wrong with it.
//!
//! Nothing is changed by looking. What a caller may not see is a finding, too.

mod findings;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::ports::{Failure, MetricRead, Running, Split};
use crate::rollout::record::Audit;
use crate::units::{Minute, Span};

pub use findings::findings;

/// Minutes of metrics that are looked at.
pub const LOOKED_AT: i64 = 30;
/// Minutes of ticks that are looked at: some may be late, and the dead man's alarm takes as long.
pub const TICKS_LOOKED_AT: i64 = 15;

/// An installation and the groups of a plan, as they are now.
#[derive(Debug)]
pub struct Examined {
    /// When.
    pub at: Timestamp,
    /// Minutes younger than this are not looked at by a tick.
    pub watermark: Span,
    /// How far this machine's clock is ahead of AWS's; `None` if AWS did not say its time.
    pub clock_ahead: Option<SignedDuration>,
    /// Whether the plan's role could be assumed; `None` if it has none. If not, nothing that it is for was read.
    pub role: Option<Result<(), Failure>>,
    /// How the plan's rule splits its traffic.
    pub split: Result<Split, Failure>,
    /// Healthy targets of the stable group.
    pub stable_targets: Result<u32, Failure>,
    /// Healthy targets of the canary group.
    pub canary_targets: Result<u32, Failure>,
    /// The last [`LOOKED_AT`] whole minutes of both groups.
    pub metrics: Result<MetricRead, Failure>,
    /// What runs in the installation.
    pub running: Result<Running, Failure>,
    /// Who froze all rollouts.
    pub freeze: Result<Option<Audit>, Failure>,
    /// Who gets its pages; `None` if no topic was named.
    pub topic: Option<Result<Subscribers, Failure>>,
    /// Of the last [`TICKS_LOOKED_AT`] minutes: 1 where the function carried its tick out, 0 where it did not. `None`
    /// if there is no function.
    pub ticks: Option<Result<Vec<(Minute, f64)>, Failure>>,
}

/// Those who get a topic's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribers {
    /// They get them.
    pub confirmed: u64,
    /// They have not said yet that they want them.
    pub pending: u64,
}

/// How it is with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Fine,
    /// It will do, and somebody should know.
    Notice,
    /// A rollout would not start, not be judged, or nobody would hear of it.
    Fault,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in one word.
    pub of: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it; empty if nothing.
    pub fix: String,
}
