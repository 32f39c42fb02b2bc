//! What a write makes of a stored deletion. Memory and SQLite, which write one after another, ask here; PostgreSQL holds
//! the same in its statements, and one suite compares the three.

use farewell_core::addendum::Addendum;
use farewell_core::receipt::{Evidence, Outcome, Receipt};
use farewell_core::replay::Replayed;
use farewell_core::{Deletion, LegIndex, Mask, State, Time};

use crate::{Settlement, Turn};

/// The part of a stored deletion that decides whether a settlement moves it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub revision: i32,
    pub round: u16,
    pub done: Mask,
    pub held: bool,
    pub conflicts: u32,
    pub retains: Mask,
    pub closed: bool,
}

impl Stored {
    /// Who keeps something after a settlement. Of what is closed nobody does: whatever comes later speaks of what was settled.
    pub fn keeping(self, settlement: &Settlement) -> Mask {
        if self.closed {
            self.retains
        } else {
            self.retains | settlement.retains
        }
    }
}

impl From<&Deletion> for Stored {
    fn from(deletion: &Deletion) -> Self {
        Self {
            revision: deletion.revision,
            round: deletion.round,
            done: deletion.done,
            held: deletion.held,
            conflicts: deletion.conflicts,
            retains: deletion.retains,
            closed: deletion.closed_at.is_some(),
        }
    }
}

/// The receipts of a settlement without repeats of a key: of those the first counts.
pub(crate) fn distinct(receipts: &[Receipt]) -> impl Iterator<Item = &Receipt> {
    receipts
        .iter()
        .enumerate()
        .filter(|(place, receipt)| first(receipts, receipt) == *place)
        .map(|(_, receipt)| receipt)
}

/// Addenda without repeats: of those the first counts.
pub(crate) fn distinct_addenda(batch: &[Addendum]) -> impl Iterator<Item = &Addendum> {
    batch
        .iter()
        .enumerate()
        .filter(|(place, addendum)| {
            !batch[..*place]
                .iter()
                .any(|other| other.is_repeat(addendum))
        })
        .map(|(_, addendum)| addendum)
}

/// Replays without repeats: of those the first counts.
pub(crate) fn distinct_replays(batch: &[Replayed]) -> impl Iterator<Item = &Replayed> {
    batch
        .iter()
        .enumerate()
        .filter(|(place, replayed)| {
            !batch[..*place]
                .iter()
                .any(|other| other.is_repeat(replayed))
        })
        .map(|(_, replayed)| replayed)
}

/// Receipts that contradict the one that stands for their key: the kept one, or else the first of these.
pub(crate) fn conflicts(
    receipts: &[Receipt],
    kept: impl Fn(u16, LegIndex) -> Option<[u8; 16]>,
) -> Vec<Receipt> {
    receipts
        .iter()
        .filter(|receipt| {
            let stands = kept(receipt.round, receipt.leg).or_else(|| {
                let first = receipts.get(first(receipts, receipt))?;
                Some(first.fingerprint)
            });
            stands.is_some_and(|stands| stands != receipt.fingerprint)
        })
        .cloned()
        .collect()
}

// Few receipts come at a time: looking through them is cheaper than a map.
fn first(receipts: &[Receipt], receipt: &Receipt) -> usize {
    receipts
        .iter()
        .position(|other| (other.round, other.leg) == (receipt.round, receipt.leg))
        .unwrap_or_default()
}

/// Where a settlement leads if the stored deletion allows it: a purge not if its own receipts contradict each other.
pub(crate) fn advance(settlement: &Settlement) -> Option<&Deletion> {
    settlement.advance.as_ref().filter(|advance| {
        !matches!(advance.state, State::Purged { .. })
            || conflicts(&settlement.receipts, |_, _| None).is_empty()
    })
}

/// The legs of a settlement that count: none if the deletion is in another round by now.
pub(crate) fn legs(round: u16, settlement: &Settlement) -> Mask {
    if round == settlement.round {
        settlement.legs
    } else {
        Mask::EMPTY
    }
}

/// Whether a settlement's `advance` is taken.
pub(crate) fn advances(stored: Stored, settlement: &Settlement, conflicts: &[Receipt]) -> bool {
    settlement.advance.as_ref().is_some_and(|advance| {
        let purges = matches!(advance.state, State::Purged { .. });
        advance.revision.checked_sub(1) == Some(stored.revision)
            && stored.round == settlement.round
            && (stored.done | settlement.legs).covers(advance.done)
            && !(purges
                && (stored.held
                    || stored.conflicts > 0
                    || !conflicts.is_empty()
                    || !advance.retains.covers(stored.retains | settlement.retains)))
    })
}

/// The legs done and refused after a turn whose compare-and-set held.
pub(crate) fn turned(done: Mask, turn: &Turn) -> (Mask, Mask) {
    let done = done & !turn.clear;
    (done, turn.after.refused & !done)
}

/// The deletion after a settlement.
pub(crate) fn settled(stored: &Deletion, settlement: &Settlement, advanced: bool) -> Deletion {
    let legs = legs(stored.round, settlement);
    let done = stored.done | legs;
    let refused = stored.refused & !legs;
    let retains = Stored::from(stored).keeping(settlement);
    match &settlement.advance {
        Some(advance) if advanced => Deletion {
            state: advance.state,
            round: advance.round,
            need: advance.need,
            blockers: advance.blockers.clone(),
            attention_at: advance.attention_at,
            closed_at: advance.closed_at,
            revision: advance.revision,
            done,
            refused,
            retains,
            ..stored.clone()
        },
        _ => Deletion {
            done,
            refused,
            retains,
            ..stored.clone()
        },
    }
}

/// When a terminal state was reached.
pub(crate) const fn ended_at(state: &State) -> Option<Time> {
    match state {
        State::Purged { at, .. }
        | State::Revoked { at, .. }
        | State::Denied { at, .. }
        | State::Expired { at } => Some(*at),
        _ => None,
    }
}

/// When the account was sealed, of a deletion that is opened as far as that.
pub(crate) fn sealed_at_once(opened: &Deletion) -> Option<Time> {
    matches!(opened.state, State::CoolingOff { .. }).then_some(opened.requested_at)
}

/// The CHECK of the gate.
pub(crate) fn sound(deletion: &Deletion) -> bool {
    !matches!(deletion.state, State::Purged { .. })
        || (!deletion.need.is_empty()
            && deletion.done.covers(deletion.need)
            && (deletion.closed_at.is_none() || deletion.retains.is_empty()))
}

/// Whether a receipt is a seal that names devices: those are read with what is owed.
pub(crate) fn seals_devices(receipt: &Receipt) -> bool {
    // Canonical text begins with the outcome and leaves out what is empty: most receipts need no parsing.
    receipt.evidence.contains("\"devices\"")
        && receipt.read().is_ok_and(
            |Evidence {
                 outcome, devices, ..
             }| outcome == Outcome::Sealed && !devices.is_empty(),
        )
}
