//! The function from outside: the `bootstrap` binary as Lambda starts it, against an AWS on a local port.
//!
//! `canary-gate` is here for the one command of it that talks to AWS.
//!
//! Nothing in here calls the library. Events go in through the Lambda Runtime API; what came of them is
//! read from the load balancer, the table, the topic's queue and the journal of calls, with requests that
//! are made by hand (`outside`). The endpoint and the binaries are set up by the tests themselves (`setup`).

mod blind;
mod calls;
mod checks;
mod commands;
mod deaths;
mod endpoint;
mod failures;
mod foreign;
mod gate;
mod many;
mod outside;
mod plan_time;
mod refusals;
mod setup;
mod traffic;
mod walk;
mod world;
