//! `farewell.deletion.v1.DeletionService`: each handler parses, makes one call, and converts.

use std::pin::Pin;
use std::sync::Arc;

use farewell_core::blocker::Blocker;
use farewell_core::policy::Factor;
use farewell_core::{
    AccountId, Deletion, DeletionId, Event, Plan, Reason, RequestId, State, addendum, certificate,
    deletion, obligation,
};
use farewell_ledger::{Filter, Opened, Opening, Remembered};
use farewell_proto::deletion::v1 as api;
use farewell_proto::deletion::v1::deletion_service_server::DeletionService;
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use farewell_runtime::peer::Peer;
use farewell_runtime::shutdown::Shutdown;
use farewell_runtime::telemetry;
use prost::bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};
use tracing::Instrument;
use uuid::Uuid;

use super::call::Call;
use super::case::{self, CaseName};
use super::on_case::{self, OnCase};
use super::{
    CHANGE_MAX, READ_MAX, page, parse, possession, present, proof, record, remember, replay, watch,
    within,
};
use crate::center::Center;
use crate::error;
use crate::lane::OpenJob;
use crate::steward::{self, NotTurned};
use farewell_interpreter::Language;

/// Watchers of one coordinator.
const WATCHERS_MAX: usize = 1_024;

/// See the module.
pub struct Deletions {
    center: Arc<Center>,
    shutdown: Shutdown,
    seats: Arc<Semaphore>,
    replays: replay::Room,
}

impl Deletions {
    /// The service over this center.
    pub fn new(center: Arc<Center>, shutdown: Shutdown) -> Self {
        Self {
            center,
            shutdown,
            seats: Arc::new(Semaphore::new(WATCHERS_MAX)),
            replays: replay::Room::default(),
        }
    }
}

type Reply<T> = Result<Response<T>, Status>;
type Replayed = Pin<Box<dyn Stream<Item = Result<api::ReplayPurgedResponse, Status>> + Send>>;

/// A request to delete, as it was asked for. Errors: `INVALID_FIELD`.
fn asked(
    request: &api::CreateDeletionRequest,
    traceparent: String,
) -> Result<deletion::Request, Status> {
    Ok(deletion::Request {
        id: DeletionId(Uuid::now_v7()),
        request: parse::request_id(&request.request_id)?,
        account: parse::account("account", &request.account)?,
        channel: parse::channel(request.channel())?,
        consents: parse::consents(&request.consents)?,
        request_digest: parse::digest("CreateDeletion", request),
        traceparent,
    })
}

#[tonic::async_trait]
impl DeletionService for Deletions {
    async fn check_eligibility(
        &self,
        request: Request<api::CheckEligibilityRequest>,
    ) -> Reply<api::CheckEligibilityResponse> {
        let call = Call::of(request)?;
        let (request, language) = (&call.request, call.language);
        let account = parse::account("account", &request.account)?;
        let center = &self.center;
        let plan = center.plans.current();
        let found = within(CHANGE_MAX, async {
            let asked = center.queries.eligibility(center, plan, &account);
            let (mut found, live) = tokio::join!(asked, is_live(center, &account));
            if live? {
                found.push(Blocker::already_running(plan.policy()));
            }
            Ok(found)
        })
        .await?;
        Ok(language.respond(api::CheckEligibilityResponse {
            eligible: !found.iter().any(|blocker| blocker.stops(&[])),
            blockers: found
                .into_iter()
                .map(|blocker| present::blocker(blocker, plan.policy(), language))
                .collect(),
        }))
    }

    async fn get_inventory(
        &self,
        request: Request<api::GetInventoryRequest>,
    ) -> Reply<api::GetInventoryResponse> {
        let request = Call::of(request)?.request;
        let account = parse::account("account", &request.account)?;
        let center = &self.center;
        let question = Question::Inventory(wire::InventoryQuery {});
        let asked = center
            .queries
            .ask_all(center, center.plans.current(), &account, question);
        let answers = within(CHANGE_MAX, async { Ok(asked.await) }).await?;
        let holdings = answers
            .into_iter()
            .map(|(participant, answer)| holding(participant.to_string(), answer));
        Ok(Response::new(api::GetInventoryResponse {
            holdings: holdings.collect(),
        }))
    }

