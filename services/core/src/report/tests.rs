use super::*;
use crate::deletion::{Event, State};
use crate::device::{Class, DeviceOutcome, DeviceVerb, Facts, Hub};
use crate::fixture::*;
use crate::time::Time;

fn device(name: &str, binding_epoch: u64, outcome: Option<DeviceOutcome>) -> Device {
    let device = name.parse().unwrap();
    Device {
        device,
        binding_epoch,
        facts: None,
        outcome,
        lock: None,
    }
}

fn roster() -> Vec<Device> {
    vec![device("watch-1", 3, None), device("watch-2", 1, None)]
}

fn wiped() -> Vec<Device> {
    let wiped = Some(DeviceOutcome::Confirmed);
    vec![device("watch-1", 3, wiped), device("watch-2", 1, wiped)]
}

/// What `name` answers to its command of `verb`.
fn answer(deletion: &Deletion, verb: Verb, name: &str, answer: &Answer) -> Result<Verdict, Reason> {
    let command = command(deletion, verb, name);
    judge(
        &who(name),
        &command,
        &deletion.account,
        answer,
        (deletion, &cn()),
        &[],
        over(),
    )
}

fn done(
    deletion: &Deletion,
    verb: Verb,
    name: &str,
    evidence: Evidence,
) -> Result<Verdict, Reason> {
    answer(deletion, verb, name, &Answer::Done(evidence))
}

fn no() -> Answer {
    Answer::Refused {
        reason: "DISK_FULL".to_owned(),
    }
}

#[test]
fn a_complete_answer_of_the_right_participant_settles_its_leg() {
    let plan = cn();
    let verdict = done(
        &erasing(&plan),
        Verb::Erase,
        "wearables",
        counted(Outcome::Erased, 3),
    );
    let receipt = Receipt::new(
        leg(&plan, Verb::Erase, "wearables"),
        1,
        counted(Outcome::Erased, 3),
    );
    assert_eq!(verdict, Ok(Verdict::Settle(receipt)));
}

#[test]
fn an_acknowledgement_is_never_matched_by_name_only() {
    let plan = cn();
    let deletion = erasing(&plan);
    let name = command(&deletion, Verb::Erase, "wearables");
    let answer = Answer::Done(counted(Outcome::Erased, 3));
    let hear = |sender: &str, name: &CommandName, account: &AccountId| {
        judge(
            &who(sender),
            name,
            account,
            &answer,
            (&deletion, &plan),
            &[],
            over(),
        )
    };
    assert_eq!(
        hear("cloud", &name, &deletion.account),
        Err(Reason::NotYourLeg)
    );
    assert_eq!(
        hear("wearables", &name, &account("bob")),
        Err(Reason::AccountMismatch)
    );
    let mut other = name.clone();
    other.deletion = crate::DeletionId(uuid::Uuid::from_u128(2));
    assert_eq!(
        hear("wearables", &other, &deletion.account),
        Err(Reason::UnknownCommand)
    );
    let mut stranger = name.clone();
    stranger.participant = who("stranger");
    assert_eq!(
        hear("stranger", &stranger, &deletion.account),
        Err(Reason::UnknownCommand)
    );
    let later = Plan::new(2, plan.policy().clone()).unwrap();
    let verdict = judge(
        &who("wearables"),
        &name,
        &deletion.account,
        &answer,
        (&deletion, &later),
        &[],
        over(),
    );
    assert_eq!(verdict, Err(Reason::UnknownCommand));
}

