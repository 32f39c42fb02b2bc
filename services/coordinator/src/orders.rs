//! Signs what devices are told. Nobody else can: neither agents nor brokers hold the key.

use farewell_core::deletion::Consent;
use farewell_core::device::{Device, DeviceVerb};
use farewell_core::order::{Occasion, Order};
use farewell_core::{CommandName, Deletion, Plan, Time};
use farewell_proto::device::v1 as told;
use farewell_proto::participant::v1 as wire;
use farewell_runtime::cose::SigningKey;
use prost::bytes::Bytes;

use crate::wire::device;

/// What an order says that it is.
const ORDER: &str = "farewell.device.v1.Order";
/// What a proof of time says that it is.
const TIME_PROOF: &str = "farewell.device.v1.TimeProof";
/// A nonce of a device.
const NONCE_BYTES: std::ops::RangeInclusive<usize> = 16..=32;

/// The key of this coordinator.
#[derive(Clone, Debug)]
pub struct Orders(SigningKey);

impl Orders {
    /// Signs with this key, which devices must have pinned.
    pub fn new(key: SigningKey) -> Self {
        Self(key)
    }

    /// What is owed to the devices of a roster under a command to erase, where `offered` are those that somebody may take over.
    /// The same every time it is asked.
    pub fn tasks(
        &self,
        roster: &[Device],
        offered: impl Fn(&Device) -> bool,
        command: &CommandName,
        deletion: &Deletion,
        plan: &Plan,
    ) -> Vec<wire::DeviceTask> {
        let Some(begun) = deletion.state.begun() else {
            // Nothing destructive is signed before the point of no return.
            return Vec::new();
        };
        let (line, command) = (&command.participant, command.to_string());
        let occasion = Occasion {
            line,
            command: &command,
            from: begun.at,
            until: begun.at + plan.policy().devices.order_life,
        };
        let task = |device: &Device| {
            let mut verbs = self.verbs(device, plan, &deletion.consents);
            verbs.retain(|verb| *verb != DeviceVerb::Transfer || offered(device));
            self.task(device, &verbs, occasion)
        };
        roster.iter().map(task).collect()
    }

    /// What is owed to one device: these verbs, the wanted one first.
    pub fn task(
        &self,
        device: &Device,
        verbs: &[DeviceVerb],
        occasion: Occasion<'_>,
    ) -> wire::DeviceTask {
        let orders: Vec<_> = verbs
            .iter()
            .filter_map(|verb| Order::new(device, *verb, occasion))
            .map(|order| self.sign(ORDER, &device::order(&order)))
            .collect();
        let duty = if orders.is_empty() {
            wire::DeviceDuty::Manual
        } else {
            wire::DeviceDuty::Order
        };
        wire::DeviceTask {
            device: device::name(&device.device),
            binding_epoch: device.binding_epoch,
            duty: duty.into(),
            orders,
            lost: false,
        }
    }

    /// What time it is, for the device that asked and for this one question. Empty for a question that makes no sense.
    pub fn time(&self, question: &wire::TimeQuestion, now: Time) -> Bytes {
        if device::id(&question.device).is_none() || !NONCE_BYTES.contains(&question.nonce.len()) {
            return Bytes::new();
        }
        let proof = told::TimeProof {
            device: question.device.clone(),
            nonce: question.nonce.clone(),
            time: Some(crate::wire::timestamp(now)),
        };
        self.sign(TIME_PROOF, &proof)
    }

    fn verbs(&self, device: &Device, plan: &Plan, consents: &[Consent]) -> Vec<DeviceVerb> {
        let facts = device.facts.as_ref();
        facts.map_or_else(Vec::new, |facts| {
            plan.policy().devices.verbs(facts, consents)
        })
    }

    fn sign(&self, message: &str, content: &impl prost::Message) -> Bytes {
        self.0.sign(message, content.encode_to_vec()).into()
    }
}
