//! A replay as a stream: what was purged, or had ended, since a time, and what is under way or was taken back, newest request first, a
//! few at a time and no faster than a limit; then the accounts that stay, and are there as they were.

use std::sync::Arc;
use std::time::Duration;

use farewell_core::{AccountId, DeletionId, ParticipantId, Time, replay};
use farewell_ledger::Filter;
use farewell_proto::deletion::v1::{ReplayPurgedRequest, ReplayPurgedResponse, ReplayResult};
use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::{page, parse};
use crate::center::Center;
use crate::error;
use crate::replay::{Again, Broken};
use crate::wire;

/// Replays of one coordinator at a time: each is a flood of erasing.
const REPLAYS_MAX: usize = 1;
/// Deletions at a time.
const AT_A_TIME: usize = 8;
/// Between the beginnings of two such handfuls: at most 80 deletions a second, so that others' commands have room.
const HANDFUL: Duration = Duration::from_millis(100);
/// Deletions read at a time.
const PAGE_ROWS: u32 = 500;
/// Codes of the states in which a participant may have done something: COOLING_OFF, ERASING, VERIFYING, PURGED, REVOKED, DENIED.
const STATES: [i16; 6] = [2, 3, 4, 5, 6, 7];
/// What a slow reader may be behind.
pub const QUEUE_MESSAGES_MAX: usize = 64;

/// Room for replays.
#[derive(Debug)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(REPLAYS_MAX)))
    }
}

/// A replay that may begin.
#[derive(Debug)]
pub struct Replay {
    participant: ParticipantId,
    since: Time,
    before: Option<DeletionId>,
    query: String,
    _place: OwnedSemaphorePermit,
}

type Sender = mpsc::Sender<Result<ReplayPurgedResponse, Status>>;

impl Room {
    /// Errors: `INVALID_FIELD`, `PAGE_TOKEN_MISMATCH`, `REPLAY_RUNNING`.
    pub fn enter(&self, center: &Center, request: &ReplayPurgedRequest) -> Result<Replay, Status> {
        let participant = parse::participant("participant", &request.participant)?;
        if !center.plans.know(&participant) {
            return Err(error::invalid(
                "participant",
                "must be one that a policy names",
            ));
        }
        let since = request.since_time.and_then(wire::time);
        // Zero would be everything there ever was: whoever means that says so.
        let since = since
            .filter(|since| since.micros() > 0)
            .ok_or_else(|| error::invalid("since_time", "must be set, and after 1970"))?;
        let query = format!("replay {participant} {}", since.micros());
        let before = page::start(&request.page_token, &query)?;
        let place = Arc::clone(&self.0)
            .try_acquire_owned()
            .map_err(|_| error::exhausted("REPLAY_RUNNING", "another replay is under way here"))?;
        Ok(Replay {
            participant,
            since,
            before,
            query,
            _place: place,
        })
    }
}

impl Replay {
    /// Replays to the end, or until the caller has left.
    pub async fn run(mut self, center: &Center, sender: &Sender) {
        if let Err(status) = self.all(center, sender).await {
            let _ = sender.send(Err(status)).await;
        }
    }

    async fn all(&mut self, center: &Center, sender: &Sender) -> Result<(), Status> {
        while self.page(center, sender).await? {}
        // After the deletions: what a seal of the backup would refuse is done once that is lifted.
        let mut after = None;
        while !sender.is_closed() && self.accounts(center, sender, &mut after).await? {}
        Ok(())
    }

