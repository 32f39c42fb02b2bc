use super::*;
use crate::custody::Asked;
use crate::deletion::State;
use crate::duty::{self, Duty};
use crate::fixture::*;
use crate::id::CommandName;
use crate::invariants::check_ledger;
use crate::receipt::{Evidence, Outcome};
use crate::replay::{self, Past};
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

/// What a replay knows of a participant.
const fn past<'a>(
    deletion: &'a Deletion,
    plan: &'a Plan,
    participant: &'a ParticipantId,
    receipts: &'a [Kept],
) -> Past<'a> {
    Past {
        deletion,
        plan,
        participant,
        receipts,
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
    let event = look(deletion, plan, receipts, now).unwrap();
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
    let second: serde_json::Value = serde_json::from_str(&texts[1].1).unwrap();
    assert_eq!(second["participant"], "store");
    assert_eq!(second["expired"][ORDERS], 1);
    assert_eq!(second["retained"][0]["count"], 1);
}

/// Identity's own word that it holds the number back no longer.
fn freed(deletion: &Deletion, plan: &Plan, now: Time) -> Deletion {
    let identity = Mask::of(leg(plan, Verb::Expire, "identity"));
    deletion.step(&Event::Freed(identity), plan, now).unwrap()
}

#[test]
fn a_number_that_is_given_back_is_told_as_free_then_and_not_on_its_day() {
    let plan = cn();
    let (mut deletion, mut receipts) = keeping(&plan);
    deletion = oblige(&deletion, &plan, &receipts, over());
    deletion = freed(&deletion, &plan, day(3));
    // Said twice, it is asked once.
    deletion = freed(&deletion, &plan, day(3));
    deletion = oblige(&deletion, &plan, &receipts, day(3));
    let identity = leg(&plan, Verb::Expire, "identity");
    assert_eq!(
        duty::next(&deletion, &plan, day(3)),
        Duty::Send(Mask::of(identity))
    );
    assert_eq!(deletion.asked_of(identity).unwrap().by, day(3));
    let said = ("identity", expired(1, vec![]));
    deletion = answer(&deletion, &plan, said, &mut receipts, day(3));
    let free = recycled(&deletion, &plan, &receipts).unwrap();
    assert_eq!(free, [Identifier::Phone]);
    deletion = oblige(&deletion, &plan, &receipts, day(3));
    assert_eq!(recycled(&deletion, &plan, &receipts).unwrap(), []);
    assert_eq!(
        duty::next(&deletion, &plan, day(30)),
        Duty::Wait(day(100)),
        "on its own day nothing is left of it"
    );
    let nothing = deletion.step(&Event::Freed(Mask::EMPTY), &plan, day(3));
    assert_eq!(nothing.unwrap_err().reason, Reason::AlreadyEnded);
}

#[test]
fn a_number_that_is_given_back_before_the_purge_is_told_as_free_with_it() {
    let plan = cn();
    let (_, mut receipts) = keeping(&plan);
    let retains = keepers(&plan, receipts.iter().map(|kept| &kept.receipt));
    let before = verifying(&plan).keeping(retains);
    let waits = duty::next(&before, &plan, over());
    let mut deletion = freed(&before, &plan, over());
    assert_eq!(duty::next(&deletion, &plan, over()), waits);
    assert_eq!(deletion.attention_at, before.attention_at);
    deletion = settle(&deletion, plan.probes(), &plan, day(1)).unwrap();
    deletion = oblige(&deletion, &plan, &receipts, day(1));
    let identity = leg(&plan, Verb::Expire, "identity");
    assert_eq!(deletion.outstanding(), Mask::of(identity));
    let said = ("identity", expired(1, vec![]));
    deletion = answer(&deletion, &plan, said, &mut receipts, day(1));
    let free = recycled(&deletion, &plan, &receipts).unwrap();
    assert_eq!(free, [Identifier::Phone]);
    deletion = oblige(&deletion, &plan, &receipts, day(1));
    assert_eq!(duty::next(&deletion, &plan, day(30)), Duty::Wait(day(100)));
    let early = cooling(&plan).step(&Event::Freed(Mask::of(identity)), &plan, start());
    assert_eq!(early.unwrap_err().reason, Reason::IllegalState);
}

