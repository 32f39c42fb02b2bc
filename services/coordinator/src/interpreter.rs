//! Says refusals in the caller's language: beside its code, its reason and what a machine needs, whatever a caller is refused with has
//! a sentence for the person, `google.rpc.LocalizedMessage`, from the catalogue of everything else that people read.
//!
//! It stands before all that answers callers, so that no handler has to think of it. What ends a stream after its first message has its
//! code and reason alone: by then the person has read an answer.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farewell_core::Time;
use futures_util::future::BoxFuture;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::server::NamedService;
use tonic_types::StatusExt as _;

use crate::language::Language;
use crate::sentences;

/// Whoever may come again sooner is told to wait a moment, and not until when.
const MOMENT: Duration = Duration::from_secs(90);
/// Times are said to the minute, and none of them too early.
const MINUTE: Duration = Duration::from_secs(60);
/// What a refusal consists of.
const OF_A_REFUSAL: [&str; 3] = ["grpc-status", "grpc-message", "grpc-status-details-bin"];

/// A service whose refusals are said in the language of whoever asks.
#[derive(Clone)]
pub struct Interpreter<S>(S);

impl<S> Interpreter<S> {
    /// Before this service.
    pub const fn before(inner: S) -> Self {
        Self(inner)
    }
}

impl<S, B> Service<Request<Body>> for Interpreter<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let language = Language::of_headers(request.headers());
        let answered = self.0.call(request);
        Box::pin(async move {
            let mut response = answered.await?;
            interpret(response.headers_mut(), language, SystemTime::now());
            Ok(response)
        })
    }
}

impl<S: NamedService> NamedService for Interpreter<S> {
    const NAME: &'static str = S::NAME;
}

/// Adds the sentence to a refusal. Anything else, and what another region's coordinator has said already, stays as it is.
fn interpret(headers: &mut HeaderMap, language: Language, now: SystemTime) {
    if !headers.contains_key(OF_A_REFUSAL[0]) {
        return;
    }
    let refusal = Status::from_header_map(headers);
    let Some(said) = refusal.and_then(|status| said(&status, language, now)) else {
        return;
    };
    let mut interpreted = headers.clone();
    for header in OF_A_REFUSAL {
        interpreted.remove(header);
    }
    // What can't be written was no worse without.
    if said.add_header(&mut interpreted).is_ok() {
        *headers = interpreted;
    }
}

/// The refusal with its sentence. `None`: it has one, or there is none for it.
fn said(status: &Status, language: Language, now: SystemTime) -> Option<Status> {
    let mut details = status.get_error_details();
    if details.localized_message().is_some() {
        return None;
    }
    let wait = details.retry_info().and_then(|retry| retry.retry_delay);
    let until = wait.filter(|wait| *wait >= MOMENT).and_then(|wait| {
        let until = now.checked_add(wait + MINUTE)?;
        let since = until.duration_since(UNIX_EPOCH).ok()?;
        Some(Time::from_micros(i64::try_from(since.as_micros()).ok()?))
    });
    let reason = details.error_info()?.reason.clone();
    let sentence = sentences::of_refusal(&reason, until, language)?;
    details.set_localized_message(language.tag(), sentence);
    let (code, message) = (status.code(), status.message());
    let metadata = status.metadata().clone();
    Some(Status::with_error_details_and_metadata(
        code, message, details, metadata,
    ))
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;
    use crate::error;

    fn headers(status: Status) -> HeaderMap {
        status.into_http::<Body>().headers().clone()
    }

    fn localized(status: Status, language: Language) -> Option<(String, String)> {
        let mut headers = headers(status);
        interpret(&mut headers, language, UNIX_EPOCH + MOMENT * 10_000_000);
        let status = Status::from_header_map(&headers).unwrap();
        let details = status.get_error_details();
        let said = details.localized_message()?;
        Some((said.locale.clone(), said.message.clone()))
    }

    #[test]
    fn a_refusal_keeps_all_that_it_says_and_has_a_sentence_beside_it() {
        let mut status = error::wait("TOO_MANY_TRIES", "too many", Duration::from_secs(7_200));
        let mark = "kept".parse().unwrap();
        status.metadata_mut().insert("of-a-story", mark);
        let before = status.get_error_details();
        let mut told = headers(status);
        told.insert("another-header", "stays".parse().unwrap());
        interpret(&mut told, Language::Chinese, SystemTime::now());
        assert_eq!(told["another-header"], "stays");
        assert_eq!(told.get_all("grpc-status").iter().count(), 1);
        let after = Status::from_header_map(&told).unwrap();
        assert_eq!(after.code(), tonic::Code::ResourceExhausted);
        assert_eq!(after.message(), "too many");
        assert_eq!(after.metadata().get("of-a-story").unwrap(), "kept");
        let details = after.get_error_details();
        let facts = |of: &ErrorDetails| format!("{:?} {:?}", of.error_info(), of.retry_info());
        assert_eq!(facts(&details), facts(&before));
        assert_eq!(details.localized_message().unwrap().locale, "zh");
    }

    #[test]
    fn who_waits_long_is_told_until_when_and_who_waits_a_moment_is_not() {
        let tries = |wait| error::wait("TOO_MANY_TRIES", "too many", Duration::from_secs(wait));
        let english = |wait| localized(tries(wait), Language::English).unwrap().1;
        assert!(
            english(30).contains("Ask for a new code"),
            "{}",
            english(30)
        );
        // 900,000,000 s and an hour, which is 16:00 plus 1:00, and not a minute too early.
        let hour = english(3_600);
        assert!(hour.contains("after 9 July 1998, 17:01 UTC"), "{hour}");
        let bad = error::invalid("account", "must be accounts/{account}");
        let (locale, chinese) = localized(bad, Language::Chinese).unwrap();
        assert_eq!(locale, "zh");
        assert!(chinese.ends_with('。'), "{chinese}");
    }

    #[test]
    fn what_is_no_refusal_of_a_persons_request_stays_as_it_is() {
        let english = Language::English;
        assert_eq!(
            localized(error::denied("NOT_AN_OPERATOR", "no"), english),
            None
        );
        assert_eq!(localized(Status::internal("no reason"), english), None);
        let mut fine = HeaderMap::new();
        interpret(&mut fine, english, SystemTime::now());
        assert!(fine.is_empty());
        // Another region has said it in its caller's language.
        let refused = error::denied("NOT_IN_HAND", "no");
        let elsewhere = said(&refused, Language::Chinese, SystemTime::now()).unwrap();
        assert_eq!(localized(elsewhere, english).unwrap().0, "zh");
    }
}
