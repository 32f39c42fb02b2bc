//! `[coordinator.events]`: which other systems are told what becomes of accounts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use farewell_coordinator as coordinator;
use farewell_coordinator::{Delivery, Listener};
use farewell_runtime::config::{Human, Problem, Validate};
use farewell_runtime::cose::SigningKey;
use farewell_runtime::host::is_loopback;
use farewell_runtime::server::Security;
use serde::Deserialize;
use tonic::codegen::http::Uri;

use super::positive;

/// Receivers of one coordinator.
const RECEIVERS_MAX: usize = 64;
/// Longest name of a receiver, which stands in a certificate and in the ledger.
const NAME_BYTES_MAX: usize = 64;

/// Nobody is told unless there are receivers.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// The `iss` of every token.
    pub issuer: String,
    /// Signs the tokens: Ed25519 as PKCS#8 in PEM. Default: `events.key` beside the certificates.
    pub key: Option<PathBuf>,
    /// By name.
    pub receivers: BTreeMap<String, Receiver>,
    /// How long an event is kept that a receiver refused for good, for an operator to have it told again.
    pub refused_kept: Human,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            key: None,
            receivers: BTreeMap::new(),
            refused_kept: Human(std::time::Duration::from_secs(30 * 24 * 60 * 60)),
        }
    }
}

/// Either `push` or `poll`.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Receiver {
    /// We post there.
    pub push: Option<String>,
    /// Sent as bearer token.
    pub token: Option<String>,
    /// The authority of its certificate, in PEM. Default: those that the system knows.
    pub ca: Option<PathBuf>,
    /// It fetches at `listen.events`, with a certificate of its name.
    pub poll: bool,
    /// The `aud` of its tokens. Default: its name.
    pub audience: Option<String>,
}

/// Shows neither URL nor token.
impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("poll", &self.poll)
            .finish_non_exhaustive()
    }
}

impl Validate for Events {
    fn problems(&self, out: &mut Vec<Problem>) {
        positive("refused_kept", self.refused_kept, out);
        let mut wrong = |is_wrong: bool, key: &str, message: &str| {
            if is_wrong {
                out.push(Problem::new(key, message));
            }
        };
        let issuer = self.issuer.starts_with("https://") && is_safe(&self.issuer);
        wrong(
            !self.receivers.is_empty() && !issuer,
            "issuer",
            "is required where there are receivers: the https://… that tokens come from",
        );
        wrong(
            self.receivers.len() > RECEIVERS_MAX,
            "receivers",
            "are more than 64",
        );
        for (name, receiver) in &self.receivers {
            let key = format!("receivers.{name}");
            let of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            wrong(
                !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(of_name),
                &key,
                "must be named with 1 to 64 of a-z, 0-9 and -",
            );
            wrong(
                receiver.push.is_some() == receiver.poll,
                &key,
                "needs one of push = \"https://…\" and poll = true",
            );
            wrong(
                receiver.poll && (receiver.token.is_some() || receiver.ca.is_some()),
                &key,
                "fetches, so token and ca say nothing",
            );
            wrong(
                receiver.push.as_deref().is_some_and(|url| !is_safe(url)),
                &format!("{key}.push"),
                "must be https://…, or http:// on this machine",
            );
        }
    }
}

/// Tokens name accounts.
fn is_safe(url: &str) -> bool {
    let url: Result<Uri, _> = url.parse();
    url.is_ok_and(|url| match (url.scheme_str(), url.host()) {
        (Some("https"), Some(host)) => !host.is_empty(),
        (Some("http"), Some(host)) => is_loopback(host),
        _ => false,
    })
}

impl Events {
    /// Whether somebody fetches.
    pub fn polled(&self) -> bool {
        self.receivers.values().any(|receiver| receiver.poll)
    }

