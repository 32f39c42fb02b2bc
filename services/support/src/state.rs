//! Where a case stands, and the one transition. Pure: who did it and when come in as arguments.
//!
//! What the desk grants is irreversible in its effects, so no one person grants it: who opened a case never approves it,
//! nobody approves twice, and what was approved was all there was to see. An approval is used once.

use std::time::SystemTime;

use farewell_kit::{CaseAction, CaseStanding};

use crate::wish::{Document, Wish};

/// What is decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matter {
    pub wish: Wish,
    /// The account that things move to; empty for other wishes.
    pub to_account: String,
    pub opened_by: String,
    pub state: State,
    /// When it ends by itself: an open case, an approval that nobody has used, or one of whose use nobody says that it is done.
    /// `None`: it doesn't.
    pub expires_at: Option<SystemTime>,
    /// What the approval was used for; empty until then.
    pub used_for: String,
    /// Whether that is done, as far as the desk can know. Nothing is, before it is used.
    pub done: bool,
    /// Documents that were shown.
    pub shown: Vec<Document>,
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Opened,
    ApprovedOnce { by: String },
    Approved { by: [String; 2] },
    Rejected { reason: Rejection },
    Withdrawn,
    Expired,
}

/// Why a case was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    Unreadable,
    Forged,
    NotTheOwner,
    NotGranted,
}

/// What somebody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    Show(Document),
    Approve { by: &'a str },
    Reject(Rejection),
    Withdraw,
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the case is closed")]
    Closed,
    #[error("documents are missing")]
    EvidenceMissing(Vec<Document>),
    #[error("who opened a case does not approve it")]
    OwnCase,
    #[error("the second person is another one than the first")]
    SamePerson,
}

impl State {
    /// As stored.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Opened => "OPENED",
            Self::ApprovedOnce { .. } => "APPROVED_ONCE",
            Self::Approved { .. } => "APPROVED",
            Self::Rejected { .. } => "REJECTED",
            Self::Withdrawn => "WITHDRAWN",
            Self::Expired => "EXPIRED",
        }
    }

    /// Who has approved it, in order.
    pub fn approved_by(&self) -> &[String] {
        match self {
            Self::ApprovedOnce { by } => std::slice::from_ref(by),
            Self::Approved { by } => by,
            Self::Opened | Self::Rejected { .. } | Self::Withdrawn | Self::Expired => &[],
        }
    }

    /// Whether nobody has the last word on it yet.
    const fn open(&self) -> bool {
        matches!(
            self,
            Self::Opened | Self::ApprovedOnce { .. } | Self::Approved { .. }
        )
    }
}

impl Matter {
    /// Whether something can still come of it.
    pub fn is_open(&self, now: SystemTime) -> bool {
        self.state.open() && self.used_for.is_empty() && !self.is_over(now)
    }

    /// Whether it was used by this request, which has no other name than its id.
    pub fn is_used_by_request(&self, used_for: &str) -> bool {
        self.used_for == used_for && used_for.starts_with("requests/")
    }

    /// Whether it is used for what is not done yet.
    pub fn is_pending(&self) -> bool {
        !self.used_for.is_empty() && !self.done
    }

    /// Whether a deletion would come between what it asks for and its being done.
    pub fn is_unsettled(&self, now: SystemTime) -> bool {
        self.is_open(now) || (self.is_pending() && !self.is_over(now))
    }

