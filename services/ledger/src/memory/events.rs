//! The outbox and what receivers wait for, in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use farewell_core::account::Account;
use farewell_core::{DeletionId, Slot, Time};

use super::{Memory, Tables};
use crate::{
    Announcement, Answer, Error, Event, Events, Fence, Heard, Receiver, RefusedEvent, clock,
};

/// What a receiver is to be told, or has refused.
#[derive(Debug)]
pub(super) struct Kept {
    event: Event,
    due_at: Time,
    /// The receiver's word, and when it said it.
    refused: Option<(String, Time)>,
}

impl Kept {
    fn waits(&self, receiver: &str, kinds: &[i16]) -> bool {
        self.refused.is_none()
            && self.event.receiver == receiver
            && kinds.contains(&self.event.kind)
    }
}

impl Tables {
    pub(super) fn receivers(&self) -> Vec<Receiver> {
        let mut receivers = BTreeMap::<&str, Receiver>::new();
        for ((name, _, _), kept) in &self.events {
            let receiver = receivers.entry(name).or_insert_with(|| Receiver {
                receiver: name.clone(),
                waiting: 0,
                oldest: None,
                refused: 0,
            });
            if kept.refused.is_some() {
                receiver.refused += 1;
            } else {
                let at = kept.event.at;
                receiver.waiting += 1;
                receiver.oldest = Some(receiver.oldest.map_or(at, |oldest| oldest.min(at)));
            }
        }
        receivers.into_values().collect()
    }

    fn is_of(&self, told: &Announcement, slots: &[Slot]) -> bool {
        let deletion = self.deletions.get(&told.deletion);
        deletion.is_some_and(|it| slots.contains(&Account::slot(&it.account)))
    }
}

#[async_trait]
impl Events for Memory {
    async fn outbox(&self, slots: &[Slot], limit: u32) -> Result<Vec<Announcement>, Error> {
        let tables = self.tables();
        let mut waiting: Vec<Announcement> = tables
            .outbox
            .values()
            .filter(|told| tables.is_of(told, slots))
            .cloned()
            .collect();
        waiting.sort_by_key(|told| told.seq);
        waiting.truncate(crate::rows(limit));
        Ok(waiting)
    }

    async fn announced(
        &self,
        fence: &Fence,
        told: &[Announcement],
        events: &[Event],
    ) -> Result<(), Error> {
        let mut tables = self.tables();
        tables.stands(fence)?;
        let forgotten: Vec<i64> = told
            .iter()
            .filter_map(|told| tables.outbox.remove(&(told.deletion, told.state)))
            .map(|told| told.seq)
            .collect();
        for event in events.iter().filter(|it| forgotten.contains(&it.seq)) {
            let key = (event.receiver.clone(), event.deletion, event.kind);
            tables.events.entry(key).or_insert_with(|| Kept {
                event: Event {
                    tries: 0,
                    ..event.clone()
                },
                due_at: event.at,
                refused: None,
            });
        }
        Ok(())
    }

    async fn events(
        &self,
        receiver: &str,
        slots: Option<&[Slot]>,
        kinds: &[i16],
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let (tables, now) = (self.tables(), clock());
        let waiting = || {
            tables
                .events
                .values()
                .filter(|it| it.waits(receiver, kinds))
        };
        let mut first = BTreeMap::new();
        for kept in waiting() {
            let seq = first.entry(&kept.event.account).or_insert(kept.event.seq);
            *seq = kept.event.seq.min(*seq);
        }
        let mut due: Vec<&Kept> = waiting()
            .filter(|kept| first.get(&kept.event.account) == Some(&kept.event.seq))
            .filter(|kept| {
                let slot = Account::slot(&kept.event.account);
                kept.due_at <= now && slots.is_none_or(|slots| slots.contains(&slot))
            })
            .collect();
        due.sort_by_key(|kept| (kept.due_at, kept.event.seq));
        let page = due.into_iter().take(crate::rows(limit));
        Ok(page.map(|kept| kept.event.clone()).collect())
    }

    async fn heard(&self, receiver: &str, heard: &[Heard]) -> Result<(), Error> {
        let (mut tables, now) = (self.tables(), clock());
        for heard in heard {
            let key = (receiver.to_owned(), heard.deletion, heard.kind);
            if heard.answer == Answer::Taken {
                tables.events.remove(&key);
            }
            let Some(kept) = tables.events.get_mut(&key) else {
                continue;
            };
            match &heard.answer {
                Answer::Refused(word) => kept.refused = Some((word.clone(), now)),
                Answer::Later(time) if kept.refused.is_none() => {
                    kept.due_at = *time;
                    kept.event.tries += 1;
                }
                Answer::Taken | Answer::Later(_) => {}
            }
        }
        Ok(())
    }

    async fn refused(
        &self,
        receiver: &str,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<RefusedEvent>, Error> {
        let tables = self.tables();
        let refused = |kept: &Kept| {
            let (word, at) = kept.refused.clone()?;
            let event = kept.event.clone();
            Some(RefusedEvent { event, word, at })
        };
        let mut found: Vec<_> = tables
            .events
            .values()
            .filter(|kept| kept.event.receiver == receiver)
            .filter(|kept| after.is_none_or(|after| kept.event.seq > after))
            .filter_map(refused)
            .collect();
        found.sort_by_key(|refused| refused.event.seq);
        found.truncate(crate::rows(limit));
        Ok(found)
    }

    async fn resend(&self, receiver: &str, deletion: DeletionId, kind: i16) -> Result<bool, Error> {
        let mut tables = self.tables();
        let kept = tables
            .events
            .get_mut(&(receiver.to_owned(), deletion, kind));
        let Some(kept) = kept.filter(|kept| kept.refused.is_some()) else {
            return Ok(false);
        };
        kept.refused = None;
        kept.due_at = kept.event.at;
        kept.event.tries = 0;
        Ok(true)
    }

    async fn forget_refused(&self, until: Time) -> Result<u64, Error> {
        let mut tables = self.tables();
        let before = tables.events.len();
        tables
            .events
            .retain(|_, kept| kept.refused.as_ref().is_none_or(|(_, at)| *at > until));
        Ok(u64::try_from(before - tables.events.len()).unwrap_or(u64::MAX))
    }
}
