//! The Lambda function: wiring only.

use std::process::ExitCode;

use canary_gate::aws::{AwsPlatform, AwsSettings, sdk_config};
use canary_gate::config::Settings;
use canary_gate::handler::{HandlerError, Options, handle};
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use tracing_subscriber::filter::LevelFilter;

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
        tracing::error!(error_type = error.error_type(), %error, "invocation failed");
        Self(Diagnostic { error_type: error.error_type().to_owned(), error_message: error.to_string() })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = match Settings::from_vars(std::env::vars()) {
        Ok(settings) => settings,
        Err(problems) => return give_up(&problems),
    };
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_max_level(settings.log.parse().unwrap_or(LevelFilter::INFO))
        .init();
    let sdk = sdk_config().await;
    let platform = AwsPlatform::new(
        &sdk,
        AwsSettings {
            table: settings.table.clone(),
            topic_arn: settings.topic_arn.clone(),
            keep_log: settings.keep_log,
        },
    );
    let options = Options { watermark: settings.watermark, clock: settings.clock };
    let (platform, options) = (&platform, &options);
    let service = service_fn(move |event: LambdaEvent<Value>| async move {
        handle(platform, options, &event.payload, Timestamp::now()).await.map_err(Reported::from)
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
