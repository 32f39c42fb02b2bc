//! How a product line takes part in deletions: everything but what is special about the line.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use sqlx::AnyConnection;

use super::bells::Bells;
use super::binding::{self, Binding};
use super::erasure::{self, Erasure};
use super::names;
use super::order::{State, Verb};
use super::registry::{Registry, Via};
use crate::participant::{
    Answer, Blocker, BoundDevice, Category, Deferred, DeviceResult, Done, Fault, INVALID_COMMAND,
    Inventory, Order, Outcome, Participant,
};
use crate::seal::{self, Begun};
use crate::store::Store;

/// First wait before a deferred erasure is asked for again: devices that are online answer within it.
const RETRY_MIN: Duration = Duration::from_secs(2);
/// Longest wait: a device that comes back wakes the session anyway.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// The wait grows to the age of the erasure divided by this.
const RETRY_AGE_DIVISOR: u32 = 8;
/// A confirmation is looked for a moment after it is due, not at the very same instant.
const CONFIRMATION_SLACK: Duration = Duration::from_millis(50);

/// What is special about a product line.
pub trait Line: Send + Sync + 'static {
    /// `phones`, `wearables`, `smarthome`: the name space in the database and a level of MQTT topics.
    fn name(&self) -> &'static str;

    /// How the line's devices are reached.
    fn via(&self) -> Via;

    /// What a bound device must be told when its account is erased.
    fn duty(&self, binding: &Binding) -> Duty;
}

/// What a device must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// The device is told itself, or through its companion.
    Own(Verb),
    /// Its hub is told to remove it, before the hub's own order.
    ThroughHub,
    /// It can't be told: manual re-activation, instructions are sent.
    Unsupported,
}

/// How long devices are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// A device that was away for so long is detached: the server half goes and a tombstone stays.
    pub horizon: Duration,
    /// How long an executed order waits for the device to be seen again unbound before it counts as executed only.
    pub confirm_wait: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            horizon: Duration::from_secs(30 * 24 * 60 * 60),
            confirm_wait: Duration::from_secs(5),
        }
    }
}

/// The participant of a product line.
pub struct DeviceLine {
    registry: Registry,
    line: Arc<dyn Line>,
    terms: Terms,
    bells: Bells,
}

impl DeviceLine {
    /// A participant on `registry`; `bells` ring for devices that are owed something.
    pub fn new(registry: Registry, line: Arc<dyn Line>, terms: Terms, bells: Bells) -> Self {
        Self {
            registry,
            line,
            terms,
            bells,
        }
    }

    /// The answer to an erasure as it stands now.
    async fn look(
        &self,
        tx: &mut AnyConnection,
        order: &Order,
        mut erasure: Erasure,
    ) -> Result<Answer, Fault> {
        let now = SystemTime::now();
        erasure::detach_absent(tx, &mut erasure, self.terms.horizon, now).await?;
        let total = erasure.entries.len();
        let ended = erasure.ended(&self.terms, now);
        if ended == total {
            let taken = erasure::finish(tx, order, &erasure).await?;
            let mut done = Done::new(Outcome::Erased)
                .count("devices", items(total))
                .count("bindings", items(taken.bindings))
                .count("credentials", items(taken.credentials));
            done.devices = taken.results;
            return Ok(Answer::Done(done));
        }
        if let Some(entry) = erasure.stuck(&self.terms, now)
            && !erasure.refused
        {
            erasure::set_refused(tx, &order.command, true).await?;
            let detail = names::device(&entry.subject);
            return Ok(Answer::Refused {
                reason: "DEVICE_REFUSED".to_owned(),
                detail,
            });
        }
        let age = now.duration_since(erasure.begun).unwrap_or_default();
        let retry_after = erasure
            .confirmation_left(&self.terms, now)
            .map_or((age / RETRY_AGE_DIVISOR).max(RETRY_MIN), |left| {
                left + CONFIRMATION_SLACK
            })
            .min(RETRY_MAX);
        Ok(Answer::Deferred(Deferred {
            retry_after,
            reason: "WAITING_FOR_DEVICES".to_owned(),
            done: items(ended),
            total: items(total),
        }))
    }
}

#[async_trait]
impl Participant for DeviceLine {
    async fn recall(&self, order: &Order) -> Result<Option<Answer>, Fault> {
        seal::recall(self.registry.store(), order).await
    }

