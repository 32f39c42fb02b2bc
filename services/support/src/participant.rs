//! The desk's part in a deletion.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use farewell_kit::export::{LeftOut, Part, Table, Tables, why};
use farewell_kit::seal::{self, Work};
use farewell_kit::store::Store;
use farewell_kit::{
    Answer, Blocker, CaseStanding, CheckCase, DeskWork, Fault, Holder, Inventory, Order, Retained,
    SetStanding, Standing, StandingKept, standing,
};
use sqlx::AnyConnection;

use crate::desk::Desk;
use crate::refusal::Refusal;
use crate::wish::Wish;
use crate::{case, entry, evidence, holding};

/// Relatives say that the owner has died: whoever asks now may not be the owner.
const LEGACY_CASE_OPEN: &str = "LEGACY_CASE_OPEN";
/// What is to move to another account would be lost.
const TRANSFER_OPEN: &str = "TRANSFER_OPEN";

/// Every blocker that the desk names.
pub const BLOCKERS: [&str; 2] = [LEGACY_CASE_OPEN, TRANSFER_OPEN];

/// What an account's owner may take along, in this order.
const EXPORTED: &[&Table] = &[&case::EXPORT, &entry::EXPORT, &evidence::EXPORT];

/// What is in none of them. Of documents it is their bytes.
const LEFT_OUT: &[LeftOut] = &[
    ("support_documents", why::FROM_SUPPORT_DESK),
    ("named_in_support_cases", why::OF_ANOTHER_ACCOUNT),
];

#[async_trait]
impl Holder for Desk {
    fn store(&self) -> &Store {
        &self.store
    }

    async fn held(
        &self,
        connection: &mut AnyConnection,
        account: &str,
    ) -> Result<Inventory, Fault> {
        Ok(holding::held(connection, account).await?)
    }

    async fn erase(&self, mut work: Work, order: &Order) -> Result<Answer, Fault> {
        let deletion = seal::deletion_of(&order.command).unwrap_or_default();
        let erased = holding::erase(
            work.tx(),
            &order.retention,
            (&order.account, deletion),
            seal::erased_at(order, SystemTime::now()),
        )
        .await?;
        let counts = [
            ("support_cases", erased.cases),
            ("support_documents", erased.documents),
            ("named_in_support_cases", erased.named),
        ];
        let retained = holding::retained(work.tx(), deletion).await?;
        work.finish(seal::erased(counts, retained)).await
    }

    async fn expire(&self, mut work: Work, order: &Order) -> Result<Answer, Fault> {
        let ended_by = match seal::ended_by(order, SystemTime::now()) {
            Ok(ended_by) => ended_by,
            Err(not_yet) => return Ok(not_yet),
        };
        let deletion = seal::deletion_of(&order.command).unwrap_or_default();
        let ended = holding::expire(work.tx(), deletion, ended_by).await?;
        let retained = holding::retained(work.tx(), deletion).await?;
        let counts = [(holding::DECISIONS.to_owned(), ended)];
        work.finish(seal::expired(counts, retained)).await
    }

    async fn retained(
        &self,
        connection: &mut AnyConnection,
        order: &Order,
    ) -> Result<Vec<Retained>, Fault> {
        let deletion = seal::deletion_of(&order.command).unwrap_or_default();
        Ok(holding::retained(connection, deletion).await?)
    }

    async fn export(&self, account: &str, after: &str) -> Result<Part, Fault> {
        Tables::new(&self.store, EXPORTED)
            .leaving_out(LEFT_OUT)
            .part(account, after)
            .await
    }

    async fn blockers(&self, account: &str) -> Result<Vec<Blocker>, Fault> {
        let now = SystemTime::now();
        let mut connection = self.store.pool().acquire().await?;
        let cases = case::of_account(&mut connection, account).await?;
        let mut blockers = Vec::new();
        for code in BLOCKERS {
            let open = cases.iter().filter(|case| blocks(case, now) == Some(code));
            // The last of them to end.
            let (mut count, mut until) = (0, None);
            for case in open {
                count += 1;
                until = until.max(case.matter.expires_at);
            }
            if count > 0 {
                blockers.push(Blocker::new(code).count(count).until(until));
            }
        }
        Ok(blockers)
    }

    async fn set_standing(&self, request: &SetStanding) -> Result<StandingKept, Fault> {
        let mut tx = self.store.pool().begin().await?;
        let kept = standing::keep_in(&mut tx, request).await?;
        if request.standing == Standing::Memorialized && kept != standing::Kept::Gone {
            self.memorialized(&mut tx, &request.account, SystemTime::now())
                .await
                .map_err(fault)?;
        }
        tx.commit().await?;
        Ok(kept.into())
    }

    async fn check_case(&self, request: &CheckCase) -> Result<CaseStanding, Fault> {
        self.check(request, SystemTime::now()).await.map_err(fault)
    }

    async fn desk_work(&self) -> Result<DeskWork, Fault> {
        let mut connection = self.store.pool().acquire().await?;
        let noticed = SystemTime::now() - NOTICE_MAX;
        let (open, stuck) = case::waiting(&mut connection, noticed).await?;
        Ok(DeskWork { open, stuck })
    }
}

fn fault(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::Fault(fault) => fault,
        other => Fault::new("a case that can't be read or written", other),
    }
}

/// How long the desk may take to notice what is due.
const NOTICE_MAX: Duration = Duration::from_secs(60);

/// What a case is in the way of. A deletion that two have approved is not in its own.
fn blocks(case: &case::Case, now: SystemTime) -> Option<&'static str> {
    if !case.matter.is_unsettled(now) {
        return None;
    }
    match &case.matter.wish {
        Wish::Legacy { delete: true } if case.matter.state.approved_by().len() > 1 => None,
        Wish::Legacy { .. } => Some(LEGACY_CASE_OPEN),
        Wish::Transfer { .. } => Some(TRANSFER_OPEN),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use farewell_kit::export::untold;

    use super::*;
    use crate::scratch;

    #[tokio::test]
    async fn every_category_of_the_inventory_is_exported_or_left_out_for_a_reason() {
        for store in scratch::stores("export_coverage").await {
            let inventory = holding::categories(&store).await.unwrap();
            let told = EXPORTED.iter().map(|table| table.category);
            let untold = untold(inventory.iter().map(String::as_str), told, LEFT_OUT);
            assert_eq!(untold, [""; 0]);
        }
    }
}
