//! What a fleet holds, to be looked at from outside.

use std::collections::HashMap;
use std::sync::Arc;

use super::config::{Device, Kind};
use super::life::Life;

/// What one device holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Holding {
    pub device: String,
    /// Whose it was when it was bound.
    pub account: String,
    pub kind: Kind,
    /// The binding that the device believes in; 0 for none. For a child: whether its hub knows it.
    pub bound_epoch: u64,
    /// Nobody can set the device up but whose it is: it was reset by hand, and has heard that it is bound still.
    pub locked: bool,
    /// The account's data on the device. Children keep none.
    pub user_data: bool,
    pub online: bool,
    /// Orders that it carried out: more than it was given would mean that one was done twice.
    pub executions: u32,
    /// Orders that came again in one session, which costs nothing but says something of who sends. A device that asks what
    /// time it is gets them with the answer.
    pub repeats: u32,
}

/// What every device holds, by device.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Snapshot {
    pub devices: Vec<Holding>,
}

/// A snapshot in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub total: usize,
    pub online: usize,
    /// Still believe in a binding.
    pub bound: usize,
    /// Hold neither a binding nor data of the account.
    pub wiped: usize,
}

impl Snapshot {
    pub(super) fn of(devices: &[Device], lives: &[Arc<Life>]) -> Self {
        let lives: HashMap<&str, &Arc<Life>> =
            lives.iter().map(|life| (life.id.as_str(), life)).collect();
        let devices = devices
            .iter()
            .filter_map(|device| holding(device, &lives))
            .collect();
        Self { devices }
    }

    /// In figures.
    pub fn counts(&self) -> Counts {
        let count =
            |of: fn(&Holding) -> bool| self.devices.iter().filter(|holding| of(holding)).count();
        Counts {
            total: self.devices.len(),
            online: count(|holding| holding.online),
            bound: count(|holding| holding.bound_epoch != 0),
            wiped: count(|holding| holding.bound_epoch == 0 && !holding.user_data),
        }
    }
}

fn holding(device: &Device, lives: &HashMap<&str, &Arc<Life>>) -> Option<Holding> {
    let life = match device.kind {
        Kind::Child => lives.get(device.via.as_deref()?)?,
        Kind::Phone | Kind::Watch | Kind::Hub => lives.get(device.id.as_str())?,
    };
    let local = life.local();
    let (bound_epoch, locked, user_data, executions, repeats) = match device.kind {
        Kind::Child => (local.child_epoch(&device.id), false, false, 0, 0),
        Kind::Phone | Kind::Watch | Kind::Hub => (
            local.epoch(),
            local.is_locked(),
            local.has_user_data(),
            local.executions(),
            life.repeats(),
        ),
    };
    Some(Holding {
        device: device.id.clone(),
        account: device.account.clone(),
        kind: device.kind,
        bound_epoch,
        locked,
        user_data,
        online: life.is_online(),
        executions,
        repeats,
    })
}
