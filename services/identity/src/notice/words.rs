//! Letters in words: `letters/*.ftl`, in the format of Project Fluent.

use std::sync::LazyLock;
use std::time::Duration;

use farewell_interpreter::{FluentArgs, Words, moment};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Content;
use crate::courier::Written;
use crate::language::Language;

/// They are part of the program: the tests hold them to be whole.
static LETTERS: LazyLock<Words> = LazyLock::new(|| Words::new(|language| [text(language)]));

const fn text(language: Language) -> &'static str {
    match language {
        Language::English => include_str!("../letters/en.ftl"),
        Language::Chinese => include_str!("../letters/zh.ftl"),
    }
}

/// The letter, with a link if there is one.
pub(super) fn written(content: &Content, deletion: &str, link: Option<String>) -> Written {
    let language = Language::from_tag(&content.language).unwrap_or_default();
    let mut args = FluentArgs::new();
    args.set("deletion", deletion.to_owned());
    let zone = TimeZone::get(&content.time_zone).unwrap_or(TimeZone::UTC);
    for (name, at) in [
        ("until", content.revocable_until),
        ("deadline", content.deadline),
    ] {
        // The law that counts may have another zone than the person.
        let at = at.and_then(|at| Timestamp::from_microsecond(at).ok());
        let at = at.map(|at| moment(&at.to_zoned(zone.clone()), language));
        args.set(name, at.unwrap_or_default());
    }
    let say = |id: &str, args: &FluentArgs<'_>| said(id, args, language);
    let mut lines = vec![say(&content.kind, &args).1];
    for reason in &content.reasons {
        if reason.sentence.is_empty() {
            lines.push(say(&reason.code, &args).0);
        } else {
            lines.push(format!("– {}", reason.sentence));
        }
    }
    if content.revocable {
        match &link {
            Some(link) => {
                args.set("link", link.clone());
                lines.push(say("REVOKE_BY_LINK", &args).0);
            }
            None => lines.push(say("REVOKE_BY_LOGIN", &args).0),
        }
    }
    lines.retain(|line| !line.is_empty());
    Written {
        notice: content.name.clone(),
        kind: content.kind.clone(),
        language: language.tag(),
        subject: say(&content.kind, &args).0,
        text: lines.join("\n\n"),
        link,
    }
}

/// A code: what it confirms, a deletion or something milder. Subject and text.
pub(crate) fn code(
    subject: &str,
    code: &str,
    valid: Duration,
    language: Language,
) -> (String, String) {
    let mut args = FluentArgs::new();
    args.set("code", code.to_owned());
    args.set("minutes", minutes(valid));
    let id = if is_deletion(subject) {
        "CODE_DELETION"
    } else {
        "CODE_CHANGE"
    };
    said(id, &args, language)
}

/// A link that confirms the same.
pub(crate) fn confirming(
    subject: &str,
    valid: Duration,
    language: Language,
    link: String,
) -> Written {
    let mut args = FluentArgs::new();
    args.set("link", link.clone());
    args.set("minutes", minutes(valid));
    let id = if is_deletion(subject) {
        "LINK_DELETION"
    } else {
        "LINK_CHANGE"
    };
    let (subject, text) = said(id, &args, language);
    Written {
        notice: "confirm".to_owned(),
        kind: id.to_owned(),
        language: language.tag(),
        subject,
        text,
        link: Some(link),
    }
}

fn is_deletion(subject: &str) -> bool {
    subject.starts_with("deletions/")
}

/// As text: a number would be written with separators.
fn minutes(valid: Duration) -> String {
    valid.as_secs().div_ceil(60).to_string()
}

