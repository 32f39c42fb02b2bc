//! What a device says, and whether it is the device that says it.
//!
//! A transport says who speaks, and that is enough for a device that has no key of its own. What a device with a key says
//! must be signed with it, whoever carries it, and nothing that was said before is taken a second time.

use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::{answer, sync_envelope};
use farewell_runtime::cose::{self, KeyRing};
use prost::Message;
use prost::bytes::Bytes;
use sqlx::AnyConnection;

use super::companion::is_companion;
use super::contact::{Contact, Report};
use super::device::Device;
use super::sheet::Sheet;
use crate::participant::Fault;

const SYNC: &str = "farewell.device.v1.Sync";
const REPORT: &str = "farewell.device.v1.OrderReport";

/// A word of a device as it came in: read, and not believed yet.
#[derive(Clone, Debug)]
pub(super) struct Said<T> {
    pub word: T,
    /// The device that it is said to be of.
    pub device: String,
    sequence: u64,
    /// What was signed, and as which message; `None` if nothing was.
    signed: Option<(&'static str, Bytes)>,
}

impl Said<Contact> {
    /// Errors: a stable machine word.
    pub fn sync(envelope: wire::SyncEnvelope) -> Result<Self, &'static str> {
        let (sync, signed) = match envelope.sync.ok_or("UNREADABLE")? {
            sync_envelope::Sync::Plain(sync) => (sync, None),
            sync_envelope::Sync::Signed(bytes) => (opened(SYNC, &bytes)?, Some((SYNC, bytes))),
        };
        let sequence = sequence(sync.sequence)?;
        let word = Contact::parse(sync)?;
        Ok(Self {
            device: word.device.clone(),
            word,
            sequence,
            signed,
        })
    }
}

impl Said<Report> {
    /// Errors: a stable machine word.
    pub fn answer(answer: wire::Answer) -> Result<Self, &'static str> {
        let (report, signed) = match answer.answer.ok_or("UNREADABLE")? {
            answer::Answer::Plain(report) => (report, None),
            answer::Answer::Signed(bytes) => (opened(REPORT, &bytes)?, Some((REPORT, bytes))),
        };
        let sequence = sequence(report.sequence)?;
        let word = Report::parse(report)?;
        Ok(Self {
            device: word.device.clone(),
            word,
            sequence,
            signed,
        })
    }
}

impl<T> Said<T> {
    /// Looks whether it is the device that speaks: itself, or with `through` the phone that
    /// carries its signed word. The refusal is a stable machine word, and nothing has changed then. `Ok(Ok(None))`: the
    /// device was never bound here.
    pub async fn believe(
        &self,
        tx: &mut AnyConnection,
        sheet: &mut Sheet,
        through: Option<&str>,
    ) -> Result<Result<Option<Device>, &'static str>, Fault> {
        let Some(device) = sheet.device(&self.device).cloned() else {
            return Ok(if through.is_some() {
                Err("NOT_THE_COMPANION")
            } else {
                Ok(None)
            });
        };
        if let Some(phone) = through {
            if !is_companion(tx, phone, &self.device).await? {
                return Ok(Err("NOT_THE_COMPANION"));
            }
            if self.signed.is_none() {
                return Ok(Err("SIGNATURE_REQUIRED"));
            }
        }
        if let Err(word) = self.check(&device) {
            return Ok(Err(word));
        }
        if self.signed.is_some() {
            sheet.count(&self.device, self.sequence);
        }
        Ok(Ok(Some(device)))
    }

    fn check(&self, device: &Device) -> Result<(), &'static str> {
        match (&self.signed, device.answer_key) {
            (None, Some(_)) => return Err("SIGNATURE_REQUIRED"),
            // What nobody's key is known for proves nothing; said plainly it would count.
            (Some(_), None) => return Err(cose::Rejected::UnknownKey.word()),
            (Some((message, bytes)), Some(key)) => {
                KeyRing::new([key])
                    .verify(message, bytes)
                    .map_err(cose::Rejected::word)?;
            }
            (None, None) => {}
        }
        // Who signs counts. Without a signature a number proves nothing, and one that is too high would silence the device.
        if self.signed.is_some() && self.sequence <= device.sequence {
            return Err("OLD_SEQUENCE");
        }
        Ok(())
    }
}

fn opened<M: Message + Default>(message: &str, bytes: &Bytes) -> Result<M, &'static str> {
    let payload = cose::payload(message, bytes).map_err(cose::Rejected::word)?;
    M::decode(payload.as_slice()).map_err(|_| cose::Rejected::Unreadable.word())
}

/// The database keeps it as a signed number.
fn sequence(sequence: u64) -> Result<u64, &'static str> {
    if i64::try_from(sequence).is_ok() {
        Ok(sequence)
    } else {
        Err("INVALID_SEQUENCE")
    }
}
