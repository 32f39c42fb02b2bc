use std::sync::{Arc, Mutex};
use std::time::Duration;

use farewell_kit::export::untold;
use farewell_kit::store::micros;
use farewell_kit::{
    CodeChannel, CodeKind, NoticeKind, ProofKind, RECENT_CHANGE_MAX, RetentionRule, StartingPoint,
    Term,
};
use jiff::tz::TimeZone;

use super::*;
use crate::courier::{Content, Letter, MockCourier};
use crate::credential::Cost;
use crate::sample::sample_with;
use crate::{
    BLOCKERS, LoginError, agree_to_deletion, change_password, close_case, end_guardianship,
    is_logged_in, left_over, log_in, open_case, register, revoke_grants, scratch, set_contact,
    set_frozen, set_guardian, set_risk_lock,
};

const ACCOUNT: &str = "a-4711";
const PHONE: &str = "+8613800000000";
const MAIL: &str = "li@example.com";
const PASSWORD: &str = "correct horse";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What the courier was given, latest last.
type Carried = Arc<Mutex<Vec<Letter>>>;

struct Case {
    store: Store,
    identity: Identity,
    carried: Carried,
    now: SystemTime,
}

impl Case {
    fn code(&self) -> String {
        let carried = self.carried.lock().unwrap();
        match &carried.last().unwrap().content {
            Content::Code { code, .. } => code.clone(),
            Content::Notice(_) => panic!("a notice"),
        }
    }

    fn letters(&self) -> usize {
        self.carried.lock().unwrap().len()
    }

    async fn send(&self, request_id: &str, after: Duration) -> CodeSent {
        self.sent(&send(request_id), after).await
    }

    /// Waits until the letter has arrived, or will not.
    async fn sent(&self, request: &SendCode, after: Duration) -> CodeSent {
        let sent = self.identity.send_code_at(request, self.now + after);
        let sent = sent.await.unwrap();
        self.identity.carried().await;
        sent
    }

    async fn checked(&self, request: &CheckProof, after: Duration) -> ProofChecked {
        let checked = self.identity.check_proof_at(request, self.now + after);
        checked.await.unwrap()
    }

    async fn check(&self, proof: &str, request_id: &str) -> ProofChecked {
        self.identity
            .check_proof_at(
                &check(ProofKind::SmsCode, proof, request_id),
                self.now + SECOND,
            )
            .await
            .unwrap()
    }

    async fn password(&self, proof: &str, request_id: &str) -> ProofChecked {
        self.identity
            .check_proof_at(&check(ProofKind::Password, proof, request_id), self.now)
            .await
            .unwrap()
    }

    fn wrong(&self) -> String {
        let right: u32 = self.code().parse().unwrap();
        format!("{:06}", (right + 1) % 1_000_000)
    }
}

fn hasher() -> Hasher {
    Hasher::new(Cost {
        memory_kib: 8,
        passes: 1,
    })
}

/// A courier that fails as often as it is told, and then keeps the letters.
fn courier(failures: usize, carried: &Carried) -> Couriers {
    let make = || {
        let mut courier = MockCourier::new();
        let (carried, failed) = (carried.clone(), Mutex::new(0));
        courier.expect_carry().returning(move |letter| {
            let mut failed = failed.lock().unwrap();
            if *failed < failures {
                *failed += 1;
                return Err(Fault::new("the gateway", "down"));
            }
            carried.lock().unwrap().push(letter.clone());
            Ok(())
        });
        Arc::new(courier)
    };
    Couriers::new(make(), make())
}

async fn cases(name: &str, failures: usize) -> Vec<Case> {
    let mut all = Vec::new();
    for store in scratch::stores(name).await {
        sample_with(&store, &hasher(), ACCOUNT, PHONE, MAIL, PASSWORD)
            .await
            .unwrap();
        let carried = Carried::default();
        let pepper = Pepper::new(*b"sixteen bytes or more").unwrap();
        let mut identity = Identity::new(
            store.clone(),
            courier(failures, &carried),
            pepper,
            Rules::default(),
        )
        .with_notices(notice::Config {
            links: Some("https://account.example.com/stay".to_owned()),
            ..notice::Config::default()
        });
        identity.hasher = hasher();
        all.push(Case {
            store,
            identity,
            carried,
            now: SystemTime::now(),
        });
    }
    all
}

fn order(command: &str) -> Order {
    order_of("d1", command)
}

fn order_of(deletion: &str, command: &str) -> Order {
    Order {
        horizon: None,
        retention: Vec::new(),
        ended_by: None,
        command: format!("deletions/{deletion}/commands/{command}"),
        account: ACCOUNT.to_owned(),
        deadline: None,
        devices: Vec::new(),
        traceparent: String::new(),
    }
}

