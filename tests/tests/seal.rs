//! A seal that is lifted leaves everything exactly as it was: every row of every table, byte for byte.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use farewell_cloud::Cloud;
use farewell_community::Community;
use farewell_identity::credential::Hasher;
use farewell_identity::{Identity, Rules, code::Pepper, courier};
use farewell_kit::scratch::{Dump, dump};
use farewell_kit::store::Store;
use farewell_kit::vault::{KEY_BYTES, Vault};
use farewell_kit::{Answer, Order, Participant};
use farewell_store::Shop;
use farewell_tests::process::needed;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

const ACCOUNT: &str = "a-4711";
/// Every file below a folder.
fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.insert(path.display().to_string(), std::fs::read(&path)?);
        }
    }
    Ok(found)
}

fn order(verb: &str, name: &str) -> Order {
    Order {
        command: format!("deletions/01a201b5-d66d-7224-ad95-7c89301c0ba4/commands/1-{verb}-{name}"),
        account: ACCOUNT.to_owned(),
        deadline: None,
        devices: Vec::new(),
        horizon: None,
        retention: Vec::new(),
        ended_by: None,
        traceparent: String::new(),
    }
}

async fn sealed_and_lifted(
    name: &str,
    store: &Store,
    service: &dyn Participant,
) -> Result<[Dump; 3]> {
    let before = dump(store).await;
    ensure!(
        before.values().any(|rows| !rows.is_empty()),
        "{name} holds something"
    );
    let done = service.seal(&order("seal", name)).await?;
    ensure!(matches!(done, Answer::Done(_)), "{name}: {done:?}");
    let (marks,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM seal WHERE lifted = 0")
        .fetch_one(store.pool())
        .await?;
    ensure!(marks == 1, "{name} is sealed");
    let between = dump(store).await;
    // Twice, as it may be delivered twice.
    for _ in 0..2 {
        let done = service.unseal(&order("unseal", name)).await?;
        ensure!(matches!(done, Answer::Done(_)), "{name}: {done:?}");
    }
    Ok([before, between, dump(store).await])
}

/// A database of one's own on the PostgreSQL of the tests, and a file.
async fn databases(folder: &TempDir, server: &str) -> Result<[(String, &'static str); 2]> {
    let name = format!("seal_{}", Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(server).await?;
    connection
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await?;
    let (host, _) = server.rsplit_once('/').context("a database")?;
    Ok([
        (format!("sqlite:{}", folder.path().display()), ".db"),
        (format!("{host}/{name}"), ""),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_and_unsealed_is_as_it_was_to_the_byte() -> Result<()> {
    let Some(server) = needed("FAREWELL_TEST_POSTGRES") else {
        return Ok(());
    };
    let folder = TempDir::new()?;
    for (url, file) in databases(&folder, &server).await? {
        let url = |name: &str| {
            if file.is_empty() {
                url.clone()
            } else {
                format!("{url}/{name}{file}")
            }
        };
        let identity = farewell_identity::open(&url("identity")).await?;
        let (phone, mail) = ("+86 138 0000 0000", "li.na@example.com");
        farewell_identity::sample(&identity, ACCOUNT, phone, mail, "a farewell to seals").await?;
        let session = farewell_identity::log_in(
            &identity,
            &Hasher::default(),
            ACCOUNT,
            "a farewell to seals",
            "phone",
        )
        .await?;
        let letters = courier::Config::file(folder.path().join("letters"));
        let service = Identity::new(
            identity.clone(),
            courier::Couriers::open(&letters)?,
            Pepper::new(*b"sixteen bytes or more")?,
            Rules::default(),
        );
        let [before, between, after] = sealed_and_lifted("identity", &identity, &service).await?;
        assert_ne!(before["login"], between["login"], "sessions end");
        assert_eq!(before, after);
        assert!(farewell_identity::is_logged_in(&identity, &session).await?);

        let store = farewell_store::open(&url("store")).await?;
        farewell_store::sample(&store, ACCOUNT).await?;
        let service: Arc<dyn Participant> = Arc::new(Shop::new(store.clone()));
        let [before, _, after] = sealed_and_lifted("store", &store, &*service).await?;
        assert_eq!(before, after);

        let community = farewell_community::open(&url("community")).await?;
        farewell_community::sample(&community, ACCOUNT).await?;
        let service = Community::new(community.clone());
        let [before, _, after] = sealed_and_lifted("community", &community, &service).await?;
        assert_eq!(before, after);

        let vault = Vault::new([(1, [7; KEY_BYTES])])?;
        let cloud = farewell_cloud::open(&url("cloud")).await?;
        let photos = folder.path().join(format!("photos{}", file.len()));
        std::fs::create_dir(&photos)?;
        farewell_cloud::sample(&cloud, &photos, ACCOUNT).await?;
        let service = Cloud::new(cloud.clone(), photos.clone(), vault);
        let kept = files(&photos)?;
        assert!(!kept.is_empty());
        let [before, _, after] = sealed_and_lifted("cloud", &cloud, &service).await?;
        assert_eq!(before, after);
        assert_eq!(kept, files(&photos)?);
    }
    Ok(())
}
