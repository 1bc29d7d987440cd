//! The errors check, as a plan writes it.

use super::walk::Walk;
use crate::analysis::check::{CheckRule, ErrorsCheck};

/// Reads the check's mapping.
pub(super) fn read(walk: &mut Walk<'_, '_>) -> CheckRule {
    let check = ErrorsCheck {
        tolerate: walk.tolerance("tolerate"),
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
    let within = check.promote_within;
    let room = within.times.is_some_and(|times| times.ratio() > 1.0)
        || within.points.is_some_and(|points| points.fraction() > 0.0);
    let rule = "must be more than 1x or +0%: nobody can prove that a canary is not the least bit worse";
    walk.require(room, &["promote_within"], "promote_within", rule);
    CheckRule::Errors(check)
}
