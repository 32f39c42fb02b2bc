use std::collections::BTreeSet;

use uuid::Uuid;

use super::*;
use crate::deletion::{Event, State};
use crate::fixture::*;
use crate::leg::Verb;
use crate::policy::{Channel, Factor};
use crate::receipt::{Evidence, Outcome, Receipt};
use crate::time::Time;

/// A history that is told step by step, by the rules or against them.
struct Story {
    plan: Plan,
    facts: Vec<Fact>,
    row: Deletion,
}

fn answer(verb: Verb) -> Evidence {
    match verb {
        Verb::Seal => Evidence::of(Outcome::Sealed),
        Verb::Unseal => Evidence::of(Outcome::Unsealed),
        Verb::Erase => counted(Outcome::Erased, 2),
        Verb::Probe => Evidence::of(Outcome::Clean),
        Verb::Expire => counted(Outcome::Erased, 1),
    }
}

impl Story {
    fn opened() -> Self {
        let plan = cn();
        let row = opened(&plan);
        let mut story = Self {
            plan,
            facts: vec![Fact::Joined { epoch: 1 }],
            row,
        };
        story.facts.push(Fact::Opened(story.row.clone()));
        story.answer(7, Ok(story.row.id));
        story
    }

    fn sealed() -> Self {
        let mut story = Self::opened();
        story.turn(&Event::FactorVerified(Factor::SmsCode), start());
        story.turn(&Event::Eligible, start());
        story.send(Verb::Seal, "wearables");
        story.settle(story.plan.seals());
        story
    }

    fn erasing() -> Self {
        let mut story = Self::sealed();
        story.turn(&Event::Eligible, over());
        story
    }

    fn verifying() -> Self {
        let mut story = Self::erasing();
        while matches!(story.row.state, State::Erasing(_)) {
            story.settle(story.row.owes(&story.plan));
        }
        story
    }

    fn purged() -> Self {
        let mut story = Self::verifying();
        story.settle(story.plan.probes());
        story.facts.push(Fact::Announced {
            deletion: story.row.id,
            state: 5,
        });
        story
    }

    /// Purged, and the store keeps something.
    fn keeping() -> Self {
        let mut story = Self::verifying();
        let store = leg(&story.plan, Verb::Probe, "store");
        let legs = story.plan.probes();
        let mut receipts = story.receipts(legs);
        let evidence = Evidence {
            retained: vec![crate::receipt::Retention {
                class: "transactions".to_owned(),
                legal_basis: "E-Commerce Law of the PRC, Art. 31".to_owned(),
                count: 1,
                until: over() + DAY,
                next: None,
            }],
            ..answer(Verb::Probe)
        };
        for kept in receipts.iter_mut().filter(|kept| kept.receipt.leg == store) {
            kept.receipt = Receipt::new(store, 1, evidence.clone());
        }
        let retains =
            crate::obligation::keepers(&story.plan, receipts.iter().map(|kept| &kept.receipt));
        story.row = settle(&story.row.keeping(retains), legs, &story.plan, over()).unwrap();
        story.write(1, receipts, legs);
        story
    }

    fn revoked() -> Self {
        let mut story = Self::sealed();
        story.turn(&Event::Revoke, over());
        story
    }

    /// Turns the row into whatever `change` makes of it.
    fn force(&mut self, epoch: Option<i64>, change: impl FnOnce(&mut Deletion)) {
        let before = Box::new(self.row.clone());
        self.row.revision += 1;
        change(&mut self.row);
        let after = self.row.clone();
        self.facts.push(Fact::Turned {
            epoch,
            before,
            after,
        });
    }

    fn turn(&mut self, event: &Event, at: Time) {
        let next = self.row.step(event, &self.plan, at).unwrap();
        self.force(Some(1), |row| *row = next);
    }

    fn receipts(&self, legs: Mask) -> Vec<Kept> {
        let kept = |leg| {
            let verb = self.plan.leg(leg).unwrap().verb;
            let round = command(&self.row, verb, "cloud").round;
            Kept {
                receipt: Receipt::new(leg, round, answer(verb)),
                settled_at: over(),
            }
        };
        legs.iter().map(kept).collect()
    }

    fn settle(&mut self, legs: Mask) {
        self.row = self
            .row
            .step(&Event::Settled(legs), &self.plan, over())
            .unwrap();
        self.write(1, self.receipts(legs), legs);
    }

