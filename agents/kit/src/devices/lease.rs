//! Which of an agent's replicas speaks to the broker: one at a time, on whatever broker.
//!
//! A broker gives what hubs say to one client of a name. Were the replicas several clients, each would hear every hub and
//! answer it, and where a broker can share a subscription out among them (MQTT 5, and not every one) two words of one hub
//! could overtake each other. So one replica is the agent there, and another takes over its name, and with it the session
//! in which the broker has kept what hubs said meanwhile.
//!
//! No clock is compared with another. Whoever holds the lease counts a beat up; whoever waits takes it when the beat has
//! stood still for [`LIFE`] by its own clock, and whoever could not count for [`HOLD`] has stopped before. A process that
//! stood still for longer and goes on may meet its successor at the broker until it next counts; that costs connections and
//! no order, as the database decides what is owed.
//!
//! The lease has a connection of its own and gives up every statement after a while: it may wait neither behind other work
//! nor for a database that is gone without a word.

use std::time::Duration;

use farewell_runtime::shutdown::Shutdown;
use sqlx::AnyConnection;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::mqtt::Standing;
use crate::participant::Fault;
use crate::store::Store;

/// The table of the lease.
pub(super) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS broker_lease (one BIGINT PRIMARY KEY CHECK (one = 1), \
     holder TEXT NOT NULL, beat BIGINT NOT NULL, waiting BIGINT NOT NULL)";
/// How often the beat is counted up, and looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// Longest that anything is waited for that the database is asked.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same at the end, when nobody can do anything about it any more.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);
/// Whoever could not count for so long speaks no more.
const HOLD: Duration = Duration::from_secs(10);
/// Whoever did not count for so long is taken for dead: longer than `HOLD`, whichever clock runs faster.
const LIFE: Duration = Duration::from_secs(15);
/// Whoever holds the lease and has no connection for so long leaves it to somebody who waits, and stands back as long.
/// Twice as long after each time that brought nothing: what is wrong is wrong for all of them then.
const UNHEARD: Duration = Duration::from_secs(20);
const UNHEARD_MAX: Duration = Duration::from_secs(640);

/// One replica's part in it.
pub(super) struct Lease {
    store: Store,
    /// `None`: the last one broke, or did not answer in time.
    connection: Option<AnyConnection>,
    /// This process: a new one each time it starts.
    holder: String,
    /// Whose beat was seen standing still, at what count, and since when.
    still: Option<(String, i64, Instant)>,
    /// How often somebody had asked for it when it was last renewed, and whether somebody had since the time before.
    waiting: i64,
    wanted: bool,
    unheard: Duration,
}

/// How a time of holding it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Whoever spoke has ended.
    Over,
    /// Somebody else has it, or may have it soon.
    Lost,
    /// There is no way to the broker from here, and somebody else wants to try.
    Unheard,
}

impl Lease {
    /// `None` where the database is one process's own, and nobody to take turns with.
    pub fn new(store: Store) -> Option<Self> {
        store.is_shared().then(|| Self {
            store,
            connection: None,
            holder: Uuid::now_v7().simple().to_string(),
            still: None,
            waiting: 0,
            wanted: false,
            unheard: UNHEARD,
        })
    }