#[test]
fn who_gives_a_number_back_while_it_answers_is_asked_once_more() {
    let plan = cn();
    let (mut deletion, mut receipts) = keeping(&plan);
    deletion = oblige(&deletion, &plan, &receipts, over());
    deletion = freed(&deletion, &plan, day(3));
    deletion = oblige(&deletion, &plan, &receipts, day(3));
    // What is answered now was looked up before the second number was given back.
    deletion = freed(&deletion, &plan, day(3));
    deletion = oblige(&deletion, &plan, &receipts, day(3));
    let still = kept(PHONE, "PIPL, Art. 51", 1, day(30), day(30));
    let said = ("identity", expired(1, vec![still]));
    deletion = answer(&deletion, &plan, said, &mut receipts, day(3));
    assert_eq!(recycled(&deletion, &plan, &receipts).unwrap(), []);
    // Its answer is put on record, and it is asked again.
    for _ in 0..2 {
        deletion = oblige(&deletion, &plan, &receipts, day(3));
    }
    let said = ("identity", expired(1, vec![]));
    deletion = answer(&deletion, &plan, said, &mut receipts, day(3));
    let free = recycled(&deletion, &plan, &receipts).unwrap();
    assert_eq!(free, [Identifier::Phone]);
}

#[test]
fn who_says_again_that_a_number_was_given_back_while_it_is_asked_is_not_asked_again() {
    let plan = cn();
    let (mut deletion, mut receipts) = keeping(&plan);
    deletion = oblige(&deletion, &plan, &receipts, over());
    deletion = freed(&deletion, &plan, day(3));
    deletion = oblige(&deletion, &plan, &receipts, day(3));
    let round = deletion.round;
    deletion = freed(&deletion, &plan, day(3));
    let name = kept(
        "quarantined_user_name",
        "PIPL, Art. 51",
        1,
        day(99),
        day(99),
    );
    let said = ("identity", expired(1, vec![name]));
    deletion = answer(&deletion, &plan, said, &mut receipts, day(3));
    deletion = oblige(&deletion, &plan, &receipts, day(3));
    assert_eq!(duty::next(&deletion, &plan, day(3)), Duty::Wait(day(99)));
    assert_eq!(deletion.round, round, "an addendum that says nothing");
}

#[test]
fn what_is_given_back_under_a_hold_is_told_once_the_hold_is_released() {
    let plan = cn();
    let (mut deletion, mut receipts) = keeping(&plan);
    // Nobody has looked yet.
    deletion = deletion.step(&Event::Hold, &plan, over()).unwrap();
    deletion = freed(&deletion, &plan, over());
    assert_eq!(duty::next(&deletion, &plan, day(1)), Duty::NeedsPerson);
    let still = look(&deletion, &plan, &receipts, day(1)).unwrap();
    deletion = deletion.step(&still, &plan, day(1)).unwrap();
    deletion = deletion.step(&Event::Release, &plan, day(2)).unwrap();
    deletion = oblige(&deletion, &plan, &receipts, day(2));
    let said = ("identity", expired(1, vec![]));
    deletion = answer(&deletion, &plan, said, &mut receipts, day(2));
    let free = recycled(&deletion, &plan, &receipts).unwrap();
    assert_eq!(free, [Identifier::Phone]);
}

