//! The language that somebody reads: a caller's, from the metadata `accept-language`; an account's owner's, from a stored tag.
//!
//! A language is a wish: whatever can't be understood is answered in English, and never refused.

use std::fmt;

use serde::Deserialize;
use tonic::Response;
use tonic::codegen::http::HeaderMap;
use tonic::metadata::{MetadataMap, MetadataValue};

/// Bytes of all `accept-language` of a request; browsers send less than 200.
const WISH_BYTES_MAX: usize = 1_024;
/// As far as RFC 9110, section 12.4.2, writes weights.
const THOUSANDTHS: u16 = 1_000;

/// A language that sentences are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Language {
    #[default]
    #[serde(rename = "en")]
    English,
    #[serde(rename = "zh")]
    Chinese,
}

impl Language {
    /// Every language, in the order of their declaration.
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// The language of a request.
    pub fn of(metadata: &MetadataMap) -> Self {
        Self::of_headers(metadata.as_ref())
    }

    /// The same, before anybody has read more of it.
    pub fn of_headers(headers: &HeaderMap) -> Self {
        let mut wish = String::new();
        for value in headers.get_all("accept-language") {
            let Ok(part) = value.to_str() else {
                return Self::default();
            };
            if wish.len() + part.len() >= WISH_BYTES_MAX {
                return Self::default();
            }
            wish.push(',');
            wish.push_str(part);
        }
        wished(&wish).unwrap_or_default()
    }

    /// The tag of RFC 5646.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }

    /// From its tag.
    pub fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.tag() == tag)
    }

    /// An answer that says its language.
    pub fn respond<T>(self, message: T) -> Response<T> {
        let mut response = Response::new(message);
        let tag = MetadataValue::from_static(self.tag());
        response.metadata_mut().insert("content-language", tag);
        response
    }
}

/// Its tag.
impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

/// The language with the highest weight, the first of equals. `None`: nothing that is spoken here, or not as RFC 9110,
/// section 12.5.4, writes it.
fn wished(wish: &str) -> Option<Language> {
    let mut best = None;
    // Empty elements are allowed in lists: section 5.6.1.
    for element in wish.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let (range, weight) = weighted(element)?;
        let Some(language) = spoken(range) else {
            continue;
        };
        if weight > best.map_or(0, |(best, _)| best) {
            best = Some((weight, language));
        }
    }
    best.map(|(_, language)| language)
}

/// A range and its weight in thousandths. `None`: malformed.
fn weighted(element: &str) -> Option<(&str, u16)> {
    let (range, weight) = match element.split_once(';') {
        None => (element, THOUSANDTHS),
        Some((range, parameter)) => {
            let (name, value) = parameter.trim_start().split_once('=')?;
            if !name.eq_ignore_ascii_case("q") {
                return None;
            }
            (range.trim_end(), thousandths(value)?)
        }
    };
    let subtag = |subtag: &str| {
        (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    (range == "*" || range.split('-').all(subtag)).then_some((range, weight))
}

/// `0`, `1`, and up to three digits after a point.
fn thousandths(value: &str) -> Option<u16> {
    let (whole, digits) = value.split_once('.').unwrap_or((value, ""));
    if digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{digits:0<3}").parse().ok()?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(THOUSANDTHS),
        _ => None,
    }
}

/// Which language a range means here. Written Chinese has one text for all of its scripts and regions.
fn spoken(range: &str) -> Option<Language> {
    let primary = range.split('-').next()?;
    if primary.eq_ignore_ascii_case("zh") {
        Some(Language::Chinese)
    } else if primary.eq_ignore_ascii_case("en") || primary == "*" {
        Some(Language::English)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(wishes: &[&str]) -> &'static str {
        let mut metadata = MetadataMap::new();
        for wish in wishes {
            metadata.append("accept-language", wish.parse().unwrap());
        }
        Language::of(&metadata).tag()
    }

    #[test]
    fn chinese_is_answered_in_chinese_and_everything_else_in_english() {
        for wish in [
            "zh",
            "ZH",
            "zh-CN",
            "zh-Hans",
            "zh-Hans-CN",
            "zh-TW",
            "zh-CN,zh;q=0.9,en;q=0.8",
            "en;q=0.5, zh;q=0.7",
            "en;q=0.5 ,\tzh ; q=1.000",
            "fr, zh;q=0.001",
            ",, zh ,",
            "en;q=0, zh;Q=0.1",
        ] {
            assert_eq!(of(&[wish]), "zh", "{wish}");
        }
        for wish in [
            "",
            "en",
            "fr",
            "*",
            "en, zh",
            "zh;q=0.2, en-GB;q=0.21",
            "zh;q=0",
            "zh;q=0.8, *;q=0.9",
            "zhx",
        ] {
            assert_eq!(of(&[wish]), "en", "{wish}");
        }
        assert_eq!(of(&[]), "en");
        assert_eq!(of(&["en;q=0.5", "zh"]), "zh", "two lines are one list");
    }

    #[test]
    fn what_is_malformed_or_absurd_is_answered_in_english() {
        for wish in [
            "zh;",
            "zh;q",
            "zh;q=",
            "zh;q=2",
            "zh;q=-1",
            "zh;q=1.001",
            "zh;q=0.0001",
            "zh;q=0.5;q=0.5",
            "zh;q=NaN",
            "zh;v=1",
            "zh, e n",
            "zh, -",
            "zh, abcdefghi",
            "zh_CN",
            "zh, 中文",
        ] {
            let mut metadata = MetadataMap::new();
            if let Ok(value) = wish.parse() {
                metadata.insert("accept-language", value);
            }
            assert_eq!(Language::of(&metadata).tag(), "en", "{wish}");
        }
        assert_eq!(of(&[&format!("zh{}", ",fr".repeat(400))]), "en");
        let endless = ["zh"; 2_000];
        assert_eq!(of(&endless), "en");
    }
}
