//! Streams of what is looked at again and again until it is over, as nobody says when it changes: a product line, or another
//! coordinator, has it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use farewell_interpreter::Language;
use farewell_runtime::shutdown::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::explain::Explain;
use super::within;
use crate::center::Center;
use crate::error;

/// Watchers of one coordinator: each asks the product line again and again.
const WATCHERS_MAX: usize = 256;
/// Changes that a slow watcher may be behind.
const QUEUE_MESSAGES_MAX: usize = 16;
/// How often it is looked at: devices take seconds to days.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a watcher gets.
pub type Watch<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What can be looked at.
pub trait Watched: Send + Sync + 'static {
    /// How it stands.
    type Seen: Explain + Clone + PartialEq + Send + Sync;
    /// The same, as a watcher is told.
    type Told: Send + 'static;

    /// Looks.
    fn look(&self, center: &Center) -> impl Future<Output = Result<Self::Seen, Status>> + Send;

    /// Whether nothing more will happen.
    fn is_over(seen: &Self::Seen, center: &Center) -> bool;

    /// Puts it into an answer.
    fn told(seen: Self::Seen) -> Self::Told;
}

/// Who watches.
pub struct Watchers {
    center: Arc<Center>,
    shutdown: Shutdown,
    seats: Arc<Semaphore>,
}

impl Watchers {
    /// Nobody yet.
    pub fn new(center: Arc<Center>, shutdown: Shutdown) -> Self {
        Self {
            center,
            shutdown,
            seats: Arc::new(Semaphore::new(WATCHERS_MAX)),
        }
    }

    /// How it stands at once, which is to be found within `limit`, and then what is new until it is over.
    ///
    /// Errors: `TOO_MANY_WATCHERS`; why there is nothing to be seen.
    pub async fn watch<W: Watched>(
        &self,
        limit: Duration,
        watched: W,
        language: Language,
    ) -> Result<Watch<W::Told>, Status> {
        let seat = self.seat()?;
        let first = within(limit, watched.look(&self.center)).await?;
        let (sender, receiver) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let (center, shutdown) = (Arc::clone(&self.center), self.shutdown.clone());
        self.shutdown.spawn(async move {
            let _seat = seat;
            tokio::select! {
                () = shutdown.wait() => {}
                () = sender.closed() => {}
                () = tell(&center, &watched, first, language, &sender) => {}
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }

    fn seat(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.seats).try_acquire_owned().map_err(|_| {
            error::exhausted(
                "TOO_MANY_WATCHERS",
                "this coordinator has all the watchers that it can hold",
            )
        })
    }
}

/// Tells what is new until it is over, or the watcher is gone.
async fn tell<W: Watched>(
    center: &Center,
    watched: &W,
    first: W::Seen,
    language: Language,
    sender: &mpsc::Sender<Result<W::Told, Status>>,
) {
    let mut shown = None;
    let mut found: Result<_, Status> = Ok(first);
    loop {
        match found {
            Ok(seen) => {
                let over = W::is_over(&seen, center);
                if shown.as_ref() != Some(&seen) {
                    shown = Some(seen.clone());
                    let told = W::told(seen.explained(language));
                    if sender.send(Ok(told)).await.is_err() {
                        return;
                    }
                }
                if over {
                    return;
                }
            }
            // Whoever has it is away: the watcher waits with us.
            Err(status) if status.code() == Code::Unavailable => {}
            Err(status) => {
                let _ = sender.send(Err(status)).await;
                return;
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        found = watched.look(center).await;
    }
}
