//! `canary-gate run`: the function's ticks as a process, for those without Lambda.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use clap::Args as Group;
use futures_util::future::{Either, select};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::args::Installation;
use super::output::Output;
use super::remote::{Where, remote};
use super::{Failure, World};
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::handler::{Doors, Options, handle_within, life, telemetry};
use crate::local::Pages;
use crate::ports::Platform;
use crate::units::Minute;

pub(super) const HELP: &str = "\
Ticks at each full minute until SIGTERM or SIGINT; the tick under way is finished then, within 50
seconds. A tick ends before the next one is due, and what it had no time for the next one looks at
first. More than one process may watch the same installation.

Logs JSON lines to standard output, as the function does. Further settings come from the
environment: CANARY_GATE_WATERMARK, CANARY_GATE_KEEP_LOG, CANARY_GATE_LOG, CANARY_GATE_GITHUB_...
(see docs/running.md).

Pages must go somewhere: to a topic (--topic-arn), or elsewhere (--page-to). The command of
--page-to gets each page as a JSON object on its standard input and has 12 seconds; a page that it
does not take is handed to it again.

Examples:
  canary-gate run --topic-arn arn:aws:sns:eu-west-1:123456789012:on-call
  canary-gate run --store /var/lib/canary-gate/records --page-to '/usr/local/bin/wake-somebody'
  * * * * * canary-gate run --once ...       (a line of a crontab)

Exit status:
  0   told to stop; with --once: the tick was carried out
  64  the command line is wrong
  66  the file of records can't be used
  69  AWS did not do its part; with --once: the tick could not be carried out
  77  refused";

/// What the environment may have beside the function's settings.
const OWN_VARIABLES: [&str; 2] = ["CANARY_GATE_STORE", "CANARY_GATE_PAGE_TO"];
/// To standard error.
const STDERR: &str = "stderr";
/// The clock is looked at so often while nothing is to be done: it may be set, and the machine may sleep.
const GLANCE: Duration = Duration::from_secs(5);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// A minute that is this old is left to the next: its tick would have no time.
const LATEST: SignedDuration = SignedDuration::from_secs(45);

#[derive(Debug, Group)]
pub(super) struct RunArgs {
    #[command(flatten)]
    at: Installation,
    /// Where pages go without a topic: `stderr`, or a shell command
    #[arg(long, value_name = "WHERE", env = "CANARY_GATE_PAGE_TO")]
    page_to: Option<String>,
    /// Tick once, now, and end
    #[arg(long)]
    once: bool,
    /// When the tick is, in a rehearsal (CANARY_GATE_CLOCK=event)
    #[arg(long = "at", value_name = "TIME", requires = "once", hide = true)]
    scheduled: Option<Timestamp>,
    /// The value of `FunctionName` in the metrics that are logged, for the dead man's alarm
    #[arg(long, value_name = "NAME", default_value = "canary-gate")]
    name: String,
}

/// How ticks are to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The function's settings; table and topic may be empty.
    pub settings: Settings,
    /// Where pages go.
    pub pages: Pages,
    /// One tick only.
    pub once: bool,
    /// When that is, in a rehearsal.
    pub scheduled: Option<Timestamp>,
    /// Stands in the metrics as the function's name.
    pub name: String,
}

/// Ticks until the process is told to stop.
pub(super) fn run(args: &RunArgs, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    let remote = remote(world)?;
    let run = read(args, std::env::vars())?;
    out.flush();
    Ok(remote.run(&Where::from(&args.at), &run)?)
}

fn read(args: &RunArgs, vars: impl IntoIterator<Item = (String, String)>) -> Result<Run, Failure> {
    let topic_arn = args.at.topic_arn.clone().unwrap_or_default();
    let page_to = args.page_to.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let pages = match (topic_arn.is_empty(), page_to) {
        (false, None) => Pages::Cloud,
        (true, Some(STDERR)) => Pages::Stderr,
        (true, Some(command)) => Pages::Command(command.to_owned()),
        (true, None) => {
            let why = "where do pages go? Give --topic-arn ARN, or --page-to with a command or stderr";
            return Err(Failure::Usage(why.to_owned()));
        }
        (false, Some(_)) => {
            let why = "pages go to a topic or elsewhere: give --topic-arn (or \
                       CANARY_GATE_TOPIC_ARN) or --page-to, not both";
            return Err(Failure::Usage(why.to_owned()));
        }
    };
    // What is said on the command line counts, and is checked by the same rules.
    let table = if args.at.store.is_some() { "" } else { args.at.table.as_str() };
    let said = [("CANARY_GATE_TABLE", table), ("CANARY_GATE_TOPIC_ARN", topic_arn.as_str())];
    let said = said.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let settings = Settings::of_process(vars.into_iter().chain(said), &OWN_VARIABLES);
    let settings = settings.map_err(|problems| Failure::Usage(problems.to_string()))?;
    if args.scheduled.is_some() && settings.clock != config::Clock::Event {
        let why = "--at is for rehearsals: it needs CANARY_GATE_CLOCK=event";
        return Err(Failure::Usage(why.to_owned()));
    }
    let (once, scheduled, name) = (args.once, args.scheduled, args.name.clone());
    Ok(Run { settings, pages, once, scheduled, name })
}

