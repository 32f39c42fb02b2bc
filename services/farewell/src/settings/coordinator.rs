//! `[coordinator]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use farewell_coordinator::{Config, Limits, Listener, Pace};
use farewell_core::retry::Backoff;
use farewell_core::{ParticipantId, Policy};
use farewell_runtime::config::{Human, Problem, Problems, Validate, nested};
use farewell_runtime::cose::{self, SigningKey};
use farewell_runtime::telemetry;
use serde::Deserialize;

use super::events::Events;
use super::region::{self, Region, Regions};
use super::{PolicyChoice, Source, Tls, distinct, exposed, ledger, load, positive};

/// What a rate may be: one a microsecond is as fine as it is counted.
const RATE_MAX: u32 = 1_000_000;

/// What a coordinator is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Coordinator {
    /// Unique among the coordinators of one ledger. Default: the host's name, as pods have one.
    pub instance: String,
    /// `sqlite:PATH`, `postgres://…`, or `memory:` to forget everything at the end.
    pub ledger: String,
    pub listen: Listen,
    pub tls: Tls,
    /// No TLS, on loopback only.
    pub plain: bool,
    pub policy: PolicyChoice,
    pub region: Region,
    /// The other regions.
    pub regions: Regions,
    pub orders: OrderKey,
    pub events: Events,
    pub pace: Times,
    pub limits: Rates,
    /// The participant that makes archives of what is held of an account, and keeps them.
    pub custodian: String,
    /// How long the end may take.
    pub drain: Human,
    pub telemetry: telemetry::Config,
}

/// What devices believe.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OrderKey {
    /// The key that signs what devices are told: Ed25519 as PKCS#8 in PEM. Default: `orders.key` beside the certificates.
    pub key: Option<PathBuf>,
}

/// Ports.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    pub callers: SocketAddr,
    pub participants: SocketAddr,
    pub operators: SocketAddr,
    /// Where receivers of events fetch them, if some do.
    pub events: SocketAddr,
}

/// See [`Pace`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Times {
    pub lease: Human,
    pub poll: Human,
    /// First and longest wait before a command is sent again.
    pub retry: Human,
    pub retry_max: Human,
    pub query: Human,
}

/// See [`Limits`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    pub caller_per_second: u32,
    pub account_per_minute: u32,
    pub identifiers_per_minute: u32,
}

impl Default for Coordinator {
    fn default() -> Self {
        Self {
            instance: std::env::var("HOSTNAME")
                .ok()
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "coordinator".to_owned()),
            ledger: "sqlite:coordinator.db".to_owned(),
            listen: Listen::default(),
            tls: Tls::default(),
            plain: false,
            policy: PolicyChoice::default(),
            region: Region::default(),
            regions: Regions::new(),
            orders: OrderKey::default(),
            events: Events::default(),
            pace: Times::default(),
            limits: Rates::default(),
            custodian: "cloud".to_owned(),
            drain: Human(Pace::default().drain),
            telemetry: telemetry::Config::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            callers: local(7400),
            participants: local(7401),
            operators: local(7402),
            events: local(7403),
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        let pace = Pace::default();
        Self {
            lease: Human(pace.lease),
            poll: Human(pace.poll),
            retry: Human(pace.retry.base),
            retry_max: Human(pace.retry.cap),
            query: Human(pace.query),
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            caller_per_second: limits.caller_per_second,
            account_per_minute: limits.account_per_minute,
            identifiers_per_minute: limits.identifiers_per_minute,
        }
    }
}

impl Validate for Coordinator {
    fn problems(&self, out: &mut Vec<Problem>) {
        if self.instance.is_empty() {
            out.push(Problem::new("instance", "must not be empty"));
        }
        if let Err(message) = ledger(&self.ledger) {
            out.push(Problem::new("ledger", message));
        }
        self.tls.problems(self.plain, out);
        for (key, address) in [
            ("listen.callers", self.listen.callers),
            ("listen.participants", self.listen.participants),
            ("listen.operators", self.listen.operators),
            ("listen.events", self.listen.events),
        ] {
            exposed(key, Some(address), self.plain, out);
        }
        let mut ports = vec![
            ("listen.callers", self.listen.callers),
            ("listen.participants", self.listen.participants),
            ("listen.operators", self.listen.operators),
        ];
        if self.events.polled() {
            ports.push(("listen.events", self.listen.events));
        }
        distinct(&ports, out);
        if !self.events.receivers.is_empty() && self.events.key.is_none() && self.tls.dir.is_none()
        {
            out.push(Problem::new(
                "events.key",
                "is required where there are receivers and no tls.dir",
            ));
        }
        if let Err(error) = self.custodian.parse::<ParticipantId>() {
            out.push(Problem::new("custodian", error.0));
        }
        region::problems(&self.region, &self.regions, &self.tls, out);
        nested("policy", &self.policy, out);
        nested("events", &self.events, out);
        nested("pace", &self.pace, out);
        nested("limits", &self.limits, out);
        nested("telemetry", &self.telemetry, out);
    }
}

