//! `canary-gate run`: the ticks without Lambda, with the records in a file, and the commands beside it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use std::{fs, thread};

use serde_json::{Value, json};

use crate::endpoint::{Log, wait_for};
use crate::outside::count;
use crate::setup::{scratch, tools};
use crate::traffic::Generated;
use crate::world::{ROLLOUT, World};

/// A directory with the file of records, and of the pages that a command took.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let dir = scratch().join(format!("run-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("the target directory can be written");
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    fn records(&self) -> String {
        self.path("records")
    }

    /// What a command for pages does that keeps them in a file.
    fn keep_pages(&self) -> String {
        format!("cat >> '{}'", self.path("pages"))
    }

    /// The pages that it took.
    fn pages(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("pages")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a page a line")).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// The command line with an account's credentials and this alone in its environment.
fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(&tools().command_line);
    command.args(arguments).env_clear().stdin(Stdio::null()).envs([
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_ENDPOINT_URL", world.endpoint.url()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDRUN"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("CANARY_GATE_CLOCK", "event"),
    ]);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A tick of a minute of the story, by a process of its own.
fn tick(world: &World, place: &Place, minute: i64) -> Output {
    let (at, pages) = (world.minute(minute), place.keep_pages());
    command(world, &["run", "--once", "--at", &at, "--store", &place.records(), "--page-to", &pages])
        .output()
        .expect("canary-gate starts")
}

/// The same, which must be carried out.
fn ticks(world: &World, place: &Place, minute: i64) {
    let output = tick(world, place, minute);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// What a command answers about an installation with a file.
fn ask(world: &World, place: &Place, arguments: &[&str]) -> Value {
    let more = ["--store", &place.records(), "--format", "json"];
    // Without the story's clock: people have none.
    let mut command = command(world, &[arguments, &more].concat());
    let output = command.env_remove("CANARY_GATE_CLOCK").output().expect("canary-gate starts");
    assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn start(world: &World, place: &Place) {
    let plan = place.path("plan.json");
    fs::write(&plan, world.plan(json!({})).to_string()).expect("a file");
    let started = ask(world, place, &["start", &plan, "--reason", "release 42", "--actor", "ana"]);
    assert_eq!(started["phase"], json!("waiting"));
}

/// Ticks and traffic from minute to minute, until the canary has no share any more; the minute of that.
fn live_until_drained(world: &World, place: &Place, from: i64) -> i64 {
    let drained = (from..from + 30).find(|minute| {
        ticks(world, place, *minute);
        let share = world.rule().share(world);
        world.publish_all(*minute, share, &Generated::HARMFUL);
        share == 0.0
    });
    drained.expect("harm drains it within half an hour")
}

#[test]
fn a_harmful_canary_is_drained_and_paged_with_nothing_but_a_file_and_a_command() {
    let (world, place) = (World::new(), Place::new("drain"));
    start(&world, &place);
    let (_, calls) = world.calls_of(|| ticks(&world, &place, 0));
    assert_eq!(world.rule().share(&world), 5.0);
    assert_eq!(
        (count(&calls, "dynamodb"), count(&calls, "sns")),
        (0, 0),
        "the table and the topic are not needed"
    );
    world.publish_all(0, 5.0, &Generated::HARMFUL);
    let drained = live_until_drained(&world, &place, 1);
    let pages = place.pages();
    assert_eq!(pages.len(), 1, "{pages:?}");
    assert_eq!(pages[0]["attributes"]["event"], json!("drained"));
    let status = ask(&world, &place, &["status", ROLLOUT]);
    assert_eq!(status["phase"], json!("drained"), "{status}");
    let history = ask(&world, &place, &["history", ROLLOUT, "--limit", "100"]);
    let decisions: Vec<&str> = history["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter_map(|e| e["decision"].as_str())
        .collect();
    assert!(decisions.contains(&"start") && decisions.contains(&"drain"), "{decisions:?}");
    ticks(&world, &place, drained + 1);
    assert_eq!(place.pages().len(), 1, "one transition, one page");
}

#[test]
fn a_process_that_is_killed_in_a_tick_leaves_its_work_to_the_next() {
    let (world, place) = (World::new(), Place::new("kill"));
    start(&world, &place);
    let mut kills = 0;
    for (minute, skip) in (0_i64..).zip([0, 1, 2, 3, 4, 5]) {
        // It hangs at one of its calls of AWS, each time at a later one, and is killed there.
        world.faults(&json!([{ "op": "*", "delay_s": 30, "skip": skip }]));
        let (at, pages) = (world.minute(minute), place.keep_pages());
        let store = place.records();
        let mut killed =
            command(&world, &["run", "--once", "--at", &at, "--store", &store, "--page-to", &pages])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("canary-gate starts");
        let hangs = wait_for("a hanging call", Duration::from_secs(30), || {
            let faults = world.endpoint.get("faults");
            let hit = faults[0]["hits"].as_u64().is_none_or(|hits| hits > 0);
            let ended = killed.try_wait().expect("a child").is_some();
            (hit || ended).then_some(hit)
        });
        kills += usize::from(hangs);
        let _ = killed.kill();
        let _ = killed.wait();
        world.no_faults();
        let share = world.rule().share(&world);
        assert!(share == 0.0 || share == 5.0, "{share}");
        world.publish_all(minute, share, &Generated::HARMFUL);
    }
    assert!(kills >= 4, "only {kills} were killed in a call");
    let mut from = 6;
    // What a dead tick noted down is left to it for a minute.
    while world.rule().share(&world) == 0.0 && place.pages().is_empty() {
        ticks(&world, &place, from);
        world.publish_all(from, world.rule().share(&world), &Generated::HARMFUL);
        from += 1;
        assert!(from < 12, "nobody took over: {}", ask(&world, &place, &["status", ROLLOUT]));
    }
    if place.pages().is_empty() {
        live_until_drained(&world, &place, from);
    }
    assert_eq!(ask(&world, &place, &["status", ROLLOUT])["phase"], json!("drained"));
    assert_eq!(place.pages().len(), 1);
}

#[test]
fn a_tick_has_time_to_read_again_what_was_throttled_as_the_functions_has() {
    let (world, place) = (World::new(), Place::new("throttled"));
    start(&world, &place);
    ticks(&world, &place, 0);
    world.publish_all(0, 5.0, &Generated::HEALTHY);
    // As often as the SDK tries: the read fails, and a tick that knows no time would take the minute for blind.
    world.faults(&json!([{ "op": "GetMetricData", "code": "Throttling", "n": 3 }]));
    let (output, calls) = world.calls_of(|| tick(&world, &place, 1));
    let log = text(&output.stdout);
    assert_eq!((output.status.code(), count(&calls, "cloudwatch GetMetricData")), (Some(0), 4), "{log}");
    assert!(log.contains("tick completed") && !log.contains("not read"), "{log}");
}

#[test]
fn two_processes_at_once_shift_once_and_page_once() {
    let (world, place) = (World::new(), Place::new("two"));
    start(&world, &place);
    let both = |minute: i64| {
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(|| tick(&world, &place, minute));
            let second = tick(&world, &place, minute);
            (first.join().expect("no panic"), second)
        });
        for output in [first, second] {
            assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
        }
        let share = world.rule().share(&world);
        world.publish_all(minute, share, &Generated::HARMFUL);
        share
    };
    assert_eq!(both(0), 5.0);
    assert!((1..30).any(|minute| both(minute) == 0.0), "never drained");
    assert_eq!(place.pages().len(), 1, "{:?}", place.pages());
}

#[test]
fn a_page_that_its_command_does_not_take_is_handed_to_it_again() {
    let (world, place) = (World::new(), Place::new("again"));
    start(&world, &place);
    ticks(&world, &place, 0);
    ask(&world, &place, &["abort", ROLLOUT, "--reason", "looks bad", "--actor", "ana"]);
    assert_eq!(world.rule().share(&world), 0.0);
    let tick_to = |minute: i64, pages: &str| {
        let at = world.minute(minute);
        let store = place.records();
        let line = ["run", "--once", "--at", &at, "--store", &store, "--page-to", pages];
        command(&world, &line).output().expect("canary-gate starts")
    };
    let refused = tick_to(2, "echo no network >&2; exit 7");
    assert!(text(&refused.stdout).contains("no network"), "{}", text(&refused.stdout));
    assert_eq!(place.pages().len(), 0);
    let told = tick_to(4, "stderr");
    let page: Value =
        text(&told.stderr).lines().find_map(|line| serde_json::from_str(line).ok()).expect("a page");
    assert_eq!(page["attributes"]["event"], json!("drained"));
    assert!(text(&told.stdout).contains("PAGES WAKE NOBODY"), "{}", text(&told.stdout));
    ticks(&world, &place, 6);
    assert_eq!(place.pages().len(), 0, "it was sent");
}

/// A process that runs until it is told to stop.
struct Running {
    child: Child,
    log: Log,
}

impl Running {
    fn start(world: &World, place: &Place) -> Self {
        let log = Log::new();
        let mut command =
            command(world, &["run", "--store", &place.records(), "--page-to", &place.keep_pages()]);
        let child = command
            .env_remove("CANARY_GATE_CLOCK")
            .stdout(log.end())
            .stderr(log.end())
            .spawn()
            .expect("canary-gate starts");
        let running = Self { child, log };
        wait_for("canary-gate run", Duration::from_secs(20), || {
            running.log.text().contains("watching").then_some(())
        });
        running
    }

    fn stop(&mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill starts").success());
        let status = wait_for("the end", Duration::from_secs(60), || self.child.try_wait().expect("a child"));
        (status.code(), self.log.text())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.log.show("canary-gate run");
        }
    }
}

#[test]
fn it_ticks_at_the_full_minute_beside_commands_and_finishes_a_tick_before_it_stops() {
    let (world, place) = (World::new(), Place::new("loop"));
    let mut idle = Running::start(&world, &place);
    assert_eq!(idle.stop("-INT").0, Some(0), "nothing is under way");
    start(&world, &place);
    // Not within the last seconds of a minute, so that the commands come before the tick.
    let mut running = Running::start(&world, &place);
    assert_eq!(ask(&world, &place, &["list"])["rollouts"][0]["rollout"], json!(ROLLOUT), "it holds no lock");
    world.faults(&json!([{ "op": "ModifyRule", "delay_s": 3 }]));
    world.endpoint.delete("journal");
    wait_for("the first shift", Duration::from_secs(75), || {
        let calls = crate::outside::Call::read(&world.endpoint);
        (count(&calls, "elbv2 ModifyRule") > 0).then_some(())
    });
    let (status, log) = running.stop("-TERM");
    assert_eq!(status, Some(0));
    assert!(log.contains("\"decision\":\"promote\"") && log.contains("tick completed"), "{log}");
    assert!(log.contains("TicksCompleted"), "the proof of life is logged, too: {log}");
    assert_eq!(world.rule().share(&world), 5.0, "the tick under way was finished");
    let second = log.lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let at = line["timestamp"].as_str()?.get(17..19)?.parse::<u32>().ok()?;
        (line["message"] == json!("decision")).then_some(at)
    });
    assert!(second.is_some_and(|second| second < 20), "at the full minute: {second:?}");
}

#[test]
fn what_would_lose_pages_or_records_is_refused_at_once() {
    let (world, place) = (World::new(), Place::new("refused"));
    let refused = |arguments: &[&str], status: i32, why: &str| {
        let output = command(&world, arguments).output().expect("canary-gate starts");
        let said = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
    };
    let records = place.records();
    refused(&["run", "--store", &records], 64, "where do pages go");
    refused(&["status", ROLLOUT, "--store", &records], 66, "there is no such file");
    assert!(!Path::new(&records).exists());
    fs::write(&records, "no database\n".repeat(1_000)).expect("a file");
    refused(&["run", "--once", "--store", &records, "--page-to", "stderr"], 66, "none of canary-gate's");
    let nowhere = place.path("no/such/directory");
    refused(&["run", "--once", "--store", &nowhere, "--page-to", "stderr"], 66, "no such directory");
}
