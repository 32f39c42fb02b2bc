//! Stands before the services that persons use: what is somebody else's leaves here, before anything of it is stored.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use farewell_core::{DeletionId, Reason};
use farewell_proto::elsewhere::{ACCOUNT_ELSEWHERE, Elsewhere};
use farewell_runtime::peer::Peer;
use farewell_runtime::server::MESSAGE_BYTES_MAX;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::forward::{Call, Found, found, unreachable};
use super::home;
use super::subject::{Naming, Subject};
use crate::admission::Forwarded;
use crate::center::Center;
use crate::error;
use crate::service::proof;

/// Knows, of every request, where it belongs.
#[derive(Clone)]
pub struct Homes {
    center: Arc<Center>,
    namings: Arc<HashMap<String, Naming>>,
}

/// A service that is asked only about what belongs here.
#[derive(Clone)]
pub struct Gate<S> {
    homes: Homes,
    inner: S,
}

impl Homes {
    /// Of this center's cells.
    pub fn new(center: Arc<Center>) -> Self {
        Self {
            namings: Arc::new(if center.cells.is_only_one() {
                HashMap::new()
            } else {
                Naming::all()
            }),
            center,
        }
    }

    /// Puts the gate before a service.
    pub fn guard<S>(&self, inner: S) -> Gate<S> {
        Gate {
            homes: self.clone(),
            inner,
        }
    }

    /// Answers a request about an account whose home is another region.
    async fn send(
        &self,
        home: &Elsewhere,
        call: &Call,
        from: &From,
    ) -> Result<Response<Body>, Status> {
        let region = home.region.as_str();
        if from.is_forwarded {
            return Err(error::precondition(
                "FORWARD_LOOP",
                "two regions think of each other as the account's home",
                HashMap::from([("region".to_owned(), region.to_owned())]),
            ));
        }
        let link = self.center.cells.links.get(region);
        if let Some(channel) = link.and_then(|link| link.channel.as_ref()) {
            self.center.throttle.caller(from.caller())?;
            return call.forward(region, channel, from.caller()).await;
        }
        Err(error::precondition(
            ACCOUNT_ELSEWHERE,
            &home.to_string(),
            home.metadata(),
        ))
    }

    /// Whether what was answered is about a deletion that is unknown here. Not every refusal says so: of a link it is told to nobody.
    async fn is_missing(&self, id: DeletionId, answered: Found) -> bool {
        match answered {
            Found::Here => false,
            Found::NotHere => true,
            Found::Unknown => {
                let known = self.center.ledger.get(&[id]).await;
                known.is_ok_and(|known| known.is_empty())
            }
        }
    }

