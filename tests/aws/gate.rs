//! The function's process, started as Lambda starts it.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::endpoint::{Endpoint, Log, wait_for};
use crate::setup::tools;

/// The table that the function is told of.
pub(crate) const TABLE: &str = "canary-gate";
/// Its init phase may take no longer in Lambda.
const INIT: Duration = Duration::from_secs(10);

/// A running function.
pub(crate) struct Gate {
    child: Child,
    log: Log,
}

/// What Lambda puts into every function's environment.
fn lambda_environment(command: &mut Command) {
    command.env_clear().envs([
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("TZ", ":UTC"),
        ("LANG", "en_US.UTF-8"),
        ("_HANDLER", "bootstrap"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_rust"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_FUNCTION_NAME", "function"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/function"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/03/01/[$LATEST]0"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDFUNCTION"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
    ]);
}

impl Gate {
    /// Starts the function with settings of its own and waits until it asks for its first event.
    pub(crate) fn start(endpoint: &Endpoint, settings: &[(&str, &str)]) -> Self {
        let log = Log::new();
        let before = polls(endpoint);
        let mut command = Command::new(&tools().bootstrap);
        lambda_environment(&mut command);
        let child = command
            .env("AWS_LAMBDA_RUNTIME_API", endpoint.host())
            .env("AWS_ENDPOINT_URL", endpoint.url())
            .env("CANARY_GATE_TABLE", TABLE)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.end())
            .stderr(log.end())
            .spawn()
            .expect("bootstrap starts");
        let mut gate = Self { child, log };
        wait_for("the function's first poll", INIT, || {
            if let Some(status) = gate.child.try_wait().expect("a child process") {
                panic!("bootstrap ended ({status})");
            }
            (polls(endpoint) > before).then_some(())
        });
        gate
    }

    /// The most memory it ever had, in megabytes, where the system says so.
    pub(crate) fn peak_memory_mb(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes / 1_024)
    }

    /// Processor time that it used so far, where the system says so.
    pub(crate) fn processor_time(&self) -> Option<Duration> {
        // Hundredths of a second in user mode and in the kernel, counted from the name, which ends with a bracket.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2);
        let hundredths: u64 = fields.map(|field| field.parse::<u64>().unwrap_or(0)).sum();
        Some(Duration::from_millis(hundredths * 10))
    }

    /// What it wrote so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }
}

/// How often a process asked for an event.
fn polls(endpoint: &Endpoint) -> u64 {
    endpoint.get("runtime")["functions"]["function"]["polls"].as_u64().unwrap_or(0)
}

/// Runs `bootstrap` with these settings alone until it ends: whether it was content, and what it said.
pub(crate) fn run_to_its_end(settings: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(&tools().bootstrap);
    lambda_environment(&mut command);
    command.env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9").envs(settings.iter().copied());
    let output = command.stdin(Stdio::null()).output().expect("bootstrap starts");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.log.show("bootstrap");
        }
    }
}
