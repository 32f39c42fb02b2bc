//! Lets a receiver fetch its tokens (RFC 8936): `POST /events/{receiver}`, and the keys that they are signed with at
//! `GET /.well-known/jwks.json`.
//!
//! An answer's tokens have no order of their own, as they stand in a JSON object, so that there is never more than one of an
//! account in it: the next comes once the receiver has said something of this one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{Extensions, Response, StatusCode};
use axum::routing::{get, post};
use farewell_ledger::Answer as Said;
use farewell_runtime::jws;
use farewell_runtime::peer::{self, Peer, Role};
use farewell_runtime::shutdown::Shutdown;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::kind::Kind;
use super::{Delivery, Receiver, token};
use crate::center::Center;
use crate::lane::chain;

/// Tokens in one answer.
const TOKENS_MAX: u32 = 500;
/// Tokens that one request may speak about.
const WORDS_MAX: usize = 1_000;
const REQUEST_BYTES_MAX: usize = 256 * 1024;
/// How long a receiver that wants to wait waits.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Receivers that wait at a time.
const WAITING_MAX: usize = 256;

struct Polls {
    center: Arc<Center>,
    shutdown: Shutdown,
    seats: Semaphore,
}

/// RFC 8936, 2.4.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Request {
    max_events: Option<u32>,
    return_immediately: bool,
    ack: Vec<String>,
    set_errs: BTreeMap<String, SetError>,
}

#[derive(Deserialize)]
struct SetError {
    err: String,
}

type Answer = Response<Body>;

/// The routes of the events' port.
pub fn routes(center: Arc<Center>, shutdown: Shutdown) -> Router {
    let polls = Polls {
        center,
        shutdown,
        seats: Semaphore::new(WAITING_MAX),
    };
    Router::new()
        .route("/events/{receiver}", post(poll))
        .route("/.well-known/jwks.json", get(keys))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(Arc::new(polls))
}

async fn keys(State(polls): State<Arc<Polls>>) -> Answer {
    let keys: Vec<_> = polls
        .center
        .events
        .iter()
        .map(|events| events.key.public())
        .collect();
    answer(StatusCode::OK, &jws::key_set(&keys))
}

async fn poll(
    State(polls): State<Arc<Polls>>,
    Path(name): Path<String>,
    extensions: Extensions,
    body: Bytes,
) -> Answer {
    let Some(receiver) = polls.receiver(&extensions, &name) else {
        return refused(
            StatusCode::FORBIDDEN,
            "access_denied",
            "the certificate names no receiver that fetches its events here",
        );
    };
    let request = match serde_json::from_slice::<Request>(&body) {
        Ok(request) => request,
        Err(_) => {
            let text = "the body must be the JSON of RFC 8936, section 2.4";
            return refused(StatusCode::BAD_REQUEST, "invalid_request", text);
        }
    };
    if request.ack.len() + request.set_errs.len() > WORDS_MAX {
        let text = format!("at most {WORDS_MAX} tokens can be spoken about at once");
        return refused(StatusCode::BAD_REQUEST, "invalid_request", &text);
    }
    match polls.answer(receiver, request).await {
        Ok(found) => answer(StatusCode::OK, &found),
        Err(error) => {
            tracing::warn!(receiver = name, error = %chain(&error), "can't answer a receiver");
            let text = "try again in a moment";
            refused(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text)
        }
    }
}

impl Polls {
    /// Who asks, if it fetches here. Without TLS, which only loopback allows, the path is believed.
    fn receiver(&self, extensions: &Extensions, name: &str) -> Option<&Receiver> {
        let may = match peer::of_extensions(extensions) {
            Ok(None) => true,
            Ok(Some(Peer {
                role,
                name: certified,
            })) => role == Role::Receiver && certified == name,
            Err(_) => false,
        };
        let receivers = &self.center.events.as_ref()?.receivers;
        receivers
            .iter()
            .find(|it| may && it.name == name && matches!(it.delivery, Delivery::Poll))
    }

    async fn answer(
        &self,
        receiver: &Receiver,
        request: Request,
    ) -> Result<Value, farewell_ledger::Error> {
        let center = &*self.center;
        let taken = request
            .ack
            .iter()
            .filter_map(|jti| token::heard(jti, Said::Taken));
        // What it took it has, whatever else it says of it.
        let refused = request
            .set_errs
            .iter()
            .filter(|(jti, _)| !request.ack.contains(jti));
        let refused = refused.filter_map(|(jti, error)| {
            tracing::warn!(receiver = receiver.name, token = jti, "an event is refused");
            token::heard(jti, Said::Refused(token::refusal(&error.err)))
        });
        let heard: Vec<_> = taken.chain(refused).collect();
        if !heard.is_empty() {
            center.ledger.heard(&receiver.name, &heard).await?;
        }
        let wanted = request.max_events.unwrap_or(TOKENS_MAX).min(TOKENS_MAX);
        if wanted == 0 {
            return Ok(json!({"sets": {}}));
        }
        let seat = self.seats.try_acquire();
        let until = Instant::now() + WAIT_MAX;
        loop {
            // One more than is wanted says whether there are more.
            let mut waiting = center
                .ledger
                .events(&receiver.name, None, &Kind::codes(), wanted + 1)
                .await?;
            let more = waiting.len() > wanted as usize;
            waiting.truncate(wanted as usize);
            let patient = !request.return_immediately && seat.is_ok() && Instant::now() < until;
            if waiting.is_empty() && patient && !self.shutdown.is_triggered() {
                tokio::select! {
                    () = sleep(center.pace.poll) => {}
                    () = self.shutdown.wait() => {}
                }
                continue;
            }
            let tokens = super::tokens(center, receiver, &waiting);
            let sets: BTreeMap<_, _> = tokens.into_iter().map(|it| (it.jti, it.jwt)).collect();
            return Ok(json!({"sets": sets, "moreAvailable": more}));
        }
    }
}

fn refused(status: StatusCode, err: &str, description: &str) -> Answer {
    answer(status, &json!({"err": err, "description": description}))
}

fn answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Body::from(body.to_string()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        axum::http::HeaderValue::from_static("application/json"),
    );
    headers.insert(
        CACHE_CONTROL,
        axum::http::HeaderValue::from_static("no-store"),
    );
    answer
}
