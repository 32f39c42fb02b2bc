//! Asks a product line whether a device of the account is in hand: for deletions that a service centre asks for.

use std::collections::HashMap;

use farewell_core::{Deletion, ParticipantId};
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::possession_query::Step;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use prost::bytes::Bytes;
use tonic::{Code, Status};

use super::parse;
use crate::center::Center;
use crate::error;
use crate::wire::device;

/// Largest signed statement: it holds a challenge of less than 100 bytes.
const STATEMENT_BYTES_MAX: usize = 1_024;

/// A device of a product line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    line: ParticipantId,
    /// `devices/{device}`.
    device: String,
}

impl Named {
    /// From `lines/{line}/devices/{device}`, of a line that is known.
    ///
    /// Errors: `INVALID_FIELD`.
    pub fn parse(center: &Center, name: &str) -> Result<Self, Status> {
        let wrong = || error::invalid("device", "must be lines/{line}/devices/{device}");
        let (line, id) = name
            .strip_prefix("lines/")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(wrong)?;
        let id = device::id(id).ok_or_else(wrong)?;
        let line = parse::participant("device", line)?;
        if !center.plans.know(&line) {
            return Err(error::invalid(
                "device",
                "must be of a product line that is known",
            ));
        }
        Ok(Self {
            line,
            device: device::name(&id),
        })
    }
}

/// What the device must sign for this deletion.
///
/// Errors: `BINDING_NOT_FOUND`, `DEVICE_LOST`, `NO_ANSWER_KEY`, `LINE_UNREACHABLE`.
pub async fn challenge(
    center: &Center,
    deletion: &Deletion,
    device: &Named,
) -> Result<Bytes, Status> {
    let step = Step::Challenge(wire::PossessionChallenge {});
    let challenge = ask(center, deletion, device, step).await?;
    if challenge.is_empty() {
        return Err(unreachable(device));
    }
    Ok(challenge)
}

/// Whether the device signed it.
///
/// Errors: as [`challenge`], and `NOT_IN_HAND`.
pub async fn check(
    center: &Center,
    deletion: &Deletion,
    device: &Named,
    statement: &Bytes,
) -> Result<(), Status> {
    let step = Step::Statement(statement.clone());
    ask(center, deletion, device, step).await.map(drop)
}

/// A statement of sensible length.
///
/// Errors: `INVALID_FIELD`.
pub fn statement(statement: &Bytes) -> Result<(), Status> {
    if (1..=STATEMENT_BYTES_MAX).contains(&statement.len()) {
        Ok(())
    } else {
        Err(error::invalid("statement", "must be 1 to 1024 bytes"))
    }
}

async fn ask(
    center: &Center,
    deletion: &Deletion,
    device: &Named,
    step: Step,
) -> Result<Bytes, Status> {
    let question = Question::Possession(wire::PossessionQuery {
        device: device.device.clone(),
        deletion: format!("deletions/{}", deletion.id),
        step: Some(step),
    });
    let asked = center.queries.ask(
        center,
        &device.line,
        &deletion.account,
        question,
        center.pace.query,
    );
    let Some(Answer::Possession(reply)) = asked.await else {
        return Err(unreachable(device));
    };
    let (code, reason, message) = match reply.refused.as_str() {
        "" => return Ok(reply.challenge),
        "BINDING_NOT_FOUND" => (
            Code::NotFound,
            "BINDING_NOT_FOUND",
            "the account has no such device",
        ),
        "DEVICE_LOST" => (
            Code::FailedPrecondition,
            "DEVICE_LOST",
            "the device is reported lost or stolen: whoever has it proves nothing by it",
        ),
        "NO_ANSWER_KEY" => (
            Code::FailedPrecondition,
            "NO_ANSWER_KEY",
            "the device has no key of its own to show that it is in hand",
        ),
        _ => (
            Code::PermissionDenied,
            "NOT_IN_HAND",
            "the device did not sign a challenge for this deletion in the last 15 minutes",
        ),
    };
    Err(error::coded(code, reason, message, HashMap::new()))
}

fn unreachable(device: &Named) -> Status {
    let line = &device.line;
    error::unavailable(
        "LINE_UNREACHABLE",
        &format!("the agent of {line} gives no answer; the same request may be sent again"),
    )
}
