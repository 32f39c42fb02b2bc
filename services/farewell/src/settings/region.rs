//! `[coordinator.region]` and `[coordinator.regions.NAME]`: which region this is, and which others there are.

use std::collections::BTreeMap;

use anyhow::Context as _;
use farewell_coordinator as coordinator;
use farewell_runtime::client;
use farewell_runtime::config::Problem;
use farewell_runtime::server::Security;
use farewell_runtime::tls::Credentials;
use serde::Deserialize;

use super::Tls;

/// Other regions of one coordinator.
const REGIONS_MAX: usize = 32;
/// Longest name of a region, which stands in a certificate, on every certificate of deletion and in identity's database.
const NAME_BYTES_MAX: usize = farewell_identity::REGION_BYTES_MAX;

/// This region.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Region {
    /// For instance `cn`. Empty: there is only one.
    pub name: String,
    /// What is shown to other regions: a certificate of the role cell. The folder is by default the coordinator's, the name `cell`;
    /// its authority is that of the other regions' coordinators.
    pub tls: Tls,
}

/// Another region.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Elsewhere {
    /// Where callers go: `https://HOST:PORT` of its coordinators.
    pub address: String,
    /// Whether requests are passed on; otherwise callers are told the address.
    pub forward: bool,
}

/// By name.
pub type Regions = BTreeMap<String, Elsewhere>;

/// Everything that is wrong with both.
pub fn problems(region: &Region, regions: &Regions, tls: &Tls, out: &mut Vec<Problem>) {
    let mut wrong = |is_wrong: bool, key: &str, message: &str| {
        if is_wrong {
            out.push(Problem::new(key, message));
        }
    };
    wrong(
        !region.name.is_empty() && !is_name(&region.name),
        "region.name",
        "must be 1 to 32 of a-z, 0-9 and -",
    );
    wrong(
        region.name.is_empty() && !regions.is_empty(),
        "region.name",
        "is required where there are other regions",
    );
    wrong(regions.len() > REGIONS_MAX, "regions", "are more than 32");
    for (name, elsewhere) in regions {
        let key = format!("regions.{name}");
        wrong(
            !is_name(name),
            &key,
            "must be named with 1 to 32 of a-z, 0-9 and -",
        );
        wrong(
            *name == region.name,
            &key,
            "is this region itself: see region.name",
        );
        wrong(
            !is_address(&elsewhere.address),
            &format!("{key}.address"),
            "is required: https://HOST:PORT, where its callers go",
        );
        wrong(
            elsewhere.forward && tls.dir.is_none(),
            &format!("{key}.forward"),
            "needs tls.dir: the other region knows us by our certificate",
        );
    }
}

fn is_name(text: &str) -> bool {
    let of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(of_name)
}

/// As it is dialled, and as callers are told it.
fn is_address(text: &str) -> bool {
    // Read as one on this machine is, so that the question is the address alone.
    let exposed = matches!(
        client::endpoint(text, &Security::PlainLoopback),
        Ok(_) | Err(client::Error::Exposed { .. })
    );
    text.starts_with("https://") && exposed
}

impl Region {
    /// What the coordinator's crate asks for.
    ///
    /// Errors: a certificate that can't be read.
    pub fn config(&self, regions: &Regions, tls: &Tls) -> anyhow::Result<coordinator::Region> {
        let cell = |(name, elsewhere): (&String, &Elsewhere)| {
            let forward = elsewhere
                .forward
                .then(|| self.security(tls))
                .transpose()
                .with_context(|| format!("regions.{name}"))?;
            let cell = coordinator::Cell {
                address: elsewhere.address.clone(),
                forward,
            };
            Ok((name.clone(), cell))
        };
        Ok(coordinator::Region {
            name: self.name.clone(),
            cells: regions.iter().map(cell).collect::<anyhow::Result<_>>()?,
        })
    }

    fn security(&self, tls: &Tls) -> anyhow::Result<Security> {
        let dir = self.tls.dir.as_ref().or(tls.dir.as_ref());
        let dir = dir.context("forwarding needs tls.dir")?;
        let name = self.tls.name.as_deref().unwrap_or(crate::certs::CELL);
        Ok(Security::Mutual(Credentials::from_dir(dir, name)?))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use crate::settings::{Coordinator, Source};

    fn load(text: &str) -> Result<Coordinator, farewell_runtime::config::Problems> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "[coordinator]\nplain = true\n{text}").unwrap();
        Coordinator::load(&Source {
            config: Some(file.path().to_owned()),
            ..Source::default()
        })
    }

    #[test]
    fn nobody_needs_to_name_the_only_region() {
        let only = load("").unwrap().config().unwrap();
        assert_eq!(only.region.name, "");
        assert_eq!(only.policy.region, None);
        let named = load("region.name = \"cn\"\nregions.eu.address = \"https://eu.example:7400\"");
        let named = named.unwrap().config().unwrap();
        assert_eq!(named.policy.region.as_deref(), Some("cn"));
        assert_eq!(named.region.cells["eu"].address, "https://eu.example:7400");
        assert!(named.region.cells["eu"].forward.is_none());
    }

    #[test]
    fn every_mistake_about_regions_is_said_at_once() {
        let problems = load(
            r#"
            [coordinator.regions.cn]
            address = "http://cn.example:7400"
            [coordinator.regions."E U"]
            address = "https://eu.example:7400/path"
            [coordinator.regions.us]
            address = "https://us.example"
            forward = true
            "#,
        );
        let problems = problems.unwrap_err();
        let mut keys: Vec<_> = problems.0.iter().map(|it| it.key.as_str()).collect();
        keys.sort_unstable();
        let wrong = [
            "region.name",
            "regions.E U",
            "regions.E U.address",
            "regions.cn.address",
            "regions.us.address",
            "regions.us.forward",
        ];
        assert_eq!(keys, wrong.map(|key| format!("coordinator.{key}")));
        let own = load("region.name = \"cn\"\nregions.cn.address = \"https://cn.example:7400\"");
        assert_eq!(own.unwrap_err().0[0].key, "coordinator.regions.cn");
        let bad = load("region.name = \"C N\"").unwrap_err();
        assert_eq!(bad.0[0].key, "coordinator.region.name");
    }
}
