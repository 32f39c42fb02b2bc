//! A device on the table signs what it is asked to, with its own key: for a removal by hand, and for a deletion that a service
//! centre asks for. Neither's statement is good for the other.

use std::time::{Duration, SystemTime};

use farewell_runtime::cose::KeyRing;
use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use sqlx::AnyConnection;

use super::change::{Beside, Change, Target, digest_of_bytes};
use super::parting::{self, LogIn, Parting};
use super::refusal::Refusal;
use super::registry::{Registry, Via, hex};
use super::{binding, device, outbox, share};
use crate::participant::{Fault, NotInHand, Possession, PossessionStep};
use crate::seal;
use crate::store::micros;

/// The message that the device signs.
const POSSESSION: &str = "farewell.binding.v1.Possession";
/// The message that it signs for a deletion.
pub const OF_A_DELETION: &str = "farewell.deletion.v1.Possession";
/// With 256 bits nobody guesses one.
const CHALLENGE_BYTES: usize = 32;
/// How long a device that lies on the table has to sign.
const CHALLENGE_LIFE: Duration = Duration::from_secs(15 * 60);
/// Challenges of one device that are good at a time; with one more the oldest is forgotten.
const CHALLENGES_MAX: i64 = 4;

/// What a device in hand signs.
pub type Challenge = [u8; CHALLENGE_BYTES];

impl Registry {
    /// Asks for a proof that the device is in hand. Only a hash of what is asked is kept.
    ///
    /// Errors: `BindingNotFound`, `EpochMismatch`, `NoAnswerKey`.
    pub async fn challenge(&self, device: &str, epoch: u64) -> Result<Challenge, Refusal> {
        let mut tx = self.store().pool().begin().await?;
        let known = device::hold_known(&mut tx, device).await?;
        let binding = binding::find(&mut tx, device).await?;
        let binding = binding.filter(|binding| !binding.ending);
        let (Some(known), Some(binding)) = (known, binding) else {
            return Err(Refusal::BindingNotFound);
        };
        if binding.epoch != epoch {
            return Err(Refusal::EpochMismatch);
        }
        if known.answer_key.is_none() {
            return Err(Refusal::NoAnswerKey);
        }
        let challenge = rand::rng().random::<Challenge>();
        keep(&mut tx, device, epoch, &challenge).await?;
        tx.commit().await?;
        Ok(challenge)
    }

    /// Ends the server half of the binding of a device that is in hand. Its lock is released with it, and nothing is told
    /// to it: it is reset where it lies.
    ///
    /// Errors: `NotHere`, `AccountSealed`, `AccountFrozen`, `BindingNotFound`, `EpochMismatch`, `NotInHand`, `DeviceLost`,
    /// `HasChildren`, `RequestIdReused`.
    pub async fn unbind(&self, target: &Target, possession: &[u8]) -> Result<(), Refusal> {
        let digest = digest_of_bytes(possession);
        let Change::Open(mut held) = self
            .change(target, &["unbind", &digest], Beside::Nobody)
            .await?
        else {
            return Ok(());
        };
        if held.device.lost {
            return Err(Refusal::DeviceLost);
        }
        let (binding, key) = (held.binding.clone(), held.device.answer_key);
        let children = binding::children(held.tx(), &binding.device).await?;
        if self.via() == Via::Hub && !children.is_empty() {
            return Err(Refusal::HasChildren);
        }
        let challenge = KeyRing::new(key).verify(POSSESSION, possession);
        let challenge = challenge.map_err(|_| Refusal::NotInHand)?;
        if !take(held.tx(), &target.device, target.epoch, &challenge).await? {
            return Err(Refusal::NotInHand);
        }
        let (mark, device) = (seal::mark(&binding.account), held.device.clone());
        let ended = (target.device.as_str(), target.epoch);
        let parting = Parting {
            binding: ended,
            device: Some(&device),
            log_in: LogIn::Revoked,
        };
        parting::let_go(held.tx(), &[parting], &mark).await?;
        share::remove_all(held.tx(), &[ended]).await?;
        held.finish(target.epoch).await
    }
}

