//! Those who wait for a verdict are told, and a deployment that raises a harmful canary's share is stopped.

use jiff::Timestamp;

use super::perform::{NotStored, put};
use crate::ports::{Deployment, Failure, FailureKind, Platform, RecordStore};
use crate::rollout::gate::{Owner, Stop, Waiting};
use crate::rollout::record::Record;
use crate::rollout::standing::Standing;

/// Tells whoever can be told. An answer is recorded before it is given, so that nobody is told two things; what
/// fails is tried again by the next tick.
pub(super) async fn tend<P: Platform>(
    platform: &P,
    record: Record,
    now: Timestamp,
    troubles: &mut Vec<String>,
) -> Record {
    let next = answers(platform, &record, now, troubles).await;
    let record = match next {
        Some(next) => match keep(platform, &next, troubles).await {
            Some(stored) => stored,
            None => return record,
        },
        None => record,
    };
    let (told, gone) = tell(platform, &record, now, troubles).await;
    let mut next = record.clone().having_told(&told, &gone, now).without_lost_gates();
    if let Some(owner) = next.must_stop(now).cloned() {
        let stopped = stop(platform, &record, &owner, troubles).await;
        next = next.having_stopped(&owner, stopped, now);
    }
    if next == record {
        return record;
    }
    keep(platform, &next, troubles).await.unwrap_or(record)
}

/// The record with the answers that can be given now, if anybody waits for one.
async fn answers<P: Platform>(
    platform: &P,
    record: &Record,
    now: Timestamp,
    troubles: &mut Vec<String>,
) -> Option<Record> {
    if !record.is_asked() {
        return None;
    }
    match standing(platform, record, now).await {
        Ok(standing) => record.answering(&standing, now),
        Err(failure) => {
            troubles.push(format!("whether all rollouts are frozen was not read: {failure}"));
            None
        }
    }
}

/// Where a rollout stands for those who raise shares: as it does, unless somebody has frozen all rollouts.
pub(super) async fn standing<P: Platform>(
    platform: &P,
    record: &Record,
    now: Timestamp,
) -> Result<Standing, Failure> {
    let standing = Standing::of(record, now);
    let freeze = if standing.lets_rise() { RecordStore::freeze(platform).await? } else { None };
    Ok(standing.frozen_by(freeze.as_ref()))
}

/// Stores a record. What another invocation stored meanwhile stands; it tends to the gates in its turn.
async fn keep<P: Platform>(platform: &P, next: &Record, troubles: &mut Vec<String>) -> Option<Record> {
    match put(platform, next).await {
        Ok(stored) => Some(stored),
        Err(NotStored::Overtaken) => None,
        Err(NotStored::Store(failure)) => {
            troubles.push(format!("what callers are told was not stored: {failure}"));
            None
        }
    }
}

/// Gives every answer that there is, and says who took it, and who was no longer there.
async fn tell<P: Platform>(
    platform: &P,
    record: &Record,
    now: Timestamp,
    troubles: &mut Vec<String>,
) -> (Vec<Waiting>, Vec<Waiting>) {
    let (mut taken, mut gone) = (Vec::new(), Vec::new());
    // All at once: one that is slow must not keep the others waiting, nor the pages that come after.
    let tells = record
        .answered()
        .map(|(waiting, told)| async move { (waiting, told, platform.tell(waiting, told).await) });
    for (waiting, told, taking) in futures_util::future::join_all(tells).await {
        let answer = if told.pass { "pass" } else { "fail" };
        match taking {
            Ok(()) => {
                tracing::info!(
                    rollout = record.id(),
                    waiting = waiting.name(),
                    answer,
                    why = told.why,
                    "told"
                );
                taken.push(waiting.clone());
            }
            Err(failure) if failure.kind == FailureKind::NotFound => {
                tracing::warn!(rollout = record.id(), waiting = waiting.name(), %failure, "nobody waits any more");
                gone.push(waiting.clone());
            }
            Err(failure) if waiting.is_given_up(told, now) => {
                troubles.push(format!("{} not told, and given up: {failure}", waiting.name()));
                gone.push(waiting.clone());
            }
            Err(failure) => troubles.push(format!("{} not told: {failure}", waiting.name())),
        }
    }
    (taken, gone)
}

/// Stops the deployment that raises a harmful canary's share. One that is over may have been undone, or not.
async fn stop<P: Platform>(platform: &P, record: &Record, owner: &Owner, troubles: &mut Vec<String>) -> Stop {
    let failure = match platform.stop(owner).await {
        Ok(()) => {
            tracing::warn!(rollout = record.id(), owner = owner.name(), "deployment stopped");
            return Stop::Done;
        }
        Err(failure) => failure,
    };
    if matches!(failure.kind, FailureKind::NotFound | FailureKind::Conflict)
        && let Ok(deployment) = platform.deployment(owner).await
    {
        match deployment {
            Deployment { is_going_back: true, .. } => return Stop::Done,
            Deployment { ended: Some(_), is_undone: true, .. } => return Stop::Done,
            Deployment { ended: Some(_), .. } => return Stop::TooLate,
            _ => {}
        }
    }
    if failure.kind == FailureKind::NotFound {
        return Stop::Done;
    }
    troubles.push(format!("{} not stopped: {failure}", owner.name()));
    Stop::Failed
}
