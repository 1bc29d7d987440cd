//! Lines over time, as SVG that fits any width. Text stands beside it as HTML, so that it keeps its size.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::escape;
use crate::units::Minute;

/// The plot's own coordinates; the page stretches them.
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 200.0;
/// So many lines across at most.
const TICKS: f64 = 4.0;
/// Distances of labels on the time axis, in minutes.
const SPANS: [i64; 10] = [5, 10, 15, 30, 60, 120, 240, 480, 720, 1_440];
const LABELS_MAX: i64 = 8;
/// Percent of the width from which on a mark's text stands to the left of it.
const LEFT_FROM: f64 = 85.0;

/// What a colour stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Tone {
    Stable,
    Canary,
    Share,
    Good,
    Bad,
    Open,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
            Self::Share => "share",
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Open => "open",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Mark {
    pub(in crate::cli) minute: Minute,
    pub(in crate::cli) text: String,
    pub(in crate::cli) tone: Tone,
}

/// One line; a minute without a value is a gap.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) tone: Tone,
    pub(super) points: Vec<(Minute, Option<f64>)>,
}

/// Lines over the same time and of the same unit.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) unit: &'static str,
    /// A value with a meaning.
    pub(super) limit: Option<(f64, String)>,
    pub(super) lines: Vec<Line>,
}

impl Chart {
    /// The values, for the page's script and for whoever checks the page.
    pub(super) fn data(&self) -> Value {
        let line = |line: &Line| {
            let values: Vec<Option<f64>> = line.points.iter().map(|(_, value)| *value).collect();
            json!({ "name": line.name, "values": values })
        };
        json!({ "title": self.title, "unit": self.unit, "lines": self.lines.iter().map(line).collect::<Vec<_>>() })
    }

