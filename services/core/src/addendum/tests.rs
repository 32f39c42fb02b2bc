use super::*;
use crate::deletion::Event;
use crate::fixture::*;
use crate::receipt::{Outcome, Receipt};

/// The receipt of the wearables, of whom `watch-1` ended so.
fn settled(plan: &Plan, round: u16, outcome: DeviceOutcome) -> receipt::Kept {
    let device = |name: &str, binding_epoch, outcome| Device {
        device: name.parse().unwrap(),
        binding_epoch,
        facts: None,
        outcome: Some(outcome),
        lock: None,
    };
    let mut evidence = counted(Outcome::Erased, 2);
    evidence.devices = vec![
        device("watch-1", 3, outcome),
        device("watch-2", 1, DeviceOutcome::Confirmed),
    ];
    receipt::Kept {
        receipt: Receipt::new(leg(plan, Verb::Erase, "wearables"), round, evidence),
        settled_at: over(),
    }
}

fn returned(device: &str, binding_epoch: u64, ending: Ending) -> DeviceReturn {
    DeviceReturn {
        device: device.parse().unwrap(),
        binding_epoch,
        ending,
        at: over() + 90 * DAY,
    }
}

fn watch() -> DeviceReturn {
    returned("watch-1", 3, Ending::Confirmed)
}

/// What the wearables say of their ERASE.
fn tell(
    deletion: &Deletion,
    receipts: &[receipt::Kept],
    told: &DeviceReturn,
) -> Result<Verdict, Reason> {
    let name = command(deletion, Verb::Erase, "wearables");
    judge(&who("wearables"), &name, deletion, &cn(), receipts, told)
}

