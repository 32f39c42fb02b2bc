//! What a deletion needs beside commands, on its way to the steward: each errand once, however often it is found.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use farewell_core::{Deletion, DeletionId, Duty, Plan};
use tokio::sync::mpsc;

/// Errands that may wait; the ledger remembers the rest.
const QUEUE_ERRANDS_MAX: usize = 4_096;

/// A task of a deletion as it was read. What is decided on it is written only if it has not moved since.
#[derive(Clone, Debug)]
pub struct Errand {
    pub deletion: Deletion,
    pub plan: Arc<Plan>,
    pub task: Task,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// What goes on with the deletion.
    Do(Duty),
    /// Beside it: somebody is to be told, or an alarm raised.
    Tell,
}

/// Of a deletion at a revision, each task is one errand.
type Key = (DeletionId, i32, Task);

/// Errands that wait or are being run.
#[derive(Debug)]
pub struct Errands {
    queue: mpsc::Sender<Open>,
    open: Arc<Mutex<HashSet<Key>>>,
}

/// An errand that counts as open until this is dropped.
#[derive(Debug)]
pub struct Open {
    pub errand: Errand,
    all: Arc<Mutex<HashSet<Key>>>,
}

impl Errands {
    /// An empty list, and the queue for whoever runs them.
    pub fn new() -> (Self, mpsc::Receiver<Open>) {
        let (queue, waiting) = mpsc::channel(QUEUE_ERRANDS_MAX);
        let open = Arc::default();
        (Self { queue, open }, waiting)
    }

    /// Has it run, unless it is open already. A full queue is no loss: the ledger still says that the deletion wants
    /// attention.
    pub fn run(&self, errand: Errand) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.insert(errand.key()) {
            return;
        }
        drop(open);
        let all = Arc::clone(&self.open);
        let _ = self.queue.try_send(Open { errand, all });
    }
}

impl Errand {
    const fn key(&self) -> Key {
        (self.deletion.id, self.deletion.revision, self.task)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.errand.key());
    }
}

#[cfg(test)]
mod tests {
    use farewell_core::deletion::Request;
    use farewell_core::policy::{Channel, Policy};
    use farewell_core::{RequestId, Time};
    use uuid::Uuid;

    use super::*;

    fn errand(revision: i32) -> Errand {
        let plan = Arc::new(Plan::new(1, Policy::cn()).unwrap());
        let request = Request {
            id: DeletionId(Uuid::from_u128(1)),
            account: "a-1".parse().unwrap(),
            request: RequestId(Uuid::from_u128(1)),
            request_digest: [7; 16],
            channel: Channel::Phone,
            consents: Vec::new(),
            traceparent: String::new(),
        };
        let opened = Deletion::open(request, &plan, Time::from_micros(0)).unwrap();
        Errand {
            deletion: Deletion { revision, ..opened },
            plan,
            task: Task::Do(Duty::AskEligibility),
        }
    }

    #[test]
    fn an_errand_is_run_once_at_a_time_and_again_once_it_is_over() {
        let (errands, mut queue) = Errands::new();
        errands.run(errand(1));
        errands.run(errand(1));
        let running = queue.try_recv().unwrap();
        assert!(queue.try_recv().is_err());
        errands.run(errand(1));
        assert!(queue.try_recv().is_err());
        errands.run(errand(2));
        assert_eq!(queue.try_recv().unwrap().errand.deletion.revision, 2);
        drop(running);
        errands.run(errand(1));
        assert_eq!(queue.try_recv().unwrap().errand.deletion.revision, 1);
    }
}
