//! What an examination says, thing by thing.

use jiff::SignedDuration;

use super::{Examined, Finding, LOOKED_AT, State, TICKS_LOOKED_AT};
use crate::analysis::window::{Arm, Row};
use crate::ports::{Failure, FailureKind, MetricRead, Split};
use crate::rollout::plan::{Mode, Plan, Sticky};
use crate::rollout::record::{Phase, Record};
use crate::units::{Minute, Share};

/// With a clock this much off, a tick looks at the wrong minutes; at three minutes it is dropped as stale.
const CLOCK_OFF: SignedDuration = SignedDuration::from_mins(2);
/// Still good, and on its way.
const CLOCK_DRIFTS: SignedDuration = SignedDuration::from_secs(30);
/// A running rollout without a tick for so long is watched by nobody.
const UNWATCHED: SignedDuration = SignedDuration::from_mins(5);

/// All that is to be said, in the order in which a rollout would meet it.
#[must_use]
pub fn findings(plan: &Plan, examined: &Examined) -> Vec<Finding> {
    let mut found: Vec<Finding> = role(plan, examined).into_iter().collect();
    // Without its role nothing in its account was seen, which is one fault and not one for each thing there.
    if !matches!(examined.role, Some(Err(_))) {
        found.push(clock(examined));
        found.extend(rule(plan, examined));
        found.push(targets(Arm::Stable, plan, &examined.stable_targets));
        found.push(targets(Arm::Canary, plan, &examined.canary_targets));
        found.extend(metrics(plan, examined));
    }
    found.extend(installation(plan, examined));
    found.push(topic(examined));
    found.extend(ticks(examined));
    found
}

fn fine(of: &'static str, found: impl Into<String>) -> Finding {
    Finding { of, state: State::Fine, found: found.into(), fix: String::new() }
}

fn notice(of: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { of, state: State::Notice, found: found.into(), fix: fix.into() }
}

fn fault(of: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { of, state: State::Fault, found: found.into(), fix: fix.into() }
}

/// What could not be looked at.
fn unread(of: &'static str, failure: &Failure, action: &str, not_found: &str) -> Finding {
    let fix = match failure.kind {
        FailureKind::Denied => format!("allow {action}, to you and to the function's role"),
        FailureKind::NotFound => not_found.to_owned(),
        FailureKind::Throttled => "ask again in a minute".to_owned(),
        FailureKind::TimedOut | FailureKind::Unavailable => {
            "look at the network (a function in a VPC needs an endpoint or a NAT) and ask again".to_owned()
        }
        FailureKind::Conflict | FailureKind::Malformed => "look at what the service says".to_owned(),
    };
    fault(of, failure.to_string(), fix)
}

/// By whose rights the plan's account was looked at.
fn role(plan: &Plan, examined: &Examined) -> Option<Finding> {
    let (assumed, role_arn) = (examined.role.as_ref()?, plan.targets.role_arn.as_deref().unwrap_or_default());
    Some(match assumed {
        Ok(()) => {
            let found = format!(
                "{role_arn} was assumed with your rights; that the function may is not seen from here"
            );
            fine("role", found)
        }
        Err(failure) if failure.kind == FailureKind::Denied => {
            let fix = "let the role trust the function's role and yours, and allow both sts:AssumeRole on it; until you may \
                       assume it, nothing in its account can be looked at from here, and only the function's log says \
                       whether the function may (docs/iam.md, \"Other accounts\")";
            fault("role", failure.to_string(), fix)
        }
        Err(failure) => unread("role", failure, "sts:AssumeRole", "correct role_arn in the plan"),
    })
}

fn clock(examined: &Examined) -> Finding {
    let Some(ahead) = examined.clock_ahead else {
        return notice("clock", "AWS did not say its time", "look whether this machine's clock is right");
    };
    let seconds = ahead.as_secs();
    let off = format!("{} s {}", seconds.abs(), if seconds < 0 { "behind AWS's" } else { "ahead of AWS's" });
    let set = "set this machine's clock (NTP): a tick that is off by minutes is dropped, and looks at the wrong minutes";
    match ahead.abs() {
        away if away >= CLOCK_OFF => fault("clock", off, set),
        away if away >= CLOCK_DRIFTS => notice("clock", off, set),
        _ => fine("clock", "within 30 s of AWS's"),
    }
}

fn rule(plan: &Plan, examined: &Examined) -> Vec<Finding> {
    let split = match &examined.split {
        Ok(split) => split,
        Err(failure) if failure.kind == FailureKind::Malformed => {
            let fix = "give the rule one forward action, with the stable and the canary group in it";
            return vec![fault("rule", failure.to_string(), fix)];
        }
        Err(failure) => {
            let gone = "correct listener_rule in the plan, or let the rule forward to the stable group, and to the canary \
                        with weight 0";
            return vec![unread("rule", failure, "elasticloadbalancing:DescribeRules", gone)];
        }
    };
    let beside = if split.others > 0 { format!(", other groups {}", split.others) } else { String::new() };
    let weights = format!("stable {}, canary {}{beside}", split.stable, split.canary);
    let weight = weight(plan, examined, split, &weights);
    vec![fine("rule", "it is there, and forwards"), weight, stickiness(plan, split)]
}

