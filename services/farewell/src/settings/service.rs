//! `[service.identity]`, `[service.cloud]`, `[service.store]`, `[service.community]`, `[service.support]`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use farewell_cloud::Terms;
use farewell_identity::Rules;
use farewell_identity::code::{Limits, Pepper};
use farewell_kit::session::Config as SessionConfig;
use farewell_kit::vault::Vault;
use farewell_runtime::config::{Human, Problem, Problems, Validate, nested};
use farewell_runtime::telemetry;
use farewell_support::Periods;
use serde::Deserialize;

use super::courier::Couriers;
use super::{
    COORDINATOR, Source, Tls, WINDOW_COMMANDS, database, database_or_file, exposed, load, positive,
    reach, session,
};

/// Most that a limit of identity's may be: a code has a million values, so that 1,000 tries hit one in a thousand days.
const RULE_MAX: u32 = 1_000;
/// Codes are counted by the day.
const CODE_LIFE_MAX: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Where the desk's people dial in.
const DESK_PORT: u16 = 7420;
/// Exports at a time: each has a part of every participant's work.
const EXPORTS_MAX: usize = 64;
/// A tebibyte: what somebody can still download.
const EXPORT_MIB_MAX: u64 = 1 << 20;
/// A deletion waits for an export, and an archive is one more copy of everything.
const EXPORT_LIFE_MAX: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 60 * 60);

/// The services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Name {
    Identity,
    Cloud,
    Store,
    Community,
    Support,
}

impl Name {
    /// Every service.
    pub const ALL: [Self; 5] = [
        Self::Identity,
        Self::Cloud,
        Self::Store,
        Self::Community,
        Self::Support,
    ];

    /// The participant's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Cloud => "cloud",
            Self::Store => "store",
            Self::Community => "community",
            Self::Support => "support",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a service is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// `sqlite:PATH` or `postgres://…`. Default: a file of the service's name.
    pub database: String,
    /// host:port of every coordinator.
    pub coordinators: Vec<String>,
    /// Commands that are worked on at a time.
    pub window: u32,
    pub tls: Tls,
    /// No TLS, on loopback only.
    pub plain: bool,
    /// How long the end may take.
    pub drain: Human,
    pub telemetry: telemetry::Config,
    /// Cloud only: where photos lie.
    pub files: PathBuf,
    /// Cloud only: archives of what is held of an account.
    pub exports: ExportsChoice,
    /// Identity only: how codes reach people. Required there.
    pub courier: Option<Couriers>,
    /// Identity only: the key of what is hashed, 16 bytes or more, or `VERSION:KEY`, or several of them with commas between: what is
    /// new is hashed under the newest. The same for every process. Required there.
    pub pepper: Secret,
    /// Identity only: limits of codes and passwords.
    pub rules: RulesChoice,
    /// Identity only: how notices are written.
    pub notices: NoticesChoice,
    /// Support only: ports.
    pub listen: Listen,
    /// Support only: `VERSION:KEY`, or several of them with commas between; a key is 64 hexadecimal digits. Documents' keys lie
    /// under the newest. The same for every process. Required there.
    pub keys: Secret,
    /// Support only: how long things last.
    pub periods: PeriodsChoice,
}

/// Ports. None: the service's default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    pub desk: Option<SocketAddr>,
}

/// See [`Periods`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeriodsChoice {
    /// An open case waits so long to be decided on.
    pub case_open: Human,
    /// An approval waits so long to be used.
    pub approval_valid: Human,
    /// Documents are kept so long after their case has ended.
    pub evidence_kept: Human,
}

