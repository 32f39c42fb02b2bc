//! A notes service that takes part in deletions. Try it against a coordinator on this machine:
//!
//! ```text
//! NOTES_DATABASE=sqlite:notes.db NOTES_COORDINATORS=http://127.0.0.1:7401 cargo run -p farewell-kit --example notes
//! ```

use std::{env, sync::Arc, time::Duration};

use farewell_kit::runtime::{server::Security, shutdown::Shutdown, telemetry, tls::Credentials};
use farewell_kit::seal::{self, Work};
use farewell_kit::session::{self, Config};
use farewell_kit::store::Store;
use farewell_kit::{Answer, Fault, Holder, Inventory, Order};
use farewell_kit::{async_trait, holder, journal, sqlx};

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

#[async_trait]
impl Holder for Notes {
    fn store(&self) -> &Store {
        &self.store
    }

    /// Looks at the rows, not at what `erase` said: a probe is answered with this.
    async fn held(
        &self,
        connection: &mut sqlx::AnyConnection,
        account: &str,
    ) -> Result<Inventory, Fault> {
        let query = "SELECT 'notes', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(body)), 0) AS BIGINT) \
            FROM note WHERE account = $1";
        Ok(holder::count(connection, query, account).await?)
    }

    /// Erases and keeps the answer in one transaction: after a crash both are there, or neither.
    async fn erase(&self, mut work: Work, order: &Order) -> Result<Answer, Fault> {
        let notes = sqlx::query("DELETE FROM note WHERE account = $1")
            .bind(&order.account)
            .execute(work.tx())
            .await?;
        let counts = [("notes", notes.rows_affected())];
        work.finish(seal::erased(counts, Vec::new())).await
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
