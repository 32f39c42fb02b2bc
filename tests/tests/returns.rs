//! A device that was away returns long after the purge: its addendum stands beside a certificate that never changes.

use anyhow::{Context as _, Result, bail};
use farewell_core::{DeletionId, Policy};
use farewell_proto::deletion::v1::{
    GetCertificateRequest, GetCertificateResponse, LegState, State,
};
use farewell_proto::device::v1::DeviceVerb;
use farewell_proto::participant::v1::connect_request::Message as Up;
use farewell_proto::participant::v1::connect_response::Message as Down;
use farewell_proto::participant::v1::report::Answer;
use farewell_proto::participant::v1::{
    Command, DeviceClass, DeviceFacts, DeviceOutcome, DeviceResult, DeviceReturn, DeviceReturns,
    Done, Outcome, Verb,
};
use farewell_tests::caller::Caller;
use farewell_tests::coordinator::Coordinator;
use farewell_tests::ledger::Place;
use farewell_tests::policy;
use farewell_tests::refusal::bad_field;
use farewell_tests::scripted::{Scripted, done};
use farewell_tests::wait::SILENCE;
use prost_types::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

/// `2026-01-01T00:00:00Z`.
const RETURNED: Timestamp = Timestamp {
    seconds: 1_767_225_600,
    nanos: 0,
};

fn sealing() -> Policy {
    Policy {
        seal: true,
        ..policy::straight(&[&["phones"]])
    }
}

fn result(device: &str, outcome: DeviceOutcome) -> DeviceResult {
    DeviceResult {
        device: format!("devices/{device}"),
        binding_epoch: 7,
        outcome: outcome.into(),
        ..DeviceResult::default()
    }
}

fn answer(outcome: Outcome, counts: &[(&str, i64)], devices: Vec<DeviceResult>) -> Answer {
    Answer::Done(Done {
        devices,
        ..done(outcome, counts)
    })
}

/// Up to an ERASE for two phones that nobody has answered.
async fn asked(coordinator: &Coordinator, account: &str) -> Result<(String, Scripted, Command)> {
    let name = coordinator.caller()?.delete(account).await?;
    let mut phones = Scripted::join(&coordinator.participants, "phones", 4).await?;
    let seal = phones.command().await?;
    let listed = |device: &str| DeviceResult {
        facts: Some(DeviceFacts {
            class: DeviceClass::Personal.into(),
            verbs: vec![DeviceVerb::Unbind.into()],
            ..DeviceFacts::default()
        }),
        ..result(device, DeviceOutcome::Unspecified)
    };
    let roster = vec![listed("p1"), listed("p2")];
    phones
        .answer(&seal, answer(Outcome::Sealed, &[], roster))
        .await;
    let erase = phones.command().await?;
    assert_eq!(erase.verb(), Verb::Erase);
    Ok((name, phones, erase))
}

/// `p1` was away, `p2` carried its order out.
async fn purged(coordinator: &Coordinator, account: &str) -> Result<(String, Scripted, Command)> {
    let (name, phones, erase) = asked(coordinator, account).await?;
    let results = vec![
        result("p1", DeviceOutcome::Detached),
        result("p2", DeviceOutcome::Executed),
    ];
    let erased = answer(Outcome::Erased, &[("devices", 2)], results);
    phones.answer(&erase, erased).await;
    coordinator.caller()?.until(&name, State::Purged).await?;
    Ok((name, phones, erase))
}

fn back(command: &str, device: &str, outcome: DeviceOutcome) -> DeviceReturn {
    DeviceReturn {
        command: command.to_owned(),
        device: format!("devices/{device}"),
        binding_epoch: 7,
        outcome: outcome.into(),
        time: Some(RETURNED),
    }
}

/// Each with what is refused in it, as far as there is an answer.
async fn tell(
    phones: &mut Scripted,
    id: u64,
    returns: Vec<DeviceReturn>,
) -> Result<Vec<(String, String)>> {
    phones.say(Up::Returns(DeviceReturns { id, returns })).await;
    match phones.hear().await? {
        Some(Down::ReturnsKept(kept)) => {
            assert_eq!(kept.returns_id, id);
            let kept = kept.kept.into_iter();
            Ok(kept.map(|kept| (kept.device, kept.refused)).collect())
        }
        other => bail!("expected what is kept: {other:?}"),
    }
}

