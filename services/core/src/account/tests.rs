mod hanging;

use std::collections::HashSet;

use uuid::Uuid;

use super::*;

fn at(seconds: i64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

fn everybody() -> Vec<ParticipantId> {
    ["cloud", "identity", "store"]
        .map(|name| name.parse().unwrap())
        .into()
}

fn ask(number: u128, kind: Kind) -> Ask {
    let proved = matches!(kind, Kind::Unfreeze | Kind::ClearRealName);
    Ask {
        id: RequestId(Uuid::from_u128(number)),
        digest: [u8::try_from(number).unwrap(); 16],
        kind,
        channel: None,
        case: None,
        consent: None,
        factors: [Factor::SmsCode].into_iter().filter(|_| proved).collect(),
        expires_at: at(100),
        participants: everybody(),
    }
}

fn account() -> Account {
    Account::new("a-1".parse().unwrap())
}

fn id(number: u128) -> RequestId {
    RequestId(Uuid::from_u128(number))
}

fn state(account: &Account, number: u128) -> &State {
    &account.change(id(number)).unwrap().state
}

fn fine() -> Event {
    Event::Checked(Findings {
        participants: everybody(),
        ..Findings::default()
    })
}

fn done(account: &Account, number: u128, participant: &str) -> Result<Account, Refusal> {
    let outcome = Outcome::Done {
        lapsed: BTreeMap::new(),
    };
    account.step(
        id(number),
        Event::Told(participant.parse().unwrap(), outcome),
        at(9),
    )
}

fn proved(account: &Account, number: u128) -> Account {
    let proof = Event::FactorVerified(Factor::SmsCode);
    account.step(id(number), proof, at(5)).unwrap()
}

#[test]
fn a_freeze_stands_at_once_and_is_over_when_everybody_has_it() {
    let mut frozen = account().ask(ask(1, Kind::Freeze), at(1)).unwrap();
    assert_eq!((frozen.standing, frozen.generation), (Standing::Frozen, 1));
    assert_eq!(frozen.attention_at(), Some(at(1)));
    for participant in ["cloud", "identity", "store"] {
        assert_eq!(state(&frozen, 1), &State::Working);
        frozen = done(&frozen, 1, participant).unwrap();
    }
    assert_eq!(state(&frozen, 1), &State::Done);
    assert_eq!((frozen.attention_at(), frozen.since), (None, Some(at(1))));
}

#[test]
fn a_backup_has_forgotten_what_was_told_since_and_of_standings_only_the_last_counts() {
    let told = |account: &Account, number| {
        let tell =
            |account: Account, who: &ParticipantId| done(&account, number, who.as_str()).unwrap();
        everybody().iter().fold(account.clone(), tell)
    };
    let frozen = told(&account().ask(ask(1, Kind::Freeze), at(1)).unwrap(), 1);
    let stopped = ask(2, Kind::StopPersonalization);
    let stopped = told(&frozen.ask(stopped, at(2)).unwrap(), 2);
    let thawed = proved(&stopped.ask(ask(3, Kind::Unfreeze), at(3)).unwrap(), 3);
    let thawed = thawed.step(id(3), fine(), at(6)).unwrap();
    // Of the thaw only the cloud has heard.
    let thawed = done(&thawed, 3, "cloud").unwrap();
    for who in ["cloud", "store"] {
        let forgotten = |since| {
            let all = thawed.forgotten(&who.parse().unwrap(), since);
            all.iter().map(|change| change.id).collect::<Vec<_>>()
        };
        assert_eq!(forgotten(at(9)), [id(3), id(2)], "{who}");
        assert_eq!(forgotten(at(10)), [], "{who}");
    }
    assert!(
        thawed
            .forgotten(&"notes".parse().unwrap(), at(0))
            .is_empty()
    );
}

#[test]
fn a_backup_is_never_told_of_a_standing_that_is_over_however_much_is_forgotten() {
    let told = |mut account: Account, number| {
        for who in everybody() {
            account = done(&account, number, who.as_str()).unwrap();
        }
        account
    };
    let frozen = told(account().ask(ask(1, Kind::Freeze), at(1)).unwrap(), 1);
    // Asked for before the second freeze, and proved after it.
    let asked = frozen.ask(ask(2, Kind::Unfreeze), at(2)).unwrap();
    let again = told(asked.ask(ask(3, Kind::Freeze), at(3)).unwrap(), 3);
    let thawed = proved(&again, 2).step(id(2), fine(), at(6)).unwrap();
    let thawed = told(thawed, 2);
    let forgotten = |account: &Account| {
        let all = account.forgotten(&"store".parse().unwrap(), at(0));
        all.iter().map(|change| change.id).collect::<Vec<_>>()
    };
    let mut busy = thawed.clone();
    for number in 4..KEPT_MAX as u128 + 3 {
        let stopped = ask(number, Kind::StopPersonalization);
        busy = told(busy.ask(stopped, at(7)).unwrap(), number);
    }
    assert_eq!(busy.changes.len(), KEPT_MAX);
    assert_eq!(busy.change(id(1)), None);
    assert_eq!(forgotten(&busy)[..2], [id(2), id(4)]);
    // Of what was kept before, the thaw may be gone and the freezes there.
    let mut older = thawed;
    older.changes.retain(|change| change.id != id(2));
    assert_eq!(forgotten(&older), []);
}

#[test]
fn the_same_request_changes_nothing_and_another_body_is_refused() {
    let frozen = account().ask(ask(1, Kind::Freeze), at(1)).unwrap();
    assert_eq!(frozen.ask(ask(1, Kind::Freeze), at(9)).unwrap(), frozen);
    let other = Ask {
        digest: [9; 16],
        ..ask(1, Kind::Freeze)
    };
    assert_eq!(frozen.ask(other, at(9)), Err(Refusal::RequestIdReused));
}

#[test]
fn thawing_needs_a_proof_and_overtakes_a_freeze_that_somebody_still_owes() {
    let frozen = account().ask(ask(1, Kind::Freeze), at(1)).unwrap();
    let asked = frozen.ask(ask(2, Kind::Unfreeze), at(2)).unwrap();
    assert_eq!(asked.standing, Standing::Frozen);
    assert_eq!(asked.step(id(2), fine(), at(3)), Err(Refusal::IllegalState));
    let thawed = proved(&asked, 2).step(id(2), fine(), at(6)).unwrap();
    assert_eq!((thawed.standing, thawed.generation), (Standing::Active, 2));
    assert_eq!(state(&thawed, 1), &State::Superseded);
    assert_eq!(done(&thawed, 1, "cloud").unwrap(), thawed);
}

#[test]
fn who_proves_nothing_learns_nothing_and_the_request_ends() {
    // Of an account that was never frozen.
    let asked = account().ask(ask(1, Kind::Unfreeze), at(1)).unwrap();
    assert_eq!(asked.attention_at(), Some(at(100)));
    assert_eq!(asked.step(id(1), Event::Tick, at(99)).unwrap(), asked);
    let expired = asked.step(id(1), Event::Tick, at(100)).unwrap();
    assert_eq!(state(&expired, 1), &State::Expired);
    let late = Event::FactorVerified(Factor::SmsCode);
    assert_eq!(asked.step(id(1), late, at(100)), Err(Refusal::IllegalState));
    let other = Event::FactorVerified(Factor::Password);
    assert_eq!(
        asked.step(id(1), other, at(5)),
        Err(Refusal::FactorNotRequired)
    );
    let refused = proved(&asked, 1).step(id(1), fine(), at(6)).unwrap();
    let reasons = vec!["ACCOUNT_NOT_FROZEN".to_owned()];
    assert_eq!(state(&refused, 1), &State::Refused { reasons });
}

#[test]
fn a_memorialised_account_is_changed_by_nobody() {
    let kept = account().ask(ask(1, Kind::Memorialize), at(1)).unwrap();
    assert_eq!(kept.standing, Standing::Memorialized);
    assert_eq!(
        kept.ask(ask(2, Kind::Freeze), at(2)),
        Err(Refusal::Memorialized)
    );
    for kind in [Kind::Unfreeze, Kind::ClearRealName] {
        let asked = kept.ask(ask(2, kind), at(2)).unwrap();
        let refused = proved(&asked, 2).step(id(2), fine(), at(6)).unwrap();
        assert_eq!(refused.standing, Standing::Memorialized);
        assert!(
            matches!(state(&refused, 2), State::Refused { reasons } if reasons == &["ACCOUNT_MEMORIALIZED"])
        );
    }
}

#[test]
fn a_real_name_goes_after_all_that_hangs_on_it() {
    let asked = account().ask(ask(1, Kind::ClearRealName), at(1)).unwrap();
    let working = proved(&asked, 1).step(id(1), fine(), at(6)).unwrap();
    assert_eq!(
        (working.generation, working.standing),
        (0, Standing::Active)
    );
    let owing = |account: &Account| -> Vec<String> {
        let change = account.change(id(1)).unwrap();
        change.owing().map(ToString::to_string).collect()
    };
    assert_eq!(owing(&working), ["cloud", "store"]);
    let waits = Event::Waits("store".parse().unwrap(), "ACCOUNT_SEALED".to_owned());
    let waiting = working.step(id(1), waits.clone(), at(7)).unwrap();
    assert_eq!(waiting.step(id(1), waits, at(8)).unwrap(), waiting);
    let waiting = done(&waiting, 1, "cloud").unwrap();
    assert_eq!(owing(&waiting), ["store"]);
    let waiting = done(&waiting, 1, "store").unwrap();
    assert_eq!(owing(&waiting), ["identity"]);
    assert_eq!(
        state(&done(&waiting, 1, "identity").unwrap(), 1),
        &State::Done
    );
}

#[test]
fn the_desk_hears_of_a_memorial_last_and_of_a_freeze_with_everybody_else() {
    let names = ["cloud", "store", "support"];
    let participants: Vec<ParticipantId> = names.map(|name| name.parse().unwrap()).into();
    let of = |kind| Ask {
        participants: participants.clone(),
        ..ask(1, kind)
    };
    let owing = |account: &Account| -> Vec<String> {
        let owing = account.change(id(1)).unwrap().owing();
        owing.map(ToString::to_string).collect()
    };
    let frozen = account().ask(of(Kind::Freeze), at(1)).unwrap();
    assert_eq!(owing(&frozen), names);
    let mut kept = account().ask(of(Kind::Memorialize), at(1)).unwrap();
    for others in [&["cloud", "store"][..], &["store"], &["support"], &[]] {
        assert_eq!(owing(&kept), others);
        if let [next, ..] = others {
            kept = done(&kept, 1, next).unwrap();
        }
    }
    assert_eq!(*state(&kept, 1), State::Done);
}

#[test]
fn a_review_is_followed_by_another_check() {
    let asked = account().ask(ask(1, Kind::ClearRealName), at(1)).unwrap();
    let review = Event::Checked(Findings {
        review: true,
        ..Findings::default()
    });
    let reviewed = proved(&asked, 1).step(id(1), review, at(6)).unwrap();
    let end = at(6) + REVIEW_MAX;
    assert_eq!(reviewed.attention_at(), Some(end));
    let expired = reviewed.step(id(1), Event::Tick, end).unwrap();
    assert_eq!(state(&expired, 1), &State::Expired);
    let second = reviewed.ask(ask(2, Kind::ClearRealName), at(7)).unwrap();
    let second = proved(&second, 2).step(id(2), fine(), at(8)).unwrap();
    let reasons = vec!["REAL_NAME_CLEARING_OPEN".to_owned()];
    assert_eq!(state(&second, 2), &State::Refused { reasons });
    let approval = Event::Approved {
        case: "cases/1".to_owned(),
    };
    let approved = reviewed.step(id(1), approval.clone(), at(7)).unwrap();
    assert_eq!(state(&approved, 1), &State::Checking);
    assert_eq!(
        approved.step(id(1), approval.clone(), at(8)).unwrap(),
        approved
    );
    assert_eq!(
        reviewed.step(id(1), approval, end),
        Err(Refusal::IllegalState)
    );
    let debt = Event::Checked(Findings {
        obstacles: vec!["DEBT_OR_CREDIT".to_owned()],
        ..Findings::default()
    });
    let refused = approved.step(id(1), debt, at(8)).unwrap();
    assert!(matches!(state(&refused, 1), State::Refused { .. }));
    let asked_again = Event::Checked(Findings {
        participants: everybody(),
        review: true,
        ..Findings::default()
    });
    let working = approved.step(id(1), asked_again, at(8)).unwrap();
    assert_eq!(state(&working, 1), &State::Working);
}

#[test]
fn nobody_to_tell_is_nobody_who_did_it() {
    let nobody = Ask {
        participants: Vec::new(),
        ..ask(1, Kind::Freeze)
    };
    assert_eq!(account().ask(nobody, at(1)), Err(Refusal::NobodyToTell));
}

#[test]
fn what_an_account_keeps_has_an_end() {
    let mut asked = account();
    for number in 1..=OPEN_MAX as u128 {
        asked = asked.ask(ask(number, Kind::Unfreeze), at(1)).unwrap();
    }
    // Whoever proves nothing keeps nobody out.
    let asked = asked.ask(ask(99, Kind::Freeze), at(2)).unwrap();
    assert_eq!(state(&asked, 1), &State::Superseded);
    let mut asked = account();
    for number in 1..=OPEN_MAX as u128 {
        asked = asked.ask(ask(number, Kind::Unfreeze), at(1)).unwrap();
        asked = proved(&asked, number);
    }
    assert_eq!(
        asked.ask(ask(99, Kind::Freeze), at(2)),
        Err(Refusal::TooManyOpen)
    );
    let mut asked = account();
    for number in 1..=KEPT_MAX as u128 + 2 {
        asked = asked.ask(ask(number, Kind::Freeze), at(1)).unwrap();
    }
    assert_eq!(asked.changes.len(), KEPT_MAX);
    assert_eq!(asked.change(id(1)), None);
    assert_eq!(asked.changes.last().unwrap().state, State::Working);
}

#[test]
fn every_refusal_has_a_word_of_its_own_and_a_line_of_help() {
    let words: HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.word()).collect();
    assert_eq!(words.len(), Refusal::ALL.len());
    for refusal in Refusal::ALL {
        assert!(
            refusal
                .word()
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b == b'_')
        );
        assert!(!refusal.help().is_empty());
    }
}

