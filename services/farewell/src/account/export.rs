//! Archives of what is held of an account.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use farewell_proto::account::v1::{
    CancelExportRequest, Export, ExportState, GetExportRequest, StartExportRequest,
};
use serde_json::{Value, json};

use super::{download, why};
use crate::client::{Accounts, Connection};
use crate::deletion::request::Id;
use crate::deletion::{account_name, prefixed, view};
use crate::failure::Usage;
use crate::output::{Output, Rows};

/// How often is looked while it runs.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Starts an export, or goes on with one of this request id, waits until it is ready, and fetches it.
pub async fn export(
    connection: &Connection,
    (account, case): (&str, Option<&str>),
    out: &Path,
    id: &Id,
    output: Output,
) -> anyhow::Result<()> {
    if out.exists() {
        return Err(Usage(format!("{} is there already", out.display())).into());
    }
    let mut client = connection.accounts().await?;
    let case = case
        .map(|case| prefixed("cases/", case))
        .unwrap_or_default();
    let request = StartExportRequest {
        request_id: id.or_new(),
        account: account_name(account),
        case: case.clone(),
    };
    let started = client.start_export(connection.request(request)).await?;
    let started = started.into_inner().export.context("no export")?;
    let ready = ready(connection, &mut client, account, started).await?;
    download::to_file(connection, &mut client, (account, &case), &ready, out).await?;
    show(&ready, Some(out), output)
}

/// Says how far an export is.
pub async fn get(
    connection: &Connection,
    name: &str,
    account: &str,
    output: Output,
) -> anyhow::Result<()> {
    let mut client = connection.accounts().await?;
    let found = look(connection, &mut client, name, account).await?;
    show(&found, None, output)
}

/// Ends an export.
pub async fn cancel(
    connection: &Connection,
    name: &str,
    account: &str,
    output: Output,
) -> anyhow::Result<()> {
    let mut client = connection.accounts().await?;
    let request = CancelExportRequest {
        name: prefixed("exports/", name),
        account: account_name(account),
    };
    let ended = client.cancel_export(connection.request(request)).await?;
    show(
        &ended.into_inner().export.context("no export")?,
        None,
        output,
    )
}

async fn look(
    connection: &Connection,
    client: &mut Accounts,
    name: &str,
    account: &str,
) -> Result<Export, tonic::Status> {
    let request = GetExportRequest {
        name: prefixed("exports/", name),
        account: account_name(account),
    };
    let found = client.get_export(connection.request(request)).await?;
    let found = found.into_inner().export;
    found.ok_or_else(|| tonic::Status::internal("no export in the answer"))
}

/// Follows an export to its end. Whoever is away meanwhile is waited for.
async fn ready(
    connection: &Connection,
    client: &mut Accounts,
    account: &str,
    mut export: Export,
) -> anyhow::Result<Export> {
    let mut told = String::new();
    loop {
        let progress = progress(&export);
        if progress != told {
            eprintln!("{progress}");
            told = progress;
        }
        match export.state() {
            ExportState::Running => {}
            ExportState::Ready => return Ok(export),
            state => {
                let why = export.explanation.as_ref();
                let why =
                    why.map_or_else(String::new, |it| format!(": {} {}", it.message, it.remedy));
                let name = &export.name;
                bail!("{name} ended as {} {}{why}", word(state), export.reason)
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        match look(connection, client, &export.name, account).await {
            Ok(found) => export = found,
            Err(status) if download::is_passing(&status) => {}
            Err(status) => return Err(status.into()),
        }
    }
}

/// One line: how many have given everything, who is waited for, and how much there is.
fn progress(export: &Export) -> String {
    let sources = &export.sources;
    let done = sources.iter().filter(|source| source.done).count();
    let (items, bytes) = sources.iter().fold((0, 0), |(items, bytes), source| {
        (items + source.items, bytes + source.size_bytes)
    });
    let away: Vec<_> = sources
        .iter()
        .filter(|source| source.away && !source.done)
        .map(|source| source.participant.as_str())
        .collect();
    let waits = match away.as_slice() {
        [] => String::new(),
        away => format!("; no answer from {}", away.join(", ")),
    };
    let (state, all) = (word(export.state()), sources.len());
    format!("{state} {done} of {all} services, {items} items, {bytes} bytes{waits}")
}

fn show(export: &Export, out: Option<&Path>, output: Output) -> anyhow::Result<()> {
    let expires = view::time(export.expire_time.as_ref());
    let sha256 = download::hex(&export.sha256);
    let file = out.map(|out| out.display().to_string());
    let sources: Vec<Value> = export
        .sources
        .iter()
        .map(|source| {
            json!({
                "participant": source.participant,
                "done": source.done,
                "away": source.away,
                "items": source.items,
                "size_bytes": source.size_bytes,
            })
        })
        .collect();
    let value = json!({
        "name": export.name,
        "state": word(export.state()),
        "reason": export.reason,
        "explanations": why::values(&export.explanation),
        "sources": sources,
        "size_bytes": export.size_bytes,
        "sha256": sha256,
        "begin_time": view::time(export.begin_time.as_ref()),
        "end_time": view::time(export.end_time.as_ref()),
        "expire_time": expires,
        "file": file,
    });
    let heading = [
        "name", "state", "reason", "bytes", "sha256", "expires", "file",
    ];
    let mut rows = Rows::new("", &heading);
    rows.push([
        export.name.clone(),
        word(export.state()).to_owned(),
        export.reason.clone(),
        export.size_bytes.to_string(),
        sha256,
        expires,
        file.unwrap_or_default(),
    ]);
    let mut parts = Rows::new("services", &["service", "done", "items", "bytes"]);
    for source in &export.sources {
        parts.push([
            source.participant.clone(),
            if source.done { "yes" } else { "no" }.to_owned(),
            source.items.to_string(),
            source.size_bytes.to_string(),
        ]);
    }
    output.write(&value, &[rows, why::rows(&export.explanation), parts])
}

fn word(state: ExportState) -> &'static str {
    let name = state.as_str_name();
    name.strip_prefix("EXPORT_STATE_").unwrap_or(name)
}
