//! Takes spans as a collector does, and keeps them to look at.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use farewell_runtime::server;
use farewell_runtime::shutdown::Shutdown;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::{Request, Response, Status};

/// A running collector. It ends when it is dropped.
#[derive(Debug)]
pub struct Collector {
    /// For `otlp_endpoint`.
    pub endpoint: String,
    kept: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    shutdown: Shutdown,
}

#[derive(Debug)]
struct Sink(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens on loopback.
    pub async fn start() -> Result<Self> {
        let bound = server::bind(([127, 0, 0, 1], 0).into()).await?;
        let endpoint = format!("http://{}", bound.addr);
        let kept = Arc::new(Mutex::new(Vec::new()));
        let shutdown = Shutdown::new();
        let router =
            server::builder().add_service(TraceServiceServer::new(Sink(Arc::clone(&kept))));
        let end = shutdown.clone();
        shutdown.spawn(async move {
            let served = router
                .serve_with_incoming_shutdown(bound.incoming, async move { end.wait().await });
            if let Err(error) = served.await {
                eprintln!("the collector failed: {error:?}");
            }
        });
        Ok(Self {
            endpoint,
            kept,
            shutdown,
        })
    }

    /// Every span that has arrived.
    pub fn spans(&self) -> Vec<Span> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let resources = kept.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes
            .flat_map(|scope| scope.spans.iter().cloned())
            .collect()
    }

    /// Everything that has arrived, as text to search: resources, names, attributes, events, links.
    pub fn text(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{kept:?}")
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

/// `traceparent` of a span.
pub fn traceparent(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

/// Bytes as a `traceparent` spells them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
