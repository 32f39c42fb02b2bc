//! What is being worked on, and what was put off: so that no command is done twice at a time, and a wake-up finds the
//! order it is about.
//!
//! A command is on the desk in at most one of two places, `working` or `deferred`. A lock around two maps is enough:
//! it is held for a look-up, some tenths of a microsecond for each command.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::work::Job;

/// Orders kept for a wake-up: the absent devices of a busy day, some 10 MB at most for usual rosters. The one put off
/// longest ago makes room; its coordinator asks again anyway.
const DEFERRED_ORDERS_MAX: usize = 16_384;

/// The coordinators that wait for an answer: one bit for each link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Askers(u64);

impl Askers {
    pub(super) fn one(link: usize) -> Self {
        Self(1 << link)
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn links(self) -> impl Iterator<Item = usize> {
        (0..u64::BITS as usize).filter(move |link| self.0 & (1 << link) != 0)
    }
}

/// What became of a command that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// Nobody works on it yet: the caller does now.
    Start,
    /// It is being worked on; its answer will go to this asker too.
    Joined,
    /// It is being worked on and says something else: a name alone never stands for a command.
    Contradicted,
}

/// How far a command was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Done or refused: nothing of it is kept here.
    Final,
    /// The participant put it off.
    Deferred,
    /// Trouble put it off.
    Faulted,
}

/// What is next for a command that was worked on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its answer goes to these.
    Settled(Askers),
    /// It was woken meanwhile: work on it once more.
    Again,
}

/// What a wake-up did.
pub(super) enum Rung {
    /// This is to be worked on: the caller does now.
    Start(Arc<Job>),
    /// It is being worked on, and will be once more if that ends in a deferral.
    Noted,
    /// It isn't here.
    Unknown,
}

#[derive(Default)]
pub(super) struct Desk {
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    working: HashMap<Arc<str>, Working>,
    deferred: HashMap<Arc<str>, Deferral>,
    /// The names in `deferred` by age, to find the oldest.
    ages: BTreeMap<u64, Arc<str>>,
    next_age: u64,
}

struct Working {
    job: Arc<Job>,
    askers: Askers,
    since: Instant,
    /// Reported as in progress.
    told: bool,
    /// Woken since it was started.
    woken: bool,
    /// Faults in a row.
    faults: u32,
}

struct Deferral {
    job: Arc<Job>,
    /// Who sent it last.
    askers: Askers,
    age: u64,
    faults: u32,
}

impl Desk {
    /// Takes a command that arrived from `asker`.
    pub(super) fn begin(&self, job: &Arc<Job>, asker: Askers) -> Begun {
        let mut places = self.places();
        if let Some(working) = places.working.get_mut(&job.name) {
            if !working.job.says_the_same(job) {
                return Begun::Contradicted;
            }
            working.askers = working.askers.and(asker);
            return Begun::Joined;
        }
        let faults = places
            .take_deferred(&job.name)
            .map_or(0, |deferral| deferral.faults);
        places.start(Arc::clone(job), asker, faults);
        Begun::Start
    }

