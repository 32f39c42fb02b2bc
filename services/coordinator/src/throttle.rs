//! How fast a caller may ask: by its certificate's name, and by that name and account together.
//!
//! The first bounds what one caller takes from the others, the second how fast it probes one account. What an account's owner
//! is protected by is identity's own count, which survives everything; this one is in the memory of one coordinator, forgets
//! with it, and only keeps noise off the ledger and the line to identity.
//!
//! Memory is bounded by design: names are hashed, with a key of this start, onto a fixed number of places. Two that share one
//! share its rate, so that a crowd of names makes the limit stricter for some and looser for nobody.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use farewell_core::AccountId;
use farewell_runtime::peer::Peer;
use tonic::Status;

use crate::error;

/// Places for callers: 32 KiB each time.
const CALLER_PLACES: usize = 4_096;
/// Places for callers' accounts: 512 KiB.
const ACCOUNT_PLACES: usize = 65_536;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// How often `CreateDeletion`, `SendCode`, `VerifyFactor` and `ConfirmLink` are taken, all together, and `IdentifierService` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From one caller, in a second.
    pub caller_per_second: u32,
    /// From one caller about one account, in a minute.
    pub account_per_minute: u32,
    /// Identifiers asked about or released by one caller, in a minute. Whoever may ask about any finds out by asking about all which
    /// numbers have an account, or had one: at 600 a minute, a block of a hundred million takes four months.
    pub identifiers_per_minute: u32,
}

/// Above what a coordinator can do, so that one caller may use all of it; and above what a person who mistypes does.
impl Default for Limits {
    fn default() -> Self {
        Self {
            caller_per_second: 20_000,
            account_per_minute: 60,
            identifiers_per_minute: 600,
        }
    }
}

/// Counts what callers ask.
#[derive(Debug)]
pub struct Throttle {
    started: Instant,
    key: RandomState,
    callers: Places,
    accounts: Places,
    identifiers: Places,
}

impl Throttle {
    /// Everybody starts rested.
    pub fn new(limits: Limits) -> Self {
        Self {
            started: Instant::now(),
            key: RandomState::new(),
            callers: Places::new(CALLER_PLACES, limits.caller_per_second, SECOND),
            accounts: Places::new(ACCOUNT_PLACES, limits.account_per_minute, MINUTE),
            identifiers: Places::new(CALLER_PLACES, limits.identifiers_per_minute, MINUTE),
        }
    }

    /// Takes a request from a caller; without TLS, which only loopback allows, all are one.
    ///
    /// Errors: `CALLER_TOO_FAST`, with when to come again.
    pub fn caller(&self, caller: Option<&Peer>) -> Result<(), Status> {
        let taken = self
            .callers
            .take(self.key.hash_one(caller), self.started.elapsed());
        taken.map_err(|after| refused("the caller asks faster than it may", after))
    }

    /// Takes a request from a caller about an identifier.
    ///
    /// Errors: as [`Throttle::caller`].
    pub fn identifier(&self, caller: Option<&Peer>) -> Result<(), Status> {
        let taken = self
            .identifiers
            .take(self.key.hash_one(caller), self.started.elapsed());
        taken.map_err(|after| refused("the caller asks about more identifiers than it may", after))
    }

    /// Takes a request from a caller about an account.
    ///
    /// Errors: as [`Throttle::caller`].
    pub fn account(&self, caller: Option<&Peer>, account: &AccountId) -> Result<(), Status> {
        let taken = self
            .accounts
            .take(self.key.hash_one((caller, account)), self.started.elapsed());
        taken.map_err(|after| {
            refused(
                "the caller asks about this account faster than it may",
                after,
            )
        })
    }
}

fn refused(message: &str, after: Duration) -> Status {
    error::wait("CALLER_TOO_FAST", message, after)
}

/// Token buckets by the generic cell rate algorithm: each is one number, the time at which it would be full again.
#[derive(Debug)]
struct Places {
    full_at_micros: Box<[AtomicU64]>,
    interval_micros: u64,
    burst_micros: u64,
}

impl Places {
    fn new(places: usize, max: u32, period: Duration) -> Self {
        let period = micros(period);
        Self {
            full_at_micros: (0..places).map(|_| AtomicU64::new(0)).collect(),
            interval_micros: (period / u64::from(max.max(1))).max(1),
            burst_micros: period,
        }
    }

    /// Takes a token of the place of `hash`. `Err`: how long until there is one.
    fn take(&self, hash: u64, now: Duration) -> Result<(), Duration> {
        let now = micros(now);
        let places = self.full_at_micros.len();
        let place = usize::try_from(hash).unwrap_or(usize::MAX) % places;
        let Some(place) = self.full_at_micros.get(place) else {
            return Ok(());
        };
        let next = |full_at: u64| full_at.max(now) + self.interval_micros;
        let taken = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            Some(next(full_at)).filter(|next| *next <= now + self.burst_micros)
        });
        taken.map(drop).map_err(|full_at| {
            Duration::from_micros(next(full_at).saturating_sub(now + self.burst_micros))
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use farewell_runtime::peer::Role;

    use super::*;

    #[test]
    fn a_burst_is_taken_then_one_at_a_time_and_the_wait_is_told() {
        let places = Places::new(8, 3, MINUTE);
        let at = Duration::from_secs;
        for _ in 0..3 {
            assert_eq!(places.take(1, at(100)), Ok(()));
        }
        assert_eq!(places.take(1, at(100)), Err(at(20)));
        assert_eq!(places.take(1, at(119)), Err(at(1)));
        assert_eq!(places.take(2, at(100)), Ok(()), "another place");
        assert_eq!(places.take(1, at(120)), Ok(()));
        assert_eq!(places.take(1, at(120)), Err(at(20)));
        for _ in 0..3 {
            assert_eq!(
                places.take(1, at(400)),
                Ok(()),
                "rested, and no more than that"
            );
        }
        assert!(places.take(1, at(400)).is_err());
    }

    #[test]
    fn nobody_gets_more_by_many_names_or_many_threads() {
        let places = Places::new(4, 10, MINUTE);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (places, taken) = (&places, &taken);
                scope.spawn(move || {
                    for name in 0..1_000 {
                        if places.take(name * 8 + thread, SECOND).is_ok() {
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 4 * 10);
    }

    #[test]
    fn callers_and_accounts_are_limited_apart() {
        let throttle = Throttle::new(Limits {
            caller_per_second: 1_000,
            account_per_minute: 2,
            identifiers_per_minute: 3,
        });
        let peer = |name: &str| Peer::new(Role::Caller, name).unwrap();
        let (one, two) = (peer("settings"), peer("web"));
        let account: AccountId = "alice".parse().unwrap();
        for caller in [None, Some(&one), Some(&two)] {
            for _ in 0..2 {
                throttle.caller(caller).unwrap();
                throttle.account(caller, &account).unwrap();
            }
            let refused = throttle.account(caller, &account).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
            assert!(!refused.message().contains("alice"));
            for _ in 0..3 {
                throttle.identifier(caller).unwrap();
            }
            assert!(throttle.identifier(caller).is_err());
        }
    }
}
