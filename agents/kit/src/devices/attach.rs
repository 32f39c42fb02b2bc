//! `DeviceService.Attach`: one session of a device, for itself and for the wearables that it is the companion of.
//!
//! A session holds no orders of its own. It asks the database what is owed when a device says that it is there, when its
//! bell rings and on a slow timer, and sends no more than a few at a time; the rest stays where it is safe.

use std::collections::HashSet;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::attach_request::Message as Up;
use farewell_proto::device::v1::attach_response::Message as Down;
use farewell_proto::device::v1::device_service_server::DeviceService;
use farewell_runtime::peer::{self, Role};
use farewell_runtime::shutdown::Shutdown;
use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming};

use super::bells::{Bells, Hung};
use super::contact::{Contact, Report};
use super::delivery::{Delivery, Parcel, Trouble};
use super::registry::Via;
use super::said::Said;
use super::service::{error, invalid};
use super::sessions::{Open, Sessions};

/// Messages that wait for one device. A device that doesn't read gets no more; its orders stay in the database.
pub const SESSION_MESSAGES_MAX: usize = 16;
/// Wearables that one phone may speak for.
pub const RELAYED_MAX: usize = 16;
/// Messages of one device that are taken at a time: an order gets three answers.
const BURST_MESSAGES_MAX: usize = 16;
/// A device that opens a session says who it is within this time.
const ATTACH_WAIT: Duration = Duration::from_secs(10);
/// An order without any report in this session is sent again.
const RESEND_INTERVAL: Duration = Duration::from_secs(30);

/// The service.
pub struct Service {
    via: Via,
    delivery: Delivery,
    bells: Bells,
    sessions: Sessions,
    shutdown: Shutdown,
}

impl Service {
    /// A service whose sessions end at `shutdown`.
    pub fn new(via: Via, delivery: Delivery, bells: Bells, shutdown: Shutdown) -> Self {
        Self {
            via,
            delivery,
            bells,
            sessions: Sessions::default(),
            shutdown,
        }
    }

    /// What the attached device says, and in whose name: its own, and its wearables'.
    fn read(&self, attachment: wire::Attachment, peer: Option<&str>) -> Result<Heard, Status> {
        let own = attachment
            .device
            .ok_or_else(|| invalid("attach.device", "must be given"))?;
        let own = Said::<Contact>::sync(own).map_err(|word| invalid("attach.device", word))?;
        if peer.is_some_and(|peer| peer != own.device) {
            return Err(error(
                Code::PermissionDenied,
                "NOT_THE_DEVICE",
                "attach.device is not the device of the certificate",
            ));
        }
        if attachment.relayed.len() > RELAYED_MAX {
            return Err(invalid("attach.relayed", "holds at most 16"));
        }
        let relayed = attachment.relayed.into_iter().map(|envelope| {
            if self.via == Via::Companion {
                Said::<Contact>::sync(envelope)
            } else {
                Err("NOT_THE_COMPANION")
            }
        });
        Ok(Heard {
            relayed: relayed.collect(),
            own,
        })
    }
}

/// What came with the attachment.
struct Heard {
    own: Said<Contact>,
    relayed: Vec<Result<Said<Contact>, &'static str>>,
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
            error(
                Code::DeadlineExceeded,
                "NOT_ATTACHED",
                "the first message is `attach`, within 10 s",
            )
        })??;
        let Some(wire::AttachRequest {
            message: Some(Up::Attach(attachment)),
        }) = first
        else {
            return Err(invalid("attach", "must be the first message"));
        };
        let heard = self.read(attachment, peer.as_deref())?;

        let (down, stream) = mpsc::channel(SESSION_MESSAGES_MAX);
        let session = Session {
            via: self.via,
            open: self.sessions.open(&heard.own.device),
            delivery: self.delivery.clone(),
            bells: self.bells.clone(),
            bell: Arc::new(Notify::new()),
            down,
            phone: heard.own.device.clone(),
            voices: Vec::with_capacity(1 + heard.relayed.len()),
            sent: HashSet::new(),
        };
        // In its own task: a session that ends takes nothing with it, and the shutdown waits for what it is writing.
        self.shutdown
            .spawn(session.run(heard, up, self.shutdown.clone()));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