#[test]
fn what_was_given_back_and_waits_is_said_to_a_custodian_that_knows_it_no_more() {
    let plan = cn();
    let identity = who("identity");
    let expiry = leg(&plan, Verb::Expire, "identity");
    let (mut deletion, mut receipts) = keeping(&plan);
    deletion = oblige(&deletion, &plan, &receipts, over());
    assert!(!deletion.is_freed(expiry));
    let verbs = |deletion: &Deletion, receipts: &[Kept]| {
        past(deletion, &plan, &identity, receipts).verbs(day(1))
    };
    assert_eq!(verbs(&deletion, &receipts), []);
    deletion = deletion.step(&Event::Hold, &plan, day(2)).unwrap();
    deletion = freed(&deletion, &plan, day(3));

    // Restored under the hold, it is told what is free, and keeps the hash as long as the hold stands.
    assert_eq!(verbs(&deletion, &receipts), [Verb::Expire]);
    let known = past(&deletion, &plan, &identity, &receipts);
    let by = known.ended_by().unwrap();
    assert!(by < day(3));
    let told = known.expired(by, day(4)).unwrap();
    let told: Vec<_> = told.iter().map(|rule| (rule.name, rule.until)).collect();
    assert_eq!(told, [(PHONE, Some(day(4)))]);

    // Restored once more, it is told with the command that comes with the release, however often that is sent.
    deletion = deletion.step(&Event::Release, &plan, day(5)).unwrap();
    deletion = oblige(&deletion, &plan, &receipts, day(5));
    let asked = deletion.asked_of(expiry).unwrap();
    assert!(asked.freed && asked.by == day(5) && deletion.is_freed(expiry));
    let named: Vec<_> = given_back(&plan, &identity).map(|(name, _)| name).collect();
    assert_eq!(named, [PHONE]);
    let stored = serde_json::to_string(&asked).unwrap();
    assert_eq!(serde_json::from_str::<Asked>(&stored).unwrap(), asked);
    let said = ("identity", expired(1, vec![]));
    deletion = answer(&deletion, &plan, said, &mut receipts, day(6));
    assert!(!deletion.is_freed(expiry), "done and on record");
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
    let all = Event::Ended {
        legs: plan.expires(),
        next: None,
    };
    let early = deletion.step(&all, &plan, day(1));
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
    // What one has said is put on record; the other still owes its answer, and nothing is closed meanwhile.
    let store = leg(&plan, Verb::Expire, "store");
    let half = settle(&deletion, Mask::of(store), &plan, day(100)).unwrap();
    let hasty = Event::Kept {
        owing: Mask::EMPTY,
        next: None,
    };
    let hasty = half.step(&hasty, &plan, day(101));
    assert_eq!(hasty.unwrap_err().reason, Reason::AlreadyEnded);
    let receipts = [
        receipts,
        vec![receipt(store, 2, expired(2, vec![]), day(100))],
    ]
    .concat();
    let rest = oblige(&half, &plan, &receipts, day(101));
    let identity = leg(&plan, Verb::Expire, "identity");
    assert_eq!(
        duty::next(&rest, &plan, day(101)),
        Duty::Send(Mask::of(identity))
    );
    assert!(rest.closed_at.is_none());
}

/// As the ledger would have it after `name` has answered its command.
fn answer(
    deletion: &Deletion,
    plan: &Plan,
    (name, evidence): (&str, Evidence),
    receipts: &mut Vec<Kept>,
    now: Time,
) -> Deletion {
    let leg = leg(plan, Verb::Expire, name);
    let said = report::judge(
        &who(name),
        &CommandName {
            round: deletion.round_of(leg, Verb::Expire),
            ..command(deletion, Verb::Expire, name)
        },
        &deletion.account,
        &Answer::Done(evidence),
        (deletion, plan),
        &[],
        now,
    );
    let Ok(Verdict::Settle(receipt)) = said else {
        panic!("{name}: {said:?}");
    };
    receipts.push(Kept {
        receipt,
        settled_at: now,
    });
    let settled = settle(deletion, Mask::of(leg), plan, now).unwrap();
    assert!(!settled.moved_from(deletion), "only the done-mask grows");
    settled
}

#[test]
fn who_refuses_or_is_gone_for_ever_holds_up_nobody_else() {
    let plan = cn();
    let identity = leg(&plan, Verb::Expire, "identity");
    for refuses in [true, false] {
        let (mut deletion, mut receipts) = keeping(&plan);
        deletion = oblige(&deletion, &plan, &receipts, over());
        deletion = oblige(&deletion, &plan, &receipts, day(30));
        if refuses {
            let refused = Event::LegRefused(identity);
            deletion = deletion.step(&refused, &plan, day(30)).unwrap();
        }
        let rest = kept(ORDERS, LAW, 1, day(900), day(900));
        for (on, rest, round) in [(100, vec![rest], 3), (900, vec![], 4)] {
            deletion = oblige(&deletion, &plan, &receipts, day(on));
            let store = leg(&plan, Verb::Expire, "store");
            assert!(deletion.owes(&plan).has(store), "day {on}");
            assert_eq!(deletion.round_of(store, Verb::Expire), round);
            let said = ("store", expired(1, rest));
            deletion = answer(&deletion, &plan, said, &mut receipts, day(on));
            deletion = oblige(&deletion, &plan, &receipts, day(on));
        }
        assert!(deletion.closed_at.is_none());
        // It shows since its own day, whatever else has happened.
        assert_eq!(deletion.owed_since(&plan), day(30));
        let conditions = crate::condition::of(&deletion, &plan, day(901), None, |_| false);
        let word = if refuses {
            "LEG_REFUSED"
        } else {
            "PARTICIPANT_NOT_CONNECTED"
        };
        let shown: Vec<_> = conditions
            .iter()
            .map(|it| (it.reason.as_str(), it.participant.as_str()))
            .collect();
        assert_eq!(shown, [(word, "identity")]);
        if refuses {
            assert_eq!(duty::next(&deletion, &plan, day(901)), Duty::NeedsPerson);
            let retried = deletion.step(&Event::Retry(identity), &plan, day(901));
            deletion = retried.unwrap();
        }
        assert_eq!(
            duty::next(&deletion, &plan, day(901)),
            Duty::Send(Mask::of(identity))
        );
        // Under the name of the day on which it was asked first, so that its journal knows.
        assert_eq!(deletion.round_of(identity, Verb::Expire), 2);
        let said = ("identity", expired(1, vec![]));
        deletion = answer(&deletion, &plan, said, &mut receipts, day(901));
        let free = recycled(&deletion, &plan, &receipts).unwrap();
        assert_eq!(free, [Identifier::Phone]);
        deletion = oblige(&deletion, &plan, &receipts, day(901));
        assert_eq!(deletion.closed_at, Some(day(901)));
    }
}

