//! Real brokers, each started by the test that needs it on ports of its own, and ended with it even if it panics.
//!
//! All of them know the agent and the same few hubs by password, and hold each to its own topics. How that is done is
//! what an operator has to do too, see the documentation of the smart home's agent.

pub mod ejabberd;
pub mod mosquitto;
pub mod nats;

mod balancer;
mod process;

use std::time::Duration;

use farewell_runtime::certs::DevCa;
use farewell_runtime::peer::Role;
use farewell_runtime::tls::Credentials;

use crate::devices::mqtt::{AGENT, Endpoint, Profile, Protocol, Version};

/// How long a broker may take to start, stop or answer.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Hubs that every broker knows.
pub const HUBS: [&str; 3] = ["hub-1", "hub-2", "hub-3"];
const AGENT_PASSWORD: &str = "agent-password";
const HUB_PASSWORD: &str = "hub-password";

/// A broker that is not ours.
pub trait Broker {
    /// How the agent or a hub logs in.
    fn endpoint(&self, who: &str, protocol: Protocol) -> Endpoint;

    /// Kills a process of it, and brings back what an operator's supervisor would.
    fn outage(&mut self);

    /// What it offers to whoever speaks `version`.
    fn profile(&self, version: Version) -> Profile;
}

pub fn password(who: &str) -> &'static str {
    if who == AGENT {
        AGENT_PASSWORD
    } else {
        HUB_PASSWORD
    }
}

pub fn endpoint(port: u16, who: &str, password: &str, protocol: Protocol) -> Endpoint {
    Endpoint {
        host: "127.0.0.1".to_owned(),
        port,
        protocol,
        ca_pem: None,
        client_id: who.to_owned(),
        username: who.to_owned(),
        password: password.to_owned(),
    }
}

/// What a broker of this machine shows, by an authority that is made for the test.
pub fn certificate() -> Credentials {
    let ca = DevCa::create().unwrap();
    ca.issue(Role::Participant, "broker", &[]).unwrap()
}

/// What MQTT 3.1.1 lets anybody know: that QoS 1 was granted.
pub fn profile_of_311() -> Profile {
    Profile {
        version: Version::V311,
        maximum_qos: Some(1),
        retain: None,
        shared_subscriptions: None,
        session_life: None,
        keep_alive: None,
        receive_max: None,
        packet_bytes_max: None,
    }
}