/// The plan's own rollout, if it runs.
fn own<'a>(plan: &Plan, examined: &'a Examined) -> Option<&'a Record> {
    let running = examined.running.as_ref().ok()?;
    running.records.iter().find(|record| record.id() == plan.rollout && !record.phase.is_terminal())
}

fn weight(plan: &Plan, examined: &Examined, split: &Split, weights: &str) -> Finding {
    if let Some(record) = own(plan, examined).filter(|_| plan.mode == Mode::Drive) {
        // A shift may be under way.
        let wanted = [Some(record.share()), record.intent.as_ref().map(|intent| intent.share)];
        if wanted.into_iter().flatten().any(|share| share.same_as(split.share())) {
            return fine("weights", format!("{weights}, as the running rollout has them"));
        }
        let found = format!("{weights}, and the running rollout has {}", record.share());
        let fix = format!(
            "leave them alone: the next tick freezes {0} and pages; then `resume {0}` with --weights restore or adopt",
            plan.rollout
        );
        return fault("weights", found, fix);
    }
    if split.stable == 0 {
        return fault(
            "weights",
            weights,
            "give stable all the traffic: it is what the canary is compared with",
        );
    }
    if split.canary > 0 && plan.mode == Mode::Drive {
        let fix = "set the canary's weight to 0, or let the rollout that raised it end: a start is refused until then";
        return fault("weights", weights, fix);
    }
    fine("weights", weights)
}

fn stickiness(plan: &Plan, split: &Split) -> Finding {
    let fix = "the test is ten times more careful then; switch group stickiness off for the rollout if you can, or give \
               it a burn_in";
    match (plan.sticky, split.sticky) {
        (Sticky::No, true) => fault(
            "stickiness",
            "the rule's group stickiness is on, and the plan says sticky: no",
            "say sticky: auto (or yes): clients that stay with their group are no random sample",
        ),
        (Sticky::Auto | Sticky::Yes, true) => notice("stickiness", "the rule's group stickiness is on", fix),
        (Sticky::Yes, false) => notice("stickiness", "the plan says sticky: yes, and the rule's is off", fix),
        (Sticky::Auto | Sticky::No, false) => fine("stickiness", "off"),
    }
}

fn targets(arm: Arm, plan: &Plan, healthy: &Result<u32, Failure>) -> Finding {
    let (of, group, why) = match arm {
        Arm::Stable => ("stable", &plan.targets.stable, "nothing could take a drained canary's traffic"),
        Arm::Canary => ("canary", &plan.targets.canary, "the first shift waits for one"),
    };
    match healthy {
        Ok(0) => {
            let fix = "register targets and look at their health checks; a group that no rule names is not checked (weight 0 \
                       will do)";
            fault(of, format!("no healthy target: {why}"), fix)
        }
        Ok(1) => fine(of, "1 healthy target"),
        Ok(healthy) => fine(of, format!("{healthy} healthy targets")),
        Err(failure) => {
            let gone = format!("there is no such target group: correct {of} in the plan ({group})");
            unread(of, failure, "elasticloadbalancing:DescribeTargetHealth", &gone)
        }
    }
}

fn metrics(plan: &Plan, examined: &Examined) -> Vec<Finding> {
    let read = match &examined.metrics {
        Ok(read) => read,
        Err(failure) => {
            return vec![unread("metrics", failure, "cloudwatch:GetMetricData", "look at the plan's ARNs")];
        }
    };
    if let Err(what) = &read.complete {
        return vec![fault(
            "metrics",
            format!("not read whole: {what}"),
            "ask again; if it lasts, look at the source of a check of your own: its namespace, its dimensions, its unit",
        )];
    }
    let minutes = |row: &&Row| row.stable.as_ref().is_some_and(|counts| counts.requests > 0);
    let Some(newest) = read.rows.iter().rev().find(minutes) else {
        return vec![fault(
            "metrics",
            format!("the stable group had no request in {LOOKED_AT} min"),
            "look whether the plan names the group that has the traffic; without traffic nothing is ever proven",
        )];
    };
    vec![delay(newest.minute, examined), traffic(plan, read)]
}

fn delay(newest: Minute, examined: &Examined) -> Finding {
    // The minute under way can't be whole.
    let behind = Minute::of(examined.at).since(newest) - 1;
    let watermark = examined.watermark.whole_minutes();
    if behind > watermark {
        return fault(
            "metrics",
            format!(
                "the newest minute of stable is {behind} min old, and a tick looks at those of {watermark} min"
            ),
            "if the traffic has not just stopped, CloudWatch is late: give the function a longer watermark \
             (CANARY_GATE_WATERMARK)",
        );
    }
    fine("metrics", format!("the newest minute is {behind} min old"))
}