#[test]
fn what_was_asked_before_each_had_a_round_of_its_own_goes_on_under_its_name() {
    let plan = cn();
    let (deletion, receipts) = keeping(&plan);
    let deletion = oblige(&deletion, &plan, &receipts, over());
    let mut deletion = oblige(&deletion, &plan, &receipts, day(30));
    deletion.rare.custody = None;
    let identity = leg(&plan, Verb::Expire, "identity");
    let asked = deletion.asked_of(identity).unwrap();
    assert_eq!((asked.round, asked.by), (2, day(30)));
    let later = oblige(&deletion, &plan, &receipts, day(100));
    assert_eq!(later.asked_of(identity), Some(asked));
}

#[test]
fn under_a_legal_hold_nothing_ends_and_what_had_ended_ends_with_it() {
    let plan = cn();
    let (mut deletion, mut receipts) = keeping(&plan);
    deletion = oblige(&deletion, &plan, &receipts, over());
    deletion = oblige(&deletion, &plan, &receipts, day(30));
    // The command is on its way when the hold is placed: what was done can't be undone, and is put on record.
    deletion = deletion.step(&Event::Hold, &plan, day(31)).unwrap();
    let twice = deletion.step(&Event::Hold, &plan, day(31)).unwrap_err();
    assert_eq!(twice.reason, Reason::Held);
    assert!(deletion.owes(&plan).is_empty());
    let said = ("identity", expired(1, vec![]));
    deletion = answer(&deletion, &plan, said, &mut receipts, day(31));
    deletion = oblige(&deletion, &plan, &receipts, day(31));
    assert_eq!(duty::next(&deletion, &plan, day(99)), Duty::Wait(day(100)));
    for later in [100, 901, 9_999] {
        assert_eq!(duty::next(&deletion, &plan, day(later)), Duty::NeedsPerson);
        let still = look(&deletion, &plan, &receipts, day(later)).unwrap();
        assert!(matches!(still, Event::Kept { .. }), "{still:?}");
        let all = Event::Ended {
            legs: plan.expires(),
            next: None,
        };
        assert!(deletion.step(&all, &plan, day(later)).is_err());
        let conditions = crate::condition::of(&deletion, &plan, day(later), None, |_| true);
        let held = conditions.iter().find(|it| it.reason == "RETENTION_HELD");
        assert_eq!(held.map(|it| it.since), Some(day(31)));
    }
    deletion = deletion.step(&Event::Release, &plan, day(1_000)).unwrap();
    deletion = oblige(&deletion, &plan, &receipts, day(1_000));
    let store = leg(&plan, Verb::Expire, "store");
    assert_eq!(deletion.owes(&plan), Mask::of(store));
    assert_eq!(deletion.asked_of(store).unwrap().by, day(1_000));
    let said = ("store", expired(2, vec![]));
    deletion = answer(&deletion, &plan, said, &mut receipts, day(1_000));
    deletion = oblige(&deletion, &plan, &receipts, day(1_000));
    assert_eq!(deletion.closed_at, Some(day(1_000)));
    let none = deletion.step(&Event::Hold, &plan, day(1_001)).unwrap_err();
    assert_eq!(none.reason, Reason::AlreadyEnded);
    let texts = addenda(&deletion, &plan, &receipts).unwrap();
    let at: Vec<_> = texts.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [day(31), day(31), day(1_000), day(1_000)]);
    let holds: Vec<_> = texts
        .iter()
        .filter(|(_, text)| text.contains("hold_placed"))
        .map(|(_, text)| text.contains("hold_released"))
        .collect();
    assert_eq!(holds, [false, true]);
}

