//! Says refusals in the caller's language: beside its code, its reason and what a machine needs, whatever a caller is refused with has
//! a sentence for the person, `google.rpc.LocalizedMessage`, from the port's catalogue.
//!
//! It stands before all that answers callers, so that no handler has to think of it. What ends a stream after its first message has its
//! code and reason alone: by then the person has read an answer.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::server::NamedService;
use tonic_types::StatusExt as _;

use crate::catalogue::Catalogue;
use crate::language::Language;

/// Whoever may come again sooner is told to wait a moment, and not until when.
const MOMENT: Duration = Duration::from_secs(90);
/// Times are said to the minute, and none of them too early.
const MINUTE: Duration = Duration::from_secs(60);
/// What a refusal consists of.
const OF_A_REFUSAL: [&str; 3] = ["grpc-status", "grpc-message", "grpc-status-details-bin"];

/// A service whose refusals are said in the language of whoever asks.
#[derive(Clone)]
pub struct Interpreter<S> {
    catalogue: &'static Catalogue,
    inner: S,
}

impl<S> Interpreter<S> {
    /// Before this service, with the sentences of its port.
    pub const fn before(inner: S, catalogue: &'static Catalogue) -> Self {
        Self { catalogue, inner }
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
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let language = Language::of_headers(request.headers());
        let catalogue = self.catalogue;
        let answered = self.inner.call(request);
        Box::pin(async move {
            let mut response = answered.await?;
            let words = (catalogue, language);
            interpret(response.headers_mut(), words, SystemTime::now());
            Ok(response)
        })
    }
}

impl<S: NamedService> NamedService for Interpreter<S> {
    const NAME: &'static str = S::NAME;
}

/// Adds the sentence to a refusal. Anything else, and what another region's coordinator has said already, stays as it is.
fn interpret(headers: &mut HeaderMap, words: (&Catalogue, Language), now: SystemTime) {
    if !headers.contains_key(OF_A_REFUSAL[0]) {
        return;
    }
    let refusal = Status::from_header_map(headers);
    let Some(said) = refusal.and_then(|status| said(&status, words, now)) else {
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
fn said(
    status: &Status,
    (catalogue, language): (&Catalogue, Language),
    now: SystemTime,
) -> Option<Status> {
    let mut details = status.get_error_details();
    if details.localized_message().is_some() {
        return None;
    }
    let wait = details.retry_info().and_then(|retry| retry.retry_delay);
    let until = wait.filter(|wait| *wait >= MOMENT).and_then(|wait| {
        let until = now.checked_add(wait + MINUTE)?;
        Timestamp::try_from(until).ok()
    });
    let reason = details.error_info()?.reason.clone();
    let sentence = catalogue.of_refusal(&reason, until, language)?;
    details.set_localized_message(language.tag(), sentence);
    let (code, message) = (status.code(), status.message());
    let metadata = status.metadata().clone();
    Some(Status::with_error_details_and_metadata(
        code, message, details, metadata,
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::UNIX_EPOCH;

    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    fn sentences() -> Catalogue {
        Catalogue::new(|language| match language {
            Language::English => {
                "TOO_FAST = That was too fast.\n    .remedy = { $ends ->\n        [known] Try again after { $until }.\n       *[other] Try again in a moment.\n    }\n"
            }
            Language::Chinese => "TOO_FAST = 请求过多。\n    .remedy = 请稍后重试。\n",
        })
    }

    fn refused(reason: &str, wait: Option<Duration>) -> Status {
        let mut details = ErrorDetails::with_error_info(reason, "a domain", HashMap::new());
        details.set_retry_info(wait);
        Status::with_error_details(Code::ResourceExhausted, "not now", details)
    }

    fn headers(status: Status) -> HeaderMap {
        status.into_http::<Body>().headers().clone()
    }

    fn localized(status: Status, language: Language) -> Option<(String, String)> {
        let mut headers = headers(status);
        interpret(
            &mut headers,
            (&sentences(), language),
            UNIX_EPOCH + MOMENT * 10_000_000,
        );
        let status = Status::from_header_map(&headers).unwrap();
        let details = status.get_error_details();
        let said = details.localized_message()?;
        Some((said.locale.clone(), said.message.clone()))
    }

    #[test]
    fn a_refusal_keeps_all_that_it_says_and_has_a_sentence_beside_it() {
        let mut status = refused("TOO_FAST", Some(Duration::from_secs(7_200)));
        let mark = "kept".parse().unwrap();
        status.metadata_mut().insert("of-a-story", mark);
        let before = status.get_error_details();
        let mut told = headers(status);
        told.insert("another-header", "stays".parse().unwrap());
        interpret(
            &mut told,
            (&sentences(), Language::Chinese),
            SystemTime::now(),
        );
        assert_eq!(told["another-header"], "stays");
        assert_eq!(told.get_all("grpc-status").iter().count(), 1);
        let after = Status::from_header_map(&told).unwrap();
        assert_eq!(after.code(), Code::ResourceExhausted);
        assert_eq!(after.message(), "not now");
        assert_eq!(after.metadata().get("of-a-story").unwrap(), "kept");
        let details = after.get_error_details();
        let facts = |of: &ErrorDetails| format!("{:?} {:?}", of.error_info(), of.retry_info());
        assert_eq!(facts(&details), facts(&before));
        assert_eq!(details.localized_message().unwrap().locale, "zh");
    }

    #[test]
    fn who_waits_long_is_told_until_when_and_who_waits_a_moment_is_not() {
        let too_fast = |wait| refused("TOO_FAST", Some(Duration::from_secs(wait)));
        let english = |wait| localized(too_fast(wait), Language::English).unwrap().1;
        assert!(english(30).contains("in a moment"), "{}", english(30));
        // 900,000,000 s and an hour, which is 16:00 plus 1:00, and not a minute too early.
        let hour = english(3_600);
        assert!(hour.contains("after 9 July 1998, 17:01 UTC"), "{hour}");
        let bad = refused("INVALID_FIELD", None);
        let (locale, chinese) = localized(bad, Language::Chinese).unwrap();
        assert_eq!(locale, "zh");
        assert!(chinese.ends_with('。'), "{chinese}");
    }

    #[test]
    fn what_is_no_refusal_of_a_persons_request_stays_as_it_is() {
        let english = Language::English;
        assert_eq!(localized(refused("NOT_AN_OPERATOR", None), english), None);
        assert_eq!(localized(Status::internal("no reason"), english), None);
        let mut fine = HeaderMap::new();
        interpret(&mut fine, (&sentences(), english), SystemTime::now());
        assert!(fine.is_empty());
        // Another region has said it in its caller's language.
        let words = (&sentences(), Language::Chinese);
        let elsewhere = said(&refused("NOT_IN_HAND", None), words, SystemTime::now()).unwrap();
        assert_eq!(localized(elsewhere, english).unwrap().0, "zh");
    }
}
