//! What a participant can get wrong, and what becomes of the deletion: nothing, until it answers honestly.

mod answers;
mod conflicts;
mod homes;
mod streams;
mod windows;

use farewell_core::Policy;
use farewell_proto::participant::v1::report::Answer;
use farewell_proto::participant::v1::{Deferred, Outcome, Refused};
use farewell_tests::policy;
use farewell_tests::scripted::done;

const CLOUD_THEN_STORE: &[&[&str]] = &[&["cloud"], &["store"]];

fn straight() -> Policy {
    policy::straight(CLOUD_THEN_STORE)
}

fn second(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn erased(photos: i64) -> Answer {
    Answer::Done(done(Outcome::Erased, &[("photos", photos)]))
}

fn deferred(retry_after: Option<prost_types::Duration>, reason: &str) -> Answer {
    Answer::Deferred(Deferred {
        retry_after,
        reason: reason.to_owned(),
        done: 1,
        total: 2,
    })
}

fn refuses(reason: &str) -> Answer {
    Answer::Refused(Refused {
        reason: reason.to_owned(),
        detail: String::new(),
    })
}
