//! What is on record of a purged deletion beside its receipts: what each custodian was asked last to erase, and when something
//! ends next.
//!
//! Each custodian is asked in a round of its own, so that one who refuses, or is gone for ever, holds up nobody else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::deletion::{Deletion, State};
use crate::leg::{LegIndex, Mask, Verb};
use crate::notice::Notice;
use crate::time::Time;

/// Written when somebody has looked; acknowledgements never change it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Custody {
    /// When something ends next that nobody is being asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Time>,
    /// What each was asked last, answered or not.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<LegIndex, Asked>,
    /// Who says that a number ended before its day, and has not been asked since: that counts while it still keeps one by its receipts.
    pub freed: Mask,
}

/// One request to erase what has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Part of the command's name.
    pub round: u16,
    /// What ends by then is to be erased, and nothing else.
    pub by: Time,
    /// Whether a number had been given back before, by the custodian's own word. The command says so: one that was restored from a
    /// backup since doesn't know it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub freed: bool,
}

impl Deletion {
    /// Expiries that were asked for and have no answer.
    pub fn outstanding(&self) -> Mask {
        self.expiring & !self.done
    }

    /// Expiries whose answers are durable, and what they say is not on record yet.
    pub fn answered(&self) -> Mask {
        self.expiring & self.done
    }

    /// What this expiry was asked last; `None` if it never was.
    pub fn asked_of(&self, leg: LegIndex) -> Option<Asked> {
        let custody = self.rare.custody.as_ref();
        let on_record = custody.and_then(|custody| custody.asked.get(&leg).copied());
        // Asked before each had a round of its own.
        let earlier = || {
            let by = self.attention_at.filter(|_| self.expiring.has(leg))?;
            Some(Asked {
                round: self.round,
                by,
                freed: false,
            })
        };
        on_record.or_else(earlier)
    }

    /// The round in which the leg is asked for, if it is: part of its command's name.
    pub fn round_of(&self, leg: LegIndex, verb: Verb) -> u16 {
        match verb {
            Verb::Seal | Verb::Unseal => 1,
            Verb::Erase | Verb::Probe => self.round,
            Verb::Expire => self.asked_of(leg).map_or(self.round, |asked| asked.round),
        }
    }

    /// Expiries of which a number ended before its day, by their own word, and which have not been asked since.
    pub fn freed(&self) -> Mask {
        let custody = self.rare.custody.as_ref();
        custody.map_or(Mask::EMPTY, |custody| custody.freed)
    }

    /// Whether a number was given back that this expiry is to end still: it was not asked for since, or has not answered.
    pub fn is_freed(&self, leg: LegIndex) -> bool {
        let asked = self.asked_of(leg).filter(|_| self.outstanding().has(leg));
        self.freed().has(leg) || asked.is_some_and(|asked| asked.freed)
    }

    /// When somebody must look whether something has ended: at once after the purge.
    pub(crate) fn looks_at(&self) -> Option<Time> {
        let custody = self.rare.custody.as_ref();
        custody.map_or(self.attention_at, |custody| custody.next)
    }

    /// Since when the oldest of those who were asked has owed an answer.
    pub(crate) fn outstanding_since(&self) -> Option<Time> {
        let asked = self.outstanding();
        let asked = asked.iter().filter_map(|leg| self.asked_of(leg));
        asked.map(|asked| asked.by).min()
    }

    /// Whether these may be asked to erase what has ended: none is asked twice at a time, and what was answered is on record.
    pub(super) fn may_ask(&self, legs: Mask, now: Time) -> bool {
        self.keeps()
            && !self.held
            && !legs.is_empty()
            && self.answered().is_empty()
            && (self.outstanding() & legs).is_empty()
            && self.looks_at().is_some_and(|at| at <= now)
    }

    /// What each was asked last, for the record.
    pub(super) fn asked_so_far(&self) -> BTreeMap<LegIndex, Asked> {
        let custody = self.rare.custody.as_ref();
        let mut asked = custody.map_or_else(BTreeMap::new, |custody| custody.asked.clone());
        let open = self.expiring.iter();
        asked.extend(open.filter_map(|leg| Some((leg, self.asked_of(leg)?))));
        asked
    }

    /// Puts on record what was looked up, and waits for the next end; once nothing is kept it is closed. A hold keeps it open:
    /// it is somebody's to release.
    pub(super) fn rest(
        &mut self,
        (asked, freed): (BTreeMap<LegIndex, Asked>, Mask),
        next: Option<Time>,
        now: Time,
    ) {
        self.rare.custody = Some(Custody { next, asked, freed });
        if self.outstanding().is_empty() {
            self.rare.told = self.rare.told.without(Notice::ExpiryOverdue);
        }
        let over = self.retains.is_empty() && self.expiring.is_empty() && !self.held;
        (self.attention_at, self.closed_at) = if over {
            (None, Some(now))
        } else {
            (self.outstanding_since().or(next).or(Some(now)), None)
        };
    }

    /// Something of these ended before its day: it is looked at now, or once the account is purged.
    pub(super) fn free_early(&mut self, legs: Mask, now: Time) {
        let next = self.looks_at();
        let asked = self.asked_so_far();
        self.rare.custody = Some(Custody {
            next: Some(next.map_or(now, |next| next.min(now))),
            asked,
            freed: self.freed() | legs,
        });
        if self.keeps() {
            self.attention_at = Some(self.attention_at.map_or(now, |at| at.min(now)));
        }
    }

    /// What ended under a hold ends with it.
    pub(super) fn look_at_once(&mut self, now: Time) {
        if !self.keeps() {
            return;
        }
        self.attention_at = self.attention_at.map(|at| at.min(now));
        if let Some(custody) = &mut self.rare.custody {
            custody.next = Some(custody.next.map_or(now, |next| next.min(now)));
        }
    }

    /// Whether it is purged and something is still kept under law, or nobody has looked yet.
    pub(crate) const fn keeps(&self) -> bool {
        matches!(self.state, State::Purged { .. }) && self.closed_at.is_none()
    }
}
