//! Which of an agent's replicas speaks to the broker: one at a time, on whatever broker.
//!
//! A broker gives what hubs say to one client of a name. Were the replicas several clients, each would hear every hub and
//! answer it, and where a broker can share a subscription out among them (MQTT 5, and not every one) two words of one hub
//! could overtake each other. So one replica is the agent there, and another takes over its name, and with it the session
//! in which the broker has kept what hubs said meanwhile.
//!
//! No clock is compared with another. Whoever holds the lease counts a beat up; whoever waits takes it when the beat has
//! stood still for [`LIFE`] by its own clock, and whoever could not count for [`HOLD`] has stopped before. Should a process
//! stand still longer than that and go on, the broker ends the older of the two clients, and the database, which decides what
//! is owed, knows no older one.

use std::time::Duration;

use farewell_runtime::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::mqtt::Standing;
use crate::participant::Fault;
use crate::store::Store;

/// The table of the lease.
pub(super) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS broker_lease (one BIGINT PRIMARY KEY CHECK (one = 1), \
     holder TEXT NOT NULL, beat BIGINT NOT NULL, waiting BIGINT NOT NULL)";
/// How often the beat is counted up, and looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// Whoever could not count for so long speaks no more.
const HOLD: Duration = Duration::from_secs(10);
/// Whoever did not count for so long is taken for dead: longer than `HOLD`, whichever clock runs faster.
const LIFE: Duration = Duration::from_secs(15);
/// Whoever holds the lease and has no connection for so long leaves it to somebody who waits, and stands back as long.
const UNHEARD: Duration = Duration::from_secs(20);

/// One replica's part in it.
pub(super) struct Lease {
    store: Store,
    /// This process: a new one each time it starts.
    holder: String,
    /// Whose beat was seen standing still, at what count, and since when.
    still: Option<(String, i64, Instant)>,
    /// How often somebody had asked for it when it was last renewed, and whether somebody had since the time before.
    waiting: i64,
    wanted: bool,
}

/// How a time of holding it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The process ends.
    Over,
    /// Somebody else has it, or may have it soon.
    Lost,
    /// There is no way to the broker from here, and somebody else wants to try.
    Unheard,
}

impl Lease {
    pub fn new(store: Store) -> Self {
        Self {
            store,
            holder: Uuid::now_v7().simple().to_string(),
            still: None,
            waiting: 0,
            wanted: false,
        }
    }

