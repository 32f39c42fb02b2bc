//! Random histories: memory, SQLite and PostgreSQL give the same answers, and the same is left at the end.

use std::time::Duration;

use farewell_core::decision::{Decider, Decision};
use farewell_core::rare::Denial;
use farewell_core::{Deletion, DeletionId, Event, Mask, RequestId, Slot, State, Time};
use farewell_ledger::{
    Announcement, Answer, Entry, Error, Fence, Filter, Heard, Ledger, Opening, Owed, Settlement,
    Turn,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::time::timeout;
use uuid::Uuid;

use crate::bed::Bed;
use crate::given::{LONG, account, asked, erased, leg, now, of, quick, sealed, stored};

const HISTORIES: u32 = 40;
const STEPS_MAX: usize = 40;
/// For one history.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
enum Step {
    Open(Vec<Ask>),
    Turn(Vec<Change>, Right),
    Settle(Vec<Report>, Right),
    Remember(usize, u8, usize),
    Join(bool),
    Claim(bool, u8, u8),
    Release(bool, u8, u8),
    Announce(usize),
    Hear(usize, i16, bool),
    Owed(u32),
}

#[derive(Clone, Debug)]
struct Ask {
    request: usize,
    digest: u8,
    account: usize,
    sealed: bool,
    attention: i64,
}

#[derive(Clone, Debug)]
struct Change {
    which: usize,
    stale: bool,
    kind: u8,
    legs: u8,
}

#[derive(Clone, Debug)]
struct Report {
    which: usize,
    legs: Vec<(u8, i64)>,
    /// Beside what follows from the stored deletion: nothing, or as if everything else were done.
    bold: bool,
    /// Of another round than the stored one.
    late: bool,
}

#[derive(Clone, Copy, Debug)]
enum Right {
    Nobody,
    Current,
    Former,
}

fn step() -> impl Strategy<Value = Step> {
    let right = || {
        prop_oneof![
            1 => Just(Right::Nobody),
            6 => Just(Right::Current),
            1 => Just(Right::Former)
        ]
    };
    let ask = (0..9_usize, 0..5_u8, 0..5_usize, any::<bool>(), -3..3_i64).prop_map(
        |(request, digest, account, sealed, attention)| Ask {
            request,
            digest: u8::from(digest == 4),
            account,
            sealed,
            attention,
        },
    );
    let change =
        (0..6_usize, 0..5_u8, 0..7_u8, 0..8_u8).prop_map(|(which, stale, kind, legs)| Change {
            which,
            stale: stale == 4,
            kind,
            legs,
        });
    let legs = vec((0..3_u8, 0..6_i64), 0..4);
    let report =
        (0..6_usize, legs, any::<bool>(), 0..6_u8).prop_map(|(which, legs, bold, late)| Report {
            which,
            legs: legs
                .into_iter()
                .map(|(leg, records)| (leg, i64::from(records == 5)))
                .collect(),
            bold,
            late: late == 5,
        });
    prop_oneof![
        4 => vec(ask, 1..5).prop_map(Step::Open),
        3 => (vec(change, 0..4), right()).prop_map(|(batch, right)| Step::Turn(batch, right)),
        6 => (vec(report, 0..4), right()).prop_map(|(batch, right)| Step::Settle(batch, right)),
        1 => (0..9_usize, 0..3_u8, 0..6_usize).prop_map(|(request, digest, which)| {
            Step::Remember(request, digest, which)
        }),
        1 => any::<bool>().prop_map(Step::Join),
        1 => (any::<bool>(), 0..64_u8, 0..64_u8).prop_map(|(one, from, to)| Step::Claim(one, from, to)),
        1 => (any::<bool>(), 0..64_u8, 0..64_u8).prop_map(|(one, from, to)| Step::Release(one, from, to)),
        1 => (0..6_usize).prop_map(Step::Announce),
        1 => (0..6_usize, 2..7_i16, any::<bool>())
            .prop_map(|(which, kind, refused)| Step::Hear(which, kind, refused)),
        1 => (0..5_u32).prop_map(Step::Owed),
    ]
}

/// What a step is for the ledgers, made from what memory holds: values, the same for all.
enum Call {
    Open(Vec<Opening>),
    Turn(Option<Fence>, Vec<Turn>),
    Settle(Fence, Vec<Settlement>),
    Remember(RequestId, [u8; 16], DeletionId),
    Join(&'static str),
    Claim(Fence, Vec<Slot>),
    Release(Fence, Vec<Slot>),
    Announce(Fence, DeletionId),
    Hear(DeletionId, i16, bool),
    Owed(u32),
}

/// What the caller of a history knows.
struct World {
    requests: Vec<RequestId>,
    opened: Vec<DeletionId>,
    one: Fence,
    two: Fence,
    former: Option<Fence>,
}

impl World {
    fn which(&self, which: usize) -> Option<DeletionId> {
        self.opened.get(which % self.opened.len().max(1)).copied()
    }

    fn fence(&self, right: Right) -> Option<Fence> {
        match right {
            Right::Nobody => None,
            Right::Current => Some(self.one.clone()),
            Right::Former => self.former.clone(),
        }
    }

    async fn call(&self, step: &Step, reference: &dyn Ledger) -> Option<Call> {
        let name = |one: bool| if one { "one" } else { "two" };
        let own = |one: bool| if one { &self.one } else { &self.two }.clone();
        let span = |from: u8, to: u8| (from..to).filter_map(Slot::new).collect();
        Some(match step {
            Step::Open(asks) => {
                let deletions = asks.iter().map(|ask| self.ask(ask)).collect();
                Call::Open(asked(deletions))
            }
            Step::Turn(changes, right) => {
                let mut batch = Vec::new();
                for change in changes {
                    let stored = self.stored(change.which, reference).await?;
                    batch.push(turn(stored, change));
                }
                Call::Turn(self.fence(*right), batch)
            }
            Step::Settle(reports, right) => {
                let mut batch: Vec<Settlement> = Vec::new();
                for report in reports {
                    let stored = self.stored(report.which, reference).await?;
                    if batch.iter().all(|other| other.deletion != stored.id) {
                        batch.push(settle(&stored, report));
                    }
                }
                Call::Settle(self.fence(*right)?, batch)
            }
            Step::Remember(request, digest, which) => {
                Call::Remember(self.requests[*request], [*digest; 16], self.which(*which)?)
            }
            Step::Join(one) => Call::Join(name(*one)),
            Step::Claim(one, from, to) => Call::Claim(own(*one), span(*from, *to)),
            Step::Release(one, from, to) => Call::Release(own(*one), span(*from, *to)),
            Step::Announce(which) => Call::Announce(self.two.clone(), self.which(*which)?),
            Step::Hear(which, kind, refused) => Call::Hear(self.which(*which)?, *kind, *refused),
            Step::Owed(limit) => Call::Owed(*limit),
        })
    }

    async fn stored(&self, which: usize, reference: &dyn Ledger) -> Option<Deletion> {
        let id = self.which(which)?;
        Some(reference.get(&[id]).await.unwrap().remove(0).deletion)
    }

    fn ask(&self, ask: &Ask) -> Deletion {
        let plan = if ask.sealed { sealed() } else { quick() };
        let name = format!("account-{}", ask.account);
        let wanted = account(&name, &plan);
        let attention = ask.attention * 50 * 365 * 24 * 3_600 * 1_000_000;
        Deletion {
            request: self.requests[ask.request],
            request_digest: [ask.digest; 16],
            attention_at: Some(Time::from_micros(now().micros() + attention)),
            ..wanted
        }
    }
}

fn turn(stored: Deletion, change: &Change) -> Turn {
    let plan = if stored.policy_version == 1 {
        quick()
    } else {
        sealed()
    };
    let event = match change.kind {
        0 => Event::Contradicted,
        1 => Event::Revoke,
        2 => Event::Deny(Denial::Unfounded),
        3 => Event::LegRefused(leg(usize::from(change.legs % 3))),
        _ => Event::Settled(Mask::EMPTY),
    };
    let mut after = stored
        .step(&event, &plan, now())
        .unwrap_or_else(|_| Deletion {
            revision: stored.revision + 1,
            ..stored.clone()
        });
    match change.kind {
        4 => after.held = !after.held,
        5 => after.conflicts = 0,
        // Not sound while something is missing.
        6 => {
            if let Some(begun) = stored.state.begun() {
                after.state = State::Purged { begun, at: now() };
                after.attention_at = None;
            }
        }
        _ => {}
    }
    let clear = if change.kind == 5 {
        Mask::from_bits(change.legs.into())
    } else {
        Mask::EMPTY
    };
    // Told again and again, it is told once.
    let sealed_at = matches!(after.state, State::CoolingOff { .. }).then(now);
    Turn {
        before: stored.revision - i32::from(change.stale),
        after,
        clear,
        note: "TEST",
        decision: decision(change),
        sealed_at,
        recycled: Vec::new(),
    }
}

/// Some turns somebody decided, for some reasons.
fn decision(change: &Change) -> Option<Decision> {
    let somebody = |by, name: &str| {
        let reasons = (0..change.legs).map(|leg| format!("LEG_OWED:\"{leg}\""));
        let decision = Decision::by(by, name).because(reasons);
        decision.referring_to("LEGAL-2031")
    };
    match change.kind {
        0 => None,
        1 => Some(somebody(Decider::Person, "app")),
        2 => Some(somebody(Decider::Desk, "desk's own")),
        3 => Some(Decision::by(Decider::Participant, "cloud")),
        _ => Some(somebody(Decider::Operator, "")),
    }
}

fn settle(stored: &Deletion, report: &Report) -> Settlement {
    let plan = if stored.policy_version == 1 {
        quick()
    } else {
        sealed()
    };
    let receipts: Vec<_> = report
        .legs
        .iter()
        .map(|(leg, records)| erased(usize::from(*leg), *records))
        .collect();
    let legs: Mask = receipts.iter().map(|receipt| receipt.leg).collect();
    let believed = if report.bold {
        Deletion {
            done: stored.done | plan.required(),
            held: false,
            conflicts: 0,
            ..stored.clone()
        }
    } else {
        stored.clone()
    };
    // Who knows the most keeps something, too.
    let retains = if report.bold {
        plan.expires()
    } else {
        Mask::EMPTY
    };
    let believed = believed.keeping(retains);
    let next = believed.step(&Event::Settled(legs), &plan, now()).unwrap();
    let moves = next.state != stored.state || next.attention_at != stored.attention_at;
    Settlement {
        deletion: stored.id,
        at: now(),
        receipts,
        round: stored.round + u16::from(report.late),
        legs,
        retains,
        advance: moves.then_some(next),
    }
}

/// An answer without clock values, to be compared.
async fn answer(ledger: &dyn Ledger, call: &Call) -> String {
    fn text<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        match result {
            Ok(answer) => format!("{answer:?}"),
            Err(Error::Fenced) => "FENCED".to_owned(),
            Err(Error::Refused(_)) => "REFUSED".to_owned(),
            Err(error) => panic!("{error:?}"),
        }
    }
    match call {
        Call::Open(batch) => text(ledger.open(batch.clone()).await),
        Call::Turn(fence, batch) => text(ledger.turn(fence.as_ref(), batch.clone()).await),
        Call::Settle(fence, batch) => text(ledger.settle(fence, batch.clone()).await),
        Call::Remember(request, digest, deletion) => {
            text(ledger.remember(*request, *digest, *deletion).await)
        }
        Call::Join(name) => text(ledger.join(name, LONG).await),
        Call::Claim(fence, slots) => text(ledger.claim(fence, slots).await),
        Call::Release(fence, slots) => text(ledger.release(fence, slots).await),
        Call::Announce(fence, id) => {
            let slots: Vec<Slot> = Slot::all().collect();
            let mut told = ledger.outbox(&slots, 1_000).await.unwrap();
            told.retain(|told| told.deletion == *id);
            let mut events = Vec::new();
            for told in &told {
                let account = stored(ledger, told.deletion).await.account;
                events.push(of(told, &account, "one"));
            }
            text(ledger.announced(fence, &told, &events).await)
        }
        Call::Hear(id, kind, refused) => {
            let heard = Heard {
                deletion: *id,
                kind: *kind,
                answer: match refused {
                    true => Answer::Refused("jwtAud".to_owned()),
                    false => Answer::Taken,
                },
            };
            text(ledger.heard("one", &[heard]).await)
        }
        Call::Owed(limit) => {
            let slots: Vec<Slot> = Slot::all().collect();
            let owed = ledger.owed(&slots, None, *limit).await;
            text(owed.map(|owed| owed.iter().map(Told::from).collect::<Vec<_>>()))
        }
    }
}

/// What is owed, without the time of its seals.
#[derive(Debug)]
#[expect(dead_code, reason = "compared by its text")]
struct Told {
    deletion: Deletion,
    seals: usize,
}

impl From<&Owed> for Told {
    fn from(owed: &Owed) -> Self {
        Self {
            deletion: owed.deletion.clone(),
            seals: owed.seals.len(),
        }
    }
}

/// Everything that is left, without clock values.
async fn left(ledger: &dyn Ledger, world: &World) -> String {
    let slots: Vec<Slot> = Slot::all().collect();
    let listed = ledger.list(&Filter::default(), None, 1_000).await.unwrap();
    let mut text = format!("{listed:#?}");
    for deletion in &listed {
        let receipts = ledger.receipts(deletion.id).await.unwrap();
        let receipts: Vec<_> = receipts.into_iter().map(|kept| kept.receipt).collect();
        let history: Vec<Entry> = ledger
            .history(deletion.id, 0, 1_000)
            .await
            .unwrap()
            .into_iter()
            .map(|entry| Entry { at: now(), ..entry })
            .collect();
        text.push_str(&format!("{receipts:#?}{history:#?}"));
    }
    // Each ledger numbers them in its own way.
    let mut told: Vec<Announcement> = ledger.outbox(&slots, 1_000).await.unwrap();
    told.iter_mut().for_each(|told| told.seq = 0);
    told.sort_by_key(|told| (told.deletion, told.state));
    let kinds: Vec<i16> = (0..100).collect();
    let mut events = ledger.events("one", None, &kinds, 1_000).await.unwrap();
    events.iter_mut().for_each(|event| event.seq = 0);
    events.sort_by_key(|event| (event.deletion, event.kind));
    let overview = ledger.overview(LONG, Duration::ZERO).await.unwrap();
    // Who gave back everything may be fenced by whoever claimed after that.
    let leases = ledger.renew(&world.one, LONG).await;
    let leases = leases.map(|leases| (leases.mine, leases.free));
    let leases = leases.map_err(|error| error.to_string());
    text.push_str(&format!(
        "{told:#?}{events:#?}{:?}{:?}{}{:?}{leases:?}",
        overview.states, overview.oldest_unfinished, overview.outbox, overview.receivers
    ));
    text
}

async fn same(steps: &[Step], memory: &Bed, databases: &[Bed]) {
    let reference = &*memory.ledger;
    for name in ["one", "two"] {
        for bed in databases {
            bed.ledger.join(name, LONG).await.unwrap();
        }
    }
    let one = reference.join("one", LONG).await.unwrap();
    let two = reference.join("two", LONG).await.unwrap();
    let mut world = World {
        requests: (0..9).map(|_| RequestId(Uuid::new_v4())).collect(),
        opened: Vec::new(),
        one,
        two,
        former: None,
    };
    for (number, step) in steps.iter().enumerate() {
        let Some(call) = world.call(step, reference).await else {
            continue;
        };
        let expected = answer(reference, &call).await;
        for bed in databases {
            let got = answer(&*bed.ledger, &call).await;
            assert_eq!(got, expected, "step {number}: {step:?} on {}", bed.url);
        }
        match &call {
            Call::Open(batch) => {
                // The reference tells which of them it took.
                for Opening { deletion, .. } in batch {
                    if !reference.get(&[deletion.id]).await.unwrap().is_empty() {
                        world.opened.push(deletion.id);
                    }
                }
            }
            Call::Join(name) => {
                let fence = if *name == "one" {
                    &mut world.one
                } else {
                    &mut world.two
                };
                world.former = Some(fence.clone());
                fence.epoch += 1;
            }
            _ => {}
        }
    }
    let expected = left(reference, &world).await;
    for bed in databases {
        assert_eq!(left(&*bed.ledger, &world).await, expected, "{}", bed.url);
    }
}

#[test]
fn every_ledger_gives_the_same_answers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let databases = runtime.block_on(async {
        let mut databases = vec![Bed::sqlite().await];
        databases.extend(Bed::postgres().await);
        databases
    });
    let config = Config {
        cases: HISTORIES,
        failure_persistence: None,
        ..Config::default()
    };
    let histories = TestRunner::new(config).run(&vec(step(), 1..STEPS_MAX), |steps| {
        runtime.block_on(async {
            for bed in &databases {
                empty(bed).await;
            }
            timeout(PATIENCE, same(&steps, &Bed::memory(), &databases))
                .await
                .unwrap();
        });
        Ok(())
    });
    histories.unwrap();
    runtime.block_on(async {
        for bed in databases {
            bed.drop().await;
        }
    });
}

/// Making a database takes longer than a history does.
async fn empty(bed: &Bed) {
    bed.sql(
        "DELETE FROM deletion; DELETE FROM receipt; DELETE FROM history; DELETE FROM live; DELETE FROM request;
         DELETE FROM outbox; DELETE FROM event; DELETE FROM coordinator; UPDATE slot SET holder = NULL",
    )
    .await
    .unwrap();
}
