//! The last look: into every database, every folder and every device, whatever anybody answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use anyhow::Context as _;
use farewell_kit::devices::schema;
use farewell_kit::store::Store;
use farewell_kit::{Inventory, Retained, devices};
use farewell_proto::deletion::v1::{Deletion, Leg, LegState};
use prost_types::Timestamp;

use super::account::Account;
use super::devices::Devices;
use super::stage::Stage;
use crate::output::Rows;
use crate::settings::{Line, Name};

/// What was said and what was found.
pub struct Verdict {
    findings: Vec<Finding>,
    faults: Vec<String>,
}

struct Finding {
    participant: &'static str,
    did: String,
    found: String,
}

impl Verdict {
    /// Looks everywhere.
    ///
    /// Errors: a database that can't be opened.
    pub async fn look(
        stage: &Stage,
        account: &Account,
        deletion: &Deletion,
        devices: &Devices,
        certificate: &[u8],
    ) -> anyhow::Result<Self> {
        let mut verdict = Self {
            findings: Vec::new(),
            faults: Vec::new(),
        };
        for service in Name::ALL {
            let store = open(stage, service)
                .await
                .with_context(|| format!("opening {service}"))?;
            let held = held(stage, service, &store, &account.id).await?;
            let id = deletion.name.trim_start_matches("deletions/");
            let kept = match service {
                Name::Store => farewell_store::kept(&store, id).await?,
                Name::Identity => farewell_identity::kept(&store, id).await?,
                Name::Cloud | Name::Community | Name::Support => Vec::new(),
            };
            store.pool().close().await;
            verdict.service(service.name(), deletion, &held, &kept);
        }
        let snapshot = devices.snapshot();
        for line in Line::ALL {
            let url = stage.agent_database(line);
            let store = Store::open(&url, line.name(), schema::SCHEMA)
                .await
                .with_context(|| format!("opening {line}"))?;
            let left = devices::left_over(&store, &account.id).await?;
            store.pool().close().await;
            verdict.line(line, deletion, left);
        }
        let counts = snapshot.counts();
        verdict.certificate(certificate, deletion)?;
        for device in &snapshot.devices {
            if device.bound_epoch != 0 || device.user_data {
                verdict.faults.push(format!(
                    "{} still holds binding {} and {} data",
                    device.device,
                    device.bound_epoch,
                    if device.user_data { "its" } else { "no" }
                ));
            }
        }
        verdict.findings.push(Finding {
            participant: "devices",
            did: format!("{} were bound", counts.total),
            found: format!("{} unbound and without data", counts.wiped),
        });
        Ok(verdict)
    }

    /// A row for each participant, and one for the devices themselves.
    pub fn rows(&self) -> [Rows; 1] {
        let mut rows = Rows::new("", &["participant", "did", "found now"]);
        for finding in &self.findings {
            rows.push([
                finding.participant.to_owned(),
                finding.did.clone(),
                finding.found.clone(),
            ]);
        }
        [rows]
    }

