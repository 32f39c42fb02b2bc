//! What only a database across a network can do to us.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use farewell_core::{Event, Slot};
use farewell_ledger::postgres::{LANE_STATEMENTS, Postgres};
use farewell_ledger::{Error, Ledger, Opened, Turned};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::bed::Bed;
use crate::given::{
    LONG, account, asked, coordinator, erased, erasing, event, purge, quick, settlement, stored,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn lanes_look_rows_up_by_their_keys() {
    let Some(bed) = Bed::postgres().await else {
        return;
    };
    let options = "options=-c%20plan_cache_mode%3Dforce_generic_plan%20-c%20enable_seqscan%3Doff\
                   %20-c%20enable_hashjoin%3Doff%20-c%20enable_mergejoin%3Doff";
    let mut connection = PgConnection::connect(&format!("{}?{options}", bed.url))
        .await
        .unwrap();
    for (name, statement) in LANE_STATEMENTS {
        let prepare = format!("PREPARE {name} AS {statement}");
        sqlx::raw_sql(AssertSqlSafe(prepare))
            .execute(&mut connection)
            .await
            .unwrap();
        let parameters = (1..)
            .take_while(|number| statement.contains(&format!("${number}::")) || *number < 3)
            .map(|_| "NULL")
            .collect::<Vec<_>>()
            .join(", ");
        let explain = format!("EXPLAIN EXECUTE {name}({parameters})");
        let plan: Vec<String> = sqlx::raw_sql(AssertSqlSafe(explain))
            .fetch_all(&mut connection)
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        let plan = plan.join("\n");
        assert!(!plan.contains("Seq Scan"), "{name}:\n{plan}");
        assert!(!plan.contains("Hash Join"), "{name}:\n{plan}");
        assert!(plan.contains("live_pkey"), "{name}:\n{plan}");
        if name != "open" {
            assert!(
                plan.contains("Index Scan using deletion_pkey"),
                "{name}:\n{plan}"
            );
            assert!(
                plan.contains("Index Scan using coordinator_pkey"),
                "{name}:\n{plan}"
            );
        }
    }
    drop(connection);
    bed.drop().await;
}

#[tokio::test]
async fn an_acknowledgement_touches_no_index() {
    let Some(bed) = Bed::postgres().await else {
        return;
    };
    let ledger = Postgres::open(&bed.url).await.unwrap();
    let fence = ledger.join("one", LONG).await.unwrap();
    let batch: Vec<_> = (0..50)
        .map(|number| account(&format!("account-{number}"), &quick()))
        .collect();
    ledger.open(asked(batch.clone())).await.unwrap();
    let receipts = batch
        .iter()
        .map(|deletion| settlement(deletion, vec![erased(0, 1)], &quick()))
        .collect();
    ledger.settle(&fence, receipts).await.unwrap();
    // Counters are told when a session ends, or seldom.
    drop(ledger);

    let mut connection = PgConnection::connect(&bed.url).await.unwrap();
    let hot = async |connection: &mut PgConnection| -> (i64, i64) {
        sqlx::query_as(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'deletion'",
        )
        .fetch_one(connection)
        .await
        .unwrap()
    };
    timeout(PATIENCE, async {
        while hot(&mut connection).await.0 < 50 {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(hot(&mut connection).await, (50, 50));
    drop(connection);
    bed.drop().await;
}

#[tokio::test]
async fn a_lane_that_is_ended_halfway_is_unknown_and_nothing_happened() {
    let Some(bed) = Bed::postgres().await else {
        return;
    };
    erasing(&*bed.ledger, "warm-up").await;
    let mut operator = PgConnection::connect(&bed.url).await.unwrap();
    let deletion = account("alice", &quick());
    let mut lock = operator.begin().await.unwrap();
    sqlx::query("LOCK TABLE deletion IN SHARE MODE")
        .execute(&mut *lock)
        .await
        .unwrap();
    let opening = tokio::spawn({
        let (ledger, deletion) = (bed.ledger.clone(), deletion.clone());
        async move { ledger.open(asked(vec![deletion])).await }
    });
    timeout(PATIENCE, async {
        loop {
            let ended = bed
                .sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE application_name = 'farewell open' AND wait_event_type = 'Lock'
                       AND datname = current_database()",
                )
                .await
                .unwrap();
            if ended > 0 {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    let lost = opening.await.unwrap();
    assert!(matches!(lost, Err(Error::Unknown(_))), "{lost:?}");
    lock.rollback().await.unwrap();

    let opened = bed
        .ledger
        .open(asked(vec![deletion.clone()]))
        .await
        .unwrap();
    assert_eq!(opened, [Opened::Created(deletion)]);
    operator.close().await.unwrap();
    bed.drop().await;
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_unknown_and_the_request_id_tells_the_truth() {
    let Some(bed) = Bed::postgres().await else {
        return;
    };
    let wire = Wire::to(&bed.url).await;
    let ledger = Postgres::open(&wire.url).await.unwrap();
    let fence = ledger.join("one", LONG).await.unwrap();
    let first = erasing(&ledger, "alice").await;
    // Every lane has its connection, and its statement is known.
    let turn = event(&first, &Event::Contradicted, &quick());
    ledger.turn(Some(&fence), vec![turn]).await.unwrap();
    ledger
        .settle(
            &fence,
            vec![settlement(&first, vec![erased(0, 1)], &quick())],
        )
        .await
        .unwrap();
    let second = erasing(&*bed.ledger, "bob").await;

    wire.set(SWALLOW);
    let deletion = account("carol", &quick());
    let lost = ledger.open(asked(vec![deletion.clone()])).await;
    assert!(matches!(lost, Err(Error::Unknown(_))), "{lost:?}");
    let turn = event(&second, &Event::Contradicted, &quick());
    let lost = ledger.turn(Some(&fence), vec![turn.clone()]).await;
    assert!(matches!(lost, Err(Error::Unknown(_))), "{lost:?}");
    let after = stored_soon(&*bed.ledger, second.id, 2).await;
    let receipts = (0..3).map(|leg| erased(leg, 1)).collect();
    let settlement = settlement(&second, receipts, &quick());
    let lost = ledger.settle(&fence, vec![settlement.clone()]).await;
    assert!(matches!(lost, Err(Error::Unknown(_))), "{lost:?}");
    wire.set(OPEN);

    // Everything did happen, and asking again tells so.
    let opened = ledger.open(asked(vec![deletion.clone()])).await.unwrap();
    assert_eq!(opened, [Opened::Repeat(deletion)]);
    assert_eq!(after.conflicts, 1);
    let turned = ledger.turn(Some(&fence), vec![turn]).await.unwrap();
    assert_eq!(turned, [Turned::Lost]);
    let settled = ledger.settle(&fence, vec![settlement]).await.unwrap();
    assert_eq!(settled[0].done, second.need);
    assert_eq!(settled[0].conflicts, []);
    assert_eq!(ledger.receipts(second.id).await.unwrap().len(), 3);
    drop(ledger);
    bed.drop().await;
}

/// Waits for what a backend still commits after its client has gone.
async fn stored_soon(
    ledger: &dyn Ledger,
    id: farewell_core::DeletionId,
    revision: i32,
) -> farewell_core::Deletion {
    timeout(PATIENCE, async {
        loop {
            let deletion = stored(ledger, id).await;
            if deletion.revision == revision {
                return deletion;
            }
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_database_that_went_away_is_used_again_when_it_is_back() {
    let Some(bed) = Bed::postgres().await else {
        return;
    };
    let wire = Wire::to(&bed.url).await;
    let ledger = Postgres::open(&wire.url).await.unwrap();
    let first = erasing(&ledger, "alice").await;
    let second = account("bob", &quick());

    wire.set(GONE);
    // The connection may be found broken when it is written to: then nobody knows. After that there is none.
    let lost = ledger.open(asked(vec![second.clone()])).await;
    assert!(
        matches!(lost, Err(Error::Unknown(_) | Error::Unreachable(_))),
        "{lost:?}"
    );
    let lost = ledger.open(asked(vec![second.clone()])).await;
    assert!(matches!(lost, Err(Error::Unreachable(_))), "{lost:?}");
    let lost = ledger.get(&[first.id]).await;
    assert!(matches!(lost, Err(Error::Unreachable(_))), "{lost:?}");
    let lost = Postgres::open(&wire.url).await;
    assert!(matches!(lost, Err(Error::Unreachable(_))), "{lost:?}");

    wire.set(OPEN);
    let opened = ledger.open(asked(vec![second.clone()])).await.unwrap();
    assert_eq!(opened, [Opened::Created(second)]);
    assert_eq!(stored(&ledger, first.id).await, first);
    drop(ledger);
    bed.drop().await;
}

#[tokio::test]
async fn a_take_over_waits_for_the_batch_under_way() {
    let Some(bed) = Bed::postgres().await else {
        return;
    };
    let slots: Vec<Slot> = Slot::all().collect();
    let late = bed.ledger.join("late", Duration::ZERO).await.unwrap();
    bed.ledger.claim(&late, &slots).await.unwrap();
    let first = erasing(&*bed.ledger, "alice").await;
    let second = erasing(&*bed.ledger, "bob").await;
    let heir = bed.ledger.join("heir", LONG).await.unwrap();

    let mut operator = PgConnection::connect(&bed.url).await.unwrap();
    let mut lock = operator.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM deletion FOR UPDATE")
        .execute(&mut *lock)
        .await
        .unwrap();
    let settling = tokio::spawn({
        let (ledger, late, first) = (bed.ledger.clone(), late.clone(), first.clone());
        async move {
            let receipts = (0..3).map(|leg| erased(leg, 1)).collect();
            ledger
                .settle(&late, vec![settlement(&first, receipts, &quick())])
                .await
        }
    });
    waits(&bed, "farewell settle").await;
    let claiming = tokio::spawn({
        let (ledger, slots) = (bed.ledger.clone(), slots.clone());
        async move { ledger.claim(&heir, &slots).await }
    });
    waits(&bed, "farewell").await;
    assert!(!claiming.is_finished());
    lock.rollback().await.unwrap();

    assert!(settling.await.unwrap().unwrap()[0].advanced);
    assert_eq!(claiming.await.unwrap().unwrap(), slots);
    let receipts = (0..3).map(|leg| erased(leg, 1)).collect();
    let fenced = bed
        .ledger
        .settle(&late, vec![settlement(&second, receipts, &quick())])
        .await;
    assert!(matches!(fenced, Err(Error::Fenced)), "{fenced:?}");
    assert_eq!(stored(&*bed.ledger, second.id).await, second);
    operator.close().await.unwrap();
    bed.drop().await;
}

/// Until a connection of this name waits for a lock.
async fn waits(bed: &Bed, name: &str) {
    let waiting = format!(
        "SELECT 1 FROM pg_stat_activity
         WHERE application_name = '{name}' AND wait_event_type = 'Lock' AND datname = current_database()"
    );
    timeout(PATIENCE, async {
        while bed.sql(&waiting).await.unwrap() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn two_coordinators_that_open_for_one_account_agree() {
    let Some(bed) = Bed::postgres().await else {
        return;
    };
    let other = farewell_ledger::connect(&bed.url).await.unwrap();
    for round in 0..20 {
        let account = |_| account(&format!("account-{round}"), &quick());
        let (one, two) = (account(1), account(2));
        let (first, second) = tokio::join!(
            bed.ledger.open(asked(vec![one.clone()])),
            other.open(asked(vec![two.clone()]))
        );
        match (&first.unwrap()[0], &second.unwrap()[0]) {
            (Opened::Created(_), Opened::AccountHasLive(live)) => assert_eq!(*live, one.id),
            (Opened::AccountHasLive(live), Opened::Created(_)) => assert_eq!(*live, two.id),
            answers => panic!("{answers:?}"),
        }
    }
    drop(other);
    bed.drop().await;
}

#[tokio::test]
async fn what_is_purged_leaves_no_live_account() {
    let Some(bed) = Bed::postgres().await else {
        return;
    };
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    purge(&*bed.ledger, &fence, &first).await;
    assert_eq!(bed.sql("DELETE FROM live").await.unwrap(), 0);
    bed.drop().await;
}

const OPEN: u8 = 0;
/// Questions reach the database, its answers reach nobody.
const SWALLOW: u8 = 1;
/// Nobody is there.
const GONE: u8 = 2;

/// A network between a ledger and its database.
struct Wire {
    url: String,
    mode: Arc<AtomicU8>,
}

impl Wire {
    async fn to(url: &str) -> Self {
        let (_, rest) = url.split_once("//").unwrap();
        let (place, name) = rest.split_once('/').unwrap();
        let (user, server) = place.rsplit_once('@').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "postgres://{user}@{}/{name}",
            listener.local_addr().unwrap()
        );
        let mode = Arc::new(AtomicU8::new(OPEN));
        tokio::spawn({
            let (server, mode) = (server.to_owned(), mode.clone());
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, server.clone(), mode.clone()));
                }
            }
        });
        Self { url, mode }
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }
}

/// Carries bytes both ways until somebody hangs up, or the network does.
async fn carry(mut client: TcpStream, server: String, mode: Arc<AtomicU8>) {
    if mode.load(Ordering::SeqCst) == GONE {
        return;
    }
    let Ok(mut server) = TcpStream::connect(&server).await else {
        return;
    };
    let (mut asked, mut answered) = ([0; 16_384], [0; 16_384]);
    loop {
        let gone = async {
            while mode.load(Ordering::SeqCst) != GONE {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(1..) if mode.load(Ordering::SeqCst) != GONE => {
                    let length = read.unwrap();
                    server.write_all(&asked[..length]).await.unwrap();
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(1..) if mode.load(Ordering::SeqCst) == OPEN => {
                    let length = read.unwrap();
                    if client.write_all(&answered[..length]).await.is_err() {
                        return;
                    }
                }
                // The answer, COMMIT's included, was on its way.
                _ => return,
            },
            () = gone => return,
        }
    }
}
