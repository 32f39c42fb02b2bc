//! `farewell operator events …`: what receivers refused for good.

use clap::Subcommand;
use farewell_proto::operator::v1::operator_service_client::OperatorServiceClient;
use farewell_proto::operator::v1::{ListRefusedEventsRequest, RefusedEvent, ResendEventRequest};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::client::Connection;
use crate::deletion::request::Id;
use crate::deletion::view;
use crate::output::{Output, Rows};

/// Events in one answer.
const PAGE_EVENTS: i32 = 500;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what a receiver refused, in the order in which it happened
    Refused {
        /// Its name in the settings
        receiver: String,
        /// At most so many, 1 to 500
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=500))]
        limit: i32,
    },
    /// Have a receiver told again of what it refused, once the cause is cleared
    Resend {
        /// Its name in the settings
        receiver: String,
        /// The event, as `operator events refused` names it
        #[arg(required_unless_present = "all")]
        event: Option<String>,
        /// Everything that it refuses now
        #[arg(long, conflicts_with_all = ["event", "request_id"])]
        all: bool,
        #[command(flatten)]
        id: Id,
    },
}

/// Carries out one command.
///
/// Errors: what the coordinator says.
pub async fn run(
    command: Command,
    connection: &Connection,
    mut client: OperatorServiceClient<Channel>,
    output: Output,
) -> anyhow::Result<()> {
    match command {
        Command::Refused { receiver, limit } => {
            let (events, _) = page(connection, &mut client, &receiver, limit, "").await?;
            let all: Vec<Value> = events.iter().map(shown_json).collect();
            output.write(&json!({"events": all}), &[shown(&events)])
        }
        Command::Resend {
            receiver,
            event,
            all,
            id,
        } => {
            let mut told = Vec::new();
            if let Some(event) = event.filter(|_| !all) {
                told.push((event, id.or_new()));
            } else {
                let mut next = String::new();
                loop {
                    let listed = page(connection, &mut client, &receiver, PAGE_EVENTS, &next);
                    let (events, rest) = listed.await?;
                    let new = || uuid::Uuid::new_v4().to_string();
                    told.extend(events.into_iter().map(|it| (it.event, new())));
                    next = rest;
                    if next.is_empty() {
                        break;
                    }
                }
            }
            let mut rows = Rows::new("told again", &["event"]);
            let mut names = Vec::new();
            for (event, request_id) in told {
                let request = connection.request(ResendEventRequest {
                    request_id,
                    receiver: receiver.clone(),
                    event: event.clone(),
                });
                client.resend_event(request).await?;
                rows.push([event.clone()]);
                names.push(event);
            }
            output.write(&json!({"events": names}), &[rows])
        }
    }
}

async fn page(
    connection: &Connection,
    client: &mut OperatorServiceClient<Channel>,
    receiver: &str,
    page_size: i32,
    page_token: &str,
) -> anyhow::Result<(Vec<RefusedEvent>, String)> {
    let request = connection.request(ListRefusedEventsRequest {
        receiver: receiver.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    });
    let listed = client.list_refused_events(request).await?.into_inner();
    Ok((listed.events, listed.next_page_token))
}

fn shown(events: &[RefusedEvent]) -> Rows {
    let mut rows = Rows::new("refused", &["event", "happened", "refused", "reason"]);
    for event in events {
        rows.push([
            event.event.clone(),
            view::time(event.occur_time.as_ref()),
            view::time(event.refuse_time.as_ref()),
            event.reason.clone(),
        ]);
    }
    rows
}

fn shown_json(event: &RefusedEvent) -> Value {
    json!({
        "event": event.event,
        "deletion": event.deletion,
        "kind": event.kind,
        "occur_time": view::time(event.occur_time.as_ref()),
        "refuse_time": view::time(event.refuse_time.as_ref()),
        "reason": event.reason,
    })
}