struct Session {
    via: Via,
    open: Open,
    delivery: Delivery,
    bells: Bells,
    bell: Arc<Notify>,
    down: mpsc::Sender<Result<wire::AttachResponse, Status>>,
    /// Who is attached.
    phone: String,
    /// Whom the session speaks for.
    voices: Vec<Voice>,
    /// Orders sent since the slow timer went.
    sent: HashSet<String>,
}

/// One device that the session speaks for.
struct Voice {
    device: String,
    /// Rung when the device is owed something.
    _bell: Hung,
}

impl Session {
    async fn run(
        mut self,
        heard: Heard,
        mut up: Streaming<wire::AttachRequest>,
        shutdown: Shutdown,
    ) {
        self.begin(heard).await;
        let bell = self.bell.clone();
        let mut resend =
            tokio::time::interval_at(Instant::now() + RESEND_INTERVAL, RESEND_INTERVAL);
        loop {
            tokio::select! {
                () = shutdown.wait() => break,
                () = self.down.closed() => break,
                () = self.open.until_replaced() => {
                    let _ = self.down.try_send(Err(replaced()));
                    break;
                }
                () = bell.notified() => self.send_owed().await,
                _ = resend.tick() => {
                    self.sent.clear();
                    self.send_owed().await;
                }
                message = up.next() => match message {
                    Some(Ok(first)) => self.hear(burst(first, &mut up)).await,
                    // The device is gone. What it has done it says at its next contact.
                    Some(Err(_)) | None => break,
                },
            }
        }
    }

    async fn begin(&mut self, heard: Heard) {
        self.contact(heard.own).await;
        for relayed in heard.relayed {
            match relayed {
                Ok(said) => self.contact(said).await,
                Err(word) => self.odd(word),
            }
        }
    }

    /// Answers that come together are kept together.
    async fn hear(&mut self, messages: Vec<Option<Up>>) {
        let mut answers = Vec::new();
        for message in messages {
            match message {
                Some(Up::Answer(answer)) => match self.read(answer) {
                    Ok(said) => answers.push(said),
                    Err(word) => {
                        self.keep(mem::take(&mut answers)).await;
                        self.odd(word);
                    }
                },
                Some(Up::Sync(sync)) => {
                    self.keep(mem::take(&mut answers)).await;
                    self.sync(sync).await;
                }
                Some(Up::Attach(_)) | None => self.odd("ANSWER_EXPECTED"),
            }
        }
        self.keep(answers).await;
    }

    /// Who carries a device's words: nobody but itself, or the attached phone. That the phone is its companion is looked
    /// at each time it brings or gets something for it: the device may have been bound anew.
    fn through(&self, device: &str) -> Option<String> {
        (device != self.phone).then(|| self.phone.clone())
    }

    fn speaks_for(&self, device: &str) -> bool {
        self.voices.iter().any(|voice| voice.device == device)
    }

    /// A contact in the middle of the session.
    async fn sync(&mut self, envelope: wire::SyncEnvelope) {
        let said = match Said::<Contact>::sync(envelope) {
            Ok(said) => said,
            Err(word) => return self.odd(word),
        };
        if said.device != self.phone {
            if self.via != Via::Companion {
                return self.odd("NOT_THE_COMPANION");
            }
            // Its own voice comes on top.
            if !self.speaks_for(&said.device) && self.voices.len() > RELAYED_MAX {
                return self.odd("TOO_MANY_RELAYED");
            }
        }
        self.contact(said).await;
    }

    async fn contact(&mut self, said: Said<Contact>) {
        let device = said.device.clone();
        // Hung before the look, so that nothing falls between the two.
        let bell = self.bells.hang(&device, self.bell.clone());
        let through = self.through(&device);
        match self.delivery.contact(said, through.as_deref()).await {
            Ok(parcel) => {
                // It may have lost them, or had no use for them before it knew the time.
                self.sent
                    .retain(|id| parcel.orders.iter().all(|order| order.id != *id));
                self.send(parcel).await;
            }
            Err(Trouble::Word(word)) => return self.refuse(word),
            // The slow timer looks again.
            Err(Trouble::Away) => {}
        }
        if !self.speaks_for(&device) {
            self.voices.push(Voice {
                device,
                _bell: bell,
            });
        }
    }

