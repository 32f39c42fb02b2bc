//! A participant's stream: who it is, what it has room for, what it answers.

mod homes;
mod parts;
mod returns;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use farewell_core::report::Verdict;
use farewell_core::{CommandName, ParticipantId, Reason};
use farewell_proto::participant::v1::connect_request::Message as Up;
use farewell_proto::participant::v1::connect_response::Message as Down;
use farewell_proto::participant::v1::participant_service_server::ParticipantService;
use farewell_proto::participant::v1::{self as wire, ConnectRequest, ConnectResponse};
use farewell_runtime::peer;
use farewell_runtime::shutdown::Shutdown;
use farewell_runtime::telemetry;
use futures_util::stream::{PollNext, select_with_strategy};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use self::homes::Homes;
use self::parts::Parts;
use self::returns::Returns;
use crate::board::{Frame, Heard, Lines, SESSION_FRAMES_MAX, SessionId, WINDOW_COMMANDS_MAX};
use crate::center::Center;
use crate::error;
use crate::lane::{SettleJob, Work};
use crate::wire as convert;

/// Reports in one frame.
pub const REPORTS_MAX: usize = 1_024;
/// How long a new session may take to say who it is.
const HELLO_MAX: Duration = Duration::from_secs(10);
/// Sessions of all participants; each costs a connection and a queue.
const SESSIONS_MAX: u64 = 10_000;

/// See the module.
pub struct Sessions {
    center: Arc<Center>,
    shutdown: Shutdown,
    last: AtomicU64,
    open: Arc<AtomicU64>,
}

impl Sessions {
    /// The service over this center.
    pub fn new(center: Arc<Center>, shutdown: Shutdown) -> Self {
        Self {
            center,
            shutdown,
            last: AtomicU64::new(0),
            open: Arc::new(AtomicU64::new(0)),
        }
    }
}

