//! Policies as files: what is shipped, and whether another can be used.

use std::time::SystemTime;

use clap::Subcommand;
use farewell_core::Time;
use farewell_core::blocker::{CATALOGUE, Overrider, Owner};
use farewell_core::policy::{Document, Problem};
use farewell_kit::store::micros;
use serde_json::json;

use crate::output::{Output, Rows};
use crate::settings;

/// `farewell policy`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say everything that is wrong with a policy, what somebody should have thought about, and when it all would be done.
    Check(Which),
    /// Print the whole of a policy, with what it extends; one that is shipped as it is.
    Show(Which),
    /// List what can stand in the way of a deletion, how strongly, and who may decide that it goes on all the same.
    Codes,
}

/// A policy.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// One that is shipped (default, cn, eu, us), or the path of a file
    policy: String,
}

/// Carries it out.
///
/// Errors: everything that is wrong with the policy.
pub fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Check(Which { policy }) => {
            let policy = settings::policy(&policy)?;
            // So that whoever writes one sees what its deadline, calendar and time zone come to.
            let asked = SystemTime::now();
            let due = policy.due(Time::from_micros(micros(asked)));
            let due_time = due.at.to_string();
            let mut verdict = Rows::new("", &["policy", "verdict", "asked for now, due"]);
            let days = if due.provisional {
                let last = policy.known_until();
                format!(
                    ", counted with weekends only after {last}, the last day its calendar knows"
                )
            } else {
                String::new()
            };
            verdict.push([
                policy.name.clone(),
                "can be used".to_owned(),
                format!("{due_time}{days}"),
            ]);
            let mut rows = Rows::new("To think about", &["key", "what"]);
            let cautions = policy.cautions();
            for Problem { key, message } in &cautions {
                rows.push([key.clone(), message.clone()]);
            }
            let said = cautions.iter().map(ToString::to_string);
            let value = json!({
                "policy": policy.name,
                "cautions": said.collect::<Vec<_>>(),
                "due_time": due_time,
                "due_provisional": due.provisional,
            });
            output.write(&value, &[verdict, rows])
        }
        Command::Codes => {
            let columns = ["code", "named by", "class", "may be overridden by", "why"];
            let mut rows = Rows::new("", &columns);
            let mut list = Vec::new();
            for known in CATALOGUE {
                let owner = match known.owner {
                    Owner::Service(name) => name,
                    Owner::ProductLines => "every product line",
                    Owner::Coordinator => "the coordinator",
                };
                let overrider = match known.overridable_by {
                    Overrider::Nobody => "nobody",
                    Overrider::Support => "support",
                    Overrider::SupportWithSecondPerson => "support and a second person",
                    Overrider::Legal => "legal",
                };
                let class = serde_json::to_value(known.class)?;
                let class = class.as_str().unwrap_or_default();
                let why = known.why.concat();
                let why = why.trim();
                rows.push([known.code, owner, class, overrider, why].map(str::to_owned));
                list.push(json!({
                    "code": known.code, "owner": owner, "class": class, "overridable_by": overrider,
                    "why": why,
                }));
            }
            output.write(&json!(list), &[rows])
        }
        Command::Show(Which { policy }) => {
            let document = Document::from(&settings::policy(&policy)?);
            let value = serde_json::to_value(&document)?;
            match Document::shipped_text(&policy) {
                // With its comments, to begin one's own with.
                Some(text) => output.text(&value, text),
                None => output.text(&value, &document.to_toml()?),
            }
        }
    }
}
