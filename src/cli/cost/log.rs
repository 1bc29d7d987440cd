//! How much the function writes to its log.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// What CloudWatch adds to each event.
const BESIDE: u64 = 26;
/// Time, level, target, the ids of invocation and trace, and braces of a line of JSON.
const FRAME: u64 = 105 + 52 + 51;
/// Quotes, colon and comma of a field.
const OF_FIELD: u64 = 6;
/// Lambda's own lines, START, END and REPORT, of one invocation.
pub(super) const PLATFORM_BYTES: u64 = 360;

/// An event of so many bytes.
pub(super) fn event_bytes(line: usize) -> u64 {
    line as u64 + BESIDE
}

/// Counts what would be logged.
#[derive(Debug, Clone, Default)]
pub(super) struct LogMeter {
    bytes: Arc<AtomicU64>,
}

/// Does something and counts what it logs at the level of an installation that changed nothing.
pub(super) fn measured<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, u64), E> {
    let meter = LogMeter::default();
    let done = tracing::subscriber::with_default(meter.clone(), work)?;
    Ok((done, meter.bytes.load(Ordering::Relaxed)))
}

struct Fields(u64);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += field.name().len() as u64 + format!("{value:?}").len() as u64 + OF_FIELD;
    }
}

impl Subscriber for LogMeter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(0);
        event.record(&mut fields);
        self.bytes.fetch_add(FRAME + fields.0 + BESIDE, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_with_all_its_fields_and_only_from_its_level_up() {
        let said = || {
            tracing::debug!("not heard");
            tracing::info!(rollout = "shop", "decision");
            Ok::<(), ()>(())
        };
        let ((), bytes) = measured(said).unwrap();
        // message: decision, rollout: "shop".
        assert_eq!(bytes, FRAME + BESIDE + (7 + 8 + OF_FIELD) + (7 + 6 + OF_FIELD));
    }
}
