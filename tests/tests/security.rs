//! Who may speak on which port, and that nobody listens in.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use farewell_coordinator::Config;
use farewell_proto::deletion::v1::State;
use farewell_runtime::certs::DevCa;
use farewell_runtime::peer::Role;
use farewell_runtime::server::Security;
use farewell_tests::caller::{Caller, Operator, request};
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::policy;
use farewell_tests::refusal::refused;
use farewell_tests::scripted::{Scripted, honest};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

/// A coordinator under mutual TLS, and the authority that everybody's certificate comes from.
struct Guarded {
    coordinator: Coordinator,
    ca: DevCa,
}

impl Guarded {
    async fn start() -> Result<Self> {
        let ca = DevCa::create()?;
        let own = Security::Mutual(ca.issue(Role::Coordinator, "coordinator", &[])?);
        let config = config(policy::straight(&[&["cloud"]]), "memory:", &own);
        let coordinator = Coordinator::start_with(config).await?;
        Ok(Self { coordinator, ca })
    }

    fn show(&self, role: Role, name: &str) -> Result<Security> {
        Ok(Security::Mutual(self.ca.issue(role, name, &[])?))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_right_certificates_a_deletion_goes_all_the_way() -> Result<()> {
    let guarded = Guarded::start().await?;
    let coordinator = &guarded.coordinator;
    let caller = Caller::new(
        &coordinator.callers,
        &guarded.show(Role::Caller, "settings")?,
    )?;
    let operator = Operator::new(
        &coordinator.operators,
        &guarded.show(Role::Operator, "ops")?,
    )?;
    let name = caller.delete("alice").await?;
    let cloud = guarded.show(Role::Participant, "cloud")?;
    let (mut cloud, _) = Scripted::welcome(&coordinator.participants, &cloud, "cloud").await?;
    cloud.window(1).await;
    let command = cloud.command().await?;
    cloud.answer(&command, honest(&command)).await;
    caller.until(&name, State::Purged).await?;
    assert_eq!(operator.overview().await?.participants[0].sessions, 1);
    guarded.coordinator.stop().await
}

/// Certificates that no port of this coordinator takes.
async fn strangers(ca: &DevCa) -> Result<Vec<(&'static str, Option<Security>)>> {
    let foreign = DevCa::create()?;
    // A foreign authority's certificate, shown by somebody who trusts the right server.
    let mut borrowed = foreign.issue(Role::Operator, "ops", &[])?;
    borrowed.ca_pem = ca.pem().to_owned();
    Ok(vec![
        ("no TLS", Some(Security::PlainLoopback)),
        ("a foreign authority", Some(Security::Mutual(borrowed))),
        ("no certificate", None),
    ])
}

async fn dial(
    address: &str,
    ca: &DevCa,
    security: Option<&Security>,
) -> Result<tonic::transport::Channel> {
    Ok(match security {
        Some(security) => farewell_runtime::client::endpoint(address, security)?.connect_lazy(),
        None => {
            farewell_runtime::tls::install_provider();
            let tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(ca.pem()))
                .domain_name("127.0.0.1");
            Endpoint::from_shared(format!("https://{address}"))?
                .tls_config(tls)?
                .connect_lazy()
        }
    })
}

/// A refusal below our words: the connection never came to be.
fn never_connected<T>(what: &str, answer: Result<T, Status>) -> Result<()> {
    let status = answer.err().with_context(|| format!("{what} was let in"))?;
    let cut = matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled
    );
    ensure!(cut, "{what}: {status:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_in_without_a_certificate_of_the_right_authority() -> Result<()> {
    use farewell_proto::deletion::v1::deletion_service_client::DeletionServiceClient;
    use farewell_proto::operator::v1::GetOverviewRequest;
    use farewell_proto::operator::v1::operator_service_client::OperatorServiceClient;
    use farewell_proto::participant::v1::participant_service_client::ParticipantServiceClient;

    let guarded = Guarded::start().await?;
    let (coordinator, ca) = (&guarded.coordinator, &guarded.ca);
    for (what, security) in strangers(ca).await? {
        let security = security.as_ref();
        let mut callers =
            DeletionServiceClient::new(dial(&coordinator.callers, ca, security).await?);
        never_connected(what, callers.create_deletion(request("alice")).await)?;
        let mut operators =
            OperatorServiceClient::new(dial(&coordinator.operators, ca, security).await?);
        never_connected(what, operators.get_overview(GetOverviewRequest {}).await)?;
        let mut participants =
            ParticipantServiceClient::new(dial(&coordinator.participants, ca, security).await?);
        let hello = farewell_proto::participant::v1::ConnectRequest {
            message: Some(farewell_tests::scripted::hello("cloud")),
        };
        never_connected(
            what,
            participants.connect(tokio_stream::iter([hello])).await,
        )?;
    }
    let caller = Caller::new(
        &coordinator.callers,
        &guarded.show(Role::Caller, "settings")?,
    )?;
    assert!(
        caller.list(&[]).await?.is_empty(),
        "and nothing was left behind"
    );
    guarded.coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_operators_certificate_opens_the_operators_port() -> Result<()> {
    let guarded = Guarded::start().await?;
    for role in [
        Role::Caller,
        Role::Participant,
        Role::Device,
        Role::Coordinator,
    ] {
        let operator = Operator::new(
            &guarded.coordinator.operators,
            &guarded.show(role, "cloud")?,
        )?;
        let what = role.as_str();
        let (no, reason) = (Code::PermissionDenied, "NOT_AN_OPERATOR");
        refused(what, operator.overview().await, no, reason);
        refused(what, operator.stalled().await, no, reason);
    }
    guarded.coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_participants_certificate_opens_the_participants_port() -> Result<()> {
    let guarded = Guarded::start().await?;
    for role in [
        Role::Caller,
        Role::Operator,
        Role::Device,
        Role::Coordinator,
    ] {
        let security = guarded.show(role, "cloud")?;
        let joined = Scripted::welcome(&guarded.coordinator.participants, &security, "cloud").await;
        refused(
            role.as_str(),
            joined.map(drop),
            Code::PermissionDenied,
            "NOT_A_PARTICIPANT",
        );
    }
    guarded.coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_device_nor_a_participant_may_ask_for_a_deletion() -> Result<()> {
    let guarded = Guarded::start().await?;
    for role in [Role::Device, Role::Participant, Role::Coordinator] {
        let caller = Caller::new(&guarded.coordinator.callers, &guarded.show(role, "cloud")?)?;
        let (no, reason) = (Code::PermissionDenied, "NOT_A_CALLER");
        refused(
            role.as_str(),
            caller.ask(request("alice")).await,
            no,
            reason,
        );
        let name = "deletions/01890a5d-ac96-774b-bcce-b302099a8057";
        refused(role.as_str(), caller.get(name).await, no, reason);
        refused(role.as_str(), caller.revoke(name).await, no, reason);
    }
    // Whoever runs Farewell may look at deletions with the same command line.
    for role in [Role::Operator, Role::Caller] {
        let caller = Caller::new(&guarded.coordinator.callers, &guarded.show(role, "ops")?)?;
        assert!(caller.list(&[]).await?.is_empty());
    }
    guarded.coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text_is_refused_on_every_port_that_others_can_reach() -> Result<()> {
    let policy = || policy::straight(&[&["cloud"]]);
    let open: SocketAddr = ([0, 0, 0, 0], 0).into();
    let expose: [fn(&mut Config) -> &mut SocketAddr; 3] = [
        |config| &mut config.callers.address,
        |config| &mut config.participants.address,
        |config| &mut config.operators.address,
    ];
    for port in expose {
        let mut config = config(policy(), "memory:", &Security::PlainLoopback);
        *port(&mut config) = open;
        let started = Coordinator::start_with(config).await;
        let error = started
            .err()
            .context("an exposed port was opened without TLS")?;
        ensure!(format!("{error:#}").contains("needs TLS"), "{error:#}");
    }
    Ok(())
}
