//! Records and the decision log in DynamoDB; `items` has the table's layout.
//!
//! Which rollouts have work for a tick is asked of an index that holds their records whole: one read, also
//! for a hundred rollouts, and the only one if there are none. An index answers a moment late, usually far
//! less than a second, and ticks are a minute apart. What a late answer can do is bounded by what comes
//! before the version check of the first write: nothing goes up, no page goes out, and a canary can at
//! worst come down on evidence against it. One rollout by name is read from the table, consistently.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use futures_util::future::try_join;
use jiff::Timestamp;

use super::AwsPlatform;
use super::failure::{failure, plain};
use super::items::{
    ENDED, FREEZE, GUARDS, Item, LOG, RECORD, RUNNING, STATE_INDEX, TTL_ATTRIBUTE, entries, freeze_item,
    guard_item, is_current_head, is_written_by, log_items, number, once_item, partition, read_freeze,
    read_guard, read_record, record_item, sortable, string, write_id,
};
use crate::ports::{Failure, FailureKind, RecordStore, Running};
use crate::rollout::gate::Guard;
use crate::rollout::record::{Audit, LogEntry, Record};

const QUERY: &str = "dynamodb Query";
const GET_ITEM: &str = "dynamodb GetItem";
const PUT_ITEM: &str = "dynamodb PutItem";
/// A name is free if nobody had it, or if the one who had it is over. Older records say so by their state.
const CREATABLE: &str =
    "attribute_not_exists(#pk) OR #over = :over OR (attribute_not_exists(#over) AND #state = :ended)";
/// Ended rollouts in a list: the newest ones, by their start.
const LISTED: usize = 200;

impl RecordStore for AwsPlatform {
    async fn running(&self) -> Result<Running, Failure> {
        self.in_state(RUNNING).await
    }

    async fn get(&self, rollout: &str) -> Result<Option<Record>, Failure> {
        match self.item(&partition(rollout), RECORD).await? {
            Some(item) => Ok(Some(read_record(&item).map_err(malformed(GET_ITEM))?)),
            None => Ok(None),
        }
    }

    /// The running ones first, then the newest two hundred that have ended, each newest first. Reads all
    /// that have ever ended to find those: this is for people, not for ticks.
    async fn list(&self) -> Result<Vec<Record>, Failure> {
        let (running, ended) = try_join(self.in_state(RUNNING), self.in_state(ENDED)).await?;
        let (mut running, mut ended) = (running.records, ended.records);
        for records in [&mut running, &mut ended] {
            records.sort_by_key(|record| std::cmp::Reverse(record.started.at));
        }
        // A rollout that ends just now may be seen on both sides.
        ended.retain(|record| running.iter().all(|other| other.id() != record.id()));
        ended.truncate(LISTED);
        running.append(&mut ended);
        Ok(running)
    }

    async fn create(&self, record: &Record) -> Result<Record, Failure> {
        let next = Record { version: 1, ..record.clone() };
        if record.owner.is_some() {
            return self.store(next, "attribute_not_exists(#pk)", &["pk"], []).await;
        }
        let values = [(":over", AttributeValue::Bool(true)), (":ended", string(ENDED))];
        self.store(next, CREATABLE, &["pk", "over", "state"], values).await
    }

    /// The start, too, is compared: another rollout of the same name counts its versions from one again.
    async fn put(&self, record: &Record) -> Result<Record, Failure> {
        let next = Record { version: record.version + 1, ..record.clone() };
        let started = sortable(record.started.at);
        let values = [(":version", number(record.version)), (":started", string(started))];
        let condition = "#version = :version AND #started_at = :started";
        self.store(next, condition, &["version", "started_at"], values).await
    }

    async fn freeze(&self) -> Result<Option<Audit>, Failure> {
        match self.item(FREEZE, FREEZE).await? {
            Some(item) => read_freeze(&item).map_err(malformed(GET_ITEM)),
            None => Ok(None),
        }
    }

    /// The item stays, with nobody in it, when the rollouts are thawed: no right to delete is needed.
    async fn set_freeze(&self, freeze: Option<&Audit>) -> Result<(), Failure> {
        let item = freeze_item(freeze).map_err(malformed(PUT_ITEM))?;
        let put = self.dynamodb.put_item().table_name(&self.settings.table).set_item(Some(item));
        put.send().await.map(|_| ()).map_err(|error| failure(PUT_ITEM, error))
    }

