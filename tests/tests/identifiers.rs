//! Whether a name, a number or an address may be given to a new account: asked by whoever registers people.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow, ensure};
use farewell_core::policy::retention::Quarantine;
use farewell_identity::code::Pepper;
use farewell_identity::{Identity, Rules, courier};
use farewell_kit::store::Store;
use farewell_kit::{CodeChannel, service, session};
use farewell_proto::deletion::v1::State;
use farewell_proto::identifier::v1::identifier_service_client::IdentifierServiceClient;
use farewell_proto::identifier::v1::{
    CheckIdentifierRequest, CheckIdentifierResponse, IdentifierKind, IdentifierStanding,
    ReleaseIdentifierRequest, ReleaseIdentifierResponse,
};
use farewell_runtime::client::endpoint;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use farewell_tests::caller::fresh;
use farewell_tests::coordinator::Coordinator;
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::{policy, wait};
use prost_types::Timestamp;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status};

const PHONE: &str = "+86 138 0000 0000";
const NAME: &str = "lina_in_the_hills";
const MAIL: &str = "li.na@example.com";

/// Identity, in this process, and a coordinator whose policy holds names and numbers back.
struct Town {
    coordinator: Coordinator,
    api: IdentifierServiceClient<Channel>,
    identity: Store,
    shutdown: Shutdown,
    _folder: TempDir,
}

impl Town {
    async fn start() -> Result<Self> {
        let mut plan = policy::whole(&[&["identity"]]);
        plan.quarantine = Some(Quarantine {
            legal_basis: "a reason".to_owned(),
            custodian: "identity".parse()?,
            user_name: Some("180 days".parse()?),
            phone: Some("30 days".parse()?),
            email: None,
        });
        let coordinator = Coordinator::start(plan, "memory:").await?;
        let folder = TempDir::new()?;
        let url = format!("sqlite:{}", folder.path().join("identity.db").display());
        let identity = farewell_identity::open(&url).await?;
        let letters = courier::Config::file(folder.path().join("letters"));
        let couriers = courier::Couriers::open(&letters)?;
        let pepper = Pepper::new(*b"sixteen bytes or more")?;
        let taking_part = Identity::new(identity.clone(), couriers, pepper, Rules::default());
        let session = session::Config {
            participant: "identity".to_owned(),
            coordinators: vec![format!("http://{}", coordinator.participants)],
            security: Security::PlainLoopback,
            window_commands: 8,
        };
        let shutdown = Shutdown::new();
        let (store, code) = (identity.clone(), Arc::new(taking_part));
        shutdown.spawn(service::run(store, code, session, shutdown.clone()));
        let address = format!("http://{}", coordinator.callers);
        let channel = endpoint(&address, &Security::PlainLoopback)?.connect_lazy();
        let town = Self {
            api: IdentifierServiceClient::new(channel),
            coordinator,
            identity,
            shutdown,
            _folder: folder,
        };
        wait::until("identity", async || {
            let asked = town.check(IdentifierKind::Phone, "110").await;
            Ok(asked.is_ok().then_some(()))
        })
        .await?;
        Ok(town)
    }

    async fn stop(self) -> Result<()> {
        self.shutdown.trigger();
        ensure!(self.shutdown.drain(Duration::from_secs(20)).await);
        self.coordinator.stop().await
    }

    async fn check(
        &self,
        kind: IdentifierKind,
        value: &str,
    ) -> Result<CheckIdentifierResponse, Status> {
        let request = CheckIdentifierRequest {
            kind: kind.into(),
            value: value.to_owned(),
        };
        let answer = self.api.clone().check_identifier(request).await?;
        Ok(answer.into_inner())
    }

    async fn standing(&self, kind: IdentifierKind, value: &str) -> Result<IdentifierStanding> {
        let answer = self.check(kind, value).await;
        Ok(answer.map_err(|status| anyhow!("{status:?}"))?.standing())
    }

    async fn release(
        &self,
        request: ReleaseIdentifierRequest,
    ) -> Result<ReleaseIdentifierResponse, Status> {
        let answer = self.api.clone().release_identifier(request).await?;
        Ok(answer.into_inner())
    }

    async fn purge(&self, account: &str) -> Result<()> {
        let caller = self.coordinator.caller()?;
        let name = caller.delete(account).await?;
        caller.until(&name, State::Purged).await?;
        Ok(())
    }
}

