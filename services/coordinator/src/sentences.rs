//! The sentences that people read, by code and language: `sentences/*.ftl`, beside those that the coordinator shares with other ports.
//!
//! They hold counts and times, and nothing else that comes from a participant. What the catalogue doesn't know is shown in
//! the participant's own words.

use std::sync::LazyLock;

use farewell_core::Time;
use farewell_core::account::Refusal;
use farewell_core::blocker::{self, Blocker};
use farewell_core::condition::Condition;
pub use farewell_interpreter::Said;
use farewell_interpreter::{Catalogue, Facts, Language};

/// A code that nobody has words for.
const UNKNOWN: &str = "UNKNOWN";
/// Somebody has not answered that all is erased, or a device has not.
const LATE_OWED: &str = "LATE_OWED";
/// Somebody refuses, or says two things.
const LATE_DISPUTED: &str = "LATE_DISPUTED";
/// It has not begun.
const LATE_WAITING: &str = "LATE_WAITING";

/// Words of participants about changes of accounts that are no blocker's and no refusal's of core.
const CHANGES: [&str; 2] = ["ACCOUNT_SEALED", "NO_REAL_NAME"];
/// What stands before a code whose sentence about a change of an account is another than about a deletion.
const OF_A_CHANGE: &str = "CHANGE_";
/// A device's own words are the model's: people read that it refuses.
const DEVICE_REFUSED: &str = "DEVICE_REFUSED";
/// Why there is no archive, by what stands before the custodian's word.
const EXPORTS: [&str; 2] = ["EXPORT_TIMED_OUT", "EXPORT_TOO_LARGE"];
const OF_AN_EXPORT: &str = "EXPORT_";
/// As [`UNKNOWN`], where nothing is deleted.
const CHANGE_UNKNOWN: &str = "CHANGE_UNKNOWN";

/// All of them.
pub static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::new(text));

/// The sentences of a blocker.
pub fn of_blocker(blocker: &Blocker, language: Language) -> Said {
    if blocker::known(&blocker.code).is_some() {
        return said(&blocker.code, blocker.count, blocker.until, language);
    }
    let generic = said(UNKNOWN, 0, None, language);
    let or = |own: &str, generic| {
        if own.is_empty() {
            generic
        } else {
            own.to_owned()
        }
    };
    Said {
        message: or(&blocker.message, generic.message),
        remedy: or(&blocker.remedy, generic.remedy),
    }
}

/// The sentences of a condition.
pub fn of_condition(condition: &Condition, language: Language) -> Said {
    match &condition.blocker {
        Some(blocker) => of_blocker(blocker, language),
        None => said(&condition.reason, 0, None, language),
    }
}

/// Why a deletion is late, for the person it is about: what is owed and by which product line, and nothing of what operators are
/// told. The words are those of [`farewell_core::notice::owed_reasons`].
pub fn of_late(word: &str, participant: &str, language: Language) -> Said {
    let late = match word {
        "LEG_OWED" => LATE_OWED,
        "LEG_REFUSED" | "EVIDENCE_CONFLICT" => LATE_DISPUTED,
        code if blocker::known(code).is_some() => return said(code, 0, None, language),
        _ => LATE_WAITING,
    };
    let facts = Facts {
        who: participant,
        ..Facts::default()
    };
    CATALOGUE.said(late, facts, language).unwrap_or_default()
}

/// Why a change of an account was refused, or waits.
pub fn of_change(word: &str, language: Language) -> Said {
    let known = blocker::known(word).is_some()
        || CHANGES.contains(&word)
        || Refusal::ALL.iter().any(|refusal| refusal.word() == word);
    if !known {
        return said(CHANGE_UNKNOWN, 0, None, language);
    }
    let own = format!("{OF_A_CHANGE}{word}");
    let own = CATALOGUE.said(&own, Facts::default(), language);
    own.unwrap_or_else(|| said(word, 0, None, language))
}

/// Why a device is not unbound.
pub fn of_unbinding(language: Language) -> Said {
    said(DEVICE_REFUSED, 0, None, language)
}

