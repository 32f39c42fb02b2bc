//! A real name goes, and an account is kept in memory.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use farewell_proto::account::v1::{
    AccountChangeState as Told, AccountState, MemorializeAccountRequest, WatchAccountChangeRequest,
};
use farewell_store::{entitlements, grant_entitlement};
use farewell_tests::caller::fresh;
use farewell_tests::ledger::Place;
use farewell_tests::process::needed;
use farewell_tests::refusal::refused;
use farewell_tests::wait;
use tonic::Code;

use super::town::Town;
use super::{ACCOUNT, CASE, OTHER_CASE, clearing, freezing, thawing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_name_goes_with_what_is_tied_to_it_and_the_rest_stays() -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let mut town = Town::start(&program, Place::sqlite()?, true).await?;
    town.run_all().await?;
    grant_entitlement(&town.shop, ACCOUNT, "newsletter-discount", false).await?;
    grant_entitlement(&town.shop, ACCOUNT, "student-discount", true).await?;
    grant_entitlement(&town.shop, ACCOUNT, "adult-content", true).await?;
    let before = town.kept().await?;

    // Beforehand: what would lapse, and what is in the way.
    let credit = farewell_store::lend(&town.shop, ACCOUNT, 5_000).await?;
    let found = wait::until("everybody to answer", async || {
        let found = town.look().await?;
        let unanswered = found.obstacles == ["PARTICIPANT_UNREACHABLE"];
        Ok((!unanswered).then_some(found))
    })
    .await?;
    assert_eq!((found.possible, found.review), (false, true));
    assert_eq!(found.obstacles, ["DEBT_OR_CREDIT"]);
    let lapses = found
        .lapses
        .iter()
        .map(|lapse| (lapse.participant.as_str(), lapse.lapses.clone()));
    assert_eq!(
        lapses.collect::<Vec<_>>(),
        [
            ("store", [("entitlements".to_owned(), 2)].into()),
            ("identity", [("real_names".to_owned(), 1)].into()),
        ]
    );

    // With a debt it is refused, once it is proved, and nothing has changed.
    let change = town.clear(&clearing()).await?;
    town.prove(&change.name).await?;
    let refusal = town.until(&change.name, Told::Refused).await?;
    assert_eq!(refusal.reasons, ["DEBT_OR_CREDIT"]);
    assert_eq!(
        (
            town.real_names().await?,
            entitlements(&town.shop, ACCOUNT).await?.len()
        ),
        (1, 3)
    );
    farewell_store::pay_back(&town.shop, ACCOUNT, &credit, 5_000).await?;
    ensure!(town.look().await?.possible);

    // Identity's limits hold for all kinds of requests together.
    let request = clearing();
    let change = town.clear(&request).await?;
    refused(
        "another code at once",
        town.send_code(&change.name).await,
        Code::ResourceExhausted,
        "CODE_TOO_SOON",
    );
    sqlx::query("UPDATE code SET issued_at = issued_at - 3600000000, next_send_at = next_send_at - 3600000000")
        .execute(town.identity.pool())
        .await?;
    town.prove(&change.name).await?;
    let review = town.until(&change.name, Told::InReview).await?;
    ensure!(review.legs.is_empty() && review.expire_time.is_some());
    town.kill().await?;
    assert_eq!(town.clear(&request).await?.state(), Told::InReview);

    // The desk agrees; the store is away, and identity keeps the name until it has let go.
    town.stop("store").await?;
    let unapproved = wait::until("the desk", async || {
        match town.approve(&change.name, OTHER_CASE).await {
            Err(status) if status.code() == Code::Unavailable => Ok(None),
            answer => Ok(Some(answer)),
        }
    });
    refused(
        "a case that nobody approved",
        unapproved.await?,
        Code::FailedPrecondition,
        "CASE_NOT_APPROVED",
    );
    town.approve(&change.name, CASE).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Somebody doesn't answer, so nobody knows that nothing is in the way.
    assert_eq!(town.change(&change.name).await?.state(), Told::Checking);
    assert_eq!(town.real_names().await?, 1);
    town.kill().await?;
    town.run("store").await?;
    let done = town.until(&change.name, Told::Done).await?;
    assert_eq!(done.case, CASE);
    let lapsed = |name: &str| {
        let leg = done.legs.iter().find(|leg| leg.participant == name);
        leg.map(|leg| leg.lapsed.clone()).unwrap_or_default()
    };
    assert_eq!(lapsed("store"), [("entitlements".to_owned(), 2)].into());
    assert_eq!(lapsed("identity"), [("real_names".to_owned(), 1)].into());
    assert_eq!(
        entitlements(&town.shop, ACCOUNT).await?,
        ["newsletter-discount"]
    );
    assert_eq!((town.real_names().await?, town.kept().await?), (0, before));

    // A repeat is the same, and a second one finds nothing to clear.
    assert_eq!(town.clear(&request).await?, done);
    assert_eq!(town.look().await?.obstacles, ["NO_REAL_NAME"]);
    let watch = WatchAccountChangeRequest {
        name: change.name.clone(),
    };
    let mut watched = town
        .accounts
        .clone()
        .watch_account_change(watch)
        .await?
        .into_inner();
    let first = watched.message().await?.context("one")?;
    assert_eq!(first.change, Some(done));
    ensure!(watched.message().await?.is_none());
    town.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_kept_in_memory_and_self_service_ends_there() -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let mut town = Town::start(&program, Place::sqlite()?, false).await?;
    for name in ["community", "store", "identity"] {
        town.run(name).await?;
    }
    grant_entitlement(&town.shop, ACCOUNT, "newsletter-discount", false).await?;
    let before = town.kept().await?;
    let request = MemorializeAccountRequest {
        request_id: fresh(),
        account: format!("accounts/{ACCOUNT}"),
        case: CASE.to_owned(),
    };
    let without = wait::until("identity", async || {
        match town.memorialize(&request).await {
            Err(status) if status.message().contains("identity") => Ok(None),
            answer => Ok(Some(answer)),
        }
    });
    refused(
        "without a desk",
        without.await?,
        Code::Unavailable,
        "DESK_UNAVAILABLE",
    );
    assert_eq!(town.get().await?.state(), AccountState::Active);
    town.run("support").await?;
    town.run("cloud").await?;
    let other = MemorializeAccountRequest {
        case: OTHER_CASE.to_owned(),
        request_id: fresh(),
        ..request.clone()
    };
    let refusal = wait::until("the desk", async || match town.memorialize(&other).await {
        Err(status) if status.code() == Code::Unavailable => Ok(None),
        answer => Ok(Some(answer)),
    });
    refused(
        "a case that nobody approved",
        refusal.await?,
        Code::FailedPrecondition,
        "CASE_NOT_APPROVED",
    );
    let change = town.memorialize(&request).await?;
    assert_eq!(town.memorialize(&request).await?.name, change.name);
    town.until(&change.name, Told::Done).await?;
    let again = MemorializeAccountRequest {
        request_id: fresh(),
        ..request.clone()
    };
    refused(
        "a case is used once",
        town.memorialize(&again).await,
        Code::FailedPrecondition,
        "CASE_USED",
    );

    let account = town.get().await?;
    assert_eq!(account.state(), AccountState::Memorialized);
    ensure!(account.choices.is_empty());
    ensure!(town.log_in().await.is_err());
    refused(
        "a freeze",
        town.freeze(&freezing()).await,
        Code::FailedPrecondition,
        "ACCOUNT_MEMORIALIZED",
    );
    let thaw = town.unfreeze(&thawing()).await?;
    town.prove(&thaw.name).await?;
    let thaw = town.until(&thaw.name, Told::Refused).await?;
    assert_eq!(thaw.reasons, ["ACCOUNT_MEMORIALIZED"]);
    let eligible = farewell_proto::deletion::v1::CheckEligibilityRequest {
        account: format!("accounts/{ACCOUNT}"),
    };
    let found = town
        .caller
        .api
        .clone()
        .check_eligibility(eligible)
        .await?
        .into_inner();
    ensure!(!found.eligible);
    ensure!(
        found
            .blockers
            .iter()
            .any(|blocker| blocker.code == "ACCOUNT_MEMORIALIZED")
    );
    assert_eq!(town.kept().await?, before);
    town.end().await
}
