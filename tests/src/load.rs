//! Callers that ask for many deletions and do not give up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use farewell_proto::deletion::v1::CreateDeletionRequest;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::caller::{Caller, request};

/// Callers at work at a time.
const WORKERS: usize = 6;
/// How long a caller waits for an answer before it asks again.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// Between two tries of one request.
const TRY_AGAIN: Duration = Duration::from_millis(150);

/// What callers were promised: the request as it was asked, and the deletion's name, by account.
pub type Promised = BTreeMap<String, (CreateDeletionRequest, String)>;

/// A load that goes on beside the story.
pub struct Load {
    workers: JoinSet<Result<()>>,
    promised: Arc<Mutex<Promised>>,
}

impl Load {
    /// Asks for the deletion of each account, by one caller as long as it answers and then by the next, pausing up to `pause` between two of them.
    pub fn start(callers: &[Caller], accounts: &[String], pause: Duration, seed: u64) -> Self {
        let promised = Arc::new(Mutex::new(Promised::new()));
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            let mine: Vec<_> = accounts
                .iter()
                .skip(worker)
                .step_by(WORKERS)
                .cloned()
                .collect();
            let chance = StdRng::seed_from_u64(seed.wrapping_add(worker as u64));
            workers.spawn(work(
                callers.to_vec(),
                worker,
                mine,
                pause,
                chance,
                Arc::clone(&promised),
            ));
        }
        Self { workers, promised }
    }

    /// How many were promised so far.
    pub fn promised(&self) -> usize {
        self.promised
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Waits until every request was answered.
    ///
    /// Errors: somebody was told something that no repeat may be told.
    pub async fn end(mut self) -> Result<Promised> {
        while let Some(worker) = self.workers.join_next().await {
            worker??;
        }
        let promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(promised.clone())
    }
}

async fn work(
    callers: Vec<Caller>,
    mut place: usize,
    accounts: Vec<String>,
    pause: Duration,
    mut chance: StdRng,
    promised: Arc<Mutex<Promised>>,
) -> Result<()> {
    for account in accounts {
        // Kept before it is sent: every try is the same request.
        let asked = request(&account);
        let name = loop {
            let caller = &callers[place % callers.len()];
            match timeout(ANSWER_MAX, caller.ask(asked.clone())).await {
                Ok(Ok(deletion)) => break deletion.name,
                Ok(Err(status)) if passes(status.code()) => {}
                Ok(Err(status)) => bail!("a repeat was told {status:?}"),
                Err(_) => {}
            }
            place += 1;
            sleep(TRY_AGAIN).await;
        };
        promised
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(account, (asked, name));
        let micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        sleep(Duration::from_micros(chance.random_range(0..=micros))).await;
    }
    Ok(())
}

/// Trouble that passes, on the way or over there. Anything else is a word on the request itself.
fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::DeadlineExceeded
    )
}

/// Names for accounts that are easy to find wherever they should not be.
pub fn accounts(story: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{story}.person-{number:04}"))
        .collect()
}

/// Chance that can be had again: the seed is printed, and `FAREWELL_TEST_SEED` sets it.
pub fn seed() -> u64 {
    let given = std::env::var("FAREWELL_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    eprintln!("FAREWELL_TEST_SEED={seed}");
    seed
}
