//! Asks for deletions and waits for their end, in a closed loop or at a fixed rate.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use farewell_proto::deletion::v1::deletion_service_client::DeletionServiceClient;
use farewell_proto::deletion::v1::{Channel, CreateDeletionRequest, State, WatchDeletionRequest};
use farewell_runtime::client;
use farewell_runtime::server::Security;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::transport;
use uuid::Uuid;

/// Connections of the driver: one is served by one task, which would be what is measured.
const CONNECTIONS: usize = 4;
/// How long one deletion may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Latencies are kept to three digits.
const HISTOGRAM_DIGITS: u8 = 3;

type Service = DeletionServiceClient<transport::Channel>;

/// What a run showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shape {
    /// Deletions, or whatever else went from a beginning to an end.
    pub count: u64,
    pub seconds: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Shape {
    /// So many a second.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds
    }
}

/// The accounts that are deleted, one after another.
pub type Accounts = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// A connected driver.
pub struct Driver {
    accounts: Accounts,
    services: Vec<Service>,
    ends: Arc<Ends>,
    turn: AtomicU64,
}

/// Accounts that nobody has heard of.
pub fn strangers() -> Accounts {
    Box::new(|| Some(format!("bench-{}", Uuid::now_v7().simple())))
}

/// Who waits for which deletion; an end may be heard before the answer to the request.
#[derive(Default)]
struct Ends(Mutex<HashMap<String, End>>);

enum End {
    Awaited(oneshot::Sender<Instant>),
    Heard(Instant),
}

impl Driver {
    /// Connects and starts to watch every deletion until it is in this state.
    pub async fn connect(
        url: &str,
        security: &Security,
        end: State,
        accounts: Accounts,
    ) -> anyhow::Result<Self> {
        let mut services = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            let channel = client::endpoint(url, security)?
                .connect()
                .await
                .context("connecting to the coordinator")?;
            services.push(DeletionServiceClient::new(channel));
        }
        let ends = Arc::new(Ends::default());
        let request = WatchDeletionRequest {
            name: "deletions/-".to_owned(),
        };
        let mut changes = services[0]
            .clone()
            .watch_deletion(request)
            .await?
            .into_inner();
        let heard = Arc::clone(&ends);
        tokio::spawn(async move {
            while let Ok(Some(response)) = changes.message().await {
                let now = Instant::now();
                for deletion in response.deletions {
                    if deletion.state() == end {
                        heard.hear(deletion.name, now);
                    }
                }
            }
        });
        Ok(Self {
            accounts,
            services,
            ends,
            turn: AtomicU64::new(0),
        })
    }

    /// One deletion to its end. Returns when that was.
    async fn delete(&self) -> anyhow::Result<Instant> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let place = usize::try_from(turn).unwrap_or(0) % self.services.len();
        let account = (self.accounts)().context("no account is left")?;
        let request = CreateDeletionRequest {
            request_id: Uuid::now_v7().to_string(),
            account: format!("accounts/{account}"),
            channel: Channel::Support.into(),
            consents: Vec::new(),
        };
        let mut service = self.services[place].clone();
        let created = service
            .create_deletion(client::request(request, PATIENCE))
            .await?;
        let deletion = created
            .into_inner()
            .deletion
            .context("a deletion in the answer")?;
        let ended = self.ends.wait(deletion.name);
        tokio::time::timeout(PATIENCE, ended)
            .await
            .context("a deletion did not come to its end in time")?
    }

    /// `in_flight` at a time until `deletions` are done.
    pub async fn closed(
        self: &Arc<Self>,
        deletions: u64,
        in_flight: usize,
    ) -> anyhow::Result<Shape> {
        let left = Arc::new(AtomicU64::new(deletions));
        let started = Instant::now();
        let mut loops = JoinSet::new();
        for _ in 0..in_flight {
            let (driver, left) = (Arc::clone(self), Arc::clone(&left));
            loops.spawn(async move {
                let mut latencies = Vec::new();
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                        left.checked_sub(1)
                    })
                    .is_ok()
                {
                    let asked = Instant::now();
                    let ended = driver.delete().await?;
                    latencies.push(ended.saturating_duration_since(asked));
                }
                anyhow::Ok(latencies)
            });
        }
        gather(loops, deletions, started).await
    }

    /// At a fixed rate, whatever comes back; latency counts from the intended start.
    pub async fn open(self: &Arc<Self>, deletions: u64, per_second: f64) -> anyhow::Result<Shape> {
        let started = Instant::now();
        let mut runs = JoinSet::new();
        for place in 0..deletions {
            #[expect(clippy::cast_precision_loss, reason = "a schedule of microseconds")]
            let intended = started + Duration::from_secs_f64(place as f64 / per_second);
            if intended > Instant::now() {
                tokio::time::sleep_until(intended.into()).await;
            }
            let driver = Arc::clone(self);
            runs.spawn(async move {
                anyhow::Ok(vec![
                    driver.delete().await?.saturating_duration_since(intended),
                ])
            });
        }
        gather(runs, deletions, started).await
    }
}

impl Ends {
    fn hear(&self, name: String, at: Instant) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match ends.remove(&name) {
            Some(End::Awaited(waiting)) => drop(waiting.send(at)),
            Some(End::Heard(_)) | None => drop(ends.insert(name, End::Heard(at))),
        }
    }

    async fn wait(&self, name: String) -> anyhow::Result<Instant> {
        let receiver = {
            let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match ends.remove(&name) {
                Some(End::Heard(at)) => return Ok(at),
                Some(End::Awaited(_)) | None => {
                    let (sender, receiver) = oneshot::channel();
                    ends.insert(name, End::Awaited(sender));
                    receiver
                }
            }
        };
        Ok(receiver.await?)
    }
}

async fn gather(
    runs: JoinSet<anyhow::Result<Vec<Duration>>>,
    deletions: u64,
    started: Instant,
) -> anyhow::Result<Shape> {
    let shape = shape(runs, started).await?;
    anyhow::ensure!(
        shape.count == deletions,
        "{} of {deletions} deletions came to their end",
        shape.count
    );
    Ok(shape)
}

/// What runs that began at `started` show, once each has said how long everything took.
pub async fn shape(
    mut runs: JoinSet<anyhow::Result<Vec<Duration>>>,
    started: Instant,
) -> anyhow::Result<Shape> {
    let mut histogram = Histogram::<u64>::new(HISTOGRAM_DIGITS)?;
    while let Some(run) = runs.join_next().await {
        for latency in run?? {
            histogram.record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX))?;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let ms = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    Ok(Shape {
        count: histogram.len(),
        seconds: started.elapsed().as_secs_f64(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
    })
}
