use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn windows(zone: &str, texts: &[&str]) -> DenyWindows {
    let windows = texts.iter().map(|text| text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))).collect();
    DenyWindows::new(time_zone(zone).unwrap(), windows)
}

fn refused(text: &str) -> String {
    text.parse::<DenyWindow>().err().unwrap_or_else(|| panic!("{text} was taken")).to_string()
}

/// From each of these instants on it is denied, until the other.
fn denied_exactly(denied: &DenyWindows, openings: &[(&str, &str)]) {
    let second = SignedDuration::from_secs(1);
    for (from, to) in openings {
        let (from, to) = (at(from), at(to));
        assert_eq!(denied.denies(from - second), None, "before {from}");
        assert!(denied.denies(from).is_some(), "at {from}");
        assert!(denied.denies(to - second).is_some(), "before {to}");
        assert_eq!(denied.denies(to), None, "at {to}");
        assert_eq!(denied.until(from), Some(to), "from {from}");
        assert_eq!(denied.until(to), None, "at {to}");
    }
}

#[test]
fn a_weekend_is_denied_in_local_time_and_named_as_it_was_written() {
    let weekend = windows("europe/berlin", &["Fri 16:00 to Mon 08:00"]);
    denied_exactly(&weekend, &[("2026-11-20T15:00:00Z", "2026-11-23T07:00:00Z")]);
    let shown = weekend.denies(at("2026-11-22T12:00:00Z"));
    assert_eq!(shown.as_deref(), Some("Fri 16:00 to Mon 08:00 (Europe/Berlin)"));
    // In summer the same local times are an hour earlier.
    denied_exactly(&weekend, &[("2026-07-10T14:00:00Z", "2026-07-13T06:00:00Z")]);
}

#[test]
fn a_night_may_cross_midnight_and_a_day_may_not() {
    denied_exactly(
        &windows("UTC", &["22:00 to 06:00"]),
        &[("2026-11-20T22:00:00Z", "2026-11-21T06:00:00Z"), ("2026-12-31T22:00:00Z", "2027-01-01T06:00:00Z")],
    );
    denied_exactly(
        &windows("UTC", &["9:00 to 17:00"]),
        &[("2026-11-20T09:00:00Z", "2026-11-20T17:00:00Z"), ("2026-11-21T09:00:00Z", "2026-11-21T17:00:00Z")],
    );
    denied_exactly(&windows("UTC", &["22:00 to 24:00"]), &[("2026-11-20T22:00:00Z", "2026-11-21T00:00:00Z")]);
}

#[test]
fn dates_are_whole_days_and_a_time_narrows_them() {
    for (text, from, to) in [
        ("2026-12-24 to 2026-12-27", "2026-12-23T23:00:00Z", "2026-12-27T23:00:00Z"),
        ("2026-12-24", "2026-12-23T23:00:00Z", "2026-12-24T23:00:00Z"),
        ("2026-12-24 12:00 to 2026-12-27 08:00", "2026-12-24T11:00:00Z", "2026-12-27T07:00:00Z"),
        ("2026-12-24 12:00 to 2026-12-27", "2026-12-24T11:00:00Z", "2026-12-27T23:00:00Z"),
        ("2026-12-31 20:00 to 06:00", "2026-12-31T19:00:00Z", "2027-01-01T05:00:00Z"),
        ("2026-12-31 20:00 to 24:00", "2026-12-31T19:00:00Z", "2026-12-31T23:00:00Z"),
    ] {
        let once = windows("Europe/Berlin", &[text]);
        denied_exactly(&once, &[(from, to)]);
        assert_eq!(once.denies(at("2027-12-25T12:00:00Z")), None, "{text} does not come back");
    }
}

