//! `[service.identity.courier]`: how letters reach people.

use std::fmt;
use std::path::PathBuf;

use farewell_identity::courier::{Config, Route};
use farewell_runtime::config::{Problem, Validate, nested};
use serde::Deserialize;

/// One way for each channel.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Couriers {
    /// Phone numbers. Required.
    sms: Option<Way>,
    /// Mail addresses. Required.
    email: Option<Way>,
    /// Devices that are signed in. Without it they are not told.
    push: Option<Way>,
}

/// A way, with the keys of all kinds: see [`Route`] for those of each.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Way {
    kind: Option<Kind>,
    path: Option<PathBuf>,
    url: Option<String>,
    token: Option<String>,
    from: Option<String>,
    ca: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Webhook,
    Smtp,
    File,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Smtp => "smtp",
            Self::File => "file",
        }
    }

    /// Keys that it can't do without, and others that it knows.
    const fn keys(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Webhook => (&["url"], &["token"]),
            Self::Smtp => (&["url", "from"], &["ca"]),
            Self::File => (&["path"], &[]),
        }
    }
}

/// Shows neither URL nor token.
impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.map_or("Way", Kind::word))
    }
}

impl Validate for Couriers {
    fn problems(&self, out: &mut Vec<Problem>) {
        for (key, way, by_mail) in [
            ("sms", self.sms.as_ref(), false),
            ("email", self.email.as_ref(), true),
            ("push", self.push.as_ref(), false),
        ] {
            match way {
                None if key == "push" => {}
                None => out.push(Problem::new(
                    key,
                    "is required: of kind webhook, smtp or file",
                )),
                Some(way) => {
                    if way.kind == Some(Kind::Smtp) && !by_mail {
                        let message = "must be webhook or file: only mail travels by SMTP";
                        out.push(Problem::new(format!("{key}.kind"), message));
                    }
                    nested(key, way, out);
                }
            }
        }
    }
}

impl Validate for Way {
    fn problems(&self, out: &mut Vec<Problem>) {
        let Some(kind) = self.kind else {
            return out.push(Problem::new("kind", "is required: webhook, smtp or file"));
        };
        let (needed, known) = kind.keys();
        for (key, given) in [
            ("path", self.path.is_some()),
            ("url", self.url.is_some()),
            ("token", self.token.is_some()),
            ("from", self.from.is_some()),
            ("ca", self.ca.is_some()),
        ] {
            if !given && needed.contains(&key) {
                out.push(Problem::new(key, "is required"));
            }
            if given && !needed.contains(&key) && !known.contains(&key) {
                let message = format!("says nothing where kind is {}", kind.word());
                out.push(Problem::new(key, message));
            }
        }
        // What is missing has been said.
        let wrong = self.route(kind).problems().into_iter();
        let given = wrong.filter(|(key, _)| match *key {
            "url" => self.url.is_some(),
            "from" => self.from.is_some(),
            _ => true,
        });
        out.extend(given.map(|(key, message)| Problem::new(key, message)));
    }
}

impl Way {
    fn route(&self, kind: Kind) -> Route {
        match kind {
            Kind::File => Route::File {
                path: self.path.clone().unwrap_or_default(),
            },
            Kind::Smtp => Route::Smtp {
                url: self.url.clone().unwrap_or_default(),
                from: self.from.clone().unwrap_or_default(),
                ca: self.ca.clone(),
            },
            Kind::Webhook => Route::Webhook {
                url: self.url.clone().unwrap_or_default(),
                token: self.token.clone(),
            },
        }
    }
}

impl Couriers {
    /// What identity asks for. `None`: settings that have not been looked through.
    pub fn config(&self) -> Option<Config> {
        let route = |way: &Way| way.kind.map(|kind| way.route(kind));
        Some(Config {
            sms: self.sms.as_ref().and_then(route)?,
            email: self.email.as_ref().and_then(route)?,
            push: self.push.as_ref().and_then(route),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(couriers: serde_json::Value) -> Vec<String> {
        let couriers: Couriers = serde_json::from_value(couriers).unwrap();
        let mut problems = Vec::new();
        couriers.problems(&mut problems);
        assert!(
            !problems.is_empty() || couriers.config().is_some(),
            "what nothing is wrong with carries letters"
        );
        problems.into_iter().map(|it| it.key).collect()
    }

    #[test]
    fn a_way_has_the_keys_of_its_kind() {
        let file = serde_json::json!({"kind": "file", "path": "letters"});
        let mail = serde_json::json!({"kind": "smtp", "url": "smtps://relay.example", "from": "a@example.com"});
        let good = serde_json::json!({"sms": file, "email": mail, "push": file});
        assert_eq!(wrong(good), [""; 0]);
        for (name, way, expected) in [
            ("none", serde_json::json!({}), &["kind"][..]),
            (
                "no path",
                serde_json::json!({"kind": "file", "url": "x", "ca": "y"}),
                &["path", "url", "ca"],
            ),
            (
                "plain",
                serde_json::json!({"kind": "webhook", "url": "http://gate.example"}),
                &["url"],
            ),
            (
                "no host",
                serde_json::json!({"kind": "webhook", "url": "https://"}),
                &["url"],
            ),
            (
                "no url",
                serde_json::json!({"kind": "webhook", "from": "x"}),
                &["url", "from"],
            ),
            (
                "open relay",
                serde_json::json!({"kind": "smtp", "url": "smtp://relay.example", "from": "nobody"}),
                &["from", "url"],
            ),
            (
                "no TLS to hold",
                serde_json::json!({"kind": "smtp", "url": "smtp://localhost", "from": "a@b.example", "ca": "ca.pem"}),
                &["ca"],
            ),
        ] {
            let found = wrong(serde_json::json!({"sms": file, "email": way}));
            let expected: Vec<_> = expected.iter().map(|key| format!("email.{key}")).collect();
            assert_eq!(found, expected, "{name}");
        }
        let sms = serde_json::json!({"sms": mail, "push": mail});
        assert_eq!(wrong(sms), ["sms.kind", "email", "push.kind"]);
    }

    #[test]
    fn neither_url_nor_token_is_shown() {
        let way = serde_json::json!({"kind": "webhook", "url": "https://x.example/?k=s3cret", "token": "t0ken"});
        let couriers: Couriers = serde_json::from_value(serde_json::json!({"sms": way})).unwrap();
        let shown = format!("{couriers:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("t0ken"),
            "{shown}"
        );
    }
}
