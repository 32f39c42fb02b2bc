//! From an approval's use until what it was used for is done, a deletion waits.

use farewell_kit::{SetStanding, Standing};

use super::*;

/// What the desk names to whoever wants to delete the account, at the time of the machine.
async fn codes(bench: &Bench) -> Vec<String> {
    let blockers = farewell_kit::Holder::blockers(&bench.desk, ACCOUNT)
        .await
        .unwrap();
    blockers.into_iter().map(|blocker| blocker.code).collect()
}

async fn granted(bench: &Bench, to: &str, wish: Wish, documents: &[Document]) -> String {
    let case = bench.open_for(ACCOUNT, to, wish).await.unwrap().case.id;
    for document in documents {
        bench.show(&case, *document).await.unwrap();
    }
    for who in ["bo", "chi"] {
        bench.decide(&case, who, Decision::Approve).await.unwrap();
    }
    case
}

async fn transfer(bench: &Bench) -> String {
    let points = Wish::Transfer {
        belongings: vec!["POINTS".to_owned()],
    };
    granted(bench, "b-1", points, &[Document::Identity]).await
}

fn question(case: &str, used_for: &str, done: bool) -> CheckCase {
    CheckCase {
        account: ACCOUNT.to_owned(),
        case: case.to_owned(),
        action: CaseAction::TransferBelongings {
            to_account: "b-1".to_owned(),
            belongings: vec!["POINTS".to_owned()],
        },
        used_for: used_for.to_owned(),
        approvals_min: 2,
        done,
        rejected: false,
    }
}

#[tokio::test]
async fn a_transfer_is_in_the_way_until_it_is_said_to_be_done() {
    for bench in benches("settling").await {
        let case = transfer(&bench).await;
        let said = async |used_for, done| {
            let asked = question(&case, used_for, done);
            bench.desk.check(&asked, bench.now).await.unwrap()
        };
        for _ in 0..2 {
            assert_eq!(said("requests/r1", false).await, CaseStanding::Stands);
            assert_eq!(codes(&bench).await, ["TRANSFER_OPEN"], "it is only used");
        }
        assert_eq!(said("requests/r2", true).await, CaseStanding::Used);
        assert_eq!(codes(&bench).await, ["TRANSFER_OPEN"], "another's word");
        for _ in 0..2 {
            assert_eq!(said("requests/r1", true).await, CaseStanding::Stands);
            assert_eq!(codes(&bench).await, [""; 0]);
        }
        let log = bench.log(&case).await;
        assert_eq!(log[log.len() - 2..], ["farewell USED", "farewell DONE"]);

        // A desk that was restored from before its use is told both at once.
        let other = transfer(&bench).await;
        let asked = question(&other, "requests/r3", true);
        bench.desk.check(&asked, bench.now).await.unwrap();
        assert_eq!(codes(&bench).await, [""; 0]);
    }
}

#[tokio::test]
async fn what_nobody_says_to_be_done_is_in_the_way_no_longer_than_an_approval() {
    for bench in benches("unconfirmed").await {
        let case = transfer(&bench).await;
        let asked = question(&case, "requests/r1", false);
        bench.desk.check(&asked, bench.now).await.unwrap();
        let end = bench.now + Periods::default().approval_valid;
        let shown = bench.desk.get(&case).await.unwrap().case.matter;
        assert_eq!(shown.expires_at, Some(end), "and everybody sees until when");
        bench.desk.sweep(end - DAY).await.unwrap();
        assert_eq!(codes(&bench).await, ["TRANSFER_OPEN"]);
        for _ in 0..2 {
            bench.desk.sweep(end).await.unwrap();
        }
        assert_eq!(codes(&bench).await, [""; 0]);
        let late = question(&case, "requests/r1", true);
        let late = bench.desk.check(&late, end).await.unwrap();
        assert_eq!(late, CaseStanding::Stands, "the same use");
        let log = bench.log(&case).await;
        assert_eq!(log.last().unwrap(), "farewell UNCONFIRMED");
        let documents = end + Periods::default().evidence_kept;
        bench.desk.sweep(documents).await.unwrap();
        let log = bench.log(&case).await;
        assert_eq!(log.last().unwrap(), "farewell EVIDENCE_DELETED");
    }
}

