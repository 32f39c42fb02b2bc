//! One Security Event Token (RFC 8417).

use farewell_core::{DeletionId, Time};
use farewell_ledger::{Answer, Event, Heard};
use farewell_runtime::jws;
use serde_json::json;
use uuid::Uuid;

use super::Events;
use super::kind::Kind;

/// The media type in a token's header.
const TYP: &str = "secevent+jwt";

/// A signed token, and what it tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub deletion: DeletionId,
    pub kind: Kind,
    /// How often it was told and not taken.
    pub tries: u32,
    /// The same each time that the event is told to a receiver: by this it knows a repeat.
    pub jti: String,
    pub jwt: String,
}

impl Token {
    /// The account is named as issuer and subject (RFC 9493, 3.2.3), by the id that callers gave it, and by nothing else of
    /// the person.
    pub fn new(events: &Events, audience: &str, (event, kind): (&Event, Kind), now: Time) -> Self {
        let jti = jti(event.deletion, kind);
        let (uri, says) = kind.event();
        let claims = json!({
            "iss": events.issuer,
            "jti": jti,
            "iat": seconds(now),
            "aud": audience,
            "toe": seconds(event.at),
            "txn": format!("deletions/{}", event.deletion),
            "sub_id": {"format": "iss_sub", "iss": events.issuer, "sub": event.account.as_str()},
            "events": {uri: says},
        });
        Self {
            deletion: event.deletion,
            kind,
            tries: event.tries,
            jti,
            jwt: jws::sign(&events.key, TYP, &claims),
        }
    }

    /// What became of it.
    pub fn heard(&self, answer: Answer) -> Heard {
        Heard {
            deletion: self.deletion,
            kind: self.kind.code(),
            answer,
        }
    }
}

/// The name of the token that tells of this.
pub fn jti(deletion: DeletionId, kind: Kind) -> String {
    format!("{deletion}.{}", kind.word())
}

/// What a receiver's word about a token is about. `None`: no token of ours.
pub fn heard(jti: &str, answer: Answer) -> Option<Heard> {
    let (deletion, kind) = of_jti(jti)?;
    Some(Heard {
        deletion,
        kind: kind.code(),
        answer,
    })
}

/// What the token of this name tells of. `None`: no token of ours.
pub fn of_jti(jti: &str) -> Option<(DeletionId, Kind)> {
    let (deletion, kind) = jti.split_once('.')?;
    let deletion = Uuid::try_parse(deletion).ok()?;
    Some((DeletionId(deletion), Kind::from_word(kind)?))
}

/// The word with which a receiver refuses, if it looks like one of RFC 8935's.
pub fn refusal(word: &str) -> String {
    let of_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if (1..=64).contains(&word.len()) && word.bytes().all(of_word) {
        word.to_owned()
    } else {
        "unreadable".to_owned()
    }
}

fn seconds(at: Time) -> i64 {
    at.micros().div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_about_a_token_finds_what_it_tells_of() {
        let deletion = DeletionId(Uuid::now_v7());
        let found = heard(&jti(deletion, Kind::Purged), Answer::Taken).unwrap();
        assert_eq!(
            (found.deletion, found.kind),
            (deletion, Kind::Purged.code())
        );
        for other in [
            "",
            "x",
            "x.account-purged",
            &format!("{deletion}.account-born"),
        ] {
            assert_eq!(heard(other, Answer::Taken), None, "{other}");
        }
    }

    #[test]
    fn only_a_word_is_kept_of_a_refusal() {
        assert_eq!(refusal("invalid_request"), "invalid_request");
        for other in ["", "no way", "<html>", &"x".repeat(65)] {
            assert_eq!(refusal(other), "unreadable");
        }
    }
}
