//! `farewell deletion history`: who decided what of a deletion, when and why.

use farewell_proto::operator::v1::{GetHistoryRequest, HistoryStep};
use serde_json::{Value, json};

use super::request::deletion_name;
use super::view::{bare, state_name, time};
use crate::client::Connection;
use crate::output::{Output, Rows};

/// Largest page that the coordinator gives.
const PAGE_MAX: i32 = 500;

/// Every step, oldest first. Shown to operators, on their port.
///
/// Errors: what the coordinator says.
pub async fn show(connection: &Connection, name: &str, output: Output) -> anyhow::Result<()> {
    let mut client = connection.operators().await?;
    let (mut steps, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = connection.request(GetHistoryRequest {
            name: deletion_name(name),
            page_size: PAGE_MAX,
            page_token,
        });
        let page = client.get_history(request).await?.into_inner();
        steps.extend(page.steps);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let all: Vec<Value> = steps.iter().map(json).collect();
    output.write(&json!({"steps": all}), &[rows(&steps)])
}

fn rows(steps: &[HistoryStep]) -> Rows {
    let columns = [
        "step",
        "time",
        "state",
        "what",
        "decided by",
        "why",
        "reference",
    ];
    let mut rows = Rows::new("history", &columns);
    for step in steps {
        let by = match step.by.as_str() {
            "" => decider(step).to_owned(),
            name => format!("{} {name}", decider(step)),
        };
        rows.push([
            step.revision.to_string(),
            time(step.time.as_ref()),
            state_name(step.state()).to_owned(),
            step.step.clone(),
            by,
            step.reasons.join(", "),
            step.reference.clone(),
        ]);
    }
    rows
}

fn json(step: &HistoryStep) -> Value {
    json!({
        "revision": step.revision,
        "time": time(step.time.as_ref()),
        "state": state_name(step.state()),
        "step": step.step,
        "decider": decider(step),
        "by": step.by,
        "reasons": step.reasons,
        "reference": step.reference,
        "request_id": step.request_id,
    })
}

fn decider(step: &HistoryStep) -> &'static str {
    bare(step.decider().as_str_name(), "DECIDER_")
}
