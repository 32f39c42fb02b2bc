//! Between the wire and core: total both ways, and an unknown or empty value never becomes anything.

pub mod device;

use std::time::Duration;

use farewell_core::policy::{Channel, Factor};
use farewell_core::rare::{Denial, Why};
use farewell_core::receipt::{Evidence, Outcome, Retention};
use farewell_core::report::Answer;
use farewell_core::{AccountId, Reason, Time, Verb};
use farewell_proto::deletion::v1 as deletion;
use farewell_proto::participant::v1 as wire;
use prost_types::Timestamp;

/// Devices in one report.
const DEVICES_MAX: usize = 1_024;
/// Categories or retained classes in one report.
const DETAILS_MAX: usize = 256;
/// Longest text in a report's details.
const DETAIL_BYTES_MAX: usize = 256;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A time on the wire.
pub fn timestamp(time: Time) -> Timestamp {
    let micros = time.micros();
    Timestamp {
        seconds: micros.div_euclid(MICROS_PER_SECOND),
        nanos: i32::try_from(micros.rem_euclid(MICROS_PER_SECOND) * 1_000).unwrap_or(0),
    }
}

/// A time from the wire.
pub fn time(timestamp: Timestamp) -> Option<Time> {
    let micros = timestamp
        .seconds
        .checked_mul(MICROS_PER_SECOND)?
        .checked_add(i64::from(timestamp.nanos) / 1_000)?;
    (timestamp.nanos >= 0).then(|| Time::from_micros(micros))
}

/// A span from the wire. Negative is `None`.
pub fn span(duration: prost_types::Duration) -> Option<Duration> {
    Duration::try_from(duration).ok()
}

/// A verb on the wire.
pub const fn verb_to_wire(verb: Verb) -> wire::Verb {
    match verb {
        Verb::Seal => wire::Verb::Seal,
        Verb::Unseal => wire::Verb::Unseal,
        Verb::Erase => wire::Verb::Erase,
        Verb::Probe => wire::Verb::Probe,
        Verb::Expire => wire::Verb::Expire,
    }
}

/// The account of a name `accounts/{account}`.
pub fn account(name: &str) -> Option<AccountId> {
    name.strip_prefix("accounts/")?.parse().ok()
}

/// Why a deadline is extended, from the wire.
pub const fn why(reason: deletion::ExtensionReason) -> Option<Why> {
    match reason {
        deletion::ExtensionReason::Unspecified => None,
        deletion::ExtensionReason::Complexity => Some(Why::Complexity),
        deletion::ExtensionReason::NumberOfRequests => Some(Why::NumberOfRequests),
    }
}

/// Why a deadline is extended, on the wire.
pub const fn why_to_wire(why: Why) -> deletion::ExtensionReason {
    match why {
        Why::Complexity => deletion::ExtensionReason::Complexity,
        Why::NumberOfRequests => deletion::ExtensionReason::NumberOfRequests,
    }
}

/// Why a request was denied, on the wire.
pub const fn denial_to_wire(denial: Denial) -> deletion::DenialReason {
    match denial {
        Denial::DocumentsUnreadable => deletion::DenialReason::DocumentsUnreadable,
        Denial::DocumentsNotAccepted => deletion::DenialReason::DocumentsNotAccepted,
        Denial::NotTheOwner => deletion::DenialReason::NotTheOwner,
        Denial::NotGranted => deletion::DenialReason::NotGranted,
        Denial::Unfounded => deletion::DenialReason::Unfounded,
        Denial::LegalObligation => deletion::DenialReason::LegalObligation,
    }
}

/// A channel from the wire.
pub const fn channel(channel: deletion::Channel) -> Option<Channel> {
    match channel {
        deletion::Channel::Unspecified => None,
        deletion::Channel::Phone => Some(Channel::Phone),
        deletion::Channel::Web => Some(Channel::Web),
        deletion::Channel::Support => Some(Channel::Support),
        deletion::Channel::ServiceCentre => Some(Channel::ServiceCentre),
        deletion::Channel::Legacy => Some(Channel::Legacy),
    }
}

/// A channel on the wire.
pub const fn channel_to_wire(channel: Channel) -> deletion::Channel {
    match channel {
        Channel::Phone => deletion::Channel::Phone,
        Channel::Web => deletion::Channel::Web,
        Channel::Support => deletion::Channel::Support,
        Channel::ServiceCentre => deletion::Channel::ServiceCentre,
        Channel::Legacy => deletion::Channel::Legacy,
    }
}

