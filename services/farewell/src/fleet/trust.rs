//! Whom a device believes: orders that are signed with a key it has pinned, and a time that it can know.

use std::time::{Duration, Instant, SystemTime};

use farewell_proto::device::v1 as wire;
use farewell_runtime::cose::{KeyRing, Rejected};
use prost::Message as _;

const ORDER: &str = "farewell.device.v1.Order";
const TIME_PROOF: &str = "farewell.device.v1.TimeProof";
/// How wrong a clock may be that counts as right.
const CLOCK_LEEWAY: Duration = Duration::from_secs(5 * 60);
/// How long an answer to a question for the time is taken.
const QUESTION_LIFE: Duration = Duration::from_secs(60);
/// How long a device without a clock counts on from what it was told.
const TIME_LIFE: Duration = Duration::from_secs(10 * 60);
/// Randomness of a nonce.
const NONCE_BYTES: usize = 16;

/// What a device has pinned, and how it knows the time.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    keys: KeyRing,
    clock: Clock,
}

#[derive(Clone, Debug)]
enum Clock {
    /// It has one that it trusts.
    Own,
    /// It can only measure how long ago something was: it asks, and counts on from the answer.
    Asks {
        question: Option<([u8; NONCE_BYTES], Instant)>,
        known: Option<(SystemTime, Instant)>,
    },
}

/// An order whose signature holds.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub order: wire::Order,
    /// What was signed: the same for the same order, whatever key it was signed with.
    pub payload: Vec<u8>,
}

impl Trust {
    /// A device that has these keys pinned; without a clock it has to ask for the time.
    pub fn new(keys: KeyRing, clockless: bool) -> Self {
        let clock = if clockless {
            Clock::Asks {
                question: None,
                known: None,
            }
        } else {
            Clock::Own
        };
        Self { keys, clock }
    }

    /// The nonce for a contact: a new one unless a question is still open. Empty for a device with a clock.
    pub fn ask(&mut self, random: [u8; NONCE_BYTES]) -> Vec<u8> {
        let Clock::Asks { question, .. } = &mut self.clock else {
            return Vec::new();
        };
        let (nonce, _) = question
            .filter(|(_, asked)| asked.elapsed() < QUESTION_LIFE)
            .unwrap_or((random, Instant::now()));
        if question.is_none_or(|(open, _)| open != nonce) {
            *question = Some((nonce, Instant::now()));
        }
        nonce.to_vec()
    }

    /// Takes a proof of time, if it answers this device's question in time.
    pub fn learn(&mut self, device: &str, proof: &[u8]) {
        let Clock::Asks { question, known } = &mut self.clock else {
            return;
        };
        let Some((nonce, asked)) = *question else {
            return;
        };
        let Ok(payload) = self.keys.verify(TIME_PROOF, proof) else {
            return;
        };
        let Ok(proof) = wire::TimeProof::decode(payload.as_slice()) else {
            return;
        };
        // An answer that somebody held back says what time it was.
        let fresh = asked.elapsed() < QUESTION_LIFE;
        let time = proof.time.and_then(|time| SystemTime::try_from(time).ok());
        if let Some(time) = time
            && fresh
            && proof.device == device
            && proof.nonce.as_ref() == nonce.as_slice()
        {
            (*question, *known) = (None, Some((time, Instant::now())));
        }
    }

    fn now(&self) -> Option<SystemTime> {
        match &self.clock {
            Clock::Own => Some(SystemTime::now()),
            Clock::Asks { known, .. } => {
                let (time, heard) = (*known)?;
                let since = heard.elapsed();
                (since < TIME_LIFE).then(|| time + since)
            }
        }
    }

    /// Reads what was signed. Errors: the machine word.
    pub fn read(&self, signed: &[u8]) -> Result<Signed, &'static str> {
        let payload = self.keys.verify(ORDER, signed).map_err(Rejected::word)?;
        let order =
            wire::Order::decode(payload.as_slice()).map_err(|_| Rejected::Unreadable.word())?;
        Ok(Signed { order, payload })
    }

    /// Whether an order may be carried out at this time. Errors: the machine word.
    pub fn in_time(&self, order: &wire::Order) -> Result<(), &'static str> {
        let now = self.now().ok_or(TIME_UNKNOWN)?;
        let time = |at: Option<prost_types::Timestamp>| {
            at.and_then(|at| SystemTime::try_from(at).ok())
                .ok_or(Rejected::Unreadable.word())
        };
        if now + CLOCK_LEEWAY < time(order.not_before_time)? {
            return Err("NOT_YET");
        }
        if now >= time(order.expire_time)? + CLOCK_LEEWAY {
            return Err("EXPIRED");
        }
        Ok(())
    }
}

/// The device can't say what time it is: it asks again.
pub(super) const TIME_UNKNOWN: &str = "TIME_UNKNOWN";