async fn certified(caller: &Caller, name: &str) -> Result<GetCertificateResponse> {
    let request = GetCertificateRequest {
        name: name.to_owned(),
    };
    Ok(caller
        .api
        .clone()
        .get_certificate(request)
        .await?
        .into_inner())
}

fn pair(device: &str, refused: &str) -> (String, String) {
    (format!("devices/{device}"), refused.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_returns_after_the_purge_is_an_addendum_and_the_certificate_stays()
-> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(sealing(), &place.url).await?;
        let caller = coordinator.caller()?;
        let (name, mut phones, erase) = purged(&coordinator, "alice").await?;
        let before = certified(&caller, &name).await?;
        assert_eq!(before.addenda, Vec::<String>::new());

        let command = erase.name.as_str();
        let executed = back(command, "p1", DeviceOutcome::Executed);
        let confirmed = back(command, "p2", DeviceOutcome::Confirmed);
        let kept = tell(&mut phones, 1, vec![executed.clone(), confirmed]).await?;
        assert_eq!(kept, [pair("p1", ""), pair("p2", "")]);
        let once = certified(&caller, &name).await?;
        assert_eq!(once.document, before.document);
        let addendum: Value = serde_json::from_str(&once.addenda[0])?;
        let certificate: Value = serde_json::from_slice(&before.document)?;
        let legs = certificate["legs"].as_array().context("legs")?;
        let leg = legs.iter().find(|leg| leg["verb"] == "erase");
        assert_eq!(
            addendum,
            json!({
                "format": 1,
                "deletion": name,
                "participant": "phones",
                "round": 1,
                "device": "devices/p1",
                "binding_epoch": 7,
                "before": "DETACHED",
                "outcome": "EXECUTED",
                "returned": "2026-01-01T00:00:00Z",
                "recorded": addendum["recorded"],
                "fingerprint": leg.context("the leg")?["fingerprint"],
            })
        );

        // Told again it is durable already; told more it is another addendum, behind the others.
        let more = back(command, "p1", DeviceOutcome::Confirmed);
        let kept = tell(&mut phones, 2, vec![executed, more]).await?;
        assert_eq!(kept, [pair("p1", ""), pair("p1", "")]);
        let twice = certified(&caller, &name).await?;
        assert_eq!(twice.document, before.document);
        assert_eq!(twice.addenda.len(), 3);
        assert_eq!(twice.addenda[..2], once.addenda);
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_receipt_leaves_open_is_refused_for_good_and_nothing_is_kept() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(sealing(), &place.url).await?;
        let caller = coordinator.caller()?;
        let (name, mut phones, erase) = purged(&coordinator, "alice").await?;
        let command = erase.name.as_str();
        let nobody = DeletionId(Uuid::now_v7());
        let unknown = format!("deletions/{nobody}/commands/1-erase-phones");
        let cloud = command.replace("phones", "cloud");
        let second = command.replace("/1-", "/2-");
        let confirmed = DeviceOutcome::Confirmed;
        let sound = back(command, "p1", confirmed);
        let newer = DeviceReturn {
            binding_epoch: 8,
            ..sound.clone()
        };
        let timeless = DeviceReturn {
            time: None,
            ..sound.clone()
        };
        let cases = [
            (back("", "p1", confirmed), "UNKNOWN_COMMAND"),
            (back(&unknown, "p1", confirmed), "UNKNOWN_COMMAND"),
            (back(&second, "p1", confirmed), "UNKNOWN_COMMAND"),
            (back(&cloud, "p1", confirmed), "NOT_YOUR_LEG"),
            (back(command, "p3", confirmed), "DEVICE_UNKNOWN"),
            (newer, "DEVICE_UNKNOWN"),
            (
                back(command, "p2", DeviceOutcome::Superseded),
                "NOT_DETACHED",
            ),
            (
                back(command, "p1", DeviceOutcome::Detached),
                "OUTCOME_NOT_ALLOWED",
            ),
            (
                back(command, "p1", DeviceOutcome::Unspecified),
                "DEVICE_OUTCOME_MISSING",
            ),
            (timeless, "TIME_MISSING"),
        ];
        let (told, reasons): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
        let refused = tell(&mut phones, 1, told).await?;
        let refused: Vec<_> = refused.iter().map(|(_, reason)| reason.as_str()).collect();
        assert_eq!(refused, reasons);
        assert_eq!(certified(&caller, &name).await?.addenda.len(), 0);

        // What is wrong keeps nothing else from being kept.
        let bad = back(command, "p3", confirmed);
        let kept = tell(&mut phones, 2, vec![bad, sound]).await?;
        assert_eq!(kept, [pair("p3", "DEVICE_UNKNOWN"), pair("p1", "")]);
        assert_eq!(certified(&caller, &name).await?.addenda.len(), 1);
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_before_its_erasing_is_settled_is_told_again() -> Result<()> {
    let coordinator = Coordinator::start(sealing(), "memory:").await?;
    let caller = coordinator.caller()?;
    let (name, mut phones, erase) = asked(&coordinator, "alice").await?;
    let confirmed = back(&erase.name, "p1", DeviceOutcome::Confirmed);
    assert_eq!(tell(&mut phones, 1, vec![confirmed.clone()]).await?, []);
    // Nor does what only a return can say settle it.
    let results = vec![
        result("p1", DeviceOutcome::NeverReturned),
        result("p2", DeviceOutcome::Executed),
    ];
    let erased = |results| answer(Outcome::Erased, &[("devices", 2)], results);
    phones.answer(&erase, erased(results)).await;
    let refusals = phones.refusals().await?;
    assert_eq!(refusals[0].reason, "DEVICE_OUTCOME_MISSING");
    let legs = caller.get(&name).await?.legs;
    assert!(
        legs.iter()
            .all(|leg| leg.verb != "ERASE" || leg.state() != LegState::Done)
    );

    let results = vec![
        result("p1", DeviceOutcome::Detached),
        result("p2", DeviceOutcome::Executed),
    ];
    phones.answer(&erase, erased(results)).await;
    caller.until(&name, State::Purged).await?;
    let kept = tell(&mut phones, 2, vec![confirmed]).await?;
    assert_eq!(kept, [pair("p1", "")]);
    assert_eq!(certified(&caller, &name).await?.addenda.len(), 1);
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_coordinator_keeps_a_return_and_so_it_does_after_a_restart() -> Result<()> {
    let place = Place::sqlite()?;
    let coordinator = Coordinator::start(sealing(), &place.url).await?;
    let (name, phones, erase) = purged(&coordinator, "alice").await?;
    drop(phones);
    coordinator.stop().await?;

    let heir = Coordinator::start(sealing(), &place.url).await?;
    let mut phones = Scripted::join(&heir.participants, "phones", 4).await?;
    let expired = back(&erase.name, "p1", DeviceOutcome::NeverReturned);
    let kept = tell(&mut phones, 1, vec![expired]).await?;
    assert_eq!(kept, [pair("p1", "")]);
    let once = certified(&heir.caller()?, &name).await?;
    heir.stop().await?;

    let last = Coordinator::start(sealing(), &place.url).await?;
    assert_eq!(certified(&last.caller()?, &name).await?, once);
    assert!(once.addenda[0].contains("NEVER_RETURNED"));
    last.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_holds_1_to_256_returns() -> Result<()> {
    let coordinator = Coordinator::start(sealing(), "memory:").await?;
    let (_, mut phones, erase) = purged(&coordinator, "alice").await?;
    let confirmed = back(&erase.name, "p1", DeviceOutcome::Confirmed);
    let most = tell(&mut phones, 1, vec![confirmed.clone(); 256]).await?;
    assert_eq!(most.len(), 256);
    phones.silence(SILENCE).await?;
    for returns in [vec![], vec![confirmed; 257]] {
        let mut phones = Scripted::join(&coordinator.participants, "phones", 4).await?;
        let frame = DeviceReturns { id: 1, returns };
        phones.say(Up::Returns(frame)).await;
        bad_field(
            "size",
            Err::<(), _>(phones.end().await?),
            "INVALID_FIELD",
            "returns.returns",
        );
    }
    coordinator.stop().await
}
