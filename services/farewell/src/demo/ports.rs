//! Ports for the demonstration's roles.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context as _;
use rand::Rng as _;

use crate::settings::Line;

/// Below the ports that systems give to outgoing connections, so that none is taken between choosing and listening.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const PORT_TRIES: usize = 1_000;

/// Where everybody listens.
pub struct Ports {
    pub callers: u16,
    pub participants: u16,
    pub operators: u16,
    pub desk: u16,
    lines: [u16; 3],
    pub broker: u16,
}

impl Ports {
    /// Different from each other and free a moment ago.
    ///
    /// Errors: there are none.
    pub fn choose() -> anyhow::Result<Self> {
        let mut held = Vec::new();
        let mut rng = rand::rng();
        let mut free = || {
            (0..PORT_TRIES)
                .find_map(|_| {
                    let port = rng.random_range(PORTS);
                    let listener = TcpListener::bind(local(port)).ok()?;
                    held.push(listener);
                    Some(port)
                })
                .context("no free port")
        };
        Ok(Self {
            callers: free()?,
            participants: free()?,
            operators: free()?,
            desk: free()?,
            lines: [free()?, free()?, free()?],
            broker: free()?,
        })
    }

    /// Where the devices of a line attach.
    pub fn line(&self, line: Line) -> u16 {
        let [phones, wearables, smarthome] = self.lines;
        match line {
            Line::Phones => phones,
            Line::Wearables => wearables,
            Line::Smarthome => smarthome,
        }
    }
}

/// On this machine.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
