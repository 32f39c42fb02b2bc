//! The desk: each of its acts is one transaction, with its line in the case's log and the request's id in it.

use std::sync::Arc;
use std::time::SystemTime;

use farewell_kit::home::{Homes, NotHere, OnlyRegion};
use farewell_kit::seal;
use farewell_kit::store::Store;
use farewell_kit::{CaseStanding, CheckCase};
use sqlx::{Any, AnyConnection, Transaction};
use uuid::Uuid;

use crate::case::{self, Case, Filter};
use crate::entry::{self, Entry, ITSELF, What};
use crate::evidence::{self, CASE_EVIDENCE_MAX, Evidence};
use crate::periods::Periods;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::state::{Matter, Rejection, State, Step};
use crate::wish::{Document, Wish};
use farewell_kit::vault::Vault;

/// Open cases of one account. With one more there is nobody who could still tell them apart.
pub const OPEN_CASES_MAX: usize = 16;

/// See the module.
#[derive(Clone, Debug)]
pub struct Desk {
    pub(crate) store: Store,
    pub(crate) vault: Vault,
    pub(crate) periods: Periods,
    homes: Arc<dyn Homes>,
}

/// A case with its documents.
pub(crate) struct Shown {
    pub case: Case,
    pub evidence: Vec<Evidence>,
    /// Only where it was asked for.
    pub log: Vec<Entry>,
}

/// A document that was received whole.
pub(crate) struct Received {
    pub case: String,
    pub kind: Document,
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// What is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decision {
    Approve,
    Reject(Rejection),
    Withdraw,
}

impl Decision {
    const fn what(self) -> What {
        match self {
            Self::Approve => What::Approved,
            Self::Reject(_) => What::Rejected,
            Self::Withdraw => What::Withdrawn,
        }
    }

    fn step<'a>(self, who: &'a str) -> Step<'a> {
        match self {
            Self::Approve => Step::Approve { by: who },
            Self::Reject(reason) => Step::Reject(reason),
            Self::Withdraw => Step::Withdraw,
        }
    }
}

impl Desk {
    /// On an open database.
    pub fn new(store: Store, vault: Vault, periods: Periods) -> Self {
        Self {
            store,
            vault,
            periods,
            homes: Arc::new(OnlyRegion),
        }
    }

    /// Asks where accounts are at home before anything of them is stored.
    #[must_use]
    pub fn asking(self, homes: Arc<dyn Homes>) -> Self {
        Self { homes, ..self }
    }

    /// Opens a case. Also while the account is sealed: a deletion that is stuck is what brings people to the desk.
    pub(crate) async fn open(
        &self,
        request: &Request,
        who: &str,
        (account, to_account, wish): (&str, &str, Wish),
        now: SystemTime,
    ) -> Result<Shown, Refusal> {
        self.at_home(request, account, to_account).await?;
        let mut tx = self.store.pool().begin().await?;
        seal::admit_though_sealed(&mut tx, account).await?;
        if let Some(known) = request.answered(&mut tx).await? {
            drop(tx);
            return self.get(&known).await;
        }
        let cases = case::of_account(&mut tx, account).await?;
        let open = cases.iter().filter(|case| case.matter.is_open(now));
        if open.count() >= OPEN_CASES_MAX {
            return Err(Refusal::TooManyCases);
        }
        let id = Uuid::now_v7().to_string();
        let (_, key) = self.vault.make(&id)?;
        let case = Case {
            id,
            account: account.to_owned(),
            opened_at: now,
            moved_at: now,
            key: Some(key),
            matter: Matter {
                wish,
                to_account: to_account.to_owned(),
                opened_by: who.to_owned(),
                state: State::Opened,
                expires_at: Some(now + self.periods.case_open),
                used_for: String::new(),
                done: false,
                shown: Vec::new(),
            },
        };
        case::insert(&mut tx, &case).await?;
        entry::append(&mut tx, &case.id, (who, What::Opened, ""), now).await?;
        request.remember(&mut tx, &case.id, now).await?;
        tx.commit().await?;
        Ok(Shown {
            case,
            evidence: Vec::new(),
            log: Vec::new(),
        })
    }

    /// Whether a new case is one for this region's desk. Nothing is held while somebody else is asked.
    async fn at_home(
        &self,
        request: &Request,
        account: &str,
        to_account: &str,
    ) -> Result<(), Refusal> {
        let mut connection = self.store.pool().acquire().await?;
        let answered = request.answered(&mut connection).await?;
        drop(connection);
        if answered.is_some() {
            return Ok(());
        }
        self.homes.at_home(account).await?;
        if to_account.is_empty() {
            return Ok(());
        }
        let there = self.homes.at_home(to_account).await;
        there.map_err(|not_here| match not_here {
            NotHere::Elsewhere(home) => Refusal::ToAccountElsewhere(home),
            unknown @ NotHere::Unknown(_) => unknown.into(),
        })
    }

