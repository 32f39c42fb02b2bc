//! A participant that says what the story wants, in raw messages.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use farewell_proto::participant::v1::connect_request::Message as Up;
use farewell_proto::participant::v1::connect_response::Message as Down;
use farewell_proto::participant::v1::participant_service_client::ParticipantServiceClient;
use farewell_proto::participant::v1::report::Answer;
use farewell_proto::participant::v1::{
    Command, ConnectRequest, ConnectResponse, Done, Hello, Outcome, Query, Reply, Report,
    ReportRefusal, Reports, Verb, Welcome, Window,
};
use farewell_runtime::client::endpoint;
use farewell_runtime::server::Security;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::wait::PATIENCE;

/// Messages that may wait to be sent.
const UP_MAX: usize = 1_024;

/// A stream to the coordinator.
pub struct Scripted {
    up: mpsc::Sender<ConnectRequest>,
    down: Streaming<ConnectResponse>,
    commands: VecDeque<Command>,
}

impl Scripted {
    /// Dials and says nothing.
    pub async fn dial(address: &str, security: &Security) -> Result<Self, Status> {
        let channel = endpoint(address, security)
            .map_err(|error| Status::internal(error.to_string()))?
            .connect()
            .await
            .map_err(|error| Status::unavailable(format!("{error:?}")))?;
        let (up, rest) = mpsc::channel(UP_MAX);
        // The answer's headers may wait for the first message.
        let down = ParticipantServiceClient::new(channel)
            .connect(ReceiverStream::new(rest))
            .await?
            .into_inner();
        Ok(Self {
            up,
            down,
            commands: VecDeque::new(),
        })
    }

    /// Dials, says hello and is welcome.
    pub async fn welcome(
        address: &str,
        security: &Security,
        name: &str,
    ) -> Result<(Self, Welcome), Status> {
        let mut scripted = Self::dial(address, security).await?;
        scripted.say(hello(name)).await;
        match scripted.hear().await? {
            Some(Down::Welcome(welcome)) => Ok((scripted, welcome)),
            other => Err(Status::internal(format!("no welcome: {other:?}"))),
        }
    }

    /// Takes part without TLS, with this window.
    pub async fn join(address: &str, name: &str, window: u32) -> Result<Self> {
        let welcome = Self::welcome(address, &Security::PlainLoopback, name).await;
        let (scripted, _) = welcome.map_err(|status| anyhow!("{name}: {status:?}"))?;
        scripted.window(window).await;
        Ok(scripted)
    }

    /// Sends one message. A stream that has ended says so when it is heard.
    pub async fn say(&self, message: Up) {
        let request = ConnectRequest {
            message: Some(message),
        };
        let _ = self.up.send(request).await;
    }

    /// Sends a message that says nothing.
    pub async fn say_nothing(&self) {
        let _ = self.up.send(ConnectRequest { message: None }).await;
    }

    /// Sets the window.
    pub async fn window(&self, commands: u32) {
        self.say(Up::Window(Window { commands })).await;
    }

    /// Sends reports in one frame.
    pub async fn report(&self, reports: Vec<Report>) {
        self.say(Up::Reports(Reports { reports })).await;
    }

    /// Answers one command.
    pub async fn answer(&self, command: &Command, answer: Answer) {
        self.report(vec![report(command, answer)]).await;
    }

    /// Answers a query.
    pub async fn reply(&self, reply: Reply) {
        self.say(Up::Reply(reply)).await;
    }

    /// The next message; `None` at the end of the stream.
    pub async fn hear(&mut self) -> Result<Option<Down>, Status> {
        match timeout(PATIENCE, self.next()).await {
            Ok(message) => message,
            Err(_) => Err(Status::deadline_exceeded("the coordinator says nothing")),
        }
    }

    /// The next message, however long it takes; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Down>, Status> {
        let response = self.down.message().await?;
        Ok(response.and_then(|response| response.message))
    }

    /// The status that the stream ends with.
    ///
    /// Errors: it ends in peace, or says something else.
    pub async fn end(&mut self) -> Result<Status> {
        match self.hear().await {
            Err(status) => Ok(status),
            Ok(other) => bail!("expected the end of the stream: {other:?}"),
        }
    }

    /// The next command.
    pub async fn command(&mut self) -> Result<Command> {
        while self.commands.is_empty() {
            match self.hear().await? {
                Some(Down::Commands(frame)) => {
                    ensure!(!frame.commands.is_empty(), "a frame without commands");
                    self.commands.extend(frame.commands);
                }
                other => bail!("expected a command: {other:?}"),
            }
        }
        self.commands.pop_front().context("a command")
    }

    /// The next query.
    pub async fn query(&mut self) -> Result<Query> {
        match self.hear().await? {
            Some(Down::Query(query)) => Ok(query),
            other => bail!("expected a query: {other:?}"),
        }
    }

    /// The next refusals.
    pub async fn refusals(&mut self) -> Result<Vec<ReportRefusal>> {
        match self.hear().await? {
            Some(Down::Refusals(refusals)) => Ok(refusals.refusals),
            other => bail!("expected refusals: {other:?}"),
        }
    }

    /// Whether nothing is heard for so long.
    pub async fn silence(&mut self, length: Duration) -> Result<()> {
        ensure!(
            self.commands.is_empty(),
            "there were commands: {:?}",
            self.commands
        );
        match timeout(length, self.down.message()).await {
            Err(_) => Ok(()),
            Ok(heard) => bail!("expected silence: {heard:?}"),
        }
    }
}

/// Hello.
pub fn hello(name: &str) -> Up {
    Up::Hello(Hello {
        participant: name.to_owned(),
        agent: "story/1".to_owned(),
    })
}

/// A report on a command.
pub fn report(command: &Command, answer: Answer) -> Report {
    Report {
        command: command.name.clone(),
        account: command.account.clone(),
        traceparent: String::new(),
        answer: Some(answer),
    }
}

/// A finished command.
pub fn done(outcome: Outcome, counts: &[(&str, i64)]) -> Done {
    let counts = counts
        .iter()
        .map(|(category, items)| ((*category).to_owned(), *items));
    Done {
        outcome: outcome.into(),
        counts: counts.collect::<BTreeMap<_, _>>().into_iter().collect(),
        retained: Vec::new(),
        devices: Vec::new(),
    }
}

/// The answer of a participant that does what it is asked.
pub fn honest(command: &Command) -> Answer {
    Answer::Done(match command.verb() {
        Verb::Seal => done(Outcome::Sealed, &[]),
        Verb::Unseal => done(Outcome::Unsealed, &[]),
        Verb::Probe => done(Outcome::Clean, &[]),
        // It never said that it keeps anything.
        Verb::Expire => done(Outcome::NotFound, &[]),
        Verb::Erase | Verb::Unspecified => done(Outcome::Erased, &[("photos", 3)]),
    })
}
