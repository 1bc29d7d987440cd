//! `report`: the page of a rollout of an installation, made of its decision log.

use std::collections::BTreeMap;

use serde_json::json;

use super::args::{LiveReportArgs, LiveReportFormat};
use super::output::Output;
use super::record::name;
use super::remote::{NotDone, remote};
use super::report::{Ending, Mark, Point, Report, Tone};
use super::waiting::waiting;
use super::{Failure, World};
use crate::analysis::window::Row;
use crate::rollout::record::{LogEntry, Record};
use crate::units::Minute;

/// Reads the log and writes the page.
pub(super) fn report(args: &LiveReportArgs, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    let remote = remote(world)?;
    let place = (&args.at).into();
    let (record, mut log) = waiting("reading the decision log", || {
        let record = remote.record(&place, &args.rollout)?;
        Ok::<_, NotDone>((record, remote.log(&place, &args.rollout, u32::MAX)?))
    })?;
    // An earlier rollout may have had the same name.
    log.retain(|entry| entry.at >= record.started.at);
    match args.format {
        LiveReportFormat::Json => out.line(json!({ "record": record, "log": log })),
        LiveReportFormat::Html => out.line(page(&record, &log)?),
    }
    Ok(0)
}

fn page(record: &Record, log: &[LogEntry]) -> Result<String, Failure> {
    let points = points(record, log);
    let Some(last) = points.last() else {
        let why = format!("{} was not judged yet: its first tick is to come", record.id());
        return Err(Failure::Data(why));
    };
    let turning = points.iter().rev().find(|point| ["drain", "finish"].contains(&point.decision.as_str()));
    let judgement = turning.unwrap_or(last).judgement.clone();
    let ending =
        Ending { word: record.phase.name().to_owned(), at: Some(Minute::of(record.since)), judgement };
    let report = Report {
        title: record.id().to_owned(),
        source: format!(
            "{} beside {}, {}; started by {}: {}",
            name(&record.plan.targets.canary),
            name(&record.plan.targets.stable),
            record.plan.targets.load_balancer_dimension(),
            record.started.actor,
            record.started.reason
        ),
        is_live: true,
        rules: &record.plan.rules,
        orders: orders(log),
        points,
        ending,
    };
    Ok(report.html())
}

/// What was judged, a point a minute: of a minute that was looked at twice, the look that changed something, else the
/// newest. `log` is newest first.
pub(super) fn points(record: &Record, log: &[LogEntry]) -> Vec<Point> {
    let mut rows: BTreeMap<Minute, &Row> = BTreeMap::new();
    let mut points: BTreeMap<Minute, Point> = BTreeMap::new();
    for entry in log.iter().rev() {
        rows.extend(entry.rows.iter().map(|row| (row.minute, row)));
        let Some(judgement) = entry.judgement.clone() else { continue };
        let Some(minute) = judgement.minute else { continue };
        let holds = |decision: &str| decision == "hold";
        if holds(&entry.decision) && points.get(&minute).is_some_and(|point| !holds(&point.decision)) {
            continue;
        }
        let row = Row { minute, share: record.share_at(minute), stable: None, canary: None };
        let decided = Minute::of(entry.at);
        points.insert(minute, Point { row, judgement, decision: entry.decision.clone(), decided });
    }
    // A minute may have been corrected after it was judged.
    for (minute, point) in &mut points {
        if let Some(row) = rows.get(minute) {
            point.row = (*row).clone();
        }
    }
    points.into_values().collect()
}

fn orders(log: &[LogEntry]) -> Vec<Mark> {
    let mark = |entry: &LogEntry| {
        let by = entry.by.as_ref()?;
        let tone = if entry.decision == "abort" { Tone::Bad } else { Tone::Open };
        Some(Mark { minute: Minute::of(entry.at), text: format!("{} by {}", entry.decision, by.actor), tone })
    };
    log.iter().filter_map(mark).collect()
}