/// Text that is never shown.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// What is no key of a [`Vault`], without showing it.
    fn vault_problems(&self, out: &mut Vec<Problem>) {
        if self.0.is_empty() {
            out.push(Problem::new(
                "keys",
                "is required: VERSION:KEY,…, each of 64 hexadecimal digits; the same for every process of the service, and not in its database",
            ));
        } else if let Err(error) = Vault::parse(&self.0) {
            out.push(Problem::new("keys", error.to_string()));
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// See [`Terms`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExportsChoice {
    /// Where archives lie. Default: `exports` in the folder of photos.
    pub folder: Option<PathBuf>,
    pub at_a_time: usize,
    /// Mebibytes of one archive before it is packed.
    pub size_mib_max: u64,
    /// After so long an export that isn't ready has failed.
    pub time_max: Human,
    /// After so long an archive is erased.
    pub keep: Human,
    /// As the desk's: archives' keys lie under the newest. Required.
    pub keys: Secret,
}

/// See [`Rules`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesChoice {
    /// How long a code is accepted.
    pub code_valid: Human,
    /// How long a link is.
    pub link_valid: Human,
    pub code_tries_max: u32,
    /// Between two codes.
    pub code_wait: Human,
    /// For one account in 24 hours.
    pub codes_per_day_max: u32,
    /// To one phone number or mail address in 24 hours.
    pub destination_per_day_max: u32,
    /// Proofs of one kind that are compared for one account in 24 hours.
    pub tries_per_day_max: u32,
    /// Passwords that are compared for one deletion in 24 hours.
    pub password_tries_max: u32,
}

/// See [`farewell_identity::notice::Config`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoticesChoice {
    /// The page that links lead to; empty: notices hold none.
    pub links: String,
    /// `en` or `zh`, for whom has said none.
    pub language: farewell_identity::Language,
}

