//! Wrong answers change nothing, each is counted, and an honest one still counts.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use farewell_core::Policy;
use farewell_proto::deletion::v1::{CheckEligibilityRequest, Factor, LegState, State};
use farewell_proto::device::v1::DeviceVerb;
use farewell_proto::participant::v1::report::Answer;
use farewell_proto::participant::v1::{
    CheckProofReply, Command, DeviceClass, DeviceFacts, DeviceOutcome, DeviceResult, Done,
    EligibilityReply, Outcome, ProofResult, Reply, Report, Retained, Verb, reply,
};
use farewell_tests::coordinator::Coordinator;
use farewell_tests::honest::Honest;
use farewell_tests::ledger::Place;
use farewell_tests::refusal::refused;
use farewell_tests::scripted::{Scripted, done, honest, report};
use farewell_tests::wait::SILENCE;
use farewell_tests::{audit, policy};
use tokio::time::sleep;
use tonic::Code;

use super::{deferred, erased, refuses, second, straight};

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
