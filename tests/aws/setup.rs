//! What every test needs and none should have to ask for: the endpoint's Python environment and the binaries
//! that talk to AWS, made once and kept in the target directory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// What a test starts.
#[derive(Debug)]
pub(crate) struct Tools {
    /// The interpreter of the endpoint's environment.
    pub(crate) python: PathBuf,
    /// The Lambda function.
    pub(crate) bootstrap: PathBuf,
    /// `canary-gate` with CloudWatch.
    pub(crate) command_line: PathBuf,
}

/// The tools, made by the first test that asks.
pub(crate) fn tools() -> &'static Tools {
    static TOOLS: OnceLock<Result<Tools, String>> = OnceLock::new();
    let made = TOOLS.get_or_init(|| {
        let python = python()?.to_owned();
        let (bootstrap, command_line) = binaries()?;
        Ok(Tools { python, bootstrap, command_line })
    });
    made.as_ref().unwrap_or_else(|problem| panic!("the tests can't be set up: {problem}"))
}

/// The interpreter alone.
fn python() -> Result<&'static Path, String> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PYTHON.get_or_init(environment).as_deref().map_err(Clone::clone)
}

/// The package's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the endpoint's source lies.
pub(crate) fn endpoint_dir() -> PathBuf {
    root().join("tests/endpoint")
}

/// The directory that cargo builds into.
fn target() -> &'static Path {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().unwrap_or(tmp)
}

/// For files that nobody needs for long.
pub(crate) fn scratch() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&dir).expect("the target directory can be written");
    dir
}

/// A line for whoever waits; the test harness would hide what `eprintln!` prints.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "[setup] {line}");
}

/// Runs a command to its end; its output if it fails.
fn run(command: &mut Command, what: &str) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{what} can't be started: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout) + &text(&output.stderr));
    }
    Err(format!("{what} failed ({}):\n{}{}", output.status, text(&output.stdout), text(&output.stderr)))
}

/// The endpoint's environment. Its name holds a hash of all that it is made of, so a change makes a new
/// one; a mark in it says that it is whole; a lock keeps two test runs from making it at once.
fn environment() -> Result<PathBuf, String> {
    let requirements = endpoint_dir().join("requirements.txt");
    let wanted = fs::read(&requirements).map_err(|error| format!("{}: {error}", requirements.display()))?;
    let version = run(Command::new("python3").arg("--version"), "python3 (3.11 or later is needed)")?;
    let mut hasher = DefaultHasher::new();
    (wanted, version).hash(&mut hasher);
    let all = target().join("endpoint-venv");
    let this = all.join(format!("{:016x}", hasher.finish()));
    let (python, mark) = (this.join("bin/python"), this.join("complete"));
    fs::create_dir_all(&all).map_err(|error| format!("{}: {error}", all.display()))?;
    let lock = File::create(all.join("lock")).map_err(|error| format!("the lock file: {error}"))?;
    lock.lock().map_err(|error| format!("the lock file: {error}"))?;
    if mark.exists() {
        return Ok(python);
    }
    say("making the endpoint's Python environment (about 20 s, once)");
    for old in fs::read_dir(&all).into_iter().flatten().flatten() {
        let _ = fs::remove_dir_all(old.path());
    }
    run(
        Command::new("python3").args(["-m", "venv"]).arg(&this),
        "python3 -m venv (Debian and Ubuntu have it in the package python3-venv)",
    )?;
    run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
        "pip install (it needs a package index the first time)",
    )?;
    File::create(&mark).map_err(|error| format!("{}: {error}", mark.display()))?;
    Ok(python)
}

/// `bootstrap` and `canary-gate`. `CANARY_GATE_BOOTSTRAP` and `CANARY_GATE_COMMAND_LINE` name binaries to test
/// instead; nothing is built if both do.
fn binaries() -> Result<(PathBuf, PathBuf), String> {
    let given = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (bootstrap, command_line) = (given("CANARY_GATE_BOOTSTRAP"), given("CANARY_GATE_COMMAND_LINE"));
    if let (Some(bootstrap), Some(command_line)) = (&bootstrap, &command_line) {
        return Ok((bootstrap.clone(), command_line.clone()));
    }
    let mut built = build()?;
    let mut one = |given: Option<PathBuf>, name: &str| {
        given.or_else(|| built.remove(name)).ok_or_else(|| format!("cargo named no executable {name}"))
    };
    Ok((one(bootstrap, "bootstrap")?, one(command_line, "canary-gate")?))
}

/// Both, built as the tests are but with the AWS SDK, in a target directory of their own: cargo may hold the
/// lock of the usual one. One build with one set of features, so that they share the library.
fn build() -> Result<HashMap<String, PathBuf>, String> {
    say("building bootstrap and canary-gate (some minutes the first time, for the AWS SDK)");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut build = Command::new(cargo)
        .args(["build", "--locked", "--no-default-features", "--features", "aws cli"])
        .args(["--bin", "bootstrap", "--bin", "canary-gate"])
        .arg("--message-format=json-render-diagnostics")
        .arg("--target-dir")
        .arg(target().join("wire"))
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cargo can't be started: {error}"))?;
    let messages = BufReader::new(build.stdout.take().expect("it is piped"));
    let built = messages.lines().map_while(Result::ok).filter_map(|line| executable(&line)).collect();
    let status = build.wait().map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err("they do not build; cargo's messages are above".to_owned());
    }
    Ok(built)
}

/// The executable that one of cargo's messages names, by its target.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    Some((message["target"]["name"].as_str()?.to_owned(), message["executable"].as_str()?.into()))
}

#[test]
fn the_endpoint_keeps_its_promises() {
    let python = python().unwrap_or_else(|problem| panic!("{problem}"));
    let mut check = Command::new(python);
    if let Err(failed) = run(check.arg("check.py").current_dir(endpoint_dir()), "check.py") {
        panic!("{failed}");
    }
}
