//! Calendars as files: what is built in, and whether another can be used.

use clap::Subcommand;
use farewell_core::calendar::Calendar;
use serde_json::{Value, json};

use crate::output::{Output, Rows};
use crate::settings;

/// `farewell calendar`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say everything that is wrong with a calendar, or until when it knows its days.
    Check(Which),
    /// Print the whole of a calendar, as a file has it.
    Show(Which),
}

/// A calendar.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// One that is built in (cn, de, us, none), or the path of a file
    calendar: String,
}

/// Carries it out.
///
/// Errors: everything that is wrong with the calendar.
pub fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Check(Which { calendar }) => {
            let calendar = settings::calendar(&calendar)?;
            let (first, last) = calendar.covered();
            let mut rows = Rows::new("", &["calendar", "version", "source", "known from", "to"]);
            rows.push([
                calendar.name().to_owned(),
                calendar.version().to_owned(),
                calendar.source().to_owned(),
                first.to_string(),
                last.to_string(),
            ]);
            output.write(&head(&calendar), &[rows])
        }
        Command::Show(Which { calendar }) => {
            let calendar = settings::calendar(&calendar)?;
            let days = calendar.special_days().map(|(date, worked, label)| {
                json!({"date": date.to_string(), "worked": worked, "label": label})
            });
            let mut value = head(&calendar);
            value["days"] = days.collect();
            output.text(&value, &calendar.to_string())
        }
    }
}

fn head(calendar: &Calendar) -> Value {
    let (first, last) = calendar.covered();
    json!({
        "calendar": calendar.name(),
        "version": calendar.version(),
        "source": calendar.source(),
        "covered": {"first": first.to_string(), "last": last.to_string()},
    })
}
