//! `farewell.operator.v1.OperatorService`: what waits, and for whom.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use farewell_core::Time;
use farewell_ledger::Filter;
use farewell_proto::deletion::v1::ConditionKind;
use farewell_proto::operator::v1 as api;
use farewell_proto::operator::v1::operator_service_server::OperatorService;
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use tonic::{Request, Response, Status};

use super::case::SUPPORT;
use super::deletion::load;
use super::intervene::{self, Head, What};
use super::proof::{ask_identity, nobody, unreachable_identity};
use super::refused::{self, Resend};
use super::{READ_MAX, hanging, page, parse, record, within};
use crate::center::Center;
use crate::error;
use crate::region::Seen;
use crate::telling::IDENTITY;
use crate::wire::timestamp;
use farewell_interpreter::Language;

/// State codes of deletions that somebody may owe something to: all but those awaiting verification, purged or expired.
const UNFINISHED: [i16; 6] = [2, 3, 4, 5, 6, 7];

/// How long an overview waits for identity and the desk.
const ASIDE_MAX: Duration = Duration::from_secs(1);

/// See the module.
pub struct Operators {
    center: Arc<Center>,
}

impl Operators {
    /// The service over this center.
    pub const fn new(center: Arc<Center>) -> Self {
        Self { center }
    }
}

/// What a participant says of no account in particular, if it answers soon.
async fn heard(center: &Center, participant: &str, question: Question) -> Option<Answer> {
    let participant = participant.parse().ok()?;
    let nobody = nobody().ok()?;
    let queries = &center.queries;
    queries
        .ask(center, &participant, &nobody, question, ASIDE_MAX)
        .await
}

/// What identity has to carry.
async fn letters(center: &Center) -> Option<api::LetterOverview> {
    let question = Question::Letters(wire::LettersQuery {});
    match heard(center, IDENTITY, question).await {
        Some(Answer::Letters(letters)) => Some(api::LetterOverview {
            waiting: letters.waiting,
            failing: letters.failing,
            given_up: letters.given_up,
            last_failure_time: letters.last_failure_time,
        }),
        _ => None,
    }
}

/// What waits at the support desk.
async fn desk(center: &Center) -> Option<api::DeskOverview> {
    match heard(center, SUPPORT, Question::Desk(wire::DeskQuery {})).await {
        Some(Answer::Desk(desk)) => Some(api::DeskOverview {
            open: desk.open,
            stuck: desk.stuck,
        }),
        _ => None,
    }
}

/// Whoever has owed something since then owes it for too long.
fn stalled_since(center: &Center) -> Time {
    let patience = center.plans.current().policy().stalled_after;
    let patience_micros = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX / 2);
    Time::from_micros(center.clock.now().micros() - patience_micros)
}

/// Whether a deletion with this condition goes on only if somebody does something.
const fn stands_still(condition: ConditionKind) -> bool {
    matches!(
        condition,
        ConditionKind::Stalled
            | ConditionKind::Conflict
            | ConditionKind::Held
            | ConditionKind::Blocked
            | ConditionKind::Overdue
    )
}

#[tonic::async_trait]
impl OperatorService for Operators {
    async fn get_overview(
        &self,
        _request: Request<api::GetOverviewRequest>,
    ) -> Result<Response<api::GetOverviewResponse>, Status> {
        let center = &self.center;
        let overview = within(READ_MAX, async {
            let plan = center.plans.current();
            let policy = plan.policy();
            center
                .ledger
                .overview(policy.deadline_warning, policy.stalled_after)
                .await
                .map_err(|error| error::ledger(&error))
        })
        .await?;
        let (letters, desk, cells) =
            tokio::join!(letters(center), desk(center), center.cells.look());
        let account_changes = within(READ_MAX, async {
            let hanging = hanging::since(center, stalled_since(center)).await;
            hanging.map_err(|error| error::ledger(&error))
        })
        .await?;
        let participants = center
            .plans
            .current()
            .policy()
            .participants()
            .map(|participant| {
                let seen = center.board().desk(participant);
                api::ParticipantOverview {
                    participant: participant.to_string(),
                    sessions: seen.sessions,
                    outstanding: seen.outstanding,
                    waiting: seen.waiting,
                    deferred: seen.deferred,
                    refused: center.board().refused(participant),
                }
            });
        let refused_reports = center
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let refusal = |((participant, reason), count): (&(String, &str), &u64)| api::RefusalCount {
            participant: participant.clone(),
            reason: (*reason).to_owned(),
            count: *count,
        };
        let coordinator = |coordinator: farewell_ledger::Coordinator| api::CoordinatorOverview {
            coordinator: coordinator.holder,
            slots: coordinator.slots,
            lease_end_time: Some(timestamp(coordinator.lease_until)),
        };
        let cell = |cell: Seen| api::CellOverview {
            region: cell.region,
            address: cell.address,
            forward: cell.answers.is_some(),
            answers: cell.answers,
        };
        let receiver = |receiver: farewell_ledger::Receiver| api::ReceiverOverview {
            receiver: receiver.receiver,
            waiting: receiver.waiting,
            oldest_time: receiver.oldest.map(timestamp),
            refused: receiver.refused,
        };
        Ok(Response::new(api::GetOverviewResponse {
            states: overview
                .states
                .into_iter()
                .map(|(state, count)| api::StateCount {
                    state: i32::from(state),
                    count,
                })
                .collect(),
            participants: participants.collect(),
            coordinators: overview.coordinators.into_iter().map(coordinator).collect(),
            oldest_unfinished_time: overview.oldest_unfinished.map(timestamp),
            refused_reports: refused_reports.iter().map(refusal).collect(),
            outbox_backlog: overview.outbox,
            letters,
            desk,
            overdue: overview.overdue,
            overdue_soon: overview.overdue_soon,
            receivers: overview.receivers.into_iter().map(receiver).collect(),
            region: center.cells.own().to_owned(),
            cells: cells.into_iter().map(cell).collect(),
            obligations: Some(api::ObligationOverview {
                open: overview.kept.deletions,
                late: overview.kept.late,
                held: overview.kept.held,
            }),
            account_changes,
        }))
    }

