//! A ledger that forgets: for tests, demonstrations, and as the reference that the databases are compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use farewell_core::account::Account;
use farewell_core::addendum::{self, Addendum};
use farewell_core::decision::Decision;
use farewell_core::policy::Policy;
use farewell_core::receipt::{Kept, Receipt};
use farewell_core::replay::{self, Replayed};
use farewell_core::{AccountId, Deletion, DeletionId, LegIndex, RequestId, Slot, State, Time};

use crate::account::{Accounts, Place};
use crate::{
    Announcement, Coordinator, Cursor, Entry, Error, Fence, Filter, KeptUnderLaw, Leases, Ledger,
    Opened, Opening, Overview, Owed, Remembered, Seen, Settled, Settlement, Turn, Turned, clock,
    merge,
};

mod events;

/// A ledger in memory. Its transactions are one lock.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Tables>);

impl Memory {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Tables {
    deletions: BTreeMap<DeletionId, Deletion>,
    receipts: BTreeMap<(DeletionId, u16, usize), Kept>,
    addenda: BTreeMap<DeletionId, Vec<addendum::Kept>>,
    replays: BTreeMap<DeletionId, Vec<replay::Kept>>,
    history: BTreeMap<(DeletionId, i32), Entry>,
    live: BTreeMap<AccountId, DeletionId>,
    requests: BTreeMap<RequestId, ([u8; 16], DeletionId)>,
    outbox: BTreeMap<(DeletionId, i16), Announcement>,
    /// Announcements that were ever written.
    announcements: i64,
    events: BTreeMap<(String, DeletionId, i16), events::Kept>,
    coordinators: BTreeMap<String, Lease>,
    slots: BTreeMap<Slot, String>,
    policies: Vec<Policy>,
    accounts: BTreeMap<AccountId, Account>,
}

#[derive(Debug)]
struct Lease {
    epoch: i64,
    until: Time,
}

impl Tables {
    fn stands(&self, fence: &Fence) -> Result<(), Error> {
        match self.coordinators.get(&fence.holder) {
            Some(lease) if lease.epoch == fence.epoch => Ok(()),
            _ => Err(Error::Fenced),
        }
    }

    fn ended(&self, holder: &str, now: Time) -> bool {
        self.coordinators
            .get(holder)
            .is_none_or(|lease| lease.until < now)
    }

    fn free(&self, slot: Slot, now: Time) -> bool {
        self.slots
            .get(&slot)
            .is_none_or(|holder| self.ended(holder, now))
    }

    fn kept(&self, id: DeletionId) -> impl Iterator<Item = &Kept> {
        self.receipts
            .range((id, 0, 0)..)
            .take_while(move |((deletion, ..), _)| *deletion == id)
            .map(|(_, kept)| kept)
    }

    fn owed(&self, deletion: &Deletion) -> Owed {
        Owed {
            deletion: deletion.clone(),
            seals: self
                .kept(deletion.id)
                .filter(|kept| merge::seals_devices(&kept.receipt))
                .cloned()
                .collect(),
        }
    }

    fn fingerprint(&self, id: DeletionId, round: u16, leg: LegIndex) -> Option<[u8; 16]> {
        let kept = self.receipts.get(&(id, round, leg.place()))?;
        Some(kept.receipt.fingerprint)
    }

    /// Writes a deletion that moved, with everything that moves with it.
    fn put(&mut self, deletion: Deletion, step: (&str, Option<&Decision>), now: Time) {
        let (id, was_live) = (
            deletion.id,
            self.live.get(&deletion.account) == Some(&deletion.id),
        );
        self.history.insert(
            (id, deletion.revision),
            Entry {
                revision: deletion.revision,
                at: now,
                state: deletion.state.code(),
                note: step.0.to_owned(),
                decision: step.1.cloned(),
            },
        );
        if let Some(at) = merge::ended_at(&deletion.state)
            && was_live
        {
            self.live.remove(&deletion.account);
            self.tell(&deletion, at);
        }
        self.deletions.insert(id, deletion);
    }

    /// What law keeps; late is what has been owed since `since` or longer.
    fn kept_under_law(&self, since: Time) -> KeptUnderLaw {
        let open =
            |it: &&Deletion| matches!(it.state, State::Purged { .. }) && it.closed_at.is_none();
        let mut kept = KeptUnderLaw::default();
        for deletion in self.deletions.values().filter(open) {
            let owed = !deletion.outstanding().is_empty() && !deletion.held;
            kept.deletions += 1;
            kept.late += i64::from(owed && deletion.attention_at.is_some_and(|at| at <= since));
            kept.held += i64::from(deletion.held);
        }
        kept
    }

