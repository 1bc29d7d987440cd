//! The log: lines of JSON, and in each of them by which invocation it was written.

use std::fmt;

use serde_json::{Value, json};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

/// The name of the span that has the ids.
const INVOCATION: &str = "invocation";
/// The runtime's own, in which it logs a panic or an error that was answered.
const OF_RUNTIME: &str = "Lambda runtime invoke";

/// The root of X-Ray's header, which is what X-Ray, and a search of its traces, call the trace.
#[must_use]
pub fn trace_id(header: &str) -> Option<&str> {
    header.split(';').find_map(|part| part.trim().strip_prefix("Root="))
}

/// The fields of the runtime's span under our names.
fn of_runtime(fields: &str) -> Option<String> {
    let fields: Value = serde_json::from_str(fields).ok()?;
    let mut ids = json!({ "request_id": fields.get("requestId")? });
    if let Some(trace) = fields.get("xrayTraceId").and_then(Value::as_str).and_then(trace_id) {
        ids["trace_id"] = trace.into();
    }
    Some(ids.to_string())
}

/// The span of an invocation. All that is logged inside has its ids.
#[must_use]
pub fn invocation(request_id: &str, trace_id: Option<&str>) -> Span {
    // As an error: whoever wants errors alone wants to know whose they are.
    tracing::error_span!(target: "canary_gate", INVOCATION, request_id, trace_id)
}

/// Logs what is wanted from now on: a level, or levels by module. What can't be read as that is taken for `info`.
pub fn begin(wanted: &str) {
    let wanted = wanted.replace(' ', "").parse::<Targets>();
    let wanted = wanted.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    tracing_subscriber::registry().with(lines()).with(wanted).init();
}

/// Writes events as lines of JSON to standard output.
fn lines<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    tracing_subscriber::fmt::layer().fmt_fields(JsonFields::new()).event_format(Lines::default())
}

/// Lines with the fields of the invocation's span beside the event's own: CloudWatch Logs Insights and filters find
/// `request_id` there, whatever other spans lie between.
struct Lines(Format<Json>);

impl Default for Lines {
    fn default() -> Self {
        let format = tracing_subscriber::fmt::format().json();
        Self(format.flatten_event(true).with_current_span(false).with_span_list(false))
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let fields_of = |name: &str| {
            let span = context.event_scope()?.find(|span| span.name() == name)?;
            let fields = span.extensions().get::<FormattedFields<N>>()?.fields.clone();
            Some(fields)
        };
        let fields = fields_of(INVOCATION).or_else(|| of_runtime(&fields_of(OF_RUNTIME)?));
        let ids = fields.as_deref().and_then(|fields| fields.strip_prefix('{')?.strip_suffix('}'));
        match (ids.filter(|ids| !ids.is_empty()), line.strip_prefix('{')) {
            (Some(ids), Some(rest)) => writeln!(writer, "{{{ids},{}", rest.trim_end()),
            _ => writer.write_str(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::prelude::*;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Memory {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn written(act: impl FnOnce()) -> Vec<Value> {
        let memory = Memory::default();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(Lines::default())
            .with_writer(memory.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act);
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn every_line_of_an_invocation_has_its_ids_beside_its_own_fields() {
        let lines = written(|| {
            invocation("r-1", Some("1-a-b")).in_scope(|| {
                tracing::info!(rollout = "shop", "decision");
                tracing::info_span!("inner", request_id = "of somebody else")
                    .in_scope(|| tracing::warn!("inside"));
            });
            tracing::info!("outside");
        });
        let ids = |line: &Value| (line["request_id"].clone(), line["trace_id"].clone());
        assert_eq!(lines.len(), 3);
        assert_eq!((ids(&lines[0]), &lines[0]["rollout"]), ((json!("r-1"), json!("1-a-b")), &json!("shop")));
        assert_eq!(
            (ids(&lines[1]), &lines[1]["message"]),
            ((json!("r-1"), json!("1-a-b")), &json!("inside"))
        );
        assert_eq!((ids(&lines[2]), &lines[2]["level"]), ((Value::Null, Value::Null), &json!("INFO")));
    }

    #[test]
    fn what_the_runtime_says_of_an_invocation_has_its_ids_too() {
        let lines = written(|| {
            let header = "Root=1-a-b;Parent=0000000000000001;Sampled=0";
            tracing::info_span!("Lambda runtime invoke", requestId = "r-3", xrayTraceId = header).in_scope(
                || {
                    tracing::error!("panicked");
                    invocation("r-3", trace_id(header)).in_scope(|| tracing::info!("inside"));
                },
            );
        });
        for line in &lines {
            assert_eq!((&line["request_id"], &line["trace_id"]), (&json!("r-3"), &json!("1-a-b")), "{line}");
        }
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn an_invocation_without_a_trace_has_its_request_alone() {
        let lines = written(|| invocation("r \"2\"", None).in_scope(|| tracing::error!("failed")));
        assert_eq!((&lines[0]["request_id"], lines[0].get("trace_id")), (&json!("r \"2\""), None));
    }
}
