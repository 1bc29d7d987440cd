//! The command line. Everything is in the library; this passes the arguments on, and the clock and CloudWatch.

use std::process::ExitCode;

use canary_gate::cli::{self, World};
use jiff::Timestamp;

fn main() -> ExitCode {
    #[cfg(feature = "aws")]
    let cloudwatch: Option<&dyn cli::Measure> = Some(&CloudWatch);
    #[cfg(not(feature = "aws"))]
    let cloudwatch = None;
    cli::main(std::env::args_os(), World { now: Timestamp::now(), cloudwatch })
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("no network: {error}"))?;
        runtime.block_on(canary_gate::aws::read_once(request)).map_err(|not_read| not_read.to_string())
    }
}
