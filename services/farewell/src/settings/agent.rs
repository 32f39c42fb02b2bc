//! `[agent.phones]`, `[agent.wearables]`, `[agent.smarthome]`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use farewell_kit::devices::Terms;
use farewell_runtime::config::{Human, Problem, Problems, Validate, nested};
use farewell_runtime::host::is_loopback;
use farewell_runtime::telemetry;
use farewell_smarthome::{AGENT, Broker, Endpoint, Protocol};
use serde::{Deserialize, Deserializer};

use super::{
    COORDINATOR, Source, Tls, WINDOW_COMMANDS, database, database_or_file, distinct, exposed, load,
    positive, reach, session,
};

/// The product lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Line {
    Phones,
    Wearables,
    Smarthome,
}

impl Line {
    /// Every line.
    pub const ALL: [Self; 3] = [Self::Phones, Self::Wearables, Self::Smarthome];

    /// The participant's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Phones => "phones",
            Self::Wearables => "wearables",
            Self::Smarthome => "smarthome",
        }
    }

    /// Where its devices attach, and callers bind them.
    const fn port(self) -> u16 {
        match self {
            Self::Phones => 7410,
            Self::Wearables => 7411,
            Self::Smarthome => 7412,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the embedded broker listens.
const MQTT_PORT: u16 = 7483;

/// What an agent is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agent {
    /// `sqlite:PATH` or `postgres://…`. Default: a file of the line's name.
    pub database: String,
    /// host:port of every coordinator.
    pub coordinators: Vec<String>,
    /// Commands that are worked on at a time.
    pub window: u32,
    pub listen: Listen,
    pub tls: Tls,
    /// No TLS, on loopback only.
    pub plain: bool,
    /// A device that was away for so long is detached.
    pub horizon: Human,
    /// How long an executed order waits for the device to be seen again.
    pub confirm_wait: Human,
    /// How long a device that alone is unbound is waited for.
    pub unbind_horizon: Human,
    /// Wearables only: models that are re-activated by hand.
    pub manual_models: BTreeSet<String>,
    /// Smart home only: somebody else's broker. Without a URL the embedded one is used.
    pub broker: ExternalBroker,
    /// How long the end may take.
    pub drain: Human,
    pub telemetry: telemetry::Config,
}

/// Ports. None: the line's default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    pub devices: Option<SocketAddr>,
    /// Smart home only: the embedded broker.
    pub mqtt: Option<SocketAddr>,
}

/// Mosquitto, for instance.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExternalBroker {
    /// `mqtts://host:port`, or `mqtt://…` on loopback.
    pub url: String,
    /// `auto`, `5` or `3.1.1`.
    #[serde(deserialize_with = "text_or_number")]
    pub protocol: String,
    pub username: String,
    pub password: String,
    /// The broker's authority. Default: ours.
    pub ca: Option<PathBuf>,
}

impl Default for ExternalBroker {
    fn default() -> Self {
        Self {
            url: String::new(),
            protocol: "auto".to_owned(),
            username: String::new(),
            password: String::new(),
            ca: None,
        }
    }
}

/// A version number without a dot is a number to whoever reads a file or a variable.
fn text_or_number<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u64),
    }
    Ok(match Either::deserialize(input)? {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    })
}

impl Default for Agent {
    fn default() -> Self {
        let terms = Terms::default();
        Self {
            database: String::new(),
            coordinators: vec![COORDINATOR.to_owned()],
            window: WINDOW_COMMANDS,
            listen: Listen::default(),
            tls: Tls::default(),
            plain: false,
            horizon: Human(terms.horizon),
            confirm_wait: Human(terms.confirm_wait),
            unbind_horizon: Human(terms.unbind_horizon),
            manual_models: BTreeSet::new(),
            broker: ExternalBroker::default(),
            drain: Human(std::time::Duration::from_secs(20)),
            telemetry: telemetry::Config::default(),
        }
    }
}

