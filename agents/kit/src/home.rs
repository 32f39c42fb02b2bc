//! Where accounts are at home. A service that takes requests of its own, and not from coordinators alone, asks before it stores
//! anything of an account that a request names: where there are several regions it may be another one's. Before an account gives
//! something away it asks whether security has frozen it, as identity alone knows that.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use farewell_proto::ERROR_DOMAIN;
pub use farewell_proto::elsewhere::{ACCOUNT_ELSEWHERE, Elsewhere, TO_ACCOUNT_ELSEWHERE};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::session::{NO_COORDINATOR, Session};

/// `ErrorInfo.reason` where nobody can say; `cause` in its metadata says why.
const HOME_UNKNOWN: &str = "HOME_UNKNOWN";
/// When to ask again where nobody can say.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why nothing of an account may be stored here. `Display` is for callers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHere {
    /// Its home is another region.
    #[error("{0}")]
    Elsewhere(Elsewhere),
    /// Nobody can say where it is, and it might be another one's: a stable machine word, for instance `NO_COORDINATOR`. Ask again later.
    #[error(
        "nobody can say now where the account's home is, or whether it is frozen; the same request may be sent again"
    )]
    Unknown(String),
}

/// What callers are told, at every port the same.
impl From<&NotHere> for Status {
    fn from(not_here: &NotHere) -> Self {
        let (code, details) = match not_here {
            NotHere::Elsewhere(home) => (
                Code::FailedPrecondition,
                ErrorDetails::with_error_info(ACCOUNT_ELSEWHERE, ERROR_DOMAIN, home.metadata()),
            ),
            NotHere::Unknown(cause) => {
                tracing::warn!(
                    cause,
                    "nobody says where an account's home is, or whether it is frozen"
                );
                let cause = HashMap::from([("cause".to_owned(), cause.clone())]);
                let mut details = ErrorDetails::with_error_info(HOME_UNKNOWN, ERROR_DOMAIN, cause);
                details.set_retry_info(Some(RETRY_AFTER));
                (Code::Unavailable, details)
            }
        };
        Self::with_error_details(code, not_here.to_string(), details)
    }
}

/// What is said of an account whose home is here, or that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Here {
    pub frozen_by_security: bool,
}

/// Who knows where accounts are at home: a coordinator, through the participant's session.
#[async_trait]
pub trait Homes: fmt::Debug + Send + Sync + 'static {
    /// Returns if the account's home is this region, or nobody knows the account.
    async fn at_home(&self, account: &str) -> Result<(), NotHere>;

    /// Whether security has frozen the account: whoever asks in its name may be who it was frozen for. Where only one region is, it is
    /// asked, too. Of an account whose home is elsewhere nobody here knows it: `false`.
    ///
    /// Errors: nobody can say.
    async fn is_frozen_out(&self, account: &str) -> Result<bool, NotHere>;
}

/// There is no other region, and nobody freezes an account.
#[derive(Clone, Copy, Debug)]
pub struct OnlyRegion;

#[async_trait]
impl Homes for OnlyRegion {
    async fn at_home(&self, _account: &str) -> Result<(), NotHere> {
        Ok(())
    }

    async fn is_frozen_out(&self, _account: &str) -> Result<bool, NotHere> {
        Ok(false)
    }
}

/// For who opens before its session: until there is one, nobody can say.
#[async_trait]
impl Homes for OnceLock<Session> {
    async fn at_home(&self, account: &str) -> Result<(), NotHere> {
        match self.get() {
            Some(session) => session.at_home(account).await,
            None => Err(NotHere::Unknown(NO_COORDINATOR.to_owned())),
        }
    }

    async fn is_frozen_out(&self, account: &str) -> Result<bool, NotHere> {
        match self.get() {
            Some(session) => session.is_frozen_out(account).await,
            None => Err(NotHere::Unknown(NO_COORDINATOR.to_owned())),
        }
    }
}
