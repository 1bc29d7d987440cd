//! What lies in the table: keys, items, and back. Pure.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `rollout#ID` | `record` | `version`, `body`, `phase`, `state`, `over`, `started_at`, `updated_at`, `write_id`; `expires_at` of deployments that are over |
//! | `rollout#ID` | `log#TIME#DECISION` | `body`, `expires_at`, `parts` if rows lie in items of their own |
//! | `rollout#ID` | `log#TIME#DECISION#partNNN` | `body` (rows), `expires_at` |
//! | `freeze` | `freeze` | `body`: who froze all rollouts, or null |
//! | `guards` | what they belong to | `body`: how deployments are judged, or null |
//! | `once#KEY` | `once#` | `expires_at`, `write_id` |
//!
//! Only records have `state`, so only they are in the index `by_state`. It holds them whole: one query of
//! it is all that a tick has to read.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::analysis::window::Row;
use crate::rollout::gate::Guard;
use crate::rollout::record::{Audit, LogEntry, Record};

/// The index that finds the rollouts with work for a tick: hash key `state`, range key `pk`, all attributes.
pub const STATE_INDEX: &str = "by_state";
/// The attribute for the table's time to live.
pub const TTL_ATTRIBUTE: &str = "expires_at";
/// Sort key of records.
pub(super) const RECORD: &str = "record";
/// Ticks have work with it.
pub(super) const RUNNING: &str = "running";
/// They don't.
pub(super) const ENDED: &str = "ended";
/// Partition of what is said of deployments; what they belong to is the sort key.
pub(super) const GUARDS: &str = "guards";
/// Both keys of the item that freezes all rollouts.
pub(super) const FREEZE: &str = "freeze";
/// Partitions of keys that count once begin with it; it is their sort key, too.
pub(super) const ONCE: &str = "once#";
/// Sort keys of log entries begin with it.
pub(super) const LOG: &str = "log#";
const PART: &str = "#part";
/// Bytes of a body. An item may have 400 KB, its keys and other attributes included.
const BODY_LIMIT: usize = 350_000;
/// Parts of an entry. A partition takes one of them in a third of a second, and a tick has a minute: four
/// seconds are what the log may take of it. A day of minutes with five distributions of ten edges fits.
const PARTS_LIMIT: usize = 12;

/// An item.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The table as CreateTable takes it, in JSON.
///
/// Time to live is switched on apart from that, on [`TTL_ATTRIBUTE`].
#[must_use]
pub fn table_definition(name: &str) -> Value {
    let text = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
    let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
    json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [text("pk"), text("sk"), text("state")],
        "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
        "GlobalSecondaryIndexes": [{
            "IndexName": STATE_INDEX,
            "KeySchema": [key("state", "HASH"), key("pk", "RANGE")],
            "Projection": { "ProjectionType": "ALL" },
        }],
    })
}

/// A string attribute.
pub(super) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number attribute.
pub(super) fn number(number: impl std::fmt::Display + Copy) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// All items of a rollout.
pub(super) fn partition(rollout: &str) -> String {
    format!("rollout#{rollout}")
}

/// The rollout that an item belongs to.
fn rollout_of(item: &Item) -> Option<&str> {
    text(item, "pk")?.strip_prefix("rollout#")
}

/// Always nine decimals, so that the order of the texts is the order of the times.
pub(super) fn sortable(at: Timestamp) -> String {
    format!("{at:.9}")
}

/// Marks one write, so that its own repetition can be told from somebody else's write. Random enough: the
/// standard library seeds its hashers from the system.
pub(super) fn write_id() -> String {
    let random = || RandomState::new().hash_one(());
    format!("{:016x}{:016x}", random(), random())
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
}

fn integer<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name).and_then(|value| value.as_n().ok()).and_then(|digits| digits.parse().ok())
}

/// Whether an item was written by the write of this id.
pub(super) fn is_written_by(item: &Item, write_id: &str) -> bool {
    text(item, "write_id") == Some(write_id)
}

