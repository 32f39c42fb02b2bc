//! What a caller can ask for, and what it is told when it asks wrongly.

mod blockers;
mod fields;
mod proofs;
mod reading;
mod repeats;
mod revokes;
mod server;

use std::time::SystemTime;

use anyhow::Result;
use farewell_core::Policy;
use farewell_proto::deletion::v1::{Consent, GetCertificateRequest, WatchDeletionRequest};
use farewell_proto::participant::v1::{CheckProofReply, ProofResult};
use farewell_tests::caller::Caller;
use farewell_tests::ledger::{self, Place};
use farewell_tests::policy;
use prost_types::Timestamp;
use tonic::Status;

const NIL: &str = "00000000-0000-0000-0000-000000000000";
const NOBODY: &str = "deletions/01890a5d-ac96-774b-bcce-b302099a8057";
const STAGES: &[&[&str]] = &[&["cloud"], &["identity"]];

/// A policy whose requests wait to be verified.
fn verified() -> Policy {
    policy::verified(STAGES)
}

fn timestamp() -> Timestamp {
    SystemTime::now().into()
}

fn consent() -> Consent {
    Consent {
        text: "data-loss-warning".to_owned(),
        version: 1,
        time: Some(timestamp()),
    }
}

/// What is kept, as far as anybody can see it.
async fn rows(caller: &Caller, place: &Place) -> Result<String> {
    Ok(match place.open().await? {
        Some(kept) => ledger::rows(&*kept).await?,
        None => format!("{:?}", caller.list(&[]).await?),
    })
}

fn proof(result: ProofResult, tries_left: u32) -> CheckProofReply {
    CheckProofReply {
        result: result.into(),
        tries_left,
        next_try_time: None,
    }
}

async fn watch(
    caller: &Caller,
    name: &str,
) -> Result<tonic::Streaming<farewell_proto::deletion::v1::WatchDeletionResponse>, Status> {
    let request = WatchDeletionRequest {
        name: name.to_owned(),
    };
    Ok(caller
        .api
        .clone()
        .watch_deletion(request)
        .await?
        .into_inner())
}

async fn certificate(caller: &Caller, name: &str) -> Result<Vec<u8>, Status> {
    let request = GetCertificateRequest {
        name: name.to_owned(),
    };
    let answer = caller.api.clone().get_certificate(request).await?;
    Ok(answer.into_inner().document.to_vec())
}
