//! What a caller can ask for, and what it is told when it asks wrongly.

use std::collections::BTreeMap;
use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_core::Policy;

use farewell_proto::deletion::v1::{
    Channel, CheckEligibilityRequest, Consent, CreateDeletionRequest, Deletion, Factor,
    GetCertificateRequest, GetInventoryRequest, LegState, ListDeletionsRequest,
    RevokeDeletionRequest, SendCodeRequest, State, VerifyFactorRequest, WatchDeletionRequest,
};
use farewell_proto::participant::v1::reply::Answer;
use farewell_proto::participant::v1::{
    CheckProofReply, EligibilityBlocker, EligibilityReply, ProofResult, SendCodeReply,
    SendCodeResult, Verb,
};
use farewell_runtime::server::Security;
use farewell_tests::caller::{Caller, conditions, fresh, request};
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::honest::{Honest, Manners};
use farewell_tests::ledger::{self, Place};
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::wait::{PATIENCE, SILENCE, until};
use farewell_tests::{audit, policy};
use prost_types::Timestamp;
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Status};

const NIL: &str = "00000000-0000-0000-0000-000000000000";
const NOBODY: &str = "deletions/01890a5d-ac96-774b-bcce-b302099a8057";
const STAGES: &[&[&str]] = &[&["cloud"], &["identity"]];

/// A policy whose requests wait to be verified.
fn verified() -> Policy {
    policy::verified(STAGES)
}

fn timestamp() -> Timestamp {
    SystemTime::now().into()
}

fn consent() -> Consent {
    Consent {
        text: "data-loss-warning".to_owned(),
        version: 1,
        time: Some(timestamp()),
    }
}

