//! A bad line between somebody and a process: what goes up goes slowly, and what comes down stops coming.

use std::future::pending;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Bytes that go up at a time, and how long until the next: 256 KiB in a second.
const PIECE_BYTES: usize = 16 * 1024;
const PIECE_EVERY: Duration = Duration::from_millis(62);

/// A running line. It takes no more connections when it is dropped.
#[derive(Debug)]
pub struct SlowLine {
    address: String,
    forwards: JoinHandle<()>,
}

impl SlowLine {
    /// Listens on loopback for `node`, `host:port`; on each connection no more than `down_bytes_max` come down.
    pub async fn start(node: &str, down_bytes_max: usize) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr().context("a line's address")?;
        let node = node.to_owned();
        let forwards = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, node.clone(), down_bytes_max));
            }
        });
        Ok(Self {
            address: address.to_string(),
            forwards,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }
}

async fn forward(client: TcpStream, node: String, down_bytes_max: usize) -> Result<()> {
    let (from_client, to_client) = client.into_split();
    let (from_node, to_node) = TcpStream::connect(node).await?.into_split();
    tokio::select! {
        ended = up(from_client, to_node) => ended,
        ended = down(from_node, to_client, down_bytes_max) => ended,
    }
}

async fn up(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&piece[..read]).await?;
        sleep(PIECE_EVERY * u32::from(read == PIECE_BYTES)).await;
    }
}

async fn down(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut left: usize) -> Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    while left > 0 {
        let room = left.min(PIECE_BYTES);
        let read = from.read(&mut piece[..room]).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&piece[..read]).await?;
        left -= read;
    }
    pending().await
}

impl Drop for SlowLine {
    fn drop(&mut self) {
        self.forwards.abort();
    }
}
