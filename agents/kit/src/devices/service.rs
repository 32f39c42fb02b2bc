//! `BindingService`: parse, one call, convert.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use farewell_proto::ERROR_DOMAIN;
use farewell_proto::binding::v1 as wire;
use farewell_proto::binding::v1::binding_service_server::BindingService;
use farewell_proto::participant::v1 as pb;
use farewell_runtime::peer::{self, Role};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::change::Target;
use super::delivery::Settled;
use super::names;
use super::refusal::Refusal;
use super::registry::{Bound, NewBinding, Registry};
use super::share::{Role as ShareRole, Share};
use super::shown::Shown;
use crate::participant::{DeviceClass, DeviceVerb};
use crate::wire::device::verb;

/// Page size if none is asked for.
const PAGE_DEFAULT: u32 = 50;
/// Largest page.
const PAGE_MAX: u32 = 500;
/// When to come again after trouble that passes.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The service, on the agent's device listener.
pub struct Service {
    registry: Registry,
    settled: Settled,
}

impl Service {
    /// A service on `registry`; `settled` hears of commands that no longer wait because a device was bound anew.
    pub fn new(registry: Registry, settled: Settled) -> Self {
        Self { registry, settled }
    }

    /// Tells commands that no longer wait. The binding and the secret are for the caller.
    fn made(&self, bound: Bound) -> (wire::Binding, String) {
        bound
            .settled
            .iter()
            .for_each(|command| (self.settled)(command));
        (to_wire(bound.shown), bound.secret.unwrap_or_default())
    }
}

#[tonic::async_trait]
impl BindingService for Service {
    async fn bind(
        &self,
        request: Request<wire::BindRequest>,
    ) -> Result<Response<wire::BindResponse>, Status> {
        authorise(&request)?;
        let new = parse(request.into_inner())?;
        let bound = self.registry.bind(&new).await.map_err(status)?;
        let (binding, device_secret) = self.made(bound);
        Ok(Response::new(wire::BindResponse {
            binding: Some(binding),
            device_secret,
        }))
    }

    async fn challenge_device(
        &self,
        request: Request<wire::ChallengeDeviceRequest>,
    ) -> Result<Response<wire::ChallengeDeviceResponse>, Status> {
        authorise(&request)?;
        let request = request.into_inner();
        let (device, epoch) = (device(&request.device)?, epoch(request.epoch)?);
        let challenge = self.registry.challenge(device, epoch).await;
        Ok(Response::new(wire::ChallengeDeviceResponse {
            challenge: challenge.map_err(status)?.to_vec().into(),
        }))
    }

    async fn unbind(
        &self,
        request: Request<wire::UnbindRequest>,
    ) -> Result<Response<wire::UnbindResponse>, Status> {
        authorise(&request)?;
        let request = request.into_inner();
        let target = target(&request.request_id, &request.device, request.epoch)?;
        let unbound = self.registry.unbind(&target, &request.possession).await;
        unbound.map_err(status)?;
        Ok(Response::new(wire::UnbindResponse {}))
    }

    async fn transfer_binding(
        &self,
        request: Request<wire::TransferBindingRequest>,
    ) -> Result<Response<wire::TransferBindingResponse>, Status> {
        authorise(&request)?;
        let request = request.into_inner();
        let target = target(&request.request_id, &request.device, request.epoch)?;
        let account = account(&request.account, "account")?;
        let bound = self.registry.transfer(&target, account).await;
        let (binding, device_secret) = self.made(bound.map_err(status)?);
        Ok(Response::new(wire::TransferBindingResponse {
            binding: Some(binding),
            device_secret,
        }))
    }

    async fn share_binding(
        &self,
        request: Request<wire::ShareBindingRequest>,
    ) -> Result<Response<wire::ShareBindingResponse>, Status> {
        authorise(&request)?;
        let request = request.into_inner();
        let target = target(&request.request_id, &request.device, request.epoch)?;
        let share = request
            .share
            .ok_or_else(|| invalid("share", "must be given"))?;
        let share = Share {
            role: match share.role() {
                wire::Role::Admin => ShareRole::Admin,
                wire::Role::Member => ShareRole::Member,
                wire::Role::Unspecified => {
                    return Err(invalid("share.role", "must be ADMIN or MEMBER"));
                }
            },
            account: account(&share.account, "share.account")?.to_owned(),
        };
        let shown = self.registry.share(&target, &share).await.map_err(status)?;
        Ok(Response::new(wire::ShareBindingResponse {
            binding: Some(to_wire(shown)),
        }))
    }

    async fn unshare_binding(
        &self,
        request: Request<wire::UnshareBindingRequest>,
    ) -> Result<Response<wire::UnshareBindingResponse>, Status> {
        authorise(&request)?;
        let request = request.into_inner();
        let target = target(&request.request_id, &request.device, request.epoch)?;
        let account = account(&request.account, "account")?;
        let shown = self.registry.unshare(&target, account).await;
        Ok(Response::new(wire::UnshareBindingResponse {
            binding: Some(to_wire(shown.map_err(status)?)),
        }))
    }

