//! What every handler reads of a request before it looks inside.

use std::sync::Arc;
use std::time::Duration;

use farewell_interpreter::Language;
use farewell_runtime::peer::Peer;
use prost::Message;
use tonic::{Request, Response, Status};

use super::explain::Explain;
use super::{parse, within};
use crate::admission::peer_of;
use crate::center::Center;

/// A request that is small enough to be meant, whose it is, and what its answer is written in.
pub struct Call<M> {
    pub request: M,
    pub language: Language,
    caller: Option<Arc<Peer>>,
}

impl<M: Message> Call<M> {
    /// One that a caller may make as often as it likes.
    ///
    /// Errors: `MESSAGE_TOO_LARGE`.
    pub fn of(request: Request<M>) -> Result<Self, Status> {
        let caller = peer_of(&request);
        let language = Language::of(request.metadata());
        let request = request.into_inner();
        parse::size(&request)?;
        Ok(Self {
            request,
            language,
            caller,
        })
    }

    /// One that counts for its caller.
    ///
    /// Errors: `CALLER_TOO_FAST`, `MESSAGE_TOO_LARGE`.
    pub fn counted(center: &Center, request: Request<M>) -> Result<Self, Status> {
        center.throttle.caller(peer_of(&request).as_deref())?;
        Self::of(request)
    }
}

impl<M> Call<M> {
    /// `None` on a connection without TLS.
    pub fn caller(&self) -> Option<&Peer> {
        self.caller.as_deref()
    }

    /// An answer with what is found in time, explained in the caller's language.
    ///
    /// Errors: why nothing is found.
    pub async fn explain<T: Explain, R>(
        &self,
        limit: Duration,
        found: impl Future<Output = Result<T, Status>>,
        answer: impl FnOnce(Option<T>) -> R,
    ) -> Result<Response<R>, Status> {
        let found = within(limit, found).await?.explained(self.language);
        Ok(self.language.respond(answer(Some(found))))
    }
}
