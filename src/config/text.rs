//! YAML and JSON into a tree of values, within bounds that no honest plan meets.

use serde_json::Value;

use super::problem::{PlanErrors, Problem, on_one_line};
use super::{CheckedPlan, Scope, SizeLimits, parse_plan_value};

/// The longest text that is read as a plan. The longest sensible one is a twentieth of it.
pub const PLAN_BYTES_MAX: usize = 64 * 1024;
/// The same for a plan that is a tree already, and for texts that grow by their aliases.
pub(super) const PLAN_LIMITS: SizeLimits = SizeLimits { bytes: PLAN_BYTES_MAX, values: 10_000, depth: 32 };
/// As much of what the parser says as a message passes on: it quotes keys, however long they are.
const SYNTAX_CHARS: usize = 200;

/// Reads a plan from YAML or, as its subset, JSON.
///
/// # Errors
/// The place of a syntax error; else every problem of the plan, with key, value and rule.
pub fn parse_plan(text: &str, scope: Scope) -> Result<CheckedPlan, PlanErrors> {
    if text.len() > PLAN_BYTES_MAX {
        let rule = format!("the plan has {} bytes; at most {PLAN_BYTES_MAX} are read", text.len());
        return Err(PlanErrors(vec![Problem::of_text("", "", rule)]));
    }
    let value = tree(text).map_err(|problem| PlanErrors(vec![problem]))?;
    parse_plan_value(&value, scope)
}

/// The tree of values. Duplicate keys are refused, and aliases can't blow the tree up.
fn tree(text: &str) -> Result<Value, Problem> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 100,
            max_anchors: 100,
            max_depth: 32,
            max_documents: 1,
            max_nodes: 20_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 10_000,
            max_replay_stack_depth: 8,
        },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax_problem(&error))
}

/// The parser's words, in its wording for users: the one for developers speaks of its options.
fn syntax_problem(error: &serde_saphyr::Error) -> Problem {
    let said = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let place = error.location().map(|at| format!("line {}, column {}", at.line(), at.column()));
    let place = place.unwrap_or_default();
    let said = said.strip_suffix(&format!(" at {place}")).unwrap_or(&said);
    Problem::of_text(&place, "", on_one_line(said, SYNTAX_CHARS))
}