    /// Everything that should not be.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    fn service(
        &mut self,
        participant: &'static str,
        deletion: &Deletion,
        held: &Inventory,
        kept: &[Retained],
    ) {
        let mut found = Vec::new();
        for category in held.categories.iter().filter(|held| held.count > 0) {
            found.push(format!("{} {}", category.count, category.category));
            self.faults.push(format!(
                "{participant} still holds {} {}",
                category.count, category.category
            ));
        }
        if found.is_empty() {
            found.push("nothing of the account".to_owned());
        }
        let erase = leg(deletion, participant);
        let declared: BTreeMap<&str, i64> = erase
            .iter()
            .flat_map(|leg| &leg.retained)
            .map(|kept| (kept.class.as_str(), kept.count))
            .collect();
        let there: BTreeMap<&str, i64> = kept
            .iter()
            .map(|kept| (kept.class.as_str(), kept.count))
            .collect();
        if declared != there {
            self.faults.push(format!(
                "{participant} declared that it keeps {declared:?}, but keeps {there:?}"
            ));
        }
        for kept in kept {
            found.push(format!(
                "{} under a pseudonym, until {} ({})",
                counted(kept.count, &kept.class),
                date(kept.until),
                kept.legal_basis
            ));
        }
        self.push(participant, erase, found.join("; "));
    }

    fn line(&mut self, line: Line, deletion: &Deletion, left: devices::LeftOver) {
        let found = if left.is_clean() {
            "no binding, no credential, no order".to_owned()
        } else {
            let found = format!(
                "{} bindings, {} credentials, {} orders",
                left.bindings, left.credentials, left.orders
            );
            self.faults.push(format!("{line} still holds {found}"));
            found
        };
        self.push(line.name(), leg(deletion, line.name()), found);
    }

    /// The certificate must speak of this deletion and of every leg of it.
    fn certificate(&mut self, document: &[u8], deletion: &Deletion) -> anyhow::Result<()> {
        let document: serde_json::Value =
            serde_json::from_slice(document).context("the certificate is no JSON")?;
        if document["deletion"] != deletion.name.as_str() {
            self.faults
                .push("the certificate speaks of another deletion".to_owned());
        }
        let certified: BTreeSet<(&str, &str)> = document["legs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|leg| Some((leg["participant"].as_str()?, leg["verb"].as_str()?)))
            .collect();
        for leg in &deletion.legs {
            let verb = leg.verb.to_lowercase();
            if leg.state() == LegState::Done
                && !certified.contains(&(leg.participant.as_str(), &verb))
            {
                self.faults.push(format!(
                    "the certificate is silent about {} {verb}",
                    leg.participant
                ));
            }
        }
        Ok(())
    }

    fn push(&mut self, participant: &'static str, erase: Option<&Leg>, found: String) {
        let did = match erase {
            Some(leg) => did(leg),
            None => {
                self.faults
                    .push(format!("{participant} was never asked to erase"));
                String::new()
            }
        };
        self.findings.push(Finding {
            participant,
            did,
            found,
        });
    }
}

/// The last thing that a participant did to erase.
fn leg<'a>(deletion: &'a Deletion, participant: &str) -> Option<&'a Leg> {
    deletion
        .legs
        .iter()
        .rev()
        .find(|leg| leg.participant == participant && leg.verb.eq_ignore_ascii_case("erase"))
}

/// In words: what was done to how much, and how the devices ended.
fn did(leg: &Leg) -> String {
    let outcome = leg.outcome.replace('_', " ").to_lowercase();
    let counts: BTreeMap<_, _> = leg.counts.iter().filter(|(_, count)| **count > 0).collect();
    let mut parts: Vec<String> = counts
        .iter()
        .map(|(what, count)| counted(**count, what))
        .collect();
    let mut ends: BTreeMap<&str, u32> = BTreeMap::new();
    for device in &leg.devices {
        *ends.entry(&device.outcome).or_default() += 1;
    }
    parts.extend(
        ends.iter()
            .map(|(end, count)| format!("{count} {}", end.to_lowercase())),
    );
    format!("{outcome} {}", parts.join(", "))
}

/// `1 real name` of a count of `real_names`.
fn counted(count: i64, what: &str) -> String {
    let what = match what.strip_suffix('s') {
        Some(one) if count == 1 => one,
        Some(_) | None => what,
    };
    format!("{count} {}", what.replace('_', " "))
}

fn date(at: SystemTime) -> String {
    let time = Timestamp::from(at).to_string();
    time.split_once('T')
        .map_or(time.clone(), |(date, _)| date.to_owned())
}

async fn open(stage: &Stage, service: Name) -> Result<Store, sqlx::Error> {
    let url = stage.service_database(service);
    match service {
        Name::Identity => farewell_identity::open(&url).await,
        Name::Cloud => farewell_cloud::open(&url).await,
        Name::Store => farewell_store::open(&url).await,
        Name::Community => farewell_community::open(&url).await,
        Name::Support => farewell_support::open(&url).await,
    }
}

async fn held(
    stage: &Stage,
    service: Name,
    store: &Store,
    account: &str,
) -> anyhow::Result<Inventory> {
    match service {
        Name::Identity => farewell_identity::left_over(store, account).await,
        Name::Cloud => farewell_cloud::left_over(store, &stage.files(), account).await,
        Name::Store => farewell_store::left_over(store, account).await,
        Name::Community => farewell_community::left_over(store, account).await,
        Name::Support => farewell_support::left_over(store, account).await,
    }
}
