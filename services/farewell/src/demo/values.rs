//! The settings of every role, as the values that a settings file holds.

use rand::Rng as _;
use serde_json::{Map, Value, json};

use super::Args;
use super::ports::local;
use super::stage::Stage;
use crate::settings::{Line, Name};

/// `section` to values, for every role.
pub fn sections(stage: &Stage, args: &Args) -> Map<String, Value> {
    let tls = json!({"dir": stage.certs()});
    // Processes of their own write into files, where more may be said.
    let telemetry = json!({"log": "info,mqtt5=warn", "json": true});
    let coordinators = json!([local(stage.ports.participants)]);
    let mut sections = Map::new();
    let coordinator = json!({
        "instance": "coordinator",
        "ledger": stage.database("coordinator"),
        "listen": {
            "callers": local(stage.ports.callers),
            "participants": local(stage.ports.participants),
            "operators": local(stage.ports.operators),
        },
        "tls": tls,
        // Patience is what a demonstration has least of.
        "policy": {
            "extends": "cn",
            "name": "demo",
            "verification": "10m",
            "cooling_off": args.cooling_off,
            "deadline": "1h",
            "deadline_warning": "10m",
            "stalled_after": "30s",
            "recheck": "2s",
        },
        "pace": {"poll": "200ms", "retry": "1s", "retry_max": "5s"},
        "drain": "5s",
        "telemetry": telemetry,
    });
    sections.insert("coordinator".to_owned(), coordinator);
    for line in Line::ALL {
        let mut listen = json!({"devices": local(stage.ports.line(line))});
        if line == Line::Smarthome {
            listen["mqtt"] = json!(local(stage.ports.broker));
        }
        let agent = json!({
            "database": stage.agent_database(line),
            "coordinators": coordinators,
            "listen": listen,
            "tls": tls,
            "drain": "5s",
            "telemetry": telemetry,
        });
        sections.insert(format!("agent.{line}"), agent);
    }
    for service in Name::ALL {
        let mut settings = json!({
            "database": stage.service_database(service),
            "coordinators": coordinators,
            "tls": tls,
            "drain": "5s",
            "telemetry": telemetry,
        });
        match service {
            Name::Identity => {
                let courier = json!({"kind": "file", "path": stage.codes()});
                settings["courier"] = json!({"sms": courier, "email": courier});
                settings["pepper"] = json!(digits::<16>());
            }
            Name::Cloud => {
                settings["files"] = json!(stage.files());
                settings["exports"] = json!({"keys": format!("1:{}", digits::<32>())});
            }
            Name::Support => {
                settings["listen"] = json!({"desk": local(stage.ports.desk)});
                settings["keys"] = json!(format!("1:{}", digits::<32>()));
            }
            Name::Store | Name::Community => {}
        }
        sections.insert(format!("service.{service}"), settings);
    }
    sections
}

/// So many drawn bytes, in hexadecimal digits.
fn digits<const BYTES: usize>() -> String {
    let bytes: [u8; BYTES] = rand::rng().random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A settings file with these sections. JSON's strings, numbers and lists are TOML's too; only tables are written
/// differently.
pub fn toml(sections: &Map<String, Value>) -> String {
    let mut text = "# Written by `farewell demo`.\n".to_owned();
    for (name, values) in sections {
        text.push_str(&format!("\n[{name}]\n"));
        for (key, value) in values.as_object().into_iter().flatten() {
            text.push_str(&format!("{key} = {}\n", inline(value)));
        }
    }
    text
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(table) => {
            let pairs: Vec<String> = table
                .iter()
                .map(|(key, value)| format!("{key} = {}", inline(value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}
