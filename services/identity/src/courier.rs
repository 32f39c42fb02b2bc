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
use serde::Deserialize;

use self::file::File;
use self::smtp::Smtp;
use self::webhook::Webhook;

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

/// A code on its way. Its `Debug` shows neither address nor code.
#[derive(Clone)]
pub struct Letter {
    /// A phone number or a mail address.
    pub to: String,
    /// Which of them.
    pub channel: CodeChannel,
    /// Six digits.
    pub code: String,
    /// `deletions/{deletion}`.
    pub deletion: String,
    /// How long the code is accepted.
    pub valid: Duration,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter")
            .field("channel", &self.channel)
            .field("deletion", &self.deletion)
            .finish_non_exhaustive()
    }
}

/// One way for each channel.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Phone numbers.
    pub sms: Route,
    /// Mail addresses.
    pub email: Route,
}

impl Config {
    /// For development: everything is written into one file.
    pub fn file(path: PathBuf) -> Self {
        Self {
            sms: Route::File { path: path.clone() },
            email: Route::File { path },
        }
    }
}

/// A way. Its `Debug` shows the kind only: URLs hold passwords.
#[derive(Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Route {
    /// One line of JSON for each letter, appended to a file that only its owner reads. For development.
    File {
        /// Made if missing; its folder must be there.
        path: PathBuf,
    },
    /// Mail, by `smtps://user:password@host` or `smtp://host:port?tls=required`.
    Smtp {
        /// The relay.
        url: String,
        /// The sender, for instance `Farewell <no-reply@example.com>`.
        from: String,
    },
    /// JSON by POST to a gateway, which answers 2xx once it has the letter.
    Webhook {
        /// `https://…`.
        url: String,
        /// Sent as bearer token.
        token: Option<String>,
    },
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
}

impl Couriers {
    /// Nothing is connected yet: a gateway that is away is found when it is needed. To be called inside of a Tokio runtime.
    ///
    /// Errors: a URL or sender that can't be used; a text message can't go by SMTP.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        if matches!(config.sms, Route::Smtp { .. }) {
            bail!("courier.sms: a text message does not travel by SMTP");
        }
        Ok(Self {
            sms: open(&config.sms).context("courier.sms")?,
            email: open(&config.email).context("courier.email")?,
        })
    }

    /// From couriers of one's own.
    pub fn new(sms: Arc<dyn Courier>, email: Arc<dyn Courier>) -> Self {
        Self { sms, email }
    }

    /// The courier of a channel.
    pub fn of(&self, channel: CodeChannel) -> &dyn Courier {
        match channel {
            CodeChannel::Sms => self.sms.as_ref(),
            CodeChannel::Email => self.email.as_ref(),
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
        Route::Smtp { url, from } => Arc::new(Smtp::new(url, from)?),
        Route::Webhook { url, token } => Arc::new(Webhook::new(url, token.clone())?),
    })
}

/// How a letter looks as JSON, in a file and to a gateway.
fn json(letter: &Letter) -> serde_json::Value {
    let channel = match letter.channel {
        CodeChannel::Sms => "sms",
        CodeChannel::Email => "email",
    };
    serde_json::json!({ "to": letter.to, "channel": channel, "code": letter.code, "deletion": letter.deletion })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_personal_or_secret_is_shown() {
        let letter = Letter {
            to: "+86 138".to_owned(),
            channel: CodeChannel::Sms,
            code: "123456".to_owned(),
            deletion: "deletions/d1".to_owned(),
            valid: Duration::from_secs(1),
        };
        let route = Route::Smtp {
            url: "smtps://u:pass@h".to_owned(),
            from: "f".to_owned(),
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
        };
        let file = Route::File {
            path: PathBuf::from("codes"),
        };
        assert!(
            Couriers::open(&Config {
                sms: smtp.clone(),
                email: file.clone()
            })
            .is_err()
        );
        assert!(
            Couriers::open(&Config {
                sms: file,
                email: smtp
            })
            .is_ok()
        );
    }
}
