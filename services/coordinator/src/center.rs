//! What the parts of a coordinator share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use farewell_core::{Deletion, DeletionId, Duty, ParticipantId, Reason, duty, notice};
use farewell_ledger::{Fence, Ledger, Owed};
use tokio::sync::{Notify, broadcast, mpsc};

use crate::board::Board;
use crate::clock::Clock;
use crate::config::Pace;
use crate::errand::{Errand, Errands, Task};
use crate::event::Events;
use crate::lane::{OpenJob, SettleJob, TurnJob};
use crate::orders::Orders;
use crate::plans::Plans;
use crate::query::Queries;
use crate::region::Cells;
use crate::replay::Replays;
use crate::throttle::Throttle;

/// Batches of changes that a slow watcher may be behind before it is told to look for itself.
pub const CHANGES_BEHIND_MAX: usize = 1_024;

/// Deletions that changed state, with their new state's code.
pub type Changes = Arc<Vec<(DeletionId, i16)>>;

/// The shared middle: every part holds one `Arc` of it.
pub struct Center {
    pub instance: String,
    pub ledger: Arc<dyn Ledger>,
    pub clock: Clock,
    pub plans: Plans,
    /// The other regions.
    pub cells: Cells,
    pub pace: Pace,
    pub throttle: Throttle,
    pub orders: Orders,
    /// Who else is told what becomes of accounts.
    pub events: Option<Events>,
    /// A wake-up carries no news: the dispatcher looks on the board.
    pub wake: Notify,
    /// Wakes whoever looks after what accounts are owed besides deletions.
    pub accounts: Notify,
    pub changes: broadcast::Sender<Changes>,
    pub open: mpsc::Sender<OpenJob>,
    pub turn: mpsc::Sender<TurnJob>,
    pub settle: mpsc::Sender<SettleJob>,
    /// Deletions that need more than commands: see [`crate::steward`].
    pub errands: Errands,
    pub queries: Queries,
    /// Commands beside the board, after a restore.
    pub replays: Replays,
    /// Who makes and keeps archives.
    pub custodian: ParticipantId,
    /// Set when the coordinator drains: nothing new is sent.
    pub draining: AtomicBool,
    pub board: Mutex<Board>,
    pub fence: RwLock<Option<Fence>>,
    pub refused: Mutex<BTreeMap<(String, &'static str), u64>>,
}

impl Center {
    /// The board. A panic while it was held leaves it usable: every change of it is made again from the ledger.
    pub fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to write for our slots, if we have it.
    pub fn fence(&self) -> Option<Fence> {
        self.fence
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes or loses the right to write.
    pub fn set_fence(&self, fence: Option<Fence>) {
        *self.fence.write().unwrap_or_else(PoisonError::into_inner) = fence;
    }

    /// Whether the end has begun.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Puts what the ledger holds on the board, if the slot is ours: the one way in which memory is filled.
    pub fn admit(&self, owed: impl IntoIterator<Item = Owed>) {
        let now = self.clock.now();
        {
            let mut board = self.board();
            for mut owed in owed {
                let Some(plan) = self.plans.get(owed.deletion.policy_version) else {
                    continue;
                };
                // What was read before the last commit must not undo what that commit put on the board, or took off it.
                if !board.owns(owed.deletion.id) || !board.freshen(&mut owed.deletion) {
                    continue;
                }
                if !notice::due(&owed.deletion, &plan, now).is_empty()
                    || notice::overdue_unexplained(&owed.deletion, now)
                {
                    self.errands.run(Errand {
                        deletion: owed.deletion.clone(),
                        plan: Arc::clone(&plan),
                        task: Task::Tell,
                    });
                }
                match duty::next(&owed.deletion, &plan, now) {
                    Duty::Send(_) | Duty::NeedsPerson => board.admit(owed, plan),
                    Duty::Wait(_) | Duty::Nothing => board.leave(&owed.deletion),
                    duty @ (Duty::Expire
                    | Duty::AskEligibility
                    | Duty::Begin
                    | Duty::Advance
                    | Duty::Oblige) => {
                        board.leave(&owed.deletion);
                        self.errands.run(Errand {
                            deletion: owed.deletion,
                            plan,
                            task: Task::Do(duty),
                        });
                    }
                }
            }
        }
        self.wake.notify_one();
    }

    /// Follows up committed changes: tells watchers, and the board if the slot is ours.
    pub async fn landed(&self, deletions: Vec<Deletion>) {
        self.announce(
            deletions
                .iter()
                .map(|deletion| (deletion.id, deletion.state.code()))
                .collect(),
        );
        // Who has begun may have rosters, which only the ledger knows.
        let (begun, plain): (Vec<_>, Vec<_>) = deletions.into_iter().partition(|deletion| {
            self.plans
                .get(deletion.policy_version)
                .is_none_or(|plan| deletion.state.begun().is_some() && !plan.seals().is_empty())
        });
        self.admit(plain.into_iter().map(|deletion| Owed {
            deletion,
            seals: Vec::new(),
        }));
        let ids: Vec<_> = begun.into_iter().map(|deletion| deletion.id).collect();
        if !ids.is_empty() {
            // If this read fails, the poll finds them: the ledger still says that they want attention.
            match self.ledger.get(&ids).await {
                Ok(owed) => self.admit(owed),
                Err(error) => {
                    tracing::warn!(%error, deletions = ids.len(), "left to the next poll")
                }
            }
        }
    }

    /// Tells watchers.
    pub fn announce(&self, changes: Vec<(DeletionId, i16)>) {
        if !changes.is_empty() && self.changes.receiver_count() > 0 {
            let _ = self.changes.send(Arc::new(changes));
        }
    }

    /// Counts a refused report.
    pub fn count_refusal(&self, participant: &str, reason: Reason) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused
            .entry((participant.to_owned(), reason.word()))
            .or_default() += 1;
    }
}
