//! Short questions: answered in time, or said to be unanswerable. Silence and "fine" are different things.

use std::sync::Arc;
use std::time::Duration;

use farewell_proto::participant::v1::{Query, Reply, reply};

use super::Shared;
use super::work::{caught, chain};
use crate::participant::{Custodian, Fault};
use crate::wire::{self, Question};

/// A question that takes longer is not short; the bound is against a peer that makes them pile up.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Why a question can't be answered.
const INVALID_QUERY: &str = "INVALID_QUERY";
const UNSUPPORTED: &str = "UNSUPPORTED";
const PARTICIPANT_FAULT: &str = "PARTICIPANT_FAULT";
const DEADLINE_EXCEEDED: &str = "DEADLINE_EXCEEDED";
const TOO_MANY_QUERIES: &str = "TOO_MANY_QUERIES";

impl Shared {
    pub(super) async fn reply(&self, query: Query) -> Reply {
        let query_id = query.id;
        let answer = self
            .reply_to(query)
            .await
            .unwrap_or_else(wire::unanswerable);
        Reply {
            query_id,
            answer: Some(answer),
        }
    }

    async fn reply_to(&self, query: Query) -> Result<reply::Answer, &'static str> {
        let (question, timeout) = wire::question(query).map_err(|malformed| {
            tracing::warn!(%malformed, "a question was refused");
            INVALID_QUERY
        })?;
        let _permit = self.questions.try_acquire().map_err(|_| TOO_MANY_QUERIES)?;
        match tokio::time::timeout(timeout.min(TIMEOUT_MAX), caught(self.consider(question))).await
        {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(fault)) if fault.is_unsupported() => Err(UNSUPPORTED),
            Ok(Err(fault)) => {
                if let Some(unsaid) = self.lines.next() {
                    tracing::warn!(cause = chain(&fault), unsaid, "a question met trouble");
                }
                Err(PARTICIPANT_FAULT)
            }
            Err(_) => Err(DEADLINE_EXCEEDED),
        }
    }

    async fn consider(&self, question: Question) -> Result<reply::Answer, Fault> {
        match question {
            Question::Eligibility(asked) => {
                self.code.eligibility(&asked).await.map(wire::eligibility)
            }
            Question::Inventory { account } => {
                self.code.inventory(&account).await.map(wire::inventory)
            }
            Question::SendCode(request) => self.code.send_code(&request).await.map(wire::code_sent),
            Question::CheckProof(request) => self
                .code
                .check_proof(&request)
                .await
                .map(wire::proof_checked),
            Question::Possession(request) => {
                self.code.possession(&request).await.map(wire::possession)
            }
            Question::CheckCase(request) => {
                let standing = self.code.check_case(&request).await;
                standing.map(wire::case::checked)
            }
            Question::Notify(notice) => self.code.notify(&notice).await.map(wire::notice::notified),
            Question::Desk => self.code.desk_work().await.map(wire::case::desk),
            Question::Letters => self.code.letters().await.map(wire::notice::letters),
            Question::DescribeAccount { account } => {
                let described = self.code.describe_account(&account).await;
                described.map(wire::standing::described)
            }
            Question::SetStanding(request) => {
                let kept = self.code.set_standing(&request).await;
                kept.map(wire::standing::kept)
            }
            Question::ClearRealName(request) => {
                let cleared = self.code.clear_real_name(&request).await;
                cleared.map(wire::standing::cleared)
            }
            Question::TransferBelongings(request) => {
                let transferred = self.code.transfer_belongings(&request).await;
                transferred.map(wire::transfer::transferred)
            }
            Question::StopPersonalization(request) => {
                let stopped = self.code.stop_personalization(&request).await;
                stopped.map(wire::standing::stopped)
            }
            Question::CheckIdentifier(kind, value) => {
                let standing = self.code.check_identifier(kind, &value).await;
                standing.map(wire::retention::standing)
            }
            Question::ReleaseIdentifier(request) => {
                let released = self.code.release_identifier(&request).await;
                released.map(wire::retention::released)
            }
            Question::Quarantine { page_size, page } => {
                let quarantine = self.code.quarantine(page_size, &page).await;
                quarantine.map(wire::retention::held)
            }
            Question::DescribeDevice { account, device } => {
                let described = self.code.describe_device(&account, &device).await;
                described.map(wire::device::described)
            }
            Question::UnbindDevice(request) => {
                let unbinding = self.code.unbind_device(&request).await;
                unbinding.map(wire::device::unbinding)
            }
            Question::DeviceUnbinding { account, name } => {
                let unbinding = self.code.device_unbinding(&account, &name).await;
                unbinding.map(wire::device::unbinding)
            }
            Question::ExportPart { account, after } => {
                let part = self.code.export_part(&account, &after).await;
                part.map(wire::export::part)
            }
            Question::StartExport(request) => {
                let export = self.custodian()?.start(&request).await;
                export.map(wire::export::export)
            }
            Question::GetExport { account, export } => {
                let export = self.custodian()?.get(&account, &export).await;
                export.map(wire::export::export)
            }
            Question::CancelExport { account, export } => {
                let export = self.custodian()?.cancel(&account, &export).await;
                export.map(wire::export::export)
            }
            Question::ReadExport {
                account,
                export,
                offset,
            } => {
                let read = self.custodian()?.read(&account, &export, offset).await;
                read.map(wire::export::read)
            }
        }
    }

    fn custodian(&self) -> Result<Arc<dyn Custodian>, Fault> {
        self.code
            .custodian()
            .ok_or_else(|| Fault::unsupported("an export"))
    }
}
