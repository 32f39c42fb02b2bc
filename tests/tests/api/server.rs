//! Deadlines of callers, health, reflection, and the end of a coordinator.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use farewell_proto::deletion::v1::{CheckEligibilityRequest, State};
use farewell_runtime::server::Security;
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::honest::Honest;
use farewell_tests::ledger::Place;
use farewell_tests::policy;
use tonic::{Code, Request};

use super::{STAGES, verified};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sets_a_deadline_is_answered_by_then() -> Result<()> {
    let mut patient = config(verified(), "memory:", &Security::PlainLoopback);
    patient.pace.query = Duration::from_secs(15);
    let coordinator = Coordinator::start_with(patient).await?;
    let caller = coordinator.caller()?;
    let all = Honest::join_all(&coordinator.participants, &["cloud", "identity"]).await?;
    all.iter().for_each(|one| one.manners().mute = true);
    let check = CheckEligibilityRequest {
        account: "accounts/alice".to_owned(),
    };
    let mut asked = Request::new(check);
    asked.set_timeout(Duration::from_millis(300));
    let since = Instant::now();
    let status = caller.api.clone().check_eligibility(asked).await;
    let status = status.expect_err("nobody answers");
    assert!(
        since.elapsed() < Duration::from_secs(8),
        "{:?}",
        since.elapsed()
    );
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    // The participants are told how long an answer is of use.
    let asked = all[0].manners().asked.clone();
    let timeout = asked[0].timeout.context("a deadline")?;
    assert_eq!((timeout.seconds, timeout.nanos), (15, 0));
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_reflection_answer_on_the_ports_that_have_them() -> Result<()> {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let coordinator = Coordinator::start(verified(), "memory:").await?;
    let dial = |address: &str| {
        anyhow::Ok(
            farewell_runtime::client::endpoint(address, &Security::PlainLoopback)?.connect_lazy(),
        )
    };
    let ports = [
        (
            &coordinator.callers,
            "farewell.deletion.v1.DeletionService",
            true,
        ),
        (
            &coordinator.participants,
            "farewell.participant.v1.ParticipantService",
            false,
        ),
        (
            &coordinator.operators,
            "farewell.operator.v1.OperatorService",
            true,
        ),
    ];
    for (address, service, reflects) in ports {
        for asked in [service, ""] {
            let mut health = HealthClient::new(dial(address)?);
            let request = HealthCheckRequest {
                service: asked.to_owned(),
            };
            let answer = health.check(request).await?.into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
        }
        let mut reflection = ServerReflectionClient::new(dial(address)?);
        let list = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let answer = reflection
            .server_reflection_info(tokio_stream::iter([list]))
            .await;
        if !reflects {
            assert_eq!(
                answer.expect_err("no reflection").code(),
                Code::Unimplemented
            );
            continue;
        }
        let answer = answer?
            .into_inner()
            .message()
            .await?
            .and_then(|it| it.message_response);
        let Some(MessageResponse::ListServicesResponse(list)) = answer else {
            return Err(anyhow!("no list: {answer:?}"));
        };
        assert!(list.service.iter().any(|it| it.name == service), "{list:?}");
    }
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_ends_says_so_and_what_it_accepted_is_there_afterwards() -> Result<()> {
    let place = Place::sqlite()?;
    let coordinator = Coordinator::start(policy::straight(STAGES), &place.url).await?;
    let caller = coordinator.caller()?;
    let mut names = Vec::new();
    for number in 0..10 {
        names.push(caller.delete(&format!("account-{number}")).await?);
    }
    coordinator.stop().await?;
    let next = Coordinator::start(policy::straight(STAGES), &place.url).await?;
    let caller = next.caller()?;
    let _all = Honest::join_all(&next.participants, &["cloud", "identity"]).await?;
    for name in names {
        caller.until(&name, State::Purged).await?;
    }
    next.stop().await
}
