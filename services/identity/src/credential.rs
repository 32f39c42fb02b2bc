//! Passwords: kept as Argon2id hashes with a salt each, never as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use farewell_kit::store::{Store, micros};
use farewell_kit::{Fault, holder, seal};
use sqlx::AnyConnection;
use tokio::sync::Semaphore;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS credential (account TEXT PRIMARY KEY, hash TEXT NOT NULL, changed_at BIGINT NOT NULL)";

/// Hashes at a time: each takes [`Cost::memory_kib`] and a core.
const HASHES_MAX: usize = 2;
const SALT_BYTES: usize = 16;

/// How slow a hash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB, at least 8.
    pub memory_kib: u32,
    /// Passes over the memory, at least 1.
    pub passes: u32,
}

/// OWASP Password Storage Cheat Sheet: Argon2id with 19 MiB and two passes.
impl Default for Cost {
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            passes: 2,
        }
    }
}

/// Hashes and compares, off the threads that serve, a few at a time.
#[derive(Clone, Debug)]
pub struct Hasher {
    cost: Cost,
    room: Arc<Semaphore>,
    compared: Arc<AtomicU64>,
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new(Cost::default())
    }
}

impl Hasher {
    /// With a cost for new hashes. Kept ones say their own.
    pub fn new(cost: Cost) -> Self {
        Self {
            cost,
            room: Arc::new(Semaphore::new(HASHES_MAX)),
            compared: Arc::default(),
        }
    }

    /// The hash of a new password, with a salt of its own, in PHC format.
    ///
    /// Errors: a cost that Argon2 does not allow.
    pub async fn hash(&self, password: &str) -> Result<String, Fault> {
        let (cost, password) = (self.cost, password.to_owned());
        self.blocking(move || {
            let salt = SaltString::encode_b64(&rand::random::<[u8; SALT_BYTES]>())?;
            let params = Params::new(cost.memory_kib, cost.passes, 1, None)?;
            let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            Ok(argon.hash_password(password.as_bytes(), &salt)?.to_string())
        })
        .await
    }

    /// Whether the password is the one of the hash. Takes as long for a wrong one.
    ///
    /// Errors: the hash can't be read.
    pub async fn matches(&self, hash: &str, password: &str) -> Result<bool, Fault> {
        self.compared.fetch_add(1, Ordering::Relaxed);
        let (hash, password) = (hash.to_owned(), password.to_owned());
        self.blocking(move || {
            let hash = PasswordHash::new(&hash)?;
            match Argon2::default().verify_password(password.as_bytes(), &hash) {
                Ok(()) => Ok(true),
                Err(argon2::password_hash::Error::Password) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Comparisons so far: what they are counted for is whether somebody nobody knows costs as many as anybody else.
    pub fn compared(&self) -> u64 {
        self.compared.load(Ordering::Relaxed)
    }

    /// A hash that no password has, of this cost: for where there is none to compare with, and nobody should see that by
    /// the time it takes.
    pub(crate) fn dummy(&self) -> String {
        let Cost { memory_kib, passes } = self.cost;
        // 16 bytes of salt and 32 of hash, all zero.
        let (salt, hash) = ("A".repeat(22), "A".repeat(43));
        format!("$argon2id$v=19$m={memory_kib},t={passes},p=1${salt}${hash}")
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, argon2::password_hash::Error> + Send + 'static,
    ) -> Result<T, Fault> {
        let room = self.room.clone().acquire_owned().await;
        let room = room.map_err(|error| Fault::new("room to hash a password", error))?;
        let hashed = tokio::task::spawn_blocking(move || {
            let _room = room;
            work()
        });
        hashed
            .await
            .map_err(|error| Fault::new("hashing a password", error))?
            .map_err(|error| Fault::new("a password hash", error.to_string()))
    }
}

/// Sets a new password and lifts the lock of risk control, whose remedy it is. Therefore also while sealed; the change
/// then is a recent one, and delays the deletion.
///
/// Errors: [`seal::Error::Erased`] in a [`Fault`], or the database is away.
pub async fn change_password(
    store: &Store,
    hasher: &Hasher,
    account: &str,
    password: &str,
) -> Result<(), Fault> {
    let hash = hasher.hash(password).await?;
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    sqlx::query(
        "INSERT INTO credential (account, hash, changed_at) VALUES ($1, $2, $3) \
         ON CONFLICT (account) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at",
    )
    .bind(account)
    .bind(hash)
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE account SET risk_locked = 0 WHERE account = $1")
        .bind(account)
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

/// Writes the row; a second time changes nothing.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    account: &str,
    hash: &str,
    changed: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO credential (account, hash, changed_at) VALUES ($1, $2, $3) ON CONFLICT (account) DO NOTHING")
        .bind(account)
        .bind(hash)
        .bind(micros(changed))
        .execute(connection)
        .await
        .map(drop)
}

pub(crate) async fn hash_of(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Option<String>, sqlx::Error> {
    let row: Option<(String,)> = sqlx::query_as("SELECT hash FROM credential WHERE account = $1")
        .bind(account)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|(hash,)| hash))
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "credential", account).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_tells_right_from_wrong_and_never_repeats() {
        let hasher = Hasher::new(Cost {
            memory_kib: 8,
            passes: 1,
        });
        let first = hasher.hash("correct horse").await.unwrap();
        let second = hasher.hash("correct horse").await.unwrap();
        assert!(first != second && first.starts_with("$argon2id$"));
        assert!(hasher.matches(&first, "correct horse").await.unwrap());
        assert!(!hasher.matches(&first, "correct horses").await.unwrap());
        assert!(hasher.matches("not a hash", "x").await.is_err());
        assert!(!hasher.matches(&hasher.dummy(), "").await.unwrap());
        assert_eq!(hasher.compared(), 4);
        let shape = |hash: &str| (hash.len(), hash.split('$').nth(3).map(str::to_owned));
        assert_eq!(shape(&hasher.dummy()), shape(&first));
    }
}
