//! The custodian of archives asks for what others hold: each question is passed on, and its answer back. Nothing of either
//! is kept, and nobody else is answered.

use std::sync::Arc;
use std::time::Duration;

use farewell_core::ParticipantId;
use farewell_proto::participant::v1::connect_response::Message as Down;
use farewell_proto::participant::v1::export_part_answer::Answer as Told;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use farewell_proto::participant::v1::{self as wire, ConnectResponse};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::board::Frame;
use crate::center::Center;
use crate::wire as convert;

/// Questions of one session under way at a time: each answer may be as large as [`PART_BYTES_MAX`].
const PARTS_MAX: usize = 8;
/// Largest part that is passed on.
const PART_BYTES_MAX: usize = 1024 * 1024 + 256 * 1024;
/// Longest cursor.
const CURSOR_BYTES_MAX: usize = 4_096;
/// How long a participant may look for its part. The custodian waits 40 s.
const PART_MAX: Duration = Duration::from_secs(30);

/// Questions of one session that are under way. They end with it: nobody would hear the answers.
#[derive(Default)]
pub(super) struct Parts {
    asking: JoinSet<()>,
}

impl Parts {
    /// Passes a question on.
    pub(super) fn take(
        &mut self,
        center: &Arc<Center>,
        asker: &ParticipantId,
        words: &mpsc::Sender<Frame>,
        question: wire::ExportPartQuestion,
    ) {
        while self.asking.try_join_next().is_some() {}
        let id = question.id;
        let refused = if *asker != center.custodian {
            tracing::warn!(%asker, "asks for what others hold, and is not the custodian of archives");
            Some("NOT_CUSTODIAN")
        } else if self.asking.len() >= PARTS_MAX {
            Some("TOO_MANY_QUESTIONS")
        } else {
            None
        };
        if let Some(word) = refused {
            tell(words, id, Told::Refused(word.to_owned()));
            return;
        }
        let (center, words) = (Arc::clone(center), words.clone());
        self.asking.spawn(async move {
            let told = match ask(&center, question).await {
                Ok(part) => Told::Part(part),
                Err(word) => Told::Refused(word.to_owned()),
            };
            tell(&words, id, told);
        });
    }
}

/// Full: the custodian asks again.
fn tell(words: &mpsc::Sender<Frame>, question_id: u64, answer: Told) {
    let answer = wire::ExportPartAnswer {
        question_id,
        answer: Some(answer),
    };
    let frame = ConnectResponse {
        message: Some(Down::ExportPart(answer)),
    };
    let _ = words.try_send(Ok(frame));
}

async fn ask(
    center: &Center,
    question: wire::ExportPartQuestion,
) -> Result<wire::ExportPartReply, &'static str> {
    const MALFORMED: &str = "QUESTION_MALFORMED";
    let participant: ParticipantId = question.participant.parse().map_err(|_| MALFORMED)?;
    let account = convert::account(&question.account).ok_or(MALFORMED)?;
    if question.after.len() > CURSOR_BYTES_MAX || !center.plans.know(&participant) {
        return Err(MALFORMED);
    }
    let query = Question::ExportPart(wire::ExportPartQuery {
        export: question.export,
        after: question.after,
    });
    let asked = center
        .queries
        .ask(center, &participant, &account, query, PART_MAX);
    match asked.await {
        Some(Answer::ExportPart(part)) if part.encoded_len() <= PART_BYTES_MAX => Ok(part),
        Some(Answer::ExportPart(_)) => Err("PART_TOO_LARGE"),
        Some(_) | None => Err("PARTICIPANT_AWAY"),
    }
}
