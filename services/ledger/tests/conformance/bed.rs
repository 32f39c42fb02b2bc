//! A ledger of its own for each case.

use std::env;
use std::sync::Arc;

use farewell_ledger::Ledger;
use farewell_ledger::memory::Memory;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

pub struct Bed {
    pub ledger: Arc<dyn Ledger>,
    /// Empty for memory.
    pub url: String,
    server: Option<String>,
    _folder: Option<TempDir>,
}

impl Bed {
    pub fn memory() -> Self {
        Self {
            ledger: Arc::new(Memory::new()),
            url: String::new(),
            server: None,
            _folder: None,
        }
    }

    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/test.db", folder.path().display());
        Self {
            ledger: farewell_ledger::connect(&url).await.unwrap(),
            url,
            server: None,
            _folder: Some(folder),
        }
    }

    /// A new database; `None` where there is no server.
    pub async fn postgres() -> Option<Self> {
        let server = env::var("FAREWELL_TEST_POSTGRES").unwrap_or_default();
        if server.is_empty() {
            assert!(
                env::var_os("FAREWELL_TEST_REQUIRED").is_none(),
                "FAREWELL_TEST_POSTGRES is not set, and nothing may be skipped"
            );
            println!("skipped on PostgreSQL: FAREWELL_TEST_POSTGRES is not set");
            return None;
        }
        let name = format!("ledger_{}", Uuid::new_v4().simple());
        run_postgres(&server, &format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        let url = with_database(&server, &name);
        Some(Self {
            ledger: farewell_ledger::connect(&url).await.unwrap(),
            url,
            server: Some(server),
            _folder: None,
        })
    }

    /// Runs SQL beside the ledger; how many rows it touched.
    pub async fn sql(&self, sql: &str) -> Result<u64, sqlx::Error> {
        if self.url.starts_with("sqlite") {
            let mut connection = SqliteConnection::connect(&self.url).await?;
            let result = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                .execute(&mut connection)
                .await?;
            Ok(result.rows_affected())
        } else {
            run_postgres(&self.url, sql).await
        }
    }

    /// Forgets a database of a test that passed; one that failed can be looked at.
    pub async fn drop(self) {
        if let (Some(server), Some((_, name))) = (&self.server, self.url.rsplit_once('/')) {
            let drop = format!("DROP DATABASE {name} WITH (FORCE)");
            run_postgres(server, &drop).await.unwrap();
        }
    }
}

pub async fn run_postgres(url: &str, sql: &str) -> Result<u64, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let result = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(result.rows_affected())
}

fn with_database(server: &str, name: &str) -> String {
    let (place, _) = server.rsplit_once('/').unwrap();
    format!("{place}/{name}")
}
