//! The demonstration's caller: the public gRPC API and nothing else.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use farewell_proto::deletion::v1::{
    BlockerClass, Channel, CheckEligibilityRequest, Consent, CreateDeletionRequest, Factor,
    GetCertificateRequest, GetInventoryRequest, SendCodeRequest, VerifyFactorRequest,
    WatchDeletionRequest, WatchDeletionResponse,
};
use farewell_runtime::client::request;
use tonic::Streaming;
use uuid::Uuid;

use super::stage::Stage;
use crate::client::{self, Deletions};
use crate::deletion::check;
use crate::output::Rows;

/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A back end that asks for deletions, with a caller's certificate.
pub struct Caller {
    client: Deletions,
}

impl Caller {
    /// Errors: nobody there.
    pub async fn dial(stage: &Stage) -> anyhow::Result<Self> {
        let client = client::deletions(&stage.callers(), &stage.security("caller")?).await?;
        Ok(Self { client })
    }

    /// Errors: the account isn't eligible, with everything that is in the way.
    pub async fn check(&mut self, account: &str) -> anyhow::Result<()> {
        let question = CheckEligibilityRequest {
            account: account.to_owned(),
        };
        let answer = self
            .client
            .check_eligibility(request(question, PATIENCE))
            .await?
            .into_inner();
        if answer.eligible {
            return Ok(());
        }
        let blockers: Vec<String> = answer
            .blockers
            .iter()
            .filter(|blocker| blocker.class() != BlockerClass::Advisory)
            .map(|blocker| {
                format!(
                    "{}: {} {}",
                    blocker.participant, blocker.code, blocker.message
                )
            })
            .collect();
        bail!("the account can't be deleted:\n  {}", blockers.join("\n  "))
    }

    /// What is held, for people.
    pub async fn inventory(&mut self, account: &str) -> anyhow::Result<[Rows; 2]> {
        let question = GetInventoryRequest {
            account: account.to_owned(),
        };
        let answer = self
            .client
            .get_inventory(request(question, PATIENCE))
            .await?
            .into_inner();
        Ok(check::held(&answer))
    }

    /// Asks, with the consents that the person ticked. The deletion's name.
    pub async fn create(&mut self, account: &str) -> anyhow::Result<String> {
        let ticked = |text: &str| Consent {
            text: text.to_owned(),
            version: 1,
            time: Some(SystemTime::now().into()),
        };
        let asked = CreateDeletionRequest {
            request_id: Uuid::new_v4().to_string(),
            account: account.to_owned(),
            channel: Channel::Phone.into(),
            consents: vec![ticked("data-loss-warning"), ticked("device-reset")],
        };
        let created = self
            .client
            .create_deletion(request(asked, PATIENCE))
            .await?
            .into_inner();
        Ok(created
            .deletion
            .context("an answer without a deletion")?
            .name)
    }

    pub async fn send_code(&mut self, deletion: &str) -> anyhow::Result<()> {
        let asked = SendCodeRequest {
            request_id: Uuid::new_v4().to_string(),
            name: deletion.to_owned(),
            factor: Factor::SmsCode.into(),
            ..Default::default()
        };
        self.client.send_code(request(asked, PATIENCE)).await?;
        Ok(())
    }

    pub async fn verify(&mut self, deletion: &str, code: String) -> anyhow::Result<()> {
        let asked = VerifyFactorRequest {
            request_id: Uuid::new_v4().to_string(),
            name: deletion.to_owned(),
            factor: Factor::SmsCode.into(),
            proof: code,
            ..Default::default()
        };
        self.client.verify_factor(request(asked, PATIENCE)).await?;
        Ok(())
    }

    /// The deletion at once and then at every change.
    pub async fn watch(
        &mut self,
        deletion: &str,
    ) -> anyhow::Result<Streaming<WatchDeletionResponse>> {
        let asked = WatchDeletionRequest {
            name: deletion.to_owned(),
        };
        Ok(self.client.watch_deletion(asked).await?.into_inner())
    }

    /// Asked for twice: the certificate is the same, byte for byte.
    pub async fn certificate(&mut self, deletion: &str) -> anyhow::Result<Vec<u8>> {
        let mut issued = Vec::new();
        for _ in 0..2 {
            let asked = GetCertificateRequest {
                name: deletion.to_owned(),
            };
            let answer = self
                .client
                .get_certificate(request(asked, PATIENCE))
                .await?;
            issued.push(answer.into_inner().document);
        }
        match issued.as_slice() {
            [first, second] if first == second => Ok(first.to_vec()),
            _ => bail!("the certificate was issued differently the second time"),
        }
    }
}
