//! A participant that holds an account's data in a database of its own: all of it but what is special.
//!
//! What can be said once is said here: the journal is asked first, a seal stops writes, a probe looks at what is really
//! there. Whoever has more to do on a command, as agents and identity have, implements [`Participant`] itself.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{AnyConnection, AssertSqlSafe};

use crate::export::Part;
use crate::participant::{
    Answer, Blocker, CaseStanding, Category, CheckCase, CheckEligibility, ClearRealName, Custodian,
    DeskWork, Done, Fault, Inventory, Order, Outcome, Participant, PersonalizationStopped,
    RealNameCleared, Retained, SetStanding, StandingKept, StopPersonalization, TransferBelongings,
    Transferred,
};
use crate::seal::{self, Begun, Work};
use crate::standing;
use crate::store::Store;

/// What is special about a holder. It is a [`Participant`] by that.
#[async_trait]
pub trait Holder: Send + Sync + 'static {
    /// Where the data is, with the journal and the seals beside it.
    fn store(&self) -> &Store;

    /// What is really held, looked up where it is stored and not in a counter beside it. No side effects.
    async fn held(&self, connection: &mut AnyConnection, account: &str)
    -> Result<Inventory, Fault>;

    /// Erases what is held and finishes `work`, in which the fence stands already. What can't be done in one transaction
    /// is done in several ([`Work::pause`]), each of which may be the last before a crash.
    async fn erase(&self, work: Work, order: &Order) -> Result<Answer, Fault>;

    /// Erases what was kept under law and has ended, and finishes `work`. Nobody is asked who keeps nothing.
    async fn expire(&self, _work: Work, _order: &Order) -> Result<Answer, Fault> {
        Err(Fault::unsupported("EXPIRE"))
    }

    /// What is kept under law by the deletion of `order`. Nothing, unless said otherwise.
    async fn retained(
        &self,
        _connection: &mut AnyConnection,
        _order: &Order,
    ) -> Result<Vec<Retained>, Fault> {
        Ok(Vec::new())
    }

    /// Everything that is in the way of deleting the account. Nothing, unless said otherwise. No side effects.
    async fn blockers(&self, _account: &str) -> Result<Vec<Blocker>, Fault> {
        Ok(Vec::new())
    }

    /// As [`Participant::clear_real_name`]. Nothing, unless said otherwise.
    async fn clear_real_name(&self, request: &ClearRealName) -> Result<RealNameCleared, Fault> {
        Ok(RealNameCleared::nothing(request))
    }

    /// As [`Participant::transfer_belongings`].
    async fn transfer_belongings(
        &self,
        _request: &TransferBelongings,
    ) -> Result<Transferred, Fault> {
        Err(Fault::unsupported("TRANSFER_BELONGINGS"))
    }

    /// As [`Participant::set_standing`]: writes are refused or let in again.
    async fn set_standing(&self, request: &SetStanding) -> Result<StandingKept, Fault> {
        standing::keep(self.store(), request).await
    }

    /// As [`Participant::stop_personalization`]. Nothing, unless said otherwise.
    async fn stop_personalization(
        &self,
        _request: &StopPersonalization,
    ) -> Result<PersonalizationStopped, Fault> {
        Ok(PersonalizationStopped::nothing())
    }

    /// As [`Participant::check_case`].
    async fn check_case(&self, _request: &CheckCase) -> Result<CaseStanding, Fault> {
        Err(Fault::unsupported("CHECK_CASE"))
    }

    /// As [`Participant::desk_work`].
    async fn desk_work(&self) -> Result<DeskWork, Fault> {
        Err(Fault::unsupported("DESK"))
    }

    /// See [`Participant::export_part`]. Nothing, unless said otherwise.
    async fn export(&self, _account: &str, _after: &str) -> Result<Part, Fault> {
        Ok(Part::default())
    }

    /// See [`Participant::custodian`].
    fn archives(&self) -> Option<Arc<dyn Custodian>> {
        None
    }
}

#[async_trait]
impl<H: Holder> Participant for H {
    async fn recall(&self, order: &Order) -> Result<Option<Answer>, Fault> {
        seal::recall(self.store(), order).await
    }

