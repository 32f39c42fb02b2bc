//! Ending in order: everybody hears it once, and the process waits for its tasks, but not for ever.

use std::{future::Future, io, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The one word that ends a process, and the tasks that have to hear it. Clones are the same word.
#[derive(Clone, Debug)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
    /// Whoever we are a part of also waits for our tasks.
    above: Option<Arc<Shutdown>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    #[must_use]
    pub fn new() -> Self {
        Self {
            token: CancellationToken::new(),
            tasks: TaskTracker::new(),
            above: None,
        }
    }

    /// Ends on SIGTERM or SIGINT. A second signal ends the process at once: whoever asks twice does
    /// not want to wait for the drain.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        // Not tracked: this task waits for a second signal until the very end.
        tokio::spawn(async move {
            loop {
                let (name, number) = tokio::select! {
                    _ = term.recv() => ("SIGTERM", 15),
                    _ = int.recv() => ("SIGINT", 2),
                };
                if shutdown.is_triggered() {
                    tracing::warn!(signal = name, "second signal, ending at once");
                    std::process::exit(128 + number);
                }
                tracing::info!(signal = name, "ending; a second signal ends at once");
                shutdown.trigger();
            }
        });
        Ok(())
    }

    /// Says the word. Saying it again changes nothing.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Returns once the word has been said, also if that was long ago.
    pub async fn wait(&self) {
        self.token.cancelled().await;
    }

    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Starts a task that [`Shutdown::drain`] waits for. It is not cancelled: it has to listen for
    /// itself, because only the task knows where it may stop.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let held: Vec<_> = self.ancestors().map(|above| above.tasks.token()).collect();
        self.tasks.spawn(async move {
            let _held = held;
            future.await
        })
    }

    /// For code that takes the token itself.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// A part that can be ended alone. It ends with the whole, and the whole waits for its tasks.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            token: self.token.child_token(),
            tasks: TaskTracker::new(),
            above: Some(Arc::new(self.clone())),
        }
    }

    /// Says the word and waits until every task has ended. `false` when some had not by `deadline`;
    /// they keep running, and the caller decides what that means.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.trigger();
        self.tasks.close();
        timeout(deadline, self.tasks.wait()).await.is_ok()
    }

    fn ancestors(&self) -> impl Iterator<Item = &Shutdown> {
        std::iter::successors(self.above.as_deref(), |shutdown| shutdown.above.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);
    const LATE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn everybody_hears_it_also_afterwards() {
        let shutdown = Shutdown::new();
        let clone = shutdown.clone();
        assert!(timeout(SOON, clone.wait()).await.is_err());
        shutdown.trigger();
        shutdown.trigger();
        clone.wait().await;
        assert!(clone.is_triggered() && clone.token().is_cancelled());
    }

    #[tokio::test]
    async fn the_drain_waits_for_tasks_that_listen() {
        let shutdown = Shutdown::new();
        let inner = shutdown.clone();
        let task = shutdown.spawn(async move {
            inner.wait().await;
            tokio::time::sleep(SOON).await;
            "closed"
        });
        assert!(shutdown.drain(LATE).await);
        assert_eq!(task.await.unwrap(), "closed");
    }

    #[tokio::test]
    async fn the_drain_does_not_wait_for_ever() {
        let shutdown = Shutdown::new();
        let deaf = shutdown.spawn(std::future::pending::<()>());
        assert!(!shutdown.drain(SOON).await);
        deaf.abort();
        assert!(shutdown.drain(LATE).await);
    }

    #[tokio::test]
    async fn a_child_ends_alone_and_the_whole_waits_for_it() {
        let shutdown = Shutdown::new();
        let child = shutdown.child();
        let grandchild = child.child();
        let task = grandchild.spawn(std::future::pending::<()>());
        child.trigger();
        assert!(!shutdown.is_triggered() && grandchild.is_triggered());
        assert!(!shutdown.drain(SOON).await);
        task.abort();
        assert!(shutdown.drain(LATE).await);
        assert!(shutdown.child().is_triggered());
    }

    #[tokio::test]
    async fn a_task_that_panics_does_not_hold_up_the_end() {
        let shutdown = Shutdown::new();
        let task = shutdown.child().spawn(async { panic!("on purpose") });
        assert!(shutdown.drain(LATE).await);
        assert!(task.await.is_err());
    }

    #[tokio::test]
    async fn a_signal_says_the_word() {
        let shutdown = Shutdown::new();
        shutdown.on_signals().unwrap();
        let kill = std::process::Command::new("kill")
            .args(["-TERM", &std::process::id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        assert!(timeout(LATE, shutdown.wait()).await.is_ok());
    }
}
