//! Endpoint processes and their control calls. A process is leased to one test at a time and forgets
//! everything in between, because starting one takes longer than most tests.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

use crate::setup::{endpoint_dir, scratch, tools};

/// The endpoint is ready in 1.5 s on an idle machine.
const START: Duration = Duration::from_secs(60);
/// Longer than any invocation may take.
const ANSWER: Duration = Duration::from_secs(90);

/// Processes that no test uses now.
static IDLE: Mutex<Vec<Process>> = Mutex::new(Vec::new());

struct Process {
    /// Ends when this process does, because its stdin closes then.
    child: Child,
    base: String,
    log: Log,
}

/// A process that is this test's alone.
pub(crate) struct Endpoint {
    process: Option<Process>,
    agent: Agent,
}

/// A name for a file of this test run.
fn fresh_name(kind: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    scratch().join(format!("{kind}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// What a process writes: a file without a name, which is gone when nobody has it open any more.
pub(crate) struct Log(File);

impl Log {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let name = fresh_name("log");
        let file = File::options().read(true).append(true).create_new(true).open(&name);
        fs::remove_file(&name).expect("it was just made");
        Self(file.expect("the target directory can be written"))
    }

    /// The writing end, for a process.
    pub(crate) fn end(&self) -> Stdio {
        self.0.try_clone().expect("a file handle").into()
    }

    /// What was written so far.
    pub(crate) fn text(&self) -> String {
        let mut text =
            vec![0; usize::try_from(self.0.metadata().map_or(0, |file| file.len())).expect("a length")];
        let read = self.0.read_at(&mut text, 0).unwrap_or(0);
        String::from_utf8_lossy(&text[..read]).into_owned()
    }

    /// Prints it, for a test that fails.
    #[allow(clippy::print_stderr)]
    pub(crate) fn show(&self, what: &str) {
        let text = self.text();
        if !text.is_empty() {
            eprintln!("---- {what} said:\n{text}----");
        }
    }
}

/// Looks again and again, a few hundred times a second, until there is something.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(3));
    }
}

/// Starts a process and waits until it listens.
fn start() -> Process {
    let (ready, log) = (fresh_name("ready"), Log::new());
    let mut child = Command::new(&tools().python)
        .args(["-m", "endpoint", "--port", "0", "--exit-with-stdin", "--ready-file"])
        .arg(&ready)
        .current_dir(endpoint_dir())
        .stdin(Stdio::piped())
        .stdout(log.end())
        .stderr(log.end())
        .spawn()
        .expect("the endpoint starts");
    let said: Value = wait_for("the endpoint", START, || {
        if let Some(status) = child.try_wait().expect("a child process") {
            panic!("the endpoint ended ({status}):\n{}", log.text());
        }
        serde_json::from_slice(&fs::read(&ready).ok()?).ok()
    });
    let _ = fs::remove_file(&ready);
    Process { child, base: format!("http://127.0.0.1:{}", said["port"]), log }
}

impl Endpoint {
    /// An endpoint that knows nothing yet.
    pub(crate) fn lease() -> Self {
        let idle = IDLE.lock().expect("nobody panics while holding it").pop();
        let config = Agent::config_builder().http_status_as_error(false).proxy(None);
        let agent = config.timeout_global(Some(ANSWER)).build().new_agent();
        let fresh = idle.is_none();
        let endpoint = Self { process: Some(idle.unwrap_or_else(start)), agent };
        if !fresh {
            endpoint.post("reset", &json!({}));
        }
        endpoint
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it is there until the end")
    }

    /// What AWS clients need.
    pub(crate) fn url(&self) -> &str {
        &self.process().base
    }

    /// Host and port, as Lambda names its Runtime API.
    pub(crate) fn host(&self) -> &str {
        self.url().trim_start_matches("http://")
    }

    fn control(&self, path: &str) -> String {
        format!("{}/_endpoint/{path}", self.url())
    }

    /// A control call that reads.
    pub(crate) fn get(&self, path: &str) -> Value {
        answer(path, self.agent.get(self.control(path)).call())
    }

    /// A control call that changes something.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        answer(path, self.agent.post(self.control(path)).send_json(body))
    }

    /// A control call that forgets something.
    pub(crate) fn delete(&self, path: &str) {
        answer(path, self.agent.delete(self.control(path)).call());
    }

    /// A call of AWS, made by hand. The signature names service and region; nobody checks the rest.
    pub(crate) fn aws(&self, service: &str, headers: &[(&str, &str)], body: &str) -> String {
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDOUTSIDE/20260301/us-east-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=0"
        );
        let mut request = self.agent.post(format!("{}/", self.url())).header("Authorization", &scope);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request.send(body).expect("the endpoint answers");
        let text = response.body_mut().read_to_string().expect("an answer");
        assert_eq!(response.status(), 200, "{service} {body}: {text}");
        text
    }
}

fn answer(path: &str, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Value {
    let mut response = response.unwrap_or_else(|error| panic!("/_endpoint/{path}: {error}"));
    let text = response.body_mut().with_config().limit(1 << 28).read_to_string().expect("an answer");
    assert_eq!(response.status(), 200, "/_endpoint/{path}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if !thread::panicking() {
            IDLE.lock().expect("nobody panics while holding it").push(process);
            return;
        }
        let _ = process.child.kill();
        let _ = process.child.wait();
        process.log.show("the endpoint");
    }
}