    async fn create_deletion(
        &self,
        request: Request<api::CreateDeletionRequest>,
    ) -> Reply<api::CreateDeletionResponse> {
        let span = tracing::info_span!("create");
        let incoming = telemetry::traceparent_in(request.metadata());
        telemetry::parent(&span, &incoming);
        let own = telemetry::traceparent_of(&span);
        let call = Call::counted(&self.center, request)?;
        let request = &call.request;
        let traceparent = if own.is_empty() { incoming } else { own };
        let asked = asked(request, traceparent)?;
        self.center
            .throttle
            .account(call.caller(), &asked.account)?;
        let deletion = within(CHANGE_MAX, self.open(call.caller(), asked))
            .instrument(span)
            .await?;
        Ok(Response::new(api::CreateDeletionResponse {
            deletion: Some(present::brief(&deletion)),
        }))
    }

    async fn send_code(
        &self,
        request: Request<api::SendCodeRequest>,
    ) -> Reply<api::SendCodeResponse> {
        let call = Call::counted(&self.center, request)?;
        let request = &call.request;
        let key = parse::request_id(&request.request_id)?;
        let id = parse::deletion("name", &request.name)?;
        let factor = parse::factor(request.factor())?;
        within(CHANGE_MAX, async {
            let deletion = self.read(call.caller(), id).await?;
            awaiting(&deletion, factor)?;
            if factor == Factor::DeviceInHand {
                let device = possession::Named::parse(&self.center, &request.device)?;
                let challenge = possession::challenge(&self.center, &deletion, &device).await?;
                return Ok(api::SendCodeResponse {
                    challenge,
                    ..Default::default()
                });
            }
            empty("device", request.device.is_empty())?;
            let channel = proof::channel(factor)?;
            remember(&self.center, key, parse::digest("SendCode", request), id).await?;
            let subject = proof::Subject {
                account: &deletion.account,
                name: &request.name,
                request_id: &request.request_id,
            };
            let reply = proof::send(&self.center, &subject, channel).await?;
            Ok(api::SendCodeResponse {
                expire_time: reply.expire_time,
                next_send_time: reply.next_send_time,
                challenge: Bytes::new(),
            })
        })
        .await
        .map(Response::new)
    }

    async fn verify_factor(
        &self,
        request: Request<api::VerifyFactorRequest>,
    ) -> Reply<api::VerifyFactorResponse> {
        let call = Call::counted(&self.center, request)?;
        let (request, language) = (&call.request, call.language);
        let key = parse::request_id(&request.request_id)?;
        let id = parse::deletion("name", &request.name)?;
        let factor = parse::factor(request.factor())?;
        if factor == Factor::DeviceInHand {
            possession::statement(&request.statement)?;
            empty("proof", request.proof.is_empty())?;
            possession::Named::parse(&self.center, &request.device)?;
        } else {
            parse::proof(&request.proof)?;
            if factor == Factor::Documents {
                CaseName::parse("proof", &request.proof)?;
            }
            empty("device", request.device.is_empty())?;
            empty("statement", request.statement.is_empty())?;
        }
        let deletion = within(CHANGE_MAX, async {
            let deletion = self.read(call.caller(), id).await?;
            let asked = (call.caller(), key);
            self.verify(asked, deletion, factor, request).await?;
            load(&self.center, id, language).await
        });
        let deletion = deletion.await?;
        Ok(language.respond(api::VerifyFactorResponse {
            deletion: Some(deletion),
        }))
    }

