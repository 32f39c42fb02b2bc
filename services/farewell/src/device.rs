//! `farewell device …`: one device is unbound and the account stays.

use anyhow::Context as _;
use clap::Subcommand;
use farewell_proto::account::v1::{
    DeviceUnbinding, DeviceUnbindingState, GetDeviceUnbindingRequest, UnbindDeviceRequest,
    WatchDeviceUnbindingRequest,
};
use farewell_proto::deletion::v1::Channel;
use serde_json::json;

use crate::account::why;
use crate::client::Connection;
use crate::deletion::request::{self, Id};
use crate::deletion::{account_name, prefixed, view};
use crate::output::{Output, Rows};

/// `farewell device`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Unbind one device: the server half at once, the device at its next contact.
    Unbind {
        /// The account's id
        account: String,
        /// The product line: phones, wearables, smarthome
        line: String,
        /// The device's id
        device: String,
        /// The epoch of the binding, as the inventory or the product line's list says it
        #[arg(long)]
        epoch: u64,
        /// Wipe local data, too
        #[arg(long)]
        wipe: bool,
        /// Where the person asks: phone or web, by themselves; support, with a case
        #[arg(long, default_value = "phone", value_parser = request::channel)]
        channel: Channel,
        /// With support: the case that approves it, cases/ID
        #[arg(long)]
        case: Option<String>,
        #[command(flatten)]
        id: Id,
    },
    /// Say how far an unbinding is.
    Get {
        /// The unbinding: lines/LINE/deviceUnbindings/ID
        name: String,
        /// The account's id
        #[arg(long)]
        account: String,
    },
    /// Follow an unbinding until the device did it or is given up.
    Watch {
        /// The unbinding: lines/LINE/deviceUnbindings/ID
        name: String,
        /// The account's id
        #[arg(long)]
        account: String,
    },
}

/// Carries out one command.
///
/// Errors: what the coordinator says.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let connection = &args.connection;
    let mut client = connection.accounts().await?;
    match args.command {
        Command::Unbind {
            account,
            line,
            device,
            epoch,
            wipe,
            channel,
            case,
            id,
        } => {
            let request = UnbindDeviceRequest {
                request_id: id.or_new(),
                account: account_name(&account),
                line: prefixed("lines/", &line),
                device: prefixed("devices/", &device),
                epoch,
                wipe,
                channel: channel.into(),
                case: case
                    .map(|case| prefixed("cases/", &case))
                    .unwrap_or_default(),
            };
            let answer = client.unbind_device(connection.request(request)).await?;
            show(answer.into_inner().device_unbinding, output)
        }
        Command::Get { name, account } => {
            let request = GetDeviceUnbindingRequest {
                name,
                account: account_name(&account),
            };
            let answer = client
                .get_device_unbinding(connection.request(request))
                .await?;
            show(answer.into_inner().device_unbinding, output)
        }
        Command::Watch { name, account } => {
            let request = WatchDeviceUnbindingRequest {
                name,
                account: account_name(&account),
            };
            let watch = client.watch_device_unbinding(connection.endless(request));
            let mut changes = watch.await?.into_inner();
            let mut last = None;
            while let Some(change) = changes.message().await? {
                if let Some(unbinding) = change.device_unbinding {
                    eprintln!("{} {}", state(&unbinding), unbinding.reason);
                    last = Some(unbinding);
                }
            }
            show(last, output)
        }
    }
}

fn show(unbinding: Option<DeviceUnbinding>, output: Output) -> anyhow::Result<()> {
    let unbinding = unbinding.context("an answer without an unbinding")?;
    let since = view::time(unbinding.state_time.as_ref());
    let begun = view::time(unbinding.begin_time.as_ref());
    let value = json!({
        "name": unbinding.name,
        "device": unbinding.device,
        "epoch": unbinding.epoch,
        "state": state(&unbinding),
        "reason": unbinding.reason,
        "explanations": why::values(&unbinding.explanation),
        "begin_time": begun,
        "state_time": since,
    });
    let mut rows = Rows::new("", &["name", "device", "epoch", "state", "reason", "since"]);
    rows.push([
        unbinding.name.clone(),
        unbinding.device.clone(),
        unbinding.epoch.to_string(),
        state(&unbinding).to_owned(),
        unbinding.reason.clone(),
        since,
    ]);
    output.write(&value, &[rows, why::rows(&unbinding.explanation)])
}

fn state(unbinding: &DeviceUnbinding) -> &'static str {
    let name = DeviceUnbindingState::as_str_name(&unbinding.state());
    name.strip_prefix("DEVICE_UNBINDING_STATE_").unwrap_or(name)
}
