use std::time::Duration;

use super::*;
use crate::fixture::who;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: i64 = 24 * 60 * 60;

/// When operators are alarmed of change 1 if it is looked at twice at each of these times. In seconds.
fn alarms(mut account: Account, looks: &[i64]) -> Vec<i64> {
    let mut alarms = Vec::new();
    for look in looks.iter().flat_map(|look| [*look, *look]) {
        if account
            .change(id(1))
            .unwrap()
            .alarm_is_due(MINUTE, at(look))
        {
            alarms.push(look);
            account = account.step(id(1), Event::Alarmed, at(look)).unwrap();
            // As it is read back.
            let stored = serde_json::to_string(&account).unwrap();
            account = serde_json::from_str(&stored).unwrap();
        }
    }
    alarms
}

#[test]
fn what_nobody_takes_is_an_alarm_once_a_day_and_not_with_every_look() {
    let frozen = account().ask(ask(1, Kind::Freeze), at(1)).unwrap();
    let looks = [1, 60, 61, 62, 3_600, DAY + 60, DAY + 61, 2 * DAY + 61];
    assert_eq!(alarms(frozen.clone(), &looks), [61, DAY + 61, 2 * DAY + 61]);
    // Everybody but one has it: who is named, and when that one has it, nobody is alarmed.
    let mut others = everybody();
    let last = others.pop().unwrap();
    let mut one_left = frozen;
    for participant in others {
        one_left = done(&one_left, 1, participant.as_str()).unwrap();
    }
    let change = one_left.change(id(1)).unwrap();
    assert_eq!(change.owed().collect::<Vec<_>>(), [(&last, None)]);
    assert!(change.hangs_since(at(1)) && !change.hangs_since(at(0)));
    let done = done(&one_left, 1, last.as_str()).unwrap();
    assert_eq!(alarms(done, &looks), Vec::<i64>::new());
}

#[test]
fn what_nobody_can_say_is_an_alarm_too_and_begins_anew_with_the_next_state() {
    let asked = account().ask(ask(1, Kind::ClearRealName), at(1)).unwrap();
    assert_eq!(
        alarms(asked, &[DAY]),
        Vec::<i64>::new(),
        "nobody has proved it"
    );
    let checking = proved(
        &account().ask(ask(1, Kind::ClearRealName), at(1)).unwrap(),
        1,
    );
    let since = checking.change(id(1)).unwrap().state_at;
    let alarmed = checking
        .step(id(1), Event::Alarmed, since + MINUTE)
        .unwrap();
    assert!(
        !alarmed
            .change(id(1))
            .unwrap()
            .alarm_is_due(MINUTE, since + MINUTE * 2)
    );
    let working = alarmed.step(id(1), fine(), since + MINUTE * 2).unwrap();
    let change = working.change(id(1)).unwrap();
    assert!(!change.alarm_is_due(MINUTE, since + MINUTE * 2));
    assert!(change.alarm_is_due(MINUTE, since + MINUTE * 3));
}

#[test]
fn who_gave_no_answer_is_named_while_that_is_all_that_is_known() {
    let checking = proved(
        &account().ask(ask(1, Kind::ClearRealName), at(1)).unwrap(),
        1,
    );
    let owed = |account: &Account| -> Vec<String> {
        let owed = account.change(id(1)).unwrap().owed();
        owed.map(|(participant, _)| participant.to_string())
            .collect()
    };
    assert_eq!(owed(&checking), [""; 0], "nobody was asked yet");
    let (store, identity) = (who("store"), who("identity"));
    let silent = |those: &[&ParticipantId]| {
        Event::Unanswered(those.iter().map(|it| (*it).clone()).collect())
    };
    // Identity comes last where something is done, and is asked with the others.
    let hangs = silent(&[&store, &identity]);
    let hangs = checking.step(id(1), hangs, at(3)).unwrap();
    assert_eq!(owed(&hangs), ["identity", "store"]);
    let since = |account: &Account| account.change(id(1)).unwrap().state_at;
    assert_eq!(
        since(&hangs),
        since(&checking),
        "it hangs since it is checked"
    );
    let again = hangs.step(id(1), silent(&[&identity, &store]), at(4));
    assert_eq!(
        again.unwrap().revision,
        hangs.revision,
        "the same is not written again"
    );
    let one = hangs.step(id(1), silent(&[&store]), at(5)).unwrap();
    assert_eq!(owed(&one), ["store"]);
    assert!(!one.went_on_since(&hangs), "others are silent: no progress");
    let refused = Findings {
        obstacles: vec!["LEGAL_HOLD".to_owned()],
        ..Findings::default()
    };
    let refused = one.step(id(1), Event::Checked(refused), at(6)).unwrap();
    assert_eq!(owed(&refused), [""; 0], "nobody owes what is over");
    let working = one.step(id(1), fine(), at(6)).unwrap();
    assert!(working.change(id(1)).unwrap().legs.len() > 1);
    assert!(working.went_on_since(&one) && !working.went_on_since(&working));
    assert!(working.step(id(1), silent(&[&store]), at(7)).is_err());
}

#[test]
fn who_said_what_it_waits_for_has_as_long_as_a_review() {
    let mut stopped = account()
        .ask(ask(1, Kind::StopPersonalization), at(1))
        .unwrap();
    for participant in everybody() {
        let waits = Event::Waits(participant, "ACCOUNT_SEALED".to_owned());
        stopped = stopped.step(id(1), waits, at(2)).unwrap();
    }
    let since = stopped.change(id(1)).unwrap().state_at;
    let change = stopped.change(id(1)).unwrap();
    assert!(
        change
            .owed()
            .all(|(_, word)| word == Some("ACCOUNT_SEALED"))
    );
    assert!(!change.alarm_is_due(MINUTE, since + Duration::from_secs(29 * 24 * 60 * 60)));
    assert!(change.alarm_is_due(MINUTE, since + REVIEW_MAX));
}

#[test]
fn an_alarm_that_comes_too_late_changes_nothing() {
    let mut over = account().ask(ask(1, Kind::Freeze), at(1)).unwrap();
    for participant in everybody() {
        over = done(&over, 1, participant.as_str()).unwrap();
    }
    assert_eq!(over.step(id(1), Event::Alarmed, at(9)).unwrap(), over);
    let waiting = account().ask(ask(1, Kind::Unfreeze), at(1)).unwrap();
    assert!(waiting.step(id(1), Event::Alarmed, at(9)).is_err());
}
