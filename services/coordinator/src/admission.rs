//! Who may speak on a port: decided by the role in the client's certificate. Handlers find who it is beside the request.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use farewell_runtime::peer::{self, Peer, Role};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::error;

/// Certificates whose peer is remembered: reading one costs more than the rest of a small request.
const KNOWN_CERTIFICATES_MAX: usize = 4_096;

/// Lets these roles in. Without TLS, which only loopback allows, anybody on this machine.
#[derive(Clone)]
pub struct Admission {
    roles: &'static [Role],
    /// The reason of whoever stays out.
    refusal: &'static str,
    known: Arc<RwLock<HashMap<Vec<u8>, Arc<Peer>>>>,
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

    fn peer(&self, request: &Request<()>) -> Result<Option<Arc<Peer>>, Status> {
        let certificates = request.peer_certs();
        let first = certificates.as_ref().and_then(|chain| chain.first());
        if let Some(certificate) = first {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(peer) = known.get(certificate.as_ref()) {
                return Ok(Some(Arc::clone(peer)));
            }
        }
        let Some(peer) = peer::of_request(request)?.map(Arc::new) else {
            return Ok(None);
        };
        if let Some(certificate) = first {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= KNOWN_CERTIFICATES_MAX {
                known.clear();
            }
            known.insert(certificate.as_ref().to_vec(), Arc::clone(&peer));
        }
        Ok(Some(peer))
    }
}

/// Who asks, as [`Admission`] read it. `None` on a connection without TLS.
pub fn peer_of<T>(request: &Request<T>) -> Option<Arc<Peer>> {
    request.extensions().get::<Arc<Peer>>().cloned()
}

impl Interceptor for Admission {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let Some(peer) = self.peer(&request)? else {
            return Ok(request);
        };
        if !self.roles.contains(&peer.role) {
            return Err(error::denied(
                self.refusal,
                "the certificate is of a role that has no business on this port",
            ));
        }
        request.extensions_mut().insert(peer);
        Ok(request)
    }
}
