//! Databases for tests.

use farewell_kit::store::Store;

/// Every database that a test should pass on.
pub(crate) async fn stores(name: &str) -> Vec<Store> {
    let stores = farewell_kit::scratch::stores(crate::NAMESPACE, crate::SCHEMA, name).await;
    for store in &stores {
        crate::identifier::prepare(store).await.unwrap();
    }
    stores
}
