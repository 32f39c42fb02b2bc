//! What must hold for one deletion as it is stored.

use std::collections::BTreeSet;

use super::{Invariant, Violation};
use crate::deletion::{Deletion, State};
use crate::leg::{LegIndex, Mask, Verb};
use crate::notice;
use crate::plan::Plan;
use crate::receipt::{Kept, Outcome, Receipt};

/// Judges one deletion with all its receipts.
pub fn check_ledger(deletion: &Deletion, plan: &Plan, receipts: &[Kept]) -> Vec<Violation> {
    let mut look = Look {
        deletion,
        plan,
        receipts,
        violations: Vec::new(),
    };
    if deletion.policy_version != plan.version() {
        look.see(Invariant::S6, "it is judged by another plan than its own");
        return look.violations;
    }
    look.plan_is_closed();
    look.receipts_are_evidence();
    look.done_has_receipts();
    look.verified_first();
    look.times_ascend();
    look.end_is_an_end();
    look.keeps_what_it_says();
    look.violations
}

struct Look<'a> {
    deletion: &'a Deletion,
    plan: &'a Plan,
    receipts: &'a [Kept],
    violations: Vec<Violation>,
}

impl Look<'_> {
    fn see(&mut self, invariant: Invariant, what: impl Into<String>) {
        let what = format!("{}: {}", self.deletion.id, what.into());
        self.violations.push(Violation {
            invariant,
            at: 0,
            what,
        });
    }

    fn held_to(&mut self, holds: bool, invariant: Invariant, what: &str) {
        if !holds {
            self.see(invariant, what);
        }
    }

    fn plan_is_closed(&mut self) {
        let (deletion, plan) = (self.deletion, self.plan);
        let all: Mask = plan.legs().map(|(leg, _)| leg).collect();
        self.held_to(
            all.covers(deletion.done | deletion.need),
            Invariant::S6,
            "a leg stands in no plan",
        );
        if deletion.state.begun().is_some() {
            self.held_to(
                !deletion.need.is_empty(),
                Invariant::S17,
                "nothing is needed of anybody",
            );
            self.held_to(
                deletion.need == plan.required(),
                Invariant::S6,
                "it needs other legs than its plan says",
            );
            self.held_to(
                deletion.done.covers(plan.seals()),
                Invariant::S6,
                "not everyone had sealed when it began",
            );
        } else {
            self.held_to(
                deletion.need.is_empty(),
                Invariant::S5,
                "legs are needed before the point of no return",
            );
            let early = deletion.done & plan.required();
            self.held_to(
                early.is_empty(),
                Invariant::S5,
                "legs are done before the point of no return",
            );
        }
    }

    fn receipts_are_evidence(&mut self) {
        let mut seen = BTreeSet::new();
        for kept in self.receipts {
            let receipt = &kept.receipt;
            let place = receipt.leg.place();
            let Some(leg) = self.plan.leg(receipt.leg) else {
                self.see(
                    Invariant::S7,
                    format!("a receipt of leg {place}, which nobody owes"),
                );
                continue;
            };
            if !seen.insert((receipt.leg, receipt.round)) {
                self.see(
                    Invariant::S10,
                    format!("two receipts of leg {place} in a round"),
                );
            }
            if receipt.round == 0 || receipt.round > self.deletion.round {
                self.see(
                    Invariant::S9,
                    format!("a receipt of round {}, which never was", receipt.round),
                );
            }
            if leg.verb.destructive() && self.deletion.state.begun().is_none() {
                self.see(
                    Invariant::S5,
                    format!("leg {place} was erased before the point of no return"),
                );
            }
            let Ok(evidence) = receipt.read() else {
                self.see(
                    Invariant::S16,
                    format!("the receipt of leg {place} can't be read"),
                );
                continue;
            };
            let again = Receipt::new(receipt.leg, receipt.round, evidence.clone());
            if again.fingerprint != receipt.fingerprint || !evidence.outcome.answers(leg.verb) {
                self.see(
                    Invariant::S16,
                    format!("the receipt of leg {place} is no answer to it"),
                );
            }
            let counted = matches!(
                evidence.outcome,
                Outcome::Erased | Outcome::Anonymised | Outcome::CryptoShredded | Outcome::Residue
            );
            let retained = evidence.outcome == Outcome::Retained;
            if (counted && evidence.counts.is_empty()) || (retained && evidence.retained.is_empty())
            {
                self.see(
                    Invariant::S17,
                    format!("the receipt of leg {place} is empty"),
                );
            }
        }
    }

    /// The receipt that settles a leg: the newest, and for a probe of the present round and clean.
    fn settled(&self, index: LegIndex) -> bool {
        let verb = self.plan.leg(index).map(|leg| leg.verb);
        // Rounds that follow the purge are of expiries: nobody is probed again.
        let erasing = |kept: &&Kept| !self.plan.expires().has(kept.receipt.leg);
        let last = self.receipts.iter().filter(erasing);
        let round = match self.deletion.state {
            State::Purged { .. } => last.map(|kept| kept.receipt.round).max().unwrap_or(0),
            _ => self.deletion.round,
        };
        let custody = self.deletion.rare.custody.as_ref();
        let asked = custody.and_then(|custody| custody.asked.get(&index));
        let asked = asked.map_or(0, |asked| asked.round);
        self.receipts
            .iter()
            .map(|kept| &kept.receipt)
            .any(|receipt| {
                let fits = match verb {
                    Some(Verb::Probe) => {
                        receipt.round == round
                            && receipt
                                .read()
                                .is_ok_and(|evidence| evidence.outcome != Outcome::Residue)
                    }
                    Some(Verb::Expire) => receipt.round >= asked,
                    _ => true,
                };
                receipt.leg == index && fits
            })
    }

    fn done_has_receipts(&mut self) {
        for leg in self
            .deletion
            .done
            .iter()
            .filter(|leg| !self.settled(*leg))
            .collect::<Vec<_>>()
        {
            self.see(
                Invariant::S16,
                format!("leg {} is done and no receipt says so", leg.place()),
            );
        }
        if matches!(self.deletion.state, State::Purged { .. }) {
            for leg in self.plan.required().iter() {
                if !self.deletion.done.has(leg) {
                    self.see(
                        Invariant::S1,
                        format!("it is purged and leg {} is owed", leg.place()),
                    );
                } else if !self.settled(leg) {
                    self.see(
                        Invariant::S2,
                        format!("it is purged and leg {} has no receipt", leg.place()),
                    );
                }
            }
        }
    }

    fn verified_first(&mut self) {
        let past = matches!(self.deletion.state, State::CoolingOff { .. })
            || self.deletion.state.begun().is_some();
        self.held_to(
            !past || self.deletion.verified(),
            Invariant::S17,
            "it went on without being verified",
        );
    }

    /// Who keeps something is on record, and is asked; who kept something says that it is gone before the end.
    fn keeps_what_it_says(&mut self) {
        let (deletion, plan) = (self.deletion, self.plan);
        let purged = matches!(deletion.state, State::Purged { .. });
        self.held_to(
            plan.expires().covers(deletion.retains | deletion.expiring),
            Invariant::S7,
            "somebody keeps what nobody may",
        );
        self.held_to(
            purged || deletion.expiring.is_empty(),
            Invariant::S5,
            "what law keeps is asked for before the purge",
        );
        let mut last: Vec<(LegIndex, bool)> = Vec::new();
        for kept in self.receipts {
            let leg = plan.leg(kept.receipt.leg);
            let Some(leg) = leg.filter(|leg| leg.verb != Verb::Seal) else {
                continue;
            };
            let Some(expiry) = plan.find(&leg.participant, Verb::Expire) else {
                continue;
            };
            let keeps = kept
                .receipt
                .read()
                .is_ok_and(|evidence| !evidence.retained.is_empty());
            // Only an expiry unsays what was said before it.
            if keeps || leg.verb == Verb::Expire {
                last.retain(|(known, _)| *known != expiry);
                last.push((expiry, keeps));
            }
        }
        let keeping: Mask = last
            .into_iter()
            .filter_map(|(leg, keeps)| keeps.then_some(leg))
            .collect();
        self.held_to(
            deletion.closed_at.is_none() || !purged || keeping.is_empty(),
            Invariant::S24,
            "it is closed and something is kept",
        );
        self.held_to(
            deletion.closed_at.is_some() || deletion.retains.covers(keeping),
            Invariant::S24,
            "something is kept and nobody would ask for it",
        );
    }

    fn times_ascend(&mut self) {
        let deletion = self.deletion;
        let mut times = vec![deletion.requested_at];
        if let Some(begun) = deletion.state.begun() {
            times.extend([begun.cooling_off_ended_at, begun.at]);
        }
        match deletion.state {
            State::Purged { at, .. }
            | State::Revoked { at, .. }
            | State::Denied { at, .. }
            | State::Expired { at } => times.push(at),
            _ => {}
        }
        times.extend(deletion.closed_at);
        self.held_to(
            times.is_sorted(),
            Invariant::S14,
            "its history runs backwards",
        );
        self.held_to(
            deletion.deadline > deletion.requested_at,
            Invariant::S15,
            "its deadline is no deadline",
        );
    }

    fn end_is_an_end(&mut self) {
        let deletion = self.deletion;
        if let State::Purged { .. } = deletion.state {
            let open = deletion.closed_at.is_none();
            self.held_to(
                open || !deletion.held,
                Invariant::S22,
                "it is closed and held",
            );
        }
        if deletion.state.terminal() {
            let open = deletion.closed_at.is_none();
            let now = deletion.closed_at.unwrap_or(deletion.requested_at);
            let untold = !notice::due(deletion, self.plan, now).is_empty();
            self.held_to(
                (open || untold) == deletion.attention_at.is_some(),
                Invariant::S11,
                "it is open and nobody looks after it, or closed and somebody does",
            );
            if let State::Revoked { sealed: true, .. } | State::Denied { sealed: true, .. } =
                deletion.state
            {
                let lifted = deletion.done.covers(self.plan.unseals());
                self.held_to(
                    open || lifted,
                    Invariant::S16,
                    "it is closed and a seal was never lifted",
                );
            }
        } else {
            self.held_to(
                deletion.attention_at.is_some() && deletion.closed_at.is_none(),
                Invariant::S11,
                "it is live and nobody looks after it",
            );
        }
    }
}
