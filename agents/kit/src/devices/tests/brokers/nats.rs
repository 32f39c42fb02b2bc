//! NATS: three nodes with JetStream, which is where sessions are kept, on all three. It speaks MQTT 3.1.1 only.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::balancer::Balancer;
use super::process::{Folder, Process, free_ports, listens, required, until};
use super::{Broker, HUBS, PATIENCE, endpoint, password, profile_of_311};
use crate::devices::mqtt::{AGENT, Endpoint, Options, Profile, Protocol, Version, connect};

const NODES: usize = 3;

pub struct Nats {
    nodes: Vec<Process>,
    balancer: Balancer,
    _folder: Folder,
}

impl Nats {
    /// `None` if there is none on this machine and it may be skipped.
    pub async fn start() -> Option<Self> {
        let binary = required("FAREWELL_TEST_NATS")?;
        let folder = Folder::new("nats");
        let [client, route, mqtt]: [[u16; NODES]; 3] = {
            let ports: [u16; NODES * 3] = free_ports();
            [0, 1, 2].map(|kind| [0, 1, 2].map(|node| ports[kind * NODES + node]))
        };
        let nodes = (0..NODES).map(|node| {
            let store = folder.path().join(format!("node-{node}"));
            let config = folder.file(
                &format!("node-{node}.conf"),
                &config(node, &store, client[node], route, mqtt[node]),
            );
            run(&binary, &config)
        });
        let nodes = nodes.collect();
        for port in mqtt {
            until("a NATS node does not listen for MQTT", || listens(port));
        }
        let started = Self {
            nodes,
            balancer: Balancer::start(mqtt.to_vec()),
            _folder: folder,
        };
        started.ready().await;
        Some(started)
    }

    /// The nodes listen before they have agreed on who leads; the first session waits for that.
    async fn ready(&self) {
        let shutdown = farewell_runtime::shutdown::Shutdown::new();
        let (client, _incoming) = connect(
            Options {
                endpoint: self.endpoint(HUBS[0], Protocol::V311),
                filters: Vec::new(),
                session_life: None,
                queue: 1,
            },
            &shutdown,
        );
        let mut standing = client.standing();
        let stands = standing.wait_for(Option::is_some);
        let stands = tokio::time::timeout(PATIENCE, stands).await;
        assert!(stands.is_ok(), "NATS accepts nobody");
        drop(stands);
        assert!(shutdown.drain(PATIENCE).await);
    }
}

fn run(binary: &PathBuf, config: &str) -> Process {
    Process::start(Command::new(binary).args(["-c", config, "-l", &format!("{config}.log")]))
}

/// A topic's `/` is a subject's `.`; what a QoS 1 subscription brings comes on a subject of the server's own.
fn config(node: usize, store: &Path, client: u16, route: [u16; NODES], mqtt: u16) -> String {
    let line = "farewell.v1.test";
    let user = |who: &str, publish: &[String], subscribe: &[String]| {
        format!(
            "{{user: {who:?}, password: {:?}, permissions: {{publish: {publish:?}, subscribe: {subscribe:?}}}}}\n",
            password(who)
        )
    };
    let delivered = "$MQTT.sub.>".to_owned();
    let hubs = HUBS.map(|hub| {
        let of = |channel: &str| format!("{line}.{hub}.{channel}");
        user(
            hub,
            &[of("ack"), of("sync")],
            &[of("cmd"), delivered.clone()],
        )
    });
    let of_all = |channel: &str| format!("{line}.*.{channel}");
    let agent = user(
        AGENT,
        &[of_all("cmd")],
        &[of_all("ack"), of_all("sync"), delivered.clone()],
    );
    let routes = route.map(|port| format!("nats://127.0.0.1:{port}"));
    format!(
        "server_name: node-{node}\nlisten: \"127.0.0.1:{client}\"\njetstream {{store_dir: {store:?}}}\n\
         cluster {{name: farewell, listen: \"127.0.0.1:{}\", routes: {routes:?}}}\n\
         mqtt {{listen: \"127.0.0.1:{mqtt}\"}}\nsystem_account: SYS\n\
         accounts {{SYS {{}}, DEVICES {{jetstream: enabled, users: [{agent}{}]}}}}\n",
        route[node],
        hubs.concat(),
    )
}

impl Broker for Nats {
    fn endpoint(&self, who: &str, protocol: Protocol) -> Endpoint {
        endpoint(self.balancer.port, who, password(who), protocol)
    }

    /// The node that everybody is connected to is killed and stays away: two of three go on.
    fn outage(&mut self) {
        self.nodes.remove(0).kill();
    }

    fn profile(&self, _: Version) -> Profile {
        profile_of_311()
    }
}
