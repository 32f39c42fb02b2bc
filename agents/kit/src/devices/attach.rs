//! `DeviceService.Attach`: one session of a device, for itself and for the wearables that it is the companion of.
//!
//! A session holds no orders of its own. It asks the database what is owed at the attachment, when its bell rings and
//! on a slow timer, and sends no more than a few at a time; the rest stays where it is safe.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::attach_request::Message as Up;
use farewell_proto::device::v1::attach_response::Message as Down;
use farewell_proto::device::v1::device_service_server::DeviceService;
use farewell_runtime::peer::{self, Role};
use farewell_runtime::shutdown::Shutdown;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::bells::{Bells, Hung};
use super::delivery::{Delivery, Trouble};
use super::names;
use super::registry::{Registry, Via};

/// Messages that wait for one device. A device that doesn't read gets no more; its orders stay in the database.
pub const SESSION_MESSAGES_MAX: usize = 16;
/// Wearables that one phone may speak for.
pub const RELAYED_MAX: usize = 16;
/// A device that opens a session says who it is within this time.
const ATTACH_WAIT: Duration = Duration::from_secs(10);
/// An order without any report in this session is sent again.
const RESEND_INTERVAL: Duration = Duration::from_secs(30);

/// The service.
pub struct Service {
    registry: Registry,
    via: Via,
    delivery: Delivery,
    bells: Bells,
    shutdown: Shutdown,
}

impl Service {
    /// A service whose sessions end at `shutdown`.
    pub fn new(
        registry: Registry,
        via: Via,
        delivery: Delivery,
        bells: Bells,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            registry,
            via,
            delivery,
            bells,
            shutdown,
        }
    }

    /// Which devices may be spoken for: the attached one, and of the relayed those that it is the companion of.
    async fn admit(
        &self,
        attachment: wire::Attachment,
        peer: Option<&str>,
    ) -> Result<Admitted, Status> {
        let own = attachment
            .device
            .ok_or_else(|| Status::invalid_argument("attach.device must be given"))?;
        let device = names::device_of(&own.device)
            .ok_or_else(|| {
                Status::invalid_argument("attach.device.device must be devices/{device}")
            })?
            .to_owned();
        if peer.is_some_and(|peer| peer != device) {
            return Err(Status::permission_denied(
                "attach.device is not the device of the certificate",
            ));
        }
        if attachment.relayed.len() > RELAYED_MAX {
            return Err(Status::invalid_argument("attach.relayed holds at most 16"));
        }
        let mut admitted = Admitted {
            syncs: vec![own],
            refused: 0,
        };
        for sync in attachment.relayed {
            let companion = match (self.via, names::device_of(&sync.device)) {
                (Via::Companion, Some(wearable)) => self
                    .registry
                    .is_companion(&device, wearable)
                    .await
                    .map_err(|fault| {
                        tracing::warn!(
                            error = &fault as &dyn std::error::Error,
                            "a relay can't be checked"
                        );
                        Status::unavailable("the agent's database is away")
                    })?,
                (Via::Companion | Via::Never | Via::Hub, _) => false,
            };
            if companion {
                admitted.syncs.push(sync);
            } else {
                admitted.refused += 1;
            }
        }
        Ok(admitted)
    }
}

struct Admitted {
    syncs: Vec<wire::Sync>,
    refused: usize,
}

#[tonic::async_trait]
impl DeviceService for Service {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<wire::AttachResponse, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<wire::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let peer = device_of_peer(&request)?;
        let mut up = request.into_inner();
        let first = timeout(ATTACH_WAIT, up.message()).await.map_err(|_| {
            Status::deadline_exceeded("the first message is `attach`, within 10 s")
        })??;
        let Some(wire::AttachRequest {
            message: Some(Up::Attach(attachment)),
        }) = first
        else {
            return Err(Status::invalid_argument("the first message is `attach`"));
        };
        let admitted = self.admit(attachment, peer.as_deref()).await?;