impl Validate for NoticesChoice {
    fn problems(&self, out: &mut Vec<Problem>) {
        let secret =
            self.links.starts_with("https://") || self.links.starts_with("http://127.0.0.1");
        if !self.links.is_empty() && (!secret || self.links.contains(['#', ' '])) {
            out.push(Problem::new(
                "links",
                "must be a page under https://, without a #, or empty",
            ));
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self {
            database: String::new(),
            coordinators: vec![COORDINATOR.to_owned()],
            window: WINDOW_COMMANDS,
            tls: Tls::default(),
            plain: false,
            drain: Human(std::time::Duration::from_secs(20)),
            telemetry: telemetry::Config::default(),
            files: PathBuf::from("files"),
            exports: ExportsChoice::default(),
            courier: None,
            pepper: Secret::default(),
            rules: RulesChoice::default(),
            notices: NoticesChoice::default(),
            listen: Listen::default(),
            keys: Secret::default(),
            periods: PeriodsChoice::default(),
        }
    }
}

impl Default for PeriodsChoice {
    fn default() -> Self {
        let periods = Periods::default();
        Self {
            case_open: Human(periods.case_open),
            approval_valid: Human(periods.approval_valid),
            evidence_kept: Human(periods.evidence_kept),
        }
    }
}

impl Default for ExportsChoice {
    fn default() -> Self {
        let terms = Terms::default();
        Self {
            folder: None,
            at_a_time: terms.at_a_time,
            size_mib_max: terms.size_bytes_max >> 20,
            time_max: Human(terms.time_max),
            keep: Human(terms.keep),
            keys: Secret::default(),
        }
    }
}

impl Default for RulesChoice {
    fn default() -> Self {
        let rules = Rules::default();
        Self {
            code_valid: Human(rules.codes.valid),
            link_valid: Human(rules.codes.link_valid),
            code_tries_max: rules.codes.tries_max,
            code_wait: Human(rules.codes.resend_wait),
            codes_per_day_max: rules.codes.sends_per_day_max,
            destination_per_day_max: rules.codes.destination_per_day_max,
            tries_per_day_max: rules.tries_per_day_max,
            password_tries_max: rules.password_tries_max,
        }
    }
}

impl Validate for Service {
    fn problems(&self, out: &mut Vec<Problem>) {
        database("database", &self.database, out);
        reach(&self.coordinators, self.window, self.plain, out);
        self.tls.problems(self.plain, out);
        nested("telemetry", &self.telemetry, out);
    }
}

impl Validate for ExportsChoice {
    fn problems(&self, out: &mut Vec<Problem>) {
        if !(1..=EXPORTS_MAX).contains(&self.at_a_time) {
            out.push(Problem::new(
                "at_a_time",
                format!("must be 1 to {EXPORTS_MAX}"),
            ));
        }
        if !(1..=EXPORT_MIB_MAX).contains(&self.size_mib_max) {
            out.push(Problem::new(
                "size_mib_max",
                format!("must be 1 to {EXPORT_MIB_MAX}"),
            ));
        }
        for (key, duration) in [("time_max", self.time_max), ("keep", self.keep)] {
            positive(key, duration, out);
            if duration.get() > EXPORT_LIFE_MAX {
                out.push(Problem::new(key, "must be at most 30d"));
            }
        }
        self.keys.vault_problems(out);
    }
}

/// A limit is there to be reached: none would lock everybody out, and a huge one lets somebody guess.
impl Validate for RulesChoice {
    fn problems(&self, out: &mut Vec<Problem>) {
        for (key, max) in [
            ("code_tries_max", self.code_tries_max),
            ("codes_per_day_max", self.codes_per_day_max),
            ("destination_per_day_max", self.destination_per_day_max),
            ("tries_per_day_max", self.tries_per_day_max),
            ("password_tries_max", self.password_tries_max),
        ] {
            if !(1..=RULE_MAX).contains(&max) {
                out.push(Problem::new(key, format!("must be 1 to {RULE_MAX}")));
            }
        }
        for (key, duration) in [
            ("code_valid", self.code_valid),
            ("link_valid", self.link_valid),
            ("code_wait", self.code_wait),
        ] {
            positive(key, duration, out);
            if duration.get() > CODE_LIFE_MAX {
                out.push(Problem::new(key, "must be at most 1d"));
            }
        }
    }
}

/// Identity's section: the same, with what only identity can't do without.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
struct Identity(Service);

impl Validate for Identity {
    fn problems(&self, out: &mut Vec<Problem>) {
        self.0.problems(out);
        nested("rules", &self.0.rules, out);
        nested("notices", &self.0.notices, out);
        match &self.0.courier {
            Some(couriers) => nested("courier", couriers, out),
            None => out.push(Problem::new(
                "courier",
                "is required: how codes reach people, courier.sms and courier.email, each of kind webhook, smtp or file",
            )),
        }
        if self.0.pepper.0.is_empty() {
            out.push(Problem::new(
                "pepper",
                "is required: 16 bytes or more, or VERSION:PEPPER,…; the same for every process of identity, and not in its database",
            ));
        } else if let Err(error) = Pepper::parse(&self.0.pepper.0) {
            out.push(Problem::new("pepper", error.to_string()));
        }
    }
}

/// A case that ends at once is none, and so is an approval that nobody can use.
impl Validate for PeriodsChoice {
    fn problems(&self, out: &mut Vec<Problem>) {
        positive("case_open", self.case_open, out);
        positive("approval_valid", self.approval_valid, out);
    }
}

/// Support's section: the same, with what only the desk can't do without.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
struct Support(Service);

impl Validate for Support {
    fn problems(&self, out: &mut Vec<Problem>) {
        self.0.problems(out);
        exposed("listen.desk", self.0.listen.desk, self.0.plain, out);
        nested("periods", &self.0.periods, out);
        self.0.keys.vault_problems(out);
    }
}

/// The cloud's section: the same, with what only the custodian of archives can't do without.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
struct Cloud(Service);

impl Validate for Cloud {
    fn problems(&self, out: &mut Vec<Problem>) {
        self.0.problems(out);
        nested("exports", &self.0.exports, out);
    }
}

impl Service {
    /// Reads the section of a service.
    ///
    /// Errors: every mistake in it.
    pub fn load(source: &Source, service: Name) -> Result<Self, Problems> {
        let section = format!("service.{service}");
        match service {
            Name::Identity => load::<Identity>(source, &section).map(|identity| identity.0),
            Name::Support => load::<Support>(source, &section).map(|support| support.0),
            Name::Cloud => load::<Cloud>(source, &section).map(|cloud| cloud.0),
            Name::Store | Name::Community => load(source, &section),
        }
    }

    /// The service's database.
    pub fn database(&self, service: Name) -> String {
        database_or_file(&self.database, service.name())
    }