/// What is kept, as far as anybody can see it.
async fn rows(caller: &Caller, place: &Place) -> Result<String> {
    Ok(match place.open().await? {
        Some(kept) => ledger::rows(&*kept).await?,
        None => format!("{:?}", caller.list(&[]).await?),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_not_complete_is_refused_by_its_field_and_leaves_nothing_behind()
-> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(verified(), &place.url).await?;
        let caller = coordinator.caller()?;
        caller.delete("somebody.else").await?;
        let before = rows(&caller, &place).await?;

        let account = |account: &str| CreateDeletionRequest {
            account: account.to_owned(),
            ..request("alice")
        };
        let id = |request_id: &str| CreateDeletionRequest {
            request_id: request_id.to_owned(),
            ..request("alice")
        };
        let channel = |channel: i32| CreateDeletionRequest {
            channel,
            ..request("alice")
        };
        let consents = |consents: Vec<Consent>| CreateDeletionRequest {
            consents,
            ..request("alice")
        };
        let text = |text: &str| Consent {
            text: text.to_owned(),
            ..consent()
        };
        let at = |time: Option<Timestamp>| Consent { time, ..consent() };
        let long = format!("accounts/{}", "a".repeat(129));
        let cases = [
            ("no account", account(""), "account"),
            ("an account without id", account("accounts/"), "account"),
            ("an account without prefix", account("alice"), "account"),
            ("another prefix", account("Accounts/alice"), "account"),
            ("an oversized account", account(&long), "account"),
            (
                "an account with a space",
                account("accounts/al ice"),
                "account",
            ),
            (
                "an account with a slash",
                account("accounts/alice/bob"),
                "account",
            ),
            (
                "an account beyond ASCII",
                account("accounts/ålice"),
                "account",
            ),
            (
                "an account with a zero byte",
                account("accounts/al\0ice"),
                "account",
            ),
            ("a star", account("accounts/*"), "account"),
            ("no request id", id(""), "request_id"),
            ("the nil request id", id(NIL), "request_id"),
            ("garbage for a request id", id("42"), "request_id"),
            ("no channel", channel(0), "channel"),
            ("an unknown channel", channel(77), "channel"),
            ("a negative channel", channel(-1), "channel"),
            (
                "a channel that takes no requests",
                channel(Channel::Legacy.into()),
                "channel",
            ),
            (
                "too many consents",
                consents(vec![consent(); 33]),
                "consents",
            ),
            (
                "a consent to nothing",
                consents(vec![text("")]),
                "consents[0].text",
            ),
            (
                "a consent in capitals",
                consents(vec![text("LOSS")]),
                "consents[0].text",
            ),
            (
                "a long consent",
                consents(vec![text(&"a".repeat(65))]),
                "consents[0].text",
            ),
            (
                "a consent without version",
                consents(vec![
                    consent(),
                    Consent {
                        version: 0,
                        ..consent()
                    },
                ]),
                "consents[1].version",
            ),
            (
                "a consent at no time",
                consents(vec![at(None)]),
                "consents[0].time",
            ),
            (
                "a consent at zero",
                consents(vec![at(Some(Timestamp {
                    seconds: 0,
                    nanos: 0,
                }))]),
                "consents[0].time",
            ),
            (
                "a consent at negative nanoseconds",
                consents(vec![at(Some(Timestamp {
                    seconds: 5,
                    nanos: -1,
                }))]),
                "consents[0].time",
            ),
            (
                "a consent at the end of numbers",
                consents(vec![at(Some(Timestamp {
                    seconds: i64::MAX,
                    nanos: 0,
                }))]),
                "consents[0].time",
            ),
        ];
        for (what, request, field) in cases {
            bad_field(what, caller.ask(request).await, "INVALID_FIELD", field);
        }
        let heavy = caller.ask(consents(vec![text(&"a".repeat(70_000))])).await;
        bad_field("a heavy message", heavy, "MESSAGE_TOO_LARGE", "request");
        let heavier = caller.ask(account(&"a".repeat(5 * 1024 * 1024))).await;
        let status = heavier.expect_err("a message above the transport's limit");
        assert_eq!(status.code(), Code::OutOfRange, "{status:?}");

        assert_eq!(rows(&caller, &place).await?, before, "{}", place.url);
        caller.delete("alice").await?;
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_method_names_the_field_that_is_wrong_and_changes_nothing() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(verified(), &place.url).await?;
        let caller = coordinator.caller()?;
        let name = caller.delete("alice").await?;
        let web = CreateDeletionRequest {
            channel: Channel::Web.into(),
            ..request("bob")
        };
        let web = caller.ask(web).await?.name;
        let before = rows(&caller, &place).await?;

        let names = [
            "",
            "deletions/",
            "deletions/garbage",
            "accounts/alice",
            "deletions/{id}",
            "deletions/-x",
        ];
        let nil = format!("deletions/{NIL}");
        let with_tail = format!("{name}/legs");
        for bad in names
            .iter()
            .copied()
            .chain([nil.as_str(), with_tail.as_str(), "deletions/-"])
        {
            let what = format!("the name `{bad}`");
            bad_field(&what, caller.get(bad).await, "INVALID_FIELD", "name");
            bad_field(&what, caller.revoke(bad).await, "INVALID_FIELD", "name");
            let sent = caller.send_code(bad, Factor::SmsCode).await;
            bad_field(&what, sent, "INVALID_FIELD", "name");
            let shown = caller.verify(bad, Factor::SmsCode, "1").await;
            bad_field(&what, shown, "INVALID_FIELD", "name");
            bad_field(
                &what,
                certificate(&caller, bad).await,
                "INVALID_FIELD",
                "name",
            );
            if bad != "deletions/-" {
                let watched = watch(&caller, bad).await.map(drop);
                bad_field(&what, watched, "INVALID_FIELD", "name");
            }
        }
        let unknown = "DELETION_NOT_FOUND";
        refused("get", caller.get(NOBODY).await, Code::NotFound, unknown);
        refused(
            "revoke",
            caller.revoke(NOBODY).await,
            Code::NotFound,
            unknown,
        );
        let sent = caller.send_code(NOBODY, Factor::SmsCode).await;
        refused("send a code", sent, Code::NotFound, unknown);
        let shown = caller.verify(NOBODY, Factor::SmsCode, "1").await;
        refused("verify", shown, Code::NotFound, unknown);
        refused(
            "certify",
            certificate(&caller, NOBODY).await,
            Code::NotFound,
            unknown,
        );
        refused(
            "watch",
            watch(&caller, NOBODY).await.map(drop),
            Code::NotFound,
            unknown,
        );

        for bad in ["", "garbage", NIL] {
            let revoke = RevokeDeletionRequest {
                link_token: String::new(),
                request_id: bad.to_owned(),
                name: name.clone(),
                case: String::new(),
            };
            let revoked = caller.api.clone().revoke_deletion(revoke).await;
            bad_field("revoke", revoked, "INVALID_FIELD", "request_id");
            let send = SendCodeRequest {
                request_id: bad.to_owned(),
                name: name.clone(),
                factor: Factor::SmsCode.into(),
                ..Default::default()
            };
            let sent = caller.api.clone().send_code(send).await;
            bad_field("send a code", sent, "INVALID_FIELD", "request_id");
            let show = VerifyFactorRequest {
                request_id: bad.to_owned(),
                name: name.clone(),
                factor: Factor::SmsCode.into(),
                proof: "1".to_owned(),
                ..Default::default()
            };
            let shown = caller.api.clone().verify_factor(show).await;
            bad_field("verify", shown, "INVALID_FIELD", "request_id");
        }

        let sent = caller.send_code(&name, Factor::Unspecified).await;
        bad_field("a code for no factor", sent, "INVALID_FIELD", "factor");
        let shown = caller.verify(&name, Factor::Unspecified, "1").await;
        bad_field("a proof of no factor", shown, "INVALID_FIELD", "factor");
        let unknown = SendCodeRequest {
            request_id: fresh(),
            name: name.clone(),
            factor: 9,
            ..Default::default()
        };
        let sent = caller.api.clone().send_code(unknown).await;
        bad_field("an unknown factor", sent, "INVALID_FIELD", "factor");
        let sent = caller.send_code(&web, Factor::Password).await;
        bad_field("a code for a password", sent, "INVALID_FIELD", "factor");
        let sent = caller.send_code(&name, Factor::EmailCode).await;
        bad_field(
            "another channel's factor",
            sent,
            "FACTOR_NOT_REQUIRED",
            "factor",
        );
        let shown = caller.verify(&name, Factor::Password, "1").await;
        bad_field(
            "another channel's factor",
            shown,
            "FACTOR_NOT_REQUIRED",
            "factor",
        );
        let shown = caller.verify(&name, Factor::SmsCode, "").await;
        bad_field("no proof", shown, "INVALID_FIELD", "proof");
        let shown = caller
            .verify(&name, Factor::SmsCode, &"1".repeat(257))
            .await;
        bad_field("a long proof", shown, "INVALID_FIELD", "proof");

        for bad in ["", "alice", "accounts/", "accounts/a b"] {
            let check = CheckEligibilityRequest {
                account: bad.to_owned(),
            };
            let checked = caller.api.clone().check_eligibility(check).await;
            bad_field("check", checked, "INVALID_FIELD", "account");
            let look = GetInventoryRequest {
                account: bad.to_owned(),
            };
            let looked = caller.api.clone().get_inventory(look).await;
            bad_field("inventory", looked, "INVALID_FIELD", "account");
        }

        let page = ListDeletionsRequest::default();
        for page_size in [-1, 501, i32::MIN, i32::MAX] {
            let list = ListDeletionsRequest {
                page_size,
                ..page.clone()
            };
            bad_field(
                "a page size",
                caller.page(list).await,
                "INVALID_FIELD",
                "page_size",
            );
        }
        for state in [0, 77, -1] {
            let list = ListDeletionsRequest {
                states: vec![state],
                ..page.clone()
            };
            bad_field(
                "a state",
                caller.page(list).await,
                "INVALID_FIELD",
                "states",
            );
        }
        let list = ListDeletionsRequest {
            account: "alice".to_owned(),
            ..page.clone()
        };
        bad_field(
            "a filter",
            caller.page(list).await,
            "INVALID_FIELD",
            "account",
        );
        let long = "0".repeat(48);
        for token in ["garbage", "00", "ééé", long.as_str()] {
            let list = ListDeletionsRequest {
                page_token: token.to_owned(),
                ..page.clone()
            };
            bad_field(
                token,
                caller.page(list).await,
                "PAGE_TOKEN_MISMATCH",
                "page_token",
            );
        }
        let first = ListDeletionsRequest {
            page_size: 1,
            ..page.clone()
        };
        let (_, token) = caller.page(first).await?;
        ensure!(!token.is_empty(), "two deletions and one row in a page");
        let other = ListDeletionsRequest {
            states: vec![State::Purged.into()],
            page_token: token.clone(),
            ..page.clone()
        };
        let answer = caller.page(other).await;
        bad_field(
            "a token of another query",
            answer,
            "PAGE_TOKEN_MISMATCH",
            "page_token",
        );
        let other = ListDeletionsRequest {
            account: "accounts/alice".to_owned(),
            page_token: token,
            ..page
        };
        let answer = caller.page(other).await;
        bad_field(
            "a token of another account",
            answer,
            "PAGE_TOKEN_MISMATCH",
            "page_token",
        );

        assert_eq!(rows(&caller, &place).await?, before, "{}", place.url);
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_gets_the_same_answer_and_its_id_serves_for_nothing_else() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(verified(), &place.url).await?;
        let caller = coordinator.caller()?;
        let first = request("alice");
        let deletion = caller.ask(first.clone()).await?;
        assert_eq!(caller.ask(first.clone()).await?, deletion);

        let reused = |what: &str, refusal: Result<(), Status>| {
            refused(what, refusal, Code::AlreadyExists, "REQUEST_ID_REUSED")
        };
        let other = CreateDeletionRequest {
            account: "accounts/bob".to_owned(),
            ..first.clone()
        };
        reused("another account", caller.ask(other).await.map(drop));
        let other = CreateDeletionRequest {
            channel: Channel::Web.into(),
            ..first.clone()
        };
        reused("another channel", caller.ask(other).await.map(drop));
        let other = CreateDeletionRequest {
            consents: vec![consent()],
            ..first.clone()
        };
        reused("a consent more", caller.ask(other).await.map(drop));

        let mut api = caller.api.clone();
        let revoke = |request_id: &str, name: &str| RevokeDeletionRequest {
            link_token: String::new(),
            request_id: request_id.to_owned(),
            name: name.to_owned(),
            case: String::new(),
        };
        let answer = api
            .revoke_deletion(revoke(&first.request_id, &deletion.name))
            .await;
        reused("another method", answer.map(drop));
        assert_eq!(
            caller.get(&deletion.name).await?.state(),
            State::AwaitingVerification
        );

        let bob = caller.delete("bob").await?;
        let id = fresh();
        let revoked = api
            .revoke_deletion(revoke(&id, &deletion.name))
            .await?
            .into_inner();
        let again = api
            .revoke_deletion(revoke(&id, &deletion.name))
            .await?
            .into_inner();
        assert_eq!(revoked, again);
        assert_eq!(revoked.deletion.map(|it| it.state()), Some(State::Revoked));
        reused(
            "another deletion",
            api.revoke_deletion(revoke(&id, &bob)).await.map(drop),
        );
        let other = CreateDeletionRequest {
            request_id: id,
            ..request("carol")
        };
        reused("a revoke's id", caller.ask(other).await.map(drop));
        assert_eq!(caller.get(&bob).await?.state(), State::AwaitingVerification);
        // The answer is that of the request, wherever its deletion has gone since.
        assert_eq!(caller.ask(first).await?.name, deletion.name);
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_repeats_at_the_same_time_make_one_deletion() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(verified(), &place.url).await?;
        let caller = coordinator.caller()?;
        let one = request("alice");
        let asked = (0..20).map(|_| {
            let (caller, one) = (caller.clone(), one.clone());
            tokio::spawn(async move { caller.ask(one).await })
        });
        let mut names = HashSet::new();
        for task in asked.collect::<Vec<_>>() {
            names.insert(task.await??.name);
        }
        assert_eq!(names.len(), 1);

        let asked = (0..20).map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.ask(request("bob")).await })
        });
        let (mut won, mut live) = (Vec::new(), HashSet::new());
        for task in asked.collect::<Vec<_>>() {
            match task.await? {
                Ok(deletion) => won.push(deletion.name),
                Err(status) => {
                    let refusal = refused::<()>(
                        "a second request",
                        Err(status),
                        Code::AlreadyExists,
                        "ACCOUNT_HAS_LIVE_DELETION",
                    );
                    live.insert(refusal.metadata["deletion"].clone());
                }
            }
        }
        assert_eq!(won.len(), 1, "an account has one live deletion");
        assert_eq!(
            live,
            HashSet::from([won[0].clone()]),
            "and everybody else is told which"
        );
        assert_eq!(caller.list(&[]).await?.len(), 2);
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_one_live_deletion_and_whoever_asks_again_is_told_which() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(verified(), &place.url).await?;
        let caller = coordinator.caller()?;
        let name = caller.delete("alice").await?;
        let second = caller.ask(request("alice")).await;
        let refusal = refused(
            "a second",
            second,
            Code::AlreadyExists,
            "ACCOUNT_HAS_LIVE_DELETION",
        );
        assert_eq!(refusal.metadata.get("deletion"), Some(&name));
        assert!(!refusal.message.contains("alice"), "{refusal:?}");
        caller.revoke(&name).await?;
        let next = caller.delete("alice").await?;
        assert_ne!(
            next, name,
            "after a revoke the account may be deleted again"
        );
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_certificate_before_the_purge_and_the_same_bytes_ever_after() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(policy::straight(STAGES), &place.url).await?;
        let caller = coordinator.caller()?;
        let name = caller.delete("alice").await?;
        let early = certificate(&caller, &name).await;
        refused(
            "a certificate",
            early,
            Code::FailedPrecondition,
            "NOT_PURGED",
        );
        let _all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
        caller.until(&name, State::Purged).await?;
        let first = certificate(&caller, &name).await?;
        assert_eq!(certificate(&caller, &name).await?, first);
        let document: serde_json::Value = serde_json::from_slice(&first)?;
        let text = document.to_string();
        ensure!(
            text.contains(name.trim_start_matches("deletions/")),
            "{text}"
        );
        if let Some(kept) = place.open().await? {
            audit::sound(&*kept).await?;
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoke_that_comes_too_late_is_told_since_when() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(policy::straight(STAGES), &place.url).await?;
        let caller = coordinator.caller()?;
        let name = caller.delete("alice").await?;
        let begun = caller.until(&name, State::Erasing).await?.erase_time;
        let late = caller.revoke(&name).await;
        let refusal = refused(
            "a late revoke",
            late,
            Code::FailedPrecondition,
            "PAST_NO_RETURN",
        );
        let told = refusal.metadata.get("erase_time").context("since when")?;
        let told: Timestamp = told.parse()?;
        assert_eq!(Some(told), begun);
        assert_eq!(caller.get(&name).await?.state(), State::Erasing);

        let _all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
        caller.until(&name, State::Purged).await?;
        let late = caller.revoke(&name).await;
        refused(
            "a revoke after the end",
            late,
            Code::FailedPrecondition,
            "PAST_NO_RETURN",
        );
        coordinator.stop().await?;
    }
    Ok(())
}