    async fn seal(&self, order: &Order) -> Result<Answer, Fault> {
        seal::close(self.store(), order)
            .await?
            .finish(Done::new(Outcome::Sealed))
            .await
    }

    async fn unseal(&self, order: &Order) -> Result<Answer, Fault> {
        seal::lift(self.store(), order)
            .await?
            .finish(Done::new(Outcome::Unsealed))
            .await
    }

    async fn act(&self, order: &Order) -> Result<Answer, Fault> {
        match seal::erase(self.store(), order).await? {
            Begun::Answered(answer) => Ok(answer),
            Begun::Open(work) => self.erase(work, order).await,
        }
    }

    async fn probe(&self, order: &Order) -> Result<Answer, Fault> {
        let mut work = match seal::look(self.store(), order).await? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Open(work) => work,
        };
        let held = self.held(work.tx(), &order.account).await?;
        let retained = self.retained(work.tx(), order).await?;
        work.finish(seal::found(&held, retained)).await
    }

    async fn expire(&self, order: &Order) -> Result<Answer, Fault> {
        match seal::expire(self.store(), order).await? {
            Begun::Answered(answer) => Ok(answer),
            Begun::Open(work) => Holder::expire(self, work, order).await,
        }
    }

    async fn eligibility(&self, request: &CheckEligibility) -> Result<Vec<Blocker>, Fault> {
        self.blockers(&request.account).await
    }

    async fn inventory(&self, account: &str) -> Result<Inventory, Fault> {
        let mut connection = self.store().pool().acquire().await?;
        self.held(&mut connection, account).await
    }

    async fn set_standing(&self, request: &SetStanding) -> Result<StandingKept, Fault> {
        Holder::set_standing(self, request).await
    }

    async fn clear_real_name(&self, request: &ClearRealName) -> Result<RealNameCleared, Fault> {
        Holder::clear_real_name(self, request).await
    }

    async fn transfer_belongings(
        &self,
        request: &TransferBelongings,
    ) -> Result<Transferred, Fault> {
        Holder::transfer_belongings(self, request).await
    }

    async fn stop_personalization(
        &self,
        request: &StopPersonalization,
    ) -> Result<PersonalizationStopped, Fault> {
        Holder::stop_personalization(self, request).await
    }

    async fn check_case(&self, request: &CheckCase) -> Result<CaseStanding, Fault> {
        Holder::check_case(self, request).await
    }

    async fn desk_work(&self) -> Result<DeskWork, Fault> {
        Holder::desk_work(self).await
    }

    async fn export_part(&self, account: &str, after: &str) -> Result<Part, Fault> {
        self.export(account, after).await
    }

    fn custodian(&self) -> Option<Arc<dyn Custodian>> {
        self.archives()
    }
}

/// Counts what tables hold of an account: `query` gives a category, its items and its bytes in each row, for the account
/// `$1`. Categories without items are left out.
pub async fn count(
    connection: &mut AnyConnection,
    query: &'static str,
    account: &str,
) -> Result<Inventory, sqlx::Error> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(query)
        .bind(account)
        .fetch_all(connection)
        .await?;
    let categories = rows
        .into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(category, count, size_bytes)| Category {
            category,
            count,
            size_bytes,
        })
        .collect();
    Ok(Inventory {
        categories,
        devices: Vec::new(),
    })
}

/// Every category that a query of [`count`] can name, whether anything is there or not.
pub async fn categories(
    connection: &mut AnyConnection,
    query: &'static str,
) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<(String, i64, i64)> =
        sqlx::query_as(query).bind("").fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(category, ..)| category).collect())
}

