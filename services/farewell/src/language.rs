//! The language in which sentences are asked for.

use anyhow::Context as _;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};

/// Bytes of a wish; the coordinator reads up to 1,024.
const WISH_BYTES_MAX: usize = 256;

/// A wish that a request carries as `accept-language`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Language(MetadataValue<Ascii>);

impl Language {
    /// Of the shell that the command was given in. `None`: it says none, and the coordinator chooses.
    pub fn of_environment() -> Option<Self> {
        Self::of_locale(|name| std::env::var(name).ok())
    }

    /// POSIX: the first of these that is set says the language of messages.
    fn of_locale(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .filter_map(variable)
            .find(|value| !value.is_empty())?;
        let language = locale.split(['.', '@']).next()?;
        if matches!(language, "C" | "POSIX") {
            return None;
        }
        parse(&language.replace('_', "-")).ok()
    }

    /// Writes it into a request.
    pub fn ask<T>(&self, request: &mut Request<T>) {
        let wish = self.0.clone();
        request.metadata_mut().insert("accept-language", wish);
    }
}

/// From the command line.
///
/// Errors: not a list of language tags, or too long.
pub fn parse(text: &str) -> anyhow::Result<Language> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-*;=., ".contains(&byte);
    anyhow::ensure!(
        !text.is_empty() && text.len() <= WISH_BYTES_MAX && text.bytes().all(allowed),
        "not a language like zh-CN, or a list like `zh, en;q=0.5`"
    );
    let value = text.parse().context("not a language")?;
    Ok(Language(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Option<Language> {
        Language::of_locale(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_shells_locale_becomes_a_tag() {
        let chinese = parse("zh-CN").ok();
        assert_eq!(of(&[("LANG", "zh_CN.UTF-8")]), chinese);
        assert_eq!(
            of(&[("LANG", "de_DE"), ("LC_MESSAGES", "zh_CN@stroke")]),
            chinese
        );
        assert_eq!(
            of(&[("LANG", "de_DE"), ("LC_MESSAGES", ""), ("LC_ALL", "zh_CN")]),
            chinese
        );
        assert_eq!(of(&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C.UTF-8")]), None);
        assert_eq!(of(&[("LANG", "POSIX")]), None);
        assert_eq!(of(&[("LANG", "zh\u{4e2d}")]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_wish_that_is_no_language_is_refused() {
        assert!(parse("zh, en;q=0.5").is_ok());
        for wrong in ["", "zh\n", "中文", &"a".repeat(WISH_BYTES_MAX + 1)] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
