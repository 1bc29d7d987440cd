//! A metric of the application's own, as a plan writes it: one metric, two series of which differ in
//! dimensions, one for each arm.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Scope;
use super::values::{AWS_NAME_MAX, AWS_VALUE_MAX, aws_text};
use super::walk::Walk;
use crate::analysis::check::{Metric, Statistic};

/// As many dimensions as CloudWatch lets a metric have.
const DIMENSIONS_MAX: usize = 30;

type Dimensions = BTreeMap<String, String>;

/// Reads the metric under a key. `None` with a problem noted or, offline, where it is not all there.
pub(super) fn read(walk: &mut Walk<'_, '_>, name: &str, scope: Scope) -> Option<Metric> {
    fields(&mut walk.mapping(name, scope)?, scope)
}

/// Reads a metric out of its mapping, as [`read`] does.
pub(super) fn fields(walk: &mut Walk<'_, '_>, scope: Scope) -> Option<Metric> {
    let namespace = walk.aws_name("namespace", scope);
    let metric = walk.aws_name("metric", scope);
    let dimensions = dimensions(walk, "dimensions", scope).unwrap_or_default();
    let stable = dimensions_that_differ(walk, "stable", scope);
    let canary = dimensions_that_differ(walk, "canary", scope);
    let statistic = if walk.knows("statistic") { walk.word("statistic") } else { Statistic::default() };
    let (stable, canary) = stable.zip(canary)?;
    require_two_series(walk, &dimensions, &stable, &canary);
    Some(Metric { namespace: namespace?, metric: metric?, dimensions, stable, canary, statistic })
}

/// Dimensions of one arm: at least one.
fn dimensions_that_differ(walk: &mut Walk<'_, '_>, name: &str, scope: Scope) -> Option<Dimensions> {
    let dimensions = dimensions(walk, name, scope)?;
    let rule = "must name at least one dimension, such as {Version: v42}: the groups differ in nothing else";
    walk.require(!dimensions.is_empty(), &[name], name, rule);
    Some(dimensions)
}

/// A mapping of dimensions; `None` if the key is absent. Wrong entries are noted and left out.
fn dimensions(walk: &mut Walk<'_, '_>, name: &str, scope: Scope) -> Option<Dimensions> {
    walk.need_kind(name, scope);
    let path = walk.path_of(name);
    let value = walk.written(name)?;
    let Value::Object(map) = value else {
        let rule = "must be a mapping of dimensions to values, such as {Version: v42}";
        walk.problems().add(&path, value, rule);
        return None;
    };
    let mut dimensions = Dimensions::new();
    for (name, value) in map {
        let path = format!("{path}.{name}");
        if let Err(rule) = aws_text(&Value::from(name.as_str()), AWS_NAME_MAX, false) {
            walk.problems().add(&path, &Value::from(name.as_str()), format!("as a dimension's name {rule}"));
        }
        match aws_text(value, AWS_VALUE_MAX, true) {
            Ok(text) => drop(dimensions.insert(name.clone(), text)),
            Err(rule) => walk.problems().add(&path, value, rule),
        }
    }
    Some(dimensions)
}

/// The arms' dimensions must name two series of one metric.
fn require_two_series(
    walk: &mut Walk<'_, '_>,
    shared: &Dimensions,
    stable: &Dimensions,
    canary: &Dimensions,
) {
    let arms = ["stable", "canary"];
    let rule =
        format!("must have the dimensions of stable ({}): an arm is a series of one metric", names(stable));
    walk.require(stable.keys().eq(canary.keys()), &arms, "canary", rule);
    let rule = "must differ from stable in a value: both groups would be the same series";
    walk.require(stable != canary, &arms, "canary", rule);
    let all = ["dimensions", "stable", "canary"];
    let twice = shared.keys().filter(|name| stable.contains_key(*name) || canary.contains_key(*name));
    let twice: Vec<&str> = twice.map(String::as_str).collect();
    let rule = format!("must not have {}, which stands in stable or canary", twice.join(", "));
    walk.require(twice.is_empty(), &all, "dimensions", rule);
    // The class is a dimension, too.
    let count = shared.len() + stable.len() + usize::from(walk.knows("dimension"));
    let rule = format!("must be fewer: CloudWatch takes at most {DIMENSIONS_MAX} dimensions, not {count}");
    let longest = if shared.len() > stable.len() { "dimensions" } else { "stable" };
    walk.require(count <= DIMENSIONS_MAX, &all, longest, rule);
}

fn names(dimensions: &Dimensions) -> String {
    dimensions.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}
