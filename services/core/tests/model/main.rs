//! Core's decisions against a reference, under everything that can go wrong between them and the world.
//!
//! A world of callers, coordinators, wires and participants is driven by random actions. After each one the reference
//! must say the same as the ledger, and no invariant may be broken. Then the faults end, and everything must end too.
//!
//! `PROPTEST_CASES` sets how many worlds are tried.

mod reference;
mod store;
mod world;

use std::cell::RefCell;

use farewell_core::deletion::{Deletion, State};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use world::World;

const CASES: u32 = 200;

/// What can happen. Numbers choose among what there is.
#[derive(Clone, Debug)]
pub enum Action {
    Open {
        account: u8,
        plan: u8,
    },
    Repeat {
        deletion: u8,
        other: bool,
    },
    Verify(u8),
    Revoke(u8),
    Deny(u8),
    Hold(u8),
    Release(u8),
    Retry(u8),
    Resolve(u8),
    Obstruct(u8),
    Tick(u8),
    StepBack(u8),
    Dispatch {
        coordinator: u8,
        fresh: bool,
    },
    Deliver {
        coordinator: u8,
        count: u8,
        torn: bool,
    },
    Lose(u8),
    Duplicate(u8),
    Delay(u8),
    Contradict {
        deletion: u8,
        leg: u8,
    },
    Impersonate(u8),
    Refuse(u8),
    Soil {
        participant: u8,
        rounds: u8,
    },
    Crash,
    TakeOver,
    /// Nothing goes wrong for a while.
    Work,
}

fn action() -> impl Strategy<Value = Action> {
    let n = any::<u8>;
    // 0 to 5 choose the newest coordinator.
    let coordinator = || 0_u8..8;
    prop_oneof![
        6 => (n(), n()).prop_map(|(account, plan)| Action::Open { account, plan }),
        1 => (n(), any::<bool>()).prop_map(|(deletion, other)| Action::Repeat { deletion, other }),
        16 => n().prop_map(Action::Verify),
        1 => n().prop_map(Action::Revoke),
        1 => n().prop_map(Action::Deny),
        1 => n().prop_map(Action::Hold),
        4 => n().prop_map(Action::Release),
        4 => n().prop_map(Action::Retry),
        3 => n().prop_map(Action::Resolve),
        1 => n().prop_map(Action::Obstruct),
        14 => (0_u8..=48).prop_map(Action::Tick),
        2 => n().prop_map(Action::StepBack),
        30 => (coordinator(), proptest::bool::weighted(0.8)).prop_map(|(coordinator, fresh)| Action::Dispatch { coordinator, fresh }),
        40 => (coordinator(), 1_u8..9, proptest::bool::weighted(0.1))
            .prop_map(|(coordinator, count, torn)| Action::Deliver { coordinator, count, torn }),
        5 => n().prop_map(Action::Lose),
        5 => n().prop_map(Action::Duplicate),
        5 => n().prop_map(Action::Delay),
        2 => (n(), n()).prop_map(|(deletion, leg)| Action::Contradict { deletion, leg }),
        5 => n().prop_map(Action::Impersonate),
        5 => n().prop_map(Action::Refuse),
        2 => (n(), 0_u8..4).prop_map(|(participant, rounds)| Action::Soil { participant, rounds }),
        2 => Just(Action::Crash),
        2 => Just(Action::TakeOver),
        8 => Just(Action::Work),
    ]
}

/// What was seen: a run in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub lost: u32,
    pub duplicated: u32,
    pub forged: u32,
    pub refused: u32,
    pub fenced: u32,
    pub torn: u32,
    pub crashes: u32,
    pub conflicts: u32,
    pub residue: u32,
    pub stuck: u32,
    purged_under_fire: u32,
    purged: u32,
    revoked: u32,
    denied: u32,
    expired: u32,
}

impl Tally {
    pub fn count<'a>(&mut self, rows: impl Iterator<Item = &'a Deletion>, healed: bool) {
        for row in rows {
            match row.state {
                State::Purged { .. } if healed => self.purged += 1,
                State::Purged { .. } => self.purged_under_fire += 1,
                State::Revoked { .. } if healed => self.revoked += 1,
                State::Denied { .. } if healed => self.denied += 1,
                State::Expired { .. } if healed => self.expired += 1,
                _ => {}
            }
        }
    }

    fn parts(&mut self) -> [&mut u32; 15] {
        [
            &mut self.lost,
            &mut self.duplicated,
            &mut self.forged,
            &mut self.refused,
            &mut self.fenced,
            &mut self.torn,
            &mut self.crashes,
            &mut self.conflicts,
            &mut self.residue,
            &mut self.stuck,
            &mut self.purged_under_fire,
            &mut self.purged,
            &mut self.revoked,
            &mut self.denied,
            &mut self.expired,
        ]
    }

    fn add(&mut self, mut other: Self) {
        for (sum, part) in self.parts().into_iter().zip(other.parts()) {
            *sum += *part;
        }
    }
}

#[test]
fn whatever_happens_the_rules_hold_and_everything_ends() {
    let mut config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let total = RefCell::new(Tally::default());
    let enough = config.cases >= CASES;
    let histories = (proptest::collection::vec(action(), 20..200), any::<bool>());
    let result = TestRunner::new(config).run(&histories, |(actions, silent)| {
        let mut world = World::new(silent);
        for action in &actions {
            world.act(action);
        }
        world.heal();
        total.borrow_mut().add(world.tally);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    let mut total = total.into_inner();
    println!("{total:?}");
    if enough {
        let seen = total.parts().into_iter().all(|count| *count > 0);
        assert!(seen, "something never happened: {total:?}");
    }
}