    async fn get_quarantine(
        &self,
        request: Request<api::GetQuarantineRequest>,
    ) -> Result<Response<api::GetQuarantineResponse>, Status> {
        let request = request.into_inner();
        parse::size(&request)?;
        // Identity makes them: a time and a request.
        let token = &request.page_token;
        let sound =
            |(at, id): (&str, &str)| at.parse::<i64>().is_ok() && parse::request_id(id).is_ok();
        if !token.is_empty() && !token.split_once(' ').is_some_and(sound) {
            return Err(page::mismatch());
        }
        let question = Question::Quarantine(wire::QuarantineQuery {
            page_size: page::size(request.page_size)?,
            page_token: request.page_token,
        });
        let nobody = nobody()?;
        let asked = within(READ_MAX, ask_identity(&self.center, &nobody, question));
        let Answer::Quarantine(held) = asked.await? else {
            return Err(unreachable_identity());
        };
        let key = |key: wire::QuarantineKey| api::HashKey {
            version: key.version,
            newest: key.newest,
            identifiers: key.identifiers,
            links: key.links,
        };
        let release = |release: wire::QuarantineRelease| api::IdentifierRelease {
            request_id: release.request_id,
            kind: release.kind,
            hash: release.hash,
            version: release.version,
            caller: release.caller,
            time: release.time,
            held: release.held,
        };
        Ok(Response::new(api::GetQuarantineResponse {
            keys: held.keys.into_iter().map(key).collect(),
            releases: held.releases.into_iter().map(release).collect(),
            next_page_token: held.next_page_token,
        }))
    }

