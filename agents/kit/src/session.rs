//! Keeps a stream to every coordinator and carries commands to the participant and answers back.
//!
//! A command is polled once where it arrives and becomes a task of its own only if it has to wait. A participant that
//! answers from memory then costs no task, no channel and no change of thread per command; one that waits for its
//! database has as many commands under way as the window allows, and none of them holds up another. A fixed set of
//! workers behind a queue would cost a wake-up per command in the first case and, in the second, let a few slow
//! commands hold up the rest.
//!
//! Nothing here is durable. What was asked and not answered is asked again by the coordinator, and what was answered is
//! recalled by the participant: losing a stream, a report or this process costs time and nothing else.

mod asking;
mod connection;
mod desk;
mod export;
mod home;
mod lines;
mod link;
mod query;
mod refusals;
mod returns;
mod time;
mod trace;
mod uplink;
mod work;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farewell_runtime::{server::Security, shutdown::Shutdown};
use prost::bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::asking::Asking;
pub(crate) use self::asking::NO_COORDINATOR;
use self::desk::{Desk, Rung};
pub use self::export::{Ask, NoPart};
use self::home::Regions;
use self::lines::Lines;
use self::link::Link;
use self::refusals::Refusals;
pub(crate) use self::returns::RETURNS_MAX;
use self::trace::Traced;
use self::work::{Job, Settled};
use crate::export::Part;
use crate::home::{Here, NotHere};
use crate::participant::{Participant, ReturnKept};
use crate::wire;

/// Upper bound of a window on the wire.
const WINDOW_COMMANDS_MAX: u32 = 65_536;
/// One bit each in a set of askers; deletions hash into 64 slots, so more coordinators would have nothing to do.
const COORDINATORS_MAX: usize = 64;
/// Questions under way at a time: each is a task, and a coordinator asks few.
const QUERIES_MAX: usize = 256;

/// How a participant reaches its coordinators.
#[derive(Clone, Debug)]
pub struct Config {
    /// The participant's name; must be the one in its certificate.
    pub participant: String,
    /// `https://host:port` of every coordinator that can be seen; at most 64.
    pub coordinators: Vec<String>,
    /// Certificate and key, or plain text on loopback.
    pub security: Security,
    /// Commands that may be worked on at a time; 1 to 65,536.
    pub window_commands: u32,
}

/// Times that a session keeps to. The defaults suit a service; tests shorten them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long work that is under way may take after shutdown. Default 10 s, well inside the 30 s that an orchestrator
    /// gives a process. What isn't done by then is dropped and asked again.
    pub drain: Duration,
    /// Work that takes longer is reported as in progress, once. Default 2 s: by then a person may be looking.
    pub slow_after: Duration,
    /// How long a command may be worked on before it is dropped where it waits and put off, as after a fault. Default
    /// 10 min: far more than honest work takes, and a deletion still has days to find out what hangs.
    pub work: Duration,
    /// First pause after a [`crate::Fault`]; doubles with every further one of the same command. Default 200 ms.
    pub fault_base: Duration,
    /// Longest pause after a fault. Default 30 s: short enough that a database that is back is noticed.
    pub fault_cap: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            drain: Duration::from_secs(10),
            slow_after: Duration::from_secs(2),
            work: Duration::from_mins(10),
            fault_base: Duration::from_millis(200),
            fault_cap: Duration::from_secs(30),
        }
    }
}

/// A handle to the running sessions. Cheap to clone; dropping it ends nothing.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

impl Session {
    /// Tells the session that a deferred command may have an answer now: it is asked again at once, and the answer
    /// reported if the coordinator that sent the command is still there. A hint: losing it costs a retry.
    ///
    /// May be called from any thread. Does nothing for a command that isn't deferred; one that is being worked on is
    /// asked once more when it is deferred, so that news which arrives meanwhile is not missed.
    pub fn wake(&self, command: &str) {
        if self.shared.shutdown.is_triggered() {
            return;
        }
        match self.shared.desk.ring(command) {
            Rung::Start(job) => {
                let shared = Arc::clone(&self.shared);
                self.shared.runtime.spawn(async move {
                    shared.ended.run_until_cancelled(shared.rerun(job)).await;
                });
            }
            Rung::Noted | Rung::Unknown => {}
        }
    }

    /// Reports that coordinators did not accept, by reason. Each is a mistake that somebody should look at.
    pub fn refusals(&self) -> BTreeMap<String, u64> {
        self.shared.refusals.counts()
    }

    /// Coordinators with an open stream at this moment: zero means that no commands can arrive.
    pub fn connected(&self) -> usize {
        self.shared
            .links
            .iter()
            .filter(|link| link.is_open())
            .count()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("participant", &self.shared.participant)
            .finish_non_exhaustive()
    }
}