    /// Adds a document that was received whole.
    pub(crate) async fn add(
        &self,
        request: &Request,
        who: &str,
        received: Received,
        now: SystemTime,
    ) -> Result<Evidence, Refusal> {
        let (mut tx, mut case) = self.hold(&received.case).await?;
        if let Some(known) = request.answered(&mut tx).await? {
            let evidence = evidence::of_case(&mut tx, &case.id).await?;
            let known = evidence.into_iter().find(|evidence| evidence.id == known);
            return known.ok_or(Refusal::EvidenceNotFound);
        }
        let shown = evidence::of_case(&mut tx, &case.id).await?;
        let before = case.matter.state.clone();
        case.matter.state = case.matter.step(&Step::Show(received.kind), now)?;
        if shown.len() >= CASE_EVIDENCE_MAX {
            return Err(Refusal::TooMuchEvidence);
        }
        let evidence = Evidence {
            case: case.id.clone(),
            id: Uuid::now_v7().to_string(),
            kind: received.kind,
            media_type: received.media_type,
            size_bytes: i64::try_from(received.bytes.len()).unwrap_or(i64::MAX),
            added_by: who.to_owned(),
            added_at: now,
            deleted_at: None,
        };
        // An open case has its key.
        let wrapped = case.key.as_ref().ok_or(Refusal::EvidenceDeleted)?;
        let key = self.vault.unwrap(&case.id, wrapped)?;
        let name = evidence.name();
        evidence::insert(&mut tx, &evidence, key.seal(&name, &received.bytes)?).await?;
        entry::append(&mut tx, &case.id, (who, What::EvidenceAdded, &name), now).await?;
        if before != case.matter.state {
            let dropped = (who, What::ApprovalDropped, name.as_str());
            entry::append(&mut tx, &case.id, dropped, now).await?;
        }
        self.moved(&mut tx, &mut case, now).await?;
        request.remember(&mut tx, &evidence.id, now).await?;
        tx.commit().await?;
        Ok(evidence)
    }

    /// A document. Who looked at it is written down before anything is shown.
    pub(crate) async fn look(
        &self,
        who: &str,
        (case, id): (&str, &str),
        now: SystemTime,
    ) -> Result<(Evidence, Vec<u8>), Refusal> {
        let (mut tx, case) = self.hold(case).await?;
        let all = evidence::of_case(&mut tx, &case.id).await?;
        let evidence = all.into_iter().find(|evidence| evidence.id == id);
        let evidence = evidence.ok_or(Refusal::EvidenceNotFound)?;
        let (Some(wrapped), None) = (&case.key, evidence.deleted_at) else {
            return Err(Refusal::EvidenceDeleted);
        };
        let (name, key) = (evidence.name(), self.vault.unwrap(&case.id, wrapped)?);
        let sealed = evidence::sealed(&mut tx, &case.id, id).await?;
        entry::append(&mut tx, &case.id, (who, What::EvidenceRead, &name), now).await?;
        tx.commit().await?;
        Ok((evidence, key.open(&name, sealed)?))
    }

    /// Decides on a case.
    pub(crate) async fn decide(
        &self,
        request: &Request,
        who: &str,
        (case, decision): (&str, Decision),
        now: SystemTime,
    ) -> Result<Shown, Refusal> {
        let (mut tx, mut case) = self.hold(case).await?;
        if request.answered(&mut tx).await?.is_none() {
            let shown = evidence::of_case(&mut tx, &case.id).await?;
            case.matter.shown = shown.iter().map(|evidence| evidence.kind).collect();
            case.matter.state = case.matter.step(&decision.step(who), now)?;
            self.moved(&mut tx, &mut case, now).await?;
            entry::append(&mut tx, &case.id, (who, decision.what(), ""), now).await?;
            request.remember(&mut tx, &case.id, now).await?;
            tx.commit().await?;
        } else {
            drop(tx);
        }
        self.get(&case.id).await
    }

    /// A case with its documents and its log.
    pub(crate) async fn get(&self, id: &str) -> Result<Shown, Refusal> {
        let mut connection = self.store.pool().acquire().await?;
        let case = case::find(&mut connection, id).await?;
        let case = case.ok_or(Refusal::CaseNotFound)?;
        Ok(Shown {
            evidence: evidence::of_case(&mut connection, id).await?,
            log: entry::of_case(&mut connection, id).await?,
            case,
        })
    }

    /// Cases, newest first, with their documents. Of an account that has none it is said where it lives, if that is elsewhere.
    pub(crate) async fn list(
        &self,
        filter: &Filter,
        before: &str,
        rows: u32,
    ) -> Result<Vec<Shown>, Refusal> {
        let mut connection = self.store.pool().acquire().await?;
        let mut all = Vec::new();
        for case in case::list(&mut connection, filter, before, rows).await? {
            all.push(Shown {
                evidence: evidence::of_case(&mut connection, &case.id).await?,
                log: Vec::new(),
                case,
            });
        }
        drop(connection);
        if all.is_empty() && before.is_empty() && !filter.account.is_empty() {
            self.homes.at_home(&filter.account).await?;
        }
        Ok(all)
    }

