//! Everything that can be tested in memory: the handler on the simulated cloud, and the command line as a
//! process.

// Helpers are no test functions to clippy; a panic is how a test fails, and what it prints is shown then.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod aftermath;
mod alarms;
mod allocations;
mod brakes;
mod calibrate;
mod callers;
mod chaos;
mod command_line;
mod completions;
mod cost;
mod crashes;
mod documents;
mod explore;
mod fuzz;
mod github;
mod hooks;
mod http;
mod layering;
mod one_look;
mod pages;
mod plan_time;
mod plans;
mod recordings;
mod replay;
mod rules;
mod scale;
mod simulate;
mod store;
mod telemetry;
mod ticks;
mod validity;
mod world;
