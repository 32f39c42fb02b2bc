//! Who is in a handshake, and who goes for somebody new.
//!
//! Nobody waits: whoever comes is let in, and where there is no room somebody of the network that takes most of it goes. First those
//! who have said nothing, the oldest of them first; then the oldest. A peer that means it has shaken hands within milliseconds, so
//! that even behind a proxy, where everybody has one address, a flood must fill the whole room in that time to meet it. No network
//! has a share of its own that is smaller: what a restart brings back at once would not fit into it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{AbortHandle, AbortRegistration};

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
    heard: Arc<AtomicBool>,
    end: AbortHandle,
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

    /// Lets somebody in. Whoever goes for it is ended.
    pub fn enter(&mut self, from: Network) -> Place {
        if let Some(place) = self.goes() {
            self.guests.remove(place).end.abort();
        }
        let (end, registration) = AbortHandle::new_pair();
        let heard = Arc::new(AtomicBool::new(false));
        self.next += 1;
        self.guests.push(Guest {
            ticket: self.next,
            from,
            heard: Arc::clone(&heard),
            end,
        });
        Place {
            ticket: self.next,
            heard,
            end: registration,
        }
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

    /// Who makes room, if there is none.
    fn goes(&self) -> Option<usize> {
        if self.guests.len() < self.size_max {
            return None;
        }
        let network = self.largest()?;
        let of_it = |guest: &Guest| guest.from == network;
        let silent = |guest: &Guest| of_it(guest) && !guest.heard.load(Ordering::Relaxed);
        let oldest_silent = self.guests.iter().position(silent);
        oldest_silent.or_else(|| self.guests.iter().position(of_it))
    }

    fn largest(&self) -> Option<Network> {
        let mut shares = HashMap::new();
        for (place, guest) in self.guests.iter().enumerate() {
            // Of two that are as large, the one that was here first.
            let (share, _) = shares
                .entry(guest.from)
                .or_insert((0_usize, Reverse(place)));
            *share += 1;
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
        let mut room = Room::new(4);
        let (one, two) = (network("10.0.0.1"), network("10.0.0.2"));
        let first = room.enter(one);
        say(&first);
        let others = [room.enter(two), room.enter(one), room.enter(one)];
        assert_eq!(tickets(&room), [1, 2, 3, 4]);
        // The first has spoken: the next after it goes.
        let fifth = room.enter(one);
        assert_eq!(tickets(&room), [1, 2, 4, 5]);
        // All have: the oldest goes.
        for place in [&others[2], &fifth] {
            say(place);
        }
        room.enter(two);
        assert_eq!(tickets(&room), [2, 4, 5, 6]);
        room.leave(others[0].ticket);
        room.leave(first.ticket);
        assert_eq!(tickets(&room), [4, 5, 6]);
    }

    #[test]
    fn whoever_fills_the_room_makes_room_for_others() {
        let mut room = Room::new(4);
        for _ in 0..4 {
            room.enter(network("10.0.0.1"));
        }
        room.enter(network("10.0.0.2"));
        assert_eq!(tickets(&room), [2, 3, 4, 5]);
        room.enter(network("10.0.0.3"));
        assert_eq!(tickets(&room), [3, 4, 5, 6]);
    }
}
