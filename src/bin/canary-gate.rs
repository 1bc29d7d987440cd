//! The command line. Everything is in the library; this passes the arguments on, and the clock and CloudWatch.

use std::process::ExitCode;

use canary_gate::cli::{self, World};
#[cfg(feature = "aws")]
use canary_gate::ports::RecordStore as _;
#[cfg(feature = "aws")]
use canary_gate::rollout::record::{LogEntry, Record};
use jiff::Timestamp;

fn main() -> ExitCode {
    #[cfg(feature = "aws")]
    let account = Account::default();
    #[cfg(feature = "aws")]
    let (cloudwatch, remote): (Option<&dyn cli::Measure>, Option<&dyn cli::Remote>) =
        (Some(&CloudWatch), Some(&account));
    #[cfg(not(feature = "aws"))]
    let (cloudwatch, remote) = (None, None);
    cli::main(std::env::args_os(), World { now: Timestamp::now(), cloudwatch, remote })
}

/// The adapter, with a runtime for the time of one read.
#[cfg(feature = "aws")]
struct CloudWatch;

#[cfg(feature = "aws")]
impl cli::Measure for CloudWatch {
    fn read(
        &self,
        request: &canary_gate::ports::MetricRequest,
    ) -> Result<canary_gate::ports::MetricRead, String> {
        runtime()?.block_on(canary_gate::aws::read_once(request)).map_err(|not_read| not_read.to_string())
    }
}

#[cfg(feature = "aws")]
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("no network: {error}"))
}

/// Installations, by the caller's own credentials. The last one is kept open: `watch` asks it again and again.
#[cfg(feature = "aws")]
#[derive(Default)]
struct Account(std::cell::RefCell<Option<Open>>);

#[cfg(feature = "aws")]
struct Open {
    place: cli::Where,
    runtime: tokio::runtime::Runtime,
    sdk: aws_config::SdkConfig,
    platform: canary_gate::local::Local<canary_gate::aws::AwsPlatform>,
}

#[cfg(feature = "aws")]
impl Account {
    /// Opens an installation, unless it is. A file of records that is not there is made if it may be.
    fn with<T>(
        &self,
        place: &cli::Where,
        may_make_file: bool,
        ask: impl AsyncFnOnce(&Open) -> Result<T, cli::NotDone>,
    ) -> Result<T, cli::NotDone> {
        let mut kept = self.0.borrow_mut();
        let open = match kept.take().filter(|open| open.place == *place) {
            Some(open) => open,
            None => Open::new(place, may_make_file, canary_gate::local::Pages::Cloud, None)?,
        };
        let answer = open.runtime.block_on(ask(&open));
        *kept = Some(open);
        answer
    }
}

#[cfg(feature = "aws")]
impl Open {
    fn new(
        place: &cli::Where,
        may_make_file: bool,
        pages: canary_gate::local::Pages,
        github: Option<canary_gate::github::Github>,
    ) -> Result<Self, cli::NotDone> {
        use canary_gate::aws::{AwsPlatform, sdk_config_of};
        use canary_gate::local::{FileStore, Local};

        let runtime = runtime().map_err(cli::NotDone::Unavailable)?;
        let store = match &place.store {
            Some(file) if may_make_file => Some(runtime.block_on(FileStore::open(file, place.keep_log))),
            Some(file) => Some(runtime.block_on(FileStore::existing(file, place.keep_log))),
            None => None,
        };
        let store = store.transpose().map_err(|why| cli::NotDone::NotFound(why.to_string()))?;
        let sdk = runtime.block_on(sdk_config_of(place.region.clone())).map_err(cli::NotDone::Unavailable)?;
        let cloud = AwsPlatform::new(&sdk, settings(place));
        let cloud = cloud.with_github(github.map(std::sync::Arc::new)).with_runbook(place.runbook.clone());
        Ok(Self { place: place.clone(), runtime, sdk, platform: Local::new(cloud, store, pages) })
    }
}

#[cfg(feature = "aws")]
fn settings(place: &cli::Where) -> canary_gate::aws::AwsSettings {
    let topic_arn = place.topic_arn.clone().unwrap_or_default();
    canary_gate::aws::AwsSettings { table: place.table.clone(), topic_arn, keep_log: place.keep_log }
}

