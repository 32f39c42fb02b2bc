//! Codes on their way: handed to the courier behind the answer's back, so that its time tells nobody who has an address.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use farewell_kit::store::Store;
use farewell_kit::{Fault, SendCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::code;
use crate::courier::{Couriers, Letter};
use crate::notice::Delivery;

/// Before a courier that failed is asked once more.
const CARRY_PAUSE: Duration = Duration::from_secs(1);
/// Letters that are under way at a time.
const CARRYING_MAX: usize = 1_024;

/// A code to be carried. Without a letter there is nobody to carry it to, and the rest is done all the same.
pub(crate) struct Envelope {
    pub letter: Option<Letter>,
    pub mac: Vec<u8>,
    pub request: SendCode,
}

/// Letters that are under way. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Carrying(Arc<Semaphore>, Delivery);

impl Default for Carrying {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CARRYING_MAX)), Delivery::default())
    }
}

impl Carrying {
    /// Room for one letter.
    ///
    /// Errors: there is none; asking again is safe.
    pub fn room(&self) -> Result<Room, Fault> {
        let room = Arc::clone(&self.0).try_acquire_owned();
        let room = room.map_err(|_| Fault::plain("too many letters are under way"))?;
        Ok(Room(room, self.1.clone()))
    }

    /// Where it is known that a gateway fails.
    pub fn delivery(&self) -> &Delivery {
        &self.1
    }

    /// Returns when nothing is under way any more.
    pub async fn ended(&self) {
        let all = u32::try_from(CARRYING_MAX).unwrap_or(u32::MAX);
        drop(self.0.acquire_many(all).await);
    }
}

/// Room for one letter, given back when it has arrived, or will not.
pub(crate) struct Room(OwnedSemaphorePermit, Delivery);

impl Room {
    /// Carries, whether the caller waits or has left.
    pub fn carry(self, store: Store, couriers: Couriers, envelope: Envelope) {
        tokio::spawn(async move {
            let Self(_room, delivery) = self;
            carry(&store, &couriers, &envelope, &delivery).await;
        });
    }
}

async fn carry(store: &Store, couriers: &Couriers, envelope: &Envelope, delivery: &Delivery) {
    let request = &envelope.request;
    let mut carried = try_to_carry(couriers, envelope).await;
    // What the gateway refuses for good it refuses again.
    if carried.as_ref().is_err_and(|fault| !fault.is_lasting()) {
        tokio::time::sleep(CARRY_PAUSE).await;
        carried = try_to_carry(couriers, envelope).await;
    }
    if carried.is_err() {
        delivery.failed(SystemTime::now());
    }
    let statement = match &carried {
        Ok(()) => {
            "UPDATE code SET delivered = 1 WHERE deletion = $1 AND channel = $2 AND request_id = $3 AND mac = $4"
        }
        Err(_) => {
            "UPDATE code SET attempted_at = 0 WHERE deletion = $1 AND channel = $2 AND request_id = $3 AND mac = $4"
        }
    };
    let written = sqlx::query(statement)
        .bind(&request.deletion)
        .bind(code::word(request.kind))
        .bind(&request.request_id)
        .bind(&envelope.mac)
        .execute(store.pool())
        .await;
    // Not written, it stands as under way, and the same request makes another in a while.
    if let Err(fault) = carried.and(written.map(drop).map_err(Fault::from)) {
        tracing::warn!(
            error = &fault as &dyn std::error::Error,
            deletion = request.deletion,
            kind = code::word(request.kind),
            "a code was not carried"
        );
    }
}

async fn try_to_carry(couriers: &Couriers, envelope: &Envelope) -> Result<(), Fault> {
    match &envelope.letter {
        Some(letter) => match couriers.by(letter.way) {
            Some(courier) => courier.carry(letter).await,
            None => Ok(()),
        },
        None => Ok(()),
    }
}
