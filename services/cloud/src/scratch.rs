//! Databases and keys for tests.

use farewell_kit::store::Store;
use farewell_kit::vault::{KEY_BYTES, Vault};

/// Every database that a test should pass on.
pub(crate) async fn stores(name: &str) -> Vec<Store> {
    farewell_kit::scratch::stores(crate::NAMESPACE, crate::SCHEMA, name).await
}

/// Key-encryption keys of these versions, each the same in every test.
pub(crate) fn vault(versions: &[u8]) -> Vault {
    let keys = versions.iter();
    Vault::new(keys.map(|version| (u32::from(*version), [*version; KEY_BYTES]))).expect("a key")
}
