//! Who is in a handshake, and who goes for somebody new.
//!
//! Nobody waits. Where there is no room, somebody of the network that takes most of it goes for who comes: first those who have said
//! nothing, the oldest of them first; then the oldest. Who has spoken has some time, though, for others of its own network: where
//! thousands of one address are back at once, those who are nearly done would go for those who have hardly begun, and nobody would ever
//! be done. Then who comes is turned away, and comes again. No network has a share of its own that is smaller than the room: what a
//! restart brings back at once would not fit into it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{AbortHandle, AbortRegistration};
use tokio::time::Instant;

/// For others of its network, who has spoken goes only after this: several times what a handshake takes over a radio, or on a machine
/// that shakes hands with a roomful at once.
const SPOKEN_MIN: Duration = Duration::from_secs(2);

/// Who is counted as one: an address, or of IPv6 what one site is given, /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network(IpAddr);

impl Network {
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        })
    }
}

/// Those who are in a handshake, oldest first.
#[derive(Debug)]
pub(super) struct Room {
    size_max: usize,
    next: u64,
    guests: Vec<Guest>,
}

#[derive(Debug)]
struct Guest {
    ticket: u64,
    from: Network,
    since: Instant,
    heard: Arc<AtomicBool>,
    end: AbortHandle,
}

impl Guest {
    fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }
}

/// What somebody who was let in has.
pub(super) struct Place {
    /// To be given back.
    pub ticket: u64,
    /// Whether it has said anything.
    pub heard: Arc<AtomicBool>,
    /// Ends it when it has to go.
    pub end: AbortRegistration,
}

impl Room {
    /// For so many.
    pub const fn new(size_max: usize) -> Self {
        Self {
            size_max,
            next: 0,
            guests: Vec::new(),
        }
    }

    /// Lets somebody in. Whoever goes for it is ended. `None`: nobody does.
    pub fn enter(&mut self, from: Network, now: Instant) -> Option<Place> {
        if self.guests.len() >= self.size_max {
            let place = self.goes_for(from, now)?;
            self.guests.remove(place).end.abort();
        }
        let (end, registration) = AbortHandle::new_pair();
        let heard = Arc::new(AtomicBool::new(false));
        self.next += 1;
        self.guests.push(Guest {
            ticket: self.next,
            from,
            since: now,
            heard: Arc::clone(&heard),
            end,
        });
        Some(Place {
            ticket: self.next,
            heard,
            end: registration,
        })
    }

    /// Whoever has shaken hands, or won't.
    pub fn leave(&mut self, ticket: u64) {
        self.guests.retain(|guest| guest.ticket != ticket);
    }

    /// Whoever ended without a word of its ticket.
    pub fn sweep(&mut self) {
        let is_here = |guest: &Guest| Arc::strong_count(&guest.heard) > 1;
        self.guests.retain(is_here);
    }

    fn goes_for(&self, from: Network, now: Instant) -> Option<usize> {
        let network = self.largest()?;
        let mut own = self.guests.iter().enumerate();
        let mut oldest = None;
        let silent = own.find(|(place, guest)| {
            if guest.from != network {
                return false;
            }
            oldest = oldest.or(Some(*place));
            !guest.is_heard()
        });
        if let Some((place, _)) = silent {
            return Some(place);
        }
        let has_had_its_time =
            |place: &usize| network != from || now >= self.guests[*place].since + SPOKEN_MIN;
        oldest.filter(has_had_its_time)
    }

    /// Of networks that are as large, one with somebody silent, and then the one that was here first.
    fn largest(&self) -> Option<Network> {
        let mut shares = HashMap::new();
        for (place, guest) in self.guests.iter().enumerate() {
            let (share, is_silent, _) =
                shares
                    .entry(guest.from)
                    .or_insert((0_usize, false, Reverse(place)));
            *share += 1;
            *is_silent |= !guest.is_heard();
        }
        let largest = shares.into_iter().max_by_key(|(_, share)| *share);
        largest.map(|(network, _)| network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(text.parse().unwrap())
    }

    fn tickets(room: &Room) -> Vec<u64> {
        room.guests.iter().map(|guest| guest.ticket).collect()
    }

    fn say(place: &Place) {
        place.heard.store(true, Ordering::Relaxed);
    }

    #[test]
    fn a_share_is_a_networks_and_not_one_machines() {
        assert_eq!(network("10.0.0.1"), network("::ffff:10.0.0.1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
    }

    #[test]
    fn of_the_largest_network_the_oldest_silent_goes_and_nobody_elses() {
        let (mut room, now) = (Room::new(4), Instant::now());
        let (one, two) = (network("10.0.0.1"), network("10.0.0.2"));
        let first = room.enter(one, now).unwrap();
        say(&first);
        let others = [two, one, one].map(|from| room.enter(from, now).unwrap());
        assert_eq!(tickets(&room), [1, 2, 3, 4]);
        // The first has spoken: the next after it goes.
        let fifth = room.enter(one, now).unwrap();
        assert_eq!(tickets(&room), [1, 2, 4, 5]);
        // All have: the oldest goes for somebody else.
        for place in [&others[2], &fifth] {
            say(place);
        }
        room.enter(two, now).unwrap();
        assert_eq!(tickets(&room), [2, 4, 5, 6]);
        room.leave(others[0].ticket);
        room.leave(first.ticket);
        assert_eq!(tickets(&room), [4, 5, 6]);
    }

    #[test]
    fn who_has_spoken_has_its_time_before_it_goes_for_its_own() {
        let (mut room, now) = (Room::new(3), Instant::now());
        let one = network("10.0.0.1");
        for _ in 0..3 {
            say(&room.enter(one, now).unwrap());
        }
        assert!(room.enter(one, now + SPOKEN_MIN / 2).is_none());
        assert_eq!(tickets(&room), [1, 2, 3]);
        assert!(room.enter(one, now + SPOKEN_MIN).is_some());
        assert_eq!(tickets(&room), [2, 3, 4]);
        assert!(room.enter(network("10.0.0.2"), now).is_some());
        assert_eq!(tickets(&room), [2, 3, 5], "the fourth has said nothing");
    }

    #[test]
    fn whoever_fills_the_room_makes_room_for_others() {
        let (mut room, now) = (Room::new(4), Instant::now());
        for _ in 0..4 {
            room.enter(network("10.0.0.1"), now).unwrap();
        }
        room.enter(network("10.0.0.2"), now).unwrap();
        assert_eq!(tickets(&room), [2, 3, 4, 5]);
        room.enter(network("10.0.0.3"), now).unwrap();
        assert_eq!(tickets(&room), [3, 4, 5, 6]);
    }

    #[test]
    fn of_many_who_come_alone_one_goes_that_has_said_nothing() {
        let (mut room, now) = (Room::new(3), Instant::now());
        for (from, speaks) in [("10.0.0.1", true), ("10.0.0.2", false), ("10.0.0.3", false)] {
            let place = room.enter(network(from), now).unwrap();
            if speaks {
                say(&place);
            }
        }
        room.enter(network("10.0.0.4"), now).unwrap();
        assert_eq!(tickets(&room), [1, 3, 4]);
    }
}