#[test]
fn a_round_that_never_was_has_no_commands() {
    let plan = cn();
    let deletion = erasing(&plan);
    for (verb, round) in [(Verb::Erase, 0), (Verb::Erase, 2), (Verb::Seal, 2)] {
        let name = CommandName {
            round,
            ..command(&deletion, verb, "wearables")
        };
        let answer = Answer::Done(counted(Outcome::Erased, 3));
        let verdict = judge(
            &who("wearables"),
            &name,
            &deletion.account,
            &answer,
            (&deletion, &plan),
            &[],
            over(),
        );
        assert_eq!(verdict, Err(Reason::UnknownCommand), "{name}");
    }
    let again = Event::Residue(leg(&plan, Verb::Erase, "cloud"));
    let second = verifying(&plan).step(&again, &plan, over()).unwrap();
    let name = CommandName {
        round: 2,
        ..command(&second, Verb::Seal, "cloud")
    };
    let answer = Answer::Done(Evidence::of(Outcome::Sealed));
    let verdict = judge(
        &who("cloud"),
        &name,
        &second.account,
        &answer,
        (&second, &plan),
        &[],
        over(),
    );
    assert_eq!(
        verdict,
        Err(Reason::UnknownCommand),
        "a seal has no second round"
    );
}

#[test]
fn a_leg_that_was_not_asked_cannot_be_settled() {
    let plan = cn();
    let erased = || counted(Outcome::Erased, 3);
    for deletion in [opened(&plan), sealed(&plan), erasing(&plan)] {
        assert_eq!(
            done(&deletion, Verb::Erase, "identity", erased()),
            Err(Reason::NotAsked)
        );
    }
    let clean = Evidence::of(Outcome::Clean);
    assert_eq!(
        done(&erasing(&plan), Verb::Probe, "cloud", clean),
        Err(Reason::NotAsked)
    );
    let unsealed = Evidence::of(Outcome::Unsealed);
    assert_eq!(
        done(&sealed(&plan), Verb::Unseal, "cloud", unsealed),
        Err(Reason::NotAsked)
    );
}

#[test]
fn an_empty_answer_is_never_counted_as_erased() {
    let plan = cn();
    let deletion = erasing(&plan);
    for outcome in [
        Outcome::Erased,
        Outcome::Anonymised,
        Outcome::CryptoShredded,
    ] {
        let verdict = done(&deletion, Verb::Erase, "wearables", Evidence::of(outcome));
        assert_eq!(verdict, Err(Reason::OutcomeEmpty), "{outcome:?}");
    }
    let less = done(
        &deletion,
        Verb::Erase,
        "wearables",
        counted(Outcome::Erased, -1),
    );
    assert_eq!(less, Err(Reason::OutcomeEmpty));
    for residue in [Evidence::of(Outcome::Residue), counted(Outcome::Residue, 0)] {
        let verdict = done(&verifying(&plan), Verb::Probe, "cloud", residue);
        assert_eq!(verdict, Err(Reason::OutcomeEmpty), "residue of nothing");
    }
}

#[test]
fn an_outcome_answers_only_its_own_verb() {
    let plan = cn();
    let wrong = [
        (cooling(&plan), Verb::Seal, counted(Outcome::Erased, 1)),
        (erasing(&plan), Verb::Erase, Evidence::of(Outcome::Sealed)),
        (erasing(&plan), Verb::Erase, Evidence::of(Outcome::Clean)),
        (verifying(&plan), Verb::Probe, counted(Outcome::Erased, 1)),
    ];
    for (deletion, verb, evidence) in wrong {
        let verdict = done(&deletion, verb, "wearables", evidence);
        assert_eq!(verdict, Err(Reason::OutcomeNotAllowed), "{verb:?}");
    }
}

