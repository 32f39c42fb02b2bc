//! An archive on its way to a caller: a piece is asked for when there is room for it, so that a slow reader costs no memory.

use std::sync::Arc;
use std::time::Duration;

use farewell_core::AccountId;
use farewell_proto::account::v1::DownloadExportResponse;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::export::{self, Name};
use super::{READ_MAX, within};
use crate::center::Center;
use crate::error;

/// Downloads of one coordinator at a time: each holds [`PIECES_MAX`] pieces of 256 KiB.
const DOWNLOADS_MAX: usize = 64;
/// Pieces that a slow reader may be behind.
const PIECES_MAX: usize = 2;
/// How often the custodian is asked again for a piece that it gave no answer about.
const TRIES_MAX: u32 = 10;
/// Between two of these.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// How long a reader may take to read on.
const READ_ON_MAX: Duration = Duration::from_secs(60);

/// Room for downloads.
#[derive(Debug)]
pub struct Downloads(Arc<Semaphore>);

impl Default for Downloads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(DOWNLOADS_MAX)))
    }
}

type Piece = Result<DownloadExportResponse, Status>;

/// A download that has its place and its first piece.
pub struct Download {
    name: Name,
    account: AccountId,
    first: DownloadExportResponse,
    pieces: mpsc::Sender<Piece>,
    _place: OwnedSemaphorePermit,
}

impl Downloads {
    /// Begins a download after so many bytes.
    ///
    /// Errors: `TOO_MANY_DOWNLOADS`, and what the custodian says.
    pub async fn begin(
        &self,
        center: &Center,
        name: Name,
        account: AccountId,
        offset: i64,
    ) -> Result<(Download, mpsc::Receiver<Piece>), Status> {
        let place = Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            error::exhausted(
                "TOO_MANY_DOWNLOADS",
                "this coordinator has all the downloads that it can carry",
            )
        })?;
        let first = within(READ_MAX, export::read(center, &name, &account, offset)).await?;
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        let download = Download {
            name,
            account,
            first,
            pieces,
            _place: place,
        };
        Ok((download, receiver))
    }
}

impl Download {
    /// Sends every piece, or says why not.
    pub async fn carry(self, center: &Center) {
        let digest = self.first.sha256.clone();
        let mut next = Ok(self.first);
        loop {
            let piece: DownloadExportResponse = match next {
                Ok(piece) => piece,
                Err(status) => {
                    let _ = self.pieces.send(Err(status)).await;
                    return;
                }
            };
            let sent = i64::try_from(piece.content.len()).unwrap_or(i64::MAX);
            let (end, size) = (piece.offset.saturating_add(sent), piece.size_bytes);
            // An empty piece is sent, too: it says size and digest to whoever has everything.
            // Whoever reads no more gives the place to others, and can go on later.
            let taken = timeout(READ_ON_MAX, self.pieces.send(Ok(piece))).await;
            if !matches!(taken, Ok(Ok(()))) || end >= size || sent == 0 {
                return;
            }
            next = patient(center, &self.name, &self.account, end).await;
            if next.as_ref().is_ok_and(|piece| piece.sha256 != digest) {
                next = Err(error::unavailable(
                    "ARCHIVE_CHANGED",
                    "the archive is another one by now; begin again",
                ));
            }
        }
    }
}

/// A custodian that restarts is waited for.
async fn patient(center: &Center, name: &Name, account: &AccountId, offset: i64) -> Piece {
    let mut tries = 0;
    loop {
        match export::read(center, name, account, offset).await {
            Err(status) if status.code() == Code::Unavailable && tries < TRIES_MAX => {
                tries += 1;
                tokio::time::sleep(TRY_AGAIN).await;
            }
            answer => return answer,
        }
    }
}
