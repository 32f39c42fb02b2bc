//! Who guesses gets no more tries by asking again.

use super::*;

fn of(deletion: &str, request: &str) -> SendCode {
    SendCode {
        deletion: deletion.to_owned(),
        ..send(request)
    }
}

fn proof(deletion: &str, kind: ProofKind, proof: &str, request: &str) -> CheckProof {
    CheckProof {
        deletion: deletion.to_owned(),
        ..check(kind, proof, request)
    }
}

#[tokio::test]
async fn an_account_has_so_many_tries_a_day_whatever_the_deletion_or_code() {
    for case in cases("guesses", 0).await {
        let mut left = Vec::new();
        for number in 0..3 {
            let after = SECOND * 61 * number;
            let deletion = format!("deletions/d{number}");
            case.sent(&of(&deletion, "r"), after).await;
            let wrong = case.wrong();
            for place in 0..4 {
                let guess = proof(&deletion, ProofKind::SmsCode, &wrong, &format!("p{place}"));
                left.push(case.checked(&guess, after).await);
            }
        }
        let wrong = |tries_left| ProofChecked::Wrong { tries_left };
        let locked = ProofChecked::Locked {
            next_try: stored(case.now + DAY),
        };
        let (one, two) = ([4, 3, 2, 1].map(wrong), [4, 3, 2, 1].map(wrong));
        assert_eq!((&left[..4], &left[4..8]), (&one[..], &two[..]));
        assert_eq!(&left[8..], [wrong(1), wrong(0), locked, locked]);

        // The right code of a new deletion is not looked at either; other kinds have their own tries.
        case.sent(&of("deletions/d3", "r"), SECOND * 300).await;
        let right = proof("deletions/d3", ProofKind::SmsCode, &case.code(), "p");
        assert_eq!(case.checked(&right, SECOND * 301).await, locked);
        let password = proof("deletions/d3", ProofKind::Password, PASSWORD, "p");
        let checked = case.checked(&password, SECOND * 302).await;
        assert_eq!(checked, ProofChecked::Right);
        assert_eq!(case.checked(&right, SECOND * 303).await, locked);

        // A day after the first try the same request is compared, and a day after the last all of them are back.
        let late = of("deletions/d4", "r");
        case.sent(&late, DAY - SECOND).await;
        let right = proof("deletions/d4", ProofKind::SmsCode, &case.code(), "p");
        assert_eq!(case.checked(&right, DAY - SECOND).await, locked);
        assert_eq!(case.checked(&right, DAY).await, ProofChecked::Right);
    }
}

#[tokio::test]
async fn a_right_proof_brings_no_try_back() {
    for case in cases("alternates", 0).await {
        let mut compared = 0;
        for number in 0..20 {
            let guess = if number % 2 == 0 { "wrong" } else { PASSWORD };
            let deletion = format!("deletions/d{}", number / 4);
            let guess = proof(&deletion, ProofKind::Password, guess, &format!("p{number}"));
            let checked = case.checked(&guess, SECOND * number).await;
            compared += u32::from(!matches!(checked, ProofChecked::Locked { .. }));
        }
        assert_eq!((compared, case.identity.hasher.compared()), (10, 10));
    }
}

#[tokio::test]
async fn a_number_gets_so_many_codes_a_day_whoever_names_it() {
    for case in cases("destination", 0).await {
        let spellings = [PHONE, "+86 138 0000 0000", "+86-138-0000-0000"];
        for (number, phone) in spellings.iter().enumerate() {
            let account = format!("b-{number}");
            sample_with(&case.store, &hasher(), &account, phone, MAIL, PASSWORD)
                .await
                .unwrap();
        }
        let mut refused = Vec::new();
        for number in 0..12_u32 {
            let request = SendCode {
                account: format!("b-{}", number % 3),
                ..of(&format!("deletions/d{number}"), "r")
            };
            if let CodeSent::TooSoon { next_send } = case.sent(&request, SECOND * 61 * number).await
            {
                refused.push(next_send);
            }
        }
        assert_eq!(case.letters(), 10);
        let first = stored(case.now + DAY);
        assert_eq!(refused, [first, first]);

        // Another number in between changes nothing.
        let other = "+8613911111111";
        set_contact(&case.store, "b-0", CodeChannel::Sms, other)
            .await
            .unwrap();
        let request = |request_id: &str| SendCode {
            account: "b-0".to_owned(),
            ..of("deletions/e", request_id)
        };
        case.sent(&request("r1"), SECOND * 800).await;
        assert_eq!(case.letters(), 11);
        set_contact(&case.store, "b-0", CodeChannel::Sms, PHONE)
            .await
            .unwrap();
        let sent = case.sent(&request("r2"), SECOND * 900).await;
        assert_eq!(sent, CodeSent::TooSoon { next_send: first });
        let rows: Vec<(String,)> = sqlx::query_as("SELECT destination || request FROM destination")
            .fetch_all(case.store.pool())
            .await
            .unwrap();
        assert!(
            rows.iter()
                .all(|(row,)| !row.contains("138") || !row.contains('+'))
        );
        assert!(rows.iter().all(|(row,)| !row.contains("b-")));
    }
}

#[tokio::test]
async fn accounts_that_share_a_number_are_counted_together_at_the_same_time() {
    for case in cases("together", 0).await {
        let mut identities = tokio::task::JoinSet::new();
        for number in 0..16_u32 {
            let account = format!("b-{number}");
            sample_with(&case.store, &hasher(), &account, PHONE, MAIL, PASSWORD)
                .await
                .unwrap();
            let (identity, now) = (case.identity.clone(), case.now);
            let request = SendCode {
                account,
                ..of(&format!("deletions/d{number}"), "r")
            };
            identities.spawn(async move { identity.send_code_at(&request, now).await });
        }
        let answers = identities.join_all().await;
        let sent = |it: &Result<_, _>| matches!(it, Ok(CodeSent::Sent { .. }));
        assert_eq!(answers.iter().filter(|it| sent(it)).count(), 10);
        case.identity.carried().await;
        assert_eq!(case.letters(), 10);
    }
}

#[tokio::test]
async fn what_counts_no_longer_is_swept() {
    for case in cases("sweep", 0).await {
        case.send("r1", Duration::ZERO).await;
        case.check(&case.wrong(), "p1").await;
        let nobody = SendCode {
            account: "nobody".to_owned(),
            ..of("deletions/d2", "r1")
        };
        case.sent(&nobody, Duration::ZERO).await;
        let guess = CheckProof {
            account: "nobody".to_owned(),
            ..proof("deletions/d2", ProofKind::SmsCode, "000000", "p1")
        };
        case.checked(&guess, Duration::ZERO).await;

        let sweep = async |after| {
            crate::sweep::sweep(&case.store, case.now + after)
                .await
                .unwrap()
        };
        // Of destinations, the rows that hold them come back when they are needed.
        assert_eq!(sweep(DAY - SECOND).await, 2);
        assert_eq!(sweep(DAY + SECOND).await, 1 + 2 + 2 + 1 + 1);
        assert_eq!(sweep(DAY + SECOND).await, 0);
        let left = left_over(&case.store, ACCOUNT).await.unwrap();
        let count = |name| left.categories.iter().find(|it| it.category == name);
        assert_eq!(count("codes").map(|it| it.count), Some(1));
        assert_eq!(count("proofs").map(|it| it.count), Some(1));
    }
}
