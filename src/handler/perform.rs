//! Carries out a decision, in the order that its type prescribes, and empties the outbox.

use super::page;
use crate::ports::{Failure, FailureKind, Pager, Platform, RecordStore};
use crate::rollout::effect::{Decision, Effects, Write};
use crate::rollout::record::{Phase, Record};
use crate::units::Share;

/// How it went.
#[derive(Debug)]
pub(super) struct Performed {
    /// The record as it is stored now.
    pub(super) record: Record,
    /// What could not be done now; a later tick will.
    pub(super) troubles: Vec<String>,
}

/// Why nothing more was done: the record was not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotStored {
    /// Another invocation was faster; it goes on.
    #[error("another invocation was faster")]
    Overtaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Failure),
}

async fn put<P: RecordStore>(store: &P, record: &Record) -> Result<Record, NotStored> {
    store.put(record).await.map_err(|failure| match failure.kind {
        FailureKind::Conflict => NotStored::Overtaken,
        _ => NotStored::Store(failure),
    })
}

/// Carries out a decision about `record`. Without a snapshot of the rule no weight can be written.
pub(super) async fn perform<P: Platform>(
    platform: &P,
    record: &Record,
    snapshot: Option<&P::Snapshot>,
    decision: Decision,
) -> Result<Performed, NotStored> {
    let mut troubles = Vec::new();
    let stored = match decision.effects {
        Effects::Record(next) => put(platform, &next).await?,
        Effects::WriteThenRecord { write, done, failed } => {
            let next = match write_weights(platform, record, snapshot, write).await {
                Ok(remark) => {
                    troubles.extend(remark);
                    done
                }
                Err(trouble) => {
                    troubles.push(trouble);
                    failed
                }
            };
            put(platform, &next).await?
        }
        Effects::RecordThenWrite { intent, write, mut done } => {
            let noted = put(platform, &intent).await?;
            match write_weights(platform, record, snapshot, write).await {
                Ok(_) => {
                    done.version = noted.version;
                    let stored = put(platform, &done).await;
                    if matches!(stored, Err(NotStored::Overtaken)) {
                        stay_down(platform, record, snapshot).await;
                    }
                    stored?
                }
                // The intent stays on record: the next tick sees whether the write took effect.
                Err(trouble) => {
                    troubles.push(trouble);
                    noted
                }
            }
        }
    };
    let record = empty_outbox(platform, stored, &mut troubles).await;
    Ok(Performed { record, troubles })
}

/// Somebody was faster while a shift up was being written. If they drained the canary (an abort, say), the
/// write may have come after theirs and brought it back: it goes down again.
async fn stay_down<P: Platform>(platform: &P, record: &Record, snapshot: Option<&P::Snapshot>) {
    let down = match platform.get(record.id()).await {
        Ok(Some(now)) => matches!(now.phase, Phase::Drained | Phase::Draining),
        Ok(None) => true,
        Err(failure) => {
            tracing::error!(rollout = record.id(), %failure, "not known whether a drain was overwritten");
            return;
        }
    };
    if down {
        let write = Write { share: Share::ZERO, unstick: true };
        let written = write_weights(platform, record, snapshot, write).await;
        tracing::warn!(rollout = record.id(), ?written, "a shift up came after a drain: drained again");
    }
}

/// Writes weights and makes sure that they stand. What went less well than asked is remarked.
async fn write_weights<P: Platform>(
    platform: &P,
    record: &Record,
    snapshot: Option<&P::Snapshot>,
    write: Write,
) -> Result<Option<String>, String> {
    let Some(snapshot) = snapshot else {
        return Err("weights not written: the rule could not be read".to_owned());
    };
    match platform.write_split(&record.plan.targets, snapshot, write).await {
        Ok(split) if split.share().same_as(write.share) => Ok((write.unstick && split.sticky).then(|| {
            "the rule's group stickiness could not be switched off: clients that stick to the canary may still \
             reach it"
                .to_owned()
        })),
        Ok(split) => Err(format!(
            "weights written for {}, but the rule says {} to the canary",
            write.share,
            split.share()
        )),
        Err(failure) => Err(failure.to_string()),
    }
}

/// Sends what is in the outbox and takes out what was sent. A page that fails stays for the next tick. If
/// the process dies between sending and taking out, the page goes out again with the same key.
async fn empty_outbox<P: RecordStore + Pager>(
    platform: &P,
    record: Record,
    troubles: &mut Vec<String>,
) -> Record {
    if record.outbox.is_empty() {
        return record;
    }
    let mut left = Vec::new();
    for pending in &record.outbox {
        if let Err(failure) = platform.page(&page::render(&record, pending)).await {
            troubles.push(failure.to_string());
            left.push(pending.clone());
        }
    }
    if left.len() == record.outbox.len() {
        return record;
    }
    let next = Record { outbox: left, ..record.clone() };
    match put(platform, &next).await {
        Ok(stored) => stored,
        Err(failure) => {
            troubles.push(format!("pages sent, but not noted as sent: {failure}"));
            record
        }
    }
}
