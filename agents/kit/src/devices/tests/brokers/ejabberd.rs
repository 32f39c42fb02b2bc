//! ejabberd: two nodes with MQTT 5 and 3.1.1. A session is a process on one node, and gone with it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use farewell_runtime::tls::Credentials;

use super::balancer::Balancer;
use super::process::{Folder, Process, Seat, Seats, free_ports, listens, required, until};
use super::{Broker, HUBS, endpoint, password, profile_of_311};
use crate::devices::mqtt::{AGENT, Endpoint, Profile, Protocol, Version};

/// Users are `name@host` there. Topics are held to the name alone, so that it is the device's id all the same.
const HOST: &str = "farewell.test";

/// Clusters at a time: on a small machine more of them would be busy with each other when a node is killed.
static SEATS: Seats = Seats::new(2);

pub struct Ejabberd {
    nodes: Vec<Process>,
    balancer: Balancer,
    ca_pem: Option<String>,
    _folder: Folder,
    // Dropped last.
    _seat: Seat,
}

impl Ejabberd {
    /// `None` if there is none on this machine and it may be skipped.
    pub fn start() -> Option<Self> {
        Self::open(None)
    }

    /// As [`Ejabberd::start`], with TLS and nothing else.
    pub fn start_with_tls(credentials: &Credentials) -> Option<Self> {
        Self::open(Some(credentials))
    }

    fn open(credentials: Option<&Credentials>) -> Option<Self> {
        // Where its code is. The package's own script would use, and end, an epmd that others may need.
        let code = required("FAREWELL_TEST_EJABBERD")?;
        let seat = SEATS.take();
        let folder = Folder::new("ejabberd");
        let certificate = credentials.map(|credentials| {
            let both = format!("{}{}", credentials.cert_pem, credentials.key_pem);
            folder.file("broker.pem", &both)
        });
        // Without epmd nodes find each other by one port and an address each.
        let [nodes, first, second] = free_ports();
        let a = Node {
            name: format!("a@{}", Ipv4Addr::LOCALHOST),
            address: Ipv4Addr::LOCALHOST,
            port: nodes,
            mqtt: first,
            certificate: certificate.clone(),
        };
        let b = Node {
            name: "b@127.0.0.2".to_owned(),
            address: Ipv4Addr::new(127, 0, 0, 2),
            port: nodes,
            mqtt: second,
            certificate,
        };
        let users = HUBS.into_iter().chain([AGENT]).map(|who| {
            format!(
                "ok = ejabberd_auth:try_register(<<\"{who}\">>, <<\"{HOST}\">>, <<\"{}\">>), ",
                password(who)
            )
        });
        let registered = folder.path().join("registered");
        let register = format!(
            "{}ok = file:write_file({registered:?}, <<>>).",
            users.collect::<String>()
        );
        let first_node = a.run(&code, folder.path(), &register);
        until("the first node does not register users", || {
            registered.exists()
        });
        let joined = folder.path().join("joined");
        let join = format!(
            "ok = ejabberd_cluster:join('{}'), ok = file:write_file({joined:?}, <<>>).",
            a.name
        );
        let second_node = b.run(&code, folder.path(), &join);
        until("the second node does not join", || joined.exists());
        until("a node does not listen for MQTT", || {
            listens(first) && listens(second)
        });
        Some(Self {
            nodes: vec![first_node, second_node],
            balancer: Balancer::start(vec![first, second]),
            ca_pem: credentials.map(|credentials| credentials.ca_pem.clone()),
            _folder: folder,
            _seat: seat,
        })
    }
}

struct Node {
    name: String,
    address: Ipv4Addr,
    port: u16,
    mqtt: u16,
    certificate: Option<String>,
}

impl Node {
    /// Starts it, and lets it evaluate `then` once it is up.
    fn run(&self, code: &Path, folder: &Path, then: &str) -> Process {
        let home = folder.join(&self.name);
        std::fs::create_dir_all(&home).unwrap();
        let config = home.join("ejabberd.yml");
        std::fs::write(&config, self.config()).unwrap();
        let [a, b, c, d] = self.address.octets();
        Process::start(
            Command::new("erl")
                .args(["-name", &self.name, "-setcookie", "farewell-test"])
                .args(["-start_epmd", "false"])
                .args(["-erl_epmd_port", &self.port.to_string()])
                .args(["-kernel", "inet_dist_use_interface"])
                .arg(format!("{{{a},{b},{c},{d}}}"))
                .args(["-mnesia", "dir"])
                .arg(format!("{:?}", home.join("mnesia")))
                .args(["-noinput", "-ejabberd", "quiet", "true", "-s", "ejabberd"])
                .args(["-eval", then])
                .env("ERL_LIBS", code)
                .env("EJABBERD_CONFIG_PATH", &config)
                .env("EJABBERD_LOG_PATH", home.join("ejabberd.log"))
                .env("ERL_CRASH_DUMP", "/dev/null")
                .env("HOME", &home),
        )
    }

    fn config(&self) -> String {
        let mqtt = self.mqtt;
        let (certificates, tls) = match &self.certificate {
            Some(file) => (format!("certfiles: [{file:?}]"), ", tls: true"),
            None => (String::new(), ""),
        };
        format!(
            r##"
hosts: [{HOST}]
{certificates}
auth_method: [mnesia]
auth_password_format: scram
hide_sensitive_log_data: true
listen:
  - {{port: {mqtt}, ip: "127.0.0.1", module: mod_mqtt, backlog: 1000{tls}}}
acl:
  agent: {{user: ["{AGENT}@{HOST}"]}}
access_rules:
  agent: [{{allow: agent}}]
  device: [{{allow: all}}]
  nobody: [{{deny: all}}]
modules:
  mod_mqtt:
    access_publish:
      "farewell/v1/test/%u/ack": device
      "farewell/v1/test/%u/sync": device
      "farewell/v1/test/+/cmd": agent
      "#": nobody
    access_subscribe:
      "farewell/v1/test/%u/cmd": device
      "farewell/v1/test/+/ack": agent
      "farewell/v1/test/+/sync": agent
      "#": nobody
"##
        )
    }
}

impl Broker for Ejabberd {
    fn endpoint(&self, who: &str, protocol: Protocol) -> Endpoint {
        Endpoint {
            username: format!("{who}@{HOST}"),
            ca_pem: self.ca_pem.clone().map(String::into_bytes),
            ..endpoint(self.balancer.port, who, password(who), protocol)
        }
    }

    /// The node that everybody is connected to is killed and stays away; the other knows users, but no sessions.
    fn outage(&mut self) {
        self.nodes.remove(0).kill();
    }

    fn profile(&self, version: Version) -> Profile {
        match version {
            Version::V311 => profile_of_311(),
            Version::V5 => Profile {
                version,
                maximum_qos: Some(2),
                retain: Some(true),
                shared_subscriptions: Some(false),
                session_life: Some(Duration::from_secs(300)),
                keep_alive: Some(Duration::from_secs(30)),
                receive_max: Some(u16::MAX),
                packet_bytes_max: None,
            },
        }
    }
}