fn traffic(plan: &Plan, read: &MetricRead) -> Finding {
    let arms = read.rows.iter().flat_map(|row| [row.stable.as_ref(), row.canary.as_ref()]);
    let requests: u64 = arms.flatten().map(|counts| counts.requests).sum();
    let per_minute = requests as f64 / LOOKED_AT as f64;
    let Some(first) = plan.steps.first().filter(|_| per_minute > 0.0) else {
        return fault("traffic", "none", "look whether the plan names the groups that have the traffic");
    };
    // The smaller arm of the step counts.
    let part = if *first < Share::FULL { first.fraction().min(1.0 - first.fraction()) } else { 1.0 };
    let needed = plan.rules.min_requests as f64 / (per_minute * part);
    let found = format!("{per_minute:.0} requests a minute; {needed:.0} min for min_requests at {first}");
    if needed > plan.rules.decide_within.minutes() as f64 {
        let fix = "raise the first step, lower min_requests, or give decide_within more time; plan-time tells how long a \
                   plan takes";
        return fault("traffic", found, fix);
    }
    fine("traffic", found)
}

fn installation(plan: &Plan, examined: &Examined) -> Vec<Finding> {
    let of = "table";
    let running = match &examined.running {
        Ok(running) => running,
        Err(failure) => {
            let gone = "give the installation's table (--table), in its region (--region)";
            return vec![unread(of, failure, "dynamodb:Query and dynamodb:GetItem", gone)];
        }
    };
    let mut found = Vec::new();
    let active = running.records.iter().filter(|record| !record.phase.is_terminal()).count();
    found.push(match running.unreadable.first() {
        None => fine(of, format!("{active} rollouts run")),
        Some(first) => fault(
            of,
            format!("{} records can't be read: {first}", running.unreadable.len()),
            "install the version that wrote them; until then nobody watches them",
        ),
    });
    let rule = &plan.targets.listener_rule;
    let other = running.records.iter().find(|record| {
        !record.phase.is_terminal()
            && record.plan.targets.listener_rule == *rule
            && record.id() != plan.rollout
    });
    if let Some(other) = other {
        let fix = format!("let {} end, or abort it: two rollouts would fight over the rule", other.id());
        found.push(fault("rollouts", format!("{} runs on this rule", other.id()), fix));
    }
    let unwatched = running.records.iter().filter(|record| record.phase != Phase::Waiting).find(|record| {
        record.last_tick.is_some_and(|tick| examined.at.duration_since(tick.start()) > UNWATCHED)
    });
    if let Some(unwatched) = unwatched {
        let minutes =
            unwatched.last_tick.map_or(0, |tick| examined.at.duration_since(tick.start()).as_mins());
        found.push(fault(
            "rollouts",
            format!("{} has had no tick for {minutes} min", unwatched.id()),
            "look at the schedule and at the function's log: nobody watches the canary",
        ));
    }
    found.push(match &examined.freeze {
        Ok(None) => fine("freeze", "no"),
        Ok(Some(by)) => notice("freeze", by.froze_all(), "`thaw` when that is over: no share rises before"),
        Err(failure) => {
            unread("freeze", failure, "dynamodb:GetItem", "give the installation's table (--table)")
        }
    });
    found
}

fn topic(examined: &Examined) -> Finding {
    let subscribe = "subscribe on-call to the topic, and confirm it from the mail that SNS sends: pages go nowhere until then";
    match &examined.topic {
        None => notice("pages", "no topic was named", "give --topic-arn, to see who would be paged"),
        Some(Err(failure)) => {
            let gone = "give the ARN of the installation's topic (--topic-arn): pages to this one are lost";
            unread(
                "pages",
                failure,
                "sns:GetTopicAttributes (to you alone; the function needs sns:Publish)",
                gone,
            )
        }
        Some(Ok(who)) if who.confirmed == 0 && who.pending > 0 => {
            fault("pages", format!("nobody gets them: {} have not confirmed", who.pending), subscribe)
        }
        Some(Ok(who)) if who.confirmed == 0 => fault("pages", "nobody gets them", subscribe),
        Some(Ok(who)) => fine("pages", format!("{} subscribed", who.confirmed)),
    }
}

fn ticks(examined: &Examined) -> Option<Finding> {
    let schedule = "look whether the schedule is enabled and calls the function (--function names it), and at the function's \
                    log";
    Some(match examined.ticks.as_ref()? {
        Err(failure) => unread("ticks", failure, "cloudwatch:GetMetricData", schedule),
        Ok(ticks) => {
            let done = ticks.iter().filter(|(_, completed)| *completed > 0.0).count();
            let failed = ticks.len() - done;
            match (done, failed) {
                (0, 0) => fault("ticks", format!("none in {TICKS_LOOKED_AT} min"), schedule),
                (0, failed) => fault(
                    "ticks",
                    format!("none of {failed} in {TICKS_LOOKED_AT} min was carried out"),
                    "the function's log says why (\"not all could be done\", or \"invocation failed\")",
                ),
                (done, 0) => fine("ticks", format!("{done} in {TICKS_LOOKED_AT} min")),
                (done, failed) => notice(
                    "ticks",
                    format!("{failed} of {} in {TICKS_LOOKED_AT} min failed", done + failed),
                    "the function's log says why",
                ),
            }
        }
    })
}