fn proof(result: ProofResult, tries_left: u32) -> CheckProofReply {
    CheckProofReply {
        result: result.into(),
        tries_left,
        next_try_time: None,
    }
}

fn locked(next_in: Duration) -> CheckProofReply {
    CheckProofReply {
        next_try_time: Some((SystemTime::now() + next_in).into()),
        ..proof(ProofResult::Locked, 0)
    }
}

fn code(result: SendCodeResult, next_in: Duration) -> SendCodeReply {
    SendCodeReply {
        result: result.into(),
        expire_time: Some((SystemTime::now() + Duration::from_secs(600)).into()),
        next_send_time: Some((SystemTime::now() + next_in).into()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_sent_refused_and_checked_as_identity_says() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(verified(), &place.url).await?;
        let caller = coordinator.caller()?;
        let name = caller.delete("alice").await?;
        let factor = Factor::SmsCode;

        let away = "IDENTITY_UNAVAILABLE";
        let sent = caller.send_code(&name, factor).await;
        refused("a code without identity", sent, Code::Unavailable, away);
        let shown = caller.verify(&name, factor, "000000").await;
        refused("a proof without identity", shown, Code::Unavailable, away);

        let _cloud = Honest::join(&coordinator.participants, "cloud").await?;
        let identity = Honest::join(&coordinator.participants, "identity").await?;
        let minute = Duration::from_secs(60);
        {
            let mut manners = identity.manners();
            manners.codes.extend([
                code(SendCodeResult::Sent, minute),
                code(SendCodeResult::TooSoon, minute),
                code(SendCodeResult::NoAddress, minute),
                code(SendCodeResult::Unspecified, minute),
            ]);
            manners.proofs.extend([
                proof(ProofResult::Wrong, 2),
                proof(ProofResult::Wrong, 0),
                locked(minute),
                proof(ProofResult::Expired, 0),
                proof(ProofResult::Unspecified, 5),
            ]);
        }
        let sent = caller.send_code(&name, factor).await?;
        ensure!(
            sent.expire_time.is_some() && sent.next_send_time.is_some(),
            "{sent:?}"
        );
        let soon = caller.send_code(&name, factor).await;
        let soon = refused("too soon", soon, Code::ResourceExhausted, "CODE_TOO_SOON");
        let wait = soon.retry_after.context("when to come again")?;
        ensure!(
            wait > Duration::from_secs(20) && wait <= Duration::from_secs(60),
            "{wait:?}"
        );
        let no = Code::FailedPrecondition;
        refused(
            "no address",
            caller.send_code(&name, factor).await,
            no,
            "NO_ADDRESS",
        );
        let unsaid = caller.send_code(&name, factor).await;
        refused("an unknown result", unsaid, Code::Unavailable, away);

        for left in ["2", "0"] {
            let wrong = caller.verify(&name, factor, "000000").await;
            let wrong = refused("a wrong code", wrong, no, "WRONG_PROOF");
            assert_eq!(
                wrong.metadata.get("tries_left").map(String::as_str),
                Some(left)
            );
            ensure!(
                !format!("{wrong:?}").contains("000000"),
                "a proof is never repeated"
            );
        }
        let locked = caller.verify(&name, factor, "000000").await;
        let locked = refused("locked", locked, Code::ResourceExhausted, "TOO_MANY_TRIES");
        let wait = locked.retry_after.context("when to come again")?;
        ensure!(wait > Duration::from_secs(20) && wait <= minute, "{wait:?}");
        let old = caller.verify(&name, factor, "000000").await;
        refused("an old code", old, no, "PROOF_EXPIRED");
        let unsaid = caller.verify(&name, factor, "000000").await;
        refused("an unknown result", unsaid, Code::Unavailable, away);

        // No answer, an answer to another question, and "I can't" are not "right".
        identity.manners().mute = true;
        let mute = caller.verify(&name, factor, "123456").await;
        refused("silence", mute, Code::Unavailable, away);
        identity.manners().mute = false;
        identity.manners().unable = true;
        let unable = caller.verify(&name, factor, "123456").await;
        refused("unanswerable", unable, Code::Unavailable, away);
        identity.manners().unable = false;
        identity.manners().beside_the_point =
            Some(Answer::Eligibility(EligibilityReply { blockers: vec![] }));
        let other = caller.verify(&name, factor, "123456").await;
        refused(
            "an answer to another question",
            other,
            Code::Unavailable,
            away,
        );
        identity.manners().beside_the_point = None;

        let still = caller.get(&name).await?;
        assert_eq!(still.state(), State::AwaitingVerification);
        assert!(
            still.factors.iter().all(|factor| !factor.verified),
            "{still:?}"
        );
        identity
            .manners()
            .proofs
            .push_back(proof(ProofResult::Right, 3));
        let show = VerifyFactorRequest {
            request_id: fresh(),
            name: name.clone(),
            factor: factor.into(),
            proof: "123456".to_owned(),
            ..Default::default()
        };
        let first = caller
            .api
            .clone()
            .verify_factor(show.clone())
            .await?
            .into_inner();
        let first = first.deletion.context("the deletion")?;
        assert_eq!(first.state(), State::CoolingOff);
        let again = caller.api.clone().verify_factor(show).await?.into_inner();
        assert_eq!(
            again.deletion.map(|again| again.state()),
            Some(State::CoolingOff)
        );
        let late = caller.send_code(&name, factor).await;
        refused("a code for nothing", late, no, "ILLEGAL_STATE");
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_factor_of_the_channel_is_needed_before_anything_is_sealed() -> Result<()> {
    let coordinator = Coordinator::start(verified(), "memory:").await?;
    let caller = coordinator.caller()?;
    let all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
    let web = CreateDeletionRequest {
        channel: Channel::Web.into(),
        ..request("alice")
    };
    let name = caller.ask(web).await?.name;
    all[1]
        .manners()
        .proofs
        .extend([proof(ProofResult::Right, 3), proof(ProofResult::Right, 3)]);
    let half = caller.verify(&name, Factor::Password, "hunter2").await?;
    assert_eq!(half.state(), State::AwaitingVerification);
    sleep(SILENCE).await;
    assert!(
        all.iter().all(|one| one.manners().heard.is_empty()),
        "nothing was sent"
    );
    let whole = caller.verify(&name, Factor::EmailCode, "123456").await?;
    assert_eq!(whole.state(), State::CoolingOff);
    caller
        .until_true(&name, "seals", |deletion| {
            let seals = deletion.legs.iter().filter(|leg| leg.verb == "SEAL");
            Ok(seals.filter(|leg| leg.state() == LegState::Done).count() == 2)
        })
        .await?;
    // The same code proves nothing twice, and nobody asks identity about what is known.
    assert_eq!(all[1].manners().proofs.len(), 0);
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_nobody_verifies_expires_and_frees_the_account() -> Result<()> {
    for place in Place::each()? {
        let hasty = Policy {
            verification: Duration::from_millis(500),
            ..verified()
        };
        let coordinator = Coordinator::start(hasty, &place.url).await?;
        let caller = coordinator.caller()?;
        let name = caller.delete("alice").await?;
        let expired = caller.until(&name, State::Expired).await?;
        assert!(
            expired.close_time.is_some() && expired.legs.iter().all(|leg| leg.outcome.is_empty())
        );
        caller.delete("alice").await?;
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sets_a_deadline_is_answered_by_then() -> Result<()> {
    let mut patient = config(verified(), "memory:", &Security::PlainLoopback);
    patient.pace.query = Duration::from_secs(15);
    let coordinator = Coordinator::start_with(patient).await?;
    let caller = coordinator.caller()?;
    let all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
    all.iter().for_each(|one| one.manners().mute = true);
    let check = CheckEligibilityRequest {
        account: "accounts/alice".to_owned(),
    };
    let mut asked = Request::new(check);
    asked.set_timeout(Duration::from_millis(300));
    let since = Instant::now();
    let status = caller.api.clone().check_eligibility(asked).await;
    let status = status.expect_err("nobody answers");
    assert!(
        since.elapsed() < Duration::from_secs(8),
        "{:?}",
        since.elapsed()
    );
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    // The participants are told how long an answer is of use.
    let asked = all[0].manners().asked.clone();
    let timeout = asked[0].timeout.context("a deadline")?;
    assert_eq!((timeout.seconds, timeout.nanos), (15, 0));
    coordinator.stop().await
}

async fn watch(
    caller: &Caller,
    name: &str,
) -> Result<tonic::Streaming<farewell_proto::deletion::v1::WatchDeletionResponse>, Status> {
    let request = WatchDeletionRequest {
        name: name.to_owned(),
    };
    Ok(caller
        .api
        .clone()
        .watch_deletion(request)
        .await?
        .into_inner())
}

async fn certificate(caller: &Caller, name: &str) -> Result<Vec<u8>, Status> {
    let request = GetCertificateRequest {
        name: name.to_owned(),
    };
    let answer = caller.api.clone().get_certificate(request).await?;
    Ok(answer.into_inner().document.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_one_deletion_at_once_at_every_change_and_to_its_end() -> Result<()> {
    let coordinator = Coordinator::start(policy::straight(STAGES), "memory:").await?;
    let caller = coordinator.caller()?;
    let name = caller.delete("alice").await?;
    let mut changes = watch(&caller, &name).await?;
    let first = timeout(PATIENCE, changes.message())
        .await??
        .context("at once")?;
    assert_eq!(first.deletions[0].state(), State::Erasing);
    let _all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
    let mut done = Vec::new();
    let mut last = first;
    while let Some(change) = timeout(PATIENCE, changes.message()).await?? {
        let legs = &change.deletions[0].legs;
        done.push(
            legs.iter()
                .filter(|leg| leg.state() == LegState::Done)
                .count(),
        );
        last = change;
    }
    assert!(done.is_sorted(), "what is done stays done: {done:?}");
    let last = &last.deletions[0];
    assert_eq!(
        (last.name.as_str(), last.state()),
        (name.as_str(), State::Purged)
    );
    assert!(last.close_time.is_some(), "then the stream ends");

    // Whoever comes after the end is told the end.
    let mut late = watch(&caller, &name).await?;
    let told = timeout(PATIENCE, late.message())
        .await??
        .context("the end")?;
    assert_eq!(told.deletions[0].state(), State::Purged);
    assert!(timeout(PATIENCE, late.message()).await??.is_none());
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_all_sees_every_change_of_state_from_now_on() -> Result<()> {
    let coordinator = Coordinator::start(policy::straight(STAGES), "memory:").await?;
    let caller = coordinator.caller()?;
    let _all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
    let before = caller.delete("early").await?;
    caller.until(&before, State::Purged).await?;
    let mut changes = watch(&caller, "deletions/-").await?;
    let mut names = BTreeSet::new();
    for account in ["alice", "bob"] {
        names.insert(caller.delete(account).await?);
    }
    let mut purged = BTreeSet::new();
    while purged.len() < 2 {
        let change = timeout(PATIENCE, changes.message())
            .await??
            .context("a change")?;
        for deletion in change.deletions {
            assert_ne!(deletion.name, before, "it ended before");
            assert!(
                deletion.account.is_empty() && deletion.legs.is_empty(),
                "name and state only"
            );
            assert_ne!(deletion.state(), State::Unspecified);
            if deletion.state() == State::Purged {
                purged.insert(deletion.name);
            }
        }
    }
    assert_eq!(purged, names);
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_many_pages_names_every_deletion_once_newest_first() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(verified(), &place.url).await?;
        let caller = coordinator.caller()?;
        let mut names = Vec::new();
        for number in 0..120 {
            names.push(caller.delete(&format!("account-{number}")).await?);
        }
        for name in names.iter().step_by(3) {
            caller.revoke(name).await?;
        }
        names.reverse();
        let (pages, listed) = pages(&caller, 7, &[], "").await?;
        assert_eq!((pages, &listed), (18, &names));
        let revoked: Vec<_> = names.iter().rev().step_by(3).rev().cloned().collect();
        let live: Vec<_> = names
            .iter()
            .filter(|name| !revoked.contains(name))
            .cloned()
            .collect();
        assert_eq!(
            self::pages(&caller, 20, &[State::Revoked], "").await?,
            (2, revoked)
        );
        assert_eq!(
            self::pages(&caller, 80, &[State::AwaitingVerification], "").await?,
            (1, live)
        );
        let both = [State::Revoked, State::AwaitingVerification, State::Revoked];
        assert_eq!(self::pages(&caller, 500, &both, "").await?.1, names);
        assert_eq!(
            self::pages(&caller, 0, &[State::Purged], "").await?,
            (1, vec![])
        );
        let one = self::pages(&caller, 0, &[], "accounts/account-119").await?;
        assert_eq!(one, (1, vec![names[0].clone()]));
        let (first, _) = caller.page(ListDeletionsRequest::default()).await?;
        assert_eq!(first.len(), 50, "the default");
        assert!(first.iter().all(|deletion| deletion.legs.is_empty()));
        coordinator.stop().await?;
    }
    Ok(())
}

async fn pages(
    caller: &Caller,
    page_size: i32,
    states: &[State],
    account: &str,
) -> Result<(usize, Vec<String>)> {
    let mut request = ListDeletionsRequest {
        page_size,
        page_token: String::new(),
        states: states.iter().map(|state| i32::from(*state)).collect(),
        account: account.to_owned(),
    };
    let (mut count, mut names) = (0, Vec::new());
    loop {
        let (page, next) = caller.page(request.clone()).await?;
        count += 1;
        names.extend(page.into_iter().map(|deletion: Deletion| deletion.name));
        if next.is_empty() {
            return Ok((count, names));
        }
        request.page_token = next;
    }
}

fn blocker() -> EligibilityBlocker {
    EligibilityBlocker {
        code: "UNFINISHED_ORDER".to_owned(),
        message: "An order has not arrived.".to_owned(),
        remedy: "Wait for it, or cancel it.".to_owned(),
        count: 2,
        ..EligibilityBlocker::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_deletion_says_by_what_and_goes_on_when_it_is_gone() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(verified(), &place.url).await?;
        let caller = coordinator.caller()?;
        let all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
        all[0].manners().blockers.push(blocker());
        let check = CheckEligibilityRequest {
            account: "accounts/alice".to_owned(),
        };
        let checked = caller
            .api
            .clone()
            .check_eligibility(check)
            .await?
            .into_inner();
        assert!(!checked.eligible);
        assert_eq!(checked.blockers.len(), 1);
        assert_eq!(checked.blockers[0].participant, "cloud");

        let name = caller.delete("alice").await?;
        all[1]
            .manners()
            .proofs
            .push_back(proof(ProofResult::Right, 3));
        let told = caller.verify(&name, Factor::SmsCode, "123456").await?;
        assert_eq!(told.state(), State::AwaitingVerification);
        assert_eq!(conditions(&told), [("UNFINISHED_ORDER", "cloud")]);
        assert_eq!(
            told.conditions[0].message, "2 orders have not arrived yet.",
            "what the catalogue knows is said in its own words"
        );
        let mut again = Request::new(VerifyFactorRequest {
            request_id: fresh(),
            name: name.clone(),
            factor: Factor::SmsCode.into(),
            proof: "123456".to_owned(),
            ..Default::default()
        });
        let chinese = "zh-CN, zh;q=0.9".parse()?;
        again.metadata_mut().insert("accept-language", chinese);
        let again = caller.api.clone().verify_factor(again).await?.into_inner();
        let told = again.deletion.context("a deletion")?;
        assert_eq!(told.conditions[0].message, "有 2 个订单尚未送达。");
        sleep(SILENCE).await;
        let blocked = caller.get(&name).await?;
        assert_eq!(conditions(&blocked), [("UNFINISHED_ORDER", "cloud")]);
        assert!(
            all.iter().all(|one| one.manners().heard.is_empty()),
            "nothing was sent"
        );

        all[0].manners().blockers.clear();
        let free = caller.until(&name, State::CoolingOff).await?;
        assert_eq!(conditions(&free), Vec::<(&str, &str)>::new());
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocker_that_appears_in_the_cooling_off_period_holds_the_erasing_back() -> Result<()> {
    for place in Place::each()? {
        let slow = Policy {
            cooling_off: Duration::from_secs(1),
            ..policy::whole(STAGES)
        };
        let coordinator = Coordinator::start(slow, &place.url).await?;
        let caller = coordinator.caller()?;
        let all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
        let name = caller.delete("alice").await?;
        caller.until(&name, State::CoolingOff).await?;
        all[0].manners().blockers.push(blocker());
        let held = caller
            .until_true(&name, "blocked", |deletion| {
                Ok(!deletion.conditions.is_empty())
            })
            .await?;
        assert_eq!(held.state(), State::CoolingOff);
        assert_eq!(conditions(&held), [("UNFINISHED_ORDER", "cloud")]);
        sleep(SILENCE).await;
        let verbs = |one: &Honest| one.verbs("alice");
        assert!(
            all.iter().all(|one| verbs(one) == [Verb::Seal]),
            "nothing was erased"
        );
        all[0].manners().blockers.clear();
        caller.until(&name, State::Purged).await?;
        assert!(
            all.iter()
                .all(|one| verbs(one) == [Verb::Seal, Verb::Erase, Verb::Probe])
        );
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_that_gives_no_answer_is_never_a_yes() -> Result<()> {
    let coordinator = Coordinator::start(policy::whole(STAGES), "memory:").await?;
    let caller = coordinator.caller()?;
    let check = || async {
        let request = CheckEligibilityRequest {
            account: "accounts/alice".to_owned(),
        };
        let answer = caller
            .api
            .clone()
            .check_eligibility(request)
            .await?
            .into_inner();
        let mut blockers: Vec<_> = answer
            .blockers
            .into_iter()
            .map(|it| (it.code, it.participant))
            .collect();
        blockers.sort();
        anyhow::Ok((answer.eligible, blockers))
    };
    let unreachable = |names: &[&str]| {
        let one = |name: &&str| ("PARTICIPANT_UNREACHABLE".to_owned(), (*name).to_owned());
        (false, names.iter().map(one).collect::<Vec<_>>())
    };
    assert_eq!(
        check().await?,
        unreachable(&["cloud", "identity"]),
        "nobody is there"
    );
    let name = caller.delete("bob").await?;
    let all = Honest::join_all(&coordinator.participants, &["cloud"]).await?;
    assert_eq!(check().await?, unreachable(&["identity"]), "one is missing");
    let mute = Manners {
        mute: true,
        ..Manners::default()
    };
    let identity = Honest::join_with(&coordinator.participants, "identity", mute).await?;
    assert_eq!(check().await?, unreachable(&["identity"]), "one is silent");
    identity.manners().mute = false;
    identity.manners().unable = true;
    assert_eq!(check().await?, unreachable(&["identity"]), "one can't say");
    identity.manners().unable = false;
    identity.manners().beside_the_point = Some(Answer::CheckProof(proof(ProofResult::Right, 1)));
    assert_eq!(
        check().await?,
        unreachable(&["identity"]),
        "one speaks of something else"
    );
    let waiting = caller
        .until_true(&name, "asked", |deletion| {
            Ok(!deletion.conditions.is_empty())
        })
        .await?;
    assert_eq!(
        waiting.state(),
        State::AwaitingVerification,
        "and nobody takes it for a yes"
    );
    assert!(
        conditions(&waiting)
            .iter()
            .all(|(reason, _)| *reason == "PARTICIPANT_UNREACHABLE")
    );
    assert!(all[0].manners().heard.is_empty());

    let look = GetInventoryRequest {
        account: "accounts/alice".to_owned(),
    };
    let seen = caller
        .api
        .clone()
        .get_inventory(look)
        .await?
        .into_inner()
        .holdings;
    let seen: Vec<_> = seen
        .iter()
        .map(|it| (it.participant.as_str(), it.answered, it.categories.len()))
        .collect();
    assert_eq!(seen, [("cloud", true, 1), ("identity", false, 0)]);

    identity.manners().beside_the_point = None;
    assert_eq!(check().await?, (true, vec![]));
    caller.until(&name, State::Purged).await?;
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoke_in_the_cooling_off_period_unseals_everyone_and_then_closes() -> Result<()> {
    for place in Place::each()? {
        let slow = Policy {
            cooling_off: Duration::from_secs(3_600),
            ..policy::whole(STAGES)
        };
        let coordinator = Coordinator::start(slow, &place.url).await?;
        let caller = coordinator.caller()?;
        let cloud = Honest::join(&coordinator.participants, "cloud").await?;
        let identity = Honest::join(&coordinator.participants, "identity").await?;
        let name = caller.delete("alice").await?;
        caller
            .until_true(&name, "sealed", |deletion| {
                let seals = deletion.legs.iter().filter(|leg| leg.verb == "SEAL");
                Ok(seals.filter(|leg| leg.state() == LegState::Done).count() == 2)
            })
            .await?;
        // One of them is away when the person changes her mind.
        drop(identity);
        let operator = coordinator.operator()?;
        until("identity to have left", async || {
            let overview = operator.overview().await?;
            let away = |it: &farewell_proto::operator::v1::ParticipantOverview| {
                it.participant == "identity" && it.sessions == 0
            };
            Ok(overview.participants.iter().any(away).then_some(()))
        })
        .await?;
        let revoked = caller.revoke(&name).await?;
        assert_eq!(revoked.state(), State::Revoked, "at once");
        assert!(revoked.close_time.is_none(), "somebody still holds a seal");
        sleep(SILENCE).await;
        let waiting = caller.get(&name).await?;
        assert!(waiting.close_time.is_none(), "somebody still holds a seal");
        assert_eq!(waiting.state(), State::Revoked);

        let identity = Honest::join(&coordinator.participants, "identity").await?;
        caller
            .until_true(&name, "closed", |deletion| {
                Ok(deletion.close_time.is_some())
            })
            .await?;
        assert_eq!(cloud.verbs("alice"), [Verb::Seal, Verb::Unseal]);
        assert_eq!(identity.verbs("alice"), [Verb::Unseal]);
        if let Some(kept) = place.open().await? {
            audit::sound(&*kept).await?;
        }
        let late = caller.revoke(&name).await;
        refused(
            "a second revoke",
            late,
            Code::FailedPrecondition,
            "ALREADY_ENDED",
        );
        caller.delete("alice").await?;
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consents_and_factors_are_on_record_as_they_were_given() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(verified(), &place.url).await?;
        let caller = coordinator.caller()?;
        let given = Consent {
            time: Some(Timestamp {
                seconds: 1_700_000_000,
                nanos: 123_456_000,
            }),
            ..consent()
        };
        let asked = CreateDeletionRequest {
            consents: vec![given.clone(); 32],
            ..request("alice")
        };
        let name = caller.ask(asked).await?.name;
        let kept = caller.get(&name).await?;
        assert_eq!(kept.consents, vec![given; 32]);
        assert_eq!(kept.channel(), Channel::Phone);
        assert_eq!(kept.factors.len(), 1);
        assert_eq!(kept.factors[0].factor(), Factor::SmsCode);
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_policy_wants_agreed_to_is_agreed_to_before_a_request_is_taken() -> Result<()> {
    let texts = BTreeMap::from([(consent().text, 2), ("devices-reset".to_owned(), 1)]);
    let policy = Policy {
        consents: BTreeMap::from([(farewell_core::policy::Channel::Phone, texts)]),
        ..verified()
    };
    let coordinator = Coordinator::start(policy, "memory:").await?;
    let caller = coordinator.caller()?;
    let agreed = |text: &str, version| Consent {
        text: text.to_owned(),
        version,
        ..consent()
    };
    let (loss, devices) = (consent().text, "devices-reset");
    for consents in [
        vec![],
        vec![agreed(&loss, 1), agreed(devices, 1)],
        vec![agreed(&loss, 2)],
        vec![agreed(&loss, 2), agreed("devices", 1)],
    ] {
        let asked = CreateDeletionRequest {
            consents: consents.clone(),
            ..request("alice")
        };
        let refused = caller.ask(asked).await;
        let what = format!("{consents:?}");
        bad_field(&what, refused, "CONSENT_MISSING", "consents");
    }
    assert!(caller.list(&[]).await?.is_empty(), "nothing was taken");
    let asked = CreateDeletionRequest {
        consents: vec![agreed(devices, 1), agreed(&loss, 3)],
        ..request("alice")
    };
    let taken = caller.ask(asked).await?;
    assert_eq!(taken.state(), State::AwaitingVerification);
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_an_answer_gets_it_though_the_policy_asks_for_more_by_now() -> Result<()> {
    use farewell_core::policy::Channel;

    let place = Place::sqlite()?;
    let coordinator = Coordinator::start(verified(), &place.url).await?;
    let asked = request("alice");
    let taken = coordinator.caller()?.ask(asked.clone()).await?;
    coordinator.stop().await?;

    let text = BTreeMap::from([("devices-reset".to_owned(), 1)]);
    let more = Policy {
        name: "more".to_owned(),
        consents: BTreeMap::from([(Channel::Phone, text)]),
        ..verified()
    };
    let mut other_channels = Policy {
        name: "other-channels".to_owned(),
        ..verified()
    };
    let factors = other_channels.channels.remove(&Channel::Phone);
    other_channels
        .channels
        .insert(Channel::Web, factors.unwrap_or_default());
    for (policy, reason, field) in [
        (more, "CONSENT_MISSING", "consents"),
        (other_channels, "INVALID_FIELD", "channel"),
    ] {
        let coordinator = Coordinator::start(policy, &place.url).await?;
        let caller = coordinator.caller()?;
        assert_eq!(caller.ask(asked.clone()).await?.name, taken.name);
        let another = CreateDeletionRequest {
            account: "accounts/bob".to_owned(),
            ..asked.clone()
        };
        let answer = caller.ask(another).await;
        refused(reason, answer, Code::AlreadyExists, "REQUEST_ID_REUSED");
        bad_field(reason, caller.ask(request("bob")).await, reason, field);
        assert_eq!(caller.list(&[]).await?.len(), 1, "nothing new was taken");
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_reflection_answer_on_the_ports_that_have_them() -> Result<()> {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let coordinator = Coordinator::start(verified(), "memory:").await?;
    let dial = |address: &str| {
        anyhow::Ok(
            farewell_runtime::client::endpoint(address, &Security::PlainLoopback)?.connect_lazy(),
        )
    };
    let ports = [
        (
            &coordinator.callers,
            "farewell.deletion.v1.DeletionService",
            true,
        ),
        (
            &coordinator.participants,
            "farewell.participant.v1.ParticipantService",
            false,
        ),
        (
            &coordinator.operators,
            "farewell.operator.v1.OperatorService",
            true,
        ),
    ];
    for (address, service, reflects) in ports {
        for asked in [service, ""] {
            let mut health = HealthClient::new(dial(address)?);
            let request = HealthCheckRequest {
                service: asked.to_owned(),
            };
            let answer = health.check(request).await?.into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
        }
        let mut reflection = ServerReflectionClient::new(dial(address)?);
        let list = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let answer = reflection
            .server_reflection_info(tokio_stream::iter([list]))
            .await;
        if !reflects {
            assert_eq!(
                answer.expect_err("no reflection").code(),
                Code::Unimplemented
            );
            continue;
        }
        let answer = answer?
            .into_inner()
            .message()
            .await?
            .and_then(|it| it.message_response);
        let Some(MessageResponse::ListServicesResponse(list)) = answer else {
            return Err(anyhow!("no list: {answer:?}"));
        };
        assert!(list.service.iter().any(|it| it.name == service), "{list:?}");
    }
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_ends_says_so_and_what_it_accepted_is_there_afterwards() -> Result<()> {
    let place = Place::sqlite()?;
    let coordinator = Coordinator::start(policy::straight(STAGES), &place.url).await?;
    let caller = coordinator.caller()?;
    let mut names = Vec::new();
    for number in 0..10 {
        names.push(caller.delete(&format!("account-{number}")).await?);
    }
    coordinator.stop().await?;
    let next = Coordinator::start(policy::straight(STAGES), &place.url).await?;
    let caller = next.caller()?;
    let _all = Honest::join_all(&next.participants, &["cloud", "identity"]).await?;
    for name in names {
        caller.until(&name, State::Purged).await?;
    }
    next.stop().await
}
