//! The command line as a process: what it prints where, and its exit status.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// Runs the command line, with a text on its standard input.
pub(crate) fn run_with(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_canary-gate"))
        .args(arguments)
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command line runs");
    // A process that reads no input may be gone by now.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    run_with(arguments, "")
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

pub(crate) fn status(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

/// A file that is gone when the test is over.
pub(crate) struct TempFile {
    path: std::path::PathBuf,
}

impl TempFile {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("canary-gate-suite-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("a file can be written");
        Self { path }
    }

    pub(crate) fn name(&self) -> &str {
        self.path.to_str().expect("a plain path")
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[test]
fn help_explains_scenarios_examples_and_exit_statuses() {
    let top = run(&["--help"]);
    assert_eq!(status(&top), 0);
    for command in ["simulate", "replay", "check", "schema"] {
        assert!(out(&top).contains(command), "{}", out(&top));
        let help = run(&[command, "--help"]);
        assert_eq!(status(&help), 0);
        assert!(out(&help).contains("Example"), "{}", out(&help));
    }
    assert!(out(&run(&["simulate", "--help"])).contains("noisy-cloud"));
    assert!(out(&run(&["replay", "--help"])).contains("1   drained"));
    assert_eq!(status(&run(&["--version"])), 0);
}

#[test]
fn wrong_usage_is_64_and_says_what_is_wrong_on_standard_error() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["bogus"], "bogus"),
        (&["simulate", "--scenario", "meteor"], "meteor"),
        (&["simulate", "--rps", "0"], "above 0"),
        (&["simulate", "--rps", "-5"], "above 0"),
        (&["simulate", "--minutes", "0"], "--minutes"),
        (&["simulate", "--seed", "x"], "--seed"),
        (&["replay", "--plan", "p"], "--recording"),
        (&["replay", "--plan", "-", "--recording", "-"], "only one"),
        (&["replay", "--plan", "p", "--recording", "r", "--format", "xml"], "xml"),
    ];
    for (arguments, said) in cases {
        let output = run(arguments);
        assert_eq!(status(&output), 64, "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(said), "{arguments:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{arguments:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_66_and_a_file_that_is_no_text_is_65() {
    for arguments in [
        &["check", "/nowhere/plan.yaml"][..],
        &["simulate", "--plan", "/nowhere/plan.yaml"],
        &["replay", "--plan", "/nowhere/plan.yaml", "--recording", "-"],
    ] {
        let output = run(arguments);
        assert_eq!(status(&output), 66, "{}", err(&output));
        assert!(err(&output).contains("/nowhere/plan.yaml can't be read"), "{}", err(&output));
    }
    let binary = TempFile::new("binary", "");
    std::fs::write(binary.name(), [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(status(&run(&["check", binary.name()])), 65);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let command = format!(
        "{} simulate --verbose --scenario healthy | head -3; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_canary-gate")
    );
    let output = Command::new("bash").args(["-c", &command]).output().expect("bash runs");
    assert_eq!(status(&output), 0, "{}", err(&output));
    assert_eq!((out(&output).lines().count(), err(&output).as_str()), (3, ""));
}
