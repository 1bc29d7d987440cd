//! When the share is not raised: Friday night, the holidays, every night.
//!
//! A window is written in local time. Where clocks are set forward, a time that is skipped comes at the moment
//! of the change; where they are set back, a time that comes twice begins a window when it comes first and
//! ends one when it comes last. So in doubt a share stays where it is.

mod window;

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

pub use window::{DenyWindow, WindowError};

/// Used where the plan names no time zone.
pub const TIME_ZONE: &str = "UTC";
/// As many windows as anybody needs: a year's holidays and a rule for each night.
pub const WINDOWS_MAX: usize = 50;

/// The database that comes with the program, so that a window means the same on every machine.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The search for the end of a denial stops after so many openings that follow one another: no sensible plan
/// has as many, and the search must end.
const CHAIN_MAX: usize = 5_000;

/// The time zone of this name, whatever the case of its letters.
#[must_use]
pub fn time_zone(name: &str) -> Option<TimeZone> {
    ZONES.get(name).ok().filter(|zone| !zone.is_unknown())
}

/// The names of all time zones there are.
#[must_use]
pub fn time_zone_names() -> Vec<String> {
    ZONES.available().map(|name| name.as_str().to_owned()).collect()
}

/// Times in which no share is raised, in one time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct DenyWindows {
    /// `None`: the record names one that this program does not know.
    zone: Option<TimeZone>,
    zone_name: String,
    windows: Vec<Stored>,
}

/// A window as the record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stored {
    Known(DenyWindow),
    /// By another version of this program. It denies at all times: a record that can't be read would keep the
    /// canary from being drained, and a window that is passed over would let it rise.
    Unknown(String),
}

/// As it stands in the record.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Written {
    time_zone: String,
    windows: Vec<String>,
}

impl Default for DenyWindows {
    fn default() -> Self {
        Self::new(TimeZone::UTC, Vec::new())
    }
}

impl From<Written> for DenyWindows {
    fn from(written: Written) -> Self {
        let zone_name = if written.time_zone.is_empty() { TIME_ZONE.to_owned() } else { written.time_zone };
        let stored = |text: String| text.parse().map_or(Stored::Unknown(text), Stored::Known);
        let windows = written.windows.into_iter().map(stored).collect();
        Self { zone: time_zone(&zone_name), zone_name, windows }
    }
}

impl From<DenyWindows> for Written {
    fn from(denied: DenyWindows) -> Self {
        let windows = denied.windows.iter().map(|stored| stored.text().to_owned()).collect();
        Self { time_zone: denied.zone_name, windows }
    }
}

impl Stored {
    fn text(&self) -> &str {
        match self {
            Self::Known(window) => window.text(),
            Self::Unknown(text) => text,
        }
    }
}

impl DenyWindows {
    /// These windows in this zone.
    #[must_use]
    pub fn new(zone: TimeZone, windows: Vec<DenyWindow>) -> Self {
        let zone_name = zone.iana_name().unwrap_or(TIME_ZONE).to_owned();
        Self { zone: Some(zone), zone_name, windows: windows.into_iter().map(Stored::Known).collect() }
    }

    /// There is no window.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// The first window in the plan's order that `now` lies in, as it was written, with its time zone:
    /// `Fri 16:00 to Mon 08:00 (Europe/Berlin)`. A window's first instant is in it and its last is not.
    #[must_use]
    pub fn denies(&self, now: Timestamp) -> Option<String> {
        let denies = |window: &&Stored| match (&self.zone, window) {
            (Some(zone), Stored::Known(window)) => window.end(now, zone).is_some(),
            _ => true,
        };
        let window = self.windows.iter().find(denies)?;
        let unread = self.zone.is_none() || matches!(window, Stored::Unknown(_));
        let note = if unread { ", which this version can't read" } else { "" };
        Some(format!("{} ({}){note}", window.text(), self.zone_name))
    }

    /// The first instant from `now` on that no window denies, if `now` is denied and the end is in sight.
    /// Windows that overlap or follow at once count as one.
    #[must_use]
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let mut end = now;
        for _ in 0..CHAIN_MAX {
            match self.end_of_those_at(end)? {
                Some(later) => end = later,
                None => return (end > now).then_some(end),
            }
        }
        None
    }

    /// The last end of the windows that `at` lies in; `Some(None)` if it is in none, `None` if that is not known.
    fn end_of_those_at(&self, at: Timestamp) -> Option<Option<Timestamp>> {
        let mut last = None;
        for window in &self.windows {
            let (Some(zone), Stored::Known(window)) = (&self.zone, window) else { return None };
            last = last.max(window.end(at, zone));
        }
        Some(last)
    }

    /// Whether the windows that come back leave not a minute of the week.
    #[must_use]
    pub fn deny_every_minute(&self) -> bool {
        let mut denied = vec![false; window::MINUTES_A_WEEK];
        for stored in &self.windows {
            let Stored::Known(known) = stored else { continue };
            for (from, to) in known.minutes_of_week() {
                (from..to).for_each(|minute| denied[minute % window::MINUTES_A_WEEK] = true);
            }
        }
        denied.into_iter().all(|denied| denied)
    }
}

#[cfg(test)]
mod tests;
