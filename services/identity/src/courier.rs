//! How a code reaches a person. The only place where a code exists outside of memory, and only in the letter itself.

mod file;
mod smtp;
mod webhook;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use farewell_kit::{CodeChannel, Fault};

use self::file::File;
use self::smtp::Smtp;
use self::webhook::Webhook;
use crate::language::Language;

/// How long one delivery may take; shorter than what the caller waits before asking again.
pub(crate) const CARRY_LIMIT: Duration = Duration::from_secs(10);

/// Carries letters.
#[cfg_attr(test, mockall::automock)]
#[async_trait]
pub trait Courier: Send + Sync + 'static {
    /// Returns once the letter is in the hands of whoever delivers it.
    ///
    /// Errors: it isn't; their text holds neither address nor code.
    async fn carry(&self, letter: &Letter) -> Result<(), Fault>;
}

/// Something for a person, on its way. Its `Debug` shows neither address nor content.
#[derive(Clone)]
pub struct Letter {
    /// The same however often it is carried: by this a gateway knows a repeat.
    pub id: String,
    /// A phone number, a mail address or a session of a device.
    pub to: String,
    /// Which of them.
    pub way: Way,
    /// `deletions/{deletion}`, or `requests/{request_id}` of what else is to be confirmed.
    pub deletion: String,
    /// What it says.
    pub content: Content,
}

/// How a letter travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Sms,
    Email,
    /// To a device that is signed in, by the session's id: the company's push gateway knows which device has that.
    Push,
}

impl Way {
    /// How it is stored.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Sms => "SMS",
            Self::Email => "EMAIL",
            Self::Push => "PUSH",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Sms, Self::Email, Self::Push]
            .into_iter()
            .find(|way| way.word() == word)
    }
}

impl From<CodeChannel> for Way {
    fn from(channel: CodeChannel) -> Self {
        match channel {
            CodeChannel::Sms => Self::Sms,
            CodeChannel::Email => Self::Email,
        }
    }
}

/// What a letter says.
#[derive(Clone)]
pub enum Content {
    /// Six digits, and how long they are accepted.
    Code {
        code: String,
        valid: Duration,
        language: Language,
    },
    /// A notice, or a link that confirms something.
    Notice(Written),
}

/// A notice in words.
#[derive(Clone, PartialEq, Eq)]
pub struct Written {
    /// What names it among the notices of its deletion.
    pub notice: String,
    /// For instance `SEALED`.
    pub kind: String,
    /// `en` or `zh`.
    pub language: &'static str,
    pub subject: String,
    /// The link is in it.
    pub text: String,
    /// Where the deletion is taken back, with the receiver's own token; or confirmed.
    pub link: Option<String>,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter")
            .field("id", &self.id)
            .field("way", &self.way)
            .field("deletion", &self.deletion)
            .finish_non_exhaustive()
    }
}

/// One way for each channel.
#[derive(Clone, Debug)]
pub struct Config {
    /// Phone numbers.
    pub sms: Route,
    /// Mail addresses.
    pub email: Route,
    /// Devices that are signed in. Without it they are not told.
    pub push: Option<Route>,
}

impl Config {
    /// For development: everything is written into one file.
    pub fn file(path: PathBuf) -> Self {
        Self {
            sms: Route::File { path: path.clone() },
            email: Route::File { path: path.clone() },
            push: Some(Route::File { path }),
        }
    }
}

/// A way. Its `Debug` shows the kind only: URLs hold passwords.
#[derive(Clone)]
pub enum Route {
    /// One line of JSON for each letter, appended to a file that only its owner reads. For development.
    File {
        /// Made if missing; its folder must be there.
        path: PathBuf,
    },
    /// Mail, by `smtps://user:password@host` or `smtp://user:password@host:port?tls=required`; `smtp://localhost:port` without TLS.
    Smtp {
        /// The relay.
        url: String,
        /// The sender, for instance `Farewell <no-reply@example.com>`.
        from: String,
        /// The file of the relay's authority, in PEM. Without it the system's authorities are believed.
        ca: Option<PathBuf>,
    },
    /// JSON by POST to a gateway, which answers 2xx once it has the letter, and 410 where nobody is there to be told any more.
    Webhook {
        /// `https://…`, or `http://…` on loopback.
        url: String,
        /// Sent as bearer token.
        token: Option<String>,
    },
}

impl Route {
    /// What can be seen to be wrong before anything is opened: a key, and how it must be. It doesn't hold what was given.
    pub fn problems(&self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::File { .. } => Vec::new(),
            Self::Smtp { url, from, ca } => smtp::problems(url, from, ca.is_some()),
            Self::Webhook { url, .. } => webhook::problems(url),
        }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File { .. } => "File",
            Self::Smtp { .. } => "Smtp",
            Self::Webhook { .. } => "Webhook",
        })
    }
}

