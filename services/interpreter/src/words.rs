//! Texts by id and language, in the format of Project Fluent: what sentences, letters and pages are written with.

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentError, FluentResource, FluentValue};

use crate::language::Language;

type Bundle = FluentBundle<FluentResource>;

/// Texts in every language. They are part of the program: the tests of whoever has them hold them to be whole.
pub struct Words {
    /// By [`Language::ALL`].
    bundles: [Bundle; 2],
}

impl Words {
    /// Those of `files` in each language; of two with one id the later holds.
    pub fn new<const FILES: usize>(files: impl Fn(Language) -> [&'static str; FILES]) -> Self {
        Self {
            bundles: Language::ALL.map(|language| bundle(language, files(language))),
        }
    }

    /// Whether there is a text.
    pub fn has(&self, id: &str, language: Language) -> bool {
        self.of(language).has_message(id)
    }

    /// A text, with what it speaks of. `None`: there is none.
    pub fn text(&self, id: &str, about: &FluentArgs<'_>, language: Language) -> Option<String> {
        let text = self.checked(id, None, about, language);
        text.map(|(text, _)| text)
    }

    /// What stands beside a text under a name, such as `.remedy`. `None`: nothing does.
    pub fn beside(
        &self,
        id: &str,
        name: &str,
        about: &FluentArgs<'_>,
        language: Language,
    ) -> Option<String> {
        let text = self.checked(id, Some(name), about, language);
        text.map(|(text, _)| text)
    }

    /// Either, and what Fluent found wrong with it.
    pub(crate) fn checked(
        &self,
        id: &str,
        beside: Option<&str>,
        about: &FluentArgs<'_>,
        language: Language,
    ) -> Option<(String, Vec<FluentError>)> {
        let bundle = self.of(language);
        let message = bundle.get_message(id)?;
        let pattern = match beside {
            None => message.value()?,
            Some(name) => message.get_attribute(name)?.value(),
        };
        let mut errors = Vec::new();
        let text = bundle.format_pattern(pattern, Some(about), &mut errors);
        Some((text.into_owned(), errors))
    }

    const fn of(&self, language: Language) -> &Bundle {
        let [english, chinese] = &self.bundles;
        match language {
            Language::English => english,
            Language::Chinese => chinese,
        }
    }
}

fn bundle<const FILES: usize>(language: Language, files: [&str; FILES]) -> Bundle {
    let locale = language.tag().parse().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![locale]);
    // No text runs from right to left here, and the marks would end up in terminals and text messages.
    bundle.set_use_isolating(false);
    bundle.set_formatter(Some(grouped));
    for text in files {
        let resource = FluentResource::try_new(text.to_owned());
        let resource = resource.unwrap_or_else(|(readable, _)| readable);
        bundle.add_resource_overriding(resource);
    }
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
