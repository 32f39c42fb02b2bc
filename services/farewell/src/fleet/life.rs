//! A device's life: away, there, told, done, back again.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::OrderState;
use farewell_runtime::backoff;
use farewell_runtime::shutdown::Shutdown;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::config::{Device, FleetConfig};
use super::link::{Heard, Link, NoLink};
use super::local::{Local, Reaction, unbinds};

/// Devices that connect at a time: handshakes are what a fleet costs.
const CONNECTING_MAX: usize = 64;
/// A device says what it knows again, in case the agent was away when it first did.
const SYNC_INTERVAL: Duration = Duration::from_secs(15);
const RECONNECT_BASE: Duration = Duration::from_millis(200);
const RECONNECT_CAP: Duration = Duration::from_secs(10);
/// A flaky device does each of its tricks with this chance, each time anew: it gets through in the end.
const TRICK_CHANCE: f64 = 0.35;
/// How much longer than usual a late answer takes.
const LATE_FACTOR: u32 = 8;

/// What all devices of a fleet share.
pub(super) struct Context {
    latency: Duration,
    offline_for: Duration,
    seed: u64,
    connecting: Semaphore,
    shutdown: Shutdown,
}

impl Context {
    pub fn new(config: &FleetConfig, shutdown: Shutdown) -> Self {
        Self {
            latency: config.latency,
            offline_for: config.offline_for,
            seed: config.seed,
            connecting: Semaphore::new(CONNECTING_MAX),
            shutdown,
        }
    }

    fn rng(&self, device: &str) -> StdRng {
        let mut hasher = DefaultHasher::new();
        (self.seed, device).hash(&mut hasher);
        StdRng::seed_from_u64(hasher.finish())
    }
}

/// A device that lives.
pub(super) struct Life {
    pub id: String,
    offline: bool,
    flaky: bool,
    reset: bool,
    online: AtomicBool,
    repeats: AtomicU32,
    local: Mutex<Local>,
}

/// How a session ended.
enum End {
    /// The device was unbound and comes back as a new one.
    Unbound,
    /// The connection is gone.
    Lost,
    /// The fleet ends.
    Shutdown,
}

/// What follows from an order.
enum Obeyed {
    /// The session goes on.
    On,
    /// The device must know the time first.
    Timeless,
    /// The session is over.
    Over(End),
}

impl Life {
    pub fn new(device: &Device, local: Local) -> Self {
        Self {
            id: device.id.clone(),
            offline: device.offline,
            flaky: device.flaky,
            reset: device.reset,
            online: AtomicBool::new(false),
            repeats: AtomicU32::new(0),
            local: Mutex::new(local),
        }
    }

