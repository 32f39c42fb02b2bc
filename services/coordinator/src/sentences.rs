//! The sentences that people read, by code and language: `sentences/*.ftl`, in the format of Project Fluent.
//!
//! They hold counts and times, and nothing else that comes from a participant. What the catalogue doesn't know is shown in
//! the participant's own words.

use std::sync::LazyLock;

use farewell_core::Time;
use farewell_core::account::Refusal;
use farewell_core::blocker::{self, Blocker};
use farewell_core::condition::Condition;
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use jiff::tz::TimeZone;

use crate::language::Language;

type Bundle = FluentBundle<FluentResource>;

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
/// What stands before a reason whose sentence is another than its blocker's or condition's.
const REFUSED: &str = "REFUSED_";
/// A device's own words are the model's: people read that it refuses.
const DEVICE_REFUSED: &str = "DEVICE_REFUSED";
/// Why there is no archive, by what stands before the custodian's word.
const EXPORTS: [&str; 2] = ["EXPORT_TIMED_OUT", "EXPORT_TOO_LARGE"];
const OF_AN_EXPORT: &str = "EXPORT_";
/// As [`UNKNOWN`], where nothing is deleted.
const CHANGE_UNKNOWN: &str = "CHANGE_UNKNOWN";

/// By [`Language::ALL`]. They are part of the program: the tests hold them to be whole.
static BUNDLES: LazyLock<[Bundle; 2]> = LazyLock::new(|| Language::ALL.map(bundle));

/// What is so, and what to do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub message: String,
    pub remedy: String,
}

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
    let found = formatted(late, (participant, 0, None), language);
    found.map(|(said, _)| said).unwrap_or_default()
}

/// Why a request was refused, in one text for the person who asked. `until`: when it may be asked again, if that is known.
///
/// `None`: it is not a reason that persons are given.
pub fn of_refusal(reason: &str, until: Option<Time>, language: Language) -> Option<String> {
    let own = format!("{REFUSED}{reason}");
    let found = formatted(&own, ("", 0, until), language)
        .or_else(|| formatted(reason, ("", 0, until), language));
    let (Said { message, remedy }, _) = found?;
    Some(match language {
        Language::English => format!("{message} {remedy}"),
        // A full stop brings its own room.
        Language::Chinese => message + &remedy,
    })
}

/// Why a change of an account was refused, or waits.
pub fn of_change(word: &str, language: Language) -> Said {
    let known = blocker::known(word).is_some()
        || CHANGES.contains(&word)
        || Refusal::ALL.iter().any(|refusal| refusal.word() == word);
    if !known {
        return said(CHANGE_UNKNOWN, 0, None, language);
    }
    let own = formatted(&format!("{OF_A_CHANGE}{word}"), ("", 0, None), language);
    own.map_or_else(|| said(word, 0, None, language), |(said, _)| said)
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
    formatted(code, ("", count, until), language)
        .map(|(said, _)| said)
        .unwrap_or_default()
}

/// The sentences, and what Fluent found wrong with them.
fn formatted(
    code: &str,
    (who, count, until): (&str, i64, Option<Time>),
    language: Language,
) -> Option<(Said, Vec<fluent_bundle::FluentError>)> {
    let bundle = Language::ALL
        .iter()
        .zip(&*BUNDLES)
        .find_map(|(of, bundle)| (*of == language).then_some(bundle))?;
    let until = until.and_then(|until| moment(until, language));
    let mut args = FluentArgs::new();
    // Who doesn't count says that there is one, at least.
    args.set("count", FluentValue::from(count.max(1)));
    args.set("who", FluentValue::from(who));
    args.set("ends", until.as_ref().map_or("open", |_| "known"));
    args.set("until", until.unwrap_or_default());
    let message = bundle.get_message(code)?;
    let mut errors = Vec::new();
    let mut format = |pattern| {
        let text = bundle.format_pattern(pattern, Some(&args), &mut errors);
        text.into_owned()
    };
    let said = Said {
        message: format(message.value()?),
        remedy: format(message.get_attribute("remedy")?.value()),
    };
    Some((said, errors))
}

fn text(language: Language) -> &'static str {
    match language {
        Language::English => include_str!("sentences/en.ftl"),
        Language::Chinese => include_str!("sentences/zh.ftl"),
    }
}

fn bundle(language: Language) -> Bundle {
    let locale = language.tag().parse().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![locale]);
    // No text runs from right to left here, and the marks would end up in terminals.
    bundle.set_use_isolating(false);
    bundle.set_formatter(Some(grouped));
    let resource = FluentResource::try_new(text(language).to_owned());
    let resource = resource.unwrap_or_else(|(readable, _)| readable);
    bundle.add_resource_overriding(resource);
    bundle
}

/// Digits in groups of three, as both languages write large numbers.
fn grouped<M>(value: &FluentValue<'_>, _: &M) -> Option<String> {
    let FluentValue::Number(number) = value else {
        return None;
    };
    let digits = number.as_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    Some(grouped)
}

