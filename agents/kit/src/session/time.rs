//! Devices without a clock ask what time it is; a coordinator signs the answer.

use std::time::Duration;

use farewell_proto::participant::v1::TimeQuestion;
use farewell_proto::participant::v1::connect_request::Message;
use prost::bytes::Bytes;
use tokio::time::timeout;

use super::Session;

/// How long an answer is waited for. The device asks again at its next contact.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

impl Session {
    /// What time it is, signed for this device and its nonce by a coordinator: a COSE_Sign1 over a
    /// `farewell.device.v1.TimeProof`. `None`: no coordinator is there, or it had no answer within 5 s.
    pub async fn prove_time(&self, device: &str, nonce: Bytes) -> Option<Bytes> {
        let (asked, answer) = self.shared.times.ask()?;
        let question = TimeQuestion {
            id: asked.id,
            device: format!("devices/{device}"),
            nonce,
        };
        let mut links = self.shared.links.iter();
        links.find(|link| link.say(Message::Time(question.clone())))?;
        let proof = timeout(ANSWER_WAIT, answer).await.ok()?.ok()?;
        (!proof.is_empty()).then_some(proof)
    }
}