#[test]
fn a_memorial_that_was_a_mistake_leaves_the_account_frozen_and_only_a_memorial_is_taken_back() {
    for other in [
        account(),
        account().ask(ask(1, Kind::Freeze), at(1)).unwrap(),
    ] {
        assert_eq!(
            other.ask(ask(2, Kind::Unmemorialize), at(2)),
            Err(Refusal::NotMemorialized)
        );
    }
    let kept = account().ask(ask(1, Kind::Memorialize), at(1)).unwrap();
    let back = kept.ask(ask(2, Kind::Unmemorialize), at(2)).unwrap();
    assert_eq!((back.standing, back.generation), (Standing::Frozen, 2));
    assert_eq!(back.since, Some(at(2)));
    // The memorial that not everybody had heard of is told to nobody any more.
    assert_eq!(back.changes[0].state, State::Superseded);
    assert_eq!(back.ask(ask(2, Kind::Unmemorialize), at(9)).unwrap(), back);
    assert_eq!(
        back.ask(ask(3, Kind::Unmemorialize), at(3)),
        Err(Refusal::NotMemorialized)
    );
    let thaw = back.ask(ask(4, Kind::Unfreeze), at(4)).unwrap();
    assert!(matches!(
        thaw.changes[2].state,
        State::AwaitingVerification { .. }
    ));
}

#[test]
fn advertising_is_stopped_once_and_says_since_when_and_a_memorial_is_left_alone() {
    let asked = account()
        .ask(ask(1, Kind::StopPersonalization), at(1))
        .unwrap();
    assert_eq!(asked.personalization_stopped, Some(at(1)));
    assert_eq!((asked.standing, asked.generation), (Standing::Active, 0));
    let again = asked.ask(ask(2, Kind::StopPersonalization), at(2)).unwrap();
    assert_eq!(again.personalization_stopped, Some(at(1)));
    // Both are told: one that was restored from a backup hears it once more.
    assert!(again.changes.iter().all(|it| it.state == State::Working));
    let frozen = again.ask(ask(3, Kind::Freeze), at(3)).unwrap();
    assert_eq!(frozen.changes[0].state, State::Working);
    let kept = frozen.ask(ask(4, Kind::Memorialize), at(4)).unwrap();
    assert_eq!(
        kept.ask(ask(5, Kind::StopPersonalization), at(5)),
        Err(Refusal::Memorialized)
    );
}