/// Ticks at each full minute until `stop` is done, or once; the exit status.
pub async fn keep_watch<P: Platform>(platform: &P, run: &Run, stop: impl Future<Output = ()>) -> u8 {
    if run.once {
        let now = Timestamp::now();
        let done = tick(platform, run, run.scheduled.unwrap_or(now), None).await;
        return if done { 0 } else { 69 };
    }
    let mut stop = pin!(stop);
    loop {
        let next = pin!(next_minute());
        let scheduled = match select(stop.as_mut(), next).await {
            Either::Left(_) => {
                tracing::info!("told to stop; nothing is under way");
                return 0;
            }
            Either::Right((scheduled, _)) => scheduled,
        };
        let next = minute_after(Timestamp::now());
        tick(platform, run, scheduled, Some(next)).await;
    }
}

/// One tick, for as long as an invocation may live, and until the next one is due: whether it was carried out. What
/// there is no time for is left to the next.
async fn tick<P: Platform>(platform: &P, run: &Run, scheduled: Timestamp, next: Option<Timestamp>) -> bool {
    let event = tick_event(scheduled);
    let now = Timestamp::now();
    let allowed = time_of_tick(now, next);
    let options = Options { watermark: run.settings.watermark, clock: run.settings.clock };
    let (time, doors) = (Clock::start(allowed), Doors::default());
    let handled = Box::pin(handle_within(platform, &options, &doors, &time, &event, now));
    match tokio::time::timeout(allowed, handled).await {
        Ok(Ok(answer)) => {
            for line in telemetry::lines(&answer, &run.name, now) {
                telemetry::publish(&line);
            }
            answer.get("dropped").is_none()
        }
        Ok(Err(error)) => {
            tracing::error!(error_type = error.error_type(), %error, "tick failed");
            false
        }
        Err(_) => {
            tracing::error!(error_type = life::ERROR_TYPE, error = life::given_up(allowed), "tick failed");
            false
        }
    }
}

/// How long a tick may take.
fn time_of_tick(now: Timestamp, next: Option<Timestamp>) -> Duration {
    let deadline_ms = next.and_then(|next| u64::try_from(next.as_millisecond()).ok());
    life::allowed(deadline_ms.unwrap_or_default(), now)
}

fn tick_event(scheduled: Timestamp) -> Value {
    json!({ "kind": "tick", "scheduled_time": scheduled.to_string() })
}

/// Waits for the next full minute and answers which it is. After a jump of the clock, or a machine's sleep, the
/// minutes in between fall out: what they would have seen, the next tick sees.
async fn next_minute() -> Timestamp {
    let mut due = minute_after(Timestamp::now());
    loop {
        match wait_for(due, Timestamp::now()) {
            Wait::Now => return due,
            Wait::For(left) => tokio::time::sleep(left.min(GLANCE)).await,
            Wait::Jumped(to) => due = to,
        }
    }
}

/// What is to be done about a minute.
#[derive(Debug, PartialEq, Eq)]
enum Wait {
    Now,
    For(Duration),
    /// The clock was set, or stood still: this minute is the next one.
    Jumped(Timestamp),
}

fn wait_for(due: Timestamp, now: Timestamp) -> Wait {
    let left = due.duration_since(now);
    if left > MINUTE || left < -LATEST {
        return Wait::Jumped(minute_after(now));
    }
    match Duration::try_from(left) {
        Ok(left) if !left.is_zero() => Wait::For(left),
        _ => Wait::Now,
    }
}

