//! A link by mail: whoever has its token, and nobody else, confirms what it is for, once.

use super::*;
use crate::courier::Way;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn asked(request_id: &str) -> SendCode {
    SendCode {
        kind: CodeKind::EmailLink,
        ..send(request_id)
    }
}

fn shown(token: &str, request_id: &str) -> CheckProof {
    check(ProofKind::EmailLink, token, request_id)
}

impl Case {
    /// The token of the last letter's link.
    fn token(&self) -> String {
        let carried = self.carried.lock().unwrap();
        let letter = carried.last().unwrap();
        assert_eq!((letter.way, letter.to.as_str()), (Way::Email, MAIL));
        let Content::Notice(written) = &letter.content else {
            panic!("a code");
        };
        let link = written.link.clone().unwrap();
        assert!(written.text.contains(&link));
        let token = link.strip_prefix("https://account.example.com/stay#confirm=");
        token.unwrap().to_owned()
    }
}

const WRONG: fn(u32) -> ProofChecked = |tries_left| ProofChecked::Wrong { tries_left };

#[tokio::test]
async fn a_link_is_used_once_and_for_its_own_deletion_alone() {
    for case in cases("links", 0).await {
        case.sent(&asked("r1"), Duration::ZERO).await;
        let token = case.token();
        let (id, secret) = token.split_once('.').unwrap();
        assert_eq!((id, secret.len()), ("d1", 64));
        let kept: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT mac FROM code")
            .fetch_all(case.store.pool())
            .await
            .unwrap();
        assert_eq!(
            (kept.len(), kept[0].0.len()),
            (1, 32),
            "a hash and nothing else"
        );

        let mut other = shown(&token, "p1");
        other.deletion = "deletions/d2".to_owned();
        assert_eq!(case.checked(&other, SECOND).await, ProofChecked::Expired);
        // Nor does it stand for a code, or the secret for the token.
        let code = check(ProofKind::EmailCode, &token, "p2");
        assert_eq!(case.checked(&code, SECOND).await, ProofChecked::Expired);
        assert_eq!(case.checked(&shown(secret, "p3"), SECOND).await, WRONG(4));

        let used = shown(&token, "p4");
        assert_eq!(case.checked(&used, SECOND).await, ProofChecked::Right);
        assert_eq!(
            case.checked(&used, HOUR * 2).await,
            ProofChecked::Right,
            "its answer stays"
        );
        let again = case.checked(&shown(&token, "p5"), SECOND).await;
        assert_eq!(again, ProofChecked::Expired);
    }
}

#[tokio::test]
async fn a_new_link_makes_the_old_one_void_and_each_ends_by_itself() {
    for case in cases("newer", 0).await {
        case.sent(&asked("r1"), Duration::ZERO).await;
        let first = case.token();
        case.sent(&asked("r1"), SECOND).await;
        assert_eq!(case.letters(), 1, "the same request sends no second one");
        let soon = case.sent(&asked("r2"), SECOND * 2).await;
        assert!(matches!(soon, CodeSent::TooSoon { .. }));
        case.sent(&asked("r3"), SECOND * 61).await;
        let second = case.token();
        let of_first = case.checked(&shown(&first, "p1"), SECOND * 62).await;
        assert_eq!(of_first, WRONG(4));
        let late = case
            .checked(&shown(&second, "p2"), SECOND * 61 + HOUR)
            .await;
        assert_eq!(late, ProofChecked::Expired);
        let in_time = case
            .checked(&shown(&second, "p3"), SECOND * 60 + HOUR)
            .await;
        assert_eq!(in_time, ProofChecked::Right);
    }
}

#[tokio::test]
async fn links_and_codes_to_one_address_are_counted_together() {
    for mut case in cases("address", 0).await {
        case.identity.rules.codes.sends_per_day_max = 100;
        for number in 0..12_u32 {
            let kind = [CodeKind::Email, CodeKind::EmailLink][usize::from(number % 2 == 0)];
            let request = SendCode {
                kind,
                ..send(&format!("r{number}"))
            };
            case.sent(&request, SECOND * 61 * number).await;
        }
        assert_eq!(case.letters(), 10);
    }
}

#[tokio::test]
async fn without_a_page_nobody_is_sent_a_link() {
    for mut case in cases("pageless", 0).await {
        case.identity.notices.links = None;
        for account in [ACCOUNT, "nobody"] {
            let request = SendCode {
                account: account.to_owned(),
                ..asked("r1")
            };
            let sent = case.sent(&request, Duration::ZERO).await;
            assert_eq!(sent, CodeSent::NoLinks);
        }
        assert_eq!(case.letters(), 0);
    }
}

#[tokio::test]
async fn codes_and_links_of_an_older_pepper_go_on_beside_a_newer_one() {
    const OLD: &str = "sixteen bytes or more";
    for mut case in cases("rotation", 0).await {
        case.sent(&asked("r1"), Duration::ZERO).await;
        let token = case.token();
        case.send("r1", Duration::ZERO).await;
        let code = case.code();
        let both = format!("1:{OLD},2:another of sixteen bytes");
        case.identity.pepper = Pepper::parse(&both).unwrap();
        assert_eq!(case.check(&code, "p1").await, ProofChecked::Right);
        let confirmed = case.checked(&shown(&token, "p2"), SECOND).await;
        assert_eq!(confirmed, ProofChecked::Right);

        // What goes to one number is counted across both.
        case.identity.rules.codes.sends_per_day_max = 100;
        for number in 1..12_u32 {
            case.send(&format!("s{number}"), SECOND * 61 * number).await;
        }
        let to_phone = case.letters() - 1;
        assert_eq!(to_phone, 10);
        // New ones lie under the newest alone.
        let newest = Pepper::parse("2:another of sixteen bytes").unwrap();
        case.identity.pepper = newest;
        let last = check(ProofKind::SmsCode, &case.code(), "p3");
        let right = case.checked(&last, SECOND * 61 * 9 + SECOND).await;
        assert_eq!(right, ProofChecked::Right);
    }
}