    /// Whether its time is up, whether or not that has been written down.
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }

    /// Where it stands after `step`. The last arms refuse.
    pub fn step(&self, step: &Step<'_>, now: SystemTime) -> Result<State, Refused> {
        if !self.is_open(now) {
            return Err(Refused::Closed);
        }
        match (&self.state, step) {
            (State::Opened, Step::Show(_)) => Ok(State::Opened),
            // The first approval was of less than there is now.
            (State::ApprovedOnce { .. }, Step::Show(_)) => Ok(State::Opened),
            (State::Opened | State::ApprovedOnce { .. }, Step::Approve { by }) => self.approve(by),
            (_, Step::Reject(reason)) => Ok(State::Rejected { reason: *reason }),
            (_, Step::Withdraw) => Ok(State::Withdrawn),
            (_, Step::Show(_) | Step::Approve { .. }) => Err(Refused::Closed),
        }
    }

    fn approve(&self, by: &str) -> Result<State, Refused> {
        let missing = self.wish.missing(&self.shown);
        if !missing.is_empty() {
            return Err(Refused::EvidenceMissing(missing));
        }
        if by == self.opened_by {
            return Err(Refused::OwnCase);
        }
        match &self.state {
            State::ApprovedOnce { by: first } if first == by => Err(Refused::SamePerson),
            State::ApprovedOnce { by: first } => Ok(State::Approved {
                by: [first.clone(), by.to_owned()],
            }),
            _ => Ok(State::ApprovedOnce { by: by.to_owned() }),
        }
    }

    /// Whether it approves `action` for `used_for`, by at least `approvals_min` people. The same use stands again, also when the
    /// approval's time is up by then.
    pub fn standing(
        &self,
        action: &CaseAction,
        used_for: &str,
        approvals_min: u32,
        now: SystemTime,
    ) -> CaseStanding {
        let approvals = self.state.approved_by().len();
        let again = !self.used_for.is_empty() && self.used_for == used_for;
        if self.state == State::Expired || (!again && self.is_over(now)) {
            CaseStanding::Expired
        } else if u32::try_from(approvals).unwrap_or(0) < approvals_min.max(1) {
            CaseStanding::NotApproved
        } else if !self.wish.covers(action, &self.to_account) {
            CaseStanding::NotForThis
        } else if again || self.used_for.is_empty() {
            CaseStanding::Stands
        } else {
            CaseStanding::Used
        }
    }
}

