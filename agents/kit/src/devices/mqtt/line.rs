//! The agent's side of a product line on MQTT.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::mem;
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
use crate::devices::bells::{Bells, Ring};
use crate::devices::contact::{Contact, Report};
use crate::devices::delivery::{Delivery, Parcel, Trouble};
use crate::devices::lease::{End, Lease};
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

/// How long a connection that is given up may take to end.
const END_WAIT: Duration = Duration::from_secs(5);

/// A line and the broker that its devices are reached through.
pub(in crate::devices) struct Desk {
    pub endpoint: Endpoint,
    pub line: &'static str,
    pub delivery: Delivery,
    pub bells: Bells,
    /// Whether other replicas may be asked for hubs that are told from here.
    pub others: bool,
}

impl Desk {
    /// Keeps the line connected to its broker, for as long as `lease` is ours where there is one. Returns how that
    /// connection stands, from now on.
    pub fn open(
        self,
        lease: Option<Lease>,
        shutdown: &Shutdown,
    ) -> watch::Receiver<Option<Standing>> {
        let (told, standing) = watch::channel(None);
        let end = shutdown.clone();
        match lease {
            None => {
                shutdown.spawn(async move { self.serve(&told, &end).await });
            }
            Some(lease) => {
                shutdown.spawn(async move { self.take_turns(lease, &told, &end).await });
            }
        }
        standing
    }

    /// Serves whenever no other replica does.
    async fn take_turns(
        &self,
        mut lease: Lease,
        told: &watch::Sender<Option<Standing>>,
        shutdown: &Shutdown,
    ) {
        while let Some(since) = lease.wait(shutdown).await {
            tracing::info!(line = self.line, "this replica speaks to the broker");
            let turn = shutdown.child();
            let standing = told.subscribe();
            let served = async {
                self.serve(told, &turn).await;
                if !turn.drain(END_WAIT).await {
                    tracing::warn!(
                        line = self.line,
                        "work of the last turn at the broker still waits for the database"
                    );
                }
            };
            let held = async {
                let end = lease.hold(since, &standing, &turn).await;
                turn.trigger();
                end
            };
            let (end, ()) = tokio::join!(held, served);
            match end {
                End::Over => {}
                End::Lost => {
                    tracing::warn!(line = self.line, "this replica lost its turn at the broker");
                }
                End::Unheard => {
                    tracing::warn!(
                        word = "BROKER_UNREACHED",
                        line = self.line,
                        "nothing came of this turn at the broker, another replica tries"
                    );
                }
            }
            if let Err(fault) = lease.release().await {
                tracing::debug!(
                    error = &fault as &dyn std::error::Error,
                    "the turn at the broker is not given back, it runs out"
                );
            }
            if end == End::Unheard {
                lease.stand_back(shutdown).await;
            }
        }
    }

    /// Until `shutdown`.
    async fn serve(&self, told: &watch::Sender<Option<Standing>>, shutdown: &Shutdown) {
        let options = Options {
            endpoint: self.endpoint.clone(),
            filters: vec![
                topic::all(self.line, Channel::Ack),
                topic::all(self.line, Channel::Sync),
            ],
            session_life: Some(SESSION_LIFE),
            queue: QUEUE_MESSAGES,
        };
        let rings = self.bells.of_line(self.others);
        let (client, incoming) = connect(options, shutdown);
        let mut standing = client.standing();
        let post = Post {
            line: self.line,
            client,
            delivery: self.delivery.clone(),
            bells: self.bells.clone(),
        };
        let run = run(post, incoming, rings, shutdown.clone());
        let tell = async {
            loop {
                let now = *standing.borrow_and_update();
                told.send_replace(now);
                if standing.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = run => {}
            () = tell => {}
        }
        told.send_replace(None);
        if !shutdown.is_triggered() {
            tracing::error!(line = self.line, "the line's post at the broker has ended");
        }
    }
}

async fn run(
    post: Post,
    mut incoming: mpsc::Receiver<Incoming>,
    mut rings: mpsc::Receiver<Ring>,
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
            Some(ring) = rings.recv() => Work::Ring(ring),
            _ = resend.tick() => Work::Remind(RESEND_AGE),
        };
        let queue = &workers[work.place(post.line) % workers.len()];
        // Rings may take half of the room: whoever is rung for in vain is found again, and nobody's word is lost for it.
        if let Work::Ring(ring) = &work
            && queue.capacity() <= WORKER_QUEUE / 2
        {
            post.bells.heard(ring);
            continue;
        }
        match queue.try_send(work) {
            Ok(()) => {}
            // A device that says more than can be worked on says it again; the others don't wait for it.
            Err(TrySendError::Full(Work::Message(..))) => {
                let _ = post.delivery.refuse("TOO_MANY_MESSAGES");
            }
            Err(TrySendError::Full(Work::Ring(_) | Work::Remind(_))) => {}
            Err(TrySendError::Closed(_)) => return,
        }
    }
}

enum Work {
    Message(String, Bytes),
    Ring(Ring),
    Remind(Duration),
}

