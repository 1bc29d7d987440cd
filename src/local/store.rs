//! Records and the decision log in one file, for installations without DynamoDB.
//!
//! Each operation opens the file, does its work in one transaction and closes it again. So the lock of the file is
//! held for milliseconds, and people give commands while `canary-gate run` is running, from as many processes as they
//! like; a process that is killed holds no lock, and what it had not committed never was. The price, some
//! milliseconds an operation, is nothing to a tick a minute.
//!
//! | table | key | value |
//! |---|---|---|
//! | `items` | `records`, rollout | a record |
//! | `items` | `running`, rollout | nothing: ticks have work with it |
//! | `items` | `log#ROLLOUT`, `TIME#DECISION` | a log entry |
//! | `items` | `guards`, what they belong to | how deployments are judged |
//! | `items` | `freeze`, `freeze` | who froze all rollouts |
//! | `items` | `once`, key | nothing |
//! | `expiry` | when, key of the item | nothing: finds what has expired |
//! | `about` | `form` | the form of all this |
//!
//! Values are eight bytes of the time at which they expire, and JSON. What has expired is not seen any more, and
//! the writes that follow delete it: the file grows to what `keep_log` holds, and no further.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable, Table, TableDefinition,
    TableError,
};
use serde::de::DeserializeOwned;

use crate::ports::{Failure, FailureKind, RecordStore, Running};
use crate::rollout::gate::Guard;
use crate::rollout::record::{Audit, LogEntry, Record};
use crate::units::Span;

const ITEMS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("items");
const EXPIRY: TableDefinition<'_, (i64, &str, &str), ()> = TableDefinition::new("expiry");
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
/// What this version of canary-gate reads and writes. A newer form is left alone.
const FORM: u64 = 1;
const FORM_KEY: &str = "form";

const RECORDS: &str = "records";
const RUNNING: &str = "running";
const GUARDS: &str = "guards";
const FREEZE: &str = "freeze";
const ONCE: &str = "once";
/// Greater than every key.
const LAST: &str = "\u{10ffff}";
const NEVER: i64 = i64::MAX;

/// For the file's lock, which others hold for milliseconds. As long as a call of AWS may take.
const PATIENCE: Duration = Duration::from_secs(12);
/// Between two attempts to get the lock.
const PAUSE: Duration = Duration::from_millis(4);
/// Bytes. The file is open for one operation, so there is little to keep.
const CACHE: usize = 4 * 1024 * 1024;
/// Items that one write deletes because they have expired: more than any write adds.
const PURGED: usize = 200;
/// Ended rollouts in a list: the newest ones, by their start.
const LISTED: usize = 200;

/// A file of records.
#[derive(Debug, Clone)]
pub struct FileStore {
    path: PathBuf,
    keep_log: Span,
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct NotOpened {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub why: String,
}

/// What went wrong in an operation, before it has the operation's name.
type Fault = (FailureKind, String, Option<redb::Error>);

fn fault(error: impl Into<redb::Error>) -> Fault {
    let error = error.into();
    let (kind, what) = match &error {
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. } => {
            (FailureKind::Malformed, "the file is damaged, or is none of canary-gate's")
        }
        redb::Error::DatabaseAlreadyOpen => {
            (FailureKind::Unavailable, "another process holds its lock; if that hangs, end it")
        }
        redb::Error::Io(error) => match error.kind() {
            std::io::ErrorKind::NotFound => {
                (FailureKind::NotFound, "there is no such file, or no such directory")
            }
            std::io::ErrorKind::PermissionDenied => {
                (FailureKind::Denied, "this user may not read and write it")
            }
            std::io::ErrorKind::InvalidData => {
                (FailureKind::Malformed, "the file is damaged, or is none of canary-gate's")
            }
            _ => (FailureKind::Unavailable, "it could not be read or written"),
        },
        _ => (FailureKind::Unavailable, "it could not be read or written"),
    };
    (kind, format!("{what} ({error})"), Some(error))
}

