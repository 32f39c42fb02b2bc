//! How often something odd was heard, by its machine word.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The counters of an agent since it started. Cheap to clone. The words are this program's own: however many devices
/// knock, there are never more of them than it knows.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    counts: Arc<Mutex<BTreeMap<(Odd, &'static str), u64>>>,
}

/// What kind of thing was odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Odd {
    /// What a device said was not accepted.
    Refused,
    /// A device says that what it got was no order of ours.
    Misread,
    /// A device knocked that was never bound here.
    Stranger,
    /// A coordinator refused for good to keep how a device ended.
    Return,
}

impl Counters {
    /// How often a word was met.
    pub fn of(&self, odd: Odd, word: &str) -> u64 {
        self.all().get(&(odd, word)).copied().unwrap_or_default()
    }

    /// Everything that was met so far.
    pub fn all(&self) -> BTreeMap<(Odd, &'static str), u64> {
        self.lock().clone()
    }

    /// Counts. Said aloud at the 1st, 2nd, 4th, 8th … time only: whoever sends nonsense must not fill a disk with it.
    pub(super) fn count(&self, odd: Odd, word: &'static str) {
        let times = {
            let mut counts = self.lock();
            let times = counts.entry((odd, word)).or_default();
            *times += 1;
            *times
        };
        if times.is_power_of_two() {
            match odd {
                Odd::Refused => tracing::info!(word, times, "a device's message is not accepted"),
                Odd::Misread => tracing::warn!(
                    word,
                    times,
                    "a device did not get the order that was sent; it is sent again"
                ),
                Odd::Stranger => {
                    tracing::info!(word, times, "a device knocks that was never bound here")
                }
                // A person looks once, however many devices it concerns.
                Odd::Return if times > 1 => {}
                Odd::Return => {
                    tracing::warn!(word, "how a device ended is not kept by a coordinator")
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(Odd, &'static str), u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