/// The couriers of a process.
#[derive(Clone)]
pub struct Couriers {
    sms: Arc<dyn Courier>,
    email: Arc<dyn Courier>,
    push: Option<Arc<dyn Courier>>,
}

impl Couriers {
    /// Nothing is connected yet: a gateway that is away is found when it is needed. To be called inside of a Tokio runtime.
    ///
    /// Errors: a URL or sender that can't be used; a text message can't go by SMTP.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        if matches!(config.sms, Route::Smtp { .. }) {
            bail!("courier.sms: a text message does not travel by SMTP");
        }
        if matches!(config.push, Some(Route::Smtp { .. })) {
            bail!("courier.push: a device is not reached by SMTP");
        }
        Ok(Self {
            sms: open(&config.sms).context("courier.sms")?,
            email: open(&config.email).context("courier.email")?,
            push: config
                .push
                .as_ref()
                .map(open)
                .transpose()
                .context("courier.push")?,
        })
    }

    /// From couriers of one's own.
    pub fn new(sms: Arc<dyn Courier>, email: Arc<dyn Courier>) -> Self {
        Self {
            sms,
            email,
            push: None,
        }
    }

    /// With one that reaches devices.
    #[must_use]
    pub fn with_push(self, push: Arc<dyn Courier>) -> Self {
        Self {
            push: Some(push),
            ..self
        }
    }

    /// The courier of a way, if there is one.
    pub fn by(&self, way: Way) -> Option<&dyn Courier> {
        match way {
            Way::Sms => Some(self.sms.as_ref()),
            Way::Email => Some(self.email.as_ref()),
            Way::Push => self.push.as_deref(),
        }
    }
}

impl fmt::Debug for Couriers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Couriers")
    }
}

fn open(route: &Route) -> anyhow::Result<Arc<dyn Courier>> {
    Ok(match route {
        Route::File { path } => Arc::new(File::new(path.clone())),
        Route::Smtp { url, from, ca } => Arc::new(Smtp::new(url, from, ca.as_deref())?),
        Route::Webhook { url, token } => Arc::new(Webhook::new(url, token.clone())?),
    })
}

/// Carries, and gives up on a courier that hangs.
///
/// Errors: as [`Courier::carry`].
pub(crate) async fn in_time(courier: &dyn Courier, letter: &Letter) -> Result<(), Fault> {
    match tokio::time::timeout(CARRY_LIMIT * 2, courier.carry(letter)).await {
        Ok(carried) => carried,
        Err(_) => Err(Fault::plain("the courier gave no answer")),
    }
}

/// How a letter looks as JSON, in a file and to a gateway.
fn json(letter: &Letter) -> serde_json::Value {
    let mut json = serde_json::json!({
        "id": letter.id,
        "to": letter.to,
        "channel": letter.way.word().to_lowercase(),
        "deletion": letter.deletion,
    });
    let content = match &letter.content {
        Content::Code { code, language, .. } => {
            serde_json::json!({ "code": code, "language": language.tag() })
        }
        Content::Notice(written) => serde_json::json!({
            "notice": written.notice,
            "kind": written.kind,
            "language": written.language,
            "subject": written.subject,
            "text": written.text,
            "link": written.link,
        }),
    };
    if let (Some(json), serde_json::Value::Object(content)) = (json.as_object_mut(), content) {
        json.extend(content);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_personal_or_secret_is_shown() {
        let letter = Letter {
            id: "l1".to_owned(),
            to: "+86 138".to_owned(),
            way: Way::Sms,
            deletion: "deletions/d1".to_owned(),
            content: Content::Code {
                code: "123456".to_owned(),
                valid: Duration::from_secs(1),
                language: Language::English,
            },
        };
        let route = Route::Smtp {
            url: "smtps://u:pass@h".to_owned(),
            from: "f".to_owned(),
            ca: None,
        };
        let shown = format!("{letter:?} {route:?}");
        assert!(
            !shown.contains("138") && !shown.contains("123456") && !shown.contains("pass"),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn a_text_message_does_not_travel_by_smtp() {
        let smtp = Route::Smtp {
            url: "smtp://localhost:2525".to_owned(),
            from: "a@example.com".to_owned(),
            ca: None,
        };
        let file = Route::File {
            path: PathBuf::from("codes"),
        };
        assert!(
            Couriers::open(&Config {
                sms: smtp.clone(),
                email: file.clone(),
                push: None,
            })
            .is_err()
        );
        assert!(
            Couriers::open(&Config {
                sms: file.clone(),
                email: file.clone(),
                push: Some(smtp.clone()),
            })
            .is_err()
        );
        assert!(
            Couriers::open(&Config {
                sms: file,
                email: smtp,
                push: None,
            })
            .is_ok()
        );
    }
}