#[test]
fn days_of_the_week_are_whole_days_and_a_time_narrows_them() {
    for (text, from, to) in [
        ("Sat", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
        ("sat to SUNDAY", "2026-11-21T00:00:00Z", "2026-11-23T00:00:00Z"),
        ("Fri 16:00 to Sun", "2026-11-20T16:00:00Z", "2026-11-23T00:00:00Z"),
        ("Fri to Mon 08:00", "2026-11-20T00:00:00Z", "2026-11-23T08:00:00Z"),
        ("Thurs 22:00 to 06:00", "2026-11-19T22:00:00Z", "2026-11-20T06:00:00Z"),
        ("Fri  16:00 TO 20:00", "2026-11-20T16:00:00Z", "2026-11-20T20:00:00Z"),
        ("Fri 16:00 to Fri 08:00", "2026-11-20T16:00:00Z", "2026-11-27T08:00:00Z"),
        ("Sun 20:00 to Mon 24:00", "2026-11-22T20:00:00Z", "2026-11-24T00:00:00Z"),
        ("Tue 20:00 to Mon 20:00", "2026-11-17T20:00:00Z", "2026-11-23T20:00:00Z"),
    ] {
        denied_exactly(&windows("UTC", &[text]), &[(from, to)]);
    }
}

#[test]
fn windows_that_overlap_or_follow_at_once_end_together() {
    let denied =
        windows("UTC", &["Fri 16:00 to Mon 08:00", "Mon 08:00 to 12:00", "2026-11-23 11:00 to 13:30"]);
    assert_eq!(denied.until(at("2026-11-21T00:00:00Z")), Some(at("2026-11-23T13:30:00Z")));
    assert_eq!(denied.until(at("2026-11-28T00:00:00Z")), Some(at("2026-11-30T12:00:00Z")));
    let first = denied.denies(at("2026-11-23T11:30:00Z")).unwrap();
    assert_eq!(first, "Mon 08:00 to 12:00 (UTC)");
    let nights = windows("UTC", &["22:00 to 06:00", "06:00 to 21:59", "Sat"]);
    assert_eq!(nights.until(at("2026-11-20T23:00:00Z")), Some(at("2026-11-22T21:59:00Z")));
}

#[test]
fn a_time_that_clocks_skip_comes_at_the_moment_of_the_change() {
    // At 01:00 UTC on 29 March it is 02:00, and then 03:00, in Berlin.
    let change = "2026-03-29T01:00:00Z";
    let ends = windows("Europe/Berlin", &["22:00 to 02:30"]);
    denied_exactly(
        &ends,
        &[("2026-03-28T21:00:00Z", change), ("2026-03-29T20:00:00Z", "2026-03-30T00:30:00Z")],
    );
    let begins = windows("Europe/Berlin", &["02:30 to 05:00"]);
    denied_exactly(&begins, &[(change, "2026-03-29T03:00:00Z")]);
    let skipped = windows("Europe/Berlin", &["02:10 to 02:50"]);
    for minute in -120..120 {
        assert_eq!(skipped.denies(at(change) + SignedDuration::from_mins(minute)), None, "{minute}");
    }
    // At 07:00 UTC on 8 March it is 02:00, and then 03:00, in New York.
    let ends = windows("America/New_York", &["Sat 20:00 to Sun 02:15"]);
    denied_exactly(&ends, &[("2026-03-08T01:00:00Z", "2026-03-08T07:00:00Z")]);
    // A midnight that never was.
    let sunday = windows("Africa/Cairo", &["2026-04-24"]);
    denied_exactly(&sunday, &[("2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z")]);
}

#[test]
fn a_time_that_comes_twice_begins_a_window_at_first_and_ends_it_at_last() {
    // At 01:00 UTC on 25 October it is 03:00, and then 02:00 again, in Berlin.
    let night = windows("Europe/Berlin", &["22:00 to 02:30"]);
    denied_exactly(&night, &[("2026-10-24T20:00:00Z", "2026-10-25T01:30:00Z")]);
    let morning = windows("Europe/Berlin", &["02:30 to 05:00"]);
    denied_exactly(&morning, &[("2026-10-25T00:30:00Z", "2026-10-25T04:00:00Z")]);
    // At 06:00 UTC on 1 November it is 02:00, and then 01:00 again, in New York.
    let sunday = windows("America/New_York", &["Sun 01:15 to 01:45"]);
    denied_exactly(&sunday, &[("2026-11-01T05:15:00Z", "2026-11-01T06:45:00Z")]);
    let day = windows("America/New_York", &["2026-11-01"]);
    denied_exactly(&day, &[("2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z")]);
}

#[test]
fn what_is_no_window_is_refused_with_its_rule() {
    for (text, rule) in [
        ("", "must be days and times such as Fri 16:00 to Mon 08:00"),
        ("to", "must be days and times"),
        ("always", "must have days from Mon to Sun, or dates such as 2026-12-24, not always"),
        ("22:00", "must be days and times"),
        ("Fri 16:00", "must be days and times"),
        ("Fri 16:00 to", "must be days and times"),
        ("Fri 16:00 to Mon 08:00 to Tue", "must be days and times"),
        ("Fri 4pm to Mon 8am", "must have times from 00:00 to 24:00, not 4pm"),
        ("22:00 to 25:00", "must have times from 00:00 to 24:00, not 25:00"),
        ("22:00 to 24:01", "not 24:01"),
        ("22:60 to 06:00", "not 22:60"),
        ("22:0 to 06:00", "not 22:0"),
        ("2026-12-24T12:00 to 2026-12-27", "not 2026-12-24T12:00"),
        ("Freitag to Montag", "not Freitag"),
        ("Mo to Tu", "not Mo"),
        ("2026-02-30", "must have dates such as 2026-12-24, not 2026-02-30"),
        ("24.12.2026 to 27.12.2026", "must have dates such as 2026-12-24, not 24.12.2026"),
        ("12-24 to 12-27", "not 12-24"),
        ("2026-12-27 to 2026-12-24", "must end after it begins"),
        ("2026-12-24 12:00 to 2026-12-24 12:00", "must end after it begins"),
        ("2026-12-24 12:00 to 12:00", "must end at another time than it begins"),
        ("22:00 to 22:00", "must end at another time than it begins"),
        ("Fri 16:00 to Fri 16:00", "must end at another time than it begins"),
        ("24:00 to 06:00", "must not begin at 24:00"),
        ("00:00 to 24:00", "denies every minute of the week"),
        ("Mon to Sun", "denies every minute of the week"),
        ("Thu to Wed 24:00", "denies every minute of the week"),
        ("Fri 16:00 to 2026-12-27", "must have both ends of one kind"),
        ("16:00 to Mon 08:00", "must have both ends of one kind"),
    ] {
        let said = refused(text);
        assert!(said.contains(rule), "{text}: {said}");
    }
    let long = refused(&"x".repeat(10_000));
    assert!(long.len() < 200 && refused("Fri\u{7} to Mon").len() < 200, "{long}");
}

#[test]
fn a_window_with_a_dash_is_told_what_to_write() {
    for text in ["Fri 16:00 - Mon 08:00", "Fri 16:00–Mon 08:00", "Fri 16:00 until Mon 08:00"] {
        assert!(refused(text).ends_with("write Fri 16:00 to Mon 08:00"), "{text}: {}", refused(text));
    }
    assert!(!refused("Fri 16:00 - noon").contains("write"));
}

#[test]
fn windows_that_leave_no_minute_of_the_week_are_found() {
    let every = |texts: &[&str]| windows("UTC", texts).deny_every_minute();
    assert!(every(&["22:00 to 06:00", "06:00 to 22:00"]));
    assert!(every(&["Mon to Fri", "Sat", "Sun"]));
    assert!(every(&["Fri 16:00 to Mon 08:00", "Mon 08:00 to Fri 20:00"]));
    assert!(!every(&["22:00 to 06:00", "06:00 to 21:59"]));
    assert!(!every(&["Mon to Fri", "Sat", "Sun 00:00 to 23:59"]));
    assert!(!every(&[]) && !every(&["2026-01-01 to 2099-12-31"]));
    assert_eq!(
        windows("UTC", &["2026-01-01 to 2099-12-31"]).until(at("2026-06-01T00:00:00Z")),
        Some(at("2100-01-01T00:00:00Z"))
    );
}

#[test]
fn a_record_keeps_the_texts_and_an_empty_one_denies_nothing() {
    let denied = windows("Europe/Berlin", &["Fri 16:00 to Mon 08:00", "2026-12-24"]);
    let stored = serde_json::to_value(&denied).unwrap();
    let expected = serde_json::json!({
        "time_zone": "Europe/Berlin", "windows": ["Fri 16:00 to Mon 08:00", "2026-12-24"],
    });
    assert_eq!(stored, expected);
    assert_eq!(serde_json::from_value::<DenyWindows>(stored).unwrap(), denied);
    for empty in ["{}", r#"{"time_zone":"","windows":[]}"#, r#"{"time_zone":"UTC"}"#] {
        let read: DenyWindows = serde_json::from_str(empty).unwrap();
        assert_eq!(read, DenyWindows::default());
        assert!(read.is_empty() && read.denies(at("2026-11-21T00:00:00Z")).is_none());
        assert_eq!(read.until(at("2026-11-21T00:00:00Z")), None);
    }
}

#[test]
fn a_window_or_zone_that_this_version_cannot_read_denies_and_does_not_spoil_the_record() {
    let now = at("2026-11-21T00:00:00Z");
    let newer = r#"{"time_zone":"UTC","windows":["the second Friday of May"]}"#;
    let read: DenyWindows = serde_json::from_str(newer).unwrap();
    assert_eq!(read.denies(now).unwrap(), "the second Friday of May (UTC), which this version can't read");
    assert_eq!(read.until(now), None);
    assert_eq!(serde_json::to_string(&read).unwrap(), newer);
    let moved: DenyWindows =
        serde_json::from_str(r#"{"time_zone":"Mars/Base","windows":["22:00 to 06:00"]}"#).unwrap();
    assert!(moved.denies(now).unwrap().contains("(Mars/Base)"));
    let nothing: DenyWindows = serde_json::from_str(r#"{"time_zone":"Mars/Base","windows":[]}"#).unwrap();
    assert_eq!(nothing.denies(now), None);
}

#[test]
fn zones_are_found_whatever_their_case_and_need_nothing_of_the_machine() {
    assert_eq!(time_zone("america/NEW_york").unwrap().iana_name(), Some("America/New_York"));
    assert!(time_zone("utc").is_some() && time_zone("Etc/GMT-2").is_some());
    for name in ["", "Berlin", "Etc/Unknown", "+02:00", "Europe/Berlin ", "../../etc/passwd"] {
        assert!(time_zone(name).is_none(), "{name}");
    }
    assert!(time_zone_names().len() > 400, "{}", time_zone_names().len());
}

#[test]
fn the_ends_of_time_are_answered_without_a_panic() {
    let denied =
        windows("Pacific/Kiritimati", &["22:00 to 06:00", "Sat", "9999-12-29 to 9999-12-30", "0001-01-01"]);
    for now in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
        let _ = (denied.denies(now), denied.until(now));
    }
}

/// Civil time says the same, minute by minute, wherever no clock is changed: the plainest reading of a window.
fn by_hand(text: &str, week_minute: i64) -> bool {
    let (day, hour) = (week_minute.div_euclid(1_440), week_minute.rem_euclid(1_440));
    match text {
        "Fri 16:00 to Mon 08:00" => (day == 4 && hour >= 960) || day >= 5 || (day == 0 && hour < 480),
        "22:00 to 06:00" => !(360..1_320).contains(&hour),
        "Sat to Sun" => day >= 5,
        "Sun 23:30 to 00:15" => (day == 6 && hour >= 1_410) || (day == 0 && hour < 15),
        other => panic!("{other}"),
    }
}

#[test]
fn every_time_of_a_week_is_denied_or_not_as_the_local_clock_says() {
    // Weeks with a change of clocks and one without; no window begins or ends in the hours that change.
    for zone in ["Europe/Berlin", "America/New_York", "Asia/Kolkata"] {
        for text in ["Fri 16:00 to Mon 08:00", "22:00 to 06:00", "Sat to Sun", "Sun 23:30 to 00:15"] {
            let denied = windows(zone, &[text]);
            let tz = time_zone(zone).unwrap();
            for start in ["2026-06-15T00:00:00Z", "2026-03-05T00:00:00Z", "2026-10-22T00:00:00Z"] {
                for minute in (0..11 * 1_440).step_by(5) {
                    let now = at(start) + SignedDuration::from_mins(minute);
                    let local = tz.to_datetime(now);
                    let clock = i64::from(local.hour()) * 60 + i64::from(local.minute());
                    let of_week = i64::from(local.weekday().to_monday_zero_offset()) * 1_440 + clock;
                    assert_eq!(denied.denies(now).is_some(), by_hand(text, of_week), "{zone} {text} {now}");
                }
            }
        }
    }
}

fn any_clock() -> impl Strategy<Value = String> {
    (0..24, prop_oneof![Just(0), Just(30), 0..60]).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"))
}

fn any_window() -> impl Strategy<Value = String> {
    let day = prop_oneof!["Mon", "tue", "Wednesday", "Thu", "Fri", "Sat", "sun"];
    let date =
        (1..=31, prop_oneof![Just(3), Just(10)]).prop_map(|(day, month)| format!("2026-{month:02}-{day:02}"));
    prop_oneof![
        (any_clock(), any_clock()).prop_map(|(from, to)| format!("{from} to {to}")),
        (day.clone(), any_clock(), day.clone(), any_clock())
            .prop_map(|(a, b, c, d)| format!("{a} {b} to {c} {d}")),
        (day.clone(), any_clock(), any_clock()).prop_map(|(a, b, c)| format!("{a} {b} to {c}")),
        (day.clone(), day).prop_map(|(from, to)| format!("{from} to {to}")),
        (date.clone(), any_clock(), date.clone()).prop_map(|(a, b, c)| format!("{a} {b} to {c}")),
        date,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn until_is_the_first_instant_that_is_not_denied(
        texts in prop::collection::vec(any_window(), 1..5),
        zone in prop_oneof!["Europe/Berlin", "America/New_York", "UTC", "Australia/Lord_Howe", "America/Havana"],
        october in any::<bool>(),
        minutes in 0_i64..45 * 1_440,
    ) {
        let read: Vec<DenyWindow> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        let denied = DenyWindows::new(time_zone(&zone).unwrap(), read);
        prop_assume!(!denied.deny_every_minute());
        let start = if october { "2026-10-01T00:00:00Z" } else { "2026-03-01T00:00:00Z" };
        let now = at(start) + SignedDuration::from_mins(minutes);
        match denied.until(now) {
            None => prop_assert_eq!(denied.denies(now), None),
            Some(end) => {
                prop_assert!(end > now);
                prop_assert_eq!(denied.denies(end), None);
                let length = end.duration_since(now);
                for part in 0..500 {
                    let within = now + SignedDuration::from_secs(length.as_secs() * part / 500);
                    prop_assert!(denied.denies(within).is_some(), "{within} before {end}");
                }
                prop_assert!(denied.denies(end - SignedDuration::from_secs(1)).is_some());
            }
        }
    }

    #[test]
    fn no_text_makes_a_window_panic(text in "[A-Za-z0-9 :.–-]{0,30}", now in 0_i64..4_000_000_000) {
        if let Ok(window) = text.parse::<DenyWindow>() {
            let denied = DenyWindows::new(TimeZone::UTC, vec![window]);
            let now = Timestamp::from_second(now).unwrap();
            prop_assert_eq!(denied.denies(now).is_some(), denied.until(now).is_some());
        }
    }
}
