//! The community: what an account wrote, where it belongs and whether it was banned.
//!
//! Erasing removes text and author alike; nothing is retained, and a ban never stands in the way of a deletion (an
//! unreasonable condition is itself unlawful: E-Commerce Law of the PRC, Art. 24).

mod ban;
mod comment;
mod holding;
mod membership;
mod participant;
mod post;
mod sample;
#[cfg(test)]
mod scratch;

use std::sync::Arc;

use anyhow::Context as _;
use farewell_kit::store::Store;
use farewell_kit::{interests, journal, seal, service, session};
use farewell_runtime::shutdown::Shutdown;

pub use self::ban::{ban, lift_ban};
pub use self::comment::{CommentError, comment};
pub use self::holding::{categories, left_over};
pub use self::membership::join;
pub use self::participant::{BLOCKERS, Community};
pub use self::post::post;
pub use self::sample::sample;

/// The tables: each file of a noun says what its own hold.
pub const SCHEMA: &[&str] = &[
    journal::SCHEMA,
    seal::SCHEMA,
    post::SCHEMA,
    comment::SCHEMA,
    membership::SCHEMA,
    interests::SCHEMA,
    ban::SCHEMA,
];

/// The name space in a PostgreSQL that services share.
pub const NAMESPACE: &str = "farewell_community";

/// What the community needs to run. There are no retention periods: nothing is retained.
#[derive(Clone, Debug)]
pub struct Config {
    /// `sqlite:path` or `postgres://…`.
    pub database: String,
    /// How coordinators are reached.
    pub session: session::Config,
}

/// Opens the database and puts the schema in place.
///
/// Errors: a URL that can't be used, or a database that stays away for 60 s.
pub async fn open(url: &str) -> Result<Store, sqlx::Error> {
    Store::open(url, NAMESPACE, SCHEMA).await
}

/// Takes part in deletions until `shutdown`, then lets commands end that are being carried out.
///
/// Errors: the database can't be opened. Everything later is retried.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = open(&config.database)
        .await
        .context("opening the community's database")?;
    let community = Arc::new(Community::new(store.clone()));
    service::run(store, community, config.session, shutdown).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use farewell_runtime::server::Security;

    use super::*;

    #[tokio::test]
    async fn it_ends_in_order_also_without_any_coordinator() {
        let file = std::env::temp_dir().join(format!("farewell-run-{}.db", uuid::Uuid::new_v4()));
        let config = Config {
            database: format!("sqlite:{}", file.display()),
            session: session::Config {
                participant: "community".to_owned(),
                coordinators: vec!["http://127.0.0.1:1".to_owned()],
                security: Security::PlainLoopback,
                window_commands: 8,
            },
        };
        let shutdown = Shutdown::new();
        let running = tokio::spawn(run(config, shutdown.clone()));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!running.is_finished());
        shutdown.trigger();
        tokio::time::timeout(Duration::from_secs(10), running)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}