#[test]
fn every_addendum_names_the_region_that_the_certificate_names() {
    for plan in [cn(), of_region("eu")] {
        let (mut deletion, mut receipts) = keeping(&plan);
        deletion = oblige(&deletion, &plan, &receipts, over());
        deletion = oblige(&deletion, &plan, &receipts, day(30));
        let said = ("identity", expired(1, vec![]));
        deletion = answer(&deletion, &plan, said, &mut receipts, day(30));
        deletion = deletion.step(&Event::Hold, &plan, day(31)).unwrap();
        deletion = deletion.step(&Event::Release, &plan, day(32)).unwrap();
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let certificate = crate::certificate::issue(&deletion, &plan, &receipts).unwrap();
        let region = read(&certificate).get("region").cloned();
        let texts = addenda(&deletion, &plan, &receipts).unwrap();
        let named = texts.iter().map(|(_, text)| read(text));
        let named: Vec<_> = named.map(|text| text.get("region").cloned()).collect();
        assert_eq!(named, vec![region; 3]);
    }
}

#[test]
fn a_hold_on_what_has_ended_already_keeps_it_open_until_its_release() {
    let plan = cn();
    let (mut deletion, mut receipts) = keeping(&plan);
    deletion = oblige(&deletion, &plan, &receipts, over());
    deletion = oblige(&deletion, &plan, &receipts, day(900));
    deletion = deletion.step(&Event::Hold, &plan, day(900)).unwrap();
    for name in ["store", "identity"] {
        let said = (name, expired(1, vec![]));
        deletion = answer(&deletion, &plan, said, &mut receipts, day(901));
    }
    deletion = oblige(&deletion, &plan, &receipts, day(901));
    assert_eq!((deletion.closed_at, deletion.retains), (None, Mask::EMPTY));
    assert_eq!(duty::next(&deletion, &plan, day(902)), Duty::NeedsPerson);
    deletion = deletion.step(&Event::Release, &plan, day(903)).unwrap();
    deletion = oblige(&deletion, &plan, &receipts, day(903));
    assert_eq!(deletion.closed_at, Some(day(903)));
}

