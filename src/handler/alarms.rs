//! A CloudWatch alarm as an independent brake: it drains the rollouts that it names, and asks no judge.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::HandlerError;
use super::commands::{give_order, later};
use crate::event::Alarm;
use crate::ports::Platform;
use crate::rollout::command::Order;
use crate::rollout::plan::Plan;
use crate::rollout::record::{Audit, Record};

/// Drains every rollout that an alarm is meant for. An error means that CloudWatch should tell again.
pub(super) async fn alarm<P: Platform>(
    platform: &P,
    alarm: &Alarm,
    now: Timestamp,
) -> Result<Value, HandlerError> {
    if !alarm.has_gone_off {
        return Ok(json!({ "alarm": alarm.name, "rollouts": [], "ignored": "the alarm has not gone off" }));
    }
    let by = Audit { actor: format!("alarm {}", alarm.name), reason: alarm.reason.clone(), at: now };
    let mut brake = Brake { platform, alarm, by, now, answers: Vec::new(), failed: None };
    // Those that run come first, and depend on nothing that is said of the others.
    let running = platform.running().await?.records;
    for record in running.iter().filter(|record| !record.phase.is_terminal() && is_meant(record, alarm)) {
        brake.pull(record).await;
    }
    for record in brake.rest(&running).await {
        brake.pull(&record).await;
    }
    if let Some(error) = brake.failed {
        return Err(error);
    }
    if brake.answers.is_empty() {
        tracing::warn!(alarm = alarm.name, "an alarm that no rollout names");
    }
    Ok(json!({ "alarm": alarm.name, "rollouts": brake.answers }))
}

/// An alarm at work.
struct Brake<'a, P> {
    platform: &'a P,
    alarm: &'a Alarm,
    by: Audit,
    now: Timestamp,
    answers: Vec<Value>,
    /// The last thing that failed, so that CloudWatch should tell again.
    failed: Option<HandlerError>,
}

impl<P: Platform> Brake<'_, P> {
    /// Drains one rollout.
    async fn pull(&mut self, record: &Record) {
        let (rollout, by) = (record.id(), self.by.clone());
        let answer = match ignored(record, self.alarm) {
            Some(why) => json!({ "rollout": rollout, "ignored": why }),
            None => match give_order(self.platform, rollout, Order::Brake, by, self.now).await {
                Ok(answer) => answer,
                Err(HandlerError::Refused(why)) => json!({ "rollout": rollout, "ignored": why }),
                Err(error) => return self.fail(error),
            },
        };
        tracing::warn!(rollout, alarm = self.alarm.name, %answer, "alarm");
        self.answers.push(answer);
    }

    fn fail(&mut self, error: HandlerError) {
        tracing::error!(alarm = self.alarm.name, %error, "alarm not obeyed");
        self.failed = Some(error);
    }

    /// The rollouts that are meant and not among those that run: what the index did not show yet, and what may
    /// still be rolled back, if nothing was started on its rule since.
    async fn rest(&mut self, running: &[Record]) -> Vec<Record> {
        let mut rest = Vec::new();
        let unseen = |name: &&String| running.iter().all(|record| record.id() != name.as_str());
        for name in self.alarm.rollouts.iter().filter(unseen) {
            match self.platform.get(name).await {
                Ok(found) => rest.extend(found.filter(|record| !record.phase.is_terminal())),
                Err(failure) => self.fail(failure.into()),
            }
        }
        match self.platform.list().await {
            Ok(all) => {
                let ended = all.iter().filter(|record| {
                    record.can_be_rolled_back(self.now)
                        && is_meant(record, self.alarm)
                        && later(&all, record).is_none()
                });
                rest.extend(ended.cloned());
            }
            Err(failure) => self.fail(failure.into()),
        }
        rest
    }
}

/// The alarm names the rollout, or its plan names the alarm.
fn is_meant(record: &Record, alarm: &Alarm) -> bool {
    alarm.rollouts.iter().any(|name| name == record.id()) || is_listed(&record.plan, alarm)
}

fn is_listed(plan: &Plan, alarm: &Alarm) -> bool {
    let is = |listed: &String| *listed == alarm.name || Some(listed) == alarm.arn.as_ref();
    plan.alarms.iter().any(is)
}

/// An alarm is told late, or again, for hours if need be; it says nothing about what was started since.
fn ignored(record: &Record, alarm: &Alarm) -> Option<String> {
    let at = alarm.at.filter(|at| *at < record.started.at)?;
    Some(format!("the alarm went off at {at}, before the rollout was started"))
}
