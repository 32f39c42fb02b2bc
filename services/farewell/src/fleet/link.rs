//! What a device needs of its transport.

use async_trait::async_trait;
use farewell_proto::device::v1 as wire;

/// What a device hears.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Signed orders, in the order they are to be carried out.
    Orders(wire::OrderEnvelope),
    /// The connection is gone.
    Lost,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoLink {
    /// The other end is away.
    Away,
    /// The other end doesn't know the device any more.
    Unknown,
}

/// A way to the agent.
#[async_trait]
pub(crate) trait Link: Send + 'static {
    /// Connects anew and says what the device knows.
    async fn open(&mut self, sync: wire::SyncEnvelope) -> Result<(), NoLink>;

    /// Says it again on an open connection, where the other end may have missed it.
    async fn say_again(&mut self, sync: wire::SyncEnvelope);

    /// Waits for orders.
    async fn hear(&mut self) -> Heard;

    /// Answers. `false` if the answer may be lost.
    async fn answer(&mut self, answer: wire::Answer) -> bool;

    /// Drops the connection as a lost signal would.
    fn close(&mut self);
}
