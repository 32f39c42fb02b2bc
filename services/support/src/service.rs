//! `farewell.support.v1.SupportService`: each handler parses, makes one call, and converts.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use farewell_kit::store::{micros, time};
use farewell_proto::support::v1 as api;
use farewell_proto::support::v1::support_service_server::SupportService;
use farewell_runtime::peer::{self, Role};
use prost::bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::desk::{Decision, Desk, Received, Shown};
use crate::refusal::{Refusal, coded, passing};
use crate::request::Request as Asked;
use crate::{parse, present, upload};

/// Documents on their way in or out at a time: each is in memory.
const DOCUMENTS_MAX: usize = 8;
/// Bytes of a document in one message.
const CHUNK_BYTES: usize = 64 * 1024;
/// How long anything but a document may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// See the module.
pub(crate) struct Service {
    desk: Desk,
    room: Arc<Semaphore>,
}

impl Service {
    pub fn new(desk: Desk) -> Self {
        Self {
            desk,
            room: Arc::new(Semaphore::new(DOCUMENTS_MAX)),
        }
    }

    fn room(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.room).try_acquire_owned().map_err(|_| {
            passing(
                Code::ResourceExhausted,
                "DESK_BUSY",
                "as many documents are on their way as there is room for",
                HashMap::new(),
            )
        })
    }

    async fn decide(
        &self,
        (method, who): (&str, &str),
        body: &impl prost::Message,
        (request_id, name): (&str, &str),
        decision: Decision,
    ) -> Result<Option<api::Case>, Status> {
        let id = parse::request_id("request_id", request_id)?;
        let case = parse::case("name", name)?;
        let asked = Asked::new(id, method, who, body, &[]);
        let decided = self.desk.decide(&asked, who, (&case, decision), now());
        within(decided).await.map(present::case).map(Some)
    }
}

type Reply<T> = Result<Response<T>, Status>;
type Document = Pin<Box<dyn Stream<Item = Result<api::GetEvidenceResponse, Status>> + Send>>;

#[tonic::async_trait]
impl SupportService for Service {
    async fn open_case(
        &self,
        request: Request<api::OpenCaseRequest>,
    ) -> Reply<api::OpenCaseResponse> {
        let who = who(&request)?;
        let request = request.into_inner();
        let id = parse::request_id("request_id", &request.request_id)?;
        let account = parse::account("account", &request.account)?;
        let (wish, to_account) = parse::wish(&request)?;
        let asked = Asked::new(id, "OpenCase", &who, &request, &[]);
        let subject = (account, to_account.as_str(), wish);
        let opened = self.desk.open(&asked, &who, subject, now());
        let case = present::case(without_log(within(opened).await?));
        Ok(Response::new(api::OpenCaseResponse { case: Some(case) }))
    }

    async fn add_evidence(
        &self,
        request: Request<Streaming<api::AddEvidenceRequest>>,
    ) -> Reply<api::AddEvidenceResponse> {
        let who = who(&request)?;
        let _room = self.room()?;
        let uploaded = upload::receive(request.into_inner()).await?;
        let header = uploaded.header;
        let id = parse::request_id("header.request_id", &header.request_id)?;
        let asked = Asked::new(id, "AddEvidence", &who, &header, &uploaded.bytes);
        let received = Received {
            case: parse::case("header.case", &header.case)?,
            kind: uploaded.kind,
            media_type: header.media_type,
            bytes: uploaded.bytes,
        };
        let added = self.desk.add(&asked, &who, received, now());
        let evidence = present::evidence(within(added).await?);
        Ok(Response::new(api::AddEvidenceResponse {
            evidence: Some(evidence),
        }))
    }

    type GetEvidenceStream = Document;

    async fn get_evidence(&self, request: Request<api::GetEvidenceRequest>) -> Reply<Document> {
        let who = who(&request)?;
        let (case, id) = parse::evidence("name", &request.into_inner().name)?;
        let room = self.room()?;
        let found = self.desk.look(&who, (&case, &id), now());
        let (evidence, bytes) = within(found).await?;
        use api::get_evidence_response::Part;
        let bytes = Bytes::from(bytes);
        let chunks = (0..bytes.len())
            .step_by(CHUNK_BYTES)
            .map(|at| bytes.slice(at..bytes.len().min(at + CHUNK_BYTES)))
            .map(Part::Chunk);
        let parts: Vec<_> = std::iter::once(Part::Evidence(present::evidence(evidence)))
            .chain(chunks)
            .collect();
        let parts = tokio_stream::iter(parts).map(move |part| {
            // The room is given back when the last part is gone.
            let _ = &room;
            Ok(api::GetEvidenceResponse { part: Some(part) })
        });
        Ok(Response::new(Box::pin(parts)))
    }

