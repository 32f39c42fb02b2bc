//! A ledger in memory, to the letter of the contract in `services/ledger`: compare-and-sets, merges, fences.

use std::collections::{BTreeMap, BTreeSet};

use farewell_core::deletion::{Deletion, State};
use farewell_core::invariants::Fact;
use farewell_core::receipt::{Kept, Receipt};
use farewell_core::refusal::Reason;
use farewell_core::{DeletionId, Mask, RequestId, Time};

/// The writer's lease has ended; nothing was changed.
#[derive(Debug)]
pub struct Fenced;

pub struct Settled {
    pub done: Mask,
    pub revision: i32,
    pub advanced: bool,
    pub conflicts: usize,
}

#[derive(Default)]
pub struct Store {
    pub rows: BTreeMap<DeletionId, Deletion>,
    pub receipts: BTreeMap<DeletionId, Vec<Kept>>,
    requests: BTreeMap<RequestId, ([u8; 16], DeletionId)>,
    standing: BTreeSet<i64>,
    newest: i64,
    pub facts: Vec<Fact>,
}

impl Store {
    pub fn open(&mut self, deletion: Deletion) -> Result<DeletionId, Reason> {
        if let Some((digest, id)) = self.requests.get(&deletion.request) {
            let same = *digest == deletion.request_digest;
            return if same {
                Ok(*id)
            } else {
                Err(Reason::RequestIdReused)
            };
        }
        let twin = |row: &Deletion| row.account == deletion.account && !row.state.terminal();
        if self.rows.values().any(twin) {
            return Err(Reason::AccountHasLiveDeletion);
        }
        self.facts.push(Fact::Opened(deletion.clone()));
        let key = (deletion.request_digest, deletion.id);
        self.requests.insert(deletion.request, key);
        self.receipts.insert(deletion.id, Vec::new());
        self.rows.insert(deletion.id, deletion);
        Ok(key.1)
    }

    /// A coordinator joins; whoever held the lease before is fenced.
    pub fn take_over(&mut self) -> i64 {
        for epoch in std::mem::take(&mut self.standing) {
            self.facts.push(Fact::Fenced { epoch });
        }
        self.newest += 1;
        self.standing.insert(self.newest);
        self.facts.push(Fact::Joined { epoch: self.newest });
        self.newest
    }

    fn stands(&self, epoch: Option<i64>) -> Result<(), Fenced> {
        match epoch {
            Some(epoch) if !self.standing.contains(&epoch) => Err(Fenced),
            _ => Ok(()),
        }
    }

    /// Whether the turn was taken; if not, somebody else was first.
    pub fn turn(
        &mut self,
        epoch: Option<i64>,
        before: i32,
        mut after: Deletion,
        clear: Mask,
    ) -> Result<bool, Fenced> {
        self.stands(epoch)?;
        let row = self.rows.get_mut(&after.id).unwrap();
        if row.revision != before {
            return Ok(false);
        }
        after.done = row.done & !clear;
        let before = Box::new(std::mem::replace(row, after.clone()));
        self.facts.push(Fact::Turned {
            epoch,
            before,
            after,
        });
        Ok(true)
    }

    pub fn settle(
        &mut self,
        epoch: i64,
        id: DeletionId,
        receipt: Receipt,
        legs: Mask,
        advance: Option<Deletion>,
        settled_at: Time,
    ) -> Result<Settled, Fenced> {
        self.stands(Some(epoch))?;
        let (row, kept) = (
            self.rows.get_mut(&id).unwrap(),
            self.receipts.get_mut(&id).unwrap(),
        );
        let same = |k: &&Kept| k.receipt.leg == receipt.leg && k.receipt.round == receipt.round;
        let earlier = kept.iter().find(same).map(|kept| kept.receipt.fingerprint);
        let conflicts = usize::from(earlier.is_some_and(|earlier| earlier != receipt.fingerprint));
        let mut receipts = Vec::new();
        if earlier.is_none() {
            receipts.push(Kept {
                receipt,
                settled_at,
            });
            kept.extend(receipts.iter().cloned());
        }
        row.done = row.done | legs;
        let taken = advance.filter(|advance| {
            let purges = matches!(advance.state, State::Purged { .. });
            row.revision == advance.revision - 1
                && row.done.covers(advance.done)
                && (!purges || (!row.held && row.conflicts == 0 && conflicts == 0))
        });
        let advanced = taken.is_some();
        if let Some(advance) = taken {
            *row = Deletion {
                done: row.done,
                ..advance
            };
        }
        let after = row.clone();
        let settled = Settled {
            done: row.done,
            revision: row.revision,
            advanced,
            conflicts,
        };
        self.facts.push(Fact::Settled {
            epoch,
            receipts,
            legs,
            after,
        });
        Ok(settled)
    }
}
