//! What the custodian of archives is asked, and says.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;

use super::Fault;

/// Makes archives of what everybody holds of an account, and keeps them until they expire. One participant does.
///
/// Every method may be called many times with the same export.
#[async_trait]
pub trait Custodian: Send + Sync + 'static {
    /// Begins an export, durably, or says how far it is if it was begun before.
    async fn start(&self, request: &StartExport) -> Result<Result<Export, NotExported>, Fault>;

    /// How far an export of the account is. No side effects.
    async fn get(&self, account: &str, export: &str) -> Result<Result<Export, NotExported>, Fault>;

    /// Ends an export and erases what there is of it.
    async fn cancel(
        &self,
        account: &str,
        export: &str,
    ) -> Result<Result<Export, NotExported>, Fault>;

    /// The archive's next bytes after so many. No side effects.
    async fn read(
        &self,
        account: &str,
        export: &str,
        offset: u64,
    ) -> Result<Result<ExportRead, NotExported>, Fault>;
}

/// "Make an archive." Its `Debug` never shows the account.
#[derive(Clone, PartialEq, Eq)]
pub struct StartExport {
    /// The account's id.
    pub account: String,
    /// `exports/{export}`: the same name again is the same export.
    pub export: String,
    /// Who is asked; at least one.
    pub participants: Vec<String>,
    /// The language of what a person reads first, `en` or `zh`; others are read as `en`.
    pub language: String,
    /// The support desk has approved it: the account may be frozen.
    pub though_frozen: bool,
}

impl fmt::Debug for StartExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartExport")
            .field("export", &self.export)
            .field("participants", &self.participants)
            .field("though_frozen", &self.though_frozen)
            .finish_non_exhaustive()
    }
}

/// How far an export is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// `exports/{export}`.
    pub name: String,
    pub state: ExportState,
    /// For [`ExportState::Failed`]: a stable machine word.
    pub reason: String,
    /// By name.
    pub sources: Vec<ExportSource>,
    /// For [`ExportState::Ready`]: the archive's size.
    pub size_bytes: u64,
    /// For [`ExportState::Ready`]: the archive's SHA-256.
    pub sha256: Vec<u8>,
    pub begin: SystemTime,
    /// `None` while it runs.
    pub end: Option<SystemTime>,
    /// When it is given up while it runs, or the archive erased that is ready.
    pub expires: Option<SystemTime>,
}

/// What becomes of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportState {
    Running,
    Ready,
    Failed,
    Cancelled,
    Expired,
}

/// One participant of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportSource {
    pub participant: String,
    /// It has given its last part.
    pub done: bool,
    /// It gave no answer the last time that it was asked.
    pub away: bool,
    pub items: i64,
    /// Before they are packed.
    pub size_bytes: u64,
}

/// Some bytes of an archive.
#[derive(Clone, PartialEq, Eq)]
pub struct ExportRead {
    /// Empty at the end.
    pub content: Vec<u8>,
    /// The archive's size.
    pub size_bytes: u64,
    /// The archive's SHA-256.
    pub sha256: Vec<u8>,
}

/// Why nothing is exported. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotExported {
    /// The account has no such export.
    NotFound,
    /// The account is being deleted, or was.
    Sealed,
    /// Its owner has frozen the account, or has died, and the support desk has approved nothing.
    Frozen,
    /// Another export of the account is under way: this one.
    Running(String),
    /// Of the account, or of everybody.
    TooMany,
    /// The name is another account's export.
    Reused,
    /// There is no archive, or none yet.
    NotReady,
    /// The archive has no such byte.
    OutOfRange,
    /// What is kept was changed or cut, or is another's: it doesn't open, and nothing of it is given.
    Damaged,
    /// The archive lies under a key that the custodian wasn't given.
    KeyUnknown,
}
