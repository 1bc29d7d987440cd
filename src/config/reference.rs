//! The reference of a plan for people, made from the table of keys.

use std::fmt::Write as _;

use super::schema::{ReferenceRow, plan_reference_rows};

const TITLE: &str = "\
# The plan

One file a rollout, YAML or JSON. `listener_rule`, `stable` and `canary` are required; all else has a default.
`canary-gate check PLAN` tells every problem of a plan at once, `canary-gate schema` prints its JSON Schema
([infra/plan.schema.json](../infra/plan.schema.json)) for editors. Keys that are not here are refused.

This page is made from the same table that the plan is read by: `canary-gate schema --format markdown`.

## How values are written

| what | how | |
|---|---|---|
| a length of time | `90s`, `15m`, `1h30m`, `2d` | `0` for none, where none is allowed |
| a share of the traffic | `5%`, `12.5%` | one decimal at most: a load balancer's weights know no more |
| a rate | `1%`, `0.3%` | always with the percent sign |
| a ratio | `1.25x` | times the odds, which for rare events is times the rate |
| points | `+0.5%` | percentage points beyond stable's rate |
| a response time | `400ms`, `1.5s`, `250us` | |
| a quantile | `p50`, `p99.9` | |
| switched off | `false` | where the key says so |

In a YAML file for editors that know JSON Schema, the first line may be

    # yaml-language-server: $schema=https://example.com/plan.schema.json

with the address where you keep the schema.
";

/// All keys of a plan in tables, one for the plan itself and one for each mapping in it.
#[must_use]
pub fn plan_reference() -> String {
    let mut text = TITLE.to_owned();
    let rows = plan_reference_rows();
    let of_plan = rows.iter().filter(|row| !row.key.contains('.'));
    table(&mut text, "The rollout", "", "", of_plan);
    let of_steps = rows.iter().filter(|row| row.key.starts_with("steps."));
    table(&mut text, "steps, as a mapping", "", "steps.", of_steps);
    for check in of_checks(&rows) {
        let Some((head, keys)) = check.split_first() else { continue };
        let mapping = head.takes.strip_prefix("a mapping with ");
        let title = mapping.map_or_else(|| head.key.clone(), |kind| format!("checks.<name> with {kind}"));
        table(&mut text, &format!("`{title}`"), head.meaning, &format!("{}.", head.key), keys.iter());
    }
    text
}

/// The rows of each check, its own first.
fn of_checks(rows: &[ReferenceRow]) -> Vec<&[ReferenceRow]> {
    let first = rows.iter().position(|row| row.key.starts_with("checks.")).unwrap_or(rows.len());
    let is_head = |row: &ReferenceRow| row.key.matches('.').count() == 1;
    rows[first..].chunk_by(|_, next| !is_head(next)).collect()
}

fn table<'a>(
    text: &mut String,
    title: &str,
    meaning: &str,
    prefix: &str,
    rows: impl Iterator<Item = &'a ReferenceRow>,
) {
    let _ = write!(text, "\n## {title}\n\n");
    if !meaning.is_empty() {
        let _ = write!(text, "{meaning}\n\n");
    }
    text.push_str("| key | takes | default | what it does |\n|---|---|---|---|\n");
    for row in rows {
        let key = row.key.strip_prefix(prefix).unwrap_or(&row.key);
        let (takes, meaning) = (cell(&row.takes), cell(row.meaning));
        let default = match row.default.as_str() {
            words @ ("required" | "none") => words.to_owned(),
            words if words.contains(" name") => words.to_owned(),
            value => match value.strip_suffix(", as a rule") {
                Some(value) => format!("`{value}`, as a rule"),
                None => format!("`{value}`"),
            },
        };
        let _ = writeln!(text, "| `{key}` | {takes} | {} | {meaning} |", cell(&default));
    }
}

/// A bar would end the cell, and an angle bracket begin a tag.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_line_below_its_own_heading() {
        let text = plan_reference();
        let lines = text.lines().filter(|line| line.starts_with("| `")).count();
        // Checks are headings; the values' table above has seven lines.
        let heads = 5;
        let values = text.split("## The rollout").next().unwrap().matches("\n| ").count();
        assert_eq!(values, 9);
        assert_eq!(lines, plan_reference_rows().len() - heads, "{text}");
        for heading in ["## `checks.errors`", "## `checks.latency`", "## `checks.<name> with classes`"] {
            assert_eq!(text.matches(heading).count(), 1, "{heading}");
        }
        let classes = text.split("with classes`").nth(1).unwrap();
        assert!(classes.contains("| `classes.values` |"), "{classes}");
    }
}