/// Starts the sessions. They run until `shutdown`, reconnecting with a jittered backoff. At shutdown the window is set
/// to zero, work under way is finished for at most [`Limits::drain`], its reports are sent and the streams are closed;
/// `Shutdown::drain` waits for all of that.
///
/// Must be called inside a tokio runtime. A coordinator whose address can't be used is logged as an error and left out;
/// the others are not affected.
pub fn start(config: Config, participant: Arc<dyn Participant>, shutdown: Shutdown) -> Session {
    start_with(config, Limits::default(), participant, shutdown)
}

/// [`start`] with other [`Limits`].
pub fn start_with(
    config: Config,
    limits: Limits,
    participant: Arc<dyn Participant>,
    shutdown: Shutdown,
) -> Session {
    let Config {
        participant: name,
        mut coordinators,
        security,
        window_commands,
    } = config;
    if coordinators.len() > COORDINATORS_MAX {
        tracing::error!(
            given = coordinators.len(),
            used = COORDINATORS_MAX,
            "too many coordinators"
        );
        coordinators.truncate(COORDINATORS_MAX);
    }
    let window_commands = window_commands.clamp(1, WINDOW_COMMANDS_MAX);
    let regions = Regions::new(coordinators.len());
    let shared = Arc::new(Shared {
        participant: name,
        code: participant,
        limits,
        window_commands,
        links: coordinators
            .into_iter()
            .enumerate()
            .map(|(index, url)| Link::new(index, url))
            .collect(),
        desk: Desk::default(),
        room: Arc::new(Semaphore::new(window_commands as usize)),
        questions: Arc::new(Semaphore::new(QUERIES_MAX)),
        refusals: Refusals::default(),
        lines: Lines::default(),
        times: Asking::default(),
        returns: Asking::default(),
        parts: Asking::default(),
        homes: Asking::default(),
        regions,
        runtime: Handle::current(),
        shutdown: shutdown.clone(),
        ended: CancellationToken::new(),
    });
    for index in 0..shared.links.len() {
        shutdown.spawn(link::keep(Arc::clone(&shared), index, security.clone()));
    }
    shutdown.spawn(tell_of_slow_work(Arc::clone(&shared)));
    shutdown.spawn(end(Arc::clone(&shared)));
    Session { shared }
}

/// What all streams of a participant have in common.
struct Shared {
    participant: String,
    code: Arc<dyn Participant>,
    limits: Limits,
    window_commands: u32,
    links: Vec<Link>,
    desk: Desk,
    /// A permit for each command that may be worked on.
    room: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    refusals: Refusals,
    lines: Lines,
    times: Asking<Bytes>,
    returns: Asking<Vec<ReturnKept>>,
    parts: Asking<Result<Part, NoPart>>,
    homes: Asking<Result<Here, NotHere>>,
    regions: Regions,
    runtime: Handle,
    shutdown: Shutdown,
    /// Said once nothing more will be answered: the drain is over.
    ended: CancellationToken,
}

impl Shared {
    /// Gives an answer to the coordinators that asked, over the streams they have now. One that has none asks again.
    fn post(&self, settled: Settled) {
        let Settled { askers, report } = settled;
        let mut rest = askers.links();
        let Some(first) = rest.next() else { return };
        for index in rest {
            self.links[index].post(report.clone());
        }
        self.links[first].post(report);
    }

    /// A deferred command that was woken: waits for room like any other.
    async fn rerun(&self, job: Arc<Job>) {
        let Ok(_permit) = self.room.acquire().await else {
            return;
        };
        let traced = Traced::woken(&job.order, &self.participant);
        let settled = self.carry_out(job, traced).await;
        self.post(settled);
    }
}

/// One look at everything under way, a few times in each period, instead of a timer for every command.
async fn tell_of_slow_work(shared: Arc<Shared>) {
    let mut look =
        tokio::time::interval((shared.limits.slow_after / 4).max(Duration::from_millis(10)));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.shutdown.wait() => return,
            _ = look.tick() => {}
        }
        for (job, askers) in shared.desk.slow(Instant::now(), shared.limits.slow_after) {
            let report = wire::report(&job.order, String::new(), wire::in_progress());
            shared.post(Settled { askers, report });
        }
    }
}

/// After shutdown: lets work under way finish, then says that nothing more will come.
async fn end(shared: Arc<Shared>) {
    shared.shutdown.wait().await;
    // Every command under way holds a permit until its answer is with the stream: all permits back means all is said.
    let idle = shared.room.acquire_many(shared.window_commands);
    if tokio::time::timeout(shared.limits.drain, idle)
        .await
        .is_err()
    {
        let left = shared.desk.len();
        tracing::warn!(participant = %shared.participant, left, "commands were not done in time; they will be asked again");
    }
    shared.ended.cancel();
}

#[cfg(test)]
mod tests;
