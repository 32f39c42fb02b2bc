//! What agents and the coordinator say of devices.

use std::fmt;
use std::time::SystemTime;

use prost::bytes::Bytes;

/// One device of the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceTask {
    /// The device's id, without `devices/`.
    pub device: String,
    /// The binding that was sealed; at least 1.
    pub binding_epoch: u64,
    /// What the device is owed.
    pub duty: DeviceDuty,
    /// On an `act` that is repeated after a restore: it was reported lost when its account was erased, and its lock is kept.
    pub lost: bool,
}

impl DeviceTask {
    /// Whether both ask the same of the same binding, whoever signed it.
    pub fn is_same(&self, other: &Self) -> bool {
        self.device == other.device
            && self.binding_epoch == other.binding_epoch
            && matches!(
                (&self.duty, &other.duty),
                (DeviceDuty::Manual, DeviceDuty::Manual)
                    | (DeviceDuty::Orders(_), DeviceDuty::Orders(_))
            )
    }
}

/// What an agent owes a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceDuty {
    /// It is told one of these, signed by the coordinator: the first that holds. At least one.
    Orders(Vec<Bytes>),
    /// It can't be told: manual re-activation, instructions are sent.
    Manual,
}

/// One device of an answer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceResult {
    /// The device's id, without `devices/`.
    pub device: String,
    /// The binding; at least 1.
    pub binding_epoch: u64,
    /// How it ended; `None` in a roster.
    pub outcome: Option<DeviceOutcome>,
    /// In a roster: what decides what becomes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<DeviceFacts>,
    /// In a result: what became of its activation lock, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockOutcome>,
}

/// What a policy must know of a device to say what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceFacts {
    /// Whom it serves.
    pub class: DeviceClass,
    /// What it can be told. Empty: nothing.
    pub verbs: Vec<DeviceVerb>,
    /// Another account is an admin of its home and can take it over.
    pub co_admin: bool,
    /// Other accounts live with it.
    pub household: bool,
    /// For a hub's child the hub and its binding, which is the same account's.
    pub hub: Option<(String, u64)>,
}

/// Whom a device serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DeviceClass {
    /// One person.
    Personal,
    /// A home.
    Home,
}

/// What a device can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum DeviceVerb {
    /// Drop account credentials, keep local data.
    Unbind,
    /// Unbind and wipe.
    Reset,
    /// A hub forgets one child.
    RemoveChild,
    /// Another admin of the home has the device now.
    Transfer,
}

/// What became of an activation lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum LockOutcome {
    /// Whoever has the device may activate it.
    Released,
    /// Reported lost or stolen: deleting an account launders no device.
    Kept,
    /// On for the admin of the home who has the device now.
    PassedOn,
}

/// How a device ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DeviceOutcome {
    Confirmed,
    Executed,
    Detached,
    Superseded,
    Transferred,
    Unsupported,
}

/// How a device that was away ended after all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceReturn {
    /// The name of the ERASE that the device was a result of.
    pub command: String,
    /// The device's id, without `devices/`.
    pub device: String,
    /// The binding of that result; at least 1.
    pub binding_epoch: u64,
    /// How it ended.
    pub ending: DeviceEnding,
    /// When the agent learnt of it.
    pub at: SystemTime,
}

/// How a device can end whose result was `Detached`; one that was `Executed` can be `Confirmed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceEnding {
    /// Seen again unbound.
    Confirmed,
    /// It carried out the order.
    Executed,
    /// It has a newer binding.
    Superseded,
    /// The order expired before it came back.
    NeverReturned,
}

/// What became of a return. Neither durable nor refused: it isn't named, and told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnKept {
    /// As told.
    pub command: String,
    /// The device's id, without `devices/`.
    pub device: String,
    /// As told.
    pub binding_epoch: u64,
    /// `None`: it is durable. Otherwise a machine word: it is never taken, and not to be told again.
    pub refused: Option<String>,
}

/// A bound device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundDevice {
    /// The device's id.
    pub device: String,
    /// Model name.
    pub model: String,
    /// Serial number.
    pub serial_number: String,
    /// The current binding.
    pub binding_epoch: u64,
    /// When the warranty ends, if somebody said.
    pub warranty_end: Option<SystemTime>,
}

/// What a device is to its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The current binding.
    pub binding_epoch: u64,
    /// What decides what it is told.
    pub facts: DeviceFacts,
}

/// "Unbind this device." Its `Debug` never shows the account.
#[derive(Clone, PartialEq, Eq)]
pub struct UnbindDevice {
    /// `lines/{line}/deviceUnbindings/{device_unbinding}`: the idempotency key.
    pub name: String,
    /// The account's id.
    pub account: String,
    /// The device, its binding, and what it is told.
    pub device: DeviceTask,
}

impl fmt::Debug for UnbindDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnbindDevice")
            .field("name", &self.name)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// How far an unbinding is. The server half is gone in each state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbinding {
    /// The device's id.
    pub device: String,
    /// The binding that is ended.
    pub binding_epoch: u64,
    /// How far the device is.
    pub state: UnbindingState,
    /// For `Refused`: the device's word.
    pub reason: String,
    /// When the server half was ended.
    pub begun: SystemTime,
    /// When the state was reached.
    pub since: SystemTime,
}

/// How far the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnbindingState {
    Waiting,
    Running,
    Refused,
    Executed,
    Confirmed,
    Detached,
    Superseded,
    Unsupported,
}

/// Why a device was not unbound. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotUnbound {
    UnbindingNotFound,
    BindingNotFound,
    EpochMismatch,
    AccountSealed,
    DeviceLost,
    HasChildren,
    RequestIdReused,
    InvalidOrder,
}

impl NotUnbound {
    /// The machine word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::UnbindingNotFound => "UNBINDING_NOT_FOUND",
            Self::BindingNotFound => "BINDING_NOT_FOUND",
            Self::EpochMismatch => "EPOCH_MISMATCH",
            Self::AccountSealed => "ACCOUNT_SEALED",
            Self::DeviceLost => "DEVICE_LOST",
            Self::HasChildren => "HAS_CHILDREN",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::InvalidOrder => "INVALID_ORDER",
        }
    }
}
