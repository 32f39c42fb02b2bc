//! Exports on the wire.

use farewell_proto::participant::v1 as pb;

use super::{Malformed, id};
use crate::export::{CATEGORIES_MAX, PART_BYTES_MAX, PIECES_MAX, Part, Piece};
use crate::participant::{Export, ExportRead, ExportState, NotExported, StartExport};
use crate::session::NoPart;

const EXPORTS: &str = "exports/";
/// Participants of one export.
const PARTICIPANTS_MAX: usize = 64;
/// Bytes of a category's name, or of the word why it is left out.
const WORD_BYTES_MAX: usize = 64;

pub(crate) fn name(name: String) -> Result<String, Malformed> {
    id(&name, EXPORTS, "export must be exports/{export}")?;
    Ok(name)
}

pub(crate) fn start(
    asked: pb::StartExportQuery,
    account: String,
) -> Result<StartExport, Malformed> {
    let participants = asked.participants;
    if !(1..=PARTICIPANTS_MAX).contains(&participants.len())
        || participants.iter().any(String::is_empty)
    {
        return Err(Malformed("participants must be 1 to 64 names"));
    }
    Ok(StartExport {
        account,
        export: name(asked.export)?,
        participants,
        language: asked.language,
        though_frozen: asked.though_frozen,
    })
}

pub(crate) fn part(part: Part) -> pb::reply::Answer {
    let piece = |piece: Piece| pb::ExportPiece {
        path: piece.path,
        content: piece.content.into(),
    };
    pb::reply::Answer::ExportPart(pb::ExportPartReply {
        pieces: part.pieces.into_iter().map(piece).collect(),
        items: part.items,
        next: part.next,
        categories: part.categories.into_iter().collect(),
        left_out: part.left_out.into_iter().collect(),
    })
}

/// The id of the question, and what came of it.
pub(crate) fn answered(answer: pb::ExportPartAnswer) -> (u64, Result<Part, NoPart>) {
    use pb::export_part_answer::Answer;
    let part = match answer.answer {
        Some(Answer::Part(reply)) => read_part(reply).ok_or("PART_MALFORMED".to_owned()),
        Some(Answer::Refused(word)) => Err(word),
        None => Err("PART_MALFORMED".to_owned()),
    };
    (answer.question_id, part.map_err(NoPart))
}

fn read_part(reply: pb::ExportPartReply) -> Option<Part> {
    let piece = |piece: pb::ExportPiece| Piece {
        path: piece.path,
        content: piece.content.into(),
    };
    let part = Part {
        pieces: reply.pieces.into_iter().map(piece).collect(),
        items: reply.items,
        categories: reply.categories.into_iter().collect(),
        left_out: reply.left_out.into_iter().collect(),
        next: reply.next,
    };
    let sound = part.items >= 0
        && part.pieces.len() <= PIECES_MAX
        && part.size_bytes() <= PART_BYTES_MAX
        && part.pieces.iter().all(|piece| !piece.path.is_empty())
        && part.categories.len() + part.left_out.len() <= CATEGORIES_MAX
        && part
            .categories
            .iter()
            .all(|(category, items)| is_word(category) && *items >= 0)
        && part
            .left_out
            .iter()
            .flat_map(|(category, why)| [category, why])
            .all(|it| is_word(it));
    sound.then_some(part)
}

/// What people and programs are shown is one of our words, and nothing else that a participant may have.
fn is_word(text: &str) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub(crate) fn export(export: Result<Export, NotExported>) -> pb::reply::Answer {
    pb::reply::Answer::Export(match export {
        Ok(export) => told(export),
        Err(refused) => pb::ExportReply {
            refused: word(&refused).to_owned(),
            export: match refused {
                NotExported::Running(running) => running,
                _ => String::new(),
            },
            ..pb::ExportReply::default()
        },
    })
}

fn told(export: Export) -> pb::ExportReply {
    let sources = export.sources.into_iter().map(|source| pb::ExportSource {
        participant: source.participant,
        done: source.done,
        away: source.away,
        items: source.items,
        size_bytes: bytes(source.size_bytes),
    });
    pb::ExportReply {
        refused: String::new(),
        export: export.name,
        state: match export.state {
            ExportState::Running => pb::ExportState::Running,
            ExportState::Ready => pb::ExportState::Ready,
            ExportState::Failed => pb::ExportState::Failed,
            ExportState::Cancelled => pb::ExportState::Cancelled,
            ExportState::Expired => pb::ExportState::Expired,
        }
        .into(),
        reason: export.reason,
        sources: sources.collect(),
        size_bytes: bytes(export.size_bytes),
        sha256: export.sha256.into(),
        begin_time: Some(export.begin.into()),
        end_time: export.end.map(Into::into),
        expire_time: export.expires.map(Into::into),
    }
}

pub(crate) fn read(read: Result<ExportRead, NotExported>) -> pb::reply::Answer {
    pb::reply::Answer::ReadExport(match read {
        Ok(read) => pb::ReadExportReply {
            refused: String::new(),
            content: read.content.into(),
            size_bytes: bytes(read.size_bytes),
            sha256: read.sha256.into(),
        },
        Err(refused) => pb::ReadExportReply {
            refused: word(&refused).to_owned(),
            ..pb::ReadExportReply::default()
        },
    })
}

const fn word(refused: &NotExported) -> &'static str {
    match refused {
        NotExported::NotFound => "EXPORT_NOT_FOUND",
        NotExported::Sealed => "ACCOUNT_SEALED",
        NotExported::Frozen => "ACCOUNT_FROZEN",
        NotExported::Running(_) => "EXPORT_RUNNING",
        NotExported::TooMany => "TOO_MANY_EXPORTS",
        NotExported::Reused => "REQUEST_ID_REUSED",
        NotExported::NotReady => "EXPORT_NOT_READY",
        NotExported::OutOfRange => "OFFSET_OUT_OF_RANGE",
        NotExported::Damaged => "ARCHIVE_DAMAGED",
        NotExported::KeyUnknown => "ARCHIVE_KEY_UNKNOWN",
    }
}

fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
