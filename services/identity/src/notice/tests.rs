use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farewell_kit::{
    Answer, CheckProof, CodeChannel, NoticeReason, Order, Participant as _, ProofChecked,
    ProofKind, RECENT_CHANGE_MAX,
};

use super::*;
use crate::code::Pepper;
use crate::courier::{self, Couriers, Letter, MockCourier, Written};
use crate::{Identity, Rules, is_logged_in, register, scratch, set_contact, set_language};

const ACCOUNT: &str = "a-4711";
const DELETION: &str = "deletions/01a201b5-d66d-7224-ad95-7c89301c0ba4";
const RECENT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What the couriers were given; the count of times that they fail before.
#[derive(Clone, Default)]
struct Post(Arc<Mutex<(Vec<Letter>, u32)>>);

impl Post {
    fn couriers(&self) -> Couriers {
        let courier = || {
            let (post, mut courier) = (self.clone(), MockCourier::new());
            courier.expect_carry().returning(move |letter| {
                let mut post = post.0.lock().unwrap();
                if post.1 > 0 {
                    post.1 -= 1;
                    return Err(Fault::plain("the gateway is away"));
                }
                post.0.push(letter.clone());
                Ok(())
            });
            Arc::new(courier)
        };
        Couriers::new(courier(), courier()).with_push(courier())
    }

    /// By receiver.
    fn taken(&self) -> BTreeMap<String, Written> {
        let taken = std::mem::take(&mut self.0.lock().unwrap().0);
        let written = |letter: Letter| match letter.content {
            courier::Content::Notice(written) => (letter.to, written),
            courier::Content::Code { .. } => panic!("a code"),
        };
        taken.into_iter().map(written).collect()
    }
}

fn pepper() -> Pepper {
    Pepper::new("0123456789abcdef").unwrap()
}

fn notice(name: &str, kind: NoticeKind) -> Notice {
    Notice {
        account: ACCOUNT.to_owned(),
        deletion: DELETION.to_owned(),
        name: name.to_owned(),
        kind,
        revocable_until: Some(SystemTime::now() + RECENT),
        deadline: Some(SystemTime::now() + RECENT),
        revocable: true,
        reasons: vec![NoticeReason {
            code: "UNFINISHED_ORDER".to_owned(),
            sentences: [
                ("en".to_owned(), "An order is open.".to_owned()),
                ("zh".to_owned(), "有一个订单尚未送达。".to_owned()),
            ]
            .into(),
        }],
        recent_change: RECENT,
        time_zone: jiff::tz::TimeZone::UTC,
    }
}

fn config() -> Config {
    Config {
        links: Some("https://account.example.com/stay".to_owned()),
        language: Language::English,
    }
}

async fn round(store: &Store, post: &Post, now: SystemTime) -> usize {
    let by = (&post.couriers(), &pepper());
    let delivery = Delivery::default();
    delivery::carry_due(store, by, &config(), &delivery, now)
        .await
        .unwrap()
}

/// An account with a number, a mail address, an earlier one of each time, and a device.
async fn stores(name: &str) -> Vec<Store> {
    let stores = scratch::stores(name).await;
    for store in &stores {
        register(store, ACCOUNT, "li").await.unwrap();
        for (channel, address) in [
            (CodeChannel::Sms, "+86 138 0000 0000"),
            (CodeChannel::Email, "old@example.com"),
            (CodeChannel::Email, "new@example.com"),
        ] {
            set_contact(store, ACCOUNT, channel, address).await.unwrap();
        }
        let mut connection = store.pool().acquire().await.unwrap();
        let now = SystemTime::now();
        login::insert(&mut connection, "s-1", ACCOUNT, "phone", now)
            .await
            .unwrap();
    }
    stores
}