/// The item of a key that counts once.
pub(super) fn once_item(key: &str, until: i64, write_id: &str) -> Item {
    let attributes = [
        ("pk", string(format!("{ONCE}{key}"))),
        ("sk", string(ONCE)),
        ("write_id", string(write_id)),
        (TTL_ATTRIBUTE, number(until)),
    ];
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The item of a record.
///
/// # Errors
/// If the record could not be read back. A number that is not finite becomes `null` in JSON, and a record
/// that can't be read is lost to every later tick.
pub(super) fn record_item(record: &Record, write_id: &str) -> Result<Item, String> {
    let id = record.id();
    let body = serde_json::to_string(record).map_err(|error| format!("record of {id}: {error}"))?;
    serde_json::from_str::<Record>(&body)
        .map_err(|error| format!("record of {id} could not be read back: {error}"))?;
    let changed = record.last_tick.map_or(record.since, |tick| tick.start().max(record.since));
    let state = if record.needs_ticks() { RUNNING } else { ENDED };
    let attributes = [
        ("pk", string(partition(id))),
        ("sk", string(RECORD)),
        ("version", number(record.version)),
        ("body", string(body)),
        ("phase", string(record.phase.name())),
        ("updated_at", string(sortable(changed))),
        ("started_at", string(sortable(record.started.at))),
        ("state", string(state)),
        ("over", AttributeValue::Bool(record.is_over())),
        ("write_id", string(write_id)),
    ];
    Ok(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The record of an item.
///
/// # Errors
/// If it can't be read; the text names the rollout.
pub(super) fn read_record(item: &Item) -> Result<Record, String> {
    let id = rollout_of(item).unwrap_or("?");
    let unreadable = |why: &dyn std::fmt::Display| format!("record of {id} is unreadable: {why}");
    let body = text(item, "body").ok_or_else(|| unreadable(&"it has no body"))?;
    let mut record: Record = serde_json::from_str(body).map_err(|error| unreadable(&error))?;
    record.version = integer(item, "version").ok_or_else(|| unreadable(&"it has no version"))?;
    if record.id() == id { Ok(record) } else { Err(unreadable(&"it holds another rollout")) }
}

/// The item that freezes all rollouts, or none.
///
/// # Errors
/// If it can't be written as JSON.
pub(super) fn freeze_item(freeze: Option<&Audit>) -> Result<Item, String> {
    let body = serde_json::to_string(&freeze).map_err(|error| format!("freeze: {error}"))?;
    let attributes = [("pk", FREEZE), ("sk", FREEZE), ("body", &body)];
    Ok(attributes.into_iter().map(|(name, value)| (name.to_owned(), string(value))).collect())
}

/// Who froze all rollouts.
///
/// # Errors
/// If that can't be read.
pub(super) fn read_freeze(item: &Item) -> Result<Option<Audit>, String> {
    let body = text(item, "body").ok_or("the freeze has no body")?;
    serde_json::from_str(body).map_err(|error| format!("the freeze is unreadable: {error}"))
}

/// The item that says how some deployments are judged; without anything, that nothing is said any more.
///
/// # Errors
/// If it can't be written as JSON.
pub(super) fn guard_item(of: &str, guard: Option<&Guard>) -> Result<Item, String> {
    let body = serde_json::to_string(&guard).map_err(|error| format!("guard of {of}: {error}"))?;
    let attributes = [("pk", GUARDS), ("sk", of), ("body", &body)];
    Ok(attributes.into_iter().map(|(name, value)| (name.to_owned(), string(value))).collect())
}

/// What is said of some deployments.
///
/// # Errors
/// If that can't be read.
pub(super) fn read_guard(item: &Item) -> Result<Option<Guard>, String> {
    let body = text(item, "body").ok_or("the guard has no body")?;
    serde_json::from_str(body).map_err(|error| format!("the guard is unreadable: {error}"))
}

/// The items of a log entry, in the order of writing: its parts, if it is too long for one item, come
/// before its head, so that a head that is there is whole. Of an entry that is too long even for parts, the
/// oldest rows are left out, and it says so.
///
/// # Errors
/// If it can't be written as JSON.
pub(super) fn log_items(entry: &LogEntry, expires_at: i64) -> Result<Vec<Item>, String> {
    let wrong = |error: serde_json::Error| format!("log entry of {}: {error}", entry.rollout);
    let head = format!("{LOG}{}#{}", sortable(entry.at), entry.decision);
    let item = |sk: String, body: String| -> Item {
        let attributes = [
            ("pk", string(partition(&entry.rollout))),
            ("sk", string(sk)),
            ("body", string(body)),
            (TTL_ATTRIBUTE, number(expires_at)),
        ];
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    let body = serde_json::to_string(entry).map_err(wrong)?;
    if body.len() <= BODY_LIMIT {
        return Ok(vec![item(head, body)]);
    }
    let (parts, left_out) = parts(&entry.rows).map_err(wrong)?;
    let mut rest = LogEntry { rows: Vec::new(), ..entry.clone() };
    if left_out > 0 {
        rest.why = format!("{} (left out for length: {left_out} of {} rows)", entry.why, entry.rows.len());
    }
    let mut first = item(head.clone(), serde_json::to_string(&rest).map_err(wrong)?);
    first.insert("parts".to_owned(), number(parts.len()));
    let numbered = parts.into_iter().enumerate();
    let mut items: Vec<Item> = numbered.map(|(at, body)| item(part_key(&head, at), body)).collect();
    items.push(first);
    Ok(items)
}

fn part_key(head: &str, part: usize) -> String {
    format!("{head}{PART}{part:03}")
}

/// The rows as JSON arrays, each short enough for an item, and how many rows had no room: the oldest, and
/// those that are too long by themselves.
fn parts(rows: &[Row]) -> Result<(Vec<String>, usize), serde_json::Error> {
    let (mut parts, mut left_out): (Vec<(usize, String)>, usize) = (Vec::new(), 0);
    for row in rows {
        let row = serde_json::to_string(row)?;
        if row.len() + 2 > BODY_LIMIT {
            left_out += 1;
            continue;
        }
        match parts.last_mut().filter(|(_, part)| part.len() + row.len() + 2 <= BODY_LIMIT) {
            Some((rows, part)) => {
                *rows += 1;
                part.push(',');
                part.push_str(&row);
            }
            None => parts.push((1, format!("[{row}"))),
        }
    }
    let newest = parts.split_off(parts.len().saturating_sub(PARTS_LIMIT));
    left_out += parts.iter().map(|(rows, _)| rows).sum::<usize>();
    Ok((newest.into_iter().map(|(_, part)| part + "]").collect(), left_out))
}

/// Whether an item is an entry's head and has not expired. DynamoDB deletes what has expired when it finds
/// the time, which may be days later.
pub(super) fn is_current_head(item: &Item, now: i64) -> bool {
    !text(item, "sk").is_some_and(|key| key.contains(PART))
        && integer::<i64>(item, TTL_ATTRIBUTE).is_none_or(|expires_at| expires_at > now)
}

/// The entries of items that were read newest first. Unreadable ones are left out and told to the log: the
/// history must stay readable after a change of its form.
pub(super) fn entries(items: &[Item], now: i64) -> Vec<LogEntry> {
    let by_key: HashMap<&str, &Item> =
        items.iter().filter_map(|item| text(item, "sk").map(|key| (key, item))).collect();
    let heads = items.iter().filter(|item| is_current_head(item, now));
    let read = |head: &Item| {
        entry(head, &by_key)
            .inspect_err(|error| {
                tracing::error!(rollout = rollout_of(head), %error, "log entry is unreadable");
            })
            .ok()
    };
    heads.filter_map(read).collect()
}

fn entry(head: &Item, by_key: &HashMap<&str, &Item>) -> Result<LogEntry, String> {
    let key = text(head, "sk").unwrap_or_default();
    let body = text(head, "body").ok_or("it has no body")?;
    let mut entry: LogEntry = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let parts: usize = integer(head, "parts").unwrap_or(0);
    let mut rows: Vec<Row> = Vec::new();
    for part in 0..parts {
        let body = by_key.get(part_key(key, part).as_str()).and_then(|item| text(item, "body"));
        let Some(more) = body.and_then(|body| serde_json::from_str::<Vec<Row>>(body).ok()) else {
            // Half a window would give another verdict: rather none, and say so.
            entry.why = format!("{} (rows lost: part {part} of {parts} is missing)", entry.why);
            return Ok(entry);
        };
        rows.extend(more);
    }
    if parts > 0 {
        entry.rows = rows;
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::check::QUANTILES;
    use crate::analysis::edge::Edge;
    use crate::analysis::threshold::Threshold;
    use crate::analysis::window::{ArmCounts, Distribution, MetricCounts};
    use crate::rollout::fixture;
    use crate::rollout::plan::{Plan, Targets};
    use crate::rollout::record::{Audit, Phase};
    use crate::units::{Minute, Share};

    const FUTURE: i64 = 4_000_000_000;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn record() -> Record {
        let targets = Targets {
            listener_rule: "r".to_owned(),
            stable: "s".to_owned(),
            canary: "c".to_owned(),
            role_arn: None,
        };
        let plan = Plan { rollout: "api".to_owned(), targets, steps: vec![Share::FULL], ..fixture::plan() };
        let at = time("2026-03-01T10:00:00Z");
        Record::new(plan, Audit { actor: "me".to_owned(), reason: "new".to_owned(), at }, false)
    }

    fn entry_of(at: &str, decision: &str, rows: usize) -> LogEntry {
        let first: Minute = "2026-03-01T10:00:00Z".parse().unwrap();
        let row = |at: usize| Row {
            minute: first.plus(i64::try_from(at).unwrap()),
            share: Share::ZERO,
            stable: Some(ArmCounts { requests: at as u64, http_2xx: Some(7), ..ArmCounts::default() }),
            canary: None,
        };
        LogEntry {
            rollout: "api".to_owned(),
            at: time(at),
            decision: decision.to_owned(),
            why: "because".to_owned(),
            phase: Phase::Running,
            share: Share::ZERO,
            by: None,
            conditions: None,
            judgement: None,
            rows: (0..rows).map(row).collect(),
        }
    }

    /// As a descending query gives them.
    fn newest_first(mut items: Vec<Item>) -> Vec<Item> {
        items.sort_by(|a, b| text(b, "sk").cmp(&text(a, "sk")));
        items
    }

    #[test]
    fn a_record_comes_back_with_the_items_version() {
        let mut item = record_item(&Record { version: 4, ..record() }, "w").unwrap();
        assert_eq!(read_record(&item).unwrap(), Record { version: 4, ..record() });
        item.insert("version".to_owned(), number(9));
        assert_eq!(read_record(&item).unwrap().version, 9);
        assert!(is_written_by(&item, "w") && !is_written_by(&item, "x"));
        assert_eq!(text(&item, "started_at"), Some("2026-03-01T10:00:00.000000000Z"));
    }

    #[test]
    fn thresholds_and_the_end_of_the_burn_in_are_kept() {
        let threshold = Threshold { quantile: QUANTILES[1], edge: Edge(-12), samples: 40_000 };
        let learnt = Record {
            thresholds: [("latency".to_owned(), vec![threshold])].into(),
            burnt_in: Some("2026-03-01T10:30:00Z".parse().unwrap()),
            ..record()
        };
        assert_eq!(read_record(&record_item(&learnt, "w").unwrap()).unwrap(), learnt);
    }

    #[test]
    fn a_record_of_an_older_version_has_none_of_what_came_later() {
        let mut item = record_item(&record(), "w").unwrap();
        let mut body: Value = serde_json::from_str(text(&item, "body").unwrap()).unwrap();
        for newer in ["thresholds", "burnt_in", "drain", "held_back"] {
            assert!(body.as_object_mut().unwrap().remove(newer).is_some(), "{newer} is stored");
        }
        item.insert("body".to_owned(), string(body.to_string()));
        assert_eq!(read_record(&item).unwrap(), record());
    }

    #[test]
    fn an_unreadable_record_names_its_rollout() {
        let good = record_item(&record(), "w").unwrap();
        for (name, value) in
            [("body", string("{")), ("version", string("1")), ("pk", string("rollout#other"))]
        {
            let mut item = good.clone();
            item.insert(name.to_owned(), value);
            let error = read_record(&item).unwrap_err();
            assert!(error.contains("api") || error.contains("other"), "{error}");
        }
    }

    #[test]
    fn the_state_follows_the_work_that_is_left() {
        let state = |record: &Record| {
            let item = record_item(record, "w").unwrap();
            text(&item, "state").map(str::to_owned).unwrap()
        };
        assert_eq!(state(&record()), RUNNING);
        assert_eq!(state(&Record { phase: Phase::Drained, ..record() }), ENDED);
    }

    #[test]
    fn log_keys_sort_by_time_whatever_the_fraction() {
        let times = ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00.000000001Z", "2026-03-01T10:00:00.5Z"];
        let keys: Vec<_> = times.iter().map(|at| sortable(time(at))).collect();
        assert!(keys.is_sorted(), "{keys:?}");
        assert!(keys.iter().all(|key| key.len() == keys[0].len()), "{keys:?}");
    }

    #[test]
    fn a_short_entry_is_one_item_and_a_long_one_comes_back_whole() {
        let short = entry_of("2026-03-01T10:00:00Z", "hold", 3);
        let long = entry_of("2026-03-01T10:01:00Z", "drain", 9_000);
        let mut items = log_items(&short, FUTURE).unwrap();
        assert_eq!(items.len(), 1);
        let parted = log_items(&long, FUTURE).unwrap();
        assert!(parted.len() > 2);
        assert!(parted.last().unwrap().contains_key("parts"), "the head is written last");
        assert!(parted.iter().all(|item| text(item, "body").unwrap().len() <= BODY_LIMIT));
        items.extend(parted);
        assert_eq!(entries(&newest_first(items), 0), [long, short]);
    }

    /// An entry whose rows have distributions of so many edges.
    fn wide_entry_of(rows: usize, distributions: usize, edges: i32) -> LogEntry {
        let mut entry = entry_of("2026-03-01T10:01:00Z", "drain", rows);
        let le = (0..edges).map(|edge| (edge - 30, 1_000_000 + u64::from(edge.unsigned_abs()))).collect();
        let values = Distribution { count: 2_000_000, le };
        let name = |at: usize| format!("answers_per_second_{at}");
        let counts = ArmCounts {
            requests: 2_000_000,
            metrics: (0..distributions).map(|at| (name(at), MetricCounts::Values(values.clone()))).collect(),
            ..ArmCounts::default()
        };
        for row in &mut entry.rows {
            (row.stable, row.canary) = (Some(counts.clone()), Some(counts.clone()));
        }
        entry
    }

    /// What is read back of an entry, after a look at what was written.
    fn kept(entry: &LogEntry) -> LogEntry {
        let items = log_items(entry, FUTURE).unwrap();
        assert!(items.len() <= PARTS_LIMIT + 1, "{} items", items.len());
        assert!(items.iter().all(|item| text(item, "body").unwrap().len() <= BODY_LIMIT));
        entries(&newest_first(items), 0).remove(0)
    }

    #[test]
    fn a_day_of_distributions_is_kept_whole() {
        let day = wide_entry_of(1_440, 5, 10);
        assert_eq!(kept(&day), day);
    }

    #[test]
    fn rows_beyond_the_last_part_are_left_out_oldest_first_and_that_is_said() {
        let long = wide_entry_of(500, 5, 100);
        let kept = kept(&long);
        let left_out = long.rows.len() - kept.rows.len();
        assert!((1..500).contains(&left_out), "{left_out}");
        assert_eq!(kept.rows, long.rows[left_out..]);
        assert_eq!(kept.why, format!("because (left out for length: {left_out} of 500 rows)"));
    }

    #[test]
    fn a_row_that_is_too_long_by_itself_is_left_out() {
        let kept = kept(&wide_entry_of(1, 200, 200));
        assert!(kept.rows.is_empty());
        assert_eq!(kept.why, "because (left out for length: 1 of 1 rows)");
    }

    #[test]
    fn lost_parts_are_said_and_expired_or_unreadable_entries_left_out() {
        let long = entry_of("2026-03-01T10:01:00Z", "drain", 9_000);
        let mut items = log_items(&long, FUTURE).unwrap();
        items.remove(0);
        let read = entries(&newest_first(items), 0);
        assert!(read[0].rows.is_empty() && read[0].why.contains("part 0"), "{}", read[0].why);
        let expired = log_items(&entry_of("2026-03-01T10:00:00Z", "hold", 1), 100).unwrap();
        assert_eq!(entries(&expired, 99).len(), 1);
        assert!(entries(&expired, 100).is_empty());
        let mut broken = log_items(&entry_of("2026-03-01T10:00:00Z", "hold", 1), FUTURE).unwrap();
        broken[0].insert("body".to_owned(), string("?"));
        assert!(entries(&broken, 0).is_empty());
    }

    #[test]
    fn the_index_holds_whole_records_and_nothing_of_the_log() {
        let table = table_definition("canary-gate");
        let index = &table["GlobalSecondaryIndexes"][0];
        assert_eq!(index["IndexName"], STATE_INDEX);
        assert_eq!(index["Projection"]["ProjectionType"], "ALL");
        let log = log_items(&entry_of("2026-03-01T10:00:00Z", "hold", 0), FUTURE).unwrap();
        let item = record_item(&record(), "w").unwrap();
        let keys = index["KeySchema"].as_array().unwrap();
        let names = || keys.iter().map(|key| key["AttributeName"].as_str().unwrap());
        assert!(names().all(|name| item.contains_key(name)));
        assert!(names().any(|name| !log[0].contains_key(name)), "log entries are in no index");
    }

    #[test]
    fn the_table_is_the_one_that_infra_describes() {
        let infra: Value = serde_json::from_str(include_str!("../../infra/table.json")).unwrap();
        assert_eq!(table_definition(infra["TableName"].as_str().unwrap()), infra);
    }

    #[test]
    fn write_ids_differ() {
        assert_ne!(write_id(), write_id());
        assert_eq!(write_id().len(), 32);
    }
}
