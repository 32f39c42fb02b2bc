//! Databases for tests of participants: a new SQLite file each, and PostgreSQL where the test runner offers one
//! (`FAREWELL_TEST_POSTGRES`). Where it insists that nothing is skipped (`FAREWELL_TEST_REQUIRED`), one that is missing fails the
//! test.

use std::env;

use crate::store::Store;

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
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::raw_sql(create).execute(store.pool()).await.unwrap();
    let (address, _) = server.rsplit_once('/').unwrap();
    Some(format!("{address}/{name}"))
}

/// Every database that a test should pass on.
pub fn urls(name: &str) -> Vec<String> {
    std::iter::once(sqlite(name)).chain(postgres()).collect()
}

/// An empty store on every database that a test should pass on, with this schema in a name space of its own.
pub async fn stores(namespace: &str, schema: &'static [&'static str], name: &str) -> Vec<Store> {
    let own = format!("{namespace}_{}", uuid::Uuid::now_v7().simple());
    let mut stores = Vec::new();
    for url in urls(&format!("{namespace}-{name}")) {
        let store = Store::open(&url, &own, schema).await;
        stores.push(store.expect("a database for a test"));
    }
    stores
}
