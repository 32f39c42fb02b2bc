//! Deletions as the coordinator would bring them.

use std::collections::BTreeMap;
use std::time::Duration;

use farewell_core::decision::{Decider, Decision};
use farewell_core::deletion::Request;
use farewell_core::device::Device;
use farewell_core::obligation::keepers;
use farewell_core::policy::{Channel, Stage};
use farewell_core::{
    AccountId, Deletion, DeletionId, Event, Evidence, LegIndex, Mask, Outcome, Plan, Policy,
    Receipt, RequestId, State, Time,
};
use farewell_ledger::{
    Announcement, Fence, Ledger, Opened, Opening, Settled, Settlement, Turn, Turned,
};
use uuid::Uuid;

pub const LONG: Duration = Duration::from_secs(3_600);

/// Three participants erase at once; nothing is sealed, asked or waited for.
pub fn quick() -> Plan {
    let policy = Policy {
        name: "quick".to_owned(),
        stages: vec![Stage {
            name: "ERASE".to_owned(),
            participants: ["phones", "cloud", "identity"]
                .iter()
                .map(|name| name.parse().unwrap())
                .collect(),
        }],
        seal: false,
        probe: false,
        eligibility: false,
        channels: BTreeMap::from([(Channel::Legacy, vec![])]),
        cooling_off: Duration::ZERO,
        ..Policy::cn()
    };
    Plan::new(1, policy).unwrap()
}

/// As `quick`, but sealed first.
pub fn sealed() -> Plan {
    let policy = Policy {
        seal: true,
        cooling_off: LONG,
        ..quick().policy().clone()
    };
    Plan::new(2, policy).unwrap()
}

pub fn now() -> Time {
    Time::from_micros(1_700_000_000_000_000)
}

pub fn account(name: &str, plan: &Plan) -> Deletion {
    let request = Request {
        id: DeletionId(Uuid::now_v7()),
        account: name.parse().unwrap(),
        request: RequestId(Uuid::new_v4()),
        request_digest: [7; 16],
        channel: Channel::Legacy,
        consents: vec![farewell_core::deletion::Consent {
            text: "terms-\"quoted\"".to_owned(),
            version: 3,
            at: now(),
        }],
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
    };
    Deletion::open(request, plan, now()).unwrap()
}

/// As a caller asks for these.
pub fn asked(batch: Vec<Deletion>) -> Vec<Opening> {
    let asked = |deletion: Deletion| Opening {
        decision: Some(Decision::by(Decider::Person, "app").asked_by(deletion.request)),
        deletion,
    };
    batch.into_iter().map(asked).collect()
}

/// A deletion that is being erased, as it is stored.
pub async fn erasing(ledger: &dyn Ledger, name: &str) -> Deletion {
    let deletion = account(name, &quick());
    let opened = ledger.open(asked(vec![deletion.clone()])).await.unwrap();
    assert_eq!(opened, [Opened::Created(deletion.clone())]);
    deletion
}

pub async fn coordinator(ledger: &dyn Ledger) -> Fence {
    ledger.join("one", LONG).await.unwrap()
}

pub fn leg(place: usize) -> LegIndex {
    LegIndex::new(place).unwrap()
}

pub fn erased(place: usize, records: i64) -> Receipt {
    let evidence = Evidence {
        counts: BTreeMap::from([("records".to_owned(), records)]),
        ..Evidence::of(Outcome::Erased)
    };
    Receipt::new(leg(place), 1, evidence)
}

pub fn sealed_with_devices(place: usize) -> Receipt {
    let evidence = Evidence {
        devices: vec![Device {
            device: "watch-1".parse().unwrap(),
            binding_epoch: 4,
            facts: None,
            outcome: None,
            lock: None,
        }],
        ..Evidence::of(Outcome::Sealed)
    };
    Receipt::new(leg(place), 1, evidence)
}

/// Receipts and where they lead by the plan.
pub fn settlement(deletion: &Deletion, receipts: Vec<Receipt>, plan: &Plan) -> Settlement {
    let legs: Mask = receipts.iter().map(|receipt| receipt.leg).collect();
    let retains = keepers(plan, &receipts);
    let next = deletion
        .keeping(retains)
        .step(&Event::Settled(legs), plan, now())
        .unwrap();
    let moves = next.moved_from(deletion);
    Settlement {
        deletion: deletion.id,
        at: now(),
        receipts,
        round: deletion.round,
        legs,
        retains,
        advance: moves.then_some(next),
    }
}

pub async fn settle_one(ledger: &dyn Ledger, fence: &Fence, settlement: Settlement) -> Settled {
    let mut settled = ledger.settle(fence, vec![settlement]).await.unwrap();
    assert_eq!(settled.len(), 1);
    settled.remove(0)
}

pub fn event(deletion: &Deletion, event: &Event, plan: &Plan) -> Turn {
    Turn {
        before: deletion.revision,
        after: deletion.step(event, plan, now()).unwrap(),
        clear: Mask::EMPTY,
        note: "TEST",
        decision: None,
        sealed_at: None,
        recycled: Vec::new(),
    }
}

pub async fn turn_one(ledger: &dyn Ledger, turn: Turn) -> Turned {
    let mut turned = ledger.turn(None, vec![turn]).await.unwrap();
    assert_eq!(turned.len(), 1);
    turned.remove(0)
}

/// What a receiver is to be told of it.
pub fn of(told: &Announcement, account: &AccountId, receiver: &str) -> farewell_ledger::Event {
    farewell_ledger::Event {
        receiver: receiver.to_owned(),
        account: account.clone(),
        deletion: told.deletion,
        kind: told.state,
        at: told.at,
        seq: told.seq,
        tries: 0,
    }
}

/// The deletion as it is stored.
pub async fn stored(ledger: &dyn Ledger, id: DeletionId) -> Deletion {
    ledger.get(&[id]).await.unwrap().remove(0).deletion
}

/// All three receipts, and the purge.
pub async fn purge(ledger: &dyn Ledger, fence: &Fence, deletion: &Deletion) -> Deletion {
    let receipts = (0..3).map(|place| erased(place, 1)).collect();
    let settled = settle_one(ledger, fence, settlement(deletion, receipts, &quick())).await;
    assert!(settled.advanced);
    let stored = stored(ledger, deletion.id).await;
    assert!(matches!(stored.state, State::Purged { .. }));
    stored
}
