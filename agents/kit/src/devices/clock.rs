//! What time it is, for devices that can't know.

use async_trait::async_trait;
use prost::bytes::Bytes;

/// Who can have the time signed for a device: a coordinator, through the participant's session.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// A COSE_Sign1 over a `farewell.device.v1.TimeProof` with the device's nonce. `None`: nobody is there to sign it; the
    /// device asks again at its next contact.
    async fn prove(&self, device: &str, nonce: Bytes) -> Option<Bytes>;
}
