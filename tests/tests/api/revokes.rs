//! A deletion that is taken back, in time or too late.

use std::time::Duration;

use anyhow::{Context as _, Result};
use farewell_core::Policy;
use farewell_proto::deletion::v1::{LegState, State};
use farewell_proto::participant::v1::Verb;
use farewell_tests::coordinator::Coordinator;
use farewell_tests::honest::Honest;
use farewell_tests::ledger::Place;
use farewell_tests::refusal::refused;
use farewell_tests::wait::{SILENCE, until};
use farewell_tests::{audit, policy};
use prost_types::Timestamp;
use tokio::time::sleep;
use tonic::Code;

use super::STAGES;

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
