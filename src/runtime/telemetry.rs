//! Logs and metrics: where they go and how they look. What they say is decided where it happens.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use thiserror::Error;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::log_file::LogFile;
use crate::config::LogFormat;

/// Buckets of every histogram in seconds: from 100 µs (a query) to 10 minutes (a full read of a directory).
const BUCKETS: [f64; 16] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0,
    600.0,
];

/// The running log and metrics of the process.
#[derive(Debug)]
pub struct Telemetry {
    filter: Mutex<reload::Handle<EnvFilter, Registry>>,
    metrics: PrometheusHandle,
}

/// Where the log goes.
#[derive(Clone, Debug)]
pub enum LogTo {
    /// To stderr, as systemd and people expect.
    Stderr,
    /// Into a file: the terminal shows something else.
    File(LogFile),
    /// Nowhere.
    Nowhere,
}

/// Why telemetry could not be set up or changed.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The level or its directives are not understood.
    #[error("cannot read the log level `{level}`: {reason}")]
    Level {
        /// What was written.
        level: String,
        /// Why it is not a level.
        reason: String,
    },
    /// Something else in the process has already set it up.
    #[error("cannot set up logs and metrics: {0}")]
    Setup(String),
}

impl Telemetry {
    /// Sets up the process-wide log and the metrics registry. Once a process.
    ///
    /// # Errors
    /// The level is not understood, or the process has a log already.
    pub fn start(level: &str, format: LogFormat, to: LogTo) -> Result<Self, TelemetryError> {
        let (filter, handle) = reload::Layer::new(parse(level)?);
        let ansi = matches!(to, LogTo::Stderr)
            && std::io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none();
        let writer = match to {
            LogTo::Stderr => BoxMakeWriter::new(std::io::stderr),
            LogTo::File(file) => BoxMakeWriter::new(file),
            LogTo::Nowhere => BoxMakeWriter::new(std::io::sink),
        };
        let lines: Box<dyn Layer<_> + Send + Sync> = match format {
            LogFormat::Text => tracing_subscriber::fmt::layer()
                .with_ansi(ansi)
                .with_writer(writer)
                .boxed(),
            LogFormat::Json => tracing_subscriber::fmt::layer()
                .json()
                .with_writer(writer)
                .boxed(),
            LogFormat::Journald => tracing_subscriber::fmt::layer()
                .event_format(Journald)
                .with_writer(writer)
                .boxed(),
        };
        let setup = |error: String| TelemetryError::Setup(error);
        tracing_subscriber::registry()
            .with(filter)
            .with(filter_fn(holds_no_keys))
            .with(lines)
            .try_init()
            .map_err(|e| setup(e.to_string()))?;
        let metrics = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|e| setup(e.to_string()))?;
        Ok(Self {
            filter: Mutex::new(handle),
            metrics,
        })
    }

    /// Changes what is logged from now on.
    ///
    /// # Errors
    /// The level is not understood; the one before stays.
    pub fn set_level(&self, level: &str) -> Result<(), TelemetryError> {
        let filter = parse(level)?;
        self.filter
            .lock()
            .reload(filter)
            .map_err(|e| TelemetryError::Setup(e.to_string()))
    }

    /// The metrics page.
    #[must_use]
    pub fn metrics(&self) -> PrometheusHandle {
        self.metrics.clone()
    }
}

/// A level (`info`) or directives (`info,jims::directory=debug`).
///
/// # Errors
/// Says which part is not understood.
pub fn parse(level: &str) -> Result<EnvFilter, TelemetryError> {
    let refused = |error: tracing_subscriber::filter::ParseError| TelemetryError::Level {
        level: level.to_owned(),
        reason: error.to_string(),
    };
    // By itself, so that what is refused is what was written.
    EnvFilter::try_new(level).map_err(refused)?;
    EnvFilter::try_new(format!("{QUIET},{level}")).map_err(refused)
}

/// Libraries whose words count only if a level names them: each of their tries to connect is a line, and what comes of it is
/// told by whoever uses them.
const QUIET: &str = "async_nats=off";

/// Libraries that write keys and passwords into their spans and events, and at the level of errors whole messages of an
/// ordinary refusal. Whatever they have to say comes back as an error value.
const MUTED: [&str; 2] = ["sspi", "picky"];

/// Whether a span or event may be logged at all, whatever directives say: a directive for one module, or for a span's
/// field, would win over one for the whole library.
fn holds_no_keys(metadata: &Metadata<'_>) -> bool {
    !MUTED
        .iter()
        .any(|library| metadata.target().starts_with(library))
}

/// One line an event: the priority as journald reads it (`<6>`), no time, then fields.
struct Journald;

impl<S, N> FormatEvent<S, N> for Journald
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>{}: ", event.metadata().target())?;
        context
            .field_format()
            .format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Buffer {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn journald_lines_begin_with_their_priority_and_carry_no_time() {
        let buffer = Buffer::default();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .event_format(Journald)
            .with_writer(buffer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(port = 514, "port in use");
        });
        let text = String::from_utf8(buffer.0.lock().clone()).expect("text");
        assert_eq!(
            text,
            "<4>jims::runtime::telemetry::tests: port in use port=514\n"
        );
    }

    #[test]
    fn no_directive_brings_keys_out_of_the_security_library() {
        for level in [
            "trace",
            "sspi=trace,picky_krb::crypto=trace",
            "[sign_on]=trace,[{key}]=trace",
        ] {
            let buffer = Buffer::default();
            let layer = tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .event_format(Journald)
                .with_writer(buffer.clone());
            let subscriber = tracing_subscriber::registry()
                .with(parse(level).expect("directives"))
                .with(filter_fn(holds_no_keys))
                .with(layer);
            tracing::subscriber::with_default(subscriber, || {
                let span = tracing::info_span!(target: "sspi::kerberos", "sign_on", key = "k3y");
                let _inside = span.enter();
                tracing::debug!(target: "picky_krb::crypto", key = "k3y");
                tracing::info!(target: "sspi::ntlm", "k3y");
                tracing::trace!(target: "sspi::ntlm", key = "k3y");
                tracing::error!(target: "sspi::ntlm", "refused for k3y");
                tracing::warn!("ours");
            });
            let text = String::from_utf8(buffer.0.lock().clone()).expect("text");
            assert!(!text.contains("k3y"), "{level}: {text}");
            if level == "trace" {
                assert_eq!(text, "<4>jims::runtime::telemetry::tests: ours\n");
            }
        }
    }

    #[test]
    fn a_library_that_repeats_itself_is_heard_only_if_asked() {
        for (level, heard) in [("trace", false), ("warn,async_nats=info", true)] {
            let buffer = Buffer::default();
            let layer = tracing_subscriber::fmt::layer().with_writer(buffer.clone());
            let filter = parse(level).expect("directives");
            let subscriber = tracing_subscriber::registry().with(filter).with(layer);
            tracing::subscriber::with_default(subscriber, || {
                tracing::info!(target: "async_nats", "again");
            });
            assert_eq!(!buffer.0.lock().is_empty(), heard, "{level}");
        }
    }

    #[test]
    fn a_level_that_is_none_is_refused_with_its_text() {
        let error = parse("info,jims=loud").expect_err("no level");
        assert!(
            error
                .to_string()
                .starts_with("cannot read the log level `info,jims=loud`"),
            "{error}"
        );
    }
}
