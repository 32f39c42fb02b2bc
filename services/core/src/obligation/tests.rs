use super::*;
use crate::Event;
use crate::deletion::State;
use crate::duty::{self, Duty};
use crate::fixture::*;
use crate::invariants::check_ledger;
use crate::receipt::{Evidence, Outcome};
use crate::report::{self, Answer, Verdict};
use crate::time::Time;

const ORDERS: &str = "transactions";
const LAW: &str = "E-Commerce Law of the PRC, Art. 31";
const PHONE: &str = "quarantined_phone";

fn kept(class: &str, law: &str, count: i64, next: Time, until: Time) -> Retention {
    Retention {
        class: class.to_owned(),
        legal_basis: law.to_owned(),
        count,
        until,
        next: (next < until).then_some(next),
    }
}

fn day(days: u32) -> Time {
    over() + DAY * days
}

fn receipt(leg: LegIndex, round: u16, evidence: Evidence, at: Time) -> Kept {
    Kept {
        receipt: Receipt::new(leg, round, evidence),
        settled_at: at,
    }
}

/// A purged deletion whose store keeps orders that end on days 100 and 900, and whose identity holds back a number to day 30.
fn keeping(plan: &Plan) -> (Deletion, Vec<Kept>) {
    let told = |name: &str| match name {
        "store" => Evidence {
            retained: vec![kept(ORDERS, LAW, 2, day(100), day(900))],
            ..counted(Outcome::Erased, 1)
        },
        "identity" => Evidence {
            retained: vec![kept(PHONE, "PIPL, Art. 51", 1, day(30), day(30))],
            ..counted(Outcome::Erased, 1)
        },
        _ => counted(Outcome::Erased, 1),
    };
    let probe = |name: &str| Evidence {
        retained: told(name).retained,
        ..Evidence::of(Outcome::Clean)
    };
    let mut receipts = Vec::new();
    for (index, leg) in plan.legs() {
        let name = leg.participant.as_str();
        match leg.verb {
            Verb::Erase => receipts.push(receipt(index, 1, told(name), over())),
            Verb::Probe => receipts.push(receipt(index, 1, probe(name), over())),
            Verb::Seal => receipts.push(receipt(index, 1, Evidence::of(Outcome::Sealed), start())),
            Verb::Unseal | Verb::Expire => {}
        }
    }
    let retains = keepers(plan, receipts.iter().map(|kept| &kept.receipt));
    let deletion = settle(
        &verifying(plan).keeping(retains),
        plan.probes(),
        plan,
        over(),
    );
    (deletion.unwrap(), receipts)
}

/// What the owner of the slot does at `now`, once.
fn oblige(deletion: &Deletion, plan: &Plan, receipts: &[Kept], now: Time) -> Deletion {
    assert_eq!(duty::next(deletion, plan, now), Duty::Oblige);
    let owed = of(plan, receipts).unwrap();
    let over = ended(&owed, now);
    let event = if over.is_empty() {
        Event::Kept {
            owing: owing(&owed),
            next: next(&owed),
        }
    } else {
        Event::Ended(over)
    };
    let after = deletion.step(&event, plan, now).unwrap();
    let sound = check_ledger(&after, plan, receipts);
    assert!(sound.is_empty(), "{sound:?}");
    after
}

fn say(
    deletion: &Deletion,
    plan: &Plan,
    name: &str,
    evidence: Evidence,
    now: Time,
) -> Result<Verdict, Reason> {
    let command = command(deletion, Verb::Expire, name);
    let answer = Answer::Done(evidence);
    let (sender, account) = (who(name), &deletion.account);
    report::judge(
        &sender,
        &command,
        account,
        &answer,
        (deletion, plan),
        &[],
        now,
    )
}

fn expired(count: i64, rest: Vec<Retention>) -> Evidence {
    let mut evidence = Evidence::of(Outcome::Erased);
    evidence.counts.insert(ORDERS.to_owned(), count);
    evidence.retained = rest;
    evidence
}

#[test]
fn who_keeps_nothing_leaves_nothing_open() {
    let plan = cn();
    let deletion = purged(&plan);
    assert_eq!(deletion.closed_at, Some(over()));
    assert_eq!(duty::next(&deletion, &plan, day(9_999)), Duty::Nothing);
}