fn plain(kind: FailureKind, detail: impl Into<String>) -> Fault {
    (kind, detail.into(), None)
}

impl FileStore {
    /// A file of records, which is made if there is none. Its directory must be there.
    ///
    /// # Errors
    /// If it can't be made, read or written, or is something else.
    pub async fn open(path: &Path, keep_log: Span) -> Result<Self, NotOpened> {
        let store = Self { path: path.to_owned(), keep_log };
        store.write("store open", |_| Ok(())).await.map_err(|failure| store.not_opened(&failure))?;
        Ok(store)
    }

    /// A file of records that must be there.
    ///
    /// # Errors
    /// If it is not, or can't be read or written, or is something else.
    pub async fn existing(path: &Path, keep_log: Span) -> Result<Self, NotOpened> {
        if !path.exists() {
            let why = "there is no such file; canary-gate start and canary-gate run make it".to_owned();
            return Err(NotOpened { path: path.to_owned(), why });
        }
        Self::open(path, keep_log).await
    }

    fn not_opened(&self, failure: &Failure) -> NotOpened {
        let why = failure.detail.trim_start_matches(&format!("{}: ", self.path.display())).to_owned();
        NotOpened { path: self.path.clone(), why }
    }

    /// The open file. Whoever waits for its lock holds nothing, so that an invocation that is given up leaves
    /// nothing behind that might be written later.
    async fn database(&self) -> Result<Database, Fault> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.opened() {
                Err(DatabaseError::DatabaseAlreadyOpen) if Instant::now() < until => {
                    tokio::time::sleep(PAUSE).await;
                }
                opened => return opened.map_err(fault),
            }
        }
    }

    fn opened(&self) -> Result<Database, DatabaseError> {
        Builder::new().set_cache_size(CACHE).create(&self.path)
    }

    fn failure(&self, operation: &'static str, (kind, detail, source): Fault) -> Failure {
        let detail = format!("{}: {detail}", self.path.display());
        Failure { operation, kind, detail, source: source.map(Into::into) }
    }

    async fn write<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Items<'_>) -> Result<T, Fault> + Send,
    ) -> Result<T, Failure> {
        let database = self.database().await.map_err(|fault| self.failure(operation, fault))?;
        written(database, work).map_err(|fault| self.failure(operation, fault))
    }

    async fn read<T: Default>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Seen) -> Result<T, Fault> + Send,
    ) -> Result<T, Failure> {
        let database = self.database().await.map_err(|fault| self.failure(operation, fault))?;
        seen(database, work).map_err(|fault| self.failure(operation, fault))
    }

    /// When what is written now is no longer wanted.
    fn expires_at(&self) -> i64 {
        now().saturating_add(i64::try_from(self.keep_log.seconds()).unwrap_or(i64::MAX))
    }

    fn store(&self, items: &mut Items<'_>, record: Record) -> Result<Record, Fault> {
        let id = record.id();
        let body = json(&record)?;
        // A number that is not finite becomes null, and a record that can't be read is lost to every later tick.
        parse::<Record>(&body).map_err(|error| plain(FailureKind::Malformed, error))?;
        let expires_at = if record.needs_ticks() { NEVER } else { self.expires_at() };
        items.put(RECORDS, id, &body, expires_at)?;
        match record.needs_ticks() {
            true => items.put(RUNNING, id, &[], NEVER)?,
            false => items.remove(RUNNING, id)?,
        }
        Ok(record)
    }
}

