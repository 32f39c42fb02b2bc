//! `farewell.identifier.v1.IdentifierService`: identity knows, and the coordinator passes the question on. It neither keeps nor
//! logs what is asked about.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use farewell_core::Reason;
use farewell_proto::identifier::v1 as api;
use farewell_proto::identifier::v1::identifier_service_server::IdentifierService;
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use prost_types::Timestamp;
use tonic::{Code, Request, Response, Status};

use super::proof::{ask_identity, identity, nobody, unreachable_identity};
use super::{READ_MAX, parse, within};
use crate::admission::peer_of;
use crate::center::Center;
use crate::{error, obligation};

/// Bytes of the longest identifier, a mail address (RFC 5321, 4.5.3.1.3 less its brackets).
const VALUE_BYTES_MAX: usize = 254;
/// For how long a code that was given back says whose a number is.
const FRESH: Duration = Duration::from_secs(15 * 60);
/// How far a caller's clock may be ahead.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// See the module.
pub struct Identifiers {
    center: Arc<Center>,
}

impl Identifiers {
    /// The service over this center.
    pub const fn new(center: Arc<Center>) -> Self {
        Self { center }
    }

    async fn ask(&self, question: Question) -> Result<wire::IdentifierReply, Status> {
        let nobody = nobody()?;
        let asked = within(READ_MAX, ask_identity(&self.center, &nobody, question));
        let Answer::Identifier(reply) = asked.await? else {
            return Err(unreachable_identity());
        };
        match (reply.standing(), reply.refused.as_str()) {
            (api::IdentifierStanding::Unspecified, "NOT_E164") => Err(error::bad_request(
                "NOT_E164",
                "value",
                "must be a phone number with its country code: +, and 7 to 15 digits",
            )),
            (api::IdentifierStanding::Unspecified, "REQUEST_ID_REUSED") => {
                Err(error::refused(Reason::RequestIdReused.into()))
            }
            (api::IdentifierStanding::Unspecified, _) => {
                Err(error::invalid("value", "is no identifier of its kind"))
            }
            _ => Ok(reply),
        }
    }

    /// Those it was held back for are told that it is free, before the caller is: who isn't answered asks again.
    async fn freed(&self, deletions: &[String]) -> Result<(), Status> {
        let identity = identity()?;
        for name in deletions {
            let id = parse::deletion("deletions", name).map_err(|_| unreachable_identity())?;
            obligation::freed(&self.center, id, &identity).await?;
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl IdentifierService for Identifiers {
    async fn check_identifier(
        &self,
        request: Request<api::CheckIdentifierRequest>,
    ) -> Result<Response<api::CheckIdentifierResponse>, Status> {
        self.center
            .throttle
            .identifier(peer_of(&request).as_deref())?;
        let request = request.into_inner();
        parse::size(&request)?;
        let kind = kind(request.kind())?;
        let value = value(request.value)?;
        let query = wire::CheckIdentifierQuery { kind, value };
        let reply = self.ask(Question::CheckIdentifier(query)).await?;
        Ok(Response::new(api::CheckIdentifierResponse {
            standing: reply.standing,
            until_time: reply.until_time,
        }))
    }

    async fn release_identifier(
        &self,
        request: Request<api::ReleaseIdentifierRequest>,
    ) -> Result<Response<api::ReleaseIdentifierResponse>, Status> {
        let peer = peer_of(&request);
        self.center.throttle.identifier(peer.as_deref())?;
        let request = request.into_inner();
        parse::size(&request)?;
        let request_id = parse::request_id(&request.request_id)?;
        if request.kind() != api::IdentifierKind::Phone {
            let text = "must be PHONE: of nothing else can anybody show that it is theirs now";
            return Err(error::invalid("kind", text));
        }
        let kind = kind(request.kind())?;
        fresh(request.verify_time)?;
        let value = value(request.value)?;
        let query = wire::ReleaseIdentifierQuery {
            kind,
            value,
            caller: peer.map(|peer| peer.to_string()).unwrap_or_default(),
            request_id: request_id.0.to_string(),
        };
        let reply = self.ask(Question::ReleaseIdentifier(query)).await?;
        match reply.standing() {
            api::IdentifierStanding::InUse => Err(error::coded(
                Code::AlreadyExists,
                "IDENTIFIER_IN_USE",
                "an account has this number: it is not held back",
                HashMap::new(),
            )),
            _ => {
                self.freed(&reply.deletions).await?;
                Ok(Response::new(api::ReleaseIdentifierResponse {
                    standing: reply.standing,
                }))
            }
        }
    }
}

fn kind(kind: api::IdentifierKind) -> Result<i32, Status> {
    match kind {
        api::IdentifierKind::Unspecified => Err(error::invalid("kind", "is required")),
        kind => Ok(kind.into()),
    }
}

fn value(value: String) -> Result<String, Status> {
    if value.is_empty() || value.len() > VALUE_BYTES_MAX {
        Err(error::invalid("value", "must have 1 to 254 bytes"))
    } else {
        Ok(value)
    }
}

/// A proof that is old says whose the number was.
fn fresh(verified: Option<Timestamp>) -> Result<(), Status> {
    let verified = verified.and_then(|at| SystemTime::try_from(at).ok());
    let now = SystemTime::now();
    let is_fresh = verified.is_some_and(|at| {
        now.duration_since(at)
            .map_or(at <= now + AHEAD_MAX, |age| age <= FRESH)
    });
    if is_fresh {
        Ok(())
    } else {
        Err(error::invalid(
            "verify_time",
            "must be within the last 15 minutes",
        ))
    }
}
