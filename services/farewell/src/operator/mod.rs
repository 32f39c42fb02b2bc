//! `farewell operator …`: what waits, and for whom.

mod events;
mod quarantine;
mod reason;

use clap::Subcommand;
use farewell_proto::account::v1::{AccountChange, AccountChangeLeg};
use farewell_proto::deletion::v1::{DenialReason, ExtensionReason};
use farewell_proto::operator::v1::{
    DenyDeletionRequest, ExtendDeadlineRequest, GetOverviewRequest, GetOverviewResponse,
    GetQuarantineRequest, HoldDeletionRequest, HoldReason, ListStalledRequest,
    ReleaseDeletionRequest, ReleaseReason, ResolveConflictRequest, ResolveReason, RetryLegRequest,
    RetryReason,
};
use serde_json::{Value, json};

use crate::account::change::kind;
use crate::client::Connection;
use crate::deletion::ask::show;
use crate::deletion::deletion_name;
use crate::deletion::request::{Id, extension};
use crate::deletion::view;
use crate::output::{Output, Rows};
use reason::Reference;

/// `farewell operator`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count everything that waits.
    Overview,
    /// List deletions that somebody owes something to for too long, newest first, and who owes what.
    Stalled {
        /// At most so many, 1 to 500
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=500))]
        limit: i32,
    },
    /// Show how many names and numbers are held back under each version of identity's pepper, and which numbers were given back, by whom.
    Quarantine {
        /// At most so many releases, newest first, 1 to 500
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=500))]
        limit: i32,
        /// Go on after an earlier page
        #[arg(long, default_value = "", hide_default_value = true)]
        page: String,
    },
    /// Have a leg asked again that its participant refused
    Retry {
        /// The deletion
        name: String,
        /// Who refused
        participant: String,
        /// Why: cause-cleared, refused-in-error, participant-repaired
        #[arg(long, value_parser = reason::retry)]
        reason: RetryReason,
        #[command(flatten)]
        file: Reference,
        #[command(flatten)]
        id: Id,
    },
    /// Say that contradicting evidence was looked into, and that what is stored stands
    Resolve {
        /// The deletion
        name: String,
        /// Why: kept-confirmed, repeated-after-restore, participant-repaired
        #[arg(long, value_parser = reason::resolve)]
        reason: ResolveReason,
        #[command(flatten)]
        file: Reference,
        #[command(flatten)]
        id: Id,
    },
    /// Set a legal hold: nothing more is erased until it is released, nor ends after the purge that law keeps
    Hold {
        /// The deletion
        name: String,
        /// Why: court-order, authority-order, legal-claim, investigation
        #[arg(long, value_parser = reason::hold)]
        reason: HoldReason,
        #[command(flatten)]
        file: Reference,
        #[command(flatten)]
        id: Id,
    },
    /// Extend the deadline, once, where the deletion's policy allows it; the person is told why
    Extend {
        /// The deletion
        name: String,
        /// Why: complexity, number-of-requests
        #[arg(long, value_parser = extension)]
        reason: ExtensionReason,
        #[command(flatten)]
        file: Reference,
        #[command(flatten)]
        id: Id,
    },
    /// Deny a request before erasing begins; the person is told why, and may ask again
    Deny {
        /// The deletion
        name: String,
        /// Why: not-the-owner, unfounded, legal-obligation
        #[arg(long, value_parser = reason::denial)]
        reason: DenialReason,
        #[command(flatten)]
        file: Reference,
        #[command(flatten)]
        id: Id,
    },
    /// Look after events that a receiver refused for good
    Events {
        #[command(subcommand)]
        command: events::Command,
    },
    /// Lift a legal hold
    Release {
        /// The deletion
        name: String,
        /// Why: order-ended, claim-ended, investigation-ended, placed-in-error
        #[arg(long, value_parser = reason::release)]
        reason: ReleaseReason,
        #[command(flatten)]
        file: Reference,
        #[command(flatten)]
        id: Id,
    },
}

