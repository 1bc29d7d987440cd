//! Traffic and stable's rates as CloudWatch has them now.

use super::waiting::waiting;
use super::{Failure, World, no_aws};
use crate::analysis::check::Check;
use crate::analysis::forecast::Traffic;
use crate::analysis::window::{ArmCounts, Row, Window};
use crate::ports::{MetricRead, MetricRequest, Series};
use crate::rollout::plan::Plan;
use crate::units::{Minute, Span};

/// As long as nobody says otherwise: enough for rare errors, short enough to be the traffic of this time of
/// the day.
pub(super) const MEASURED: Span = Span::from_minutes(180);

/// Reads metrics for a person who waits: the capability that the binary has of its adapters.
pub trait Measure {
    /// Reads one request.
    ///
    /// # Errors
    /// Why nothing was read and what to do about it, in one line.
    fn read(&self, request: &MetricRequest) -> Result<MetricRead, String>;
}

/// What the plan's groups did in the minutes up to `delay` ago.
pub(super) fn measured(plan: &Plan, span: Span, delay: Span, world: World<'_>) -> Result<Traffic, Failure> {
    let request = request(plan, Minute::of(world.now), span, delay);
    let rows = read_whole(&request, world)?;
    let window: Window = rows.into_iter().collect();
    let mut traffic = Traffic::measured(&window, &plan.rules.checks).map_err(|_| {
        let (group, from, until) = (&plan.targets.stable, request.from, request.until);
        Failure::Data(format!(
            "the stable group had no request from {from} to {until}: there is nothing to measure ({group})"
        ))
    })?;
    // All minutes count: one in which the stable group has no data is one in which it had no request.
    traffic.requests_per_minute = requests(&window) as f64 / span.minutes() as f64;
    Ok(traffic)
}

/// Every row of a request, or nothing.
pub(super) fn read_whole(request: &MetricRequest, world: World<'_>) -> Result<Vec<Row>, Failure> {
    let cloudwatch = world.cloudwatch.ok_or_else(no_aws)?;
    let what = format!("reading {} minutes from CloudWatch", request.until.since(request.from));
    let unread = |why| Failure::Unavailable(format!("CloudWatch can't be read: {why}"));
    let read = waiting(&what, || cloudwatch.read(request)).map_err(unread)?;
    let partly = |what| Failure::Unavailable(format!("CloudWatch was not read whole: {what}"));
    read.complete.map_err(partly)?;
    Ok(read.rows)
}

/// What must be read for [`Traffic::measured`]. A quantile implies its rate, so that of quantiles only the
/// number of samples is read: the account's tick shares what CloudWatch answers in a second.
fn request(plan: &Plan, now: Minute, span: Span, delay: Span) -> MetricRequest {
    let until = now.plus(-delay.whole_minutes());
    let of_check = |check: &Check| Series::of(check, Some(&Vec::new()));
    let series = plan.rules.checks.iter().filter_map(of_check).collect();
    MetricRequest { targets: plan.targets.clone(), from: until.plus(-span.whole_minutes()), until, series }
}

/// Of both arms.
fn requests(window: &Window) -> u64 {
    let arms = window.rows().flat_map(|row| [row.stable.as_ref(), row.canary.as_ref()]);
    arms.flatten().map(|counts: &ArmCounts| counts.requests).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::window::Row;
    use crate::config::{Scope, parse_plan};
    use crate::sim::run::default_plan;
    use crate::units::Share;

    /// Answers every minute alike.
    struct Same {
        stable: Option<u64>,
        canary: Option<u64>,
        complete: Result<(), String>,
    }

    impl Measure for Same {
        fn read(&self, request: &MetricRequest) -> Result<MetricRead, String> {
            let arm = |requests: &u64| ArmCounts {
                requests: *requests,
                http_2xx: Some(*requests),
                ..ArmCounts::default()
            };
            let row = |minute: Minute| Row {
                minute,
                share: Share::ZERO,
                stable: self.stable.as_ref().filter(|_| minute.since(request.from) % 2 == 0).map(arm),
                canary: self.canary.as_ref().map(arm),
            };
            let rows = (0..request.until.since(request.from)).map(|at| row(request.from.plus(at))).collect();
            Ok(MetricRead { rows, complete: self.complete.clone() })
        }
    }

    fn plan() -> Plan {
        parse_plan(&default_plan().to_string(), Scope::Rollout).unwrap().plan
    }

    fn asked(cloudwatch: &Same) -> Result<Traffic, Failure> {
        let world = World {
            now: "2026-03-01T10:00:30Z".parse().unwrap(),
            cloudwatch: Some(cloudwatch),
            remote: None,
        };
        measured(&plan(), Span::from_minutes(30), Span::from_minutes(2), world)
    }

    #[test]
    fn traffic_is_of_both_groups_and_of_all_minutes() {
        let half_the_time = Same { stable: Some(900), canary: Some(100), complete: Ok(()) };
        assert_eq!(asked(&half_the_time).unwrap().requests_per_minute, 550.0);
    }

    #[test]
    fn without_a_request_of_stable_nothing_is_measured() {
        let silent = Same { stable: None, canary: Some(100), complete: Ok(()) };
        let failure = asked(&silent).unwrap_err();
        assert_eq!(failure.status(), 65);
        assert!(
            failure.to_string().contains("from 2026-03-01T09:28:00Z to 2026-03-01T09:58:00Z"),
            "{failure}"
        );
    }

    #[test]
    fn what_was_not_read_whole_is_not_measured() {
        let half =
            Same { stable: Some(900), canary: None, complete: Err("RequestCount: PartialData".to_owned()) };
        let failure = asked(&half).unwrap_err();
        assert_eq!(failure.status(), 69);
        assert!(failure.to_string().contains("not read whole: RequestCount: PartialData"), "{failure}");
    }

    #[test]
    fn of_quantiles_only_the_number_of_samples_is_read() {
        let span = Span::from_minutes(180);
        let asked = request(&plan(), "2026-03-01T10:00:00Z".parse().unwrap(), span, Span::from_minutes(2));
        assert_eq!(asked.series, [Series::Latency { edges: Vec::new() }]);
        assert_eq!(asked.until.since(asked.from), 180);
    }
}
