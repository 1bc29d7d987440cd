//! One deny window: how it is written, and when it is open.

use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp};

/// How a window is written, in messages.
const WINDOW_FORMS: &str = "days and times such as Fri 16:00 to Mon 08:00, times such as 22:00 to 06:00, dates \
                                such as 2026-12-24 to 2026-12-27, or a whole day such as Sat";

const MINUTES_A_DAY: u16 = 24 * 60;
pub(super) const MINUTES_A_WEEK: usize = 7 * MINUTES_A_DAY as usize;
/// As much of a wrong word as a message quotes.
const SHOWN_CHARS: usize = 20;

/// One window, as a plan has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenyWindow {
    text: String,
    when: When,
}

/// Why a text is no window. `Display` is the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WindowError(String);

/// When a window opens and closes, in local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Every day; the end is on the next one if it is not later than the start.
    Daily { from: Clock, to: Clock },
    /// Every week, from a day and time to the next time that it is the other day and time.
    Weekly { from: (Weekday, Clock), to: (Weekday, Clock) },
    /// Once.
    Once { from: (Date, Clock), to: (Date, Clock) },
}

/// Minutes since midnight, up to and with 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Clock(u16);

const MIDNIGHT: Clock = Clock(0);
const DAY_END: Clock = Clock(MINUTES_A_DAY);

/// A day with a clock time, in civil time.
fn civil(day: Date, clock: Clock) -> Option<DateTime> {
    let day = if clock == DAY_END { day.tomorrow().ok()? } else { day };
    let minutes = clock.0 % MINUTES_A_DAY;
    let time = Time::new(i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?, 0, 0).ok()?;
    Some(day.to_datetime(time))
}

/// The instant of a local time: see the module's word on clocks that change.
fn instant(at: DateTime, zone: &TimeZone, last: bool) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(at);
    match ambiguous.offset() {
        AmbiguousOffset::Gap { .. } => {
            let before = ambiguous.earlier().ok()?;
            zone.following(before).next().map(|change| change.timestamp())
        }
        _ if last => ambiguous.later().ok(),
        _ => ambiguous.earlier().ok(),
    }
}

fn minute_of_week((day, clock): (Weekday, Clock)) -> usize {
    let days = usize::try_from(day.to_monday_zero_offset()).unwrap_or_default();
    days * usize::from(MINUTES_A_DAY) + usize::from(clock.0)
}

impl When {
    /// The last end of the openings that `now` lies in.
    fn end(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = zone.to_datetime(now).date();
        let opening = |from: (Date, Clock), to: (Date, Clock)| {
            let start = instant(civil(from.0, from.1)?, zone, false)?;
            let end = instant(civil(to.0, to.1)?, zone, true)?;
            (start <= now && now < end).then_some(end)
        };
        // Days on which an opening may have begun; one more on both sides, since clocks may be set by a day.
        let near = |back: i64| (-back..=1).filter_map(move |days| later_day(today, days));
        match self {
            Self::Once { from, to } => opening(from, to),
            Self::Daily { from, to } => {
                let open = |day| opening((day, from), (later_day(day, i64::from(to <= from))?, to));
                near(2).filter_map(open).max()
            }
            Self::Weekly { from, to } => {
                let (start, end) = (minute_of_week(from), minute_of_week(to));
                let days = i64::from(from.0.until(to.0)) + 7 * i64::from(from.0 == to.0 && end <= start);
                let open = |day| opening((day, from.1), (later_day(day, days)?, to.1));
                near(9).filter(|day| day.weekday() == from.0).filter_map(open).max()
            }
        }
    }

    fn minutes_of_week(self) -> Vec<(usize, usize)> {
        let (a_day, week) = (usize::from(MINUTES_A_DAY), MINUTES_A_WEEK);
        match self {
            Self::Once { .. } => Vec::new(),
            Self::Daily { from, to } => {
                let next = if to <= from { a_day } else { 0 };
                let of = |day| (day * a_day + usize::from(from.0), day * a_day + usize::from(to.0) + next);
                (0..7).map(of).collect()
            }
            Self::Weekly { from, to } => {
                let (start, end) = (minute_of_week(from), minute_of_week(to));
                vec![(start, if end <= start { end + week } else { end })]
            }
        }
    }
}

fn later_day(day: Date, days: i64) -> Option<Date> {
    day.checked_add(Span::new().try_days(days).ok()?).ok()
}

impl DenyWindow {
    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// When it closes, if it is open.
    pub(super) fn end(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        self.when.end(now, zone)
    }

    /// From and to of its openings in a week, in minutes since Monday's first; an end may lie in the week after.
    /// None of dates: those do not come back.
    pub(super) fn minutes_of_week(&self) -> Vec<(usize, usize)> {
        self.when.minutes_of_week()
    }
}

impl FromStr for DenyWindow {
    type Err = WindowError;
    fn from_str(text: &str) -> Result<Self, WindowError> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match when(&text) {
            Ok(when) => Ok(Self { text, when }),
            Err(rule) => Err(WindowError(match meant(&text) {
                Some(meant) => format!("{rule}: write {meant}"),
                None => rule,
            })),
        }
    }
}