    async fn confirm_link(
        &self,
        request: Request<api::ConfirmLinkRequest>,
    ) -> Reply<api::ConfirmLinkResponse> {
        let call = Call::counted(&self.center, request)?;
        let (request, language) = (&call.request, call.language);
        let key = parse::request_id(&request.request_id)?;
        let id = parse::confirmation(&request.token)?;
        let deletion = within(CHANGE_MAX, async {
            self.confirm_by_link(call.caller(), key, id, request)
                .await?;
            load(&self.center, id, language).await
        });
        let deletion = deletion.await?;
        // Who reads a mail need not be logged in: the page is told what it needs to say how things stand.
        Ok(language.respond(api::ConfirmLinkResponse {
            deletion: Some(api::Deletion {
                name: deletion.name,
                state: deletion.state,
                factors: deletion.factors,
                conditions: deletion.conditions,
                ..Default::default()
            }),
        }))
    }

    async fn revoke_deletion(
        &self,
        request: Request<api::RevokeDeletionRequest>,
    ) -> Reply<api::RevokeDeletionResponse> {
        let asked = request.get_ref();
        let call = if asked.link_token.is_empty() && asked.case.is_empty() {
            Call::of(request)?
        } else {
            Call::counted(&self.center, request)?
        };
        let request = &call.request;
        if !request.case.is_empty() {
            let revoking = OnCase::revoke(request)?;
            let deletion = self.decide(call.caller(), revoking).await?;
            return Ok(Response::new(api::RevokeDeletionResponse {
                deletion: Some(present::brief(&deletion)),
            }));
        }
        let key = parse::request_id(&request.request_id)?;
        let id = parse::deletion("name", &request.name)?;
        let link = parse::link_token(&request.link_token)?;
        let deletion = within(CHANGE_MAX, async {
            // The digest leaves the token out: the coordinator keeps nothing that is derived from it.
            let body = api::RevokeDeletionRequest {
                link_token: String::new(),
                ..request.clone()
            };
            let (deletion, note) = match link {
                None => (steward::read(&self.center, id).await?.0, "REVOKED"),
                Some(token) => {
                    let deletion = self.read(call.caller(), id).await?;
                    let subject = proof::Subject {
                        account: &deletion.account,
                        name: &request.name,
                        request_id: &request.request_id,
                    };
                    proof::check_link(&self.center, &subject, token).await?;
                    (deletion, "REVOKED_BY_LINK")
                }
            };
            let digest = parse::digest("RevokeDeletion", &body);
            let known = remember(&self.center, key, digest, id).await?;
            let again = known == Remembered::Repeat || link.is_some();
            if again && matches!(deletion.state, State::Revoked { .. }) {
                return Ok(deletion);
            }
            let revoke = (&Event::Revoke, note);
            let decision = record::asked(call.caller(), key);
            Ok(steward::turn_noted(&self.center, id, revoke, &decision).await?)
        })
        .await?;
        Ok(Response::new(api::RevokeDeletionResponse {
            deletion: Some(present::brief(&deletion)),
        }))
    }

    async fn deny_deletion(
        &self,
        request: Request<api::DenyDeletionRequest>,
    ) -> Reply<api::DenyDeletionResponse> {
        let call = Call::counted(&self.center, request)?;
        let request = &call.request;
        let denying = OnCase::deny(request)?;
        let deletion = self.decide(call.caller(), denying).await?;
        Ok(Response::new(api::DenyDeletionResponse {
            deletion: Some(present::brief(&deletion)),
        }))
    }

    async fn extend_deadline(
        &self,
        request: Request<api::ExtendDeadlineRequest>,
    ) -> Reply<api::ExtendDeadlineResponse> {
        let call = Call::counted(&self.center, request)?;
        let (request, language) = (&call.request, call.language);
        let extending = OnCase::extend(request)?;
        let id = extending.deletion;
        self.decide(call.caller(), extending).await?;
        let deletion = within(READ_MAX, load(&self.center, id, language)).await?;
        Ok(language.respond(api::ExtendDeadlineResponse {
            deletion: Some(deletion),
        }))
    }

