//! A coordinator and the agents of every line as processes, for stories about a household's devices.

use anyhow::{Result, anyhow};
use farewell_proto::account::v1::account_service_client::AccountServiceClient;
use farewell_proto::account::v1::{DeviceUnbinding, GetDeviceUnbindingRequest};
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::binding::v1::{BindResponse, Binding, ListBindingsRequest};
use farewell_runtime::client::endpoint;
use farewell_runtime::server::Security;
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;

use crate::agents::{AgentsSite, Ground, LINES, STAGES};
use crate::broker::Mosquitto;
use crate::caller::Caller;
use crate::process::{CoordinatorSite, Process, Told, needed};

/// Everything that runs. It ends when it is dropped.
#[derive(Debug)]
pub struct Household {
    pub agents: AgentsSite,
    pub site: CoordinatorSite,
    pub caller: Caller,
    _processes: Vec<Process>,
    pub folder: TempDir,
}

impl Household {
    /// Starts it; `terms` are lines that each agent gets, for instance how long devices are waited for. `None` if the
    /// story is to be skipped.
    pub async fn start(terms: &str) -> Result<Option<Self>> {
        Self::settle(TempDir::new()?, terms, None).await
    }

    /// As [`Household::start`], with hubs that connect to somebody else's broker. `None` if the story is to be skipped.
    pub async fn start_on_mosquitto() -> Result<Option<(Self, Mosquitto)>> {
        let folder = TempDir::new()?;
        let Some(broker) = Mosquitto::start(folder.path()).await? else {
            return Ok(None);
        };
        let household = Self::settle(folder, "", Some(&broker)).await?;
        Ok(household.map(|household| (household, broker)))
    }

    async fn settle(
        folder: TempDir,
        terms: &str,
        broker: Option<&Mosquitto>,
    ) -> Result<Option<Self>> {
        let Some(program) = needed("FAREWELL_BIN") else {
            return Ok(None);
        };
        let ledger = format!("sqlite:{}", folder.path().join("ledger.db").display());
        let told = Told {
            instance: "one",
            stages: STAGES,
            ledger: &ledger,
            lease: "3s",
            cooling_off: "300ms",
            collector: "",
        };
        let site = CoordinatorSite::new(&program, folder.path(), &told)?;
        let ground = Ground {
            terms,
            broker,
            ..Ground::default()
        };
        let agents = AgentsSite::new(&program, folder.path(), &site, &ground)?;
        let mut processes = vec![site.start().await?];
        for line in LINES {
            processes.push(agents.launch(line)?);
        }
        Ok(Some(Self {
            caller: site.caller()?,
            agents,
            site,
            _processes: processes,
            folder,
        }))
    }

    /// Who binds devices of a line.
    pub fn bindings(&self, line: &str) -> Result<BindingServiceClient<Channel>> {
        self.agents.bindings(line)
    }

    /// What is asked of accounts.
    pub fn accounts(&self) -> Result<AccountServiceClient<Channel>> {
        let channel = endpoint(&self.site.callers, &Security::PlainLoopback)?.connect_lazy();
        Ok(AccountServiceClient::new(channel))
    }

    /// Binds a device.
    pub async fn bind(&self, line: &str, binding: Binding) -> Result<BindResponse, Status> {
        self.agents.bind(line, binding).await
    }

    /// What an account has of a line.
    pub async fn list(&self, line: &str, account: &str) -> Result<Vec<Binding>> {
        let request = ListBindingsRequest {
            account: format!("accounts/{account}"),
            page_size: 500,
            ..ListBindingsRequest::default()
        };
        let listed = self.bindings(line)?.list_bindings(request).await;
        Ok(listed
            .map_err(|status| anyhow!("{status:?}"))?
            .into_inner()
            .bindings)
    }

    /// How far an unbinding is.
    pub async fn unbinding(&self, name: &str, account: &str) -> Result<DeviceUnbinding, Status> {
        let request = GetDeviceUnbindingRequest {
            name: name.to_owned(),
            account: format!("accounts/{account}"),
        };
        let mut client = self
            .accounts()
            .map_err(|error| Status::internal(format!("{error:#}")))?;
        let found = client.get_device_unbinding(request).await?.into_inner();
        found
            .device_unbinding
            .ok_or_else(|| Status::internal("no unbinding in the answer"))
    }

    /// What everybody has written, for a message.
    pub fn words(&self) -> String {
        let mut words = self.site.words();
        for line in LINES {
            words.push_str(&self.agents.words(line));
        }
        words
    }
}