    /// The figure.
    pub(super) fn svg(&self, [first, last]: [Minute; 2], marks: &[Mark]) -> String {
        let values = self.lines.iter().flat_map(|line| &line.points).filter_map(|(_, value)| *value);
        let limit = self.limit.iter().map(|(value, _)| *value);
        let (low, high) =
            values.chain(limit).fold((0.0_f64, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        let step = nice((high - low) / TICKS);
        let (bottom, top) = ((low / step).floor() * step, ((high / step).ceil() * step).max(step));
        let span = last.since(first).max(1) as f64;
        let x = |minute: Minute| minute.since(first) as f64 / span * WIDTH;
        let y = |value: f64| HEIGHT - (value - bottom) / (top - bottom) * HEIGHT;
        let mut svg = String::new();
        let mut labels = String::new();
        let mut value = bottom;
        while value <= top + step / 2.0 {
            let _ = write!(svg, "<path class=\"grid\" d=\"M0 {0:.2}H{WIDTH}\"/>", y(value));
            let _ = write!(
                labels,
                "<span style=\"top:{:.2}%\">{}{}</span>",
                y(value) / HEIGHT * 100.0,
                short(value, step),
                self.unit
            );
            value += step;
        }
        for mark in marks {
            let (at, class) = (x(mark.minute), mark.tone.class());
            let _ = write!(
                svg,
                "<path class=\"mark {class}\" d=\"M{at:.2} 0V{HEIGHT}\"><title>{}</title></path>",
                escape(&mark.text)
            );
        }
        if let Some((limit, name)) = &self.limit {
            let _ = write!(
                svg,
                "<path class=\"limit\" d=\"M0 {:.2}H{WIDTH}\"><title>{}</title></path>",
                y(*limit),
                escape(name)
            );
        }
        for line in &self.lines {
            let _ = write!(
                svg,
                "<path class=\"line {}\" data-line=\"{}\" d=\"{}\"/>",
                line.tone.class(),
                escape(&line.name),
                drawn(&line.points, &x, &y)
            );
        }
        let names = self.lines.iter().map(|line| {
            format!(
                "<i class=\"{}\"></i>{} <b data-now=\"{}\"></b>",
                line.tone.class(),
                escape(&line.name),
                escape(&line.name)
            )
        });
        let limit = self.limit.iter().map(|(_, name)| format!("<i class=\"limit\"></i>{}", escape(name)));
        let legend: Vec<String> = names.chain(limit).map(|entry| format!("<span>{entry}</span>")).collect();
        format!(
            "<figure data-bottom=\"{bottom}\" data-top=\"{top}\"><figcaption><strong>{}</strong><span class=\"legend\">{}</span></figcaption>\
             <div class=\"plot\"><div class=\"y\">{labels}</div><div class=\"area\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{svg}</svg>\
             <div class=\"marks\">{}</div></div><div class=\"x\">{}</div></div></figure>\n",
            escape(&self.title),
            legend.concat(),
            escape(&self.title),
            named(marks, &x),
            times([first, last], &x),
        )
    }
}

/// A path with a gap where there is no value; a value alone between two gaps is a short stroke.
fn drawn(points: &[(Minute, Option<f64>)], x: &dyn Fn(Minute) -> f64, y: &dyn Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut before: Option<Minute> = None;
    for (minute, value) in points {
        let Some(value) = value else {
            before = None;
            continue;
        };
        let follows = before.is_some_and(|before| minute.since(before) == 1);
        let _ = write!(path, "{}{:.2} {:.2}", if follows { 'L' } else { 'M' }, x(*minute), y(*value));
        if !follows {
            path += "h0";
        }
        before = Some(*minute);
    }
    path
}

/// What is written at the marks; of those that would lie on each other, the last.
fn named(marks: &[Mark], x: &dyn Fn(Minute) -> f64) -> String {
    let place = |mark: &Mark| x(mark.minute) / WIDTH * 100.0;
    // Percent of the width that a text takes, on a wide screen and on a phone.
    let wide = |mark: &Mark| 1.5 + 0.95 * mark.text.chars().count() as f64;
    let narrow = |mark: &Mark| 2.0 + 2.4 * mark.text.chars().count() as f64;
    let is_left = |mark: &Mark| place(mark) > LEFT_FROM;
    let mut text = String::new();
    for (at, mark) in marks.iter().enumerate() {
        let room = |needs: &dyn Fn(&Mark) -> f64| {
            let next = marks
                .get(at + 1)
                .map_or(f64::INFINITY, |next| place(next) - if is_left(next) { needs(next) } else { 0.0 });
            is_left(mark) || next - place(mark) >= needs(mark)
        };
        let class = match (room(&narrow), room(&wide)) {
            (true, _) => "",
            (false, true) => "tight",
            (false, false) => "crowded",
        };
        let side = if is_left(mark) { "left" } else { "" };
        let _ = write!(
            text,
            "<span class=\"{} {class} {side}\" style=\"left:{:.2}%\">{}</span>",
            mark.tone.class(),
            place(mark),
            escape(&mark.text)
        );
    }
    text
}

/// Hours and minutes along the axis.
fn times([first, last]: [Minute; 2], x: &dyn Fn(Minute) -> f64) -> String {
    let all = last.since(first).max(1);
    let span = SPANS.into_iter().find(|span| all / span <= LABELS_MAX).unwrap_or(all / LABELS_MAX + 1);
    let midnight = first.start().as_second().div_euclid(60);
    let start = (span - midnight.rem_euclid(span)).rem_euclid(span);
    let mut text = String::new();
    for after in (start..=all).step_by(usize::try_from(span).unwrap_or(1)) {
        let minute = first.plus(after);
        let clock = minute.to_string().get(11..16).unwrap_or_default().to_owned();
        let _ = write!(text, "<span style=\"left:{:.2}%\">{clock}</span>", x(minute) / WIDTH * 100.0);
    }
    text
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn nice(least: f64) -> f64 {
    if !(least.is_finite() && least > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(power * 10.0)
}

/// With as many decimals as the distance of two labels needs.
fn short(value: f64, step: f64) -> String {
    if value.abs() >= 10_000.0 {
        return format!("{:.0}k", value / 1_000.0);
    }
    let decimals = if step >= 1.0 { 0.0 } else { (-step.log10()).ceil().clamp(0.0, 6.0) };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let text = format!("{value:.*}", decimals as usize);
    if text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') { "0".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (least, step) in
            [(0.9, 1.0), (1.1, 2.0), (2.0, 2.0), (3.0, 5.0), (7.0, 10.0), (0.03, 0.05), (0.0, 1.0)]
        {
            assert!((nice(least) - step).abs() < 1e-12, "{least}: {}", nice(least));
        }
    }

    #[test]
    fn labels_have_the_decimals_that_they_need() {
        assert_eq!(
            [short(0.05, 0.05), short(2.0, 1.0), short(0.0, 0.1), short(25_000.0, 5_000.0), short(-0.5, 0.5)],
            ["0.05", "2", "0", "25k", "-0.5"]
        );
    }

    #[test]
    fn a_gap_in_the_data_is_a_gap_in_the_line() {
        let first: Minute = "2026-03-01T10:00:00Z".parse().unwrap();
        let points = [
            (first, Some(1.0)),
            (first.plus(1), Some(2.0)),
            (first.plus(2), None),
            (first.plus(3), Some(1.0)),
        ];
        let path = drawn(&points, &|minute| minute.since(first) as f64, &|value| value);
        assert_eq!(path, "M0.00 1.00h0L1.00 2.00M3.00 1.00h0");
    }
}
