//! The same request gets the same answer; an account has one live deletion.

use std::collections::{BTreeMap, HashSet};

use anyhow::Result;
use farewell_core::Policy;
use farewell_proto::deletion::v1::{Channel, CreateDeletionRequest, RevokeDeletionRequest, State};
use farewell_tests::caller::{fresh, request};
use farewell_tests::coordinator::Coordinator;
use farewell_tests::ledger::Place;
use farewell_tests::refusal::{bad_field, refused};
use tonic::{Code, Status};

use super::{consent, verified};

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
