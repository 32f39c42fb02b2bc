//! An internal service that asks for deletions, and an operator who looks on.

use anyhow::{Context as _, Result, anyhow, bail};
use farewell_proto::deletion::v1::deletion_service_client::DeletionServiceClient;
use farewell_proto::deletion::v1::{
    Channel, Consent, CreateDeletionRequest, Deletion, Factor, GetDeletionRequest,
    ListDeletionsRequest, RevokeDeletionRequest, SendCodeRequest, SendCodeResponse, State,
    VerifyFactorRequest,
};
use farewell_proto::operator::v1::operator_service_client::OperatorServiceClient;
use farewell_proto::operator::v1::{
    GetOverviewRequest, GetOverviewResponse, ListRefusedEventsRequest, ListStalledRequest,
    RefusedEvent,
};
use farewell_runtime::client::endpoint;
use farewell_runtime::server::{MESSAGE_BYTES_MAX, Security};
use prost_types::Timestamp;
use tonic::Status;
use tonic::transport;
use uuid::Uuid;

use crate::wait;

/// A caller of the deletion API.
#[derive(Clone, Debug)]
pub struct Caller {
    pub api: DeletionServiceClient<transport::Channel>,
}

/// A fresh request id.
pub fn fresh() -> String {
    Uuid::new_v4().to_string()
}

/// A request as it should be.
pub fn request(account: &str) -> CreateDeletionRequest {
    CreateDeletionRequest {
        request_id: fresh(),
        account: format!("accounts/{account}"),
        channel: Channel::Phone.into(),
        // As from a person who was told what becomes of devices.
        consents: vec![Consent {
            text: "device-reset".to_owned(),
            version: 1,
            // The same in each repeat of a request.
            time: Some(Timestamp {
                seconds: 1_780_000_000,
                nanos: 0,
            }),
        }],
    }
}

impl Caller {
    /// Dials, on the first call.
    pub fn new(address: &str, security: &Security) -> Result<Self> {
        let channel = endpoint(address, security)?.connect_lazy();
        // Larger than the server's limit, so that it is the server who refuses.
        let api = DeletionServiceClient::new(channel)
            .max_encoding_message_size(2 * MESSAGE_BYTES_MAX)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { api })
    }

    /// Asks for a deletion.
    pub async fn ask(&self, request: CreateDeletionRequest) -> Result<Deletion, Status> {
        let answer = self.api.clone().create_deletion(request).await?;
        let deletion = answer.into_inner().deletion;
        deletion.ok_or_else(|| Status::internal("no deletion in the answer"))
    }

    /// Asks for the deletion of an account; its name.
    pub async fn delete(&self, account: &str) -> Result<String> {
        let asked = self.ask(request(account)).await;
        Ok(asked.map_err(|status| anyhow!("{status:?}"))?.name)
    }

    /// Reads a deletion.
    pub async fn get(&self, name: &str) -> Result<Deletion, Status> {
        let request = GetDeletionRequest {
            name: name.to_owned(),
        };
        let answer = self.api.clone().get_deletion(request).await?;
        let deletion = answer.into_inner().deletion;
        deletion.ok_or_else(|| Status::internal("no deletion in the answer"))
    }

    /// Takes a deletion back.
    pub async fn revoke(&self, name: &str) -> Result<Deletion, Status> {
        self.revoke_by(name, "").await
    }

    /// Takes a deletion back by the token of a link.
    pub async fn revoke_by(&self, name: &str, link_token: &str) -> Result<Deletion, Status> {
        let request = RevokeDeletionRequest {
            request_id: fresh(),
            name: name.to_owned(),
            link_token: link_token.to_owned(),
            case: String::new(),
        };
        let answer = self.api.clone().revoke_deletion(request).await?;
        let deletion = answer.into_inner().deletion;
        deletion.ok_or_else(|| Status::internal("no deletion in the answer"))
    }

    /// Has a code sent.
    pub async fn send_code(&self, name: &str, factor: Factor) -> Result<SendCodeResponse, Status> {
        let request = SendCodeRequest {
            request_id: fresh(),
            name: name.to_owned(),
            factor: factor.into(),
            ..Default::default()
        };
        Ok(self.api.clone().send_code(request).await?.into_inner())
    }

    /// Shows a proof.
    pub async fn verify(
        &self,
        name: &str,
        factor: Factor,
        proof: &str,
    ) -> Result<Deletion, Status> {
        let request = VerifyFactorRequest {
            request_id: fresh(),
            name: name.to_owned(),
            factor: factor.into(),
            proof: proof.to_owned(),
            ..Default::default()
        };
        let answer = self.api.clone().verify_factor(request).await?;
        let deletion = answer.into_inner().deletion;
        deletion.ok_or_else(|| Status::internal("no deletion in the answer"))
    }

    /// One page.
    pub async fn page(
        &self,
        request: ListDeletionsRequest,
    ) -> Result<(Vec<Deletion>, String), Status> {
        let answer = self.api.clone().list_deletions(request).await?.into_inner();
        Ok((answer.deletions, answer.next_page_token))
    }

    /// Every page of these states; empty means all.
    pub async fn list(&self, states: &[State]) -> Result<Vec<Deletion>> {
        let mut request = ListDeletionsRequest {
            page_size: 500,
            states: states.iter().map(|state| i32::from(*state)).collect(),
            ..ListDeletionsRequest::default()
        };
        let mut all = Vec::new();
        loop {
            let (page, next) = self.page(request.clone()).await.context("listing")?;
            all.extend(page);
            if next.is_empty() {
                return Ok(all);
            }
            request.page_token = next;
        }
    }

    /// Waits until the deletion is in this state.
    ///
    /// Errors: it ended in another state, or did not get there in time.
    pub async fn until(&self, name: &str, state: State) -> Result<Deletion> {
        self.until_true(name, &format!("{state:?}"), |deletion| {
            if deletion.state() != state && deletion.close_time.is_some() {
                bail!("ended as {:?}: {deletion:?}", deletion.state());
            }
            Ok(deletion.state() == state)
        })
        .await
    }

    /// Waits until something holds of the deletion.
    pub async fn until_true(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&Deletion) -> Result<bool>,
    ) -> Result<Deletion> {
        let mut last = None;
        let found = wait::until(what, async || {
            let deletion = self
                .get(name)
                .await
                .map_err(|status| anyhow!("{status:?}"))?;
            let found = holds(&deletion)?;
            last = Some(deletion.clone());
            Ok(found.then_some(deletion))
        })
        .await;
        found.with_context(|| format!("last seen: {last:#?}"))
    }
}

