//! Every method names the field that is wrong, and changes nothing.

use anyhow::{Result, ensure};
use farewell_proto::deletion::v1::{
    Channel, CheckEligibilityRequest, Consent, CreateDeletionRequest, Factor, GetInventoryRequest,
    ListDeletionsRequest, RevokeDeletionRequest, SendCodeRequest, State, VerifyFactorRequest,
};
use farewell_tests::caller::{fresh, request};
use farewell_tests::coordinator::Coordinator;
use farewell_tests::ledger::Place;
use farewell_tests::refusal::{bad_field, refused};
use prost_types::Timestamp;
use tonic::Code;

use super::{NIL, NOBODY, certificate, consent, rows, verified, watch};

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
                "one text in two versions",
                consents(vec![
                    consent(),
                    Consent {
                        version: consent().version + 1,
                        ..consent()
                    },
                ]),
                "consents[1].text",
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
