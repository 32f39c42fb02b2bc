//! A participant with a database: it holds rows of accounts, and keeps an answer with the work it speaks of.

use std::path::Path;

use anyhow::Result;
use async_trait::async_trait;
use farewell_kit::store::Store;
use farewell_kit::{
    Answer, Blocker, Category, CheckEligibility, Done, Fault, Inventory, Order, Outcome,
    Participant, journal,
};

use crate::process::database;

const TABLES: &str = "CREATE TABLE IF NOT EXISTS held (account TEXT PRIMARY KEY, rows_held BIGINT NOT NULL); \
     CREATE TABLE IF NOT EXISTS sealed (account TEXT PRIMARY KEY); \
     CREATE TABLE IF NOT EXISTS acted (command TEXT NOT NULL, account TEXT NOT NULL, verb TEXT NOT NULL)";

/// Rows that each account has at each participant before it is erased.
pub const ROWS_HELD: i64 = 3;

/// See the module.
#[derive(Clone, Debug)]
pub struct Holder {
    store: Store,
}

/// One effect: what was done, for which command, to whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acted {
    pub command: String,
    pub account: String,
    pub verb: String,
}

impl Holder {
    /// Opens its database in `folder`.
    pub async fn open(folder: &Path, name: &str) -> Result<Self> {
        let store = Store::open(&database(folder, name), "", &[journal::SCHEMA, TABLES]).await?;
        Ok(Self { store })
    }

    /// Gives accounts something to lose.
    pub async fn give(&self, accounts: &[String]) -> Result<()> {
        let mut tx = self.store.pool().begin().await?;
        for account in accounts {
            sqlx::query("INSERT INTO held (account, rows_held) VALUES ($1, $2)")
                .bind(account)
                .bind(ROWS_HELD)
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Whose rows it still holds.
    pub async fn holds(&self) -> Result<Vec<String>> {
        let rows: Vec<(String,)> = sqlx::query_as("SELECT account FROM held ORDER BY account")
            .fetch_all(self.store.pool())
            .await?;
        Ok(rows.into_iter().map(|(account,)| account).collect())
    }

    /// Everything it ever did, in order of command.
    pub async fn acted(&self) -> Result<Vec<Acted>> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT command, account, verb FROM acted ORDER BY command")
                .fetch_all(self.store.pool())
                .await?;
        let acted = |(command, account, verb)| Acted {
            command,
            account,
            verb,
        };
        Ok(rows.into_iter().map(acted).collect())
    }

    /// The answer that it keeps for an account's command.
    pub async fn answer(&self, command: &str, account: &str) -> Result<Option<Answer>> {
        Ok(journal::recall(&self.store, command, account).await?)
    }

    /// Does one thing, in one transaction with its answer and the note that it was done.
    async fn act_once(&self, order: &Order, verb: &str) -> Result<Answer, Fault> {
        let mut tx = self.store.pool().begin_with("BEGIN IMMEDIATE").await?;
        let account = order.account.as_str();
        let done = match verb {
            "seal" => {
                let insert =
                    "INSERT INTO sealed (account) VALUES ($1) ON CONFLICT (account) DO NOTHING";
                sqlx::query(insert).bind(account).execute(&mut *tx).await?;
                Done::new(Outcome::Sealed)
            }
            "unseal" => {
                let delete = "DELETE FROM sealed WHERE account = $1";
                sqlx::query(delete).bind(account).execute(&mut *tx).await?;
                Done::new(Outcome::Unsealed)
            }
            _ => {
                let select = "SELECT COALESCE(SUM(rows_held), 0) FROM held WHERE account = $1";
                let (rows,): (i64,) = sqlx::query_as(select)
                    .bind(account)
                    .fetch_one(&mut *tx)
                    .await?;
                let delete = "DELETE FROM held WHERE account = $1";
                sqlx::query(delete).bind(account).execute(&mut *tx).await?;
                Done::new(Outcome::Erased).count("rows", rows)
            }
        };
        sqlx::query("INSERT INTO acted (command, account, verb) VALUES ($1, $2, $3)")
            .bind(&order.command)
            .bind(account)
            .bind(verb)
            .execute(&mut *tx)
            .await?;
        journal::record(&mut tx, &order.command, account, &done).await?;
        tx.commit().await?;
        Ok(Answer::Done(done))
    }
}

#[async_trait]
impl Participant for Holder {
    async fn recall(&self, order: &Order) -> Result<Option<Answer>, Fault> {
        journal::recall(&self.store, &order.command, &order.account).await
    }

    async fn seal(&self, order: &Order) -> Result<Answer, Fault> {
        self.act_once(order, "seal").await
    }

    async fn unseal(&self, order: &Order) -> Result<Answer, Fault> {
        self.act_once(order, "unseal").await
    }

    async fn act(&self, order: &Order) -> Result<Answer, Fault> {
        self.act_once(order, "erase").await
    }

    async fn probe(&self, order: &Order) -> Result<Answer, Fault> {
        let select = "SELECT COALESCE(SUM(rows_held), 0) FROM held WHERE account = $1";
        let (rows,): (i64,) = sqlx::query_as(select)
            .bind(&order.account)
            .fetch_one(self.store.pool())
            .await?;
        Ok(Answer::Done(if rows == 0 {
            Done::new(Outcome::Clean)
        } else {
            Done::new(Outcome::Residue).count("rows", rows)
        }))
    }

    async fn eligibility(&self, _request: &CheckEligibility) -> Result<Vec<Blocker>, Fault> {
        Ok(Vec::new())
    }

    async fn inventory(&self, account: &str) -> Result<Inventory, Fault> {
        let select = "SELECT COALESCE(SUM(rows_held), 0) FROM held WHERE account = $1";
        let (count,): (i64,) = sqlx::query_as(select)
            .bind(account)
            .fetch_one(self.store.pool())
            .await?;
        let rows = Category {
            category: "rows".to_owned(),
            count,
            size_bytes: 0,
        };
        Ok(Inventory {
            categories: vec![rows],
            devices: Vec::new(),
        })
    }
}
