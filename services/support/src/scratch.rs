//! Databases for tests: a new SQLite file each, and a new name space where the runner offers PostgreSQL.

use farewell_kit::store::Store;
use uuid::Uuid;

/// Every database that a test should pass on.
pub(crate) async fn stores(name: &str) -> Vec<Store> {
    let id = Uuid::new_v4().simple().to_string();
    let file = std::env::temp_dir().join(format!("{}-{name}-{id}.db", crate::NAMESPACE));
    let postgres = std::env::var("FAREWELL_TEST_POSTGRES")
        .ok()
        .filter(|url| !url.is_empty());
    assert!(
        postgres.is_some() || std::env::var_os("FAREWELL_TEST_REQUIRED").is_none(),
        "FAREWELL_TEST_POSTGRES is not set, and nothing may be skipped"
    );
    let urls = std::iter::once(format!("sqlite:{}", file.display())).chain(postgres);
    let mut stores = Vec::new();
    for url in urls {
        stores.push(
            Store::open(&url, &format!("{}_{id}", crate::NAMESPACE), crate::SCHEMA)
                .await
                .unwrap(),
        );
    }
    stores
}
