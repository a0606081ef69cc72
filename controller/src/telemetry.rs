//! The log: one line of JSON for each event, or text for people at a terminal.
//!
//! The keys are those that controller-runtime prints (`ts`, `level`, `msg`, `logger`, `controller`, `namespace`, `name`,
//! `reconcileID`, `error`; `trace_id` where traces are on), so that queries written for other controllers find ours. The log goes to standard error:
//! standard output belongs to what a command prints.

mod otlp;

use std::fmt;
use std::io::IsTerminal as _;

use anyhow::Context as _;
use jiff::Timestamp;
use opentelemetry_sdk::trace::SdkTracer;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::layer::{Identity, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use self::otlp::{TraceIds, Traces};

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// Text.
    Text,
}

/// What is to be done at the end of the process.
#[derive(Debug)]
#[must_use]
pub struct Ending(Option<Traces>);

impl Ending {
    /// Sends the traces that are left. To be called while the runtime lives, and not on it.
    pub fn finish(self) {
        if let Some(traces) = self.0 {
            traces.shut_down();
        }
    }
}

/// Starts logging and, where the environment asks for it, tracing, for the whole process. To be called once. Traces are
/// sent on `runtime`.
///
/// # Errors
/// A level or settings that cannot be followed.
pub fn init(format: LogFormat, level: &str, runtime: &Handle) -> anyhow::Result<Ending> {
    let traces = Traces::start(runtime.clone())?;
    let ids = TraceIds::default();
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let layer = if json {
        json_layer(std::io::stderr, crate::outside::wall, ids.clone()).boxed()
    } else {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr).boxed()
    };
    // Only our own spans: libraries have many, and some hold whole requests.
    // Not an Option: that tells its layer nothing of the dispatcher.
    let spans = match &traces {
        Some(traces) => spans_layer(traces.tracer(), ids).boxed(),
        None => Identity::new().with_filter(LevelFilter::OFF).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter(level)?))
        .with(spans)
        .try_init()
        .context("logging has been started before")?;
    Ok(Ending(traces))
}

/// What a level lets through.
///
/// A plain level beyond `info` is about our own code: of the libraries it shows no more than `info`, since at `debug`
/// they print every request. Who wants that says so with directives, such as `info,kube=debug`.
pub fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let level = level.trim();
    let directives = match level.to_ascii_lowercase().as_str() {
        plain @ ("debug" | "trace") => format!("info,ssm_ready={plain}"),
        plain @ ("off" | "error" | "warn" | "info") => plain.to_owned(),
        _ => level.to_owned(),
    };
    let unknown = || {
        format!(
            "{level:?} is no log level; use error, warn, info, debug or trace, or directives such as info,kube=debug"
        )
    };
    // A bare word that is no level would be taken for the name of a module, and nothing would be logged at all.
    anyhow::ensure!(!level.is_empty() && !directives.split(',').any(is_unknown_word), unknown());
    EnvFilter::builder().parse(directives).with_context(unknown)
}

fn is_unknown_word(directive: &str) -> bool {
    let directive = directive.trim();
    !directive.contains(['=', '[']) && directive.parse::<tracing::level_filters::LevelFilter>().is_err()
}

/// Makes traces of our own spans.
fn spans_layer<S>(tracer: SdkTracer, ids: TraceIds) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .and_then(ids)
        .with_filter(Targets::new().with_target("ssm_ready", Level::INFO))
}

/// Writes each event as one line of JSON.
fn json_layer<S, W>(writer: W, now: fn() -> Timestamp, ids: TraceIds) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer().fmt_fields(JsonFields).event_format(JsonLine { now, ids }).with_writer(writer)
}

/// The fields of a span, kept as a JSON object until an event within the span is written.
#[derive(Debug)]
struct JsonFields;

impl<'writer> FormatFields<'writer> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut collected = Fields::default();
        fields.record(&mut collected);
        writer.write_str(&json(&collected.0)?)
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        let mut collected = Fields(serde_json::from_str(&current.fields).unwrap_or_default());
        fields.record(&mut collected);
        current.fields = json(&collected.0)?;
        Ok(())
    }
}

/// One event as one line of JSON.
#[derive(Debug)]
struct JsonLine {
    now: fn() -> Timestamp,
    ids: TraceIds,
}

#[derive(Serialize)]
struct Line<'a> {
    ts: String,
    level: &'static str,
    msg: String,
    logger: &'a str,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// The keys of a line that no field may take.
const RESERVED: [&str; 4] = ["ts", "level", "msg", "logger"];

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        // From the outermost span to the event: what is nearer to the event wins.
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(formatted) = span.extensions().get::<FormattedFields<JsonFields>>() {
                fields.0.extend(serde_json::from_str::<Map<String, Value>>(&formatted.fields).unwrap_or_default());
            }
        }
        // What is for traces only.
        fields.0.retain(|key, _| !key.starts_with("otel."));
        if let Some(trace) = context.lookup_current().and_then(|span| self.ids.of(&span.id())) {
            fields.0.insert("trace_id".to_owned(), trace.into());
        }
        // A span's own `message` field is not the event's message.
        fields.0.remove("message");
        event.record(&mut fields);
        let msg = match fields.0.remove("message") {
            Some(Value::String(message)) => message,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        for key in RESERVED {
            if let Some(value) = fields.0.remove(key) {
                fields.0.insert(format!("{key}_"), value);
            }
        }
        let metadata = event.metadata();
        let line = Line {
            ts: format!("{:.3}", (self.now)()),
            level: level_name(metadata.level()),
            msg,
            logger: metadata.target(),
            fields: fields.0,
        };
        writeln!(writer, "{}", json(&line)?)
    }
}