impl Matter {
    /// Whether it asked for `action` and was rejected. That is said of one use, as an approval is.
    pub fn rejection(&self, action: &CaseAction, used_for: &str) -> CaseStanding {
        let State::Rejected { reason } = self.state else {
            return CaseStanding::NotApproved;
        };
        if !self.wish.covers(action, &self.to_account) {
            CaseStanding::NotForThis
        } else if self.used_for.is_empty() || self.used_for == used_for {
            CaseStanding::Rejected(reason.word())
        } else {
            CaseStanding::Used
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn now() -> SystemTime {
        UNIX_EPOCH + HOUR * 500_000
    }

    fn matter(shown: &[Document]) -> Matter {
        Matter {
            wish: Wish::LostAccess,
            to_account: String::new(),
            opened_by: "ana".to_owned(),
            state: State::Opened,
            expires_at: Some(now() + HOUR),
            used_for: String::new(),
            done: false,
            shown: shown.to_vec(),
        }
    }

    fn whole() -> Matter {
        matter(&[Document::Identity, Document::PurchaseProof])
    }

    fn after(matter: &Matter, step: &Step<'_>) -> Result<Matter, Refused> {
        let mut next = matter.clone();
        next.state = matter.step(step, now())?;
        if let Step::Show(document) = step {
            next.shown.push(*document);
        }
        Ok(next)
    }

    fn approved() -> Matter {
        let once = after(&whole(), &Step::Approve { by: "bo" }).unwrap();
        after(&once, &Step::Approve { by: "chi" }).unwrap()
    }

    #[test]
    fn two_people_approve_and_neither_opened_it_nor_was_the_other() {
        let opened = whole();
        assert_eq!(
            opened.step(&Step::Approve { by: "ana" }, now()),
            Err(Refused::OwnCase)
        );
        let once = after(&opened, &Step::Approve { by: "bo" }).unwrap();
        assert_eq!(
            once.step(&Step::Approve { by: "bo" }, now()),
            Err(Refused::SamePerson)
        );
        assert_eq!(
            once.step(&Step::Approve { by: "ana" }, now()),
            Err(Refused::OwnCase)
        );
        assert_eq!(approved().state.approved_by(), ["bo", "chi"]);
    }

    #[test]
    fn nobody_approves_before_all_is_shown_and_a_new_document_undoes_the_first_approval() {
        let some = matter(&[Document::Identity]);
        assert_eq!(
            some.step(&Step::Approve { by: "bo" }, now()),
            Err(Refused::EvidenceMissing(vec![Document::PurchaseProof]))
        );
        let once = after(&whole(), &Step::Approve { by: "bo" }).unwrap();
        let more = after(&once, &Step::Show(Document::Other)).unwrap();
        assert_eq!(more.state, State::Opened);
        // The same person may approve the whole of it then.
        after(&more, &Step::Approve { by: "bo" }).unwrap();
        assert_eq!(
            approved().step(&Step::Show(Document::Other), now()),
            Err(Refused::Closed),
            "two have decided on what they saw"
        );
    }

    #[test]
    fn an_approval_is_for_one_action_of_one_use() {
        let mut case = approved();
        let standing =
            |case: &Matter, action, used_for: &str, at| case.standing(&action, used_for, 2, at);
        use CaseStanding as S;
        assert_eq!(
            standing(&case, CaseAction::DeleteLegacy, "deletions/1", now()),
            S::NotForThis
        );
        assert_eq!(
            standing(&case, CaseAction::Delete, "deletions/1", now()),
            S::Stands
        );
        case.used_for = "deletions/1".to_owned();
        for (used_for, expected) in [("deletions/1", S::Stands), ("deletions/2", S::Used)] {
            assert_eq!(
                standing(&case, CaseAction::Delete, used_for, now()),
                expected
            );
        }
        // What was used is not taken back by time, nor by anybody of the desk.
        assert_eq!(
            standing(&case, CaseAction::Delete, "deletions/1", now() + HOUR * 9),
            S::Stands
        );
        assert_eq!(case.step(&Step::Withdraw, now()), Err(Refused::Closed));
    }

    #[test]
    fn one_approval_is_enough_only_where_one_is_asked_for() {
        let mut case = whole();
        case.wish = Wish::Override {
            codes: vec!["POINTS_LEFT".to_owned()],
        };
        let action = CaseAction::OverrideBlockers(vec!["POINTS_LEFT".to_owned()]);
        let stands = |case: &Matter, people| case.standing(&action, "deletions/1", people, now());
        for none in [0, 1, 2] {
            assert_eq!(stands(&case, none), CaseStanding::NotApproved);
        }
        let once = after(&case, &Step::Approve { by: "bo" }).unwrap();
        assert_eq!(stands(&once, 1), CaseStanding::Stands);
        assert_eq!(stands(&once, 2), CaseStanding::NotApproved);
    }

    #[test]
    fn a_rejection_is_of_what_was_asked_and_said_of_one_deletion() {
        let said = |case: &Matter, action, used_for: &str| case.rejection(&action, used_for);
        use CaseStanding as S;
        assert_eq!(
            said(&approved(), CaseAction::Delete, "deletions/1"),
            S::NotApproved,
            "two have approved it"
        );
        let mut case = after(&whole(), &Step::Reject(Rejection::NotTheOwner)).unwrap();
        let (relatives, owner) = (CaseAction::DeleteLegacy, CaseAction::Delete);
        assert_eq!(said(&case, relatives, "deletions/1"), S::NotForThis);
        case.used_for = "deletions/1".to_owned();
        for (used_for, expected) in [
            ("deletions/1", S::Rejected("NOT_THE_OWNER")),
            ("deletions/2", S::Used),
        ] {
            assert_eq!(said(&case, owner.clone(), used_for), expected);
        }
    }

    #[test]
    fn what_is_over_is_over() {
        let (case, late) = (approved(), now() + HOUR);
        assert_eq!(
            case.standing(&CaseAction::Delete, "deletions/1", 2, late),
            CaseStanding::Expired
        );
        assert_eq!(
            whole().step(&Step::Approve { by: "bo" }, late),
            Err(Refused::Closed)
        );
        let rejected = after(&case, &Step::Reject(Rejection::Forged)).unwrap();
        assert_eq!(
            rejected.standing(&CaseAction::Delete, "deletions/1", 2, now()),
            CaseStanding::NotApproved
        );
        for step in [
            Step::Show(Document::Other),
            Step::Approve { by: "dan" },
            Step::Reject(Rejection::Forged),
            Step::Withdraw,
        ] {
            assert_eq!(rejected.step(&step, now()), Err(Refused::Closed));
        }
    }
}
