//! What a broker offers, as it says itself.

use std::fmt;
use std::time::Duration;

use super::protocol::Version;
use super::{OVERHEAD_BYTES_MAX, PAYLOAD_BYTES_MAX};

/// QoS that every message here needs: less, and an order may get lost with nobody knowing.
pub(super) const QOS_MIN: u8 = 1;

/// A broker's capabilities. `None`: it doesn't say, and in MQTT 3.1.1 none can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The MQTT that is spoken.
    pub version: Version,
    /// Highest quality of service. Of a 3.1.1 broker it is known once the first subscription is granted, and
    /// then only as far as it was asked for.
    pub maximum_qos: Option<u8>,
    /// Whether messages may be retained. We retain none.
    pub retain: Option<bool>,
    /// Whether several clients may share a subscription. We share none.
    pub shared_subscriptions: Option<bool>,
    /// How long a session is kept, where the broker doesn't keep it as long as asked for.
    pub session_life: Option<Duration>,
    /// The keep-alive that the broker asks for instead of ours.
    pub keep_alive: Option<Duration>,
    /// Messages that may be under way to the broker.
    pub receive_max: Option<u16>,
    /// Largest packet.
    pub packet_bytes_max: Option<u32>,
}

impl Profile {
    /// Of a broker that has said nothing yet.
    pub(super) fn unsaid(version: Version) -> Self {
        Self {
            version,
            maximum_qos: None,
            retain: None,
            shared_subscriptions: None,
            session_life: None,
            keep_alive: None,
            receive_max: None,
            packet_bytes_max: None,
        }
    }

    /// Whether orders can travel through it at all.
    pub(super) fn is_enough(&self) -> bool {
        self.maximum_qos.is_none_or(|qos| qos >= QOS_MIN)
    }

    /// Largest payload that fits.
    pub(super) fn payload_bytes_max(&self) -> usize {
        self.packet_bytes_max
            .map_or(usize::MAX, |bytes| bytes as usize)
            .saturating_sub(OVERHEAD_BYTES_MAX)
            .min(PAYLOAD_BYTES_MAX)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn said<T: fmt::Display>(value: Option<T>) -> String {
            value.map_or_else(|| "unsaid".to_owned(), |value| value.to_string())
        }
        let seconds = |value: Option<Duration>| value.map(|life| life.as_secs());
        write!(
            f,
            "MQTT {}; maximum QoS {}; retain {}; shared subscriptions {}; session seconds {}; keep-alive seconds {}; \
             receive maximum {}; packet bytes {}",
            self.version,
            said(self.maximum_qos),
            said(self.retain),
            said(self.shared_subscriptions),
            said(seconds(self.session_life)),
            said(seconds(self.keep_alive)),
            said(self.receive_max),
            said(self.packet_bytes_max),
        )
    }
}

/// A connection that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What the broker offers.
    pub profile: Profile,
    /// Whether the broker still had our session. If not, it also forgot what devices said while we were away.
    pub session_present: bool,
    /// Which connection it is, counted from 1.
    pub number: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broker_that_says_it_has_no_qos_1_is_not_enough() {
        for (maximum_qos, enough) in [
            (None, true),
            (Some(2), true),
            (Some(1), true),
            (Some(0), false),
        ] {
            let profile = Profile {
                maximum_qos,
                ..Profile::unsaid(Version::V5)
            };
            assert_eq!(profile.is_enough(), enough, "{maximum_qos:?}");
        }
    }

    #[test]
    fn a_payload_leaves_room_for_what_mqtt_adds() {
        let of = |packet_bytes_max| {
            let profile = Profile {
                packet_bytes_max,
                ..Profile::unsaid(Version::V5)
            };
            profile.payload_bytes_max()
        };
        assert_eq!(of(None), PAYLOAD_BYTES_MAX);
        assert_eq!(of(Some(64 * 1024)), 64 * 1024 - OVERHEAD_BYTES_MAX);
        assert_eq!(of(Some(16)), 0);
    }
}
