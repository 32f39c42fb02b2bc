//! What a device is told, and how far it is.

use std::fmt;
use std::time::SystemTime;

use farewell_proto::device::v1 as wire;

use super::names;

/// One order: for one device, one binding of it, one verb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Unique; the same on every delivery.
    pub id: String,
    /// The device that is told. For a hub's child this is the hub.
    pub device: String,
    /// The binding of `device` that is meant.
    pub epoch: u64,
    /// What to do.
    pub verb: Verb,
    /// For [`Verb::RemoveChild`] the child.
    pub child: Option<String>,
    /// How far it is.
    pub state: State,
    /// Not before.
    pub queued: SystemTime,
    /// Not after.
    pub expires: SystemTime,
    /// W3C trace context of the command.
    pub traceparent: String,
}

impl Order {
    /// As the device gets it.
    pub fn to_wire(&self) -> wire::Order {
        wire::Order {
            name: names::order(&self.id),
            device: names::device(&self.device),
            binding_epoch: self.epoch,
            verb: self.verb.to_wire().into(),
            not_before_time: Some(self.queued.into()),
            expire_time: Some(self.expires.into()),
            child: self.child.as_deref().map(names::device).unwrap_or_default(),
            traceparent: self.traceparent.clone(),
            signature: Default::default(),
        }
    }
}

/// What devices can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Drop account credentials, keep local data.
    Unbind,
    /// Unbind and wipe.
    Reset,
    /// A hub forgets one child.
    RemoveChild,
}

impl Verb {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unbind => "UNBIND",
            Self::Reset => "RESET",
            Self::RemoveChild => "REMOVE_CHILD",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        [Self::Unbind, Self::Reset, Self::RemoveChild]
            .into_iter()
            .find(|verb| verb.as_str() == text)
            .ok_or_else(|| Unreadable(text.to_owned()))
    }

    fn to_wire(self) -> wire::DeviceVerb {
        match self {
            Self::Unbind => wire::DeviceVerb::Unbind,
            Self::Reset => wire::DeviceVerb::Reset,
            Self::RemoveChild => wire::DeviceVerb::RemoveChild,
        }
    }

    /// Whether the device drops its own binding with it, so that it can be seen again unbound.
    pub fn unbinds(self) -> bool {
        match self {
            Self::Unbind | Self::Reset => true,
            Self::RemoveChild => false,
        }
    }
}

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Written, not sent.
    Queued,
    /// Handed to a transport. Nobody has acknowledged anything.
    Sent,
    /// The device has it.
    Received,
    /// The device is at it.
    Executing,
    /// The device did it.
    Executed,
    /// … and was seen again without the binding.
    Confirmed,
    /// The device has a newer binding: somebody else's device now.
    Superseded,
    /// Offline past the horizon. The server half is gone; the order stays as a tombstone, for the day the device returns.
    Detached,
    /// The device can't be told.
    Unsupported,
    /// The device won't: a person must look.
    Refused,
}