#[tokio::test]
async fn everybody_hears_of_a_notice_once_however_often_it_is_asked_for() {
    for store in stores("told").await {
        let (post, now) = (Post::default(), SystemTime::now());
        let sealed = notice("sealed", NoticeKind::Sealed);
        for _ in 0..2 {
            keep(&store, (&config(), &pepper()), &sealed, now)
                .await
                .unwrap();
        }
        assert_eq!(round(&store, &post, now).await, 4);
        let taken = post.taken();
        let receivers: Vec<_> = taken.keys().map(String::as_str).collect();
        assert_eq!(
            receivers,
            [
                "+86 138 0000 0000",
                "new@example.com",
                "old@example.com",
                "s-1"
            ]
        );
        let links: std::collections::HashSet<_> = taken.values().map(|it| &it.link).collect();
        assert_eq!(links.len(), 4, "each has a link of its own");
        assert!(
            taken["+86 138 0000 0000"]
                .text
                .contains("An order is open.")
        );

        keep(&store, (&config(), &pepper()), &sealed, now)
            .await
            .unwrap();
        assert_eq!(round(&store, &post, now + RECENT).await, 0);
        // What was changed long ago is not written to any more, of another deletion.
        let later = Notice {
            deletion: "deletions/other".to_owned(),
            ..notice("reminder-0", NoticeKind::Reminder)
        };
        keep(
            &store,
            (&config(), &pepper()),
            &later,
            now + RECENT + RECENT,
        )
        .await
        .unwrap();
        assert_eq!(round(&store, &post, now + RECENT + RECENT).await, 3);
    }
}

#[tokio::test]
async fn what_was_bound_before_is_kept_for_the_longest_of_policies_and_then_forgotten() {
    for store in stores("earlier").await {
        let now = SystemTime::now() + RECENT_CHANGE_MAX;
        let longest = Notice {
            recent_change: RECENT_CHANGE_MAX,
            ..notice("sealed", NoticeKind::Sealed)
        };
        let earlier = async || -> i64 {
            let count = sqlx::query_scalar("SELECT COUNT(*) FROM contact_earlier");
            count.fetch_one(store.pool()).await.unwrap()
        };
        // It was changed when the test began: a minute before the end it is still there.
        let minute = Duration::from_secs(60);
        crate::sweep::sweep(&store, now - minute).await.unwrap();
        assert_eq!(earlier().await, 1);
        let post = Post::default();
        keep(&store, (&config(), &pepper()), &longest, now - minute)
            .await
            .unwrap();
        round(&store, &post, now).await;
        assert!(post.taken().contains_key("old@example.com"));
        crate::sweep::sweep(&store, now + minute).await.unwrap();
        assert_eq!(earlier().await, 1, "who was told is told of the end");
        let revoked = notice("revoked", NoticeKind::Revoked);
        keep(&store, (&config(), &pepper()), &revoked, now + minute)
            .await
            .unwrap();
        crate::sweep::sweep(&store, now + minute).await.unwrap();
        assert_eq!(earlier().await, 0);
    }
}

#[tokio::test]
async fn the_owner_reads_it_in_their_language() {
    for store in stores("language").await {
        set_language(&store, ACCOUNT, Language::Chinese)
            .await
            .unwrap();
        let (post, now) = (Post::default(), SystemTime::now());
        let sealed = notice("sealed", NoticeKind::Sealed);
        keep(&store, (&config(), &pepper()), &sealed, now)
            .await
            .unwrap();
        round(&store, &post, now).await;
        let taken = post.taken();
        let letter = &taken["+86 138 0000 0000"];
        assert_eq!(
            (letter.language, letter.subject.as_str()),
            ("zh", "您的账号即将注销")
        );
        assert!(letter.text.contains("有一个订单尚未送达。"));
    }
}

#[tokio::test]
async fn a_gateway_that_fails_is_asked_again_and_given_up_in_the_end_where_it_shows() {
    for store in stores("fails").await {
        let (post, mut now) = (Post::default(), SystemTime::now());
        post.0.lock().unwrap().1 = 4;
        let sealed = notice("sealed", NoticeKind::Sealed);
        keep(&store, (&config(), &pepper()), &sealed, now)
            .await
            .unwrap();
        round(&store, &post, now).await;
        assert_eq!(post.taken().len(), 0);
        let counted = count(&store).await.unwrap();
        assert_eq!(
            (counted.waiting, counted.failing, counted.given_up),
            (4, 4, 0)
        );
        assert_eq!(round(&store, &post, now).await, 0, "not at once");
        // Under the same ids, and with the same links.
        now += Duration::from_secs(60);
        assert_eq!(round(&store, &post, now).await, 4);
        assert_eq!(post.taken().len(), 4);
        assert_eq!(count(&store).await.unwrap(), Letters::default());

        post.0.lock().unwrap().1 = u32::MAX;
        let late = notice("reminder-0", NoticeKind::Reminder);
        keep(&store, (&config(), &pepper()), &late, now)
            .await
            .unwrap();
        for _ in 0..100 {
            now += Duration::from_secs(60 * 60);
            round(&store, &post, now).await;
        }
        let counted = count(&store).await.unwrap();
        assert_eq!((counted.waiting, counted.given_up), (0, 4));
        let addresses: Vec<(String,)> =
            sqlx::query_as("SELECT receiver FROM letter WHERE receiver <> ''")
                .fetch_all(store.pool())
                .await
                .unwrap();
        assert_eq!(addresses, [], "nobody's address is kept to be counted");
        let mut connection = store.pool().acquire().await.unwrap();
        sweep(&mut connection, now + delivery::GIVEN_UP_SHOWN)
            .await
            .unwrap();
        drop(connection);
        assert_eq!(count(&store).await.unwrap().given_up, 0);
    }
}

