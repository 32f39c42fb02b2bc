//! Phones for themselves and companion phones for their watches: `DeviceService.Attach`.

use std::time::Duration;

use async_trait::async_trait;
use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::attach_request::Message as Up;
use farewell_proto::device::v1::attach_response::Message as Down;
use farewell_proto::device::v1::device_service_client::DeviceServiceClient;
use farewell_runtime::client;
use farewell_runtime::server::Security;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Code, Streaming};

use super::link::{Heard, Link, NoLink};

/// Reports that wait for the agent.
const REPORTS_MAX: usize = 16;
/// How long an attachment may take, waiting for a busy agent included.
const OPEN_WAIT: Duration = Duration::from_secs(30);

/// A session as one phone, for itself or for a watch.
pub(super) struct AttachLink {
    endpoint: Endpoint,
    attached: String,
    /// For a watch that the phone is the companion of.
    relays: bool,
    session: Option<Session>,
}

struct Session {
    up: mpsc::Sender<wire::AttachRequest>,
    down: Streaming<wire::AttachResponse>,
}

impl AttachLink {
    /// A link that shows the certificate of the phone `attached`, which speaks for itself or relays for a watch.
    pub fn new(
        agent: &str,
        security: &Security,
        attached: &str,
        relays: bool,
    ) -> anyhow::Result<Self> {
        let endpoint = client::endpoint(agent, security)?;
        Ok(Self {
            endpoint,
            attached: format!("devices/{attached}"),
            relays,
            session: None,
        })
    }

    async fn attach(&self, sync: wire::SyncEnvelope) -> Result<Session, NoLink> {
        // A new connection each time: a device that was reset has no old one.
        let channel = self.endpoint.connect().await.map_err(|_| NoLink::Away)?;
        let attachment = if self.relays {
            let own = wire::Sync {
                device: self.attached.clone(),
                ..wire::Sync::default()
            };
            wire::Attachment {
                device: Some(wire::SyncEnvelope {
                    sync: Some(wire::sync_envelope::Sync::Plain(own)),
                }),
                relayed: vec![sync],
            }
        } else {
            wire::Attachment {
                device: Some(sync),
                relayed: Vec::new(),
            }
        };
        let (up, reports) = mpsc::channel(REPORTS_MAX);
        let attach = wire::AttachRequest {
            message: Some(Up::Attach(attachment)),
        };
        up.send(attach).await.map_err(|_| NoLink::Away)?;
        match DeviceServiceClient::new(channel)
            .attach(ReceiverStream::new(reports))
            .await
        {
            Ok(down) => Ok(Session {
                up,
                down: down.into_inner(),
            }),
            Err(status) if status.code() == Code::PermissionDenied => Err(NoLink::Unknown),
            Err(_) => Err(NoLink::Away),
        }
    }
}

#[async_trait]
impl Link for AttachLink {
    async fn open(&mut self, sync: wire::SyncEnvelope) -> Result<(), NoLink> {
        self.session = None;
        self.session = Some(
            timeout(OPEN_WAIT, self.attach(sync))
                .await
                .map_err(|_| NoLink::Away)??,
        );
        Ok(())
    }

    async fn say_again(&mut self, sync: wire::SyncEnvelope) {
        if let Some(session) = &self.session {
            let message = Some(Up::Sync(sync));
            // A stream that is gone is noticed by whoever listens to it.
            let _ = session.up.send(wire::AttachRequest { message }).await;
        }
    }

    async fn hear(&mut self) -> Heard {
        let Some(session) = &mut self.session else {
            return Heard::Lost;
        };
        loop {
            match session.down.message().await {
                Ok(Some(wire::AttachResponse {
                    message: Some(Down::Orders(envelope)),
                })) => {
                    return Heard::Orders(envelope);
                }
                Ok(Some(wire::AttachResponse {
                    message: Some(Down::Refused(word)),
                })) => {
                    tracing::debug!(word, "a report was not accepted");
                }
                Ok(Some(wire::AttachResponse { message: None })) => {}
                Ok(None) | Err(_) => return Heard::Lost,
            }
        }
    }

    async fn answer(&mut self, answer: wire::Answer) -> bool {
        let Some(session) = &self.session else {
            return false;
        };
        session
            .up
            .send(wire::AttachRequest {
                message: Some(Up::Answer(answer)),
            })
            .await
            .is_ok()
    }

    fn close(&mut self) {
        self.session = None;
    }
}
