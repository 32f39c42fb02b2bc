//! What a case asks for, and what must be shown before anybody may grant it.

use farewell_kit::CaseAction;
use serde::{Deserialize, Serialize};

/// Kinds of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Document {
    /// An identity card or passport.
    Identity,
    /// An invoice, or the box with its serial number.
    PurchaseProof,
    DeathCertificate,
    RelationshipProof,
    Other,
}

impl Document {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Identity, "IDENTITY_DOCUMENT"),
        (Self::PurchaseProof, "PURCHASE_PROOF"),
        (Self::DeathCertificate, "DEATH_CERTIFICATE"),
        (Self::RelationshipProof, "RELATIONSHIP_PROOF"),
        (Self::Other, "OTHER"),
    ];

    /// As stored.
    pub fn word(self) -> &'static str {
        let entry = Self::ALL.iter().find(|(kind, _)| *kind == self);
        entry.map_or("OTHER", |(_, word)| word)
    }

    /// From the stored word.
    pub fn of(word: &str) -> Option<Self> {
        let entry = Self::ALL.iter().find(|(_, known)| *known == word);
        entry.map(|(kind, _)| *kind)
    }
}

/// What somebody asks the desk for. Whose account it is stands beside it, and so does the account that things move to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Wish {
    /// Delete the account, for what self-service refuses.
    DeletionOnDocuments,
    /// Delete an account whose owner can no longer log in.
    LostAccess,
    /// The owner has died.
    Legacy {
        /// Relatives ask in so many words for the deletion; otherwise the account is kept in memory.
        delete: bool,
    },
    /// A deletion goes on in spite of these blockers.
    Override { codes: Vec<String> },
    /// These move to another account.
    Transfer { belongings: Vec<String> },
    /// Real-name information is cleared.
    RealName,
    /// The account was memorialised, and its owner lives.
    Unmemorialize,
    /// This device is unbound, `lines/{line}/devices/{device}`. Empty once the account is erased.
    Unbind { device: String },
    /// A copy of the account's data is given out, though nobody can log in.
    Export,
    /// A deletion is taken back for a person who can't.
    Revoke,
    /// A deletion's deadline is extended, for this reason.
    Extension { reason: String },
}