    /// Has the cell answer that knows a deletion which is unknown here. `None`: none does.
    ///
    /// Errors: one gives no answer, so that nobody can say that there is no such deletion.
    async fn search(
        &self,
        id: DeletionId,
        call: &Call,
        from: &From,
    ) -> Result<Option<Response<Body>>, Status> {
        let cells = &self.center.cells;
        if from.is_forwarded || cells.forwarding().next().is_none() {
            return Ok(None);
        }
        self.center.throttle.caller(from.caller())?;
        let found = match cells.located(id) {
            Some(region) => Some(region),
            None => self.locate(id, call, from).await?,
        };
        let Some(region) = found else {
            return Ok(None);
        };
        let link = cells.links.get(&region);
        match link.and_then(|link| link.channel.as_ref()) {
            Some(channel) => {
                let answer = call.forward(&region, channel, from.caller());
                answer.await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// An answer that a deletion is unknown, or a link over, with where those ask whom this cell passes on to nobody: `address-NAME`
    /// for each region. Every link that is over has it, so that nobody learns from it which deletions there are.
    fn and_where_else(&self, naming: Naming, response: Response<Body>) -> Response<Body> {
        let Some(status) = Status::from_header_map(response.headers()) else {
            return response;
        };
        let mut details = status.get_error_details();
        let Some(info) = details.error_info().cloned() else {
            return response;
        };
        let unknown = info.reason == Reason::DeletionNotFound.word()
            || naming.is_by_token() && info.reason == proof::EXPIRED;
        if !unknown || self.center.cells.told().next().is_none() {
            return response;
        }
        let told = self.center.cells.told();
        let addresses = told.map(|(region, at)| (format!("address-{region}"), at.to_owned()));
        let metadata: HashMap<_, _> = info.metadata.into_iter().chain(addresses).collect();
        details.set_error_info(info.reason, info.domain, metadata);
        let beside = status.metadata().clone();
        Status::with_error_details_and_metadata(status.code(), status.message(), details, beside)
            .into_http()
    }

    /// The region that has the deletion.
    async fn locate(
        &self,
        id: DeletionId,
        call: &Call,
        from: &From,
    ) -> Result<Option<String>, Status> {
        let cells = &self.center.cells;
        let location = &call.location(id);
        // Who has it is not made to wait for who is silent.
        let mut asked: FuturesUnordered<_> = cells
            .forwarding()
            .map(|(region, channel)| async move {
                let answer = location.forward(region, channel, from.caller()).await;
                (
                    region,
                    answer.map_or(Found::Unknown, |answer| found(&answer)),
                )
            })
            .collect();
        let mut silent = None;
        while let Some((region, found)) = asked.next().await {
            match found {
                Found::Here => {
                    cells.remember(id, region);
                    return Ok(Some(region.to_owned()));
                }
                Found::NotHere => {}
                Found::Unknown => silent = Some(region),
            }
        }
        silent.map_or(Ok(None), |region| Err(unreachable(region)))
    }
}

fn about_nobody() -> Status {
    error::denied(
        "NOT_A_CALLER",
        "another region passes on only what is about an account or a deletion",
    )
}

/// Who asks, and whether another cell passed it on.
struct From {
    peer: Option<Arc<Peer>>,
    is_forwarded: bool,
}

impl From {
    fn of<B>(request: &Request<B>) -> Self {
        Self {
            peer: request.extensions().get::<Arc<Peer>>().cloned(),
            is_forwarded: request.extensions().get::<Forwarded>().is_some(),
        }
    }

    fn caller(&self) -> Option<&Peer> {
        self.peer.as_deref()
    }
}

impl<S> Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    async fn route(
        homes: Homes,
        naming: Naming,
        mut inner: S,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        let from = From::of(&request);
        let (parts, body) = request.into_parts();
        // As the transport says it of a message that is larger.
        let body = axum::body::to_bytes(axum::body::Body::new(body), MESSAGE_BYTES_MAX + 5)
            .await
            .map_err(|_| Status::new(Code::OutOfRange, "the message is too large, or was cut"))?;
        let subject = naming.subject(&body);
        if from.is_forwarded && subject == Subject::Nobody {
            return Err(about_nobody());
        }
        let call = Call {
            path: parts.uri.path().to_owned(),
            headers: parts.headers.clone(),
            body: body.clone(),
        };
        if let Subject::Account(account) = &subject
            && let Some(home) = home::elsewhere(&homes.center, account).await?
        {
            return homes.send(&home, &call, &from).await;
        }
        let request = Request::from_parts(parts, Body::new(axum::body::Body::from(body)));
        let Ok(mut response) = inner.call(request).await;
        if let Subject::Deletion(id) = subject
            && homes.is_missing(id, found(&response)).await
            && let Some(answer) = homes.search(id, &call, &from).await?
        {
            response = answer;
        }
        // Another cell asks everybody itself.
        Ok(if from.is_forwarded {
            response
        } else {
            homes.and_where_else(naming, response)
        })
    }
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that was polled ready is the one that is called.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        match self.homes.namings.get(request.uri().path()) {
            // Another cell passes on what is about somebody, and nothing else.
            None if request.extensions().get::<Forwarded>().is_some() => {
                Box::pin(async { Ok(Status::into_http(about_nobody())) })
            }
            None => Box::pin(inner.call(request)),
            Some(naming) => {
                let routed = Self::route(self.homes.clone(), *naming, inner, request);
                Box::pin(async { Ok(routed.await.unwrap_or_else(Status::into_http)) })
            }
        }
    }
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}