/// A time for people, to the minute, in UTC: the coordinator doesn't know where they are. `None`: no calendar has it.
fn moment(time: Time, language: Language) -> Option<String> {
    let format = match language {
        Language::English => "%-d %B %Y, %H:%M UTC",
        Language::Chinese => "%Y年%-m月%-d日 %H:%M（UTC）",
    };
    let at = jiff::Timestamp::from_microsecond(time.micros()).ok()?;
    Some(at.to_zoned(TimeZone::UTC).strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use farewell_core::blocker::CATALOGUE;
    use farewell_core::condition::REASONS;
    use farewell_core::{Policy, Reason};
    use farewell_proto::elsewhere::{ACCOUNT_ELSEWHERE, TO_ACCOUNT_ELSEWHERE};

    use super::*;

    /// 2027-01-15T08:00:00Z.
    const THEN: Time = Time::from_micros(1_800_000_000_000_000);

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
        let blockers = CATALOGUE.iter().map(|known| known.code);
        let late = [LATE_OWED, LATE_DISPUTED, LATE_WAITING];
        let codes = blockers.chain(REASONS).chain([UNKNOWN]).chain(late);
        codes.map(str::to_owned).collect()
    }

    /// What stands in a text in the form of a reason, between these.
    fn words(text: &str, quote: char) -> BTreeSet<String> {
        let is_word = |part: &&str| {
            let whole = part.len() > 3 && !part.ends_with('_');
            whole && part.bytes().all(|it| it.is_ascii_uppercase() || it == b'_')
        };
        // What is quoted is every second part of a line.
        let quoted = |line: &str| -> Vec<String> {
            let parts = line.split(quote).skip(1).step_by(2);
            parts.filter(is_word).map(str::to_owned).collect()
        };
        text.lines().flat_map(quoted).collect()
    }

    fn read(path: &Path) -> String {
        let text = std::fs::read_to_string(path);
        text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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
            let text = read(&root().join(format!("proto/farewell/{service}.proto")));
            let (_, service) = text.split_once("\nservice ").unwrap();
            let (service, _) = service.split_once("\n}\n").unwrap();
            let mut errors = false;
            for line in service.lines() {
                errors =
                    line.trim_start().starts_with("//") && (errors || line.contains("Errors:"));
                let told = line.split_once("Errors:").map_or(line, |(_, told)| told);
                if errors {
                    promised.extend(words(told, '`'));
                }
            }
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
            let text = read(&source.join(file));
            let (text, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
            given.extend(words(text, '"'));
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
                for (count, until) in [(0, None), (1, Some(THEN)), (2, Some(THEN)), (5_000, None)] {
                    let (said, errors) = formatted(&code, ("", count, until), language)
                        .unwrap_or_else(|| panic!("{code} has no sentence in {language:?}"));
                    assert!(errors.is_empty(), "{code}: {errors:?}");
                    for text in [said.message, said.remedy] {
                        let ends = text.ends_with(['.', '。']);
                        assert!(ends && !text.contains(['{', '$']), "{code}: {text}");
                        assert!(
                            !text.contains("  ") && !text.contains('\n'),
                            "{code}: {text}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn no_sentence_is_left_over_and_none_is_written_twice() {
        for language in Language::ALL {
            let resource = FluentResource::try_new(text(language).to_owned()).unwrap();
            let mut bundle = FluentBundle::new_concurrent(vec![]);
            bundle.add_resource(resource).unwrap();
            let written: BTreeSet<_> = text(language)
                .lines()
                .filter(|line| line.starts_with(|first: char| first.is_ascii_alphabetic()))
                .filter_map(|line| line.split_once(" =").map(|(id, _)| id))
                .collect();
            // One that is said otherwise is another sentence of a code that there is.
            let of_whom = |id: &str| -> String {
                let otherwise = [REFUSED, OF_A_CHANGE].into_iter();
                let own = otherwise
                    .filter_map(|prefix| id.strip_prefix(prefix))
                    .next();
                own.filter(|_| id != CHANGE_UNKNOWN)
                    .unwrap_or(id)
                    .to_owned()
            };
            let written: BTreeSet<_> = written.into_iter().map(of_whom).collect();
            assert_eq!(written, codes(), "{language:?}");
        }
    }

    #[test]
    fn every_reason_by_which_a_caller_is_refused_is_said_in_every_language() {
        for language in Language::ALL {
            let mut all = BTreeSet::new();
            for reason in refusals() {
                for until in [None, Some(THEN)] {
                    let text = of_refusal(&reason, until, language);
                    let text = text.unwrap_or_else(|| panic!("{reason}: no {language:?}"));
                    assert!(!text.contains(&reason) && text.len() > 20, "{text}");
                    all.insert(text);
                }
            }
            assert!(all.len() > 80, "{}", all.len());
        }
        let [english, chinese] = Language::ALL;
        let tries = |language| of_refusal("TOO_MANY_TRIES", Some(THEN), language).unwrap();
        assert!(tries(english).contains(". Try again after 15 January 2027, 08:00 UTC."));
        assert!(tries(chinese).contains("。请在2027年1月15日 08:00（UTC）之后重试。"));
        let late = |language| of_refusal("DEADLINE_PASSED", None, language).unwrap();
        assert!(
            late(english).contains("no longer be extended"),
            "not the operators' sentence"
        );
        assert_eq!(of_refusal("NEVER_HEARD_OF", None, english), None);
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