    fn write(&mut self, epoch: i64, receipts: Vec<Kept>, legs: Mask) {
        let after = self.row.clone();
        self.facts.push(Fact::Settled {
            epoch,
            receipts,
            legs,
            after,
        });
    }

    fn answer(&mut self, digest: u8, answer: Result<DeletionId, Reason>) {
        let (request, digest) = (self.row.request, [digest; 16]);
        self.facts.push(Fact::Answered {
            request,
            digest,
            answer,
        });
    }

    fn send(&mut self, verb: Verb, name: &str) {
        let (name, account) = (command(&self.row, verb, name), self.row.account.clone());
        self.facts.push(Fact::CommandSent { name, account });
    }

    fn accept(&mut self, sender: &str, evidence: Evidence) {
        let name = command(&self.row, Verb::Erase, "wearables");
        let leg = leg(&self.plan, Verb::Erase, "wearables");
        let fingerprint = Receipt::new(leg, 1, evidence).fingerprint;
        let (sender, account) = (who(sender), self.row.account.clone());
        self.facts.push(Fact::ReportAccepted {
            sender,
            name,
            account,
            fingerprint,
        });
    }

    fn act(&mut self, verb: Verb, name: &str, binding: Option<u64>) {
        let account = self.row.account.clone();
        let binding = binding.map(|epoch| ("watch-1".parse().unwrap(), epoch));
        let name = command(&self.row, verb, name);
        let participant = name.participant.clone();
        self.facts.push(Fact::Acted {
            participant,
            name,
            account,
            binding,
            changed: true,
        });
    }

    fn bind(&mut self, holder: &str, epoch: u64) {
        let device = "watch-1".parse().unwrap();
        let (participant, account) = (who("wearables"), account(holder));
        self.facts.push(Fact::Bound {
            participant,
            account,
            device,
            epoch,
        });
    }

    fn check(&self) -> Result<(), Vec<Violation>> {
        check(|version| (version == 1).then_some(&self.plan), &self.facts)
    }
}