    async fn report_lost(
        &self,
        request: Request<wire::ReportLostRequest>,
    ) -> Result<Response<wire::ReportLostResponse>, Status> {
        authorise(&request)?;
        let request = request.into_inner();
        let target = target(&request.request_id, &request.device, request.epoch)?;
        let shown = self.registry.report_lost(&target, request.lost).await;
        Ok(Response::new(wire::ReportLostResponse {
            binding: shown.map_err(status)?.map(to_wire),
        }))
    }

    async fn list_bindings(
        &self,
        request: Request<wire::ListBindingsRequest>,
    ) -> Result<Response<wire::ListBindingsResponse>, Status> {
        authorise(&request)?;
        let request = request.into_inner();
        let account = account(&request.account, "account")?;
        let size = match u32::try_from(request.page_size) {
            Ok(0) => PAGE_DEFAULT,
            Ok(size @ 1..=PAGE_MAX) => size,
            Ok(_) | Err(_) => return Err(invalid("page_size", "must be 0 to 500")),
        };
        // The token is the last device of the page before.
        let after = request.page_token.as_str();
        if !after.is_empty() && !names::is_device_id(after) {
            return Err(invalid("page_token", "is not from an earlier response"));
        }
        let mut bindings = self
            .registry
            .list(account, after, size + 1)
            .await
            .map_err(status)?;
        let more = bindings.len() > size as usize;
        bindings.truncate(size as usize);
        let next = bindings
            .last()
            .filter(|_| more)
            .map(|shown| shown.binding.device.clone())
            .unwrap_or_default();
        Ok(Response::new(wire::ListBindingsResponse {
            bindings: bindings.into_iter().map(to_wire).collect(),
            next_page_token: next,
        }))
    }
}

/// Callers and operators; a device binds nobody, itself included.
fn authorise<T>(request: &Request<T>) -> Result<(), Status> {
    match peer::of_request(request)? {
        // Without TLS only loopback listens, see `Security::check`.
        None => Ok(()),
        Some(peer) if matches!(peer.role, Role::Caller | Role::Operator) => Ok(()),
        Some(_) => Err(error(
            Code::PermissionDenied,
            "ROLE_NOT_ALLOWED",
            "only callers and operators bind devices",
        )),
    }
}

fn parse(request: wire::BindRequest) -> Result<NewBinding, Status> {
    let request_id = request_id(&request.request_id)?;
    let binding = request
        .binding
        .ok_or_else(|| invalid("binding", "must be given"))?;
    if binding.epoch != 0 {
        return Err(invalid("binding.epoch", "is output only"));
    }
    let class = match binding.class() {
        pb::DeviceClass::Unspecified if binding.class == 0 => None,
        pb::DeviceClass::Unspecified => return Err(invalid("binding.class", "is not known")),
        pb::DeviceClass::Personal => Some(DeviceClass::Personal),
        pb::DeviceClass::Home => Some(DeviceClass::Home),
    };
    let verbs = binding.verbs.iter().map(|verb| DeviceVerb::of_wire(*verb));
    let verbs: Option<Vec<_>> = verbs.collect();
    let mut verbs = verbs.ok_or_else(|| invalid("binding.verbs", "must be known verbs"))?;
    verbs.sort_by_key(|verb| verb.as_str());
    verbs.dedup();
    let warranty_end = binding.warranty_end_time.map(SystemTime::try_from);
    let warranty_end = warranty_end
        .transpose()
        .map_err(|_| invalid("binding.warranty_end_time", "must be a time"))?;
    let key = binding.answer_key.as_ref();
    let answer_key = match key.is_empty() {
        true => None,
        false => Some(key.try_into().map_err(|_| {
            invalid(
                "binding.answer_key",
                "must be an Ed25519 public key: 32 bytes",
            )
        })?),
    };
    let device = names::device_of(&binding.device).ok_or_else(|| {
        invalid(
            "binding.device",
            "must be devices/{device}, 1 to 64 characters of A-Z a-z 0-9 _ -",
        )
    })?;
    let account = account(&binding.account, "binding.account")?;
    let via = match binding.via.as_str() {
        "" => None,
        via => Some(
            names::device_of(via)
                .ok_or_else(|| invalid("binding.via", "must be empty or devices/{device}"))?
                .to_owned(),
        ),
    };
    let home = match binding.home.as_str() {
        "" => None,
        home => Some(
            names::home_of(home)
                .ok_or_else(|| invalid("binding.home", "must be empty or homes/{home}"))?
                .to_owned(),
        ),
    };
    Ok(NewBinding {
        request_id,
        device: device.to_owned(),
        account: account.to_owned(),
        via,
        home,
        class,
        verbs,
        safety_relevant: binding.safety_relevant,
        warranty_end,
        answer_key,
        activation_lock: binding.activation_lock,
        model: binding.model,
        serial_number: binding.serial_number,
    })
}