    async fn approve_case(
        &self,
        request: Request<api::ApproveCaseRequest>,
    ) -> Reply<api::ApproveCaseResponse> {
        let who = who(&request)?;
        let body = request.into_inner();
        let named = (body.request_id.as_str(), body.name.as_str());
        let case = self
            .decide(("ApproveCase", &who), &body, named, Decision::Approve)
            .await?;
        Ok(Response::new(api::ApproveCaseResponse { case }))
    }

    async fn reject_case(
        &self,
        request: Request<api::RejectCaseRequest>,
    ) -> Reply<api::RejectCaseResponse> {
        let who = who(&request)?;
        let body = request.into_inner();
        let named = (body.request_id.as_str(), body.name.as_str());
        let decision = Decision::Reject(parse::rejection(body.reason)?);
        let case = self
            .decide(("RejectCase", &who), &body, named, decision)
            .await?;
        Ok(Response::new(api::RejectCaseResponse { case }))
    }

    async fn withdraw_case(
        &self,
        request: Request<api::WithdrawCaseRequest>,
    ) -> Reply<api::WithdrawCaseResponse> {
        let who = who(&request)?;
        let body = request.into_inner();
        let named = (body.request_id.as_str(), body.name.as_str());
        let case = self
            .decide(("WithdrawCase", &who), &body, named, Decision::Withdraw)
            .await?;
        Ok(Response::new(api::WithdrawCaseResponse { case }))
    }

    async fn get_case(&self, request: Request<api::GetCaseRequest>) -> Reply<api::GetCaseResponse> {
        who(&request)?;
        let case = parse::case("name", &request.into_inner().name)?;
        let case = present::case(within(self.desk.get(&case)).await?);
        Ok(Response::new(api::GetCaseResponse { case: Some(case) }))
    }

    async fn list_cases(
        &self,
        request: Request<api::ListCasesRequest>,
    ) -> Reply<api::ListCasesResponse> {
        who(&request)?;
        let (filter, before, rows) = parse::page(&request.into_inner())?;
        let mut cases = within(self.desk.list(&filter, &before, rows + 1)).await?;
        let more = cases.len() > rows as usize;
        cases.truncate(rows as usize);
        let last = cases.last().filter(|_| more);
        let next_page_token = last.map(|last| last.case.id.clone()).unwrap_or_default();
        Ok(Response::new(api::ListCasesResponse {
            cases: cases.into_iter().map(present::case).collect(),
            next_page_token,
        }))
    }
}

/// Who it is, by the certificate. Also on loopback without TLS nobody is let in: two people are told apart by their names.
fn who<T>(request: &Request<T>) -> Result<String, Status> {
    match peer::of_request(request)? {
        Some(peer) if peer.role == Role::Desk => Ok(peer.name),
        Some(_) => Err(coded(
            Code::PermissionDenied,
            "NOT_OF_THE_DESK",
            "only people of the support desk have business here",
            HashMap::new(),
        )),
        None => Err(coded(
            Code::Unauthenticated,
            "NOT_OF_THE_DESK",
            "without a certificate nobody has a name here",
            HashMap::new(),
        )),
    }
}

/// As it is stored, so that a repeat is answered to the letter.
fn now() -> SystemTime {
    time(micros(SystemTime::now()))
}

/// The log is for who asks for it.
fn without_log(shown: Shown) -> Shown {
    Shown {
        log: Vec::new(),
        ..shown
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, Refusal>>) -> Result<T, Status> {
    match tokio::time::timeout(ANSWER_MAX, answer).await {
        Ok(answer) => answer.map_err(Status::from),
        Err(_) => Err(coded(
            Code::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            "the request took too long; the same request may be sent again",
            HashMap::new(),
        )),
    }
}