fn token(written: &Written) -> String {
    let link = written.link.as_ref().unwrap();
    assert!(!link.contains('?'), "no server on the way reads it: {link}");
    let (page, token) = link.split_once("&token=").unwrap();
    assert_eq!(
        format!("{page}&token="),
        "https://account.example.com/stay#deletion=01a201b5-d66d-7224-ad95-7c89301c0ba4&token="
    );
    assert_eq!(token.len(), 64);
    token.to_owned()
}

fn shown(proof: &str, request_id: &str) -> CheckProof {
    CheckProof {
        account: ACCOUNT.to_owned(),
        deletion: DELETION.to_owned(),
        kind: ProofKind::RevokeLink,
        proof: proof.to_owned(),
        request_id: request_id.to_owned(),
    }
}

#[tokio::test]
async fn a_link_is_right_for_its_deletion_alone_and_no_number_of_wrong_ones_locks_it() {
    for store in stores("link").await {
        let (post, now) = (Post::default(), SystemTime::now());
        let sealed = notice("sealed", NoticeKind::Sealed);
        keep(&store, (&config(), &pepper()), &sealed, now)
            .await
            .unwrap();
        round(&store, &post, now).await;
        let taken = post.taken();
        let identity = Identity::new(store.clone(), post.couriers(), pepper(), Rules::default());
        let check = async |request: CheckProof| identity.check_proof(&request).await.unwrap();
        for written in taken.values() {
            let token = token(written);
            for request in ["r1", "r2"] {
                assert_eq!(check(shown(&token, request)).await, ProofChecked::Right);
            }
            let mut other = shown(&token, "r3");
            other.deletion = "deletions/another".to_owned();
            assert!(matches!(check(other).await, ProofChecked::Wrong { .. }));
            let mut other = shown(&token, "r4");
            other.account = "b".to_owned();
            assert!(matches!(check(other).await, ProofChecked::Wrong { .. }));
            // It authorises nothing else.
            for kind in [
                ProofKind::SmsCode,
                ProofKind::EmailCode,
                ProofKind::EmailLink,
                ProofKind::Password,
            ] {
                let proof = CheckProof {
                    kind,
                    ..shown(&token, "r5")
                };
                assert_ne!(check(proof).await, ProofChecked::Right, "{kind:?}");
            }
        }
        let mut locked = false;
        for guess in 0..120 {
            let wrong = shown(&format!("{guess:064x}"), &format!("g{guess}"));
            locked |= matches!(check(wrong).await, ProofChecked::Locked { .. });
        }
        assert!(locked);
        let token = token(&taken["s-1"]);
        assert_eq!(check(shown(&token, "r9")).await, ProofChecked::Right);
        let stored: Vec<(String,)> = sqlx::query_as("SELECT salt FROM revoke_link")
            .fetch_all(store.pool())
            .await
            .unwrap();
        assert!(stored.iter().all(|(salt,)| !token.contains(salt.as_str())));
    }
}

fn order(verb: &str) -> Order {
    Order {
        command: format!("{DELETION}/commands/1-{verb}-identity"),
        account: ACCOUNT.to_owned(),
        deadline: None,
        devices: Vec::new(),
        horizon: None,
        retention: Vec::new(),
        ended_by: None,
        traceparent: String::new(),
    }
}

