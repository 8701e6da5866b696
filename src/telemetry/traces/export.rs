//! Exports spans by OTLP over HTTP. The spans wait in a bounded queue. A task of the daemon sends them, so no thread is
//! made before the process has dropped its privileges.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::WORK;
use super::otlp_connection::OtlpConnection;

/// Most spans that wait (the default of OpenTelemetry's batch processor). One has about 1 KiB.
const MAX_WAITING: usize = 2048;

/// Most spans of one message (the default of OpenTelemetry).
const MAX_BATCH: usize = 512;

/// How long spans are collected for one message. Judgment: a person looks at a trace after some seconds.
const COLLECT_FOR: Duration = Duration::from_secs(1);

/// How long the spans that are left may take at the end (judgment: a stop must not wait for a collector).
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// The end of the queue that the task of the daemon takes.
static WAITING: OnceLock<Mutex<Option<mpsc::Receiver<SpanData>>>> = OnceLock::new();

/// Spans that found no room in the queue, or that the collector did not take.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Puts the spans into the queue. The provider of the tracer lives as long as the process.
pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync>() -> Box<dyn Layer<S> + Send + Sync> {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let _ = WAITING.set(Mutex::new(Some(receiver)));
    let provider = SdkTracerProvider::builder().with_span_processor(Queue(sender)).build();
    let tracer = provider.tracer("portolan");
    // Dropping the last provider would end the queue.
    mem::forget(provider);
    let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false);
    Box::new(layer.with_target(false).with_filter(Targets::new().with_target(WORK, LevelFilter::INFO)))
}

#[derive(Debug)]
struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.0.try_send(span).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// What a trace says of the server. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` go before it.
fn resource(node: &str) -> Resource {
    let own = Resource::builder_empty()
        .with_service_name("portolan")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", node.to_owned()))
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match std::env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => own.with_service_name(name).build(),
        Ok(_) | Err(_) => own.build(),
    }
}

/// Sends what waits, once a second, until `stop`.
pub(super) async fn send(node: &str, stop: &CancellationToken) {
    let taken = WAITING.get().and_then(|waiting| waiting.lock().unwrap_or_else(PoisonError::into_inner).take());
    let Some(mut waiting) = taken else { return };
    let built = SpanExporter::builder().with_http().with_http_client(OtlpConnection::default()).build();
    let mut exporter = match built {
        Ok(exporter) => exporter,
        Err(error) => {
            tracing::error!(%error, "no traces are exported: an environment variable OTEL_EXPORTER_OTLP_* is wrong");
            return;
        }
    };
    exporter.set_resource(&resource(node));
    let mut outcome = Outcome::default();
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            // The other steps of this work end soon too.
            _ = waiting.recv_many(&mut batch, MAX_BATCH) => if batch.len() < MAX_BATCH {
                let _ = tokio::time::timeout(COLLECT_FOR, stop.cancelled()).await;
            },
            () = stop.cancelled() => {}
        }
        while batch.len() < MAX_BATCH
            && let Ok(span) = waiting.try_recv()
        {
            batch.push(span);
        }
        if stop.is_cancelled() {
            if !batch.is_empty() {
                let _ = tokio::time::timeout(LAST_WITHIN, exporter.export(batch)).await;
            }
            return;
        }
        let spans = batch.len() as u64;
        outcome.take_note(exporter.export(batch).await, spans);
    }
}

/// What the log has of the collector: a line when it fails, and one when it works again.
#[derive(Debug, Default)]
struct Outcome {
    has_failed: bool,
}

impl Outcome {
    fn take_note(&mut self, result: OTelSdkResult, spans: u64) {
        match result {
            Ok(()) if self.has_failed => {
                let dropped = DROPPED.swap(0, Ordering::Relaxed);
                tracing::info!(dropped, "the collector of traces takes spans again; some were dropped");
                self.has_failed = false;
            }
            Ok(()) => {}
            Err(error) => {
                DROPPED.fetch_add(spans, Ordering::Relaxed);
                if !mem::replace(&mut self.has_failed, true) {
                    tracing::warn!(%error, "the collector of traces takes no spans; they are dropped until it does");
                }
            }
        }
    }
}
