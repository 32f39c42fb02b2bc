//! What only a person decides: that is done once, by somebody who may, and the deletion goes on from there.

use anyhow::Result;
use farewell_proto::deletion::v1::{Deletion, State};
use farewell_proto::operator::v1::{
    HoldDeletionRequest, ReleaseDeletionRequest, ResolveConflictRequest, RetryLegRequest,
};
use farewell_proto::participant::v1::report::Answer;
use farewell_proto::participant::v1::{Outcome, Refused};
use farewell_tests::caller::{Operator, conditions, fresh};
use farewell_tests::coordinator::Coordinator;
use farewell_tests::ledger::{Place, rows};
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::scripted::{Scripted, done, honest};
use farewell_tests::wait::SILENCE;
use farewell_tests::{audit, policy};
use tonic::{Code, Status};

const NOTHING: [(&str, &str); 0] = [];

fn retry(name: &str, participant: &str) -> RetryLegRequest {
    RetryLegRequest {
        request_id: fresh(),
        name: name.to_owned(),
        participant: participant.to_owned(),
    }
}

async fn ask_again(operator: &Operator, request: &RetryLegRequest) -> Result<Deletion, Status> {
    let answer = operator.api.clone().retry_leg(request.clone()).await?;
    Ok(answer.into_inner().deletion.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_leg_is_asked_again_when_an_operator_says_so() -> Result<()> {
    for place in Place::each()? {
        let plan = policy::straight(&[&["cloud", "store"]]);
        let coordinator = Coordinator::start(plan, &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let name = caller.delete("alice").await?;
        let mut cloud = Scripted::join(&coordinator.participants, "cloud", 1).await?;
        let refusing = Answer::Refused(Refused {
            reason: "BUSY".to_owned(),
            detail: String::new(),
        });
        let first = cloud.command().await?;
        cloud.answer(&first, refusing.clone()).await;
        let stuck = |it: &Deletion| Ok(conditions(it) == [("LEG_REFUSED", "cloud")]);
        caller.until_true(&name, "a refusal", stuck).await?;

        let other = ask_again(&operator, &retry(&name, "store")).await;
        refused(
            "who refuses nothing",
            other,
            Code::FailedPrecondition,
            "LEG_NOT_REFUSED",
        );
        let nobody = ask_again(&operator, &retry(&name, "")).await;
        bad_field("nobody", nobody, "INVALID_FIELD", "participant");
        cloud.silence(SILENCE).await?;

        let request = retry(&name, "cloud");
        let cleared = ask_again(&operator, &request).await?;
        assert_eq!(conditions(&cleared), NOTHING);
        let again = cloud.command().await?;
        assert_eq!(again.name, first.name, "the same command as before");
        cloud.answer(&again, refusing).await;
        caller.until_true(&name, "another refusal", stuck).await?;
        // The operator's request, sent twice on the way, is no word on the second refusal.
        ask_again(&operator, &request).await?;
        cloud.silence(SILENCE).await?;

        ask_again(&operator, &retry(&name, "cloud")).await?;
        let last = cloud.command().await?;
        cloud.answer(&last, honest(&last)).await;
        let mut store = Scripted::join(&coordinator.participants, "store", 1).await?;
        let erase = store.command().await?;
        store.answer(&erase, honest(&erase)).await;
        caller.until(&name, State::Purged).await?;
        // Even after the end a repeat is no mistake.
        assert_eq!(ask_again(&operator, &request).await?.state(), State::Purged);
        if let Some(kept) = place.open().await? {
            audit::sound(&*kept).await?;
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_that_was_looked_into_blocks_no_longer() -> Result<()> {
    for place in Place::each()? {
        let plan = policy::straight(&[&["cloud"], &["store"]]);
        let coordinator = Coordinator::start(plan, &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let name = caller.delete("alice").await?;
        let resolve = ResolveConflictRequest {
            request_id: fresh(),
            name: name.clone(),
        };
        let mut api = operator.api.clone();
        let early = api.resolve_conflict(resolve.clone());
        refused(
            "no conflict",
            early.await,
            Code::FailedPrecondition,
            "ILLEGAL_STATE",
        );
        let mut cloud = Scripted::join(&coordinator.participants, "cloud", 1).await?;
        let erase = cloud.command().await?;
        for photos in [3, 4] {
            let erased = done(Outcome::Erased, &[("photos", photos)]);
            cloud.answer(&erase, Answer::Done(erased)).await;
        }
        let disputed = |it: &Deletion| Ok(conditions(it) == [("EVIDENCE_CONFLICT", "")]);
        caller.until_true(&name, "a conflict", disputed).await?;
        let mut store = Scripted::join(&coordinator.participants, "store", 1).await?;
        let last = store.command().await?;
        store.answer(&last, honest(&last)).await;
        assert_eq!(caller.get(&name).await?.state(), State::Erasing);
        // It was refused before, so it is not known as something that was done.
        api.resolve_conflict(resolve).await?;
        let purged = caller.until(&name, State::Purged).await?;
        assert_eq!(
            purged.legs[0].counts["photos"], 3,
            "the first answer stands"
        );
        if let Some(kept) = place.open().await? {
            audit::sound(&*kept).await?;
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legal_hold_stops_the_purge_until_it_is_released() -> Result<()> {
    for place in Place::each()? {
        let plan = policy::straight(&[&["cloud"]]);
        let coordinator = Coordinator::start(plan, &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let name = caller.delete("alice").await?;
        let hold = || HoldDeletionRequest {
            request_id: fresh(),
            name: name.clone(),
        };
        let release = || ReleaseDeletionRequest {
            request_id: fresh(),
            name: name.clone(),
        };
        let unheld = operator.api.clone().release_deletion(release()).await;
        refused(
            "nothing to release",
            unheld,
            Code::FailedPrecondition,
            "ILLEGAL_STATE",
        );
        let held = operator
            .api
            .clone()
            .hold_deletion(hold())
            .await?
            .into_inner();
        let held = held.deletion.unwrap_or_default();
        assert_eq!(conditions(&held), [("LEGAL_HOLD", "")]);
        let twice = operator.api.clone().hold_deletion(hold()).await;
        refused("a second hold", twice, Code::FailedPrecondition, "HELD");

        let mut cloud = Scripted::join(&coordinator.participants, "cloud", 1).await?;
        cloud.silence(SILENCE).await?;
        assert_eq!(caller.get(&name).await?.state(), State::Erasing);
        operator.api.clone().release_deletion(release()).await?;
        let erase = cloud.command().await?;
        cloud.answer(&erase, honest(&erase)).await;
        caller.until(&name, State::Purged).await?;
        let late = operator.api.clone().hold_deletion(hold()).await;
        refused("too late", late, Code::FailedPrecondition, "ALREADY_ENDED");
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_names_nothing_leaves_nothing_behind() -> Result<()> {
    let place = Place::sqlite()?;
    let coordinator = Coordinator::start(policy::straight(&[&["cloud"]]), &place.url).await?;
    let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
    let name = caller.delete("alice").await?;
    let kept = farewell_ledger::connect(&place.url).await?;
    let before = rows(&*kept).await?;
    let hold = |request_id: &str, name: &str| {
        let request = HoldDeletionRequest {
            request_id: request_id.to_owned(),
            name: name.to_owned(),
        };
        let mut api = operator.api.clone();
        async move { api.hold_deletion(request).await }
    };
    bad_field("", hold("", &name).await, "INVALID_FIELD", "request_id");
    bad_field(
        "no UUID",
        hold("one", &name).await,
        "INVALID_FIELD",
        "request_id",
    );
    bad_field(
        "no deletion",
        hold(&fresh(), "").await,
        "INVALID_FIELD",
        "name",
    );
    let unknown = format!("deletions/{}", fresh());
    let unknown = hold(&fresh(), &unknown).await;
    refused("unknown", unknown, Code::NotFound, "DELETION_NOT_FOUND");
    let used = caller.get(&name).await?;
    assert_eq!(used.state(), State::Erasing);
    assert_eq!(rows(&*kept).await?, before);
    coordinator.stop().await
}
