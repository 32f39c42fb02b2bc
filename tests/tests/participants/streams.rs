//! Streams break, are taken over, and begin with a hello of somebody known.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, anyhow};
use farewell_core::Policy;
use farewell_core::retry::Backoff;
use farewell_proto::deletion::v1::{LegState, State};
use farewell_proto::participant::v1::report::Answer;
use farewell_proto::participant::v1::{InProgress, Received, Verb};
use farewell_runtime::certs::DevCa;
use farewell_runtime::peer::Role;
use farewell_runtime::server::Security;
use farewell_tests::caller::Caller;
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::honest::Honest;
use farewell_tests::ledger::Place;
use farewell_tests::policy;
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::scripted::{Scripted, hello, honest, report};
use farewell_tests::wait::{SILENCE, until};
use tokio::time::sleep;
use tonic::Code;

use super::straight;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_over_the_next_stream_counts() -> Result<()> {
    let coordinator = Coordinator::start(straight(), "memory:").await?;
    let caller = coordinator.caller()?;
    let name = caller.delete("alice").await?;
    let mut cloud = Scripted::join(&coordinator.participants, "cloud", 16).await?;
    let command = cloud.command().await?;
    drop(cloud);
    // No window: it is not asked again, and answers what it was asked before.
    let mut cloud = Scripted::join(&coordinator.participants, "cloud", 0).await?;
    cloud.answer(&command, honest(&command)).await;
    let _store = Honest::join(&coordinator.participants, "store").await?;
    caller.until(&name, State::Purged).await?;
    cloud.silence(SILENCE).await?;
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_participant_took_with_it_is_asked_again_under_the_same_name() -> Result<()> {
    let mut config = config(straight(), "memory:", &Security::PlainLoopback);
    config.pace.retry = Backoff {
        base: Duration::from_secs(3_600),
        cap: Duration::from_secs(3_600),
    };
    let coordinator = Coordinator::start_with(config).await?;
    let caller = coordinator.caller()?;
    let name = caller.delete("alice").await?;
    let mut cloud = Scripted::join(&coordinator.participants, "cloud", 16).await?;
    let first = cloud.command().await?;
    cloud.answer(&first, Answer::Received(Received {})).await;
    cloud
        .answer(
            &first,
            Answer::InProgress(InProgress {
                done: 1,
                total: 2,
                expected_by: None,
            }),
        )
        .await;
    let working = caller
        .until_true(&name, "progress", |it| {
            Ok(it.legs[0].state() == LegState::InProgress)
        })
        .await?;
    assert_eq!(working.legs[0].progress, "1/2");
    drop(cloud);
    let mut cloud = Scripted::join(&coordinator.participants, "cloud", 16).await?;
    let again = cloud.command().await?;
    assert_eq!(
        (again.name.as_str(), again.account.as_str()),
        (first.name.as_str(), first.account.as_str())
    );
    cloud.answer(&again, honest(&again)).await;
    let _store = Honest::join(&coordinator.participants, "store").await?;
    caller.until(&name, State::Purged).await?;
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_gets_lost_is_sent_again_and_one_in_progress_is_not_forgotten() -> Result<()>
{
    let mut config = config(straight(), "memory:", &Security::PlainLoopback);
    config.pace.retry = Backoff {
        base: Duration::from_millis(200),
        cap: Duration::from_millis(400),
    };
    let coordinator = Coordinator::start_with(config).await?;
    let caller = coordinator.caller()?;
    let name = caller.delete("alice").await?;
    let mut cloud = Scripted::join(&coordinator.participants, "cloud", 1).await?;
    let first = cloud.command().await?;
    for _ in 0..3 {
        let again = cloud.command().await?;
        assert_eq!(
            again.name, first.name,
            "the same command has the same name on every delivery"
        );
        cloud.answer(&again, Answer::Received(Received {})).await;
    }
    cloud.answer(&first, honest(&first)).await;
    let _store = Honest::join(&coordinator.participants, "store").await?;
    caller.until(&name, State::Purged).await?;
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_too_many_reports_ends_the_stream_and_settles_nothing() -> Result<()> {
    let coordinator = Coordinator::start(straight(), "memory:").await?;
    let caller = coordinator.caller()?;
    let name = caller.delete("alice").await?;
    let security = Security::PlainLoopback;
    let (mut cloud, welcome) =
        Scripted::welcome(&coordinator.participants, &security, "cloud").await?;
    assert_eq!(welcome.coordinator, "story");
    cloud.window(4).await;
    let command = cloud.command().await?;
    let many = vec![report(&command, honest(&command)); usize::try_from(welcome.reports_max)? + 1];
    cloud.report(many).await;
    let status = cloud.end().await?;
    refused::<()>(
        "too many",
        Err(status),
        Code::ResourceExhausted,
        "TOO_MANY_REPORTS",
    );
    assert_ne!(caller.get(&name).await?.legs[0].state(), LegState::Done);

    let (mut cloud, _) = Scripted::welcome(&coordinator.participants, &security, "cloud").await?;
    let most = vec![report(&command, honest(&command)); usize::try_from(welcome.reports_max)?];
    cloud.report(most).await;
    caller
        .until_true(&name, "a settled leg", |it| {
            Ok(it.legs[0].state() == LegState::Done)
        })
        .await?;
    cloud.silence(SILENCE).await?;
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_begins_with_one_hello_of_somebody_known() -> Result<()> {
    let coordinator = Coordinator::start(straight(), "memory:").await?;
    let security = Security::PlainLoopback;
    let address = &coordinator.participants;
    for (name, code, reason) in [
        ("strangers", Code::PermissionDenied, "UNKNOWN_PARTICIPANT"),
        ("", Code::InvalidArgument, "INVALID_FIELD"),
        ("Cloud", Code::InvalidArgument, "INVALID_FIELD"),
    ] {
        let mut stream = Scripted::dial(address, &security).await?;
        stream.say(hello(name)).await;
        refused::<()>(name, Err(stream.end().await?), code, reason);
    }
    let mut stream = Scripted::dial(address, &security).await?;
    stream.window(1).await;
    bad_field::<()>(
        "no hello",
        Err(stream.end().await?),
        "INVALID_FIELD",
        "hello",
    );
    let mut stream = Scripted::dial(address, &security).await?;
    stream.say_nothing().await;
    bad_field::<()>(
        "nothing",
        Err(stream.end().await?),
        "INVALID_FIELD",
        "hello",
    );

    let (mut stream, _) = Scripted::welcome(address, &security, "cloud").await?;
    stream.say(hello("cloud")).await;
    bad_field::<()>(
        "hello twice",
        Err(stream.end().await?),
        "INVALID_FIELD",
        "hello",
    );
    let (mut stream, _) = Scripted::welcome(address, &security, "cloud").await?;
    stream.say_nothing().await;
    bad_field::<()>(
        "nothing",
        Err(stream.end().await?),
        "INVALID_FIELD",
        "message",
    );
    let (mut stream, _) = Scripted::welcome(address, &security, "cloud").await?;
    stream.window(65_537).await;
    bad_field::<()>(
        "a wide window",
        Err(stream.end().await?),
        "INVALID_FIELD",
        "window.commands",
    );

    let operator = coordinator.operator()?;
    until("all to have left", async || {
        let overview = operator.overview().await?;
        Ok(overview
            .participants
            .iter()
            .all(|it| it.sessions == 0)
            .then_some(()))
    })
    .await?;
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_in_another_name_than_the_certificate_is_denied() -> Result<()> {
    let ca = DevCa::create()?;
    let mutual = |role, name: &str| anyhow::Ok(Security::Mutual(ca.issue(role, name, &[])?));
    let config = config(
        straight(),
        "memory:",
        &mutual(Role::Coordinator, "coordinator")?,
    );
    let coordinator = Coordinator::start_with(config).await?;
    let address = &coordinator.participants;
    let cloud = mutual(Role::Participant, "cloud")?;
    let mut stream = Scripted::dial(address, &cloud).await?;
    stream.say(hello("store")).await;
    let status = stream.end().await?;
    refused::<()>(
        "another name",
        Err(status),
        Code::PermissionDenied,
        "IDENTITY_MISMATCH",
    );
    Scripted::welcome(address, &cloud, "cloud").await?;
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_that_arrives_after_the_revoke_is_lifted_all_the_same() -> Result<()> {
    for place in Place::each()? {
        let slow = Policy {
            seal: true,
            cooling_off: Duration::from_secs(3_600),
            ..policy::straight(&[&["cloud"]])
        };
        let coordinator = Coordinator::start(slow, &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let name = caller.delete("alice").await?;
        let mut cloud = Scripted::join(&coordinator.participants, "cloud", 4).await?;
        let seal = cloud.command().await?;
        assert_eq!(seal.verb(), Verb::Seal);
        caller.revoke(&name).await?;
        let unseal = cloud.command().await?;
        assert_eq!(unseal.verb(), Verb::Unseal);
        cloud.answer(&seal, honest(&seal)).await;
        sleep(Duration::from_millis(200)).await;
        assert!(caller.get(&name).await?.close_time.is_none());
        cloud.answer(&unseal, honest(&unseal)).await;
        let closed = caller
            .until_true(&name, "closed", |it| Ok(it.close_time.is_some()))
            .await?;
        assert_eq!(closed.state(), State::Revoked);
        assert!(
            operator.overview().await?.refused_reports.is_empty(),
            "it did nothing wrong"
        );
        coordinator.stop().await?;
    }
    Ok(())
}

/// Two sessions of one participant share what is owed, and what one of them took is the other's when it leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_session_takes_over_what_the_first_one_leaves() -> Result<()> {
    let mut config = config(
        policy::straight(&[&["cloud"]]),
        "memory:",
        &Security::PlainLoopback,
    );
    config.pace.retry = Backoff {
        base: Duration::from_secs(3_600),
        cap: Duration::from_secs(3_600),
    };
    let coordinator = Coordinator::start_with(config).await?;
    let caller: Caller = coordinator.caller()?;
    let mut one = Scripted::join(&coordinator.participants, "cloud", 2).await?;
    let mut names = Vec::new();
    for number in 0..4 {
        names.push(caller.delete(&format!("account-{number}")).await?);
    }
    let mut taken = BTreeSet::from([one.command().await?.name, one.command().await?.name]);
    let mut two = Scripted::join(&coordinator.participants, "cloud", 100).await?;
    let mut commands = vec![two.command().await?, two.command().await?];
    taken.extend(commands.iter().map(|command| command.name.clone()));
    assert_eq!(taken.len(), 4, "each was sent once");
    drop(one);
    commands.extend([two.command().await?, two.command().await?]);
    let all: BTreeSet<_> = commands
        .iter()
        .map(|command| command.name.clone())
        .collect();
    assert_eq!(all, taken);
    for command in &commands {
        two.answer(command, honest(command)).await;
    }
    for name in names {
        caller.until(&name, State::Purged).await?;
    }
    two.silence(SILENCE)
        .await
        .map_err(|error| anyhow!("nothing is owed any more: {error}"))?;
    coordinator.stop().await
}
