//! `farewell deletion …`: the callers' API by hand.

pub mod ask;
pub mod check;
mod history;
mod kept;
mod read;
mod replay;
pub mod request;
pub mod view;

use std::path::PathBuf;

use clap::Subcommand;
use farewell_proto::deletion::v1::{Channel, ExtensionReason, Factor, State};

use crate::client::Connection;
use crate::output::Output;

pub use self::request::{account_name, deletion_name, prefixed};

/// `farewell deletion`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say everything that stands in the way of deleting an account. Changes nothing.
    Eligibility {
        /// The account's id
        account: String,
    },
    /// Show what each participant holds of an account. Changes nothing.
    Inventory {
        /// The account's id
        account: String,
    },
    /// Ask for the deletion of an account.
    Create {
        /// The account's id
        account: String,
        /// Where the request comes from: phone, web, support, service-centre, legacy
        #[arg(long, value_parser = request::channel)]
        channel: Channel,
        /// A text that the person ticked, with its version, for instance data-loss-warning=3
        #[arg(long = "consent", value_name = "TEXT=VERSION", value_parser = request::consent)]
        consents: Vec<(String, u32)>,
        #[command(flatten)]
        id: request::Id,
    },
    /// Have the identity service send a verification code, or a product line make a challenge for a device in hand.
    SendCode {
        /// The deletion
        name: String,
        /// sms-code, email-code, email-link or device-in-hand
        #[arg(long, value_parser = request::factor)]
        factor: Factor,
        /// For device-in-hand: lines/LINE/devices/DEVICE
        #[arg(long)]
        device: Option<String>,
        #[command(flatten)]
        id: request::Id,
    },
    /// Verify one factor. The code, the password, the case's name or what the device signed is read from standard input, so that no process list shows it.
    Verify {
        /// The deletion
        name: String,
        /// sms-code, email-code, email-link, password, documents or device-in-hand
        #[arg(long, value_parser = request::factor)]
        factor: Factor,
        /// For device-in-hand: lines/LINE/devices/DEVICE
        #[arg(long)]
        device: Option<String>,
        #[command(flatten)]
        id: request::Id,
    },
    /// Confirm a deletion by the link of a letter. The token, what follows `confirm=` in the link, is read from standard input.
    ConfirmLink {
        #[command(flatten)]
        id: request::Id,
    },
    /// Take a deletion back. Possible until erasing begins.
    Revoke {
        /// The deletion
        name: String,
        /// The token of a link in a letter, what follows `token=` in it, instead of a log-in; `-` reads it from standard input, so that no process list shows it
        #[arg(long, value_name = "TOKEN")]
        link: Option<String>,
        /// The support desk's case, for a person who can't: cases/CASE
        #[arg(long, conflicts_with = "link")]
        case: Option<String>,
        #[command(flatten)]
        id: request::Id,
    },
    /// Deny a deletion whose case the support desk has rejected; the person is told why, and may ask again.
    Deny {
        /// The deletion
        name: String,
        /// The case that asked for it: cases/CASE
        #[arg(long)]
        case: String,
        #[command(flatten)]
        id: request::Id,
    },
    /// Extend the deadline on a case of the support desk; the person is told why.
    Extend {
        /// The deletion
        name: String,
        /// Why: complexity, number-of-requests
        #[arg(long, value_parser = request::extension)]
        reason: ExtensionReason,
        /// The case that approves it: cases/CASE
        #[arg(long)]
        case: String,
        #[command(flatten)]
        id: request::Id,
    },
    /// Let a deletion go on in spite of what is in its way, on a case of the support desk that approves it.
    Override {
        /// The deletion
        name: String,
        /// A blocker's code, for instance OPEN_DISPUTE
        #[arg(long = "code", value_name = "CODE", required = true)]
        codes: Vec<String>,
        /// The case that approves it: cases/CASE
        #[arg(long)]
        case: String,
        #[command(flatten)]
        id: request::Id,
    },
    /// Show one deletion: what each participant owes and has answered.
    Get {
        /// The deletion
        name: String,
    },
    /// List deletions, newest first.
    List {
        /// Only this account
        #[arg(long)]
        account: Option<String>,
        /// Only these states, for instance ERASING
        #[arg(long = "state", value_parser = request::state)]
        states: Vec<State>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show who decided what of a deletion, when and why, oldest first; also after the purge. Asks the operators' port.
    History {
        /// The deletion
        name: String,
    },
    /// Follow a deletion until nothing is owed any more; `-` follows every deletion.
    Watch {
        /// The deletion
        name: String,
    },
    /// Have what was purged erased again at a service that was restored from a backup, and what stays brought to where it was.
    Replay {
        /// Who was restored, for instance store
        participant: String,
        /// When the backup was made, for instance 2026-03-01T04:00:00Z
        #[arg(long, value_parser = replay::moment)]
        since: prost_types::Timestamp,
    },
    /// Write the certificate of a purged deletion, byte for byte. What became of devices later is said on standard error.
    Certificate {
        /// The deletion
        name: String,
        /// A file instead of standard output
        #[arg(long)]
        file: Option<PathBuf>,
        /// A file for the addenda, one as JSON on each line, instead of standard error
        #[arg(long)]
        addenda: Option<PathBuf>,
    },
}

/// Carries out one command.
///
/// Errors: what the coordinator says.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let connection = &args.connection;
    match args.command {
        Command::Eligibility { account } => check::eligibility(connection, &account, output).await,
        Command::Inventory { account } => check::inventory(connection, &account, output).await,
        Command::Create {
            account,
            channel,
            consents,
            id,
        } => ask::create(connection, &account, channel, consents, &id, output).await,
        Command::SendCode {
            name,
            factor,
            device,
            id,
        } => ask::send_code(connection, &name, (factor, device), &id, output).await,
        Command::Verify {
            name,
            factor,
            device,
            id,
        } => ask::verify(connection, &name, (factor, device), &id, output).await,
        Command::ConfirmLink { id } => ask::confirm_link(connection, &id, output).await,
        Command::Revoke {
            name,
            link,
            case,
            id,
        } => ask::revoke(connection, &name, (link, case), &id, output).await,
        Command::Deny { name, case, id } => ask::deny(connection, &name, &case, &id, output).await,
        Command::Extend {
            name,
            reason,
            case,
            id,
        } => ask::extend(connection, &name, (reason, &case), &id, output).await,
        Command::Override {
            name,
            codes,
            case,
            id,
        } => ask::override_blockers(connection, &name, (codes, &case), &id, output).await,
        Command::Get { name } => read::get(connection, &name, output).await,
        Command::List {
            account,
            states,
            limit,
        } => read::list(connection, account.as_deref(), &states, limit, output).await,
        Command::History { name } => history::show(connection, &name, output).await,
        Command::Watch { name } => read::watch(connection, &name, output).await,
        Command::Replay { participant, since } => {
            replay::run(connection, &participant, since, output).await
        }
        Command::Certificate {
            name,
            file,
            addenda,
        } => read::certificate(connection, &name, file.as_deref(), addenda.as_deref()).await,
    }
}