/// A factor from the wire.
pub const fn factor(factor: deletion::Factor) -> Option<Factor> {
    match factor {
        deletion::Factor::Unspecified => None,
        deletion::Factor::SmsCode => Some(Factor::SmsCode),
        deletion::Factor::EmailCode => Some(Factor::EmailCode),
        deletion::Factor::EmailLink => Some(Factor::EmailLink),
        deletion::Factor::Password => Some(Factor::Password),
        deletion::Factor::Documents => Some(Factor::Documents),
        deletion::Factor::DeviceInHand => Some(Factor::DeviceInHand),
    }
}

/// A factor on the wire.
pub const fn factor_to_wire(factor: Factor) -> deletion::Factor {
    match factor {
        Factor::SmsCode => deletion::Factor::SmsCode,
        Factor::EmailCode => deletion::Factor::EmailCode,
        Factor::EmailLink => deletion::Factor::EmailLink,
        Factor::Password => deletion::Factor::Password,
        Factor::Documents => deletion::Factor::Documents,
        Factor::DeviceInHand => deletion::Factor::DeviceInHand,
    }
}

/// A report's answer. Errors: what is missing in it.
pub fn answer(answer: Option<wire::report::Answer>) -> Result<Answer, Reason> {
    match answer {
        None => Err(Reason::OutcomeMissing),
        Some(wire::report::Answer::Received(wire::Received {})) => Ok(Answer::Received),
        Some(wire::report::Answer::InProgress(progress)) => Ok(Answer::InProgress {
            done: progress.done,
            total: progress.total,
        }),
        Some(wire::report::Answer::Deferred(deferred)) => Ok(Answer::Deferred {
            retry_after: deferred
                .retry_after
                .and_then(span)
                .ok_or(Reason::DeferralOutOfRange)?,
            reason: deferred.reason,
            done: deferred.done,
            total: deferred.total,
        }),
        Some(wire::report::Answer::Done(done)) => evidence(done).map(Answer::Done),
        Some(wire::report::Answer::Refused(refused)) => Ok(Answer::Refused {
            reason: refused.reason,
        }),
    }
}

fn evidence(done: wire::Done) -> Result<Evidence, Reason> {
    let outcome = outcome(done.outcome())?;
    if done.devices.len() > DEVICES_MAX {
        return Err(Reason::DeviceUnknown);
    }
    let short = |text: &str| text.len() <= DETAIL_BYTES_MAX;
    if done.counts.len() > DETAILS_MAX || !done.counts.keys().all(|category| short(category)) {
        return Err(Reason::OutcomeEmpty);
    }
    if done.retained.len() > DETAILS_MAX {
        return Err(Reason::RetentionIncomplete);
    }
    Ok(Evidence {
        outcome,
        counts: done.counts.into_iter().collect(),
        retained: done
            .retained
            .into_iter()
            .map(retention)
            .collect::<Result<_, _>>()?,
        devices: done
            .devices
            .into_iter()
            .map(device::result)
            .collect::<Result<_, _>>()?,
    })
}

fn outcome(outcome: wire::Outcome) -> Result<Outcome, Reason> {
    Ok(match outcome {
        wire::Outcome::Unspecified => return Err(Reason::OutcomeMissing),
        wire::Outcome::Erased => Outcome::Erased,
        wire::Outcome::Anonymised => Outcome::Anonymised,
        wire::Outcome::CryptoShredded => Outcome::CryptoShredded,
        wire::Outcome::Retained => Outcome::Retained,
        wire::Outcome::NotFound => Outcome::NotFound,
        wire::Outcome::Transferred => Outcome::Transferred,
        wire::Outcome::Sealed => Outcome::Sealed,
        wire::Outcome::Unsealed => Outcome::Unsealed,
        wire::Outcome::Clean => Outcome::Clean,
        wire::Outcome::Residue => Outcome::Residue,
    })
}

fn retention(retained: wire::Retained) -> Result<Retention, Reason> {
    if retained.class.len() > DETAIL_BYTES_MAX || retained.legal_basis.len() > DETAIL_BYTES_MAX {
        return Err(Reason::RetentionIncomplete);
    }
    // Unset is not the same as no time.
    let next = retained
        .next_time
        .map(|next| time(next).ok_or(Reason::RetentionIncomplete));
    Ok(Retention {
        next: next.transpose()?,
        class: retained.class,
        legal_basis: retained.legal_basis,
        count: retained.count,
        until: retained
            .until_time
            .and_then(time)
            .ok_or(Reason::RetentionIncomplete)?,
    })
}