    /// Whether there may be more.
    async fn page(&mut self, center: &Center, sender: &Sender) -> Result<bool, Status> {
        let filter = Filter {
            states: STATES.to_vec(),
            ..Filter::default()
        };
        let found = center
            .ledger
            .list(&filter, self.before, PAGE_ROWS)
            .await
            .map_err(|error| error::ledger(&error))?;
        for handful in found.chunks(AT_A_TIME) {
            let next = Instant::now() + HANDFUL;
            let concerned: Vec<DeletionId> = handful
                .iter()
                .filter(|deletion| {
                    let plan = center.plans.get(deletion.policy_version);
                    plan.is_some_and(|plan| {
                        replay::concerns(deletion, &plan, &self.participant, self.since)
                    })
                })
                .map(|deletion| deletion.id)
                .collect();
            let asked = concerned
                .iter()
                .map(|id| crate::replay::once(center, &self.participant, self.since, *id));
            for (id, again) in concerned.iter().zip(join_all(asked).await) {
                let Some(again) = again.map_err(broken)? else {
                    continue;
                };
                let token = page::token(*id, &self.query);
                let told = told(Whose::Deletion(*id), again, token);
                if sender.send(Ok(told)).await.is_err() {
                    return Ok(false);
                }
            }
            self.before = handful.last().map(|deletion| deletion.id).or(self.before);
            if !concerned.is_empty() {
                sleep_until(next).await;
            }
        }
        Ok(found.len() >= PAGE_ROWS as usize)
    }
}

impl Replay {
    /// A page of accounts that stay. Whether there may be more.
    async fn accounts(
        &self,
        center: &Center,
        sender: &Sender,
        after: &mut Option<AccountId>,
    ) -> Result<bool, Status> {
        let found = center.ledger.accounts(after.as_ref(), PAGE_ROWS).await;
        let found = found.map_err(|error| error::ledger(&error))?;
        for handful in found.chunks(AT_A_TIME) {
            let next = Instant::now() + HANDFUL;
            let asked = handful.iter().map(|account| {
                crate::replay::account_once(center, &self.participant, self.since, account)
            });
            let mut any = false;
            for (account, again) in handful.iter().zip(join_all(asked).await) {
                let Some(again) = again.map_err(broken)? else {
                    continue;
                };
                any = true;
                // Whoever goes on from here has all deletions behind.
                let page_token = self.before.map(|id| page::token(id, &self.query));
                let whose = format!("accounts/{}", account.account.as_str());
                let told = told(Whose::Account(whose), again, page_token.unwrap_or_default());
                if sender.send(Ok(told)).await.is_err() {
                    return Ok(false);
                }
            }
            if any {
                sleep_until(next).await;
            }
        }
        *after = found.last().map(|account| account.account.clone());
        Ok(found.len() >= PAGE_ROWS as usize)
    }
}

fn broken(broken: Broken) -> Status {
    match broken {
        Broken::Away => error::unavailable(
            "PARTICIPANT_AWAY",
            "the participant gives no answer; go on with the last page_token",
        ),
        Broken::Ledger(error) => error::ledger(&error),
    }
}

/// Whose replay a message tells of.
enum Whose {
    Deletion(DeletionId),
    /// `accounts/{account}`.
    Account(String),
}

fn told(whose: Whose, again: Again, page_token: String) -> ReplayPurgedResponse {
    let (deletion, account) = match whose {
        Whose::Deletion(id) => (format!("deletions/{id}"), String::new()),
        Whose::Account(account) => (String::new(), account),
    };
    let mut told = ReplayPurgedResponse {
        deletion,
        account,
        page_token,
        ..ReplayPurgedResponse::default()
    };
    match again {
        Again::Done { counts, left } => {
            told.counts = counts.into_iter().collect();
            let result = if left.is_empty() {
                ReplayResult::Clean
            } else {
                ReplayResult::Residue
            };
            told.set_result(result);
            told.left = left.into_iter().collect();
        }
        Again::Sealed => told.set_result(ReplayResult::Sealed),
        Again::Told => told.set_result(ReplayResult::Told),
        Again::Unsealed => told.set_result(ReplayResult::Unsealed),
        Again::Deferred(reason) => {
            told.set_result(ReplayResult::Deferred);
            told.reason = reason;
        }
        Again::Refused(reason) => {
            told.set_result(ReplayResult::Refused);
            told.reason = reason;
        }
    }
    told
}