#[test]
fn receiving_working_and_deferring_are_never_acknowledgements() {
    let deletion = erasing(&cn());
    let watch = leg(&cn(), Verb::Erase, "wearables");
    for progress in [Answer::Received, Answer::InProgress { done: 9, total: 9 }] {
        let verdict = answer(&deletion, Verb::Erase, "wearables", &progress);
        assert_eq!(verdict, Ok(Verdict::Progress(watch)));
    }
    let defer = |retry_after: Duration, reason: &str| {
        let reason = reason.to_owned();
        let later = Answer::Deferred {
            retry_after,
            reason,
            done: 1,
            total: 1,
        };
        answer(&deletion, Verb::Erase, "wearables", &later)
    };
    assert_eq!(defer(SECOND, "OFFLINE"), Ok(Verdict::Defer(watch, SECOND)));
    assert_eq!(defer(SECOND, ""), Err(Reason::ReasonMissing));
    assert_eq!(
        defer(Duration::ZERO, "OFFLINE"),
        Err(Reason::DeferralOutOfRange)
    );
    assert_eq!(defer(8 * DAY, "OFFLINE"), Err(Reason::DeferralOutOfRange));
}

#[test]
fn a_refusal_needs_a_reason_and_a_person_and_is_counted_once() {
    let plan = cn();
    let watch = leg(&plan, Verb::Erase, "wearables");
    let silent = Answer::Refused {
        reason: "disk full".to_owned(),
    };
    let deletion = erasing(&plan);
    assert_eq!(
        answer(&deletion, Verb::Erase, "wearables", &silent),
        Err(Reason::ReasonMissing)
    );
    assert_eq!(
        answer(&deletion, Verb::Erase, "wearables", &no()),
        Ok(Verdict::NeedsPerson {
            leg: watch,
            reason: "DISK_FULL".to_owned(),
        })
    );
    let refused = deletion
        .step(&Event::LegRefused(watch), &plan, over())
        .unwrap();
    assert_eq!(
        answer(&refused, Verb::Erase, "wearables", &no()),
        Ok(Verdict::Progress(watch))
    );
}

#[test]
fn a_late_acknowledgement_still_counts_after_a_refusal_a_revoke_and_a_hold() {
    let plan = cn();
    let settled = |verdict| matches!(verdict, Ok(Verdict::Settle(_)));
    let watch = leg(&plan, Verb::Erase, "wearables");
    let erased = || counted(Outcome::Erased, 3);
    let refused = erasing(&plan)
        .step(&Event::LegRefused(watch), &plan, over())
        .unwrap();
    assert!(settled(done(&refused, Verb::Erase, "wearables", erased())));
    let held = erasing(&plan).step(&Event::Hold, &plan, over()).unwrap();
    assert!(settled(done(&held, Verb::Erase, "wearables", erased())));
    let revoked = cooling(&plan).step(&Event::Revoke, &plan, start()).unwrap();
    assert!(settled(done(
        &revoked,
        Verb::Seal,
        "wearables",
        Evidence::of(Outcome::Sealed)
    )));
}

#[test]
fn what_is_late_and_no_evidence_changes_nothing() {
    let plan = cn();
    let verifying = verifying(&plan);
    let watch = leg(&plan, Verb::Erase, "wearables");
    assert_eq!(
        answer(&verifying, Verb::Erase, "wearables", &no()),
        Ok(Verdict::Progress(watch))
    );
    let revoked = cooling(&plan).step(&Event::Revoke, &plan, start()).unwrap();
    let seal = leg(&plan, Verb::Seal, "wearables");
    assert_eq!(
        answer(&revoked, Verb::Seal, "wearables", &no()),
        Ok(Verdict::Progress(seal))
    );
}

#[test]
fn a_second_answer_is_compared_with_the_first_whenever_it_comes() {
    let plan = cn();
    for deletion in [verifying(&plan), purged(&plan)] {
        let verdict = done(
            &deletion,
            Verb::Erase,
            "wearables",
            counted(Outcome::Erased, 4),
        );
        assert!(
            matches!(verdict, Ok(Verdict::Compare(_))),
            "{:?}",
            deletion.state
        );
    }
}

