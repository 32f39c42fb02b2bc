//! Identity: who an account is, how it proves that, and what it let others do in its name.
//!
//! Codes and passwords are never stored or logged as they are: a code as a keyed hash, a password as a slow one. Identity
//! is erased last, because until then it answers for the person. Nothing is retained but hashes of names and numbers that are held back.

mod account;
mod attempt;
mod carrying;
mod case;
pub mod code;
mod contact;
pub mod courier;
pub mod credential;
mod destination;
mod eligibility;
mod grant;
mod guardian;
mod holding;
mod home;
mod identifier;
mod language;
mod link;
mod login;
pub mod notice;
mod participant;
pub mod pepper;
mod proof;
mod quarantine;
mod realname;
mod release;
mod rules;
mod sample;
#[cfg(test)]
mod scratch;
mod subject;
mod sweep;

use std::sync::Arc;

use anyhow::Context as _;
use farewell_kit::store::Store;
use farewell_kit::{clearing, journal, seal, service, session};
use farewell_runtime::shutdown::Shutdown;

pub use self::account::{register, set_frozen, set_risk_lock};
pub use self::case::{Case, close_case, open_case};
pub use self::contact::{ContactError, set_contact};
pub use self::credential::change_password;
pub use self::eligibility::BLOCKERS;
pub use self::grant::{grant, revoke_grants};
pub use self::guardian::{agree_to_deletion, end_guardianship, set_guardian};
pub use self::holding::{categories, left_over};
pub use self::home::{MoveError, REGION_BYTES_MAX, move_away};
pub use self::language::{Language, set_language};
pub use self::login::{LoginError, is_logged_in, log_in};
pub use self::participant::Identity;
pub use self::quarantine::kept;
pub use self::realname::set_real_name;
pub use self::rules::Rules;
pub use self::sample::sample;

/// The tables: each file of a noun says what its own hold.
pub const SCHEMA: &[&str] = &[
    journal::SCHEMA,
    seal::SCHEMA,
    clearing::SCHEMA,
    account::SCHEMA,
    home::SCHEMA,
    credential::SCHEMA,
    contact::SCHEMA,
    login::SCHEMA,
    grant::SCHEMA,
    case::SCHEMA,
    guardian::SCHEMA,
    realname::SCHEMA,
    code::SCHEMA,
    proof::SCHEMA,
    attempt::SCHEMA,
    destination::SCHEMA,
    language::SCHEMA,
    link::SCHEMA,
    notice::SCHEMA,
    quarantine::SCHEMA,
    release::SCHEMA,
    pepper::SCHEMA,
];

/// The name space in a PostgreSQL that services share.
pub const NAMESPACE: &str = "farewell_identity";

/// What identity needs to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// `sqlite:path` or `postgres://…`.
    pub database: String,
    /// How coordinators are reached.
    pub session: session::Config,
    /// How codes travel.
    pub courier: courier::Config,
    /// The keys of what is hashed; the same for every process of identity, and not in its database.
    pub pepper: code::Pepper,
    /// Limits of codes and passwords.
    pub rules: Rules,
    /// How notices are written.
    pub notices: notice::Config,
}

/// Opens the database and puts the schema in place.
///
/// Errors: a URL that can't be used, or a database that stays away for 60 s.
pub async fn open(url: &str) -> Result<Store, sqlx::Error> {
    let store = Store::open(url, NAMESPACE, SCHEMA).await?;
    identifier::prepare(&store).await?;
    Ok(store)
}

/// Takes part in deletions until `shutdown`, then lets commands end that are being carried out.
///
/// Errors: the database can't be opened, a version of the pepper is missing, or a courier can't be used as configured. Everything later is retried.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let couriers = courier::Couriers::open(&config.courier)?;
    let store = open(&config.database)
        .await
        .context("opening identity's database")?;
    pepper::settle(&store, &config.pepper).await?;
    let identity = Identity::new(store.clone(), couriers, config.pepper, config.rules)
        .with_notices(config.notices);
    shutdown.spawn(sweep::run(store.clone(), shutdown.clone()));
    shutdown.spawn(identity.clone().deliver(shutdown.clone()));
    service::run(store, Arc::new(identity.clone()), config.session, shutdown).await;
    // What was answered as sent is sent, unless its courier hangs.
    let _ = tokio::time::timeout(courier::CARRY_LIMIT, identity.carried()).await;
    Ok(())
}
