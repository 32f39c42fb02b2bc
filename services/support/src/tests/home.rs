//! A case of an account whose home is elsewhere is opened there.

use std::sync::Arc;

use farewell_kit::home::NotHere;
use farewell_kit::scratch::{Atlas, EUROPEAN, HIDDEN};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::*;

fn points() -> Wish {
    Wish::Transfer {
        belongings: vec!["POINTS".to_owned()],
    }
}

fn of(account: &str) -> Filter {
    Filter {
        account: account.to_owned(),
        ..Filter::default()
    }
}

#[tokio::test]
async fn nothing_is_stored_of_an_account_that_lives_elsewhere_or_may() {
    for mut bench in benches("elsewhere").await {
        bench.desk = bench.desk.asking(Arc::new(Atlas::default()));
        let before = dump(bench.store()).await;
        for (account, to, code, reason) in [
            (EUROPEAN, "", Code::FailedPrecondition, "ACCOUNT_ELSEWHERE"),
            (
                ACCOUNT,
                EUROPEAN,
                Code::FailedPrecondition,
                "TO_ACCOUNT_ELSEWHERE",
            ),
            (HIDDEN, "", Code::Unavailable, "HOME_UNKNOWN"),
            (ACCOUNT, HIDDEN, Code::Unavailable, "HOME_UNKNOWN"),
        ] {
            let wish = if to.is_empty() {
                Wish::LostAccess
            } else {
                points()
            };
            let opened = bench.open_for(account, to, wish).await;
            let refused = Status::from(opened.map(drop).unwrap_err());
            let info = refused.get_details_error_info().unwrap();
            assert_eq!((refused.code(), info.reason.as_str()), (code, reason));
            if code == Code::Unavailable {
                assert_eq!(info.metadata["cause"], "IDENTITY_UNAVAILABLE");
                assert!(refused.get_details_retry_info().is_some());
            } else {
                assert_eq!(info.metadata["region"], "eu");
                assert_eq!(info.metadata["address"], "https://eu.example:7400");
            }
            assert!(!refused.message().contains("zz-"), "{}", refused.message());
        }
        let listed = bench.desk.list(&of(EUROPEAN), "", 10).await.map(drop);
        assert!(matches!(
            listed,
            Err(Refusal::NotHere(NotHere::Elsewhere(_)))
        ));
        assert_eq!(dump(bench.store()).await, before);
        let fences = sqlx::query_as("SELECT COUNT(*) FROM fence");
        let (fences,): (i64,) = fences.fetch_one(bench.store().pool()).await.unwrap();
        assert_eq!(fences, 0);
    }
}

#[tokio::test]
async fn what_was_answered_is_answered_again_without_a_question() {
    for mut bench in benches("unasked").await {
        let atlas = Arc::new(Atlas::default());
        bench.desk = bench.desk.asking(atlas.clone());
        let request = fresh();
        for _ in 0..2 {
            let subject = (ACCOUNT, "b-1", points());
            let opened = bench.desk.open(&request, "ana", subject, bench.now).await;
            opened.unwrap();
        }
        assert_eq!(
            bench.desk.list(&of(ACCOUNT), "", 10).await.unwrap().len(),
            1
        );
        assert_eq!(atlas.asked(), 2, "each account once");
        let other = Request {
            digest: "another body".to_owned(),
            ..request
        };
        let subject = (EUROPEAN, "", Wish::LostAccess);
        let reused = bench.desk.open(&other, "ana", subject, bench.now).await;
        assert!(matches!(reused, Err(Refusal::RequestIdReused)));
        assert!(
            bench
                .desk
                .list(&of("nobody"), "", 10)
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(atlas.asked(), 3);
    }
}
