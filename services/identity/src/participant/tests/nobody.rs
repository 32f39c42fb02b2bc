//! Nobody finds out by asking whether there is an account.

use std::time::Instant;

use super::*;

/// What one account looks like to somebody who asks, and what it costs to answer.
#[derive(Debug, PartialEq)]
struct Looks {
    sent: Vec<CodeSent>,
    checked: Vec<ProofChecked>,
    compared: u64,
    rows: [i64; 4],
}

async fn rows(case: &Case) -> [i64; 4] {
    let (codes, proofs, attempts, destinations): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM code), (SELECT COUNT(*) FROM proof), (SELECT COUNT(*) FROM attempt), \
             (SELECT COUNT(*) FROM destination)",
    )
    .fetch_one(case.store.pool())
    .await
    .unwrap();
    [codes, proofs, attempts, destinations]
}

async fn look(case: &Case, account: &str) -> Looks {
    let (before, compared) = (rows(case).await, case.identity.hasher.compared());
    let deletion = |number: u32| format!("deletions/{account}-{number}");
    let (mut sent, mut checked) = (Vec::new(), Vec::new());
    let show = |number, kind, request_id: String| CheckProof {
        account: account.to_owned(),
        deletion: deletion(number),
        kind,
        // Seven digits: even somebody's own code is not hit by chance.
        proof: "0000000".to_owned(),
        request_id,
    };
    checked.push(
        case.checked(
            &show(0, ProofKind::SmsCode, "early".to_owned()),
            Duration::ZERO,
        )
        .await,
    );
    for number in 0..14 {
        let after = SECOND * 50 * number;
        for kind in [CodeKind::Sms, CodeKind::Email, CodeKind::EmailLink] {
            let request = SendCode {
                account: account.to_owned(),
                deletion: deletion(number),
                kind,
                request_id: "r".to_owned(),
            };
            sent.push(case.sent(&request, after).await);
            sent.push(case.sent(&request, after + SECOND).await);
        }
        for kind in [
            ProofKind::SmsCode,
            ProofKind::EmailCode,
            ProofKind::EmailLink,
            ProofKind::Password,
        ] {
            for place in 0..6 {
                let shown = show(number, kind, format!("p{place}"));
                checked.push(case.checked(&shown, after + SECOND).await);
                checked.push(case.checked(&shown, after + SECOND * 2).await);
            }
        }
    }
    let after = rows(case).await;
    Looks {
        sent,
        checked,
        compared: case.identity.hasher.compared() - compared,
        rows: std::array::from_fn(|place| after[place] - before[place]),
    }
}

#[tokio::test]
async fn an_account_that_nobody_knows_looks_like_any_other() {
    for case in cases("nobody", 0).await {
        let known = look(&case, ACCOUNT).await;
        let letters = case.letters();
        assert_eq!(look(&case, "nobody").await, known);

        // Nor one without addresses or password, nor one that was erased.
        register(&case.store, "bare", "bare").await.unwrap();
        assert_eq!(look(&case, "bare").await, known);
        register(&case.store, "gone", "gone").await.unwrap();
        let mut erase = order("1-erase-identity");
        erase.account = "gone".to_owned();
        case.identity.act(&erase).await.unwrap();
        assert_eq!(look(&case, "gone").await, known);

        assert_eq!(case.letters(), letters, "and nobody got a letter");
        assert_eq!(known.compared, 10);
        let wrong = |it: &&ProofChecked| matches!(it, ProofChecked::Wrong { .. });
        assert!(known.checked.iter().filter(wrong).count() > 30);
        let right = ProofChecked::Right;
        assert!(!known.checked.contains(&right));
    }
}

#[tokio::test]
async fn no_guess_is_right_for_an_account_that_nobody_knows() {
    for case in cases("decoy", 0).await {
        let nobody = SendCode {
            account: "nobody".to_owned(),
            ..send("r1")
        };
        case.sent(&nobody, Duration::ZERO).await;
        let (mac,): (Vec<u8>,) = sqlx::query_as("SELECT mac FROM code")
            .fetch_one(case.store.pool())
            .await
            .unwrap();
        let pepper = Pepper::new(*b"sixteen bytes or more").unwrap();
        assert_eq!(mac.len(), 32);
        for code in 0..2_000 {
            let of_code = pepper.mac("deletions/d1", CodeKind::Sms, &format!("{code:06}"));
            assert_ne!(of_code.unwrap(), mac);
        }
    }
}

/// Prints what an answer takes, with real hashes: the time itself is the machine's, and asserts nothing but its order. That the work is
/// the same, statement by statement, is counted by `tests/nobody.rs`, and hashes above.
#[tokio::test]
async fn answers_take_as_long_for_nobody_as_for_somebody() {
    const ROUNDS: u32 = 9;
    for mut case in cases("timing", 0).await {
        case.identity.hasher = Hasher::default();
        case.identity.rules.tries_per_day_max = 1_000;
        case.identity.rules.codes.sends_per_day_max = 1_000;
        case.identity.rules.codes.destination_per_day_max = 1_000;
        change_password(&case.store, &Hasher::default(), ACCOUNT, PASSWORD)
            .await
            .unwrap();
        let mut took: [[Vec<Duration>; 3]; 2] = Default::default();
        for number in 0..ROUNDS {
            for (place, account) in [ACCOUNT, "nobody"].into_iter().enumerate() {
                let now = case.now + SECOND * 61 * number;
                let request = SendCode {
                    account: account.to_owned(),
                    deletion: format!("deletions/{account}-{number}"),
                    ..send("r")
                };
                let begun = Instant::now();
                case.identity.send_code_at(&request, now).await.unwrap();
                took[place][0].push(begun.elapsed());
                case.identity.carried().await;
                let kinds = [ProofKind::SmsCode, ProofKind::Password];
                for (kind, of_kind) in kinds.into_iter().zip(1..) {
                    let shown = CheckProof {
                        account: account.to_owned(),
                        deletion: request.deletion.clone(),
                        ..check(kind, "0000000", "p")
                    };
                    let begun = Instant::now();
                    case.identity.check_proof_at(&shown, now).await.unwrap();
                    took[place][of_kind].push(begun.elapsed());
                }
            }
        }
        let [known, nobody] = took.map(|kinds| kinds.map(median));
        let kinds = ["a code sent", "a wrong code", "a wrong password"];
        for (kind, (known, nobody)) in kinds.iter().zip(known.into_iter().zip(nobody)) {
            println!("{kind}: {known:?} for somebody, {nobody:?} for nobody");
            let (less, more) = (known.min(nobody), known.max(nobody));
            assert!(
                more < less * 5 + Duration::from_millis(50),
                "{kind}: {less:?}, {more:?}"
            );
        }
        assert_eq!(case.identity.hasher.compared(), u64::from(2 * ROUNDS));
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