#[test]
fn residue_of_an_earlier_round_is_compared_and_reopens_nothing() {
    let plan = cn();
    let first = verifying(&plan);
    let residue = || counted(Outcome::Residue, 2);
    let cloud = leg(&plan, Verb::Erase, "cloud");
    let verdict = done(&first, Verb::Probe, "cloud", residue());
    assert!(matches!(verdict, Ok(Verdict::Residue { erase, .. }) if erase == cloud));
    let second = first.step(&Event::Residue(cloud), &plan, over()).unwrap();
    let name = command(&first, Verb::Probe, "store");
    let late = Answer::Done(residue());
    let verdict = judge(
        &who("store"),
        &name,
        &second.account,
        &late,
        (&second, &plan),
        &[],
        over(),
    );
    assert!(matches!(verdict, Ok(Verdict::Compare(_))));
    assert!(matches!(second.state, State::Erasing(_)));
}

#[test]
fn what_is_retained_names_its_class_its_law_and_its_end() {
    let plan = cn();
    let until = over() + 1000 * DAY;
    let invoice = Retention {
        class: "transactions".to_owned(),
        legal_basis: "E-Commerce Law of the PRC, Art. 31".to_owned(),
        count: 2,
        until,
        next: None,
    };
    let open = erase_until(&plan, "store");
    let say = |retained: Vec<Retention>| {
        let evidence = Evidence {
            retained,
            ..Evidence::of(Outcome::Retained)
        };
        done(&open, Verb::Erase, "store", evidence)
    };
    assert!(matches!(say(vec![invoice.clone()]), Ok(Verdict::Settle(_))));
    let bad = [
        vec![],
        vec![Retention {
            class: String::new(),
            ..invoice.clone()
        }],
        vec![Retention {
            legal_basis: String::new(),
            ..invoice.clone()
        }],
        vec![Retention {
            count: 0,
            ..invoice.clone()
        }],
        vec![Retention {
            until: Time::default(),
            ..invoice.clone()
        }],
    ];
    for retained in bad {
        assert_eq!(say(retained), Err(Reason::RetentionIncomplete));
    }
}

#[test]
fn every_device_of_the_roster_has_one_result_of_its_own_epoch() {
    let plan = cn();
    let deletion = erasing(&plan);
    let name = command(&deletion, Verb::Erase, "wearables");
    let say = |devices: Vec<Device>| {
        let answer = Answer::Done(Evidence {
            devices,
            ..counted(Outcome::Erased, 1)
        });
        judge(
            &who("wearables"),
            &name,
            &deletion.account,
            &answer,
            (&deletion, &plan),
            &roster(),
            over(),
        )
    };
    assert!(matches!(say(wiped()), Ok(Verdict::Settle(_))));
    assert_eq!(say(vec![]), Err(Reason::DeviceMissing));
    assert_eq!(say(wiped()[..1].to_vec()), Err(Reason::DeviceMissing));
    assert_eq!(
        say(vec![wiped()[0].clone(), wiped()[0].clone()]),
        Err(Reason::DeviceMissing)
    );
    assert_eq!(say(roster()), Err(Reason::DeviceOutcomeMissing));
    let mut newer = wiped();
    newer[0].binding_epoch = 4;
    assert_eq!(
        say(newer),
        Err(Reason::DeviceUnknown),
        "another owner's binding"
    );
    let mut zero = wiped();
    zero[0].binding_epoch = 0;
    assert_eq!(say(zero), Err(Reason::DeviceOutcomeMissing));
}

/// What the check means, device by device.
fn each_with_each(results: &[Device], roster: &[Device]) -> Result<(), Reason> {
    let has = |all: &[Device], one: &Device| all.iter().any(|it| it.binding() == one.binding());
    if results.iter().any(|result| result.outcome.is_none()) {
        return Err(Reason::DeviceOutcomeMissing);
    }
    if results.iter().any(|result| !has(roster, result)) {
        return Err(Reason::DeviceUnknown);
    }
    if results.len() != roster.len() || roster.iter().any(|device| !has(results, device)) {
        return Err(Reason::DeviceMissing);
    }
    Ok(())
}

