//! Homes on the wire.

use farewell_proto::participant::v1 as pb;
use farewell_proto::participant::v1::home_answer::Answer;

use crate::home::{Elsewhere, Here, NotHere};

/// The id of the question, and what came of it. What says nothing is no "here".
pub(crate) fn answered(answer: pb::HomeAnswer) -> (u64, Result<Here, NotHere>) {
    let home = match answer.answer {
        Some(Answer::Here(pb::HomeHere { frozen_by_security })) => Ok(Here { frozen_by_security }),
        Some(Answer::Elsewhere(pb::HomeElsewhere { region, address })) if !region.is_empty() => {
            Err(NotHere::Elsewhere(Elsewhere { region, address }))
        }
        Some(Answer::Refused(word)) => Err(NotHere::Unknown(word)),
        Some(Answer::Elsewhere(_)) | None => Err(NotHere::Unknown("ANSWER_MALFORMED".to_owned())),
    };
    (answer.question_id, home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_here_is_here() {
        let read = |answer| {
            let answer = pb::HomeAnswer {
                question_id: 7,
                answer,
            };
            answered(answer).1
        };
        for frozen_by_security in [false, true] {
            assert_eq!(
                read(Some(Answer::Here(pb::HomeHere { frozen_by_security }))),
                Ok(Here { frozen_by_security })
            );
        }
        let eu = Elsewhere {
            region: "eu".to_owned(),
            address: String::new(),
        };
        let elsewhere = pb::HomeElsewhere {
            region: "eu".to_owned(),
            address: String::new(),
        };
        assert_eq!(
            read(Some(Answer::Elsewhere(elsewhere))),
            Err(NotHere::Elsewhere(eu))
        );
        for nothing in [
            None,
            Some(Answer::Elsewhere(pb::HomeElsewhere::default())),
            Some(Answer::Refused(String::new())),
        ] {
            assert!(matches!(read(nothing), Err(NotHere::Unknown(_))));
        }
    }
}