    /// What identity asks for.
    ///
    /// Errors: a certificate that can't be read.
    pub fn identity(&self) -> anyhow::Result<farewell_identity::Config> {
        Ok(farewell_identity::Config {
            database: self.database(Name::Identity),
            session: self.session(Name::Identity)?,
            courier: self
                .courier
                .as_ref()
                .and_then(Couriers::config)
                .context("identity has no courier")?,
            pepper: Pepper::parse(&self.pepper.0)?,
            rules: Rules {
                codes: Limits {
                    valid: self.rules.code_valid.get(),
                    link_valid: self.rules.link_valid.get(),
                    tries_max: self.rules.code_tries_max,
                    resend_wait: self.rules.code_wait.get(),
                    sends_per_day_max: self.rules.codes_per_day_max,
                    destination_per_day_max: self.rules.destination_per_day_max,
                },
                tries_per_day_max: self.rules.tries_per_day_max,
                password_tries_max: self.rules.password_tries_max,
            },
            notices: farewell_identity::notice::Config {
                links: Some(self.notices.links.clone()).filter(|links| !links.is_empty()),
                language: self.notices.language,
            },
        })
    }

    /// What the cloud asks for.
    ///
    /// Errors: a certificate that can't be read.
    pub fn cloud(&self) -> anyhow::Result<farewell_cloud::Config> {
        Ok(farewell_cloud::Config {
            database: self.database(Name::Cloud),
            files: self.files.clone(),
            exports: Terms {
                folder: self.exports.folder.clone(),
                at_a_time: self.exports.at_a_time,
                size_bytes_max: self.exports.size_mib_max << 20,
                time_max: self.exports.time_max.get(),
                keep: self.exports.keep.get(),
                ..Terms::default()
            },
            vault: Vault::parse(&self.exports.keys.0)?,
            session: self.session(Name::Cloud)?,
        })
    }

    /// What the store asks for.
    ///
    /// Errors: a certificate that can't be read.
    pub fn store(&self) -> anyhow::Result<farewell_store::Config> {
        Ok(farewell_store::Config {
            database: self.database(Name::Store),
            session: self.session(Name::Store)?,
        })
    }

    /// What the community asks for.
    ///
    /// Errors: a certificate that can't be read.
    pub fn community(&self) -> anyhow::Result<farewell_community::Config> {
        Ok(farewell_community::Config {
            database: self.database(Name::Community),
            session: self.session(Name::Community)?,
        })
    }

    /// What the support desk asks for.
    ///
    /// Errors: a certificate that can't be read.
    pub fn support(&self) -> anyhow::Result<farewell_support::Config> {
        Ok(farewell_support::Config {
            database: self.database(Name::Support),
            session: self.session(Name::Support)?,
            listen: self.desk(),
            security: self.tls.security(Name::Support.name())?,
            vault: Vault::parse(&self.keys.0)?,
            periods: self.periods(),
        })
    }

    /// Where the desk's people dial in.
    pub fn desk(&self) -> SocketAddr {
        let default = (Ipv4Addr::LOCALHOST, DESK_PORT).into();
        self.listen.desk.unwrap_or(default)
    }

    /// How long things last at the desk.
    pub fn periods(&self) -> Periods {
        let periods = &self.periods;
        Periods {
            case_open: periods.case_open.get(),
            approval_valid: periods.approval_valid.get(),
            evidence_kept: periods.evidence_kept.get(),
        }
    }

    fn session(&self, service: Name) -> anyhow::Result<SessionConfig> {
        let name = service.name();
        let security = self.tls.security(name)?;
        Ok(session(name, &self.coordinators, self.window, &security))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn identity_needs_a_courier_and_a_pepper_and_shows_neither() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = "[service.identity]\nplain = true\n[service.store]\nplain = true\n";
        file.write_all(text.as_bytes()).unwrap();
        let source = Source {
            config: Some(file.path().to_owned()),
            ..Source::default()
        };
        Service::load(&source, Name::Store).unwrap();
        let problems = Service::load(&source, Name::Identity).unwrap_err();
        let keys: Vec<&str> = problems.0.iter().map(|found| found.key.as_str()).collect();
        assert_eq!(
            keys,
            ["service.identity.courier", "service.identity.pepper"]
        );

        let more = "pepper = \"0123456789abcdef\"\n\
                    courier.sms = {kind = \"file\", path = \"c\"}\n\
                    courier.email = {kind = \"file\", path = \"c\"}\n";
        let text = text.replace("[service.store]", &format!("{more}[service.store]"));
        file.as_file().set_len(0).unwrap();
        std::fs::write(file.path(), text).unwrap();
        let identity = Service::load(&source, Name::Identity).unwrap();
        assert!(!format!("{identity:?}").contains("0123456789abcdef"));
        identity.identity().unwrap();
    }

