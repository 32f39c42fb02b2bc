//! What a device is told, and how far it is.

use std::fmt;
use std::time::SystemTime;

use prost::bytes::Bytes;

use crate::participant::DeviceVerb;

/// One order: for one device, one binding of it, one verb. All of it is as the coordinator signed it, but for how far
/// it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Unique; the same on every delivery. Empty for a device that can't be told.
    pub id: String,
    /// The device that is told. For a hub's child this is the hub.
    pub device: String,
    /// The binding of `device` that is meant.
    pub epoch: u64,
    /// What to do.
    pub verb: DeviceVerb,
    /// For [`DeviceVerb::RemoveChild`], and the [`DeviceVerb::Transfer`] of a child, the child.
    pub child: Option<String>,
    /// For [`DeviceVerb::Transfer`] the binding from then on; 0 otherwise.
    pub new_epoch: u64,
    /// How far it is.
    pub state: State,
    /// Since when it waits here.
    pub queued: SystemTime,
    /// Not after.
    pub expires: SystemTime,
    /// W3C trace context of the command.
    pub traceparent: String,
    /// What the device gets: a COSE_Sign1. Empty for a device that can't be told.
    pub signed: Bytes,
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
    /// The device has it and waits for a safe moment, or for the time: see the reason.
    DeferredSafe,
    /// The device is at it.
    Executing,
    /// The device did it.
    Executed,
    /// … and was seen again without the binding.
    Confirmed,
    /// Another account has the device now, and the leg waits no more. The device is still to hear of it.
    Transferred,
    /// The device has a newer binding: somebody else's device now.
    Superseded,
    /// Offline past the horizon. The server half is gone; the order stays as a tombstone, for the day the device returns.
    Detached,
    /// A tombstone that expired before the device came back.
    NeverReturned,
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
    /// The device says that it waits for a safe moment.
    DeferredSafe,
    /// The device says that it is at it.
    Executing,
    /// The device says that it is done.
    Executed,
    /// The device was seen without the binding, or with the one that it was to take on.
    SeenUnbound,
    /// The device has a newer binding.
    NewBinding,
    /// The device won't.
    Refused,
    /// The horizon has passed.
    Horizon,
    /// The order's last day has passed.
    Expired,
    /// A person wants it asked again.
    AskedAgain,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 13] = [
        Self::Queued,
        Self::Sent,
        Self::Received,
        Self::DeferredSafe,
        Self::Executing,
        Self::Executed,
        Self::Confirmed,
        Self::Transferred,
        Self::Superseded,
        Self::Detached,
        Self::NeverReturned,
        Self::Unsupported,
        Self::Refused,
    ];

    /// The state after `event`, or `None` if the event brings nothing new: it came late, twice or in another order.
    /// Never backwards, unless a person asks again. What is done stays done, whatever is said afterwards.
    pub fn after(self, event: Event) -> Option<Self> {
        use State::{
            Confirmed, DeferredSafe, Detached, Executed, Executing, NeverReturned, Queued,
            Received, Refused, Sent, Superseded, Transferred, Unsupported,
        };
        match (self, event) {
            (Queued, Event::Sent) => Some(Sent),
            (Queued | Sent, Event::Received) => Some(Received),
            (Queued | Sent | Received, Event::DeferredSafe) => Some(DeferredSafe),
            (Queued | Sent | Received | DeferredSafe, Event::Executing) => Some(Executing),
            // A tombstone fires; and it is not promoted by less than an execution. One that has expired may have fired
            // before, and nobody heard of it yet.
            (
                Queued | Sent | Received | DeferredSafe | Executing | Detached | NeverReturned
                | Transferred,
                Event::Executed,
            ) => Some(Executed),
            (
                Queued | Sent | Received | DeferredSafe | Executing | Executed | Detached
                | NeverReturned | Transferred,
                Event::SeenUnbound,
            ) => Some(Confirmed),
            // What a device refused to do for its last owner is nobody's wish for the next one.
            (
                Queued | Sent | Received | DeferredSafe | Executing | Detached | Refused,
                Event::NewBinding,
            ) => Some(Superseded),
            (Queued | Sent | Received | DeferredSafe | Executing, Event::Refused) => Some(Refused),
            // The server half has gone to the other account, and the device does not follow: that is for a person, and
            // holds back nothing that the new owner wants.
            (Transferred, Event::Refused | Event::NewBinding) => Some(Unsupported),
            (Queued | Sent | Received | DeferredSafe | Executing, Event::Horizon) => Some(Detached),
            (Detached, Event::Expired) => Some(NeverReturned),
            (Refused, Event::AskedAgain) => Some(Queued),
            (
                Queued | Sent | Received | DeferredSafe | Executing | Executed | Confirmed
                | Transferred | Superseded | Detached | NeverReturned | Unsupported | Refused,
                Event::Sent
                | Event::Received
                | Event::DeferredSafe
                | Event::Executing
                | Event::Executed
                | Event::SeenUnbound
                | Event::NewBinding
                | Event::Refused
                | Event::Horizon
                | Event::Expired
                | Event::AskedAgain,
            ) => None,
        }
    }

    /// Whether the device is still to act and the leg still waits for it.
    pub fn is_open(self) -> bool {
        matches!(
            self,
            Self::Queued | Self::Sent | Self::Received | Self::DeferredSafe | Self::Executing
        )
    }

    /// Whether anything may still become of it.
    pub fn may_move(self) -> bool {
        self.is_owed() || matches!(self, Self::Executed | Self::Refused)
    }

    /// Whether the order is still to be sent at a contact.
    pub fn is_owed(self) -> bool {
        self.is_open() || matches!(self, Self::Detached | Self::Transferred)
    }

    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Sent => "SENT",
            Self::Received => "RECEIVED",
            Self::DeferredSafe => "DEFERRED_SAFE",
            Self::Executing => "EXECUTING",
            Self::Executed => "EXECUTED",
            Self::Confirmed => "CONFIRMED",
            Self::Transferred => "TRANSFERRED",
            Self::Superseded => "SUPERSEDED",
            Self::Detached => "DETACHED",
            Self::NeverReturned => "NEVER_RETURNED",
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
pub struct Unreadable(pub(super) String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENTS: [Event; 10] = [
        Event::Sent,
        Event::Received,
        Event::DeferredSafe,
        Event::Executing,
        Event::Executed,
        Event::SeenUnbound,
        Event::NewBinding,
        Event::Refused,
        Event::Horizon,
        Event::Expired,
    ];

    /// How far a state is; equal ranks are ends that exclude each other.
    fn rank(state: State) -> u8 {
        match state {
            State::Queued => 0,
            State::Sent => 1,
            State::Received => 2,
            State::DeferredSafe => 3,
            State::Executing => 4,
            State::Detached | State::Transferred => 5,
            State::NeverReturned => 6,
            State::Executed | State::Refused => 7,
            State::Confirmed | State::Superseded | State::Unsupported => 8,
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
    fn only_what_was_refused_is_asked_again() {
        for state in State::ALL {
            let again = state.after(Event::AskedAgain);
            assert_eq!(again.is_some(), state == State::Refused, "{state}");
        }
    }

    #[test]
    fn only_a_tombstone_expires() {
        for state in State::ALL {
            let expired = state.after(Event::Expired);
            assert_eq!(expired.is_some(), state == State::Detached, "{state}");
        }
        assert!(!State::NeverReturned.is_owed());
    }

    #[test]
    fn what_is_executed_can_no_longer_be_superseded_or_refused() {
        for event in [Event::NewBinding, Event::Refused, Event::Horizon] {
            assert_eq!(State::Executed.after(event), None);
            assert_eq!(State::Confirmed.after(event), None);
        }
    }
}
