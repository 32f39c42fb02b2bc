//! What changes nothing and is asked before: eligibility and inventory.

use farewell_proto::deletion::v1::{
    CheckEligibilityRequest, GetInventoryRequest, GetInventoryResponse,
};
use serde_json::{Value, json};

use super::request::account_name;
use super::view;
use crate::client::Connection;
use crate::output::{Output, Rows};

pub async fn eligibility(
    connection: &Connection,
    account: &str,
    output: Output,
) -> anyhow::Result<()> {
    let mut client = connection.deletions().await?;
    let request = CheckEligibilityRequest {
        account: account_name(account),
    };
    let answer = client
        .check_eligibility(connection.request(request))
        .await?
        .into_inner();
    let mut verdict = Rows::new("", &["", ""]);
    let word = if answer.eligible { "yes" } else { "no" };
    verdict.push(["eligible", word].map(str::to_owned));
    let header = [
        "participant",
        "class",
        "code",
        "what",
        "what to do",
        "overridden by",
    ];
    let mut blockers = Rows::new("in the way, or to be known before", &header);
    let mut list = Vec::new();
    for blocker in answer.blockers {
        let class = view::bare(blocker.class().as_str_name(), "BLOCKER_CLASS_");
        let overrider = view::bare(blocker.overridable_by().as_str_name(), "OVERRIDER_");
        list.push(json!({
            "participant": blocker.participant,
            "class": class,
            "code": blocker.code,
            "count": blocker.count,
            "message": blocker.message,
            "remedy": blocker.remedy,
            "overridable_by": overrider,
            "until_time": view::time(blocker.until_time.as_ref()),
            "forfeit_consent": blocker.forfeit_consent,
        }));
        let class = class.to_owned();
        blockers.push([
            blocker.participant,
            class,
            blocker.code,
            blocker.message,
            blocker.remedy,
            overrider.to_lowercase().replace('_', " "),
        ]);
    }
    let value = json!({"eligible": answer.eligible, "blockers": list});
    output.write(&value, &[verdict, blockers])
}

pub async fn inventory(
    connection: &Connection,
    account: &str,
    output: Output,
) -> anyhow::Result<()> {
    let mut client = connection.deletions().await?;
    let request = GetInventoryRequest {
        account: account_name(account),
    };
    let answer = client
        .get_inventory(connection.request(request))
        .await?
        .into_inner();
    output.write(&held_json(&answer), &held(&answer))
}

/// What is held, for people: data and devices.
pub fn held(answer: &GetInventoryResponse) -> [Rows; 2] {
    let mut data = Rows::new("data", &["participant", "category", "items", "bytes"]);
    let mut devices = Rows::new(
        "devices",
        &[
            "participant",
            "device",
            "model",
            "serial number",
            "warranty ends",
            "epoch",
        ],
    );
    for holding in &answer.holdings {
        if !holding.answered {
            data.push([
                holding.participant.clone(),
                "no answer".to_owned(),
                String::new(),
                String::new(),
            ]);
        }
        for category in &holding.categories {
            data.push([
                holding.participant.clone(),
                category.category.clone(),
                category.count.to_string(),
                category.size_bytes.to_string(),
            ]);
        }
        for device in &holding.devices {
            devices.push([
                holding.participant.clone(),
                device.device.clone(),
                device.model.clone(),
                device.serial_number.clone(),
                view::time(device.warranty_end_time.as_ref()),
                device.binding_epoch.to_string(),
            ]);
        }
    }
    [data, devices]
}

fn held_json(answer: &GetInventoryResponse) -> Value {
    let holdings: Vec<Value> = answer
        .holdings
        .iter()
        .map(|holding| {
            let categories: Vec<Value> = holding
                .categories
                .iter()
                .map(|held| {
                    json!({"category": held.category, "count": held.count, "size_bytes": held.size_bytes})
                })
                .collect();
            let devices: Vec<Value> = holding
                .devices
                .iter()
                .map(|device| {
                    json!({
                        "device": device.device,
                        "model": device.model,
                        "serial_number": device.serial_number,
                        "warranty_end_time": view::time(device.warranty_end_time.as_ref()),
                        "binding_epoch": device.binding_epoch,
                    })
                })
                .collect();
            json!({
                "participant": holding.participant,
                "answered": holding.answered,
                "categories": categories,
                "devices": devices,
            })
        })
        .collect();
    json!({"holdings": holdings})
}