    async fn override_blockers(
        &self,
        request: Request<api::OverrideBlockersRequest>,
    ) -> Reply<api::OverrideBlockersResponse> {
        let call = Call::counted(&self.center, request)?;
        let (request, language) = (&call.request, call.language);
        let on_case = OnCase::override_blockers(request)?;
        let id = on_case.deletion;
        let deletion = within(CHANGE_MAX, async {
            let deletion = self.read(call.caller(), id).await?;
            on_case.make(&self.center, call.caller(), deletion).await?;
            load(&self.center, id, language).await
        });
        let deletion = deletion.await?;
        Ok(language.respond(api::OverrideBlockersResponse {
            deletion: Some(deletion),
        }))
    }

    async fn get_deletion(
        &self,
        request: Request<api::GetDeletionRequest>,
    ) -> Reply<api::GetDeletionResponse> {
        let call = Call::of(request)?;
        let (request, language) = (&call.request, call.language);
        let id = parse::deletion("name", &request.name)?;
        let deletion = within(READ_MAX, load(&self.center, id, language)).await?;
        Ok(language.respond(api::GetDeletionResponse {
            deletion: Some(deletion),
        }))
    }

    async fn list_deletions(
        &self,
        request: Request<api::ListDeletionsRequest>,
    ) -> Reply<api::ListDeletionsResponse> {
        let request = Call::of(request)?.request;
        let rows = page::size(request.page_size)?;
        let filter = filter(&request)?;
        let query = format!("{:?} {}", filter.states, request.account);
        let before = page::start(&request.page_token, &query)?;
        let listed = within(READ_MAX, async {
            let listed = self.center.ledger.list(&filter, before, rows + 1).await;
            listed.map_err(|error| error::ledger(&error))
        });
        let mut deletions = listed.await?;
        let more = deletions.len() > rows as usize;
        deletions.truncate(rows as usize);
        let next = deletions
            .last()
            .filter(|_| more)
            .map(|last| page::token(last.id, &query));
        Ok(Response::new(api::ListDeletionsResponse {
            deletions: deletions.iter().map(present::brief).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    type ReplayPurgedStream = Replayed;
    type WatchDeletionStream = watch::Watch;

    async fn replay_purged(
        &self,
        request: Request<api::ReplayPurgedRequest>,
    ) -> Reply<Self::ReplayPurgedStream> {
        let request = Call::of(request)?.request;
        let replay = self.replays.enter(&self.center, &request)?;
        tracing::info!(
            participant = request.participant,
            "what was purged is erased again"
        );
        let (sender, receiver) = mpsc::channel(replay::QUEUE_MESSAGES_MAX);
        let (center, shutdown) = (Arc::clone(&self.center), self.shutdown.clone());
        self.shutdown.spawn(async move {
            tokio::select! {
                () = shutdown.wait() => {}
                () = replay.run(&center, &sender) => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn watch_deletion(
        &self,
        request: Request<api::WatchDeletionRequest>,
    ) -> Reply<Self::WatchDeletionStream> {
        let call = Call::of(request)?;
        let (request, language) = (&call.request, call.language);
        let seat = Arc::clone(&self.seats).try_acquire_owned();
        let seat = seat.map_err(|_| {
            error::exhausted(
                "TOO_MANY_WATCHERS",
                "this coordinator has all the watchers it can serve",
            )
        })?;
        if request.name == "deletions/-" {
            return Ok(Response::new(watch::all(
                &self.center,
                seat,
                &self.shutdown,
            )));
        }
        let id = parse::deletion("name", &request.name)?;
        let first = within(READ_MAX, load(&self.center, id, language)).await?;
        Ok(language.respond(watch::one(
            Arc::clone(&self.center),
            (id, language),
            first,
            seat,
            self.shutdown.clone(),
        )))
    }

    async fn get_certificate(
        &self,
        request: Request<api::GetCertificateRequest>,
    ) -> Reply<api::GetCertificateResponse> {
        let request = Call::of(request)?.request;
        let id = parse::deletion("name", &request.name)?;
        let certified = within(READ_MAX, async {
            let (deletion, plan) = steward::read(&self.center, id).await?;
            let ledger = &self.center.ledger;
            let unread = |error| error::ledger(&error);
            let receipts = ledger.receipts(id).await.map_err(unread)?;
            let document =
                certificate::issue(&deletion, &plan, &receipts).map_err(error::refused)?;
            let addenda_of_devices = ledger.addenda(id).await.map_err(unread)?;
            let of_device = |kept: &addendum::Kept| {
                let text = addendum::issue(&plan, kept).map_err(error::refused)?;
                Ok::<_, Status>((kept.recorded_at, text))
            };
            let mut addenda =
                obligation::addenda(&deletion, &plan, &receipts).map_err(error::refused)?;
            for kept in &addenda_of_devices {
                addenda.push(of_device(kept)?);
            }
            addenda.sort_by_key(|(at, _)| *at);
            Ok(api::GetCertificateResponse {
                document: document.into(),
                addenda: addenda.into_iter().map(|(_, text)| text).collect(),
            })
        });
        Ok(Response::new(certified.await?))
    }
}

impl Deletions {
    /// Opens it under the policy of now, unless it was opened before: what a policy wants from today on is no answer to who has only
    /// lost the answer of yesterday.
    async fn open(
        &self,
        caller: Option<&Peer>,
        asked: deletion::Request,
    ) -> Result<Deletion, Status> {
        let (request, digest) = (asked.request, asked.request_digest);
        match self.opening(caller, asked) {
            Ok(opening) => self.write(opening).await,
            Err(refused) => match self.center.ledger.seen(request).await {
                Ok(None) => Err(refused),
                Ok(Some(seen)) if seen.digest != digest => {
                    Err(error::refused(Reason::RequestIdReused.into()))
                }
                Ok(Some(seen)) => Ok(steward::read(&self.center, seen.deletion).await?.0),
                Err(error) => Err(error::ledger(&error)),
            },
        }
    }

    /// What is to be written. Errors: the policy takes no such request.
    fn opening(&self, caller: Option<&Peer>, asked: deletion::Request) -> Result<Opening, Status> {
        let channel = asked.channel;
        let plan = self.center.plans.current();
        if !plan.policy().channels.contains_key(&channel) {
            return Err(error::invalid(
                "channel",
                "takes no requests under this policy",
            ));
        }
        if let Some((text, version)) = plan.policy().consent_missing(channel, &asked.consents) {
            return Err(error::bad_request(
                "CONSENT_MISSING",
                "consents",
                &format!("must hold `{text}` of version {version} or later"),
            ));
        }
        let decision = record::asked(caller, asked.request);
        let opened = Deletion::open(asked, plan, self.center.clock.now());
        Ok(Opening {
            deletion: opened.map_err(error::refused)?,
            decision: Some(decision),
        })
    }

    async fn write(&self, opening: Opening) -> Result<Deletion, Status> {
        let (answer, answered) = oneshot::channel();
        let gone = || error::unavailable("DRAINING", "this coordinator is ending");
        self.center
            .open
            .send(OpenJob { opening, answer })
            .await
            .map_err(|_| gone())?;
        match answered.await.map_err(|_| gone())?? {
            Opened::Created(deletion) | Opened::Repeat(deletion) => Ok(deletion),
            Opened::RequestIdReused => Err(error::refused(Reason::RequestIdReused.into())),
            Opened::AccountHasLive(live) => Err(error::live(live)),
        }
    }

    /// Has a case of the desk decide, and answers with the deletion as it is then.
    async fn decide(&self, caller: Option<&Peer>, on_case: OnCase) -> Result<Deletion, Status> {
        let id = on_case.deletion;
        within(CHANGE_MAX, async {
            let deletion = self.read(caller, id).await?;
            on_case.make(&self.center, caller, deletion).await?;
            Ok(steward::read(&self.center, id).await?.0)
        })
        .await
    }

    /// A deletion, for a caller that may ask about its account now.
    async fn read(&self, caller: Option<&Peer>, id: DeletionId) -> Result<Deletion, Status> {
        let (deletion, _) = steward::read(&self.center, id).await?;
        self.center.throttle.account(caller, &deletion.account)?;
        Ok(deletion)
    }

    async fn verify(
        &self,
        (caller, key): (Option<&Peer>, RequestId),
        deletion: Deletion,
        factor: Factor,
        request: &api::VerifyFactorRequest,
    ) -> Result<(), Status> {
        let id = deletion.id;
        // The digest leaves the proof out: the coordinator keeps nothing that is derived from it.
        let body = api::VerifyFactorRequest {
            proof: String::new(),
            statement: Bytes::new(),
            ..request.clone()
        };
        if !deletion.factors_verified.has(factor) {
            awaiting(&deletion, factor)?;
        }
        remember(&self.center, key, parse::digest("VerifyFactor", &body), id).await?;
        if !deletion.factors_verified.has(factor) {
            self.prove(&deletion, factor, request).await?;
            let decision = match factor {
                Factor::Documents => record::of_case(caller, &request.proof, key),
                _ => record::asked(caller, key),
            };
            let decision = decision.because([record::shown(factor)]);
            let verified = Event::FactorVerified(factor);
            steward::turn_decided(&self.center, id, &verified, &decision).await?;
        }
        self.confirm(id).await
    }

    /// Verifies the link's factor. Identity compares the token first, whatever the state: how things stand is told to nobody who
    /// doesn't have it. A repeat gets identity's kept answer.
    async fn confirm_by_link(
        &self,
        caller: Option<&Peer>,
        key: RequestId,
        id: DeletionId,
        request: &api::ConfirmLinkRequest,
    ) -> Result<(), Status> {
        let deletion = match self.read(caller, id).await {
            Ok(deletion) => deletion,
            Err(status) if status.code() == Code::NotFound => return Err(proof::expired_link()),
            Err(status) => return Err(status),
        };
        // The digest is of what the token says in the clear: the coordinator keeps nothing that is derived from the rest.
        let body = api::ConfirmLinkRequest {
            token: id.to_string(),
            ..request.clone()
        };
        remember(&self.center, key, parse::digest("ConfirmLink", &body), id).await?;
        let subject = proof::Subject {
            account: &deletion.account,
            name: &format!("deletions/{id}"),
            request_id: &request.request_id,
        };
        proof::confirm(&self.center, &subject, &request.token).await?;
        if !deletion.factors_verified.has(Factor::EmailLink) {
            awaiting(&deletion, Factor::EmailLink)?;
            let decision = record::asked(caller, key).because([record::shown(Factor::EmailLink)]);
            let verified = Event::FactorVerified(Factor::EmailLink);
            steward::turn_decided(&self.center, id, &verified, &decision).await?;
        }
        self.confirm(id).await
    }

    /// Starts the cooling-off period if every factor is verified and nothing is in the way. If this coordinator dies
    /// here, the slot's owner does it.
    async fn confirm(&self, id: DeletionId) -> Result<(), Status> {
        let (deletion, plan) = steward::read(&self.center, id).await?;
        if !matches!(deletion.state, State::AwaitingVerification { .. }) || !deletion.verified() {
            return Ok(());
        }
        let event = steward::eligibility(&self.center, &deletion, &plan).await;
        match steward::turn_from(&self.center, &deletion, &plan, &event, false).await {
            // Or the owner was faster.
            Ok(_) | Err(NotTurned::Refused(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Has whoever knows say whether the proof is one.
    async fn prove(
        &self,
        deletion: &Deletion,
        factor: Factor,
        request: &api::VerifyFactorRequest,
    ) -> Result<(), Status> {
        match factor {
            Factor::Documents => self.check_case(deletion, &request.proof).await,
            Factor::DeviceInHand => {
                let device = possession::Named::parse(&self.center, &request.device)?;
                let statement = &request.statement;
                possession::check(&self.center, deletion, &device, statement).await
            }
            Factor::SmsCode | Factor::EmailCode | Factor::EmailLink | Factor::Password => {
                let subject = proof::Subject {
                    account: &deletion.account,
                    name: &request.name,
                    request_id: &request.request_id,
                };
                proof::check(&self.center, &subject, factor, &request.proof).await
            }
        }
    }

    async fn check_case(&self, deletion: &Deletion, proof: &str) -> Result<(), Status> {
        let case = CaseName::parse("proof", proof)?;
        let action = on_case::of_deletion(deletion.channel);
        let used_for = case::Use::Deletion(deletion.id);
        case::check(&self.center, &deletion.account, case, action, used_for).await
    }
}

/// A deletion with its legs and conditions, in a language.
pub async fn load(
    center: &Center,
    id: DeletionId,
    language: Language,
) -> Result<api::Deletion, Status> {
    let (deletion, plan): (Deletion, Arc<Plan>) = steward::read(center, id).await?;
    let receipts = center
        .ledger
        .receipts(id)
        .await
        .map_err(|error| error::ledger(&error))?;
    Ok(present::full(center, &deletion, &plan, &receipts, language))
}

/// Whether a deletion of the account has not ended.
pub async fn is_live(center: &Center, account: &AccountId) -> Result<bool, Status> {
    let filter = Filter {
        states: State::LIVE_CODES.to_vec(),
        account: Some(account.clone()),
        unmoved_since: None,
    };
    let found = center.ledger.list(&filter, None, 1).await;
    Ok(!found.map_err(|error| error::ledger(&error))?.is_empty())
}

/// Whether the deletion waits for this factor.
fn awaiting(deletion: &Deletion, factor: Factor) -> Result<(), Status> {
    if let Some(begun) = deletion.state.begun() {
        return Err(error::refused(farewell_core::Refusal::since(
            Reason::PastNoReturn,
            begun.at,
        )));
    }
    if !matches!(deletion.state, State::AwaitingVerification { .. }) {
        return Err(error::refused(Reason::IllegalState.into()));
    }
    if !deletion.factors_required.has(factor) {
        return Err(error::bad_request(
            Reason::FactorNotRequired.word(),
            "factor",
            "must be one that the deletion asks for: see its factors",
        ));
    }
    Ok(())
}

/// What a factor doesn't speak of must be empty.
fn empty(field: &str, is_empty: bool) -> Result<(), Status> {
    if is_empty {
        Ok(())
    } else {
        Err(error::invalid(field, "is another factor's"))
    }
}

fn filter(request: &api::ListDeletionsRequest) -> Result<Filter, Status> {
    let mut states = Vec::with_capacity(request.states.len());
    // Not `request.states()`, which leaves out what it doesn't know: no filter at all would be left.
    for state in &request.states {
        match api::State::try_from(*state) {
            Ok(api::State::Unspecified) | Err(_) => {
                return Err(error::invalid("states", "must be known states"));
            }
            Ok(state) => states.push(i16::try_from(i32::from(state)).unwrap_or_default()),
        }
    }
    states.sort_unstable();
    states.dedup();
    let account = match request.account.as_str() {
        "" => None,
        name => Some(parse::account("account", name)?),
    };
    Ok(Filter {
        states,
        account,
        unmoved_since: None,
    })
}

fn holding(participant: String, answer: Option<Answer>) -> api::Holding {
    let Some(Answer::Inventory(inventory)) = answer else {
        return api::Holding {
            participant,
            answered: false,
            ..api::Holding::default()
        };
    };
    let category = |held: wire::HeldCategory| api::Category {
        category: held.category,
        count: held.count,
        size_bytes: held.size_bytes,
    };
    let device = |bound: wire::BoundDevice| api::HeldDevice {
        device: bound.device,
        model: bound.model,
        serial_number: bound.serial_number,
        binding_epoch: bound.binding_epoch,
        warranty_end_time: bound.warranty_end_time,
    };
    api::Holding {
        participant,
        answered: true,
        categories: inventory.categories.into_iter().map(category).collect(),
        devices: inventory.devices.into_iter().map(device).collect(),
    }
}