/// Why there is no archive of an export.
pub fn of_export(word: &str, language: Language) -> Said {
    let own = EXPORTS
        .iter()
        .find(|own| own.strip_prefix(OF_AN_EXPORT) == Some(word));
    said(own.copied().unwrap_or(CHANGE_UNKNOWN), 0, None, language)
}

fn said(code: &str, count: i64, until: Option<Time>, language: Language) -> Said {
    let facts = Facts {
        count,
        // What no calendar has is no end.
        until: until.and_then(|until| jiff::Timestamp::from_microsecond(until.micros()).ok()),
        ..Facts::default()
    };
    CATALOGUE.said(code, facts, language).unwrap_or_default()
}

fn text(language: Language) -> &'static str {
    match language {
        Language::English => include_str!("sentences/en.ftl"),
        Language::Chinese => include_str!("sentences/zh.ftl"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use farewell_core::condition::REASONS;
    use farewell_core::{Policy, Reason};
    use farewell_interpreter::audit;
    use farewell_proto::elsewhere::{ACCOUNT_ELSEWHERE, TO_ACCOUNT_ELSEWHERE};

    use super::*;

    /// 2027-01-15T08:00:00Z.
    const THEN: Time = Time::from_micros(1_800_000_000_000_000);

    /// What stands before a reason whose sentence is another than its blocker's or condition's.
    const REFUSED: &str = "REFUSED_";
    /// What stands in the coordinator's source in the form of a reason and is told to no caller: notes of the ledger, words of
    /// participants that are told as others, names, and refusals of other ports.
    const NOT_TOLD: [&str; 7] = [
        "ACCOUNT_ERASED",
        "NOT_AN_OPERATOR",
        "NOT_A_PARTICIPANT",
        "REVOKED",
        "REVOKED_BY_LINK",
        "TO_ACCOUNT_ERASED",
        "UNSPECIFIED",
    ];

    fn catalogued() -> BTreeSet<String> {
        let blockers = blocker::CATALOGUE.iter().map(|known| known.code);
        let late = [LATE_OWED, LATE_DISPUTED, LATE_WAITING];
        let codes = blockers.chain(REASONS).chain([UNKNOWN]).chain(late);
        codes.map(str::to_owned).collect()
    }

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// Reasons by which callers are refused, as the interface says: `Errors:` of each call of the services on their port.
    fn promised() -> BTreeSet<String> {
        let mut promised = BTreeSet::new();
        for service in [
            "account/v1/account_service",
            "deletion/v1/deletion_service",
            "identifier/v1/identifier_service",
        ] {
            let interface = root().join(format!("proto/farewell/{service}.proto"));
            promised.extend(audit::promised(&interface));
        }
        assert!(promised.len() > 60, "{promised:?}");
        promised
    }

    /// And as the source says, wherever callers are answered.
    fn given() -> BTreeSet<String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let others = ["hanging.rs", "intervene.rs", "operator.rs", "refused.rs"];
        let mut files = ["admission.rs", "error.rs", "throttle.rs"]
            .map(Into::into)
            .to_vec();
        for folder in ["service", "region"] {
            for file in std::fs::read_dir(source.join(folder)).unwrap() {
                let name = file.unwrap().file_name().into_string().unwrap();
                if !others.contains(&name.as_str()) {
                    files.push(format!("{folder}/{name}"));
                }
            }
        }
        let mut given = BTreeSet::new();
        for file in files {
            let text = std::fs::read_to_string(source.join(file)).unwrap();
            let (text, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
            given.extend(audit::words(text, '"'));
        }
        // What participants get wrong comes last there, and is told to them.
        let core = Reason::ALL
            .iter()
            .take_while(|it| **it != Reason::NotYourLeg);
        given.extend(core.map(|reason| reason.word().to_owned()));
        given.extend(Refusal::ALL.map(|refusal| refusal.word().to_owned()));
        given.extend([ACCOUNT_ELSEWHERE, TO_ACCOUNT_ELSEWHERE].map(str::to_owned));
        given
    }

    fn refusals() -> BTreeSet<String> {
        let mut refusals = promised();
        refusals.extend(given());
        for word in NOT_TOLD {
            assert!(refusals.contains(word), "{word} stands nowhere any more");
        }
        refusals.retain(|word| !NOT_TOLD.contains(&word.as_str()));
        refusals
    }

    /// Every code that there is to be a sentence for.
    fn codes() -> BTreeSet<String> {
        let mut codes = catalogued();
        codes.extend(refusals());
        codes.extend(CHANGES.map(str::to_owned));
        codes.extend(EXPORTS.map(str::to_owned));
        codes.extend([DEVICE_REFUSED, CHANGE_UNKNOWN].map(str::to_owned));
        codes
    }

    /// [`THEN`], as a refusal is given it.
    fn then() -> Option<jiff::Timestamp> {
        jiff::Timestamp::from_microsecond(THEN.micros()).ok()
    }

    fn blocker(code: &str, count: i64, until: Option<Time>) -> Blocker {
        Blocker {
            count,
            until,
            ..Blocker::named(code, &"store".parse().unwrap(), &Policy::cn())
        }
    }

    #[test]
    fn every_code_has_both_sentences_in_both_languages_and_no_variable_is_missing() {
        for language in Language::ALL {
            for code in codes() {
                audit::hold_whole(&CATALOGUE, &code, language);
            }
        }
    }

    #[test]
    fn no_sentence_is_left_over_and_none_is_written_twice() {
        // One that is said otherwise is another sentence of a code that there is.
        let of_whom = |id: &String| -> String {
            let otherwise = [REFUSED, OF_A_CHANGE].into_iter();
            let own = otherwise
                .filter_map(|prefix| id.strip_prefix(prefix))
                .next();
            own.filter(|_| id != CHANGE_UNKNOWN)
                .unwrap_or(id)
                .to_owned()
        };
        for language in Language::ALL {
            audit::hold_once(&CATALOGUE, language);
            let [own, shared] = audit::codes(&CATALOGUE, language)
                .map(|ids| -> BTreeSet<_> { ids.iter().map(of_whom).collect() });
            let left: Vec<_> = own.difference(&codes()).cloned().collect();
            assert!(left.is_empty(), "{language:?}: {left:?}");
            let written: BTreeSet<_> = own.union(&shared).cloned().collect();
            let missing: Vec<_> = codes().difference(&written).cloned().collect();
            assert!(missing.is_empty(), "{language:?}: {missing:?}");
        }
    }

    #[test]
    fn every_reason_by_which_a_caller_is_refused_is_said_in_every_language() {
        for language in Language::ALL {
            let mut all = BTreeSet::new();
            for reason in refusals() {
                for until in [None, then()] {
                    let text = CATALOGUE.of_refusal(&reason, until, language);
                    let text = text.unwrap_or_else(|| panic!("{reason}: no {language:?}"));
                    assert!(!text.contains(&reason) && text.len() > 20, "{text}");
                    all.insert(text);
                }
            }
            assert!(all.len() > 80, "{}", all.len());
        }
        let [english, chinese] = Language::ALL;
        let tries = |language| {
            CATALOGUE
                .of_refusal("TOO_MANY_TRIES", then(), language)
                .unwrap()
        };
        assert!(tries(english).contains(". Try again after 15 January 2027, 08:00 UTC."));
        assert!(tries(chinese).contains("。请在2027年1月15日 08:00（UTC）之后重试。"));
        let late = |language| {
            CATALOGUE
                .of_refusal("DEADLINE_PASSED", None, language)
                .unwrap()
        };
        assert!(
            late(english).contains("no longer be extended"),
            "not the operators' sentence"
        );
        assert_eq!(CATALOGUE.of_refusal("NEVER_HEARD_OF", None, english), None);
    }

    #[test]
    fn what_is_in_the_way_of_a_change_speaks_of_no_deletion_that_nobody_asked_for() {
        for language in Language::ALL {
            let hold = of_change("LEGAL_HOLD", language);
            assert_ne!(hold, said("LEGAL_HOLD", 0, None, language));
            let owed = of_change("DEBT_OR_CREDIT", language);
            assert_eq!(owed, said("DEBT_OR_CREDIT", 0, None, language));
            for word in Refusal::ALL.map(Refusal::word).into_iter().chain(CHANGES) {
                assert!(!of_change(word, language).message.is_empty(), "{word}");
            }
            // A participant's word is no way to a sentence of somebody else's.
            for word in ["WRONG_PROOF", "LEG_OWED", "KARMA_TOO_LOW", ""] {
                let unknown = said(CHANGE_UNKNOWN, 0, None, language);
                assert_eq!(of_change(word, language), unknown, "{word}");
                assert_eq!(of_export(word, language), unknown, "{word}");
            }
            for word in ["TIMED_OUT", "TOO_LARGE"] {
                assert!(!of_export(word, language).message.is_empty(), "{word}");
            }
            assert!(!of_unbinding(language).remedy.is_empty());
        }
    }

    #[test]
    fn plurals_numbers_and_dates_are_as_each_language_writes_them() {
        let say = |code, count, until, language| of_blocker(&blocker(code, count, until), language);
        let [english, chinese] = Language::ALL;
        let orders = |count, language| say("UNFINISHED_ORDER", count, None, language).message;
        assert_eq!(orders(0, english), "An order has not arrived yet.");
        assert_eq!(orders(1, english), "An order has not arrived yet.");
        assert_eq!(orders(2, english), "2 orders have not arrived yet.");
        assert_eq!(orders(2, chinese), "有 2 个订单尚未送达。");
        let points = |language| say("POINTS_LEFT", 1_234_567, None, language).message;
        assert_eq!(points(english), "1,234,567 loyalty points are left.");
        assert_eq!(points(chinese), "还有 1,234,567 积分未使用。");
        let banned = |until, language| say("COMMUNITY_BANNED", 0, until, language).message;
        assert_eq!(
            banned(Some(THEN), english),
            "You are banned from the community until 15 January 2027, 08:00 UTC. That does not stop the deletion."
        );
        assert_eq!(
            banned(Some(THEN), chinese),
            "您已被社区封禁至2027年1月15日 08:00（UTC），但这不影响注销。"
        );
        let endless = banned(Some(Time::from_micros(i64::MAX)), english);
        assert_eq!(endless, banned(None, english));
    }

    #[test]
    fn who_waits_for_a_deletion_that_is_late_reads_nothing_of_legs_and_queues() {
        let words = [
            "LEG_OWED",
            "LEG_REFUSED",
            "EVIDENCE_CONFLICT",
            "COOLING_OFF",
            "",
        ];
        for language in Language::ALL {
            for word in words {
                let said = of_late(word, "cloud", language);
                assert!(!said.message.is_empty(), "{word}");
                let text = format!("{} {}", said.message, said.remedy).to_lowercase();
                for jargon in ["leg", "participant", "queue", "参与方", "指令", "队列"] {
                    assert!(!text.contains(jargon), "{word}: {text}");
                }
            }
            let owed = |who| of_late("LEG_OWED", who, language).message;
            assert_ne!(owed("phones"), owed("wearables"));
            assert_eq!(owed("cloud"), owed("anybody"));
            let held = of_late("LEGAL_HOLD", "", language);
            assert_eq!(held, said("LEGAL_HOLD", 0, None, language));
        }
    }

    #[test]
    fn what_the_catalogue_does_not_know_is_said_in_the_participants_words() {
        let mut foreign = blocker("KARMA_TOO_LOW", 3, None);
        let generic = of_blocker(&foreign, Language::Chinese);
        assert_eq!(generic, said(UNKNOWN, 0, None, Language::Chinese));
        foreign.message = "Your karma is too low.".to_owned();
        let own = of_blocker(&foreign, Language::Chinese);
        assert_eq!(
            (own.message, own.remedy),
            (foreign.message, generic.remedy.clone())
        );
        let mut known = blocker("WALLET_BALANCE", 0, None);
        known.message = "Send your password to".to_owned();
        assert_eq!(
            of_blocker(&known, Language::English).message,
            "There is money in the wallet."
        );
        // A code is no way to a sentence that is not a blocker's.
        let odd = blocker(REASONS[4], 0, None);
        assert_eq!(of_blocker(&odd, Language::Chinese), generic);
    }
}
