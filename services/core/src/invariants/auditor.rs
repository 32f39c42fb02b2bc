//! Judges a history fact by fact.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fact, Invariant, Violation, check_ledger};
use crate::deletion::{Deletion, State};
use crate::id::{AccountId, CommandName, DeletionId, DeviceId, ParticipantId, RequestId};
use crate::leg::{LegIndex, Mask, Verb};
use crate::plan::Plan;
use crate::receipt::Kept;
use crate::refusal::Reason;

/// What is known of one deletion.
struct Known {
    row: Deletion,
    receipts: Vec<Kept>,
    /// The oldest round whose receipt settles a leg that was cleared.
    fresh_from: BTreeMap<LegIndex, u16>,
    states: BTreeSet<i16>,
}

/// A command executed by somebody on something.
type Deed = (ParticipantId, String, Option<DeviceId>);

/// Judges a history as it grows.
pub struct Auditor<F> {
    plan_of: F,
    at: usize,
    deletions: BTreeMap<DeletionId, Known>,
    live: BTreeMap<AccountId, DeletionId>,
    answers: BTreeMap<RequestId, ([u8; 16], DeletionId)>,
    epoch_newest: i64,
    epochs: BTreeSet<i64>,
    deeds: BTreeSet<Deed>,
    bindings: BTreeMap<DeviceId, (AccountId, u64)>,
    violations: Vec<Violation>,
}