    fn tell(&mut self, deletion: &Deletion, at: Time) {
        self.tell_of(deletion, deletion.state.code(), at);
    }

    fn tell_of(&mut self, deletion: &Deletion, state: i16, at: Time) {
        let key = (deletion.id, state);
        if self.outbox.contains_key(&key) {
            return;
        }
        self.announcements += 1;
        let told = Announcement {
            deletion: deletion.id,
            state,
            at,
            seq: self.announcements,
        };
        self.outbox.insert(key, told);
    }

    fn writable(&self, deletion: &Deletion) -> Result<(), Error> {
        if !merge::sound(deletion) {
            return Err(refused("a purge without everything that is needed"));
        }
        if self.history.contains_key(&(deletion.id, deletion.revision)) {
            return Err(refused("a revision that is taken"));
        }
        Ok(())
    }
}

#[async_trait]
impl Accounts for Memory {
    async fn account(&self, account: &AccountId) -> Result<Option<Account>, Error> {
        Ok(self.tables().accounts.get(account).cloned())
    }

    async fn keep_account(&self, account: &Account) -> Result<bool, Error> {
        let mut tables = self.tables();
        let stored = tables.accounts.get(&account.account);
        let revision = stored.map_or(0, |stored| stored.revision);
        if revision != account.revision - 1 {
            return Ok(false);
        }
        let key = account.account.clone();
        tables.accounts.insert(key, account.clone());
        Ok(true)
    }

    async fn accounts_owed(
        &self,
        slots: &[Slot],
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<Account>, Error> {
        let (tables, now) = (self.tables(), clock());
        let mut due: Vec<_> = tables
            .accounts
            .values()
            .filter(|account| slots.contains(&Account::slot(&account.account)))
            .filter_map(|account| Some((Place::of(account)?, account)))
            .filter(|(place, _)| place.attention_at <= now && Some(place) > after)
            .collect();
        due.sort_by(|(one, _), (other, _)| one.cmp(other));
        let page = due.into_iter().take(crate::rows(limit));
        Ok(page.map(|(_, account)| account.clone()).collect())
    }

    async fn accounts(&self, after: Option<&AccountId>, limit: u32) -> Result<Vec<Account>, Error> {
        let tables = self.tables();
        let later = tables.accounts.values();
        let later = later.filter(|account| Some(&account.account) > after);
        Ok(later.take(crate::rows(limit)).cloned().collect())
    }
}

#[async_trait]
impl Ledger for Memory {
    async fn now(&self) -> Result<Time, Error> {
        Ok(clock())
    }

    async fn adopt(&self, policy: &Policy) -> Result<u32, Error> {
        let mut tables = self.tables();
        let policies = &mut tables.policies;
        let place = policies.iter().position(|known| known == policy);
        let place = place.unwrap_or_else(|| {
            policies.push(policy.clone());
            policies.len() - 1
        });
        Ok(version(place))
    }

    async fn policies(&self) -> Result<Vec<(u32, Policy)>, Error> {
        let policies = self.tables().policies.clone();
        Ok(policies
            .into_iter()
            .enumerate()
            .map(|(place, policy)| (version(place), policy))
            .collect())
    }

    async fn open(&self, batch: Vec<Opening>) -> Result<Vec<Opened>, Error> {
        crate::named_once(batch.iter().map(|opening| opening.deletion.id))?;
        let mut tables = self.tables();
        let now = clock();
        for Opening { deletion, .. } in &batch {
            let is_new = !tables.requests.contains_key(&deletion.request)
                && !tables.live.contains_key(&deletion.account);
            if is_new && tables.deletions.contains_key(&deletion.id) {
                return Err(refused("a deletion that is there"));
            }
            if is_new {
                tables.writable(deletion)?;
            }
        }
        Ok(batch
            .into_iter()
            .map(|Opening { deletion, decision }| {
                if let Some((digest, first)) = tables.requests.get(&deletion.request) {
                    return match tables.deletions.get(first) {
                        Some(first) if *digest == deletion.request_digest => {
                            Opened::Repeat(first.clone())
                        }
                        _ => Opened::RequestIdReused,
                    };
                }
                if let Some(live) = tables.live.get(&deletion.account) {
                    return Opened::AccountHasLive(*live);
                }
                let seen = (deletion.request_digest, deletion.id);
                tables.requests.insert(deletion.request, seen);
                tables.live.insert(deletion.account.clone(), deletion.id);
                if let Some(at) = merge::sealed_at_once(&deletion) {
                    tables.tell(&deletion, at);
                }
                let step = (deletion.state.word(), decision.as_ref());
                tables.put(deletion.clone(), step, now);
                Opened::Created(deletion)
            })
            .collect())
    }