impl Validate for Agent {
    fn problems(&self, out: &mut Vec<Problem>) {
        database("database", &self.database, out);
        reach(&self.coordinators, self.window, self.plain, out);
        // At once would be before any device could come.
        positive("horizon", self.horizon, out);
        positive("unbind_horizon", self.unbind_horizon, out);
        if let (Some(devices), Some(mqtt)) = (self.listen.devices, self.listen.mqtt) {
            distinct(&[("listen.devices", devices), ("listen.mqtt", mqtt)], out);
        }
        self.tls.problems(self.plain, out);
        exposed("listen.devices", self.listen.devices, self.plain, out);
        if self.broker.url.is_empty() {
            // Ours has no TLS, whatever else has.
            exposed("listen.mqtt", self.listen.mqtt, true, out);
        } else {
            self.broker.problems(&self.tls, out);
        }
        if Protocol::parse(&self.broker.protocol).is_none() {
            let names = Protocol::NAMES.map(|(name, _)| name).join(", ");
            out.push(Problem::new(
                "broker.protocol",
                format!("must be one of {names}"),
            ));
        }
        nested("telemetry", &self.telemetry, out);
    }
}

impl ExternalBroker {
    /// Mistakes in where it is and how it is believed.
    fn problems(&self, tls: &Tls, out: &mut Vec<Problem>) {
        match self.address() {
            None => out.push(Problem::new(
                "broker.url",
                "must be mqtts://host:port, or mqtt://host:port on this machine",
            )),
            // Without an authority there would be nothing to hold its certificate against.
            Some((_, _, true)) if self.ca.is_none() && tls.dir.is_none() => out.push(Problem::new(
                "broker.ca",
                "is required with mqtts:// where there is no tls.dir: the authority of the broker's certificate",
            )),
            Some(_) => {}
        }
    }

    /// Host, port, and whether to use TLS.
    fn address(&self) -> Option<(&str, u16, bool)> {
        let (scheme, rest) = self.url.split_once("://")?;
        let (host, port) = rest.trim_end_matches('/').rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = host.trim_matches(['[', ']']);
        match scheme {
            "mqtts" if !host.is_empty() => Some((host, port, true)),
            "mqtt" if is_loopback(host) => Some((host, port, false)),
            _ => None,
        }
    }

    fn endpoint(&self, tls: &Tls) -> anyhow::Result<Option<Endpoint>> {
        let Some((host, port, secure)) = self.address() else {
            return Ok(None);
        };
        let ours = tls.dir.as_ref().map(|dir| dir.join("ca.pem"));
        let ca_pem = if secure {
            let file = self.ca.clone().or(ours);
            let file = file.context("mqtts:// needs broker.ca or tls.dir")?;
            Some(std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?)
        } else {
            None
        };
        Ok(Some(Endpoint {
            host: host.to_owned(),
            port,
            // Checked before anything is started.
            protocol: Protocol::parse(&self.protocol).unwrap_or_default(),
            ca_pem,
            client_id: AGENT.to_owned(),
            username: self.username.clone(),
            password: self.password.clone(),
        }))
    }
}

impl Agent {
    /// Reads the section of a line.
    ///
    /// Errors: every mistake in it.
    pub fn load(source: &Source, line: Line) -> Result<Self, Problems> {
        load(source, &format!("agent.{line}"))
    }

