//! The desk's port.

use std::net::SocketAddr;

use anyhow::Context as _;
use farewell_interpreter::Interpreter;
use farewell_proto::support::v1::support_service_server::SupportServiceServer;
use farewell_runtime::handshake;
use farewell_runtime::server::{self, MESSAGE_BYTES_MAX, Security};
use farewell_runtime::shutdown::Shutdown;
use tokio::task::JoinHandle;

use crate::desk::Desk;
use crate::sentences;
use crate::service::Service;

/// Opens the port and serves until `shutdown`.
///
/// Errors: the address is taken, or the certificates can't be used.
pub(crate) async fn open(
    desk: Desk,
    listen: SocketAddr,
    security: &Security,
    shutdown: Shutdown,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let bound = server::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<SupportServiceServer<Service>>().await;
    let guarded = bound.guarded(security, handshake::GRPC)?;
    let router = server::builder()
        .add_service(health_service)
        .add_service(Interpreter::before(
            SupportServiceServer::new(Service::new(desk))
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            &sentences::CATALOGUE,
        ));
    tracing::info!(desk = %guarded.addr, "the support desk is open");
    let end = shutdown.clone();
    Ok(shutdown.spawn(async move {
        let served = guarded.serve(router, end.wait()).await;
        served.context("the desk's listener failed")
    }))
}