/// Carries out one command.
///
/// Errors: what the coordinator says.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let connection = &args.connection;
    let mut client = connection.operators().await?;
    match args.command {
        Command::Overview => {
            let request = connection.request(GetOverviewRequest {});
            let seen = client.get_overview(request).await?.into_inner();
            output.write(&overview_json(&seen), &overview(&seen))
        }
        Command::Quarantine { limit, page } => {
            let request = connection.request(GetQuarantineRequest {
                page_size: limit,
                page_token: page,
            });
            let seen = client.get_quarantine(request).await?.into_inner();
            output.write(&quarantine::json(&seen), &quarantine::tables(&seen))
        }
        Command::Stalled { limit } => {
            let request = connection.request(ListStalledRequest {
                page_size: limit,
                page_token: String::new(),
            });
            let stalled = client.list_stalled(request).await?.into_inner().deletions;
            let all: Vec<Value> = stalled.iter().map(view::json).collect();
            let mut owed = Rows::new(
                "owed",
                &["deletion", "participant", "verb", "how it stands"],
            );
            for (deletion, leg) in stalled
                .iter()
                .flat_map(|deletion| deletion.legs.iter().map(move |leg| (deletion, leg)))
                .filter(|(_, leg)| view::is_owed(leg.state()))
            {
                owed.push([
                    deletion.name.clone(),
                    leg.participant.clone(),
                    leg.verb.clone(),
                    view::answer(leg),
                ]);
            }
            output.write(
                &json!({"deletions": all}),
                &[view::heads("stalled", stalled.iter()), owed],
            )
        }
        Command::Retry {
            name,
            participant,
            reason,
            file,
            id,
        } => {
            let request = connection.request(RetryLegRequest {
                request_id: id.or_new(),
                name: deletion_name(&name),
                participant,
                reason: reason.into(),
                reference: file.reference,
            });
            show(
                client.retry_leg(request).await?.into_inner().deletion,
                output,
            )
        }
        Command::Resolve {
            name,
            reason,
            file,
            id,
        } => {
            let request = connection.request(ResolveConflictRequest {
                request_id: id.or_new(),
                name: deletion_name(&name),
                reason: reason.into(),
                reference: file.reference,
            });
            let answer = client.resolve_conflict(request).await?;
            show(answer.into_inner().deletion, output)
        }
        Command::Events { command } => events::run(command, connection, client, output).await,
        Command::Hold {
            name,
            reason,
            file,
            id,
        } => {
            let request = connection.request(HoldDeletionRequest {
                request_id: id.or_new(),
                name: deletion_name(&name),
                reason: reason.into(),
                reference: file.reference,
            });
            let answer = client.hold_deletion(request).await?;
            show(answer.into_inner().deletion, output)
        }
        Command::Extend {
            name,
            reason,
            file,
            id,
        } => {
            let request = connection.request(ExtendDeadlineRequest {
                request_id: id.or_new(),
                name: deletion_name(&name),
                reason: reason.into(),
                reference: file.reference,
            });
            let answer = client.extend_deadline(request).await?;
            show(answer.into_inner().deletion, output)
        }
        Command::Deny {
            name,
            reason,
            file,
            id,
        } => {
            let request = connection.request(DenyDeletionRequest {
                request_id: id.or_new(),
                name: deletion_name(&name),
                reason: reason.into(),
                reference: file.reference,
            });
            let answer = client.deny_deletion(request).await?;
            show(answer.into_inner().deletion, output)
        }
        Command::Release {
            name,
            reason,
            file,
            id,
        } => {
            let request = connection.request(ReleaseDeletionRequest {
                request_id: id.or_new(),
                name: deletion_name(&name),
                reason: reason.into(),
                reference: file.reference,
            });
            let answer = client.release_deletion(request).await?;
            show(answer.into_inner().deletion, output)
        }
    }
}

fn overview(seen: &GetOverviewResponse) -> Vec<Rows> {
    let mut states = Rows::new("deletions", &["state", "count"]);
    for state in &seen.states {
        let name = view::state_name(state.state());
        states.push([name.to_owned(), state.count.to_string()]);
    }
    let mut participants = Rows::new(
        "participants",
        &[
            "participant",
            "sessions",
            "outstanding",
            "waiting",
            "deferred",
            "refused",
        ],
    );
    for participant in &seen.participants {
        participants.push([
            participant.participant.clone(),
            participant.sessions.to_string(),
            participant.outstanding.to_string(),
            participant.waiting.to_string(),
            participant.deferred.to_string(),
            participant.refused.to_string(),
        ]);
    }
    let mut coordinators = Rows::new("coordinators", &["coordinator", "slots", "lease ends"]);
    for coordinator in &seen.coordinators {
        coordinators.push([
            coordinator.coordinator.clone(),
            coordinator.slots.to_string(),
            view::time(coordinator.lease_end_time.as_ref()),
        ]);
    }
    let mut refused = Rows::new("refused reports", &["participant", "reason", "count"]);
    for refusal in &seen.refused_reports {
        refused.push([
            refusal.participant.clone(),
            refusal.reason.clone(),
            refusal.count.to_string(),
        ]);
    }
    let mut receivers = Rows::new(
        "receivers of events",
        &["receiver", "waiting", "since", "refused"],
    );
    for receiver in &seen.receivers {
        receivers.push([
            receiver.receiver.clone(),
            receiver.waiting.to_string(),
            view::time(receiver.oldest_time.as_ref()),
            receiver.refused.to_string(),
        ]);
    }
    let mut cells = Rows::new(
        "other regions",
        &["region", "address", "requests", "answers"],
    );
    for cell in &seen.cells {
        let (requests, answers) = match (cell.forward, cell.answers) {
            (false, _) => ("told the address", ""),
            (true, Some(true)) => ("passed on", "yes"),
            (true, _) => ("passed on", "no"),
        };
        let row = [cell.region.as_str(), &cell.address, requests, answers];
        cells.push(row.map(str::to_owned));
    }
    let mut changes = Rows::new(
        "changes of accounts that hang",
        &["change", "kind", "since", "owed by"],
    );
    for change in &seen.account_changes {
        let owing: Vec<_> = owing(change).map(|leg| leg.participant.as_str()).collect();
        changes.push([
            change.name.clone(),
            kind(change).to_owned(),
            view::time(change.state_time.as_ref()),
            owing.join(", "),
        ]);
    }
    let mut rest = Rows::new("rest", &["", ""]);
    if !seen.region.is_empty() {
        rest.push(["region".to_owned(), seen.region.clone()]);
    }
    rest.push([
        "oldest unfinished".to_owned(),
        view::time(seen.oldest_unfinished_time.as_ref()),
    ]);
    rest.push([
        "changes to announce".to_owned(),
        seen.outbox_backlog.to_string(),
    ]);
    rest.push(["overdue".to_owned(), seen.overdue.to_string()]);
    rest.push(["overdue soon".to_owned(), seen.overdue_soon.to_string()]);
    let kept = seen.obligations.unwrap_or_default();
    rest.push(["kept under law".to_owned(), kept.open.to_string()]);
    rest.push(["of that, end overdue".to_owned(), kept.late.to_string()]);
    rest.push(["of that, held".to_owned(), kept.held.to_string()]);
    let mut letters = Rows::new(
        "letters",
        &["waiting", "failing", "given up", "last failure"],
    );
    if let Some(seen) = &seen.letters {
        letters.push([
            seen.waiting.to_string(),
            seen.failing.to_string(),
            seen.given_up.to_string(),
            view::time(seen.last_failure_time.as_ref()),
        ]);
    }
    let mut desk = Rows::new("support desk", &["open cases", "stuck"]);
    if let Some(seen) = &seen.desk {
        desk.push([seen.open.to_string(), seen.stuck.to_string()]);
    }
    vec![
        states,
        participants,
        coordinators,
        refused,
        receivers,
        changes,
        letters,
        cells,
        desk,
        rest,
    ]
}