    async fn guard(&self, of: &str) -> Result<Option<Guard>, Failure> {
        match self.item(GUARDS, of).await? {
            Some(item) => read_guard(&item).map_err(malformed(GET_ITEM)),
            None => Ok(None),
        }
    }

    async fn guards(&self) -> Result<Vec<Guard>, Failure> {
        let mut pages = self
            .dynamodb
            .query()
            .table_name(&self.settings.table)
            .consistent_read(true)
            .key_condition_expression("#pk = :pk")
            .set_expression_attribute_names(Some(names(&["pk"])))
            .set_expression_attribute_values(Some(values([(":pk", string(GUARDS))])))
            .into_paginator()
            .items()
            .send();
        let mut guards = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| failure(QUERY, error))?;
            guards.extend(read_guard(&item).map_err(malformed(QUERY))?);
        }
        Ok(guards)
    }

    /// The item stays when nothing is said any more: no right to delete is needed.
    async fn set_guard(&self, of: &str, guard: Option<&Guard>) -> Result<(), Failure> {
        let item = guard_item(of, guard).map_err(malformed(PUT_ITEM))?;
        let put = self.dynamodb.put_item().table_name(&self.settings.table).set_item(Some(item));
        put.send().await.map(|_| ()).map_err(|error| failure(PUT_ITEM, error))
    }

    /// Each key has a partition of its own, so that a busy caller slows down nobody.
    async fn take_once(&self, key: &str, until: Timestamp) -> Result<bool, Failure> {
        let write_id = write_id();
        let sent = self
            .dynamodb
            .put_item()
            .table_name(&self.settings.table)
            .set_item(Some(once_item(key, until.as_second(), &write_id)))
            .condition_expression("attribute_not_exists(#pk)")
            .set_expression_attribute_names(Some(names(&["pk"])))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = sent else { return Ok(true) };
        // An attempt whose answer was lost has taken it for us.
        match found(error.as_service_error()) {
            Some(item) => Ok(is_written_by(item, &write_id)),
            None => Err(failure(PUT_ITEM, error)),
        }
    }

    /// Kept for so long after the writing, not after the entry's own time, which a rehearsal may set.
    async fn log(&self, entry: &LogEntry) -> Result<(), Failure> {
        for item in log_items(entry, self.expires_at()).map_err(malformed(PUT_ITEM))? {
            let put = self.dynamodb.put_item().table_name(&self.settings.table).set_item(Some(item));
            put.send().await.map_err(|error| failure(PUT_ITEM, error))?;
        }
        Ok(())
    }

    async fn history(&self, rollout: &str, limit: u32) -> Result<Vec<LogEntry>, Failure> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let now = Timestamp::now().as_second();
        let (mut items, mut heads, mut start) = (Vec::new(), 0, None);
        while heads < limit {
            let wanted = i32::try_from(limit - heads).unwrap_or(i32::MAX);
            let page = self
                .dynamodb
                .query()
                .table_name(&self.settings.table)
                .consistent_read(true)
                .key_condition_expression("#pk = :pk AND begins_with(#sk, :log)")
                .set_expression_attribute_names(Some(names(&["pk", "sk"])))
                .set_expression_attribute_values(Some(values([
                    (":pk", string(partition(rollout))),
                    (":log", string(LOG)),
                ])))
                .scan_index_forward(false)
                .limit(wanted)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| failure(QUERY, error))?;
            let more = page.items.unwrap_or_default();
            heads += more.iter().filter(|item| is_current_head(item, now)).count();
            items.extend(more);
            start = page.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                break;
            }
        }
        Ok(entries(&items, now))
    }
}

