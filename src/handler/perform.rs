//! Carries out a decision, in the order that its type prescribes, and empties the outbox.

use jiff::Timestamp;

use super::{gates, page};
use crate::ports::{Failure, FailureKind, Pager, Platform, RecordStore, Split};
use crate::rollout::effect::{Decision, Effects, Release, Write};
use crate::rollout::record::{Page, Phase, Record, is_leased};

/// How often pages are noted as sent when other invocations are faster.
const NOTE_TRIES: usize = 5;

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

pub(super) async fn put<P: RecordStore>(store: &P, record: &Record) -> Result<Record, NotStored> {
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
    now: Timestamp,
) -> Result<Performed, NotStored> {
    let mut troubles = Vec::new();
    let stored = match decision.effects {
        Effects::Record(next) => put(platform, &next).await?,
        Effects::WriteThenRecord { announced, write, done, failed } => {
            let version = announce(platform, announced.as_deref(), &mut troubles).await?;
            let mut next = match write_weights(platform, record, snapshot, write).await {
                Ok(remark) => {
                    troubles.extend(remark);
                    done
                }
                Err(trouble) => {
                    troubles.push(trouble);
                    failed
                }
            };
            next.version = version.unwrap_or(next.version);
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
    let tended = gates::tend(platform, stored, now, &mut troubles).await;
    let record = empty_outbox(platform, tended, now, &mut troubles).await;
    Ok(Performed { record, troubles })
}

/// Stores that a drain is under way, and answers the version that has it. If somebody was faster there is another
/// record to look at first; anything else that fails is told and delays nothing: the weights come first.
async fn announce<P: RecordStore>(
    store: &P,
    announced: Option<&Record>,
    troubles: &mut Vec<String>,
) -> Result<Option<u64>, NotStored> {
    let Some(announced) = announced else { return Ok(None) };
    match put(store, announced).await {
        Ok(stored) => Ok(Some(stored.version)),
        Err(NotStored::Overtaken) => Err(NotStored::Overtaken),
        Err(not_stored) => {
            troubles.push(format!("the drain was not announced: {not_stored}"));
            Ok(None)
        }
    }
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
        let written = write_weights(platform, record, snapshot, Write::DRAIN).await;
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
        Ok(split) if split.share().same_as(write.share) => Ok(is_still_sticky(write, &split).then(|| {
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

/// Clients that stick to the canary were to be freed, and may still be sent there.
fn is_still_sticky(write: Write, split: &Split) -> bool {
    write.release == Release::Stickiness && split.sticky
}

/// Sends what is in the outbox and takes out what was sent. A page that fails stays for the next tick. If
/// the process dies between sending and taking out, the page goes out again with the same key. What another
/// invocation wrote a moment ago is left to it.
async fn empty_outbox<P: RecordStore + Pager>(
    platform: &P,
    record: Record,
    now: Timestamp,
    troubles: &mut Vec<String>,
) -> Record {
    let ours = |page: &Page| page.at == now || !is_leased(page.at, now);
    if !record.outbox.iter().any(ours) {
        return record;
    }
    let home = platform.home();
    let mut sent = Vec::new();
    for pending in record.outbox.iter().filter(|page| ours(page)) {
        match platform.page(&page::render(&record, pending, &home)).await {
            Ok(()) => sent.push(pending.key.clone()),
            Err(failure) => troubles.push(failure.to_string()),
        }
    }
    note_sent(platform, record, &sent, troubles).await
}

/// Takes pages that were sent out of the outbox. Another invocation may have stored the record meanwhile, pages
/// and all: they are taken out of what it stored, or the next tick would send them again.
async fn note_sent<P: RecordStore>(
    platform: &P,
    mut record: Record,
    sent: &[String],
    troubles: &mut Vec<String>,
) -> Record {
    for _ in 0..NOTE_TRIES {
        let (gone, left): (Vec<_>, Vec<_>) =
            record.outbox.iter().cloned().partition(|page| sent.contains(&page.key));
        if gone.is_empty() {
            return record;
        }
        let failure = match put(platform, &Record { outbox: left, ..record.clone() }).await {
            Ok(stored) => return stored,
            Err(NotStored::Overtaken) => match platform.get(record.id()).await {
                Ok(Some(newer)) => {
                    record = newer;
                    continue;
                }
                Ok(None) => return record,
                Err(failure) => failure,
            },
            Err(NotStored::Store(failure)) => failure,
        };
        troubles.push(format!("pages sent, but not noted as sent: {failure}"));
        return record;
    }
    troubles.push(format!("pages sent, but not noted as sent: {}", NotStored::Overtaken));
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Share;

    #[test]
    fn a_drain_that_could_not_free_sticky_clients_is_told() {
        let sticky = Split { stable: 100, canary: 0, others: 0, sticky: true };
        assert!(is_still_sticky(Write::DRAIN, &sticky));
        assert!(!is_still_sticky(Write::DRAIN, &Split { sticky: false, ..sticky }));
        // A shift up keeps stickiness, and a group that is out of the rule has no clients that stick to it.
        for release in [Release::Nobody, Release::Group] {
            assert!(!is_still_sticky(Write { share: Share::ZERO, release }, &sticky));
        }
    }
}