/// The whole of a writing operation.
fn written<T>(database: Database, work: impl FnOnce(&mut Items<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
    let transaction = database.begin_write().map_err(fault)?;
    let done = {
        let mut about = transaction.open_table(ABOUT).map_err(fault)?;
        let form = about.get(FORM_KEY).map_err(fault)?.map(|form| form.value());
        match form {
            Some(form) => check(form)?,
            None => {
                about.insert(FORM_KEY, FORM).map_err(fault)?;
            }
        }
        let mut items = Items {
            items: transaction.open_table(ITEMS).map_err(fault)?,
            expiry: transaction.open_table(EXPIRY).map_err(fault)?,
        };
        let done = work(&mut items)?;
        items.purge(now())?;
        done
    };
    transaction.commit().map_err(fault)?;
    database.close().map_err(fault)?;
    Ok(done)
}

/// The whole of a reading operation. A file that was made this moment has no tables yet.
fn seen<T: Default>(database: Database, work: impl FnOnce(&Seen) -> Result<T, Fault>) -> Result<T, Fault> {
    let transaction = database.begin_read().map_err(fault)?;
    let about = match transaction.open_table(ABOUT) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(T::default()),
        about => about.map_err(fault)?,
    };
    check(about.get(FORM_KEY).map_err(fault)?.map_or(FORM, |form| form.value()))?;
    let done = work(&transaction.open_table(ITEMS).map_err(fault)?)?;
    drop((about, transaction));
    database.close().map_err(fault)?;
    Ok(done)
}

fn check(form: u64) -> Result<(), Fault> {
    if form == FORM {
        return Ok(());
    }
    let detail =
        format!("it has form {form}, and this canary-gate knows form {FORM}: use the one that made it");
    Err(plain(FailureKind::Malformed, detail))
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(value).map_err(|error| plain(FailureKind::Malformed, error.to_string()))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// The items, for reading.
type Seen = redb::ReadOnlyTable<(&'static str, &'static str), &'static [u8]>;

/// When a value expires, and the value. One that is too short for that is none of ours.
fn taken_apart(value: &[u8]) -> Result<(i64, &[u8]), Fault> {
    let (expires_at, body) = value
        .split_first_chunk::<8>()
        .ok_or_else(|| plain(FailureKind::Malformed, "an item without a time: the file is damaged"))?;
    Ok((i64::from_be_bytes(*expires_at), body))
}

/// The tables, for writing.
struct Items<'t> {
    items: Table<'t, (&'static str, &'static str), &'static [u8]>,
    expiry: Table<'t, (i64, &'static str, &'static str), ()>,
}

impl Items<'_> {
    fn put(&mut self, part: &str, key: &str, body: &[u8], expires_at: i64) -> Result<(), Fault> {
        let value = [&expires_at.to_be_bytes(), body].concat();
        let before = match self.items.insert((part, key), value.as_slice()).map_err(fault)? {
            Some(before) => Some(taken_apart(before.value())?.0),
            None => None,
        };
        if let Some(before) = before.filter(|before| *before != expires_at) {
            self.expiry.remove((before, part, key)).map_err(fault)?;
        }
        if expires_at < NEVER {
            self.expiry.insert((expires_at, part, key), ()).map_err(fault)?;
        }
        Ok(())
    }

    fn remove(&mut self, part: &str, key: &str) -> Result<(), Fault> {
        let before = match self.items.remove((part, key)).map_err(fault)? {
            Some(before) => taken_apart(before.value())?.0,
            None => return Ok(()),
        };
        self.expiry.remove((before, part, key)).map_err(fault)?;
        Ok(())
    }

    /// Deletes some of what has expired.
    fn purge(&mut self, now: i64) -> Result<(), Fault> {
        let mut expired = Vec::new();
        for entry in self
            .expiry
            .range((i64::MIN, "", "")..(now.saturating_add(1), "", ""))
            .map_err(fault)?
            .take(PURGED)
        {
            let (key, ()) = entry.map(|(key, _)| (key, ())).map_err(fault)?;
            let (_, part, key) = key.value();
            expired.push((part.to_owned(), key.to_owned()));
        }
        for (part, key) in expired {
            self.remove(&part, &key)?;
        }
        Ok(())
    }
}

