//! When the share is not raised, and which alarms drain the canary.

use jiff::tz::TimeZone;
use serde_json::Value;

use super::arn::{Arn, ArnKind, is_alarm_name};
use super::keys::ALARMS_MAX;
use super::problem::nearest;
use super::walk::Walk;
use crate::rollout::calendar::{self, DenyWindow, DenyWindows, WINDOWS_MAX};

/// The shortest name that a guess is made for: between `PST` and `EST` lie a letter and an ocean.
const GUESSED_CHARS_MIN: usize = 4;

/// Reads `deny_windows` and `time_zone`.
pub(super) fn deny_windows(walk: &mut Walk<'_, '_>) -> DenyWindows {
    let rule = "must be a list of windows such as [Fri 16:00 to Mon 08:00, 2026-12-24 to 2026-12-27]";
    let windows = walk.list("deny_windows", WINDOWS_MAX, rule, window);
    let zone = walk.read("time_zone", time_zone).unwrap_or(TimeZone::UTC);
    let denied = DenyWindows::new(zone, windows);
    let rule = "must leave some minute of the week in which a share can be raised: to raise none, pause the rollout, or \
                set mode: observe";
    walk.require(!denied.deny_every_minute(), &["deny_windows"], "deny_windows", rule);
    denied
}

fn window(value: &Value) -> Result<DenyWindow, String> {
    let text = value.as_str().ok_or("must be a text such as Fri 16:00 to Mon 08:00")?;
    text.parse().map_err(|error: calendar::WindowError| error.to_string())
}

fn time_zone(value: &Value) -> Result<TimeZone, String> {
    let rule = "must be a time zone of the IANA database, such as Europe/Berlin";
    let name = value.as_str().ok_or(rule)?;
    calendar::time_zone(name).ok_or_else(|| match meant_zone(name) {
        Some(meant) => format!("{rule}; did you mean {meant}?"),
        None => rule.to_owned(),
    })
}

/// The zone that was probably meant: `Berlin` and `europe berlin` are slips, too.
fn meant_zone(name: &str) -> Option<String> {
    let known = calendar::time_zone_names();
    let words = name.trim().replace(' ', "_");
    let city = known
        .iter()
        .find(|zone| zone.rsplit_once('/').is_some_and(|(_, city)| city.eq_ignore_ascii_case(&words)));
    let near = || nearest(name, known.iter().map(String::as_str)).filter(|_| name.len() >= GUESSED_CHARS_MIN);
    city.map(String::as_str).or_else(near).map(str::to_owned)
}

/// Reads `alarms`.
pub(super) fn alarms(walk: &mut Walk<'_, '_>) -> Vec<String> {
    let rule = "must be a list of names or ARNs of alarms such as [checkout-5xx]";
    walk.list("alarms", ALARMS_MAX, rule, alarm)
}