/// Something that happens to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A transport took it.
    Sent,
    /// The device says that it has it.
    Received,
    /// The device says that it is at it.
    Executing,
    /// The device says that it is done.
    Executed,
    /// The device was seen without the binding.
    SeenUnbound,
    /// The device has a newer binding.
    NewBinding,
    /// The device won't.
    Refused,
    /// The horizon has passed.
    Horizon,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Sent,
        Self::Received,
        Self::Executing,
        Self::Executed,
        Self::Confirmed,
        Self::Superseded,
        Self::Detached,
        Self::Unsupported,
        Self::Refused,
    ];

    /// The state after `event`, or `None` if the event brings nothing new: it came late, twice or in another order.
    /// Never backwards. What is done stays done, whatever is said afterwards.
    pub fn after(self, event: Event) -> Option<Self> {
        use State::{
            Confirmed, Detached, Executed, Executing, Queued, Received, Refused, Sent, Superseded,
            Unsupported,
        };
        match (self, event) {
            (Queued, Event::Sent) => Some(Sent),
            (Queued | Sent, Event::Received) => Some(Received),
            (Queued | Sent | Received, Event::Executing) => Some(Executing),
            // A tombstone fires; and it is not promoted by less than an execution.
            (Queued | Sent | Received | Executing | Detached, Event::Executed) => Some(Executed),
            (Queued | Sent | Received | Executing | Executed | Detached, Event::SeenUnbound) => {
                Some(Confirmed)
            }
            (Queued | Sent | Received | Executing | Detached, Event::NewBinding) => {
                Some(Superseded)
            }
            (Queued | Sent | Received | Executing, Event::Refused) => Some(Refused),
            (Queued | Sent | Received | Executing, Event::Horizon) => Some(Detached),
            (
                Sent | Received | Executing | Executed | Confirmed | Superseded | Detached
                | Unsupported | Refused,
                Event::Sent
                | Event::Received
                | Event::Executing
                | Event::Executed
                | Event::SeenUnbound
                | Event::NewBinding
                | Event::Refused
                | Event::Horizon,
            ) => None,
        }
    }

    /// Whether the device is still to act and the leg still waits for it.
    pub fn is_open(self) -> bool {
        matches!(
            self,
            Self::Queued | Self::Sent | Self::Received | Self::Executing
        )
    }

    /// Whether the order is still to be sent at a contact.
    pub fn is_owed(self) -> bool {
        self.is_open() || self == Self::Detached
    }

    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Sent => "SENT",
            Self::Received => "RECEIVED",
            Self::Executing => "EXECUTING",
            Self::Executed => "EXECUTED",
            Self::Confirmed => "CONFIRMED",
            Self::Superseded => "SUPERSEDED",
            Self::Detached => "DETACHED",
            Self::Unsupported => "UNSUPPORTED",
            Self::Refused => "REFUSED",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Unreadable(text.to_owned()))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word in the database that this version doesn't know.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no word of an order")]
pub struct Unreadable(String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENTS: [Event; 8] = [
        Event::Sent,
        Event::Received,
        Event::Executing,
        Event::Executed,
        Event::SeenUnbound,
        Event::NewBinding,
        Event::Refused,
        Event::Horizon,
    ];

    /// How far a state is; equal ranks are ends that exclude each other.
    fn rank(state: State) -> u8 {
        match state {
            State::Queued => 0,
            State::Sent => 1,
            State::Received => 2,
            State::Executing => 3,
            State::Detached => 4,
            State::Executed => 5,
            State::Confirmed | State::Superseded | State::Unsupported | State::Refused => 6,
        }
    }

    fn run(events: &[Event]) -> State {
        events.iter().fold(State::Queued, |state, event| {
            state.after(*event).unwrap_or(state)
        })
    }

    proptest! {
        #[test]
        fn no_sequence_of_reports_moves_an_order_backwards(events in prop::collection::vec(prop::sample::select(&EVENTS[..]), 0..40)) {
            let mut state = State::Queued;
            for event in events {
                if let Some(next) = state.after(event) {
                    prop_assert!(rank(next) > rank(state), "{state} to {next} by {event:?}");
                    state = next;
                }
            }
        }

        #[test]
        fn duplicates_change_nothing(events in prop::collection::vec(prop::sample::select(&EVENTS[..]), 0..20)) {
            let twice: Vec<_> = events.iter().flat_map(|event| [*event, *event]).collect();
            prop_assert_eq!(run(&events), run(&twice));
        }

        #[test]
        fn a_device_that_executes_ends_executed_in_whatever_order_its_reports_arrive(
            events in Just(vec![Event::Sent, Event::Received, Event::Executing, Event::Executed, Event::Horizon]).prop_shuffle()
        ) {
            prop_assert_eq!(run(&events), State::Executed);
        }
    }

    #[test]
    fn every_state_is_read_back_as_it_was_written() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()).unwrap(), state);
        }
        assert!(
            State::parse("DONE").is_err(),
            "an unknown word is never an end"
        );
    }

    #[test]
    fn what_is_executed_can_no_longer_be_superseded_or_refused() {
        for event in [Event::NewBinding, Event::Refused, Event::Horizon] {
            assert_eq!(State::Executed.after(event), None);
            assert_eq!(State::Confirmed.after(event), None);
        }
    }
}
