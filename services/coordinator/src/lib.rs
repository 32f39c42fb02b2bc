//! The central deletion coordinator.
//!
//! A request comes in by [`service`], is opened by a [`lane`], and stands on the [`board`] while participants owe it
//! something. [`dispatch`] sends what is owed, [`session`] hears what comes back, the settle lane makes it durable, and
//! the last receipt purges. [`steward`] does what is not a command; [`owner`] holds the slots and fills the board from the
//! ledger, which is the only truth here.

mod accounts;
mod admission;
mod board;
mod center;
mod clock;
pub mod config;
mod dispatch;
mod errand;
mod error;
mod event;
mod lane;
mod obligation;
mod orders;
mod owner;
mod plans;
mod query;
mod recount;
pub mod region;
mod replay;
mod sentences;
mod service;
mod session;
mod steward;
mod telling;
mod throttle;
mod timers;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use farewell_proto::account::v1::account_service_server::AccountServiceServer;
use farewell_proto::deletion::v1::deletion_service_server::DeletionServiceServer;
use farewell_proto::identifier::v1::identifier_service_server::IdentifierServiceServer;
use farewell_proto::operator::v1::operator_service_server::OperatorServiceServer;
use farewell_proto::participant::v1::participant_service_server::ParticipantServiceServer;
use farewell_runtime::handshake;
use farewell_runtime::server::{self, Guarded, MESSAGE_BYTES_MAX};
use farewell_runtime::shutdown::Shutdown;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::Router;
use tonic_health::server::HealthReporter;

use crate::admission::Admission;
use crate::center::{CHANGES_BEHIND_MAX, Center};
use crate::clock::Clock;
use crate::errand::Errands;
use crate::orders::Orders;
use crate::plans::Plans;
use crate::query::Queries;
use crate::region::{Cells, Homes};
use crate::replay::Replays;
use crate::service::account::Accounts;
use crate::service::deletion::Deletions;
use crate::service::identifier::Identifiers;
use crate::service::operator::Operators;
use crate::session::Sessions;
use crate::throttle::Throttle;
use farewell_interpreter::Interpreter;

pub use config::{Config, Listener, Pace};
pub use event::{Delivery, Events, Receiver};
pub use region::{Cell, Region};
pub use throttle::Limits;

/// Between NOT_SERVING and closing, so that load balancers hear it first.
const NOTICE: Duration = Duration::from_millis(200);

/// A coordinator that takes requests.
#[derive(Debug)]
pub struct Running {
    /// Where callers connect; the port is real even if 0 was asked for.
    pub callers: SocketAddr,
    /// Where participants connect.
    pub participants: SocketAddr,
    /// Where operators connect.
    pub operators: SocketAddr,
    /// Where receivers fetch events, if some do.
    pub events: Option<SocketAddr>,
    ended: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Returns when the coordinator has ended, after `shutdown` was triggered and the drain is over.
    pub async fn ended(self) -> anyhow::Result<()> {
        self.ended.await?
    }
}

/// Opens the ledger and the ports, and runs until `shutdown`.
///
/// Errors: a bad policy, an unreachable ledger, a port that can't be had, plain text asked for off loopback.
pub fn start(config: Config, shutdown: Shutdown) -> BoxFuture<'static, anyhow::Result<Running>> {
    // Boxed, so that everything below is compiled here and not once more with each program that calls it.
    Box::pin(open(config, shutdown))
}