    /// Where devices attach and callers bind them.
    pub fn devices(&self, line: Line) -> SocketAddr {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, line.port()));
        self.listen.devices.unwrap_or(default)
    }

    /// The line's database.
    pub fn database(&self, line: Line) -> String {
        database_or_file(&self.database, line.name())
    }

    /// What the agent of phones asks for.
    ///
    /// Errors: a certificate that can't be read.
    pub fn phones(&self) -> anyhow::Result<farewell_phones::Config> {
        let line = Line::Phones;
        let security = self.tls.security(line.name())?;
        Ok(farewell_phones::Config {
            database: self.database(line),
            devices_listen: self.devices(line),
            session: session(line.name(), &self.coordinators, self.window, &security),
            security,
            terms: self.terms(),
        })
    }

    /// What the agent of wearables asks for.
    ///
    /// Errors: a certificate that can't be read.
    pub fn wearables(&self) -> anyhow::Result<farewell_wearables::Config> {
        let line = Line::Wearables;
        let security = self.tls.security(line.name())?;
        Ok(farewell_wearables::Config {
            database: self.database(line),
            devices_listen: self.devices(line),
            session: session(line.name(), &self.coordinators, self.window, &security),
            security,
            terms: self.terms(),
            manual_models: self.manual_models.clone(),
        })
    }

    /// What the agent of the smart home asks for.
    ///
    /// Errors: a certificate that can't be read.
    pub fn smarthome(&self) -> anyhow::Result<farewell_smarthome::Config> {
        let line = Line::Smarthome;
        let security = self.tls.security(line.name())?;
        let broker = match self.broker.endpoint(&self.tls)? {
            Some(endpoint) => Broker::External(endpoint),
            None => Broker::Embedded {
                listen: self
                    .listen
                    .mqtt
                    .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, MQTT_PORT))),
            },
        };
        Ok(farewell_smarthome::Config {
            database: self.database(line),
            devices_listen: self.devices(line),
            session: session(line.name(), &self.coordinators, self.window, &security),
            security,
            terms: self.terms(),
            broker,
        })
    }

    fn terms(&self) -> Terms {
        Terms {
            horizon: self.horizon.get(),
            confirm_wait: self.confirm_wait.get(),
            unbind_horizon: self.unbind_horizon.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_a_version_or_none_of_ours() {
        let sound = |protocol: serde_json::Value| {
            let section = serde_json::json!({"broker": {"protocol": protocol}});
            let agent: Agent = serde_json::from_value(section).unwrap();
            let mut problems = Vec::new();
            agent.problems(&mut problems);
            !problems
                .iter()
                .any(|problem| problem.key == "broker.protocol")
        };
        for good in ["auto".into(), "5".into(), 5.into(), "3.1.1".into()] {
            assert!(sound(good));
        }
        for bad in [4.into(), "".into(), "3.1".into(), "mqtt5".into()] {
            assert!(!sound(bad));
        }
    }

    #[test]
    fn a_broker_elsewhere_needs_tls() {
        let address = |url: &str| {
            let broker = ExternalBroker {
                url: url.to_owned(),
                ..ExternalBroker::default()
            };
            broker
                .address()
                .map(|(host, port, tls)| (host.to_owned(), port, tls))
        };
        assert_eq!(
            address("mqtts://broker:8883"),
            Some(("broker".to_owned(), 8883, true))
        );
        assert_eq!(
            address("mqtt://localhost:1883"),
            Some(("localhost".to_owned(), 1883, false))
        );
        assert_eq!(
            address("mqtts://[::1]:8883"),
            Some(("::1".to_owned(), 8883, true)),
            "as it is dialled"
        );
        for bad in [
            "mqtt://broker:1883",
            "mqtt://192.0.2.1:1883",
            "mqtt://127.0.0.1.example:1883",
            "mqtts://broker",
            "broker:8883",
            "mqtts://:8883",
        ] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_broker_is_dialled_with_tls_and_an_authority_or_not_at_all() {
        let wrong = |section: serde_json::Value| -> Vec<String> {
            let agent: Agent = serde_json::from_value(section).unwrap();
            let mut problems = Vec::new();
            agent.problems(&mut problems);
            problems.into_iter().map(|problem| problem.key).collect()
        };
        let plain = |broker| wrong(serde_json::json!({"plain": true, "broker": broker}));
        let elsewhere = serde_json::json!({"url": "mqtt://broker.example:1883"});
        assert_eq!(plain(elsewhere), ["broker.url"]);
        assert!(plain(serde_json::json!({"url": "mqtt://127.0.0.1:1883"})).is_empty());
        // What is asked to be secret is never said in plain text, because nobody said whom to believe.
        let unheld = serde_json::json!({"url": "mqtts://broker.example:8883"});
        assert_eq!(plain(unheld.clone()), ["broker.ca"]);
        let broker: ExternalBroker = serde_json::from_value(unheld.clone()).unwrap();
        assert!(broker.endpoint(&Tls::default()).is_err());
        let held = serde_json::json!({"url": "mqtts://broker.example:8883", "ca": "broker-ca.pem"});
        assert!(plain(held).is_empty());
        assert!(wrong(serde_json::json!({"tls": {"dir": "certs"}, "broker": unheld})).is_empty());
    }
}