    pub fn local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }

    /// How often an order came that had come before in the same session.
    pub fn repeats(&self) -> u32 {
        self.repeats.load(Ordering::Relaxed)
    }

    /// Until the fleet ends, or nobody knows the device any more.
    pub async fn live(self: Arc<Self>, mut link: Box<dyn Link>, context: Arc<Context>) {
        let mut rng = context.rng(&self.id);
        if self.offline && !pause(&context, context.offline_for).await {
            return;
        }
        if self.reset {
            self.local().reset_by_hand();
        }
        let mut failures = 0;
        loop {
            match self.open(&mut *link, &context).await {
                Ok(()) => failures = 0,
                // Its log-in was revoked, after it had said everything.
                Err(NoLink::Unknown) if self.local().epoch() == 0 => return,
                Err(NoLink::Unknown | NoLink::Away) => {
                    let wait =
                        backoff::jittered(failures, RECONNECT_BASE, RECONNECT_CAP, rng.random());
                    failures += 1;
                    if !pause(&context, wait).await {
                        return;
                    }
                    continue;
                }
            }
            self.online.store(true, Ordering::Relaxed);
            let end = self.session(&mut *link, &context, &mut rng).await;
            self.online.store(false, Ordering::Relaxed);
            link.close();
            let wait = match end {
                End::Shutdown => return,
                End::Unbound => context.latency,
                End::Lost => backoff::jittered(1, RECONNECT_BASE, RECONNECT_CAP, rng.random()),
            };
            if !pause(&context, wait).await {
                return;
            }
        }
    }

    async fn open(&self, link: &mut dyn Link, context: &Context) -> Result<(), NoLink> {
        let Ok(_permit) = context.connecting.acquire().await else {
            return Err(NoLink::Away);
        };
        let sync = self.local().sync();
        tokio::select! {
            () = context.shutdown.wait() => Err(NoLink::Away),
            opened = link.open(sync) => opened,
        }
    }

    async fn session(&self, link: &mut dyn Link, context: &Context, rng: &mut StdRng) -> End {
        let mut again = tokio::time::interval_at(Instant::now() + SYNC_INTERVAL, SYNC_INTERVAL);
        let mut heard = HashSet::new();
        loop {
            let envelope = tokio::select! {
                () = context.shutdown.wait() => return End::Shutdown,
                _ = again.tick() => {
                    self.say_again(link).await;
                    continue;
                }
                said = link.hear() => match said {
                    Heard::Orders(envelope) => envelope,
                    Heard::Lost => return End::Lost,
                },
            };
            self.local().learn(&envelope.time_proof);
            let heard_of = envelope.binding.as_ref();
            let mut again_at_once = heard_of.is_some_and(|binding| self.local().take_on(binding));
            for order in envelope.orders {
                if !heard.insert(order.clone()) {
                    self.repeats.fetch_add(1, Ordering::Relaxed);
                }
                match self.obey(&order, link, context, rng).await {
                    Obeyed::Over(end) => return end,
                    Obeyed::Timeless => again_at_once = true,
                    Obeyed::On => {}
                }
            }
            if again_at_once {
                self.say_again(link).await;
            }
        }
    }

    async fn obey(
        &self,
        order: &[u8],
        link: &mut dyn Link,
        context: &Context,
        rng: &mut StdRng,
    ) -> Obeyed {
        let reaction = self.local().consider(order);
        let signed = match reaction {
            Reaction::Answer(report) => {
                self.say(link, report).await;
                return Obeyed::On;
            }
            Reaction::AskTime => return Obeyed::Timeless,
            Reaction::Execute(signed) => signed,
        };
        // Said before the wipe: afterwards the device may not be able to.
        self.tell(link, &signed.order, OrderState::Received).await;
        if !pause(context, context.latency).await {
            return Obeyed::Over(End::Shutdown);
        }
        self.tell(link, &signed.order, OrderState::Executing).await;
        if self.trick(rng) {
            return Obeyed::Over(End::Lost);
        }
        if !pause(context, context.latency).await {
            return Obeyed::Over(End::Shutdown);
        }
        let unbinds = unbinds(&signed.order);
        let report = self.local().execute(signed);
        if self.trick(rng) {
            // Done, and the answer lost: only the next contact says so.
            return Obeyed::Over(End::Lost);
        }
        if self.trick(rng) && !pause(context, context.latency * LATE_FACTOR).await {
            return Obeyed::Over(End::Shutdown);
        }
        if self.trick(rng) {
            self.say(link, report.clone()).await;
        }
        self.say(link, report).await;
        if unbinds {
            Obeyed::Over(End::Unbound)
        } else {
            Obeyed::On
        }
    }

    async fn tell(&self, link: &mut dyn Link, order: &wire::Order, state: OrderState) {
        let report = self.local().report(order, state);
        self.say(link, report).await;
    }

    async fn say(&self, link: &mut dyn Link, report: wire::OrderReport) {
        let answer = self.local().say(report);
        link.answer(answer).await;
    }

    async fn say_again(&self, link: &mut dyn Link) {
        let sync = self.local().sync();
        link.say_again(sync).await;
    }

    fn trick(&self, rng: &mut StdRng) -> bool {
        self.flaky && rng.random_bool(TRICK_CHANCE)
    }
}

/// `false` if the fleet ends meanwhile.
async fn pause(context: &Context, wait: Duration) -> bool {
    tokio::select! {
        () = context.shutdown.wait() => false,
        () = tokio::time::sleep(wait) => true,
    }
}
