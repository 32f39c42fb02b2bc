//! `farewell account transfer`: what an account has in the store moves to another one, before it is deleted.

use anyhow::Context as _;
use farewell_proto::account::v1::{Transfer, TransferBelongingsRequest};
use farewell_proto::support::v1::Belonging;
use serde_json::{Value, json};

use crate::client::Connection;
use crate::deletion::request::Id;
use crate::deletion::{account_name, prefixed, view};
use crate::output::{Output, Rows};
use crate::support::belonging;

/// `farewell account transfer`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The id of the account that has it
    account: String,
    /// The account that gets it
    #[arg(long, value_name = "ACCOUNT")]
    to: String,
    /// What moves: points, coupons, orders, store-credit, memberships
    #[arg(long = "move", value_name = "WHAT", value_parser = belonging, required = true)]
    belongings: Vec<Belonging>,
    /// The case that approves it: cases/CASE
    #[arg(
        long,
        required_unless_present = "validate_only",
        conflicts_with = "validate_only"
    )]
    case: Option<String>,
    /// Only say what would move, or why nothing can
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    id: Id,
}

/// Moves it, or says what would move.
///
/// Errors: what the coordinator says.
pub async fn run(args: &Args, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let case = args.case.as_deref();
    let request = TransferBelongingsRequest {
        request_id: args.id.or_new(),
        account: account_name(&args.account),
        to_account: account_name(&args.to),
        belongings: args.belongings.iter().map(|it| (*it).into()).collect(),
        case: case
            .map(|case| prefixed("cases/", case))
            .unwrap_or_default(),
        validate_only: args.validate_only,
    };
    let mut client = connection.accounts().await?;
    let answer = client
        .transfer_belongings(connection.request(request))
        .await?;
    let transfer = answer.into_inner().transfer;
    show(&transfer.context("an answer without a transfer")?, output)
}

fn show(transfer: &Transfer, output: Output) -> anyhow::Result<()> {
    let at = view::time(transfer.transfer_time.as_ref());
    let mut rows = Rows::new("", &["", "moved", "left"]);
    let mut belongings = Vec::new();
    for it in &transfer.belongings {
        let name = it.belonging().as_str_name();
        let name = name.strip_prefix("BELONGING_").unwrap_or(name);
        rows.push([name.to_owned(), it.moved.to_string(), it.left.to_string()]);
        belongings.push(json!({ "belonging": name, "moved": it.moved, "left": it.left }));
    }
    let value: Value = json!({
        "account": transfer.account,
        "to_account": transfer.to_account,
        "case": transfer.case,
        "belongings": belongings,
        "transfer_time": at,
    });
    output.write(&value, &[rows])
}