#[test]
fn a_replay_ends_what_had_ended_and_begins_no_period_anew() {
    use crate::policy::retention::StartingPoint;
    let plan = cn();
    let (store, identity) = (who("store"), who("identity"));
    let (mut deletion, mut receipts) = keeping(&plan);
    deletion = oblige(&deletion, &plan, &receipts, over());
    let verbs = |deletion: &Deletion, receipts: &[Kept], who, since| {
        past(deletion, &plan, who, receipts).verbs(since)
    };
    assert_eq!(verbs(&deletion, &receipts, &identity, day(1)), []);
    assert_eq!(
        verbs(&deletion, &receipts, &identity, start()),
        [Verb::Erase, Verb::Probe]
    );
    // By when its expiry was asked, which is before what it said was durable.
    let by = |deletion: &Deletion, receipts: &[Kept], who| {
        past(deletion, &plan, who, receipts).ended_by()
    };
    assert_eq!(by(&deletion, &receipts, &identity), Some(over()));
    let ends = |deletion: &Deletion, receipts: &[Kept]| -> Vec<(String, Option<Time>)> {
        let rules = past(deletion, &plan, &identity, receipts).rules().unwrap();
        let anew = |rule: &replay::Rule<'_>| rule.class.from == StartingPoint::Erasure;
        assert!(rules.iter().all(anew));
        let rules = rules.iter();
        rules
            .map(|rule| (rule.name.to_owned(), rule.until))
            .collect()
    };
    assert_eq!(
        ends(&deletion, &receipts),
        [(PHONE.to_owned(), Some(day(30)))]
    );

    deletion = oblige(&deletion, &plan, &receipts, day(30));
    assert_eq!(by(&deletion, &receipts, &identity), Some(over()));
    let said = ("identity", expired(1, vec![]));
    deletion = answer(&deletion, &plan, said, &mut receipts, day(32));
    assert_eq!(by(&deletion, &receipts, &identity), Some(day(30)));
    assert_eq!(ends(&deletion, &receipts), [], "free for good");
    deletion = oblige(&deletion, &plan, &receipts, day(32));
    for (since, expected) in [
        (start(), vec![Verb::Erase, Verb::Expire, Verb::Probe]),
        (day(31), vec![Verb::Expire]),
        (day(33), vec![]),
    ] {
        assert_eq!(verbs(&deletion, &receipts, &identity, since), expected);
        let others = verbs(&deletion, &receipts, &store, since);
        assert!(!others.contains(&Verb::Expire));
    }
    // Another's records have their own moments.
    let rules = past(&deletion, &plan, &store, &receipts).rules().unwrap();
    assert!(!rules.is_empty() && rules.iter().all(|rule| rule.until.is_none()));

    // An answer that begins a period anew, or keeps what had ended, is none.
    let said = |verb, evidence| {
        let name = replay::next(&deletion, &identity, verb, &[]);
        let whose = (&deletion, &plan);
        let when = (by(&deletion, &receipts, &identity), day(60));
        let answer = Answer::Done(evidence);
        replay::judge(&name, &deletion.account, &answer, whose, &[], when).map(drop)
    };
    let held_back = |days| Evidence {
        retained: vec![kept(PHONE, "PIPL, Art. 51", 1, day(days), day(days))],
        ..Evidence::of(Outcome::NotFound)
    };
    let again = Evidence {
        outcome: Outcome::Retained,
        ..held_back(90)
    };
    assert_eq!(said(Verb::Erase, again), Err(Reason::RetentionTooLong));
    assert_eq!(
        said(Verb::Expire, held_back(30)),
        Err(Reason::RetentionOver)
    );
    assert_eq!(said(Verb::Expire, held_back(31)), Ok(()));
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

#[test]
fn a_replay_that_keeps_what_the_erasure_did_not_is_noticed() {
    let plan = cn();
    let (deletion, receipts) = keeping(&plan);
    let replayed = |class: &str| Evidence {
        retained: vec![kept(class, LAW, 2, day(100), day(900))],
        ..counted(Outcome::Erased, 1)
    };
    let stray = |name: &str, class: &str| {
        let whose = who(name);
        let past = past(&deletion, &plan, &whose, &receipts);
        past.stray(Verb::Erase, &replayed(class)).unwrap()
    };
    assert_eq!(stray("store", ORDERS), None);
    assert_eq!(
        stray("store", "server_logs").as_deref(),
        Some("server_logs")
    );
    assert_eq!(stray("identity", ORDERS).as_deref(), Some(ORDERS));
}

#[test]
fn a_replay_ends_what_was_given_back_before_its_day() {
    let plan = cn();
    let (store, identity) = (who("store"), who("identity"));
    let (deletion, mut receipts) = keeping(&plan);
    let deletion = oblige(&deletion, &plan, &receipts, over());
    let ended = |deletion: &Deletion, receipts: &[Kept], by| {
        let past = past(deletion, &plan, &identity, receipts);
        let ended = past.expired(by, day(5)).unwrap().into_iter();
        ended
            .map(|rule| (rule.name.to_owned(), rule.until))
            .collect::<Vec<_>>()
    };
    assert_eq!(ended(&deletion, &receipts, over()), [], "nothing has ended");
    let deletion = freed(&deletion, &plan, day(3));
    let deletion = oblige(&deletion, &plan, &receipts, day(3));
    let now = [(PHONE.to_owned(), Some(day(5)))];
    assert_eq!(ended(&deletion, &receipts, over()), now, "it said so");
    let said = ("identity", expired(1, vec![]));
    let deletion = answer(&deletion, &plan, said, &mut receipts, day(4));
    let known = past(&deletion, &plan, &identity, &receipts);
    let by = known.ended_by().unwrap();
    assert_eq!(by, day(3));
    // A backup of day 1 says day 30.
    assert!(ended(&deletion, &receipts, by).contains(&(PHONE.to_owned(), Some(day(3)))));
    assert_eq!(known.rules().unwrap(), []);
    let kept_on = Evidence {
        retained: vec![kept(PHONE, "PIPL, Art. 51", 1, day(30), day(30))],
        ..Evidence::of(Outcome::NotFound)
    };
    let stray = |verb| known.stray(verb, &kept_on).unwrap();
    assert_eq!(stray(Verb::Expire).as_deref(), Some(PHONE));
    // A backup of a time between the erasure and the purge has it still.
    assert_eq!(stray(Verb::Erase), None);
    let others = past(&deletion, &plan, &store, &receipts);
    assert_eq!(
        others.expired(by, day(5)).unwrap(),
        [],
        "what others keep has its own moment"
    );
}
