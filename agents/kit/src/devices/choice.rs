//! What one device of an erasure is told: the first of its orders that can be carried out.

use std::collections::BTreeSet;

use sqlx::AnyConnection;

use super::binding::{self, Binding};
use super::device::{self, Device};
use super::order::State;
use super::outbox::Earlier;
use super::registry::Via;
use super::signed::SignedOrder;
use super::takeover::take_over;
use super::task::Task;
use crate::participant::{DeviceVerb, Fault, Order};

/// What there is to choose from.
pub(super) struct Choice<'a, 'o> {
    pub via: Via,
    pub order: &'a Order,
    pub task: &'a Task,
    /// The account's binding, if the task's is still current.
    pub bound: Option<&'a Binding>,
    pub device: Option<&'a Device>,
    /// What ended before.
    pub earlier: &'a Earlier,
    /// Who may be given something.
    pub takers: &'a BTreeSet<String>,
    /// Commands that no longer wait for a device that was passed on.
    pub overtaken: &'o mut BTreeSet<String>,
}

impl<'a> Choice<'a, '_> {
    /// The first order that can be carried out, and how far it is.
    pub async fn make(
        &mut self,
        tx: &mut AnyConnection,
    ) -> Result<(Option<&'a SignedOrder>, State), Fault> {
        let task = self.task;
        for signed in &task.orders {
            let end = self.earlier.end(&task.device, task.epoch, signed.verb);
            if let Some(end) = end {
                return Ok((Some(signed), end));
            }
        }
        if self.device.is_some_and(|device| device.epoch > task.epoch) {
            return Ok((task.orders.last(), State::Superseded));
        }
        for signed in &task.orders {
            if let Some(state) = self.usable(tx, signed).await? {
                return Ok((Some(signed), state));
            }
            if signed.verb == DeviceVerb::Transfer && self.order.is_repeated() {
                // Somebody has it, whom this database doesn't know: it is told that, and nothing else.
                return Ok((Some(signed), State::Detached));
            }
        }
        Ok(match task.orders.last() {
            // There is no way to the device, and nobody else is told anything.
            Some(last) => (Some(last), State::Detached),
            None => (None, State::Unsupported),
        })
    }

    async fn usable(
        &mut self,
        tx: &mut AnyConnection,
        signed: &SignedOrder,
    ) -> Result<Option<State>, Fault> {
        Ok(match signed.verb {
            // A hub's child hears nothing itself.
            DeviceVerb::Unbind | DeviceVerb::Reset => {
                let child = self.via == Via::Hub && self.bound.is_some_and(|b| b.via.is_some());
                (!child).then_some(State::Queued)
            }
            DeviceVerb::RemoveChild => self
                .is_hub_there(tx, signed)
                .await?
                .then_some(State::Queued),
            DeviceVerb::Transfer => {
                let (Some(device), Some(bound)) = (self.device, self.bound) else {
                    return Ok(None);
                };
                let taken = take_over(tx, device, bound, signed, self.takers).await?;
                taken.map(|mut commands| {
                    self.overtaken.append(&mut commands);
                    State::Transferred
                })
            }
        })
    }

    /// Whether the hub still has the binding for which it is told: it is the account's, or was until it was passed on and
    /// has not heard of it yet.
    async fn is_hub_there(
        &self,
        tx: &mut AnyConnection,
        signed: &SignedOrder,
    ) -> Result<bool, Fault> {
        let Some(hub) = device::find(tx, &signed.device).await? else {
            return Ok(false);
        };
        if signed.epoch < hub.epoch {
            return Ok(signed.epoch >= hub.oldest_epoch());
        }
        let bound = binding::find(tx, &signed.device).await?;
        Ok(signed.epoch == hub.epoch
            && bound.is_some_and(|bound| bound.account == self.order.account))
    }
}
