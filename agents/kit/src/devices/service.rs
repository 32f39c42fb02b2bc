//! `BindingService`: parse, one call, convert.

use std::collections::HashMap;

use farewell_proto::ERROR_DOMAIN;
use farewell_proto::binding::v1 as wire;
use farewell_proto::binding::v1::binding_service_server::BindingService;
use farewell_runtime::peer::{self, Role};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::bells::Bells;
use super::binding::Binding;
use super::delivery::Settled;
use super::names;
use super::registry::{NewBinding, Refusal, Registry};

/// Page size if none is asked for.
const PAGE_DEFAULT: u32 = 50;
/// Largest page.
const PAGE_MAX: u32 = 500;

/// The service, on the agent's device listener.
pub struct Service {
    registry: Registry,
    bells: Bells,
    settled: Settled,
}

impl Service {
    /// A service on `registry`; `settled` hears of commands that no longer wait because a device was bound anew.
    pub fn new(registry: Registry, bells: Bells, settled: Settled) -> Self {
        Self {
            registry,
            bells,
            settled,
        }
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
        bound
            .settled
            .iter()
            .for_each(|command| (self.settled)(command));
        Ok(Response::new(wire::BindResponse {
            binding: Some(to_wire(bound.binding)),
            device_secret: bound.secret.unwrap_or_default(),
        }))
    }

    async fn unbind(
        &self,
        request: Request<wire::UnbindRequest>,
    ) -> Result<Response<wire::UnbindResponse>, Status> {
        authorise(&request)?;
        let request = request.into_inner();
        let request_id = request_id(&request.request_id)?;
        let device = names::device_of(&request.device)
            .ok_or_else(|| invalid("device", "must be devices/{device}"))?;
        if request.epoch == 0 {
            return Err(invalid(
                "epoch",
                "must be the epoch of the binding, which is at least 1",
            ));
        }
        let told = self
            .registry
            .unbind(request_id, device, request.epoch)
            .await
            .map_err(status)?;
        self.bells.ring(&told);
        Ok(Response::new(wire::UnbindResponse {}))
    }

    async fn list_bindings(
        &self,
        request: Request<wire::ListBindingsRequest>,
    ) -> Result<Response<wire::ListBindingsResponse>, Status> {
        authorise(&request)?;
        let request = request.into_inner();
        let account = names::account_of(&request.account)
            .ok_or_else(|| invalid("account", "must be accounts/{account}"))?;
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
            .map_err(|fault| status(Refusal::Fault(fault)))?;
        let more = bindings.len() > size as usize;
        bindings.truncate(size as usize);
        let next = bindings
            .last()
            .filter(|_| more)
            .map(|binding| binding.device.clone())
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
    let device = names::device_of(&binding.device).ok_or_else(|| {
        invalid(
            "binding.device",
            "must be devices/{device}, 1 to 64 characters of A-Z a-z 0-9 _ -",
        )
    })?;
    let account = names::account_of(&binding.account).ok_or_else(|| {
        invalid(
            "binding.account",
            "must be accounts/{account}, at most 128 bytes",
        )
    })?;
    let via = match binding.via.as_str() {
        "" => None,
        via => Some(
            names::device_of(via)
                .ok_or_else(|| invalid("binding.via", "must be empty or devices/{device}"))?
                .to_owned(),
        ),
    };
    Ok(NewBinding {
        request_id,
        device: device.to_owned(),
        account: account.to_owned(),
        model: binding.model,
        serial_number: binding.serial_number,
        via,
    })
}

fn request_id(text: &str) -> Result<uuid::Uuid, Status> {
    uuid::Uuid::parse_str(text)
        .ok()
        .filter(|id| !id.is_nil())
        .ok_or_else(|| invalid("request_id", "must be a UUID made by the caller"))
}

fn to_wire(binding: Binding) -> wire::Binding {
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
    }
}

/// Every refusal with its code and word.
fn status(refusal: Refusal) -> Status {
    let (code, reason) = match &refusal {
        Refusal::InvalidField { field, problem } => return invalid(field, problem),
        Refusal::AccountSealed => (Code::FailedPrecondition, "ACCOUNT_SEALED"),
        Refusal::DeviceBound => (Code::FailedPrecondition, "DEVICE_BOUND"),
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

fn invalid(field: &str, problem: &str) -> Status {
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

fn error(code: Code, reason: &str, message: &str) -> Status {
    Status::with_error_details(
        code,
        message,
        ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new()),
    )
}
