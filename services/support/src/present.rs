//! What goes to the wire.

use farewell_proto::support::v1 as api;

use crate::desk::Shown;
use crate::entry::Entry;
use crate::evidence::Evidence;
use crate::state::{Rejection, State};
use crate::wish::{Document, Wish};

/// A case.
pub(crate) fn case(shown: Shown) -> api::Case {
    let Shown {
        case,
        evidence,
        log,
    } = shown;
    let matter = case.matter;
    let documents: Vec<Document> = evidence.iter().map(|evidence| evidence.kind).collect();
    let name = |id: &str| match id {
        "" => String::new(),
        id => format!("accounts/{id}"),
    };
    let mut shown = api::Case {
        name: format!("cases/{}", case.id),
        account: name(&case.account),
        state: state(&matter.state).into(),
        to_account: name(&matter.to_account),
        approved_by: matter.state.approved_by().to_vec(),
        open_time: Some(case.opened_at.into()),
        expire_time: matter.expires_at.map(Into::into),
        missing: matter
            .wish
            .missing(&documents)
            .into_iter()
            .map(|document| kind(document).into())
            .collect(),
        opened_by: matter.opened_by,
        used_for: matter.used_for,
        evidence: evidence.into_iter().map(self::evidence).collect(),
        log: log.into_iter().map(entry).collect(),
        ..Default::default()
    };
    if let State::Rejected { reason } = matter.state {
        shown.set_rejection_reason(match reason {
            Rejection::Unreadable => api::RejectionReason::Unreadable,
            Rejection::Forged => api::RejectionReason::Forged,
            Rejection::NotTheOwner => api::RejectionReason::NotTheOwner,
            Rejection::NotGranted => api::RejectionReason::NotGranted,
        });
    }
    let kind = match matter.wish {
        Wish::DeletionOnDocuments => api::CaseKind::DeletionOnDocuments,
        Wish::LostAccess => api::CaseKind::LostAccess,
        Wish::RealName => api::CaseKind::RealName,
        Wish::Unmemorialize => api::CaseKind::Unmemorialize,
        Wish::Export => api::CaseKind::Export,
        Wish::Revoke => api::CaseKind::Revoke,
        Wish::Extension { reason } => {
            shown.codes = vec![reason];
            api::CaseKind::Extension
        }
        Wish::Unbind { device } => {
            shown.device = device;
            api::CaseKind::Unbind
        }
        Wish::Legacy { delete } => {
            shown.set_legacy_outcome(match delete {
                true => api::LegacyOutcome::Delete,
                false => api::LegacyOutcome::Memorialize,
            });
            api::CaseKind::Legacy
        }
        Wish::Override { codes } => {
            shown.codes = codes;
            api::CaseKind::Override
        }
        Wish::Transfer { belongings } => {
            let number = |word: &String| {
                let full = format!("BELONGING_{word}");
                api::Belonging::from_str_name(&full).map(i32::from)
            };
            shown.belongings = belongings.iter().filter_map(number).collect();
            api::CaseKind::Transfer
        }
    };
    shown.set_kind(kind);
    shown
}

/// A document, without its bytes.
pub(crate) fn evidence(evidence: Evidence) -> api::Evidence {
    api::Evidence {
        name: evidence.name(),
        kind: kind(evidence.kind).into(),
        media_type: evidence.media_type,
        size_bytes: evidence.size_bytes,
        added_by: evidence.added_by,
        add_time: Some(evidence.added_at.into()),
        delete_time: evidence.deleted_at.map(Into::into),
    }
}

fn entry(entry: Entry) -> api::CaseEntry {
    api::CaseEntry {
        number: entry.number,
        time: Some(entry.at.into()),
        who: entry.who,
        what: entry.what,
        subject: entry.subject,
    }
}

const fn state(state: &State) -> api::CaseState {
    match state {
        State::Opened => api::CaseState::Opened,
        State::ApprovedOnce { .. } => api::CaseState::ApprovedOnce,
        State::Approved { .. } => api::CaseState::Approved,
        State::Rejected { .. } => api::CaseState::Rejected,
        State::Withdrawn => api::CaseState::Withdrawn,
        State::Expired => api::CaseState::Expired,
    }
}

const fn kind(document: Document) -> api::EvidenceKind {
    match document {
        Document::Identity => api::EvidenceKind::IdentityDocument,
        Document::PurchaseProof => api::EvidenceKind::PurchaseProof,
        Document::DeathCertificate => api::EvidenceKind::DeathCertificate,
        Document::RelationshipProof => api::EvidenceKind::RelationshipProof,
        Document::Other => api::EvidenceKind::Other,
    }
}
