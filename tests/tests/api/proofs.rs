//! What a person must prove and agree to before anything is sealed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use farewell_core::Policy;
use farewell_proto::deletion::v1::{
    Channel, Consent, CreateDeletionRequest, Factor, LegState, State, VerifyFactorRequest,
};
use farewell_proto::participant::v1::reply::Answer;
use farewell_proto::participant::v1::{
    CheckProofReply, EligibilityReply, ProofResult, SendCodeReply, SendCodeResult,
};
use farewell_tests::caller::{fresh, request};
use farewell_tests::coordinator::Coordinator;
use farewell_tests::honest::Honest;
use farewell_tests::ledger::Place;
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::wait::SILENCE;
use prost_types::Timestamp;
use tokio::time::sleep;
use tonic::Code;

use super::{consent, proof, verified};

fn locked(next_in: Duration) -> CheckProofReply {
    CheckProofReply {
        next_try_time: Some((SystemTime::now() + next_in).into()),
        ..proof(ProofResult::Locked, 0)
    }
}

fn code(result: SendCodeResult, next_in: Duration) -> SendCodeReply {
    SendCodeReply {
        result: result.into(),
        expire_time: Some((SystemTime::now() + Duration::from_secs(600)).into()),
        next_send_time: Some((SystemTime::now() + next_in).into()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_sent_refused_and_checked_as_identity_says() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(verified(), &place.url).await?;
        let caller = coordinator.caller()?;
        let name = caller.delete("alice").await?;
        let factor = Factor::SmsCode;

        let away = "IDENTITY_UNAVAILABLE";
        let sent = caller.send_code(&name, factor).await;
        refused("a code without identity", sent, Code::Unavailable, away);
        let shown = caller.verify(&name, factor, "000000").await;
        refused("a proof without identity", shown, Code::Unavailable, away);

        let _cloud = Honest::join(&coordinator.participants, "cloud").await?;
        let identity = Honest::join(&coordinator.participants, "identity").await?;
        let minute = Duration::from_secs(60);
        {
            let mut manners = identity.manners();
            manners.codes.extend([
                code(SendCodeResult::Sent, minute),
                code(SendCodeResult::TooSoon, minute),
                code(SendCodeResult::NoAddress, minute),
                code(SendCodeResult::Unspecified, minute),
            ]);
            manners.proofs.extend([
                proof(ProofResult::Wrong, 2),
                proof(ProofResult::Wrong, 0),
                locked(minute),
                proof(ProofResult::Expired, 0),
                proof(ProofResult::Unspecified, 5),
            ]);
        }
        let sent = caller.send_code(&name, factor).await?;
        ensure!(
            sent.expire_time.is_some() && sent.next_send_time.is_some(),
            "{sent:?}"
        );
        let soon = caller.send_code(&name, factor).await;
        let soon = refused("too soon", soon, Code::ResourceExhausted, "CODE_TOO_SOON");
        let wait = soon.retry_after.context("when to come again")?;
        ensure!(
            wait > Duration::from_secs(20) && wait <= Duration::from_secs(60),
            "{wait:?}"
        );
        let no = Code::FailedPrecondition;
        refused(
            "no address",
            caller.send_code(&name, factor).await,
            no,
            "NO_ADDRESS",
        );
        let unsaid = caller.send_code(&name, factor).await;
        refused("an unknown result", unsaid, Code::Unavailable, away);

        for left in ["2", "0"] {
            let wrong = caller.verify(&name, factor, "000000").await;
            let wrong = refused("a wrong code", wrong, no, "WRONG_PROOF");
            assert_eq!(
                wrong.metadata.get("tries_left").map(String::as_str),
                Some(left)
            );
            ensure!(
                !format!("{wrong:?}").contains("000000"),
                "a proof is never repeated"
            );
        }
        let locked = caller.verify(&name, factor, "000000").await;
        let locked = refused("locked", locked, Code::ResourceExhausted, "TOO_MANY_TRIES");
        let wait = locked.retry_after.context("when to come again")?;
        ensure!(wait > Duration::from_secs(20) && wait <= minute, "{wait:?}");
        let old = caller.verify(&name, factor, "000000").await;
        refused("an old code", old, no, "PROOF_EXPIRED");
        let unsaid = caller.verify(&name, factor, "000000").await;
        refused("an unknown result", unsaid, Code::Unavailable, away);

        // No answer, an answer to another question, and "I can't" are not "right".
        identity.manners().mute = true;
        let mute = caller.verify(&name, factor, "123456").await;
        refused("silence", mute, Code::Unavailable, away);
        identity.manners().mute = false;
        identity.manners().unable = true;
        let unable = caller.verify(&name, factor, "123456").await;
        refused("unanswerable", unable, Code::Unavailable, away);
        identity.manners().unable = false;
        identity.manners().beside_the_point =
            Some(Answer::Eligibility(EligibilityReply { blockers: vec![] }));
        let other = caller.verify(&name, factor, "123456").await;
        refused(
            "an answer to another question",
            other,
            Code::Unavailable,
            away,
        );
        identity.manners().beside_the_point = None;

        let still = caller.get(&name).await?;
        assert_eq!(still.state(), State::AwaitingVerification);
        assert!(
            still.factors.iter().all(|factor| !factor.verified),
            "{still:?}"
        );
        identity
            .manners()
            .proofs
            .push_back(proof(ProofResult::Right, 3));
        let show = VerifyFactorRequest {
            request_id: fresh(),
            name: name.clone(),
            factor: factor.into(),
            proof: "123456".to_owned(),
            ..Default::default()
        };
        let first = caller
            .api
            .clone()
            .verify_factor(show.clone())
            .await?
            .into_inner();
        let first = first.deletion.context("the deletion")?;
        assert_eq!(first.state(), State::CoolingOff);
        let again = caller.api.clone().verify_factor(show).await?.into_inner();
        assert_eq!(
            again.deletion.map(|again| again.state()),
            Some(State::CoolingOff)
        );
        let late = caller.send_code(&name, factor).await;
        refused("a code for nothing", late, no, "ILLEGAL_STATE");
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_factor_of_the_channel_is_needed_before_anything_is_sealed() -> Result<()> {
    let coordinator = Coordinator::start(verified(), "memory:").await?;
    let caller = coordinator.caller()?;
    let all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
    let web = CreateDeletionRequest {
        channel: Channel::Web.into(),
        ..request("alice")
    };
    let name = caller.ask(web).await?.name;
    all[1]
        .manners()
        .proofs
        .extend([proof(ProofResult::Right, 3), proof(ProofResult::Right, 3)]);
    let half = caller.verify(&name, Factor::Password, "hunter2").await?;
    assert_eq!(half.state(), State::AwaitingVerification);
    sleep(SILENCE).await;
    assert!(
        all.iter().all(|one| one.manners().heard.is_empty()),
        "nothing was sent"
    );
    let whole = caller.verify(&name, Factor::EmailCode, "123456").await?;
    assert_eq!(whole.state(), State::CoolingOff);
    caller
        .until_true(&name, "seals", |deletion| {
            let seals = deletion.legs.iter().filter(|leg| leg.verb == "SEAL");
            Ok(seals.filter(|leg| leg.state() == LegState::Done).count() == 2)
        })
        .await?;
    // The same code proves nothing twice, and nobody asks identity about what is known.
    assert_eq!(all[1].manners().proofs.len(), 0);
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_nobody_verifies_expires_and_frees_the_account() -> Result<()> {
    for place in Place::each()? {
        let hasty = Policy {
            verification: Duration::from_millis(500),
            ..verified()
        };
        let coordinator = Coordinator::start(hasty, &place.url).await?;
        let caller = coordinator.caller()?;
        let name = caller.delete("alice").await?;
        let expired = caller.until(&name, State::Expired).await?;
        assert!(
            expired.close_time.is_some() && expired.legs.iter().all(|leg| leg.outcome.is_empty())
        );
        caller.delete("alice").await?;
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consents_and_factors_are_on_record_as_they_were_given() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(verified(), &place.url).await?;
        let caller = coordinator.caller()?;
        let given = (1..=32).map(|number| Consent {
            text: format!("text-{number}"),
            version: number,
            time: Some(Timestamp {
                seconds: 1_700_000_000,
                nanos: 123_456_000,
            }),
        });
        let given: Vec<_> = given.collect();
        let asked = CreateDeletionRequest {
            consents: given.clone(),
            ..request("alice")
        };
        let name = caller.ask(asked).await?.name;
        let kept = caller.get(&name).await?;
        assert_eq!(kept.consents, given);
        assert_eq!(kept.channel(), Channel::Phone);
        assert_eq!(kept.factors.len(), 1);
        assert_eq!(kept.factors[0].factor(), Factor::SmsCode);
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_policy_wants_agreed_to_is_agreed_to_before_a_request_is_taken() -> Result<()> {
    let texts = BTreeMap::from([(consent().text, 2), ("devices-reset".to_owned(), 1)]);
    let policy = Policy {
        consents: BTreeMap::from([(farewell_core::policy::Channel::Phone, texts)]),
        ..verified()
    };
    let coordinator = Coordinator::start(policy, "memory:").await?;
    let caller = coordinator.caller()?;
    let agreed = |text: &str, version| Consent {
        text: text.to_owned(),
        version,
        ..consent()
    };
    let (loss, devices) = (consent().text, "devices-reset");
    for consents in [
        vec![],
        vec![agreed(&loss, 1), agreed(devices, 1)],
        vec![agreed(&loss, 2)],
        vec![agreed(&loss, 2), agreed("devices", 1)],
    ] {
        let asked = CreateDeletionRequest {
            consents: consents.clone(),
            ..request("alice")
        };
        let refused = caller.ask(asked).await;
        let what = format!("{consents:?}");
        bad_field(&what, refused, "CONSENT_MISSING", "consents");
    }
    assert!(caller.list(&[]).await?.is_empty(), "nothing was taken");
    let asked = CreateDeletionRequest {
        consents: vec![agreed(devices, 1), agreed(&loss, 3)],
        ..request("alice")
    };
    let taken = caller.ask(asked).await?;
    assert_eq!(taken.state(), State::AwaitingVerification);
    coordinator.stop().await
}
