//! Passing a request on to the cell that is its account's home, as it came: whatever the call, and whatever its answer.

use std::collections::HashMap;
use std::future::poll_fn;
use std::time::Duration;

use farewell_core::{DeletionId, Reason};
use farewell_proto::deletion::v1::GetDeletionRequest;
use farewell_runtime::peer::Peer;
use prost::Message as _;
use prost::bytes::{BufMut as _, Bytes, BytesMut};
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic::codegen::http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::CALLER;
use crate::error;
use crate::service::CHANGE_MAX;

/// Until the other cell begins to answer: longer than it may take itself.
const PATIENCE: Duration = CHANGE_MAX.saturating_add(Duration::from_secs(5));
/// What goes along: how the body reads, how long its sender waits, the language of the answer, and the trace. Nothing else does, as
/// what a caller writes there is between it and this cell.
const CARRIED: [&str; 6] = [
    "content-type",
    "te",
    "grpc-timeout",
    "accept-language",
    "traceparent",
    "tracestate",
];
const GET_DELETION: &str = "/farewell.deletion.v1.DeletionService/GetDeletion";

/// A call, held until it is known where it goes.
pub struct Call {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    /// Whether a cell has this deletion is asked by its name alone: a proof goes to nobody but who has it.
    pub fn location(&self, id: DeletionId) -> Self {
        let request = GetDeletionRequest {
            name: format!("deletions/{id}"),
        };
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(u32::try_from(request.encoded_len()).unwrap_or_default());
        body.put(request.encode_to_vec().as_slice());
        Self {
            path: GET_DELETION.to_owned(),
            headers: self.headers.clone(),
            body: body.freeze(),
        }
    }

    /// Has another cell answer it, for `caller`.
    ///
    /// Errors: `CELL_UNREACHABLE`; the same request may be sent again, as its id is remembered there.
    pub async fn forward(
        &self,
        region: &str,
        channel: &Channel,
        caller: Option<&Peer>,
    ) -> Result<Response<Body>, Status> {
        let mut request = Request::new(Body::new(axum::body::Body::from(self.body.clone())));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.path.parse().map_err(|_| unreachable(region))?;
        for name in CARRIED {
            for value in self.headers.get_all(name) {
                request.headers_mut().append(name, value.clone());
            }
        }
        request
            .headers_mut()
            .entry(header::TE)
            .or_insert(HeaderValue::from_static("trailers"));
        if let Some(caller) = caller {
            let value = HeaderValue::try_from(caller.to_string());
            let value = value.map_err(|_| unreachable(region))?;
            request.headers_mut().insert(CALLER, value);
        }
        let mut channel = channel.clone();
        let answered = async {
            poll_fn(|context| channel.poll_ready(context)).await?;
            channel.call(request).await
        };
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                tracing::warn!(region, error = %crate::lane::chain(&error), "another cell gives no answer");
                Err(unreachable(region))
            }
            Err(_) => {
                tracing::warn!(region, "another cell gives no answer in time");
                Err(unreachable(region))
            }
        }
    }
}

/// What a cell says of a deletion that it was asked for.
pub enum Found {
    Here,
    NotHere,
    /// It said neither: no answer is no "not here".
    Unknown,
}

/// Reads that from an answer's head: a refusal has no body.
pub fn found<B>(response: &Response<B>) -> Found {
    match Status::from_header_map(response.headers()) {
        None => Found::Here,
        Some(status) if status.code() == Code::Ok => Found::Here,
        Some(status) if is_unknown_deletion(&status) => Found::NotHere,
        Some(_) => Found::Unknown,
    }
}

fn is_unknown_deletion(status: &Status) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| info.reason == Reason::DeletionNotFound.word())
}

/// The other cell gives no answer.
pub fn unreachable(region: &str) -> Status {
    error::unavailable_with(
        "CELL_UNREACHABLE",
        "the region that is asked gives no answer; the same request may be sent again",
        HashMap::from([("region".to_owned(), region.to_owned())]),
    )
}
