//! How a product line takes part in deletions: everything but what is special about the line.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use sqlx::AnyConnection;

use super::bells::Bells;
use super::binding::{self, Binding};
use super::delivery::Settled;
use super::erasure::{self, Erasure};
use super::order::State;
use super::registry::{Registry, Via};
use super::{eligibility, facts, history, names, possession, share, unbinding};
use crate::export::Part;
use crate::participant::{
    Answer, Blocker, BoundDevice, Category, CheckEligibility, Deferred, Description, DeviceClass,
    DeviceResult, DeviceVerb, Done, Fault, INVALID_COMMAND, Inventory, NotInHand, NotUnbound,
    Order, Outcome, Participant, Possession, SetStanding, StandingKept, UnbindDevice, Unbinding,
};
use crate::seal::{self, Begun};
use crate::standing;
use crate::store::Store;

/// First wait before a deferred erasure is asked for again: devices that are online answer within it.
const RETRY_MIN: Duration = Duration::from_secs(2);
/// Longest wait: a device that comes back wakes the session anyway.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// The wait grows to the age of the erasure divided by this.
const RETRY_AGE_DIVISOR: u32 = 8;
/// Of the time that is left to the deadline when an erasure begins, devices get one part in so many.
const DEADLINE_SHARE: u32 = 3;
/// What devices get however late it is.
const HORIZON_MIN: Duration = Duration::from_secs(60 * 60);
/// A confirmation is looked for a moment after it is due, not at the very same instant.
const CONFIRMATION_SLACK: Duration = Duration::from_millis(50);

/// What is special about a product line.
pub trait Line: Send + Sync + 'static {
    /// `phones`, `wearables`, `smarthome`: the name space in the database and a level of MQTT topics.
    fn name(&self) -> &'static str;

    /// How the line's devices are reached.
    fn via(&self) -> Via;

    /// Whom the line's devices serve, where a binding doesn't say.
    fn class(&self) -> DeviceClass;

    /// What a device can be told, where its binding doesn't say. Empty: it can't be told, and is re-activated by hand.
    fn verbs(&self, binding: &Binding) -> Vec<DeviceVerb>;
}

/// How long devices are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// A device that was away for so long is detached: the server half goes and a tombstone stays. Sooner where the policy
    /// of a deletion says so.
    pub horizon: Duration,
    /// How long an executed order waits for the device to be seen again unbound before it counts as executed only.
    pub confirm_wait: Duration,
    /// As `horizon`, for devices that are unbound one by one.
    pub unbind_horizon: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            horizon: Duration::from_secs(7 * 24 * 60 * 60),
            confirm_wait: Duration::from_secs(5),
            unbind_horizon: Duration::from_secs(3 * 24 * 60 * 60),
        }
    }
}

/// The participant of a product line.
pub struct DeviceLine {
    registry: Registry,
    line: Arc<dyn Line>,
    terms: Terms,
    bells: Bells,
    settled: Settled,
}

impl DeviceLine {
    /// A participant on `registry`; `bells` ring for devices that are owed something, and `settled` hears of commands
    /// that no longer wait because a device was passed on.
    pub fn new(
        registry: Registry,
        line: Arc<dyn Line>,
        terms: Terms,
        bells: Bells,
        settled: Settled,
    ) -> Self {
        Self {
            registry,
            line,
            terms,
            bells,
            settled,
        }
    }

    /// How long this erasure's devices are waited for: whoever is asked after us must have time before the deadline, too.
    fn horizon(&self, order: &Order, begun: SystemTime) -> Duration {
        let own = self.terms.horizon;
        let horizon = order.horizon.map_or(own, |policy| policy.min(own));
        let Some(deadline) = order.deadline else {
            return horizon;
        };
        let left = deadline.duration_since(begun).unwrap_or_default();
        horizon.min((left / DEADLINE_SHARE).max(HORIZON_MIN))
    }