    /// Whether a case approves what is to be done, or was rejected where that is asked. If so, it is used up by that, durably, before the answer is given.
    pub(crate) async fn check(
        &self,
        asked: &CheckCase,
        now: SystemTime,
    ) -> Result<CaseStanding, Refusal> {
        let (mut tx, mut case) = match self.hold(&asked.case).await {
            Ok(held) => held,
            Err(Refusal::CaseNotFound | Refusal::AccountErased) => {
                return Ok(CaseStanding::NotFound);
            }
            Err(refusal) => return Err(refusal),
        };
        // Another account's case is as none: whoever guesses names learns nothing.
        if case.account != asked.account {
            return Ok(CaseStanding::NotFound);
        }
        let (action, used_for) = (&asked.action, asked.used_for.as_str());
        // Whoever uses it keeps no record for as long as the desk does: a late repeat would be another use.
        let stale = case.moved_at + self.periods.approval_valid <= now;
        let standing = if asked.rejected {
            match case.matter.rejection(action, used_for) {
                CaseStanding::Rejected(_) if stale => CaseStanding::Expired,
                standing => standing,
            }
        } else if stale && case.matter.is_used_by_request(used_for) {
            CaseStanding::Used
        } else {
            case.matter
                .standing(action, used_for, asked.approvals_min, now)
        };
        if !matches!(standing, CaseStanding::Stands | CaseStanding::Rejected(_)) {
            return Ok(standing);
        }
        let what = if case.matter.used_for.is_empty() {
            used_for.clone_into(&mut case.matter.used_for);
            case.matter.done = asked.done || !case.matter.wish.takes_time();
            What::Used
        } else if asked.done && !case.matter.done {
            case.matter.done = true;
            What::Done
        } else {
            return Ok(standing);
        };
        self.moved(&mut tx, &mut case, now).await?;
        entry::append(&mut tx, &case.id, (ITSELF, what, used_for), now).await?;
        tx.commit().await?;
        Ok(standing)
    }

    /// The account is kept in memory: what was granted for that is done. In the transaction that keeps the standing, which holds the
    /// account.
    pub(crate) async fn memorialized(
        &self,
        tx: &mut AnyConnection,
        account: &str,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        for case in case::of_account(tx, account).await? {
            let granted = matches!(case.matter.wish, Wish::Legacy { delete: false });
            if !granted || !case.matter.is_pending() {
                continue;
            }
            let Some(mut case) = case::hold(tx, &case.id).await? else {
                continue;
            };
            case.matter.done = true;
            self.moved(tx, &mut case, now).await?;
            let used_for = case.matter.used_for.as_str();
            entry::append(&mut *tx, &case.id, (ITSELF, What::Done, used_for), now).await?;
        }
        Ok(())
    }

    /// Writes where the case stands, and what is due next: its own end, or that of its documents.
    pub(crate) async fn moved(
        &self,
        tx: &mut AnyConnection,
        case: &mut Case,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        let matter = &case.matter;
        // That a rejection was said of something moves nothing: its documents go when they would have gone.
        if matches!(matter.state, State::Rejected { .. }) && !matter.used_for.is_empty() {
            let due = case
                .key
                .is_some()
                .then_some(case.moved_at + self.periods.evidence_kept);
            return Ok(case::write(tx, case, due).await?);
        }
        let due = match &matter.state {
            // Whoever used it says so again for as long as it could have been used.
            _ if matter.is_pending() => now + self.periods.approval_valid,
            _ if !matter.used_for.is_empty() => now + self.periods.evidence_kept,
            State::Opened | State::ApprovedOnce { .. } => case.opened_at + self.periods.case_open,
            State::Approved { .. } => now + self.periods.approval_valid,
            State::Rejected { .. } | State::Withdrawn | State::Expired => {
                now + self.periods.evidence_kept
            }
        };
        // Nobody decided anything by letting time pass: what law keeps of a decision counts from that.
        if case.matter.state != State::Expired {
            case.moved_at = now;
        }
        Ok(case::write(tx, case, Some(due)).await?)
    }

    /// Holds a case, and its account before it, as erasing does.
    async fn hold(&self, id: &str) -> Result<(Transaction<'static, Any>, Case), Refusal> {
        let mut tx = self.store.pool().begin().await?;
        let case = case::find(&mut tx, id).await?;
        let account = case.ok_or(Refusal::CaseNotFound)?.account;
        if account.is_empty() {
            return Err(Refusal::AccountErased);
        }
        seal::admit_though_sealed(&mut tx, &account).await?;
        let case = case::hold(&mut tx, id).await?;
        Ok((tx, case.ok_or(Refusal::CaseNotFound)?))
    }
}
