//! One suite for every ledger: what a database promises, memory promises too, and the other way round.
//!
//! PostgreSQL is tested where FAREWELL_TEST_POSTGRES names a server on which databases may be created.

mod accounts;
mod addenda;
mod bed;
mod events;
mod given;
mod histories;
mod leases;
mod postgres;
mod reads;
mod receipts;
mod replays;
mod requests;
mod retention;
mod turns;

/// Runs cases on every ledger.
#[macro_export]
macro_rules! on_every_ledger {
    ($($case:ident)*) => {
        mod on_memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&$crate::bed::Bed::memory()).await;
            })*
        }
        mod on_sqlite {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&$crate::bed::Bed::sqlite().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $case() {
                if let Some(bed) = $crate::bed::Bed::postgres().await {
                    super::$case(&bed).await;
                    bed.drop().await;
                }
            })*
        }
    };
}
