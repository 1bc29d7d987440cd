//! The check of classes, as a plan writes it.

use serde_json::Value;

use super::keys::LABELS_MAX;
use super::values::{AWS_VALUE_MAX, aws_text};
use super::walk::Walk;
use super::{Scope, metric};
use crate::analysis::check::{CheckRule, ClassesCheck, ClassesSource};

/// The class of all samples whose class is not in the list.
const OTHER: &str = "other";

/// Reads the mapping of a check of classes.
pub(super) fn classes(walk: &mut Walk<'_, '_>, scope: Scope) -> CheckRule {
    let (source, values) = source(walk, scope);
    CheckRule::Classes(ClassesCheck {
        source,
        values,
        tolerate: walk.times_if_written("tolerate"),
        promote_within: walk.times("promote_within"),
    })
}

/// Where the counters are, and the classes, which a plan must name offline, too.
fn source(walk: &mut Walk<'_, '_>, scope: Scope) -> (Option<ClassesSource>, Vec<String>) {
    let Some(mut inner) = walk.mapping("classes", scope) else { return (None, Vec::new()) };
    let metric = metric::fields(&mut inner, scope);
    let dimension = inner.aws_name("dimension", scope);
    inner.need_kind("values", Scope::Rollout);
    let values = labels(&mut inner);
    let source = metric.zip(dimension).map(|(metric, dimension)| ClassesSource { metric, dimension });
    if let Some(ClassesSource { metric, dimension }) = &source {
        let free = [&metric.dimensions, &metric.stable, &metric.canary];
        let free = free.iter().all(|dimensions| !dimensions.contains_key(dimension));
        let keys = ["dimension", "dimensions", "stable", "canary"];
        let rule = "must not stand in dimensions, stable or canary: its value is the class";
        inner.require(free, &keys, "dimension", rule);
    }
    (source, values)
}

/// The names of the classes: each one right and each once.
fn labels(walk: &mut Walk<'_, '_>) -> Vec<String> {
    let path = walk.path_of("values");
    let Some(value) = walk.written("values") else { return Vec::new() };
    let items = match value {
        Value::Array(items) if (1..=LABELS_MAX).contains(&items.len()) => items,
        other => {
            let rule = format!("must be a list of 1 to {LABELS_MAX} classes, such as [positive, negative]");
            walk.problems().add(&path, other, rule);
            return Vec::new();
        }
    };
    let mut labels: Vec<String> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match aws_text(item, AWS_VALUE_MAX, true) {
            Ok(label) if label == OTHER => {
                walk.problems().add(&path, item, "is what all classes are called that are not in the list");
            }
            Ok(label) if labels.contains(&label) => {
                walk.problems().add(&path, item, "stands in the list already: write each class once");
            }
            Ok(label) => labels.push(label),
            Err(rule) => walk.problems().add(&path, item, rule),
        }
    }
    labels
}