    #[test]
    fn the_desk_and_the_cloud_need_their_keys_and_show_none() {
        let read_as = |service: Name, key: &str, keys: &str| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let text = format!("[service.{service}]\nplain = true\n{key} = \"{keys}\"\n");
            file.write_all(text.as_bytes()).unwrap();
            let source = Source {
                config: Some(file.path().to_owned()),
                ..Source::default()
            };
            Service::load(&source, service)
        };
        let read = |keys: &str| read_as(Name::Support, "keys", keys);
        let (first, second) = ("0a".repeat(32), "0b".repeat(32));
        let keys = format!("1:{first}, 2:{second}");
        let support = read(&keys).unwrap();
        assert_eq!(support.desk().to_string(), "127.0.0.1:7420");
        assert!(!format!("{support:?}").contains(&first));
        let cloud = read_as(Name::Cloud, "exports.keys", &keys).unwrap();
        assert_eq!(format!("{:?}", cloud.cloud().unwrap().vault), "{1, 2}");
        assert!(!format!("{cloud:?}").contains(&first));
        for bad in ["", "1", &first, "1:0a", &format!("x:{first}")] {
            let problems = read(bad).unwrap_err();
            assert_eq!(problems.0[0].key, "service.support.keys", "{bad}");
            assert!(!problems.to_string().contains(&first));
            let problems = read_as(Name::Cloud, "exports.keys", bad).unwrap_err();
            assert_eq!(problems.0[0].key, "service.cloud.exports.keys", "{bad}");
            assert!(!problems.to_string().contains(&first));
        }
    }

    #[test]
    fn an_export_that_could_hold_up_a_deletion_for_ever_is_a_mistake() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = "[service.cloud]\nplain = true\n[service.cloud.exports]\nat_a_time = 0\nsize_mib_max = 0\n\
                    time_max = \"31d\"\nkeep = \"0s\"\n";
        file.write_all(text.as_bytes()).unwrap();
        let source = Source {
            config: Some(file.path().to_owned()),
            ..Source::default()
        };
        let problems = Service::load(&source, Name::Cloud).unwrap_err();
        let keys = problems.0.iter().map(|found| found.key.as_str());
        let wrong = ["at_a_time", "size_mib_max", "time_max", "keep", "keys"];
        let wrong = wrong.map(|key| format!("service.cloud.exports.{key}"));
        assert_eq!(keys.collect::<Vec<_>>(), wrong);
    }

    #[test]
    fn every_rule_that_limits_nothing_or_everything_is_said_at_once() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = "[service.identity]\nplain = true\npepper = \"0123456789abcdef\"\n\
                    courier.sms = {kind = \"file\", path = \"c\"}\n\
                    courier.email = {kind = \"file\", path = \"c\"}\n\
                    [service.identity.rules]\ncode_tries_max = 0\ncodes_per_day_max = 1001\n\
                    destination_per_day_max = 0\ntries_per_day_max = 4000000000\npassword_tries_max = 1000\n\
                    code_valid = \"2d\"\nlink_valid = \"0s\"\ncode_wait = \"0s\"\n";
        file.write_all(text.as_bytes()).unwrap();
        let source = Source {
            config: Some(file.path().to_owned()),
            ..Source::default()
        };
        let problems = Service::load(&source, Name::Identity).unwrap_err();
        let keys = problems.0.iter().map(|found| found.key.as_str());
        let wrong = [
            "code_tries_max",
            "codes_per_day_max",
            "destination_per_day_max",
            "tries_per_day_max",
            "code_valid",
            "link_valid",
            "code_wait",
        ];
        let wrong = wrong.map(|key| format!("service.identity.rules.{key}"));
        assert_eq!(keys.collect::<Vec<_>>(), wrong);
    }
}
