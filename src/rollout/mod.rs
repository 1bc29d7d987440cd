//! From a record and what was observed to a decision: pure, and the one place where the share is chosen.

pub mod calendar;
pub mod command;
pub mod decide;
pub mod effect;
#[cfg(test)]
pub(crate) mod fixture;
pub mod gate;
pub mod plan;
pub mod record;
pub mod shard;
pub mod standing;
mod transition;
pub mod verify;
