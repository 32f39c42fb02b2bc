//! `farewell account …`: what is asked of an account besides deleting it.

pub mod change;
mod download;
mod export;
mod transfer;
pub mod why;

use std::path::PathBuf;

use clap::Subcommand;

use crate::client::Connection;
use crate::deletion::request::Id;
use crate::output::Output;

/// `farewell account`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Change(change::Command),
    /// Move what the account has in the store to another one, on a case of the support desk.
    Transfer(transfer::Args),
    /// Fetch an archive of everything that is held of the account, for its owner.
    Export {
        /// The account's id
        account: String,
        /// Where the archive goes; a download that broke off goes on in a file beside it
        #[arg(long, value_name = "FILE", default_value = "export.zip")]
        out: PathBuf,
        /// The case of the support desk that approves it, where the account is frozen or kept in memory: cases/CASE
        #[arg(long)]
        case: Option<String>,
        #[command(flatten)]
        id: Id,
    },
    /// Say how far an export is.
    GetExport {
        /// The export: exports/ID
        name: String,
        /// The account's id
        #[arg(long)]
        account: String,
    },
    /// End an export, finished or not, and erase its archive.
    CancelExport {
        /// The export: exports/ID
        name: String,
        /// The account's id
        #[arg(long)]
        account: String,
    },
}

/// Carries out one command.
///
/// Errors: what the coordinator says; a file that can't be written.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let connection = &args.connection;
    match args.command {
        Command::Change(command) => change::run(command, connection, output).await,
        Command::Transfer(args) => transfer::run(&args, connection, output).await,
        Command::Export {
            account,
            out,
            case,
            id,
        } => export::export(connection, (&account, case.as_deref()), &out, &id, output).await,
        Command::GetExport { name, account } => {
            export::get(connection, &name, &account, output).await
        }
        Command::CancelExport { name, account } => {
            export::cancel(connection, &name, &account, output).await
        }
    }
}