async fn open(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    for listener in [&config.callers, &config.participants, &config.operators] {
        listener.security.check(listener.address)?;
    }
    let cells = Cells::new(config.region)?;
    let ledger = farewell_ledger::connect(&config.ledger)
        .await
        .context("opening the ledger")?;
    let plans = Plans::load(&*ledger, config.policy).await?;
    let clock = Clock::new(ledger.now().await?);
    let (open, opening) = mpsc::channel(lane::QUEUE_JOBS_MAX);
    let (turn, turning) = mpsc::channel(lane::QUEUE_JOBS_MAX);
    let (settle, settling) = mpsc::channel(lane::QUEUE_JOBS_MAX);
    let (errands, waiting) = Errands::new();
    let center = Arc::new(Center {
        instance: config.instance,
        ledger,
        clock,
        plans,
        cells,
        pace: config.pace,
        throttle: Throttle::new(config.limits),
        orders: Orders::new(config.orders),
        wake: Notify::new(),
        accounts: Notify::new(),
        changes: broadcast::Sender::new(CHANGES_BEHIND_MAX),
        open,
        turn,
        settle,
        errands,
        queries: Queries::default(),
        replays: Replays::default(),
        custodian: config.custodian,
        events: config.events,
        draining: AtomicBool::new(false),
        board: Default::default(),
        fence: Default::default(),
        refused: Default::default(),
    });
    // Sessions end first; the lanes go on until what was heard is durable; then the slots are given back.
    let work = Shutdown::new();
    let lanes = [
        tokio::spawn(lane::run_open(Arc::clone(&center), opening)),
        tokio::spawn(lane::run_turn(Arc::clone(&center), turning)),
        tokio::spawn(lane::run_settle(Arc::clone(&center), settling)),
        tokio::spawn(steward::run(Arc::clone(&center), waiting)),
    ];
    work.spawn(dispatch::run(Arc::clone(&center), work.clone()));
    work.spawn(event::relay::run(Arc::clone(&center), work.clone()));
    work.spawn(owner::run(Arc::clone(&center), work.clone()));
    work.spawn(accounts::run(Arc::clone(&center), work.clone()));
    work.spawn(recount::run(Arc::clone(&center), work.clone()));
    event::start(&center, &work).context("events")?;

    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(farewell_proto::FILE_DESCRIPTOR_SET)
            .build_v1()
    };
    let homes = Homes::new(Arc::clone(&center));
    let known = || Admission::callers(center.cells.names());
    let streams = Shutdown::new();
    let deletions =
        DeletionServiceServer::new(Deletions::new(Arc::clone(&center), streams.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let deletions = InterceptedService::new(homes.guard(deletions), known());
    let deletions = Interpreter::before(deletions, &sentences::CATALOGUE);
    let accounts = AccountServiceServer::new(Accounts::new(Arc::clone(&center), streams.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let accounts = InterceptedService::new(homes.guard(accounts), known());
    let accounts = Interpreter::before(accounts, &sentences::CATALOGUE);
    let identifiers = IdentifierServiceServer::new(Identifiers::new(Arc::clone(&center)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    // Nobody asks for another region's identifiers.
    let identifiers = InterceptedService::new(identifiers, Admission::callers(Arc::default()));
    let identifiers = Interpreter::before(identifiers, &sentences::CATALOGUE);
    let sessions =
        ParticipantServiceServer::new(Sessions::new(Arc::clone(&center), streams.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let sessions = InterceptedService::new(sessions, Admission::participants());
    let operators = OperatorServiceServer::new(Operators::new(Arc::clone(&center)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let operators = InterceptedService::new(operators, Admission::operators());
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<AccountServiceServer<Accounts>>().await;
    health
        .set_serving::<IdentifierServiceServer<Identifiers>>()
        .await;
    health
        .set_serving::<DeletionServiceServer<Deletions>>()
        .await;
    health
        .set_serving::<ParticipantServiceServer<Sessions>>()
        .await;
    health
        .set_serving::<OperatorServiceServer<Operators>>()
        .await;

    let close = Shutdown::new();
    let callers = serve(&config.callers, &close, |routes| {
        Ok(routes
            .add_service(health_service.clone())
            .add_service(reflection()?)
            .add_service(accounts)
            .add_service(identifiers)
            .add_service(deletions))
    })
    .await
    .with_context(|| format!("cannot listen on {}", config.callers.address))?;
    let participants = serve(&config.participants, &close, |routes| {
        Ok(routes
            .add_service(health_service.clone())
            .add_service(sessions))
    })
    .await
    .with_context(|| format!("cannot listen on {}", config.participants.address))?;
    let operators = serve(&config.operators, &close, |routes| {
        Ok(routes
            .add_service(health_service.clone())
            .add_service(reflection()?)
            .add_service(operators))
    })
    .await
    .with_context(|| format!("cannot listen on {}", config.operators.address))?;
    let events = match center.events.as_ref().and_then(|it| it.listener.clone()) {
        Some(listener) => {
            let routes = Routes::from(event::poll::routes(Arc::clone(&center), streams.clone()));
            let served = serve_http(&listener, &close, routes);
            Some(served.await.context("listening for receivers of events")?)
        }
        None => None,
    };
    tracing::info!(%callers, %participants, %operators, ?events, "serving");

    let ended = tokio::spawn(async move {
        shutdown.wait().await;
        drain(
            center,
            health,
            Draining {
                streams,
                close,
                work,
                lanes,
            },
        )
        .await;
        Ok(())
    });
    Ok(Running {
        callers,
        participants,
        operators,
        events,
        ended,
    })
}

struct Draining<const N: usize> {
    streams: Shutdown,
    close: Shutdown,
    work: Shutdown,
    lanes: [JoinHandle<()>; N],
}

/// Ends in order: tell, stop sending, let what was heard become durable, close, give the slots back.
async fn drain<const N: usize>(center: Arc<Center>, health: HealthReporter, parts: Draining<N>) {
    health
        .set_not_serving::<AccountServiceServer<Accounts>>()
        .await;
    health
        .set_not_serving::<IdentifierServiceServer<Identifiers>>()
        .await;
    health
        .set_not_serving::<DeletionServiceServer<Deletions>>()
        .await;
    health
        .set_not_serving::<ParticipantServiceServer<Sessions>>()
        .await;
    health
        .set_not_serving::<OperatorServiceServer<Operators>>()
        .await;
    center.draining.store(true, Ordering::Relaxed);
    tokio::time::sleep(NOTICE).await;
    let end = tokio::time::Instant::now() + center.pace.drain;
    let left = || end.saturating_duration_since(tokio::time::Instant::now());
    let streams = parts.streams.drain(left()).await;
    let closed = parts.close.drain(left()).await;
    let settled = tokio::time::timeout_at(end, quiet(&center)).await.is_ok();
    let stopped = parts.work.drain(left()).await;
    owner::leave(&center).await;
    parts.lanes.iter().for_each(JoinHandle::abort);
    tracing::info!(streams, closed, settled, stopped, "ended");
}

/// Returns when nothing waits in a lane.
async fn quiet(center: &Center) {
    const LOOK_AGAIN: Duration = Duration::from_millis(10);
    while center.open.capacity() < center.open.max_capacity()
        || center.settle.capacity() < center.settle.max_capacity()
    {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Serves gRPC on a port until `close`.
async fn serve(
    listener: &Listener,
    close: &Shutdown,
    add: impl FnOnce(Router) -> anyhow::Result<Router>,
) -> anyhow::Result<SocketAddr> {
    let bound = server::bind(listener.address).await?;
    let guarded = bound.guarded(&listener.security, handshake::GRPC)?;
    let router = add(server::builder().add_routes(Routes::default()))?;
    Ok(until_closed(router, guarded, close))
}

/// Serves HTTP on a port until `close`, of whichever version other systems speak.
async fn serve_http(
    listener: &Listener,
    close: &Shutdown,
    routes: Routes,
) -> anyhow::Result<SocketAddr> {
    let bound = server::bind(listener.address).await?;
    let guarded = bound.guarded(&listener.security, handshake::HTTP)?;
    let router = server::builder().accept_http1(true).add_routes(routes);
    Ok(until_closed(router, guarded, close))
}

/// Where it is served.
fn until_closed(router: Router, guarded: Guarded, close: &Shutdown) -> SocketAddr {
    let (closing, addr) = (close.clone(), guarded.addr);
    close.spawn(async move {
        let served = guarded
            .serve(router, async move { closing.wait().await })
            .await;
        if let Err(error) = served {
            tracing::error!(error = %lane::chain(&error), "a listener failed");
        }
    });
    addr
}
