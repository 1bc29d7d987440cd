//! The function from outside: the `bootstrap` binary as Lambda starts it, against an AWS on a local port.
//!
//! `canary-gate` is here for the one command of it that talks to AWS.
//!
//! Nothing in here calls the library. Events go in through the Lambda Runtime API; what came of them is
//! read from the load balancer, the table, the topic's queue and the journal of calls, with requests that
//! are made by hand (`outside`). The endpoint and the binaries are set up by the tests themselves (`setup`).

mod aftermath;
mod alarms;
mod blind;
mod brakes;
mod calls;
mod checks;
mod command_line;
mod commands;
mod deaths;
mod doctor;
mod drains;
mod endpoint;
mod failures;
mod foreign;
mod gate;
mod hooks;
mod http;
mod life;
mod log;
mod lost;
mod many;
mod outside;
mod pages;
mod person;
mod plan_time;
mod preserved;
mod refusals;
mod roles;
mod run;
mod scale;
mod service_deployments;
mod setup;
mod targets;
mod traffic;
mod walk;
mod world;
