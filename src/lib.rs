//! canary-gate: ships a new version behind an Application Load Balancer while everyone sleeps.
//!
//! One tick, once a minute, in five sentences. The handler reads which rollouts are running, and for each
//! of them the weights of its listener rule and the minutes of both target groups. The judge compares the
//! canary with the live stable arm by a sequential test, which stays valid although it is looked at every
//! minute, and says healthy, harmful, undecided or blind. The decision is a pure function of the record and
//! of what was observed: up a step, stay, drain, freeze, or finish. Its effects are carried out in the order
//! that keeps production safe: down, the weights are written first; up, the intent is on record first. What
//! a person must know lies in the record's outbox until it is sent.
//!
//! | room | what it is |
//! |---|---|
//! | [`units`] | checked quantities |
//! | [`stats`] | numbers in, numbers out; knows no canary |
//! | [`analysis`] | windows of tallies in, a verdict with its evidence out |
//! | [`rollout`] | a record and what was observed in, a decision with its effects out |
//! | [`recording`] | the file format of recorded minutes |
//! | [`config`] | text in, a checked plan out, every problem at once |
//! | [`event`] | JSON in, an invocation out |
//! | [`ports`] | what the handler needs of the world |
//! | [`doctor`] | what an installation looks like in, what is wrong with it out |
//! | [`handler`] | the shell: observe, tick, perform, commands, pages |
//! | `github` | what waits at GitHub is told (feature `github`) |
//! | `aws` | the adapters; the only place that names the SDK (feature `aws`) |
//! | `clock` | real time within one invocation (features `aws` and `cli`) |
//! | `local` | what stands in for AWS on one machine: a file of records, pages to a command (feature `cli`) |
//! | [`sim`] | a cloud in memory with traffic, faults and a clock |
//! | `cli` | the command line (feature `cli`) |
//!
//! Rules: imports go one way, from the lower rows to the upper ones (a test keeps the table of
//! CONTRIBUTING.md). Everything up to `event` reads no clock, environment or file, and does not log. `now`
//! is read once per invocation, in the binary. No data is never good news.

pub mod analysis;
#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(any(feature = "aws", feature = "cli"))]
pub mod clock;
pub mod config;
pub mod doctor;
pub mod event;
#[cfg(feature = "github")]
pub mod github;
pub mod handler;
#[cfg(feature = "cli")]
pub mod local;
pub mod ports;
pub mod recording;
pub mod rollout;
pub mod sim;
pub mod stats;
pub mod units;