fn send(request_id: &str) -> SendCode {
    SendCode {
        account: ACCOUNT.to_owned(),
        deletion: "deletions/d1".to_owned(),
        kind: CodeKind::Sms,
        request_id: request_id.to_owned(),
    }
}

fn check(kind: ProofKind, proof: &str, request_id: &str) -> CheckProof {
    CheckProof {
        account: ACCOUNT.to_owned(),
        deletion: "deletions/d1".to_owned(),
        kind,
        proof: proof.to_owned(),
        request_id: request_id.to_owned(),
    }
}

fn done(answer: Answer) -> Done {
    match answer {
        Answer::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

fn asked(account: &str, recent_change: Duration) -> CheckEligibility {
    CheckEligibility {
        account: account.to_owned(),
        recent_change,
    }
}

async fn codes(identity: &Identity) -> Vec<String> {
    identity
        .eligibility(&asked(ACCOUNT, WEEK))
        .await
        .unwrap()
        .into_iter()
        .map(|blocker| blocker.code)
        .collect()
}

#[tokio::test]
async fn a_sealed_account_logs_in_no_more_and_its_sessions_end() {
    for case in cases("sealed", 0).await {
        let session = log_in(&case.store, &hasher(), ACCOUNT, PASSWORD, "test")
            .await
            .unwrap();
        let before = left_over(&case.store, ACCOUNT).await.unwrap();
        case.identity.seal(&order("1-seal-identity")).await.unwrap();
        assert!(!is_logged_in(&case.store, &session).await.unwrap());
        let refused = log_in(&case.store, &hasher(), ACCOUNT, PASSWORD, "test").await;
        assert!(matches!(
            refused,
            Err(LoginError::Write(seal::Error::Sealed))
        ));
        let refused = set_contact(&case.store, ACCOUNT, CodeChannel::Sms, "+86").await;
        assert!(matches!(
            refused,
            Err(crate::ContactError::Write(seal::Error::Sealed))
        ));
        assert_eq!(left_over(&case.store, ACCOUNT).await.unwrap(), before);

        case.identity
            .unseal(&order("1-unseal-identity"))
            .await
            .unwrap();
        assert_eq!(left_over(&case.store, ACCOUNT).await.unwrap(), before);
        log_in(&case.store, &hasher(), ACCOUNT, PASSWORD, "test")
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_session_that_a_freeze_ended_stays_ended_whatever_is_lifted_afterwards() {
    for case in cases("frozen-sessions", 0).await {
        let seal = |deletion: &str| order_of(deletion, "1-seal-identity");
        let unseal = |deletion: &str| order_of(deletion, "1-unseal-identity");
        let log_in = async || {
            log_in(&case.store, &hasher(), ACCOUNT, PASSWORD, "test")
                .await
                .unwrap()
        };

        // Frozen because the phone was stolen; much later a deletion is taken back.
        let thief = log_in().await;
        stand(&case, 1, Standing::Frozen).await;
        stand(&case, 2, Standing::Active).await;
        let owner = log_in().await;
        done(case.identity.seal(&seal("d1")).await.unwrap());
        done(case.identity.unseal(&unseal("d1")).await.unwrap());
        assert!(is_logged_in(&case.store, &owner).await.unwrap());
        assert!(!is_logged_in(&case.store, &thief).await.unwrap());

        // The seal is lifted late, when the account is sealed for another deletion.
        done(case.identity.seal(&seal("d2")).await.unwrap());
        done(case.identity.seal(&seal("d3")).await.unwrap());
        done(case.identity.unseal(&unseal("d2")).await.unwrap());
        assert!(!is_logged_in(&case.store, &owner).await.unwrap());
        done(case.identity.unseal(&unseal("d3")).await.unwrap());
        assert!(is_logged_in(&case.store, &owner).await.unwrap());

        // Frozen while it is sealed: nobody is logged in when the seal is lifted.
        done(case.identity.seal(&seal("d4")).await.unwrap());
        stand(&case, 3, Standing::Frozen).await;
        done(case.identity.unseal(&unseal("d4")).await.unwrap());
        stand(&case, 4, Standing::Active).await;
        assert!(!is_logged_in(&case.store, &owner).await.unwrap());
    }
}

#[tokio::test]
async fn only_the_right_password_logs_in_and_only_an_open_account() {
    for case in cases("login", 0).await {
        let wrong = log_in(&case.store, &hasher(), ACCOUNT, "wrong", "test").await;
        assert!(matches!(wrong, Err(LoginError::Wrong)));
        let unknown = log_in(&case.store, &hasher(), "nobody", PASSWORD, "test").await;
        assert!(matches!(unknown, Err(LoginError::Wrong)));
        set_frozen(&case.store, ACCOUNT, true).await.unwrap();
        let frozen = log_in(&case.store, &hasher(), ACCOUNT, PASSWORD, "test").await;
        assert!(matches!(frozen, Err(LoginError::Locked)));
    }
}

#[tokio::test]
async fn erasing_leaves_nothing_and_nobody_registers_it_again() {
    for case in cases("erased", 0).await {
        case.send("r1", Duration::ZERO).await;
        case.check(&case.wrong(), "p1").await;
        case.password("wrong", "p2").await;
        let answer = done(case.identity.act(&order("1-erase-identity")).await.unwrap());
        assert_eq!(answer.outcome, Outcome::Erased);
        assert_eq!(
            (
                answer.counts["accounts"],
                answer.counts["contacts"],
                answer.counts["codes"]
            ),
            (1, 2, 1)
        );
        assert!(
            left_over(&case.store, ACCOUNT)
                .await
                .unwrap()
                .categories
                .is_empty()
        );
        assert_eq!(
            done(
                case.identity
                    .probe(&order("1-probe-identity"))
                    .await
                    .unwrap()
            )
            .outcome,
            Outcome::Clean
        );

        assert!(matches!(
            register(&case.store, ACCOUNT, "again").await,
            Err(seal::Error::Erased)
        ));
        // As if it had never been there, which is as if it were there.
        assert!(matches!(
            case.send("r2", Duration::ZERO).await,
            CodeSent::Sent { .. }
        ));
        assert_eq!(case.letters(), 1);
        assert_eq!(
            case.check("000000", "p3").await,
            ProofChecked::Wrong { tries_left: 4 }
        );
        assert!(
            left_over(&case.store, ACCOUNT)
                .await
                .unwrap()
                .categories
                .is_empty()
        );
    }
}

#[tokio::test]
async fn a_crash_before_the_answer_is_kept_changes_nothing() {
    for case in cases("crash", 0).await {
        let before = left_over(&case.store, ACCOUNT).await.unwrap();
        let order = order("1-erase-identity");
        let Begun::Open(mut work) = seal::erase(&case.store, &order).await.unwrap() else {
            panic!("never answered before");
        };
        let counts = erase(work.tx(), ACCOUNT).await.unwrap();
        drop(work);
        assert_eq!(left_over(&case.store, ACCOUNT).await.unwrap(), before);
        let first = case.identity.act(&order).await.unwrap();
        assert_eq!(first, Answer::Done(seal::erased(counts, Vec::new())));
        assert_eq!(case.identity.act(&order).await.unwrap(), first);
    }
}

/// Everything that can be in the way of one account.
async fn fill(case: &Case) {
    let store = &case.store;
    sqlx::query("DELETE FROM contact_change")
        .execute(store.pool())
        .await
        .unwrap();
    change_password(store, &hasher(), ACCOUNT, "another")
        .await
        .unwrap();
    set_contact(store, ACCOUNT, CodeChannel::Email, "new@example.com")
        .await
        .unwrap();
    grant(store, ACCOUNT, "an app").await.unwrap();
    set_frozen(store, ACCOUNT, true).await.unwrap();
    set_risk_lock(store, ACCOUNT, true).await.unwrap();
    for (kind, file) in [
        (crate::Case::LegalHold, "court 1"),
        (crate::Case::Fraud, "f-1"),
        (crate::Case::Fraud, "f-2"),
    ] {
        open_case(store, ACCOUNT, kind, file).await.unwrap();
        open_case(store, ACCOUNT, kind, file).await.unwrap();
    }
    set_guardian(store, "a-child", ACCOUNT).await.unwrap();
    set_guardian(store, ACCOUNT, "a-parent").await.unwrap();
    stand(case, 1, Standing::Memorialized).await;
}

async fn stand(case: &Case, generation: u64, standing: Standing) {
    let request = SetStanding {
        account: ACCOUNT.to_owned(),
        generation,
        standing,
        recent_change: WEEK,
    };
    case.identity.set_standing(&request).await.unwrap();
}

#[tokio::test]
async fn every_blocker_is_told_and_goes_with_its_remedy() {
    for case in cases("blockers", 0).await {
        let store = &case.store;
        assert_eq!(
            codes(&case.identity).await,
            Vec::<String>::new(),
            "the sample is free to go"
        );
        fill(&case).await;
        let told = case
            .identity
            .eligibility(&asked(ACCOUNT, WEEK))
            .await
            .unwrap();
        let (unknown, known) = BLOCKERS.split_last().unwrap();
        assert_eq!(codes(&case.identity).await, known);
        let counts: Vec<i64> = told.iter().map(|blocker| blocker.count).collect();
        assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 2, 1, 1]);
        for (place, blocker) in told.iter().enumerate() {
            match blocker.until {
                Some(until) => assert!(place < 2 && until > case.now + WEEK - SECOND),
                None => assert!(place >= 2),
            }
        }
        let nobody = case
            .identity
            .eligibility(&asked("nobody", WEEK))
            .await
            .unwrap();
        assert_eq!(nobody[0].code, *unknown);

        case.identity.seal(&order("1-seal-identity")).await.unwrap();
        let long_ago = "UPDATE credential SET changed_at = 1";
        sqlx::query(long_ago).execute(store.pool()).await.unwrap();
        let long_ago = "UPDATE contact_change SET changed_at = 1";
        sqlx::query(long_ago).execute(store.pool()).await.unwrap();
        revoke_grants(store, ACCOUNT).await.unwrap();
        set_frozen(store, ACCOUNT, false).await.unwrap();
        set_risk_lock(store, ACCOUNT, false).await.unwrap();
        stand(&case, 2, Standing::Active).await;
        for (kind, file, there) in [
            (crate::Case::LegalHold, "court 2", false),
            (crate::Case::LegalHold, "court 1", true),
            (crate::Case::Fraud, "f-1", true),
            (crate::Case::Fraud, "f-2", true),
        ] {
            let closed = close_case(store, ACCOUNT, kind, file).await.unwrap();
            assert_eq!(closed, there, "{file}");
        }
        set_guardian(store, "a-child", "a-parent").await.unwrap();
        assert!(!agree_to_deletion(store, "a-child", ACCOUNT).await.unwrap());
        assert!(agree_to_deletion(store, "a-parent", ACCOUNT).await.unwrap());
        assert_eq!(codes(&case.identity).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn who_asks_says_how_long_a_change_is_recent() {
    for case in cases("recent", 0).await {
        fill(&case).await;
        let day_ago = micros(case.now - DAY);
        for table in ["credential", "contact_change"] {
            let age = format!("UPDATE {table} SET changed_at = $1");
            let age = sqlx::query(sqlx::AssertSqlSafe(age)).bind(day_ago);
            age.execute(case.store.pool()).await.unwrap();
        }
        for (length, is_recent) in [
            (SECOND, false),
            (DAY - SECOND, false),
            // The test takes a while, too.
            (DAY + HOUR, true),
            (RECENT_CHANGE_MAX, true),
        ] {
            let asked = asked(ACCOUNT, length);
            let told = case.identity.eligibility(&asked).await.unwrap();
            for code in ["RECENT_PASSWORD_CHANGE", "RECENT_CONTACT_CHANGE"] {
                let blocker = told.iter().find(|it| it.code == code);
                assert_eq!(blocker.is_some(), is_recent, "{code} {length:?}");
                if let Some(blocker) = blocker {
                    assert_eq!(
                        blocker.until.map(micros),
                        Some(micros(case.now - DAY + length))
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_change_while_sealed_delays_the_deletion_and_the_same_address_is_no_change() {
    for case in cases("changes", 0).await {
        set_contact(&case.store, ACCOUNT, CodeChannel::Sms, PHONE)
            .await
            .unwrap();
        assert_eq!(codes(&case.identity).await, Vec::<String>::new());
        set_risk_lock(&case.store, ACCOUNT, true).await.unwrap();
        case.identity.seal(&order("1-seal-identity")).await.unwrap();
        change_password(&case.store, &hasher(), ACCOUNT, "another")
            .await
            .unwrap();
        assert_eq!(codes(&case.identity).await, ["RECENT_PASSWORD_CHANGE"]);
    }
}

#[tokio::test]
async fn an_account_that_is_being_deleted_does_not_move_and_may_once_that_is_taken_back() {
    for case in cases("moving", 0).await {
        let known = || case.identity.describe_account(ACCOUNT);
        case.identity.seal(&order("1-seal-identity")).await.unwrap();
        let moved = crate::move_away(&case.store, ACCOUNT, "eu").await;
        assert!(matches!(
            moved,
            Err(crate::MoveError::Closed(seal::Error::Sealed))
        ));
        assert!(known().await.unwrap().known);
        let unseal = order("1-unseal-identity");
        case.identity.unseal(&unseal).await.unwrap();
        crate::move_away(&case.store, ACCOUNT, "eu").await.unwrap();
        let elsewhere = known().await.unwrap().elsewhere;
        assert_eq!(elsewhere.as_deref(), Some("eu"));
    }
}

#[tokio::test]
async fn a_child_has_one_guardian_who_is_another_and_comes_of_age() {
    for case in cases("guardian", 0).await {
        let store = &case.store;
        assert!(set_guardian(store, ACCOUNT, ACCOUNT).await.is_err());
        set_guardian(store, ACCOUNT, "first").await.unwrap();
        assert!(agree_to_deletion(store, "first", ACCOUNT).await.unwrap());
        assert_eq!(codes(&case.identity).await, Vec::<String>::new());
        set_guardian(store, ACCOUNT, "second").await.unwrap();
        assert_eq!(
            codes(&case.identity).await,
            ["CHILD_NEEDS_GUARDIAN"],
            "whoever answers for the child now was not asked"
        );
        assert!(end_guardianship(store, ACCOUNT).await.unwrap());
        assert!(!end_guardianship(store, ACCOUNT).await.unwrap());
        assert_eq!(codes(&case.identity).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_guardian_agrees_to_one_deletion_and_not_to_the_next() {
    for case in cases("agreement", 0).await {
        let store = &case.store;
        set_guardian(store, ACCOUNT, "a-parent").await.unwrap();
        let agree = async || agree_to_deletion(store, "a-parent", ACCOUNT).await.unwrap();
        assert!(agree().await);
        case.identity.seal(&order("1-seal-identity")).await.unwrap();
        assert_eq!(codes(&case.identity).await, Vec::<String>::new());
        case.identity
            .unseal(&order("1-unseal-identity"))
            .await
            .unwrap();
        assert_eq!(codes(&case.identity).await, ["CHILD_NEEDS_GUARDIAN"]);

        // One that came to nothing before it was sealed: that is heard of by its notice, once.
        assert!(agree().await);
        let ended = |deletion: &str, kind| Notice {
            account: ACCOUNT.to_owned(),
            deletion: format!("deletions/{deletion}"),
            name: "it".to_owned(),
            kind,
            revocable_until: None,
            deadline: None,
            revocable: false,
            reasons: Vec::new(),
            recent_change: WEEK,
            time_zone: TimeZone::UTC,
        };
        let waits = ended("d2", NoticeKind::Waiting);
        case.identity.notify(&waits).await.unwrap();
        assert_eq!(codes(&case.identity).await, Vec::<String>::new());
        let revoked = ended("d3", NoticeKind::Revoked);
        case.identity.notify(&revoked).await.unwrap();
        assert_eq!(codes(&case.identity).await, ["CHILD_NEEDS_GUARDIAN"]);
        assert!(agree().await);
        case.identity.notify(&revoked).await.unwrap();
        assert_eq!(codes(&case.identity).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_open_case_keeps_what_is_left_and_whatever_else_was_there_goes() {
    for case in cases("open-case", 0).await {
        fill(&case).await;
        let before = left_over(&case.store, ACCOUNT).await.unwrap();
        let erase = order("1-erase-identity");
        for (reason, kind, file) in [
            ("LEGAL_HOLD", crate::Case::LegalHold, "court 1"),
            ("FRAUD_CASE", crate::Case::Fraud, "f-1"),
            ("FRAUD_CASE", crate::Case::Fraud, "f-2"),
        ] {
            let answer = case.identity.act(&erase).await.unwrap();
            assert!(
                matches!(&answer, Answer::Refused { reason: told, .. } if told == reason),
                "{answer:?}"
            );
            assert!(close_case(&case.store, ACCOUNT, kind, file).await.unwrap());
        }
        let erased = done(case.identity.act(&erase).await.unwrap());
        for held in before.categories.iter().filter(|it| it.category != "cases") {
            assert_eq!(erased.counts[&held.category], held.count);
        }
        assert_eq!(erased.counts["guardianships"], 2);
        let left = left_over(&case.store, ACCOUNT).await.unwrap();
        assert_eq!(left.categories, Vec::new());
        let late = open_case(&case.store, ACCOUNT, crate::Case::LegalHold, "court 3").await;
        assert!(matches!(late, Err(seal::Error::Erased)));
        assert!(matches!(
            set_guardian(&case.store, "a-child", ACCOUNT).await,
            Err(seal::Error::Erased)
        ));
    }
}

/// As policies name it, for so many days.
fn held_back(class: &str, days: u32, until: Option<SystemTime>) -> RetentionRule {
    RetentionRule {
        class: class.to_owned(),
        legal_basis: "a law".to_owned(),
        from: StartingPoint::Erasure,
        term: Term::Days(days),
        time_zone: TimeZone::UTC,
        until,
    }
}

#[tokio::test]
async fn an_erasure_that_is_repeated_holds_names_back_until_their_first_end_and_no_longer() {
    for case in cases("again", 0).await {
        fill(&case).await;
        let until = SystemTime::now() + DAY * 3;
        let over = SystemTime::now() - DAY;
        let again = Order {
            retention: vec![
                held_back("quarantined_user_name", 180, Some(until)),
                held_back("quarantined_phone", 30, Some(over)),
            ],
            ended_by: Some(SystemTime::now()),
            ..order("32769-erase-identity")
        };
        for (kind, file) in [
            (crate::Case::LegalHold, "court 1"),
            (crate::Case::Fraud, "f-1"),
            (crate::Case::Fraud, "f-2"),
        ] {
            close_case(&case.store, ACCOUNT, kind, file).await.unwrap();
        }
        let answer = done(case.identity.act(&again).await.unwrap());
        let kept: Vec<_> = answer
            .retained
            .iter()
            .map(|kept| (kept.class.as_str(), kept.count, micros(kept.until)))
            .collect();
        assert_eq!(kept, [("quarantined_user_name", 1, micros(until))]);
        for (kind, value, expected) in [
            (IdentifierKind::Phone, PHONE, IdentifierStanding::Free),
            (IdentifierKind::Email, MAIL, IdentifierStanding::Free),
        ] {
            let standing = case.identity.check_identifier(kind, value).await.unwrap();
            assert_eq!(standing, expected);
        }
    }
}

#[tokio::test]
async fn an_expiry_that_is_repeated_ends_what_is_named_with_its_end_and_nothing_else() {
    for case in cases("expired-again", 0).await {
        let rules = |until| {
            ["quarantined_user_name", "quarantined_phone"]
                .map(|class| held_back(class, 30, until))
                .to_vec()
        };
        let erase = Order {
            retention: rules(None),
            ..order("1-erase-identity")
        };
        let kept = |done: Done| -> Vec<String> {
            let kept = done.retained.into_iter();
            kept.map(|kept| kept.class).collect()
        };
        let both = ["quarantined_phone", "quarantined_user_name"];
        assert_eq!(kept(done(case.identity.act(&erase).await.unwrap())), both);
        let now = SystemTime::now();
        let ahead = held_back("quarantined_phone", 30, Some(now + DAY));
        let past = held_back("quarantined_phone", 30, Some(now - DAY));
        for (command, retention, left) in [
            ("32769-expire-identity", vec![], &both[..]),
            ("32770-expire-identity", rules(None), &both),
            ("32771-expire-identity", vec![ahead], &both),
            ("32772-expire-identity", vec![past], &both[1..]),
        ] {
            let expire = Order {
                retention,
                ended_by: Some(now),
                ..order(command)
            };
            let said = case.identity.expire(&expire).await.unwrap();
            assert_eq!(kept(done(said)), left, "{command}");
        }
    }
}

#[tokio::test]
async fn what_is_held_back_is_known_to_nobody_but_who_asks_for_the_name() {
    for case in cases("unknown", 0).await {
        fill(&case).await;
        for (kind, file) in [
            (crate::Case::LegalHold, "court 1"),
            (crate::Case::Fraud, "f-1"),
            (crate::Case::Fraud, "f-2"),
        ] {
            close_case(&case.store, ACCOUNT, kind, file).await.unwrap();
        }
        let erase = Order {
            retention: vec![held_back("quarantined_phone", 30, None)],
            ..order("1-erase-identity")
        };
        let answer = done(case.identity.act(&erase).await.unwrap());
        assert_eq!(answer.retained.len(), 1);
        assert_eq!(
            case.identity.inventory(ACCOUNT).await.unwrap().categories,
            []
        );
        assert_eq!(codes(&case.identity).await, ["UNKNOWN_ACCOUNT"]);
        let part = case.identity.export_part(ACCOUNT, "").await.unwrap();
        assert!(part.pieces.is_empty() && part.categories.is_empty());
        // Of another deletion nothing is kept, whoever names the account.
        let other = order_of("d2", "1-probe-identity");
        let probe = done(case.identity.probe(&other).await.unwrap());
        assert_eq!((probe.outcome, probe.retained), (Outcome::Clean, vec![]));
    }
}

#[tokio::test]
async fn the_right_code_is_right_once_and_its_request_always() {
    for case in cases("right", 0).await {
        let sent = case.send("r1", Duration::ZERO).await;
        let expected = CodeSent::Sent {
            expires: case.now + Duration::from_secs(600),
            next_send: case.now + SECOND * 60,
        };
        assert_eq!(micros_of(sent), micros_of(expected));
        let code = case.code();
        assert_eq!(case.check(&code, "p1").await, ProofChecked::Right);
        assert_eq!(case.check(&code, "p1").await, ProofChecked::Right);
        assert_eq!(
            case.check(&code, "p2").await,
            ProofChecked::Expired,
            "single use"
        );
        assert_eq!(case.check(&code, "p2").await, ProofChecked::Expired);
    }
}

#[tokio::test]
async fn a_code_is_for_its_own_deletion_channel_and_account() {
    for case in cases("bound", 0).await {
        case.send("r1", Duration::ZERO).await;
        let mut other = check(ProofKind::SmsCode, &case.code(), "p1");
        other.deletion = "deletions/d2".to_owned();
        assert_eq!(
            case.identity
                .check_proof_at(&other, case.now)
                .await
                .unwrap(),
            ProofChecked::Expired
        );
        let mail = check(ProofKind::EmailCode, &case.code(), "p1");
        assert_eq!(
            case.identity.check_proof_at(&mail, case.now).await.unwrap(),
            ProofChecked::Expired
        );
        sample_with(&case.store, &hasher(), "another", PHONE, MAIL, PASSWORD)
            .await
            .unwrap();
        let mut account = check(ProofKind::SmsCode, &case.code(), "p1");
        account.account = "another".to_owned();
        assert_eq!(
            case.identity
                .check_proof_at(&account, case.now)
                .await
                .unwrap(),
            ProofChecked::Expired
        );
    }
}

#[tokio::test]
async fn wrong_tries_are_counted_once_each_and_then_the_code_is_locked() {
    for case in cases("tries", 0).await {
        case.send("r1", Duration::ZERO).await;
        let wrong = case.wrong();
        for tries_left in (0..5).rev() {
            let request_id = format!("p{tries_left}");
            assert_eq!(
                case.check(&wrong, &request_id).await,
                ProofChecked::Wrong { tries_left }
            );
            assert_eq!(
                case.check(&wrong, &request_id).await,
                ProofChecked::Wrong { tries_left },
                "counted once"
            );
        }
        let locked = ProofChecked::Locked {
            next_try: stored(case.now + SECOND * 60),
        };
        assert_eq!(case.check(&case.code(), "late").await, locked);
        case.send("r2", SECOND * 61).await;
        assert_eq!(case.check(&case.code(), "new").await, ProofChecked::Right);
    }
}

#[tokio::test]
async fn a_try_is_counted_before_it_is_compared() {
    for case in cases("counted", 0).await {
        case.send("r1", Duration::ZERO).await;
        // The comparison fails: the stored hash is no hash.
        sqlx::query("UPDATE credential SET hash = 'broken'")
            .execute(case.store.pool())
            .await
            .unwrap();
        let request = check(ProofKind::Password, PASSWORD, "p1");
        assert!(
            case.identity
                .check_proof_at(&request, case.now)
                .await
                .is_err()
        );
        let (tries,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM attempt")
            .fetch_one(case.store.pool())
            .await
            .unwrap();
        assert_eq!(tries, 1);
        // Healed, the same request goes on where it was, and counts no second try.
        change_password(&case.store, &hasher(), ACCOUNT, PASSWORD)
            .await
            .unwrap();
        assert_eq!(case.password(PASSWORD, "p1").await, ProofChecked::Right);
        assert_eq!(
            case.password("wrong", "p2").await,
            ProofChecked::Wrong { tries_left: 3 }
        );
    }
}

#[tokio::test]
async fn a_password_has_its_own_tries_for_each_deletion() {
    for case in cases("password", 0).await {
        for tries_left in (0..5).rev() {
            let answer = case.password("wrong", &format!("p{tries_left}")).await;
            assert_eq!(answer, ProofChecked::Wrong { tries_left });
        }
        let locked = ProofChecked::Locked {
            next_try: stored(case.now + DAY),
        };
        assert_eq!(case.password(PASSWORD, "late").await, locked);
        let mut other = check(ProofKind::Password, PASSWORD, "p1");
        other.deletion = "deletions/d2".to_owned();
        assert_eq!(
            case.identity
                .check_proof_at(&other, case.now)
                .await
                .unwrap(),
            ProofChecked::Right
        );
    }
}

#[tokio::test]
async fn a_code_expires() {
    for case in cases("expires", 0).await {
        case.send("r1", Duration::ZERO).await;
        let late = check(ProofKind::SmsCode, &case.code(), "p1");
        let answer = case
            .identity
            .check_proof_at(&late, case.now + SECOND * 600)
            .await
            .unwrap();
        assert_eq!(answer, ProofChecked::Expired);
        let in_time = check(ProofKind::SmsCode, &case.code(), "p2");
        assert_eq!(
            case.identity
                .check_proof_at(&in_time, case.now + SECOND * 599)
                .await
                .unwrap(),
            ProofChecked::Right
        );
    }
}

#[tokio::test]
async fn the_same_request_sends_one_code_and_another_has_to_wait() {
    for case in cases("wait", 0).await {
        let sent = case.send("r1", Duration::ZERO).await;
        assert_eq!(micros_of(case.send("r1", SECOND).await), micros_of(sent));
        assert!(matches!(
            case.send("r2", SECOND * 59).await,
            CodeSent::TooSoon { .. }
        ));
        assert_eq!(case.letters(), 1);
        assert!(matches!(
            case.send("r2", SECOND * 61).await,
            CodeSent::Sent { .. }
        ));
        assert_eq!(case.letters(), 2);
        // Only the newest counts; a repeat of the older request tells of the older code and sends nothing.
        case.send("r1", SECOND * 62).await;
        assert_eq!(case.letters(), 2);
    }
}

#[tokio::test]
async fn an_account_gets_so_many_codes_a_day_and_no_more() {
    for case in cases("day", 0).await {
        for number in 0..10 {
            assert!(matches!(
                case.send(&format!("r{number}"), SECOND * 61 * number).await,
                CodeSent::Sent { .. }
            ));
        }
        let next = case.send("r10", SECOND * 61 * 10).await;
        let CodeSent::TooSoon { next_send } = next else {
            panic!("{next:?}")
        };
        assert!(next_send > case.now + SECOND * 86_000);
    }
}

#[tokio::test]
async fn a_courier_that_fails_is_asked_again_by_the_same_request() {
    for case in cases("courier", 1).await {
        case.send("r1", Duration::ZERO).await;
        assert_eq!(case.letters(), 1, "asked once more");
        assert_eq!(case.check(&case.code(), "p1").await, ProofChecked::Right);
    }
    for case in cases("courier", 2).await {
        let sent = case.send("r1", Duration::ZERO).await;
        assert_eq!(case.letters(), 0);
        let again = case.send("r1", SECOND).await;
        assert_eq!((case.letters(), micros_of(again)), (1, micros_of(sent)));
        assert_eq!(case.check(&case.code(), "p1").await, ProofChecked::Right);
    }
}

#[tokio::test]
async fn a_crash_between_the_row_and_the_courier_is_healed_by_asking_again() {
    for case in cases("healed", 0).await {
        case.send("r1", Duration::ZERO).await;
        let lost = case.code();
        // As if the process had died before the courier answered.
        sqlx::query("UPDATE code SET delivered = 0")
            .execute(case.store.pool())
            .await
            .unwrap();
        case.send("r1", SECOND).await;
        assert_eq!(case.letters(), 1, "still on its way");
        case.send("r1", SECOND * 31).await;
        assert_eq!(case.letters(), 2);
        assert_eq!(case.check(&case.code(), "p1").await, ProofChecked::Right);
        assert!(lost.len() == 6 && lost.bytes().all(|digit| digit.is_ascii_digit()));
    }
}

#[tokio::test]
async fn no_address_means_no_code_and_shows_nothing() {
    for case in cases("address", 0).await {
        sqlx::query("DELETE FROM contact WHERE channel = 'SMS'")
            .execute(case.store.pool())
            .await
            .unwrap();
        let sent = case.send("r1", Duration::ZERO).await;
        assert!(matches!(sent, CodeSent::Sent { .. }), "nobody is told");
        assert_eq!(case.letters(), 0);
    }
}

#[tokio::test]
async fn neither_code_nor_password_is_stored() {
    for case in cases("stored", 0).await {
        case.send("r1", Duration::ZERO).await;
        case.password(PASSWORD, "p1").await;
        let (mac, hash): (Vec<u8>, String) =
            sqlx::query_as("SELECT mac, hash FROM code, credential")
                .fetch_one(case.store.pool())
                .await
                .unwrap();
        assert_eq!(mac.len(), 32);
        assert!(hash.starts_with("$argon2id$") && !hash.contains(PASSWORD));
    }
}

#[tokio::test]
async fn a_sample_made_twice_is_made_once() {
    for case in cases("sample", 0).await {
        let before = left_over(&case.store, ACCOUNT).await.unwrap();
        sample_with(&case.store, &hasher(), ACCOUNT, PHONE, MAIL, PASSWORD)
            .await
            .unwrap();
        assert_eq!(left_over(&case.store, ACCOUNT).await.unwrap(), before);
    }
}

#[test]
fn a_short_pepper_is_refused_and_none_is_shown() {
    assert!(Pepper::new(*b"fifteen bytes..").is_err());
    let pepper = Pepper::new(*b"sixteen bytes or more").unwrap();
    assert!(!format!("{pepper:?}").contains("115"));
}

/// The database keeps microseconds.
fn stored(at: SystemTime) -> SystemTime {
    farewell_kit::store::time(micros(at))
}

fn micros_of(sent: CodeSent) -> (i64, i64) {
    match sent {
        CodeSent::Sent { expires, next_send } => (micros(expires), micros(next_send)),
        other => panic!("{other:?}"),
    }
}

mod guesses;
mod links;
mod nobody;

#[tokio::test]
async fn every_category_of_the_inventory_is_exported_or_left_out_for_a_reason() {
    for store in scratch::stores("export_coverage").await {
        let inventory = holding::categories(&store).await.unwrap();
        let told = EXPORTED.iter().map(|table| table.category);
        let untold = untold(inventory.iter().map(String::as_str), told, LEFT_OUT);
        assert_eq!(untold, [""; 0]);
    }
}
