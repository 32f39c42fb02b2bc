//! The bare transport under measurement: the other end of the devices' connections, with nothing to decide or to keep.
//!
//! It gives a device as many bytes as an order has and waits for as many answers as an order gets, over the libraries and
//! settings that an agent uses.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use farewell_kit::devices::attach::SESSION_MESSAGES_MAX;
use farewell_kit::devices::mqtt::topic::{self, Channel};
use farewell_kit::devices::mqtt::{Client, Incoming, Options, connect};
use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::attach_request::Message as Up;
use farewell_proto::device::v1::attach_response::Message as Down;
use farewell_proto::device::v1::device_service_server::{DeviceService, DeviceServiceServer};
use farewell_runtime::shutdown::Shutdown;
use farewell_runtime::{handshake, memory, server};
use prost::Message as _;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::Transport;
use super::agent::{Ports, endpoint};
use super::field::ANSWERS;
use crate::bench::driver::{Shape, shape};
use crate::bench::part::{Place, end_of_input, may_go_on, say};

/// Bytes of a signed order.
const ORDER_BYTES: usize = 360;
/// How long it is measured.
const RUN: Duration = Duration::from_secs(10);
/// How long one device may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages under way to a broker.
const QUEUE_MESSAGES: u16 = 1024;

/// What the process is told.
#[derive(Debug, Args)]
pub struct BareArgs {
    #[command(flatten)]
    place: Place,
    #[arg(long)]
    transport: Transport,
    /// Messages under way at a time
    #[arg(long)]
    in_flight: usize,
    /// The port of the broker
    #[arg(long, default_value_t = 0)]
    broker: u16,
}

/// Holds the other end of the devices' connections; when it may, sends for a while and says how that went.
pub async fn bare(args: BareArgs) -> anyhow::Result<()> {
    memory::small_pages();
    let shutdown = Shutdown::new();
    let desks = Arc::new(Desks::default());
    let ports = match args.transport {
        Transport::Grpc => listen(&args, desks.clone(), shutdown.clone()).await?,
        Transport::Mqtt => dial(&args, desks.clone(), &shutdown),
    };
    say(&ports)?;
    if may_go_on().await {
        say(&desks.measure(args.in_flight).await?)?;
        end_of_input().await;
    }
    shutdown.trigger();
    Ok(())
}

/// The devices that are attached.
#[derive(Default)]
struct Desks(RwLock<HashMap<String, Arc<Desk>>>);

/// One of them.
struct Desk {
    line: Line,
    answers: AtomicU32,
    answered: Notify,
}

/// How a device is reached.
enum Line {
    Stream(mpsc::Sender<Result<wire::AttachResponse, Status>>),
    Broker(Client, String),
}

impl Desks {
    fn open(&self, device: String, line: Line) -> Arc<Desk> {
        let desk = Arc::new(Desk {
            line,
            answers: AtomicU32::new(0),
            answered: Notify::new(),
        });
        let mut desks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        desks.insert(device, desk.clone());
        desk
    }

    fn of(&self, device: &str) -> Option<Arc<Desk>> {
        let desks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        desks.get(device).cloned()
    }

    async fn measure(&self, in_flight: usize) -> anyhow::Result<Shape> {
        let desks: Vec<_> = {
            let desks = self.0.read().unwrap_or_else(PoisonError::into_inner);
            desks.values().cloned().collect()
        };
        anyhow::ensure!(desks.len() > in_flight, "too few devices are attached");
        let desks = Arc::new(desks);
        let turn = Arc::new(AtomicUsize::new(0));
        let started = Instant::now();
        let mut loops = JoinSet::new();
        for _ in 0..in_flight {
            let (desks, turn) = (desks.clone(), turn.clone());
            loops.spawn(async move {
                let mut taken = Vec::new();
                while started.elapsed() < RUN {
                    let place = turn.fetch_add(1, Ordering::Relaxed) % desks.len();
                    let sent = Instant::now();
                    desks[place].order().await?;
                    taken.push(sent.elapsed());
                }
                anyhow::Ok(taken)
            });
        }
        shape(loops, started).await
    }
}

impl Desk {
    async fn order(&self) -> anyhow::Result<()> {
        let envelope = wire::OrderEnvelope {
            orders: vec![vec![0x5a; ORDER_BYTES].into()],
            ..wire::OrderEnvelope::default()
        };
        match &self.line {
            Line::Stream(down) => {
                let message = Some(Down::Orders(envelope));
                down.send(Ok(wire::AttachResponse { message })).await?;
            }
            Line::Broker(client, topic) => {
                client
                    .publish(topic.clone(), envelope.encode_to_vec())
                    .await?
            }
        }
        tokio::time::timeout(PATIENCE, self.answered.notified())
            .await
            .context("a device does not answer")
    }

    fn answer(&self) {
        let answers = self.answers.fetch_add(1, Ordering::Relaxed) + 1;
        if answers.is_multiple_of(ANSWERS) {
            self.answered.notify_one();
        }
    }
}

async fn listen(args: &BareArgs, desks: Arc<Desks>, shutdown: Shutdown) -> anyhow::Result<Ports> {
    let bound = server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let security = args.place.security(args.transport.plan().word())?;
    let guarded = bound.guarded(&security, handshake::DEVICES)?;
    let devices = guarded.addr;
    let router = server::builder().add_service(DeviceServiceServer::new(Streams(desks)));
    let end = shutdown.clone();
    shutdown.spawn(async move { guarded.serve(router, end.wait()).await });
    Ok(Ports {
        devices,
        broker: None,
    })
}

struct Streams(Arc<Desks>);

#[tonic::async_trait]
impl DeviceService for Streams {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<wire::AttachResponse, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<wire::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut up = request.into_inner();
        let Some(wire::AttachRequest {
            message: Some(Up::Attach(attachment)),
        }) = up.message().await?
        else {
            return Err(Status::invalid_argument("the first message is `attach`"));
        };
        let sync = attachment.device.and_then(|device| device.sync);
        let Some(wire::sync_envelope::Sync::Plain(own)) = sync else {
            return Err(Status::invalid_argument("attach.device must be given"));
        };
        let (down, stream) = mpsc::channel(SESSION_MESSAGES_MAX);
        let desk = self.0.open(own.device, Line::Stream(down));
        tokio::spawn(async move {
            while let Some(Ok(_)) = up.next().await {
                desk.answer();
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

fn dial(args: &BareArgs, desks: Arc<Desks>, shutdown: &Shutdown) -> Ports {
    let line = args.transport.plan().word();
    let options = Options {
        endpoint: endpoint(args.broker),
        filters: vec![
            topic::all(line, Channel::Ack),
            topic::all(line, Channel::Sync),
        ],
        session_life: None,
        queue: QUEUE_MESSAGES,
    };
    let (client, mut incoming) = connect(options, shutdown);
    shutdown.spawn(async move {
        while let Some(message) = incoming.recv().await {
            let Incoming::Message { topic, .. } = message else {
                continue;
            };
            match topic::parse(line, &topic) {
                Some((device, Channel::Sync)) => {
                    let to = topic::of(line, device, Channel::Cmd);
                    desks.open(device.to_owned(), Line::Broker(client.clone(), to));
                }
                Some((device, Channel::Ack)) => {
                    if let Some(desk) = desks.of(device) {
                        desk.answer();
                    }
                }
                Some((_, Channel::Cmd)) | None => {}
            }
        }
    });
    let broker = SocketAddr::from(([127, 0, 0, 1], args.broker));
    Ports {
        devices: broker,
        broker: Some(broker),
    }
}