type Break = (Invariant, &'static str, fn() -> Story);

/// Histories that may never be seen.
const BREAKS: &[Break] = &[
    (Invariant::S1, "purged while a leg is owed", || {
        let mut story = Story::verifying();
        let begun = story.row.state.begun().unwrap();
        story.force(Some(1), |row| {
            row.state = State::Purged { begun, at: over() };
            (row.closed_at, row.attention_at) = (Some(over()), None);
        });
        story
    }),
    (Invariant::S1, "told done when the wait ended", || {
        let mut story = Story::erasing();
        story.facts.push(Fact::Announced {
            deletion: story.row.id,
            state: 5,
        });
        story
    }),
    (
        Invariant::S1,
        "purged on the receipts of the round before",
        || {
            let mut story = Story::verifying();
            let cloud = leg(&story.plan, Verb::Erase, "cloud");
            story.turn(&Event::Residue(cloud), over());
            story.row = story
                .row
                .step(&Event::Settled(Mask::of(cloud)), &story.plan, over())
                .unwrap();
            story.write(1, vec![], Mask::of(cloud));
            story.settle(story.plan.probes());
            story
        },
    ),
    (Invariant::S2, "a leg waived by nobody", || {
        let mut story = Story::verifying();
        story.row = story
            .row
            .step(&Event::Settled(story.plan.probes()), &story.plan, over())
            .unwrap();
        let skipped = story.plan.probes().iter().skip(1).collect();
        story.write(1, story.receipts(skipped), story.plan.probes());
        story
    }),
    (Invariant::S3, "two live deletions of one account", || {
        let mut story = Story::opened();
        let twin = request(2, "alice", Channel::Phone);
        story.facts.push(Fact::Opened(
            Deletion::open(twin, &story.plan, start()).unwrap(),
        ));
        story
    }),
    (Invariant::S4, "a revoked deletion that is denied", || {
        let mut story = Story::revoked();
        story.force(None, |row| {
            row.state = State::Denied {
                at: over(),
                sealed: true,
            }
        });
        story
    }),
    (Invariant::S4, "a purged deletion that erases again", || {
        let mut story = Story::purged();
        let begun = story.row.state.begun().unwrap();
        story.force(Some(1), |row| {
            row.state = State::Erasing(begun);
            (row.closed_at, row.attention_at) = (None, Some(over()));
        });
        story
    }),
    (
        Invariant::S5,
        "an erase command during the cooling-off period",
        || {
            let mut story = Story::sealed();
            story.send(Verb::Erase, "wearables");
            story
        },
    ),
    (Invariant::S5, "a phone wiped before its watch", || {
        let mut story = Story::erasing();
        story.send(Verb::Erase, "phones");
        story
    }),
    (Invariant::S5, "something erased after a revoke", || {
        let mut story = Story::revoked();
        story.act(Verb::Erase, "cloud", None);
        story
    }),
    (
        Invariant::S5,
        "an erasing leg settled before erasing began",
        || {
            let mut story = Story::sealed();
            let legs = story.plan.open_stage(Mask::EMPTY);
            story.row.done = story.row.done | legs;
            story.write(1, story.receipts(legs), legs);
            story
        },
    ),
    (
        Invariant::S5,
        "a way back over the point of no return",
        || {
            let mut story = Story::erasing();
            story.force(None, |row| {
                row.state = State::CoolingOff { ends_at: over() }
            });
            story
        },
    ),
    (Invariant::S6, "a need that shrank", || {
        let mut story = Story::erasing();
        story.force(Some(1), |row| {
            row.need = row.done | Mask::of(row.need.iter().next().unwrap())
        });
        story
    }),
    (Invariant::S6, "a policy changed on the way", || {
        let mut story = Story::opened();
        story.force(None, |row| row.policy_version = 2);
        story
    }),
    (Invariant::S6, "a device bound to a sealed account", || {
        let mut story = Story::sealed();
        story.bind("alice", 1);
        story
    }),
    (Invariant::S6, "begun before everyone had sealed", || {
        let mut story = Story::opened();
        story.turn(&Event::FactorVerified(Factor::SmsCode), start());
        story.turn(&Event::Eligible, start());
        let need = story.plan.required();
        let begun = erasing(&story.plan).state;
        story.force(Some(1), |row| (row.state, row.need) = (begun, need));
        story
    }),
    (Invariant::S6, "a live deletion that is unsealed", || {
        let mut story = Story::sealed();
        story.send(Verb::Unseal, "cloud");
        story
    }),
    (
        Invariant::S7,
        "a leg acknowledged by another participant",
        || {
            let mut story = Story::verifying();
            story.accept("cloud", answer(Verb::Erase));
            story
        },
    ),
    (
        Invariant::S7,
        "a command executed by another participant",
        || {
            let mut story = Story::erasing();
            let (name, account) = (
                command(&story.row, Verb::Erase, "wearables"),
                story.row.account.clone(),
            );
            let participant = who("phones");
            story.facts.push(Fact::Acted {
                participant,
                name,
                account,
                binding: None,
                changed: true,
            });
            story
        },
    ),
    (
        Invariant::S8,
        "a command that names another account",
        || {
            let mut story = Story::erasing();
            let name = command(&story.row, Verb::Erase, "wearables");
            story.facts.push(Fact::CommandSent {
                name,
                account: account("bob"),
            });
            story
        },
    ),
    (
        Invariant::S8,
        "a queued wipe that hit the re-enrolled device",
        || {
            let mut story = Story::opened();
            story.bind("alice", 1);
            story
                .facts
                .extend(Story::erasing().facts.into_iter().skip(3));
            story.row = Story::erasing().row;
            story.bind("bob", 2);
            story.act(Verb::Erase, "wearables", Some(1));
            story
        },
    ),
    (Invariant::S9, "a binding epoch used twice", || {
        let mut story = Story::opened();
        story.bind("bob", 3);
        story.bind("carol", 3);
        story
    }),
    (Invariant::S9, "a fencing epoch used twice", || {
        let mut story = Story::opened();
        story.facts.push(Fact::Joined { epoch: 1 });
        story
    }),
    (Invariant::S9, "a deletion id used twice", || {
        let mut story = Story::purged();
        story.facts.push(Fact::Opened(opened(&story.plan)));
        story
    }),
    (
        Invariant::S9,
        "a command of a round that has not begun",
        || {
            let mut story = Story::erasing();
            story.row.round = 2;
            story.send(Verb::Erase, "wearables");
            story
        },
    ),
    (Invariant::S10, "a command that had an effect twice", || {
        let mut story = Story::erasing();
        story.act(Verb::Erase, "cloud", None);
        story.act(Verb::Erase, "cloud", None);
        story
    }),
    (Invariant::S10, "a late seal that undid an unseal", || {
        let mut story = Story::revoked();
        story.act(Verb::Unseal, "cloud", None);
        story.act(Verb::Seal, "cloud", None);
        story
    }),
    (Invariant::S10, "two receipts of one command", || {
        let mut story = Story::verifying();
        let first = Mask::of(leg(&story.plan, Verb::Erase, "wearables"));
        story.write(1, story.receipts(first), Mask::EMPTY);
        story
    }),
    (Invariant::S11, "an accepted request that was lost", || {
        let mut story = Story::opened();
        story.facts.push(Fact::Lost(story.row.id));
        story
    }),
    (Invariant::S11, "a promise before it was durable", || {
        let mut story = Story::opened();
        story.facts.remove(1);
        story
    }),
    (
        Invariant::S11,
        "an acknowledged report that was not kept",
        || {
            let mut story = Story::erasing();
            story.accept("wearables", answer(Verb::Erase));
            story
        },
    ),
    (Invariant::S11, "a settled leg that was lost", || {
        let mut story = Story::erasing();
        let first = story.row.owes(&story.plan);
        story.write(1, story.receipts(first), first);
        story
    }),
    (
        Invariant::S11,
        "a live deletion that nobody looks after",
        || {
            let mut story = Story::erasing();
            story.force(Some(1), |row| row.attention_at = None);
            story
        },
    ),
    (
        Invariant::S12,
        "another deletion for the same request",
        || {
            let mut story = Story::opened();
            story.answer(7, Ok(DeletionId(Uuid::from_u128(2))));
            story
        },
    ),
    (
        Invariant::S12,
        "another body that gets the answer of the first",
        || {
            let mut story = Story::opened();
            story.answer(8, Ok(story.row.id));
            story
        },
    ),
    (Invariant::S12, "a repeat that is refused", || {
        let mut story = Story::opened();
        story.answer(7, Err(Reason::AccountHasLiveDeletion));
        story
    }),
    (
        Invariant::S13,
        "a write under a lease that was taken over",
        || {
            let mut story = Story::sealed();
            story
                .facts
                .extend([Fact::Joined { epoch: 2 }, Fact::Fenced { epoch: 1 }]);
            story.turn(&Event::Eligible, over());
            story
        },
    ),
    (
        Invariant::S13,
        "receipts under a lease that never was",
        || {
            let mut story = Story::verifying();
            story.write(9, vec![], Mask::EMPTY);
            story
        },
    ),
    (
        Invariant::S13,
        "a decision on a revision that was gone",
        || {
            let mut story = Story::sealed();
            let stale = story.row.clone();
            story.turn(&Event::Hold, over());
            story.row = stale;
            story.turn(&Event::Revoke, over());
            story
        },
    ),
    (Invariant::S14, "begun before the wait was over", || {
        let mut story = Story::sealed();
        let next = story
            .row
            .step(&Event::Eligible, &story.plan, over())
            .unwrap();
        story.force(Some(1), |row| {
            *row = next;
            let begun = crate::deletion::Begun {
                cooling_off_ended_at: start(),
                at: start(),
            };
            row.state = State::Erasing(begun);
        });
        story
    }),
    (Invariant::S14, "revoked before it was requested", || {
        let mut story = Story::opened();
        let at = Time::from_micros(0);
        story.force(None, |row| {
            row.state = State::Revoked { at, sealed: false };
            (row.closed_at, row.attention_at) = (Some(at), None);
        });
        story
    }),
    (Invariant::S15, "a deadline that moved", || {
        let mut story = Story::erasing();
        story.force(Some(1), |row| row.deadline = row.deadline + DAY);
        story
    }),
    (Invariant::S16, "a leg done by a timeout", || {
        let mut story = Story::erasing();
        let legs = story.row.owes(&story.plan);
        story.force(Some(1), |row| row.done = row.done | legs);
        story
    }),
    (Invariant::S16, "residue counted as clean", || {
        let mut story = Story::verifying();
        let probe = Mask::of(leg(&story.plan, Verb::Probe, "cloud"));
        let mut receipts = story.receipts(probe);
        receipts[0].receipt =
            Receipt::new(receipts[0].receipt.leg, 1, counted(Outcome::Residue, 1));
        story.row.done = story.row.done | probe;
        story.write(1, receipts, probe);
        story
    }),
    (
        Invariant::S16,
        "an outcome that answers another verb",
        || {
            let mut story = Story::erasing();
            let legs = story.row.owes(&story.plan);
            let mut receipts = story.receipts(legs);
            receipts[0].receipt = Receipt::new(receipts[0].receipt.leg, 1, answer(Verb::Seal));
            story.row.done = story.row.done | legs;
            story.write(1, receipts, legs);
            story
        },
    ),
    (Invariant::S16, "closed while a seal stands", || {
        let mut story = Story::revoked();
        story.force(Some(1), |row| {
            (row.closed_at, row.attention_at) = (Some(over()), None)
        });
        story
    }),
    (Invariant::S17, "an empty plan", || {
        let mut story = Story::erasing();
        story.force(Some(1), |row| row.need = Mask::EMPTY);
        story
    }),
    (Invariant::S17, "an empty answer counted as erased", || {
        let mut story = Story::erasing();
        let legs = story.row.owes(&story.plan);
        let mut receipts = story.receipts(legs);
        receipts[0].receipt =
            Receipt::new(receipts[0].receipt.leg, 1, Evidence::of(Outcome::Erased));
        story.row.done = story.row.done | legs;
        story.write(1, receipts, legs);
        story
    }),
    (Invariant::S17, "a request that went on unverified", || {
        let mut story = Story::opened();
        story.force(None, |row| {
            row.state = State::CoolingOff { ends_at: over() }
        });
        story
    }),
    (
        Invariant::S17,
        "an unverified account that is sealed",
        || {
            let mut story = Story::opened();
            story.send(Verb::Seal, "cloud");
            story
        },
    ),
    (Invariant::S22, "purged while held", || {
        let mut story = Story::verifying();
        story.force(None, |row| row.held = true);
        story.row.held = false;
        story.settle(story.plan.probes());
        story
    }),
    (Invariant::S22, "begun while held", || {
        let mut story = Story::sealed();
        story.turn(&Event::Hold, over());
        let free = Deletion {
            held: false,
            ..story.row.clone()
        };
        let next = free.step(&Event::Eligible, &story.plan, over()).unwrap();
        story.force(Some(1), |row| *row = Deletion { held: true, ..next });
        story
    }),
    (Invariant::S23, "purged on contradicted evidence", || {
        let mut story = Story::verifying();
        story.turn(&Event::Contradicted, over());
        story.row.conflicts = 0;
        story.settle(story.plan.probes());
        story
    }),
    (
        Invariant::S23,
        "a second, other answer that was accepted",
        || {
            let mut story = Story::verifying();
            story.accept("wearables", counted(Outcome::Erased, 3));
            story
        },
    ),
    (Invariant::S24, "asked to erase what has not ended", || {
        let mut story = Story::keeping();
        story.turn(&kept_until(over() + DAY), over());
        story.send(Verb::Expire, "store");
        story
    }),
    (Invariant::S24, "closed while something is kept", || {
        let mut story = Story::keeping();
        story.force(Some(1), |row| {
            row.attention_at = None;
            row.closed_at = Some(over());
        });
        story
    }),
    (Invariant::S22, "ended while held", || {
        let mut story = Story::keeping();
        story.turn(&kept_until(over() + DAY), over());
        let store = Mask::of(leg(&story.plan, Verb::Expire, "store"));
        let next = story.row.step(&ended(store), &story.plan, over() + DAY);
        story.turn(&Event::Hold, over());
        let next = Deletion {
            held: true,
            revision: story.row.revision + 1,
            ..next.unwrap()
        };
        story.force(Some(1), |row| *row = next);
        story
    }),
    (Invariant::S24, "asked for before its day", || {
        let mut story = Story::keeping();
        story.turn(&kept_until(over() + DAY), over());
        let store = Mask::of(leg(&story.plan, Verb::Expire, "store"));
        let late = story.row.step(&ended(store), &story.plan, over() + DAY);
        let mut next = late.unwrap();
        let asked = next.rare.custody.as_mut().unwrap().asked.values_mut();
        asked.for_each(|asked| asked.by = over());
        story.force(Some(1), |row| *row = next);
        story
    }),
    (Invariant::S24, "kept and owed by nobody", || {
        let mut story = Story::keeping();
        story.force(Some(1), |row| row.retains = Mask::EMPTY);
        story
    }),
    (Invariant::S4, "opened again after the end", || {
        let mut story = Story::purged();
        story.force(Some(1), |row| {
            row.attention_at = Some(over());
            row.closed_at = None;
        });
        story
    }),
];

fn ended(legs: Mask) -> Event {
    Event::Ended { legs, next: None }
}

fn kept_until(ends: Time) -> Event {
    Event::Kept {
        owing: Mask::of(leg(&cn(), Verb::Expire, "store")),
        next: Some(ends),
    }
}

#[test]
fn what_law_kept_may_be_erased_after_the_end() {
    let mut story = Story::keeping();
    story.turn(&kept_until(over() + DAY), over());
    let store = Mask::of(leg(&story.plan, Verb::Expire, "store"));
    story.turn(&ended(store), over() + DAY);
    story.send(Verb::Expire, "store");
    story.act(Verb::Expire, "store", None);
    story.settle(store);
    let gone = Event::Kept {
        owing: Mask::EMPTY,
        next: None,
    };
    story.turn(&gone, over() + DAY);
    assert_eq!(story.row.closed_at, Some(over() + DAY));
    assert_eq!(story.check(), Ok(()));
}

#[test]
fn every_history_that_may_never_be_seen_is_caught() {
    for (invariant, what, story) in BREAKS {
        let violations = story().check().expect_err(what);
        let caught = violations
            .iter()
            .any(|violation| violation.invariant == *invariant);
        assert!(caught, "{what}: {violations:?}");
    }
}

#[test]
fn every_invariant_has_a_history_that_breaks_it() {
    let broken: BTreeSet<_> = BREAKS.iter().map(|(invariant, ..)| *invariant).collect();
    assert_eq!(broken, BTreeSet::from(Invariant::ALL));
    let sentences: BTreeSet<_> = Invariant::ALL.map(Invariant::sentence).into();
    assert_eq!(sentences.len(), Invariant::ALL.len());
}

#[test]
fn a_history_by_the_rules_is_clean() {
    for (name, story) in [
        ("opened", Story::opened()),
        ("sealed", Story::sealed()),
        ("verifying", Story::verifying()),
        ("purged", Story::purged()),
        ("revoked", Story::revoked()),
    ] {
        assert_eq!(story.check(), Ok(()), "{name}");
    }
}

#[test]
fn repeats_takeovers_and_second_rounds_are_clean() {
    let mut story = Story::verifying();
    story.accept("wearables", answer(Verb::Erase));
    story.accept("wearables", answer(Verb::Erase));
    story.answer(7, Ok(story.row.id));
    story.answer(8, Err(Reason::RequestIdReused));
    story.act(Verb::Seal, "cloud", None);
    story.act(Verb::Erase, "cloud", None);
    let cloud = leg(&story.plan, Verb::Erase, "cloud");
    story.turn(&Event::Residue(cloud), over());
    story.send(Verb::Erase, "cloud");
    story.act(Verb::Erase, "cloud", None);
    story.settle(Mask::of(cloud));
    story.settle(story.plan.probes());
    story
        .facts
        .extend([Fact::Joined { epoch: 2 }, Fact::Fenced { epoch: 1 }]);
    assert_eq!(story.row.state.word(), "PURGED");
    assert_eq!(story.check(), Ok(()));
}

#[test]
fn a_release_and_a_resolution_may_move_in_the_same_turn() {
    for (stop, go) in [
        (Event::Hold, Event::Release),
        (Event::Contradicted, Event::Resolved),
    ] {
        let mut story = Story::verifying();
        story.turn(&stop, over());
        story.settle(story.plan.probes());
        story.turn(&go, over());
        assert_eq!(story.row.state.word(), "PURGED");
        assert_eq!(story.check(), Ok(()));
    }
}

#[test]
fn an_account_may_be_deleted_again_after_a_revoke() {
    let mut story = Story::revoked();
    let again = request(2, "alice", Channel::Phone);
    story.facts.push(Fact::Opened(
        Deletion::open(again, &story.plan, over()).unwrap(),
    ));
    assert_eq!(story.check(), Ok(()));
}

#[test]
fn a_violation_says_where_and_what() {
    let violations = Story::erasing().check();
    assert_eq!(violations, Ok(()));
    let mut story = Story::erasing();
    story.facts.push(Fact::Lost(story.row.id));
    let violations = story.check().unwrap_err();
    assert_eq!(violations[0].at, story.facts.len() - 1);
    assert!(violations[0].to_string().starts_with("S11 at "));
}
