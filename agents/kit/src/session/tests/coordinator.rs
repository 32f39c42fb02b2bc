//! A coordinator of a few lines: it welcomes, and the test says the rest.

use std::net::SocketAddr;
use std::time::Duration;

use farewell_proto::participant::v1::participant_service_server::{
    ParticipantService, ParticipantServiceServer,
};
use farewell_proto::participant::v1::{
    Command, Commands, ConnectRequest, ConnectResponse, Query, Refusals, Reply, Report,
    ReportRefusal, Verb, Welcome, connect_request::Message as Up,
    connect_response::Message as Down, query::Question,
};
use farewell_runtime::server;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How long anything that must come may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Coordinator {
    pub addr: SocketAddr,
    streams: mpsc::Receiver<Stream>,
    stop: CancellationToken,
}

/// One stream, seen from the coordinator.
pub struct Stream {
    up: Streaming<ConnectRequest>,
    down: mpsc::Sender<Result<ConnectResponse, Status>>,
}

struct Door {
    streams: mpsc::Sender<Stream>,
}

#[tonic::async_trait]
impl ParticipantService for Door {
    type ConnectStream = ReceiverStream<Result<ConnectResponse, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (down, answers) = mpsc::channel(1024);
        let stream = Stream {
            up: request.into_inner(),
            down,
        };
        self.streams
            .send(stream)
            .await
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

impl Coordinator {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(addr: SocketAddr) -> Self {
        let bound = server::bind(addr).await.unwrap();
        let (sender, streams) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            let service = ParticipantServiceServer::new(Door { streams: sender });
            let serve = server::builder()
                .add_service(service)
                .serve_with_incoming(bound.incoming);
            stopped.run_until_cancelled(serve).await;
        });
        Self {
            addr: bound.addr,
            streams,
            stop,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The next stream, after `Hello`, before `Welcome`.
    pub async fn stranger(&mut self) -> Stream {
        let mut stream = timeout(PATIENCE, self.streams.recv())
            .await
            .expect("a stream in time")
            .unwrap();
        match stream.next().await {
            Some(Up::Hello(hello)) => assert_eq!(hello.participant, "notes"),
            other => panic!("expected hello, got {other:?}"),
        }
        stream
    }

    /// The next stream, welcomed; its window was set to `window`.
    pub async fn stream(&mut self, window: u32) -> Stream {
        self.stream_for(window, 1024).await
    }

    pub async fn stream_for(&mut self, window: u32, reports_max: u32) -> Stream {
        let welcome = Welcome {
            reports_max,
            ..welcome()
        };
        self.welcomed(window, welcome).await
    }

    /// The next stream, of a coordinator of this region.
    pub async fn stream_of(&mut self, window: u32, region: &str) -> Stream {
        let welcome = Welcome {
            region: region.to_owned(),
            ..welcome()
        };
        self.welcomed(window, welcome).await
    }

    async fn welcomed(&mut self, window: u32, welcome: Welcome) -> Stream {
        let mut stream = self.stranger().await;
        match stream.next().await {
            Some(Up::Window(said)) => assert_eq!(said.commands, window),
            other => panic!("expected window, got {other:?}"),
        }
        stream.say(Down::Welcome(welcome)).await;
        stream
    }

    /// As a process that is killed: connections end without a word.
    pub fn kill(self) -> SocketAddr {
        self.stop.cancel();
        self.addr
    }
}

impl Stream {
    pub async fn say(&self, message: Down) {
        self.down
            .send(Ok(ConnectResponse {
                message: Some(message),
            }))
            .await
            .unwrap();
    }

    pub async fn command(&self, commands: Vec<Command>) {
        self.say(Down::Commands(Commands { commands })).await;
    }

    pub async fn ask(&self, id: u64, timeout: Duration, account: &str, question: Question) {
        let query = Query {
            id,
            timeout: Some(timeout.try_into().unwrap()),
            account: account.to_owned(),
            traceparent: String::new(),
            question: Some(question),
        };
        self.say(Down::Query(query)).await;
    }

    pub async fn refuse(&self, command: &str, reason: &str) {
        let refusal = ReportRefusal {
            command: command.to_owned(),
            reason: reason.to_owned(),
        };
        self.say(Down::Refusals(Refusals {
            refusals: vec![refusal],
        }))
        .await;
    }

    /// The next message; none after the half-close or when the stream broke.
    pub async fn next(&mut self) -> Option<Up> {
        let message = timeout(PATIENCE, self.up.message())
            .await
            .expect("a message in time");
        message
            .ok()
            .flatten()
            .map(|request| request.message.expect("a message with content"))
    }

    /// The reports of the next frame.
    pub async fn reports(&mut self) -> Vec<Report> {
        match self.next().await {
            Some(Up::Reports(reports)) => reports.reports,
            other => panic!("expected reports, got {other:?}"),
        }
    }

    pub async fn report(&mut self) -> Report {
        let mut reports = self.reports().await;
        assert_eq!(reports.len(), 1, "{reports:?}");
        reports.remove(0)
    }

    pub async fn reply(&mut self) -> Reply {
        match self.next().await {
            Some(Up::Reply(reply)) => reply,
            other => panic!("expected a reply, got {other:?}"),
        }
    }

    /// Whether nothing comes for a while.
    pub async fn is_silent(&mut self) -> bool {
        timeout(Duration::from_millis(100), self.up.message())
            .await
            .is_err()
    }
}

fn welcome() -> Welcome {
    Welcome {
        coordinator: "c1".to_owned(),
        reports_max: 1024,
        region: String::new(),
    }
}

/// A sound command of deletion `n`.
pub fn command(n: usize, verb: Verb) -> Command {
    let word = match verb {
        Verb::Seal => "seal",
        Verb::Unseal => "unseal",
        Verb::Erase => "erase",
        Verb::Probe => "probe",
        Verb::Expire => "expire",
        Verb::Unspecified => "unspecified",
    };
    Command {
        device_horizon: None,
        retention: Vec::new(),
        ended_by_time: None,
        name: format!("deletions/d{n}/commands/1-{word}-notes"),
        verb: verb.into(),
        account: format!("accounts/a{n}"),
        deadline: None,
        traceparent: String::new(),
        devices: Vec::new(),
    }
}