    /// The answer to an erasure as it stands now.
    async fn look(
        &self,
        tx: &mut AnyConnection,
        order: &Order,
        mut erasure: Erasure,
    ) -> Result<Answer, Fault> {
        let now = SystemTime::now();
        let horizon = self.horizon(order, erasure.begun);
        erasure::detach_absent(tx, &mut erasure, horizon, now).await?;
        erasure::part_ended(tx, &order.command, &erasure, &self.terms, now).await?;
        let total = erasure.entries.len();
        let ended = erasure.ended(&self.terms, now);
        if ended == total {
            let taken = erasure::finish(tx, order, &erasure).await?;
            let mut done = Done::new(Outcome::Erased)
                .count("devices", items(total))
                .count("bindings", items(taken.bindings))
                .count("credentials", items(taken.credentials))
                .count("shares", items(taken.shares));
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
        let patience = (age / RETRY_AGE_DIVISOR).max(RETRY_MIN);
        let retry_after = match erasure.confirmations_left(&self.terms, now) {
            // A device that isn't seen again is let go of in time, also while others are waited for.
            Some((first, _)) if erasure.is_open() => {
                patience.min((first + CONFIRMATION_SLACK).max(RETRY_MIN))
            }
            Some((_, last)) => last + CONFIRMATION_SLACK,
            None => patience,
        }
        .min(RETRY_MAX);
        Ok(Answer::Deferred(Deferred {
            retry_after,
            reason: if erasure.waits_for_safe_moment() {
                "WAITING_FOR_SAFE_MOMENT".to_owned()
            } else {
                "WAITING_FOR_DEVICES".to_owned()
            },
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
        for (binding, facts) in facts::of_account(work.tx(), &*self.line, &order.account).await? {
            done.devices.push(DeviceResult {
                device: binding.device,
                binding_epoch: binding.epoch,
                outcome: None,
                facts: Some(facts),
                lock: None,
            });
        }
        work.finish(done).await
    }

    async fn set_standing(&self, request: &SetStanding) -> Result<StandingKept, Fault> {
        standing::keep(self.registry.store(), request).await
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
        let mut overtaken = BTreeSet::new();
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
        } else if order.devices.is_empty() && !order.is_repeated() {
            // Nothing to do is an answer only where there is nothing.
            if binding::of_account(tx, &order.account).await?.is_empty() {
                let shares = share::remove_of_account(tx, &order.account).await?;
                return work
                    .finish(seal::erased([("shares", shares)], Vec::new()))
                    .await;
            }
            return Ok(Answer::Refused {
                reason: "ROSTER_MISSING".to_owned(),
                detail: String::new(),
            });
        } else {
            match erasure::begin(tx, &*self.line, order).await? {
                Ok(commands) => overtaken = commands,
                Err(refused) => {
                    return Ok(Answer::Refused {
                        reason: refused.reason.to_owned(),
                        detail: refused.detail,
                    });
                }
            }
        }
        let Some(erasure) = erasure::find(tx, &order.command).await? else {
            return Err(Fault::plain("an erasure that vanished"));
        };
        let waiting = waiting(&erasure);
        let answer = match self.look(tx, order, erasure).await? {
            Answer::Done(done) => work.finish(done).await?,
            answer @ (Answer::Deferred(_) | Answer::Refused { .. }) => {
                work.pause().await?;
                answer
            }
        };
        // After the commit: rung before, a session would find nothing.
        waiting.iter().for_each(|device| self.bells.ring(device));
        if !overtaken.is_empty() {
            self.registry.returned();
        }
        overtaken.iter().for_each(|command| (self.settled)(command));
        Ok(answer)
    }

    async fn probe(&self, order: &Order) -> Result<Answer, Fault> {
        let mut work = match seal::look(self.registry.store(), order).await? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Open(work) => work,
        };
        let left = look_for(work.tx(), &order.account).await?;
        work.finish(left.to_done()).await
    }

    async fn eligibility(&self, request: &CheckEligibility) -> Result<Vec<Blocker>, Fault> {
        let mut connection = self.registry.store().pool().acquire().await?;
        eligibility::blockers(&mut connection, &*self.line, &request.account).await
    }

    async fn inventory(&self, account: &str) -> Result<Inventory, Fault> {
        let mut connection = self.registry.store().pool().acquire().await?;
        let bindings = binding::of_account(&mut connection, account).await?;
        // What goes with the account, under the names that the erasure's evidence has for it.
        let held = [
            ("bindings", items(bindings.len())),
            (
                "shares",
                share::count_of_account(&mut connection, account).await?,
            ),
        ];
        let categories = held
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(category, count)| Category {
                category: category.to_owned(),
                count,
                size_bytes: 0,
            })
            .collect();
        let devices = bindings
            .into_iter()
            .map(|binding| BoundDevice {
                device: binding.device,
                model: binding.model,
                serial_number: binding.serial_number,
                binding_epoch: binding.epoch,
                warranty_end: binding.warranty_end,
            })
            .collect();
        Ok(Inventory {
            categories,
            devices,
        })
    }

    async fn export_part(&self, account: &str, after: &str) -> Result<Part, Fault> {
        history::part(self.registry.store(), account, after).await
    }

    async fn describe_device(
        &self,
        account: &str,
        device: &str,
    ) -> Result<Option<Description>, Fault> {
        let mut connection = self.registry.store().pool().acquire().await?;
        let binding = binding::find(&mut connection, device).await?;
        let own = binding.filter(|binding| binding.account == account && !binding.ending);
        let Some(binding) = own else {
            return Ok(None);
        };
        Ok(Some(Description {
            binding_epoch: binding.epoch,
            facts: facts::of_binding(&mut connection, &*self.line, &binding).await?,
        }))
    }

    async fn possession(&self, request: &Possession) -> Result<Result<Vec<u8>, NotInHand>, Fault> {
        possession::asked(&self.registry, request).await
    }

    async fn unbind_device(
        &self,
        request: &UnbindDevice,
    ) -> Result<Result<Unbinding, NotUnbound>, Fault> {
        unbinding::begin(&self.registry, &*self.line, &self.bells, request).await
    }

    async fn device_unbinding(
        &self,
        account: &str,
        name: &str,
    ) -> Result<Result<Unbinding, NotUnbound>, Fault> {
        unbinding::look(&self.registry, account, name).await
    }
}

/// What an agent still holds of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LeftOver {
    pub bindings: i64,
    pub credentials: i64,
    /// What the account shares of others.
    pub shares: i64,
    /// Orders of an erasure that isn't finished. Tombstones, and what is told of them, name no account and don't count.
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
            ("shares", self.shares),
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
        shares: share::count_of_account(tx, account).await?,
        orders,
    })
}

/// Devices that are to be told something.
fn waiting(erasure: &Erasure) -> BTreeSet<String> {
    let open = erasure
        .entries
        .iter()
        .filter(|entry| matches!(entry.order.state, State::Queued | State::Transferred));
    open.map(|entry| entry.order.device.clone()).collect()
}

fn items(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
