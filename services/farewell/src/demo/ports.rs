//! Ports for the demonstration's roles.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context as _;

use crate::settings::Line;

/// Below the ports that systems give to outgoing connections, so that none is taken between choosing and listening.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// From so many ports on a demonstration begins to look; the next process's demonstration begins behind them. Two that start
/// at the same time would find the same ports free otherwise.
const PORTS_EACH: u16 = 20;

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
        let mut ports = from(std::process::id());
        let mut free = || {
            let free = ports.find(|port| TcpListener::bind(local(*port)).is_ok());
            free.context("no free port")
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

/// Every port, each once, from where this process begins to look.
fn from(process: u32) -> impl Iterator<Item = u16> {
    let places = u32::from(PORTS.end - PORTS.start) / u32::from(PORTS_EACH);
    let first = usize::try_from(process % places).unwrap_or_default() * usize::from(PORTS_EACH);
    PORTS.cycle().skip(first).take(PORTS.len())
}

/// On this machine.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demonstrations_that_start_together_look_at_different_ports() {
        let begin = |process| from(process).take(PORTS_EACH.into()).collect::<Vec<_>>();
        for process in [1, 599, 600, 32_768, u32::MAX - 1] {
            let (one, next) = (begin(process), begin(process + 1));
            assert!(one.iter().all(|port| !next.contains(port)), "{process}");
            let mut all: Vec<_> = from(process).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(PORTS), "each once");
        }
    }
}
