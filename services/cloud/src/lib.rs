//! The cloud: photos on disk, contacts, notes and backups; and the custodian of archives, which makes one of what everybody
//! holds when an account's owner asks for it.
//!
//! Erasing unlinks every file and removes every row; nothing is retained.

mod backup;
mod contact;
mod export;
mod files;
mod holding;
mod note;
mod participant;
mod photo;
mod place;
mod sample;
#[cfg(test)]
mod scratch;
mod vcard;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use farewell_kit::store::Store;
use farewell_kit::vault::Vault;
use farewell_kit::{journal, seal, service, session};
use farewell_runtime::shutdown::Shutdown;

use self::export::Everybody;

pub use self::backup::add_backup;
pub use self::contact::add_contact;
pub use self::export::{Exports, Terms};
pub use self::holding::{categories, left_over};
pub use self::note::add_note;
pub use self::participant::{BLOCKERS, Cloud};
pub use self::photo::{PhotoError, add_photo};
pub use self::sample::sample;

/// The tables: each file of a noun says what its own hold.
pub const SCHEMA: &[&str] = &[
    journal::SCHEMA,
    seal::SCHEMA,
    photo::SCHEMA,
    contact::SCHEMA,
    note::SCHEMA,
    backup::SCHEMA,
    export::SCHEMA,
];

/// The name space in a PostgreSQL that services share.
pub const NAMESPACE: &str = "farewell_cloud";

/// What the cloud needs to run. There are no retention periods: nothing is retained.
#[derive(Clone, Debug)]
pub struct Config {
    /// `sqlite:path` or `postgres://…`.
    pub database: String,
    /// Where photos lie, in a folder for each account; made if missing.
    pub files: PathBuf,
    /// How archives are made and kept.
    pub exports: Terms,
    /// The keys that archives' keys lie under; the same for every process, and not in the database.
    pub vault: Vault,
    /// How coordinators are reached.
    pub session: session::Config,
}

/// Opens the database and puts the schema in place.
///
/// Errors: a URL that can't be used, or a database that stays away for 60 s.
pub async fn open(url: &str) -> Result<Store, sqlx::Error> {
    let store = Store::open(url, NAMESPACE, SCHEMA).await?;
    export::prepare(&store).await?;
    Ok(store)
}

/// Takes part in deletions until `shutdown`, then lets commands end that are being carried out.
///
/// Errors: the database can't be opened, a key is missing that an archive needs. Everything later is retried.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = open(&config.database)
        .await
        .context("opening the cloud's database")?;
    config.vault.settle(export::keys(&store).await?)?;
    let cloud = Cloud::with(store.clone(), config.files, config.vault, config.exports);
    serve(store, cloud, config.session, shutdown).await;
    Ok(())
}

/// Takes part with an open cloud, and works on exports, until `shutdown`.
pub async fn serve(store: Store, cloud: Cloud, session: session::Config, shutdown: Shutdown) {
    let (name, own) = (session.participant.clone(), cloud.clone());
    let begin = move |session, shutdown: Shutdown| {
        let exports = Arc::clone(own.exports());
        let everybody = Everybody { name, own, session };
        shutdown.spawn(export::run(exports, Arc::new(everybody), shutdown.clone()));
    };
    service::run_with(store, Arc::new(cloud), session, shutdown, begin).await;
}
