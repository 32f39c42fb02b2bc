//! What stands before a cluster: connections go to the first node that takes them.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Balancer {
    pub port: u16,
    forwards: JoinHandle<()>,
}

impl Balancer {
    pub fn start(nodes: Vec<u16>) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let forwards = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, nodes.clone()));
            }
        });
        Self { port, forwards }
    }
}

async fn forward(mut client: TcpStream, nodes: Vec<u16>) {
    for node in nodes {
        if let Ok(mut node) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], node))).await {
            // Ends when either side does; the other side then sees the end too.
            let _ = copy_bidirectional(&mut client, &mut node).await;
            return;
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.forwards.abort();
    }
}