    async fn seal(&self, order: &Order) -> Result<Answer, Fault> {
        let mut work = match seal::close(self.registry.store(), order).await? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Open(work) => work,
        };
        let mut done = Done::new(Outcome::Sealed);
        done.devices = binding::of_account(work.tx(), &order.account)
            .await?
            .into_iter()
            .map(|binding| DeviceResult {
                device: binding.device,
                binding_epoch: binding.epoch,
                outcome: None,
            })
            .collect();
        work.finish(done).await
    }

    async fn unseal(&self, order: &Order) -> Result<Answer, Fault> {
        seal::lift(self.registry.store(), order)
            .await?
            .finish(Done::new(Outcome::Unsealed))
            .await
    }

    async fn act(&self, order: &Order) -> Result<Answer, Fault> {
        let mut work = match seal::erase(self.registry.store(), order).await? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Open(work) => work,
        };
        let tx = work.tx();
        if let Some(erasure) = erasure::find(tx, &order.command).await? {
            if erasure.account_mark != seal::mark(&order.account) {
                return Ok(Answer::Refused {
                    reason: INVALID_COMMAND.to_owned(),
                    detail: "a command of this name erases another account's devices".to_owned(),
                });
            }
            if erasure.refused {
                erasure::ask_again(tx, &erasure).await?;
                erasure::set_refused(tx, &order.command, false).await?;
            }
        } else if order.devices.is_empty() {
            // Nothing to do is an answer only where there is nothing.
            if binding::of_account(tx, &order.account).await?.is_empty() {
                return work.finish(Done::new(Outcome::NotFound)).await;
            }
            return Ok(Answer::Refused {
                reason: "ROSTER_MISSING".to_owned(),
                detail: String::new(),
            });
        } else if let Err(refusal) = erasure::begin(tx, &*self.line, order).await? {
            return Ok(Answer::Refused {
                reason: refusal.reason.to_owned(),
                detail: refusal.detail,
            });
        }
        let Some(erasure) = erasure::find(tx, &order.command).await? else {
            return Err(Fault::plain("an erasure that vanished"));
        };
        let waiting = waiting(&erasure);
        match self.look(tx, order, erasure).await? {
            Answer::Done(done) => work.finish(done).await,
            answer @ (Answer::Deferred(_) | Answer::Refused { .. }) => {
                work.pause().await?;
                // After the commit: rung before, a session would find nothing.
                waiting.iter().for_each(|device| self.bells.ring(device));
                Ok(answer)
            }
        }
    }

    async fn probe(&self, order: &Order) -> Result<Answer, Fault> {
        let mut work = match seal::look(self.registry.store(), order).await? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Open(work) => work,
        };
        let left = look_for(work.tx(), &order.account).await?;
        work.finish(left.to_done()).await
    }

    async fn eligibility(&self, _account: &str) -> Result<Vec<Blocker>, Fault> {
        // Devices are unbound and reset by the deletion itself; none of them stands in its way.
        Ok(Vec::new())
    }

    async fn inventory(&self, account: &str) -> Result<Inventory, Fault> {
        let mut connection = self.registry.store().pool().acquire().await?;
        let bindings = binding::of_account(&mut connection, account).await?;
        let categories = vec![Category {
            category: "bindings".to_owned(),
            count: items(bindings.len()),
            size_bytes: 0,
        }];
        let devices = bindings
            .into_iter()
            .map(|binding| BoundDevice {
                device: binding.device,
                model: binding.model,
                serial_number: binding.serial_number,
                binding_epoch: binding.epoch,
            })
            .collect();
        Ok(Inventory {
            categories,
            devices,
        })
    }
}

/// What an agent still holds of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LeftOver {
    pub bindings: i64,
    pub credentials: i64,
    /// Orders of an erasure that isn't finished. Tombstones name no account and don't count.
    pub orders: i64,
}

impl LeftOver {
    /// Whether nothing is left.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// The answer to a probe.
    fn to_done(self) -> Done {
        if self.is_clean() {
            return Done::new(Outcome::Clean);
        }
        [
            ("bindings", self.bindings),
            ("credentials", self.credentials),
            ("orders", self.orders),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .fold(Done::new(Outcome::Residue), |done, (category, count)| {
            done.count(category, count)
        })
    }
}

/// Looks what the tables hold of an account, whatever anybody answered.
pub async fn left_over(store: &Store, account: &str) -> Result<LeftOver, Fault> {
    let mut connection = store.pool().acquire().await?;
    look_for(&mut connection, account).await
}

async fn look_for(tx: &mut AnyConnection, account: &str) -> Result<LeftOver, Fault> {
    let bindings = binding::of_account(tx, account).await?.len();
    let credentials = binding::credentials_of(tx, account).await?;
    let (orders,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM orders o JOIN erasures e ON e.command = o.command WHERE e.account_mark = $1",
    )
    .bind(seal::mark(account))
    .fetch_one(&mut *tx)
    .await?;
    Ok(LeftOver {
        bindings: items(bindings),
        credentials,
        orders,
    })
}

/// Devices that are to be told something.
fn waiting(erasure: &Erasure) -> BTreeSet<String> {
    let open = erasure
        .entries
        .iter()
        .filter(|entry| entry.order.state == State::Queued);
    open.map(|entry| entry.order.device.clone()).collect()
}

fn items(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