/// Makes a challenge for a deletion, or checks what the device made of it. A challenge stays good for its deletion until its time
/// is up: that the device is in hand is true of the whole of that, and a repeat is answered the same.
pub(super) async fn asked(
    registry: &Registry,
    request: &Possession,
) -> Result<Result<Vec<u8>, NotInHand>, Fault> {
    let mut tx = registry.store().pool().begin().await?;
    let known = device::hold_known(&mut tx, &request.device).await?;
    let binding = binding::find(&mut tx, &request.device).await?;
    let own = binding.filter(|binding| binding.account == request.account && !binding.ending);
    let (Some(known), Some(binding)) = (known, own) else {
        return Ok(Err(NotInHand::BindingNotFound));
    };
    // Whoever stole it has it in hand, too.
    if known.lost {
        return Ok(Err(NotInHand::DeviceLost));
    }
    let Some(key) = known.answer_key else {
        return Ok(Err(NotInHand::NoAnswerKey));
    };
    match &request.step {
        PossessionStep::Challenge => {
            let mut challenge = rand::rng().random::<Challenge>().to_vec();
            challenge.extend_from_slice(request.deletion.as_bytes());
            keep(&mut tx, &request.device, binding.epoch, &challenge).await?;
            tx.commit().await?;
            Ok(Ok(challenge))
        }
        PossessionStep::Check(statement) => {
            let Ok(challenge) = KeyRing::new([key]).verify(OF_A_DELETION, statement) else {
                return Ok(Err(NotInHand::NotInHand));
            };
            let bound = challenge.get(CHALLENGE_BYTES..) == Some(request.deletion.as_bytes());
            let named = (request.device.as_str(), binding.epoch);
            if bound && is_good(&mut tx, named, &challenge).await? {
                Ok(Ok(Vec::new()))
            } else {
                Ok(Err(NotInHand::NotInHand))
            }
        }
    }
}

/// Whether the challenge is this binding's and its time is not up.
async fn is_good(
    tx: &mut AnyConnection,
    (device, epoch): (&str, u64),
    challenge: &[u8],
) -> Result<bool, Fault> {
    let (good,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM challenges WHERE hash = $1 AND device = $2 AND epoch = $3 AND made_at >= $4",
    )
    .bind(hash(challenge))
    .bind(device)
    .bind(outbox::stored(epoch)?)
    .bind(micros(SystemTime::now() - CHALLENGE_LIFE))
    .fetch_one(tx)
    .await?;
    Ok(good == 1)
}

async fn keep(
    tx: &mut AnyConnection,
    device: &str,
    epoch: u64,
    challenge: &[u8],
) -> Result<(), Fault> {
    let now = SystemTime::now();
    sqlx::query("DELETE FROM challenges WHERE made_at < $1")
        .bind(micros(now - CHALLENGE_LIFE))
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "DELETE FROM challenges WHERE device = $1 AND hash NOT IN \
         (SELECT hash FROM challenges WHERE device = $1 ORDER BY made_at DESC, hash LIMIT $2)",
    )
    .bind(device)
    .bind(CHALLENGES_MAX - 1)
    .execute(&mut *tx)
    .await?;
    sqlx::query("INSERT INTO challenges (hash, device, epoch, made_at) VALUES ($1, $2, $3, $4)")
        .bind(hash(challenge))
        .bind(device)
        .bind(outbox::stored(epoch)?)
        .bind(micros(now))
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Whether the challenge was this device's and is still good. It is good no longer.
async fn take(
    tx: &mut AnyConnection,
    device: &str,
    epoch: u64,
    challenge: &[u8],
) -> Result<bool, Fault> {
    let taken = sqlx::query(
        "DELETE FROM challenges WHERE hash = $1 AND device = $2 AND epoch = $3 AND made_at >= $4",
    )
    .bind(hash(challenge))
    .bind(device)
    .bind(outbox::stored(epoch)?)
    .bind(micros(SystemTime::now() - CHALLENGE_LIFE))
    .execute(&mut *tx)
    .await?;
    Ok(taken.rows_affected() == 1)
}

fn hash(challenge: &[u8]) -> String {
    hex(&Sha256::digest(challenge))
}
