//! The checks of rates: errors by the load balancer's counts, and bad of all by counters of the application's
//! own.

use super::walk::Walk;
use super::{Scope, metric};
use crate::analysis::check::{CheckRule, ErrorsCheck, RatioCheck, RatioSource, Tolerance};

/// Reads the mapping of the errors check.
pub(super) fn errors(walk: &mut Walk<'_, '_>, _scope: Scope) -> CheckRule {
    let check = ErrorsCheck {
        tolerate: walk.tolerance_if_written("tolerate"),
        slo: walk.rate_or_off("slo"),
        ignore_below: walk.rate("ignore_below"),
        abort_above: walk.rate_or_off("abort_above"),
        only_if_worse_than_stable: walk.flag("only_if_worse_than_stable"),
        promote_within: walk.tolerance("promote_within"),
        count_4xx: walk.flag("count_4xx"),
        count_unanswered: walk.flag("count_unanswered"),
    };
    let above = check.abort_above.is_none_or(|abort| abort > check.ignore_below);
    let rule = format!("must be more than ignore_below ({})", check.ignore_below);
    walk.require(above, &["abort_above", "ignore_below"], "abort_above", rule);
    if let (Some(slo), Some(abort)) = (check.slo, check.abort_above) {
        let rule = format!("must be less than abort_above ({abort}), which would always come first");
        walk.require(slo < abort, &["slo", "abort_above"], "slo", rule);
    }
    require_room(walk, check.promote_within);
    CheckRule::Errors(check)
}

/// Reads the mapping of a check of bad events out of all.
pub(super) fn ratio(walk: &mut Walk<'_, '_>, scope: Scope) -> CheckRule {
    let check = RatioCheck {
        source: source(walk, scope),
        tolerate: walk.tolerance_if_written("tolerate"),
        ignore_below: walk.rate("ignore_below"),
        slo: walk.rate_or_off("slo"),
        only_if_worse_than_stable: walk.flag("only_if_worse_than_stable"),
        promote_within: walk.tolerance("promote_within"),
        events: walk.flag("events"),
    };
    require_room(walk, check.promote_within);
    if check.events {
        require_ratios(walk, &check);
    }
    CheckRule::Ratio(check)
}

/// Events have no upper limit, so that points of them, and a rate of requests, have no meaning.
fn require_ratios(walk: &mut Walk<'_, '_>, check: &RatioCheck) {
    let tolerated = check.tolerate.is_none_or(|tolerate| tolerate.points.is_none());
    let rule = "must be a ratio alone, such as 1.25x, where one request may have several events";
    walk.require(tolerated, &["tolerate", "events"], "tolerate", rule);
    let promoted = check.promote_within.times.is_some_and(|times| times.ratio() > 1.0);
    let rule = "must have a ratio above 1x, such as 1.5x, where one request may have several events";
    walk.require(promoted, &["promote_within", "events"], "promote_within", rule);
    let rule = "can't stand beside events: true, since one request may have several";
    walk.require(check.slo.is_none(), &["slo", "events"], "slo", rule);
}

fn source(walk: &mut Walk<'_, '_>, scope: Scope) -> Option<RatioSource> {
    let mut counters = walk.mapping("ratio", scope)?;
    let bad = metric::read(&mut counters, "bad", scope);
    let total = metric::read(&mut counters, "total", scope);
    Some(RatioSource { bad: bad?, total: total? })
}

fn require_room(walk: &mut Walk<'_, '_>, within: Tolerance) {
    let room = within.times.is_some_and(|times| times.ratio() > 1.0)
        || within.points.is_some_and(|points| points.fraction() > 0.0);
    let rule = "must be more than 1x or +0%: nobody can prove that a canary is not the least bit worse";
    walk.require(room, &["promote_within"], "promote_within", rule);
}
