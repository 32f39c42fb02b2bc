//! What law still keeps of a purged deletion: for tables and as JSON.

use farewell_proto::deletion::v1::{Deletion, Obligation};
use serde_json::{Value, json};

use super::view::{bare, time};
use crate::output::Rows;

/// One row for each class that somebody keeps.
pub fn rows(deletion: &Deletion) -> Rows {
    let mut rows = Rows::new(
        "kept under law",
        &[
            "participant",
            "class",
            "count",
            "ends next",
            "ends",
            "how it stands",
        ],
    );
    for owed in &deletion.obligations {
        let kept = owed.retention.clone().unwrap_or_default();
        let stands = match time(owed.ask_time.as_ref()) {
            asked if asked.is_empty() => state(owed).to_owned(),
            asked => format!("{} since {asked}", state(owed)),
        };
        rows.push([
            owed.participant.clone(),
            kept.class,
            kept.count.to_string(),
            time(owed.next_time.as_ref()),
            time(kept.until_time.as_ref()),
            stands,
        ]);
    }
    rows
}

/// With the names of the wire.
pub fn json(owed: &Obligation) -> Value {
    let kept = owed.retention.clone().unwrap_or_default();
    json!({
        "participant": owed.participant,
        "class": kept.class,
        "legal_basis": kept.legal_basis,
        "count": kept.count,
        "until_time": time(kept.until_time.as_ref()),
        "next_time": time(owed.next_time.as_ref()),
        "state": state(owed),
        "ask_time": time(owed.ask_time.as_ref()),
    })
}

fn state(owed: &Obligation) -> &'static str {
    bare(owed.state().as_str_name(), "OBLIGATION_STATE_")
}