#[tokio::test]
async fn a_sealed_account_is_told_and_an_erased_one_leaves_nothing_to_be_told() {
    for store in stores("sealed").await {
        let (post, now) = (Post::default(), SystemTime::now());
        let identity = Identity::new(store.clone(), post.couriers(), pepper(), Rules::default());
        identity.seal(&order("seal")).await.unwrap();
        assert!(!is_logged_in(&store, "s-1").await.unwrap());
        identity
            .notify(&notice("sealed", NoticeKind::Sealed))
            .await
            .unwrap();
        assert_eq!(
            identity.letters().await.unwrap().waiting,
            4,
            "the device, too"
        );
        identity.act(&order("erase")).await.unwrap();
        assert_eq!(identity.letters().await.unwrap().waiting, 0);
        identity
            .notify(&notice("overdue", NoticeKind::Overdue))
            .await
            .unwrap();
        assert_eq!(round(&store, &post, now + RECENT).await, 0);
        let left = crate::left_over(&store, ACCOUNT).await.unwrap();
        assert_eq!(left, farewell_kit::Inventory::default());
    }
}

#[tokio::test]
async fn who_heard_of_it_first_hears_of_it_to_the_end() {
    const WAIT: Duration = Duration::from_secs(25 * 24 * 60 * 60);
    for store in stores("to_the_end").await {
        let (post, now) = (Post::default(), SystemTime::now());
        let tell = async |deletion: &str, name: &str, at: SystemTime| {
            let notice = Notice {
                deletion: deletion.to_owned(),
                ..notice(name, NoticeKind::Sealed)
            };
            keep(&store, (&config(), &pepper()), &notice, at)
                .await
                .unwrap();
            round(&store, &post, at).await;
            post.taken().contains_key("old@example.com")
        };
        let sweep = async |at| {
            let mut connection = store.pool().acquire().await.unwrap();
            contact::sweep(&mut connection, at).await.unwrap()
        };
        assert!(tell(DELETION, "sealed", now).await);
        // A long wait, in which the change has become an old one.
        assert_eq!(sweep(now + WAIT).await, 0);
        assert!(tell(DELETION, "reminder-0", now + WAIT).await);
        assert_eq!(sweep(now + 2 * WAIT).await, 0, "it goes on");
        assert!(tell(DELETION, "erasing", now + 2 * WAIT).await);
        assert!(!tell("deletions/other", "sealed", now + 2 * WAIT).await);
        // Something holds it for a year. Then both are taken back.
        let year = 15 * WAIT;
        assert_eq!(sweep(now + year).await, 0);
        assert!(tell(DELETION, "overdue", now + year).await);
        for deletion in [DELETION, "deletions/other"] {
            tell(deletion, "revoked", now + year).await;
        }
        assert_eq!(sweep(now + year).await, 1, "and is over");
    }
}

#[tokio::test]
async fn nobodys_address_is_erased_before_the_last_word_is_on_its_way() {
    for store in stores("last_words").await {
        let (post, now) = (Post::default(), SystemTime::now());
        let identity = Identity::new(store.clone(), post.couriers(), pepper(), Rules::default());
        identity.seal(&order("seal")).await.unwrap();
        for (name, kind) in [
            ("sealed", NoticeKind::Sealed),
            ("erasing", NoticeKind::Erasing),
        ] {
            identity.notify(&notice(name, kind)).await.unwrap();
        }
        let deferred = identity.act(&order("erase")).await.unwrap();
        assert!(
            matches!(&deferred, Answer::Deferred(it) if it.reason == "WAITING_FOR_LAST_LETTERS")
        );
        assert!(
            crate::left_over(&store, ACCOUNT)
                .await
                .unwrap()
                .categories
                .len()
                > 1
        );
        let retried_after = async |letters: &'static str| {
            sqlx::query(letters).execute(store.pool()).await.unwrap();
            match identity.act(&order("erase")).await.unwrap() {
                Answer::Deferred(deferred) => deferred.retry_after,
                other => panic!("{other:?}"),
            }
        };
        // It is being carried, which may take half a minute and mostly doesn't.
        let claimed = "UPDATE letter SET tries = 1, due_at = due_at + 30000000";
        assert!(retried_after(claimed).await < Duration::from_secs(10));
        // A gateway that says no: less and less often, and never longer than a day.
        let refused = "UPDATE letter SET tries = 20, due_at = due_at + 3600000000, made_at = made_at - 3600000000";
        assert_eq!(retried_after(refused).await, LAST_WORDS_LOOK_MAX);
        let mut connection = store.pool().acquire().await.unwrap();
        let later = last_words(&mut connection, ACCOUNT, now + 2 * LAST_WORDS_MAX).await;
        assert_eq!(later.unwrap(), None);
        drop(connection);
        // A day later, or where no clock can tell.
        sqlx::query("UPDATE letter SET tries = 0, made_at = made_at + 31536000000000")
            .execute(store.pool())
            .await
            .unwrap();
        let mut connection = store.pool().acquire().await.unwrap();
        let ahead = last_words(&mut connection, ACCOUNT, now).await;
        assert_eq!(ahead.unwrap(), None, "a clock that was ahead");
        sqlx::query("UPDATE letter SET made_at = made_at - 31536000000000")
            .execute(&mut *connection)
            .await
            .unwrap();
        let hour = Duration::from_secs(3_600);
        let slow = last_words(&mut connection, ACCOUNT, now + hour).await;
        assert_eq!(
            slow.unwrap(),
            Some(LAST_WORDS_LOOK_MAX),
            "less and less often"
        );
        drop(connection);
        // Carried: the other letters are no reason to wait.
        sqlx::query("DELETE FROM letter WHERE content LIKE '%\"ERASING\"%'")
            .execute(store.pool())
            .await
            .unwrap();
        let erased = identity.act(&order("erase")).await.unwrap();
        assert!(matches!(erased, Answer::Done(_)), "{erased:?}");
    }
}

