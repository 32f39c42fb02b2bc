//! How a device speaks: plainly where its transport says who it is, otherwise signed with its own key.

use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::{answer, sync_envelope};
use farewell_runtime::cose::SigningKey;
use prost::Message as _;

const SYNC: &str = "farewell.device.v1.Sync";
const REPORT: &str = "farewell.device.v1.OrderReport";

/// A device's voice. The counter survives everything: what it said before is old.
#[derive(Clone, Debug)]
pub(super) struct Voice {
    key: Option<SigningKey>,
    said: u64,
}

impl Voice {
    /// A voice that signs with `key`, if there is one.
    pub fn new(key: Option<SigningKey>) -> Self {
        Self { key, said: 0 }
    }

    /// What is said at a contact.
    pub fn sync(&mut self, sync: wire::Sync) -> wire::SyncEnvelope {
        let sync = wire::Sync {
            sequence: self.next(),
            ..sync
        };
        let sync = match &self.key {
            None => sync_envelope::Sync::Plain(sync),
            Some(key) => sync_envelope::Sync::Signed(key.sign(SYNC, sync.encode_to_vec()).into()),
        };
        wire::SyncEnvelope { sync: Some(sync) }
    }

    /// An answer.
    pub fn answer(&mut self, report: wire::OrderReport) -> wire::Answer {
        let report = wire::OrderReport {
            sequence: self.next(),
            ..report
        };
        let answer = match &self.key {
            None => answer::Answer::Plain(report),
            Some(key) => answer::Answer::Signed(key.sign(REPORT, report.encode_to_vec()).into()),
        };
        wire::Answer {
            answer: Some(answer),
        }
    }

    fn next(&mut self) -> u64 {
        self.said += 1;
        self.said
    }
}
