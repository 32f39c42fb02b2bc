//! What changes something: create, send-code, verify, revoke, override.

use std::time::SystemTime;

use anyhow::Context as _;
use farewell_proto::deletion::v1::{
    Channel, ConfirmLinkRequest, Consent, CreateDeletionRequest, Deletion, DenyDeletionRequest,
    ExtendDeadlineRequest, ExtensionReason, Factor, OverrideBlockersRequest, RevokeDeletionRequest,
    SendCodeRequest, VerifyFactorRequest,
};
use serde_json::json;

use super::request::{Id, account_name, deletion_name, prefixed};
use super::view;
use crate::client::Connection;
use crate::failure::Usage;
use crate::output::{Output, Rows};
use crate::secret::secret;

pub async fn create(
    connection: &Connection,
    account: &str,
    channel: Channel,
    consents: Vec<(String, u32)>,
    id: &Id,
    output: Output,
) -> anyhow::Result<()> {
    let now = SystemTime::now();
    let consents = consents
        .into_iter()
        .map(|(text, version)| Consent {
            text,
            version,
            time: Some(now.into()),
        })
        .collect();
    let mut client = connection.deletions().await?;
    let request = CreateDeletionRequest {
        request_id: id.or_new(),
        account: account_name(account),
        channel: channel.into(),
        consents,
    };
    let created = client
        .create_deletion(connection.request(request))
        .await?
        .into_inner();
    show(created.deletion, output)
}

pub async fn send_code(
    connection: &Connection,
    name: &str,
    (factor, device): (Factor, Option<String>),
    id: &Id,
    output: Output,
) -> anyhow::Result<()> {
    let mut client = connection.deletions().await?;
    let request = SendCodeRequest {
        request_id: id.or_new(),
        name: deletion_name(name),
        factor: factor.into(),
        device: device.unwrap_or_default(),
    };
    let sent = client
        .send_code(connection.request(request))
        .await?
        .into_inner();
    if !sent.challenge.is_empty() {
        let challenge = hex(&sent.challenge);
        let mut rows = Rows::new("", &["the device signs"]);
        rows.push([challenge.clone()]);
        return output.write(&json!({"challenge": challenge}), &[rows]);
    }
    let mut rows = Rows::new("", &["code expires", "next code"]);
    rows.push([
        view::time(sent.expire_time.as_ref()),
        view::time(sent.next_send_time.as_ref()),
    ]);
    let value = json!({
        "expire_time": view::time(sent.expire_time.as_ref()),
        "next_send_time": view::time(sent.next_send_time.as_ref()),
    });
    output.write(&value, &[rows])
}

pub async fn verify(
    connection: &Connection,
    name: &str,
    (factor, device): (Factor, Option<String>),
    id: &Id,
    output: Output,
) -> anyhow::Result<()> {
    let proof = secret("code or password")?;
    let mut client = connection.deletions().await?;
    let request = VerifyFactorRequest {
        request_id: id.or_new(),
        name: deletion_name(name),
        factor: factor.into(),
        ..of_device(proof, device)?
    };
    let verified = client
        .verify_factor(connection.request(request))
        .await?
        .into_inner();
    show(verified.deletion, output)
}

pub async fn confirm_link(connection: &Connection, id: &Id, output: Output) -> anyhow::Result<()> {
    let token = secret("token of the link")?;
    let mut client = connection.deletions().await?;
    let request = ConfirmLinkRequest {
        request_id: id.or_new(),
        token,
    };
    let confirmed = client
        .confirm_link(connection.request(request))
        .await?
        .into_inner();
    show(confirmed.deletion, output)
}

/// What a device signed is written in hexadecimal digits; any other proof is sent as it is.
fn of_device(proof: String, device: Option<String>) -> anyhow::Result<VerifyFactorRequest> {
    let Some(device) = device else {
        return Ok(VerifyFactorRequest {
            proof,
            ..Default::default()
        });
    };
    let wrong = || Usage("what the device signed is written in hexadecimal digits".to_owned());
    let byte = |at: usize| {
        let digits = proof.get(at..at + 2)?;
        u8::from_str_radix(digits, 16).ok()
    };
    let statement: Option<Vec<u8>> = (0..proof.len()).step_by(2).map(byte).collect();
    Ok(VerifyFactorRequest {
        device,
        statement: statement.ok_or_else(wrong)?.into(),
        ..Default::default()
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub async fn revoke(
    connection: &Connection,
    name: &str,
    (link, case): (Option<String>, Option<String>),
    id: &Id,
    output: Output,
) -> anyhow::Result<()> {
    let link_token = match link.as_deref() {
        Some("-") => secret("token of the link")?,
        given => given.unwrap_or_default().to_owned(),
    };
    let mut client = connection.deletions().await?;
    let request = RevokeDeletionRequest {
        link_token,
        case: case
            .map(|case| prefixed("cases/", &case))
            .unwrap_or_default(),
        request_id: id.or_new(),
        name: deletion_name(name),
    };
    let revoked = client
        .revoke_deletion(connection.request(request))
        .await?
        .into_inner();
    show(revoked.deletion, output)
}

pub async fn deny(
    connection: &Connection,
    name: &str,
    case: &str,
    id: &Id,
    output: Output,
) -> anyhow::Result<()> {
    let mut client = connection.deletions().await?;
    let request = connection.request(DenyDeletionRequest {
        request_id: id.or_new(),
        name: deletion_name(name),
        case: prefixed("cases/", case),
    });
    let denied = client.deny_deletion(request).await?.into_inner();
    show(denied.deletion, output)
}

pub async fn extend(
    connection: &Connection,
    name: &str,
    (reason, case): (ExtensionReason, &str),
    id: &Id,
    output: Output,
) -> anyhow::Result<()> {
    let mut client = connection.deletions().await?;
    let request = connection.request(ExtendDeadlineRequest {
        request_id: id.or_new(),
        name: deletion_name(name),
        reason: reason.into(),
        case: prefixed("cases/", case),
    });
    let extended = client.extend_deadline(request).await?.into_inner();
    show(extended.deletion, output)
}

pub async fn override_blockers(
    connection: &Connection,
    name: &str,
    (codes, case): (Vec<String>, &str),
    id: &Id,
    output: Output,
) -> anyhow::Result<()> {
    let mut client = connection.deletions().await?;
    let request = OverrideBlockersRequest {
        request_id: id.or_new(),
        name: deletion_name(name),
        codes,
        case: prefixed("cases/", case),
    };
    let overridden = client
        .override_blockers(connection.request(request))
        .await?
        .into_inner();
    show(overridden.deletion, output)
}

/// A deletion that an answer must hold.
pub fn show(deletion: Option<Deletion>, output: Output) -> anyhow::Result<()> {
    let deletion = deletion.context("the answer holds no deletion")?;
    output.write(&view::json(&deletion), &view::tables(&deletion))
}
