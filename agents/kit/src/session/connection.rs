//! One stream, from `Hello` to the half-close.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use farewell_proto::participant::v1::{
    Command, Commands, ConnectResponse, Hello, Query, Refusals, Report, Welcome, Window,
    connect_request, connect_response::Message,
    participant_service_client::ParticipantServiceClient,
};
use farewell_runtime::server::MESSAGE_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use super::desk::{Askers, Begun};
use super::link::{Link, Up};
use super::trace::{Batch, Traced};
use super::uplink::Uplink;
use super::work::{Job, Settled};
use super::{QUERIES_MAX, Shared};
use crate::participant::INVALID_COMMAND;
use crate::wire::{self, Malformed};

/// How long dialling, the handshake and `Welcome` may take together.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// After the half-close the coordinator settles the last reports, says what it refused, and closes too.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Commands started before anything else gets a turn.
const TURN_COMMANDS: usize = 64;
/// Besides one answer for each command of the window: progress, refusals of malformed commands, woken ones.
const OUTBOX_SPARE_REPORTS: usize = 4096;
/// One reply for each question under way, and messages of our own: a hello, windows, questions for the time, returns.
const CONTROL_MESSAGES_MAX: usize = QUERIES_MAX + 256;

/// Software and version, for operators.
const AGENT: &str = concat!("farewell-kit/", env!("CARGO_PKG_VERSION"));

