//! The name of a caller's wait for a rollout. It says all that is needed to answer, so nothing is stored for it.

use jiff::Timestamp;

use crate::config::is_rollout_name;
use crate::rollout::record::Record;

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The verdict on the step that stands.
    Verdict,
    /// The rollout's end.
    End,
}

/// A caller's wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunId {
    /// The rollout.
    pub(super) rollout: String,
    /// When it was started: a later one of the same name is another.
    pub(super) started: Timestamp,
    /// When the caller wants to hear something, decided or not; whole seconds.
    pub(super) deadline: Option<Timestamp>,
    /// What for.
    pub(super) until: Until,
}

impl RunId {
    /// A wait for a rollout.
    pub(super) fn of(record: &Record, until: Until, deadline: Option<Timestamp>) -> Self {
        Self { rollout: record.id().to_owned(), started: record.started.at, deadline, until }
    }

    /// As callers keep it: letters, digits and hyphens only, so that it fits into any path.
    pub(super) fn encode(&self) -> String {
        let kind = match self.until {
            Until::Verdict => 'v',
            Until::End => 'e',
        };
        let deadline = self.deadline.map_or(0, Timestamp::as_second);
        format!("{kind}{:x}-{deadline:x}-{}", self.started.as_nanosecond(), self.rollout)
    }

    /// `None` if it is none of ours.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let (started, deadline, rollout) = (parts.next()?, parts.next()?, parts.next()?);
        let until = match started.get(..1)? {
            "v" => Until::Verdict,
            "e" => Until::End,
            _ => return None,
        };
        let started = i128::from_str_radix(&started[1..], 16).ok()?;
        let deadline = match i64::from_str_radix(deadline, 16).ok()? {
            0 => None,
            second => Some(Timestamp::from_second(second).ok()?),
        };
        let run = Self {
            rollout: rollout.to_owned(),
            started: Timestamp::from_nanosecond(started).ok()?,
            deadline,
            until,
        };
        // Only as we would write it ourselves.
        (is_rollout_name(rollout) && run.encode() == text).then_some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunId {
        RunId {
            rollout: "checkout-v42".to_owned(),
            started: "2026-03-01T10:00:00.123456789Z".parse().unwrap(),
            deadline: Some("2026-03-01T10:30:00Z".parse().unwrap()),
            until: Until::Verdict,
        }
    }

    #[test]
    fn a_run_s_id_says_all_that_is_needed_to_answer() {
        for until in [Until::Verdict, Until::End] {
            for deadline in [None, run().deadline] {
                let run = RunId { until, deadline, ..run() };
                assert_eq!(RunId::decode(&run.encode()).unwrap(), run, "{}", run.encode());
            }
        }
    }

    #[test]
    fn a_run_s_id_that_is_none_of_ours_is_none() {
        let good = run().encode();
        for bad in [
            "",
            "v",
            "v--",
            "v1-0-",
            "é-0-x",
            "x1-0-name",
            "v+1-0-name",
            "v01-0-name",
            "v1-0-../name",
            "v1-0-Name",
            "vffffffffffffffffffffffffffffffff-0-name",
            &good[1..],
            &good.to_uppercase(),
        ] {
            assert_eq!(RunId::decode(bad), None, "{bad}");
        }
    }
}
