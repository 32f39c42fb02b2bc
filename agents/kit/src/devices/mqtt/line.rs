//! The agent's side of a product line on MQTT.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use farewell_proto::device::v1 as wire;
use farewell_runtime::shutdown::Shutdown;
use prost::Message as _;
use prost::bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::topic::{self, Channel};
use super::{Client, Endpoint, Incoming, Options, PAYLOAD_BYTES_MAX, Standing, connect};
use crate::devices::bells::Bells;
use crate::devices::contact::{Contact, Report};
use crate::devices::delivery::{Delivery, Parcel, Trouble};
use crate::devices::said::Said;

/// Devices whose messages are worked on at a time: they meet in one transaction.
const WORKERS: usize = 256;
/// Messages that wait for one worker.
const WORKER_QUEUE: usize = 64;
/// Messages under way to the broker.
const QUEUE_MESSAGES: u16 = 1024;
/// Answers in one message.
const REPORTS_MAX: usize = 64;
/// The broker keeps what devices said while the agent restarts.
const SESSION_LIFE: Duration = Duration::from_secs(3600);
/// Open orders that were not given to the broker for so long are given again: it may have lost them.
const RESEND_AGE: Duration = Duration::from_secs(20);
/// How often that is looked for.
const RESEND_INTERVAL: Duration = Duration::from_secs(10);

/// Connects the line to its broker. Returns how that connection stands, from now on.
pub(in crate::devices) fn start(
    endpoint: Endpoint,
    line: &'static str,
    delivery: Delivery,
    bells: &Bells,
    shutdown: &Shutdown,
) -> anyhow::Result<watch::Receiver<Option<Standing>>> {
    let rings = bells
        .of_line()
        .ok_or_else(|| anyhow::anyhow!("the line has a transport already"))?;
    let options = Options {
        endpoint,
        filters: vec![
            topic::all(line, Channel::Ack),
            topic::all(line, Channel::Sync),
        ],
        session_life: Some(SESSION_LIFE),
        queue: QUEUE_MESSAGES,
    };
    let (client, incoming) = connect(options, shutdown);
    let standing = client.standing();
    let post = Post {
        line,
        client,
        delivery,
    };
    shutdown.spawn(run(post, incoming, rings, shutdown.clone()));
    Ok(standing)
}

async fn run(
    post: Post,
    mut incoming: mpsc::Receiver<Incoming>,
    mut rings: mpsc::Receiver<String>,
    shutdown: Shutdown,
) {
    let workers: Vec<_> = (0..WORKERS).map(|_| post.worker(&shutdown)).collect();
    let mut resend = tokio::time::interval_at(Instant::now() + RESEND_INTERVAL, RESEND_INTERVAL);
    loop {
        let work = tokio::select! {
            () = shutdown.wait() => return,
            Some(message) = incoming.recv() => match message {
                Incoming::Message { topic, payload } => Work::Message(topic, payload),
                // The broker may have lost everything: whatever is open is sent again.
                Incoming::Connected => Work::Remind(Duration::ZERO),
                Incoming::Refused => {
                    tracing::warn!(line = post.line, "the broker refuses the agent's log-in or subscription");
                    continue;
                }
                Incoming::Lost => continue,
            },
            Some(device) = rings.recv() => Work::Ring(device),
            _ = resend.tick() => Work::Remind(RESEND_AGE),
        };
        let queue = &workers[work.place(post.line) % workers.len()];
        match queue.try_send(work) {
            Ok(()) => {}
            // A device that says more than can be worked on says it again; the others don't wait for it.
            Err(TrySendError::Full(_)) => drop(post.delivery.refuse("TOO_MANY_MESSAGES")),
            Err(TrySendError::Closed(_)) => return,
        }
    }
}

enum Work {
    Message(String, Bytes),
    Ring(String),
    Remind(Duration),
}