/// The items, in either kind of transaction.
trait Read: ReadableTable<(&'static str, &'static str), &'static [u8]> {
    /// The body of an item, unless it has expired.
    fn body(&self, part: &str, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        let Some(value) = self.get((part, key)).map_err(fault)? else { return Ok(None) };
        let (expires_at, body) = taken_apart(value.value())?;
        Ok((expires_at > now()).then(|| body.to_vec()))
    }

    /// The keys and bodies of a part's items that have not expired, in the order of the keys.
    fn bodies(&self, part: &str) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        let now = now();
        let mut bodies = Vec::new();
        for item in self.range((part, "")..=(part, LAST)).map_err(fault)? {
            let (key, value) = item.map_err(fault)?;
            let (expires_at, body) = taken_apart(value.value())?;
            if expires_at > now {
                bodies.push((key.value().1.to_owned(), body.to_vec()));
            }
        }
        Ok(bodies)
    }

    fn record(&self, rollout: &str) -> Result<Option<Record>, Fault> {
        let Some(body) = self.body(RECORDS, rollout)? else { return Ok(None) };
        read_record(rollout, &body).map(Some).map_err(|why| plain(FailureKind::Malformed, why))
    }
}

impl<T: ReadableTable<(&'static str, &'static str), &'static [u8]>> Read for T {}

fn read_record(rollout: &str, body: &[u8]) -> Result<Record, String> {
    let record = parse::<Record>(body).and_then(|record| match record.id() == rollout {
        true => Ok(record),
        false => Err("it holds another rollout".to_owned()),
    });
    record.map_err(|why| format!("record of {rollout} is unreadable: {why}"))
}

/// The records of bodies. One that can't be read must not stop the others; it goes to the log, and to the caller.
fn readable(bodies: impl IntoIterator<Item = (String, Option<Vec<u8>>)>) -> Running {
    let mut running = Running::default();
    for (rollout, body) in bodies {
        let body = body.ok_or_else(|| format!("record of {rollout} is missing"));
        match body.and_then(|body| read_record(&rollout, &body)) {
            Ok(record) => running.records.push(record),
            Err(error) => {
                tracing::error!(error, "record is unreadable; its rollout is not watched");
                running.unreadable.push(error);
            }
        }
    }
    running
}

fn log_part(rollout: &str) -> String {
    format!("log#{rollout}")
}

/// Always nine decimals, so that the order of the keys is the order of the times.
fn log_key(entry: &LogEntry) -> String {
    format!("{:.9}#{}", entry.at, entry.decision)
}

impl RecordStore for FileStore {
    async fn running(&self) -> Result<Running, Failure> {
        self.read("store running", |seen| {
            let mut bodies = Vec::new();
            for (rollout, _) in seen.bodies(RUNNING)? {
                let body = seen.body(RECORDS, &rollout)?;
                bodies.push((rollout, body));
            }
            Ok(readable(bodies))
        })
        .await
    }

    async fn get(&self, rollout: &str) -> Result<Option<Record>, Failure> {
        self.read("store get", |seen| seen.record(rollout)).await
    }

    /// The running ones first, then the newest two hundred that have ended, each newest first.
    async fn list(&self) -> Result<Vec<Record>, Failure> {
        let bodies = self.read("store list", |seen| seen.bodies(RECORDS)).await?;
        let all = readable(bodies.into_iter().map(|(rollout, body)| (rollout, Some(body)))).records;
        let (mut running, mut ended): (Vec<Record>, Vec<Record>) =
            all.into_iter().partition(Record::needs_ticks);
        for records in [&mut running, &mut ended] {
            records.sort_by_key(|record| std::cmp::Reverse(record.started.at));
        }
        ended.truncate(LISTED);
        running.append(&mut ended);
        Ok(running)
    }

    async fn create(&self, record: &Record) -> Result<Record, Failure> {
        let next = Record { version: 1, ..record.clone() };
        self.write("store create", |items| {
            let in_the_way = |stored: &Record| !stored.is_over() || record.owner.is_some();
            if items.items.record(record.id())?.is_some_and(|stored| in_the_way(&stored)) {
                return Err(plain(FailureKind::Conflict, format!("{} is there and not over", record.id())));
            }
            self.store(items, next)
        })
        .await
    }