/// Every list of at most `length_max` of these.
fn lists(of: &[Device], length_max: usize) -> Vec<Vec<Device>> {
    let mut lists = vec![Vec::new()];
    let mut longest = lists.clone();
    for _ in 0..length_max {
        let longer = longest.iter().flat_map(|list: &Vec<Device>| {
            of.iter()
                .map(move |one| [&list[..], std::slice::from_ref(one)].concat())
        });
        longest = longer.collect();
        lists.extend(longest.iter().cloned());
    }
    lists
}

#[test]
fn results_are_held_against_the_roster_as_if_each_were_compared_with_each() {
    let end = Some(DeviceOutcome::Confirmed);
    let sealed = [
        device("a", 1, None),
        device("a", 2, None),
        device("b", 1, None),
    ];
    let said = [
        device("a", 1, end),
        device("a", 2, end),
        device("b", 1, end),
        device("b", 1, None),
    ];
    let mut refused = 0;
    for roster in lists(&sealed, 3) {
        for results in lists(&said, 3) {
            let verdict = check_devices(&results, &roster);
            assert_eq!(
                verdict,
                each_with_each(&results, &roster),
                "{results:?} for {roster:?}"
            );
            refused += usize::from(verdict.is_err());
        }
    }
    assert!(refused > 0 && refused < 40 * 85);
}

/// Each compared with each, this would take a quarter of an hour.
#[test]
fn a_participant_may_have_very_many_devices() {
    const DEVICES: usize = 200_000;
    let of = |outcome| -> Vec<Device> {
        let names = (0..DEVICES).map(|number| format!("lamp-{number}"));
        names.map(|name| device(&name, 7, outcome)).collect()
    };
    let mut results = of(Some(DeviceOutcome::Executed));
    results.reverse();
    let roster = of(None);
    assert_eq!(check_devices(&results, &roster), Ok(()));
    results.pop();
    assert_eq!(check_devices(&results, &roster), Err(Reason::DeviceMissing));
}

#[test]
fn a_participant_with_devices_cannot_say_that_it_found_nothing() {
    let plan = cn();
    let deletion = erasing(&plan);
    let name = command(&deletion, Verb::Erase, "wearables");
    let answer = Answer::Done(Evidence::of(Outcome::NotFound));
    let verdict = judge(
        &who("wearables"),
        &name,
        &deletion.account,
        &answer,
        (&deletion, &plan),
        &roster(),
        over(),
    );
    assert_eq!(verdict, Err(Reason::DeviceMissing));
}

#[test]
fn a_roster_says_what_each_device_is_and_its_childrens_hubs_are_in_it() {
    let facts = |hub: Option<(&str, u64)>| Facts {
        class: Class::Home,
        verbs: vec![DeviceVerb::RemoveChild],
        co_admin: false,
        household: false,
        hub: hub.map(|(name, binding_epoch)| Hub {
            device: name.parse().unwrap(),
            binding_epoch,
        }),
    };
    let with = |name: &str, hub| Device {
        facts: Some(facts(hub)),
        ..device(name, 3, None)
    };
    let deletion = cooling(&cn());
    let sealed = |devices: Vec<Device>| {
        let evidence = Evidence {
            devices,
            ..Evidence::of(Outcome::Sealed)
        };
        done(&deletion, Verb::Seal, "smarthome", evidence)
    };
    let (hub, lamp) = (with("hub", None), with("lamp", Some(("hub", 3))));
    assert!(sealed(vec![hub.clone(), lamp.clone()]).is_ok());
    let refused = [
        (vec![device("hub", 3, None)], Reason::DeviceFactsMissing),
        (vec![lamp], Reason::DeviceUnknown),
        (vec![hub.clone(), hub.clone()], Reason::DeviceUnknown),
        (
            vec![hub, with("lamp", Some(("hub", 2)))],
            Reason::DeviceUnknown,
        ),
    ];
    for (devices, reason) in refused {
        assert_eq!(sealed(devices), Err(reason));
    }
}