impl Wish {
    /// The kind, as stored beside it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::DeletionOnDocuments => "DELETION_ON_DOCUMENTS",
            Self::LostAccess => "LOST_ACCESS",
            Self::Legacy { .. } => "LEGACY",
            Self::Override { .. } => "OVERRIDE",
            Self::Transfer { .. } => "TRANSFER",
            Self::RealName => "REAL_NAME",
            Self::Unmemorialize => "UNMEMORIALIZE",
            Self::Unbind { .. } => "UNBIND",
            Self::Export => "EXPORT",
            Self::Revoke => "REVOKE",
            Self::Extension { .. } => "EXTENSION",
        }
    }

    /// Whether using it is only the beginning: the desk is told when it is done.
    pub const fn takes_time(&self) -> bool {
        matches!(self, Self::Transfer { .. } | Self::Legacy { delete: false })
    }

    /// What must still be shown, after `shown`. Blockers are of many kinds, so that for them any document will do; and so for what
    /// undoes everything. An extension is the desk's own wish.
    pub fn missing(&self, shown: &[Document]) -> Vec<Document> {
        let needed: &[Document] = match self {
            Self::DeletionOnDocuments | Self::LostAccess => {
                &[Document::Identity, Document::PurchaseProof]
            }
            Self::Legacy { .. } => &[Document::DeathCertificate, Document::RelationshipProof],
            Self::Transfer { .. }
            | Self::RealName
            | Self::Unmemorialize
            | Self::Unbind { .. }
            | Self::Export => &[Document::Identity],
            Self::Override { .. } | Self::Revoke if shown.is_empty() => &[Document::Other],
            Self::Override { .. } | Self::Revoke | Self::Extension { .. } => &[],
        };
        let missing = needed.iter().filter(|needed| !shown.contains(needed));
        missing.copied().collect()
    }

    /// Whether who grants this grants that. `to_account` is the case's.
    pub fn covers(&self, action: &CaseAction, to_account: &str) -> bool {
        match (self, action) {
            (Self::DeletionOnDocuments | Self::LostAccess, CaseAction::Delete)
            | (Self::Legacy { delete: true }, CaseAction::DeleteLegacy)
            | (Self::Legacy { delete: false }, CaseAction::Memorialize)
            | (Self::RealName, CaseAction::ClearRealName)
            | (Self::Unmemorialize, CaseAction::Unmemorialize)
            | (Self::Export, CaseAction::Export)
            | (Self::Revoke, CaseAction::RevokeDeletion) => true,
            (Self::Extension { reason }, CaseAction::ExtendDeadline(asked)) => reason == asked,
            (Self::Unbind { device }, CaseAction::UnbindDevice(asked)) => device == asked,
            (Self::Override { codes }, CaseAction::OverrideBlockers(asked)) => {
                !asked.is_empty() && asked.iter().all(|code| codes.contains(code))
            }
            (
                Self::Transfer { belongings },
                CaseAction::TransferBelongings {
                    to_account: to,
                    belongings: asked,
                },
            ) => {
                to == to_account
                    && !asked.is_empty()
                    && asked.iter().all(|item| belongings.contains(item))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blockers(codes: &[&str]) -> Vec<String> {
        codes.iter().map(|code| (*code).to_owned()).collect()
    }

    #[test]
    fn each_kind_needs_its_own_documents() {
        let legacy = Wish::Legacy { delete: false };
        assert_eq!(
            legacy.missing(&[Document::Identity, Document::DeathCertificate]),
            [Document::RelationshipProof]
        );
        let lost = Wish::LostAccess;
        assert_eq!(
            lost.missing(&[]),
            [Document::Identity, Document::PurchaseProof]
        );
        assert!(
            lost.missing(&[Document::PurchaseProof, Document::Identity])
                .is_empty()
        );
        assert_eq!(Wish::Revoke.missing(&[]), [Document::Other]);
        let codes = Wish::Override {
            codes: blockers(&["OPEN_DISPUTE"]),
        };
        assert_eq!(codes.missing(&[]), [Document::Other]);
        assert!(codes.missing(&[Document::PurchaseProof]).is_empty());
    }

    #[test]
    fn a_grant_covers_what_was_asked_for_and_nothing_else() {
        let memory = Wish::Legacy { delete: false };
        assert!(memory.covers(&CaseAction::Memorialize, ""));
        assert!(!memory.covers(&CaseAction::DeleteLegacy, ""), "not said");
        assert!(!memory.covers(&CaseAction::Delete, ""));
        let mistake = Wish::Unmemorialize;
        assert!(mistake.covers(&CaseAction::Unmemorialize, ""));
        assert!(!mistake.covers(&CaseAction::Memorialize, ""));
        assert!(!memory.covers(&CaseAction::Unmemorialize, ""));
        assert!(Wish::Export.covers(&CaseAction::Export, ""));
        assert!(!Wish::Export.covers(&CaseAction::Delete, ""));
        for other in [&memory, &mistake, &Wish::LostAccess, &Wish::RealName] {
            assert!(!other.covers(&CaseAction::Export, ""));
        }
        let codes = Wish::Override {
            codes: blockers(&["OPEN_DISPUTE", "POINTS_LEFT"]),
        };
        let asked = |codes: &[&str]| CaseAction::OverrideBlockers(blockers(codes));
        assert!(codes.covers(&asked(&["POINTS_LEFT"]), ""));
        assert!(!codes.covers(&asked(&["POINTS_LEFT", "WALLET_BALANCE"]), ""));
        assert!(!codes.covers(&asked(&[]), ""), "nothing is no question");
        let unbound = Wish::Unbind {
            device: "lines/phones/devices/p-1".to_owned(),
        };
        for (device, granted) in [("p-1", true), ("p-2", false)] {
            let asked = CaseAction::UnbindDevice(format!("lines/phones/devices/{device}"));
            assert_eq!(unbound.covers(&asked, ""), granted, "{device}");
        }
        assert!(Wish::Revoke.covers(&CaseAction::RevokeDeletion, ""));
        assert!(!Wish::Revoke.covers(&CaseAction::Delete, ""));
        let longer = Wish::Extension {
            reason: "COMPLEXITY".to_owned(),
        };
        let extend = |reason: &str| CaseAction::ExtendDeadline(reason.to_owned());
        assert!(longer.covers(&extend("COMPLEXITY"), ""));
        assert!(!longer.covers(&extend("NUMBER_OF_REQUESTS"), ""));
        let points = Wish::Transfer {
            belongings: blockers(&["POINTS"]),
        };
        let moved = |to: &str, what: &[&str]| CaseAction::TransferBelongings {
            to_account: to.to_owned(),
            belongings: blockers(what),
        };
        assert!(points.covers(&moved("b", &["POINTS"]), "b"));
        assert!(!points.covers(&moved("c", &["POINTS"]), "b"));
        assert!(!points.covers(&moved("b", &["COUPONS"]), "b"));
    }

    #[test]
    fn every_document_reads_back() {
        for (document, word) in Document::ALL {
            assert_eq!(document.word(), word);
            assert_eq!(Document::of(word), Some(document));
        }
        assert_eq!(Document::of("SELFIE"), None);
    }
}