fn level_name(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn json(value: &impl Serialize) -> Result<String, fmt::Error> {
    serde_json::to_string(value).map_err(|_| fmt::Error)
}

/// Fields by name, each with the nearest type that JSON has.
#[derive(Debug, Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        self.0.insert(name.strip_prefix("r#").unwrap_or(name).to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    /// An error with what caused it, on one line.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        self.put(field, text);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is logged in `work` at this level, line by line.
    fn logged(level: &str, work: impl FnOnce()) -> Vec<String> {
        let captured = Captured::default();
        let writer = captured.clone();
        let now = || Timestamp::from_second(1_700_000_000).unwrap();
        let layer = json_layer(move || writer.clone(), now, TraceIds::default()).with_filter(filter(level).unwrap());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    fn parsed(work: impl FnOnce()) -> Value {
        let lines = logged("info", work);
        assert_eq!(lines.len(), 1, "{lines:?}");
        serde_json::from_str(&lines[0]).unwrap()
    }

    #[test]
    fn a_line_has_the_keys_of_controller_runtime() {
        let line = parsed(|| {
            let span = tracing::info_span!(
                "reconcile",
                controller = "vpcposture",
                namespace = "net",
                name = "a",
                region = tracing::field::Empty
            );
            let _entered = span.enter();
            span.record("region", "eu-central-1");
            let cause = std::io::Error::other("no route to host");
            let call = tracing::info_span!("call", account = "111122223333");
            call.in_scope(|| {
                tracing::error!(reconcileID = %"7f3a", error = %cause, attempt = 3, late = true, "could not \"read\"\nendpoints");
            });
        });
        let expected = serde_json::json!({
            "ts": "2023-11-14T22:13:20.000Z",
            "level": "error",
            "msg": "could not \"read\"\nendpoints",
            "logger": "ssm_ready::telemetry::tests",
            "controller": "vpcposture",
            "namespace": "net",
            "name": "a",
            "region": "eu-central-1",
            "account": "111122223333",
            "reconcileID": "7f3a",
            "error": "no route to host",
            "attempt": 3,
            "late": true,
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn a_line_begins_with_when_how_grave_and_what() {
        let lines = logged("info", || tracing::warn!(account = "1", "brake held"));
        let start = r#"{"ts":"2023-11-14T22:13:20.000Z","level":"warn","msg":"brake held","logger":"#;
        assert!(lines[0].starts_with(start), "{}", lines[0]);
    }

    #[test]
    fn fields_never_hide_the_line_s_own_keys_and_the_nearest_span_wins() {
        let line = parsed(|| {
            let _outer = tracing::info_span!("outer", name = "outer", message = "of a span").entered();
            let _inner = tracing::info_span!("inner", name = "inner").entered();
            tracing::info!(level = 7, ts = "x", r#type = "Ready", ratio = f64::NAN, "hello");
        });
        for (key, expected) in [
            ("name", Value::from("inner")),
            ("msg", Value::from("hello")),
            ("level", Value::from("info")),
            ("level_", Value::from(7)),
            ("ts_", Value::from("x")),
            ("type", Value::from("Ready")),
            ("ratio", Value::Null),
            ("message", Value::Null),
        ] {
            assert_eq!(line[key], expected, "{key} in {line}");
        }
        let line = parsed(|| {
            let _span = tracing::info_span!("span", message = "of a span").entered();
            tracing::info!(count = 1);
        });
        assert_eq!((&line["msg"], &line["count"]), (&Value::from(""), &Value::from(1)));
    }

    #[test]
    fn an_error_brings_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("failed to apply the plan")]
        struct Outer(#[source] std::io::Error);

        let error = Outer(std::io::Error::other("reset"));
        let line = parsed(|| tracing::error!(error = &error as &dyn std::error::Error, "later"));
        assert_eq!(line["error"], "failed to apply the plan: reset");
    }

    #[test]
    fn a_level_is_about_our_own_code() {
        let cases: [(&str, &[&str]); 7] = [
            ("error", &["our error"]),
            ("info", &["our error", "our info", "their info"]),
            ("INFO", &["our error", "our info", "their info"]),
            ("debug", &["our error", "our info", "our debug", "their info"]),
            ("trace", &["our error", "our info", "our debug", "their info"]),
            ("warn,hyper=debug", &["our error", "their info", "their debug"]),
            ("off", &[]),
        ];
        for (level, expected) in cases {
            let lines = logged(level, || {
                tracing::error!(target: "ssm_ready::run", "our error");
                tracing::info!(target: "ssm_ready_cloud::session", "our info");
                tracing::debug!(target: "ssm_ready_core", "our debug");
                tracing::info!(target: "hyper::client", "their info");
                tracing::debug!(target: "hyper::client", "their debug");
            });
            let seen: Vec<String> = lines
                .iter()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()["msg"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(seen, expected, "{level}");
        }
    }

    #[test]
    fn what_is_no_level_is_refused_with_advice() {
        for level in ["", "loud", "info,chatty", "kube=loud"] {
            let error = format!("{:#}", filter(level).unwrap_err());
            assert!(error.contains("use error, warn, info, debug or trace"), "{level:?}: {error}");
        }
    }
}