    async fn turn(&self, fence: Option<&Fence>, batch: Vec<Turn>) -> Result<Vec<Turned>, Error> {
        let mut tables = self.tables();
        if let Some(fence) = fence {
            tables.stands(fence)?;
        }
        let mut named = BTreeSet::new();
        let turned = batch
            .iter()
            .map(|turn| {
                let first = named.insert(turn.after.id);
                let stored = tables.deletions.get(&turn.after.id);
                match stored.filter(|stored| first && stored.revision == turn.before) {
                    Some(stored) => {
                        let after = after(stored, turn);
                        tables.writable(&after)?;
                        Ok(Turned::Done(after))
                    }
                    None => Ok(Turned::Lost),
                }
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let now = clock();
        for (turned, turn) in turned.iter().zip(&batch) {
            if let Turned::Done(after) = turned {
                if let Some(at) = turn.sealed_at {
                    tables.tell(after, at);
                }
                for (kind, at) in &turn.recycled {
                    tables.tell_of(after, kind.code(), *at);
                }
                let step = (turn.note, turn.decision.as_ref());
                tables.put(after.clone(), step, now);
            }
        }
        Ok(turned)
    }

    async fn settle(&self, fence: &Fence, batch: Vec<Settlement>) -> Result<Vec<Settled>, Error> {
        let mut tables = self.tables();
        tables.stands(fence)?;
        crate::named_once(batch.iter().map(|settlement| settlement.deletion))?;
        let mut afters = Vec::with_capacity(batch.len());
        for settlement in &batch {
            let Some(stored) = tables.deletions.get(&settlement.deletion) else {
                afters.push(None);
                continue;
            };
            let conflicts = merge::conflicts(&settlement.receipts, |round, leg| {
                tables.fingerprint(settlement.deletion, round, leg)
            });
            let advanced = merge::advances(stored.into(), settlement, &conflicts);
            let after = merge::settled(stored, settlement, advanced);
            if advanced {
                tables.writable(&after)?;
            }
            let answer = Settled {
                done: after.done,
                revision: after.revision,
                advanced,
                conflicts,
            };
            afters.push(Some((after, answer)));
        }
        let now = clock();
        let at = batch.iter().map(|settlement| settlement.at).max();
        Ok(batch
            .into_iter()
            .zip(afters)
            .map(|(settlement, after)| match after {
                Some((after, answer)) => {
                    let receipts = (settlement.receipts, at.unwrap_or(now));
                    tables.settle(receipts, after, answer.advanced, now);
                    answer
                }
                None => Settled::UNKNOWN,
            })
            .collect())
    }

    async fn amend(&self, batch: Vec<Addendum>) -> Result<(), Error> {
        let mut tables = self.tables();
        let recorded_at = clock();
        for addendum in batch {
            if !tables.deletions.contains_key(&addendum.deletion) {
                continue;
            }
            let kept = tables.addenda.entry(addendum.deletion).or_default();
            if !kept.iter().any(|kept| kept.addendum.is_repeat(&addendum)) {
                kept.push(addendum::Kept {
                    recorded_at,
                    addendum,
                });
            }
        }
        Ok(())
    }

    async fn remember(
        &self,
        request: RequestId,
        digest: [u8; 16],
        deletion: DeletionId,
    ) -> Result<Remembered, Error> {
        let mut tables = self.tables();
        let kept = tables.requests.get(&request).copied();
        let remembered = Remembered::of(kept, (digest, deletion));
        if remembered == Remembered::New {
            tables.requests.insert(request, (digest, deletion));
        }
        Ok(remembered)
    }

    async fn seen(&self, request: RequestId) -> Result<Option<Seen>, Error> {
        let kept = self.tables().requests.get(&request).copied();
        Ok(kept.map(|(digest, deletion)| Seen { digest, deletion }))
    }

    async fn join(&self, holder: &str, ttl: Duration) -> Result<Fence, Error> {
        let mut tables = self.tables();
        let epoch = tables
            .coordinators
            .get(holder)
            .map_or(1, |lease| lease.epoch + 1);
        let until = clock() + ttl;
        tables
            .coordinators
            .insert(holder.to_owned(), Lease { epoch, until });
        tables.slots.retain(|_, owner| owner != holder);
        Ok(Fence {
            holder: holder.to_owned(),
            epoch,
        })
    }

    async fn renew(&self, fence: &Fence, ttl: Duration) -> Result<Leases, Error> {
        let mut tables = self.tables();
        tables.stands(fence)?;
        let now = clock();
        if let Some(lease) = tables.coordinators.get_mut(&fence.holder) {
            lease.until = now + ttl;
        }
        let live = tables
            .coordinators
            .values()
            .filter(|lease| lease.until >= now)
            .count();
        Ok(Leases {
            now,
            mine: Slot::all()
                .filter(|slot| tables.slots.get(slot) == Some(&fence.holder))
                .collect(),
            free: Slot::all().filter(|slot| tables.free(*slot, now)).collect(),
            live: u32::try_from(live).unwrap_or(u32::MAX),
        })
    }

    async fn claim(&self, fence: &Fence, slots: &[Slot]) -> Result<Vec<Slot>, Error> {
        let mut tables = self.tables();
        tables.stands(fence)?;
        let now = clock();
        let wanted: BTreeSet<Slot> = slots.iter().copied().collect();
        let got: Vec<Slot> = wanted
            .into_iter()
            .filter(|slot| tables.slots.get(slot) != Some(&fence.holder))
            .filter(|slot| tables.free(*slot, now))
            .collect();
        let dead: BTreeSet<String> = got
            .iter()
            .filter_map(|slot| tables.slots.get(slot).cloned())
            .collect();
        for holder in dead {
            if let Some(lease) = tables.coordinators.get_mut(&holder) {
                lease.epoch += 1;
            }
        }
        for slot in &got {
            tables.slots.insert(*slot, fence.holder.clone());
        }
        Ok(got)
    }

    async fn release(&self, fence: &Fence, slots: &[Slot]) -> Result<(), Error> {
        let mut tables = self.tables();
        tables.stands(fence)?;
        tables
            .slots
            .retain(|slot, holder| *holder != fence.holder || !slots.contains(slot));
        let now = clock();
        if !tables.slots.values().any(|holder| *holder == fence.holder)
            && let Some(lease) = tables.coordinators.get_mut(&fence.holder)
        {
            lease.until = Time::from_micros(now.micros() - 1);
        }
        Ok(())
    }

    async fn owed(
        &self,
        slots: &[Slot],
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<Owed>, Error> {
        let tables = self.tables();
        let now = clock();
        let mut due: Vec<(Cursor, &Deletion)> = tables
            .deletions
            .values()
            .filter(|deletion| slots.contains(&deletion.id.slot()))
            .filter_map(|deletion| {
                let attention_at = deletion.attention_at.filter(|at| *at <= now)?;
                let id = deletion.id;
                Some((Cursor { attention_at, id }, deletion))
            })
            .filter(|(place, _)| after.is_none_or(|after| *place > after))
            .collect();
        due.sort_by_key(|(place, _)| *place);
        Ok(due
            .into_iter()
            .take(crate::rows(limit))
            .map(|(_, deletion)| tables.owed(deletion))
            .collect())
    }

    async fn get(&self, ids: &[DeletionId]) -> Result<Vec<Owed>, Error> {
        let tables = self.tables();
        Ok(ids
            .iter()
            .filter_map(|id| tables.deletions.get(id))
            .map(|deletion| tables.owed(deletion))
            .collect())
    }

    async fn receipts(&self, id: DeletionId) -> Result<Vec<Kept>, Error> {
        Ok(self.tables().kept(id).cloned().collect())
    }

    async fn keep_replays(&self, batch: Vec<Replayed>) -> Result<(), Error> {
        let mut tables = self.tables();
        let now = clock();
        for replayed in batch {
            if !tables.deletions.contains_key(&replayed.deletion) {
                continue;
            }
            let kept = tables.replays.entry(replayed.deletion).or_default();
            if !kept.iter().any(|kept| kept.replayed.is_repeat(&replayed)) {
                kept.push(replay::Kept {
                    replayed,
                    recorded_at: now,
                });
            }
        }
        Ok(())
    }

    async fn replays(&self, id: DeletionId) -> Result<Vec<replay::Kept>, Error> {
        let kept = self.tables().replays.get(&id).cloned();
        let mut replays = kept.unwrap_or_default();
        replays.sort_by(replay::Kept::order);
        Ok(replays)
    }

    async fn addenda(&self, id: DeletionId) -> Result<Vec<addendum::Kept>, Error> {
        let kept = self.tables().addenda.get(&id).cloned();
        let mut addenda = kept.unwrap_or_default();
        addenda.sort();
        Ok(addenda)
    }

    async fn history(&self, id: DeletionId, after: i32, limit: u32) -> Result<Vec<Entry>, Error> {
        Ok(self
            .tables()
            .history
            .range((id, i32::MIN)..=(id, i32::MAX))
            .map(|(_, entry)| entry.clone())
            .filter(|entry| entry.revision > after)
            .take(crate::rows(limit))
            .collect())
    }

    async fn list(
        &self,
        filter: &Filter,
        before: Option<DeletionId>,
        limit: u32,
    ) -> Result<Vec<Deletion>, Error> {
        Ok(self
            .tables()
            .deletions
            .values()
            .rev()
            .filter(|deletion| before.is_none_or(|before| deletion.id < before))
            .filter(|deletion| filter.takes(deletion))
            .take(crate::rows(limit))
            .cloned()
            .collect())
    }

    async fn overview(&self, warning: Duration, patience: Duration) -> Result<Overview, Error> {
        let (tables, now) = (self.tables(), clock());
        let late = |when: Time| {
            let live = tables.deletions.values().filter(|it| !it.state.terminal());
            let late = live.filter(|it| it.deadline <= when).count();
            i64::try_from(late).unwrap_or(i64::MAX)
        };
        let overdue = late(now);
        let mut states = BTreeMap::new();
        for deletion in tables.deletions.values() {
            *states.entry(deletion.state.code()).or_insert(0) += 1;
        }
        let held = |holder: &String| {
            tables
                .slots
                .values()
                .filter(|owner| *owner == holder)
                .count()
        };
        Ok(Overview {
            states: states.into_iter().collect(),
            oldest_unfinished: tables
                .deletions
                .values()
                .filter(|it| it.attention_at.is_some() && !matches!(it.state, State::Purged { .. }))
                .map(|deletion| deletion.requested_at)
                .min(),
            coordinators: tables
                .coordinators
                .iter()
                .map(|(holder, lease)| Coordinator {
                    holder: holder.clone(),
                    slots: u32::try_from(held(holder)).unwrap_or(u32::MAX),
                    lease_until: lease.until,
                })
                .collect(),
            outbox: i64::try_from(tables.outbox.len()).unwrap_or(i64::MAX),
            receivers: tables.receivers(),
            overdue,
            overdue_soon: late(now + warning) - overdue,
            kept: tables.kept_under_law(now.before(patience)),
        })
    }
}

impl Tables {
    fn settle(
        &mut self,
        (receipts, settled_at): (Vec<Receipt>, Time),
        after: Deletion,
        advanced: bool,
        now: Time,
    ) {
        for receipt in receipts {
            self.receipts
                .entry((after.id, receipt.round, receipt.leg.place()))
                .or_insert(Kept {
                    receipt,
                    settled_at,
                });
        }
        if advanced {
            let note = after.state.word();
            self.put(after, (note, None), now);
        } else {
            self.deletions.insert(after.id, after);
        }
    }
}

/// The deletion after a turn whose compare-and-set held.
fn after(stored: &Deletion, turn: &Turn) -> Deletion {
    let (done, refused) = merge::turned(stored.done, turn);
    Deletion {
        done,
        refused,
        id: stored.id,
        account: stored.account.clone(),
        request: stored.request,
        request_digest: stored.request_digest,
        channel: stored.channel,
        consents: stored.consents.clone(),
        requested_at: stored.requested_at,
        traceparent: stored.traceparent.clone(),
        ..turn.after.clone()
    }
}

fn version(place: usize) -> u32 {
    u32::try_from(place + 1).unwrap_or(u32::MAX)
}

fn refused(what: &str) -> Error {
    Error::Refused(sqlx::Error::Protocol(what.to_owned()))
}