fn minute_after(now: Timestamp) -> Timestamp {
    Minute::of(now).plus(1).start()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:on-call";

    fn of(line: &[&str], vars: &[(&str, &str)]) -> Result<Run, Failure> {
        let line =
            Line::try_parse_from([&["run"], line].concat()).map_err(|e| Failure::Usage(e.to_string()))?;
        read(&line.run, vars.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    fn refused(line: &[&str], vars: &[(&str, &str)]) -> String {
        match of(line, vars) {
            Err(Failure::Usage(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pages_go_to_exactly_one_place() {
        assert_eq!(of(&["--topic-arn", TOPIC], &[]).unwrap().pages, Pages::Cloud);
        assert_eq!(of(&["--page-to", "stderr"], &[]).unwrap().pages, Pages::Stderr);
        let command = Pages::Command("wake --up".to_owned());
        assert_eq!(of(&["--page-to", "wake --up"], &[]).unwrap().pages, command);
        for nowhere in [&[][..], &["--page-to", " "]] {
            assert!(refused(nowhere, &[]).contains("where do pages go"));
        }
        assert!(refused(&["--page-to", "stderr", "--topic-arn", TOPIC], &[]).contains("not both"));
    }

    #[test]
    fn the_command_line_and_the_environment_are_checked_as_the_functions_settings_are() {
        let run = of(&["--topic-arn", TOPIC], &[("CANARY_GATE_WATERMARK", "3m"), ("PATH", "/bin")]).unwrap();
        assert_eq!((run.settings.table.as_str(), run.settings.topic_arn.as_str()), ("canary-gate", TOPIC));
        assert_eq!(run.settings.watermark.seconds(), 180);
        let file = of(&["--store", "/tmp/records", "--page-to", "stderr"], &[]).unwrap();
        assert_eq!(file.settings.table, "");
        let why = refused(&["--topic-arn", "on-call", "--table", "a b"], &[("CANARY_GATE_WATERMRK", "2m")]);
        for wrong in ["CANARY_GATE_TOPIC_ARN", "CANARY_GATE_TABLE", "CANARY_GATE_WATERMRK"] {
            assert!(why.contains(wrong), "{why}");
        }
        refused(&["--store", "/tmp/records", "--table", "gate", "--page-to", "stderr"], &[]);
    }

    #[test]
    fn a_tick_of_another_time_is_for_rehearsals() {
        let at = ["--page-to", "stderr", "--once", "--at", "2026-03-01T10:00:00Z"];
        assert!(refused(&at, &[]).contains("rehearsals"));
        let rehearsal = [("CANARY_GATE_CLOCK", "event"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:5000")];
        assert!(of(&at, &rehearsal).unwrap().scheduled.is_some());
        refused(&["--page-to", "stderr", "--at", "2026-03-01T10:00:00Z"], &rehearsal);
    }

    #[test]
    fn a_tick_ends_before_the_next_one_is_due() {
        let time = |text: &str| format!("2026-03-01T{text}Z").parse::<Timestamp>().unwrap();
        let allowed = |now: &str| time_of_tick(time(now), Some(minute_after(time(now)))).as_millis();
        assert_eq!(allowed("10:01:00"), 50_000, "as an invocation of the function");
        assert_eq!(allowed("10:01:09"), 50_000);
        assert_eq!(allowed("10:01:30.5"), 28_500);
        assert_eq!(allowed("10:01:45"), 14_000, "the least: later ones are left out");
        assert_eq!(time_of_tick(time("10:01:58"), None).as_millis(), 50_000, "no other follows");
    }

    #[test]
    fn ticks_are_at_full_minutes_and_a_clock_that_jumps_makes_none_up() {
        let time = |text: &str| format!("2026-03-01T{text}Z").parse::<Timestamp>().unwrap();
        let due = minute_after(time("10:00:07.5"));
        assert_eq!(due, time("10:01:00"));
        assert_eq!(minute_after(time("10:01:00")), time("10:02:00"), "not the same minute twice");
        for (now, wait) in [
            ("10:00:07.5", Wait::For(Duration::from_millis(52_500))),
            ("10:00:59.999", Wait::For(Duration::from_millis(1))),
            ("10:01:00", Wait::Now),
            ("10:01:45", Wait::Now),
            ("10:01:45.001", Wait::Jumped(time("10:02:00"))),
            ("10:31:10", Wait::Jumped(time("10:32:00"))),
            ("09:31:10", Wait::Jumped(time("09:32:00"))),
        ] {
            assert_eq!(wait_for(due, time(now)), wait, "{now}");
        }
    }
}