impl Work {
    /// The same for all that is of one device.
    fn place(&self, line: &str) -> usize {
        let device = match self {
            Self::Message(topic, _) => topic::parse(line, topic).map_or("", |(device, _)| device),
            Self::Ring(device) => device,
            Self::Remind(_) => "",
        };
        let mut hasher = DefaultHasher::new();
        device.hash(&mut hasher);
        usize::try_from(hasher.finish() >> 32).unwrap_or(0)
    }
}

#[derive(Clone)]
struct Post {
    line: &'static str,
    client: Client,
    delivery: Delivery,
}

impl Post {
    /// Somebody who works on one thing after the other: what a device says it counts, so that nothing may overtake.
    fn worker(&self, shutdown: &Shutdown) -> mpsc::Sender<Work> {
        let (queue, mut waiting) = mpsc::channel::<Work>(WORKER_QUEUE);
        let post = self.clone();
        shutdown.spawn(async move {
            while let Some(work) = waiting.recv().await {
                post.work(work).await;
            }
        });
        queue
    }

    async fn work(&self, work: Work) {
        let worked = match work {
            Work::Message(topic, payload) => self.message(&topic, payload).await,
            Work::Ring(device) => match self.delivery.owed(&device, None).await {
                Ok(parcel) => {
                    self.send(parcel).await;
                    Ok(())
                }
                Err(trouble) => Err(trouble),
            },
            Work::Remind(age) => self.delivery.remind(age).await.map(drop),
        };
        match worked {
            Ok(()) => {}
            Err(Trouble::Word(word)) => {
                tracing::debug!(line = self.line, word, "a device's message is not accepted")
            }
            Err(Trouble::Away) => {
                tracing::debug!(line = self.line, "the database is away; devices repeat")
            }
        }
    }

    /// The topic says who speaks: the broker lets nobody write to another device's.
    async fn message(&self, topic: &str, payload: Bytes) -> Result<(), Trouble> {
        let odd = |word| self.delivery.refuse(word);
        let Some((device, channel)) = topic::parse(self.line, topic) else {
            return Err(odd("ODD_TOPIC"));
        };
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(odd("MESSAGE_TOO_LARGE"));
        }
        match channel {
            Channel::Cmd => Err(odd("ODD_TOPIC")),
            Channel::Sync => {
                let envelope =
                    wire::SyncEnvelope::decode(payload).map_err(|_| odd("UNREADABLE"))?;
                let said = Said::<Contact>::sync(envelope).map_err(odd)?;
                if said.device != device {
                    return Err(odd("NOT_YOUR_DEVICE"));
                }
                self.send(self.delivery.contact(said, None).await?).await;
                Ok(())
            }
            Channel::Ack => {
                let envelope =
                    wire::ReportEnvelope::decode(payload).map_err(|_| odd("UNREADABLE"))?;
                if envelope.answers.len() > REPORTS_MAX {
                    return Err(odd("TOO_MANY_REPORTS"));
                }
                // One that is not accepted says nothing about the others.
                let mut worst = Ok(());
                for answer in envelope.answers {
                    if let Err(trouble) = self.answer(device, answer).await {
                        worst = Err(trouble);
                    }
                }
                worst
            }
        }
    }

    async fn answer(&self, device: &str, answer: wire::Answer) -> Result<(), Trouble> {
        let odd = |word| self.delivery.refuse(word);
        let said = Said::<Report>::answer(answer).map_err(odd)?;
        if said.device != device {
            return Err(odd("NOT_YOUR_DEVICE"));
        }
        self.delivery.report(said, None).await
    }

    async fn send(&self, parcel: Parcel) {
        if parcel.orders.is_empty() {
            return;
        }
        match self
            .client
            .publish(
                topic::of(self.line, &parcel.device, Channel::Cmd),
                parcel.to_wire().encode_to_vec(),
            )
            .await
        {
            // Sent, and no more than that.
            Ok(()) => self.delivery.sent(&parcel).await,
            Err(error) => {
                tracing::debug!(line = self.line, %error, "orders wait for the slow timer")
            }
        }
    }
}