impl AwsPlatform {
    /// The records in a state, as far as the index knows. Each page is read before the next one is asked for: the items
    /// of all pages would take as much memory again as the records.
    async fn in_state(&self, state: &str) -> Result<Running, Failure> {
        let (mut running, mut start) = (Running::default(), None);
        loop {
            let page = self
                .dynamodb
                .query()
                .table_name(&self.settings.table)
                .index_name(STATE_INDEX)
                .key_condition_expression("#state = :state")
                .set_expression_attribute_names(Some(names(&["state"])))
                .set_expression_attribute_values(Some(values([(":state", string(state))])))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| failure(QUERY, error))?;
            add_readable(&mut running, page.items.unwrap_or_default());
            start = page.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                return Ok(running);
            }
        }
    }

    /// One item, consistently.
    async fn item(&self, pk: &str, sk: &str) -> Result<Option<Item>, Failure> {
        let answer = self
            .dynamodb
            .get_item()
            .table_name(&self.settings.table)
            .key("pk", string(pk))
            .key("sk", string(sk))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failure(GET_ITEM, error))?;
        Ok(answer.item)
    }

    /// When what is written now is no longer wanted.
    fn expires_at(&self) -> i64 {
        let keep = i64::try_from(self.settings.keep_log.seconds()).unwrap_or(i64::MAX);
        Timestamp::now().as_second().saturating_add(keep)
    }

    /// Writes a record on a condition. An attempt may have been carried out although its answer was lost;
    /// the SDK's next attempt then fails the condition for our own item, which is no conflict.
    async fn store<const N: usize>(
        &self,
        record: Record,
        condition: &str,
        named: &[&str],
        compared: [(&str, AttributeValue); N],
    ) -> Result<Record, Failure> {
        let write_id = write_id();
        let mut item = record_item(&record, &write_id).map_err(malformed(PUT_ITEM))?;
        // There is one for each deployment of another system: they go with their logs.
        if record.is_over() && record.owner.is_some() {
            item.insert(TTL_ATTRIBUTE.to_owned(), number(self.expires_at()));
        }
        let sent = self
            .dynamodb
            .put_item()
            .table_name(&self.settings.table)
            .set_item(Some(item))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names(named)))
            .set_expression_attribute_values((N > 0).then(|| values(compared)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(record),
            Err(error)
                if found(error.as_service_error()).is_some_and(|item| is_written_by(item, &write_id)) =>
            {
                Ok(record)
            }
            Err(error) => Err(failure(PUT_ITEM, error)),
        }
    }
}

/// The item that failed the condition.
fn found(error: Option<&PutItemError>) -> Option<&Item> {
    match error {
        Some(PutItemError::ConditionalCheckFailedException(failed)) => failed.item(),
        _ => None,
    }
}

/// The records of items. One that can't be read must not stop the others; it goes to the log, and to the caller.
fn add_readable(running: &mut Running, items: Vec<Item>) {
    for item in items {
        match read_record(&item) {
            Ok(record) => running.records.push(record),
            Err(error) => {
                tracing::error!(error, "record is unreadable; its rollout is not watched");
                running.unreadable.push(error);
            }
        }
    }
}

fn malformed(operation: &'static str) -> impl Fn(String) -> Failure {
    move |text| plain(operation, FailureKind::Malformed, text)
}

/// `#name` for each name: many, `state` for one, are reserved words.
fn names(names: &[&str]) -> HashMap<String, String> {
    names.iter().map(|name| (format!("#{name}"), (*name).to_owned())).collect()
}

fn values<const N: usize>(values: [(&str, AttributeValue); N]) -> Item {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;

    #[test]
    fn our_own_item_is_told_from_somebody_elses() {
        let item: Item = HashMap::from([("write_id".to_owned(), string("ours"))]);
        let failed = ConditionalCheckFailedException::builder().set_item(Some(item)).build();
        let error = PutItemError::ConditionalCheckFailedException(failed);
        assert!(found(Some(&error)).is_some_and(|item| is_written_by(item, "ours")));
        assert!(!found(Some(&error)).is_some_and(|item| is_written_by(item, "theirs")));
        assert!(found(None).is_none());
    }

    #[test]
    fn an_unreadable_record_is_told_by_the_name_of_its_rollout() {
        let item: Item = HashMap::from([("pk".to_owned(), string("rollout#api"))]);
        let mut running = Running::default();
        add_readable(&mut running, vec![item]);
        assert!(running.records.is_empty());
        assert!(running.unreadable[0].contains("record of api"), "{running:?}");
    }

    #[test]
    fn reserved_words_are_named_by_placeholders() {
        assert_eq!(names(&["state"]), HashMap::from([("#state".to_owned(), "state".to_owned())]));
    }
}
