//! Regions: each is a cell of its own, with its coordinators, its database and its participants. An account has one home, which
//! its identity service knows; a request that arrives elsewhere is answered with where to go, or passed on, and nothing of it is
//! stored where it arrived.
//!
//! An account is found by asking identity. A deletion is found by its name: in the ledger here, or else by asking the cells that
//! requests are forwarded to. A forwarded request is never forwarded again.

mod forward;
mod gate;
mod home;
mod subject;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use farewell_core::DeletionId;
use farewell_proto::elsewhere::Elsewhere;
use farewell_runtime::client;
use farewell_runtime::server::Security;
use futures_util::future::join_all;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

pub use gate::{Gate, Homes};
pub use home::{Whereabouts, elsewhere, whereabouts};

/// Who asked the cell that forwards: `{role}/{name}`, believed only from a cell's certificate.
pub const CALLER: &str = "farewell-caller";

/// Deletions whose cell is remembered: they never move.
const LOCATED_MAX: usize = 65_536;
/// How long another cell may take to say that it is there.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Which region a coordinator belongs to, and which others there are.
#[derive(Clone, Debug, Default)]
pub struct Region {
    /// For instance `cn`. Empty where there is only one, and nobody names it.
    pub name: String,
    /// The others, by name.
    pub cells: BTreeMap<String, Cell>,
}

/// Another region's coordinators.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Where callers go, `https://HOST:PORT`.
    pub address: String,
    /// What is shown there if requests are passed on: a certificate of the role cell, with this region's name. `None`: callers are
    /// told the address.
    pub forward: Option<Security>,
}

/// The other cells, as a running coordinator reaches them.
pub struct Cells {
    /// This cell's region; empty where there is only one.
    own: String,
    links: BTreeMap<String, Link>,
    located: Mutex<HashMap<DeletionId, String>>,
}

struct Link {
    address: String,
    channel: Option<Channel>,
}

/// Another cell, for people.
pub struct Seen {
    pub region: String,
    pub address: String,
    /// Whether requests are passed on, and if so, whether it answers.
    pub answers: Option<bool>,
}

impl Cells {
    /// Prepares to dial; nobody is dialled before there is something to pass on.
    ///
    /// Errors: an address that is none, forwarding without TLS.
    pub fn new(region: Region) -> anyhow::Result<Self> {
        let link = |(name, cell): (String, Cell)| {
            let dial = |security: Security| {
                let guarded = matches!(security, Security::Mutual(_));
                ensure!(guarded, "region {name}: to forward needs TLS");
                let endpoint = client::endpoint(&cell.address, &security);
                Ok(endpoint
                    .with_context(|| format!("region {name}"))?
                    .connect_lazy())
            };
            let link = Link {
                channel: cell.forward.map(dial).transpose()?,
                address: cell.address,
            };
            Ok((name, link))
        };
        Ok(Self {
            own: region.name,
            links: region
                .cells
                .into_iter()
                .map(link)
                .collect::<anyhow::Result<_>>()?,
            located: Mutex::default(),
        })
    }

    /// This cell's region; empty where there is only one.
    pub fn own(&self) -> &str {
        &self.own
    }

    /// The regions whose certificates are believed.
    pub fn names(&self) -> Arc<BTreeSet<String>> {
        Arc::new(self.links.keys().cloned().collect())
    }

    /// Whether there is no other: then no request is looked at.
    pub fn is_only_one(&self) -> bool {
        self.links.is_empty()
    }

    /// Another region, for who is told where to go.
    pub fn place(&self, region: String) -> Elsewhere {
        let link = self.links.get(&region);
        Elsewhere {
            address: link.map_or_else(String::new, |link| link.address.clone()),
            region,
        }
    }

    /// The cells that requests are passed on to.
    fn forwarding(&self) -> impl Iterator<Item = (&str, &Channel)> {
        self.links
            .iter()
            .filter_map(|(name, link)| Some((name.as_str(), link.channel.as_ref()?)))
    }

    /// The cells that callers are told the address of, and the addresses.
    fn told(&self) -> impl Iterator<Item = (&str, &str)> {
        self.links
            .iter()
            .filter(|(_, link)| link.channel.is_none())
            .map(|(name, link)| (name.as_str(), link.address.as_str()))
    }

    fn remember(&self, id: DeletionId, region: &str) {
        let mut located = self.located.lock().unwrap_or_else(PoisonError::into_inner);
        if located.len() >= LOCATED_MAX {
            located.clear();
        }
        located.insert(id, region.to_owned());
    }

    fn located(&self, id: DeletionId) -> Option<String> {
        let located = self.located.lock().unwrap_or_else(PoisonError::into_inner);
        located.get(&id).cloned()
    }

    /// Every other cell, and whether it answers.
    pub async fn look(&self) -> Vec<Seen> {
        let seen = self.links.iter().map(|(region, link)| async {
            Seen {
                region: region.clone(),
                address: link.address.clone(),
                answers: match &link.channel {
                    Some(channel) => Some(answers(channel).await),
                    None => None,
                },
            }
        });
        join_all(seen).await
    }
}

async fn answers(channel: &Channel) -> bool {
    let request = client::request(HealthCheckRequest::default(), ANSWER_MAX);
    let mut health = HealthClient::new(channel.clone());
    let asked = tokio::time::timeout(ANSWER_MAX, health.check(request));
    asked.await.is_ok_and(|answer| answer.is_ok())
}