#[tonic::async_trait]
impl ParticipantService for Sessions {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ConnectResponse, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let certified = peer::of_request(&request)?.map(|peer| peer.name);
        if self.open.load(Ordering::Relaxed) >= SESSIONS_MAX {
            return Err(error::exhausted(
                "TOO_MANY_SESSIONS",
                "this coordinator has all the sessions that it can hold",
            ));
        }
        let mut up = request.into_inner();
        let (commands, commanded) = mpsc::channel::<Frame>(SESSION_FRAMES_MAX);
        let (words, said) = mpsc::channel::<Frame>(SESSION_FRAMES_MAX);
        let session = Session {
            center: Arc::clone(&self.center),
            id: self.last.fetch_add(1, Ordering::Relaxed) + 1,
            lines: Lines { commands, words },
        };
        let (shutdown, open) = (self.shutdown.clone(), Arc::clone(&self.open));
        open.fetch_add(1, Ordering::Relaxed);
        self.shutdown.spawn(async move {
            let ended = tokio::select! {
                ended = session.run(&mut up, certified) => ended,
                () = shutdown.wait() => Err(error::unavailable("DRAINING", "this coordinator is ending; connect to another")),
            };
            if let Err(status) = ended {
                let _ = session.lines.words.try_send(Err(status));
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
        // Words first: the welcome comes before any command, and questions have deadlines.
        let down = select_with_strategy(
            ReceiverStream::new(said),
            ReceiverStream::new(commanded),
            |_: &mut ()| PollNext::Left,
        );
        Ok(Response::new(Box::pin(down)))
    }
}

struct Session {
    center: Arc<Center>,
    id: SessionId,
    lines: Lines,
}

impl Session {
    async fn run(
        &self,
        up: &mut Streaming<ConnectRequest>,
        certified: Option<String>,
    ) -> Result<(), Status> {
        let participant = self.hello(up, certified).await?;
        let welcome = wire::Welcome {
            coordinator: self.center.instance.clone(),
            reports_max: u32::try_from(REPORTS_MAX).unwrap_or(u32::MAX),
            region: self.region(),
        };
        self.send(Down::Welcome(welcome)).await?;
        self.center
            .board()
            .seat(&participant, self.id, self.lines.clone());
        let _seated = Seated {
            session: self,
            participant: &participant,
        };
        tracing::info!(%participant, session = self.id, "participant connected");
        let name: Arc<str> = participant.as_str().into();
        let (mut returns, mut parts) = (Returns::default(), Parts::default());
        let mut homes = Homes::default();
        while let Some(message) = up.next().await {
            match message?.message {
                Some(Up::Reports(reports)) => self.reports(&participant, &name, reports).await?,
                Some(Up::Window(window)) => self.window(&participant, window)?,
                Some(Up::Reply(reply)) => self.center.queries.reply(&participant, reply),
                Some(Up::Time(question)) => self.time(&question),
                Some(Up::Returns(frame)) => {
                    returns.take(&self.center, &participant, &self.lines.words, frame)?;
                }
                Some(Up::ExportPart(question)) => {
                    parts.take(&self.center, &participant, &self.lines.words, question);
                }
                Some(Up::Home(question)) => {
                    homes.take(&self.center, &self.lines.words, question);
                }
                Some(Up::Hello(_)) => {
                    return Err(error::invalid("hello", "a session says hello once"));
                }
                None => return Err(error::invalid("message", "must be set")),
            }
        }
        Ok(())
    }

    /// The participant's name: the certificate's, never what it says; without TLS, which only loopback allows, what it says.
    async fn hello(
        &self,
        up: &mut Streaming<ConnectRequest>,
        certified: Option<String>,
    ) -> Result<ParticipantId, Status> {
        let first = timeout(HELLO_MAX, up.next())
            .await
            .map_err(|_| error::deadline("no hello in time"))?;
        let Some(Up::Hello(hello)) = first.transpose()?.and_then(|request| request.message) else {
            return Err(error::invalid("hello", "must be the first message"));
        };
        if let Some(certified) = certified
            && certified != hello.participant
        {
            return Err(error::denied(
                "IDENTITY_MISMATCH",
                "hello names another participant than the certificate",
            ));
        }
        let participant: ParticipantId =
            hello
                .participant
                .parse()
                .map_err(|error: farewell_core::id::BadId| {
                    error::invalid("hello.participant", error.0)
                })?;
        if !self.center.plans.know(&participant) {
            return Err(error::denied(
                "UNKNOWN_PARTICIPANT",
                "no policy names this participant",
            ));
        }
        Ok(participant)
    }

    /// Empty where there is only one: then nobody asks for an account's home.
    fn region(&self) -> String {
        let cells = &self.center.cells;
        match cells.is_only_one() {
            true => String::new(),
            false => cells.own().to_owned(),
        }
    }

    fn window(&self, participant: &ParticipantId, window: wire::Window) -> Result<(), Status> {
        if window.commands > WINDOW_COMMANDS_MAX {
            return Err(error::invalid("window.commands", "must be 0 to 65536"));
        }
        self.center
            .board()
            .set_window(participant, self.id, window.commands);
        self.center.wake.notify_one();
        Ok(())
    }

    fn time(&self, question: &wire::TimeQuestion) {
        let answer = wire::TimeAnswer {
            question_id: question.id,
            proof: self.center.orders.time(question, self.center.clock.now()),
        };
        let frame = ConnectResponse {
            message: Some(Down::Time(answer)),
        };
        // Full: the device asks again.
        let _ = self.lines.words.try_send(Ok(frame));
    }

    async fn reports(
        &self,
        participant: &ParticipantId,
        name: &Arc<str>,
        frame: wire::Reports,
    ) -> Result<(), Status> {
        if frame.reports.len() > REPORTS_MAX {
            return Err(error::exhausted(
                "TOO_MANY_REPORTS",
                "a frame holds at most 1024 reports",
            ));
        }
        let span = tracing::info_span!(
            "report batch",
            participant = &**name,
            reports = frame.reports.len()
        );
        if let Some(report) = frame.reports.first() {
            telemetry::link(&span, &report.traceparent);
        }
        let mut jobs = Vec::with_capacity(frame.reports.len());
        let mut absent = Vec::new();
        let mut refusals = Vec::new();
        {
            let now = (Instant::now(), self.center.clock.now());
            let mut board = self.center.board();
            for report in frame.reports {
                let (command, account) = (report.command, report.account);
                let parsed = command
                    .parse::<CommandName>()
                    .map_err(|_| Reason::UnknownCommand)
                    .and_then(|name| {
                        let account = convert::account(&account).ok_or(Reason::AccountMismatch)?;
                        Ok((name, account, convert::answer(report.answer)?))
                    });
                let heard = parsed.and_then(|(name, account, answer)| {
                    if self
                        .center
                        .replays
                        .hear(participant, &name, &account, &answer)
                    {
                        return Ok(None);
                    }
                    match board.hear(participant, &name, &account, &answer, now) {
                        Err(Reason::DeletionNotFound) => {
                            absent.push((command.clone(), name, account, answer));
                            Ok(None)
                        }
                        heard => heard,
                    }
                });
                match heard {
                    Ok(Some(heard)) => jobs.extend(self.job(heard, command, name)),
                    Ok(None) => {}
                    Err(reason) => refusals.push((command, reason)),
                }
            }
        }
        for job in jobs {
            let sent = self.center.settle.send(job).await;
            sent.map_err(|_| error::unavailable("DRAINING", "this coordinator is ending"))?;
        }
        for (command, id, account, answer) in absent {
            match self.look_up(participant, &id, &account, &answer).await {
                Ok(Some(heard)) => {
                    if let Some(job) = self.job(heard, command, name) {
                        let sent = self.center.settle.send(job).await;
                        sent.map_err(|_| {
                            error::unavailable("DRAINING", "this coordinator is ending")
                        })?;
                    }
                }
                Ok(None) => {}
                Err(reason) => refusals.push((command, reason)),
            }
        }
        // Answers may have made room in the window.
        self.center.wake.notify_one();
        self.refuse(name, refusals).await
    }

    fn job(&self, heard: Heard, command: String, participant: &Arc<str>) -> Option<SettleJob> {
        let work = match heard.verdict {
            Verdict::Settle(receipt) => Work::Settle(receipt),
            Verdict::Compare(receipt) => Work::Compare(receipt),
            Verdict::Residue { probe, erase } => Work::Residue { probe, erase },
            Verdict::NeedsPerson { leg, reason } => Work::Refused { leg, reason },
            Verdict::Progress(_) | Verdict::Defer(..) => return None,
        };
        let sender = (self.lines.words.clone(), command);
        Some(SettleJob {
            deletion: heard.deletion,
            round: heard.round,
            keeps: heard.keeps,
            work,
            sender,
            participant: Arc::clone(participant),
        })
    }

    /// Judges a report for a deletion that is not on the board: it may have ended, or be another coordinator's.
    async fn look_up(
        &self,
        participant: &ParticipantId,
        name: &CommandName,
        account: &farewell_core::AccountId,
        answer: &farewell_core::report::Answer,
    ) -> Result<Option<Heard>, Reason> {
        let stored = match self.center.ledger.get(&[name.deletion]).await {
            Ok(mut stored) => stored.pop().ok_or(Reason::UnknownCommand)?,
            // Nothing is known, so nothing is said; the owner asks again.
            Err(_) => return Ok(None),
        };
        let Some(plan) = self.center.plans.get(stored.deletion.policy_version) else {
            return Ok(None);
        };
        let rosters = crate::board::rosters(&plan, &stored.seals);
        let roster = rosters
            .iter()
            .find(|roster| roster.participant == *participant);
        let devices = roster.map_or(&[][..], |roster| &roster.devices);
        let judged = farewell_core::report::judge(
            participant,
            name,
            account,
            answer,
            (&stored.deletion, &plan),
            devices,
            self.center.clock.now(),
        );
        let verdict = judged?;
        let ours = self.center.board().owns(name.deletion);
        // Another coordinator's deletion is settled by its owner, who asks on its own stream.
        Ok(ours.then(|| Heard::new(verdict, &stored.deletion, &plan)))
    }

    async fn refuse(
        &self,
        participant: &Arc<str>,
        refused: Vec<(String, Reason)>,
    ) -> Result<(), Status> {
        if refused.is_empty() {
            return Ok(());
        }
        let mut refusals = Vec::with_capacity(refused.len());
        for (command, reason) in refused {
            self.center.count_refusal(participant, reason);
            refusals.push(wire::ReportRefusal {
                command,
                reason: reason.word().to_owned(),
            });
        }
        tracing::warn!(
            participant = &**participant,
            reports = refusals.len(),
            reason = refusals[0].reason,
            "refused reports"
        );
        self.send(Down::Refusals(wire::Refusals { refusals })).await
    }

    async fn send(&self, message: Down) -> Result<(), Status> {
        let frame = ConnectResponse {
            message: Some(message),
        };
        self.lines
            .words
            .send(Ok(frame))
            .await
            .map_err(|_| Status::cancelled("the participant has left"))
    }
}

/// Takes the session off the board however it ends.
struct Seated<'a> {
    session: &'a Session,
    participant: &'a ParticipantId,
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        self.session
            .center
            .board()
            .unseat(self.participant, self.session.id);
        self.session.center.wake.notify_one();
        tracing::info!(participant = %self.participant, session = self.session.id, "participant left");
    }
}
