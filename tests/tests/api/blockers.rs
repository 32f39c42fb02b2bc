//! What holds a deletion back, and that silence is never a yes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use farewell_core::Policy;
use farewell_proto::deletion::v1::{
    CheckEligibilityRequest, Factor, GetInventoryRequest, State, VerifyFactorRequest,
};
use farewell_proto::participant::v1::reply::Answer;
use farewell_proto::participant::v1::{EligibilityBlocker, ProofResult, Verb};
use farewell_tests::caller::{conditions, fresh};
use farewell_tests::coordinator::Coordinator;
use farewell_tests::honest::{Honest, Manners};
use farewell_tests::ledger::Place;
use farewell_tests::policy;
use farewell_tests::wait::SILENCE;
use tokio::time::sleep;
use tonic::Request;

use super::{STAGES, proof, verified};

fn blocker() -> EligibilityBlocker {
    EligibilityBlocker {
        code: "UNFINISHED_ORDER".to_owned(),
        message: "An order has not arrived.".to_owned(),
        remedy: "Wait for it, or cancel it.".to_owned(),
        count: 2,
        ..EligibilityBlocker::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_deletion_says_by_what_and_goes_on_when_it_is_gone() -> Result<()> {
    for place in Place::each()? {
        let coordinator = Coordinator::start(verified(), &place.url).await?;
        let caller = coordinator.caller()?;
        let all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
        all[0].manners().blockers.push(blocker());
        let check = CheckEligibilityRequest {
            account: "accounts/alice".to_owned(),
        };
        let checked = caller
            .api
            .clone()
            .check_eligibility(check)
            .await?
            .into_inner();
        assert!(!checked.eligible);
        assert_eq!(checked.blockers.len(), 1);
        assert_eq!(checked.blockers[0].participant, "cloud");

        let name = caller.delete("alice").await?;
        all[1]
            .manners()
            .proofs
            .push_back(proof(ProofResult::Right, 3));
        let told = caller.verify(&name, Factor::SmsCode, "123456").await?;
        assert_eq!(told.state(), State::AwaitingVerification);
        assert_eq!(conditions(&told), [("UNFINISHED_ORDER", "cloud")]);
        assert_eq!(
            told.conditions[0].message, "2 orders have not arrived yet.",
            "what the catalogue knows is said in its own words"
        );
        let mut again = Request::new(VerifyFactorRequest {
            request_id: fresh(),
            name: name.clone(),
            factor: Factor::SmsCode.into(),
            proof: "123456".to_owned(),
            ..Default::default()
        });
        let chinese = "zh-CN, zh;q=0.9".parse()?;
        again.metadata_mut().insert("accept-language", chinese);
        let again = caller.api.clone().verify_factor(again).await?.into_inner();
        let told = again.deletion.context("a deletion")?;
        assert_eq!(told.conditions[0].message, "有 2 个订单尚未送达。");
        sleep(SILENCE).await;
        let blocked = caller.get(&name).await?;
        assert_eq!(conditions(&blocked), [("UNFINISHED_ORDER", "cloud")]);
        assert!(
            all.iter().all(|one| one.manners().heard.is_empty()),
            "nothing was sent"
        );

        all[0].manners().blockers.clear();
        let free = caller.until(&name, State::CoolingOff).await?;
        assert_eq!(conditions(&free), Vec::<(&str, &str)>::new());
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocker_that_appears_in_the_cooling_off_period_holds_the_erasing_back() -> Result<()> {
    for place in Place::each()? {
        let slow = Policy {
            // Time enough for the blocker to appear in it.
            cooling_off: Duration::from_secs(3),
            ..policy::whole(STAGES)
        };
        let coordinator = Coordinator::start(slow, &place.url).await?;
        let caller = coordinator.caller()?;
        let all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
        let name = caller.delete("alice").await?;
        caller.until(&name, State::CoolingOff).await?;
        all[0].manners().blockers.push(blocker());
        let held = caller
            .until_true(&name, "blocked", |deletion| {
                Ok(!deletion.conditions.is_empty())
            })
            .await?;
        assert_eq!(held.state(), State::CoolingOff);
        assert_eq!(conditions(&held), [("UNFINISHED_ORDER", "cloud")]);
        sleep(SILENCE).await;
        let verbs = |one: &Honest| one.verbs("alice");
        assert!(
            all.iter().all(|one| verbs(one) == [Verb::Seal]),
            "nothing was erased"
        );
        all[0].manners().blockers.clear();
        caller.until(&name, State::Purged).await?;
        assert!(
            all.iter()
                .all(|one| verbs(one) == [Verb::Seal, Verb::Erase, Verb::Probe])
        );
        coordinator.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_that_gives_no_answer_is_never_a_yes() -> Result<()> {
    let coordinator = Coordinator::start(policy::whole(STAGES), "memory:").await?;
    let caller = coordinator.caller()?;
    let check = || async {
        let request = CheckEligibilityRequest {
            account: "accounts/alice".to_owned(),
        };
        let answer = caller
            .api
            .clone()
            .check_eligibility(request)
            .await?
            .into_inner();
        let mut blockers: Vec<_> = answer
            .blockers
            .into_iter()
            .map(|it| (it.code, it.participant))
            .collect();
        blockers.sort();
        anyhow::Ok((answer.eligible, blockers))
    };
    let unreachable = |names: &[&str]| {
        let one = |name: &&str| ("PARTICIPANT_UNREACHABLE".to_owned(), (*name).to_owned());
        (false, names.iter().map(one).collect::<Vec<_>>())
    };
    assert_eq!(
        check().await?,
        unreachable(&["cloud", "identity"]),
        "nobody is there"
    );
    let name = caller.delete("bob").await?;
    let all = Honest::join_all(&coordinator.participants, &["cloud"]).await?;
    assert_eq!(check().await?, unreachable(&["identity"]), "one is missing");
    let mute = Manners {
        mute: true,
        ..Manners::default()
    };
    let identity = Honest::join_with(&coordinator.participants, "identity", mute).await?;
    assert_eq!(check().await?, unreachable(&["identity"]), "one is silent");
    identity.manners().mute = false;
    identity.manners().unable = true;
    assert_eq!(check().await?, unreachable(&["identity"]), "one can't say");
    identity.manners().unable = false;
    identity.manners().beside_the_point = Some(Answer::CheckProof(proof(ProofResult::Right, 1)));
    assert_eq!(
        check().await?,
        unreachable(&["identity"]),
        "one speaks of something else"
    );
    let waiting = caller
        .until_true(&name, "asked", |deletion| {
            Ok(!deletion.conditions.is_empty())
        })
        .await?;
    assert_eq!(
        waiting.state(),
        State::AwaitingVerification,
        "and nobody takes it for a yes"
    );
    assert!(
        conditions(&waiting)
            .iter()
            .all(|(reason, _)| *reason == "PARTICIPANT_UNREACHABLE")
    );
    assert!(all[0].manners().heard.is_empty());

    let look = GetInventoryRequest {
        account: "accounts/alice".to_owned(),
    };
    let seen = caller
        .api
        .clone()
        .get_inventory(look)
        .await?
        .into_inner()
        .holdings;
    let seen: Vec<_> = seen
        .iter()
        .map(|it| (it.participant.as_str(), it.answered, it.categories.len()))
        .collect();
    assert_eq!(seen, [("cloud", true, 1), ("identity", false, 0)]);

    identity.manners().beside_the_point = None;
    assert_eq!(check().await?, (true, vec![]));
    caller.until(&name, State::Purged).await?;
    coordinator.stop().await
}
