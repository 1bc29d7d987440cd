//! What every store of records must do, asked of the file and of the cloud in memory; and what only a file can suffer:
//! a kill at any moment, two processes at once, expiry, damage.

use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use canary_gate::config::{Scope, parse_plan_value};
use canary_gate::local::FileStore;
use canary_gate::ports::{FailureKind, RecordStore};
use canary_gate::rollout::gate::{Guard, Owner};
use canary_gate::rollout::record::{Audit, LogEntry, Phase, Record};
use canary_gate::sim::Cloud;
use canary_gate::sim::run::default_plan;
use canary_gate::units::{Share, Span};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

const DAY: Span = Span::from_minutes(24 * 60);

/// A path of a file that is not there, and is gone afterwards.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(dir).unwrap();
        let path = dir.join(format!("store-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        Self(path)
    }

    fn open(&self) -> FileStore {
        now(FileStore::open(&self.0, DAY)).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn now<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

fn at(seconds: i64) -> Timestamp {
    "2026-03-01T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn audit(seconds: i64) -> Audit {
    Audit { actor: "ana".to_owned(), reason: "release 42".to_owned(), at: at(seconds) }
}

/// A rollout that was just started.
fn record(name: &str, started: i64) -> Record {
    let mut plan = default_plan();
    plan["rollout"] = json!(name);
    let checked = parse_plan_value(&plan, Scope::Rollout).unwrap();
    Record::new(checked.plan, audit(started), false)
}

fn ended(record: &Record) -> Record {
    Record { phase: Phase::Promoted, ..record.clone() }
}

fn entry(rollout: &str, seconds: i64, decision: &str) -> LogEntry {
    LogEntry {
        rollout: rollout.to_owned(),
        at: at(seconds),
        decision: decision.to_owned(),
        why: "because".to_owned(),
        phase: Phase::Running,
        share: Share::ZERO,
        by: Some(audit(seconds)),
        judgement: None,
        conditions: None,
        rows: Vec::new(),
    }
}

fn names(records: &[Record]) -> Vec<&str> {
    let mut names: Vec<&str> = records.iter().map(Record::id).collect();
    names.sort_unstable();
    names
}

/// All that the port promises of records.
async fn keeps_records(store: &impl RecordStore) {
    assert_eq!(store.get("api").await.unwrap(), None);
    let first = store.create(&record("api", 0)).await.unwrap();
    assert_eq!(first, Record { version: 1, ..record("api", 0) });
    assert_eq!(store.get("api").await.unwrap(), Some(first.clone()));
    store.create(&record("web", 0)).await.unwrap();
    assert_eq!(names(&store.running().await.unwrap().records), ["api", "web"]);

    let taken = store.create(&record("api", 5)).await.unwrap_err();
    assert_eq!(taken.kind, FailureKind::Conflict, "it is not over: {taken}");
    let second = store.put(&Record { why: "second".to_owned(), ..first.clone() }).await.unwrap();
    assert_eq!((second.version, second.why.as_str()), (2, "second"));
    for outdated in [&first, &Record { version: 3, ..first.clone() }, &record("none", 0)] {
        let failed = store.put(outdated).await.unwrap_err();
        assert_eq!(failed.kind, FailureKind::Conflict, "{} {}: {failed}", outdated.id(), outdated.version);
    }
    assert_eq!(store.get("api").await.unwrap(), Some(second.clone()), "nothing of those was written");

    let over = store.put(&ended(&second)).await.unwrap();
    assert_eq!(names(&store.running().await.unwrap().records), ["web"]);
    assert_eq!(names(&store.list().await.unwrap()), ["api", "web"], "ended ones are listed");
    let anew = store.create(&record("api", 60)).await.unwrap();
    assert_eq!((anew.version, anew.started.at), (1, at(60)));
    let of_the_other = Record { version: 1, ..over };
    assert_eq!(store.put(&of_the_other).await.unwrap_err().kind, FailureKind::Conflict);
    assert_eq!(names(&store.running().await.unwrap().records), ["api", "web"]);
}

/// A watch of a deployment has its name once.
async fn keeps_watches(store: &impl RecordStore) {
    let owner = Some(Owner::CodeDeploy { deployment: "d-1".to_owned() });
    let watch = Record { owner, ..record("watch", 0) };
    let stored = store.create(&watch).await.unwrap();
    store.put(&ended(&stored)).await.unwrap();
    assert_eq!(store.create(&watch).await.unwrap_err().kind, FailureKind::Conflict);
}

/// And of everything else.
async fn keeps_the_rest(store: &impl RecordStore) {
    assert_eq!(store.freeze().await.unwrap(), None);
    store.set_freeze(Some(&audit(1))).await.unwrap();
    assert_eq!(store.freeze().await.unwrap(), Some(audit(1)));
    store.set_freeze(None).await.unwrap();
    assert_eq!(store.freeze().await.unwrap(), None);

    let of = "ecs:main/checkout";
    let guard = Guard { of: of.to_owned(), plan: json!({ "bake": "5m" }), by: audit(2) };
    assert_eq!(store.guard(of).await.unwrap(), None);
    store.set_guard(of, Some(&guard)).await.unwrap();
    assert_eq!(store.guard(of).await.unwrap(), Some(guard.clone()));
    assert_eq!(store.guards().await.unwrap(), [guard]);
    store.set_guard(of, None).await.unwrap();
    assert_eq!((store.guard(of).await.unwrap(), store.guards().await.unwrap()), (None, vec![]));

    let later = Timestamp::now() + SignedDuration::from_hours(1);
    assert!(store.take_once("key", later).await.unwrap());
    assert!(!store.take_once("key", later).await.unwrap());
    assert!(store.take_once("another", later).await.unwrap());

    for (seconds, decision) in [(0, "start"), (60, "hold"), (60, "promote"), (120, "drain")] {
        store.log(&entry("api", seconds, decision)).await.unwrap();
    }
    store.log(&entry("api-2", 90, "hold")).await.unwrap();
    let newest = store.history("api", 3).await.unwrap();
    let told: Vec<&str> = newest.iter().map(|entry| entry.decision.as_str()).collect();
    assert_eq!(told, ["drain", "promote", "hold"], "newest first");
    assert_eq!(newest[0], entry("api", 120, "drain"));
    assert_eq!(store.history("api", 100).await.unwrap().len(), 4);
    assert_eq!(store.history("none", 100).await.unwrap(), []);
}

#[test]
fn the_cloud_in_memory_keeps_the_contract() {
    let cloud = Cloud::new(at(0));
    now(async {
        keeps_records(&cloud).await;
        keeps_watches(&cloud).await;
        keeps_the_rest(&cloud).await;
    });
}

#[test]
fn a_file_keeps_the_contract() {
    let place = Place::new("contract");
    let store = place.open();
    now(async {
        keeps_records(&store).await;
        keeps_watches(&store).await;
        keeps_the_rest(&store).await;
    });
    let again = place.open();
    assert_eq!(names(&now(again.running()).unwrap().records), ["api", "web"], "another process sees it");
}

#[test]
fn what_has_expired_is_not_seen_and_the_file_does_not_grow_for_ever() {
    let place = Place::new("expiry");
    let brief = now(FileStore::open(&place.0, Span::from_seconds(0))).unwrap();
    let long = "so it was decided ".repeat(500);
    let log = |store: &FileStore, seconds| {
        let entry = LogEntry { why: long.clone(), ..entry("api", seconds, "hold") };
        now(store.log(&entry)).unwrap();
    };
    log(&brief, 0);
    assert_eq!(now(brief.history("api", 10)).unwrap(), []);
    let stored = now(brief.create(&record("api", 0))).unwrap();
    assert!(now(brief.get("api")).unwrap().is_some(), "a rollout that runs does not expire");
    now(brief.put(&ended(&stored))).unwrap();
    assert_eq!(now(brief.get("api")).unwrap(), None, "one that is over goes with its log");
    now(brief.create(&record("api", 60))).unwrap();
    assert_eq!(now(brief.running()).unwrap().records.len(), 1, "and its name is free");
    let grown = |entries| {
        (0..entries).for_each(|seconds| log(&brief, seconds));
        fs::metadata(&place.0).unwrap().len()
    };
    // Nine kilobytes an entry.
    let (first, second) = (grown(60), grown(180));
    assert!(second < first * 2, "{first} bytes, then {second}");
    let kept = place.open();
    log(&kept, 1_000);
    assert_eq!(now(kept.history("api", 10)).unwrap().len(), 1);
}

#[test]
fn a_key_that_counts_once_is_forgotten_when_nobody_can_use_it_any_more() {
    let place = Place::new("once");
    let store = place.open();
    let past = Timestamp::now() - SignedDuration::from_secs(2);
    assert!(now(store.take_once("key", past)).unwrap());
    assert!(now(store.take_once("key", past)).unwrap());
}

#[test]
fn a_file_that_is_none_of_ours_is_refused_with_its_name() {
    let place = Place::new("damaged");
    let refused = |what: &str| {
        let why = now(FileStore::open(&place.0, DAY)).unwrap_err().to_string();
        assert!(why.contains(&*place.0.to_string_lossy()) && why.contains(what), "{why}");
    };
    fs::write(&place.0, "rollouts:\n".repeat(2_000)).unwrap();
    refused("none of canary-gate's");
    assert_eq!(fs::read(&place.0).unwrap().len(), 20_000, "it was left alone");
    let missing = now(FileStore::existing(Path::new("/nowhere/records"), DAY)).unwrap_err();
    assert!(missing.to_string().contains("there is no such file"), "{missing}");
    let nowhere = now(FileStore::open(Path::new("/nowhere/records"), DAY)).unwrap_err();
    assert!(nowhere.to_string().contains("no such directory"), "{nowhere}");
}

/// This test's own process again, as the one that writes: it raises a record's version for as long as it may, tells
/// each that was stored, and gives way where another was faster.
#[test]
#[ignore = "started by the tests below"]
#[allow(clippy::print_stdout)]
fn writer() {
    let (Ok(path), Ok(writes)) = (std::env::var("STORE_PATH"), std::env::var("STORE_WRITES")) else { return };
    let writes: u64 = writes.parse().unwrap();
    now(async {
        let store = FileStore::open(Path::new(&path), DAY).await.unwrap();
        // Whoever is second finds it there.
        let _ = store.create(&record("api", 0)).await;
        let mut written = 0;
        while written < writes {
            let record = store.get("api").await.unwrap().unwrap();
            match store.put(&record).await {
                Ok(stored) => {
                    written += 1;
                    println!("stored {}", stored.version);
                    let at = i64::try_from(stored.version).unwrap();
                    store.log(&entry("api", at, "hold")).await.unwrap();
                }
                Err(failed) => assert_eq!(failed.kind, FailureKind::Conflict, "{failed}"),
            }
        }
    });
}

fn start_writer(place: &Place, writes: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::writer", "--ignored", "--nocapture"])
        .envs([("STORE_PATH", place.0.as_os_str()), ("STORE_WRITES", writes.to_string().as_ref())])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// The versions that a writer has told of, the last line perhaps cut.
fn told(text: &str) -> Vec<u64> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter_map(|line| line.rsplit_once("stored ")?.1.parse().ok()).collect()
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_stored_and_leaves_the_file_whole() {
    let place = Place::new("kill");
    let mut newest = 0;
    for round in 0..20_u64 {
        let mut writer = start_writer(&place, u64::MAX);
        // Some are killed while they make or open the file, most while they write.
        let mut out = BufReader::new(writer.stdout.take().unwrap());
        let mut text = String::new();
        if round >= 4 {
            (0..6 + round % 3).for_each(|_| drop(out.read_line(&mut text)));
        }
        std::thread::sleep(Duration::from_millis(round * 7 % 31));
        writer.kill().unwrap();
        out.read_to_string(&mut text).unwrap();
        let told = told(&text).last().copied().unwrap_or(0);
        writer.wait().unwrap();
        let since = Instant::now();
        let store = place.open();
        let stored = now(store.get("api")).unwrap().map_or(0, |record| record.version);
        assert!(stored >= newest.max(told), "round {round}: {told} was told, {stored} is stored");
        let logged = now(store.history("api", 10_000)).unwrap().len() as u64;
        assert!(logged + 2 + round >= stored, "round {round}: {logged} entries of {stored} versions");
        assert!(since.elapsed() < Duration::from_secs(10), "the lock of the dead is free");
        newest = stored;
    }
    assert!(newest > 20, "only {newest} writes: nothing was tried");
}

#[test]
fn two_processes_at_once_lose_no_write() {
    let place = Place::new("two");
    let mut writers = [start_writer(&place, 60), start_writer(&place, 60)];
    // A third one reads meanwhile, as a person does.
    let mut first = BufReader::new(writers[0].stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("stored") {
        line.clear();
        assert!(first.read_line(&mut line).unwrap() > 0, "the writer ended");
    }
    let store = place.open();
    assert_eq!(now(store.running()).unwrap().records.len(), 1);
    let mut rest = String::new();
    first.read_to_string(&mut rest).unwrap();
    for writer in &mut writers {
        assert!(writer.wait().unwrap().success());
    }
    assert_eq!(
        now(store.get("api")).unwrap().unwrap().version,
        121,
        "one to begin with, and each write once"
    );
}
