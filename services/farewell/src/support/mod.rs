//! `farewell support case …`: what the support desk does.

mod evidence;
mod view;

use std::path::PathBuf;

use clap::Subcommand;
use farewell_proto::support::v1::{
    ApproveCaseRequest, Belonging, CaseKind, CaseState, EvidenceKind, GetCaseRequest,
    LegacyOutcome, ListCasesRequest, OpenCaseRequest, RejectCaseRequest, RejectionReason,
    WithdrawCaseRequest,
};

use crate::client::Connection;
use crate::deletion::account_name;
use crate::deletion::request::{Id, prefixed, word};
use crate::output::Output;

/// `farewell support`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cases: what somebody asks the desk for.
    #[command(subcommand)]
    Case(Case),
}

#[derive(Debug, Subcommand)]
enum Case {
    /// Open a case.
    Open {
        /// The account's id
        account: String,
        /// deletion-on-documents, lost-access, legacy, override, transfer, real-name, unmemorialize, unbind, export, revoke or extension
        #[arg(long, value_parser = kind)]
        kind: CaseKind,
        /// For override: a blocker's code, for instance OPEN_DISPUTE. For extension: COMPLEXITY or NUMBER_OF_REQUESTS
        #[arg(long = "code", value_name = "CODE")]
        codes: Vec<String>,
        /// For transfer: the account that gets it
        #[arg(long, value_name = "ACCOUNT")]
        to: Option<String>,
        /// For transfer: points, coupons, orders, store-credit or memberships
        #[arg(long = "move", value_name = "WHAT", value_parser = belonging)]
        belongings: Vec<Belonging>,
        /// For legacy: relatives ask in so many words for the deletion; otherwise the account is kept in memory
        #[arg(long)]
        delete: bool,
        /// For unbind: the device, lines/LINE/devices/DEVICE
        #[arg(long)]
        device: Option<String>,
        #[command(flatten)]
        id: Id,
    },
    /// Add a document to a case: a PDF, JPEG or PNG of at most 10 MiB.
    Add {
        /// The case
        name: String,
        /// identity-document, purchase-proof, death-certificate, relationship-proof or other
        #[arg(long, value_parser = document)]
        kind: EvidenceKind,
        /// The document
        file: PathBuf,
        #[command(flatten)]
        id: Id,
    },
    /// Look at a document. That you did stands in the case's log.
    Look {
        /// The document: cases/CASE/evidence/EVIDENCE
        name: String,
        /// Where it goes
        #[arg(long)]
        file: PathBuf,
    },
    /// Approve a case: two people do, and neither is who opened it.
    Approve {
        /// The case
        name: String,
        #[command(flatten)]
        id: Id,
    },
    /// Refuse what a case asks for.
    Reject {
        /// The case
        name: String,
        /// unreadable, forged, not-the-owner or not-granted
        #[arg(long, value_parser = rejection)]
        reason: RejectionReason,
        #[command(flatten)]
        id: Id,
    },
    /// Withdraw a case: the person no longer asks for it.
    Withdraw {
        /// The case
        name: String,
        #[command(flatten)]
        id: Id,
    },
    /// Show a case with its documents and its log.
    Get {
        /// The case
        name: String,
    },
    /// List cases, newest first.
    List {
        /// Only this account's
        #[arg(long)]
        account: Option<String>,
        /// Only in this state, for instance APPROVED_ONCE
        #[arg(long = "state", value_parser = state)]
        states: Vec<CaseState>,
        /// At most so many, 1 to 500
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=500))]
        limit: i32,
    },
}

/// Carries out one command.
///
/// Errors: what the desk says.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let connection = &args.connection;
    let mut desk = connection.desk().await?;
    let Command::Case(command) = args.command;
    let case = match command {
        Case::Open {
            account,
            kind,
            codes,
            to,
            belongings,
            delete,
            device,
            id,
        } => {
            let legacy = match delete {
                true => LegacyOutcome::Delete,
                false => LegacyOutcome::Unspecified,
            };
            let request = OpenCaseRequest {
                request_id: id.or_new(),
                account: account_name(&account),
                kind: kind.into(),
                codes,
                to_account: to.as_deref().map(account_name).unwrap_or_default(),
                belongings: belongings.into_iter().map(Into::into).collect(),
                legacy_outcome: legacy.into(),
                device: device.unwrap_or_default(),
            };
            let answer = desk.open_case(connection.request(request)).await?;
            answer.into_inner().case
        }
        Case::Add {
            name,
            kind,
            file,
            id,
        } => {
            return evidence::add(
                (connection, &mut desk),
                (&case(&name), kind, &file),
                &id,
                output,
            )
            .await;
        }
        Case::Look { name, file } => {
            return evidence::look((connection, &mut desk), &name, &file, output).await;
        }
        Case::Approve { name, id } => {
            let request = ApproveCaseRequest {
                request_id: id.or_new(),
                name: case(&name),
            };
            let answer = desk.approve_case(connection.request(request)).await?;
            answer.into_inner().case
        }
        Case::Reject { name, reason, id } => {
            let request = RejectCaseRequest {
                request_id: id.or_new(),
                name: case(&name),
                reason: reason.into(),
            };
            let answer = desk.reject_case(connection.request(request)).await?;
            answer.into_inner().case
        }
        Case::Withdraw { name, id } => {
            let request = WithdrawCaseRequest {
                request_id: id.or_new(),
                name: case(&name),
            };
            let answer = desk.withdraw_case(connection.request(request)).await?;
            answer.into_inner().case
        }
        Case::Get { name } => {
            let request = GetCaseRequest { name: case(&name) };
            let answer = desk.get_case(connection.request(request)).await?;
            answer.into_inner().case
        }
        Case::List {
            account,
            states,
            limit,
        } => {
            let request = ListCasesRequest {
                account: account.as_deref().map(account_name).unwrap_or_default(),
                states: states.into_iter().map(Into::into).collect(),
                page_size: limit,
                page_token: String::new(),
            };
            let answer = desk.list_cases(connection.request(request)).await?;
            return view::list(&answer.into_inner().cases, output);
        }
    };
    view::show(case, output)
}

/// `cases/{case}` of a name or an id.
fn case(text: &str) -> String {
    prefixed("cases/", text)
}

fn kind(text: &str) -> Result<CaseKind, String> {
    let choices = "deletion-on-documents, lost-access, legacy, override, transfer, real-name, unmemorialize, unbind, export, revoke, extension";
    word("CASE_KIND_", text, CaseKind::from_str_name, choices)
}

/// `store-credit` of `BELONGING_STORE_CREDIT`.
pub fn belonging(text: &str) -> Result<Belonging, String> {
    let choices = "points, coupons, orders, store-credit, memberships";
    word("BELONGING_", text, Belonging::from_str_name, choices)
}

fn document(text: &str) -> Result<EvidenceKind, String> {
    let choices = "identity-document, purchase-proof, death-certificate, relationship-proof, other";
    word("EVIDENCE_KIND_", text, EvidenceKind::from_str_name, choices)
}

fn rejection(text: &str) -> Result<RejectionReason, String> {
    let choices = "unreadable, forged, not-the-owner, not-granted";
    word(
        "REJECTION_REASON_",
        text,
        RejectionReason::from_str_name,
        choices,
    )
}

fn state(text: &str) -> Result<CaseState, String> {
    let choices = "OPENED, APPROVED_ONCE, APPROVED, REJECTED, WITHDRAWN, EXPIRED";
    word("CASE_STATE_", text, CaseState::from_str_name, choices)
}