impl<'a, F: Fn(u32) -> Option<&'a Plan>> Auditor<F> {
    /// An auditor of an empty history. `plan_of` finds the plan of a policy version.
    pub fn new(plan_of: F) -> Self {
        Self {
            plan_of,
            at: 0,
            deletions: BTreeMap::new(),
            live: BTreeMap::new(),
            answers: BTreeMap::new(),
            epoch_newest: 0,
            epochs: BTreeSet::new(),
            deeds: BTreeSet::new(),
            bindings: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    /// What was seen so far that may never be seen.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// What was seen that may never be seen.
    pub fn into_violations(self) -> Vec<Violation> {
        self.violations
    }

    /// Takes the next fact.
    pub fn observe(&mut self, fact: &Fact) {
        match fact {
            Fact::Opened(row) => self.opened(row),
            Fact::Answered {
                request,
                digest,
                answer,
            } => self.answered(*request, *digest, *answer),
            Fact::Joined { epoch } => {
                self.held_to(*epoch > self.epoch_newest, Invariant::S9, || {
                    format!("epoch {epoch} was given before")
                });
                self.epoch_newest = self.epoch_newest.max(*epoch);
                self.epochs.insert(*epoch);
            }
            Fact::Fenced { epoch } => {
                self.epochs.remove(epoch);
            }
            Fact::Turned {
                epoch,
                before,
                after,
            } => {
                if let Some(epoch) = epoch {
                    self.fenced_write(*epoch, after);
                }
                self.turned(before, after);
            }
            Fact::Settled {
                epoch,
                receipts,
                legs,
                after,
            } => {
                self.fenced_write(*epoch, after);
                self.settled(receipts, *legs, after);
            }
            Fact::CommandSent { name, account } => self.sent(name, account),
            Fact::ReportAccepted {
                sender,
                name,
                account,
                fingerprint,
            } => {
                self.accepted(sender, name, account, *fingerprint);
            }
            // A refusal promises nothing.
            Fact::ReportRefused { .. } => {}
            Fact::Acted {
                participant,
                name,
                account,
                binding,
                changed,
            } => {
                self.acted(participant, name, account, binding.as_ref(), *changed);
            }
            Fact::Bound {
                participant,
                account,
                device,
                epoch,
            } => {
                self.bound(participant, account, device, *epoch);
            }
            Fact::Announced { deletion, state } => {
                let known = self
                    .deletions
                    .get(deletion)
                    .is_some_and(|known| known.states.contains(state));
                self.held_to(known, Invariant::S1, || {
                    format!("{deletion}: state {state} was announced and never was")
                });
            }
            Fact::Lost(deletion) => {
                let promised = self.deletions.contains_key(deletion)
                    || self
                        .answers
                        .values()
                        .any(|(_, answered)| answered == deletion);
                self.held_to(!promised, Invariant::S11, || {
                    format!("{deletion} was accepted and is lost")
                });
            }
        }
        self.at += 1;
    }

    fn held_to(&mut self, holds: bool, invariant: Invariant, what: impl FnOnce() -> String) {
        if !holds {
            let (at, what) = (self.at, what());
            self.violations.push(Violation {
                invariant,
                at,
                what,
            });
        }
    }

    fn plan(&self, row: &Deletion) -> Option<&'a Plan> {
        (self.plan_of)(row.policy_version)
    }

    fn opened(&mut self, row: &Deletion) {
        let id = row.id;
        self.held_to(!self.deletions.contains_key(&id), Invariant::S9, || {
            format!("{id} was there before")
        });
        let live = self.live.get(&row.account).copied();
        self.held_to(live.is_none(), Invariant::S3, || {
            format!("{id}: the account has a live deletion")
        });
        let fresh = row.done.is_empty() && row.revision == 1;
        self.held_to(fresh, Invariant::S16, || {
            format!("{id} was opened with something done")
        });
        let known = Known {
            row: row.clone(),
            receipts: Vec::new(),
            fresh_from: BTreeMap::new(),
            states: BTreeSet::new(),
        };
        self.deletions.insert(id, known);
        self.stored(row);
    }

    fn answered(
        &mut self,
        request: RequestId,
        digest: [u8; 16],
        answer: Result<DeletionId, Reason>,
    ) {
        let before = self.answers.get(&request).copied();
        match (before, answer) {
            (None, Ok(id)) => {
                self.held_to(self.deletions.contains_key(&id), Invariant::S11, || {
                    format!("{id} was promised and isn't durable")
                });
                self.answers.insert(request, (digest, id));
            }
            (Some((body, id)), Ok(again)) => {
                self.held_to(id == again, Invariant::S12, || {
                    format!("{again} answers the request of {id}")
                });
                self.held_to(body == digest, Invariant::S12, || {
                    format!("{id} answers another request of the same id")
                });
            }
            (Some((body, id)), Err(_)) => {
                self.held_to(body != digest, Invariant::S12, || {
                    format!("the request of {id} is refused when repeated")
                });
            }
            (None, Err(_)) => {}
        }
    }

    fn fenced_write(&mut self, epoch: i64, row: &Deletion) {
        let stands = self.epochs.contains(&epoch);
        self.held_to(stands, Invariant::S13, || {
            format!(
                "{} was written under epoch {epoch}, which doesn't stand",
                row.id
            )
        });
    }

    fn turned(&mut self, before: &Deletion, after: &Deletion) {
        let id = after.id;
        let Some(known) = self.deletions.get_mut(&id) else {
            self.held_to(false, Invariant::S9, || format!("{id} was never opened"));
            return;
        };
        let current = known.row == *before;
        for leg in (before.done & !after.done).iter() {
            known.fresh_from.insert(leg, after.round);
        }
        let shrank = after.done & !before.done;
        self.held_to(current, Invariant::S13, || {
            format!("{id} was changed by somebody who had not seen it as it stood")
        });
        self.held_to(shrank.is_empty(), Invariant::S16, || {
            format!("{id}: legs are done without a receipt")
        });
        self.moved(before, after, after);
        self.stored(after);
    }

    fn settled(&mut self, receipts: &[Kept], legs: Mask, after: &Deletion) {
        let id = after.id;
        let Some(known) = self.deletions.get_mut(&id) else {
            self.held_to(false, Invariant::S9, || format!("{id} was never opened"));
            return;
        };
        let before = known.row.clone();
        known.receipts.extend(receipts.iter().cloned());
        let behind: Mask = known.receipts.iter().map(|kept| kept.receipt.leg).collect();
        let merged = before.done | legs;
        self.held_to(behind.covers(legs), Invariant::S16, || {
            format!("{id}: legs are done without a receipt")
        });
        self.held_to(after.done == merged, Invariant::S11, || {
            format!("{id}: a settled leg is lost")
        });
        // Receipts release no hold and resolve nothing.
        self.moved(&before, after, &before);
        self.stored(after);
    }

    /// What one change of a deletion may be. `free` must be neither held nor contradicted if it begins or purges: the row
    /// after a turn, because a release may move in the same turn.
    fn moved(&mut self, before: &Deletion, after: &Deletion, free: &Deletion) {
        let id = after.id;
        let same = before.state == after.state;
        let fixed = (
            &before.account,
            before.request,
            before.request_digest,
            before.channel,
            before.requested_at,
        ) == (
            &after.account,
            after.request,
            after.request_digest,
            after.channel,
            after.requested_at,
        );
        self.held_to(fixed, Invariant::S9, || {
            format!("{id} became another deletion")
        });
        self.held_to(
            before.policy_version == after.policy_version,
            Invariant::S6,
            || format!("{id} changed its policy"),
        );
        let recounted = self
            .plan(before)
            .is_some_and(|plan| before.due_again(plan) && !after.due_again(plan));
        // Once, to where the policy puts it, and never nearer.
        let extended = before.rare.extended.is_none()
            && after.rare.extended.is_some()
            && self.plan(after).is_some_and(|plan| {
                let due = after.due(plan).at.max(before.deadline);
                plan.policy().extension.is_some() && after.deadline == due
            });
        self.held_to(
            before.deadline == after.deadline || recounted || extended,
            Invariant::S15,
            || format!("{id} changed its deadline"),
        );
        let kept = after.rare.overridden.starts_with(&before.rare.overridden);
        self.held_to(kept, Invariant::S11, || {
            format!("{id} forgot what the desk had decided")
        });
        self.held_to(
            same || after.revision != before.revision,
            Invariant::S13,
            || format!("{id} moved under one revision"),
        );
        self.held_to(after.round >= before.round, Invariant::S9, || {
            format!("{id} went back to an earlier round")
        });
        // A round of expiries begins where something has ended, and none before.
        let expires = after.round == before.round + 1
            && !after.expiring.is_empty()
            && matches!(before.state, State::Purged { .. });
        let kept = !before.state.terminal()
            || (same && before.need == after.need && (before.round == after.round || expires));
        self.held_to(kept, Invariant::S4, || {
            format!("{id} had ended in {}", before.state.word())
        });
        let reopened = before.closed_at.is_some() && after.closed_at != before.closed_at;
        self.held_to(!reopened, Invariant::S4, || format!("{id} was closed"));
        let record = |row: &Deletion| row.rare.custody.clone();
        let looks_at = record(before).map_or(before.attention_at, |custody| custody.next);
        let asked: Vec<_> = record(after)
            .into_iter()
            .flat_map(|custody| custody.asked)
            .filter(|(leg, _)| after.expiring.has(*leg) && !before.expiring.has(*leg))
            .collect();
        let ended = asked
            .iter()
            .all(|(_, asked)| looks_at.is_some_and(|at| at <= asked.by));
        self.held_to(
            !expires || (ended && !asked.is_empty()),
            Invariant::S24,
            || format!("{id}: somebody is asked before anything has ended"),
        );
        self.held_to(!expires || !before.held, Invariant::S22, || {
            format!("{id}: something ends while it is held")
        });
        let back = before.state.begun().is_some() && after.state.begun().is_none();
        self.held_to(!back, Invariant::S5, || {
            format!("{id} came back over the point of no return")
        });
        if let Some(begun) = after.state.begun() {
            match before.state.begun() {
                None => self.began(before, after, free),
                Some(earlier) => {
                    self.held_to(earlier == begun, Invariant::S14, || {
                        format!("{id} began twice")
                    });
                    self.held_to(before.need == after.need, Invariant::S6, || {
                        format!("{id} changed what is needed")
                    });
                }
            }
        }
        if let (State::Purged { .. }, false) = (after.state, same) {
            self.held_to(!free.held, Invariant::S22, || {
                format!("{id} was purged while held")
            });
            self.held_to(free.conflicts == 0, Invariant::S23, || {
                format!("{id} was purged with contradicted evidence")
            });
            self.redone(after);
        }
    }

    fn began(&mut self, before: &Deletion, after: &Deletion, free: &Deletion) {
        let id = after.id;
        let (Some(begun), State::CoolingOff { ends_at }) = (after.state.begun(), before.state)
        else {
            // Without a wait and without seals a verified request begins at once.
            return;
        };
        let waited = begun.cooling_off_ended_at == ends_at && begun.at >= ends_at;
        self.held_to(waited, Invariant::S14, || {
            format!("{id} began before its wait was over")
        });
        self.held_to(!free.held, Invariant::S22, || {
            format!("{id} began while held")
        });
        self.held_to(free.conflicts == 0, Invariant::S23, || {
            format!("{id} began with contradicted evidence")
        });
    }

    /// What was to be done again has been.
    fn redone(&mut self, row: &Deletion) {
        let Some(known) = self.deletions.get(&row.id) else {
            return;
        };
        let stale = known.fresh_from.iter().find(|(leg, from)| {
            let fresh = |kept: &Kept| kept.receipt.leg == **leg && kept.receipt.round >= **from;
            !known.receipts.iter().any(fresh)
        });
        let stale = stale.map(|(leg, _)| leg.place());
        self.held_to(stale.is_none(), Invariant::S1, || {
            format!("{}: leg {stale:?} was to be done again", row.id)
        });
    }

    /// The row as it is now, judged with its receipts.
    fn stored(&mut self, row: &Deletion) {
        let Some(plan) = self.plan(row) else {
            self.held_to(false, Invariant::S6, || format!("{} has no plan", row.id));
            return;
        };
        let Some(known) = self.deletions.get_mut(&row.id) else {
            return;
        };
        known.row = row.clone();
        known.states.insert(row.state.code());
        let found = check_ledger(row, plan, &known.receipts);
        let at = self.at;
        self.violations.extend(
            found
                .into_iter()
                .map(|violation| Violation { at, ..violation }),
        );
        if !row.state.terminal() {
            self.live.insert(row.account.clone(), row.id);
        } else if self.live.get(&row.account) == Some(&row.id) {
            self.live.remove(&row.account);
        }
    }

    /// The deletion that a command belongs to, if the command can be one of it.
    fn owner(
        &mut self,
        name: &CommandName,
        account: &AccountId,
    ) -> Option<(Deletion, &'a Plan, LegIndex)> {
        let Some(row) = self
            .deletions
            .get(&name.deletion)
            .map(|known| known.row.clone())
        else {
            self.held_to(false, Invariant::S9, || {
                format!("{name}: there is no such deletion")
            });
            return None;
        };
        let plan = self.plan(&row)?;
        let leg = plan.find(&name.participant, name.verb);
        self.held_to(leg.is_some(), Invariant::S6, || {
            format!("{name} stands in no plan")
        });
        self.held_to(row.account == *account, Invariant::S8, || {
            format!("{name} speaks of another account")
        });
        let round = name.round >= 1 && name.round <= row.round;
        self.held_to(round, Invariant::S9, || {
            format!("{name}: round {} has not begun", name.round)
        });
        leg.map(|leg| (row, plan, leg))
    }

    fn begun_before(&mut self, name: &CommandName, row: &Deletion) {
        let early = name.verb.destructive() && row.state.begun().is_none();
        self.held_to(!early, Invariant::S5, || {
            format!("{name} in {}", row.state.word())
        });
    }

    fn sent(&mut self, name: &CommandName, account: &AccountId) {
        let Some((row, plan, leg)) = self.owner(name, account) else {
            return;
        };
        self.begun_before(name, &row);
        let open = plan.open_stage(row.done) | row.done;
        let early = name.verb == Verb::Erase && name.round == row.round && !open.has(leg);
        self.held_to(!early, Invariant::S5, || format!("{name} before its stage"));
        let lifting = matches!(row.state, State::Revoked { .. } | State::Denied { .. });
        let opens = name.verb == Verb::Unseal && !lifting;
        self.held_to(!opens, Invariant::S6, || {
            format!("{name} in {}", row.state.word())
        });
        let early = name.verb == Verb::Expire && !row.expiring.has(leg);
        self.held_to(!early, Invariant::S24, || {
            format!("{name} and nothing has ended")
        });
        let hasty = name.verb == Verb::Seal && !row.verified();
        self.held_to(!hasty, Invariant::S17, || {
            format!("{name} before anybody was verified")
        });
    }

    fn accepted(
        &mut self,
        sender: &ParticipantId,
        name: &CommandName,
        account: &AccountId,
        fingerprint: [u8; 16],
    ) {
        self.held_to(*sender == name.participant, Invariant::S7, || {
            format!("{name} was answered by {sender}")
        });
        let Some((row, _, leg)) = self.owner(name, account) else {
            return;
        };
        let kept = self.deletions.get(&row.id).and_then(|known| {
            let mut receipts = known.receipts.iter().map(|kept| &kept.receipt);
            receipts.find(|receipt| receipt.leg == leg && receipt.round == name.round)
        });
        let (known, equal) = (
            kept.is_some(),
            kept.is_none_or(|kept| kept.fingerprint == fingerprint),
        );
        self.held_to(known, Invariant::S11, || {
            format!("{name} was accepted and isn't durable")
        });
        self.held_to(equal, Invariant::S23, || {
            format!("{name} was answered in two ways and accepted")
        });
    }

    fn acted(
        &mut self,
        participant: &ParticipantId,
        name: &CommandName,
        account: &AccountId,
        binding: Option<&(DeviceId, u64)>,
        changed: bool,
    ) {
        self.held_to(*participant == name.participant, Invariant::S7, || {
            format!("{participant} executed {name}")
        });
        if let Some((row, _, _)) = self.owner(name, account) {
            self.begun_before(name, &row);
        }
        if !changed {
            return;
        }
        if let Some((device, epoch)) = binding {
            let current = self
                .bindings
                .get(device)
                .is_none_or(|bound| *bound == (account.clone(), *epoch));
            self.held_to(current, Invariant::S8, || {
                format!("{name} reached {device:?} under a binding that had ended")
            });
        }
        let device = binding.map(|(device, _)| device.clone());
        let deed = |verb: Verb| {
            let name = CommandName {
                verb,
                ..name.clone()
            };
            (participant.clone(), name.to_string(), device.clone())
        };
        let lifted = name.verb == Verb::Seal && self.deeds.contains(&deed(Verb::Unseal));
        self.held_to(!lifted, Invariant::S10, || {
            format!("{name} sealed again what had been unsealed")
        });
        let first = self.deeds.insert(deed(name.verb));
        self.held_to(first, Invariant::S10, || {
            format!("{name} had an effect twice")
        });
    }

    fn bound(
        &mut self,
        participant: &ParticipantId,
        account: &AccountId,
        device: &DeviceId,
        epoch: u64,
    ) {
        let newer = epoch > self.bindings.get(device).map_or(0, |(_, epoch)| *epoch);
        self.held_to(newer, Invariant::S9, || {
            format!("{device:?}: epoch {epoch} was used before")
        });
        self.bindings
            .insert(device.clone(), (account.clone(), epoch));
        let live = self.live.get(account).and_then(|id| self.deletions.get(id));
        let closed = live.is_some_and(|known| {
            let seal = self
                .plan(&known.row)
                .and_then(|plan| plan.find(participant, Verb::Seal));
            seal.is_some_and(|seal| known.row.done.has(seal))
        });
        self.held_to(!closed, Invariant::S6, || {
            format!("{participant} bound {device:?} to a sealed account")
        });
    }
}