fn target(request: &str, name: &str, binding_epoch: u64) -> Result<Target, Status> {
    Ok(Target {
        request_id: request_id(request)?,
        device: device(name)?.to_owned(),
        epoch: epoch(binding_epoch)?,
    })
}

fn device(name: &str) -> Result<&str, Status> {
    names::device_of(name).ok_or_else(|| invalid("device", "must be devices/{device}"))
}

fn account<'a>(name: &'a str, field: &str) -> Result<&'a str, Status> {
    names::account_of(name).ok_or_else(|| {
        invalid(
            field,
            "must be accounts/{account}, of 1 to 128 characters of A-Z a-z 0-9 . _ -",
        )
    })
}

fn epoch(epoch: u64) -> Result<u64, Status> {
    if epoch > 0 && i64::try_from(epoch).is_ok() {
        Ok(epoch)
    } else {
        Err(invalid(
            "epoch",
            "must be the epoch of the binding, which is at least 1",
        ))
    }
}

fn request_id(text: &str) -> Result<uuid::Uuid, Status> {
    uuid::Uuid::parse_str(text)
        .ok()
        .filter(|id| !id.is_nil())
        .ok_or_else(|| invalid("request_id", "must be a UUID made by the caller"))
}

fn to_wire(shown: Shown) -> wire::Binding {
    let binding = shown.binding;
    let class = match binding.class {
        None => pb::DeviceClass::Unspecified,
        Some(DeviceClass::Personal) => pb::DeviceClass::Personal,
        Some(DeviceClass::Home) => pb::DeviceClass::Home,
    };
    let shares = shown.shares.into_iter().map(|share| wire::Share {
        account: names::account(&share.account),
        role: match share.role {
            ShareRole::Admin => wire::Role::Admin,
            ShareRole::Member => wire::Role::Member,
        }
        .into(),
    });
    wire::Binding {
        device: names::device(&binding.device),
        account: names::account(&binding.account),
        epoch: binding.epoch,
        model: binding.model,
        serial_number: binding.serial_number,
        via: binding
            .via
            .as_deref()
            .map(names::device)
            .unwrap_or_default(),
        home: binding.home.as_deref().map(names::home).unwrap_or_default(),
        class: class.into(),
        verbs: binding.verbs.into_iter().map(|v| verb(v).into()).collect(),
        safety_relevant: binding.safety_relevant,
        warranty_end_time: binding.warranty_end.map(Into::into),
        answer_key: shown
            .answer_key
            .map(|key| key.to_vec())
            .unwrap_or_default()
            .into(),
        activation_lock: shown.locked,
        lost: shown.lost,
        seen_epoch: shown.seen_epoch,
        seen_time: shown.seen.map(Into::into),
        shares: shares.collect(),
    }
}

/// Every refusal with its code and word.
fn status(refusal: Refusal) -> Status {
    let (code, reason) = match &refusal {
        Refusal::InvalidField { field, problem } => return invalid(field, problem),
        Refusal::NotHere(not_here) => return not_here.into(),
        Refusal::AccountSealed => (Code::FailedPrecondition, "ACCOUNT_SEALED"),
        Refusal::AccountFrozen => (Code::FailedPrecondition, "ACCOUNT_FROZEN"),
        Refusal::DeviceBound => (Code::FailedPrecondition, "DEVICE_BOUND"),
        Refusal::DeviceLocked => (Code::FailedPrecondition, "DEVICE_LOCKED"),
        Refusal::DeviceLost => (Code::FailedPrecondition, "DEVICE_LOST"),
        Refusal::NoAnswerKey => (Code::FailedPrecondition, "NO_ANSWER_KEY"),
        Refusal::NotInHand => (Code::PermissionDenied, "NOT_IN_HAND"),
        Refusal::NotShareable => (Code::FailedPrecondition, "NOT_SHAREABLE"),
        Refusal::HasChildren => (Code::FailedPrecondition, "HAS_CHILDREN"),
        Refusal::RequestIdReused => (Code::AlreadyExists, "REQUEST_ID_REUSED"),
        Refusal::BindingNotFound => (Code::NotFound, "BINDING_NOT_FOUND"),
        Refusal::EpochMismatch => (Code::Aborted, "EPOCH_MISMATCH"),
        Refusal::Fault(fault) => {
            tracing::warn!(
                error = fault as &dyn std::error::Error,
                "a binding request failed"
            );
            return error(
                Code::Unavailable,
                "STORE_UNAVAILABLE",
                "the agent's database is away; try again",
            );
        }
    };
    error(code, reason, &refusal.to_string())
}

pub(super) fn invalid(field: &str, problem: &str) -> Status {
    let mut details = ErrorDetails::with_bad_request_violation(field, problem);
    details.set_error_info(
        "INVALID_FIELD",
        ERROR_DOMAIN,
        HashMap::from([("field".to_owned(), field.to_owned())]),
    );
    Status::with_error_details(
        Code::InvalidArgument,
        format!("{field}: {problem}"),
        details,
    )
}

pub(super) fn error(code: Code, reason: &str, message: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    if code == Code::Unavailable {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    Status::with_error_details(code, message, details)
}
