//! A cloud in memory, with traffic, faults and a clock, behind the same ports as AWS.
//!
//! It exists so that everything above the ports can be shown and tested without an account, and so that the
//! truth is known: the simulator knows what the canary really did, the judge only what CloudWatch would have
//! published of it. Nothing here decides anything; [`run`] drives the very handler that Lambda runs.

mod alb;
pub mod chaos;
mod cloud;
mod cloudwatch;
mod deployments;
pub mod explore;
mod faults;
pub mod fleet;
pub mod meter;
pub mod network;
pub mod random;
pub mod run;
pub mod scenario;
pub mod synthetic;
pub mod time;
pub mod traffic;
pub mod trials;

pub use alb::Rule;
pub use cloud::Cloud;
pub use cloudwatch::{Counts, Publication};
pub use deployments::SimDeployment;
pub use faults::{Call, Fault, Flaw, Operation, Outcome};
