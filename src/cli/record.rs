//! `record`: the minutes of two groups as CloudWatch has them, in the file format of `replay`.

use super::args::RecordArgs;
use super::measure::read_whole;
use super::output::Output;
use super::remote::remote;
use super::{Failure, World, input};
use crate::analysis::check::Check;
use crate::analysis::window::{Row, Window};
use crate::config::Scope;
use crate::ports::{MetricRequest, Series};
use crate::recording::{Recording, write};
use crate::rollout::plan::{BASELINE, Plan, Targets};
use crate::rollout::record::Record;
use crate::units::{Minute, Share, Span};

/// As long as CloudWatch keeps minutes.
const KEPT: Span = Span::from_minutes(15 * 24 * 60);

/// Which minutes, of what, and the share in each.
struct Wanted {
    plan: Plan,
    from: Minute,
    until: Minute,
    source: String,
    share: Box<dyn Fn(Minute) -> Share>,
}

/// Writes a recording.
pub(super) fn record(args: &RecordArgs, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    let last = Minute::of(world.now).plus(-args.watermark.whole_minutes());
    let wanted = match (&args.rollout, &args.plan) {
        (Some(rollout), None) => of_rollout(remote(world)?.record(&(&args.at).into(), rollout)?, last),
        (None, Some(plan)) => {
            let plan = input::plan(plan, Scope::Rollout)?.plan;
            of_plan(plan, args.share.unwrap_or(Share::ZERO), i64::from(args.minutes), last)
        }
        _ => return Err(Failure::Usage("record wants a rollout's name, or --plan".to_owned())),
    };
    let request = MetricRequest {
        targets: wanted.plan.targets.clone(),
        from: wanted.from,
        until: wanted.until,
        // Thresholds are learnt again at a replay: all edges that they could lie on.
        series: wanted.plan.rules.checks.iter().filter_map(|check: &Check| Series::of(check, None)).collect(),
    };
    let window: Window = read_whole(&request, world)?
        .into_iter()
        .map(|row| Row { share: (wanted.share)(row.minute), ..row })
        .collect();
    if window.rows().all(|row| row.stable.is_none() && row.canary.is_none()) {
        return Err(Failure::Data(format!(
            "CloudWatch has no minute of either group from {} to {}; it keeps them for {} days",
            wanted.from,
            wanted.until,
            KEPT.minutes() / (24 * 60)
        )));
    }
    let recording = Recording {
        source: wanted.source,
        stable_name: name(&wanted.plan.targets.stable),
        canary_name: name(&wanted.plan.targets.canary),
        window,
    };
    for line in write(&recording).lines() {
        out.line(line);
    }
    Ok(0)
}

/// All that its ticks looked at.
fn of_rollout(record: Record, last: Minute) -> Wanted {
    let ended = record.phase.is_terminal().then(|| Minute::of(record.since).plus(1));
    Wanted {
        plan: record.plan.clone(),
        from: Minute::of(record.started.at).plus(-BASELINE.whole_minutes()),
        until: ended.map_or(last, |ended| ended.min(last)),
        source: format!("rollout {}, started {}, from CloudWatch", record.id(), record.started.at),
        share: Box::new(move |minute| record.share_at(minute)),
    }
}

/// The newest minutes of a plan's groups, with a share that somebody else has set.
fn of_plan(plan: Plan, share: Share, span: i64, last: Minute) -> Wanted {
    Wanted {
        source: format!("groups of the plan {}, at {share}, from CloudWatch", plan.rollout),
        plan,
        from: last.plus(-span),
        until: last,
        share: Box::new(move |_| share),
    }
}

/// `checkout-v41` of the group's ARN: a recording that is shown to others names no account.
pub(super) fn name(arn: &str) -> String {
    Targets::target_group_dimension(arn).split('/').nth(1).unwrap_or(arn).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_names_groups_and_no_account() {
        let arn =
            "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/checkout-v41/73e2d6bc24d8a067";
        assert_eq!(name(arn), "checkout-v41");
        assert_eq!(name("function:pay:7"), "function:pay:7");
    }
}
