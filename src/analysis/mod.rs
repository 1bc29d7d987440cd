//! Windows of tallies in, a verdict with its evidence out.
//!
//! Pure: no clock, no I/O, no logging. The same window and rules give the same verdict, bit by bit.

pub mod check;
mod errors;
mod judge;
pub mod tally;
mod timeline;
pub mod verdict;
pub mod window;

pub use judge::{Conditions, Judge, judge};