    /// Whether this very command is being worked on; its answer will then go to `asker` too.
    pub(super) fn join(&self, job: &Job, asker: Askers) -> bool {
        match self.places().working.get_mut(&job.name) {
            Some(working) if working.job.says_the_same(job) => {
                working.askers = working.askers.and(asker);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Takes a command that was put off, because it may have an answer now.
    pub(super) fn ring(&self, command: &str) -> Rung {
        let mut places = self.places();
        if let Some(working) = places.working.get_mut(command) {
            working.woken = true;
            return Rung::Noted;
        }
        match places.take_deferred(command) {
            Some(deferral) => {
                places.start(Arc::clone(&deferral.job), deferral.askers, deferral.faults);
                Rung::Start(deferral.job)
            }
            None => Rung::Unknown,
        }
    }

    /// Counts a fault of a command that is being worked on: how many there have been in a row.
    pub(super) fn fault(&self, command: &str) -> u32 {
        self.places().working.get_mut(command).map_or(1, |working| {
            working.faults = working.faults.saturating_add(1);
            working.faults
        })
    }

    /// The command was carried out as far as it could be.
    pub(super) fn end(&self, command: &str, how: How) -> Ended {
        let mut places = self.places();
        if how != How::Final
            && let Some(working) = places.working.get_mut(command)
            && working.woken
        {
            working.woken = false;
            return Ended::Again;
        }
        let Some((name, working)) = places.working.remove_entry(command) else {
            return Ended::Settled(Askers::default());
        };
        let askers = working.askers;
        match how {
            How::Final => {}
            How::Deferred => places.defer(name, working, 0),
            How::Faulted => {
                let faults = working.faults;
                places.defer(name, working, faults);
            }
        }
        Ended::Settled(askers)
    }

    /// What has been worked on for longer than `limit` and was not told of.
    pub(super) fn slow(&self, now: Instant, limit: Duration) -> Vec<(Arc<Job>, Askers)> {
        let mut places = self.places();
        let slow = places
            .working
            .values_mut()
            .filter(|w| !w.told && now.duration_since(w.since) > limit);
        slow.map(|working| {
            working.told = true;
            (Arc::clone(&working.job), working.askers)
        })
        .collect()
    }

    /// Commands being worked on.
    pub(super) fn len(&self) -> usize {
        self.places().working.len()
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing panics while it holds the lock; if something did, the maps are whole all the same.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn start(&mut self, job: Arc<Job>, askers: Askers, faults: u32) {
        let working = Working {
            askers,
            since: Instant::now(),
            told: false,
            woken: false,
            faults,
            job,
        };
        self.working.insert(Arc::clone(&working.job.name), working);
    }

    fn defer(&mut self, name: Arc<str>, working: Working, faults: u32) {
        if self.deferred.len() >= DEFERRED_ORDERS_MAX
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.deferred.remove(&oldest);
        }
        let age = self.next_age;
        self.next_age += 1;
        self.ages.insert(age, Arc::clone(&name));
        self.deferred.insert(
            name,
            Deferral {
                job: working.job,
                askers: working.askers,
                age,
                faults,
            },
        );
    }

    fn take_deferred(&mut self, command: &str) -> Option<Deferral> {
        let deferral = self.deferred.remove(command)?;
        self.ages.remove(&deferral.age);
        Some(deferral)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::participant::Order;
    use crate::wire::Verb;

    fn job(command: &str, account: &str) -> Arc<Job> {
        let order = Order {
            horizon: None,
            retention: Vec::new(),
            ended_by: None,
            command: command.to_owned(),
            account: account.to_owned(),
            deadline: None,
            devices: Vec::new(),
            traceparent: String::new(),
        };
        Arc::new(Job::new(Verb::Erase, order))
    }

    #[test]
    fn a_command_is_started_once_and_answers_everybody_who_asked() {
        let desk = Desk::default();
        assert_eq!(desk.begin(&job("c", "a"), Askers::one(0)), Begun::Start);
        assert_eq!(desk.begin(&job("c", "a"), Askers::one(63)), Begun::Joined);
        assert_eq!(desk.begin(&job("c", "a"), Askers::one(63)), Begun::Joined);
        let Ended::Settled(askers) = desk.end("c", How::Final) else {
            panic!()
        };
        assert_eq!(askers.links().collect::<Vec<_>>(), [0, 63]);
        assert_eq!(desk.len(), 0);
    }

    #[test]
    fn the_same_name_for_another_account_is_contradicted() {
        let desk = Desk::default();
        desk.begin(&job("c", "a"), Askers::one(0));
        assert_eq!(
            desk.begin(&job("c", "b"), Askers::one(0)),
            Begun::Contradicted
        );
    }

    #[test]
    fn news_that_comes_while_a_command_is_being_put_off_is_not_missed() {
        let desk = Desk::default();
        desk.begin(&job("c", "a"), Askers::one(0));
        assert!(matches!(desk.ring("c"), Rung::Noted));
        assert_eq!(desk.end("c", How::Deferred), Ended::Again);
        assert_eq!(desk.end("c", How::Deferred), Ended::Settled(Askers::one(0)));
        assert!(matches!(desk.ring("c"), Rung::Start(_)));
        assert!(matches!(desk.ring("d"), Rung::Unknown));
    }

    #[test]
    fn faults_in_a_row_are_counted_across_deliveries_until_something_else_happens() {
        let desk = Desk::default();
        for (expected, how) in [
            (1, How::Faulted),
            (2, How::Faulted),
            (3, How::Deferred),
            (1, How::Faulted),
        ] {
            desk.begin(&job("c", "a"), Askers::one(0));
            assert_eq!(desk.fault("c"), expected);
            desk.end("c", how);
        }
    }

    #[test]
    fn the_order_put_off_longest_ago_makes_room() {
        let desk = Desk::default();
        for n in 0..=DEFERRED_ORDERS_MAX {
            desk.begin(&job(&n.to_string(), "a"), Askers::one(0));
            desk.end(&n.to_string(), How::Deferred);
        }
        assert!(matches!(desk.ring("0"), Rung::Unknown));
        assert!(matches!(desk.ring("1"), Rung::Start(_)));
        let places = desk.places();
        assert_eq!(places.ages.len(), places.deferred.len());
    }

    #[test]
    fn slow_work_is_told_of_once() {
        let desk = Desk::default();
        desk.begin(&job("c", "a"), Askers::one(0));
        let limit = Duration::from_secs(2);
        assert!(desk.slow(Instant::now(), limit).is_empty());
        let later = Instant::now() + limit + limit;
        assert_eq!(desk.slow(later, limit).len(), 1);
        assert!(desk.slow(later, limit).is_empty());
    }
}
