//! A window is filled and never exceeded, and a deferral makes room for others.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use farewell_core::retry::Backoff;
use farewell_proto::deletion::v1::{LegState, State};
use farewell_proto::participant::v1::Command;
use farewell_proto::participant::v1::connect_response::Message as Down;
use farewell_runtime::server::Security;
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::honest::Honest;
use farewell_tests::policy;
use farewell_tests::scripted::{Scripted, honest};
use farewell_tests::wait::{PATIENCE, SILENCE, until};
use tokio::time::timeout;

use super::{deferred, second, straight};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_of_nothing_gets_nothing() -> Result<()> {
    let coordinator = Coordinator::start(straight(), "memory:").await?;
    let caller = coordinator.caller()?;
    let name = caller.delete("alice").await?;
    let mut cloud = Scripted::join(&coordinator.participants, "cloud", 0).await?;
    cloud.silence(SILENCE).await?;
    cloud.window(1).await;
    let command = cloud.command().await?;
    cloud.window(0).await;
    cloud.answer(&command, honest(&command)).await;
    let _store = Honest::join(&coordinator.participants, "store").await?;
    caller.until(&name, State::Purged).await?;
    let second = caller.delete("bob").await?;
    cloud.silence(SILENCE).await?;
    assert_eq!(caller.get(&second).await?.state(), State::Erasing);
    coordinator.stop().await
}

/// Takes commands and answers the oldest one after a while. Returns the most that were ever unanswered at a time.
async fn most_unanswered(cloud: &mut Scripted, commands: usize, pause: Duration) -> Result<usize> {
    let (mut open, mut settled) = (Vec::<Command>::new(), BTreeSet::new());
    let mut most = 0;
    while settled.len() < commands {
        while let Ok(message) = timeout(pause, cloud.next()).await {
            match message? {
                Some(Down::Commands(frame)) => {
                    for command in frame.commands {
                        // A repeat of one that is open is the same command; of a settled one there is none.
                        assert!(
                            !settled.contains(&command.name),
                            "asked again: {}",
                            command.name
                        );
                        if !open.iter().any(|known| known.name == command.name) {
                            open.push(command);
                        }
                    }
                    most = most.max(open.len());
                }
                other => bail!("expected commands: {other:?}"),
            }
        }
        if !open.is_empty() {
            let command = open.remove(0);
            cloud.answer(&command, honest(&command)).await;
            settled.insert(command.name);
        }
    }
    Ok(most)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_is_filled_and_never_exceeded() -> Result<()> {
    let coordinator = Coordinator::start(policy::straight(&[&["cloud"]]), "memory:").await?;
    let caller = coordinator.caller()?;
    for number in 0..30 {
        caller.delete(&format!("account-{number}")).await?;
    }
    let mut cloud = Scripted::join(&coordinator.participants, "cloud", 4).await?;
    let most = most_unanswered(&mut cloud, 30, Duration::from_millis(20)).await?;
    assert_eq!(most, 4);
    until("the last purge", async || {
        Ok((caller.list(&[State::Purged]).await?.len() == 30).then_some(()))
    })
    .await?;
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_is_not_exceeded_by_asking_again_either() -> Result<()> {
    let mut config = config(
        policy::straight(&[&["cloud"]]),
        "memory:",
        &Security::PlainLoopback,
    );
    // Far faster than the participant: everything is asked many times before it is answered.
    config.pace.retry = Backoff {
        base: Duration::from_millis(30),
        cap: Duration::from_millis(60),
    };
    let coordinator = Coordinator::start_with(config).await?;
    let caller = coordinator.caller()?;
    for number in 0..8 {
        caller.delete(&format!("account-{number}")).await?;
    }
    let mut cloud = Scripted::join(&coordinator.participants, "cloud", 3).await?;
    let mut open = BTreeSet::new();
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end || open.len() < 3 {
        ensure!(Instant::now() < end + PATIENCE, "the window is not filled");
        if let Ok(message) = timeout(Duration::from_millis(50), cloud.next()).await {
            let Some(Down::Commands(frame)) = message? else {
                bail!("expected commands");
            };
            open.extend(frame.commands.into_iter().map(|command| command.name));
        }
    }
    assert_eq!(open.len(), 3, "unanswered at a time");
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deferral_makes_room_for_others_and_is_asked_again_when_it_said() -> Result<()> {
    let coordinator = Coordinator::start(policy::straight(&[&["cloud"]]), "memory:").await?;
    let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
    let mut cloud = Scripted::join(&coordinator.participants, "cloud", 1).await?;
    let alice = caller.delete("alice").await?;
    let first = cloud.command().await?;
    let bob = caller.delete("bob").await?;
    cloud.silence(SILENCE).await?;
    let since = Instant::now();
    cloud
        .answer(&first, deferred(second(5), "WAITING_FOR_DEVICES"))
        .await;
    let other = cloud.command().await?;
    assert!(
        other.name.starts_with(&bob),
        "the window is free for somebody else"
    );
    let waiting = caller.get(&alice).await?;
    assert_eq!(waiting.legs[0].state(), LegState::Deferred);
    assert_eq!(waiting.legs[0].progress, "WAITING_FOR_DEVICES 1/2");
    let desk = operator.overview().await?.participants[0].clone();
    assert_eq!((desk.deferred, desk.outstanding), (1, 1));
    cloud.answer(&other, honest(&other)).await;
    let again = cloud.command().await?;
    assert!(
        since.elapsed() >= Duration::from_secs(5),
        "no earlier than it said"
    );
    assert_eq!(again.name, first.name);
    cloud.answer(&again, honest(&again)).await;
    caller.until(&alice, State::Purged).await?;
    caller.until(&bob, State::Purged).await?;
    let desk = operator.overview().await?.participants[0].clone();
    assert_eq!((desk.deferred, desk.outstanding, desk.waiting), (0, 0, 0));
    coordinator.stop().await
}