    /// Waits for it. `None` if the process ends first; otherwise since when it is held.
    pub async fn wait(&mut self, shutdown: &Shutdown) -> Option<Instant> {
        let mut stood_by = false;
        loop {
            let now = Instant::now();
            match self.claim(now).await {
                Ok(true) => return Some(now),
                Ok(false) if !stood_by => {
                    stood_by = true;
                    tracing::info!(
                        "another replica speaks to the broker, this one takes over when it is gone"
                    );
                }
                Ok(false) => {}
                Err(fault) => tracing::debug!(
                    error = &fault as &dyn std::error::Error,
                    "can't ask who speaks to the broker"
                ),
            }
            tokio::select! {
                () = shutdown.wait() => return None,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    /// Takes it if nobody has it, or if whoever had it has not counted for [`LIFE`].
    pub async fn claim(&mut self, now: Instant) -> Result<bool, Fault> {
        let pool = self.store.pool();
        let first = "INSERT INTO broker_lease (one, holder, beat, waiting) VALUES (1, '', 0, 0) ON CONFLICT DO NOTHING";
        sqlx::query(first).execute(pool).await?;
        let asked = "UPDATE broker_lease SET waiting = waiting + 1 WHERE one = 1 RETURNING holder, beat, waiting";
        let (holder, beat, waiting): (String, i64, i64) =
            sqlx::query_as(asked).fetch_one(pool).await?;
        let since = match &self.still {
            Some((of, at, since)) if (of, *at) == (&holder, beat) => *since,
            Some(_) | None => now,
        };
        let free = holder.is_empty() || holder == self.holder;
        if !free && now.duration_since(since) < LIFE {
            self.still = Some((holder, beat, since));
            return Ok(false);
        }
        // Of several that see it free one is first.
        let taken = sqlx::query(
            "UPDATE broker_lease SET holder = $1, beat = beat + 1 WHERE one = 1 AND holder = $2 AND beat = $3",
        )
        .bind(&self.holder)
        .bind(&holder)
        .bind(beat)
        .execute(pool)
        .await?;
        (self.still, self.waiting, self.wanted) = (None, waiting, false);
        Ok(taken.rows_affected() == 1)
    }

    /// Counts until the process ends, the lease is lost, or somebody else had better have it. `since` is when it was taken.
    pub async fn hold(
        &mut self,
        since: Instant,
        standing: &watch::Receiver<Option<Standing>>,
        shutdown: &Shutdown,
    ) -> End {
        let (mut renewed, mut heard) = (since, since);
        loop {
            tokio::select! {
                () = shutdown.wait() => return End::Over,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            let now = Instant::now();
            match timeout_at(renewed + HOLD, self.renew()).await {
                Ok(Ok(true)) => renewed = now,
                Ok(Ok(false)) => return End::Lost,
                Ok(Err(_)) if now < renewed + HOLD => {}
                Ok(Err(_)) | Err(_) => return End::Lost,
            }
            if standing.borrow().is_some() {
                heard = now;
            } else if self.wanted && now.duration_since(heard) >= UNHEARD {
                return End::Unheard;
            }
        }
    }

    /// Counts the beat up. False: it is somebody else's.
    pub async fn renew(&mut self) -> Result<bool, Fault> {
        let renewed: Option<(i64,)> = sqlx::query_as(
            "UPDATE broker_lease SET beat = beat + 1 WHERE one = 1 AND holder = $1 RETURNING waiting",
        )
        .bind(&self.holder)
        .fetch_optional(self.store.pool())
        .await?;
        let Some((waiting,)) = renewed else {
            return Ok(false);
        };
        self.wanted = waiting != self.waiting;
        self.waiting = waiting;
        Ok(true)
    }

    /// Leaves it to whoever looks next. Call it when nothing is said to the broker any more.
    pub async fn release(&self) -> Result<(), Fault> {
        sqlx::query("UPDATE broker_lease SET holder = '' WHERE one = 1 AND holder = $1")
            .bind(&self.holder)
            .execute(self.store.pool())
            .await?;
        Ok(())
    }

    /// Lets others try. `false` if the process ends meanwhile.
    pub async fn stand_back(shutdown: &Shutdown) -> bool {
        tokio::select! {
            () = shutdown.wait() => false,
            () = tokio::time::sleep(UNHEARD) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch;

    /// Where nobody has asked for it yet.
    async fn store(database: &str, namespace: &str) -> Store {
        let store = Store::open(database, namespace, &[SCHEMA]).await.unwrap();
        let emptied = sqlx::query("DELETE FROM broker_lease").execute(store.pool());
        emptied.await.unwrap();
        store
    }

    #[tokio::test]
    async fn one_replica_speaks_until_it_leaves_or_has_not_counted_for_a_life() {
        for database in scratch::urls("lease") {
            let store = store(&database, "lease").await;
            let [mut one, mut two] = [(), ()].map(|()| Lease::new(store.clone()));
            let began = Instant::now();
            assert!(one.claim(began).await.unwrap());
            assert!(one.claim(began).await.unwrap(), "it has it already");
            assert!(!two.claim(began).await.unwrap());

            // As long as one counts, two waits, however long that takes.
            for lives in 1..4 {
                assert!(one.renew().await.unwrap() && one.wanted);
                assert!(!two.claim(began + LIFE * lives).await.unwrap());
            }
            assert!(one.renew().await.unwrap() && one.wanted);
            assert!(one.renew().await.unwrap() && !one.wanted, "nobody asked");

            // It counts no more, and its time goes by from when that is first seen.
            let seen = began + LIFE * 9;
            assert!(!two.claim(seen).await.unwrap());
            assert!(!two.claim(seen + LIFE - INTERVAL).await.unwrap());
            assert!(two.claim(seen + LIFE).await.unwrap());
            assert!(!one.renew().await.unwrap(), "it comes too late");
            assert!(!one.claim(seen).await.unwrap());

            // What isn't its own it can't leave; what is left the next one takes at once.
            one.release().await.unwrap();
            assert!(two.renew().await.unwrap());
            two.release().await.unwrap();
            assert!(one.claim(seen).await.unwrap());
        }
    }

    #[tokio::test]
    async fn of_many_that_ask_at_once_one_gets_it() {
        for database in scratch::urls("lease-rush") {
            let store = store(&database, "lease_rush").await;
            let now = Instant::now();
            let claims = (0..16).map(|_| {
                let mut lease = Lease::new(store.clone());
                async move { lease.claim(now).await.unwrap() }
            });
            let claims = futures_util::future::join_all(claims).await;
            assert_eq!(claims.into_iter().filter(|taken| *taken).count(), 1);
        }
    }
}