    async fn list_stalled(
        &self,
        request: Request<api::ListStalledRequest>,
    ) -> Result<Response<api::ListStalledResponse>, Status> {
        let language = Language::of(request.metadata());
        let request = request.into_inner();
        let rows = page::size(request.page_size)?;
        let before = page::start(&request.page_token, "stalled")?;
        let center = &self.center;
        let filter = Filter {
            states: UNFINISHED.to_vec(),
            account: None,
            unmoved_since: Some(stalled_since(center)),
        };
        let (deletions, next) = within(READ_MAX, async {
            let mut found = center
                .ledger
                .list(&filter, before, rows + 1)
                .await
                .map_err(|error| error::ledger(&error))?;
            let more = found.len() > rows as usize;
            found.truncate(rows as usize);
            let next = found
                .last()
                .filter(|_| more)
                .map(|last| page::token(last.id, "stalled"));
            let mut stalled = Vec::with_capacity(found.len());
            for deletion in found {
                let deletion = load(center, deletion.id, language).await?;
                if deletion
                    .conditions
                    .iter()
                    .any(|condition| stands_still(condition.kind()))
                {
                    stalled.push(deletion);
                }
            }
            Ok((stalled, next))
        })
        .await?;
        Ok(language.respond(api::ListStalledResponse {
            deletions,
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn get_history(
        &self,
        request: Request<api::GetHistoryRequest>,
    ) -> Result<Response<api::GetHistoryResponse>, Status> {
        let request = request.into_inner();
        parse::size(&request)?;
        let history = record::history(&self.center, &request).await?;
        Ok(Response::new(history))
    }

    async fn retry_leg(
        &self,
        request: Request<api::RetryLegRequest>,
    ) -> Result<Response<api::RetryLegResponse>, Status> {
        let asked = request.get_ref();
        let head = Head::of("RetryLeg", &request, (&asked.request_id, &asked.name))?;
        let participant = parse::participant("participant", &asked.participant)?;
        let reason = parse::reason(asked.reason().as_str_name(), "RETRY_REASON_")?;
        let decided = head.decide(
            &self.center,
            What::Retry(participant),
            (reason, &asked.reference),
        );
        Ok(head.language.respond(api::RetryLegResponse {
            deletion: Some(decided.await?),
        }))
    }

    async fn resolve_conflict(
        &self,
        request: Request<api::ResolveConflictRequest>,
    ) -> Result<Response<api::ResolveConflictResponse>, Status> {
        let asked = request.get_ref();
        let head = Head::of(
            "ResolveConflict",
            &request,
            (&asked.request_id, &asked.name),
        )?;
        let reason = parse::reason(asked.reason().as_str_name(), "RESOLVE_REASON_")?;
        let decided = head.decide(&self.center, What::Resolve, (reason, &asked.reference));
        Ok(head.language.respond(api::ResolveConflictResponse {
            deletion: Some(decided.await?),
        }))
    }

    async fn hold_deletion(
        &self,
        request: Request<api::HoldDeletionRequest>,
    ) -> Result<Response<api::HoldDeletionResponse>, Status> {
        let asked = request.get_ref();
        let head = Head::of("HoldDeletion", &request, (&asked.request_id, &asked.name))?;
        let reason = parse::reason(asked.reason().as_str_name(), "HOLD_REASON_")?;
        let decided = head.decide(&self.center, What::Hold, (reason, &asked.reference));
        Ok(head.language.respond(api::HoldDeletionResponse {
            deletion: Some(decided.await?),
        }))
    }

    async fn release_deletion(
        &self,
        request: Request<api::ReleaseDeletionRequest>,
    ) -> Result<Response<api::ReleaseDeletionResponse>, Status> {
        let asked = request.get_ref();
        let head = Head::of(
            "ReleaseDeletion",
            &request,
            (&asked.request_id, &asked.name),
        )?;
        let reason = parse::reason(asked.reason().as_str_name(), "RELEASE_REASON_")?;
        let decided = head.decide(&self.center, What::Release, (reason, &asked.reference));
        Ok(head.language.respond(api::ReleaseDeletionResponse {
            deletion: Some(decided.await?),
        }))
    }

    async fn extend_deadline(
        &self,
        request: Request<api::ExtendDeadlineRequest>,
    ) -> Result<Response<api::ExtendDeadlineResponse>, Status> {
        let asked = request.get_ref();
        let head = Head::of("ExtendDeadline", &request, (&asked.request_id, &asked.name))?;
        let why = parse::why(asked.reason())?;
        let decided = head.decide(
            &self.center,
            What::Extend(why),
            (why.word(), &asked.reference),
        );
        Ok(head.language.respond(api::ExtendDeadlineResponse {
            deletion: Some(decided.await?),
        }))
    }

    async fn deny_deletion(
        &self,
        request: Request<api::DenyDeletionRequest>,
    ) -> Result<Response<api::DenyDeletionResponse>, Status> {
        let asked = request.get_ref();
        let head = Head::of("DenyDeletion", &request, (&asked.request_id, &asked.name))?;
        let why = parse::denial(asked.reason())?;
        let decided = head.decide(
            &self.center,
            What::Deny(why),
            (why.word(), &asked.reference),
        );
        Ok(head.language.respond(api::DenyDeletionResponse {
            deletion: Some(decided.await?),
        }))
    }

    async fn list_refused_events(
        &self,
        request: Request<api::ListRefusedEventsRequest>,
    ) -> Result<Response<api::ListRefusedEventsResponse>, Status> {
        let request = request.into_inner();
        parse::size(&request)?;
        let listed = refused::list(&self.center, request).await?;
        Ok(Response::new(listed))
    }

    async fn resend_event(
        &self,
        request: Request<api::ResendEventRequest>,
    ) -> Result<Response<api::ResendEventResponse>, Status> {
        let operator = intervene::operator(&request)?;
        let request = request.into_inner();
        parse::size(&request)?;
        let wish = Resend {
            request: parse::request_id(&request.request_id)?,
            digest: parse::digest("ResendEvent", &request),
            receiver: parse::receiver("receiver", &request.receiver)?.to_owned(),
            event: parse::event("event", &request.event)?,
            operator,
        };
        refused::resend(&self.center, wish).await?;
        Ok(Response::new(api::ResendEventResponse {}))
    }
}