    /// What the coordinator's crate asks for. `None`: nobody is told.
    ///
    /// Errors: a key or authority that can't be read.
    pub fn config(
        &self,
        beside: Option<&PathBuf>,
        address: SocketAddr,
        security: &Security,
    ) -> anyhow::Result<Option<coordinator::Events>> {
        if self.receivers.is_empty() {
            return Ok(None);
        }
        let path = self
            .key
            .clone()
            .or_else(|| beside.map(|dir| dir.join("events.key")))
            .context("events.key: is required where there are receivers and no tls.dir")?;
        let pem = std::fs::read(&path)
            .with_context(|| format!("events.key: cannot read {}", path.display()))?;
        let key = SigningKey::from_pem(&pem)
            .with_context(|| format!("events.key: {}", path.display()))?;
        let receivers = self
            .receivers
            .iter()
            .map(|(name, receiver)| receiver.config(name));
        Ok(Some(coordinator::Events {
            issuer: self.issuer.clone(),
            key,
            receivers: receivers.collect::<anyhow::Result<_>>()?,
            refused_kept: self.refused_kept.get(),
            listener: self.polled().then(|| Listener {
                address,
                security: security.clone(),
            }),
        }))
    }
}

impl Receiver {
    fn config(&self, name: &str) -> anyhow::Result<coordinator::Receiver> {
        let authority = self.ca.as_ref().map(|path| {
            std::fs::read(path)
                .with_context(|| format!("events.receivers.{name}.ca: {}", path.display()))
        });
        let delivery = match &self.push {
            Some(url) => Delivery::Push {
                url: url.clone(),
                token: self.token.clone(),
                authority: authority.transpose()?,
            },
            None => Delivery::Poll,
        };
        Ok(coordinator::Receiver {
            name: name.to_owned(),
            audience: self.audience.clone().unwrap_or_else(|| name.to_owned()),
            delivery,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::settings::{Coordinator, Source};

    fn problems(text: &str) -> Vec<String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(
            file,
            "[coordinator]\nplain = true\n[coordinator.events]\n{text}"
        )
        .unwrap();
        let source = Source {
            config: Some(file.path().to_owned()),
            ..Source::default()
        };
        let problems = Coordinator::load(&source).map_or_else(|found| found.0, |_| Vec::new());
        let key = |key: String| key.replace("coordinator.events.", "");
        problems.into_iter().map(|it| key(it.key)).collect()
    }

    #[test]
    fn every_mistake_is_named_by_its_receiver() {
        let wrong = problems(
            r#"
            issuer = "http://id.example.com"
            [coordinator.events.receivers.ads]
            [coordinator.events.receivers.Mail]
            poll = true
            [coordinator.events.receivers.both]
            poll = true
            push = "https://both.example.com"
            [coordinator.events.receivers.plain]
            push = "http://plain.example.com/events"
            [coordinator.events.receivers.told]
            poll = true
            token = "x"
            "#,
        );
        let expected = [
            "key",
            "issuer",
            "receivers.Mail",
            "receivers.ads",
            "receivers.both",
            "receivers.plain.push",
            "receivers.told",
        ];
        assert_eq!(wrong, expected);
    }

    #[test]
    fn whoever_tells_nobody_needs_nothing() {
        assert!(problems("").is_empty());
        let local = "issuer = \"https://id.example.com\"\nkey = \"events.key\"\n[coordinator.events.receivers.a]\npush = \"http://127.0.0.1:9/x\"";
        assert!(problems(local).is_empty());
    }

    #[test]
    fn tokens_leave_the_machine_with_tls_only() {
        for fine in [
            "https://ads.example.com/events",
            "http://127.0.0.1:9/x",
            "http://[::1]:9/x",
            "http://localhost:9/x",
        ] {
            assert!(is_safe(fine), "{fine}");
        }
        for plain in [
            "http://ads.example.com/events",
            "http://127.0.0.1.example:9/x",
            "http://127.0.0.1:9@ads.example.com/x",
            "http://127.0.0.1\\@ads.example.com/x",
            "ftp://127.0.0.1/x",
            "127.0.0.1:9",
            "",
        ] {
            assert!(!is_safe(plain), "{plain}");
        }
    }

    #[test]
    fn neither_url_nor_token_is_shown() {
        let receiver = Receiver {
            push: Some("https://x.example.com/?key=s3cret".to_owned()),
            token: Some("t0ken".to_owned()),
            ..Receiver::default()
        };
        let shown = format!("{receiver:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("t0ken"),
            "{shown}"
        );
    }
}