/// Conditions of a deletion as `(reason, participant)`.
pub fn conditions(deletion: &Deletion) -> Vec<(&str, &str)> {
    let told = deletion.conditions.iter();
    told.map(|condition| (condition.reason.as_str(), condition.participant.as_str()))
        .collect()
}

/// An operator.
#[derive(Clone, Debug)]
pub struct Operator {
    pub api: OperatorServiceClient<transport::Channel>,
}

impl Operator {
    /// Dials, on the first call.
    pub fn new(address: &str, security: &Security) -> Result<Self> {
        let channel = endpoint(address, security)?.connect_lazy();
        Ok(Self {
            api: OperatorServiceClient::new(channel),
        })
    }

    /// What is going on.
    pub async fn overview(&self) -> Result<GetOverviewResponse, Status> {
        let answer = self.api.clone().get_overview(GetOverviewRequest {}).await?;
        Ok(answer.into_inner())
    }

    /// Deletions that are sealed, erasing or verifying at this moment.
    pub async fn in_flight(&self) -> Result<i64> {
        wait::until("the coordinator to answer", async || {
            let Ok(overview) = self.overview().await else {
                return Ok(None);
            };
            let open = [State::CoolingOff, State::Erasing, State::Verifying];
            let counts = overview
                .states
                .iter()
                .filter(|count| open.contains(&count.state()));
            Ok(Some(counts.map(|count| count.count).sum()))
        })
        .await
    }

    /// Stalled deletions, the first page.
    pub async fn stalled(&self) -> Result<Vec<Deletion>, Status> {
        let request = ListStalledRequest {
            page_size: 500,
            page_token: String::new(),
        };
        let answer = self.api.clone().list_stalled(request).await?;
        Ok(answer.into_inner().deletions)
    }

    /// What this receiver of events refused, the first page.
    pub async fn refused_events(&self, receiver: &str) -> Result<Vec<RefusedEvent>, Status> {
        let request = ListRefusedEventsRequest {
            receiver: receiver.to_owned(),
            ..Default::default()
        };
        let answer = self.api.clone().list_refused_events(request).await?;
        Ok(answer.into_inner().events)
    }

    /// How many reports of this participant were refused for this reason.
    pub async fn refused(&self, participant: &str, reason: &str) -> Result<u64> {
        let overview = self.overview().await?;
        let counts = overview.refused_reports.iter();
        Ok(counts
            .filter(|count| count.participant == participant && count.reason == reason)
            .map(|count| count.count)
            .sum())
    }
}