#[tokio::test]
async fn a_request_that_comes_back_long_after_is_another_use() {
    for bench in benches("stale").await {
        let device = "lines/phones/devices/p-1".to_owned();
        let wish = Wish::Unbind {
            device: device.clone(),
        };
        let case = granted(&bench, "", wish, &[Document::Identity]).await;
        let asked = CheckCase {
            action: CaseAction::UnbindDevice(device),
            ..question(&case, "requests/r1", false)
        };
        let long = Periods::default().approval_valid;
        for (at, standing) in [
            (bench.now, CaseStanding::Stands),
            (bench.now + DAY, CaseStanding::Stands),
            (bench.now + long, CaseStanding::Used),
        ] {
            assert_eq!(bench.desk.check(&asked, at).await.unwrap(), standing);
        }
        let mut connection = bench.store().pool().acquire().await.unwrap();
        let waiting = crate::case::waiting(&mut connection, bench.now).await;
        assert_eq!(waiting.unwrap(), (0, 0), "nobody has to decide on it");
    }
}

#[tokio::test]
async fn a_rejection_that_is_said_of_a_deletion_keeps_no_document_longer_and_is_not_said_for_ever()
{
    for bench in benches("rejected").await {
        let case = bench.open(Wish::LostAccess).await;
        bench.show(&case, Document::Identity).await.unwrap();
        let rejected = bench.decide(&case, "bo", Decision::Reject(Rejection::Forged));
        rejected.await.unwrap();
        let said = async |used_for: &str, at| {
            let asked = CheckCase {
                action: CaseAction::Delete,
                rejected: true,
                ..question(&case, used_for, false)
            };
            bench.desk.check(&asked, at).await.unwrap()
        };
        let kept = Periods::default().evidence_kept;
        let late = bench.now + Periods::default().approval_valid;
        assert_eq!(said("deletions/d2", late).await, CaseStanding::Expired);
        let standing = said("deletions/d1", bench.now + DAY).await;
        assert_eq!(standing, CaseStanding::Rejected("FORGED"));
        bench.desk.sweep(bench.now + kept).await.unwrap();
        let log = bench.log(&case).await;
        assert_eq!(log.last().unwrap(), "farewell EVIDENCE_DELETED");
        let next = bench.desk.sweep(bench.now + 3 * kept).await.unwrap().next;
        assert_eq!(next, None, "and once");
    }
}

#[tokio::test]
async fn a_memorial_is_in_the_way_until_the_desk_has_the_accounts_standing() {
    for bench in benches("memorial").await {
        let documents = [Document::DeathCertificate, Document::RelationshipProof];
        let case = granted(&bench, "", Wish::Legacy { delete: false }, &documents).await;
        let asked = CheckCase {
            action: CaseAction::Memorialize,
            ..question(&case, "requests/r1", false)
        };
        bench.desk.check(&asked, bench.now).await.unwrap();
        let standing = async |generation, standing| {
            let request = SetStanding {
                account: ACCOUNT.to_owned(),
                generation,
                standing,
                recent_change: farewell_kit::RECENT_CHANGE_MAX,
            };
            bench.desk.set_standing(&request).await.unwrap();
        };
        // A freeze of before says nothing of it.
        standing(1, Standing::Frozen).await;
        assert_eq!(codes(&bench).await, ["LEGACY_CASE_OPEN"]);
        for _ in 0..2 {
            standing(2, Standing::Memorialized).await;
            assert_eq!(codes(&bench).await, [""; 0]);
        }
        let log = bench.log(&case).await;
        assert_eq!(log[log.len() - 2..], ["farewell USED", "farewell DONE"]);
    }
}
