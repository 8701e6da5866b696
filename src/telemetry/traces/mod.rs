//! Traces of the control plane's work: reloads, publications, overrides and failbacks. A span says how long a step took
//! and what came of it. The steps of one reload are one trace.
//!
//! The code makes spans of `tracing` with the target [`WORK`]. They cost next to nothing unless they are exported. With
//! the cargo feature `otel` they are sent to an OpenTelemetry collector by OTLP over HTTP. As usual with OpenTelemetry
//! the environment says where to and how; nothing is sent without [`ENDPOINTS`].
//!
//! Nothing waits for the collector: spans that it does not take are dropped.

#[cfg(feature = "otel")]
mod export;
#[cfg(feature = "otel")]
mod otlp_connection;

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

/// The target of all spans.
pub(crate) const WORK: &str = "portolan::work";

/// A count as the value of a field. OpenTelemetry has signed integers only, and other ones become texts.
pub(crate) fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// Each of these environment variables switches the export on (OpenTelemetry, OTLP exporter configuration).
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Whether the environment wants traces to be exported.
fn is_wanted() -> bool {
    let value = |name: &str| std::env::var(name).unwrap_or_default();
    let is_off = value("OTEL_SDK_DISABLED").eq_ignore_ascii_case("true") || value("OTEL_TRACES_EXPORTER") == "none";
    !is_off && ENDPOINTS.iter().any(|name| !value(name).is_empty())
}

/// Takes the spans of the process, if the environment wants that. Made once, at the start of the log.
pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync>() -> Option<Box<dyn Layer<S> + Send + Sync>> {
    if !is_wanted() {
        return None;
    }
    #[cfg(feature = "otel")]
    return Some(export::layer());
    #[cfg(not(feature = "otel"))]
    None
}

/// Sends the spans until `stop`, then those that are left. Returns at once where nothing is to be sent; a log line says
/// why, if the environment wants it.
pub(crate) async fn send(node: String, stop: tokio_util::sync::CancellationToken) {
    if !is_wanted() {
        return;
    }
    #[cfg(feature = "otel")]
    export::send(&node, &stop).await;
    #[cfg(not(feature = "otel"))]
    {
        let _ = (node, stop);
        let [first, second] = ENDPOINTS;
        tracing::warn!("{first} or {second} is set, but this program is built without the cargo feature otel");
    }
}
