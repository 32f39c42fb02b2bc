//! A participant that takes requests of its own asks where an account's home is, before it stores anything of it, and whether security
//! has frozen it, before it gives something away.
//!
//! Any participant may ask: it learns what any caller is told, and of one that isn't frozen not whether there is such an account.

use std::sync::Arc;
use std::time::Duration;

use farewell_proto::participant::v1::connect_response::Message as Down;
use farewell_proto::participant::v1::home_answer::Answer as Told;
use farewell_proto::participant::v1::{self as wire, ConnectResponse};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::board::Frame;
use crate::center::Center;
use crate::region::{Whereabouts, whereabouts};
use crate::wire as convert;

/// Questions of one session under way at a time.
const HOMES_MAX: usize = 256;
/// How long identity may take. A participant waits 4 s for each coordinator.
const HOME_MAX: Duration = Duration::from_secs(3);

/// Questions of one session that are under way. They end with it: nobody would hear the answers.
#[derive(Default)]
pub(super) struct Homes {
    asking: JoinSet<()>,
}

impl Homes {
    /// Has identity say where the account is at home, and whether security has frozen it.
    pub(super) fn take(
        &mut self,
        center: &Arc<Center>,
        words: &mpsc::Sender<Frame>,
        question: wire::HomeQuestion,
    ) {
        while self.asking.try_join_next().is_some() {}
        if self.asking.len() >= HOMES_MAX {
            let refused = Told::Refused("TOO_MANY_QUESTIONS".to_owned());
            // Full: the participant asks another coordinator, or is asked again.
            let _ = words.try_send(Ok(answer(question.id, refused)));
            return;
        }
        let (center, words) = (Arc::clone(center), words.clone());
        self.asking.spawn(async move {
            let told = told(&center, &question.account).await;
            let _ = words.send(Ok(answer(question.id, told))).await;
        });
    }
}

fn answer(question_id: u64, answer: Told) -> ConnectResponse {
    let answer = wire::HomeAnswer {
        question_id,
        answer: Some(answer),
    };
    ConnectResponse {
        message: Some(Down::Home(answer)),
    }
}

async fn told(center: &Center, account: &str) -> Told {
    let Some(account) = convert::account(account) else {
        return Told::Refused("QUESTION_MALFORMED".to_owned());
    };
    let Ok(Ok(Whereabouts {
        elsewhere,
        frozen_by_security,
    })) = timeout(HOME_MAX, whereabouts(center, &account)).await
    else {
        return Told::Refused("IDENTITY_UNAVAILABLE".to_owned());
    };
    match elsewhere {
        None => Told::Here(wire::HomeHere { frozen_by_security }),
        Some(home) => Told::Elsewhere(wire::HomeElsewhere {
            region: home.region,
            address: home.address,
        }),
    }
}
