//! What only looks: get, list, watch, certificate.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use farewell_proto::deletion::v1::{
    GetCertificateRequest, GetDeletionRequest, ListDeletionsRequest, State, WatchDeletionRequest,
};
use serde_json::{Value, json};

use super::ask::show;
use super::request::{account_name, deletion_name};
use super::view;
use crate::client::Connection;
use crate::output::Output;

/// Largest page that the coordinator gives.
const PAGE_MAX: usize = 500;

pub async fn get(connection: &Connection, name: &str, output: Output) -> anyhow::Result<()> {
    let mut client = connection.deletions().await?;
    let request = GetDeletionRequest {
        name: deletion_name(name),
    };
    let found = client
        .get_deletion(connection.request(request))
        .await?
        .into_inner();
    show(found.deletion, output)
}

pub async fn list(
    connection: &Connection,
    account: Option<&str>,
    states: &[State],
    limit: usize,
    output: Output,
) -> anyhow::Result<()> {
    let mut client = connection.deletions().await?;
    let mut deletions = Vec::new();
    let mut page_token = String::new();
    while deletions.len() < limit {
        let request = ListDeletionsRequest {
            page_size: i32::try_from((limit - deletions.len()).min(PAGE_MAX))?,
            page_token,
            states: states.iter().map(|state| (*state).into()).collect(),
            account: account.map(account_name).unwrap_or_default(),
        };
        let page = client
            .list_deletions(connection.request(request))
            .await?
            .into_inner();
        deletions.extend(page.deletions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    deletions.truncate(limit);
    let all: Vec<Value> = deletions.iter().map(view::json).collect();
    output.write(
        &json!({"deletions": all}),
        &[view::heads("", deletions.iter())],
    )
}

/// One row for each change. A deletion ends the stream when it is closed; all of them never do.
pub async fn watch(connection: &Connection, name: &str, output: Output) -> anyhow::Result<()> {
    let mut client = connection.deletions().await?;
    // No deadline: a deletion takes weeks.
    let request = WatchDeletionRequest {
        name: deletion_name(name),
    };
    let mut changes = client
        .watch_deletion(connection.endless(request))
        .await?
        .into_inner();
    let mut seen = view::Seen::default();
    while let Some(change) = changes.message().await? {
        for deletion in &change.deletions {
            let news = seen.news(deletion);
            output.write(&view::json(deletion), &[news])?;
        }
    }
    Ok(())
}

pub async fn certificate(
    connection: &Connection,
    name: &str,
    file: Option<&Path>,
    addenda: Option<&Path>,
) -> anyhow::Result<()> {
    let mut client = connection.deletions().await?;
    let request = GetCertificateRequest {
        name: deletion_name(name),
    };
    let certified = client
        .get_certificate(connection.request(request))
        .await?
        .into_inner();
    match file {
        Some(file) => write(file, &certified.document)?,
        None => std::io::stdout().write_all(&certified.document)?,
    }
    match addenda {
        Some(file) => write(file, lines(&certified.addenda).as_bytes()),
        None => {
            for addendum in &certified.addenda {
                eprintln!("addendum {addendum}");
            }
            Ok(())
        }
    }
}

fn write(file: &Path, content: &[u8]) -> anyhow::Result<()> {
    std::fs::write(file, content).with_context(|| format!("writing {}", file.display()))
}

fn lines(texts: &[String]) -> String {
    texts.iter().flat_map(|text| [text, "\n"]).collect()
}