/// A message's value and its `.text`. What has no words stays empty.
fn said(id: &str, args: &FluentArgs<'_>, language: Language) -> (String, String) {
    let (subject, text) = (
        LETTERS.text(id, args, language),
        LETTERS.beside(id, "text", args, language),
    );
    (subject.unwrap_or_default(), text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Reason;

    const KINDS: [&str; 12] = [
        "WAITING",
        "SEALED",
        "REMINDER",
        "BLOCKED",
        "ERASING",
        "EXTENDED",
        "OVERDUE",
        "REVOKED",
        "DENIED",
        "EXPIRED",
        "MEMORIALIZED",
        "UNMEMORIALIZED",
    ];

    fn content(kind: &str, language: Language) -> Content {
        Content {
            name: "it".to_owned(),
            kind: kind.to_owned(),
            language: language.tag().to_owned(),
            revocable_until: Some(1_800_000_000_000_000),
            deadline: Some(1_800_000_000_000_000),
            revocable: true,
            reasons: Vec::new(),
            time_zone: "Asia/Shanghai".to_owned(),
        }
    }

    #[test]
    fn a_moment_is_told_in_the_zone_of_the_law_and_says_so() {
        let end = 1_800_000_000_000_000;
        for (zone, language, expected) in [
            (
                "Asia/Shanghai",
                Language::English,
                "15 January 2027, 16:00 (UTC+08:00)",
            ),
            (
                "Asia/Shanghai",
                Language::Chinese,
                "2027年1月15日 16:00（UTC+08:00）",
            ),
            (
                "America/New_York",
                Language::English,
                "15 January 2027, 03:00 (UTC-05:00)",
            ),
            (
                "Europe/London",
                Language::English,
                "15 January 2027, 08:00 UTC",
            ),
            ("", Language::Chinese, "2027年1月15日 08:00（UTC）"),
        ] {
            let told = Content {
                revocable_until: Some(end),
                time_zone: zone.to_owned(),
                ..content("SEALED", language)
            };
            let text = written(&told, "d-1", None).text;
            assert!(text.contains(expected), "{zone}: {text}");
        }
    }

    #[test]
    fn every_kind_has_a_subject_and_a_text_in_both_languages() {
        for language in Language::ALL {
            for kind in KINDS {
                for link in [None, Some("https://example.com/#x".to_owned())] {
                    let written = written(&content(kind, language), "d-1", link.clone());
                    let all = format!("{} {}", written.subject, written.text);
                    assert!(!written.subject.is_empty(), "{kind}");
                    assert!(written.text.lines().count() >= 3, "{all}");
                    assert!(!all.contains(['{', '}', '$']), "{all}");
                    let linked = link.is_none_or(|link| written.text.contains(&link));
                    assert!(linked, "{all}");
                }
            }
        }
    }

    #[test]
    fn codes_and_links_are_said_in_every_language_and_say_what_they_confirm() {
        let hour = Duration::from_secs(3_600);
        for language in Language::ALL {
            let mut seen = std::collections::BTreeSet::new();
            for subject in ["deletions/d-1", "requests/r-1"] {
                let (title, text) = code(subject, "012345", hour, language);
                let link = "https://account.example.com/stay#confirm=d-1.0f".to_owned();
                let letter = confirming(subject, hour, language, link.clone());
                for (title, text, holds) in [
                    (title, text, "012345"),
                    (letter.subject, letter.text, &*link),
                ] {
                    assert!(!title.is_empty() && seen.insert(title), "{text}");
                    assert!(text.contains(holds) && text.contains("60"), "{text}");
                    assert!(!text.contains(['{', '}', '$']), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_reason_is_said_in_words() {
        let mut late = content("EXTENDED", Language::Chinese);
        late.revocable = false;
        for code in ["COMPLEXITY", "NUMBER_OF_REQUESTS"] {
            late.reasons = vec![Reason {
                code: code.to_owned(),
                sentence: String::new(),
            }];
            let text = written(&late, "d-1", None).text;
            assert!(text.contains("2027年1月15日 16:00（UTC+08:00）"), "{text}");
            assert_eq!(text.lines().count(), 3, "{text}");
        }
        for language in Language::ALL {
            for code in [
                "DOCUMENTS_UNREADABLE",
                "DOCUMENTS_NOT_ACCEPTED",
                "NOT_THE_OWNER",
                "NOT_GRANTED",
                "UNFOUNDED",
                "LEGAL_OBLIGATION",
            ] {
                let mut denied = content("DENIED", language);
                denied.revocable = false;
                let bare = written(&denied, "d-1", None).text;
                denied.reasons = vec![Reason {
                    code: code.to_owned(),
                    sentence: String::new(),
                }];
                let text = written(&denied, "d-1", None).text;
                assert!(text.starts_with(&bare) && !text.contains(code), "{text}");
                assert!(text.len() > bare.len() + 10, "{text}");
            }
        }
        late.reasons[0].sentence = "有一个订单尚未送达。".to_owned();
        assert!(
            written(&late, "d-1", None)
                .text
                .ends_with("– 有一个订单尚未送达。")
        );
    }
}
