//! The support desk: cases, the documents that people show for them, and the decisions of two.
//!
//! Documents are sealed with a key of their case's own and go after their period, bytes and key; nothing of them is ever logged.
//! What the desk decides it doesn't do: the coordinator does, and asks first whether the decision stands ([`farewell_kit::CheckCase`]).

mod case;
mod desk;
mod entry;
mod evidence;
mod holding;
mod listener;
mod parse;
mod participant;
mod periods;
mod present;
mod refusal;
mod request;
#[cfg(test)]
mod scratch;
mod sentences;
mod service;
mod state;
mod sweep;
#[cfg(test)]
mod tests;
mod upload;
mod wish;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use farewell_kit::session::Session;
use farewell_kit::store::Store;
use farewell_kit::vault::Vault;
use farewell_kit::{journal, seal, session};
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;

pub use self::desk::{Desk, OPEN_CASES_MAX};
pub use self::evidence::{CASE_EVIDENCE_MAX, EVIDENCE_BYTES_MAX};
pub use self::holding::{categories, kept, left_over};
pub use self::participant::BLOCKERS;
pub use self::periods::Periods;

/// The tables: each file of a noun says what its own hold.
pub const SCHEMA: &[&str] = &[
    journal::SCHEMA,
    seal::SCHEMA,
    case::SCHEMA,
    evidence::SCHEMA,
    entry::SCHEMA,
    request::SCHEMA,
];

/// The name space in a PostgreSQL that services share.
pub const NAMESPACE: &str = "farewell_support";

/// What the desk needs to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// `sqlite:path` or `postgres://…`.
    pub database: String,
    /// How coordinators are reached.
    pub session: session::Config,
    /// Where the desk's people dial in.
    pub listen: SocketAddr,
    /// Protection of that listener. Without certificates nobody has a name, and nobody decides.
    pub security: Security,
    /// The keys that documents' keys lie under; the same for every process, and not in the database.
    pub vault: Vault,
    /// How long things last.
    pub periods: Periods,
}

/// Opens the database and puts the schema in place.
///
/// Errors: a URL that can't be used, or a database that stays away for 60 s.
pub async fn open(url: &str) -> Result<Store, sqlx::Error> {
    let store = Store::open(url, NAMESPACE, SCHEMA).await?;
    // What an earlier version had used was done for it.
    let columns = [("desk_case", "done BIGINT NOT NULL DEFAULT 1")];
    store.evolve(&columns, &[]).await?;
    Ok(store)
}

/// Whether these keys open what documents lie under.
async fn settle(store: &Store, vault: &Vault) -> anyhow::Result<()> {
    let mut connection = store.pool().acquire().await?;
    Ok(vault.settle(case::keys(&mut connection).await?)?)
}

/// Serves the desk and takes part in deletions until `shutdown`, then lets commands end that are being carried out.
///
/// Errors: the database can't be opened, a key is missing that something needs, the port can't be had. Everything later is retried.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    config.security.check(config.listen)?;
    let store = open(&config.database)
        .await
        .context("opening the support desk's database")?;
    settle(&store, &config.vault).await?;
    let desk = Desk::new(store.clone(), config.vault, config.periods);
    shutdown.spawn(sweep::run(desk.clone(), shutdown.clone()));
    let session: Arc<OnceLock<Session>> = Arc::default();
    let served = listener::open(
        desk.clone().asking(session.clone()),
        config.listen,
        &config.security,
        shutdown.clone(),
    )
    .await?;
    let begin = move |begun, _| drop(session.set(begun));
    farewell_kit::service::run_with(store, Arc::new(desk), config.session, shutdown, begin).await;
    served.await.context("the desk's listener ended badly")?
}
