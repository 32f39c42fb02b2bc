//! `farewell identifier …`: whether a name, number or address may be given to a new account.

use std::io::Read as _;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use farewell_proto::identifier::v1::{
    CheckIdentifierRequest, IdentifierKind, IdentifierStanding, ReleaseIdentifierRequest,
};
use prost_types::Timestamp;
use serde_json::json;

use crate::client::Connection;
use crate::deletion::request::Id;
use crate::deletion::view;
use crate::output::{Output, Rows};

/// `farewell identifier`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether it is free, in use, or held back and until when. It is read from standard input.
    Check {
        #[arg(value_enum)]
        kind: Kind,
    },
    /// Hold a number back no longer whose present holder has just given back a code that went there. It is read from standard input.
    ReleasePhone {
        #[command(flatten)]
        id: Id,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    UserName,
    Phone,
    Email,
}

/// Carries out one command.
///
/// Errors: what the coordinator says.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let connection = &args.connection;
    let mut client = connection.identifiers().await?;
    // Not an argument: those stand in the list of processes and in the shell's history.
    let mut value = String::new();
    std::io::stdin()
        .read_to_string(&mut value)
        .context("reading the identifier")?;
    let value = value.trim_end_matches(['\r', '\n']).to_owned();
    let (standing, until) = match args.command {
        Command::Check { kind } => {
            let kind = match kind {
                Kind::UserName => IdentifierKind::UserName,
                Kind::Phone => IdentifierKind::Phone,
                Kind::Email => IdentifierKind::Email,
            };
            let request = connection.request(CheckIdentifierRequest {
                kind: kind.into(),
                value,
            });
            let found = client.check_identifier(request).await?.into_inner();
            (found.standing(), found.until_time)
        }
        Command::ReleasePhone { id } => {
            let request = connection.request(ReleaseIdentifierRequest {
                kind: IdentifierKind::Phone.into(),
                value,
                verify_time: Some(Timestamp::from(SystemTime::now())),
                request_id: id.or_new(),
            });
            let found = client.release_identifier(request).await?.into_inner();
            (found.standing(), None)
        }
    };
    let word = match standing {
        IdentifierStanding::Free => "FREE",
        IdentifierStanding::InUse => "IN_USE",
        IdentifierStanding::Quarantined => "QUARANTINED",
        IdentifierStanding::Unspecified => "UNKNOWN",
    };
    let until = view::time(until.as_ref());
    let mut rows = Rows::new("", &["standing", "until"]);
    rows.push([word.to_owned(), until.clone()]);
    output.write(&json!({"standing": word, "until_time": until}), &[rows])
}
