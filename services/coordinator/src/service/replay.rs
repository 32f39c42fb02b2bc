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
    /// The last deletion that is done.
    before: Option<DeletionId>,
    /// The last account that is done; all deletions are behind then.
    after: Option<AccountId>,
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
        let token = &request.page_token;
        let (before, after) = match page::start_after(token, &of_accounts(&query)) {
            Ok(Some(account)) => (None, Some(account)),
            Ok(None) | Err(_) => (page::start(token, &query)?, None),
        };
        let place = Arc::clone(&self.0)
            .try_acquire_owned()
            .map_err(|_| error::exhausted("REPLAY_RUNNING", "another replay is under way here"))?;
        Ok(Replay {
            participant,
            since,
            before,
            after,
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
        if self.after.is_none() {
            while self.deletions(center, sender).await? {}
        }
        // After the deletions: what a seal of the backup would refuse is done once that is lifted.
        while !sender.is_closed() && self.accounts(center, sender).await? {}
        Ok(())
    }

    /// A page of deletions. Whether there may be more.
    async fn deletions(&mut self, center: &Center, sender: &Sender) -> Result<bool, Status> {
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
            let mut any = false;
            for (id, again) in concerned.iter().zip(join_all(asked).await) {
                let Some(again) = again.map_err(broken)? else {
                    continue;
                };
                any = true;
                let token = page::token(*id, &self.query);
                if !tell(sender, Whose::Deletion(*id), again, token).await {
                    return Ok(false);
                }
            }
            self.before = handful.last().map(|deletion| deletion.id);
            if any {
                sleep_until(next).await;
            }
        }
        Ok(found.len() >= PAGE_ROWS as usize)
    }

    /// A page of accounts that stay. Whether there may be more.
    async fn accounts(&mut self, center: &Center, sender: &Sender) -> Result<bool, Status> {
        let found = center.ledger.accounts(self.after.as_ref(), PAGE_ROWS).await;
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
                let account = &account.account;
                let token = page::token_after(account, &of_accounts(&self.query));
                if !tell(sender, Whose::Account(account), again, token).await {
                    return Ok(false);
                }
            }
            self.after = handful.last().map(|account| account.account.clone());
            if any {
                sleep_until(next).await;
            }
        }
        Ok(found.len() >= PAGE_ROWS as usize)
    }
}

/// What binds a token to the accounts of a replay, which are after its deletions.
fn of_accounts(query: &str) -> String {
    format!("{query} accounts")
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
enum Whose<'a> {
    Deletion(DeletionId),
    Account(&'a AccountId),
}

/// Tells what there is to tell. False: the caller has left.
async fn tell(sender: &Sender, whose: Whose<'_>, again: Again, page_token: String) -> bool {
    match told(whose, again, page_token) {
        Some(told) => sender.send(Ok(told)).await.is_ok(),
        None => !sender.is_closed(),
    }
}

fn told(whose: Whose<'_>, again: Again, page_token: String) -> Option<ReplayPurgedResponse> {
    let (deletion, account) = match whose {
        Whose::Deletion(id) => (format!("deletions/{id}"), String::new()),
        Whose::Account(id) => (String::new(), format!("accounts/{}", id.as_str())),
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
        Again::Gone => return None,
        Again::Deferred(reason) => {
            told.set_result(ReplayResult::Deferred);
            told.reason = reason;
        }
        Again::Refused(reason) => {
            told.set_result(ReplayResult::Refused);
            told.reason = reason;
        }
    }
    Some(told)
}
