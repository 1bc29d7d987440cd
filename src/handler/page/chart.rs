//! The newest minutes of both arms, drawn in letters.
//!
//! From zero upward: a scale that begins at the smallest value would make a mountain of noise.

use crate::analysis::recent::{Counted, Course, Recent};
use crate::analysis::window::Arm;

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// As wide as a level in most fonts, unlike a blank.
const NOTHING: char = '░';

/// Both arms of one course, one letter a minute, on a common scale.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chart {
    /// What is drawn, of which minutes, and between which numbers.
    pub(super) title: String,
    /// The canary's, then stable's.
    pub(super) lines: [String; 2],
}

/// The charts of a page: of each check, and of requests where `with_requests` says so.
pub(super) fn charts(recent: &Recent, with_requests: bool) -> Vec<Chart> {
    let wanted = |course: &&Course| with_requests || course.counted != Counted::Requests;
    recent.courses.iter().filter(wanted).filter_map(|course| chart(recent, course)).collect()
}

fn chart(recent: &Recent, course: &Course) -> Option<Chart> {
    let values = Arm::BOTH.into_iter().flat_map(|arm| course.arm(arm)).flatten().copied();
    let (low, high) =
        values.filter(|value| value.is_finite()).fold(None, |ends: Option<(f64, f64)>, value| {
            Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        })?;
    let minutes = course.stable.len().max(course.canary.len());
    let until = recent.from.plus(i64::try_from(minutes).unwrap_or(0));
    let clock = |minute: crate::units::Minute| minute.start().strftime("%H:%M").to_string();
    let unit = match course.counted {
        Counted::Requests => " a minute",
        Counted::Percent => " %",
    };
    let scale = if low < high { format!("{} to {}", number(low), number(high)) } else { number(low) };
    let line = |arm: Arm| {
        let drawn = course.arm(arm).iter().map(|value| letter(*value, high)).collect::<String>();
        format!("{:<7}{drawn}", arm.name())
    };
    Some(Chart {
        title: format!("{}, {} to {} UTC: {scale}{unit}", course.name, clock(recent.from), clock(until)),
        lines: [line(Arm::Canary), line(Arm::Stable)],
    })
}

fn letter(value: Option<f64>, high: f64) -> char {
    let Some(value) = value.filter(|value| value.is_finite()) else { return NOTHING };
    let part = if high > 0.0 { value / high } else { 0.0 };
    let level = (part * LEVELS.len() as f64) as usize;
    LEVELS[level.min(LEVELS.len() - 1)]
}

/// To three digits, without an exponent.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent(stable: &[Option<f64>], canary: &[Option<f64>]) -> Recent {
        let course = |name: &str, counted| Course {
            name: name.to_owned(),
            counted,
            stable: stable.to_vec(),
            canary: canary.to_vec(),
        };
        Recent {
            from: "2026-03-01T09:58:00Z".parse().unwrap(),
            courses: vec![course("requests", Counted::Requests), course("errors", Counted::Percent)],
        }
    }

    #[test]
    fn both_arms_are_drawn_on_one_scale_whose_ends_are_told() {
        let recent = recent(&[Some(0.2), Some(0.4), Some(0.3)], &[None, Some(0.3), Some(1.8)]);
        let charts = charts(&recent, false);
        assert_eq!(charts.len(), 1);
        assert_eq!(charts[0].title, "errors, 09:58 to 10:01 UTC: 0.20 to 1.80 %");
        assert_eq!(charts[0].lines, ["canary ░▂█", "stable ▁▂▂"]);
    }

    #[test]
    fn requests_are_drawn_where_they_are_the_story() {
        let recent = recent(&[Some(9_500.0)], &[Some(500.0)]);
        let drawn = charts(&recent, true);
        assert_eq!(drawn[0].title, "requests, 09:58 to 09:59 UTC: 500 to 9500 a minute");
        assert_eq!(drawn[0].lines, ["canary ▁", "stable █"]);
    }

    #[test]
    fn what_has_no_range_or_no_values_is_drawn_all_the_same_or_left_out() {
        let flat = charts(&recent(&[Some(0.0), Some(0.0)], &[None, Some(0.0)]), false);
        assert_eq!(flat[0].title, "errors, 09:58 to 10:00 UTC: 0 %");
        assert_eq!(flat[0].lines, ["canary ░▁", "stable ▁▁"]);
        assert_eq!(charts(&recent(&[None], &[None]), true), []);
        // Of other lengths and without finite values it comes from a record that was damaged.
        let odd = charts(&recent(&[Some(f64::NAN), Some(f64::INFINITY), Some(1.0)], &[]), false);
        assert_eq!(odd[0].lines, ["canary ", "stable ░░█"]);
    }
}
