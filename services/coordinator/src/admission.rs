//! Who may speak on a port: decided by the role in the client's certificate.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use farewell_runtime::peer::{self, Role};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::error;

/// Certificates whose role is remembered: reading one costs more than the rest of a small request.
const KNOWN_CERTIFICATES_MAX: usize = 4_096;

/// Lets these roles in. Without TLS, which only loopback allows, anybody on this machine.
#[derive(Clone)]
pub struct Admission {
    roles: &'static [Role],
    /// The reason of whoever stays out.
    refusal: &'static str,
    known: Arc<RwLock<HashMap<Vec<u8>, Role>>>,
}

impl Admission {
    /// For callers. Operators ask too, when they help somebody.
    pub fn callers() -> Self {
        Self::of(&[Role::Caller, Role::Operator], "NOT_A_CALLER")
    }

    /// For product lines and services.
    pub fn participants() -> Self {
        Self::of(&[Role::Participant], "NOT_A_PARTICIPANT")
    }

    /// For the people who run Farewell.
    pub fn operators() -> Self {
        Self::of(&[Role::Operator], "NOT_AN_OPERATOR")
    }

    fn of(roles: &'static [Role], refusal: &'static str) -> Self {
        Self {
            roles,
            refusal,
            known: Arc::default(),
        }
    }

    fn role(&self, request: &Request<()>) -> Result<Option<Role>, Status> {
        let certificates = request.peer_certs();
        let first = certificates.as_ref().and_then(|chain| chain.first());
        if let Some(certificate) = first {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(role) = known.get(certificate.as_ref()) {
                return Ok(Some(*role));
            }
        }
        let Some(peer) = peer::of_request(request)? else {
            return Ok(None);
        };
        if let Some(certificate) = first {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= KNOWN_CERTIFICATES_MAX {
                known.clear();
            }
            known.insert(certificate.as_ref().to_vec(), peer.role);
        }
        Ok(Some(peer.role))
    }
}

impl Interceptor for Admission {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match self.role(&request)? {
            Some(role) if !self.roles.contains(&role) => Err(error::denied(
                self.refusal,
                "the certificate is of a role that has no business on this port",
            )),
            _ => Ok(request),
        }
    }
}