fn releasing(value: &str) -> ReleaseIdentifierRequest {
    ReleaseIdentifierRequest {
        kind: IdentifierKind::Phone.into(),
        value: value.to_owned(),
        verify_time: Some(Timestamp::from(SystemTime::now())),
        request_id: fresh(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_somebody_else_has_now_is_free_and_a_name_is_not() -> Result<()> {
    use IdentifierKind::{Email, Phone, UserName};
    use IdentifierStanding::{Free, InUse, Quarantined};

    let town = Town::start().await?;
    for (kind, value) in [(UserName, NAME), (Phone, PHONE), (Email, MAIL)] {
        assert_eq!(town.standing(kind, value).await?, Free, "{value}");
    }
    farewell_identity::sample(&town.identity, "a-1", PHONE, MAIL, "a long password").await?;
    for (kind, value) in [
        (UserName, "LINA_in_the_hills"),
        (Phone, PHONE),
        (Email, MAIL),
    ] {
        assert_eq!(town.standing(kind, value).await?, InUse, "{value}");
    }
    let taken = town.release(releasing(PHONE)).await;
    refused(
        "a number in use",
        taken,
        Code::AlreadyExists,
        "IDENTIFIER_IN_USE",
    );

    // Only a purge holds anything back, and only what the policy names.
    let caller = town.coordinator.caller()?;
    let revoked = caller.delete("a-1").await?;
    caller.revoke(&revoked).await?;
    wait::until("the seal to be lifted", async || {
        let seen = caller.get(&revoked).await;
        Ok(seen.is_ok_and(|it| it.close_time.is_some()).then_some(()))
    })
    .await?;
    assert_eq!(town.standing(Phone, PHONE).await?, InUse);
    town.purge("a-1").await?;
    assert_eq!(town.standing(UserName, NAME).await?, Quarantined);
    assert_eq!(town.standing(Phone, "+86(138)00000000").await?, Quarantined);
    assert_eq!(town.standing(Email, MAIL).await?, Free);
    let held = town.check(Phone, PHONE).await?;
    assert!(held.until_time.is_some_and(|at| at.seconds > 0));

    // The operator gave the number to somebody else, who has shown that they have it.
    let request = releasing(PHONE);
    for _ in 0..2 {
        let free = town.release(request.clone()).await?;
        assert_eq!(free.standing(), Free);
    }
    assert_eq!(town.standing(Phone, PHONE).await?, Free);
    assert_eq!(town.standing(UserName, NAME).await?, Quarantined);
    farewell_identity::register(&town.identity, "a-2", "another_name").await?;
    farewell_identity::set_contact(&town.identity, "a-2", CodeChannel::Sms, PHONE).await?;
    assert_eq!(town.standing(Phone, PHONE).await?, InUse);
    town.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_by_its_field_and_changes_nothing() -> Result<()> {
    let town = Town::start().await?;
    farewell_identity::sample(&town.identity, "a-1", PHONE, MAIL, "a long password").await?;
    town.purge("a-1").await?;
    let long = "x".repeat(255);
    for (kind, value, field) in [
        (IdentifierKind::Unspecified, NAME, "kind"),
        (IdentifierKind::UserName, "", "value"),
        (IdentifierKind::UserName, long.as_str(), "value"),
        (IdentifierKind::Phone, "not a number", "value"),
        (IdentifierKind::Email, "nobody", "value"),
    ] {
        let answer = town.check(kind, value).await;
        bad_field(value, answer, "INVALID_FIELD", field);
    }
    let age = |seconds: u64| {
        let at = SystemTime::now() - Duration::from_secs(seconds);
        Some(Timestamp::from(at))
    };
    let ahead = SystemTime::now() + Duration::from_secs(120);
    let good = releasing(PHONE);
    for (bad, field) in [
        (
            ReleaseIdentifierRequest {
                kind: IdentifierKind::UserName.into(),
                ..good.clone()
            },
            "kind",
        ),
        (
            ReleaseIdentifierRequest {
                kind: IdentifierKind::Email.into(),
                ..good.clone()
            },
            "kind",
        ),
        (
            ReleaseIdentifierRequest {
                kind: 0,
                ..good.clone()
            },
            "kind",
        ),
        (
            ReleaseIdentifierRequest {
                kind: 99,
                ..good.clone()
            },
            "kind",
        ),
        (
            ReleaseIdentifierRequest {
                value: String::new(),
                ..good.clone()
            },
            "value",
        ),
        (
            ReleaseIdentifierRequest {
                value: "12".to_owned(),
                ..good.clone()
            },
            "value",
        ),
        (
            ReleaseIdentifierRequest {
                verify_time: None,
                ..good.clone()
            },
            "verify_time",
        ),
        (
            ReleaseIdentifierRequest {
                verify_time: age(16 * 60),
                ..good.clone()
            },
            "verify_time",
        ),
        (
            ReleaseIdentifierRequest {
                verify_time: Some(ahead.into()),
                ..good.clone()
            },
            "verify_time",
        ),
        (
            ReleaseIdentifierRequest {
                request_id: "x".to_owned(),
                ..good.clone()
            },
            "request_id",
        ),
    ] {
        let answer = town.release(bad).await;
        bad_field(field, answer, "INVALID_FIELD", field);
    }
    let phone = town.standing(IdentifierKind::Phone, PHONE).await?;
    assert_eq!(phone, IdentifierStanding::Quarantined);
    town.stop().await
}
