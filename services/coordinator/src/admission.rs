//! Who may speak on a port: decided by the role in the client's certificate. Handlers find who it is beside the request.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use farewell_runtime::peer::{self, Peer, Role};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::error;
use crate::region::CALLER;

/// Certificates whose peer is remembered: reading one costs more than the rest of a small request.
const KNOWN_CERTIFICATES_MAX: usize = 4_096;

/// Lets these roles in. Without TLS, which only loopback allows, anybody on this machine.
#[derive(Clone)]
pub struct Admission {
    roles: &'static [Role],
    /// The reason of whoever stays out.
    refusal: &'static str,
    known: Arc<RwLock<HashMap<Vec<u8>, Arc<Peer>>>>,
    /// The regions whose coordinators may ask for their callers.
    cells: Arc<BTreeSet<String>>,
}

/// Beside a request that another region's coordinator passed on.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded;

impl Admission {
    /// For callers. Operators ask too, when they help somebody, and the coordinators of these regions for both.
    pub fn callers(cells: Arc<BTreeSet<String>>) -> Self {
        Self {
            cells,
            ..Self::of(&[Role::Caller, Role::Operator], "NOT_A_CALLER")
        }
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
            cells: Arc::default(),
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

impl Admission {
    /// For whom another region's coordinator asks. Only its word is taken, and only for those who could ask here themselves.
    fn behind(&self, cell: &Peer, request: &Request<()>) -> Option<Arc<Peer>> {
        if !self.cells.contains(&cell.name) {
            return None;
        }
        let mut said = request.metadata().get_all(CALLER).iter();
        let (only, None) = (said.next()?.to_str().ok()?, said.next()) else {
            return None;
        };
        let caller: Peer = only.parse().ok()?;
        self.roles.contains(&caller.role).then(|| Arc::new(caller))
    }
}

/// Who asks, as [`Admission`] read it. `None` on a connection without TLS.
pub fn peer_of<T>(request: &Request<T>) -> Option<Arc<Peer>> {
    request.extensions().get::<Arc<Peer>>().cloned()
}

impl Interceptor for Admission {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let peer = self.peer(&request)?;
        if let Some(cell) = peer.as_ref().filter(|peer| peer.role == Role::Cell)
            && let Some(caller) = self.behind(cell, &request)
        {
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(Forwarded);
            return Ok(request);
        }
        if request.metadata().contains_key(CALLER) {
            return Err(error::denied(
                "NOT_A_CELL",
                "only coordinators of a region that is known here say for whom they ask",
            ));
        }
        let Some(peer) = peer else {
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