#[cfg(feature = "aws")]
impl cli::Remote for Account {
    fn send(&self, place: &cli::Where, event: &serde_json::Value) -> Result<serde_json::Value, cli::NotDone> {
        use canary_gate::config::Clock;
        use canary_gate::handler::{Options, handle};
        use canary_gate::units::Span;

        let options = Options { watermark: Span::from_minutes(2), clock: Clock::Wall };
        // A rollout that is the first of its file makes it; a misspelt file is not taken for an empty one.
        let begins = ["start", "freeze"].iter().any(|word| event["command"] == *word);
        self.with(place, begins, async |open| {
            let handled = Box::pin(handle(&open.platform, &options, event, Timestamp::now()));
            handled.await.map_err(|error| not_done(&error))
        })
    }

    fn record(&self, place: &cli::Where, rollout: &str) -> Result<Record, cli::NotDone> {
        self.with(place, false, async |open| {
            let record = open.platform.get(rollout).await.map_err(not_read)?;
            record.ok_or_else(|| cli::NotDone::NotFound(format!("no rollout is named {rollout:?}")))
        })
    }

    fn log(&self, place: &cli::Where, rollout: &str, limit: u32) -> Result<Vec<LogEntry>, cli::NotDone> {
        self.with(place, false, async |open| open.platform.history(rollout, limit).await.map_err(not_read))
    }

    fn examine(
        &self,
        place: &cli::Where,
        plan: &canary_gate::rollout::plan::Plan,
        look: &cli::Look,
    ) -> Result<canary_gate::doctor::Examined, cli::NotDone> {
        use canary_gate::aws::{Look, TickMetric, examine};
        use canary_gate::handler::telemetry::{DIMENSION, METRIC, NAMESPACE};

        let of = |function| TickMetric { namespace: NAMESPACE, name: METRIC, dimension: DIMENSION, function };
        let look = Look { at: look.at, watermark: look.watermark, ticks: look.function.as_deref().map(of) };
        let settings = settings(place);
        self.with(place, false, async |open| {
            Ok(Box::pin(examine(&open.sdk, settings, &open.platform, plan, look)).await)
        })
    }

    fn run(&self, place: &cli::Where, run: &cli::Run) -> Result<u8, cli::NotDone> {
        use canary_gate::github::Github;
        use canary_gate::local::Pages;

        canary_gate::aws::logging::begin(&run.settings.log);
        let github = run.settings.github.as_ref().map(Github::new).transpose();
        let github = github.map_err(|rejected| cli::NotDone::Refused(rejected.to_string()))?;
        let open = Open::new(place, true, run.pages.clone(), github)?;
        open.runtime.block_on(async {
            let stop = told_to_stop().map_err(|why| cli::NotDone::Unavailable(why.to_string()))?;
            let store = place.store.as_ref().map(|file| file.display().to_string());
            tracing::info!(
                version = env!("CARGO_PKG_VERSION"),
                store,
                table = run.settings.table,
                "watching"
            );
            if run.pages == Pages::Stderr {
                tracing::warn!("PAGES WAKE NOBODY: they are only written to standard error");
            }
            Ok(Box::pin(cli::keep_watch(&open.platform, run, stop)).await)
        })
    }
}

/// Done when the process is told to end; from now on that does not end it by itself.
#[cfg(all(feature = "aws", unix))]
fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(all(feature = "aws", not(unix)))]
fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

#[cfg(feature = "aws")]
#[allow(clippy::needless_pass_by_value)] // for map_err
fn not_read(failure: canary_gate::ports::Failure) -> cli::NotDone {
    cli::NotDone::Unavailable(failure.to_string())
}

#[cfg(feature = "aws")]
fn not_done(error: &canary_gate::handler::HandlerError) -> cli::NotDone {
    use canary_gate::handler::HandlerError;

    match error {
        HandlerError::NotFound(_) => cli::NotDone::NotFound(error.to_string()),
        HandlerError::Failed(_) => cli::NotDone::Unavailable(error.to_string()),
        HandlerError::Event(_) | HandlerError::Refused(_) | HandlerError::Overtaken(_) => {
            cli::NotDone::Refused(error.to_string())
        }
    }
}
