//! The custodian of archives asks for parts of what others hold; a coordinator passes question and answer on.

use std::time::Duration;

use farewell_proto::participant::v1::ExportPartQuestion;
use farewell_proto::participant::v1::connect_request::Message;
use tokio::time::timeout;

use super::Session;
use super::asking::{NO_ANSWER, NO_COORDINATOR, TOO_MANY_QUESTIONS};
use crate::export::Part;

/// How long an answer is waited for: longer than a coordinator waits for the participant.
const ANSWER_WAIT: Duration = Duration::from_secs(40);

/// Whose part is asked for, and which.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// `exports/{export}`.
    pub export: &'a str,
    /// The account's id.
    pub account: &'a str,
    /// Who is asked.
    pub participant: &'a str,
    /// Where its last part ended; empty at the beginning.
    pub after: &'a str,
    /// How often it was asked before: each time another coordinator is, as not all of them see everybody.
    pub attempt: u32,
}

/// There is no part now: a stable machine word. Ask again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoPart(pub String);

impl Session {
    /// The next part of what a participant holds of an account.
    ///
    /// Errors: nobody to ask, no answer in time, or the coordinator's or participant's own word.
    pub async fn export_part(&self, ask: Ask<'_>) -> Result<Part, NoPart> {
        let word = |word: &str| NoPart(word.to_owned());
        let (asked, answer) = self.shared.parts.ask().ok_or(word(TOO_MANY_QUESTIONS))?;
        let question = ExportPartQuestion {
            id: asked.id,
            export: ask.export.to_owned(),
            account: format!("accounts/{}", ask.account),
            participant: ask.participant.to_owned(),
            after: ask.after.to_owned(),
        };
        let links = &self.shared.links;
        let first = ask.attempt as usize % links.len().max(1);
        let mut turn = links[first..].iter().chain(&links[..first]);
        turn.find(|link| link.say(Message::ExportPart(question.clone())))
            .ok_or(word(NO_COORDINATOR))?;
        match timeout(ANSWER_WAIT, answer).await {
            Ok(Ok(part)) => part,
            Ok(Err(_)) | Err(_) => Err(word(NO_ANSWER)),
        }
    }
}
