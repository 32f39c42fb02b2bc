//! Looks over a ledger when a story has ended: what must hold of every deletion that is stored.

use anyhow::{Context as _, Result, ensure};
use farewell_core::State;
use farewell_core::invariants::check_ledger;
use farewell_ledger::Ledger;

use crate::ledger;

/// Checks every stored deletion against core's invariants, and its history against itself. Returns how many there are.
///
/// Errors: every violation.
pub async fn sound(kept: &dyn Ledger) -> Result<usize> {
    let plans = ledger::plans(kept).await?;
    let deletions = ledger::deletions(kept).await?;
    let mut wrong = Vec::new();
    for deletion in &deletions {
        let version = deletion.policy_version;
        let plan = plans.iter().find(|(known, _)| *known == version);
        let (_, plan) = plan.with_context(|| format!("no policy of version {version}"))?;
        let receipts = kept.receipts(deletion.id).await?;
        let found = check_ledger(deletion, plan, &receipts);
        wrong.extend(found.iter().map(ToString::to_string));

        if let State::Purged { at, .. } = deletion.state {
            let of_an_expiry = |leg| plan.expires().has(leg);
            let late = receipts
                .iter()
                .filter(|kept| kept.settled_at > at && !of_an_expiry(kept.receipt.leg))
                .count();
            ensure!(late == 0, "{}: purged before {late} receipts", deletion.id);
        }

        let history = kept.history(deletion.id, 0, 1_000).await?;
        let id = deletion.id;
        let revisions: Vec<_> = history.iter().map(|entry| entry.revision).collect();
        if !revisions
            .iter()
            .zip(revisions.iter().skip(1))
            .all(|(a, b)| a < b)
        {
            wrong.push(format!(
                "{id}: its history repeats a revision: {revisions:?}"
            ));
        }
        let ends = |code: i16| history.iter().filter(|entry| entry.state == code).count();
        let purged = State::code(&deletion.state) == PURGED;
        // One entry speaks of the purge; what comes later is a fact of its own.
        let purges = history
            .iter()
            .filter(|entry| entry.state == PURGED && !AFTERWARDS.contains(&entry.note.as_str()))
            .count();
        if purges != usize::from(purged) {
            wrong.push(format!(
                "{id}: purged {purges} times in its history: {history:?}"
            ));
        }
        if history.last().map(|entry| entry.state) != Some(deletion.state.code()) {
            wrong.push(format!("{id}: its history ends elsewhere: {history:?}"));
        }
        if purged && ends(ERASING) == 0 {
            wrong.push(format!("{id}: purged and never erasing: {history:?}"));
        }
    }
    ensure!(
        wrong.is_empty(),
        "the ledger is not sound:\n{}",
        wrong.join("\n")
    );
    Ok(deletions.len())
}

const ERASING: i16 = 3;
const PURGED: i16 = 5;
/// What can happen to a purged deletion.
const AFTERWARDS: [&str; 8] = [
    "CONTRADICTED",
    "KEPT_UNDER_LAW",
    "RETENTION_ENDED",
    "HELD",
    "RELEASED",
    "LEG_REFUSED",
    "LEG_RETRIED",
    // Operators, of an end that is overdue.
    "TOLD",
];
