//! Nobody learns anything by asking, and bad input changes nothing.

use anyhow::{Result, anyhow, ensure};
use farewell_proto::account::v1::{
    AccountChangeState as Told, AccountState, CheckRealNameClearingRequest, ClearRealNameRequest,
    FreezeAccountRequest, GetAccountRequest, MemorializeAccountRequest,
    ReviewRealNameClearingRequest, SendAccountCodeRequest, UnfreezeAccountRequest,
    WatchAccountChangeRequest,
};
use farewell_proto::deletion::v1::{Channel as Door, Factor};
use farewell_tests::caller::fresh;
use farewell_tests::ledger::Place;
use farewell_tests::process::needed;
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::wait;
use tonic::Code;

use super::town::Town;
use super::{ACCOUNT, CASE, NOBODY, clearing, freezing, thawing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_learns_anything_by_asking_and_bad_input_changes_nothing() -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let mut town = Town::start(&program, Place::sqlite()?, false).await?;
    town.run_all().await?;
    let known = town.unfreeze(&thawing()).await?;
    let nobody = UnfreezeAccountRequest {
        account: format!("accounts/{NOBODY}"),
        ..thawing()
    };
    let unknown = town.unfreeze(&nobody).await?;
    assert_eq!(known.state(), unknown.state());
    assert_eq!(known.factors_required, unknown.factors_required);
    for change in [&known, &unknown] {
        wait::until("a code", async || {
            match town.send_code(&change.name).await {
                Ok(()) => Ok(Some(())),
                Err(status) if status.code() == Code::Unavailable => Ok(None),
                Err(status) => Err(anyhow!("{status:?}")),
            }
        })
        .await?;
        refused(
            "a guess",
            town.verify(&change.name, "no code").await,
            Code::FailedPrecondition,
            "WRONG_PROOF",
        );
    }
    // Of one that isn't frozen only its owner is told so.
    let code = town.code(&known.name).await?;
    town.verify(&known.name, &code).await?;
    let known = town.until(&known.name, Told::Refused).await?;
    assert_eq!(known.reasons, ["ACCOUNT_NOT_FROZEN"]);
    // A freeze by security is lifted by security.
    farewell_identity::set_frozen(&town.identity, ACCOUNT, true).await?;
    assert_eq!(town.get().await?.state(), AccountState::FrozenBySecurity);

    for (what, request, field) in [
        (
            "no id",
            FreezeAccountRequest {
                request_id: String::new(),
                ..freezing()
            },
            "request_id",
        ),
        (
            "no account",
            FreezeAccountRequest {
                account: String::new(),
                ..freezing()
            },
            "account",
        ),
    ] {
        bad_field(what, town.freeze(&request).await, "INVALID_FIELD", field);
    }
    for (what, request, field) in [
        (
            "no id",
            UnfreezeAccountRequest {
                request_id: "1".to_owned(),
                ..thawing()
            },
            "request_id",
        ),
        (
            "no account",
            UnfreezeAccountRequest {
                account: ACCOUNT.to_owned(),
                ..thawing()
            },
            "account",
        ),
        (
            "no channel",
            UnfreezeAccountRequest {
                channel: 0,
                ..thawing()
            },
            "channel",
        ),
        (
            "an unknown channel",
            UnfreezeAccountRequest {
                channel: 99,
                ..thawing()
            },
            "channel",
        ),
        (
            "a channel that proves nothing",
            UnfreezeAccountRequest {
                channel: Door::Support.into(),
                ..thawing()
            },
            "channel",
        ),
    ] {
        bad_field(what, town.unfreeze(&request).await, "INVALID_FIELD", field);
    }
    for (what, request, field) in [
        (
            "no id",
            ClearRealNameRequest {
                request_id: String::new(),
                ..clearing()
            },
            "request_id",
        ),
        (
            "no account",
            ClearRealNameRequest {
                account: "accounts/".to_owned(),
                ..clearing()
            },
            "account",
        ),
        (
            "no channel",
            ClearRealNameRequest {
                channel: 0,
                ..clearing()
            },
            "channel",
        ),
        (
            "no consent",
            ClearRealNameRequest {
                lapse_consent_version: 0,
                ..clearing()
            },
            "lapse_consent_version",
        ),
    ] {
        bad_field(what, town.clear(&request).await, "INVALID_FIELD", field);
    }
    let mut api = town.accounts.clone();
    let memorialize = MemorializeAccountRequest {
        request_id: fresh(),
        account: format!("accounts/{ACCOUNT}"),
        case: "case 7".to_owned(),
    };
    let answer = api.memorialize_account(memorialize).await;
    bad_field("no case", answer, "INVALID_FIELD", "case");
    let name = format!("accounts/{ACCOUNT}/changes/{}", fresh());
    let review = |name: &str, case: &str| ReviewRealNameClearingRequest {
        name: name.to_owned(),
        case: case.to_owned(),
    };
    let answer = api.review_real_name_clearing(review("", CASE)).await;
    bad_field("no name", answer, "INVALID_FIELD", "name");
    let answer = api.review_real_name_clearing(review(&name, "")).await;
    bad_field("no case", answer, "INVALID_FIELD", "case");
    let answer = api
        .review_real_name_clearing(review(&known.name, CASE))
        .await;
    refused(
        "not in review",
        answer,
        Code::FailedPrecondition,
        "ILLEGAL_STATE",
    );
    let missing = "ACCOUNT_CHANGE_NOT_FOUND";
    refused(
        "no change",
        town.change(&name).await,
        Code::NotFound,
        missing,
    );
    refused(
        "no change",
        town.send_code(&name).await,
        Code::NotFound,
        missing,
    );
    refused(
        "no change",
        town.verify(&name, "1").await,
        Code::NotFound,
        missing,
    );
    bad_field(
        "no name",
        town.change("accounts/x").await,
        "INVALID_FIELD",
        "name",
    );
    bad_field("no name", town.send_code("").await, "INVALID_FIELD", "name");
    bad_field(
        "no proof",
        town.verify(&known.name, "").await,
        "INVALID_FIELD",
        "proof",
    );
    let code = SendAccountCodeRequest {
        request_id: fresh(),
        name: unknown.name.clone(),
        factor: 0,
    };
    bad_field(
        "no factor",
        api.send_account_code(code.clone()).await,
        "INVALID_FIELD",
        "factor",
    );
    let other = SendAccountCodeRequest {
        factor: Factor::EmailCode.into(),
        ..code
    };
    bad_field(
        "another factor",
        api.send_account_code(other).await,
        "FACTOR_NOT_REQUIRED",
        "factor",
    );
    let nobody = GetAccountRequest {
        name: format!("accounts/{NOBODY}"),
    };
    refused(
        "nobody",
        api.get_account(nobody).await,
        Code::NotFound,
        "ACCOUNT_NOT_FOUND",
    );
    let nothing = GetAccountRequest::default();
    bad_field(
        "no name",
        api.get_account(nothing).await,
        "INVALID_FIELD",
        "name",
    );
    let nothing = CheckRealNameClearingRequest::default();
    bad_field(
        "no account",
        api.check_real_name_clearing(nothing).await,
        "INVALID_FIELD",
        "account",
    );
    let nothing = WatchAccountChangeRequest::default();
    bad_field(
        "no name",
        api.watch_account_change(nothing).await,
        "INVALID_FIELD",
        "name",
    );
    ensure!(town.admits(&town.shop).await?);
    drop(api);
    town.end().await
}