impl Work {
    /// The same for all that is of one device.
    fn place(&self, line: &str) -> usize {
        let device = match self {
            Self::Message(topic, _) => topic::parse(line, topic).map_or("", |(device, _)| device),
            Self::Ring(ring) => ring.device(),
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
    bells: Bells,
}

impl Post {
    /// Somebody who works on one thing after the other: what a device says it counts, so that nothing may overtake.
    fn worker(&self, shutdown: &Shutdown) -> mpsc::Sender<Work> {
        let (queue, mut waiting) = mpsc::channel::<Work>(WORKER_QUEUE);
        let post = self.clone();
        shutdown.spawn(async move {
            let mut works = Vec::with_capacity(WORKER_QUEUE);
            while waiting.recv_many(&mut works, WORKER_QUEUE).await > 0 {
                post.work_on(works.drain(..)).await;
            }
        });
        queue
    }

    /// Answers that follow each other are kept together.
    async fn work_on(&self, works: impl Iterator<Item = Work>) {
        let mut answers = Vec::new();
        for work in works {
            match work {
                Work::Message(topic, payload) if self.is_answer(&topic) => {
                    match self.read_answers(&topic, payload) {
                        Ok(mut said) => answers.append(&mut said),
                        Err(trouble) => self.note(Err(trouble)),
                    }
                    // Whoever says much at once fills nobody else's room.
                    if answers.len() >= REPORTS_MAX {
                        self.keep(mem::take(&mut answers)).await;
                    }
                }
                Work::Message(..) | Work::Ring(_) | Work::Remind(_) => {
                    self.keep(mem::take(&mut answers)).await;
                    let worked = self.work(work).await;
                    self.note(worked);
                }
            }
        }
        self.keep(answers).await;
    }

    async fn keep(&self, answers: Vec<Said<Report>>) {
        let answers = answers.into_iter().map(|said| (said, None)).collect();
        for kept in self.delivery.reports(answers).await {
            self.note(kept);
        }
    }

    async fn work(&self, work: Work) -> Result<(), Trouble> {
        match work {
            Work::Message(topic, payload) => {
                let said = self.read_contact(&topic, payload)?;
                self.send(self.delivery.contact(said, None).await?).await;
            }
            Work::Ring(ring) => {
                // What is asked for from here on is rung for again.
                self.bells.heard(&ring);
                let parcel = match &ring {
                    Ring::Owed(device) => self.delivery.owed(device, None).await?,
                    Ring::Unsent(device) => self.delivery.unsent(device).await?,
                };
                self.send(parcel).await;
            }
            Work::Remind(age) => drop(self.delivery.remind(age).await?),
        }
        Ok(())
    }

    fn note(&self, worked: Result<(), Trouble>) {
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

    fn is_answer(&self, topic: &str) -> bool {
        matches!(topic::parse(self.line, topic), Some((_, Channel::Ack)))
    }

    fn read_contact(&self, topic: &str, payload: Bytes) -> Result<Said<Contact>, Trouble> {
        let odd = |word| self.delivery.refuse(word);
        let device = self.speaker(topic, Channel::Sync, &payload)?;
        let envelope = wire::SyncEnvelope::decode(payload).map_err(|_| odd("UNREADABLE"))?;
        let said = Said::<Contact>::sync(envelope).map_err(odd)?;
        if said.device != device {
            return Err(odd("NOT_YOUR_DEVICE"));
        }
        Ok(said)
    }

    fn read_answers(&self, topic: &str, payload: Bytes) -> Result<Vec<Said<Report>>, Trouble> {
        let odd = |word| self.delivery.refuse(word);
        let device = self.speaker(topic, Channel::Ack, &payload)?;
        let envelope = wire::ReportEnvelope::decode(payload).map_err(|_| odd("UNREADABLE"))?;
        if envelope.answers.len() > REPORTS_MAX {
            return Err(odd("TOO_MANY_REPORTS"));
        }
        let mut answers = Vec::with_capacity(envelope.answers.len());
        for answer in envelope.answers {
            match Said::<Report>::answer(answer) {
                Ok(said) if said.device == device => answers.push(said),
                // One that is not accepted says nothing about the others.
                Ok(_) => self.note(Err(odd("NOT_YOUR_DEVICE"))),
                Err(word) => self.note(Err(odd(word))),
            }
        }
        Ok(answers)
    }

    /// The topic says who speaks: the broker lets nobody write to another device's.
    fn speaker<'t>(
        &self,
        topic: &'t str,
        channel: Channel,
        payload: &Bytes,
    ) -> Result<&'t str, Trouble> {
        match topic::parse(self.line, topic) {
            Some((_, of)) if of != channel => Err(self.delivery.refuse("ODD_TOPIC")),
            None => Err(self.delivery.refuse("ODD_TOPIC")),
            Some(_) if payload.len() > PAYLOAD_BYTES_MAX => {
                Err(self.delivery.refuse("MESSAGE_TOO_LARGE"))
            }
            Some((device, _)) => Ok(device),
        }
    }

    async fn send(&self, parcel: Parcel) {
        if parcel.is_empty() {
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