    /// The start, too, is compared: another rollout of the same name counts its versions from one again.
    async fn put(&self, record: &Record) -> Result<Record, Failure> {
        let next = Record { version: record.version + 1, ..record.clone() };
        self.write("store put", |items| {
            let of_this = |stored: &Record| stored.started.at == record.started.at;
            let stored = items.items.record(record.id())?.filter(of_this).map(|stored| stored.version);
            if stored != Some(record.version) {
                let stored = stored.map_or_else(|| "none".to_owned(), |version| version.to_string());
                let detail = format!("version {} was to be replaced, {stored} is stored", record.version);
                return Err(plain(FailureKind::Conflict, detail));
            }
            self.store(items, next)
        })
        .await
    }

    async fn freeze(&self) -> Result<Option<Audit>, Failure> {
        self.read("store freeze", |seen| optional(seen.body(FREEZE, FREEZE)?, "the freeze")).await
    }

    async fn set_freeze(&self, freeze: Option<&Audit>) -> Result<(), Failure> {
        self.write("store set freeze", |items| set(items, FREEZE, FREEZE, freeze)).await
    }

    async fn guard(&self, of: &str) -> Result<Option<Guard>, Failure> {
        self.read("store guard", |seen| optional(seen.body(GUARDS, of)?, of)).await
    }

    async fn guards(&self) -> Result<Vec<Guard>, Failure> {
        self.read("store guards", |seen| {
            let mut guards = Vec::new();
            for (of, body) in seen.bodies(GUARDS)? {
                guards.extend(optional(Some(body), &of)?);
            }
            Ok(guards)
        })
        .await
    }

    async fn set_guard(&self, of: &str, guard: Option<&Guard>) -> Result<(), Failure> {
        self.write("store set guard", |items| set(items, GUARDS, of, guard)).await
    }

    async fn take_once(&self, key: &str, until: Timestamp) -> Result<bool, Failure> {
        self.write("store take once", |items| {
            let is_free = items.items.body(ONCE, key)?.is_none();
            if is_free {
                items.put(ONCE, key, &[], until.as_second())?;
            }
            Ok(is_free)
        })
        .await
    }

    /// Kept for so long after the writing, not after the entry's own time, which a rehearsal may set.
    async fn log(&self, entry: &LogEntry) -> Result<(), Failure> {
        self.write("store log", |items| {
            items.put(&log_part(&entry.rollout), &log_key(entry), &json(entry)?, self.expires_at())
        })
        .await
    }

    /// Unreadable entries are left out and told to the log: the history must stay readable after a change of its
    /// form.
    async fn history(&self, rollout: &str, limit: u32) -> Result<Vec<LogEntry>, Failure> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let part = log_part(rollout);
        self.read("store history", |seen| {
            let now = now();
            let mut entries = Vec::new();
            for item in seen.range((part.as_str(), "")..=(part.as_str(), LAST)).map_err(fault)?.rev() {
                if entries.len() >= limit {
                    break;
                }
                let (_, value) = item.map_err(fault)?;
                let (expires_at, body) = taken_apart(value.value())?;
                match parse(body) {
                    _ if expires_at <= now => {}
                    Ok(entry) => entries.push(entry),
                    Err(error) => tracing::error!(rollout, error, "log entry is unreadable"),
                }
            }
            Ok(entries)
        })
        .await
    }
}

fn optional<T: DeserializeOwned>(body: Option<Vec<u8>>, what: &str) -> Result<Option<T>, Fault> {
    let Some(body) = body else { return Ok(None) };
    let read = parse(&body).map(Some);
    read.map_err(|why| plain(FailureKind::Malformed, format!("{what} is unreadable: {why}")))
}

fn set<T: serde::Serialize>(
    items: &mut Items<'_>,
    part: &str,
    key: &str,
    to: Option<&T>,
) -> Result<(), Fault> {
    match to {
        Some(value) => items.put(part, key, &json(value)?, NEVER),
        None => items.remove(part, key),
    }
}
