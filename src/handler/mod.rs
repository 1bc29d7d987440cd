//! The shell round the pure core: one entry for every invocation, on Lambda, in the simulator and in tests.

mod alarms;
mod commands;
mod gates;
mod hooks;
mod http;
pub mod life;
mod neighbours;
mod observe;
pub mod page;
mod perform;
mod queue;
pub mod telemetry;
pub mod tick;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::config::Clock;
use crate::event::{EventError, Invocation, Tick};
use crate::ports::{Failure, Platform, Time, Untimed};
use crate::units::{Minute, Span};

use tick::Turn;

pub use http::Doors;

/// A tick that is older than this when it arrives is dropped: the ones after it have done its work, and
/// what it would write is out of date.
pub const STALE_TICK: SignedDuration = SignedDuration::from_mins(3);

/// What an installation may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Minutes younger than this may still change in CloudWatch and are not looked at.
    pub watermark: Span,
    /// Where the time comes from.
    pub clock: Clock,
}

/// Why an invocation failed. Its type is a stable word, for alarms.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The event can't be read; nothing was touched.
    #[error(transparent)]
    Event(#[from] EventError),
    /// There is no such rollout.
    #[error("{0}")]
    NotFound(String),
    /// The command makes no sense now; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// Other invocations changed the rollout at the same time.
    #[error("{0}")]
    Overtaken(String),
    /// A call failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl HandlerError {
    /// The stable word for it.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Event(error) => error.error_type(),
            Self::NotFound(_) => "NoSuchRollout",
            Self::Refused(_) => "CommandRefused",
            Self::Overtaken(_) => "Overtaken",
            Self::Failed(_) => "CallFailed",
        }
    }
}

/// The answer to an event that was given up, for callers that must have one: HTTP's and ECS's. `None` for other events,
/// which fail.
#[must_use]
pub fn too_slow(event: &Value) -> Option<Value> {
    http::too_slow(event).or_else(|| hooks::too_slow(event))
}

/// Handles one invocation of an installation that knows no callers, and that remembers none of them: see
/// [`handle_at`]. For simulations, which are not called over HTTP.
///
/// # Errors
/// As those of [`handle_at`].
pub async fn handle<P: Platform>(
    platform: &P,
    options: &Options,
    event: &Value,
    now: Timestamp,
) -> Result<Value, HandlerError> {
    handle_at(platform, options, &Doors::default(), event, now).await
}

/// Handles one invocation, however long it takes: see [`handle_within`].
///
/// # Errors
/// As those of [`handle_within`].
pub async fn handle_at<P: Platform>(
    platform: &P,
    options: &Options,
    doors: &Doors,
    event: &Value,
    now: Timestamp,
) -> Result<Value, HandlerError> {
    handle_within(platform, options, doors, &Untimed, event, now).await
}

/// Handles one invocation. `now` is the machine's time, read once; `doors` are made once in a process, for they
/// remember who called how often. `time` is how long it may take: a tick ends before that, with what it has done.
///
/// # Errors
/// If the event can't be read, a command is refused, or a tick can't read which rollouts are running. Not so for
/// HTTP requests: those always get an answer.
pub async fn handle_within<P: Platform, T: Time>(
    platform: &P,
    options: &Options,
    doors: &Doors,
    time: &T,
    event: &Value,
    now: Timestamp,
) -> Result<Value, HandlerError> {
    let invocation = match Invocation::from_json(event) {
        Err(error) if error.http_status().is_some() => return Ok(http::unreadable(&error)),
        invocation => invocation?,
    };
    match invocation {
        Invocation::Http(request) => Ok(http::http(platform, doors, &request, now).await),
        Invocation::Tick(tick) => on_tick(platform, options, time, &tick, now).await,
        Invocation::Command(command) => {
            let now = match (command.at, options.clock) {
                (Some(at), Clock::Event) => at,
                (Some(_), Clock::Wall) => {
                    let why = "`at` is for rehearsals: it needs CANARY_GATE_CLOCK=event";
                    return Err(HandlerError::Refused(why.to_owned()));
                }
                (None, _) => now,
            };
            let answer = commands::command(platform, &command, now).await;
            tracing::info!(command = command.verb.name(), ok = answer.is_ok(), "command");
            answer
        }
        Invocation::CodeDeployHook(hook) => {
            let answer = hooks::code_deploy(platform, &hook, now).await;
            tracing::info!(deployment = hook.deployment, ok = answer.is_ok(), "CodeDeploy hook");
            answer
        }
        Invocation::EcsPaused(paused) => {
            let answer = hooks::ecs_paused(platform, &paused, now).await;
            tracing::info!(deployment = paused.deployment, ok = answer.is_ok(), "ECS pause");
            answer
        }
        Invocation::EcsHook(hook) => {
            let answer = hooks::ecs(platform, &hook, now).await;
            tracing::info!(deployment = hook.deployment, stage = hook.stage, %answer, "ECS hook");
            Ok(answer)
        }
        Invocation::Alarm(alarm) => {
            let now = match options.clock {
                Clock::Event => alarm.at.unwrap_or(now),
                Clock::Wall => now,
            };
            alarms::alarm(platform, &alarm, now).await
        }
    }
}

async fn on_tick<P: Platform, T: Time>(
    platform: &P,
    options: &Options,
    time: &T,
    tick: &Tick,
    wall: Timestamp,
) -> Result<Value, HandlerError> {
    let scheduled = tick.scheduled_at.unwrap_or(wall);
    let now = match options.clock {
        Clock::Wall => wall,
        Clock::Event => scheduled,
    };
    if now.duration_since(scheduled).abs() > STALE_TICK {
        tracing::warn!(%scheduled, %now, "stale tick dropped");
        return Ok(
            json!({ "minute": Minute::of(scheduled), "dropped": "the tick is stale", "rollouts": [] }),
        );
    }
    let turn =
        Turn { minute: Minute::of(scheduled), now, watermark: options.watermark, shard: tick.shard, time };
    let report = tick::tick(platform, &turn).await?;
    tracing::info!(minute = %report.minute, rollouts = report.rollouts.len(), "tick completed");
    Ok(serde_json::to_value(&report).unwrap_or(Value::Null))
}
