//! Databases for tests of participants: a new SQLite file each, and PostgreSQL where the test runner offers one
//! (`FAREWELL_TEST_POSTGRES`). Where it insists that nothing is skipped (`FAREWELL_TEST_REQUIRED`), one that is missing fails the
//! test. Beside them [`Atlas`], which knows of another region and of a freeze.

mod atlas;

use std::collections::BTreeMap;
use std::env;

use sqlx::{AnyConnection, AssertSqlSafe};

pub use self::atlas::{Atlas, EUROPEAN, FROZEN_OUT, HIDDEN};
use crate::store::Store;

/// What a seal writes of itself, and the answers to commands.
const OF_SEALS: [&str; 3] = ["answered", "fence", "seal"];

/// Rows by table, each with every column, byte for byte.
pub type Dump = BTreeMap<String, Vec<String>>;

/// `sqlite:` in a new directory. Left for the system's clearing of temporary files: a failed test can be looked at.
pub fn sqlite(name: &str) -> String {
    let folder = env::temp_dir().join(format!("farewell-kit-{}-{}", name, uuid::Uuid::now_v7()));
    std::fs::create_dir_all(&folder).expect("a temporary directory");
    format!("sqlite:{}/test.db", folder.display())
}

/// The test runner's PostgreSQL.
pub fn postgres() -> Option<String> {
    let url = env::var("FAREWELL_TEST_POSTGRES")
        .ok()
        .filter(|url| !url.is_empty());
    if url.is_none() {
        assert!(
            env::var_os("FAREWELL_TEST_REQUIRED").is_none(),
            "FAREWELL_TEST_POSTGRES is not set, and nothing may be skipped"
        );
        println!("skipped on PostgreSQL: FAREWELL_TEST_POSTGRES is not set");
    }
    url
}

/// A new database of the test runner's PostgreSQL, for what has name spaces of its own.
pub async fn own_postgres() -> Option<String> {
    let server = postgres()?;
    let name = format!("kit_{}", uuid::Uuid::now_v7().simple());
    let store = Store::open(&server, "", &[]).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::raw_sql(create).execute(store.pool()).await.unwrap();
    let (address, _) = server.rsplit_once('/').unwrap();
    Some(format!("{address}/{name}"))
}

/// Every database that a test should pass on.
pub fn urls(name: &str) -> Vec<String> {
    std::iter::once(sqlite(name)).chain(postgres()).collect()
}

/// A name space of one test's own: what another run has left on the same server, or does there at this moment, is none of
/// its business.
pub fn namespace(name: &str) -> String {
    format!("{name}_{}", uuid::Uuid::now_v7().simple())
}

/// An empty store on every database that a test should pass on, with this schema in a name space of its own.
pub async fn stores(namespace: &str, schema: &'static [&'static str], name: &str) -> Vec<Store> {
    let own = self::namespace(namespace);
    let mut stores = Vec::new();
    for url in urls(&format!("{namespace}-{name}")) {
        let store = Store::open(&url, &own, schema).await;
        stores.push(store.expect("a database for a test"));
    }
    stores
}

/// Everything that a store holds, but for what a seal writes of itself: a seal that is lifted leaves that as it was.
///
/// Panics: without tables.
pub async fn dump(store: &Store) -> Dump {
    let mut connection = store.pool().acquire().await.unwrap();
    let tables = if store.is_shared() {
        "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema()"
    } else {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    };
    let tables: Vec<(String,)> = sqlx::query_as(tables)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let mut dump = Dump::new();
    for (table,) in tables {
        if OF_SEALS.contains(&table.as_str()) {
            continue;
        }
        let row = if store.is_shared() {
            "CAST(t AS TEXT)".to_owned()
        } else {
            columns(&mut connection, &table).await
        };
        let rows = AssertSqlSafe(format!("SELECT {row} FROM {table} t ORDER BY 1"));
        let rows: Vec<(String,)> = sqlx::query_as(rows)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        dump.insert(table, rows.into_iter().map(|(row,)| row).collect());
    }
    assert!(dump.len() > 3, "there are tables: {:?}", dump.keys());
    dump
}

/// SQLite has no text of a row: its columns, each as a literal.
async fn columns(connection: &mut AnyConnection, table: &str) -> String {
    let names = AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{table}')"));
    let names: Vec<(String,)> = sqlx::query_as(names).fetch_all(connection).await.unwrap();
    let quoted = names.into_iter().map(|(name,)| format!("quote({name})"));
    quoted.collect::<Vec<_>>().join(" || '|' || ")
}
