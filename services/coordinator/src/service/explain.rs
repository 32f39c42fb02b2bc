//! What callers read of accounts, with a sentence for each stable word, in their language.

use farewell_proto::account::v1 as api;

use crate::sentences::{self, Said};
use farewell_interpreter::Language;

/// What has words that people don't understand.
pub trait Explain {
    /// The same, with what they mean.
    fn explained(self, language: Language) -> Self;
}

impl Explain for api::Account {
    fn explained(mut self, language: Language) -> Self {
        let changes = self.changes.into_iter();
        self.changes = changes.map(|it| it.explained(language)).collect();
        self
    }
}

impl Explain for api::AccountChange {
    fn explained(mut self, language: Language) -> Self {
        self.explanations = of_changes(&self.reasons, language);
        for leg in &mut self.legs {
            let waits_for = Some(leg.waits_for.as_str()).filter(|word| !word.is_empty());
            leg.explanation = waits_for.map(|word| of_change(word, language));
        }
        self
    }
}

impl Explain for api::CheckRealNameClearingResponse {
    fn explained(mut self, language: Language) -> Self {
        self.explanations = of_changes(&self.obstacles, language);
        self
    }
}

impl Explain for api::DeviceUnbinding {
    fn explained(mut self, language: Language) -> Self {
        let refused = self.state() == api::DeviceUnbindingState::Refused;
        let said = refused.then(|| sentences::of_unbinding(language));
        self.explanation = said.map(|said| explanation(&self.reason, said));
        self
    }
}

impl Explain for api::Export {
    fn explained(mut self, language: Language) -> Self {
        let failed = self.state() == api::ExportState::Failed;
        let said = failed.then(|| sentences::of_export(&self.reason, language));
        self.explanation = said.map(|said| explanation(&self.reason, said));
        self
    }
}

fn of_changes(words: &[String], language: Language) -> Vec<api::Explanation> {
    let words = words.iter();
    words.map(|word| of_change(word, language)).collect()
}

fn of_change(word: &str, language: Language) -> api::Explanation {
    explanation(word, sentences::of_change(word, language))
}

fn explanation(code: &str, Said { message, remedy }: Said) -> api::Explanation {
    api::Explanation {
        code: code.to_owned(),
        message,
        remedy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_sentence_in_its_place_and_what_says_none_has_none() {
        let [english, chinese] = Language::ALL;
        let change = api::AccountChange {
            reasons: ["NO_REAL_NAME", "KARMA_TOO_LOW"]
                .map(str::to_owned)
                .to_vec(),
            legs: ["", "ACCOUNT_SEALED"]
                .map(|word| api::AccountChangeLeg {
                    waits_for: word.to_owned(),
                    ..Default::default()
                })
                .to_vec(),
            ..Default::default()
        };
        let told = change.clone().explained(english);
        let codes: Vec<_> = told
            .explanations
            .iter()
            .map(|it| it.code.as_str())
            .collect();
        assert_eq!(codes, ["NO_REAL_NAME", "KARMA_TOO_LOW"]);
        assert_eq!(
            told.explanations[0].message,
            "The account has no real name."
        );
        assert_eq!(told.legs[0].explanation, None);
        let waits = told.legs[1].explanation.clone().unwrap();
        assert_eq!(
            (waits.code.as_str(), waits.message.as_str()),
            ("ACCOUNT_SEALED", "The account is being deleted.")
        );
        // Said again in another language, it is said once.
        let again = told.explained(chinese);
        assert_eq!(again, change.explained(chinese));
        assert_eq!(again.explanations[0].message, "该账号没有实名信息。");

        let mut export = api::Export {
            reason: "TIMED_OUT".to_owned(),
            ..Default::default()
        };
        assert_eq!(export.clone().explained(english).explanation, None);
        export.set_state(api::ExportState::Failed);
        let failed = export.explained(english).explanation.unwrap();
        assert!(
            failed.message.contains("did not give its part"),
            "{failed:?}"
        );

        let mut unbinding = api::DeviceUnbinding {
            reason: "FIRMWARE_BUSY".to_owned(),
            ..Default::default()
        };
        assert_eq!(unbinding.clone().explained(english).explanation, None);
        unbinding.set_state(api::DeviceUnbindingState::Refused);
        let refused = unbinding.explained(english).explanation.unwrap();
        assert_eq!(refused.code, "FIRMWARE_BUSY");
        assert!(!refused.remedy.is_empty());
    }
}