    fn read(&self, answer: wire::Answer) -> Result<Said<Report>, &'static str> {
        let said = Said::<Report>::answer(answer)?;
        if self.speaks_for(&said.device) {
            Ok(said)
        } else {
            Err("NOT_YOUR_ORDER")
        }
    }

    async fn keep(&mut self, answers: Vec<Said<Report>>) {
        let refused: Vec<_> = answers
            .iter()
            .map(|said| said.word.refused().map(str::to_owned))
            .collect();
        let answers = answers.into_iter().map(|said| {
            let through = self.through(&said.device);
            (said, through)
        });
        let kept = self.delivery.reports(answers.collect()).await;
        for (kept, refused) in kept.into_iter().zip(refused) {
            match kept {
                Ok(()) => {
                    // Asked again by a person, it has the same name.
                    if let Some(order) = refused {
                        self.sent.remove(&order);
                    }
                }
                Err(Trouble::Word(word)) => self.refuse(word),
                // Said aloud, so that the device repeats its answer.
                Err(Trouble::Away) => self.refuse("TRY_AGAIN"),
            }
        }
    }

    async fn send_owed(&mut self) {
        let devices: Vec<String> = self
            .voices
            .iter()
            .map(|voice| voice.device.clone())
            .collect();
        for device in devices {
            let through = self.through(&device);
            match self.delivery.owed(&device, through.as_deref()).await {
                Ok(parcel) => self.send(parcel).await,
                Err(Trouble::Word(word)) => {
                    self.voices.retain(|voice| voice.device != device);
                    self.refuse(word);
                }
                Err(Trouble::Away) => {}
            }
        }
    }

    /// Sends what was not sent yet, if there is room.
    async fn send(&mut self, mut parcel: Parcel) {
        parcel.orders.retain(|order| !self.sent.contains(&order.id));
        if parcel.is_empty() {
            return;
        }
        let Ok(room) = self.down.try_reserve() else {
            return;
        };
        self.sent.extend(parcel.ids());
        // Written, then sent.
        self.delivery.sent(&parcel).await;
        room.send(Ok(wire::AttachResponse {
            message: Some(Down::Orders(parcel.to_wire())),
        }));
    }

    /// Refuses what was not even asked about, and counts it.
    fn odd(&self, word: &'static str) {
        if let Trouble::Word(word) = self.delivery.refuse(word) {
            self.refuse(word);
        }
    }

    fn refuse(&self, word: &str) {
        // A device that doesn't read misses it, and repeats its answer at the next contact anyway.
        let _ = self.down.try_send(Ok(wire::AttachResponse {
            message: Some(Down::Refused(word.to_owned())),
        }));
    }
}

/// What the oldest session of a device is told that opens one too many.
fn replaced() -> Status {
    error(
        Code::Aborted,
        "SESSION_REPLACED",
        "the device has as many newer sessions as it may have",
    )
}

/// A message and those that have come with it.
fn burst(first: wire::AttachRequest, up: &mut Streaming<wire::AttachRequest>) -> Vec<Option<Up>> {
    let mut messages = vec![first.message];
    while messages.len() < BURST_MESSAGES_MAX {
        // Whatever else it is, it is seen again at the next look.
        let Some(Some(Ok(next))) = up.next().now_or_never() else {
            break;
        };
        messages.push(next.message);
    }
    messages
}

/// The device of the certificate; `None` without TLS, which only loopback is served.
fn device_of_peer<T>(request: &Request<T>) -> Result<Option<String>, Status> {
    match peer::of_request(request)? {
        None => Ok(None),
        Some(peer) if peer.role == Role::Device => Ok(Some(peer.name)),
        Some(_) => Err(error(
            Code::PermissionDenied,
            "ROLE_NOT_ALLOWED",
            "only devices attach",
        )),
    }
}
