//! What a person must have agreed to, item by item, before a request is taken.

use std::collections::{BTreeMap, BTreeSet};

use super::{Channel, Problem};
use crate::deletion::Consent;

/// Texts by their names, each with the version from which on it counts, for requests of a channel.
pub type Consents = BTreeMap<Channel, BTreeMap<String, u32>>;

/// Texts of one channel.
const TEXTS_MAX: usize = 16;

/// The first text that is not among what was agreed to, with the version that it must have at least.
pub(super) fn missing<'a>(
    needed: &'a Consents,
    channel: Channel,
    given: &[Consent],
) -> Option<(&'a str, u32)> {
    let agreed = |text: &str, version: u32| {
        let mut given = given.iter();
        given.any(|given| given.text == text && given.version >= version)
    };
    let texts = needed.get(&channel)?.iter();
    let mut texts = texts.map(|(text, version)| (text.as_str(), *version));
    texts.find(|(text, version)| !agreed(text, *version))
}

/// Every text that a channel asks for, once.
pub(super) fn texts(needed: &Consents) -> Vec<&str> {
    let texts: BTreeSet<_> = needed.values().flat_map(BTreeMap::keys).collect();
    texts.into_iter().map(String::as_str).collect()
}

/// Whether texts are asked for, and this one is not among them: it may be one that people are free to leave out, or a slip of
/// the pen for one that they agree to.
pub(super) fn knows_others(needed: &Consents, text: &str) -> bool {
    let known = texts(needed);
    !known.is_empty() && !known.contains(&text)
}

pub(super) fn problems(needed: &Consents, open: impl Fn(Channel) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (channel, texts) in needed {
        let key = format!("consents.{}", channel.name());
        if !open(*channel) {
            problems.push(Problem::new(&key, "is a channel that takes no requests"));
        }
        if texts.len() > TEXTS_MAX {
            problems.push(Problem::new(&key, "names more than sixteen texts"));
        }
        for (text, version) in texts {
            let key = format!("{key}.{text}");
            if !super::is_name(text) {
                problems.push(Problem::new(&key, "is not 1 to 64 characters of a-z 0-9 -"));
            }
            if *version == 0 {
                problems.push(Problem::new(&key, "must be a version of at least 1"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Document, Policy};
    use crate::time::Time;

    fn policy(text: &str) -> Result<Policy, Vec<Problem>> {
        let own: Document = toml::from_str(text).unwrap();
        own.over(Document::shipped("cn").unwrap()).policy()
    }

    fn agreed(texts: &[(&str, u32)]) -> Vec<Consent> {
        let consent = |(text, version): &(&str, u32)| Consent {
            text: (*text).to_owned(),
            version: *version,
            at: Time::from_micros(1),
        };
        texts.iter().map(consent).collect()
    }

    #[test]
    fn each_text_of_the_channel_is_agreed_to_by_itself_and_an_old_one_does_not_count() {
        let policy =
            policy("[consents]\nphone = { data-loss = 2, devices-reset = 1 }\nweb = {}").unwrap();
        let missing = |channel, texts: &[(&str, u32)]| {
            let missing = policy.consent_missing(channel, &agreed(texts));
            missing.map(|(text, version)| (text.to_owned(), version))
        };
        let phone = |texts: &[(&str, u32)]| missing(Channel::Phone, texts);
        assert_eq!(phone(&[]), Some(("data-loss".to_owned(), 2)));
        assert_eq!(
            phone(&[("data-loss", 1), ("devices-reset", 1)]),
            Some(("data-loss".to_owned(), 2))
        );
        assert_eq!(
            phone(&[("data-loss", 3), ("devices", 1)]),
            Some(("devices-reset".to_owned(), 1))
        );
        assert_eq!(phone(&[("devices-reset", 1), ("data-loss", 2)]), None);
        assert_eq!(missing(Channel::Web, &[]), None);
        assert_eq!(missing(Channel::Support, &[]), None);
    }

    #[test]
    fn what_nobody_could_agree_to_is_a_mistake() {
        let wrong = policy(
            "channels = { phone = ['sms_code'] }\n[consents]\nweb = { a = 1 }\n\
             phone = { 'Data loss' = 1, b = 0 }",
        );
        let wrong = wrong.unwrap_err();
        let keys: Vec<_> = wrong.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "consents.phone.Data loss",
                "consents.phone.b",
                "consents.web"
            ]
        );
    }
}