/// Who has not got it.
fn owing(change: &AccountChange) -> impl Iterator<Item = &AccountChangeLeg> {
    change
        .legs
        .iter()
        .filter(|leg| leg.done_time.is_none() && !leg.gone)
}

fn changes_json(seen: &GetOverviewResponse) -> Vec<Value> {
    let owed = |leg: &AccountChangeLeg| json!({"participant": leg.participant, "waits_for": leg.waits_for});
    let changes = seen.account_changes.iter().map(|change| {
        json!({
            "change": change.name,
            "kind": kind(change),
            "since": view::time(change.state_time.as_ref()),
            "owed_by": owing(change).map(owed).collect::<Vec<_>>(),
        })
    });
    changes.collect()
}

fn overview_json(seen: &GetOverviewResponse) -> Value {
    let states: Vec<Value> = seen
        .states
        .iter()
        .map(|state| json!({"state": view::state_name(state.state()), "count": state.count}))
        .collect();
    let participants: Vec<Value> = seen
        .participants
        .iter()
        .map(|seen| {
            json!({
                "participant": seen.participant,
                "sessions": seen.sessions,
                "outstanding": seen.outstanding,
                "waiting": seen.waiting,
                "deferred": seen.deferred,
                "refused": seen.refused,
            })
        })
        .collect();
    let coordinators: Vec<Value> = seen
        .coordinators
        .iter()
        .map(|seen| {
            json!({
                "coordinator": seen.coordinator,
                "slots": seen.slots,
                "lease_end_time": view::time(seen.lease_end_time.as_ref()),
            })
        })
        .collect();
    let refused: Vec<Value> = seen
        .refused_reports
        .iter()
        .map(|seen| {
            json!({"participant": seen.participant, "reason": seen.reason, "count": seen.count})
        })
        .collect();
    let receivers: Vec<Value> = seen
        .receivers
        .iter()
        .map(|receiver| {
            json!({
                "receiver": receiver.receiver,
                "waiting": receiver.waiting,
                "oldest_time": view::time(receiver.oldest_time.as_ref()),
                "refused": receiver.refused,
            })
        })
        .collect();
    let cells = seen.cells.iter().map(|cell| {
        json!({
            "region": cell.region,
            "address": cell.address,
            "forward": cell.forward,
            "answers": cell.answers,
        })
    });
    json!({
        "region": seen.region,
        "cells": cells.collect::<Vec<_>>(),
        "states": states,
        "participants": participants,
        "coordinators": coordinators,
        "refused_reports": refused,
        "oldest_unfinished_time": view::time(seen.oldest_unfinished_time.as_ref()),
        "outbox_backlog": seen.outbox_backlog,
        "overdue": seen.overdue,
        "overdue_soon": seen.overdue_soon,
        "obligations": seen.obligations.map(|kept| json!({
            "open": kept.open,
            "late": kept.late,
            "held": kept.held,
        })),
        "letters": seen.letters.as_ref().map(|seen| json!({
            "waiting": seen.waiting,
            "failing": seen.failing,
            "given_up": seen.given_up,
            "last_failure_time": view::time(seen.last_failure_time.as_ref()),
        })),
        "desk": seen.desk.as_ref().map(|seen| json!({"open": seen.open, "stuck": seen.stuck})),
        "receivers": receivers,
        "account_changes": changes_json(seen),
    })
}
