//! A development authority, a certificate for every role, and the keys that sign orders and events. Production brings its own, for instance from cert-manager.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use farewell_runtime::certs::{DevCa, event_key, next_order_key, order_key, write};
use farewell_runtime::peer::Role;
use serde_json::json;

use crate::output::{Output, Rows};

/// Who gets a certificate, under the file name that is also its name in it.
pub const PEERS: [(Role, &str); 12] = [
    (Role::Coordinator, "coordinator"),
    (Role::Operator, "operator"),
    (Role::Caller, "caller"),
    (Role::Desk, "desk"),
    (Role::Participant, "identity"),
    (Role::Participant, "cloud"),
    (Role::Participant, "store"),
    (Role::Participant, "community"),
    (Role::Participant, "support"),
    (Role::Participant, "phones"),
    (Role::Participant, "wearables"),
    (Role::Participant, "smarthome"),
];

/// The file name of what coordinators show other regions'.
pub const CELL: &str = "cell";

/// `farewell certs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where ca.pem, ca.key and the certificates go; an authority that is there already is used
    #[arg(default_value = "certs")]
    dir: PathBuf,
    /// A name or address that coordinators and agents listen under, beside localhost
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// One more device with a certificate
    #[arg(long = "device", value_name = "ID")]
    devices: Vec<String>,
    /// One more person of the support desk with a certificate: two approve what a third has opened
    #[arg(long = "desk", value_name = "NAME")]
    desks: Vec<String>,
    /// Another system with a certificate, that fetches events
    #[arg(long = "receiver", value_name = "NAME")]
    receivers: Vec<String>,
    /// What this region's coordinators show other regions' as cell.pem, with the region's name in it
    #[arg(long, value_name = "REGION")]
    cell: Option<String>,
    /// Make the key that orders will be signed with next, and let devices know it: orders-next.key, orders.pub
    #[arg(long)]
    next_order_key: bool,
}

/// Makes the files and lists them.
///
/// Errors: a name that can't stand in a certificate, a folder that can't be written.
pub fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let hosts: Vec<&str> = args.hosts.iter().map(String::as_str).collect();
    let ca = make(&args.dir, &hosts)?;
    let more: Vec<(Role, &str)> = [
        (Role::Device, &args.devices),
        (Role::Desk, &args.desks),
        (Role::Receiver, &args.receivers),
    ]
    .into_iter()
    .flat_map(|(role, names)| names.iter().map(move |name| (role, name.as_str())))
    .collect();
    for (role, name) in &more {
        write(&args.dir, name, &ca.issue(*role, name, &[])?)?;
    }
    if let Some(region) = &args.cell {
        write(&args.dir, CELL, &ca.issue(Role::Cell, region, &[])?)?;
    }
    if args.next_order_key {
        next_order_key(&args.dir)?;
    }
    let mut rows = Rows::new("", &["certificate", "names"]);
    let mut list = Vec::new();
    let named = PEERS.into_iter().chain(more);
    let mut listed: Vec<_> = named.map(|(role, name)| (name, role, name)).collect();
    if let Some(region) = &args.cell {
        listed.push((CELL, Role::Cell, region));
    }
    for (file, role, name) in listed {
        let file = args.dir.join(format!("{file}.pem"));
        let uri = format!("spiffe://farewell/{role}/{name}");
        list.push(json!({"certificate": file, "names": uri}));
        rows.push([file.display().to_string(), uri]);
    }
    output.write(&json!({"certificates": list}), &[rows])
}

/// The authority in `dir` and everybody's certificate; `hosts` come beside `localhost`, and only for those who listen.
///
/// Errors: a name that can't stand in a certificate, a folder that can't be written.
pub fn make(dir: &Path, hosts: &[&str]) -> anyhow::Result<DevCa> {
    let ca = DevCa::open_or_create(dir).context("the development authority")?;
    for (role, name) in PEERS {
        let hosts = match role {
            Role::Coordinator | Role::Participant => hosts,
            Role::Operator
            | Role::Caller
            | Role::Device
            | Role::Desk
            | Role::Receiver
            | Role::Cell => &[],
        };
        let credentials = ca
            .issue(role, name, hosts)
            .with_context(|| format!("the certificate of {name}"))?;
        write(dir, name, &credentials)?;
    }
    order_key(dir).context("the key that signs orders")?;
    event_key(dir).context("the key that signs events")?;
    Ok(ca)
}

#[cfg(test)]
mod tests {
    use farewell_runtime::tls::Credentials;

    use super::*;

    #[test]
    fn everybody_finds_a_certificate_of_the_same_authority() {
        let dir = tempfile::tempdir().unwrap();
        let ca = make(dir.path(), &["farewell.example"]).unwrap();
        for (_, name) in PEERS {
            let credentials = Credentials::from_dir(dir.path(), name).unwrap();
            assert_eq!(credentials.ca_pem, ca.pem());
        }
    }
}