fn alarm(value: &Value) -> Result<String, String> {
    let rule = "must be the name of an alarm, 1 to 255 characters without control characters, or its ARN";
    if value.is_number() || value.is_boolean() {
        return Err(format!("{rule}: put it into quotes"));
    }
    let text = value.as_str().ok_or(rule)?;
    if text.starts_with("arn:") {
        Arn::parse(text, ArnKind::Alarm)?;
    } else if !is_alarm_name(text) {
        return Err(rule.to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::super::tests::{plan, problem, problems};

    #[test]
    fn windows_are_read_in_the_time_zone_of_the_plan() {
        let read = plan(
            "deny_windows: [Fri 16:00 to Mon 08:00, Sat, 2026-12-24 to 2026-12-27, 2026-12-31, 22:00 to 06:00]\n\
             time_zone: europe/berlin",
        );
        let friday: Timestamp = "2026-11-20T15:00:00Z".parse().unwrap();
        let named = read.deny_windows.denies(friday);
        assert_eq!(named.as_deref(), Some("Fri 16:00 to Mon 08:00 (Europe/Berlin)"));
        let stored = serde_json::to_value(&read.deny_windows).unwrap();
        assert_eq!(stored["windows"][2], json!("2026-12-24 to 2026-12-27"));
    }

    #[test]
    fn every_bad_window_is_told_with_its_place_and_rule() {
        let found = problems(
            "deny_windows: [Fri 16:00 to Mon 08:00, Fri 4pm to Mon, 2026-12-27 to 2026-12-24, 5, Sat, Sat]\n\
             time_zone: Europe/Berln",
        );
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        let at = |index| format!("deny_windows[{index}]");
        assert_eq!(keys, [&at(1), &at(2), &at(3), &at(5), "time_zone"]);
        for ((_, rule), part) in found.iter().zip([
            "not 4pm",
            "must end after",
            "must be a text",
            "is there twice",
            "mean Europe/Berlin?",
        ]) {
            assert!(rule.contains(part), "{rule}");
        }
    }

    #[test]
    fn windows_are_a_list_of_at_most_fifty_that_leave_time_for_a_shift() {
        assert!(problem("deny_windows: Sat to Sun").1.ends_with("write [Sat to Sun]"));
        assert!(!problem("deny_windows: often").1.contains("write"));
        assert_eq!(problem("deny_windows:").0, "deny_windows");
        let (_, rule) = problem("deny_windows: [22:00 to 06:00, 06:00 to 22:00]");
        assert!(rule.contains("leave some minute of the week"), "{rule}");
        let days = |n: u32| (1..=n).map(|day| format!("{}-05-01", 2000 + day)).collect::<Vec<_>>().join(", ");
        plan(&format!("deny_windows: [{}]", days(50)));
        let (_, rule) = problem(&format!("deny_windows: [{}]", days(51)));
        assert_eq!(rule, "must have at most 50 items, not 51");
    }

    #[test]
    fn a_zone_that_nobody_knows_is_refused_with_the_one_that_was_meant() {
        for (zone, meant) in [
            ("Berlin", Some("Europe/Berlin")),
            ("new york", Some("America/New_York")),
            ("America/NewYork", Some("America/New_York")),
            ("PST", None),
            ("'+02:00'", None),
            ("2", None),
        ] {
            let (key, rule) = problem(&format!("time_zone: {zone}"));
            assert_eq!(key, "time_zone");
            let said = rule.split_once("did you mean ").map(|(_, meant)| meant.trim_end_matches('?'));
            assert_eq!(said, meant, "{zone}: {rule}");
        }
    }

    #[test]
    fn alarms_are_names_or_arns_of_any_place() {
        let arn = "arn:aws:cloudwatch:us-east-1:999999999999:alarm:checkout: 5xx/é";
        let read = plan(&format!("alarms: ['checkout 5xx (prod)', '{arn}', p99]"));
        assert_eq!(read.alarms, ["checkout 5xx (prod)", arn, "p99"]);
        let longest = json!(["a".repeat(255)]);
        assert_eq!(plan(&format!("alarms: {longest}")).alarms[0].len(), 255);
        for (alarms, key) in [
            (json!(["a".repeat(256)]), "alarms[0]"),
            (json!([""]), "alarms[0]"),
            (json!([" "]), "alarms[0]"),
            (json!(["fine", "a\nb"]), "alarms[1]"),
            (json!([5]), "alarms[0]"),
            (json!([null]), "alarms[0]"),
            (json!(["a", "b", "a"]), "alarms[2]"),
            (json!(["arn:aws:sns:eu-west-1:123456789012:alarm:a"]), "alarms[0]"),
            (json!(["arn:aws:cloudwatch:eu-west-1:123456789012:dashboard:a"]), "alarms[0]"),
            (json!(["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:"]), "alarms[0]"),
            (json!(["arn:aws:cloudwatch:eu-west-1:1234:alarm:a"]), "alarms[0]"),
            (json!("checkout"), "alarms"),
            (json!((0..101).map(|n| format!("a{n}")).collect::<Vec<_>>()), "alarms"),
        ] {
            assert_eq!(problem(&format!("alarms: {alarms}")).0, key, "{alarms}");
        }
        assert!(problem("alarms: checkout").1.ends_with("write [checkout]"));
    }
}
