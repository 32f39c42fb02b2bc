//! The agent's side of a product line on MQTT.

use std::sync::Arc;
use std::time::Duration;

use farewell_proto::device::v1 as wire;
use farewell_runtime::shutdown::Shutdown;
use prost::Message as _;
use prost::bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::topic::{self, Channel};
use super::{Client, Endpoint, Incoming, Options, PAYLOAD_BYTES_MAX, Standing, connect};
use crate::devices::bells::Bells;
use crate::devices::delivery::{Delivery, Trouble};
use crate::devices::names;
use crate::devices::order::Order;
use crate::refusals::Refusals;

/// Messages of devices worked on at a time: they meet in one transaction.
const WORKING_MAX: usize = 256;
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
    refusals: Arc<Refusals>,
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
        refusals,
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
    let room = Arc::new(Semaphore::new(WORKING_MAX));
    let mut resend = tokio::time::interval_at(Instant::now() + RESEND_INTERVAL, RESEND_INTERVAL);
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
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
        let post = post.clone();
        shutdown.spawn(async move {
            post.work(work).await;
            drop(permit);
        });
    }
}

enum Work {
    Message(String, Bytes),
    Ring(String),
    Remind(Duration),
}

#[derive(Clone)]
struct Post {
    line: &'static str,
    client: Client,
    delivery: Delivery,
    refusals: Arc<Refusals>,
}

impl Post {
    async fn work(&self, work: Work) {
        let worked = match work {
            Work::Message(topic, payload) => self.message(&topic, payload).await,
            Work::Ring(device) => match self.delivery.owed(&device).await {
                Ok(orders) => {
                    self.send(&device, orders).await;
                    Ok(())
                }
                Err(trouble) => Err(trouble),
            },
            Work::Remind(age) => self.delivery.remind(age).await.map(drop),
        };
        match worked {
            Ok(()) => {}
            Err(Trouble::Word(word)) => {
                self.refusals.count(word);
                tracing::debug!(line = self.line, word, "a device's message is not accepted")
            }
            Err(Trouble::Away) => {
                tracing::debug!(line = self.line, "the database is away; devices repeat")
            }
        }
    }

    /// The topic says who speaks: the broker lets nobody write to another device's.
    async fn message(&self, topic: &str, payload: Bytes) -> Result<(), Trouble> {
        let Some((device, channel)) = topic::parse(self.line, topic) else {
            return Err(Trouble::Word("ODD_TOPIC"));
        };
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Trouble::Word("MESSAGE_TOO_LARGE"));
        }
        match channel {
            Channel::Cmd => Err(Trouble::Word("ODD_TOPIC")),
            Channel::Sync => {
                let sync = wire::Sync::decode(payload).map_err(|_| Trouble::Word("UNREADABLE"))?;
                if names::device_of(&sync.device) != Some(device) {
                    return Err(Trouble::Word("NOT_YOUR_DEVICE"));
                }
                let orders = self.delivery.contact(sync).await?;
                self.send(device, orders).await;
                Ok(())
            }
            Channel::Ack => {
                let envelope = wire::ReportEnvelope::decode(payload)
                    .map_err(|_| Trouble::Word("UNREADABLE"))?;
                if envelope.reports.len() > REPORTS_MAX {
                    return Err(Trouble::Word("TOO_MANY_REPORTS"));
                }
                for report in envelope.reports {
                    if names::device_of(&report.device) != Some(device) {
                        return Err(Trouble::Word("NOT_YOUR_DEVICE"));
                    }
                    self.delivery.report(report).await?;
                }
                Ok(())
            }
        }
    }

    async fn send(&self, device: &str, orders: Vec<Order>) {
        if orders.is_empty() {
            return;
        }
        let envelope = wire::OrderEnvelope {
            orders: orders.iter().map(Order::to_wire).collect(),
        };
        match self
            .client
            .publish(
                topic::of(self.line, device, Channel::Cmd),
                envelope.encode_to_vec(),
            )
            .await
        {
            // Sent, and no more than that.
            Ok(()) => {
                self.delivery
                    .sent(orders.into_iter().map(|order| order.id).collect())
                    .await
            }
            Err(error) => {
                tracing::debug!(line = self.line, %error, "orders wait for the slow timer")
            }
        }
    }
}
