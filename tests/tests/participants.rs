//! What a participant can get wrong, and what becomes of the deletion: nothing, until it answers honestly.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use farewell_coordinator::{Cell, Region};
use farewell_core::Policy;
use farewell_core::retry::Backoff;
use farewell_proto::deletion::v1::{
    CheckEligibilityRequest, ConditionKind, Factor, LegState, State,
};
use farewell_proto::device::v1::DeviceVerb;
use farewell_proto::participant::v1::connect_request::Message as Up;
use farewell_proto::participant::v1::connect_response::Message as Down;
use farewell_proto::participant::v1::home_answer::Answer as Told;
use farewell_proto::participant::v1::report::Answer;
use farewell_proto::participant::v1::{
    CheckProofReply, Command, Deferred, DescribeAccountReply, DeviceClass, DeviceFacts,
    DeviceOutcome, DeviceResult, Done, EligibilityReply, HomeElsewhere, HomeHere, HomeQuestion,
    InProgress, Outcome, ProofResult, Received, Refused, Reply, Report, Retained, Verb, reply,
};
use farewell_runtime::certs::DevCa;
use farewell_runtime::peer::Role;
use farewell_runtime::server::Security;
use farewell_tests::caller::{Caller, conditions};
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::honest::Honest;
use farewell_tests::ledger::Place;
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::scripted::{Scripted, done, hello, honest, report};
use farewell_tests::wait::{SILENCE, until};
use farewell_tests::{audit, policy};
use tokio::time::{sleep, timeout};
use tonic::Code;

const CLOUD_THEN_STORE: &[&[&str]] = &[&["cloud"], &["store"]];

fn straight() -> Policy {
    policy::straight(CLOUD_THEN_STORE)
}

