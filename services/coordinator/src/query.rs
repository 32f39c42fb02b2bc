//! Short questions to participants, with a deadline. No answer is no answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use farewell_core::deletion::Blocker;
use farewell_core::{AccountId, ParticipantId, Plan, Policy};
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use farewell_proto::participant::v1::{self as wire, connect_response::Message};
use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::center::Center;
use crate::wire::time;

/// Blockers that one participant may name.
const BLOCKERS_MAX: usize = 64;
/// Bytes of each text in a blocker; what is beyond is cut off, as the blocker counts all the same.
const BLOCKER_TEXT_MAX: usize = 1_024;
/// Questions that may be open at a time in this coordinator.
const OPEN_MAX: usize = 65_536;

/// Questions that wait for their answer.
#[derive(Debug, Default)]
pub struct Queries {
    last: AtomicU64,
    open: Mutex<HashMap<u64, (ParticipantId, oneshot::Sender<Answer>)>>,
}

impl Queries {
    /// Asks one participant. `None`: not connected, no room, unanswerable, or no answer in time.
    pub async fn ask(
        &self,
        center: &Center,
        participant: &ParticipantId,
        account: &AccountId,
        question: Question,
        patience: Duration,
    ) -> Option<Answer> {
        let answer = self.hear(center, participant, account, question, patience);
        let answer = answer.await?;
        (!matches!(answer, Answer::Unanswerable(_))).then_some(answer)
    }

    /// As [`Queries::ask`], for who wants to know why a question is unanswerable.
    pub async fn hear(
        &self,
        center: &Center,
        participant: &ParticipantId,
        account: &AccountId,
        question: Question,
        patience: Duration,
    ) -> Option<Answer> {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let frames = center.board().ask(participant)?;
        let (sender, answer) = oneshot::channel();
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if open.len() >= OPEN_MAX {
                return None;
            }
            open.insert(id, (participant.clone(), sender));
        }
        let _closes = Closes { queries: self, id };
        let query = wire::Query {
            id,
            timeout: prost_types::Duration::try_from(patience).ok(),
            account: format!("accounts/{}", account.as_str()),
            traceparent: farewell_runtime::telemetry::traceparent_of(&tracing::Span::current()),
            question: Some(question),
        };
        let asked = async {
            let frame = wire::ConnectResponse {
                message: Some(Message::Query(query)),
            };
            frames.send(Ok(frame)).await.ok()?;
            answer.await.ok()
        };
        timeout(patience, asked).await.ok().flatten()
    }

    /// Takes a reply. One that nobody waits for, or from another participant than was asked, is dropped.
    pub fn reply(&self, sender: &ParticipantId, reply: wire::Reply) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open
            .get(&reply.query_id)
            .is_some_and(|(asked, _)| asked == sender)
            && let (Some((_, waiting)), Some(answer)) = (open.remove(&reply.query_id), reply.answer)
        {
            let _ = waiting.send(answer);
        }
    }

    /// Asks all participants of a plan at the same time.
    pub async fn ask_all(
        &self,
        center: &Center,
        plan: &Plan,
        account: &AccountId,
        question: Question,
    ) -> Vec<(ParticipantId, Option<Answer>)> {
        let asked = plan.policy().participants().map(|participant| async {
            let answer = self
                .ask(
                    center,
                    participant,
                    account,
                    question.clone(),
                    center.pace.query,
                )
                .await;
            (participant.clone(), answer)
        });
        join_all(asked).await
    }

    /// Every blocker of every participant, whatever its class. One that does not answer is itself a blocker.
    pub async fn eligibility(
        &self,
        center: &Center,
        plan: &Plan,
        account: &AccountId,
    ) -> Vec<Blocker> {
        let question = in_the_way(plan.policy());
        let answers = self.ask_all(center, plan, account, question).await;
        let said = answers
            .into_iter()
            .map(|(participant, answer)| said(answer, &participant, plan));
        said.flatten().collect()
    }

    /// What one of them names.
    pub async fn eligibility_of(
        &self,
        center: &Center,
        participant: &ParticipantId,
        plan: &Plan,
        account: &AccountId,
    ) -> Vec<Blocker> {
        let question = in_the_way(plan.policy());
        let patience = center.pace.query;
        let answer = self
            .ask(center, participant, account, question, patience)
            .await;
        said(answer, participant, plan)
    }
}

