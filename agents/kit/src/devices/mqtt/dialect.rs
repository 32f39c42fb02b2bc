//! The two clients behind one face: what can be said to a broker, and what can be heard from it. Nothing else knows
//! that there are two.

use std::io;

use prost::bytes::Bytes;
use rumqttc_v5::TlsError;

use super::profile::{Profile, QOS_MIN};
use super::protocol::Version;
use super::{Options, PublishError, v4, v5};

/// A connection to be polled, and the way to say something on it.
pub(super) fn open(version: Version, options: &Options) -> (Sender, Events) {
    match version {
        Version::V5 => {
            let (sender, events) = v5::open(options);
            (Sender::V5(sender), Events::V5(Box::new(events)))
        }
        Version::V311 => {
            let (sender, events) = v4::open(options);
            (Sender::V4(sender), Events::V4(Box::new(events)))
        }
    }
}

/// Says something to the broker. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Sender {
    V5(v5::Sender),
    V4(v4::Sender),
}

impl Sender {
    /// With QoS 1, never retained; comes back when the broker has taken it.
    pub async fn publish(&self, topic: String, payload: Vec<u8>) -> Result<(), PublishError> {
        match self {
            Self::V5(sender) => sender.publish(topic, payload).await,
            Self::V4(sender) => sender.publish(topic, payload).await,
        }
    }

    /// With QoS 1. False: the queue is full.
    pub fn subscribe(&self, filters: &[String]) -> bool {
        match self {
            Self::V5(sender) => sender.subscribe(filters),
            Self::V4(sender) => sender.subscribe(filters),
        }
    }
}

/// What the broker says. Large: keep it on the heap.
pub(super) enum Events {
    V5(Box<v5::Events>),
    V4(Box<v4::Events>),
}

impl Events {
    /// Drives the connection, and opens it again after trouble. May be dropped while it waits.
    pub async fn poll(&mut self) -> Result<Option<Heard>, Trouble> {
        match self {
            Self::V5(events) => events.poll().await,
            Self::V4(events) => events.poll().await,
        }
    }
}

/// Something that the broker said and that matters.
#[derive(Debug)]
pub(super) enum Heard {
    /// The connection stands.
    Accepted {
        profile: Profile,
        session_present: bool,
    },
    /// How the subscriptions came off.
    Subscribed(Granted),
    /// A message.
    Message { topic: String, payload: Bytes },
}

/// The worst of what a broker answered to subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Granted {
    /// With this quality of service.
    Qos(u8),
    /// Not at all.
    Refused,
}

impl Granted {
    /// The worst of several; `None` stands for a refusal.
    pub fn worst(answers: impl Iterator<Item = Option<u8>>) -> Self {
        answers
            .map(|answer| answer.map_or(Self::Refused, Self::Qos))
            .fold(Self::Qos(QOS_MIN), |worst, answer| match (worst, answer) {
                (Self::Refused, _) | (_, Self::Refused) => Self::Refused,
                (Self::Qos(a), Self::Qos(b)) => Self::Qos(a.min(b)),
            })
    }
}

/// Why a connection ended, or did not come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The broker says that it doesn't know this version of MQTT.
    Version,
    /// The broker ended the connection before it said a word that can be read.
    Unanswered,
    /// The broker doesn't know the log-in.
    LogIn,
    /// Whoever answers has no certificate for the broker's name by the authority that is believed. Nothing was said.
    Untrusted,
    /// Somebody sent something larger than anything of ours. On a session it would come again and again.
    TooLarge,
    /// Anything else; it passes or doesn't.
    Lost,
}

/// Whether the other side ended a connection that had been open.
pub(super) fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}

/// Whether TLS came to nothing because of a certificate: the broker's, or the authority that it is held against. Anything
/// else that went wrong on the way passes.
pub(super) fn is_untrusted(error: &TlsError) -> bool {
    match error {
        TlsError::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refused_filter_is_a_refusal_and_one_without_qos_1_is_none() {
        let worst = |answers: &[Option<u8>]| Granted::worst(answers.iter().copied());
        assert_eq!(worst(&[Some(1), Some(1)]), Granted::Qos(1));
        assert_eq!(worst(&[Some(1), Some(0)]), Granted::Qos(0));
        assert_eq!(worst(&[Some(0), None, Some(1)]), Granted::Refused);
    }
}
