//! Logs to stderr always; traces to a collector if one is configured.
//!
//! A deletion lives for weeks, so no span stays open for it: each activity is a short trace of its
//! own with a *link* to what caused it. What travels, in metadata, in messages and in the ledger,
//! is a W3C `traceparent` as text; it is empty when there is nothing to point at, and every helper
//! here takes the empty text and does nothing. Without a collector no span is ever built.

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId, global,
    trace::{SpanContext, TraceContextExt, TraceState, TracerProvider as _},
};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use serde::Deserialize;
use tonic::{codegen::http::Uri, metadata::MetadataMap};
use tracing::{Span, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::{Problem, Validate};

/// The metadata key of the W3C trace context.
pub const TRACEPARENT: &str = "traceparent";

/// How long the end of a process waits for the last spans. A collector that is down must not keep a
/// process from ending within its grace period.
pub const FLUSH_MAX: Duration = Duration::from_secs(3);

/// `00-` + 32 hex + `-` + 16 hex + `-` + 2 hex.
const TRACEPARENT_BYTES: usize = 55;

/// What is told, and to whom.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where spans go, for example `http://127.0.0.1:4317`. None: no spans are built.
    pub otlp_endpoint: Option<String>,
    /// Which log lines are written, as `tracing_subscriber::EnvFilter` spells it.
    pub log: String,
    /// One JSON object per line instead of text.
    pub json: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            log: "info".into(),
            json: false,
        }
    }
}

impl Validate for Config {
    fn problems(&self, out: &mut Vec<Problem>) {
        if let Err(error) = EnvFilter::try_new(&self.log) {
            out.push(Problem::new("log", format!("not a log filter: {error}")));
        }
        if let Some(endpoint) = &self.otlp_endpoint
            && !is_collector(endpoint)
        {
            out.push(Problem::new(
                "otlp_endpoint",
                "must be http://host:port (gRPC); use a local collector to leave the machine",
            ));
        }
    }
}

/// Keeps telemetry alive. Dropping it sends the last spans, for at most [`FLUSH_MAX`].
#[must_use = "dropping the guard ends the export of spans"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_MAX)
        {
            tracing::warn!(%error, "the last spans may be lost");
        }
    }
}

/// Starts logging and, if configured, tracing. Once per process, inside the runtime: the exporter's
/// connection lives on it.
///
/// `instance` tells replicas apart (`service.instance.id`).
///
/// # Errors
/// A filter or endpoint that cannot be used, no runtime, or telemetry that already runs.
pub fn init(service: &'static str, instance: &str, config: &Config) -> anyhow::Result<Guard> {
    let filter = EnvFilter::try_new(&config.log)
        .with_context(|| format!("`{}` is not a log filter", config.log))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if config.json {
        lines.json().boxed()
    } else {
        lines.boxed()
    };
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> =
        vec![lines.with_filter(filter).boxed()];

    let provider = match &config.otlp_endpoint {
        Some(endpoint) => Some(exporter(service, instance, endpoint)?),
        None => None,
    };
    if let Some(provider) = &provider {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("farewell"));
        // A filter of its own: quieter logs must not mean fewer spans.
        layers.push(layer.with_filter(exported()).boxed());
    }
    tracing_subscriber::registry()
        .with(layers)
        .try_init()
        .context("telemetry already runs")?;
    // Global things last, after everything that can fail.
    global::set_text_map_propagator(TraceContextPropagator::new());
    if let Some(provider) = &provider {
        global::set_tracer_provider(provider.clone());
    }
    Ok(Guard { provider })
}

fn exporter(
    service: &'static str,
    instance: &str,
    endpoint: &str,
) -> anyhow::Result<SdkTracerProvider> {
    anyhow::ensure!(
        is_collector(endpoint),
        "`{endpoint}` is not http://host:port"
    );
    tokio::runtime::Handle::try_current().context("the exporter of spans needs a runtime")?;
    crate::tls::install_provider();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .with_context(|| format!("cannot export spans to {endpoint}"))?;
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// Spans of ours. The transport under the exporter must not be exported: each export would cause
/// the next one.
fn exported() -> Targets {
    Targets::new().with_default(LevelFilter::INFO).with_targets(
        [
            "h2",
            "hyper",
            "hyper_util",
            "tonic",
            "tower",
            "opentelemetry",
            "opentelemetry_sdk",
            "opentelemetry_otlp",
        ]
        .map(|target| (target, LevelFilter::OFF)),
    )
}

/// TLS to a collector is left to a collector on this machine, which every production set-up has;
/// the exporter knows no authority of its own.
fn is_collector(endpoint: &str) -> bool {
    endpoint.parse::<Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// The span as a `traceparent`; empty when it is not exported, so that nobody points at a span that
/// no collector will ever have.
///
/// Asking starts the span, so give it its [`parent`] before.
#[must_use]
pub fn traceparent_of(span: &Span) -> String {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() || !span.is_sampled() {
        return String::new();
    }
    format!(
        "00-{}-{}-{:02x}",
        span.trace_id(),
        span.span_id(),
        span.trace_flags().to_u8()
    )
}

/// What a `traceparent` points at. None unless it is exactly version 00 of the W3C format: it comes
/// from outside and goes into the ledger.
#[must_use]
pub fn context_from(traceparent: &str) -> Option<Context> {
    Some(Context::new().with_remote_span_context(remote(traceparent)?))
}

/// Makes `span` part of the trace that `traceparent` belongs to. Only works on a span that has not
/// started: not entered, no child, not asked for its own `traceparent`.
pub fn parent(span: &Span, traceparent: &str) {
    if let Some(context) = context_from(traceparent) {
        // Fails for a span that is not exported, which is the usual case without a collector.
        let _ = span.set_parent(context);
    }
}

/// Says that `span` was caused by what `traceparent` points at, without being part of it.
pub fn link(span: &Span, traceparent: &str) {
    if let Some(cause) = remote(traceparent) {
        span.add_link(cause);
    }
}

/// The `traceparent` of a call, or empty if there is none, more than one, or one that is malformed.
#[must_use]
pub fn traceparent_in(metadata: &MetadataMap) -> String {
    let mut values = metadata.get_all(TRACEPARENT).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(value)), None) if remote(value).is_some() => value.to_owned(),
        _ => String::new(),
    }
}

fn remote(traceparent: &str) -> Option<SpanContext> {
    let bytes = traceparent.as_bytes();
    if bytes.len() != TRACEPARENT_BYTES
        || !bytes
            .iter()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'))
    {
        return None;
    }
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lengths = (version.len(), trace.len(), span.len(), flags.len());
    if version != "00" || lengths != (2, 32, 16, 2) || parts.next().is_some() {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}