/// What was meant by a window that is written with a dash or another word.
fn meant(text: &str) -> Option<String> {
    let dashes = [" - ", " – ", "–", " -- ", " until ", " till "];
    let found = dashes.into_iter().find(|dash| text.contains(dash))?;
    let meant = text.replacen(found, " to ", 1);
    when(&meant).is_ok().then_some(meant)
}

/// One end of a window: a day, a time, or both.
#[derive(Debug, Clone, Copy)]
struct End {
    day: Option<Day>,
    clock: Option<Clock>,
}

#[derive(Debug, Clone, Copy)]
enum Day {
    Of(Weekday),
    On(Date),
}

fn when(text: &str) -> Result<When, String> {
    let forms = || format!("must be {WINDOW_FORMS}");
    let words: Vec<&str> = text.split(' ').collect();
    let Some(at) = words.iter().position(|word| word.eq_ignore_ascii_case("to")) else {
        let day = end(&words)?;
        return match (day.day, day.clock) {
            (Some(_), None) => between(day, day),
            _ => Err(forms()),
        };
    };
    between(end(&words[..at])?, end(&words[at + 1..])?)
}

/// A day and no time at the start is its first moment, at the end its last. A time and no day at the end is the
/// next such time.
fn between(from: End, to: End) -> Result<When, String> {
    let start = from.clock.unwrap_or(MIDNIGHT);
    if start == DAY_END {
        return Err("must not begin at 24:00: write 00:00 of the next day".to_owned());
    }
    let last = to.clock.unwrap_or(DAY_END);
    let same = || Err("must end at another time than it begins".to_owned());
    let whole = || Err("denies every minute of the week: pause the rollout, or set mode: observe".to_owned());
    match (from.day, to.day) {
        (None, None) if start == last => same(),
        (None, None) if (start, last) == (MIDNIGHT, DAY_END) => whole(),
        (None, None) => Ok(When::Daily { from: start, to: last }),
        (Some(_), None) if start == last => same(),
        (Some(Day::Of(day)), None) => {
            let next = if last <= start { day.next() } else { day };
            Ok(When::Weekly { from: (day, start), to: (next, last) })
        }
        (Some(Day::Of(first)), Some(Day::Of(end))) => {
            let window = When::Weekly { from: (first, start), to: (end, last) };
            let (opens, closes) = (minute_of_week((first, start)), minute_of_week((end, last)));
            match closes % MINUTES_A_WEEK == opens {
                true if first == end && start == last => same(),
                true => whole(),
                false => Ok(window),
            }
        }
        (Some(Day::On(day)), None) => {
            let next = if last <= start { day.tomorrow().map_err(|error| error.to_string())? } else { day };
            Ok(When::Once { from: (day, start), to: (next, last) })
        }
        (Some(Day::On(first)), Some(Day::On(end))) => match (civil(first, start), civil(end, last)) {
            (Some(opens), Some(closes)) if opens < closes => {
                Ok(When::Once { from: (first, start), to: (end, last) })
            }
            _ => Err("must end after it begins".to_owned()),
        },
        _ => Err(format!("must have both ends of one kind: {WINDOW_FORMS}")),
    }
}

fn end(words: &[&str]) -> Result<End, String> {
    match words {
        [word] if is_clock(word) => Ok(End { day: None, clock: Some(clock(word)?) }),
        [word] => Ok(End { day: Some(day(word)?), clock: None }),
        [first, second] => Ok(End { day: Some(day(first)?), clock: Some(clock(second)?) }),
        _ => Err(format!("must be {WINDOW_FORMS}")),
    }
}

fn is_clock(word: &str) -> bool {
    word.contains(':') || word.starts_with(|c: char| c.is_ascii_digit()) && !word.contains(['-', '.', '/'])
}

fn clock(word: &str) -> Result<Clock, String> {
    let digits = |text: &str, most: usize| {
        let plain = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse::<u16>().ok()).flatten()
    };
    let read = word.split_once(':').and_then(|(hours, minutes)| {
        let minutes = digits(minutes, 2).filter(|_| minutes.len() == 2)?;
        (minutes < 60).then_some(digits(hours, 2)? * 60 + minutes)
    });
    let fits = read.filter(|minutes| *minutes <= MINUTES_A_DAY);
    fits.map(Clock).ok_or_else(|| format!("must have times from 00:00 to 24:00{}", not(word)))
}

fn day(word: &str) -> Result<Day, String> {
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        let plain = word.len() == 10 && word.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let read = word.parse().ok().filter(|_| plain);
        return read.map(Day::On).ok_or_else(|| format!("must have dates such as 2026-12-24{}", not(word)));
    }
    let name = word.to_ascii_lowercase();
    let found = WEEKDAYS.iter().find(|(full, _)| name == *full || is_short(&name, full));
    found.map(|(_, day)| Day::Of(*day)).ok_or_else(|| match word {
        "" => format!("must be {WINDOW_FORMS}"),
        _ => format!("must have days from Mon to Sun, or dates such as 2026-12-24{}", not(word)),
    })
}

/// What was written instead, if it can be shown.
fn not(word: &str) -> String {
    let short = word.chars().count() <= SHOWN_CHARS && !word.contains(char::is_control);
    if short { format!(", not {word}") } else { String::new() }
}

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

/// `thu` and `thurs`, with or without a point.
fn is_short(name: &str, full: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    (3..=5).contains(&name.len()) && full.starts_with(name)
}
