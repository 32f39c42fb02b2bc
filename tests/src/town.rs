//! A coordinator, a store and identity, as processes of their own whose clocks a story sets.

use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Result, anyhow};
use farewell_proto::identifier::v1::identifier_service_client::IdentifierServiceClient;
use farewell_proto::identifier::v1::{CheckIdentifierRequest, IdentifierKind, IdentifierStanding};
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::process::{CoordinatorSite, Process, Told, database, needed};
use crate::time_machine::TimeMachine;
use crate::wait;

/// See the module.
#[derive(Debug)]
pub struct Town {
    pub folder: TempDir,
    pub program: String,
    pub site: CoordinatorSite,
    pub machine: TimeMachine,
}

impl Town {
    /// In this time zone, at the present time; what is confirmed is erased at once. `None` if the story is to be skipped.
    pub fn build(zone: &str) -> Result<Option<Self>> {
        Self::planned(zone, &[&["store"], &["identity"]], "300ms")
    }

    /// The same with these participants, stage by stage, and this cooling-off period.
    pub fn planned(zone: &str, stages: &[&[&str]], cooling_off: &str) -> Result<Option<Self>> {
        let folder = TempDir::new()?;
        let (Some(program), Some(machine)) =
            (needed("FAREWELL_BIN"), TimeMachine::new(folder.path())?)
        else {
            return Ok(None);
        };
        let ledger = database(folder.path(), "ledger");
        let told = Told {
            instance: "one",
            stages,
            ledger: &ledger,
            lease: "2s",
            cooling_off,
            collector: "",
        };
        let mut site = CoordinatorSite::new(&program, folder.path(), &told)?;
        site.env = machine.env();
        let zone = ("FAREWELL_COORDINATOR__POLICY__TIME_ZONE", zone);
        site.env.push((zone.0.to_owned(), zone.1.to_owned()));
        Ok(Some(Self {
            folder,
            program,
            site,
            machine,
        }))
    }

    /// Starts `store` or `identity`.
    pub fn service(&self, name: &str) -> Result<Process> {
        let config = self.folder.path().join(format!("{name}.toml"));
        let codes = self.folder.path().join("codes").display().to_string();
        let own = match name {
            "identity" => format!(
                "pepper = \"0123456789abcdef\"\n[service.identity.courier]\n\
                 sms = {{ kind = \"file\", path = \"{codes}\" }}\nemail = {{ kind = \"file\", path = \"{codes}\" }}\n"
            ),
            _ => String::new(),
        };
        let text = format!(
            "[service.{name}]\nplain = true\ndrain = \"2s\"\ncoordinators = [\"{}\"]\ndatabase = \"{}\"\n{own}",
            self.site.participants,
            database(self.folder.path(), name)
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(&self.program);
        command.args(["service", name, "--with-parent", "--config"]);
        command.arg(&config).envs(self.machine.env());
        Process::start(&mut command, &self.log(name))
    }

    /// Where an identifier stands, once identity answers.
    pub async fn standing(
        &self,
        kind: IdentifierKind,
        value: &str,
    ) -> Result<(IdentifierStanding, Option<SystemTime>)> {
        let channel = Endpoint::from_shared(format!("http://{}", self.site.callers))?;
        let mut api = IdentifierServiceClient::new(channel.connect().await?);
        let request = CheckIdentifierRequest {
            kind: kind.into(),
            value: value.to_owned(),
        };
        wait::until("identity to answer", async || {
            match api.check_identifier(request.clone()).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    let until = answer.until_time.map(SystemTime::try_from).transpose()?;
                    Ok(Some((answer.standing(), until)))
                }
                Err(status) if status.code() == Code::Unavailable => Ok(None),
                Err(status) => Err(anyhow!("{status:?}")),
            }
        })
        .await
    }

    /// A file of its own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where a process writes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.log"))
    }

    /// What everybody has written, for a message.
    pub fn words(&self) -> String {
        let services = ["store", "identity"].map(|name| std::fs::read_to_string(self.log(name)));
        services.into_iter().flatten().collect::<String>() + &self.site.words()
    }
}