fn kept(verdict: Result<Verdict, Reason>) -> Addendum {
    match verdict {
        Ok(Verdict::Keep(addendum)) => addendum,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_that_was_away_ends_long_after_the_purge_and_the_receipt_is_named() {
    let plan = cn();
    let receipts = [settled(&plan, 1, DeviceOutcome::Detached)];
    for ending in Ending::ALL {
        let told = returned("watch-1", 3, ending);
        let addendum = kept(tell(&purged(&plan), &receipts, &told));
        assert_eq!(
            (addendum.before, addendum.ending, addendum.returned_at),
            (DeviceOutcome::Detached, ending, told.at)
        );
        assert_eq!(addendum.fingerprint, receipts[0].receipt.fingerprint);
    }
    // Nor does it have to wait for the others.
    let erasing = settle(
        &erasing(&plan),
        crate::Mask::of(leg(&plan, Verb::Erase, "wearables")),
        &plan,
        over(),
    );
    kept(tell(&erasing.unwrap(), &receipts, &watch()));
}

#[test]
fn what_an_agent_that_was_restored_tells_amends_the_last_receipt_that_names_the_device() {
    let plan = cn();
    let receipts = [
        settled(&plan, 1, DeviceOutcome::Confirmed),
        settled(&plan, 2, DeviceOutcome::Detached),
    ];
    let purged = purged(&plan);
    let again = CommandName {
        round: replay::ROUNDS_FROM + 1,
        ..command(&purged, Verb::Erase, "wearables")
    };
    let tell = |deletion: &Deletion, told: &DeviceReturn| {
        judge(&who("wearables"), &again, deletion, &plan, &receipts, told)
    };
    let addendum = kept(tell(&purged, &watch()));
    assert_eq!(
        (addendum.round, addendum.before),
        (2, DeviceOutcome::Detached)
    );
    assert_eq!(addendum.fingerprint, receipts[1].receipt.fingerprint);
    let refused = |told: &DeviceReturn| tell(&purged, told).unwrap_err();
    let wiped = returned("watch-2", 1, Ending::NeverReturned);
    assert_eq!(refused(&wiped), Reason::NotDetached);
    let nobodys = returned("watch-3", 1, Ending::Executed);
    assert_eq!(refused(&nobodys), Reason::DeviceUnknown);
    let open = tell(&erasing(&plan), &watch());
    assert_eq!(
        open.unwrap_err(),
        Reason::UnknownCommand,
        "nothing is repeated before the purge"
    );
}

#[test]
fn what_was_executed_can_only_be_confirmed_and_what_has_ended_stays_so() {
    let plan = cn();
    for before in DeviceOutcome::ALL {
        for ending in Ending::ALL {
            let receipts = [settled(&plan, 1, before)];
            let told = returned("watch-1", 3, ending);
            let verdict = tell(&purged(&plan), &receipts, &told);
            let fits = before == DeviceOutcome::Detached
                || (before, ending) == (DeviceOutcome::Executed, Ending::Confirmed);
            if fits {
                assert_eq!(kept(verdict).before, before);
            } else {
                assert_eq!(verdict, Err(Reason::NotDetached), "{before:?} {ending:?}");
            }
        }
    }
}

#[test]
fn nobody_tells_of_another_participants_devices() {
    let plan = cn();
    let deletion = purged(&plan);
    let receipts = [settled(&plan, 1, DeviceOutcome::Detached)];
    let name = command(&deletion, Verb::Erase, "wearables");
    let verdict = judge(&who("phones"), &name, &deletion, &plan, &receipts, &watch());
    assert_eq!(verdict, Err(Reason::NotYourLeg));
}

#[test]
fn a_command_that_erases_nothing_or_never_was_is_unknown() {
    let plan = cn();
    let deletion = purged(&plan);
    let receipts = [settled(&plan, 1, DeviceOutcome::Detached)];
    let erase = command(&deletion, Verb::Erase, "wearables");
    let other = DeletionId(uuid::Uuid::from_u128(2));
    let never = [
        command(&deletion, Verb::Seal, "wearables"),
        command(&deletion, Verb::Probe, "wearables"),
        CommandName {
            round: 0,
            ..erase.clone()
        },
        CommandName {
            round: 2,
            ..erase.clone()
        },
        CommandName {
            deletion: other,
            ..erase.clone()
        },
    ];
    for name in never {
        let verdict = judge(
            &who("wearables"),
            &name,
            &deletion,
            &plan,
            &receipts,
            &watch(),
        );
        assert_eq!(verdict, Err(Reason::UnknownCommand), "{name}");
    }
    let stranger = command(&deletion, Verb::Erase, "stranger");
    let verdict = judge(
        &who("stranger"),
        &stranger,
        &deletion,
        &plan,
        &receipts,
        &watch(),
    );
    assert_eq!(verdict, Err(Reason::UnknownCommand));
    let later = Plan::new(2, plan.policy().clone()).unwrap();
    let verdict = judge(
        &who("wearables"),
        &erase,
        &deletion,
        &later,
        &receipts,
        &watch(),
    );
    assert_eq!(verdict, Err(Reason::UnknownCommand));
}

#[test]
fn a_round_that_asked_others_is_no_round_of_this_participant() {
    let plan = cn();
    let residue = Event::Residue(leg(&plan, Verb::Erase, "cloud"));
    let second = verifying(&plan).step(&residue, &plan, over()).unwrap();
    let receipts = [settled(&plan, 1, DeviceOutcome::Detached)];
    assert_eq!(
        tell(&second, &receipts, &watch()),
        Err(Reason::UnknownCommand)
    );
    // Its own round counts, however many came after it.
    let first = CommandName {
        round: 1,
        ..command(&second, Verb::Erase, "wearables")
    };
    let verdict = judge(
        &who("wearables"),
        &first,
        &second,
        &plan,
        &receipts,
        &watch(),
    );
    assert_eq!(kept(verdict).round, 1);
    let verdict = judge(&who("wearables"), &first, &second, &plan, &[], &watch());
    assert_eq!(verdict, Err(Reason::UnknownCommand));
}

#[test]
fn a_return_that_overtakes_its_receipt_is_neither_kept_nor_refused() {
    let plan = cn();
    let verdict = tell(&erasing(&plan), &[], &watch());
    assert_eq!(verdict, Ok(Verdict::Early));
    let residue = Event::Residue(leg(&plan, Verb::Erase, "wearables"));
    let second = verifying(&plan).step(&residue, &plan, over()).unwrap();
    let receipts = [settled(&plan, 1, DeviceOutcome::Detached)];
    assert_eq!(tell(&second, &receipts, &watch()), Ok(Verdict::Early));
}

#[test]
fn nothing_returns_from_an_erasing_that_was_not_asked_for() {
    let plan = cn();
    for deletion in [opened(&plan), cooling(&plan), sealed(&plan)] {
        let verdict = tell(&deletion, &[], &watch());
        assert_eq!(verdict, Err(Reason::NotAsked), "{:?}", deletion.state);
    }
}

#[test]
fn a_device_or_binding_that_the_receipt_does_not_name_is_unknown() {
    let plan = cn();
    let receipts = [settled(&plan, 1, DeviceOutcome::Detached)];
    for (device, binding_epoch) in [
        ("watch-3", 3),
        ("watch-1", 2),
        ("watch-1", 4),
        ("watch-2", 3),
    ] {
        let told = returned(device, binding_epoch, Ending::Confirmed);
        let verdict = tell(&purged(&plan), &receipts, &told);
        assert_eq!(verdict, Err(Reason::DeviceUnknown), "{device}");
    }
}

#[test]
fn a_receipt_that_cannot_be_read_proves_nothing() {
    let plan = cn();
    let mut receipts = [settled(&plan, 1, DeviceOutcome::Detached)];
    receipts[0].receipt.evidence = "{}".to_owned();
    let verdict = tell(&purged(&plan), &receipts, &watch());
    assert_eq!(verdict, Err(Reason::EvidenceConflict));
}

#[test]
fn an_addendum_is_one_line_and_says_what_it_amends() {
    let plan = cn();
    let receipts = [settled(&plan, 1, DeviceOutcome::Detached)];
    let kept = Kept {
        recorded_at: over() + 91 * DAY,
        addendum: kept(tell(&purged(&plan), &receipts, &watch())),
    };
    let text = issue(&plan, &kept).unwrap();
    assert_eq!(issue(&plan, &kept).unwrap(), text);
    assert!(!text.contains('\n'));
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        document,
        serde_json::json!({
            "format": 1,
            "deletion": "deletions/00000000-0000-0000-0000-000000000001",
            "participant": "wearables",
            "round": 1,
            "device": "devices/watch-1",
            "binding_epoch": 3,
            "before": "DETACHED",
            "outcome": "CONFIRMED",
            "returned": "2027-04-22T08:00:00Z",
            "recorded": "2027-04-23T08:00:00Z",
            "fingerprint": document["fingerprint"],
        })
    );
    // The certificate says the same fingerprint, and not a byte of it changes.
    let certificate = crate::certificate::issue(&purged(&plan), &plan, &receipts).unwrap();
    let fingerprint = document["fingerprint"].as_str().unwrap();
    assert_eq!(fingerprint.len(), 32);
    assert!(certificate.contains(fingerprint));
}

#[test]
fn the_region_that_erased_stands_on_it_as_on_the_certificate() {
    let plan = of_region("eu");
    let receipts = [settled(&plan, 1, DeviceOutcome::Detached)];
    let deletion = purged(&plan);
    let name = command(&deletion, Verb::Erase, "wearables");
    let verdict = judge(
        &who("wearables"),
        &name,
        &deletion,
        &plan,
        &receipts,
        &watch(),
    );
    let kept = Kept {
        recorded_at: over() + 91 * DAY,
        addendum: kept(verdict),
    };
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let addendum = read(&issue(&plan, &kept).unwrap());
    let certificate = crate::certificate::issue(&deletion, &plan, &receipts).unwrap();
    assert_eq!(addendum["region"], "eu");
    assert_eq!(addendum["region"], read(&certificate)["region"]);
}

#[test]
fn an_addendum_of_no_leg_of_the_plan_is_not_issued() {
    let plan = cn();
    let receipts = [settled(&plan, 1, DeviceOutcome::Detached)];
    let mut addendum = kept(tell(&purged(&plan), &receipts, &watch()));
    addendum.leg = LegIndex::new(crate::leg::LEGS_MAX - 1).unwrap();
    let kept = Kept {
        recorded_at: over(),
        addendum,
    };
    let refusal = issue(&plan, &kept).unwrap_err();
    assert_eq!(refusal.reason, Reason::EvidenceConflict);
}

#[test]
fn every_ending_has_its_own_word() {
    for ending in Ending::ALL {
        assert_eq!(Ending::from_word(ending.word()), Some(ending));
        let text = serde_json::to_string(&ending).unwrap();
        assert_eq!(text, format!("\"{}\"", ending.word()));
    }
    assert_eq!(Ending::from_word("DETACHED"), None);
}