    /// Waits for it. `None` if the process ends first; otherwise since when it is held.
    pub async fn wait(&mut self, shutdown: &Shutdown) -> Option<Instant> {
        let (mut stood_by, mut failures) = (false, 0_u32);
        while !shutdown.is_triggered() {
            let now = Instant::now();
            let claimed = tokio::select! {
                () = shutdown.wait() => return None,
                claimed = self.claim(now) => claimed,
            };
            match claimed {
                Ok(true) => return Some(now),
                Ok(false) if !stood_by => {
                    stood_by = true;
                    tracing::info!(
                        "another replica speaks to the broker, this one takes over when it is gone"
                    );
                }
                Ok(false) => failures = 0,
                Err(fault) => {
                    failures += 1;
                    // Now and then: nobody may speak meanwhile.
                    if failures.is_power_of_two() {
                        tracing::warn!(
                            word = "BROKER_LEASE_UNKNOWN",
                            error = &fault as &dyn std::error::Error,
                            "the database doesn't say who speaks to the broker"
                        );
                    }
                }
            }
            tokio::select! {
                () = shutdown.wait() => return None,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
        None
    }

    /// Takes it if nobody has it, or if whoever had it has not counted for [`LIFE`].
    pub async fn claim(&mut self, now: Instant) -> Result<bool, Fault> {
        let mut connection = self.connection().await?;
        let seen = within(PATIENCE, seen(&mut connection)).await?;
        let Seen {
            holder,
            beat,
            waiting,
        } = seen;
        let since = match &self.still {
            Some((of, at, since)) if (of, *at) == (&holder, beat) => *since,
            Some(_) | None => now,
        };
        let free = holder.is_empty() || holder == self.holder;
        if !free && now.duration_since(since) < LIFE {
            self.still = Some((holder, beat, since));
            self.connection = Some(connection);
            return Ok(false);
        }
        // Of several that see it free one is first.
        let take = sqlx::query(
            "UPDATE broker_lease SET holder = $1, beat = beat + 1 WHERE one = 1 AND holder = $2 AND beat = $3",
        )
        .bind(&self.holder)
        .bind(&holder)
        .bind(beat)
        .execute(&mut connection);
        let taken = within(PATIENCE, take).await?;
        self.connection = Some(connection);
        (self.still, self.waiting, self.wanted) = (None, waiting, false);
        Ok(taken.rows_affected() == 1)
    }

    /// Counts until `turn` ends, the lease is lost, or somebody else had better have it. `since` is when it was taken.
    pub async fn hold(
        &mut self,
        since: Instant,
        standing: &watch::Receiver<Option<Standing>>,
        turn: &Shutdown,
    ) -> End {
        let (mut renewed, mut heard) = (since, since);
        loop {
            tokio::select! {
                () = turn.wait() => return End::Over,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            let now = Instant::now();
            let counted = tokio::select! {
                () = turn.wait() => return End::Over,
                () = tokio::time::sleep_until(renewed + HOLD) => return End::Lost,
                counted = self.renew() => counted,
            };
            match counted {
                Ok(true) => renewed = now,
                Ok(false) => return End::Lost,
                Err(_) => {}
            }
            if standing.borrow().is_some() {
                (heard, self.unheard) = (now, UNHEARD);
            } else if self.wanted && now.duration_since(heard) >= self.unheard {
                return End::Unheard;
            }
        }
    }

    /// Counts the beat up. False: it is somebody else's.
    pub async fn renew(&mut self) -> Result<bool, Fault> {
        let mut connection = self.connection().await?;
        let count = sqlx::query_as(
            "UPDATE broker_lease SET beat = beat + 1 WHERE one = 1 AND holder = $1 RETURNING waiting",
        )
        .bind(&self.holder)
        .fetch_optional(&mut connection);
        let counted: Option<(i64,)> = within(PATIENCE, count).await?;
        self.connection = Some(connection);
        let Some((waiting,)) = counted else {
            return Ok(false);
        };
        self.wanted = waiting != self.waiting;
        self.waiting = waiting;
        Ok(true)
    }

    /// Leaves it to whoever looks next. Call it when nothing is said to the broker any more.
    pub async fn release(&mut self) -> Result<(), Fault> {
        let mut connection = self.connection().await?;
        let leave =
            sqlx::query("UPDATE broker_lease SET holder = '' WHERE one = 1 AND holder = $1")
                .bind(&self.holder)
                .execute(&mut connection);
        within(RELEASE_PATIENCE, leave).await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Lets others try, for as long as it has tried itself.
    pub async fn stand_back(&mut self, shutdown: &Shutdown) {
        let pause = self.unheard;
        self.unheard = (pause * 2).min(UNHEARD_MAX);
        tokio::select! {
            () = shutdown.wait() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Whoever takes it puts it back once it has answered: one that did not is of no use any more.
    async fn connection(&mut self) -> Result<AnyConnection, Fault> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => within(PATIENCE, self.store.connect()).await,
        }
    }
}

struct Seen {
    holder: String,
    beat: i64,
    waiting: i64,
}

/// Who has it, having asked for it.
async fn seen(connection: &mut AnyConnection) -> Result<Seen, sqlx::Error> {
    let first = "INSERT INTO broker_lease (one, holder, beat, waiting) VALUES (1, '', 0, 0) ON CONFLICT DO NOTHING";
    sqlx::query(first).execute(&mut *connection).await?;
    let ask = "UPDATE broker_lease SET waiting = waiting + 1 WHERE one = 1 RETURNING holder, beat, waiting";
    let (holder, beat, waiting) = sqlx::query_as(ask).fetch_one(connection).await?;
    Ok(Seen {
        holder,
        beat,
        waiting,
    })
}

async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Fault> {
    let answer = timeout(patience, answer).await;
    Ok(answer.map_err(|late| Fault::new("the lease at the broker", late))??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch;

    /// Where nobody has asked for it yet.
    async fn store(database: &str) -> Store {
        let namespace = scratch::namespace("lease");
        Store::open(database, &namespace, &[SCHEMA]).await.unwrap()
    }

    /// Waits until the server has done with whatever nobody waits for any more: it carries out a statement that was given up
    /// as soon as it can.
    async fn settled(store: &Store) {
        let others = "SELECT COUNT(*) FROM pg_locks WHERE relation = 'broker_lease'::regclass AND pid <> pg_backend_pid()";
        loop {
            let (others,): (i64,) = sqlx::query_as(others)
                .fetch_one(store.pool())
                .await
                .unwrap();
            if others == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn one_replica_speaks_until_it_leaves_or_has_not_counted_for_a_life() {
        if let Some(database) = scratch::postgres() {
            let store = store(&database).await;
            let [mut one, mut two] = [(), ()].map(|()| Lease::new(store.clone()).unwrap());
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
        if let Some(database) = scratch::postgres() {
            let store = store(&database).await;
            let now = Instant::now();
            let claims = (0..16).map(|_| {
                let mut lease = Lease::new(store.clone()).unwrap();
                async move {
                    // A slow disk lets some of so many wait for too long: they ask again, as replicas do.
                    loop {
                        if let Ok(taken) = lease.claim(now).await {
                            return taken;
                        }
                    }
                }
            });
            let claims = futures_util::future::join_all(claims).await;
            assert_eq!(claims.into_iter().filter(|taken| *taken).count(), 1);
        }
    }

    /// A database that has frozen holds nobody up, and has all of it when it goes on.
    #[tokio::test]
    async fn a_statement_that_nobody_answers_is_given_up() {
        let Some(database) = scratch::postgres() else {
            return;
        };
        let store = store(&database).await;
        let [mut one, mut two] = [(), ()].map(|()| Lease::new(store.clone()).unwrap());
        assert!(one.claim(Instant::now()).await.unwrap());
        let mut frozen = store.pool().begin().await.unwrap();
        sqlx::query("LOCK TABLE broker_lease IN ACCESS EXCLUSIVE MODE")
            .execute(&mut *frozen)
            .await
            .unwrap();
        let began = Instant::now();
        let (_told, standing) = watch::channel(None);
        let turn = Shutdown::new();
        let (end, claimed) =
            tokio::join!(one.hold(began, &standing, &turn), two.claim(Instant::now()));
        assert_eq!(end, End::Lost);
        // Before anybody may take it for dead.
        assert!(began.elapsed() < LIFE, "{:?}", began.elapsed());
        assert!(claimed.is_err());
        assert!(one.release().await.is_err());
        // Nobody waits for an answer when the process ends.
        let over = Shutdown::new();
        over.trigger();
        assert_eq!(two.wait(&over).await, None);
        frozen.rollback().await.unwrap();
        settled(&store).await;
        assert!(one.claim(Instant::now()).await.unwrap());
        assert!(!two.claim(Instant::now()).await.unwrap());
    }

    #[tokio::test]
    async fn a_database_of_one_process_has_no_turns() {
        let store = Store::open(&scratch::sqlite("lease"), "", &[SCHEMA])
            .await
            .unwrap();
        assert!(Lease::new(store).is_none());
    }
}