/// Why a stream is no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("can't be reached")]
    Unreachable(#[source] tonic::transport::Error),
    #[error("no welcome within {WELCOME_TIMEOUT:?}")]
    Unwelcome,
    #[error("ended with {:?}: {}", .0.code(), .0.message())]
    Ended(Box<Status>),
    #[error("closed by the coordinator")]
    Closed,
    #[error("broke the protocol: {0}")]
    Protocol(&'static str),
}

impl From<Status> for Lost {
    fn from(status: Status) -> Self {
        Self::Ended(Box::new(status))
    }
}

/// Opens a stream and serves it. `Ok` after an orderly end at shutdown.
pub(super) async fn run(
    shared: &Arc<Shared>,
    link: &Link,
    endpoint: &Endpoint,
) -> Result<(), Lost> {
    let open = timeout(WELCOME_TIMEOUT, Connection::open(shared, link, endpoint));
    let mut connection = tokio::select! {
        () = shared.shutdown.wait() => return Ok(()),
        opened = open => opened.unwrap_or(Err(Lost::Unwelcome))?,
    };
    connection.serve().await?;
    connection.close().await;
    Ok(())
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    link: &'a Link,
    /// The connection under the stream ends with the last of these.
    _client: ParticipantServiceClient<Channel>,
    inbound: Streaming<ConnectResponse>,
    control: mpsc::Sender<connect_request::Message>,
    /// Arrived, and waiting for room.
    waiting: VecDeque<(Arc<Job>, Traced)>,
    /// Ends the questions of this stream with it: nobody would hear the answers.
    questions: CancellationToken,
    _end_questions: DropGuard,
}

impl<'a> Connection<'a> {
    async fn open(
        shared: &'a Arc<Shared>,
        link: &'a Link,
        endpoint: &Endpoint,
    ) -> Result<Self, Lost> {
        let channel = endpoint.connect().await.map_err(Lost::Unreachable)?;
        let mut client = ParticipantServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);

        let (control, control_queue) = mpsc::channel(CONTROL_MESSAGES_MAX);
        let (outbox, reports) =
            mpsc::channel(2 * shared.window_commands as usize + OUTBOX_SPARE_REPORTS);
        let reports_max = Arc::new(AtomicUsize::new(1));
        let hello = Hello {
            participant: shared.participant.clone(),
            agent: AGENT.to_owned(),
        };
        let window = Window {
            commands: shared.window_commands,
        };
        for message in [
            connect_request::Message::Hello(hello),
            connect_request::Message::Window(window),
        ] {
            say(&control, message);
        }

        let uplink = Uplink::new(control_queue, reports, Arc::clone(&reports_max));
        let mut inbound = client.connect(uplink).await?.into_inner();
        let Some(Message::Welcome(welcome)) = inbound.message().await?.ok_or(Lost::Closed)?.message
        else {
            return Err(Lost::Protocol("the first message was not `welcome`"));
        };
        let Welcome {
            coordinator,
            reports_max: limit,
            region,
        } = welcome;
        if limit == 0 {
            return Err(Lost::Protocol("`reports_max` is zero"));
        }
        reports_max.store(limit as usize, Ordering::Release);
        shared.regions.hear(link.index, &region);
        link.open(Up {
            reports: outbox,
            control: control.clone(),
        });
        tracing::info!(participant = %shared.participant, coordinator, "stream to a coordinator is open");

        let questions = shared.ended.child_token();
        Ok(Self {
            shared,
            link,
            _client: client,
            inbound,
            control,
            waiting: VecDeque::new(),
            _end_questions: questions.clone().drop_guard(),
            questions,
        })
    }

    /// Until shutdown.
    async fn serve(&mut self) -> Result<(), Lost> {
        loop {
            tokio::select! {
                () = self.shared.shutdown.wait() => return Ok(()),
                message = self.inbound.message() => match message?.ok_or(Lost::Closed)?.message {
                    Some(Message::Commands(frame)) => self.take(frame)?,
                    other => self.take_other(other)?,
                },
                Ok(permit) = Arc::clone(&self.shared.room).acquire_owned(), if !self.waiting.is_empty() => {
                    self.turn(permit).await;
                }
            }
        }
    }

    /// Checks a frame of commands and lines them up.
    fn take(&mut self, frame: Commands) -> Result<(), Lost> {
        let batch = Batch::of(&frame.commands, &self.shared.participant);
        for mut command in frame.commands {
            match wire::order(&mut command, &self.shared.participant) {
                Ok((verb, order)) => {
                    let traced = batch.command(&order);
                    self.waiting
                        .push_back((Arc::new(Job::new(verb, order)), traced));
                }
                Err(malformed) => self.refuse(command, &malformed),
            }
        }
        // What the window allows is all here and unanswered in the worst case, and never more than that.
        let window = self.shared.window_commands as usize;
        if self.waiting.len() > window {
            self.drop_repeats();
        }
        if self.waiting.len() > window {
            return Err(Lost::Protocol("more commands than the window allows"));
        }
        Ok(())
    }

    /// A coordinator repeats what isn't answered in time, and behind work that hangs the repeats pile up. They ask for
    /// nothing new: one answer serves them all.
    fn drop_repeats(&mut self) {
        let (desk, asker) = (&self.shared.desk, Askers::one(self.link.index));
        let mut seen: HashMap<Arc<str>, Arc<Job>> = HashMap::new();
        self.waiting
            .retain(|(job, _)| match seen.entry(Arc::clone(&job.name)) {
                // What says something else under the same name is no repeat, and refused in its turn.
                Entry::Occupied(first) => !first.get().says_the_same(job),
                Entry::Vacant(place) => {
                    place.insert(Arc::clone(job));
                    !desk.join(job, asker)
                }
            });
    }

    fn refuse(&self, command: Command, malformed: &Malformed) {
        let Command {
            name: command,
            account,
            ..
        } = command;
        if let Some(unsaid) = self.shared.lines.next() {
            tracing::warn!(command, %malformed, unsaid, "a command was refused");
        }
        let answer = Some(wire::refused(INVALID_COMMAND, &malformed.to_string()));
        self.link.post(Report {
            command,
            account,
            traceparent: String::new(),
            answer,
        });
    }

    /// Starts what there is room for, up to [`TURN_COMMANDS`]. `permit` is for the first.
    async fn turn(&mut self, permit: OwnedSemaphorePermit) {
        let mut permit = Some(permit);
        let mut settled = Vec::with_capacity(TURN_COMMANDS);
        for _ in 0..TURN_COMMANDS {
            let room = permit
                .take()
                .or_else(|| Arc::clone(&self.shared.room).try_acquire_owned().ok());
            let Some(room) = room else { break };
            let Some((job, traced)) = self.waiting.pop_front() else {
                break;
            };
            match self.shared.desk.begin(&job, Askers::one(self.link.index)) {
                Begun::Start => settled.extend(self.start(job, traced, room).await),
                Begun::Joined => permit = Some(room),
                Begun::Contradicted => {
                    permit = Some(room);
                    let report = wire::report(&job.order, String::new(), contradiction());
                    settled.push(Settled {
                        askers: Askers::one(self.link.index),
                        report,
                    });
                }
            }
        }
        // Together, so that they share a frame.
        for settled in settled {
            self.shared.post(settled);
        }
    }

    /// Polls the work once. If it is done by then it never becomes a task.
    async fn start(
        &self,
        job: Arc<Job>,
        traced: Traced,
        room: OwnedSemaphorePermit,
    ) -> Option<Settled> {
        let shared = Arc::clone(self.shared);
        let mut work = Box::pin(async move { shared.carry_out(job, traced).await });
        let first = poll_fn(|context| Poll::Ready(Pin::as_mut(&mut work).poll(context))).await;
        if let Poll::Ready(settled) = first {
            return Some(settled);
        }
        let shared = Arc::clone(self.shared);
        tokio::spawn(async move {
            if let Some(settled) = shared.ended.run_until_cancelled(work).await {
                shared.post(settled);
            }
            // Only now: all permits back means that every answer is with its stream.
            drop(room);
        });
        None
    }

    fn take_other(&self, message: Option<Message>) -> Result<(), Lost> {
        match message {
            Some(Message::Query(query)) => self.ask(query),
            Some(Message::Refusals(refusals)) => self.note(refusals),
            Some(Message::Time(answer)) => {
                self.shared.times.answer(answer.question_id, answer.proof);
            }
            Some(Message::ReturnsKept(answer)) => {
                let kept = answer
                    .kept
                    .into_iter()
                    .filter_map(wire::device::return_kept);
                self.shared
                    .returns
                    .answer(answer.returns_id, kept.collect());
            }
            Some(Message::ExportPart(answer)) => {
                let (question, part) = wire::export::answered(answer);
                self.shared.parts.answer(question, part);
            }
            Some(Message::Home(answer)) => {
                let (question, home) = wire::home::answered(answer);
                self.shared.homes.answer(question, home);
            }
            Some(Message::Commands(_)) => {}
            Some(Message::Welcome(_)) => return Err(Lost::Protocol("a second `welcome`")),
            // A newer coordinator may say more than we know; it is not acted on.
            None => tracing::debug!("a message that this version of the kit doesn't know"),
        }
        Ok(())
    }

    fn ask(&self, query: Query) {
        let (shared, control, end) = (
            Arc::clone(self.shared),
            self.control.clone(),
            self.questions.clone(),
        );
        tokio::spawn(async move {
            if let Some(reply) = end.run_until_cancelled(shared.reply(query)).await {
                say(&control, connect_request::Message::Reply(reply));
            }
        });
    }

    fn note(&self, refusals: Refusals) {
        for refusal in refusals.refusals {
            self.shared.refusals.count(&refusal.reason);
            if let Some(unsaid) = self.shared.lines.next() {
                let (command, reason) = (refusal.command, refusal.reason);
                tracing::warn!(
                    command,
                    reason,
                    unsaid,
                    "a coordinator did not accept a report"
                );
            }
        }
    }

    /// Lets answers of work under way go up, then closes. Commands that crossed with the zero window are not started:
    /// the coordinator asks again elsewhere.
    async fn close(&mut self) {
        say(
            &self.control,
            connect_request::Message::Window(Window { commands: 0 }),
        );
        self.waiting.clear();
        let ended = self.shared.ended.clone();
        while let Some(message) = ended.run_until_cancelled(self.inbound.message()).await {
            match message {
                Ok(Some(message)) => drop(self.take_other(message.message)),
                Ok(None) | Err(_) => return,
            }
        }
        // The half-close: with its last sender gone each queue is sent to its end, and so ends the stream.
        self.link.close();
        self.questions.cancel();
        let (gone, _) = mpsc::channel(1);
        self.control = gone;
        let rest = async {
            while let Ok(Some(message)) = self.inbound.message().await {
                drop(self.take_other(message.message));
            }
        };
        if timeout(CLOSE_TIMEOUT, rest).await.is_err() {
            tracing::debug!(participant = %self.shared.participant, "a coordinator did not close its half in time");
        }
    }
}

fn contradiction() -> farewell_proto::participant::v1::report::Answer {
    wire::refused(
        INVALID_COMMAND,
        "a command of this name that says something else is being worked on",
    )
}

/// Queues a message of ours. The queue has room for everything that can be under way; if it were full the message is
/// lost, which a coordinator sees as no answer.
fn say(control: &mpsc::Sender<connect_request::Message>, message: connect_request::Message) {
    if control.try_send(message).is_err() {
        tracing::debug!("a message could not be queued");
    }
}
