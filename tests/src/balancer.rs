//! What stands before several replicas: each connection goes to the next one that takes it, and ends with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running balancer. It ends when it is dropped; connections that stand are left to their ends.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    nodes: Arc<[Node]>,
    forwards: JoinHandle<()>,
}

#[derive(Debug)]
struct Node {
    address: String,
    open: AtomicUsize,
}

impl Balancer {
    /// Listens on loopback for `nodes`, each `host:port`.
    pub async fn start<'a>(nodes: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let nodes: Arc<[Node]> = nodes
            .into_iter()
            .map(|address| Node {
                address: address.to_owned(),
                open: AtomicUsize::new(0),
            })
            .collect();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr().context("a balancer's address")?;
        let known = Arc::clone(&nodes);
        let forwards = tokio::spawn(async move {
            let mut turn = 0;
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, Arc::clone(&known), turn));
                turn += 1;
            }
        });
        Ok(Self {
            address,
            nodes,
            forwards,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Connections that stand now, by node.
    pub fn open(&self) -> Vec<usize> {
        let open = self.nodes.iter().map(|node| &node.open);
        open.map(|open| open.load(Ordering::Relaxed)).collect()
    }
}

async fn forward(mut client: TcpStream, nodes: Arc<[Node]>, turn: usize) {
    for place in 0..nodes.len() {
        let Some(node) = nodes.get((turn + place) % nodes.len()) else {
            return;
        };
        if let Ok(mut served) = TcpStream::connect(&node.address).await {
            node.open.fetch_add(1, Ordering::Relaxed);
            // Ends when either side does; the other side then sees the end too.
            let _ = copy_bidirectional(&mut client, &mut served).await;
            node.open.fetch_sub(1, Ordering::Relaxed);
            return;
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.forwards.abort();
    }
}