#[tokio::test]
async fn the_last_word_waits_for_no_address_that_is_refused_for_good() {
    for store in stores("refused").await {
        let refusing = || {
            let mut courier = MockCourier::new();
            let refused = || Err(Fault::plain("550 5.1.1 no such user").lasting());
            courier.expect_carry().returning(move |_| refused());
            Arc::new(courier)
        };
        let couriers = Couriers::new(refusing(), refusing()).with_push(refusing());
        let rules = Rules::default();
        let identity = Identity::new(store.clone(), couriers.clone(), pepper(), rules);
        for (name, kind) in [
            ("overdue", NoticeKind::Overdue),
            ("erasing", NoticeKind::Erasing),
        ] {
            identity.notify(&notice(name, kind)).await.unwrap();
        }
        let by = (&couriers, &pepper());
        let now = SystemTime::now();
        delivery::carry_due(&store, by, &config(), &Delivery::default(), now)
            .await
            .unwrap();
        let letters = identity.letters().await.unwrap();
        assert_eq!((letters.waiting, letters.given_up), (3, 3), "only the last");
        let devices: Vec<(String,)> = sqlx::query_as("SELECT id FROM letter WHERE way = 'PUSH'")
            .fetch_all(store.pool())
            .await
            .unwrap();
        assert_eq!(devices, [], "nobody mends a session that is gone");
        let erased = identity.act(&order("erase")).await.unwrap();
        assert!(matches!(erased, Answer::Done(_)), "{erased:?}");
    }
}

#[tokio::test]
async fn a_memorial_and_its_end_are_told_to_everybody_once_each_and_nothing_else_is() {
    for store in stores("standings").await {
        let post = Post::default();
        let identity = Identity::new(store.clone(), post.couriers(), pepper(), Rules::default());
        // What is set, of which letters, and to how many: who was signed in is signed out by the first.
        for (generation, standing, told) in [
            (2, Standing::Memorialized, Some(("MEMORIALIZED", 4))),
            (2, Standing::Memorialized, None),
            (1, Standing::Active, None),
            (3, Standing::Memorialized, None),
            (4, Standing::Frozen, Some(("UNMEMORIALIZED", 3))),
            (5, Standing::Active, None),
            (6, Standing::Frozen, None),
            (7, Standing::Memorialized, Some(("MEMORIALIZED", 3))),
        ] {
            let set = SetStanding {
                account: ACCOUNT.to_owned(),
                generation,
                standing,
                recent_change: RECENT,
            };
            identity.set_standing(&set).await.unwrap();
            round(&store, &post, SystemTime::now()).await;
            let taken = post.taken();
            let kinds: Vec<_> = taken.values().map(|it| it.kind.as_str()).collect();
            let expected = told.map_or(Vec::new(), |(kind, letters)| vec![kind; letters]);
            assert_eq!(kinds, expected, "{set:?}");
        }
    }
}
