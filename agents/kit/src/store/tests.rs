use std::path::PathBuf;

use sqlx::Row as _;

use super::*;
use crate::scratch;

const NOTES: &[&str] =
    &["CREATE TABLE IF NOT EXISTS note (id BIGINT PRIMARY KEY, text TEXT NOT NULL, body BLOB)"];

async fn write(store: &Store, id: i64) -> Result<(), Error> {
    sqlx::query("INSERT INTO note (id, text, body) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING")
        .bind(id)
        .bind("hello")
        .bind(vec![0_u8, 255])
        .execute(store.pool())
        .await
        .map(drop)
}

async fn read(store: &Store, id: i64) -> Option<(String, Vec<u8>)> {
    sqlx::query_as("SELECT text, body FROM note WHERE id = $1")
        .bind(id)
        .fetch_optional(store.pool())
        .await
        .unwrap()
}

async fn pragma(store: &Store, name: &'static str) -> String {
    let row = raw_sql(name).fetch_one(store.pool()).await.unwrap();
    row.try_get::<String, _>(0)
        .or_else(|_| row.try_get::<i64, _>(0).map(|n| n.to_string()))
        .unwrap()
}

#[tokio::test]
async fn what_was_written_is_there_when_the_store_is_opened_again() {
    let namespace = scratch::namespace("kit_reopen");
    for url in scratch::urls("reopen") {
        let store = Store::open(&url, &namespace, NOTES).await.unwrap();
        write(&store, 1).await.unwrap();
        store.pool().close().await;
        let store = Store::open(&url, &namespace, NOTES).await.unwrap();
        assert_eq!(
            read(&store, 1).await,
            Some(("hello".to_owned(), vec![0, 255]))
        );
    }
}

#[tokio::test]
async fn sqlite_keeps_what_it_committed_through_a_loss_of_power() {
    let store = Store::open(&scratch::sqlite("pragmas"), "", NOTES)
        .await
        .unwrap();
    assert_eq!(pragma(&store, "PRAGMA journal_mode").await, "wal");
    assert_eq!(pragma(&store, "PRAGMA synchronous").await, "2");
    assert_eq!(pragma(&store, "PRAGMA foreign_keys").await, "1");
    assert_eq!(pragma(&store, "PRAGMA busy_timeout").await, "5000");
    assert_eq!(pragma(&store, "PRAGMA secure_delete").await, "1");
}

#[tokio::test]
async fn a_name_space_that_could_carry_sql_is_refused() {
    for bad in [
        "a\"; DROP TABLE note; --",
        "A",
        "a-b",
        "pg_x",
        "a b",
        &"x".repeat(64),
    ] {
        let refused = Store::open("sqlite::memory:", bad, NOTES).await;
        assert!(matches!(refused, Err(Error::Configuration(_))), "{bad}");
    }
}

#[tokio::test]
async fn a_url_of_another_kind_is_refused_without_being_repeated() {
    let refused = Store::open("mysql://root:secret@localhost/x", "", NOTES)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::Configuration(_)) && !format!("{refused:?}").contains("secret")
    );
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for_but_not_for_ever() {
    // A port that is somebody's and that nobody listens on: no other test is given it meanwhile.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = nobody.local_addr().unwrap().port();
    let began = Instant::now();
    let url = format!("postgres://nobody@127.0.0.1:{port}/nothing");
    let refused = Store::open_within(Duration::from_millis(600), &url, "", NOTES).await;
    assert!(matches!(refused, Err(Error::Io(_))));
    assert!(began.elapsed() >= CONNECT_PAUSE && began.elapsed() < CONNECT_LIMIT);
}

#[tokio::test]
async fn many_starters_make_one_schema() {
    let namespace = scratch::namespace("kit_starters");
    for url in scratch::urls("starters") {
        let starts = (0..4).map(|_| {
            let (url, namespace) = (url.clone(), namespace.clone());
            tokio::spawn(async move { Store::open(&url, &namespace, NOTES).await })
        });
        for start in starts.collect::<Vec<_>>() {
            start.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_replica_that_starts_waits_for_nobody_at_work() {
    const INDEXED: &[&str] = &[
        NOTES[0],
        "CREATE INDEX IF NOT EXISTS note_text ON note (text); CREATE UNIQUE INDEX IF NOT EXISTS note_both ON note (text, id)",
    ];
    let Some(url) = scratch::postgres() else {
        return;
    };
    let namespace = scratch::namespace("kit_at_work");
    let at_work = Store::open(&url, &namespace, INDEXED).await.unwrap();
    let mut tx = at_work.pool().begin().await.unwrap();
    // Holds what a statement that makes an index would wait for.
    sqlx::query("DELETE FROM note")
        .execute(&mut *tx)
        .await
        .unwrap();
    let second = Store::open(&url, &namespace, INDEXED).await.unwrap();
    let evolved = second.evolve(&[("note", "id BIGINT")], INDEXED).await;
    tx.commit().await.unwrap();
    evolved.unwrap();
    let (indexes,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM pg_indexes WHERE schemaname = current_schema() AND tablename = 'note'",
    )
    .fetch_one(second.pool())
    .await
    .unwrap();
    assert_eq!(indexes, 3, "the key, and the two");
}

#[tokio::test]
async fn name_spaces_do_not_see_each_other() {
    let Some(url) = scratch::postgres() else {
        return;
    };
    let open = async |name| {
        let namespace = scratch::namespace(name);
        Store::open(&url, &namespace, NOTES).await.unwrap()
    };
    let (one, two) = (open("kit_one").await, open("kit_two").await);
    write(&one, 7).await.unwrap();
    assert!(read(&one, 7).await.is_some() && read(&two, 7).await.is_none());
}

#[tokio::test]
async fn a_database_that_was_gone_is_found_again() {
    let Some(url) = scratch::postgres() else {
        return;
    };
    let namespace = scratch::namespace("kit_gone");
    let store = Store::open(&url, &namespace, NOTES).await.unwrap();
    write(&store, 1).await.unwrap();
    // Ends the connection of the pool, as a restart of the server does, and waits until it has gone.
    let own = sqlx::query_as("SELECT pg_backend_pid()").fetch_one(store.pool());
    let (own,): (i32,) = own.await.unwrap();
    let mut other = url
        .parse::<AnyConnectOptions>()
        .unwrap()
        .connect()
        .await
        .unwrap();
    loop {
        let ended = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid = $1";
        let ended = sqlx::query_as(ended).bind(own).fetch_one(&mut other);
        let (there,): (i64,) = ended.await.unwrap();
        if there == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    write(&store, 2).await.unwrap();
    assert!(
        read(&store, 2).await.is_some(),
        "the name space is set on the new connection too"
    );
}

#[tokio::test]
async fn a_sqlite_path_may_have_spaces_and_parameters_of_its_own() {
    let path = PathBuf::from(scratch::sqlite("odd").trim_start_matches("sqlite:"));
    let url = format!(
        "sqlite:{}?cache=private",
        path.with_file_name("a b.db").display()
    );
    let store = Store::open(&url, "", NOTES).await.unwrap();
    write(&store, 1).await.unwrap();
    assert!(path.with_file_name("a b.db").exists());
}
