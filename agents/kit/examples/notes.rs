//! A notes service that takes part in deletions. Try it against a coordinator on this machine:
//!
//! ```text
//! NOTES_DATABASE=sqlite:notes.db NOTES_COORDINATORS=http://127.0.0.1:7401 cargo run -p farewell-kit --example notes
//! ```

use std::{env, sync::Arc, time::Duration};

use farewell_kit::runtime::{server::Security, shutdown::Shutdown, telemetry, tls::Credentials};
use farewell_kit::seal::{self, Begun};
use farewell_kit::session::{self, Config};
use farewell_kit::store::Store;
use farewell_kit::{
    Answer, Blocker, Category, Done, Fault, Inventory, Order, Outcome, Participant,
};
use farewell_kit::{async_trait, journal, sqlx};

/// The journal first, then the seal, then one's own. Repeatable, and the same text on SQLite and PostgreSQL.
const SCHEMA: &[&str] = &[
    journal::SCHEMA,
    seal::SCHEMA,
    "CREATE TABLE IF NOT EXISTS note (id TEXT PRIMARY KEY, account TEXT NOT NULL, body TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS note_by_account ON note (account)",
];

struct Notes {
    store: Store,
}

impl Notes {
    /// The service's everyday business. A sealed or erased account gets no new notes: `admit` looks in the same
    /// transaction, so that no note slips in between.
    async fn write(&self, account: &str, id: &str, body: &str) -> Result<(), Fault> {
        let mut tx = self.store.pool().begin().await?;
        seal::admit(&mut tx, account).await?;
        sqlx::query(
            "INSERT INTO note (id, account, body) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
        )
        .bind(id)
        .bind(account)
        .bind(body)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}

/// What is held, looked up where it is stored and not in a counter beside it.
async fn held(connection: &mut sqlx::AnyConnection, account: &str) -> Result<Inventory, Fault> {
    let (count, size_bytes): (i64, i64) =
        sqlx::query_as("SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(body)), 0) AS BIGINT) FROM note WHERE account = $1")
            .bind(account)
            .fetch_one(connection)
            .await?;
    let notes = Category {
        category: "notes".to_owned(),
        count,
        size_bytes,
    };
    Ok(Inventory {
        categories: vec![notes],
        devices: Vec::new(),
    })
}

#[async_trait]
impl Participant for Notes {
    /// What was answered is answered again; nothing is done twice.
    async fn recall(&self, command: &str) -> Result<Option<Answer>, Fault> {
        journal::recall(&self.store, command).await
    }

    async fn seal(&self, order: &Order) -> Result<Answer, Fault> {
        seal::close(&self.store, order)
            .await?
            .finish(Done::new(Outcome::Sealed))
            .await
    }

    async fn unseal(&self, order: &Order) -> Result<Answer, Fault> {
        seal::lift(&self.store, order)
            .await?
            .finish(Done::new(Outcome::Unsealed))
            .await
    }

    /// Erases and keeps the answer in one transaction: after a crash both are there, or neither.
    async fn act(&self, order: &Order) -> Result<Answer, Fault> {
        let mut work = match seal::erase(&self.store, order).await? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Open(work) => work,
        };
        let notes = sqlx::query("DELETE FROM note WHERE account = $1")
            .bind(&order.account)
            .execute(work.tx())
            .await?;
        let counts = [("notes", notes.rows_affected())];
        work.finish(seal::erased(counts, Vec::new())).await
    }

    /// Looks at the rows, not at what `act` said.
    async fn probe(&self, order: &Order) -> Result<Answer, Fault> {
        let mut work = match seal::look(&self.store, order).await? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Open(work) => work,
        };
        let held = held(work.tx(), &order.account).await?;
        work.finish(seal::found(&held, Vec::new())).await
    }

    async fn eligibility(&self, _account: &str) -> Result<Vec<Blocker>, Fault> {
        Ok(Vec::new())
    }

    async fn inventory(&self, account: &str) -> Result<Inventory, Fault> {
        held(&mut *self.store.pool().acquire().await?, account).await
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _telemetry = telemetry::init("notes", "notes-1", &telemetry::Config::default())?;
    let setting = |name, otherwise: &str| env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let database = setting("NOTES_DATABASE", "sqlite:notes.db");
    let store = Store::open(&database, "notes", SCHEMA).await?;
    let notes = Arc::new(Notes { store });
    if let Err(fault) = notes.write("ann", "n1", "remember the milk").await {
        println!("ann gets no note: {fault:?}");
    }
    let coordinators = setting("NOTES_COORDINATORS", "http://127.0.0.1:7401");
    let config = Config {
        participant: "notes".to_owned(),
        coordinators: coordinators.split(',').map(str::to_owned).collect(),
        // Certificates are required unless the coordinator is on this machine: ca.pem, notes.pem, notes.key.
        security: match env::var("NOTES_CERTIFICATES") {
            Ok(folder) => Security::Mutual(Credentials::from_dir(folder, "notes")?),
            Err(_) => Security::PlainLoopback,
        },
        window_commands: 256,
    };
    let session = session::start(config, notes, shutdown.clone());
    shutdown.wait().await;
    shutdown.drain(Duration::from_secs(15)).await;
    println!("reports that were not accepted: {:?}", session.refusals());
    Ok(())
}
