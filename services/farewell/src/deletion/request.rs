//! What a person types, as the wire spells it.

use farewell_proto::deletion::v1::{Channel, ExtensionReason, Factor, State};
use uuid::Uuid;

/// The request's id.
#[derive(Clone, Debug, clap::Args)]
pub struct Id {
    /// Repeat an earlier request whose answer was lost: the same id gets the same answer [default: a new one]
    #[arg(id = "request_id", long = "request-id", value_name = "UUID")]
    given: Option<Uuid>,
}

impl Id {
    /// The id to send. A new one is said on standard error first: it is needed if the answer gets lost.
    pub fn or_new(&self) -> String {
        match self.given {
            Some(id) => id.to_string(),
            None => {
                let id = Uuid::new_v4();
                eprintln!("request-id {id}");
                id.to_string()
            }
        }
    }
}

/// `deletions/{deletion}` of a name or an id; `-` stands for all.
pub fn deletion_name(text: &str) -> String {
    prefixed("deletions/", text)
}

/// `accounts/{account}` of a name or an id.
pub fn account_name(text: &str) -> String {
    prefixed("accounts/", text)
}

/// `{prefix}{id}` of a name or an id.
pub fn prefixed(prefix: &str, text: &str) -> String {
    if text.starts_with(prefix) {
        text.to_owned()
    } else {
        format!("{prefix}{text}")
    }
}

/// `phone` of `CHANNEL_PHONE`.
pub fn channel(text: &str) -> Result<Channel, String> {
    let choices = "phone, web, support, service-centre, legacy";
    word("CHANNEL_", text, Channel::from_str_name, choices)
}

/// `sms-code` of `FACTOR_SMS_CODE`.
pub fn factor(text: &str) -> Result<Factor, String> {
    let choices = "sms-code, email-code, email-link, password, documents, device-in-hand";
    word("FACTOR_", text, Factor::from_str_name, choices)
}

/// `ERASING` of `STATE_ERASING`.
pub fn state(text: &str) -> Result<State, String> {
    let choices =
        "AWAITING_VERIFICATION, COOLING_OFF, ERASING, VERIFYING, PURGED, REVOKED, DENIED, EXPIRED";
    word("STATE_", text, State::from_str_name, choices)
}

/// `complexity` of `EXTENSION_REASON_COMPLEXITY`.
pub fn extension(text: &str) -> Result<ExtensionReason, String> {
    let parse = ExtensionReason::from_str_name;
    let choices = "complexity, number-of-requests";
    word("EXTENSION_REASON_", text, parse, choices)
}

pub(crate) fn word<T>(
    prefix: &str,
    text: &str,
    parse: fn(&str) -> Option<T>,
    choices: &str,
) -> Result<T, String> {
    let name = text.replace('-', "_").to_uppercase();
    match name.as_str() {
        "UNSPECIFIED" => None,
        name => parse(&format!("{prefix}{name}")),
    }
    .ok_or_else(|| format!("there is no `{text}`; there are {choices}"))
}

/// `data-loss-warning=3`.
pub fn consent(text: &str) -> Result<(String, u32), String> {
    text.split_once('=')
        .and_then(|(text, version)| Some((text.to_owned(), version.parse().ok()?)))
        .ok_or_else(|| "must be TEXT=VERSION, for instance data-loss-warning=3".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_written_as_people_write_them() {
        assert_eq!(channel("service-centre"), Ok(Channel::ServiceCentre));
        assert_eq!(factor("sms-code"), Ok(Factor::SmsCode));
        assert_eq!(state("COOLING_OFF"), Ok(State::CoolingOff));
        assert!(
            channel("unspecified").is_err(),
            "unspecified asks for nothing"
        );
        assert!(channel("fax").is_err());
    }

    #[test]
    fn an_id_and_a_name_are_the_same_deletion() {
        assert_eq!(deletion_name("1"), "deletions/1");
        assert_eq!(deletion_name("deletions/1"), "deletions/1");
        assert_eq!(account_name("a1"), "accounts/a1");
    }

    #[test]
    fn a_consent_has_a_version() {
        assert_eq!(consent("warning=3"), Ok(("warning".to_owned(), 3)));
        assert!(consent("warning").is_err());
    }
}
