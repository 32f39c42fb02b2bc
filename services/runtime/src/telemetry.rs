//! Logs to stderr always; traces to a collector if one is configured.
//!
//! A deletion lives for weeks, so no span stays open for it: each activity is a short trace of its
//! own with a *link* to what caused it. What travels, in metadata, in messages and in the ledger,
//! is a W3C `traceparent` as text; it is empty when there is nothing to point at, and every helper
//! here takes the empty text and does nothing. Without a collector no span is ever built.

use std::io::IsTerminal as _;
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
    let (layers, provider) = assemble(service, instance, config)?;
    tracing_subscriber::registry()
        .with(layers)
        .try_init()
        .context("telemetry already runs")?;
    global::set_text_map_propagator(TraceContextPropagator::new());
    Ok(Guard { provider })
}

type Layers = Vec<Box<dyn Layer<Registry> + Send + Sync>>;

/// Everything but the global part, of which a process has only one.
fn assemble(
    service: &'static str,
    instance: &str,
    config: &Config,
) -> anyhow::Result<(Layers, Option<SdkTracerProvider>)> {
    let filter = EnvFilter::try_new(&config.log)
        .with_context(|| format!("`{}` is not a log filter", config.log))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = if config.json {
        lines.json().boxed()
    } else {
        lines.boxed()
    };
    let mut layers: Layers = vec![lines.with_filter(filter).boxed()];

    let Some(endpoint) = &config.otlp_endpoint else {
        return Ok((layers, None));
    };
    let provider = exporter(service, instance, endpoint)?;
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("farewell"));
    // A filter of its own: quieter logs must not mean fewer spans.
    layers.push(spans.with_filter(exported()).boxed());
    Ok((layers, Some(provider)))
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

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        future::Future,
        sync::{Arc, Mutex},
        task::{Context as Poller, Poll},
    };

    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{Sampler, SpanData, SpanExporter},
    };
    use tonic::{body::Body, codegen::Service, codegen::http, server::NamedService};
    use tracing::subscriber::{NoSubscriber, set_default, with_default};

    use super::*;
    use crate::{server, shutdown::Shutdown};

    const CAUSE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn tracing_to(provider: &SdkTracerProvider) -> impl tracing::Subscriber + Send + Sync + use<> {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing_subscriber::registry().with(layer.with_filter(exported()))
    }

    /// Keeps finished spans.
    #[derive(Clone, Debug, Default)]
    struct Memory(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Memory {
        async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(spans);
            Ok(())
        }
    }

    fn in_memory() -> (Memory, SdkTracerProvider) {
        let exporter = Memory::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        (exporter, provider)
    }

    #[test]
    fn without_a_collector_there_is_nothing_to_point_at() {
        let (layers, provider) = assemble("test", "1", &Config::default()).unwrap();
        assert!(provider.is_none());
        with_default(tracing_subscriber::registry().with(layers), || {
            let span = tracing::info_span!("leg");
            parent(&span, CAUSE);
            link(&span, CAUSE);
            assert_eq!(traceparent_of(&span), "");
        });
        with_default(NoSubscriber::new(), || {
            assert_eq!(traceparent_of(&Span::current()), "")
        });
    }

    #[test]
    fn a_span_joins_its_parent_and_points_at_its_cause() {
        let (exporter, provider) = in_memory();
        let told = with_default(tracing_to(&provider), || {
            let span = tracing::info_span!("leg");
            parent(&span, CAUSE);
            link(
                &span,
                "00-00000000000000000000000000000001-0000000000000002-00",
            );
            link(&span, "");
            link(&span, "nonsense");
            traceparent_of(&span)
        });
        let spans = exporter.0.lock().unwrap().clone();
        assert_eq!(spans.len(), 1);
        let told = remote(&told).unwrap();
        assert_eq!(spans[0].span_context.span_id(), told.span_id());
        assert_eq!(told.trace_id(), remote(CAUSE).unwrap().trace_id());
        assert_eq!(spans[0].parent_span_id, remote(CAUSE).unwrap().span_id());
        assert_eq!(spans[0].links.len(), 1);
        assert_eq!(spans[0].links[0].span_context.span_id(), SpanId::from(2));
    }

    #[test]
    fn a_span_that_nobody_keeps_is_not_pointed_at() {
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::AlwaysOff)
            .build();
        with_default(tracing_to(&provider), || {
            assert_eq!(traceparent_of(&tracing::info_span!("leg")), "");
        });
    }

    #[test]
    fn a_request_carries_the_span_it_is_made_in() {
        let (_, provider) = in_memory();
        with_default(tracing_to(&provider), || {
            let span = tracing::info_span!("leg");
            let _entered = span.enter();
            let request = crate::client::request((), Duration::from_secs(1));
            assert_eq!(traceparent_in(request.metadata()), traceparent_of(&span));
            assert!(!traceparent_of(&span).is_empty());
        });
    }

    #[test]
    fn only_the_exact_format_is_read() {
        assert!(context_from(CAUSE).is_some());
        for text in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0\u{e9}",
        ] {
            assert!(context_from(text).is_none(), "{text}");
        }
    }

    #[test]
    fn two_traceparents_are_none() {
        let mut metadata = MetadataMap::new();
        assert_eq!(traceparent_in(&metadata), "");
        metadata.insert(TRACEPARENT, CAUSE.parse().unwrap());
        assert_eq!(traceparent_in(&metadata), CAUSE);
        metadata.append(TRACEPARENT, CAUSE.parse().unwrap());
        assert_eq!(traceparent_in(&metadata), "");
        metadata.insert(TRACEPARENT, "nonsense".parse().unwrap());
        assert_eq!(traceparent_in(&metadata), "");
    }

    #[test]
    fn a_bad_configuration_is_told_before_it_is_used() {
        let config = Config {
            otlp_endpoint: Some("https://collector:4317".into()),
            log: "info,=,".into(),
            ..Config::default()
        };
        let mut problems = Vec::new();
        config.problems(&mut problems);
        let keys: Vec<&str> = problems
            .iter()
            .map(|problem| problem.key.as_str())
            .collect();
        assert_eq!(keys, ["log", "otlp_endpoint"]);
        assert!(assemble("test", "1", &config).is_err());
        let mut problems = Vec::new();
        Config::default().problems(&mut problems);
        assert_eq!(problems, []);
    }

    #[test]
    fn an_exporter_outside_a_runtime_is_an_error_and_no_panic() {
        let config = Config {
            otlp_endpoint: Some("http://127.0.0.1:1".into()),
            ..Config::default()
        };
        assert!(assemble("test", "1", &config).is_err());
    }

    /// Keeps the bytes of what is exported.
    #[derive(Clone, Default)]
    struct Collector(Arc<Mutex<Vec<u8>>>);

    impl NamedService for Collector {
        const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
    }

    impl Service<http::Request<Body>> for Collector {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future =
            std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let kept = self.0.clone();
            Box::pin(async move {
                let mut body = std::pin::pin!(request.into_body());
                while let Some(Ok(frame)) = std::future::poll_fn(|poller| {
                    tonic::codegen::Body::poll_frame(body.as_mut(), poller)
                })
                .await
                {
                    if let Ok(data) = frame.into_data() {
                        kept.lock().unwrap().extend_from_slice(&data);
                    }
                }
                // The answer does not matter: the end of the process would not wait for a retry.
                Ok(tonic::Status::invalid_argument("thanks").into_http())
            })
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_last_spans_leave_before_the_process_ends() {
        let shutdown = Shutdown::new();
        let collector = Collector::default();
        let bound = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let router = server::builder().add_service(collector.clone());
        let token = shutdown.token();
        shutdown.spawn(async move {
            router
                .serve_with_incoming_shutdown(bound.incoming, token.cancelled())
                .await
        });

        // The log is quiet, the spans are not.
        let config = Config {
            otlp_endpoint: Some(format!("http://{}", bound.addr)),
            log: "error".into(),
            json: true,
        };
        let (layers, provider) = assemble("coordinator", "replica-7", &config).unwrap();
        let guard = Guard { provider };
        {
            let _default = set_default(tracing_subscriber::registry().with(layers));
            drop(tracing::info_span!("erase-the-leg"));
        }
        drop(guard);
        let kept = collector.0.lock().unwrap().clone();
        for text in ["erase-the-leg", "coordinator", "replica-7"] {
            assert!(
                kept.windows(text.len())
                    .any(|window| window == text.as_bytes()),
                "{text}"
            );
        }
        shutdown.trigger();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_collector_that_is_silent_does_not_hold_up_the_end() {
        // Accepts connections, because the kernel does, and never says anything.
        let silent = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let config = Config {
            otlp_endpoint: Some(format!("http://{}", silent.addr)),
            ..Config::default()
        };
        let (layers, provider) = assemble("coordinator", "1", &config).unwrap();
        let guard = Guard { provider };
        {
            let _default = set_default(tracing_subscriber::registry().with(layers));
            drop(tracing::info_span!("lost"));
        }
        let started = std::time::Instant::now();
        drop(guard);
        assert!(
            // Less than the ten seconds that nobody has asked for.
            started.elapsed() < FLUSH_MAX + Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }
}
