//! `farewell/v1/{line}/{device}/cmd|ack|sync`.

use crate::devices::names;

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Orders to the device.
    Cmd,
    /// The device's answers.
    Ack,
    /// The device is there.
    Sync,
}

impl Channel {
    fn as_str(self) -> &'static str {
        match self {
            Self::Cmd => "cmd",
            Self::Ack => "ack",
            Self::Sync => "sync",
        }
    }
}

/// A device's topic.
pub fn of(line: &str, device: &str, channel: Channel) -> String {
    format!("farewell/v1/{line}/{device}/{}", channel.as_str())
}

/// The filter for all devices of a line.
pub fn all(line: &str, channel: Channel) -> String {
    of(line, "+", channel)
}

/// Device and channel of a topic of `line`. A filter with a wildcard is none.
pub fn parse<'a>(line: &str, topic: &'a str) -> Option<(&'a str, Channel)> {
    let rest = topic
        .strip_prefix("farewell/v1/")?
        .strip_prefix(line)?
        .strip_prefix('/')?;
    let (device, channel) = rest.split_once('/')?;
    let channel = [Channel::Cmd, Channel::Ack, Channel::Sync]
        .into_iter()
        .find(|c| c.as_str() == channel)?;
    names::is_device_id(device).then_some((device, channel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_another_line_or_a_longer_topic_is_nobodys() {
        assert_eq!(
            parse("smarthome", "farewell/v1/smarthome/hub-1/cmd"),
            Some(("hub-1", Channel::Cmd))
        );
        for bad in [
            "farewell/v1/smarthome/+/cmd",
            "farewell/v1/smarthome/#",
            "farewell/v1/other/hub-1/cmd",
            "farewell/v1/smarthome/hub-1/cmd/x",
            "farewell/v1/smarthome/hub-1/other",
            "$share/g/farewell/v1/smarthome/hub-1/cmd",
            "farewell/v1/smarthomehub-1/cmd",
        ] {
            assert_eq!(parse("smarthome", bad), None, "{bad}");
        }
    }
}
