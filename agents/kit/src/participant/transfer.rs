//! What a participant is asked to move from one account to another.

use std::fmt;
use std::time::SystemTime;

/// Kinds of things that can move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Belonging {
    /// In points.
    Points,
    /// Those that can still be used.
    Coupons,
    /// Completed ones, without name and address of who got them.
    Orders,
    /// In hundredths of the currency.
    StoreCredit,
    /// Active subscriptions, and entitlements that are not tied to a real name.
    Memberships,
}

impl Belonging {
    /// As stored: `STORE_CREDIT`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Points => "POINTS",
            Self::Coupons => "COUPONS",
            Self::Orders => "ORDERS",
            Self::StoreCredit => "STORE_CREDIT",
            Self::Memberships => "MEMBERSHIPS",
        }
    }
}

/// "Move everything of these kinds to another account." Its `Debug` never shows an account.
#[derive(Clone, PartialEq, Eq)]
pub struct TransferBelongings {
    /// The id of the account that has them.
    pub account: String,
    /// The id of the account that gets them: another one.
    pub to_account: String,
    /// `requests/{request_id}`: the same name again is answered as the first time.
    pub name: String,
    /// What moves. Never empty, and each once.
    pub belongings: Vec<Belonging>,
    /// `cases/{case}` that approved it; empty in a dry run.
    pub case: String,
    /// Changes nothing: only looks.
    pub dry_run: bool,
}

impl fmt::Debug for TransferBelongings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransferBelongings")
            .field("name", &self.name)
            .field("belongings", &self.belongings)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// One kind: what moved and what is left are all that there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Moved {
    /// What.
    pub belonging: Belonging,
    /// How much moved; 0 or more.
    pub moved: i64,
    /// How much stays behind; 0 or more.
    pub left: i64,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transferred {
    /// To a dry run: what would move.
    Found { belongings: Vec<Moved> },
    /// Moved durably, now or by the same request before.
    Done {
        belongings: Vec<Moved>,
        at: SystemTime,
    },
    /// Nothing was changed. Not for good: what is in the way may go.
    Refused {
        /// Stable machine word, for instance `ORDER_IN_TRANSIT`.
        reason: &'static str,
    },
}
