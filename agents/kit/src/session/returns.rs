//! Devices that were away have ended after all; a coordinator makes it durable.

use std::time::Duration;

use farewell_proto::participant::v1::DeviceReturns;
use farewell_proto::participant::v1::connect_request::Message;
use tokio::time::timeout;

use super::Session;
use crate::participant::{DeviceReturn, ReturnKept};
use crate::wire::device;

/// How long an answer is waited for: longer than a coordinator tries.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Returns in one frame.
pub(crate) const RETURNS_MAX: usize = 256;

impl Session {
    /// Tells a coordinator how devices ended after their ERASE was answered: the first 256 of these. Any coordinator takes
    /// them, whoever's deletion it was. Each in the answer is durable or refused for good; whatever isn't in it must be
    /// told again. `None`: nothing was told, or nobody had an answer within 10 s.
    pub async fn tell_returns(&self, mut returns: Vec<DeviceReturn>) -> Option<Vec<ReturnKept>> {
        returns.truncate(RETURNS_MAX);
        if returns.is_empty() {
            return None;
        }
        let (asked, answer) = self.shared.returns.ask()?;
        let frame = DeviceReturns {
            id: asked.id,
            returns: returns.into_iter().map(device::returned).collect(),
        };
        let mut links = self.shared.links.iter();
        links.find(|link| link.say(Message::Returns(frame.clone())))?;
        timeout(ANSWER_WAIT, answer).await.ok()?.ok()
    }
}
