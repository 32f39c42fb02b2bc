//! Codes, passwords and tokens, as a person gives them to a command.

use std::io::{BufRead as _, IsTerminal as _, stdin};

use anyhow::Context as _;

use crate::failure::Usage;

/// A line of standard input, so that no process list shows it.
///
/// Errors: there is none.
pub fn secret(what: &str) -> anyhow::Result<String> {
    if stdin().is_terminal() {
        eprint!("{what}: ");
    }
    let mut line = String::new();
    stdin()
        .lock()
        .read_line(&mut line)
        .with_context(|| format!("reading the {what}"))?;
    let line = line.trim_end_matches(['\r', '\n']).to_owned();
    if line.is_empty() {
        let how = "it is read from standard input, as in `echo 123456 | farewell …`";
        return Err(Usage(format!("no {what}: {how}")).into());
    }
    Ok(line)
}
