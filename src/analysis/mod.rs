//! Windows of tallies in, a verdict with its evidence out.
//!
//! Pure: no clock, no I/O, no logging. The same window and rules give the same verdict, bit by bit.

pub mod check;
mod checks;
mod classes;
mod distribution;
pub mod edge;
mod evidence;
pub mod forecast;
mod judge;
pub mod one_look;
mod rate;
pub mod recent;
mod silence;
mod split;
pub mod tally;
pub mod threshold;
mod timeline;
pub mod verdict;
pub mod window;

pub use distribution::edges;
pub use judge::{BurnIn, Conditions, Judge, judge};
pub use one_look::{OneLook, one_look};

#[cfg(test)]
mod check_tests;