        let (down, stream) = mpsc::channel(SESSION_MESSAGES_MAX);
        let bell = Arc::new(Notify::new());
        let mut session = Session {
            delivery: self.delivery.clone(),
            down,
            devices: Vec::with_capacity(admitted.syncs.len()),
            sent: HashSet::new(),
            _bells: Vec::with_capacity(admitted.syncs.len()),
        };
        for sync in &admitted.syncs {
            if let Some(device) = names::device_of(&sync.device) {
                session.devices.push(device.to_owned());
                session._bells.push(self.bells.hang(device, bell.clone()));
            }
        }
        for _ in 0..admitted.refused {
            session.refuse("NOT_THE_COMPANION");
        }
        // In its own task: a session that ends takes nothing with it, and the shutdown waits for what it is writing.
        self.shutdown
            .spawn(session.run(admitted.syncs, up, bell, self.shutdown.clone()));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

struct Session {
    delivery: Delivery,
    down: mpsc::Sender<Result<wire::AttachResponse, Status>>,
    /// Whom the session speaks for.
    devices: Vec<String>,
    /// Orders sent since the slow timer went.
    sent: HashSet<String>,
    _bells: Vec<Hung>,
}

impl Session {
    async fn run(
        mut self,
        syncs: Vec<wire::Sync>,
        mut up: Streaming<wire::AttachRequest>,
        bell: Arc<Notify>,
        shutdown: Shutdown,
    ) {
        for sync in syncs {
            if let Err(Trouble::Word(word)) = self.contact(sync).await {
                self.refuse(word);
            }
        }
        let mut resend =
            tokio::time::interval_at(Instant::now() + RESEND_INTERVAL, RESEND_INTERVAL);
        loop {
            tokio::select! {
                () = shutdown.wait() => break,
                () = self.down.closed() => break,
                () = bell.notified() => self.send_owed().await,
                _ = resend.tick() => {
                    self.sent.clear();
                    self.send_owed().await;
                }
                message = up.next() => match message {
                    Some(Ok(wire::AttachRequest { message: Some(Up::Report(report)) })) => self.report(report).await,
                    Some(Ok(_)) => self.refuse("REPORT_EXPECTED"),
                    // The device is gone. What it has done it says at its next contact.
                    Some(Err(_)) | None => break,
                },
            }
        }
    }

    async fn contact(&mut self, sync: wire::Sync) -> Result<(), Trouble> {
        let orders = self.delivery.contact(sync).await?;
        self.send(orders).await;
        Ok(())
    }

    async fn report(&mut self, report: wire::OrderReport) {
        let ours = names::device_of(&report.device)
            .is_some_and(|device| self.devices.iter().any(|d| d == device));
        if !ours {
            return self.refuse("NOT_YOUR_ORDER");
        }
        match self.delivery.report(report).await {
            Ok(()) => {}
            Err(Trouble::Word(word)) => self.refuse(word),
            // Said aloud, so that the device repeats its answer.
            Err(Trouble::Away) => self.refuse("TRY_AGAIN"),
        }
    }

    async fn send_owed(&mut self) {
        for device in self.devices.clone() {
            if let Ok(orders) = self.delivery.owed(&device).await {
                self.send(orders).await;
            }
        }
    }

    /// Sends what was not sent yet, if there is room.
    async fn send(&mut self, mut orders: Vec<super::order::Order>) {
        orders.retain(|order| !self.sent.contains(&order.id));
        if orders.is_empty() {
            return;
        }
        let Ok(room) = self.down.try_reserve() else {
            return;
        };
        let ids: Vec<String> = orders.iter().map(|order| order.id.clone()).collect();
        self.sent.extend(ids.iter().cloned());
        // Written, then sent.
        self.delivery.sent(ids).await;
        let envelope = wire::OrderEnvelope {
            orders: orders.iter().map(super::order::Order::to_wire).collect(),
        };
        room.send(Ok(wire::AttachResponse {
            message: Some(Down::Orders(envelope)),
        }));
    }

    fn refuse(&self, word: &str) {
        // A device that doesn't read misses it, and repeats its answer at the next contact anyway.
        let _ = self.down.try_send(Ok(wire::AttachResponse {
            message: Some(Down::Refused(word.to_owned())),
        }));
    }
}

/// The device of the certificate; `None` without TLS, which only loopback is served.
fn device_of_peer<T>(request: &Request<T>) -> Result<Option<String>, Status> {
    match peer::of_request(request)? {
        None => Ok(None),
        Some(peer) if peer.role == Role::Device => Ok(Some(peer.name)),
        Some(_) => Err(Status::permission_denied("only devices attach")),
    }
}