impl Validate for Times {
    fn problems(&self, out: &mut Vec<Problem>) {
        for (key, duration) in [
            ("lease", self.lease),
            ("poll", self.poll),
            ("retry", self.retry),
            ("retry_max", self.retry_max),
            ("query", self.query),
        ] {
            positive(key, duration, out);
        }
    }
}

impl Validate for Rates {
    fn problems(&self, out: &mut Vec<Problem>) {
        for (key, max) in [
            ("caller_per_second", self.caller_per_second),
            ("account_per_minute", self.account_per_minute),
            ("identifiers_per_minute", self.identifiers_per_minute),
        ] {
            if !(1..=RATE_MAX).contains(&max) {
                out.push(Problem::new(key, format!("must be 1 to {RATE_MAX}")));
            }
        }
    }
}

impl Coordinator {
    /// Reads the section.
    ///
    /// Errors: every mistake in it.
    pub fn load(source: &Source) -> Result<Self, Problems> {
        load(source, "coordinator")
    }

    fn order_key(&self) -> anyhow::Result<SigningKey> {
        let beside = || self.tls.dir.as_ref().map(|dir| dir.join("orders.key"));
        let Some(path) = self.orders.key.clone().or_else(beside) else {
            tracing::warn!(
                "no orders.key: what devices are told is signed with a key of this start only"
            );
            return Ok(SigningKey::from_pem(cose::generate()?.as_bytes())?);
        };
        let pem = std::fs::read(&path)
            .with_context(|| format!("orders.key: cannot read {}", path.display()))?;
        SigningKey::from_pem(&pem).with_context(|| format!("orders.key: {}", path.display()))
    }

    /// What the coordinator's crate asks for.
    ///
    /// Errors: a certificate or key that can't be read.
    pub fn config(&self) -> anyhow::Result<Config> {
        let security = self.tls.security("coordinator")?;
        let listener = |address| Listener {
            address,
            security: security.clone(),
        };
        Ok(Config {
            instance: self.instance.clone(),
            ledger: self.ledger.clone(),
            policy: Policy {
                region: Some(self.region.name.clone()).filter(|name| !name.is_empty()),
                ..self.policy.policy()?
            },
            region: self.region.config(&self.regions, &self.tls)?,
            callers: listener(self.listen.callers),
            participants: listener(self.listen.participants),
            operators: listener(self.listen.operators),
            orders: self.order_key()?,
            events: self
                .events
                .config(self.tls.dir.as_ref(), self.listen.events, &security)?,
            pace: Pace {
                lease: self.pace.lease.get(),
                poll: self.pace.poll.get(),
                retry: Backoff {
                    base: self.pace.retry.get(),
                    cap: self.pace.retry_max.get(),
                },
                query: self.pace.query.get(),
                drain: self.drain.get(),
            },
            limits: Limits {
                caller_per_second: self.limits.caller_per_second,
                account_per_minute: self.limits.account_per_minute,
                identifiers_per_minute: self.limits.identifiers_per_minute,
            },
            custodian: self.custodian.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_rate_that_lets_nobody_or_everybody_through_is_a_mistake_like_any_other() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = "[coordinator]\nplain = true\ninstance = \"\"\n\
                    [coordinator.limits]\ncaller_per_second = 0\naccount_per_minute = 1000001\nidentifiers_per_minute = 0\n";
        file.write_all(text.as_bytes()).unwrap();
        let source = Source {
            config: Some(file.path().to_owned()),
            ..Source::default()
        };
        let problems = Coordinator::load(&source).unwrap_err();
        let keys = problems.0.iter().map(|found| found.key.as_str());
        let wrong = [
            "instance",
            "limits.caller_per_second",
            "limits.account_per_minute",
            "limits.identifiers_per_minute",
        ];
        let wrong = wrong.map(|key| format!("coordinator.{key}"));
        assert_eq!(keys.collect::<Vec<_>>(), wrong);
    }
}