/// Erases an account's rows of a table that names it in a column `account`, and gives how many there were.
pub async fn erase(
    connection: &mut AnyConnection,
    table: &'static str,
    account: &str,
) -> Result<u64, sqlx::Error> {
    // The table's name is the participant's own, and written in its code.
    let statement = AssertSqlSafe(format!("DELETE FROM {table} WHERE account = $1"));
    let erased = sqlx::query(statement)
        .bind(account)
        .execute(connection)
        .await?;
    Ok(erased.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{journal, scratch};

    const ACCOUNT: &str = "a-4711";
    const SCHEMA: &[&str] = &[
        journal::SCHEMA,
        seal::SCHEMA,
        "CREATE TABLE IF NOT EXISTS page (account TEXT NOT NULL, text TEXT NOT NULL)",
        "DELETE FROM answered; DELETE FROM fence; DELETE FROM seal; DELETE FROM page",
    ];

    struct Pages(Store);

    #[async_trait]
    impl Holder for Pages {
        fn store(&self) -> &Store {
            &self.0
        }

        async fn held(
            &self,
            connection: &mut AnyConnection,
            account: &str,
        ) -> Result<Inventory, Fault> {
            let query = "SELECT 'pages', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(text)), 0) AS BIGINT) \
                    FROM page WHERE account = $1 \
                UNION ALL SELECT 'books', CAST(0 AS BIGINT), CAST(0 AS BIGINT)";
            Ok(count(connection, query, account).await?)
        }

        async fn erase(&self, mut work: Work, order: &Order) -> Result<Answer, Fault> {
            let pages = sqlx::query("DELETE FROM page WHERE account = $1")
                .bind(&order.account)
                .execute(work.tx())
                .await?;
            let counts = [("pages", pages.rows_affected())];
            work.finish(seal::erased(counts, Vec::new())).await
        }
    }

    impl Pages {
        async fn write(&self, text: &str) -> Result<(), seal::Error> {
            let mut tx = self.0.pool().begin().await?;
            seal::admit(&mut tx, ACCOUNT).await?;
            sqlx::query("INSERT INTO page (account, text) VALUES ($1, $2)")
                .bind(ACCOUNT)
                .bind(text)
                .execute(&mut *tx)
                .await?;
            Ok(tx.commit().await?)
        }
    }

    async fn holders(name: &str) -> Vec<Pages> {
        let mut holders = Vec::new();
        for url in scratch::urls(name) {
            let store = Store::open(&url, &format!("kit_{name}"), SCHEMA).await;
            let pages = Pages(store.unwrap());
            pages.write("Nevermore.").await.unwrap();
            holders.push(pages);
        }
        holders
    }

    fn order(command: &str) -> Order {
        Order {
            horizon: None,
            retention: Vec::new(),
            ended_by: None,
            command: format!("deletions/d1/commands/{command}"),
            account: ACCOUNT.to_owned(),
            deadline: None,
            devices: Vec::new(),
            traceparent: String::new(),
        }
    }

    fn done(answer: Answer) -> Done {
        match answer {
            Answer::Done(done) => done,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_held_is_counted_and_what_is_empty_left_out() {
        for pages in holders("counted").await {
            let held = Category {
                category: "pages".to_owned(),
                count: 1,
                size_bytes: 10,
            };
            let inventory = pages.inventory(ACCOUNT).await.unwrap();
            assert_eq!(inventory.categories, [held]);
            let nobody = pages.inventory("nobody").await.unwrap();
            assert_eq!(nobody, Inventory::default());
        }
    }

    #[tokio::test]
    async fn a_holder_seals_erases_and_looks_again() {
        for pages in holders("holder").await {
            assert_eq!(pages.blockers(ACCOUNT).await.unwrap(), Vec::new());
            pages.seal(&order("1-seal-x")).await.unwrap();
            assert!(matches!(
                pages.write("more").await,
                Err(seal::Error::Sealed)
            ));
            let residue = done(pages.probe(&order("1-probe-x")).await.unwrap());
            assert_eq!(
                (residue.outcome, residue.counts["pages"]),
                (Outcome::Residue, 1)
            );

            let erased = pages.act(&order("1-erase-x")).await.unwrap();
            assert_eq!(pages.act(&order("1-erase-x")).await.unwrap(), erased);
            assert_eq!(done(erased).counts["pages"], 1);
            let clean = done(pages.probe(&order("2-probe-x")).await.unwrap());
            assert_eq!(clean.outcome, Outcome::Clean);
            assert!(matches!(
                pages.write("more").await,
                Err(seal::Error::Erased)
            ));
        }
    }
}