fn in_the_way(policy: &Policy) -> Question {
    Question::Eligibility(wire::EligibilityQuery {
        recent_change: recent_change(policy),
    })
}

/// How lately a change is recent, for whoever knows of changes.
pub fn recent_change(policy: &Policy) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(policy.recent_change).ok()
}

/// What a participant said is in the way. No answer is, too.
fn said(answer: Option<Answer>, participant: &ParticipantId, plan: &Plan) -> Vec<Blocker> {
    match answer {
        Some(Answer::Eligibility(reply)) => named(reply.blockers, participant, plan.policy()),
        _ => vec![Blocker::unreachable(participant, plan.policy())],
    }
}

/// What one participant named. Beyond the limit the weakest go first: nothing that stops may hide behind them.
fn named(
    blockers: Vec<wire::EligibilityBlocker>,
    participant: &ParticipantId,
    policy: &Policy,
) -> Vec<Blocker> {
    let mut named: Vec<_> = blockers
        .into_iter()
        .map(|blocker| Blocker {
            message: shortened(blocker.message),
            remedy: shortened(blocker.remedy),
            count: blocker.count.max(0),
            until: blocker.until_time.and_then(time),
            ..Blocker::named(&shortened(blocker.code), participant, policy)
        })
        .collect();
    if named.len() > BLOCKERS_MAX {
        named.sort_by_key(|blocker| blocker.class);
        named.truncate(BLOCKERS_MAX);
    }
    named
}

fn shortened(mut text: String) -> String {
    let end = (0..=BLOCKER_TEXT_MAX)
        .rev()
        .find(|end| text.is_char_boundary(*end));
    if text.len() > BLOCKER_TEXT_MAX {
        text.truncate(end.unwrap_or(0));
    }
    text
}

/// Closes a question however its asking ends: a caller that leaves drops it halfway.
struct Closes<'a> {
    queries: &'a Queries,
    id: u64,
}

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        let mut open = self
            .queries
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "\u{4f60}".repeat(1_000);
        assert_eq!(shortened(text), "\u{4f60}".repeat(341));
        assert_eq!(shortened("short".to_owned()), "short");
    }

    #[test]
    fn what_stops_never_hides_behind_what_is_only_told() {
        let blocker = |code: &str| wire::EligibilityBlocker {
            code: code.to_owned(),
            count: -1,
            ..Default::default()
        };
        let mut many = vec![blocker("DEVICES_BOUND"); 1_000];
        many.extend(vec![blocker("POINTS_LEFT"); 1_000]);
        many.push(blocker("UNFINISHED_ORDER"));
        let kept = named(many, &"store".parse().unwrap(), &Policy::cn());
        assert_eq!(kept.len(), BLOCKERS_MAX);
        assert_eq!(
            (kept[0].code.as_str(), kept[0].count),
            ("UNFINISHED_ORDER", 0)
        );
    }

    #[test]
    fn a_question_whose_caller_has_left_is_open_no_longer() {
        let queries = Queries::default();
        let (sender, _answer) = oneshot::channel();
        let cloud: ParticipantId = "cloud".parse().unwrap();
        queries.open.lock().unwrap().insert(1, (cloud, sender));
        let asked = async {
            let _closes = Closes {
                queries: &queries,
                id: 1,
            };
            std::future::pending::<()>().await;
        };
        let mut asked = Box::pin(asked);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(asked.as_mut().poll(&mut context).is_pending());
        drop(asked);
        assert!(queries.open.lock().unwrap().is_empty());
    }
}
