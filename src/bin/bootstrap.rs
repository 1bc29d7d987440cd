//! The Lambda function: wiring only.

use std::process::ExitCode;
use std::sync::Arc;

use canary_gate::aws::{AwsPlatform, AwsSettings, logging, sdk_config};
use canary_gate::clock::Clock;
use canary_gate::config::Settings;
use canary_gate::github::Github;
use canary_gate::handler::{Doors, HandlerError, Options, handle_within, life, telemetry, too_slow};
use jiff::Timestamp;
use lambda_runtime::{Context, Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use tokio::sync::OnceCell;
use tracing::Instrument as _;

/// A handler's error in the Lambda runtime's words: a stable type, and the message with its causes.
struct Reported(Diagnostic);

impl std::fmt::Debug for Reported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.error_message)
    }
}

impl From<Reported> for Diagnostic {
    fn from(reported: Reported) -> Self {
        reported.0
    }
}

impl From<HandlerError> for Reported {
    fn from(error: HandlerError) -> Self {
        Self::new(error.error_type(), error.to_string())
    }
}

impl Reported {
    fn new(error_type: &str, error_message: String) -> Self {
        tracing::error!(error_type, error = error_message, "invocation failed");
        Self(Diagnostic { error_type: error_type.to_owned(), error_message })
    }
}

/// Handles one event, for as long as an invocation may live, and publishes whether a tick was carried out.
async fn answer(
    platform: &AwsPlatform,
    options: &Options,
    doors: &Doors,
    event: &Value,
    context: &Context,
) -> Result<Value, Reported> {
    let now = Timestamp::now();
    let allowed = life::allowed(context.deadline, now);
    let time = Clock::start(allowed);
    let handled = handle_within(platform, options, doors, &time, event, now);
    let answer = match tokio::time::timeout(allowed, handled).await {
        Ok(answered) => answered?,
        Err(_) => {
            let reported = Reported::new(life::ERROR_TYPE, life::given_up(allowed));
            return too_slow(event).ok_or(reported);
        }
    };
    for line in telemetry::lines(&answer, &context.env_config.function_name, now) {
        telemetry::publish(&telemetry::of_invocation(line, &context.request_id, trace_id(context)));
    }
    Ok(answer)
}

fn trace_id(context: &Context) -> Option<&str> {
    context.xray_trace_id.as_deref().and_then(logging::trace_id)
}

async fn connect(settings: &Settings, github: Option<Arc<Github>>) -> AwsPlatform {
    let of_installation = AwsSettings {
        table: settings.table.clone(),
        topic_arn: settings.topic_arn.clone(),
        keep_log: settings.keep_log,
    };
    AwsPlatform::new(&sdk_config().await, of_installation)
        .with_github(github)
        // Lambda's own word for where the lines above go.
        .with_log_group(std::env::var("AWS_LAMBDA_LOG_GROUP_NAME").ok())
        .with_runbook(settings.runbook.clone())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = match Settings::from_vars(std::env::vars()) {
        Ok(settings) => settings,
        Err(problems) => return give_up(&problems),
    };
    let github = match settings.github.as_ref().map(Github::new).transpose() {
        Ok(github) => github,
        Err(rejected) => return give_up(&rejected),
    };
    logging::begin(&settings.log);
    let options = Options { watermark: settings.watermark, clock: settings.clock };
    let doors = Doors::new(settings.callers.clone()).with_github(settings.github.as_ref());
    // Made when the first event is there: the function is ready sooner, and the first answer comes no later.
    let platform = OnceCell::new();
    let (settings, github) = (&settings, github.map(Arc::new));
    let (platform, options, doors, github) = (&platform, &options, &doors, &github);
    let service = service_fn(move |event: LambdaEvent<Value>| async move {
        let platform = platform.get_or_init(|| connect(settings, github.clone())).await;
        let span = logging::invocation(&event.context.request_id, trace_id(&event.context));
        answer(platform, options, doors, &event.payload, &event.context).instrument(span).await
    });
    match lambda_runtime::run(service).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => give_up(&error),
    }
}

/// Before there is a log there is standard error; Lambda keeps it.
#[allow(clippy::print_stderr)]
fn give_up(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("canary-gate cannot start: {error}");
    ExitCode::FAILURE
}
