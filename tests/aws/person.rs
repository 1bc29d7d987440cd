//! A person at a terminal: `canary-gate` as a process, with credentials of its own.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::setup::tools;
use crate::world::World;

/// Runs the command line with nothing but this in its environment.
pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(&tools().command_line)
        .args(arguments)
        .env_clear()
        .envs([("HOME", "/nowhere"), ("AWS_EC2_METADATA_DISABLED", "true")])
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command line runs");
    // What is refused at once reads no plan.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

/// As somebody who may do everything in the installation of this world.
pub(crate) fn operator(world: &World, arguments: &[&str], input: &str) -> Output {
    let environment = [
        ("AWS_ENDPOINT_URL", world.endpoint.url()),
        ("AWS_REGION", world.scene["region"].as_str().expect("a region")),
        ("AWS_ACCESS_KEY_ID", "AKIDPERSON"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("CANARY_GATE_TOPIC_ARN", world.scene["topic_arn"].as_str().expect("a topic")),
        ("USER", "ana"),
    ];
    run(arguments, &environment, input)
}

/// What it printed; it must have succeeded.
pub(crate) fn told(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", err(output));
    out(output)
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// It failed with this status and one line, which says all of this.
pub(crate) fn failed(output: &Output, status: i32, said: &[&str]) {
    let line = err(output);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(status), 0), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    for part in said {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
}