fn second(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn erased(photos: i64) -> Answer {
    Answer::Done(done(Outcome::Erased, &[("photos", photos)]))
}

fn deferred(retry_after: Option<prost_types::Duration>, reason: &str) -> Answer {
    Answer::Deferred(Deferred {
        retry_after,
        reason: reason.to_owned(),
        done: 1,
        total: 2,
    })
}

fn refuses(reason: &str) -> Answer {
    Answer::Refused(Refused {
        reason: reason.to_owned(),
        detail: String::new(),
    })
}

fn kept(class: &str, basis: &str, count: i64, until: i64) -> Retained {
    Retained {
        class: class.to_owned(),
        legal_basis: basis.to_owned(),
        count,
        until_time: (until != 0).then_some(prost_types::Timestamp {
            seconds: until,
            nanos: 0,
        }),
        next_time: None,
    }
}

fn retained(retained: Vec<Retained>) -> Answer {
    Answer::Done(Done {
        retained,
        ..done(Outcome::Retained, &[])
    })
}

fn device(device: &str, binding_epoch: u64, outcome: DeviceOutcome) -> Answer {
    let result = DeviceResult {
        device: device.to_owned(),
        binding_epoch,
        outcome: outcome.into(),
        ..DeviceResult::default()
    };
    Answer::Done(Done {
        devices: vec![result],
        ..done(Outcome::Erased, &[("devices", 1)])
    })
}

/// Everything that is no answer to a command to erase, and the word for it.
fn wrong_answers(command: &Command) -> Vec<(&'static str, Report, &'static str)> {
    const LATER: i64 = 1_900_000_000;
    let named = |name: String| Report {
        command: name,
        ..report(command, erased(3))
    };
    let says = |answer: Answer| report(command, answer);
    let outcome = |outcome: Outcome| says(Answer::Done(done(outcome, &[("photos", 3)])));
    let account = |account: &str| Report {
        account: account.to_owned(),
        ..report(command, erased(3))
    };
    let name = &command.name;
    vec![
        (
            "another's leg",
            named(name.replace("-cloud", "-store")),
            "NOT_YOUR_LEG",
        ),
        ("no command", named(String::new()), "UNKNOWN_COMMAND"),
        ("garbage", named("garbage".to_owned()), "UNKNOWN_COMMAND"),
        (
            "a deletion that never was",
            named(
                "deletions/01890a5d-ac96-774b-bcce-b302099a8057/commands/1-erase-cloud".to_owned(),
            ),
            "UNKNOWN_COMMAND",
        ),
        (
            "a round that never was",
            named(name.replace("/1-", "/2-")),
            "UNKNOWN_COMMAND",
        ),
        (
            "round zero",
            named(name.replace("/1-", "/0-")),
            "UNKNOWN_COMMAND",
        ),
        (
            "a verb that is not planned",
            named(name.replace("-erase-", "-seal-")),
            "UNKNOWN_COMMAND",
        ),
        (
            "a verb that is none",
            named(name.replace("-erase-", "-burn-")),
            "UNKNOWN_COMMAND",
        ),
        (
            "a longer name",
            named(format!("{name}-x")),
            "UNKNOWN_COMMAND",
        ),
        (
            "no answer",
            Report {
                answer: None,
                ..says(erased(3))
            },
            "OUTCOME_MISSING",
        ),
        (
            "no outcome",
            outcome(Outcome::Unspecified),
            "OUTCOME_MISSING",
        ),
        (
            "an outcome of tomorrow",
            says(Answer::Done(Done {
                outcome: 77,
                ..done(Outcome::Erased, &[("photos", 3)])
            })),
            "OUTCOME_MISSING",
        ),
        (
            "a negative outcome",
            says(Answer::Done(Done {
                outcome: -1,
                ..done(Outcome::Erased, &[("photos", 3)])
            })),
            "OUTCOME_MISSING",
        ),
        (
            "another account",
            account("accounts/bob"),
            "ACCOUNT_MISMATCH",
        ),
        ("no account", account(""), "ACCOUNT_MISMATCH"),
        (
            "an account in capitals",
            account("accounts/ALICE"),
            "ACCOUNT_MISMATCH",
        ),
        (
            "erased nothing in particular",
            says(Answer::Done(done(Outcome::Erased, &[]))),
            "OUTCOME_EMPTY",
        ),
        (
            "erased less than nothing",
            says(erased(-1)),
            "OUTCOME_EMPTY",
        ),
        ("sealed", outcome(Outcome::Sealed), "OUTCOME_NOT_ALLOWED"),
        ("clean", outcome(Outcome::Clean), "OUTCOME_NOT_ALLOWED"),
        ("residue", outcome(Outcome::Residue), "OUTCOME_NOT_ALLOWED"),
        (
            "unsealed",
            outcome(Outcome::Unsealed),
            "OUTCOME_NOT_ALLOWED",
        ),
        (
            "retained, not what",
            says(retained(vec![])),
            "RETENTION_INCOMPLETE",
        ),
        (
            "retained, no law",
            says(retained(vec![kept("orders", "", 1, LATER)])),
            "RETENTION_INCOMPLETE",
        ),
        (
            "retained, no class",
            says(retained(vec![kept("", "Art. 31", 1, LATER)])),
            "RETENTION_INCOMPLETE",
        ),
        (
            "retained, none",
            says(retained(vec![kept("orders", "Art. 31", 0, LATER)])),
            "RETENTION_INCOMPLETE",
        ),
        (
            "retained for ever",
            says(retained(vec![kept("orders", "Art. 31", 1, 0)])),
            "RETENTION_INCOMPLETE",
        ),
        (
            "a stranger's device",
            says(device("devices/d1", 1, DeviceOutcome::Confirmed)),
            "DEVICE_UNKNOWN",
        ),
        (
            "a device without a name",
            says(device("", 1, DeviceOutcome::Confirmed)),
            "DEVICE_UNKNOWN",
        ),
        (
            "a device without epoch",
            says(device("devices/d1", 0, DeviceOutcome::Confirmed)),
            "DEVICE_OUTCOME_MISSING",
        ),
        (
            "a device without outcome",
            says(device("devices/d1", 1, DeviceOutcome::Unspecified)),
            "DEVICE_OUTCOME_MISSING",
        ),
        (
            "later, not when",
            says(deferred(None, "BUSY")),
            "DEFERRAL_OUT_OF_RANGE",
        ),
        (
            "now",
            says(deferred(second(0), "BUSY")),
            "DEFERRAL_OUT_OF_RANGE",
        ),
        (
            "yesterday",
            says(deferred(second(-60), "BUSY")),
            "DEFERRAL_OUT_OF_RANGE",
        ),
        (
            "next year",
            says(deferred(second(7 * 24 * 3_600 + 1), "BUSY")),
            "DEFERRAL_OUT_OF_RANGE",
        ),
        (
            "later, not why",
            says(deferred(second(60), "")),
            "REASON_MISSING",
        ),
        (
            "a refusal in prose",
            says(refuses("I would rather not")),
            "REASON_MISSING",
        ),
        (
            "a refusal without reason",
            says(refuses("")),
            "REASON_MISSING",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wrong_answer_changes_anything_each_is_counted_and_an_honest_one_still_counts()
-> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(straight(), &place.url).await?;
        let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
        let name = caller.delete("alice").await?;
        let mut cloud = Scripted::join(&coordinator.participants, "cloud", 16).await?;
        let command = cloud.command().await?;
        assert_eq!(
            (command.verb(), command.account.as_str()),
            (Verb::Erase, "accounts/alice")
        );
        assert_eq!(command.name, format!("{name}/commands/1-erase-cloud"));
        let mut counts = HashMap::<&str, u64>::new();
        for (what, wrong, reason) in wrong_answers(&command) {
            cloud.report(vec![wrong.clone()]).await;
            let refusals = cloud.refusals().await.context(what)?;
            assert_eq!(refusals.len(), 1, "{what}");
            assert_eq!(refusals[0].reason, reason, "{what}");
            assert_eq!(refusals[0].command, wrong.command, "{what}");
            *counts.entry(reason).or_default() += 1;
        }
        for (reason, count) in counts {
            assert_eq!(operator.refused("cloud", reason).await?, count, "{reason}");
        }
        let unmoved = caller.get(&name).await?;
        assert_eq!(unmoved.state(), State::Erasing);
        assert!(
            unmoved
                .legs
                .iter()
                .all(|leg| leg.outcome.is_empty() && leg.state() != LegState::Done)
        );

        // A whole frame of wrong answers spares the right one among them.
        let mut frame: Vec<_> = wrong_answers(&command)
            .into_iter()
            .map(|(_, wrong, _)| wrong)
            .collect();
        let wrong = frame.len();
        frame.insert(wrong / 2, report(&command, honest(&command)));
        cloud.report(frame).await;
        assert_eq!(cloud.refusals().await?.len(), wrong);
        let _store = Honest::join(&coordinator.participants, "store").await?;
        let purged = caller.until(&name, State::Purged).await?;
        assert_eq!(purged.legs[0].outcome, "ERASED");
        assert_eq!(
            purged.legs[0].counts,
            HashMap::from([("photos".to_owned(), 3)])
        );
        if let Some(kept) = place.open().await? {
            audit::sound(&*kept).await?;
        }
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_settles_a_leg_before_its_stage_is_reached() -> Result<()> {
    let coordinator = Coordinator::start(straight(), "memory:").await?;
    let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
    let name = caller.delete("alice").await?;
    let mut cloud = Scripted::join(&coordinator.participants, "cloud", 16).await?;
    let mut store = Scripted::join(&coordinator.participants, "store", 16).await?;
    let first = cloud.command().await?;
    let early = Command {
        name: first.name.replace("-cloud", "-store"),
        ..first.clone()
    };
    store.answer(&early, honest(&early)).await;
    assert_eq!(store.refusals().await?[0].reason, "NOT_ASKED");
    assert_eq!(operator.refused("store", "NOT_ASKED").await?, 1);
    store.silence(SILENCE).await?;
    cloud.answer(&first, honest(&first)).await;
    let second = store.command().await?;
    assert_eq!(second.name, early.name);
    store.answer(&second, honest(&second)).await;
    caller.until(&name, State::Purged).await?;
    coordinator.stop().await
}

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
    while Instant::now() < end {
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
        .answer(&first, deferred(second(2), "WAITING_FOR_DEVICES"))
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
        since.elapsed() >= Duration::from_secs(2),
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sealed_device_needs_a_result_of_its_own_binding() -> Result<()> {
    for place in Place::each()? {
        let sealing = Policy {
            seal: true,
            ..policy::straight(&[&["phones"]])
        };
        let coordinator = Coordinator::start(sealing, &place.url).await?;
        let caller = coordinator.caller()?;
        let name = caller.delete("alice").await?;
        let mut phones = Scripted::join(&coordinator.participants, "phones", 4).await?;
        let seal = phones.command().await?;
        assert_eq!((seal.verb(), seal.devices.len()), (Verb::Seal, 0));
        let bound = |device: &str, binding_epoch: u64, outcome: DeviceOutcome| DeviceResult {
            device: format!("devices/{device}"),
            binding_epoch,
            outcome: outcome.into(),
            ..DeviceResult::default()
        };
        let listed = |device: &str, binding_epoch: u64| DeviceResult {
            facts: Some(DeviceFacts {
                class: DeviceClass::Personal.into(),
                verbs: vec![DeviceVerb::Unbind.into(), DeviceVerb::Reset.into()],
                ..DeviceFacts::default()
            }),
            ..bound(device, binding_epoch, DeviceOutcome::Unspecified)
        };
        let roster = vec![listed("p1", 7), listed("p2", 1)];
        let sealed = Done {
            devices: roster,
            ..done(Outcome::Sealed, &[])
        };
        phones.answer(&seal, Answer::Done(sealed)).await;
        let erase = phones.command().await?;
        let mut tasks: Vec<_> = erase
            .devices
            .iter()
            .map(|task| (task.device.as_str(), task.binding_epoch))
            .collect();
        tasks.sort_unstable();
        assert_eq!(
            tasks,
            [("devices/p1", 7), ("devices/p2", 1)],
            "the roster that was sealed"
        );

        let confirmed = DeviceOutcome::Confirmed;
        let cases = [
            (vec![], "DEVICE_MISSING"),
            (vec![bound("p1", 7, confirmed)], "DEVICE_MISSING"),
            (
                vec![bound("p1", 7, confirmed), bound("p1", 7, confirmed)],
                "DEVICE_MISSING",
            ),
            (
                vec![bound("p1", 6, confirmed), bound("p2", 1, confirmed)],
                "DEVICE_UNKNOWN",
            ),
            (
                vec![bound("p1", 8, confirmed), bound("p2", 1, confirmed)],
                "DEVICE_UNKNOWN",
            ),
            (
                vec![
                    bound("p1", 7, confirmed),
                    bound("p2", 1, confirmed),
                    bound("p3", 1, confirmed),
                ],
                "DEVICE_UNKNOWN",
            ),
            (
                vec![
                    bound("p1", 7, confirmed),
                    bound("p2", 1, DeviceOutcome::Unspecified),
                ],
                "DEVICE_OUTCOME_MISSING",
            ),
        ];
        let erased = |devices: Vec<DeviceResult>| {
            Answer::Done(Done {
                devices,
                ..done(Outcome::Erased, &[("devices", 2)])
            })
        };
        for (devices, reason) in cases {
            phones.answer(&erase, erased(devices)).await;
            assert_eq!(phones.refusals().await?[0].reason, reason);
        }
        assert_eq!(caller.get(&name).await?.state(), State::Erasing);
        let both = vec![
            bound("p2", 1, DeviceOutcome::Detached),
            bound("p1", 7, confirmed),
        ];
        phones.answer(&erase, erased(both)).await;
        let purged = caller.until(&name, State::Purged).await?;
        let leg = purged
            .legs
            .iter()
            .find(|leg| leg.verb == "ERASE")
            .context("the leg")?;
        assert_eq!(leg.devices.len(), 2);
        coordinator.stop().await?;
    }
    Ok(())
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
async fn a_reply_counts_only_from_the_one_who_was_asked() -> Result<()> {
    let coordinator =
        Coordinator::start(policy::verified(&[&["cloud"], &["identity"]]), "memory:").await?;
    let caller = coordinator.caller()?;
    let name = caller.delete("alice").await?;
    let mut identity = Scripted::join(&coordinator.participants, "identity", 4).await?;
    let cloud = Scripted::join(&coordinator.participants, "cloud", 4).await?;
    let asking = {
        let (caller, name) = (caller.clone(), name.clone());
        tokio::spawn(async move { caller.verify(&name, Factor::SmsCode, "000000").await })
    };
    let query = identity.query().await?;
    let right = reply::Answer::CheckProof(CheckProofReply {
        result: ProofResult::Right.into(),
        tries_left: 3,
        next_try_time: None,
    });
    // Ids are easily guessed: that of the query and its neighbours, from somebody else.
    for query_id in query.id.saturating_sub(2)..query.id + 3 {
        cloud
            .reply(Reply {
                query_id,
                answer: Some(right.clone()),
            })
            .await;
    }
    let answer = asking.await?;
    refused(
        "a stranger's word",
        answer,
        Code::Unavailable,
        "IDENTITY_UNAVAILABLE",
    );
    // And too late from the right one.
    identity
        .reply(Reply {
            query_id: query.id,
            answer: Some(right),
        })
        .await;
    sleep(SILENCE).await;
    let still = caller.get(&name).await?;
    assert_eq!(still.state(), State::AwaitingVerification);
    assert!(!still.factors[0].verified);
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_blockers_only_so_many_are_taken_and_all_of_them_block() -> Result<()> {
    let coordinator = Coordinator::start(policy::whole(&[&["cloud"]]), "memory:").await?;
    let caller = coordinator.caller()?;
    let mut cloud = Scripted::join(&coordinator.participants, "cloud", 4).await?;
    let check = CheckEligibilityRequest {
        account: "accounts/alice".to_owned(),
    };
    let asking = {
        let caller = caller.clone();
        tokio::spawn(async move { caller.api.clone().check_eligibility(check).await })
    };
    let query = cloud.query().await?;
    let nameless = EligibilityReply {
        blockers: vec![Default::default(); 1_000],
    };
    cloud
        .reply(Reply {
            query_id: query.id,
            answer: Some(reply::Answer::Eligibility(nameless)),
        })
        .await;
    let checked = asking.await??.into_inner();
    assert!(!checked.eligible);
    assert_eq!(checked.blockers.len(), 64);
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

/// Asks where an account is at home.
async fn home(stream: &mut Scripted, account: &str) -> Result<Told> {
    let question = HomeQuestion {
        id: 7,
        account: account.to_owned(),
    };
    stream.say(Up::Home(question)).await;
    loop {
        match stream.hear().await? {
            Some(Down::Home(answer)) if answer.question_id == 7 => {
                return answer.answer.context("an answer");
            }
            Some(Down::Query(_)) => {}
            other => bail!("expected a home: {other:?}"),
        }
    }
}

fn unsaid(word: &str) -> Told {
    Told::Refused(word.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_an_account_lives_is_told_as_identity_knows_it_and_never_guessed() -> Result<()> {
    const ADDRESS: &str = "https://eu.example:7400";
    let (here, plain) = (Told::Here(HomeHere {}), Security::PlainLoopback);
    let plan = || policy::straight(&[&["cloud"], &["identity"]]);
    let only = Coordinator::start(plan(), "memory:").await?;
    let (mut cloud, welcome) = Scripted::welcome(&only.participants, &plain, "cloud").await?;
    assert_eq!(welcome.region, "");
    assert_eq!(home(&mut cloud, "accounts/emil").await?, here);
    only.stop().await?;

    let mut config = config(plan(), "memory:", &plain);
    let eu = Cell {
        address: ADDRESS.to_owned(),
        forward: None,
    };
    config.region = Region {
        name: "cn".to_owned(),
        cells: [("eu".to_owned(), eu)].into(),
    };
    let several = Coordinator::start_with(config).await?;
    let (mut cloud, welcome) = Scripted::welcome(&several.participants, &plain, "cloud").await?;
    assert_eq!(welcome.region, "cn");
    for nobody in ["", "emil", "accounts/", "accounts/e mil"] {
        let answer = home(&mut cloud, nobody).await?;
        assert_eq!(answer, unsaid("QUESTION_MALFORMED"), "{nobody}");
    }
    let away = || unsaid("IDENTITY_UNAVAILABLE");
    assert_eq!(home(&mut cloud, "accounts/emil").await?, away());

    let mut identity = Scripted::join(&several.participants, "identity", 1).await?;
    let elsewhere = |region: &str, address: &str| {
        Told::Elsewhere(HomeElsewhere {
            region: region.to_owned(),
            address: address.to_owned(),
        })
    };
    let described = |known, home_region: &str| {
        Some(reply::Answer::DescribeAccount(DescribeAccountReply {
            known,
            home_region: home_region.to_owned(),
            ..Default::default()
        }))
    };
    for (said, expected) in [
        (described(true, ""), here.clone()),
        (described(false, ""), here.clone()),
        (described(false, "cn"), here.clone()),
        (described(false, "eu"), elsewhere("eu", ADDRESS)),
        // A region that the settings don't name is another one all the same.
        (described(false, "mars"), elsewhere("mars", "")),
        (
            Some(reply::Answer::Unanswerable("DATABASE_AWAY".to_owned())),
            away(),
        ),
        (
            Some(reply::Answer::Eligibility(EligibilityReply::default())),
            away(),
        ),
        (None, away()),
    ] {
        let answering = async {
            let query = identity.query().await?;
            assert_eq!(query.account, "accounts/emil");
            if let Some(answer) = said {
                let query_id = query.id;
                let answer = Some(answer);
                identity.reply(Reply { query_id, answer }).await;
            }
            anyhow::Ok(())
        };
        let (told, answered) = tokio::join!(home(&mut cloud, "accounts/emil"), answering);
        answered?;
        assert_eq!(told?, expected);
    }
    several.stop().await
}
