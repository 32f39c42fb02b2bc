//! A repeat is no news, and a contradiction blocks until a person has looked.

use anyhow::Result;
use farewell_core::Policy;
use farewell_proto::deletion::v1::{ConditionKind, LegState, State};
use farewell_proto::participant::v1::report::Answer;
use farewell_proto::participant::v1::{Outcome, Received, Verb};
use farewell_tests::caller::conditions;
use farewell_tests::coordinator::Coordinator;
use farewell_tests::honest::Honest;
use farewell_tests::ledger::Place;
use farewell_tests::scripted::{Scripted, done, honest, report};
use farewell_tests::wait::SILENCE;
use farewell_tests::{audit, policy};
use tokio::time::sleep;

use super::{deferred, erased, refuses, second, straight};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_that_contradicts_itself_blocks_the_purge_until_a_person_has_looked()
-> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(straight(), &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let name = caller.delete("alice").await?;
        let mut cloud = Scripted::join(&coordinator.participants, "cloud", 16).await?;
        let command = cloud.command().await?;
        cloud.answer(&command, erased(3)).await;
        caller
            .until_true(&name, "a settled leg", |it| {
                Ok(it.legs[0].state() == LegState::Done)
            })
            .await?;
        cloud.answer(&command, erased(4)).await;
        assert_eq!(cloud.refusals().await?[0].reason, "OUTCOME_CONFLICT");
        assert_eq!(operator.refused("cloud", "OUTCOME_CONFLICT").await?, 1);
        let disputed = caller
            .until_true(&name, "a conflict", |it| Ok(!it.conditions.is_empty()))
            .await?;
        assert_eq!(disputed.conditions[0].kind(), ConditionKind::Conflict);
        assert_eq!(conditions(&disputed), [("EVIDENCE_CONFLICT", "")]);
        assert_eq!(
            disputed.legs[0].counts["photos"], 3,
            "the first answer stands"
        );

        let store = Honest::join(&coordinator.participants, "store").await?;
        caller
            .until_true(&name, "the other leg", |it| {
                Ok(it.legs[1].state() == LegState::Done)
            })
            .await?;
        sleep(SILENCE).await;
        let blocked = caller.get(&name).await?;
        assert_ne!(
            blocked.state(),
            State::Purged,
            "contradicting evidence blocks"
        );
        assert!(blocked.purge_time.is_none());
        assert_eq!(store.verbs("alice"), [Verb::Erase]);
        if let Some(kept) = place.open().await? {
            audit::sound(&*kept).await?;
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_answers_in_one_frame_are_a_repeat_if_they_are_the_same_and_else_a_conflict()
-> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(straight(), &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let mut cloud = Scripted::join(&coordinator.participants, "cloud", 16).await?;
        let _store = Honest::join(&coordinator.participants, "store").await?;
        let alice = caller.delete("alice").await?;
        let command = cloud.command().await?;
        cloud
            .report(vec![
                report(&command, erased(3)),
                report(&command, erased(3)),
            ])
            .await;
        caller.until(&alice, State::Purged).await?;
        assert_eq!(operator.refused("cloud", "OUTCOME_CONFLICT").await?, 0);

        let bob = caller.delete("bob").await?;
        let command = cloud.command().await?;
        cloud
            .report(vec![
                report(&command, erased(3)),
                report(&command, erased(4)),
            ])
            .await;
        assert_eq!(cloud.refusals().await?[0].reason, "OUTCOME_CONFLICT");
        assert_eq!(operator.refused("cloud", "OUTCOME_CONFLICT").await?, 1);
        let disputed = caller
            .until_true(&bob, "a conflict", |it| Ok(!it.conditions.is_empty()))
            .await?;
        assert_eq!(conditions(&disputed), [("EVIDENCE_CONFLICT", "")]);
        if let Some(kept) = place.open().await? {
            audit::sound(&*kept).await?;
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_is_no_news_before_and_after_the_purge_and_a_contradiction_shows_even_then()
-> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(straight(), &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let name = caller.delete("alice").await?;
        let mut cloud = Scripted::join(&coordinator.participants, "cloud", 16).await?;
        let command = cloud.command().await?;
        cloud.answer(&command, erased(3)).await;
        cloud.answer(&command, erased(3)).await;
        let _store = Honest::join(&coordinator.participants, "store").await?;
        let purged = caller.until(&name, State::Purged).await?;
        for _ in 0..3 {
            cloud.answer(&command, erased(3)).await;
        }
        // What isn't evidence says nothing about a leg that is settled.
        cloud.answer(&command, Answer::Received(Received {})).await;
        cloud.answer(&command, deferred(second(60), "BUSY")).await;
        cloud.answer(&command, refuses("TOO_LATE")).await;
        cloud.silence(SILENCE).await?;
        assert_eq!(caller.get(&name).await?, purged, "nothing has changed");
        assert!(operator.overview().await?.refused_reports.is_empty());

        cloud.answer(&command, erased(4)).await;
        assert_eq!(cloud.refusals().await?[0].reason, "OUTCOME_CONFLICT");
        let disputed = caller
            .until_true(&name, "a conflict", |it| Ok(!it.conditions.is_empty()))
            .await?;
        assert_eq!(
            disputed.state(),
            State::Purged,
            "what is purged stays purged"
        );
        assert_eq!(disputed.purge_time, purged.purge_time);
        assert_eq!(conditions(&disputed), [("EVIDENCE_CONFLICT", "")]);
        if let Some(kept) = place.open().await? {
            audit::sound(&*kept).await?;
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_waits_for_a_person_and_a_late_answer_is_still_welcome() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(straight(), &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let name = caller.delete("alice").await?;
        let mut cloud = Scripted::join(&coordinator.participants, "cloud", 16).await?;
        let command = cloud.command().await?;
        cloud.answer(&command, refuses("LITIGATION_HOLD")).await;
        let stuck = caller
            .until_true(&name, "a refusal", |it| Ok(!it.conditions.is_empty()))
            .await?;
        assert_eq!(conditions(&stuck), [("LEG_REFUSED", "cloud")]);
        assert_eq!(stuck.conditions[0].kind(), ConditionKind::Stalled);
        assert_eq!(
            (stuck.state(), stuck.legs[0].state()),
            (State::Erasing, LegState::Refused)
        );
        assert_eq!(operator.overview().await?.participants[0].refused, 1);
        cloud.silence(SILENCE).await?;
        cloud.answer(&command, honest(&command)).await;
        let _store = Honest::join(&coordinator.participants, "store").await?;
        let purged = caller.until(&name, State::Purged).await?;
        assert_eq!(conditions(&purged), Vec::<(&str, &str)>::new());
        assert_eq!(operator.overview().await?.participants[0].refused, 0);
        if let Some(kept) = place.open().await? {
            audit::sound(&*kept).await?;
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn residue_is_erased_again_in_a_new_round_and_everybody_is_asked_again() -> Result<()> {
    for place in Place::each()? {
        let probing = Policy {
            probe: true,
            ..policy::straight(&[&["cloud", "store"]])
        };
        let coordinator = Coordinator::start(probing, &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let name = caller.delete("alice").await?;
        // Room for one command each: whatever is not given back is missed at once.
        let mut cloud = Scripted::join(&coordinator.participants, "cloud", 1).await?;
        let mut store = Scripted::join(&coordinator.participants, "store", 1).await?;
        for participant in [&mut cloud, &mut store] {
            let erase = participant.command().await?;
            assert_eq!(erase.verb(), Verb::Erase);
            participant.answer(&erase, honest(&erase)).await;
        }
        let (probe, other) = (cloud.command().await?, store.command().await?);
        assert_eq!((probe.verb(), other.verb()), (Verb::Probe, Verb::Probe));
        assert_eq!(caller.get(&name).await?.state(), State::Verifying);
        let residue = Answer::Done(done(Outcome::Residue, &[("thumbnails", 2)]));
        cloud.answer(&probe, residue.clone()).await;
        let again = cloud.command().await?;
        assert_eq!(again.name, format!("{name}/commands/2-erase-cloud"));
        let erasing = caller.get(&name).await?;
        assert_eq!(erasing.state(), State::Erasing, "not over yet");
        assert!(erasing.purge_time.is_none());
        assert_eq!(
            erasing.legs[0].command, again.name,
            "what is shown is what is owed"
        );

        // The other's answer of the first round is late and says nothing about the second.
        store.answer(&other, honest(&other)).await;
        cloud.answer(&again, erased(2)).await;
        for participant in [&mut cloud, &mut store] {
            let probe = participant.command().await?;
            assert!(probe.name.contains("/2-probe-"), "{}", probe.name);
            participant.answer(&probe, honest(&probe)).await;
        }
        let purged = caller.until(&name, State::Purged).await?;
        assert!(purged.legs.iter().all(|leg| leg.state() == LegState::Done));
        // A repeat of the residue is old news.
        cloud.answer(&probe, residue).await;
        cloud.silence(SILENCE).await?;
        assert_eq!(caller.get(&name).await?, purged);
        assert!(operator.overview().await?.refused_reports.is_empty());
        if let Some(kept) = place.open().await? {
            audit::sound(&*kept).await?;
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn residue_of_nothing_is_no_answer() -> Result<()> {
    let probing = Policy {
        probe: true,
        ..policy::straight(&[&["cloud"]])
    };
    let coordinator = Coordinator::start(probing, "memory:").await?;
    let caller = coordinator.caller()?;
    let name = caller.delete("alice").await?;
    let mut cloud = Scripted::join(&coordinator.participants, "cloud", 1).await?;
    let erase = cloud.command().await?;
    cloud.answer(&erase, honest(&erase)).await;
    let probe = cloud.command().await?;
    for counts in [&[][..], &[("photos", 0)]] {
        cloud
            .answer(&probe, Answer::Done(done(Outcome::Residue, counts)))
            .await;
        assert_eq!(cloud.refusals().await?[0].reason, "OUTCOME_EMPTY");
    }
    cloud
        .answer(
            &probe,
            Answer::Done(done(Outcome::Erased, &[("photos", 1)])),
        )
        .await;
    assert_eq!(cloud.refusals().await?[0].reason, "OUTCOME_NOT_ALLOWED");
    assert_eq!(caller.get(&name).await?.state(), State::Verifying);
    cloud.answer(&probe, honest(&probe)).await;
    caller.until(&name, State::Purged).await?;
    coordinator.stop().await
}