#[test]
fn each_thing_that_law_keeps_ends_on_its_day_and_the_deletion_with_the_last() {
    let plan = cn();
    let (mut deletion, mut receipts) = keeping(&plan);
    assert!(deletion.closed_at.is_none() && matches!(deletion.state, State::Purged { .. }));
    deletion = oblige(&deletion, &plan, &receipts, over());
    let ends = [
        (30, "identity", vec![]),
        (100, "store", vec![kept(ORDERS, LAW, 1, day(900), day(900))]),
        (900, "store", vec![]),
    ];
    for (round, (on, name, rest)) in (2..).zip(ends) {
        assert_eq!(
            duty::next(&deletion, &plan, day(on - 1)),
            Duty::Wait(day(on))
        );
        deletion = oblige(&deletion, &plan, &receipts, day(on));
        let own = leg(&plan, Verb::Expire, name);
        assert_eq!(
            duty::next(&deletion, &plan, day(on)),
            Duty::Send(Mask::of(own))
        );
        let Ok(Verdict::Settle(told)) = say(&deletion, &plan, name, expired(1, rest), day(on))
        else {
            panic!("{name} on day {on}");
        };
        assert_eq!((told.leg, told.round), (own, round));
        deletion = settle(&deletion, Mask::of(own), &plan, day(on)).unwrap();
        receipts.push(Kept {
            receipt: told,
            settled_at: day(on),
        });
        let free = recycled(&deletion, &plan, &receipts).unwrap();
        let expected: &[Identifier] = if name == "identity" {
            &[Identifier::Phone]
        } else {
            &[]
        };
        assert_eq!(free, expected);
        deletion = oblige(&deletion, &plan, &receipts, day(on));
        // Decided, so that nobody hears of it a second time.
        assert_eq!(recycled(&deletion, &plan, &receipts).unwrap(), []);
    }
    assert_eq!(deletion.closed_at, Some(day(900)));
    assert_eq!(duty::next(&deletion, &plan, day(9_999)), Duty::Nothing);
    let texts = addenda(&deletion, &plan, &receipts).unwrap();
    assert_eq!(texts.len(), 3);
    assert_eq!(texts, addenda(&deletion, &plan, &receipts).unwrap());
    let second: serde_json::Value = serde_json::from_str(&texts[1]).unwrap();
    assert_eq!(second["participant"], "store");
    assert_eq!(second["expired"][ORDERS], 1);
    assert_eq!(second["retained"][0]["count"], 1);
}

#[test]
fn the_certificate_stays_as_it_was_when_something_ends() {
    let plan = cn();
    let (deletion, mut receipts) = keeping(&plan);
    let before = crate::certificate::issue(&deletion, &plan, &receipts).unwrap();
    let own = leg(&plan, Verb::Expire, "store");
    receipts.push(receipt(own, 2, expired(2, vec![]), day(900)));
    let after = crate::certificate::issue(&deletion, &plan, &receipts).unwrap();
    assert_eq!(before, after);
}

#[test]
fn what_has_ended_is_gone_before_it_is_said_to_be() {
    let plan = cn();
    let (deletion, receipts) = keeping(&plan);
    let deletion = oblige(&deletion, &plan, &receipts, over());
    // Too early: nobody is asked.
    let early = deletion.step(&Event::Ended(plan.expires()), &plan, day(1));
    assert_eq!(early.unwrap_err().reason, Reason::AlreadyEnded);
    assert_eq!(
        say(&deletion, &plan, "identity", expired(1, vec![]), day(1)),
        Err(Reason::NotAsked)
    );
    let deletion = oblige(&deletion, &plan, &receipts, day(100));
    let asked = ["store", "identity"].map(|name| leg(&plan, Verb::Expire, name));
    assert_eq!(deletion.expiring, asked.into_iter().collect());
    let still = vec![kept(ORDERS, LAW, 2, day(100), day(900))];
    assert_eq!(
        say(&deletion, &plan, "store", expired(0, still), day(100)),
        Err(Reason::RetentionOver)
    );
    // Until both have answered, the deletion waits for them.
    let store = leg(&plan, Verb::Expire, "store");
    let half = settle(&deletion, Mask::of(store), &plan, day(100)).unwrap();
    let identity = leg(&plan, Verb::Expire, "identity");
    assert_eq!(
        duty::next(&half, &plan, day(101)),
        Duty::Send(Mask::of(identity))
    );
    let hasty = half.step(
        &Event::Kept {
            owing: Mask::EMPTY,
            next: None,
        },
        &plan,
        day(101),
    );
    assert_eq!(hasty.unwrap_err().reason, Reason::AlreadyEnded);
}

#[test]
fn no_certificate_says_that_something_is_kept_that_no_law_allows() {
    let plan = cn();
    let erasing = erase_until(&plan, "store");
    let told = |kept: Retention| {
        let evidence = Evidence {
            retained: vec![kept],
            ..Evidence::of(Outcome::Retained)
        };
        let name = command(&erasing, Verb::Erase, "store");
        let (sender, account) = (who("store"), &erasing.account);
        let answer = Answer::Done(evidence);
        report::judge(
            &sender,
            &name,
            account,
            &answer,
            (&erasing, &plan),
            &[],
            over(),
        )
        .map(drop)
    };
    let law = |days| kept(ORDERS, LAW, 1, day(days), day(days));
    assert_eq!(told(law(1_095)), Ok(()));
    assert_eq!(told(law(1_099)), Err(Reason::RetentionTooLong));
    let other = |class: &str, basis: &str| kept(class, basis, 1, day(10), day(10));
    assert_eq!(told(other("letters", LAW)), Err(Reason::RetentionUnknown));
    assert_eq!(told(other(ORDERS, "habit")), Err(Reason::RetentionUnknown));
    // Another's class.
    assert_eq!(
        told(other(PHONE, "PIPL, Art. 51")),
        Err(Reason::RetentionUnknown)
    );
    assert_eq!(
        told(Retention {
            next: Some(day(11)),
            ..law(10)
        }),
        Err(Reason::RetentionIncomplete)
    );
}
